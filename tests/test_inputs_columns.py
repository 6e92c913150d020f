"""Columns are known by loose names; those about persons are recognised, and nothing else is."""

import pytest

from rtmkc.inputs.columns import enforcement_word, find_column, is_personal, loose

PERSONAL = [
    "Race",
    "RACE",
    "Sex",
    "Age",
    "age_range",
    "AgeRange",
    "Age_Range",
    "victim_race",
    "VictimRace",
    "vicrace",
    "Suspect Sex",
    "suspectsex",
    "gender",
    "Gender ID",
    "ethnicity",
    "Hispanic",
    "DOB",
    "date_of_birth",
    "birth_date",
    "Offender Age Group",
    "agegroup",
    "race_desc",
    "Age1",
    "person_age",
]
OF_THINGS = [
    "acreage",
    "village",
    "storage",
    "average",
    "garage",
    "language",
    "usage",
    "message",
    "sewage",
    "drainage",
    "Percentage",
    "terrace",
    "trace_id",
    "grace_period",
    "Essex St",
    "Middlesex",
    "Building Age",
    "age_of_structure",
    "tree age",
    "race track",
    "area",
    "Rep_Dist",
    "stage",
    "image",
    "page",
    "package",
    "dobson_road",
    "manage",
    "parcel_age",
    "Beverage License",
]


@pytest.mark.parametrize("name", PERSONAL)
def test_columns_about_persons_are_recognised(name: str) -> None:
    """Race, sex, age and birth are found in every way of writing them."""
    assert is_personal(name)


@pytest.mark.parametrize("name", OF_THINGS)
def test_columns_about_things_are_not(name: str) -> None:
    """Words that merely contain age, race or sex, and ages of buildings, are kept."""
    assert not is_personal(name)


def test_the_flag_has_one_loose_name_in_all_its_spellings() -> None:
    """The police's firearm flag has been written in at least five ways."""
    spellings = [
        "Firearm Used Flag",
        "Firearm Used Flag  ",
        "firearm_used_flag",
        "Fire Arm Used Flag",
        "firearmusedflag",
    ]
    assert {loose(name) for name in spellings} == {"firearmusedflag"}


def test_the_order_of_the_wanted_names_decides() -> None:
    """Occurrence comes before report because it comes first in the list, wherever the columns stand."""
    assert find_column(["Reported_Date", "From Date"], ("fromdate", "reporteddate")) == "From Date"
    assert find_column(["Reported_Date"], ("fromdate",)) is None


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["parolees_2021"], ("parolees_2021", "person")),
        (["calls", "Suspicious Person"], ("Suspicious Person", "person")),
        (["gang territory"], ("gang territory", "person")),
        (["ArrestDate"], ("ArrestDate", "policing")),
        (["traffic stops"], ("traffic stops", "policing")),
        (["restaurants", "bus stops", "probate court", "Offense", "gangway", "arresting gear"], None),
    ],
)
def test_records_of_enforcement_and_persons_are_suspected(
    names: list[str], expected: tuple[str, str] | None
) -> None:
    """Names that tell of police work or of persons are found as words, not as parts of words."""
    assert enforcement_word(names) == expected
