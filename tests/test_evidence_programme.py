"""The order of a programme: near-ties by their definition, lots that are fair, and claims that are counted right."""

import datetime
import json
from itertools import pairwise, permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import stats

from rtmkc.errors import InputError
from rtmkc.evidence.programme import draw_queue, plan_rollout, tie_groups

# Standard deviation of a count: counts of two such corridors differ by sqrt(20).
TEN = np.sqrt(10)
# Of a 90 % interval, in standard deviations.
WIDTH = 2 * stats.norm.ppf(0.95)
# How far below the best a near-tie may lie, for a chance of 40 %.
STEP = stats.norm.ppf(0.6) * np.sqrt(20)


def table(excess, width=WIDTH * TEN):
    """Corridors as find_corridors ranks them."""
    excess = np.asarray(excess, dtype=float)
    return pd.DataFrame(
        {
            "rank": np.arange(1, excess.size + 1),
            "corridor_id": [f"c{number:02d}" for number in range(excess.size)],
            "name": [f"{number}th Street" for number in range(excess.size)],
            "from_street": "Oak",
            "to_street": "Elm",
            "expected": excess + 4,
            "lower": excess,
            "upper": excess + width,
            "excess": excess,
        }
    )


# Two tie groups of three and two, and one corridor alone.
SIX = table([20.0, 19.9, 19.8, 15.0, 14.9, 10.0])


# ---- near-ties -------------------------------------------------------------------------------------------------


def test_a_chain_of_small_steps_does_not_tie_first_and_last():
    """Ten corridors, each three quarters of a margin below the one before: pairs tie, and no more."""
    groups = tie_groups(-0.75 * STEP * np.arange(10), np.full(10, TEN))
    assert groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_the_margin_is_where_it_is_said_to_be():
    """A hair within the margin of the best is a near-tie, a hair beyond is not; at a half only equals are."""
    for nudge, expected in ((-1e-6, [0, 0]), (1e-6, [0, 1])):
        assert tie_groups([9.0, 9.0 - STEP - nudge], [TEN, TEN]).tolist() == expected
    assert tie_groups([9, 9, 8.999], [TEN] * 3, tie=0.5).tolist() == [0, 0, 1]
    assert tie_groups([0.1 + 0.2, 0.3, 0.2], [0] * 3).tolist() == [
        0,
        0,
        1,
    ]  # nothing varies: equals only


@settings(deadline=None, max_examples=80)
@given(
    values=some.lists(some.integers(0, 200).map(lambda k: k / 4), min_size=1, max_size=12),
    spreads=some.lists(some.floats(0.1, 12), min_size=12, max_size=12),
    tie=some.floats(0.05, 0.5),
)
def test_groups_are_those_of_their_definition(values, spreads, tie):
    """By brute force: within a group all are near the first, and the next group starts with one that is not."""
    values, spreads = np.sort(values)[::-1], np.array(spreads[: len(values)])
    groups = tie_groups(values, spreads, tie=tie)
    assert groups[0] == 0
    assert set(np.diff(groups)) <= {0, 1}

    def chance(best, other):
        """That the other has the higher count of two, both normal."""
        deviation = np.hypot(spreads[best], spreads[other])
        gap = values[best] - values[other]
        return stats.norm.sf(gap / deviation)

    for start, number in ((int(np.argmax(groups == number)), number) for number in set(groups)):
        members = np.flatnonzero(groups == number)
        assert all(chance(start, member) >= tie - 1e-6 for member in members)
        if members[-1] + 1 < len(values):
            assert chance(start, members[-1] + 1) <= tie + 1e-6


@pytest.mark.parametrize(("mean", "shape"), [(12.0, 8.0), (30.0, 10.0), (60.0, 20.0)])
def test_a_near_tie_is_turned_round_in_four_of_ten_quarters(mean, shape):
    """Simulated counts: at the margin the lesser of two sees more in 40 % of windows (equal counts shared)."""

    def counts(rate):
        return stats.nbinom(shape, shape / (shape + rate))

    grid = np.linspace(mean * 0.6, mean, 200)[::-1]
    low, high = (counts(grid).ppf(q) for q in (0.05, 0.95))
    pairs = [
        table([mean, rate]).assign(expected=[mean, rate], lower=low[[0, row]], upper=high[[0, row]])
        for row, rate in enumerate(grid)
    ]
    sizes = [plan_rollout(pair, 1)["group_size"].max() for pair in pairs[20:120:5]]
    lesser = grid[20:120:5][np.array(sizes) == 2][-1]
    assert 1 in sizes
    rng = np.random.default_rng(4)
    best, other = (counts(rate).rvs(200_000, random_state=rng) for rate in (mean, lesser))
    assert np.mean(other > best) + np.mean(other == best) / 2 == pytest.approx(0.4, abs=0.03)


# ---- the lot -----------------------------------------------------------------------------------------------------


def test_all_orders_of_a_group_are_equally_likely():
    """6,000 seeds: the 24 orders of four and the two of the pair behind them, together and apart, by chi-square."""
    groups = np.array([0, 0, 0, 0, 1, 1, 2])
    seen = pd.Series([tuple(draw_queue(groups, np.random.default_rng(seed))) for seed in range(6000)])
    assert all(sorted(place[:4]) == [0, 1, 2, 3] and place[6] == 6 for place in set(seen))
    counts = seen.value_counts()
    assert len(counts) == 48
    assert stats.chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize(("quarters", "per_quarter"), [(4, 1), (2, 2), (1, 1)])
def test_probabilities_are_frequencies(quarters, per_quarter):
    """Over 80 seeds each corridor gets each quarter, or waits, as often as the table says."""
    plans = [
        plan_rollout(SIX, quarters, per_quarter=per_quarter, random_state=seed).fillna({"quarter": 0})
        for seed in range(80)
    ]
    rows = pd.concat(plans)
    said = rows.groupby(["corridor_id", "quarter"])["probability"].agg(["first", "nunique", "size"])
    assert (said["nunique"] == 1).all()
    assert said.groupby("corridor_id")["first"].sum().to_numpy() == pytest.approx(1.0)
    assert (
        abs(said["size"] / 80 - said["first"]) < 4 * np.sqrt(said["first"] * (1 - said["first"]) / 80) + 1e-9
    ).all()
    assert (rows["randomised"] == (rows["probability"] < 1)).all()


def test_the_seed_alone_decides():
    """The same seed gives the same plan, whatever the order and index of the rows; another seed another one."""
    plan = plan_rollout(SIX, 4, start="2026-01-05", random_state=5)
    for seed in range(5):
        shuffled = SIX.sample(frac=1, random_state=seed).set_axis(list("fedcba"))
        again = plan_rollout(shuffled, 4, start="2026-01-05", random_state=5)
        pd.testing.assert_frame_equal(plan, again)
        assert plan.attrs == again.attrs
    orders = {tuple(plan_rollout(SIX, 6, random_state=seed)["corridor_id"]) for seed in range(30)}
    assert len(orders) > 8


def test_groups_keep_their_order_and_equals_are_in_one():
    """The three best come first whatever the lot; equal figures tie even where nothing is known of their spread."""
    for seed in range(10):
        plan = plan_rollout(SIX, 6, random_state=seed)
        assert plan["tie_group"].tolist() == [1, 1, 1, 2, 2, 3]
        assert set(plan["rank"][:3]) == {1, 2, 3}
    assert plan_rollout(table([5, 5, 5], width=0), 3)["group_size"].tolist() == [3, 3, 3]


# ---- the plan ----------------------------------------------------------------------------------------------------


def test_dates_by_hand():
    """Quarters of 90 days follow each other without a gap; who waits has no dates; without a start nobody has."""
    plan = plan_rollout(SIX, 4, start="2026-01-05")
    assert plan["quarter"].tolist()[:4] == [1, 2, 3, 4]
    assert plan["quarter"].isna().tolist() == [False] * 4 + [True] * 2
    assert plan["start"].dt.strftime("%m-%d").tolist()[:4] == ["01-05", "04-05", "07-04", "10-02"]
    assert plan["end"].dt.strftime("%m-%d").tolist()[:4] == ["04-04", "07-03", "10-01", "12-30"]
    assert plan["start"][4:].isna().all()
    assert "from 2026-01-05 to 2026-12-30" in plan.attrs["statement"]
    for same in (datetime.date(2026, 1, 5), pd.Timestamp("2026-01-05 14:30", tz="America/Chicago")):
        pd.testing.assert_frame_equal(plan, plan_rollout(SIX, 4, start=same))
    undated = plan_rollout(SIX, 4)
    assert undated[["start", "end"]].isna().all(axis=None)
    assert undated["quarter"].equals(plan["quarter"])


@pytest.mark.parametrize(
    ("quarters", "per_quarter", "total", "lots", "orders"),
    [
        (6, 1, 15, 4, 12),
        (4, 1, 14, 4, 12),
        (3, 2, 12, 3, 6),
        (1, 1, 5, 2, 3),
        (2, 3, 9, 0, 1),
        (1, 6, 0, 0, 1),
    ],
)
def test_comparisons_are_counted_right(quarters, per_quarter, total, lots, orders):
    """Pairs of one at work and one that waits, and the ways the lot could fall, counted by enumeration."""
    plan = plan_rollout(SIX, quarters, per_quarter=per_quarter)
    when = plan["quarter"].fillna(99).to_numpy()
    group = plan["tie_group"].to_numpy()
    pairs = [(a, b) for a in range(6) for b in range(6) if when[a] < when[b]]
    same = [(a, b) for a, b in pairs if group[a] == group[b]]
    slots = [min(place // per_quarter, quarters) for place in range(6)]
    ways = {
        tuple(slots[place] for place in (*first, *second, 5))
        for first in permutations(range(3))
        for second in permutations([3, 4])
    }
    design = plan.attrs["design"]
    assert (len(pairs), len(same), len(ways)) == (total, lots, orders)
    assert (design["comparisons"], design["randomised_comparisons"]) == (total, lots)
    assert (design["equally_likely_orders"], design["smallest_p"]) == (orders, 1 / orders)
    assert plan["controls"].tolist() == [sum(a == row for a, _ in pairs) for row in range(6)]
    assert plan["randomised_controls"].tolist() == [sum(a == row for a, _ in same) for row in range(6)]
    assert json.loads(json.dumps(design)) == design


def test_the_statement_says_what_may_be_claimed():
    """What is drawn, how many comparisons are by lot, and how little twelve orders can prove; or that nothing is."""
    said = plan_rollout(SIX, 4, random_state=0).attrs["statement"]
    assert said.startswith(
        "6 corridors in order of excess, 4 quarters of 90 days, 1 at work in each; 2 wait throughout. "
        "Drawn by lot (random_state=0): tie group 1, "
    )
    assert "still waits 14 times; 4 of these are randomised" in said
    assert "12 equally likely ways, so a test by lot has a p-value of at least 1 in 12: by itself" in said
    assert "The other 10 comparisons are between corridors that differed from the start" in said
    many = plan_rollout(table(np.full(12, 7.0)), 12).attrs["statement"]
    assert "66 times; all of these are randomised" in many
    assert "1,000,000 or more equally likely ways" in many
    assert "by itself" not in many
    none = plan_rollout(SIX, 4, tie=0.5).attrs["statement"]
    assert "Nothing is drawn by lot" in none
    assert "14 times, never by lot" in none
    assert "there is no comparison in it" in plan_rollout(table([3.0]), 1).attrs["statement"]


def test_another_figure_orders_and_says_so():
    """By expected incidents the order may differ from the ranks, and the statement says it."""
    other = SIX.assign(expected=SIX["expected"].to_numpy()[::-1])
    plan = plan_rollout(other, 6, by="expected", tie=0.5)
    assert plan["rank"].tolist() == [6, 5, 4, 3, 2, 1]
    assert "Their order by expected incidents is not that of their ranks." in plan.attrs["statement"]
    assert "not that of their ranks" not in plan_rollout(SIX, 6).attrs["statement"]


def test_corridors_without_intervals_vary_as_streets_do():
    """Seams have no interval: they tie as corridors do whose variance is 1.5 times what they expect, and it is said."""
    bare = SIX.assign(lower=np.nan, upper=np.nan)
    half = WIDTH / 2 * np.sqrt(1.5 * SIX["expected"])
    given = SIX.assign(lower=SIX["expected"] - half, upper=SIX["expected"] + half)
    bare_plan, given_plan = plan_rollout(bare, 4), plan_rollout(given, 4)
    pd.testing.assert_frame_equal(bare_plan, given_plan)
    assert "without an interval are taken to vary 1.5 times" in bare_plan.attrs["statement"]
    assert "without an interval" not in given_plan.attrs["statement"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"corridors": SIX.drop(columns="lower")}, "Invalid column 'lower'"),
        ({"corridors": SIX[:0]}, "The table has none"),
        ({"corridors": [1, 2]}, "Invalid corridors list"),
        ({"corridors": SIX.assign(expected=np.nan)}, "need incidents with dates"),
        ({"corridors": SIX.assign(rank="first")}, "need incidents with dates"),
        ({"corridors": SIX.assign(upper=0)}, "above its upper bound"),
        ({"corridors": pd.concat([SIX, SIX])}, "Invalid corridor_id 'c00'"),
        ({"quarters": 7}, "There are 6 corridors, enough for 6 quarters with 1 in each; plan 6, or"),
        ({"quarters": 4, "per_quarter": 2}, "enough for 3 quarters with 2 in each; plan 3, or"),
        ({"quarters": 0}, "Invalid quarters 0"),
        ({"quarters": 2.5}, "Invalid quarters 2.5"),
        ({"per_quarter": 0}, "Invalid per_quarter 0"),
        ({"tie": 0.6}, "Invalid tie 0.6"),
        ({"tie": 0}, "Invalid tie 0"),
        ({"by": "rank"}, "Invalid by 'rank'"),
        ({"start": "soon"}, "Invalid start 'soon'"),
        ({"start": 2026}, "Invalid start 2026"),
        ({"start": ""}, "Invalid start ''"),
        ({"random_state": -1}, "Invalid random_state -1"),
    ],
)
def test_plans_that_cannot_be_made(change, said):
    """A clear sentence each."""
    with pytest.raises(InputError, match=said):
        plan_rollout(**{"corridors": SIX, "quarters": 4, **change})


def test_the_largest_plan_that_fits_is_made():
    """Six corridors fill six quarters, or three with two in each, or two with four and two."""
    for quarters, per_quarter, filled in ((6, 1, [1] * 6), (3, 2, [2, 2, 2]), (2, 4, [4, 2])):
        plan = plan_rollout(SIX, quarters, per_quarter=per_quarter)
        assert plan["quarter"].value_counts().sort_index().tolist() == filled
        assert all(early <= late for early, late in pairwise(plan["quarter"]))
