"""What a forecast has to beat: past counts and kernel density, each with a uniform floor chosen by cross validation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter

from rtmkc.errors import InputError
from rtmkc.raster.grid import Grid

BANDWIDTHS_CELLS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
KDE_FLOORS = (0.02, 0.05, 0.1, 0.2, 0.4)
COUNT_FLOORS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
REACH = 4.0
"""Gaussian kernels are cut at so many bandwidths."""


@dataclass(frozen=True, eq=False)
class Floored:
    """A surface mixed with a uniform floor, so that no place is impossible.

    Attributes
    ----------
    shares : ndarray, shape (n_cells,)
        Share of all incidents expected in each cell; sums to 1.
    floor : float
        Share of the incidents that are spread evenly over the area.
    bandwidth_cells : float
        Of a kernel density; 0 for counts.
    """

    shares: np.ndarray = field(repr=False)
    floor: float
    bandwidth_cells: float


def past_counts(sizes: np.ndarray, parts: Sequence[np.ndarray]) -> Floored:
    """Return last period's counts with a uniform floor.

    Parameters
    ----------
    sizes : ndarray, shape (n_cells,)
        Area of each cell.
    parts : sequence of ndarray, each (n_cells,)
        Incidents per cell, divided into parts: each is predicted from the others to choose the floor.

    Returns
    -------
    Floored
        Its ranking is that of the counts per area; the floor only makes it a forecast that can be scored.

    Raises
    ------
    InputError
        If fewer than two parts hold incidents.

    Examples
    --------
    >>> found = past_counts(np.ones(4), [np.array([2, 1, 0, 0]), np.array([2, 0, 1, 0])])
    >>> found.floor, found.shares.round(3).tolist()
    (0.5, [0.458, 0.208, 0.208, 0.125])
    """
    parts = _usable(parts)
    scores = _floor_scores(parts, sizes, COUNT_FLOORS, lambda counts: counts / counts.sum())
    floor = COUNT_FLOORS[int(np.argmax(scores))]
    total = np.sum(parts, axis=0)
    return Floored(mixed(total / total.sum(), sizes, floor), floor, 0.0)


def kernel_density(grid: Grid, parts: Sequence[np.ndarray]) -> Floored:
    """Return a Gaussian kernel density of incidents with a uniform floor.

    Parameters
    ----------
    grid : Grid
        The grid.
    parts : sequence of ndarray, each (n_cells,)
        Incidents per cell, divided into parts: bandwidth and floor are those that predict each part best from the
        others (log score).

    Returns
    -------
    Floored

    Raises
    ------
    InputError
        If fewer than two parts hold incidents.

    Notes
    -----
    Divided by the same filter of the area, so that the edge loses nothing (Diggle 1985, Applied Statistics 34,
    138-147). Without a floor the log score of a narrow kernel is ruined by single incidents far from all others, and
    cross validation answers with kernels that are too wide.
    """
    parts = _usable(parts)

    def smooth(values: np.ndarray, bandwidth: float) -> np.ndarray:
        raster = grid.to_raster(np.asarray(values, dtype=float), fill=0.0)
        return grid.to_vector(gaussian_filter(raster, bandwidth, mode="constant", truncate=REACH))

    def surface(counts: np.ndarray, bandwidth: float, ground: np.ndarray) -> np.ndarray:
        expected = grid.share * smooth(counts, bandwidth) / ground
        return np.asarray(expected / expected.sum())

    grounds = [smooth(grid.share, bandwidth) for bandwidth in BANDWIDTHS_CELLS]
    tried = [
        partial(surface, bandwidth=bandwidth, ground=ground)
        for bandwidth, ground in zip(BANDWIDTHS_CELLS, grounds, strict=True)
    ]
    scores = np.array([_floor_scores(parts, grid.share, KDE_FLOORS, one) for one in tried])
    best, floor = np.unravel_index(int(np.argmax(scores)), scores.shape)
    bandwidth = BANDWIDTHS_CELLS[best]
    fitted = tried[best](np.sum(parts, axis=0))
    return Floored(mixed(fitted, grid.share, KDE_FLOORS[floor]), KDE_FLOORS[floor], bandwidth)


def mixed(surface: np.ndarray, sizes: np.ndarray, floor: float) -> np.ndarray:
    """Return a surface of sum 1, a share of it spread evenly over the area."""
    shares: np.ndarray = (1 - floor) * surface / surface.sum() + floor * sizes / sizes.sum()
    return shares


def parts_of(counts_of: np.ndarray, folds: np.ndarray, n_cells: int) -> list[np.ndarray]:
    """Return the incidents per cell of every fold; `counts_of` is the cell of each incident."""
    return [
        np.bincount(counts_of[folds == fold], minlength=n_cells)
        for fold in range(int(folds.max(initial=0)) + 1)
    ]


def log_score(shares: np.ndarray, counts: np.ndarray) -> float:
    """Return the sum over incidents of the log of their cell's share."""
    hit = np.flatnonzero(counts)
    return float(counts[hit] @ np.log(shares[hit]))


def _usable(parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    usable = [np.asarray(part) for part in parts if part.sum() > 0]
    if len(usable) < 2:
        raise InputError(
            f"Invalid parts: {len(usable)} with incidents. A floor is chosen by predicting one part from the others; "
            "at least two must hold incidents."
        )
    return usable


def _floor_scores(
    parts: list[np.ndarray],
    sizes: np.ndarray,
    floors: Sequence[float],
    surface: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Return the log score of every floor, each part predicted from the others."""
    total = np.sum(parts, axis=0)
    scores = np.zeros(len(floors))
    for held in parts:
        fitted = surface(total - held)
        scores += [log_score(mixed(fitted, sizes, floor), held) for floor in floors]
    return scores
