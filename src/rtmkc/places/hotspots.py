"""Hot spots: ranked cells under a budget, with both explanations, and the contiguous areas they form."""

from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
from scipy import ndimage

from rtmkc.checks import check_count, check_share
from rtmkc.errors import InputError
from rtmkc.places.scoring import describe_factors, where_words, why_words

if TYPE_CHECKING:
    from rtmkc.model.terrain import RiskTerrain

DEFAULT_AREA_SHARE = 0.02


def find_hotspots(
    terrain: "RiskTerrain",
    *,
    area_share: float | None = None,
    count: int | None = None,
    standard_deviations: float | None = None,
    by: str | None = None,
    areas: bool = False,
    names: Any = None,
    name_column: str | None = None,
) -> gpd.GeoDataFrame:
    """Return the hottest cells, ranked, or the contiguous areas they form.

    Parameters
    ----------
    terrain : RiskTerrain
        The terrain.
    area_share : float, optional
        Take cells up to this share of the study area; 0.02 unless another cut is given.
    count : int, optional
        Take this many cells.
    standard_deviations : float, optional
        Take the cells whose relative risk score exceeds its mean by more than so many standard
        deviations (the published rule is 2). Ranks by "rrs".
    by : {"expected", "rrs"}, optional
        What to rank by: "expected" (where next) or "rrs" (why here). Within equal values the other one
        decides, then the cell's number.
    areas : bool
        Return contiguous areas (cells that touch by a side or a corner) instead of cells.
    names : layer, optional
        Areas with names, to say which one each hot spot lies in.
    name_column : str, optional
        The column of the names.

    Returns
    -------
    GeoDataFrame
        In the grid's system. Cells: rank, cell_id, row, column, name (if `names`), relative (x the city's
        average), expected, lower, upper, count, rrs, environment, area_history, spot_history, why, where, longitude,
        latitude, one ``f_<factor>`` a factor, geometry. Areas: rank, n_cells, area_m2, relative, expected, count,
        why, longitude, latitude, geometry. ``attrs["statement"]`` says how they were cut.

    Raises
    ------
    InputError
        If more than one cut is given or a value is out of range.
    NoFactorError
        If "rrs" is asked for and no factor is in the model.

    Notes
    -----
    An area share is filled cell by cell up to the last that still fits, by the share of each cell inside
    the study area; at least one cell is returned.
    """
    given = [
        name
        for name, value in (
            ("area_share", area_share),
            ("count", count),
            ("standard_deviations", standard_deviations),
        )
        if value is not None
    ]
    if len(given) > 1:
        raise InputError(f"Invalid cuts {', '.join(given)}. Give one of them.")
    by = by or ("rrs" if standard_deviations is not None else "expected")
    values = terrain.ranking(by)
    if standard_deviations is not None:
        if by != "rrs":
            raise InputError("Invalid by 'expected'. The cut by standard deviations is one of the relative risk score.")
        limit = float(values.mean() + check_positive_number(standard_deviations) * values.std())
        order = _ranked(terrain, by)
        chosen = order[values[order] > limit]
        statement = (
            f"cells whose relative risk score exceeds its mean by more than {standard_deviations:g} standard "
            f"deviations (above {limit:.3g})"
        )
    elif count is not None:
        chosen = _ranked(terrain, by)[: check_count("count", count)]
        statement = f"the {len(chosen):,} cells highest by {by}"
    else:
        share = check_share("area_share", DEFAULT_AREA_SHARE if area_share is None else area_share)
        order = _ranked(terrain, by)
        filled = np.cumsum(terrain.grid.share[order])
        chosen = order[: max(1, int(np.searchsorted(filled, share * filled[-1] * (1 + 1e-12), side="right")))]
        statement = f"the cells highest by {by}, up to {100 * share:g} % of the study area"
    inside = terrain.grid.share[chosen].sum() / terrain.grid.share.sum()
    statement += f": {len(chosen):,} cells, {100 * inside:.2g} % of the area"
    table = _areas(terrain, chosen, by) if areas else _cells(terrain, chosen)
    if names is not None and len(table):
        table.insert(1, "name", name_places(table, names, name_column).to_numpy())
    table.attrs["statement"] = statement
    return table


def check_positive_number(value: float) -> float:
    """Return a number of standard deviations, which may be 0."""
    if not np.isfinite(value) or value < 0:
        raise InputError(f"Invalid standard_deviations {value!r}. It must be a number of at least 0.")
    return float(value)


def name_places(places: gpd.GeoDataFrame, names: Any, column: str | None) -> pd.Series:
    """Return the name of the area that holds the middle of each place; empty text where there is none."""
    from rtmkc.inputs.layers import as_layer

    frame = as_layer(names, name="names").to_crs(places.crs).frame
    column = column or name_column_of(frame)
    middles = gpd.GeoDataFrame(geometry=places.geometry.representative_point(), crs=places.crs)
    joined = middles.sjoin(frame[[column, frame.geometry.name]], how="left", predicate="intersects")
    # Where areas overlap the first counts: a place has one name.
    first = joined[~joined.index.duplicated()]
    return first[column].fillna("").astype(str)


def name_column_of(frame: gpd.GeoDataFrame) -> str:
    """Return the column that holds names: the first called like a name, else the only one of text."""
    text = [
        str(column)
        for column in frame.columns
        if column != frame.geometry.name and pd.api.types.is_string_dtype(frame[column])
    ]
    named = [column for column in text if "name" in column.lower()]
    if not named and len(text) != 1:
        raise InputError(
            f"Invalid names. No column is called like a name among: {', '.join(text) or 'none of text'}; say which."
        )
    return named[0] if named else text[0]


def _ranked(terrain: "RiskTerrain", by: str) -> np.ndarray:
    other = "rrs" if by == "expected" else "expected"
    cells = terrain.cells
    # Rounded so that cells equal up to the last digits tie in every system and are ordered by the other value.
    keys = [np.arange(len(cells)), -_significant(cells[other]), -_significant(cells[by])]
    return np.lexsort(keys)


def _significant(values: pd.Series) -> np.ndarray:
    array = values.to_numpy(dtype=float)
    scale = 10.0 ** (9 - np.floor(np.log10(np.maximum(np.abs(array), 1e-300))))
    return np.round(array * scale) / scale


def _cells(terrain: "RiskTerrain", chosen: np.ndarray) -> gpd.GeoDataFrame:
    cells = terrain.cells.iloc[chosen]
    flags = [column for column in cells.columns if column.startswith("f_")]
    table = pd.DataFrame({"rank": np.arange(1, len(chosen) + 1)}, index=cells.index)
    for column in ("cell_id", "row", "column"):
        table[column] = cells[column]
    table["relative"] = cells["expected"] / terrain.city_mean
    for column in ("expected", "lower", "upper", "count", "rrs", "environment", "area_history", "spot_history"):
        table[column] = cells[column]
    rows = [terrain.cells.iloc[cell] for cell in chosen]
    table["why"] = [why_words(terrain, row) for row in rows]
    table["where"] = [where_words(terrain, row) for row in rows]
    polygons = terrain.grid.cell_polygons(chosen)
    centres = polygons.centroid.to_crs(4326)
    table["longitude"], table["latitude"] = centres.x, centres.y
    table = pd.concat([table, cells[flags]], axis=1)
    return gpd.GeoDataFrame(table, geometry=polygons, crs=terrain.grid.crs).reset_index(drop=True)


def _areas(terrain: "RiskTerrain", chosen: np.ndarray, by: str) -> gpd.GeoDataFrame:
    marked = np.zeros(terrain.grid.n_cells, dtype=bool)
    marked[chosen] = True
    label, _ = ndimage.label(terrain.grid.to_raster(marked, fill=False), structure=np.ones((3, 3)))
    label = terrain.grid.to_vector(label)[chosen]
    cells = terrain.cells.iloc[chosen].assign(area=label)
    rows, shapes = [], []
    polygons = terrain.grid.cell_polygons(chosen)
    for _, own in cells.groupby("area"):
        rows.append(
            {
                "n_cells": len(own),
                "area_m2": float(own["share"].sum() * terrain.grid.cell_size**2),
                "relative": float(own["expected"].mean() / terrain.city_mean),
                "expected": float(own["expected"].sum()),
                "count": int(own["count"].sum()),
                "rrs": float(own["rrs"].mean()),
                "why": describe_factors(terrain, own),
            }
        )
        shapes.append(polygons.loc[own.index].union_all())
    table = gpd.GeoDataFrame(rows, geometry=shapes, crs=terrain.grid.crs)
    total = table["expected"] if by == "expected" else table["rrs"] * table["n_cells"]
    table = table.iloc[np.argsort(-total.to_numpy(), kind="stable")].reset_index(drop=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    centres = table.geometry.representative_point().to_crs(4326)
    table["longitude"], table["latitude"] = centres.x, centres.y
    return table[[*(column for column in table.columns if column != "geometry"), "geometry"]]
