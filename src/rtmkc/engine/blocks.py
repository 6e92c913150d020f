"""The fixed blocks of cells that every sum runs over."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from rtmkc.engine import kernels
from rtmkc.engine.design import Design, Floats, Integers, check_cells, check_folds
from rtmkc.engine.switches import Switches
from rtmkc.errors import InputError

__all__ = [
    "BLOCK_CELLS",
    "Block",
    "BlockSource",
    "Design",
    "Floats",
    "Integers",
    "MemoryBlocks",
    "check_cells",
]

BLOCK_CELLS = 16384
_LAYOUT = 2
_ALIGNMENT = 64
_TYPES = ("|u1", "<u2", "<u4", "<i4", "<i8", "<f8")


@dataclass(frozen=True, eq=False)
class Block:
    """Some consecutive cells: the runs of their switches, exposure, counts and folds.

    Whoever stores blocks keeps `to_bytes` and gives back `from_buffer`; what is inside concerns the engine.

    Attributes
    ----------
    pointer : (n_tiles + 1,)
        The runs of tile t, `kernels.TILE` cells, are those from ``pointer[t]`` to before ``pointer[t + 1]``.
    begin, last : (n_runs,)
        The first and the last cell of a run, within its tile.
    switch : (n_runs,)
        What is on there, as a place in `switches`.
    switches : (n_present,)
        The numbers of the switches that occur, ascending.
    exposure : (n_cells,)
        Weight x exp(offset); empty if it is 1 everywhere.
    counted, weighted_counts : (n_with_incidents,)
        The cells with incidents, and weight x count there.
    fold : (n_cells,)
        1 + the fold of each cell, 0 for none.
    totals : (n_folds + 1, 4)
        By fold, and last the cells in none: sums of weight, weight x count, weight x count x offset, and
        weight x (y log y - y).
    """

    pointer: Integers
    begin: Integers
    last: Integers
    switch: Integers
    switches: Integers
    exposure: Floats
    counted: Integers
    weighted_counts: Floats
    fold: Integers
    totals: Floats

    def __post_init__(self) -> None:
        # Compiled code tells arrays that may be written from others; blocks from files may not.
        for field in fields(self):
            getattr(self, field.name).flags.writeable = False

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
        n_threads: int = 1,
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
        n_threads : int
            Threads over blocks.

        Raises
        ------
        InputError
            If lengths differ, a value cannot be used, or there are no incidents.
        """
        blocks = tuple(
            cut_blocks(design, counts, offset=offset, weights=weights, folds=folds, n_threads=n_threads)
        )
        return cls(blocks, len(blocks[0].totals) - 1)


def cut_blocks(
    design: Design,
    counts: ArrayLike,
    *,
    offset: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    folds: ArrayLike | None = None,
    n_threads: int = 1,
) -> Iterator[Block]:
    """Give one block after the other, a few at a time; parameters and errors as in `MemoryBlocks.build`."""
    counts, offset, weights = check_cells(design, counts, offset, weights)
    folds, n_folds = check_folds(folds, counts.size)
    switches = Switches.of(design.tables)

    def make(begin: int) -> Block:
        cells = slice(begin, begin + BLOCK_CELLS)
        return make_block(
            [codes[cells] for codes in design.codes],
            switches,
            counts[cells],
            offset=None if offset is None else offset[cells],
            weights=None if weights is None else weights[cells],
            folds=folds[cells] if n_folds else None,
            n_folds=n_folds,
        )

    begins = range(0, counts.size, BLOCK_CELLS)
    at_once = 4 * max(n_threads, 1)
    with ThreadPoolExecutor(max(n_threads, 1)) as pool:
        for first in range(0, len(begins), at_once):
            yield from pool.map(make, begins[first : first + at_once])


def make_block(
    codes: Sequence[Integers],
    tables: Sequence[Floats] | Switches,
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
    tables : sequence of (n_levels, n_columns_of_variable), or Switches
        `Design.tables`; who makes many blocks gives ``Switches.of(tables)``.
    counts, offset, weights, folds : (n_cells,)
    n_folds : int
        Number of folds over all blocks.
    """
    switches = tables if isinstance(tables, Switches) else Switches.of(tables)
    kind = np.uint8 if n_folds < 2**8 else np.int32
    fold = np.zeros(counts.size, dtype=kind) if folds is None else (folds + 1).astype(kind)
    exposure = np.empty(0)
    if offset is not None:
        exposure = np.exp(offset)
    if weights is not None:
        exposure = weights * exposure if exposure.size else weights.astype(np.float64)
    pointer, begin, last, switch, present = _runs(codes, switches, counts.size)
    counted = np.flatnonzero(counts)
    some = counts[counted]
    some_weights = np.ones(some.size) if weights is None else weights[counted]
    totals = np.zeros((n_folds + 1, 4))
    totals[:, 0] = np.bincount(fold, weights=weights, minlength=n_folds + 1)
    for item, values in enumerate(
        [some, np.zeros(some.size) if offset is None else some * offset[counted], some * np.log(some) - some],
        1,
    ):
        totals[:, item] = np.bincount(fold[counted], weights=some_weights * values, minlength=n_folds + 1)
    return Block(
        pointer=pointer,
        begin=begin,
        last=last,
        switch=switch,
        switches=present,
        exposure=exposure,
        counted=counted.astype(np.int32),
        weighted_counts=some * some_weights,
        fold=fold,
        totals=np.roll(totals, -1, axis=0),
    )


def _runs(codes: Sequence[Integers], switches: Switches, n_cells: int) -> tuple[Integers, ...]:
    """Return pointer, begin, last, switch and switches of a block."""
    n_tiles = -(-n_cells // kernels.TILE)
    n_runs = np.zeros((len(codes), n_tiles), dtype=np.int64)
    number, capacity = 0, 8 * n_cells
    while True:
        begin, last = np.empty((2, capacity), dtype=np.uint8)
        switch = np.empty(capacity, dtype=np.int32)
        number = 0
        for variable, levels in enumerate(codes):
            on, of_level = switches.on[variable], switches.of_level[variable]
            if on is not None:
                number = kernels.list_switched(
                    levels, on, switches.first[variable], begin, last, switch, number, n_runs[variable]
                )
            else:
                number = kernels.list_levels(levels, of_level, begin, last, switch, number, n_runs[variable])
        if number <= capacity:
            break
        capacity = number
    occurs = np.zeros(switches.n_switches, dtype=bool)
    occurs[switch[:number]] = True
    present = np.flatnonzero(occurs).astype(np.int32)
    local = np.empty(switches.n_switches, dtype=np.int32)
    local[present] = np.arange(present.size, dtype=np.int32)
    pointer = np.zeros(n_tiles + 1, dtype=np.int32)
    arranged = (
        np.empty(number, dtype=np.uint8),
        np.empty(number, dtype=np.uint8),
        np.empty(number, dtype=np.uint16 if present.size <= 2**16 else np.int32),
    )
    kernels.arrange(n_runs, begin, last, switch, local, pointer, arranged)
    return pointer, *arranged, present
