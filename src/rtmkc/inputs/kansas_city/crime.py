"""Crime reports of the Kansas City police (KCPD), in the layouts of all years since 2009."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rtmkc.errors import InputError
from rtmkc.inputs import dates
from rtmkc.inputs.columns import loose
from rtmkc.inputs.kansas_city import portal
from rtmkc.inputs.kansas_city.offences import resolve_codes
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
    "involved_number": ("invlno",),
    "involvement": ("involvement",),
    "firearm": ("firearmusedflag", "firearmused", "firearmflag"),
    "location": ("location", "location1", "thegeom", "geometry", "point"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon", "long", "lng"),
}
_CODES = ("report_no", "offense", "ibrs", "zip_code", "beat", "rep_dist")


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
    """Return the incidents of KCPD crime tables of any years since 2009: one feature an incident, not a person.

    Parameters
    ----------
    source : path, frame, or a list of them
        Yearly tables of data.kcmo.org as CSV, JSON, GeoJSON or Parquet, in any mixture of years. Columns are
        matched loosely.
    name : str
        Name of the layer.
    ibrs : str or list of str, optional
        Codes wanted, such as ``["13A", "120", "09A"]``, or names for them: "violence" (09A, 13A and 120),
        "homicide", "aggravated assault", "robbery", "burglary", "theft from vehicle", "vehicle theft" and
        others. Better than the text of the offence, which drifts.
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
        Points in EPSG:4326, provenance "policing". Columns: `report_no`, `occurred`, `reported`, `until`,
        `ibrs`, `offense` (text), `offense_code` (to 2018), `description`, `dv_flag`, `firearm` and what
        else the table has; the index numbers the rows of all tables from 0.

    Raises
    ------
    InputError
        If a table is not one of KCPD, has no places or dates, or an argument does not fit. Shootings are
        asked for as ``ibrs=["09A", "13A"], firearm=True``: no code is theirs alone.

    Warns
    -----
    DataWarning
        Rows without usable places or dates were dropped, or a code does not occur.

    Notes
    -----
    The tables hold one row a person involved. Rows with one report number and one IBRS code (or offence,
    where the code is blank) are one incident, also if they stand in tables of several years; a row with a
    usable place is preferred, and flags count if any of the rows has them. To 2018 the offence is a number
    and its text stands in the description. `occurred` is From_Date, or the report date where From_Date is
    missing, unreadable, or later than the day after the report. Without `period`, the layer's period is
    that of the report dates, because a yearly table is a year of reports. Race, sex and age are never kept.
    """
    reading = portal.open_tables(source, name=name, aliases=_ALIASES, check_layout=_check_layout)
    wanted = None if ibrs is None else resolve_codes(ibrs)
    _tidy(reading)
    _date(reading)
    portal.locate(reading)
    reading.marks["key"] = _incident(reading.frame)
    _spread_flags(reading)
    reading.select(where)
    _select_codes(reading, ibrs, wanted)
    _select_firearm(reading, firearm)
    if hours is not None:
        reading.drop(~reading.marks["timed"], "time of day missing or unreadable", fault=True)
    reading.select_times(period=period, hours=hours, weekdays=weekdays)
    portal.collapse(reading, within="another row (person) of the same incident")
    portal.drop_unplaced(reading)
    reading.exclude(exclude_places)
    reading.frame = reading.frame.drop(columns=["involvement", "involved_number"], errors="ignore")
    return finish(reading, provenance="policing", stacklevel=2)


def _check_layout(columns: Iterable[str], what: str) -> None:
    names = {loose(column) for column in columns}
    if not names & {"reportno", "report", "reportnumber"} or not names & {"offense", "offence", "ibrs"}:
        raise InputError(
            f"Invalid KCPD table {what!r}. It has no report number with an offence or IBRS code, which every "
            "KCPD table since 2009 has. Read any other table with read_layer."
        )
    if not portal.has_places(columns, _ALIASES):
        raise InputError(
            f"Invalid KCPD table {what!r}. It has no column of places (Location, Location 1, or Latitude and "
            "Longitude); export it with all columns."
        )
    if not names & {"fromdate", "reporteddate", "reportdate"}:
        raise InputError(
            f"Invalid KCPD table {what!r}. It has no column of dates (From_Date or Reported_Date); export it "
            "with all columns."
        )


def _tidy(reading: Reading) -> None:
    """Make codes text, flags yes, no or unknown, and the offence a text in every year."""
    frame = reading.frame
    for column in _CODES:
        if column in frame:
            frame[column] = portal.as_codes(frame[column])
    for column in ("ibrs", "report_no"):
        if column in frame:
            frame[column] = frame[column].str.upper()
    for column in ("dv_flag", "firearm"):
        if column in frame:
            frame[column] = portal.parse_flags(frame[column])
    if "offense" in frame:
        _name_offences(reading)


def _name_offences(reading: Reading) -> None:
    """To 2018 the offence is a number, and its text (of 20 characters) is in the description."""
    frame = reading.frame
    numeric = frame["offense"].str.fullmatch(r"\d+").fillna(False).astype(bool)
    if not numeric.any():
        return
    frame.insert(list(frame.columns).index("offense"), "offense_code", frame["offense"].where(numeric))
    if "description" in frame:
        text = frame["description"].astype("string").str.strip()
        frame["offense"] = frame["offense"].where(~numeric | text.isna(), text)
    reading.notes.append(f"{int(numeric.sum()):,} rows have the numeric offence codes of 2009 to 2018")


def _date(reading: Reading) -> None:
    frame = reading.frame
    reported, report_timed = portal.moment(frame, "reported_date", "reported_time")
    occurred, timed = portal.moment(frame, "from_date", "from_time")
    until, _ = portal.moment(frame, "to_date", "to_time")
    known = occurred.notna()
    impossible = occurred >= reported.dt.normalize() + pd.Timedelta(days=2)
    use_report = ~known | impossible
    used = [f"{stem}_{part}" for stem in ("reported", "from", "to") for part in ("date", "time")]
    frame = frame.drop(columns=[name for name in used if name in frame])
    position = list(frame.columns).index("report_no") + 1
    frame.insert(position, "occurred", occurred.where(~use_report, reported))
    frame.insert(position + 1, "reported", reported)
    frame.insert(position + 2, "until", until)
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
    offence = frame.get("offense", blank)
    if "offense_code" in frame:
        offence = frame["offense_code"].fillna(offence)
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


def _select_codes(
    reading: Reading, given: str | Sequence[str] | None, wanted: dict[str, tuple[str, ...]] | None
) -> None:
    if wanted is None:
        return
    if "ibrs" not in reading.frame:
        raise InputError(f"Invalid ibrs {given!r}. The table has no IBRS column; choose by where= instead.")
    codes = list(dict.fromkeys(code for group in wanted.values() for code in group))
    for word, group in wanted.items():
        if (word,) != group:
            reading.notes.append(f"{word!r} is the IBRS code {', '.join(group)}")
    absent = [
        code for group in wanted.values() for code in group if not reading.frame["ibrs"].isin(group).any()
    ]
    if absent:
        reading.remarks.append(f"no row has the IBRS code {', '.join(dict.fromkeys(absent))}")
    chosen = reading.frame["ibrs"].isin(codes).to_numpy(dtype=bool)
    reading.drop(~chosen, f"IBRS code not among {', '.join(codes)}")


def _select_firearm(reading: Reading, firearm: bool | None) -> None:
    if firearm is None:
        return
    if not isinstance(firearm, bool):
        raise InputError(f"Invalid firearm {firearm!r}. It must be True, False or None (all incidents).")
    if "firearm" not in reading.frame:
        raise InputError(f"Invalid firearm {firearm!r}. The table has no firearm flag; leave firearm= out.")
    chosen = (reading.frame["firearm"] == firearm).fillna(False).to_numpy(dtype=bool)
    reading.drop(~chosen, f"firearm flag not {'yes' if firearm else 'no'}")
