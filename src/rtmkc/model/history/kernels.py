"""Compiled loops of the model room."""

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def smooth(raster: np.ndarray, taps: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return a raster summed under a separable symmetric kernel; beyond the edge lies nothing.

    `taps` holds the kernel from its centre outwards. Row r has cells from column `first[r]` up to, and without,
    `last[r]`; beyond these nothing is read or returned (0).
    """
    n_rows, n_columns = raster.shape
    reach = taps.size - 1
    along = np.zeros_like(raster)
    padded = np.zeros(n_columns + 4 * reach)
    for row in range(n_rows):
        start, stop = first[row], last[row]
        if stop <= start:
            continue
        # The cells of the row between zeros, so that no shift runs over an end.
        width = stop - start
        padded[: width + 4 * reach] = 0.0
        padded[2 * reach : 2 * reach + width] = raster[row, start:stop]
        left, right = max(0, start - reach), min(n_columns, stop + reach)
        here = 2 * reach + left - start
        size = right - left
        target = along[row, left:right]
        _add(target, taps[0], padded[here : here + size])
        for shift in range(1, reach + 1):
            _add_both(
                target,
                taps[shift],
                padded[here - shift : here - shift + size],
                padded[here + shift : here + shift + size],
            )
    total = np.zeros_like(raster)
    for row in range(n_rows):
        start, stop = first[row], last[row]
        if stop <= start:
            continue
        target = total[row, start:stop]
        _add(target, taps[0], along[row, start:stop])
        for shift in range(1, reach + 1):
            above, below = row - shift, row + shift
            if above >= 0 and below < n_rows:
                _add_both(target, taps[shift], along[above, start:stop], along[below, start:stop])
            elif above >= 0:
                _add(target, taps[shift], along[above, start:stop])
            elif below < n_rows:
                _add(target, taps[shift], along[below, start:stop])
    return total


# Plain counting from 0 lets the compiler use vector instructions.
@numba.njit(cache=True, nogil=True, inline="always")
def _add(target: np.ndarray, factor: float, source: np.ndarray) -> None:
    for position in range(target.size):
        target[position] += factor * source[position]


@numba.njit(cache=True, nogil=True, inline="always")
def _add_both(target: np.ndarray, factor: float, one: np.ndarray, other: np.ndarray) -> None:
    for position in range(target.size):
        target[position] += factor * (one[position] + other[position])
