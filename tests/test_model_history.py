"""Local history, against a plain implementation of its formulas and its limits."""

import numpy as np
import pytest
import shapely
from scipy.ndimage import correlate1d, gaussian_filter
from scipy.stats import nbinom, poisson

import rtmkc as rtm
from rtmkc.model.ages import both_ways
from rtmkc.model.history import fit_history
from rtmkc.model.kernels import smooth
from rtmkc.model.history_intervals import Rates, predictive_interval

UTM = "EPSG:26915"


@pytest.fixture(scope="module")
def grid():
    """An irregular area with a hole: 100 m cells."""
    shape = shapely.Point(5000, 5000).buffer(2000).difference(shapely.box(5000, 5000, 5600, 5500))
    return rtm.Grid.cover(rtm.StudyArea.from_geometry(shape, crs=UTM), cell_size=100)


def plain_history(grid, base, counts, tempering, strengths):
    """The recipe written out: kernels as rasters, one line a step."""
    current = base**tempering
    current = current / current.sum() * counts.sum()
    for width, strength in zip((5.0, 1.25, 0.0), strengths, strict=True):
        if width:
            taps = np.exp(-0.5 * (np.arange(-int(4 * width), int(4 * width) + 1) / width) ** 2)

            def under(vector, taps=taps):
                raster = grid.to_raster(vector.astype(float), fill=0.0)
                for axis in (0, 1):
                    raster = correlate1d(raster, taps, axis=axis, mode="constant")
                return grid.to_vector(raster)
        else:

            def under(vector):
                return vector

        current = current * (strength + under(counts)) / (strength + under(current))
    return current


def simulated(grid, seed):
    rng = np.random.default_rng(seed)
    noise = gaussian_filter(rng.normal(size=grid.inside.shape), 2, mode="constant", truncate=4)
    risk = np.exp(grid.to_vector(noise) * 2 * np.pi)
    risk *= 1200 / risk.sum()
    return risk, rng


def test_smoothing_is_scipys(grid):
    """The compiled convolution equals scipy's within the spans of the rows, zeros beyond the edge."""
    raster = np.random.default_rng(0).random((37, 53))
    first, last = np.zeros(37, dtype=int), np.full(37, 53)
    first[:9], last[30:], first[20], last[20] = 15, 31, 0, 0
    column = np.arange(53)
    raster[(column < first[:, None]) | (column >= last[:, None])] = 0.0
    taps = np.exp(-0.5 * (np.arange(13) / 3) ** 2)
    whole = np.concatenate([taps[:0:-1], taps])
    oracle = correlate1d(correlate1d(raster, whole, axis=0, mode="constant"), whole, axis=1, mode="constant")
    oracle[(column < first[:, None]) | (column >= last[:, None])] = 0.0
    np.testing.assert_allclose(smooth(raster, taps, first, last), oracle, rtol=1e-13)


def test_the_surface_is_the_written_out_recipe(grid):
    """base ^ gamma, then three gamma-Poisson steps: the fitted object equals the formulas of its parameters."""
    risk, rng = simulated(grid, 1)
    counts = rng.poisson(risk)
    half = rng.binomial(counts, 0.5)
    history = fit_history(grid, np.sqrt(risk), counts, both_ways([half], counts))
    oracle = plain_history(grid, np.sqrt(risk), counts, history.tempering, history.strengths)
    np.testing.assert_allclose(history.base * np.prod(history.multipliers, axis=0), oracle, rtol=1e-10)
    assert history.base.sum() == pytest.approx(counts.sum())


def test_the_fit_is_no_worse_than_a_search_over_a_lattice(grid):
    """Powell's optimum of the two-way half likelihood is at least as good as the best of a coarse lattice."""
    risk, rng = simulated(grid, 2)
    counts = rng.poisson(risk)
    half = rng.binomial(counts, 0.5)
    base = risk**0.6

    def loss(tempering, strengths):
        value = 2 * 0.01 * sum((np.log(strength) - 1) ** 2 for strength in strengths)
        for learned, predicted in ((half, counts - half), (counts - half, half)):
            current = plain_history(grid, base, learned, tempering, strengths)
            value -= predicted @ np.log(current / current.sum())
        return value

    history = fit_history(grid, base, counts, both_ways([half], counts))
    lattice = min(
        loss(tempering, (wide, narrow, own))
        for tempering in (0.5, 1.0, 1.5)
        for wide in (0.3, 3.0, 300.0)
        for narrow in (0.3, 3.0, 300.0)
        for own in (0.3, 3.0, 300.0)
    )
    assert loss(history.tempering, history.strengths) <= lattice + 1e-6


def test_history_that_repeats_by_chance_alone_is_switched_off(grid):
    """When the base is the truth and counts are Poisson, the strengths grow and the multipliers stay near 1."""
    risk, rng = simulated(grid, 3)
    counts = rng.poisson(risk * 3)
    history = fit_history(grid, risk, counts, both_ways([rng.binomial(counts, 0.5)], counts))
    assert history.tempering == pytest.approx(1.0, abs=0.15)
    total = np.prod(history.multipliers, axis=0)
    assert np.average(np.abs(np.log(total)), weights=risk) < 0.12


def test_history_finds_what_the_base_does_not_know(grid):
    """With a flat base the forecast leaves at most half the unexplained variance of the true intensity."""
    risk, rng = simulated(grid, 4)
    risk = risk**2 / (risk**2).sum() * 1500
    counts = rng.poisson(risk)
    lessons = both_ways([rng.binomial(counts, 0.5)], counts)
    history = fit_history(grid, np.ones(grid.n_cells), counts, lessons, widths=(400.0, 100.0))
    assert history.tempering == 1.0
    found = history.base * np.prod(history.multipliers, axis=0)
    unexplained = [1 - np.corrcoef(surface, risk)[0, 1] ** 2 for surface in (found, counts)]
    assert unexplained[0] < 0.5 * unexplained[1]


def test_no_incidents_in_a_half_leaves_the_start_values(grid):
    """One incident cannot be halved: the multipliers are still finite and positive."""
    counts = np.zeros(grid.n_cells, dtype=int)
    counts[50] = 1
    history = fit_history(grid, np.ones(grid.n_cells), counts, both_ways([np.zeros(grid.n_cells)], counts))
    assert np.all(history.multipliers > 0)
    assert np.all(np.isfinite(history.multipliers))


def test_predictive_intervals_are_gamma_poisson():
    """Counts drawn from a gamma-mixed Poisson fall in the 90 % interval at least 90 % of the time, and not always."""
    rng = np.random.default_rng(5)
    shape, mean = np.array([0.5, 2.0, 10.0]), np.array([0.8, 3.0, 40.0])
    lower, upper = predictive_interval(one_kind(mean, shape))
    drawn = rng.poisson(rng.gamma(shape, mean / shape, (200_000, 3)))
    covered = ((drawn >= lower) & (drawn <= upper)).mean(axis=0)
    assert np.all(covered >= 0.898)
    assert np.all(covered < 0.98)
    chance = shape / (shape + mean)
    np.testing.assert_array_equal(upper, nbinom.ppf(0.95, shape, chance))
    large = predictive_interval(one_kind(mean, np.full(3, 1e9)))[1]
    np.testing.assert_array_equal(large, poisson.ppf(0.95, mean))


def one_kind(mean, shape):
    """Rates with one gamma distribution a cell."""
    return Rates(np.ones((1, len(mean))), mean[None], shape[None])
