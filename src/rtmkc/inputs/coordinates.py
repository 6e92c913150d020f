"""Where a table keeps its places: coordinate columns or location text, and which of them cannot be true."""

import ast
import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pyproj
import shapely

from rtmkc.errors import InputError
from rtmkc.inputs.columns import find_column

LATITUDE_NAMES = ("latitude", "lat", "latitudedd", "latdd", "latitudewgs84", "latwgs84", "geolat", "ylat")
LONGITUDE_NAMES = (
    "longitude", "lon", "long", "lng", "longitudedd", "londd", "longdd", "longitudewgs84", "lonwgs84",
    "longwgs84", "geolon", "geolong", "geolng", "xlon", "xlong",
)  # fmt: skip
EASTING_NAMES = ("easting", "x", "xcoordinate", "xcoord", "coordx", "pointx", "east", "xcoordinates")
NORTHING_NAMES = ("northing", "y", "ycoordinate", "ycoord", "coordy", "pointy", "north", "ycoordinates")
LOCATION_NAMES = (
    "geometry", "thegeom", "geom", "wkt", "location", "location1", "latlong", "latlon", "geolocation",
    "point", "georeference", "newgeoreferencedcolumn", "geocodedcolumn", "geocodedlocation", "caselocation",
    "incidentlocation", "mappinglocation", "locationpoint", "lonlat", "shape", "coordinates",
)  # fmt: skip

_DECIMAL = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_POINT = re.compile(rf"^\s*POINT\s*Z?\s*\(\s*({_DECIMAL})\s+({_DECIMAL})[^)]*\)\s*$", re.IGNORECASE)
_PAIR = re.compile(rf"\(\s*({_DECIMAL})\s*,\s*({_DECIMAL})\s*\)\s*$")
# Digits enough to be degrees and nothing else: "39.0997, -94.5786".
_BARE_PAIR = re.compile(r"^\s*([+-]?\d{1,2}\.\d{3,})\s*[,; ]\s*([+-]?\d{1,3}\.\d{3,})\s*$")
_SHAPE = re.compile(r"^\s*(?:MULTI)?(?:POINT|LINESTRING|POLYGON)\b", re.IGNORECASE)

_KINDS = ("Point", "LineString", "LinearRing", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon")
_BLOCK = 500_000
NO_PLACE = "no coordinates"
NULL_ISLAND = "coordinates (0, 0)"
NOT_FINITE = "coordinates not finite"
OFF_THE_GLOBE = "longitude beyond 180 or latitude beyond 90 degrees"
NOT_A_SHAPE = "neither a point, a line nor an area"


def parse_crs(crs: Any) -> pyproj.CRS:
    """Return a coordinate reference system from whatever pyproj understands.

    Raises
    ------
    InputError
        If pyproj does not know it.
    """
    try:
        return pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError:
        raise InputError(
            f"Invalid crs {crs!r}. It is not a coordinate reference system; write a code such as 'EPSG:4326' "
            "(longitude and latitude) or 'ESRI:102698'."
        ) from None


def crs_name(crs: pyproj.CRS) -> str:
    """Return the code of a system, such as EPSG:26915, or its name where it has no code."""
    authority = crs.to_authority()
    return ":".join(authority) if authority else crs.name


def numbers(values: pd.Series) -> np.ndarray:
    """Return a column as floats, NaN for what is not a number."""
    return pd.to_numeric(values, errors="coerce").to_numpy(dtype=float, na_value=np.nan)


def points(first: pd.Series, second: pd.Series) -> np.ndarray:
    """Return points from two columns (easting or longitude first); None where either is missing.

    Text that is not a number counts as missing; infinity stays, to be counted under its own reason.
    """
    along, up = numbers(first), numbers(second)
    shapes = np.full(len(along), None, dtype=object)
    for start in range(0, len(along), _BLOCK):
        block = slice(start, start + _BLOCK)
        known = ~(np.isnan(along[block]) | np.isnan(up[block]))
        shapes[block][known] = shapely.points(along[block][known], up[block][known])
    return shapes


def parse_locations(values: pd.Series) -> tuple[np.ndarray, frozenset[str]]:
    """Return the geometries of a column of location text, and the forms met.

    Reads well-known text (longitude first), text that ends in ``(latitude, longitude)`` or is nothing but
    the two in degrees, GeoJSON geometries, and objects with ``latitude`` and ``longitude``, as text or as
    dictionaries.

    Returns
    -------
    shapes : ndarray of geometries
        None where there is no place.
    forms : frozenset of str
        Of "WKT", "(latitude, longitude)" and "JSON".

    Examples
    --------
    >>> shapes, forms = parse_locations(pd.Series(["58 ST (39.02, -94.59)", "POINT (-94.5 39.1)", "99999"]))
    >>> [str(shape) for shape in shapes], sorted(forms)
    (['POINT (-94.59 39.02)', 'POINT (-94.5 39.1)', 'None'], ['(latitude, longitude)', 'WKT'])
    """
    is_object = np.zeros(len(values), dtype=bool)
    if values.dtype == object:
        is_object[:] = [isinstance(value, dict) for value in values]
    # Incidents share places: each text is read once.
    codes, known = pd.factorize(values.where(~is_object).astype("string"))
    read, forms = _parse_text(pd.Series(known, dtype="string"))
    shapes = np.concatenate([read, np.array([None], dtype=object)])[codes]
    for position in np.flatnonzero(is_object):
        shapes[position] = _from_json(values.iloc[position])
    return shapes, forms | ({"JSON"} if (~shapely.is_missing(shapes[is_object])).any() else set())


def _parse_text(text: pd.Series) -> tuple[np.ndarray, frozenset[str]]:
    shapes = np.full(len(text), None, dtype=object)
    forms = set()
    for form, pattern, order in (
        ("WKT", _POINT, (0, 1)),
        ("(latitude, longitude)", _PAIR, (1, 0)),
        ("(latitude, longitude)", _BARE_PAIR, (1, 0)),
    ):
        parts = text.str.extract(pattern)
        found = points(parts[order[0]], parts[order[1]])
        known = ~shapely.is_missing(found)
        known &= shapely.is_missing(shapes)
        shapes[known] = found[known]
        forms |= {form} if known.any() else set()
    left = shapely.is_missing(shapes)
    shape_text = text.str.match(_SHAPE).fillna(False).to_numpy(dtype=bool) & left
    if shape_text.any():
        shapes[shape_text] = shapely.from_wkt(text[shape_text].to_numpy(dtype=object), on_invalid="ignore")
        forms |= {"WKT"} if (~shapely.is_missing(shapes[shape_text])).any() else set()
    braces = text.str.lstrip().str.startswith("{").fillna(False).to_numpy(dtype=bool) & left
    for position in np.flatnonzero(braces):
        shapes[position] = _from_json(text.iloc[position])
        forms |= {"JSON"} if shapes[position] is not None else set()
    return shapes, frozenset(forms)


def _from_json(value: Any) -> Any:
    try:
        record = _record(value) if isinstance(value, str) else value
        if "latitude" in record:
            return shapely.Point(float(record["longitude"]), float(record["latitude"]))
        return shapely.from_geojson(json.dumps(record))
    except (ValueError, TypeError, KeyError, shapely.errors.GEOSException):
        return None


def _record(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        # Tables that passed through Python have its quotes; only literals are read, nothing runs.
        try:
            return ast.literal_eval(text)
        except (SyntaxError, MemoryError, RecursionError):
            raise ValueError("neither JSON nor a literal") from None


def find_location_column(frame: pd.DataFrame) -> str | None:
    """Return the column that holds places as text or objects, by its name, else by its first values."""
    named = find_column(frame.columns, LOCATION_NAMES)
    text = [name for name in frame.columns if frame[name].dtype == object or _is_text(frame[name])]
    for name in ([named] if named else []) + [name for name in text if name != named]:
        first = frame[name].dropna().head(200)
        shapes, forms = parse_locations(first)
        if forms and (name == named or 2 * (~shapely.is_missing(shapes)).sum() > len(first)):
            return name
    # The first values may all be empty of places where later ones are not.
    return named if named and parse_locations(frame[named])[1] else None


def _is_text(values: pd.Series) -> bool:
    return bool(pd.api.types.is_string_dtype(values.dtype))


def look_like_degrees(across: np.ndarray, up: np.ndarray) -> bool:
    """Return whether coordinates can be nothing but degrees of longitude and latitude of one city.

    Almost all lie on the globe and within 20 degrees of each other, and half have more than two decimals:
    the numbers of a local system in metres or feet would need a city smaller than a street block.

    Examples
    --------
    >>> look_like_degrees(np.array([-94.5786, -94.6]), np.array([39.0997, 39.1]))
    True
    >>> look_like_degrees(np.array([1.0, 20.0]), np.array([2.0, 30.0]))
    False
    """
    known = np.isfinite(across) & np.isfinite(up) & ((across != 0) | (up != 0))
    across, up = across[known], up[known]
    if not len(across):
        return False
    on_the_globe = (np.abs(across) <= 180) & (np.abs(up) <= 90)
    fine = np.abs(across * 100 - np.round(across * 100)) > 1e-6
    middle = np.median(across), np.median(up)
    near = (np.abs(across - middle[0]) <= 10) & (np.abs(up - middle[1]) <= 10)
    return bool(on_the_globe.mean() > 0.9 and near.mean() > 0.9 and fine.mean() >= 0.5)


def guess_system(across: np.ndarray, up: np.ndarray) -> str:
    """Return a sentence on what projected coordinates look like, or nothing; it decides nothing."""
    known = np.isfinite(across) & np.isfinite(up) & ((across != 0) | (up != 0))
    if not known.any():
        return ""
    east, north = float(np.median(across[known])), float(np.median(up[known]))
    if 2_000_000 < abs(east) <= 20_037_509 and 2_000_000 < abs(north) < 12_000_000 and east < 0:
        return " They look like web Mercator, as ArcGIS exports it: crs='EPSG:3857'."
    if 100_000 <= east < 900_000 and 1_000_000 < north < 10_000_000:
        return " They look like metres of a UTM zone; the portal's page names the zone."
    if 0 < east < 10_000_000 and 0 < north < 10_000_000 and max(east, north) > 100_000:
        return " They look like feet of a state plane zone; the portal's page names the zone."
    return ""


def flatten(shapes: np.ndarray) -> np.ndarray:
    """Return the geometries without heights."""
    high = shapely.has_z(shapes)
    if not high.any():
        return shapes
    flat = shapes.copy()
    flat[high] = shapely.force_2d(shapes[high])
    return flat


def repair(shapes: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the geometries with invalid areas made valid (their area kept), and how many were."""
    areas = np.isin(shapely.get_type_id(shapes), (3, 6))
    if not areas.any():
        return shapes, 0
    broken = np.flatnonzero(areas & ~shapely.is_valid(shapes))
    if broken.size:
        shapes = shapes.copy()
        for position in broken:
            parts = shapely.get_parts(shapely.make_valid(shapes[position]))
            polygons = shapely.get_parts(parts[np.isin(shapely.get_type_id(parts), (3, 6))])
            shapes[position] = shapely.union_all(polygons) if polygons.size else None
    return shapes, int(broken.size)


def check_order(name: str, shapes: np.ndarray, *, fix: str) -> None:
    """Raise if the longitudes and latitudes of a layer are something else, or swapped.

    A few wrong places are not a wrong layer: more than half must be off the globe.
    """
    # Of very many places every so-manieth tells whether more than half are wrong.
    bounds = shapely.bounds(shapes[:: 1 + len(shapes) // _BLOCK])
    bounds = bounds[np.isfinite(bounds).all(axis=1)]
    if not len(bounds):
        return
    across, up = np.abs(bounds[:, [0, 2]]).max(axis=1), np.abs(bounds[:, [1, 3]]).max(axis=1)
    off = (across > 180) | (up > 90)
    if off.mean() <= 0.5:
        return
    (west, south), (east, north) = bounds[off][:, :2].min(axis=0), bounds[off][:, 2:].max(axis=0)
    spread = f"{west:.6g} to {east:.6g} across and {south:.6g} to {north:.6g} up"
    if ((across[off] <= 90) & (up[off] <= 180)).mean() > 0.5:
        raise InputError(
            f"Invalid coordinates of layer {name!r}. They run {spread}: longitude and latitude look swapped; "
            f"exchange them{fix}."
        )
    raise InputError(
        f"Invalid coordinates of layer {name!r}. They run {spread}, which are no degrees of longitude and "
        "latitude; they look projected: name easting=, northing= and crs=, or state the file's own crs."
    )


def bad_places(shapes: np.ndarray, *, geographic: bool) -> dict[str, np.ndarray]:
    """Return a boolean array for every reason why a place cannot be used; a row has one reason at most."""
    reasons = (NOT_FINITE, NO_PLACE, NOT_A_SHAPE, NULL_ISLAND, OFF_THE_GLOBE)
    bad = {reason: np.zeros(len(shapes), dtype=bool) for reason in reasons}
    # In blocks: the bounds of five million points at once would take as much memory as the points.
    for start in range(0, len(shapes), _BLOCK):
        block = slice(start, start + _BLOCK)
        taken = np.zeros(len(shapes[block]), dtype=bool)
        for reason, mask in _bad_places(shapes[block], geographic).items():
            bad[reason][block] = mask & ~taken
            taken |= mask
    return bad


def _bad_places(shapes: np.ndarray, geographic: bool) -> dict[str, np.ndarray]:
    coordinates, owner = shapely.get_coordinates(shapes, return_index=True)
    infinite = np.zeros(len(shapes), dtype=bool)
    infinite[owner[~np.isfinite(coordinates).all(axis=1)]] = True
    kinds = shapely.get_type_id(shapes)
    # The bounds of a missing or empty geometry are NaN; asking an empty point for its x raises.
    bounds = np.abs(shapely.bounds(shapes))
    with np.errstate(invalid="ignore"):
        null_island = (kinds == 0) & (bounds < 1e-6).all(axis=1)
        off = (bounds[:, [0, 2]].max(axis=1) > 180) | (bounds[:, [1, 3]].max(axis=1) > 90)
    return {
        NOT_FINITE: infinite,
        NO_PLACE: shapely.is_missing(shapes) | shapely.is_empty(shapes),
        NOT_A_SHAPE: kinds == 7,
        NULL_ISLAND: null_island,
        OFF_THE_GLOBE: off & geographic,
    }
