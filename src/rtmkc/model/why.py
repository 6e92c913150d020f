"""Why here? RiskTerrainModel: relative-risk weights of the environment, and their recipes."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from rtmkc.checks import check_choice, check_count
from rtmkc.engine.families import GlmFit
from rtmkc.engine.path import PathFit, fit_path
from rtmkc.engine.stepwise import StepwiseFit, search_bic
from rtmkc.engine.sweeps import Design
from rtmkc.model.observations import Observations, check_together, observe
from rtmkc.raster.candidates import Candidates, build_candidates
from rtmkc.raster.factors import RiskFactor
from rtmkc.raster.grid import Grid

Method = Literal["classic"]
MIN_INCIDENTS = 10
"""Incidents a column must have inside and outside to carry a weight."""
CLASSIC_INTERVAL = (
    "95 % Wald intervals of the final model: not corrected for the selection nor for clustered incidents, and "
    "therefore too narrow"
)
FAMILIES = {"poisson": "Poisson", "nb1": "negative binomial (NB1, variance = mean x (1 + sigma))"}


class RiskTerrainModel(BaseEstimator):
    """What the environment has to do with incidents: one weight per factor, or none.

    Use it to explain and to prevent. To forecast where incidents come next use `RiskForecast`: this
    model's surface alone does worse than last year's counts.

    Parameters
    ----------
    method : {"classic"}
        The recipe. "classic" is the published RTMDx procedure: elastic-net Poisson screen by cross
        validation, then bidirectional stepwise search by BIC for Poisson and NB1, the better BIC wins.
    l1_ratio : float
        Share of the lasso in the elastic net, greater than 0 and at most 1.
    n_lambdas : int
        Length of the penalty path.
    n_folds : int
        Random folds of cells for the cross validation.
    selection : {"minimum", "one_se"}
        Penalty taken from the cross validation.
    random_state : int
        Seed of the folds.

    Attributes
    ----------
    weights_ : DataFrame
        One row a factor: factor, kind, influence_m, coef, se, rrv, lower, upper, n_cells, n_inside
        (incidents in flagged cells), status and reason. A factor that is not in the model has its reason.
    rrs_ : ndarray, shape (n_cells,)
        Relative risk score: product of the RRVs of the factors present, lowest cell = 1.
    flags_ : DataFrame of bool, one column a factor in the model
        Which cells each factor marks.
    family_ : {"poisson", "nb1"}
    intercept_ : float
        Log expected incidents in a cell without any factor (and exposure 1), over the period.
    dispersion_ : float or None
        Sigma of NB1.
    bic_ : DataFrame
        BIC of both families and of the null models; n is the number of cells, sigma is counted.
    runner_ups_ : DataFrame
        Other kinds and distances of the factors in the model, with the BIC of the model that has them instead. One
        below 0 would be better: the published search does not exchange columns.
    candidates_, path_, observations_, notes_
        What was tried, the penalty path (None if no column has enough incidents), the data, and what was decided.
    n_kept_ : int
        Columns that passed the cross-validated screen.

    Notes
    -----
    RRV = exp(coef). RRS = exp(sum of the coefficients of the factors present), divided by its minimum.
    The procedure follows Caplan, Kennedy and Piza (2013); details it does not document (folds, penalty
    sequence, minimum or one standard error) are parameters here.

    Examples
    --------
    >>> RiskTerrainModel("classic").get_params()["n_folds"]
    5
    """

    def __init__(
        self,
        method: Method,
        *,
        l1_ratio: float = 0.5,
        n_lambdas: int = 100,
        n_folds: int = 5,
        selection: Literal["minimum", "one_se"] = "minimum",
        random_state: int = 0,
    ) -> None:
        self.method = method
        self.l1_ratio = l1_ratio
        self.n_lambdas = n_lambdas
        self.n_folds = n_folds
        self.selection = selection
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
    ) -> "RiskTerrainModel":
        """Fit the weights.

        Parameters
        ----------
        grid : Grid
            The grid.
        factors : sequence of RiskFactor, or Candidates
            What may matter.
        incidents : Layer, path, GeoDataFrame, DataFrame or Observations
            Points.
        exposure : Exposure or cell vector, optional
            Enters as log offset.
        folds : ndarray of int, shape (n_cells,), optional
            Fold of each cell; default random.
        allow_later_factors : bool
            Fit although factor data reach into the period of the incidents, and say so.
        progress : callable, optional
            Called with (done, total) along the penalty path.

        Returns
        -------
        RiskTerrainModel
            Itself, fitted.

        Raises
        ------
        InputError
            If a parameter, a factor or the incidents cannot be used.
        """
        check_choice("method", self.method, get_args(Method))
        check_choice("selection", self.selection, ("minimum", "one_se"))
        observations = observe(grid, incidents, exposure=exposure)
        candidates = factors if isinstance(factors, Candidates) else build_candidates(grid, factors)
        timing = check_together(grid, candidates, observations, allow_later=allow_later_factors)
        if folds is None:
            folds = random_folds(
                grid.n_cells, check_count("n_folds", self.n_folds, minimum=2), self.random_state
            )
        fitted = fit_classic(self, candidates, observations, folds, progress)

        self.candidates_ = candidates
        self.observations_ = observations
        self.path_ = fitted.path
        self.n_kept_ = len(fitted.kept)
        self.family_ = fitted.chosen.fit.family
        self.intercept_ = float(fitted.chosen.fit.intercept)
        log_dispersion = fitted.chosen.fit.log_dispersion
        self.dispersion_ = None if log_dispersion is None else float(np.exp(log_dispersion))
        self.bic_ = pd.DataFrame(
            {
                "family": list(fitted.searches),
                "bic": [search.bic for search in fitted.searches.values()],
                "null_bic": [search.null_bic for search in fitted.searches.values()],
                "n_factors": [len(search.columns) for search in fitted.searches.values()],
            }
        )
        self.weights_ = _weights_table(candidates, observations, fitted)
        self.runner_ups_ = _runner_ups(candidates, fitted.chosen)
        chosen = fitted.chosen.columns
        self.flags_ = pd.DataFrame(
            {candidates.columns["factor"].iloc[column]: candidates.column(column) for column in chosen},
            index=pd.RangeIndex(grid.n_cells, name="cell_id"),
        )
        self.rrs_ = relative_risk_score(self.flags_.to_numpy(), fitted.chosen.fit.coef)
        self.notes_ = (
            *grid.notes,
            *candidates.notes,
            timing,
            observations.exposure.statement,
            CLASSIC_INTERVAL,
        )
        self.timing_ = timing
        return self

    def predict(self) -> np.ndarray:
        """Return the expected incidents of each cell over the period of the data; shape (n_cells,)."""
        check_is_fitted(self)
        coef = self.weights_.set_index("factor")["coef"][self.flags_.columns].to_numpy(dtype=float)
        eta = self.intercept_ + self.flags_.to_numpy(dtype=float) @ coef
        return np.exp(eta) * self.observations_.exposure.values


@dataclass(frozen=True, eq=False)
class ClassicFit:
    """What the classic recipe found, step by step."""

    usable: np.ndarray
    path: PathFit | None
    kept: np.ndarray
    searches: dict[str, StepwiseFit]
    chosen: StepwiseFit


def fit_classic(
    model: RiskTerrainModel,
    candidates: Candidates,
    observations: Observations,
    folds: np.ndarray,
    progress: Callable[[int, int], None] | None = None,
) -> ClassicFit:
    """The published procedure: screen by a cross-validated elastic net, then search by BIC."""
    design = Design(candidates.codes, candidates.tables)
    counts = observations.counts.astype(float)
    exposure = observations.exposure.values
    offset = None if np.all(exposure == 1.0) else np.log(exposure)
    lower, upper = sign_bounds(candidates)

    usable = enough_incidents(design, counts)
    path, kept = None, np.zeros(0, dtype=np.int64)
    if usable.any():
        path = fit_path(
            design,
            counts,
            offset=offset,
            folds=folds,
            l1_ratio=model.l1_ratio,
            n_lambdas=model.n_lambdas,
            lower=np.where(usable, lower, 0.0),
            upper=np.where(usable, upper, 0.0),
            n_threads=os.cpu_count() or 1,
            progress=progress,
        )
        kept = np.flatnonzero(path.coefs[path.best if model.selection == "minimum" else path.one_se])
    groups = pd.factorize(candidates.columns["factor"])[0]
    searches = {
        family: search_bic(
            design,
            counts,
            family=family,
            groups=groups,
            candidates=kept,
            lower=lower,
            upper=upper,
            offset=offset,
            swaps=False,  # the published search adds and removes
        )
        for family in FAMILIES
    }
    best = min(searches, key=lambda family: searches[family].bic)
    if searches[best].fit.family == "poisson":
        best = "poisson"  # dispersion at its boundary: NB1 is the Poisson model with a parameter too many
    return ClassicFit(usable, path, kept, searches, searches[best])


def random_folds(n_cells: int, n_folds: int, seed: int) -> np.ndarray:
    """Return a fold for each cell, sizes equal to within one, shuffled by the seed."""
    return check_random_state(seed).permutation(np.arange(n_cells) % n_folds)


def sign_bounds(candidates: Candidates) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper bounds of the coefficients that the factors' directions allow."""
    direction = candidates.columns["direction"].to_numpy()
    return np.where(direction == "aggravating", 0.0, -np.inf), np.where(
        direction == "protective", 0.0, np.inf
    )


def enough_incidents(design: Design, counts: np.ndarray) -> np.ndarray:
    """Return which columns have at least `MIN_INCIDENTS` incidents both inside and outside."""
    inside = incidents_inside(design, counts)
    return np.minimum(inside, counts.sum() - inside) >= MIN_INCIDENTS


def incidents_inside(design: Design, counts: np.ndarray) -> np.ndarray:
    """Return the incidents in the flagged cells of every column; shape (n_columns,)."""
    return np.concatenate(
        [
            table.T @ np.bincount(codes, weights=counts, minlength=len(table))
            for codes, table in zip(design.codes, design.tables, strict=True)
        ]
        or [np.zeros(0)]
    )


def relative_risk_score(flags: np.ndarray, coef: np.ndarray) -> np.ndarray:
    """Return the product of the RRVs of the factors present in each cell, lowest cell = 1.

    Parameters
    ----------
    flags : ndarray of bool, shape (n_cells, n_factors)
        Factors present.
    coef : ndarray of float, shape (n_factors,)
        Log relative risk values.

    Returns
    -------
    ndarray of float, shape (n_cells,)

    Examples
    --------
    >>> relative_risk_score(np.array([[0, 0], [1, 0], [1, 1]]), np.log([2.0, 3.0])).round(6)
    array([1., 2., 6.])
    """
    score = np.asarray(flags, dtype=float) @ np.asarray(coef, dtype=float)
    return np.exp(score - score.min())


def _weights_table(candidates: Candidates, observations: Observations, fitted: ClassicFit) -> pd.DataFrame:
    columns, fit = candidates.columns, fitted.chosen.fit
    inside = incidents_inside(Design(candidates.codes, candidates.tables), observations.counts.astype(float))
    chosen = {
        columns["factor"].iloc[column]: position for position, column in enumerate(fitted.chosen.columns)
    }
    rows: list[dict[str, Any]] = []
    for factor in candidates.factors:
        position = chosen.get(factor.name)
        row: dict[str, Any] = {"factor": factor.name}
        if position is None:
            row |= {"status": "not in the model", "reason": _why_not(factor.name, candidates, fitted)}
        else:
            column = fitted.chosen.columns[position]
            row |= _weight(fit, position) | {
                "kind": columns["kind"].iloc[column],
                "influence_m": columns["influence_m"].iloc[column],
                "n_cells": columns["n_cells"].iloc[column],
                "n_inside": int(inside[column]),
                "status": "in the model",
                "reason": "entered the model by BIC",
            }
        rows.append(row)
    names = ["factor", "kind", "influence_m", "coef", "se", "rrv", "lower", "upper", "n_cells", "n_inside"]
    table = pd.DataFrame(rows, columns=[*names, "status", "reason"])
    return table.sort_values("coef", ascending=False, key=abs, kind="stable", ignore_index=True)


def _weight(fit: GlmFit, position: int) -> dict[str, float]:
    coef = float(fit.coef[position])
    error = float(fit.standard_errors[position + 1])  # the intercept comes first
    return {
        "coef": coef,
        "se": error,
        "rrv": float(np.exp(coef)),
        "lower": float(np.exp(coef - 1.959963984540054 * error)),
        "upper": float(np.exp(coef + 1.959963984540054 * error)),
    }


def _why_not(factor: str, candidates: Candidates, fitted: ClassicFit) -> str:
    own = np.flatnonzero(candidates.columns["factor"] == factor)
    if not own.size:
        reasons = candidates.dropped.loc[candidates.dropped["factor"] == factor, "reason"]
        return f"every column was dropped ({reasons.iloc[0]})" if len(reasons) else "it has no column"
    if not fitted.usable[own].any():
        return f"every column has fewer than {MIN_INCIDENTS} incidents inside or outside"
    if not np.isin(own, fitted.kept).any():
        return "the cross-validated elastic net kept none of its columns"
    return "the model is better without it, by BIC"


def _runner_ups(candidates: Candidates, chosen: StepwiseFit) -> pd.DataFrame:
    columns = candidates.columns
    rows = [
        {
            "factor": columns["factor"].iloc[column],
            "kind": columns["kind"].iloc[rival],
            "influence_m": columns["influence_m"].iloc[rival],
            "bic": bic,
            "bic_above_chosen": bic - chosen.bic,
        }
        for column in chosen.columns
        for rival, bic in chosen.runner_ups[column]
    ]
    table = pd.DataFrame(rows, columns=["factor", "kind", "influence_m", "bic", "bic_above_chosen"])
    return table.sort_values(["factor", "bic"], kind="stable", ignore_index=True)
