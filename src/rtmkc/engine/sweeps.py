"""One pass over the cells: objective and exact gradient of every column, for many fits at once.

A `PoissonSweep` sums over the blocks of a `Design` in their order, so that its results have the same bits
whatever runs it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from rtmkc.engine import kernels
from rtmkc.engine.blocks import Block, BlockSource, MemoryBlocks
from rtmkc.engine.design import Design, Floats, Integers, check_cells
from rtmkc.engine.switches import Switches
from rtmkc.engine.workers import Sums, Workers

__all__ = [
    "BlockSource",
    "Design",
    "Floats",
    "Integers",
    "MemoryBlocks",
    "PoissonSweep",
    "SweepSums",
    "check_cells",
]


# Above this many switches a table of their pairs costs more than the cells' own products.
MAX_PAIRED_SWITCHES = 3000


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
    tables : sequence of (n_levels, n_columns_of_variable)
        `Design.tables` of the design the blocks were cut from.
    source : BlockSource
    workers : Workers, optional
        Who adds up: this thread by default. All give the same bits.

    Notes
    -----
    With exposure ``e = weight x exp(offset)`` the objective is ``sum(e exp(eta)) - sum(w y eta)``. The second
    sum is linear in the coefficients, so its vector ``X'y`` is taken once and a sweep looks at no count.
    """

    def __init__(
        self, tables: Sequence[Floats], source: BlockSource, *, workers: Workers | None = None
    ) -> None:
        self._switches = Switches.of(tables)
        self._transposed = self._switches.values.T.tocsr()
        self._source = source
        self._workers = workers or Workers()
        self.n_folds = source.n_folds
        self.n_lanes = source.n_folds + 1
        self.n_columns = self._switches.n_columns
        self.n_sweeps = 0
        count = _Count(self._switches.n_switches, self.n_lanes)
        histogram, self._held_totals = self._workers.add_up(count, source)
        everything = self._held_totals.sum(axis=0)
        train = np.vstack([everything - self._held_totals[:-1], everything])
        self.total_weight: Floats = train[:, 0]
        self.total_count: Floats = train[:, 1]
        self._offset_count: Floats = train[:, 2]
        all_cells = histogram.sum(axis=1, keepdims=True)
        histogram = np.hstack([all_cells - histogram[:, :-1], all_cells])
        self.column_count: Floats = np.ascontiguousarray((self._transposed @ histogram).T)

    def __call__(self, coefs: Floats, intercepts: Floats) -> SweepSums:
        """Sweep once at ``coefs`` (n_lanes, n_columns) and ``intercepts`` (n_lanes,)."""
        self.n_sweeps += 1
        histogram, (inside, outside) = self._sums(coefs, intercepts)
        linear = np.einsum("lp,lp->l", coefs, self.column_count)
        linear += intercepts * self.total_count + self._offset_count
        gradient = (self._transposed @ histogram).T - self.column_count
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

    def _sums(self, coefs: Floats, intercepts: Floats) -> tuple[Floats, Floats]:
        """Return the expected incidents by switch and lane, and in all cells kept and left out, by lane."""
        contribution = self._passes(self._switches.values @ coefs.T)
        intercept = self._passes(intercepts[np.newaxis])
        histogram, sums = self._workers.add_up(_Sweep(contribution, intercept, self.n_folds), self._source)
        return tuple(np.hstack(list(part))[:, : self.n_lanes] for part in (histogram, sums))  # type: ignore[return-value]

    def _passes(self, numbers: Floats) -> Floats:
        """Return natural logarithms ``(n, n_lanes)`` as powers of two, eight lanes a pass: (n_passes, n, 8)."""
        width = kernels.LANES
        padded = np.zeros((-(-self.n_lanes // width), len(numbers), width))
        for one_pass, lanes in enumerate(padded):
            some = numbers[:, one_pass * width : (one_pass + 1) * width]
            np.multiply(some, kernels.LOG2_E, out=lanes[:, : some.shape[1]])
        return padded

    def hessian(self, columns: Integers, coef: Floats, intercept: float, *, lane: int = -1) -> Floats:
        """Return the Hessian over intercept and `columns` (ascending) at one point, over the cells of a lane.

        Shape ``(1 + len(columns),) * 2``; divided by the lane's weight, as the objective is. The last lane,
        the default, has all cells.
        """
        lane %= self.n_lanes
        # No cell is in the fold numbered like the last lane.
        at = _Point(
            self._switches.values @ coef * kernels.LOG2_E, float(intercept) * kernels.LOG2_E, lane + 1
        )
        values = self._switches.values[:, columns]
        chosen = np.flatnonzero(np.diff(values.indptr))
        if chosen.size > MAX_PAIRED_SWITCHES:
            (total,) = self._workers.add_up(_Products(at, *_spans(values)), self._source)
            hessian = np.triu(total) + np.triu(total, 1).T
        else:
            place = np.full(values.shape[0], -1)
            place[chosen] = np.arange(1, chosen.size + 1)
            (pairs,) = self._workers.add_up(_Pairs(at, place, chosen.size + 1), self._source)
            pairs = pairs + pairs.T - np.diag(pairs.diagonal())
            # What switches add to each other becomes what columns do.
            worth = sparse.block_diag([sparse.coo_array([[1.0]]), values[chosen]], format="csr").T
            hessian = worth @ (worth @ pairs).T
        return np.asarray(hessian / self.total_weight[lane])


def _spans(values: sparse.csr_array) -> tuple[Integers, Integers, Integers, Floats, int]:
    """Say for every switch which places of (1, columns) it sets, where their values are, and the size of all."""
    n_set = np.diff(values.indptr)
    # A variable's chosen columns follow each other; a switch may leave out some, with a value of zero.
    start, end = np.ones((2, n_set.size), dtype=np.int64)
    some = n_set > 0
    start[some] += np.minimum.reduceat(values.indices, values.indptr[:-1][some])
    end[some] += 1 + np.maximum.reduceat(values.indices, values.indptr[:-1][some])
    value_start = np.cumsum(end - start) - (end - start)
    flat = np.zeros(int((end - start).sum()))
    row = np.repeat(np.arange(n_set.size), n_set)
    flat[value_start[row] + values.indices + 1 - start[row]] = values.data
    return start, end, value_start, flat, values.shape[1] + 1


@dataclass(frozen=True, eq=False)
class _Count:
    """Add up counts by switch and fold (last those in none), and the totals of the blocks."""

    n_switches: int
    n_lanes: int

    def zeros(self) -> Sums:
        return np.zeros((self.n_switches, self.n_lanes)), np.zeros((self.n_lanes, 4))

    def one(self, block: Block) -> Block:
        return block

    def add(self, total: Sums, block: Block) -> None:
        kernels.count_block(
            block.pointer, block.begin, block.last, block.switch, block.switches,
            block.counted, block.weighted_counts, block.fold, total[0],
        )  # fmt: skip
        total[1][:] += block.totals


@dataclass(frozen=True, eq=False)
class _Sweep:
    """Add up expected incidents by switch and lane, and those in cells kept and left out, by lane.

    `contribution` (n_passes, n_switches, 8) and `intercept` (n_passes, 1, 8) are log means as powers of two.
    """

    contribution: Floats
    intercept: Floats
    n_folds: int

    def zeros(self) -> Sums:
        return np.zeros_like(self.contribution), np.zeros((len(self.intercept), 2, kernels.LANES))

    def one(self, block: Block) -> tuple[Integers, Floats, Floats]:
        n_passes, _, width = self.contribution.shape
        histogram = np.empty((n_passes, block.switches.size, width))
        sums = np.empty((n_passes, 2, width))
        for one_pass in range(n_passes):
            kernels.sweep_block(
                block.pointer, block.begin, block.last, block.switch, block.switches,
                self.contribution[one_pass], self.intercept[one_pass], block.exposure, block.fold,
                self.n_folds, one_pass * width, histogram[one_pass], sums[one_pass],
            )  # fmt: skip
        return block.switches, histogram, sums

    def add(self, total: Sums, sums: tuple[Integers, Floats, Floats]) -> None:
        switches, histogram, others = sums
        for all_blocks, one_block in zip(total[0], histogram, strict=True):
            kernels.add_rows(all_blocks, switches, one_block)
        total[1][:] += others


@dataclass(frozen=True, eq=False)
class _Point:
    """Where a Hessian is taken: at which log means (as powers of two), and without which fold."""

    contribution: Floats
    intercept: float
    left_out: int


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Add up expected incidents in the cells that two switches share."""

    at: _Point
    place: Integers
    size: int

    def zeros(self) -> Sums:
        return (np.zeros((self.size, self.size)),)

    def one(self, block: Block) -> Sums:
        (pairs,) = self.zeros()
        kernels.pair_block(
            block.pointer, block.begin, block.last, block.switch,
            self.at.contribution[block.switches], self.at.intercept, block.exposure, block.fold,
            self.at.left_out, self.place[block.switches], pairs,
        )  # fmt: skip
        return (pairs,)

    def add(self, total: Sums, sums: Sums) -> None:
        total[0][:] += sums[0]


@dataclass(frozen=True, eq=False)
class _Products:
    """Add up mu x x' cell by cell: the way of columns with very many distinct values."""

    at: _Point
    start: Integers
    end: Integers
    value_start: Integers
    values: Floats
    size: int

    def zeros(self) -> Sums:
        return (np.zeros((self.size, self.size)),)

    def one(self, block: Block) -> Sums:
        (products,) = self.zeros()
        kernels.hessian_block(
            block.pointer, block.begin, block.last, block.switch,
            self.at.contribution[block.switches], self.at.intercept, block.exposure, block.fold,
            self.at.left_out, self.start[block.switches], self.end[block.switches],
            self.value_start[block.switches], self.values, products,
        )  # fmt: skip
        return (products,)

    def add(self, total: Sums, sums: Sums) -> None:
        total[0][:] += sums[0]
