"""How good is a ranking, and how good is a forecast? Counts of later incidents against scores and expectations.

A ranking is judged by what its best places hold (hit rate, PAI, PEI, AUC), a forecast by its log score, its deviance
and its calibration. `rank_cells` finds the ties once; everything that depends on a ranking then takes it. For
intervals each metric comes as a value per cell, whose sums over blocks go to `resampling`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammainccinv, gammaincinv, ndtri, xlogy

from rtmkc.checks import check_count, check_share
from rtmkc.errors import InputError

AREA_SHARES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
"""Shares of the study area at which rankings are compared."""
TIE_DIGITS = 9
"""Decimals, relative to the mean score, to which equal scores agree."""


class OverTies(NamedTuple):
    """A metric whose budget may end among equal scores.

    `value` is its expectation, every part of the tied area as likely to be taken as any other; `lowest` and
    `highest` are those of the worst and the best order of the tied cells.
    """

    value: float
    lowest: float
    highest: float


class HitRateCurve(NamedTuple):
    """Share of incidents against share of area, at (0, 0) and at the end of every group of equal scores."""

    area_share: np.ndarray
    hit_share: np.ndarray


class Deviance(NamedTuple):
    """Poisson deviance per cell: of the expectation rescaled to the number of incidents, and as it is."""

    shape: float
    level: float


class Calibration(NamedTuple):
    """Observed against expected incidents by bin, with the interval of ratio = observed / expected."""

    cells: np.ndarray
    expected: np.ndarray
    observed: np.ndarray
    ratio: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


class Slope(NamedTuple):
    """Slope of a regression, and its standard error."""

    value: float
    standard_error: float


@dataclass(frozen=True, eq=False)
class Ranking:
    """Cells in groups of equal score, highest first; made by `rank_cells`.

    `areas` is the share of the whole area in each cell, `group` the number of each cell's group (0 is the highest),
    `reached` the share of the area before the first group and after each: from 0 to exactly 1.
    """

    areas: np.ndarray
    group: np.ndarray
    reached: np.ndarray


def rank_cells(score: Any, areas: Any = None) -> Ranking:
    """Rank cells by a score and find which of them tie: what the functions below start from.

    Parameters
    ----------
    score : array of shape (n_cells,)
        Ranks places: the higher the better. It is per unit of area (expected incidents of a cell that lies
        partly inside are to be divided by the cell's area first).
    areas : array of shape (n_cells,), optional
        Area of each cell, in any unit; equal unless given.

    Notes
    -----
    Scores that agree to nine decimals of their mean (of absolute values) tie, so that a surface which is
    equal but for rounding is flat. The mean is summed exactly: the order of the cells decides nothing.

    Examples
    --------
    >>> rank_cells([8, 4, 4, 2, 1, 0]).group.tolist()
    [0, 1, 1, 2, 3, 4]
    """
    score = _vector("score", score)
    areas = _areas(areas, score.size)
    mean = math.fsum(np.abs(score)) / score.size
    relative = score / mean if mean > 0 else score
    levels, group = np.unique(-np.round(relative, TIE_DIGITS), return_inverse=True)
    reached = np.append(0.0, np.cumsum(np.bincount(group, weights=areas, minlength=levels.size)))
    return Ranking(areas / areas.sum(), group, reached / reached[-1])


def flagged_weights(ranking: Ranking, area_shares: Sequence[float] = AREA_SHARES) -> np.ndarray:
    """Return which part of each cell is in the flagged set, in expectation over ties.

    One column an area share, of shape (n_cells, n_shares): 1 in the flagged set, 0 outside, and between them in the
    group of equal scores at its edge. Hits per cell are ``counts[:, None] * flagged_weights(ranking)``;
    their sums over blocks are all that a bootstrap of hit rates needs.

    Examples
    --------
    >>> flagged_weights(rank_cells([8, 4, 4, 2, 1, 0]), [2 / 6]).ravel().round(3).tolist()
    [1.0, 0.5, 0.5, 0.0, 0.0, 0.0]
    """
    shares = np.array([check_share("area_share", share) for share in area_shares])
    before, size = ranking.reached[:-1, None], np.diff(ranking.reached)[:, None]
    return np.clip((shares - before) / size, 0.0, 1.0)[ranking.group]


def hit_rate(ranking: Ranking, counts: Any, area_share: float) -> OverTies:
    """Return the share of incidents in the best `area_share` of the area.

    Parameters
    ----------
    ranking : Ranking
        The cells, ranked.
    counts : array of shape (n_cells,)
        Later incidents of each cell; at least one.
    area_share : float
        Share of the area that is flagged, greater than 0 and at most 1. The last cell counts by the part of
        its area that fits.

    Returns
    -------
    OverTies
        The expectation over ties, and the lowest and highest over the orders of tied cells.

    Notes
    -----
    The group of equal scores at the edge of the budget counts by the share of its area that fits. With equal
    areas this is the mean over all orders of its cells; with unequal areas it is the mean over all orders of
    equal small parcels of them (in random orders of whole cells small cells would be favoured, and a constant
    score would not score 1 by `pai`).

    Examples
    --------
    >>> ranking = rank_cells([8, 4, 4, 2, 1, 0])
    >>> [round(figure, 3) for figure in hit_rate(ranking, [6, 7, 3, 2, 1, 0], 2 / 6)]
    [0.579, 0.474, 0.684]
    """
    share = check_share("area_share", area_share)
    counts = _amounts("counts", counts, ranking.group.size)
    value = float(np.interp(share, *hit_rate_curve(ranking, counts)))
    last = int(np.searchsorted(ranking.reached, share)) - 1
    total, hits = float(counts.sum()), counts[ranking.group < last].sum()
    tied = np.flatnonzero(ranking.group == last)
    worst = tied[np.argsort(counts[tied] / ranking.areas[tied], kind="stable")]
    room = share - ranking.reached[last]
    lowest, highest = (
        float(hits + _filled(order, counts, ranking.areas, room)) / total for order in (worst, worst[::-1])
    )
    return OverTies(value, min(lowest, value), max(highest, value))


def pai(ranking: Ranking, counts: Any, area_share: float) -> OverTies:
    """Return the prediction accuracy index: hit rate / share of the area.

    Parameters, errors and ties are those of `hit_rate`. A constant score has exactly 1. It grows as the area
    shrinks, and depends on the cell size: compare at equal shares of the same cells only (Chainey, Tompson
    and Uhlig 2008, Security Journal 21, 4-28).

    Examples
    --------
    >>> [round(figure, 3) for figure in pai(rank_cells([8, 4, 4, 2, 1, 0]), [6, 7, 3, 2, 1, 0], 2 / 6)]
    [1.737, 1.421, 2.053]
    """
    return OverTies(*(figure / area_share for figure in hit_rate(ranking, counts, area_share)))


def pei(ranking: Ranking, counts: Any, area_share: float) -> OverTies:
    """Return the prediction efficiency index: hit rate / that of the best possible ranking, at the same area.

    Parameters, errors and ties are those of `hit_rate`. The best possible ranking is by incidents per area
    (Hunt 2016, PhD thesis, American University, Washington).

    Examples
    --------
    >>> [round(figure, 3) for figure in pei(rank_cells([8, 4, 4, 2, 1, 0]), [6, 7, 3, 2, 1, 0], 2 / 6)]
    [0.846, 0.692, 1.0]
    """
    reached = hit_rate(ranking, counts, area_share)
    counts = np.asarray(counts, dtype=float)
    hit = np.flatnonzero(counts)
    best = hit[np.argsort(-counts[hit] / ranking.areas[hit], kind="stable")]
    possible = _filled(best, counts, ranking.areas, area_share) / float(counts.sum())
    return OverTies(*(figure / possible for figure in reached))


def hit_rate_curve(ranking: Ranking, counts: Any) -> HitRateCurve:
    """Return the share of incidents against the share of the area, best places first.

    Between two groups of equal scores the curve is straight: that is the expectation over ties.

    Examples
    --------
    >>> curve = hit_rate_curve(rank_cells([2, 1, 1, 1]), [3, 0, 1, 0])
    >>> curve.area_share.tolist(), curve.hit_share.tolist()
    ([0.0, 0.25, 1.0], [0.0, 0.75, 1.0])
    """
    counts = _amounts("counts", counts, ranking.group.size)
    hits = np.append(0.0, np.cumsum(np.bincount(ranking.group, weights=counts)))
    return HitRateCurve(ranking.reached, hits / hits[-1])


def auc(ranking: Ranking, counts: Any) -> float:
    """Return the area under the hit-rate curve: 0.5 for a constant score, at most 1.

    Examples
    --------
    >>> auc(rank_cells([2, 1, 1, 1]), [3, 0, 1, 0])
    0.75
    """
    area, hits = hit_rate_curve(ranking, counts)
    return float(np.sum(np.diff(area) * (hits[1:] + hits[:-1])) / 2)


def normalised_gini(ranking: Ranking, counts: Any) -> float:
    """Return (2 AUC - 1) of the ranking / that of the best possible one: 0 for a constant, 1 at best.

    The best possible ranking is by incidents per area. NaN where all cells have as many per area: then no
    ranking is better than another.

    Examples
    --------
    >>> round(normalised_gini(rank_cells([2, 1, 1, 1]), [3, 0, 1, 0]), 3)
    0.8
    """
    counts = _amounts("counts", counts, ranking.group.size)
    best = rank_cells(counts / ranking.areas, ranking.areas)
    if best.reached.size == 2:
        return math.nan
    return (2 * auc(ranking, counts) - 1) / (2 * auc(best, counts) - 1)


def recapture_rate_index(ranking: Ranking, counts_before: Any, counts_after: Any, area_share: float) -> float:
    """Return how well hot spots keep their incidents: (n2 / n1) / (N2 / N1), ties by expectation.

    `n1` and `n2` are the incidents before and after in the best `area_share` of the area, `N1` and `N2`
    those everywhere. NaN where the hot spots had none before. Not `calibration_ratio`, which has been printed
    under the same three letters (Levine 2008, Security Journal 21, 295-302).

    Examples
    --------
    >>> recapture_rate_index(rank_cells([3, 2, 1, 1]), [4, 2, 1, 1], [3, 2, 2, 1], 0.25)
    0.75
    """
    before = hit_rate(ranking, counts_before, area_share).value
    after = hit_rate(ranking, counts_after, area_share).value
    return after / before if before > 0 else math.nan


def calibration_ratio(ranking: Ranking, expected: Any, counts: Any, area_share: float) -> OverTies:
    """Return expected / observed incidents in the best `area_share` of the area.

    Expected incidents of a tie group at the edge count by the share of its area that fits; only the observed
    ones go through the orders of its cells (most observed: lowest ratio). Infinite where none was observed.
    Not `recapture_rate_index`.

    Examples
    --------
    >>> forecast = [8, 4, 4, 2, 1, 0]
    >>> ratio = calibration_ratio(rank_cells(forecast), forecast, [6, 7, 3, 2, 1, 0], 2 / 6)
    >>> [round(figure, 3) for figure in ratio]
    [1.091, 0.923, 1.333]
    """
    predicted = hit_rate(ranking, expected, area_share).value * float(np.sum(expected) / np.sum(counts))
    value, highest, lowest = (
        predicted / observed if observed > 0 else math.inf
        for observed in hit_rate(ranking, counts, area_share)
    )
    return OverTies(value, lowest, highest)


def nats_terms(expected: Any, counts: Any, areas: Any = None) -> np.ndarray:
    """Return the log score of each cell: incidents x log(density / uniform density).

    Their sum / the number of incidents is `nats`; their sums over blocks are all that a bootstrap of it needs.
    0 where there is no incident; minus infinity where there is one and none could be, `expected` being 0.

    Parameters
    ----------
    expected, counts : array of shape (n_cells,)
        Expected incidents of each cell, of which only the shares of the total matter, and later incidents.
    areas : array of shape (n_cells,), optional
        Area of each cell, in any unit; equal unless given.

    Examples
    --------
    >>> nats_terms([2, 1, 1], [1, 0, 0]).round(3).tolist()
    [0.405, 0.0, 0.0]
    """
    counts = _amounts("counts", counts)
    expected, areas = _amounts("expected", expected, counts.size), _areas(areas, counts.size)
    return np.asarray(xlogy(counts, expected / expected.sum() / (areas / areas.sum())))


def nats(expected: Any, counts: Any, areas: Any = None) -> float:
    """Return the mean over incidents of log(density / uniform density).

    A proper score: in expectation nothing beats the true density. 0 for a uniform forecast; `nats / log(2)` is in
    bits. Minus infinity if an incident falls where `expected` is 0: a forecast that calls a place
    impossible is refuted there. Parameters are those of `nats_terms` (Gneiting and Raftery 2007, Journal of the
    American Statistical Association 102, 359-378).

    Examples
    --------
    >>> nats([1, 1, 1], [5, 0, 2])
    0.0
    >>> nats([0, 1, 1], [5, 0, 2])
    -inf
    """
    terms = nats_terms(expected, counts, areas)
    return float(terms.sum() / np.sum(counts))


def poisson_deviance(expected: Any, counts: Any) -> Deviance:
    """Return the Poisson deviance per cell, of the pattern alone and of the level too.

    2 / n_cells x sum of y log(y / mu) - (y - mu), with the expectation `mu` rescaled to as many incidents as
    there are (shape), and as it is (level). Infinite if an incident falls where `expected` is 0.

    Examples
    --------
    >>> deviance = poisson_deviance([2, 4], [1, 2])
    >>> deviance.shape, round(deviance.level, 3)
    (0.0, 0.921)
    """
    counts = _amounts("counts", counts)
    expected = _amounts("expected", expected, counts.size)
    means = (expected * (counts.sum() / expected.sum()), expected)
    terms = [xlogy(counts, counts) - xlogy(counts, mean) - (counts - mean) for mean in means]
    return Deviance(*(float(2 * term.mean()) for term in terms))


def calibration(expected: Any, counts: Any, areas: Any = None, *, n_bins: int = 10) -> Calibration:
    """Return observed against expected incidents from the lowest to the highest expectation per area.

    Bins hold equal parts of all expected incidents, not of the cells: nine tenths of those may expect next to
    nothing. Cells of equal expectation per area stay together, in the bin that their middle falls into, so
    there may be fewer bins than asked for. Intervals are exact 95 % Poisson intervals of observed / expected.

    Parameters
    ----------
    expected, counts : array of shape (n_cells,)
        Expected and later incidents of each cell, in the same period.
    areas : array of shape (n_cells,), optional
        Area of each cell, in any unit; equal unless given.
    n_bins : int
        Bins asked for.

    Examples
    --------
    >>> bins = calibration([1, 1, 2, 4], [0, 1, 1, 6], n_bins=2)
    >>> bins.cells.tolist(), bins.expected.tolist(), bins.ratio.tolist()
    ([3, 1], [4.0, 4.0], [0.5, 1.5])
    """
    counts = _amounts("counts", counts)
    expected, areas = _amounts("expected", expected, counts.size), _areas(areas, counts.size)
    group = rank_cells(-expected / areas, areas).group
    of_group = np.bincount(group, weights=expected)
    middle = (np.cumsum(of_group) - of_group / 2) / expected.sum()
    # Rounded, so that a middle on a cut falls on the same side whatever the order of the cells.
    number = np.floor(np.round(middle * check_count("n_bins", n_bins), TIE_DIGITS)).astype(int)
    # Cells that expect nothing are no bin of their own: nothing can be divided by.
    number[of_group == 0] = number[of_group > 0].min()
    bins = np.unique(number, return_inverse=True)[1][group]
    cells, total, observed = (np.bincount(bins, weights=weights) for weights in (None, expected, counts))
    lower, upper = garwood(observed)
    return Calibration(cells, total, observed, observed / total, lower / total, upper / total)


def calibration_slope(expected: Any, counts: Any) -> Slope:
    """Return the slope of log expected incidents in a Poisson regression of the observed ones, with intercept.

    1 where a doubled expectation means doubled incidents; below 1 where contrasts are overdrawn, above 1 where
    they are too faint (Cox 1958, Biometrika 45, 562-565). The standard error is the model's: independent
    cells, Poisson counts. NaN where all expectations are equal; infinite where all incidents are in the cells
    that expect most (or least). An expectation of 0 has no logarithm and raises an InputError.

    Examples
    --------
    >>> round(calibration_slope([1, 2, 4, 8], [2, 4, 8, 16]).value, 3)
    1.0
    """
    counts = _amounts("counts", counts)
    expected = _amounts("expected", expected, counts.size)
    if not expected.min() > 0:
        raise InputError(
            "Invalid expected 0. A calibration slope needs more than 0 in every cell; mix the forecast with a "
            "small uniform share."
        )
    logs = np.log(expected)
    aim, low, high = counts @ logs / counts.sum(), logs.min(), logs.max()
    if high - low < 10.0**-TIE_DIGITS:
        return Slope(math.nan, math.nan)
    if min(aim - low, high - aim) < 1e-12 * (high - low):
        return Slope(math.copysign(math.inf, aim - (low + high) / 2), math.nan)

    def shares(slope: float) -> np.ndarray:
        weights = np.exp(slope * logs - max(slope * low, slope * high))
        return weights / weights.sum()

    def excess(slope: float) -> float:
        return float(shares(slope) @ logs - aim)

    # Given their total the counts are multinomial: one parameter is left, and its score is monotone.
    bound = 1.0
    while excess(-bound) > 0 or excess(bound) < 0:
        bound *= 2
    slope = float(brentq(excess, -bound, bound, xtol=1e-13))
    fitted = shares(slope)
    return Slope(slope, float(1 / np.sqrt(counts.sum() * (fitted @ (logs - fitted @ logs) ** 2))))


def garwood(counts: Any, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact interval of a Poisson mean, for each count (Garwood 1936, Biometrika 28, 437-442).

    Examples
    --------
    >>> lower, upper = garwood([0, 10])
    >>> lower.round(3).tolist(), upper.round(3).tolist()
    ([0.0, 4.795], [3.689, 18.39])
    """
    counts = np.asarray(counts, dtype=float)
    tail = (1 - check_share("level", level)) / 2
    lower = np.where(counts > 0, gammaincinv(np.where(counts > 0, counts, 1.0), tail), 0.0)
    return lower, gammainccinv(counts + 1, tail)


def wilson(hits: Any, total: Any, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return the score interval of a share such as a hit rate (Wilson 1927, J. Am. Stat. Assoc. 22, 209-212).

    It is the error of counting alone: incidents are independent. A block bootstrap does not need that.

    Examples
    --------
    >>> lower, upper = wilson(20, 100)
    >>> round(float(lower), 4), round(float(upper), 4)
    (0.1334, 0.2888)
    """
    hits, total = np.asarray(hits, dtype=float), np.asarray(total, dtype=float)
    squared = float(ndtri((1 + check_share("level", level)) / 2)) ** 2
    middle = (hits + squared / 2) / (total + squared)
    half = np.sqrt(squared * (hits * (1 - hits / total) + squared / 4)) / (total + squared)
    return middle - half, middle + half


def _filled(order: np.ndarray, counts: np.ndarray, areas: np.ndarray, room: float) -> float:
    """Return the incidents of the cells taken in this order until their area fills the room."""
    area, hits = (np.append(0.0, np.cumsum(values[order])) for values in (areas, counts))
    return float(np.interp(room, area, hits))


def _vector(name: str, values: Any, size: int | None = None) -> np.ndarray:
    """Return the values as floats, one a cell, all finite."""
    vector = np.asarray(values, dtype=float)
    if vector.ndim != 1 or vector.size == 0 or vector.size != (size or vector.size):
        wanted = f"{size:,} cells" if size else "(n_cells,)"
        raise InputError(f"Invalid {name} of shape {vector.shape}. It must hold one number a cell: {wanted}.")
    if not np.isfinite(vector).all():
        raise InputError(f"Invalid {name} {vector[~np.isfinite(vector)][0]}. All must be finite numbers.")
    return vector


def _amounts(name: str, values: Any, size: int | None = None) -> np.ndarray:
    """Return the values as floats, one a cell: none below 0, and not all 0."""
    vector = _vector(name, values, size)
    if vector.min() < 0:
        raise InputError(f"Invalid {name} {vector.min()}. None may be below 0.")
    if not vector.max() > 0:
        raise InputError(f"Invalid {name} 0 in every cell. At least one must be above 0.")
    return vector


def _areas(areas: Any, size: int) -> np.ndarray:
    areas = np.ones(size) if areas is None else _vector("areas", areas, size)
    if not areas.min() > 0:
        raise InputError(f"Invalid areas {areas.min()}. Each must be greater than 0.")
    return areas
