"""Where next? RiskForecast: expected incidents, from curves of the environment times local history."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from rtmkc.checks import check_count
from rtmkc.engine.path import PathFit, fit_path
from rtmkc.engine.sweeps import Design
from rtmkc.model.ages import split_halves, whole_past
from rtmkc.model.folds import block_folds
from rtmkc.model.history import fit_history
from rtmkc.model.observations import Observations, check_together, observe
from rtmkc.model.selection import sign_bounds
from rtmkc.raster.candidates import Candidates, build_curves
from rtmkc.raster.factors import RiskFactor
from rtmkc.raster.grid import Grid
from rtmkc.units import parse_days, parse_length

INTERVAL = (
    "90 % gamma-Poisson predictive intervals of a cell's count: its history at the cell's own scale and chance; the "
    "surface around it and the city's total are taken as known"
)


class RiskForecast(BaseEstimator):
    """Where incidents are to be expected next: environment x area history x spot history.

    Use it to rank places. To explain what the environment has to do with them use `RiskTerrainModel`.

    Parameters
    ----------
    horizon : duration
        What `expected_` is for.
    l1_ratio : float
        Share of the lasso in the elastic net of the curves; nearly a ridge.
    n_lambdas : int
        Length of the penalty path.
    n_folds : int
        Folds of the cross validation, made of square blocks.
    fold_block : length
        Side of the blocks.
    random_state : int
        Seed of the folds and of the halves where incidents have no dates.

    Attributes
    ----------
    expected_ : ndarray, shape (n_cells,)
        Expected incidents per cell over the horizon (over the period of the data, where that is not known).
    lower_, upper_ : ndarray, shape (n_cells,)
        90 % predictive interval of the count over the horizon.
    city_mean_ : float
        Mean of `expected_`.
    environment_, area_history_, spot_history_ : ndarray, shape (n_cells,)
        ``expected = city_mean * environment * area_history * spot_history``.
    curves_ : DataFrame
        factor, kind, bandwidth_m, from_m, to_m, from_density, to_density (features per km2), multiplier
        against a place out of reach.
    uses_curves_ : bool
        Whether the curves beat a flat surface on held-out likelihood; if not the environment is flat.
    history_ : History
        Tempering and strengths.
    horizon_days_ : int or None
        None where the incidents have no period.
    candidates_, path_, observations_, notes_
        What was measured, the penalty path (None if nothing could be held out), the data, and what was decided.

    Notes
    -----
    Curves are non-negative steps (in the direction of each factor) over 20 distances and up to four
    densities with 13 levels, fitted as one Poisson elastic net; history is a gamma-Poisson multiplier at
    Gaussian widths of 4 cells (area), 1 cell and the cell itself (spot).

    Examples
    --------
    >>> RiskForecast().horizon
    '90 days'
    """

    def __init__(
        self,
        *,
        horizon: int | str = "90 days",
        l1_ratio: float = 0.05,
        n_lambdas: int = 60,
        n_folds: int = 5,
        fold_block: float | str = "1.5 km",
        random_state: int = 0,
    ) -> None:
        self.horizon = horizon
        self.l1_ratio = l1_ratio
        self.n_lambdas = n_lambdas
        self.n_folds = n_folds
        self.fold_block = fold_block
        self.random_state = random_state

    def fit(
        self,
        grid: Grid,
        factors: Sequence[RiskFactor] | Candidates,
        incidents: Any,
        *,
        exposure: Any = None,
        folds: np.ndarray | None = None,
        allow_later_factors: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> "RiskForecast":
        """Fit curves and history; parameters as in `RiskTerrainModel.fit`.

        Raises
        ------
        InputError
            If a parameter, a factor or the incidents cannot be used.
        """
        observations = observe(grid, incidents, exposure=exposure)
        candidates = factors if isinstance(factors, Candidates) else build_curves(grid, factors)
        timing = check_together(grid, candidates, observations, allow_later=allow_later_factors)
        if folds is None:
            side = parse_length(self.fold_block, name="fold_block", block_length=grid.block_length)
            folds = block_folds(
                grid, side, check_count("n_folds", self.n_folds, minimum=2), self.random_state
            )

        design = Design(candidates.codes, candidates.tables)
        offset = np.log(grid.share * observations.exposure.values)
        path, base, coef = self._fit_environment(design, candidates, observations, offset, folds, progress)
        self.uses_curves_ = bool(np.any(coef))
        self.history_ = fit_history(
            grid, base, whole_past(observations), split_halves(observations, self.random_state), weight=grid.share
        )
        self._set_surfaces(grid, observations)
        self.curves_ = _curves_table(candidates, coef)
        self.candidates_, self.path_, self.observations_ = candidates, path, observations
        self.timing_ = timing
        flat = "the curves do not beat a flat surface on held-out likelihood: the forecast is history alone"
        self.notes_ = (
            *grid.notes,
            *candidates.notes,
            timing,
            *([] if np.all(observations.exposure.values == 1.0) else [observations.exposure.statement]),
            *([] if self.uses_curves_ else [flat]),
            INTERVAL,
        )
        return self

    def _fit_environment(
        self,
        design: Design,
        candidates: Candidates,
        observations: Observations,
        offset: np.ndarray,
        folds: np.ndarray,
        progress: Callable[[int, int], None] | None,
    ) -> tuple[PathFit | None, np.ndarray, np.ndarray]:
        """The path, the expected incidents by the environment, and the steps of the curves (0 if flat)."""
        counts = observations.counts.astype(float)
        per_fold = np.bincount(folds, weights=counts)
        lower, upper = sign_bounds(candidates)
        path: PathFit | None = None
        # Where one fold holds all incidents nothing can be held out, and no curve can prove itself.
        if design.n_columns and per_fold.max() < counts.sum():
            path = fit_path(
                design,
                counts,
                offset=offset,
                folds=folds,
                l1_ratio=self.l1_ratio,
                n_lambdas=self.n_lambdas,
                lower=lower,
                upper=upper,
                n_threads=os.cpu_count() or 1,
                progress=progress,
            )
            if path.best is not None and path.cv_mean[path.best] < path.cv_mean[0]:
                coef = path.coefs[path.best]
                return path, np.exp(path.intercepts[path.best] + offset + design.linear(coef)), coef
        flat = np.exp(offset)
        return path, flat * (counts.sum() / flat.sum()), np.zeros(design.n_columns)

    def _set_surfaces(self, grid: Grid, observations: Observations) -> None:
        history = self.history_
        self.area_history_ = history.multipliers[0]
        self.spot_history_ = np.prod(history.multipliers[1:], axis=0)
        current = history.base * self.area_history_ * self.spot_history_
        days = observations.period.days if observations.period else None
        self.horizon_days_ = parse_days(self.horizon, name="horizon") if days else None
        total = observations.n_incidents * (self.horizon_days_ / days if self.horizon_days_ and days else 1.0)
        self.city_mean_ = total / grid.n_cells
        # The multipliers move the sum a little; the level is that of the data, and the environment carries it.
        self.environment_ = history.base * (grid.n_cells / current.sum())
        self.expected_ = self.city_mean_ * self.environment_ * self.area_history_ * self.spot_history_
        self.lower_, self.upper_ = predictive_interval(
            self.expected_, history.strengths[-1] + observations.counts
        )

    def predict(self) -> np.ndarray:
        """Return the expected incidents of each cell over the horizon; shape (n_cells,)."""
        check_is_fitted(self)
        return self.expected_


def predictive_interval(
    mean: np.ndarray, shape: np.ndarray, *, level: float = 0.9
) -> tuple[np.ndarray, np.ndarray]:
    """Return the central gamma-Poisson interval of future counts.

    Parameters
    ----------
    mean : ndarray
        Expected count.
    shape : ndarray
        Shape of the gamma distribution of the rate (prior strength plus incidents seen).
    level : float
        Coverage that is aimed at; counts are whole, so the real one is at least this.

    Returns
    -------
    lower, upper : ndarray
        Whole numbers.

    Examples
    --------
    >>> predictive_interval(np.array([2.0]), np.array([1e9]))
    (array([0.]), array([5.]))
    """
    from scipy.stats import nbinom, poisson  # half a second that a first import need not pay

    tail = (1 - level) / 2
    mean, shape = np.asarray(mean, dtype=float), np.asarray(shape, dtype=float)
    large = shape > 1e7  # where scipy's negative binomial loses digits it is Poisson
    chance = shape / (shape + mean)
    lower = np.where(large, poisson.ppf(tail, mean), nbinom.ppf(tail, shape, chance))
    upper = np.where(large, poisson.ppf(1 - tail, mean), nbinom.ppf(1 - tail, shape, chance))
    return lower, upper


def _curves_table(candidates: Candidates, coef: np.ndarray) -> pd.DataFrame:
    """One row for every stretch of a curve on which the multiplier is constant, if it is not 1."""
    rows: list[dict[str, Any]] = []
    columns = candidates.columns.assign(coef=coef)
    for _, own in columns.groupby("variable", sort=False):
        kind, factor = own["kind"].iloc[0], own["factor"].iloc[0]
        if kind == "proximity":
            # A distance within the k-th reach has every step from the k-th on.
            log_multiplier = own["coef"].to_numpy()[::-1].cumsum()[::-1]
            edges = np.append(0.0, own["influence_m"].to_numpy())
        else:
            log_multiplier = own["coef"].to_numpy().cumsum()
            edges = np.append(own["cut"].to_numpy(), np.inf)
        changes = np.append(True, np.abs(np.diff(log_multiplier)) > 1e-12)
        starts = np.flatnonzero(changes)
        stops = np.append(starts[1:], len(log_multiplier))
        for start, stop in zip(starts, stops, strict=True):
            if abs(log_multiplier[start]) < 1e-12:
                continue
            span = {"from_": edges[start], "to_": edges[stop]}
            is_near = kind == "proximity"
            rows.append(
                {
                    "factor": factor,
                    "kind": kind,
                    "bandwidth_m": np.nan if is_near else own["influence_m"].iloc[0],
                    "from_m": span["from_"] if is_near else np.nan,
                    "to_m": span["to_"] if is_near else np.nan,
                    "from_density": np.nan if is_near else span["from_"],
                    "to_density": np.nan if is_near else span["to_"],
                    "multiplier": float(np.exp(log_multiplier[start])),
                }
            )
    names = ["factor", "kind", "bandwidth_m", "from_m", "to_m", "from_density", "to_density", "multiplier"]
    return pd.DataFrame(rows, columns=names)
