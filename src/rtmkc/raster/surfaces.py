"""Distance and density of features, measured exactly at the centres of a grid's cells.

Points are splatted onto the cells in reach; lines and polygons are measured by a tree of their
geometries. Nothing is snapped to cells: a distance is that of the feature as it was given.
"""

import numpy as np
import shapely

from rtmkc.checks import check_positive
from rtmkc.raster.coverage import coverage
from rtmkc.raster.grid import Grid
from rtmkc.raster.kernels import splat_distance, splat_quartic


def nearest_distance(grid: Grid, geometries: np.ndarray, reach: float) -> np.ndarray:
    """Return the distance from every cell centre to the nearest feature.

    Parameters
    ----------
    grid : Grid
        The grid.
    geometries : ndarray of shapely geometries
        Points, lines or polygons (also multi), in the grid's system. Inside a polygon the distance is 0.
    reach : float
        Metres; farther cells get infinity.

    Returns
    -------
    ndarray of float, shape (n_cells,)
        Metres, at most `reach`, or infinity.

    Examples
    --------
    >>> import shapely
    >>> from rtmkc.raster.area import StudyArea
    >>> grid = Grid.cover(StudyArea.from_geometry(shapely.box(0, 0, 40, 10), crs="EPSG:26915"), cell_size=10)
    >>> nearest_distance(grid, shapely.points([[5.0, 5.0]]), reach=25)
    array([ 0., 10., 20., inf])
    """
    reach = check_positive("reach", reach)
    points, shapes = _split(geometries)
    squared = np.full(grid.inside.shape, np.inf)
    if len(points):
        splat_distance(points[:, 0], points[:, 1], grid.west, grid.north, grid.cell_size, reach, squared)
    distance = np.sqrt(grid.to_vector(squared))
    if len(shapes):
        centres = shapely.points(grid.eastings, grid.northings)
        tree = shapely.STRtree(shapes)
        (cells, _), found = tree.query_nearest(
            centres, max_distance=reach * (1 + 1e-12), return_distance=True, all_matches=False
        )
        found = np.where(found <= reach, found, np.inf)
        distance[cells] = np.minimum(distance[cells], found)
    return distance


def quartic_density(grid: Grid, geometries: np.ndarray, bandwidth: float) -> np.ndarray:
    """Return the kernel density of features at every cell centre.

    Parameters
    ----------
    grid : Grid
        The grid.
    geometries : ndarray of shapely geometries
        Points count 1 each, lines their length in metres, polygons their area in square metres.
    bandwidth : float
        Radius of the kernel in metres.

    Returns
    -------
    ndarray of float, shape (n_cells,)
        Features (or metres, or square metres) per square kilometre.

    Notes
    -----
    The quartic (biweight) kernel, ``3 / (pi d^2) * (1 - r^2 / d^2)^2`` for ``r < d``. Lines are cut into
    pieces of at most half a cell and polygons into squares of half a cell, each at its exact weight.
    No edge correction: features beyond the boundary are read instead, as far as `bandwidth`.
    """
    bandwidth = check_positive("bandwidth", bandwidth)
    eastings, northings, weights = weighted_points(grid, geometries, margin=bandwidth)
    total = np.zeros(grid.inside.shape)
    splat_quartic(eastings, northings, weights, grid.west, grid.north, grid.cell_size, bandwidth, total)
    return grid.to_vector(total) * (3.0 / (np.pi * bandwidth**2) * 1e6)


def weighted_points(
    grid: Grid, geometries: np.ndarray, *, margin: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features as points with weights: 1 a point, metres of line, square metres of polygon.

    Returns
    -------
    eastings, northings : ndarray of float
        Metres.
    weights : ndarray of float
        Weight of each point.
    """
    points, shapes = _split(geometries)
    parts = [np.column_stack([points, np.ones(len(points))])]
    if len(shapes):
        parts += _weigh_shapes(grid, shapes, margin)
    table = np.concatenate(parts)
    return (
        np.ascontiguousarray(table[:, 0]),
        np.ascontiguousarray(table[:, 1]),
        np.ascontiguousarray(table[:, 2]),
    )


def _weigh_shapes(grid: Grid, shapes: np.ndarray, margin: float) -> list[np.ndarray]:
    step = grid.cell_size / 2
    flat = shapely.get_parts(shapely.get_parts(shapes))
    dimension = shapely.get_dimensions(flat)
    weighed = []
    lines = shapely.segmentize(flat[dimension == 1], step)
    for line in lines:
        vertices = shapely.get_coordinates(line)
        lengths = np.hypot(*np.diff(vertices, axis=0).T)
        weighed.append(np.column_stack([(vertices[1:] + vertices[:-1]) / 2, lengths]))
    west, north = grid.west - margin, grid.north + margin
    for polygon in flat[dimension == 2]:
        # The window of half-cells is fitted to each polygon: small polygons cost little.
        left, bottom, right, top = polygon.bounds
        first_column, first_row = int((left - west) // step), int((north - top) // step)
        n_columns = int((right - west) // step) - first_column + 1
        n_rows = int((north - bottom) // step) - first_row + 1
        share = coverage(
            polygon, west + first_column * step, north - first_row * step, step, n_rows, n_columns
        )
        row, column = np.nonzero(share)
        weighed.append(
            np.column_stack(
                [
                    west + (first_column + column + 0.5) * step,
                    north - (first_row + row + 0.5) * step,
                    share[row, column] * step**2,
                ]
            )
        )
    return weighed


def _split(geometries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of all (multi)points, and everything else as it is."""
    geometries = np.asarray(geometries, dtype=object)
    is_point = np.isin(shapely.get_type_id(geometries), [0, 4])
    return shapely.get_coordinates(geometries[is_point]), geometries[~is_point]
