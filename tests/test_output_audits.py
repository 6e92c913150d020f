"""Audits as lines and as plain values: what is missing, long or many."""

import numpy as np
import pandas as pd
import pytest

from rtmkc.evidence.audits import GridAudit, PlacesAudit
from rtmkc.output.audits import SHOWN, audit_lines, audit_record

NAME = "a factor with\na very long name \x1b[31m"


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "factor": [NAME, "never"],
            "rrv": [2.0, np.nan],
            "rrv_lowest": [1.5, np.nan],
            "rrv_highest": [2.5, np.nan],
            "n_in_model": [4, 0],
            "n_fits": [5, 5],
            "verdict": ["comes and goes", "never in the model"],
        }
    )


@pytest.fixture
def grids(table):
    rows = pd.DataFrame(
        {
            "grid": ["as given", "half the cell", "twice the cell"],
            "cell_size_m": [100.0, 50.0, 200.0],
            "n_cells": [400, np.nan, 100],
            "overlap_expected": [1.0, np.nan, 0.423],
            "near_expected": [1.0, np.nan, 0.9],
            "overlap_rrs": np.nan,
            "near_rrs": np.nan,
            "reason": ["", "about 1,600 cells, more than max_cells = 500", ""],
        }
    )
    return GridAudit(table, table, rows, ("One.", "Two."))


def places_of(table, count):
    rows = pd.DataFrame(
        {
            "latitude": 39.1,
            "longitude": -94.5 - np.arange(count) / 1000,
            "incidents": 1234,
            "share": 0.05,
            "hotspot": True,
            "hotspot_without": False,
        }
    )
    return PlacesAudit(table, rows, 0.5, np.nan, None, ("Places.",))


def test_lines_are_sentences_then_tables(grids, table):
    """What is missing is a dash, a grid that was left out has no row, and a name is cut and harmless."""
    lines = list(audit_lines(grids, None))
    assert lines[:3] == ["On other grids", "  One.", "  Two."]
    text = "\n".join(lines)
    assert "\x1b" not in text
    first = next(line for line in lines if "4 of 5" in line)
    assert "a factor with a very lon" in first
    assert "a factor with a very long" not in first
    assert [part for part in first.split() if part.startswith("x")] == ["x2.00", "x1.50", "x2.50"]
    assert next(line for line in lines if "never in the model" in line).split()[:4] == [
        "never",
        "-",
        "-",
        "-",
    ]
    assert "half the cell" not in text
    row = next(line for line in lines if "twice the cell" in line)
    assert "42.3 %" in row
    assert row.split()[-2:] == ["-", "-"]
    assert "dominate" not in text


def test_places_are_shown_up_to_ten(grids, table):
    """More places than fit are counted; without any there is no table."""
    many = list(audit_lines(grids, places_of(table, SHOWN + 2)))
    assert sum("1,234" in line for line in many) == SHOWN
    assert many[-1] == f"  The first {SHOWN} of {SHOWN + 2} places."
    few = list(audit_lines(grids, places_of(table, 1)))
    assert few[-1].split() == ["39.10000,", "-94.50000", "1,234", "5.0", "%", "yes", "no"]
    assert list(audit_lines(grids, places_of(table, 0)))[-1] == "  Places."


def test_the_record_holds_every_row(grids, table):
    """JSON has what the terminal leaves out: all places, and the grid that was left out with its reason."""
    record = audit_record(grids, places_of(table, SHOWN + 2))
    assert len(record["places"]["places"]) == SHOWN + 2
    assert record["grids"]["grids"][1]["reason"].startswith("about 1,600 cells")
    assert record["grids"]["factors"][1]["rrv"] is None
    assert "places" not in audit_record(grids, None)
