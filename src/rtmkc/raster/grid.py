"""Grid: the only place where cell vectors and rasters convert.

A *cell vector* ``(n_cells,)`` holds the cells of the study area in row-major order; a *raster*
``(n_rows, n_columns)`` is north up. Cells are half-open squares ``[west, east) x (south, north]``.
"""

import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import geopandas as gpd
import numpy as np
import pyproj
import shapely
from affine import Affine

from rtmkc.errors import CapacityError, DataWarning, InputError
from rtmkc.inputs.layers import Layer, as_layer
from rtmkc.raster.area import StudyArea
from rtmkc.raster.coverage import coverage
from rtmkc.units import format_length, parse_length

MAX_CELLS = 50_000_000
"""Cells of the bounding box that fit in memory beside their codes; larger grids are refused before building."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Square cells over a study area.

    A cell belongs to the area if any of it is inside; `share` is how much. Make one with `cover`.

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

    area: StudyArea
    cell_size: float
    west: float
    north: float
    n_rows: int
    n_columns: int
    block_length: float | None
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
        notes: list[str] = []
        block = parse_length(block_length, name="block_length") if block_length is not None else None
        size = parse_length(cell_size, name="cell_size") if cell_size is not None else None
        if block is None and size is None:
            if streets is None:
                raise InputError(
                    "Invalid grid. Give block_length= (such as '450 ft'), cell_size=, or streets= to measure blocks."
                )
            block = suggest_block_length(streets, area)
            notes.append(
                f"block length {format_length(block)} measured: the median block of the street layer"
            )
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
        if n_rows * n_columns > MAX_CELLS:
            raise CapacityError(
                f"Invalid cell_size {size:,.3g} m. It would make {n_rows * n_columns:,} cells over the bounding box; "
                f"at most {MAX_CELLS:,} fit in memory. Choose a cell of at least "
                f"{np.sqrt((east - west) * (north - south) / MAX_CELLS):,.1f} m, and check the unit of the block length."
            )
        closed_area, closed = area.without_small_holes(size**2)
        if closed:
            notes.append(f"{closed:,} holes smaller than a cell closed")
        top = south + n_rows * size
        share = coverage(closed_area.geometry, west, top, size, n_rows, n_columns)
        inside = share > 0
        return cls(
            closed_area,
            size,
            float(west),
            float(top),
            n_rows,
            n_columns,
            block,
            inside,
            share[inside],
            tuple(notes),
        )

    def __post_init__(self) -> None:
        number = np.full(self.inside.shape, -1, dtype=np.int64)
        number[self.inside] = np.arange(self.n_cells)
        object.__setattr__(self, "_number", number)
        for values in (self.inside, self.share, number):
            values.setflags(write=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        return self._frame() == other._frame() and np.array_equal(self.inside, other.inside)

    def __hash__(self) -> int:
        return hash(self._frame())

    def _frame(self) -> tuple[Any, ...]:
        return self.crs.to_wkt(), self.cell_size, self.west, self.north, self.n_rows, self.n_columns

    @property
    def crs(self) -> pyproj.CRS:
        """Coordinate reference system, projected, in metres."""
        return self.area.crs

    @property
    def n_cells(self) -> int:
        """Number of cells of the area."""
        return int(self.share.size)

    @property
    def transform(self) -> Affine:
        """Affine transform from (column, row) to (easting, northing), as rasterio writes it."""
        return Affine(self.cell_size, 0.0, self.west, 0.0, -self.cell_size, self.north)

    @property
    def rows(self) -> np.ndarray:
        """Row of each cell, 0 in the north; shape (n_cells,)."""
        return np.nonzero(self.inside)[0]

    @property
    def columns(self) -> np.ndarray:
        """Column of each cell, 0 in the west; shape (n_cells,)."""
        return np.nonzero(self.inside)[1]

    @property
    def column_eastings(self) -> np.ndarray:
        """Easting of the cell centres of each column in metres; shape (n_columns,)."""
        return self.west + (np.arange(self.n_columns) + 0.5) * self.cell_size

    @property
    def row_northings(self) -> np.ndarray:
        """Northing of the cell centres of each row in metres; shape (n_rows,)."""
        return self.north - (np.arange(self.n_rows) + 0.5) * self.cell_size

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
        cell[good] = self._number[row[good].astype(int), column[good].astype(int)]  # type: ignore[attr-defined]
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
            stacklevel=3,
        )
    return median


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


def _steps(extent: float, size: float) -> int:
    # An extent that is a whole number of cells up to rounding must not gain a row of slivers.
    return max(1, int(np.ceil(extent / size - 1e-9)))


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
