"""Distance and density of features, measured exactly at the centres of a lattice's cells.

Every feature is spread over the cells it can reach, band by band of rows that fit in cache. Nothing is snapped
to cells: a distance is that of the feature as it was given. What a cell gets hangs on its own centre and on
the features, in their order: any rows of a grid have the bits of the whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rtmkc.checks import check_positive
from rtmkc.raster.coverage import BAND_CELLS
from rtmkc.raster.kernels import (
    PADDING,
    add_coverage,
    fill_polygons,
    gather_density,
    gather_distance,
    members_of_bands,
    splat_points,
    splat_quartic,
    splat_segments,
)
from rtmkc.raster.shapes import Shapes


class Lattice(Protocol):
    """What can be measured on: a grid, or consecutive rows of one."""

    @property
    def cell_size(self) -> float:
        """Side of a cell in metres."""

    @property
    def west(self) -> float:
        """Western edge of the whole grid in metres."""

    @property
    def north(self) -> float:
        """Northern edge of the whole grid in metres, also of some rows of it."""

    @property
    def column_eastings(self) -> np.ndarray:
        """Easting of the cell centres of each column in metres; shape (n_columns,)."""

    @property
    def row_northings(self) -> np.ndarray:
        """Northing of the cell centres of each row in metres, falling; shape (n_rows,)."""

    @property
    def inside(self) -> np.ndarray:
        """Which raster cells are measured; bool, shape (n_rows, n_columns)."""


def nearest_distance(lattice: Lattice, geometries: np.ndarray | Shapes, reach: float) -> np.ndarray:
    """Return the distance from every cell centre to the nearest feature.

    Parameters
    ----------
    lattice : Lattice
        A `Grid`, or a strip of its rows.
    geometries : ndarray of shapely geometries, or Shapes
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
    >>> from rtmkc.raster.grid import Grid
    >>> grid = Grid.cover(StudyArea.from_geometry(shapely.box(0, 0, 40, 10), crs="EPSG:26915"), cell_size=10)
    >>> nearest_distance(grid, shapely.points([[5.0, 5.0]]), reach=25)
    array([ 0., 10., 20., inf])
    """
    reach = check_positive("reach", reach)
    shapes = geometries if isinstance(geometries, Shapes) else Shapes.of(geometries)
    size = lattice.cell_size
    distance = np.empty(int(np.count_nonzero(lattice.inside)))
    for band in _bands(lattice, shapes, reach):
        squared = band.scratch(np.inf)
        at = (band.eastings, band.northings, size)
        # Each is compiled when the first feature of its form is met.
        if len(band.points):
            splat_points(shapes.points, band.points, *at, reach, squared)
        if len(band.segments):
            splat_segments(shapes.segments, band.segments, *at, reach, squared)
        if len(band.polygons):
            splat_segments(shapes.edges, band.edges, *at, reach, squared)
            fill_polygons(shapes.edges, shapes.offsets, band.polygons, *at, squared)
        gather_distance(squared, band.inside, reach, distance[band.cells])
    return distance


def quartic_density(lattice: Lattice, geometries: np.ndarray | Shapes, bandwidth: float) -> np.ndarray:
    """Return the kernel density of features at every cell centre.

    Parameters
    ----------
    lattice : Lattice
        A `Grid`, or a strip of its rows.
    geometries : ndarray of shapely geometries, or Shapes
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
    pieces of at most half a cell and polygons into quarters of cells, each at its exact weight.
    No edge correction: features beyond the boundary are read instead, as far as `bandwidth`.

    The terms of a cell are added in a fixed order: distinct places of points, with their number, in order of
    first appearance; pieces of lines; quarters of cells from the north-west, row by row.
    """
    bandwidth = check_positive("bandwidth", bandwidth)
    shapes = geometries if isinstance(geometries, Shapes) else Shapes.of(geometries)
    density = np.empty(int(np.count_nonzero(lattice.inside)))
    scale = 3.0 / (np.pi * bandwidth**2) * 1e6 / bandwidth**4
    for band in _bands(lattice, shapes, bandwidth):
        total = band.scratch(0.0)
        for points, weights in _weigh(lattice, shapes, band, bandwidth):
            splat_quartic(points, weights, band.eastings, band.northings, lattice.cell_size, bandwidth, total)
        gather_density(total, band.inside, scale, density[band.cells])
    return density


def weighted_points(
    lattice: Lattice, geometries: np.ndarray | Shapes, *, margin: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features as points with weights: points their number, lines metres, polygons square metres.

    Parameters
    ----------
    lattice : Lattice
        A `Grid`, or a strip of its rows.
    geometries : ndarray of shapely geometries, or Shapes
        Points, lines or polygons.
    margin : float
        Metres around the cell centres; all that lies within it is there, and little that lies farther away.

    Returns
    -------
    eastings, northings : ndarray of float
        Metres.
    weights : ndarray of float
        Weight of each point.
    """
    shapes = geometries if isinstance(geometries, Shapes) else Shapes.of(geometries)
    weighed = [
        np.column_stack(part)
        for band in _bands(lattice, shapes, margin, whole=True)
        for part in _weigh(lattice, shapes, band, margin)
    ]
    table = np.concatenate([np.empty((0, 3)), *weighed])
    return tuple(np.ascontiguousarray(table.T))  # type: ignore[return-value]


@dataclass(frozen=True, eq=False)
class _Band:
    """Some rows of a lattice, their part of the cell vector, and the features that can reach them."""

    room: np.ndarray
    eastings: np.ndarray
    northings: np.ndarray
    inside: np.ndarray
    cells: slice
    points: np.ndarray
    segments: np.ndarray
    edges: np.ndarray
    polygons: np.ndarray

    def scratch(self, value: float) -> np.ndarray:
        """A raster of the band and its padding, in memory that all bands share, filled with `value`."""
        raster = self.room[: len(self.northings)]
        raster.fill(value)
        return raster


def _bands(lattice: Lattice, shapes: Shapes, reach: float, *, whole: bool = False) -> Iterator[_Band]:
    size, northings, inside = lattice.cell_size, lattice.row_northings, lattice.inside
    n_rows, n_columns = inside.shape
    beyond = lattice.column_eastings[-1] + size * np.arange(1, PADDING + 1)
    eastings = np.concatenate([lattice.column_eastings, beyond])
    # Halos are measured again for every band, so that a band is no lower than its halos.
    step = n_rows if whole else max(BAND_CELLS // n_columns, int(np.ceil(2 * reach / size)))
    ends = (
        (shapes.points[:, 1], shapes.points[:, 1]),
        (shapes.segments[:, 1], shapes.segments[:, 3]),
        (shapes.edges[:, 1], shapes.edges[:, 3]),
        (shapes.extents[:, 0], shapes.extents[:, 1]),
    )
    # A quarter of a cell in reach may have its polygon half a quarter farther away.
    members = [members_of_bands(one, other, northings, size, step, reach + size / 2) for one, other in ends]
    room = np.empty((min(step, n_rows), len(eastings)))
    first_cell = 0
    for number, row in enumerate(range(0, n_rows, step)):
        part = inside[row : row + step]
        cells = slice(first_cell, first_cell + int(np.count_nonzero(part)))
        near = [items[offsets[number] : offsets[number + 1]] for offsets, items in members]
        yield _Band(room, eastings, northings[row : row + step], part, cells, *near)
        first_cell = cells.stop


def _weigh(
    lattice: Lattice, shapes: Shapes, band: _Band, margin: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Points (n, 2) and weights of what is near a band: points, pieces of lines, quarters of cells."""
    step = lattice.cell_size / 2
    if len(band.points):
        yield shapes.points[band.points], shapes.counts[band.points]
    if len(band.segments):
        yield _cut_segments(shapes.segments[band.segments], step)
    if len(band.polygons):
        yield _cut_polygons(lattice, shapes, band, margin, step)


def _cut_segments(segments: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Middle and length of equal pieces of at most `step`."""
    length = np.hypot(segments[:, 2] - segments[:, 0], segments[:, 3] - segments[:, 1])
    number = np.maximum(np.ceil(length / step), 1).astype(np.int64)
    first = np.repeat(np.cumsum(number) - number, number)
    share = ((np.arange(len(first)) - first + 0.5) / np.repeat(number, number))[:, None]
    starts, runs = segments[:, :2], segments[:, 2:] - segments[:, :2]
    middle = np.repeat(starts, number, axis=0) + share * np.repeat(runs, number, axis=0)
    return middle, np.repeat(length / number, number)


def _cut_polygons(
    lattice: Lattice, shapes: Shapes, band: _Band, margin: float, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """Middle and covered area of the quarters of cells within `margin`, over all polygons together."""
    west, north = lattice.west, lattice.north
    columns = (np.array([band.eastings[0] - margin, band.eastings[-PADDING - 1] + margin]) - west) / step
    rows = (north - np.array([band.northings[0] + margin, band.northings[-1] - margin])) / step
    first_column, last_column = int(np.floor(columns[0])) - 1, int(np.floor(columns[1])) + 1
    first_row, last_row = int(np.floor(rows[0])) - 1, int(np.floor(rows[1])) + 1
    total = np.zeros((last_row - first_row + 1, last_column - first_column + 1))
    add_coverage(
        shapes.edges, shapes.offsets, band.polygons, west, north, step, first_row, first_column, total
    )
    row, column = np.nonzero(total)
    eastings = west + (first_column + column + 0.5) * step
    northings = north - (first_row + row + 0.5) * step
    return np.column_stack([eastings, northings]), total[row, column] * step**2
