"""Local history, against a plain implementation of its formulas and its limits."""

import math

import numpy as np
import pytest
import shapely
from scipy.integrate import quad
from scipy.ndimage import correlate1d, gaussian_filter
from scipy.stats import gamma, nbinom, poisson

import rtmkc as rtm
from rtmkc.model.history.ages import Lesson, Lessons, Past, both_ways
from rtmkc.model.history.cells import HotCells, cell_multiplier, differentiate
from rtmkc.model.history.fit import Parameters, Scales, Trial, climb, fit_history
from rtmkc.model.history.intervals import Rates, fit_drift, predictive_interval, rates_of
from rtmkc.model.history.kernels import smooth

UTM = "EPSG:26915"


@pytest.fixture(scope="module")
def grid():
    """An irregular area with a hole: 100 m cells."""
    shape = shapely.Point(5000, 5000).buffer(2000).difference(shapely.box(5000, 5000, 5600, 5500))
    return rtm.Grid.cover(rtm.StudyArea.from_geometry(shape, crs=UTM), cell_size=100)


def plain_history(grid, base, counts, tempering, strengths, hot=None):
    """The recipe written out: kernels as rasters, one line a step."""
    current = base**tempering
    current = current / current.sum() * counts.sum()
    for width, strength in zip((5.0, 1.25, 0.0), strengths, strict=True):
        if not width and hot is not None:
            return current * cell_multiplier(strength, hot, counts, current)
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
    oracle = plain_history(
        grid, np.sqrt(risk), counts, history.tempering, history.strengths, history.parameters.hot
    )
    np.testing.assert_allclose(history.base * np.prod(history.multipliers, axis=0), oracle, rtol=1e-10)
    assert history.base.sum() == pytest.approx(counts.sum())


def test_the_fit_is_no_worse_than_a_search_over_a_lattice(grid):
    """The optimum of the two-way half likelihood is at least as good as the best of a coarse lattice."""
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

    trial = Trial(Scales(grid, base, np.ones(grid.n_cells), (500.0, 125.0, 0.0)), both_ways([half], counts))
    found = climb(trial, Parameters(1.0, (math.e,) * 3), is_flat=False)
    lattice = min(
        loss(tempering, (wide, narrow, own))
        for tempering in (0.5, 1.0, 1.5)
        for wide in (0.3, 3.0, 300.0)
        for narrow in (0.3, 3.0, 300.0)
        for own in (0.3, 3.0, 300.0)
    )
    assert loss(found.tempering, found.strengths) <= lattice + 1e-6


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


def test_a_mixture_has_the_quantiles_of_its_sum():
    """Interval ends of a mixture of two kinds equal those of the summed probabilities, counted out."""
    rates = Rates(
        np.array([[0.9, 0.3], [0.1, 0.7]]),
        np.array([[0.5, 2.0], [9.0, 40.0]]),
        np.array([[2.0, 1.0], [3.0, 8.0]]),
    )
    lower, upper = predictive_interval(rates)
    counts = np.arange(400)
    for cell in range(2):
        kinds = zip(rates.chances[:, cell], rates.means[:, cell], rates.shapes[:, cell], strict=True)
        mass = sum(
            chance * nbinom.pmf(counts, shape, shape / (shape + mean)) for chance, mean, shape in kinds
        )
        reached = np.cumsum(mass)
        assert lower[cell] == np.argmax(reached >= 0.05)
        assert upper[cell] == np.argmax(reached >= 0.95)
        at = np.array([3.0, 7.0])
        assert rates.log_probability(at)[cell] == pytest.approx(np.log(mass[int(at[cell])]), rel=1e-10)


@pytest.mark.parametrize("hot", [None, HotCells(0.1, 6.0, 0.7)], ids=["one-kind", "two-kinds"])
def test_the_multiplier_of_a_cell_is_a_posterior_mean(hot):
    """It equals the integral of multiplier x prior x Poisson likelihood over all multipliers."""
    strength = 1.3

    def prior(value):
        own = gamma.pdf(value, strength, scale=1 / strength)
        if hot is None:
            return own
        return (1 - hot.share) * own + hot.share * gamma.pdf(
            value, hot.strength, scale=hot.lift / hot.strength
        )

    for seen, expected in ((0, 0.4), (3, 0.4), (9, 2.5)):

        def weighed(power, seen=seen, expected=expected):
            return quad(lambda m: m**power * prior(m) * poisson.pmf(seen, m * expected), 0, 120, limit=400)[0]

        found = cell_multiplier(strength, hot, np.array([float(seen)]), np.array([expected]))[0]
        assert found == pytest.approx(weighed(1) / weighed(0), rel=1e-6)
    nothing = cell_multiplier(strength, None, np.zeros(1), np.zeros(1))
    assert nothing[0] == 1.0


def test_multipliers_move_as_their_derivatives_say():
    """Every derivative of the multiplier equals a central difference."""
    rng = np.random.default_rng(6)
    seen, expected, step = 1.3 * rng.poisson(1.0, 60), rng.gamma(1.0, 1.0, 60), 1e-6
    some = seen > 0

    def value(strength=0.7, share=-3.0, lift=2.0, other=-0.5, more=0.0, older=0.0):
        hot = HotCells(1 / (1 + math.exp(-share)), math.exp(lift), math.exp(other))
        return cell_multiplier(strength, hot, seen + older * some, expected + more)

    found = differentiate(
        0.7, HotCells(1 / (1 + math.exp(3.0)), math.exp(2.0), math.exp(-0.5)), seen, expected
    )
    np.testing.assert_allclose(found.value, value())
    moves = {"more": found.by_expected, "older": found.by_seen, "strength": found.by_strength}
    moves |= dict(zip(("share", "lift", "other"), found.by_hot, strict=True))
    start = {"more": 0.0, "older": 0.0, "strength": 0.7, "share": -3.0, "lift": 2.0, "other": -0.5}
    for name, slope in moves.items():
        up, down = (value(**{name: start[name] + way * step}) for way in (1, -1))
        rows = some if name == "older" else slice(None)
        np.testing.assert_allclose(((up - down) / (2 * step))[rows], slope[rows], rtol=1e-5, atol=1e-7)


def aged_lesson(grid, seed, *, years=6, fading=0.0):
    """Incidents of several years in places that change every year with the correlation exp(-fading)."""
    rng = np.random.default_rng(seed)
    keep = math.exp(-fading)
    places = rng.normal(size=grid.n_cells)
    cells, ages, counts = [], [], None
    for year in range(years):
        risk = np.exp(1.2 * places)
        counts = rng.poisson(900 * risk / risk.sum())
        number = int(counts.sum())
        cells.append(np.repeat(np.arange(grid.n_cells), counts))
        ages.append(365.0 * (years - 2 - year) + rng.integers(1, 366, number))
        places = keep * places + math.sqrt(1 - keep**2) * rng.normal(size=grid.n_cells)
    past = Past(
        grid.n_cells,
        np.concatenate(cells[:-1]),
        np.concatenate(ages[:-1]),
        np.ones(sum(map(len, cells[:-1]))),
    )
    return Lesson(past, counts, float(counts.sum()))


def test_the_gradient_is_that_of_the_likelihood(grid):
    """Derivatives by tempering, strengths, tau and hot cells equal central differences of the log likelihood."""
    risk, _ = simulated(grid, 7)
    trial = Trial(Scales(grid, risk, np.ones(grid.n_cells), (500.0, 125.0, 0.0)), [aged_lesson(grid, 0)])
    at = Parameters(1.2, (2.0, 1.0, 0.7), 900.0, HotCells(0.05, 8.0, 0.6))
    slope = trial.value_and_gradient(at)[1]
    for number in range(len(slope)):
        step = np.zeros(len(slope))
        step[number] = 1e-5
        ends = [trial.log_likelihood(at.moved_to(at.values + way * step)) for way in (1, -1)]
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(slope[number], rel=1e-5, abs=1e-3)


def test_old_incidents_weigh_less_only_where_places_change(grid):
    """Places that last keep all their past; where they change within three years tau is a few years, and wins."""

    def fit(fading):
        lesson = aged_lesson(grid, 3, fading=fading)
        lessons = Lessons((lesson,), np.ones(1, dtype=bool), None, True, True, "")
        return fit_history(grid, np.ones(grid.n_cells), lesson.past, lessons).parameters.decay_days

    assert fit(0.0) > 10 * 365
    assert 0.5 * 365 < fit(0.6) < 5 * 365


def test_weighted_counts_flow_through(grid):
    """With weights of ages the surface sums to the weighted incidents, and is the recipe on the weighted counts."""
    lesson = aged_lesson(grid, 3, fading=0.6)
    lessons = Lessons((lesson,), np.ones(1, dtype=bool), None, True, True, "")
    history = fit_history(grid, np.ones(grid.n_cells), lesson.past, lessons)
    weighted = np.zeros(grid.n_cells)
    np.add.at(weighted, lesson.past.cells, np.exp(-lesson.past.ages / history.parameters.decay_days))
    np.testing.assert_allclose(history.counts, weighted)
    assert history.base.sum() == pytest.approx(weighted.sum())
    oracle = plain_history(
        grid, np.ones(grid.n_cells), weighted, 1.0, history.strengths, history.parameters.hot
    )
    np.testing.assert_allclose(history.expected, oracle, rtol=1e-10)
    rates = history.rates(100.0)
    np.testing.assert_allclose(
        (rates.chances * rates.means).sum(axis=0), 100 * oracle / oracle.sum(), rtol=1e-10
    )


def test_spread_of_a_rate_is_that_of_draws():
    """The standard deviation of a mixture of two gamma rates is that of 400,000 draws from it."""
    rates = Rates(
        np.array([[0.7, 1.0], [0.3, 0.0]]),
        np.array([[1.0, 2.0], [6.0, 9.0]]),
        np.array([[2.0, 4.0], [0.5, 1.0]]),
    )
    random = np.random.default_rng(0)
    is_second = random.random((400_000, 2)) < rates.chances[1]
    draws = [
        random.gamma(rates.shapes[kind], rates.means[kind] / rates.shapes[kind], (400_000, 2))
        for kind in (0, 1)
    ]
    drawn = np.where(is_second, draws[1], draws[0])
    np.testing.assert_allclose(rates.standard_deviation(), drawn.std(axis=0), rtol=0.02)


def test_two_kinds_of_cells_are_seen_only_where_there_are_two(grid):
    """One cell in a hundred at thirty times its risk is found; gamma cells of one kind keep one."""
    rng = np.random.default_rng(8)
    hot = rng.random(grid.n_cells) < 0.01
    for lift, is_found in ((30.0, True), (1.0, False)):
        risk = rng.gamma(5.0, 0.2, grid.n_cells) * np.where(hot, lift, 1.0)
        counts = rng.poisson(3000 * risk / risk.sum())
        history = fit_history(
            grid, np.ones(grid.n_cells), counts, both_ways([rng.binomial(counts, 0.5)], counts)
        )
        assert (history.parameters.hot is not None) == is_found
    assert len(history.parameters.values) == 4


def test_drift_is_the_spread_that_rates_leave_out():
    """Futures drawn with a further gamma multiplier of variance .5 give it back, to the extent that a product of two gamma
    variables is one; without it there is none.
    """
    rng = np.random.default_rng(9)
    seen, surface = rng.poisson(2.0, 20_000).astype(float), np.full(20_000, 2.0)
    rates = rates_of(1.5, None, surface, seen, 40_000.0)
    drawn = rng.gamma(rates.shapes[0], rates.means[0] / rates.shapes[0])
    assert fit_drift([(rates, rng.poisson(drawn))]) < 0.02
    drifted = rng.poisson(drawn * rng.gamma(2.0, 0.5, 20_000))
    drift = fit_drift([(rates, drifted)])
    assert drift == pytest.approx(0.45, abs=0.06)
    lower, upper = predictive_interval(rates.widened(drift))
    assert 0.9 <= ((drifted >= lower) & (drifted <= upper)).mean() < 0.97
    assert fit_drift([]) == 0.0
