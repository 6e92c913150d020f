"""Dates and times of day as files write them, and the periods, hours and weekdays chosen of them."""

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rtmkc.errors import InputError
from rtmkc.units import Period

#: Loose names of date columns, the occurrence before the report.
DATE_NAMES = (
    "date", "datetime", "occurred", "occurreddate", "occurrencedate", "dateoccurred", "dateofoccurrence",
    "fromdate", "fromdatetime", "incidentdate", "incidentdatetime", "dateofincident", "offensedate",
    "crimedate", "datesingle", "datestart", "startdate", "opendatetime", "opendate", "opened", "dateopened",
    "caseopened", "created", "createddate", "creationdate", "datecreated", "reporteddate", "reportdate",
    "datereported", "reported", "requestdate", "requesteddatetime", "datefound", "inspectiondate",
    "violationdate", "violationentrydate", "callreceived", "datesold", "solddate", "saledate", "timestamp",
)  # fmt: skip
#: Loose names of columns that hold the time of day of a date kept elsewhere.
TIME_NAMES = ("time", "fromtime", "occurredtime", "incidenttime", "creationtime", "reportedtime", "hour")

# A bare hour ("+00", as ArcGIS writes) is a zone only after a time of day: 2021-01-04 ends alike.
_ZONE = re.compile(r"(?<=\d)\s*(?:Z|[+-]\d{2}:?\d{2})$|(?<=:\d{2})\s*[+-]\d{2}$")
EPOCH = "milliseconds since 1970"
# 1973-03-03 to 2099-12-31: below lie years, days and seconds, and any eight-digit date.
_EPOCH_RANGE = (1e11, 4_102_444_800_000)
_ISO = r"^\d{4}[-/]\d{1,2}[-/]\d{1,2}(?:\D|$)|^\d{8}$"
_SLASHED = (
    r"^(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4}|\d{2})"
    r"(?:[ T]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.\d+)?)?(?:\s*(?P<half>[AaPp])[Mm])?)?$"
)
_FORMATS = {
    "YYYY Mon DD": ("%Y %b %d", "%Y %b %d %I:%M:%S %p"),
    "DD.MM.YYYY": ("%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S"),
}
_BLOCK = 500_000
# Databases write these for "no date"; one of them would stretch a period by a century.
_FIRST_DAY = pd.Timestamp(1901, 1, 1)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def parse_dates(values: pd.Series, *, what: str = "date") -> tuple[pd.Series, tuple[str, ...]]:
    """Return the dates of a column, unreadable ones as NaT, and the formats they were read with.

    Parameters
    ----------
    values : Series
        Dates, or text: ISO 8601 is tried first, then month before day (MM/DD/YYYY), the order of
        American portals. A zone is cut off: the clock time stands as it is written.
    what : str
        Name of the column, for the error message.

    Returns
    -------
    dates : Series of datetime64
        On the index of `values`.
    formats : tuple of str
        Such as ``("ISO",)``.

    Raises
    ------
    InputError
        If the dates are written day before month.

    Examples
    --------
    >>> dates, formats = parse_dates(pd.Series(["2025-01-04T10:39:59.000", "1/7/2020", "soon"]))
    >>> [str(date) for date in dates], formats
    (['2025-01-04 10:39:59', '2020-01-07 00:00:00', 'NaT'], ('ISO', 'MM/DD/YYYY'))
    """
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        dates = values.dt.tz_localize(None) if values.dt.tz is not None else values
        return dates.where(dates >= _FIRST_DAY), ("dates",)
    if pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype):
        filled = values.dropna()
        if len(filled) and filled.between(*_EPOCH_RANGE).mean() > 0.5:
            moments = values.where(values.between(*_EPOCH_RANGE)).astype("Float64").round().astype("Int64")
            return pd.Series(pd.to_datetime(moments, unit="ms"), index=values.index), (EPOCH,)
    text = values.astype("string").str.strip()
    if pd.api.types.is_numeric_dtype(values.dtype):
        text = text.str.removesuffix(".0")
    parts, formats = [], dict.fromkeys(("ISO", "MM/DD/YYYY", "MM/DD/YY", *_FORMATS), False)
    order = _SlashOrder()
    # In blocks: the fields of five million dates at once would take gigabytes.
    for start in range(0, len(text), _BLOCK):
        parts.append(_parse_text(text.iloc[start : start + _BLOCK], formats, order))
    order.check(what)
    dates = pd.Series(np.concatenate(parts or [np.empty(0, dtype="datetime64[us]")]), index=values.index)
    return dates, tuple(label for label, met in formats.items() if met)


def looks_dated(frame: pd.DataFrame) -> str | None:
    """Return the first column whose values can mostly be read as dates with a day, by a look at the first rows.

    Examples
    --------
    >>> looks_dated(pd.DataFrame({"id": ["1", "2"], "seen": ["1/7/2020", "2/9/2021"]}))
    'seen'
    """
    for column in frame.columns:
        values = frame[column].dropna().head(200)
        if pd.api.types.is_datetime64_any_dtype(values.dtype):
            return str(column)
        if values.empty or not pd.api.types.is_string_dtype(values.dtype):
            continue
        written = values.astype("string").str.contains(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}", regex=True)
        if written.fillna(False).mean() > 0.9:
            try:
                read, _ = parse_dates(values)
            except InputError:
                continue
            if read.notna().mean() > 0.9:
                return str(column)
    return None


class _SlashOrder:
    """Whether slashed dates can only be day before month: one is, and none can only be month before day."""

    def __init__(self) -> None:
        self.day_first: str | None = None
        self.month_first = False

    def look(self, text: pd.Series, first: np.ndarray, second: np.ndarray) -> None:
        swapped = np.flatnonzero((first > 12) & (second <= 12))
        if swapped.size and self.day_first is None:
            self.day_first = str(text.iloc[swapped[0]])
        self.month_first |= bool((second > 12).any())

    def check(self, what: str) -> None:
        if self.day_first is not None and not self.month_first:
            raise InputError(
                f"Invalid dates in column {what!r}. {self.day_first!r} can only be DD/MM/YYYY, and slashed "
                "dates are read as MM/DD/YYYY; write them as YYYY-MM-DD."
            )


def _parse_text(text: pd.Series, formats: dict[str, bool], order: _SlashOrder) -> np.ndarray:
    dates = _slashed(text, formats, order)
    rest = np.flatnonzero(np.isnat(dates) & text.notna().to_numpy(dtype=bool))
    if rest.size:
        dates[rest] = _parse_others(text.iloc[rest].str.replace(_ZONE, "", regex=True), formats, order)
    dates[dates < np.datetime64(_FIRST_DAY)] = np.datetime64("NaT")
    return dates


def _parse_others(text: pd.Series, formats: dict[str, bool], order: _SlashOrder) -> np.ndarray:
    dates = _slashed(text, formats, order)
    iso = text.where(text.str.match(_ISO)).str.replace("/", "-")
    for label, pattern, cells in (
        ("ISO", "ISO8601", iso),
        *((label, pattern, text) for label, patterns in _FORMATS.items() for pattern in patterns),
    ):
        rest = np.flatnonzero(np.isnat(dates) & cells.notna().to_numpy(dtype=bool))
        if rest.size:
            read = pd.to_datetime(cells.iloc[rest], format=pattern, errors="coerce").to_numpy()
            dates[rest] = read.astype("datetime64[us]")
            formats[label] |= not np.isnat(read).all()
    return dates


def _slashed(text: pd.Series, formats: dict[str, bool], order: _SlashOrder) -> np.ndarray:
    """Return the dates written as month/day/year with or without a time of day, NaT for all others."""
    fields = pc.extract_regex(pa.array(text, type=pa.string(), from_pandas=True), _SLASHED)
    if isinstance(fields, pa.ChunkedArray):
        fields = fields.combine_chunks()

    def number(name: str) -> np.ndarray:
        cells = pc.struct_field(fields, name)
        known = pc.if_else(pc.equal(cells, ""), None, cells)
        return pc.fill_null(pc.cast(known, pa.int32()), 0).to_numpy(zero_copy_only=False)

    found = fields.is_valid().to_numpy(zero_copy_only=False)
    if not found.any():
        return np.full(len(text), "NaT", dtype="datetime64[us]")
    month, day, year, hour, minute, second = (
        number(name) for name in ("month", "day", "year", "hour", "minute", "second")
    )
    order.look(text, np.where(found, month, 0), np.where(found, day, 0))
    half = pc.fill_null(pc.utf8_upper(pc.struct_field(fields, "half")), "").to_numpy(zero_copy_only=False)
    on_twelve = half != ""
    short = found & (
        pc.fill_null(pc.utf8_length(pc.struct_field(fields, "year")), 0).to_numpy(zero_copy_only=False) == 2
    )
    right = found & (hour < 24) & (minute < 60) & (second < 60) & (month >= 1) & (month <= 12) & (day >= 1)
    right &= ~on_twelve | ((hour >= 1) & (hour <= 12))
    hour = np.where(on_twelve, hour % 12 + 12 * (half == "P"), hour)
    # Two digits of a year are of 1969 to 2068, as everywhere else.
    year = np.where(short, year + np.where(year < 69, 2000, 1900), year)
    first = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = first.astype("datetime64[D]") + (day - 1)
    right &= days.astype("datetime64[M]") == first
    moments = days.astype("datetime64[s]") + (hour * 3600 + minute * 60 + second)
    formats["MM/DD/YYYY"] |= bool((right & ~short).any())
    formats["MM/DD/YY"] |= bool((right & short).any())
    moments[~right] = np.datetime64("NaT")
    return moments.astype("datetime64[us]")


def parse_times(values: pd.Series, *, whole_hours: bool = False) -> pd.Series:
    """Return times of day as timedeltas, unreadable ones as NaT.

    Reads ``19:30``, ``19:30:00``, ``07:30 PM`` and bare digits: HHMM (``1930``, ``30`` = 00:30), or the
    hour if `whole_hours`.

    Examples
    --------
    >>> [str(time) for time in parse_times(pd.Series(["07:30 PM", "1930", "25:00"]))]
    ['0 days 19:30:00', '0 days 19:30:00', 'NaT']
    """
    codes, known = pd.factorize(values.astype("string"))
    times = _parse_clock(pd.Series(known, dtype="string"), whole_hours)
    return times.reindex(codes).set_axis(values.index)


def _parse_clock(values: pd.Series, whole_hours: bool) -> pd.Series:
    text = values.str.strip().str.upper().str.removesuffix(".0")
    clock = text.str.extract(r"^(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?\s*([AP]M)?$")
    digits = text.where(text.str.fullmatch(r"\d{1,2}" if whole_hours else r"\d{1,4}"))
    digits = digits + "00" if whole_hours else digits
    hour = clock[0].fillna(digits.str.zfill(4).str[:2]).astype("Float64")
    minute = clock[1].fillna(digits.str.zfill(4).str[2:]).astype("Float64")
    second = clock[2].fillna("0").astype("Float64")
    on_twelve = clock[3].notna()
    right = (minute < 60) & (second < 60) & (hour < 24) & (~on_twelve | (hour >= 1) & (hour <= 12))
    hour = hour.where(~on_twelve, hour % 12 + 12 * (clock[3] == "PM").fillna(False).astype("Float64"))
    seconds = (hour * 3600 + minute * 60 + second).where(right.fillna(False))
    return pd.to_timedelta(seconds.astype("float64"), unit="s")


def has_time_of_day(dates: pd.Series) -> bool:
    """Return whether any of the dates is not at midnight."""
    known = dates.dropna()
    return bool((known != known.dt.normalize()).any())


def period_of(dates: pd.Series) -> Period | None:
    """Return the period from the first to the last day, or None without any date."""
    known = dates.dropna()
    return None if known.empty else Period(known.min().date(), known.max().date())


def parse_hours(value: str) -> tuple[int, int]:
    """Return start (included) and end (excluded) of a stretch of the day, in minutes after midnight.

    Raises
    ------
    InputError
        If the text is not two hours with a dash, each 0 to 24, that differ.

    Examples
    --------
    >>> parse_hours("19-3"), parse_hours("6:30-18")
    ((1140, 180), (390, 1080))
    """
    match = re.fullmatch(r"\s*(\d{1,2})(?::(\d{2}))?\s*-\s*(\d{1,2})(?::(\d{2}))?\s*", str(value))
    if match:
        start_hour, start_minute, end_hour, end_minute = (int(part or 0) for part in match.groups())
        start, end = start_hour * 60 + start_minute, end_hour * 60 + end_minute
        if start < 1440 and end <= 1440 and start_minute < 60 and end_minute < 60 and start != end:
            return start, end
    raise InputError(
        f"Invalid hours {value!r}. Write a start and a different end, hours from 0 to 24, as in '19-3' "
        "(from 19:00 until before 3:00)."
    )


def within_hours(dates: pd.Series, hours: str) -> np.ndarray:
    """Return which dates fall in a stretch of the day such as "19-3": start included, end not."""
    start, end = parse_hours(hours)
    minutes: np.ndarray = (dates.dt.hour * 60 + dates.dt.minute).to_numpy(dtype=float)
    after, before = minutes >= start, minutes < end
    return after & before if start < end else after | before


def parse_weekdays(value: str | Iterable[str]) -> tuple[int, ...]:
    """Return weekday numbers, Monday = 0, from "fri-sun", "sat, sun" or a list of names.

    Raises
    ------
    InputError
        If a name is not a weekday.

    Examples
    --------
    >>> parse_weekdays("fri-mon"), parse_weekdays(["Saturday", "sun"])
    ((0, 4, 5, 6), (5, 6))
    """
    parts = value.split(",") if isinstance(value, str) else list(value)
    chosen: set[int] = set()
    for part in parts:
        ends = [_weekday(name, value) for name in str(part).split("-")]
        if not 1 <= len(ends) <= 2:
            raise _weekday_error(value)
        chosen.update((ends[0] + step) % 7 for step in range((ends[-1] - ends[0]) % 7 + 1))
    if not chosen:
        raise _weekday_error(value)
    return tuple(sorted(chosen))


def _weekday(name: str, given: object) -> int:
    short = name.strip().lower()
    for number, day in enumerate(_WEEKDAYS):
        if len(short) >= 3 and day.startswith(short):
            return number
    raise _weekday_error(given)


def _weekday_error(given: object) -> InputError:
    return InputError(
        f"Invalid weekdays {given!r}. Name days as in 'fri-sun', 'sat, sun' or a list of them: "
        f"{', '.join(day[:3] for day in _WEEKDAYS)}."
    )
