"""One pass over the cells: objective and exact gradient of every column, for many fits at once.

A `PoissonSweep` sums over the blocks of a `Design` in their order, so that its results have the same bits
whatever runs it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import sparse

from rtmkc.engine import kernels
from rtmkc.engine.blocks import (
    BLOCK_CELLS,
    Block,
    BlockMap,
    BlockSource,
    Design,
    Floats,
    Integers,
    MemoryBlocks,
    check_cells,
    thread_map,
)

__all__ = [
    "BLOCK_CELLS",
    "Block",
    "BlockMap",
    "BlockSource",
    "Design",
    "Floats",
    "Integers",
    "MemoryBlocks",
    "PoissonSweep",
    "SweepSums",
    "check_cells",
    "thread_map",
]


# Above this many levels a table of their pairs costs more than the cells' own products.
MAX_PAIRED_LEVELS = 3000


@dataclass(frozen=True, eq=False)
class SweepSums:
    """What one sweep gives for every lane.

    Attributes
    ----------
    objective : (n_lanes,)
        Poisson negative log likelihood per unit of weight, without the terms that hold no coefficient.
    mean_sum : (n_lanes,)
        Expected incidents over the cells the lane is fitted on.
    gradient : (n_lanes, n_columns)
        Exact gradient of the objective.
    intercept_gradient : (n_lanes,)
        The same for the intercept.
    held_out_deviance : (n_folds,)
        Poisson deviance, summed over the cells that lane leaves out.
    """

    objective: Floats
    mean_sum: Floats
    gradient: Floats
    intercept_gradient: Floats
    held_out_deviance: Floats


class PoissonSweep:
    """The Poisson objective of a source of blocks, one lane for each fold left out and one for all cells.

    Lane ``l < n_folds`` is fitted on every cell that is not in fold ``l``; the last lane leaves nothing out.

    Parameters
    ----------
    tables : tuple of (n_levels, n_columns_of_variable)
        `Design.tables` of the design the blocks were cut from.
    source : BlockSource
    block_map : callable, optional
        ``map(function, blocks)``: this thread by default; the ``map`` of a pool or of an executor gives the
        same bits.

    Notes
    -----
    With exposure ``e = weight x exp(offset)`` the objective is ``sum(e exp(eta)) - sum(w y eta)``. The second
    sum is linear in the coefficients, so its vector ``X'y`` is taken once and a sweep looks at no count.
    """

    def __init__(self, tables: tuple[Floats, ...], source: BlockSource, *, block_map: BlockMap = map) -> None:
        self._tables = tables
        self._levels = sparse.csr_array(sparse.block_diag(tables)) if tables else sparse.csr_array((0, 0))
        self._levels_transposed = sparse.csr_array(self._levels.T)
        self._variable_of_column = np.repeat(np.arange(len(tables)), [table.shape[1] for table in tables])
        self._source = source
        self._map = block_map
        self.n_folds = source.n_folds
        self.n_lanes = source.n_folds + 1
        self.n_columns = int(self._levels.shape[1])
        self.n_sweeps = 0
        self._held_totals = sum(
            (source.load(k).totals for k in range(source.n_blocks)), start=np.zeros((self.n_lanes, 4))
        )
        everything = self._held_totals.sum(axis=0)
        train = np.vstack([everything - self._held_totals[:-1], everything])
        self.total_weight: Floats = train[:, 0]
        self.total_count: Floats = train[:, 1]
        self._offset_count: Floats = train[:, 2]
        zero = np.zeros((self.n_lanes, self.n_columns))
        histogram, _, _ = self._sums(zero, np.zeros(self.n_lanes), use_counts=True)
        self.column_count: Floats = np.ascontiguousarray((self._levels_transposed @ histogram).T)

    def __call__(self, coefs: Floats, intercepts: Floats) -> SweepSums:
        """Sweep once at ``coefs`` (n_lanes, n_columns) and ``intercepts`` (n_lanes,)."""
        self.n_sweeps += 1
        histogram, inside, outside = self._sums(coefs, intercepts)
        linear = np.einsum("lp,lp->l", coefs, self.column_count)
        linear += intercepts * self.total_count + self._offset_count
        gradient = (self._levels_transposed @ histogram).T - self.column_count
        n_folds = self.n_folds
        held_columns = self.column_count[-1] - self.column_count[:n_folds]
        held_linear = np.einsum("lp,lp->l", coefs[:n_folds], held_columns)
        held = self._held_totals[:n_folds]
        held_linear += intercepts[:n_folds] * held[:, 1] + held[:, 2]
        return SweepSums(
            objective=(inside - linear) / self.total_weight,
            mean_sum=inside,
            gradient=np.ascontiguousarray(gradient / self.total_weight[:, np.newaxis]),
            intercept_gradient=(inside - self.total_count) / self.total_weight,
            held_out_deviance=2.0 * (outside[:n_folds] - held_linear + held[:, 3]),
        )

    def _sums(
        self, coefs: Floats, intercepts: Floats, use_counts: bool = False
    ) -> tuple[Floats, Floats, Floats]:
        width = kernels.LANES
        n_passes = -(-self.n_lanes // width)
        padded = np.zeros((self._levels.shape[0], n_passes * width))
        padded[:, : self.n_lanes] = self._levels @ coefs.T
        starts = np.zeros(n_passes * width)
        starts[: self.n_lanes] = intercepts
        contributions = [np.ascontiguousarray(part) for part in np.hsplit(padded, n_passes)]
        function = partial(_block_sums, self._source, contributions, np.split(starts, n_passes), use_counts)
        histogram = np.zeros_like(padded)
        inside, outside = np.zeros((2, n_passes * width))
        # One block after the other, in their order: this is what makes the bits independent of the workers.
        for levels, *sums in self._map(function, range(self._source.n_blocks)):
            histogram[levels] += sums[0]
            inside += sums[1]
            outside += sums[2]
        n_lanes = self.n_lanes
        return histogram[:, :n_lanes], inside[:n_lanes], outside[:n_lanes]

    def hessian(self, columns: Integers, coef: Floats, intercept: float, *, lane: int = -1) -> Floats:
        """Return the Hessian over intercept and `columns` (ascending) at one point, over the cells of a lane.

        Shape ``(1 + len(columns),) * 2``; divided by the lane's weight, as the objective is. The last lane,
        the default, has all cells.
        """
        chosen = np.asarray(columns, dtype=np.int64)
        contribution = np.asarray(self._levels @ coef)
        # No cell is in the fold numbered like the last lane.
        left_out = lane % self.n_lanes
        at = _Point(self._source, contribution, float(intercept), left_out)
        involved = np.unique(self._variable_of_column[chosen])
        n_levels = sum(len(self._tables[variable]) for variable in involved)
        if n_levels > MAX_PAIRED_LEVELS:
            hessian = self._hessian_by_cell(at, chosen)
        else:
            variable, place, rows = self._distinct_rows(chosen)
            pairs = self._add_up(partial(_block_pairs, at, variable, place, len(rows)), len(rows))
            # What levels add to each other becomes what columns do.
            turn = sparse.csr_array(rows)
            hessian = np.asarray(turn.T @ (turn.T @ pairs).T)
        return np.asarray(hessian / self.total_weight[left_out])

    def _distinct_rows(self, columns: Integers) -> tuple[Integers, Integers, Floats]:
        """Number the distinct rows that the chosen columns take, over all variables.

        Gives for every level the number of its variable among those with a chosen column (-1: none) and
        the number of its row (-1: all zero); and the rows of intercept and columns, the intercept's first.
        """
        width = 1 + columns.size
        rows = [np.eye(1, width)]
        variables, places = [], []
        n_variables, n_rows, first_column, filled = 0, 1, 0, 1
        for table in self._tables:
            inside = columns[(columns >= first_column) & (columns < first_column + table.shape[1])]
            first_column += table.shape[1]
            variable, place = np.full((2, len(table)), -1)
            if inside.size:
                part = table[:, inside - first_column]
                values, which = np.unique(part, axis=0, return_inverse=True)
                some = values.any(axis=1)
                number = np.where(some, n_rows - 1 + np.cumsum(some), -1)
                variable[:], place = n_variables, number[which.ravel()]
                block = np.zeros((int(some.sum()), width))
                block[:, filled : filled + inside.size] = values[some]
                rows.append(block)
                n_variables += 1
                n_rows += len(block)
                filled += inside.size
            variables.append(variable)
            places.append(place)
        none = np.empty(0, dtype=np.int64)
        return np.concatenate([none, *variables]), np.concatenate([none, *places]), np.concatenate(rows)

    def _hessian_by_cell(self, at: "_Point", columns: Integers) -> Floats:
        """Sum mu x x' cell by cell: the way of columns with very many distinct values."""
        size = 1 + columns.size
        return self._add_up(partial(_block_hessian, at, self._spans(columns), size), size)

    def _add_up(self, function: Callable[[int], Floats], size: int) -> Floats:
        total = np.zeros((size, size))
        for part in self._map(function, range(self._source.n_blocks)):
            total += part
        return np.triu(total) + np.triu(total, 1).T

    def _spans(self, columns: Integers) -> tuple[Integers, Integers, Integers, Floats]:
        """Say for every level which places of x it sets, and where their values are."""
        none = np.empty(0, dtype=np.int64)
        starts, ends, value_starts, values = [none], [none], [none], [np.empty(0)]
        first_column, n_values, place = 0, 0, 1
        for table in self._tables:
            n_levels, width = table.shape
            chosen = columns[(columns >= first_column) & (columns < first_column + width)] - first_column
            starts.append(np.full(n_levels, place))
            ends.append(np.full(n_levels, place + chosen.size))
            value_starts.append(n_values + chosen.size * np.arange(n_levels))
            values.append(table[:, chosen].ravel())
            first_column += width
            n_values += chosen.size * n_levels
            place += chosen.size
        parts = (starts, ends, value_starts, values)
        return tuple(np.concatenate(part) for part in parts)  # type: ignore[return-value]


def _block_sums(
    source: BlockSource, contributions: list[Floats], intercepts: list[Floats], use_counts: bool, number: int
) -> tuple[Integers, Floats, Floats, Floats]:
    block = source.load(number)
    exposure = block.weighted_counts if use_counts else block.exposure
    width = contributions[0].shape[1]
    histograms = []
    inside, outside = np.zeros((2, len(contributions), width))
    for one_pass, contribution in enumerate(contributions):
        histogram = np.zeros((block.levels.size, width))
        kernels.sweep_block(
            block.first, block.last, block.pointer, block.origin, block.target,
            contribution[block.levels], intercepts[one_pass][np.newaxis], exposure,
            block.fold, one_pass * width, histogram, inside[one_pass : one_pass + 1], outside[one_pass],
        )  # fmt: skip
        histograms.append(histogram)
    return block.levels, np.hstack(histograms), inside.ravel(), outside.ravel()


@dataclass(frozen=True, eq=False)
class _Point:
    """Where a Hessian is taken: over which cells, at which coefficients."""

    source: BlockSource
    contribution: Floats
    intercept: float
    left_out: int


def _block_pairs(at: _Point, variable: Integers, place: Integers, size: int, number: int) -> Floats:
    block = at.source.load(number)
    pairs = np.zeros((size, size))
    kernels.pair_block(
        block.first, block.pointer, block.origin, block.target,
        at.contribution[block.levels], at.intercept, block.exposure, block.fold, at.left_out,
        variable[block.levels], place[block.levels], pairs,
    )  # fmt: skip
    return pairs


def _block_hessian(
    at: _Point, spans: tuple[Integers, Integers, Integers, Floats], size: int, number: int
) -> Floats:
    block = at.source.load(number)
    start, end, value_start, values = spans
    hessian = np.zeros((size, size))
    kernels.hessian_block(
        block.first, block.pointer, block.origin, block.target,
        at.contribution[block.levels], at.intercept, block.exposure, block.fold, at.left_out,
        start[block.levels], end[block.levels], value_start[block.levels], values, hessian,
    )  # fmt: skip
    return hessian
