"""Joins: which beat a point, a corridor or an area lies in, drawn by hand."""

import geopandas as gpd
import numpy as np
import pytest
from shapely import LineString, Point, box

import rtmkc as rtm
from rtmkc.errors import InputError
from rtmkc.places.joins import label_column_of

BEATS = gpd.GeoDataFrame(
    {"BEAT_NO": [111.0, 112.0, 113.0, 111.0], "area_m2": [1.5, 2.5, 3.5, 4.5]},
    geometry=[box(0, 0, 10, 10), box(10, 0, 20, 10), box(20, 0, 30, 10), box(30, 0, 40, 10)],
    crs="EPSG:26915",
)


def test_a_point_lies_in_the_first_area_that_holds_it():
    """Points get one label: that of their area, of the first where two touch, and none outside."""
    shops = gpd.GeoDataFrame(
        {"rank": [1, 2, 3], "expected": [3.0, 2.0, 1.0]},
        geometry=[Point(15, 5), Point(10, 5), Point(99, 99)],
        crs="EPSG:26915",
    )
    shops.attrs["statement"] = "kept"
    joined = rtm.join_areas(shops, {"beat": (BEATS, "BEAT_NO")})
    assert joined["beat"].tolist() == ["112", "111", ""]
    assert list(joined.columns) == ["rank", "beat", "expected", "geometry"]
    assert joined.attrs["statement"] == "kept"
    assert "beat" not in shops.columns


def test_a_corridor_lies_where_most_of_its_length_does():
    """Of a line 2 + 10 + 5 m long in three beats the longest part comes first, and parts under a quarter are left out."""
    corridors = gpd.GeoDataFrame(
        {"rank": [1, 2, 3]},
        geometry=[
            LineString([(8, 5), (25, 5)]),
            LineString([(2, 5), (10, 5)]),
            LineString([(35, 12), (35, 20)]),
        ],
        crs="EPSG:26915",
    )
    joined = rtm.join_areas(corridors, {"beat": (BEATS, "BEAT_NO")}, several=True)
    assert joined["beat"].tolist() == ["112; 113", "111", ""]


def test_parts_of_one_label_count_together():
    """A beat in two pieces holds a line by the sum of both: 5 + 5 m of it against 10 m, first by the file's order of ties."""
    line = gpd.GeoDataFrame({"rank": [1]}, geometry=[LineString([(4, 5), (38, 5)])], crs="EPSG:26915")
    joined = rtm.join_areas(line, {"beat": (BEATS, "BEAT_NO")}, several=True)
    assert joined["beat"].tolist() == ["111; 112; 113"]


def test_areas_in_another_system_are_brought_to_the_places():
    """The areas may be in degrees: the answer is the same."""
    shop = gpd.GeoDataFrame({"rank": [1]}, geometry=[Point(360_005, 4_330_005)], crs="EPSG:26915")
    area = gpd.GeoDataFrame(
        {"name": ["Here"]}, geometry=[box(360_000, 4_330_000, 360_010, 4_330_010)], crs="EPSG:26915"
    )
    assert rtm.join_areas(shop, {"place": area.to_crs(4326)})["place"].tolist() == ["Here"]


@pytest.mark.parametrize(
    ("columns", "wanted", "found"),
    [
        ({"shape_area": [1.5, 2.5], "nbhname": ["a", "b"], "nbhid": ["1", "2"]}, "neighbourhood", "nbhname"),
        (
            {"DIST_ID": [1, 2], "DISTRICTOR": ["First", "Second"], "ATLARGE": ["x", "y"]},
            "council district",
            "DIST_ID",
        ),
        ({"District": ["1713", "1651"]}, "beat", "District"),
        ({"objectid": ["8", "9"], "postalcode": ["64108", "64125"]}, "zip code", "postalcode"),
        ({"kind": ["a", "b"], "beat": ["7", "8"], "name": ["c", "d"]}, "beat", "beat"),
    ],
)
def test_labels_are_found_by_the_names_of_columns(columns, wanted, found):
    """The column called like what is wanted, then like a name, a beat, a district; of several the one that tells most apart."""
    frame = gpd.GeoDataFrame(columns, geometry=[Point(0, 0), Point(1, 1)], crs="EPSG:4326")
    assert label_column_of(frame, wanted) == found


def test_what_cannot_be_joined_is_said():
    """A column that is there already, areas that are points, and a layer without labels."""
    shop = gpd.GeoDataFrame({"beat": [1]}, geometry=[Point(5, 5)], crs="EPSG:26915")
    with pytest.raises(InputError, match="Invalid join 'beat'. The table has a column of that name"):
        rtm.join_areas(shop, {"beat": BEATS})
    with pytest.raises(InputError, match="labelled with areas, and the layer holds none"):
        rtm.join_areas(shop, {"place": shop.rename(columns={"beat": "name"})})
    bare = gpd.GeoDataFrame({"a": ["x"], "b": ["y"]}, geometry=[box(0, 0, 1, 1)], crs="EPSG:26915")
    with pytest.raises(InputError, match="No column is called like a name among: a, b"):
        rtm.join_areas(shop, {"place": bare})


def test_every_place_gets_the_label_that_brute_force_gives():
    """On 400 random points and 50 squares the label is that of the square that holds the point."""
    random = np.random.default_rng(1)
    corners = [(10 * (number % 10), 10 * (number // 10)) for number in range(50)]
    squares = gpd.GeoDataFrame(
        {"code": [f"s{number}" for number in range(50)]},
        geometry=[box(west, south, west + 10, south + 10) for west, south in corners],
        crs="EPSG:26915",
    )
    points = random.uniform(0, 100, (400, 2))
    places = gpd.GeoDataFrame(
        {"rank": range(400)}, geometry=[Point(*one) for one in points], crs="EPSG:26915"
    )
    expected = [f"s{int(east // 10) + 10 * int(north // 10)}" if north < 50 else "" for east, north in points]
    assert rtm.join_areas(places, {"square": (squares, "code")})["square"].tolist() == expected
