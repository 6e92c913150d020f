"""Slices side by side: how weights and first hot spots differ between hours and weekdays."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from rtmkc.model.weights import IN_MODEL, NOT_IN_MODEL

if TYPE_CHECKING:
    from rtmkc.workflow.run import Results
    from rtmkc.workflow.study import Study

WHOLE = "all"


def compare_slices(study: "Study", whole: "Results") -> pd.DataFrame:
    """Return one row for the whole and one for each slice.

    Returns
    -------
    DataFrame
        slice ("all" first), hours, weekdays, n_incidents, first_hotspot (name and cell), first_relative (x the
        city's average), shared_hotspots (share of the hot-spot cells of the whole that are hot spots of the
        slice too), and for each factor ``status_<factor>``, ``rrv_<factor>``, ``lower_<factor>``,
        ``upper_<factor>`` (95 % interval); the last three are missing where the factor is not in the model.
    """
    options = {one.name: one for one in study.slices}
    factors = list(whole.terrain.weights["factor"])
    rows = []
    for name, part in {WHOLE: whole, **whole.slices}.items():
        own = options.get(name) if part is not whole else None
        weekdays = own.weekdays if own else study.incidents.weekdays
        row: dict[str, Any] = {
            "slice": name,
            "hours": (own.hours if own else study.incidents.hours) or "all",
            "weekdays": (weekdays if isinstance(weekdays, str) else ", ".join(weekdays or [])) or "all",
            "n_incidents": part.terrain.facts["n_incidents"],
            **_first(part),
            "shared_hotspots": _shared(whole, part),
        }
        weights = part.terrain.weights.set_index("factor")
        for factor in factors:
            status = weights.loc[factor, "status"] if factor in weights.index else NOT_IN_MODEL
            in_model, row[f"status_{factor}"] = status == IN_MODEL, status
            for column in ("rrv", "lower", "upper"):
                row[f"{column}_{factor}"] = float(weights.loc[factor, column]) if in_model else float("nan")
        rows.append(row)
    table = pd.DataFrame(rows)
    table.attrs["factors"] = factors
    return table


def _first(part: "Results") -> dict[str, Any]:
    if part.hotspots.empty:
        return {"first_hotspot": "", "first_relative": float("nan")}
    first = part.hotspots.iloc[0]
    where = f"{first.get('name') or ''} ({first['latitude']:.5f}, {first['longitude']:.5f})".strip()
    return {"first_hotspot": where, "first_relative": float(first["relative"])}


def _shared(whole: "Results", part: "Results") -> float:
    cells = set(whole.hotspots["cell_id"])
    return len(cells & set(part.hotspots["cell_id"])) / len(cells) if cells else float("nan")
