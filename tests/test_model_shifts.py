"""The shift test: its statistic is what it says, its p-values are uniform, all factors are judged together."""

import numpy as np
import pytest
import shapely
from scipy.stats import kstest

import rtmkc as rtm
from rtmkc.model.guarded.noise import Noise, Whitener, measure_noise
from rtmkc.model.guarded.plane import Plane
from rtmkc.model.guarded.shifts import MIN_OVERLAP, MIN_SHIFT, ShiftTest, adjust_stepwise
from rtmkc.simulate import gaussian_field


def lake_grid(n_rows=12, n_columns=14):
    """A grid of whole cells with a lake in it and a ragged edge."""
    rng = np.random.default_rng(4)
    inside = np.ones((n_rows, n_columns), dtype=bool)
    inside[4:7, 5:9] = False
    inside[0, rng.integers(0, n_columns, 4)] = False
    area = rtm.StudyArea(shapely.box(0, 0, n_columns * 10.0, n_rows * 10.0), "EPSG:26915", "lake")
    return rtm.Grid(
        area, 10.0, 0.0, n_rows * 10.0, n_rows, n_columns, None, inside, np.ones(int(inside.sum()))
    )


def whitened(plane, counts, means):
    return Whitener(plane, means, Noise(0.0, 0.0, 0.0)).whiten(counts, means)


def test_scores_are_the_formula_over_every_allowed_shift():
    """FFTs give the sums over the overlap that loops over cells and shifts give, on an area with a lake."""
    grid, rng = lake_grid(), np.random.default_rng(1)
    plane = Plane(grid)
    means = rng.uniform(0.2, 2.0, grid.n_cells)
    counts = rng.poisson(means).astype(float)
    columns = [(rng.random(grid.n_cells) < share).astype(float) for share in (0.3, 0.6)]
    found = ShiftTest(plane).score(columns, whitened(plane, counts, means), "aggravating")

    e, w, inside = (grid.to_raster(v, fill=0.0) for v in (counts - means, means, np.ones(grid.n_cells)))
    maps = [grid.to_raster(column, fill=0.0) for column in columns]
    values, n_shifts = [], 0
    for down in range(-12, 13):
        for across in range(-14, 15):
            there = np.zeros((3 * 12, 3 * 14))
            there[12:24, 14:28] = inside
            moved_area = there[12 + down : 24 + down, 14 + across : 28 + across]
            overlap = moved_area * inside
            distance = np.hypot(down, across)
            here = distance == 0
            allowed = MIN_SHIFT <= distance <= 6 and overlap.sum() >= MIN_OVERLAP * grid.n_cells
            if not (here or allowed):
                continue
            row = []
            for raster in maps:
                there = np.zeros((3 * 12, 3 * 14))
                there[12:24, 14:28] = raster
                moved = there[12 + down : 24 + down, 14 + across : 28 + across]
                mass, weight = (moved * w).sum(), (w * moved_area).sum()
                deviation = (moved * e).sum() - mass * (e * moved_area).sum() / weight
                row.append(deviation / np.sqrt(mass - mass**2 / weight))
            values.insert(0, row) if here else values.append(row)
            n_shifts += not here
    expected = np.array(values).T
    spread = np.sqrt((expected[:, 1:] ** 2).mean(axis=1))
    assert found.statistic.size == 1 + n_shifts
    np.testing.assert_allclose(found.spread, spread, rtol=1e-9)
    np.testing.assert_allclose(found.scores[:, 0], expected[:, 0] / spread, rtol=1e-9)
    np.testing.assert_allclose(
        np.sort(found.scores[:, 1:]), np.sort(expected[:, 1:] / spread[:, None]), rtol=1e-8
    )
    highest = expected / spread[:, None]
    at_least = (highest[:, 1:].max(axis=0) >= highest[:, 0].max()).sum()
    assert found.p == pytest.approx((1 + at_least) / (1 + n_shifts))


def test_directions_count_their_own_sign():
    """Protective looks at the lowest scores, either at the largest in size."""
    grid, rng = lake_grid(), np.random.default_rng(2)
    plane = Plane(grid)
    means = np.ones(grid.n_cells)
    left = whitened(plane, rng.poisson(means).astype(float), means)
    columns = [(rng.random(grid.n_cells) < 0.4).astype(float) for _ in range(3)]
    up, down, both = (
        ShiftTest(plane).score(columns, left, one) for one in ("aggravating", "protective", "either")
    )
    np.testing.assert_allclose(down.statistic, -up.scores.min(axis=0))
    np.testing.assert_allclose(both.statistic, np.abs(up.scores).max(axis=0))
    assert down.best == int(np.argmin(up.scores[:, 0]))


@pytest.mark.parametrize("shape", ["square", "ellipse"])
def test_p_is_uniform_where_factors_and_patchy_incidents_are_independent(shape):
    """On 150 cities with patches: at most 8 % below .05, at most 2.5 % below .01, KS distance at most .06."""
    grid = rtm.simulate_city(n_rows=40, n_columns=40, random_state=0).grid
    if shape == "ellipse":
        across, along = (grid.columns - 19.5) / 20, (grid.rows - 19.5) / 15
        inside = grid.to_raster((across**2 + along**2 <= 1).astype(float), fill=0.0) > 0
        grid = rtm.Grid(
            grid.area, grid.cell_size, grid.west, grid.north, 40, 40, None, inside, np.ones(int(inside.sum()))
        )
    plane = Plane(grid)
    test, p = ShiftTest(plane), []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        field = gaussian_field(rng, 40, 40, variance=0.7, range_cells=4.0)
        counts = rng.poisson(0.3 * np.exp(grid.to_vector(field) - 0.35)).astype(float)
        means = np.full(grid.n_cells, counts.mean())
        left = Whitener(plane, means, measure_noise(plane, counts, means)).whiten(counts, means)
        for _ in range(4):
            patches = grid.to_vector(gaussian_field(rng, 40, 40, variance=1.0, range_cells=3.0))
            columns = [(patches > cut).astype(float) for cut in (0.6, 1.0, 1.4)]
            p.append(test.score(columns, left, "aggravating").p)
    p = np.array(p)
    assert (p <= 0.05).mean() <= 0.08
    assert (p <= 0.01).mean() <= 0.025
    assert kstest(p, "uniform").statistic <= 0.06


def test_effective_shifts_of_a_single_cell_and_of_a_block():
    """Without noise in patches a map of one cell has as many independent shifts as shifts; a 5 x 5 block, far fewer."""
    grid = rtm.simulate_city(random_state=0).grid
    plane = Plane(grid)
    test = ShiftTest(plane)
    means = np.full(grid.n_cells, 0.3)
    left = whitened(plane, means, means)
    cell, block = np.zeros((60, 60)), np.zeros((60, 60))
    cell[30, 30], block[30:35, 30:35] = 1, 1
    alone = test.score([grid.to_vector(cell)], left, "aggravating").n_effective
    # The map's own likeness is a product of two triangles: (1 - |lag| / 5) each way, less the mean.
    lag = np.clip(1 - np.abs(np.arange(-30, 31)) / 5, 0, None)
    expected = test.n_shifts / (np.outer(lag, lag) ** 2).sum()
    assert alone == pytest.approx(test.n_shifts, rel=0.01)
    assert test.score([grid.to_vector(block)], left, "aggravating").n_effective == pytest.approx(
        expected, rel=0.1
    )


def test_adjusted_p_is_the_step_down_maximum():
    """The adjusted p is that of the definition, is never below the plain p, and is the plain p for one factor."""
    rng = np.random.default_rng(5)
    for _ in range(50):
        statistics = [np.append(rng.normal(1), rng.normal(size=40)) for _ in range(4)]
        adjusted = adjust_stepwise(statistics)
        plain = np.array([(1 + (one[1:] >= one[0]).sum()) / one.size for one in statistics])
        order = np.argsort([-one[0] for one in statistics])
        least = 0.0
        for rank, factor in enumerate(order):
            rest = [statistics[other] for other in order[rank:]]
            count = sum(max(one[1 + shift] for one in rest) >= statistics[factor][0] for shift in range(40))
            least = max(least, (1 + count) / 41)
            assert adjusted[factor] == pytest.approx(least)
        assert (adjusted >= plain - 1e-12).all()
        np.testing.assert_allclose(adjust_stepwise(statistics[:1]), plain[:1])


def test_the_best_column_is_among_its_extents():
    """The extent set holds the best column, grows with the level, and a copy of the best is never told from it."""
    grid, rng = lake_grid(), np.random.default_rng(8)
    plane = Plane(grid)
    means = np.full(grid.n_cells, 0.8)
    left = whitened(plane, rng.poisson(means).astype(float), means)
    columns = [(rng.random(grid.n_cells) < 0.4).astype(float) for _ in range(4)]
    scores = ShiftTest(plane).score([*columns, columns[0]], left, "aggravating")
    narrow, wide = scores.extent_set(0.5), scores.extent_set(0.95)
    assert narrow[scores.best]
    assert (wide | ~narrow).all()
    assert narrow[0] == narrow[4]
