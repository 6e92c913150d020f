"""311 requests since March 2021, in their real columns and with their dirt, become places of disorder."""

import json
from pathlib import Path

import pandas as pd
import pytest

from rtmkc.errors import DataWarning, InputError
from rtmkc.inputs.kansas_city.requests_311 import read_kc_311

OLD = [
    "CASE ID", "SOURCE", "DEPARTMENT", "WORK GROUP", "REQUEST TYPE", "CATEGORY", "TYPE", "DETAIL",
    "CREATION DATE", "CREATION TIME", "STATUS", "ADDRESS WITH GEOCODE", "LATITUDE", "LONGITUDE",
]  # fmt: skip


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


def test_the_old_layout_is_recognised_and_refused() -> None:
    """The message says which layout it is and what is read."""
    with pytest.raises(InputError, match=r"those of 2007 to March 2021 .*reads the layout since March 2021"):
        read_kc_311(pd.DataFrame([["1"] * len(OLD)], columns=OLD))


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("issue_type", "no issue type with an opening date"),
        ("open_date_time", "no issue type with an opening date"),
        ("lat_long", r"no column of places \(lat_long\)"),
    ],
)
def test_tables_that_lack_what_is_needed_are_refused(missing: str, sentence: str) -> None:
    """The export must have all its columns."""
    with pytest.raises(InputError, match=sentence):
        read_kc_311(pd.DataFrame([row()]).drop(columns=missing))
