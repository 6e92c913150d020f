"""Divided roads become one street, what only looks like one does not, and nothing else changes."""

from itertools import pairwise

import geopandas as gpd
import networkx as nx
import numpy as np
import pandas as pd
import pytest
import shapely
from shapely import affinity
from shapely.ops import substring

from rtmkc.places.corridors.allocate import allocate
from rtmkc.places.corridors.choice.paths import PathFamily, PathSearch, worth_of
from rtmkc.places.corridors.network.blocks import StreetBlocks
from rtmkc.places.corridors.network.divided import merge_divided
from rtmkc.places.corridors.network.noding import end_points, first_of_repeats, node_lines, number_places
from rtmkc.places.corridors.network.streets import StreetNetwork
from rtmkc.raster.area import StudyArea
from rtmkc.raster.grid import Grid


def network_of(rows, **options):
    """Network of (name, "x y, x y, ...") or (name, LineString)."""
    lines = [shapely.from_wkt(f"LINESTRING ({line})") if isinstance(line, str) else line for _, line in rows]
    frame = gpd.GeoDataFrame({"name": [name for name, _ in rows]}, geometry=lines, crs=32615)
    return StreetNetwork.from_layer(frame, **options)


def drawn(network):
    """Names and lines, in no order and no direction."""
    return sorted(
        ("" if pd.isna(name) else name, shapely.to_wkt(shapely.normalize(line), rounding_precision=3))
        for name, line in zip(network.segments["name"], network.segments.geometry, strict=True)
    )


def drawn_rows(rows):
    return sorted(
        (
            name,
            shapely.to_wkt(shapely.normalize(shapely.from_wkt(f"LINESTRING ({line})")), rounding_precision=3),
        )
        for name, line in rows
    )


def graph_of(network, name=None):
    graph = nx.MultiGraph()
    segments = network.segments if name is None else network.segments[network.segments["name"] == name]
    graph.add_edges_from(segments[["from_node", "to_node"]].itertuples(index=False))
    return graph


BOULEVARD = [
    ("Blvd", "0 0, 200 0, 600 0"),
    ("Blvd", "600 20, 200 20, 0 20"),
    ("Elm", "200 -100, 200 0, 200 20, 200 120"),  # crosses both sides
    ("North", "300 20, 300 100"),  # meets the northern side only
    ("South", "400 0, 400 -100"),
]


def test_a_boulevard_drawn_by_hand():
    """The southern side stays, split at every corner of either side; streets of the other now meet it."""
    network = network_of(BOULEVARD)
    assert drawn(network) == drawn_rows(
        [
            ("Blvd", "0 0, 200 0"), ("Blvd", "200 0, 300 0"), ("Blvd", "300 0, 400 0"), ("Blvd", "400 0, 600 0"),
            ("Elm", "200 -100, 200 0"), ("Elm", "200 0, 200 20, 200 120"),
            ("North", "300 0, 300 20, 300 100"), ("South", "400 0, 400 -100"),
        ]
    )  # fmt: skip
    assert (
        "0.6 km of carriageway were merged with the other side of their divided road (Blvd 0.6 km)."
        in network.notes
    )
    blocks = StreetBlocks.of_network(network)
    boulevard = blocks.street == list(blocks.names).index("Blvd")
    assert sorted(blocks.length_m[boulevard]) == [100, 100, 200, 200]
    assert nx.is_isomorphic(nx.Graph(graph_of(network, "Blvd")), nx.path_graph(5))
    apart = network_of(BOULEVARD, merge_divided=False)
    assert apart.segments.loc[apart.segments["name"] == "Blvd", "length_m"].sum() == pytest.approx(1200)


def test_the_western_side_of_a_north_south_road_stays():
    """Turned by a right angle, the boulevard keeps its western side."""
    turned = [
        (name, affinity.rotate(shapely.from_wkt(f"LINESTRING ({line})"), -90, origin=(0, 0)))
        for name, line in BOULEVARD
    ]
    kept = network_of(turned).segments.query("name == 'Blvd'").geometry
    assert kept.total_bounds == pytest.approx([0, -600, 0, 0], abs=1e-9)
    turned = [
        (name, affinity.rotate(shapely.from_wkt(f"LINESTRING ({line})"), 90, origin=(0, 0)))
        for name, line in BOULEVARD
    ]
    kept = network_of(turned).segments.query("name == 'Blvd'").geometry
    assert kept.total_bounds == pytest.approx([-20, 0, -20, 600], abs=1e-9)


def test_a_skewed_cross_street_stays_one_corner():
    """A street that crosses the median aslant, in two pieces even, meets the merged road once."""
    network = network_of(
        [
            ("Blvd", "0 0, 200 0, 600 0"), ("Blvd", "0 20, 212 20, 600 20"),
            ("Elm", "190 -100, 200 0, 206 10"), ("Elm", "206 10, 212 20, 222 120"),
        ]
    )  # fmt: skip
    assert drawn(network) == drawn_rows(
        [
            ("Blvd", "0 0, 200 0"),
            ("Blvd", "200 0, 600 0"),
            ("Elm", "190 -100, 200 0"),
            ("Elm", "200 0, 212 20, 222 120"),
        ]
    )


def test_a_road_divided_for_a_while_is_one_chain_from_end_to_end():
    """Where the carriageways part and meet again one of them goes on; the single road at both ends joins it."""
    network = network_of(
        [
            ("Oak", "-200 10, 0 10"), ("Oak", "0 10, 40 0, 300 0, 600 0, 640 10"),
            ("Oak", "0 10, 40 20, 300 20, 600 20, 640 10"), ("Oak", "640 10, 900 10"),
            ("Elm", "300 -80, 300 0, 300 20, 300 99"),
        ]
    )  # fmt: skip
    assert nx.is_isomorphic(nx.Graph(graph_of(network, "Oak")), nx.path_graph(5))
    assert network.segments.query("name == 'Oak'")["length_m"].sum() == pytest.approx(
        200 + 642.46 + 260, abs=0.01
    )


def test_carriageways_that_drift_apart_stay_two_while_they_are_apart():
    """Only where they are within 40 m is one laid onto the other; between, both stay, and stay joined."""
    network = network_of(
        [
            ("Oak", "0 0, 1200 0"), ("Oak", "0 20, 300 20, 500 120, 700 120, 900 20, 1200 20"),
            ("Elm", "100 0, 100 20, 100 90"), ("Ash", "600 120, 600 190"),
        ]
    )  # fmt: skip
    oak = network.segments.query("name == 'Oak'")
    across = shapely.LineString([(600, -500), (600, 500)])
    assert oak.geometry.intersects(across).sum() == 3  # one below; two above, which meet at Ash
    for easting in (50, 250, 1000):
        across = shapely.LineString([(easting, -500), (easting, 500)])
        assert oak.geometry.intersects(across).sum() == 1
    assert nx.is_connected(graph_of(network))
    assert len(nx.cycle_basis(nx.Graph(graph_of(network, "Oak")))) == 1
    # both part at 40 m: 20 m of the slope of 1 in 2 beyond the first 20
    for easting in (340, 860):
        assert np.hypot(network.node_eastings - easting, network.node_northings).min() < 5


def test_two_divided_roads_that_cross_have_one_corner():
    """Four corners where two divided roads cross become one, with one street each way."""
    network = network_of(
        [
            ("A", "0 0, 300 0, 320 0, 600 0"), ("A", "0 20, 300 20, 320 20, 600 20"),
            ("B", "300 -300, 300 0, 300 20, 300 300"), ("B", "320 -300, 320 0, 320 20, 320 300"),
        ]
    )  # fmt: skip
    assert drawn(network) == drawn_rows(
        [
            ("A", "0 0, 300 0"),
            ("A", "300 0, 320 0, 600 0"),
            ("B", "300 -300, 300 0"),
            ("B", "300 0, 300 20, 300 300"),
        ]
    )


def test_a_loop_round_a_park_is_a_divided_road_if_streets_cross_the_park():
    """A narrow ring that other streets cross is two sides of a road; without a crossing it is a loop."""
    ring = [
        ("Oak", "-200 15, 0 15"), ("Oak", "0 15, 0 0, 200 0, 400 0, 400 15"), ("Oak", "400 15, 600 15"),
        ("Oak", "0 15, 0 30, 200 30, 400 30, 400 15"),
    ]  # fmt: skip
    crossed = network_of([*ring, ("Elm", "200 -50, 200 0, 200 30, 200 80")])
    oak = crossed.segments.query("name == 'Oak'")
    assert nx.is_isomorphic(nx.Graph(graph_of(crossed, "Oak")), nx.path_graph(5))
    assert oak["length_m"].sum() == pytest.approx(200 + 430 + 200, rel=0.02)
    assert crossed.degrees[crossed.node_eastings == 200].tolist() == [1, 4, 1]
    assert drawn(network_of(ring)) == drawn(network_of(ring, merge_divided=False))


def circle(radius, ends=25):
    return ", ".join(
        f"{radius * np.cos(angle):.3f} {radius * np.sin(angle):.3f}"
        for angle in np.linspace(0, 2 * np.pi, ends)
    )


NOT_DIVIDED = {
    "crescent": [
        ("Cres", "0 0, 100 0"), ("Cres", "100 0, 200 0, 200 30, 0 30"), ("Main", "0 -50, 0 0, 0 30, 0 90"),
        ("Elm", "200 0, 300 0"),
    ],
    "long narrow crescent in pieces": [
        ("Cres", "0 0, 300 0"), ("Cres", "300 0, 600 0"), ("Cres", "600 0, 600 12"), ("Cres", "600 12, 0 12"),
        ("Main", "0 -50, 0 0, 0 12, 0 90"), ("Elm", "300 0, 300 -80"),
    ],
    "crescent with a spur at its turn": [
        ("Cres", "0 0, 200 0, 300 0"), ("Cres", "200 0, 200 30"), ("Cres", "200 30, 0 30"),
        ("Main", "0 -50, 0 0, 0 30, 0 90"),
    ],
    "cul-de-sac with an island": [
        ("Ct", "0 0, 100 0"), ("Ct", "100 0, 120 -17, 250 -17"), ("Ct", "250 -17, 250 17, 120 17, 100 0"),
    ],
    "roundabout": [
        ("Oak", "-200 0, -18 0"), ("Oak", "18 0, 200 0"), ("Oak", circle(18)), ("Elm", "0 18, 0 200"),
        ("Elm", "0 -18, 0 -200"),
    ],
    "comb": [("Ln", "0 0, 40 0, 70 0, 120 0"), ("Ln", "40 0, 40 150"), ("Ln", "70 0, 70 150")],
    "ladder": [
        ("Ln", "0 0, 40 0, 70 0, 120 0"), ("Ln", "0 150, 40 150, 70 150, 120 150"), ("Ln", "40 0, 40 150"),
        ("Ln", "70 0, 70 150"),
    ],
    "frontage road": [("I", "0 0, 400 0"), ("Frontage", "0 20, 400 20"), ("Elm", "200 20, 200 90")],
    "too far apart": [("Oak", "0 0, 400 0"), ("Oak", "0 40.1, 400 40.1"), ("Oak", "0 0, 0 40.1")],
    "too short": [("Oak", "0 0, 79 0"), ("Oak", "0 20, 79 20")],
    "across each other": [("Oak", "0 0, 400 0"), ("Oak", "20 -200, 20 200")],
    "one after the other": [("Oak", "0 0, 400 0"), ("Oak", "430 10, 900 10")],
    "fork": [("Oak", "0 0, 300 0"), ("Oak", "300 0, 600 90"), ("Oak", "300 0, 600 -90")],
    "nameless": [(None, "0 0, 400 0"), (None, "0 20, 400 20"), ("Elm", "0 0, 0 -90")],
}  # fmt: skip


@pytest.mark.parametrize("shape", NOT_DIVIDED)
def test_what_is_no_divided_road_stays(shape):
    """Crescents, loops, roundabouts, branches, other names and distant or short pairs are left as drawn."""
    merged = network_of(NOT_DIVIDED[shape])
    assert drawn(merged) == drawn(network_of(NOT_DIVIDED[shape], merge_divided=False))
    assert not any("carriageway" in note for note in merged.notes)


def test_carriageways_exactly_40_metres_apart_are_merged():
    """The bound is included, and three carriageways become one."""
    assert len(network_of([("Oak", "0 0, 400 0"), ("Oak", "0 40, 400 40")]).segments) == 1
    assert (
        len(network_of([("Oak", "0 0, 400 0"), ("Oak", "0 20, 400 20"), ("Oak", "0 38, 400 38")]).segments)
        == 1
    )


def test_a_gap_in_the_side_that_stays_is_bridged():
    """Where the side that stays is interrupted, the other one keeps the road together."""
    network = network_of([("Oak", "0 0, 200 0"), ("Oak", "230 0, 500 0"), ("Oak", "0 20, 500 20")])
    assert nx.is_isomorphic(nx.Graph(graph_of(network)), nx.path_graph(4))
    assert network.segments["length_m"].sum() == pytest.approx(500)


def with_vertices(line, points):
    """The line with a vertex at each of these points on it."""
    at = np.array([line.project(point) for point in points])
    chainage = np.array([line.project(shapely.Point(vertex)) for vertex in line.coords])
    coordinates = np.vstack(
        [shapely.get_coordinates(line), *(shapely.get_coordinates(point) for point in points)]
    )
    return shapely.LineString(coordinates[np.argsort(np.concatenate([chainage, at]), kind="stable")])


def random_boulevard(seed):
    """A winding divided road, streets that cross both sides or meet one, turned; and both sides' lengths."""
    random = np.random.default_rng(seed)
    width = random.uniform(9, 36)
    east = np.arange(0, 1501, 10.0)
    north = random.uniform(0, 100) * np.sin(east / random.uniform(250, 600) + random.uniform(0, 6))
    centre = shapely.LineString(np.column_stack([east, north]))
    sides = [centre.offset_curve(width / 2), centre.offset_curve(-width / 2)]
    met, rows = [[], []], []
    for number, at in enumerate(100.0 * np.sort(random.choice(np.arange(1, 15), 6, replace=False))):
        skewed = (at + random.uniform(-8, 8), at)
        upper, lower = (
            side.interpolate(side.project(centre.interpolate(s)))
            for side, s in zip(sides, skewed, strict=True)
        )
        above, below = shapely.Point(upper.x + 15, upper.y + 90), shapely.Point(lower.x - 15, lower.y - 90)
        kind = random.choice(["both", "upper", "lower"])
        points = {"both": [below, lower, upper, above], "upper": [upper, above], "lower": [below, lower]}[
            kind
        ]
        rows.append((f"Street {number}", shapely.LineString(points)))
        met[0] += [upper] if kind != "lower" else []
        met[1] += [lower] if kind != "upper" else []
    rows += [("Blvd", with_vertices(side, points)) for side, points in zip(sides, met, strict=True)]
    quarter = seed % 4  # of a turn; the upper side becomes the western, the southern, then the eastern one
    rows = [(name, affinity.rotate(line, 90 * quarter, origin=(0, 0))) for name, line in rows]
    return rows, sides[0 if quarter in (1, 2) else 1].length, width


@pytest.mark.parametrize("seed", range(24))
def test_random_boulevards(seed):
    """One chain with one corner a street is left, as long as the side that stays; nothing comes apart."""
    rows, length, width = random_boulevard(seed)
    network = network_of(rows)
    boulevard = network.segments.query("name == 'Blvd'")
    assert boulevard["length_m"].sum() == pytest.approx(length, rel=1e-6)
    assert nx.is_isomorphic(nx.Graph(graph_of(network, "Blvd")), nx.path_graph(8))
    assert nx.is_connected(graph_of(network))
    assert nx.number_of_selfloops(graph_of(network)) == 0
    on_boulevard = set(boulevard["from_node"]) | set(boulevard["to_node"])
    for name, line in rows[:6]:
        street = network.segments[network.segments["name"] == name]
        assert len((set(street["from_node"]) | set(street["to_node"])) & on_boulevard) == 1
        assert street["length_m"].sum() == pytest.approx(line.length, abs=width + 10)


def corner_to_corner(network):
    """Every block by name, ends and length, to the centimetre: what does not depend on the rows."""
    blocks = StreetBlocks.of_network(network)
    ends = np.column_stack(
        [
            network.node_eastings[blocks.tail], network.node_northings[blocks.tail],
            network.node_eastings[blocks.head], network.node_northings[blocks.head], blocks.length_m,
        ]
    )  # fmt: skip
    names = [blocks.names[street] for street in blocks.street]
    return sorted((name, *np.round(row, 2)) for name, row in zip(names, ends.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(12))
def test_rows_may_come_in_any_order_direction_and_pieces(seed):
    """Shuffled, turned round and cut at random places, the same streets make the same network."""
    rows, _, _ = random_boulevard(100 + seed)
    expected = corner_to_corner(network_of(rows))
    random = np.random.default_rng(seed)
    pieces = []
    for name, line in rows:
        cuts = [0, *np.sort(random.uniform(10, line.length - 10, 3 if name == "Blvd" else 1)), line.length]
        pieces += [(name, substring(line, *part)) for part in pairwise(cuts)]
    for _ in range(2):
        turned = [(name, line.reverse() if random.random() < 0.5 else line) for name, line in pieces]
        random.shuffle(turned)
        assert corner_to_corner(network_of(turned)) == expected


def test_a_stretch_of_a_divided_road_gets_the_risk_of_both_sides():
    """The best stretch without a turn is worth what both of its sides are worth apart, and all that is near."""
    rows = [("Blvd", "0 500, 500 500, 1000 500, 1500 500"), ("Blvd", "0 520, 500 520, 1000 520, 1500 520")]
    rows += [(f"Street {at}", f"{at} 400, {at} 500, {at} 520, {at} 620") for at in (500, 1000)]
    grid = Grid.cover(StudyArea.from_geometry(shapely.box(0, 0, 1500, 1000), crs=32615), cell_size=50)
    # risk only where nothing but the block between both streets is near
    risk = np.where((abs(grid.eastings - 750) < 90) & (abs(grid.northings - 510) < 110), 1.0, 0.0)
    best = {}
    for merged in (False, True):
        network = network_of(rows, merge_divided=merged)
        allocation = allocate(grid, network)
        assert allocation.residual(risk) == 0
        blocks = StreetBlocks.of_network(network)
        prizes = blocks.sum(allocation.to_segments(risk))
        found = PathSearch(blocks, PathFamily(400, 600, 0), n_threads=1).best_apart(
            *worth_of("total", blocks, prizes), k=2, separation=0
        )
        best[merged] = [path.value for path in found.paths if path.value > 0.1]
    assert len(best[False]) == 2
    assert min(best[False]) > 0.3 * risk.sum()
    assert best[True] == [pytest.approx(sum(best[False]))] == [pytest.approx(risk.sum())]


@pytest.mark.parametrize("seed", [*range(60), 2383, 6206])
def test_a_web_of_streets_with_few_names_does_not_fall_apart(seed):
    """However wild the streets, what hung together still does, nothing has no length, and no street is merged away."""
    random = np.random.default_rng(seed)
    size, spacing = random.integers(3, 9), random.uniform(12, 60)
    places = np.stack(np.mgrid[:size, :size], axis=-1) * spacing * random.uniform(1, 3, 2)
    places += random.normal(0, spacing * 0.15, (size, size, 2))
    lines, streets = [], []
    for i in range(size):
        for j in range(size - 1):
            for ends in (places[i, [j, j + 1]], places[[j, j + 1], i]):
                if random.random() < 0.8:
                    lines.append(ends)
                    streets.append(random.integers(-1, 3))
    for _ in range(random.integers(0, 5)):
        lines.append(places.reshape(-1, 2)[random.integers(0, size * size, random.integers(2, 5))])
        streets.append(random.integers(-1, 3))
    kept = [number for number, line in enumerate(lines) if shapely.LineString(line).length > 1]
    noded = node_lines(
        np.array([shapely.remove_repeated_points(shapely.LineString(lines[n])) for n in kept]), snap_m=0.5
    )
    street = np.array(streets)[kept][noded.origin]
    unique = first_of_repeats(noded.lines, np.full(len(street), None))
    before, street = noded.lines[unique], street[unique]
    merged = merge_divided(before, street, snap_m=0.5)
    assert nx.number_connected_components(web_of(merged.lines)) <= nx.number_connected_components(
        web_of(before)
    )
    assert shapely.length(merged.lines).min() > 0
    assert street[merged.origin].shape == merged.lines.shape
    of_street = np.bincount(street + 1, shapely.length(before), minlength=4)[1:]
    assert all(0 < metres < of_street[number] for number, metres in merged.merged_m.items())


def web_of(lines):
    _, node = number_places(np.vstack(end_points(lines)))
    graph = nx.Graph()
    graph.add_edges_from(node.reshape(2, -1).T.tolist())
    return graph
