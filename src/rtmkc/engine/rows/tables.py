"""How many cells of every pattern are in every level of every variable: what all single changes of a model need.

One pass over the cells a step, for all columns that may enter. A model with a column less has the patterns of this
one, some of them merged, so that its tables are sums of these and need no pass.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from rtmkc.engine.rows import kernels
from rtmkc.engine.rows.collapse import PIECE_CELLS, Cells, pieces
from rtmkc.engine.rows.families import Floats, Integers, Rows
from rtmkc.engine.sweeps import Design

MAX_SUMS = 2**24
"""Entries of a table; variables whose tables have more together are looked at in turn."""


@dataclass(frozen=True, eq=False)
class Levels:
    """Levels of the variables that hold a candidate column: those that no candidate tells apart are one.

    Attributes
    ----------
    variables : (n_variables,) of int
        Their numbers in the design.
    level_of : tuple of (n_codes,) of int
        The level of every code.
    start : (n_variables + 1,) of int
        The first level of each among all, and their number.
    columns : (n_columns,) of int
        The candidates, ascending.
    place : (n_columns,) of int
        The place of each one's variable within `variables`.
    value_of : tuple of (n_levels,) of int
        The number of the value that each candidate has at every level of its variable.
    values : tuple of (n_values,)
        These values.
    """

    variables: Integers
    level_of: tuple[Integers, ...]
    start: Integers
    columns: Integers
    place: Integers
    value_of: tuple[Integers, ...]
    values: tuple[Floats, ...]

    @classmethod
    def of(cls, design: Design, columns: Integers) -> "Levels":
        """Find the levels that some columns tell apart."""
        variables, place = np.unique(design.column_variable[columns], return_inverse=True)
        level_of, value_of, values, sizes = [], [], [], []
        for number, variable in enumerate(variables):
            own = columns[place == number] - design.slices[variable].start
            rows, which = np.unique(design.tables[variable][:, own], axis=0, return_inverse=True)
            level_of.append(which.ravel())
            sizes.append(len(rows))
            for column in rows.T:
                distinct, number_of = np.unique(column, return_inverse=True)
                values.append(distinct)
                value_of.append(number_of)
        start = np.cumsum([0, *sizes])
        return cls(variables, tuple(level_of), start, columns, place, tuple(value_of), tuple(values))

    def arrays(self, chosen: Integers, first_level: int) -> tuple[Integers, ...]:
        """Return what the kernels need of some candidates, by their places, in tables from a level on."""
        value_of = [self.value_of[one] for one in chosen]
        values = [self.values[one] for one in chosen]
        return (
            self.place[chosen],
            self.start[self.place[chosen]] - first_level,
            np.cumsum([0, *map(len, value_of)]),
            np.concatenate(value_of),
            np.cumsum([0, *map(len, values)]),
            np.concatenate(values),
        )


@dataclass(frozen=True, eq=False)
class Base:
    """A model to which a column may be added.

    Attributes
    ----------
    columns : tuple of int
    matrix : (n_patterns, n_columns)
    offset : (n_patterns,)
    merged : (n_patterns_of_the_tables,) of int
        Its pattern for every pattern of the tables.
    """

    columns: tuple[int, ...]
    matrix: Floats
    offset: Floats
    merged: Integers


@dataclass(frozen=True, eq=False)
class Tables:
    """Sums by level and pattern, ``(n_levels, n_patterns)``, of the variables from one place to another.

    `exposure` is summed over all cells, `incidents` and `busy` (their number) over those with incidents.
    """

    first: int
    stop: int
    first_level: int
    exposure: Integers
    incidents: Floats
    busy: Floats


class JointTables:
    """The patterns of a model, and the tables of all levels by pattern.

    Sums are whole numbers, so that of the patterns that one is split into the largest is exactly what the others leave.
    """

    def __init__(self, design: Design, cells: Cells, columns: Integers) -> None:
        self._design, self.cells = design, cells
        self.levels = Levels.of(design, columns)
        self.columns: tuple[int, ...] = ()
        self._pattern = cells.root.copy() if cells.root.size else np.zeros(cells.n_cells, dtype=np.int32)
        self._busy_pattern = self._pattern[cells.busy]
        n_roots = cells.root_offset.size
        self._offset = cells.root_offset
        self._matrix = np.empty((n_roots, 0))
        self._identity = np.arange(n_roots)[:, np.newaxis]
        self._exposure: Integers = np.zeros(n_roots, dtype=np.int64)
        for piece in pieces(cells.n_cells):
            if cells.exposure.size:
                self._exposure += cells.exposure[piece].sum()
            else:
                self._exposure += np.bincount(self._pattern[piece], minlength=n_roots)
        self._busy_levels = self._levels_of_busy()
        self._above_levels = np.ascontiguousarray(self._busy_levels[:, cells.above])
        self._kept: Integers | None = None

    def base(self, without: int | None = None) -> Base:
        """Return the model, or the one without a column of it."""
        columns, matrix, identity = self.columns, self._matrix, self._identity
        if without is None:
            return Base(columns, matrix, self._offset, np.arange(len(matrix)))
        place = columns.index(without)
        columns = columns[:place] + columns[place + 1 :]
        identity = np.delete(identity, 1 + place, axis=1)
        merged = np.zeros(len(identity), dtype=np.int64)
        for part in identity.T:
            merged = np.unique(merged * (part.max() + 1) + part, return_inverse=True)[1]
        one = np.unique(merged, return_index=True)[1]
        kept = np.ascontiguousarray(np.delete(matrix, place, axis=1)[one])
        return Base(columns, kept, self._offset[one], merged)

    def rows(self, base: Base) -> Rows:
        """Return the rows of a model without any column more."""
        exposure = _sum_by(self._exposure, base.merged, len(base.matrix))
        return self.cells.rows(base.matrix, base.offset, exposure, base.merged[self._busy_pattern])

    def tables(self) -> Iterator[Tables]:
        """Yield the tables of all variables: at once, or some at a time where they would be large."""
        sizes, n_patterns = np.diff(self.levels.start), len(self._matrix)
        first = 0
        while first < sizes.size:
            total = np.cumsum(sizes[first:]) * n_patterns
            stop = first + max(1, int(np.searchsorted(total, MAX_SUMS, side="right")))
            whole = first == 0 and stop == sizes.size
            if whole and self._kept is None:
                self._kept = self._sums(first, stop)
            exposure = self._kept if whole and self._kept is not None else self._sums(first, stop)
            yield Tables(first, stop, int(self.levels.start[first]), exposure, *self._busy_sums(first, stop))
            first = stop

    def arrays(self, base: Base, tables: Tables, columns: Integers) -> tuple[Any, ...]:
        """Return what `kernels.fit_columns` needs to fit a base and each of some candidates."""
        cells = self.cells
        chosen = np.searchsorted(self.levels.columns, columns)
        return (
            base.matrix, base.offset, base.merged, tables.exposure, cells.unit, tables.incidents, tables.busy,
            self._busy_pattern[cells.above], self._above_levels, cells.above_counts, cells.above_scales,
            cells.steps, cells.numbers, *self.levels.arrays(chosen, tables.first_level),
        )  # fmt: skip

    def drop(self, column: int) -> None:
        """Take a column out of the model."""
        base = self.base(without=column)
        n_patterns, merged = len(base.matrix), base.merged.astype(np.int32)
        one = np.unique(merged, return_index=True)[1]
        self._identity = np.delete(self._identity, 1 + self.columns.index(column), axis=1)[one]
        for piece in pieces(self.cells.n_cells):
            self._pattern[piece] = merged[self._pattern[piece]]
        self._busy_pattern = merged[self._busy_pattern]
        self._exposure = _sum_by(self._exposure, merged, n_patterns)
        self._columns_are(base.columns, base.matrix, base.offset)
        if self._kept is not None:
            self._kept = _sum_by(self._kept, merged, n_patterns)

    def add(self, column: int) -> None:
        """Put a candidate into the model."""
        levels = self.levels
        number = int(np.searchsorted(levels.columns, column))
        place = int(levels.place[number])
        values, value_of = levels.values[number], levels.value_of[number]
        span = slice(int(levels.start[place]), int(levels.start[place + 1]))
        of_levels = self._sums(place, place + 1) if self._kept is None else self._kept[span]
        by_value = _sum_by(of_levels.T, value_of, values.size)
        parent, value = np.nonzero(by_value > 0)
        numbers = np.zeros(by_value.shape, dtype=np.int32)
        numbers[parent, value] = np.arange(parent.size)

        codes = self._design.codes[int(levels.variables[place])]
        value_of_code = value_of[levels.level_of[place]]
        for piece in pieces(self.cells.n_cells):
            kernels.refine(self._pattern[piece], codes[piece], value_of_code, numbers)
        self._busy_pattern = self._pattern[self.cells.busy]
        self._exposure = by_value[parent, value].astype(np.int64)
        self._identity = np.column_stack([self._identity[parent], value])
        matrix = np.ascontiguousarray(np.column_stack([self._matrix[parent], values[value]]))
        self._columns_are((*self.columns, column), matrix, self._offset[parent])
        if self._kept is not None:
            self._kept = self._split(self._kept, parent)

    def _split(self, before: Integers, parent: Integers) -> Integers | None:
        """Return the tables of the new patterns from those of the patterns they were."""
        if self.levels.start[-1] * parent.size > MAX_SUMS:
            return None
        order = np.lexsort((-self._exposure, parent))
        largest = order[np.append(True, parent[order][1:] != parent[order][:-1])]
        others = np.ones(parent.size, dtype=np.bool_)
        others[largest] = False
        sums = self._sums(0, self.levels.variables.size, others)
        sums[:, largest] = before[:, parent[largest]] - _sum_by(sums, parent, before.shape[1])
        return sums

    def _columns_are(self, columns: tuple[int, ...], matrix: Floats, offset: Floats) -> None:
        self.columns, self._matrix, self._offset = columns, matrix, offset

    def _sums(self, first: int, stop: int, wanted: Integers | None = None) -> Integers:
        """Add up the cells, of wanted patterns or all, by level and pattern."""
        levels, all_exposure = self.levels, self.cells.exposure
        start = levels.start - levels.start[first]
        few = not all_exposure.size and self.cells.n_cells < 2**31
        result = np.zeros((int(start[stop]), len(self._matrix)), dtype=np.int32 if few else np.int64)
        if wanted is None:
            wanted = np.ones(len(self._matrix), dtype=np.bool_)
        cells, patterns = np.empty((2, PIECE_CELLS), dtype=np.int32)
        for piece in pieces(self.cells.n_cells):
            size = kernels.list_cells(self._pattern[piece], wanted, cells, patterns)
            exposure = all_exposure[piece] if all_exposure.size else all_exposure
            for place in range(first, stop):
                kernels.listed_sums(
                    cells[:size], patterns[:size], self._design.codes[int(levels.variables[place])][piece],
                    levels.level_of[place], exposure, result[start[place] : start[place + 1]],
                )  # fmt: skip
        return result

    def _busy_sums(self, first: int, stop: int) -> tuple[Floats, Floats]:
        start = self.levels.start - self.levels.start[first]
        incidents, busy = np.zeros((2, int(start[stop]), len(self._matrix)))
        for place in range(first, stop):
            span, own = slice(start[place], start[place + 1]), self._busy_levels[place]
            kernels.pattern_sums(self._busy_pattern, own, self.cells.counts, incidents[span])
            if self.cells.family == "nb1":
                kernels.pattern_sums(self._busy_pattern, own, np.empty(0), busy[span])
        return incidents, busy

    def _levels_of_busy(self) -> Integers:
        """The levels of the cells with incidents, ``(n_variables, n_busy)``."""
        levels = self.levels
        most = int(np.diff(levels.start).max(initial=1))
        result = np.empty((levels.variables.size, self.cells.busy.size), dtype=np.min_scalar_type(most))
        for place, variable in enumerate(levels.variables):
            result[place] = levels.level_of[place][self._design.codes[int(variable)][self.cells.busy]]
        return result


def _sum_by(table: Integers, group: Integers, n_groups: int) -> Integers:
    """Sum a table along its last axis by group; every group has one."""
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(n_groups))
    return np.asarray(np.add.reduceat(table[..., order], starts, axis=-1, dtype=table.dtype))
