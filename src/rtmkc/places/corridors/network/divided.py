"""Divided roads become one street: one carriageway stays, the other is laid onto it with all that it meets.

Each carriageway of a divided road would take half of the risk, and the road would rank too low.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely.ops import substring

from rtmkc.places.corridors.network.carriageways import APART_M, Chain, Facing, Side, find_facing
from rtmkc.places.corridors.network.noding import end_points, node_lines, number_places

SHORTEST_M = 80.0
"""Carriageways side by side for less than this are left: forks, roundabouts, ends of cul-de-sacs, in metres."""

_FILLED_M = 20.0
_FORK_M = 60.0
_MARGIN_M = 5.0
_MILLIMETRE = 1e-3


@dataclass(frozen=True, eq=False)
class MergedLines:
    """Lines after divided roads became one.

    Attributes
    ----------
    lines : ndarray of LineString, shape (n_segments,)
        They touch at their ends only.
    origin : ndarray of int, shape (n_segments,)
        Which of the given lines each comes from.
    merged_m : dict of int to float
        Metres of carriageway laid onto another, by number of the street.
    """

    lines: np.ndarray
    origin: np.ndarray
    merged_m: dict[int, float] = field(default_factory=dict)


def merge_divided(lines: np.ndarray, street: np.ndarray, *, snap_m: float) -> MergedLines:
    """Lay one carriageway of every divided road onto the other.

    Parameters
    ----------
    lines : ndarray of LineString, shape (n_lines,)
        Lines that touch at their ends only (`node_lines`), in metres.
    street : ndarray of int, shape (n_lines,)
        Number of the name; only lines of one name are carriageways of one road, negative ones of none.
    snap_m : float
        Ends nearer than this are one place, in metres.

    Returns
    -------
    MergedLines

    Notes
    -----
    A carriageway faces another where that has the same name, runs parallel within 30 degrees and abreast, and
    lies at most 40 m away. Where they do for 80 m or more, the southern one of an east-west road and the
    western one of a north-south road stays. Corners of the other move along the street that crosses the median,
    if one does, and to the nearest point otherwise; what lies in the median and joins the two vanishes.
    The arms of a crescent, the sides of a loop, and a branch that meets its own street square are two sides of
    one road only if another street or a connector crosses from one to the other between their ends.

    Examples
    --------
    A boulevard whose northern side alone meets Elm.

    >>> wkt = ["LINESTRING (0 0, 300 0)", "LINESTRING (0 20, 100 20)", "LINESTRING (100 20, 300 20)",
    ...        "LINESTRING (100 20, 100 90)"]
    >>> merged = merge_divided(shapely.from_wkt(wkt), np.array([0, 0, 0, 1]), snap_m=0.5)
    >>> print(*shapely.to_wkt(merged.lines, rounding_precision=0), sep="; ")
    LINESTRING (0 0, 100 0); LINESTRING (100 0, 300 0); LINESTRING (100 0, 100 20, 100 90)
    >>> merged.merged_m
    {0: 300.0}
    """
    origin = np.arange(len(lines))
    merged_m: dict[int, float] = {}
    waiting = np.asarray(street)
    while (waiting >= 0).any():
        network = _Network.of(lines)
        runs = _find_runs(network, waiting)
        if not runs:
            break
        now, later = _apart(runs)
        for run in now:
            number = run.side.chain.street
            merged_m[number] = merged_m.get(number, 0.0) + float(run.high - run.low)
        lines, source = _lay_down(network, waiting, now)
        noded = node_lines(lines, snap_m=snap_m)
        lines, source = noded.lines, source[noded.origin]
        # roads that cross wait for each other: a crossing of two divided roads is four corners, then two, then one
        waiting = np.where(np.isin(waiting, later), waiting, -1)[source]
        origin = origin[source]
    return MergedLines(lines, origin, merged_m)


@dataclass(frozen=True, eq=False)
class _Network:
    lines: np.ndarray
    places: np.ndarray
    node: np.ndarray
    tree: shapely.STRtree

    @classmethod
    def of(cls, lines: np.ndarray) -> "_Network":
        places, number = number_places(np.vstack(end_points(lines)))
        return cls(lines, places, number.reshape(2, -1).T, shapely.STRtree(lines))

    def is_corner(self) -> np.ndarray:
        corner: np.ndarray = np.bincount(self.node.ravel(), minlength=len(self.places)) != 2
        return corner


@dataclass(frozen=True, eq=False)
class _Run:
    """The part of a side, from `low` to `high` metres, that is laid onto another side."""

    side: Side
    low: float
    high: float
    onto: Side
    strip: shapely.Geometry = field(repr=False)
    link_pieces: np.ndarray
    links: dict[int, int]


def _find_runs(network: _Network, street: np.ndarray) -> list[_Run]:
    facing = find_facing(network.lines, street, network.node)
    if facing is None:
        return []
    facing = _with_evidence(facing, network)
    if len(facing.side) == 0:
        return []
    rank = _ranks(facing)
    distance = facing.distance
    taken: list[list[tuple[float, float]]] = [[] for _ in facing.sides]
    corner = network.is_corner()
    runs: list[_Run] = []
    for number in np.argsort(rank):
        mine = np.flatnonzero((facing.side == number) & (rank[facing.other] < rank[number]))
        free = [
            not any(low < facing.at[entry] < high for low, high in taken[facing.other[entry]])
            for entry in mine
        ]
        mine = mine[np.array(free, dtype=bool)]
        if len(mine) == 0:
            continue
        mine = mine[np.lexsort((rank[facing.other[mine]], np.round(distance[mine], 3), facing.place[mine]))]
        first = np.append(True, np.diff(facing.place[mine]) != 0)
        place, target = facing.place[mine][first], facing.other[mine][first]
        side, step = facing.sides[number], facing.step[number]
        spans = _spans(place, target, step)
        for index, (low, high, onto) in enumerate(spans):
            floor = spans[index - 1][1] if index else 0.0
            ceiling = spans[index + 1][0] if index + 1 < len(spans) else side.high - side.low
            low = _extended(side, facing.sides[onto], low, floor, corner, network)
            high = _extended(side, facing.sides[onto], high, ceiling, corner, network)
            spans[index] = (low, high, onto)
            taken[number].append((low, high))
            runs.append(_run(side, low, high, facing.sides[onto], network))
    # what a road's own lines are laid onto is no mere connector, though it may lie in the median of a third
    busy: dict[int, list[np.ndarray]] = {}
    for run in runs:
        busy.setdefault(run.side.chain.street, []).extend([run.side.chain.pieces, run.onto.chain.pieces])
    own = {street: np.concatenate(pieces) for street, pieces in busy.items()}
    return [
        _run(run.side, run.low, run.high, run.onto, network, own[run.side.chain.street])
        if np.isin(run.link_pieces, own[run.side.chain.street]).any()
        else run
        for run in runs
    ]


def _with_evidence(facing: Facing, network: _Network) -> Facing:
    """Leave out pairs that may be arms of a crescent or branches, unless something joins them in between."""
    sides = facing.sides
    doubtful = {
        (one, other)
        for one, other in np.unique(np.column_stack([facing.side, facing.other]), axis=0).tolist()
        if sides[one].chain is sides[other].chain
        or sides[one].chain.is_branch
        or sides[other].chain.is_branch
    }
    keep = np.ones(len(facing.side), dtype=bool)
    for one, other in sorted(doubtful):
        pair = np.flatnonzero((facing.side == one) & (facing.other == other))
        pair = pair[np.argsort(facing.place[pair])]
        keep[pair] = False
        step = facing.step[one]
        for low, high, _ in _spans(facing.place[pair], facing.other[pair], step):
            links = _run(sides[one], low, high, sides[other], network).links
            ends = np.concatenate([sides[one].chain.nodes[[0, -1]], sides[other].chain.nodes[[0, -1]]])
            if any(node not in ends and target not in ends for node, target in links.items()):
                chainage = (facing.place[pair] + 0.5) * step
                keep[pair[(chainage > low) & (chainage < high)]] = True
    parts = (facing.side, facing.place, facing.other, facing.at, facing.offset, facing.along)
    return Facing(sides, facing.step, *(part[keep] for part in parts))


def _spans(place: np.ndarray, target: np.ndarray, step: float) -> list[tuple[float, float, int]]:
    """Stretches of places without a long gap, long enough, and cut where the side faced is another one."""
    gap, switch = np.diff(place), np.diff(target) != 0
    broken = np.where(switch, gap > 1, gap * step > _FILLED_M + step)
    spans = []
    for stretch in np.split(np.arange(len(place)), np.flatnonzero(broken) + 1):
        if (place[stretch[-1]] + 1 - place[stretch[0]]) * step < SHORTEST_M - _MILLIMETRE:
            continue
        for part in np.split(stretch, np.flatnonzero(switch[stretch[:-1]]) + 1):
            spans.append((place[part[0]] * step, (place[part[-1]] + 1) * step, int(target[part[0]])))
    return spans


def _ranks(facing: Facing) -> np.ndarray:
    """Order of the sides: the southern ones of roads from west to east, the western ones of others, stay."""
    n_sides = len(facing.sides)
    pairs = coo_array((np.ones(len(facing.side)), (facing.side, facing.other)), shape=(n_sides, n_sides))
    _, road = connected_components(pairs, directed=False)
    step = facing.step[facing.side]
    # cos of twice the angle: its sum is positive if the road runs rather from west to east
    doubled = step * (facing.along[:, 0] ** 2 - facing.along[:, 1] ** 2)
    is_west_east = np.bincount(road[facing.side], doubled, minlength=n_sides)[road] >= -1e-6
    outward = -np.where(is_west_east[facing.side], facing.offset[:, 1], facing.offset[:, 0])
    score = np.bincount(facing.side, outward * step, minlength=n_sides)
    keys = [
        (-round(score[number], 3), -round(side.high - side.low, 3), *np.round(side.line.bounds, 3).tolist())
        for number, side in enumerate(facing.sides)
    ]
    rank = np.empty(n_sides, dtype=np.int64)
    rank[sorted(range(n_sides), key=keys.__getitem__)] = np.arange(n_sides)
    return rank


def _extended(
    side: Side, onto: Side, end: float, limit: float, corner: np.ndarray, network: _Network
) -> float:
    """Move an end of a run outward to the fork where the sides meet, or to the next corner, if near."""
    chain = side.chain
    is_mark = corner[chain.nodes].copy()
    is_mark[[0, -1]] = True
    marks = np.unique(np.append(chain.chainage[is_mark] - side.low, [0.0, side.high - side.low]))
    between = (marks >= min(end, limit) - _MILLIMETRE) & (marks <= max(end, limit) + _MILLIMETRE)
    marks = marks[between & (np.abs(marks - end) <= _FORK_M)]
    marks = marks[np.argsort(np.abs(marks - end))]
    apart = shapely.distance(onto.line, shapely.line_interpolate_point(side.line, marks))
    forks = marks[apart <= 1.0]
    if len(forks):
        return float(forks[0])
    near = marks[(apart <= APART_M) & (np.abs(marks - end) <= APART_M)]
    return float(near[0]) if len(near) else end


def _run(
    side: Side, low: float, high: float, onto: Side, network: _Network, busy: np.ndarray | None = None
) -> _Run:
    """Find what lies in the median of a run and joins its two sides, `busy` pieces apart."""
    part = substring(side.line, low, high)
    ends = shapely.get_point(part, [0, -1])
    at, apart = shapely.line_locate_point(onto.line, ends), shapely.distance(onto.line, ends)
    order = np.argsort(at, kind="stable")
    begin, end = at[order[0]] - apart[order[0]], at[order[1]] + apart[order[1]]
    base = substring(onto.line, max(begin, 0.0), min(end, onto.line.length))
    outline = shapely.get_coordinates(part)
    if order[0] == 0:
        outline = outline[::-1]
    ring = np.vstack([shapely.get_coordinates(base), outline])
    median = shapely.make_valid(shapely.Polygon(ring)) if len(ring) > 3 else part
    strip = shapely.union_all([median, part, base]).buffer(_MARGIN_M)
    inside = np.sort(network.tree.query(strip, predicate="covers"))
    own = np.concatenate([side.chain.pieces, onto.chain.pieces]) if busy is None else busy
    inside = inside[~np.isin(inside, own)]
    mine = _nodes_between(side, low, high)
    theirs = _nodes_between(onto, begin, end)
    links, pieces = _links(network, inside, np.setdiff1d(mine, theirs), theirs)
    return _Run(side, low, high, onto, strip, pieces, links)


def _nodes_between(side: Side, low: float, high: float) -> np.ndarray:
    chainage = side.chain.chainage - side.low
    within: np.ndarray = side.chain.nodes[(chainage >= low - _MILLIMETRE) & (chainage <= high + _MILLIMETRE)]
    return within


def _links(
    network: _Network, inside: np.ndarray, mine: np.ndarray, theirs: np.ndarray
) -> tuple[dict[int, int], np.ndarray]:
    """Nodes of one side and of the median -> the node of the other side that they are joined to; the joins."""
    ends = network.node[inside]
    if len(inside) == 0:
        return {}, inside
    on_side = np.isin(ends, np.concatenate([mine, theirs]))
    # pieces that meet in the median, not on a side, belong together
    shared = np.where(on_side, -1 - np.arange(ends.size).reshape(ends.shape), ends)
    _, key = np.unique(shared, return_inverse=True)
    key = key.reshape(ends.shape)
    size = key.max() + 1
    _, group = connected_components(
        coo_array((np.ones(len(key)), (key[:, 0], key[:, 1])), shape=(size, size)), directed=False
    )
    group = group[key[:, 0]]
    links: dict[int, int] = {}
    joins = []
    for number in np.unique(group):
        pieces = inside[group == number]
        nodes = np.unique(network.node[pieces])
        reached = nodes[np.isin(nodes, theirs)]
        moved = nodes[~np.isin(nodes, theirs)]
        if len(reached) == 0 or not np.isin(moved, mine).any():
            continue
        if shapely.length(network.lines[pieces]).sum() > 4 * APART_M:
            continue
        joins.append(pieces)
        for node in moved:
            apart = np.hypot(*(network.places[reached] - network.places[node]).T)
            target = int(reached[np.argmin(np.round(apart, 3))])
            before = links.get(int(node))
            if before is None or np.hypot(*(network.places[before] - network.places[node])) > apart.min():
                links[int(node)] = target
    return links, np.concatenate([*joins, np.empty(0, dtype=np.int64)]).astype(np.int64)


def _apart(runs: list[_Run]) -> tuple[list[_Run], np.ndarray]:
    """Return the runs of streets whose medians do not meet, first names first, and the streets that must wait."""
    strips = np.array([run.strip for run in runs], dtype=object)
    number = np.array([run.side.chain.street for run in runs])
    one, other = shapely.STRtree(strips).query(strips, predicate="intersects")
    meets = np.unique(np.column_stack([number[one], number[other]]), axis=0)
    meets = meets[meets[:, 0] != meets[:, 1]]
    later: set[int] = set()
    for street in np.unique(number).tolist():
        if street not in later:
            later.update(meets[(meets[:, 0] == street) & (meets[:, 1] > street), 1].tolist())
    return [run for run in runs if run.side.chain.street not in later], np.array(
        sorted(later), dtype=np.int64
    )


def _lay_down(network: _Network, street: np.ndarray, runs: list[_Run]) -> tuple[np.ndarray, np.ndarray]:
    """Return the lines without the sides laid down, with everything that met these now meeting the others."""
    image = _images(network, runs)
    by_chain: dict[int, tuple[Chain, list[_Run]]] = {}
    for run in runs:
        by_chain.setdefault(id(run.side.chain), (run.side.chain, []))[1].append(run)
    gone = np.zeros(len(network.lines), dtype=bool)
    for run in runs:
        gone[run.link_pieces] = True
    made: list[tuple[int, shapely.LineString]] = []
    # what others are laid onto must not swing away from under them
    steady = {int(piece) for run in runs for piece in run.onto.chain.pieces}
    laid = {run.side.chain.street for run in runs}
    for chain, members in by_chain.values():
        gone[chain.pieces] = True
        made += _rest_of(chain, members, image, steady=int(chain.pieces[0]) in steady)
    is_moved = np.zeros(len(network.places), dtype=bool)
    is_moved[list(image)] = True
    touched = ~gone & is_moved[network.node].any(axis=1)
    n_meet = np.bincount(network.node[touched].ravel(), minlength=len(network.places))
    for piece in np.flatnonzero(touched):
        nodes = network.node[piece]
        ends = [image.get(int(node)) for node in nodes]
        if int(piece) in steady:
            line = _lengthened(network.lines[piece], *ends)
        elif int(street[piece]) in laid:
            line = _swung(network.lines[piece], *ends)
        else:
            line = _lengthened(network.lines[piece], *ends, alone=(n_meet[nodes] == 1).tolist())
        became_loop = line is not None and line.is_ring and not network.lines[piece].is_ring
        if line is not None and not (became_loop and line.length <= 2 * APART_M):
            made.append((int(piece), line))
    kept = np.flatnonzero(~gone & ~touched)
    lines = np.concatenate([network.lines[kept], np.array([line for _, line in made], dtype=object)])
    origin = np.concatenate([kept, np.array([piece for piece, _ in made], dtype=np.int64)])
    order = np.argsort(origin, kind="stable")
    return lines[order], origin[order]


def _images(network: _Network, runs: list[_Run]) -> dict[int, np.ndarray]:
    """Where every node of the sides laid down goes: through its link, or to the nearest point."""
    nodes: dict[int, int] = {}
    points: dict[int, np.ndarray] = {}
    for run in runs:
        for node in _nodes_between(run.side, run.low, run.high).tolist():
            if node in run.links or node in nodes or node in points:
                continue
            image = _nearest(run.onto, network.places[node])
            near = np.hypot(*(network.places[run.onto.chain.nodes] - image).T)
            if near.min() <= _MILLIMETRE:
                nodes[node] = int(run.onto.chain.nodes[np.argmin(near)])
            else:
                points[node] = image
    for run in runs:
        for node, target in run.links.items():
            nodes[node] = target
            points.pop(node, None)
    images: dict[int, np.ndarray] = dict(points)
    for node in nodes:
        end, passed = node, {node}
        while end in nodes and nodes[end] not in passed:
            end = nodes[end]
            passed.add(end)
        images[node] = points.get(end, network.places[end])
    return {
        node: image
        for node, image in images.items()
        if np.hypot(*(image - network.places[node])) > _MILLIMETRE
    }


def _nearest(side: Side, place: np.ndarray) -> np.ndarray:
    at = shapely.line_locate_point(side.line, shapely.Point(place))
    nearest: np.ndarray = shapely.get_coordinates(shapely.line_interpolate_point(side.line, at))[0]
    return nearest


def _rest_of(
    chain: Chain, runs: list[_Run], image: dict[int, np.ndarray], *, steady: bool
) -> list[tuple[int, shapely.LineString]]:
    """What stays of a chain, joined to what its runs were laid onto."""
    spans = sorted(
        (run.side.low + run.low, run.side.low + run.high, number) for number, run in enumerate(runs)
    )
    node_at = {round(at, 3): int(node) for at, node in zip(chain.chainage, chain.nodes, strict=True)}
    made: list[tuple[int, shapely.LineString]] = []

    def goes_to(at: float, run: _Run | None) -> np.ndarray | None:
        node = node_at.get(round(at, 3))
        if node is not None:
            return image.get(node)
        place = shapely.get_coordinates(shapely.line_interpolate_point(chain.line, at))[0]
        return None if run is None else _nearest(run.onto, place)

    for index, piece in enumerate(chain.pieces):
        begin, end = chain.chainage[index], chain.chainage[index + 1]
        marks: list[tuple[float, float, _Run | None, _Run | None]] = []
        cursor, before = begin, None
        for low, high, number in spans:
            if high <= begin + _MILLIMETRE or low >= end - _MILLIMETRE:
                continue
            marks.append((cursor, low, before, runs[number]))
            cursor, before = max(cursor, high), runs[number]
        marks.append((cursor, end, before, None))
        for low, high, earlier, later in marks:
            if high - low > _MILLIMETRE:
                whole = substring(chain.line, low, high)
                images = goes_to(low, earlier), goes_to(high, later)
                line = _lengthened(whole, *images) if steady else _swung(whole, *images)
                if line is not None:
                    made.append((int(piece), line))
    # where one run ends and another begins, on another side, the road must not fall apart
    for (_, high, one), (low, _, other) in pairwise(spans):
        if low - high <= _MILLIMETRE:
            place = shapely.get_coordinates(shapely.line_interpolate_point(chain.line, high))[0]
            ends = np.array([_nearest(runs[one].onto, place), _nearest(runs[other].onto, place)])
            if np.hypot(*(ends[1] - ends[0])) > _MILLIMETRE:
                piece = chain.pieces[np.searchsorted(chain.chainage, high) - 1]
                made.append((int(piece), shapely.LineString(ends)))
    return made


def _swung(
    line: shapely.LineString, begin: np.ndarray | None, end: np.ndarray | None
) -> shapely.LineString | None:
    """Let a line of the road itself swing over to where its ends go; None if nothing is left."""
    ends = shapely.get_coordinates(shapely.get_point(line, [0, -1]))
    cuts = [0.0, line.length]
    for number, image in enumerate([begin, end]):
        if image is not None:
            reach = min(2 * float(np.hypot(*(image - ends[number]))), line.length / 3)
            cuts[number] += reach if number == 0 else -reach
    return _joined(begin, shapely.get_coordinates(substring(line, *cuts)), end)


def _lengthened(
    line: shapely.LineString,
    begin: np.ndarray | None,
    end: np.ndarray | None,
    *,
    alone: Sequence[bool] = (True, True),
) -> shapely.LineString | None:
    """Let another street go on to where its ends go; of several that meet there, all go straight."""
    coordinates = shapely.get_coordinates(line)
    first = 0 if begin is None or alone[0] else 1
    last = len(coordinates) if end is None or alone[1] else -1
    return _joined(begin, coordinates[first:last], end)


def _joined(
    begin: np.ndarray | None, coordinates: np.ndarray, end: np.ndarray | None
) -> shapely.LineString | None:
    parts = [*([] if begin is None else [begin[None]]), coordinates, *([] if end is None else [end[None]])]
    joined = shapely.remove_repeated_points(shapely.LineString(np.vstack(parts)), 0.0)
    return joined if joined.length > _MILLIMETRE else None
