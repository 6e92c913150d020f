"""The array-level scikit-learn estimator: a Poisson elastic net with a cross-validated penalty."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import d2_tweedie_score
from sklearn.model_selection import KFold, check_cv
from sklearn.utils import Tags
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from rtmkc import checks
from rtmkc.engine.blocks import Design, Floats, Integers
from rtmkc.engine.path import fit_path
from rtmkc.errors import InputError

SELECTIONS = ("minimum", "one_se")


class RiskRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Poisson regression with an elastic-net penalty along a cross-validated path.

    For whoever has a matrix rather than maps. Columns with few distinct values are fast: the solver works on
    codes, not on cells. Columns are not standardised.

    Parameters
    ----------
    l1_ratio : float
        Share of the absolute penalty, greater than 0 and at most 1.
    n_lambdas : int
        Number of penalties on the path.
    lambda_ratio : float
        Smallest penalty, as a share of the one that keeps every coefficient at zero.
    cv : int, splitter, iterable of (train, test), or array (n_samples,) of fold numbers
        A number of folds shuffles the rows by `random_state`. The test sets must not overlap.
    selection : {"minimum", "one_se"}
        Penalty with the least held-out deviance, or the largest within one standard error of it.
    positive : bool
        Keep every coefficient at least 0.
    tolerance : float
        Largest violation of the optimality conditions per row.
    n_threads : int
        Threads; the result is the same for any number.
    random_state : int, RandomState instance or None
        Shuffles the rows into folds if `cv` is a number.

    Attributes
    ----------
    coef_ : (n_features,)
    intercept_ : float
    lambda_ : float
        The chosen penalty.
    path_ : PathFit
        All penalties, with the held-out deviance of each.

    See Also
    --------
    rtmkc.engine.path.fit_path : the solver, with offsets, bounds for each column and progress.

    Examples
    --------
    >>> near = np.tile([0.0, 0.0, 0.0, 1.0], 50).reshape(-1, 1)
    >>> incidents = np.where(near[:, 0] > 0, np.arange(200) % 7, np.arange(200) % 2)
    >>> model = RiskRegressor().fit(near, incidents)
    >>> model.predict([[0.0], [1.0]]).round(1)
    array([0.3, 3. ])
    """

    def __init__(
        self,
        *,
        l1_ratio: float = 0.5,
        n_lambdas: int = 100,
        lambda_ratio: float = 1e-3,
        cv: Any = 5,
        selection: str = "minimum",
        positive: bool = False,
        tolerance: float = 1e-8,
        n_threads: int = 1,
        random_state: Any = 0,
    ) -> None:
        self.l1_ratio = l1_ratio
        self.n_lambdas = n_lambdas
        self.lambda_ratio = lambda_ratio
        self.cv = cv
        self.selection = selection
        self.positive = positive
        self.tolerance = tolerance
        self.n_threads = n_threads
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        offset: ArrayLike | None = None,
    ) -> Self:
        """Fit the path, choose the penalty.

        Parameters
        ----------
        X : (n_samples, n_features)
        y : (n_samples,)
            Counts, at least 0.
        sample_weight : (n_samples,), optional
        offset : (n_samples,), optional
            Log exposure.

        Raises
        ------
        InputError
            If a parameter cannot be used, or there are no incidents.
        """
        checks.check_choice("selection", self.selection, SELECTIONS)
        matrix, counts = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        weights = (
            None if sample_weight is None else _check_sample_weight(sample_weight, matrix, dtype=np.float64)
        )
        path = fit_path(
            Design.from_matrix(matrix),
            counts,
            offset=offset,
            weights=weights,
            folds=self._folds(matrix, counts),
            l1_ratio=self.l1_ratio,
            n_lambdas=self.n_lambdas,
            lambda_ratio=self.lambda_ratio,
            lower=0.0 if self.positive else -np.inf,
            tolerance=self.tolerance,
            n_threads=self.n_threads,
        )
        chosen = path.best if self.selection == "minimum" else path.one_se
        self.path_ = path
        self.lambda_ = float(path.lambdas[chosen])
        self.coef_ = path.coefs[chosen].copy()
        self.intercept_ = float(path.intercepts[chosen])
        return self

    def predict(self, X: ArrayLike, offset: ArrayLike | None = None) -> Floats:
        """Return the expected count of each row, ``(n_samples,)``."""
        check_is_fitted(self)
        matrix = validate_data(self, X, dtype=np.float64, reset=False)
        eta = self.intercept_ + matrix @ self.coef_
        if offset is not None:
            eta = eta + np.asarray(offset, dtype=np.float64)
        return np.asarray(np.exp(np.clip(eta, -700.0, 700.0)))

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        offset: ArrayLike | None = None,
    ) -> float:
        """Return the share of the Poisson deviance explained (D2): 1 is perfect, 0 a constant."""
        return float(d2_tweedie_score(y, self.predict(X, offset), sample_weight=sample_weight, power=1))

    def _folds(self, matrix: Floats, counts: Floats) -> Integers:
        if isinstance(self.cv, np.ndarray) and self.cv.ndim == 1:
            return self.cv
        splitter = self.cv
        if isinstance(splitter, int):
            splitter = KFold(splitter, shuffle=True, random_state=self.random_state)
        folds = np.full(len(counts), -1)
        for number, (_, test) in enumerate(check_cv(splitter).split(matrix, counts)):
            if (folds[test] >= 0).any():
                raise InputError(f"Invalid cv {self.cv!r}. A row may be left out once only; use a partition.")
            folds[test] = number
        return folds

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        return tags
