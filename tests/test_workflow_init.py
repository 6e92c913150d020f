"""From a folder to a study: what files are taken for, what is written, and that it runs untouched."""

import os
import shutil
import tomllib
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely import LineString, box

import rtmkc as rtm
from rtmkc.errors import InputError, OutputError
from rtmkc.workflow import guesses
from rtmkc.workflow.draft import Table, toml
from rtmkc.workflow.inspect import inspect_file, inspect_folder
from rtmkc.workflow.study import Study

DATA = os.environ.get("RTMKC_DATA")
WEST, SOUTH = 362_000.0, 4_326_000.0
CRS = "EPSG:26915"


def points(number, seed, **columns):
    """Points over a square of 3 km, half of them in one corner."""
    random = np.random.default_rng(seed)
    spread = random.uniform(0, 3000, (number, 2))
    spread[::2] = random.uniform(0, 1000, (len(spread[::2]), 2))
    geometry = gpd.points_from_xy(WEST + spread[:, 0], SOUTH + spread[:, 1])
    return gpd.GeoDataFrame(columns, geometry=geometry, crs=CRS)


def dates(number, start, end, seed=0):
    random = np.random.default_rng(seed)
    days = (pd.Timestamp(end) - pd.Timestamp(start)).days
    after = random.integers(0, days + 1, number)
    after[:2] = 0, days
    return pd.Timestamp(start) + pd.to_timedelta(after, unit="D")


@pytest.fixture
def folder(tmp_path):
    """A made-up city: boundary, crimes of 2022 and 2023, a requests layer, bars, streets, beats."""
    folder = tmp_path / "my city"
    (folder / "areas").mkdir(parents=True)
    kinds = np.array(["Robbery", "AGG ASSAULT", "Non-Agg Assault", "Theft"])[np.arange(600) % 4]
    points(600, 1, offense=kinds, date=dates(600, "2022-01-01", "2023-12-31")).to_parquet(
        folder / "crimes.parquet"
    )
    gpd.GeoDataFrame({"id": [1]}, geometry=[box(WEST, SOUTH, WEST + 3000, SOUTH + 3000)], crs=CRS).to_file(
        folder / "areas" / "city_limits.geojson"
    )
    types = np.array(["Street Lights Out", "Pothole", "Illegal Dumping"])[np.arange(900) % 3]
    points(900, 2, sr_type=types, created_date=dates(900, "2019-01-01", "2023-12-31", 3)).to_parquet(
        folder / "service_requests.parquet"
    )
    points(60, 4).to_parquet(folder / "bars.parquet")
    lines = [
        LineString([(WEST + 120 * east, SOUTH + 120 * north), (WEST + 120 * (east + 1), SOUTH + 120 * north)])
        for east in range(25)
        for north in range(25)
    ]
    names = [f"{number % 25} Street" for number in range(len(lines))]
    gpd.GeoDataFrame({"ST_NAME": names}, geometry=lines, crs=CRS).to_parquet(folder / "streets.parquet")
    beats = [box(WEST + 1500 * part, SOUTH, WEST + 1500 * (part + 1), SOUTH + 3000) for part in range(2)]
    gpd.GeoDataFrame({"BEAT": ["111", "112"]}, geometry=beats, crs=CRS).to_parquet(
        folder / "areas" / "beats.parquet"
    )
    (folder / "notes.docx").write_bytes(b"x")
    return folder


def study_of(folder):
    return tomllib.loads((folder / "study.toml").read_text(encoding="utf-8"))


def test_a_folder_of_any_city_becomes_a_study(folder):
    """Every file has its role, and each key of the study is the one a person would have written."""
    draft = rtm.write_study(folder)
    roles = {finding.file: finding.role for finding in draft.findings}
    assert roles == {
        "areas/beats.parquet": "areas",
        "areas/city_limits.geojson": "boundary",
        "bars.parquet": "factor",
        "crimes.parquet": "incidents",
        "notes.docx": "not used",
        "service_requests.parquet": "requests",
        "streets.parquet": "streets",
    }
    study = study_of(folder)
    assert study["study"]["boundary"] == "areas/city_limits.geojson"
    assert study["study"]["block_length"] == "120 m"
    assert study["incidents"]["where"] == {"offense": ["Robbery", "AGG ASSAULT"]}
    assert study["incidents"]["period"] == "2022-01-01/2023-12-31"
    factors = {factor["name"]: factor for factor in study["factors"]}
    assert set(factors) == {"poor lighting", "illegal dumping", "bars"}
    assert factors["poor lighting"]["where"] == {"sr_type": ["Street Lights Out"]}
    assert factors["poor lighting"]["period"] == "2019-01-01/2021-12-31"
    assert "allow_later_factors" not in study["model"]
    assert study["streets"]["name"] == "ST_NAME"
    assert study["joins"] == [{"name": "beat", "file": "areas/beats.parquet", "column": "BEAT"}]


def test_the_study_runs_untouched(folder, tmp_path):
    """What was written is run as it is; hot spots know their beat; streets too short for a corridor are said."""
    draft = rtm.write_study(folder)
    found = rtm.run(draft.path, tmp_path / "results")
    assert found.terrain.facts["n_incidents"] == 300
    assert found.terrain.facts["timing"].startswith("no date known for bars")
    assert set(found.hotspots["beat"]) <= {"111", "112"}
    assert len(found.corridors) == 0
    assert found.corridors.attrs["statement"].startswith("No corridor. Invalid min_length 500 m")
    assert {"areas/beats.parquet", "crimes.parquet"} <= set(Study.from_file(draft.path).files())


def test_a_guess_has_its_reason_beside_it(folder):
    """The study says why each file was taken, lists values not chosen and files not read, and can be switched on."""
    text = rtm.write_study(folder).text
    for said in (
        "the file is called 'crimes'", "Non-Agg Assault (150)", "the median line of streets.parquet",
        "Not mapped of 'sr_type': Pothole (300)", "notes.docx: files that end in .docx are not read",
        "so that they cannot be their consequence",
    ):  # fmt: skip
        assert said in text.replace("\n# ", " "), said


def test_a_study_that_is_there_is_kept(folder):
    """Without overwrite nothing is read or changed; with it the file is replaced."""
    (folder / "study.toml").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="It exists already"):
        rtm.write_study(folder)
    assert (folder / "study.toml").read_text(encoding="utf-8") == "mine"
    rtm.write_study(folder, overwrite=True)
    assert study_of(folder)["study"]["name"] == "Risk terrain of my city"


def test_a_study_elsewhere_finds_its_files(folder, tmp_path):
    """Paths are written from the folder of the study file."""
    draft = rtm.write_study(folder, tmp_path / "studies.toml")
    assert all(file.is_file() for file in Study.from_file(draft.path).files().values())
    assert 'boundary = "my city/areas/city_limits.geojson"' in draft.text


def test_factors_of_the_same_days_are_said_to_be_so(folder):
    """Where no data precede the incidents the study allows later ones, and says so."""
    requests = gpd.read_parquet(folder / "service_requests.parquet")
    requests["created_date"] = dates(900, "2022-06-01", "2023-12-31", 3)
    requests.to_parquet(folder / "service_requests.parquet")
    draft = rtm.write_study(folder)
    study = study_of(folder)
    assert study["model"]["allow_later_factors"] is True
    assert all("period" not in factor for factor in study["factors"])
    assert "contemporaneous" in draft.notes[0]


def test_reports_from_a_corner_of_the_city_are_left_out(folder):
    """A layer of requests collected in one square kilometre of a hundred would make absence of what nobody counted."""
    outline = box(WEST, SOUTH, WEST + 10_000, SOUTH + 10_000)
    gpd.GeoDataFrame({"id": [1]}, geometry=[outline], crs=CRS).to_file(
        folder / "areas" / "city_limits.geojson"
    )
    requests = gpd.read_parquet(folder / "service_requests.parquet")
    corner = gpd.points_from_xy(WEST + np.arange(900), SOUTH + np.arange(900) % 700)
    requests.set_geometry(gpd.GeoSeries(corner, crs=CRS)).to_parquet(folder / "service_requests.parquet")
    draft = rtm.write_study(folder)
    assert [factor["name"] for factor in study_of(folder)["factors"]] == ["bars"]
    assert "collected in a part of it" in draft.text.replace("\n# ", " ")
    assert draft.notes == ["left as comments: poor lighting, illegal dumping"]


def test_layers_of_police_work_are_left_out(folder):
    """Arrests are offered as a comment only, with the reason."""
    points(80, 9).to_parquet(folder / "arrests.parquet")
    text = rtm.write_study(folder).text
    assert "would feed that back" in text.replace("\n# ", " ")
    assert "arrests" not in [factor["name"] for factor in study_of(folder)["factors"]]


def test_of_several_incidents_the_dated_one_with_most_rows_is_taken(folder):
    """A larger layer without dates gives way; it stays as a comment."""
    points(5000, 8).to_parquet(folder / "burglaries.parquet")
    draft = rtm.write_study(folder)
    assert study_of(folder)["incidents"]["file"] == "crimes.parquet"
    assert '# file = "burglaries.parquet"' in draft.text


def test_without_a_boundary_areas_are_united(folder):
    """The beats that hold the incidents serve, and the study says so."""
    (folder / "areas" / "city_limits.geojson").unlink()
    draft = rtm.write_study(folder)
    assert study_of(folder)["study"]["boundary"] == "areas/beats.parquet"
    assert "the 2 areas of this one are united" in draft.text


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        (
            ["areas/city_limits.geojson", "areas/beats.parquet"],
            "No file of it holds areas, and a study needs a boundary",
        ),
        (["crimes.parquet"], "No file of it looks like incidents"),
        (["service_requests.parquet", "bars.parquet"], "No file of it can be a risk factor"),
    ],
)
def test_what_is_missing_is_said(folder, gone, said):
    """Without boundary, incidents or factor nothing is written, and the error lists what was found."""
    for name in gone:
        (folder / name).unlink()
    with pytest.raises(InputError, match=said):
        rtm.write_study(folder)
    assert not (folder / "study.toml").exists()


def test_folders_that_are_none(tmp_path):
    """A file, and an empty folder."""
    (tmp_path / "a.csv").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match="It is not a folder"):
        inspect_folder(tmp_path / "a.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="It holds no files"):
        inspect_folder(tmp_path / "empty")


@pytest.mark.filterwarnings("ignore::rtmkc.errors.DataWarning")
def test_the_sample_becomes_a_study_that_runs(tmp_path):
    """KCPD tables of three years are one layer, 311 becomes the five factors; the run finds the true ones."""
    folder = tmp_path / "kc"
    shutil.copytree(rtm.sample_path(), folder, ignore=shutil.ignore_patterns("study.toml", "truth.json"))
    found = rtm.run(rtm.write_study(folder).path, tmp_path / "results")
    study = study_of(folder)
    assert [factor["name"] for factor in study["factors"]] == list(guesses.CORE_FACTORS)
    assert study["incidents"]["ibrs"] == ["09A", "13A", "120"]
    assert study["treated"]["file"] == "treated.geojson"
    assert study["names"] == {"file": "neighbourhoods.geojson", "column": "name"}
    assert found.terrain.facts["timing"] == "all factors precede the incidents"
    assert set(found.terrain.factors) == {"vacant houses", "illegal dumping", "poor lighting"}


@pytest.mark.skipif(not DATA, reason="RTMKC_DATA is not set: real files are not at hand")
@pytest.mark.filterwarnings("ignore::rtmkc.errors.DataWarning")
def test_kansas_city_and_chicago_become_studies(tmp_path):
    """On the published files of two cities: exact violent values, the 311 of one quarter left out, dates before."""
    kansas_city = rtm.write_study(Path(DATA or "") / "kc", tmp_path / "kc.toml")
    study = tomllib.loads(kansas_city.text)
    assert sorted(study["incidents"]["where"]["Crime"]) == [
        "Agg_Assault_Domest", "Agg_Assault_Drive", "Aggravated_Assault", "Armed_Robbery", "Homicide_Non_Negl",
        "Strong_Arm_Robbery",
    ]  # fmt: skip
    assert study["incidents"]["merge"] == ["Date", "Hour", "Crime", "place"]
    assert Study.from_file(tmp_path / "kc.toml").read("incidents").ledger.used == 3_271
    assert {factor["name"] for factor in study["factors"]} == {
        "land bank", "tax foreclosures", "vacant land", "parking lots", "apartments", "hotels and motels",
    }  # fmt: skip
    chicago = tomllib.loads(rtm.write_study(Path(DATA or "") / "chicago", tmp_path / "chicago.toml").text)
    assert chicago["incidents"]["file"].endswith("aggravated_assaults_2010_2017.parquet")
    assert {join["name"]: join["column"] for join in chicago["joins"]} == {
        "beat": "District", "police district": "District",
    }  # fmt: skip
    assert len(chicago["factors"]) == 5


@pytest.mark.parametrize(
    ("value", "violent"),
    [
        ("Agg_Assault_Drive", True), ("Non_Agg_Assault_Dome", False), ("Homicide_Non_Negl", True),
        ("negligent manslaughter", False), ("Murder and Nonnegligent Manslaughter", True), ("Attempted_Suicide", False),
        ("Justifiable_Homicide", False), ("ASSAULT - AGGRAVATED", True), ("Assault (Non-Aggravated)", False),
        ("Simple Assault", False), ("Strong_Arm_Robbery", True), ("Burglary", False), ("Shooting - fatal", True),
    ],
)  # fmt: skip
def test_violence_is_told_by_whole_words(value, violent):
    """Aggravated assault, robbery, murder and shootings; not what is non-aggravated, simple or justifiable."""
    assert (guesses.violent_values([value]) == [value]) is violent


@pytest.mark.parametrize("text", ['a "b" \\ c', "line\nbreak", "tab\tnul\x00del\x7f", "ünïcode 🏙", "[table]"])
def test_any_text_survives_toml(text):
    """Names of files and values of users are read back as they were, and cannot break out of a comment."""
    table = Table("[t]", comments=[text])
    table.add("key", {text: [text]}, text)
    written = "\n".join(table.lines())
    assert tomllib.loads(written) == {"t": {"key": {text: [text]}}}
    table.active = False
    assert tomllib.loads("\n".join(table.lines())) == {}
    assert tomllib.loads(f"a = {toml([text] * 40)}") == {"a": [text] * 40}


def test_layers_of_one_file_are_looked_at_one_by_one(tmp_path):
    """A GeoPackage with two layers gives two findings, each with the key that reads it."""
    path = tmp_path / "city.gpkg"
    gpd.GeoDataFrame({"id": [1]}, geometry=[box(0, 0, 9, 9)], crs=CRS).to_file(path, layer="boundary")
    points(30, 1).to_file(path, layer="bars")
    found = {finding.stem: (finding.role, finding.options) for finding in inspect_file(path)}
    assert found == {"boundary": ("boundary", {"layer": "boundary"}), "bars": ("factor", {"layer": "bars"})}
