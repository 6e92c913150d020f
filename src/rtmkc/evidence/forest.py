"""The random forest that a readable model is held against: same factors, any interaction, no explanation.

Its columns are the codes of the curves, the distances and densities of the same factors in some twenty steps each: a tree
asks only for their order, and splits small whole numbers in a third of the time it takes for measured values.
"""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.ensemble import RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

from rtmkc.evidence.baselines import log_score, mixed
from rtmkc.model.history.ages import Lesson
from rtmkc.raster.candidates import Candidates
from rtmkc.raster.grid import Grid

N_TREES = 500
N_TREES_TRIED = 25
LEAVES = (3, 10, 40, 150, 600)
"""Fewest cells of a leaf, tried."""
PLACE_LEAVES = (40, 150, 600)
"""The same for places left out, of which nothing can be remembered."""
FLOORS = (0.005, 0.02, 0.05, 0.1, 0.2, 0.4)
MAX_FEATURES = "sqrt"
TREES_AT_A_TIME = 50
"""Bounds memory: 500 trees of a large city take gigabytes."""
LAG_WIDTHS_CELLS = (1.0, 4.0)


@dataclass(frozen=True, eq=False)
class Grown:
    """What a forest says of every cell, in incidents per full cell.

    Attributes
    ----------
    whole : ndarray, shape (n_cells,)
        Mean of all trees: of a cell it has learned from it remembers the count.
    out_of_bag : ndarray, shape (n_cells,)
        Mean of the trees that have not learned from the cell.
    """

    whole: np.ndarray = field(repr=False)
    out_of_bag: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class Choice:
    """Leaf size and uniform floor, by log score on what a trial held out."""

    leaf: int
    floor: float


def columns_of(curves: Candidates) -> np.ndarray:
    """Return the codes of curves as columns for trees, near before far; shape (n_cells, n_variables)."""
    kinds = curves.columns.groupby("variable")["kind"].first()
    columns = []
    for variable, codes in enumerate(curves.codes):
        # Ring 0 is out of reach, and farther than the farthest ring.
        beyond = len(curves.tables[variable])
        is_near = kinds[variable] == "proximity"
        columns.append(np.where(codes == 0, beyond, codes) if is_near else codes)
    return (
        np.column_stack(columns).astype(np.float32)
        if columns
        else np.zeros((curves.grid.n_cells, 0), np.float32)
    )


def lags(grid: Grid, counts: np.ndarray) -> np.ndarray:
    """Return past incidents per full cell as columns: of the cell, and smoothed over its surroundings."""

    def smooth(values: np.ndarray, width: float) -> np.ndarray:
        return grid.to_vector(gaussian_filter(grid.to_raster(values, fill=0.0), width, mode="constant"))

    counts = np.asarray(counts, dtype=float)
    around = [smooth(counts, width) / smooth(grid.share, width) for width in LAG_WIDTHS_CELLS]
    return np.column_stack([counts / grid.share, *around]).astype(np.float32)


def grow(
    columns: np.ndarray,
    counts: np.ndarray,
    sizes: np.ndarray,
    *,
    leaf: int,
    n_trees: int,
    seed: int,
    others: np.ndarray | None = None,
) -> Grown:
    """Grow a forest of incidents per full cell, each cell weighing its size.

    Parameters
    ----------
    columns : ndarray, shape (n_cells, n_columns)
        Of the cells that are learned from.
    counts, sizes : ndarray, shape (n_cells,)
        Incidents, and share of the cell inside the area.
    leaf : int
        Fewest cells of a leaf.
    n_trees : int
        Trees.
    seed : int
        Of the forest.
    others : ndarray, shape (n_others, n_columns), optional
        Cells to say something of, instead of those that are learned from; all are then out of bag.

    Returns
    -------
    Grown

    Notes
    -----
    Breiman (2001), Machine Learning 45, 5-32, as implemented in scikit-learn, with squared error and the square root of
    the number of columns tried at a split. Trees are added up in their order: the bits do not depend on the number of threads.
    """
    asked = np.ascontiguousarray(columns if others is None else others)
    # A split reads one column of many cells, a prediction all columns of one: each has them side by side.
    columns = np.asfortranarray(columns)
    total, unseen, times = np.zeros((3, len(asked)))
    for first in range(0, n_trees, TREES_AT_A_TIME):
        forest = RandomForestRegressor(
            min(TREES_AT_A_TIME, n_trees - first),
            min_samples_leaf=leaf,
            max_features=MAX_FEATURES,
            n_jobs=os.cpu_count(),
            random_state=seed + first,
        )
        forest.fit(columns, counts / sizes, sample_weight=sizes)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            told = pool.map(partial(_values, asked), forest.estimators_)
            if others is not None:
                for values in told:
                    total += values
                continue
            for values, drawn in zip(told, forest.estimators_samples_, strict=True):
                total += values
                out = np.ones(len(asked), dtype=bool)
                out[drawn] = False
                unseen[out] += values[out]
                times += out
    whole = total / n_trees
    # With few trees a cell may have been in every bag; the mean of all says nothing of it either.
    mean = counts.sum() / sizes.sum()
    return Grown(
        whole,
        whole
        if others is not None
        else np.divide(unseen, times, out=np.full(len(asked), mean), where=times > 0),
    )


def _values(columns: np.ndarray, tree: DecisionTreeRegressor) -> np.ndarray:
    values: np.ndarray = tree.predict(columns, check_input=False)
    return values


def choose_by_time(
    columns: np.ndarray, lessons: Iterable[Lesson], sizes: np.ndarray, seed: int
) -> tuple[Choice, Choice]:
    """Choose leaf and floor by predicting later incidents of the same cells.

    Returns
    -------
    whole, out_of_bag : Choice
        For the forest as it is, and for its out-of-bag surface.
    """
    scores = np.zeros((2, len(LEAVES), len(FLOORS)))
    for lesson in lessons:
        for number, leaf in enumerate(LEAVES):
            grown = grow(columns, lesson.past.counts(), sizes, leaf=leaf, n_trees=N_TREES_TRIED, seed=seed)
            for way, density in enumerate((grown.whole, grown.out_of_bag)):
                scores[way, number] += floor_scores(density * sizes, sizes, lesson.future)
    return _best(scores[0], LEAVES), _best(scores[1], LEAVES)


def choose_by_places(
    columns: np.ndarray, counts: np.ndarray, sizes: np.ndarray, folds: np.ndarray, seed: int
) -> Choice:
    """Choose leaf and floor by predicting places left out, fold by fold."""
    scores = np.zeros((len(PLACE_LEAVES), len(FLOORS)))
    for number, leaf in enumerate(PLACE_LEAVES):
        shares = np.zeros(len(counts))
        for fold in range(int(folds.max()) + 1):
            out = folds == fold
            if counts[~out].sum() > 0:
                grown = grow(
                    columns[~out], counts[~out], sizes[~out], leaf=leaf, n_trees=N_TREES_TRIED, seed=seed,
                    others=columns[out],
                )  # fmt: skip
                shares[out] = grown.whole * sizes[out]
        scores[number] = floor_scores(shares, sizes, counts)
    return _best(scores, PLACE_LEAVES)


def choose_by_bag(columns: np.ndarray, counts: np.ndarray, sizes: np.ndarray, seed: int) -> Choice:
    """Choose leaf and floor by the out-of-bag score: what the columns say of cells not learned from."""
    scores = np.zeros((len(LEAVES), len(FLOORS)))
    for number, leaf in enumerate(LEAVES):
        grown = grow(columns, counts, sizes, leaf=leaf, n_trees=N_TREES_TRIED, seed=seed)
        scores[number] = floor_scores(grown.out_of_bag * sizes, sizes, counts)
    return _best(scores, LEAVES)


def floor_scores(expected: np.ndarray, sizes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the log score of a surface with every floor of `FLOORS`."""
    return np.array([log_score(mixed(expected, sizes, floor), counts) for floor in FLOORS])


def _best(scores: np.ndarray, leaves: Sequence[int]) -> Choice:
    leaf, floor = np.unravel_index(int(np.argmax(scores)), scores.shape)
    return Choice(leaves[int(leaf)], FLOORS[floor])
