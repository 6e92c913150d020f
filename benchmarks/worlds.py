"""Simulated cities in which methods are put to the test: what is real, what the noise is, and what is asked of a fit."""

from dataclasses import dataclass, field

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

import rtmkc as rtm
from rtmkc.engine.rows.families import fit_glm
from rtmkc.model.observations import Observations, observe

NOISES = {
    "P": {},
    "L1": {"noise_variance": 0.5, "noise_range": 4},
    "L2": {"noise_variance": 1.0, "noise_range": 6},
}
ELLIPSE_CELLS = (30.0, 22.0)
PROXY_CELLS = 15


@dataclass(frozen=True)
class World:
    """One kind of city, how many are drawn, and from which seed on."""

    name: str
    truth: str
    noise: str
    n_cities: int
    first_seed: int
    n_factors: int = 6
    is_ellipse: bool = False
    gradient: float = 0.0
    exposure: str = "none"
    methods: tuple[str, ...] = ("classic", "guarded")

    def draw(self, seed: int) -> tuple[rtm.SimulatedCity, rtm.Grid]:
        """Draw a city, and the grid on which it is seen: all of it, or an ellipse."""
        # The ellipse holds 58 % of the square; so both have about 1,000 incidents.
        n_incidents = 1000.0 / (np.pi * np.prod(ELLIPSE_CELLS) / 3600.0 if self.is_ellipse else 1.0)
        city = rtm.simulate_city(
            active=self.truth,
            n_factors=self.n_factors,
            n_incidents=n_incidents,
            gradient=self.gradient,
            snap_to_centres=True,
            random_state=seed,
            **NOISES[self.noise],
        )
        return city, ellipse(city.grid) if self.is_ellipse else city.grid

    def exposure_of(self, city: rtm.SimulatedCity) -> rtm.Exposure | np.ndarray | None:
        """Return what the fit is told of how busy places are."""
        if self.exposure == "none":
            return None
        if self.exposure == "true":
            risk = np.ones(city.grid.n_cells)
            for row in city.truth[city.truth["active"]].itertuples():
                risk = risk * np.where(city.exposed[row.factor], row.rrv, 1.0)
            return city.mean_intensity / risk
        points = pd.concat(list(city.factor_points.values()), ignore_index=True)
        everything = gpd.GeoDataFrame(points, geometry="geometry", crs=city.area.crs)
        width = PROXY_CELLS * city.grid.cell_size
        return rtm.Exposure(everything, name="points of interest", bandwidth=width, role="covariate")


@dataclass(frozen=True, eq=False)
class Judged:
    """What one fit made of one city.

    Attributes
    ----------
    n_false, n_true : int
        Factors in the model that are not real, and that are.
    exact, in_extents : list of bool
        For each true factor found: its own kind and distance, and those among the extents that are not told from it.
    covers, naive_covers : list of bool
        For each weight: whether its interval, and the plain Wald interval, hold the truth.
    widths, errors, inflations : list of float
        Widths of the intervals of log RRV, errors of it, and how much wider than the naive interval.
    null_p : list of float
        Shift p-values of the factors that are not real.
    effective : list of float
        Independent shifts for each factor.
    """

    n_false: int
    n_true: int
    n_undecided: int
    exact: list[bool] = field(default_factory=list)
    in_extents: list[bool] = field(default_factory=list)
    covers: list[bool] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    inflations: list[float] = field(default_factory=list)
    null_p: list[float] = field(default_factory=list)
    effective: list[float] = field(default_factory=list)


def judge(world: World, seed: int) -> dict[str, Judged]:
    """Draw a city and fit every method of the world to it."""
    city, grid = world.draw(seed)
    factors = city.risk_factors()
    candidates = rtm.build_candidates(grid, factors)
    observations = observe(grid, _inside(city, grid), exposure=world.exposure_of(city))
    return {
        method: _judge(rtm.RiskTerrainModel(method).fit(grid, candidates, observations), city, grid)
        for method in world.methods
    }


def _judge(model: rtm.RiskTerrainModel, city: rtm.SimulatedCity, grid: rtm.Grid) -> Judged:
    truth = city.truth.set_index("factor")
    active = set(truth.index[truth["active"]])
    weights = model.weights_.set_index("factor")
    found = weights[weights["status"] == "in the model"].loc[list(model.flags_.columns)]
    flags = model.flags_.to_numpy(dtype=float)
    judged = Judged(
        n_false=len(set(found.index) - active),
        n_true=len(set(found.index) & active),
        n_undecided=int((weights["status"] == "not decided").sum()),
        null_p=[float(p) for name, p in weights["shift_p"].items() if name not in active and np.isfinite(p)],
        effective=[float(n) for n in weights["n_effective_shifts"].dropna()],
    )
    if found.empty:
        return judged
    aim = projection(model.observations_, flags, city.mean_intensity[_cells_of(city, grid)])
    for position, (name, row) in enumerate(found.iterrows()):
        error = row["coef"] - aim[position]
        judged.errors.append(float(error))
        judged.covers.append(bool(np.log(row["lower"]) <= aim[position] <= np.log(row["upper"])))
        judged.widths.append(float(np.log(row["upper"] / row["lower"])))
        if np.isfinite(row["inflation"]):
            judged.inflations.append(float(row["inflation"]))
        if name in active:
            own = truth.loc[name]
            is_own = row["kind"] == own["kind"] and abs(row["influence_m"] - own["influence_m"]) < 1e-6
            judged.exact.append(bool(is_own))
            judged.in_extents.append(_in_words(own) in _extents(row["extent_set"]))
    return judged


def projection(observations: Observations, flags: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return the log RRVs that the chosen columns would have if there were no noise and no end of incidents."""
    exposure = observations.exposure
    if exposure.role == "covariate":
        busy = np.log(exposure.values)
        matrix = np.column_stack([flags, busy, busy**2])
        return fit_glm(matrix, mean).coef[: flags.shape[1]]
    return fit_glm(flags, mean, offset=np.log(exposure.values)).coef


def ellipse(grid: rtm.Grid) -> rtm.Grid:
    """Return the cells of a square grid whose centre lies in the ellipse, all of them whole."""
    middle = grid.west + grid.n_columns * grid.cell_size / 2, grid.north - grid.n_rows * grid.cell_size / 2
    wide, high = (semi * grid.cell_size for semi in ELLIPSE_CELLS)
    across, along = (grid.eastings - middle[0]) / wide, (grid.northings - middle[1]) / high
    inside = grid.to_raster((across**2 + along**2 <= 1).astype(float), fill=0.0) > 0
    angle = np.linspace(0, 2 * np.pi, 361)[:-1]
    outline = shapely.Polygon(
        np.column_stack([middle[0] + wide * np.cos(angle), middle[1] + high * np.sin(angle)])
    )
    area = rtm.StudyArea(outline, grid.crs, "ellipse")
    return rtm.Grid(
        area, grid.cell_size, grid.west, grid.north, grid.n_rows, grid.n_columns, grid.block_length, inside,
        np.ones(int(inside.sum())),
    )  # fmt: skip


def _cells_of(city: rtm.SimulatedCity, grid: rtm.Grid) -> np.ndarray:
    """Which cells of the city's own grid the grid has."""
    return np.asarray(grid.inside[city.grid.inside])


def _inside(city: rtm.SimulatedCity, grid: rtm.Grid) -> gpd.GeoDataFrame:
    """The incidents in the cells of the grid: an outline through a cell would drop some of them."""
    column = ((city.incidents.geometry.x - grid.west) / grid.cell_size).astype(int)
    row = ((grid.north - city.incidents.geometry.y) / grid.cell_size).astype(int)
    return city.incidents[grid.inside[row.clip(0, grid.n_rows - 1), column.clip(0, grid.n_columns - 1)]]


def _in_words(own: pd.Series) -> tuple[str, float]:
    return str(own["kind"]), float(own["influence_m"])


def _extents(text: str) -> set[tuple[str, float]]:
    """Read an extent set back: "proximity 200 m (656 ft), 400 m (1,312 ft); density 400 m (1,312 ft)"."""
    found = set()
    for part in filter(None, text.split("; ")):
        kind, _, reaches = part.partition(" ")
        found |= {(kind, float(reach.split(" m")[0].replace(",", ""))) for reach in reaches.split("), ")}
    return found
