"""A city with known truth: clustered factors, chosen effects, chosen noise, chosen gradient.

Claims about a fitted risk terrain are tested on cities where the answer is known. The defaults are the
world in which the published error rates of this library were measured.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from scipy.fft import fft2, next_fast_len

from rtmkc.checks import check_choice, check_count, check_number, check_positive
from rtmkc.errors import InputError
from rtmkc.raster.area import StudyArea
from rtmkc.raster.coding import is_dense
from rtmkc.raster.factors import RiskFactor
from rtmkc.raster.grid import Grid
from rtmkc.raster.surfaces import nearest_distance, quartic_density
from rtmkc.units import Period, parse_period

CRS = "EPSG:26915"
WEST, SOUTH = 362_000.0, 4_326_000.0
"""Lower left corner of every simulated city in metres of `CRS`: in Kansas City, so that maps open there."""
EMBEDDING_DOUBLINGS = 4
GRADIENT_WIDTH = 0.25


@dataclass(frozen=True)
class Effect:
    """What one factor does to risk.

    Attributes
    ----------
    kind : {"proximity", "density"}
        Proximity: cells whose centre is within `influence` of a feature are exposed. Density: cells where
        the quartic kernel density of that radius reaches its mean plus two standard deviations.
    influence : float
        In cells.
    rrv : float
        What risk is multiplied by in exposed cells.
    """

    kind: Literal["proximity", "density"]
    influence: float
    rrv: float

    def __post_init__(self) -> None:
        check_choice("kind of effect", self.kind, ("proximity", "density"))
        check_positive("influence of effect (cells)", self.influence)
        check_positive("rrv of effect", self.rrv)


PRESETS: dict[str, dict[int, Effect]] = {
    "alt": {0: Effect("proximity", 4, 2.0), 1: Effect("proximity", 2, 3.0), 2: Effect("density", 4, 2.0)},
    "null": {},
}


@dataclass(frozen=True, eq=False)
class SimulatedCity:
    """A simulated city and the truth about it.

    Attributes
    ----------
    area : StudyArea
        A rectangle.
    grid : Grid
        Its cells; a block is two cells long.
    factor_points : dict of str to GeoDataFrame
        The features of each factor.
    incidents : GeoDataFrame
        Columns incident_id, date, geometry; in order of date.
    intensity : ndarray of float, shape (n_cells,)
        True expected incidents of each cell over the period, noise included.
    mean_intensity : ndarray of float, shape (n_cells,)
        The same averaged over all noise: proportional to the product of the RRVs, summing to `n_incidents`.
    exposed : dict of str to ndarray of bool, shape (n_cells,)
        Which cells each active factor acts on.
    truth : DataFrame
        One row a factor: factor, kind, influence_m, rrv, active.
    period : Period
        The days the incidents fall on.
    """

    area: StudyArea
    grid: Grid
    factor_points: dict[str, gpd.GeoDataFrame] = field(repr=False)
    incidents: gpd.GeoDataFrame = field(repr=False)
    intensity: np.ndarray = field(repr=False)
    mean_intensity: np.ndarray = field(repr=False)
    exposed: dict[str, np.ndarray] = field(repr=False)
    truth: pd.DataFrame = field(repr=False)
    period: Period

    def risk_factors(
        self,
        *,
        kind: Any = "both",
        max_influence: float | str = "3 blocks",
        increment: Any = "whole",
        direction: Any = "aggravating",
    ) -> list[RiskFactor]:
        """Return the factors as an analyst would state them, who does not know the truth.

        The defaults look at proximity and density within 2, 4 and 6 cells: six columns a factor.
        """
        return [
            RiskFactor(
                name, points, kind=kind, max_influence=max_influence, increment=increment, direction=direction
            )
            for name, points in self.factor_points.items()
        ]


def simulate_city(
    *,
    n_rows: int = 60,
    n_columns: int = 60,
    cell_size: float = 100.0,
    n_factors: int = 6,
    active: str | Mapping[int, Any] | Sequence[Any] = "alt",
    n_incidents: float = 1000.0,
    noise_variance: float = 0.0,
    noise_range: float = 4.0,
    gradient: float = 0.0,
    snap_to_centres: bool = False,
    n_parents: float = 8.0,
    n_children: float = 5.0,
    spread: float = 3.0,
    period: str | Period = "2021/2023",
    random_state: int | np.random.Generator = 0,
) -> SimulatedCity:
    """Draw a city whose truth is known.

    Parameters
    ----------
    n_rows, n_columns : int
        Cells from north to south and from west to east.
    cell_size : float
        Side of a cell in metres; a block is two cells.
    n_factors : int
        Number of factors, named "factor 0" and up.
    active : {"alt", "null"}, mapping of int to Effect, or sequence of Effect
        Which factors matter, and how: number of the factor to an `Effect` or a tuple (kind, influence in
        cells, rrv); a sequence serves the first factors. "alt": proximity within 4 cells RRV 2, within 2
        cells RRV 3, density of radius 4 cells RRV 2. "null": none.
    n_incidents : float
        Expected incidents over the period, averaged over noise.
    noise_variance : float
        Variance of the Gaussian noise in the log intensity; 0 is none.
    noise_range : float
        Its range in cells: the covariance is ``variance * exp(-distance / range)``.
    gradient : float
        Log of how much busier the centre is than the outskirts, for factors and incidents alike; 0 is none.
    snap_to_centres : bool
        Put the features at the centres of their cells.
    n_parents, n_children : float
        Expected clusters of a factor, and points of a cluster.
    spread : float
        Standard deviation of a cluster, in cells.
    period : str or Period
        Dates are uniform over these days.
    random_state : int or numpy.random.Generator
        Points, noise, counts and places draw from streams of their own: cities that differ only in their
        noise have the same factors.

    Returns
    -------
    SimulatedCity

    Raises
    ------
    InputError
        If a value is out of its range, an effect names no factor, or the noise is too long for the grid.

    Notes
    -----
    Factors are Thomas processes [1]_ without points beyond the boundary; fewer than two parents, or than
    ten points inside, are drawn again. Counts are Poisson with mean ``m exp(Z - variance / 2)``, ``m``
    proportional to the product of the RRVs [2]_; Z is an exact draw by circulant embedding [3]_. The
    gradient multiplies the density of parents and ``m`` by ``exp(gradient * exp(-r^2 / (2 s^2)))``, r from
    the middle, s a quarter of the shorter side.

    References
    ----------
    .. [1] Thomas, M. (1949). A generalization of Poisson's binomial limit for use in ecology. Biometrika 36.
    .. [2] Moller, J., Syversveen, A. R. and Waagepetersen, R. P. (1998). Log Gaussian Cox processes.
       Scandinavian Journal of Statistics 25.
    .. [3] Dietrich, C. R. and Newsam, G. N. (1997). Fast and exact simulation of stationary Gaussian
       processes through circulant embedding of the covariance matrix. SIAM J. Sci. Comput. 18.

    Examples
    --------
    >>> city = simulate_city(active={1: ("proximity", 2, 3.0)}, n_factors=2, random_state=7)
    >>> print(city.truth.to_string(index=False))
      factor      kind  influence_m  rrv  active
    factor 0      None          NaN  1.0   False
    factor 1 proximity        200.0  3.0    True
    """
    n_rows = check_count("n_rows", n_rows, minimum=2)
    n_columns = check_count("n_columns", n_columns, minimum=2)
    cell_size = check_positive("cell_size", cell_size)
    n_factors = check_count("n_factors", n_factors)
    effects = _effects(active, n_factors)
    n_incidents = check_positive("n_incidents", n_incidents)
    noise_variance = _check_not_negative("noise_variance", noise_variance)
    noise_range = check_positive("noise_range (cells)", noise_range)
    gradient = _check_not_negative("gradient", gradient)
    law = (
        check_positive("n_parents", n_parents),
        check_positive("n_children", n_children),
        check_positive("spread (cells)", spread),
    )
    if isinstance(period, str):
        period = parse_period(period)
    points_stream, noise_stream, count_stream, place_stream = np.random.default_rng(random_state).spawn(4)

    grid = _grid(n_rows, n_columns, cell_size)
    points: dict[str, gpd.GeoDataFrame] = {}
    for number in range(n_factors):
        coordinates = thomas_points(points_stream, n_rows, n_columns, *law, gradient=gradient)
        if snap_to_centres:
            coordinates = np.floor(coordinates) + 0.5
        positions = np.array([grid.west, grid.north - n_rows * cell_size]) + coordinates * cell_size
        points[f"factor {number}"] = gpd.GeoDataFrame(geometry=shapely.points(positions), crs=grid.crs)

    exposed: dict[str, np.ndarray] = {}
    mean = np.exp(gradient * _centrality(_cell_units(grid), n_rows, n_columns))
    for number, effect in sorted(effects.items()):
        name = f"factor {number}"
        exposed[name] = _exposed(grid, points[name].geometry.to_numpy(), effect)
        mean = mean * np.where(exposed[name], effect.rrv, 1.0)
    mean *= n_incidents / mean.sum()
    intensity = mean
    if noise_variance > 0:
        noise = gaussian_field(
            noise_stream, n_rows, n_columns, variance=noise_variance, range_cells=noise_range
        )
        intensity = mean * np.exp(grid.to_vector(noise) - noise_variance / 2)

    for values in (mean, intensity, *exposed.values()):
        values.setflags(write=False)
    cells = np.repeat(np.arange(grid.n_cells), count_stream.poisson(intensity))
    return SimulatedCity(
        area=grid.area,
        grid=grid,
        factor_points=points,
        incidents=_incidents(place_stream, grid, cells, period),
        intensity=intensity,
        mean_intensity=mean,
        exposed=exposed,
        truth=_truth(effects, n_factors, cell_size),
        period=period,
    )


def thomas_points(
    generator: np.random.Generator,
    n_rows: int,
    n_columns: int,
    n_parents: float,
    n_children: float,
    spread: float,
    *,
    gradient: float = 0.0,
) -> np.ndarray:
    """Draw a Thomas cluster process on a rectangle whose unit is the cell.

    Returns
    -------
    ndarray of float, shape (n_points, 2)
        Columns and rows counted from the lower left corner, in cells, all inside.
    """
    size = np.array([n_columns, n_rows], dtype=float)
    for _ in range(10_000):
        parents = _scatter(generator, generator.poisson(n_parents), size, gradient)
        if len(parents) < 2:
            continue
        children = generator.poisson(n_children, len(parents))
        points = np.repeat(parents, children, axis=0) + generator.normal(0.0, spread, (children.sum(), 2))
        points = points[np.all((points > 0) & (points < size), axis=1)]
        if len(points) >= 10:
            return points
    raise InputError(
        f"Invalid n_parents {n_parents:g} and n_children {n_children:g}. Almost no factor drawn so has ten "
        "points in the city; raise them, or lower spread."
    )


def gaussian_field(
    generator: np.random.Generator, n_rows: int, n_columns: int, *, variance: float, range_cells: float
) -> np.ndarray:
    """Draw a stationary Gaussian field of mean 0 on a raster, exactly.

    The covariance is ``variance * exp(-distance / range_cells)``, distance in cells.

    Returns
    -------
    ndarray of float, shape (n_rows, n_columns)

    Raises
    ------
    InputError
        If the range is so long that no embedding of a tractable size is positive.
    """
    shape, root = _embedding(n_rows, n_columns, float(range_cells))
    white = generator.standard_normal(shape) + 1j * generator.standard_normal(shape)
    drawn: np.ndarray = math.sqrt(variance) * fft2(root * white).real[:n_rows, :n_columns]
    return drawn


@lru_cache(maxsize=8)
def _embedding(n_rows: int, n_columns: int, range_cells: float) -> tuple[tuple[int, int], np.ndarray]:
    # Square root of the eigenvalues of the covariance on a torus, which must not be negative.
    for doubling in range(EMBEDDING_DOUBLINGS):
        height, width = (next_fast_len(2 * n * 2**doubling) for n in (n_rows, n_columns))
        down = np.minimum(np.arange(height), height - np.arange(height))
        across = np.minimum(np.arange(width), width - np.arange(width))
        covariance = np.exp(-np.hypot(down[:, None], across[None, :]) / range_cells)
        eigenvalues = fft2(covariance).real
        if eigenvalues.min() >= -1e-12 * eigenvalues.max():
            root = np.sqrt(np.clip(eigenvalues, 0.0, None) / (height * width))
            root.setflags(write=False)
            return (height, width), root
    raise InputError(
        f"Invalid noise_range {range_cells:g} cells. It is too long to draw noise exactly on a grid of "
        f"{n_rows} x {n_columns} cells; use a shorter range or a larger grid."
    )


@lru_cache(maxsize=8)
def _grid(n_rows: int, n_columns: int, cell_size: float) -> Grid:
    outline = shapely.box(WEST, SOUTH, WEST + n_columns * cell_size, SOUTH + n_rows * cell_size)
    area = StudyArea.from_geometry(outline, crs=CRS, name="simulated city")
    return Grid.cover(area, block_length=2 * cell_size, cell_size=cell_size)


def _effects(active: str | Mapping[int, Any] | Sequence[Any], n_factors: int) -> dict[int, Effect]:
    if isinstance(active, str):
        given: Mapping[int, Any] = PRESETS[check_choice("active", active, tuple(PRESETS))]
    elif isinstance(active, Mapping):
        given = active
    else:
        given = dict(enumerate(active))
    effects: dict[int, Effect] = {}
    for number, effect in given.items():
        number = check_count("number of an active factor", number, minimum=0)
        if number >= n_factors:
            raise InputError(
                f"Invalid active factor {number}. The city has {n_factors} factors, numbered from 0; "
                "raise n_factors."
            )
        if not isinstance(effect, Effect):
            try:
                kind, influence, rrv = effect
            except (TypeError, ValueError):
                raise InputError(
                    f"Invalid effect {effect!r} of factor {number}. "
                    "Give an Effect, or (kind, influence in cells, rrv)."
                ) from None
            effect = Effect(kind, influence, rrv)
        effects[number] = effect
    return effects


def _truth(effects: dict[int, Effect], n_factors: int, cell_size: float) -> pd.DataFrame:
    known = [effects.get(number) for number in range(n_factors)]
    return pd.DataFrame(
        {
            "factor": [f"factor {number}" for number in range(n_factors)],
            "kind": pd.Series([effect.kind if effect else None for effect in known], dtype=object),
            "influence_m": [effect.influence * cell_size if effect else math.nan for effect in known],
            "rrv": [effect.rrv if effect else 1.0 for effect in known],
            "active": [effect is not None for effect in known],
        }
    )


def _check_not_negative(name: str, value: float) -> float:
    number = check_number(name, value)
    if number < 0:
        raise InputError(f"Invalid {name} {value!r}. It must be 0 or more.")
    return number


def _scatter(generator: np.random.Generator, count: int, size: np.ndarray, gradient: float) -> np.ndarray:
    # Rejection from the uniform: the gradient's density is largest in the middle.
    kept = np.empty((0, 2))
    while len(kept) < count:
        proposed = generator.uniform(0.0, 1.0, (count, 2)) * size
        if gradient:
            centrality = _centrality(proposed, int(size[1]), int(size[0]))
            proposed = proposed[generator.uniform(size=count) < np.exp(gradient * (centrality - 1.0))]
        kept = np.concatenate([kept, proposed])
    return kept[:count]


def _centrality(positions: np.ndarray, n_rows: int, n_columns: int) -> np.ndarray:
    away = positions - np.array([n_columns, n_rows]) / 2
    width = GRADIENT_WIDTH * min(n_rows, n_columns)
    centrality: np.ndarray = np.exp(-(away**2).sum(axis=1) / (2 * width**2))
    return centrality


def _cell_units(grid: Grid) -> np.ndarray:
    return np.column_stack([grid.columns + 0.5, grid.n_rows - grid.rows - 0.5])


def _exposed(grid: Grid, geometries: np.ndarray, effect: Effect) -> np.ndarray:
    # The same rules as the candidates: what is true can be stated by one of their columns.
    influence = effect.influence * grid.cell_size
    if effect.kind == "proximity":
        within: np.ndarray = np.isfinite(nearest_distance(grid, geometries, influence))
        return within
    density = quartic_density(grid, geometries, influence)
    return is_dense(density, float(density.mean() + 2 * density.std()))


def _incidents(
    generator: np.random.Generator, grid: Grid, cells: np.ndarray, period: Period
) -> gpd.GeoDataFrame:
    within = generator.uniform(size=(len(cells), 2)) - 0.5
    eastings = grid.eastings[cells] + within[:, 0] * grid.cell_size
    northings = grid.northings[cells] - within[:, 1] * grid.cell_size
    days = generator.integers(0, period.days, len(cells))
    order = np.argsort(days, kind="stable")
    return gpd.GeoDataFrame(
        {
            "incident_id": [f"S{number:06d}" for number in range(len(cells))],
            "date": pd.Timestamp(period.start) + pd.to_timedelta(days[order], unit="D"),
        },
        geometry=shapely.points(eastings[order], northings[order]),
        crs=grid.crs,
    )
