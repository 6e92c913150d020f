"""Block bootstrap: intervals of ratios of sums, and of their differences, that allow for clustered incidents.

Everything is first summed by block (`block_sums`); a draw then only weighs blocks. All statistics of one call, and
of calls with equally many blocks and the same seed, share their draws: differences between models are paired.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rtmkc.checks import check_count, check_share
from rtmkc.errors import InputError

DRAWS_AT_A_TIME = 50
"""Bounds memory where blocks are many; 50 draws of 150,000 blocks are 60 MB."""
MIN_DRAWS = 100


class Intervals(NamedTuple):
    """Statistics with the ends of their intervals."""

    value: np.ndarray
    """As observed."""
    lower: np.ndarray
    upper: np.ndarray


@dataclass(frozen=True, eq=False)
class BootstrapDraws:
    """Ratios as observed and as redrawn; made by `bootstrap_ratios`."""

    values: np.ndarray
    """The ratios as observed, of shape (n_statistics,)."""
    draws: np.ndarray
    """The ratios of every draw used, of shape (n_used, n_statistics)."""
    n_drawn: int
    """Draws made; those without an incident were not used."""
    n_blocks: int
    """Blocks with incidents; see the notes of `bootstrap_ratios` where they are few."""

    def intervals(self, *, level: float = 0.95) -> Intervals:
        """Return the percentile interval of each ratio."""
        return self._ends(self.values, self.draws, level)

    def differences(self, first: Any, second: Any, *, level: float = 0.95) -> Intervals:
        """Return `first` - `second` with percentile intervals from the same draws.

        Parameters
        ----------
        first, second : int or sequence of int
            Columns of the numerators; of one length, or one of them a single column.
        level : float
            Coverage aimed at.

        Returns
        -------
        Intervals
            NaN where both are minus infinity.
        """
        first, second = np.broadcast_arrays(np.atleast_1d(first), np.atleast_1d(second))
        with np.errstate(invalid="ignore"):
            values = self.values[first] - self.values[second]
            draws = self.draws[:, first] - self.draws[:, second]
        return self._ends(values, draws, level)

    def _ends(self, values: np.ndarray, draws: np.ndarray, level: float) -> Intervals:
        if self.n_blocks < 2:
            return Intervals(values, np.full(values.shape, math.nan), np.full(values.shape, math.nan))
        # Order statistics, not interpolated: an infinite draw is a draw.
        ordered = np.sort(draws, axis=0)
        cut = max(int((1 - check_share("level", level)) / 2 * (len(ordered) + 1)), 1)
        undefined = np.isnan(draws).any(axis=0)
        lower, upper = (np.where(undefined, math.nan, ordered[row]) for row in (cut - 1, -cut))
        return Intervals(values, lower, upper)


def square_blocks(rows: Any, columns: Any, side_cells: int) -> np.ndarray:
    """Return the number of the square block that each cell lies in.

    Parameters
    ----------
    rows, columns : array of int of shape (n_cells,)
        Where the cells are on the grid.
    side_cells : int
        Side of a block in cells. For a bootstrap take at least twice the range over which residuals are
        alike.

    Returns
    -------
    array of int of shape (n_cells,)
        0 to n_blocks - 1, row by row of blocks; blocks without cells have no number.

    Examples
    --------
    >>> square_blocks([0, 0, 0, 3], [0, 1, 2, 0], 2).tolist()
    [0, 0, 1, 2]
    """
    side = check_count("side_cells", side_cells)
    rows, columns = np.asarray(rows), np.asarray(columns)
    if rows.ndim != 1 or rows.size == 0 or rows.shape != columns.shape:
        raise InputError(f"Invalid columns of shape {columns.shape}. They must match the rows {rows.shape}.")
    row, column = rows // side, columns // side
    _, blocks = np.unique(row * (column.max() + 1) + column, return_inverse=True)
    return blocks


def block_sums(blocks: Any, values: Any) -> np.ndarray:
    """Return the sums of cell values over blocks.

    Parameters
    ----------
    blocks : array of int of shape (n_cells,)
        Block of each cell, numbered from 0.
    values : array of shape (n_cells,) or (n_cells, n_statistics)
        What is summed: incidents, hits, log scores.

    Returns
    -------
    array of shape (n_blocks,) or (n_blocks, n_statistics)

    Examples
    --------
    >>> block_sums([0, 0, 1], [1, 2, 4]).tolist()
    [3.0, 4.0]
    """
    blocks, values = np.asarray(blocks), np.asarray(values, dtype=float)
    if values.ndim not in (1, 2) or values.shape[:1] != blocks.shape:
        raise InputError(f"Invalid values of shape {values.shape}. The blocks are of {blocks.size:,} cells.")
    if values.ndim == 1:
        return np.bincount(blocks, weights=values)
    return np.stack([np.bincount(blocks, weights=column) for column in values.T], axis=1)


def bootstrap_ratios(
    numerators: Any, denominator: Any, *, n_draws: int = 1000, random_state: int = 0
) -> BootstrapDraws:
    """Redraw ratios of sums by weighing every block with a Poisson variable of mean 1.

    Parameters
    ----------
    numerators : array of shape (n_blocks, n_statistics)
        Sums over blocks, one column a statistic: hits of a model at a budget (for its hit rate), hits / area
        share (PAI), `metrics.nats_terms` (nats). Minus infinity is allowed.
    denominator : array of shape (n_blocks,)
        Sums over blocks of what all are divided by: incidents.
    n_draws : int
        Draws, at least 100.
    random_state : int
        Seed of the draws.

    Returns
    -------
    BootstrapDraws
        With the methods `intervals` and `differences`.

    Raises
    ------
    InputError
        If shapes differ, a numerator is NaN, or there is nothing to divide by.

    Notes
    -----
    Blocks are taken for independent of each other, cells within a block are not. A draw whose blocks hold no
    incident has no ratio: it is left out, for every statistic, and the percentiles are those of the others.
    The flagged sets, their area and the forecasts are held fixed: what varies is the incidents.

    In simulated cities of blocks that are alike, 95 % intervals of a hit rate held the true one in 81, 87, 91,
    93 and 96 % with 5, 10, 20, 60 and 120 blocks, those of a difference in 89, 93, 94, 95 and 95 %. Where
    known risk differs between blocks the interval of one model takes that for chance too and is wide (97 to 100 %);
    the difference of two models alike does not.

    References
    ----------
    Hall (1985), Stochastic Processes and their Applications 20, 231-246. Hanley and MacGibbon (2006), Computer
    Methods and Programs in Biomedicine 83, 57-62.

    Examples
    --------
    >>> redrawn = bootstrap_ratios([[2, 1], [3, 3], [1, 0], [0, 1]], [4, 6, 2, 2], n_draws=200)
    >>> redrawn.intervals().value.round(3).tolist()
    [0.429, 0.357]
    >>> redrawn.differences(0, 1).value.round(3).tolist()
    [0.071]
    """
    numerators, denominator = np.asarray(numerators, dtype=float), np.asarray(denominator, dtype=float)
    if denominator.ndim != 1 or numerators.ndim != 2 or len(numerators) != len(denominator):
        raise InputError(
            f"Invalid numerators of shape {numerators.shape}. They must have one row a block, like the "
            f"denominator {denominator.shape}, and one column a statistic."
        )
    if np.isnan(numerators).any() or np.isposinf(numerators).any():
        raise InputError("Invalid numerators. They must be numbers or minus infinity.")
    if not (np.isfinite(denominator).all() and denominator.min() >= 0 and denominator.sum() > 0):
        raise InputError(
            "Invalid denominator. It must be 0 or more in every block, and more in at least one."
        )
    n_draws = check_count("n_draws", n_draws, minimum=MIN_DRAWS)
    impossible = np.isneginf(numerators)
    sums = np.column_stack([denominator, np.where(impossible, 0.0, numerators), impossible])
    random = np.random.default_rng(random_state)
    sizes = [min(DRAWS_AT_A_TIME, n_draws - start) for start in range(0, n_draws, DRAWS_AT_A_TIME)]
    weighed = np.concatenate([random.poisson(1.0, (size, len(sums))) @ sums for size in sizes])
    used = weighed[weighed[:, 0] > 0]
    return BootstrapDraws(
        _ratios(sums.sum(axis=0)[None])[0], _ratios(used), n_draws, int(np.count_nonzero(denominator))
    )


def _ratios(sums: np.ndarray) -> np.ndarray:
    """Return numerators / denominator; minus infinity where a block that makes it so has any weight."""
    n_statistics = (sums.shape[1] - 1) // 2
    ratios = sums[:, 1 : n_statistics + 1] / sums[:, :1]
    return np.where(sums[:, n_statistics + 1 :] > 0, -math.inf, ratios)
