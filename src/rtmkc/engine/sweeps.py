"""One pass over the cells: objective and exact gradient of every column, for many fits at once.

A `Design` is codes and tables; `MemoryBlocks` cuts it, with counts and exposure, into fixed blocks; a
`PoissonSweep` sums over the blocks in their order, so that its results have the same bits whatever runs it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from rtmkc.engine import kernels
from rtmkc.errors import InputError

BLOCK_CELLS = 16384

Floats = NDArray[np.float64]
Integers = NDArray[np.integer[Any]]
BlockMap = Callable[[Callable[[int], Any], Iterable[int]], Iterable[Any]]


@dataclass(frozen=True, eq=False)
class Design:
    """Columns of a model as codes and tables; the columns themselves are never stored.

    Parameters
    ----------
    codes : tuple of arrays
        One array for each variable, ``(n_cells,)``, unsigned integers: the level every cell is in.
    tables : tuple of arrays
        One array for each variable, ``(n_levels, n_columns_of_variable)``: the columns a level switches on.

    Examples
    --------
    >>> import numpy as np
    >>> bands = np.array([0, 1, 2, 1], dtype=np.uint8)
    >>> nested = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> design = Design((bands,), (nested,))
    >>> design.n_cells, design.n_columns
    (4, 2)
    >>> design.column(1)
    array([0., 1., 1., 1.])
    """

    codes: tuple[Integers, ...]
    tables: tuple[Floats, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "codes", tuple(np.ascontiguousarray(codes) for codes in self.codes))
        object.__setattr__(
            self, "tables", tuple(np.ascontiguousarray(table, dtype=np.float64) for table in self.tables)
        )
        if len(self.codes) != len(self.tables):
            raise InputError(
                f"Invalid design {len(self.codes)} codes, {len(self.tables)} tables. "
                "Every variable needs one of each."
            )
        for variable, (codes, table) in enumerate(zip(self.codes, self.tables, strict=True)):
            if codes.ndim != 1 or codes.size != self.codes[0].size or codes.dtype.kind != "u":
                raise InputError(
                    f"Invalid codes {codes.dtype} {codes.shape} of variable {variable}. "
                    f"They must be unsigned integers, one for each of the {self.codes[0].size} cells."
                )
            if table.ndim != 2 or not np.isfinite(table).all():
                raise InputError(
                    f"Invalid table {table.shape} of variable {variable}. "
                    "It must be finite, one row for each level and one column for each model column."
                )
            if codes.size and int(codes.max()) >= table.shape[0]:
                raise InputError(
                    f"Invalid codes {int(codes.max())} of variable {variable}. "
                    f"Its table has {table.shape[0]} levels, so codes must be below that."
                )

    def __repr__(self) -> str:
        return f"Design({self.n_cells} cells, {self.n_variables} variables, {self.n_columns} columns)"

    @classmethod
    def from_matrix(cls, matrix: ArrayLike) -> "Design":
        """Code the columns of a matrix ``(n_rows, n_columns)``; one variable for each column.

        Raises
        ------
        InputError
            If the matrix is not two-dimensional or holds NaN or infinity.

        Examples
        --------
        >>> Design.from_matrix([[0.5, 1.0], [0.5, 2.0]]).tables[1]
        array([[1.],
               [2.]])
        """
        values = np.asarray(matrix, dtype=np.float64)
        if values.ndim != 2 or not np.isfinite(values).all():
            raise InputError(
                f"Invalid matrix {values.shape}. It must be two-dimensional without NaN or infinity."
            )
        codes, tables = [], []
        for column in values.T:
            levels, code = np.unique(column, return_inverse=True)
            codes.append(code.astype(smallest_unsigned(levels.size)))
            tables.append(levels[:, np.newaxis])
        return cls(tuple(codes), tuple(tables))

    @property
    def n_cells(self) -> int:
        """Number of cells; 0 for a design without variables."""
        return self.codes[0].size if self.codes else 0

    @property
    def n_variables(self) -> int:
        """Number of coded variables."""
        return len(self.codes)

    @property
    def n_columns(self) -> int:
        """Number of model columns over all variables."""
        return sum(table.shape[1] for table in self.tables)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """The columns of every variable, as slices of the global column numbers."""
        ends = np.cumsum([0, *(table.shape[1] for table in self.tables)])
        return tuple(slice(int(a), int(b)) for a, b in zip(ends[:-1], ends[1:], strict=True))

    @cached_property
    def column_variable(self) -> Integers:
        """The variable that every global column belongs to, ``(n_columns,)``."""
        return np.repeat(np.arange(self.n_variables), [table.shape[1] for table in self.tables])

    @cached_property
    def level_start(self) -> Integers:
        """The first global level of every variable, and at the end the number of levels."""
        return np.cumsum([0, *(table.shape[0] for table in self.tables)])

    def level_values(self, column: int) -> Floats:
        """Return the value of one column at every level of its variable."""
        variable = int(self.column_variable[column])
        return self.tables[variable][:, column - self.slices[variable].start]

    def column(self, column: int) -> Floats:
        """Return one column, ``(n_cells,)``."""
        return self.level_values(column)[self.codes[int(self.column_variable[column])]]

    def linear(self, coef: ArrayLike) -> Floats:
        """Return the sum of coefficient x column over all columns, ``(n_cells,)``."""
        coefficients = np.asarray(coef, dtype=np.float64)
        if coefficients.shape != (self.n_columns,):
            raise InputError(
                f"Invalid coef {coefficients.shape}. There must be one for each of the {self.n_columns} columns."
            )
        eta = np.zeros(self.n_cells)
        for codes, table, part in zip(self.codes, self.tables, self.slices, strict=True):
            if np.any(coefficients[part]):
                eta += (table @ coefficients[part])[codes]
        return eta

    def dense(self, columns: Sequence[int] | Integers, rows: slice = slice(None)) -> Floats:
        """Return chosen columns and rows as a matrix; meant for few columns or few rows."""
        chosen = [self.level_values(c)[self.codes[int(self.column_variable[c])][rows]] for c in columns]
        return np.column_stack(chosen) if chosen else np.empty((len(range(*rows.indices(self.n_cells))), 0))


def smallest_unsigned(n_levels: int) -> Any:
    """Return the smallest unsigned type that numbers `n_levels` levels."""
    return np.uint8 if n_levels <= 2**8 else np.uint16 if n_levels <= 2**16 else np.uint32


@dataclass(frozen=True, eq=False)
class Block:
    """Some consecutive cells, as the runs of their codes.

    A change at a cell leaves level `origin` and enters level `target`, numbered within `levels`, which
    holds the global levels that occur here. `totals` has a row for each fold, and a last one for cells
    in none: sums of weight, weight x count, weight x count x offset, and weight x (y log y - y).
    """

    levels: Integers
    first: Integers
    last: Integers
    pointer: Integers
    origin: Integers
    target: Integers
    exposure: Floats
    weighted_counts: Floats
    fold: Integers
    totals: Floats


class BlockSource(Protocol):
    """Where blocks come from: memory, files or workers. The solver never asks for a cell."""

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""

    @property
    def n_folds(self) -> int:
        """Number of folds; 0 without cross validation."""

    def load(self, block: int) -> Block:
        """Return one block, by its number."""


@dataclass(frozen=True, eq=False)
class MemoryBlocks:
    """All blocks of a design in memory."""

    blocks: tuple[Block, ...]
    n_folds: int

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    def load(self, block: int) -> Block:
        """Return one block, by its number."""
        return self.blocks[block]

    @classmethod
    def build(
        cls,
        design: Design,
        counts: ArrayLike,
        *,
        offset: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        folds: ArrayLike | None = None,
    ) -> "MemoryBlocks":
        """Cut a design with its counts into blocks of `BLOCK_CELLS` cells.

        Parameters
        ----------
        counts : (n_cells,)
            Incidents in each cell.
        offset : (n_cells,), optional
            Log exposure. Minus infinity (no exposure) is allowed where the count is zero.
        weights : (n_cells,), optional
            Non-negative weight of each cell.
        folds : (n_cells,) of int, optional
            The fold a cell belongs to, 0 to n_folds - 1; -1 for a cell that is always used for fitting.

        Raises
        ------
        InputError
            If lengths differ, a value cannot be used, or there are no incidents.
        """
        counts, offset, weights = check_cells(design, counts, offset, weights)
        fold_ids, n_folds = _check_folds(folds, counts.size)
        totals = _totals(counts, offset, weights)
        exposure = np.empty(0)
        if offset is not None:
            exposure = np.exp(offset)
        if weights is not None:
            exposure = weights * exposure if exposure.size else weights.copy()
        weighted_counts = counts if weights is None else counts * weights
        blocks = []
        for begin in range(0, counts.size, BLOCK_CELLS):
            cells = slice(begin, min(begin + BLOCK_CELLS, counts.size))
            fold = fold_ids[cells] if n_folds else fold_ids[:0]
            rows = fold if n_folds else np.zeros(cells.stop - begin, dtype=np.int32)
            by_fold = np.zeros((n_folds + 1, 4))
            for item in range(4):
                by_fold[:, item] = np.bincount(
                    np.where(rows < 0, n_folds, rows), weights=totals[cells, item], minlength=n_folds + 1
                )
            blocks.append(
                Block(
                    *_runs(design, cells),
                    exposure=exposure[cells] if exposure.size else exposure,
                    weighted_counts=weighted_counts[cells],
                    fold=fold,
                    totals=by_fold,
                )
            )
        return cls(tuple(blocks), n_folds)


def check_cells(
    design: Design, counts: ArrayLike, offset: ArrayLike | None, weights: ArrayLike | None
) -> tuple[Floats, Floats | None, Floats | None]:
    """Return counts, offset and weights as arrays fit for a Poisson model of the cells of `design`.

    Raises
    ------
    InputError
        If lengths differ, a value cannot be used, or there are no incidents.
    """
    counts = np.ascontiguousarray(counts, dtype=np.float64)
    n_cells = design.n_cells if design.n_variables else counts.size
    if counts.shape != (n_cells,) or n_cells == 0:
        raise InputError(f"Invalid counts {counts.shape}. There must be one for each of the {n_cells} cells.")
    if not np.isfinite(counts).all() or counts.min() < 0:
        raise InputError("Invalid counts: NaN, infinite or negative. Counts must be numbers of at least 0.")
    if weights is not None:
        weights = np.ascontiguousarray(weights, dtype=np.float64)
        if weights.shape != (n_cells,) or not np.isfinite(weights).all() or weights.min() < 0:
            raise InputError(
                f"Invalid weights {weights.shape}. There must be one finite number of at least 0 "
                f"for each of the {n_cells} cells."
            )
    if offset is not None:
        offset = np.ascontiguousarray(offset, dtype=np.float64)
        if offset.shape != (n_cells,) or np.isnan(offset).any() or offset.max() > 600:
            raise InputError(
                f"Invalid offset {offset.shape}. There must be one log exposure below 600 "
                f"for each of the {n_cells} cells; minus infinity means none."
            )
        impossible = int(((counts > 0) & ~(offset > -600)).sum())
        if impossible:
            raise InputError(
                f"Invalid offset: {impossible} cells have incidents but no exposure. "
                "Give those cells an exposure or leave them out."
            )
    used = counts if weights is None else counts * weights
    if not used.sum() > 0:
        raise InputError("Invalid counts: no incidents in any cell. A model needs at least one incident.")
    return counts, offset, weights


def _check_folds(folds: ArrayLike | None, n_cells: int) -> tuple[NDArray[np.int32], int]:
    if folds is None:
        return np.zeros(0, dtype=np.int32), 0
    fold_ids = np.asarray(folds)
    if fold_ids.shape != (n_cells,) or fold_ids.dtype.kind not in "iu" or fold_ids.min(initial=0) < -1:
        raise InputError(
            f"Invalid folds {fold_ids.dtype} {fold_ids.shape}. There must be one whole number of at least -1 "
            f"for each of the {n_cells} cells."
        )
    n_folds = int(fold_ids.max()) + 1
    present = np.bincount(fold_ids[fold_ids >= 0], minlength=n_folds)
    if n_folds < 2 or not present.all():
        raise InputError(
            f"Invalid folds {n_folds}. At least two are needed, numbered from 0 without a gap."
        )
    return np.ascontiguousarray(fold_ids, dtype=np.int32), n_folds


def _totals(counts: Floats, offset: Floats | None, weights: Floats | None) -> Floats:
    totals = np.zeros((counts.size, 4))
    totals[:, 0] = 1.0
    totals[:, 1] = counts
    positive = counts > 0
    some = counts[positive]
    if offset is not None:
        totals[positive, 2] = some * offset[positive]
    totals[positive, 3] = some * np.log(some) - some
    return totals if weights is None else totals * weights[:, np.newaxis]


def _runs(design: Design, cells: slice) -> tuple[Integers, ...]:
    n_cells = cells.stop - cells.start
    n_changes = np.zeros(n_cells, dtype=np.int32)
    parts = [codes[cells] for codes in design.codes]
    for codes in parts:
        kernels.count_changes(codes, n_changes)
    pointer = np.zeros(n_cells + 1, dtype=np.int32)
    np.cumsum(n_changes, out=pointer[1:])
    present = []
    for codes, table in zip(parts, design.tables, strict=True):
        few = table.shape[0] <= BLOCK_CELLS
        present.append(np.flatnonzero(np.bincount(codes)) if few else np.unique(codes).astype(np.int64))
    n_local = sum(levels.size for levels in present)
    name = np.uint16 if n_local <= 2**16 else np.uint32
    origin, target = np.empty((2, int(pointer[-1])), dtype=name)
    cursor = pointer[:-1].copy()
    first, last = np.empty((2, design.n_variables), dtype=np.int64)
    local_start = 0
    for variable, (codes, levels) in enumerate(zip(parts, present, strict=True)):
        local = np.empty(design.tables[variable].shape[0], dtype=name)
        local[levels] = np.arange(local_start, local_start + levels.size, dtype=name)
        kernels.list_changes(codes, local, cursor, origin, target)
        first[variable], last[variable] = local[codes[0]], local[codes[-1]]
        local_start += levels.size
    starts = design.level_start[:-1]
    occurring = [levels + start for levels, start in zip(present, starts, strict=True)]
    levels = np.concatenate(occurring) if occurring else np.empty(0, dtype=np.int64)
    return levels, first, last, pointer, origin, target


@contextmanager
def thread_map(n_threads: int) -> Iterator[BlockMap]:
    """Give a ``map`` over blocks: in this thread, or in a pool of `n_threads`; the order is kept."""
    if n_threads <= 1:
        yield map
    else:
        with ThreadPoolExecutor(n_threads) as pool:
            yield pool.map


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
        ``map(function, blocks)``: this thread by default; a pool's or an executor's ``map`` gives the same bits.

    Notes
    -----
    With exposure ``e = weight x exp(offset)`` the objective is ``sum(e exp(eta)) - sum(w y eta)``. The second
    sum is linear in the coefficients, so its vector ``X'y`` is taken once and a sweep looks at no count.
    """

    def __init__(self, tables: tuple[Floats, ...], source: BlockSource, *, block_map: BlockMap = map) -> None:
        self._tables = tables
        self._levels = sparse.csr_array(sparse.block_diag(tables)) if tables else sparse.csr_array((0, 0))
        self._levels_transposed = sparse.csr_array(self._levels.T)
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

    def _sums(self, coefs: Floats, intercepts: Floats, use_counts: bool = False) -> tuple[Floats, Floats, Floats]:
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
        for levels, block_histogram, block_inside, block_outside in self._map(function, range(self._source.n_blocks)):
            histogram[levels] += block_histogram
            inside += block_inside
            outside += block_outside
        n_lanes = self.n_lanes
        return histogram[:, :n_lanes], inside[:n_lanes], outside[:n_lanes]

    def hessian(self, columns: Integers, coef: Floats, intercept: float) -> Floats:
        """Return the Hessian over intercept and `columns` (ascending) at one point, over all cells.

        Shape ``(1 + len(columns),) * 2``; divided by the total weight, as the objective is.
        """
        contribution = np.asarray(self._levels @ coef)
        spans = self._spans(np.asarray(columns, dtype=np.int64))
        size = 1 + len(columns)
        function = partial(_block_hessian, self._source, contribution, float(intercept), spans, size)
        hessian = np.zeros((size, size))
        for part in self._map(function, range(self._source.n_blocks)):
            hessian += part
        hessian = np.triu(hessian) + np.triu(hessian, 1).T
        return np.asarray(hessian / self.total_weight[-1])

    def _spans(self, columns: Integers) -> tuple[Integers, Integers, Integers, Floats]:
        """Say for every level which places of x it sets, and where their values are."""
        starts, ends, value_starts, values = [], [], [], []
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
        if not self._tables:
            empty = np.empty(0, dtype=np.int64)
            return empty, empty, empty, np.empty(0)
        return np.concatenate(starts), np.concatenate(ends), np.concatenate(value_starts), np.concatenate(values)


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
            contribution[block.levels], intercepts[one_pass][np.newaxis], exposure, block.fold, one_pass * width,
            histogram, inside[one_pass : one_pass + 1], outside[one_pass],
        )  # fmt: skip
        histograms.append(histogram)
    return block.levels, np.hstack(histograms), inside.ravel(), outside.ravel()


def _block_hessian(
    source: BlockSource,
    contribution: Floats,
    intercept: float,
    spans: tuple[Integers, Integers, Integers, Floats],
    size: int,
    number: int,
) -> Floats:
    block = source.load(number)
    start, end, value_start, values = spans
    hessian = np.zeros((size, size))
    kernels.hessian_block(
        block.first, block.pointer, block.origin, block.target,
        contribution[block.levels], intercept, block.exposure,
        start[block.levels], end[block.levels], value_start[block.levels], values, hessian,
    )  # fmt: skip
    return hessian
