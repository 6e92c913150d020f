"""Compiled loops of the raster room: points are splatted onto the cells they can reach."""

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def splat_distance(
    eastings: np.ndarray,
    northings: np.ndarray,
    west: float,
    north: float,
    size: float,
    reach: float,
    squared: np.ndarray,
) -> None:
    """Lower `squared` (raster, m2) to the squared distance from each cell centre to the nearest point."""
    n_rows, n_columns = squared.shape
    limit = reach * reach
    for point in range(eastings.size):
        # Centre of cell (r, c) lies at west + (c + .5) size, north - (r + .5) size.
        across = (eastings[point] - west) / size - 0.5
        down = (north - northings[point]) / size - 0.5
        span = reach / size
        first_row, last_row = max(0, int(np.ceil(down - span))), min(n_rows - 1, int(np.floor(down + span)))
        first_column = max(0, int(np.ceil(across - span)))
        last_column = min(n_columns - 1, int(np.floor(across + span)))
        for row in range(first_row, last_row + 1):
            rise = (north - (row + 0.5) * size) - northings[point]
            for column in range(first_column, last_column + 1):
                run = (west + (column + 0.5) * size) - eastings[point]
                distance = rise * rise + run * run
                if distance <= limit and distance < squared[row, column]:
                    squared[row, column] = distance


@numba.njit(cache=True, nogil=True)
def splat_quartic(
    eastings: np.ndarray,
    northings: np.ndarray,
    weights: np.ndarray,
    west: float,
    north: float,
    size: float,
    bandwidth: float,
    total: np.ndarray,
) -> None:
    """Add to `total` (raster) the quartic kernel of every weighted point, peak 1."""
    n_rows, n_columns = total.shape
    limit = bandwidth * bandwidth
    span = bandwidth / size
    for point in range(eastings.size):
        across = (eastings[point] - west) / size - 0.5
        down = (north - northings[point]) / size - 0.5
        first_row, last_row = max(0, int(np.ceil(down - span))), min(n_rows - 1, int(np.floor(down + span)))
        first_column = max(0, int(np.ceil(across - span)))
        last_column = min(n_columns - 1, int(np.floor(across + span)))
        for row in range(first_row, last_row + 1):
            rise = (north - (row + 0.5) * size) - northings[point]
            for column in range(first_column, last_column + 1):
                run = (west + (column + 0.5) * size) - eastings[point]
                fade = 1.0 - (rise * rise + run * run) / limit
                if fade > 0.0:
                    total[row, column] += weights[point] * fade * fade
