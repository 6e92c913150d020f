"""Validation end to end on simulated cities: nothing leaks, what is refused, and what is said."""

import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

import rtmkc as rtm
from rtmkc.errors import InputError, OutputError
from rtmkc.evidence import forest
from rtmkc.evidence.contestants import CURVES, FORECAST, HISTORY, PAST_COUNTS, Contest, Setting
from rtmkc.evidence.splits import hold_out_places
from rtmkc.evidence.validation import Validation, validate
from rtmkc.model.observations import observe


@pytest.fixture(scope="module", autouse=True)
def small_forests():
    """Forests of few trees: what they are good for is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forest, "N_TREES", 12)
        patch.setattr(forest, "N_TREES_TRIED", 4)
        patch.setattr(forest, "LEAVES", (10, 100))
        patch.setattr(forest, "PLACE_LEAVES", (10, 100))
        yield


@pytest.fixture(scope="module")
def city():
    return rtm.simulate_city(
        n_rows=36, n_columns=36, n_factors=3, n_incidents=1200, noise_variance=0.5, random_state=2
    )


@pytest.fixture(scope="module")
def found(city) -> Validation:
    return validate(
        city.grid,
        city.risk_factors(),
        city.incidents,
        test="2023",
        method="classic",
        block="600 m",
        n_bootstrap=200,
    )


def test_the_test_reaches_no_contestant(city, found):
    """Other incidents in the test period, many more and elsewhere, leave every surface as it is, to the last bit."""
    frame = city.incidents
    late = (frame["date"] >= "2023").to_numpy()
    moved = frame[late].iloc[:200].copy()
    moved["date"] = pd.Timestamp("2023-06-01")
    moved.geometry = [shapely.Point(place.x, place.y) for place in frame.geometry.iloc[:200]]
    other = pd.concat([frame[~late], moved, moved.set_index(moved.index + 100_000)])
    again = validate(
        city.grid, city.risk_factors(), other, test="2023", method="classic", block="600 m", n_bootstrap=200
    )
    assert again.facts["n_test"] == 400 != found.facts["n_test"]
    for name in found.table.loc[found.table["competes"], "contestant"]:
        np.testing.assert_array_equal(again.surfaces[name], found.surfaces[name], err_msg=name)


def test_places_left_out_reach_no_contestant(city):
    """Incidents of a fold shape no surface that forecasts it: with 500 more there it stays as it is, to the last bit."""
    grid, frame = city.grid, city.incidents
    folds = (grid.columns // 18).astype(int)
    setting = Setting(grid, tuple(city.risk_factors()), ("classic",), 365, False, True, 0)
    inside = frame[folds[grid.locate(frame.geometry.x, frame.geometry.y)] == 1]
    more = inside.sample(500, replace=True, random_state=0)
    more.index = np.arange(500) + 100_000
    before, after = (
        hold_out_places(observe(grid, incidents), folds, 600, 0).splits[1]
        for incidents in (frame, pd.concat([frame, more]))
    )
    assert (before.test.sum(), after.test.sum()) == (len(inside), len(inside) + 500)
    one, other = (dict(Contest(setting, split).surfaces()) for split in (before, after))
    assert set(one) == {"classic weights", CURVES, "random forest"}
    for name, surface in one.items():
        np.testing.assert_array_equal(surface.expected, other[name].expected, err_msg=name)


def test_rows_in_another_order_give_the_same(city, found):
    """Shuffled incidents: every figure of every table agrees to nine digits."""
    shuffled = city.incidents.sample(frac=1, random_state=3)
    again = validate(
        city.grid,
        city.risk_factors(),
        shuffled,
        test="2023",
        method="classic",
        block="600 m",
        n_bootstrap=200,
    )
    for name in ("table", "rankings", "paired", "calibration"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(found, name), rtol=1e-9)
    assert again.verdict == found.verdict


def test_contestants_are_the_models_themselves(city, found):
    """Forecast, history and weights equal the public models fitted by hand to the training incidents."""
    train = city.incidents[city.incidents["date"] < "2023"]
    layer = rtm.read_layer(train, period=found.facts["train_period"])
    where = rtm.RiskForecast(horizon=365).fit(city.grid, city.risk_factors(), layer)
    np.testing.assert_allclose(found.surfaces[FORECAST], where.expected_, rtol=1e-9)
    why = rtm.RiskTerrainModel("classic").fit(city.grid, city.risk_factors(), layer)
    weights = found.surfaces["classic weights"]
    np.testing.assert_allclose(weights / weights.min(), why.rrs_, rtol=1e-9)
    counts = np.bincount(city.grid.place(layer)[1], minlength=city.grid.n_cells)
    past = found.surfaces[PAST_COUNTS]
    assert np.corrcoef(past, counts)[0, 1] == pytest.approx(1.0)
    assert (past > 0).all()
    for name in found.table.loc[found.table["competes"], "contestant"]:
        assert found.surfaces[name].sum() == pytest.approx(where.expected_.sum())


def test_a_forecast_is_worse_than_the_truth_and_better_than_nothing(city, found):
    """On counts of a known intensity nobody does better than the intensity itself, beyond chance."""
    from rtmkc.evidence.statistics.metrics import nats

    best = nats(city.intensity, found.test)
    table = found.to_frame()
    assert 0 < table.loc[FORECAST, "nats"] < best
    assert table.loc["oracle (the test itself)", "nats"] > best
    assert table.loc[table["competes"], "nats"].max() < best


def test_both_recipes_compete_by_default(city):
    """Guarded weights stand beside the published ones; without forests everything else is the same."""
    quick = validate(
        city.grid,
        city.risk_factors(),
        city.incidents,
        test="2023",
        baselines=False,
        block="600 m",
        n_bootstrap=100,
    )
    names = quick.table["contestant"].tolist()
    assert names[4:6] == ["classic weights", "guarded weights"]
    assert not any("forest" in name for name in names)
    assert set(quick.paired.loc[quick.paired["contestant"] == CURVES, "against"]) == {
        "classic weights",
        "guarded weights",
    }


def test_undated_incidents_are_halved_and_named_so(city):
    """Without dates the heading and the statement say random halves; no order in time is claimed."""
    halves = validate(
        city.grid,
        city.risk_factors(),
        city.incidents.drop(columns="date"),
        method="classic",
        baselines=False,
        block="600 m",
        n_bootstrap=100,
    )
    assert halves.heading == "Random halves: are places told apart?"
    assert "random halves, as the incidents have no dates" in halves.statement[0].lower()
    assert "the order in time of factors and incidents is not known" in halves.statement[2].lower()
    assert abs(halves.facts["n_test"] - len(city.incidents) / 2) < 4 * np.sqrt(len(city.incidents) / 4)


def dated_factor(city, period):
    layer = rtm.read_layer(city.factor_points["factor 0"], name="lights", period=period)
    return rtm.RiskFactor("lights", layer)


def test_factors_must_precede_the_test_not_the_training(city):
    """Factors of 2022 may foretell 2023 though they overlap the training; those of 2023 only if it is said."""
    options = {"test": "2023", "method": "classic", "baselines": False, "block": "600 m", "n_bootstrap": 100}
    fair = validate(city.grid, [dated_factor(city, "2022")], city.incidents, **options)
    assert fair.heading.startswith("Hold-out in time")
    assert "All factors precede the incidents" in fair.statement[2]
    late = [dated_factor(city, "2023-01")]
    with pytest.raises(InputError, match=r"Invalid factors lights \(2023-01-01/2023-01-31\)"):
        validate(city.grid, late, city.incidents, **options)
    allowed = validate(city.grid, late, city.incidents, allow_later_factors=True, **options)
    assert allowed.heading.startswith("Contemporaneous, not a forecast. Hold-out")
    assert repr(allowed).startswith("Contemporaneous, not a forecast.")
    assert "Contemporaneous" in allowed._repr_html_()


def test_a_factor_made_from_the_incidents_is_refused(city):
    """Most of the incidents given as a factor, in another order and under another name, are found out."""
    copied = city.incidents.sample(frac=0.9, random_state=0)[["geometry"]].reset_index(drop=True)
    with pytest.raises(InputError, match="it is made from them, and would foretell itself"):
        validate(city.grid, [rtm.RiskFactor("calls", copied)], city.incidents, test="2023")
    # A factor of which some places lie on incidents is no copy: not half of the incidents are there.
    bars = city.incidents.iloc[:100][["geometry"]]
    mixed = gpd.GeoDataFrame(pd.concat([bars, city.factor_points["factor 0"]]), crs=city.grid.crs)
    validate(
        city.grid, [rtm.RiskFactor("bars", mixed)], city.incidents, test="2023", method="classic", baselines=False,
        n_bootstrap=100,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": "2021/2023-02", "test": "2023"}, "They overlap"),
        ({"by": "blocks", "test": "2023"}, "Places are left out at all times"),
        ({"test": "2023", "method": "new"}, "Invalid method 'new'"),
        ({"test": "2023", "n_bootstrap": 10}, "at least 100"),
        ({"test": "2023", "block": "some"}, "Invalid block"),
    ],
)
def test_wrong_arguments(city, options, message):
    """Arguments that make no test are refused before anything is fitted."""
    with pytest.raises(InputError, match=message):
        validate(city.grid, city.risk_factors(), city.incidents, **options)


def test_all_on_one_point(city):
    """Incidents that all lie on one point teach nothing, and the error says where to look."""
    frame = city.incidents.copy()
    frame.geometry = [frame.geometry.iloc[0]] * len(frame)
    with pytest.raises(InputError, match=r"that are learned from lie in one cell.*dominant_places"):
        validate(city.grid, city.risk_factors(), frame, test="2023")


def test_few_incidents_are_exploratory():
    """With 30 test incidents the verdict starts with it."""
    small = rtm.simulate_city(n_rows=30, n_columns=30, n_factors=3, n_incidents=100, random_state=4)
    result = validate(
        small.grid, small.risk_factors(), small.incidents, test="2023", method="classic", baselines=False,
        block="500 m", n_bootstrap=100,
    )  # fmt: skip
    assert result.facts["n_test"] < 50
    assert result.verdict[0].startswith(f"Exploratory only, with {result.facts['n_test']} test incidents")


def test_progress_counts_to_the_end(city):
    """Every contestant of every fold is reported once, and the last is the whole."""
    told = []
    validate(
        city.grid, city.risk_factors(), city.incidents, by=(city.grid.columns // 18).astype(int), method="classic",
        baselines=False, n_bootstrap=100, progress=lambda *step: told.append(step),
    )  # fmt: skip
    assert [done for _, done, _ in told] == list(range(1, told[-1][2] + 1))
    assert [what for what, _, _ in told] == ["classic weights", CURVES] * 2


def test_saved_files_hold_the_tables(found, tmp_path, monkeypatch):
    """CSV gives the tables back, JSON what was said; the same result gives the same bytes; nothing is overwritten."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    found.save(tmp_path / "one")
    found.save(tmp_path / "two")
    for name in ("table", "rankings", "paired", "curves", "calibration"):
        back = pd.read_csv(tmp_path / "one" / f"{name}.csv", keep_default_na=True)
        expected = getattr(found, name)
        assert list(back.columns) == list(expected.columns)
        numbers = expected.select_dtypes("number").columns
        np.testing.assert_allclose(back[numbers], expected[numbers], rtol=1e-12)
    said = json.loads((tmp_path / "one" / "validation.json").read_text(encoding="utf-8"))
    assert said["verdict"] == list(found.verdict)
    assert said["facts"]["seed"] == 0
    assert "seconds" not in json.dumps(said)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        found.save(tmp_path / "one")


def test_what_is_shown(found):
    """The text has the verdict, one line a contestant, and n, cells, system and seed, within 140 columns."""
    text = repr(found)
    lines = text.splitlines()
    assert lines[0] == found.heading
    assert found.verdict[0] in lines
    for name in found.table["contestant"]:
        assert sum(line.startswith(f"{name:<38}") for line in lines) == 1
    for word in (
        "1,296 cells of 100 m",
        "EPSG:26915",
        "seed 0",
        "2023-01-01/2023-12-31",
        str(found.facts["n_test"]),
    ):
        assert word in text
    assert max(len(line) for line in lines if line.startswith(tuple(found.table["contestant"]))) < 140
    html = found._repr_html_()
    assert "<table" in html
    assert HISTORY in html
