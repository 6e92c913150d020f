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


@numba.njit(cache=True, nogil=True)
def share_pixels(
    eastings: np.ndarray,
    northings: np.ndarray,
    values: np.ndarray,
    west: float,
    north: float,
    size: float,
    inside: np.ndarray,
    area: np.ndarray,
    volume: np.ndarray,
    amount: np.ndarray,
    touched: np.ndarray,
) -> None:
    """Cut the pixels of a raster by the cells of a grid, each pixel a quadrilateral of its four corners.

    `eastings` and `northings` hold the corners of the pixels (rows + 1, columns + 1) in the grid's system.
    For every cell `inside` the area `area` gains the area (m2) of the pieces of pixels with a value, `volume` that area times
    the value, and `amount` the value shared by area; `touched` marks pixels with a piece in a cell.
    """
    n_rows, n_columns = area.shape
    left, low = np.empty(16), np.empty(16)
    other_left, other_low = np.empty(16), np.empty(16)
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            left[0], low[0] = eastings[row, column], northings[row, column]
            left[1], low[1] = eastings[row, column + 1], northings[row, column + 1]
            left[2], low[2] = eastings[row + 1, column + 1], northings[row + 1, column + 1]
            left[3], low[3] = eastings[row + 1, column], northings[row + 1, column]
            quad_east, quad_north = left[:4].copy(), low[:4].copy()
            if not (np.all(np.isfinite(quad_east)) and np.all(np.isfinite(quad_north))):
                continue
            whole = _ring_area(quad_east, quad_north, 4)
            if whole <= 0.0:
                continue
            first_column = max(0, int(np.floor((quad_east.min() - west) / size)))
            last_column = min(n_columns - 1, int(np.floor((quad_east.max() - west) / size)))
            first_row = max(0, int(np.floor((north - quad_north.max()) / size)))
            last_row = min(n_rows - 1, int(np.floor((north - quad_north.min()) / size)))
            for cell_row in range(first_row, last_row + 1):
                top = north - cell_row * size
                for cell_column in range(first_column, last_column + 1):
                    if not inside[cell_row, cell_column]:
                        continue
                    edge = west + cell_column * size
                    left[:4] = quad_east
                    low[:4] = quad_north
                    corners = 4
                    corners = _clip(left, low, corners, other_left, other_low, edge, 1.0, True)
                    corners = _clip(other_left, other_low, corners, left, low, edge + size, -1.0, True)
                    corners = _clip(left, low, corners, other_left, other_low, top - size, 1.0, False)
                    corners = _clip(other_left, other_low, corners, left, low, top, -1.0, False)
                    if corners < 3:
                        continue
                    piece = _ring_area(left, low, corners)
                    if piece <= 1e-12 * whole:
                        continue
                    touched[row, column] = True
                    value = values[row, column]
                    if not np.isnan(value):
                        area[cell_row, cell_column] += piece
                        volume[cell_row, cell_column] += piece * value
                        amount[cell_row, cell_column] += piece / whole * value


@numba.njit(cache=True, nogil=True)
def _clip(
    eastings: np.ndarray,
    northings: np.ndarray,
    corners: int,
    clipped_eastings: np.ndarray,
    clipped_northings: np.ndarray,
    limit: float,
    side: float,
    across: bool,
) -> int:
    """Cut a convex ring by one straight edge (Sutherland and Hodgman, 1974); return how many corners are left."""
    number = 0
    for corner in range(corners):
        before = corners - 1 if corner == 0 else corner - 1
        here = side * ((eastings[corner] if across else northings[corner]) - limit)
        there = side * ((eastings[before] if across else northings[before]) - limit)
        if (here >= 0.0) != (there >= 0.0):
            share = there / (there - here)
            clipped_eastings[number] = eastings[before] + share * (eastings[corner] - eastings[before])
            clipped_northings[number] = northings[before] + share * (northings[corner] - northings[before])
            number += 1
        if here >= 0.0:
            clipped_eastings[number] = eastings[corner]
            clipped_northings[number] = northings[corner]
            number += 1
    return number


@numba.njit(cache=True, nogil=True)
def _ring_area(eastings: np.ndarray, northings: np.ndarray, corners: int) -> float:
    # From the first corner, so that coordinates of millions of metres do not cancel.
    total = 0.0
    for corner in range(1, corners - 1):
        total += (eastings[corner] - eastings[0]) * (northings[corner + 1] - northings[0])
        total -= (eastings[corner + 1] - eastings[0]) * (northings[corner] - northings[0])
    return abs(total) / 2.0
