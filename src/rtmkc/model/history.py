"""Local history at several scales: gamma-Poisson multipliers on top of a base surface.

    cur = base ^ gamma, rescaled to the training total; then for each width h, wide to narrow:
    cur <- cur * (a_h + Y_h) / (a_h + M_h)

Y_h are the incidents under a Gaussian kernel of width h (peak 1), M_h the same sum of `cur`.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import minimize

from rtmkc.model.kernels import smooth
from rtmkc.raster.grid import Grid

WIDTHS_CELLS = (4.0, 1.0, 0.0)
LOG_STRENGTH_BOUNDS = (-4.0, 10.0)
LOG_STRENGTH_PENALTY = 0.01


@dataclass(frozen=True, eq=False)
class History:
    """Multipliers of local history.

    Attributes
    ----------
    tempering : float
        Gamma: the power to which the base surface is taken.
    strengths : tuple of float
        a_h of each width: how many incidents the base surface is worth there.
    base : ndarray, shape (n_cells,)
        Tempered base, summing to the incidents.
    multipliers : ndarray, shape (n_widths, n_cells)
        One factor per width, wide to narrow.
    """

    tempering: float
    strengths: tuple[float, ...]
    base: np.ndarray = field(repr=False)
    multipliers: np.ndarray = field(repr=False)


class _Scales:
    """The widths on a grid, and what has been smoothed already."""

    def __init__(self, grid: Grid, base: np.ndarray, weight: np.ndarray, widths: Sequence[float]) -> None:
        self.grid, self.weight = grid, weight
        self.log_rate = np.log(base / weight)
        self.taps = [_taps(width) for width in widths]
        self._tempered: tuple[float, np.ndarray] | None = None
        self._widest: tuple[float, np.ndarray] | None = None

    def under(self, scale: int, vector: np.ndarray) -> np.ndarray:
        taps = self.taps[scale]
        if taps.size == 1:
            return vector
        return self.grid.to_vector(smooth(self.grid.to_raster(vector, fill=0.0), taps))

    def tempered(self, tempering: float) -> tuple[np.ndarray, np.ndarray]:
        """The base to the power `tempering` with sum 1, and its sum under the widest kernel.

        An optimiser moves one parameter at a time; the dearest convolution depends on gamma alone.
        """
        if self._tempered is None or self._tempered[0] != tempering:
            power = tempering * self.log_rate
            base = self.weight * np.exp(power - power.max())
            base /= base.sum()
            self._tempered, self._widest = (tempering, base), (tempering, self.under(0, base))
        assert self._widest is not None
        return self._tempered[1], self._widest[1]

    def sums(self, counts: np.ndarray) -> list[np.ndarray]:
        return [self.under(scale, counts) for scale in range(len(self.taps))]

    def multiply(
        self, tempering: float, strengths: Sequence[float], total: float, sums: list[np.ndarray]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        base, widest = self.tempered(tempering)
        base = base * total
        current, multipliers = base, []
        for scale, strength in enumerate(strengths):
            expected = widest * total if scale == 0 else self.under(scale, current)
            factor = (strength + sums[scale]) / (strength + expected)
            multipliers.append(factor)
            current = current * factor
        return base, multipliers


def fit_history(
    grid: Grid,
    base: np.ndarray,
    counts: np.ndarray,
    halves: Sequence[np.ndarray],
    *,
    weight: np.ndarray | None = None,
    widths: Sequence[float] = WIDTHS_CELLS,
) -> History:
    """Fit tempering and strengths by predicting each half of the incidents from the other.

    Parameters
    ----------
    grid : Grid
        The grid.
    base : ndarray, shape (n_cells,)
        Expected incidents by the environment, greater than 0; a constant for history alone.
    counts : ndarray, shape (n_cells,)
        Incidents.
    halves : sequence of ndarray, each (n_cells,)
        Counts of one half of the incidents, for every split; the other half is the rest.
    weight : ndarray, shape (n_cells,), optional
        Size of each cell (its share inside the area), which is not tempered.
    widths : sequence of float
        Kernel widths in cells, wide to narrow; 0 is the cell itself.

    Returns
    -------
    History

    Notes
    -----
    With a flat base gamma has no effect and stays 1. Maximises ``sum t log(cur / sum cur)`` over both directions of all splits with a weak penalty
    ``.01 (log a_h - 1)^2``, by Powell's method. The strengths found on halves are used unchanged on all
    incidents. Kernels are cut at 4 h along each axis and sum over cells of the area only.
    """
    counts = np.asarray(counts, dtype=float)
    weight = np.ones(grid.n_cells) if weight is None else weight
    scales = _Scales(grid, base, weight, widths)
    directions = []
    for half in halves:
        half = np.asarray(half, dtype=float)
        for learned, predicted in ((half, counts - half), (counts - half, half)):
            if learned.sum() > 0 and predicted.sum() > 0:
                hit = np.flatnonzero(predicted)
                directions.append((learned.sum(), scales.sums(learned), hit, predicted[hit]))

    # A flat base is the same to every power: there is no tempering to fit.
    is_flat = float(np.ptp(scales.log_rate)) < 1e-9
    start = np.ones(len(widths) + (0 if is_flat else 1))

    def split(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        return (1.0, parameters) if is_flat else (float(parameters[0]), parameters[1:])

    def loss(parameters: np.ndarray) -> float:
        tempering, log_strengths = split(parameters)
        strengths = np.exp(log_strengths)
        scales.tempered(tempering)  # before the threads, which then share it

        def surprise(direction: tuple[float, list[np.ndarray], np.ndarray, np.ndarray]) -> float:
            number, sums, hit, predicted = direction
            start, multipliers = scales.multiply(tempering, strengths, number, sums)
            current = start * np.prod(multipliers, axis=0)
            return -float(predicted @ np.log(current[hit] / current.sum()))

        penalty = LOG_STRENGTH_PENALTY * float(np.sum((log_strengths - 1.0) ** 2))
        return penalty * len(directions) + sum(pool.map(surprise, directions))

    bounds = (
        [LOG_STRENGTH_BOUNDS] * len(widths) if is_flat else [(0.0, 3.0)] + [LOG_STRENGTH_BOUNDS] * len(widths)
    )
    found = start
    if directions:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = minimize(
                loss, start, method="Powell", bounds=bounds, options={"xtol": 1e-3, "ftol": 1e-7}
            ).x
    # Three decimals are finer than the data can tell; with them the last digits of sums do not matter.
    tempering, log_strengths = split(np.round(found, 3))
    strengths = tuple(float(value) for value in np.exp(log_strengths))
    tempered, multipliers = scales.multiply(tempering, strengths, counts.sum(), scales.sums(counts))
    return History(tempering, strengths, tempered, np.array(multipliers))


def _taps(width: float) -> np.ndarray:
    reach = int(4 * width)
    if width <= 0:
        return np.ones(1)
    return np.exp(-0.5 * (np.arange(reach + 1) / width) ** 2)
