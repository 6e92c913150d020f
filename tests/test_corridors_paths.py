"""The search of paths along streets against brute force, and what it must not depend on."""

import itertools
import os

import geopandas as gpd
import libpysal
import networkx as nx
import numpy as np
import pytest
import shapely

from rtmkc.places.corridors.choice.paths import (
    OBJECTIVES,
    PathFamily,
    PathSearch,
    reference_price,
    worth_of,
)
from rtmkc.places.corridors.choice.significance import best_likelihood_ratio
from rtmkc.places.corridors.network.blocks import StreetBlocks
from rtmkc.places.corridors.network.noding import end_points, number_places
from rtmkc.places.corridors.network.streets import StreetNetwork

# 130 networks a test; a thousand and more, as first shown, with RTMKC_NETWORKS=1040
N_CHUNKS = int(os.environ.get("RTMKC_NETWORKS", "260")) // 130
N_NETWORKS = 130 * N_CHUNKS
SHORTEST, LONGEST, PRICE, INCIDENT_VALUE = 250.0, 900.0, 0.004, 1.7


def random_streets(seed):
    """Return a small network with forks, cycles, parallel edges, dead ends, loops and unconnected parts.

    Nodes are 60 m apart or more and bends lie beyond 25 m of them, so that the direction of a line at its end is that
    of its first stretch.
    """
    random = np.random.default_rng(seed)
    nodes = []
    while len(nodes) < int(random.integers(4, 8)):
        place = random.uniform(0, 600, 2)
        if all(np.hypot(*(place - other)) > 90 for other in nodes):
            nodes.append(place)
    pairs = [(a, b) for a, b in itertools.combinations(range(len(nodes)), 2) if random.random() < 0.45]
    pairs += [
        pairs[number] for number in random.integers(0, max(len(pairs), 1), 1) if pairs
    ]  # parallel edges
    pairs += [(a, a) for a in range(len(nodes)) if random.random() < 0.08]  # loops
    pairs = pairs or [(0, 1)]
    lines = []
    for a, b in pairs:
        bend = (nodes[a] + nodes[b]) / 2 + random.uniform(-25, 25, 2)
        middle = bend + np.array([[40, 0], [40, 50], [0, 90]] if a == b else [[0, 0]])
        lines.append(shapely.LineString([nodes[a], *middle, nodes[b]]))
    names = random.choice(["Ash", "Birch", "Cedar", None], len(pairs), p=[0.4, 0.3, 0.15, 0.15])
    return gpd.GeoDataFrame({"name": names.astype(object)}, geometry=lines, crs=32615)


def pieces_of(streets, seed):
    """Return the blocks of the streets, random values of rows, their sums by block, and the rows of each block."""
    network = StreetNetwork.from_layer(streets, snap_m=0, merge_divided=False)
    blocks = StreetBlocks.of_network(network)
    random = np.random.default_rng(seed)
    by_row = random.gamma(1.0, 1.0, len(streets)) * (random.random(len(streets)) > 1 / 3)
    source = network.segments["source"].to_numpy()
    rows = [frozenset(source[blocks.block_of_segment == block]) for block in range(blocks.n_blocks)]
    return network, blocks, by_row, rows


class Truth:
    """All simple paths from corner to corner by networkx: rows in order, length, turns, share on one name."""

    def __init__(self, streets):
        self.streets = streets
        self.names = [name if isinstance(name, str) else None for name in streets["name"]]
        self.lines = streets.geometry.to_numpy()
        self.ends = [shapely.get_coordinates(line)[[0, -1]].round(3) for line in self.lines]
        self.graph = nx.MultiGraph()
        for row, (begin, end) in enumerate(self.ends):
            self.graph.add_edge(tuple(begin), tuple(end), key=row, name=self.names[row])
        self.paths = {}
        corners = [node for node in self.graph if self.is_corner(node)]
        for begin, end in itertools.combinations(corners, 2):
            for path in nx.all_simple_edge_paths(self.graph, begin, end):
                turns = self.turns(path)
                if turns is not None:
                    rows = [key for *_, key in path]
                    self.paths[frozenset(rows)] = (rows, turns)

    def is_corner(self, node):
        names = [name for *_, name in self.graph.edges(node, data="name")]
        is_loop = any(a == b for a, b in self.graph.edges(node))
        return self.graph.degree(node) != 2 or is_loop or len(set(names)) > 1

    def heading(self, row, node):
        """Direction in which a row leaves a node, over 25 m."""
        line = self.lines[row]
        if tuple(self.ends[row][0]) != node:
            line = line.reverse()
        away = shapely.get_coordinates(line.interpolate(25.0))[0] - shapely.get_coordinates(line)[0]
        return np.degrees(np.arctan2(away[1], away[0]))

    def turns(self, path):
        """Number of turns of a path of edges, or None if it has a U-turn."""
        turns = 0
        for (_, node, one), (_, _, other) in itertools.pairwise(path):
            if not self.is_corner(node):
                continue
            back, ahead = self.heading(one, node), self.heading(other, node)
            bend = 180.0 - abs((ahead - back + 180.0) % 360.0 - 180.0)
            if bend > 150.0:
                return None
            names = [self.names[row] for row in (one, other)]
            at_node = [
                name
                for a, b, name in self.graph.edges(node, data="name")
                for _ in range(2 if a == b else 1)
                if name == names[0] and name is not None
            ]
            if names[0] is not None and names[0] == names[1] and len(at_node) == 2:
                continue
            renamed = None not in names and names[0] != names[1]
            turns += bend > 40.0 or (renamed and bend > 20.0)
        return turns

    def family(self, shortest, longest, turns, one_name, detour):
        """Return rows -> length of all paths of a family."""
        found = {}
        for key, (rows, taken) in self.paths.items():
            length = sum(self.lines[row].length for row in rows)
            by_name = [
                sum(self.lines[row].length for row in rows if self.names[row] == name)
                for name in ("Ash", "Birch", "Cedar")
            ]
            places = [tuple(place) for row in rows for place in self.ends[row]]
            ends = [place for place in set(places) if places.count(place) % 2]
            straight = np.hypot(*np.subtract(*ends))
            if (
                shortest <= length <= longest
                and taken <= turns
                and max(by_name) >= one_name * length
                and length <= detour * straight
            ):
                found[key] = length
        return found


def value_of(objective, rows, length, by_row, costs, lengths):
    """The definition of each objective, written out."""
    prize = by_row[list(rows)].sum()
    if objective == "excess":
        return prize - PRICE * length
    if objective == "density":
        return prize / length
    if objective == "net":
        return INCIDENT_VALUE * prize - costs[list(rows)].sum()
    if objective == "llr":
        total, share = by_row.sum(), length / lengths.sum()
        if prize <= total * share:
            return 0.0
        rest = 0.0 if prize >= total else (total - prize) * np.log((1 - prize / total) / (1 - share))
        return prize * np.log(prize / (total * share)) + rest
    return prize


def naive_greedy(values, lengths, lines, k, separation):
    """Return the values of the best path, then of the best far enough from it, by looking at all of them."""
    left, taken = dict(values), []
    while len(taken) < k and left:
        best = max(left, key=lambda rows: (round(left[rows], 9), -lengths[rows]))
        if left[best] <= 1e-9:
            break
        taken.append(left[best])
        far = dict(zip(left, shapely.distance(lines[best], [lines[rows] for rows in left]), strict=True))
        left = {
            rows: value
            for rows, value in left.items()
            if not rows & best and (separation == 0 or far[rows] >= separation)
        }
    return taken


@pytest.mark.parametrize("chunk", range(N_CHUNKS))
def test_search_equals_brute_force(chunk):
    """On 260 small networks, or as many as RTMKC_NETWORKS says, for every objective and 0 to 2 turns, the best path, the separated top k and the
    whole family are brute force's.
    """
    n_paths = n_taken = n_turned = 0
    for seed in range(chunk, N_NETWORKS, N_CHUNKS):
        streets = random_streets(seed)
        _, blocks, by_row, rows_of = pieces_of(streets, seed)
        random = np.random.default_rng(seed)
        costs, lengths = random.gamma(1.0, 1.0, len(streets)), streets.length.to_numpy()
        one_name, detour = float(random.choice([0.0, 0.6])), float(random.choice([np.inf, 1.3]))
        separation = float(random.choice([0.0, 40.0, 150.0]))
        truth = Truth(streets)
        sums = [
            np.array([values[list(rows)].sum() for rows in rows_of]) for values in (by_row, costs, lengths)
        ]

        lines = {rows: shapely.multilinestrings(truth.lines[list(rows)]) for rows in truth.paths}
        for turns in (0, 1, 2):
            family = truth.family(SHORTEST, LONGEST, turns, one_name, detour)
            search = PathSearch(blocks, PathFamily(SHORTEST, LONGEST, turns, one_name, detour), n_threads=1)
            kind, worth = worth_of("total", blocks, sums[0])
            ours = {
                frozenset().union(*(rows_of[block] for block in path.blocks)): path
                for path in search.all(kind, worth)
            }
            assert ours.keys() == family.keys(), (seed, turns)
            for rows, length in family.items():
                assert ours[rows].length_m == pytest.approx(length, rel=1e-9)
                assert search.n_turns(ours[rows].arcs) == truth.paths[rows][1]
            n_paths += len(family)
            n_turned += sum(truth.paths[rows][1] > 0 for rows in family)
            for objective in OBJECTIVES:
                kind, worth = worth_of(
                    objective, blocks, sums[0], price=PRICE, incident_value=INCIDENT_VALUE, costs=sums[1]
                )
                values = {
                    rows: value_of(objective, rows, length, by_row, costs, lengths)
                    for rows, length in family.items()
                }
                found = search.best_apart(kind, worth, k=3, separation=separation)
                expected = naive_greedy(values, family, lines, 3, separation)
                assert [path.value for path in found.paths] == pytest.approx(expected, rel=1e-9, abs=1e-9), (
                    seed,
                    turns,
                    objective,
                )
                n_taken += len(expected)
    assert n_paths > 800
    assert n_turned > 200
    assert n_taken > 1000


def test_no_window_that_ends_inside_blocks_is_better():
    """With ends anywhere the best path is at least as good as every window of all corner-to-corner paths, at steps of
    10 m, and is itself such a window.
    """
    n_inside = 0
    for seed in range(40):
        streets = random_streets(5000 + seed)
        _, blocks, by_row, rows_of = pieces_of(streets, seed)
        lengths = streets.length.to_numpy()
        prizes = np.array([by_row[list(rows)].sum() for rows in rows_of])
        for rows, prize in zip(rows_of, prizes, strict=True):  # risk is even within a block
            by_row[list(rows)] = prize * lengths[list(rows)] / lengths[list(rows)].sum()
        truth = Truth(streets)
        windows = [
            windows_along(lengths[rows], by_row[rows], 10.0)
            for rows, turns in truth.paths.values()
            if turns <= 1
        ]
        length, prize = np.concatenate(windows, axis=1) if windows else np.empty((2, 0))
        if not len(length):
            continue
        total, share = by_row.sum(), length / lengths.sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = prize * np.log(prize / (total * share))
            ratio += np.where(prize < total, (total - prize) * np.log((1 - prize / total) / (1 - share)), 0.0)
        best = {
            "excess": (prize - PRICE * length).max(),
            "density": (prize / length).max(),
            "total": prize.max(),
            "llr": np.where(prize > total * share, ratio, 0.0).max(),
        }
        for objective in ("excess", "density", "total", "llr"):
            search = PathSearch(blocks, PathFamily(SHORTEST, LONGEST, 1, anywhere=True), n_threads=1)
            kind, worth = worth_of(objective, blocks, prizes, price=PRICE)
            found = search.best_apart(kind, worth, k=1, separation=0)
            if not found.paths:
                assert best[objective] <= 1e-9
                continue
            [path] = found.paths
            assert path.value >= best[objective] - 1e-9, (seed, objective)
            assert SHORTEST - 1e-3 <= path.length_m <= LONGEST + 1e-3
            assert path.line(blocks).length == pytest.approx(path.length_m)
            own = np.array([path.total(prizes), total - path.total(prizes)])
            assert value_of(objective, [0], path.length_m, own, None, lengths) == pytest.approx(path.value)
            n_inside += path.last_share < 1
    assert n_inside > 30


def windows_along(lengths, prizes, step):
    """Return length and prize of every window of a chain with ends at multiples of a step from its beginning."""
    stops = np.concatenate([[0.0], np.cumsum(lengths)])
    sums = np.concatenate([[0.0], np.cumsum(prizes)])
    ends = np.unique(np.concatenate([np.arange(0.0, stops[-1], step), stops]))
    reached = np.interp(ends, stops, sums)
    begin, end = np.triu_indices(len(ends), 1)
    length = ends[end] - ends[begin]
    fits = (length >= SHORTEST) & (length <= LONGEST)
    return np.stack([length[fits], (reached[end] - reached[begin])[fits]])


def test_search_depends_on_neither_order_nor_direction_nor_splitting_nor_threads():
    """Shuffled rows, reversed lines, segments cut in two and more threads change neither paths nor values."""
    for seed in range(40):
        streets = random_streets(1000 + seed)
        random = np.random.default_rng(seed)
        changed = streets.assign(prize=random.gamma(1.0, 1.0, len(streets)))
        plain = changed.copy()
        halves = []
        for part in (0.0, 0.5):
            half = changed.copy()
            half.geometry = [
                shapely.ops.substring(line, part, part + 0.5, normalized=True) for line in streets.geometry
            ]
            halves.append(half.assign(prize=changed["prize"] / 2))
        cut = random.random(len(streets)) < 0.4
        changed = gpd.pd.concat([changed[~cut], halves[0][cut], halves[1][cut]])
        changed = changed.sample(frac=1.0, random_state=seed).reset_index(drop=True)
        changed.geometry = [line if random.random() < 0.5 else line.reverse() for line in changed.geometry]
        values = []
        for frame, n_threads in ((plain, 1), (changed, 3)):
            network = StreetNetwork.from_layer(frame, snap_m=0, merge_divided=False)
            blocks = StreetBlocks.of_network(network)
            prizes = blocks.sum(frame["prize"].to_numpy()[network.segments["source"]])
            search = PathSearch(blocks, PathFamily(SHORTEST, LONGEST, 1), n_threads=n_threads)
            found = search.best_apart(*worth_of("excess", blocks, prizes, price=PRICE), k=3, separation=50.0)
            values.append([(path.value, path.length_m) for path in found.paths])
            values[-1].append((found.n_looked_at, blocks.n_blocks))
        assert np.allclose(values[0], values[1], rtol=1e-9), seed


def comb(n_blocks, length=100.0):
    """Return one straight street of equal blocks with a side street at every corner."""
    main = [shapely.LineString([(i * length, 0), ((i + 1) * length, 0)]) for i in range(n_blocks)]
    side = [shapely.LineString([(i * length, 0), (i * length, 40)]) for i in range(1, n_blocks)]
    names = ["Main"] * len(main) + [f"{i} St" for i in range(1, n_blocks)]
    return gpd.GeoDataFrame({"name": names}, geometry=[*main, *side], crs=32615)


def test_bounds_of_length_are_included():
    """Five blocks of 100 m are within 'at most 500 m' and within 'at least 500 m', wherever they lie."""
    for shift in (0.0, 0.1, 354_321.7):
        streets = comb(12)
        streets.geometry = streets.translate(shift, shift)
        blocks = StreetBlocks.of_network(StreetNetwork.from_layer(streets))
        search = PathSearch(blocks, PathFamily(500, 500))
        lengths = [path.length_m for path in search.all(*worth_of("total", blocks, blocks.length_m))]
        assert len(lengths) == 8
        assert np.allclose(lengths, 500)


def test_of_equal_paths_the_shorter_wins():
    """A block that is worth exactly its price is not added."""
    blocks = StreetBlocks.of_network(StreetNetwork.from_layer(comb(6)))
    main = blocks.street == list(blocks.names).index("Main")
    prizes = np.where(main, 1.0, 0.0)
    prizes[np.flatnonzero(main)[2:4]] = 5.0
    search = PathSearch(blocks, PathFamily(100, 600))
    found = search.best_apart(*worth_of("excess", blocks, prizes, price=0.01), k=1, separation=0)
    assert found.paths[0].length_m == pytest.approx(200)
    assert found.paths[0].value == pytest.approx(8)
    assert found.runner_ups == (None,)  # what is left is worth its price and no more


def test_a_street_may_bend_under_its_name_but_not_turn_into_another():
    """A right angle within one name is no turn; the same angle between two names, or where the name forks, is one."""

    def n_paths(names, turns):
        wkt = [
            "LINESTRING (0 0, 100 0)", "LINESTRING (100 0, 100 100)", "LINESTRING (100 0, 100 -100)",
        ]  # fmt: skip
        lines = gpd.GeoDataFrame({"name": names}, geometry=shapely.from_wkt(wkt), crs=32615)
        blocks = StreetBlocks.of_network(StreetNetwork.from_layer(lines))
        search = PathSearch(blocks, PathFamily(150, 250, turns))
        return len(list(search.all(*worth_of("total", blocks, np.ones(3)))))

    assert n_paths(["Main", "Main", "Side"], 0) == 2  # round the bend, and straight into the side street
    assert n_paths(["Main", "Side", "Side"], 0) == 1
    assert n_paths(["Main", "Main", "Main"], 0) == 1  # straight on from north to south
    assert n_paths([None, None, None], 0) == 1
    assert n_paths(["Main", "Main", "Main"], 1) == 3


def test_with_too_many_paths_a_start_is_given_up_and_counted(monkeypatch):
    """A search that looks at ten paths from a corner finds less of a lattice, and says from how many corners."""
    streets = [
        shapely.LineString([(a * 100, b * 100), ((a + right) * 100, (b + 1 - right) * 100)])
        for a in range(8)
        for b in range(8)
        for right in (0, 1)
    ]
    network = StreetNetwork.from_layer(gpd.GeoDataFrame(geometry=streets, crs=32615))
    blocks = StreetBlocks.of_network(network)
    search = PathSearch(blocks, PathFamily(200, 700, 2))
    goal = worth_of("total", blocks, np.ones(blocks.n_blocks))
    assert search.best_apart(*goal, k=1, separation=0).n_given_up == 0
    monkeypatch.setattr("rtmkc.places.corridors.choice.paths.MOST_VISITS", 10)
    assert search.best_apart(*goal, k=1, separation=0).n_given_up > 10


@pytest.fixture(scope="module")
def geodanet():
    """Streets of libpysal's geodanet in metres, each line a block whatever meets it, and the crimes of each."""
    streets = gpd.read_file(libpysal.examples.get_path("streets.shp"))
    crimes = gpd.read_file(libpysal.examples.get_path("crimes.shp"))
    distance = np.array([streets.distance(crime).to_numpy() for crime in crimes.geometry])
    count = np.bincount(distance.argmin(axis=1), minlength=len(streets)).astype(float)
    lines = shapely.transform(streets.geometry.to_numpy(), lambda feet: feet * 0.3048)
    _, number = number_places(np.vstack(end_points(lines)))
    tail, head = np.split(number, 2)
    lines[tail > head] = shapely.reverse(lines[tail > head])
    nameless = np.full(len(lines), -1)
    blocks = StreetBlocks(
        nameless, np.array([], dtype=object), np.minimum(tail, head), np.maximum(tail, head),
        shapely.length(lines), lines, np.arange(len(lines)),
    )  # fmt: skip
    assert (len(lines), number.max() + 1, count.sum()) == (293, 220, 287)
    assert blocks.length_m.sum() == pytest.approx(31_825.4, abs=0.05)
    return blocks, count


def best_of_geodanet(geodanet, objective, turns, longest=1500.0, k=1, price=0.0):
    blocks, count = geodanet
    search = PathSearch(blocks, PathFamily(500, longest, turns), bearing_m=np.inf)
    found = search.best_apart(*worth_of(objective, blocks, count, price=price), k=k, separation=0)
    return [(path.value, path.length_m, path.total(count), path.blocks) for path in found.paths]


@pytest.mark.parametrize("longest", [1500.0, 2500.0])
def test_log_likelihood_ratios_of_geodanet(geodanet, longest):
    """The three best stretches without a turn are the published ones: 53.848, 29.902 and 15.112."""
    first, second, third = best_of_geodanet(geodanet, "llr", 0, longest, k=3)
    assert first[:3] == (pytest.approx(53.848, abs=5e-4), pytest.approx(605.1, abs=0.05), 43)
    assert second[:3] == (pytest.approx(29.902, abs=5e-4), pytest.approx(1279.5, abs=0.05), 45)
    assert third[:3] == (pytest.approx(15.112, abs=5e-4), pytest.approx(1159.5, abs=0.05), 32)
    assert sorted(first[3]) == [215, 271, 272, 273, 274]


def test_other_objectives_of_geodanet(geodanet):
    """With a turn 59.949; by density 37 crimes on 508.7 m, in total 49 on 1,171.8 m, in excess 34.785 on 934.0 m."""
    blocks, count = geodanet
    [turned] = best_of_geodanet(geodanet, "llr", 1)
    assert turned[:3] == (pytest.approx(59.949, abs=5e-4), pytest.approx(683.8, abs=0.05), 48)
    [dense] = best_of_geodanet(geodanet, "density", 0)
    assert dense[1:3] == (pytest.approx(508.7, abs=0.05), 37)
    [most] = best_of_geodanet(geodanet, "total", 0)
    assert most[:3] == (49, pytest.approx(1171.8, abs=0.05), 49)
    price = reference_price(count, blocks.length_m)
    assert price == pytest.approx(0.0141489, abs=5e-8)
    [excess] = best_of_geodanet(geodanet, "excess", 0, price=price)
    assert excess[:3] == (pytest.approx(34.785, abs=5e-4), pytest.approx(934.0, abs=0.05), 48)
    # the price by its definition: a lower rate reaches less than .8 of the length
    rate = count / blocks.length_m
    total = blocks.length_m.sum()
    assert blocks.length_m[rate <= price].sum() / total >= 0.8 > blocks.length_m[rate < price].sum() / total


def test_scan_of_geodanet(geodanet):
    """Of 199 cities with as many crimes spread evenly, none has a stretch like the three best: p = .005 each; the
    largest ratios by chance have a median near 3.3 and a 95th percentile near 5.8.
    """
    blocks, _ = geodanet
    search = PathSearch(blocks, PathFamily(500, 1500, 0), bearing_m=np.inf)
    share = blocks.length_m / blocks.length_m.sum()
    random = np.random.default_rng(0)
    maxima = np.array(
        [
            best_likelihood_ratio(search, random.multinomial(287, share).astype(float), 287 * share)
            for _ in range(199)
        ]
    )
    assert (maxima < 15.112).all()
    assert np.median(maxima) == pytest.approx(3.3, abs=0.3)
    assert np.quantile(maxima, 0.95) == pytest.approx(5.8, abs=0.9)
