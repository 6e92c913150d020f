"""The page of a validation: who wins first, then how sure that is."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from rtmkc import __version__
from rtmkc.output.formats import picture, template
from rtmkc.output.plots_validation import SIZE, plot_calibration, plot_hit_rates
from rtmkc.storage import created_at, write_text

if TYPE_CHECKING:
    from rtmkc.evidence.validation import Validation

HITS = (1, 2, 5, 10)
"""Shares of the area, in %, of which the page shows hit rates; rankings.csv has more."""


def write_validation_page(
    path: str | Path, validation: "Validation", *, title: str, overwrite: bool = False
) -> None:
    """Write the page: one HTML file without scripts or links.

    Parameters
    ----------
    path : path
        The file, ``.html``.
    validation : Validation
        From `rtmkc.validate`.
    title : str
        Name of the study.
    overwrite : bool
        Whether a file that exists may be replaced.

    Raises
    ------
    OutputError
        If the file exists and `overwrite` is false, or it cannot be written.
    """
    compared = validation.facts["compared"]
    html = template("validation.html.j2").render(
        title=title,
        created=created_at(),
        version=__version__,
        heading=validation.heading,
        verdict=validation.verdict,
        statement=validation.statement,
        compared=compared,
        shares=HITS,
        rows=_rows(validation.table),
        pairs=[_pair(row) for row in validation.paired.to_dict("records")],
        pictures={
            "hits": picture(lambda ax: plot_hit_rates(validation, ax=ax), SIZE),
            "calibration": picture(lambda ax: plot_calibration(validation, ax=ax), SIZE),
        },
    )
    write_text(path, html, overwrite=overwrite)


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            "contestant": row["contestant"],
            "note": row["note"],
            "nats": _signed(row["nats"], ""),
            "nats_interval": _between(row["nats_lower"], row["nats_upper"], ""),
            "hits": [_percent(row[f"hit_{share}"]) for share in HITS],
            "pai": "" if pd.isna(row["pai_5"]) else f"{row['pai_5']:.2f}",
            "slope": "" if pd.isna(row["calibration_slope"]) else f"{row['calibration_slope']:.2f}",
        }
        for row in table.to_dict("records")
    ]


def _pair(row: dict[Any, Any]) -> dict[str, str]:
    return {
        "contestant": row["contestant"],
        "against": row["against"],
        "nats": _signed(row["nats"], "+"),
        "nats_interval": _between(row["nats_lower"], row["nats_upper"], "+"),
        "hits": _signed(100 * row["hit_5"], "+", 1),
        "hits_interval": _between(100 * row["hit_5_lower"], 100 * row["hit_5_upper"], "+", 1),
        "told": _told(row["nats_lower"], row["nats_upper"]),
    }


def _told(lower: float, upper: float) -> str:
    if pd.isna(lower) or pd.isna(upper):
        return "not known"
    return "better" if lower > 0 else "worse" if upper < 0 else "not told apart"


def _signed(value: float, sign: str, digits: int = 3) -> str:
    # Adding 0 takes the sign from a zero.
    return "" if pd.isna(value) else f"{round(value, digits) + 0.0:{sign}.{digits}f}"


def _between(lower: float, upper: float, sign: str, digits: int = 3) -> str:
    if pd.isna(lower) or pd.isna(upper):
        return ""
    return f"{_signed(lower, sign, digits)} to {_signed(upper, sign, digits)}"


def _percent(share: float) -> str:
    return "" if pd.isna(share) else f"{100 * share:.1f}"
