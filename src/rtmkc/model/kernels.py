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
            for column in range(first, last):
                along[row, column] += tap * raster[row, column + shift]
    total = np.zeros_like(raster)
    for row in range(n_rows):
        for shift in range(-reach, reach + 1):
            source = row + shift
            if 0 <= source < n_rows:
                tap = taps[abs(shift)]
                for column in range(n_columns):
                    total[row, column] += tap * along[source, column]
    return total
