"""Districts on a grid: cells by exact area, incidents by polygon and residents, shared out so that none is lost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from scipy import sparse

from rtmkc.checks import check_columns
from rtmkc.errors import InputError
from rtmkc.evidence.stability import percent
from rtmkc.inputs.columns import is_personal
from rtmkc.inputs.layers import as_layer
from rtmkc.inputs.rasters import as_raster, is_raster
from rtmkc.places.joins import label_column_of
from rtmkc.raster.coverage import coverage
from rtmkc.raster.grid import Grid
from rtmkc.raster.pixels import measure_raster

OUTSIDE = "in no district"
CLEAR_OVERLAP = 0.001
"""Overlaps of districts up to this share of the area are drawing errors."""


@dataclass(frozen=True, eq=False)
class Districts:
    """Districts on a grid; the last one is what lies in none.

    `cells` (n_cells, n_districts) holds the share of each cell in each district and sums to the share of the cell in
    the study area; `incidents` (n_incidents, n_districts) sums to 1 an incident.
    """

    names: list[str]
    cells: sparse.csr_array
    incidents: sparse.csr_array
    residents: np.ndarray | None
    notes: tuple[str, ...]


def share_out(grid: Grid, points: np.ndarray, given: Any, *, name: str | None, residents: Any) -> Districts:
    """Share cells, points and residents out between districts.

    Parameters
    ----------
    grid : Grid
    points : ndarray of shapely points, shape (n_points,)
        In the grid's system.
    given, name, residents
        The districts, the column of their names and their residents; see `rtmkc.bias_panel`.

    Raises
    ------
    InputError
        If fewer than two districts lie in the study area, or a column cannot be used.
    """
    for column in (name, residents[-1] if isinstance(residents, tuple) else residents):
        if isinstance(column, str) and is_personal(column):
            raise InputError(
                f"Invalid column {column!r}. Columns about race, sex or age are never used: places are scored, not people."
            )
    layer = as_layer(given, name="districts")
    frame = layer.to_crs(grid.crs).frame
    frame = frame[frame.geom_type.isin(["Polygon", "MultiPolygon"])]
    if frame.empty:
        raise InputError(f"Invalid districts {layer.name!r}. Districts are areas, and the layer holds none.")
    column = label_column_of(frame) if name is None else name
    _check_column(frame, column)
    labels = frame[column].astype("string").str.strip()
    if pd.api.types.is_float_dtype(frame[column].dtype):
        labels = labels.str.removesuffix(".0")
    labels = labels.fillna("without a name").replace("", "without a name")
    rows = shapely.make_valid(frame.geometry.to_numpy())
    shapes = {
        str(label): shapely.intersection(
            shapely.union_all(rows[(labels == label).to_numpy()]), grid.area.geometry
        )
        for label in sorted(labels.unique())
    }
    beyond = [label for label, shape in shapes.items() if not shape.area > 0]
    shapes = {label: shape for label, shape in shapes.items() if shape.area > 0}
    if len(shapes) < 2:
        raise InputError(
            f"Invalid districts {layer.name!r}. {len(shapes)} of its {len(shapes) + len(beyond)} districts lie in the "
            "study area, and a comparison needs two; check the layer, its coordinate reference system and the column of "
            f"names ({column!r})."
        )
    cells, overlap = _cell_shares(grid, list(shapes.values()))
    notes = []
    if beyond:
        notes.append(
            f"{len(beyond)} districts lie outside the study area and are left out: {', '.join(beyond)}."
        )
    if overlap > CLEAR_OVERLAP:
        notes.append(
            f"Districts overlap on {percent(overlap)} of the area; what several cover is shared out between them."
        )
    incidents = _incident_shares(points, list(shapes.values()))
    names = [*shapes, OUTSIDE]
    people = None
    if residents is not None:
        people = _count_residents(grid, residents, frame, rows, labels, shapes, cells)
    return Districts(names, cells, incidents, people, tuple(notes))


def _check_column(frame: gpd.GeoDataFrame, column: Any) -> None:
    check_columns([column], [other for other in frame.columns if other != frame.geometry.name], "The layer")


def _cell_shares(grid: Grid, shapes: Sequence[Any]) -> tuple[sparse.csr_array, float]:
    """The share of every cell in every district and, last, in none; and the share of the area in several."""
    columns = []
    for shape in shapes:
        west, south, east, north = shape.bounds
        size = grid.cell_size
        left, right = int((west - grid.west) // size), int((east - grid.west) // size)
        top, bottom = int((grid.north - north) // size), int((grid.north - south) // size)
        left, top = max(left, 0), max(top, 0)
        right, bottom = min(right, grid.n_columns - 1), min(bottom, grid.n_rows - 1)
        raster = np.zeros(grid.inside.shape)
        raster[top : bottom + 1, left : right + 1] = coverage(
            shape, grid.west + left * size, grid.north - top * size, size, bottom - top + 1, right - left + 1
        )
        columns.append(sparse.csc_array(grid.to_vector(raster)[:, None]))
    held = sparse.hstack(columns, format="csr")
    total = held.sum(axis=1)
    overlap = float(np.maximum(total - grid.share, 0).sum() / grid.share.sum())
    # Where districts overlap each gets its part of the cell; a cell is never given out twice.
    held = sparse.diags_array(np.minimum(1.0, grid.share / np.maximum(total, 1e-300))) @ held
    rest = np.maximum(grid.share - held.sum(axis=1), 0.0)
    # Below a millionth of a cell a share is rounding of the boundaries, not area in no district.
    rest[rest < 2e-6] = 0.0
    cells = sparse.hstack([held, sparse.csr_array(rest[:, None])], format="csr")
    cells = sparse.diags_array(grid.share / cells.sum(axis=1)) @ cells
    _check_conserved("area", cells.sum(), grid.share.sum())
    return sparse.csr_array(cells), overlap


def _incident_shares(points: np.ndarray, shapes: Sequence[Any]) -> sparse.csr_array:
    point, district = shapely.STRtree(shapes).query(points, predicate="intersects")
    holders = np.bincount(point, minlength=len(points))
    nowhere = np.flatnonzero(holders == 0)
    rows, columns = np.append(point, nowhere), np.append(district, np.full(len(nowhere), len(shapes)))
    parts = np.append(1.0 / holders[point], np.ones(len(nowhere)))
    shares = sparse.csr_array((parts, (rows, columns)), shape=(len(points), len(shapes) + 1))
    _check_conserved("incidents", shares.sum(), len(points))
    return shares


def _check_conserved(what: str, found: float, total: float) -> None:
    # Not an `assert`: what a council is shown must add up in every run.
    if not np.isclose(found, total, rtol=1e-9, atol=0):
        raise RuntimeError(f"{what} shared out between districts sum to {found!r} instead of {total!r}")


def _count_residents(
    grid: Grid,
    residents: Any,
    frame: gpd.GeoDataFrame,
    rows: np.ndarray,
    labels: pd.Series,
    shapes: Mapping[str, Any],
    cells: sparse.csr_array,
) -> np.ndarray:
    """Residents of each district inside the study area, and of what lies in none (NaN if that is not known)."""
    if isinstance(residents, str) and residents in frame.columns:
        _check_column(frame, residents)
        inside = shapely.area(shapely.intersection(rows, grid.area.geometry)) / shapely.area(rows)
        living = pd.Series(_numbers(frame[residents], residents) * inside).groupby(labels.to_numpy()).sum()
        return np.append(living[list(shapes)].to_numpy(dtype=float), np.nan)
    if is_raster(residents):
        amount = measure_raster(grid, as_raster(residents, name="residents")).amount
        if (amount < 0).any() or not amount.sum() > 0:
            raise InputError(
                f"Invalid residents. The raster sums to {amount.sum():,.6g} over the study area and to "
                f"{amount.min():,.6g} in its lowest cell; numbers of residents are not negative. Say nodata= in "
                "read_raster() if a value stands for 'no data'."
            )
        return np.asarray(cells.T @ (amount / grid.share))
    if isinstance(residents, tuple) and len(residents) == 2:
        layer, column = as_layer(residents[0], name="residents"), residents[1]
        homes = layer.to_crs(grid.crs).frame
        _check_column(homes, column)
        areas = shapely.make_valid(homes.geometry.to_numpy())
        if not (shapely.area(areas) > 0).all():
            raise InputError(f"Invalid residents {layer.name!r}. It must hold areas, such as census blocks.")
        per_m2 = _numbers(homes[column], column) / shapely.area(areas)
        whole = [*shapes.values(), grid.area.geometry]
        district, home = shapely.STRtree(areas).query(whole, predicate="intersects")
        parts = shapely.area(shapely.intersection(np.array(whole)[district], areas[home])) * per_m2[home]
        counted = np.bincount(district, weights=parts, minlength=len(whole))
        return np.append(counted[:-1], max(counted[-1] - counted[:-1].sum(), 0.0))
    if isinstance(residents, str):
        _check_column(frame, residents)
    raise InputError(
        f"Invalid residents of type {type(residents).__name__}. Give a column of the districts, a raster, or a layer of "
        "areas with its column: (layer, 'column')."
    )


def _numbers(values: pd.Series, column: str) -> np.ndarray:
    try:
        numbers = pd.to_numeric(values).to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError):
        raise InputError(f"Invalid residents {column!r}. The column must hold numbers.") from None
    if np.isnan(numbers).any() or (numbers < 0).any() or not numbers.sum() > 0:
        raise InputError(
            f"Invalid residents {column!r}. {int(np.isnan(numbers).sum())} areas have none stated and "
            f"{int((numbers < 0).sum())} a negative number, of {len(numbers)}; each needs a number of at least 0, and one more "
            "than 0. Mend them, or leave residents= out."
        )
    return numbers
