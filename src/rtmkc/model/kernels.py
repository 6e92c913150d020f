"""Compiled loops of the model room."""

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def smooth(raster: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Return a raster summed under a separable symmetric kernel; beyond the edge lies nothing.

    `taps` holds the kernel from its centre outwards.
    """
    n_rows, n_columns = raster.shape
    reach = taps.size - 1
    along = np.zeros_like(raster)
    for row in range(n_rows):
        for shift in range(-reach, reach + 1):
            tap = taps[abs(shift)]
            first, last = max(0, -shift), min(n_columns, n_columns - shift)
            if last > first:
                _add(along[row, first:last], tap, raster[row, first + shift : last + shift])
    total = np.zeros_like(raster)
    for row in range(n_rows):
        for source in range(max(0, row - reach), min(n_rows, row + reach + 1)):
            _add(total[row], taps[abs(source - row)], along[source])
    return total


@numba.njit(cache=True, nogil=True, inline="always")
def _add(target: np.ndarray, factor: float, source: np.ndarray) -> None:
    # Plain counting from 0 lets the compiler use vector instructions.
    for position in range(target.size):
        target[position] += factor * source[position]
