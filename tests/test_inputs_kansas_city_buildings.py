"""Dangerous buildings in both layouts: one building a parcel, with its newest case."""

from pathlib import Path

import pandas as pd
import pytest

from rtmkc.errors import DataWarning, InputError
from rtmkc.inputs.kansas_city.buildings import read_kc_buildings


def row(case: str, pin: object = 12345, opened: str = "2019-05-01T00:00:00.000", **changes: object) -> dict:
    """One case in the columns of the interface."""
    usual = {
        "casenumber": case, "pin": pin, "address": "3608 E 9TH ST", "zip_code": "64124",
        "council_district": 3, "neighborhood": "Independence Plaza", "case_opened": opened,
        "statusofcase": "Ongoing Case", "case_location": "POINT (-94.5786 39.0997)",
    }  # fmt: skip
    return usual | changes


def test_the_newest_case_of_a_parcel_is_the_building() -> None:
    """Older cases are merged into it, wherever they stand in the table."""
    rows = [
        row("DB1", opened="2015-01-01T00:00:00.000"),
        row("DB2", statusofcase="In Bid Process", opened="2021-06-30T00:00:00.000"),
        row("DB3", opened="2018-01-01T00:00:00.000"),
        row("DB4", pin=777),
    ]
    layer = read_kc_buildings(pd.DataFrame(rows))
    assert layer.provenance == "inspection"
    assert list(layer.frame["case"]) == ["DB2", "DB4"]
    assert list(layer.frame["status"]) == ["In Bid Process", "Ongoing Case"]
    assert list(layer.frame["pin"]) == ["12345", "777"]
    assert layer.ledger.merged == {"an older case of the same parcel": 2}
    assert layer.frame["opened"].iloc[0] == pd.Timestamp("2021-06-30")
    assert str(layer.period) == "2015-01-01/2021-06-30"


def test_the_old_table_is_read_with_the_new_one(tmp_path: Path) -> None:
    """Its location is three lines of text, its parcel number is called KIVA PIN, its dates are slashed."""
    old = pd.DataFrame(
        {
            "Case Number": ["DB1", "DB9"], "Kiva PIN": [12345, 888], "Address": "x", "Statusofcase": "On Hold",
            "Case Opened": ["05/01/2014", "06/01/2014"],
            "Location": "3608 E 9TH ST\nKansas City, MO 64124\n(39.10277, -94.5417)",
        }
    )  # fmt: skip
    first, second = tmp_path / "old.csv", tmp_path / "new.csv"
    old.to_csv(first, index=False)
    pd.DataFrame([row("DB2")]).to_csv(second, index=False)
    layer = read_kc_buildings([first, second])
    assert list(layer.frame["case"]) == ["DB9", "DB2"]
    assert layer.ledger.merged == {"repeated in another file": 1}
    assert (layer.frame.geometry.iloc[0].x, layer.frame.geometry.iloc[0].y) == (-94.5417, 39.10277)


def test_a_case_with_a_place_is_preferred_and_parcels_without_number_stay_apart() -> None:
    """The newest case may have lost its place; two rows without a parcel number are two buildings."""
    rows = [
        row("DB1"),
        row("DB2", opened="2022-01-01", case_location=""),
        row("DB3", pin=None),
        row("DB4", pin=None),
        row("DB5", pin=9, opened=""),
        row("DB6", pin=9),
    ]
    layer = read_kc_buildings(pd.DataFrame(rows))
    assert list(layer.frame["case"]) == ["DB1", "DB3", "DB4", "DB6"]


def test_conditions_and_periods_come_before_the_newest_case() -> None:
    """A building that was on the list in 2015 counts for 2015, whatever happened since."""
    rows = [row("DB1", opened="2015-01-01"), row("DB2", opened="2021-01-01"), row("DB3", pin=9)]
    frame = pd.DataFrame(rows)
    assert list(read_kc_buildings(frame, period="2015").frame["case"]) == ["DB1"]
    assert list(read_kc_buildings(frame, where={"pin": "9"}).frame["case"]) == ["DB3"]


def test_places_that_cannot_be_used_are_counted() -> None:
    """The false origin of the state plane is no place."""
    frame = pd.DataFrame([row("DB1"), row("DB2", pin=2, case_location="POINT (-103.89058 35.79752)")])
    with pytest.warns(DataWarning, match="1 geocoded to the false origin"):
        assert len(read_kc_buildings(frame)) == 1


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (["address", "location"], "no case number or status of a case"),
        (["violationid", "casenumber", "ordinance", "incident_location"], "read_kc_violations"),
        (["casenumber", "pin", "address", "statusofcase"], r"no column of places \(case_location"),
    ],
)
def test_other_tables_are_refused(columns: list[str], sentence: str) -> None:
    """The error says what the table lacks and what reads it."""
    with pytest.raises(InputError, match=sentence):
        read_kc_buildings(pd.DataFrame([["1"] * len(columns)], columns=columns))
