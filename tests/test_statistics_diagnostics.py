"""Diagnostics of a fitted model of counts."""

import numpy as np
import pytest
from scipy import stats

import rtmkc as rtm
from rtmkc.errors import InputError
from rtmkc.evidence.statistics.diagnostics import (
    Correlogram,
    NoiseRange,
    collinearity,
    correlogram,
    fit_range,
    moran,
    overdispersion_test,
    residual_tests,
)


def irregular(shape=(9, 13), seed=5, share=0.6):
    """Residuals, means and an irregular area, with rubbish outside it."""
    generator = np.random.default_rng(seed)
    inside = generator.uniform(size=shape) < share
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
    """Mean over 25 cities of variance .5, range 4 and of variance 1, range 6 lies near the truth."""
    for variance, reach in ((0.5, 4.0), (1.0, 6.0)):
        fits = np.array([fit_range(city_correlogram(seed, variance, reach)) for seed in range(25)])
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


@pytest.mark.parametrize("corners", [True, False])
def test_moran_equals_esda_on_an_irregular_area(corners):
    """PySAL's Moran with binary queen and rook weights gives the same number."""
    import esda
    import libpysal

    residuals, _, inside = irregular(share=0.8)
    rows, columns = np.nonzero(inside)
    down, across = (np.abs(part[:, None] - part[None, :]) for part in (rows, columns))
    near = (np.maximum(down, across) == 1) if corners else (down + across == 1)
    assert near.any(axis=1).all(), "esda counts cells without neighbours differently"
    weights = libpysal.weights.full2W(near.astype(float))
    weights.transform = "b"
    known = esda.Moran(residuals[inside], weights, transformation="b", permutations=0).I
    assert moran(residuals, inside, corners=corners) == pytest.approx(known, rel=1e-10)


def test_moran_of_equal_values_and_of_lone_cells_is_zero():
    """Where nothing can be alike the answer is 0 and not NaN."""
    assert moran(np.full((3, 3), 7.1), np.ones((3, 3), dtype=bool)) == 0.0
    lone = np.zeros((3, 5), dtype=bool)
    lone[1, [0, 4]] = True
    assert moran(np.arange(15.0).reshape(3, 5), lone) == 0.0


def test_moran_does_not_wrap_from_one_row_to_the_next():
    """The last cell of a row and the first of the next are no neighbours."""
    values = np.zeros((3, 4))
    values[0, 3] = values[1, 0] = 1.0
    centred = values - values.mean()
    down = (centred[:-1] * centred[1:]).sum()
    across = (centred[:, :-1] * centred[:, 1:]).sum()
    known = 12 * (down + across) / (17 * (centred**2).sum())
    assert moran(values, np.ones((3, 4), dtype=bool), corners=False) == pytest.approx(known)


def simulated(means, sigma, seed):
    generator = np.random.default_rng(seed)
    rate = generator.gamma(means / sigma, sigma) if sigma else means
    return generator.poisson(rate)


@pytest.mark.parametrize("sigma", [0.0, 1.5])
def test_the_simulated_data_have_the_mean_and_variance_of_the_model(sigma):
    """Pearson's X2 per degree of freedom of simulated data is 1 on average, for Poisson and for NB1."""
    generator = np.random.default_rng(3)
    means = generator.gamma(1.0, 0.4, 1200) + 0.01
    tests = residual_tests(
        simulated(means, sigma, 0), means, np.ones((30, 40), dtype=bool), dispersion=sigma, n_parameters=0,
        n_simulations=600,
    )  # fmt: skip
    drawn = tests["dispersion"].simulated
    assert drawn.mean() == pytest.approx(1.0, abs=4 * drawn.std() / np.sqrt(600))
    assert tests["queen"].simulated.mean() == pytest.approx(-1 / 1199, abs=0.003)


@pytest.mark.parametrize("sigma", [0.0, 1.5])
def test_a_true_model_is_rarely_rejected(sigma):
    """Over 60 data sets of the model itself each test has p <= .05 in at most 8 (binomial, once in 500)."""
    generator = np.random.default_rng(4)
    means = generator.gamma(1.0, 0.4, 900) + 0.01
    area = np.ones((30, 30), dtype=bool)
    rejected = np.zeros(3)
    for seed in range(60):
        tests = residual_tests(
            simulated(means, sigma, seed), means, area, dispersion=sigma, n_simulations=99, random_state=seed
        )
        rejected += [test.p_value <= 0.05 for test in tests.values()]
    assert rejected.max() <= 8


def test_noise_is_seen_as_overdispersion_and_as_correlation():
    """Under clustered noise all three tests have the smallest p that the simulations allow."""
    city = rtm.simulate_city(active="null", noise_variance=1.0, noise_range=6.0, random_state=2)
    counts = city.grid.count(city.incidents)
    means = np.full(city.grid.n_cells, counts.mean())
    tests = residual_tests(counts, means, city.grid.inside)
    assert {name: test.p_value for name, test in tests.items()} == dict.fromkeys(tests, 1 / 200)


def test_residual_tests_depend_on_the_seed_alone():
    """The same seed gives the same simulations, another seed others."""
    means = np.full(40, 0.7)
    counts = simulated(means, 0.0, 0)
    first, second, other = (
        residual_tests(counts, means, np.ones((5, 8), dtype=bool), random_state=seed)["queen"].simulated
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_residual_tests_refuse_what_is_not_a_model_of_counts():
    """Wrong lengths, means of 0 and a negative dispersion are errors."""
    area = np.ones((2, 2), dtype=bool)
    with pytest.raises(InputError, match="one of each for the 4 cells"):
        residual_tests([1, 2, 3], [1.0] * 3, area)
    with pytest.raises(InputError, match="means greater than 0"):
        residual_tests([1, 2, 3, 0], [1.0, 1.0, 1.0, 0.0], area)
    with pytest.raises(InputError, match="dispersion -1"):
        residual_tests([1, 2, 3, 0], [1.0] * 4, area, dispersion=-1)


def test_overdispersion_is_tested_at_its_boundary():
    """At the 5 % point of chi-squared(1) for p = .1 the boundary p is .05; without a gain p is 1."""
    ratio, p_value = overdispersion_test(-500.0, -500.0 - stats.chi2.isf(0.1, 1) / 2)
    assert (ratio, p_value) == pytest.approx((stats.chi2.isf(0.1, 1), 0.05))
    assert overdispersion_test(-500.0, -500.0) == (0.0, 1.0)
    assert overdispersion_test(-500.0, -499.9999) == (0.0, 1.0)


def test_variance_inflation_is_that_of_statsmodels():
    """statsmodels' factors and numpy's correlations on correlated 0/1 columns."""
    from statsmodels.stats.outliers_influence import variance_inflation_factor

    generator = np.random.default_rng(8)
    hidden = generator.normal(size=(400, 1))
    columns = (hidden + 0.6 * generator.normal(size=(400, 4)) > 0.5).astype(float)
    inflation, correlation = collinearity(columns)
    with_intercept = np.column_stack([np.ones(400), columns])
    known = [variance_inflation_factor(with_intercept, number) for number in range(1, 5)]
    np.testing.assert_allclose(inflation, known, rtol=1e-8)
    np.testing.assert_allclose(
        correlation + np.eye(4), np.corrcoef(columns, rowvar=False), rtol=1e-10, atol=1e-12
    )


def test_columns_that_make_up_another_have_infinite_inflation():
    """Complements and constants are infinite, their correlations finite; no columns are no factors."""
    column = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    inflation, correlation = collinearity(np.column_stack([column, 1 - column]))
    assert np.isinf(inflation).all()
    assert correlation[0, 1] == pytest.approx(-1.0)
    inflation, correlation = collinearity(np.column_stack([column, np.ones(5)]))
    assert inflation.tolist() == [1.0, np.inf]
    assert not correlation.any()
    assert collinearity(np.empty((5, 0)))[0].size == 0
