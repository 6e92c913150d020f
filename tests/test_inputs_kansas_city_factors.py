"""Types of requests and violations become risk factors, in every vocabulary the city has had."""

from pathlib import Path

import pandas as pd
import pytest

from rtmkc.errors import DataWarning, InputError
from rtmkc.inputs.kansas_city.buildings import read_kc_buildings
from rtmkc.inputs.kansas_city.factor_map import load_map
from rtmkc.inputs.kansas_city.factors import kc_factors, keep_factor
from rtmkc.inputs.kansas_city.requests_311 import read_kc_311
from rtmkc.inputs.kansas_city.violations import read_kc_violations
from rtmkc.inputs.layers import Layer

MAP = load_map()
OUT = "left out"


def fate(**type_: str) -> str:
    """The factor of a type, OUT if it is left out on purpose, "" if unmapped."""
    factor, reason = MAP.fate(type_)
    return factor or (OUT if reason else "")


def requests(types: list[tuple[str, str]], **options: object) -> Layer:
    """Requests since 2021, one of each type."""
    frame = pd.DataFrame(types, columns=["issue_type", "issue_sub_type"]).assign(
        reported_issue=range(len(types)), open_date_time="2022-05-01", latitude=39.1, longitude=-94.58
    )
    return read_kc_311(frame, **options)


@pytest.mark.parametrize(
    ("request_type", "factor"),
    [
        ("SLG0 Streetlight Out - Single Light Out", "poor lighting"),
        ("Street Light Out", "poor lighting"),
        ("SLG3 Streetlights Out - Two to Four Lights", "poor lighting"),
        ("SLD0 Streetlight Out - Multiple Outage of Five or More", "poor lighting"),
        ("Street Light Malfunctioning", "poor lighting"),
        ("SLB0 Streetlight Wire Down or Hanging Arm", "poor lighting"),
        ("Street Light Pole Damage, Rust, Vandalism", "poor lighting"),
        ("SLG2 Streetlight Burning During Day", OUT),
        ("Street Light New", OUT),
        ("Illegal Dumping on Right of Way", "illegal dumping"),
        ("Illegal Dumping on Property", "illegal dumping"),
        ("Vacant Structure Open to Entry", "vacant houses"),
        ("Nuisance Violations on Private Property Vacant Structure", "vacant houses"),
        ("Dangerous Building", "dangerous buildings"),
        ("Dangerous Building Emergency", "dangerous buildings"),
        ("Hazardous Structure", "dangerous buildings"),
        ("Mowing of Private Property with No Structure", "overgrown shrubs"),
        ("Land Trust Mowing List", OUT),
        ("Mowing on the Right of Way", "overgrown public land"),
        ("Food Establishment Complaints", "health violations"),
        ("Rat Control Treatment", "health violations"),
        ("Rat Control Education", OUT),
        ("Hotel and Motel Inspections", "health violations"),
        ("Property Violations", "code and nuisance"),
        ("Nuisance Violations", "code and nuisance"),
        ("Abandoned Vehicle", "abandoned vehicles"),
        ("Graffiti on Signs", "graffiti"),
        ("Noise Complaints", "noise"),
        ("Homeless Camp", OUT),
        ("Drug Abatement Response Team", OUT),
        ("Trash - Missed by City", OUT),
        ("Water Leak or Pressure Problem", ""),
        ("Tree Trimming from Street Light", ""),
    ],
)
def test_types_before_mid_2015(request_type: str, factor: str) -> None:
    """REQUEST TYPE decides, in the spellings of the published counts."""
    assert fate(request_type=request_type) == factor


@pytest.mark.parametrize(
    ("type_", "factor"),
    [
        ("Lights / Signals > Street Light > 1 Light Out", "poor lighting"),
        ("Lights / Signals > Street Light > Wire Down / Hanging Arm", "poor lighting"),
        ("Lights / Signals > Street Light > Burning During The Day", OUT),
        ("Lights / Signals > Street Light > New/Remove Light", OUT),
        ("Lights / Signals > Street Light > Graffiti", "graffiti"),
        ("Lights / Signals > Traffic Signal > Signal Out", ""),
        ("Trash / Recycling > Dumping > Right-Of-Way", "illegal dumping"),
        ("Trash / Recycling > Dumping > Alley - Public Works - District 2", "illegal dumping"),
        ("Trash / Recycling > Dumping > Camera Request", OUT),
        ("Trash / Recycling > Dumpsters > Street / Alley / ROW", OUT),
        ("Trash / Recycling > Leaf / Brush > Dumping in Street", OUT),
        ("Trash / Recycling > Trash Collection > Missed by City", OUT),
        ("Trash / Recycling > Nuisance > Trash on Private Property", "code and nuisance"),
        ("Property / Buildings / Construction > Dangerous Building > Open To Entry", "vacant houses"),
        ("Property / Buildings / Construction > Dangerous Building > Standard", "dangerous buildings"),
        ("Property / Buildings / Construction > Property Maintenance > DART", OUT),
        ("Property / Buildings / Construction > Property Maintenance > Main Structure", "code and nuisance"),
        ("Property / Buildings / Construction > Property Maintenance > Graffiti", "graffiti"),
        ("Mowing / Weeds > Private / Commercial > Lot - Vacant", "overgrown shrubs"),
        ("Mowing / Weeds > Visibility > Intersection", "overgrown shrubs"),
        ("Mowing / Weeds > Public Property > Land Bank", "overgrown public land"),
        ("Public Health > Food Establishment > Convenience / Grocery Store", "health violations"),
        ("Public Health > Food Establishment > Education / Health", ""),
        ("Animals / Pets > Rat Treatment > Vacant Home", "health violations"),
        ("Public Health > Noise > Music", "noise"),
        ("Vehicles / Parking > Abandoned On Street > Trailer", "abandoned vehicles"),
        ("Public Safety > Police > Homeless Camp", OUT),
        ("Property & Nuisance Violations > Private Property > Drug Abatement Respone Team", OUT),
    ],
)
def test_types_after_mid_2015(type_: str, factor: str) -> None:
    """CATEGORY, TYPE and DETAIL decide, also where REQUEST TYPE still says Property Violations."""
    levels = dict(zip(("category", "type", "detail"), type_.split(" > "), strict=True))
    assert fate(**levels) == factor
    if factor not in ("", OUT):
        assert fate(**levels, request_type="Property Violations") == factor


@pytest.mark.parametrize(
    ("issue", "sub_type", "factor"),
    [
        ("Street Light", "Out", "poor lighting"),
        ("A Streetlight Problem", "", "poor lighting"),
        ("Street Light", "Burning during the day", OUT),
        ("Street Light", "New light request", OUT),
        ("A Traffic Signal", "Light out", OUT),
        ("Illegal Dumping", "Illegal Dumping in Alley", "illegal dumping"),
        ("Trash", "Dumpster in street", OUT),
        ("Leaf and Brush", "Dumping in street", OUT),
        ("Trash", "Missed by City", OUT),
        ("Property Violation", "Open to Entry", "vacant houses"),
        ("Property Violation", "Failure to Register Vacant Property", "vacant houses"),
        ("NHS", "Contractor Board Up Referrals", "vacant houses"),
        ("Dangerous Building", "", "dangerous buildings"),
        ("Animal", "Dangerous Dog", OUT),
        ("Tall Grass / Weeds", "", "overgrown shrubs"),
        ("Rodent Complaint", "", "health violations"),
        ("Food Establishment", "Restaurant", "health violations"),
        ("Vehicle", "Abandoned on street", "abandoned vehicles"),
        ("Vehicle", "Tow services", ""),
        ("Homeless Camp", "", OUT),
        ("A Pothole", "", ""),
        ("NHS Preservation", "", ""),
    ],
)
def test_keywords_since_2021(issue: str, sub_type: str, factor: str) -> None:
    """The list of types is not published, so words decide, in either column."""
    assert fate(issue_type=issue, issue_sub_type=sub_type) == factor


@pytest.mark.parametrize(
    ("type_", "factor"),
    [
        ({"code": "NSWLWEED", "description": "RANK WEEDS OR UNATTENDED GROWTH"}, "overgrown shrubs"),
        ({"code": "NSWLLIMBS", "description": "LIMBS AND BRUSH"}, "overgrown shrubs"),
        ({"code": "NSWLOPSTOR", "description": "UNAPPROVED STORAGE"}, "code and nuisance"),
        ({"code": "NSRV03", "description": "PARKED IN UNAPPROVED LOCATION"}, "code and nuisance"),
        ({"description": "Failure to Register Vacant property"}, "vacant houses"),
        ({"description": "Peeling paint", "chapter": "56"}, "code and nuisance"),
        ({"description": "x", "ordinance": "48-30 C.O."}, "code and nuisance"),
        ({"description": "x", "ordinance": "18-30"}, ""),
    ],
)
def test_violations_by_code_word_and_chapter(type_: dict[str, str], factor: str) -> None:
    """The four codes that are known, words, and the chapters of nuisances and property maintenance."""
    assert fate(**type_) == factor


def test_factors_are_layers_whose_ledger_adds_up() -> None:
    """Every row is of one factor, left out, or unmapped; the table and the print say which."""
    types = [("Illegal Dumping", "Alley"), ("Illegal Dumping", "Park"), ("Graffiti", ""), ("Homeless Camp", ""),
             ("A Pothole", ""), ("A Pothole", "")]  # fmt: skip
    found = kc_factors(requests(types))
    assert {name: len(layer) for name, layer in found.items()} == {"graffiti": 1, "illegal dumping": 2}
    dumping = found["illegal dumping"]
    assert dumping.name == "illegal dumping"
    assert dumping.provenance == "community-reported"
    assert dumping.ledger.dropped == {
        "type of another factor": 1,
        "type left out: about persons": 1,
        "type not in the map": 2,
    }
    assert any(
        "illegal dumping by the built-in map: 2 of 5 types, 2 of 6 rows; 2 rows" in n for n in dumping.notes
    )
    assert found.unmapped.to_dict("records") == [{"layer": "KC 311 requests", "type": "A Pothole", "rows": 2}]
    assert found.table["rows"].sum() == 6
    assert "2 unmapped, 1 types" in str(found)


def test_an_own_map_replaces_the_built_in_one(tmp_path: Path) -> None:
    """The first rule that fits decides; a star stands for any text."""
    path = tmp_path / "mine.toml"
    path.write_text(
        '[[rules]]\nout = "too many"\nissue_sub_type = "Park"\n'
        '[[rules]]\nfactor = "holes"\nissue_type = ["*pothole*", "Illegal *"]\n'
    )
    layer = requests([("A Pothole", ""), ("Illegal Dumping", "Park"), ("Illegal Dumping", "Alley")])
    found = kc_factors(layer, map=path)
    assert {name: len(part) for name, part in found.items()} == {"holes": 2}
    assert len(keep_factor(layer, "holes", map=path)) == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[rules]\n", "Its TOML is wrong"),
        ("", r"must hold \[\[rules\]\]"),
        ("x = 1\n", r"must hold \[\[rules\]\].*it holds x"),
        ('[[rules]]\nissue = "x"\n', "rule 1. It must have a factor, or in out="),
        ('[[rules]]\nfactor = "a"\nout = "b"\nissue = "x"\n', "rule 1. It must have a factor, or in out="),
        ('[[rules]]\nfactor = "a"\n', "rule 1. Conditions are on category, .* it has none"),
        ('[[rules]]\nfactor = "a"\nkind = "x"\n', "it has kind"),
        ('[[rules]]\nfactor = "a"\nissue = 1\n', "issue must be a text or a list of texts"),
        ('[[notes]]\nx = 1\n[[rules]]\nfactor = "a"\nissue = "x"\n', "A note has factor, column and text"),
    ],
)
def test_a_wrong_map_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    """The error names the rule and what is wrong with it."""
    path = tmp_path / "map.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        load_map(path)


def test_a_map_that_is_not_there_is_said(tmp_path: Path) -> None:
    """Also one that is not text."""
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load_map(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a text file in UTF-8"):
        load_map(tmp_path / "bytes.toml")


def test_layers_of_one_provenance_are_joined_and_of_two_kept_apart() -> None:
    """Callers and inspectors see different things; one ledger each."""
    first, second = requests([("Graffiti", ""), ("A Pothole", "")]), requests([("Graffiti", "Wall")])
    joined = kc_factors([first, second])["graffiti"]
    assert (len(joined), joined.ledger.read) == (2, 3)
    assert joined.date_column == "opened"
    violations = read_kc_violations(
        pd.DataFrame({"violationid": [1], "description": "Graffiti", "date_found": "2022-01-01",
                      "latitude": 39.1, "longitude": -94.58})
    )  # fmt: skip
    found = kc_factors([first, violations])
    assert sorted(found) == ["graffiti (community-reported)", "graffiti (inspection)"]


def test_layers_say_where_the_vocabularies_do_not_compare() -> None:
    """Only layers that hold the old vocabulary do."""
    old = read_kc_311(
        pd.DataFrame({"CASE ID": [1], "REQUEST TYPE": "Mowing of Private Property with No Structure",
                      "CREATION DATE": "01/02/2014", "LATITUDE": 39.1, "LONGITUDE": -94.58})
    )  # fmt: skip
    sentence = "to mid 2015 weeds on private land were filed as Property Violations"
    assert any(sentence in note for note in kc_factors(old)["overgrown shrubs"].notes)
    new = kc_factors(requests([("Weeds", "")]))["overgrown shrubs"]
    assert not any(sentence in note for note in new.notes)


def test_an_unknown_factor_and_a_layer_without_types_are_refused() -> None:
    """The error lists the factors of the map; a list of buildings is one factor already."""
    layer = requests([("Graffiti", "")])
    with pytest.raises(InputError, match="Invalid factor 'grafiti'. The built-in map has: .*illegal dumping"):
        keep_factor(layer, "grafiti")
    assert len(keep_factor(layer, "noise")) == 0
    buildings = read_kc_buildings(
        pd.DataFrame({"casenumber": ["DB1"], "pin": 1, "latitude": 39.1, "longitude": -94.58})
    )
    with pytest.raises(InputError, match="has no types to map"):
        kc_factors(buildings)
    with pytest.raises(InputError, match=r"Invalid layers \[\]"):
        kc_factors([])


def test_the_map_has_the_factors_of_the_city() -> None:
    """The built-in map has the five factors of the task force and those of the city's complaints."""
    assert set(MAP.factors) == {
        "poor lighting", "vacant houses", "overgrown shrubs", "illegal dumping", "health violations",
        "dangerous buildings", "abandoned vehicles", "graffiti", "noise", "code and nuisance",
        "overgrown public land",
    }  # fmt: skip
    assert all(factor in MAP.factors for factor, _, _ in MAP.remarks)


def test_the_sample_is_sorted_as_its_types_say() -> None:
    """Every type of the embedded sample: the five factors by their words, and the traps beside them."""
    path = Path(__file__).parent.parent / "data" / "sample" / "requests_311.csv"
    with pytest.warns(DataWarning, match="62 of 3,363 rows were dropped"):
        found = kc_factors(read_kc_311(path))
    kinds = found.table.set_index("type")["factor"]
    assert kinds["A Street Light Problem > Street Light Out"] == "poor lighting"
    assert kinds["A Vacant or Dangerous Building > Contractor Board Up Referrals"] == "vacant houses"
    assert kinds["Overgrown Weeds or Shrubs > Overgrown Shrubs over Sidewalk"] == "overgrown shrubs"
    assert kinds["Illegal Dumping > Illegal Dumping in Alley"] == "illegal dumping"
    assert kinds["A Rodent Problem > Rat Treatment - Vacant Lot"] == "health violations"
    out = found.table[found.table["fate"] == OUT]
    assert {"A Street Light Problem > Street Light On During Day", "A Homeless Camp > Homeless Camp"} <= set(
        out["type"]
    )
    assert {text.split(" > ")[0] for text in found.unmapped["type"]} == {
        "A Pothole", "A Sidewalk or Curb Problem", "A Water Leak",
    }  # fmt: skip


def test_every_row_that_is_not_used_can_be_written_out(tmp_path: Path) -> None:
    """Through reading, mapping and joining, rows keep their number in the files one after the other."""
    paths = []
    for number, kinds in enumerate((["Graffiti", "A Pothole"], ["A Pothole", "Graffiti", "Graffiti"])):
        path = tmp_path / f"requests {number}.csv"
        statuses = ["resolved", "resolved", "canceled"][: len(kinds)]
        pd.DataFrame({"issue_type": kinds, "issue_sub_type": "", "open_date_time": "2022-05-01",
                      "reported_issue": [f"{number}{row}" for row in range(len(kinds))], "latitude": 39.1,
                      "longitude": -94.58, "current_status": statuses}).to_csv(path, index=False)  # fmt: skip
        paths.append(path)
    together = kc_factors(read_kc_311(paths))["graffiti"]
    apart = kc_factors([read_kc_311(path) for path in paths])["graffiti"]
    for layer in (together, apart):
        assert list(layer.frame.index) == [0, 3]
        assert layer.dropped_rows()["row"].tolist() == [1, 2, 4]
        assert layer.dropped_rows()["reason"].tolist() == [
            "type not in the map", "type not in the map", "status canceled",
        ]  # fmt: skip
        layer.write_dropped(tmp_path / "dropped.csv", overwrite=True)
        written = pd.read_csv(tmp_path / "dropped.csv", dtype=str)
        assert written["issue_type"].tolist() == ["A Pothole", "A Pothole", "Graffiti"]
        assert written["reported_issue"].tolist() == ["01", "10", "12"]
