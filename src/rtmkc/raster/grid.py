"""Grid: the only place where cell vectors and rasters convert.

A *cell vector* ``(n_cells,)`` holds the cells of the study area in row-major order; a *raster*
``(n_rows, n_columns)`` is north up. Cells are half-open squares ``[west, east) x (south, north]``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import geopandas as gpd
import numpy as np
import shapely

from rtmkc.errors import CapacityError, InputError
from rtmkc.inputs.layers import Layer, as_layer
from rtmkc.raster.area import StudyArea
from rtmkc.raster.tiles import Frame, Strip, lay_frame, share_of_rows
from rtmkc.units import format_length

MAX_CELLS = 50_000_000
"""Cells of the bounding box that fit in memory beside their codes; larger grids are refused before building."""


def least_cell(area: StudyArea) -> float:
    """Return the smallest cell in metres of which the bounding box of an area holds at most `MAX_CELLS`."""
    west, south, east, north = area.geometry.bounds
    width, height = east - west, north - south
    size = float(np.sqrt(width * height / MAX_CELLS))
    # The last row and column reach beyond the box: of a narrow area, by much of it.
    while np.ceil(width / size) * np.ceil(height / size) > MAX_CELLS:
        size *= 1.001
    return size


def round_up(size: float) -> str:
    """Return a length with four digits that is not shorter than it, as text."""
    unit = 10.0 ** (np.floor(np.log10(size)) - 3)
    return f"{np.ceil(size / unit * (1 - 1e-12)) * unit:,.4g}" if size < 1000 else f"{np.ceil(size):,.0f}"


@dataclass(frozen=True, eq=False)
class Grid(Frame):
    """Square cells over a study area: a `Frame` whose cells are in memory.

    A cell belongs to the area if any of it is inside; `share` is how much. Make one with `cover`.

    Attributes
    ----------
    area, cell_size, west, north, n_rows, n_columns, block_length
        Those of `Frame`.
    inside : ndarray of bool, shape (n_rows, n_columns)
        Which raster cells are cells of the area.
    share : ndarray of float, shape (n_cells,)
        Share of each cell that lies inside the area, greater than 0 and at most 1.
    notes : tuple of str
        What was decided when the grid was made.

    Examples
    --------
    >>> import shapely
    >>> area = StudyArea.from_geometry(shapely.box(0, 0, 300, 200), crs="EPSG:26915")
    >>> grid = Grid.cover(area, cell_size=100)
    >>> grid.n_rows, grid.n_columns, grid.n_cells
    (2, 3, 6)
    >>> grid.locate([50.0, 250.0], [150.0, 10.0])
    array([0, 5])
    """

    inside: np.ndarray = field(repr=False)
    share: np.ndarray = field(repr=False)
    notes: tuple[str, ...] = ()

    @classmethod
    def cover(
        cls,
        area: StudyArea,
        *,
        block_length: float | str | None = None,
        cell_size: float | str | None = None,
        streets: Any = None,
    ) -> "Grid":
        """Cover a study area with cells, from the lower left corner of its bounding box.

        Parameters
        ----------
        area : StudyArea
            The area.
        block_length : length, optional
            The average block, such as "450 ft"; the cell is half of it unless `cell_size` is given.
        cell_size : length, optional
            Side of a cell. Alone, it gives a grid on which lengths in blocks are an error.
        streets : layer, optional
            A street layer; the median length of its blocks is taken where no other length is given.

        Raises
        ------
        InputError
            If no length is given, or a cell is larger than the area.
        CapacityError
            If the bounding box has more than `MAX_CELLS` cells; nothing is built before the check.
        """
        frame, notes = lay_frame(area, block_length, cell_size, streets)
        n_raster = frame.n_rows * frame.n_columns
        if n_raster > MAX_CELLS:
            raise CapacityError(
                f"Invalid cell_size {frame.cell_size:,.3g} m. It would make {n_raster:,} cells over the bounding box; "
                f"at most {MAX_CELLS:,} fit in memory. Choose a cell of at least "
                f"{round_up(least_cell(area))} m, and check the unit of the block length."
            )
        # By strips, as everything is measured: the shares are those of any strip of the frame.
        share = np.concatenate([share_of_rows(frame, *rows) for rows in frame.spans()])
        inside = share > 0
        return cls(
            frame.area,
            frame.cell_size,
            frame.west,
            frame.north,
            frame.n_rows,
            frame.n_columns,
            frame.block_length,
            inside,
            share[inside],
            notes,
        )

    def __post_init__(self) -> None:
        for values in (self.inside, self.share):
            values.setflags(write=False)

    @cached_property
    def _number(self) -> np.ndarray:
        """The cell of every raster cell, -1 where there is none."""
        number = np.full(self.inside.shape, -1, dtype=np.int32)
        number[self.inside] = np.arange(self.n_cells, dtype=np.int32)
        return number

    def strips(self) -> Iterator[Strip]:
        """Give strips of rows from the north, taken from the flags and shares of the grid."""
        before = 0
        for first_row, n_rows in self.spans():
            inside = self.inside[first_row : first_row + n_rows]
            strip = Strip(self, first_row, inside, before)
            before += strip.n_cells
            yield strip

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        return self._frame() == other._frame() and np.array_equal(self.inside, other.inside)

    def __hash__(self) -> int:
        return hash(self._frame())

    def _frame(self) -> tuple[Any, ...]:
        return self.crs.to_wkt(), self.cell_size, self.west, self.north, self.n_rows, self.n_columns

    @property
    def n_cells(self) -> int:
        """Number of cells of the area."""
        return int(self.share.size)

    @property
    def rows(self) -> np.ndarray:
        """Row of each cell, 0 in the north; shape (n_cells,)."""
        return np.nonzero(self.inside)[0]

    @property
    def columns(self) -> np.ndarray:
        """Column of each cell, 0 in the west; shape (n_cells,)."""
        return np.nonzero(self.inside)[1]

    @property
    def eastings(self) -> np.ndarray:
        """Easting of each cell centre in metres; shape (n_cells,)."""
        return self.column_eastings[self.columns]

    @property
    def northings(self) -> np.ndarray:
        """Northing of each cell centre in metres; shape (n_cells,)."""
        return self.row_northings[self.rows]

    def to_raster(self, vector: np.ndarray, *, fill: Any = np.nan) -> np.ndarray:
        """Spread a cell vector over the raster; cells outside the area get `fill`."""
        vector = np.asarray(vector)
        if vector.shape[:1] != (self.n_cells,):
            raise InputError(
                f"Invalid cell vector of shape {vector.shape}. The grid has {self.n_cells:,} cells."
            )
        raster = np.full((self.n_rows, self.n_columns), fill, dtype=np.result_type(vector, type(fill)))
        raster[self.inside] = vector
        return raster

    def to_vector(self, raster: np.ndarray) -> np.ndarray:
        """Take the cells of the area out of a raster; the inverse of `to_raster`."""
        raster = np.asarray(raster)
        if raster.shape != self.inside.shape:
            raise InputError(
                f"Invalid raster of shape {raster.shape}. The grid has {self.n_rows} rows and {self.n_columns} columns."
            )
        return raster[self.inside]

    def locate(self, eastings: Any, northings: Any) -> np.ndarray:
        """Return the cell that holds each point, or -1 where that is no cell of the area.

        Parameters
        ----------
        eastings, northings : array_like, shape (n_points,)
            Metres, in the grid's system.

        Returns
        -------
        ndarray of int64, shape (n_points,)
        """
        eastings, northings = np.asarray(eastings, dtype=float), np.asarray(northings, dtype=float)
        with np.errstate(invalid="ignore"):
            column = np.floor((eastings - self.west) / self.cell_size)
            row = np.floor((self.north - northings) / self.cell_size)
        # The outermost edges close the last row and column: no point of the boundary is lost.
        column[(column == self.n_columns) & (eastings <= self.west + self.n_columns * self.cell_size)] -= 1
        row[(row == self.n_rows) & (northings >= self.north - self.n_rows * self.cell_size)] -= 1
        good = (column >= 0) & (column < self.n_columns) & (row >= 0) & (row < self.n_rows)
        cell = np.full(eastings.shape, -1, dtype=np.int64)
        cell[good] = self._number[row[good].astype(int), column[good].astype(int)]
        return cell

    def place(self, layer: Any) -> tuple[Layer, np.ndarray]:
        """Project a point layer, drop the points outside the area, and give each its cell.

        A point counts as inside if the polygon of the study area covers it, not merely its cell.

        Returns
        -------
        layer : Layer
            The points inside, in the grid's system; the rest are counted in its ledger.
        cells : ndarray of int64, shape (len(layer),)
            The cell of each point.

        Raises
        ------
        InputError
            If the layer holds other than points, or none of its points lies in the area.
        """
        layer = _single_points(as_layer(layer, name="incidents"))
        kinds = set(layer.frame.geom_type) - {"Point"}
        if kinds:
            raise InputError(
                f"Invalid layer {layer.name!r}. Incidents and places are points; it holds {', '.join(sorted(kinds))}."
            )
        projected = layer.to_crs(self.crs)
        points = projected.frame.geometry
        eastings, northings = points.x.to_numpy(), points.y.to_numpy()
        shapely.prepare(self.area.geometry)
        covered = shapely.intersects_xy(self.area.geometry, eastings, northings)
        if len(layer) and not covered.any():
            raise InputError(_why_no_overlap(layer, self))
        cells = self.locate(eastings, northings)
        # A point exactly on the boundary can fall into the neighbouring half-open cell that has no
        # share of the area; it belongs to the cell it touches on the inside.
        for shift_east, shift_north in ((-1, 0), (0, 1), (-1, 1)):
            stray = covered & (cells < 0)
            if not stray.any():
                break
            nudge = 1e-6 * self.cell_size
            cells[stray] = self.locate(
                eastings[stray] + shift_east * nudge, northings[stray] + shift_north * nudge
            )
        kept = covered & (cells >= 0)
        return projected.keep(kept, "outside the study area"), cells[kept]

    def count(self, layer: Any) -> np.ndarray:
        """Return how many points of a layer fall in each cell; shape (n_cells,), int64."""
        _, cells = self.place(layer)
        return np.bincount(cells, minlength=self.n_cells)

    def cell_polygons(self, cells: Any = None) -> gpd.GeoSeries:
        """Return the squares of `cells` (indices; default all), in the grid's system, indexed by cell."""
        chosen = np.arange(self.n_cells) if cells is None else np.asarray(cells, dtype=np.int64)
        half = self.cell_size / 2
        east, north = self.eastings[chosen], self.northings[chosen]
        squares = shapely.box(east - half, north - half, east + half, north + half)
        return gpd.GeoSeries(squares, index=chosen, crs=self.crs)

    def __repr__(self) -> str:
        block = f", block {format_length(self.block_length)}" if self.block_length else ""
        return (
            f"Grid({self.n_cells:,} cells of {format_length(self.cell_size)}{block}, {self.crs.to_string()})"
        )


def _single_points(layer: Layer) -> Layer:
    """A multipoint of one part is a point: some formats write all points so."""
    geometries = layer.frame.geometry
    alone = (
        (geometries.geom_type == "MultiPoint") & (shapely.get_num_geometries(geometries.array) == 1)
    ).to_numpy()
    if not alone.any():
        return layer
    points = geometries.to_numpy(copy=True)
    points[alone] = shapely.get_geometry(points[alone], 0)
    return replace(
        layer, frame=layer.frame.set_geometry(gpd.GeoSeries(points, geometries.index, geometries.crs))
    )


def _why_no_overlap(layer: Layer, grid: Grid) -> str:
    west, south, east, north = (float(value) for value in layer.frame.total_bounds)
    outline = gpd.GeoSeries([grid.area.geometry], crs=grid.crs).to_crs(layer.frame.crs)
    area_west, area_south, area_east, area_north = (float(value) for value in outline.total_bounds)
    swapped = area_west <= (south + north) / 2 <= area_east and area_south <= (west + east) / 2 <= area_north
    advice = (
        "With the two coordinates exchanged it would fit: longitude and latitude are swapped."
        if swapped
        else "Check its coordinate reference system and that it is of the same city."
    )
    return (
        f"Invalid layer {layer.name!r}. None of its {len(layer):,} points lies in the study area: it spans "
        f"({west:.5g}, {south:.5g}) to ({east:.5g}, {north:.5g}), the area ({area_west:.5g}, {area_south:.5g}) to "
        f"({area_east:.5g}, {area_north:.5g}) in {layer.frame.crs.to_string()}. {advice}"
    )
