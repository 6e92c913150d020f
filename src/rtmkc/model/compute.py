"""Where the sums over cells run: in this process on blocks in memory or in files, or on the workers of a cluster."""

import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rtmkc.engine.blocks import Block, BlockSource, Design, MemoryBlocks, cut_blocks
from rtmkc.engine.path import PathFit, fit_path_on
from rtmkc.engine.workers import Workers
from rtmkc.errors import InputError, OutputError
from rtmkc.model.cluster import check_executor, watched
from rtmkc.raster.coding import open_store

BLOCKS, INDEX = "blocks.bin", "index.npy"


@dataclass(frozen=True)
class Compute:
    """Where blocks are kept, and who sums over them. The results have the same bits in every case.

    Parameters
    ----------
    executor : concurrent.futures.Executor, optional
        Whoever runs functions on workers, such as ``distributed.Client.get_executor()``. Default: threads of this
        process.
    store : path, optional
        A folder in which blocks are kept in files while they are needed. Workers read them: on a cluster it must be on
        storage that all of them see. Default: memory; with an executor a temporary folder, which is enough for workers
        on this machine.
    """

    executor: Any = None
    store: str | Path | None = None

    def __post_init__(self) -> None:
        check_executor(self.executor)
        object.__setattr__(self, "store", open_store(self.store))

    def fit_path(
        self,
        design: Design,
        counts: ArrayLike,
        *,
        offset: ArrayLike | None = None,
        folds: ArrayLike | None = None,
        **options: Any,
    ) -> PathFit:
        """Fit a path as `rtmkc.engine.path.fit_path` does."""
        workers = Workers(os.cpu_count() or 1, watched(self.executor))
        with self._blocks(design, counts, offset, folds) as source:
            return fit_path_on(source, design.tables, workers=workers, **options)

    @contextmanager
    def _blocks(
        self, design: Design, counts: ArrayLike, offset: ArrayLike | None, folds: ArrayLike | None
    ) -> Iterator[BlockSource]:
        if self.executor is None and self.store is None:
            threads = os.cpu_count() or 1
            yield MemoryBlocks.build(design, counts, offset=offset, folds=folds, n_threads=threads)
            return
        folder = tempfile.TemporaryDirectory(
            prefix="rtmkc-blocks-", dir=self.store, ignore_cleanup_errors=True
        )
        with folder:
            yield FileBlocks.write(Path(folder.name), design, counts, offset=offset, folds=folds)
            _mapped.cache_clear()  # what is mapped is not given back to the disk


@dataclass(frozen=True)
class FileBlocks:
    """Blocks in the files of a folder, mapped into memory by whoever reads them.

    It travels to workers as a path and two numbers. What a worker has read stays in its memory as long as there is
    room, as all file pages do.
    """

    folder: Path
    n_blocks: int
    n_folds: int

    def load(self, block: int) -> Block:
        """Return one block, by its number; its arrays are views of the file."""
        data, ends = _mapped(self.folder)
        return Block.from_buffer(data[int(ends[block]) : int(ends[block + 1])])

    @classmethod
    def write(
        cls,
        folder: Path,
        design: Design,
        counts: ArrayLike,
        *,
        offset: ArrayLike | None = None,
        folds: ArrayLike | None = None,
    ) -> "FileBlocks":
        """Cut a design with its counts into blocks and write one after the other; see `MemoryBlocks.build`.

        Raises
        ------
        OutputError
            If the folder cannot be written, or is full.
        """
        ends, n_folds = [0], 0
        try:
            with open(folder / BLOCKS, "wb") as file:
                for block in cut_blocks(design, counts, offset=offset, folds=folds):
                    ends.append(ends[-1] + file.write(block.to_bytes()))
                    n_folds = len(block.totals) - 1
            np.save(folder / INDEX, np.array(ends))
        except OSError as error:
            raise OutputError(
                f"Invalid store {str(folder.parent)!r}. Blocks cannot be written: {error.strerror or error}. Nothing was "
                "left behind; choose another folder or free some space."
            ) from error
        return cls(folder, len(ends) - 1, n_folds)


@lru_cache(maxsize=2)
def _mapped(folder: Path) -> tuple[memoryview, np.ndarray]:
    """The bytes of a folder's blocks and where each ends; kept open, as every sweep reads them again."""
    try:
        with open(folder / BLOCKS, "rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return data, np.load(folder / INDEX)
    except OSError as error:
        raise InputError(
            f"Invalid store {str(folder.parent)!r}. A worker cannot read the blocks in it: {error.strerror or error}. Give "
            "store= (--store) a folder on storage that all workers see under the same path."
        ) from error
