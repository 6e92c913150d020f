"""Chicago burglaries 2017: forecasts of held-out incidents beside the published figures.

    RTMKC_DATA=/path/to/data python benchmarks/history_anchors.py

Half of the incidents teach, the other half scores; 20 fixed halves, and one of them in more detail. Everything is
done on two grids: the library's own (every cell that touches the city), and the published one (cells whose centre
lies in the city), which leaves no excuse for a difference. Writes a section of docs/reference/anchors.md; exit
status 1 if an acceptance fails.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from history_page import GOLDEN, PUBLISHED_20, PUBLISHED_ONE, TEMPLATE, golden_table, one_table, twenty_table
from page import made_by, write_section
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

import rtmkc as rtm
from rtmkc.engine.rows.collapse import collapse
from rtmkc.engine.rows.families import GlmFit, fit_glm
from rtmkc.engine.rows.stepwise import StepwiseFit, search_bic
from rtmkc.engine.sweeps import Design
from rtmkc.inputs.layers import Layer
from rtmkc.model.history.fit import History, fit_history
from rtmkc.model.observations import Observations
from rtmkc.model.where import split_halves
from rtmkc.raster.exposure import measure_exposure

CRS = "EPSG:26916"
CELL = 125.0
N_ROWS = 6876
SPLITS = range(100, 120)
ONE_SPLIT = 1
"""Seed of the published one-split table, which does not name it: its halves have the published sizes, and its BIC."""
BUDGETS = (0.01, 0.02, 0.05, 0.10)
FACTORS = {
    "sanitation": "sanitation",
    "abandoned buildings": "abandonBuildings",
    "liquor retail": "liquorRetail",
    "street lights out": "streetLightsOut",
}
CLASSIC = {"sanitation": 2, "abandoned buildings": 2, "liquor retail": 3, "street lights out": 2}
"""Published classic columns: proximity, reach in half-blocks (cells)."""
KDE_WIDTHS = (0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12)
KDE_FLOORS = (0.02, 0.05, 0.1, 0.2, 0.4)

# ---- what is scored ----------------------------------------------------------------------------------------------


def hit_rate(score: np.ndarray, test: np.ndarray, size: np.ndarray, area_share: float) -> float:
    """Return the share of test incidents in the best `area_share` of the area; ties at the edge by expectation.

    `score` ranks places and is per unit of area; `size` is the area of each cell.
    """
    # Nine digits of the score relative to its mean: a surface that is equal but for rounding is a tie.
    tied, group = np.unique(-np.round(score / score.mean(), 9), return_inverse=True)
    hits, area = (np.bincount(group, weights=values, minlength=tied.size) for values in (test, size))
    reached = np.append(0.0, np.cumsum(area))
    return float(np.interp(area_share * reached[-1], reached, np.append(0.0, np.cumsum(hits))) / test.sum())


def nats(density: np.ndarray, test: np.ndarray, size: np.ndarray) -> float:
    """Return the mean over test incidents of log(forecast / uniform); `density` is per unit of area."""
    expected, uniform = density * size / (density @ size), 1.0 / size.sum()
    hit = test > 0
    return float(test[hit] @ np.log(expected[hit] / (uniform * size[hit])) / test.sum())


def figures(density: np.ndarray, test: np.ndarray, size: np.ndarray, *, proper: bool = True) -> list[float]:
    """Return hit % at the four budgets and nats (NaN unless `density` is a proper forecast, above 0 everywhere)."""
    hits = [100 * hit_rate(density, test, size, share) for share in BUDGETS]
    return [*hits, nats(density, test, size) if proper else np.nan]


# ---- the two grids -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class World:
    """A grid, and the cell of every incident on it."""

    name: str
    grid: rtm.Grid
    incidents: Layer
    cells: np.ndarray
    factors: dict[str, Path]

    def half(self, coin: np.ndarray) -> Observations:
        """Return the incidents whose row of the file has `coin` true."""
        mine = coin[self.incidents.frame.index.to_numpy()]
        cells = self.cells[mine]
        counts = np.bincount(cells, minlength=self.grid.n_cells)
        layer = self.incidents.keep(mine, "the other half")
        return Observations(self.grid, layer, cells, counts, None, measure_exposure(self.grid, None))

    def halves(self, seed: int) -> tuple[Observations, np.ndarray]:
        """Return the training half, and the counts of the other."""
        coin = np.random.default_rng(seed).random(N_ROWS) < 0.5
        return self.half(coin), self.half(~coin).counts

    def risk_factors(self, max_influence: float) -> list[rtm.RiskFactor]:
        """Return the four factors, looked at as far as `max_influence` metres."""
        return [
            rtm.RiskFactor(name, path, max_influence=max_influence) for name, path in self.factors.items()
        ]


def own_world(folder: Path) -> World:
    """The library's grid: every cell that touches the city, weighed by its share inside."""
    area = rtm.StudyArea.from_file(folder / "chicagoBoundary.parquet", study_crs=CRS)
    grid = rtm.Grid.cover(area, block_length=2 * CELL)
    incidents, cells = grid.place(rtm.read_layer(folder / "burglaries17.parquet"))
    return World("touching cells", grid, incidents, cells, _paths(folder))


def published_world(folder: Path) -> World:
    """The published grid: cells whose centre lies in the city, all full; incidents within 125 m are brought in."""
    own = own_world(folder).grid
    outline = rtm.StudyArea.from_file(folder / "chicagoBoundary.parquet", study_crs=CRS)
    column, row = np.meshgrid(np.arange(own.n_columns) + 0.5, np.arange(own.n_rows) + 0.5)
    inside = shapely.contains_xy(outline.geometry, own.west + column * CELL, own.north - row * CELL)
    grid = rtm.Grid(
        outline, CELL, own.west, own.north, own.n_rows, own.n_columns, 2 * CELL, inside, np.ones(inside.sum())
    )
    layer = rtm.read_layer(folder / "burglaries17.parquet").to_crs(CRS)
    points = shapely.get_coordinates(layer.frame.geometry)
    cells = grid.locate(*points.T)
    stray = np.flatnonzero(cells < 0)
    distance, nearest = cKDTree(np.column_stack([grid.eastings, grid.northings])).query(points[stray])
    cells[stray] = np.where(distance <= CELL, nearest, -1)
    return World("centre rule", grid, layer.keep(cells >= 0, "in no cell"), cells[cells >= 0], _paths(folder))


def _paths(folder: Path) -> dict[str, Path]:
    return {name: folder / f"{file}.parquet" for name, file in FACTORS.items()}


# ---- the models --------------------------------------------------------------------------------------------------


def kde_with_floor(grid: rtm.Grid, train: Observations) -> tuple[np.ndarray, float, float]:
    """Return a kernel density per unit of area, its width in cells and the share of its uniform floor.

    Gaussian, divided by the same filter of the city, mixed with a uniform floor; both are chosen by five-fold log score.
    """
    # A fold for every row of the file: both grids then hold out the same incidents.
    fold = np.random.default_rng(0).integers(5, size=N_ROWS)[train.incidents.frame.index.to_numpy()]
    split = [np.bincount(train.cells[fold == k], minlength=grid.n_cells) for k in range(5)]
    uniform = 1 / grid.share.sum()

    def smooth(values: np.ndarray, width: float) -> np.ndarray:
        return grid.to_vector(gaussian_filter(grid.to_raster(values, fill=0.0), width, mode="constant"))

    def density(counts: np.ndarray, width: float, ground: np.ndarray) -> np.ndarray:
        raw = smooth(counts.astype(float), width) / ground
        return raw / (raw @ grid.share)

    def score(width: float) -> list[float]:
        ground = smooth(grid.share, width)
        learned = [density(train.counts - held, width, ground) for held in split]
        return [
            sum(
                held @ np.log((1 - floor) * fit + floor * uniform)
                for held, fit in zip(split, learned, strict=True)
            )
            for floor in KDE_FLOORS
        ]

    scores = np.array([score(width) for width in KDE_WIDTHS])
    best_width, best_floor = np.unravel_index(scores.argmax(), scores.shape)
    width, floor = KDE_WIDTHS[best_width], KDE_FLOORS[best_floor]
    fitted = density(train.counts, width, smooth(grid.share, width))
    return (1 - floor) * fitted + floor * uniform, width, floor


def classic_columns(candidates: rtm.Candidates) -> list[int]:
    """Return the columns of the published classic model among the candidates."""
    columns = candidates.columns
    return [
        int(
            np.flatnonzero(
                (columns["factor"] == factor)
                & (columns["kind"] == "proximity")
                & (columns["influence_m"] == reach * CELL)
            )[0]
        )
        for factor, reach in CLASSIC.items()
    ]


def fit_columns(
    candidates: rtm.Candidates, counts: np.ndarray, family: str = "nb1"
) -> tuple[GlmFit, np.ndarray]:
    """Fit the published classic columns; return the fit and its surface per full cell."""
    design, columns = Design(candidates.codes, candidates.tables), classic_columns(candidates)
    fit = collapse(design, columns, counts, family=family).fit()
    return fit, np.exp(fit.intercept + design.dense(columns) @ fit.coef)


def with_history(world: World, train: Observations, density: np.ndarray) -> tuple[np.ndarray, History]:
    """Return a density times its history, fitted as `RiskForecast` does on incidents without dates."""
    share = world.grid.share
    history = fit_history(world.grid, density * share, train.counts, split_halves(train, 0), weight=share)
    return history.base * np.prod(history.multipliers, axis=0) / share, history


def twenty_splits(world: World) -> dict[str, np.ndarray]:
    """Return (20, 5) figures of every model."""
    size = world.grid.share
    candidates = rtm.build_candidates(world.grid, world.risk_factors(750.0))
    rows: dict[str, list[list[float]]] = {name: [] for name in PUBLISHED_20}
    for seed in SPLITS:
        train, test = world.halves(seed)
        kde, width, floor = kde_with_floor(world.grid, train)
        _, classic = fit_columns(candidates, train.counts)
        alone, _ = with_history(world, train, np.ones(world.grid.n_cells))
        combined, history = with_history(world, train, classic)
        say(
            f"{world.name}, split {seed}: KDE {width:g} cells, floor {floor:g}; tempering {history.tempering:.2f}, "
            f"strengths {', '.join(f'{value:.2f}' for value in history.strengths)}"
        )
        surfaces = dict(zip(PUBLISHED_20, (train.counts, kde, classic, alone, combined), strict=True))
        for name, surface in surfaces.items():
            rows[name].append(figures(surface, test, size, proper=name != "past counts"))
    return {name: np.array(values) for name, values in rows.items()}


def one_split(world: World) -> tuple[dict[str, np.ndarray], rtm.RiskTerrainModel]:
    """Return the figures of every model on the published split, and the classic model that the library itself finds."""
    grid, size = world.grid, world.grid.share
    train, test = world.halves(ONE_SPLIT)
    candidates = rtm.build_candidates(grid, world.risk_factors(750.0))
    why = rtm.RiskTerrainModel("classic").fit(grid, candidates, train)
    surfaces = {"past counts": train.counts.astype(float), "KDE with floor": kde_with_floor(grid, train)[0]}
    surfaces["classic"] = fit_columns(candidates, train.counts)[1]
    design = Design(candidates.codes, candidates.tables)
    surfaces["elastic net, many columns"] = np.exp(design.linear(why.path_.coefs[why.path_.best]))
    better = exchanged(why)
    swapped = np.exp(design.dense(better.columns) @ better.fit.coef)
    surfaces["columns exchanged"] = swapped
    surfaces["columns exchanged x history"] = with_history(world, train, swapped)[0]
    surfaces["history alone"] = with_history(world, train, np.ones(grid.n_cells))[0]
    surfaces["classic x history"] = with_history(world, train, surfaces["classic"])[0]
    for reach, name in ((3000.0, "curves to 3,000 m"), (750.0, "curves to 750 m")):
        where = rtm.RiskForecast().fit(grid, world.risk_factors(reach), train)
        curves = where.candidates_
        coef = where.path_.coefs[where.path_.best]
        surfaces[name] = np.exp(Design(curves.codes, curves.tables).linear(coef))
        surfaces[f"{name} x history"] = where.expected_ / size
        history = where.history_
        say(
            f"{world.name}, {name}: {curves.n_columns} columns, {np.count_nonzero(coef)} non-zero, tempering "
            f"{history.tempering:.2f}, strengths {', '.join(f'{value:.2f}' for value in history.strengths)}"
        )
    scored = {
        name: np.array(figures(surfaces[name], test, size, proper=name != "past counts"))
        for name in PUBLISHED_ONE
    }
    return scored, why


def classic_row(fits: Sequence[GlmFit], flags: np.ndarray, counts: np.ndarray) -> dict[str, float]:
    """Return the quantities of `GOLDEN` for a Poisson and an NB1 fit of the published columns."""
    poisson, nb1 = fits
    values = [
        counts.size,
        counts.sum(),
        poisson.bic(counts.size),
        nb1.bic(counts.size),
        nb1.intercept,
        np.exp(nb1.log_dispersion),
        *np.exp(nb1.coef),
        *flags.mean(axis=0),
        len(np.unique(np.round(flags @ nb1.coef, 9))),
    ]
    return dict(zip(GOLDEN, map(float, values), strict=True))


def library_row(world: World) -> dict[str, float]:
    """Return the published classic row by the library's candidates and collapsed tables."""
    train, _ = world.halves(ONE_SPLIT)
    candidates = rtm.build_candidates(world.grid, world.risk_factors(750.0))
    fits = [fit_columns(candidates, train.counts, family)[0] for family in ("poisson", "nb1")]
    flags = np.column_stack([candidates.column(column) for column in classic_columns(candidates)])
    return classic_row(fits, flags.astype(float), train.counts)


def plain_row(folder: Path) -> dict[str, float]:
    """Return the published classic row from plain arrays: nothing of the library but the engine's likelihood."""
    read = {
        name: gpd.read_parquet(folder / f"{file}.parquet").to_crs(CRS)
        for name, file in {"city": "chicagoBoundary", "burglaries": "burglaries17", **FACTORS}.items()
    }
    city = shapely.union_all(shapely.make_valid(read.pop("city").geometry.to_numpy()))
    points = {name: shapely.get_coordinates(frame.geometry) for name, frame in read.items()}
    west, south, east, north = city.bounds
    columns, rows = (int(np.ceil(extent / CELL)) for extent in (east - west, north - south))
    easting, northing = np.meshgrid(
        west + (np.arange(columns) + 0.5) * CELL, south + (np.arange(rows) + 0.5) * CELL
    )
    inside = shapely.contains_xy(city, easting, northing)
    centres = np.column_stack([easting[inside], northing[inside]])
    number = np.full(inside.shape, -1)
    number[inside] = np.arange(len(centres))
    # Rows of the file keep their place: the coin is tossed for every one.
    column, row = np.floor((points["burglaries"] - [west, south]) / CELL).astype(int).T
    within = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    cell = np.full(N_ROWS, -1)
    cell[within] = number[row[within], column[within]]
    stray = np.flatnonzero(cell < 0)
    distance, nearest = cKDTree(centres).query(points["burglaries"][stray])
    cell[stray] = np.where(distance <= CELL, nearest, -1)
    coin = np.random.default_rng(ONE_SPLIT).random(N_ROWS) < 0.5
    counts = np.bincount(cell[coin & (cell >= 0)], minlength=len(centres))
    flags = np.column_stack(
        [cKDTree(points[name]).query(centres)[0] <= reach * CELL for name, reach in CLASSIC.items()]
    ).astype(float)
    return classic_row(
        [fit_glm(flags, counts, family=family) for family in ("poisson", "nb1")], flags, counts
    )


def exchanged(why: rtm.RiskTerrainModel) -> StepwiseFit:
    """Return the NB1 model of a search that may also exchange a column for another of its factor."""
    candidates = why.candidates_
    return search_bic(
        Design(candidates.codes, candidates.tables),
        why.observations_.counts,
        family="nb1",
        groups=pd.factorize(candidates.columns["factor"])[0],
        candidates=np.flatnonzero(why.path_.coefs[why.path_.best]),
        lower=0.0,
        swaps=True,
    )


# ---- the page ----------------------------------------------------------------------------------------------------


def say(text: str) -> None:
    """Report progress."""
    print(text, file=sys.stderr, flush=True)


def found_by_classic(why: rtm.RiskTerrainModel) -> str:
    """Return the columns that the library's own search ended at, as a line of text."""
    weights = why.weights_[why.weights_["status"] == "in the model"]
    parts = [
        f"{row.factor} {row.kind} {row.influence_m:.0f} m RRV {row.rrv:.2f}"
        for row in weights.itertuples(index=False)
    ]
    bic = why.bic_.set_index("family")["bic"]
    return f"{'; '.join(parts)} (BIC Poisson {bic['poisson']:,.2f}, NB1 {bic['nb1']:,.2f})"


def found_by_exchange(why: rtm.RiskTerrainModel) -> str:
    """Return the same of the search that may exchange columns."""
    better = exchanged(why)
    rows = why.candidates_.columns.iloc[list(better.columns)]
    parts = [
        f"{row.factor} {row.kind} {row.influence_m:.0f} m RRV {np.exp(coef):.2f}"
        for row, coef in zip(rows.itertuples(index=False), better.fit.coef, strict=True)
    ]
    return f"{'; '.join(parts)} (NB1 BIC {better.bic:,.2f})"


def has_published_columns(why: rtm.RiskTerrainModel) -> bool:
    """Return whether the library's own search ended at the published columns."""
    weights = why.weights_[why.weights_["status"] == "in the model"]
    found = {(row.factor, row.kind, row.influence_m) for row in weights.itertuples(index=False)}
    return found == {(factor, "proximity", reach * CELL) for factor, reach in CLASSIC.items()}


def main() -> int:
    """Run everything, write the section, and return the exit status."""
    root = os.environ.get("RTMKC_DATA")
    if not root:
        print(
            "RTMKC_DATA is not set: the anchors need the folder of the real data (chicago/) and were skipped."
        )
        return 0
    folder = Path(root) / "chicago"
    if not (folder / "burglaries17.parquet").exists():
        print(f"Invalid RTMKC_DATA {root!r}. It holds no chicago/burglaries17.parquet.", file=sys.stderr)
        return 1
    touching, centres = own_world(folder), published_world(folder)
    worlds = {"touching": touching, "centres": centres}
    golden, faults = golden_table(plain_row(folder), library_row(centres), library_row(touching))
    told: list[str] = []
    parts: dict[str, str] = {"golden": golden}
    for key, world in worlds.items():
        parts[f"{key}_cells"] = f"{world.grid.n_cells:,}"
        parts[f"{key}_incidents"] = f"{len(world.cells):,}"
        results, why = one_split(world)
        parts[f"{key}_one"], failed = one_table(results)
        faults += [f"{name} (one split, {world.name})" for name in failed]
        parts[f"{key}_classic"], parts[f"{key}_exchanged"] = found_by_classic(why), found_by_exchange(why)
        if not has_published_columns(why):
            faults.append(f"classic finds other columns (one split, {world.name})")
        parts[f"{key}_twenty"], failed, beyond = twenty_table(twenty_splits(world), SPLITS)
        faults += [f"{name} (20 splits, {world.name})" for name in failed]
        told += [f"{name} ({world.name})" for name in beyond]
    parts["verdict"] = (
        "**Everything that the library computes passes.**"
        if not faults
        else f"**These fail: {'; '.join(faults)}.**"
    )
    if told:
        parts["verdict"] += f" Beyond the rule on a single split, of the yardsticks: {'; '.join(told)}."
    parts["made"] = made_by("RTMKC_DATA=... python benchmarks/history_anchors.py")
    section = TEMPLATE.format(**parts)
    print(section)
    write_section("chicago", section)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
