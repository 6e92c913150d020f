"""Diagnostics of a fitted model of counts."""

import numpy as np
import pytest

import rtmkc as rtm
from rtmkc.errors import InputError
from rtmkc.evidence.statistics.diagnostics import Correlogram, NoiseRange, correlogram, fit_range


def irregular(shape=(9, 13), seed=5):
    """Residuals, means and an irregular area, with rubbish outside it."""
    generator = np.random.default_rng(seed)
    inside = generator.uniform(size=shape) < 0.6
    means = generator.gamma(2.0, 1.0, shape)
    residuals = generator.poisson(means) - means
    residuals[~inside] = np.nan
    means[~inside] = 1e6
    return residuals, means, inside


def city_correlogram(seed, variance, reach, max_lag=20):
    city = rtm.simulate_city(active="null", noise_variance=variance, noise_range=reach, random_state=seed)
    grid, counts = city.grid, city.grid.count(city.incidents)
    means = city.mean_intensity * counts.sum() / city.mean_intensity.sum()
    residuals = grid.to_raster(counts - means, fill=0.0)
    return correlogram(residuals, grid.to_raster(means, fill=0.0), grid.inside, max_lag)


def test_a_correlogram_equals_the_sum_over_all_pairs_of_an_irregular_area():
    """Brute force over every pair of cells gives the same values, pairs and distances."""
    residuals, means, inside = irregular()
    found = correlogram(residuals, means, inside, 6)
    rows, columns = np.nonzero(inside)
    e, mu = residuals[inside], means[inside]
    e = e - mu * e.sum() / mu.sum()
    first, second = np.triu_indices(e.size, 1)
    distance = np.hypot(rows[first] - rows[second], columns[first] - columns[second])
    for position, ring in enumerate(range(1, 7)):
        pairs = np.flatnonzero(np.rint(distance) == ring)
        i, j = first[pairs], second[pairs]
        assert found.pairs[position] == pairs.size
        assert found.value[position] == pytest.approx((e[i] * e[j]).sum() / (mu[i] * mu[j]).sum(), rel=1e-9)
        assert found.distance[position] == pytest.approx(
            np.average(distance[pairs], weights=mu[i] * mu[j]), rel=1e-9
        )


def test_a_correlogram_does_not_see_where_the_area_lies_in_its_raster():
    """Empty rows and columns around the area change nothing."""
    residuals, means, inside = irregular()
    around = ((3, 1), (0, 7))
    wider = correlogram(
        np.pad(residuals, around), np.pad(means, around), np.pad(inside, around, constant_values=False), 6
    )
    found = correlogram(residuals, means, inside, 6)
    np.testing.assert_allclose(wider.value, found.value, rtol=1e-9)
    assert wider.range_bounds == found.range_bounds


@pytest.mark.parametrize(("variance", "reach"), [(0.5, 4.0), (0.2, 9.0), (2.0, 1.5)])
def test_a_known_covariance_is_found_again(variance, reach):
    """A correlogram without error gives its own variance and range, within a step of the ranges tried."""
    distance = np.arange(1.0, 21.0)
    value = np.expm1(variance * np.exp(-distance / reach))
    fitted = fit_range(Correlogram(distance, value, distance, 1e4 * distance, 1e9, 1.0, (0.5, 30.0)))
    assert fitted == pytest.approx((variance, reach), rel=0.02)


def test_ranges_of_simulated_noise_are_found():
    """Mean over 40 cities of variance .5, range 4 and of variance 1, range 6 lies near the truth."""
    for variance, reach in ((0.5, 4.0), (1.0, 6.0)):
        fits = np.array([fit_range(city_correlogram(seed, variance, reach)) for seed in range(40)])
        assert fits[:, 0].mean() == pytest.approx(variance, rel=0.15)
        assert fits[:, 1].mean() == pytest.approx(reach, rel=0.2)


def test_without_noise_there_is_mostly_no_range():
    """At least 34 of 40 cities without noise have variance 0 and range 0."""
    fits = [fit_range(city_correlogram(seed, 0.0, 4.0)) for seed in range(40)]
    assert sum(fit == NoiseRange(0.0, 0.0) for fit in fits) >= 34


def test_a_trend_across_the_area_stops_at_the_upper_bound():
    """Noise longer than the area has the range of half its shorter side, and no more."""
    means = np.full((20, 30), 5.0)
    residuals = np.linspace(-4, 4, 30)[None, :] * np.ones((20, 1))
    found = correlogram(residuals, means, np.ones((20, 30), dtype=bool), 10)
    assert found.range_bounds == (0.5, 10.0)
    assert fit_range(found).range_cells == pytest.approx(10.0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 2)])
def test_tiny_areas_give_a_number(shape):
    """However few cells there are, variance and range are finite."""
    means = np.ones(shape)
    residuals = np.resize([1.0, 1.0, -1.0], shape)
    assert np.isfinite(fit_range(correlogram(residuals, means, means > 0, 3))).all()


def test_rasters_that_cannot_be_used_are_refused():
    """A wrong shape, NaN inside, and means without incidents are errors."""
    ones = np.ones((3, 4))
    with pytest.raises(InputError, match="must be a raster of the shape of inside"):
        correlogram(np.ones((4, 3)), ones, ones > 0, 2)
    with pytest.raises(InputError, match="not finite in a cell"):
        correlogram(ones * np.nan, ones, ones > 0, 2)
    with pytest.raises(InputError, match="without incidents"):
        correlogram(ones, 0 * ones, ones > 0, 2)
    with pytest.raises(InputError, match="max_lag"):
        correlogram(ones, ones, ones > 0, 0)
