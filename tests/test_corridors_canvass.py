"""The route sheet of one corridor: which places, on which side, in which order, and that none is lost."""

import itertools
import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

import rtmkc
from rtmkc import RiskFactor, plan_canvass, read_layer
from rtmkc.errors import DataWarning, InputError
from rtmkc.places.corridors.visits.canvass import COLUMNS
from rtmkc.places.corridors.visits.departments import UNASSIGNED, departments_of, read_departments

WEST, SOUTH, CRS = 362_000.0, 4_326_000.0, "EPSG:26915"
BENT = [(0, 0), (500, 0), (500, 400), (900, 700)]


def street(corners=((0, 0), (1000, 0)), **columns):
    line = shapely.LineString([(WEST + east, SOUTH + north) for east, north in corners])
    return gpd.GeoDataFrame({"name": ["Oak Street"], **columns}, geometry=[line], crs=CRS)


def reverse(corridor):
    return corridor.set_geometry(corridor.geometry.reverse())


def things(places, **columns):
    """Points at (metres east, metres north) of the start of the straight street."""
    eastings, northings = np.asarray(places, dtype=float).reshape(-1, 2).T
    points = gpd.points_from_xy(WEST + eastings, SOUTH + northings)
    return gpd.GeoDataFrame(columns, geometry=points, crs=CRS, index=range(len(points)))


def scattered(number, seed, corners=BENT, width=60):
    """Points within a distance of a line, drawn by seed."""
    random = np.random.default_rng(seed)
    line = shapely.LineString(corners)
    west, south, east, north = line.buffer(width).bounds
    points = np.column_stack(
        [random.uniform(west, east, 40 * number), random.uniform(south, north, 40 * number)]
    )
    return points[shapely.dwithin(shapely.points(points), line, width)][:number]


def order(stops):
    """Per team the (metres along, side) of its stops in walking order."""
    return {
        team: list(zip(walk["chainage_m"].round(), walk["side"], strict=True))
        for team, walk in stops.groupby("team")
    }


def test_left_and_right_are_those_of_one_sided_buffers():
    """On a street with two bends L are the places in the left one-sided buffer, R those in the right."""
    corridor = street(BENT)
    line = corridor.geometry.iloc[0]
    points = things(scattered(400, seed=1, width=39))
    stops = plan_canvass(corridor, {"weeds": points}, same_place=1e-3)
    inner = stops[stops["chainage_m"].between(0.1, line.length - 0.1)]
    assert len(inner) > 300
    assert set(inner["side"]) == {"L", "R"}
    for side, sign in (("L", 1), ("R", -1)):
        # A strip on one side, less what the strip of the other side also has about the bends.
        strips = [line.buffer(40 * one, single_sided=True) for one in (sign, -sign)]
        own = shapely.intersects(strips[0], inner.geometry.to_numpy())
        other = shapely.intersects(strips[1], inner.geometry.to_numpy())
        assert (own & ~other).sum() > 100
        assert (inner["side"][own & ~other] == side).all()


def test_sides_and_distances_along_by_hand():
    """Along a street that goes east and then north: metres along, L or R, and the side people call it by."""
    corridor = street([(0, 0), (500, 0), (500, 500)])
    places = [(100, 20), (100, -20), (510, -10), (480, 300), (520, 300), (-10, 5)]
    stops = plan_canvass(corridor, {"weeds": things(places, address=[f"{i} A St" for i in range(6)])})
    table = stops.set_index("place")[["chainage_m", "side", "compass"]].sort_index()
    assert table["chainage_m"].round(6).tolist() == [100, 100, 500, 800, 800, 0]
    assert table["side"].tolist() == ["L", "R", "R", "L", "R", "L"]
    assert table["compass"].tolist() == [
        "north side", "south side", "south-east side", "west side", "east side", "north side",
    ]  # fmt: skip
    assert stops.crs == CRS
    degrees = stops.geometry.to_crs(4326)
    assert np.allclose(stops["longitude"], degrees.x)
    assert np.allclose(stops["latitude"], degrees.y)


def test_each_team_goes_out_on_its_right_and_back_on_the_other_side():
    """From the middle of a west-east street: east along the south side and back on the north side; west along the north."""
    places = [(east, north) for east in (100, 300, 400, 600, 700, 900) for north in (15, -15)]
    stops = plan_canvass(street(), {"weeds": things(places)})
    assert order(stops) == {
        1: [(600, "R"), (700, "R"), (900, "R"), (900, "L"), (700, "L"), (600, "L")],
        2: [(400, "L"), (300, "L"), (100, "L"), (100, "R"), (300, "R"), (400, "R")],
    }
    assert stops.groupby("team")["heading"].first().tolist() == ["east", "west"]
    assert stops["seq"].tolist() == [*range(1, 7), *range(1, 7)]
    # From 500 to 600 and over to the kerb, then along, across 30 m, and back; each team 2 x 400 m and 60 m across.
    assert stops["walk_m"].tolist() == [115, 100, 200, 30, 200, 100] * 2
    for team in stops.attrs["teams"]:
        assert team["start_chainage_m"] == 500
        assert team["walk_m"] == pytest.approx(860)
        assert team["minutes"] == pytest.approx(6 * 5 + 860 / 75)
        assert (team["visit_minutes"], team["shifts"]) == (30, 1)


def test_zigzag_goes_from_door_to_door():
    """With zigzag each team takes the doors as they come, on whichever side."""
    places = [(100, -15), (200, 15), (450, 15), (550, 15), (800, -15), (900, 15)]
    stops = plan_canvass(street(), {"weeds": things(places)}, pattern="zigzag")
    assert order(stops) == {
        1: [(550, "L"), (800, "R"), (900, "L")],
        2: [(450, "L"), (200, "L"), (100, "R")],
    }


def test_one_team_and_teams_from_both_ends():
    """One team starts where the line starts; two may start at its ends and come to meet each other."""
    places = [(east, north) for east in (100, 400, 600, 900) for north in (15, -15)]
    one = plan_canvass(street(), {"weeds": things(places)}, teams=1)
    assert order(one) == {
        1: [(e, "R") for e in (100, 400, 600, 900)] + [(e, "L") for e in (900, 600, 400, 100)]
    }
    both = plan_canvass(street(), {"weeds": things(places)}, start="ends")
    assert order(both) == {
        1: [(100, "R"), (400, "R"), (400, "L"), (100, "L")],
        2: [(900, "L"), (600, "L"), (600, "R"), (900, "R")],
    }
    assert both.groupby("team")["heading"].first().tolist() == ["east", "west"]
    assert [team["start_chainage_m"] for team in both.attrs["teams"]] == [0, 1000]


@pytest.mark.parametrize("seed", range(6))
def test_teams_part_where_the_longer_is_done_earliest(seed):
    """No other place to part the stops lets the team that takes longer finish earlier (all of them tried)."""
    random = np.random.default_rng(seed)
    along = np.sort(random.choice(np.arange(10, 991, 20), 14, replace=False)).astype(float)
    side = random.choice([15.0, -15.0], 14)
    minutes = random.integers(2, 40, 14).astype(float)
    layers = {f"factor {i}": things([(along[i], side[i])]) for i in range(14)}
    stops = plan_canvass(street(), layers, minutes={f"factor {i}": minutes[i] for i in range(14)})

    def takes(chosen, start):
        if not len(chosen):
            return 0.0
        across = 15.0 * (2 if len(set(side[chosen])) == 1 else 4)
        return minutes[chosen].sum() + (2 * np.abs(along[chosen] - start).max() + across) / 75

    best = np.inf
    for cut in range(15):
        behind, ahead = np.arange(cut), np.arange(cut, 14)
        start = np.mean([*along[behind[-1:]], *along[ahead[:1]]])
        best = min(best, max(takes(behind, start), takes(ahead, start)))
    assert max(team["minutes"] for team in stops.attrs["teams"]) == pytest.approx(best)
    assert stops["minutes"].sum() == minutes.sum()


def test_the_walk_is_that_between_the_places():
    """On a straight street walk_m is the city-block distance from place to place; with the way back it is the total."""
    places = scattered(80, seed=3, corners=[(0, 0), (1000, 0)], width=35)
    beside = places[
        (places[:, 0] > 0) & (places[:, 0] < 1000)
    ]  # not beyond its ends, where it is the distance
    stops = plan_canvass(street(), {"weeds": things(beside)})
    for team in stops.attrs["teams"]:
        walk = stops[stops["team"] == team["team"]]
        start = (WEST + team["start_chainage_m"], SOUTH)
        assert len(walk) > 20
        path = np.array([start, *zip(walk.geometry.x, walk.geometry.y, strict=True), start])
        steps = np.abs(np.diff(path, axis=0)).sum(axis=1)
        assert walk["walk_m"].to_numpy() == pytest.approx(steps[:-1])
        assert team["walk_m"] == pytest.approx(steps.sum())


@pytest.mark.parametrize("seed", range(4))
def test_nothing_within_the_width_is_lost_or_counted_twice(seed):
    """Points, lines and areas within the width, found by distance alone, are as many as the records of all stops."""
    random = np.random.default_rng(seed)
    corridor = street(BENT)
    line = corridor.geometry.iloc[0]
    points = things(scattered(150, seed), address=random.choice([f"{n} Oak St" for n in range(30)], 150))
    spots = things(scattered(60, seed + 100)).geometry
    lines = gpd.GeoDataFrame(
        geometry=[shapely.LineString([(p.x, p.y), (p.x + 80, p.y - 50)]) for p in spots[:30]], crs=CRS
    )
    areas = gpd.GeoDataFrame(geometry=spots[30:].buffer(25), crs=CRS)
    layers = {"vacant houses": points, "poor lighting": lines, "weeds": areas}
    stops = plan_canvass(
        corridor, layers, businesses=things(scattered(20, seed + 200), name=list("abcdefghijklmnopqrst"))
    )
    expected = {name: int((layer.distance(line) <= 40).sum()) for name, layer in layers.items()}
    n_businesses = int((things(scattered(20, seed + 200)).distance(line) <= 40).sum())
    assert stops["records"].sum() == sum(expected.values()) + n_businesses
    assert not stops.duplicated(["team", "seq"]).any()
    assert (stops.distance(line) <= 40 + 1e-6).all()
    for name, layer in layers.items():
        inside = layer[layer.distance(line) <= 40]
        having = stops[stops["factors"].str.split("; ").map(lambda listed, name=name: name in listed)]
        # Each has a stop of its factor at most one place (30 m of one address and 5 m) from where it comes nearest.
        nearest = shapely.get_point(shapely.shortest_line(inside.geometry.to_numpy(), line), 0)
        away = [having.distance(point).min() for point in nearest]
        assert max(away) <= 35 + 1e-6
        assert len(having) <= expected[name]


def test_records_of_one_place_are_one_stop():
    """One address geocoded to two points is one stop; a hundred-block is not, nor are both sides of a street."""
    vacant = things(
        [(100, 0.0), (700, 15), (780, 15), (300, 2), (300, -2)],
        address=["41 Oak Street", "700 Oak St", "700 OAK ST.", None, None],
    )
    lights = things([(110, 18), (302, 3)], address=["41 OAK ST, KANSAS CITY, MO 64123", ""])
    stops = plan_canvass(street(), {"vacant houses": vacant, "poor lighting": lights})
    found = stops.sort_values(["chainage_m", "side"])
    assert found["factors"].tolist() == [
        "vacant houses; poor lighting", "vacant houses", "vacant houses; poor lighting", "vacant houses",
        "vacant houses",
    ]  # fmt: skip
    assert found["chainage_m"].round().tolist() == [110, 300, 302, 700, 780]
    first = found.iloc[0]
    # The record off the centre line gives the place.
    assert (first["side"], first["records"], first["minutes"]) == ("L", 2, 10)
    assert first["place"] == "41 OAK ST"


def test_a_row_of_houses_is_not_one_place():
    """Houses 3 m apart along 300 m stay places of at most 5 m, however near each neighbour is."""
    row = things([(200 + 3 * number, 12) for number in range(100)])
    stops = plan_canvass(street(), {"vacant houses": row})
    assert len(stops) >= 50
    assert stops["records"].max() == 2
    assert stops["records"].sum() == 100


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("pattern", ["boustrophedon", "zigzag"])
def test_the_direction_of_the_line_does_not_matter(seed, pattern):
    """Drawn the other way round, the corridor has the same stops and walks: L and R, and the two teams, change names."""
    corridor = street(BENT)
    layers = {"weeds": things(scattered(60, seed)), "graffiti": things(scattered(40, seed + 10))}
    one = plan_canvass(corridor, layers, pattern=pattern)
    two = plan_canvass(reverse(corridor), layers, pattern=pattern)
    two["team"], two["side"] = 3 - two["team"], two["side"].map({"L": "R", "R": "L"})
    two["chainage_m"] = corridor.length.iloc[0] - two["chainage_m"]
    two = two.sort_values(["team", "seq"], ignore_index=True)
    pd.testing.assert_frame_equal(pd.DataFrame(one), pd.DataFrame(two), rtol=0, atol=1e-6)
    times = [[team["minutes"] for team in stops.attrs["teams"]] for stops in (one, two)]
    assert times[0] == pytest.approx(times[1][::-1])


@pytest.mark.parametrize("corners", [[(0, 0), (1000, 0)], [(500, 500), (500, -500)]])
@pytest.mark.parametrize("metres", [(500,), (250, 500, 750)])
def test_equally_good_partings_do_not_depend_on_the_direction(corners, metres):
    """Where the stop in the middle could go to either team, the line and its reverse give it to the same one."""
    corridor = street(corners)
    places = [corridor.geometry.iloc[0].interpolate(along) for along in metres]
    weeds = gpd.GeoDataFrame(geometry=places, crs=CRS)
    one = plan_canvass(corridor, {"weeds": weeds})
    two = plan_canvass(reverse(corridor), {"weeds": weeds})
    parts = [
        {frozenset(walk["latitude"] + walk["longitude"]) for _, walk in table.groupby("team")}
        for table in (one, two)
    ]
    assert parts[0] == parts[1]
    assert dict(zip(one["latitude"], one["heading"], strict=True)) == dict(
        zip(two["latitude"], two["heading"], strict=True)
    )


def test_the_order_of_rows_does_not_matter():
    """Rows shuffled give the same table."""
    weeds = things(scattered(80, 5), address=[f"{number % 25} Oak St" for number in range(80)])
    shuffled = weeds.sample(frac=1, random_state=0)
    one, two = (plan_canvass(street(BENT), {"weeds": layer}) for layer in (weeds, shuffled))
    pd.testing.assert_frame_equal(pd.DataFrame(one), pd.DataFrame(two))
    assert one.attrs == two.attrs


def test_places_on_the_centre_line_go_to_the_north():
    """A place on the line itself is given to the northern side, in whichever direction the line runs."""
    layers = {"weeds": things([(200, 0), (700, 0.01)])}
    stops = plan_canvass(street(), layers)
    assert stops["side"].tolist() == ["L", "L"]
    assert stops.attrs["notes"][0].startswith("2 stops within 3 m (10 ft) of the centre line")
    assert plan_canvass(reverse(street()), layers)["side"].tolist() == ["R", "R"]
    assert plan_canvass(reverse(street()), layers)["compass"].tolist() == ["north side"] * 2


@pytest.fixture
def shops():
    return things(
        [(100, 15), (400, -15), (600, 15), (900, -15)],
        name=["Elm Market", "Blue Cafe", "Red Hardware", "Green Grill"],
        address=["10 Oak St", "41 Oak St", "60 Oak St", "91 Oak St"],
    )


def test_repeat_violations_say_who_must_not_be_missed(shops):
    """Violations count at their address or the nearest business within 25 m; repeats are further days, and rank first."""
    violations = things(
        [(100, 30), (100, 20), (110, 15), (400, -15), (400, -15), (700, 20), (905, -20), (905, -20), (905, -20)],
        # The third is drawn 50 m off: by its address it is the Green Grill's.
        address=["", "", "91 Oak Street", "", "", "", "", "", ""],
        date=pd.to_datetime([
            "2024-06-01", "2024-06-01", "2024-05-01", "2024-03-01", "2024-01-05", "2024-01-01", "2023-01-10",
            "2024-06-01", "2021-01-01",
        ]),
    )  # fmt: skip
    violations.loc[2, "geometry"] = shapely.Point(WEST + 850, SOUTH - 15)
    stops = plan_canvass(street(), {}, businesses=shops, violations=violations)
    table = stops.assign(name=stops["place"].str.partition(",")[0]).set_index("name")
    names = ["Elm Market", "Blue Cafe", "Red Hardware", "Green Grill"]
    assert table.loc[names, "violations"].tolist() == [2, 2, 0, 3]
    # Two violations of one day are one visit; that of 2021 is older than two years.
    assert table.loc[names, "repeats"].tolist() == [0, 1, 0, 2]
    assert table["priority"].dropna().to_dict() == {"Green Grill": 1, "Blue Cafe": 2}
    assert [one["place"] for one in stops.attrs["compliance_first"]] == [
        "Green Grill, 91 Oak St",
        "Blue Cafe, 41 Oak St",
    ]
    assert [one["repeats"] for one in stops.attrs["compliance_first"]] == [2, 1]
    assert (
        "Not to be missed, for repeat violations: Green Grill, 91 Oak St (team 1, stop"
        in stops.attrs["statement"]
    )
    lost = "1 of 8 violations beside the corridor are at none of its stops"
    assert stops.attrs["notes"] == [
        f"{lost}; to visit where they are, give them as a factor too",
        "violations counted from 24 months before 2024-06-01",
    ]
    assert table.loc["Green Grill", "last_seen"] == pd.Timestamp("2024-06-01")
    json.dumps(stops.attrs)


def test_months_and_the_last_day_bound_what_counts(shops):
    """Only violations in the months up to the last day count; a later one does not."""
    dates = ["2024-06-01", "2024-03-02", "2024-03-01", "2023-06-01", None]
    violations = things([(400, -15)] * 5, date=pd.to_datetime(dates))
    counts = {}
    for months, as_of in itertools.product((3, 24), (None, "2024-03-01")):
        stops = plan_canvass(
            street(), {}, businesses=shops, violations=violations, months=months, as_of=as_of
        )
        counts[months, as_of] = int(stops["violations"].sum())
        assert "1 violations without a date were not counted" in stops.attrs["notes"]
    assert counts == {(3, None): 2, (24, None): 4, (3, "2024-03-01"): 1, (24, "2024-03-01"): 2}


def test_violations_without_dates_are_counted_and_no_repeats(shops):
    """Without dates nobody can say what is a repeat: counts stand, repeats are missing, and the notes say it."""
    stops = plan_canvass(street(), {}, businesses=shops, violations=things([(400, -15)] * 3))
    assert stops["violations"].sum() == 3
    assert stops["repeats"].isna().all()
    assert stops.attrs["compliance_first"] == []
    assert (
        "violations have no dates: all are counted, and which are repeats is not known"
        in stops.attrs["notes"]
    )


def test_businesses_without_a_factor_are_stops(shops):
    """Every business is visited, 15 minutes each; two in one house are one stop and two talks."""
    two = things([(400.5, -15)], name=["Yellow Nails"])
    shops = pd.concat([shops, two], ignore_index=True)
    stops = plan_canvass(street(), {"weeds": things([(402, -16)])}, businesses=shops)
    table = stops.sort_values("chainage_m")
    assert table["minutes"].tolist() == [15, 35, 15, 15]
    assert table["place"].tolist()[1] == "Blue Cafe, Yellow Nails, 41 Oak St"
    assert table["departments"].tolist()[1] == (
        "Code Enforcement (weeds and overgrowth); Regulated Industries (liquor and business licences)"
    )
    assert stops["violations"].isna().all()


def test_minutes_can_be_given():
    """One number is that of every stop; a mapping adds up by factor; shifts follow."""
    layers = {"weeds": things([(200, 15), (800, 15)]), "graffiti": things([(200, 15)])}
    assert plan_canvass(street(), layers, minutes=7)["minutes"].tolist() == [7, 7]
    stops = plan_canvass(
        street(), layers, minutes={"weeds": 100}, teams=1, shift_minutes=60, metres_per_minute=1e9
    )
    assert sorted(stops["minutes"]) == [100, 105]
    assert stops.attrs["teams"][0]["shifts"] == 4
    assert "visits as given" in stops.attrs["statement"]


def test_the_newest_record_of_a_place_is_said():
    """last_seen is the newest day among the records of a stop, and missing without dates."""
    weeds = things([(200, 15)] * 3, date=pd.to_datetime(["2023-01-04 10:30", "2023-05-06 23:59", None]))
    stops = plan_canvass(street(), {"weeds": weeds, "graffiti": things([(600, 15)])}, teams=1)
    assert stops.sort_values("chainage_m")["last_seen"].tolist()[0] == pd.Timestamp("2023-05-06")
    assert stops.sort_values("chainage_m")["last_seen"].isna().tolist() == [False, True]


def test_nothing_about_persons_comes_through():
    """Owners' names, race, sex and age in a layer are in no column and no text of the stops."""
    houses = things([(200, 15), (600, 15)], name=["Jane Roe", "John Doe"], owner_name=["Jane Roe", "John Doe"], race=["W", "B"],
                    age=[51, 52], address=["20 Oak St", "61 Oak St"])  # fmt: skip
    with pytest.warns(DataWarning, match="looks like a record of persons"):
        stops = plan_canvass(street(), {"vacant houses": houses})
    assert tuple(stops.columns) == COLUMNS
    text = stops.to_csv() + json.dumps(stops.attrs)
    assert not any(word in text for word in ("Jane", "Roe", "John", "Doe", "race", "owner"))
    assert stops["place"].tolist() == ["61 Oak St", "20 Oak St"]


def test_layers_of_persons_and_of_police_work_make_no_stops():
    """They are refused by provenance and by name, unless a risk factor already allows them."""
    points = things([(200, 15)])
    arrests = read_layer(points, name="arrests", provenance="policing")
    with pytest.raises(InputError, match="Invalid layer 'stops'. It is of provenance 'policing'"):
        plan_canvass(street(), {"stops": arrests})
    with pytest.warns(DataWarning), pytest.raises(InputError, match="provenance 'person'"):
        plan_canvass(street(), {"parolees": points})
    with pytest.raises(InputError, match="policing"):
        plan_canvass(street(), {"stops": RiskFactor("stops", arrests)})
    allowed = RiskFactor("stops", arrests, allow_provenance="policing")
    assert len(plan_canvass(street(), {"stops": allowed})) == 1
    said = read_layer(points, name="gang graffiti", provenance="community-reported")
    assert len(plan_canvass(street(), {"gang graffiti": said})) == 1


def test_no_stop_is_an_answer():
    """Nothing within the width, an empty layer, or a raster alone: no rows, all columns, and a sentence."""
    far = things([(500, 400)])
    stops = plan_canvass(
        street(),
        {"weeds": far},
        businesses=far.assign(name="A"),
        violations=far.assign(date=pd.Timestamp("2024-01-01")),
    )
    assert len(stops) == 0
    assert tuple(stops.columns) == COLUMNS
    assert stops.crs == CRS
    assert stops.attrs["statement"] == (
        "No stop: no record of the layers given lies within 40 m (131 ft) of Oak Street (1,000 m (3,281 ft) long)."
    )
    with pytest.warns(DataWarning, match="nothing is left"):
        empty = plan_canvass(street(), {"weeds": far.iloc[:0]})
    assert len(empty) == 0
    assert empty.attrs["notes"] == ["weeds: the layer is empty"]
    raster = plan_canvass(street(), {"trees": "trees.tif", "weeds": things([(200, 15)])})
    assert raster.attrs["notes"] == ["trees: a raster has no places to visit; left out"]
    assert raster["factors"].tolist() == ["weeds"]


@pytest.mark.parametrize(
    ("corridor", "options"),
    [
        (street(), {}),
        (street().geometry, {}),
        (street().iloc[0], {"crs": CRS}),
        (street().geometry.iloc[0], {"crs": CRS}),
        (street().to_crs(4326), {}),
        (street().to_crs(4326).geometry.iloc[0], {"crs": 4326}),
        (street().to_crs(3857), {}),
        (street().to_crs("ESRI:102698"), {}),
        (street().set_geometry([shapely.MultiLineString([
            [(WEST, SOUTH), (WEST + 400, SOUTH)], [(WEST + 400, SOUTH), (WEST + 1000, SOUTH)]])]), {}),
    ],
)  # fmt: skip
def test_any_form_of_the_corridor_gives_the_same_stops(corridor, options):
    """A table of one row, a row, a line, in degrees, in stretched metres or in feet: the same places in metres."""
    layers = {"weeds": things(scattered(30, 2, corners=[(0, 0), (1000, 0)], width=38)).to_crs(4326)}
    expected = plan_canvass(street(), layers, width="131 ft")
    stops = plan_canvass(corridor, layers, width="131 ft", **options)
    # Projecting a line of two points moves its middle by a few millimetres.
    same = ["team", "seq", "side", "compass", "records"]
    pd.testing.assert_frame_equal(pd.DataFrame(stops[same]), pd.DataFrame(expected[same]))
    assert np.allclose(stops["chainage_m"], expected["chainage_m"], atol=0.5)
    assert stops.crs.axis_info[0].unit_conversion_factor == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "Invalid width 0. It must be greater than 0"),
        ({"width": "0 m"}, "Invalid width '0 m'. It must be greater than 0"),
        ({"width": "40 paces"}, "Invalid width '40 paces'. Write a number and a unit"),
        ({"layers": {}}, "Invalid layers {}. Give at least one"),
        ({"layers": [1]}, "Invalid layers of type list. Give a mapping"),
        ({"layers": {"weeds": things([(1, 1)]).set_crs(None, allow_override=True)}}, "does not say its coordinate reference system"),
        ({"teams": 3}, "Invalid teams 3. It must be 1 or 2"),
        ({"teams": 0}, "Invalid teams 0"),
        ({"start": "top"}, "Invalid start 'top'"),
        ({"pattern": "spiral"}, "Invalid pattern 'spiral'"),
        ({"minutes": -1}, "Invalid minutes -1. It must be minutes, 0 or more"),
        ({"minutes": {"noise": 4}}, "There is no such factor; there are: weeds, business"),
        ({"months": 0, "violations": things([(1, 1)])}, "Invalid months 0"),
        ({"as_of": "soon", "violations": things([(1, 1)])}, "Invalid as_of 'soon'. It must be a date"),
        ({"violations": "trees.tif"}, "Invalid violations. They are a raster"),
        ({"shift_minutes": 0}, "Invalid shift_minutes 0"),
        ({"metres_per_minute": -2}, "Invalid metres_per_minute -2"),
        ({"corridor": street().geometry.iloc[0]}, "Invalid crs None. A bare line"),
        ({"corridor": street().iloc[0]}, "or a table of one row, as in corridors.iloc"),
        ({"corridor": pd.concat([street(), street()])}, "Invalid corridor: 2 rows"),
        ({"corridor": street().set_geometry([shapely.Point(1, 1)])}, "Invalid corridor of type Point. It must be one unbroken line"),
        ({"corridor": street().set_geometry([shapely.MultiLineString([[(0, 0), (1, 0)], [(5, 0), (6, 0)]])])}, "one unbroken line"),
        ({"corridor": street().set_geometry([shapely.LineString([(4, 4), (4, 4)])])}, "one unbroken line with a length"),
        ({"corridor": street().set_geometry([shapely.LineString([(0, 0), (0, 4326000)])]).set_crs(4326, allow_override=True)}, "Invalid corridor. Its coordinates do not fit"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(change, message):
    """A wrong argument is an InputError that names it, its value and the rule."""
    given = {"corridor": street(), "layers": {"weeds": things([(200, 15)])}} | change
    with pytest.raises(InputError) as caught:
        plan_canvass(given.pop("corridor"), given.pop("layers"), **given)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("factor", "word"),
    [
        ("poor lighting", "lighting"), ("Street Lights", "lighting"), ("vacant houses", "Dangerous Buildings"),
        ("dangerous buildings", "Dangerous Buildings"), ("illegal dumping", "Solid Waste"), ("trash", "Solid Waste"),
        ("overgrown shrubs", "weeds"), ("mowing", "weeds"), ("weeds (inspection)", "weeds"),
        ("health violations", "Health"), ("food establishments", "Health"), ("rodents", "Health"),
        ("graffiti", "Graffiti"), ("abandoned vehicles", "Towing"), ("liquor stores", "Regulated"),
        ("business licences", "Regulated"), ("business licenses", "Regulated"), ("noise", "Noise"),
        ("blighted houses", "Dangerous Buildings"), ("billboards", UNASSIGNED), ("ratings", UNASSIGNED),
    ],
)  # fmt: skip
def test_factors_have_departments(factor, word):
    """The built-in list knows the factors of the task force; words fit whole words, not parts of others."""
    [department] = departments_of([factor])
    assert word in department


def test_departments_can_be_given(tmp_path):
    """An own list replaces the built-in one; the first department that fits takes a factor."""
    path = tmp_path / "departments.toml"
    path.write_text('[departments]\n"Team Ä" = "vac*"\nParks = ["vacant lot", "weed"]\n', encoding="utf-8")
    known = read_departments(path)
    assert departments_of(["vacant lots", "weeds", "vacancies", "noise"], known) == (
        "Team Ä",
        "Parks",
        UNASSIGNED,
    )
    stops = plan_canvass(
        street(), {"weeds": things([(200, 15)]), "noise": things([(200, 15)])}, departments=path
    )
    assert stops["departments"].tolist() == ["Parks; to be assigned"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[departments", "Its TOML is wrong"),
        ("", "It must hold one table [departments]; it holds nothing"),
        ("[towns]\na = 'b'", "it holds towns"),
        ("departments = 3", "it holds departments"),
        ("[departments]\n", "one table [departments]"),
        ("[departments]\nParks = 3", "'Parks' must be followed by a text or a list of texts"),
        ("[departments]\nParks = []", "'Parks' must be followed by"),
        ("[departments]\nParks.east = 'weed'", "'Parks' must be followed by"),
        ("[departments]\nParks = ['weed', '*']", "'Parks' has the word '*', which would fit every factor"),
        (b"\xff\xfe\x00", "It is not a text file in UTF-8"),
        (None, "It cannot be read: No such file or directory"),
    ],
)
def test_a_wrong_list_of_departments_is_said(tmp_path, text, message):
    """Every fault of the file is an InputError that names the file and the place."""
    path = tmp_path / "own.toml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        read_departments(path)
    assert message in str(caught.value)
    assert "own.toml" in str(caught.value)


@pytest.mark.filterwarnings("ignore::rtmkc.errors.DataWarning")
def test_the_sheet_of_independence_avenue():
    """On the sample: as many records as its files have within 40 m of the line, found by projecting them by hand."""
    folder = rtmkc.sample_path()
    layers = {
        name: rtmkc.read_kc_311(folder / "requests_311.csv", where=where)
        for name, where in {
            "poor lighting": "issue_sub_type == 'Street Light Out'",
            "vacant houses": "issue_type == 'A Vacant or Dangerous Building'",
        }.items()
    }
    stops = plan_canvass(folder / "treated.geojson", layers, businesses=folder / "businesses.csv")
    line = gpd.read_file(folder / "treated.geojson").to_crs("EPSG:32615").geometry.iloc[0]
    frames = [layer.frame for layer in layers.values()]
    shops = pd.read_csv(folder / "businesses.csv")
    frames.append(
        gpd.GeoDataFrame(shops, geometry=gpd.points_from_xy(shops["longitude"], shops["latitude"]), crs=4326)
    )
    near = [int((frame.to_crs("EPSG:32615").distance(line) <= 40).sum()) for frame in frames]
    assert stops["records"].sum() == sum(near) > 20
    assert stops.attrs["statement"].startswith(
        f"{len(stops)} stops within 40 m (131 ft) of Independence Avenue, Benton Boulevard to Hardesty Avenue"
    )
    assert sorted(stops.groupby("team")["heading"].first()) == ["east", "west"]
