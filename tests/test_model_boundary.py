"""What the boundary does to factors."""

import numpy as np
import pytest
import shapely

import rtmkc as rtm
from rtmkc.model.diagnosis.boundary import depth_inside, expected_beyond, share_beyond

UTM = "EPSG:26915"


def grid_of(polygon, cell_size=10.0):
    return rtm.Grid.cover(rtm.StudyArea.from_geometry(polygon, crs=UTM), cell_size=cell_size)


def candidates_of(grid, points, kind, influence):
    import geopandas as gpd

    layer = gpd.GeoDataFrame(geometry=shapely.points(points), crs=UTM)
    factor = rtm.RiskFactor("trees", layer, kind=kind, max_influence=influence)
    return rtm.build_candidates(grid, [factor])


def test_depth_is_the_distance_to_the_nearest_cell_outside():
    """On 5 x 5 cells of 10 m the rings are 10, 20 and 30 m deep; a hole counts as outside."""
    depth = depth_inside(grid_of(shapely.box(0, 0, 50, 50)))
    assert depth.reshape(5, 5).tolist() == [
        [10, 10, 10, 10, 10],
        [10, 20, 20, 20, 10],
        [10, 20, 30, 20, 10],
        [10, 20, 20, 20, 10],
        [10, 10, 10, 10, 10],
    ]
    hole = shapely.box(0, 0, 50, 50).difference(shapely.box(20, 20, 30, 30))
    grid = grid_of(hole, cell_size=9.999)
    assert grid_of(hole).n_cells == 24
    assert depth_inside(grid_of(hole)).max() == pytest.approx(10 * np.sqrt(2))
    assert grid.n_cells >= 24


@pytest.mark.parametrize("easting", [0.0, 37.0, 95.0, 500.0])
def test_share_of_a_proximity_band_is_that_of_its_disc(easting):
    """Cell centres within 100 m of a point, counted on a plane without boundary: those west of the area."""
    grid = grid_of(shapely.box(0, 0, 1000, 1000))
    candidates = candidates_of(grid, [[easting, 500.0]], "proximity", 100.0)
    number = int(np.flatnonzero(candidates.columns["influence_m"] == 100.0)[0])
    east, north = np.meshgrid(np.arange(-395, 1400, 10.0), np.arange(5, 1000, 10.0))
    within = np.hypot(east - easting, north - 500.0) <= 100.0
    known = (within & (east < 0)).sum() / within.sum()
    found = share_beyond(grid, candidates.features["trees"], candidates.columns.iloc[number])
    assert found == pytest.approx(known)


def test_share_of_a_density_band_is_that_of_a_larger_area():
    """The density of the same points on a larger area, at the same cut, marks the cells outside that are counted."""
    generator = np.random.default_rng(2)
    points = np.column_stack([generator.uniform(-80, 300, 60), generator.uniform(0, 1000, 60)])
    small, large = grid_of(shapely.box(0, 0, 1000, 1000)), grid_of(shapely.box(-400, -400, 1400, 1400))
    candidates = candidates_of(small, points, "density", 100.0)
    number = int(np.flatnonzero(candidates.columns["influence_m"] == 100.0)[0])
    row = candidates.columns.iloc[number]
    from rtmkc.raster.surfaces import quartic_density

    read = candidates.features["trees"].frame.geometry.to_numpy()
    dense = quartic_density(large, read, 100.0) >= row["cut"]
    inside = (np.abs(large.eastings - 500) < 500) & (np.abs(large.northings - 500) < 500)
    away = np.hypot(
        np.maximum(np.abs(large.eastings - 500) - 495, 0), np.maximum(np.abs(large.northings - 500) - 495, 0)
    )
    known = (dense & ~inside & (away <= 100.0)).sum() / (dense & (away <= 100.0)).sum()
    assert known > 0.05, "the points must reach beyond the boundary"
    assert share_beyond(small, candidates.features["trees"], row) == pytest.approx(known)


def test_expected_features_beyond_follow_the_areas_of_the_two_strips():
    """A strip of 100 m inside a square of 1 km has 360,000 m2, the one outside 400,000 and four quarter discs."""
    grid = grid_of(shapely.box(0, 0, 1000, 1000))
    generator = np.random.default_rng(0)
    points = generator.uniform(0, 1000, (400, 2))
    candidates = candidates_of(grid, points, "proximity", 100.0)
    close = (np.abs(points - 500).max(axis=1) > 400).sum()
    known = close * (400_000 + np.pi * 100**2) / 360_000
    assert expected_beyond(grid, candidates.features["trees"], 100.0) == pytest.approx(known, rel=0.005)


def test_an_area_narrower_than_the_reach_is_all_strip():
    """Where nothing lies deeper than the reach all features count, and no division fails."""
    grid = grid_of(shapely.box(0, 0, 1000, 100))
    candidates = candidates_of(grid, [[50.0, 50.0], [500.0, 50.0]], "proximity", 80.0)
    outside = 2 * (1000 + 100) * 80 + np.pi * 80**2
    found = expected_beyond(grid, candidates.features["trees"], 80.0)
    assert found == pytest.approx(2 * outside / 100_000, rel=0.005)
