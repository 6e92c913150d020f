"""Route sheets to take along: the stops of a corridor as CSV, and as GPX for a phone or a hand-held receiver."""

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import geopandas as gpd
import pandas as pd
import shapely

from rtmkc.checks import check_columns
from rtmkc.errors import InputError
from rtmkc.output.files import write_table
from rtmkc.places.corridors.visits.axis import Axis
from rtmkc.storage import created_at, write_atomically

_NEEDED = ("team", "seq", "latitude", "longitude")
_WHOLE = ("chainage_m", "walk_m", "minutes")
_GPX = "http://www.topografix.com/GPX/1/1"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
# Signs that XML 1.0 has no way to write.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_route_sheet(path: str | Path, stops: gpd.GeoDataFrame, *, overwrite: bool = False) -> None:
    """Write the stops of a corridor as CSV, one row a stop in walking order, to print and to fill in.

    Parameters
    ----------
    path : path
        The file.
    stops : GeoDataFrame
        From `plan_canvass`; any columns may have been added or left out but team, seq, latitude, longitude.
    overwrite : bool
        Whether a file that exists may be replaced.

    Raises
    ------
    InputError
        If a column is missing.
    OutputError
        If the file exists and `overwrite` is false, or it cannot be written.

    Notes
    -----
    Metres and minutes are whole numbers, days are written as 2024-06-30. Text that a spreadsheet would run as a
    formula gets an apostrophe before it.
    """
    sheet = pd.DataFrame(_in_order(stops).drop(columns=stops.geometry.name))
    for name in sheet.columns.intersection(list(_WHOLE)):
        sheet[name] = sheet[name].round().astype("Int64")
    for name in sheet.columns[sheet.dtypes.map(pd.api.types.is_datetime64_any_dtype)]:
        sheet[name] = sheet[name].dt.strftime("%Y-%m-%d").astype(object)
        sheet[name] = sheet[name].where(sheet[name].notna(), None)
    write_table(path, sheet, overwrite=overwrite)


def write_gpx(
    path: str | Path,
    stops: gpd.GeoDataFrame,
    corridor: Any = None,
    *,
    crs: Any = None,
    overwrite: bool = False,
) -> None:
    """Write the stops of a corridor as GPX 1.1: a waypoint each, a route for each team, the corridor as a track.

    Parameters
    ----------
    path : path
        The file.
    stops : GeoDataFrame
        From `plan_canvass`.
    corridor : GeoDataFrame of one row, Series, LineString, Layer or path, optional
        The centre line, as in `plan_canvass`.
    crs : optional
        Coordinate reference system of a corridor that has none.
    overwrite : bool
        Whether a file that exists may be replaced.

    Raises
    ------
    InputError
        If a column is missing, a stop has no place on the globe, or the corridor is not one line.
    OutputError
        If the file exists and `overwrite` is false, or it cannot be written.

    Notes
    -----
    Names are "team-number place"; what there is to see to stands in the description. The time of the file follows
    SOURCE_DATE_EPOCH. Schema: https://www.topografix.com/GPX/1/1/gpx.xsd.
    """
    ordered = _in_order(stops)
    attributes = {
        "version": "1.1",
        "creator": "rtmkc",
        "xmlns": _GPX,
        "xmlns:xsi": _XSI,
        "xsi:schemaLocation": f"{_GPX} {_GPX}/gpx.xsd",
    }
    root = ElementTree.Element("gpx", attributes)
    about = _add(root, "metadata")
    _add(about, "name", f"Route sheet: {stops.attrs.get('corridor', 'corridor')}")
    _add(about, "desc", stops.attrs.get("statement", ""))
    _add(about, "time", created_at())
    for _, stop in ordered.iterrows():
        _add_stop(root, "wpt", stop)
    for team, walk in ordered.groupby("team", sort=True):
        route = _add(root, "rte")
        heading = str(walk["heading"].iloc[0]) if "heading" in walk else ""
        _add(route, "name", f"Team {team}{f', {heading}' if heading else ''}")
        _add(route, "number", str(int(team)))  # type: ignore[call-overload]
        for _, stop in walk.iterrows():
            _add_stop(route, "rtept", stop)
    if corridor is not None:
        _add_track(root, Axis.of(corridor, crs))
    ElementTree.indent(root, " ")
    text = ElementTree.tostring(root, encoding="unicode")
    with write_atomically(path, overwrite=overwrite) as temporary:
        document = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'
        temporary.write_bytes(document.encode("utf-8"))


def _in_order(stops: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    check_columns(_NEEDED, stops.columns, "The table of stops")
    return stops.sort_values(["team", "seq"], kind="stable")


def _add(parent: ElementTree.Element, tag: str, text: str | None = None, **place: str) -> ElementTree.Element:
    """Append an element; an empty text is left out, as every such element is optional."""
    element = ElementTree.Element(tag, place)
    if text is not None:
        element.text = " ".join(_NOT_XML.sub("", text).split())
    if text is None or element.text:
        parent.append(element)
    return element


def _add_stop(parent: ElementTree.Element, tag: str, stop: pd.Series) -> None:
    """Append a stop; the schema wants name, then description, then symbol."""
    place = _text(stop.get("place")) or _text(stop.get("factors")) or "stop"
    element = _add(parent, tag, **_degrees(stop["latitude"], stop["longitude"]))
    _add(element, "name", f"{stop['team']}-{stop['seq']} {place}")
    said = [
        text
        for text in (
            _text(stop.get("compass")),
            _text(stop.get("factors")),
            _text(stop.get("departments")),
            _repeats(stop.get("repeats")),
        )
        if text
    ]
    _add(element, "desc", ". ".join(said))
    _add(element, "sym", "Flag, Red" if _is_number(stop.get("priority")) else "Flag, Blue")


def _add_track(root: ElementTree.Element, axis: Axis) -> None:
    track = _add(root, "trk")
    _add(track, "name", axis.name)
    segment = _add(track, "trkseg")
    line = gpd.GeoSeries([axis.line], crs=axis.crs).to_crs(4326).iloc[0]
    for longitude, latitude in shapely.get_coordinates(line):
        _add(segment, "trkpt", **_degrees(latitude, longitude))


def _degrees(latitude: Any, longitude: Any) -> dict[str, str]:
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise InputError(
            f"Invalid place {latitude}, {longitude}. A stop needs a latitude from -90 to 90 and a longitude from "
            "-180 to 180 degrees."
        )
    east = f"{longitude:.6f}"
    # The schema ends before 180; both are the one meridian.
    return {"lat": f"{latitude:.6f}", "lon": "-180.000000" if east == "180.000000" else east}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _is_number(value: Any) -> bool:
    return value is not None and not pd.isna(value)


def _repeats(value: Any) -> str:
    return f"Repeat violations: {int(value)}" if _is_number(value) and value > 0 else ""
