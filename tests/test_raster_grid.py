"""StudyArea and Grid, against hand-drawn grids and plain geometry."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

import rtmkc as rtm
from rtmkc.errors import CapacityError, InputError
from rtmkc.raster.coverage import coverage

UTM = "EPSG:26915"


def area_of(geometry, crs=UTM):
    return rtm.StudyArea.from_geometry(geometry, crs=crs)


def points_frame(coordinates, crs=UTM):
    return gpd.GeoDataFrame(geometry=gpd.points_from_xy(*np.asarray(coordinates, dtype=float).T), crs=crs)


def test_cells_shares_and_order_of_a_hand_drawn_triangle():
    """A cell belongs to the area if any of it is inside, and its share is the area inside."""
    grid = rtm.Grid.cover(area_of(shapely.Polygon([(0, 0), (20, 0), (0, 20)])), cell_size=10)
    assert grid.inside.tolist() == [[True, False], [True, True]]
    assert grid.share.tolist() == [0.5, 1.0, 0.5]
    assert grid.rows.tolist() == [0, 1, 1]
    assert grid.columns.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(grid.to_raster(np.array([1, 2, 3]), fill=0), [[1, 0], [2, 3]])
    np.testing.assert_array_equal(grid.to_vector(grid.to_raster(np.array([1.0, 2, 3]))), [1, 2, 3])


def test_cells_are_half_open_to_the_east_and_south():
    """A point on an inner edge belongs to the cell east of it, and to the cell south of it: [w, e) x (s, n]."""
    grid = rtm.Grid.cover(area_of(shapely.box(0, 0, 30, 20)), cell_size=10)
    #  cells   0 1 2      north row, y in (10, 20]
    #          3 4 5      south row, y in (0, 10]
    eastings = [10.0, 9.999, 5.0, 5.0, 30.0, 0.0, 15.0]
    northings = [15.0, 15.0, 10.0, 10.001, 5.0, 20.0, 0.0]
    assert grid.locate(eastings, northings).tolist() == [1, 0, 3, 0, 5, 0, 4]
    assert grid.locate([30.001, -1e-9, np.nan, 1e12], [5, 5, 5, 5]).tolist() == [-1, -1, -1, -1]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(1000, 1300), st.floats(1000, 1200)), min_size=1, max_size=40),
    st.floats(7, 90),
)
def test_every_point_of_the_area_is_counted_exactly_once(coordinates, cell_size):
    """Whatever the cell size, all points in the area, edges and corners included, are counted once."""
    grid = rtm.Grid.cover(area_of(shapely.box(1000, 1000, 1300, 1200)), cell_size=cell_size)
    assert grid.count(points_frame(coordinates)).sum() == len(coordinates)


def test_points_on_the_boundary_of_an_irregular_area_are_counted():
    """A point exactly on the outline belongs to the area although its half-open cell may not."""
    stairs = np.array([(0, 0), (20, 0), (20, 10), (10, 10), (10, 20), (0, 20)]) + 100
    grid = rtm.Grid.cover(area_of(shapely.Polygon(stairs)), cell_size=10)
    edge = [
        (120, 105),
        (110, 115),
        (115, 110),
        (105, 120),
        (120, 110),
        (110, 120),
        (100, 100),
        (120, 100),
        (110, 110),
    ]
    assert grid.count(points_frame(edge)).sum() == len(edge)
    layer, _ = grid.place(points_frame([*edge, (115, 115)]))
    assert layer.ledger.dropped == {"outside the study area": 1}


def test_coverage_equals_plain_intersection():
    """The quartered coverage is the area of each cell's intersection, holes included."""
    rng = np.random.default_rng(7)
    shape = shapely.union_all(
        shapely.buffer(shapely.points(rng.uniform(0, 100, (12, 2))), rng.uniform(4, 18, 12))
    )
    shape = shape.difference(shapely.Point(50, 50).buffer(9))
    share = coverage(shape, -3.0, 104.0, 6.0, 19, 18)
    for row in range(19):
        for column in range(18):
            west, north = -3 + 6 * column, 104 - 6 * row
            expected = shape.intersection(shapely.box(west, north - 6, west + 6, north)).area / 36
            assert share[row, column] == pytest.approx(expected if expected > 1e-6 else 0, abs=1e-9)


def test_holes_smaller_than_a_cell_are_closed_and_said():
    """A hole of 9 m2 in a grid of 100 m2 cells is closed; one of 900 m2 stays."""
    plate = shapely.box(0, 0, 100, 100)
    area = area_of(plate.difference(shapely.box(5, 5, 8, 8)).difference(shapely.box(40, 40, 70, 70)))
    grid = rtm.Grid.cover(area, cell_size=10)
    assert grid.share.sum() * 100 == pytest.approx(10_000 - 900)
    assert "1 holes smaller than a cell closed" in grid.notes
    assert grid.locate([6.5, 55], [6.5, 55]).tolist()[1] == -1


def test_longitude_and_latitude_are_projected_and_said():
    """A boundary in degrees goes to its UTM zone, with the place where it should be."""
    degrees = shapely.box(-94.60, 39.05, -94.50, 39.12)
    area = rtm.StudyArea.from_geometry(degrees, crs="EPSG:4326")
    assert area.crs.to_epsg() == 32615
    assert "projected from WGS 84" in area.notes[0]
    # Downtown Kansas City, published in both systems (NAD83 and WGS 84 agree to a metre here).
    downtown = gpd.GeoSeries([shapely.Point(-94.5786, 39.0997)], crs=4326).to_crs(area.crs).iloc[0]
    assert (downtown.x, downtown.y) == (pytest.approx(363494.7, abs=1.5), pytest.approx(4329026.6, abs=1.5))
    assert area.geometry.covers(downtown)


@pytest.mark.parametrize(
    ("geometry", "options", "message"),
    [
        (shapely.box(0, 0, 1, 1), {"crs": None}, "no coordinate reference system"),
        (shapely.box(0, 0, 1e5, 1e5), {"crs": "EPSG:3857"}, "'EPSG:3857'. Its metres are stretched"),
        (
            shapely.box(-95, 39, -94, 40),
            {"crs": "EPSG:4326", "study_crs": "EPSG:3857"},
            "other than EPSG:3857",
        ),
        (
            shapely.box(-95, 39, -94, 40),
            {"crs": "EPSG:4326", "study_crs": "EPSG:4326"},
            "projected system in metres",
        ),
        (shapely.Point(0, 0), {"crs": UTM}, "It has no area"),
        (shapely.Polygon(), {"crs": UTM}, "It has no area"),
    ],
)
def test_a_boundary_that_cannot_be_studied_is_refused(geometry, options, message):
    """No system, web mercator, degrees and shapes without area are refused with the fix."""
    with pytest.raises(InputError, match=message):
        rtm.StudyArea.from_geometry(geometry, **options)


def test_a_boundary_file_without_polygons_is_refused(tmp_path):
    """A file of points is not a boundary; the message says what it holds."""
    path = tmp_path / "boundary.geojson"
    points_frame([(-94.5, 39.1)], crs=4326).to_file(path)
    with pytest.raises(InputError, match="made of polygons, and the layer holds: Point"):
        rtm.StudyArea.from_file(path)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"block_length": "-450 ft"},
            InputError,
            "Invalid block_length '-450 ft'. It must be greater than 0",
        ),
        ({"cell_size": 5000}, InputError, "A cell is larger than the whole study area"),
        ({"cell_size": 0.01}, CapacityError, "would make 10,000,000,000 cells"),
        ({}, InputError, "Give block_length="),
        ({"cell_size": "3 blocks"}, InputError, "needs a block length"),
    ],
)
def test_absurd_grids_are_refused_before_they_are_built(options, error, message):
    """Negative, too large, too many: an error at once, not a full memory."""
    with pytest.raises(error, match=message):
        rtm.Grid.cover(area_of(shapely.box(0, 0, 1000, 1000)), **options)


def test_the_cell_is_half_a_block():
    """A block length alone makes cells of half of it; both may be given."""
    area = area_of(shapely.box(0, 0, 1000, 1000))
    assert rtm.Grid.cover(area, block_length="250 ft").cell_size == pytest.approx(38.1)
    both = rtm.Grid.cover(area, block_length=120, cell_size=40)
    assert (both.cell_size, both.block_length) == (40, 120)


def test_block_length_is_suggested_from_streets():
    """The median line of the street layer inside the area is the block; lines far away do not count."""
    lines = [
        shapely.LineString([(100 * step, 50), (100 * step + length, 50)])
        for step, length in enumerate([80, 90, 100])
    ]
    lines.append(shapely.LineString([(90_000, 0), (90_000, 5000)]))
    streets = gpd.GeoDataFrame(geometry=lines, crs=UTM)
    grid = rtm.Grid.cover(area_of(shapely.box(0, 0, 400, 400)), streets=streets)
    assert grid.block_length == 90
    assert any("median block of the street layer" in note for note in grid.notes)


def test_swapped_coordinates_are_recognised():
    """Points with longitude and latitude exchanged get an error that says so."""
    # Istanbul: both numbers could be either, so only the area tells.
    grid = rtm.Grid.cover(
        rtm.StudyArea.from_geometry(shapely.box(28.9, 41.0, 29.1, 41.1), crs=4326), cell_size=200
    )
    swapped = points_frame([(41.05, 29.0), (41.02, 28.95)], crs=4326)
    with pytest.raises(InputError, match="longitude and latitude are swapped"):
        grid.count(swapped)
    with pytest.raises(InputError, match="None of its 1 points lies in the study area.*same city"):
        grid.count(points_frame([(-87.6, 41.8)], crs=4326))


def test_lines_are_not_incidents():
    """Counting needs points; the message says what the layer holds."""
    grid = rtm.Grid.cover(area_of(shapely.box(0, 0, 100, 100)), cell_size=10)
    lines = gpd.GeoDataFrame(geometry=[shapely.LineString([(0, 0), (5, 5)])], crs=UTM)
    with pytest.raises(InputError, match="it holds LineString"):
        grid.count(lines)


def test_a_layer_in_web_mercator_is_projected():
    """A layer in EPSG:3857 is reprojected and counted where it is."""
    grid = rtm.Grid.cover(area_of(shapely.box(363_000, 4_329_000, 364_000, 4_330_000)), cell_size=100)
    places = points_frame([(363_450, 4_329_250)])
    np.testing.assert_array_equal(grid.count(places.to_crs(3857)), grid.count(places))


def test_vectors_and_rasters_of_another_grid_are_refused():
    """A vector with the wrong number of cells, or a raster of the wrong shape, is refused with both numbers."""
    grid = rtm.Grid.cover(area_of(shapely.box(0, 0, 100, 50)), cell_size=10)
    with pytest.raises(InputError, match=r"shape \(3,\). The grid has 50 cells"):
        grid.to_raster(np.zeros(3))
    with pytest.raises(InputError, match="5 rows and 10 columns"):
        grid.to_vector(np.zeros((10, 5)))


def test_grids_are_values():
    """Equal areas and cells make equal grids with equal hashes; arrays cannot be changed."""
    area = area_of(shapely.box(0, 0, 100, 50))
    one, two = rtm.Grid.cover(area, cell_size=10), rtm.Grid.cover(area, cell_size=10)
    assert one == two
    assert hash(one) == hash(two)
    assert one != rtm.Grid.cover(area, cell_size=5)
    with pytest.raises(ValueError, match="read-only"):
        one.share[0] = 2
