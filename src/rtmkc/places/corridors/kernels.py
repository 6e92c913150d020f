"""Compiled loops of the corridor search: allocation of cells to segments, paths along streets, seams of a grid."""

from typing import NamedTuple

import numpy as np
from numba import njit


class PathGraph(NamedTuple):
    """What may follow what: start s lies at a node and offers some first arcs; an arc offers next arcs (CSR)."""

    first_node: np.ndarray
    first_starts: np.ndarray
    first_arcs: np.ndarray
    next_starts: np.ndarray
    next_arcs: np.ndarray
    head: np.ndarray
    length: np.ndarray


class Rule(NamedTuple):
    """Bounds in metres, price of a metre, tolerance within which values tie, and most paths to visit from a start."""

    shortest: float
    longest: float
    price: float
    tie: float
    limit: int


class Workspace(NamedTuple):
    """Scratch arrays of the path search, for paths of at most ``len(path)`` blocks."""

    on_path: np.ndarray
    path: np.ndarray
    best: np.ndarray
    cursor: np.ndarray
    length: np.ndarray
    prize: np.ndarray


class Record(NamedTuple):
    """Every path from one start: arcs (CSR), length and value."""

    starts: np.ndarray
    arcs: np.ndarray
    length: np.ndarray
    value: np.ndarray


@njit(cache=True, nogil=True)
def count_near_cells(
    segment, eastings, northings, share, index, west, north, cell_size, radius, bandwidth, starts, cells, weights, fill
):
    """Collect, segment by segment, the cells within `radius` of its points, with their kernel weights.

    With `fill` false only ``starts[s + 1]`` is set, to the number of cells of segment s; with `fill` true, `cells` and
    `weights` are written from ``starts[s]`` on. Points are given in segment order.
    """
    n_rows, n_columns = index.shape
    reach = int(np.ceil(radius / cell_size))
    slot = np.full(n_rows * n_columns, -1, np.int64)
    mark = np.full(n_rows * n_columns, -1, np.int64)
    n_here = 0
    for point in range(len(segment)):
        this = segment[point]
        if point == 0 or segment[point - 1] != this:
            n_here = 0
        column = int(np.floor((eastings[point] - west) / cell_size))
        row = int(np.floor((north - northings[point]) / cell_size))
        for near_row in range(max(row - reach, 0), min(row + reach + 1, n_rows)):
            to_north = north - (near_row + 0.5) * cell_size - northings[point]
            for near_column in range(max(column - reach, 0), min(column + reach + 1, n_columns)):
                cell = index[near_row, near_column]
                if cell < 0:
                    continue
                to_east = west + (near_column + 0.5) * cell_size - eastings[point]
                squared = to_east * to_east + to_north * to_north
                if squared > radius * radius:
                    continue
                if mark[cell] != this:
                    mark[cell] = this
                    slot[cell] = starts[this] + n_here
                    n_here += 1
                    if fill:
                        cells[slot[cell]] = cell
                        weights[slot[cell]] = 0.0
                if fill:
                    weights[slot[cell]] += share[point] * np.exp(-squared / (2.0 * bandwidth * bandwidth))
        if not fill:
            starts[this + 1] = n_here


@njit(cache=True, nogil=True)
def paths_from(start, graph, prize, open_block, rule, work, record):
    """Enumerate every simple path of open blocks from one start, find its best, and record all if there is room.

    A path counts at its end with the smaller node number, so every path is met once over all starts.

    Parameters
    ----------
    start : int
        Start of the graph.
    graph : PathGraph
        Blocks as pairs of arcs: arc ``2 b`` runs along block b, arc ``2 b + 1`` against it.
    prize, open_block : ndarray, shape (n_blocks,)
        What a block is worth, and whether paths may use it.
    rule : Rule
        Bounds of the length, price of a metre, tolerance of ties, most paths to visit.
    work : Workspace
        Scratch arrays; ``work.best[:size]`` are the arcs of the best path afterwards.
    record : Record
        Arrays for all paths within the bounds; of size 0 if they are not wanted.

    Returns
    -------
    tuple
        Best value, its length, its prize, its number of blocks (0: none), paths within the bounds, paths visited
        (more than ``rule.limit``: the search was given up and the rest means nothing).
    """
    best_value, best_length, best_prize, best_size = -np.inf, np.inf, 0.0, 0
    n_within, n_visited = 0, 0
    depth = 0
    node = graph.first_node[start]
    work.on_path[node] = True
    work.cursor[0] = graph.first_starts[start]
    work.length[0] = 0.0
    work.prize[0] = 0.0
    while depth >= 0:
        if depth == 0:
            stop = graph.first_starts[start + 1]
        else:
            stop = graph.next_starts[work.path[depth - 1] + 1]
        if work.cursor[depth] >= stop:
            depth -= 1
            if depth >= 0:
                work.on_path[graph.head[work.path[depth]]] = False
            continue
        arc = graph.first_arcs[work.cursor[depth]] if depth == 0 else graph.next_arcs[work.cursor[depth]]
        work.cursor[depth] += 1
        head, block = graph.head[arc], arc >> 1
        length = work.length[depth] + graph.length[block]
        if work.on_path[head] or not open_block[block] or length > rule.longest:
            continue
        n_visited += 1
        if n_visited > rule.limit:
            for level in range(depth):
                work.on_path[graph.head[work.path[level]]] = False
            break
        work.path[depth] = arc
        depth += 1
        work.length[depth] = length
        work.prize[depth] = work.prize[depth - 1] + prize[block]
        work.on_path[head] = True
        work.cursor[depth] = graph.next_starts[arc]
        if head <= node or length < rule.shortest:
            continue
        value = work.prize[depth] - rule.price * length
        if len(record.value) > 0:
            begin = record.starts[n_within]
            record.arcs[begin : begin + depth] = work.path[:depth]
            record.starts[n_within + 1] = begin + depth
            record.length[n_within] = length
            record.value[n_within] = value
        n_within += 1
        if value > best_value + rule.tie or (value >= best_value - rule.tie and length < best_length - 1e-6):
            best_value, best_length, best_prize, best_size = value, length, work.prize[depth], depth
            work.best[:depth] = work.path[:depth]
    work.on_path[node] = False
    return best_value, best_length, best_prize, best_size, n_within, n_visited


@njit(cache=True, nogil=True)
def best_of_every_start(starts, graph, prize, open_block, rule, work, record, value, length, n_within, n_visited):
    """Run `paths_from` for many starts and keep the best value, its length and the two counts of each."""
    for position in range(len(starts)):
        found = paths_from(starts[position], graph, prize, open_block, rule, work, record)
        value[position], length[position] = found[0], found[1]
        n_within[position], n_visited[position] = found[4], found[5]
