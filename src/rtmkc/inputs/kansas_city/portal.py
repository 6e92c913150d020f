"""What the tables of data.kcmo.org share: drifting column names, flags, and ways to write a place."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely

from rtmkc.errors import InputError
from rtmkc.inputs import dates
from rtmkc.inputs.columns import find_column, loose
from rtmkc.inputs.coordinates import NO_PLACE, check_order, parse_locations, points
from rtmkc.inputs.ledger import Ledger
from rtmkc.inputs.reading import LONLAT, Reading, no_crs

#: Latitudes and longitudes that a place in or near the city can have; others were geocoded elsewhere.
LATITUDES = (38.4, 39.8)
LONGITUDES = (-95.3, -93.9)
OUTSIDE = "geocoded outside latitude 38.4 to 39.8, longitude -95.3 to -93.9"
WITHHELD = "place withheld or (0, 0)"
FALSE_ORIGIN = "geocoded to the false origin of the state plane"
# ESRI:102698 (0, 0) in degrees: where a missing state plane coordinate lands.
_FALSE_ORIGIN = (-103.89058, 35.79752)
#: State plane feet, in which the city and its police keep coordinates. No EPSG code: EPSG:26798 is NAD27.
STATE_PLANE = "ESRI:102698"

Aliases = Mapping[str, tuple[str, ...]]


def open_tables(
    sources: Any, *, name: str, aliases: Aliases, check_layout: Callable[[Iterable[str], str], None]
) -> Reading:
    """Return one reading of one or several tables, with the columns named in one way.

    Parameters
    ----------
    sources : path, frame, or a list of them
        Rows are numbered on from one to the next.
    name : str
        Name of the layer.
    aliases : mapping of str to tuple of str
        Our name of a column, and the loose names it has had.
    check_layout : callable
        Takes the columns of a table and what it is called, and raises if its layout is not supported.

    Raises
    ------
    InputError
        If a table cannot be read or has another layout.
    """
    tables = list(sources) if isinstance(sources, list | tuple) else [sources]
    if not tables:
        raise InputError("Invalid source []. Give at least one file.")
    readings = [Reading.open(table, name=name) for table in tables]
    frames = []
    for number, reading in enumerate(readings):
        what = reading.source if reading.source != "memory" else f"table {number + 1}"
        check_layout(reading.frame.columns, what)
        frames.append(_rename(_degrees(reading), aliases))
    frame = pd.concat(frames, ignore_index=len(frames) > 1)
    combined = Reading(name, frame, Ledger.of(name, len(frame)))
    combined.source = ", ".join(reading.source for reading in readings)
    hashes = [reading.sha256 for reading in readings if reading.sha256]
    combined.sha256 = ", ".join(hashes) or None
    if all(reading.origins for reading in readings):
        combined.origins = [origin for reading in readings for origin in reading.origins]
    combined.marks["file"] = np.repeat(np.arange(len(frames)), [len(each) for each in frames])
    combined.notes = list(dict.fromkeys(note for reading in readings for note in reading.notes))
    return combined


def _degrees(reading: Reading) -> pd.DataFrame:
    """Return a table that came with geometry as one with columns of degrees."""
    frame = reading.frame
    if not isinstance(frame, gpd.GeoDataFrame) or frame.active_geometry_name is None:
        return frame
    if frame.crs is None:
        raise InputError(no_crs(reading.name))
    places = frame.geometry.to_crs(LONLAT)
    shapes = places.to_numpy()  # get_x gives NaN for what is not a point, where .x raises
    columns = {"longitude": shapely.get_x(shapes), "latitude": shapely.get_y(shapes)}
    return pd.DataFrame(frame.drop(columns=frame.geometry.name)).assign(**columns)


def _rename(frame: pd.DataFrame, aliases: Aliases) -> pd.DataFrame:
    found = {ours: find_column(frame.columns, names) for ours, names in aliases.items()}
    theirs = {column: ours for ours, column in found.items() if column is not None}
    clash = [column for column in frame.columns if column in aliases and theirs.get(column, "") != column]
    return frame.drop(columns=[column for column in clash if column not in theirs]).rename(columns=theirs)


def parse_flags(values: pd.Series) -> pd.Series:
    """Return yes, no or unknown (NA) from Y/N/U, True/False, 1/0 in any case.

    Examples
    --------
    >>> parse_flags(pd.Series(["Y", "false", True, "U"])).tolist()
    [True, False, True, <NA>]
    """
    text = values.astype("string").str.strip().str.lower().str.removesuffix(".0")
    known = {"y": True, "yes": True, "true": True, "t": True, "1": True}
    known |= {"n": False, "no": False, "false": False, "f": False, "0": False}
    return text.map(known).astype("boolean")


def locate(reading: Reading) -> None:
    """Find the place of every row, and mark under "reason" why a place is unusable ("" if it is not).

    State plane columns come first, then columns of degrees, then the text of the location column: where
    an export has several, the address text was geocoded from an address that had lost its N or NW.
    """
    frame = reading.frame
    shapes = np.full(len(frame), None, dtype=object)
    withheld = np.zeros(len(frame), dtype=bool)
    if {"easting", "northing"} <= set(frame.columns):
        shapes = _from_state_plane(frame)
        reading.notes.append(f"places from state plane feet ({STATE_PLANE}): {_count(shapes)}")
        frame = frame.drop(columns=["easting", "northing"])
    if {"latitude", "longitude"} <= set(frame.columns):
        degrees = points(frame["longitude"], frame["latitude"])
        degrees[_at(degrees, 0.0, 0.0)] = None
        empty = shapely.is_missing(shapes)
        shapes[empty] = degrees[empty]
        reading.notes.append(f"places from columns of degrees: {_count(shapes[empty])}")
        frame = frame.drop(columns=["latitude", "longitude"])
    reading.frame = frame
    if "location" in frame.columns:
        empty = shapely.is_missing(shapes)
        if empty.any():
            text = frame["location"][empty]
            shapes[empty], forms = parse_locations(text)
            check_order(reading.name, shapes[empty], fix="")
            withheld[empty] = text.astype("string").str.match(r"\s*99999").fillna(False).to_numpy(dtype=bool)
            reading.notes.append(
                f"places from the location column ({', '.join(sorted(forms)) or 'none'}): "
                f"{_count(shapes[empty])}"
            )
        reading.frame = frame.drop(columns="location")
    # Anything but a point with coordinates is no place of one incident.
    shapes[(shapely.get_type_id(shapes) != 0) | shapely.is_empty(shapes)] = None
    across, up = shapely.get_x(shapes), shapely.get_y(shapes)
    inside = (
        (across >= LONGITUDES[0]) & (across <= LONGITUDES[1]) & (up >= LATITUDES[0]) & (up <= LATITUDES[1])
    )
    reasons = np.where(inside, "", OUTSIDE).astype(object)
    reasons[_at(shapes, *_FALSE_ORIGIN, reach=1e-3)] = FALSE_ORIGIN
    reasons[shapely.is_missing(shapes)] = NO_PLACE
    reasons[~inside & (withheld | _at(shapes, 0.0, 0.0))] = WITHHELD
    reading.shapes, reading.crs = shapes, LONLAT
    reading.marks["reason"] = reasons


def _from_state_plane(frame: pd.DataFrame) -> np.ndarray:
    """Return points in degrees from columns of state plane feet; zero stands for missing."""
    east, north = (
        pd.to_numeric(frame[name], errors="coerce").replace(0, np.nan).to_numpy(dtype=float, na_value=np.nan)
        for name in ("easting", "northing")
    )
    known = np.isfinite(east) & np.isfinite(north)
    to_degrees = pyproj.Transformer.from_crs(STATE_PLANE, LONLAT, always_xy=True)
    across, up = to_degrees.transform(east[known], north[known])
    shapes = np.full(len(frame), None, dtype=object)
    shapes[known] = shapely.points(across, up)
    return shapes


def _count(shapes: np.ndarray) -> str:
    return f"{int((~shapely.is_missing(shapes)).sum()):,} rows"


def _at(shapes: np.ndarray, longitude: float, latitude: float, *, reach: float = 1e-6) -> np.ndarray:
    near: np.ndarray = (np.abs(shapely.get_x(shapes) - longitude) <= reach) & (
        np.abs(shapely.get_y(shapes) - latitude) <= reach
    )
    return near


def collapse(reading: Reading, *, within: str) -> None:
    """Keep one row of those with an equal key: one with a usable place if there is any, and the best ranked.

    Parameters
    ----------
    reading : Reading
        With the marks "key" (equal for the rows of one incident, -1 for a row that is not to be merged),
        "reason", "file", and if one row is better than another "rank" (lowest first).
    within : str
        Reason in the ledger for rows that repeat one of their own file.
    """
    key, reasons, origin = (reading.marks[name] for name in ("key", "reason", "file"))
    position = np.arange(len(key))
    key = np.where(key < 0, key.max(initial=-1) + 1 + position, key)
    rank = reading.marks.get("rank", position)
    order = np.lexsort((position, rank, reasons != "", key))
    first = np.ones(len(key), dtype=bool)
    first[1:] = key[order][1:] != key[order][:-1]
    kept = np.zeros(len(key), dtype=bool)
    kept[order[first]] = True
    keeper = np.empty(len(key), dtype=origin.dtype)
    keeper[order] = origin[order[first]][np.cumsum(first) - 1]
    elsewhere = ~kept & (origin != keeper)
    reading.merge(~kept & ~elsewhere, within)
    reading.merge(elsewhere[kept | elsewhere], "repeated in another file")


def drop_unplaced(reading: Reading) -> None:
    """Leave out the rows whose place cannot be used, by reason."""
    for reason in (NO_PLACE, WITHHELD, FALSE_ORIGIN, OUTSIDE):
        reading.drop(reading.marks["reason"] == reason, reason, fault=True)


def as_codes(values: pd.Series) -> pd.Series:
    """Return codes as text, whether they were read as text or as numbers; blanks as missing.

    Examples
    --------
    >>> as_codes(pd.Series([120.0, " 13A ", "", None], dtype=object)).tolist()
    ['120', '13A', <NA>, <NA>]
    """
    text = values.astype("string").str.strip().str.removesuffix(".0")
    return text.where(text != "")


def numbered(frame: pd.DataFrame, column: str) -> np.ndarray:
    """Return a number for every value of a column of codes, the same for the same; -1 where it is missing."""
    if column not in frame:
        return np.full(len(frame), -1)
    return np.asarray(pd.factorize(frame[column])[0])


def moment(frame: pd.DataFrame, date: str, time: str) -> tuple[pd.Series, pd.Series]:
    """Return date with time of day of one pair of columns, and whether the time is known.

    A column that is not there gives missing dates, or dates alone.
    """
    if date not in frame:
        nothing = pd.Series(pd.NaT, index=frame.index, dtype="datetime64[ns]")
        return nothing, pd.Series(False, index=frame.index)
    day, _ = dates.parse_dates(frame[date], what=date)
    timed = pd.Series(dates.has_time_of_day(day), index=frame.index) & day.notna()
    if time in frame:
        clock = dates.parse_times(frame[time])
        day = day.where(clock.isna(), day.dt.normalize() + clock)
        timed |= clock.notna() & day.notna()
    return day, timed


def has_places(columns: Iterable[str], aliases: Aliases) -> bool:
    """Return whether a table has a column of locations, a pair of degrees or a pair of state plane feet."""
    names = {loose(column) for column in columns}
    present = {ours for ours, theirs in aliases.items() if names.intersection(theirs)}
    pairs = ({"location"}, {"latitude", "longitude"}, {"easting", "northing"})
    return any(pair <= present for pair in pairs)
