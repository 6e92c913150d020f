"""A fitted model as text, and its penalty path as a table: for those who want to see how it came about."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rtmkc.engine.path import PathFit
from rtmkc.model.weights import IN_MODEL

if TYPE_CHECKING:
    from rtmkc.model.why import RiskTerrainModel

SHOWN = ("factor", "kind", "influence_m", "rrv", "lower", "upper", "se", "inflation", "shift_p", "adjusted_p")


def summarise(model: "RiskTerrainModel") -> str:
    """Return what was fitted to what, the weights, and why other factors have none."""
    observations, candidates = model.observations_, model.candidates_
    weights = model.weights_
    inside = weights[weights["status"] == IN_MODEL]
    lines = [
        (
            f"Risk terrain model, {model.method}: {observations.n_incidents:,} incidents "
            f"{observations.period or 'of an unknown period'} in {candidates.grid.n_cells:,} cells of "
            f"{candidates.grid.cell_size:g} m"
        ),
        (
            f"{len(candidates.factors)} factors, {candidates.n_generated} columns generated, {candidates.n_columns} in use, "
            f"{model.n_kept_} kept by the elastic net; seed {model.random_state}"
        ),
    ]
    if model.noise_ is not None:
        noise = model.noise_
        reach = noise.range_cells * candidates.grid.cell_size
        lines.append(
            f"noise around the weights: log variance {noise.variance:.3g} over a range of {reach:,.0f} m, and "
            f"{noise.nugget:.3g} in single cells"
        )
    elif model.dispersion_ is not None:
        lines.append(f"family {model.family_}, sigma {model.dispersion_:.4g}")
    lines.append(f"intercept {model.intercept_:.4f} (log expected incidents of a cell without any factor)")
    lines.append("")
    if inside.empty:
        lines.append("No factor is in the model.")
    else:
        lines.append(
            inside[list(SHOWN)].to_string(index=False, float_format=lambda value: f"{value:.4g}", na_rep="-")
        )
    reached = inside.loc[inside["extent_set"] != "", ["factor", "extent_set"]]
    lines += ["", *(f"{factor}: not told from it are {extents}" for factor, extents in reached.to_numpy())]
    left_out = weights.loc[weights["status"] != IN_MODEL, ["factor", "status", "reason"]]
    lines += ["", *(f"{factor}: {status}; {reason}" for factor, status, reason in left_out.to_numpy())]
    lines += ["", *(f"- {note}" for note in model.notes_)]
    return "\n".join(lines).rstrip()


def path_table(path: PathFit | None) -> pd.DataFrame:
    """Return one row a penalty: how many columns it keeps, and its held-out deviance per cell."""
    names = ["penalty", "n_columns", "cv_deviance", "cv_se", "is_minimum", "is_one_se"]
    if path is None:
        return pd.DataFrame(columns=names)
    steps = np.arange(path.lambdas.size)
    return pd.DataFrame(
        {
            "penalty": path.lambdas,
            "n_columns": np.count_nonzero(path.coefs, axis=1),
            "cv_deviance": path.cv_mean,
            "cv_se": path.cv_se,
            "is_minimum": steps == path.best,
            "is_one_se": steps == path.one_se,
        }
    )
