"""Hot spots: ranked cells under a budget, with both explanations, and the contiguous areas they form."""

from typing import TYPE_CHECKING, Any, Literal, overload

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from scipy import ndimage

from rtmkc.checks import check_count, check_number, check_share
from rtmkc.errors import InputError
from rtmkc.places.joins import name_places
from rtmkc.places.scoring import describe_factors, where_words, why_words

if TYPE_CHECKING:
    from rtmkc.model.terrain import RiskTerrain

DEFAULT_AREA_SHARE = 0.02
SURFACES = ("expected", "lower", "upper", "count", "rrs", "environment", "area_history", "spot_history")
OF_AREAS = ("n_cells", "area_m2", "relative", "expected", "count", "rrs", "why")


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
        In the grid's system. Cells: rank, name (if `names`), cell_id, row, column, relative (x the city's
        average), expected, lower, upper, count, rrs, environment, area_history, spot_history, why, where,
        longitude, latitude, one ``f_<factor>`` a factor of the model, geometry. Areas: rank, name (if
        `names`), n_cells, area_m2, relative and rrs (means of their cells), expected and count (sums), why,
        longitude, latitude, geometry. The table is empty where no cell exceeds the standard deviations.
        ``attrs["statement"]`` says how they were cut.

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
            raise InputError(
                "Invalid by 'expected'. The cut by standard deviations is one of the relative risk score; "
                "leave by= out, or cut by area_share= or count=."
            )
        deviations = check_number("standard_deviations", standard_deviations)
        if deviations < 0:
            raise InputError(f"Invalid standard_deviations {standard_deviations!r}. It must be at least 0.")
        limit = float(values.mean() + deviations * values.std())
        order = _ranked(terrain, by)
        # Where all cells are equal, rounding of their mean must not make every one of them a hot spot.
        chosen = order[values[order] > limit * (1 + 1e-12)]
        statement = (
            f"cells whose relative risk score exceeds its mean by more than {deviations:g} standard "
            f"deviations (above {limit:.3g})"
        )
    elif count is not None:
        chosen = _ranked(terrain, by)[: check_count("count", count)]
        statement = f"the {len(chosen):,} cells highest by {by}"
    else:
        share = check_share("area_share", DEFAULT_AREA_SHARE if area_share is None else area_share)
        chosen = _highest(terrain, share, by)
        statement = f"the cells highest by {by}, up to {100 * share:g} % of the study area"
    inside = terrain.grid.share[chosen].sum() / terrain.grid.share.sum()
    statement += f": {len(chosen):,} cells, {100 * inside:.2g} % of the area"
    table = _areas(terrain, chosen, by) if areas else _cells(terrain, chosen)
    if names is not None:
        table.insert(1, "name", name_places(table, names, name_column))
    table.attrs["statement"] = statement
    return table


@overload
def flagged_cells(terrain: "RiskTerrain", area_share: float, by: Literal["expected"]) -> np.ndarray: ...


@overload
def flagged_cells(terrain: "RiskTerrain", area_share: float, by: str) -> np.ndarray | None: ...


def flagged_cells(terrain: "RiskTerrain", area_share: float, by: str) -> np.ndarray | None:
    """Return which cells are hot spots under an area share, without describing them; shape (n_cells,), boolean.

    None for "rrs" where no factor ranks the cells.
    """
    if by == "rrs" and not terrain.factors:
        return None
    return _marked(terrain, _highest(terrain, check_share("area_share", area_share), by))


def _highest(terrain: "RiskTerrain", area_share: float, by: str) -> np.ndarray:
    """Return the hottest cells that fill a share of the area, hottest first."""
    order = _ranked(terrain, by)
    filled = np.cumsum(terrain.grid.share[order])
    return order[: max(1, int(np.searchsorted(filled, area_share * filled[-1] * (1 + 1e-12), side="right")))]


def _marked(terrain: "RiskTerrain", chosen: np.ndarray) -> np.ndarray:
    marked = np.zeros(terrain.grid.n_cells, dtype=bool)
    marked[chosen] = True
    return marked


def _ranked(terrain: "RiskTerrain", by: str) -> np.ndarray:
    """Return all cells, hottest first; equal ones by the other value, then by number."""
    other = "rrs" if by == "expected" else "expected"
    cells = terrain.cells
    # Rounded, so that cells equal up to the last digits tie on every machine; the other value decides then.
    keys = [np.arange(len(cells)), -_significant(cells[other]), -_significant(cells[by])]
    return np.lexsort(keys)


def _significant(values: pd.Series) -> np.ndarray:
    """Round to ten significant digits."""
    array = values.to_numpy(dtype=float)
    scale = 10.0 ** (9 - np.floor(np.log10(np.where(array == 0, 1.0, np.abs(array)))))
    return np.asarray(np.round(array * scale) / scale)


def _cells(terrain: "RiskTerrain", chosen: np.ndarray) -> gpd.GeoDataFrame:
    cells = terrain.cells.iloc[chosen]
    flags = [f"f_{name}" for name in terrain.factors]
    table = pd.DataFrame({"rank": np.arange(1, len(chosen) + 1)}, index=cells.index)
    for column in ("cell_id", "row", "column"):
        table[column] = cells[column]
    table["relative"] = cells["expected"] / terrain.city_mean
    for column in SURFACES:
        table[column] = cells[column]
    table["why"] = why_words(terrain, cells)
    table["where"] = where_words(terrain, cells)
    polygons = terrain.grid.cell_polygons(chosen)
    centres = polygons.centroid.to_crs(4326)
    table["longitude"], table["latitude"] = centres.x, centres.y
    table = pd.concat([table, cells[flags]], axis=1)
    return gpd.GeoDataFrame(table, geometry=polygons, crs=terrain.grid.crs).reset_index(drop=True)


def _areas(terrain: "RiskTerrain", chosen: np.ndarray, by: str) -> gpd.GeoDataFrame:
    marked = _marked(terrain, chosen)
    label, _ = ndimage.label(terrain.grid.to_raster(marked, fill=False), structure=np.ones((3, 3)))
    label = terrain.grid.to_vector(label)[chosen]
    cells = terrain.cells.iloc[chosen].assign(area=label)
    grouped = cells.groupby("area")
    table = grouped[["expected", "count", "share"]].sum()
    table["n_cells"] = grouped.size()
    table["area_m2"] = table.pop("share") * terrain.grid.cell_size**2
    table["relative"] = grouped["expected"].mean() / terrain.city_mean
    table["rrs"] = grouped["rrs"].mean()
    table["why"] = [describe_factors(terrain, own) for _, own in grouped]
    polygons = terrain.grid.cell_polygons(chosen).to_numpy()[np.argsort(label, kind="stable")]
    starts = np.cumsum(table["n_cells"].to_numpy())[:-1]
    shapes = [shapely.union_all(part) for part in np.split(polygons, starts)] if len(table) else []
    table = gpd.GeoDataFrame(
        table[list(OF_AREAS)].reset_index(drop=True), geometry=shapes, crs=terrain.grid.crs
    )
    total = table["expected"] if by == "expected" else table["rrs"] * table["n_cells"]
    table = table.iloc[np.argsort(-total.to_numpy(), kind="stable")].reset_index(drop=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    centres = table.geometry.representative_point().to_crs(4326)
    table["longitude"], table["latitude"] = centres.x, centres.y
    return table[[*(column for column in table.columns if column != "geometry"), "geometry"]]
