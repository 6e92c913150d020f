"""Lengths, durations and periods as people write them: "250 ft", "3 blocks", "90 days", "2021/2023"."""

import calendar
import datetime
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rtmkc.checks import check_positive
from rtmkc.errors import InputError

FOOT = 0.3048
_METRES = {
    "m": 1.0, "metre": 1.0, "metres": 1.0, "meter": 1.0, "meters": 1.0,
    "km": 1000.0, "kilometre": 1000.0, "kilometres": 1000.0, "kilometer": 1000.0, "kilometers": 1000.0,
    "ft": FOOT, "foot": FOOT, "feet": FOOT, "yd": 3 * FOOT, "yard": 3 * FOOT, "yards": 3 * FOOT,
    "mi": 5280 * FOOT, "mile": 5280 * FOOT, "miles": 5280 * FOOT,
}  # fmt: skip
_BLOCKS = {"block", "blocks"}
_DAYS = {"day": 1, "days": 1, "week": 7, "weeks": 7}
_QUANTITY = re.compile(r"^\s*([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)\s*([a-z]*)\s*$", re.IGNORECASE)


def parse_length(value: float | str, *, name: str = "length", block_length: float | None = None) -> float:
    """Return a length in metres.

    Parameters
    ----------
    value : float or str
        A number is metres. A text is a number and a unit: m, km, ft, yd, mi or blocks.
    name : str
        What the length is, for the error message.
    block_length : float, optional
        Length of one block in metres, needed for lengths in blocks.

    Returns
    -------
    float
        Metres, greater than 0.

    Raises
    ------
    InputError
        If the text has no known unit, the length is not greater than 0, or it is in blocks and there
        is no block length.

    Examples
    --------
    >>> parse_length("250 ft")
    76.2
    >>> parse_length("3 blocks", block_length=100)
    300.0
    """
    if not isinstance(value, str):
        return check_positive(name, value)
    match = _QUANTITY.match(value)
    unit = match.group(2).lower() if match else ""
    if match is None or (unit not in _METRES and unit not in _BLOCKS):
        raise InputError(
            f"Invalid {name} {value!r}. Write a number and a unit: m, km, ft, yd, mi or blocks, as in '250 ft'."
        )
    number = float(match.group(1))
    if number <= 0:
        raise InputError(f"Invalid {name} {value!r}. It must be greater than 0.")
    if unit in _METRES:
        return number * _METRES[unit]
    if block_length is None:
        raise InputError(
            f"Invalid {name} {value!r}. A length in blocks needs a block length, and this grid has none: "
            "make the grid with block_length=, or give the length in metres or feet."
        )
    return number * block_length


def format_length(metres: float) -> str:
    """Return a length for people, in metres and feet.

    Examples
    --------
    >>> format_length(137.16)
    '137 m (450 ft)'
    """
    return f"{metres:,.0f} m ({metres / FOOT:,.0f} ft)"


def parse_days(value: int | str, *, name: str = "duration") -> int:
    """Return a whole number of days from 90, "90 days" or "12 weeks".

    Raises
    ------
    InputError
        If the text has no known unit or the duration is not a whole number of days of at least 1.

    Examples
    --------
    >>> parse_days("12 weeks")
    84
    """
    days = float(value) if isinstance(value, int | float) else float("nan")
    if isinstance(value, str):
        match = _QUANTITY.match(value)
        unit = match.group(2).lower() if match else ""
        if match is None or unit not in _DAYS:
            raise InputError(f"Invalid {name} {value!r}. Write a number of days or weeks, as in '90 days'.")
        days = float(match.group(1)) * _DAYS[unit]
    if not days >= 1 or days != int(days):
        raise InputError(f"Invalid {name} {value!r}. It must be a whole number of days, at least 1.")
    return int(days)


@dataclass(frozen=True)
class Period:
    """A stretch of days, both ends included.

    Examples
    --------
    >>> period = parse_period("2021/2023")
    >>> str(period), period.days
    ('2021-01-01/2023-12-31', 1095)
    """

    start: datetime.date
    end: datetime.date

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise InputError(f"Invalid period {self}. It must not end before it starts.")

    @property
    def days(self) -> int:
        """Number of days, both ends counted."""
        return (self.end - self.start).days + 1

    def contains(self, dates: pd.Series) -> np.ndarray:
        """Return a boolean array: which of the dates (times of day allowed) fall in the period."""
        after_end = pd.Timestamp(self.end) + pd.Timedelta(days=1)
        return ((dates >= pd.Timestamp(self.start)) & (dates < after_end)).to_numpy(dtype=bool)

    def __str__(self) -> str:
        return f"{self.start.isoformat()}/{self.end.isoformat()}"


def parse_period(value: "str | Period") -> Period:
    """Return a period from "2023", "2021/2023", "2021-03/2021-12" or "2021-03-04/2021-12-31".

    Each side is a year, a month or a day; the first counts from its first day, the last to its last day.

    Raises
    ------
    InputError
        If a side is not a date, or the period ends before it starts.

    Examples
    --------
    >>> str(parse_period("2021-03/2021-04"))
    '2021-03-01/2021-04-30'
    """
    if isinstance(value, Period):
        return value
    first, _, last = str(value).strip().partition("/")
    try:
        return Period(_day(first, last=False), _day(last or first, last=True))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"Invalid period {value!r}. Write one date or two with a slash, each a year, month or day, "
            "as in '2021/2023' or '2021-03-04/2021-12-31'."
        ) from None


def _day(text: str, *, last: bool) -> datetime.date:
    parts = [int(part) for part in text.strip().split("-")]
    if not 1 <= len(parts) <= 3 or not 1000 <= parts[0] <= 9999:
        raise ValueError(text)
    year, month = parts[0], parts[1] if len(parts) > 1 else (12 if last else 1)
    if not 1 <= month <= 12:
        raise ValueError(text)
    end_of_month = calendar.monthrange(year, month)[1]
    return datetime.date(year, month, parts[2] if len(parts) > 2 else (end_of_month if last else 1))
