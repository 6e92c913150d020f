"""Bias panel: totals against shapely, invariances, thinned reports, factors of policing, and bad districts."""

import itertools

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

import rtmkc as rtm
from rtmkc.errors import InputError
from rtmkc.evidence.bias import bias_panel, forecast_of
from rtmkc.evidence.districts import OUTSIDE, share_out

TABLE_SHARES = ["area_share", "residents_share", "incidents_share", "flagged_share", "flagged_share_rrs"]


@pytest.fixture(scope="module")
def city():
    """A city of 40 x 40 cells of 100 m with three true factors."""
    return rtm.simulate_city(n_rows=40, n_columns=40, n_factors=3, n_incidents=900, random_state=5)


@pytest.fixture(scope="module")
def terrain(city):
    return assess(city, city.risk_factors())


@pytest.fixture(scope="module")
def wards(city):
    """Four wards cut by slanted lines, none along a cell; a strip in the north lies in none."""
    west, south, east, north = city.area.geometry.bounds
    middle_west, middle_east, top = west + 1730.0, west + 2210.0, north - 260.0
    height = south + 1515.0
    shapes = [
        shapely.Polygon([(west - 50, south - 50), (middle_east, south - 50), (middle_west, height), (west - 50, height)]),
        shapely.Polygon([(middle_east, south - 50), (east + 50, south - 50), (east + 50, height), (middle_west, height)]),
        shapely.Polygon([(west - 50, height), (middle_west, height), (middle_east, top), (west - 50, top)]),
        shapely.Polygon([(middle_west, height), (east + 50, height), (east + 50, top), (middle_east, top)]),
    ]  # fmt: skip
    table = {
        "ward": ["South West", "South East", "North West", "North East"],
        "people": [4000, 1000, 2500, 0],
    }
    return gpd.GeoDataFrame(table, geometry=shapes, crs=city.grid.crs)


@pytest.fixture(scope="module")
def panel(terrain, wards):
    return bias_panel(terrain, wards, residents="people")


def assess(city, factors):
    return rtm.assess(city.grid, factors, city.incidents, method="classic", allow_later_factors=True)


def test_areas_and_incidents_are_those_of_shapely(city, terrain, wards, panel):
    """The share of every ward in land and flagged land is the area of intersections; incidents are points in polygons."""
    area, points = city.area.geometry, terrain.models.why.observations_.incidents.frame.geometry
    hot = terrain.hotspots(area_share=0.02).geometry.union_all()
    by_rrs = terrain.hotspots(area_share=0.02, by="rrs").geometry.union_all()
    table = panel.table.set_index("district")
    for name, shape in zip(wards["ward"], wards.geometry, strict=True):
        assert table.loc[name, "area_share"] == pytest.approx(
            shape.intersection(area).area / area.area, rel=1e-6
        )
        for flagged, ending in ((hot, ""), (by_rrs, "_rrs")):
            share = shape.intersection(flagged).area / flagged.area
            assert table.loc[name, f"flagged_share{ending}"] == pytest.approx(share, abs=1e-6)
            inside = points.within(shape)
            assert table.loc[name, "incidents"] == inside.sum()
            assert table.loc[name, f"caught{ending}"] == (inside & points.intersects(flagged)).sum()
    assert 0 < table.loc[OUTSIDE, "area_share"] == pytest.approx(1 - table["area_share"].iloc[:-1].sum())


def test_nothing_is_lost_and_nothing_counted_twice(terrain, panel):
    """Every share sums to 1 over the districts and the rest, and incidents sum to those of the model."""
    for column in TABLE_SHARES:
        assert panel.table[column].sum() == pytest.approx(1, rel=1e-12)
    assert panel.table["incidents"].sum() == terrain.facts["n_incidents"]
    assert panel.table["district"].iloc[-1] == OUTSIDE


def test_ratios_and_numbers_per_resident_follow_from_the_other_columns(terrain, panel):
    """ratio = flagged share / incidents' share; flagged land per 10,000 residents; none where nobody lives."""
    table = panel.table.set_index("district")
    own = table.drop(index=OUTSIDE)
    np.testing.assert_allclose(own["ratio"], own["flagged_share"] / own["incidents_share"])
    np.testing.assert_allclose(own["caught_share"], own["caught"] / own["incidents"])
    grid = terrain.grid
    flagged = terrain.hotspots(area_share=0.02)["cell_id"]
    flagged_m2 = grid.share[flagged].sum() * grid.cell_size**2
    per_head = 1e4 * own["flagged_share"] * flagged_m2 / own["residents"].where(own["residents"] > 0)
    np.testing.assert_allclose(own["flagged_m2_per_10000"], per_head)
    assert np.isnan(table.loc["North East", "flagged_m2_per_10000"])
    assert np.isnan(table.loc[OUTSIDE, "residents"])


def test_residents_of_a_ward_half_outside_count_by_the_part_inside(city, terrain):
    """A ward with 60 % of its land in the city has 60 % of its residents in it."""
    west, south, east, north = city.area.geometry.bounds
    wide = (east - west) / 2
    shapes = [
        shapely.box(west, south, west + wide, north),
        shapely.box(east - wide, south, east + wide * 2 / 3, north),
    ]
    wards = gpd.GeoDataFrame({"ward": ["a", "b"], "people": [100, 1000]}, geometry=shapes, crs=city.grid.crs)
    table = bias_panel(terrain, wards, residents="people", reporting=()).table.set_index("district")
    assert table["residents"].drop(OUTSIDE).to_dict() == pytest.approx({"a": 100, "b": 600})


def test_residents_from_census_areas_and_from_a_raster_agree(city, terrain, wards, tmp_path):
    """Blocks of equal density and a flat raster give each ward residents by its land, the rest too, and lose nobody."""
    rasterio = pytest.importorskip("rasterio")
    grid = city.grid
    west, south, east, north = city.area.geometry.bounds
    edges = np.linspace(west, east, 6)
    blocks = gpd.GeoDataFrame(
        {"people": np.full(5, 1200.0)},
        geometry=[shapely.box(a, south, b, north) for a, b in itertools.pairwise(edges)],
        crs=grid.crs,
    )
    path = tmp_path / "people.tif"
    values = np.full((grid.n_rows, grid.n_columns), 6000.0 / grid.n_cells, dtype="float64")
    shape = {"height": grid.n_rows, "width": grid.n_columns, "count": 1, "dtype": "float64"}
    with rasterio.open(path, "w", driver="GTiff", crs=grid.crs, transform=grid.transform, **shape) as file:
        file.write(values, 1)
    for residents in ((blocks, "people"), rtm.read_raster(path, name="people", provenance="environment")):
        table = bias_panel(terrain, wards, residents=residents, reporting=()).table
        np.testing.assert_allclose(table["residents"], 6000 * table["area_share"], rtol=1e-6)


def test_the_order_of_districts_does_not_matter(terrain, wards, panel):
    """Shuffled rows, and a ward in two rows, give the same tables and sentences."""
    other = bias_panel(terrain, wards.iloc[[2, 0, 3, 1]], residents="people")
    pd.testing.assert_frame_equal(other.table, panel.table, rtol=1e-12)
    pd.testing.assert_frame_equal(other.scenarios, panel.scenarios, rtol=1e-12)
    assert other.sentences == panel.sentences
    whole = wards.geometry.iloc[0]
    middle = whole.centroid.y
    halves = [
        whole.intersection(shapely.box(0, 0, 1e7, middle)),
        whole.intersection(shapely.box(0, middle, 1e7, 1e7)),
    ]
    pieces = gpd.GeoDataFrame(
        {"ward": ["South West"] * 2, "people": [4000, 0]}, geometry=halves, crs=wards.crs
    )
    split = bias_panel(terrain, pd.concat([pieces, wards.iloc[1:]]), reporting=())
    np.testing.assert_allclose(split.table["flagged_share"], panel.table["flagged_share"], rtol=1e-9)


def test_overlapping_districts_share_what_both_cover(city, terrain):
    """Two districts that each cover the whole city get half of everything, and the overlap is said."""
    outline = city.area.geometry
    twice = gpd.GeoDataFrame({"ward": ["a", "b"]}, geometry=[outline, outline.buffer(500)], crs=city.grid.crs)
    panel = bias_panel(terrain, twice)
    for column in ("area_share", "incidents_share", "flagged_share"):
        np.testing.assert_allclose(panel.table[column], [0.5, 0.5, 0], atol=1e-9)
    assert "overlap on 100 %" in panel.statement


def test_as_reported_the_history_is_the_forecast(terrain):
    """Counts multiplied by 1 give back the forecast, by any other constant its shape."""
    where = terrain.models.where
    same = forecast_of(where, np.ones(terrain.grid.n_cells))
    np.testing.assert_allclose(same, where.expected_, rtol=1e-9)


def test_the_less_a_district_reports_the_more_of_the_flags_it_should_have(terrain, wards):
    """Its supposed share never falls as its reporting rate falls, rises somewhere, and lies within the stated range."""
    panel = bias_panel(terrain, wards, reporting=(0.9, 0.7, 0.5, 0.3))
    rises = 0.0
    for name, own in panel.scenarios.groupby("district"):
        shares = own.sort_values("reporting_rate", ascending=False)["flagged_share_if"].to_numpy()
        reported = own["flagged_share"].iloc[0]
        assert (np.diff(np.append(reported, shares)) >= -1e-12).all()
        rises = max(rises, shares[-1] - reported)
        row = panel.table.set_index("district").loc[name]
        assert row["flagged_share_low"] <= reported <= shares.max() <= row["flagged_share_high"] + 1e-12
    assert rises > 0.05


def test_dividing_the_counts_undoes_a_loss_of_reports(city, wards, terrain):
    """A ward whose reports were thinned to 60 % gets back most of its share at the rate 0.6."""
    shape = wards.set_index("ward").geometry["South West"]
    inside = city.incidents.within(shape).to_numpy()
    lost = inside & (np.random.default_rng(1).uniform(size=len(inside)) > 0.6)
    thinned = rtm.assess(
        city.grid, city.risk_factors(), city.incidents[~lost], method="classic", allow_later_factors=True
    )
    truth = (
        bias_panel(terrain, wards, reporting=())
        .table.set_index("district")
        .loc["South West", "flagged_share"]
    )
    panel = bias_panel(thinned, wards, reporting=(0.6,))
    own = panel.scenarios.set_index("district").loc["South West"]
    assert own["flagged_share"] < truth
    assert abs(own["flagged_share_if"] - truth) < abs(own["flagged_share"] - truth)


def test_factors_of_policing_are_left_out_for_comparison(city, wards, terrain, panel):
    """With a factor that policing made, the columns without it are those of a model that never had it."""
    factors = city.risk_factors()
    stops = rtm.read_layer(city.factor_points["factor 1"], name="stops", provenance="policing")
    with_stops = [
        factors[0],
        rtm.RiskFactor("stops", stops, increment="whole", allow_provenance="policing"),
        factors[2],
    ]
    both = bias_panel(assess(city, with_stops), wards, reporting=())
    alone = bias_panel(assess(city, [factors[0], factors[2]]), wards, reporting=())
    assert both.left_out == ("stops",)
    left, right = (
        both.table.set_index("district").sort_index(),
        alone.table.set_index("district").sort_index(),
    )
    for column in ("flagged_share", "ratio", "flagged_share_rrs", "ratio_rrs"):
        np.testing.assert_allclose(left[f"{column}_without"], right[column], rtol=1e-9)
    assert not np.allclose(left["flagged_share_without"], left["flagged_share"])
    assert "Without what policing made or what is about persons (stops)" in both.statement
    assert panel.left_out == ()
    assert "No factor is stated to be made by policing" in panel.statement
    assert (
        "What made these factors is not stated, and may be police work: factor 0, factor 1" in panel.statement
    )


def test_only_policing_leaves_no_model(city, wards):
    """If all factors are made by policing it is said, and no column pretends to be without them."""
    stops = rtm.read_layer(city.factor_points["factor 1"], name="stops", provenance="policing")
    factor = rtm.RiskFactor("stops", stops, increment="whole", allow_provenance="policing")
    panel = bias_panel(assess(city, [factor]), wards, reporting=())
    assert "without them there is no model" in panel.statement
    assert not [column for column in panel.table if column.endswith("_without")]


def test_sentences_say_what_the_table_says(panel):
    """The largest share, the strongest scenario and the limits are in the words, with the table's numbers."""
    first = panel.table.iloc[0]
    assert (
        f"{first['district']} has the largest part: {100 * first['flagged_share']:.0f} %" in panel.statement
    )
    most = panel.scenarios.loc[panel.scenarios["change"].idxmax()]
    assert f"If people in {most['district']} reported only 60 %" in panel.statement
    assert f"{100 * most['flagged_share_if']:.0f} %, not" in panel.statement
    assert "Race, sex and age of people are not used" in panel.statement
    assert "North East" in panel.statement or "South" in panel.statement


def test_a_city_without_a_factor_has_no_ranking_by_rrs(wards):
    """Where nothing is in the model the columns by relative risk score are missing, and those by history stand."""
    null = rtm.simulate_city(
        n_rows=40, n_columns=40, n_factors=2, active="null", n_incidents=900, random_state=6
    )
    terrain = assess(null, null.risk_factors())
    assert not terrain.factors
    table = bias_panel(terrain, wards, reporting=()).table
    assert table["flagged_share_rrs"].isna().all()
    assert table["flagged_share"].sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda wards: wards.iloc[:1], "a comparison needs two"),
        (
            lambda wards: wards.set_geometry(wards.translate(1e5)),
            "0 of its 4 districts lie in the study area",
        ),
        (lambda wards: wards.set_geometry(wards.centroid), "Districts are areas, and the layer holds none"),
        (lambda wards: wards.rename(columns={"people": "inhabitants"}), "Invalid column 'people'"),
        (lambda wards: wards.assign(people=[-1, 1, 2, 3]), "1 a negative number, of 4"),
        (lambda wards: wards.assign(people=[None, 1, 2, 3]), "1 areas have none stated"),
        (lambda wards: wards.assign(people=["few", "1", "2", "3"]), "must hold numbers"),
        (lambda wards: wards.assign(people=0), "one more than 0"),
    ],
)
def test_bad_districts_are_refused(terrain, wards, change, message):
    """Districts that cover nothing, one district, points, and residents missing, negative or not numbers."""
    with pytest.raises(InputError, match=message):
        bias_panel(terrain, change(wards), name="ward", residents="people")


def test_columns_about_race_sex_or_age_are_refused(terrain, wards):
    """They can be neither the number of residents nor the name of a district."""
    for column in ("black_race", "median_age", "Sex"):
        with pytest.raises(InputError, match="about race, sex or age are never used"):
            bias_panel(terrain, wards.assign(**{column: 1}), name="ward", residents=column)
        with pytest.raises(InputError, match="about race, sex or age are never used"):
            bias_panel(terrain, wards.assign(**{column: 1}), name=column)


def test_bad_arguments_are_refused(terrain, wards):
    """Rates beyond 0 to 1, an area share beyond 1, residents of no kind, a column that is not there."""
    for rate in (0, 1, 1.2, -0.5):
        with pytest.raises(InputError, match="greater than 0 and less than 1"):
            bias_panel(terrain, wards, reporting=(rate,))
    with pytest.raises(InputError, match="Invalid area_share"):
        bias_panel(terrain, wards, area_share=2)
    with pytest.raises(InputError, match="Invalid residents of type int"):
        bias_panel(terrain, wards, residents=3)
    with pytest.raises(InputError, match="Invalid column 'beat'"):
        bias_panel(terrain, wards, name="beat")


def test_progress_runs_to_its_end(terrain, wards):
    """Every district is counted once, and the last call says that all are done."""
    seen = []
    bias_panel(terrain, wards, progress=lambda *call: seen.append(call))
    assert seen == [("reporting rates", number, 4) for number in range(5)]


def test_shares_of_cells_are_exact_on_a_round_area():
    """On a disc cut in three the shares of each cell sum to that of the cell in the area, and to the exact areas."""
    disc = shapely.Point(500_000, 4_300_000).buffer(700)
    grid = rtm.Grid.cover(rtm.StudyArea.from_geometry(disc, crs="EPSG:26915"), cell_size=90)
    west, south, east, north = disc.bounds
    cuts = [west, west + 333.3, west + 801.7, east]
    shapes = [shapely.box(a, south, b, north) for a, b in itertools.pairwise(cuts)]
    thirds = gpd.GeoDataFrame({"ward": list("abc")}, geometry=shapes, crs=grid.crs)
    shared = share_out(grid, shapely.points([[500_000, 4_300_000]]), thirds, name="ward", residents=None)
    np.testing.assert_allclose(shared.cells.sum(axis=1), grid.share, atol=1e-12)
    found = shared.cells.sum(axis=0) * grid.cell_size**2
    np.testing.assert_allclose(found[:3], [shape.intersection(disc).area for shape in shapes], rtol=1e-5)
    assert found[3] == 0
