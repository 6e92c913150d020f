"""How pages write numbers and hold pictures, and the templates that they are made of."""

import base64
import io
from collections.abc import Callable
from pathlib import Path

import jinja2
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rtmkc.output.words import period_words, times
from rtmkc.units import FOOT, format_length

DPI = 110


def template(name: str) -> jinja2.Template:
    """Return a template of this room, with its filters; names from users' files are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        # Names come from users' files; a page must show them, never run them.
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "percent": percent,
        "sentence": sentence,
        "whole": whole,
        "times": times,
        "length": format_length,
        "road_length": road_length,
        "area": area_words,
        "period": period_words,
        "degrees": lambda value: f"{value:.5f}",
    }
    return environment.get_template(name)


def picture(draw: Callable[[Axes], Axes], size: tuple[float, float], *, dpi: int = DPI) -> str:
    """Return a picture as the source of an image that is inside its page."""
    figure = Figure(figsize=size, layout="constrained")
    draw(figure.add_subplot())
    file = io.BytesIO()
    # Without the software tag, whose version would change the bytes.
    figure.savefig(
        file, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.05, metadata={"Software": None}
    )
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def number(value: float | None) -> str:
    """Return a number with three significant digits and thousands.

    Examples
    --------
    >>> number(0.012345), number(3.14159), number(12.345), number(4321.0), number(None)
    ('0.0123', '3.14', '12.3', '4,321', 'n/a')
    """
    if value is None or pd.isna(value):
        return "n/a"
    size = abs(value)
    if 0 < size < 1:
        return f"{value:#.3g}"
    return f"{value:,.{0 if size >= 100 or size == 0 else 1 if size >= 10 else 2}f}"


def whole(value: float | None) -> str:
    """Return a count; one decimal where a count was shared out.

    Examples
    --------
    >>> whole(8.0), whole(1234), whole(2.49)
    ('8', '1,234', '2.5')
    """
    if value is None or pd.isna(value):
        return "n/a"
    return f"{value:,.{0 if abs(value - round(value)) < 1e-6 else 1}f}"


def sentence(text: str) -> str:
    """Return a note as a sentence: a capital first, one full stop last.

    Examples
    --------
    >>> sentence("all factors precede the incidents")
    'All factors precede the incidents.'
    """
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def percent(share: float) -> str:
    """Return a share in per cent with two significant digits.

    Examples
    --------
    >>> percent(0.0199), percent(0.4567)
    ('2.0 %', '46 %')
    """
    return f"{100 * share:.{1 if share < 0.0995 else 0}f} %"


def road_length(metres: float) -> str:
    """Return the length of a stretch of street.

    Examples
    --------
    >>> road_length(1609.344)
    '1.61 km (1.00 mi)'
    """
    return f"{metres / 1000:.2f} km ({metres / (5280 * FOOT):.2f} mi)"


def area_words(square_metres: float) -> str:
    """Return an area in hectares and acres.

    Examples
    --------
    >>> area_words(40468.564224)
    '4.0 ha (10.0 acres)'
    """
    return f"{square_metres / 1e4:,.1f} ha ({square_metres / 4046.8564224:,.1f} acres)"
