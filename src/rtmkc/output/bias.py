"""What falls on each district, as a section of the report and as plain values."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from rtmkc.output.formats import percent
from rtmkc.output.terminal import plain_rows

if TYPE_CHECKING:
    from rtmkc.evidence.bias import BiasPanel

SHOWN = 15
"""Districts in the report; the file has all."""


def bias_rows(panel: "BiasPanel | None") -> dict[str, Any] | None:
    """Return the section of the report: sentences, and one row a district, most flagged first.

    What lies in no district is the last row, if there is any.
    """
    if panel is None:
        return None
    own, nowhere = panel.table.iloc[:-1], panel.table.iloc[-1:]
    shown = own.iloc[:SHOWN]
    if (nowhere[["area_share", "incidents"]] > 0).to_numpy().any():
        shown = pd.concat([shown, nowhere])
    return {
        "sentences": list(panel.sentences),
        "rows": [_row(row) for row in shown.to_dict("records")],
        "total": len(own),
        "n_shown": min(len(own), SHOWN),
        "has_residents": "residents_share" in own,
        "has_without": "flagged_share_without" in own,
        "left_out": ", ".join(panel.left_out) if "flagged_share_without" in own else "",
    }


def _row(row: dict[Any, Any]) -> dict[str, str]:
    return {
        "district": str(row["district"]),
        "land": _share(row["area_share"]),
        "residents": _share(row.get("residents_share", float("nan"))),
        "incidents": _share(row["incidents_share"]),
        "flagged": _share(row["flagged_share"]),
        "range": f"{_share(row['flagged_share_low'])} to {_share(row['flagged_share_high'])}",
        "without": _share(row.get("flagged_share_without", float("nan"))),
    }


def _share(share: float) -> str:
    return "not known" if pd.isna(share) else percent(share)


def bias_record(panel: "BiasPanel") -> dict[str, Any]:
    """Return a panel for JSON."""
    return {
        "sentences": list(panel.sentences),
        "left_out": list(panel.left_out),
        "table": plain_rows(panel.table),
        "scenarios": plain_rows(panel.scenarios),
    }
