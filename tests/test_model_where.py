"""RiskForecast over years: levels, widths, what the factors add, and intervals that hold."""

import math

import numpy as np
import pandas as pd
import pytest
import shapely
from sklearn.base import clone

import rtmkc as rtm
from rtmkc.errors import InputError
from rtmkc.evidence.statistics.metrics import nats
from rtmkc.model.history.ages import both_ways, first_part, split_halves, whole_past
from rtmkc.model.history.fit import fit_history
from rtmkc.model.history.gain import Gain, measure_gain

UTM = "EPSG:26915"


@pytest.fixture(scope="module")
def city():
    """Four years of incidents, and true factors."""
    return rtm.simulate_city(
        random_state=4, n_rows=36, n_columns=36, n_factors=4, n_incidents=1600, noise_variance=0.5,
        period="2019/2022",
    )  # fmt: skip


@pytest.fixture(scope="module")
def where(city):
    return rtm.RiskForecast().fit(city.grid, city.risk_factors(), city.incidents)


def test_several_years_forecast_at_the_level_of_the_last(city, where):
    """Four years: the parts multiply to the whole, whose sum is the rate of the last 365 days, and it is said."""
    product = where.city_mean_ * where.environment_ * where.area_history_ * where.spot_history_
    np.testing.assert_allclose(where.expected_, product, rtol=1e-12)
    recent = int((city.incidents["date"] > pd.Timestamp("2021-12-31")).sum())
    assert where.expected_.sum() == pytest.approx(recent * 90 / 365)
    notes = "\n".join(where.notes_)
    assert f"the level is that of the last 365 days ({recent:,} incidents)" in notes
    assert "to predict the last 365 days from the 1,096 before them" in notes
    assert where.gain_statement_ in notes


def test_the_gain_is_that_of_models_that_never_saw_the_last_year(city, where):
    """It equals the scores of a forecast fitted to the first three years alone, with and without factors."""
    lessons = split_halves(where.observations_, 0)
    first = first_part(where.observations_, lessons)
    early = rtm.RiskForecast(n_lambdas=20).fit(city.grid, where.candidates_, first)
    alone = fit_history(
        city.grid, city.grid.share, whole_past(first), split_halves(first, 0), weight=city.grid.share
    )
    later = where.observations_.counts - first.counts
    difference = nats(early.expected_, later, city.grid.share) - nats(alone.expected, later, city.grid.share)
    gain = where.gain_over_history_
    assert gain.nats == pytest.approx(difference, abs=1e-9)
    assert gain.n_incidents == later.sum()
    assert gain.by_time
    assert gain.lower < gain.nats < gain.upper
    assert gain.nats > 0.02


def test_no_factor_adds_nothing_and_says_so():
    """Without any effect the forecast is history alone, and the statement claims no gain."""
    for seed in range(20):
        city = rtm.simulate_city(
            active="null", random_state=seed, n_rows=30, n_columns=30, n_factors=2, n_incidents=300
        )
        where = rtm.RiskForecast().fit(
            city.grid, city.risk_factors(), city.incidents, allow_later_factors=True
        )
        if where.gain_over_history_.nats == 0.0:
            break
    assert where.gain_statement_.endswith("add nothing to history alone: no curve beat a flat surface.")


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (
            Gain(0.02, 0.01, 0.03, 1200, True),
            "add 0.020 nats (95 % interval 0.010 to 0.030) to history alone.",
        ),
        (Gain(0.02, -0.01, 0.05, 1200, True), "cannot be told whether the factors add"),
        (Gain(-0.02, -0.03, -0.01, 1200, True), "make history worse, by 0.020 nats"),
        (
            Gain(0.02, math.nan, math.nan, 12, False),
            "12 incidents held out at random the factors add 0.020 nats",
        ),
        (Gain(math.nan, math.nan, math.nan, 0, False), "None of the incidents could be held out"),
    ],
    ids=["more", "open", "worse", "few", "none"],
)
def test_a_gain_claims_no_more_than_its_interval(gain, words):
    """The sentence follows the interval: more, open, worse, too few places, none held out."""
    assert words in gain.statement


def test_equal_forecasts_gain_exactly_nothing(city):
    """The gain of a surface over itself is 0 with the interval 0 to 0."""
    surface = np.arange(1.0, city.grid.n_cells + 1)
    future = np.ones(city.grid.n_cells)
    gain = measure_gain(city.grid, surface, surface, future, block=500.0, by_time=True, seed=0)
    assert (gain.nats, gain.lower, gain.upper) == (0.0, 0.0, 0.0)


def test_one_date_falls_back_to_random_halves(city):
    """Where all incidents are of one day the split is random, and the notes and the statement say so."""
    frame = city.incidents.assign(date=pd.Timestamp("2020-06-01"))
    incidents = rtm.read_layer(frame, date="date", period="2020")
    where = rtm.RiskForecast().fit(city.grid, city.risk_factors(), incidents)
    assert any("all incidents are of one day" in note for note in where.notes_)
    assert not where.gain_over_history_.by_time
    assert "held out at random" in where.gain_statement_


def test_widths_are_lengths_and_survive_a_clone(city):
    """Widths are sorted, in metres whatever the unit; wide ones are history of the area, and no list is an error."""
    forecast = rtm.RiskForecast(history_widths=("410.105 ft", "2 blocks", 500))
    assert clone(forecast).get_params() == forecast.get_params()
    forecast.fit(city.grid, city.risk_factors(), city.incidents)
    np.testing.assert_allclose(forecast.history_.widths_m, (500, 400, 125, 0), rtol=1e-6)
    multipliers = forecast.history_.multipliers
    np.testing.assert_allclose(forecast.area_history_, multipliers[0] * multipliers[1])
    np.testing.assert_allclose(forecast.spot_history_, multipliers[2] * multipliers[3])
    with pytest.raises(InputError, match="Invalid history_widths '500 m'. Give a list of lengths"):
        rtm.RiskForecast(history_widths="500 m").fit(city.grid, city.risk_factors(), city.incidents)
    with pytest.raises(InputError, match="Invalid history width '5 miless'"):
        rtm.RiskForecast(history_widths=("5 miless",)).fit(city.grid, city.risk_factors(), city.incidents)


def test_half_the_cell_size_gives_the_same_map():
    """Cells of 50 m summed to 100 m expect nearly what cells of 100 m do: widths are in metres."""
    rng = np.random.default_rng(2)
    area = rtm.StudyArea.from_geometry(shapely.box(1000, 1000, 5000, 5000), crs=UTM)
    grids = [rtm.Grid.cover(area, cell_size=size) for size in (100, 50)]
    centres, spread = rng.uniform(1200, 4800, (2, 25)), rng.gamma(2.0, 60.0, 25)
    own = rng.integers(0, 25, 2500)
    points = np.clip(centres[:, own] + rng.normal(size=(2, 2500)) * spread[own], 1001, 4999)
    surfaces = []
    for grid in grids:
        cells = grid.locate(*points)
        early = np.arange(2500) % 2 == 0
        counts, half = (np.bincount(one, minlength=grid.n_cells) for one in (cells, cells[early]))
        surfaces.append(fit_history(grid, np.ones(grid.n_cells), counts, both_ways([half], counts)).expected)
    place = grids[0].locate(grids[1].eastings, grids[1].northings)
    summed = np.bincount(place, weights=surfaces[1], minlength=grids[0].n_cells)
    coarse, fine = surfaces[0] / surfaces[0].sum(), summed / summed.sum()
    assert np.corrcoef(coarse, fine)[0, 1] > 0.97
    assert np.abs(coarse - fine).sum() / 2 < 0.1  # the share of incidents that is expected elsewhere


def test_intervals_hold_in_the_cells_and_in_the_busiest_of_them():
    """New counts from the true intensity fall in the 90 % interval in 90 % of all cells, and of the busiest tenth."""
    city = rtm.simulate_city(random_state=7, n_incidents=1500, noise_variance=0.5, period="2021/2022")
    where = rtm.RiskForecast().fit(city.grid, city.risk_factors(), city.incidents)
    rng = np.random.default_rng(1)
    busiest = np.argsort(-where.expected_)[: city.grid.n_cells // 10]
    later = rng.poisson(city.intensity * 90 / 730, (200, city.grid.n_cells))
    covered = (later >= where.lower_) & (later <= where.upper_)
    assert covered.mean() >= 0.9
    assert covered[:, busiest].mean() >= 0.9
    assert where.upper_[busiest].mean() < 6 * where.expected_[busiest].mean() + 1
