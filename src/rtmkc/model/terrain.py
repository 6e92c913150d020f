"""RiskTerrain: the answers of both models, one row a cell; save and load without the layers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rtmkc.errors import InputError, NoFactorError
from rtmkc.inputs.ledger import Ledger
from rtmkc.model.facts import facts_of
from rtmkc.model.observations import observe
from rtmkc.model.where import RiskForecast
from rtmkc.model.why import Method, RiskTerrainModel
from rtmkc.raster.candidates import build_candidates, build_curves, check_factors
from rtmkc.raster.exposure import measure_exposure
from rtmkc.raster.factors import RiskFactor
from rtmkc.raster.grid import Grid

if TYPE_CHECKING:
    import geopandas as gpd
    from matplotlib.axes import Axes

RANKINGS = ("expected", "rrs")


@dataclass(frozen=True, eq=False)
class Models:
    """The two fitted models of a terrain."""

    why: RiskTerrainModel
    where: RiskForecast

    def layers(self) -> list[Any]:
        """The incidents and the factors, as far as they were used: layers, and of rasters raster layers."""
        features = self.why.candidates_.features.values()
        return [self.why.observations_.incidents, *(one.layer for one in features)]

    def ledgers(self) -> list[Ledger]:
        """What became of every row of the incidents, the factors and the exposure."""
        exposure = self.why.observations_.exposure.ledger
        return [layer.ledger for layer in self.layers()] + ([exposure] if exposure else [])


class RiskTerrain:
    """The result: every cell with its scores, its factors and its history.

    Parameters
    ----------
    why : RiskTerrainModel
        Fitted.
    where : RiskForecast
        Fitted on the same grid and incidents.

    Attributes
    ----------
    grid : Grid
        The cells.
    cells : DataFrame
        One row a cell in cell-vector order: cell_id, row, column, easting, northing (metres), share,
        count, exposure, rrs, environment, area_history, spot_history, expected, lower, upper (incidents over
        `horizon_days`), rate_sd (standard deviation of the rate), neighbourhood (expected before the cell's own
        incidents), and one boolean column ``f_<factor>`` for every factor in the model.
    weights : DataFrame
        ``why.weights_``.
    curves : DataFrame
        ``where.curves_``.
    city_mean : float
        Mean of expected incidents per cell; ``expected = city_mean * environment * area_history * spot_history``.
    horizon_days : int or None
        What `expected` is for; None where the incidents have no period, and then it is for that unknown period.
    models : Models
        The fitted models, ``models.why`` and ``models.where``; a terrain that was loaded has none.
    facts : dict
        n, period, dates, cell size, system, methods, seeds and notes: what every output must say.

    Raises
    ------
    InputError
        If the two models are of different grids or incidents.
    """

    def __init__(self, why: RiskTerrainModel, where: RiskForecast) -> None:
        if why.candidates_.grid != where.candidates_.grid:
            raise InputError("Invalid models. They were fitted on different grids; fit both on one.")
        if not np.array_equal(why.observations_.counts, where.observations_.counts):
            raise InputError("Invalid models. They were fitted to different incidents; fit both to the same.")
        self._models: Models | None = Models(why, where)
        grid, observations = why.candidates_.grid, why.observations_
        surfaces = {
            "share": grid.share,
            "count": observations.counts,
            "exposure": observations.exposure.values,
            "rrs": why.rrs_,
            "environment": where.environment_,
            "area_history": where.area_history_,
            "spot_history": where.spot_history_,
            "expected": where.expected_,
            "lower": where.lower_,
            "upper": where.upper_,
            "rate_sd": where.rate_sd_,
            "neighbourhood": where.neighbourhood_,
        }
        in_model = why.weights_.loc[why.weights_["status"] == "in the model", "factor"]
        flags = {name: why.flags_[name].to_numpy() for name in in_model}
        self._fill(
            grid,
            surfaces,
            flags,
            why.weights_,
            where.curves_,
            where.city_mean_,
            where.horizon_days_,
            facts_of(why, where),
        )

    def _fill(
        self,
        grid: Grid,
        surfaces: dict[str, np.ndarray],
        flags: dict[str, np.ndarray],
        weights: pd.DataFrame,
        curves: pd.DataFrame,
        city_mean: float,
        horizon_days: int | None,
        facts: dict[str, Any],
    ) -> None:
        self.grid, self.weights, self.curves = grid, weights, curves
        self.city_mean, self.horizon_days, self.facts = city_mean, horizon_days, facts
        places = {
            "cell_id": np.arange(grid.n_cells),
            "row": grid.rows,
            "column": grid.columns,
            "easting": grid.eastings,
            "northing": grid.northings,
        }
        factors = {f"f_{name}": np.asarray(values, dtype=bool) for name, values in flags.items()}
        self.cells = pd.DataFrame(places | surfaces | factors)
        self.cells["count"] = self.cells["count"].astype(int)
        self._check_identities()

    def _check_identities(self) -> None:
        cells = self.cells
        product = self.city_mean * cells["environment"] * cells["area_history"] * cells["spot_history"]
        in_model = self.weights[self.weights["status"] == "in the model"]
        score = np.ones(len(cells))
        for factor, rrv in zip(in_model["factor"], in_model["rrv"], strict=True):
            score = score * np.where(cells[f"f_{factor}"], rrv, 1.0)
        for name, value, parts in (
            ("expected", cells["expected"], product),
            ("rrs", cells["rrs"], score / score.min()),
        ):
            # Not an `assert`: what people are shown must be the product of its parts in every run.
            if not np.allclose(value, parts, rtol=1e-12, atol=0):
                raise RuntimeError(f"{name} is not the product of its parts")

    @cached_property
    def factors(self) -> list[str]:
        """Names of the factors in the model, strongest first."""
        return list(self.weights.loc[self.weights["status"] == "in the model", "factor"])

    @property
    def models(self) -> "Models":
        """The fitted models.

        Raises
        ------
        InputError
            If the terrain was loaded: files hold results, not models.
        """
        if self._models is None:
            raise InputError(
                "Invalid terrain. It was loaded from files, which hold results and not models; fit it again."
            )
        return self._models

    def ranking(self, by: str = "expected") -> np.ndarray:
        """Return the values that cells are ranked by; shape (n_cells,).

        Raises
        ------
        NoFactorError
            For "rrs" when no factor is in the model.
        """
        if by not in RANKINGS:
            raise InputError(f"Invalid by {by!r}. Rank by 'expected' (where next) or 'rrs' (why here).")
        if by == "rrs" and not self.factors:
            raise NoFactorError(
                "Invalid by 'rrs'. No factor is in the model, so the relative risk score is 1 everywhere; rank by "
                "'expected', which uses local history, or add factors or incidents."
            )
        return self.cells[by].to_numpy()

    @property
    def horizon(self) -> str:
        """What `expected` is for, in words."""
        return f"{self.horizon_days} days" if self.horizon_days else "the period of the data"

    # Convenience: each a delegation to the room that does the work.
    def hotspots(self, **options: Any) -> "gpd.GeoDataFrame":
        """Return ranked hot-spot cells; see `rtmkc.find_hotspots`."""
        from rtmkc.places.hotspots import find_hotspots

        return find_hotspots(self, **options)

    def corridors(self, streets: Any = None, **options: Any) -> "gpd.GeoDataFrame":
        """Return ranked next corridors; see `rtmkc.find_corridors`."""
        from rtmkc.places.corridors.search import find_corridors

        return find_corridors(self, streets, **options)

    def explain(self, location: Any, **options: Any) -> Any:
        """Explain one place; see `rtmkc.explain`."""
        from rtmkc.places.scoring import explain

        return explain(self, location, **options)

    def score(self, places: Any, **options: Any) -> "gpd.GeoDataFrame":
        """Score places; see `rtmkc.score`."""
        from rtmkc.places.scoring import score

        return score(self, places, **options)

    def plot(self, by: str = "expected", **options: Any) -> "Axes":
        """Draw the risk map; see `rtmkc.plot_risk`."""
        from rtmkc.output.plots import plot_risk

        return plot_risk(self, by=by, **options)

    def to_gpkg(self, path: str | Path, **options: Any) -> None:
        """Write a GeoPackage; see `rtmkc.write_gpkg`."""
        from rtmkc.output.files import write_gpkg

        write_gpkg(path, self, **options)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Save to a folder of JSON and GeoTIFF that `rtmkc.load` reads back, without the layers.

        Raises
        ------
        OutputError
            If the folder exists and `overwrite` is false, or cannot be written.
        """
        from rtmkc.model.saving import save

        save(self, path, overwrite=overwrite)

    def __repr__(self) -> str:
        factors = ", ".join(self.factors) or "no significant factor"
        return (
            f"RiskTerrain({self.grid.n_cells:,} cells, {self.facts['n_incidents']:,} incidents "
            f"{self.facts['period'] or 'of an unknown period'}; {factors})"
        )


def assess(
    grid: Grid,
    factors: Sequence[RiskFactor],
    incidents: Any,
    *,
    method: Method = "guarded",
    exposure: Any = None,
    allow_later_factors: bool = False,
    horizon: int | str = "90 days",
    random_state: int = 0,
    executor: Any = None,
    store: str | Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> RiskTerrain:
    """Fit both models and return the terrain: why here, and where next.

    Parameters
    ----------
    grid, factors, incidents, allow_later_factors, executor, store
        As in `RiskTerrainModel.fit`.
    exposure : Exposure or cell vector, optional
        Adjusts the weights. The forecast ranks places by what is expected there, busy or not, and does not use it.
    method : {"guarded", "classic"}
        Recipe of the weights.
    horizon : duration
        What expected incidents are for.
    random_state : int
        Seed of both models.
    progress : callable, optional
        Called with (step, done, total).

    Returns
    -------
    RiskTerrain
    """

    def step(name: str) -> Callable[[int, int], None] | None:
        return None if progress is None else lambda done, total: progress(name, done, total)

    observations = observe(grid, incidents, exposure=exposure)
    later = allow_later_factors
    # Read each layer once: both models measure the same features.
    resolved = [factor.opened() for factor in check_factors(factors)]
    shared: Any = {"allow_later_factors": later, "executor": executor, "store": store}
    columns = build_candidates(grid, resolved, store=store, progress=step("measuring factors"))
    why = RiskTerrainModel(method, random_state=random_state)
    why.fit(grid, columns, observations, **shared, progress=step("fitting weights"))
    curves = build_curves(grid, resolved, store=store, progress=step("measuring curves"))
    where = RiskForecast(horizon=horizon, random_state=random_state)
    all_places = replace(observations, exposure=measure_exposure(grid, None))
    where.fit(grid, curves, all_places, **shared, progress=step("fitting forecast"))
    return RiskTerrain(why, where)
