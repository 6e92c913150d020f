"""What stopped a corridor at each end, on streets drawn so that the reason is known, and what it beat."""

import itertools

import geopandas as gpd
import networkx as nx
import numpy as np
import pytest
import shapely

from rtmkc.places.corridors.choice.neighbours import why_not_longer
from rtmkc.places.corridors.choice.paths import PathFamily, PathSearch, worth_of
from rtmkc.places.corridors.network.blocks import StreetBlocks
from rtmkc.places.corridors.network.streets import StreetNetwork

WEST, SOUTH = 360_000.0, 4_330_000.0
PRICE = 0.004


def drawn(*rows):
    """Streets as (name, points), with a stub of a side street at every point, so that every line is a block."""
    names, lines = [], []
    for name, *points in rows:
        for begin, end in itertools.pairwise(points):
            names.append(name)
            lines.append(shapely.LineString([begin, end]))
    for number, place in enumerate(sorted({point for _, *points in rows for point in points})):
        names.append(f"stub {number}")
        lines.append(shapely.LineString([place, (place[0] - 30, place[1] - 37)]))
    shapes = shapely.transform(np.array(lines), np.array([WEST, SOUTH]).__add__)
    return gpd.GeoDataFrame({"name": names}, geometry=shapes, crs=32615)


class City:
    """Drawn streets with expected incidents by street and number of the block, and the corridor found there."""

    def __init__(self, rows, expected, *, closed=(), fades=1.0, objective="excess", **family):
        streets = drawn(*rows)
        self.blocks = StreetBlocks.of_network(
            StreetNetwork.from_layer(streets, snap_m=0, merge_divided=False)
        )
        centres = shapely.get_coordinates(shapely.centroid(self.blocks.geometry)) - [WEST, SOUTH]
        self.expected = np.zeros(self.blocks.n_blocks)
        is_open = np.ones(self.blocks.n_blocks, dtype=bool)
        multiplier = np.ones(self.blocks.n_blocks)
        for (name, number), prize in expected.items():
            block = self.number(name, number, centres)
            self.expected[block] = prize
            is_open[block] = (name, number) not in closed
            multiplier[block] = fades if prize < 0.4 else 1.0
        bounds = {"shortest": 250.0, "longest": 500.0} | family
        self.search = PathSearch(self.blocks, PathFamily(**bounds), n_threads=1)
        self.price = PRICE if objective == "excess" else None
        self.goal = worth_of(objective, self.blocks, self.expected * multiplier, price=PRICE, is_open=is_open)
        self.found = self.search.best_apart(*self.goal, k=1, separation=0)
        self.path = self.found.paths[0]

    def number(self, name, number, centres):
        """Blocks of a street are numbered from west to east, then south to north."""
        own = np.flatnonzero(self.blocks.names[self.blocks.street] == name)
        return own[np.lexsort((centres[own, 1], centres[own, 0]))[number]]

    def reasons(self, path=None):
        """Why the corridor stops at its western (or southern) end, and at the other."""
        path = self.path if path is None else path
        found = why_not_longer(
            path, self.search, self.goal[0], self.goal[1]._replace(is_open=self.found.open_then[0]),
            expected=self.expected, price=self.price,
        )  # fmt: skip
        begin, end = (self.blocks.tail, self.blocks.head)
        first = path.arcs[0]
        nodes = (end if first & 1 else begin)[first >> 1], path.ends(self.blocks)[1]
        ends = np.array([shapely.get_coordinates(path.line(self.blocks))[at] for at in (0, -1)])
        assert nodes[0] == path.ends(self.blocks)[0]
        return found if tuple(ends[0]) < tuple(ends[1]) else found[::-1]


def main_street(n_blocks, *more):
    return [("Main", *((100 * at, 0) for at in range(n_blocks + 1))), *more]


def prizes(*values, name="Main"):
    return {(name, number): value for number, value in enumerate(values)}


def test_length():
    """Eight good blocks, room for five: at either end the next one would make it too long."""
    city = City(main_street(8), prizes(0.5, 0.6, 0.9, 0.9, 0.9, 0.9, 0.9, 0.5))
    assert city.path.length_m == pytest.approx(500)
    assert city.reasons() == ("with the next block it would be longer than 500 m (1,640 ft)",) * 2


def test_dead_end():
    """Four good blocks and nothing beyond, but stubs that leave by more than 40 degrees and a U-turn."""
    city = City([("Main", (0, 0), (100, 0), (200, 0), (300, 0))], prizes(0.9, 0.9, 0.9))
    west, east = city.reasons()
    # the western stub goes back to the west, the eastern one turns by 129 degrees
    assert west == "to go on would be a turn"
    assert east == "to go on would be a turn"
    alone = gpd.GeoDataFrame(
        {"name": ["Main"]}, geometry=[shapely.LineString([(WEST, SOUTH), (WEST + 300, SOUTH)])], crs=32615
    )
    blocks = StreetBlocks.of_network(StreetNetwork.from_layer(alone))
    search = PathSearch(blocks, PathFamily(250.0, 500.0), n_threads=1)
    kind, worth = worth_of("total", blocks, np.array([1.0]))
    path = search.best_apart(kind, worth, k=1, separation=0).paths[0]
    ends = why_not_longer(path, search, kind, worth, expected=np.array([1.0]), price=None)
    assert ends == ("the street ends there", "the street ends there")


def test_worth():
    """Between two poor blocks: what the next brings and what its length would have to, in incidents, to two digits."""
    city = City(main_street(5), prizes(0.123, 0.9, 0.9, 0.9, 0.25))
    west, east = city.reasons()
    assert (
        west
        == "the next block (100 m (328 ft)) adds 0.12 expected incidents, and its length would have to bring 0.4"
    )
    assert (
        east
        == "the next block (100 m (328 ft)) adds 0.25 expected incidents, and its length would have to bring 0.4"
    )


def test_worth_by_another_objective():
    """By density the next block makes it worth less, and no price is named."""
    city = City(main_street(5), prizes(0.1, 0.9, 0.9, 0.9, 0.2), objective="density")
    assert city.reasons() == ("the next block (100 m (328 ft)) would make it worth less",) * 2


def test_worth_of_a_treated_block():
    """A block that was treated is shown with what it expects, and with what that counts as."""
    city = City(main_street(4), prizes(0.9, 0.9, 0.9, 0.38), fades=0.5)
    assert city.reasons()[1] == (
        "the next block (100 m (328 ft)) adds 0.38 expected incidents (which count as 0.19, as it was treated), and its "
        "length would have to bring 0.4"
    )


def test_closed():
    """A good block that may not be used is the reason, and not its side streets."""
    city = City(main_street(5), prizes(0.9, 0.9, 0.9, 0.9, 0.9), closed=[("Main", 3)])
    assert city.path.length_m == pytest.approx(300)
    closed = "the next block is left out, or too near to what is left out or to a better corridor"
    assert city.reasons() == ("to go on would be a turn", closed)


def test_a_closed_side_street_is_not_the_reason():
    """Where only a turn goes on, it is the turn that is too many, whether the side street is closed or not."""
    rows = [("Main", (0, 0), (100, 0), (200, 0), (300, 0)), ("Oak", (300, 0), (300, 100), (300, 200))]
    values = prizes(0.9, 0.9, 0.9) | prizes(0.9, 0.9, name="Oak")
    city = City(rows, values, closed=[("Oak", 0)])
    assert city.reasons()[1] == "to go on would be a turn"


def test_turn():
    """Main runs into Oak: with no turn allowed going on is a turn, with one used already it is another."""
    oak = ("Oak", (300, 0), (300, 100), (300, 200))
    ends = City(
        [("Main", (0, 0), (100, 0), (200, 0), (300, 0)), oak],
        prizes(0.9, 0.9, 0.9) | prizes(0.9, 0.9, name="Oak"),
    )
    assert ends.reasons()[1] == "to go on would be a turn"
    elm = ("Elm", (300, 200), (400, 200), (500, 200))
    rows = [("Main", (0, 0), (100, 0), (200, 0), (300, 0)), oak, elm]
    values = prizes(0.9, 0.9, 0.9) | prizes(0.9, 0.9, name="Oak") | prizes(0.1, 0.1, name="Elm")
    turned = City(rows, values, max_turns=1, longest=900.0)
    assert turned.search.n_turns(turned.path.arcs) == 1
    assert turned.reasons()[1] == "to go on would be another turn"


def test_name():
    """The street goes straight on under another name, and seven tenths must have one."""
    rows = [("Main", (0, 0), (100, 0), (200, 0), (300, 0)), ("Second", (300, 0), (400, 0), (500, 0))]
    values = prizes(0.9, 0.9, 0.9) | prizes(0.9, 0.9, name="Second")
    city = City(rows, values, one_name=0.8, longest=600.0)
    assert city.path.length_m == pytest.approx(300)
    assert city.reasons()[1] == "too little of it would have one street name"
    assert City(rows, values, longest=600.0).path.length_m == pytest.approx(500)


def test_loop():
    """Around three sides of a square the fourth leads back to where it began."""
    square = [("Ring", (0, 0), (100, 0), (100, 100), (0, 100), (0, 0))]
    streets = gpd.GeoDataFrame(
        {"name": list("ABCD")},
        geometry=[
            shapely.transform(shapely.LineString(pair), np.array([WEST, SOUTH]).__add__)
            for pair in itertools.pairwise(square[0][1:])
        ],
        crs=32615,
    )
    blocks = StreetBlocks.of_network(StreetNetwork.from_layer(streets, merge_divided=False))
    search = PathSearch(blocks, PathFamily(250.0, 500.0, max_turns=3), n_threads=1)
    kind, worth = worth_of("total", blocks, np.ones(4))
    path = search.best_apart(kind, worth, k=1, separation=0).paths[0]
    ends = why_not_longer(path, search, kind, worth, expected=np.ones(4), price=None)
    assert ends == ("the next block leads back to it",) * 2


def test_ends_inside_a_block():
    """Where a corridor may end anywhere: at the greatest length inside a block; and where it ends at a corner with room
    left, it is the worth of the next block that stops it, not its length.
    """
    city = City(main_street(6), prizes(0.1, 0.9, 0.9, 0.9, 0.8, 0.1), anywhere=True, longest=350.0)
    assert city.path.length_m == pytest.approx(350)
    assert "it ends inside a block, at 350 m (1,148 ft)" in city.reasons()
    corner = City(main_street(5), prizes(0.1, 0.9, 0.9, 0.9, 0.1), anywhere=True, longest=350.0)
    assert corner.path.length_m == pytest.approx(300)
    assert all("adds 0.1 expected incidents" in reason for reason in corner.reasons())


def test_rules_are_the_reason_where_a_longer_one_were_better():
    """A path that others than itself keep short (a budget, a quota) is said to be so, and no sum is named."""
    city = City(main_street(5), prizes(0.9, 0.9, 0.9, 0.9, 0.1))
    whole = city.path
    assert whole.length_m == pytest.approx(400)
    middle = [path for path in city.search.all(*city.goal) if path.length_m == pytest.approx(300)]
    short = next(path for path in middle if set(path.blocks) < set(whole.blocks))
    reasons = city.reasons(short)
    assert (
        "the next block would add to it, but the rules for all corridors together leave no room for it"
        in reasons
    )


def lattice(seed, n=4):
    random = np.random.default_rng(seed)
    right, up = (np.cumsum(np.r_[0, random.integers(80, 160, n - 1)]) for _ in range(2))
    names, lines = [], []
    for line, block in itertools.product(range(n), range(n - 1)):
        names += [f"{line} St", f"{line} Ave"]
        lines.append(shapely.LineString([(right[block], up[line]), (right[block + 1], up[line])]))
        lines.append(shapely.LineString([(right[line], up[block]), (right[line], up[block + 1])]))
    shapes = shapely.transform(np.array(lines), np.array([WEST, SOUTH]).__add__)
    return gpd.GeoDataFrame({"name": names}, geometry=shapes, crs=32615)


def test_runner_up_is_the_best_path_without_its_blocks():
    """What each corridor beat is, by networkx, the best path that shares no block with it and kept from the earlier."""
    for seed in range(14):
        streets = lattice(seed)
        network = StreetNetwork.from_layer(streets, snap_m=0, merge_divided=False)
        blocks = StreetBlocks.of_network(network)
        separation = (0.0, 60.0)[seed % 2]
        expected = np.random.default_rng(seed).gamma(1.0, 1.0, blocks.n_blocks)
        search = PathSearch(blocks, PathFamily(150.0, 400.0, max_turns=1), n_threads=1)
        found = search.best_apart(
            *worth_of("excess", blocks, expected, price=0.006), k=2, separation=separation
        )
        graph = nx.Graph()
        for block, (begin, end) in enumerate(zip(blocks.tail, blocks.head, strict=True)):
            graph.add_edge(int(begin), int(end), block=block, name=blocks.names[blocks.street[block]])
        degree = dict(graph.degree)
        value = {}
        for begin, end in itertools.combinations(degree, 2):
            for nodes in nx.all_simple_paths(graph, begin, end, cutoff=5):  # blocks are 80 m or longer
                edges = [graph.edges[pair] for pair in itertools.pairwise(nodes)]
                own = [edge["block"] for edge in edges]
                turns = sum(one["name"] != other["name"] for one, other in itertools.pairwise(edges))
                length = blocks.length_m[own].sum()
                if turns <= 1 and 150 <= length <= 400:
                    value[frozenset(own)] = expected[own].sum() - 0.006 * length
        taken = set()
        lines = {own: shapely.union_all(blocks.geometry[list(own)]) for own in value}
        earlier = []
        for path, beaten in zip(found.paths, found.runner_ups, strict=True):
            own = frozenset(path.blocks.tolist())
            assert path.value == pytest.approx(value[own])
            free = [
                worth
                for other, worth in value.items()
                if not other & own
                and not other & taken
                and all(lines[other].distance(line) >= separation - 1e-6 for line in earlier)
            ]
            best = max(free, default=-1.0)
            assert (beaten is None) == (best <= 1e-9), seed
            if beaten is not None:
                assert beaten.value == pytest.approx(best), seed
            taken |= own
            earlier.append(lines[own])
