"""Folds of cells for cross validation: at random, or in square blocks."""

import numpy as np
from sklearn.utils import check_random_state

from rtmkc.raster.grid import Grid


def random_folds(n_cells: int, n_folds: int, seed: int) -> np.ndarray:
    """Return a fold for each cell, sizes equal to within one, shuffled by the seed."""
    return check_random_state(seed).permutation(np.arange(n_cells) % n_folds)


def block_folds(grid: Grid, side: float, n_folds: int, seed: int) -> np.ndarray:
    """Return a fold for each cell: square blocks of a side, dealt to the folds at random.

    Blocks are counted from the grid's corner; where there are fewer blocks than folds the side is
    halved until there are enough.
    """
    while True:
        per_side = max(1, round(side / grid.cell_size))
        block = (grid.rows // per_side) * (grid.n_columns // per_side + 1) + grid.columns // per_side
        names, number = np.unique(block, return_inverse=True)
        if len(names) >= n_folds or per_side == 1:
            break
        side /= 2
    return (check_random_state(seed).permutation(len(names)) % n_folds)[number]
