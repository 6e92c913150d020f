"""Crime reports of the Kansas City police (KCPD), in the layouts since 2019."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rtmkc.errors import InputError
from rtmkc.inputs import dates
from rtmkc.inputs.columns import loose
from rtmkc.inputs.kansas_city import portal
from rtmkc.inputs.layers import Layer, finish
from rtmkc.inputs.reading import Reading
from rtmkc.inputs.selection import Places, Where
from rtmkc.units import Period

_ALIASES = {
    "report_no": ("reportno", "report", "reportnumber"),
    "reported_date": ("reporteddate", "reportdate"),
    "reported_time": ("reportedtime", "reporttime"),
    "from_date": ("fromdate",),
    "from_time": ("fromtime",),
    "to_date": ("todate",),
    "to_time": ("totime",),
    "offense": ("offense", "offence"),
    "ibrs": ("ibrs", "ibrscode"),
    "description": ("description",),
    "beat": ("beat",),
    "address": ("address",),
    "city": ("city",),
    "zip_code": ("zipcode", "zip", "zipcode1"),
    "rep_dist": ("repdist", "repdist1"),
    "area": ("area", "area1"),
    "dv_flag": ("dvflag",),
    "involvement": ("involvement",),
    "firearm": ("firearmusedflag", "firearmused", "firearmflag"),
    "location": ("location", "thegeom", "geometry", "point"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon", "long", "lng"),
}
_CODES = ("report_no", "ibrs", "zip_code", "beat", "rep_dist")


def read_kcpd_crime(
    source: Any,
    *,
    name: str = "KCPD crime",
    ibrs: str | Sequence[str] | None = None,
    where: Where | None = None,
    period: str | Period | None = None,
    hours: str | None = None,
    weekdays: str | Iterable[str] | None = None,
    firearm: bool | None = None,
    exclude_places: Places | None = None,
) -> Layer:
    """Return the incidents of KCPD crime tables since 2019: one feature an incident, not a person.

    Parameters
    ----------
    source : path, frame, or a list of them
        Yearly tables of data.kcmo.org as CSV, JSON, GeoJSON or Parquet. Columns are matched loosely.
    name : str
        Name of the layer.
    ibrs : str or list of str, optional
        Codes wanted, such as ``["13A", "120", "09A"]``. Better than the text of the offence, which drifts.
    where : str or mapping, optional
        Rows wanted, in the names below; for `involvement` this is the only use.
    period, hours, weekdays : optional
        As in `read_layer`, applied to the occurrence.
    firearm : bool, optional
        Only incidents with (True) or without (False) a firearm.
    exclude_places : optional
        As in `read_layer`.

    Returns
    -------
    Layer
        Points in EPSG:4326, provenance "policing". Columns: `report_no`, `occurred`, `reported`, `ibrs`,
        `offense`, `description`, `dv_flag`, `firearm` and what else the table has; the index numbers the
        rows of all tables from 0.

    Raises
    ------
    InputError
        If a table is not one of KCPD or has an older layout, or an argument does not fit.

    Warns
    -----
    DataWarning
        Rows without usable places or dates were dropped, or a code does not occur.

    Notes
    -----
    The tables hold one row a person involved. Rows with one report number and one IBRS code (or offence,
    where the code is blank) are one incident; a row with a usable place is preferred, and flags count if
    any of the rows has them. `occurred` is From_Date, or the report date where From_Date is missing,
    unreadable, or later than the day after the report. Without `period`, the layer's period is that of
    the report dates, because a yearly table is a year of reports. Race, sex and age are never kept.
    """
    reading = portal.open_tables(source, name=name, aliases=_ALIASES, check_layout=_check_layout)
    _tidy(reading)
    _date(reading)
    portal.locate(reading)
    reading.marks["key"] = _incident(reading.frame)
    _spread_flags(reading)
    reading.select(where)
    _select_codes(reading, ibrs)
    _select_firearm(reading, firearm)
    if hours is not None:
        reading.drop(~reading.marks["timed"], "time of day missing or unreadable", fault=True)
    reading.select_times(period=period, hours=hours, weekdays=weekdays)
    portal.collapse(reading, within="another row (person) of the same incident")
    portal.drop_unplaced(reading)
    reading.exclude(exclude_places)
    reading.frame = reading.frame.drop(columns="involvement", errors="ignore")
    return finish(reading, provenance="policing", stacklevel=2)


def _check_layout(columns: Iterable[str], what: str) -> None:
    names = {loose(column) for column in columns}
    supported = "read_kcpd_crime reads the tables since 2019"
    if not names & {"reportno", "report", "reportnumber"} or not names & {"offense", "offence", "ibrs"}:
        raise InputError(
            f"Invalid KCPD table {what!r}. It has no report number with an offence or IBRS code; "
            f"{supported}. Read any other table with read_layer."
        )
    older = None
    if "location1" in names:
        older = "2015 or 2016" if "latitude" in names else "2009 to 2014"
    elif "invlno" in names:
        older = "2017 or 2018"
    if older:
        raise InputError(
            f"Invalid KCPD table {what!r}. Its columns are those of {older}; {supported}. Export a table of "
            "a later year, or read this one with read_layer."
        )
    if not names & {"location", "thegeom", "geometry", "point"} and not {"latitude", "longitude"} <= names:
        raise InputError(
            f"Invalid KCPD table {what!r}. It has no column of places (Location); export it with all columns."
        )
    if not names & {"fromdate", "reporteddate", "reportdate"}:
        raise InputError(
            f"Invalid KCPD table {what!r}. It has no column of dates (From_Date or Reported_Date); export it "
            "with all columns."
        )


def _tidy(reading: Reading) -> None:
    """Make codes text and flags yes, no or unknown."""
    frame = reading.frame
    for column in _CODES:
        if column in frame:
            text = frame[column].astype("string").str.strip().str.removesuffix(".0")
            frame[column] = text.where(text != "")
    for column in ("ibrs", "report_no"):
        if column in frame:
            frame[column] = frame[column].str.upper()
    for column in ("dv_flag", "firearm"):
        if column in frame:
            frame[column] = portal.parse_flags(frame[column])


def _moment(frame: pd.DataFrame, stem: str) -> tuple[pd.Series, pd.Series]:
    """Return date with time of day of one pair of columns, and whether the time is known."""
    if f"{stem}_date" not in frame:
        nothing = pd.Series(pd.NaT, index=frame.index, dtype="datetime64[ns]")
        return nothing, pd.Series(False, index=frame.index)
    day, _ = dates.parse_dates(frame[f"{stem}_date"], what=f"{stem}_date")
    timed = pd.Series(dates.has_time_of_day(day), index=frame.index) & day.notna()
    if f"{stem}_time" in frame:
        clock = dates.parse_times(frame[f"{stem}_time"])
        day = day.where(clock.isna(), day.dt.normalize() + clock)
        timed |= clock.notna() & day.notna()
    return day, timed


def _date(reading: Reading) -> None:
    frame = reading.frame
    reported, report_timed = _moment(frame, "reported")
    occurred, timed = _moment(frame, "from")
    known = occurred.notna()
    impossible = occurred >= reported.dt.normalize() + pd.Timedelta(days=2)
    use_report = ~known | impossible
    used = [f"{stem}_{part}" for stem in ("reported", "from") for part in ("date", "time")]
    frame = frame.drop(columns=[name for name in used if name in frame])
    position = list(frame.columns).index("report_no") + 1
    frame.insert(position, "occurred", occurred.where(~use_report, reported))
    frame.insert(position + 1, "reported", reported)
    reading.marks["timed"] = np.where(use_report, report_timed, timed)
    reading.frame, reading.date_column = frame, "occurred"
    reading.period = dates.period_of(reported) or dates.period_of(occurred)
    if reading.period is not None:
        reading.notes.append(f"period {reading.period}: first to last date of report")
    if int(use_report.sum()):
        reading.notes.append(
            f"{int(use_report.sum()):,} rows are dated by the report: {int((~known).sum()):,} without a "
            f"readable From_Date, {int(impossible.sum()):,} with one after the report"
        )
    if int(frame["occurred"].isna().sum()):
        reading.notes.append(f"{int(frame['occurred'].isna().sum()):,} rows have no readable date")


def _incident(frame: pd.DataFrame) -> np.ndarray:
    """Return a number for every incident: one report number with one IBRS code, or one offence."""
    blank = pd.Series(pd.NA, index=frame.index, dtype="string")
    offence = frame["offense"].astype("string").str.strip() if "offense" in frame else blank
    code = frame.get("ibrs", blank)
    report = frame["report_no"]
    # A code that one row of a report leaves blank is often given in another row of the same offence.
    code = code.fillna(code.groupby([report, offence], dropna=False).transform("first"))
    kind = ("ibrs " + code).fillna("offence " + offence).fillna("")
    return np.where(report.isna(), -1, pd.MultiIndex.from_arrays([report, kind]).factorize()[0])


def _spread_flags(reading: Reading) -> None:
    """Give every row of an incident the flags that any of its rows has."""
    frame = reading.frame
    key = reading.marks["key"]
    for column in ("dv_flag", "firearm"):
        if column in frame:
            spread = frame[column].groupby(key).transform("max").astype("boolean")
            frame[column] = frame[column].where(key < 0, spread)


def _select_codes(reading: Reading, ibrs: str | Sequence[str] | None) -> None:
    if ibrs is None:
        return
    if "ibrs" not in reading.frame:
        raise InputError(f"Invalid ibrs {ibrs!r}. The table has no IBRS column; choose by where= instead.")
    wanted = [str(code).strip().upper() for code in ([ibrs] if isinstance(ibrs, str) else ibrs)]
    if not wanted:
        raise InputError("Invalid ibrs []. Name at least one code, as in ibrs=['13A', '120'].")
    absent = [code for code in wanted if not (reading.frame["ibrs"] == code).any()]
    if absent:
        reading.remarks.append(f"no row has the IBRS code {', '.join(absent)}")
    chosen = reading.frame["ibrs"].isin(wanted).to_numpy(dtype=bool)
    reading.drop(~chosen, f"IBRS code not among {', '.join(wanted)}")


def _select_firearm(reading: Reading, firearm: bool | None) -> None:
    if firearm is None:
        return
    if not isinstance(firearm, bool):
        raise InputError(f"Invalid firearm {firearm!r}. It must be True, False or None (all incidents).")
    if "firearm" not in reading.frame:
        raise InputError(f"Invalid firearm {firearm!r}. The table has no firearm flag; leave firearm= out.")
    chosen = (reading.frame["firearm"] == firearm).fillna(False).to_numpy(dtype=bool)
    reading.drop(~chosen, f"firearm flag not {'yes' if firearm else 'no'}")
