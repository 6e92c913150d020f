"""Intervals of other kinds: thinning by its law, sandwich and bootstrap by oracles, halves that know nothing of each other."""

from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import shapely
import statsmodels.api as sm
from scipy import stats
from sklearn.exceptions import NotFittedError

import rtmkc as rtm
from rtmkc.engine.sweeps import Design
from rtmkc.errors import InputError
from rtmkc.model.guarded.plane import Plane
from rtmkc.model.guarded.recipe import Response
from rtmkc.model.inference.options import MEASURED, infer
from rtmkc.model.inference.resampled import (
    BlockTable,
    blocks_of,
    bootstrap_errors,
    checkerboard,
    conley_errors,
)
from rtmkc.model.inference.reselection import Material, _in_cells, stability
from rtmkc.model.inference.thinning import Chains, find_chains, keep_incidents, toss
from rtmkc.model.observations import observe

WEST, NORTH, SIZE = 362_000.0, 4_330_000.0, 100.0


def small_city(seed: int, **settings):
    """A city that is fitted in a tenth of a second."""
    settings = {"n_factors": 2, "active": {0: ("proximity", 2, 3.0)}, "n_incidents": 600} | settings
    return rtm.simulate_city(n_rows=40, n_columns=40, random_state=seed, snap_to_centres=True, **settings)


def fit(city, method="classic", incidents=None, **options):
    model = rtm.RiskTerrainModel(method, n_lambdas=20, random_state=1)
    incidents = city.incidents if incidents is None else incidents
    return model.fit(city.grid, city.risk_factors(), incidents, **options)


@pytest.fixture(scope="module")
def city():
    return small_city(4)


@pytest.fixture(scope="module")
def model(city):
    return fit(city)


def at(points, dates=None, **columns):
    """Incidents on an empty square of 1 km, some of them at one place."""
    frame = pd.DataFrame(
        columns | {"easting": [WEST + x for x, _ in points], "northing": [NORTH - y for _, y in points]}
    )
    if dates is not None:
        frame["date"] = pd.to_datetime(dates)
    area = rtm.StudyArea.from_geometry(shapely.box(WEST, NORTH - 1000, WEST + 1000, NORTH), crs="EPSG:26915")
    grid = rtm.Grid.cover(area, cell_size=SIZE)
    layer = rtm.read_layer(frame, crs="EPSG:26915", name="incidents", provenance="environment")
    return observe(grid, layer)


# Thinning


def test_halves_of_poisson_counts_are_independent():
    """A + B = y in every cell, the mean of A is eps y, and over Poisson cells A and B are not correlated."""
    city = rtm.simulate_city(n_rows=60, n_columns=60, active="null", n_incidents=9000, random_state=1)
    observations = observe(city.grid, city.incidents)
    chains = find_chains(observations)
    assert chains.n_chains == observations.n_incidents  # no two at one place
    for eps in (0.5, 0.2):
        correlations, shares = [], []
        for thin in range(10):
            coins = toss(chains, eps, 3, thin)
            one, other = (
                keep_incidents(observations, coins).counts,
                keep_incidents(observations, ~coins).counts,
            )
            np.testing.assert_array_equal(one + other, observations.counts)
            correlations.append(np.corrcoef(one, other)[0, 1])
            shares.append(coins.mean())
        n_incidents = observations.n_incidents
        assert np.abs(correlations).max() <= 4 / np.sqrt(city.grid.n_cells)
        assert np.mean(shares) == pytest.approx(eps, abs=4 * np.sqrt(eps * (1 - eps) / (10 * n_incidents)))
        # Coins of different thins have nothing to do with each other.
        first, second = (toss(chains, eps, 3, thin) for thin in (0, 1))
        assert abs(np.corrcoef(first, second)[0, 1]) <= 4 / np.sqrt(n_incidents)


def test_halves_are_independent_where_incidents_repeat():
    """Dealt by chains, halves of incidents with repeats are not correlated; dealt one by one they are, by 3/7.

    With 1 + Poisson(1) incidents a place, a count has mean 2 m and variance 5 m: halves dealt one by one have
    covariance (5 - 2) m / 4 and variance (5 + 2) m / 4.
    """
    random = np.random.default_rng(9)
    spots, repeats = random.uniform(0, 1000, (3000, 2)), 1 + random.poisson(1.0, 3000)
    days = np.repeat(random.integers(0, 300, 3000), repeats) + random.integers(0, 6, repeats.sum())
    observations = at(
        spots.repeat(repeats, axis=0), pd.Timestamp("2023-01-01") + pd.to_timedelta(days, unit="D")
    )
    square = ((spots // 25) @ [40, 1]).astype(int).repeat(repeats)  # 1,600 squares: their places are Poisson
    chains = find_chains(observations)
    single = Chains(np.arange(days.size), random.integers(0, 2**63, days.size).astype(np.uint64), "")
    assert chains.n_chains == 3000

    def correlation(dealt_by):
        coins = [toss(dealt_by, 0.5, 0, thin) for thin in range(20)]
        halves = [[np.bincount(square[kept], minlength=1600) for kept in (own, ~own)] for own in coins]
        return float(np.mean([np.corrcoef(*pair)[0, 1] for pair in halves]))

    assert abs(correlation(chains)) <= 4 / np.sqrt(1600)
    assert correlation(single) == pytest.approx(3 / 7, abs=4 / np.sqrt(1600))


def test_coins_do_not_know_the_order_of_rows(city):
    """Each incident has the same coin in a shuffled table with other row numbers, and beside other incidents."""
    table = city.incidents.sample(frac=1.0, random_state=5).reset_index(drop=True)
    coins = {}
    for name, incidents in {"as is": city.incidents, "shuffled": table, "half": table.iloc[::2]}.items():
        observations = observe(city.grid, incidents)
        own = toss(find_chains(observations), 0.5, 8)
        coins[name] = dict(zip(observations.incidents.frame["incident_id"], own, strict=True))
    assert coins["shuffled"] == coins["as is"]
    assert coins["half"].items() <= coins["as is"].items()
    observations = observe(city.grid, city.incidents)
    assert (toss(find_chains(observations), 0.5, 9) != list(coins["as is"].values())).mean() > 0.4


def test_near_repeats_are_never_split():
    """Chains are the connected components of all pairs near in place and time, and of records of one event."""
    random = np.random.default_rng(6)
    n_incidents = 300
    place = random.integers(0, 40, n_incidents)
    day = random.integers(0, 365, n_incidents)
    report = [f"R{number}" if number < 60 else None for number in random.integers(0, 120, n_incidents)]
    street = [f"{number} Main" if number else None for number in place % 25]
    spots = random.uniform(50, 950, (40, 2))
    observations = at(
        spots[place],
        [pd.Timestamp("2023-01-01") + pd.Timedelta(days=int(one), hours=int(one) % 24) for one in day],
        report=report,
        street=street,
    )
    chains = find_chains(observations, repeat_days="14 days", event="report", address="street")
    graph = nx.Graph()
    graph.add_nodes_from(range(n_incidents))
    for one in range(n_incidents):
        for other in range(one):
            same_place = place[one] == place[other] or (
                street[one] is not None and street[one] == street[other]
            )
            near = same_place and abs(day[one] - day[other]) <= 14
            if near or (report[one] is not None and report[one] == report[other]):
                graph.add_edge(one, other)
    expected = {frozenset(component) for component in nx.connected_components(graph)}
    found = {frozenset(np.flatnonzero(chains.number == number).tolist()) for number in range(chains.n_chains)}
    assert found == expected
    assert len(set(chains.keys.tolist())) == chains.n_chains
    alone = sum(len(component) == 1 for component in expected)
    assert chains.share_together == pytest.approx(1 - alone / n_incidents)
    for thin in range(20):
        coins = toss(chains, 0.5, 0, thin)
        for component in expected:
            assert len(set(coins[list(component)])) == 1


@pytest.mark.filterwarnings("ignore:incidents in the study area")
def test_without_dates_one_place_is_one_coin():
    """Incidents without any date share the coin of their place, and the rule says so; an unknown date is never apart."""
    points = [(100, 100), (100, 100), (300, 300), (300, 300)]
    undated = find_chains(at(points))
    assert undated.number.tolist() == [0, 0, 1, 1]
    assert "without dates" in undated.rule
    dated = find_chains(at(points, ["2023-01-01", "2023-06-01", "2023-01-01", "2023-01-02"]))
    assert dated.n_chains == 3
    assert "within 14 days" in dated.rule
    half = find_chains(at(points, ["2023-01-01", None, "2023-01-01", "2023-06-01"]))
    assert (half.number[0] == half.number[1], half.number[2] == half.number[3]) == (True, False)


def test_thinned_p_values_are_uniform_where_nothing_is_real():
    """A column chosen by half of the incidents has a uniform p in the other half; chosen and tested by all it has not."""
    random = np.random.default_rng(2)
    flags = random.random((400, 8)) < 0.3
    design, none = Design.from_matrix(flags.astype(float)), np.zeros((400, 0))

    def best(counts):
        score = (counts - counts.mean()) @ (flags - flags.mean(axis=0))
        return int(np.argmax(np.abs(score) / flags.std(axis=0)))

    def p_value(counts, column):
        found = BlockTable.of(design, [column], Response(counts, np.zeros(400), none)).fit()
        return 2 * stats.norm.sf(abs(found.coef[0]) / found.standard_errors[1])

    thinned, naive = [], []
    for repeat in range(500):
        cells = np.repeat(np.arange(400), random.poisson(5.0, 400))
        keys = random.integers(0, 2**63, cells.size).astype(np.uint64)
        coins = toss(Chains(np.arange(cells.size), keys, ""), 0.5, repeat)
        whole, half, other = (
            np.bincount(cells[kept], minlength=400).astype(float) for kept in (slice(None), coins, ~coins)
        )
        thinned.append(p_value(other, best(half)))
        naive.append(p_value(whole, best(whole)))
    assert stats.kstest(thinned, "uniform").pvalue > 0.001
    assert stats.kstest(naive, "uniform").pvalue < 1e-9


def test_thin_chooses_on_one_half_and_measures_on_the_other(city, model):
    """Columns are those of a fit to the first half, weights and intervals statsmodels' on the rest."""
    found = infer(model, "thin", seed=3, n_thins=4, eps=0.6)
    observations = model.observations_
    coins = toss(find_chains(observations), 0.6, 3)
    part = fit(city, incidents=city.incidents[coins])
    assert set(found.table["factor"]) == set(part.flags_.columns)
    flags = part.flags_[found.table["factor"].tolist()].to_numpy(dtype=float)
    counts = np.bincount(observations.cells[~coins], minlength=city.grid.n_cells)
    oracle = sm.Poisson(counts, sm.add_constant(flags)).fit(disp=0, method="newton", tol=1e-12)
    np.testing.assert_allclose(found.table["coef"], oracle.params[1:], rtol=1e-7)
    np.testing.assert_allclose(found.table["lower"], np.exp(oracle.conf_int()[1:, 0]), rtol=1e-6)
    np.testing.assert_allclose(found.table["n_inside"], counts @ flags)
    whole = sm.Poisson(observations.counts, sm.add_constant(flags)).fit(disp=0, method="newton", tol=1e-12)
    np.testing.assert_allclose(found.table["inflation"], oracle.bse[1:] / whole.bse[1:], rtol=1e-6)
    assert found.target == "this city and period"
    assert "40 % of the incidents" in repr(found)
    assert "shared by both parts" in found.statement


def test_thin_is_the_same_for_shuffled_rows(city, model):
    """Table and frequencies of thinning do not change with the order of the incidents."""
    shuffled = fit(city, incidents=city.incidents.sample(frac=1.0, random_state=1).reset_index(drop=True))
    one, other = (infer(which, "thin", n_thins=3) for which in (model, shuffled))
    pd.testing.assert_frame_equal(one.table, other.table, rtol=1e-9)
    pd.testing.assert_frame_equal(one.frequencies, other.frequencies)


# Sandwich and bootstrap


def irregular_grid():
    """12 x 11 cells with a corner and a hole missing."""
    outline = shapely.box(WEST, NORTH - 1100, WEST + 1200, NORTH)
    missing = shapely.union_all(
        [
            shapely.box(WEST, NORTH - 300, WEST + 400, NORTH),
            shapely.box(WEST + 600, NORTH - 800, WEST + 800, NORTH - 500),
        ]
    )
    area = rtm.StudyArea.from_geometry(outline - missing, crs="EPSG:26915")
    return rtm.Grid.cover(area, cell_size=SIZE)


@pytest.mark.parametrize("bandwidth", [1.0, 3.7, 5.5])
def test_conley_is_the_double_sum(bandwidth):
    """Standard errors equal the sum over all pairs of cells with the product of two Bartlett kernels."""
    grid, random = irregular_grid(), np.random.default_rng(7)
    assert grid.n_cells == 12 * 11 - 12 - 6
    matrix = np.column_stack([np.ones(grid.n_cells), random.random((grid.n_cells, 2)) < 0.4])
    counts = random.poisson(2.0, grid.n_cells).astype(float)
    means = np.exp(matrix @ [0.5, 0.2, 0.1])
    apart = [np.abs(np.subtract.outer(index, index)) for index in (grid.rows, grid.columns)]
    kernel = np.prod([np.maximum(0, 1 - one / bandwidth) for one in apart], axis=0)
    scores = matrix * (counts - means)[:, None]
    inverse = np.linalg.inv((matrix * means[:, None]).T @ matrix)
    variance = inverse @ (scores.T @ kernel @ scores) @ inverse
    found = conley_errors(Plane(grid), matrix, counts, means, bandwidth)
    np.testing.assert_allclose(found.standard_errors, np.sqrt(np.diag(variance)), rtol=1e-9)
    if bandwidth == 1.0:  # only a cell with itself: White's
        oracle = sm.GLM(counts, matrix, family=sm.families.Poisson()).fit()
        own = conley_errors(Plane(grid), matrix, counts, oracle.fittedvalues, 1.0)
        robust = sm.Poisson(counts, matrix).fit(disp=0, method="newton", cov_type="HC0")
        np.testing.assert_allclose(own.standard_errors, robust.bse, rtol=1e-6)


@pytest.mark.parametrize("n_covariates", [0, 2])
def test_bootstrap_errors_are_cluster_robust(n_covariates):
    """With 300 blocks that share noise, the bootstrap gives the analytic cluster-robust errors, and t with 299."""
    random = np.random.default_rng(8)
    blocks = np.repeat(np.arange(300), 6)
    flags = (random.random((blocks.size, 2)) < 0.4).astype(float)
    flags[:, 0] = np.repeat(random.random(300) < 0.4, 6)  # a column that varies between blocks only
    covariates = random.normal(size=(blocks.size, n_covariates))
    offset = random.normal(0, 0.3, blocks.size)
    shared = np.repeat(random.normal(0, 0.6, 300), 6)
    counts = random.poisson(np.exp(0.5 + flags @ [0.6, 0.2] + offset + shared)).astype(float)
    table = BlockTable.of(Design.from_matrix(flags), [0, 1], Response(counts, offset, covariates), blocks)
    oracle = sm.Poisson(counts, sm.add_constant(np.column_stack([flags, covariates])), offset=offset).fit(
        disp=0, method="newton", cov_type="cluster", cov_kwds={"groups": blocks, "use_correction": False}
    )
    np.testing.assert_allclose(table.fit().coef, oracle.params[1:], rtol=1e-6, atol=1e-8)
    found = bootstrap_errors(table, 1000, 0)
    # 1,000 draws know a standard deviation to 2 %.
    np.testing.assert_allclose(found.standard_errors, oracle.bse[1:3], rtol=0.09)
    assert (
        found.standard_errors[0]
        > 1.5
        * sm.Poisson(counts, sm.add_constant(np.column_stack([flags, covariates])), offset=offset)
        .fit(disp=0, method="newton")
        .bse[1]
    )
    assert found.multiple == pytest.approx(stats.t.ppf(0.975, 299))


@pytest.mark.parametrize("with_covariate", [False, True])
def test_draws_are_the_fits_of_repeated_cells(with_covariate):
    """Coefficients of a draw are those of all cells, each as often as its block was drawn; no fit is no coefficient."""
    random = np.random.RandomState(4)
    flags = (random.rand(600, 2) < [0.4, 0.2]).astype(float)
    offset, blocks = random.normal(0, 0.2, 600), np.repeat(np.arange(12), 50)
    flags[:, 1] *= blocks < 2
    counts = random.poisson(np.exp(-0.5 + flags @ [0.7, 0.4] + offset)).astype(float)
    covariates = random.normal(0, 1, (600, int(with_covariate)))
    table = BlockTable.of(Design.from_matrix(flags), [0, 1], Response(counts, offset, covariates), blocks)
    draws = random.multinomial(12, np.full(12, 1 / 12), size=40).astype(float)
    told = draws[:, :2].any(axis=1)
    assert 0 < (~told).sum() < 20
    matrix = sm.add_constant(np.column_stack([flags, covariates]))
    oracle = [
        sm.GLM(counts, matrix, sm.families.Poisson(), offset=offset, freq_weights=draw[blocks])
        .fit(tol=1e-13)
        .params[1:3]
        for draw in draws[told]
    ]
    np.testing.assert_allclose(table.coefs(draws), oracle, atol=1e-7)


def test_what_draws_cannot_tell_is_not_told():
    """A column whose incidents lie in one block has no error: a third of the draws leave it without any."""
    blocks = np.repeat(np.arange(20), 5)
    flags = (blocks == 0).astype(float)[:, None]
    response = Response(np.ones(100), np.zeros(100), np.zeros((100, 0)))
    table = BlockTable.of(Design.from_matrix(flags), [0], response, blocks)
    assert np.isnan(bootstrap_errors(table, 200, 0).standard_errors[0])
    assert table.fit(np.arange(20.0)) is None  # block 0 weighs nothing


def test_factors_of_either_direction_keep_their_sign():
    """A factor that protects, in a model that allows either sign, has an RRV below 1 in every option."""
    simulated = small_city(3, n_factors=1, active={0: ("proximity", 4, 0.25)})
    model = rtm.RiskTerrainModel("classic", n_lambdas=20)
    model.fit(simulated.grid, simulated.risk_factors(direction="either"), simulated.incidents)
    settings = {
        "thin": {"n_thins": 1},
        "split": {"block": "1 km"},
        "bootstrap": {"block": "800 m"},
        "conley": {},
    }
    for how, options in settings.items():
        table = infer(model, how, **options).table
        assert len(table)
        assert (table["upper"] < 1).all(), how


def test_weights_that_depend_on_who_weighs_are_named(city, model):
    """A factor whose Poisson weight lies outside the model's own interval is named, with both weights; others are not."""
    other = fit(city)
    own = other.weights_["factor"] == "factor 0"
    other.weights_.loc[own, ["rrv", "lower", "upper"]] = [9.0, 8.0, 10.0]
    found = infer(other, "conley")
    rrv = found.table["rrv"].iloc[0]
    assert f"factor 0 x{rrv:.2f} against x9.00" in found.statement
    assert "against" not in infer(model, "conley").statement


@pytest.mark.parametrize("method", ["classic", "guarded"])
def test_exposure_and_covariates_are_those_of_the_model(city, method):
    """Weights are statsmodels' Poisson estimates with the offset, or covariates, that the model has."""
    busy = np.exp(np.sin(city.grid.eastings / 700))
    exposures = {"offset": busy}
    if method == "guarded":
        known = rtm.RiskTerrainModel(method).fit(
            city.grid, city.risk_factors(), city.incidents, exposure=busy
        )
        exposures["covariate"] = known.observations_.exposure
    for role, exposure in exposures.items():
        if role == "covariate":
            exposure = type(exposure)(exposure.values, exposure.statement, role="covariate")
        fitted = fit(city, method, exposure=exposure)
        found = infer(fitted, "conley").table
        flags = fitted.flags_[found["factor"].tolist()].to_numpy(dtype=float)
        log_busy = np.log(busy / busy.mean())
        extra = np.column_stack([log_busy, log_busy**2]) if role == "covariate" else np.zeros((len(busy), 0))
        oracle = sm.Poisson(
            fitted.observations_.counts,
            np.column_stack([np.ones(len(busy)), flags, extra]),
            offset=None if role == "covariate" else log_busy,
        ).fit(disp=0, method="newton", tol=1e-12)
        n_columns = len(found)
        assert n_columns >= 1
        np.testing.assert_allclose(found["coef"], oracle.params[1 : 1 + n_columns], rtol=1e-5)
        bootstrapped = infer(fitted, "bootstrap", n_draws=200, block="800 m").table
        np.testing.assert_allclose(bootstrapped["coef"], found["coef"], rtol=1e-5)


# Halves of the city


def test_squares_of_two_colours_share_nothing(city):
    """Every cell has one colour, a square has one colour, and squares that share a side differ."""
    white, blocks = checkerboard(city.grid, 700.0), blocks_of(city.grid, 700.0)
    assert set(blocks[white]).isdisjoint(blocks[~white])
    raster = city.grid.to_raster(white.astype(float), fill=np.nan)
    squares = raster[3::7, 3::7]  # the middle of every square
    assert squares.shape == (6, 6)
    assert (squares[1:] != squares[:-1]).all()
    assert (squares[:, 1:] != squares[:, :-1]).all()


def test_split_measures_where_it_did_not_choose(city, model):
    """Columns for one colour do not change with the incidents of that colour, weights do not with those of the other."""
    found = infer(model, "split", block="1 km", n_draws=200)
    assert found.target == "the general effect"
    assert set(found.table["fitted_on"]) == {"white squares", "black squares"}
    white = checkerboard(city.grid, 1000.0)
    observations = model.observations_
    for name, measuring in {"white squares": white, "black squares": ~white}.items():
        rows = found.table[found.table["fitted_on"] == name]
        # Every other incident of the colour that measures is taken away, and it still chooses the same.
        drop = measuring[observations.cells] & (np.arange(observations.n_incidents) % 2 == 0)
        changed = fit(city, incidents=city.incidents[~drop])
        material = Material.of(changed)
        names = [changed.candidates_.columns["factor"].iloc[one] for one in material.chosen_in(~measuring)]
        assert set(names) == set(rows["factor"])
        names = model.candidates_.columns.reset_index().set_index(["factor", "kind", "influence_m"])["index"]
        keys = rows[["factor", "kind", "influence_m"]].itertuples(index=False, name=None)
        flags = np.column_stack([model.candidates_.column(int(names[key])) for key in keys]).astype(float)
        oracle = sm.Poisson(observations.counts[measuring], sm.add_constant(flags[measuring])).fit(disp=0)
        np.testing.assert_allclose(rows["coef"], oracle.params[1:], rtol=1e-5)


def test_columns_that_are_rare_in_half_of_the_city_cannot_be_chosen_there():
    """A factor in the west only has no column in the east; numbers of columns stay those of the whole city."""
    simulated = small_city(5, n_factors=3, active={2: ("proximity", 2, 4.0)})
    points = simulated.factor_points["factor 1"]
    west = points[points.geometry.x < simulated.grid.west + 2000]
    factors = simulated.risk_factors()
    factors[1] = rtm.RiskFactor(
        "factor 1", west.iloc[:3], kind="both", max_influence="3 blocks", increment="whole"
    )
    for method in ("classic", "guarded"):
        model = rtm.RiskTerrainModel(method, n_lambdas=20).fit(simulated.grid, factors, simulated.incidents)
        east = simulated.grid.eastings > west.geometry.x.iloc[:3].max() + 700
        assert east.mean() > 0.3
        chosen = Material.of(model).chosen_in(east)
        names = model.candidates_.columns["factor"].iloc[list(chosen)].tolist()
        assert "factor 2" in names
        assert "factor 1" not in names
        part, kept = _in_cells(model.candidates_, east)
        for number, column in enumerate(kept):
            np.testing.assert_array_equal(part.column(number), model.candidates_.column(int(column))[east])
            assert part.columns["n_cells"].iloc[number] == part.column(number).sum()
            assert part.columns["name"].iloc[number] == model.candidates_.columns["name"].iloc[column]
        assert "factor 1" not in part.columns["factor"].tolist()


def test_the_folds_of_the_user_are_used_again(city):
    """On half of the incidents and in half of the city the recipe runs with the folds it is given."""
    folds = (city.grid.rows // 10 + 2 * (city.grid.columns // 20)).astype(int)
    model = fit(city, folds=folds)
    material = Material.of(model)
    coins = toss(find_chains(model.observations_), 0.5, 1)
    half = fit(city, incidents=city.incidents[coins], folds=folds)
    assert {model.candidates_.columns["factor"].iloc[one] for one in material.chosen_on(coins)} == set(
        half.flags_
    )
    one_fold = np.where(city.grid.columns < 20, 0, 1)
    with pytest.raises(InputError, match="at least two folds"):
        Material.of(fit(city, folds=one_fold)).chosen_in(city.grid.columns < 20)


def test_strong_factors_are_chosen_again(model):
    """A strong factor is found in every half, one that is none in few; shares come from as many fits as asked."""
    seen = []
    shares = stability(
        model, n_pairs=2, block="800 m", progress=lambda done, total: seen.append((done, total))
    )
    factors = shares[shares["kind"] == "any"].set_index("factor")
    assert factors.loc["factor 0", ["on_half_the_city", "on_half_the_incidents"]].tolist() == [1.0, 1.0]
    assert factors.loc["factor 1", "on_half_the_city"] <= 0.5
    assert factors["in_model"].tolist() == [True, False]
    columns = shares[shares["kind"] != "any"]
    assert set(np.round(4 * columns["on_half_the_city"]) / 4) == set(columns["on_half_the_city"])
    # A half chooses one column of a factor at most.
    assert columns.groupby("factor")["on_half_the_city"].sum()["factor 0"] == 1.0
    assert seen == [(1, 2), (2, 2)]
    pd.testing.assert_frame_equal(shares, stability(model, n_pairs=2, block="800 m"))


# Promises


def test_intervals_hold_in_poisson_cities():
    """In 16 cities without clustered noise at most 3 intervals of an option miss the true RRV of 3.

    At 95 %, more happen with probability .007. Half of the incidents widen by root two; no noise, no inflation.
    """
    settings = {
        "thin": {"n_thins": 1},
        "split": {"block": "1 km", "n_draws": 200},
        "bootstrap": {"n_draws": 200, "block": "600 m"},
        "conley": {},
    }
    rows = {how: [] for how in settings}
    for seed in range(16):
        simulated = small_city(100 + seed, n_factors=1)
        model = fit(simulated)
        for how, options in settings.items():
            table = infer(model, how, seed=seed, **options).table
            rows[how].append(table[(table["kind"] == "proximity") & (table["influence_m"] == 200.0)].head(1))
    for how, own in rows.items():
        found = pd.concat(own)
        assert len(found) >= 14  # in the others another distance was chosen, whose truth is another
        assert (~((found["lower"] <= 3.0) & (found["upper"] >= 3.0))).sum() <= 3, how
        if how in ("thin", "conley"):
            assert found["inflation"].mean() == pytest.approx(np.sqrt(2) if how == "thin" else 1.0, abs=0.12)


def test_statements_quote_the_study(model):
    """Shares that statements quote are those of the page that the study writes, rounded to per cent."""
    page = (Path(__file__).parent.parent / "docs" / "reference" / "inference-options.md").read_text(
        encoding="utf-8"
    )
    general = page.split("### Held: the general effect")[1].split("###")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in general.splitlines()
        if line[:1] == "|"
    ]
    measured = {(row[1], row[0]): [float(cell.split()[0]) for cell in row[2:5]] for row in rows[2:]}
    for (how, method), shares in MEASURED.items():
        np.testing.assert_allclose(np.array(shares) / 100, measured[how, method], atol=0.0051)
    statement = infer(model, "bootstrap", block="800 m").statement
    assert "held the general effect in {} %".format(MEASURED["bootstrap", "classic"][0]) in statement


# Bad input


def test_what_cannot_be_inferred_is_refused(city, model):
    """Every wrong argument names itself, its rule and what to do."""
    with pytest.raises(NotFittedError, match="not fitted"):
        infer(rtm.RiskTerrainModel(), "thin")
    with pytest.raises(InputError, match="Invalid model of type int. Give a fitted RiskTerrainModel"):
        stability(3)
    with pytest.raises(InputError, match="Invalid how 'wald'. It must be one of"):
        infer(model, "wald")
    with pytest.raises(InputError, match="Invalid option 'eps' of how='conley'. It has: bandwidth"):
        infer(model, "conley", eps=0.5)
    for eps in (0.0, 1.0, 1.5):
        with pytest.raises(InputError, match=f"Invalid eps {eps}.*greater than 0 and less than 1"):
            infer(model, "thin", eps=eps)
    with pytest.raises(InputError, match="Invalid eps 1e-09. With this seed one part has none"):
        infer(model, "thin", eps=1e-9)
    with pytest.raises(
        InputError, match="Invalid column 'report_no'. The layer of incidents has no such column"
    ):
        infer(model, "thin", event="report_no")
    with pytest.raises(InputError, match="Invalid repeat_days 0"):
        infer(model, "thin", repeat_days=0)
    for how in ("split", "bootstrap"):
        with pytest.raises(InputError, match=r"Invalid block [34],000 m. The area holds \d such blocks"):
            infer(model, how, block="3 km" if how == "split" else 4000)
        with pytest.raises(InputError, match="Invalid n_draws 10"):
            infer(model, how, n_draws=10)
    with pytest.raises(InputError, match="Invalid block 3,000 m"):
        stability(model, block="3 km")
    for bandwidth in ("50 m", "2.1 km"):
        with pytest.raises(
            InputError, match=f"Invalid bandwidth '{bandwidth}'. It must be between the side of a cell"
        ):
            infer(model, "conley", bandwidth=bandwidth)
    with pytest.raises(InputError, match="Invalid seed -1"):
        infer(model, "thin", seed=-1)


@pytest.mark.parametrize("how", ["thin", "split", "bootstrap", "conley"])
def test_no_factor_is_an_answer(how):
    """A model without factors gives an empty table with the same columns, and says why."""
    simulated = small_city(1, active="null")
    model = fit(simulated)
    assert not len(model.flags_.columns)
    found = infer(model, how)
    assert found.table.empty
    assert "lower" in found.table
    assert found.statement.startswith("No factor is in the model")
    assert found.statement.splitlines()[0] in repr(found).replace("\n", " ")


def test_incidents_without_dates_are_said(city):
    """Thinning undated incidents joins all of one place, and the statement says so."""
    undated = fit(city, incidents=city.incidents.drop(columns="date"))
    found = infer(undated, "thin", n_thins=1)
    assert "(without dates, whenever it was)" in found.statement
    assert "Coins: " in repr(found)
