"""Coverage: the exact share of every cell of a raster that a polygon covers."""

import numpy as np
from shapely.geometry.base import BaseGeometry

from rtmkc.raster.kernels import add_coverage
from rtmkc.raster.shapes import Shapes

BAND_CELLS = 2**17
"""Cells that are worked on at a time: a megabyte, which stays in cache."""


def coverage(
    geometry: BaseGeometry,
    west: float,
    north: float,
    cell_size: float,
    n_rows: int,
    n_columns: int,
    *,
    first_row: int = 0,
) -> np.ndarray:
    """Return the exact share of every raster cell that a polygon covers.

    Parameters
    ----------
    geometry : Polygon or MultiPolygon
        Valid, in metres.
    west, north : float
        Outer corner of the raster in metres.
    cell_size : float
        Side of a cell in metres.
    n_rows, n_columns : int
        Shape of the raster.
    first_row : int
        Rows of the raster left out before the first that is returned. Any rows have the shares, to the last
        bit, that they have among all.

    Returns
    -------
    ndarray of float, shape (n_rows, n_columns)
        Between 0 and 1.

    Notes
    -----
    Green's theorem in every cell: time grows with the cells on the boundary and, slightly, with all cells.

    Examples
    --------
    >>> import shapely
    >>> coverage(shapely.box(0, 0, 15, 10), west=0, north=10, cell_size=10, n_rows=1, n_columns=3)
    array([[1. , 0.5, 0. ]])
    """
    shapes = Shapes.of([geometry])
    # The parts of one geometry do not overlap: their edges are those of one polygon.
    offsets = np.array([0, len(shapes.edges)])
    share = np.zeros((n_rows, n_columns))
    step = max(1, BAND_CELLS // n_columns)
    for row in range(0, n_rows, step):
        part = share[row : row + step]
        add_coverage(
            shapes.edges, offsets, np.zeros(1, np.int64), west, north, cell_size, first_row + row, 0, part
        )
    return share
