"""Every stretch of one named street between cross streets, and the best of them, exactly."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rtmkc.places.corridors.kernels import PathGraph, Record, Rule, Workspace, best_of_every_start, paths_from
from rtmkc.places.corridors.streets import StreetNetwork

# Bounds of a length hold to a micrometre, so that 25 blocks of 100 m are 2,500 m whatever their coordinates.
_MICROMETRE = 1e-6
_CARRIAGEWAYS_M = 40.0
MOST_PATHS = 200_000
"""Paths along one name from one corner beyond which the name is that of a district, not of a street."""


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
    """

    street: np.ndarray
    names: np.ndarray
    tail: np.ndarray
    head: np.ndarray
    length_m: np.ndarray
    geometry: np.ndarray = field(repr=False)
    block_of_segment: np.ndarray = field(repr=False)

    @classmethod
    def of_network(cls, network: StreetNetwork) -> "StreetBlocks":
        """Join the segments of a network at every node where nothing else meets them."""
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
        links = coo_array(
            (np.ones(through.sum()), (one[through], other[through])), shape=(n_segments, n_segments)
        )
        n_blocks, block = connected_components(links, directed=False)
        is_corner = np.ones(network.n_nodes, dtype=bool)
        is_corner[twos[through]] = False
        tail, head = _ends_of_blocks(node, block[segment], is_corner, n_blocks)
        streets = np.full(n_blocks, -1, dtype=np.int64)
        streets[block] = street
        return cls(
            street=streets,
            names=np.array(sorted(segments["name"].dropna().unique()), dtype=object),
            tail=tail,
            head=head,
            length_m=np.bincount(block, segments["length_m"], minlength=n_blocks),
            geometry=_lines_of_blocks(network, block, tail, n_blocks),
            block_of_segment=block.astype(np.int64),
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
        nearer: np.ndarray = near[shapely.distance(self.geometry[near], geometry) < distance_m - _MICROMETRE]
        return nearer

    def doubled(self) -> np.ndarray:
        """Return the blocks with a line of the same street beside their middle: divided roads, both sides."""
        long = np.flatnonzero((self.street >= 0) & (self.length_m > 2 * _CARRIAGEWAYS_M))
        middles = shapely.line_interpolate_point(self.geometry[long], 0.5, normalized=True)
        one, other = self.tree.query(middles, predicate="dwithin", distance=_CARRIAGEWAYS_M)
        beside = (long[one] != other) & (self.street[long[one]] == self.street[other])
        # a bend or a fork of one carriageway comes near too, but meets the block at its end
        apart = (self.tail[long[one]] != self.tail[other]) & (self.head[long[one]] != self.head[other])
        apart &= (self.tail[long[one]] != self.head[other]) & (self.head[long[one]] != self.tail[other])
        return np.unique(long[one[beside & apart]])

    @cached_property
    def graph(self) -> PathGraph:
        """Arcs and what may follow them along one street; nameless blocks and loops are left out."""
        tails = np.column_stack([self.tail, self.head]).ravel()
        heads = np.column_stack([self.head, self.tail]).ravel()
        lengths = np.repeat(self.length_m, 2)
        arcs = np.flatnonzero(np.repeat((self.street >= 0) & (self.tail != self.head), 2))
        arcs = arcs[np.lexsort((lengths[arcs], heads[arcs], self.street[arcs >> 1], tails[arcs]))]
        corner_and_street = np.column_stack([tails[arcs], self.street[arcs >> 1]])
        is_first = np.append(True, np.diff(corner_and_street, axis=0).any(axis=1))[: len(arcs)]
        leaving = pd.DataFrame({"node": tails[arcs], "street": self.street[arcs >> 1], "arc": arcs})
        coming = pd.DataFrame({"node": heads[arcs], "street": self.street[arcs >> 1], "before": arcs})
        follow = coming.merge(leaving, on=["node", "street"])
        follow = follow[follow["before"] != (follow["arc"] ^ 1)]
        follow = follow.sort_values("before", kind="stable")
        return PathGraph(
            tails[arcs[is_first]],
            np.append(np.flatnonzero(is_first), len(arcs)),
            arcs,
            _starts(follow["before"].to_numpy(), 2 * self.n_blocks),
            follow["arc"].to_numpy(dtype=np.int64),
            heads.astype(np.int64),
            self.length_m,
        )


@dataclass(frozen=True, eq=False)
class Stretch:
    """A simple path of blocks along one street.

    Attributes
    ----------
    arcs : ndarray of int
        ``2 b`` for block b from tail to head, ``2 b + 1`` against it, in order.
    length_m, prize, value : float
        Metres, summed prize, and prize less the price of its length.
    """

    arcs: np.ndarray
    length_m: float
    prize: float
    value: float

    @property
    def blocks(self) -> np.ndarray:
        """The blocks, in order."""
        return self.arcs >> 1

    def ends(self, blocks: StreetBlocks) -> tuple[int, int]:
        """Return the nodes where the stretch begins and ends."""
        first, last = self.arcs[0], self.arcs[-1]
        begin = blocks.head[first >> 1] if first & 1 else blocks.tail[first >> 1]
        end = blocks.tail[last >> 1] if last & 1 else blocks.head[last >> 1]
        return int(begin), int(end)

    def line(self, blocks: StreetBlocks) -> shapely.LineString:
        """Return the stretch as one line."""
        parts = [blocks.geometry[arc >> 1] for arc in self.arcs]
        parts = [
            shapely.reverse(part) if arc & 1 else part for part, arc in zip(parts, self.arcs, strict=True)
        ]
        coordinates = [shapely.get_coordinates(part) for part in parts]
        return shapely.LineString(np.vstack([coordinates[0], *(more[1:] for more in coordinates[1:])]))


@dataclass(frozen=True)
class StretchSearch:
    """The best stretches and how many there were to choose from.

    Attributes
    ----------
    found : tuple of Stretch
        Best first.
    n_stretches : int
        Stretches within the bounds, before any was taken.
    too_many : tuple of str
        Names left out because they cover a web of streets with too many paths.
    """

    found: tuple[Stretch, ...]
    n_stretches: int
    too_many: tuple[str, ...]


def reference_price(prizes: np.ndarray, lengths: np.ndarray, *, share: float = 0.8) -> float:
    """Return the smallest rate prize/length at which the lengths up to it make `share` of the whole length.

    Examples
    --------
    >>> reference_price(np.array([1.0, 4.0, 9.0]), np.array([1.0, 1.0, 1.0]), share=0.5)
    4.0
    """
    if len(lengths) == 0:
        return 0.0
    rate = prizes / lengths
    order = np.argsort(rate, kind="stable")
    reached = np.cumsum(lengths[order]) / lengths.sum()
    return float(rate[order][np.searchsorted(reached, share - 1e-12)])


def street_windows(
    blocks: StreetBlocks, prizes: np.ndarray, *, shortest: float, longest: float, price: float = 0.0
) -> Iterator[Stretch]:
    """Yield every stretch of one named street with a length within the bounds (metres, both included), once.

    Parameters
    ----------
    blocks : StreetBlocks
        The streets.
    prizes : ndarray, shape (n_blocks,)
        What each block is worth.
    shortest, longest : float
        Bounds of the length in metres.
    price : float
        Price of a metre; ``value = prize - price * length``.
    """
    graph, work = blocks.graph, _workspace(blocks)
    rule = _rule(shortest, longest, price, 0.0, np.iinfo(np.int64).max)
    is_open = np.ones(blocks.n_blocks, dtype=bool)
    no_record = _record(0, 0)
    for start in range(len(graph.first_node)):
        *_, n_within, n_visited = paths_from(start, graph, prizes, is_open, rule, work, no_record)
        if not n_within:
            continue
        record = _record(n_within, n_within * min(n_visited, blocks.n_blocks))
        paths_from(start, graph, prizes, is_open, rule, work, record)
        for number in range(n_within):
            arcs = record.arcs[record.starts[number] : record.starts[number + 1]].copy()
            yield Stretch(arcs, record.length[number], prizes[arcs >> 1].sum(), record.value[number])


def best_stretches(
    blocks: StreetBlocks,
    prizes: np.ndarray,
    *,
    k: int,
    shortest: float,
    longest: float,
    separation: float,
    price: float,
    is_open: np.ndarray | None = None,
) -> StretchSearch:
    """Return the best stretch, then the best one far enough from it, and so on.

    Parameters
    ----------
    blocks : StreetBlocks
        The streets.
    prizes : ndarray, shape (n_blocks,)
        What each block is worth.
    k : int
        How many at most; only stretches worth more than their price are returned.
    shortest, longest : float
        Bounds of the length in metres, both included.
    separation : float
        Least distance between two stretches in metres. With 0 they may touch, but not share a block.
    price : float
        Price of a metre.
    is_open : ndarray of bool, shape (n_blocks,), optional
        Which blocks may be used.

    Returns
    -------
    StretchSearch

    Notes
    -----
    Exact. The best value of a start can only fall when blocks are closed, so a heap of stale values is
    enough: the top is recomputed, accepted if it has not changed, and pushed back otherwise (lazy greedy).
    """
    graph, work, nothing = blocks.graph, _workspace(blocks), _record(0, 0)
    is_open = np.ones(blocks.n_blocks, dtype=bool) if is_open is None else is_open.copy()
    prizes = np.ascontiguousarray(prizes, dtype=np.float64)
    rule = _rule(shortest, longest, price, 1e-12 * max(float(np.abs(prizes).sum()), 1e-300), MOST_PATHS)
    starts = np.arange(len(graph.first_node))
    value, length = np.empty(len(starts)), np.empty(len(starts))
    n_within, n_visited = np.empty(len(starts), dtype=np.int64), np.empty(len(starts), dtype=np.int64)
    outcome = (value, length, n_within, n_visited)
    best_of_every_start(starts, graph, prizes, is_open, rule, work, nothing, *outcome)
    too_many = np.unique(
        blocks.street[graph.first_arcs[graph.first_starts[starts[n_visited > rule.limit]]] >> 1]
    )
    if len(too_many):
        is_open &= ~np.isin(blocks.street, too_many)
        best_of_every_start(starts, graph, prizes, is_open, rule, work, nothing, *outcome)
    heap = [(-value[at], length[at], int(starts[at])) for at in np.flatnonzero(value > rule.tie)]
    heapq.heapify(heap)
    found: list[Stretch] = []
    while heap and len(found) < k:
        stale = heapq.heappop(heap)
        worth, metres, prize, size, *_ = paths_from(stale[2], graph, prizes, is_open, rule, work, nothing)
        if (-worth, metres) != stale[:2]:
            if worth > rule.tie:
                heapq.heappush(heap, (-worth, metres, stale[2]))
            continue
        heapq.heappush(heap, stale)  # the same start may offer another, elsewhere
        found.append(Stretch(work.best[:size].copy(), metres, prize, worth))
        is_open[found[-1].blocks] = False
        if separation > 0:
            is_open[blocks.nearer_than(separation, found[-1].line(blocks))] = False
    return StretchSearch(tuple(found), int(n_within.sum()), tuple(blocks.names[too_many]))


def _rule(shortest: float, longest: float, price: float, tie: float, limit: int) -> Rule:
    return Rule(
        float(shortest) - _MICROMETRE, float(longest) + _MICROMETRE, float(price), float(tie), int(limit)
    )


def _workspace(blocks: StreetBlocks) -> Workspace:
    n_nodes = int(blocks.head.max(initial=-1)) + 1
    size = n_nodes + 1
    path, best, cursor = np.empty((3, size), dtype=np.int64)
    return Workspace(np.zeros(n_nodes, dtype=bool), path, best, cursor, np.empty(size), np.empty(size))


def _record(n_paths: int, n_arcs: int) -> Record:
    starts = np.zeros(n_paths + 1, dtype=np.int64)
    return Record(starts, np.empty(n_arcs, dtype=np.int64), np.empty(n_paths), np.empty(n_paths))


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
