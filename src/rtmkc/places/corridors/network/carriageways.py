"""Where a street runs beside itself: the two carriageways of a divided road, found by name and shape.

Segments of one name are strung together into chains, which are walked in steps of a few metres. A place of a
chain *faces* another chain of the same name if that runs about parallel, about abreast, and near enough.
"""

from dataclasses import dataclass, field
from itertools import combinations, pairwise

import numpy as np
import shapely
from scipy.spatial import cKDTree
from shapely.ops import substring

APART_M = 40.0
"""Carriageways whose centre lines are at most this far apart are one road, in metres."""

STEP_M = 5.0
_MICROMETRE = 1e-6
_NARROWEST_M = 2.0
_PARALLEL = np.cos(np.radians(30))
_AHEAD = np.cos(
    np.radians(60)
)  # of more than two ends of a name, those that deflect less are one carriageway
_HAIRPIN = np.cos(np.radians(120))  # two ends of a name that deflect more are the tip of a fork
_LOOK_M = 10.0


@dataclass(frozen=True, eq=False)
class Chain:
    """Segments of one name, end to end.

    Attributes
    ----------
    street : int
        Number of the name.
    pieces : ndarray of int, shape (n_pieces,)
        The segments in order.
    forward : ndarray of bool, shape (n_pieces,)
        Whether each runs as it was drawn.
    nodes : ndarray of int, shape (n_pieces + 1,)
        The nodes in order; the first is the last in a ring.
    chainage : ndarray, shape (n_pieces + 1,)
        Metres from the beginning to each node.
    line : LineString
        All of it. Begins at the end farther west (then south), whatever the rows of the file.
    is_branch : bool
        Whether an end meets a through street of the same name about square.
    """

    street: int
    pieces: np.ndarray
    forward: np.ndarray
    nodes: np.ndarray
    chainage: np.ndarray
    line: shapely.LineString = field(repr=False)
    is_branch: bool


@dataclass(frozen=True, eq=False)
class Side:
    """A chain, or the part of one between two turns back: ``line`` is ``chain.line`` from `low` to `high` metres."""

    chain: Chain
    low: float
    high: float
    line: shapely.LineString = field(repr=False)


@dataclass(frozen=True, eq=False)
class Facing:
    """Places on sides that have another side of their street beside them.

    Attributes
    ----------
    sides : list of Side
        What the numbers refer to.
    step : ndarray, shape (n_sides,)
        Metres from place to place; the first is half a step from the beginning.
    side, place, other : ndarray of int, shape (n,)
        Place number `place` of side number `side` faces side number `other`.
    at : ndarray, shape (n,)
        Chainage of the nearest point on the other side, metres.
    offset : ndarray, shape (n, 2)
        From that point to the place, metres east and north.
    along : ndarray, shape (n, 2)
        Unit vector along the road.
    """

    sides: list[Side]
    step: np.ndarray
    side: np.ndarray
    place: np.ndarray
    other: np.ndarray
    at: np.ndarray
    offset: np.ndarray
    along: np.ndarray

    @property
    def distance(self) -> np.ndarray:
        """Metres to the other side."""
        return np.hypot(*self.offset.T)


def find_facing(lines: np.ndarray, street: np.ndarray, node: np.ndarray) -> Facing | None:
    """Find where streets run beside themselves; None if nowhere.

    Parameters
    ----------
    lines : ndarray of LineString, shape (n_lines,)
        Lines that touch at their ends only, in metres.
    street : ndarray of int, shape (n_lines,)
        Number of the name; negative lines are not looked at.
    node : ndarray of int, shape (n_lines, 2)
        Places where each line begins and ends, numbered from west to east.
    """
    streets = _streets_beside_themselves(lines, street)
    if len(streets) == 0:
        return None
    chains = _chains(lines, street, node, streets)
    is_corner = np.bincount(node.ravel()) != 2
    whole = [Side(chain, 0.0, chain.chainage[-1], chain.line) for chain in chains]
    walk = _Walk.of(whole)
    turns = _turns(walk, is_corner)
    if turns:
        sides = [part for number, side in enumerate(whole) for part in _parted(side, turns.get(number, []))]
        walk = _Walk.of(sides)
    return _facing(walk)


@dataclass(frozen=True, eq=False)
class _Measured:
    """Lines with the chainage of their vertices, all in one row: places on long lines are found by bisection."""

    coordinates: np.ndarray
    chainage: np.ndarray
    first: np.ndarray
    last: np.ndarray
    length: np.ndarray

    @classmethod
    def of(cls, lines: np.ndarray) -> "_Measured":
        coordinates, line = shapely.get_coordinates(lines, return_index=True)
        step = np.hypot(*np.diff(coordinates, axis=0).T)
        step[np.diff(line) > 0] = 0.0
        chainage = np.concatenate([[0.0], np.cumsum(step)])
        last = np.cumsum(np.bincount(line, minlength=len(lines))) - 1
        first = np.append(0, last[:-1] + 1)
        return cls(coordinates, chainage, first, last, chainage[last] - chainage[first])

    def place(self, line: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Coordinates `at` metres from the beginning of lines."""
        sought = self.chainage[self.first[line]] + np.clip(at, 0.0, self.length[line])
        before = np.searchsorted(self.chainage, sought, side="right") - 1
        before = np.clip(before, self.first[line], self.last[line] - 1)
        size = self.chainage[before + 1] - self.chainage[before]
        share = np.clip((sought - self.chainage[before]) / np.where(size > 0, size, 1.0), 0.0, 1.0)[:, None]
        places: np.ndarray = (1 - share) * self.coordinates[before] + share * self.coordinates[before + 1]
        return places

    def along(self, line: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Unit vectors along lines, over a step to both sides."""
        return _units(self.place(line, at + STEP_M) - self.place(line, at - STEP_M))

    def walk(self, spacing: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Evenly spaced places: the line of each, the number on it, metres from the beginning; step of each line."""
        n_places = np.maximum(np.round(self.length / spacing), 1).astype(np.int64)
        line = np.repeat(np.arange(len(n_places)), n_places)
        number = np.arange(len(line)) - np.repeat(np.cumsum(n_places) - n_places, n_places)
        step = self.length / n_places
        return line, number, (number + 0.5) * step[line], step


@dataclass(frozen=True, eq=False)
class _Walk:
    """Places every few metres along sides, and which are near each other."""

    sides: list[Side]
    measured: _Measured
    step: np.ndarray
    side: np.ndarray
    place: np.ndarray
    at: np.ndarray
    points: np.ndarray
    along: np.ndarray
    near: np.ndarray

    @classmethod
    def of(cls, sides: list[Side]) -> "_Walk":
        measured = _Measured.of(np.array([side.line for side in sides], dtype=object))
        side, place, at, step = measured.walk(STEP_M)
        points = measured.place(side, at)
        street = np.array([side.chain.street for side in sides])[side]
        near = _near_pairs(points, street, APART_M + STEP_M / 2)
        return cls(sides, measured, step, side, place, at, points, measured.along(side, at), near)


def _units(vectors: np.ndarray) -> np.ndarray:
    size = np.hypot(*vectors.T)
    return vectors / np.where(size > 0, size, 1.0)[:, None]


def _near_pairs(points: np.ndarray, height: np.ndarray, within: float) -> np.ndarray:
    """Pairs of points of the same height within a distance; heights are made too far apart to meet."""
    raised = np.column_stack([points - points.mean(axis=0), 10.0 * within * height])
    return cKDTree(raised).query_pairs(within, output_type="ndarray")


def _streets_beside_themselves(lines: np.ndarray, street: np.ndarray) -> np.ndarray:
    """A coarse look, so that only names with something to find are walked closely."""
    repeated = np.flatnonzero((street >= 0) & (np.bincount(np.maximum(street, 0))[street] > 1))
    if len(repeated) == 0:
        return repeated
    spacing = 4 * STEP_M
    measured = _Measured.of(lines[repeated])
    of_line, _, at, _ = measured.walk(spacing)
    points, along = measured.place(of_line, at), measured.along(of_line, at)
    named = street[repeated][of_line]
    one, other = _near_pairs(points, named, np.hypot(APART_M, 0.6 * spacing)).T
    apart = points[other] - points[one]
    forth = np.abs((apart * along[one]).sum(axis=1))
    aside = np.abs(apart[:, 0] * along[one][:, 1] - apart[:, 1] * along[one][:, 0])
    parallel = np.abs((along[one] * along[other]).sum(axis=1)) > np.cos(np.radians(40))
    beside = parallel & (forth <= 0.6 * spacing) & (aside > 0.5 * _NARROWEST_M)
    return np.unique(named[one[beside & (of_line[one] != of_line[other])]])


def _chains(lines: np.ndarray, street: np.ndarray, node: np.ndarray, streets: np.ndarray) -> list[Chain]:
    members = np.flatnonzero(np.isin(street, streets))
    n_members = len(members)
    length = shapely.length(lines[members])
    look = np.minimum(_LOOK_M, length)
    first, last = (shapely.get_coordinates(shapely.get_point(lines[members], at)) for at in (0, -1))
    towards = [shapely.line_interpolate_point(lines[members], at) for at in (look, length - look)]
    outward = _units(
        np.vstack([shapely.get_coordinates(towards[0]) - first, shapely.get_coordinates(towards[1]) - last])
    )
    # end e < n is the beginning of member e, end e + n its other end
    at_node = node[members].T.ravel()
    partner, is_branch = _partners(at_node, np.tile(street[members], 2), outward)
    seen = np.zeros(n_members, dtype=bool)
    chains = []
    ends = np.arange(2 * n_members)
    for begin in np.concatenate([ends[partner < 0], ends[np.argsort(at_node, kind="stable")]]):
        if seen[begin % n_members]:
            continue
        walked, end = [], int(begin)
        while end >= 0 and not seen[end % n_members]:
            seen[end % n_members] = True
            walked.append(end)
            end = int(partner[(end + n_members) % (2 * n_members)])
        chains.append(_chain(np.array(walked), members, lines, street, at_node, is_branch))
    return chains


def _chain(
    walked: np.ndarray,
    members: np.ndarray,
    lines: np.ndarray,
    street: np.ndarray,
    at_node: np.ndarray,
    is_branch: np.ndarray,
) -> Chain:
    n_members = len(members)
    leave = (walked + n_members) % (2 * n_members)
    parts = lines[members[walked % n_members]]
    forward = walked < n_members
    parts = np.where(forward, parts, shapely.reverse(parts))
    coordinates = [shapely.get_coordinates(part) for part in parts]
    whole = np.vstack([coordinates[0], *(more[1:] for more in coordinates[1:])])
    pieces, nodes = members[walked % n_members], np.append(at_node[walked], at_node[leave[-1]])
    # a ring runs the way on which its second vertex lies farther west
    if tuple(whole[-1]) + tuple(whole[-2]) < tuple(whole[0]) + tuple(whole[1]):
        whole, pieces, forward, nodes = whole[::-1], pieces[::-1], ~forward[::-1], nodes[::-1]
    chainage = np.concatenate([[0.0], np.cumsum(shapely.length(lines[pieces]))])
    branches = bool(is_branch[walked[0]] or is_branch[leave[-1]])
    line = shapely.LineString(whole)
    return Chain(int(street[pieces[0]]), pieces, forward, nodes, chainage, line, branches)


def _partners(at_node: np.ndarray, street: np.ndarray, outward: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which end of a piece continues in which, at nodes; and which ends meet a through street square."""
    partner = np.full(len(at_node), -1, dtype=np.int64)
    is_branch = np.zeros(len(at_node), dtype=bool)
    order = np.lexsort((street, at_node))
    new = np.append(True, (np.diff(at_node[order]) != 0) | (np.diff(street[order]) != 0))
    first = np.flatnonzero(new)
    size = np.diff(np.append(first, len(order)))
    one, other = order[first[size == 2]], order[first[size == 2] + 1]
    goes_on = -(outward[one] * outward[other]).sum(axis=1) > _HAIRPIN
    partner[one[goes_on]], partner[other[goes_on]] = other[goes_on], one[goes_on]
    for begin, n_ends in zip(first[size > 2], size[size > 2], strict=True):
        ends = order[begin : begin + n_ends]
        cosine = -outward[ends] @ outward[ends].T
        ties = [tuple(np.round(vector, 6)) for vector in outward[ends]]
        choices = sorted(
            combinations(range(len(ends)), 2),
            key=lambda pair: (-round(cosine[pair], 6), sorted((ties[pair[0]], ties[pair[1]]))),
        )
        for pair in choices:
            here, there = ends[list(pair)]
            if cosine[pair] > _AHEAD and partner[here] < 0 and partner[there] < 0:
                partner[here], partner[there] = there, here
        np.fill_diagonal(cosine, -1.0)
        is_branch[ends] = cosine.max(axis=1) <= _AHEAD
    return partner, is_branch


def _turns(walk: _Walk, is_corner: np.ndarray) -> dict[int, list[float]]:
    """Where chains turn back beside themselves: chainages by side, at the corner of the turn if it has one."""
    one, other = walk.near.T
    # neighbours on a straight line are most pairs, and the first to go
    back = (walk.side[one] == walk.side[other]) & (np.abs(one - other) > 1)
    one, other = one[back], other[back]
    back = (walk.along[one] * walk.along[other]).sum(axis=1) < -_PARALLEL
    one, other = np.concatenate([one[back], other[back]]), np.concatenate([other[back], one[back]])
    back = _is_abreast(walk.points[one] - walk.points[other], walk.along[one])
    one, other = one[back], other[back]
    apart = np.hypot(*(walk.points[one] - walk.points[other]).T)
    order = np.lexsort((np.round(apart, 6), one))
    one, other = one[order], other[order]
    nearest = np.flatnonzero(np.append(True, np.diff(one) != 0)[: len(one)])
    one, other = one[nearest], other[nearest]
    turning = (walk.side[one[:-1]] == walk.side[one[1:]]) & (other[:-1] > one[:-1]) & (other[1:] < one[1:])
    turns: dict[int, list[float]] = {}
    for before, after in zip(one[:-1][turning], one[1:][turning], strict=True):
        number = int(walk.side[before])
        chain = walk.sides[number].chain
        low, high = walk.at[before], walk.at[after]
        corners = chain.chainage[(chain.chainage > low) & (chain.chainage < high) & is_corner[chain.nodes]]
        middle = (low + high) / 2
        at = corners[np.argmin(np.abs(corners - middle))] if len(corners) else middle
        turns.setdefault(number, []).append(float(at))
    return turns


def _parted(side: Side, cuts: list[float]) -> list[Side]:
    marks = [side.low, *sorted(cuts), side.high]
    return [
        Side(side.chain, low, high, substring(side.chain.line, low, high))
        for low, high in pairwise(marks)
        if high - low > _MICROMETRE
    ]


def _is_abreast(apart: np.ndarray, along: np.ndarray) -> np.ndarray:
    return np.abs((apart * along).sum(axis=1)) <= 0.5 * np.hypot(*apart.T) + 1.0


def _facing(walk: _Walk) -> Facing | None:
    both = np.concatenate([walk.near, walk.near[:, ::-1]])
    both = both[walk.side[both[:, 0]] != walk.side[both[:, 1]]]
    parallel = np.abs((walk.along[both[:, 0]] * walk.along[both[:, 1]]).sum(axis=1)) > np.cos(np.radians(45))
    key = np.unique(both[parallel, 0] * len(walk.sides) + walk.side[both[parallel, 1]])
    number, other = np.divmod(key, len(walk.sides))
    lines = np.array([side.line for side in walk.sides], dtype=object)[other]
    at = shapely.line_locate_point(lines, shapely.points(walk.points[number]))
    offset = walk.points[number] - walk.measured.place(other, at)
    along = walk.along[number]
    faces = np.hypot(*offset.T) <= APART_M + _MICROMETRE
    faces &= np.abs((along * walk.measured.along(other, at)).sum(axis=1)) >= _PARALLEL - 1e-9
    faces &= _is_abreast(offset, along)
    if not faces.any():
        return None
    number, other = number[faces], other[faces]
    return Facing(
        walk.sides,
        walk.step,
        walk.side[number],
        walk.place[number],
        other,
        at[faces],
        offset[faces],
        along[faces],
    )
