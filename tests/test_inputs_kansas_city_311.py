"""311 requests of both layouts, in their real columns and with their dirt, become places of disorder."""

import json
from pathlib import Path

import pandas as pd
import pytest

from rtmkc.errors import DataWarning, InputError
from rtmkc.inputs.kansas_city.requests_311 import read_kc_311

OLD = [
    "CASE ID", "SOURCE", "DEPARTMENT", "WORK GROUP", "REQUEST TYPE", "CATEGORY", "TYPE", "DETAIL",
    "CREATION DATE", "CREATION TIME", "CREATION MONTH", "CREATION YEAR", "STATUS", "EXCEEDED EST TIMEFRAME",
    "CLOSED DATE", "CLOSED MONTH", "CLOSED YEAR", "DAYS TO CLOSE", "STREET ADDRESS", "ADDRESS WITH GEOCODE",
    "ZIP CODE", "NEIGHBORHOOD", "COUNTY", "COUNCIL DISTRICT", "POLICE DISTRICT", "PARCEL ID NO", "LATITUDE",
    "LONGITUDE", "CASE URL", "30-60-90 Days Open Window",
]  # fmt: skip


def old_row(case: object = 2013082581, **changes: object) -> dict[str, object]:
    """One request in the columns of 2007 to March 2021; `changes` use blanks as _."""
    usual = dict.fromkeys(OLD, "") | {
        "CASE ID": case, "SOURCE": "PHONE", "REQUEST TYPE": "SLG0 Streetlight Out - Single Light Out",
        "CATEGORY": "Street Light", "TYPE": "Outage", "DETAIL": "Single", "CREATION DATE": "06/17/2013",
        "CREATION TIME": "02:55 PM", "CREATION MONTH": "6", "STATUS": "RESOL", "DAYS TO CLOSE": "-1",
        "ADDRESS WITH GEOCODE": "938 Mulberry St64101\n(39.102738, -94.600134)", "ZIP CODE": "64109.0",
        "NEIGHBORHOOD": " ", "LATITUDE": "39.0997", "LONGITUDE": "-94.5786",
    }  # fmt: skip
    named = {name.replace("_", " "): value for name, value in changes.items()}
    return usual | named


def row(request: object = 2021000012, **changes: object) -> dict[str, object]:
    usual = {
        "reported_issue": request, "workorder_": "WO-1", "issue_type": "Illegal Dumping",
        "issue_sub_type": "Illegal Dumping in Alley", "current_status": "resolved",
        "open_date_time": "2021-03-05T09:52:00.000", "days_to_close": "2",
        "incident_address": "1588 NORTON AV",
        "council_district": "3", "department_work_group": "NCS-Illegal Dumping", "report_source": "PHONE",
        "source_category": "Phone", "lat_long": "POINT (-94.5786 39.0997)", "last_updated": "",
        "additional_questions": '{"Who did it?": "my neighbour"}',
    }  # fmt: skip
    assert set(changes) <= set(usual)
    return usual | changes


def write(folder: Path, rows: list[dict[str, object]], name: str = "requests.csv") -> Path:
    path = folder / name
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_a_request_has_its_names_types_and_place(tmp_path: Path) -> None:
    """The number stays text, the opening is a time, and what callers wrote is not kept."""
    layer = read_kc_311(write(tmp_path, [row()]))
    request = layer.frame.iloc[0]
    assert layer.provenance == "community-reported"
    assert (request["request"], request["issue_type"]) == ("2021000012", "Illegal Dumping")
    assert request["opened"] == pd.Timestamp("2021-03-05 09:52")
    assert (request.geometry.x, request.geometry.y) == (-94.5786, 39.0997)
    assert "additional_questions" not in layer.frame.columns
    assert "free text of callers is not kept: additional_questions" in layer.notes


@pytest.mark.parametrize(
    "place",
    [
        "POINT (-94.5786 39.0997)",
        "(39.0997, -94.5786)",
        json.dumps({"type": "Point", "coordinates": [-94.5786, 39.0997]}),
        json.dumps({"latitude": "39.0997", "longitude": "-94.5786", "human_address": "{}"}),
    ],
)
def test_every_way_of_writing_the_place_is_one_place(tmp_path: Path, place: str) -> None:
    """Exports of different years and formats agree."""
    layer = read_kc_311(write(tmp_path, [row(lat_long=place)]))
    assert (layer.frame.geometry.iloc[0].x, layer.frame.geometry.iloc[0].y) == (-94.5786, 39.0997)


def test_columns_of_latitude_and_longitude_will_do() -> None:
    """The newer exports have them beside or instead of lat_long."""
    frame = pd.DataFrame([row()]).drop(columns="lat_long").assign(Latitude="39.0997", Longitude="-94.5786")
    assert read_kc_311(frame).frame.geometry.iloc[0].x == -94.5786


@pytest.mark.parametrize(
    ("status", "reason"),
    [("canceled", "canceled"), ("Cancelled", "canceled"), ("CANC", "canceled"), ("Duplicate", "duplicate"),
     ("duplicate (closed)", "duplicate"), ("DUP", "duplicate")],
)  # fmt: skip
def test_canceled_and_duplicate_requests_are_left_out(tmp_path: Path, status: str, reason: str) -> None:
    """In mixed case and both spellings, counted under their reason."""
    layer = read_kc_311(write(tmp_path, [row(1, current_status=status), row(2, current_status="Resolved")]))
    assert layer.ledger.dropped == {f"status {reason}": 1}
    assert layer.frame["status"].tolist() == ["resolved"]


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("", "no coordinates"),
        ("POINT (0 0)", "place withheld or (0, 0)"),
        ("POINT (-103.89058 35.79752)", "geocoded to the false origin of the state plane"),
        ("(35.79752, -103.89058)", "geocoded to the false origin of the state plane"),
        ("POINT (-90.2 38.6)", "geocoded outside latitude 38.4 to 39.8, longitude -95.3 to -93.9"),
    ],
)
def test_places_that_cannot_be_used_are_counted(tmp_path: Path, place: str, reason: str) -> None:
    """The state plane's origin lies in New Mexico; it is a missing place, not a place."""
    path = write(tmp_path, [row(1), row(2, lat_long=place)])
    with pytest.warns(DataWarning, match="1 of 2 rows were dropped"):
        assert read_kc_311(path).ledger.dropped == {reason: 1}


def test_work_orders_and_overlapping_exports_count_once(tmp_path: Path) -> None:
    """One request of one type is one feature, preferring a row with a place; another type is another."""
    first = write(
        tmp_path,
        [row(1, lat_long=""), row(1, workorder_="WO-2"), row(1, issue_type="Graffiti"), row(None), row(None)],
        "a.csv",
    )
    second = write(tmp_path, [row(1), row(2)], "b.csv")
    layer = read_kc_311([first, second])
    assert layer.ledger.merged == {
        "another work order of the same request": 1,
        "repeated in another file": 1,
    }
    assert list(layer.frame.index) == [1, 2, 3, 4, 6]


def test_conditions_periods_and_hours_apply(tmp_path: Path) -> None:
    """Keyword search in the type, period of the opening, hours of the opening."""
    rows = [row(1), row(2, issue_type="A Pothole"), row(3, open_date_time="03/05/2022 08:00:00 PM")]
    path = write(tmp_path, rows)
    assert list(
        read_kc_311(path, where="issue_type.str.contains('dumping', case=False)").frame["request"]
    ) == ["1", "3"]
    assert list(read_kc_311(path, period="2022").frame["request"]) == ["3"]
    assert list(read_kc_311(path, hours="18-24").frame["request"]) == ["3"]
    assert str(read_kc_311(path, where={"issue_type": "A Pothole"}).period) == "2021-03-05/2022-03-05"


def test_the_old_layout_keeps_its_types_and_its_time(tmp_path: Path) -> None:
    """Date and time are one moment, codes are text, a blank neighbourhood is missing, months are not kept."""
    layer = read_kc_311(write(tmp_path, [old_row()]))
    request = layer.frame.iloc[0]
    assert request["request"] == "2013082581"
    assert request["opened"] == pd.Timestamp("2013-06-17 14:55")
    assert (request["category"], request["type"], request["detail"]) == ("Street Light", "Outage", "Single")
    assert request["request_type"] == "SLG0 Streetlight Out - Single Light Out"
    assert (request["zip_code"], request["status"]) == ("64109", "resol")
    assert pd.isna(request["neighborhood"])
    assert (request.geometry.x, request.geometry.y) == (-94.5786, 39.0997)
    assert not [name for name in layer.frame.columns if "MONTH" in name or "URL" in name]


@pytest.mark.parametrize(("status", "reason"), [("CANC", "canceled"), ("DUP", "duplicate")])
def test_old_statuses_are_left_out(tmp_path: Path, status: str, reason: str) -> None:
    """The old layout has them in capitals; OPEN and ASSIG stay."""
    rows = [old_row(1, STATUS=status), old_row(2, STATUS="OPEN"), old_row(3, STATUS="ASSIG")]
    assert read_kc_311(write(tmp_path, rows)).ledger.dropped == {f"status {reason}": 1}


def test_state_plane_comes_before_degrees_and_degrees_before_the_address(tmp_path: Path) -> None:
    """The address text was geocoded without its N; zero feet are missing feet."""
    rows = [old_row(number) for number in range(3)]
    frame = pd.DataFrame(rows).assign(
        XCOORDINATE=["2730659.4", "0", "0"], YCOORDINATE=["1146308.74", "0", "0"],
        LATITUDE=["39.0997", "39.0997", ""], LONGITUDE=["-94.5786", "-94.5786", ""],
    )  # fmt: skip
    layer = read_kc_311(frame)
    places = [(point.x, point.y) for point in layer.frame.geometry]
    assert places[0] == pytest.approx((-94.70518, 39.31462), abs=1e-5)
    assert places[1:] == [(-94.5786, 39.0997), (-94.600134, 39.102738)]


def test_the_export_of_2015_has_feet_and_no_degrees() -> None:
    """XCOORDINATE and YCOORDINATE instead of LATITUDE and LONGITUDE; CATEGORY1 and CATEGORY2 as types."""
    frame = pd.DataFrame([old_row()]).drop(columns=["LATITUDE", "LONGITUDE", "TYPE"])
    frame = frame.rename(columns={"CATEGORY": "CATEGORY1", "DETAIL": "CATEGORY2"})
    frame = frame.assign(XCOORDINATE=2766402.4, YCOORDINATE=1067976.9, **{"QUALITY OF SERVICE": ""})
    layer = read_kc_311(frame)
    place = layer.frame.geometry.iloc[0]
    assert (place.x, place.y) == pytest.approx((-94.5786, 39.0997), abs=1e-6)
    assert list(layer.frame[["category", "type"]].iloc[0]) == ["Street Light", "Single"]


def test_a_copy_saved_by_excel_is_read(tmp_path: Path) -> None:
    """A byte order mark, dates of two digits, and cells with a line break."""
    path = tmp_path / "excel.csv"
    frame = pd.DataFrame([old_row(CREATION_DATE="1/7/20", CREATION_TIME="12:59 PM")])
    frame.to_csv(path, index=False, encoding="utf-8-sig", lineterminator="\r\n")
    layer = read_kc_311(path)
    assert layer.frame["request"].iloc[0] == "2013082581"
    assert layer.frame["opened"].iloc[0] == pd.Timestamp("2020-01-07 12:59")


def test_both_layouts_are_one_layer(tmp_path: Path) -> None:
    """Files of 2007 to 2021 and since follow each other, and repeats across old exports count once."""
    first = write(tmp_path, [old_row(1), old_row(2)], "old.csv")
    again = write(tmp_path, [old_row(2, DETAIL="Single Light"), old_row(3)], "old again.csv")
    new = write(tmp_path, [row(1), row(2)], "new.csv")
    layer = read_kc_311([first, again, new])
    assert layer.ledger.merged == {"repeated in another file": 1}
    assert str(layer.period) == "2013-06-17/2021-03-05"
    assert layer.frame["category"].notna().sum() == 3
    assert layer.frame["issue_type"].notna().sum() == 2
    assert read_kc_311([first, new], period="2013").ledger.dropped == {
        "outside the period 2013-01-01/2013-12-31": 2
    }


def test_an_old_request_without_a_time_is_not_at_midnight(tmp_path: Path) -> None:
    """Asked for by hour, it is dropped under its own reason."""
    path = write(tmp_path, [old_row(1), old_row(2, CREATION_TIME="")])
    with pytest.warns(DataWarning, match="1 time of day missing"):
        assert list(read_kc_311(path, hours="0-24").frame["request"]) == ["1"]


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("issue_type", "no type of request with an opening date"),
        ("open_date_time", "no type of request with an opening date"),
        ("lat_long", r"no column of places \(lat_long"),
    ],
)
def test_tables_that_lack_what_is_needed_are_refused(missing: str, sentence: str) -> None:
    """The export must have all its columns."""
    with pytest.raises(InputError, match=sentence):
        read_kc_311(pd.DataFrame([row()]).drop(columns=missing))
