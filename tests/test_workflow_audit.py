"""`rtmkc audit`: a study on other grids and without the places that dominate, and the folder that comes of it."""

import json

import geopandas as gpd
import pandas as pd
import pytest
from click.testing import CliRunner

import rtmkc as rtm
from rtmkc.cli import main
from rtmkc.storage import file_sha256
from rtmkc.workflow.audit import audit_study
from rtmkc.workflow.study import Study

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
name = "=factor 0"
file = "factor 0.gpkg"
increment = "whole"

[model]
method = "classic"

[hotspots]
area_share = 0.05
"""
GRIDS = [
    "as given", "half the cell", "twice the cell", "half a cell east", "half a cell south", "half a cell east and south",
]  # fmt: skip


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    """A simulated city and its files; 30 incidents lie at one address."""
    folder = tmp_path_factory.mktemp("city")
    made = rtm.simulate_city(
        n_rows=20,
        n_columns=20,
        n_factors=1,
        active={0: ("proximity", 2, 3.0)},
        random_state=3,
        n_incidents=400,
    )
    incidents = made.incidents.copy()
    incidents.geometry = incidents.geometry.where(incidents.index >= 30, incidents.geometry.iloc[0])
    incidents.to_parquet(folder / "incidents.parquet")
    made.factor_points["factor 0"].to_file(folder / "factor 0.gpkg")
    gpd.GeoDataFrame(geometry=[made.area.geometry], crs=made.area.crs).to_file(folder / "area.gpkg")
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    return folder, made


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def alone(city):
    """Both audits by the functions of the library, on the same layers."""
    study = Study.from_file(city[0] / "study.toml")
    grid, factors, incidents = study.grid(), study.risk_factors(), study.read("incidents")
    on_grids = rtm.audit_grid(grid, factors, incidents, method="classic", area_share=0.05)
    terrain = rtm.assess(grid, factors, incidents, method="classic")
    return on_grids, rtm.audit_places(terrain, area_share=0.05)


def test_the_command_is_the_functions(city, alone, tmp_path):
    """JSON and folder hold what `audit_grid` and `audit_places` find with the study's own cut; the manifest has hashes."""
    on_grids, places = alone
    options = ["--places", "-o", tmp_path / "audit", "--json"]
    done = call("audit", city[0] / "study.toml", *options)
    assert done.exit_code == 0, done.stderr
    assert done.stderr.splitlines()[:2] == ["reading ...", "fitting on other grids ..."]
    said = json.loads(done.stdout)
    assert said["grids"]["sentences"] == list(on_grids.sentences)
    assert "5 % of the area" in on_grids.statement
    assert [row["grid"] for row in said["grids"]["grids"]] == GRIDS
    assert said["places"]["sentences"] == list(places.sentences)
    assert said["places"]["places"][0]["incidents"] == 30
    for name, frame in {
        "grid_factors": on_grids.table, "grid_weights": on_grids.weights, "grids": on_grids.grids,
        "places_factors": places.table, "places": places.places,
    }.items():  # fmt: skip
        written = pd.read_csv(tmp_path / "audit" / f"{name}.csv")
        assert list(written.columns) == list(frame.columns), name
        assert len(written) == len(frame), name
    grids = pd.read_csv(tmp_path / "audit" / "grids.csv")
    assert grids["overlap_expected"].tolist() == pytest.approx(
        on_grids.grids["overlap_expected"].tolist(), rel=1e-5
    )
    assert pd.read_csv(tmp_path / "audit" / "grid_factors.csv")["factor"].tolist() == ["'=factor 0"]
    manifest = json.loads((tmp_path / "audit" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["facts"]["grids"] == list(on_grids.sentences)
    assert len(manifest["outputs"]) == 5
    for name, digest in manifest["outputs"].items():
        assert file_sha256(tmp_path / "audit" / name) == digest
    again = call("audit", city[0] / "study.toml", *options)
    assert again.exit_code == 1
    assert "It exists already" in again.stderr


def test_in_words_it_fits_a_terminal(city, alone):
    """Sentences first, then tables that no terminal of 100 columns breaks; without --places nothing is said of places."""
    done = call("audit", city[0] / "study.toml", "-q")
    assert (done.exit_code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    on_grids, _ = alone
    assert lines[1 : 1 + len(on_grids.sentences)] == [f"  {line}" for line in on_grids.sentences]
    tables = lines[1 + len(on_grids.sentences) :]
    assert max(len(line) for line in tables if not line.startswith("Share of")) <= 100
    for grid in GRIDS:
        assert sum(line.strip().startswith(grid) for line in tables) >= 1, grid
    assert "places that dominate" not in done.stdout


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('"incidents.parquet"', '"none.parquet"'), "There is no such file"),
        (('"=factor 0"', '""'), "Invalid"),
    ],
)
def test_what_cannot_be_audited_is_one_line(city, tmp_path, change, said):
    """Exit code 1, one line, and nothing left behind."""
    (city[0] / "wrong.toml").write_text(STUDY.replace(*change), encoding="utf-8")
    done = call("audit", city[0] / "wrong.toml", "-o", tmp_path / "out", "-q")
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert said in line
    assert list(tmp_path.iterdir()) == []
    assert call("audit").exit_code == 2


def test_a_folder_of_other_things_is_not_replaced(city, tmp_path):
    """Replacing deletes: what was not written by rtmkc stays."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(rtm.errors.OutputError, match="holds other things than results"):
        audit_study(city[0] / "study.toml", tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "x"
