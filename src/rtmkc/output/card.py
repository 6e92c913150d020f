"""The data-quality card as one self-contained HTML file, in the look of the report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rtmkc import __version__
from rtmkc.output.formats import template
from rtmkc.storage import created_at, write_text

BARS_WIDTH, BARS_HEIGHT = 640.0, 48.0


def write_card(
    path: str | Path, title: str, layers: Sequence[dict[str, Any]], *, overwrite: bool = False
) -> None:
    """Write the data-quality card: one HTML file without scripts or links.

    Parameters
    ----------
    path : path
        The file, ``.html``.
    title : str
        Name of the study or file.
    layers : sequence of dict
        ``DataCard.layers``.
    overwrite : bool
        Whether a file that exists may be replaced.

    Raises
    ------
    OutputError
        If the file exists and `overwrite` is false, or it cannot be written.
    """
    html = template("card.html.j2").render(
        title=title,
        created=created_at(),
        version=__version__,
        layers=[{**layer, "bars": _bars(layer["dates"])} for layer in layers],
        width=BARS_WIDTH,
        height=BARS_HEIGHT,
    )
    write_text(path, html, overwrite=overwrite)


def _bars(dates: dict[str, Any] | None) -> list[dict[str, float | str]]:
    """Return one bar a month, in the units of the drawing."""
    if not dates or not dates["months"]:
        return []
    months, most = dates["months"], max(dates["months"].values())
    step = BARS_WIDTH / len(months)
    return [
        {
            "left": round(number * step, 2),
            "top": round(BARS_HEIGHT * (1 - rows / most), 2),
            "width": round(max(step - 0.5, 0.5), 2),
            "height": round(BARS_HEIGHT * rows / most, 2),
            "label": f"{month}: {rows:,}",
        }
        for number, (month, rows) in enumerate(months.items())
    ]
