"""Requests for city services by 311 in Kansas City, in the layouts from 2007 and since March 2021."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from rtmkc.errors import InputError
from rtmkc.inputs.columns import loose
from rtmkc.inputs.kansas_city import portal
from rtmkc.inputs.layers import Layer, finish
from rtmkc.inputs.reading import Reading
from rtmkc.inputs.selection import Places, Where
from rtmkc.units import Period

_ALIASES = {
    "request": ("reportedissue", "reportedissueid", "requestid", "caseid"),
    "workorder": ("workorder", "workorderid"),
    "request_type": ("requesttype",),
    "category": ("category", "category1"),
    "type": ("type", "type1", "category2"),
    "detail": ("detail", "detail1"),
    "issue_type": ("issuetype",),
    "issue_sub_type": ("issuesubtype",),
    "status": ("currentstatus", "status"),
    "opened": ("opendatetime", "opendate", "opened", "creationdate", "created"),
    "opened_time": ("creationtime",),
    "closed": ("closeddate", "closed"),
    "days_to_close": ("daystoclose",),
    "address": ("incidentaddress", "streetaddress", "address"),
    "council_district": ("councildistrict",),
    "police_district": ("policedistrict",),
    "department": ("department",),
    "work_group": ("departmentworkgroup", "workgroup"),
    "report_source": ("reportsource", "source"),
    "source_category": ("sourcecategory",),
    "last_updated": ("lastupdated",),
    "zip_code": ("zipcode", "zip"),
    "neighborhood": ("neighborhood", "neighbourhood", "nbhname"),
    "county": ("county",),
    "parcel": ("parcelidno", "parcelid"),
    "location": ("latlong", "latlon", "location", "addresswithgeocode", "thegeom", "geometry", "point"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon", "long", "lng"),
    "easting": ("xcoordinate",),
    "northing": ("ycoordinate",),
}
_CODES = ("request", "workorder", "zip_code", "council_district", "parcel")
# Free text of callers can name persons.
_FREE_TEXT = ("additionalquestions", "additionalquestion")
# Parts of the opening and closing dates, and links: nothing that the other columns do not say.
_REPEATS = (
    "creationmonth", "creationyear", "closedmonth", "closedyear", "caseurl", "306090daysopenwindow",
)  # fmt: skip
_NOT_REQUESTS = {"canceled": r"canc", "duplicate": r"dup"}
_OLD_TYPES = ("request_type", "category", "type", "detail")
_NEW_TYPES = ("issue_type", "issue_sub_type")


def read_kc_311(
    source: Any,
    *,
    name: str = "KC 311 requests",
    where: Where | None = None,
    period: str | Period | None = None,
    hours: str | None = None,
    weekdays: str | Iterable[str] | None = None,
    exclude_places: Places | None = None,
) -> Layer:
    """Return the 311 requests of Kansas City from 2007 on: one feature a request.

    Parameters
    ----------
    source : path, frame, or a list of them
        Exports of data.kcmo.org as CSV, JSON, GeoJSON or Parquet, of the layout from 2007 to March 2021
        (table 7at3-sxhp), of that since March 2021 (d4px-6rwg), or of both. Columns are matched loosely.
    name : str
        Name of the layer.
    where : str or mapping, optional
        Rows wanted, such as ``"issue_type.str.contains('Dumping')"``, in the names below. To make risk
        factors of the types in both vocabularies see `kc_factors`.
    period, hours, weekdays : optional
        As in `read_layer`, applied to the time of opening.
    exclude_places : optional
        As in `read_layer`.

    Returns
    -------
    Layer
        Points in EPSG:4326, provenance "community-reported". Columns: `request`, `opened`, `status`, the
        types (`request_type`, `category`, `type`, `detail` to March 2021; `issue_type`, `issue_sub_type`
        since) and what else the table has; the index numbers the rows of all tables from 0.

    Raises
    ------
    InputError
        If a table is not of 311 requests or has no places, or an argument does not fit.

    Warns
    -----
    DataWarning
        Rows without usable places or dates were dropped.

    Notes
    -----
    Requests canceled or marked as duplicates are left out. Since 2021, rows of one request with one type
    and sub-type (several work orders, or overlapping exports) are one feature; before, rows with one case
    number are. Places come from state plane feet (XCOORDINATE, YCOORDINATE) where an export has them, then
    from latitude and longitude, then from the text of the address. The layer's period without `period` is
    from the first to the last opening of all rows.
    """
    reading = portal.open_tables(source, name=name, aliases=_ALIASES, check_layout=_check_layout)
    _tidy(reading)
    _date(reading)
    portal.locate(reading)
    reading.marks["key"] = _request(reading.frame)
    reading.find_dates("opened", wanted=period is not None)
    reading.select(where)
    _drop_statuses(reading)
    if hours is not None:
        reading.drop(~reading.marks["timed"], "time of day missing or unreadable", fault=True)
    reading.select_times(period=period, hours=hours, weekdays=weekdays)
    portal.collapse(reading, within="another work order of the same request")
    portal.drop_unplaced(reading)
    reading.exclude(exclude_places)
    return finish(reading, provenance="community-reported", stacklevel=2)


def _check_layout(columns: Iterable[str], what: str) -> None:
    names = {loose(column) for column in columns}
    old = "requesttype" in names or {"category", "type", "detail"} <= names
    dated = names.intersection(_ALIASES["opened"])
    if not (old or "issuetype" in names) or not dated:
        raise InputError(
            f"Invalid 311 table {what!r}. It has no type of request with an opening date: neither REQUEST "
            "TYPE and CREATION DATE (2007 to March 2021) nor issue_type and open_date_time (since). Read any "
            "other table with read_layer."
        )
    if not portal.has_places(columns, _ALIASES):
        raise InputError(
            f"Invalid 311 table {what!r}. It has no column of places (lat_long, LATITUDE and LONGITUDE, "
            "XCOORDINATE and YCOORDINATE, or ADDRESS WITH GEOCODE); export it with all columns."
        )


def _tidy(reading: Reading) -> None:
    frame = reading.frame
    free = [column for column in frame.columns if loose(column) in _FREE_TEXT]
    if free:
        reading.notes.append(f"free text of callers is not kept: {', '.join(free)}")
    frame = frame.drop(columns=[*free, *(name for name in frame.columns if loose(name) in _REPEATS)])
    for column in _CODES:
        if column in frame:
            frame[column] = portal.as_codes(frame[column])
    for column in (*_OLD_TYPES, *_NEW_TYPES, "neighborhood"):
        if column in frame:
            text = frame[column].astype("string").str.strip()
            frame[column] = text.where(text != "")
    if "status" in frame:
        frame["status"] = frame["status"].astype("string").str.strip().str.lower()
    reading.frame = frame


def _date(reading: Reading) -> None:
    """Join the opening's date and time, which the layout to March 2021 keeps in two columns."""
    frame = reading.frame
    opened, timed = portal.moment(frame, "opened", "opened_time")
    reading.marks["timed"] = timed.to_numpy(dtype=bool)
    # A column without any date stays as it is, for the error message to quote.
    if "opened_time" in frame:
        frame = frame.drop(columns="opened_time")
        frame = frame.assign(opened=opened) if opened.notna().any() else frame
    reading.frame = frame


def _drop_statuses(reading: Reading) -> None:
    for status, pattern in _NOT_REQUESTS.items():
        if "status" in reading.frame:
            mask = reading.frame["status"].str.match(pattern).fillna(False).to_numpy(dtype=bool)
            reading.drop(mask, f"status {status}")


def _request(frame: pd.DataFrame) -> np.ndarray:
    """Return a number for every request, since 2021 with its type and sub-type; -1 without a number."""
    if "request" not in frame:
        return np.full(len(frame), -1)
    keys = [frame[name].fillna("") for name in ("request", *_NEW_TYPES) if name in frame]
    return np.where(frame["request"].isna(), -1, pd.MultiIndex.from_arrays(keys).factorize()[0])
