"""The cell itself: most are ordinary, a small share may be hot; what a cell's own incidents say, and with what spread.

An ordinary cell multiplies what is expected there by a gamma variable of mean 1 and shape a; a hot one, with a small
probability, by one of mean `lift`.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, gammaln, logit


@dataclass(frozen=True)
class HotCells:
    """A second kind of cell.

    Attributes
    ----------
    share : float
        Probability that a cell is hot, before its incidents are seen.
    lift : float
        What a hot cell multiplies its expectation by, on average.
    strength : float
        Shape of the gamma distribution of that multiplier.
    """

    share: float
    lift: float
    strength: float


def hot_chance(strength: float, hot: HotCells, seen: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return the probability that each cell is hot.

    Parameters
    ----------
    strength : float
        Shape of the multiplier of ordinary cells.
    hot : HotCells
        The others.
    seen, expected : ndarray, shape (n_cells,)
        (Weighted) incidents, and what the surface expects.

    Examples
    --------
    >>> hot_chance(2.0, HotCells(0.01, 10.0, 1.0), np.array([0.0, 8.0]), np.array([0.5, 0.5])).round(3)
    array([0.003, 0.951])
    """
    other, rate = hot.strength, hot.strength / hot.lift
    odds = (
        float(logit(hot.share))
        + other * np.log(rate / (rate + expected))
        - strength * np.log(strength / (strength + expected))
    )
    some = np.flatnonzero(seen)
    number, mean = seen[some], expected[some]
    odds[some] += (
        gammaln(other + number)
        - gammaln(other)
        - gammaln(strength + number)
        + gammaln(strength)
        + number * np.log((strength + mean) / (rate + mean))
    )
    return np.asarray(expit(odds))


def cell_multiplier(
    strength: float, hot: HotCells | None, seen: np.ndarray, expected: np.ndarray
) -> np.ndarray:
    """Return the posterior mean of each cell's multiplier; 1 where nothing is expected and nothing was seen.

    Examples
    --------
    >>> cell_multiplier(2.0, None, np.array([0.0, 8.0]), np.array([0.5, 0.5]))
    array([0.8, 4. ])
    >>> cell_multiplier(2.0, HotCells(0.01, 10.0, 1.0), np.array([0.0, 8.0]), np.array([0.5, 0.5])).round(2)
    array([ 0.8 , 14.46])
    """
    ordinary = (strength + seen) / (strength + expected)
    if hot is None:
        return np.asarray(ordinary)
    chance = hot_chance(strength, hot, seen, expected)
    lifted = (hot.strength + seen) / (hot.strength / hot.lift + expected)
    return np.asarray((1.0 - chance) * ordinary + chance * lifted)
