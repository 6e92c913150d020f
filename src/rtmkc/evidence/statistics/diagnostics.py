"""Does a model of counts hold? Noise left in its residuals, dispersion, collinear columns: arrays in, numbers out."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from rtmkc.checks import check_count
from rtmkc.errors import InputError

Floats = NDArray[np.float64]

NOTICEABLE = 2.0
"""Correlation below this many standard errors is not told from none."""
RANGES = 241
"""Ranges tried by `fit_range`, from the lower bound to the upper in equal ratios."""


@dataclass(frozen=True, eq=False)
class Correlogram:
    """Correlation of what a model leaves over, by distance.

    Attributes
    ----------
    distance : ndarray of float, shape (n_rings,)
        Mean distance of the pairs of a ring, in cells; ring k holds distances from k - 0.5 to k + 0.5.
    value : ndarray of float, shape (n_rings,)
        Relative covariance C: 0.3 means that two cells so far apart have 30 % more pairs of incidents than
        their means would give.
    pairs : ndarray of float, shape (n_rings,)
        Pairs of cells in the ring, each counted once.
    expected_pairs : ndarray of float, shape (n_rings,)
        Pairs of incidents expected in it if nothing is correlated: one over the sampling variance of C.
    n_incidents : float
        Sum of the means.
    dispersion : float
        Squared residuals over means, at least 1.
    range_bounds : tuple of float
        Half a cell, and half the shorter side of the area in cells: no range beyond can be told.
    """

    distance: Floats
    value: Floats
    pairs: Floats
    expected_pairs: Floats
    n_incidents: float
    dispersion: float
    range_bounds: tuple[float, float]


class NoiseRange(NamedTuple):
    """Variance of the noise in the log intensity, and its range in cells; 0 and 0 if there is none.

    The range is one of `Correlogram.range_bounds` if the best lies at the bound or beyond it.
    """

    variance: float
    range_cells: float


def correlogram(residuals: ArrayLike, means: ArrayLike, inside: ArrayLike, max_lag: int) -> Correlogram:
    """Measure the correlation that a model leaves between cells, free of counting noise.

    Parameters
    ----------
    residuals : (n_rows, n_columns)
        Counts minus means. Their sum is taken out in proportion to the means, as a fitted intercept does.
    means : (n_rows, n_columns)
        Expected incidents of the model.
    inside : (n_rows, n_columns) of bool
        Cells of the area; what the other rasters hold elsewhere plays no part.
    max_lag : int
        Farthest distance in cells.

    Returns
    -------
    Correlogram
        Without rings in which there is no pair.

    Raises
    ------
    InputError
        If shapes differ, a value inside is not finite, or no incident is expected.

    Notes
    -----
    For residuals e and means mu, ``C(d) = sum e_i e_j / sum mu_i mu_j`` over the pairs at distance d. For counts that
    are Poisson given a log-Gaussian field it estimates ``exp(cov(d)) - 1`` [1]_: equal cells are left out, so the
    counting noise has mean 0. Sums over pairs are autocorrelations by FFT, padded with zeros [2]_.

    References
    ----------
    .. [1] Moller, J., Syversveen, A. R. and Waagepetersen, R. P. (1998). Log Gaussian Cox processes.
       Scandinavian Journal of Statistics 25.
    .. [2] Marcotte, D. (1996). Fast variogram computation with FFT. Computers & Geosciences 22.

    Examples
    --------
    >>> residuals = np.array([[1.0, 1.0, -1.0, -1.0]])
    >>> found = correlogram(residuals, np.ones((1, 4)), np.ones((1, 4), dtype=bool), 3)
    >>> found.pairs, found.value.round(3)
    (array([3., 2., 1.]), array([ 0.333, -1.   , -1.   ]))
    """
    area = np.asarray(inside, dtype=bool)
    max_lag = check_count("max_lag", max_lag)
    e, mu = _inside("residuals", residuals, area), _inside("means", means, area)
    n_incidents = float(mu.sum())
    if mu.min(initial=0.0) < 0 or not n_incidents > 0:
        raise InputError("Invalid means: negative, or without incidents. Give the means of a fitted model.")
    e = e - mu * (e.sum() / n_incidents)
    rows, columns = (np.flatnonzero(area.any(axis=axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    sums, distance = _pair_sums([e[box], mu[box], area[box].astype(float)], max_lag)
    ring = np.rint(distance).astype(np.int64)
    product, expected, pairs, far = (
        np.bincount(ring, weights=total, minlength=max_lag + 1) / 2  # a pair is met from both ends
        for total in (sums[0], sums[1], np.rint(sums[2]), sums[1] * distance)
    )
    some = (pairs > 0) & (expected > 1e-12 * expected.sum())
    return Correlogram(
        distance=far[some] / expected[some],
        value=product[some] / expected[some],
        pairs=pairs[some],
        expected_pairs=expected[some],
        n_incidents=n_incidents,
        dispersion=max(1.0, float((e**2).sum() / n_incidents)),
        range_bounds=(0.5, max(0.5, min(area[box].shape) / 2)),
    )


def _inside(name: str, raster: ArrayLike, area: NDArray[np.bool_]) -> Floats:
    values = np.asarray(raster, dtype=np.float64)
    if values.ndim != 2 or values.shape != area.shape or not area.any():
        raise InputError(
            f"Invalid {name} {values.shape}. It must be a raster of the shape of inside {area.shape}, which must "
            "hold a cell."
        )
    if not np.isfinite(values[area]).all():
        raise InputError(f"Invalid {name}: not finite in a cell of the area. Every cell needs a number.")
    return np.where(area, values, 0.0)


def _pair_sums(rasters: list[Floats], max_lag: int) -> tuple[list[Floats], Floats]:
    """Return, for every lag but 0 up to the longest, sums of products and the distance; each pair from both ends."""
    n_rows, n_columns = rasters[0].shape
    shape = fft.next_fast_len(n_rows + max_lag, real=True), fft.next_fast_len(n_columns + max_lag, real=True)
    down, across = (np.abs(fft.fftfreq(size, 1 / size)) for size in shape)
    distance = np.hypot(down[:, None], across[None, :])
    wanted = (distance > 0) & (distance < max_lag + 0.5)
    wanted &= (down[:, None] <= max_lag) & (across[None, :] <= max_lag)
    products = [fft.irfft2(np.abs(fft.rfft2(raster, shape)) ** 2, shape)[wanted] for raster in rasters]
    return products, distance[wanted]


def fit_range(correlogram: Correlogram) -> NoiseRange:
    """Fit an exponential covariance ``variance * exp(-distance / range)`` to a correlogram.

    Parameters
    ----------
    correlogram : Correlogram
        Up to a third of the shorter side is enough: the farther rings have little weight.

    Returns
    -------
    NoiseRange
        Zeros if the correlation is not positive, or less than `NOTICEABLE` standard errors of counts without
        correlation. Never NaN; the range lies within `Correlogram.range_bounds`.

    Notes
    -----
    Least squares on ``log(1 + C)`` with weights ``expected pairs / distance^2``: the counting precision, less for far
    rings, whose errors stem from the same few patches of the field. Residuals of a model with an intercept sum to
    zero, which lowers C everywhere by the mean of the covariance over all pairs; that is added back, by iteration.

    On 60 x 60 cells and 1000 incidents (300 simulated cities, means known): variance .5, range 4 gave .50 (standard
    deviation .11) and 3.9 (1.2); variance 1, range 6 gave .92 (.24) and 5.4 (1.8); no noise gave zeros in 94 %.

    Examples
    --------
    >>> distance = np.arange(1.0, 16.0)
    >>> value = np.expm1(0.5 * np.exp(-distance / 4))
    >>> known = Correlogram(distance, value, distance, 1e4 * distance, 1e9, 1.0, (0.5, 30.0))
    >>> [round(float(number), 1) for number in fit_range(known)]
    [0.5, 4.0]
    """
    distance, value, precision = correlogram.distance, correlogram.value, correlogram.expected_pairs
    if not distance.size:
        return NoiseRange(0.0, 0.0)
    ranges = np.geomspace(*correlogram.range_bounds, RANGES)
    decay = np.exp(-distance / ranges[:, None])
    error = correlogram.dispersion * np.sqrt(decay**2 @ precision)
    if np.max(decay @ (precision * value) / error) < NOTICEABLE:
        return NoiseRange(0.0, 0.0)
    weight = precision / distance**2
    all_pairs = correlogram.n_incidents**2 / 2
    lowered, best, variance = 1 / correlogram.n_incidents, -1, 0.0
    for _ in range(50):
        target = np.log1p(np.maximum(value + lowered, -0.9))
        variances = np.maximum(decay @ (weight * target) / (decay**2 @ weight), 0.0)
        misfit = ((target - variances[:, None] * decay) ** 2) @ weight
        before, best = best, int(np.argmin(misfit))
        variance = float(variances[best])
        covariance = np.minimum(variance * decay[best], 5.0)
        lowered = 1 / correlogram.n_incidents + float(precision @ np.expm1(covariance)) / all_pairs
        if best == before:
            break
    return NoiseRange(variance, float(ranges[best])) if variance > 0 else NoiseRange(0.0, 0.0)
