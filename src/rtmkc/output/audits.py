"""What audits found, as lines of a terminal and as plain values: sentences first, then what fits of the tables."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd

from rtmkc.output.terminal import one_line, plain_rows, table_text
from rtmkc.output.words import times

if TYPE_CHECKING:
    from rtmkc.evidence.audits import GridAudit, PlacesAudit

NAME_WIDTH = 24
"""Letters of a factor's name: the tables fit a terminal of 80 columns."""
SHOWN = 10
"""Places in a terminal; the file has all."""


def audit_lines(grids: "GridAudit", places: "PlacesAudit | None") -> Iterator[str]:
    """Give audits in lines for a terminal."""
    yield "On other grids"
    yield from (f"  {one_line(line)}" for line in grids.sentences)
    yield ""
    yield from _table_lines(_factors(grids.table))
    yield ""
    yield "Share of the hot spots, by expected incidents and by RRS, that is hot spot there too (near: within one cell of one)"
    yield from _table_lines(_overlaps(grids.grids))
    if places is None:
        return
    yield ""
    yield "Without the places that dominate"
    yield from (f"  {one_line(line)}" for line in places.sentences)
    if len(places.places):
        yield ""
        yield from _table_lines(_factors(places.table))
        yield ""
        yield from _table_lines(_places(places.places))
        if len(places.places) > SHOWN:
            yield f"  The first {SHOWN} of {len(places.places)} places."


def _table_lines(table: pd.DataFrame) -> Iterator[str]:
    yield from (f"  {line}" for line in table_text(table, 3).splitlines())


def _factors(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "factor": [one_line(name)[:NAME_WIDTH] for name in table["factor"]],
            "RRV": [_multiple(value) for value in table["rrv"]],
            "lowest": [_multiple(value) for value in table["rrv_lowest"]],
            "highest": [_multiple(value) for value in table["rrv_highest"]],
            "fits": [f"{n} of {of}" for n, of in zip(table["n_in_model"], table["n_fits"], strict=True)],
            "verdict": table["verdict"],
        }
    )


def _overlaps(grids: pd.DataFrame) -> pd.DataFrame:
    fitted = grids[grids["reason"] == ""]
    return pd.DataFrame(
        {
            "grid": fitted["grid"],
            "cell": [f"{value:.0f} m" for value in fitted["cell_size_m"]],
            "cells": [f"{value:,.0f}" for value in fitted["n_cells"]],
            "expected too": [_share(value) for value in fitted["overlap_expected"]],
            "near": [_share(value) for value in fitted["near_expected"]],
            "RRS too": [_share(value) for value in fitted["overlap_rrs"]],
            "near RRS": [_share(value) for value in fitted["near_rrs"]],
        }
    )


def _places(places: pd.DataFrame) -> pd.DataFrame:
    first = places.iloc[:SHOWN]
    return pd.DataFrame(
        {
            "place": [
                f"{latitude:.5f}, {longitude:.5f}"
                for latitude, longitude in zip(first["latitude"], first["longitude"], strict=True)
            ],
            "n": [f"{value:,}" for value in first["incidents"]],
            "share": [_share(value) for value in first["share"]],
            "hot spot": ["yes" if value else "no" for value in first["hotspot"]],
            "still without": ["yes" if value else "no" for value in first["hotspot_without"]],
        }
    )


def _multiple(value: float) -> str:
    return "-" if pd.isna(value) else times(value)


def _share(value: float) -> str:
    return "-" if pd.isna(value) else f"{100 * value:.1f} %"


def audit_record(grids: "GridAudit", places: "PlacesAudit | None") -> dict[str, Any]:
    """Return audits for JSON."""
    record: dict[str, Any] = {
        "grids": {
            "sentences": list(grids.sentences),
            "factors": plain_rows(grids.table),
            "weights": plain_rows(grids.weights),
            "grids": plain_rows(grids.grids),
        }
    }
    if places is not None:
        record["places"] = {
            "sentences": list(places.sentences),
            "factors": plain_rows(places.table),
            "places": plain_rows(places.places),
            "overlap_expected": places.overlap_expected,
            "overlap_rrs": places.overlap_rrs,
        }
    return record
