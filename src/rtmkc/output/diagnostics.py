"""Checks of a model, as rows of a page and as lines of a terminal: what is not fine comes first."""

import pandas as pd

ORDER = ("alarm", "look", "fine")


def check_rows(table: pd.DataFrame | None) -> list[dict[str, str]] | None:
    """Return the checks for a page, alarms first, otherwise in their order."""
    if table is None:
        return None
    return [
        {str(name): str(value) for name, value in row.items()}
        for status in ORDER
        for row in table[table["status"] == status].to_dict("records")
    ]


def check_lines(table: pd.DataFrame) -> list[str]:
    """Return the checks that are not fine, one a line, for a terminal; one line if all are fine."""
    lines = []
    for row in check_rows(table) or []:
        if row["status"] != "fine":
            advice = f" {row['advice']}" if row["advice"] else ""
            lines.append(f"{row['status']}: {row['check']}, {row['value']}.{advice}")
    return lines or [f"all {len(table)} checks are fine"]
