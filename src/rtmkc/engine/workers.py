"""Sums over blocks: in this thread, in several, or on the workers of an executor, always in the same order.

The sums of the blocks are added within groups of `GROUP_BLOCKS` consecutive blocks, and then those of the
groups, in order. Rounding is therefore the same whoever adds, and a worker far away returns one table a group.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import is_dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from rtmkc.engine.blocks import Block, BlockSource
from rtmkc.engine.design import Floats

GROUP_BLOCKS = 16

Sums = tuple[Floats, ...]


class BlockTask(Protocol):
    """Something to add up over blocks: a dataclass of small tables, which can travel to other processes."""

    def zeros(self) -> Sums:
        """Return the sum over no block."""

    def one(self, block: Block) -> Any:
        """Return the sums of one block, in any form that `add` takes."""

    def add(self, total: Sums, sums: Any) -> None:
        """Add the sums of one block to a total."""


class Executor(Protocol):
    """What is asked of an executor: that of `concurrent.futures`, or ``dask.distributed.Client.get_executor()``."""

    def map(self, function: Callable[[Any], Any], *items: Iterable[Any]) -> Iterator[Any]:
        """Return what the function gives for every item, in their order."""


class Workers:
    """Who adds up: this thread, several threads, or the workers of an executor.

    Parameters
    ----------
    n_threads : int
        Threads over blocks, where there is no executor.
    executor : Executor, optional
        Each of its tasks adds up one group of blocks. The source travels with it, and should therefore
        say where its blocks are rather than hold them.

    Attributes
    ----------
    bytes_sent, bytes_received : int
        Bytes of the tables that went to the executor's tasks, and that came back, so far.
    """

    def __init__(self, n_threads: int = 1, executor: Executor | None = None) -> None:
        self.n_threads = max(1, n_threads)
        self.bytes_sent = self.bytes_received = 0
        self._executor = executor
        self._pool: ThreadPoolExecutor | None = None

    @contextmanager
    def at_work(self) -> Iterator["Workers"]:
        """Keep the threads for the whole of a ``with``."""
        if self._executor is not None or self.n_threads == 1:
            yield self
            return
        with ThreadPoolExecutor(self.n_threads - 1) as self._pool:
            yield self
        self._pool = None

    def add_up(self, task: BlockTask, source: BlockSource) -> Sums:
        """Return the sums of a task over all blocks of a source."""
        groups = [
            range(first, min(first + GROUP_BLOCKS, source.n_blocks))
            for first in range(0, source.n_blocks, GROUP_BLOCKS)
        ]
        total = task.zeros()
        for sums in self._groups(task, source, groups):
            for all_groups, one_group in zip(total, sums, strict=True):
                all_groups += one_group
        return total

    def _groups(self, task: BlockTask, source: BlockSource, groups: list[range]) -> Iterator[Sums]:
        """Give the sums of all groups, in order."""
        if self._executor is not None:
            function = partial(add_group, task, source)
            self.bytes_sent += len(groups) * _table_bytes(task)
            for sums in self._executor.map(function, groups):
                self.bytes_received += _table_bytes(sums)
                yield sums
        elif self._pool is None:
            yield from map(partial(add_group, task, source), groups)
        else:
            # Each thread has a group as long as there are enough; of the last ones each has some blocks.
            n_whole = len(groups) - len(groups) % self.n_threads
            for first in range(0, n_whole, self.n_threads):
                yield from self._side_by_side(
                    partial(add_group, task, source), groups[first : first + self.n_threads]
                )
            for group in groups[n_whole:]:
                ends = np.linspace(group.start, group.stop, self.n_threads + 1).round().astype(int)
                shares = [range(begin, end) for begin, end in pairwise(ends.tolist())]
                total = task.zeros()
                for share in self._side_by_side(partial(_each_block, task, source), shares):
                    for sums in share:
                        task.add(total, sums)
                yield total

    def _side_by_side(self, function: Callable[[range], Any], shares: list[range]) -> list[Any]:
        assert self._pool is not None
        others = [self._pool.submit(function, share) for share in shares[1:]]
        return [function(shares[0]), *(other.result() for other in others)]


def _table_bytes(tables: Any) -> int:
    if isinstance(tables, np.ndarray):
        return tables.nbytes
    parts = vars(tables).values() if is_dataclass(tables) else tables if isinstance(tables, tuple) else ()
    return sum(map(_table_bytes, parts))


def add_group(task: BlockTask, source: BlockSource, blocks: range) -> Sums:
    """Return the sums of a task over consecutive blocks, added in order."""
    total = task.zeros()
    for block in blocks:
        task.add(total, task.one(source.load(block)))
    return total


def _each_block(task: BlockTask, source: BlockSource, blocks: range) -> list[Any]:
    return [task.one(source.load(block)) for block in blocks]
