"""Coverage: the exact share of every cell of a raster that a polygon covers."""

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry


def coverage(
    geometry: BaseGeometry, west: float, north: float, cell_size: float, n_rows: int, n_columns: int
) -> np.ndarray:
    """Return the exact share of every raster cell that a polygon covers.

    Parameters
    ----------
    geometry : Polygon or MultiPolygon
        In metres.
    west, north : float
        Outer corner of the raster in metres.
    cell_size : float
        Side of a cell in metres.
    n_rows, n_columns : int
        Shape of the raster.

    Returns
    -------
    ndarray of float, shape (n_rows, n_columns)
        Between 0 and 1.

    Notes
    -----
    The polygon is quartered with its box until a box is empty, full or one cell, so that only cells on
    the boundary are ever intersected, each with a small piece of it.
    """
    share = np.zeros((n_rows, n_columns))
    pieces = np.array([geometry], dtype=object)
    boxes = np.array([[0, n_rows, 0, n_columns]])
    while len(boxes):
        box_area = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2]) * cell_size**2
        filled = shapely.area(pieces) / box_area
        full = filled > 1 - 1e-12
        for first_row, last_row, first_column, last_column in boxes[full]:
            share[first_row:last_row, first_column:last_column] = 1.0
        single = ~full & ((boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2]) == 1)
        # Below a millionth of a cell a share is rounding of the boundary's coordinates, not area.
        share[boxes[single, 0], boxes[single, 2]] = np.where(filled[single] > 1e-6, filled[single], 0.0)
        split = ~full & ~single & (filled > 0)
        boxes, pieces = _quarter(boxes[split], pieces[split], west, north, cell_size)
    return share


def _quarter(
    boxes: np.ndarray, pieces: np.ndarray, west: float, north: float, cell_size: float
) -> tuple[np.ndarray, np.ndarray]:
    if not len(boxes):
        return boxes, pieces
    first_row, last_row, first_column, last_column = boxes.T
    middle_row = np.maximum((first_row + last_row) // 2, first_row + 1)
    middle_column = np.maximum((first_column + last_column) // 2, first_column + 1)
    quarters, parents = [], []
    for rows in ((first_row, middle_row), (middle_row, last_row)):
        for columns in ((first_column, middle_column), (middle_column, last_column)):
            quarters.append(np.column_stack([*rows, *columns]))
            parents.append(pieces)
    boxes, pieces = np.concatenate(quarters), np.concatenate(parents)
    real = (boxes[:, 1] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 2])
    boxes, pieces = boxes[real], pieces[real]
    squares = shapely.box(
        west + boxes[:, 2] * cell_size,
        north - boxes[:, 1] * cell_size,
        west + boxes[:, 3] * cell_size,
        north - boxes[:, 0] * cell_size,
    )
    pieces = shapely.intersection(pieces, squares)
    occupied = shapely.area(pieces) > 0
    return boxes[occupied], pieces[occupied]
