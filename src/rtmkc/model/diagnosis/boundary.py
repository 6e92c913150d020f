"""What the boundary of a study area does to its factors: bands that reach beyond it, features missing there."""

import math

import numpy as np
import pandas as pd
import shapely
from scipy.ndimage import distance_transform_edt

from rtmkc.raster.coding import is_dense
from rtmkc.raster.factors import Features
from rtmkc.raster.grid import Grid
from rtmkc.raster.surfaces import nearest_distance, quartic_density


def depth_inside(grid: Grid) -> np.ndarray:
    """Return how far the centre of each cell is from the nearest cell outside the area, in metres; (n_cells,)."""
    distance = distance_transform_edt(np.pad(grid.inside, 1))[1:-1, 1:-1]
    return np.asarray(distance[grid.inside] * grid.cell_size)


def share_beyond(grid: Grid, features: Features, column: pd.Series) -> float:
    """Return the share of a column's band that lies outside the area.

    Parameters
    ----------
    grid : Grid
        The grid.
    features : Features
        Of a factor that is no raster.
    column : Series
        Row of `Candidates.columns`: kind, influence_m, cut and n_cells.

    Returns
    -------
    float
        Cells outside, no farther from the area than the column's distance, over all cells marked.
    """
    influence, size = float(column["influence_m"]), grid.cell_size
    around = math.ceil(influence / size)
    inside = np.pad(grid.inside, around)
    ring = (distance_transform_edt(~inside) * size <= influence) & ~inside
    outside = Grid(
        area=grid.area,
        cell_size=size,
        west=grid.west - around * size,
        north=grid.north + around * size,
        n_rows=ring.shape[0],
        n_columns=ring.shape[1],
        block_length=grid.block_length,
        inside=ring,
        share=np.ones(int(ring.sum())),
    )
    shapes = features.frame.geometry.to_numpy()
    if column["kind"] == "proximity":
        marked = np.isfinite(nearest_distance(outside, shapes, influence))
    else:
        density = quartic_density(outside, shapes, influence)
        marked = is_dense(density, column["cut"])
    return float(marked.sum() / (marked.sum() + column["n_cells"]))


def expected_beyond(grid: Grid, features: Features, reach: float) -> float:
    """Return how many features lie within reach outside the area if it is like the strip just inside.

    Parameters
    ----------
    grid : Grid
        The grid.
    features : Features
        Of a factor that is no raster.
    reach : float
        Width of both strips, in metres.
    """
    outline = grid.area.geometry
    core, around = outline.buffer(-reach), outline.buffer(reach)
    shapely.prepare(core)
    near = ~shapely.intersects(core, features.frame.geometry.to_numpy())
    close = int(near.sum()) - features.n_beyond
    return float(close * (around.area - outline.area) / (outline.area - core.area))
