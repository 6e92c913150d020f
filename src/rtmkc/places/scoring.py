"""Score and explain any location: why here, and where next, as two blocks that are never multiplied."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely

from rtmkc.errors import InputError
from rtmkc.inputs.layers import as_layer

if TYPE_CHECKING:
    from rtmkc.model.terrain import RiskTerrain

NO_FACTOR_HERE = "ranked by history; no measured factor explains it"
HIGH = 2.0
"""A place with this many times the city's average is called high in the sentences."""


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
        Same index and columns, and: cell_id (-1 outside the study area), relative (x the city's average),
        expected, lower, upper (incidents per cell over the horizon), percentile (share of the study area with a
        lower expected value, in %), rrs, why, where. Places outside have missing values and a `why` that says so.

    Raises
    ------
    InputError
        If none of the places lies in the study area, or their system is not known.
    """
    layer = as_layer(places, name="places")
    frame = layer.to_crs(terrain.grid.crs).frame
    points = frame.geometry.representative_point()
    cell = terrain.grid.locate(points.x, points.y)
    if len(cell) and not (cell >= 0).any():
        points_only = gpd.GeoDataFrame(geometry=points)
        terrain.grid.place(points_only)  # raises with what is wrong: swapped, another city, ...
    found = cell >= 0
    cells = terrain.cells.iloc[cell[found]]
    taken = {"cell_id", "relative", "expected", "lower", "upper", "percentile", "rrs", "why", "where"}
    result = layer.frame.rename(
        columns={name: f"{name}_given" for name in layer.frame.columns if name in taken}
    )
    result["cell_id"] = cell
    values = {
        "relative": cells["expected"] / terrain.city_mean,
        "expected": cells["expected"],
        "lower": cells["lower"],
        "upper": cells["upper"],
        "percentile": _percentile(terrain)[cell[found]],
        "rrs": cells["rrs"],
    }
    for name, value in values.items():
        result[name] = np.nan
        result.loc[found, name] = np.asarray(value, dtype=float)
    rows = [terrain.cells.iloc[number] if number >= 0 else None for number in cell]
    result["why"] = ["outside the study area" if row is None else why_words(terrain, row) for row in rows]
    result["where"] = ["outside the study area" if row is None else where_words(terrain, row) for row in rows]
    return result


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
        One row a factor in the model: factor, kind, influence_m, rrv, present.
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
    why = in_model[["factor", "kind", "influence_m", "rrv"]].reset_index(drop=True)
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


def why_words(terrain: "RiskTerrain", row: pd.Series) -> str:
    """Return the factors present in a cell with their RRVs, strongest first."""
    weights = terrain.weights.set_index("factor")["rrv"]
    present = [name for name in terrain.factors if row[f"f_{name}"]]
    if present:
        return ", ".join(f"{name} x{weights[name]:.2f}" for name in present)
    return NO_FACTOR_HERE if row["expected"] >= HIGH * terrain.city_mean else "no measured factor"


def where_words(terrain: "RiskTerrain", row: pd.Series) -> str:
    """Return what makes the expected incidents of a cell, as multiples of the city's mean."""
    return (
        f"environment x{row['environment']:.2f}, area history x{row['area_history']:.2f}, "
        f"spot history x{row['spot_history']:.2f}"
    )


def describe_factors(terrain: "RiskTerrain", cells: pd.DataFrame) -> str:
    """Return in how many of some cells each factor of the model is present, most frequent first."""
    shares = {name: float(cells[f"f_{name}"].mean()) for name in terrain.factors}
    present = sorted((name for name in shares if shares[name] > 0), key=lambda name: -shares[name])
    if not present:
        return NO_FACTOR_HERE
    return ", ".join(f"{name} in {100 * shares[name]:.0f} % of cells" for name in present)


def _percentile(terrain: "RiskTerrain") -> np.ndarray:
    """Share of the area, in %, whose expected value (per full cell) is lower."""
    expected, share = terrain.cells["expected"].to_numpy(), terrain.grid.share
    values, group = np.unique(expected, return_inverse=True)
    size = np.bincount(group, weights=share, minlength=len(values))
    below = np.cumsum(size) - size
    return 100 * below[group] / share.sum()


def _cell_of(terrain: "RiskTerrain", location: Any) -> int:
    grid = terrain.grid
    if isinstance(location, int | np.integer) and not isinstance(location, bool):
        if not 0 <= location < grid.n_cells:
            raise InputError(f"Invalid cell {location}. The grid has cells 0 to {grid.n_cells - 1:,}.")
        return int(location)
    if isinstance(location, shapely.Point):
        easting, northing, latitude, longitude = location.x, location.y, None, None
    else:
        try:
            latitude, longitude = (float(value) for value in location)
        except (TypeError, ValueError):
            raise InputError(
                f"Invalid location {location!r}. Give (latitude, longitude) in degrees, a projected Point, or a cell "
                "number. Addresses need an address layer, which rtmkc does not have; look the coordinates up first."
            ) from None
        easting, northing = _project(grid, latitude, longitude)
    cell = int(grid.locate([easting], [northing])[0])
    if cell < 0:
        advice = ""
        if latitude is not None and longitude is not None:
            swapped = _project(grid, longitude, latitude)
            if grid.locate([swapped[0]], [swapped[1]])[0] >= 0:
                advice = " With the two exchanged it would be inside: write latitude first."
        raise InputError(f"Invalid location {location!r}. It lies outside the study area.{advice}")
    return cell


def _project(grid: Any, latitude: float, longitude: float) -> tuple[float, float]:
    if not -90 <= latitude <= 90:
        return np.nan, np.nan
    return pyproj.Transformer.from_crs(4326, grid.crs, always_xy=True).transform(longitude, latitude)


def _write(
    terrain: "RiskTerrain",
    row: pd.Series,
    why: pd.DataFrame,
    where: dict[str, float],
    longitude: float,
    latitude: float,
) -> str:
    lines = [
        f"Cell {int(row['cell_id'])} around {latitude:.5f}, {longitude:.5f} "
        f"({terrain.grid.cell_size:.0f} m; {terrain.facts['n_incidents']:,} incidents, {terrain.facts['period'] or 'period unknown'})",
        "Why here (relative risk, lowest cell = 1)",
    ]
    for _, factor in why.iterrows():
        mark = f"x{factor['rrv']:.2f}" if factor["present"] else "not here"
        lines.append(f"  {factor['factor']} ({factor['kind']}, {factor['influence_m']:.0f} m): {mark}")
    if why.empty:
        lines.append("  no significant factor")
    elif not why["present"].any():
        lines.append(f"  {why_words(terrain, row)}")
    lines.append(f"  relative risk score {row['rrs']:.2f}")
    lines += [
        f"Where next (expected incidents per cell, {terrain.horizon})",
        f"  city mean {where['city_mean']:.4g}",
        f"  x environment {where['environment']:.2f}",
        f"  x area history {where['area_history']:.2f}",
        f"  x spot history {where['spot_history']:.2f} ({int(where['count'])} incidents in this cell)",
        f"  = {where['expected']:.3g} expected, x{where['relative']:.1f} the city's average; "
        f"90 % interval {where['lower']:.0f} to {where['upper']:.0f}",
    ]
    return "\n".join(lines)
