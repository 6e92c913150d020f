"""What the tables of data.kcmo.org share: drifting column names, flags, and ways to write a place."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from rtmkc.errors import InputError
from rtmkc.inputs.columns import find_column
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
    columns = {"longitude": places.x, "latitude": places.y}
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

    Columns of degrees come first, then the text of the location column.
    """
    frame = reading.frame
    shapes = np.full(len(frame), None, dtype=object)
    withheld = np.zeros(len(frame), dtype=bool)
    if {"latitude", "longitude"} <= set(frame.columns):
        shapes = points(frame["longitude"], frame["latitude"])
        shapes[_at(shapes, 0.0, 0.0)] = None
    if "location" in frame.columns:
        written, forms = parse_locations(frame["location"])
        check_order(reading.name, written, fix="")
        withheld = (
            frame["location"].astype("string").str.match(r"\s*99999").fillna(False).to_numpy(dtype=bool)
        )
        empty = shapely.is_missing(shapes)
        shapes[empty] = written[empty]
        reading.notes.append(f"places from the location column ({', '.join(sorted(forms)) or 'none'})")
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


def _at(shapes: np.ndarray, longitude: float, latitude: float, *, reach: float = 1e-6) -> np.ndarray:
    near: np.ndarray = (np.abs(shapely.get_x(shapes) - longitude) <= reach) & (
        np.abs(shapely.get_y(shapes) - latitude) <= reach
    )
    return near


def collapse(reading: Reading, *, within: str) -> None:
    """Keep one row of those with an equal key, one with a usable place if there is any.

    Parameters
    ----------
    reading : Reading
        With the marks "key" (equal for the rows of one incident, -1 for a row that is not to be merged),
        "reason" and "file".
    within : str
        Reason in the ledger for rows that repeat one of their own file.
    """
    key, reasons, origin = (reading.marks[name] for name in ("key", "reason", "file"))
    position = np.arange(len(key))
    key = np.where(key < 0, key.max(initial=-1) + 1 + position, key)
    order = np.lexsort((position, reasons != "", key))
    first = np.ones(len(key), dtype=bool)
    first[1:] = key[order][1:] != key[order][:-1]
    kept = np.zeros(len(key), dtype=bool)
    kept[order[first]] = True
    keeper = np.empty(len(key), dtype=origin.dtype)
    keeper[order] = origin[order[first]][np.cumsum(first) - 1]
    elsewhere = ~kept & (origin != keeper)
    reading.ledger = reading.ledger.merge(within, int((~kept & ~elsewhere).sum()))
    reading.ledger = reading.ledger.merge("repeated in another file", int(elsewhere.sum()))
    reading.narrow(kept)


def drop_unplaced(reading: Reading) -> None:
    """Leave out the rows whose place cannot be used, by reason."""
    for reason in (NO_PLACE, WITHHELD, FALSE_ORIGIN, OUTSIDE):
        reading.drop(reading.marks["reason"] == reason, reason, fault=True)
