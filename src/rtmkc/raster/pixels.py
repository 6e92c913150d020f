"""Pixels of a raster become cells of a grid: exact means by area, and amounts of which none is lost."""

from dataclasses import dataclass

import numpy as np
import pyproj

from rtmkc.errors import CapacityError, InputError
from rtmkc.inputs.rasters import RasterLayer, transformed
from rtmkc.raster.grid import Grid
from rtmkc.raster.kernels import share_pixels

MAX_PIXELS = 100_000_000
"""Pixels over the area that fit in memory with their corners; finer rasters are refused before they are read."""
OUTSIDE = "outside the study area"
NO_DATA = "no data"


@dataclass(frozen=True, eq=False)
class MeasuredRaster:
    """A raster on a grid.

    Attributes
    ----------
    layer : RasterLayer
        Its ledger counts the pixels used, without data, and outside.
    mean : ndarray of float, shape (n_cells,)
        Mean of the pixels in each cell, by area; NaN where the cell has none with data.
    amount : ndarray of float, shape (n_cells,)
        Sum of the pixels, each shared among the cells by area; 0 where there are no data.
    """

    layer: RasterLayer
    mean: np.ndarray
    amount: np.ndarray


def measure_raster(grid: Grid, layer: RasterLayer) -> MeasuredRaster:
    """Return the mean and the amount of a raster in every cell of a grid.

    Parameters
    ----------
    grid : Grid
    layer : RasterLayer
        In any system; only the part over the grid is read.

    Returns
    -------
    MeasuredRaster

    Raises
    ------
    InputError
        If no pixel with data touches a cell of the grid.
    CapacityError
        If the part over the grid has more than `MAX_PIXELS` pixels.

    Notes
    -----
    The corners of the pixels are projected into the grid's system, and the quadrilaterals between them are
    cut by the cells exactly: no pixel is counted by its centre. Cells count whole, also where the study area
    covers a part of them. A mean is over the part of the cell with data.
    """
    to_raster = pyproj.Transformer.from_crs(grid.crs, layer.crs, always_xy=True)
    east, south = grid.west + grid.n_columns * grid.cell_size, grid.north - grid.n_rows * grid.cell_size
    box = to_raster.transform_bounds(grid.west, south, east, grid.north, densify_pts=51)
    window = layer.window(*box) if np.all(np.isfinite(box)) else None
    if window is None:
        raise _no_overlap(layer)
    if window.width * window.height > MAX_PIXELS:
        raise CapacityError(
            f"Invalid raster {layer.name!r}. {window.width * window.height:,} pixels lie over the study area; at "
            f"most {MAX_PIXELS:,} fit in memory. Make its pixels larger first."
        )
    values = layer.read(window)
    columns, rows = np.meshgrid(
        np.arange(window.width + 1) + window.col_off, np.arange(window.height + 1) + window.row_off
    )
    eastings, northings = transformed(layer.transform, columns, rows)
    if layer.crs != grid.crs:
        to_grid = pyproj.Transformer.from_crs(layer.crs, grid.crs, always_xy=True)
        eastings, northings = to_grid.transform(eastings, northings)
    area, volume, amount = (np.zeros(grid.inside.shape) for _ in range(3))
    touched = np.zeros(values.shape, dtype=bool)
    share_pixels(
        np.ascontiguousarray(eastings), np.ascontiguousarray(northings), values, grid.west, grid.north,
        grid.cell_size, grid.inside, area, volume, amount, touched,
    )  # fmt: skip
    used = int((touched & ~np.isnan(values)).sum())
    no_data = int((touched & np.isnan(values)).sum())
    counted = layer.account({OUTSIDE: len(layer) - used - no_data, NO_DATA: no_data})
    if not used:
        raise _no_overlap(counted)
    area = grid.to_vector(area)
    mean = np.full(grid.n_cells, np.nan)
    known = area > 0
    mean[known] = grid.to_vector(volume)[known] / area[known]
    return MeasuredRaster(counted, mean, grid.to_vector(amount))


def _no_overlap(layer: RasterLayer) -> InputError:
    return InputError(
        f"Invalid raster {layer.name!r}. None of its {layer.n_rows * layer.n_columns:,} pixels with data lies in the "
        f"study area ({layer.ledger.sentence()}); check its coordinate reference system and that it is of the same city."
    )
