"""A whole run as a function: what it returns, what it writes, and what it says on the way."""

import json
from html import escape

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely import box

import rtmkc as rtm
from rtmkc.errors import InputError, OutputError, StudyError
from rtmkc.workflow.study import AreaSpec, DistrictsSpec, ExposureSpec, FactorSpec, HotspotSpec, LayerSpec


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    """A simulated city of 30 x 30 cells and its files."""
    folder = tmp_path_factory.mktemp("city")
    city = rtm.simulate_city(n_rows=30, n_columns=30, n_factors=3, random_state=5, n_incidents=600)
    city.incidents.to_file(folder / "incidents.gpkg")
    for name, points in city.factor_points.items():
        points.to_file(folder / f"{name}.gpkg")
    gpd.GeoDataFrame(geometry=[city.area.geometry], crs=city.area.crs).to_file(folder / "area.gpkg")
    return folder, city


def study_of(city, **changes):
    folder, simulated = city
    factors = [
        FactorSpec(name=name, file=f"{name}.gpkg", increment="whole") for name in simulated.factor_points
    ]
    values = {
        "study": AreaSpec(name="Simulated", boundary="area.gpkg", block_length=200),
        "incidents": LayerSpec(file="incidents.gpkg", period="2021/2023"),
        "factors": factors,
        "hotspots": HotspotSpec(count=12),
        "folder": str(folder),
    }
    return rtm.Study(**values | changes)


@pytest.fixture(scope="module")
def results(city, tmp_path_factory):
    steps = []
    out = tmp_path_factory.mktemp("run") / "results"
    found = rtm.run(study_of(city), out, progress=lambda *step: steps.append(step))
    return found, steps


def test_a_run_is_the_parts_in_a_row(results, city):
    """Its terrain is the one of `assess` on the same layers, its hot spots those of `find_hotspots`."""
    _, simulated = city
    found, _ = results
    assert found.terrain.grid == simulated.grid
    incidents = rtm.read_layer(simulated.incidents, name="incidents", period="2021/2023")
    terrain = rtm.assess(simulated.grid, simulated.risk_factors(), incidents)
    pd.testing.assert_frame_equal(found.terrain.weights, terrain.weights)
    np.testing.assert_allclose(found.terrain.cells["expected"], terrain.cells["expected"], rtol=1e-9)
    assert found.hotspots["cell_id"].tolist() == rtm.find_hotspots(terrain, count=12)["cell_id"].tolist()
    assert found.areas["n_cells"].sum() == 12


def test_what_is_written_is_what_is_returned(results):
    """The tables on disk hold the rows of the frames in memory, and the model loads to the same terrain."""
    found, _ = results
    assert (
        pd.read_csv(found.folder / "hotspots.csv")["cell_id"].tolist() == found.hotspots["cell_id"].tolist()
    )
    assert len(pd.read_csv(found.folder / "corridors.csv")) == len(found.corridors)
    loaded = rtm.load(found.folder)
    pd.testing.assert_frame_equal(loaded.cells, found.terrain.cells, check_dtype=False)
    assert not (found.folder / "weights_without_exposure.csv").exists()


def test_progress_tells_every_step_to_its_end(results):
    """Each step ends with done = total, in the order of the run."""
    _, steps = results
    names = list(dict.fromkeys(step for step, _, _ in steps))
    assert names.pop(1).startswith("900 cells x 18 candidates: about ")
    assert names == [
        "reading", "measuring factors", "fitting weights", "measuring curves", "fitting forecast",
        "checking weights", "finding places", "writing",
    ]  # fmt: skip
    for name in names:
        done, total = next((done, total) for step, done, total in reversed(steps) if step == name)
        assert done == total, name
        values = [done for step, done, _ in steps if step == name]
        assert values == sorted(values), name


def test_exposure_is_shown_with_and_without(city, tmp_path):
    """With an exposure the weights without it are written beside, and both lists are of the same factors."""
    folder, simulated = city
    everywhere = gpd.GeoDataFrame(
        geometry=gpd.points_from_xy(simulated.grid.eastings, simulated.grid.northings), crs=simulated.grid.crs
    )
    everywhere.iloc[::2].to_file(folder / "parcels.gpkg")
    study = study_of(city, exposure=ExposureSpec(file="parcels.gpkg", name="parcels"))
    found = rtm.run(study, tmp_path / "out")
    without = pd.read_csv(tmp_path / "out" / "weights_without_exposure.csv")
    assert set(without["factor"]) == set(found.terrain.weights["factor"])
    assert "parcels" in found.terrain.facts["exposure"]
    inputs = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))["inputs"]
    assert "parcels.gpkg" in inputs


def test_a_cut_that_takes_nothing_is_an_answer(city, tmp_path):
    """No cell above so many deviations: empty tables, a report, and no error."""
    study = study_of(city, hotspots=HotspotSpec(standard_deviations=50.0))
    found = rtm.run(study, tmp_path / "out")
    assert len(found.hotspots) == len(found.areas) == 0
    assert len(pd.read_csv(tmp_path / "out" / "hotspots.csv")) == 0
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


def test_a_study_made_in_code_is_checked_like_one_from_a_file(city, tmp_path):
    """Values that cannot be used are refused before anything is read or written."""
    study = study_of(city, study=AreaSpec(name="x", boundary="area.gpkg", cell_size=100))
    with pytest.raises(InputError, match=r"factors\[0\].max_influence '3 blocks'"):
        rtm.run(study, tmp_path / "out")
    with pytest.raises(StudyError, match="It cannot be read"):
        rtm.run(tmp_path / "none.toml", tmp_path / "out")
    (tmp_path / "full").mkdir()
    with pytest.raises(OutputError, match="It exists already"):
        rtm.run(study_of(city), tmp_path / "full")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


@pytest.fixture(scope="module")
def wards(city):
    """Two halves of the city with residents, as a file beside the others."""
    folder, simulated = city
    west, south, east, north = simulated.area.geometry.bounds
    halves = [box(west, south, west + 1000, north), box(west + 1000, south, east, north)]
    table = {"ward": ["West", "East"], "people": [900, 100], "Victim_Race": ["a", "b"]}
    frame = gpd.GeoDataFrame(table, geometry=halves, crs=simulated.grid.crs)
    frame.to_file(folder / "wards.gpkg")
    return frame


@pytest.mark.filterwarnings("ignore:Layer 'districts'")
def test_districts_are_the_panel_of_the_run(city, wards, results, tmp_path):
    """Both files, the report and the manifest hold what `bias_panel` finds on the same terrain; without a table, nothing."""
    districts = DistrictsSpec(file="wards.gpkg", name="ward", residents="people")
    study = study_of(city, districts=districts, hotspots=HotspotSpec(area_share=0.1))
    found = rtm.run(study, tmp_path / "out")
    panel = rtm.bias_panel(found.terrain, wards, name="ward", residents="people", area_share=0.1)
    assert found.bias.sentences == panel.sentences
    assert panel.sentences[0].startswith("10 % of the study area")
    for name, table in (("bias", panel.table), ("bias_scenarios", panel.scenarios)):
        pd.testing.assert_frame_equal(
            pd.read_csv(tmp_path / "out" / f"{name}.csv"), table, check_dtype=False, rtol=1e-5
        )
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert html.index("Who is looked at") < html.index("What this cannot know")
    assert escape(panel.sentences[0]) in html
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["places"]["districts"] == panel.statement
    assert {"bias.csv", "bias_scenarios.csv"} <= set(manifest["outputs"])
    assert "wards.gpkg" in manifest["inputs"]
    assert "districts" in [ledger["layer"] for ledger in manifest["ledgers"]]
    assert found.record()["districts"]["table"][0]["district"] == panel.table["district"][0]
    plain, _ = results
    assert plain.bias is None
    assert not (plain.folder / "bias.csv").exists()
    assert "districts" not in plain.record()
    assert "Who is looked at" not in (plain.folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore:Layer 'districts'")
@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"name": "beat"}, "'beat'"),
        ({"name": "ward", "residents": "Victim_Race"}, "Columns about race, sex or age are never used"),
        ({"name": "ward", "residents": "ward"}, "must hold numbers"),
    ],
)
def test_districts_that_cannot_be_used_are_refused_before_anything_is_fitted(
    city, wards, tmp_path, spec, said
):
    """A run of an hour does not end with a misspelt column."""
    steps = []
    study = study_of(city, districts=DistrictsSpec(file="wards.gpkg", **spec))
    with pytest.raises(InputError, match=said):
        rtm.run(study, tmp_path / "out", progress=lambda step, done, total: steps.append(step))
    assert set(steps) == {"reading"}
    assert list(tmp_path.iterdir()) == []
