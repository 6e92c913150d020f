"""Bidirectional search by BIC, with at most one column of each group, on exactly collapsed tables.

The current model cuts the cells into few patterns. One pass over the cells counts them by pattern and level of all
variables; a candidate needs an exact refit on its rows of these tables: microseconds, whatever the number of cells.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rtmkc import checks
from rtmkc.engine.path import check_bounds
from rtmkc.engine.rows import kernels
from rtmkc.engine.rows.collapse import Cells
from rtmkc.engine.rows.families import (
    FAMILIES,
    MAX_ITERATIONS,
    Floats,
    GlmFit,
    Integers,
    fit_rows,
    maximise,
)
from rtmkc.engine.rows.tables import Base, JointTables, Tables
from rtmkc.engine.sweeps import Design
from rtmkc.errors import InputError

# Two models whose BIC differs by less than this share of it are equal: rounding must not choose.
_SAME = 1e-10


@dataclass(frozen=True, eq=False)
class StepwiseFit:
    """The model a search ended at.

    Attributes
    ----------
    columns : tuple of int
        Chosen columns, in the order in which they entered.
    fit : GlmFit
        The model, with its coefficients in that order.
    bic, null_bic : float
        BIC of the model, and of the model without columns.
    steps : tuple of (action, column, bic)
        What was done: ``add``, ``drop``, or ``swap`` (the column now in, for another of its group).
    runner_ups : dict of column to tuple of (column, bic)
        For each chosen column the admissible others of its group in its place, best first.
    n_fits : int
        Models fitted on the way.
    """

    columns: tuple[int, ...]
    fit: GlmFit
    bic: float
    null_bic: float
    steps: tuple[tuple[str, int, float], ...]
    runner_ups: dict[int, tuple[tuple[int, float], ...]]
    n_fits: int


def search_bic(
    design: Design,
    counts: ArrayLike,
    *,
    family: str,
    groups: ArrayLike,
    candidates: Sequence[int] | Integers | None = None,
    lower: ArrayLike | float = -np.inf,
    upper: ArrayLike | float = np.inf,
    offset: ArrayLike | None = None,
    n_for_bic: int | None = None,
    swaps: bool = True,
) -> StepwiseFit:
    """Search a model by BIC from the null: add, drop or swap a column as long as that lowers it.

    Parameters
    ----------
    design : Design
    counts : (n_cells,)
        Incidents in each cell.
    family : {"poisson", "nb1", "nb2"}
    groups : (n_columns,) of int
        The factor of each column; a model holds at most one column of a factor, and a swap stays within it.
    candidates : sequence of int, optional
        Columns that may enter; all by default.
    lower, upper : (n_columns,) or float
        A model is admissible only if every coefficient lies within its bounds.
    offset : (n_cells,), optional
        Log exposure.
    n_for_bic : int, optional
        Number whose logarithm a parameter costs; the number of cells by default.
    swaps : bool
        Whether a column may also be exchanged for another of its factor in one step.

    Raises
    ------
    InputError
        If an argument cannot be used or there are no incidents.

    Notes
    -----
    Every step fits all single changes exactly and takes the admissible one with the lowest BIC; of equal
    ones, the one with the lowest column number. Collapsing sums likelihood terms of cells with equal
    columns, and where a term is linear in the mean (all of Poisson, the zeros and ones of NB1) also over
    unequal offsets.

    Examples
    --------
    >>> import numpy as np
    >>> bands = np.repeat(np.array([0, 1, 2], dtype=np.uint8), 40)
    >>> design = Design((bands,), (np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),))
    >>> counts = np.tile([0, 1], 60) + 4 * (bands == 2)
    >>> search = search_bic(design, counts, family="poisson", groups=[0, 0])
    >>> search.columns, round(float(np.exp(search.fit.coef[0])), 6)
    ((0,), 9.0)
    """
    checks.check_choice("family", family, tuple(FAMILIES))
    group = np.asarray(groups)
    n_columns = design.n_columns
    if group.shape != (n_columns,):
        raise InputError(
            f"Invalid groups {group.shape}. There must be one for each of the {n_columns} columns."
        )
    every = np.arange(n_columns)
    allowed = every if candidates is None else np.unique(np.asarray(candidates, dtype=np.int64))
    if not np.isin(allowed, every).all():
        raise InputError(
            f"Invalid candidates {allowed[0]} to {allowed[-1]}. Columns go from 0 to {n_columns - 1}."
        )
    low, high = check_bounds(lower, upper, n_columns)
    cells = Cells.of(design, counts, offset, family)
    n_for_bic = cells.n_cells if n_for_bic is None else checks.check_count("n_for_bic", n_for_bic)
    tables = JointTables(design, cells, allowed)
    return _Search(tables, group, allowed, low, high, math.log(n_for_bic)).run(swaps)


@dataclass(frozen=True, eq=False)
class _Move:
    """A model one change away: what was done, its columns and its fit."""

    action: str
    column: int
    columns: tuple[int, ...]
    point: Floats
    bic: float


class _Search:
    """The search of `search_bic`: every model tried is a base and at most one candidate column."""

    def __init__(
        self,
        tables: JointTables,
        group: Integers,
        allowed: Integers,
        lower: Floats,
        upper: Floats,
        cost: float,
    ) -> None:
        self.tables, self.group, self.allowed = tables, group, allowed
        self.lower, self.upper, self.cost = lower, upper, cost
        self.family = tables.cells.family
        self.n_dispersion = int(FAMILIES[self.family].has_dispersion)
        self.n_fits = 0

    def run(self, swapping: bool) -> StepwiseFit:
        """Search from the null until nothing improves."""
        null = self._refit(self.tables.base(), None, "null", -1)
        current, steps = null, []
        while True:
            adds, drops, swaps = self._moves(current)
            moves = [*adds, *drops]
            moves += [move for some in swaps.values() for move in some if swapping]
            best = _lowest(moves)
            if best is None or best.bic >= current.bic - _SAME * abs(current.bic):
                break
            for column in set(current.columns).difference(best.columns):
                self.tables.drop(column)
            for column in set(best.columns).difference(current.columns):
                self.tables.add(column)
            current = best
            steps.append((best.action, best.column, best.bic))
        runner_ups = {
            column: tuple(sorted(((move.column, move.bic) for move in some), key=lambda pair: pair[::-1]))
            for column, some in swaps.items()
        }
        fit = fit_rows(self.tables.rows(self.tables.base()), self.family)
        return StepwiseFit(
            columns=current.columns,
            fit=fit,
            bic=self._bic(fit.log_likelihood, len(current.columns)),
            null_bic=null.bic,
            steps=tuple(steps),
            runner_ups=runner_ups,
            n_fits=self.n_fits,
        )

    def _moves(self, current: _Move) -> tuple[list[_Move], list[_Move], dict[int, list[_Move]]]:
        """Fit all single changes: columns to add, to drop, and to swap for each one of the model."""
        group, allowed = self.group, self.allowed
        whole = self.tables.base()
        bases = {column: self.tables.base(without=column) for column in current.columns}
        starts = {column: np.delete(current.point, 1 + place) for place, column in enumerate(current.columns)}
        drops = [self._refit(base, starts[column], "drop", column) for column, base in bases.items()]
        adds: list[_Move] = []
        swaps: dict[int, list[_Move]] = {column: [] for column in current.columns}
        taken = group[list(current.columns)]
        place_of = self.tables.levels.place
        for tables in self.tables.tables():
            here = allowed[(place_of >= tables.first) & (place_of < tables.stop)]
            adds += self._try(whole, tables, here[~np.isin(group[here], taken)], current.point, "add")
            for column, base in bases.items():
                others = here[(group[here] == group[column]) & (here != column)]
                swaps[column] += self._try(base, tables, others, starts[column], "swap")
        drops = [move for move in drops if self._is_inside(move)]
        return adds, drops, swaps

    def _refit(self, base: Base, start: Floats | None, action: str, column: int) -> _Move:
        self.n_fits += 1
        maximum = maximise(self.tables.rows(base), self.family, start)
        point = maximum.point
        if maximum.at_boundary:
            # The next model may be overdispersed again; it starts from a small dispersion.
            point = np.append(point, kernels.SMALL_LOG_DISPERSION)
        bic = self._bic(maximum.log_likelihood, len(base.columns))
        return _Move(action, column, base.columns, point, bic)

    def _try(self, base: Base, tables: Tables, columns: Integers, start: Floats, action: str) -> list[_Move]:
        """Fit the base with each of the columns, and return the models that are admissible."""
        if not columns.size:
            return []
        self.n_fits += columns.size
        end = 1 + len(base.columns)
        start = np.concatenate([start[:end], [0.0], start[end:]])
        points, likelihoods = np.empty((columns.size, start.size)), np.empty(columns.size)
        kernels.fit_columns(
            FAMILIES[self.family].code, *self.tables.arrays(base, tables, columns),
            start, MAX_ITERATIONS, points, likelihoods,
        )  # fmt: skip
        models = np.array([(*base.columns, int(column)) for column in columns])
        bics = self._bic(likelihoods + self.tables.cells.constant, end)
        return [
            _Move(action, int(columns[one]), tuple(models[one].tolist()), points[one], float(bics[one]))
            for one in np.flatnonzero(self._are_admissible(models, points[:, 1 : 1 + end]))
        ]

    def _bic(self, log_likelihood: Any, n_columns: int) -> Any:
        return -2.0 * log_likelihood + (n_columns + 1 + self.n_dispersion) * self.cost

    def _is_inside(self, move: _Move) -> bool:
        models = np.array(move.columns, dtype=np.int64)
        return bool(self._are_admissible(models, move.point[1 : 1 + models.size]))

    def _are_admissible(self, models: Integers, coefs: Floats) -> Integers:
        """Say of models, one a row, whether all their coefficients lie within the bounds of their columns."""
        return np.asarray(((coefs >= self.lower[models]) & (coefs <= self.upper[models])).all(axis=-1))


def _lowest(moves: list[_Move]) -> _Move | None:
    """Return the move of lowest BIC; among equal ones that of the lowest column."""
    if not moves:
        return None
    least = min(move.bic for move in moves)
    equal = [move for move in moves if move.bic <= least + _SAME * abs(least)]
    return min(equal, key=lambda move: move.column)
