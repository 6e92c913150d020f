"""Compiled loops of the corridors: cells allocated to segments, paths along streets, seams of a grid."""

from typing import NamedTuple

import numpy as np
from numba import njit


class PathGraph(NamedTuple):
    """What may follow what (CSR): a start lies at a node and offers first arcs; an arc offers next arcs."""

    first_node: np.ndarray
    first_starts: np.ndarray
    first_arcs: np.ndarray
    next_starts: np.ndarray
    next_arcs: np.ndarray
    head: np.ndarray
    length: np.ndarray


class Rule(NamedTuple):
    """Bounds in metres, price of a metre, difference within which values tie, most paths from a start."""

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
    segment: np.ndarray,
    eastings: np.ndarray,
    northings: np.ndarray,
    share: np.ndarray,
    index: np.ndarray,
    west: float,
    north: float,
    cell_size: float,
    radius: float,
    bandwidth: float,
    starts: np.ndarray,
    cells: np.ndarray,
    weights: np.ndarray,
    fill: bool,
) -> None:
    """Collect, segment by segment, the cells within `radius` of its points, with their kernel weights.

    With `fill` false only ``starts[s + 1]`` is set, to the number of cells of segment s; with `fill` true,
    `cells` and `weights` are written from ``starts[s]`` on. Points are given in segment order.
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
def paths_from(
    start: int,
    graph: PathGraph,
    prize: np.ndarray,
    open_block: np.ndarray,
    rule: Rule,
    work: Workspace,
    record: Record,
) -> tuple[float, float, float, int, int, int]:
    """Enumerate every simple path of open blocks from one start, keep the best, record all if there is room.

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
        Best value, its length, its prize, its number of blocks (0: none), paths within the bounds, paths
        visited (more than ``rule.limit``: the search was given up and the rest means nothing).
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
def best_of_every_start(
    starts: np.ndarray,
    graph: PathGraph,
    prize: np.ndarray,
    open_block: np.ndarray,
    rule: Rule,
    work: Workspace,
    record: Record,
    value: np.ndarray,
    length: np.ndarray,
    n_within: np.ndarray,
    n_visited: np.ndarray,
) -> None:
    """Run `paths_from` for many starts and keep the best value, its length and the two counts of each."""
    for position in range(len(starts)):
        found = paths_from(starts[position], graph, prize, open_block, rule, work, record)
        value[position], length[position] = found[0], found[1]
        n_within[position], n_visited[position] = found[4], found[5]


@njit(cache=True, nogil=True)
def sweep_seams(
    surplus: np.ndarray,
    toll: np.ndarray,
    moves: np.ndarray,
    cell_size: float,
    shortest: float,
    longest: float,
    tie: float,
    best: np.ndarray,
    length: np.ndarray,
    steps: np.ndarray,
    diagonals: np.ndarray,
    choice: np.ndarray,
) -> None:
    """Find, for every cell, the monotone path of allowed length ending there that has the largest sum.

    Parameters
    ----------
    surplus : ndarray, shape (n_rows, n_columns)
        What a cell adds; -inf for walls, and in the outermost rows and columns.
    toll : ndarray, shape (3, n_rows, n_columns)
        0 where a move into a cell is allowed, else -inf.
    moves : ndarray of int, shape (3, 3)
        Of every move: rows down, columns to the right, and whether it is diagonal.
    cell_size, shortest, longest : float
        Metres.
    tie : float
        Sums that differ by no more are equal; the shorter path is then kept.
    best, length, steps, diagonals : ndarray, shape (n_rows, n_columns)
        Written: best sum (-inf if there is no path), its length, its steps and the diagonal ones among them.
    choice : ndarray of uint8, shape (n_steps + 1, n_diagonals + 1, n_rows, n_columns) or 0 everywhere
        Written if it has a size: the last move of the best path with that many steps and diagonals.
    """
    n_rows, n_columns = surplus.shape
    most_steps = int(longest / cell_size)
    most_diagonals = int(longest / (cell_size * np.sqrt(2.0)))
    previous = np.full((most_diagonals + 1, n_rows, n_columns), -np.inf)
    current = np.full((most_diagonals + 1, n_rows, n_columns), -np.inf)
    previous[0] = surplus
    best[:] = -np.inf
    length[:] = np.inf
    for step in range(1, most_steps + 1):
        for diagonal in range(min(step, most_diagonals) + 1):
            metres = (step - diagonal + diagonal * np.sqrt(2.0)) * cell_size
            if metres > longest:
                break
            for row in range(1, n_rows - 1):
                into = current[diagonal, row]
                into[:] = -np.inf
                for move in range(3):
                    from_diagonal = diagonal - moves[move, 2]
                    if from_diagonal < 0:
                        continue
                    source = previous[from_diagonal, row - moves[move, 0]]
                    cost = toll[move, row]
                    shift = moves[move, 1]
                    if choice.size > 0:
                        for column in range(1, n_columns - 1):
                            if source[column - shift] + cost[column] > into[column]:
                                choice[step, diagonal, row, column] = move
                    for column in range(1, n_columns - 1):
                        into[column] = max(into[column], source[column - shift] + cost[column])
                for column in range(1, n_columns - 1):
                    into[column] += surplus[row, column]
                if metres < shortest:
                    continue
                for column in range(1, n_columns - 1):
                    value = into[column]
                    if value > best[row, column] + tie or (
                        value > -np.inf
                        and value >= best[row, column] - tie
                        and metres < length[row, column] - 1e-6
                    ):
                        best[row, column] = value
                        length[row, column] = metres
                        steps[row, column] = step
                        diagonals[row, column] = diagonal
        previous, current = current, previous
