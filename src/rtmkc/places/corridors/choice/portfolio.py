"""Several corridors chosen together under a city's rules: the best set of candidate windows, with a proof."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rtmkc.checks import check_number, check_positive
from rtmkc.errors import InputError
from rtmkc.places.corridors.choice.program import EQUAL, Program, Quota, StandIn, corridors

_EXPLAIN_SECONDS = 10.0


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
    upper_outside: float | Mapping[str, float] | None = None,
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
    upper_outside : float or mapping of str to float, optional
        No window outside the candidates is worth more than this; ``-math.inf`` says that there is none. With
        quotas for districts the proof is sharper if it is said for each: ``{quota.where: worth, "": worth of
        those in none}``, where no window may lie in two of them. It is not checked.
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
    upper_outside`` over j. Where it is no more than the value, the set is the best of all windows. A bound
    for each district makes a stand-in for each, which counts for the rules of its own district and of no
    other. It can fail to be the proof although the set is the best: where a quota or the budget binds, the
    stand-ins are too good to be true.

    *Fewer candidates.* Without quotas a window need not be a candidate, nor count for `upper_outside`, if
    some of its blocks are a window worth no less and costing no more: that one excludes no window that the
    longer one does not, so it can take its place in any set.

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
    problem = Program.of(values, members, k, conflicts, costs, budget, tuple(quotas))
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
    return value if bound <= value + EQUAL * abs(value) else bound


def _bound_of_all(
    problem: Program,
    bound: float,
    value: float,
    upper: float | Mapping[str, float] | None,
    cheapest: float,
    seconds: float,
) -> float | None:
    if upper is None:
        return None
    cost = check_number("cheapest_outside", cheapest)
    if cost < 0:
        raise InputError(f"Invalid cheapest_outside {cheapest!r}. It must not be negative.")
    by_place = dict(upper) if isinstance(upper, Mapping) else {None: upper}
    stand_ins = [
        StandIn(check_number("upper_outside", worth), cost, where)
        for where, worth in by_place.items()
        if worth != -math.inf
    ]
    if not stand_ins:
        return bound
    widened = problem.solve(seconds, outside=stand_ins, mapped=set(by_place))
    return max(_settle(widened.bound, value), value)


def _why_infeasible(problem: Program) -> str:
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
    broken = next(q for q in problem.quotas if f"at least {corridors(q.at_least)} {q.where}" == rules[0])
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
        count = 0 if most is None else int(goal[most].sum())
        reason = (
            f"of the {len(own):,} candidate corridors there no more than {count:,} can be chosen together, as the others "
            "are too near to each other"
        )
    return (
        f"Invalid rules: {rules[0]} cannot be met: {reason}. Ask for fewer, or allow more candidates: shorter ones, or "
        "nearer to each other."
    )


def _statement(
    problem: Program, count: int, value: float, bound: float, of_all: float | None, seconds: float
) -> str:
    n_windows = len(problem.values)
    candidates = f"{n_windows:,} candidate{'' if n_windows == 1 else 's'}"
    rules = " that the rules allow" if problem.quotas or problem.budget is not None else ""
    if count == 0 and n_windows and problem.budget is not None and (problem.costs > problem.budget).all():
        least = problem.costs.min()
        return (
            f"No corridor: a budget of {problem.budget:,.10g} is less than any of the {candidates} costs "
            f"({least:,.10g} or more)."
        )
    if count == 0:
        return f"No corridor: of the {candidates} none{rules} is worth choosing."
    what = f"set of {corridors(count)}{rules}"
    if bound > value:
        share = (
            f", worth at least {math.floor(1e4 * value / bound) / 1e4:.2%} of the best" if value > 0 else ""
        )
        sentence = (
            f"A {what} among the {candidates}{share}: the search was stopped after {seconds:g} seconds."
        )
    elif of_all is not None and of_all <= value:
        sentence = f"The best {what} there is: proved for the {candidates} and for all others."
    else:
        sentence = f"The best {what} among the {candidates}: proved."
    if of_all is not None and of_all > value > 0:
        sentence += f" No set with other corridors can be worth more than {math.ceil(1e4 * (of_all / value - 1)) / 1e4:.2%} more."
    if count < problem.k:
        sentence += f" {count} of {problem.k} asked for"
        beside = "it" if count == 1 else "them"
        none_left = f": beside {beside} no candidate worth choosing{rules} is left."
        sentence += none_left if bound <= value else "."
    return sentence
