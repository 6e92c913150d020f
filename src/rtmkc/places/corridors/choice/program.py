"""The program behind a portfolio: which windows exclude each other, the rules as rows, and the solver."""

import contextlib
import ctypes
import math
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from rtmkc.checks import check_count, check_number
from rtmkc.errors import CapacityError, InputError
from rtmkc.places.corridors.choice.conflicts import clique_cover, exclusions, windows_by_block

MOST_WINDOWS = 10_000
"""Candidates beyond which the table of who excludes whom does not fit."""
# Values are scaled to this before they are solved: the solver stops at an absolute gap of 1e-6.
_LARGEST = 1000.0
# Sums of equal terms in another order differ by this much.
EQUAL = 1e-9


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


@dataclass(frozen=True)
class Solution:
    """What the solver says: "proved", "time limit" or "infeasible"."""

    status: str
    chosen: np.ndarray | None
    bound: float


@dataclass(frozen=True)
class StandIn:
    """As good as any window outside the candidates, in the place of one quota; anywhere at once if None."""

    worth: float
    cost: float
    where: str | None


@dataclass(frozen=True, eq=False)
class Program:
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
    ) -> "Program":
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
        outside: Sequence[StandIn] = (),
        mapped: Collection[str | None] = (),
        rules: Sequence[str] | None = None,
        goal: np.ndarray | None = None,
    ) -> Solution:
        """Solve the program, widened by stand-ins for windows `outside`, or with some of its `rules` alone."""
        n_windows = len(self.values)
        n_columns = n_windows + len(outside)
        worth = self.values if goal is None else goal
        gain = np.append(worth, [one.worth for one in outside])
        if n_columns == 0:
            met = all(quota.at_least == 0 for quota in self.quotas)
            return Solution("proved" if met else "infeasible", np.empty(0, dtype=np.int64), 0.0)
        rows = [(_ones(clique, n_columns), -np.inf, 1.0) for clique in self.cliques]
        for name, row, low, high in self.rule_rows(outside, mapped):
            if rules is None or name in rules:
                rows.append((row, low, high))
        # What no quota asks for and is worth nothing would only be chosen by chance.
        wanted = np.zeros(n_columns, dtype=bool)
        for quota in self.quotas:
            wanted[quota.windows] |= quota.at_least > 0
        highest = np.where((gain > 0) | wanted, 1.0, 0.0)
        highest[n_windows:] = self.k
        columns = np.append(self.order, np.arange(n_windows, n_columns))
        # A row that says nothing: there may be no other.
        rows.append((_ones(columns, n_columns), -np.inf, np.inf))
        matrix = sparse.csr_array(sparse.vstack([row for row, _, _ in rows]))[:, columns]
        scale = _LARGEST / max(float(np.abs(gain).max()), 1e-300)
        with _nothing_on_stdout():
            result: Any = milp(
                -gain[columns] * scale,
                integrality=np.ones(n_columns),
                bounds=Bounds(np.zeros(n_columns), highest[columns]),
                constraints=LinearConstraint(
                    matrix, [low for _, low, _ in rows], [high for _, _, high in rows]
                ),
                options={"time_limit": seconds, "mip_rel_gap": 0.0},
            )
        if result.status == 2:
            return Solution("infeasible", None, -np.inf)
        chosen = None if result.x is None else np.sort(columns[np.round(result.x).astype(bool)])
        bound = result.mip_dual_bound
        # Before the first relaxation is solved nothing is known but that no more than k can be chosen.
        best = float(np.sort(np.maximum(gain, 0.0))[::-1][: self.k].sum())
        if outside:
            best = max(best, self.k * max(float(gain.max()), 0.0))
        known = -float(bound) / scale if bound is not None and np.isfinite(bound) else best
        return Solution("proved" if result.status == 0 else "time limit", chosen, min(known, best))

    def rule_rows(
        self, outside: Sequence[StandIn] = (), mapped: Collection[str | None] = ()
    ) -> list[tuple[str, sparse.csr_array, float, float]]:
        """Return each rule but the exclusions: its words, its row and the bounds of the row."""
        n_windows = len(self.values)
        n_columns = n_windows + len(outside)
        everything = _ones(np.arange(n_columns), n_columns)
        rows = [(f"at most {corridors(self.k)} altogether", everything, -np.inf, float(self.k))]
        for quota in self.quotas:
            own = np.unique(np.asarray(quota.windows, dtype=np.int64))
            there = [n_windows + number for number, one in enumerate(outside) if one.where == quota.where]
            if quota.at_least > 0:
                helpers = there if quota.where in mapped else np.arange(n_windows, n_columns)
                row = _ones(np.append(own, helpers).astype(np.int64), n_columns)
                words = f"at least {corridors(quota.at_least)} {quota.where}"
                rows.append((words, row, float(quota.at_least), np.inf))
            if quota.at_most is not None:
                words = f"at most {corridors(quota.at_most)} {quota.where}"
                row = _ones(np.append(own, there).astype(np.int64), n_columns)
                rows.append((words, row, -np.inf, float(quota.at_most)))
        if self.budget is not None:
            money = np.append(self.costs, [one.cost for one in outside])
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
        more = self.worth(other) > self.worth(one) + EQUAL * abs(self.worth(one))
        return other if more else one


@contextlib.contextmanager
def _nothing_on_stdout() -> Iterator[None]:
    """Keep standard output free of lines that compiled code writes to it, whatever it was told.

    HiGHS prints such a line now and then, and it would end up in the middle of JSON. Python's own `sys.stdout` is not
    the place to catch it: it is written to the file descriptor, through the buffer of the C library.
    """
    try:
        before = os.dup(1)
    except OSError:  # a process without standard output has nothing to keep free
        yield
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        _flush_compiled()
        os.dup2(nothing, 1)
        yield
    finally:
        _flush_compiled()
        os.dup2(before, 1)
        os.close(before)
        os.close(nothing)


def _flush_compiled() -> None:
    """Write out what the C library holds back for standard output."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        # Windows has no library of the process itself; its C library goes by this name
        (ctypes.CDLL("ucrtbase") if sys.platform == "win32" else ctypes.CDLL(None)).fflush(None)


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


def corridors(number: int) -> str:
    """So many corridors, in words."""
    return f"{number:,} corridor{'' if number == 1 else 's'}"
