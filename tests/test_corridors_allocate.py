"""Risk of cells on street segments: a hand-drawn example, the plain formula, and totals."""

import geopandas as gpd
import numpy as np
import pytest
import shapely

from rtmkc.errors import InputError
from rtmkc.places.corridors.allocate import _points_along, allocate
from rtmkc.places.corridors.network.streets import StreetNetwork
from rtmkc.raster.grid import Grid, StudyArea


def network_of(*lines):
    return StreetNetwork.from_layer(gpd.GeoDataFrame(geometry=shapely.from_wkt(lines), crs=32615))


def square_grid(side, cell_size):
    return Grid.cover(StudyArea.from_geometry(shapely.box(0, 0, side, side), crs=32615), cell_size=cell_size)


def random_city(seed):
    """Return a grid with a ragged area and random straight streets."""
    random = np.random.default_rng(seed)
    area = shapely.Polygon([(0, 0), (1400, 100), (1500, 1100), (600, 1500), (-100, 900)])
    grid = Grid.cover(StudyArea.from_geometry(area, crs=32615), cell_size=70)
    ends = random.uniform(0, 900, (40, 2, 2))
    lines = gpd.GeoDataFrame(geometry=shapely.linestrings(ends), crs=32615)
    return grid, StreetNetwork.from_layer(lines), random


def test_hand_drawn_example():
    """Four cells of 100 m, a street of two pieces along the lower edge, a piece of 50 m up the left edge."""
    grid = square_grid(200, 100)
    network = network_of("LINESTRING (0 0, 200 0)", "LINESTRING (0 150, 0 200)")
    allocation = allocate(grid, network, radius_m=140, bandwidth_m=70, spacing_m=100)
    # Middles of the pieces: (50, 0), (150, 0), (0, 175); h = 70 m, 2 h^2 = 9800. Squared distances in range:
    #   upper left  (50, 150): third 3125          upper right (150, 150): none
    #   lower left  (50, 50): 2500, 12500, 18125   lower right (150, 50): 12500, 2500
    along = 100 * (np.exp(-2500 / 9800) + np.exp(-12500 / 9800))
    up = 50 * np.exp(-18125 / 9800)
    share = along / (along + up)
    assert allocation.has_street.tolist() == [True, False, True, True]
    expected = [[0, 1], [0, 0], [share, 1 - share], [1, 0]]
    assert np.allclose(allocation.weights.toarray(), expected, rtol=1e-12, atol=1e-15)
    assert np.allclose(allocation.to_segments([1.0, 2.0, 4.0, 8.0]), [4 * share + 8, 1 + 4 * (1 - share)])
    assert allocation.residual([1.0, 2.0, 4.0, 8.0]) == 2.0


def test_weights_equal_the_plain_formula():
    """Every weight is the sum of exp(-d^2 / 2 h^2) times length over pieces in range, over the cell's sum."""
    grid, network, _ = random_city(1)
    allocation = allocate(grid, network, radius_m=150, bandwidth_m=75, spacing_m=25)
    claims = np.zeros((grid.n_cells, network.n_segments))
    centres = shapely.points(grid.eastings, grid.northings)
    for segment, line in enumerate(network.segments.geometry):
        n_pieces = int(np.ceil(line.length / 25))
        for piece in range(n_pieces):
            distance = shapely.distance(centres, line.interpolate((piece + 0.5) / n_pieces, normalized=True))
            claims[:, segment] += (
                (distance <= 150) * np.exp(-(distance**2) / (2 * 75**2)) * line.length / n_pieces
            )
    total = claims.sum(axis=1, keepdims=True)
    expected = np.divide(claims, total, out=np.zeros_like(claims), where=total > 0)
    assert 0 < (total == 0).sum() < grid.n_cells
    assert np.allclose(allocation.weights.toarray(), expected, rtol=1e-9, atol=1e-15)
    assert (allocation.reached() == (expected.sum(axis=0) > 0)).all()


def test_totals_are_conserved():
    """Segments and the residual together hold exactly what the cells hold."""
    for seed in range(5):
        grid, network, random = random_city(seed)
        allocation = allocate(grid, network)
        sums = np.asarray(allocation.weights.sum(axis=1)).ravel()
        assert np.allclose(sums, allocation.has_street, atol=1e-12)
        for values in (
            random.gamma(0.1, 1.0, grid.n_cells),
            random.normal(size=grid.n_cells),
            np.zeros(grid.n_cells),
        ):
            total = allocation.to_segments(values).sum() + allocation.residual(values)
            assert total == pytest.approx(values.sum(), rel=1e-9, abs=1e-9)


def test_moving_grid_and_streets_together_changes_nothing():
    """Weights depend on neither the place on Earth nor the order of the streets."""
    grid, network, random = random_city(2)
    order = random.permutation(network.n_segments)
    lines = network.segments.iloc[order].geometry.translate(300_000, 4_000_000)
    moved_area = StudyArea.from_geometry(
        shapely.affinity.translate(grid.area.geometry, 300_000, 4_000_000), crs=32615
    )
    moved = allocate(
        Grid.cover(moved_area, cell_size=70), StreetNetwork.from_layer(gpd.GeoDataFrame(geometry=lines))
    )
    plain = allocate(grid, network)
    assert np.allclose(moved.weights.toarray(), plain.weights.toarray()[:, order], atol=1e-6)


def test_bad_input_is_refused():
    """Lengths that are not positive, values that do not fit and another system are one-line errors."""
    grid, network = square_grid(200, 100), network_of("LINESTRING (0 0, 200 0)")
    with pytest.raises(InputError, match="Invalid radius_m -5"):
        allocate(grid, network, radius_m=-5)
    with pytest.raises(InputError, match="Invalid spacing_m 0"):
        allocate(grid, network, spacing_m=0)
    allocation = allocate(grid, network)
    with pytest.raises(InputError, match=r"Invalid cell_values of shape \(3,\)"):
        allocation.to_segments([1.0, 2.0, 3.0])
    with pytest.raises(InputError, match="Invalid cell_values: 1 are not finite"):
        allocation.residual([1.0, 2.0, np.nan, 0.0])
    elsewhere = StreetNetwork.from_layer(
        gpd.GeoDataFrame(geometry=shapely.from_wkt(["LINESTRING (0 0, 200 0)"]), crs=32616)
    )
    with pytest.raises(InputError, match="make the network with crs="):
        allocate(grid, elsewhere)


def test_middles_of_pieces_are_those_of_geos():
    """Along lines of many vertices, some of them repeated, the middles are bit for bit where GEOS puts them."""
    random = np.random.default_rng(0)
    lines = [shapely.LineString(np.cumsum(random.normal(0, 30, (n, 2)), axis=0)) for n in (2, 3, 9, 40)]
    repeated = shapely.get_coordinates(lines[2])[[0, 1, 1, 1, 2, 3, 3]]
    lines = shapely.transform(np.array([*lines, shapely.LineString(repeated)]), np.array([3e5, 4e6]).__add__)
    network = StreetNetwork.from_layer(gpd.GeoDataFrame(geometry=lines, crs=32615), snap_m=0)
    segment, eastings, northings, length = _points_along(network, 7.0)
    for number, line in enumerate(network.segments.geometry):
        own = segment == number
        along = (np.arange(own.sum()) + 0.5) * length[own]
        there = shapely.get_coordinates(shapely.line_interpolate_point(line, along))
        assert (there == np.column_stack([eastings[own], northings[own]])).all()
        assert length[own].sum() == pytest.approx(line.length)
