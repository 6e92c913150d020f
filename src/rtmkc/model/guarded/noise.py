"""Patches of risk that no factor explains: how strong and how wide they are, and weights that allow for them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rtmkc.evidence.statistics.diagnostics import correlogram, fit_range
from rtmkc.model.guarded.plane import Plane
from rtmkc.model.threads import in_threads, inner

Floats = NDArray[np.floating]

LONGEST_LAG = 40
"""Cells; beyond it, and beyond a quarter of the shorter side, pairs say more of the city's shape than of patches."""
DIGITS = 3
"""Variance and range are kept to three decimals: finer than data can tell, and the same however sums are ordered."""
TOLERANCE = 1e-9
ROUGH = 1e-7
"""Of equations that are solved by steps: of weights, which are then within 2e-9 of their standard errors (two real
cities), and of tests, which only count how many shifts score higher."""
LEVELS = 32
MAX_STEPS = 300


@dataclass(frozen=True)
class Noise:
    """What a model leaves over, relative to its means.

    Attributes
    ----------
    variance, range_cells : float
        Of a log-Gaussian field with covariance ``variance exp(-distance / range)``; 0 and 0 without patches.
    nugget : float
        Relative variance of single cells beyond that and beyond chance: addresses of their own.
    """

    variance: float
    range_cells: float
    nugget: float


def measure_noise(plane: Plane, counts: Floats, means: Floats) -> Noise:
    """Estimate the noise that counts show around means, both (n_cells,)."""
    grid = plane.grid
    lag = int(np.clip(plane.short_side // 4, 2, LONGEST_LAG))
    residuals, expected = (grid.to_raster(vector, fill=0.0) for vector in (counts - means, means))
    variance, range_cells = fit_range(correlogram(residuals, expected, grid.inside, lag))
    variance, range_cells = round(variance, DIGITS), round(range_cells, DIGITS)
    single = float(((counts - means) ** 2 - means).sum() / (means**2).sum())
    return Noise(variance, range_cells, round(max(0.0, single - float(np.expm1(variance))), DIGITS))


@dataclass(frozen=True, eq=False)
class Whitened:
    """What the shift statistic is made of.

    Attributes
    ----------
    residual, weight : ndarray, shape (n_cells,)
        Inverse covariance times the relative residuals, and times 1; without patches the plain residuals and means.
    variance : ndarray, shape (n_cells,)
        Of the residual of each cell: the diagonal of the inverse covariance, as if the cells around were like it.
    filter : ndarray
        Spectrum of the inverse covariance of an average cell, which is real.
    """

    residual: Floats
    weight: Floats
    variance: Floats
    filter: Floats


class Whitener:
    """The inverse covariance of relative residuals ``(y - mean) / mean``, applied without being formed.

    The covariance is ``1 / mean + nugget`` on the diagonal (chance, and addresses of their own) plus
    ``exp(variance exp(-d / range)) - 1`` between cells; without patches the inverse is diagonal.
    """

    def __init__(self, plane: Plane, means: Floats, noise: Noise, *, tolerance: float = TOLERANCE) -> None:
        self._plane, self._tolerance = plane, tolerance
        self._diagonal = 1.0 / means + noise.nugget
        self._kernel: Floats | None = None
        if noise.variance > 0:
            covariance = np.expm1(noise.variance * np.exp(-plane.distance / noise.range_cells))
            # A covariance on a torus may have eigenvalues that are barely negative: none may be.
            self._kernel = np.maximum(plane.transform(covariance).real, 0.0)

    def whiten(self, counts: Floats, means: Floats, weight: Floats | None = None) -> Whitened:
        """Whiten the residuals of counts around means; `weight` is what `solve` makes of 1, where that is known."""
        diagonal, kernel = self._diagonal, self._kernel
        relative = (counts - means) / means
        if weight is None:
            residual, weight = self.solve([relative, np.ones_like(means)])
        else:
            residual = self.solve([relative])[0]
        if kernel is None:
            flat = np.full(self._plane.spectrum_shape, 1.0 / diagonal.mean())
            return Whitened(residual, weight, 1.0 / diagonal, flat)
        levels = np.geomspace(diagonal.min(), diagonal.max(), LEVELS)
        inverse = [self._plane.mean_of(1.0 / (level + kernel)) for level in levels]
        variance = np.interp(diagonal, levels, inverse)
        return Whitened(residual, weight, variance, 1.0 / (diagonal.mean() + kernel))

    def solve(self, vectors: Sequence[Floats]) -> list[Floats]:
        """Return the inverse covariance times each of some cell vectors, several at once."""
        return in_threads(self._solve, vectors)

    def _solve(self, vector: Floats) -> Floats:
        """Conjugate gradients, preconditioned by the diagonal."""
        diagonal, kernel = self._diagonal, self._kernel
        if kernel is None:
            return vector / diagonal
        solution, left = np.zeros_like(vector), vector.copy()
        scaled = left / diagonal
        direction, size = scaled.copy(), inner(left, scaled)
        enough = self._tolerance**2 * size
        for _ in range(MAX_STEPS):
            if size <= enough:
                break
            image = self._plane.convolve(direction, kernel)
            image += diagonal * direction
            step = size / inner(direction, image)
            solution += step * direction
            left -= step * image
            np.divide(left, diagonal, out=scaled)
            before, size = size, inner(left, scaled)
            direction *= size / before
            direction += scaled
        return solution


@dataclass(frozen=True, eq=False)
class NoiseFit:
    """Weights that allow for patches of risk.

    Attributes
    ----------
    intercept : float
        Such that expected incidents sum to those observed.
    coef, standard_errors : ndarray, shape (n_columns,)
        Log relative risk values, and their model-based standard errors.
    covariance : ndarray, shape (n_columns, n_columns)
    means : ndarray, shape (n_cells,)
    noise : Noise
    whitened : Whitened
    information : ndarray, shape (n_columns,)
        Information on each column if nothing else but the intercept were in the model.
    """

    intercept: float
    coef: Floats
    standard_errors: Floats
    covariance: Floats = field(repr=False)
    means: Floats = field(repr=False)
    noise: Noise
    whitened: Whitened = field(repr=False)
    information: Floats = field(repr=False)


def fit_with_noise(
    plane: Plane, matrix: Floats, covariates: Floats, counts: Floats, offset: Floats, start: Floats
) -> NoiseFit:
    """Fit log-linear means to counts whose noise is correlated in space.

    Parameters
    ----------
    plane : Plane
    matrix : (n_cells, n_columns)
        Columns without intercept.
    covariates : (n_cells, n_covariates)
        What is adjusted for besides; it gets no weight.
    counts, offset : (n_cells,)
        Incidents, and log exposure.
    start : (n_cells,)
        Means of the Poisson fit of all of them.

    Returns
    -------
    NoiseFit

    Notes
    -----
    Solves ``X' S^-1 (y - m) / m = 0`` where ``m S m`` is the covariance of the counts: a generalised estimating
    equation [1]_, whose weights are nearly optimal for a log-Gaussian Cox process [2]_. S comes from the residuals of
    the start, and once more from those of its solution.

    References
    ----------
    .. [1] Liang, K.-Y. and Zeger, S. L. (1986). Longitudinal data analysis using generalized linear models.
       Biometrika 73.
    .. [2] Guan, Y., Jalilian, A. and Waagepetersen, R. (2015). Quasi-likelihood for spatial point processes.
       Journal of the Royal Statistical Society B 77.
    """
    n_columns = matrix.shape[1]
    columns = np.column_stack([np.ones(len(counts)), matrix, covariates])
    point: Floats = np.linalg.lstsq(columns, np.log(start) - offset, rcond=None)[0]
    means = start
    for _ in range(2):
        noise = measure_noise(plane, counts, means)
        whitener = Whitener(plane, means, noise)
        solutions = whitener.solve(list(columns.T))
        weighted = np.column_stack(solutions)
        point = _solve_equation(columns, weighted, counts, offset, point)
        means = np.exp(columns @ point + offset)
    information = columns.T @ weighted
    weights = slice(1, 1 + n_columns)
    covariance = np.linalg.inv(information)[weights, weights]
    alone = (np.diag(information) - information[0] ** 2 / information[0, 0])[weights]
    raised = float(np.log(counts.sum() / means.sum()))
    return NoiseFit(
        float(point[0]) + raised,
        point[weights],
        np.sqrt(np.diag(covariance)),
        covariance,
        means * np.exp(raised),
        noise,
        whitener.whiten(counts, means, solutions[0]),
        alone,
    )


def _solve_equation(
    columns: Floats, weighted: Floats, counts: Floats, offset: Floats, start: Floats
) -> Floats:
    """Find where the weighted relative residuals vanish: Newton steps, shortened as long as they do not help."""

    def score(at: Floats) -> tuple[Floats, Floats]:
        relative = counts / np.exp(columns @ at + offset)
        return weighted.T @ (relative - 1.0), weighted.T @ (relative[:, None] * columns)

    point = start
    value, slope = score(point)
    metric = np.linalg.inv(columns.T @ weighted)
    for _ in range(100):
        step = np.linalg.solve(slope, value)
        step *= min(1.0, 1.0 / np.abs(step).max(initial=1e-300))
        error = float(value @ metric @ value)
        for _ in range(20):
            trial_value, trial_slope = score(point + step)
            if float(trial_value @ metric @ trial_value) < error:
                break
            step = step / 2
        else:
            break  # rounding is all that is left
        point, value, slope = point + step, trial_value, trial_slope
        if np.abs(step).max() < 1e-12:
            break
    return point
