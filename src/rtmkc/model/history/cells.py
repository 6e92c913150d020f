"""What the incidents of a place say about it: gamma-Poisson multipliers, of one kind of place or of two.

An ordinary place multiplies what is expected there by a gamma variable of mean 1 and shape a. Of two kinds, a hot one,
with a small probability, multiplies it by a gamma variable of mean `lift`.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.special import digamma, expit, gammaln, logit


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


@dataclass(frozen=True, eq=False)
class Multiplier:
    """A posterior mean multiplier of every cell, and how it moves.

    Attributes
    ----------
    value : ndarray, shape (n_cells,)
        1 where nothing is expected and nothing was seen, if there is one kind of place.
    by_expected, by_seen, by_strength : ndarray, shape (n_cells,)
        Its derivatives.
    by_hot : tuple of ndarray
        Its derivatives by logit(share), log(lift) and log(strength) of hot cells; empty without them.
    """

    value: np.ndarray = field(repr=False)
    by_expected: np.ndarray = field(repr=False)
    by_seen: np.ndarray = field(repr=False)
    by_strength: np.ndarray = field(repr=False)
    by_hot: tuple[np.ndarray, ...] = field(repr=False, default=())


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
    array([0.003, 0.964])
    """
    rate = hot.strength / hot.lift
    fewer, fewer_hot = np.log(strength / (strength + expected)), np.log(rate / (rate + expected))
    return _chance(strength, hot, seen, fewer, fewer_hot)


def _chance(
    strength: float, hot: HotCells, seen: np.ndarray, fewer: np.ndarray, fewer_hot: np.ndarray
) -> np.ndarray:
    """The chance from ``log(rate / (rate + expected))`` of both kinds, which is most of the work."""
    other, rate = hot.strength, hot.strength / hot.lift
    odds = other * fewer_hot
    odds -= strength * fewer
    odds += float(logit(hot.share))
    some = np.flatnonzero(seen)
    number = seen[some]
    odds[some] += (
        gammaln(other + number)
        - gammaln(other)
        - gammaln(strength + number)
        + gammaln(strength)
        + number * (fewer_hot[some] - fewer[some] + np.log(strength / rate))
    )
    return np.asarray(expit(odds, out=odds))


def cell_multiplier(
    strength: float, hot: HotCells | None, seen: np.ndarray, expected: np.ndarray
) -> np.ndarray:
    """Return the posterior mean of each cell's multiplier.

    Examples
    --------
    >>> cell_multiplier(2.0, None, np.array([0.0, 8.0]), np.array([0.5, 0.5]))
    array([0.8, 4. ])
    >>> cell_multiplier(2.0, HotCells(0.01, 10.0, 1.0), np.array([0.0, 8.0]), np.array([0.5, 0.5])).round(2)
    array([ 0.8, 14.6])
    """
    ordinary = (strength + seen) / (strength + expected)
    if hot is None:
        return np.asarray(ordinary)
    chance = hot_chance(strength, hot, seen, expected)
    lifted = (hot.strength + seen) / (hot.strength / hot.lift + expected)
    return np.asarray((1.0 - chance) * ordinary + chance * lifted)


def differentiate(
    strength: float, hot: HotCells | None, seen: np.ndarray, expected: np.ndarray
) -> Multiplier:
    """Return `cell_multiplier` with its derivatives."""
    per = 1.0 / (strength + expected)
    ordinary = (strength + seen) * per
    if hot is None:
        return Multiplier(ordinary, -ordinary * per, per, (1.0 - ordinary) * per)
    other, rate = hot.strength, hot.strength / hot.lift
    per_hot = 1.0 / (rate + expected)
    lifted = (other + seen) * per_hot
    fewer, fewer_hot = np.log(strength * per), np.log(rate * per_hot)
    chance = _chance(strength, hot, seen, fewer, fewer_hot)
    # d value = chance' (lifted - ordinary), with chance' = chance (1 - chance) d odds
    gap, rest = lifted - ordinary, 1.0 - chance
    turn = gap * chance * rest
    odds_by_strength = ordinary - 1.0 - fewer
    odds_by_other = fewer_hot
    odds_by_seen = fewer_hot - fewer + np.log(strength / rate)
    some = np.flatnonzero(seen)
    of_ordinary, of_hot = digamma(strength + seen[some]), digamma(other + seen[some])
    odds_by_strength[some] += digamma(strength) - of_ordinary
    odds_by_other[some] += of_hot - digamma(other)
    odds_by_seen[some] += of_hot - of_ordinary
    rest_per, chance_per = rest * per, chance * per_hot
    lifted_per = chance_per * lifted
    by_rate = rate * (turn * (hot.lift - lifted) - lifted_per)
    return Multiplier(
        ordinary + chance * gap,
        -rest_per * ordinary - lifted_per - turn * gap,
        rest_per + chance_per + turn * odds_by_seen,
        rest_per * (1.0 - ordinary) + turn * odds_by_strength,
        (turn, -by_rate, by_rate + other * (chance_per + turn * odds_by_other)),
    )
