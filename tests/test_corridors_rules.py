"""Rules of a city: hand-drawn districts and places, and sentences for what does not fit."""

import geopandas as gpd
import numpy as np
import pytest
import shapely

from rtmkc.errors import InputError
from rtmkc.places.corridors.choice.portfolio import choose_together
from rtmkc.places.corridors.choice.rules import CorridorRules

CRS = "EPSG:26915"


def areas(**boxes):
    """Boxes (west, south, east, north) by name."""
    shapes = [shapely.box(*box) for box in boxes.values()]
    return gpd.GeoDataFrame({"division": list(boxes)}, geometry=shapes, crs=CRS)


DIVISIONS = areas(East=(0, 0, 1000, 1000), Central=(1000, 0, 2000, 1000), North=(0, 1000, 2000, 2000))


def east_west(west, east, northing):
    return shapely.LineString([(west, northing), (east, northing)])


def test_district_is_the_one_with_most_of_the_length():
    """Six hundred of 1,100 m decide; a border street goes to the first name; what lies outside counts for none."""
    lines = np.array(
        [
            east_west(400, 1500, 500),  # 600 m East, 500 m Central
            east_west(500, 1500, 500),  # half and half
            east_west(100, 900, 1000),  # on the border of East and North
            east_west(1600, 2500, 500),  # 400 m of 900 m in Central
            east_west(1500, 2400, 500),  # 500 m of 900 m
            east_west(3000, 4000, 500),
            shapely.LineString([(1500, 500), (1500, 1700)]),
        ],
        dtype=object,
    )
    rules = CorridorRules(districts=DIVISIONS, at_most=9).prepare(CRS)
    assert rules.districts_of(lines).tolist() == ["East", "Central", "East", "", "Central", "", "North"]
    assert np.allclose(rules.shares(lines)[0], [500 / 1100, 600 / 1100, 0])  # Central, East, North
    assert len(rules.districts_of(np.empty(0, dtype=object))) == 0


def test_shares_equal_plain_intersections():
    """Shares, with lines inside a district taken without cutting, are those of every line cut with every district."""
    random = np.random.default_rng(4)
    lines = shapely.linestrings(random.uniform(-300, 2300, (300, 3, 2)))
    tiles = [shapely.Point(*random.uniform(0, 2000, 2)).buffer(random.uniform(200, 900)) for _ in range(9)]
    districts = gpd.GeoDataFrame({"name": [f"D{i}" for i in range(9)]}, geometry=tiles, crs=CRS)
    found = CorridorRules(districts=districts, at_most=1).prepare(CRS).shares(lines)
    plain = [[line.intersection(tile).length / line.length for tile in tiles] for line in lines]
    assert np.allclose(found, plain, rtol=0, atol=1e-12)
    assert (found == 1).any()


def test_areas_of_one_name_are_one_district_in_any_system():
    """Two parts of a district that a river cuts, in degrees, count together."""
    parts = gpd.GeoDataFrame(
        {"ward": [1.0, 1.0, 2.0]},
        geometry=[shapely.box(0, 0, 400, 500), shapely.box(600, 0, 1000, 500), shapely.box(400, 0, 600, 500)],
        crs=CRS,
    ).to_crs(4326)
    rules = CorridorRules(districts=parts, district_name="ward", at_least=1).prepare(CRS)
    assert rules.districts_of(np.array([east_west(100, 900, 250)])).tolist() == ["1"]
    assert rules.least == {"1": 1, "2": 1}


def test_quotas_by_number_and_by_name():
    """A number holds for every district, a mapping for the named ones, and only ruled districts make quotas."""
    lines = np.array([east_west(100, 900, 500), east_west(1100, 1900, 500), east_west(100, 900, 200)])
    every = CorridorRules(districts=DIVISIONS, at_most=2).prepare(CRS).quotas(lines)
    assert [(q.where, q.windows.tolist(), q.at_least, q.at_most) for q in every] == [
        ("in Central", [1], 0, 2),
        ("in East", [0, 2], 0, 2),
        ("in North", [], 0, 2),
    ]
    named = CorridorRules(districts=DIVISIONS, at_most={"East": 1}, at_least={"Central": 1}).prepare(CRS)
    assert [(q.where, q.at_least, q.at_most) for q in named.quotas(lines)] == [
        ("in Central", 1, None),
        ("in East", 0, 1),
    ]


def test_places_that_must_be_served():
    """An area is served by 100 m in it or along it, not by a street that ends there; a point by 100 m."""
    places = gpd.GeoDataFrame(
        {"name": ["Budd Park", "City Market"]},
        geometry=[shapely.box(0, 0, 400, 400), shapely.Point(3000, 0)],
        crs=CRS,
    )
    lines = np.array(
        [
            east_west(-500, 110, 200),  # 110 m inside
            east_west(0, 400, -20),  # along the edge
            east_west(0, 400, -30),  # a street further
            shapely.LineString([(200, -500), (200, 0)]),  # ends at the edge: 25 m of it near
            east_west(2500, 3500, 100),
            east_west(2500, 3500, 101),
        ]
    )
    rules = CorridorRules(must_include=places).prepare(CRS)
    quotas = rules.quotas(lines)
    assert [(q.where, q.windows.tolist(), q.at_least, q.at_most) for q in quotas] == [
        ("through Budd Park", [0, 1], 1, None),
        ("within 100 m of City Market", [4], 1, None),
    ]
    assert choose_together(
        np.array([1.0, 2, 9, 9, 1, 9]), [np.array([i]) for i in range(6)], k=2, quotas=quotas
    ).chosen.tolist() == [1, 4]


def test_places_without_names_are_numbered():
    """A place without a name, or with one that comes twice, is told by its row."""
    shapes = [shapely.box(0, 0, 9, 9)] * 3
    bare = gpd.GeoDataFrame(geometry=shapes[:1], crs=CRS)
    assert [name for name, _ in CorridorRules(must_include=bare).prepare(CRS).places] == [
        "place 1 of must_include"
    ]
    twice = gpd.GeoDataFrame({"name": ["Park", "Park", None]}, geometry=shapes, crs=CRS)
    assert [name for name, _ in CorridorRules(must_include=twice).prepare(CRS).places] == [
        "Park (row 1 of must_include)",
        "Park (row 2 of must_include)",
        "place (row 3 of must_include)",
    ]


def test_avoided_blocks_run_inside():
    """A block inside or partly inside is avoided; one along the edge, or that crosses by half a metre, is not."""
    rules = CorridorRules(avoid=areas(cemetery=(0, 0, 400, 400))).prepare(CRS)
    blocks = np.array(
        [
            east_west(100, 200, 200),
            east_west(350, 450, 200),
            east_west(0, 100, 400),
            east_west(399.5, 500, 200),
            east_west(600, 700, 200),
        ]
    )
    assert rules.is_avoided(blocks).tolist() == [True, True, False, False, False]
    assert not CorridorRules().prepare(CRS).is_avoided(blocks).any()


def test_costs_of_windows():
    """Kilometres times their price, and the costs of the blocks, add up."""
    rules = CorridorRules(budget=9000, cost_per_km=2000, cost_column="repair").prepare(CRS)
    members = [np.array([0, 1]), np.array([2])]
    costs = rules.costs(np.array([500.0, 1500.0]), members, np.array([10.0, 20.0, 40.0]))
    assert costs.tolist() == [1030.0, 3040.0]
    assert rules.costs(np.array([500.0])).tolist() == [1000.0]
    with pytest.raises(InputError, match="1 of 3 blocks have a cost that is missing"):
        rules.costs(np.array([1.0, 1.0]), members, np.array([10.0, np.nan, 0.0]))


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"at_most": 2}, "give districts= too"),
        ({"districts": DIVISIONS}, "at_most= or at_least="),
        ({"districts": DIVISIONS, "at_most": -1}, "Invalid at_most -1"),
        ({"districts": DIVISIONS, "at_least": {"East": 1.5}}, "Invalid at_least 1.5"),
        ({"districts": DIVISIONS, "at_most": True}, "must be a number"),
        ({"districts": DIVISIONS, "at_most": 1, "district_name": "victim_race"}, "race, sex or age"),
        ({"budget": 0, "cost_per_km": 5}, "Invalid budget 0. It must be greater than 0"),
        ({"budget": 1000}, "give cost_per_km= or cost_column="),
        ({"cost_per_km": -5}, "must not be negative"),
    ],
)
def test_rules_that_do_not_fit(rules, words):
    """Each is refused where it is written, with its rule."""
    with pytest.raises(InputError, match=words):
        CorridorRules(**rules)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"districts": DIVISIONS, "at_least": {"West": 1}}, "no such district; there are: Central, East, North"),
        ({"districts": DIVISIONS, "at_least": 2, "at_most": {"East": 1}}, "at_least 2 for 'East'"),
        ({"districts": DIVISIONS, "at_most": 1, "district_name": "beat"}, "no such column"),
        ({"avoid": gpd.GeoDataFrame(geometry=[shapely.Point(9, 9)], crs=CRS)}, "holds no areas"),
        ({"districts": DIVISIONS.set_geometry(DIVISIONS.centroid), "at_most": 1}, "holds no areas"),
        (
            {
                "districts": gpd.GeoDataFrame({"name": [None]}, geometry=[shapely.box(0, 0, 1, 1)], crs=CRS),
                "at_most": 1,
                "district_name": "name",
            },
            "No area has a name",
        ),
    ],
)  # fmt: skip
def test_layers_that_do_not_fit(rules, words):
    """Each is refused when the layers are read."""
    with pytest.raises(InputError, match=words):
        CorridorRules(**rules).prepare(CRS)


def test_quota_that_cannot_be_met_is_named():
    """From the layer to the sentence: which rule, and how many candidates lie there."""
    lines = np.array([east_west(100, 900, 500), east_west(1100, 1900, 500)])
    rules = CorridorRules(districts=DIVISIONS, at_least={"East": 2}).prepare(CRS)
    with pytest.raises(
        InputError,
        match="at least 2 corridors in East cannot be met: only 1 of the 2 candidate corridors lies",
    ):
        choose_together(np.array([1.0, 2.0]), [np.array([0]), np.array([1])], k=3, quotas=rules.quotas(lines))
