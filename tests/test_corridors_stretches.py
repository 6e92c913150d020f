"""The search of stretches against brute force, and what it must not depend on."""

import itertools

import geopandas as gpd
import libpysal
import networkx as nx
import numpy as np
import pytest
import shapely

from rtmkc.places.corridors.streets import StreetNetwork
from rtmkc.places.corridors.stretches import StreetBlocks, best_stretches, reference_price, street_windows

N_NETWORKS = 320
SHORTEST, LONGEST, PRICE = 250.0, 900.0, 0.004


def random_streets(seed):
    """Return a small network with forks, cycles, parallel edges, dead ends, loops and unconnected parts."""
    random = np.random.default_rng(seed)
    n_nodes = int(random.integers(4, 10))
    nodes = random.uniform(0, 600, (n_nodes, 2))
    pairs = [(a, b) for a, b in itertools.combinations(range(n_nodes), 2) if random.random() < 0.38]
    pairs += [
        pairs[number] for number in random.integers(0, max(len(pairs), 1), 2) if pairs
    ]  # parallel edges
    pairs += [(a, a) for a in range(n_nodes) if random.random() < 0.1]  # loops
    pairs = pairs or [(0, 1)]
    lines = []
    for a, b in pairs:
        bend = (nodes[a] + nodes[b]) / 2 + random.uniform(-60, 60, 2)
        middle = [bend, bend + random.uniform(20, 60, 2)] if a == b else [bend]
        lines.append(shapely.LineString([nodes[a], *middle, nodes[b]]))
    names = random.choice(["Ash", "Birch", "Cedar", None], len(pairs), p=[0.45, 0.3, 0.15, 0.1])
    return gpd.GeoDataFrame({"name": names.astype(object)}, geometry=lines, crs=32615)


def pieces_of(streets, seed):
    """Return the blocks of the streets, random prizes, a third of them zero, and the rows of each block."""
    network = StreetNetwork.from_layer(streets, snap_m=0)
    blocks = StreetBlocks.of_network(network)
    random = np.random.default_rng(seed)
    by_row = random.gamma(1.0, 1.0, len(streets)) * (random.random(len(streets)) > 1 / 3)
    prizes = blocks.sum(by_row[network.segments["source"]])
    rows = [
        frozenset(network.segments["source"][blocks.block_of_segment == block])
        for block in range(blocks.n_blocks)
    ]
    return network, blocks, by_row, prizes, rows


def brute_force(streets, by_row, shortest, longest):
    """Return every simple path along one name from corner to corner: rows, length and prize."""
    ends = [shapely.get_coordinates(line)[[0, -1]].round(3) for line in streets.geometry]
    graph = nx.MultiGraph()
    for row, (begin, end) in enumerate(ends):
        graph.add_edge(tuple(begin), tuple(end), key=row, name=streets["name"].iloc[row])
    found = {}
    for name in streets["name"].dropna().unique():
        street = nx.MultiGraph()
        street.add_edges_from(
            (a, b, key) for a, b, key, data in graph.edges(keys=True, data=True) if data["name"] == name
        )
        corners = [
            node
            for node in street
            if graph.degree(node) != 2 or len({data["name"] for *_, data in graph.edges(node, data=True)}) > 1
        ]
        for begin, end in itertools.combinations(corners, 2):
            for path in nx.all_simple_edge_paths(street, begin, end):
                rows = frozenset(key for *_, key in path)
                length = streets.geometry.iloc[list(rows)].length.sum()
                if shortest <= length <= longest:
                    found[rows] = (length, by_row[list(rows)].sum())
    return found


@pytest.mark.parametrize("chunk", range(8))
def test_search_equals_brute_force(chunk):
    """On hundreds of small networks all stretches, the best one and the separated top k are brute force's."""
    n_stretches, n_taken = 0, 0
    for seed in range(chunk, N_NETWORKS, 8):
        streets = random_streets(seed)
        _, blocks, by_row, prizes, rows = pieces_of(streets, seed)
        truth = brute_force(streets, by_row, SHORTEST, LONGEST)
        windows = list(street_windows(blocks, prizes, shortest=SHORTEST, longest=LONGEST, price=PRICE))
        ours = {frozenset().union(*(rows[block] for block in window.blocks)): window for window in windows}
        assert len(ours) == len(windows), seed
        assert set(ours) == set(truth), seed
        for path, (length, prize) in truth.items():
            assert ours[path].length_m == pytest.approx(length, rel=1e-12)
            assert ours[path].prize == pytest.approx(prize, rel=1e-9, abs=1e-12)
        separation = float(np.random.default_rng(seed).choice([0.0, 40.0, 150.0]))
        search = best_stretches(
            blocks, prizes, k=4, shortest=SHORTEST, longest=LONGEST, separation=separation, price=PRICE
        )
        expected = naive_greedy(streets, truth, 4, separation)
        assert search.n_stretches == len(truth)
        assert [stretch.value for stretch in search.found] == pytest.approx(expected, rel=1e-9), seed
        n_stretches += len(truth)
        n_taken += len(expected)
    assert n_stretches > 300
    assert n_taken > 20


def naive_greedy(streets, truth, k, separation):
    """Return the values of the best path, then of the best far enough from it, by looking at all of them."""
    lines = {rows: shapely.union_all(streets.geometry.iloc[list(rows)].to_numpy()) for rows in truth}
    left = {rows: prize - PRICE * length for rows, (length, prize) in truth.items()}
    values = []
    while len(values) < k and left:
        best = max(left, key=left.__getitem__)
        if left[best] <= 1e-9:
            break
        values.append(left[best])
        far = lines[best].distance
        left = {
            rows: value
            for rows, value in left.items()
            if not rows & best and (separation == 0 or far(lines[rows]) >= separation)
        }
    return values


def test_search_depends_on_neither_order_nor_direction_nor_splitting():
    """Shuffled rows, reversed lines and segments cut in two change neither the stretches nor their values."""
    for seed in range(40):
        streets = random_streets(1000 + seed)
        random = np.random.default_rng(seed)
        by_row = random.gamma(1.0, 1.0, len(streets))
        changed = streets.assign(prize=by_row)
        halves = []
        for part in (0.0, 0.5):
            half = changed.copy()
            half.geometry = [
                shapely.ops.substring(line, part, part + 0.5, normalized=True) for line in streets.geometry
            ]
            halves.append(half.assign(prize=by_row / 2))
        cut = random.random(len(streets)) < 0.4
        changed = gpd.pd.concat([changed[~cut], halves[0][cut], halves[1][cut]])
        changed = changed.sample(frac=1.0, random_state=seed).reset_index(drop=True)
        changed.geometry = [line if random.random() < 0.5 else line.reverse() for line in changed.geometry]
        values = []
        for frame in (streets.assign(prize=by_row), changed):
            network = StreetNetwork.from_layer(frame, snap_m=0)
            blocks = StreetBlocks.of_network(network)
            prizes = blocks.sum(frame["prize"].to_numpy()[network.segments["source"]])
            search = best_stretches(
                blocks, prizes, k=3, shortest=SHORTEST, longest=LONGEST, separation=50.0, price=PRICE
            )
            values.append([(stretch.value, stretch.length_m) for stretch in search.found])
            values[-1].append((search.n_stretches, blocks.n_blocks))
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
        lengths = [
            window.length_m for window in street_windows(blocks, blocks.length_m, shortest=500, longest=500)
        ]
        assert len(lengths) == 8
        assert np.allclose(lengths, 500)


def test_of_equal_stretches_the_shorter_wins():
    """A block that is worth exactly its price is not added."""
    blocks = StreetBlocks.of_network(StreetNetwork.from_layer(comb(6)))
    main = blocks.street == list(blocks.names).index("Main")
    prizes = np.where(main, 1.0, 0.0)
    prizes[np.flatnonzero(main)[2:4]] = 5.0
    found = best_stretches(blocks, prizes, k=1, shortest=100, longest=600, separation=0, price=0.01).found
    assert found[0].length_m == pytest.approx(200)
    assert found[0].value == pytest.approx(8)


def test_a_name_that_covers_a_web_of_streets_is_left_out_and_said():
    """A lattice of one name has too many paths: it is named, and the other streets are still searched."""
    step = 30.0
    web = [
        shapely.LineString([(a * step, b * step), ((a + right) * step, (b + 1 - right) * step)])
        for a in range(9)
        for b in range(9)
        for right in (0, 1)
    ]
    other = comb(8)
    other.geometry = other.translate(0, -500)
    streets = gpd.pd.concat(
        [gpd.GeoDataFrame({"name": ["Private Drive"] * len(web)}, geometry=web, crs=32615), other],
        ignore_index=True,
    )
    blocks = StreetBlocks.of_network(StreetNetwork.from_layer(streets))
    search = best_stretches(blocks, blocks.length_m, k=1, shortest=300, longest=800, separation=0, price=0.5)
    assert search.too_many == ("Private Drive",)
    assert blocks.names[blocks.street[search.found[0].blocks[0]]] == "Main"
    assert search.found[0].length_m == pytest.approx(800)


def test_reference_price_of_geodanet():
    """The price of a metre on libpysal's geodanet streets is the published 0.0141489 crimes."""
    streets = gpd.read_file(libpysal.examples.get_path("streets.shp"))
    crimes = gpd.read_file(libpysal.examples.get_path("crimes.shp"))
    distance = np.array([streets.distance(crime).to_numpy() for crime in crimes.geometry])
    count = np.bincount(distance.argmin(axis=1), minlength=len(streets))
    metres = streets.length.to_numpy() * 0.3048
    assert (len(streets), count.sum()) == (293, 287)
    assert metres.sum() == pytest.approx(31_825.4, abs=0.05)
    assert reference_price(count.astype(float), metres) == pytest.approx(0.0141489, abs=5e-8)
    # the definition: a lower rate reaches less than .8 of the length
    rate = count / metres
    assert metres[rate <= 0.0141489 + 1e-7].sum() / metres.sum() >= 0.8
    assert metres[rate < 0.0141489 - 1e-7].sum() / metres.sum() < 0.8
