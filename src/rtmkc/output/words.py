"""Sentences about a terrain: what its numbers mean, each with its unit; shared by plots and report."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rtmkc import __version__
from rtmkc.units import format_length

if TYPE_CHECKING:
    from rtmkc.model.terrain import RiskTerrain

BARELY = 0.05
"""A multiplier of a curve within 5 % of 1 is not worth a word."""
FLAT = "no effect above 5 %"
MOST = 0.5
"""A factor that marks a larger share of the cells tells few places apart."""
KM2_PER_SQ_MI = 2.589988110336
CAUTIONS = {
    "classic": (
        "The intervals are too narrow: they take the search for these factors as given, and the published procedure "
        "picks false factors where incidents cluster for reasons that no layer shows."
    ),
}
"""What a reader of the weights of each method must know beside them."""
NO_PERIOD = "The incidents have no dates or stated period, so there is no rate and no 90-day figure; values are relative."
STREET_KINDS = {
    "avenue": "Ave", "boulevard": "Blvd", "circle": "Cir", "court": "Ct", "drive": "Dr", "highway": "Hwy",
    "lane": "Ln", "parkway": "Pkwy", "place": "Pl", "road": "Rd", "street": "St", "terrace": "Ter",
    "trafficway": "Tfwy", "east": "E", "west": "W", "north": "N", "south": "S",
}  # fmt: skip
"""Words of street names as they stand on street signs."""
_PAIR = re.compile(r"(?<![\d.(-])(-?\d{1,3}\.\d{3,}), (-?\d{1,3}\.\d{3,})")


def relative_risk(terrain: "RiskTerrain", by: str = "expected") -> np.ndarray:
    """Return each cell as a multiple of the city's average; shape (n_cells,)."""
    values = terrain.ranking(by)
    relative: np.ndarray = values / (terrain.city_mean if by == "expected" else values.mean())
    return relative


def period_words(period: str | None) -> str:
    """Return a period as people read it.

    Examples
    --------
    >>> period_words("2021-01-01/2023-12-31")
    '2021-01-01 to 2023-12-31'
    """
    return period.replace("/", " to ") if period else "period not known"


def expected_words(terrain: "RiskTerrain") -> str:
    """Return what a map of expected incidents shows: so many in so many days, or only where more than elsewhere."""
    if terrain.horizon_days is None:
        return "Expected incidents, relative to the city's average"
    return f"Expected incidents in {terrain.horizon}"


def bracketed(text: str) -> str:
    r"""Return text with each pair of degrees in brackets and in one line, so that two pairs can be told apart.

    Examples
    --------
    >>> bracketed("39.0905, -94.5461"), bracketed("Benton Boulevard")
    ('(39.0905,\xa0-94.5461)', 'Benton Boulevard')
    """
    return _PAIR.sub("(\\1,\N{NO-BREAK SPACE}\\2)", text)


def corridor_name(corridor: Any) -> str:
    """Return the name of a corridor; that of a seam without its place, which its ends say already.

    Examples
    --------
    >>> corridor_name({"name": "south-north seam near 39.0936, -94.5460", "from_street": "39.0905, -94.5461"})
    'south-north seam'
    """
    name, start = str(corridor["name"]), corridor.get("from_street")
    if isinstance(start, str) and _PAIR.fullmatch(start):
        return re.sub(rf" near {_PAIR.pattern}$", "", name)
    return name


def ends_words(corridor: Any) -> str:
    r"""Return between which streets (of a seam: places) a corridor runs; empty where an end has no name.

    Examples
    --------
    >>> ends_words({"from_street": "39.0905, -94.5461", "to_street": "39.0967, -94.5460"})
    '(39.0905,\xa0-94.5461) to (39.0967,\xa0-94.5460)'
    """
    ends = [corridor.get(end) for end in ("from_street", "to_street")]
    named = [bracketed(end) for end in ends if isinstance(end, str) and end]
    return " to ".join(named) if len(named) == len(ends) else ""


def short_street(name: str, most: int = 24) -> str:
    """Return the name of a street with its kind abbreviated, cut to so many letters.

    Examples
    --------
    >>> short_street("Independence Avenue"), short_street("near the end of Prospect Boulevard")
    ('Independence Ave', 'end of Prospect Blvd')
    >>> short_street("Saint Bartholomew of the Meadows Parkway", 20)
    'Saint Bartholomew…'
    """
    name = re.sub(r"^near (?:the (?=end)|a (?=fork))|^an (?=unnamed)", "", " ".join(name.split()))
    short = " ".join(STREET_KINDS.get(word.casefold(), word) for word in name.split(" "))
    return short if len(short) <= most else f"{short[: most - 1].rpartition(' ')[0] or short[: most - 1]}…"


def cut(text: Any, most: int) -> str:
    """Return text in one line of at most so many letters.

    Examples
    --------
    >>> cut("Independence\\n Avenue", 40), cut("Independence Avenue", 8)
    ('Independence Avenue', 'Indepen…')
    """
    line = " ".join(str(text).split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def factor_names(words: Any) -> list[str]:
    """Return the names of factors in a text that joins them by semicolons; of a missing one none.

    Examples
    --------
    >>> factor_names("poor lighting; vacant houses"), factor_names(None)
    (['poor lighting', 'vacant houses'], [])
    """
    return [name.strip() for name in words.split(";") if name.strip()] if isinstance(words, str) else []


def via_words(corridor: Any) -> str:
    """Return along which streets a corridor that turns leads, in order; empty for one that does not.

    Examples
    --------
    >>> via_words({"turns": 1.0, "via": "Oak Street, then Elm Street"})
    'along Oak Street, then Elm Street'
    """
    turns, via = corridor.get("turns"), corridor.get("via")
    turning = isinstance(turns, int | float | np.number) and turns > 0
    return f"along {via}" if turning and isinstance(via, str) else ""


def marks_words(share: float) -> str:
    """Return which share of the cells a factor marks, and what that means where it marks most of them.

    Examples
    --------
    >>> marks_words(0.22)
    'marks 22 % of the cells'
    >>> marks_words(0.88)
    'marks 88 % of the cells: it says little about where in the built-up city'
    """
    words = f"marks {100 * share:.{1 if share < 0.0995 else 0}f} % of the cells"
    return f"{words}: it says little about where in the built-up city" if share > MOST else words


def listed(names: Sequence[Any]) -> str:
    """Return names as people list them.

    Examples
    --------
    >>> listed([1]), listed([1, 2]), listed([1, 2, 5])
    ('1', '1 and 2', '1, 2 and 5')
    """
    words = [str(name) for name in names]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def attribution(terrain: "RiskTerrain") -> str:
    """Return the line every picture carries: n, period, cells, system, method, version."""
    facts = terrain.facts
    return " · ".join(
        [
            f"n = {facts['n_incidents']:,} incidents, {period_words(facts['period'])}",
            f"{facts['n_cells']:,} cells of {format_length(facts['cell_size_m'])}",
            facts["crs"],
            f"weights: {facts['why']['method']}",
            f"rtmkc {__version__}",
            # Whoever sees only the picture must see this too.
            *([facts["timing"]] if facts["timing"].startswith("contemporaneous") else []),
        ]
    )


def reach_words(metres: float, block_length: float | None) -> str:
    """Return a distance in metres, feet and, where a block has a length, blocks.

    Examples
    --------
    >>> reach_words(274.32, 137.16)
    '274 m (900 ft, 2 blocks)'
    >>> reach_words(274.32, None)
    '274 m (900 ft)'
    """
    words = format_length(metres)
    if not block_length:
        return words
    blocks = metres / block_length
    return f"{words[:-1]}, {blocks:.3g} block{'' if f'{blocks:.3g}' == '1' else 's'})"


def times(value: float) -> str:
    """Return a multiple with three significant digits and at most two decimals.

    Examples
    --------
    >>> times(2.4049), times(21.364), times(184.84), times(0.5)
    ('x2.40', 'x21.4', 'x185', 'x0.50')
    """
    if not np.isfinite(value):
        return "not known"
    decimals = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"x{value:,.{decimals}f}"


def interval_words(lower: float, upper: float) -> str:
    """Return the bounds of an interval of multiples."""
    if not (np.isfinite(lower) and np.isfinite(upper)):
        return "not available"
    return f"{times(lower)[1:]} to {times(upper)[1:]}"


def place_of_factor(weight: "pd.Series[Any]", block_length: float | None) -> str:
    """Return where a factor of the model marks the map: near its features, or where they are dense."""
    reach = reach_words(weight["influence_m"], block_length)
    if weight["kind"] == "proximity":
        return f"within {reach} of {weight['factor']}"
    return f"where {weight['factor']} cluster, counted within {reach}"


def weight_words(weight: "pd.Series[Any]", block_length: float | None) -> str:
    """Return what the relative risk value of a factor says, as a sentence."""
    place = place_of_factor(weight, block_length)
    sentence = (
        f"{place}, places have {times(weight['rrv'])[1:]} times the incidents of other places that are alike "
        "in the other factors of the model"
    )
    return f"{sentence[0].upper()}{sentence[1:]}{' (protective)' if weight['rrv'] < 1 else ''}."


def curve_lines(terrain: "RiskTerrain") -> list[dict[str, str]]:
    """Return one line a factor: how the forecast's environment falls with distance and rises with density.

    Returns
    -------
    list of dict
        factor, near, dense: text; factors whose curve is flat are left out.

    Notes
    -----
    A proximity curve is averaged (geometric mean over distance) in bands of one block, or in thirds of its
    reach where no block length is known. A density curve is told by its highest level, one for each
    bandwidth.
    """
    lines = []
    for factor, own in terrain.curves.groupby("factor", sort=False):
        near = _near_words(own[own["kind"] == "proximity"], terrain.grid.block_length)
        dense = _dense_words(own[own["kind"] == "density"])
        if near or dense:
            lines.append({"factor": str(factor), "near": near or FLAT, "dense": dense or FLAT})
    return lines


def _near_words(curve: pd.DataFrame, block_length: float | None) -> str:
    if curve.empty:
        return ""
    reach = float(curve["to_m"].max())
    width = block_length or reach / 3
    edges = np.append(np.arange(0.0, reach * (1 - 1e-9), width), reach)
    parts = []
    for low, high in pairwise(edges):
        covered = np.minimum(curve["to_m"], high) - np.maximum(curve["from_m"], low)
        log_mean = float((covered.clip(lower=0) * np.log(curve["multiplier"])).sum() / (high - low))
        if abs(log_mean) >= BARELY:
            words = (
                f"within {format_length(high)}"
                if low == 0
                else f"from {format_length(low)} to {format_length(high)}"
            )
            parts.append(f"{times(np.exp(log_mean))} {words}")
    return ", ".join(parts)


def _dense_words(curve: pd.DataFrame) -> str:
    parts = []
    for bandwidth in np.unique(curve["bandwidth_m"].to_numpy(dtype=float)):
        own = curve[curve["bandwidth_m"] == bandwidth]
        top = own.iloc[int(own["from_density"].to_numpy(dtype=float).argmax())]
        if abs(np.log(top["multiplier"])) >= BARELY:
            density = float(top["from_density"])
            parts.append(
                f"{times(top['multiplier'])} above {density:,.3g} per km2 ({density * KM2_PER_SQ_MI:,.3g} per sq mi) "
                f"counted within {format_length(float(bandwidth))}"
            )
    return ", ".join(parts)
