"""Poisson, NB1 and NB2 for rows of counts: likelihood, score, information, and their Newton fit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from rtmkc import checks
from rtmkc.engine.rows import kernels
from rtmkc.errors import InputError

Floats = NDArray[np.float64]
Integers = NDArray[Any]

MAX_ITERATIONS = 200
_FIRST_LOG_DISPERSIONS = (-4.0, -2.0, 0.0, 2.0)


@dataclass(frozen=True)
class Family:
    """A distribution of counts with mean mu and log link.

    Notes
    -----
    With ``y`` a count, ``mu = exp(offset + intercept + x b)``, and sums over ``k = 0 .. y - 1``, which need
    no special function and lose no digits when the dispersion is small:

    - ``poisson``: variance mu; ``ll = y log mu - mu - log y!``.
    - ``nb1``: variance ``mu (1 + s)`` (``NBII`` in gamlss, what RTMDx fits);
      ``ll = sum log(mu + k s) - mu log(1 + s) / s - y log(1 + s) - log y!``, linear in mu where ``y = 0``.
    - ``nb2``: variance ``mu + a mu^2`` (``MASS::glm.nb`` with theta = 1 / a);
      ``ll = sum log(1 + k a) + y log mu - (y + 1/a) log(1 + a mu) - log y!``.

    The log of the dispersion, s or a, is the last parameter.
    """

    name: str
    code: int

    @property
    def has_dispersion(self) -> bool:
        """Whether the family has a dispersion parameter."""
        return self.code != kernels.POISSON

    def variance(self, mean: ArrayLike, log_dispersion: float | None = None) -> Floats:
        """Return the variance of a count with this mean.

        Examples
        --------
        >>> float(FAMILIES["nb1"].variance(2.3, np.log(1.7)).round(2))
        6.21
        """
        mu = np.asarray(mean, dtype=np.float64)
        if self.code == kernels.POISSON or log_dispersion is None:
            return mu
        dispersion = np.exp(log_dispersion)
        return np.asarray(mu * (1 + dispersion) if self.code == kernels.NB1 else mu + dispersion * mu**2)

    def evaluate(self, rows: "Rows", point: ArrayLike) -> tuple[float, Floats, Floats]:
        """Return log likelihood, score and observed information at (intercept, coef[, log dispersion])."""
        where = np.array(point, dtype=np.float64)
        score, information = np.empty(where.size), np.empty((where.size, where.size))
        likelihood = kernels.evaluate_rows(self.code, *rows.arrays(), where, score, information)
        return float(likelihood) + rows.constant, score, information


FAMILIES = {
    "poisson": Family("poisson", kernels.POISSON),
    "nb1": Family("nb1", kernels.NB1),
    "nb2": Family("nb2", kernels.NB2),
}


@dataclass(frozen=True, eq=False)
class Rows:
    """Sums over cells that share a pattern: all that a likelihood needs of them.

    Attributes
    ----------
    matrix : (n_rows, n_columns)
        Columns without the intercept.
    offset : (n_rows,)
        Log exposure of a row's mean.
    weight, total : (n_rows,)
        Multiplier of the mean, and summed counts.
    first : (n_rows,)
        Number of a row's cells with incidents, for ``nb1``; else empty.
    pointer, steps, numbers, scales : arrays
        Number of cells with more than k incidents, for ``k = 1, 2, ...``: a list for each row for ``nb1``, where a scale
        multiplies the row's mean; for ``nb2`` one list for all rows, from k = 0; empty for ``poisson``.
    constant : float
        What the log likelihood adds that holds no parameter.
    """

    matrix: Floats
    offset: Floats
    weight: Floats
    total: Floats
    first: Floats
    pointer: Integers
    steps: Floats
    numbers: Floats
    scales: Floats
    constant: float

    def arrays(self) -> tuple[Any, ...]:
        """Return the arrays in the order of the kernels; no column is crossed with the rows."""
        one_value = (array[:, np.newaxis] for array in (self.weight, self.total, self.first))
        lists = (self.pointer, self.steps, self.numbers, self.scales)
        return self.matrix, self.offset, np.zeros(1), *one_value, *lists


@dataclass(frozen=True, eq=False)
class GlmFit:
    """A fitted model of counts.

    Attributes
    ----------
    coef : (n_columns,)
    intercept : float
    log_dispersion : float or None
        Log of sigma (``nb1``) or a (``nb2``); None for ``poisson`` and at the boundary.
    covariance : square
        Inverse observed information; order: intercept, columns, log dispersion (if there is one).
    log_likelihood : float
        With all terms, also ``log y!``.
    n_iterations : int
    converged : bool
    family : str
    at_boundary : bool
        The counts are not overdispersed: this is the Poisson fit, and the dispersion is zero.
    separated : tuple of int
        Columns whose coefficient ran to the cap of 10 in absolute value.
    notes : tuple of str
        What a reader must know of the fit, in sentences.
    """

    coef: Floats
    intercept: float
    log_dispersion: float | None
    covariance: Floats
    log_likelihood: float
    n_iterations: int
    converged: bool
    family: str
    at_boundary: bool
    separated: tuple[int, ...]
    notes: tuple[str, ...]

    @property
    def standard_errors(self) -> Floats:
        """Square roots of the diagonal of `covariance`, in its order."""
        return np.sqrt(np.maximum(np.diag(self.covariance), 0.0))

    @property
    def n_parameters(self) -> int:
        """Intercept, coefficients and, for the negative binomials, the dispersion (also at the boundary)."""
        return self.coef.size + 1 + (self.family != "poisson")

    def bic(self, n_cells: int) -> float:
        """Return ``-2 ll + n_parameters log(n_cells)``, gamlss's SBC."""
        return float(-2.0 * self.log_likelihood + self.n_parameters * np.log(n_cells))

    def aic(self) -> float:
        """Return ``-2 ll + 2 n_parameters``."""
        return float(-2.0 * self.log_likelihood + 2.0 * self.n_parameters)


def fit_glm(
    matrix: ArrayLike,
    counts: ArrayLike,
    *,
    family: str = "poisson",
    offset: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    start: Sequence[float] | Floats | None = None,
) -> GlmFit:
    """Fit a Poisson, NB1 or NB2 regression with intercept by maximum likelihood.

    Parameters
    ----------
    matrix : (n_rows, n_columns)
        Columns without intercept; may have no columns.
    counts : (n_rows,)
        Counts; whole numbers for the negative binomials.
    family : {"poisson", "nb1", "nb2"}
    offset : (n_rows,), optional
        Log exposure.
    weights : (n_rows,), optional
        How many equal rows a row stands for.
    start : (1 + n_columns [+ 1],), optional
        Where to begin: intercept, coefficients, log dispersion.

    Raises
    ------
    InputError
        If shapes or values cannot be used, or there are no incidents.

    Notes
    -----
    Newton's method on all parameters with the observed information and a line search; a negative binomial
    starts at the Poisson fit and the best of a few dispersions.

    Examples
    --------
    >>> fit = fit_glm([[0.0], [0.0], [1.0], [1.0]], [1, 3, 7, 9])
    >>> np.exp([fit.intercept, fit.coef[0]]).round(6)
    array([2., 4.])
    """
    checks.check_choice("family", family, tuple(FAMILIES))
    rows = rows_of_cells(matrix, counts, family=family, offset=offset, weights=weights)
    return fit_rows(rows, family, start)


def rows_of_cells(
    matrix: ArrayLike,
    counts: ArrayLike,
    *,
    family: str,
    offset: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Rows:
    """Return `Rows` of uncollapsed data; arguments as in `fit_glm`."""
    columns = np.ascontiguousarray(matrix, dtype=np.float64)
    if columns.ndim != 2 or not np.isfinite(columns).all():
        raise InputError(
            f"Invalid matrix {columns.shape}. It must be two-dimensional without NaN or infinity."
        )
    n_rows = columns.shape[0]
    y = _vector("counts", counts, n_rows)
    w = np.ones(n_rows) if weights is None else _vector("weights", weights, n_rows)
    log_exposure = np.zeros(n_rows) if offset is None else _vector("offset", offset, n_rows, finite=False)
    none = log_exposure < -600
    if (none & (y > 0)).any() or (log_exposure > 600).any():
        raise InputError(
            "Invalid offset: above 600, or incidents where there is no exposure. Check the exposure."
        )
    if none.any():
        w, log_exposure = np.where(none, 0.0, w), np.where(none, 0.0, log_exposure)
    if n_rows == 0 or y.min() < 0 or w.min() < 0:
        raise InputError("Invalid counts or weights: empty or negative. Both must be at least 0.")
    if not (w * y).sum() > 0:
        raise InputError("Invalid counts: no incidents in any row. A model needs at least one incident.")
    constant = -float((w * gammaln(y + 1)).sum())
    pointer, first = np.zeros(n_rows + 1, dtype=np.int64), np.empty(0)
    steps, numbers = np.empty((2, 0))
    if family == "nb1":
        first, more = w * (y > 0), np.maximum(whole_counts(y) - 1, 0)
        pointer[1:] = np.cumsum(more)
        steps = (1 + np.arange(pointer[-1]) - np.repeat(pointer[:-1], more)).astype(np.float64)
        numbers = np.repeat(w, more)
    elif family == "nb2":
        steps, numbers = tail_of_all(whole_counts(y), w)
    scales = np.ones(steps.size)
    return Rows(columns, log_exposure, w, w * y, first, pointer, steps, numbers, scales, constant)


def _vector(name: str, values: ArrayLike, n_rows: int, *, finite: bool = True) -> Floats:
    vector = np.ascontiguousarray(values, dtype=np.float64)
    if vector.shape != (n_rows,) or np.isnan(vector).any() or (finite and np.isinf(vector).any()):
        raise InputError(
            f"Invalid {name} {vector.shape}. There must be one number for each of the {n_rows} rows."
        )
    return vector


def whole_counts(counts: Floats) -> Integers:
    """Return counts as integers; a negative binomial of anything else has no likelihood here."""
    whole = counts.astype(np.int64)
    if (whole != counts).any():
        raise InputError("Invalid counts: not whole numbers. A negative binomial model needs whole counts.")
    return whole


def tail_of_all(counts: Integers, weights: Floats) -> tuple[Floats, Floats]:
    """Return k = 0, 1, ... and the weight of all rows with a count above k."""
    above = np.bincount(counts, weights=weights)[::-1].cumsum()[::-1][1:]
    return np.arange(above.size, dtype=np.float64), np.ascontiguousarray(above)


def fit_rows(rows: Rows, family: str, start: Sequence[float] | Floats | None = None) -> GlmFit:
    """Fit a model to `Rows`, as `fit_glm` does to cells."""
    kind = FAMILIES[family]
    size = 1 + rows.matrix.shape[1] + kind.has_dispersion
    point = None if start is None else np.array(start, dtype=np.float64)
    if point is not None and (point.shape != (size,) or not np.isfinite(point).all()):
        raise InputError(f"Invalid start {start!r}. It must be {size} finite numbers.")
    maximum = maximise(rows, family, point)
    covariance, singular = _invert(maximum.information)
    coef = maximum.point[1 : 1 + rows.matrix.shape[1]]
    separated = tuple(int(j) for j in np.flatnonzero(np.abs(coef) >= kernels.COEFFICIENT_CAP))
    notes = []
    if maximum.at_boundary:
        notes.append("The counts are not overdispersed: this is the Poisson fit.")
    if separated:
        notes.append(f"Columns {list(separated)} separate the counts: coefficients stopped at 10 in size.")
    if singular:
        notes.append("Some columns are combinations of others: their coefficients are not determined.")
    if not maximum.converged:
        notes.append("Newton's method did not converge.")
    return GlmFit(
        coef=coef.copy(),
        intercept=float(maximum.point[0]),
        log_dispersion=float(maximum.point[-1]) if kind.has_dispersion and not maximum.at_boundary else None,
        covariance=covariance,
        log_likelihood=maximum.log_likelihood,
        n_iterations=maximum.n_iterations,
        converged=maximum.converged,
        family=family,
        at_boundary=maximum.at_boundary,
        separated=separated,
        notes=tuple(notes),
    )


def fit_draws(
    matrix: Floats,
    n_columns: int,
    pattern: Integers,
    block: Integers,
    counts: Floats,
    exposure: Floats,
    draws: Floats,
    start: Floats,
) -> Floats:
    """Fit a Poisson model to rows whose blocks have other weights in every draw.

    Parameters
    ----------
    matrix : (n_patterns, n_columns + n_covariates)
    n_columns : int
        How many of them are columns that need incidents inside and outside.
    pattern, block : (n_rows,) of int
    counts, exposure : (n_rows,)
        Sums over the cells of a pattern in a block.
    draws : (n_draws, n_blocks)
        Weight of each block.
    start : (1 + n_columns + n_covariates,)
        Where every fit begins: intercept and coefficients.

    Returns
    -------
    ndarray, shape (n_fitted, n_columns)
        Coefficients of the columns, for the draws in which all of them can be told.
    """
    points, is_fitted = np.empty((len(draws), start.size)), np.empty(len(draws), dtype=np.bool_)
    kernels.fit_draws(
        np.ascontiguousarray(matrix), n_columns, pattern, block, counts, exposure, draws,
        start, MAX_ITERATIONS, points, is_fitted,
    )  # fmt: skip
    return points[is_fitted, 1 : 1 + n_columns]


@dataclass(frozen=True, eq=False)
class Maximum:
    """Where Newton's method ended; at the boundary the point has no dispersion."""

    point: Floats
    information: Floats
    log_likelihood: float
    n_iterations: int
    converged: bool
    at_boundary: bool = False


def maximise(rows: Rows, family: str, start: Floats | None = None) -> Maximum:
    """Maximise the likelihood of `Rows`; without `start` from the Poisson null and a moment."""
    kind = FAMILIES[family]
    if not kind.has_dispersion:
        return _climb(rows, kind, null_point(rows) if start is None else start)
    if start is None:
        poisson = _climb(rows, FAMILIES["poisson"], null_point(rows))
        start = np.append(poisson.point, _first_log_dispersion(rows, kind, poisson.point))
    maximum = _climb(rows, kind, start)
    if maximum.point[-1] > kernels.LOG_DISPERSION_FLOOR:
        return maximum
    poisson = _climb(rows, FAMILIES["poisson"], maximum.point[:-1].copy())
    # Poisson has the log of a cell's mean for each of its incidents, nb1 for the first.
    likelihood = poisson.log_likelihood + float(rows.numbers @ np.log(rows.scales))
    return replace(poisson, log_likelihood=likelihood, at_boundary=True)


def _climb(rows: Rows, kind: Family, start: Floats) -> Maximum:
    point = np.array(start, dtype=np.float64)
    information = np.empty((point.size, point.size))
    likelihood, n_iterations, converged = kernels.fit_rows(
        kind.code, *rows.arrays(), point, information, MAX_ITERATIONS
    )
    return Maximum(point, information, float(likelihood) + rows.constant, int(n_iterations), bool(converged))


def null_point(rows: Rows) -> Floats:
    """Return the Poisson fit without columns: intercept, and zeros."""
    exposure = float((rows.weight * np.exp(rows.offset)).sum())
    point = np.zeros(1 + rows.matrix.shape[1])
    point[0] = np.log(rows.total.sum() / exposure)
    return point


def _first_log_dispersion(rows: Rows, kind: Family, point: Floats) -> float:
    """Return the best of a few values: the likelihood need not be concave in the dispersion."""
    values = [kind.evaluate(rows, np.append(point, trial))[0] for trial in _FIRST_LOG_DISPERSIONS]
    return _FIRST_LOG_DISPERSIONS[int(np.argmax(values))]


def _invert(information: Floats) -> tuple[Floats, bool]:
    """Return the inverse, and whether it had to be a pseudo-inverse; never NaN."""
    scale = np.sqrt(np.maximum(np.diag(information), 1e-200))
    scaled = information / np.outer(scale, scale)
    singular = bool(np.linalg.eigvalsh(scaled).min() < 1e-11)
    inverse = np.linalg.pinv(scaled, rcond=1e-11, hermitian=True) if singular else np.linalg.inv(scaled)
    return (inverse + inverse.T) / 2 / np.outer(scale, scale), singular
