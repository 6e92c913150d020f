"""What the city has published, verbatim: strings, columns, constants, and the raw samples."""

import json
import os
import warnings
from pathlib import Path

import pandas as pd
import pyproj
import pytest

from rtmkc.errors import DataWarning, InputError
from rtmkc.inputs.kansas_city.buildings import read_kc_buildings
from rtmkc.inputs.kansas_city.crime import read_kcpd_crime
from rtmkc.inputs.kansas_city.factor_map import load_map
from rtmkc.inputs.kansas_city.factors import kc_factors
from rtmkc.inputs.kansas_city.portal import FALSE_ORIGIN, OUTSIDE, STATE_PLANE, WITHHELD
from rtmkc.inputs.kansas_city.requests_311 import read_kc_311
from rtmkc.inputs.kansas_city.violations import read_kc_violations
from rtmkc.inputs.layers import Layer

DATA = os.environ.get("RTMKC_DATA")
FOLDER = Path(DATA or ".") / "kc"
real = pytest.mark.skipif(not DATA, reason="RTMKC_DATA is not set: real files are not at hand")
MISSING = "no coordinates"

#: Every location that is written down of the KCPD tables, with its place or the reason why it has none.
LOCATIONS = {
    "400 W 58 ST\nKANSAS CITY 64113\n(39.022397, -94.59269)": (-94.59269, 39.022397),
    "13100 HOLMES RD\nKANSAS CITY 64145\n(38.889239, -94.586045)": (-94.586045, 38.889239),
    "3500 PROSPECT AV\nKANSAS CITY 64127\n": MISSING,
    "N NW GREEN HILLS RD\nKANSAS CITY 64152\n": MISSING,
    "11600 E US\nHW KANSAS CITY 64133\n": MISSING,
    "18 ST and PROSPECT AV\nKANSAS CITY 64127\n": MISSING,
    "99999\n": WITHHELD,
    "99999(0.0, 0.0)": WITHHELD,
    "BROADWAY KANSAS CITY64131\r\n(38.9767, -94.5767)": (-94.5767, 38.9767),
    "10TH KANSAS CITY64106\r\n(39.1019, -94.571)": (-94.571, 39.1019),
    "POINT (-94.58546458 39.103614672)": (-94.58546458, 39.103614672),
    "POINT (-94.647027706 39.245607408)": (-94.647027706, 39.245607408),
    "POINT (-94.574238674757 39.021251335024)": (-94.574238674757, 39.021251335024),
    "POINT (-82.393898878 28.048895718)": OUTSIDE,
    "POINT (-89.0251 42.2167)": OUTSIDE,
    '{"type": "Point", "coordinates": [-94.58546458, 39.103614672]}': (-94.58546458, 39.103614672),
    '{"latitude": "39.022397", "longitude": "-94.59269", "human_address": "{}"}': (-94.59269, 39.022397),
    "938 Mulberry St64101\n(39.102738, -94.600134)": (-94.600134, 39.102738),
    "(35.79752, -103.89058)": FALSE_ORIGIN,
    "": MISSING,
}


def quietly(read: object, *args: object, **options: object) -> Layer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return read(*args, **options)


def crimes(locations: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Report_No": [f"KC{number}" for number in range(len(locations))],
            "Reported_Date": "01/02/2019",
            "IBRS": "120",
            "Location": locations,
        }
    )


@pytest.mark.parametrize("location", LOCATIONS)
def test_every_published_location_is_a_place_or_a_reason(tmp_path: Path, location: str) -> None:
    """Through a file, as line breaks inside a cell must survive it."""
    path = tmp_path / "crime.csv"
    crimes([location]).to_csv(path, index=False)
    layer = quietly(read_kcpd_crime, path)
    expected = LOCATIONS[location]
    if isinstance(expected, str):
        assert layer.ledger.dropped == {expected: 1}
    else:
        assert (layer.frame.geometry.iloc[0].x, layer.frame.geometry.iloc[0].y) == expected


def test_all_locations_in_one_file_add_up(tmp_path: Path) -> None:
    """Rows of one and of three lines in one file: read = used + dropped, each under its reason."""
    path = tmp_path / "crime.csv"
    crimes(list(LOCATIONS)).to_csv(path, index=False)
    ledger = quietly(read_kcpd_crime, path).ledger
    reasons = pd.Series([place for place in LOCATIONS.values() if isinstance(place, str)]).value_counts()
    assert ledger.read == len(LOCATIONS)
    assert ledger.dropped == reasons.to_dict()


@pytest.mark.parametrize(
    ("system", "degrees", "projected", "tolerance"),
    [
        ("EPSG:26915", (-94.5786, 39.0997), (363494.7, 4329026.6), 0.1),
        (STATE_PLANE, (-94.5786, 39.0997), (2766402.4, 1067976.9), 0.1),
        (STATE_PLANE, (-103.89058, 35.79752), (0.0, 0.0), 3.0),
        (STATE_PLANE, (-94.70518, 39.31462), (2730659.4, 1146308.74), 3.0),
    ],
)
def test_the_constants_of_the_city_hold(
    system: str, degrees: tuple[float, float], projected: tuple[float, float], tolerance: float
) -> None:
    """Metres and US feet of known places; the false origin to the five decimals in which it is written."""
    there = pyproj.Transformer.from_crs("EPSG:4326", system, always_xy=True).transform(*degrees)
    assert there == pytest.approx(projected, abs=tolerance)
    assert pyproj.CRS(STATE_PLANE).axis_info[0].unit_name == "US survey foot"


@real
def test_every_string_of_the_schemas_is_known() -> None:
    """The locations of kc_schemas.json are those above; none was forgotten."""
    schemas = json.loads((FOLDER / "kc_schemas.json").read_text(encoding="utf-8"))
    written = schemas["kcpd_location_verbatim"]
    strings = [text for form in written.values() if isinstance(form, list) for text in form]
    assert len(strings) == 14
    assert set(strings) <= set(LOCATIONS)
    ledger = quietly(read_kcpd_crime, crimes(strings)).ledger
    assert ledger.used == 6
    assert ledger.dropped == {MISSING: 4, WITHHELD: 2, OUTSIDE: 2}


@real
def test_every_list_of_columns_in_the_schemas_is_a_layout() -> None:
    """A table with those columns is read by its reader, or refused for having no places."""
    schemas = json.loads((FOLDER / "kc_schemas.json").read_text(encoding="utf-8"))
    for year, columns in schemas["kcpd_columns_by_year"].items():
        if isinstance(columns, list):
            names = [name.split(" (")[0] for name in columns]
            values = dict.fromkeys(names, "1") | {"Report_No": "1", "Reported_Date": "01/02/2012"}
            values |= {"Latitude": "39.1", "Longitude": "-94.5", "Location": "(39.1, -94.5)"}
            values["Location 1"] = "(39.1, -94.5)"
            frame = pd.DataFrame([{name: values[name] for name in names}])
            assert len(quietly(read_kcpd_crime, frame)) == 1, year
    old = schemas["kc311_columns_2007_2021 (7at3-sxhp, API cyqf-nban)"]
    new = [
        name
        for name in schemas["kc311_columns_2021_on (d4px-6rwg, API names seen in code)"]
        if "(" not in name
    ]
    place = {"LATITUDE": "39.1", "LONGITUDE": "-94.5", "lat_long": "POINT (-94.5 39.1)"}
    place |= {"CREATION DATE": "12/31/2011", "open_date_time": "2021-03-05T09:52:00.000"}
    for columns in (old, new):
        assert len(read_kc_311(pd.DataFrame([{name: place.get(name, "1") for name in columns}]))) == 1
    violations = schemas["kc_property_violations (nhtf-e75a; lower-cased)"]
    place = {"latitude": "39.1", "longitude": "-94.5", "violation_entry_date": "06/03/2014"}
    assert len(read_kc_violations(pd.DataFrame([{name: place.get(name, "1") for name in violations}]))) == 1
    buildings = schemas["kc_dangerous_buildings (ax3m-jhxx, API)"]
    place = {"case_location": "POINT (-94.5 39.1)", "case_opened": "2019-05-01T00:00:00.000"}
    assert len(read_kc_buildings(pd.DataFrame([{name: place.get(name, "1") for name in buildings}]))) == 1
    for name in (
        "kc_open_property_violations (tezm-fh2e, API)",
        "kc_open_exterior_violations (w5nm-8qv8, API)",
    ):
        with pytest.raises(InputError, match="addresses without coordinates"):
            read_kc_violations(pd.DataFrame([dict.fromkeys(schemas[name], "1")]))
    for code, description, ordinance in schemas["kc_property_violation_examples"]:
        assert load_map().fate({"code": code, "description": description, "ordinance": ordinance})[0]


@real
def test_the_raw_sample_of_500_requests_is_read_whole() -> None:
    """Cells with line breaks are cells: 500 rows, 8 of them canceled, all with a place and a moment."""
    layer = read_kc_311(FOLDER / "kc311_raw_format_sample_500.csv")
    assert (layer.ledger.read, len(layer)) == (500, 492)
    assert layer.ledger.dropped == {"status canceled": 8}
    assert layer.frame["opened"].notna().all()
    assert str(layer.period) == "2007-01-19/2020-09-03"


@real
def test_a_file_cut_off_inside_a_cell_is_refused_and_its_whole_rows_are_read(tmp_path: Path) -> None:
    """Nobody knows what a broken download lacks, so it is no layer; its 299 whole rows are one."""
    cut = FOLDER / "kc311_potholes_raw_sample.csv"
    with pytest.raises(InputError, match="quoted cell that is never closed, as if the file were cut off"):
        read_kc_311(cut)
    lines = cut.read_bytes().splitlines(keepends=True)
    assert (len(lines), lines[-1].count(b'"')) == (600, 1)
    whole = tmp_path / "whole.csv"
    whole.write_bytes(b"".join(lines[:-1]))
    layer = quietly(read_kc_311, whole)
    assert layer.ledger.read == 299
    assert layer.ledger.used + sum(layer.ledger.dropped.values()) == 299
    assert set(layer.frame["category"]) == {"Streets / Roadways / Alleys"}
    assert layer.frame["opened"].dt.year.unique().tolist() == [2020]


@real
def test_potholes_at_the_false_origin_are_counted() -> None:
    """42 of 4,493 requests were geocoded to where the state plane begins."""
    layer = quietly(read_kc_311, FOLDER / "kc311_potholes_citywide.parquet")
    assert layer.ledger.read == 4_493
    assert layer.ledger.dropped[FALSE_ORIGIN] == 42


@real
@pytest.mark.parametrize("name", ["kcpd_2020_no_coords_sample_500.csv", "kcpd_crime_2020_no_coords.parquet"])
def test_a_table_without_places_says_so(name: str) -> None:
    """The layout is recognised; what lacks is named."""
    with pytest.raises(InputError, match=r"Invalid KCPD table .* It has no column of places \(Location"):
        read_kcpd_crime(FOLDER / name)


@real
def test_the_centre_is_one_series_across_the_change_of_names() -> None:
    """Factors that both vocabularies can tell neither vanish nor double on 18 June 2015."""
    layer = read_kc_311(FOLDER / "kc311_central_2007_2020.parquet")
    assert (layer.ledger.read, len(layer)) == (80_203, 79_486)
    named = (layer.frame["nbh_name"].fillna("").str.strip() != "").to_numpy(dtype=bool)
    found = kc_factors(layer.keep(named, "no neighbourhood"))
    change, year = pd.Timestamp("2015-06-18"), pd.DateOffset(years=1)
    for factor in ("poor lighting", "vacant houses", "illegal dumping", "health violations", "noise",
                   "dangerous buildings", "abandoned vehicles", "code and nuisance"):  # fmt: skip
        times = found[factor].frame["opened"]
        before = int(((times >= change - year) & (times < change)).sum())
        after = int(((times >= change) & (times < change + year)).sum())
        assert 0.7 < after / before < 1.45, factor


@real
def test_the_types_of_the_city_are_sorted_as_the_page_says() -> None:
    """905 types of the centre and 594 of the whole city; about half of all rows tell of no risk factor."""
    known = load_map()
    types = pd.read_csv(FOLDER / "kc311_request_types_citywide_2006_2014.csv")
    fates = [known.fate({"request_type": text}) for text in types["REQUEST TYPE"]]
    rows = types["n"].groupby([factor or reason or "unmapped" for factor, reason in fates]).sum()
    assert (len(types), types["n"].sum()) == (594, 819_903)
    assert rows["poor lighting"] == 18_934
    assert rows["vacant houses"] == 22_234
    assert rows["illegal dumping"] == 19_296
    assert rows["unmapped"] / types["n"].sum() < 0.46
    page = (Path(__file__).parent.parent / "docs" / "reference" / "kansas-city-types.md").read_text(
        encoding="utf-8"
    )
    for factor in ("poor lighting", "vacant houses", "illegal dumping"):
        assert f"| {factor} | " in page
        assert f" | {rows[factor]:,} | " in page


READERS = {
    read_kcpd_crime: {"Report_No": "KC1", "Reported_Date": "01/02/2021", "Offense": "Stealing – Shoplift",
                      "IBRS": "23C", "Location": "POINT (-94.5 39.1)"},
    read_kc_311: {"reported_issue": "1", "open_date_time": "2021-03-05", "issue_type": "Café – food",
                  "lat_long": "POINT (-94.5 39.1)"},
    read_kc_buildings: {"casenumber": "1", "case_opened": "2021-03-05", "address": "Peña – 9th",
                        "case_location": "POINT (-94.5 39.1)"},
    read_kc_violations: {"violationid": "1", "date_found": "2021-03-05", "description": "Weeds – rank",
                         "incident_location": "POINT (-94.5 39.1)"},
}  # fmt: skip


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_broken_files_are_one_sentence(tmp_path: Path, read: object) -> None:
    """Empty, header alone, binary, and cut off inside a cell: an InputError in one line, never a layer."""
    row = READERS[read]
    header, values = ",".join(row), ",".join(f'"{value}"' for value in row.values())
    broken = {
        "empty": b"",
        "header": header.encode() + b"\n",
        "binary": bytes(range(256)) * 8,
        "cut": f"{header}\n{values}\n{values[:-8]}".encode(),
    }
    for name, content in broken.items():
        path = tmp_path / f"{name}.csv"
        path.write_bytes(content)
        with pytest.raises(InputError, match="Invalid ") as caught:
            read(path)
        assert "\n" not in str(caught.value), name


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_a_file_of_an_old_windows_program_is_read(tmp_path: Path, read: object) -> None:
    """Its dashes and accents survive, and the encoding is said."""
    row = READERS[read]
    path = tmp_path / "windows.csv"
    path.write_text(f"{','.join(row)}\n" + ",".join(row.values()) + "\n", encoding="cp1252")
    layer = read(path)
    assert len(layer) == 1
    assert any("–" in str(value) for value in layer.frame.iloc[0])
    assert any("Windows-1252" in note for note in layer.notes)
