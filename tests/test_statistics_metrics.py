"""Metrics of rankings and forecasts, against brute force, published numbers, statsmodels, scikit-learn and scipy."""

import math
from itertools import permutations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import stats
from sklearn.metrics import mean_poisson_deviance
from statsmodels.stats.proportion import proportion_confint

from rtmkc.errors import InputError
from rtmkc.evidence.statistics.metrics import (
    AREA_SHARES,
    auc,
    calibration,
    calibration_ratio,
    calibration_slope,
    flagged_weights,
    garwood,
    hit_rate,
    hit_rate_curve,
    nats,
    nats_terms,
    normalised_gini,
    pai,
    pei,
    poisson_deviance,
    rank_cells,
    recapture_rate_index,
    wilson,
)

# The worked example of ptools: equal areas, the second and third place tie.
OBSERVED, PREDICTED = [6, 7, 3, 2, 1, 0], [8, 4, 4, 2, 1, 0]


@pytest.fixture(scope="module")
def town():
    """Cells of unequal area, a forecast with ties, and counts drawn from it."""
    rng = np.random.default_rng(3)
    areas = rng.choice([0.25, 0.6, 1.0], 700)
    density = np.round(rng.gamma(0.5, 1.0, 700), 1) + 0.05
    return density, areas, rng.poisson(density * areas)


def filled(order, counts, areas, share):
    """Hit rate of cells taken in this order, the last one by the part of it that fits."""
    room, hits = share * sum(areas), 0.0
    for cell in order:
        part = min(1.0, room / areas[cell])
        hits, room = hits + part * counts[cell], room - part * areas[cell]
        if room <= 0:
            break
    return hits / sum(counts)


def over_all_orders(score, counts, areas, share):
    """Hit rates of every order of the cells that agrees with the score."""
    orders = {
        tuple(sorted(order, key=lambda cell: -score[cell])) for order in permutations(range(len(score)))
    }
    return [filled(order, counts, areas, share) for order in orders]


# ---- rankings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "accuracy", "efficiency", "ratio"),
    [
        (1, (1.895, 1.895, 1.895), (0.857, 0.857, 0.857), (1.333, 1.333, 1.333)),
        (2, (1.737, 1.421, 2.053), (0.846, 0.692, 1.0), (12 / 11, 12 / 13, 1.333)),
        (3, (1.684, 1.684, 1.684), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
    ],
)
def test_worked_example_of_ptools(k, accuracy, efficiency, ratio):
    """PAI, PEI and expected / observed of the first cells are those that ptools prints for its worst case."""
    ranking = rank_cells(PREDICTED)
    assert pai(ranking, OBSERVED, k / 6) == pytest.approx(accuracy, abs=5e-4)
    assert pei(ranking, OBSERVED, k / 6) == pytest.approx(efficiency, abs=5e-4)
    assert calibration_ratio(ranking, PREDICTED, OBSERVED, k / 6) == pytest.approx(ratio, abs=5e-4)


small_towns = some.lists(
    some.tuples(some.integers(0, 2), some.integers(0, 4), some.sampled_from([0.3, 1.0, 1.7])),
    min_size=1,
    max_size=5,
).filter(lambda cells: any(count for _, count, _ in cells))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(small_towns, some.floats(0.01, 1.0))
def test_extremes_are_those_of_all_tie_orders(cells, share):
    """With unequal areas, lowest and highest are the least and the most over every order of tied cells."""
    score, counts, areas = zip(*cells, strict=True)
    found = hit_rate(rank_cells(score, areas), counts, share)
    orders = over_all_orders(score, counts, areas, share)
    assert found.lowest == pytest.approx(min(orders), abs=1e-12)
    assert found.highest == pytest.approx(max(orders), abs=1e-12)
    assert found.lowest <= found.value <= found.highest


@settings(max_examples=100, deadline=None, derandomize=True)
@given(small_towns, some.floats(0.01, 1.0))
def test_best_possible_is_the_best_of_all_orders(cells, share):
    """PEI divides by the most that any order of all cells holds in the same area."""
    score, counts, areas = zip(*cells, strict=True)
    ranking = rank_cells(score, areas)
    best = max(over_all_orders([0] * len(score), counts, areas, share))
    found = pei(ranking, counts, share)
    assert found == pytest.approx([figure / best for figure in hit_rate(ranking, counts, share)], abs=1e-12)
    assert found.highest <= 1 + 1e-12


parcelled_towns = some.lists(
    some.tuples(some.integers(0, 1), some.integers(0, 4), some.integers(1, 3)), min_size=2, max_size=4
).filter(lambda cells: any(count for _, count, _ in cells) and sum(area for *_, area in cells) <= 6)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(parcelled_towns, some.floats(0.01, 1.0))
def test_value_is_the_mean_over_orders_of_parcels(cells, share):
    """The value is the mean over all orders of equal parcels of tied area; with equal areas, of tied cells."""
    score, counts, areas = zip(*cells, strict=True)
    parcels = [number for number, area in enumerate(areas) for _ in range(area)]
    parts = [counts[number] / areas[number] for number in parcels]
    levels = [score[number] for number in parcels]
    every = [
        filled(sorted(order, key=lambda parcel: -levels[parcel]), parts, [1] * len(parts), share)
        for order in permutations(range(len(parts)))
    ]
    assert hit_rate(rank_cells(score, areas), counts, share).value == pytest.approx(np.mean(every), abs=1e-12)


def test_constant_scores_exactly_one(town):
    """A constant has PAI 1, not nearly 1, and AUC .5, whatever the areas."""
    _, areas, counts = town
    for sizes in (areas, None):
        constant = rank_cells(np.full(700, 0.1), sizes)
        assert [pai(constant, counts, share).value for share in (*AREA_SHARES, 1 / 3, 0.7)] == [1.0] * 8
        assert auc(constant, counts) == 0.5
        assert normalised_gini(constant, counts) == 0.0


def test_surfaces_equal_but_for_rounding_are_flat(town):
    """Noise in the last digits of a flat surface ranks nothing, at any scale of the score."""
    _, _, counts = town
    noise = 1 + 1e-13 * np.random.default_rng(0).normal(size=700)
    for scale in (1e-12, 1.0, -1e9):
        assert pai(rank_cells(scale * noise), counts, 0.05).value == 1.0


def test_everything_is_everything(town):
    """The whole area holds all incidents: PAI and PEI are 1 at any ranking, and so are their extremes."""
    density, areas, counts = town
    ranking = rank_cells(density, areas)
    assert pai(ranking, counts, 1.0) == pytest.approx((1, 1, 1), abs=1e-15)
    assert pei(ranking, counts, 1.0) == pytest.approx((1, 1, 1), abs=1e-15)


def test_the_best_ranking_is_the_best(town):
    """Ranked by incidents per area, PEI and normalised Gini are 1; every other ranking has less."""
    density, areas, counts = town
    best, ranking = rank_cells(counts / areas, areas), rank_cells(density, areas)
    assert normalised_gini(best, counts) == pytest.approx(1, abs=1e-12)
    assert normalised_gini(ranking, counts) < 1
    for share in AREA_SHARES:
        assert pei(best, counts, share) == pytest.approx((1, 1, 1), abs=1e-12)
        assert pei(ranking, counts, share).highest < 1


def test_order_of_cells_decides_nothing(town):
    """Every metric is the same to 1e-12 for cells in any order."""
    density, areas, counts = town

    def all_of(density, areas, counts):
        ranking = rank_cells(density, areas)
        figures = [figure for share in AREA_SHARES for figure in hit_rate(ranking, counts, share)]
        figures += [figure for share in AREA_SHARES for figure in pei(ranking, counts, share)]
        figures += calibration_ratio(ranking, density * areas, counts, 0.05)
        figures += [
            auc(ranking, counts),
            normalised_gini(ranking, counts),
            nats(density * areas, counts, areas),
        ]
        figures += [*poisson_deviance(density * areas, counts), *calibration_slope(density * areas, counts)]
        return np.concatenate([figures, *calibration(density * areas, counts, areas)])

    expected = all_of(density, areas, counts)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(700)
        np.testing.assert_allclose(all_of(density[order], areas[order], counts[order]), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "transform", [np.log, np.sqrt, lambda s: 5 * s - 40, stats.rankdata, lambda s: -1 / s]
)
def test_only_the_order_of_scores_counts(town, transform):
    """A rising transform of the score, also one below zero, leaves every rank metric as it is."""
    density, areas, counts = town
    before, after = rank_cells(density, areas), rank_cells(transform(density), areas)
    np.testing.assert_array_equal(after.group, before.group)
    assert pai(after, counts, 0.05) == pai(before, counts, 0.05)


def test_auc_is_a_probability(town):
    """AUC is the chance that an incident's place scores above a random place, ties half."""
    density, areas, counts = town
    above = (density[:, None] > density) + 0.5 * (density[:, None] == density)
    expected = counts @ above @ areas / (counts.sum() * areas.sum())
    assert auc(rank_cells(density, areas), counts) == pytest.approx(expected, rel=1e-12)


def test_curve_holds_every_hit_rate(town):
    """The curve rises from (0, 0) to (1, 1), one point a tie group, through the hit rate at every budget."""
    density, areas, counts = town
    ranking = rank_cells(density, areas)
    curve = hit_rate_curve(ranking, counts)
    assert (curve.area_share[0], curve.hit_share[0], curve.area_share[-1], curve.hit_share[-1]) == (
        0,
        0,
        1,
        1,
    )
    assert len(curve.area_share) == len(np.unique(density)) + 1
    for level in np.unique(density):
        at = areas[density >= level].sum() / areas.sum()
        hits = counts[density >= level].sum() / counts.sum()
        assert np.interp(at, *curve) == pytest.approx(hits, abs=1e-12)
        assert hit_rate(ranking, counts, min(at, 1)) == pytest.approx((hits, hits, hits), abs=1e-12)


def test_weights_of_cells_add_up(town):
    """Weights fill exactly the area share, and the hits they give are the hit rates."""
    density, areas, counts = town
    ranking = rank_cells(density, areas)
    weights = flagged_weights(ranking)
    np.testing.assert_allclose(areas @ weights / areas.sum(), AREA_SHARES, rtol=1e-12)
    rates = [hit_rate(ranking, counts, share).value for share in AREA_SHARES]
    np.testing.assert_allclose(counts @ weights / counts.sum(), rates, rtol=1e-12)
    edge = (weights > 0) & (weights < 1)
    assert all(len(np.unique(density[column])) <= 1 for column in edge.T)


def test_recapture_is_of_both_periods():
    """Hot spots with half of 8 incidents, then a quarter of 12, keep half of their share; NaN with none before."""
    ranking = rank_cells([5, 1, 1, 0])
    assert recapture_rate_index(ranking, [4, 2, 2, 0], [3, 4, 4, 1], 0.25) == pytest.approx(0.5)
    assert math.isnan(recapture_rate_index(ranking, [0, 2, 2, 0], [3, 4, 4, 1], 0.25))


def test_ratio_is_infinite_where_nothing_was_observed():
    """Expected incidents where none came are infinitely too many in the worst order, and not in the best."""
    found = calibration_ratio(rank_cells([2, 2, 1]), [2, 2, 1], [0, 3, 1], 1 / 3)
    assert (found.lowest, found.highest) == (pytest.approx(2 / 3), math.inf)


# ---- forecasts ---------------------------------------------------------------------------------------------------


def test_nats_are_a_multinomial_likelihood_ratio(town):
    """Nats are log multinomial likelihood, forecast over uniform, per incident."""
    density, areas, counts = town
    forecast = density * areas
    n = counts.sum()
    gained = [
        stats.multinomial.logpmf(counts, n, shares / shares.sum()) for shares in (forecast, areas)
    ]  # fmt: skip
    assert nats(17 * forecast, counts, areas) == pytest.approx((gained[0] - gained[1]) / n, rel=1e-9)
    terms = nats_terms(forecast, counts, areas)
    assert terms.sum() / n == pytest.approx(nats(forecast, counts, areas), rel=1e-12)
    assert not terms[counts == 0].any()


def test_nats_of_a_flat_density_are_zero(town):
    """A forecast in proportion to area has no nats."""
    _, areas, counts = town
    assert nats(3 * areas, counts, areas) == pytest.approx(0, abs=1e-14)


def test_nothing_beats_the_truth(town):
    """In expectation the true density has more nats than it sharpened, flattened or disturbed."""
    density, areas, _ = town
    truth = density * areas
    best = nats(truth, truth, areas)
    noise = np.random.default_rng(1).gamma(20, 1 / 20, 700)
    for other in (density**1.1 * areas, density**0.9 * areas, truth * noise):
        assert nats(other, truth, areas) < best


def test_the_impossible_happened():
    """An incident where none was expected costs everything; an empty impossible cell costs nothing."""
    assert nats([0, 2, 2], [1, 1, 0]) == -math.inf
    assert nats([0, 2, 2], [0, 1, 1]) == pytest.approx(math.log(1.5))
    assert poisson_deviance([0, 2], [1, 1]).level == math.inf


def test_deviance_is_scikit_learns(town):
    """Level is scikit-learn's mean Poisson deviance; shape is that of the rescaled forecast, whatever its level."""
    density, areas, counts = town
    forecast = 1.7 * density * areas
    found = poisson_deviance(forecast, counts)
    assert found.level == pytest.approx(mean_poisson_deviance(counts, forecast), rel=1e-12)
    rescaled = forecast * counts.sum() / forecast.sum()
    assert found.shape == pytest.approx(mean_poisson_deviance(counts, rescaled), rel=1e-12)
    assert found.shape < found.level
    assert poisson_deviance(5 * forecast, counts).shape == pytest.approx(found.shape, rel=1e-12)


def test_bins_expect_equally_much():
    """Ten bins of a smooth forecast expect a tenth each, within a cell; risk rises; nothing is lost."""
    rng = np.random.default_rng(5)
    expected = rng.gamma(0.5, 1.0, 5000)
    counts = rng.poisson(expected)
    bins = calibration(expected, counts)
    assert len(bins.cells) == 10
    assert np.abs(bins.expected - expected.sum() / 10).max() < 2 * expected.max()
    assert (np.diff(bins.expected / bins.cells) > 0).all()
    assert (bins.cells.sum(), bins.observed.sum()) == (5000, counts.sum())
    np.testing.assert_allclose(bins.ratio, bins.observed / bins.expected)


def test_bins_of_a_true_forecast_hold_what_they_say():
    """Observed / expected of a true forecast is covered by its 95 % intervals in 94-99 % of bins."""
    rng = np.random.default_rng(6)
    expected = rng.gamma(0.5, 0.2, 2000)
    covered = []
    for _ in range(300):
        bins = calibration(expected, rng.poisson(expected))
        covered += list((bins.lower <= 1) & (bins.upper >= 1))
    assert 0.94 <= np.mean(covered) <= 0.99


def test_equal_expectations_share_a_bin(town):
    """Ties are never split: a constant is one bin; a group lies where its middle does, not its start or end."""
    _, areas, counts = town
    assert calibration(areas, counts, areas).cells.tolist() == [700]
    two = np.where(np.arange(700) < 30, 9.0, 0.1)
    assert calibration(two, counts).cells.tolist() == [670, 30]
    assert calibration([3, 5], [1, 1], n_bins=2).cells.tolist() == [1, 1]
    assert calibration([1, 2, 3], [1, 1, 1], n_bins=2).cells.tolist() == [2, 1]


def test_places_that_expect_nothing_are_in_the_lowest_bin():
    """Cells expecting 0 join the first bin that expects something, so that every ratio is a number."""
    bins = calibration([0, 0, 0, 5, 5.5], [0, 1, 0, 4, 6])
    assert bins.cells.tolist() == [4, 1]
    np.testing.assert_allclose(bins.ratio, [1.0, 6 / 5.5])


@pytest.mark.parametrize("power", [0.4, 1.0, 3.0])
def test_slope_is_statsmodels(town, power):
    """Slope and standard error are those of statsmodels' Poisson regression on log expected."""
    density, areas, counts = town
    expected = (density * areas) ** power
    theirs = sm.GLM(counts, sm.add_constant(np.log(expected)), family=sm.families.Poisson()).fit(tol=1e-13)
    found = calibration_slope(expected, counts)
    assert found == pytest.approx((theirs.params[1], theirs.bse[1]), rel=1e-7)
    assert calibration_slope(9 * expected, counts) == pytest.approx(found, rel=1e-9)


def test_slopes_of_extreme_forecasts():
    """Forecasts over 600 orders of magnitude neither overflow nor lose the slope: 0 by symmetry."""
    assert calibration_slope([1e-300, 1, 1e300], [1, 1, 1]).value == pytest.approx(0, abs=1e-12)


def test_slopes_at_the_limits():
    """No contrast has no slope; all incidents in the top (or lowest) cells have an infinite one; skew does no harm."""
    assert all(math.isnan(figure) for figure in calibration_slope([2, 2], [1, 3]))
    assert calibration_slope([1, 2, 4], [0, 0, 3]).value == math.inf
    assert calibration_slope([1, 2, 4], [3, 0, 0]).value == -math.inf
    expected = np.append(np.full(10_000, 1e-6), 1e6)
    assert calibration_slope(expected, np.append(np.ones(10_000), 40)).value == pytest.approx(
        math.log(40) / math.log(1e12), rel=1e-9
    )


# ---- intervals of counts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_garwood_is_exact(level):
    """At each bound the count, or one further, has exactly half of the remaining chance."""
    counts = np.array([0, 1, 4, 30, 2000])
    lower, upper = garwood(counts, level=level)
    tail = (1 - level) / 2
    np.testing.assert_allclose(stats.poisson.cdf(counts, upper), tail, rtol=1e-9)
    np.testing.assert_allclose(stats.poisson.sf(counts[1:] - 1, lower[1:]), tail, rtol=1e-9)
    assert lower[0] == 0


def test_wilson_is_statsmodels():
    """Wilson's bounds are statsmodels', also at none and at all."""
    hits = np.array([0, 3, 50, 80])
    found = wilson(hits, 80)
    theirs = proportion_confint(hits, 80, method="wilson")
    np.testing.assert_allclose(found, theirs, rtol=1e-9, atol=1e-15)


# ---- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rank_cells([1, np.nan]), "Invalid score nan. All must be finite"),
        (lambda: rank_cells([]), "Invalid score of shape"),
        (lambda: rank_cells([1, 2], [1, 0]), "Invalid areas 0.0. Each must be greater than 0"),
        (lambda: rank_cells([1, 2], [1, 1, 1]), "Invalid areas of shape .*: 2 cells"),
        (lambda: hit_rate(rank_cells([1, 2]), [0, 0], 0.1), "Invalid counts 0 in every cell"),
        (lambda: hit_rate(rank_cells([1, 2]), [1, -1], 0.1), "Invalid counts -1.0. None may be below 0"),
        (lambda: hit_rate(rank_cells([1, 2]), [1, 1, 1], 0.1), "Invalid counts of shape"),
        (lambda: pai(rank_cells([1, 2]), [1, 1], 5), "Invalid area_share 5"),
        (lambda: flagged_weights(rank_cells([1, 2]), [0.1, 0]), "Invalid area_share 0"),
        (lambda: nats([0, 0], [1, 1]), "Invalid expected 0 in every cell"),
        (lambda: nats([1, -2], [1, 1]), "Invalid expected -2.0"),
        (lambda: calibration([1, 1], [1, 1], n_bins=0), "Invalid n_bins 0"),
        (lambda: calibration_slope([1, 0], [1, 1]), "mix the forecast with a small uniform share"),
    ],
)
def test_wrong_numbers_are_named(call, message):
    """What cannot be scored is refused with its value and the rule."""
    with pytest.raises(InputError, match=message):
        call()
