"""Requests for city services by 311 in Kansas City, in the layout since March 2021."""

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
    "request": ("reportedissue", "reportedissueid", "requestid"),
    "workorder": ("workorder", "workorderid"),
    "issue_type": ("issuetype",),
    "issue_sub_type": ("issuesubtype",),
    "status": ("currentstatus", "status"),
    "opened": ("opendatetime", "opendate", "opened"),
    "days_to_close": ("daystoclose",),
    "address": ("incidentaddress", "address"),
    "council_district": ("councildistrict",),
    "work_group": ("departmentworkgroup", "workgroup"),
    "report_source": ("reportsource",),
    "source_category": ("sourcecategory",),
    "last_updated": ("lastupdated",),
    "zip_code": ("zipcode", "zip"),
    "neighborhood": ("neighborhood", "neighbourhood", "nbhname"),
    "location": ("latlong", "latlon", "location", "thegeom", "geometry", "point"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon", "long", "lng"),
}
# Free text of callers can name persons.
_FREE_TEXT = ("additionalquestions", "additionalquestion")
_NOT_REQUESTS = {"canceled": r"canc", "duplicate": r"dup"}


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
    """Return the 311 requests of Kansas City since March 2021 (table d4px-6rwg): one feature a request.

    Parameters
    ----------
    source : path, frame, or a list of them
        Exports of data.kcmo.org as CSV, JSON, GeoJSON or Parquet. Columns are matched loosely.
    name : str
        Name of the layer.
    where : str or mapping, optional
        Rows wanted, such as ``"issue_type.str.contains('Dumping')"``, in the names below.
    period, hours, weekdays : optional
        As in `read_layer`, applied to the time of opening.
    exclude_places : optional
        As in `read_layer`.

    Returns
    -------
    Layer
        Points in EPSG:4326, provenance "community-reported". Columns: `request`, `workorder`,
        `issue_type`, `issue_sub_type`, `status`, `opened` and what else the table has; the index numbers
        the rows of all tables from 0.

    Raises
    ------
    InputError
        If a table is not of 311 requests or has the layout before March 2021, or an argument does not fit.

    Warns
    -----
    DataWarning
        Rows without usable places or dates were dropped.

    Notes
    -----
    Requests canceled or marked as duplicates are left out. Rows of one request with one type and sub-type
    (several work orders, or overlapping exports) are one feature. The layer's period without `period` is
    from the first to the last opening of all rows.
    """
    reading = portal.open_tables(source, name=name, aliases=_ALIASES, check_layout=_check_layout)
    _tidy(reading)
    portal.locate(reading)
    reading.marks["key"] = _request(reading.frame)
    reading.find_dates("opened", wanted=period is not None)
    reading.select(where)
    _drop_statuses(reading)
    reading.select_times(period=period, hours=hours, weekdays=weekdays)
    portal.collapse(reading, within="another work order of the same request")
    portal.drop_unplaced(reading)
    reading.exclude(exclude_places)
    return finish(reading, provenance="community-reported", stacklevel=2)


def _check_layout(columns: Iterable[str], what: str) -> None:
    names = {loose(column) for column in columns}
    supported = "read_kc_311 reads the layout since March 2021 (issue_type, open_date_time, lat_long)"
    if "caseid" in names and names & {"requesttype", "creationdate"}:
        raise InputError(
            f"Invalid 311 table {what!r}. Its columns are those of 2007 to March 2021 (CASE ID, REQUEST "
            f"TYPE); {supported}. Read this one with read_layer."
        )
    if "issuetype" not in names or not names & {"opendatetime", "opendate", "opened"}:
        raise InputError(
            f"Invalid 311 table {what!r}. It has no issue type with an opening date; {supported}. Read any "
            "other table with read_layer."
        )
    places = {"latlong", "latlon", "location", "thegeom", "geometry", "point"}
    if not names & places and not {"latitude", "longitude"} <= names:
        raise InputError(
            f"Invalid 311 table {what!r}. It has no column of places (lat_long); export it with all columns."
        )


def _tidy(reading: Reading) -> None:
    frame = reading.frame
    free = [column for column in frame.columns if loose(column) in _FREE_TEXT]
    if free:
        frame = frame.drop(columns=free)
        reading.notes.append(f"free text of callers is not kept: {', '.join(free)}")
    for column in ("request", "workorder", "zip_code"):
        if column in frame:
            text = frame[column].astype("string").str.strip().str.removesuffix(".0")
            frame[column] = text.where(text != "")
    if "status" in frame:
        frame["status"] = frame["status"].astype("string").str.strip().str.lower()
    reading.frame = frame


def _drop_statuses(reading: Reading) -> None:
    for status, pattern in _NOT_REQUESTS.items():
        if "status" in reading.frame:
            mask = reading.frame["status"].str.match(pattern).fillna(False).to_numpy(dtype=bool)
            reading.drop(mask, f"status {status}")


def _request(frame: pd.DataFrame) -> np.ndarray:
    """Return a number for every request with its type and sub-type; -1 without a request number."""
    if "request" not in frame:
        return np.full(len(frame), -1)
    keys = [frame[name].fillna("") for name in ("request", "issue_type", "issue_sub_type") if name in frame]
    return np.where(frame["request"].isna(), -1, pd.MultiIndex.from_arrays(keys).factorize()[0])
