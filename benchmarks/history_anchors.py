"""Chicago burglaries 2017: forecasts of held-out incidents beside the published figures.

    RTMKC_DATA=/path/to/data python benchmarks/history_anchors.py

Half of the incidents teach, the other half scores; 20 fixed halves, and one of them in more detail. Everything is
done on two grids: the library's own (every cell that touches the city), and the published one (cells whose centre
lies in the city), which leaves no excuse for a difference. Writes a section of docs/reference/anchors.md; exit
status 1 if an acceptance fails.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from page import made_by, table, write_section
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

import rtmkc as rtm
from rtmkc.engine.collapse import collapse
from rtmkc.engine.families import GlmFit, fit_glm
from rtmkc.engine.sweeps import Design
from rtmkc.inputs.layers import Layer
from rtmkc.model.history import History, fit_history
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

# Hit % at 1, 2, 5, 10 % of the area, then nats; the mean over the 20 splits, and its standard deviation.
PUBLISHED_20 = {
    "past counts": ((4.2, 6.8, 14.5, 24.5, None), (0.3, 0.3, 0.3, 0.6, None)),
    "KDE with floor": ((4.6, 8.3, 16.8, 27.6, 0.319), (0.3, 0.3, 0.4, 0.5, 0.010)),
    "classic": ((1.97, 3.94, 9.8, 19.7, 0.230), (0.04, 0.08, 0.2, 0.4, 0.007)),
    "history alone": ((5.6, 9.3, 18.3, 29.6, 0.344), (0.3, 0.4, 0.6, 0.7, 0.011)),
    "classic x history": ((5.5, 9.2, 18.3, 29.7, 0.367), (0.3, 0.4, 0.5, 0.7, 0.011)),
}
YARDSTICKS = ("past counts", "KDE with floor")
USUAL_SD = (0.5, 0.5, 0.5, 0.5, 0.01)
NONE = (None, None, None, None, None)
PUBLISHED_ONE = {
    "past counts": (3.9, 6.3, 13.7, 23.0, None),
    "KDE with floor": (4.8, 8.2, 16.7, 27.6, 0.310),
    "classic": (2.0, 4.0, 9.9, 19.8, 0.226),
    "classic, columns as found": NONE,
    "elastic net, many columns": (3.8, 6.6, 13.8, 24.0, 0.293),
    "curves to 3,000 m": (None, None, 15.0, None, 0.335),
    "curves to 750 m": NONE,
    "history alone": (5.3, 9.5, 17.8, 29.2, 0.330),
    "classic x history": (5.1, 9.5, 18.1, 28.6, 0.353),
    "classic as found x history": NONE,
    "curves to 3,000 m x history": (None, None, 18.3, None, 0.397),
    "curves to 750 m x history": NONE,
}
GOLDEN = {
    "cells": (36_042, 0),
    "incidents of the half": (3_388, 0),
    "Poisson BIC": (21_881.24, 0.01),
    "NB1 BIC": (21_630.92, 0.01),
    "NB1 log intercept": (-5.1606, 0.0001),
    "NB1 sigma": (0.1656, 0.0001),
    "RRV sanitation, 250 m": (5.49, 0.01),
    "RRV abandoned buildings, 250 m": (1.78, 0.01),
    "RRV liquor retail, 375 m": (1.41, 0.01),
    "RRV street lights out, 250 m": (2.45, 0.01),
    "share of cells flagged, sanitation": (0.776, 0.0005),
    "share of cells flagged, abandoned buildings": (0.344, 0.0005),
    "share of cells flagged, liquor retail": (0.374, 0.0005),
    "share of cells flagged, street lights out": (0.833, 0.0005),
    "distinct scores": (16, 0),
}
"""The published classic row and its tolerance: half of its last digit, or what the brief of the row allows."""


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
    surfaces["classic, columns as found"] = why.rrs_
    surfaces["classic as found x history"] = with_history(world, train, why.rrs_)[0]
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


def additions_only(world: World) -> str:
    """Return the NB1 model that a search by BIC reaches from all candidates without exchanging columns."""
    train, _ = world.halves(ONE_SPLIT)
    candidates = rtm.build_candidates(world.grid, world.risk_factors(750.0))
    design, factor = Design(candidates.codes, candidates.tables), candidates.columns["factor"].to_numpy()

    def bic(columns: list[int]) -> float:
        return collapse(design, columns, train.counts, family="nb1").fit().bic(world.grid.n_cells)

    chosen: list[int] = []
    best = bic(chosen)
    while True:
        free = np.flatnonzero(~np.isin(factor, factor[chosen]))
        moves = [([*chosen, int(column)]) for column in free]
        moves += [[other for other in chosen if other != column] for column in chosen]
        scores = [bic(columns) for columns in moves]
        if not moves or min(scores) >= best:
            break
        best, chosen = min(scores), moves[int(np.argmin(scores))]
    return f"{'; '.join(candidates.columns['name'].iloc[chosen])} (BIC {best:,.2f})"


# ---- the page ----------------------------------------------------------------------------------------------------


def say(text: str) -> None:
    """Report progress."""
    print(text, file=sys.stderr, flush=True)


def compare(
    ours: np.ndarray,
    published: tuple[float | None, ...],
    deviation: tuple[float | None, ...],
    allowed: float,
) -> Iterator[tuple[str, bool]]:
    """Yield, for hits at four budgets and nats, "ours / published (difference in SD)", and whether it passes."""
    for number, (value, target, sd) in enumerate(zip(ours, published, deviation, strict=True)):
        digits = 3 if number == 4 else 1
        if np.isnan(value):
            yield "-", True
        elif target is None or sd is None:
            yield f"{value:.{digits}f}", True
        else:
            difference = (value - target) / sd
            digits += sd < 0.1 and digits == 1
            passes = difference >= -allowed  # better is no failure
            mark = "" if passes else " **fails**"
            # Adding 0 turns -0.0 into 0.0.
            yield (
                f"{value:.{digits}f} / {target:.{digits}f} ({round(difference, 1) + 0.0:+.1f}){mark}",
                passes,
            )


def rows_of(
    results: dict[str, np.ndarray], cells_of: Callable[[str, np.ndarray], Iterator[tuple[str, bool]]]
) -> tuple[list[list[str]], list[str]]:
    """Return the rows of a table, and the names of the models that fail."""
    rows, failed = [], []
    for name, values in results.items():
        cells = list(cells_of(name, values))
        rows.append([name, *(text for text, _ in cells)])
        if not all(passes for _, passes in cells):
            failed.append(name)
    return rows, failed


SHORT = ["1 %", "2 %", "5 %", "10 %", "nats"]
HEADS = ["model", "hit % at 1 % of area", "2 %", "5 %", "10 %", "nats"]


def twenty_table(results: dict[str, np.ndarray]) -> tuple[str, list[str], list[str]]:
    """Return the table of means over the 20 splits, what fails, and where a yardstick is beyond the rule.

    A mean fails more than one published SD below the published mean, and any single split more than three. The
    yardsticks are computed here and not by the library, so a single split of theirs is told but fails nothing.
    """
    rows, failed = rows_of(
        results, lambda name, values: compare(values.mean(axis=0), *PUBLISHED_20[name], allowed=1.0)
    )
    told = []
    for row, (name, values) in zip(rows, results.items(), strict=True):
        means, deviations = (np.array(part, dtype=float) for part in PUBLISHED_20[name])
        distance = (values - means) / deviations
        split, figure = np.unravel_index(np.nanargmin(distance), distance.shape)
        row.append(f"{distance[split, figure]:+.1f}: {SHORT[figure]}, s = {SPLITS[split]}")
        if distance[split, figure] < -3:
            row[-1] += " **beyond 3**"
            (told if name in YARDSTICKS else failed).append(f"{name}, {SHORT[figure]}, s = {SPLITS[split]}")
    return table([*HEADS, "lowest single split, SD"], rows), failed, told


def one_table(results: dict[str, np.ndarray]) -> tuple[str, list[str]]:
    """Return the table of the one split, and what fails: more than three SD below the published figure."""

    def cells(name: str, values: np.ndarray) -> Iterator[tuple[str, bool]]:
        known = PUBLISHED_20.get(name, (None, USUAL_SD))[1]
        deviation = tuple(own or usual for own, usual in zip(known, USUAL_SD, strict=True))
        return compare(values, PUBLISHED_ONE[name], deviation, allowed=3.0)

    rows, failed = rows_of(results, cells)
    return table(HEADS, rows), failed


def golden_table(
    plain: dict[str, float], centres: dict[str, float], touching: dict[str, float]
) -> tuple[str, list[str]]:
    """Return the table of the classic row, and what fails on the published cells."""
    rows, failed = [], []
    for name, (published, tolerance) in GOLDEN.items():
        form = f",.{4 if tolerance else 0}f"
        rows.append([name, f"{published:,}", *(f"{row[name]:{form}}" for row in (plain, centres, touching))])
        if max(abs(row[name] - published) for row in (plain, centres)) > tolerance:
            rows[-1][0] += " **fails**"
            failed.append(name)
    heads = ["quantity", "published", "plain arrays", "library, centre rule", "library, touching cells"]
    return table(heads, rows), failed


def found_by_classic(why: rtm.RiskTerrainModel) -> str:
    """Return the columns that the library's own search ended at, as a line of text."""
    weights = why.weights_[why.weights_["status"] == "in the model"]
    parts = [
        f"{row.factor} {row.kind} {row.influence_m:.0f} m RRV {row.rrv:.2f}"
        for row in weights.itertuples(index=False)
    ]
    bic = why.bic_.set_index("family")["bic"]
    return f"{'; '.join(parts)} (BIC Poisson {bic['poisson']:,.2f}, NB1 {bic['nb1']:,.2f})"


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
    parts: dict[str, str] = {"golden": golden, "additions": additions_only(centres)}
    for key, world in worlds.items():
        parts[f"{key}_cells"] = f"{world.grid.n_cells:,}"
        parts[f"{key}_incidents"] = f"{len(world.cells):,}"
        results, why = one_split(world)
        parts[f"{key}_one"], failed = one_table(results)
        faults += [f"{name} (one split, {world.name})" for name in failed]
        parts[f"{key}_classic"] = found_by_classic(why)
        parts[f"{key}_twenty"], failed, beyond = twenty_table(twenty_splits(world))
        faults += [f"{name} (20 splits, {world.name})" for name in failed]
        told += [f"{name} ({world.name})" for name in beyond]
    parts["verdict"] = "**Everything passes.**" if not faults else f"**These fail: {'; '.join(faults)}.**"
    if told:
        parts["verdict"] += f" Beyond the rule on a single split, of the yardsticks: {'; '.join(told)}."
    parts["made"] = made_by("RTMKC_DATA=... python benchmarks/history_anchors.py")
    section = TEMPLATE.format(**parts)
    print(section)
    write_section("chicago", section)
    return 1 if faults else 0


TEMPLATE = """## Chicago burglaries 2017: forecasts of incidents held out

6,876 burglaries, 125 m cells, EPSG:26916; factors: abandoned buildings, sanitation, street lights out (311 requests of 2017,
undated) and liquor retail. Half of the incidents teach, the other half is forecast. *Hit %*: share of the held-out
incidents in the best-ranked 1, 2, 5 or 10 % of the city's area, ties at the edge counted by expectation. *Nats*: mean
over held-out incidents of log(forecast / uniform). Every cell of a table reads **ours / published (difference in published
standard deviations)**; figures without a published one stand alone. The factors are of the same year as the incidents: contemporaneous, not a
forecast of the future; and the source had removed duplicates, so the halves understate repeats.

Rule: a mean over 20 splits may lie at most 1 standard deviation below the published mean, any one split at most 3;
better is no failure. A single split of the two yardsticks (past counts and KDE, which the script computes, not the
library) is told and fails nothing. {verdict}

KDE in split 109 is the one figure that comes near the rule or passes it: its cross validation cannot tell 2 cells from 3. On the published grid 3 cells won
in 14 of 20 draws of the folds and give 25.9 % at 10 % of area (-3.4), 2 cells won in 6 and give 26.5 % (-2.3).

### Twenty splits

Training half: `numpy.random.default_rng(s).random(6876) < .5`, s = 100 to 119, rows as in the file. Classic has the
published columns, refitted by NB1 on every half.

The library's own grid, {touching_cells} cells, {touching_incidents} incidents:

{touching_twenty}

The published grid, {centres_cells} cells, {centres_incidents} incidents:

{centres_twenty}

### One split

The published one-split table does not name its split. It is s = 1: the sizes of its halves (3,388 and 3,483 incidents) and its
Poisson BIC (21,881.24) are found there and with no other seed from 0 to 399. Where no standard deviation was published, .5 points and .01 nats are used.

The library's own grid:

{touching_one}

The published grid:

{centres_one}

"Curves" is the environment of `RiskForecast` before history; "x history" is its `expected_`. Curves to 750 m (6 cells, the
default reach of 3 blocks) lose nothing here against curves to 3,000 m (24 cells, as published). The figures published for curves x
history are .397 to .402 nats.

### The classic model of that split

The published row belongs to the training half of s = 1, not to all incidents. *Plain arrays*: cells, distances and counts made in
the script with numpy, scipy and shapely alone, and given to `rtmkc.engine.families.fit_glm`. *Library*: its candidates and collapsed tables.

{golden}

On touching cells BIC is higher mainly because there are more cells, almost all of the added ones without incidents: `classic`, as published, has no
offset for the share of a cell inside the city, so it expects of a sliver what it expects of a full cell.

Which columns are chosen:

- Published: sanitation 250 m, abandoned buildings 250 m, liquor retail 375 m, street lights out 250 m, all proximity (NB1 BIC 21,630.92).
- A search that only adds and drops columns, on the published grid, all candidates: {additions}.
- `RiskTerrainModel("classic")`, published grid: {centres_classic}.
- `RiskTerrainModel("classic")`, own grid: {touching_classic}.

The library also tries to exchange a factor's column for another of the same factor, and so leaves the first choices of the
greedy search behind: its BIC is some 50 lower, with the same four factors at other distances. "Classic, columns as found" in the tables scores that model.

### The two grids

- *Own*: squares of 125 m from the lower left corner of the city's bounding box, half-open `[west, east) x (south, north]`; a cell belongs
  to the city if any of it is inside, and counts with its share (36,043 full cells in sum). Area, forecast and history use the
  shares; past counts are ranked as they are. An incident counts if the boundary polygon covers it: 17 do not.
- *Published*: the same squares; a cell belongs to the city if its centre does, and counts in full. An incident in no cell goes to the
  nearest centre within 125 m (7 do), else it is dropped (5).

KDE with floor: Gaussian of .5 to 12 cells, divided by the same filter of the city, mixed with a uniform floor of 2 to 40 %, both chosen by five-fold log
score. History: as `RiskForecast` fits it on incidents without dates, with five random halves keyed on the row of the file.

{made}
"""

if __name__ == "__main__":
    sys.exit(main())
