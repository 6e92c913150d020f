"""Lines become a graph: ends that belong together are joined, lines are split where they really meet.

Lines meet where an end point lies on another line, or where both have a vertex. Two lines that cross without
a shared vertex may be a street and a bridge: they are left alone and counted.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

_MILLIMETRES = 3


@dataclass(frozen=True)
class NodedLines:
    """Lines that touch each other at their ends only.

    Attributes
    ----------
    lines : ndarray of LineString, shape (n_segments,)
        The pieces, in the order of the lines they come from.
    origin : ndarray of int, shape (n_segments,)
        Which of the given lines each piece comes from.
    n_snapped, n_split, n_vanished : int
        End points moved; lines split; and lines shorter than the tolerance, whose ends became one place.
    """

    lines: np.ndarray
    origin: np.ndarray
    n_snapped: int
    n_split: int
    n_vanished: int


def node_lines(lines: np.ndarray, *, snap_m: float) -> NodedLines:
    """Join ends within `snap_m` metres, and split lines where another one ends on them or shares a vertex.

    Parameters
    ----------
    lines : ndarray of LineString, shape (n_lines,)
        Lines in metres, each longer than zero.
    snap_m : float
        Ends nearer to each other, or to another line, than this are taken as one place, in metres.

    Returns
    -------
    NodedLines

    Examples
    --------
    A street that ends on the middle of another one splits it.

    >>> lines = shapely.from_wkt(["LINESTRING (0 0, 100 0)", "LINESTRING (50 0.2, 50 80)"])
    >>> node_lines(lines, snap_m=0.5).origin
    array([0, 0, 1])
    """
    lines, n_snapped = _join_ends(lines, snap_m)
    lines = _insert_touching_ends(lines, snap_m)
    pieces, origin = _split_at_shared_vertices(lines)
    length = shapely.length(pieces)
    long_enough = (length > 0) & ((length > snap_m) | ~shapely.is_closed(pieces))
    pieces, origin = pieces[long_enough], origin[long_enough]
    n_pieces = np.bincount(origin, minlength=len(lines))
    n_split, n_vanished = int((n_pieces > 1).sum()), int((n_pieces == 0).sum())
    return NodedLines(pieces, origin, n_snapped, n_split, n_vanished)


def first_of_repeats(lines: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Return which lines to keep of those drawn twice (once a direction, say): they would halve the risk."""
    shape = shapely.to_wkb(shapely.normalize(lines))
    # of two names the first in the alphabet stays, whatever the order of the rows
    preferred = np.lexsort((np.array([str(name) for name in names], dtype=object), pd.isna(names)))
    repeat = pd.Series(shape[preferred]).duplicated().to_numpy(dtype=bool)
    return np.sort(preferred[~repeat])


def count_crossings(lines: np.ndarray) -> int:
    """Count pairs of lines that cross without sharing a vertex there: a street and a bridge, say."""
    one, other = shapely.STRtree(lines).query(lines)
    one, other = one[one < other], other[one < other]
    # two straight lines that share an end cannot cross: most neighbours, and not worth an exact look
    _, number = number_places(np.vstack(end_points(lines)))
    begin, end = np.split(number, 2)
    touch = (begin[one] == begin[other]) | (begin[one] == end[other])
    touch |= (end[one] == begin[other]) | (end[one] == end[other])
    is_straight = shapely.get_num_points(lines) == 2
    look = ~(touch & is_straight[one] & is_straight[other])
    return int(shapely.crosses(lines[one[look]], lines[other[look]]).sum())


def end_points(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last coordinates of every line, each of shape (n_lines, 2)."""
    coordinates, line = shapely.get_coordinates(lines, return_index=True)
    is_first, is_last = _ends_of(line)
    return coordinates[is_first], coordinates[is_last]


def number_places(coordinates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number equal coordinates from south-west to north-east, to the millimetre.

    Returns
    -------
    places : ndarray, shape (n_places, 2)
        One coordinate pair a place, sorted by easting, then northing.
    number : ndarray of int, shape (n,)
        The place of each coordinate pair.
    """
    rounded = np.round(coordinates, _MILLIMETRES) + 0.0  # + 0.0 turns -0.0 into 0.0
    _, first, number = np.unique(rounded[:, 0] + 1j * rounded[:, 1], return_index=True, return_inverse=True)
    return coordinates[first], number


def _join_ends(lines: np.ndarray, snap_m: float) -> tuple[np.ndarray, int]:
    places, number = number_places(np.vstack(end_points(lines)))
    near = cKDTree(places).query_pairs(snap_m, output_type="ndarray") if snap_m > 0 else np.empty((0, 2), int)
    pairs = coo_array((np.ones(len(near)), (near[:, 0], near[:, 1])), shape=(len(places), len(places)))
    _, group = connected_components(pairs, directed=False)
    # places are sorted, so the first of a group is the same whatever the order of the lines
    _, first = np.unique(group, return_index=True)
    target = places[first[group]][number]
    coordinates, line = shapely.get_coordinates(lines, return_index=True)
    is_first, is_last = _ends_of(line)
    before = coordinates.copy()
    coordinates[is_first], coordinates[is_last] = np.split(target, 2)
    moved = np.abs(coordinates - before).max(axis=1) > 10.0**-_MILLIMETRES
    return shapely.linestrings(coordinates, indices=line), int(moved.sum())


def _ends_of(line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    step = np.flatnonzero(np.diff(line))
    first, last = np.zeros(len(line), bool), np.zeros(len(line), bool)
    first[np.concatenate([[0], step + 1])] = True
    last[np.concatenate([step, [len(line) - 1]])] = True
    return first, last


def _insert_touching_ends(lines: np.ndarray, snap_m: float) -> np.ndarray:
    """Give a line a vertex where another line ends on it without one (T-junctions drawn without a node)."""
    places, number = number_places(np.vstack(end_points(lines)))
    starts, stops = np.split(number, 2)
    tree = shapely.STRtree(lines)
    place, line = tree.query(shapely.points(places), predicate="dwithin", distance=max(snap_m, 1e-6))
    foreign = (starts[line] != place) & (stops[line] != place)
    place, line = place[foreign], line[foreign]
    lines = lines.copy()
    for which in np.unique(line):
        lines[which] = _with_vertices(lines[which], places[place[line == which]])
    return lines


def _with_vertices(line: shapely.LineString, added: np.ndarray) -> shapely.LineString:
    coordinates = shapely.get_coordinates(line)
    chainage = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(coordinates, axis=0).T))])
    present = {
        (round(easting, _MILLIMETRES), round(northing, _MILLIMETRES)) for easting, northing in coordinates
    }
    new = np.array(
        [
            pair
            for pair in added.tolist()
            if (round(pair[0], _MILLIMETRES), round(pair[1], _MILLIMETRES)) not in present
        ]
    ).reshape(-1, 2)
    at = shapely.line_locate_point(line, shapely.points(new))
    inner = (at > 0) & (at < chainage[-1])
    order = np.argsort(np.concatenate([chainage, at[inner]]), kind="stable")
    return shapely.LineString(np.vstack([coordinates, new[inner]])[order])


def _split_at_shared_vertices(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    coordinates, line = shapely.get_coordinates(lines, return_index=True)
    places, number = number_places(coordinates)
    is_first, is_last = _ends_of(line)
    cut = (np.bincount(number)[number] > 1) & ~is_first & ~is_last
    meeting = cut | is_first | is_last
    coordinates[meeting] = places[number[meeting]]
    piece = np.cumsum(is_first | cut) - 1
    # the cut vertex ends one piece and begins the next
    copies = np.repeat(np.arange(len(line)), np.where(cut, 2, 1))
    of_piece = piece[copies]
    of_piece[np.flatnonzero(np.diff(copies) == 0)] -= 1
    pieces = shapely.linestrings(coordinates[copies], indices=of_piece)
    return pieces, line[is_first | cut]
