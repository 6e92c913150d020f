"""The table of corridors with its sentence."""

from dataclasses import asdict
from typing import Any

import geopandas as gpd
import numpy as np

from rtmkc.evidence.statistics.intervention import minimum_detectable_reduction
from rtmkc.places.corridors.describe import describe
from rtmkc.places.corridors.wishes import Limits, Wish
from rtmkc.units import format_length


def detectable_percent(expected: float, horizon_days: int | None) -> float:
    """Return the smallest fall over the horizon, in whole per cent, that could be told from chance; NaN if none could.

    Rounded up, so that a fall said to be enough is enough.
    """
    if not horizon_days:
        return np.nan
    return float(np.ceil(100 * minimum_detectable_reduction(expected) - 1e-9))


def horizon_words(terrain: Any) -> str:
    """Return what `expected` is for."""
    days = terrain.horizon_days
    return f"in {days} days" if days else "in the data"


def _worth_it(wish: Wish) -> str:
    """Say what a stretch must be to be a corridor, after a word like "none"."""
    return {
        "excess": "is worth more than its length",
        "net": "is worth more than it costs",
        "llr": "has more than its share of the risk",
    }.get(wish.objective, "has any expected incidents")


def no_corridors(terrain: Any, reason: str) -> gpd.GeoDataFrame:
    """Return a table without corridors, which says why there are none."""
    table = describe([], terrain)
    table.attrs |= {
        "statement": f"No corridor. {reason}",
        "notes": [],
        "multiple_of": "the typical street",
        "search": {},
    }
    return table


def finish(
    rows: list[dict[str, Any]],
    terrain: Any,
    wish: Wish,
    limits: Limits,
    best_of: str,
    notes: list[str],
    *,
    multiple_of: str,
    instead: str | None = None,
) -> gpd.GeoDataFrame:
    """Return the table; `instead` is what a portfolio says of itself."""
    table = describe(rows, terrain)
    if len(table) == 0:
        statement = f"No corridor: of {best_of.removeprefix('the best of ')}, none {_worth_it(wish)}."
    else:
        later = (
            ""
            if len(table) == 1
            else (
                " Each later one is the best given the earlier, none nearer than "
                f"{format_length(wish.separation)} to another."
                if wish.separation > 0
                else " Each later one is the best given the earlier, sharing nothing with another."
            )
        )
        statement = f"Corridor 1 is {best_of}.{later}"
    if instead is not None:
        statement = f"{instead} They are of {best_of.removeprefix('the best of ')}."
    elif len(table) < wish.k:
        notes.append(
            f"{len(table)} of {wish.k} corridors asked for: no other that is far enough from these {_worth_it(wish)}."
        )
    table.attrs["statement"] = statement
    table.attrs["notes"] = notes
    table.attrs["multiple_of"] = multiple_of
    table.attrs["search"] = asdict(wish) | asdict(wish.family) | limits.record()
    table.attrs["search"].pop("family")
    return table
