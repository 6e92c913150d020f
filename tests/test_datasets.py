"""The embedded sample is what its README and truth.json say, byte for byte."""

import hashlib
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from rtmkc import datasets
from rtmkc.datasets import sample_files, sample_path
from rtmkc.errors import InputError
from rtmkc.inputs.kansas_city.crime import read_kcpd_crime
from rtmkc.inputs.kansas_city.requests_311 import read_kc_311
from rtmkc.inputs.layers import read_layer
from rtmkc.raster.grid import Grid, StudyArea
from rtmkc.raster.tiles import suggest_block_length

YEARS = (2022, 2023, 2024)
WRITTEN = {
    "README.md",
    "boundary.geojson",
    "businesses.csv",
    "kcpd_crime_2022.csv",
    "kcpd_crime_2023.csv",
    "kcpd_crime_2024.csv",
    "neighbourhoods.geojson",
    "requests_311.csv",
    "streets.geojson",
    "treated.geojson",
    "truth.json",
}
# The columns of the police files of 2022 to 2024 as published (their order is not).
CRIME_COLUMNS = {
    "Address",
    "Age",
    "Age_Range",
    "Area",
    "Beat",
    "City",
    "DVFlag",
    "Description",
    "Fire Arm Used Flag",
    "From_Date",
    "From_Time",
    "IBRS",
    "Involvement",
    "Location",
    "Offense",
    "Race",
    "Rep_Dist",
    "Report_No",
    "Reported_Date",
    "Reported_Time",
    "Sex",
    "To_Date",
    "To_Time",
    "Zip Code",
}
REQUEST_COLUMNS = [
    "reported_issue",
    "workorder_",
    "issue_type",
    "issue_sub_type",
    "current_status",
    "open_date_time",
    "days_to_close",
    "incident_address",
    "council_district",
    "department_work_group",
    "report_source",
    "source_category",
    "lat_long",
    "last_updated",
]


@pytest.fixture(scope="module")
def crime():
    return {year: pd.read_csv(sample_path(f"kcpd_crime_{year}.csv"), dtype=str) for year in YEARS}


@pytest.fixture(scope="module")
def requests():
    return pd.read_csv(sample_path("requests_311.csv"), dtype=str)


@pytest.fixture(scope="module")
def truth():
    return json.loads(sample_path("truth.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def streets():
    return gpd.read_file(sample_path("streets.geojson")).to_crs("EPSG:26915")


@pytest.fixture(scope="module")
def boundary():
    return gpd.read_file(sample_path("boundary.geojson")).to_crs("EPSG:26915").geometry.iloc[0]


def test_every_file_is_present_and_found_by_name():
    """The sample has every file, each found by its name, under 4 MB in all."""
    assert set(sample_files()) >= WRITTEN | {"generate.py"}
    assert all(sample_path(name).is_file() for name in sample_files())
    assert sum(sample_path(name).stat().st_size for name in sample_files()) < 4_000_000


def test_unknown_file_is_refused_with_the_list():
    """A name that the sample lacks raises and lists what there is."""
    with pytest.raises(InputError, match=r"Invalid sample file 'bars\.csv'.*boundary\.geojson"):
        sample_path("bars.csv")


def test_installation_without_sample_says_so(monkeypatch, tmp_path):
    """Without the sample in the package or beside it the error says where it was sought."""
    monkeypatch.setattr(datasets, "CHECKOUT", tmp_path)
    monkeypatch.setattr(datasets, "files", lambda package: tmp_path)
    with pytest.raises(InputError, match="install rtmkc again"):
        sample_path()


def test_a_wheel_is_searched_before_a_checkout(monkeypatch, tmp_path):
    """The copy inside an installed package is preferred to the one of a checkout."""
    folder = tmp_path / "sample_data"
    folder.mkdir()
    (folder / "truth.json").write_text("{}")
    monkeypatch.setattr(datasets, "files", lambda package: tmp_path)
    assert sample_path() == folder
    assert sample_files() == ["truth.json"]


def test_generate_reproduces_every_byte(tmp_path):
    """Running generate.py writes the same bytes again, README included."""
    subprocess.run([sys.executable, str(sample_path("generate.py")), str(tmp_path)], check=True, timeout=120)
    assert {path.name for path in tmp_path.iterdir()} == WRITTEN
    for name in WRITTEN:
        assert (tmp_path / name).read_bytes() == sample_path(name).read_bytes(), name


def test_readme_hashes_are_true():
    """The README names the SHA-256 of every file that the generator writes, and of the generator."""
    text = sample_path("README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([^`]+)` \| \d+ \| `([0-9a-f]{64})` \|$", text, flags=re.MULTILINE))
    assert set(rows) == (WRITTEN | {"generate.py"}) - {"README.md"}
    for name, digest in rows.items():
        assert hashlib.sha256(sample_path(name).read_bytes()).hexdigest() == digest, name
    assert "No record here is real" in text


def test_crime_has_the_columns_of_its_years(crime):
    """Each file has the 24 columns of 2022 to 2024, placeholders for persons, and its year's reports."""
    for year, table in crime.items():
        assert set(table.columns) == CRIME_COLUMNS
        assert len(table.columns) == 24
        assert set(table["Race"]) == {"X"}
        assert set(table["Sex"]) == {"X"}
        assert set(table["Age"]) == {"0"}
        assert table["Reported_Date"].str.fullmatch(r"\d\d/\d\d/\d{4}").all()
        assert table["Reported_Date"].str.endswith(str(year)).mean() > 0.98
        assert set(table["DVFlag"]) == set(table["Fire Arm Used Flag"]) == {"True", "False"}


def test_one_row_is_a_person_not_a_crime(crime):
    """Reports have 1.5 to 2.5 rows each, as real ones; every violent report has a victim."""
    table = pd.concat(crime.values())
    violent = table[table["IBRS"].isin(["13A", "120", "09A"])]
    assert 1.5 < len(table) / table["Report_No"].nunique() < 2.5
    assert violent.groupby("Report_No")["Involvement"].apply(lambda who: who.str.contains("VIC").any()).all()


def test_collapsed_reports_match_the_truth(crime, truth, boundary):
    """Collapsed, placed and dated, the violent reports are as many as truth.json says."""
    table = pd.concat(crime.values())
    violent = table[table["IBRS"].isin(truth["incidents"]["outcome"].split("'")[1::2])]
    assert table["Report_No"].nunique() == truth["incidents"]["reports"]
    assert violent["Report_No"].nunique() == truth["incidents"]["violent_reports"]
    assert len(table) == truth["incidents"]["rows"]
    twice = set(crime[2022]["Report_No"]) & set(crime[2023]["Report_No"])
    twice |= set(crime[2023]["Report_No"]) & set(crime[2024]["Report_No"])
    assert len(twice) == truth["incidents"]["in_two_files"] > 10

    placed = violent.dropna(subset=["Location"]).drop_duplicates("Report_No")
    dated = placed["From_Date"].isna() | placed["From_Date"].str[-4:].isin(map(str, YEARS))
    places = gpd.GeoSeries.from_wkt(placed["Location"][dated], crs="EPSG:4326").to_crs("EPSG:26915")
    whole = shapely.Polygon(boundary.exterior, [boundary.interiors[0]])  # the sliver is closed
    inside = shapely.intersects(whole, places.to_numpy()).sum()
    assert inside == truth["incidents"]["violent_usable_inside"]
    assert abs(inside - 0.96 * truth["incidents"]["expected_inside"]) < 4 * np.sqrt(
        truth["incidents"]["expected_inside"]
    )


def test_faults_have_the_shares_of_real_files(crime):
    """About 3 % of reports have no place, a few lie in Florida, are withheld, or are dated before 2000."""
    reports = pd.concat(crime.values()).groupby("Report_No")
    nowhere = reports["Location"].apply(lambda places: places.isna().all())
    assert 0.02 < nowhere.mean() < 0.04
    table = pd.concat(crime.values()).drop_duplicates("Report_No")
    location = table["Location"].fillna("")
    assert 0.001 < (location == "POINT (-82.39 28.04)").mean() < 0.01
    assert 0.001 < location.str.startswith("99999").mean() < 0.02
    assert 0.002 < (pd.to_numeric(table["From_Date"].str[-4:]) < 2000).mean() < 0.01
    assert table["IBRS"].isna().mean() > 0.04
    some = reports["Location"].apply(lambda places: places.isna().any() and places.notna().any())
    assert some.sum() > 10


def test_places_are_snapped_to_blocks(crime):
    """Many incidents share a coordinate, as block-snapped addresses do."""
    table = pd.concat(crime.values()).drop_duplicates("Report_No")
    per_place = table["Location"].value_counts()
    assert per_place.iloc[0] >= 40  # the station door
    assert (per_place > 1).sum() > 800


def test_requests_have_their_layout_and_precede_the_incidents(requests, truth):
    """The 311 file has the columns of its layout and ends before the first incident."""
    assert list(requests.columns[:14]) == REQUEST_COLUMNS
    opened = pd.to_datetime(requests["open_date_time"], format="%m/%d/%Y %I:%M:%S %p")
    assert opened.min() >= pd.Timestamp("2021-03-04")
    assert opened.max() < pd.Timestamp("2022-01-01")
    assert requests["current_status"].nunique() > requests["current_status"].str.lower().nunique()
    counts = truth["requests"]
    unique = requests.drop_duplicates("reported_issue")
    assert len(requests) - len(unique) == counts["duplicate"] > 10
    assert unique["lat_long"].isna().sum() == counts["no location"] > 10
    assert (unique["lat_long"] == "POINT (-103.89058 35.79752)").sum() == counts["false origin"] > 5
    cancelled = unique["current_status"].str.lower() == "canceled"
    assert cancelled.sum() == counts["cancelled"] > 20


def test_each_factor_is_selected_by_its_expression(requests, truth):
    """The expressions of truth.json select each factor's reports, at least as many as it has places."""
    live = requests[requests["current_status"].str.lower() != "canceled"].drop_duplicates("reported_issue")
    assert len(truth["factors"]) == 5
    for factor in truth["factors"]:
        assert len(live.query(factor["where"])) >= 0.95 * factor["n_places"] > 100
        assert factor["active"] == (factor["rrv"] > 1)


def test_shapes_load_and_lie_around_independence_avenue(streets, boundary):
    """All shapes are valid, in longitude and latitude, around 39.107, -94.535; the area has two holes."""
    for name in ("boundary", "streets", "treated", "neighbourhoods"):
        frame = gpd.read_file(sample_path(f"{name}.geojson"))
        assert frame.crs == "EPSG:4326"
        assert frame.is_valid.all()
        west, south, east, north = frame.total_bounds
        assert -94.58 < west < east < -94.49
        assert 39.08 < south < north < 39.13
    assert boundary.geom_type == "Polygon"
    assert 15e6 < boundary.area < 20e6
    park, sliver = sorted((shapely.Polygon(hole).area for hole in boundary.interiors), reverse=True)
    assert park > 200_000
    assert sliver < 68.58**2


def test_streets_meet_only_at_shared_ends(streets):
    """No two segments cross except where both end; names and classes are there."""
    lines = streets.geometry.to_numpy()
    tree = shapely.STRtree(lines)
    first, second = tree.query(lines, predicate="intersects")
    pairs = first < second
    first, second = first[pairs], second[pairs]
    met = shapely.intersection(lines[first], lines[second])
    ends = shapely.union_all(shapely.boundary(lines))
    assert (shapely.get_type_id(met) == 0).all()
    assert shapely.dwithin(met, ends, 0.01).all()
    for side in (first, second):
        assert shapely.dwithin(met, shapely.boundary(lines[side]), 0.01).all()
    assert set(streets["road_class"]) == {"motorway", "primary", "secondary", "tertiary", "residential"}
    names = set(streets["name"])
    for name in [
        "Independence Avenue",
        "Truman Road",
        "St John Avenue",
        "East 9th Street",
        "East 12th Street",
        "Lexington Avenue",
        "Gladstone Boulevard",
        "Benton Boulevard",
        "Prospect Avenue",
        "Hardesty Avenue",
        "Van Brunt Boulevard",
        "Topping Avenue",
        "Chestnut Avenue",
        "Cleveland Avenue",
        "Jackson Avenue",
        "Askew Avenue",
        "The Paseo",
        "I-70",
    ]:
        assert name in names
    local = streets[streets["road_class"] == "residential"].length
    assert 130 < local.median() < 140


def test_benton_to_hardesty_is_as_long_as_reported(streets):
    """The treated stretch measures 2.2 to 2.4 km, from one named crossing to the other, along its street."""
    treated = gpd.read_file(sample_path("treated.geojson"))
    assert treated[["name", "from_street", "to_street", "status"]].iloc[0].tolist() == [
        "Independence Avenue",
        "Benton Boulevard",
        "Hardesty Avenue",
        "treated",
    ]
    assert str(treated["start"].iloc[0])[:10] == "2023-11-29"
    assert treated["days"].iloc[0] == 90
    line = treated.to_crs("EPSG:26915").geometry.iloc[0]
    assert 2_200 < line.length < 2_400
    for name, position in (("Benton Boulevard", 0), ("Hardesty Avenue", -1)):
        end = shapely.Point(line.coords[position])
        assert streets[streets["name"] == name].distance(end).min() < 0.01
    avenue = shapely.union_all(streets[streets["name"] == "Independence Avenue"].geometry.to_numpy())
    assert avenue.buffer(0.01).covers(line)


def test_neighbourhoods_cover_the_area_once(boundary):
    """Six to ten neighbourhoods with names cover the area without overlapping."""
    frame = gpd.read_file(sample_path("neighbourhoods.geojson")).to_crs("EPSG:26915")
    assert 6 <= len(frame) <= 10
    assert frame["name"].is_unique
    assert boundary.difference(frame.union_all()).area < 0.01 * boundary.area
    assert frame.area.sum() - frame.union_all().area < 1.0


def test_businesses_lie_in_the_area(boundary):
    """Sixty businesses with unique names, latitude and longitude lie inside the area."""
    table = pd.read_csv(sample_path("businesses.csv"))
    assert list(table.columns) == ["name", "latitude", "longitude"]
    assert len(table) == table["name"].nunique() == 60
    points = gpd.GeoSeries(gpd.points_from_xy(table["longitude"], table["latitude"]), crs="EPSG:4326")
    assert points.to_crs("EPSG:26915").dwithin(boundary, 30).all()


def test_generator_needs_numpy_alone():
    """generate.py imports the standard library and numpy, nothing else."""
    text = Path(sample_path("generate.py")).read_text(encoding="utf-8")
    imported = set(re.findall(r"^(?:import|from) (\w+)", text, flags=re.MULTILINE))
    assert imported - set(sys.stdlib_module_names) == {"numpy"}


def test_generator_kernel_is_the_quartic(monkeypatch):
    """The generator's own density integrates to one feature over the plane."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # the folder goes into the wheel as it is
    spec = importlib.util.spec_from_file_location("sample_generate", sample_path("generate.py"))
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    axis = np.arange(-220.0, 220.0, 2.0)
    east, north = np.meshgrid(axis, axis)
    positions = np.column_stack([east.ravel(), north.ravel()])
    total = generate.density(positions, np.array([[0.0, 0.0]]), 200.0).sum() * 4.0
    assert total == pytest.approx(1.0, abs=1e-3)


@pytest.mark.filterwarnings("ignore::rtmkc.errors.DataWarning")
def test_the_library_reads_what_the_truth_counts(truth):
    """Read by the library and counted on its grid, the violent incidents are those of truth.json, to one."""
    paths = [sample_path(f"kcpd_crime_{year}.csv") for year in YEARS]
    incidents = read_kcpd_crime(paths, ibrs=["13A", "120", "09A"], period="2022/2024")
    area = StudyArea.from_layer(read_layer(sample_path("boundary.geojson")))
    grid = Grid.cover(area, block_length="450 ft")
    assert grid.count(incidents).sum() == truth["incidents"]["violent_usable_inside"]
    assert any("1 holes" in note or "1 hole " in note for note in grid.notes)
    assert not incidents.frame.columns.isin(["Race", "Sex", "Age", "Age_Range"]).any()
    for factor in truth["factors"]:
        reports = read_kc_311(sample_path("requests_311.csv"), where=factor["where"])
        assert reports.provenance == "community-reported"
        assert 0.95 * factor["n_places"] < len(reports) < 1.6 * factor["n_places"]


def test_the_streets_measure_a_450_foot_block():
    """The block suggested from the street layer is that of the generator, within 3 %."""
    area = StudyArea.from_layer(read_layer(sample_path("boundary.geojson")))
    assert suggest_block_length(sample_path("streets.geojson"), area) == pytest.approx(137.16, rel=0.03)
