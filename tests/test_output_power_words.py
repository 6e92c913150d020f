"""The sentence that says, before the work starts, what a count after it could show."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rtmkc.errors import InputError
from rtmkc.evidence.statistics.intervention import incidents_needed, minimum_detectable_reduction
from rtmkc.output.power_words import power_design_sentence, power_sentence


def test_ten_incidents_as_in_the_published_table():
    """Ten incidents: 80.4 % alone and 48.5 % for four (the table says 80 and 49); never rounded to what is not enough."""
    said = power_sentence(10, 90)
    assert said == (
        "About 10 incidents are expected here in 90 days. Only a fall of 81 % or more could be told from chance; "
        "a fall of 30 % could not. Pooling four such corridors would tell a fall of 49 %."
    )


@given(expected=some.floats(0.05, 20_000))
def test_what_is_said_to_be_enough_is_enough(expected):
    """Every fall that the sentence calls enough can be told; every fall it calls too small cannot."""
    said = power_sentence(expected, 90)
    enough = re.search(r"fall of (\d+) % or more", said)
    missed = re.search(r"a fall of (\d+) % could not", said)
    pooled = re.search(r"Pooling four such corridors would tell a fall of (\d+) %", said)
    many = re.search(r"To tell a fall of 50 % takes (\w+) such", said)
    if enough:
        assert incidents_needed(int(enough[1]) / 100) <= expected * (1 + 1e-6)
    if missed:
        assert incidents_needed(int(missed[1]) / 100) > expected
    if pooled:
        assert incidents_needed(int(pooled[1]) / 100) <= 4 * expected * (1 + 1e-6)
    if many:
        count = {"five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}.get(many[1]) or int(
            many[1]
        )
        assert (count - 1) * expected < incidents_needed(0.5) <= count * expected * (1 + 1e-9)
    stop = math.isnan(minimum_detectable_reduction(expected))
    assert ("Not even a complete stop" in said) == stop
    assert re.match(r"About [\d.,]+(e-?\d+)? incidents? (is|are) expected here in 90 days\. ", said)


def test_extremes_are_said():
    """One incident, hardly any, very rare ones, a stop that is just enough, and a rate that nobody knows."""
    assert power_sentence(1, 90).startswith("About 1 incident is expected")
    assert power_sentence(1, 90).endswith("To tell a fall of 50 % takes 38 such corridors together.")
    assert power_sentence(0.01, 90).startswith("Hardly any incident is expected here in 90 days")
    assert "judge the work by something more frequent" in power_sentence(0.2, 90)
    assert "Only a complete stop could be told" in power_sentence(incidents_needed(1) + 0.001, 30)
    assert "30 days" in power_sentence(12, 30)
    assert "is not known" in power_sentence(12, None)
    assert power_sentence(5000, 90).split(". ")[1] == "A fall of 6 % or more could be told from chance"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: power_sentence(-1, 90), "Invalid expected"),
        (lambda: power_sentence(math.nan, 90), "Invalid expected"),
        (lambda: power_sentence(3, 0), "Invalid horizon_days"),
        (lambda: power_sentence(3, 90, pooled=1), "Invalid pooled"),
        (lambda: power_design_sentence(-3), "Invalid horizon_days"),
    ],
)
def test_numbers_that_are_none(call, said):
    """A clear sentence each."""
    with pytest.raises(InputError, match=said):
        call()
