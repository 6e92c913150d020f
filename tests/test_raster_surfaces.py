"""Distances and densities, against trees, formulas and hand-drawn numbers."""

from types import SimpleNamespace

import numpy as np
import pytest
import shapely
from scipy.spatial import cKDTree

import rtmkc as rtm
from rtmkc.errors import InputError
from rtmkc.raster import surfaces
from rtmkc.raster.coverage import coverage
from rtmkc.raster.shapes import Shapes
from rtmkc.raster.surfaces import nearest_distance, quartic_density, weighted_points

UTM = "EPSG:26915"


@pytest.fixture(scope="module")
def grid():
    """An irregular area with a hole, on cells of 50 m."""
    shape = shapely.box(1000, 2000, 3000, 3500).difference(shapely.Point(1800, 2700).buffer(300))
    return rtm.Grid.cover(rtm.StudyArea.from_geometry(shape, crs=UTM), block_length=100)


def scattered(number, seed):
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.uniform(700, 3300, number), rng.uniform(1700, 3800, number)])


EASTING, NORTHING = 360_000.3, 4_320_000.7


@pytest.fixture(scope="module")
def city():
    """A round area with a hole, where coordinates are millions of metres, on cells of 35 m."""
    centre = shapely.Point(EASTING, NORTHING)
    shape = centre.buffer(1500.0).difference(centre.buffer(200.0))
    return rtm.Grid.cover(rtm.StudyArea.from_geometry(shape, crs=UTM), block_length=70)


@pytest.fixture(scope="module")
def features():
    """Points stacked on addresses, bent streets, one highway of two points, footprints, a park with a pond."""
    rng = np.random.default_rng(7)
    origin = np.array([EASTING, NORTHING])
    places = origin + rng.uniform(-1900, 1900, (150, 2))
    points = shapely.points(places[rng.integers(150, size=400)])
    bends = rng.uniform(-1800, 1800, (60, 1, 2)) + np.cumsum(rng.normal(0, 60, (60, 7, 2)), axis=1)
    streets = shapely.linestrings(origin + bends)
    highway = shapely.LineString(origin + np.array([[-2500.0, -900.0], [2500.0, 1100.0]]))
    middles = origin + rng.uniform(-1800, 1800, (80, 2))
    footprints = shapely.buffer(shapely.points(middles), rng.uniform(3, 40, 80), quad_segs=1)
    green = shapely.Point(EASTING + 300, NORTHING + 500)
    park = green.buffer(420).difference(green.buffer(120))
    return {
        "points": points,
        "lines": np.append(streets, highway),
        "polygons": np.append(footprints, [park, shapely.box(*(origin + 900), *(origin + 1300))]),
    }


def rows_of(grid, first, number):
    """Some rows of a grid, as a lattice of their own."""
    rows = slice(first, first + number)
    return SimpleNamespace(
        cell_size=grid.cell_size,
        west=grid.west,
        north=grid.north,
        column_eastings=grid.column_eastings,
        row_northings=grid.row_northings[rows],
        inside=grid.inside[rows],
    )


@pytest.mark.parametrize("kind", ["points", "lines", "polygons"])
@pytest.mark.parametrize("measure", [nearest_distance, quartic_density])
def test_rows_of_a_grid_have_the_bits_of_the_whole(city, features, kind, measure, monkeypatch):
    """Strips of any height, with all features or those near them, and bands of any height give equal bits."""
    geometries, reach = features[kind], 246.8
    whole = measure(city, geometries, reach)
    bounds = shapely.bounds(geometries)
    for height in (1, 7, 40):
        parts, near = [], []
        for first in range(0, city.n_rows, height):
            strip = rows_of(city, first, height)
            halo = reach + city.cell_size / 2
            close = (bounds[:, 3] >= strip.row_northings[-1] - halo) & (
                bounds[:, 1] <= strip.row_northings[0] + halo
            )
            parts.append(measure(strip, Shapes.of(geometries), reach))
            near.append(measure(strip, geometries[close], reach))
        assert (np.concatenate(parts) == whole).all()
        assert (np.concatenate(near) == whole).all()
    monkeypatch.setattr(surfaces, "BAND_CELLS", 1)
    assert (measure(city, geometries, reach) == whole).all()
    assert 0 < np.count_nonzero(np.isfinite(whole) & (whole > 0)) < city.n_cells


def test_distances_to_points_equal_a_tree_exactly(grid):
    """Every band of every cell is that of scipy's cKDTree."""
    points = scattered(120, 1)
    centres = np.column_stack([grid.eastings, grid.northings])
    oracle, _ = cKDTree(points).query(centres)
    for reach in (50.0, 175.0, 600.0):
        found = nearest_distance(grid, shapely.points(points), reach)
        np.testing.assert_array_equal(np.isfinite(found), oracle <= reach)
        np.testing.assert_allclose(found[oracle <= reach], oracle[oracle <= reach], rtol=0, atol=1e-9)
    bands = np.arange(50.0, 601.0, 50.0)
    np.testing.assert_array_equal(
        np.searchsorted(bands, nearest_distance(grid, shapely.points(points), 600.0)),
        np.searchsorted(bands, np.where(oracle <= 600, oracle, np.inf)),
    )


def test_distances_to_lines_and_polygons_are_those_of_the_shapes(grid):
    """Mixed layers measure the nearest of all; inside a polygon the distance is 0."""
    shapes = np.array(
        [
            shapely.LineString([(1100, 2100), (2500, 3300)]),
            shapely.box(2600, 2100, 2800, 2300),
            shapely.MultiPoint([(1050, 3450), (2950, 3450)]),
            shapely.Point(2000, 2050),
        ]
    )
    centres = shapely.points(grid.eastings, grid.northings)
    oracle = np.min([shapely.distance(shape, centres) for shape in shapes], axis=0)
    found = nearest_distance(grid, shapes, 400.0)
    np.testing.assert_array_equal(np.isfinite(found), oracle <= 400)
    np.testing.assert_allclose(found[oracle <= 400], oracle[oracle <= 400], atol=1e-9)
    assert (found == 0).sum() == 16  # 4 x 4 centres of 50 m cells lie in the 200 m square


@pytest.mark.parametrize("kind", ["lines", "polygons"])
@pytest.mark.parametrize("reach", [20.0, 300.0, 5000.0])
def test_distances_equal_those_of_geos(city, features, kind, reach):
    """Every cell has the smallest of shapely's distances to all shapes, be the reach within a cell or beyond the city."""
    centres = shapely.points(city.eastings, city.northings)
    oracle = shapely.distance(shapely.multilinestrings(features[kind]) if kind == "lines" else
                              shapely.union_all(features[kind]), centres)  # fmt: skip
    found = nearest_distance(city, features[kind], reach)
    np.testing.assert_array_equal(np.isfinite(found), oracle <= reach)
    np.testing.assert_allclose(found[oracle <= reach], oracle[oracle <= reach], rtol=0, atol=1e-8)


def test_reach_and_bandwidth_are_exact_limits():
    """A cell at the reach is within it; at the bandwidth the kernel is 0: whole cells, so that nothing is rounded."""
    area = rtm.StudyArea.from_geometry(shapely.box(0, 0, 900, 900), crs=UTM)
    lattice = rtm.Grid.cover(area, cell_size=100)
    for shape in (shapely.Point(450, 450), shapely.LineString([(450, 450), (450, 450)])):
        found = lattice.to_raster(nearest_distance(lattice, np.array([shape]), 300.0))
        assert np.isfinite(found[4]).tolist() == [False] + 7 * [True] + [False]
        assert found[4, 1] == found[1, 4] == 300
    dense = lattice.to_raster(quartic_density(lattice, np.array([shapely.Point(450, 450)]), 300.0))
    assert (dense[4] > 0).tolist() == 2 * [False] + 5 * [True] + 2 * [False]


def test_features_of_every_form_are_taken_apart(city):
    """Parts of collections count as if they stood alone; what is empty or missing is nothing."""
    point, line = shapely.Point(EASTING + 700, NORTHING), shapely.LineString(
        [(EASTING, NORTHING + 500), (EASTING + 300, NORTHING + 500)]
    )  # fmt: skip
    square = shapely.box(EASTING - 900, NORTHING, EASTING - 800, NORTHING + 80)
    alone = np.array([point, line, square])
    nested = shapely.GeometryCollection(
        [shapely.MultiPoint([point]), shapely.GeometryCollection([line, shapely.MultiPolygon([square])])]
    )
    together = np.array([None, shapely.Polygon(), nested, shapely.Point()], dtype=object)
    for measure in (nearest_distance, quartic_density):
        np.testing.assert_array_equal(measure(city, together, 400.0), measure(city, alone, 400.0))
        none = measure(city, together[[0, 1, 3]], 400.0)
        assert (np.isinf(none) | (none == 0)).all()


def test_order_and_direction_of_rings_do_not_matter(city, features):
    """Polygons drawn clockwise, reversed or normalised have the same distances, weights and shares."""
    polygons = features["polygons"]
    for other in (shapely.reverse(polygons), shapely.normalize(polygons)):
        for measure in (nearest_distance, quartic_density):
            np.testing.assert_allclose(
                measure(city, other, 300.0), measure(city, polygons, 300.0), rtol=1e-9, atol=1e-6
            )


def test_shares_of_cells_are_areas_of_intersections(features):
    """Every share is the area that shapely cuts out, also of a polygon with a hole that the raster cuts through."""
    west, north, size = EASTING - 100, NORTHING + 800, 31.0
    column, row = np.meshgrid(np.arange(25), np.arange(20))
    squares = shapely.box(
        west + column * size, north - (row + 1) * size, west + (column + 1) * size, north - row * size
    )
    park = features["polygons"][-2]
    parts = shapely.union_all(features["polygons"][:-1])
    for shape in (park, parts):
        found = coverage(shape, west, north, size, 20, 25)
        np.testing.assert_allclose(
            found, shapely.area(shapely.intersection(shape, squares)) / size**2, atol=1e-6
        )
        assert (found == 1).any()
        assert (found == 0).any()
        below = coverage(shape, west, north, size, 9, 25, first_row=11)
        assert (below == found[11:]).all()


def test_area_density_inside_a_large_polygon_is_one(city):
    """Where a polygon covers all within the bandwidth there is a square kilometre in every square kilometre, within 0.2 %."""
    everywhere = shapely.Point(EASTING, NORTHING).buffer(4000)
    found = quartic_density(city, np.array([everywhere]), 350.0)
    np.testing.assert_allclose(found, 1e6, rtol=2e-3)
    np.testing.assert_allclose(
        quartic_density(city, np.array([everywhere] * 3), 350.0), 3 * found, rtol=1e-12
    )


def test_density_is_the_quartic_formula(grid):
    """Density is the sum over points of 3/(pi d^2) (1 - r^2/d^2)^2, per km2, points outside included."""
    points, bandwidth = scattered(80, 2), 333.0
    squared = (grid.eastings[:, None] - points[:, 0]) ** 2 + (grid.northings[:, None] - points[:, 1]) ** 2
    kernel = np.where(squared < bandwidth**2, (1 - squared / bandwidth**2) ** 2, 0.0)
    oracle = 3 / (np.pi * bandwidth**2) * kernel.sum(axis=1) * 1e6
    np.testing.assert_allclose(
        quartic_density(grid, shapely.points(points), bandwidth), oracle, rtol=1e-12, atol=1e-12
    )


def test_stacked_points_count_as_often_as_they_are_there(city, features):
    """Many points at one address add up to the density of all of them, and lie as far as one."""
    points, bandwidth = features["points"], 333.0
    shapes = Shapes.of(points)
    assert len(shapes.points) < len(points) == shapes.counts.sum()
    where = shapely.get_coordinates(points)
    squared = (city.eastings[:, None] - where[:, 0]) ** 2 + (city.northings[:, None] - where[:, 1]) ** 2
    kernel = np.where(squared < bandwidth**2, (1 - squared / bandwidth**2) ** 2, 0.0)
    oracle = 3 / (np.pi * bandwidth**2) * kernel.sum(axis=1) * 1e6
    np.testing.assert_allclose(quartic_density(city, points, bandwidth), oracle, rtol=1e-9, atol=1e-12)


def test_density_of_one_point_integrates_to_one():
    """Far from the edge the density of a single point sums to one feature."""
    area = rtm.StudyArea.from_geometry(shapely.box(0, 0, 2000, 2000), crs=UTM)
    fine = rtm.Grid.cover(area, cell_size=10)
    density = quartic_density(fine, shapely.points([[1003.0, 997.0]]), 400.0)
    assert density.sum() * 1e-6 * 100 == pytest.approx(1.0, abs=1e-3)


def test_lines_weigh_their_length_and_polygons_their_area(grid):
    """Pieces add up to metres of line and square metres of polygon, wherever the shapes lie."""
    line = shapely.LineString([(900, 1900), (1500, 2600), (1500, 3000)])
    polygon = shapely.Point(2500, 2500).buffer(137.0).union(shapely.Point(500, 500).buffer(20))
    *_, weights = weighted_points(grid, np.array([line]), margin=500.0)
    assert weights.sum() == pytest.approx(line.length, rel=1e-12)
    eastings, northings, weights = weighted_points(grid, np.array([polygon]), margin=1600.0)
    assert weights.sum() == pytest.approx(polygon.area, rel=1e-6)
    centre = polygon.centroid
    assert np.average(eastings, weights=weights) == pytest.approx(centre.x, abs=1)
    assert np.average(northings, weights=weights) == pytest.approx(centre.y, abs=1)


def test_density_of_a_line_converges_to_the_integral(grid):
    """The density of a line equals the integral of the kernel along it, within 1 %."""
    line = shapely.LineString([(1200, 2200), (2800, 2350)])
    bandwidth = 200.0
    along = shapely.get_coordinates(shapely.line_interpolate_point(line, np.linspace(0, line.length, 8001)))
    centres = np.column_stack([grid.eastings, grid.northings])
    squared = ((centres[:, None, :] - along[None, :, :]) ** 2).sum(axis=2)
    integral = (np.where(squared < bandwidth**2, (1 - squared / bandwidth**2) ** 2, 0)).mean(
        axis=1
    ) * line.length
    oracle = 3 / (np.pi * bandwidth**2) * integral * 1e6
    found = quartic_density(grid, np.array([line]), bandwidth)
    np.testing.assert_allclose(found, oracle, atol=0.01 * oracle.max())


def test_lengths_must_be_positive(grid):
    """A reach or a bandwidth of zero is refused."""
    with pytest.raises(InputError, match="Invalid reach 0"):
        nearest_distance(grid, shapely.points([[0.0, 0.0]]), 0)
    with pytest.raises(InputError, match="Invalid bandwidth -1"):
        quartic_density(grid, shapely.points([[0.0, 0.0]]), -1)
