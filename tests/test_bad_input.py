"""Bad input through the command line: one line that says what to do, exit code 1, and nothing left behind."""

import errno
import json
import re
import resource
import shutil
import subprocess
import sys

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from click.testing import CliRunner

import rtmkc.output.files
from rtmkc.cli import main

WEST, SOUTH, SIDE = 362_000.0, 4_326_000.0, 1500.0
UTM = "EPSG:26915"
STUDY = """
[study]
name = "Small"
boundary = "boundary.geojson"
block_length = "200 m"

[incidents]
file = "incidents.csv"
period = "2022/2023"

[[factors]]
name = "bars"
file = "bars.csv"
period = "2021"

[model]
method = "classic"

[corridors]
k = 2
min_length = "200 m"
"""


def degrees(points):
    places = gpd.GeoSeries(points, crs=UTM).to_crs(4326)
    return pd.DataFrame({"longitude": places.x.round(7), "latitude": places.y.round(7)})


def some_points(number, seed):
    random = np.random.default_rng(seed)
    return shapely.points(WEST + SIDE * random.random(number), SOUTH + SIDE * random.random(number))


def write_boundary(path, shape, crs=4326):
    frame = gpd.GeoDataFrame({"name": ["area"]}, geometry=[shape], crs=UTM).to_crs(crs)
    frame.to_file(path)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """The folder of a study that runs: 15 x 15 cells, 120 incidents, 15 bars."""
    folder = tmp_path_factory.mktemp("template")
    write_boundary(folder / "boundary.geojson", shapely.box(WEST, SOUTH, WEST + SIDE, SOUTH + SIDE))
    degrees(some_points(120, 1)).to_csv(folder / "incidents.csv", index=False)
    degrees(some_points(15, 2)).to_csv(folder / "bars.csv", index=False)
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    return folder


@pytest.fixture
def study(template, tmp_path):
    """A copy of it to spoil."""
    return shutil.copytree(template, tmp_path / "study")


def run(study, *options, command="run"):
    return CliRunner().invoke(main, [command, str(study / "study.toml"), "-o", str(study / "out"), *options])


def change(study, old, new):
    text = (study / "study.toml").read_text(encoding="utf-8")
    assert old in text
    (study / "study.toml").write_text(text.replace(old, new), encoding="utf-8")


def table(name, **columns):
    return lambda study: pd.DataFrame(columns).to_csv(study / name, index=False)


def edit(old, new):
    return lambda study: change(study, old, new)


def spoil(name, alter):
    def apply(study):
        frame = pd.read_csv(study / name)
        alter(frame).to_csv(study / name, index=False)

    return apply


def both(*steps):
    def apply(study):
        for step in steps:
            step(study)

    return apply


def boundary(shape, crs=4326, name="boundary.geojson"):
    return lambda study: write_boundary(study / name, shape, crs)


def swapped_boundary(study):
    square = shapely.box(WEST, SOUTH, WEST + SIDE, SOUTH + SIDE)
    there = gpd.GeoSeries([square], crs=UTM).to_crs(4326).iloc[0]
    exchanged = shapely.transform(there, lambda pairs: pairs[:, ::-1])
    gpd.GeoSeries([exchanged], crs=4326).to_file(study / "boundary.geojson")


def boundary_without_crs(study):
    frame = gpd.GeoDataFrame(geometry=[shapely.box(WEST, SOUTH, WEST + SIDE, SOUTH + SIDE)])
    frame.to_parquet(study / "boundary.parquet")
    change(study, "boundary.geojson", "boundary.parquet")


def write(name, content):
    return lambda study: (study / name).write_bytes(content)


SQUARE = shapely.box(WEST, SOUTH, WEST + SIDE, SOUTH + SIDE)
FAR = {"longitude": [10.0], "latitude": [50.0]}

# What is wrong -> how to spoil the study, and what the one line must say.
ERRORS = {
    "boundary without crs": (boundary_without_crs, "does not say|no coordinate reference system|crs"),
    "projected columns without crs": (
        table("bars.csv", x=[WEST + 5], y=[SOUTH + 5]),
        "state it, as in crs='EPSG:26915'",
    ),
    "study in EPSG:3857": (edit('name = "Small"', 'name = "Small"\ncrs = "EPSG:3857"'), "Invalid study_crs 'EPSG:3857'"),
    "boundary in EPSG:3857": (
        both(boundary(SQUARE, 3857, "b.gpkg"), edit("boundary.geojson", "b.gpkg")),
        "metres are stretched",
    ),
    "swapped boundary": (swapped_boundary, "swapped"),
    "swapped incidents": (
        spoil("incidents.csv", lambda frame: frame.set_axis(["latitude", "longitude"], axis=1)),
        "longitude and latitude look swapped",
    ),
    "swapped factor": (
        spoil("bars.csv", lambda frame: frame.set_axis(["latitude", "longitude"], axis=1)),
        "longitude and latitude look swapped",
    ),
    "boundary of points": (
        lambda study: gpd.GeoSeries(some_points(3, 1), crs=UTM).to_crs(4326).to_file(study / "boundary.geojson"),
        "A study area is made of polygons, and the layer holds: Point",
    ),
    "empty factor": (write("bars.csv", b"longitude,latitude\n"), "It holds no rows"),
    "empty file": (write("bars.csv", b""), "It is empty"),
    "binary file": (write("bars.csv", bytes(range(256)) * 20), "binary content"),
    "missing file": (lambda study: (study / "bars.csv").unlink(), "There is no such file"),
    "a folder as a file": (
        lambda study: ((study / "bars.csv").unlink(), (study / "bars.csv").mkdir()),
        "It is a folder",
    ),
    "no overlap of incidents": (table("incidents.csv", **FAR), "'incidents'.*None of its 1 points lies in the study area"),
    "no overlap of a factor": (table("bars.csv", **FAR), "'bars'.*None of its 1 features lies within"),
    "all null island": (
        table("incidents.csv", longitude=[0, 0], latitude=[0, 0]),
        r"Invalid incidents.*coordinates \(0, 0\)",
    ),
    "all NaN": (
        table("incidents.csv", longitude=[np.nan, 1], latitude=[39, np.nan]),
        "Invalid incidents.*no coordinates",
    ),
    "zero incidents": (
        edit('file = "incidents.csv"', 'file = "incidents.csv"\nwhere = "latitude > 80"'),
        "Invalid incidents 'incidents'. None is left to learn from",
    ),
    "unknown column": (
        edit('file = "incidents.csv"', 'file = "incidents.csv"\nwhere = "offence == 1"'),
        "offence.*longitude, latitude",
    ),
    "unknown longitude column": (
        edit('file = "bars.csv"', 'file = "bars.csv"\nlongitude = "easterly"\nlatitude = "latitude"'),
        "Invalid column 'easterly'.*it has: longitude, latitude",
    ),
    "negative block length": (edit('"200 m"\n\n[inc', '"-200 m"\n\n[inc'), "Invalid study.block_length '-200 m'.*greater than 0"),
    "zero block length": (edit('block_length = "200 m"', "block_length = 0"), "Invalid study.block_length 0"),
    "blocks without a block length": (
        edit("block_length", "cell_size"),
        r"Invalid factors\[0\].max_influence '3 blocks'. A length in blocks needs a block length",
    ),
    "a block in blocks": (edit('block_length = "200 m"', 'block_length = "2 blocks"'), "needs a block length"),
    "no length at all": (edit('block_length = "200 m"', ""), "Give study.block_length"),
    "cell larger than the area": (edit('block_length = "200 m"', 'block_length = "8 km"'), "larger than the whole study area"),
    "10^10 cells": (edit('block_length = "200 m"', "block_length = 0.03"), "at most 50,000,000 fit in memory"),
    "duplicate factors": (
        edit("[model]", '[[factors]]\nname = "bars"\nfile = "bars.csv"\n\n[model]'),
        "Invalid factors.name 'bars'. Each name may be used once",
    ),
    "no factors": (
        edit('[[factors]]\nname = "bars"\nfile = "bars.csv"\nperiod = "2021"', ""),
        "The key 'factors' is missing in the file",
    ),
    "later factor": (
        edit('period = "2021"', 'period = "2023"'),
        "allow_later_factors",
    ),
    "policing as a factor": (
        edit('file = "bars.csv"', 'file = "bars.csv"\nprovenance = "policing"'),
        "Invalid factor 'bars'.*allow_provenance='policing'",
    ),
    "unknown key": (edit("k = 2", "k = 2\ncolour = 1"), r"Unknown key 'colour' in \[corridors\]; known are: k, objective"),
    "unknown key of a factor": (
        edit('name = "bars"', 'name = "bars"\nmax_influense = "2 blocks"'),
        r"Unknown key 'max_influense' in \[factors\[0\]\]; known are: file, reader.*max_influence",
    ),
    "unknown table": (edit("[corridors]", "[corridor]"), r"Unknown key 'corridor' in the file; known are: study,"),
    "folder in the file": (lambda study: (study / "study.toml").write_text('folder = "/"\n' + STUDY), "Unknown key 'folder'"),
    "missing key": (edit('name = "bars"', ""), r"The key 'name' is missing in \[factors\[0\]\]"),
    "a covariate of classic weights": (
        edit("[model]", '[exposure]\nfile = "bars.csv"\nrole = "covariate"\n[model]'),
        "Invalid exposure.role 'covariate'. The classic procedure has no covariates",
    ),
    "a test of no period": (edit("[model]", '[validation]\ntest = "soon"\n[model]'), "Invalid validation.test 'soon'"),
    "places held out in time": (
        edit("[model]", '[validation]\nby = "blocks"\ntest = "2023"\n[model]'),
        "Invalid validation.test '2023'. Places are left out at all times",
    ),
    "labels of no areas": (
        edit("[model]", '[validation]\nby = "blocks"\ncolumn = "beat"\n[model]'),
        "Invalid validation.column 'beat'. Only a file of areas has labels",
    ),
    "TOML syntax": (edit("k = 2", "k = = 2"), r"Its TOML is wrong: Invalid value \(at line 20, column 5\)"),
    "wrong type": (edit('name = "bars"', "name = 3"), r"Invalid factors\[0\].name: expected `str`, got `int`"),
    "wrong choice": (edit('"classic"', '"magic"'), r"Invalid model.method 'magic'. It must be one of: 'guarded', 'classic'"),
    "wrong length": (
        edit('name = "bars"', 'name = "bars"\nmax_influence = "3 furlongs"'),
        r"Invalid factors\[0\].max_influence '3 furlongs'. Write a number and a unit",
    ),
    "wrong period": (edit('"2022/2023"', '"last year"'), "Invalid incidents.period 'last year'"),
    "period backwards": (edit('"2022/2023"', '"2023/2022"'), "must not end before it starts"),
    "wrong horizon": (edit("[model]", '[model]\nhorizon = "soon"'), "Invalid model.horizon 'soon'"),
    "no corridors asked for": (edit("k = 2", "k = 0"), "Invalid corridors.k 0. It must be a whole number of at least 1"),
    "lengths crossed": (
        edit("k = 2", 'max_length = "100 m"'),
        "Invalid corridors.max_length '100 m'. It must not be shorter",
    ),
    "negative separation": (edit("k = 2", 'separation = "-1 m"'), "Invalid corridors.separation"),
    "two cuts": (edit("[model]", "[hotspots]\ncount = 3\narea_share = 0.1\n[model]"), "Invalid hotspots: only one cut may be given"),
    "a share of 5": (edit("[model]", "[hotspots]\narea_share = 5\n[model]"), "Invalid hotspots.area_share"),
    "rrs without factors": (
        both(
            edit("[model]", '[hotspots]\nby = "rrs"\n[model]'),
            edit("file = \"bars.csv\"", 'file = "bars.csv"\nkind = "proximity"\nmax_influence = "10 km"'),
        ),
        "No factor is in the model",
    ),
    "several plain files": (edit('file = "bars.csv"', 'file = ["bars.csv", "bars.csv"]'), "Invalid file of 'bars'. Give one file"),
    "name of two lines": (edit('name = "bars"', 'name = "bars\\nand more"'), r"Invalid factors\[0\].name 'bars\\nand more'"),
    "null in a file name": (edit('file = "bars.csv"', 'file = "bars\\u0000.csv"'), r"Invalid factors\[0\].file"),
    "study not UTF-8": (write("study.toml", b"\xff\xfe\x00"), "It is not a text file in UTF-8"),
    "study empty": (write("study.toml", b""), "The key 'study' is missing in the file"),
    "study missing": (lambda study: (study / "study.toml").unlink(), "It cannot be read: No such file"),
    "study of brackets": (write("study.toml", b"a = " + b"[" * 100_000), "Its TOML is wrong"),
}  # fmt: skip


@pytest.mark.parametrize("fault", ERRORS)
def test_a_fault_is_one_line_and_leaves_nothing(study, fault):
    """Exit code 1, one line on standard error that says what is wrong, no traceback, no output."""
    apply, said = ERRORS[fault]
    apply(study)
    done = run(study, "--quiet")
    assert done.exit_code == 1, done.output
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("rtmkc: ")
    assert "unexpected" not in line
    assert re.search(said, line), line
    assert not (study / "out").exists()
    assert not [path for path in study.iterdir() if path.name.startswith(".")]


def many(frame):
    bad = pd.DataFrame(
        {"longitude": [0, np.nan, 500, frame["longitude"][0]], "latitude": [0, 39, 39, np.inf]}
    )
    return pd.concat([frame, bad])


# What is odd -> how to make it so, and what the warning must count.
WARNINGS = {
    "one incident": (spoil("incidents.csv", lambda frame: frame.iloc[:1]), "incidents in the study area: 1; below 50"),
    "NaN, (0, 0), off the globe, infinity": (
        spoil("incidents.csv", many),
        r"4 of 124 rows were dropped: .*1 coordinates \(0, 0\).*",
    ),
    "incidents outside": (
        spoil("incidents.csv", lambda frame: pd.concat([frame, pd.DataFrame(FAR)])),
        "",
    ),
    "one point": (spoil("bars.csv", lambda frame: frame.iloc[:1]), ""),
    "identical points": (spoil("bars.csv", lambda frame: pd.concat([frame.iloc[:1]] * 30)), ""),
    "semicolons": (
        lambda study: pd.read_csv(study / "bars.csv").to_csv(study / "bars.csv", sep=";", index=False),
        "",
    ),
    "covers everything": (
        both(boundary(SQUARE.buffer(5000), name="all.geojson"), edit("bars.csv", "all.geojson")),
        "",
    ),
    "names of any kind": (
        edit('name = "bars"', "name = '<script>alert(1)</script> =1+1 😀 " + "long " * 60 + "'"),
        "",
    ),
    "names that differ by case": (
        edit("[model]", '[[factors]]\nname = "Bars"\nfile = "bars.csv"\nperiod = "2021"\n\n[model]'),
        "",
    ),
    "a formula": (edit('name = "bars"', "name = '=1+1'"), ""),
    "places in EPSG:3857": (
        both(
            lambda study: gpd.GeoDataFrame(geometry=some_points(15, 2), crs=UTM).to_crs(3857).to_file(study / "bars.gpkg"),
            edit("bars.csv", "bars.gpkg"),
        ),
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("oddity", WARNINGS)
def test_an_oddity_is_counted_and_the_run_goes_on(study, oddity):
    """Exit code 0; what was dropped is in a warning and in the ledger, which still adds up."""
    apply, said = WARNINGS[oddity]
    apply(study)
    done = run(study, "--json")
    assert done.exit_code == 0, done.output
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert re.search(said, "\n".join(warnings)), done.stderr
    results = json.loads(done.stdout)
    for one in results["ledgers"]:
        lost = sum(one["merged"].values()) + sum(one["dropped"].values())
        assert one["read"] == one["used"] + lost
    assert (study / "out" / "report.html").is_file()
    assert (study / "out" / "manifest.json").is_file()
    assert "<script>alert" not in (study / "out" / "report.html").read_text(encoding="utf-8")
    assert not pd.read_csv(study / "out" / "weights.csv")["factor"].str.startswith("=").any()


def test_what_was_dropped_is_in_the_ledger(study):
    """Incidents outside and without coordinates are counted by reason."""
    WARNINGS["NaN, (0, 0), off the globe, infinity"][0](study)
    WARNINGS["incidents outside"][0](study)
    incidents = json.loads(run(study, "--json").stdout)["ledgers"][0]
    assert incidents["read"] == 125
    assert incidents["used"] == 120
    assert incidents["dropped"]["outside the study area"] == 1
    assert incidents["dropped"]["coordinates (0, 0)"] == 1


def test_a_factor_that_covers_everything_has_a_reason(study):
    """It is listed among the weights, not in the model, with the reason that it is constant."""
    WARNINGS["covers everything"][0](study)
    done = run(study)
    (weight,) = pd.read_csv(study / "out" / "weights.csv").to_dict("records")
    assert weight["status"] != "in the model"
    assert "constant" in weight["reason"]
    assert done.exit_code == 0
    assert "no significant factor" in done.stdout


def test_a_folder_that_exists_is_refused(study):
    """An output that exists is kept; one that holds other things than results is kept even with --overwrite."""
    (study / "out").mkdir()
    (study / "out" / "thesis.doc").write_text("mine")
    for options, said in (((), "It exists already"), (("--overwrite",), "holds other things than results")):
        done = run(study, *options)
        assert done.exit_code == 1
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
        assert (study / "out" / "thesis.doc").read_text() == "mine"


def test_a_folder_of_results_is_replaced_when_told(study):
    """With --overwrite a folder of results is replaced whole; a failing run leaves the old one."""
    assert run(study).exit_code == 0
    (study / "out" / "old.txt").write_text("old")
    change(study, '"2022/2023"', '"2022/2022"')
    (study / "bars.csv").rename(study / "away.csv")
    assert run(study, "--overwrite").exit_code == 1
    assert (study / "out" / "old.txt").exists()
    (study / "away.csv").rename(study / "bars.csv")
    assert run(study, "--overwrite").exit_code == 0
    assert not (study / "out" / "old.txt").exists()


def test_a_place_that_cannot_be_written_is_said(study):
    """A file where a folder is needed, and a file system that takes nothing, are errors in one line."""
    (study / "file").write_text("")
    for place in (study / "file" / "out", "/proc/nothing/out"):
        done = CliRunner().invoke(main, ["run", str(study / "study.toml"), "-o", str(place), "-q"])
        assert done.exit_code == 1
        (line,) = done.stderr.splitlines()
        assert "It cannot be written" in line


@pytest.mark.parametrize("writer", ["write_text", "write_cog"])
def test_a_full_disk_is_said_and_leaves_nothing(study, monkeypatch, writer):
    """When the disk fills up in the middle of writing, one line says so and nothing is left."""

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rtmkc.output.files, writer, full)
    done = run(study, "-q")
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert "It cannot be written: No space left on device. Nothing was left behind" in line
    assert sorted(path.name for path in study.iterdir()) == [
        "bars.csv",
        "boundary.geojson",
        "incidents.csv",
        "study.toml",
    ]


@pytest.mark.parametrize("limit", [20_000, 110_000])
def test_no_room_for_a_file_is_said_whoever_writes_it(study, limit):
    """When the system refuses more bytes to a file, GDAL, SQLite and Python all end in the same one line."""
    done = subprocess.run(
        [sys.executable, "-m", "rtmkc.cli", "run", "study.toml", "-o", "out", "-q"],
        cwd=study,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("rtmkc: ")]
    assert len(lines) == 1
    assert "unexpected" not in lines[0]
    assert not (study / "out").exists()
    assert not [path for path in study.iterdir() if path.name.startswith(".")]
