"""Corridors chosen together: every subset, a dynamic program, and sentences of what cannot be met."""

import itertools
import math

import numpy as np
import pytest
import shapely

from rtmkc.errors import CapacityError, InputError
from rtmkc.places.corridors.choice.conflicts import clique_cover, conflict_pairs, exclusions, windows_by_block
from rtmkc.places.corridors.choice.portfolio import choose_together
from rtmkc.places.corridors.choice.program import Quota


def random_case(seed, n_windows=None):
    """Windows on 12 blocks with values, conflicts, costs and rules; about a third cannot be met."""
    random = np.random.default_rng(seed)
    n = n_windows or int(random.integers(1, 11))
    starts = random.integers(0, 12, n)
    members = [np.arange(start, start + random.integers(1, 4)) for start in starts]
    values = np.round(random.normal(2, 2, n), int(random.integers(0, 3)))
    near = [pair for pair in itertools.combinations(range(n), 2) if random.random() < 0.15]
    district = random.integers(0, 3, n)
    quotas = []
    for number in range(3):
        if random.random() < 0.5:
            least = int(random.integers(0, 3))
            most = None if random.random() < 0.5 else least + int(random.integers(0, 2))
            quotas.append(Quota(f"in district {number}", np.flatnonzero(district == number), least, most))
    if random.random() < 0.3:
        quotas.append(Quota("through the park", np.flatnonzero(random.random(n) < 0.4), 1))
    costs = np.round(random.uniform(0, 5, n), 1)
    budget = float(np.round(random.uniform(0, 12), 1)) if random.random() < 0.5 else None
    return {
        "values": values, "members": members, "k": int(random.integers(1, 5)),
        "conflicts": np.array(near, dtype=int).reshape(-1, 2), "costs": costs, "budget": budget, "quotas": quotas,
    }  # fmt: skip


def is_allowed(case, chosen):
    """The rules, read one by one."""
    apart = all(
        not set(case["members"][one]) & set(case["members"][other])
        for one, other in itertools.combinations(chosen, 2)
    )
    near = any(one in chosen and other in chosen for one, other in case["conflicts"].tolist())
    counts = [len(set(chosen) & set(quota.windows.tolist())) for quota in case["quotas"]]
    met = all(
        quota.at_least <= count <= (math.inf if quota.at_most is None else quota.at_most)
        for count, quota in zip(counts, case["quotas"], strict=True)
    )
    paid = case["budget"] is None or case["costs"][list(chosen)].sum() <= case["budget"] + 1e-9
    return len(chosen) <= case["k"] and apart and not near and met and paid


def best_by_hand(case):
    """The worth of the best of all subsets; None if none is allowed."""
    n = len(case["values"])
    allowed = [
        case["values"][list(chosen)].sum()
        for size in range(case["k"] + 1)
        for chosen in itertools.combinations(range(n), size)
        if is_allowed(case, chosen)
    ]
    return max(allowed) if allowed else None


def outcome(case, **more):
    try:
        return choose_together(**case, **more)
    except InputError as error:
        if "cannot be met" in str(error):
            return None
        raise


def test_equals_the_best_of_all_subsets():
    """On 200 random cases with all rules the set is allowed and none is worth more; errors come where none is allowed."""
    impossible = 0
    for seed in range(200):
        case = random_case(seed)
        found, best = outcome(case), best_by_hand(case)
        assert (found is None) == (best is None), seed
        if found is None:
            impossible += 1
            continue
        assert is_allowed(case, found.chosen.tolist()), seed
        assert found.value == pytest.approx(best, abs=1e-9), seed
        assert (found.gap, found.status, found.bound) == (0.0, "proved", found.value)
        assert found.value == pytest.approx(case["values"][found.chosen].sum(), abs=1e-9)
        assert (np.diff(case["values"][found.chosen]) <= 0).all()
    assert 25 < impossible < 100


def part_of(case, inside):
    """The same case with some of its windows alone."""
    number = {int(window): place for place, window in enumerate(inside)}
    pairs = [[number[i], number[j]] for i, j in case["conflicts"].tolist() if i in number and j in number]
    return dict(
        case,
        values=case["values"][inside],
        members=[case["members"][window] for window in inside],
        conflicts=np.array(pairs, dtype=int).reshape(-1, 2),
        costs=case["costs"][inside],
        quotas=[
            Quota(
                quota.where,
                np.array([number[w] for w in quota.windows.tolist() if w in number], dtype=int),
                quota.at_least,
                quota.at_most,
            )
            for quota in case["quotas"]
        ],
    )


def test_bound_over_all_windows_holds():
    """With some windows kept from it, the bound is never below the true optimum of all, and a proof is never wrong;
    what is known of each district sharpens the bound of all districts together.
    """
    proved, open_, sharper = np.zeros(2, dtype=int), np.zeros(2, dtype=int), 0
    for seed in range(1000, 1200):
        whole = random_case(seed, n_windows=9)
        best = best_by_hand(whole)
        inside = np.sort(np.argsort(-whole["values"], kind="stable")[: 5 + seed % 4])
        outside = np.setdiff1d(np.arange(9), inside)
        cheapest = whole["costs"][outside].min()
        worth = whole["values"][outside].max()
        districts = {q.where: q.windows for q in whole["quotas"] if "district" in q.where}
        rest = np.setdiff1d(outside, np.concatenate([[], *districts.values()]))
        by_district = {
            where: max(whole["values"][np.intersect1d(own, outside).astype(int)], default=-math.inf)
            for where, own in {**districts, "": rest}.items()
        }
        part = part_of(whole, inside)
        both = [outcome(part, upper_outside=u, cheapest_outside=cheapest) for u in (worth, by_district)]
        assert (both[0] is None) == (both[1] is None)
        if both[0] is None:
            continue
        plain, divided = both
        assert divided.bound_of_all <= plain.bound_of_all + 1e-9
        sharper += divided.bound_of_all < plain.bound_of_all - 1e-9
        for way, found in enumerate(both):
            assert found.bound_of_all >= best - 1e-9, seed
            proved[way] += found.is_best_of_all
            open_[way] += not found.is_best_of_all
            if found.is_best_of_all:
                assert found.value == pytest.approx(best, abs=1e-9), seed
            else:
                assert "other corridors" in found.statement or found.value <= 0
    assert (proved > 30).all()
    assert (open_ > 10).all()
    assert sharper > 5


def test_bound_without_quotas_is_that_of_the_formula():
    """Without quotas and budget the bound over all is the largest of OPT(k - j) + j u, from the subsets."""
    for seed in range(40):
        case = dict(random_case(seed, n_windows=8), quotas=[], budget=None)
        upper = float(np.quantile(case["values"], 0.3))
        best = [best_by_hand(dict(case, k=k)) for k in range(case["k"] + 1)]
        formula = max(worth + (case["k"] - k) * max(upper, 0.0) for k, worth in enumerate(best))
        assert outcome(case, upper_outside=upper).bound_of_all == pytest.approx(formula, abs=1e-9)


def test_windows_that_hold_a_better_one_are_not_needed():
    """Without quotas, leaving out windows that contain one of no less worth and no more cost changes no optimum."""
    left_out = 0
    for seed in range(2000, 2150):
        whole = dict(random_case(seed, n_windows=9), quotas=[], conflicts=np.empty((0, 2), dtype=int))
        sets = [set(own.tolist()) for own in whole["members"]]
        values, costs = whole["values"], whole["costs"]
        needed = [
            j
            for j in range(9)
            if not any(
                sets[i] < sets[j] and values[i] >= values[j] and costs[i] <= costs[j] for i in range(9)
            )
        ]
        left_out += 9 - len(needed)
        assert best_by_hand(part_of(whole, np.array(needed))) == pytest.approx(best_by_hand(whole), abs=1e-9)
    assert left_out > 50


def test_nothing_outside_is_the_best_of_all():
    """Where there are no other windows, the best of the candidates is the best of all, whatever the rules."""
    for seed in range(60):
        found = outcome(random_case(seed), upper_outside=-math.inf)
        assert found is None or found.is_best_of_all


@pytest.mark.parametrize("separation", [0, 120, 300])
def test_one_street_equals_the_dynamic_program(separation):
    """On a single street the optimum is that of weighted intervals kept apart, for every k."""
    random = np.random.default_rng(separation)
    lengths = random.uniform(60, 140, 40)
    ends = np.concatenate([[0.0], np.cumsum(lengths)])
    blocks = shapely.linestrings([[(ends[i], 0), (ends[i + 1], 0)] for i in range(40)])
    prizes = random.normal(0, 1, 40)
    spans = [(i, j) for i in range(40) for j in range(i + 1, 41) if 300 <= ends[j] - ends[i] <= 900]
    members = [np.arange(i, j) for i, j in spans]
    values = np.array([prizes[i:j].sum() for i, j in spans])
    pairs = conflict_pairs(blocks, members, separation)
    for k in range(1, 9):
        # best[c][j]: at most c intervals that end at corner j or before
        best = np.zeros((k + 1, 41))
        for count in range(1, k + 1):
            for j in range(1, 41):
                best[count, j] = best[count, j - 1]
                for i in range(j):
                    if (i, j) not in spans:
                        continue
                    free = [h for h in range(i + 1) if ends[i] - ends[h] >= separation - 1e-6]
                    before = best[count - 1, max(free)] if free else 0.0
                    best[count, j] = max(best[count, j], prizes[i:j].sum() + before)
        found = choose_together(values, members, k=k, conflicts=pairs)
        assert found.value == pytest.approx(best[k, 40], abs=1e-9)


def random_streets(seed):
    """A jittered lattice of blocks, and windows that are runs of blocks along its rows and columns."""
    random = np.random.default_rng(seed)
    corner = np.dstack(np.meshgrid(np.arange(12) * 100.0, np.arange(12) * 100.0)) + random.normal(
        0, 12, (12, 12, 2)
    )
    lines, number = [], {}
    for row, column in itertools.product(range(12), range(11)):
        for turned in (False, True):
            one, other = ((row, column), (row, column + 1))
            if turned:
                one, other = one[::-1], other[::-1]
            number[turned, row, column] = len(lines)
            lines.append(shapely.LineString([corner[one], corner[other]]))
    members = []
    for _ in range(150):
        turned, row = bool(random.integers(2)), int(random.integers(12))
        start, size = int(random.integers(0, 8)), int(random.integers(2, 4))
        members.append(np.array([number[turned, row, column] for column in range(start, start + size)]))
    return np.array(lines, dtype=object), members, random


@pytest.mark.parametrize("separation", [0, 1, 90, 250])
def test_conflicts_equal_all_pairs_of_lines(separation):
    """Pairs are those of whole windows whose distance is below the separation and that share no block."""
    lines, members, _ = random_streets(3)
    whole = [shapely.union_all(lines[own]) for own in members]
    by_hand = [
        [i, j]
        for i, j in itertools.combinations(range(len(members)), 2)
        if not set(members[i]) & set(members[j]) and whole[i].distance(whole[j]) < separation - 1e-6
    ]
    assert conflict_pairs(lines, members, separation).tolist() == by_hand
    assert (len(by_hand) > 500) == (separation > 0)


def test_exactly_the_separation_is_far_enough():
    """Windows 300 m from each other are no conflict at a separation of 300 m, and one at 300.1 m."""
    blocks = shapely.linestrings([[(0, 0), (100, 0)], [(400, 0), (500, 0)]])
    members = [np.array([0]), np.array([1])]
    assert len(conflict_pairs(blocks, members, 300.0)) == 0
    assert len(conflict_pairs(blocks, members, 300.1)) == 1


def test_cliques_hold_every_exclusion_and_nothing_else():
    """Every two windows of a clique exclude each other, every exclusion lies in a clique, and none can grow."""
    lines, members, _ = random_streets(5)
    excludes = exclusions(members, conflict_pairs(lines, members, 150))
    cliques = clique_cover(excludes, windows_by_block(members))
    held = np.zeros_like(excludes)
    for clique in cliques:
        inside = np.ix_(clique, clique)
        assert (excludes[inside] | np.eye(len(clique), dtype=bool)).all()
        assert not excludes[clique].all(axis=0).any()
        held[inside] = True
    np.fill_diagonal(held, val=False)
    assert (held == excludes).all()
    assert len(cliques) < excludes.sum() / 2 / 10


def test_never_worth_less_than_one_after_the_other_and_sometimes_more():
    """On 30 street lattices the set beats the best-first choice or equals it, and is better on some."""
    better = 0
    for seed in range(30):
        lines, members, random = random_streets(seed)
        values = random.gamma(2, 1, len(members)) + np.array([len(own) for own in members])
        pairs = conflict_pairs(lines, members, 150)
        excludes = exclusions(members, pairs)
        first: list[int] = []
        for window in np.argsort(-values):
            if len(first) < 6 and not excludes[window, first].any():
                first.append(window)
        found = choose_together(values, members, k=6, conflicts=pairs)
        assert found.value >= values[first].sum() - 1e-9
        better += found.value > values[first].sum() + 1e-9
    assert better > 3


def test_order_of_windows_and_ties_do_not_matter():
    """Windows in another order give the same set, also where many sets are worth the same."""
    lines, members, random = random_streets(11)
    members = [np.array(one) for one in sorted({tuple(own) for own in members})]
    values = np.array([float(len(own)) for own in members])
    first = choose_together(values, members, k=5, conflicts=conflict_pairs(lines, members, 150))
    same = {tuple(members[window]) for window in first.chosen}
    for _ in range(5):
        order = random.permutation(len(members))
        shuffled = [members[window][::-1] for window in order]
        again = choose_together(values[order], shuffled, k=5, conflicts=conflict_pairs(lines, shuffled, 150))
        assert {tuple(shuffled[window][::-1]) for window in again.chosen} == same
        assert again.value == first.value


@pytest.mark.parametrize("unit", [1e-6, 1e9])
def test_unit_of_worth_and_of_money_does_not_matter(unit):
    """Worth in millionths or in billions, and money in any unit, give the same set."""
    for seed in range(30):
        case = random_case(seed, n_windows=10)
        found = outcome(case)
        scaled = dict(case, values=case["values"] * unit, costs=case["costs"] * unit)
        scaled["budget"] = None if case["budget"] is None else case["budget"] * unit
        again = outcome(scaled)
        assert (again is None) == (found is None)
        if found is not None:
            assert again.value == pytest.approx(found.value * unit, rel=1e-9)


def simple(values, **more):
    return choose_together(np.array(values, float), [np.array([i]) for i in range(len(values))], **more)


def test_budget_is_kept_to_the_cent():
    """A set one cent above the budget is not chosen, one at the budget is."""
    costs = np.array([60_000.00, 40_000.01, 40_000.00])
    assert sorted(simple([5, 4, 3], k=3, costs=costs, budget=100_000).chosen.tolist()) == [0, 2]


def test_what_is_worth_nothing_is_left_out_unless_a_quota_needs_it():
    """Windows of worth 0 or less are chosen for a quota alone, and then the least bad."""
    quota = Quota("in the East", np.array([1, 2, 3]), at_least=1)
    assert simple([5, 0, -1, -2], k=4).chosen.tolist() == [0]
    assert simple([5, 0, -1, -2], k=4, quotas=[quota]).chosen.tolist() == [0, 1]
    assert simple([5, 0, 1, -2], k=4, quotas=[quota]).chosen.tolist() == [0, 2]
    assert simple([5, -3, -1, -2], k=4, quotas=[quota]).value == 4.0


def test_sentences():
    """The statement says how many of how many, over what, and that fewer came back."""
    assert simple([3, 2, 1], k=2).statement == "The best set of 2 corridors among the 3 candidates: proved."
    assert simple([3, 2], k=4).statement == (
        "The best set of 2 corridors among the 2 candidates: proved. 2 of 4 asked for: beside them no candidate worth "
        "choosing is left."
    )
    assert simple([3], k=1, upper_outside=4).statement == (
        "The best set of 1 corridor among the 1 candidate: proved. No set with other corridors can be worth "
            "more than 33.34% more."
    )  # fmt: skip
    nothing = simple([3, 2], k=2, costs=np.array([5.0, 6.0]), budget=0)
    assert nothing.statement == (
        "No corridor: a budget of 0 is less than any of the 2 candidates costs (5 or more)."
    )
    some = simple([3, 2], k=2, costs=np.array([5.0, 6.0]), budget=10)
    assert some.statement == (
        "The best set of 1 corridor that the rules allow among the 2 candidates: proved. 1 of 2 asked for: beside it no "
        "candidate worth choosing that the rules allow is left."
    )
    assert simple([-1.0], k=1).statement == "No corridor: of the 1 candidate none is worth choosing."
    assert (nothing.chosen.tolist(), nothing.value, nothing.gap) == ([], 0.0, 0.0)
    assert simple([], k=2).statement == "No corridor: of the 0 candidates none is worth choosing."
    assert simple([], k=2, upper_outside=1.5).bound_of_all == 3.0


EAST = Quota("in the Eastern division", np.array([0, 1]), at_least=2)


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        (
            {"quotas": [Quota("in the Eastern division", np.array([2]), at_least=2)]},
            ("Invalid rules: at least 2 corridors in the Eastern division cannot be met: only 1 of the 4 candidate "
            "corridors lies there."),
        ),
        (
            {"quotas": [Quota("through Budd Park", np.array([], dtype=int), at_least=1)]},
            ("Invalid rules: at least 1 corridor through Budd Park cannot be met: none of the 4 candidate corridors lies "
            "there."),
        ),
        (
            {"quotas": [EAST], "conflicts": np.array([[0, 1]])},
            ("Invalid rules: at least 2 corridors in the Eastern division cannot be met: of the 2 candidate corridors there "
            "no more than 1 can be chosen together, as the others are too near to each other."),
        ),
        (
            {"quotas": [EAST], "k": 1},
            ("Invalid rules: at most 1 corridor altogether and at least 2 corridors in the Eastern division cannot be met "
            "together with the 4 candidate corridors, though without any one of these rules the others can."),
        ),
        (
            {"quotas": [EAST], "costs": np.array([6.0, 5, 1, 1]), "budget": 10.0},
            "Invalid rules: at least 2 corridors in the Eastern division and a budget of 10 cannot be met together",
        ),
        (
            {
                "quotas": [
                    EAST,
                    Quota("through the park", np.array([2, 3]), at_least=1),
                    Quota("in the North", np.array([0, 2, 3]), at_most=1),
                ]
            },
            ("Invalid rules: at least 2 corridors in the Eastern division, at least 1 corridor through the park and at "
            "most 1 corridor in the North cannot be met together"),
        ),
    ],
)  # fmt: skip
def test_rules_that_cannot_be_met_are_named(rules, sentence):
    """The sentence names a smallest set of rules that cannot be met together, and no rule beside it."""
    with pytest.raises(InputError) as error:
        simple([4, 3, 2, 1], **{"k": 3, **rules})
    assert str(error.value).startswith(sentence)


def test_named_rules_are_a_smallest_set():
    """On random cases the named rules alone cannot be met by any subset, and can without any one of them."""
    seen = 0
    for seed in range(400):
        case = random_case(seed)
        try:
            choose_together(**case)
        except InputError as error:
            words = str(error)
        else:
            continue
        rules = [("k", f"at most {case['k']} corridor{'s' if case['k'] > 1 else ''} altogether")]
        for place, quota in enumerate(case["quotas"]):
            for kind, number in (("at least", quota.at_least), ("at most", quota.at_most)):
                if number:
                    rules.append(
                        ((kind, place), f"{kind} {number} corridor{'s' if number > 1 else ''} {quota.where}")
                    )
                elif number == 0 and kind == "at most":
                    rules.append(((kind, place), f"at most 0 corridors {quota.where}"))
        if case["budget"] is not None:
            rules.append(("budget", f"a budget of {case['budget']:,.10g}"))
        named = [rule for rule, text in rules if text in words]
        assert named, words

        def loosened(kept, case=case):
            quotas = [
                Quota(
                    quota.where,
                    quota.windows,
                    quota.at_least if ("at least", place) in kept else 0,
                    quota.at_most if ("at most", place) in kept else None,
                )
                for place, quota in enumerate(case["quotas"])
            ]
            return dict(
                case,
                quotas=quotas,
                k=case["k"] if "k" in kept else 10,
                budget=case["budget"] if "budget" in kept else None,
            )

        assert best_by_hand(loosened(named)) is None, words
        for rule in named:
            assert best_by_hand(loosened([other for other in named if other != rule])) is not None, words
        seen += 1
        if seen == 40:
            break
    assert seen == 40


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"budget": -1.0, "costs": np.ones(2)}, "must not be negative"),
        ({"budget": 5.0}, "needs the cost"),
        ({"budget": 5.0, "costs": np.array([1.0, -2.0])}, "not negative"),
        ({"k": 0}, "at least 1"),
        ({"conflicts": np.array([[0, 2]])}, "numbered from 0 to 1"),
        ({"quotas": [Quota("in the East", np.array([7]))]}, "quota 'in the East'"),
        ({"time_limit": 0}, "greater than 0"),
        ({"upper_outside": math.nan}, "finite"),
        ({"upper_outside": 1.0, "cheapest_outside": -1.0}, "must not be negative"),
    ],
)
def test_arguments_that_do_not_fit(change, words):
    """Each is refused with its rule."""
    with pytest.raises(InputError, match=words):
        simple([1, 2], **{"k": 1, **change})


def test_too_many_candidates_are_refused():
    """Ten thousand and one do not fit, and the sentence says how many do."""
    with pytest.raises(CapacityError, match="10,000"):
        simple(np.ones(10_001), k=1)
    with pytest.raises(InputError, match="one finite number"):
        simple([1.0, math.nan], k=1)


def test_progress_is_told():
    """Three steps, counted to the end."""
    told = []
    simple([1, 2], k=1, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_out_of_time_still_gives_a_set_and_an_honest_gap():
    """Stopped at once, the set is no worse than one after the other, and the bound is not below the optimum."""
    random = np.random.default_rng(0)
    n = 70
    members = [np.array([i]) for i in range(n)]
    pairs = np.array([pair for pair in itertools.combinations(range(n), 2) if random.random() < 0.5])
    values = random.uniform(1, 2, n)
    stopped = choose_together(values, members, k=8, conflicts=pairs, time_limit=1e-4)
    full = choose_together(values, members, k=8, conflicts=pairs, time_limit=60)
    assert stopped.status == "time limit"
    assert stopped.gap == pytest.approx(stopped.bound / stopped.value - 1)
    assert full.status == "proved"
    assert stopped.bound >= full.value >= stopped.value > 0
    assert "stopped after 0.0001 seconds" in stopped.statement
