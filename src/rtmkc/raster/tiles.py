"""Frame: where the cells of a grid are, before any of them is in memory; and strips of its rows.

A `Grid` holds an inside flag and a share for every cell. A frame of a hundred million cells does not fit in
memory beside its codes, but its strips do, one after the other.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyproj
import shapely
from affine import Affine

from rtmkc.errors import DataWarning, InputError
from rtmkc.inputs.layers import as_layer
from rtmkc.raster.area import StudyArea
from rtmkc.raster.coverage import coverage
from rtmkc.units import format_length, parse_length

STRIP_CELLS = 2**20
"""Raster cells of a strip, about: with all that is measured on it, it takes some tens of megabytes."""


@dataclass(frozen=True, eq=False)
class Frame:
    """The rows and columns of square cells over a study area, without their cells.

    Attributes
    ----------
    area : StudyArea
        With holes smaller than a cell closed.
    cell_size : float
        Side of a cell in metres.
    west, north : float
        Outer corner of the first raster cell, in metres of ``area.crs``.
    n_rows, n_columns : int
        Shape of the raster.
    block_length : float or None
        Metres; what "1 block" means.

    Examples
    --------
    >>> import shapely
    >>> area = StudyArea.from_geometry(shapely.box(0, 0, 700_000, 700_000), crs="EPSG:26915")
    >>> frame = Frame.cover(area, cell_size=70)
    >>> f"{frame.n_rows * frame.n_columns:,}"
    '100,000,000'
    >>> strip = next(frame.strips())
    >>> strip.n_rows, strip.n_cells
    (105, 1050000)
    """

    area: StudyArea
    cell_size: float
    west: float
    north: float
    n_rows: int
    n_columns: int
    block_length: float | None

    @classmethod
    def cover(
        cls,
        area: StudyArea,
        *,
        block_length: float | str | None = None,
        cell_size: float | str | None = None,
        streets: Any = None,
    ) -> "Frame":
        """Cover a study area with rows and columns; parameters and errors as in `Grid.cover`."""
        return lay_frame(area, block_length, cell_size, streets)[0]

    @property
    def crs(self) -> pyproj.CRS:
        """Coordinate reference system, projected, in metres."""
        return self.area.crs

    @property
    def transform(self) -> Affine:
        """Affine transform from (column, row) to (easting, northing), as rasterio writes it."""
        return Affine(self.cell_size, 0.0, self.west, 0.0, -self.cell_size, self.north)

    @property
    def column_eastings(self) -> np.ndarray:
        """Easting of the cell centres of each column in metres; shape (n_columns,)."""
        return self.west + (np.arange(self.n_columns) + 0.5) * self.cell_size

    @property
    def row_northings(self) -> np.ndarray:
        """Northing of the cell centres of each row in metres; shape (n_rows,)."""
        return self.north - (np.arange(self.n_rows) + 0.5) * self.cell_size

    def spans(self) -> Iterator[tuple[int, int]]:
        """Give the first row and the number of rows of every strip."""
        most = max(1, -(-STRIP_CELLS // self.n_columns))
        for first_row in range(0, self.n_rows, most):
            yield first_row, min(most, self.n_rows - first_row)

    def strips(self) -> Iterator["Strip"]:
        """Give strips of rows from the north, each measured from the study area when its turn comes."""
        first_cell = 0
        for first_row, n_rows in self.spans():
            strip = Strip(self, first_row, share_of_rows(self, first_row, n_rows) > 0, first_cell)
            first_cell += strip.n_cells
            yield strip


@dataclass(frozen=True, eq=False)
class Strip:
    """Some consecutive rows of a frame: all that is measured at their cells is what the whole grid gives.

    Attributes
    ----------
    frame : Frame
    first_row : int
        Of the frame.
    inside : ndarray of bool, shape (n_rows, n_columns)
        Which raster cells are cells of the area.
    first_cell : int
        Number of the first cell in the cell vector of the whole.
    """

    frame: Frame
    first_row: int
    inside: np.ndarray = field(repr=False)
    first_cell: int

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.inside)

    @property
    def n_cells(self) -> int:
        """Number of cells of the area."""
        return int(np.count_nonzero(self.inside))

    @property
    def cells(self) -> slice:
        """Its part of the cell vector of the whole."""
        return slice(self.first_cell, self.first_cell + self.n_cells)

    @property
    def rows(self) -> slice:
        """Its part of the raster of the whole."""
        return slice(self.first_row, self.first_row + self.n_rows)

    @property
    def cell_size(self) -> float:
        """Side of a cell in metres."""
        return self.frame.cell_size

    @property
    def west(self) -> float:
        """Western edge of the frame."""
        return self.frame.west

    @property
    def north(self) -> float:
        """Northern edge of the frame, from which all rows are counted."""
        return self.frame.north

    @property
    def column_eastings(self) -> np.ndarray:
        """Easting of the cell centres of each column in metres; shape (n_columns,)."""
        return self.frame.column_eastings

    @property
    def row_northings(self) -> np.ndarray:
        """Northing of the cell centres of each row in metres; shape (n_rows,)."""
        return self.frame.row_northings[self.rows]

    def to_vector(self, raster: np.ndarray) -> np.ndarray:
        """Take the cells of the area out of a raster of the strip."""
        return raster[self.inside]


def share_of_rows(frame: Frame, first_row: int, n_rows: int) -> np.ndarray:
    """Return the share of every raster cell of some rows that lies inside the area."""
    return coverage(
        frame.area.geometry,
        frame.west,
        frame.north,
        frame.cell_size,
        n_rows,
        frame.n_columns,
        first_row=first_row,
    )


def lay_frame(
    area: StudyArea,
    block_length: float | str | None,
    cell_size: float | str | None,
    streets: Any,
) -> tuple[Frame, tuple[str, ...]]:
    """Lay rows and columns over a study area, and say what was decided; see `Grid.cover`."""
    if not isinstance(area, StudyArea):
        raise InputError(
            f"Invalid area of type {type(area).__name__}. Give a StudyArea; StudyArea.from_file(path) reads one."
        )
    notes: list[str] = []
    block = parse_length(block_length, name="block_length") if block_length is not None else None
    size = parse_length(cell_size, name="cell_size") if cell_size is not None else None
    if block is None and size is None:
        if streets is None:
            raise InputError(
                "Invalid grid. Give block_length= (such as '450 ft'), cell_size=, or streets= to measure blocks."
            )
        block = suggest_block_length(streets, area)
        notes.append(f"block length {format_length(block)} measured: the median block of the street layer")
    if size is None:
        assert block is not None  # one of the two is set above
        size = block / 2
        notes.append(f"cell {format_length(size)} = half a block")
    west, south, east, north = area.geometry.bounds
    if size**2 > area.area_m2:
        raise InputError(
            f"Invalid cell_size {size:,.1f} m. A cell is larger than the whole study area "
            f"({area.area_m2:,.0f} m2); choose a smaller cell or block."
        )
    n_columns, n_rows = _steps(east - west, size), _steps(north - south, size)
    closed_area, closed = area.without_small_holes(size**2)
    if closed:
        notes.append(f"{closed:,} holes smaller than a cell closed")
    frame = Frame(closed_area, size, float(west), float(south + n_rows * size), n_rows, n_columns, block)
    return frame, tuple(notes)


def suggest_block_length(streets: Any, area: StudyArea) -> float:
    """Return the median length in metres of the blocks of a street layer inside the area.

    A block is a line of the layer; layers of whole streets, not split at crossings, give a value that
    is too long and a warning.

    Raises
    ------
    InputError
        If no line of the layer touches the area.
    """
    layer = as_layer(streets, name="streets")
    lines = layer.to_crs(area.crs).frame.geometry.explode(index_parts=False)
    lines = lines[(lines.geom_type == "LineString") & shapely.intersects(lines.to_numpy(), area.geometry)]
    lengths = lines.length[lines.length > 0]
    if lengths.empty:
        raise InputError(
            f"Invalid streets {layer.source!r}. No line of it lies in the study area; give block_length= instead."
        )
    median = float(lengths.median())
    if median > 400:
        warnings.warn(
            f"the median line of the street layer is {format_length(median)}, long for a block: its lines may not be "
            "split at crossings; give block_length= if you know it",
            DataWarning,
            stacklevel=4,
        )
    return median


def _steps(extent: float, size: float) -> int:
    # An extent that is a whole number of cells up to rounding must not gain a row of slivers.
    return max(1, int(np.ceil(extent / size - 1e-9)))
