"""Bidirectional search by BIC, with at most one column of each group, on exactly collapsed tables.

The current model cuts the cells into few patterns. A candidate needs one histogram of (pattern, code),
taken once for all columns of a variable, and an exact refit on its rows: microseconds, whatever the
number of cells.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from rtmkc import checks
from rtmkc.engine.path import check_bounds
from rtmkc.engine.rows import kernels
from rtmkc.engine.rows.collapse import patterns
from rtmkc.engine.rows.families import (
    FAMILIES,
    Floats,
    GlmFit,
    Integers,
    Rows,
    fit_rows,
    maximise,
    tail_of_all,
    whole_counts,
)
from rtmkc.engine.sweeps import Design, check_cells
from rtmkc.errors import InputError

# Two models whose BIC differs by less than this share of it are equal: rounding must not choose.
_SAME = 1e-10
_SMALL_LOG_DISPERSION = -4.0


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
    cells = _Cells.of(design, counts, offset, family)
    n_for_bic = cells.counts.size if n_for_bic is None else checks.check_count("n_for_bic", n_for_bic)
    return _Search(cells, family, group, allowed, low, high, math.log(n_for_bic)).run(swaps)


@dataclass(frozen=True, eq=False)
class _Cells:
    """What a search needs of the cells: codes, exposure, and those with incidents (busy) apart."""

    design: Design
    family: str
    counts: Floats
    offset: Floats | None
    exposure: Floats
    busy: Integers
    busy_whole: Integers
    constant: float
    kind: Integers
    kind_values: Floats

    @classmethod
    def of(cls, design: Design, counts: ArrayLike, offset: ArrayLike | None, family: str) -> "_Cells":
        y, log_exposure, _ = check_cells(design, counts, offset, None)
        busy = np.flatnonzero(y)
        some = y[busy]
        whole = np.zeros(0, dtype=np.int64) if family == "poisson" else whole_counts(some)
        constant = -float(gammaln(some + 1).sum())
        kind, kind_values = np.zeros(0, dtype=np.int64), np.empty((0, 2))
        if log_exposure is None:
            return cls(design, family, y, None, np.empty(0), busy, whole, constant, kind, kind_values)
        if family == "poisson":
            constant += float((some * log_exposure[busy]).sum())
        elif family == "nb1":
            # The term k = 0 of a cell is the log of its mean: its offset adds a constant.
            constant += float(log_exposure[busy].sum())
        else:
            log_exposure = np.maximum(log_exposure, -700.0)
            kind_values, kind = np.unique(np.column_stack([y, log_exposure]), axis=0, return_inverse=True)
            kind = kind.ravel()
        exposure = np.exp(log_exposure)
        return cls(design, family, y, log_exposure, exposure, busy, whole, constant, kind, kind_values)


@dataclass(frozen=True, eq=False)
class _Base:
    """A model without its candidate: columns, patterns, and where its parameters start."""

    columns: tuple[int, ...]
    pattern: Integers
    matrix: Floats
    start: Floats


class _Tables:
    """The rows of every model that a base and one more column of a variable make.

    `variable` None stands for the base alone.
    """

    def __init__(self, cells: _Cells, base: _Base, variable: int | None) -> None:
        self._cells, self._base = cells, base
        if variable is None:
            self._codes: Integers = np.zeros(base.pattern.size, dtype=np.uint8)
            n_levels = 1
        else:
            self._codes = cells.design.codes[variable]
            n_levels = cells.design.tables[variable].shape[0]
        self._exposure = np.zeros((len(base.matrix), n_levels))
        kernels.pattern_sums(base.pattern, self._codes, cells.exposure, self._exposure)
        self._busy_pattern = base.pattern[cells.busy]
        self._busy_codes = self._codes[cells.busy]

    def rows(self, level_values: Floats | None) -> Rows:
        """Return the rows with the column of these values at the levels; None for the base alone."""
        cells, matrix = self._cells, self._base.matrix
        values, value_of_level = np.zeros(1), np.zeros(1, dtype=np.int64)
        if level_values is not None:
            values, value_of_level = np.unique(level_values, return_inverse=True)
        width = values.size
        exposure = np.zeros((width, len(matrix)))
        for level, value in enumerate(value_of_level):
            exposure[value] += self._exposure[:, level]
        flat = exposure.T.ravel()
        keep = np.flatnonzero(flat > 0)
        row_matrix = matrix[keep // width]
        if level_values is not None:
            row_matrix = np.column_stack([row_matrix, values[keep % width]])
        row_of = np.zeros(flat.size, dtype=np.int64)
        row_of[keep] = np.arange(keep.size)
        row_matrix = np.ascontiguousarray(row_matrix)
        if cells.kind.size:
            row = row_of[self._base.pattern * width + value_of_level[self._codes]]
            return _rows_of_kinds(cells, row_matrix, row)
        busy_row = row_of[self._busy_pattern * width + value_of_level[self._busy_codes]]
        return _rows(cells, row_matrix, flat[keep], busy_row)


def _rows(cells: _Cells, matrix: Floats, exposure: Floats, busy_row: Integers) -> Rows:
    """Return rows of patterns: exposure is summed, and unequal offsets matter only to NB1 cells above 1."""
    n_rows = len(matrix)
    total = np.asarray(np.bincount(busy_row, cells.counts[cells.busy], minlength=n_rows), dtype=np.float64)
    pointer, steps, numbers = np.zeros(n_rows + 1, dtype=np.int64), np.empty(0), np.empty(0)
    offset = np.zeros(n_rows)
    if cells.family == "nb2":
        steps, numbers = tail_of_all(cells.busy_whole, np.ones(cells.busy_whole.size))
    elif cells.family == "nb1" and cells.offset is None:
        pointer, steps, numbers = kernels.list_tails(busy_row, cells.busy_whole, n_rows, 0)
    elif cells.family == "nb1" and cells.offset is not None:
        above = np.flatnonzero(cells.busy_whole > 1)
        more = cells.busy_whole[above] - 1
        ends = np.cumsum(more)
        within = np.arange(more.sum()) - np.repeat(ends - more, more)
        pointer = np.concatenate([np.arange(n_rows + 1), n_rows + ends])
        steps = np.concatenate([np.zeros(n_rows), 1.0 + within])
        first = np.bincount(busy_row, minlength=n_rows).astype(np.float64)
        numbers = np.concatenate([first, np.ones(within.size)])
        none: Floats = np.zeros(above.size)
        matrix = np.concatenate([matrix, matrix[busy_row[above]]])
        offset = np.concatenate([offset, cells.offset[cells.busy[above]]])
        exposure, total = np.concatenate([exposure, none]), np.concatenate([total, none])
    return Rows(matrix, offset, exposure, total, pointer, steps, numbers, cells.constant)


def _rows_of_kinds(cells: _Cells, matrix: Floats, row: Integers) -> Rows:
    """Return rows of (pattern, count, offset): what NB2 needs when there is an offset."""
    n_kinds = len(cells.kind_values)
    keys, number = np.unique(row * n_kinds + cells.kind, return_counts=True)
    counts, offset = cells.kind_values[keys % n_kinds].T
    steps, numbers = tail_of_all(cells.busy_whole, np.ones(cells.busy_whole.size))
    weight = number.astype(np.float64)
    pointer = np.zeros(keys.size + 1, dtype=np.int64)
    return Rows(
        np.ascontiguousarray(matrix[keys // n_kinds]),
        np.ascontiguousarray(offset), weight, weight * counts, pointer, steps, numbers, cells.constant,
    )  # fmt: skip


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
        cells: _Cells,
        family: str,
        group: Integers,
        allowed: Integers,
        lower: Floats,
        upper: Floats,
        cost: float,
    ) -> None:
        self.cells, self.family, self.group = cells, family, group
        self.allowed, self.lower, self.upper, self.cost = allowed, lower, upper, cost
        self.n_dispersion = int(FAMILIES[family].has_dispersion)
        self.n_fits = 0

    def run(self, swapping: bool) -> StepwiseFit:
        """Search from the null until nothing improves."""
        null = self._refit(self._base((), None), "null", -1)
        current, steps = null, []
        while True:
            bases = {column: self._without(current, column) for column in current.columns}
            swaps = self._swaps(bases)
            moves = [*self._adds(current), *self._drops(bases)]
            moves += [move for some in swaps.values() for move in some if swapping]
            best = _lowest(moves)
            if best is None or best.bic >= current.bic - _SAME * abs(current.bic):
                break
            current = best
            steps.append((best.action, best.column, best.bic))
        runner_ups = {
            column: tuple(sorted(((move.column, move.bic) for move in some), key=lambda pair: pair[::-1]))
            for column, some in swaps.items()
        }
        base = self._base(current.columns, current.point)
        fit = fit_rows(_Tables(self.cells, base, None).rows(None), self.family)
        return StepwiseFit(
            columns=current.columns,
            fit=fit,
            bic=self._bic(fit.log_likelihood, len(current.columns)),
            null_bic=null.bic,
            steps=tuple(steps),
            runner_ups=runner_ups,
            n_fits=self.n_fits,
        )

    def _adds(self, current: _Move) -> list[_Move]:
        taken = self.group[list(current.columns)]
        columns = self.allowed[~np.isin(self.group[self.allowed], taken)]
        return self._try(self._base(current.columns, current.point), columns, "add")

    def _drops(self, bases: dict[int, _Base]) -> list[_Move]:
        moves = []
        for column, base in bases.items():
            move = self._refit(base, "drop", column)
            if self._is_admissible(move.columns, move.point):
                moves.append(move)
        return moves

    def _swaps(self, bases: dict[int, _Base]) -> dict[int, list[_Move]]:
        swaps = {}
        for column, base in bases.items():
            others = self.allowed[(self.group[self.allowed] == self.group[column]) & (self.allowed != column)]
            swaps[column] = self._try(base, others, "swap") if others.size else []
        return swaps

    def _without(self, current: _Move, column: int) -> _Base:
        place = current.columns.index(column)
        rest = current.columns[:place] + current.columns[place + 1 :]
        return self._base(rest, np.delete(current.point, 1 + place))

    def _base(self, columns: tuple[int, ...], point: Floats | None) -> _Base:
        pattern, matrix = patterns(self.cells.design, columns, self.cells.counts.size)
        return _Base(columns, pattern, matrix, np.empty(0) if point is None else point)

    def _refit(self, base: _Base, action: str, column: int) -> _Move:
        rows = _Tables(self.cells, base, None).rows(None)
        return self._fit(rows, base.columns, base.start if base.start.size else None, action, column)

    def _try(self, base: _Base, columns: Integers, action: str) -> list[_Move]:
        """Fit the base with each of the columns; one histogram for all columns of a variable."""
        design, moves = self.cells.design, []
        end = 1 + len(base.columns)
        start = np.concatenate([base.start[:end], [0.0], base.start[end:]])
        variable_of = design.column_variable[columns]
        for variable in np.unique(variable_of):
            tables = _Tables(self.cells, base, int(variable))
            for column in columns[variable_of == variable]:
                rows = tables.rows(design.level_values(int(column)))
                move = self._fit(rows, (*base.columns, int(column)), start, action, int(column))
                if self._is_admissible(move.columns, move.point):
                    moves.append(move)
        return moves

    def _fit(
        self, rows: Rows, columns: tuple[int, ...], start: Floats | None, action: str, column: int
    ) -> _Move:
        self.n_fits += 1
        maximum = maximise(rows, self.family, start)
        point = maximum.point
        if maximum.at_boundary:
            # The next model may be overdispersed again; it starts from a small dispersion.
            point = np.append(point, _SMALL_LOG_DISPERSION)
        return _Move(action, column, columns, point, self._bic(maximum.log_likelihood, len(columns)))

    def _bic(self, log_likelihood: float, n_columns: int) -> float:
        return float(-2.0 * log_likelihood + (n_columns + 1 + self.n_dispersion) * self.cost)

    def _is_admissible(self, columns: tuple[int, ...], point: Floats) -> bool:
        chosen = list(columns)
        coef = point[1 : 1 + len(chosen)]
        return bool(((coef >= self.lower[chosen]) & (coef <= self.upper[chosen])).all())


def _lowest(moves: list[_Move]) -> _Move | None:
    """Return the move of lowest BIC; among equal ones that of the lowest column."""
    if not moves:
        return None
    least = min(move.bic for move in moves)
    equal = [move for move in moves if move.bic <= least + _SAME * abs(least)]
    return min(equal, key=lambda move: move.column)
