"""Cities of named streets with known truth, in which the search for corridors is put to the test."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from scipy.spatial import cKDTree

import rtmkc as rtm
from rtmkc.places.corridors.allocate import Allocation, allocate
from rtmkc.simulate import CRS, SOUTH, WEST, gaussian_field

BLOCK = 122.0
"""Metres between streets in the mean; each is jittered, so that blocks are 100 to 145 m long."""
JITTER = 11.0
FIELD_STEP = 61.0
"""Metres between the points of a noise field."""
CLASSES = {"primary": 10, "secondary": 5}
"""Every tenth street is a main street, every fifth between them a lesser one."""
BIN_DAYS = 45
"""Rates are constant over this many days; the day of the forecast lies between two of them."""
AFTER_DAYS = 90
PIECE = 12.0
"""Metres of street that one point stands for where rates are laid on cells."""


@dataclass(frozen=True)
class Law:
    """What makes risk in a city, beside the factors that the analyst knows.

    Attributes
    ----------
    side : int
        Streets in either direction.
    incidents : float
        Expected in 90 days, city-wide.
    years : tuple of int
        Lengths of the history; cities take turns.
    known, unknown : tuple of float
        What a place of the k-th factor multiplies the risk of a street by right beside it; the effect fades with
        distance. The analyst has the places of the known ones.
    main, lesser : float
        The same for main and lesser streets, which no factor tells of.
    patch_variance, patch_range : float
        Log-Gaussian patches: covariance ``variance * exp(-distance / range)``, metres.
    street_variance, street_range : float
        The same along every street apart from the others.
    block_sd : float
        Standard deviation of the log risk of single blocks.
    odd_share, odd_tail : float
        Share of blocks with a Pareto multiplier of at least 2, and its index: some blocks are far out.
    drift : float
        Standard deviation of the yearly change of the log risk of a place, in patches.
    trend, season : float
        Standard deviation of the yearly change of the log level of the city; log amplitude of its seasons.
    repeats, delay_days : float
        Incidents that each incident brings about on its block, in the mean, and their mean delay.
    """

    side: int = 64
    incidents: float = 1000.0
    years: tuple[int, ...] = (1, 2, 3)
    known: tuple[float, ...] = (3.0, 2.5, 2.0)
    unknown: tuple[float, ...] = (2.5, 1.8)
    main: float = 3.0
    lesser: float = 1.7
    patch_variance: float = 0.4
    patch_range: float = 700.0
    street_variance: float = 0.35
    street_range: float = 800.0
    block_sd: float = 0.8
    odd_share: float = 0.02
    odd_tail: float = 1.8
    drift: float = 0.2
    trend: float = 0.06
    season: float = 0.10
    repeats: float = 0.25
    delay_days: float = 20.0


UNUSED = {"drift": 0.0, "hot_cells": None, "strengths": [1.0], "history_horizons": 1.0}
"""What intervals would be made of."""


@dataclass(frozen=True, eq=False)
class Surface:
    """Cells that corridors are searched in, whoever says what is expected there.

    Attributes
    ----------
    grid : Grid
        The cells.
    cells : DataFrame
        Columns expected (incidents in `horizon_days` days); neighbourhood, rate_sd and count, all 0.
    horizon_days : int
        Days.
    facts : dict
        What the search asks a terrain for its intervals, which are not used here.
    """

    grid: rtm.Grid
    cells: pd.DataFrame = field(repr=False)
    horizon_days: int = AFTER_DAYS
    facts: dict[str, Any] = field(default_factory=lambda: {"where": UNUSED, "period_days": None})

    @classmethod
    def of(cls, grid: rtm.Grid, expected: np.ndarray) -> "Surface":
        """Make a surface of expected incidents alone."""
        nothing = np.zeros(grid.n_cells)
        cells = {
            "expected": expected + nothing,
            "neighbourhood": nothing,
            "rate_sd": nothing,
            "count": nothing,
        }
        return cls(grid, pd.DataFrame(cells))


@dataclass(frozen=True, eq=False)
class City:
    """A city, its history, and the 90 days after it.

    Attributes
    ----------
    grid : Grid
        Cells of half a block.
    streets : GeoDataFrame
        One line a block: name, road_class.
    factor_points : dict of str to GeoDataFrame
        The places of the factors that the analyst knows.
    incidents : GeoDataFrame
        The history: date, geometry.
    day : ndarray of int, shape (n_incidents,)
        Days before the forecast, 1 for the last one.
    after : ndarray of int, shape (n_cells,)
        Incidents of the 90 days after.
    after_on : ndarray of int, shape (n_streets,)
        The same by the line on which they happened.
    rate : ndarray, shape (n_streets,)
        True expected incidents of every line in the 90 days after.
    years : int
        Length of the history.
    """

    grid: rtm.Grid
    streets: gpd.GeoDataFrame = field(repr=False)
    factor_points: Mapping[str, gpd.GeoDataFrame] = field(repr=False)
    incidents: gpd.GeoDataFrame = field(repr=False)
    day: np.ndarray = field(repr=False)
    after: np.ndarray = field(repr=False)
    after_on: np.ndarray = field(repr=False)
    rate: np.ndarray = field(repr=False)
    years: int

    @cached_property
    def network(self) -> rtm.StreetNetwork:
        """The streets as the search wants them."""
        return rtm.StreetNetwork.from_layer(self.streets, crs=self.grid.crs)

    @cached_property
    def allocation(self) -> Allocation:
        """How cells share their incidents out to streets: as `rtm.find_corridors` does it."""
        return allocate(self.grid, self.network)

    @cached_property
    def true_cells(self) -> np.ndarray:
        """True expected incidents of every cell in the 90 days after."""
        return on_cells(self.grid, self.streets.geometry.to_numpy(), self.rate)

    def counts(self, days: float) -> np.ndarray:
        """Return the incidents of the last days of the history in every cell."""
        return count_in(self.grid, self.incidents[self.day <= days].geometry)

    def factors(self) -> list[rtm.RiskFactor]:
        """Return the known factors as an analyst would state them."""
        return [
            rtm.RiskFactor(name, points, max_influence="3 blocks", increment="whole")
            for name, points in self.factor_points.items()
        ]

    def share_of(self, corridor: shapely.LineString) -> np.ndarray:
        """Return the part of every cell that a corridor takes, shape (n_cells,)."""
        on = on_line(self.network.segments.geometry.to_numpy(), corridor)
        share: np.ndarray = np.asarray(self.allocation.weights[:, np.flatnonzero(on)].sum(axis=1)).ravel()
        return share


def on_line(lines: np.ndarray, corridor: shapely.Geometry) -> np.ndarray:
    """Return which lines a corridor runs along: those whose middle lies on it."""
    middles = shapely.line_interpolate_point(lines, 0.5, normalized=True)
    found: np.ndarray = shapely.dwithin(middles, corridor, 1.0)
    return found


def on_cells(grid: rtm.Grid, lines: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Lay what is expected on lines, evenly along each, on the cells; what lies beyond the grid is lost."""
    n_pieces = np.maximum(np.ceil(shapely.length(lines) / PIECE), 1).astype(int)
    line = np.repeat(np.arange(len(lines)), n_pieces)
    number = np.arange(len(line)) - np.repeat(np.cumsum(n_pieces) - n_pieces, n_pieces)
    places = shapely.line_interpolate_point(lines[line], (number + 0.5) / n_pieces[line], normalized=True)
    cells = grid.locate(shapely.get_x(places), shapely.get_y(places))
    inside = cells >= 0
    return np.bincount(cells[inside], (rate / n_pieces)[line][inside], minlength=grid.n_cells)


def count_in(grid: rtm.Grid, places: gpd.GeoSeries) -> np.ndarray:
    """Count places by cell."""
    cells = grid.locate(places.x.to_numpy(), places.y.to_numpy())
    return np.bincount(cells[cells >= 0], minlength=grid.n_cells)


def lay_streets(random: np.random.Generator, side: int) -> gpd.GeoDataFrame:
    """Lay out a bent lattice of named streets, one line a block: gaps in local streets, and two diagonals.

    Returns
    -------
    GeoDataFrame
        name ("12 St", "A12 Ave", "Diagonal 1"), road_class, geometry.
    """
    across, along = (np.arange(side) * BLOCK + random.uniform(-JITTER, JITTER, side) for _ in range(2))
    bend = random.uniform(0, 2 * np.pi, 2)
    east = across[:, None] + 15.0 * np.sin(along[None, :] / 900.0 + bend[0])
    north = along[None, :] + 15.0 * np.sin(across[:, None] / 1100.0 + bend[1])
    nodes = np.stack([WEST + 30.0 + east, SOUTH + 30.0 + north], axis=-1)
    rows: list[tuple[str, str, np.ndarray]] = []
    for number in range(side):
        road_class = next((name for name, each in CLASSES.items() if number % each == each // 2), "local")
        for name, line in ((f"A{number + 1} Ave", nodes[number]), (f"{number + 1} St", nodes[:, number])):
            gaps: set[int] = set()
            if road_class == "local":
                for first in random.integers(0, side, random.poisson(side / 30)):
                    gaps.update(range(first, first + random.integers(1, 4)))
            rows += [
                (name, road_class, line[block : block + 2]) for block in range(side - 1) if block not in gaps
            ]
    for number in range(2):
        length = int(random.integers(side // 3, 2 * side // 3))
        column, row = random.integers(0, side - length, 2)
        step = np.arange(length)
        climb = row + (step if number else length - 1 - step)
        line = nodes[column + step, climb]
        rows += [
            (f"Diagonal {number + 1}", "primary", line[block : block + 2]) for block in range(length - 1)
        ]
    names, classes, lines = zip(*rows, strict=True)
    return gpd.GeoDataFrame(
        {"name": list(names), "road_class": list(classes)},
        geometry=[shapely.LineString(line) for line in lines],
        crs=CRS,
    )


def grid_of(streets: gpd.GeoDataFrame) -> rtm.Grid:
    """Return cells of half a block around the streets."""
    west, south, east, north = streets.total_bounds
    outline = shapely.box(west - 30.0, south - 30.0, east + 30.0, north + 30.0)
    area = rtm.StudyArea.from_geometry(outline, crs=CRS, name="simulated city")
    return rtm.Grid.cover(area, block_length=BLOCK, cell_size=BLOCK / 2)


class Truth:
    """How risk lies on the streets of a city, and how it moves.

    Parameters
    ----------
    law : Law
        What makes risk.
    random : Generator
        Its chance.
    streets : GeoDataFrame
        One line a block.
    """

    def __init__(self, law: Law, random: np.random.Generator, streets: gpd.GeoDataFrame) -> None:
        self.law, self.streets, self._random = law, streets, random
        lines = streets.geometry.to_numpy()
        self.length_m = shapely.length(lines)
        self._middles = shapely.get_coordinates(shapely.line_interpolate_point(lines, 0.5, normalized=True))
        side = law.side * BLOCK
        classes = streets["road_class"].to_numpy()
        log = np.select([classes == "primary", classes == "secondary"], np.log([law.main, law.lesser]), 0.0)
        strengths = (*law.known, *law.unknown)
        self._places_of = [self._places(side) for _ in range(len(strengths) + 1)]
        for number, strength in enumerate(strengths):
            log += np.log(strength) * self._nearness(self._places_of[number], self._reach(number))
        log += self._patches(law.patch_variance, law.patch_range)
        log += self._along_streets(law.street_variance, law.street_range)
        log += law.block_sd * random.standard_normal(len(streets))
        odd = random.random(len(streets)) < law.odd_share
        log += np.where(odd, random.exponential(1 / law.odd_tail, len(streets)), 0.0) + odd * np.log(2.0)
        self.weight = self.length_m * np.exp(log)
        self.change = self._patches(law.drift**2, law.patch_range)

    def add_places(self, number: int, places: np.ndarray) -> None:
        """Add places of the factor of a number, known ones first, with what they do to risk."""
        before = self._places_of[number]
        after = np.vstack([before, places])
        strength, reach = (*self.law.known, *self.law.unknown)[number], self._reach(number)
        self.weight *= strength ** (self._nearness(after, reach) - self._nearness(before, reach))
        self._places_of[number] = after

    @property
    def factor_points(self) -> dict[str, np.ndarray]:
        """The places of the factors that the analyst knows, one of which has nothing to do with risk."""
        known = {f"factor {number}": self._places_of[number] for number in range(len(self.law.known))}
        return known | {"no factor": self._places_of[-1]}

    def rates(self, days: np.ndarray, trend: float, phase: float) -> np.ndarray:
        """Return expected incidents a day, those brought about by others included; shape (n_lines, n_days).

        Days count from the forecast. The level is that of the city at the forecast, without its season.
        """
        place = self.weight[:, None] * np.exp(self.change[:, None] * days / 365.25)
        place *= self.law.incidents / AFTER_DAYS / place.sum(axis=0)
        season = self.law.season * np.sin(2 * np.pi * (days / 365.25 + phase))
        return np.asarray(place * np.exp(trend * days / 365.25 + season))

    def _places(self, side: float) -> np.ndarray:
        # Clusters, most of them along streets.
        random = self._random
        n_parents = max(4, round(60 * (self.law.side / 64) ** 2))
        parents = random.uniform(0, side, (n_parents, 2))
        children = random.poisson(6, n_parents)
        places = np.repeat(parents, children, axis=0) + random.normal(0, 200.0, (children.sum(), 2))
        return places[np.all((places > 0) & (places < side), axis=1)] + np.array([WEST, SOUTH])

    @staticmethod
    def _reach(number: int) -> float:
        return BLOCK * (1.0 + 0.5 * (number % 2))

    def _nearness(self, places: np.ndarray, reach: float) -> np.ndarray:
        # Smooth: no step at any distance, as the model has it.
        distance, _ = cKDTree(places).query(self._middles)
        return np.asarray(np.exp(-0.5 * (distance / reach) ** 2))

    def _patches(self, variance: float, range_m: float) -> np.ndarray:
        size = int(self.law.side * BLOCK / FIELD_STEP) + 3
        drawn = gaussian_field(self._random, size, size, variance=variance, range_cells=range_m / FIELD_STEP)
        column, row = ((self._middles - [WEST, SOUTH]) / FIELD_STEP).astype(int).T
        return np.asarray(drawn[row.clip(0, size - 1), column.clip(0, size - 1)])

    def _along_streets(self, variance: float, range_m: float) -> np.ndarray:
        # A first-order autoregression from block to block of a street, in the order of the file.
        fade = np.exp(-BLOCK / range_m)
        noise = self._random.standard_normal(len(self.streets))
        names = self.streets["name"].to_numpy()
        value = np.empty(len(noise))
        for number, shock in enumerate(noise):
            goes_on = number > 0 and names[number] == names[number - 1]
            value[number] = fade * value[number - 1] + np.sqrt(1 - fade**2) * shock if goes_on else shock
        return np.asarray(np.sqrt(variance) * value)


def draw_city(
    law: Law,
    seed: int,
    *,
    years: int,
    plant: "Callable[[Truth, np.random.Generator], None] | None" = None,
) -> City:
    """Draw streets, truth, history and the 90 days after."""
    street_stream, truth_stream, time_stream, plant_stream = np.random.default_rng(seed).spawn(4)
    streets = lay_streets(street_stream, law.side)
    truth = Truth(law, truth_stream, streets)
    if plant is not None:
        plant(truth, plant_stream)
    return happen(law, time_stream, truth, years)


def happen(law: Law, random: np.random.Generator, truth: Truth, years: int) -> City:
    """Let the incidents of a city happen: background and what each brings about."""
    grid = grid_of(truth.streets)
    history = 365 * years + (years == 3)
    n_bins = -(-(history + 90) // BIN_DAYS)
    first = np.arange(-n_bins, AFTER_DAYS // BIN_DAYS) * BIN_DAYS
    trend, phase = random.normal(0, law.trend), random.uniform()
    rates = truth.rates(first + BIN_DAYS / 2, trend, phase) * BIN_DAYS
    line, number = np.nonzero(drawn := random.poisson(rates * (1 - law.repeats)))
    times = drawn[line, number]
    line, number = np.repeat(line, times), np.repeat(number, times)
    day = first[number] + random.uniform(0, BIN_DAYS, len(line))
    place = random.uniform(0, 1, len(line))
    lines, days, places = [line], [day], [place]
    while len(line):
        more = random.poisson(law.repeats, len(line))
        line = np.repeat(line, more)
        day = np.repeat(day, more) + random.exponential(law.delay_days, len(line))
        place = np.clip(np.repeat(place, more) + random.normal(0, 0.1, len(line)), 0, 1)
        lines, days, places = [*lines, line], [*days, day], [*places, place]
    line, day, place = (np.concatenate(parts) for parts in (lines, days, places))
    kept = (day >= -history) & (day < AFTER_DAYS)
    line, day, place = line[kept], day[kept], place[kept]
    geometry = truth.streets.geometry.to_numpy()
    at = shapely.get_coordinates(shapely.line_interpolate_point(geometry[line], place, normalized=True))
    at += random.normal(0, 8.0, at.shape)
    order = np.argsort(day, kind="stable")
    day, at, line = day[order], at[order], line[order]
    past = day < 0
    points = gpd.GeoSeries(shapely.points(at), crs=CRS)
    incidents = gpd.GeoDataFrame(
        {"date": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.floor(day[past]), unit="D")},
        geometry=points[past].to_numpy(),
        crs=CRS,
    )
    return City(
        grid=grid,
        streets=truth.streets,
        factor_points={
            name: gpd.GeoDataFrame(geometry=shapely.points(places), crs=CRS)
            for name, places in truth.factor_points.items()
        },
        incidents=incidents,
        day=np.ceil(-day[past]).astype(int),
        after=count_in(grid, points[~past]),
        after_on=np.bincount(line[~past], minlength=len(geometry)),
        rate=rates[:, first >= 0].sum(axis=1),
        years=years,
    )
