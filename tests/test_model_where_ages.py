"""Ages of incidents, and the lessons that parts of a period teach about others."""

import math
from datetime import date

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

import rtmkc as rtm
from rtmkc.model.history.ages import Past, first_part, recent_rate, split_halves, whole_past
from rtmkc.model.observations import observe

UTM = "EPSG:26915"


@pytest.fixture(scope="module")
def grid():
    """Ten by ten cells of 100 m."""
    return rtm.Grid.cover(
        rtm.StudyArea.from_geometry(shapely.box(1000, 1000, 2000, 2000), crs=UTM), cell_size=100
    )


def seen(grid, dates, *, period=None, index=None):
    """Incidents one after another along the first cells, on given dates."""
    number = len(dates)
    place = np.arange(number) % 10
    points = gpd.points_from_xy(1050 + 100.0 * place, np.full(number, 1950.0))
    frame = gpd.GeoDataFrame({"date": pd.to_datetime(dates)}, geometry=points, crs=UTM, index=index)
    return observe(grid, rtm.read_layer(frame, date="date", period=period))


def daily(first, last, number):
    """`number` dates spread evenly over a period."""
    return pd.date_range(first, last, periods=number).normalize()


def test_weights_halve_with_every_half_life(grid):
    """Counts of a past are sums of exp(-age / tau), and their slope is the derivative by log(tau)."""
    past = Past(4, np.array([0, 0, 2]), np.array([0.0, 100.0, 50.0]), np.ones(3))
    np.testing.assert_allclose(past.counts(100 / math.log(2)), [1.5, 0, math.sqrt(0.5), 0])
    np.testing.assert_array_equal(past.counts(), [2, 0, 1, 0])
    step = 1e-6
    by_hand = (past.counts(80 * math.exp(step)) - past.counts(80 * math.exp(-step))) / (2 * step)
    np.testing.assert_allclose(past.slope(80), by_hand, rtol=1e-8)


def test_ages_count_from_the_day_after_the_period(grid):
    """An incident of the last day is one day old; one of the first day as old as the period is long."""
    observations = seen(grid, ["2021-01-01"] * 30 + ["2021-12-31"] * 30, period="2021")
    past = whole_past(observations)
    assert sorted(set(past.ages)) == [1.0, 365.0]
    np.testing.assert_array_equal(past.counts(), observations.counts)


def test_short_periods_are_halved_by_time_and_no_day_is_cut(grid):
    """Two years: each half predicts the other, at the rate of its own days; ages play no part."""
    dates = [
        *daily("2021-01-01", "2021-12-31", 60),
        *["2022-01-01"] * 41,
        *daily("2022-01-02", "2022-12-31", 20),
    ]
    lessons = split_halves(seen(grid, dates, period="2021/2022"), 0)
    one, other = lessons.lessons
    assert lessons.by_time
    assert not lessons.has_ages
    assert (one.past.total, other.past.total) == (60, 61)
    assert lessons.first.end == date(2021, 12, 31)
    assert one.expected_total == pytest.approx(60.0)
    np.testing.assert_array_equal(one.future, other.past.counts())
    assert "each half of the period from the other" in lessons.statement


def test_three_years_predict_the_last_one(grid):
    """From three years on the last 365 days are the future, ages count back from its first day, the rate is the last year's."""
    dates = [*daily("2020-01-01", "2020-12-31", 100), *daily("2021-01-01", "2021-12-31", 50)]
    dates += [*daily("2022-01-01", "2022-12-31", 80)]
    observations = seen(grid, dates, period="2020/2022")
    lessons = split_halves(observations, 0)
    [lesson] = lessons.lessons
    assert lessons.has_ages
    assert lesson.future.sum() == 80
    assert lesson.past.total == 150
    assert lesson.past.ages.min() == 1.0
    assert lesson.expected_total == pytest.approx(50)
    assert recent_rate(observations)[0] == pytest.approx(80 / 365)
    first = first_part(observations, lessons)
    assert first.n_incidents == 150
    assert first.period.end == date(2021, 12, 31)
    assert "predict the last 365 days from the 731 before them" in lessons.statement


def test_without_dates_or_with_one_halves_are_random_and_keyed_on_the_index(grid):
    """All on one day, or undated: five hashed splits both ways, the same in any order of rows, and it is said."""
    index = [f"case {number}" for number in range(80)]
    observations = seen(grid, ["2021-05-05"] * 80, period="2021", index=index)
    lessons = split_halves(observations, 3)
    assert len(lessons.lessons) == 10
    assert not lessons.by_time
    assert "all incidents are of one day" in lessons.statement
    for lesson in lessons:
        np.testing.assert_array_equal(lesson.past.counts() + lesson.future, observations.counts)
        assert 20 < lesson.past.total < 60
    order = np.random.default_rng(0).permutation(80)
    frame = observations.incidents.frame.iloc[order]
    shuffled = split_halves(observe(grid, rtm.read_layer(frame, date="date", period="2021")), 3)
    for lesson, other in zip(lessons, shuffled, strict=True):
        np.testing.assert_array_equal(lesson.future, other.future)
    bare = rtm.read_layer(frame[["geometry"]], period="2021")
    assert "the incidents have no dates" in split_halves(observe(grid, bare), 3).statement


def test_levels_of_short_periods_are_those_of_the_whole(grid):
    """Below three years, and without dates, the rate is that of the period."""
    observations = seen(grid, daily("2021-01-01", "2022-06-30", 109), period="2021/2022")
    rate, words = recent_rate(observations)
    assert rate == pytest.approx(109 / 730)
    assert "whole period" in words
