"""Why here? RiskTerrainModel: relative-risk weights of the environment, and their recipes."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from rtmkc.checks import check_choice, check_count
from rtmkc.errors import InputError
from rtmkc.model.compute import Compute
from rtmkc.model.folds import random_folds
from rtmkc.model.guarded.noise import Noise
from rtmkc.model.guarded.plane import Plane
from rtmkc.model.guarded.recipe import Gate, Response, fit_guarded, gate_by_shifts
from rtmkc.model.observations import FEW_INCIDENTS, Observations, check_together, observe
from rtmkc.model.selection import Screen, Selection, select_columns
from rtmkc.model.summary import path_table, summarise
from rtmkc.model.weights import (
    IN_MODEL,
    bic_table,
    classic_weights,
    guarded_weights,
    runner_ups,
    scored_columns,
)
from rtmkc.raster.candidates import Candidates, build_candidates
from rtmkc.raster.factors import RiskFactor
from rtmkc.raster.grid import Grid
from rtmkc.units import parse_length

Method = Literal["guarded", "classic"]
CLASSIC_INTERVAL = (
    "95 % Wald intervals of the final model: not corrected for the selection nor for clustered incidents, and "
    "therefore too narrow"
)
GUARDED_INTERVAL = (
    "95 % intervals calibrated by random shifts, for what a factor does in general (other periods, other cities like this) "
    "and not only in these data"
)
EXPLORATORY = "exploratory only: {n} incidents, and below {least} no weight should be believed"


class RiskTerrainModel(BaseEstimator):
    """What the environment has to do with incidents: one weight per factor, or none.

    Use it to explain and to prevent. To forecast where incidents come next use `RiskForecast`: this
    model's surface alone does worse than last year's counts.

    Parameters
    ----------
    method : {"guarded", "classic"}
        The recipe. "guarded": a working model by spatial-block cross validation and BIC; then every factor is left out
        in turn and tested by random shifts against what the others leave over, all candidates together; weights allow
        for patches of risk that no factor explains, and their intervals are calibrated by the same shifts. "classic" is the
        published RTMDx procedure, for comparison: elastic-net Poisson screen by cross validation, then bidirectional
        stepwise search by BIC for Poisson and NB1, the better BIC wins.
    l1_ratio : float
        Share of the lasso in the elastic net, greater than 0 and at most 1.
    n_lambdas : int
        Length of the penalty path.
    n_folds : int
        Folds of the cross validation: square blocks of cells (guarded), or random cells (classic).
    fold_block : length
        Side of the blocks; they are made larger once if patches of risk are longer than half of it.
    selection : {"minimum", "one_se"}
        Penalty taken from the cross validation.
    shift_test : bool
        Whether shifts comment on classic weights. They need the map and its padding in memory as numbers, some 50 times
        what a code takes; without them `shift_p` is missing. Guarded weights are those that pass the test: always True.
    random_state : int
        Seed of the folds.

    Attributes
    ----------
    weights_ : DataFrame
        One row a factor: factor, kind, influence_m, extent_set (the kinds and distances not told from the best), coef,
        se, rrv, lower, upper (95 %), inflation (how many times wider than the naive interval), design_effect,
        poisson_rrv (what the same columns have if cells are independent),
        shift_p, adjusted_p (for all candidates together), n_effective_shifts, n_cells, n_inside (incidents in flagged
        cells), status ("in the model", "not in the model", "not decided") and reason.
    rrs_ : ndarray, shape (n_cells,)
        Relative risk score: product of the RRVs of the factors present, lowest cell = 1.
    flags_ : DataFrame of bool, one column a factor in the model
        Which cells each factor marks.
    covariance_ : DataFrame
        Of the coefficients of the factors in the model, without the calibration by shifts.
    family_ : {"poisson", "nb1"}
        Of classic weights; guarded weights are Poisson means with correlated noise.
    intercept_ : float
        Log expected incidents in a cell without any factor (and exposure 1), over the period.
    dispersion_ : float or None
        Sigma of NB1.
    noise_ : Noise or None
        Patches of risk around the guarded weights: variance, range (cells), and the nugget of single cells.
    fold_block_m_ : float or None
        Side of the blocks that were used, in metres.
    bic_ : DataFrame
        BIC of both families and of the null models; n is the number of cells, sigma is counted.
    runner_ups_ : DataFrame
        Other kinds and distances of the factors that the search by BIC chose, with the BIC of the model that has them
        instead. One below 0 would be better: the published search does not exchange columns.
    columns_ : DataFrame
        Every candidate column with its score: how well it fits what the other factors of the working model leave over, in
        standard deviations over all shifts.
    candidates_, path_, observations_, notes_
        What was tried, the penalty path (None if no column has enough incidents), the data, and what was decided.
    response_, folds_
        Counts, log exposure and covariates as the method takes them, and the folds that were given, if any.
    n_kept_ : int
        Columns that passed the cross-validated screen.

    Notes
    -----
    RRV = exp(coef). RRS = exp(sum of the coefficients of the factors present), divided by its minimum.
    "classic" follows Caplan, Kennedy and Piza (2013); details it does not document (folds, penalty
    sequence, minimum or one standard error) are parameters here. "guarded" joins the random shift test of Mrkvicka et al.
    (2021), the step-down maximum of Westfall and Young (1993) and the quasi-likelihood of Guan et al. (2015); that they
    hold together rests on simulations, which are in the documentation.

    Examples
    --------
    >>> RiskTerrainModel().get_params()["method"]
    'guarded'
    """

    _means: np.ndarray
    _covariance: np.ndarray

    def __init__(
        self,
        method: Method = "guarded",
        *,
        l1_ratio: float = 0.5,
        n_lambdas: int = 100,
        n_folds: int = 5,
        fold_block: float | str = "1.5 km",
        selection: Literal["minimum", "one_se"] = "minimum",
        shift_test: bool = True,
        random_state: int = 0,
    ) -> None:
        self.method = method
        self.l1_ratio = l1_ratio
        self.n_lambdas = n_lambdas
        self.n_folds = n_folds
        self.fold_block = fold_block
        self.selection = selection
        self.shift_test = shift_test
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
            Enters as log offset, or as the covariate that the `Exposure` says it is (guarded only).
        folds : ndarray of int, shape (n_cells,), optional
            Fold of each cell, instead of the method's own.
        allow_later_factors : bool
            Fit although factor data reach into the period of the incidents, and say so.
        executor : concurrent.futures.Executor, optional
            Runs the sums over cells elsewhere, as ``distributed.Client.get_executor()`` does on a cluster. The results have
            the same bits.
        store : path, optional
            A folder for codes and blocks of cells, instead of memory; on a cluster on storage that all workers see.
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
        check_count("n_folds", self.n_folds, minimum=2)
        if self.method == "guarded" and not self.shift_test:
            raise InputError(
                "Invalid shift_test False. Guarded weights are those that pass the shift test; use method='classic' to do "
                "without it."
            )
        observations = observe(grid, incidents, exposure=exposure)
        _check_spread(observations)
        candidates = (
            factors if isinstance(factors, Candidates) else build_candidates(grid, factors, store=store)
        )
        self.timing_ = check_together(grid, candidates, observations, allow_later=allow_later_factors)
        self.candidates_, self.observations_ = candidates, observations
        self.folds_ = folds = None if folds is None else _check_folds(folds, grid)
        fit = self._fit_classic if self.method == "classic" else self._fit_guarded
        screen = Screen(self.l1_ratio, self.n_lambdas, self.selection, Compute(executor, store))
        columns, interval = fit(screen, folds, progress)

        in_model = self.weights_.loc[self.weights_["status"] == IN_MODEL].set_index("factor")
        names = [str(candidates.columns["factor"].iloc[column]) for column in columns]
        self.flags_ = pd.DataFrame(
            {name: candidates.column(column) for name, column in zip(names, columns, strict=True)},
            index=pd.RangeIndex(grid.n_cells, name="cell_id"),
        )
        self.covariance_ = pd.DataFrame(self._covariance, index=names, columns=names)
        self.rrs_ = relative_risk_score(self.flags_.to_numpy(), in_model["coef"][names].to_numpy(dtype=float))
        few = observations.n_incidents < FEW_INCIDENTS
        self.notes_ = (
            *grid.notes,
            *candidates.notes,
            self.timing_,
            observations.exposure.statement,
            *([EXPLORATORY.format(n=observations.n_incidents, least=FEW_INCIDENTS)] if few else []),
            interval,
        )
        return self

    def _fit_classic(
        self, screen: Screen, folds: np.ndarray | None, progress: Callable[[int, int], None] | None
    ) -> tuple[tuple[int, ...], str]:
        """The published procedure, on whole cells; shifts only comment on it."""
        candidates, observations = self.candidates_, self.observations_
        exposure = observations.exposure
        if exposure.role == "covariate":
            raise InputError(
                "Invalid exposure with role 'covariate'. The classic procedure has no covariates; use "
                "method='guarded', or the exposure as an offset."
            )
        offset = None if np.all(exposure.values == 1.0) else np.log(exposure.values)
        if folds is None:
            folds = random_folds(candidates.grid.n_cells, self.n_folds, self.random_state)
        selection = select_columns(
            screen, candidates, observations.counts, offset, folds, swaps=False, progress=progress
        )
        self.response_ = _response(
            observations, np.zeros(candidates.grid.n_cells) if offset is None else offset
        )
        chosen = selection.chosen
        gate = Gate({}, {}, {}, 0)
        if self.shift_test:
            gate = gate_by_shifts(Plane(candidates.grid), candidates, chosen.columns, self.response_)
        self._keep(selection)
        self.weights_ = classic_weights(candidates, observations.counts, selection, gate)
        self.columns_ = scored_columns(candidates, gate, chosen.columns, chosen.columns)
        self.family_, self.intercept_ = chosen.fit.family, float(chosen.fit.intercept)
        log_dispersion = chosen.fit.log_dispersion
        self.dispersion_ = None if log_dispersion is None else float(np.exp(log_dispersion))
        self.noise_: Noise | None = None
        self.fold_block_m_: float | None = None
        self._covariance = chosen.fit.covariance[1 : 1 + len(chosen.columns), 1 : 1 + len(chosen.columns)]
        effect = np.zeros(candidates.grid.n_cells)
        for column, coef in zip(chosen.columns, chosen.fit.coef, strict=True):
            effect += coef * candidates.column(column)
        self._means = np.exp(chosen.fit.intercept + effect) * exposure.values
        return chosen.columns, CLASSIC_INTERVAL

    def _fit_guarded(
        self, screen: Screen, folds: np.ndarray | None, progress: Callable[[int, int], None] | None
    ) -> tuple[tuple[int, ...], str]:
        """The recipe of `rtmkc.model.guarded.recipe`; the share of a cell inside the area is part of its exposure."""
        candidates, observations = self.candidates_, self.observations_
        grid, exposure = candidates.grid, observations.exposure
        log_exposure = np.log(exposure.values)
        if exposure.role == "covariate":
            covariates = np.column_stack([log_exposure, log_exposure**2])
            self.response_ = _response(observations, np.log(grid.share), covariates)
        else:
            self.response_ = _response(observations, np.log(grid.share) + log_exposure)
        fitted = fit_guarded(
            screen,
            candidates,
            self.response_,
            n_folds=self.n_folds,
            fold_block=parse_length(self.fold_block, name="fold_block", block_length=grid.block_length),
            random_state=self.random_state,
            folds=folds,
            progress=progress,
        )
        self._keep(fitted.selection)
        self.weights_ = guarded_weights(candidates, observations.counts, fitted)
        self.columns_ = scored_columns(
            candidates, fitted.gate, fitted.selection.chosen.columns, fitted.columns
        )
        self.family_, self.dispersion_ = "poisson", None
        self.fold_block_m_ = None if folds is not None else fitted.block_side
        final = fitted.final
        self.noise_ = None if final is None else final.noise
        self.intercept_ = float(fitted.naive.intercept) if final is None else final.intercept
        self._covariance = np.zeros((0, 0)) if final is None else final.covariance
        self._means = fitted.means
        return fitted.columns, GUARDED_INTERVAL

    def _keep(self, selection: Selection) -> None:
        """Keep what screen and search found, which both methods begin with."""
        self.path_, self.n_kept_ = selection.path, len(selection.kept)
        self.bic_ = bic_table(selection.searches)
        self.runner_ups_ = runner_ups(self.candidates_, selection)

    def summary(self) -> str:
        """Return the model as text: data, settings, noise, weights, and why other factors have none."""
        check_is_fitted(self)
        return summarise(self)

    def path_table(self) -> pd.DataFrame:
        """Return the penalty path of the screen: penalty, n_columns, cv_deviance per cell, cv_se, and which was taken."""
        check_is_fitted(self)
        return path_table(self.path_)

    def predict(self) -> np.ndarray:
        """Return the expected incidents of each cell over the period of the data; shape (n_cells,)."""
        check_is_fitted(self)
        return self._means


def _response(
    observations: Observations, offset: np.ndarray, covariates: np.ndarray | None = None
) -> Response:
    none = np.zeros((len(offset), 0))
    return Response(observations.counts.astype(float), offset, none if covariates is None else covariates)


def _check_spread(observations: Observations) -> None:
    """A weight compares places: with all incidents in one there is nothing to compare."""
    if observations.n_incidents > 1 and (observations.counts > 0).sum() == 1:
        raise InputError(
            f"Invalid incidents {observations.incidents.name!r}. All {observations.n_incidents:,} lie in one cell, as they "
            "do where coordinates are a default; give them places, or more of them."
        )


def _check_folds(folds: Any, grid: Grid) -> np.ndarray:
    numbers = np.asarray(folds)
    if (
        numbers.shape != (grid.n_cells,)
        or not np.issubdtype(numbers.dtype, np.integer)
        or len(np.unique(numbers)) < 2
    ):
        raise InputError(
            f"Invalid folds of shape {numbers.shape} and type {numbers.dtype}. Give the number of a fold for each of the "
            f"{grid.n_cells:,} cells, and at least two folds."
        )
    return numbers


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
    score = log_risk(np.asarray(flags).T, coef, len(flags))
    return np.exp(score - score.min(initial=np.inf))


def log_risk(marks: Iterable[np.ndarray], coef: np.ndarray, n_cells: int) -> np.ndarray:
    """Return the sum of the coefficients of the factors present, added in their order; shape (n_cells,)."""
    total = np.zeros(n_cells)
    for mark, one in zip(marks, np.asarray(coef, dtype=float), strict=True):
        total += np.where(mark, one, 0.0)
    return total
