"""The risk of a terrain on its streets: nothing lost or counted twice, intervals that hold, rates as published."""

import itertools
from dataclasses import dataclass, field

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from scipy import optimize, stats

from rtmkc.errors import InputError, NoFactorError
from rtmkc.places.corridors.network.streets import StreetNetwork
from rtmkc.places.corridors.risk import SURFACES, StreetRisk, empirical_bayes
from rtmkc.raster.grid import Grid, StudyArea

N_AVENUES, BLOCK = 9, 100.0
WEST, SOUTH = 360_000.0, 4_330_000.0


@dataclass
class Terrain:
    grid: Grid
    cells: pd.DataFrame
    horizon_days: int | None = 90
    drift: float = 0.3
    period_days: int | None = 360
    has_factors: bool = True
    facts: dict = field(default_factory=dict)

    def __post_init__(self):
        where = {"drift": self.drift, "hot_cells": None, "strengths": [2.0], "history_horizons": 4.0}
        self.facts = {"where": where, "period_days": self.period_days}

    def ranking(self, by):
        if not self.has_factors:
            raise NoFactorError("Invalid by 'rrs'. No factor is in the model.")
        return self.cells[by].to_numpy()


def city(seed=0, **more):
    """Return a terrain of 50 m cells, 400 m of which lie beyond the last street."""
    side = (N_AVENUES - 1) * BLOCK
    area = StudyArea.from_geometry(
        shapely.box(WEST, SOUTH, WEST + side + 400, SOUTH + side + 20), crs="EPSG:32615"
    )
    grid = Grid.cover(area, cell_size=50)
    random = np.random.default_rng(seed)
    expected = random.gamma(0.6, 0.5, grid.n_cells) * grid.share
    cells = pd.DataFrame({"expected": expected, "share": grid.share})
    cells["rrs"] = 1.0 + 2.0 * (random.random(grid.n_cells) < 0.3)
    cells["count"] = random.poisson(expected * random.gamma(2.0, 0.5, grid.n_cells) * 4)
    cells["rate_sd"] = expected * random.uniform(0.3, 1.2, grid.n_cells)
    cells["neighbourhood"] = expected
    return Terrain(grid, cells, **more)


def streets():
    """Return a lattice of streets and avenues, a line a block."""
    names, lines = [], []
    for line, block in itertools.product(range(N_AVENUES), range(N_AVENUES - 1)):
        across, begin, end = line * BLOCK, block * BLOCK, (block + 1) * BLOCK
        names += [f"{line + 1} St", f"{chr(65 + line)} Ave"]
        lines.append(shapely.LineString([(WEST + begin, SOUTH + across), (WEST + end, SOUTH + across)]))
        lines.append(shapely.LineString([(WEST + across, SOUTH + begin), (WEST + across, SOUTH + end)]))
    return gpd.GeoDataFrame({"name": names}, geometry=lines, crs=32615)


@pytest.fixture(scope="module")
def terrain():
    return city()


@pytest.fixture(scope="module")
def network():
    return StreetNetwork.from_layer(streets())


@pytest.fixture(scope="module")
def risk(terrain, network):
    return StreetRisk.of(terrain, network)


def street_blocks(risk, name):
    """The blocks of a street."""
    return np.flatnonzero(risk.blocks.names[risk.blocks.street] == name)


def hand_share(terrain, network, name):
    """The part of every cell that a street takes, by the definition: pieces, distances, a kernel."""
    grid = terrain.grid
    width = 50 / np.sqrt(6)
    claims = {}
    for street, line in zip(network.segments["name"], network.segments.geometry, strict=True):
        n_pieces = int(np.ceil(line.length / (width / 2) - 1e-9))
        for piece in range(n_pieces):
            place = line.interpolate((piece + 0.5) / n_pieces, normalized=True)
            away = np.hypot(grid.eastings - place.x, grid.northings - place.y)
            claim = np.where(away <= 150, np.exp(-(away**2) / (2 * width**2)), 0) * line.length / n_pieces
            claims[street] = claims.get(street, 0) + claim
    total = sum(claims.values())
    return np.divide(claims[name], total, out=np.zeros(grid.n_cells), where=total > 0)


@pytest.mark.parametrize("by", SURFACES)
def test_blocks_and_residual_are_the_cells(terrain, network, by):
    """On every surface the blocks have what all cells expect, less what lies in cells far from any street."""
    risk = StreetRisk.of(terrain, network, by=by)
    lines = shapely.union_all(streets().geometry.to_numpy())
    far = shapely.distance(shapely.points(terrain.grid.eastings, terrain.grid.northings), lines) > 150
    assert 20 < far.sum() < terrain.grid.n_cells / 2
    surface = terrain.cells["expected"].to_numpy()
    if by != "expected":
        score = (terrain.cells["rrs"] * terrain.cells["share"]).to_numpy()
        surface = score * surface.sum() / score.sum()
    if by == "empirical_bayes":
        surface = risk.rates.mean
    if by == "empirical_bayes":
        surface = risk.rates.mean
    assert risk.expected.sum() + surface[far].sum() == pytest.approx(
        terrain.cells["expected"].sum(), rel=1e-9
    )
    assert risk.incidents.sum() + terrain.cells["count"][far].sum() == pytest.approx(
        terrain.cells["count"].sum()
    )
    assert f"({surface[far].sum() / surface.sum():.1%}) lie in cells with no street" in risk.notes[-1]
    assert (risk.expected >= 0).all()


def test_cell_weights_are_the_parts_that_streets_take(terrain, network, risk):
    """The part of a cell that a street takes is the kernel's by hand; all streets together take every cell near one."""
    one = risk.cell_weights(street_blocks(risk, "4 St"))
    assert np.allclose(one, hand_share(terrain, network, "4 St"), atol=1e-12)
    everything = risk.cell_weights(np.arange(risk.blocks.n_blocks))
    assert np.allclose(everything, risk.allocation.has_street)
    assert one @ terrain.cells["expected"] == pytest.approx(risk.expected[street_blocks(risk, "4 St")].sum())
    blocks = street_blocks(risk, "4 St")
    shares = np.linspace(0.1, 1.0, len(blocks))
    parts = risk.cell_weights(blocks, shares)
    assert parts @ terrain.cells["expected"] == pytest.approx(risk.expected[blocks] @ shares)


@pytest.mark.parametrize("drift", [0.0, 0.3, 1.2])
def test_interval_holds_what_is_drawn_from_its_model_and_no_more(network, drift):
    """Rates of cells gamma, each times a drift of its own, counts Poisson: the interval holds 90 % of corridors' counts,
    and its ends are those of the counts drawn, within one incident.
    """
    terrain = city(3, drift=drift)
    risk = StreetRisk.of(terrain, network)
    random = np.random.default_rng(1)
    mean, spread = terrain.cells["expected"].to_numpy(), terrain.cells["rate_sd"].to_numpy()
    some = mean > 0
    rates = np.zeros((20_000, len(mean)))
    rates[:, some] = random.gamma((mean / spread)[some] ** 2, (spread**2 / mean)[some], (20_000, some.sum()))
    if drift:
        rates *= random.gamma(1 / drift, drift, rates.shape)
    for name, n_blocks in (("1 St", 8), ("4 St", 5), ("E Ave", 8), ("I Ave", 2)):
        blocks = street_blocks(risk, name)[:n_blocks]
        shares = np.ones(len(blocks))
        shares[-1] = 0.4
        counts = random.poisson(rates @ risk.cell_weights(blocks, shares))
        lower, upper = risk.interval(blocks, shares)
        assert np.mean((counts >= lower) & (counts <= upper)) >= 0.895
        ends = np.quantile(counts, [0.05, 0.95])
        assert np.abs(np.array([lower, upper]) - ends).max() <= 1


def test_interval_of_streets_corrected_by_their_incidents(network):
    """With empirical Bayes a corridor's rate is a sum of parts of independent gammas, of shape a + y, one a cell."""
    terrain = city(4)
    risk = StreetRisk.of(terrain, network, by="empirical_bayes")
    random = np.random.default_rng(2)
    blocks = street_blocks(risk, "4 St")
    shape = risk.rates.strength + terrain.cells["count"].to_numpy()
    rates = random.gamma(shape, risk.rates.mean / shape, (20_000, len(shape)))
    counts = random.poisson(rates @ risk.cell_weights(blocks))
    ends = np.quantile(counts, [0.05, 0.95])
    assert np.abs(np.array(risk.interval(blocks)) - ends).max() <= 1


def test_no_interval_for_a_score_and_for_nothing(terrain, network, risk):
    """The relative risk score is no rate, and a stretch without blocks expects nothing: neither has an interval."""
    score = StreetRisk.of(terrain, network, by="rrs")
    assert np.isnan(score.interval(np.array([0, 1]))).all()
    assert np.isnan(risk.interval(np.array([], dtype=int))).all()


def test_empirical_bayes_is_its_formula_with_the_likeliest_shape():
    """Rates are (a + y) / (a / m + t) up to the level, with a where scipy's negative binomial is likeliest."""
    random = np.random.default_rng(5)
    prior, length = random.gamma(2.0, 1.0, 400), 4.0
    seen = random.poisson(prior * 0.7 * length * random.gamma(1.5, 1 / 1.5, 400)).astype(float)
    rates = empirical_bayes(prior, seen, length, surface="rrs")
    mean = prior * seen.sum() / (prior.sum() * length)  # the score at the level of the incidents seen

    def surprise(log_shape):
        shape = np.exp(log_shape)
        return -stats.nbinom.logpmf(seen, shape, shape / (shape + mean * length)).sum()

    shape = np.exp(optimize.minimize_scalar(surprise, bracket=(0.0, 1.0)).x)
    assert 1.0 < shape < 2.3
    assert rates.strength == pytest.approx(shape, rel=1e-4)
    formula = (shape + seen) / (shape / mean + length)
    assert np.allclose(rates.mean, formula * prior.sum() / formula.sum(), rtol=1e-4)
    assert rates.mean.sum() == pytest.approx(prior.sum())
    # the posterior of a gamma-Poisson rate has shape a + y
    assert np.allclose((rates.mean / rates.spread) ** 2, shape + seen, rtol=1e-4)


def test_a_score_that_says_everything_is_hardly_corrected():
    """Where incidents are Poisson around the score, its correction is small; where the score is silent, it is large."""
    random = np.random.default_rng(6)
    prior = random.gamma(2.0, 1.0, 500)
    right = random.poisson(prior * 4).astype(float)
    assert np.abs(empirical_bayes(prior, right, 4.0, surface="rrs").mean / prior - 1).mean() < 0.1
    silent = empirical_bayes(np.full(500, prior.mean()), right, 4.0, surface="rrs")
    assert np.corrcoef(silent.mean, prior)[0, 1] > 0.9


def test_history_is_never_counted_twice(network):
    """The forecast, which has the incidents in it already, cannot be corrected by them again, whatever calls for it."""
    prior = np.ones(3)
    with pytest.raises(RuntimeError, match="expected carries history"):
        empirical_bayes(prior, prior, 1.0, surface="expected")
    one, other = city(7), city(7)
    other.cells["count"] = one.cells["count"].to_numpy()[::-1].copy()
    for by, changes in (("expected", False), ("rrs", False), ("empirical_bayes", True)):
        first, second = (StreetRisk.of(terrain, network, by=by).expected for terrain in (one, other))
        assert np.array_equal(first, second) is not changes, by


def test_score_takes_only_its_level_from_the_forecast(network):
    """By "rrs" the blocks have the score's pattern at the forecast's total: where the forecast lies is of no matter."""
    one, other = city(8), city(8)
    other.cells["expected"] = one.cells["expected"].to_numpy()[::-1].copy()
    first, second = (StreetRisk.of(terrain, network, by="rrs") for terrain in (one, other))
    assert np.allclose(first.expected, second.expected)
    twice = city(8)
    twice.cells["expected"] *= 2
    assert np.allclose(StreetRisk.of(twice, network, by="rrs").expected, 2 * first.expected)


def test_a_terrain_on_its_streets_is_made_once(terrain, network, risk):
    """The same surface comes back as it is; another surface keeps the allocation; another terrain keeps the streets."""
    assert StreetRisk.of(terrain, risk) is risk
    score = StreetRisk.of(terrain, risk, by="rrs")
    assert score.allocation is risk.allocation
    other = city(9)
    moved = StreetRisk.of(other, risk)
    assert moved.network is network
    assert np.array_equal(moved.expected, StreetRisk.of(other, network).expected)


def test_what_a_surface_needs_is_said(network):
    """No factor, no period, an unknown surface: one sentence each; without incidents nothing is corrected."""
    with pytest.raises(NoFactorError, match="No factor is in the model"):
        StreetRisk.of(city(has_factors=False), network, by="rrs")
    with pytest.raises(
        InputError, match="Invalid by 'empirical_bayes'. The incidents of this terrain have no period"
    ):
        StreetRisk.of(city(period_days=None), network, by="empirical_bayes")
    with pytest.raises(InputError, match="Invalid by 'score'. It must be one of"):
        StreetRisk.of(city(), network, by="score")
    quiet = city()
    quiet.cells["count"] = 0
    score = StreetRisk.of(quiet, network, by="rrs").expected
    assert np.allclose(StreetRisk.of(quiet, network, by="empirical_bayes").expected, score)
    quiet.cells["expected"] = 0.0
    assert (StreetRisk.of(quiet, network, by="empirical_bayes").expected == 0).all()
