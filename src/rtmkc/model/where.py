"""Where next? RiskForecast: expected incidents, from curves of the environment times local history."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from rtmkc.checks import check_count
from rtmkc.engine.path import PathFit
from rtmkc.engine.sweeps import Design
from rtmkc.errors import InputError
from rtmkc.model.compute import Compute
from rtmkc.model.folds import block_folds
from rtmkc.model.history.ages import Lessons, first_part, recent_rate, split_halves, whole_past
from rtmkc.model.history.fit import History, fit_history
from rtmkc.model.history.gain import Gain, measure_gain
from rtmkc.model.history.intervals import predictive_interval
from rtmkc.model.observations import Observations, check_together, observe
from rtmkc.model.selection import sign_bounds
from rtmkc.raster.candidates import Candidates, build_curves
from rtmkc.raster.factors import RiskFactor
from rtmkc.raster.grid import Grid
from rtmkc.units import parse_days, parse_length

AREA_WIDTH_M = 250.0
"""Widths from here on are history of the area, narrower ones and the cell itself of the spot."""
GAIN_LAMBDAS = 20
"""A coarser path finds as good a penalty, in a third of the time."""
INTERVAL = (
    "90 % gamma-Poisson predictive intervals of a single cell's count: by its own history, widened by what parts of the "
    "period showed beyond it when they were predicted from others; not for sums over cells"
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
    history_widths : sequence of length
        Kernel widths at which local history is looked at; the cell itself is always the last.
    random_state : int
        Seed of the folds and of the halves where incidents have no dates.

    Attributes
    ----------
    expected_ : ndarray, shape (n_cells,)
        Expected incidents per cell over the horizon (over the period of the data, where that is not known).
    lower_, upper_ : ndarray, shape (n_cells,)
        90 % predictive interval of each cell's count over the horizon. It does not hold for sums over cells.
    neighbourhood_ : ndarray, shape (n_cells,)
        `expected_` before the cell's own incidents are seen: environment and what happened around it.
    rate_sd_ : ndarray, shape (n_cells,)
        Standard deviation of the rate that `expected_` is the mean of, by the cell's own history.
    city_mean_ : float
        Mean of `expected_`.
    environment_, area_history_, spot_history_ : ndarray, shape (n_cells,)
        ``expected = city_mean * environment * area_history * spot_history``; area history are the widths of 250 m
        and more, spot history the others and the cell itself.
    curves_ : DataFrame
        factor, kind, bandwidth_m, from_m, to_m, from_density, to_density (features per km2), multiplier
        against a place out of reach.
    uses_curves_ : bool
        Whether the curves beat a flat surface on held-out likelihood; if not the environment is flat.
    history_ : History
        Tempering, strengths, weights of ages, hot cells and drift.
    gain_over_history_ : Gain
        Log score per incident that the factors add to history alone, on incidents held out; NaN where none could be.
    gain_statement_ : str
        The same as a sentence.
    horizon_days_ : int or None
        None where the incidents have no period.
    candidates_, path_, observations_, notes_
        What was measured, the penalty path (None if nothing could be held out), the data, and what was decided.

    Notes
    -----
    Curves are non-negative steps (in the direction of each factor) over 20 distances and up to four
    densities with 13 levels, fitted as one Poisson elastic net to all incidents of the period alike. History is a
    gamma-Poisson multiplier at Gaussian widths and the cell itself.

    From three years of dates on an incident of age t weighs ``exp(-t / tau)``, if that predicts the last year better
    from those before it, and the level is that of the last 365 days: ages say where, not how many. Strengths are then
    in incidents of today. Of a shorter period all incidents weigh the same, and the level is that of the whole.

    The gain over history alone takes the first part of the period, fits everything anew to it (curves, tempering,
    strengths, with and without factors), and scores the rest.

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
        history_widths: Sequence[float | str] = ("500 m", "125 m"),
        random_state: int = 0,
    ) -> None:
        self.horizon = horizon
        self.l1_ratio = l1_ratio
        self.n_lambdas = n_lambdas
        self.n_folds = n_folds
        self.fold_block = fold_block
        self.history_widths = history_widths
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
        executor: Any = None,
        store: str | Path | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> "RiskForecast":
        """Fit curves and history; parameters as in `RiskTerrainModel.fit`.

        Raises
        ------
        InputError
            If a parameter, a factor or the incidents cannot be used.
        """
        observations = observe(grid, incidents, exposure=exposure)
        candidates = factors if isinstance(factors, Candidates) else build_curves(grid, factors, store=store)
        compute = Compute(executor, store)
        timing = check_together(grid, candidates, observations, allow_later=allow_later_factors)
        side = parse_length(self.fold_block, name="fold_block", block_length=grid.block_length)
        n_folds = check_count("n_folds", self.n_folds, minimum=2)
        widths = _widths(self.history_widths, grid)
        if folds is None:
            folds = block_folds(grid, side, n_folds, self.random_state)

        design = Design(candidates.codes, candidates.tables)
        path, base, coef = self._fit_environment(
            design, candidates, observations, folds, self.n_lambdas, compute, progress
        )
        lessons = split_halves(observations, self.random_state)
        self.uses_curves_ = bool(np.any(coef))
        self.history_ = fit_history(
            grid, base, whole_past(observations), lessons, weight=grid.share, widths=widths
        )
        self.gain_over_history_ = self._measure_gain(
            design, candidates, observations, lessons, folds, widths, side, compute
        )
        self.gain_statement_ = self.gain_over_history_.statement
        level = self._set_surfaces(grid, observations)
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
            lessons.statement,
            *_history_notes(self.history_, lessons),
            *([level] if level else []),
            self.gain_statement_,
            INTERVAL,
        )
        return self

    def _fit_environment(
        self,
        design: Design,
        candidates: Candidates,
        observations: Observations,
        folds: np.ndarray,
        n_lambdas: int,
        compute: Compute,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[PathFit | None, np.ndarray, np.ndarray]:
        """The path, the expected incidents by the environment, and the steps of the curves (0 if flat)."""
        counts = observations.counts.astype(float)
        offset = np.log(observations.grid.share * observations.exposure.values)
        per_fold = np.bincount(folds, weights=counts)
        lower, upper = sign_bounds(candidates)
        path: PathFit | None = None
        # Where one fold holds all incidents nothing can be held out, and no curve can prove itself.
        if design.n_columns and per_fold.max() < counts.sum():
            path = compute.fit_path(
                design,
                counts,
                offset=offset,
                folds=folds,
                l1_ratio=self.l1_ratio,
                n_lambdas=n_lambdas,
                lower=lower,
                upper=upper,
                progress=progress,
            )
            if path.best is not None and path.cv_mean[path.best] < path.cv_mean[0]:
                coef = path.coefs[path.best]
                return path, np.exp(path.intercepts[path.best] + offset + design.linear(coef)), coef
        flat = np.exp(offset)
        return path, flat * (counts.sum() / flat.sum()), np.zeros(design.n_columns)

    def _measure_gain(
        self,
        design: Design,
        candidates: Candidates,
        observations: Observations,
        lessons: Lessons,
        folds: np.ndarray,
        widths: tuple[float, ...],
        block: float,
        compute: Compute,
    ) -> Gain:
        """Fit to the first part of the period as if the rest were unknown, with and without factors; score the rest."""
        grid, future = observations.grid, lessons.lessons[0].future
        if not lessons.learned.any() or lessons.learned.all():
            return Gain(np.nan, np.nan, np.nan, 0, lessons.by_time)
        first = first_part(observations, lessons)
        past, own_lessons = whole_past(first), split_halves(first, self.random_state)
        _, base, coef = self._fit_environment(
            design, candidates, first, folds, min(self.n_lambdas, GAIN_LAMBDAS), compute
        )

        def forecast(surface: np.ndarray) -> np.ndarray:
            return fit_history(grid, surface, past, own_lessons, weight=grid.share, widths=widths).expected

        alone = forecast(grid.share * observations.exposure.values)
        with_factors = forecast(base) if np.any(coef) else alone
        return measure_gain(
            grid, with_factors, alone, future, block=block, by_time=lessons.by_time, seed=self.random_state
        )

    def _set_surfaces(self, grid: Grid, observations: Observations) -> str | None:
        """Set the forecast and its factors; return what its level was taken from."""
        history = self.history_
        is_area = np.array(history.widths_m) >= AREA_WIDTH_M
        self.area_history_ = np.prod(history.multipliers[is_area], axis=0)
        self.spot_history_ = np.prod(history.multipliers[~is_area], axis=0)
        current = history.base * self.area_history_ * self.spot_history_
        if observations.period is None:
            self.horizon_days_, total, level = None, float(observations.n_incidents), None
        else:
            self.horizon_days_ = parse_days(self.horizon, name="horizon")
            rate, level = recent_rate(observations)
            total = rate * self.horizon_days_
        self.city_mean_ = total / grid.n_cells
        # The multipliers move the sum a little; the level is that of the data, and the environment carries it.
        self.environment_ = history.base * (grid.n_cells / current.sum())
        self.expected_ = self.city_mean_ * self.environment_ * self.area_history_ * self.spot_history_
        self.neighbourhood_ = self.expected_ / history.multipliers[-1]
        rates = history.rates(total)
        self.rate_sd_ = rates.standard_deviation()
        self.lower_, self.upper_ = predictive_interval(rates.widened(history.drift))
        return level

    def predict(self) -> np.ndarray:
        """Return the expected incidents of each cell over the horizon; shape (n_cells,)."""
        check_is_fitted(self)
        return self.expected_


def _widths(widths: Sequence[float | str], grid: Grid) -> tuple[float, ...]:
    """Kernel widths in metres, wide to narrow."""
    if isinstance(widths, str) or not isinstance(widths, Sequence):
        raise InputError(
            f"Invalid history_widths {widths!r}. Give a list of lengths, as in ('500 m', '125 m')."
        )
    metres = (parse_length(width, name="history width", block_length=grid.block_length) for width in widths)
    return tuple(sorted(set(metres), reverse=True))


def _history_notes(history: History, lessons: Lessons) -> list[str]:
    """What was found of history beyond its strengths, for people."""
    notes, decay, hot = [], history.parameters.decay_days, history.parameters.hot
    if np.isfinite(decay):
        notes.append(
            f"an incident weighs exp(-age / {decay / 365.25:.1f} years) in the history of a place; strengths are in "
            "incidents of today"
        )
    elif lessons.has_ages:
        notes.append("all ages weigh the same: weights of ages did not predict better")
    if hot is not None:
        notes.append(
            f"cells are of two kinds: {100 * hot.share:.2g} % may be hot and multiply what is expected there by "
            f"{hot.lift:.2g} on average, strength {hot.strength:.2g}"
        )
    return notes


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
