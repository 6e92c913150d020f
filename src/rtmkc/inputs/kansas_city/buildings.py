"""The list of dangerous buildings of Kansas City (table ax3m-jhxx, and its older form rm2v-mbk5)."""

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
    "case": ("casenumber", "caseno", "caseid"),
    "pin": ("pin", "kivapin"),
    "status": ("statusofcase", "casestatus", "status"),
    "opened": ("caseopened", "caseopeneddate", "opened"),
    "address": ("address",),
    "zip_code": ("zipcode", "zip"),
    "council_district": ("councildistrict",),
    "neighborhood": ("neighborhood", "neighbourhood"),
    "location": ("caselocation", "location", "location1", "thegeom", "geometry", "point"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon", "long", "lng"),
}


def read_kc_buildings(
    source: Any,
    *,
    name: str = "KC dangerous buildings",
    where: Where | None = None,
    period: str | Period | None = None,
    exclude_places: Places | None = None,
) -> Layer:
    """Return the dangerous buildings of Kansas City: one feature a building, with its newest case.

    Parameters
    ----------
    source : path, frame, or a list of them
        Exports of data.kcmo.org as CSV, JSON, GeoJSON or Parquet. Columns are matched loosely.
    name : str
        Name of the layer.
    where : str or mapping, optional
        Rows wanted, in the names below, such as ``"status != 'On Hold'"``.
    period, exclude_places : optional
        As in `read_layer`; the period is of the opening of the case.

    Returns
    -------
    Layer
        Points in EPSG:4326, provenance "inspection". Columns: `case`, `pin`, `status`, `opened` and what
        else the table has; the index numbers the rows of all tables from 0.

    Raises
    ------
    InputError
        If a table is not of dangerous buildings or has no places, or an argument does not fit.

    Warns
    -----
    DataWarning
        Rows without usable places or dates were dropped.

    Notes
    -----
    Several cases of one parcel (`pin`) are one building: the case opened last, of those with a usable
    place, is kept and the others are merged into it. A row without a parcel number stands for itself.
    `where` and `period` choose before that. The list holds the cases that are open on the day of export.
    """
    reading = portal.open_tables(source, name=name, aliases=_ALIASES, check_layout=_check_layout)
    for column in ("case", "pin", "zip_code", "council_district"):
        if column in reading.frame:
            reading.frame[column] = portal.as_codes(reading.frame[column])
    portal.locate(reading)
    reading.find_dates("opened" if "opened" in reading.frame else None, wanted=period is not None)
    reading.marks["key"] = portal.numbered(reading.frame, "pin")
    reading.marks["rank"] = _newest_first(reading)
    reading.select(where)
    reading.select_times(period=period, hours=None, weekdays=None)
    portal.collapse(reading, within="an older case of the same parcel")
    portal.drop_unplaced(reading)
    reading.exclude(exclude_places)
    return finish(reading, provenance="inspection", stacklevel=2)


def _check_layout(columns: Iterable[str], what: str) -> None:
    names = {loose(column) for column in columns}
    if not names & {"statusofcase", "casenumber"} or names & {"violationid", "ordinance"}:
        raise InputError(
            f"Invalid list of dangerous buildings {what!r}. It has no case number or status of a case; the "
            "list of data.kcmo.org (ax3m-jhxx) has both. Read violations with read_kc_violations and any "
            "other table with read_layer."
        )
    if not portal.has_places(columns, _ALIASES):
        raise InputError(
            f"Invalid list of dangerous buildings {what!r}. It has no column of places (case_location, or "
            "Location in older exports); export it with all columns."
        )


def _newest_first(reading: Reading) -> np.ndarray:
    """Return the rank of every row by its opening, the newest first; rows without a date come last."""
    if reading.date_column is None:
        return np.zeros(len(reading.frame))
    age = -reading.times().astype("datetime64[ns]").astype("int64").to_numpy(dtype=float)
    return np.where(pd.isna(reading.times()), np.inf, age)
