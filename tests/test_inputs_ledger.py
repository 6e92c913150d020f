"""Every row read is used, merged or dropped, and the ledger says which."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmkc.errors import InputError
from rtmkc.inputs.ledger import Ledger

STEPS = st.lists(st.tuples(st.booleans(), st.sampled_from(["a", "b", "c"]), st.floats(0, 1)), max_size=12)


@given(read=st.integers(0, 10_000), steps=STEPS)
def test_any_sequence_of_steps_keeps_the_identity(read: int, steps: list[tuple[bool, str, float]]) -> None:
    """Whatever is merged and dropped, read = used + merged + dropped, and the table says the same."""
    ledger = Ledger.of("layer", read)
    for merge, reason, share in steps:
        rows = int(share * ledger.used)
        ledger = ledger.merge(reason, rows) if merge else ledger.drop(reason, rows)
    assert ledger.read == ledger.used + sum(ledger.merged.values()) + sum(ledger.dropped.values())
    table = ledger.to_frame()
    assert table.loc[table["fate"] != "read", "rows"].sum() == read
    assert (table["rows"].iloc[2:] > 0).all()


def test_a_ledger_that_does_not_add_up_is_refused() -> None:
    """Ten rows of which eight are used and one is dropped are one too few."""
    with pytest.raises(InputError, match="10 were read, 8 used, 0 merged, 1 dropped"):
        Ledger("lights", 10, 8, {}, {"no coordinates": 1})


def test_dropping_more_rows_than_there_are_is_refused() -> None:
    """A step cannot take rows that are not in use."""
    with pytest.raises(InputError, match="nothing be negative"):
        Ledger.of("lights", 3).drop("no coordinates", 4)


def test_steps_return_a_new_ledger_and_reasons_add_up() -> None:
    """The first ledger stays as it was, and one reason given twice is one line."""
    first = Ledger.of("lights", 10)
    second = first.drop("no coordinates", 2).drop("no coordinates", 1).drop("never", 0)
    assert (first.used, first.dropped) == (10, {})
    assert (second.used, second.dropped) == (7, {"no coordinates": 3})


def test_printing_has_one_line_a_reason() -> None:
    """The printed ledger is the sentence an analyst copies into a report."""
    ledger = Ledger.of("crime", 32_283).drop("not chosen by where=", 27_855).merge("same Date, place", 1_157)
    assert str(ledger).splitlines() == [
        "crime: 32,283 rows read",
        "  3,271 used",
        "  1,157 merged: same Date, place",
        "  27,855 dropped: not chosen by where=",
    ]


def test_a_ledger_travels_to_worker_processes() -> None:
    """It survives the serialisation that process pools use."""
    ledger = Ledger.of("lights", 5).drop("no coordinates", 1)
    assert pickle.loads(pickle.dumps(ledger)) == ledger
