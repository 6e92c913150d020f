"""Distances and densities, against trees, formulas and hand-drawn numbers."""

import numpy as np
import pytest
import shapely
from scipy.spatial import cKDTree

import rtmkc as rtm
from rtmkc.errors import InputError
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


def test_density_is_the_quartic_formula(grid):
    """Density is the sum over points of 3/(pi d^2) (1 - r^2/d^2)^2, per km2, points outside included."""
    points, bandwidth = scattered(80, 2), 333.0
    squared = (grid.eastings[:, None] - points[:, 0]) ** 2 + (grid.northings[:, None] - points[:, 1]) ** 2
    kernel = np.where(squared < bandwidth**2, (1 - squared / bandwidth**2) ** 2, 0.0)
    oracle = 3 / (np.pi * bandwidth**2) * kernel.sum(axis=1) * 1e6
    np.testing.assert_allclose(
        quartic_density(grid, shapely.points(points), bandwidth), oracle, rtol=1e-12, atol=1e-12
    )


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
