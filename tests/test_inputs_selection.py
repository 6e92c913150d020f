"""A condition chooses rows and does nothing else; repeats and places are found exactly."""

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from rtmkc.errors import InputError
from rtmkc.inputs.selection import at_place, choose, columns_of, named_places, repeated

TABLE = pd.DataFrame(
    {
        "offence": ["robbery", "assault", None, "theft"],
        "Zip Code": ["64127", "64130", "64101", "64127"],
        "units": [5, 1, 2, 40],
        "flag": [True, False, True, False],
        "when": pd.to_datetime(["2021-01-01", "2021-06-01", "2022-01-01", "2022-06-01"]),
    },
    index=[10, 10, 12, 13],
)


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        ("offence in ('robbery', 'assault')", [1, 1, 0, 0]),
        ("offence not in ['robbery']", [0, 1, 1, 1]),
        ("offence == 'theft' or units < 2", [0, 1, 0, 1]),
        ("`Zip Code` == '64127' and not units > 10", [1, 0, 0, 0]),
        ("offence.str.contains('a')", [0, 1, 0, 0]),
        ("offence.str.contains('ROB', case=False)", [1, 0, 0, 0]),
        ("offence.isna()", [0, 0, 1, 0]),
        ("2 <= units <= 5", [1, 0, 1, 0]),
        ("flag", [1, 0, 1, 0]),
        ("~flag & units > 1", [0, 0, 0, 1]),
        ("when >= '2022-01-01'", [0, 0, 1, 1]),
        ("when.dt.year == 2021", [1, 1, 0, 0]),
        ("units * 2 > 9", [1, 0, 0, 1]),
        ({"offence": "theft"}, [0, 0, 0, 1]),
        ({"offence": ["theft", "robbery"], "units": 5}, [1, 0, 0, 0]),
        ({"Zip Code": 64127}, [1, 0, 0, 1]),
        ({"units": "40"}, [0, 0, 0, 1]),
        ({"units": ["40", 5]}, [1, 0, 0, 1]),
        ({"flag": True}, [1, 0, 1, 0]),
    ],
)
def test_a_condition_chooses_the_rows_it_says(where: object, chosen: list[int]) -> None:
    """The rows were marked by hand; a missing value equals nothing."""
    assert choose(TABLE, where, what="The table").tolist() == [bool(mark) for mark in chosen]


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("offense == 'theft'", "has no column 'offense'; it has: offence, .*Did you mean 'offence'"),
        ("`Zip` == '1'", "has no column 'Zip'"),
        ({"Offence": "theft"}, "has no column 'Offence'"),
        ("offence == @secret", "must not use @"),
        ("offence ==", "not a condition that can be read"),
        ("units = 5", "not a condition that can be read"),
        ("", "must be a condition"),
        (5, "must be a condition"),
        ("units + 1", "true or false for every row"),
        ("offence.to_csv('here.csv')", r"must not use \.to_csv"),
        ("offence.__class__", r"must not use \.__class__"),
        ("open('here.csv')", "must not call functions"),
        ("[column for column in offence]", "must not use ListComp"),
        ("(lambda: 1)()", "must not"),
        ("units > 'many'", "does not fit the columns"),
    ],
)
def test_a_condition_that_cannot_be_used_is_refused(where: object, sentence: str) -> None:
    """A wrong name, a value from elsewhere, and anything that does more than compare: each in one line."""
    with pytest.raises(InputError, match=sentence) as caught:
        choose(TABLE, where, what="The table")
    assert "\n" not in str(caught.value)


def test_the_columns_of_a_condition_are_found() -> None:
    """Names in quotes are values, names in backticks are columns."""
    assert columns_of("`Zip Code` == 'units' and offence != \"flag\"") == ["Zip Code", "offence"]


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("ab"), st.integers(0, 1)), max_size=20))
def test_repeats_are_the_rows_that_came_before(rows: list[tuple[int, str, int]]) -> None:
    """Against counting by hand: a row repeats if an equal (number, letter, place) stood above it."""
    frame = pd.DataFrame(rows, columns=["number", "letter", "where"])
    shapes = np.array([shapely.Point(place, 0) for _, _, place in rows], dtype=object)
    expected = [row in rows[:position] for position, row in enumerate(rows)]
    assert repeated(frame, shapes, ["number", "letter", "place"], what="It").tolist() == expected


def test_places_a_hair_apart_are_two_places() -> None:
    """ "place" means the exact coordinates: nothing is rounded."""
    shapes = shapely.points([0.0, 0.0, np.nextafter(0.0, 1.0)], [1.0, 1.0, 1.0])
    frame = pd.DataFrame(index=range(3))
    assert repeated(frame, shapes, ["place"], what="It").tolist() == [False, True, False]


@pytest.mark.parametrize("merge", [[], "Date"])
def test_merging_by_nothing_is_refused(merge: object) -> None:
    """A text is no list of columns, and an empty list would make everything one incident."""
    with pytest.raises(InputError, match="Invalid merge"):
        repeated(TABLE, np.array([], dtype=object), merge, what="It")


def test_merging_by_an_unknown_column_is_refused() -> None:
    """The message lists the columns there are."""
    with pytest.raises(InputError, match=r"Invalid column 'Hour'.*offence, Zip Code"):
        repeated(TABLE, np.array([], dtype=object), ["offence", "Hour"], what="The table")


def test_places_are_named_or_called_by_their_coordinates() -> None:
    """The ledger can say which place took which rows."""
    assert named_places({"hospital": (39.1, -94.5)}) == {"hospital": (39.1, -94.5)}
    assert named_places([(39.1, -94.5)]) == {"(39.100000, -94.500000)": (39.1, -94.5)}


@pytest.mark.parametrize("place", [(-94.5, 39.1), (39.1,), "downtown", (float("nan"), 0.0)])
def test_a_place_that_is_none_is_refused(place: object) -> None:
    """Longitude first is refused, as -94.5 is no latitude."""
    with pytest.raises(InputError, match=r"Invalid exclude_places.*latitude, longitude"):
        named_places([place])


def test_a_place_is_met_within_a_metre() -> None:
    """Six printed decimals are enough to name a place, ten metres off is another."""
    longitudes = np.array([-94.5, -94.5000004, -94.5001])
    assert at_place(longitudes, np.full(3, 39.1), (39.1, -94.5)).tolist() == [True, True, False]
