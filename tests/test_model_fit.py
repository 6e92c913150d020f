"""RiskTerrainModel and RiskForecast: known truth, invariances, identities, and no answer as an answer."""

import warnings

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import statsmodels.api as sm
from sklearn.base import clone

import rtmkc as rtm
from rtmkc.engine.sweeps import Design
from rtmkc.errors import DataWarning, InputError, ModelWarning, NoFactorError
from rtmkc.model.observations import CONTEMPORANEOUS
from rtmkc.model.why import relative_risk_score
from rtmkc.raster.surfaces import nearest_distance, quartic_density

UTM = "EPSG:26915"


@pytest.fixture(scope="module")
def city():
    """A Poisson city with three true factors of six."""
    return rtm.simulate_city(random_state=11, n_incidents=1500, period="2021/2022")


@pytest.fixture(scope="module")
def why(city):
    return rtm.RiskTerrainModel("classic").fit(city.grid, city.risk_factors(), city.incidents)


@pytest.fixture(scope="module")
def where(city):
    return rtm.RiskForecast().fit(city.grid, city.risk_factors(), city.incidents)


def test_rrv_and_rrs_of_the_published_report():
    """Leeds 2014: coefficients 2.1578 and 3.0617 give RRVs 8.652 and 21.364 and scores of 1 to 184.8."""
    assert np.exp([2.1578, 3.0617]).round(2).tolist() == [8.65, 21.36]
    flags = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    score = relative_risk_score(flags, np.log([8.6521, 21.3638]))
    np.testing.assert_allclose(score, [1, 8.652, 21.364, 184.84], rtol=1e-4)


def test_protective_factors_keep_the_lowest_cell_at_one():
    """With a protective factor the cell that has it scores 1."""
    score = relative_risk_score(np.array([[0, 0], [1, 0], [0, 1]]), np.log([2.0, 0.5]))
    np.testing.assert_allclose(score, [2, 4, 1])


@pytest.mark.parametrize(("preset", "true_found", "cities_with_false"), [("alt", 2.9, 3), ("null", 0.0, 5)])
def test_classic_finds_the_truth_on_poisson_cities(preset, true_found, cities_with_false):
    """On 24 Poisson cities classic finds 2.99 of 3 true factors; a false one in 1.6 % (alt) and 5.7 % (null) of them.

    Bounds are those of a binomial at the published rates: more than 3 of 24 at .016, or 5 of 24 at .057,
    happens once in a thousand times.
    """
    found, false = [], 0
    for seed in range(24):
        simulated = rtm.simulate_city(active=preset, random_state=seed, snap_to_centres=True)
        model = rtm.RiskTerrainModel("classic", random_state=seed)
        model.fit(simulated.grid, simulated.risk_factors(), simulated.incidents, allow_later_factors=True)
        chosen = set(model.flags_.columns)
        active = set(simulated.truth.loc[simulated.truth["active"], "factor"])
        found.append(len(chosen & active))
        false += bool(chosen - active)
    assert np.mean(found) >= true_found
    assert false <= cities_with_false


def test_weights_are_the_maximum_likelihood_of_the_chosen_columns(city, why):
    """Coefficients, standard errors and BIC equal statsmodels on the plain columns; n for BIC is cells."""
    flags = sm.add_constant(why.flags_.to_numpy(dtype=float))
    counts = why.observations_.counts
    weights = why.weights_.set_index("factor").loc[why.flags_.columns]
    assert why.family_ == "poisson"
    oracle = sm.Poisson(counts, flags).fit(disp=0, method="newton", tol=1e-12)
    np.testing.assert_allclose(weights["coef"], oracle.params[1:], rtol=1e-8)
    np.testing.assert_allclose(weights["se"], oracle.bse[1:], rtol=1e-6)
    assert why.intercept_ == pytest.approx(oracle.params[0], rel=1e-8)
    bic = -2 * oracle.llf + flags.shape[1] * np.log(city.grid.n_cells)
    assert why.bic_.set_index("family").loc["poisson", "bic"] == pytest.approx(bic, rel=1e-9)
    np.testing.assert_allclose(weights["rrv"], np.exp(weights["coef"]))
    np.testing.assert_allclose(weights["upper"], np.exp(oracle.conf_int()[1:, 1]), rtol=1e-6)
    np.testing.assert_allclose(why.predict(), oracle.predict(flags), rtol=1e-7)
    inside = [counts[why.flags_[name]].sum() for name in why.flags_.columns]
    np.testing.assert_array_equal(weights["n_inside"], inside)


def test_every_factor_has_one_row_and_those_left_out_a_reason(city, why):
    """The table lists all factors, at most one column each; the true ones are in, with their true kind and reach."""
    table = why.weights_.set_index("factor")
    assert sorted(table.index) == sorted(city.truth["factor"])
    assert (table["reason"] != "").all()
    truth = city.truth.set_index("factor")
    for name in truth.index[truth["active"]]:
        assert table.loc[name, "status"] == "in the model"
        assert (table.loc[name, "kind"], table.loc[name, "influence_m"]) == (
            truth.loc[name, "kind"],
            pytest.approx(truth.loc[name, "influence_m"]),
        )
    runner_ups = why.runner_ups_
    assert (runner_ups["bic_above_chosen"] > 0).all()  # in this city the truth beats its neighbours
    assert set(runner_ups["factor"]) <= set(why.flags_.columns)


def test_overdispersed_counts_choose_the_negative_binomial():
    """Cities with heavy local noise are fitted better by NB1, and its sigma is reported."""
    noisy = rtm.simulate_city(random_state=5, noise_variance=1.0, noise_range=6.0, n_incidents=1500)
    model = rtm.RiskTerrainModel("classic").fit(
        noisy.grid, noisy.risk_factors(), noisy.incidents, allow_later_factors=True
    )
    bic = model.bic_.set_index("family")["bic"]
    assert model.family_ == "nb1"
    assert bic["nb1"] < bic["poisson"]
    assert model.dispersion_ > 0


def test_the_forecast_is_the_product_of_its_parts(city, where):
    """expected = city mean x environment x area history x spot history, to 1e-12, and sums to the rate of the data."""
    product = where.city_mean_ * where.environment_ * where.area_history_ * where.spot_history_
    np.testing.assert_allclose(where.expected_, product, rtol=1e-12)
    assert where.expected_.sum() == pytest.approx(len(city.incidents) * 90 / where.observations_.period.days)
    assert where.horizon_days_ == 90
    assert np.all(where.lower_ <= where.upper_)


def test_the_forecast_is_nearer_to_the_truth_than_the_counts(city, where):
    """The expected surface explains the true intensity better than the observed counts do."""
    counts = where.observations_.counts
    known, seen = (np.corrcoef(surface, city.intensity)[0, 1] for surface in (where.expected_, counts))
    assert known > seen + 0.1
    assert where.uses_curves_


def test_curves_multiply_to_the_environment_before_tempering(city, where):
    """The table of curves alone reproduces the fitted log intensity of every cell, up to a constant."""
    log_rate = np.zeros(city.grid.n_cells)
    for _, row in where.curves_.iterrows():
        geometries = city.factor_points[row["factor"]].geometry.to_numpy()
        if row["kind"] == "proximity":
            value = nearest_distance(city.grid, geometries, 600.0)
            on = (value <= row["to_m"]) & ((value > row["from_m"]) | (row["from_m"] == 0))
        else:
            value = quartic_density(city.grid, geometries, row["bandwidth_m"])
            on = (value > row["from_density"] * (1 + 1e-9)) & (value <= row["to_density"] * (1 + 1e-9))
        log_rate += np.where(on, np.log(row["multiplier"]), 0.0)
    design = Design(where.candidates_.codes, where.candidates_.tables)
    fitted = design.linear(where.path_.coefs[where.path_.best])
    np.testing.assert_allclose(log_rate, fitted, atol=1e-9)
    assert (where.curves_["multiplier"] >= 1).all()


def moved(frame, transform):
    """A frame with every coordinate moved."""
    return frame.set_geometry(
        gpd.GeoSeries(shapely.transform(frame.geometry.to_numpy(), transform), frame.index, frame.crs)
    )


def fit_both(city, transform, folds, order=None, crs=None, block="200 m"):
    area = rtm.StudyArea.from_geometry(shapely.transform(city.area.geometry, transform), crs=UTM)
    grid = rtm.Grid.cover(area, block_length=block)
    factors = []
    for name, frame in list(city.factor_points.items())[:4]:
        points = moved(frame.set_crs(UTM, allow_override=True), transform)
        points = points.sample(frac=1, random_state=order) if order else points
        factors.append(rtm.RiskFactor(name, points.to_crs(crs) if crs else points, increment="whole"))
    incidents = moved(city.incidents.set_crs(UTM, allow_override=True), transform)
    incidents = incidents.sample(frac=1, random_state=order) if order else incidents
    incidents = incidents.to_crs(crs) if crs else incidents
    fold_vector = folds(grid)
    model = rtm.RiskTerrainModel("classic").fit(grid, factors, incidents, folds=fold_vector)
    forecast = rtm.RiskForecast().fit(grid, factors, incidents, folds=fold_vector)
    return grid, model, forecast


@pytest.fixture(scope="module")
def plain_city():
    """A city in UTM whose points keep away from cell edges."""
    return rtm.simulate_city(random_state=3, n_rows=40, n_columns=40, n_incidents=900, period="2021/2022")


def striped(grid):
    return (grid.to_raster(np.arange(grid.n_cells) * 7919 % 5).astype(int)).ravel()


@pytest.mark.parametrize(
    "variant",
    ["translation", "rotation", "row order", "feet", "block in feet"],
    ids=lambda name: name.replace(" ", "-"),
)
def test_nothing_changes_when_the_map_is_moved_turned_shuffled_or_in_feet(plain_city, variant):
    """Translation by whole cells, a quarter turn with the folds, row order and feet leave every number as it was."""
    city = plain_city
    west, south, east, north = city.area.geometry.bounds
    centre = np.array([(west + east) / 2, (south + north) / 2])
    _, model, forecast = fit_both(city, lambda xy: xy, striped)

    def turn(xy):
        shifted = xy - centre
        return np.column_stack([-shifted[:, 1], shifted[:, 0]]) + centre

    def turned_folds(grid):
        return np.rot90(striped(grid).reshape(grid.inside.shape), 1).ravel()

    feet = "+proj=utm +zone=15 +datum=NAD83 +units=us-ft +no_defs"
    options = {
        "translation": {"transform": lambda xy: xy + np.array([700.0, -1300.0])},
        "rotation": {"transform": turn, "folds": turned_folds},
        "row order": {"order": 5},
        "feet": {"crs": feet},
        "block in feet": {"block": f"{200 / 0.3048!r} ft"},
    }[variant]
    other_grid, other_model, other_forecast = fit_both(
        city, options.pop("transform", lambda xy: xy), options.pop("folds", striped), **options
    )
    compared = ["kind", "influence_m", "coef", "se", "rrv", "lower", "upper", "n_cells", "n_inside"]
    left, right = (one.weights_.set_index("factor")[compared].sort_index() for one in (model, other_model))
    pd.testing.assert_frame_equal(left, right, rtol=1e-10, atol=0)

    def aligned(vector):
        raster = other_grid.to_raster(vector)
        return (np.rot90(raster, -1) if variant == "rotation" else raster).ravel()

    np.testing.assert_allclose(aligned(other_model.rrs_), model.rrs_, rtol=1e-10)
    np.testing.assert_allclose(aligned(other_forecast.expected_), forecast.expected_, rtol=1e-10)


def test_no_significant_factor_is_a_result():
    """In a city without any effect the score is 1 everywhere, every factor has its reason, ranking by rrs advises."""
    for seed in range(20):
        city = rtm.simulate_city(
            active="null", random_state=seed, n_rows=30, n_columns=30, n_factors=2, n_incidents=300
        )
        terrain = rtm.assess(
            city.grid, city.risk_factors(), city.incidents, method="classic", allow_later_factors=True
        )
        if not terrain.factors:
            break
    assert terrain.factors == []
    assert (terrain.cells["rrs"] == 1).all()
    assert len(terrain.weights) == 2
    assert (terrain.weights["reason"].str.len() > 10).all()
    with pytest.raises(NoFactorError, match="No factor is in the model.*rank by 'expected'"):
        terrain.ranking("rrs")
    assert terrain.ranking("expected").sum() > 0
    assert "no significant factor" in repr(terrain)


def test_a_flat_environment_is_used_when_curves_do_not_beat_it():
    """Where the factors say nothing on held-out incidents the forecast is history alone, and says so."""
    for seed in range(20):
        city = rtm.simulate_city(
            active="null", random_state=seed, n_rows=30, n_columns=30, n_factors=2, n_incidents=300
        )
        forecast = rtm.RiskForecast().fit(
            city.grid, city.risk_factors(), city.incidents, allow_later_factors=True
        )
        if not forecast.uses_curves_:
            break
    assert not forecast.uses_curves_
    assert np.ptp(forecast.environment_) < 1e-12
    assert forecast.curves_.empty
    assert any("history alone" in note for note in forecast.notes_)


def frame_of(city, number):
    return city.incidents.iloc[:number]


def test_one_incident_and_none():
    """One incident warns and gives no factor; none at all is an error that says what to check."""
    city = rtm.simulate_city(active="null", random_state=1, n_rows=30, n_columns=30, n_factors=2)
    with pytest.warns(ModelWarning, match="incidents in the study area: 1; below 50"):
        terrain = rtm.assess(
            city.grid, city.risk_factors(), frame_of(city, 1), method="classic", allow_later_factors=True
        )
    assert terrain.factors == []
    assert np.isfinite(terrain.cells["expected"]).all()
    assert "fewer than 10 incidents inside or outside" in terrain.weights["reason"].iloc[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        with pytest.raises(InputError, match="Invalid incidents .* None is left to learn from"):
            rtm.RiskTerrainModel("classic").fit(city.grid, city.risk_factors(), frame_of(city, 0))


def test_factors_that_postdate_the_incidents_are_refused_unless_told():
    """Factor data of the incidents' period are refused; allowed, every result is called contemporaneous."""
    city = rtm.simulate_city(random_state=1, n_rows=30, n_columns=30, n_factors=1, active="null")
    points = city.factor_points["factor 0"].assign(date=pd.Timestamp("2022-06-01"))
    factor = rtm.RiskFactor("bars", points)
    with pytest.raises(
        InputError, match=r"Invalid factors bars \(2022-06-01/2022-06-01\).*allow_later_factors"
    ):
        rtm.RiskTerrainModel("classic").fit(city.grid, [factor], city.incidents)
    model = rtm.RiskTerrainModel("classic").fit(city.grid, [factor], city.incidents, allow_later_factors=True)
    assert model.timing_ == CONTEMPORANEOUS
    earlier = rtm.RiskFactor("bars", points.assign(date=pd.Timestamp("2020-06-01")))
    model = rtm.RiskTerrainModel("classic").fit(city.grid, [earlier], city.incidents)
    assert model.timing_ == "all factors precede the incidents"


def test_a_factor_that_repels_enters_only_as_protective():
    """The same points give no weight as aggravating and a weight below 1 as protective or either."""
    rng = np.random.default_rng(3)
    grid = rtm.Grid.cover(
        rtm.StudyArea.from_geometry(shapely.box(1000, 1000, 5000, 5000), crs=UTM), block_length=200
    )
    patrols = gpd.GeoDataFrame(geometry=gpd.points_from_xy(*rng.uniform(1000, 5000, (2, 25))), crs=UTM)
    risk = np.where(np.isfinite(nearest_distance(grid, patrols.geometry.to_numpy(), 300.0)), 0.4, 1.0)
    cells = rng.choice(grid.n_cells, 1500, p=risk / risk.sum())
    incidents = gpd.GeoDataFrame(
        geometry=gpd.points_from_xy(
            grid.eastings[cells] + rng.uniform(-49, 49, 1500),
            grid.northings[cells] + rng.uniform(-49, 49, 1500),
        ),
        crs=UTM,
    )

    def weight(direction):
        factor = rtm.RiskFactor("guarded places", patrols, kind="proximity", direction=direction)
        table = rtm.RiskTerrainModel("classic").fit(grid, [factor], incidents).weights_
        return table["rrv"].iloc[0]

    assert np.isnan(weight("aggravating"))
    assert weight("protective") == pytest.approx(0.4, abs=0.08)
    assert weight("either") == pytest.approx(weight("protective"))


def test_exposure_is_an_offset(city):
    """Twice the exposure everywhere changes nothing; the true exposure takes a gradient out of the weights."""
    exposure = np.exp(-(((city.grid.eastings - city.grid.eastings.mean()) / 2000) ** 2))
    one = rtm.RiskTerrainModel("classic").fit(
        city.grid, city.risk_factors(), city.incidents, exposure=exposure
    )
    two = rtm.RiskTerrainModel("classic").fit(
        city.grid, city.risk_factors(), city.incidents, exposure=2 * exposure
    )
    pd.testing.assert_frame_equal(one.weights_, two.weights_)
    flags = sm.add_constant(one.flags_.to_numpy(dtype=float))
    relative = exposure / exposure.mean()
    if one.family_ == "poisson":
        oracle = sm.Poisson(one.observations_.counts, flags, offset=np.log(relative)).fit(
            disp=0, method="newton", tol=1e-12
        )
        coef = one.weights_.set_index("factor").loc[one.flags_.columns, "coef"]
        np.testing.assert_allclose(coef, oracle.params[1:], rtol=1e-8)


def test_estimators_follow_scikit_learn(why, city):
    """The constructor only stores; clone and refit give the same result; fit leaves the parameters as they were."""
    copy = clone(why)
    assert copy.get_params() == why.get_params()
    assert not hasattr(copy, "weights_")
    copy.fit(city.grid, city.risk_factors(), city.incidents)
    pd.testing.assert_frame_equal(copy.weights_, why.weights_)
    assert rtm.RiskTerrainModel().method == "guarded"
    with pytest.raises(InputError, match="Invalid method 'best'"):
        rtm.RiskTerrainModel("best").fit(city.grid, city.risk_factors(), city.incidents)


def test_save_and_load_give_back_every_number(tmp_path, why, where):
    """A loaded terrain has the same cells, weights, curves and facts, and its files hold no layers."""
    terrain = rtm.RiskTerrain(why, where)
    terrain.save(tmp_path / "model")
    loaded = rtm.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.cells, terrain.cells)
    pd.testing.assert_frame_equal(loaded.weights, terrain.weights, check_dtype=False)
    pd.testing.assert_frame_equal(loaded.curves, terrain.curves, check_dtype=False)
    assert loaded.facts == terrain.facts
    assert loaded.grid == terrain.grid
    assert loaded.horizon_days == 90
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["model.json", "surfaces.tif"]
    with pytest.raises(InputError, match="It holds no model.json"):
        rtm.load(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="exists already"):
        terrain.save(tmp_path / "model")


def test_models_of_different_incidents_do_not_make_a_terrain(city, why):
    """Both questions must be asked of the same data."""
    other = rtm.RiskForecast().fit(city.grid, city.risk_factors(), city.incidents.iloc[:500])
    with pytest.raises(InputError, match="fitted to different incidents"):
        rtm.RiskTerrain(why, other)


def test_incidents_do_not_explain_themselves(tmp_path):
    """A factor read from the incidents' own file is refused, unless it says what made its rows."""
    city = rtm.simulate_city(random_state=1, n_rows=30, n_columns=30, n_factors=1, active="null")
    path = tmp_path / "crime.geojson"
    city.incidents.assign(kind=np.arange(len(city.incidents)) % 2).to_file(path)
    incidents = rtm.read_layer(path, where="kind == 0")
    factor = rtm.RiskFactor("other crime", rtm.read_layer(path, where="kind == 1"))
    with pytest.raises(InputError, match="read from the file of the incidents"):
        rtm.RiskTerrainModel("classic").fit(city.grid, [factor], incidents, allow_later_factors=True)
    named = rtm.RiskFactor(
        "other crime",
        rtm.read_layer(path, where="kind == 1", provenance="policing"),
        allow_provenance="policing",
    )
    rtm.RiskTerrainModel("classic").fit(city.grid, [named], incidents, allow_later_factors=True)


def test_arguments_of_the_wrong_kind_are_named(city):
    """A layer for a factor, one factor for a list, and incidents for factors are told apart."""
    factor = city.risk_factors()[0]
    with pytest.raises(InputError, match="Invalid factors of type RiskFactor. Give a list of RiskFactor"):
        rtm.assess(city.grid, factor, city.incidents, method="classic")
    with pytest.raises(InputError, match="Invalid factors of type GeoDataFrame.*becomes one with"):
        rtm.assess(city.grid, [city.incidents], city.incidents, method="classic")
    with pytest.raises(InputError, match="Invalid incidents of type list"):
        rtm.assess(city.grid, city.incidents, [factor], method="classic")
    with pytest.raises(InputError, match="Invalid grid of type StudyArea"):
        rtm.assess(city.area, [factor], city.incidents, method="classic")
    with pytest.raises(InputError, match="Invalid max_influence of factor 'bars' '3 blcks'"):
        rtm.RiskFactor("bars", city.incidents, max_influence="3 blcks")
