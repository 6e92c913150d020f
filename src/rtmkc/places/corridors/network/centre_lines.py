"""A layer of street centre lines is read: lines in metres, with the names and road classes of their rows."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely

from rtmkc.checks import check_columns
from rtmkc.errors import InputError
from rtmkc.raster.area import WEB_MERCATOR

NOT_FOR_CORRIDORS = (
    "motorway", "motorway_link", "trunk_link", "interstate", "freeway", "expressway", "ramp",
    "S1100", "S1630",
    "footway", "path", "steps", "cycleway", "bridleway", "track", "proposed", "construction", "raceway",
    "S1710", "S1720", "S1820",
)  # fmt: skip
"""Road classes left out by default: no street to walk along (OpenStreetMap, TIGER and plain words)."""

NAME_COLUMNS = (
    "name", "street", "streetname", "stname", "strname", "fullname", "fullstname", "streetfullname",
    "fullstreet", "roadname", "rdname", "streetnam", "streetn", "stnam", "road", "label",
)  # fmt: skip
CLASS_COLUMNS = (
    "highway",
    "roadclass",
    "rdclass",
    "fclass",
    "functionalclass",
    "funcclass",
    "mtfcc",
    "class",
)
_NO_NAME = re.compile(
    r"(un-?named|no ?name)\b.*|[<(]?(none|null|nan|n/?a|unknown)[>)]?|[\W_]*", re.IGNORECASE
)


def find_column(frame: pd.DataFrame, given: str | None, known: tuple[str, ...]) -> str | None:
    """Return the column that was named, or else the first of the known spellings that there is."""
    if given is not None:
        check_columns([given], frame.columns, "The street layer")
        return given
    loose = {
        re.sub(r"[^a-z0-9]", "", str(column).lower()): str(column) for column in reversed(list(frame.columns))
    }
    return next((loose[candidate] for candidate in known if candidate in loose), None)


def as_text(value: Any) -> str | None:
    """Return a name or class as text, None if there is none."""
    if isinstance(value, list | tuple | set | np.ndarray):  # OpenStreetMap tags of merged ways
        return " / ".join(sorted({str(part).strip() for part in value})) or None
    return None if value is None or value is pd.NA or value != value else str(value).strip()


def clean_names(names: pd.Series) -> np.ndarray:
    """One spelling a street: spaces collapsed, and the commonest of spellings that differ in case only."""
    texts = [" ".join((as_text(name) or "").split()) for name in names]
    counts = Counter(text for text in texts if _NO_NAME.fullmatch(text) is None)
    spelling: dict[str, str] = {}
    for text in sorted(counts, key=lambda text: (-counts[text], text)):
        spelling.setdefault(text.casefold(), text)
    return objects(spelling.get(text.casefold()) for text in texts)


def objects(values: Iterable[Any]) -> np.ndarray:
    """Return an array of objects, whatever they are."""
    listed = list(values)
    made = np.empty(len(listed), dtype=object)
    made[:] = listed
    return made


def to_metres(frame: gpd.GeoDataFrame, crs: Any, notes: list[str]) -> gpd.GeoDataFrame:
    """Project to `crs`, or to the local UTM zone if the layer is not in metres."""
    target = pyproj.CRS.from_user_input(crs) if crs is not None else frame.crs
    if crs is None and not _is_metric(target):
        target = frame.estimate_utm_crs()
    if not _is_metric(target):
        raise InputError(
            f"Invalid crs {crs!r}. Streets need a projected coordinate system in metres, not EPSG:3857, "
            "such as the local UTM zone (frame.estimate_utm_crs())."
        )
    if frame.crs == target:
        return frame
    notes.append(f"Streets projected to {target.name}.")
    return frame.to_crs(target)


def check_not_degrees(frame: gpd.GeoDataFrame) -> None:
    """Refuse longitudes and latitudes that are labelled as metres or feet: all streets would be millimetres."""
    if frame.crs is None or not frame.crs.is_projected or len(frame) == 0:
        return
    west, south, east, north = frame.total_bounds
    lengths = shapely.length(frame.geometry.to_numpy())
    lengths = lengths[lengths > 0]
    if min(west, south) >= -180 and max(east, north) <= 180 and len(lengths) and np.median(lengths) < 0.1:
        raise InputError(
            f"Invalid streets: the middle one of {len(lengths):,} lines is {np.median(lengths):.2g} "
            f"{frame.crs.axis_info[0].unit_name}s long in {frame.crs.name}. These look like longitudes and "
            "latitudes under a wrong label; set the layer's coordinate system to EPSG:4326."
        )


def _is_metric(crs: pyproj.CRS) -> bool:
    in_metres = all(abs(axis.unit_conversion_factor - 1) < 1e-9 for axis in crs.axis_info[:2])
    return bool(crs.is_projected and in_metres and crs.to_epsg() != WEB_MERCATOR)


def take_lines(frame: gpd.GeoDataFrame, notes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return single lines without heights, and the row each comes from."""
    shapes = shapely.force_2d(frame.geometry.to_numpy())
    parts, row = shapely.get_parts(shapes, return_index=True)
    while np.isin(shapely.get_type_id(parts), [5, 7]).any():
        parts, inner = shapely.get_parts(parts, return_index=True)
        row = row[inner]
    is_line = np.isin(shapely.get_type_id(parts), [1, 2])
    if not is_line.all():
        notes.append(f"{int((~is_line).sum())} shapes that are not lines were left out of the streets.")
    parts, row = parts[is_line], row[is_line]
    rings = shapely.get_type_id(parts) == 2
    parts[rings] = [shapely.LineString(ring.coords) for ring in parts[rings]]
    usable = np.isfinite(shapely.length(parts)) & (shapely.length(parts) > 0)
    if not usable.all():
        notes.append(f"{int((~usable).sum())} street lines without length were left out.")
    return shapely.remove_repeated_points(parts[usable]), row[usable]


def drop_classes(
    lines: np.ndarray, row: np.ndarray, classes: pd.Series, excluded: Iterable[str], notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Leave out lines of the classes excluded."""
    unwanted = {str(value).casefold() for value in excluded}
    of_line = classes.iloc[row]
    drop = of_line.map(lambda value: isinstance(value, str) and value.casefold() in unwanted).to_numpy(
        dtype=bool
    )
    if drop.any():
        named = ", ".join(sorted(set(of_line[drop])))
        notes.append(f"{int(drop.sum())} lines left out for their road class ({named}).")
    return lines[~drop], row[~drop]
