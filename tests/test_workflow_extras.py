"""Slices, changes since the last run, joins, Shapefiles and dropped rows: what a run writes beside its usual files."""

import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
from click.testing import CliRunner
from shapely import box

import rtmkc as rtm
from rtmkc.cli import main
from rtmkc.errors import DataWarning, InputError, StudyError
from rtmkc.output.shapefiles import write_shapefiles
from rtmkc.raster.cog import write_cog
from rtmkc.workflow.changes import Previous, compare
from rtmkc.workflow.specs import FactorSpec
from rtmkc.workflow.study import Study

STUDY = """
[study]
name = "City"
boundary = "area.gpkg"
block_length = 200

[incidents]
file = "incidents.parquet"
period = "2021/2023"
provenance = "policing"

{factors}

[[joins]]
name = "beat"
file = "beats.gpkg"

[[slices]]
name = "nights"
hours = "19-3"
weekdays = "fri-sun"

[hotspots]
count = 12

[corridors]
k = 2

[output]
shapefile = true
dropped = true
"""


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    """A simulated city: half of its incidents on Fridays at 22:00, half on Mondays at noon, and ten outside."""
    folder = tmp_path_factory.mktemp("city")
    city = rtm.simulate_city(n_rows=30, n_columns=30, n_factors=3, random_state=5, n_incidents=600)
    places = city.incidents.geometry
    moments = np.where(np.arange(len(places)) % 2, "2022-01-07 22:00", "2022-01-10 12:00")
    incidents = gpd.GeoDataFrame(
        {"date": pd.to_datetime(moments)}, geometry=places.to_numpy(), crs=places.crs
    )
    far = incidents.head(10).assign(geometry=incidents.geometry.head(10).translate(9e4))
    pd.concat([incidents, far], ignore_index=True).to_parquet(folder / "incidents.parquet")
    text = ""
    for name, points in city.factor_points.items():
        points.to_parquet(folder / f"{name}.parquet")
        text += f'[[factors]]\nname = "{name}"\nfile = "{name}.parquet"\nincrement = "whole"\n'
    gpd.GeoDataFrame(geometry=[city.area.geometry], crs=city.area.crs).to_file(folder / "area.gpkg")
    west, south, east, north = city.area.geometry.bounds
    middle = (west + east) / 2
    halves = [box(west, south, middle, north), box(middle, south, east, north)]
    gpd.GeoDataFrame({"BEAT": [1, 2]}, geometry=halves, crs=city.area.crs).to_file(folder / "beats.gpkg")
    (folder / "study.toml").write_text(STUDY.format(factors=text), encoding="utf-8")
    return folder, middle


@pytest.fixture(scope="module")
def results(city, tmp_path_factory):
    return rtm.run(city[0] / "study.toml", tmp_path_factory.mktemp("run") / "first")


def test_a_slice_is_the_study_of_its_incidents(results, city):
    """The folder of a slice holds what a run of its own would find, with only the incidents of its hours and days."""
    (part,) = results.slices.values()
    assert part.folder == results.folder / "slices" / "nights"
    whole = results.terrain.facts["n_incidents"]
    assert part.terrain.facts["n_incidents"] == whole // 2 > 200
    study = Study.from_file(city[0] / "study.toml")
    incidents = rtm.read_layer(
        city[0] / "incidents.parquet", name="incidents", period="2021/2023", hours="19-3", weekdays="fri-sun",
        provenance="policing",
    )  # fmt: skip
    alone = rtm.assess(study.grid(), study.risk_factors(), incidents)
    pd.testing.assert_frame_equal(part.terrain.weights, alone.weights)
    pd.testing.assert_frame_equal(rtm.load(part.folder).cells, alone.cells, check_dtype=False)
    assert (part.folder / "report.html").is_file()


def test_slices_are_compared_with_the_whole(results):
    """One row for each; the weights are those of the tables, and the report shows them side by side."""
    table = pd.read_csv(results.folder / "slices.csv")
    assert table["slice"].tolist() == ["all", "nights"]
    assert table["n_incidents"].tolist() == [
        part.terrain.facts["n_incidents"] for part in (results, *results.slices.values())
    ]
    for row, part in zip(table.to_dict("records"), [results, *results.slices.values()], strict=True):
        weights = part.terrain.weights.set_index("factor")["rrv"]
        for factor, rrv in weights.items():
            assert row[f"rrv_{factor}"] == pytest.approx(rrv, rel=1e-5, nan_ok=True)
    page = (results.folder / "report.html").read_text(encoding="utf-8")
    assert "Hours and weekdays" in page
    assert "hours 19-3, days fri-sun" in page


def test_hot_spots_and_corridors_know_their_beat(results, city):
    """West of the middle is beat 1, east of it beat 2, in the tables, the GeoPackage and the report."""
    _, middle = city
    east = results.hotspots.geometry.centroid.x > middle
    assert results.hotspots["beat"].tolist() == np.where(east, "2", "1").tolist()
    assert list(results.hotspots.columns)[:2] == ["rank", "beat"]
    stored = pyogrio.read_dataframe(results.folder / "rtmkc.gpkg", layer="corridors")
    assert stored["beat"].tolist() == results.corridors["beat"].tolist()
    assert set(pd.read_csv(results.folder / "corridors.csv", dtype=str)["beat"]) <= {"1", "2", "1; 2", "2; 1"}
    assert "beat 1</span>" in (results.folder / "report.html").read_text(encoding="utf-8")


def test_dropped_rows_are_written_with_their_reason(results):
    """The ten incidents outside the area are in a file of their own, and no file has a column about persons."""
    rows = pd.read_csv(results.folder / "dropped" / "incidents.csv")
    assert len(rows) == results.ledgers[0].read - results.ledgers[0].used == 10
    assert set(rows["reason"]) == {"outside the study area"}
    manifest = json.loads((results.folder / "manifest.json").read_text(encoding="utf-8"))
    assert "dropped/incidents.csv" in manifest["outputs"]
    assert manifest["parameters"]["slices"][0]["name"] == "nights"


def test_shapefiles_have_safe_names_and_a_table_of_them(results):
    """Each field has at most ten characters, and fields.csv leads back to the columns."""
    folder = results.folder / "shapefiles"
    fields = pd.read_csv(folder / "fields.csv")
    assert fields["field"].str.fullmatch(r"[A-Za-z]\w{0,9}").all()
    for name, table in (("hotspots", results.hotspots), ("corridors", results.corridors)):
        stored = pyogrio.read_dataframe(folder / f"{name}.shp")
        own = fields[fields["file"] == f"{name}.shp"].set_index("field")["column"]
        assert list(stored.columns.drop("geometry")) == list(own.index)
        assert stored.rename(columns=own)["expected"].tolist() == pytest.approx(
            table["expected"].tolist(), rel=1e-6
        )
        assert stored.crs == table.crs


def test_shapefiles_do_not_depend_on_the_day(tmp_path, monkeypatch):
    """With SOURCE_DATE_EPOCH the same features give the same bytes; long texts are cut and counted; no features, no file."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    frame = gpd.GeoDataFrame(
        {"f_a": [True], "a long text": ["é" * 300]}, geometry=gpd.points_from_xy([1], [2]), crs="EPSG:26915"
    )
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        table = write_shapefiles(tmp_path / name, {"one": frame, "none": frame.head(0)})
    assert (tmp_path / "a" / "one.dbf").read_bytes() == (tmp_path / "b" / "one.dbf").read_bytes()
    assert (tmp_path / "a" / "one.dbf").read_bytes()[1:4] == bytes([70, 1, 2])
    assert not (tmp_path / "a" / "none.shp").exists()
    assert table["cut"].tolist() == [0, 1]
    assert pyogrio.read_dataframe(tmp_path / "a" / "one.shp")["f_a"].tolist() == [1]


def test_the_same_run_again_has_no_changes(results, city, tmp_path):
    """Every factor, hot spot and corridor is kept; the report, the table and the terminal say so."""
    out = tmp_path / "second"
    done = CliRunner().invoke(
        main, ["run", str(city[0] / "study.toml"), "-o", str(out), "--since", str(results.folder), "-q"]
    )
    assert done.exit_code == 0, done.output
    changes = pd.read_csv(out / "changes.csv")
    assert set(changes["change"]) == {"kept"}
    assert (changes["what"] == "hot spot").sum() == 12
    assert "Since the last run" in done.stdout
    assert "hot-spot cells: 12 kept" in done.stdout
    assert "Since the last run" in (out / "report.html").read_text(encoding="utf-8")
    assert (out / "slices" / "nights" / "changes.csv").is_file()


def test_another_grid_is_refused(results, city, tmp_path):
    """Cells of two grids are not compared: nothing is written, and the sizes of both are said."""
    study = Study.from_file(city[0] / "study.toml")
    study.study.block_length = 300
    with pytest.raises(InputError, match="Its grid is another one: 900 cells of 100 m"):
        rtm.run(study, tmp_path / "out", since=results.folder)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="It holds no model.json"):
        rtm.run(study, tmp_path / "out", since=tmp_path / "empty")


def test_changes_are_those_made_by_hand(make_terrain):
    """Poor lighting leaves, bars enter, cell 5 is new, cell 7 gone, cell 3 moved from second to first."""
    old, new = make_terrain(), make_terrain(factors=("vacant houses", "bars"), rrvs=(2.0, 3.0))
    new.facts["period"] = "2022-01-01/2024-12-31"

    def places(**columns):
        return pd.DataFrame(columns).assign(expected=1.0, lower=0.0, upper=3.0)

    before = places(rank=[1, 2], cell_id=[7, 3])
    now = places(rank=[1, 2], cell_id=[3, 5], name=["Here", ""])
    corridor = pd.DataFrame({"rank": [1], "corridor_id": ["c1"], "name": ["Oak"], "expected": [2.0]})
    table = compare(Previous("p", old, before, corridor), new, now, corridor.head(0))
    assert table.set_index("name")["change"].to_dict() == {
        "vacant houses": "kept", "bars": "entered", "poor lighting": "left",
        "cell 3, Here": "moved", "cell 5": "new", "cell 7": "gone", "Oak": "gone",
    }  # fmt: skip
    kept = table.set_index("name").loc["vacant houses"]
    assert (kept["value_before"], kept["value_now"]) == (2.7, 2.0)
    assert kept["lower_now"] == pytest.approx(2.0 / 1.2)
    assert table.attrs["statement"] == (
        "factors: 1 entered, 1 left, 1 kept; hot-spot cells: 1 new, 1 gone, 1 moved; corridors: 1 gone"
    )
    assert table.attrs["notes"] == [
        "the incidents are of 2021-01-01/2023-12-31 then, 2022-01-01/2024-12-31 now"
    ]


def test_scores_are_joined_from_the_command_line(results, city, tmp_path):
    """--join FILE:COLUMN adds the column; one that the places have already gets the file's name before it."""
    folder, middle = city
    incidents = gpd.read_parquet(folder / "incidents.parquet").head(20)
    points = incidents.geometry.to_crs(4326)
    pd.DataFrame({"BEAT": "mine", "lon": points.x, "lat": points.y}).to_csv(
        tmp_path / "shops.csv", index=False
    )
    out = tmp_path / "scored.csv"
    arguments = ["score", str(results.folder), str(tmp_path / "shops.csv"), "-o", str(out), "-q"]
    done = CliRunner().invoke(main, [*arguments, "--join", f"{folder / 'beats.gpkg'}:BEAT"])
    assert done.exit_code == 0, done.output
    scored = pd.read_csv(out, dtype=str)
    assert set(scored["BEAT"]) == {"mine"}
    assert scored["beats BEAT"].tolist() == np.where(incidents.geometry.x > middle, "2", "1").tolist()
    done = CliRunner().invoke(main, [*arguments, "--overwrite", "--join", "beats.gpkg"])
    assert done.exit_code == 1
    assert "Write FILE:COLUMN" in done.stderr


@pytest.mark.parametrize(
    ("slices", "said"),
    [
        ('name = "a/b"\nhours = "1-2"', r"Invalid slices\[0\].name 'a/b'. It names a folder"),
        ('name = "a"', r"Invalid slices\[0\]. Give hours"),
        ('name = "a"\nhours = "25-99"', "Invalid hours '25-99'"),
        ('name = "a"\nweekdays = "someday"', "Invalid weekdays 'someday'"),
        ('name = "a"\nhours = "1-2"\n[[slices]]\nname = "A"\nhours = "3-4"', "slices.name"),
    ],
)
def test_slices_are_checked_before_anything_is_read(city, tmp_path, slices, said):
    """A name that is no folder, no hours, wrong hours, wrong days, a name twice."""
    text = (city[0] / "study.toml").read_text(encoding="utf-8")
    path = tmp_path / "study.toml"
    path.write_text(
        f"{text}\n[[slices]]\n{slices}\n".replace(
            '[[slices]]\nname = "nights"\nhours = "19-3"\nweekdays = "fri-sun"', ""
        ),
        encoding="utf-8",
    )
    with pytest.raises(StudyError, match=said):
        Study.from_file(path)


def test_an_empty_slice_is_said_by_its_name(city, tmp_path):
    """No incident between three and four in the morning: the error names the slice, and nothing is left behind."""
    study = Study.from_file(city[0] / "study.toml")
    study.slices[0].hours, study.slices[0].weekdays = "3-4", None
    with (
        pytest.warns(DataWarning, match="nothing is left"),
        pytest.raises(InputError, match="Invalid slice 'nights'. Invalid incidents"),
    ):
        rtm.run(study, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_raster_is_a_factor_of_a_study(city, tmp_path):
    """A GeoTIFF is measured by its values, with provenance and period as stated; options of tables are refused."""
    folder, _ = city
    grid = Study.from_file(folder / "study.toml").grid()
    write_cog(folder / "light.tif", grid, {"light": np.arange(grid.n_cells, dtype=float)})
    factor = FactorSpec(name="light", file="light.tif", provenance="environment", period="2020")
    study = Study.from_file(folder / "study.toml")
    study.factors, study.slices = [factor], []
    found = rtm.run(study, tmp_path / "out")
    assert found.terrain.facts["timing"] == (
        "all factors precede the incidents (by periods stated, not read from dates, of light)"
    )
    assert found.terrain.facts["factors"][0]["provenance"] == "environment"
    assert (tmp_path / "out" / "dropped" / "incidents.csv").is_file()
    factor.where = "a == 1"
    with pytest.raises(StudyError, match="Its file is a raster, which takes only: band, crs, nodata"):
        study.risk_factors()
