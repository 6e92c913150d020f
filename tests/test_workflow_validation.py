"""`rtmkc validate`: what a study says is held out, and the folder that comes of it."""

import json
from itertools import pairwise

import geopandas as gpd
import pandas as pd
import pytest
import shapely
from click.testing import CliRunner

import rtmkc as rtm
from rtmkc.cli import main
from rtmkc.errors import OutputError
from rtmkc.evidence.validation import validate
from rtmkc.storage import file_sha256
from rtmkc.workflow.study import Study
from rtmkc.workflow.validation import validate_study

STUDY = """
[study]
name = "Simulated"
boundary = "area.gpkg"
block_length = 200

[incidents]
file = "incidents.parquet"
period = "2021/2023"
provenance = "policing"

[[factors]]
name = "factor 0"
file = "factor 0.gpkg"
increment = "whole"
"""


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    """A simulated city, its files, and two areas that divide it."""
    folder = tmp_path_factory.mktemp("city")
    made = rtm.simulate_city(
        n_rows=24,
        n_columns=24,
        n_factors=1,
        active={0: ("proximity", 2, 3.0)},
        random_state=3,
        n_incidents=400,
    )
    made.incidents.to_parquet(folder / "incidents.parquet")
    made.factor_points["factor 0"].to_file(folder / "factor 0.gpkg")
    outline = made.area.geometry
    gpd.GeoDataFrame(geometry=[outline], crs=made.area.crs).to_file(folder / "area.gpkg")
    west, south, east, north = outline.bounds
    thirds = [west + (east - west) * share for share in (0, 1 / 3, 2 / 3, 1)]
    boxes = [shapely.box(low, south, high, north) for low, high in pairwise(thirds)]
    areas = gpd.GeoDataFrame({"division": ["west", "east", "east"]}, geometry=boxes, crs=made.area.crs)
    areas.to_file(folder / "areas.gpkg")
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    return folder, made


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_is_the_function(city, tmp_path):
    """The folder holds page, tables and manifest; JSON and tables are those of `validate` on the same layers."""
    folder, made = city
    options = ["--test", "2023", "--no-baselines", "-o", tmp_path / "test", "--json"]
    done = call("validate", folder / "study.toml", *options)
    assert done.exit_code == 0, done.stderr
    assert done.stderr.splitlines()[:2] == ["reading ...", "past counts ..."]
    incidents = rtm.read_layer(folder / "incidents.parquet", period="2021/2023", provenance="policing")
    study = Study.from_file(folder / "study.toml")
    alone = validate(
        made.grid, study.risk_factors(), incidents, test="2023", method="guarded", baselines=False
    )
    said = json.loads(done.stdout)
    assert said["verdict"] == list(alone.verdict)
    table = pd.read_csv(tmp_path / "test" / "tables" / "table.csv")
    assert table["nats"].tolist() == pytest.approx(alone.table["nats"].tolist(), rel=1e-6)
    assert {"classic weights", "guarded weights"} <= set(table["contestant"])
    html = (tmp_path / "test" / "validation.html").read_text(encoding="utf-8")
    assert "Validation of Simulated" in html
    manifest = json.loads((tmp_path / "test" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["parameters"]["validation"] == {
        "train": None,
        "test": "2023",
        "by": "time",
        "column": None,
    }
    for name, digest in manifest["outputs"].items():
        assert file_sha256(tmp_path / "test" / name) == digest
    again = call("validate", folder / "study.toml", *options)
    assert again.exit_code == 1
    assert "It exists already" in again.stderr


def test_a_study_says_what_is_held_out(city, tmp_path):
    """[validation] is used unless an option says otherwise; areas of one label are left out together."""
    folder, _ = city
    (folder / "own.toml").write_text(
        STUDY + '\n[validation]\nby = "areas.gpkg"\ncolumn = "division"\n', encoding="utf-8"
    )
    found = validate_study(folder / "own.toml", baselines=False)
    assert found.facts["kind"] == "places"
    assert found.facts["n_splits"] == 2
    assert Study.from_file(folder / "own.toml").files()["areas.gpkg"] == folder / "areas.gpkg"
    done = call(
        "validate", folder / "own.toml", "--by", folder / "areas.gpkg", "--no-baselines", "--json", "-q"
    )
    assert (done.exit_code, done.stderr) == (0, "")
    assert json.loads(done.stdout)["facts"]["n_splits"] == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--test", "2025"], "Invalid test"),
        (["--train", "2023", "--test", "2021"], "The test comes before the training"),
        (["--by", "blocks", "--test", "2023"], "Places are left out at all times"),
        (["--by", "nowhere.gpkg"], "There is no such file"),
        (["--test", "soon"], "Invalid validation.test 'soon'"),
    ],
)
def test_what_cannot_be_held_out_is_one_line(city, tmp_path, options, said):
    """Exit code 1, one line, and nothing left behind."""
    done = call("validate", city[0] / "study.toml", *options, "-o", tmp_path / "out", "-q")
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert said in line
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_other_things_is_not_replaced(city, tmp_path):
    """Replacing deletes: what was not written by rtmkc stays."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(OutputError, match="holds other things than results"):
        validate_study(city[0] / "study.toml", tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "x"
