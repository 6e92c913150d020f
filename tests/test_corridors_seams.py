"""Seams against exhaustive enumeration on small grids with walls."""

import itertools

import numpy as np
import pytest
import shapely

from rtmkc.errors import CapacityError
from rtmkc.places.corridors.choice.seams import best_seams
from rtmkc.raster.grid import Grid, StudyArea

DIRECTIONS = (
    ((0, 1), (-1, 1), (1, 1)),
    ((1, 0), (1, -1), (1, 1)),
    ((-1, 1), (0, 1), (-1, 0)),
    ((1, 1), (0, 1), (1, 0)),
)


def grid_of(mask, cell_size=100.0):
    """Return a grid with the true cells of a mask as its area."""
    rows, columns = np.nonzero(mask)
    low = (mask.shape[0] - 1 - rows) * cell_size
    squares = shapely.box(columns * cell_size, low, (columns + 1) * cell_size, low + cell_size)
    area = StudyArea.from_geometry(
        shapely.union_all(shapely.buffer(squares, -1e-3, join_style="mitre")), crs=32615
    )
    grid = Grid.cover(area, cell_size=cell_size)
    assert (grid.inside == mask).all()
    return grid


def random_mask(random, shape):
    """Return a mask with holes and ragged edges that still fills its bounding box."""
    while True:
        mask = random.random(shape) < 0.75
        if mask.any(axis=0).all() and mask.any(axis=1).all():
            return mask


def all_seams(grid, shortest, longest):
    """Yield the cells and the length of every monotone path of allowed length, found one by one."""
    number = {
        (row, column): cell for cell, (row, column) in enumerate(zip(grid.rows, grid.columns, strict=True))
    }
    for moves in DIRECTIONS:
        stack = [([place], 0.0) for place in number]
        while stack:
            path, length = stack.pop()
            if length >= shortest - 1e-6:
                yield frozenset(number[place] for place in path), length, [number[place] for place in path]
            for down, right in moves:
                place = (path[-1][0] + down, path[-1][1] + right)
                longer = length + np.hypot(down, right) * grid.cell_size
                if place in number and longer <= longest + 1e-6:
                    stack.append(([*path, place], longer))


def naive_greedy(grid, values, k, shortest, longest, separation, price, excluded=None):
    """Return the values of the best seams, each the best of all that are left."""
    lines, worth = {}, {}
    for cells, _, order in all_seams(grid, shortest, longest):
        lines[cells] = shapely.LineString(np.column_stack([grid.eastings[order], grid.northings[order]]))
        worth[cells] = values[order].sum() - price * len(order)

    def keep(near, taken):
        for cells in list(worth):
            touches = cells & taken if separation == 0 else near.distance(lines[cells]) < separation - 1e-6
            if touches:
                del worth[cells]

    if excluded is not None:
        keep(excluded, frozenset())
    found = []
    while worth and len(found) < k:
        best = max(worth, key=worth.__getitem__)
        if worth[best] <= 1e-9:
            break
        found.append(worth[best])
        keep(lines[best], best)
    return found


@pytest.mark.parametrize("separation", [0.0, 120.0, 250.0])
def test_seams_equal_enumeration(separation):
    """On grids with walls and holes the best seams, one by one, are those of exhaustive enumeration."""
    for seed in range(12):
        random = np.random.default_rng(seed)
        grid = grid_of(random_mask(random, (6, 7)))
        values = random.gamma(0.5, 1.0, grid.n_cells)
        options = {
            "k": 3,
            "shortest": 200.0,
            "longest": 520.0,
            "separation": separation,
            "price": float(np.quantile(values, 0.7)),
        }
        found = best_seams(grid, values, **options)
        assert [seam.value for seam in found] == pytest.approx(
            naive_greedy(grid, values, **options), rel=1e-9
        ), seed
        for seam in found:
            line = seam.line(grid)
            assert line.length == pytest.approx(seam.length_m)
            assert 200 <= seam.length_m <= 520
            assert seam.value == pytest.approx(values[seam.cells].sum() - options["price"] * len(seam.cells))
        for one, other in itertools.combinations(found, 2):
            assert not set(one.cells) & set(other.cells)
            assert one.line(grid).distance(other.line(grid)) >= separation - 1e-6


def test_nothing_near_what_is_excluded():
    """Cells and steps within the separation of an excluded line are closed, exactly as enumeration says."""
    for seed in range(6):
        random = np.random.default_rng(100 + seed)
        grid = grid_of(random_mask(random, (6, 7)))
        values = random.gamma(0.5, 1.0, grid.n_cells)
        excluded = shapely.LineString(random.uniform(0, 600, (2, 2)))
        options = {
            "k": 2,
            "shortest": 200.0,
            "longest": 520.0,
            "separation": 90.0,
            "price": 0.2,
            "excluded": excluded,
        }
        found = best_seams(grid, values, **options)
        assert [seam.value for seam in found] == pytest.approx(
            naive_greedy(grid, values, **options), rel=1e-9
        ), seed
        assert all(seam.line(grid).distance(excluded) >= 90 - 1e-6 for seam in found)


def test_tiles_change_nothing(monkeypatch):
    """A grid swept in tiles of 5 x 5 cells gives the seams of a grid swept at once."""
    random = np.random.default_rng(3)
    grid = grid_of(random_mask(random, (23, 19)))
    values = random.gamma(0.5, 1.0, grid.n_cells)
    options = {"k": 4, "shortest": 300.0, "longest": 900.0, "separation": 200.0, "price": 0.8}
    whole = best_seams(grid, values, **options)
    monkeypatch.setattr("rtmkc.places.corridors.choice.seams._TILE", 5)
    tiled = best_seams(grid, values, **options)
    assert [seam.cells.tolist() for seam in whole] == [seam.cells.tolist() for seam in tiled]


def test_a_planted_ridge_is_found():
    """A ridge of slope two through noise is returned cell by cell."""
    random = np.random.default_rng(0)
    mask = np.ones((30, 60), dtype=bool)
    raster = random.random(mask.shape) * 0.1
    ridge = [(5 + step // 2, 10 + step) for step in range(26)]
    for place in ridge:
        raster[place] = 1.0
    grid = grid_of(mask)
    found = best_seams(grid, raster[mask], k=1, shortest=500, longest=4000, separation=300, price=0.2)
    cells = sorted(row * 60 + column for row, column in ridge)
    assert sorted(found[0].cells.tolist()) == cells


def test_walls_are_not_crossed():
    """Two rich halves parted by a wall of one cell give a seam in one half only."""
    mask = np.ones((3, 9), dtype=bool)
    mask[:, 4] = False
    grid = grid_of(mask)
    found = best_seams(grid, np.ones(grid.n_cells), k=2, shortest=200, longest=800, separation=0, price=0.1)
    assert found
    for seam in found:
        assert len({column > 4 for column in grid.columns[seam.cells]}) == 1


def test_nothing_is_worth_less_than_its_price():
    """Equal cells have no seam that stands out, and neither have cells without any risk."""
    grid = grid_of(np.ones((8, 8), dtype=bool))
    options = {"k": 3, "shortest": 200.0, "longest": 500.0, "separation": 0.0}
    assert best_seams(grid, np.ones(64), price=1.0, **options) == ()
    assert best_seams(grid, np.zeros(64), price=0.0, **options) == ()


def test_a_search_too_large_for_memory_is_refused_with_advice():
    """Cells that are tiny against the length are refused before anything is built."""
    grid = grid_of(np.ones((4, 4), dtype=bool), cell_size=1.0)
    with pytest.raises(CapacityError, match="Invalid max_length 2,500 m"):
        best_seams(grid, np.ones(16), k=1, shortest=500, longest=2500, separation=0, price=0.5)
