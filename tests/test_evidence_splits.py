"""What is learned from and what is scored: nothing twice, nothing in the wrong order, nothing by the order of rows."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

import rtmkc as rtm
from rtmkc.errors import InputError
from rtmkc.evidence.splits import hold_out_half, hold_out_period, hold_out_places, incident_folds
from rtmkc.model.history.ages import split_halves
from rtmkc.model.observations import observe
from rtmkc.raster.candidates import build_curves

UTM = "EPSG:26915"


@pytest.fixture(scope="module")
def grid():
    """40 x 30 cells of 100 m."""
    area = rtm.StudyArea.from_geometry(shapely.box(0, 0, 4000, 3000), crs=UTM)
    return rtm.Grid.cover(area, block_length=200, cell_size=100)


def points(number, seed=0, days=730):
    random = np.random.default_rng(seed)
    places = shapely.points(random.uniform([0, 0], [4000, 3000], (number, 2)))
    dates = pd.Timestamp("2021-01-01") + pd.to_timedelta(np.arange(number) % days, unit="D")
    return gpd.GeoDataFrame({"date": dates}, geometry=places, crs=UTM)


@pytest.fixture(scope="module")
def dated(grid):
    """Two incidents a day from 2021-01-01 to 2022-12-31."""
    return observe(grid, points(1460))


@pytest.fixture(scope="module")
def undated(grid):
    return observe(grid, points(800).drop(columns="date"))


def test_periods_take_their_days_and_no_others(dated):
    """Two incidents a day: 181 days of training give 362, 30 days of test 60; the rest is counted and said."""
    held = hold_out_period(dated, "2021-01/2021-06", "2021-09-01/2021-09-30", "90 days")
    [split] = held.splits
    assert (split.train.n_incidents, split.test.sum()) == (362, 60)
    assert split.train.incidents.dates.max() < pd.Timestamp("2021-07-01")
    assert str(split.train.period) == "2021-01-01/2021-06-30"
    assert split.learned.all()
    assert "1,038 incidents of neither period are not used" in held.statement


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        (None, "2022", "2021-01-01/2021-12-31 2022-01-01/2022-12-31"),
        ("2021/2022-06", None, "2021-01-01/2022-06-30 2022-07-01/2022-12-31"),
        (None, None, "2021-01-01/2022-10-02 2022-10-03/2022-12-31"),
    ],
    ids=["all before", "all after", "last 90 days"],
)
def test_one_period_gives_the_other(dated, train, test, expected):
    """The training is all before the test, the test all after the training, or the last days, as many as asked for."""
    held = hold_out_period(dated, train, test, "90 days")
    assert f"{held.train_period} {held.test_period}" == expected


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("2021/2022-03", "2022", "They overlap"),
        ("2022", "2021", "The test comes before the training"),
        ("2019", "2022", "None of the 1,460 incidents .* are of 2021-01-01 to 2022-12-31"),
        ("2021", "2024", "Invalid test .* None of the"),
        (None, "2021", "none come before it"),
        ("2021/2022", None, "nothing would be left"),
    ],
)
def test_periods_that_test_nothing_are_refused(dated, train, test, message):
    """Overlapping, backward and empty periods are errors that say what to do."""
    with pytest.raises(InputError, match=message):
        hold_out_period(dated, train, test, "90 days")
    with pytest.raises(InputError, match="nothing would be left"):
        hold_out_period(dated, None, None, "800 days")


def test_periods_need_dates(undated):
    """Without dates no period can be told apart, and the error offers the random halves."""
    with pytest.raises(InputError, match="random halves are then compared, and named so"):
        hold_out_period(undated, "2021", "2022", "90 days")


def test_halves_follow_the_index_not_the_order(grid, undated):
    """Shuffled rows give the same halves of every cell, together all incidents."""
    frame = points(800).drop(columns="date")
    shuffled = observe(grid, frame.sample(frac=1, random_state=1))
    one, other = (hold_out_half(observations, 3).splits[0] for observations in (undated, shuffled))
    np.testing.assert_array_equal(one.train.counts, other.train.counts)
    np.testing.assert_array_equal(one.train.counts + one.test, undated.counts)
    assert abs(one.train.n_incidents - 400) < 4 * np.sqrt(200)
    assert not np.array_equal(one.test, hold_out_half(undated, 4).splits[0].test)


def test_the_halves_are_not_those_that_the_forecast_draws_itself(undated):
    """What the forecast divides again by coins of its own falls to both sides, for every seed."""
    for seed in range(5):
        train = hold_out_half(undated, seed).splits[0].train
        for lesson in split_halves(train, seed):
            assert 0.3 < lesson.past.total / train.n_incidents < 0.7


def test_places_are_scored_once_and_never_learned_from(dated):
    """Over the folds every cell is scored once; a training set holds no incident of the cells it is scored on."""
    held = hold_out_places(dated, "blocks", "500 m", 0)
    assert len(held.splits) == 5
    np.testing.assert_array_equal(sum(split.scored.astype(int) for split in held.splits), 1)
    np.testing.assert_array_equal(held.test, dated.counts)
    for split in held.splits:
        assert not split.train.counts[split.scored].any()
        assert not split.scored[split.train.cells].any()
        np.testing.assert_array_equal(split.learned, ~split.scored)
        assert split.train.n_incidents == dated.counts[split.learned].sum() == len(split.train.incidents)


def test_areas_are_left_out_by_the_centres_of_cells(grid, dated):
    """Cells go with the area of their centre, or the nearest; with a column areas of one label go together."""
    areas = gpd.GeoDataFrame(
        {"district": ["a", "b", "a"]},
        geometry=[
            shapely.box(0, 0, 1030, 3000),
            shapely.box(1030, 0, 2000, 3000),
            shapely.box(2000, 0, 3500, 3000),
        ],
        crs=UTM,
    )
    held = hold_out_places(dated, areas, "1 km", 0)
    assert [split.scored.sum() for split in held.splits] == [300, 300, 600]
    assert (grid.eastings[held.splits[2].scored] > 2000).all()
    by_label = hold_out_places(dated, (areas, "district"), "1 km", 0)
    assert [split.scored.sum() for split in by_label.splits] == [900, 300]
    assert "2 areas of areas, one left out at a time" in by_label.statement


def test_a_fold_without_incidents_is_said(grid, dated):
    """A fold in which nothing happened is scored with the rest, and the statement counts it."""
    folds = np.where(np.arange(grid.n_cells) < 600, 0, 5)
    folds[np.flatnonzero(dated.counts == 0)[:3]] = 9
    held = hold_out_places(dated, folds, "1 km", 0)
    assert [int(split.test.sum()) for split in held.splits][2] == 0
    assert "3 folds of cells as given; 1 of them hold no incidents" in held.statement


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (np.zeros(1200, dtype=int), "All incidents lie in one of them"),
        (np.zeros(7, dtype=int), "one for each of the 1,200 cells"),
        (np.zeros(1200), "Folds are whole numbers"),
        (gpd.GeoDataFrame(geometry=[shapely.Point(1, 1)], crs=UTM), "Places left out are areas"),
    ],
)
def test_folds_that_cannot_be_left_out(dated, by, message):
    """One fold, folds of other cells, numbers with a fraction and points are refused."""
    with pytest.raises(InputError, match=message):
        hold_out_places(dated, by, "1 km", 0)


def test_folds_of_incidents_are_stretches_of_time(dated, undated):
    """With dates a fold is a stretch of days that overlaps no other; without, a hash that the order of rows leaves alone."""
    folds = incident_folds(dated, 5, 0)
    days = dated.incidents.dates.dt.normalize().to_numpy()
    for earlier, later in zip(range(4), range(1, 5), strict=True):
        assert days[folds == earlier].max() < days[folds == later].min()
    assert np.ptp(np.bincount(folds)) <= 4
    drawn = pd.Series(incident_folds(undated, 5, 0), index=undated.incidents.frame.index)
    assert np.bincount(drawn).min() > 100
    again = undated.incidents.frame.sample(frac=1, random_state=2)
    other = pd.Series(incident_folds(observe(undated.grid, again), 5, 0), index=again.index)
    pd.testing.assert_series_equal(drawn.sort_index(), other.sort_index())


def test_training_part_is_the_training_set_on_its_own_cells(grid):
    """On a grid of the learned cells the counts, the cells of incidents and the exposure are those of the whole."""
    exposure = np.linspace(1, 3, grid.n_cells)
    observations = observe(grid, points(500, 5), exposure=exposure)
    split = hold_out_places(observations, "blocks", "500 m", 1).splits[0]
    factor = rtm.RiskFactor("a", points(50, 6).drop(columns="date"))
    part = build_curves(grid, [factor], cells=split.learned).within(split.learned)
    train = split.training_part(part.grid, with_exposure=True)
    np.testing.assert_array_equal(np.bincount(train.cells, minlength=part.grid.n_cells), train.counts)
    np.testing.assert_array_equal(train.counts, observations.counts[split.learned])
    shape = train.incidents.frame.geometry
    np.testing.assert_array_equal(part.grid.locate(shape.x, shape.y), train.cells)
    np.testing.assert_allclose(
        train.exposure.values, exposure[split.learned] / exposure[split.learned].mean()
    )
    assert (split.training_part(part.grid, with_exposure=False).exposure.values == 1).all()
