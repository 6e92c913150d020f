"""Dates and times are read as files write them; what cannot be read is counted, never guessed."""

import datetime
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmkc.errors import InputError
from rtmkc.inputs.dates import (
    has_time_of_day,
    parse_dates,
    parse_hours,
    parse_times,
    parse_weekdays,
    period_of,
    within_hours,
)

DAYS = st.datetimes(datetime.datetime(1950, 1, 1), datetime.datetime(2060, 12, 31)).map(
    lambda moment: moment.replace(microsecond=0)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-01-04", "2025-01-04"),
        ("2025-01-04T10:39:59.000", "2025-01-04 10:39:59"),
        ("2025-01-04 10:39", "2025-01-04 10:39"),
        ("2025/01/04", "2025-01-04"),
        ("20250104", "2025-01-04"),
        ("2015-02-14T11:05:00Z", "2015-02-14 11:05"),
        ("2015-02-14T11:05:00-06:00", "2015-02-14 11:05"),
        ("01/04/2025", "2025-01-04"),
        ("1/4/2025", "2025-01-04"),
        ("1/7/20", "2020-01-07"),
        ("07/17/2014 12:00:00 AM", "2014-07-17"),
        ("07/17/2014 01:05:00 PM", "2014-07-17 13:05"),
        ("07/17/2014 13:05", "2014-07-17 13:05"),
        ("2025 Jan 04 10:39:59 PM", "2025-01-04 22:39:59"),
    ],
)
def test_every_way_of_writing_a_date_is_read(text: str, expected: str) -> None:
    """The clock time stands as written: a zone is cut off, never applied."""
    dates, _ = parse_dates(pd.Series([text]))
    assert dates[0] == pd.Timestamp(expected)


@pytest.mark.parametrize(
    "text", ["", " ", "soon", "99999", "2021", "13/45/2021", "0001-01-01", "1900-01-01", None]
)
def test_what_is_no_date_is_missing(text: str | None) -> None:
    """A year alone, a database's null date and rubbish are not dates."""
    dates, formats = parse_dates(pd.Series([text], dtype=object))
    assert dates.isna().all()
    assert formats == () or text == "1900-01-01" or text == "0001-01-01"


@given(st.lists(DAYS, min_size=1, max_size=8))
def test_dates_survive_being_written_in_either_order(moments: list[datetime.datetime]) -> None:
    """ISO text and American text of the same moments are read as the same moments."""
    iso, _ = parse_dates(pd.Series([moment.isoformat() for moment in moments]))
    american = pd.Series([moment.strftime("%m/%d/%Y %I:%M:%S %p") for moment in moments])
    assert list(iso) == moments
    assert list(parse_dates(american)[0]) == moments


def test_mixed_formats_are_named() -> None:
    """The formats met are returned, so that the user can be told."""
    dates, formats = parse_dates(pd.Series(["2025-01-04", "01/05/2025", "1/6/25", None]))
    assert formats == ("ISO", "MM/DD/YYYY", "MM/DD/YY")
    assert list(dates.dt.day[:3]) == [4, 5, 6]


def test_dates_with_the_day_first_are_refused() -> None:
    """25/12/2021 can only be the day first, and then 03/04/2021 would be read as the wrong month."""
    with pytest.raises(InputError, match=r"'when'\. '25/12/2021' can only be DD/MM/YYYY"):
        parse_dates(pd.Series(["25/12/2021", "03/04/2021"]), what="when")


def test_one_mistyped_day_among_american_dates_is_only_unreadable() -> None:
    """Other dates of the column prove that the month comes first."""
    dates, _ = parse_dates(pd.Series(["25/12/2021", "03/31/2021"]))
    assert dates.isna().tolist() == [True, False]


def test_dates_with_a_zone_keep_their_clock_time() -> None:
    """A zone-aware column becomes naive local time as it reads on the clock."""
    aware = pd.Series(pd.to_datetime(["2021-07-01 23:30"])).dt.tz_localize("America/Chicago")
    assert parse_dates(aware)[0][0] == pd.Timestamp("2021-07-01 23:30")


def test_date_objects_and_eight_digit_numbers_are_read() -> None:
    """Frames in memory hold dates as objects, and some tables as numbers."""
    assert parse_dates(pd.Series([datetime.date(2021, 3, 4)]))[0][0] == pd.Timestamp(2021, 3, 4)
    assert parse_dates(pd.Series([20210304]))[0][0] == pd.Timestamp(2021, 3, 4)
    assert parse_dates(pd.Series([20210304.0, np.nan]))[0][0] == pd.Timestamp(2021, 3, 4)


def test_counts_are_not_taken_for_dates() -> None:
    """Numbers such as 3 or 1700000000 are not days since anything."""
    assert parse_dates(pd.Series([3, 17, 1_700_000_000]))[0].isna().all()


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("19:30", 1170),
        ("7:05", 425),
        ("02:55 PM", 895),
        ("12:00 AM", 0),
        ("12:10 PM", 730),
        ("1930", 1170),
        ("30", 30),
        ("05:00:59", 300),
        ("24:00", None),
        ("13:00 PM", None),
        ("7:61", None),
        ("night", None),
        ("", None),
        (None, None),
    ],
)
def test_times_of_day_are_read(text: str | None, minutes: int | None) -> None:
    """Clock, twelve-hour clock and bare digits are read; what is no time of day is missing."""
    time = parse_times(pd.Series([text], dtype=object))[0]
    assert pd.isna(time) if minutes is None else time.total_seconds() // 60 == minutes


def test_hours_in_a_column_of_hours_are_whole() -> None:
    """In a column called Hour, 3 means three o'clock, not three minutes past midnight."""
    assert parse_times(pd.Series([3, 19]), whole_hours=True).dt.total_seconds().tolist() == [
        3 * 3600,
        19 * 3600,
    ]


@given(start=st.integers(0, 23), end=st.integers(0, 24), hour=st.integers(0, 23), minute=st.integers(0, 59))
def test_a_stretch_of_the_day_may_pass_midnight(start: int, end: int, hour: int, minute: int) -> None:
    """The start is in, the end is not, and 19-3 holds the hours 19 to 23 and 0 to 2: counted one by one."""
    if start == end:
        return
    steps = (end - start) % 24 or 24
    hours = {(start + step) % 24 for step in range(steps)}
    moment = pd.Series([pd.Timestamp(2021, 1, 1, hour, minute)])
    assert within_hours(moment, f"{start}-{end}")[0] == (hour in hours)


@pytest.mark.parametrize("value", ["19", "19-19", "25-3", "3-25", "7:75-9", "night", "", "24-3"])
def test_hours_that_are_no_stretch_are_refused(value: str) -> None:
    """The message repeats the value and shows one that would do."""
    with pytest.raises(InputError, match=f"Invalid hours '{value}'.*'19-3'"):
        parse_hours(value)


@pytest.mark.parametrize(
    ("value", "days"),
    [
        ("fri-sun", (4, 5, 6)),
        ("sun-mon", (0, 6)),
        ("Wednesday", (2,)),
        ("tue, thu", (1, 3)),
        (["sat", "Sunday"], (5, 6)),
        ("mon-sun", (0, 1, 2, 3, 4, 5, 6)),
        ("fri-fri", (4,)),
    ],
)
def test_weekdays_are_read(value: str | list[str], days: tuple[int, ...]) -> None:
    """Ranges may pass Sunday; names may be short or whole."""
    assert parse_weekdays(value) == days


@pytest.mark.parametrize("value", ["", "someday", "m-w", "fri-sat-sun", []])
def test_weekdays_that_are_none_are_refused(value: str | list[str]) -> None:
    """The message lists the names that are known."""
    with pytest.raises(InputError, match=r"Invalid weekdays .*mon, tue, wed"):
        parse_weekdays(value)


def test_the_period_is_first_to_last_day() -> None:
    """Times of day do not matter, and missing dates neither."""
    dates = pd.Series([pd.Timestamp("2021-03-04 23:59"), pd.NaT, pd.Timestamp("2021-01-02")])
    assert str(period_of(dates)) == "2021-01-02/2021-03-04"
    assert period_of(dates[:0]) is None
    assert has_time_of_day(dates)
    assert not has_time_of_day(dates.dt.normalize())


def test_reading_dates_warns_of_nothing() -> None:
    """pandas guesses no format, so it has nothing to warn of."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parse_dates(pd.Series(["2021-01-01", "1/2/2021", "x", None]))
