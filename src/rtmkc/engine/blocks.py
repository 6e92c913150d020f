"""Codes and tables, and the fixed blocks of cells that every sum runs over."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rtmkc.engine import kernels
from rtmkc.errors import InputError

BLOCK_CELLS = 16384
_LAYOUT = 1
_ALIGNMENT = 64
_TYPES = ("|u1", "<u2", "<u4", "<i4", "<i8", "<f8")

Floats = NDArray[np.float64]
Integers = NDArray[Any]
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
        return tuple(slice(int(begin), int(end)) for begin, end in pairwise(ends))

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
                f"Invalid coef {coefficients.shape}. "
                f"There must be one for each of the {self.n_columns} columns."
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
    """Some consecutive cells: the runs of their codes, exposure, counts and folds.

    Whoever stores blocks keeps `to_bytes` and gives back `from_buffer`; what is inside concerns the engine.

    Attributes
    ----------
    levels : (n_present,)
        The global levels that occur; the following four are numbers within it.
    first, last : (n_variables,)
        The level of every variable in the first and the last cell.
    origin, target : (n_changes,)
        The level left and the level entered, by cell.
    pointer : (n_cells + 1,)
        The changes at cell c are those from ``pointer[c]`` to before ``pointer[c + 1]``.
    exposure : (n_cells,)
        Weight x exp(offset); empty if it is 1 everywhere.
    weighted_counts : (n_cells,)
    fold : (n_cells,)
        Fold of each cell, -1 for none; empty without folds.
    totals : (n_folds + 1, 4)
        By fold, and last the cells in none: sums of weight, weight x count, weight x count x offset, and
        weight x (y log y - y).
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

    def to_bytes(self) -> bytes:
        """Return the block as bytes, in the form the sweeps read."""
        arrays = [np.ascontiguousarray(getattr(self, field.name)) for field in fields(self)]
        header = [
            _LAYOUT,
            *(number for part in arrays for number in (_TYPES.index(part.dtype.str), part.size)),
        ]
        pieces = [np.array(header, dtype="<i8").tobytes(), *(part.tobytes() for part in arrays)]
        return b"".join(piece + bytes(-len(piece) % _ALIGNMENT) for piece in pieces)

    @classmethod
    def from_buffer(cls, buffer: bytes | memoryview) -> "Block":
        """Return the block whose bytes these are, as read-only views: nothing is copied.

        Raises
        ------
        InputError
            If the bytes are not those of a block, or are cut short.
        """
        raw = np.frombuffer(buffer, dtype=np.uint8)
        names = [field.name for field in fields(cls)]
        place = 8 * (1 + 2 * len(names))
        header = raw[:place].view("<i8") if raw.size >= place else np.zeros(1, dtype=np.int64)
        if header[0] != _LAYOUT:
            raise InputError(
                f"Invalid buffer of {raw.size} bytes. It must hold a block of this version. Write the blocks again."
            )
        arrays = {}
        for name, kind, size in zip(names, header[1::2].tolist(), header[2::2].tolist(), strict=True):
            place += -place % _ALIGNMENT
            end = place + size * np.dtype(_TYPES[kind]).itemsize
            if end > raw.size:
                raise InputError(
                    f"Invalid buffer of {raw.size} bytes. The block is cut short. Write it again."
                )
            arrays[name] = raw[place:end].view(_TYPES[kind])
            arrays[name].flags.writeable = False
            place = end
        arrays["totals"] = arrays["totals"].reshape(-1, 4)
        return cls(**arrays)


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
        fold_ids, n_folds = check_folds(folds, counts.size)
        blocks = []
        for begin in range(0, counts.size, BLOCK_CELLS):
            cells = slice(begin, begin + BLOCK_CELLS)
            blocks.append(
                make_block(
                    [codes[cells] for codes in design.codes],
                    design.tables,
                    counts[cells],
                    offset=None if offset is None else offset[cells],
                    weights=None if weights is None else weights[cells],
                    folds=fold_ids[cells] if n_folds else None,
                    n_folds=n_folds,
                )
            )
        return cls(tuple(blocks), n_folds)


def make_block(
    codes: Sequence[Integers],
    tables: Sequence[Floats],
    counts: Floats,
    *,
    offset: Floats | None = None,
    weights: Floats | None = None,
    folds: Integers | None = None,
    n_folds: int = 0,
) -> Block:
    """Make one block of some consecutive cells, at most `BLOCK_CELLS` of them.

    All arrays hold these cells alone; what they must be is said in `MemoryBlocks.build`, and is not checked
    again: `check_cells` and `check_folds` do it for all cells at once.

    Parameters
    ----------
    codes : sequence of (n_cells,)
        One array of levels for each variable.
    tables : sequence of (n_levels, n_columns_of_variable)
        `Design.tables`.
    counts, offset, weights, folds : (n_cells,)
    n_folds : int
        Number of folds over all blocks.
    """
    size = counts.size
    rows = np.full(size, n_folds) if folds is None else np.where(folds < 0, n_folds, folds)
    values = _totals(counts, offset, weights)
    totals = np.zeros((n_folds + 1, 4))
    for item in range(4):
        totals[:, item] = np.bincount(rows, weights=values[:, item], minlength=n_folds + 1)
    exposure = np.empty(0)
    if offset is not None:
        exposure = np.exp(offset)
    if weights is not None:
        exposure = weights * exposure if exposure.size else weights.astype(np.float64)
    levels, first, last, pointer, origin, target = _runs(codes, tables, size)
    return Block(
        levels=levels,
        first=first,
        last=last,
        pointer=pointer,
        origin=origin,
        target=target,
        exposure=exposure,
        weighted_counts=counts if weights is None else counts * weights,
        fold=np.empty(0, dtype=np.int32) if folds is None else folds.astype(np.int32),
        totals=totals,
    )


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


def check_folds(folds: ArrayLike | None, n_cells: int) -> tuple[NDArray[np.int32], int]:
    """Return folds as an array ``(n_cells,)``, empty if there are none, and their number.

    Raises
    ------
    InputError
        If they are not one number a cell, or not numbered from 0 without a gap.
    """
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
        raise InputError(f"Invalid folds {n_folds}. At least two are needed, numbered from 0 without a gap.")
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


def _runs(parts: Sequence[Integers], tables: Sequence[Floats], n_cells: int) -> tuple[Integers, ...]:
    """Return levels, first, last, pointer, origin and target of a block."""
    n_changes = np.zeros(n_cells, dtype=np.int32)
    for codes in parts:
        kernels.count_changes(codes, n_changes)
    pointer = np.zeros(n_cells + 1, dtype=np.int32)
    np.cumsum(n_changes, out=pointer[1:])
    present = []
    for codes, table in zip(parts, tables, strict=True):
        few = table.shape[0] <= BLOCK_CELLS
        present.append(np.flatnonzero(np.bincount(codes)) if few else np.unique(codes).astype(np.int64))
    n_local = sum(levels.size for levels in present)
    name = np.uint16 if n_local <= 2**16 else np.uint32
    origin, target = np.empty((2, int(pointer[-1])), dtype=name)
    cursor = pointer[:-1].copy()
    first, last = np.empty((2, len(parts)), dtype=np.int64)
    local_start = level_start = 0
    occurring = [np.empty(0, dtype=np.int64)]
    for variable, (codes, levels) in enumerate(zip(parts, present, strict=True)):
        n_levels = tables[variable].shape[0]
        local = np.empty(n_levels, dtype=name)
        local[levels] = np.arange(local_start, local_start + levels.size, dtype=name)
        kernels.list_changes(codes, local, cursor, origin, target)
        first[variable], last[variable] = local[codes[0]], local[codes[-1]]
        occurring.append(levels + level_start)
        local_start += levels.size
        level_start += n_levels
    return np.concatenate(occurring), first, last, pointer, origin, target


@contextmanager
def thread_map(n_threads: int) -> Iterator[BlockMap]:
    """Give a ``map`` over blocks: in this thread, or in a pool of `n_threads`; the order is kept."""
    if n_threads <= 1:
        yield map
    else:
        with ThreadPoolExecutor(n_threads) as pool:
            yield pool.map
