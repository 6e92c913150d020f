"""Treated corridors: what is left out, what fades, and the day it is judged from."""

import datetime
import math

import geopandas as gpd
import numpy as np
import pytest
import shapely

from rtmkc.datasets import sample_path
from rtmkc.errors import InputError
from rtmkc.places.corridors.choice.treated import Treated

CRS = "EPSG:26915"


def past(*rows, **columns):
    """Streets of 500 m, 1 km apart, with a start each, or the columns given."""
    table = {"start": list(rows)} if rows else columns
    count = len(next(iter(table.values())))
    lines = [shapely.LineString([(0, 1000 * i), (500, 1000 * i)]) for i in range(count)]
    return gpd.GeoDataFrame(table, geometry=lines, crs=CRS)


def left_out(treated):
    """Which streets are excluded, by their number."""
    if treated.excluded is None:
        return []
    return sorted({round(point[1] / 1000) for point in shapely.get_coordinates(treated.excluded).tolist()})


def test_rows_by_their_dates():
    """Under way, planned, undated and recent rows are left out and said; an older one fades."""
    streets = past("2024-12-01", "2025-02-01", None, "2024-03-01", "2022-01-01")
    treated = Treated.from_layer(streets, crs=CRS, today="2024-12-31", days=90)
    assert left_out(treated) == [0, 1, 2, 3]
    # 2022-01-01 and 89 days more is 2022-03-31
    assert treated.fading_age_days.tolist() == [
        (datetime.date(2024, 12, 31) - datetime.date(2022, 3, 31)).days
    ]
    assert treated.notes[0] == (
        "Treated corridors left out, of 5 and as of 2024-12-31: 1 under way; 1 planned for later; 1 without a usable "
        "date, so left out to be safe; 1 ended less than 365 days before."
    )
    assert treated.notes[1].startswith("1 treated corridor ended 365 days or more before 2024-12-31")


@pytest.mark.parametrize(
    ("today", "out"),
    [("2023-12-31", True), ("2024-01-01", True), ("2024-01-30", True), ("2024-12-29", True), ("2024-12-30", False)],
)  # fmt: skip
def test_the_cooldown_ends_on_its_day(today, out):
    """Thirty days from 1 January end on the 30th; 335 days later, on 30 December 2024, the street is free."""
    treated = Treated.from_layer(past("2024-01-01"), crs=CRS, today=today, days=30, cooldown="335 days")
    assert (left_out(treated) == [0]) is out


def test_end_goes_before_days_and_days_before_nothing():
    """Age counts from the end column, else from start and days, else from the start; a reversed end counts as the later."""
    streets = past(
        begin_date=["2024-01-01", "2024-01-01", "2024-01-01", None, "2024-06-01"],
        end_date=["2024-03-01", None, None, "2024-03-01", "2024-05-01"],
        days=[10, 10, None, None, 1],
    )
    treated = Treated.from_layer(streets, crs=CRS, today="2024-12-31", cooldown="1 day")
    last = ["2024-03-01", "2024-01-10", "2024-01-01", "2024-03-01", "2024-06-01"]
    ages = [(datetime.date(2024, 12, 31) - datetime.date.fromisoformat(day)).days for day in last]
    assert treated.fading_age_days.tolist() == ages


def test_a_row_on_today_is_under_way():
    """Work on its last day is not over; the day after it is one day old."""
    streets = past("2024-01-01")
    today = Treated.from_layer(streets, crs=CRS, today=datetime.date(2024, 1, 1), cooldown=0)
    assert left_out(today) == [0]
    after = Treated.from_layer(streets, crs=CRS, today="2024-01-02", cooldown=0)
    assert (left_out(after), after.fading_age_days.tolist()) == ([], [1.0])


def test_multiplier_by_hand():
    """Along the street 1 - fade exp(-age/tau); by share beside its end; side streets and far blocks stay whole."""
    treated = Treated.from_layer(
        past("2023-01-01"), crs=CRS, today="2024-01-01", cooldown="100 days", fade=0.4, fade_days="200 days"
    )
    blocks = shapely.linestrings(
        [
            [(100, 10), (200, 10)],  # along
            [(470, 0), (570, 0)],  # 60 of 100 m within 30 m of the end
            [(500, 0), (600, 0)],  # the next block: 30 of 100 m
            [(250, 0), (250, 100)],  # a side street: 30 of 100 m
            [(100, 40), (200, 40)],  # a street further
        ]
    )
    taken = 0.4 * math.exp(-365 / 200)
    assert treated.multiplier(blocks) == pytest.approx([1 - taken, 1 - 0.6 * taken, 1, 1, 1], abs=1e-4)


def test_of_several_the_one_that_takes_most_off_counts():
    """A street treated twice counts less by its later treatment, not by both."""
    line = shapely.LineString([(0, 0), (500, 0)])
    twice = gpd.GeoDataFrame({"start": ["2021-01-01", "2022-01-01"]}, geometry=[line, line], crs=CRS)
    once = gpd.GeoDataFrame({"start": ["2022-01-01"]}, geometry=[line], crs=CRS)
    block = np.array([shapely.LineString([(0, 0), (100, 0)])])
    by_both = Treated.from_layer(twice, crs=CRS, today="2024-01-01").multiplier(block)
    assert by_both == Treated.from_layer(once, crs=CRS, today="2024-01-01").multiplier(block)


def test_multiplier_rises_with_age_and_stays_in_bounds():
    """Over 40 random treated streets it lies between 1 - fade and 1, and never falls as the days go by."""
    random = np.random.default_rng(8)
    lines = shapely.linestrings(random.uniform(0, 2000, (40, 2, 2)))
    days = [f"20{year:02d}-05-01" for year in random.integers(10, 23, 40)]
    streets = gpd.GeoDataFrame({"date": days}, geometry=lines, crs=CRS)
    blocks = np.concatenate([lines, shapely.linestrings(random.uniform(0, 2000, (200, 2, 2)))])
    before = np.zeros(len(blocks))
    for today in ("2024-01-01", "2025-01-01", "2030-01-01"):
        now = Treated.from_layer(streets, crs=CRS, today=today, fade=0.7).multiplier(blocks)
        assert (now >= 0.3).all()
        assert (now <= 1).all()
        assert (now >= before).all()
        before = now
    assert (before < 1).any()


def test_without_fading_nothing_is_said_of_old_ones():
    """With fade 0 every block is whole."""
    treated = Treated.from_layer(past("2010-01-01"), crs=CRS, today="2024-01-01", fade=0)
    assert treated.multiplier(np.array([shapely.LineString([(0, 0), (9, 0)])])).tolist() == [1.0]
    assert treated.notes == ()


def test_no_dates_at_all():
    """A layer without any date is left out whole, and said."""
    treated = Treated.from_layer(past(label=["a", "b"]), crs=CRS, today="2024-01-01")
    assert left_out(treated) == [0, 1]
    assert "2 without a usable date" in treated.notes[0]


def test_the_sample():
    """The initiative of 90 days from 29 November 2023 ended on 26 February 2024: left out until 25 February 2025."""
    path = sample_path("treated.geojson")
    last_day_out = Treated.from_layer(path, crs=CRS, today="2025-02-24")
    assert last_day_out.excluded.length == pytest.approx(2290, abs=20)
    free = Treated.from_layer(path, crs=CRS, today="2025-02-25")
    assert free.excluded is None
    assert free.fading_age_days.tolist() == [365.0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"today": "soon"}, "Invalid today 'soon'"),
        ({"today": None}, "Invalid today None"),
        ({"date": "begun"}, "no such column"),
        ({"days": "weeks"}, "no such column"),
        ({"cooldown": "a year"}, "Invalid cooldown"),
        ({"cooldown": -3}, "Invalid cooldown"),
        ({"fade": 1.5}, "Invalid fade 1.5"),
        ({"fade_days": 0}, "Invalid fade_days"),
        ({"near": "30 furlongs"}, "Invalid near"),
    ],
)
def test_arguments_that_do_not_fit(change, words):
    """Each is refused with its rule."""
    with pytest.raises(InputError, match=words):
        Treated.from_layer(past("2024-01-01"), crs=CRS, **{"today": "2024-12-31", **change})
