"""What changes in the weights when a model is fitted again: to other cells, or to fewer incidents."""

from collections.abc import Iterator, Mapping

import pandas as pd

from rtmkc.units import format_length

IN_MODEL = "in the model"
LARGEST_CHANGE = 0.15
"""An RRV that moves by more than this share is flagged."""


def compare_weights(
    weights: Mapping[str, pd.DataFrame], *, largest_change: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare the weights of several fits of the same factors with those of the first.

    Parameters
    ----------
    weights : mapping of str to DataFrame
        Name of the fit -> its ``weights_``.
    largest_change : float
        Share by which an RRV may move.

    Returns
    -------
    table, long : DataFrame
        One row a factor, and one row a fit and factor; see `GridAudit`, where a fit is a grid.
    """
    names = list(weights)
    first = _in_model(weights[names[0]])
    fits = {name: _in_model(weights[name]).loc[first.index] for name in names}
    long = pd.concat(
        fit.assign(fit=name, change=fit["rrv"] / first["rrv"] - 1).reset_index() for name, fit in fits.items()
    )
    long = long[["fit", "factor", "in_model", "kind", "influence_m", "rrv", "change", "reason"]].reset_index(
        drop=True
    )
    rows = []
    for base in first.reset_index().to_dict("records"):
        own = long[(long["factor"] == base["factor"]) & long["in_model"]]
        others = own[own["fit"] != names[0]].dropna(subset="change")
        most = others.loc[others["change"].abs().idxmax()] if len(others) else None
        change = float("nan") if most is None else float(most["change"])
        verdict = "stable"
        if own.empty:
            verdict = "never in the model"
        elif len(own) < len(names):
            verdict = "comes and goes"
        elif abs(change) > largest_change:
            verdict = "changes"
        rows.append(
            {
                **{column: value for column, value in base.items() if column != "reason"},
                "n_in_model": len(own),
                "n_fits": len(names),
                "rrv_lowest": own["rrv"].min(),
                "rrv_highest": own["rrv"].max(),
                "largest_change": change,
                "largest_change_at": "" if most is None else most["fit"],
                "same_column": len(own[["kind", "influence_m"]].drop_duplicates()) <= 1,
                "verdict": verdict,
                "flagged": verdict in ("changes", "comes and goes"),
            }
        )
    return pd.DataFrame(rows), long


def _in_model(weights: pd.DataFrame) -> pd.DataFrame:
    """What is known of the factors in a model, by name; of the others nothing, whatever they were rejected with."""
    own = weights.set_index("factor")
    in_model = own["status"] == IN_MODEL
    numbers = own[["influence_m", "rrv", "lower", "upper"]].astype(float).where(in_model)
    return pd.concat(
        [in_model.rename("in_model"), own["kind"].where(in_model), numbers, own["reason"]], axis=1
    )


def describe_changes(table: pd.DataFrame, long: pd.DataFrame, limit: float, where: str) -> Iterator[str]:
    """Say which weights stand and which do not; `where` is what differs, such as "on all grids"."""
    ever = table[table["verdict"] != "never in the model"]
    if ever.empty:
        yield f"No factor is in the model {where}: there is no weight that could change."
        return
    stable = int((ever["verdict"] == "stable").sum())
    yield (
        f"{stable} of {len(ever)} factors {'has' if len(ever) == 1 else 'have'} a weight that stays within "
        f"{100 * limit:g} % {where}."
    )
    for _, row in ever[ever["verdict"] == "changes"].iterrows():
        yield (
            f"The weight of {row['factor']!r} changes by {100 * row['largest_change']:+.0f} % "
            f"(x{row['rrv_lowest']:.2f} to x{row['rrv_highest']:.2f}; most: {row['largest_change_at']})."
        )
    for _, row in ever[ever["verdict"] == "comes and goes"].iterrows():
        own = long[long["factor"] == row["factor"]]
        absent = own[~own["in_model"]]
        reasons = "; ".join(dict.fromkeys(absent["reason"]))
        yield (
            f"{row['factor']!r} is in the model in {row['n_in_model']} of {row['n_fits']} fits (not: "
            f"{', '.join(absent['fit'])}: {reasons}): do not build on it."
        )
    for _, row in ever[~ever["same_column"]].iterrows():
        own = long[(long["factor"] == row["factor"]) & long["in_model"]]
        columns = dict.fromkeys(
            f"{kind} {format_length(reach)}"
            for kind, reach in zip(own["kind"], own["influence_m"], strict=True)
        )
        yield f"The reach of {row['factor']!r} is not settled: {', '.join(columns)}."


def percent(share: float) -> str:
    """Return a share in per cent, with a decimal where it is small."""
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"
