"""Risk of cells becomes risk of street segments, and nothing is lost or counted twice."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyproj
import shapely
from scipy.sparse import csc_array, csr_array, diags_array

from rtmkc.checks import check_positive
from rtmkc.errors import InputError
from rtmkc.places.corridors.kernels import count_near_cells, middles_of_pieces
from rtmkc.places.corridors.network.streets import StreetNetwork
from rtmkc.raster.grid import Grid

RADIUS_M, LEAST_BANDWIDTH_M, MOST_SPACING_M = 150.0, 15.0, 25.0


@dataclass(frozen=True, eq=False)
class Allocation:
    """How the cells of a grid share their risk out to the segments of a street network.

    Attributes
    ----------
    weights : scipy.sparse.csr_array, shape (n_cells, n_segments)
        Each row sums to 1, or is empty where no street is in range.
    has_street : ndarray of bool, shape (n_cells,)
        Which cells have a street in range.
    radius_m, bandwidth_m, spacing_m : float
        Range, standard deviation of the kernel and distance between points of a street, in metres.
    """

    weights: csr_array = field(repr=False)
    has_street: np.ndarray = field(repr=False)
    radius_m: float
    bandwidth_m: float
    spacing_m: float

    def to_segments(self, cell_values: Any) -> np.ndarray:
        """Return every segment's share, shape (n_segments,); with `residual` it adds up to the total."""
        values = self._check(cell_values)
        allocated = np.asarray(self.weights.T @ values)
        apart = abs(allocated.sum() + self.residual(values) - values.sum())
        assert apart <= 1e-9 * max(np.abs(values).sum(), 1e-300), "allocation must conserve the total"
        return allocated

    def residual(self, cell_values: Any) -> float:
        """Return the total of the cells that have no street in range."""
        return float(self._check(cell_values)[~self.has_street].sum())

    def reached(self) -> np.ndarray:
        """Return which segments take a share of any cell, shape (n_segments,): the streets of the area."""
        reached: np.ndarray = np.diff(self.weights.tocsc().indptr) > 0
        return reached

    def _check(self, cell_values: Any) -> np.ndarray:
        values = np.asarray(cell_values, dtype=float)
        if values.shape != (len(self.has_street),):
            raise InputError(
                f"Invalid cell_values of shape {values.shape}. "
                f"One number a cell is needed: ({len(self.has_street)},)."
            )
        if not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).sum())
            raise InputError(f"Invalid cell_values: {bad} are not finite. Give every cell a number.")
        return values


def allocate(
    grid: Grid,
    network: StreetNetwork,
    *,
    radius_m: float | None = None,
    bandwidth_m: float | None = None,
    spacing_m: float | None = None,
) -> Allocation:
    """Split every cell among the street segments around it.

    Parameters
    ----------
    grid : Grid
        The cells.
    network : StreetNetwork
        The streets, in the grid's coordinate system.
    radius_m : float, optional
        A segment takes part in a cell if one of its points is this near to the cell's centre, in metres; by default
        150, or a cell if that is more.
    bandwidth_m : float, optional
        Standard deviation h of the kernel; by default ``cell / sqrt(6)``, how far the places of a cell are from its
        centre in the root mean square, and at least 15, the way from a house to its centre line.
    spacing_m : float, optional
        Longest piece, in metres, that one point of a street stands for; by default half the bandwidth, at most 25.

    Returns
    -------
    Allocation

    Raises
    ------
    InputError
        If a length is not positive, or network and grid differ in coordinate system.

    Notes
    -----
    A segment is cut into equal pieces of at most `spacing_m`. With d the distance from the centre of cell c
    to the middle of a piece, the segment's claim on the cell is the sum over its pieces within `radius_m` of
    ``exp(-d^2 / (2 h^2)) * length``. Claims are divided by their sum over segments, so that segments and cells
    (with a street in range) have the same total. Disjoint stretches never share risk.

    A wide kernel shares what happens on a street with the streets beside it: with h = 75 m on cells of 61 m the
    streets of a corridor saw twice what was allocated to them. A cell that no street is near goes to the nearest
    ones within `radius_m`, however narrow the kernel is.

    Examples
    --------
    A cell between two streets, one twice as long as the other at the same distance.

    >>> import geopandas as gpd
    >>> from rtmkc.raster.area import StudyArea
    >>> grid = Grid.cover(StudyArea.from_geometry(shapely.box(0, 0, 100, 100), crs=32615), cell_size=100)
    >>> wkt = ["LINESTRING (0 40, 0 60)", "LINESTRING (100 30, 100 70)"]
    >>> lines = gpd.GeoDataFrame(geometry=shapely.from_wkt(wkt), crs=32615)
    >>> allocation = allocate(grid, StreetNetwork.from_layer(lines), bandwidth_m=75, spacing_m=100)
    >>> allocation.to_segments([6.0])
    array([2., 4.])
    """
    radius = check_positive("radius_m", max(RADIUS_M, grid.cell_size) if radius_m is None else radius_m)
    usual = max(grid.cell_size / math.sqrt(6.0), LEAST_BANDWIDTH_M)
    bandwidth = check_positive("bandwidth_m", usual if bandwidth_m is None else bandwidth_m)
    spacing = check_positive(
        "spacing_m", min(MOST_SPACING_M, bandwidth / 2) if spacing_m is None else spacing_m
    )
    if pyproj.CRS(network.crs) != pyproj.CRS(grid.crs):
        raise InputError(
            f"Invalid network in {network.crs.name}. The grid is in {grid.crs.name}; "
            "make the network with crs=grid.crs."
        )
    segment, eastings, northings, share = _points_along(network, spacing)
    index = np.full((grid.n_rows, grid.n_columns), -1, dtype=np.int64)
    index[grid.rows, grid.columns] = np.arange(grid.n_cells)
    starts = np.zeros(network.n_segments + 1, dtype=np.int64)
    nothing_yet = np.empty(0, dtype=np.int64), np.empty(0)
    points = (
        segment,
        eastings,
        northings,
        share,
        index,
        grid.west,
        grid.north,
        grid.cell_size,
        radius,
        bandwidth,
    )
    count_near_cells(*points, starts, *nothing_yet, False)
    starts = np.cumsum(starts)
    cells, claims = np.empty(starts[-1], dtype=np.int64), np.empty(starts[-1])
    count_near_cells(*points, starts, cells, claims, True)
    claim = csc_array((claims, cells, starts), shape=(grid.n_cells, network.n_segments)).tocsr()
    claim.sort_indices()
    total = np.asarray(claim.sum(axis=1)).ravel()
    has_street = total > 0
    scale = np.divide(1.0, total, out=np.zeros_like(total), where=has_street)
    return Allocation((diags_array(scale) @ claim).tocsr(), has_street, radius, bandwidth, spacing)


def metres_of_street(grid: Grid, network: StreetNetwork, *, spacing_m: float = 25.0) -> np.ndarray:
    """Return the metres of street in every cell, to the length of a piece of `spacing_m`; shape (n_cells,)."""
    _, eastings, northings, length = _points_along(network, spacing_m)
    cells = grid.locate(eastings, northings)
    inside = cells >= 0
    return np.bincount(cells[inside], length[inside], minlength=grid.n_cells)


def _points_along(
    network: StreetNetwork, spacing_m: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cut segments into equal pieces; return for each piece its segment, middle and length."""
    lines = network.segments.geometry.to_numpy()
    lengths = network.segments["length_m"].to_numpy()
    n_pieces = np.maximum(np.ceil(lengths / spacing_m - 1e-9), 1).astype(np.int64)
    segment = np.repeat(np.arange(len(lines)), n_pieces)
    starts = np.concatenate([[0], np.cumsum(shapely.get_num_coordinates(lines))])
    middles = np.empty((len(segment), 2))
    middles_of_pieces(shapely.get_coordinates(lines), starts, n_pieces, lengths, middles)
    return segment, middles[:, 0].copy(), middles[:, 1].copy(), (lengths / n_pieces)[segment]
