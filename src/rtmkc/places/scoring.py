"""Score and explain any location: why here, and where next, as two blocks that are never multiplied."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely

from rtmkc.errors import InputError
from rtmkc.inputs.columns import is_personal
from rtmkc.inputs.coordinates import NO_PLACE, NOT_FINITE, NULL_ISLAND, OFF_THE_GLOBE
from rtmkc.inputs.layers import Layer, as_layer
from rtmkc.inputs.lost import read_again
from rtmkc.model.weights import UNDECIDED

if TYPE_CHECKING:
    from rtmkc.model.terrain import RiskTerrain
    from rtmkc.raster.grid import Grid

NO_FACTOR_HERE = "ranked by history; no measured factor explains it"
NO_WEIGHT_HERE = "no factor with a weight is here; the curves of the forecast rank it"
NO_FACTOR = "no measured factor"
OUTSIDE = "outside the study area"
UNREADABLE = "no usable coordinates"
NO_USABLE_PLACE = (NO_PLACE, NOT_FINITE, NULL_ISLAND, OFF_THE_GLOBE)
HIGH = 2.0
"""A place with this many times the city's average is called high in the sentences."""
COLUMNS = (
    "cell_id", "relative", "expected", "lower", "upper", "percentile", "rrs", "why", "where", "geometry",
)  # fmt: skip


def score(terrain: "RiskTerrain", places: Any) -> gpd.GeoDataFrame:
    """Score places: the analyst's rows come back with what the terrain says of each.

    Parameters
    ----------
    terrain : RiskTerrain
        The terrain.
    places : Layer, path, GeoDataFrame or DataFrame
        Points, or lines and polygons, which are scored at a point on them.

    Returns
    -------
    GeoDataFrame
        Same index and columns (those about race, sex or age are not kept), and: cell_id (-1 where there is
        no cell), relative (x the city's average), expected, lower, upper (incidents per cell over the
        horizon), percentile (share of the study area with a lower expected value, in %), rrs, why, where.
        Places outside the study area or without usable coordinates have missing values, and `why` and
        `where` say so. A column of yours that has one of these names is called ``<name>_given``.

    Raises
    ------
    InputError
        If none of the places lies in the study area, or their system is not known.

    Notes
    -----
    Rows without usable coordinates stay, with missing values: those of a frame in memory, and those of a file,
    which is read again for them. What a filter left out of a Layer stays out.
    """
    if isinstance(places, pd.DataFrame):
        # Numbered, so that rows dropped for want of coordinates can be put back where they were.
        layer = as_layer(places.reset_index(drop=True), name="places")
        position, index = layer.frame.index.to_numpy(), places.index
        given = pd.DataFrame(places).set_axis(places.columns.astype(str), axis=1)
        own_geometry = getattr(places, "_geometry_column_name", None)
    else:
        layer = as_layer(places, name="places")
        own_geometry = layer.frame.geometry.name
        given = _with_lost_rows(layer)
        index = given.index
        position = index.get_indexer(layer.frame.index)
    kept = [name for name in given.columns if name != own_geometry and not is_personal(name)]
    cell = np.full(len(index), -1, dtype=np.int64)
    cell[position] = _locate(terrain, layer)
    readable = np.zeros(len(index), dtype=bool)
    readable[position] = True

    result = given[kept].set_axis(index, axis=0)
    result = result.rename(columns=_given_names(kept))
    found = cell >= 0
    number = np.maximum(cell, 0)
    cells = terrain.cells
    result["cell_id"] = cell
    surfaces = {
        "relative": cells["expected"].to_numpy() / terrain.city_mean,
        **{name: cells[name].to_numpy() for name in ("expected", "lower", "upper")},
        "percentile": _percentile(terrain),
        "rrs": cells["rrs"].to_numpy(),
    }
    for name, values in surfaces.items():
        result[name] = np.where(found, values[number].astype(float), np.nan)
    missing = np.where(readable, OUTSIDE, UNREADABLE)
    distinct, group = np.unique(number, return_inverse=True)
    for name, words in (("why", why_words), ("where", where_words)):
        said = np.array(words(terrain, cells.iloc[distinct]), dtype=object)
        result[name] = np.where(found, said[group], missing)
    shapes = np.full(len(index), None, dtype=object)
    shapes[position] = layer.frame.geometry.to_numpy()
    scored = gpd.GeoDataFrame(result, geometry=shapes, crs=layer.crs)
    return scored if own_geometry in (None, *scored.columns) else scored.rename_geometry(own_geometry)


def _with_lost_rows(layer: Layer) -> pd.DataFrame:
    """Return the rows of a layer, and again those of its file that were dropped for want of a place."""
    used = pd.DataFrame(layer.frame)
    lost = layer.dropped_rows()
    rows = lost.loc[lost["reason"].isin(NO_USABLE_PLACE), "row"].to_numpy()
    if not len(rows) or not layer.origins:
        return used
    again = read_again(layer.origins, np.sort(rows))
    shared = [name for name in used.columns if name in again.columns]
    return (
        pd.concat([used.astype(object), again[shared].astype(object)])
        .sort_index(kind="stable")
        .infer_objects()
    )


def _locate(terrain: "RiskTerrain", layer: Layer) -> np.ndarray:
    """Return the cell of a point on each feature, -1 outside; if all are outside, raise and say why."""
    middles = layer.frame.geometry.representative_point()
    points = middles.to_crs(terrain.grid.crs)
    cell = terrain.grid.locate(points.x, points.y)
    if len(cell) and not (cell >= 0).any():
        terrain.grid.place(replace(layer, frame=gpd.GeoDataFrame(geometry=middles)))
    return cell


def _given_names(names: list[str]) -> dict[str, str]:
    """Return new names for the columns of the user that have the name of one of ours."""
    renamed: dict[str, str] = {}
    for name in names:
        new = name
        while new in COLUMNS or (new != name and new in (*names, *renamed.values())):
            new = f"{new}_given"
        if new != name:
            renamed[name] = new
    return renamed


@dataclass(frozen=True, eq=False)
class Explanation:
    """What the terrain says of one place; print it, or read its fields.

    Attributes
    ----------
    longitude, latitude : float
        The place.
    cell_id : int
        Its cell.
    why : DataFrame
        One row a factor in the model: factor, kind, influence_m, extent_set, rrv, lower, upper (95 %), present.
    where : dict
        city_mean, environment, area_history, spot_history, expected, lower, upper, relative, count.
    rrs : float
        Relative risk score.
    text : str
        Both blocks in words.
    """

    longitude: float
    latitude: float
    cell_id: int
    why: pd.DataFrame
    where: dict[str, float]
    rrs: float
    text: str

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as plain values, for JSON."""
        return {
            "longitude": self.longitude,
            "latitude": self.latitude,
            "cell_id": self.cell_id,
            "rrs": self.rrs,
            "why": self.why.to_dict("records"),
            "where": self.where,
            "text": self.text,
        }


def explain(terrain: "RiskTerrain", location: Any) -> Explanation:
    """Explain one place: which factors are here, and what is expected next.

    Parameters
    ----------
    terrain : RiskTerrain
        The terrain.
    location : (latitude, longitude), shapely Point in the grid's system, or int
        A pair of degrees, a projected point, or a cell_id.

    Returns
    -------
    Explanation
        `str` gives two blocks: why here, and where next.

    Raises
    ------
    InputError
        If the place is outside the study area; swapped coordinates are recognised and said.
    """
    cell = _cell_of(terrain, location)
    row = terrain.cells.iloc[cell]
    to_degrees = pyproj.Transformer.from_crs(terrain.grid.crs, 4326, always_xy=True)
    longitude, latitude = to_degrees.transform(row["easting"], row["northing"])
    in_model = terrain.weights[terrain.weights["status"] == "in the model"]
    why = in_model[["factor", "kind", "influence_m", "extent_set", "rrv", "lower", "upper"]].reset_index(
        drop=True
    )
    why["present"] = [bool(row[f"f_{name}"]) for name in why["factor"]]
    where = {
        "city_mean": terrain.city_mean,
        **{
            name: float(row[name])
            for name in ("environment", "area_history", "spot_history", "expected", "lower", "upper")
        },
        "relative": float(row["expected"] / terrain.city_mean),
        "count": float(row["count"]),
    }
    text = _write(terrain, row, why, where, float(longitude), float(latitude))
    return Explanation(float(longitude), float(latitude), cell, why, where, float(row["rrs"]), text)


def why_words(terrain: "RiskTerrain", cells: pd.DataFrame) -> list[str]:
    """Return for each of some cells the factors present with their RRVs, strongest first."""
    weights = terrain.weights.set_index("factor")["rrv"]
    factors = {name: f"{name} x{weights[name]:.2f}" for name in terrain.factors}
    flags = cells[[f"f_{name}" for name in factors]].to_numpy(dtype=bool)
    high = (cells["expected"] >= HIGH * terrain.city_mean).to_numpy()
    history = (cells["area_history"] * cells["spot_history"] >= cells["environment"]).to_numpy()
    absent = np.where(high, np.where(history, NO_FACTOR_HERE, NO_WEIGHT_HERE), NO_FACTOR)
    present = list(factors.values())
    return [
        ", ".join(words for words, here in zip(present, row, strict=True) if here) or str(otherwise)
        for row, otherwise in zip(flags, absent, strict=True)
    ]


def where_words(terrain: "RiskTerrain", cells: pd.DataFrame) -> list[str]:
    """Return for each of some cells what makes its expected incidents, as multiples of the city's mean."""
    parts = (cells[name] for name in ("environment", "area_history", "spot_history"))
    return [
        f"environment x{environment:.2f}, area history x{area:.2f}, spot history x{spot:.2f}"
        for environment, area, spot in zip(*parts, strict=True)
    ]


def describe_factors(terrain: "RiskTerrain", cells: pd.DataFrame) -> str:
    """Return in how many of some cells each factor of the model is present, most frequent first."""
    flags = cells[[f"f_{name}" for name in terrain.factors]].to_numpy(dtype=float)
    shares = dict(zip(terrain.factors, flags.mean(axis=0).tolist(), strict=True))
    present = sorted((name for name in shares if shares[name] > 0), key=lambda name: -shares[name])
    if not present:
        words = why_words(terrain, cells)
        return max(dict.fromkeys(words), key=words.count)
    return ", ".join(f"{name} in {100 * shares[name]:.0f} % of cells" for name in present)


def _percentile(terrain: "RiskTerrain") -> np.ndarray:
    """Share of the area, in %, in cells whose expected value is lower; shape (n_cells,)."""
    expected, share = terrain.cells["expected"].to_numpy(), terrain.grid.share
    values, group = np.unique(expected, return_inverse=True)
    size = np.bincount(group, weights=share, minlength=len(values))
    below = np.cumsum(size) - size
    return np.asarray(100 * below[group] / share.sum())


def _cell_of(terrain: "RiskTerrain", location: Any) -> int:
    grid = terrain.grid
    if isinstance(location, int | np.integer) and not isinstance(location, bool):
        if not 0 <= location < grid.n_cells:
            raise InputError(f"Invalid cell {location}. The grid has cells 0 to {grid.n_cells - 1:,}.")
        return int(location)
    if isinstance(location, shapely.Point):
        easting, northing = (location.x, location.y) if not location.is_empty else (np.nan, np.nan)
        cell = _cell_at(grid, easting, northing)
        degrees = _cell_at(grid, *_project(grid, northing, easting)) if cell < 0 else -1
        advice = (
            f" A Point is in the grid's system ({grid.crs.to_string()}, metres); this looks like degrees: "
            f"give ({northing:.5f}, {easting:.5f})."
        )
    else:
        latitude, longitude = _degrees(location)
        cell = _cell_at(grid, *_project(grid, latitude, longitude))
        degrees = _cell_at(grid, *_project(grid, longitude, latitude)) if cell < 0 else -1
        advice = " With the two exchanged it would be inside: write latitude first."
    if cell < 0:
        raise InputError(
            f"Invalid location {location!s}. It lies outside the study area.{advice if degrees >= 0 else ''}"
        )
    return cell


def _degrees(location: Any) -> tuple[float, float]:
    try:
        if isinstance(location, str):  # "12" would be two numbers
            raise TypeError
        latitude, longitude = (float(value) for value in location)
    except (TypeError, ValueError):
        raise InputError(
            f"Invalid location {location!r}. Give (latitude, longitude) in degrees, a projected Point, or a "
            "cell number. Addresses need an address layer, which rtmkc does not have; look the coordinates "
            "up first."
        ) from None
    return latitude, longitude


def _cell_at(grid: "Grid", easting: float, northing: float) -> int:
    return int(grid.locate([easting], [northing])[0])


def _project(grid: "Grid", latitude: float, longitude: float) -> tuple[float, float]:
    """Return easting and northing; NaN for what is no place on the globe."""
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        return np.nan, np.nan
    to_metres = pyproj.Transformer.from_crs(4326, grid.crs, always_xy=True)
    easting, northing = to_metres.transform(longitude, latitude)
    return float(easting), float(northing)


def _write(
    terrain: "RiskTerrain",
    row: pd.Series,
    why: pd.DataFrame,
    where: dict[str, float],
    longitude: float,
    latitude: float,
) -> str:
    grid, facts = terrain.grid, terrain.facts
    data = f"{facts['n_incidents']:,} incidents, {facts['period'] or 'period unknown'}"
    place = f"{latitude:.5f}, {longitude:.5f}"
    lines = [
        f"Cell {int(row['cell_id'])} around {place} ({grid.cell_size:.0f} m, {grid.crs.to_string()}; {data})",
        "Why here (relative risk, lowest cell = 1)",
    ]
    for _, factor in why.iterrows():
        interval = f"[{factor['lower']:.2f}, {factor['upper']:.2f}]"
        mark = f"x{factor['rrv']:.2f} {interval}" if factor["present"] else "not here"
        lines.append(f"  {factor['factor']} ({factor['kind']}, {factor['influence_m']:.0f} m): {mark}")
    if why.empty:
        lines.append("  no significant factor")
    elif not why["present"].any():
        lines += [f"  {words}" for words in why_words(terrain, terrain.cells.loc[[row.name]])]
    open_ones = terrain.weights.loc[terrain.weights["status"] == UNDECIDED, "factor"]
    if len(open_ones):
        lines.append(f"  not decided, the map is too small: {', '.join(open_ones)}")
    lines.append(f"  relative risk score {row['rrs']:.2f}")
    lines += [
        f"Where next (expected incidents per cell, {terrain.horizon})",
        f"  city mean {where['city_mean']:.4g}",
        f"  x environment {where['environment']:.2f}",
        f"  x area history {where['area_history']:.2f}",
        f"  x spot history {where['spot_history']:.2f} ({int(where['count'])} incidents in this cell)",
        f"  = {where['expected']:.3g} expected, x{where['relative']:.1f} the city's average",
        f"  90 % interval {where['lower']:.0f} to {where['upper']:.0f} incidents",
    ]
    return "\n".join(lines)
