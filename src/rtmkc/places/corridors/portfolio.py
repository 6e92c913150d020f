"""Several corridors chosen together under a city's rules: the best set of candidate windows, with a proof."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from rtmkc.checks import check_count, check_number, check_positive
from rtmkc.errors import CapacityError, InputError
from rtmkc.places.corridors.conflicts import clique_cover, exclusions, windows_by_block

MOST_WINDOWS = 10_000
"""Candidates beyond which the table of who excludes whom does not fit."""
# Values are scaled to this before they are solved: the solver stops at an absolute gap of 1e-6.
_LARGEST = 1000.0
# Sums of equal terms in another order differ by this much.
_EQUAL = 1e-9
_EXPLAIN_SECONDS = 10.0


@dataclass(frozen=True, eq=False)
class Quota:
    """How many of some windows must and may be chosen.

    Parameters
    ----------
    where : str
        What the windows have in common, as it goes into a sentence: "in the Eastern division", "through Budd
        Park".
    windows : ndarray of int
        Their numbers.
    at_least, at_most : int
        Of the chosen corridors; None leaves the number open.
    """

    where: str
    windows: np.ndarray = field(repr=False)
    at_least: int = 0
    at_most: int | None = None


@dataclass(frozen=True, eq=False)
class Portfolio:
    """Windows chosen together.

    Attributes
    ----------
    chosen : ndarray of int
        Numbers of the windows, the one of most worth first.
    value : float
        Their worth together.
    bound : float
        No allowed set of the candidates is worth more.
    gap : float
        ``(bound - value) / |value|``; 0 is proved.
    status : str
        "proved" or "time limit".
    bound_of_all : float or None
        No allowed set of any windows, candidates or not, is worth more; None if nothing is known of the
        others.
    statement : str
        What the set is the best of.
    """

    chosen: np.ndarray
    value: float
    bound: float
    gap: float
    status: str
    bound_of_all: float | None
    statement: str

    @property
    def is_best_of_all(self) -> bool:
        """Whether no set of windows inside or outside the candidates can be better."""
        return self.bound_of_all is not None and self.bound_of_all <= self.value


def choose_together(
    values: np.ndarray,
    members: Sequence[np.ndarray],
    *,
    k: int,
    conflicts: np.ndarray | None = None,
    costs: np.ndarray | None = None,
    budget: float | None = None,
    quotas: Sequence[Quota] = (),
    upper_outside: float | None = None,
    cheapest_outside: float = 0.0,
    time_limit: float = 60.0,
    progress: Callable[[int, int], None] | None = None,
) -> Portfolio:
    """Choose at most k windows that are worth most together.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Worth of each window, in one unit (incidents above the price of its length, say).
    members : sequence of int arrays, length n
        Blocks of each window. Windows that share a block exclude each other.
    k : int
        How many at most. A window worth nothing is chosen only if a quota needs it.
    conflicts : ndarray of int, shape (m, 2), optional
        Further pairs that exclude each other; see `conflict_pairs`.
    costs : ndarray, shape (n,), optional
        Cost of each window, not negative, in the unit of `budget`.
    budget : float, optional
        The costs of the chosen windows add up to this at most.
    quotas : sequence of Quota
        How many windows of a district must and may be chosen, and places that at least one must go through.
    upper_outside : float, optional
        No window outside the candidates is worth more than this; ``-math.inf`` says that there is none.
    cheapest_outside : float
        No window outside the candidates costs less than this.
    time_limit : float
        Seconds for the search, and as many for the proof over all windows. A search that runs out of time may
        end differently on another machine.
    progress : callable, optional
        Called with the steps done and all steps.

    Returns
    -------
    Portfolio
        The same whatever the order of the windows; among sets of the same worth the solver's choice.

    Raises
    ------
    InputError
        If an argument does not fit, or no set of the candidates meets the quotas: the sentence names a
        smallest set of rules that cannot be met together.
    CapacityError
        If there are more than 10,000 candidates.

    Notes
    -----
    The set is the optimum of a mixed-integer program: ``max v x`` with x in {0, 1}, one row ``sum x <= 1``
    for each clique of windows that exclude each other, rows for k, the budget and the quotas, solved by HiGHS
    (Huangfu & Hall 2018).

    *Over all windows.* Any allowed set is some j windows from outside and k - j or fewer candidates. Write
    each of those j as one copy of a stand-in that is worth `upper_outside`, costs `cheapest_outside`,
    excludes nothing, counts for every "at least" and for no "at most". No row of the program is broken by
    that and the worth has not fallen; so the optimum of the program with up to k stand-ins is not less than
    any allowed set of any windows. Without quotas and budget it is the largest of ``OPT(k - j) + j
    upper_outside`` over j. Where it is no more than the value, the set is the best of all windows. It can
    fail to be the proof although the set is the best: where a quota or the budget binds, the stand-ins are
    too good to be true.

    Examples
    --------
    The middle window is worth most, but excludes both others.

    >>> windows = [np.array([0, 1]), np.array([1, 2]), np.array([2, 3])]
    >>> best = choose_together(np.array([5.0, 8.0, 4.0]), windows, k=2, upper_outside=1.0)
    >>> best.chosen.tolist(), best.value
    ([0, 2], 9.0)
    >>> best.statement
    'The best set of 2 corridors there is: proved for the 3 candidates and for all others.'
    """
    step = progress or (lambda done, total: None)
    problem = _Problem.of(values, members, k, conflicts, costs, budget, tuple(quotas))
    seconds = check_positive("time_limit", time_limit)
    step(1, 3)
    found = problem.solve(seconds)
    if found.status == "infeasible":
        raise InputError(_why_infeasible(problem))
    chosen = problem.better(found.chosen, problem.greedy())
    if chosen is None:
        raise InputError(
            f"Invalid time_limit {time_limit:g}. No set that meets the rules was found in that many seconds; "
            "give more time, or loosen a rule."
        )
    chosen = problem.without_idle(chosen)
    step(2, 3)
    value = problem.worth(chosen)
    bound = _settle(value if found.status == "proved" else found.bound, value)
    of_all = _bound_of_all(problem, bound, value, upper_outside, cheapest_outside, seconds)
    step(3, 3)
    gap = (bound - value) / abs(value) if bound > value and value else 0.0 if bound <= value else math.inf
    order = chosen[np.lexsort((chosen, -problem.values[chosen]))]
    return Portfolio(
        chosen=order,
        value=value,
        bound=bound,
        gap=gap,
        status=found.status if gap else "proved",
        bound_of_all=of_all,
        statement=_statement(problem, len(order), value, bound, of_all, seconds),
    )


def _settle(bound: float, value: float) -> float:
    """A bound; the value itself where they differ by rounding alone."""
    return value if bound <= value + _EQUAL * abs(value) else bound


def _bound_of_all(
    problem: "_Problem", bound: float, value: float, upper: float | None, cheapest: float, seconds: float
) -> float | None:
    if upper is None:
        return None
    if upper == -math.inf:
        return bound
    worth, cost = check_number("upper_outside", upper), check_number("cheapest_outside", cheapest)
    if cost < 0:
        raise InputError(f"Invalid cheapest_outside {cheapest!r}. It must not be negative.")
    widened = problem.solve(seconds, outside=(worth, cost))
    return max(_settle(widened.bound, value), value)


@dataclass(frozen=True)
class _Found:
    """What the solver says: "proved", "time limit" or "infeasible"."""

    status: str
    chosen: np.ndarray | None
    bound: float


@dataclass(frozen=True, eq=False)
class _Problem:
    """The program: its windows, what they exclude, and the rules."""

    values: np.ndarray
    excludes: np.ndarray
    cliques: list[np.ndarray]
    k: int
    costs: np.ndarray
    budget: float | None
    quotas: tuple[Quota, ...]
    order: np.ndarray

    @classmethod
    def of(
        cls,
        values: np.ndarray,
        members: Sequence[np.ndarray],
        k: int,
        conflicts: np.ndarray | None,
        costs: np.ndarray | None,
        budget: float | None,
        quotas: tuple[Quota, ...],
    ) -> "_Problem":
        worth = np.asarray(values, dtype=float)
        n_windows = len(worth)
        if worth.ndim != 1 or len(members) != n_windows or not np.isfinite(worth).all():
            raise InputError(
                f"Invalid values of shape {worth.shape}. There must be one finite number for each of the "
                f"{len(members):,} windows."
            )
        if n_windows > MOST_WINDOWS:
            raise CapacityError(
                f"Invalid number of candidates {n_windows:,}. At most {MOST_WINDOWS:,} can be chosen among; keep those of most worth."
            )
        pairs = np.asarray(conflicts if conflicts is not None else [], dtype=np.int64).reshape(-1, 2)
        for what, numbers in (("conflicts", pairs), *((f"quota {q.where!r}", q.windows) for q in quotas)):
            if np.size(numbers) and not (np.min(numbers) >= 0 and np.max(numbers) < n_windows):
                raise InputError(f"Invalid {what}. Windows are numbered from 0 to {n_windows - 1:,}.")
        excludes = exclusions(members, pairs)
        # An order that does not depend on the order given: the solver's choice among equals follows its columns.
        keys = [tuple(sorted(int(block) for block in own)) for own in members]
        order = np.array(sorted(range(n_windows), key=lambda one: (-worth[one], keys[one])), dtype=np.int64)
        place = np.argsort(order)
        seeds = [place[together] for together in windows_by_block(members)]
        seeds.sort(key=lambda seed: (-len(seed), seed.min()))
        cliques = clique_cover(excludes[np.ix_(order, order)], [np.sort(seed) for seed in seeds])
        return cls(
            worth, excludes, [order[clique] for clique in cliques], check_count("k", k),
            *_money(costs, budget, n_windows), quotas, order,
        )  # fmt: skip

    def solve(
        self,
        seconds: float,
        *,
        outside: tuple[float, float] | None = None,
        rules: Sequence[str] | None = None,
        goal: np.ndarray | None = None,
    ) -> _Found:
        """Solve the program, widened by stand-ins for windows `outside`, or with some of its `rules` alone."""
        n_windows = len(self.values)
        n_columns = n_windows + (outside is not None)
        worth = self.values if goal is None else goal
        gain = np.append(worth, outside[0]) if outside else worth
        if n_columns == 0:
            met = all(quota.at_least == 0 for quota in self.quotas)
            return _Found("proved" if met else "infeasible", np.empty(0, dtype=np.int64), 0.0)
        rows = [(_ones(clique, n_columns), -np.inf, 1.0) for clique in self.cliques]
        for name, row, low, high in self.rule_rows(outside):
            if rules is None or name in rules:
                rows.append((row, low, high))
        # What no quota asks for and is worth nothing would only be chosen by chance.
        wanted = np.zeros(n_columns, dtype=bool)
        for quota in self.quotas:
            wanted[quota.windows] |= quota.at_least > 0
        highest = np.where((gain > 0) | wanted, 1.0, 0.0)
        if outside:
            highest[-1] = self.k
        columns = np.append(self.order, np.arange(n_windows, n_columns))
        # A row that says nothing: there may be no other.
        rows.append((_ones(columns, n_columns), -np.inf, np.inf))
        matrix = sparse.csr_array(sparse.vstack([row for row, _, _ in rows]))[:, columns]
        scale = _LARGEST / max(float(np.abs(gain).max()), 1e-300)
        result: Any = milp(
            -gain[columns] * scale,
            integrality=np.ones(n_columns),
            bounds=Bounds(np.zeros(n_columns), highest[columns]),
            constraints=LinearConstraint(matrix, [low for _, low, _ in rows], [high for _, _, high in rows]),
            options={"time_limit": seconds, "mip_rel_gap": 0.0},
        )
        if result.status == 2:
            return _Found("infeasible", None, -np.inf)
        chosen = None if result.x is None else np.sort(columns[np.round(result.x).astype(bool)])
        bound = result.mip_dual_bound
        # Before the first relaxation is solved nothing is known but that no more than k can be chosen.
        best = float(np.sort(np.maximum(gain, 0.0))[::-1][: self.k].sum())
        if outside:
            best = max(best, self.k * max(float(gain.max()), 0.0))
        known = -float(bound) / scale if bound is not None and np.isfinite(bound) else best
        return _Found("proved" if result.status == 0 else "time limit", chosen, min(known, best))

    def rule_rows(
        self, outside: tuple[float, float] | None = None
    ) -> list[tuple[str, sparse.csr_array, float, float]]:
        """Return each rule but the exclusions: its words, its row and the bounds of the row."""
        n_windows = len(self.values)
        n_columns = n_windows + (outside is not None)
        stand_in = np.arange(n_windows, n_columns)
        everything = _ones(np.arange(n_columns), n_columns)
        rows = [(f"at most {_corridors(self.k)} altogether", everything, -np.inf, float(self.k))]
        for quota in self.quotas:
            own = np.unique(np.asarray(quota.windows, dtype=np.int64))
            if quota.at_least > 0:
                row = _ones(np.append(own, stand_in), n_columns)
                words = f"at least {_corridors(quota.at_least)} {quota.where}"
                rows.append((words, row, float(quota.at_least), np.inf))
            if quota.at_most is not None:
                words = f"at most {_corridors(quota.at_most)} {quota.where}"
                rows.append((words, _ones(own, n_columns), -np.inf, float(quota.at_most)))
        if self.budget is not None:
            money = np.append(self.costs, outside[1]) if outside else self.costs
            # Scaled, as the solver lets a row be broken by 1e-6 of its own unit.
            unit = _LARGEST / (self.budget or max(float(money.max()), 1.0))
            row = sparse.csr_array((money * unit).reshape(1, -1))
            rows.append((f"a budget of {self.budget:,.10g}", row, -np.inf, self.budget * unit))
        return rows

    def worth(self, chosen: np.ndarray) -> float:
        """Sum of the values of windows, the same in any order."""
        return math.fsum(self.values[chosen])

    def greedy(self) -> np.ndarray | None:
        """Take one window after the other, the best first; None if that does not meet the quotas."""
        chosen: list[int] = []
        free = self.values > 0
        spent = 0.0
        left = [math.inf if quota.at_most is None else quota.at_most for quota in self.quotas]
        of_window: dict[int, list[int]] = {}
        for number, quota in enumerate(self.quotas):
            for window in np.unique(quota.windows):
                of_window.setdefault(int(window), []).append(number)
        for window in self.order:
            own = of_window.get(int(window), [])
            if len(chosen) == self.k or not free[window] or any(left[number] < 1 for number in own):
                continue
            if self.budget is not None and spent + self.costs[window] > self.budget:
                continue
            chosen.append(int(window))
            free &= ~self.excludes[window]
            free[window] = False
            spent += self.costs[window]
            for number in own:
                left[number] -= 1
        found = np.sort(np.array(chosen, dtype=np.int64))
        counts = [len(np.intersect1d(quota.windows, found)) for quota in self.quotas]
        met = all(count >= quota.at_least for count, quota in zip(counts, self.quotas, strict=True))
        return found if met else None

    def without_idle(self, chosen: np.ndarray) -> np.ndarray:
        """Leave out windows worth nothing that no quota needs: the solver may take them or not."""
        for window in chosen[self.values[chosen] == 0]:
            others = chosen[chosen != window]
            counts = [len(np.intersect1d(quota.windows, others)) for quota in self.quotas]
            if all(count >= quota.at_least for count, quota in zip(counts, self.quotas, strict=True)):
                chosen = others
        return chosen

    def better(self, one: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
        """Of two sets the one worth more; the first of equals."""
        if one is None or other is None:
            return other if one is None else one
        more = self.worth(other) > self.worth(one) + _EQUAL * abs(self.worth(one))
        return other if more else one


def _money(costs: np.ndarray | None, budget: float | None, n_windows: int) -> tuple[np.ndarray, float | None]:
    if budget is None:
        return np.zeros(n_windows), None
    if costs is None:
        raise InputError(f"Invalid budget {budget!r}. A budget needs the cost of each window.")
    money, limit = np.asarray(costs, dtype=float), check_number("budget", budget)
    if limit < 0:
        raise InputError(f"Invalid budget {budget!r}. It must not be negative.")
    if money.shape != (n_windows,) or not (np.isfinite(money).all() and (money >= 0).all()):
        raise InputError(
            f"Invalid costs of shape {money.shape}. There must be one number, not negative, for each of the "
            f"{n_windows:,} windows."
        )
    return money, limit


def _ones(columns: np.ndarray, n_columns: int) -> sparse.csr_array:
    ones = np.ones(len(columns))
    return sparse.csr_array((ones, (np.zeros(len(columns), dtype=int), columns)), shape=(1, n_columns))


def _corridors(number: int) -> str:
    return f"{number:,} corridor{'' if number == 1 else 's'}"


def _why_infeasible(problem: _Problem) -> str:
    """Name a smallest set of rules that cannot be met together: drop each in turn, and keep those that matter."""
    rules = [name for name, _, _, _ in problem.rule_rows()]
    nothing = np.zeros(len(problem.values))
    for rule in list(rules):
        without = [name for name in rules if name != rule]
        if problem.solve(_EXPLAIN_SECONDS, rules=without, goal=nothing).status == "infeasible":
            rules = without
    if len(rules) > 1:
        listed = f"{', '.join(rules[:-1])} and {rules[-1]}"
        return (
            f"Invalid rules: {listed} cannot be met together with the {len(problem.values):,} candidate corridors, "
            "though without any one of these rules the others can. Loosen one of them."
        )
    broken = next(q for q in problem.quotas if f"at least {_corridors(q.at_least)} {q.where}" == rules[0])
    own = np.unique(np.asarray(broken.windows, dtype=np.int64))
    n_windows = len(problem.values)
    if len(own) < broken.at_least:
        lies = "lies" if len(own) == 1 else "lie"
        reason = f"only {len(own):,} of the {n_windows:,} candidate corridors {lies} there"
        reason = reason if len(own) else f"none of the {n_windows:,} candidate corridors lies there"
    else:
        goal = np.zeros(n_windows)
        goal[own] = 1.0
        most = problem.solve(_EXPLAIN_SECONDS, rules=[], goal=goal).chosen
        count = 0 if most is None else len(most)
        reason = (
            f"of the {len(own):,} candidate corridors there no more than {count:,} can be chosen together, as the others "
            "are too near to each other"
        )
    return (
        f"Invalid rules: {rules[0]} cannot be met: {reason}. Ask for fewer, or allow more candidates: shorter ones, or "
        "nearer to each other."
    )


def _statement(
    problem: _Problem, count: int, value: float, bound: float, of_all: float | None, seconds: float
) -> str:
    candidates = f"{len(problem.values):,} candidate{'' if len(problem.values) == 1 else 's'}"
    rules = " that the rules allow" if problem.quotas or problem.budget is not None else ""
    if count == 0:
        return f"No corridor: of the {candidates} none{rules} is worth choosing."
    what = f"set of {_corridors(count)}{rules}"
    if bound > value:
        sentence = (
            f"A {what} among the {candidates}, worth at least {value / bound:.2%} of the best: the search was stopped after "
            f"{seconds:g} seconds."
        )
    elif of_all is not None and of_all <= value:
        sentence = f"The best {what} there is: proved for the {candidates} and for all others."
    else:
        sentence = f"The best {what} among the {candidates}: proved."
    if of_all is not None and of_all > value > 0:
        sentence += f" No set of any corridors is worth more than {of_all / value - 1:.2%} above it."
    if count < problem.k:
        sentence += f" {count} of {problem.k} asked for: beside {'it' if count == 1 else 'them'} no candidate worth choosing is left."
    return sentence
