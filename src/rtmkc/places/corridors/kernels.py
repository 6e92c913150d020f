"""Compiled loops of the corridors: cells allocated to segments, paths along streets, seams of a grid."""

from typing import NamedTuple

import numpy as np
from numba import njit

LINEAR, DENSITY, LLR = 0, 1, 2
"""Kinds of objective: a sum over blocks, the sum per metre, the log likelihood ratio of the sum."""


class PathGraph(NamedTuple):
    """What may follow what (CSR): a node offers first arcs, an arc offers next arcs, some of them by a turn.

    Arc ``2 b`` runs along block b, arc ``2 b + 1`` against it.
    """

    first_starts: np.ndarray
    first_arcs: np.ndarray
    next_starts: np.ndarray
    next_arcs: np.ndarray
    next_turns: np.ndarray
    head: np.ndarray
    length: np.ndarray
    street: np.ndarray
    easting: np.ndarray
    northing: np.ndarray


class Worth(NamedTuple):
    """What blocks are worth, what they are compared with (for LLR), and both in total; which may be used."""

    value: np.ndarray
    base: np.ndarray
    total_value: float
    total_base: float
    is_open: np.ndarray


class Rule(NamedTuple):
    """Which paths are looked at: bounds in metres, most turns, least share of the length on one name, greatest length
    in multiples of the straight line between the ends.

    With `anywhere` true a path may end inside its last block. Values within `tie` are equal; paths worth less than
    `floor` are not recorded; a start with more than `limit` paths is given up.
    """

    kind: int
    shortest: float
    longest: float
    most_turns: int
    one_name: float
    detour: float
    anywhere: bool
    tie: float
    floor: float
    limit: int


class Workspace(NamedTuple):
    """Scratch arrays of the path search, for paths of at most ``len(path)`` blocks."""

    on_path: np.ndarray
    path: np.ndarray
    best: np.ndarray
    cursor: np.ndarray
    turns: np.ndarray
    length: np.ndarray
    value: np.ndarray
    base: np.ndarray
    by_name: np.ndarray


class Record(NamedTuple):
    """Every path from one start: arcs (CSR), length, value, and the share of its last block."""

    starts: np.ndarray
    arcs: np.ndarray
    length: np.ndarray
    value: np.ndarray
    last_share: np.ndarray


@njit(cache=True, nogil=True)
def middles_of_pieces(
    places: np.ndarray, starts: np.ndarray, pieces: np.ndarray, length: np.ndarray, middles: np.ndarray
) -> None:
    """Write the middle of every one of `pieces[s]` equal pieces of line s, whose vertices begin at ``starts[s]``.

    The arithmetic is that of GEOS's interpolation, which gives the same bits; this walks a line once for all its points.
    """
    at = 0
    for line in range(len(pieces)):
        vertex, last = starts[line], starts[line + 1] - 1
        behind = 0.0
        for number in range(pieces[line]):
            along = (number + 0.5) * (length[line] / pieces[line])
            middles[at, 0], middles[at, 1] = places[last, 0], places[last, 1]
            while vertex < last:
                east = places[vertex + 1, 0] - places[vertex, 0]
                north = places[vertex + 1, 1] - places[vertex, 1]
                step = np.sqrt(east * east + north * north)
                if behind + step > along:
                    share = (along - behind) / step
                    middles[at, 0] = east * share + places[vertex, 0]
                    middles[at, 1] = north * share + places[vertex, 1]
                    break
                behind += step
                vertex += 1
            at += 1


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
def objective_of(kind: int, value: float, base: float, length: float, worth: Worth) -> float:
    """Return what a path is worth by its sums."""
    if kind == LINEAR:
        return value
    if kind == DENSITY:
        return value / length
    if value <= base or base <= 0.0:
        return 0.0
    found = value * np.log(value / base)
    if worth.total_value > value:
        found += (worth.total_value - value) * np.log((worth.total_value - value) / (worth.total_base - base))
    return found


@njit(cache=True, nogil=True)
def share_on_one_name(
    path: np.ndarray, size: int, last_share: float, graph: PathGraph, by_name: np.ndarray
) -> float:
    """Return the largest share of a path's length that has one street name; `by_name` holds 0 before and after."""
    whole, most = 0.0, 0.0
    for level in range(size):
        block = path[level] >> 1
        length = graph.length[block] * (last_share if level == size - 1 else 1.0)
        whole += length
        name = graph.street[block]
        if name >= 0:
            by_name[name] += length
            most = max(most, by_name[name])
    for level in range(size):
        name = graph.street[path[level] >> 1]
        if name >= 0:
            by_name[name] = 0.0
    return most / whole


@njit(cache=True, nogil=True)
def straight_distance(start: int, last_arc: int, last_share: float, graph: PathGraph) -> float:
    """Return the straight distance of a path's ends; an end inside a block lies on the line between its corners."""
    before, after = graph.head[last_arc ^ 1], graph.head[last_arc]
    east = graph.easting[before] + last_share * (graph.easting[after] - graph.easting[before])
    north = graph.northing[before] + last_share * (graph.northing[after] - graph.northing[before])
    return np.hypot(east - graph.easting[start], north - graph.northing[start])


@njit(cache=True, nogil=True)
def paths_from(
    start: int, graph: PathGraph, worth: Worth, rule: Rule, work: Workspace, record: Record
) -> tuple[float, float, float, int, int, int]:
    """Enumerate every simple path of open blocks from one node, keep the best, record all if there is room.

    A path from corner to corner counts at its end with the smaller node number, so every path is met once over all
    starts; one that ends inside its last block begins at a corner and is met there.

    Parameters
    ----------
    start : int
        Node.
    graph, worth, rule : PathGraph, Worth, Rule
        What there is, what it is worth, what is looked for.
    work : Workspace
        Scratch arrays; ``work.best[:size]`` are the arcs of the best path afterwards.
    record : Record
        Arrays for all paths within the rule; of size 0 if they are not wanted.

    Returns
    -------
    tuple
        Best value (-inf: none), its length, the share of its last block, its number of blocks, paths recorded (or, if
        they are not wanted, paths within the bounds of length and turns, whatever their names and detours), paths visited (more than ``rule.limit``: the search was given up and the rest is only
        what was found until then).
    """
    best_value, best_length, best_share, best_size = -np.inf, np.inf, 1.0, 0
    n_within, n_visited = 0, 0
    depth = 0
    work.on_path[start] = True
    work.cursor[0] = graph.first_starts[start]
    work.turns[0] = 0
    work.length[0] = 0.0
    work.value[0] = 0.0
    work.base[0] = 0.0
    while depth >= 0:
        if depth == 0:
            stop = graph.first_starts[start + 1]
        else:
            stop = graph.next_starts[work.path[depth - 1] + 1]
        at = work.cursor[depth]
        if at >= stop:
            depth -= 1
            if depth >= 0:
                work.on_path[graph.head[work.path[depth]]] = False
            continue
        work.cursor[depth] += 1
        arc = graph.first_arcs[at] if depth == 0 else graph.next_arcs[at]
        turns = work.turns[depth] + (0 if depth == 0 else graph.next_turns[at])
        head, block = graph.head[arc], arc >> 1
        if turns > rule.most_turns or work.on_path[head] or not worth.is_open[block]:
            continue
        before = work.length[depth]
        length = before + graph.length[block]
        n_visited += 1
        if n_visited > rule.limit:
            for level in range(depth):
                work.on_path[graph.head[work.path[level]]] = False
            break
        work.path[depth] = arc
        # 0: ends inside the block at the least length; 1: inside it at the greatest; 2: at its far corner
        for end in range(3):
            if end == 2:
                if length > rule.longest or length < rule.shortest or head <= start:
                    continue
                reached, share = length, 1.0
            else:
                reached = rule.shortest if end == 0 else rule.longest
                if not rule.anywhere or reached <= before or reached >= length:
                    continue
                share = (reached - before) / graph.length[block]
            value = work.value[depth] + share * worth.value[block]
            base = work.base[depth] + share * worth.base[block]
            value = objective_of(rule.kind, value, base, reached, worth)
            recorded = len(record.value) > 0 and value >= rule.floor
            if len(record.value) == 0 and value >= rule.floor:
                n_within += 1
            better = value > best_value + rule.tie or (
                value >= best_value - rule.tie and reached < best_length - 1e-6
            )
            if not (recorded or better):
                continue
            if rule.detour < np.inf and reached > rule.detour * straight_distance(start, arc, share, graph):
                continue
            if rule.one_name > 0.0:
                on_one = share_on_one_name(work.path, depth + 1, share, graph, work.by_name)
                if on_one < rule.one_name - 1e-9:
                    continue
            if recorded:
                begin = record.starts[n_within]
                record.arcs[begin : begin + depth + 1] = work.path[: depth + 1]
                record.starts[n_within + 1] = begin + depth + 1
                record.length[n_within] = reached
                record.value[n_within] = value
                record.last_share[n_within] = share
                n_within += 1
            if better:
                best_value, best_length, best_share, best_size = value, reached, share, depth + 1
                work.best[: depth + 1] = work.path[: depth + 1]
        if length > rule.longest:
            continue
        depth += 1
        work.turns[depth] = turns
        work.length[depth] = length
        work.value[depth] = work.value[depth - 1] + worth.value[block]
        work.base[depth] = work.base[depth - 1] + worth.base[block]
        work.on_path[head] = True
        work.cursor[depth] = graph.next_starts[arc]
    work.on_path[start] = False
    return best_value, best_length, best_share, best_size, n_within, n_visited


@njit(cache=True, nogil=True)
def best_of_starts(
    starts: np.ndarray,
    graph: PathGraph,
    worth: Worth,
    rule: Rule,
    work: Workspace,
    record: Record,
    value: np.ndarray,
    length: np.ndarray,
    n_within: np.ndarray,
    n_visited: np.ndarray,
) -> None:
    """Run `paths_from` for many starts; write the best value, its length and the two counts of each at its number."""
    for start in starts:
        found = paths_from(start, graph, worth, rule, work, record)
        value[start], length[start] = found[0], found[1]
        n_within[start], n_visited[start] = found[4], found[5]


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
