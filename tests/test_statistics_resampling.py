"""Block bootstrap, against reweighted cells, the delta method and simulated truth."""

import math

import numpy as np
import pytest

from rtmkc.errors import InputError
from rtmkc.evidence.statistics.metrics import flagged_weights, hit_rate, nats, nats_terms, rank_cells, wilson
from rtmkc.evidence.statistics.resampling import block_sums, bootstrap_ratios, square_blocks


@pytest.fixture(scope="module")
def city():
    """A city of 40 x 30 cells in blocks of 6 x 6, counts, and three forecasts: two alike, one not."""
    rng = np.random.default_rng(8)
    rows, columns = np.divmod(np.arange(1200), 30)
    risk = rng.gamma(0.5, 1.0, 1200)
    forecasts = [risk, risk * rng.gamma(50, 1 / 50, 1200), rng.gamma(0.5, 1.0, 1200) + 0.3 * risk]
    return square_blocks(rows, columns, 6), rng.poisson(risk), forecasts


def sums_of(city):
    """Block sums of hits at 5 % and of log scores, three columns each; and of incidents."""
    blocks, counts, forecasts = city
    hits = [counts * flagged_weights(rank_cells(forecast), [0.05])[:, 0] for forecast in forecasts]
    terms = [nats_terms(forecast, counts) for forecast in forecasts]
    return block_sums(blocks, np.column_stack(hits + terms)), block_sums(blocks, counts)


def test_blocks_are_squares():
    """On a hand-drawn area with a hole, cells of one square of 2 x 2 share a number, row by row of squares."""
    drawn = np.array([[0, 0, 1, 1, 2],
                      [0, 0, 1, 1, 2],
                      [3, 3, 9, 9, 4],
                      [3, 9, 9, 9, 4]])  # fmt: skip
    rows, columns = np.nonzero(drawn < 9)
    expected = drawn[rows, columns]
    np.testing.assert_array_equal(square_blocks(rows, columns, 2), expected)
    order = np.random.default_rng(0).permutation(rows.size)
    np.testing.assert_array_equal(square_blocks(rows[order], columns[order], 2), expected[order])
    np.testing.assert_array_equal(square_blocks(rows, columns, 1), np.arange(rows.size))
    assert not square_blocks(rows, columns, 9).any()


def test_sums_are_sums():
    """Block sums are the sums of the cells of each block, for one column and for many."""
    rng = np.random.default_rng(0)
    blocks, values = rng.permutation(np.arange(60) % 7), rng.random((60, 3))
    expected = [values[blocks == number].sum(axis=0) for number in range(7)]
    np.testing.assert_allclose(block_sums(blocks, values), expected, rtol=1e-13)
    np.testing.assert_allclose(block_sums(blocks, values[:, 1]), np.array(expected)[:, 1], rtol=1e-13)


def test_observed_values_are_the_metrics(city):
    """With every weight 1, ratios of block sums are the hit rates and the nats of the cells."""
    _, counts, forecasts = city
    found = bootstrap_ratios(*sums_of(city)).intervals()
    rates = [hit_rate(rank_cells(forecast), counts, 0.05).value for forecast in forecasts]
    np.testing.assert_allclose(found.value, rates + [nats(f, counts) for f in forecasts], rtol=1e-12)
    assert ((found.lower < found.value) & (found.value < found.upper)).all()


def test_draws_are_reweighted_cells(city):
    """A draw is the metric over cells, each counted as often as its block was drawn."""
    blocks, counts, forecasts = city
    redrawn = bootstrap_ratios(*sums_of(city), n_draws=120, random_state=5)
    weights = np.random.default_rng(5).poisson(1.0, (120, blocks.max() + 1))
    flagged = flagged_weights(rank_cells(forecasts[2]), [0.05])[:, 0]
    for draw, weight in zip(redrawn.draws, weights, strict=True):
        times = weight[blocks] * counts
        assert draw[2] == pytest.approx(times @ flagged / times.sum(), rel=1e-12)
        score = times @ np.log(forecasts[2] / forecasts[2].mean()) / times.sum()
        assert draw[5] == pytest.approx(score, rel=1e-10)


def test_the_seed_decides(city):
    """Equal seeds give equal bits, other seeds other draws; what else is in the call does not matter."""
    numerators, counts = sums_of(city)
    first = bootstrap_ratios(numerators, counts, random_state=3)
    np.testing.assert_array_equal(first.draws, bootstrap_ratios(numerators, counts, random_state=3).draws)
    assert (first.draws != bootstrap_ratios(numerators, counts, random_state=4).draws).any()
    alone = bootstrap_ratios(numerators[:, 4:5], counts, random_state=3)
    np.testing.assert_allclose(alone.draws[:, 0], first.draws[:, 4], rtol=1e-12)


def test_pai_is_hits_by_share(city):
    """Hits divided by the area share give PAI: the interval of the hit rate divided by the share."""
    numerators, counts = sums_of(city)
    rate, accuracy = (bootstrap_ratios(numerators[:, :3] / by, counts).intervals() for by in (1, 0.05))
    np.testing.assert_allclose(np.array(accuracy) * 0.05, np.array(rate), rtol=1e-12)


def test_spread_is_that_of_the_delta_method():
    """With many blocks the standard deviation of draws is the linearised one of a ratio, and intervals are 3.92 of it."""
    rng = np.random.default_rng(2)
    counts = rng.poisson(10.0, 800)
    hits = rng.binomial(counts, rng.beta(3, 5, 800))
    redrawn = bootstrap_ratios(hits[:, None], counts, n_draws=4000)
    ratio = hits.sum() / counts.sum()
    expected = np.sqrt(((hits - ratio * counts) ** 2).sum()) / counts.sum()
    assert redrawn.draws.std() == pytest.approx(expected, rel=0.05)
    found = redrawn.intervals()
    assert found.upper[0] - found.lower[0] == pytest.approx(2 * 1.96 * expected, rel=0.07)
    wide = redrawn.intervals(level=0.9)
    assert found.lower[0] < wide.lower[0] < wide.upper[0] < found.upper[0]


def test_percentiles_are_order_statistics(city):
    """Of 999 draws the 95 % interval runs from the 25th lowest to the 25th highest."""
    redrawn = bootstrap_ratios(*sums_of(city), n_draws=999)
    ordered, found = np.sort(redrawn.draws, axis=0), redrawn.intervals()
    np.testing.assert_array_equal([found.lower, found.upper], [ordered[24], ordered[-25]])


def test_draws_without_incidents_are_left_out():
    """With incidents in two blocks of nine, a share of exp(-2) of the draws has none; the others are all finite."""
    counts = np.array([0, 0, 3, 0, 0, 0, 0, 5, 0])
    redrawn = bootstrap_ratios(np.where(counts == 3, 2.0, 0.0)[:, None], counts, n_draws=5000)
    assert 1 - len(redrawn.draws) / redrawn.n_drawn == pytest.approx(math.exp(-2), abs=0.015)
    assert np.isfinite(redrawn.draws).all()
    assert redrawn.n_blocks == 2
    assert (redrawn.intervals().lower[0], redrawn.intervals().upper[0]) == (0.0, 2 / 3)


def test_one_block_has_no_interval():
    """Where one block holds all incidents nothing is known of the spread: NaN, not an interval of width 0."""
    found = bootstrap_ratios([[2.0], [0.0]], [3, 0])
    assert found.intervals().value[0] == pytest.approx(2 / 3)
    assert np.isnan([found.intervals().lower[0], found.differences(0, 0).upper[0]]).all()


def test_a_refuted_forecast_stays_refuted():
    """Log scores of minus infinity survive: in the value, in draws with that block, and in differences."""
    terms = np.column_stack([[1.0, 2.0, -np.inf, 0.5], [0.5, 1.0, 0.2, 0.1], [1.0, 2.0, -np.inf, 0.5]])
    redrawn = bootstrap_ratios(terms, [2, 3, 1, 1], n_draws=20_000)
    assert redrawn.values[0] == -np.inf
    assert np.isneginf(redrawn.draws[:, 0]).mean() == pytest.approx(
        (1 - math.exp(-1)) / (1 - math.exp(-4)), abs=0.01
    )
    assert np.isfinite(redrawn.draws[:, 1]).all()
    intervals = redrawn.intervals()
    assert (intervals.lower[0], intervals.upper[0] < 1) == (-np.inf, True)
    better = redrawn.differences(1, [0, 2])
    assert (better.value == np.inf).all()
    assert (better.upper == np.inf).all()
    assert np.isnan(np.array(redrawn.differences(0, 2))).all()


def test_pairs_are_narrower_than_margins(city):
    """Between models alike, the interval of the difference on the same draws is far narrower than on separate ones."""
    numerators, counts = sums_of(city)
    same = bootstrap_ratios(numerators, counts)
    other = bootstrap_ratios(numerators, counts, random_state=1)
    for first, second in ((0, 1), (3, 4)):
        paired = same.differences(first, second)
        separate = np.quantile(same.draws[:, first] - other.draws[:, second], [0.025, 0.975])
        assert paired.upper[0] - paired.lower[0] < 0.5 * np.ptp(separate)
        assert paired.value[0] == pytest.approx(same.values[first] - same.values[second])
    several = same.differences([0, 1, 2], 0)
    assert several.value[0] == several.lower[0] == several.upper[0] == 0
    assert several.value[1] == -same.differences(0, 1).value[0]


def blocks_of_one_kind(rng, effect):
    """60 blocks, each with a flagged and an unflagged part whose rates share chance factors by block."""
    factor = rng.gamma(1 / effect, effect, 60) if effect else np.ones(60)
    return rng.poisson(4.0 * factor), rng.poisson(6.0, 60)


@pytest.mark.parametrize(("effect", "least_wilson", "most_wilson"), [(0.0, 0.9, 0.99), (1.5, 0.3, 0.75)])
def test_block_intervals_cover_the_truth(effect, least_wilson, most_wilson):
    """Over 400 cities the interval holds the true hit rate of .4 in 91-98 %, clustered or not; Wilson's only if not."""
    rng = np.random.default_rng(11)
    block, counting = [], []
    for city in range(400):
        flagged, rest = blocks_of_one_kind(rng, effect)
        found = bootstrap_ratios(flagged[:, None], flagged + rest, n_draws=300, random_state=city).intervals()
        block.append(found.lower[0] <= 0.4 <= found.upper[0])
        lower, upper = wilson(flagged.sum(), flagged.sum() + rest.sum())
        counting.append(lower <= 0.4 <= upper)
    assert 0.91 <= np.mean(block) <= 0.98
    assert least_wilson <= np.mean(counting) <= most_wilson


def test_block_intervals_of_an_uneven_city_err_on_the_wide_side():
    """With risk that differs between blocks and clustered incidents, 95 % or more hold the true hit rate; Wilson's fail."""
    rng = np.random.default_rng(13)
    rows, columns = np.divmod(np.arange(3600), 60)
    blocks, smooth = square_blocks(rows, columns, 10), square_blocks(rows, columns, 5)
    risk = rng.gamma(1.0, 1.0, smooth.max() + 1)[smooth] * rng.gamma(2.0, 0.25, 3600)
    flagged = flagged_weights(rank_cells(risk), [0.05])[:, 0]
    truth = risk @ flagged / risk.sum()
    block, counting = [], []
    for city in range(200):
        counts = rng.poisson(risk * rng.gamma(2.0, 0.5, smooth.max() + 1)[smooth])
        sums = block_sums(blocks, np.column_stack([counts * flagged, counts]))
        found = bootstrap_ratios(sums[:, :1], sums[:, 1], n_draws=200, random_state=city).intervals()
        block.append(found.lower[0] <= truth <= found.upper[0])
        lower, upper = wilson(counts @ flagged, counts.sum())
        counting.append(lower <= truth <= upper)
    assert np.mean(block) >= 0.95
    assert np.mean(counting) < 0.8


def test_paired_intervals_cover_no_difference():
    """Two rankings that are equally good in truth differ by 0 within the paired interval in 91-98 % of cities."""
    rng = np.random.default_rng(12)
    held = []
    for city in range(400):
        factor = rng.gamma(1.0, 1.0, (60, 2))
        both, first, second = rng.poisson(4.0 * factor[:, 0]), *rng.poisson(1.0 * factor[:, 1], (2, 60))
        sums = np.column_stack([both + first, both + second])
        total = both + first + second + rng.poisson(6.0, 60)
        found = bootstrap_ratios(sums, total, n_draws=300, random_state=city).differences(0, 1)
        held.append(found.lower[0] <= 0 <= found.upper[0])
    assert 0.91 <= np.mean(held) <= 0.98


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: square_blocks([0, 1], [0], 2), "Invalid columns of shape"),
        (lambda: square_blocks([0, 1], [0, 1], 0), "Invalid side_cells 0"),
        (lambda: block_sums([0, 1], [1, 2, 3]), "Invalid values of shape .* 2 cells"),
        (lambda: bootstrap_ratios([1, 2], [1, 2]), "Invalid numerators of shape"),
        (lambda: bootstrap_ratios([[1], [2]], [1, 2, 3]), "Invalid numerators of shape"),
        (lambda: bootstrap_ratios([[np.nan], [2]], [1, 2]), "numbers or minus infinity"),
        (lambda: bootstrap_ratios([[1], [2]], [0, 0]), "Invalid denominator"),
        (lambda: bootstrap_ratios([[1], [2]], [1, 2], n_draws=20), "Invalid n_draws 20. .* at least 100"),
        (lambda: bootstrap_ratios([[1], [2]], [1, 2]).intervals(level=95), "Invalid level 95"),
    ],
)
def test_wrong_numbers_are_named(call, message):
    """What cannot be resampled is refused with its value and the rule."""
    with pytest.raises(InputError, match=message):
        call()
