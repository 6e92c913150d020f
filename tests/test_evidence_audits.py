"""Audits: grids by brute force, weights that stand where only lines move, and a hospital that made a weight."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

import rtmkc as rtm
from rtmkc.errors import CapacityError, InputError
from rtmkc.evidence.audits import MOVES, audit_grid, audit_places, moved_grid
from rtmkc.evidence.stability import compare_weights

UTM = "EPSG:26915"


@pytest.fixture(scope="module")
def city():
    """A Poisson city with three true factors of four, 40 x 40 cells of 100 m."""
    return rtm.simulate_city(n_rows=40, n_columns=40, n_factors=4, random_state=11, n_incidents=1500)


@pytest.fixture(scope="module")
def audit(city):
    return audit_grid(
        city.grid, city.risk_factors(), city.incidents, method="classic", allow_later_factors=True
    )


@pytest.fixture(scope="module")
def hospital():
    """A city without any true factor, and 150 incidents at one address beside the features of factor 0."""
    null = rtm.simulate_city(
        n_rows=40, n_columns=40, n_factors=2, active="null", n_incidents=600, random_state=4
    )
    points = null.factor_points["factor 0"]
    there = points.geometry.iloc[0]
    there = shapely.Point(there.x + 12.0, there.y)
    extra = gpd.GeoDataFrame(
        {
            "incident_id": [f"H{number:03d}" for number in range(150)],
            "date": pd.date_range("2021-01-01", periods=150, freq="7D"),
        },
        geometry=[there] * 150,
        crs=null.grid.crs,
    )
    incidents = pd.concat([null.incidents, extra], ignore_index=True)
    # Only the few features around the address, so that the address is much of what lies near them.
    near = points[points.distance(there) < 400]
    factors = [
        rtm.RiskFactor("clinics", near, max_influence="2 blocks", increment="half"),
        rtm.RiskFactor("factor 1", null.factor_points["factor 1"], increment="whole"),
    ]
    return null, factors, incidents, there


@pytest.fixture(scope="module")
def terrain(city):
    return fitted(city, city.risk_factors(), city.incidents)


def fitted(city, factors, incidents):
    return rtm.assess(city.grid, factors, incidents, method="classic", allow_later_factors=True)


@pytest.mark.parametrize(
    ("size", "east", "south"), [(100, 50, 0), (100, 0, 50), (100, 50, 50), (50, 0, 0), (200, 0, 0)]
)
def test_moved_grids_lie_where_they_should_and_cover_the_area(size, east, south):
    """Corners are those of the grid moved by the shift; every cell's share is the area of an intersection."""
    outline = shapely.Polygon([(0, 0), (930, 40), (880, 770), (310, 720)])
    outline = shapely.affinity.translate(outline, 400_000, 4_300_000)
    grid = rtm.Grid.cover(rtm.StudyArea.from_geometry(outline, crs=UTM), cell_size=100)
    moved = moved_grid(grid, cell_size=size, east=east, south=south)
    assert (moved.west - grid.west - east) % size == 0
    bottom = grid.north - grid.n_rows * grid.cell_size
    assert (moved.north - bottom + south) % size == 0
    squares = moved.cell_polygons()
    np.testing.assert_allclose(moved.share, squares.intersection(outline).area / size**2, atol=1e-9)
    assert moved.share.sum() * size**2 == pytest.approx(outline.area, rel=1e-9)
    assert (
        moved.block_length == 200
    )  # twice the cell of the grid as given, so that the same distances are tried


def test_the_same_grid_moved_by_nothing_is_the_grid(city):
    """No shift and the same size give equal grids."""
    assert moved_grid(city.grid, cell_size=city.grid.cell_size) == city.grid


def test_moving_the_origin_leaves_true_weights_within_chance(city, audit):
    """The true factors stay in the model on every moved grid, with log RRVs within three standard errors of those given."""
    table = audit.table.set_index("factor")
    moved = audit.weights[audit.weights["grid"].str.startswith("half a cell")]
    for name in city.truth.loc[city.truth["active"], "factor"]:
        own = moved[moved["factor"] == name]
        assert own["in_model"].all()
        given = table.loc[name]
        error = np.log(given["upper"] / given["lower"]) / (2 * 1.96)
        assert (np.abs(np.log(own["rrv"] / given["rrv"])) < 3 * error).all()


def test_weights_are_those_of_a_fit_on_the_other_grid(city, audit):
    """Each row of the weights is what a fit on that grid gives, and the change is against the grid as given."""
    other = moved_grid(city.grid, cell_size=100.0, east=50.0)
    why = rtm.RiskTerrainModel("classic").fit(
        other, city.risk_factors(), city.incidents, allow_later_factors=True
    )
    own = audit.weights[audit.weights["grid"] == "half a cell east"].set_index("factor")
    truth = why.weights_.set_index("factor").loc[own.index]
    np.testing.assert_allclose(own["rrv"], truth["rrv"])
    np.testing.assert_array_equal(own["in_model"], truth["status"] == "in the model")
    given = audit.weights[audit.weights["grid"] == "as given"].set_index("factor")["rrv"]
    np.testing.assert_allclose(own["change"], truth["rrv"] / given - 1)


def test_overlaps_are_areas_of_intersections(city, audit, terrain):
    """The overlap is the area flagged by both grids over the area flagged by the first, by brute force over cells."""
    second = rtm.assess(
        moved_grid(city.grid, cell_size=200.0),
        city.risk_factors(),
        city.incidents,
        method="classic",
        allow_later_factors=True,
    )
    row = audit.grids.set_index("grid").loc["twice the cell"]
    for by in ("expected", "rrs"):
        hot, cold = terrain.hotspots(area_share=0.02, by=by), second.hotspots(area_share=0.02, by=by)
        both = sum(one.intersection(two).area for one in hot.geometry for two in cold.geometry)
        assert row[f"overlap_{by}"] == pytest.approx(both / hot.area.sum(), rel=1e-9)
        near = hot.geometry.intersection(cold.buffer(100.0, join_style="mitre").union_all()).area.sum()
        assert row[f"near_{by}"] == pytest.approx(near / hot.area.sum(), rel=1e-9)


def test_every_grid_has_its_row(city, audit):
    """Six grids with their cells, BIC's cost log(n), and the whole overlap of the grid with itself."""
    grids = audit.grids.set_index("grid")
    assert list(grids.index) == ["as given", *MOVES]
    assert grids.loc["half the cell", "n_cells"] == 4 * city.grid.n_cells == 6400
    np.testing.assert_allclose(grids["log_cells"], np.log(grids["n_cells"].astype(float)))
    assert grids.loc["as given", ["overlap_expected", "overlap_rrs"]].tolist() == [1.0, 1.0]
    assert (grids["reason"] == "").all()
    assert "7.4 with 100 m" in audit.statement
    assert "8.8 with 50 m" in audit.statement


def test_a_grid_that_is_too_fine_is_left_out_and_said():
    """Above max_cells the half cell is not fitted; if the grid itself is above, nothing is."""
    one = {"n_factors": 1, "active": {0: ("proximity", 2, 3.0)}}
    small = rtm.simulate_city(n_rows=20, n_columns=20, **one, n_incidents=300, random_state=3)
    given = (small.grid, small.risk_factors(), small.incidents)
    few = {"method": "classic", "allow_later_factors": True}
    audit = audit_grid(*given, max_cells=1000, **few)
    left = audit.grids.set_index("grid").loc["half the cell"]
    assert left["reason"] == "about 1,600 cells, more than max_cells = 1,000"
    assert (audit.table["n_fits"] == 5).all()
    assert "The grid of 50 m (164 ft) cells was left out: about 1,600 cells" in audit.statement
    with pytest.raises(CapacityError, match="Invalid grid of 400 cells"):
        audit_grid(*given, max_cells=300, **few)


def test_bad_arguments_of_the_grid_audit_are_refused(city):
    """An exposure that cannot be measured again, a share beyond 1, a change of nothing."""
    few = {"method": "classic", "allow_later_factors": True}
    for bad, message in (
        ({"exposure": np.ones(city.grid.n_cells)}, "Invalid exposure of type ndarray"),
        ({"area_share": 0}, "Invalid area_share"),
        ({"largest_change": 0}, "Invalid largest_change"),
        ({"max_cells": 0}, "Invalid max_cells"),
    ):
        with pytest.raises(InputError, match=message):
            audit_grid(city.grid, city.risk_factors(), city.incidents, **few, **bad)


def table_of(rows):
    """Weights of a fit: factor -> (kind, influence, rrv), or None if it is not in the model."""
    return pd.DataFrame(
        [
            {"factor": name, "kind": row[0], "influence_m": row[1], "rrv": row[2], "lower": 1.0, "upper": 9.0,
             "status": "in the model", "reason": "tried"}
            if row
            else {"factor": name, "kind": "density", "influence_m": 1.0, "rrv": 7.0, "status": "not in the model", "reason": "tried"}
            for name, row in rows.items()
        ]
    )  # fmt: skip


def test_verdicts_by_hand():
    """15 % is the limit in either direction; what is not in a model has no weight there, whatever it was rejected with."""
    first = {
        "a": ("proximity", 200, 2.0),
        "b": ("proximity", 200, 2.0),
        "c": ("density", 100, 3.0),
        "d": None,
        "e": None,
    }
    other = {
        "a": ("proximity", 400, 2.29),
        "b": ("proximity", 200, 1.69),
        "c": None,
        "d": ("density", 9, 4.0),
        "e": None,
    }
    table, long = compare_weights(
        {"one": table_of(first), "two": table_of(dict(reversed(other.items())))}, largest_change=0.15
    )
    table = table.set_index("factor")
    assert table["verdict"].to_dict() == {
        "a": "stable", "b": "changes", "c": "comes and goes", "d": "comes and goes", "e": "never in the model",
    }  # fmt: skip
    assert table["flagged"].to_dict() == {"a": False, "b": True, "c": True, "d": True, "e": False}
    assert table["largest_change"].round(3).to_dict() == pytest.approx(
        {"a": 0.145, "b": -0.155, "c": np.nan, "d": np.nan, "e": np.nan}, nan_ok=True
    )
    assert table["same_column"].to_dict() == {"a": False, "b": True, "c": True, "d": True, "e": True}
    assert table.loc["a", ["rrv_lowest", "rrv_highest", "n_in_model", "n_fits"]].tolist() == [2.0, 2.29, 2, 2]
    assert long.loc[~long["in_model"], "rrv"].isna().all()
    assert long["reason"].tolist() == ["tried"] * 10


def test_a_hospital_is_found_and_what_it_did_is_undone(hospital):
    """150 of 750 incidents at one address make a factor nearby look risky; without them it leaves the model."""
    null, factors, incidents, there = hospital
    terrain = fitted(null, factors, incidents)
    assert terrain.factors == ["clinics"]
    audit = audit_places(terrain)
    place = audit.places.iloc[0]
    longitude, latitude = gpd.GeoSeries([there], crs=null.grid.crs).to_crs(4326).iloc[0].coords[0]
    assert len(audit.places) == 1
    assert (place["latitude"], place["longitude"]) == pytest.approx((latitude, longitude), abs=1e-7)
    assert place["incidents"] == 150
    assert (place["factor"], place["distance_m"]) == ("clinics", pytest.approx(12.0, abs=1e-3))
    assert place["hotspot"]
    assert not place["hotspot_without"]
    row = audit.table.set_index("factor").loc["clinics"]
    assert row["verdict"] == "comes and goes"
    assert row["in_model"]
    assert "1 place holds 150 incidents" in audit.statement
    assert "39 ft) from the nearest feature of 'clinics'" in audit.statement
    assert "'clinics' is in the model in 1 of 2 fits (not: without the places: " in audit.statement


def test_the_fit_without_a_place_is_that_of_the_other_incidents(hospital):
    """It has the weights and the forecast of a city to which the incidents at the address never came."""
    null, factors, incidents, there = hospital
    away = incidents[incidents.distance(there) > 0.01]
    # The period is stated: without it, it would be that of the dates of each.
    layers = [
        rtm.read_layer(one, name="calls", period="2021/2023", provenance="policing")
        for one in (incidents, away)
    ]
    terrain, clean = (fitted(null, factors, layer) for layer in layers)
    audit = audit_places(terrain)
    np.testing.assert_allclose(audit.terrain.cells["expected"], clean.cells["expected"], rtol=1e-9)
    np.testing.assert_allclose(audit.terrain.cells["rrs"], clean.cells["rrs"], rtol=1e-9)
    before = terrain.hotspots(area_share=0.02)["cell_id"]
    after = clean.hotspots(area_share=0.02)["cell_id"]
    assert audit.overlap_expected == pytest.approx(before.isin(after).mean())
    assert np.isnan(audit.overlap_rrs)  # without the place no factor is in the model


def test_where_no_place_dominates_nothing_is_fitted_again(terrain):
    """No place: the table says stable, the overlap is whole, and there is no other terrain."""
    audit = audit_places(terrain)
    assert audit.places.empty
    assert audit.terrain is None
    assert (audit.overlap_expected, audit.overlap_rrs) == (1.0, 1.0)
    assert not audit.table["flagged"].any()
    assert audit.statement.startswith("No place dominates: no coordinate holds 0.5 %")


def test_a_terrain_of_nothing_but_dominating_places_is_refused(hospital):
    """If all incidents lie at such places there is nothing to fit again."""
    null, factors, incidents, _ = hospital
    crowd = incidents.iloc[[0, 700] * 60].assign(date=pd.Timestamp("2021-05-05")).reset_index(drop=True)
    terrain = fitted(null, factors, crowd)
    with pytest.raises(InputError, match="All of its 120 incidents lie at 2 places that dominate"):
        audit_places(terrain)


def test_a_loaded_terrain_cannot_be_audited(terrain, tmp_path):
    """Files hold results, not models: the error says so."""
    terrain.save(tmp_path / "saved")
    with pytest.raises(InputError, match="results and not models"):
        audit_places(rtm.load(tmp_path / "saved"))
