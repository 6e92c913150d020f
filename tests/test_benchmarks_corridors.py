"""The studies of corridors measure what they say: their cities, their covers, their errors, and the sample's own truth."""

import dataclasses
import importlib
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def studies():
    """The modules of the studies: cities, placebo, planted, page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        names = ("corridor_cities", "placebo_corridors", "planted_corridors", "corridor_studies_page")
        yield tuple(importlib.import_module(name) for name in names)


@pytest.fixture(scope="module")
def small(studies):
    """The law of the placebo in a city of 14 streets either way."""
    return dataclasses.replace(studies[1].LAW, side=14, incidents=150.0)


def test_as_many_incidents_happen_as_the_truth_says(studies, small):
    """Over 120 histories of one truth the mean count of the 90 days after is the true mean, repeats included."""
    cities = studies[0]
    law = dataclasses.replace(small, trend=0.0, season=0.0)
    random = np.random.default_rng(5)
    truth = cities.Truth(law, random, cities.lay_streets(random, law.side))
    drawn = [cities.happen(law, random, truth, years=1) for _ in range(120)]
    came = np.array([city.after_on for city in drawn], dtype=float)
    rate = drawn[0].rate
    assert rate.sum() == pytest.approx(150, rel=0.01)
    # counts spread more than Poisson: each incident of the background brings a family of 1 / (1 - .25) in the mean
    spread = came.sum(axis=1).std(ddof=1) / np.sqrt(len(came))
    assert abs(came.sum(axis=1).mean() - rate.sum()) < 3.5 * spread
    assert came.sum(axis=1).var() > 1.2 * rate.sum()
    high = rate > np.quantile(rate, 0.9)
    error = came[:, high].sum(axis=1).std(ddof=1) / np.sqrt(len(came))
    assert abs(came[:, high].sum(axis=1).mean() - rate[high].sum()) < 3.5 * error


def test_history_ends_where_the_90_days_begin(studies, small):
    """Counts of the last days are those by date, and no incident of the history is one of the 90 days after."""
    city = studies[0].draw_city(small, 3, years=1)
    forecast_day = pd.Timestamp("2024-01-01")
    age = (forecast_day - city.incidents["date"]).dt.days
    assert age.min() >= 1
    assert age.max() <= 365
    assert city.counts(90).sum() == (age <= 90).sum()
    assert city.counts(365).sum() == len(city.incidents)
    assert city.after.sum() == city.after_on.sum()


def test_incidents_are_as_concentrated_as_in_real_cities(studies):
    """Half of a year's incidents lie on 2.1 to 6.0 % of the blocks (Weisburd 2015), and there are about 1,000 in 90 days."""
    cities, placebo, *_ = studies
    city = cities.draw_city(placebo.LAW, 900_001, years=1)
    lines = city.streets.geometry.to_numpy()
    block = shapely.STRtree(lines).nearest(city.incidents.geometry.to_numpy())
    counts = np.sort(np.bincount(block, minlength=len(lines)))[::-1]
    assert 0.021 <= (counts.cumsum() < counts.sum() / 2).mean() <= 0.060
    assert city.rate.sum() == pytest.approx(1000, rel=0.15)


def test_streets_are_one_line_a_block(studies):
    """Blocks are 90 to 160 m long but for diagonals, lines meet only at their ends, and every street is named."""
    streets = studies[0].lay_streets(np.random.default_rng(1), 14)
    straight = ~streets["name"].str.startswith("Diagonal")
    assert streets.length[straight].between(90, 160).all()
    assert streets["name"].notna().all()
    tree = shapely.STRtree(streets.geometry.to_numpy())
    one, other = tree.query(streets.geometry.to_numpy(), predicate="crosses")
    assert len(one) == len(other) == 0


def test_rates_laid_on_cells_stay_where_their_street_is(studies, small):
    """Cells have the total of the streets, and a cell with risk has a street in it."""
    city = studies[0].draw_city(small, 3, years=1)
    cells = city.true_cells
    assert cells.sum() == pytest.approx(city.rate.sum(), rel=1e-12)
    half = city.grid.cell_size / 2
    boxes = shapely.box(
        city.grid.eastings - half, city.grid.northings - half, city.grid.eastings + half, city.grid.northings + half
    )  # fmt: skip
    network = shapely.union_all(city.streets.geometry.to_numpy())
    assert shapely.intersects(boxes[cells > 0], network).all()


def test_the_share_of_a_corridor_is_what_the_search_counts(studies, small):
    """A corridor's share of the cells gives the expected incidents that the search gives it."""
    cities, placebo, *_ = studies
    city = cities.draw_city(small, 4, years=1)
    found = placebo.best(cities.Surface.of(city.grid, city.true_cells), city)
    assert city.share_of(found.geometry) @ city.true_cells == pytest.approx(found.expected, rel=1e-9)


def test_the_error_of_a_change_is_that_of_redrawn_rounds(studies):
    """The standard error of a ratio of sums is what the bootstrap over rounds gives, and the change is by hand."""
    page = studies[3]
    random = np.random.default_rng(11)
    before = random.gamma(6.0, 2.0, 160)
    after = random.poisson(0.9 * before).astype(float)
    mean, error = page.change(after, before)
    assert mean == pytest.approx(after.sum() / before.sum() - 1, abs=1e-15)
    rows = random.integers(0, 160, (4000, 160))
    assert error == pytest.approx((after[rows].sum(axis=1) / before[rows].sum(axis=1)).std(), rel=0.05)


def test_a_planted_stretch_is_what_it_is_said_to_be(studies):
    """One named street without a gap, 1,000 to 1,500 m long, with as many times the incidents a metre of all others as asked."""
    _, _, planted, _ = studies
    for seed in range(900_000, 900_006):
        cause = planted.cause_of(seed)
        law = dataclasses.replace(planted.law_of(cause), drift=0.0)
        plant = planted.Plant(5.0, has_places=cause != "unmeasured")
        city = planted.draw_city(law, seed, years=1, plant=plant)
        assert shapely.line_merge(shapely.union_all(plant.lines)).geom_type == "LineString"
        lines = city.streets.geometry.to_numpy()
        on = np.isin(shapely.to_wkb(lines), shapely.to_wkb(plant.lines))
        assert on.sum() == len(plant.lines)
        assert len(set(city.streets["name"][on])) == 1
        assert 1000 <= shapely.length(lines[on]).sum() <= 1500
        rate = [city.rate[some].sum() / shapely.length(lines[some]).sum() for some in (on, ~on)]
        assert rate[0] == pytest.approx(5.0 * rate[1], rel=1e-9)
        near = shapely.distance(shapely.union_all(plant.lines), city.factor_points["factor 0"].geometry) < 60
        assert (near.sum() >= 2 * on.sum()) == (cause != "unmeasured")


def test_cover_is_the_share_of_the_planted_length(studies):
    """A corridor along two of three blocks and on round the corner covers two thirds; one across covers nothing."""
    planted = studies[2]
    lines = shapely.linestrings([[[0, 0], [100, 0]], [[100, 0], [200, 0]], [[200, 0], [300, 0]]])
    bent = shapely.LineString([(100, 0), (300, 0), (300, 500)])
    across = shapely.LineString([(150, -200), (150, 200)])
    table = gpd.GeoDataFrame(
        {"length_m": [400.0, 700.0], "city_multiple": [4.0, 3.0]}, geometry=[across, bent]
    )
    judged = planted.judge(table, lambda line: planted.covered(lines, line))
    assert judged["rank"] == 2
    assert judged["city_multiple"] == 3.0
    assert judged["covered"] == pytest.approx(2 / 3)
    # within 50 m of the line across: 100 of 300 m
    assert planted.covered_nearby(lines, across, 50.0) == pytest.approx(1 / 3, rel=1e-3)


def test_a_round_is_run_once_and_adds_up(studies, small, tmp_path, monkeypatch, capsys):
    """A tiny round has every rule, the truth picks no worse than others by its own figures, and it is not run again."""
    _, placebo, _, page = studies
    monkeypatch.setattr(placebo, "LAW", small)
    placebo.run(range(900_002, 900_003), tmp_path)
    assert "900002:" in capsys.readouterr().err
    (one,) = placebo.rounds(tmp_path)
    assert one["years"] == placebo.years_of(900_002)
    rules = one["rules"]
    assert {"last 90 days", "last year", "expected", "the truth"} <= set(rules)
    assert rules["last 90 days"]["promised"] == pytest.approx(rules["last 90 days"]["last_90"], rel=1e-9)
    assert rules["last year"]["promised"] == pytest.approx(rules["last year"]["last_year"], rel=1e-9)
    assert rules["the truth"]["promised"] == pytest.approx(rules["the truth"]["true"], rel=1e-9)
    assert rules["expected"]["promised"] == pytest.approx(rules["expected"]["expected"], rel=1e-9)
    assert all(rule["length_m"] == pytest.approx(rule["lines_m"], abs=1e-3) for rule in rules.values())
    placebo.run(range(900_002, 900_003), tmp_path)
    assert capsys.readouterr().err == ""
    assert page.of_rule([one, one], "expected", "after").shape == (2,)


def _round(after, promised):
    figures = {"after": after, "promised": promised, "last_90": promised, "true": after}
    return {"rules": {"expected": figures}}


def test_what_is_promised_is_checked(studies):
    """A fall of a tenth without treatment breaks the promise, a fair forecast keeps it; 9 of 10 cities are enough."""
    page = studies[3]
    random = np.random.default_rng(2)
    found = [{"multiple": page.PROMISED, "forecast": {"rank": 5}}] * 9
    found = [{"multiple": page.PROMISED, "forecast": {"rank": None}}, *found]
    found = [*found, {"multiple": page.WEAKER, "forecast": {"rank": None}}]
    fair = [_round(float(random.poisson(12)), 12.0) for _ in range(400)]
    assert page.promises(fair, found) == []
    low = [_round(float(random.poisson(10.5)), 12.0) for _ in range(400)]
    assert [fault.split(":")[0] for fault in page.promises(low, found)] == ["placebo"]
    assert [fault.split(":")[0] for fault in page.promises(fair, found[:-2])] == ["planted"]
    few = [_round(float(random.poisson(12)), 12.0) for _ in range(30)]
    assert any("standard error" in fault for fault in page.promises(few, found))


def street_of(studies, rates):
    """One street of 100 m blocks from west to east, and a side street at every corner that has no incidents."""
    planted = studies[2]
    n = len(rates)
    rows = [("Main", k, k + 1, rates[k], [(100 * k, 0), (100 * k + 100, 0)]) for k in range(n)]
    rows += [(f"Side {k}", k, 100 + k, 0.0, [(100 * k, 0), (100 * k, 100)]) for k in range(n + 1)]
    names, first, last, rate, lines = zip(*rows, strict=True)
    streets = gpd.GeoDataFrame(
        {
            "name": names,
            "from_node": first,
            "to_node": last,
            "rate": rate,
            "is_inside": True,
            "length_m": 100.0,
        },
        geometry=[shapely.LineString(line) for line in lines],
    )
    return planted.SampleStreets(streets, np.empty((0, 2)), np.empty(0))


def test_the_truly_best_stretches_are_those_of_a_hand_drawn_street(studies):
    """On a street with two bad stretches the worse one is first, the other second, and what is treated is left out."""
    planted = studies[2]
    rates = [0.05] * 4 + [1.0] * 6 + [0.05] * 3 + [0.1] * 10 + [0.05] * 3 + [0.8] * 5 + [0.05] * 4
    sample = street_of(studies, rates)
    far = shapely.Point(0, 90_000)
    best = planted.true_corridors(sample, far, bounds_m=(500, 800), separation_m=300)
    assert [one["members"] for one in best[:2]] == [list(range(4, 10)), list(range(26, 31))]
    # 36 side streets without incidents and 14 very quiet blocks are less than 80 % of 71, with 10 of .1 more: the price
    assert best[0]["true"] == pytest.approx(6.0)
    assert best[0]["excess"] == pytest.approx(6.0 - 0.6)
    treated = shapely.LineString([(450, 0), (950, 0)])
    (left,) = planted.true_corridors(sample, treated, bounds_m=(500, 800), separation_m=300)
    assert left["members"] == list(range(26, 31))


@pytest.fixture(scope="module")
def sample(studies):
    with pytest.warns(match="rows were dropped"):
        return studies[2].study_sample()


def test_the_truth_of_the_sample_is_that_of_its_ledger(studies, sample):
    """Expected incidents by street add up to the 2,050 of three years: .32 of them in the last, 90 of its 366 days."""
    assert sample["true_total"] == pytest.approx(2050 * 0.32 * 90 / 366, rel=1e-9)


def test_the_known_next_corridors_of_the_sample_come_out(studies, sample):
    """With the treated stretch left out, what is found has most of the excess that the truly best five have."""
    attainable = sum(one["excess"] for one in sample["best"])
    gained = sum(one["excess"] for one in sample["forecast"])
    assert gained >= 0.6 * attainable
    assert gained <= attainable + 1e-9
    assert sum(one["covered by forecast"]["share"] >= 0.5 for one in sample["best"]) >= 2
    assert all(one["excess"] > 0 for one in sample["forecast"])


def test_the_page_is_the_one_of_these_scripts(studies):
    """The page names command and seeds, says of every promise whether it is kept, and its tables have one width each."""
    _, placebo, planted, page = studies
    text = page.PAGE.read_text(encoding="utf-8")
    assert "make placebo planted" in text
    assert f"placebo {placebo.FIRST_SEED:,}, planted {planted.FIRST_SEED:,}" in text
    assert f"{placebo.N_ROUNDS} rounds without any treatment" in text
    assert f"{planted.N_CITIES} cities of" in text
    assert ("Every promise is kept" in text) != ("Broken promises" in text)
    for block in text.split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1
