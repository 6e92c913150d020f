"""One small code per cell from distances and densities, measured strip by strip."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from rtmkc.errors import InputError, OutputError
from rtmkc.raster.grid import Grid
from rtmkc.raster.shapes import Shapes
from rtmkc.raster.surfaces import nearest_distance, quartic_density
from rtmkc.raster.tiles import Strip
from rtmkc.storage import write_atomically

ROUNDING = 1e-9
"""Densities this close to a cut, relatively, count as equal: the order of a sum must not decide a column."""
CHUNK = 2**16


def ring_codes(grid: Grid, shapes: Shapes, distances: Sequence[float]) -> np.ndarray:
    """Return the ring every cell lies in: 1 within the first distance, k within the k-th, 0 beyond the last."""
    codes = np.empty(grid.n_cells, dtype=np.min_scalar_type(len(distances)))
    ring = np.arange(1, len(distances) + 2, dtype=codes.dtype)
    ring[-1] = 0
    for strip in grid.strips():
        distance = nearest_distance(strip, shapes, distances[-1])
        codes[strip.cells] = ring[count_below(distances, distance)]
    return codes


def density_of(grid: Grid, shapes: Shapes, bandwidth: float) -> np.ndarray:
    """Return the density at every cell, (n_cells,), as `quartic_density` does."""
    density = np.empty(grid.n_cells)
    for strip in grid.strips():
        density[strip.cells] = quartic_density(strip, shapes, bandwidth)
    return density


def marks_of(strip: Strip, shapes: Shapes, kind: str, influence: float, cut: float) -> np.ndarray:
    """Return where one column is true in a strip: within the distance, or as dense as the cut; (n_cells of the strip,)."""
    if kind == "proximity":
        return nearest_distance(strip, shapes, influence) <= influence
    density = quartic_density(strip, shapes, influence)
    return is_dense(density, cut)


def is_dense(density: np.ndarray, cut: float) -> np.ndarray:
    """Return where a density reaches a cut, up to rounding; nowhere is dense without a feature in reach."""
    return (density >= cut * (1 - ROUNDING)) & (density > 0)


def count_below(cuts: Sequence[float] | np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return how many of the cuts each value is above; NaN is above none, infinity above all.

    A comparison a cut: for the few cuts there are, several times faster than a search in each value.
    """
    number = np.zeros(values.shape, dtype=np.min_scalar_type(len(cuts)))
    above = np.empty(values.shape, dtype=bool)
    for cut in cuts:
        np.greater(values, cut, out=above)
        number += above
    return number


def combine(flags: np.ndarray, n_flags: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the combinations of flags that occur, and which of them each cell has.

    Parameters
    ----------
    flags : ndarray of unsigned integers, shape (n_cells,)
        The flags of each cell as bits, the first one highest.
    n_flags : int

    Returns
    -------
    combinations : ndarray of float, shape (n_levels, n_flags)
        In rising order.
    codes : ndarray, shape (n_cells,)
    """
    if n_flags <= 16:
        present = np.flatnonzero(np.bincount(flags, minlength=1))
        number = np.zeros(int(present[-1]) + 1, dtype=np.min_scalar_type(present.size - 1))
        number[present] = np.arange(present.size)
        codes = number[flags]
    else:
        present, codes = np.unique(flags, return_inverse=True)
        codes = codes.astype(np.min_scalar_type(present.size - 1))
    bits = present.astype(np.uint64)[:, np.newaxis] >> np.arange(n_flags - 1, -1, -1, dtype=np.uint64)
    return (bits & np.uint64(1)).astype(float), codes


def mean_and_deviation(values: np.ndarray, chosen: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation (divisor n) of the chosen cells, without a copy of them.

    Chunks are merged by the update of Chan, Golub and LeVeque (1983, The American Statistician 37).
    """
    number, mean, squares = 0, 0.0, 0.0
    for begin in range(0, values.size, CHUNK):
        part = values[begin : begin + CHUNK][chosen[begin : begin + CHUNK]]
        if not part.size:
            continue
        own = float(part.mean())
        apart, total = own - mean, number + part.size
        squares += float(((part - own) ** 2).sum()) + apart**2 * number * part.size / total
        mean += apart * part.size / total
        number = total
    return mean, float(np.sqrt(squares / number))


def flag_bits(n_flags: int) -> type[np.unsignedinteger]:
    """Return the smallest unsigned type with a bit for each flag."""
    return next(
        kind for kind in (np.uint8, np.uint16, np.uint32, np.uint64) if np.dtype(kind).itemsize * 8 >= n_flags
    )


def open_store(store: str | Path | None) -> Path | None:
    """Return the full path of a folder for codes and blocks, made if it is not there; None stays None.

    Raises
    ------
    InputError
        If it is no path.
    OutputError
        If it cannot be made or written to.
    """
    if store is None:
        return None
    if not isinstance(store, str | Path) or not str(store).strip() or "\0" in str(store):
        raise InputError(
            f"Invalid store {store!r}. Give the path of a folder, or leave it out to keep all in memory."
        )
    folder = Path(store).resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"Invalid store {str(folder)!r}. Blocks cannot be kept there: {error.strerror or error}. Choose another "
            "folder."
        ) from error
    return folder


class CodeStore:
    """Where codes are kept: in memory, or as files of a folder that are mapped into it.

    Parameters
    ----------
    folder : Path or None
        From `open_store`; None keeps codes in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def keep(self, codes: np.ndarray) -> np.ndarray:
        """Return the same codes from where they are kept; a file is named after what is in it.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        if self._folder is None:
            return codes
        name = hashlib.blake2b(np.ascontiguousarray(codes).data, digest_size=12).hexdigest()
        path = self._folder / f"codes-{name}.npy"
        stored = _mapped(path)
        # A file that was cut short or written to by something else is not believed for its name.
        if stored is None or stored.dtype != codes.dtype or not np.array_equal(stored, codes):
            with write_atomically(path, overwrite=True) as temporary:
                np.save(temporary, codes)
            stored = _mapped(path)
        assert stored is not None  # it was just written
        return stored


def _mapped(path: Path) -> np.ndarray | None:
    """Map the array of a file; None if there is none that can be read."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError):
        return None
