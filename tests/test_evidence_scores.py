"""Tables and verdicts of a validation, from surfaces made by hand."""

import numpy as np
import pytest
import shapely

import rtmkc as rtm
from rtmkc.evidence.contestants import (
    CURVES,
    FORECAST,
    FOREST_HISTORY,
    HISTORY,
    KERNEL_DENSITY,
    ORACLE,
    PAST_COUNTS,
    UNIFORM,
    Setting,
)
from rtmkc.evidence.scores import score, verdict
from rtmkc.evidence.statistics import metrics


@pytest.fixture(scope="module")
def setting():
    area = rtm.StudyArea.from_geometry(shapely.Point(5000, 5000).buffer(2000), crs="EPSG:26915")
    grid = rtm.Grid.cover(area, block_length=200, cell_size=100)
    return Setting(grid, (), ("classic",), 90, True, True, 0)


def surfaces_of(setting, winner, seed=0, number=3000):
    """Everyone expects the truth with noise of his own; the winner has the least."""
    random = np.random.default_rng(seed)
    truth = setting.grid.share * np.exp(random.normal(0, 1, setting.grid.n_cells))
    truth *= number / truth.sum()
    counts = random.poisson(truth)
    surfaces = {}
    for name in setting.competing:
        noise = 0.1 if name == winner else 0.8
        surfaces[name] = truth * np.exp(random.normal(0, noise, truth.size))
    share = setting.grid.share
    surfaces |= {UNIFORM: share * (number / share.sum()), ORACLE: counts.astype(float)}
    return surfaces, counts


def blocks_of(grid, side=5):
    return np.unique(grid.rows // side * 1000 + grid.columns // side, return_inverse=True)[1]


def scored(setting, winner, **options):
    surfaces, counts = surfaces_of(setting, winner, **options)
    return score(setting, surfaces, {}, counts, blocks_of(setting.grid), 200), surfaces, counts


def test_figures_are_those_of_the_metrics(setting):
    """Every number of the tables is that of the metric of its name for the surface per unit of area."""
    found, surfaces, counts = scored(setting, FORECAST)
    table = found.table.set_index("contestant")
    rankings = found.rankings.set_index(["contestant", "area_share"])
    share = setting.grid.share
    assert list(table.index) == list(setting.names)
    for name, expected in surfaces.items():
        assert table.loc[name, "nats"] == pytest.approx(metrics.nats(expected, counts, share))
        assert table.loc[name, "deviance_shape"] == pytest.approx(
            metrics.poisson_deviance(expected, counts).shape
        )
        ranking = metrics.rank_cells(expected / share, share)
        for budget in metrics.AREA_SHARES:
            hits = metrics.hit_rate(ranking, counts, budget)
            row = rankings.loc[(name, budget)]
            assert row["hit_rate"] == pytest.approx(hits.value) == table.loc[name, f"hit_{100 * budget:g}"]
            assert (row["hit_rate_lowest"], row["hit_rate_highest"]) == pytest.approx(hits[1:])
            assert (
                row["pai"] == pytest.approx(hits.value / budget) == table.loc[name, f"pai_{100 * budget:g}"]
            )
            assert row["pei"] == pytest.approx(metrics.pei(ranking, counts, budget).value)
        curve = found.curves[found.curves["contestant"] == name]
        area, hit = metrics.hit_rate_curve(ranking, counts)
        np.testing.assert_allclose(curve["hit_rate"], np.interp(curve["area_share"], area, hit))
    assert table.loc[UNIFORM, "nats"] == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(rankings.loc[UNIFORM, "pai"], 1.0, rtol=1e-12)
    np.testing.assert_allclose(rankings.loc[ORACLE, "pei"], 1.0, rtol=1e-12)
    assert not table.loc[[UNIFORM, ORACLE], "competes"].any()


def test_calibration_of_the_truth(setting):
    """Of a surface next to the truth the ten bins expect as much each, and the slope is 1 within its error."""
    found, surfaces, counts = scored(setting, FORECAST)
    own = found.calibration[found.calibration["contestant"] == FORECAST]
    assert own["bin"].tolist() == list(range(1, 11))
    np.testing.assert_allclose(own["expected"], surfaces[FORECAST].sum() / 10, rtol=0.06)
    assert own["observed"].sum() == counts.sum()
    assert found.table.set_index("contestant").loc[FORECAST, "calibration_slope"] == pytest.approx(
        1.0, abs=0.06
    )


def test_differences_are_paired(setting):
    """A pair's value is the difference of its figures; its interval is narrower than the two apart would give."""
    found, _, _ = scored(setting, FORECAST)
    table = found.table.set_index("contestant")
    paired = found.paired.set_index(["contestant", "against"])
    assert (CURVES, "classic weights") in paired.index
    for (one, other), row in paired.iterrows():
        assert row["nats"] == pytest.approx(table.loc[one, "nats"] - table.loc[other, "nats"])
        assert row["hit_5"] == pytest.approx(table.loc[one, "hit_5"] - table.loc[other, "hit_5"])
        assert row["nats_lower"] <= row["nats"] <= row["nats_upper"]
    row = paired.loc[(FORECAST, HISTORY)]
    apart = np.hypot(
        *(table.loc[name, "nats_upper"] - table.loc[name, "nats_lower"] for name in (FORECAST, HISTORY))
    )
    assert row["nats_upper"] - row["nats_lower"] < 0.8 * apart


@pytest.mark.parametrize(
    ("winner", "start"),
    [
        (PAST_COUNTS, "Past counts beat the forecast (curves x history): past counts by +"),
        (
            FOREST_HISTORY,
            "Random forest x history beats the forecast (curves x history): random forest x history by +",
        ),
        (FORECAST, "The forecast (curves x history) beats "),
    ],
)
def test_the_first_line_says_who_wins(setting, winner, start):
    """If a baseline has the better surface the first line names it, with the nats and an interval on its side of 0."""
    found, _, counts = scored(setting, winner)
    lines = verdict(setting, found, int(counts.sum()))
    assert lines[0].startswith(start)
    if winner != FORECAST:
        assert "[+0" in lines[0]
    else:
        for rival in (PAST_COUNTS, KERNEL_DENSITY, FOREST_HISTORY):
            assert f"{rival} by +" in lines[0]


def test_equals_are_a_tie(setting):
    """Where all surfaces are alike nobody wins, and where some are, they are named beside those that are beaten."""
    surfaces, counts = surfaces_of(setting, FORECAST)
    alike = dict.fromkeys(setting.competing, surfaces[FORECAST]) | {
        name: surfaces[name] for name in (UNIFORM, ORACLE)
    }
    found = score(setting, alike, {}, counts, blocks_of(setting.grid), 200)
    assert verdict(setting, found, 3000)[0].startswith(
        "No winner: the forecast (curves x history) cannot be told"
    )
    some = surfaces | {KERNEL_DENSITY: surfaces[FORECAST]}
    found = score(setting, some, {}, counts, blocks_of(setting.grid), 200)
    line = verdict(setting, found, 3000)[0]
    assert line.startswith("The forecast (curves x history) beats")
    assert "Not to be told from kernel density (+0.000" in line


def test_few_incidents_and_few_blocks_are_said(setting):
    """Below 50 test incidents the verdict is exploratory; in one block there are no intervals, and no winner."""
    surfaces, counts = surfaces_of(setting, FORECAST, number=20)
    n_test = int(counts.sum())
    found = score(setting, surfaces, {}, counts, blocks_of(setting.grid), 200)
    assert verdict(setting, found, n_test)[0].startswith(
        f"Exploratory only, with {n_test} test incidents (below 50): "
    )
    one = np.zeros(setting.grid.n_cells, dtype=int)
    surfaces, counts = surfaces_of(setting, FORECAST)
    lines = verdict(setting, score(setting, surfaces, {}, counts, one, 200), 3000)
    assert lines[0].startswith("No winner")
    assert "All test incidents lie in one block: there are no intervals" in lines[-1]


def test_places_left_out_have_no_past(setting):
    """Where no past is known its contestants have a row without figures that says why; the curves are compared."""
    places = Setting(setting.grid, (), ("classic",), 90, False, True, 0)
    surfaces, counts = surfaces_of(places, CURVES)
    found = score(places, surfaces, {}, counts, blocks_of(setting.grid), 200)
    table = found.table.set_index("contestant")
    for name in (PAST_COUNTS, KERNEL_DENSITY, HISTORY, FORECAST, FOREST_HISTORY):
        assert np.isnan(table.loc[name, "nats"])
        assert table.loc[name, "note"].startswith("cannot compete")
    assert set(found.paired["contestant"]) == {CURVES}
    assert verdict(places, found, 3000)[0].startswith("The model's curves alone beat random forest by +")
