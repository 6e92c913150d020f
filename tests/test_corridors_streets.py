"""Street layers of every kind become one network: noding, names, classes, and what is said about them."""

from itertools import combinations

import geopandas as gpd
import numpy as np
import pytest
import shapely

from rtmkc.errors import InputError
from rtmkc.places.corridors.network.blocks import StreetBlocks
from rtmkc.places.corridors.network.noding import count_crossings, node_lines
from rtmkc.places.corridors.network.streets import StreetNetwork
from rtmkc.raster.area import StudyArea
from rtmkc.raster.grid import Grid


def streets_of(lines, **columns):
    return gpd.GeoDataFrame(columns, geometry=shapely.from_wkt(lines), crs=32615)


def test_a_cross_drawn_by_hand():
    """Two streets cut at their crossing make four segments, five nodes numbered from west to east."""
    network = StreetNetwork.from_layer(
        streets_of(
            [
                "LINESTRING (0 0, 100 0)",
                "LINESTRING (100 0, 200 0)",
                "LINESTRING (100 -80, 100 0)",
                "LINESTRING (100 0, 100 70)",
            ],
            name=["Oak", "Oak", "Elm", "Elm"],
        )
    )
    assert np.column_stack([network.node_eastings, network.node_northings]).tolist() == [
        [0, 0], [100, -80], [100, 0], [100, 70], [200, 0],
    ]  # fmt: skip
    assert network.segments[["from_node", "to_node"]].to_numpy().tolist() == [[0, 2], [2, 4], [1, 2], [2, 3]]
    assert network.segments["length_m"].tolist() == [100, 100, 80, 70]
    assert network.degrees.tolist() == [1, 1, 4, 1, 1]
    assert network.cross_street(2, "Oak") == "Elm"
    assert network.cross_street(0, "Oak") == "near the end of Oak"
    assert network.notes == ()


def test_lines_are_split_where_they_meet_and_not_where_they_may_be_bridges():
    """A shared vertex and an end on a line split it; a crossing without a shared point stays, and is said."""
    network = StreetNetwork.from_layer(
        streets_of(
            [
                "LINESTRING (0 0, 50 0, 100 0)",  # shares its middle vertex with the next
                "LINESTRING (50 -60, 50 0, 50 60)",
                "LINESTRING (80 0.3, 80 90)",  # ends 0.3 m from the first, where that has no vertex
                "LINESTRING (20 -40, 20 40)",  # crosses the first without a shared point
            ],
            name=["Oak", "Elm", "Fir", "Bridge"],
        )
    )
    assert network.segments["source"].tolist() == [0, 0, 0, 1, 1, 2, 3]
    assert network.segments["length_m"].sum() == pytest.approx(100 + 120 + 89.7 + 80, abs=0.01)
    assert "2 lines were split where another street meets them." in network.notes
    assert any(note.startswith("1 pairs of lines cross without a shared point") for note in network.notes)


def test_ends_within_the_tolerance_are_one_node():
    """Ends 0.4 m apart meet, ends 0.6 m apart do not, and the lines then end at exactly the same place."""
    lines = streets_of(
        ["LINESTRING (0 0, 100 0)", "LINESTRING (100.4 0, 200 0)", "LINESTRING (200.6 0, 300 0)"]
    )
    network = StreetNetwork.from_layer(lines)
    assert len(network.node_eastings) == 5
    assert network.segments.geometry.iloc[1].coords[0] == (100.0, 0.0)
    assert "1 line ends were moved by up to 0.5 m to meet a neighbouring end." in network.notes
    assert len(StreetNetwork.from_layer(lines, snap_m=0).node_eastings) == 6
    assert len(StreetNetwork.from_layer(lines, snap_m=1).node_eastings) == 4


def test_loops_rings_and_lines_that_touch_themselves():
    """A ring keeps its length as a loop; a line whose end lies on itself becomes a stem and a loop."""
    noded = node_lines(
        shapely.from_wkt(
            [
                "LINESTRING (0 0, 40 0, 40 40, 0 40, 0 0)",
                "LINESTRING (100 0, 150 0, 150 50, 200 50, 200 0, 150 0)",
            ]
        ),
        snap_m=0.5,
    )
    assert noded.origin.tolist() == [0, 1, 1]
    assert shapely.length(noded.lines).tolist() == [160, 50, 200]


def test_multi_lines_heights_repeats_and_rubbish():
    """Multi-part lines are taken apart, heights dropped; repeats, points and empty lines are counted out."""
    streets = gpd.GeoDataFrame(
        {"name": ["Oak", "Oak", None, "Oak", "Elm", "Elm"]},
        geometry=[
            shapely.from_wkt("MULTILINESTRING Z ((0 0 5, 100 0 6), (100 0 6, 200 0 7))"),
            shapely.from_wkt("LINESTRING (100 0, 0 0)"),  # the first part, drawn backwards
            shapely.from_wkt("LINESTRING (200 0, 100 0)"),
            shapely.Point(3, 3),
            shapely.from_wkt("LINESTRING (100 0, 100 0)"),
            shapely.from_wkt("LINESTRING (100 0, 100 50)"),
        ],
        crs=32615,
    )
    network = StreetNetwork.from_layer(streets)
    assert network.segments["source"].tolist() == [0, 0, 5]
    assert not network.segments.geometry.has_z.any()
    assert network.segments["name"].tolist() == ["Oak", "Oak", "Elm"]
    assert "2 lines drawn twice were kept once." in network.notes
    assert any("not lines" in note for note in network.notes)
    assert any("without length" in note for note in network.notes)


@pytest.mark.parametrize(
    "column", ["name", "NAME", "ST_NAME", "FullName", "street", "Street Name", "RD_NAME"]
)
def test_the_name_column_is_found(column):
    """The usual spellings of a street name column are recognised."""
    lines = gpd.GeoDataFrame(
        {column: ["Oak"]}, geometry=shapely.from_wkt(["LINESTRING (0 0, 100 0)"]), crs=32615
    )
    assert StreetNetwork.from_layer(lines).segments["name"].tolist() == ["Oak"]


def test_names_are_cleaned_and_the_nameless_counted():
    """Case and spaces make no second street; empty and 'unnamed' are no names, and their share is said."""
    names = ["Main  St", "MAIN ST", "Main St ", "", "Unnamed Road", None, "<Null>", "Unity Ave"]
    lines = [f"LINESTRING ({100 * n} 0, {100 * n + 100} 0)" for n in range(len(names))]
    network = StreetNetwork.from_layer(streets_of(lines, name=names))
    assert network.segments["name"].dropna().tolist() == ["Main St"] * 3 + ["Unity Ave"]
    assert network.street_numbers.tolist() == [0, 0, 0, -1, -1, -1, -1, 1]
    assert any(
        note.startswith("4 of 8 segments (50% of the length) have no street name") for note in network.notes
    )


def test_road_classes_are_left_out():
    """Motorways and ramps are left out by default whatever their case, others on request; both are said."""
    lines = streets_of(
        ["LINESTRING (0 0, 100 0)", "LINESTRING (0 0, 0 100)", "LINESTRING (100 0, 100 90)"],
        name=["I 70", "Oak", "Alley"],
        highway=["Motorway", "residential", "service"],
    )
    network = StreetNetwork.from_layer(lines)
    assert network.segments["name"].tolist() == ["Oak", "Alley"]
    assert "1 lines left out for their road class (Motorway)." in network.notes
    only = StreetNetwork.from_layer(lines, exclude_classes=["service", "motorway"])
    assert only.segments["name"].tolist() == ["Oak"]
    with pytest.raises(InputError, match="none of the 3 rows is a street line"):
        StreetNetwork.from_layer(lines, exclude_classes=["service", "motorway", "residential"])


def test_blocks_end_where_a_cross_street_meets_or_the_name_changes():
    """A chain of five is three blocks: a corner splits it, a change of name too, a mere join does not."""
    network = StreetNetwork.from_layer(
        streets_of(
            [f"LINESTRING ({100 * n} 0, {100 * n + 100} 0)" for n in range(5)]
            + ["LINESTRING (200 0, 200 60)"],
            name=["Oak", "Oak", "Oak", "Oak", "Elm", "Fir"],
        )
    )
    blocks = StreetBlocks.of_network(network)
    named = sorted(
        (blocks.names[street], length) for street, length in zip(blocks.street, blocks.length_m, strict=True)
    )
    assert named == [("Elm", 100), ("Fir", 60), ("Oak", 200), ("Oak", 200)]
    assert all(blocks.tail <= blocks.head)
    for block in range(blocks.n_blocks):
        ends = shapely.get_coordinates(blocks.geometry[block])[[0, -1], 0]
        assert ends.tolist() == network.node_eastings[[blocks.tail[block], blocks.head[block]]].tolist()


def test_the_words_for_a_corner():
    """Of several cross streets the one with most segments is named; forks and nameless corners have words."""
    network = StreetNetwork.from_layer(
        streets_of(
            [
                "LINESTRING (0 0, 100 0)", "LINESTRING (100 0, 200 0)",  # Oak; at 100 Elm twice, Ash once
                "LINESTRING (100 0, 100 50)", "LINESTRING (100 0, 100 -50)", "LINESTRING (100 0, 150 50)",
                "LINESTRING (200 0, 300 40)", "LINESTRING (200 0, 300 -40)",  # Oak forks at 200
                "LINESTRING (0 0, 0 30)", "LINESTRING (0 0, 0 -30)",  # nameless at 0, with Pine 40 m away
                "LINESTRING (-40 -90, -40 90)",
            ],
            name=["Oak", "Oak", "Elm", "Elm", "Ash", "Oak", "Oak", None, None, "Pine"],
        )
    )  # fmt: skip

    def node_at(easting, northing):
        return int(np.hypot(network.node_eastings - easting, network.node_northings - northing).argmin())

    assert network.cross_street(node_at(100, 0), "Oak") == "Elm"
    assert network.cross_street(node_at(200, 0), "Oak") == "near a fork of Oak"
    assert network.cross_street(node_at(0, 0), "Oak") == "near Pine"
    assert network.cross_street(node_at(300, 40), "Oak") == "near the end of Oak"


def test_degrees_are_projected_and_feet_too():
    """Streets in degrees or feet are put into metres, and it is said; a target in degrees is refused."""
    streets = streets_of(["LINESTRING (360000 4330000, 360500 4330000)"], name=["Oak"])
    for crs in (4326, "ESRI:102698"):
        network = StreetNetwork.from_layer(streets.to_crs(crs))
        assert network.segments["length_m"].iloc[0] == pytest.approx(500, rel=1e-3)
        assert any(note.startswith("Streets projected to WGS 84 / UTM zone 15N") for note in network.notes)
    with pytest.raises(InputError, match="Invalid crs 4326"):
        StreetNetwork.from_layer(streets, crs=4326)
    with pytest.raises(InputError, match="Invalid column 'nom'"):
        StreetNetwork.from_layer(streets, name="nom")
    with pytest.raises(InputError, match="Invalid snap_m -1"):
        StreetNetwork.from_layer(streets, snap_m=-1)


def test_a_network_around_an_area_leaves_far_streets_out():
    """Of a county-wide layer only the lines within a kilometre of the area are built; none near is an error."""
    grid = Grid.cover(StudyArea.from_geometry(shapely.box(0, 0, 1000, 1000), crs=32615), cell_size=100)
    wkt = ["LINESTRING (0 500, 1000 500)", "LINESTRING (1900 500, 1950 500)", "LINESTRING (9000 0, 9900 0)"]
    lines = gpd.GeoDataFrame({"name": ["Near", "Beside", "Far"]}, geometry=shapely.from_wkt(wkt), crs=32615)
    assert sorted(StreetNetwork.around(grid, lines).segments["name"]) == ["Beside", "Near"]
    with pytest.raises(InputError, match="none of the 1 rows comes near the study area"):
        StreetNetwork.around(grid, lines.iloc[2:])


def test_degrees_under_a_label_in_metres_get_a_sentence_and_web_mercator_is_projected():
    """Wrong or missing labels are named, by both ways to build; stretched metres are not taken for metres."""
    streets = streets_of(["LINESTRING (360000 4330000, 360500 4330000)"], name=["Oak"])
    area = StudyArea.from_geometry(shapely.box(360000, 4329500, 361000, 4330500), crs=32615)
    grid = Grid.cover(area, cell_size=100)
    mislabelled = streets.to_crs(4326).set_crs(32615, allow_override=True)
    for build in (StreetNetwork.from_layer, lambda streets: StreetNetwork.around(grid, streets)):
        with pytest.raises(
            InputError, match=r"0\.0058 metres long .* set the layer's coordinate system to EPSG:4326"
        ):
            build(mislabelled)
        with pytest.raises(InputError, match="Layer 'streets' does not say its coordinate reference system"):
            build(streets.set_crs(None, allow_override=True))
        with pytest.raises(InputError, match="which are no degrees of longitude and latitude"):
            build(streets.set_crs(4326, allow_override=True))
        for crs in (4326, 3857):
            network = build(streets.to_crs(crs))
            assert network.segments["length_m"].tolist() == pytest.approx([500], rel=1e-3)
            assert "Streets projected to WGS 84 / UTM zone 15N." in network.notes
    with pytest.raises(InputError, match="not EPSG:3857"):
        StreetNetwork.from_layer(streets, crs=3857)


def test_lines_that_cross_themselves_split_at_a_vertex_only():
    """A line through its own vertex is a loop and two stems; one without a vertex there stays one segment."""
    crossing = "LINESTRING (0 0, 50 50, 100 100, 100 0, 50 50, 0 100)"
    network = StreetNetwork.from_layer(streets_of([crossing], name=["Oak"]))
    assert sorted(network.degrees.tolist()) == [1, 1, 4]
    assert (network.segments["from_node"] == network.segments["to_node"]).sum() == 1
    assert network.segments["length_m"].sum() == pytest.approx(100 + 200 * 2**0.5)
    plain = StreetNetwork.from_layer(streets_of([crossing.replace("50 50, ", "")], name=["Oak"]))
    assert plain.segments["length_m"].tolist() == pytest.approx([100 + 200 * 2**0.5])


def test_parallel_edges_loops_dead_ends_and_disconnected_parts():
    """Streets between the same two corners stay two, a ring on one corner is a loop, far parts stay apart."""
    network = StreetNetwork.from_layer(
        streets_of(
            [
                "LINESTRING (0 0, 100 0)", "LINESTRING (0 0, 50 60, 100 0)", "LINESTRING (100 0, 150 40, 150 -40, 100 0)",
                "LINESTRING (100 0, 100 -90)", "LINESTRING (5000 0, 5100 0)",
            ],
            name=["Oak", "Elm", "Ring", "End", "Far"],
        )
    )  # fmt: skip
    assert network.segments[["from_node", "to_node"]].to_numpy().tolist() == [
        [0, 2],
        [0, 2],
        [2, 2],
        [2, 1],
        [3, 4],
    ]
    assert network.degrees.tolist() == [2, 1, 5, 1, 1]
    assert sorted(network.segments_at(2)) == [0, 1, 2, 2, 3]
    assert network.cross_street(1, "End") == "near the end of End"


def test_lines_that_lie_on_one_another_are_counted_once():
    """The shared part of two lines is one segment, under the first name in the alphabet, in any order of rows."""
    lines, names = ["LINESTRING (0 0, 100 0)", "LINESTRING (50 0, 150 0)"], ["Oak", "Elm"]
    for order in (slice(None), slice(None, None, -1)):
        network = StreetNetwork.from_layer(streets_of(lines[order], name=names[order]))
        assert network.segments["length_m"].tolist() == [50, 50, 50]
        by_end = dict(zip(network.segments.geometry.bounds["maxx"], network.segments["name"], strict=True))
        assert by_end == {50: "Oak", 100: "Elm", 150: "Elm"}
        assert "1 pieces of lines that lie on one another were kept once." in network.notes


def test_one_segment_specks_and_nothing_to_use():
    """One line is a network; loops and lines below the tolerance vanish; nothing but polygons is an error."""
    network = StreetNetwork.from_layer(
        streets_of(
            ["LINESTRING (0 0, 100 0)", "LINESTRING (100 0, 100.1 0, 100.1 0.1, 100 0)"], name=["Oak", "Dot"]
        )
    )
    assert (network.n_segments, network.n_nodes) == (1, 2)
    assert "1 lines shorter than 0.5 m became a single node." in network.notes
    with pytest.raises(InputError, match="none of the 1 rows is a street line"):
        StreetNetwork.from_layer(streets_of(["POLYGON ((0 0, 9 0, 9 9, 0 0))"], name=["Oak"]))


@pytest.mark.parametrize("seed", range(8))
def test_crossings_are_counted_as_by_looking_at_every_pair(seed):
    """The count of crossings without a shared point equals that of all pairs that cross (shapely)."""
    random = np.random.default_rng(seed)
    places = random.integers(0, 12, (60, 3, 2)).astype(float)
    lines = [place[: random.integers(2, 4)] for place in places]
    noded = node_lines(
        np.array([shapely.LineString(line) for line in lines if np.ptp(line, axis=0).any()]), snap_m=0
    )
    pairs = sum(one.crosses(other) for one, other in combinations(noded.lines, 2))
    assert count_crossings(noded.lines) == pairs > 20
