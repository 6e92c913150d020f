"""A sweep against the memory floor: the bytes it must read, at the speed at which this machine reads."""

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
from city import City
from processes import memory_gb

STREAM_BYTES = 512_000_000
"""Sixteen times the largest cache in use, so that memory is read and no cache."""


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def _xor(words: np.ndarray) -> Any:
    """Return the exclusive or of all words: integer, so the compiler may use vectors and many accumulators."""
    total = np.uint64(0)
    for place in range(words.size):
        total ^= words[place]
    return total


READERS = {
    "exclusive or (numba)": _xor,
    "bitwise or (numpy)": np.bitwise_or.reduce,
    "largest (numpy)": np.max,
}


def read_gb_per_s(words: np.ndarray, n_threads: int, repeats: int = 5) -> dict[str, float]:
    """Return the best GB/s of each way to read an array, shared between threads."""
    parts = np.array_split(words, n_threads)
    best = {}
    with ThreadPoolExecutor(n_threads) as pool:
        for name, reader in READERS.items():
            reader(words[:64])
            seconds = np.inf
            for _ in range(repeats):
                started = time.perf_counter()
                list(pool.map(reader, parts))
                seconds = min(seconds, time.perf_counter() - started)
            best[name] = words.nbytes / seconds / 1e9
    return best


NOT_SWEPT = ("counted", "weighted_counts", "totals")
"""Fields of a block that a sweep does not read: it needs counts once, before the first."""


def bytes_of(value: Any) -> int:
    """Return the bytes of the arrays in a value that a sweep reads: dataclasses and sequences are looked into."""
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return sum(
            bytes_of(getattr(value, one.name))
            for one in dataclasses.fields(value)
            if one.name not in NOT_SWEPT
        )
    if isinstance(value, tuple | list):
        return sum(bytes_of(one) for one in value)
    return 0


def compact_bytes(codes: tuple[np.ndarray, ...]) -> dict[str, float]:
    """Return the bytes per cell of three exact codes of the same cells.

    ``dense`` is one number a variable and cell; ``runs`` a level of two bytes for each change along the cells and a
    byte a cell for their number; ``bits`` the fewest bits that number the levels of each variable.
    """
    n_cells = codes[0].size
    changes = sum(int(np.count_nonzero(code[1:] != code[:-1])) for code in codes)
    bits = sum(max(1, int(np.ceil(np.log2(int(code.max()) + 1)))) for code in codes)
    return {
        "dense": float(sum(code.itemsize for code in codes)),
        "runs": 2 * changes / n_cells + 1,
        "bits": bits / 8,
    }


def coefficients(n_lanes: int, n_columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients with one column in seven in the model, and intercepts, for every fit."""
    coefs = np.zeros((n_lanes, n_columns))
    coefs[:, ::7] = 0.1
    return coefs, np.full(n_lanes, -3.5)


def sweep(city: str, n_threads: int = 1, repeats: int = 7) -> dict[str, Any]:
    """Measure one sweep of six fits, and reading in the same process by as many threads, in turns."""
    from rtmkc.engine.blocks import MemoryBlocks
    from rtmkc.engine.sweeps import PoissonSweep
    from rtmkc.engine.workers import Workers

    data = City(city)
    source = MemoryBlocks.build(data.design, data.counts, folds=data.folds)
    held = sum(bytes_of(source.load(number)) for number in range(source.n_blocks))
    words = np.ones(STREAM_BYTES // 8, dtype=np.uint64)
    seconds, speed = np.inf, 0.0
    with Workers(n_threads).at_work() as team:
        sums = PoissonSweep(data.design.tables, source, workers=team)
        coefs, start = coefficients(sums.n_lanes, sums.n_columns)
        sums(coefs, start)
        for _ in range(repeats):
            speed = max(speed, *read_gb_per_s(words, n_threads, 1).values())
            started = time.perf_counter()
            sums(coefs, start)
            seconds = min(seconds, time.perf_counter() - started)
    n_cells = data.counts.size
    compact = compact_bytes(data.codes)
    least = min(compact.values())
    return {
        "seconds": seconds, "ns_per_cell": seconds / n_cells * 1e9, "gb_per_s": speed, "lanes": sums.n_lanes,
        "block_bytes": held / n_cells, **{f"{name}_bytes": value for name, value in compact.items()},
        "times_own_floor": seconds / (held / speed / 1e9),
        "times_floor": seconds / (least * n_cells / speed / 1e9),
        "before_gb": memory_gb("VmRSS"),
    }  # fmt: skip
