"""Every path along streets with few turns, and the best of them, exactly."""

import heapq
import itertools
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import shapely

from rtmkc.places.corridors.kernels import (
    DENSITY,
    LINEAR,
    LLR,
    PathGraph,
    Record,
    Rule,
    Workspace,
    Worth,
    best_of_starts,
    paths_from,
)
from rtmkc.places.corridors.network.blocks import BEARING_M, MICROMETRE, StreetBlocks

OBJECTIVES = ("excess", "density", "total", "llr", "net")
MOST_VISITS = 20_000_000
"""Paths from one corner beyond which its search is given up, and the result is no longer proved."""


@dataclass(frozen=True)
class PathFamily:
    """What a corridor may be.

    Attributes
    ----------
    shortest, longest : float
        Bounds of its length in metres, both included.
    max_turns : int
        Most turns.
    one_name : float
        Least share of its length that has one street name; 0 for any.
    max_detour : float
        Greatest length, in multiples of the straight line between its ends; infinite for any.
    anywhere : bool
        Whether one may end inside a block; else both ends are corners.
    """

    shortest: float
    longest: float
    max_turns: int = 0
    one_name: float = 0.0
    max_detour: float = math.inf
    anywhere: bool = False


@dataclass(frozen=True, eq=False)
class StreetPath:
    """A simple path of blocks.

    Attributes
    ----------
    arcs : ndarray of int
        ``2 b`` for block b from tail to head, ``2 b + 1`` against it, in order.
    length_m, value : float
        Metres, and what the objective says.
    last_share : float
        How much of the last block belongs to it; 1 if it ends at a corner.
    """

    arcs: np.ndarray
    length_m: float
    value: float
    last_share: float = 1.0

    @property
    def blocks(self) -> np.ndarray:
        """The blocks, in order."""
        return self.arcs >> 1

    @property
    def shares(self) -> np.ndarray:
        """How much of each block belongs to the path."""
        shares = np.ones(len(self.arcs))
        shares[-1] = self.last_share
        return shares

    def total(self, block_values: np.ndarray) -> float:
        """Return the sum of a value over the path."""
        return float(block_values[self.blocks] @ self.shares)

    def ends(self, blocks: StreetBlocks) -> tuple[int, int]:
        """Return the nodes at the beginning and at the end of the blocks."""
        first, last = self.arcs[0], self.arcs[-1]
        begin = blocks.head[first >> 1] if first & 1 else blocks.tail[first >> 1]
        end = blocks.tail[last >> 1] if last & 1 else blocks.head[last >> 1]
        return int(begin), int(end)

    def parts(self, blocks: StreetBlocks) -> list[shapely.LineString]:
        """Return the line of each block, as far as it belongs to the path, in running direction."""
        lines = [
            shapely.reverse(blocks.geometry[arc >> 1]) if arc & 1 else blocks.geometry[arc >> 1]
            for arc in self.arcs
        ]
        if self.last_share < 1.0:
            lines[-1] = shapely.ops.substring(lines[-1], 0.0, self.last_share, normalized=True)
        return lines

    def line(self, blocks: StreetBlocks) -> shapely.LineString:
        """Return the path as one line."""
        coordinates = [shapely.get_coordinates(part) for part in self.parts(blocks)]
        return shapely.LineString(np.vstack([coordinates[0], *(more[1:] for more in coordinates[1:])]))


@dataclass(frozen=True)
class FoundPaths:
    """The best paths apart from each other, and how many there were to choose from.

    Attributes
    ----------
    paths : tuple of StreetPath
        Best first.
    runner_ups : tuple of StreetPath or None
        For each, the best path that shares no block with it: what it beat.
    open_then : tuple of ndarray of bool, shape (n_blocks,)
        Which blocks were open when each was chosen.
    n_looked_at : int
        Paths within the bounds, before any was taken.
    n_given_up : int
        Corners from which there were too many paths to look at all.
    """

    paths: tuple[StreetPath, ...]
    runner_ups: tuple[StreetPath | None, ...]
    open_then: tuple[np.ndarray, ...]
    n_looked_at: int
    n_given_up: int


def worth_of(
    objective: str,
    blocks: StreetBlocks,
    prizes: np.ndarray,
    *,
    price: float = 0.0,
    incident_value: float = 1.0,
    costs: np.ndarray | None = None,
    base: np.ndarray | None = None,
    is_open: np.ndarray | None = None,
) -> tuple[int, Worth]:
    """Return the kind of an objective and what it makes of the blocks.

    Parameters
    ----------
    objective : {"excess", "density", "total", "llr", "net"}
        ``r - price l``, ``r / l``, ``r``, ``r ln(r / m) + (R - r) ln((R - r) / (M - m))`` where r > m (else 0), or
        ``incident_value r - cost``, for a path with prize r, length l and reference m.
    blocks : StreetBlocks
        The streets.
    prizes : ndarray, shape (n_blocks,)
        What each block is worth, in incidents.
    price : float
        Incidents a metre that excess is above.
    incident_value : float
        What one incident is worth, in the unit of `costs`.
    costs : ndarray, shape (n_blocks,), optional
        Cost of each block.
    base : ndarray, shape (n_blocks,), optional
        Reference m of LLR; by default the prizes spread evenly over the length of open blocks.
    is_open : ndarray of bool, shape (n_blocks,), optional
        Which blocks may be used.
    """
    is_open = np.ones(blocks.n_blocks, dtype=bool) if is_open is None else is_open.copy()
    prizes = np.ascontiguousarray(prizes, dtype=np.float64)
    length = np.ascontiguousarray(blocks.length_m, dtype=np.float64)
    if base is None:
        base = length * (prizes.sum() / length.sum()) if len(length) else length
    if objective == "excess":
        value = prizes - price * length
    elif objective == "net":
        value = incident_value * prizes - (0.0 if costs is None else costs)
    else:
        value = prizes
    kind = {"density": DENSITY, "llr": LLR}.get(objective, LINEAR)
    total, total_base = float(prizes.sum()), float(base.sum())
    return kind, Worth(np.ascontiguousarray(value), np.ascontiguousarray(base), total, total_base, is_open)


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


@dataclass(frozen=True, eq=False)
class PathSearch:
    """All paths of a family on a street network, looked at one by one.

    Attributes
    ----------
    blocks : StreetBlocks
        The streets.
    family : PathFamily
        What is looked for.
    bearing_m : float
        Metres over which the direction of a block at its corner is measured.
    n_threads : int
        Threads of a search through all corners; the result does not depend on it.

    Examples
    --------
    >>> import geopandas as gpd
    >>> from rtmkc.places.corridors.network.streets import StreetNetwork
    >>> wkt = ["LINESTRING (0 0, 100 0)", "LINESTRING (100 0, 200 0)", "LINESTRING (100 0, 100 100)"]
    >>> lines = gpd.GeoDataFrame(geometry=shapely.from_wkt(wkt), crs=32615)
    >>> blocks = StreetBlocks.of_network(StreetNetwork.from_layer(lines))
    >>> search = PathSearch(blocks, PathFamily(150, 250, max_turns=0))
    >>> found = search.best_apart(*worth_of("total", blocks, np.array([1.0, 2.0, 3.0])), k=1, separation=0)
    >>> found.paths[0].blocks, found.paths[0].length_m, found.n_looked_at
    (array([0, 1]), 200.0, 1)
    """

    blocks: StreetBlocks
    family: PathFamily
    bearing_m: float = BEARING_M
    n_threads: int = field(default_factory=lambda: os.cpu_count() or 1)

    @cached_property
    def graph(self) -> PathGraph:
        """Which block may follow which."""
        return self.blocks.graph(bearing_m=self.bearing_m)

    def all(self, kind: int, worth: Worth, *, floor: float = -np.inf) -> Iterator[StreetPath]:
        """Yield every path worth at least `floor`, once."""
        work, rule = self._workspace(), self._rule(kind, worth, floor)
        for start in range(self._n_nodes):
            *_, n_within, n_visited = paths_from(start, self.graph, worth, rule, work, _record(0, 0))
            if not n_within:
                continue
            record = _record(n_within, n_within * min(n_visited, self._n_nodes))
            *_, n_within, _ = paths_from(start, self.graph, worth, rule, work, record)
            for number in range(n_within):
                arcs = record.arcs[record.starts[number] : record.starts[number + 1]].copy()
                yield StreetPath(arcs, record.length[number], record.value[number], record.last_share[number])

    def count(self, kind: int, worth: Worth, *, floor: float) -> int:
        """Return how many paths are worth at least `floor`, whatever their names and detours."""
        return int(self.best_of_every_start(kind, worth, floor=floor)[2].sum())

    def best_of_every_start(
        self, kind: int, worth: Worth, *, floor: float = -np.inf
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return, by node: value and length of the best path from it, paths worth at least `floor`, paths visited."""
        starts = np.arange(self._n_nodes)
        rule = self._rule(kind, worth, floor)
        value, length = np.full(self._n_nodes, -np.inf), np.full(self._n_nodes, np.inf)
        n_within, n_visited = np.zeros((2, self._n_nodes), dtype=np.int64)

        def run(part: np.ndarray) -> None:
            # each thread writes at its own starts
            best_of_starts(
                part, self.graph, worth, rule, self._workspace(), _record(0, 0), value, length, n_within, n_visited
            )  # fmt: skip

        n_parts = min(self.n_threads, max(len(starts) // 1000, 1))
        if n_parts == 1:
            run(starts)
        else:
            with ThreadPoolExecutor(n_parts) as pool:
                list(pool.map(run, [starts[part::n_parts] for part in range(n_parts)]))
        return value, length, n_within, n_visited

    def best_apart(self, kind: int, worth: Worth, *, k: int, separation: float) -> FoundPaths:
        """Return the best path, then the best one far enough from it, and so on.

        Parameters
        ----------
        kind, worth
            From `worth_of`.
        k : int
            How many at most; only paths with a positive value are returned.
        separation : float
            Least distance between two paths in metres. With 0 they may touch, but not share a block.

        Notes
        -----
        Exact. The best value of a start can only fall when blocks are closed, so a heap of stale values is enough: the
        top is recomputed, accepted if it has not changed, and pushed back otherwise (lazy greedy).
        """
        worth = worth._replace(is_open=worth.is_open.copy())
        rule, work, nothing = self._rule(kind, worth), self._workspace(), _record(0, 0)
        value, length, n_within, n_visited = self.best_of_every_start(kind, worth)
        heap = [(-value[at], length[at], int(at)) for at in np.flatnonzero(value > rule.tie)]
        heapq.heapify(heap)

        def top() -> StreetPath | None:
            while heap:
                stale = heap[0]
                path = self._found(paths_from(stale[2], self.graph, worth, rule, work, nothing), work)
                if path is not None and (-path.value, path.length_m) == stale[:2]:
                    return path
                heapq.heappop(heap)
                if path is not None and path.value > rule.tie:
                    heapq.heappush(heap, (-path.value, path.length_m, stale[2]))
            return None

        paths: list[StreetPath] = []
        runner_ups: list[StreetPath | None] = []
        open_then: list[np.ndarray] = []
        while len(paths) < k and (path := top()) is not None:
            paths.append(path)
            open_then.append(worth.is_open.copy())
            worth.is_open[path.blocks] = False
            runner_ups.append(top())
            if separation > 0:
                worth.is_open[self.blocks.nearer_than(separation, path.line(self.blocks))] = False
        n_given_up = int((n_visited > rule.limit).sum())
        return FoundPaths(tuple(paths), tuple(runner_ups), tuple(open_then), int(n_within.sum()), n_given_up)

    def nodes(self, arcs: np.ndarray) -> np.ndarray:
        """Return the corners along a path, first to last."""
        return np.append(self.graph.head[arcs[0] ^ 1], self.graph.head[arcs])

    def n_turns(self, arcs: np.ndarray) -> int:
        """Return how many turns a path takes."""
        graph, turns = self.graph, 0
        for before, after in itertools.pairwise(arcs):
            following = slice(graph.next_starts[before], graph.next_starts[before + 1])
            turns += int(graph.next_turns[following][graph.next_arcs[following] == after][0])
        return turns

    @property
    def _n_nodes(self) -> int:
        return len(self.graph.first_starts) - 1

    def _rule(self, kind: int, worth: Worth, floor: float = -np.inf) -> Rule:
        family = self.family
        scale = np.log(len(worth.value) + 2.0) if kind == LLR else 1.0
        tie = 0.0 if kind == DENSITY else 1e-12 * scale * max(float(np.abs(worth.value).sum()), 1e-300)
        return Rule(
            kind,
            float(family.shortest) - MICROMETRE,
            float(family.longest) + MICROMETRE,
            int(family.max_turns),
            float(family.one_name),
            float(family.max_detour),
            bool(family.anywhere),
            float(tie),
            float(floor),
            MOST_VISITS,
        )

    def _workspace(self) -> Workspace:
        size = self._n_nodes + 1
        path, best, cursor, turns = np.empty((4, size), dtype=np.int64)
        length, value, base = np.empty((3, size))
        by_name = np.zeros(len(self.blocks.names) + 1)
        return Workspace(np.zeros(size, dtype=bool), path, best, cursor, turns, length, value, base, by_name)

    @staticmethod
    def _found(result: tuple, work: Workspace) -> StreetPath | None:
        value, length, share, size, *_ = result
        return StreetPath(work.best[:size].copy(), length, value, share) if size else None


def _record(n_paths: int, n_arcs: int) -> Record:
    starts = np.zeros(n_paths + 1, dtype=np.int64)
    return Record(
        starts, np.empty(n_arcs, dtype=np.int64), np.empty(n_paths), np.empty(n_paths), np.empty(n_paths)
    )
