"""Scoring and explaining places: rows come back as given, and the two explanations never mix."""

import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

import rtmkc as rtm
from rtmkc.errors import DataWarning, InputError

ADDED = ["cell_id", "relative", "expected", "lower", "upper", "percentile", "rrs", "why", "where"]


@pytest.fixture(scope="module")
def terrain():
    city = rtm.simulate_city(n_rows=40, n_columns=40, random_state=3, n_incidents=800)
    return rtm.assess(city.grid, city.risk_factors(), city.incidents, method="classic")


@pytest.fixture
def places(terrain):
    """Five points in metres under an index of letters: four middles of cells, and one far outside."""
    grid = terrain.grid
    chosen = np.array([0, 1599, 777, 40])
    points = [*shapely.points(grid.eastings[chosen], grid.northings[chosen]), shapely.Point(0, 0)]
    points[4] = shapely.Point(grid.west - 5000, grid.north)
    return gpd.GeoDataFrame({"shop": list("abcde")}, geometry=points, index=list("vwxyz"), crs=grid.crs)


def row_of(table, name):
    return table.set_index("shop").loc[name]


def test_rows_come_back_with_what_their_cell_says(terrain, places):
    """Index, columns and geometry are those given; the values are those of the cell that holds the point."""
    before = places.copy()
    table = rtm.score(terrain, places)
    assert list(table.columns) == ["shop", *ADDED, "geometry"]
    pd.testing.assert_frame_equal(pd.DataFrame(table[["shop"]]), pd.DataFrame(before[["shop"]]))
    assert table.geometry.geom_equals(before.geometry).all()
    assert table.crs == before.crs
    assert table["cell_id"].tolist() == [0, 1599, 777, 40, -1]
    cells = terrain.cells.iloc[[0, 1599, 777, 40]]
    for name in ("expected", "lower", "upper", "rrs"):
        np.testing.assert_array_equal(table[name].iloc[:4], cells[name])
    np.testing.assert_array_equal(table["relative"].iloc[:4], cells["expected"] / terrain.city_mean)
    pd.testing.assert_frame_equal(places, before)


def test_places_outside_are_said_to_be_outside(terrain, places):
    """A place outside has no cell, missing values, and words that say so."""
    outside = rtm.score(terrain, places).loc["z"]
    assert outside["cell_id"] == -1
    assert outside[["relative", "expected", "lower", "upper", "percentile", "rrs"]].isna().all()
    assert outside["why"] == outside["where"] == "outside the study area"


@pytest.mark.parametrize("form", ["degrees", "table", "csv", "layer"])
def test_every_form_of_places_scores_alike(terrain, places, tmp_path, form):
    """Degrees, a plain table of longitude and latitude, its CSV and its Layer give what metres give."""
    degrees = places.to_crs(4326)
    plain = pd.DataFrame({"shop": degrees["shop"], "lon": degrees.geometry.x, "lat": degrees.geometry.y})
    plain.to_csv(tmp_path / "shops.csv", index=False)
    given = {
        "degrees": degrees,
        "table": plain,
        "csv": tmp_path / "shops.csv",
        "layer": rtm.read_layer(plain, name="shops"),
    }[form]
    table, metres = rtm.score(terrain, given), rtm.score(terrain, places)
    np.testing.assert_array_equal(table[ADDED[:-2]], metres[ADDED[:-2]])
    assert table["why"].tolist() == metres["why"].tolist()
    assert table.index.tolist() == ([*range(5)] if form == "csv" else list("vwxyz"))


def test_index_is_kept_whatever_it_is(terrain, places):
    """An index with repeats, in any order, comes back; each row has its own values."""
    shuffled = places.iloc[[2, 0, 4, 1]].set_axis(["s", "s", "t", "s"], axis=0)
    table = rtm.score(terrain, shuffled)
    assert table.index.tolist() == ["s", "s", "t", "s"]
    assert table["cell_id"].tolist() == [777, 0, -1, 1599]


def test_rows_without_coordinates_keep_their_place(terrain, places):
    """A row of a table without coordinates comes back, unscored, with a warning that counts it."""
    degrees = places.to_crs(4326)
    plain = pd.DataFrame({"shop": degrees["shop"], "lon": degrees.geometry.x, "lat": degrees.geometry.y})
    plain.loc["w", "lat"] = np.nan
    with pytest.warns(DataWarning, match="1 of 5 rows were dropped: 1 no coordinates"):
        table = rtm.score(terrain, plain)
    assert table["shop"].tolist() == list("abcde")
    assert table["cell_id"].tolist() == [0, -1, 777, 40, -1]
    assert table.loc["w", "why"] == "no usable coordinates"
    assert table.geometry.isna().tolist() == [False, True, False, False, False]


def test_rows_of_a_file_without_coordinates_come_back(terrain, tmp_path):
    """A file with a row that has no place gives all its rows back, in order, that one without a score."""
    cell = terrain.grid.cell_polygons([0, 5]).centroid.to_crs(4326)
    path = tmp_path / "shops.csv"
    path.write_text(
        f"name,latitude,longitude\na,{cell.iloc[0].y},{cell.iloc[0].x}\nb,,\nc,{cell.iloc[1].y},{cell.iloc[1].x}\n"
    )
    with pytest.warns(DataWarning, match="1 no coordinates"):
        scored = terrain.score(path)
    assert scored["name"].tolist() == ["a", "b", "c"]
    assert scored["cell_id"].tolist() == [0, -1, 5]
    assert scored["why"].iloc[1] == "no usable coordinates"
    assert scored["expected"].isna().tolist() == [False, True, False]


def test_columns_with_our_names_are_renamed_and_kept(terrain, places):
    """A column of the user called like one of ours survives as <name>_given, also the second time."""
    mine = places.assign(rrs=[1, 2, 3, 4, 5], rrs_given="mine", why="because")
    table = rtm.score(terrain, mine)
    assert table["rrs_given"].tolist() == ["mine"] * 5
    assert table["rrs_given_given"].tolist() == [1, 2, 3, 4, 5]
    assert table["why_given"].tolist() == ["because"] * 5
    again = rtm.score(terrain, rtm.score(terrain, places))
    np.testing.assert_array_equal(again["rrs"], again["rrs_given"])
    assert again.columns.is_unique


def test_the_name_of_the_geometry_and_other_columns_survive(terrain, places):
    """A geometry under another name keeps it; columns of any label are kept; those about persons are not."""
    named = places.rename_geometry("spot").assign(**{"race": "x"})
    named[7] = 1.5
    with pytest.warns(DataWarning, match="'race' looks like a record of persons"):
        table = rtm.score(terrain, named)
    assert table.geometry.name == "spot"
    assert list(table.columns) == ["shop", "7", *ADDED, "spot"]


def test_lines_and_areas_are_scored_at_a_point_on_them(terrain):
    """A line along a row of cells is scored in one of them; a polygon within one cell in that one."""
    grid = terrain.grid
    line = shapely.LineString(
        [(grid.eastings[81], grid.northings[81]), (grid.eastings[85], grid.northings[85])]
    )
    square = shapely.Point(grid.eastings[500], grid.northings[500]).buffer(20)
    table = rtm.score(terrain, gpd.GeoDataFrame(geometry=[line, square], crs=grid.crs))
    assert 81 <= table["cell_id"].iloc[0] <= 85
    assert table["cell_id"].iloc[1] == 500
    assert table.geometry.iloc[0] == line


def test_no_places_give_no_rows(terrain, places):
    """An empty table comes back empty with all columns, and a warning says that nothing was there."""
    with pytest.warns(DataWarning, match="nothing is left of 0 rows"):
        table = rtm.score(terrain, places.iloc[:0])
    assert len(table) == 0
    assert list(table.columns) == ["shop", *ADDED, "geometry"]


def test_all_outside_is_an_error_that_says_why(terrain, places):
    """If no place lies in the area the message shows both extents; exchanged coordinates are recognised."""
    with pytest.raises(InputError, match=r"'places'. None of its 1 points lies in the study area.*same city"):
        rtm.score(terrain, places.loc[["z"]])
    degrees = places.iloc[:4].to_crs(4326)
    swapped = pd.DataFrame({"latitude": degrees.geometry.x, "longitude": degrees.geometry.y})
    with pytest.raises(InputError, match="longitude and latitude look swapped"):
        rtm.score(terrain, swapped)


def test_places_without_a_system_are_refused(terrain, places):
    """Points that do not say their coordinate system are refused with the fix."""
    bare = gpd.GeoDataFrame(geometry=list(places.geometry))
    with pytest.raises(InputError, match="coordinate reference system"):
        rtm.score(terrain, bare)


def test_percentile_is_the_share_of_area_below(terrain, places):
    """The percentile is the share of the area in cells with a lower expected value, by brute force."""
    expected, share = terrain.cells["expected"].to_numpy(), terrain.grid.share
    table = rtm.score(terrain, places.iloc[:4])
    for _, row in table.iterrows():
        below = share[expected < row["expected"]].sum() / share.sum()
        assert row["percentile"] == pytest.approx(100 * below, abs=1e-9)
    lowest = rtm.explain(terrain, int(expected.argmin()))
    point = gpd.GeoSeries.from_xy([lowest.longitude], [lowest.latitude], crs=4326)
    assert rtm.score(terrain, gpd.GeoDataFrame(geometry=point))["percentile"].tolist() == [0.0]


def test_words_multiply_to_the_scores(terrain):
    """The RRVs named in `why` multiply to the relative risk score, those of `where` to the multiple."""
    hot = rtm.find_hotspots(terrain, count=20)
    for _, row in hot.iterrows():
        named = [part.rsplit(" x", 1) for part in row["why"].split(", ")] if " x" in row["why"] else []
        assert {name for name, _ in named} == {name for name in terrain.factors if row[f"f_{name}"]}
        assert np.prod([float(value) for _, value in named]) == pytest.approx(row["rrs"], rel=0.02)
        parts = [float(part.rsplit(" x", 1)[1]) for part in row["where"].split(", ")]
        assert np.prod(parts) == pytest.approx(row["relative"], rel=0.03)


def test_one_place_is_explained_alike_however_it_is_named(terrain):
    """(latitude, longitude), a point in metres and the number of the cell give the same explanation."""
    by_cell = rtm.explain(terrain, 777)
    point = shapely.Point(terrain.grid.eastings[777], terrain.grid.northings[777])
    assert str(by_cell) == str(rtm.explain(terrain, point))
    assert str(by_cell) == str(rtm.explain(terrain, (by_cell.latitude, by_cell.longitude)))
    assert str(by_cell) == str(terrain.explain(np.int64(777)))
    assert by_cell.cell_id == 777


def test_an_explanation_is_two_blocks(terrain):
    """Why here holds every factor of the model, present or not; where next holds the four parts."""
    cell = int(terrain.cells["rrs"].to_numpy().argmax())
    explanation = rtm.explain(terrain, cell)
    why, where = str(explanation).split("Where next")
    for name in terrain.factors:
        assert name in why
        assert name not in where
    assert "x environment" in where
    assert f"{terrain.facts['n_incidents']:,} incidents" in why
    parts = explanation.where
    product = parts["city_mean"] * parts["environment"] * parts["area_history"] * parts["spot_history"]
    assert parts["expected"] == pytest.approx(product, rel=1e-12)
    present = explanation.why.loc[explanation.why["present"], "rrv"]
    assert explanation.rrs == pytest.approx(present.prod(), rel=1e-12)
    assert json.loads(json.dumps(explanation.to_dict(), allow_nan=False))["cell_id"] == cell


def test_no_significant_factor_is_said_in_the_explanation(terrain):
    """A terrain without factors explains its places by history and says that no factor is significant."""
    city = rtm.simulate_city(
        n_rows=20, n_columns=20, active="null", n_factors=2, random_state=1, n_incidents=80
    )
    without = rtm.assess(city.grid, city.risk_factors(), city.incidents, method="classic")
    assert without.factors == []
    assert "  no significant factor\n  relative risk score 1.00" in str(rtm.explain(without, 0))
    table = rtm.score(without, city.incidents)
    assert (table["rrs"] == 1).all()
    assert set(table["why"]) <= {"no measured factor", "ranked by history; no measured factor explains it"}


@pytest.mark.parametrize(
    ("location", "rule"),
    [
        ("1200 Main Street", "Addresses need an address layer"),
        ("12", "Addresses need an address layer"),
        (None, r"Give \(latitude, longitude\) in degrees"),
        (True, r"Give \(latitude, longitude\) in degrees"),
        ((39.1, -94.5, 0.0), r"Give \(latitude, longitude\) in degrees"),
        ((0.0, 0.0), "It lies outside the study area.$"),
        ((float("nan"), -94.5), "It lies outside the study area.$"),
        ((139.0, -94.5), "It lies outside the study area.$"),
        (shapely.Point(), "It lies outside the study area.$"),
        (1600, r"Invalid cell 1600. The grid has cells 0 to 1,599"),
        (-1, "Invalid cell -1"),
    ],
)
def test_places_that_are_none_are_refused(terrain, location, rule):
    """Addresses, other things, and places outside are refused with what to give instead."""
    with pytest.raises(InputError, match=rule):
        rtm.explain(terrain, location)


def test_exchanged_coordinates_are_recognised(terrain):
    """(longitude, latitude), and a Point in degrees, are refused with the order that would do."""
    there = rtm.explain(terrain, 777)
    with pytest.raises(InputError, match="With the two exchanged it would be inside: write latitude first"):
        rtm.explain(terrain, (there.longitude, there.latitude))
    with pytest.raises(InputError, match=r"A Point is in the grid's system.*give \(39\."):
        rtm.explain(terrain, shapely.Point(there.longitude, there.latitude))
