"""How far the future count of a cell may lie from what is expected: predictive intervals, and their widening.

The rate of a cell has a gamma distribution, or a mixture of two, by its own history. What that leaves out (the surface
around it, and the city's level, change) is one more gamma variable of mean 1 and variance phi, fitted to parts of the
period that were predicted from others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import betaln

from rtmkc.model.history.cells import HotCells, hot_chance

LARGE_SHAPE = 1e7
"""Above this scipy's negative binomial loses digits, and is Poisson."""
DRIFT_BOUNDS = (1e-4, 10.0)


@dataclass(frozen=True, eq=False)
class Rates:
    """Gamma distributions of every cell's rate: one, or a mixture of two.

    Attributes
    ----------
    chances : ndarray, shape (n_kinds, n_cells)
        Summing to 1 over kinds.
    means, shapes : ndarray, shape (n_kinds, n_cells)
        Of the gamma distribution of each kind.
    """

    chances: np.ndarray = field(repr=False)
    means: np.ndarray = field(repr=False)
    shapes: np.ndarray = field(repr=False)

    def standard_deviation(self) -> np.ndarray:
        """Return the standard deviation of every cell's rate; shape (n_cells,)."""
        mean = np.sum(self.chances * self.means, axis=0)
        second = np.sum(self.chances * self.means**2 * (1.0 + 1.0 / self.shapes), axis=0)
        return np.sqrt(np.maximum(second - mean**2, 0.0))

    def widened(self, drift: float) -> "Rates":
        """Return the rates times a variable of mean 1 and variance `drift`, again as gamma distributions."""
        spread = (1.0 + 1.0 / self.shapes) * (1.0 + drift) - 1.0
        return Rates(self.chances, self.means, 1.0 / spread)

    def log_probability(self, counts: np.ndarray) -> np.ndarray:
        """Return the log probability of counts; shape (n_cells,)."""
        each = [_log_probability(counts, *kind) for kind in zip(self.means, self.shapes, strict=True)]
        if len(each) == 1:
            return each[0]
        with np.errstate(divide="ignore"):
            return np.asarray(np.logaddexp(*(np.log(self.chances) + each)))


def rates_of(
    strength: float, hot: HotCells | None, surface: np.ndarray, seen: np.ndarray, total: float
) -> Rates:
    """Return the distributions of the cells' rates, their means summing to `total`.

    Parameters
    ----------
    strength : float
        Of the cell itself.
    hot : HotCells or None
        The second kind of cell, if there is one.
    surface, seen : ndarray, shape (n_cells,)
        What was expected in each cell before its own incidents, and these (weighted).
    total : float
        What the means are rescaled to.
    """
    kinds = [(strength, strength)]
    if hot is not None:
        kinds.append((hot.strength, hot.strength / hot.lift))
    shapes = np.stack([shape + seen for shape, _ in kinds])
    means = np.stack([surface * (shape + seen) / (rate + surface) for shape, rate in kinds])
    chances = np.ones_like(means)
    if hot is not None:
        chances[1] = hot_chance(strength, hot, seen, surface)
        chances[0] = 1.0 - chances[1]
    return Rates(chances, means * (total / float(np.sum(chances * means))), shapes)


def fit_drift(pairs: Sequence[tuple[Rates, np.ndarray]]) -> float:
    """Return the variance phi with which counts are likeliest that came after the pasts of some rates.

    Parameters
    ----------
    pairs : sequence of (Rates, ndarray of shape (n_cells,))
        Rates at the level of their past, so that phi also holds what a level may move, and the counts.

    Returns
    -------
    float
        To two digits; 0 if no spread is better than any, and without pairs.
    """

    def surprise(log_drift: float) -> float:
        drift = float(np.exp(log_drift))
        return -sum(float(rates.widened(drift).log_probability(future).sum()) for rates, future in pairs)

    if not pairs:
        return 0.0
    low, high = np.log(DRIFT_BOUNDS)
    found = minimize_scalar(surprise, bounds=(low, high), method="bounded", options={"xatol": 1e-2})
    return 0.0 if found.x < low + 0.1 else float(f"{np.exp(found.x):.2g}")


def predictive_interval(rates: Rates, *, level: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
    """Return the central interval of future counts.

    Parameters
    ----------
    rates : Rates
        Distributions of the cells' rates.
    level : float
        Coverage that is aimed at; counts are whole, so the real one is at least this.

    Returns
    -------
    lower, upper : ndarray, shape (n_cells,)
        Whole numbers: the smallest whose distribution function reaches ``(1 - level) / 2``, and ``(1 + level) / 2``.

    Examples
    --------
    >>> one = np.ones((1, 1))
    >>> predictive_interval(Rates(one, 2 * one, 1e9 * one))
    (array([0.]), array([5.]))
    """
    tail = (1.0 - level) / 2.0
    return _quantile(rates, tail), _quantile(rates, 1.0 - tail)


def _quantile(rates: Rates, level: float) -> np.ndarray:
    """The smallest whole number at which the mixture's distribution function reaches a level."""
    from scipy.stats import nbinom, poisson  # half a second that a first import need not pay

    def single(mean: np.ndarray, shape: np.ndarray) -> np.ndarray:
        large = shape > LARGE_SHAPE
        return np.where(large, poisson.ppf(level, mean), nbinom.ppf(level, shape, shape / (shape + mean)))

    def reached(counts: np.ndarray, cells: np.ndarray) -> np.ndarray:
        chances, means, shapes = (kinds[:, cells] for kinds in (rates.chances, rates.means, rates.shapes))
        each = np.where(
            shapes > LARGE_SHAPE,
            poisson.cdf(counts, means),
            nbinom.cdf(counts, shapes, shapes / (shapes + means)),
        )
        return np.asarray((chances * each).sum(axis=0) >= level)

    quantile = np.zeros(rates.means.shape[1])
    every = np.arange(quantile.size)
    # Of most cells it is 0, which one look at the chance of nothing tells.
    cells = every[~reached(np.zeros(quantile.size), every)]
    kinds = zip(rates.means[:, cells], rates.shapes[:, cells], strict=True)
    quantiles = np.stack([single(*kind) for kind in kinds])
    low, high = quantiles.min(axis=0), quantiles.max(axis=0)
    # The quantile of a mixture lies between those of its kinds.
    while np.any(low < high):
        middle = np.floor((low + high) / 2)
        enough = reached(middle, cells)
        low, high = np.where(enough | (low == high), low, middle + 1), np.where(enough, middle, high)
    quantile[cells] = low
    return quantile


def _log_probability(counts: np.ndarray, mean: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Negative binomial with a mean and a shape; stable for large shapes."""
    seen = counts > 0
    result = -shape * np.log1p(mean / shape)
    number, at, own = counts[seen], mean[seen], shape[seen]
    # gamma(s + y) / (gamma(s) y!) without differences of large logarithms
    choose = -betaln(own, number) - np.log(number)
    result[seen] += choose + number * np.log(at / (own + at))
    return np.asarray(result)
