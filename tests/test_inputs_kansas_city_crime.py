"""KCPD tables of every year since 2009, in their real columns and with their usual dirt, become incidents."""

import csv
import json
import warnings
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest

from rtmkc.errors import DataWarning, InputError
from rtmkc.inputs.kansas_city.crime import read_kcpd_crime
from rtmkc.inputs.kansas_city.portal import parse_flags
from rtmkc.inputs.layers import Layer

# Columns as published, by year of the table.
HEAD = ["Report_No", "Reported_Date", "Reported_Time", "From_Date", "From_Time", "To_Date", "To_Time", "Offense",
        "IBRS", "Description"]  # fmt: skip
BLANKS = [name.replace("_Time", " Time") for name in HEAD]
PLACE_OLD = ["Beat", "Address", "Zip Code", "City", "Rep_Dist", "Area", "DVFlag"]
PLACE = ["Beat", "Address", "City", "Zip Code", "Rep_Dist", "Area", "DVFlag"]
NUMBERED = ["Invl_No", "Involvement", "Race", "Sex", "Age"]
PERSONS = ["Involvement", "Race", "Sex", "Age"]
FLAG = "Firearm Used Flag"
OLD = {
    2009: [*BLANKS[:6], "To_Time", *BLANKS[7:], *PLACE_OLD, *NUMBERED, "Location 1", f"{FLAG}  "],
    2010: [*BLANKS, *PLACE_OLD, *NUMBERED, "Location 1", FLAG],
    2012: [*BLANKS, *PLACE_OLD, *NUMBERED, "Location 1", f"{FLAG}  "],
    2013: [*BLANKS, *PLACE_OLD, "Involvement", "Race", "Sex", FLAG, "Location 1"],
    2014: [*BLANKS, *PLACE_OLD, *NUMBERED, "Location 1", f"{FLAG}  "],
    2015: [*BLANKS, *PLACE, *NUMBERED, FLAG, "Latitude", "Longitude", "Location 1"],
    2016: [*HEAD, *PLACE, *NUMBERED, FLAG, "Latitude", "Longitude", "Location 1"],
    2017: [*HEAD, *PLACE, *NUMBERED, FLAG, "Location"],
    2018: [*HEAD, *PLACE, *NUMBERED, FLAG, "Location"],
}
COLUMNS = OLD | {
    2019: [*HEAD, *PLACE, *PERSONS, FLAG, "Location"],
    2020: [*BLANKS, *PLACE, *PERSONS, FLAG, "Location"],
    2021: [*HEAD, *PLACE, *PERSONS, "Age_Range", FLAG, "Location"],
    2022: sorted([*HEAD, *PLACE, *PERSONS, "Age_Range", "Fire Arm Used Flag", "Location"]),
    2023: ["report", "report_date", "report_time", "from_date", "from_time", "to_date", "to_time", "offense",
           "ibrs", "description", "beat", "address", "city", "zip_code", "rep_dist", "area", "dvflag",
           "involvement", "race", "sex", "age", "age_range", "firearmused_flag", "location"],
    2025: ["report", "report_date", "reported_time", "from_date", "from_time", "to_date", "to_time",
           "offense", "ibrs", "description", "beat", "address", "city", "zipcode", "rep_dist_1", "area_1",
           "dvflag", "involvement", "race", "sex", "age", "age_range", "firearmusedflag", "location"],
}  # fmt: skip

DOWNTOWN = "POINT (-94.5786 39.0997)"


def row(report: str = "KC21000001", **changes: object) -> dict[str, object]:
    """One row in our own names; `changes` say what is different."""
    usual = {
        "reportno": report, "reporteddate": "03/05/2021", "reportedtime": "09:15", "fromdate": "03/04/2021",
        "fromtime": "22:30", "todate": "03/04/2021 12:00:00 AM", "totime": "23:05", "offense": "Robbery (Armed Street)", "ibrs": "120",
        "description": "Robbery", "beat": "011", "address": "1200 MAIN ST", "city": "KANSAS CITY",
        "zip": "64105", "repdist": "PJ1604", "area": "CPD", "dvflag": "False", "involvement": "VIC",
        "race": "W", "sex": "F", "age": "33", "agerange": "30-39", "firearm": "True", "location": DOWNTOWN,
        "latitude": "", "longitude": "", "invlno": "1",
    }  # fmt: skip
    assert set(changes) <= set(usual)
    return usual | changes


def table(rows: list[dict[str, object]], columns: list[str]) -> pd.DataFrame:
    """The rows under the names of one year."""
    ours = {"reporttime": "reportedtime", "firearmusedflag": "firearm", "report": "reportno", "reportdate": "reporteddate", "zipcode": "zip", "repdist1": "repdist",
            "area1": "area", "location1": "location"}  # fmt: skip
    names = {column: "".join(filter(str.isalnum, column.lower())) for column in columns}
    return pd.DataFrame(
        [{column: each.get(ours.get(key, key), "") for column, key in names.items()} for each in rows]
    )


def write(folder: Path, rows: list[dict[str, object]], year: int = 2021, name: str | None = None) -> Path:
    path = folder / (name or f"KCPD_Crime_Data_{year}.csv")
    table(rows, COLUMNS[year]).to_csv(path, index=False, quoting=csv.QUOTE_MINIMAL)
    return path


def quietly(*args: object, **options: object) -> Layer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return read_kcpd_crime(*args, **options)


@pytest.mark.parametrize("year", COLUMNS)
def test_every_layout_gives_the_same_incident(tmp_path: Path, year: int) -> None:
    """Whatever the columns are called, an incident has the same names, types and place."""
    layer = read_kcpd_crime(write(tmp_path, [row()], year))
    incident = layer.frame.iloc[0]
    assert layer.provenance == "policing"
    assert layer.crs == "EPSG:4326"
    assert (incident["report_no"], incident["ibrs"], incident["zip_code"]) == ("KC21000001", "120", "64105")
    assert incident["occurred"] == pd.Timestamp("2021-03-04 22:30")
    assert incident["reported"] == pd.Timestamp("2021-03-05 09:15")
    assert incident["until"] == pd.Timestamp("2021-03-04 23:05")
    assert incident["firearm"]
    assert not incident["dv_flag"]
    assert (incident.geometry.x, incident.geometry.y) == (-94.5786, 39.0997)
    assert str(layer.period) == "2021-03-05/2021-03-05"
    assert layer.date_column == "occurred"


@pytest.mark.parametrize("year", COLUMNS)
def test_race_sex_and_age_are_never_kept(tmp_path: Path, year: int) -> None:
    """Nor is the role of the person: places are scored, not people."""
    layer = read_kcpd_crime(write(tmp_path, [row()], year))
    assert not {
        "race",
        "sex",
        "age",
        "age_range",
        "agerange",
        "involvement",
        "involved_number",
        "invl_no",
    } & {column.lower() for column in layer.frame.columns}
    assert any(note.startswith("columns about persons are not kept:") for note in layer.notes)


def test_rows_of_persons_become_one_incident_and_prefer_one_with_a_place(tmp_path: Path) -> None:
    """Three persons of one robbery are one incident; a second offence of the report is another."""
    rows = [
        row(location="", involvement="VIC"),
        row(involvement="SUS"),
        row(involvement="ARR CHA SUS"),
        row(ibrs="23F", offense="Stealing from Auto (Theft from Auto)"),
        row("KC21000002"),
    ]
    layer = read_kcpd_crime(write(tmp_path, rows))
    assert list(layer.frame.index) == [1, 3, 4]
    assert layer.ledger.merged == {"another row (person) of the same incident": 2}
    assert layer.ledger.dropped == {}


def test_without_a_code_the_offence_tells_incidents_apart(tmp_path: Path) -> None:
    """A blank IBRS takes the code of another row of that report and offence, else the offence counts."""
    rows = [
        row(ibrs="", offense="Stealing – Shoplift"),
        row(ibrs="23C", offense="Stealing – Shoplift"),
        row(ibrs="", offense="City/Municipal Warrant Arrest"),
        row(ibrs="", offense="City/Municipal Warrant Arrest"),
    ]
    layer = read_kcpd_crime(write(tmp_path, rows))
    assert len(layer) == 2


def test_reports_repeated_in_the_next_years_file_count_once(tmp_path: Path) -> None:
    """After concatenation the same report is one incident, and the ledger says where the other was."""
    first = write(tmp_path, [row(), row(involvement="SUS"), row("KC21000002")], 2021)
    second = write(
        tmp_path, [row(), row("KC22000001", fromdate="01/02/2022", reporteddate="01/02/2022")], 2022
    )
    layer = read_kcpd_crime([first, second])
    assert list(layer.frame["report_no"]) == ["KC21000001", "KC21000002", "KC22000001"]
    assert list(layer.frame.index) == [0, 2, 4]
    assert layer.ledger.merged == {
        "another row (person) of the same incident": 1,
        "repeated in another file": 1,
    }
    assert layer.source == f"{first}, {second}"
    assert layer.sha256 is not None
    assert len(layer.sha256.split(", ")) == 2


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("", "no coordinates"),
        ("3500 PROSPECT AV\nKANSAS CITY 64127\n", "no coordinates"),
        ("99999\n", "place withheld or (0, 0)"),
        ("99999(0.0, 0.0)", "place withheld or (0, 0)"),
        ("POINT (0 0)", "place withheld or (0, 0)"),
        (
            "POINT (-82.393898878 28.048895718)",
            "geocoded outside latitude 38.4 to 39.8, longitude -95.3 to -93.9",
        ),
        ("POINT (-89.0251 42.2167)", "geocoded outside latitude 38.4 to 39.8, longitude -95.3 to -93.9"),
    ],
)
def test_places_that_cannot_be_used_are_counted(tmp_path: Path, location: str, reason: str) -> None:
    """The verbatim strings of the published tables, each under its reason."""
    path = write(tmp_path, [row(), row("KC21000002", location=location)])
    with pytest.warns(DataWarning, match=r"1 of 2 rows were dropped: 1 "):
        layer = read_kcpd_crime(path)
    assert layer.ledger.dropped == {reason: 1}
    assert list(layer.frame["report_no"]) == ["KC21000001"]


@pytest.mark.parametrize(
    "location",
    [
        "POINT (-94.5786 39.0997)",
        "1200 MAIN ST\nKANSAS CITY 64105\n(39.0997, -94.5786)",
        "MAIN KANSAS CITY64105\r\n(39.0997, -94.5786)",
        json.dumps({"type": "Point", "coordinates": [-94.5786, 39.0997]}),
        json.dumps({"latitude": "39.0997", "longitude": "-94.5786"}),
    ],
)
def test_every_way_of_writing_the_location_is_one_place(tmp_path: Path, location: str) -> None:
    """Well-known text, (latitude, longitude) text and JSON say the same."""
    layer = read_kcpd_crime(write(tmp_path, [row(location=location)]))
    assert (layer.frame.geometry.iloc[0].x, layer.frame.geometry.iloc[0].y) == (-94.5786, 39.0997)


def test_columns_of_degrees_come_before_the_text() -> None:
    """A row of zeros in them falls back to the location text."""
    frame = table([row(), row("KC21000002")], COLUMNS[2021])
    frame = frame.assign(Latitude=[39.2, 0.0], Longitude=[-94.6, 0.0])
    layer = read_kcpd_crime(frame)
    assert list(layer.frame.geometry.y) == [39.2, 39.0997]


def test_geojson_of_the_portal_is_read(tmp_path: Path) -> None:
    """A table exported with geometry needs no location column."""
    path = tmp_path / "crime.geojson"
    frame = table([row()], COLUMNS[2025]).drop(columns="location")
    gpd.GeoDataFrame(frame, geometry=gpd.points_from_xy([-94.5786], [39.0997]), crs=4326).to_file(path)
    assert read_kcpd_crime(path).frame.geometry.iloc[0].y == pytest.approx(39.0997)


def test_records_of_the_interface_are_read(tmp_path: Path) -> None:
    """JSON records hold the location as an object and dates with T."""
    record = table([row(fromdate="2025-01-04T10:39:59.000", fromtime="", location=None)], COLUMNS[2025]).iloc[
        0
    ]
    record = {**record.to_dict(), "location": {"type": "Point", "coordinates": [-94.5786, 39.0997]}}
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([record | {"report_date": "2025-01-05T00:00:00.000"}]))
    layer = read_kcpd_crime(path, hours="10-11")
    assert layer.frame["occurred"].iloc[0] == pd.Timestamp("2025-01-04 10:39:59")


def test_the_date_is_the_occurrence_or_else_the_report(tmp_path: Path) -> None:
    """A missing or unreadable From_Date, or one after the report, is replaced by the report's date."""
    rows = [
        row("KC1"),
        row("KC2", fromdate=""),
        row("KC3", fromdate="unknown"),
        row("KC4", fromdate="03/09/2021"),
        row("KC5", fromdate="", reporteddate=""),
        row("KC6", fromtime=""),
    ]
    layer = read_kcpd_crime(write(tmp_path, rows))
    report = pd.Timestamp("2021-03-05 09:15")
    assert list(layer.frame["occurred"][:4]) == [pd.Timestamp("2021-03-04 22:30"), report, report, report]
    assert pd.isna(layer.frame["occurred"].iloc[4])
    assert layer.frame["occurred"].iloc[5] == pd.Timestamp("2021-03-04")
    assert any(
        "4 rows are dated by the report: 3 without a readable From_Date, 1 with one" in n for n in layer.notes
    )
    assert "1 rows have no readable date" in layer.notes
    dated = quietly(write(tmp_path, rows), period="2021")
    assert dated.ledger.dropped == {"date missing or unreadable": 1}


def test_junk_dates_do_not_stretch_the_period(tmp_path: Path) -> None:
    """A table of a year's reports is a year, though one says it began in 1923; a stated period drops it."""
    rows = [row(), row("KC21000002", fromdate="01/01/1923"), row("KC21000003", reporteddate="12/29/2021")]
    layer = read_kcpd_crime(write(tmp_path, rows))
    assert str(layer.period) == "2021-03-05/2021-12-29"
    assert len(layer) == 3
    assert read_kcpd_crime(write(tmp_path, rows), period="2021").ledger.dropped == {
        "outside the period 2021-01-01/2021-12-31": 1
    }


def test_hours_use_the_time_columns(tmp_path: Path) -> None:
    """Incidents without a time are dropped under their own reason, not counted as midnight."""
    rows = [row("KC1"), row("KC2", fromtime="03:00"), row("KC3", fromtime="00:10"), row("KC4", fromtime="")]
    with pytest.warns(DataWarning, match="1 time of day missing"):
        layer = read_kcpd_crime(write(tmp_path, rows), hours="19-3", weekdays="thu")
    assert list(layer.frame["report_no"]) == ["KC1", "KC3"]


def test_codes_select_incidents_and_stay_text(tmp_path: Path) -> None:
    """120 is a code even where every code of the file is digits; one that never occurs is said."""
    rows = [row("KC1"), row("KC2", ibrs="240"), row("KC3", ibrs="290"), row("KC4", ibrs="")]
    path = write(tmp_path, rows)
    layer = read_kcpd_crime(path, ibrs=["120", "240"])
    assert list(layer.frame["ibrs"]) == ["120", "240"]
    assert layer.ledger.dropped == {"IBRS code not among 120, 240": 2}
    with pytest.warns(DataWarning, match="no row has the IBRS code 09A"):
        assert len(read_kcpd_crime(path, ibrs=["120", "09a"])) == 1


def test_a_firearm_of_any_row_is_a_firearm_of_the_incident(tmp_path: Path) -> None:
    """The victim's row may say no where the suspect's says yes."""
    rows = [
        row("KC1", firearm="False"),
        row("KC1", firearm="Y"),
        row("KC2", firearm="N"),
        row("KC3", firearm=""),
    ]
    path = write(tmp_path, rows)
    assert list(read_kcpd_crime(path, firearm=True).frame["report_no"]) == ["KC1"]
    assert list(read_kcpd_crime(path, firearm=False).frame["report_no"]) == ["KC2"]
    with pytest.raises(InputError, match="Invalid firearm 'yes'"):
        read_kcpd_crime(path, firearm="yes")


def test_flags_in_all_spellings() -> None:
    """Y, N and U to 2020, True and False after, numbers from spreadsheets."""
    flags = parse_flags(
        pd.Series(["Y", "N", "U", "True", "false", True, False, 1, 0.0, None, " yes "], dtype=object)
    )
    assert flags.astype(object).where(flags.notna(), None).tolist() == [
        True, False, None, True, False, True, False, True, False, None, True,
    ]  # fmt: skip


def test_a_condition_uses_our_names_and_may_ask_for_victims(tmp_path: Path) -> None:
    """`involvement` can be asked for though it is not kept."""
    rows = [row("KC1"), row("KC2", involvement="ARR"), row("KC3", involvement="CMP VIC", area="EPD")]
    path = write(tmp_path, rows)
    layer = read_kcpd_crime(path, where="involvement.str.contains('VIC') and area == 'CPD'")
    assert list(layer.frame["report_no"]) == ["KC1"]
    with pytest.raises(InputError, match="has no column 'Offense'; it has: report_no, occurred"):
        read_kcpd_crime(path, where="Offense == 'x'")


def test_named_places_are_left_out(tmp_path: Path) -> None:
    """A hospital's address can be excluded by name."""
    path = write(tmp_path, [row("KC1"), row("KC2", location="POINT (-94.5 39.1)")])
    layer = read_kcpd_crime(path, exclude_places={"downtown": (39.0997, -94.5786)})
    assert layer.ledger.dropped == {"place excluded by name: downtown": 1}


@pytest.mark.parametrize(
    ("ibrs", "codes"),
    [
        ("violence", ["09A", "120", "13A"]),
        ("homicide", ["09A"]),
        (["Aggravated Assault", "240"], ["13A", "240"]),
        ("theft_from_vehicle", ["23F"]),
        (["robbery", "vehicle theft", "burglary"], ["120", "220", "240"]),
    ],
)
def test_names_of_offences_stand_for_codes(tmp_path: Path, ibrs: object, codes: list[str]) -> None:
    """A name selects the codes it stands for, and the notes say which."""
    every = ["09A", "13A", "120", "220", "23F", "240", "35A"]
    rows = [row(f"KC{number}", ibrs=code) for number, code in enumerate(every)]
    layer = read_kcpd_crime(write(tmp_path, rows), ibrs=ibrs)
    assert sorted(layer.frame["ibrs"]) == codes
    if ibrs == "violence":
        assert "'violence' is the IBRS code 09A, 13A, 120" in layer.notes


@pytest.mark.parametrize("word", ["shootings", "Shooting", "gun violence"])
def test_shootings_have_no_code(tmp_path: Path, word: str) -> None:
    """The error says what to ask for instead, and that works."""
    rows = [row("KC1", ibrs="13A", firearm="Y"), row("KC2", ibrs="13A", firearm="N"), row("KC3")]
    path = write(tmp_path, rows)
    with pytest.raises(
        InputError, match=r"cannot be told from IBRS .*ibrs=\['09A', '13A'\] with firearm=True"
    ):
        read_kcpd_crime(path, ibrs=word)
    assert list(quietly(path, ibrs=["09A", "13A"], firearm=True).frame["report_no"]) == ["KC1"]


def test_a_word_that_is_no_offence_is_refused(tmp_path: Path) -> None:
    """With the names there are, and the nearest."""
    with pytest.raises(InputError, match=r"Invalid ibrs 'robery'.*Did you mean 'robbery'"):
        read_kcpd_crime(write(tmp_path, [row()]), ibrs="robery")


def test_numeric_offences_take_their_text_from_the_description(tmp_path: Path) -> None:
    """To 2018 the offence is a number; with later years in one layer, all offences are text."""
    old = [row("160000001", offense="640", ibrs="13B", description="Non Aggravated Assau"),
           row("160000001", offense="640", ibrs="13B", description="Non Aggravated Assau", involvement="SUS"),
           row("160000002", offense="801", ibrs="", description="Stealing Shoplift", fromdate="3/4/2021")]  # fmt: skip
    first = write(tmp_path, old, 2017)
    second = write(tmp_path, [row("KC19020397", offense="Stealing – Shoplift", description="Shoplift")], 2019)
    layer = read_kcpd_crime([first, second])
    assert list(layer.frame["offense"]) == [
        "Non Aggravated Assau",
        "Stealing Shoplift",
        "Stealing – Shoplift",
    ]
    assert list(layer.frame["offense_code"].fillna("")) == ["640", "801", ""]
    assert list(layer.frame["report_no"]) == ["160000001", "160000002", "KC19020397"]
    assert layer.ledger.merged == {"another row (person) of the same incident": 1}
    assert layer.frame["occurred"].iloc[1] == pd.Timestamp("2021-03-04 22:30")


def test_all_years_are_one_layer(tmp_path: Path) -> None:
    """A table of every layout, each repeating the last report of the one before."""
    paths = []
    for number, year in enumerate(COLUMNS):
        rows = [row(str(1_000 + number)), row(str(1_001 + number))]
        paths.append(write(tmp_path, rows, year))
    layer = read_kcpd_crime(paths, ibrs="violence")
    assert len(layer) == len(COLUMNS) + 1
    assert layer.ledger.read == 2 * len(COLUMNS)
    assert layer.ledger.merged == {"repeated in another file": len(COLUMNS) - 1}


def test_rounded_columns_of_2015_and_2016_come_first_and_zeros_fall_back(tmp_path: Path) -> None:
    """A row at (0, 0) takes the place of its location text, if that has one."""
    text = "BROADWAY KANSAS CITY64131\r\n(38.9767, -94.5767)"
    rows = [
        row("1", latitude="39.1019", longitude="-94.571", location=text),
        row("2", latitude="0", longitude="0", location=text),
        row("3", latitude="0", longitude="0", location="99999\n"),
    ]
    layer = quietly(write(tmp_path, rows, 2015))
    assert list(layer.frame.geometry.y) == [39.1019, 38.9767]
    assert layer.ledger.dropped == {"place withheld or (0, 0)": 1}


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (["Date", "Hour", "Crime", "geometry"], "no report number with an offence or IBRS code"),
        (
            ["Report_No", "Reported_Date", "zip", "Offense", "Description", "IBRS"],
            r"no column of places \(Location, ",
        ),
        (["Report_No", "Offense", "Location"], "no column of dates"),
    ],
)
def test_tables_that_lack_what_is_needed_are_refused(columns: list[str], sentence: str) -> None:
    """A table without places or dates cannot become incidents on a map."""
    with pytest.raises(InputError, match=sentence):
        read_kcpd_crime(pd.DataFrame([["1"] * len(columns)], columns=columns))


def test_no_file_at_all_is_refused() -> None:
    """An empty list of files is a mistake of a script."""
    with pytest.raises(InputError, match=r"Invalid source \[\]"):
        read_kcpd_crime([])


def test_swapped_coordinates_are_refused(tmp_path: Path) -> None:
    """Well-known text with latitude first would put the city in Antarctica."""
    with pytest.raises(InputError, match="look swapped"):
        read_kcpd_crime(write(tmp_path, [row(location="POINT (39.0997 -94.5786)")]))


def test_a_frame_given_is_not_changed_and_its_index_may_repeat() -> None:
    """Rows are told apart by position; the index given comes back."""
    frame = table([row(), row(involvement="SUS"), row("KC2", ibrs="")], COLUMNS[2022])
    frame.index = pd.Index(["a", "a", "b"])
    copy = frame.copy()
    layer = read_kcpd_crime(frame, where="area == 'CPD'", period="2021")
    pd.testing.assert_frame_equal(frame, copy)
    assert list(layer.frame.index) == ["a", "b"]
