"""Sections of the report that compare: slices of the day and week, and what changed since the last run."""

from typing import Any

import pandas as pd

from rtmkc.model.weights import UNDECIDED
from rtmkc.output.words import interval_words, times

SHOWN = 15
"""Places that changed, in the report; the file has all."""
NOT_TRIED = "not tried"
CHANGED = ("entered", "left", "new", "gone", "moved")


def slice_rows(table: pd.DataFrame | None) -> dict[str, Any] | None:
    """Return the table of slices for the report: names, and one row a factor with a cell for each slice."""
    if table is None:
        return None
    factors = [str(name).removeprefix("rrv_") for name in table.columns if str(name).startswith("rrv_")]
    slices = table.to_dict("records")
    rows = []
    for factor in factors:
        cells = [_rrv(one, factor) for one in slices]
        if any(cells):
            rows.append({"factor": factor, "cells": cells})
    return {"slices": slices, "rows": rows}


def _rrv(one: dict[Any, Any], factor: str) -> str:
    if pd.isna(one[f"rrv_{factor}"]):
        return UNDECIDED if one[f"status_{factor}"] == UNDECIDED else ""
    return f"{times(one[f'rrv_{factor}'])} ({interval_words(one[f'lower_{factor}'], one[f'upper_{factor}'])})"


def change_rows(table: pd.DataFrame | None) -> dict[str, Any] | None:
    """Return what changed for the report: every factor, and the places that changed most in rank."""
    if table is None:
        return None
    rows = [_change(row) for row in table.to_dict("records")]
    return {
        "statement": table.attrs["statement"],
        "notes": table.attrs["notes"],
        "factors": [row for row in rows if row["what"] == "factor"],
        "hotspots": _changed(rows, "hot spot"),
        "corridors": [row for row in rows if row["what"] == "corridor"],
        "n_hotspots": sum(row["what"] == "hot spot" and row["change"] in CHANGED for row in rows),
    }


def _changed(rows: list[dict[str, Any]], what: str) -> list[dict[str, Any]]:
    changed = [row for row in rows if row["what"] == what and row["change"] in CHANGED]
    return sorted(changed, key=lambda row: min(row["ranks"]))[:SHOWN]


def _change(row: dict[Any, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {"what": row["what"], "name": row["name"], "change": row["change"]}
    ranks = []
    for side in ("before", "now"):
        rank, value = row[f"rank_{side}"], row[f"value_{side}"]
        known = not pd.isna(rank)
        said[f"rank_{side}"] = f"{rank:.0f}" if known else ""
        said[f"value_{side}"] = value if known and not pd.isna(value) else None
        status = row[f"status_{side}"]
        said[f"rrv_{side}"] = NOT_TRIED if pd.isna(status) else str(status)
        if known:
            ranks.append(float(rank))
            if row["what"] == "factor":
                interval = interval_words(row[f"lower_{side}"], row[f"upper_{side}"])
                said[f"rrv_{side}"] = f"{times(value)} ({interval})"
    said["ranks"] = ranks
    return said


def change_lines(table: pd.DataFrame) -> list[str]:
    """Return what changed, in lines for a terminal."""
    found = change_rows(table)
    assert found is not None  # a table gives rows
    lines = []
    for row in found["factors"]:
        lines.append(f"{row['name']}: {row['change']}, {row['rrv_before']} -> {row['rrv_now']}")
    lines.append(table.attrs["statement"])
    for row in found["hotspots"][:5]:
        lines.append(
            f"{row['name']}: {row['change']}, rank {row['rank_before'] or '-'} -> {row['rank_now'] or '-'}"
        )
    for row in found["corridors"]:
        lines.append(
            f"corridor {row['name']}: {row['change']}, rank {row['rank_before'] or '-'} -> {row['rank_now'] or '-'}"
        )
    return lines + list(table.attrs["notes"])


def slice_lines(table: pd.DataFrame) -> list[str]:
    """Return the whole and its slices in lines for a terminal."""
    lines = []
    for one in table.to_dict("records"):
        factors = [str(name).removeprefix("rrv_") for name in one if str(name).startswith("rrv_")]
        weights = [
            f"{factor} {times(one[f'rrv_{factor}'])}" for factor in factors if pd.notna(one[f"rrv_{factor}"])
        ]
        lines.append(
            f"{one['slice']} (hours {one['hours']}, days {one['weekdays']}): {one['n_incidents']:,} incidents; "
            f"{', '.join(weights) or 'no significant factor'}; first hot spot {one['first_hotspot'] or 'none'}"
        )
    return lines
