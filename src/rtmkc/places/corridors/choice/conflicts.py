"""Which candidate corridors exclude each other, and cliques that say so with few rows."""

from collections.abc import Sequence

import numpy as np
import shapely
from scipy import sparse

from rtmkc.places.corridors.network.blocks import MICROMETRE


def conflict_pairs(block_lines: np.ndarray, members: Sequence[np.ndarray], separation_m: float) -> np.ndarray:
    """Return the pairs of windows that share no block and are nearer to each other than the separation.

    Parameters
    ----------
    block_lines : ndarray of LineString, shape (n_blocks,)
        In metres.
    members : sequence of int arrays, length n
        Blocks of each window.
    separation_m : float
        Metres; 0 lets windows touch and cross.

    Returns
    -------
    ndarray of int, shape (m, 2)
        The lower window first, sorted.

    Notes
    -----
    A window is the union of its blocks, so its distance to another is the smallest between their blocks.
    Distances are taken once a pair of blocks; that windows reach each other is a product of sparse matrices.
    A window that ends inside a block counts with the whole block.

    Examples
    --------
    >>> street = shapely.linestrings([[(100 * i, 0), (100 * i + 100, 0)] for i in range(5)])
    >>> conflict_pairs(street, [np.array([0, 1]), np.array([1, 2]), np.array([3]), np.array([4])], 150).tolist()
    [[0, 2], [1, 2], [1, 3], [2, 3]]
    """
    n_windows = len(members)
    if not separation_m > 0 or n_windows < 2:
        return np.empty((0, 2), dtype=np.int64)
    used, block = np.unique(np.concatenate(members).astype(np.int64), return_inverse=True)
    window = np.repeat(np.arange(n_windows), [len(own) for own in members])
    holds = sparse.csr_array(
        (np.ones(len(block), dtype=np.int32), (window, block)), shape=(n_windows, len(used))
    )
    lines = np.asarray(block_lines, dtype=object)[used]
    one, other = shapely.STRtree(lines).query(lines, predicate="dwithin", distance=separation_m)
    once = one < other
    one, other = one[once], other[once]
    near = shapely.distance(lines[one], lines[other]) < separation_m - MICROMETRE
    one, other = one[near], other[near]
    nearness = sparse.csr_array(
        (np.ones(len(one), dtype=np.int32), (one, other)), shape=(len(used), len(used))
    )
    reaches = holds @ (nearness + nearness.T)
    reaches.data[:] = 1  # what is counted here does not matter, and must not overflow
    meets = sparse.triu(reaches @ holds.T, k=1, format="csr").astype(bool)
    shares = sparse.triu(holds @ holds.T, k=1, format="csr").astype(bool)
    pairs = (meets.astype(np.int8) - meets.multiply(shares).astype(np.int8)).tocoo()
    pairs.eliminate_zeros()
    found = np.column_stack([pairs.row, pairs.col]).astype(np.int64)
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def exclusions(members: Sequence[np.ndarray], conflicts: np.ndarray) -> np.ndarray:
    """Return which windows exclude each other, shape (n, n) of bool; no window excludes itself."""
    n_windows = len(members)
    excludes = np.zeros((n_windows, n_windows), dtype=bool)
    for together in windows_by_block(members):
        excludes[np.ix_(together, together)] = True
    excludes[conflicts[:, 0], conflicts[:, 1]] = True
    excludes[conflicts[:, 1], conflicts[:, 0]] = True
    np.fill_diagonal(excludes, val=False)
    return excludes


def windows_by_block(members: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the windows of each block that several windows share."""
    window = np.repeat(np.arange(len(members)), [len(own) for own in members])
    block = np.concatenate(members).astype(np.int64) if len(members) else np.empty(0, dtype=np.int64)
    order = np.lexsort((window, block))
    groups = np.split(window[order], np.flatnonzero(np.diff(block[order])) + 1)
    return [np.unique(group) for group in groups if len(group) > 1]


def clique_cover(excludes: np.ndarray, seeds: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return sets of windows of which one at most can be chosen, such that every exclusion lies in a set.

    Parameters
    ----------
    excludes : ndarray of bool, shape (n, n)
        Symmetric, False on the diagonal.
    seeds : sequence of int arrays
        Sets known to exclude each other, such as the windows of a block: each grows to a clique that cannot
        grow.

    Notes
    -----
    A row ``sum x <= 1`` over a clique cuts far deeper into the relaxed problem than a row a pair does: with
    pairs alone every window could be half chosen. The cover is greedy: seeds first, then whatever pair is
    left.
    """
    left = np.triu(excludes)
    cliques: list[np.ndarray] = []

    def grow(seed: np.ndarray) -> None:
        clique = list(seed)
        fits = excludes[seed].all(axis=0)
        while True:
            new = int(fits.argmax())
            if not fits[new]:
                break
            clique.append(new)
            fits &= excludes[new]
        found = np.sort(np.array(clique))
        left[np.ix_(found, found)] = False
        cliques.append(found)

    for seed in seeds:
        if left[np.ix_(seed, seed)].any():
            grow(seed)
    for window in range(len(excludes)):
        while True:
            other = int(left[window].argmax())
            if not left[window, other]:
                break
            grow(np.array([window, other]))
    return cliques
