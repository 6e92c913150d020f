"""Addresses with coordinates become streets of hundred blocks: order, gaps, odd coordinates, lengths and names."""

from itertools import combinations, pairwise

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from rtmkc import read_layer, streets_from_addresses
from rtmkc.errors import InputError
from rtmkc.places.corridors.network.address_streets import block_range, is_block_label, name_by_addresses
from rtmkc.places.corridors.network.hundred_blocks import HundredBlocks, _heaviest_sequence
from rtmkc.places.corridors.network.streets import StreetNetwork

EAST, NORTH = 363_000.0, 4_328_000.0


def layer_of(rows, crs=26915):
    """A layer of (address, easting, northing); metres from the middle of a city."""
    texts, eastings, northings = zip(*rows, strict=True)
    places = gpd.points_from_xy(EAST + np.array(eastings), NORTH + np.array(northings))
    return gpd.GeoDataFrame({"address": list(texts)}, geometry=places, crs=26915).to_crs(crs)


def avenue(name, numbers, *, easting=0.0, spacing=160.0):
    """One address a number, straight south along an avenue where a hundred numbers are `spacing` metres."""
    return [(f"{number} {name}", easting, -number / 100 * spacing) for number in numbers]


def blocks_of(lines):
    return list(zip(lines["name"], lines["from_block"], lines["to_block"], strict=True))


def test_a_street_drawn_by_hand():
    """Blocks in order whatever the order of rows; each line ends half way, and the ends go on by half a block."""
    lines = streets_from_addresses(layer_of(avenue("PROSPECT AV", [3700, 3500, 3900, 3600])))
    assert lines["from_block"].tolist() == ["3500 block", "3600 block", "3700 block", "3900 block"]
    assert lines["to_block"].tolist() == lines["from_block"].tolist()
    assert lines["name"].unique().tolist() == ["Prospect Avenue"]
    # 160 m a hundred; nobody lives in the 3800 block, so its neighbours share it
    assert lines.length.round(6).tolist() == [160, 160, 80 + 160, 160 + 80]
    tops = [NORTH - line.coords[0][1] for line in lines.geometry]
    assert tops == pytest.approx([35 * 160 - 80, 35 * 160 + 80, 36 * 160 + 80, 38 * 160])
    assert lines.crs == 26915
    assert lines.attrs["rows"] == {"read": 4, "used": 4}


def test_a_network_takes_the_lines():
    """The network has one segment a block, and neighbours of one street share a node; streets that cross do not."""
    rows = avenue("PROSPECT AV", range(3000, 4000, 100))
    rows += [(f"{number} E 35 ST", number - 2430.0, -35 * 160.0) for number in range(2050, 2900, 100)]
    lines = streets_from_addresses(layer_of(rows))
    network = StreetNetwork.from_layer(lines)
    assert network.n_segments == len(lines) == 10 + 9
    assert np.bincount(network.degrees).tolist() == [0, 4, 9 + 8]
    assert sorted(network.segments["name"].unique()) == ["E 35th Street", "Prospect Avenue"]
    assert network.segments["length_m"].sum() == pytest.approx(10 * 160 + 9 * 100)


def a_city(seed, n_rows=6000, n_odd=60):
    """Ten avenues and ten streets of 30 blocks, addresses scattered by 15 m; some coordinates kilometres off."""
    rng = np.random.default_rng(seed)
    is_avenue, street = rng.random(n_rows) < 0.5, rng.integers(0, 10, n_rows)
    number = rng.integers(100, 3100, n_rows)
    side = rng.normal(0, 15, n_rows)
    eastings = np.where(is_avenue, street * 300.0 + side, number * 1.3)
    northings = np.where(is_avenue, -number * 1.6, -street * 400.0 - side)
    odd = np.zeros(n_rows, dtype=bool)
    odd[rng.choice(n_rows, n_odd, replace=False)] = True
    turn, far = rng.uniform(0, 2 * np.pi, n_rows), rng.uniform(7000, 9000, n_rows)
    eastings, northings = eastings + odd * far * np.cos(turn), northings + odd * far * np.sin(turn)
    spelling = rng.integers(0, 3, n_rows)
    text = [
        f"{number} {'ABCDEFGHIJ'[street] * 3} {('AV', 'Ave', 'AVENUE')[how]}"
        if up
        else f"{number} E {street + 4}{('', 'TH', 'th')[how]} {('ST', 'St', 'STREET')[how]}"
        for number, street, up, how in zip(number, street, is_avenue, spelling, strict=True)
    ]
    return layer_of(zip(text, eastings, northings, strict=True)), odd


@pytest.mark.parametrize("seed", range(5))
def test_a_simulated_city_comes_back(seed):
    """Of 20 streets with known blocks every block is found in its place, and just the odd coordinates are left out."""
    layer, odd = a_city(seed)
    placed = HundredBlocks.of(layer)
    assert set(layer.index[odd]) == set(layer.index.difference(placed.addresses.index))
    assert len(placed.blocks) == 20 * 30
    assert placed.blocks["run"].nunique() == 20
    middle = placed.blocks["hundred_block"].to_numpy() + 50
    label = placed.streets["street"].to_numpy()[placed.blocks["street"]]
    is_avenue = np.array([name.endswith("Avenue") for name in label])
    along = np.where(
        is_avenue, (NORTH - placed.blocks["northing"]) / 1.6, (placed.blocks["easting"] - EAST) / 1.3
    )
    assert np.abs(along - middle).max() <= 50  # every block lies in its own hundred numbers
    assert abs((along - middle).mean()) < 2
    lines = streets_from_addresses(placed)
    length = lines.length.groupby(lines["name"]).sum()
    is_avenue = length.index.str.endswith("Avenue")
    assert length.to_numpy() == pytest.approx(np.where(is_avenue, 30 * 160, 30 * 130), rel=0.03)
    rows = lines.attrs["rows"]
    assert rows["read"] == len(layer) == sum(rows.values()) - rows["read"]


def test_the_heaviest_sequence_is_the_best_of_all():
    """No subset of blocks with plausible neighbours holds more addresses: compared with all subsets."""
    rng = np.random.default_rng(1)
    for _ in range(60):
        n_rows = int(rng.integers(1, 9))
        numbers = np.sort(rng.integers(0, 12, n_rows) * 100 + rng.integers(0, 100, n_rows)).astype(float)
        places = np.column_stack([rng.normal(0, 300, n_rows), numbers * 1.6 + rng.normal(0, 300, n_rows)])
        weights = rng.integers(1, 6, n_rows)

        def is_plausible(one, other, numbers=numbers, places=places):
            hundreds = (numbers[other] - numbers[one]) / 100
            apart = float(np.hypot(*(places[other] - places[one])))
            return numbers[one] // 100 < numbers[other] // 100 and apart <= 400 + 250 * max(hundreds - 1, 0)

        best = max(
            weights[list(rows)].sum()
            for size in range(1, n_rows + 1)
            for rows in combinations(range(n_rows), size)
            if all(is_plausible(*pair) for pair in pairwise(rows))
        )
        found = _heaviest_sequence(numbers, places, weights)
        assert all(is_plausible(*pair) for pair in pairwise(found))
        assert weights[found].sum() == best


def test_a_park_is_a_gap():
    """A street interrupted for 800 m is two runs of blocks, with no line over the park."""
    rows = avenue("OAK ST", [*range(100, 600, 100), *range(1000, 1500, 100)])
    lines = streets_from_addresses(layer_of(rows))
    assert len(lines) == 10
    assert shapely.line_merge(shapely.union_all(lines.geometry.to_numpy())).geom_type == "MultiLineString"
    assert lines.length.to_numpy() == pytest.approx(160)
    assert "Gaps of more than 400 m or 400 numbers along a street, left open: 1." in lines.attrs["notes"]


def test_numbers_far_apart_are_no_neighbours():
    """A street whose numbers jump at a corner (1311 and 3909 Manheim Road) is not one run, near as its parts are."""
    rows = [("1200 MANHEIM RD", -130, 0), ("1311 MANHEIM RD", 0, 0)]
    rows += [("3909 MANHEIM RD", 60, -100), ("4000 MANHEIM RD", 60, -260)]
    lines = streets_from_addresses(layer_of(rows))
    assert HundredBlocks.of(layer_of(rows)).blocks["run"].nunique() == 2
    assert len(shapely.line_merge(shapely.union_all(lines.geometry.to_numpy())).geoms) == 2


@pytest.mark.parametrize("back", ["W", ""])
def test_streets_meet_at_the_zero_point(back):
    """E and W 39th Street count away from Main Street: their first lines end at one place, half way."""
    rows = [(f"{number} E 39 ST", number * 1.2, 0) for number in range(50, 650, 100)]
    rows += [(f"{number} {back} 39 ST", -number * 1.2, 0) for number in range(50, 650, 100)]
    lines = streets_from_addresses(layer_of(rows))
    assert len(lines) == 12
    assert "Streets that go on across the zero point of their numbers: 1." in lines.attrs["notes"]
    zero = lines[lines["from_block"] == "00 block"]
    assert [line.coords[0] for line in zero.geometry] == [(EAST, NORTH), (EAST, NORTH)]
    network = StreetNetwork.from_layer(lines)
    assert np.bincount(network.degrees).tolist() == [0, 2, 11]


def test_two_streets_of_one_name_that_do_not_face_each_other_stay_apart():
    """E and W Oak Street that begin at one corner but run side by side are no street across a zero point."""
    rows = [(f"{number} E OAK ST", number * 1.2, 0) for number in range(50, 350, 100)]
    rows += [(f"{number} W OAK ST", number * 1.2, 90) for number in range(50, 350, 100)]
    lines = streets_from_addresses(layer_of(rows))
    assert not [note for note in lines.attrs["notes"] if "zero point" in note]


def test_a_missing_direction_or_type_is_found_by_place():
    """ "1600 TRUMAN RD" among the E 1600s is E Truman Road; the same number beside no block of it stays what it is."""
    rows = [(f"{number} E TRUMAN RD", number, 0) for number in range(1500, 2000, 100)]
    rows += [(f"{number} W TRUMAN RD", -number, 0) for number in range(1500, 2000, 100)]
    rows += [("1601 TRUMAN RD", 1600, 20), ("1703 E TRUMAN", 1700, 20)]
    placed = HundredBlocks.of(layer_of(rows))
    east = placed.addresses[placed.addresses["easting"] > EAST]
    assert set(placed.streets["street"].to_numpy()[east["street"]]) == {"E Truman Road"}
    assert len(east) == 7
    [note] = placed.notes
    assert note.startswith("Addresses without the direction or type")
    assert note.endswith(": 2.")
    far = HundredBlocks.of(layer_of([*rows[:-2], ("1601 TRUMAN RD", 1600, 900)]))
    assert "Truman Road" in set(far.streets["street"].to_numpy()[far.addresses["street"]])


def test_the_numbers_at_zero_prove_nothing():
    """100 and 00 N Elmwood are near 00 and 100 Elmwood, yet both streets stay: they count away from one another."""
    rows = [(f"{number} N ELMWOOD AV", 0, number * 1.2 + 10) for number in range(0, 600, 100)]
    rows += [(f"{number or '00'} ELMWOOD AV", 0, -number * 1.2 - 10) for number in range(0, 600, 100)]
    rows[0] = ("00 N ELMWOOD AV", 0, 10)
    lines = streets_from_addresses(layer_of(rows))
    assert lines.groupby("name").size().to_dict() == {"Elmwood Avenue": 6, "N Elmwood Avenue": 6}


def test_a_block_out_of_order_is_left_out():
    """A block whose one address lies behind its neighbours would fold the street; it goes, and is counted."""
    rows = avenue("OAK ST", [100, 101, 200, 201, 300, 301, 400, 401], spacing=130)
    rows += [("500 OAK ST", 0, -130 * 3.2), *avenue("OAK ST", [600, 601, 700], spacing=130)]
    lines = streets_from_addresses(layer_of(rows))
    assert "500 block" not in set(lines["from_block"])
    assert lines.attrs["rows"]["a hundred block out of order along its street"] == 1
    assert not lines.geometry.map(lambda line: line.coords[0][1] < line.coords[-1][1]).any()


def test_blocks_at_one_place_are_one_line():
    """Hundred blocks geocoded to one building share a line that names both."""
    rows = [*avenue("OAK ST", [100, 200, 300]), ("401 OAK ST", 5, -480), *avenue("OAK ST", [500])]
    lines = streets_from_addresses(layer_of(rows))
    assert blocks_of(lines)[2] == ("Oak Street", "300 block", "400 block")
    assert lines["n_addresses"].tolist() == [1, 1, 2, 1]


def test_two_sides_of_a_street_weigh_the_same():
    """A boulevard with nine houses on one side and one on the other runs between them, not along the houses."""
    rows = [(f"{number} PASEO", 35, -number * 1.6) for number in range(100, 120, 2)]
    rows += [("111 PASEO", -35, -111 * 1.6), *avenue("PASEO", [200])]
    block = HundredBlocks.of(layer_of(rows)).blocks.iloc[0]
    assert block["easting"] == pytest.approx(EAST)


def test_what_is_not_drawn_is_counted():
    """Intersections, interstates, areas, addresses of nothing, lone blocks: each row has its reason."""
    rows = [*avenue("OAK ST", [100, 200, 300]), ("E 18 ST and OAK ST", 0, 0), ("1000 I-70", 0, 0)]
    rows += [("99999", 0, 0), ("OAK ST", 0, 0), ("700 ELM ST", 0, 0)]
    layer = layer_of([*rows, ("400 OAK ST", 0, -640)])
    layer.loc[layer.index[-1], "geometry"] = layer.geometry.iloc[-1].buffer(5)
    lines = streets_from_addresses(layer)
    assert lines.attrs["rows"] == {
        "read": 9,
        "used": 4,
        "a street without a house number": 1,
        "an intersection, which lies on no one block": 1,
        "an interstate, which is no street to walk": 1,
        "not a point": 1,
        "withheld (99999)": 1,
    }
    assert lines["n_addresses"].sum() == 3
    assert "Blocks without a neighbour within 400 m, and so without a line: 1." in lines.attrs["notes"]


@pytest.mark.parametrize("shuffle", range(3))
def test_the_order_of_rows_does_not_matter(shuffle):
    """Shuffled rows give the same lines to the last bit."""
    layer, _ = a_city(7, n_rows=1500)
    rows = np.random.default_rng(shuffle).permutation(len(layer))
    expected, found = streets_from_addresses(layer), streets_from_addresses(layer.iloc[rows])
    pd.testing.assert_frame_equal(
        pd.DataFrame(expected.drop(columns="geometry")), pd.DataFrame(found.drop(columns="geometry"))
    )
    assert (expected.geometry.to_wkb() == found.geometry.to_wkb()).all()


def test_degrees_and_feet_come_to_the_same():
    """A layer in degrees works in the local UTM zone, one in feet where `crs` says; both give the same lines."""
    layer, _ = a_city(3, n_rows=1500)
    in_metres = streets_from_addresses(layer)
    for system in (4326, "ESRI:102698"):
        lines = streets_from_addresses(layer.to_crs(system), crs=26915)
        assert lines["from_block"].tolist() == in_metres["from_block"].tolist()
        apart = shapely.hausdorff_distance(lines.geometry.to_numpy(), in_metres.geometry.to_numpy())
        assert apart.max() < 0.01
    assert streets_from_addresses(layer.to_crs(4326)).crs == 32615


def test_a_file_and_its_column(tmp_path):
    """A CSV with a column of addresses is read as it is, the column found or named; a layer keeps its own ledger."""
    table = pd.DataFrame(layer_of(avenue("OAK ST", range(100, 600, 100)), crs=4326))
    table["lat"], table["lon"] = (
        [shape.y for shape in table["geometry"]],
        [shape.x for shape in table["geometry"]],
    )
    table = table.drop(columns="geometry").rename(columns={"address": "STREET ADDRESS"})
    path = tmp_path / "requests.csv"
    table.to_csv(path, index=False)
    by_itself = streets_from_addresses(path)
    assert len(by_itself) == 5
    table.rename(columns={"STREET ADDRESS": "where"}).to_csv(path, index=False)
    assert len(streets_from_addresses(path, address_column="where")) == 5
    layer = read_layer(path, provenance="environment")
    narrowed = layer.keep(np.arange(5) < 3, "far away")
    assert streets_from_addresses(narrowed, "where").attrs["rows"] == {"read": 5, "used": 3, "far away": 2}
    with pytest.raises(InputError, match="no column of addresses was found"):
        streets_from_addresses(path)
    with pytest.raises(InputError, match="'street'"):
        streets_from_addresses(path, address_column="street")


def test_nothing_to_draw_is_an_error():
    """No addresses in the column, no two neighbours, a system in degrees: a sentence each."""
    with pytest.raises(InputError, match="no row of column 'address' has a house number and a street"):
        streets_from_addresses(layer_of([("99999", 0, 0), ("OAK ST", 0, 0)]))
    with pytest.raises(InputError, match="no two neighbouring hundred blocks"):
        streets_from_addresses(layer_of(avenue("OAK ST", [100, 1500])))
    with pytest.raises(InputError, match="projected coordinate system in metres"):
        streets_from_addresses(layer_of(avenue("OAK ST", [100, 200])), crs=4326)


def test_a_seam_is_named_after_the_street_along_it():
    """The street with addresses all along wins over side streets with far more of them; far from all, no name."""
    rows = [(f"{number} INDEPENDENCE AV", number * 1.2 - 4080, 20) for number in range(3400, 4000, 50)]
    for side in range(6):
        rows += [
            (f"{number} {'ABCDEF'[side] * 3} AV", 60 + side * 120, 70 - number * 1.6)
            for number in range(0, 200, 2)
        ]
    seams = gpd.GeoSeries(
        shapely.from_wkt(
            [
                f"LINESTRING ({EAST} {NORTH}, {EAST + 700} {NORTH})",
                f"LINESTRING ({EAST} 4400000, {EAST + 9} 4400000)",
            ]
        ),
        crs=26915,
    )
    layer = layer_of(rows)
    assert name_by_addresses(seams, layer) == ["mostly 3400-3900 Independence Avenue", None]
    assert name_by_addresses(seams.to_crs(4326).to_frame("geometry"), HundredBlocks.of(layer)) == [
        "mostly 3400-3900 Independence Avenue",
        None,
    ]


def test_a_seam_around_a_corner_has_two_names():
    """Where no street has addresses along half of a seam, the two that have most are named, in its order."""
    rows = [(f"{number} E 12 ST", number, 0) for number in range(0, 300, 25) if number]
    rows += [(f"{number} OAK ST", 450, -number) for number in range(100, 500, 25)]
    rows += [(f"{number} E 18 ST", 400 + number, -500) for number in range(100, 500, 25)]
    seam = shapely.LineString([(0, 0), (450, 0), (450, -500), (900, -500)])
    line = gpd.GeoSeries([seam], crs=26915).translate(EAST, NORTH)
    [name] = name_by_addresses(line, layer_of(rows), within=20)
    assert name == "100-400 Oak Street and 100-400 E 18th Street"


def test_one_block_alone_is_called_by_its_number():
    """A seam along a single block says the block, not a range."""
    line = gpd.GeoSeries([shapely.LineString([(EAST, NORTH - 620), (EAST, NORTH - 500)])], crs=26915)
    assert name_by_addresses(line, layer_of(avenue("OAK ST", [320, 350, 380]))) == [
        "mostly the 300 block of Oak Street"
    ]
    with pytest.raises(InputError, match="no coordinate system"):
        name_by_addresses(gpd.GeoSeries(line.to_numpy()), layer_of(avenue("OAK ST", [320])))


def test_blocks_in_words():
    """A stretch between two blocks is said once where both are the same; street names are no blocks."""
    assert block_range("3500 block", "3900 block") == "3500 to 3900 block"
    assert block_range("00 block", "100 block") == "00 to 100 block"
    assert block_range("3500 block", "3500 block") == "3500 block"
    assert [is_block_label(text) for text in ("3500 block", "00 block", "Oak", "5 block")] == [
        True,
        True,
        False,
        False,
    ]
