"""What a table of weights says: reach, noise, chance and status of each factor; shared by report, plots and terminal."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rtmkc.model.guarded.recipe import LEVEL, MIN_EFFECTIVE
from rtmkc.model.weights import IN_MODEL, UNDECIDED
from rtmkc.output.words import MOST, interval_words, listed, marks_words, reach_words, times, weight_words
from rtmkc.units import FOOT, format_length

if TYPE_CHECKING:
    from rtmkc.model.terrain import RiskTerrain

BARELY_WIDER = 1.05
_REACH = re.compile(r"([\d,]+) m \(([\d,]+) ft\)")


def in_model(terrain: "RiskTerrain") -> pd.DataFrame:
    """Return the weights of the factors in the model."""
    return terrain.weights[terrain.weights["status"] == IN_MODEL].reset_index(drop=True)


def undecided(terrain: "RiskTerrain") -> list[str]:
    """Return the names of the factors that the map is too small to decide on."""
    return list(terrain.weights.loc[terrain.weights["status"] == UNDECIDED, "factor"])


def none_of(terrain: "RiskTerrain") -> str:
    """Return the sentence of a model without factors; what is not decided is not refuted."""
    tried, open_ones = len(terrain.weights), undecided(terrain)
    if tried and len(open_ones) == tried:
        subject = f"Whether any of the {tried} factors tried matters" if tried > 1 else "Whether it matters"
        return f"{subject} is not decided: the map is too small"
    said = (
        f"None of the {tried} factors tried is in the model"
        if tried != 1
        else "The one factor tried is not in the model"
    )
    return f"{said}; {undecided_words(open_ones)}" if open_ones else said


def undecided_words(names: Sequence[str]) -> str:
    """Return the clause about factors that are neither in the model nor out of it.

    Examples
    --------
    >>> undecided_words(["bars", "hotels"])
    'the map is too small to decide on bars and hotels'
    """
    return f"the map is too small to decide on {listed(names)}" if names else ""


def extent_words(extent_set: str) -> str:
    """Return within which distances a factor acts, as far as the data can tell them apart; empty if not known.

    Examples
    --------
    >>> extent_words("proximity 69 m (225 ft), 137 m (450 ft), 206 m (675 ft); density 69 m (225 ft)")
    'within 69 to 206 m (225 to 675 ft), or by density within 69 m (225 ft)'
    >>> extent_words("value above 0.25, 0.4")
    'where its value is above 0.25, 0.4'
    """
    parts = []
    for part in filter(None, extent_set.split("; ")):
        kind, _, reaches = part.partition(" ")
        if kind == "value":
            parts.append(f"where its value is {reaches}")
        else:
            parts.append(f"{'' if kind == 'proximity' else f'by {kind} '}within {_span(reaches)}")
    return ", or ".join(parts)


def _span(reaches: str) -> str:
    found = _REACH.findall(reaches)
    (low, low_feet), (high, high_feet) = found[0], found[-1]
    return f"{low} m ({low_feet} ft)" if low == high else f"{low} to {high} m ({low_feet} to {high_feet} ft)"


def extent_sentence(extent_set: str) -> str:
    """Return where a factor acts, and how sure that is; empty if not known."""
    words = extent_words(extent_set)
    if not words:
        return ""
    several = ", " in extent_set or "; " in extent_set
    return f"It acts {words}{': the data cannot tell these apart' if several else '; nothing else fits as well'}."


def noise_sentence(inflation: float) -> str:
    """Return what the noise of the map costs a factor; empty if not known.

    Examples
    --------
    >>> noise_sentence(2.1091)
    "The map's noise costs this factor a 2.1-fold width of its interval."
    """
    if not np.isfinite(inflation):
        return ""
    if inflation < BARELY_WIDER:
        return "The map's noise costs this factor no width of its interval."
    return f"The map's noise costs this factor a {inflation:.1f}-fold width of its interval."


def chance_words(p: float) -> str:
    """Return a probability of chance with two digits.

    Examples
    --------
    >>> chance_words(0.00042), chance_words(0.0213), chance_words(0.34), chance_words(float("nan"))
    ('< 0.001', '0.021', '0.34', 'not known')
    """
    if not np.isfinite(p):
        return "not known"
    if p < 0.001:
        return "< 0.001"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def patches_sentence(facts: dict[str, Any]) -> str:
    """Return what the factors leave over: patches of risk, and how wide; empty where that was not measured.

    Notes
    -----
    The width is the range: places that far apart share 1/e of the noise.
    """
    noise = facts["why"]["noise"]
    if noise is None:
        return ""
    if noise["variance"] > 0:
        return (
            f"Risk also varies in patches about {_wide(noise['range_m'])} wide that no factor explains; the intervals "
            "allow for them."
        )
    if noise["nugget"] > 0:
        return (
            "No patches of risk are seen beyond the factors; single cells vary more than chance gives, and the "
            "intervals allow for that."
        )
    return "No patches of risk are seen beyond the factors."


def _wide(metres: float) -> str:
    return (
        format_length(metres)
        if metres < 1000
        else f"{metres / 1000:,.1f} km ({metres / (5280 * FOOT):,.1f} mi)"
    )


def chance_of(terrain: "RiskTerrain", weight: "pd.Series[Any]") -> float:
    """Return the p-value that goes with a weight: for all factors together, or of classic weights by itself."""
    return float(weight["shift_p" if terrain.facts["why"]["method"] == "classic" else "adjusted_p"])


def doubts(terrain: "RiskTerrain") -> str:
    """Return what shifts say against the factors of a classic model, which they did not choose; empty if nothing."""
    if terrain.facts["why"]["method"] != "classic":
        return ""
    weights, said = in_model(terrain), []
    small = weights["shift_p"].isna() | (weights["n_effective_shifts"] < MIN_EFFECTIVE)
    doubtful = list(weights.loc[(weights["shift_p"] > LEVEL) & ~small, "factor"])
    if doubtful:
        one = len(doubtful) == 1
        said.append(
            f"Do not rely on {listed(doubtful)}: moved elsewhere on the map, {'it fits' if one else 'they fit'} "
            f"the incidents as well in more than {100 * LEVEL:.0f} of 100 places."
        )
    if small.any():
        names = listed(list(weights.loc[small, "factor"]))
        said.append(f"The map is too small to test {names} by shifts.")
    return " ".join(said)


def rrv_words(weight: "pd.Series[Any]") -> str:
    """Return the relative risk value of a factor with its interval, or its status."""
    if weight["status"] != IN_MODEL:
        return str(weight["status"])
    return f"{times(weight['rrv'])} ({interval_words(weight['lower'], weight['upper'])})"


def weight_rows(terrain: "RiskTerrain") -> list[dict[str, Any]]:
    """Return one row a factor in the model, strongest first, for a page."""
    block = terrain.grid.block_length
    # Shifts choose guarded factors, and another model gives the interval: the two can differ.
    guarded = terrain.facts["why"]["method"] == "guarded"
    return [
        {
            "factor": weight["factor"],
            "kind": weight["kind"],
            "reach": reach_words(weight["influence_m"], block),
            "rrv": times(weight["rrv"]),
            "interval": interval_words(weight["lower"], weight["upper"]),
            "chance": chance_words(chance_of(terrain, weight)),
            "is_chance": not chance_of(terrain, weight) <= LEVEL,
            "shifts": shifts_words(weight["n_effective_shifts"]),
            "cells": weight["n_cells"],
            "cell_share": weight["n_cells"] / terrain.grid.n_cells,
            "marks": marks_words(weight["n_cells"] / terrain.grid.n_cells),
            "marks_most": weight["n_cells"] / terrain.grid.n_cells > MOST,
            "incidents": weight["n_inside"],
            "meaning": weight_words(weight, block),
            "extent": extent_sentence(weight["extent_set"]),
            "unsure": unsure_sentence(weight) if guarded else "",
            "noise": noise_sentence(weight["inflation"]),
        }
        for _, weight in in_model(terrain).iterrows()
    ]


def unsure_sentence(weight: "pd.Series[Any]") -> str:
    """Return what it means that the interval of a guarded factor in the model includes 1; empty if it does not.

    Examples
    --------
    >>> unsure_sentence(pd.Series({"lower": 0.96, "upper": 2.1}))
    'That it matters is clearer than how much: its interval includes 1.'
    >>> unsure_sentence(pd.Series({"lower": 1.02, "upper": 2.1}))
    ''
    """
    if weight["lower"] <= 1 <= weight["upper"]:
        return "That it matters is clearer than how much: its interval includes 1."
    return ""


def other_rows(terrain: "RiskTerrain", status: str) -> list[dict[str, str]]:
    """Return one row a factor of a status other than in the model, for a page."""
    others = terrain.weights[terrain.weights["status"] == status]
    return [
        {
            "factor": other["factor"],
            "reason": other["reason"],
            "chance": chance_words(chance_of(terrain, other)),
            "shifts": shifts_words(other["n_effective_shifts"]),
        }
        for _, other in others.iterrows()
    ]


def shifts_words(n_effective: float) -> str:
    """Return how many independent shifts a map holds.

    Examples
    --------
    >>> shifts_words(263.4), shifts_words(float("nan"))
    ('263 independent shifts', 'no shifts')
    """
    return f"{n_effective:,.0f} independent shifts" if np.isfinite(n_effective) else "no shifts"


def comparison_rows(terrain: "RiskTerrain", without: pd.DataFrame | None) -> list[dict[str, str]]:
    """Return the weights beside those fitted without exposure, for a page."""
    if without is None:
        return []
    other = without.set_index("factor")
    return [
        {
            "factor": weight["factor"],
            "with": rrv_words(weight),
            "without": rrv_words(other.loc[weight["factor"]]),
        }
        for _, weight in terrain.weights.iterrows()
        if weight["factor"] in other.index
    ]


def rival_words(terrain: "RiskTerrain") -> list[str]:
    """Return the nearest rival, by BIC, of each factor's kind and distance."""
    best: dict[str, str] = {}
    for rival in terrain.facts["why"]["runner_ups"]["rows"]:
        reach = reach_words(rival["influence_m"], terrain.grid.block_length)
        above = f"BIC {rival['bic_above_chosen']:,.1f} above the chosen"
        best.setdefault(rival["factor"], f"{rival['factor']}: {rival['kind']} {reach}, {above}")
    return list(best.values())
