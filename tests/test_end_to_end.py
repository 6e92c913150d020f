"""The demo through the command line, as somebody runs it who has just installed rtmkc."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
from click.testing import CliRunner

import rtmkc as rtm
from rtmkc.cli import main
from rtmkc.storage import file_sha256

FILES = {
    "report.html", "rtmkc.gpkg", "risk.tif", "weights.csv", "diagnostics.csv", "hotspots.csv", "corridors.csv",
    "corridors.geojson", "manifest.json", "model/model.json", "model/surfaces.tif",
}  # fmt: skip
# A process in which every use of the network is an error, and one that cannot be swallowed unseen.
WITHOUT_NETWORK = """
import os, socket, sys
def refuse(*_, **__):
    os.write(2, b"the network was used")
    os._exit(99)
socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = socket.create_connection = refuse
from rtmkc.cli import main
main()
"""


def call(*arguments, cwd, program=("-m", "rtmkc.cli"), **environment):
    """Run the command in a process of its own, with the clock of its files fixed."""
    return subprocess.run(
        [sys.executable, *program, *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "SOURCE_DATE_EPOCH": "1700000000", **environment},
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def both(folder):
    """Two demos at the same time, with as many threads of the linear algebra as one and two."""
    with ThreadPoolExecutor(2) as pool:
        demo = pool.submit(call, "demo", "-o", "first", "--json", cwd=folder, OPENBLAS_NUM_THREADS="2")
        again = pool.submit(
            call, "demo", "-o", "sub/second", "--quiet", cwd=folder, program=("-c", WITHOUT_NETWORK)
        )
    return demo.result(), again.result()


@pytest.fixture(scope="module")
def demo(both):
    """The demo with its results as JSON."""
    assert both[0].returncode == 0, both[0].stderr
    return both[0]


@pytest.fixture(scope="module")
def again(both):
    """The demo once more, quiet, without a network, with its results in words."""
    assert both[1].returncode == 0, both[1].stderr
    return both[1]


@pytest.fixture(scope="module")
def results(demo, folder):
    return folder / "first"


@pytest.fixture(scope="module")
def manifest(results):
    return json.loads((results / "manifest.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def said(demo):
    return json.loads(demo.stdout)


def test_every_file_is_there_and_no_other(results, folder):
    """The folder holds the files that the documentation names; nothing is left beside it."""
    found = {path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file()}
    assert found == FILES
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_files_are_read_by_others(results, said):
    """GDAL reads the map and the raster, pandas the tables, and they tell what the JSON tells."""
    layers = dict(pyogrio.list_layers(results / "rtmkc.gpkg"))
    assert {"risk", "hotspots", "hotspot_areas", "corridors", "treated", "study_area"} <= set(layers)
    with rasterio.open(results / "risk.tif") as raster:
        assert raster.crs.to_string() == said["facts"]["crs"]
        assert raster.descriptions[0] == "expected"
    hotspots = pd.read_csv(results / "hotspots.csv")
    assert hotspots["cell_id"].tolist() == [row["cell_id"] for row in said["hotspots"]]
    np.testing.assert_allclose(hotspots["expected"], [row["expected"] for row in said["hotspots"]], rtol=1e-5)
    corridors = gpd.read_file(results / "corridors.geojson")
    assert corridors["name"].tolist() == [row["name"] for row in said["corridors"]]
    assert pd.read_csv(results / "corridors.csv")["name"].tolist() == corridors["name"].tolist()
    weights = pd.read_csv(results / "weights.csv")
    assert weights["factor"].tolist() == [row["factor"] for row in said["weights"]]


def test_results_on_stdout_are_json_and_nothing_else(demo, said):
    """Standard output is one JSON document without NaN; progress and warnings went to standard error."""
    assert set(said) == {"folder", "facts", "ledgers", "weights", "hotspots", "corridors", "diagnostics"}
    assert "NaN" not in demo.stdout
    assert "Infinity" not in demo.stdout
    assert "fitting weights ..." in demo.stderr
    assert "warning: Layer 'incidents': " in demo.stderr


def test_quiet_is_quiet(again):
    """With --quiet standard error is empty, without a network nothing is missing, and the answers are said."""
    assert again.stderr == ""
    assert "Why here: relative risk values" in again.stdout
    assert "Next corridors" in again.stdout


def test_two_runs_give_the_same_bytes(again, results, folder):
    """With SOURCE_DATE_EPOCH every file of two runs in other folders is equal to the byte."""
    differing = {
        name for name in FILES if file_sha256(results / name) != file_sha256(folder / "sub" / "second" / name)
    }
    assert differing == set()


def test_the_manifest_tells_the_truth(manifest, results):
    """Hashes are those of the files; inputs are those of the sample; the time is the one asked for."""
    assert manifest["created"] == "2023-11-14T22:13:20Z"
    assert set(manifest["outputs"]) == FILES - {"manifest.json"}
    for name, digest in manifest["outputs"].items():
        assert file_sha256(results / name) == digest, name
    for name, digest in manifest["inputs"].items():
        assert file_sha256(rtm.sample_path(name)) == digest, name
    assert "requests_311.csv" in manifest["inputs"]
    assert manifest["versions"]["rtmkc"] == rtm.__version__


def test_parameters_are_those_used(manifest, said):
    """Written parameters have every default filled in and equal what the results say of themselves."""
    parameters, facts = manifest["parameters"], manifest["facts"]
    assert facts == said["facts"]
    assert parameters["study"]["block_length"] == "450 ft"
    assert facts["block_length_m"] == pytest.approx(137.16)
    assert parameters["model"]["method"] == facts["why"]["method"] == "guarded"
    assert parameters["model"]["random_state"] == facts["why"]["seed"] == facts["where"]["seed"]
    assert parameters["hotspots"]["by"] == "expected"
    assert parameters["hotspots"]["area_share"] == 0.02
    assert "up to 2 % of the study area" in manifest["places"]["hotspots"]
    assert "between 500 m (1,640 ft) and 2,500 m" in manifest["places"]["corridors"]
    assert len(said["corridors"]) <= parameters["corridors"]["k"]


def test_nothing_tells_which_machine_it_was(results, folder):
    """No file holds a path of this machine."""
    for path in results.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for home in (str(folder), str(rtm.sample_path()), str(Path.home())):
                assert len(home) < 6 or home.encode() not in content, (path.name, home)


def test_every_row_is_accounted_for(manifest, said):
    """Read = used + merged + dropped for every layer, and the incidents used are those modelled."""
    assert manifest["ledgers"] == said["ledgers"]
    for one in manifest["ledgers"]:
        lost = sum(one["merged"].values()) + sum(one["dropped"].values())
        assert one["read"] == one["used"] + lost, one["layer"]
    incidents = manifest["ledgers"][0]
    assert incidents["used"] == said["facts"]["n_incidents"] == 1983


def test_the_three_true_factors_of_the_sample_are_found(said):
    """The sample was made with three factors that matter and two that do not."""
    truth = json.loads(rtm.sample_path("truth.json").read_text(encoding="utf-8"))
    assert truth
    found = {row["factor"] for row in said["weights"] if row["status"] == "in the model"}
    assert found == {"poor lighting", "vacant houses", "illegal dumping"}
    assert all(row["reason"] for row in said["weights"] if row["status"] != "in the model")


def test_scores_need_the_folder_alone(results, folder):
    """`rtmkc score` on a copy of the model alone gives what the terrain of the run gives."""
    elsewhere = folder / "alone"
    elsewhere.mkdir()
    (results / "model" / "model.json").rename(elsewhere / "model.json")
    (results / "model" / "surfaces.tif").rename(elsewhere / "surfaces.tif")
    try:
        done = call("score", elsewhere, rtm.sample_path("businesses.csv"), "--json", cwd=folder)
    finally:
        (elsewhere / "model.json").rename(results / "model" / "model.json")
        (elsewhere / "surfaces.tif").rename(results / "model" / "surfaces.tif")
    assert (done.returncode, done.stderr) == (0, "")
    scored = json.loads(done.stdout)
    assert scored["horizon_days"] == 90
    businesses = pd.read_csv(rtm.sample_path("businesses.csv"))
    assert [row["name"] for row in scored["places"]] == businesses["name"].tolist()
    expected = rtm.load(results).score(businesses)["expected"]
    np.testing.assert_allclose([row["expected"] for row in scored["places"]], expected, rtol=1e-12)


def test_corridors_from_the_folder_are_those_of_the_run(results, folder, said):
    """`rtmkc corridors` with the same streets and exclusions finds the corridors of the run."""
    done = call(
        "corridors", results, "--streets", rtm.sample_path("streets.geojson"), "--name", "name",
        "--road-class", "road_class", "--exclude", rtm.sample_path("treated.geojson"), "--json", cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["corridors"] == said["corridors"]


def test_info_says_what_the_model_was_made_of(results, said):
    """`rtmkc info` of the folder gives the facts of the run."""
    done = CliRunner().invoke(main, ["info", str(results), "--json"])
    assert json.loads(done.stdout) == said["facts"]


def test_a_folder_that_exists_is_kept_unless_told(results):
    """A second run into the same folder is refused in one line before anything is read."""
    before = file_sha256(results / "manifest.json")
    done = CliRunner().invoke(main, ["demo", "-o", str(results)])
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert "It exists already; choose another name or say --overwrite" in done.stderr
    assert file_sha256(results / "manifest.json") == before
