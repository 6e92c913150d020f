"""Blocks of streets, and what may follow what at a corner: the graph that corridors are paths of."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rtmkc.places.corridors.kernels import PathGraph
from rtmkc.places.corridors.network.streets import StreetNetwork

BEARING_M = 25.0
"""A block's direction at a corner is that of its first metres, this many."""
TURN_DEGREES = 40.0
NAME_TURN_DEGREES = 20.0
U_TURN_DEGREES = 150.0
MICROMETRE = 1e-6
"""Lengths hold to this, so that 25 blocks of 100 m are 2,500 m whatever their coordinates."""


@dataclass(frozen=True, eq=False)
class StreetBlocks:
    """Blocks: chains of segments of one street from one corner to the next.

    A corner is a node where three or more segment ends meet, where the name changes, or a dead end. What a
    corridor is made of; it does not depend on how the file cuts a block into segments.

    Attributes
    ----------
    street : ndarray of int, shape (n_blocks,)
        Number of the street, into `names`; -1 without a name.
    names : ndarray of str, shape (n_streets,)
        Street names, sorted.
    tail, head : ndarray of int, shape (n_blocks,)
        End nodes, ``tail <= head``; equal for a loop.
    length_m : ndarray, shape (n_blocks,)
        Metres.
    geometry : ndarray of LineString, shape (n_blocks,)
        From tail to head.
    block_of_segment : ndarray of int, shape (n_segments,)
        Which block each segment belongs to.
    labels : ndarray of str, shape (n_blocks,), or None
        "3500 block", where streets are drawn from addresses.
    """

    street: np.ndarray
    names: np.ndarray
    tail: np.ndarray
    head: np.ndarray
    length_m: np.ndarray
    geometry: np.ndarray = field(repr=False)
    block_of_segment: np.ndarray = field(repr=False)
    labels: np.ndarray | None = field(repr=False, default=None)

    @classmethod
    def of_network(cls, network: StreetNetwork) -> "StreetBlocks":
        """Join the segments of a network at every node where nothing else meets them; once a network."""
        if network not in _BLOCKS:
            _BLOCKS[network] = cls._joined(network)
        return _BLOCKS[network]

    @classmethod
    def _joined(cls, network: StreetNetwork) -> "StreetBlocks":
        segments = network.segments
        n_segments = len(segments)
        street = network.street_numbers
        node = np.concatenate([segments["from_node"], segments["to_node"]]).astype(np.int64)
        segment = np.tile(np.arange(n_segments), 2)
        order = np.argsort(node, kind="stable")
        twos = np.flatnonzero(network.degrees == 2)
        first = np.cumsum(network.degrees)[twos] - 2
        one, other = segment[order[first]], segment[order[first + 1]]
        through = (street[one] == street[other]) & (one != other)
        label = segments["from_block"].to_numpy(dtype=object) if "from_block" in segments else None
        if label is not None:
            through &= label[one] == label[other]
        links = coo_array(
            (np.ones(through.sum()), (one[through], other[through])), shape=(n_segments, n_segments)
        )
        n_blocks, block = connected_components(links, directed=False)
        is_corner = np.ones(network.n_nodes, dtype=bool)
        is_corner[twos[through]] = False
        tail, head = _ends_of_blocks(node, block[segment], is_corner, n_blocks)
        streets = np.full(n_blocks, -1, dtype=np.int64)
        streets[block] = street
        labels = None
        if label is not None:
            labels = np.empty(n_blocks, dtype=object)
            labels[block] = label
        return cls(
            street=streets,
            names=np.array(sorted(segments["name"].dropna().unique()), dtype=object),
            tail=tail,
            head=head,
            length_m=np.bincount(block, segments["length_m"], minlength=n_blocks),
            geometry=_lines_of_blocks(network, block, tail, n_blocks),
            block_of_segment=block.astype(np.int64),
            labels=labels,
        )

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return len(self.tail)

    def sum(self, segment_values: np.ndarray) -> np.ndarray:
        """Add up a value of segments by block."""
        return np.bincount(self.block_of_segment, segment_values, minlength=self.n_blocks)

    @cached_property
    def tree(self) -> shapely.STRtree:
        """Spatial index over the blocks."""
        return shapely.STRtree(self.geometry)

    def nearer_than(self, distance_m: float, geometry: shapely.Geometry) -> np.ndarray:
        """Return the blocks less than `distance_m` metres from a geometry."""
        near = self.tree.query(geometry, predicate="dwithin", distance=distance_m)
        nearer: np.ndarray = near[shapely.distance(self.geometry[near], geometry) < distance_m - MICROMETRE]
        return nearer

    def graph(self, *, bearing_m: float = BEARING_M) -> PathGraph:
        """Return which block may follow which, and whether that is a turn; worked out once.

        Parameters
        ----------
        bearing_m : float
            Metres of a block over which its direction at a corner is measured; infinite for its chord.

        Notes
        -----
        Going from one block into another is a *turn* if the direction changes by more than 40 degrees, or by more
        than 20 where the name changes too. A street that goes on under its name is no turn however it bends, if
        just two of the blocks that meet there have that name. Changes by more than 150 degrees (U-turns) and loops
        are no part of any path.
        """
        if bearing_m not in self._graphs:
            self._graphs[bearing_m] = self._graph(bearing_m)
        return self._graphs[bearing_m]

    @cached_property
    def _graphs(self) -> dict[float, PathGraph]:
        return {}

    def _graph(self, bearing_m: float) -> PathGraph:
        n_arcs = 2 * self.n_blocks
        tails = np.column_stack([self.tail, self.head]).ravel()
        heads = np.column_stack([self.head, self.tail]).ravel()
        street = np.repeat(self.street, 2)
        arcs = np.flatnonzero(np.repeat(self.tail != self.head, 2))
        # an order that no order of rows in the file can change
        arcs = arcs[np.lexsort((np.repeat(self.length_m, 2)[arcs], heads[arcs], street[arcs], tails[arcs]))]
        n_nodes = int(max(self.head.max(initial=-1), self.tail.max(initial=-1))) + 1
        leaving = _starts(tails[arcs], n_nodes)
        n_next = np.diff(leaving)[heads[arcs]]
        before = np.repeat(arcs, n_next)
        offset = np.arange(len(before)) - np.repeat(np.cumsum(n_next) - n_next, n_next)
        after = arcs[leaving[heads[before]] + offset]
        deflection = _deflections(self._directions(bearing_m), before, after)
        same_name = (street[before] == street[after]) & (street[before] >= 0)
        changes_name = (street[before] != street[after]) & (street[before] >= 0) & (street[after] >= 0)
        goes_on = same_name & (self._ends_of_name(tails, street)[after] == 2)
        is_turn = (deflection > TURN_DEGREES) | (changes_name & (deflection > NAME_TURN_DEGREES))
        is_turn &= ~goes_on
        allowed = (before != (after ^ 1)) & (deflection <= U_TURN_DEGREES)
        before, after, is_turn = before[allowed], after[allowed], is_turn[allowed]
        order = np.argsort(before, kind="stable")
        return PathGraph(
            leaving,
            arcs,
            _starts(before, n_arcs),
            after[order],
            is_turn[order].astype(np.int64),
            heads.astype(np.int64),
            self.length_m,
            self.street,
            *self._corners(n_nodes),
        )

    def _corners(self, n_nodes: int) -> tuple[np.ndarray, np.ndarray]:
        """Eastings and northings of the corners, by node; NaN for nodes that are none."""
        corners = np.full((n_nodes, 2), np.nan)
        between = self.tail != self.head  # the line of a ring may begin anywhere on it
        corners[self.head[between]] = shapely.get_coordinates(shapely.get_point(self.geometry[between], -1))
        corners[self.tail[between]] = shapely.get_coordinates(shapely.get_point(self.geometry[between], 0))
        return corners[:, 0].copy(), corners[:, 1].copy()

    def _directions(self, bearing_m: float) -> np.ndarray:
        """Direction in which each arc leaves its tail, in radians; shape (2 n_blocks,)."""
        reach = np.minimum(bearing_m, self.length_m)
        corners = (
            shapely.get_coordinates(shapely.get_point(self.geometry, 0)),
            shapely.get_coordinates(shapely.get_point(self.geometry, -1)),
        )
        points = (
            shapely.get_coordinates(shapely.line_interpolate_point(self.geometry, reach)),
            shapely.get_coordinates(shapely.line_interpolate_point(self.geometry, self.length_m - reach)),
        )
        if not math.isfinite(bearing_m):
            points = corners[::-1]
        away = [np.arctan2(*(point - corner).T[::-1]) for point, corner in zip(points, corners, strict=True)]
        return np.column_stack(away).ravel()

    def _ends_of_name(self, tails: np.ndarray, street: np.ndarray) -> np.ndarray:
        """How many ends of blocks with its name meet at the tail of each arc; loops count twice."""
        key = tails.astype(np.int64) * (len(self.names) + 1) + street + 1
        _, number, count = np.unique(key, return_inverse=True, return_counts=True)
        return count[number]


_BLOCKS: "WeakKeyDictionary[StreetNetwork, StreetBlocks]" = WeakKeyDictionary()
"""Blocks of the networks in use: several surfaces are often put on one."""


def _deflections(leaves: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Degrees between the direction of arrival and that of departure, 0 to 180."""
    arrival = leaves[before ^ 1] + np.pi  # the way back, turned about
    between = np.abs((leaves[after] - arrival + np.pi) % (2 * np.pi) - np.pi)
    return np.degrees(between)


def _starts(keys: np.ndarray, n_keys: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=n_keys))]).astype(np.int64)


def _ends_of_blocks(
    node: np.ndarray, block: np.ndarray, is_corner: np.ndarray, n_blocks: int
) -> tuple[np.ndarray, np.ndarray]:
    lowest = np.full(n_blocks, np.iinfo(np.int64).max)
    np.minimum.at(lowest, block, node)
    tail, head = lowest.copy(), lowest.copy()  # a ring without corners: a loop at its first node
    at_corner = is_corner[node]
    corner_node, corner_block = node[at_corner], block[at_corner]
    tail[corner_block] = np.iinfo(np.int64).max
    head[corner_block] = -1
    np.minimum.at(tail, corner_block, corner_node)
    np.maximum.at(head, corner_block, corner_node)
    return tail, head


def _lines_of_blocks(
    network: StreetNetwork, block: np.ndarray, tail: np.ndarray, n_blocks: int
) -> np.ndarray:
    lines = network.segments.geometry.to_numpy()
    order = np.argsort(block, kind="stable")
    cuts = np.flatnonzero(np.diff(block[order])) + 1
    merged = np.empty(n_blocks, dtype=object)
    for number, members in enumerate(np.split(order, cuts)):
        merged[number] = (
            lines[members[0]]
            if len(members) == 1
            else shapely.line_merge(shapely.multilinestrings(lines[members]))
        )
    begin = shapely.get_point(merged, 0)
    off = np.hypot(
        shapely.get_x(begin) - network.node_eastings[tail],
        shapely.get_y(begin) - network.node_northings[tail],
    )
    backwards = off > 1e-2
    merged[backwards] = shapely.reverse(merged[backwards])
    return merged
