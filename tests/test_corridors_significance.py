"""Is a corridor real? Scan tests in cities without one and with one, and how sure its place and its figure are."""

import itertools
from dataclasses import dataclass, field, replace

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from scipy import stats

from rtmkc.places.corridors.choice.paths import PathFamily, PathSearch, worth_of
from rtmkc.places.corridors.choice.selection import Selection
from rtmkc.places.corridors.choice.significance import cell_nulls, resample, scan_p_values
from rtmkc.places.corridors.network.streets import StreetNetwork
from rtmkc.places.corridors.risk import StreetRisk
from rtmkc.places.corridors.search import find_corridors
from rtmkc.raster.grid import Grid, StudyArea

BLOCK = 100.0
WEST, SOUTH = 360_000.0, 4_330_000.0
STRENGTH, HISTORY = 2.0, 4.0
N_CITIES, REPLICATES = 200, 39


@dataclass
class Terrain:
    grid: Grid
    cells: pd.DataFrame
    horizon_days: int = 90
    hot_cells: dict | None = None
    facts: dict = field(default_factory=dict)

    def __post_init__(self):
        where = {
            "drift": 0.1,
            "hot_cells": self.hot_cells,
            "strengths": [STRENGTH],
            "history_horizons": HISTORY,
        }
        self.facts = {"where": where, "period_days": 360}

    def ranking(self, by):
        return self.cells[by].to_numpy()


def city(n_avenues=7, hot_street=None, lift=1.0, spread=1.0, seed=0):
    """Return a terrain whose past was drawn from its model, and whose forecast is the model's posterior mean.

    Parameters
    ----------
    hot_street, lift : int, float
        A street on which the environment is so many times as risky.
    spread : float
        What the standard deviation of the rates is multiplied by.
    """
    side = (n_avenues - 1) * BLOCK
    area = StudyArea.from_geometry(shapely.box(WEST, SOUTH, WEST + side, SOUTH + side), crs="EPSG:32615")
    grid = Grid.cover(area, cell_size=50)
    random = np.random.default_rng(seed)
    around = np.full(grid.n_cells, 0.4)
    if hot_street is not None:
        around[abs(grid.northings - SOUTH - hot_street * BLOCK) < 50] *= lift
    truth = around * random.gamma(STRENGTH, 1 / STRENGTH, grid.n_cells)
    seen = random.poisson(truth * HISTORY)
    rate = (STRENGTH + around * HISTORY) / around
    cells = pd.DataFrame({"expected": (STRENGTH + seen) / rate, "count": seen, "share": grid.share})
    cells["rate_sd"] = spread * np.sqrt(STRENGTH + seen) / rate
    cells["neighbourhood"], cells["rrs"] = around, around / around.min()
    cells["environment"] = around / around.mean()
    return Terrain(grid, cells)


def streets(n_avenues=7):
    """Return a lattice of streets and avenues, a line a block."""
    names, lines = [], []
    for line, block in itertools.product(range(n_avenues), range(n_avenues - 1)):
        across, begin, end = line * BLOCK, block * BLOCK, (block + 1) * BLOCK
        names += [f"{line} St", f"{line} Ave"]
        lines.append(shapely.LineString([(WEST + begin, SOUTH + across), (WEST + end, SOUTH + across)]))
        lines.append(shapely.LineString([(WEST + across, SOUTH + begin), (WEST + across, SOUTH + end)]))
    return gpd.GeoDataFrame({"name": names}, geometry=lines, crs=32615)


def selection_on(risk, *, objective="excess", k=2, n_threads=1, **family):
    """What `find_corridors` looks for when nothing is excluded, on a small lattice."""
    blocks, ones = risk.blocks, np.ones(risk.blocks.n_blocks)
    bounds = PathFamily(**({"shortest": 200.0, "longest": 500.0} | family))
    inside = risk.is_inside
    search = PathSearch(blocks, bounds, n_threads=n_threads)
    return Selection(search, objective, k, 150.0, inside, inside, ones, 0 * ones, 1.0)


def with_counts(risk, counts):
    """The same streets in a city that saw other incidents."""
    cells = risk.terrain.cells.assign(count=counts)
    return replace(
        risk,
        terrain=replace(risk.terrain, cells=cells),
        incidents=risk.blocks.sum(risk.allocation.to_segments(counts.astype(float))),
    )


@pytest.fixture(scope="module")
def network():
    return StreetNetwork.from_layer(streets())


@pytest.fixture(scope="module")
def risk(network):
    return StreetRisk.of(city(hot_street=2, lift=3.0), network)


def p_values_under(risk, name, seed):
    """p-values of the hottest path of cities drawn from a null, and of the path chosen by the forecast."""
    selection = selection_on(risk)
    chance, total = cell_nulls(risk)[name], 400
    random = np.random.default_rng(seed)
    chosen = selection.best(risk.expected).paths[:1]
    hottest, forecast = [], []
    for number in range(N_CITIES):
        drawn = with_counts(risk, random.multinomial(total, chance))
        base = risk.blocks.sum(risk.allocation.to_segments(total * chance))
        goal = worth_of("llr", risk.blocks, drawn.incidents, base=base)
        hot = selection.search.best_apart(*goal, k=1, separation=0).paths
        found = scan_p_values(
            [*hot, *chosen], drawn, selection, replicates=REPLICATES, random_state=1000 + number
        )
        hottest.append(found[name][0] if hot else 1.0)
        forecast.append(found[name][-1])
    return np.array(hottest), np.array(forecast)


@pytest.mark.parametrize("name", ["length", "factors"])
def test_p_values_are_uniform_where_there_is_nothing(risk, name):
    """In 200 cities drawn from a null the hottest path of all has uniform p-values, of 1/40 to 1; a path chosen without
    looking at these incidents has p-values at least as large.
    """
    hottest, forecast = p_values_under(risk, name, seed=2)
    assert set(np.round(40 * hottest).astype(int)) <= set(range(1, 41))
    # p is uniform on 1/40 ... 40/40: less a uniform step it is continuous
    step = np.random.default_rng(0).random(N_CITIES) / 40
    assert stats.kstest(hottest - step, "uniform").pvalue > 0.02
    for level in (0.05, 0.1, 0.25):
        n_below = int((hottest <= level + 1e-9).sum())
        assert stats.binomtest(n_below, N_CITIES, level).pvalue > 0.02
        assert (forecast <= level + 1e-9).mean() <= level + 0.02
    assert (forecast >= hottest).all()


def test_a_street_that_the_environment_explains_is_hot_and_no_surprise(network):
    """Incidents drawn from an environment with a hot street: small p against length, not small against the factors."""
    hot = StreetRisk.of(city(hot_street=3, lift=4.0), network)
    selection = selection_on(hot)
    paths = selection.best(hot.expected).paths[:1]
    assert set(hot.blocks.names[hot.blocks.street[paths[0].blocks]]) == {"3 St"}
    random = np.random.default_rng(3)
    found = [
        scan_p_values(
            paths, with_counts(hot, random.multinomial(400, cell_nulls(hot)["factors"])), selection,
            replicates=19, random_state=number,
        )
        for number in range(20)
    ]  # fmt: skip
    by_null = {name: np.array([one[name][0] for one in found]) for name in ("length", "factors")}
    assert (by_null["length"] == 0.05).all()
    assert (by_null["factors"] <= 0.1).mean() <= 0.1
    assert by_null["factors"].mean() > 0.5


def test_a_street_hotter_than_the_environment_says_is_found_under_both(network):
    """Incidents planted on a street that the environment knows nothing of: p-values are the least there can be."""
    flat = city()
    up = flat.grid.northings - SOUTH
    flat.cells["count"] = np.random.default_rng(4).poisson(np.where(abs(up - 300) < 50, 3.0, 1.0))
    flat.cells["expected"] = 0.2 + 0.1 * flat.cells["count"]
    table = find_corridors(
        flat, network, k=1, min_length=200, max_length=500, replicates=19, objective="total"
    )
    assert (table["name"][0], table["p_length"][0], table["p_factors"][0]) == ("3 St", 0.05, 0.05)
    cool = find_corridors(
        flat, network, k=1, min_length=200, max_length=500, replicates=19, exclude=table, separation=120,
        objective="total",
    )  # fmt: skip
    assert min(cool["p_length"][0], cool["p_factors"][0]) > 0.2


def test_without_incidents_there_is_no_p_value(network):
    """A city that saw nothing has corridors by its factors, and nothing to test them by."""
    quiet = StreetRisk.of(city(), network)
    quiet = with_counts(quiet, np.zeros(quiet.terrain.grid.n_cells))
    selection = selection_on(quiet)
    found = scan_p_values(
        selection.best(quiet.expected).paths, quiet, selection, replicates=5, random_state=0
    )
    assert all(np.isnan(values).all() for values in found.values())


def test_nulls_are_metres_of_street_and_the_environment(network):
    """Of 144 cells of 50 m the 49 with a corner have 100 m of street, 70 have 50 m and 25 none, and chances in proportion;
    under "factors" chances are the environment's.
    """
    risk = StreetRisk.of(city(hot_street=2, lift=3.0), network)
    nulls, grid = cell_nulls(risk), risk.terrain.grid
    assert nulls["length"].sum() == pytest.approx(1)
    assert nulls["factors"].sum() == pytest.approx(1)
    metres = np.round(nulls["length"] * 14 * 600, 6)
    assert (grid.n_cells, (metres == 100).sum(), (metres == 50).sum(), (metres == 0).sum()) == (
        144,
        49,
        70,
        25,
    )
    environment = risk.terrain.cells["environment"].to_numpy()
    assert np.allclose(nulls["factors"], environment / environment.sum())


def stability(network, spread, resamples=60):
    risk = StreetRisk.of(city(spread=spread, hot_street=2, lift=1.5), network)
    selection = selection_on(risk)
    return resample(selection.best(risk.expected), risk, selection, resamples=resamples, random_state=0)[0]


def test_rank_stability_falls_with_what_is_not_known(network):
    """Without spread every drawn risk chooses the same corridors; the more spread, the less often."""
    sure, half, open_ = (stability(network, spread) for spread in (0.0, 0.5, 2.5))
    assert (sure == 1.0).all()
    assert sure.mean() > half.mean() > open_.mean() > 0


def test_half_of_the_length_found_again_counts(risk):
    """Stability counts the drawn risks whose chosen blocks have half of the corridor's metres, by brute force."""
    selection = selection_on(risk)
    found = selection.best(risk.expected)
    length = risk.blocks.length_m
    random = np.random.default_rng([5, 1])
    cells = risk.terrain.cells
    again = np.zeros(len(found.paths))
    for _ in range(15):
        shape = (cells["expected"] / cells["rate_sd"]) ** 2
        truth = random.gamma(shape, cells["expected"] / shape)
        random.poisson(truth * HISTORY)
        blocks = {
            block
            for path in selection.best(risk.blocks.sum(risk.allocation.to_segments(truth))).paths
            for block in path.blocks.tolist()
        }
        for rank, path in enumerate(found.paths):
            again[rank] += 2 * sum(length[block] for block in path.blocks if block in blocks) >= path.length_m
    found_again, _ = resample(found, risk, selection, resamples=15, random_state=5)
    assert found_again.tolist() == (again / 15).tolist()


def raw_optimism(risk, selection, resamples):
    """Apparent over true incidents of corridors chosen by the counts of a drawn history, rank by rank."""
    cells, random = risk.terrain.cells, np.random.default_rng(9)
    mean, spread = cells["expected"].to_numpy(), cells["rate_sd"].to_numpy()
    sums = np.zeros((2, selection.k))
    for _ in range(resamples):
        truth = random.gamma((mean / spread) ** 2, spread**2 / mean)
        raw = random.poisson(truth * HISTORY) / HISTORY
        of_blocks = [risk.blocks.sum(risk.allocation.to_segments(values)) for values in (raw, truth)]
        for rank, path in enumerate(selection.best(of_blocks[0]).paths):
            sums[:, rank] += [path.total(values) for values in of_blocks]
    return sums[0] / sums[1]


def test_optimism_of_the_model_and_of_raw_counts(network):
    """In cities drawn from the model its own expectation is right within 5 % on average; raw counts promise too much."""
    own, raw = [], []
    for seed in range(8):
        risk = StreetRisk.of(city(seed=seed), network)
        selection = selection_on(risk)
        own.append(
            resample(selection.best(risk.expected), risk, selection, resamples=30, random_state=seed)[1]
        )
        raw.append(raw_optimism(risk, selection, 30))
    assert np.concatenate(own).mean() == pytest.approx(1.0, abs=0.05)
    assert np.mean(raw) > 1.1


def test_surfaces_without_rates_say_so(network):
    """The score has neither stability nor optimism; corrected by the incidents of each cell it has both."""
    table = find_corridors(city(), network, k=1, min_length=200, max_length=500, by="rrs", resamples=3)
    assert table[["rank_stability", "optimism"]].isna().all(axis=None)
    table = find_corridors(
        city(), network, k=1, min_length=200, max_length=500, by="empirical_bayes", resamples=9
    )
    assert 0 < table["rank_stability"][0] <= 1
    assert 0.7 < table["optimism"][0] < 1.4


CHECKS = ["p_length", "p_factors", "rank_stability", "optimism"]


def test_a_seed_is_all_that_changes_the_checks(network):
    """The same seed gives the same checks, another one others; so do streets in another order or drawn backwards."""
    terrain = city()

    def checks(given, seed):
        found = find_corridors(
            terrain,
            given,
            k=2,
            min_length=200,
            max_length=500,
            replicates=39,
            resamples=20,
            random_state=seed,
        )
        return found[CHECKS].to_numpy()

    first = checks(network, 1)
    assert np.array_equal(first, checks(network, 1))
    assert not np.array_equal(first, checks(network, 2))
    mixed = streets().sample(frac=1, random_state=3).reset_index(drop=True)
    mixed.geometry = [line.reverse() if row % 2 else line for row, line in enumerate(mixed.geometry)]
    assert np.allclose(first, checks(mixed, 1), rtol=1e-9)


def test_threads_change_nothing():
    """A city of 2,116 corners searched by four threads has the checks of one thread, to the last bit."""
    risk = StreetRisk.of(city(46), StreetNetwork.from_layer(streets(46)))
    results = []
    for n_threads in (1, 4):
        selection = selection_on(risk, n_threads=n_threads, longest=1000.0)
        assert min(n_threads, risk.network.n_nodes // 1000) == (1 if n_threads == 1 else 2)
        found = selection.best(risk.expected)
        p_values = scan_p_values(found.paths, risk, selection, replicates=3, random_state=0)
        results.append([*p_values.values(), *resample(found, risk, selection, resamples=3, random_state=0)])
    assert all(np.array_equal(*pair) for pair in zip(*results, strict=True))


def test_progress_counts_up_to_the_end(risk):
    """Each drawn city is told, out of twice the replicates (two nulls), and then of the resamples."""
    told = []
    selection = selection_on(risk)
    found = selection.best(risk.expected)
    tell = lambda done, of: told.append((done, of))  # noqa: E731
    scan_p_values(found.paths, risk, selection, replicates=3, random_state=0, progress=tell)
    assert told == [(number, 6) for number in range(1, 7)]
    told.clear()
    resample(found, risk, selection, resamples=4, random_state=0, progress=tell)
    assert told == [(number, 4) for number in range(1, 5)]
