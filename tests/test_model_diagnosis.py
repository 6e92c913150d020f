"""The table that says whether weights may be believed."""

import copy
import re

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import statsmodels.api as sm
from sklearn.exceptions import NotFittedError
from statsmodels.discrete.discrete_model import NegativeBinomial

import rtmkc as rtm
from rtmkc.errors import InputError, ModelWarning
from rtmkc.inputs.rasters import RasterLayer
from rtmkc.model.diagnosis.table import diagnose


def fitted(city, incidents=None, factors=None, **keywords):
    factors = city.risk_factors() if factors is None else factors
    incidents = city.incidents if incidents is None else incidents
    return rtm.RiskTerrainModel("classic", n_lambdas=25).fit(city.grid, factors, incidents, **keywords)


def row(table, check):
    found = table[table["check"] == check]
    assert len(found) == 1, f"{check!r} is not one of {table['check'].tolist()}"
    return found.iloc[0]


def numbers(text):
    return [float(part) for part in re.findall(r"-?\d+\.?\d*", text.replace(",", ""))]


@pytest.fixture(scope="module")
def city():
    """A Poisson city with three true factors of six."""
    return rtm.simulate_city(random_state=11, n_incidents=1500)


@pytest.fixture(scope="module")
def model(city):
    return fitted(city)


@pytest.fixture(scope="module")
def table(model):
    return diagnose(model)


@pytest.fixture(scope="module")
def noisy():
    """The model of a city with noise of variance 1 and a range of 600 m."""
    return fitted(rtm.simulate_city(random_state=3, noise_variance=1.0, noise_range=6.0))


def test_a_sound_model_has_no_alarm(table):
    """On a Poisson city with enough incidents nothing is an alarm, and every status is one of three."""
    assert set(table["status"]) <= {"fine", "look"}
    assert table.columns.tolist() == ["check", "value", "meaning", "advice", "status"]
    assert table["check"].is_unique
    assert (table["meaning"].str[-1] == ".").all()
    assert (table["advice"] != "")[table["status"] != "fine"].all()


def test_rows_about_factors_come_for_every_factor_in_the_model(model, table):
    """Each factor in the model has its overlap, rivals and edge."""
    for name in model.flags_:
        for what in ("overlap", "rivals", "edge"):
            row(table, f"{name}: {what}")


def test_the_table_fits_a_terminal(table):
    """Check, value and status side by side stay under 120 signs; sentences are short enough to be read."""
    shown = table[["check", "value", "status"]].to_string(index=False)
    assert max(map(len, shown.splitlines())) < 120
    assert table[["meaning", "advice"]].map(len).max().max() < 260


def test_overdispersion_is_that_of_statsmodels(city, noisy):
    """The likelihood ratio of NB1 to Poisson with the same columns, from statsmodels."""
    counts = noisy.observations_.counts
    matrix = sm.add_constant(noisy.flags_.to_numpy(dtype=float))
    poisson = sm.GLM(counts, matrix, family=sm.families.Poisson()).fit()
    start = np.append(poisson.params, 0.5)
    negative = NegativeBinomial(counts, matrix, loglike_method="nb1").fit(start, disp=0, maxiter=200)
    ratio = 2 * (negative.llf - poisson.llf)
    assert ratio > 20
    found = row(diagnose(noisy, n_simulations=19), "uneven counts")
    assert numbers(found["value"].split("LR")[1])[0] == pytest.approx(ratio, abs=0.06)


def test_noise_is_an_alarm_and_gives_the_size_of_blocks(noisy):
    """Intervals that take no notice of noise are an alarm; blocks are two to three times its reach."""
    table = diagnose(noisy)
    found = row(table, "reach of noise")
    metres, variance = numbers(found["value"])
    assert found["status"] == "alarm"
    assert 250 < metres < 1200
    assert 0.4 < variance < 2.0
    assert numbers(found["advice"])[:2] == pytest.approx([2 * metres, 3 * metres], abs=2)
    for neighbours in (4, 8):
        assert row(table, f"likeness of {neighbours} neighbours")["value"].endswith("p 0.005")


def test_a_model_without_factor_is_checked_too():
    """No factor, no row about factors in the model; the other checks are all there."""
    city = rtm.simulate_city(active="null", n_factors=2, random_state=2)
    model = fitted(city)
    assert model.flags_.shape[1] == 0
    table = diagnose(model)
    assert not table["check"].str.contains("overlap|rivals|edge").any()
    for check in ("incidents", "uneven counts", "spread of residuals", "reach of noise", "price of a factor"):
        row(table, check)


def test_the_edge_refit_is_that_of_the_inner_cells(city, model, table):
    """statsmodels on the cells deeper than the largest distance gives the RRVs that are printed."""
    grid = city.grid
    extent = model.weights_["influence_m"].max() / grid.cell_size
    depth = np.minimum.reduce(
        [grid.rows + 1, grid.n_rows - grid.rows, grid.columns + 1, grid.n_columns - grid.columns]
    )
    inner = depth > extent
    matrix = sm.add_constant(model.flags_.to_numpy(dtype=float)[inner])
    assert model.family_ == "poisson"
    refit = sm.GLM(model.observations_.counts[inner], matrix, family=sm.families.Poisson()).fit()
    for name, rrv in zip(model.flags_, np.exp(refit.params[1:]), strict=True):
        found = row(table, f"{name}: edge")
        before, after = numbers(found["value"].split("RRV")[1])[:2]
        assert after == pytest.approx(rrv, abs=0.006)
        known = model.weights_.set_index("factor").loc[name, "rrv"]
        assert before == pytest.approx(known, abs=0.006)
        assert found["status"] == ("look" if abs(rrv / known - 1) > 0.1 else "fine")


def test_rivals_are_the_runner_ups_within_two_of_the_winner(model, table):
    """Counted from the published BIC of the runner-ups."""
    runner_ups = model.runner_ups_
    for name in model.flags_:
        own = runner_ups[runner_ups["factor"] == name]
        tied = int((own["bic"] < model.bic_["bic"].min() + 2).sum())
        found = row(table, f"{name}: rivals")
        assert numbers(found["value"])[:2] == [tied, len(own)]
        assert found["status"] == ("look" if tied else "fine")


def test_a_place_that_dominates_is_named_and_what_it_hides_comes_back(city, model):
    """600 incidents at one place hide true factors; without them the true columns are chosen again."""
    name = "factor 0"
    marked = int(np.flatnonzero(model.flags_[name].to_numpy() & (model.flags_.sum(axis=1) == 1))[0])
    spot = shapely.points(city.grid.eastings[marked], city.grid.northings[marked])
    extra = gpd.GeoDataFrame(
        {"incident_id": [f"X{number}" for number in range(600)], "date": city.incidents["date"].iloc[0]},
        geometry=[spot] * 600,
        crs=city.incidents.crs,
    )
    crowded = fitted(city, pd.concat([city.incidents, extra], ignore_index=True))
    found = row(diagnose(crowded, n_simulations=19), "places that dominate")
    assert found["status"] == "alarm"
    assert found["value"] == f"1 with {100 * 600 / (len(city.incidents) + 600):.0f} % of incidents"
    where = gpd.GeoSeries([spot], crs=city.incidents.crs).to_crs(4326).iloc[0]
    assert f"{where.y:.5f}, {where.x:.5f}, holds 600" in found["meaning"]
    for _, truth in city.truth[city.truth["active"]].iterrows():
        column = f"{truth['factor']} ({truth['kind']}, {truth['influence_m']:.0f} m)"
        chosen = crowded.weights_.set_index("factor").loc[truth["factor"]]
        already = (chosen["kind"], chosen["influence_m"]) == (truth["kind"], truth["influence_m"])
        assert (f"with {column}" in found["meaning"]) != already


def test_layers_cut_at_the_boundary_are_found():
    """The same features with and without those beyond the boundary: only the cut layer is worth a look."""
    large = rtm.simulate_city(random_state=5)
    middle = large.area.geometry.buffer(-1000, join_style="mitre")
    grid = rtm.Grid.cover(
        rtm.StudyArea.from_geometry(middle, crs=large.area.crs), block_length=200, cell_size=100
    )
    generator = np.random.default_rng(0)
    west, south, east, north = large.area.geometry.bounds
    points = gpd.GeoDataFrame(
        geometry=shapely.points(generator.uniform(west, east, 900), generator.uniform(south, north, 900)),
        crs=large.area.crs,
    )
    factors = [
        rtm.RiskFactor("whole", points),
        rtm.RiskFactor("cut", points[points.intersects(middle)]),
    ]
    table = diagnose(rtm.RiskTerrainModel("classic", n_lambdas=10).fit(grid, factors, large.incidents))
    beyond = table[table["check"].str.contains("beyond")]
    assert beyond["check"].tolist() == ["cut: beyond the boundary"]
    assert beyond["status"].tolist() == ["look"]
    found, expected = numbers(beyond["value"].iloc[0])
    actual = points.dwithin(middle, 600).sum() - points.intersects(middle).sum()
    assert found == 0
    assert expected == pytest.approx(actual, rel=0.25)


def test_few_incidents_are_exploration_only():
    """30 incidents of six factors: two alarms, whatever the fit says."""
    city = rtm.simulate_city(random_state=4, n_incidents=30)
    with pytest.warns(ModelWarning, match="no weight should be believed"):
        model = fitted(city)
    table = diagnose(model)
    assert row(table, "incidents")["status"] == "alarm"
    assert "exploration" in row(table, "incidents")["meaning"]
    assert row(table, "incidents per factor")["status"] == "alarm"


def test_a_factor_that_only_the_cheaper_price_lets_in_gains_between_the_two_prices():
    """What statsmodels says a column adds lies between the log of incidents and the log of cells."""
    for seed in range(30):
        city = rtm.simulate_city(random_state=seed, n_incidents=200)
        model = fitted(city)
        found = row(diagnose(model, n_simulations=19), "price of a factor")
        entered = re.findall(r"with (factor \d) \((\w+), ([\d,]+) m\)", found["meaning"])
        if model.family_ == "poisson" and found["status"] == "look" and len(entered) == 1:
            break
    else:
        pytest.fail("no such city among 30")
    assert "without" not in found["meaning"]
    name, kind, metres = entered[0]
    columns = model.candidates_.columns
    number = columns.index[
        (columns["factor"] == name)
        & (columns["kind"] == kind)
        & (columns["influence_m"].round() == float(metres))
    ][0]
    counts = model.observations_.counts
    matrix = sm.add_constant(model.flags_.to_numpy(dtype=float), has_constant="add")
    more = np.column_stack([matrix, model.candidates_.column(number).astype(float)])
    without, with_it = (
        sm.GLM(counts, part, family=sm.families.Poisson()).fit().llf for part in (matrix, more)
    )
    assert np.log(counts.sum()) < 2 * (with_it - without) < np.log(counts.size)


def test_unusable_columns_are_counted_by_reason(model, table):
    """Counted anew from the table of dropped columns."""
    reasons = model.candidates_.dropped["reason"]
    value = row(table, "columns not used")["value"]
    for word, start in (
        ("merged as duplicates", "duplicate"),
        ("constant", "constant"),
        ("too rare", "too rare"),
    ):
        number = int(reasons.str.startswith(start).sum())
        assert (f"{number} {word}" in value) == (number > 0)
    assert value.endswith(f"(of {model.candidates_.n_generated})")


def test_a_layer_given_twice_is_counted_as_duplicates(city):
    """Every column of the second is the same as one of the first."""
    points = city.factor_points["factor 0"]
    twins = [rtm.RiskFactor(name, points, kind="proximity") for name in ("lights", "lamps")]
    model = fitted(city, factors=twins)
    value = row(diagnose(model, n_simulations=19), "columns not used")["value"]
    number = model.candidates_.n_generated // 2
    assert f"{number} merged as duplicates" in value


def test_exposure_is_asked_for_where_there_is_none(city, table):
    """Without exposure the sentence is the one of every table; with one there is nothing to look at."""
    assert row(table, "exposure")["value"] == "not adjusted for how busy places are"
    assert row(table, "exposure")["status"] == "look"
    exposed = fitted(city, exposure=np.random.default_rng(0).uniform(0.5, 1.5, city.grid.n_cells))
    assert row(diagnose(exposed, n_simulations=19), "exposure")["status"] == "fine"


def test_design_effects_are_shown_where_the_model_has_them(model):
    """1.2 is fine, 2 and 5 are worth a look; N incidents are worth N / D; an estimate outside the interval is told."""
    calibrated = copy.copy(model)
    effects = dict(zip(model.flags_, (1.2, 2.0, 5.0), strict=False))
    assert len(effects) == 3
    calibrated.weights_ = model.weights_.assign(design_effect=model.weights_["factor"].map(effects))
    table = diagnose(calibrated, n_simulations=19)
    for (name, effect), status in zip(effects.items(), ("fine", "look", "look"), strict=True):
        found = row(table, f"{name}: noise of the map")
        assert found["status"] == status
        worth = numbers(found["meaning"])
        assert not table["check"].eq(f"{name}: two estimates").any()
        assert worth[:2] == pytest.approx([model.observations_.n_incidents, worth[0] / effect], abs=1)
    assert not diagnose(model, n_simulations=19)["check"].str.contains("noise of the map").any()
    weights = calibrated.weights_
    calibrated.weights_ = weights.assign(poisson_rrv=weights["upper"] * 1.01)
    found = row(diagnose(calibrated, n_simulations=19), f"{next(iter(effects))}: two estimates")
    assert (found["status"], found["value"].startswith("x")) == ("look", True)


def test_a_guarded_model_is_not_blamed_for_noise_that_it_allows_for():
    """The same noisy city: classic is alarmed by the reach of noise, guarded allows for it and says so."""
    city = rtm.simulate_city(random_state=3, noise_variance=1.0, noise_range=6.0)
    guarded = rtm.RiskTerrainModel("guarded", n_lambdas=25).fit(
        city.grid, city.risk_factors(), city.incidents
    )
    table = diagnose(guarded, n_simulations=39)
    found = row(table, "reach of noise")
    assert found["status"] != "alarm"
    assert "the intervals allow for it" in found["meaning"]
    for check in ("uneven counts", "spread of residuals", "likeness of 8 neighbours"):
        assert row(table, check)["status"] == "fine"
    for name in guarded.flags_:
        effect = guarded.weights_.set_index("factor").loc[name, "design_effect"]
        assert row(table, f"{name}: noise of the map")["value"] == f"design effect {effect:.1f}"
        rivals = row(table, f"{name}: rivals")
        assert (rivals["status"] == "look") == (rivals["meaning"].startswith("As good"))


def test_a_raster_factor_has_no_features_to_miss(city):
    """A raster is checked for overlap and rivals, and nothing is said of features beyond the boundary."""
    grid = city.grid
    layer = RasterLayer.from_array(
        grid.to_raster(city.mean_intensity), transform=grid.transform, crs=grid.crs, name="heat"
    )
    model = fitted(city, factors=[rtm.RiskFactor("heat", layer, kind="value")])
    table = diagnose(model, n_simulations=19)
    assert "heat" in model.flags_
    assert "outside" not in row(table, "heat: edge")["value"]
    assert not table["check"].str.contains("beyond").any()


def test_the_same_seed_gives_the_same_table(noisy):
    """Nothing depends on time or on what ran before."""
    first, second = (diagnose(noisy, n_simulations=19, random_state=5) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


def test_what_cannot_be_diagnosed_is_refused(model):
    """A model that is not fitted, and too few simulations for any p of .05, are errors."""
    with pytest.raises(NotFittedError):
        diagnose(rtm.RiskTerrainModel("classic"))
    with pytest.raises(InputError, match="n_simulations 18"):
        diagnose(model, n_simulations=18)
