"""The shift test: does a factor fit incidents better where it is than anywhere it could be moved to?

Moving a factor's map over the city keeps its clusters and those of the incidents, and breaks the link between them. So
shifted maps show how well a factor fits by chance where both are patchy; cells counted as independent do not.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rtmkc.model.guarded.noise import Whitened
from rtmkc.model.guarded.plane import Plane, Spectrum
from rtmkc.model.threads import in_threads

Floats = NDArray[np.floating]

MIN_SHIFT = 3.0
"""Cells; closer shifts are nearly the place itself."""
MIN_OVERLAP = 0.25
"""Share of the area that must stay on the area when it is shifted."""
TIE = 1e-9


@dataclass(frozen=True, eq=False)
class ShiftScores:
    """How well the columns of a factor fit, in place and at every shift.

    Attributes
    ----------
    scores : ndarray, shape (n_columns, 1 + n_shifts)
        Standardised by their spread over shifts; the first is the place itself.
    spread : ndarray, shape (n_columns,)
        Standard deviation over shifts before that: 1 if cells were independent and the variances right.
    variance : ndarray, shape (n_columns,)
        Of the deviation in place, if cells were independent.
    best : int
        The column with the highest score in place, in its direction.
    statistic : ndarray, shape (1 + n_shifts,)
        Highest score of all columns in the direction of the factor.
    n_effective : float
        How many independent shifts the map holds for the best column.
    """

    scores: Floats = field(repr=False)
    spread: Floats
    variance: Floats
    best: int
    statistic: Floats = field(repr=False)
    n_effective: float

    @property
    def p(self) -> float:
        """Share of shifts that fit as well or better, the place itself counted as one of them."""
        return float((1 + np.sum(self.statistic[1:] >= self.statistic[0] - TIE)) / self.statistic.size)

    def reach(self, level: float) -> float:
        """Absolute score that the best column exceeds by chance with probability ``1 - level``."""
        return float(np.quantile(np.abs(self.scores[:, 1:]).max(axis=0), level))

    def extent_set(self, level: float) -> NDArray[np.bool_]:
        """Which columns are not told from the best: their lag behind it is within that of shifted maps."""
        directed = self.scores if self.scores[self.best, 0] >= 0 else -self.scores
        lag = directed.max(axis=0) - directed
        return np.asarray(lag[:, 0] <= np.quantile(lag[:, 1:], level, axis=1) + TIE)


class ShiftTest:
    """All shifts of a grid: those of at least 3 cells, at most half the shorter side, that keep a quarter of the area.

    Parameters
    ----------
    plane : Plane
    """

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._area = plane.spectrum(np.ones(plane.grid.n_cells))
        self._rows = np.flatnonzero(plane.distance[:, 0] <= plane.short_side / 2)
        self._far = far = plane.distance[self._rows]
        overlap = self._correlate(self._area, self._area)
        allowed = (far >= MIN_SHIFT) & (far <= plane.short_side / 2)
        allowed &= overlap >= MIN_OVERLAP * plane.grid.n_cells - 1e-6
        # The place itself first, then every allowed shift.
        self._taken = np.append(0, np.flatnonzero(allowed))
        self.n_shifts = self._taken.size - 1

    def score(self, columns: list[Floats], left: Whitened, direction: str) -> ShiftScores:
        """Score the columns of a factor in place and at every shift.

        Parameters
        ----------
        columns : list of ndarray, each (n_cells,)
            0/1.
        left : Whitened
            What the other factors leave over.
        direction : {"aggravating", "protective", "either"}
            Which sign counts as a fit.

        Notes
        -----
        With sums over cells i for which i and i + s are both in the area: ``A = sum x(i+s) w(i)``,
        ``U = sum x(i+s) e(i) - A sum(e) / sum(w)``, ``B = sum x(i+s) v(i)``, ``z = U / sqrt(B - B^2 / sum(v))`` for
        residuals e, weights w and variances v; without patches v = w. The variance correction for the changing overlap
        follows [1]_.

        References
        ----------
        .. [1] Mrkvicka, T., Dvorak, J., Gonzalez, J. A. and Mateu, J. (2021). Revisiting the random shift
           approach for testing in spatial statistics. Spatial Statistics 42.
        """
        plane = self._plane
        residuals, weights, variances = (
            plane.spectrum(vector) for vector in (left.residual, left.weight, left.variance)
        )
        sum_residual = self._take(self._area, residuals)
        sum_weight, sum_variance = self._take(self._area, weights), self._take(self._area, variances)

        def score(column: Floats) -> tuple[Floats, float]:
            moved = plane.spectrum(column)
            mass = self._take(moved, weights)
            deviation = self._take(moved, residuals) - mass * sum_residual / sum_weight
            own = self._take(moved, variances)
            variance = own - own**2 / sum_variance
            some = (variance > 1e-9 * variance[0]) & (sum_weight > 0)
            spread = np.sqrt(np.where(some, variance, 1.0))
            return np.where(some, deviation / spread, 0.0), float(variance[0])

        each = in_threads(score, columns)
        scores, in_place = np.array([one for one, _ in each]), np.array([variance for _, variance in each])
        spread = np.sqrt((scores[:, 1:] ** 2).mean(axis=1)) if self.n_shifts else np.ones(len(columns))
        scores /= np.where(spread > 0, spread, 1.0)[:, None]
        signed = {"aggravating": scores, "protective": -scores}.get(direction, np.abs(scores))
        best = int(np.argmax(np.round(signed[:, 0], 9)))
        n_effective = self._n_effective(columns[best], left.filter)
        return ShiftScores(scores, spread, in_place, best, signed.max(axis=0), n_effective)

    def _take(self, moved: Spectrum, fixed: Spectrum) -> Floats:
        return np.asarray(self._correlate(moved, fixed).ravel()[self._taken])

    def _correlate(self, moved: Spectrum, fixed: Spectrum) -> Floats:
        """Of the shifts up to half the shorter side."""
        return self._plane.correlate(moved, fixed, self._rows)

    def _n_effective(self, column: Floats, inverse: Floats) -> float:
        """Shifts over the sum of their squared correlations, which follow from the map and the noise."""
        plane = self._plane
        likeness = plane.back(np.abs(plane.spectrum(column - column.mean())) ** 2 * inverse, self._rows)
        if likeness[0, 0] <= 0:
            return 0.0  # a map that is the same everywhere
        near = self._far <= plane.short_side / 2
        return float(self.n_shifts / np.sum((likeness[near] / likeness[0, 0]) ** 2))


def adjust_stepwise(statistics: list[Floats]) -> Floats:
    """Return p-values of factors that hold for all of them together: step-down maximum over joint shifts.

    Parameters
    ----------
    statistics : list of ndarray, each (1 + n_shifts,)
        Of every factor, in place and at the same shifts.

    Returns
    -------
    ndarray, shape (n_factors,)

    Notes
    -----
    Westfall and Young (1993), Resampling-Based Multiple Testing, algorithm 2.8: the factor with the highest statistic is
    compared with the maximum over all factors, the next with that over the factors left, and so on.

    Examples
    --------
    >>> adjust_stepwise([np.array([9.0, 1, 2, 3]), np.array([2.0, 3, 1, 1])])
    array([0.25, 0.5 ])
    """
    order = sorted(range(len(statistics)), key=lambda factor: -statistics[factor][0])
    adjusted, least = np.ones(len(statistics)), 0.0
    for rank, factor in enumerate(order):
        own = statistics[factor]
        highest = np.max([statistics[other][1:] for other in order[rank:]], axis=0, initial=-np.inf)
        least = max(least, float((1 + np.sum(highest >= own[0] - TIE)) / own.size))
        adjusted[factor] = least
    return adjusted
