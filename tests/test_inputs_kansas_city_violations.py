"""Property violations of both systems, in the names of the interface and of the CSV, are one layer."""

import json
from pathlib import Path

import pandas as pd
import pytest

from rtmkc.errors import InputError
from rtmkc.inputs.kansas_city.violations import read_kc_violations

CSV_NAMES = {
    "id": "property_violation_id", "case_opened": "case_opened_date", "case_closed": "case_closed_date",
    "ordinance": "ordinance_number", "chapter": "ordinance_chapter", "pin": "kiva_pin",
    "police_district": "police_patrol_area", "mapping_location": "code_violation_location",
}  # fmt: skip


def historical(number: int = 1, **changes: object) -> dict[str, object]:
    """One violation in the names of the interface of nhtf-e75a."""
    usual = {
        "id": number, "case_id": 2014001, "status": "Closed", "case_opened": "2014-06-02T00:00:00.000",
        "case_closed": "2014-08-02T00:00:00.000", "days_open": 61, "violation_code": "NSWLWEED",
        "violation_description": "RANK WEEDS OR UNATTENDED GROWTH", "ordinance": "48-30 C.O.",
        "chapter": "48", "violation_entry_date": "2014-06-03T00:00:00.000", "address": "3608 E 9TH ST",
        "county": "Jackson", "state": "MO", "zip_code": 64124, "latitude": 39.0997, "longitude": -94.5786,
        "pin": 12345, "council_district": 3, "police_district": "EPD", "inspection_area": 4,
        "neighborhood": "Independence Plaza", "mapping_location": "(39.0997, -94.5786)",
    }  # fmt: skip
    return usual | changes


def energov(number: str = "V-1", **changes: object) -> dict[str, object]:
    """One violation in the names of vq3e-m9ge."""
    usual = {
        "violationid": number, "casenumber": "CE-2022-1", "pin": 12345, "street_address": "3608 E 9TH ST",
        "full_address": "3608 E 9TH ST, Kansas City, MO", "postalcode": "64124", "chapter": "Chapter 48",
        "ordinance": "48-30", "ord_text": "weeds over ten inches", "description": "Weeds",
        "vio_status": "Open", "case_status": "In-Violation", "date_found": "2022-05-04T00:00:00.000",
        "date_to_comply": "2022-05-14T00:00:00.000", "date_resolved": None,
        "incident_location": {"type": "Point", "coordinates": [-94.5786, 39.0997]},
    }  # fmt: skip
    return usual | changes


@pytest.mark.parametrize("csv", [False, True])
def test_both_names_of_the_historical_table_agree(tmp_path: Path, csv: bool) -> None:
    """What the interface calls pin and the CSV kiva_pin is one column; the day is that of the entry."""
    frame = pd.DataFrame([historical()])
    path = tmp_path / "violations.csv"
    (frame.rename(columns=CSV_NAMES) if csv else frame).to_csv(path, index=False)
    layer = read_kc_violations(path)
    violation = layer.frame.iloc[0]
    assert layer.provenance == "inspection"
    assert list(violation[["violation", "case", "pin", "code", "chapter", "zip_code"]]) == [
        "1", "2014001", "12345", "NSWLWEED", "48", "64124",
    ]  # fmt: skip
    assert violation["opened"] == pd.Timestamp("2014-06-03")
    assert (violation.geometry.x, violation.geometry.y) == (-94.5786, 39.0997)


def test_energov_records_are_read(tmp_path: Path) -> None:
    """JSON of the interface holds the place as an object."""
    path = tmp_path / "violations.json"
    path.write_text(json.dumps([energov(), energov("V-2", description="Graffiti")]))
    layer = read_kc_violations(path)
    assert list(layer.frame["description"]) == ["Weeds", "Graffiti"]
    assert layer.frame["opened"].iloc[0] == pd.Timestamp("2022-05-04")
    assert layer.frame["case_status"].iloc[0] == "In-Violation"


def test_both_systems_are_one_layer_and_repeats_count_once() -> None:
    """A violation exported twice is one; a missing day is that of its case, and said."""
    old = pd.DataFrame([historical(1), historical(2, violation_entry_date=None)])
    layer = read_kc_violations([old, pd.DataFrame([historical(2)]), pd.DataFrame([energov()])])
    assert len(layer) == 3
    assert layer.ledger.merged == {"repeated in another file": 1}
    assert layer.frame["opened"].iloc[1] == pd.Timestamp("2014-06-02")
    assert "1 violations are dated by the opening of their case" in layer.notes
    assert str(layer.period) == "2014-06-02/2022-05-04"
    assert len(read_kc_violations([old, pd.DataFrame([energov()])], period="2022")) == 1


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (
            ["reported_issue", "workorder_", "open_date_time", "current_status", "issue_sub_type",
             "incident_address", "last_updated"],
            r"the list of open violations \(tezm-fh2e\), and it has addresses without coordinates",
        ),
        (
            ["violationid", "casenumber", "street_address", "postalcode", "description", "ord_text",
             "vio_status", "date_to_comply", "pin"],
            r"open exterior violations \(w5nm-8qv8\), and it has addresses .*vq3e-m9ge since 2021",
        ),
        (["reported_issue", "issue_sub_type", "open_date_time", "lat_long", "location"], "use read_kc_311"),
        (["name", "location"], "no number of a violation or case with a code"),
    ],
)  # fmt: skip
def test_lists_without_places_say_what_to_read_instead(columns: list[str], sentence: str) -> None:
    """The two open lists hold addresses only."""
    with pytest.raises(InputError, match=sentence):
        read_kc_violations(pd.DataFrame([["1"] * len(columns)], columns=columns))
