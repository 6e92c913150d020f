"""Past counts and kernel density, against brute force and what they must do by their definition."""

import numpy as np
import pytest
import shapely

import rtmkc as rtm
from rtmkc.errors import InputError
from rtmkc.evidence.baselines import (
    BANDWIDTHS_CELLS,
    COUNT_FLOORS,
    KDE_FLOORS,
    kernel_density,
    log_score,
    mixed,
    parts_of,
    past_counts,
)

UTM = "EPSG:26915"


@pytest.fixture(scope="module")
def grid():
    """An irregular area: a disc with a corner cut out, 100 m cells, partial cells at its edge."""
    shape = shapely.Point(5000, 5000).buffer(1200).difference(shapely.box(5000, 5000, 5600, 5500))
    return rtm.Grid.cover(rtm.StudyArea.from_geometry(shape, crs=UTM), cell_size=100)


def parts(grid, seed, number=600, width=350.0):
    random = np.random.default_rng(seed)
    risk = grid.share * np.exp(-((grid.eastings - 4600) ** 2 + (grid.northings - 4700) ** 2) / (2 * width**2))
    return [random.poisson(number / 5 * risk / risk.sum()) for _ in range(5)]


def plain_density(grid, counts, width):
    """The kernel summed cell by cell over the area, divided by that of the area; cut at 4 widths along each axis."""
    east = np.abs(grid.columns[:, None] - grid.columns[None, :])
    south = np.abs(grid.rows[:, None] - grid.rows[None, :])
    kernel = np.exp(-(east**2 + south**2) / (2 * width**2))
    kernel[np.maximum(east, south) > int(4 * width + 0.5)] = 0
    expected = grid.share * (kernel @ counts) / (kernel @ grid.share)
    return expected / expected.sum()


def test_kernel_density_is_the_brute_force_one(grid):
    """Bandwidth and floor are those of a search by plain sums over cells, and so is the surface."""
    pieces = parts(grid, 0)
    found = kernel_density(grid, pieces)
    total, best = np.sum(pieces, axis=0), (-np.inf, 0.0, 0.0)
    for width in BANDWIDTHS_CELLS:
        fits = [plain_density(grid, total - held, width) for held in pieces]
        for floor in KDE_FLOORS:
            score = sum(
                float(held @ np.log((1 - floor) * fit + floor * grid.share / grid.share.sum()))
                for held, fit in zip(pieces, fits, strict=True)
            )
            best = max(best, (score, width, floor))
    assert (found.bandwidth_cells, found.floor) == best[1:]
    oracle = mixed(plain_density(grid, total, found.bandwidth_cells), grid.share, found.floor)
    np.testing.assert_allclose(found.shares, oracle, rtol=1e-9)
    assert found.shares.sum() == pytest.approx(1.0)


def test_kernel_density_has_no_edge(grid):
    """Incidents spread as the area is give a density that is the same everywhere, at the edge and in the corner."""
    found = kernel_density(grid, [grid.share * 3.0, grid.share * 2.0])
    np.testing.assert_allclose(found.shares / grid.share, found.shares.sum() / grid.share.sum(), rtol=1e-12)


def test_wider_noise_asks_for_wider_kernels(grid):
    """Incidents about a wide centre get a wider kernel than as many about a narrow one, in the mean of ten."""
    narrow, wide = (
        np.mean([kernel_density(grid, parts(grid, seed, width=width)).bandwidth_cells for seed in range(10)])
        for width in (80.0, 500.0)
    )
    assert narrow < 0.6 * wide


def test_past_counts_rank_as_counts(grid):
    """The floor changes no order of counts per area, and makes no place impossible."""
    pieces = parts(grid, 3)
    found = past_counts(grid.share, pieces)
    density, counts = found.shares / grid.share, np.sum(pieces, axis=0) / grid.share
    order = np.argsort(counts, kind="stable")
    assert (np.diff(density[order]) >= -1e-15).all()
    np.testing.assert_array_equal(np.diff(density[order]) > 1e-12, np.diff(counts[order]) > 1e-9)
    assert density.min() > 0


def test_the_floor_of_counts_predicts_best(grid):
    """Of all floors the chosen one has the best log score of each part from the others, by the definition."""
    pieces = parts(grid, 4)
    total = np.sum(pieces, axis=0)
    scores = []
    for floor in COUNT_FLOORS:
        learned = [(total - held) / (total - held).sum() for held in pieces]
        shares = [(1 - floor) * one + floor * grid.share / grid.share.sum() for one in learned]
        scores.append(sum(float(held @ np.log(one)) for held, one in zip(pieces, shares, strict=True)))
    assert past_counts(grid.share, pieces).floor == COUNT_FLOORS[int(np.argmax(scores))]


def test_one_part_cannot_choose(grid):
    """With incidents in one part only nothing can be predicted from the others."""
    with pytest.raises(InputError, match="at least two must hold incidents"):
        past_counts(grid.share, [np.ones(grid.n_cells), np.zeros(grid.n_cells)])
    with pytest.raises(InputError, match="at least two must hold incidents"):
        kernel_density(grid, [np.ones(grid.n_cells)])


def test_parts_and_scores():
    """Parts hold the incidents of their fold; the score is the sum of logs, cells without incidents aside."""
    pieces = parts_of(np.array([0, 2, 2, 1]), np.array([0, 0, 1, 1]), 3)
    assert [part.tolist() for part in pieces] == [[1, 0, 1], [0, 1, 1]]
    assert log_score(np.array([0.5, 0.0, 0.25]), np.array([2, 0, 1])) == pytest.approx(
        2 * np.log(0.5) + np.log(0.25)
    )
    np.testing.assert_allclose(mixed(np.array([3.0, 1.0]), np.array([1.0, 1.0]), 0.2), [0.7, 0.3])
