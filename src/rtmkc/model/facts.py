"""What every output must say of a fit: n, period, cells, system, methods, seeds, notes."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rtmkc.model.where import RiskForecast
from rtmkc.model.why import RiskTerrainModel

CANNOT_KNOW = (
    "A weight is an association in these data; removing a factor need not remove the risk.",
    "It knows reported incidents only: places where people report less look safer than they are.",
    "It knows only the factors it was given.",
)


def facts_of(why: RiskTerrainModel, where: RiskForecast) -> dict[str, Any]:
    grid, observations = why.candidates_.grid, why.observations_
    hot = where.history_.parameters.hot
    features, gain = why.candidates_.features, where.gain_over_history_
    return {
        "n_incidents": observations.n_incidents,
        "period": str(observations.period) if observations.period else None,
        "period_days": observations.period.days if observations.period else None,
        "n_cells": grid.n_cells,
        "n_cells_with_incidents": int((observations.counts > 0).sum()),
        "cell_size_m": grid.cell_size,
        "block_length_m": grid.block_length,
        "area_km2": grid.area.area_m2 / 1e6,
        "crs": grid.crs.to_string(),
        "crs_name": grid.crs.name,
        "exposure": observations.exposure.statement,
        "timing": why.timing_,
        "why": {
            "method": why.method,
            "family": why.family_,
            "intercept": why.intercept_,
            "dispersion": why.dispersion_,
            "noise": _noise(why),
            "fold_block_m": why.fold_block_m_,
            "bic": records(why.bic_),
            "runner_ups": records(why.runner_ups_),
            "n_generated": why.candidates_.n_generated,
            "n_dropped": len(why.candidates_.dropped),
            "n_kept": why.n_kept_,
            "seed": why.random_state,
            "notes": list(why.notes_),
        },
        "where": {
            "tempering": where.history_.tempering,
            "widths_m": list(where.history_.widths_m),
            "strengths": list(where.history_.strengths),
            "decay_days": _finite(where.history_.parameters.decay_days),
            "hot_cells": None
            if hot is None
            else {"share": hot.share, "lift": hot.lift, "strength": hot.strength},
            "drift": where.history_.drift,
            "history_horizons": float(where.history_.counts.sum() / where.expected_.sum()),
            "gain": where.gain_statement_,
            "gain_nats": [_finite(value) for value in (gain.nats, gain.lower, gain.upper)],
            "uses_curves": where.uses_curves_,
            "seed": where.random_state,
            "notes": list(where.notes_),
        },
        "factors": [
            {
                "name": name,
                "provenance": found.layer.provenance,
                "period": str(found.layer.period) if found.layer.period else None,
                "n_inside": found.n_inside,
                "n_beyond": found.n_beyond,
                "source": Path(found.layer.source).name,
                "notes": list(found.layer.notes),
            }
            for name, found in features.items()
        ],
        "cannot_know": list(CANNOT_KNOW),
    }


def records(table: pd.DataFrame) -> dict[str, Any]:
    """A table as JSON: NaN becomes null and infinity text, which JSON cannot hold."""
    rows = [
        {
            name: None if pd.isna(value) else ("inf" if value == np.inf else value)
            for name, value in row.items()
        }
        for row in table.astype(object).to_dict("records")
    ]
    return {"columns": list(table.columns), "rows": rows}


def _noise(why: RiskTerrainModel) -> dict[str, float] | None:
    """Patches of risk around the weights, with the range in metres."""
    noise = why.noise_
    if noise is None:
        return None
    cell = why.candidates_.grid.cell_size
    return {"variance": noise.variance, "range_m": noise.range_cells * cell, "nugget": noise.nugget}


def _finite(value: float) -> float | None:
    """JSON has no infinity and no NaN."""
    return float(value) if math.isfinite(value) else None
