"""What the factors add to history alone, on incidents that neither has seen."""

import math
from dataclasses import dataclass

import numpy as np

from rtmkc.evidence.statistics.metrics import nats_terms
from rtmkc.evidence.statistics.resampling import block_sums, bootstrap_ratios, square_blocks
from rtmkc.raster.grid import Grid

LEVEL = 0.95
MIN_BLOCKS = 20
"""With fewer blocks that hold incidents an interval is too narrow to be shown."""
MIN_SIDE_CELLS = 4


@dataclass(frozen=True)
class Gain:
    """Log score of curves x history above that of history alone.

    Attributes
    ----------
    nats : float
        Mean over the held-out incidents of log(forecast with factors / forecast without).
    lower, upper : float
        95 % interval by resampling square blocks, both forecasts in the same draws; NaN where incidents lie in too few.
    n_incidents : int
        Held-out incidents.
    by_time : bool
        Whether they came after those that were learned from, or were drawn at random.

    Examples
    --------
    >>> print(Gain(0.0213, 0.0121, 0.0302, 5012, True).statement)
    On 5,012 incidents held out in time the factors add 0.021 nats (95 % interval 0.012 to 0.030) to history alone.
    """

    nats: float
    lower: float
    upper: float
    n_incidents: int
    by_time: bool

    @property
    def statement(self) -> str:
        """The gain as a sentence."""
        if not self.n_incidents:
            return "None of the incidents could be held out, so that what the factors add to history is not known."
        how = "in time" if self.by_time else "at random"
        start = f"On {self.n_incidents:,} incidents held out {how} the factors "
        if self.nats == 0.0 and self.lower == 0.0 == self.upper:
            return f"{start}add nothing to history alone: no curve beat a flat surface."
        interval = f"{self.lower:.3f} to {self.upper:.3f}"
        if math.isnan(self.lower):
            return f"{start}add {self.nats:.3f} nats to history alone; they are in too few places for an interval."
        if self.lower > 0:
            return f"{start}add {self.nats:.3f} nats (95 % interval {interval}) to history alone."
        if self.upper < 0:
            return (
                f"{start}make history worse, by {-self.nats:.3f} nats (95 % interval of the gain {interval})."
            )
        return (
            f"On {self.n_incidents:,} incidents held out {how} it cannot be told whether the factors add to history "
            f"alone: {self.nats:.3f} nats (95 % interval {interval})."
        )


def measure_gain(
    grid: Grid,
    with_factors: np.ndarray,
    alone: np.ndarray,
    future: np.ndarray,
    *,
    block: float,
    by_time: bool,
    seed: int,
) -> Gain:
    """Return the gain of one forecast over another on incidents that neither has seen.

    Parameters
    ----------
    grid : Grid
        The grid.
    with_factors, alone : ndarray, shape (n_cells,)
        The forecasts, up to a constant.
    future : ndarray, shape (n_cells,)
        The incidents.
    block : float
        Side in metres of the blocks that are redrawn; halved, down to four cells, while fewer than twenty hold
        incidents.
    by_time : bool
        Whether the incidents are later ones.
    seed : int
        Of the draws.
    """
    n_incidents = int(future.sum())
    if np.array_equal(with_factors, alone):
        return Gain(0.0, 0.0, 0.0, n_incidents, by_time)
    side = max(MIN_SIDE_CELLS, round(block / grid.cell_size))
    blocks = square_blocks(grid.rows, grid.columns, side)
    while len(np.unique(blocks[future > 0])) < MIN_BLOCKS and side > MIN_SIDE_CELLS:
        side = max(MIN_SIDE_CELLS, side // 2)
        blocks = square_blocks(grid.rows, grid.columns, side)
    terms = np.stack([nats_terms(one, future, grid.share) for one in (with_factors, alone)], axis=1)
    redrawn = bootstrap_ratios(block_sums(blocks, terms), block_sums(blocks, future), random_state=seed)
    value, lower, upper = (float(one[0]) for one in redrawn.differences(0, 1, level=LEVEL))
    if redrawn.n_blocks < MIN_BLOCKS:
        lower = upper = math.nan
    return Gain(value, lower, upper, n_incidents, by_time)
