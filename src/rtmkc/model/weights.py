"""Tables of a fitted model: the weights of all factors, and the columns that were considered."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from rtmkc.engine.rows.families import GlmFit
from rtmkc.model.guarded.recipe import LEVEL, WALD, Gate, GuardedFit
from rtmkc.model.selection import MIN_INCIDENTS, Selection
from rtmkc.raster.candidates import Candidates
from rtmkc.units import format_length

IN_MODEL, NOT_IN_MODEL, UNDECIDED = "in the model", "not in the model", "not decided"
COLUMNS = [
    "factor", "kind", "influence_m", "extent_set", "coef", "se", "rrv", "lower", "upper", "inflation", "design_effect", "poisson_rrv",
    "shift_p", "adjusted_p", "n_effective_shifts", "n_cells", "n_inside", "status", "reason",
]  # fmt: skip

Row = dict[str, Any]


def classic_weights(
    candidates: Candidates, counts: np.ndarray, selection: Selection, gate: Gate
) -> pd.DataFrame:
    """Return one row a factor of the classic model, with what shifts say beside it."""
    fit = selection.chosen.fit
    weights = {
        int(column): _interval(float(fit.coef[position]), _wald_error(fit, position), WALD)
        | {"reason": "entered the model by BIC"}
        for position, column in enumerate(selection.chosen.columns)
    }
    return _table(candidates, counts, weights, gate, lambda name: _why_not(name, candidates, selection))


def guarded_weights(candidates: Candidates, counts: np.ndarray, fitted: GuardedFit) -> pd.DataFrame:
    """Return one row a factor of the guarded model."""
    weights = {}
    for position, column in enumerate(fitted.columns):
        interval = fitted.intervals[position]
        assert fitted.final is not None
        weights[column] = _interval(float(fitted.final.coef[position]), interval.se, interval.multiple) | {
            "extent_set": extents_in_words(candidates, interval.extents),
            "inflation": interval.inflation,
            "design_effect": interval.design_effect,
            "poisson_rrv": float(np.exp(fitted.naive.coef[position])),
            "reason": "fits better where it is than almost anywhere it could be moved to",
        }
    return _table(
        candidates, counts, weights, fitted.gate, lambda name: _why_not_guarded(name, candidates, fitted)
    )


def extents_in_words(candidates: Candidates, columns: tuple[int, ...]) -> str:
    """Return columns of a factor as text: the kinds, each with its distances."""
    chosen = candidates.columns.iloc[list(columns)]
    parts = []
    for kind, own in chosen.groupby("kind", sort=False):
        if kind == "value":
            parts.append(f"value above {', '.join(f'{cut:.4g}' for cut in own['cut'])}")
        else:
            parts.append(f"{kind} {', '.join(format_length(reach) for reach in own['influence_m'])}")
    return "; ".join(parts)


def runner_ups(candidates: Candidates, selection: Selection) -> pd.DataFrame:
    """Return the other columns of the factors that the search chose, with the BIC of the model that has them."""
    columns, chosen = candidates.columns, selection.chosen
    rows = [
        {
            "factor": columns["factor"].iloc[column],
            "kind": columns["kind"].iloc[rival],
            "influence_m": columns["influence_m"].iloc[rival],
            "bic": bic,
            "bic_above_chosen": bic - chosen.bic,
        }
        for column in chosen.columns
        for rival, bic in chosen.runner_ups[column]
    ]
    table = pd.DataFrame(rows, columns=["factor", "kind", "influence_m", "bic", "bic_above_chosen"])
    return table.sort_values(["factor", "bic"], kind="stable", ignore_index=True)


def scored_columns(
    candidates: Candidates, gate: Gate, working: tuple[int, ...], in_model: tuple[int, ...]
) -> pd.DataFrame:
    """Return every candidate column with its score where it is, in standard deviations over all shifts, and whether it
    was chosen by BIC (against whose other factors scores are) and is in the model.
    """
    table = candidates.columns[["name", "factor", "kind", "influence_m", "n_cells"]].copy()
    table["score"] = np.nan
    for factor, columns in gate.columns.items():
        table.loc[columns, "score"] = gate.scores[factor].scores[:, 0]
    table["in_working_model"] = np.isin(np.arange(len(table)), list(working))
    table["in_model"] = np.isin(np.arange(len(table)), list(in_model))
    return table


def bic_table(searches: Mapping[str, Any]) -> pd.DataFrame:
    """Return the BIC of both families and of their null models."""
    return pd.DataFrame(
        {
            "family": list(searches),
            "bic": [search.bic for search in searches.values()],
            "null_bic": [search.null_bic for search in searches.values()],
            "n_factors": [len(search.columns) for search in searches.values()],
        }
    )


def _table(
    candidates: Candidates,
    counts: np.ndarray,
    weights: dict[int, Row],
    gate: Gate,
    why_not: Callable[[str], Row],
) -> pd.DataFrame:
    columns = candidates.columns
    column_of = {str(columns["factor"].iloc[column]): column for column in weights}
    rows: list[Row] = []
    for factor in candidates.factors:
        row: Row = {"factor": factor.name, "extent_set": ""}
        if factor.name in gate.scores:
            score = gate.scores[factor.name]
            row |= {
                "shift_p": score.p,
                "adjusted_p": gate.adjusted[factor.name],
                "n_effective_shifts": score.n_effective,
            }
        if factor.name in column_of:
            column = column_of[factor.name]
            row |= {"status": IN_MODEL} | weights[column] | {
                "kind": columns["kind"].iloc[column],
                "influence_m": columns["influence_m"].iloc[column],
                "n_cells": columns["n_cells"].iloc[column],
                "n_inside": int(counts[candidates.column(column)].sum()),
            }  # fmt: skip
        else:
            row |= {"status": NOT_IN_MODEL} | why_not(factor.name)
        rows.append(row)
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values("coef", ascending=False, key=abs, kind="stable", ignore_index=True)


def _interval(coef: float, error: float, multiple: float) -> Row:
    return {
        "coef": coef,
        "se": error,
        "rrv": float(np.exp(coef)),
        "lower": float(np.exp(coef - multiple * error)),
        "upper": float(np.exp(coef + multiple * error)),
    }


def _wald_error(fit: GlmFit, position: int) -> float:
    return float(fit.standard_errors[position + 1])  # the intercept comes first


def _why_not(factor: str, candidates: Candidates, selection: Selection) -> Row:
    own = np.flatnonzero(candidates.columns["factor"] == factor)
    if not own.size:
        return {"reason": _all_dropped(factor, candidates)}
    if not selection.usable[own].any():
        return {"reason": f"every column has fewer than {MIN_INCIDENTS} incidents inside or outside"}
    if not np.isin(own, selection.kept).any():
        return {"reason": "the cross-validated elastic net kept none of its columns"}
    return {"reason": "the model is better without it, by BIC"}


def _why_not_guarded(factor: str, candidates: Candidates, fitted: GuardedFit) -> Row:
    gate = fitted.gate
    if factor in fitted.removed:
        return {"reason": fitted.removed[factor]}
    if not (candidates.columns["factor"] == factor).any():
        return {"reason": _all_dropped(factor, candidates)}
    if not gate.n_shifts:
        return {"status": UNDECIDED, "reason": "the map is too small to decide: it cannot be shifted"}
    if factor not in gate.scores:
        return {"reason": f"every column would hold fewer than {MIN_INCIDENTS} incidents inside or outside"}
    if not gate.is_decided(factor):
        shifts = gate.scores[factor].n_effective
        return {
            "status": UNDECIDED,
            "reason": f"the map is too small to decide: {shifts:.0f} independent shifts, below {1 / LEVEL:.0f}",
        }
    if gate.scores[factor].p <= LEVEL:
        return {"reason": "it may be chance: beside this many candidate factors its fit is not exceptional"}
    return {"reason": "it fits no better where it is than where it is moved to"}


def _all_dropped(factor: str, candidates: Candidates) -> str:
    reasons = candidates.dropped.loc[candidates.dropped["factor"] == factor, "reason"]
    return f"every column was dropped ({reasons.iloc[0]})" if len(reasons) else "it has no column"
