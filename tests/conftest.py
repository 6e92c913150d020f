"""What test files share: terrains made by hand, of which every number is known and nothing is fitted."""

import os

# Systems of a dozen equations gain nothing from threads of the linear algebra, and on a loaded machine these wait for
# each other longer than they work. Set before numpy is imported; processes that tests start have it too.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import shapely

from rtmkc.datasets import sample_path
from rtmkc.errors import DataWarning
from rtmkc.model.facts import CANNOT_KNOW
from rtmkc.model.terrain import RiskTerrain, assess
from rtmkc.model.weights import COLUMNS as WEIGHT_COLUMNS
from rtmkc.model.why import GUARDED_INTERVAL
from rtmkc.raster.grid import Grid, StudyArea
from rtmkc.workflow.study import Study

WEST, SOUTH = 362_000.0, 4_326_000.0
CURVE_COLUMNS = [
    "factor", "kind", "bandwidth_m", "from_m", "to_m", "from_density", "to_density", "multiplier",
]  # fmt: skip
GUARDED = {
    "extent_set": "proximity 100 m (328 ft), 200 m (656 ft), 300 m (984 ft); density 100 m (328 ft)",
    "inflation": 2.1,
    "design_effect": 2.6,
    "poisson_rrv": 2.1,
}


def made_terrain(
    *,
    factors: Sequence[str] = ("poor lighting", "vacant houses"),
    rrvs: Sequence[float] = (2.4, 2.7, 1.6, 1.3),
    n_rows: int = 24,
    n_columns: int = 30,
    environment: np.ndarray | None = None,
    curves: Sequence[dict[str, Any]] = (),
    method: str = "classic",
    **facts: Any,
) -> RiskTerrain:
    """Make a terrain of 100 m cells over a rectangle, with two bumps of risk and flags drawn by seed 0.

    Beside the factors of the model "bus stops" are not in it, and with method "guarded" "liquor stores" are not decided.
    """
    size = 100.0
    outline = shapely.box(WEST, SOUTH, WEST + n_columns * size, SOUTH + n_rows * size)
    area = StudyArea.from_geometry(outline, crs="EPSG:26915", name="Northeast")
    grid = Grid.cover(area, block_length=200.0, cell_size=size)
    random = np.random.default_rng(0)
    if environment is None:
        east, south = grid.columns / n_columns, grid.rows / n_rows
        bumps = ((8, 0.2, 0.3), (20, 0.7, 0.6))
        environment = 0.3 + sum(
            height * np.exp(-((east - x) ** 2 + (south - y) ** 2) / 0.01) for height, x, y in bumps
        )
    area_history = 0.8 + 0.4 * random.random(grid.n_cells)
    spot_history = 0.5 + random.random(grid.n_cells)
    environment = environment / (environment * area_history * spot_history).mean()
    city_mean = 0.03125
    expected = city_mean * environment * area_history * spot_history
    flags = {name: random.random(grid.n_cells) < 0.3 for name in factors}
    score = np.ones(grid.n_cells)
    for name, rrv in zip(factors, rrvs, strict=False):
        score = score * np.where(flags[name], rrv, 1.0)
    counts = np.floor(expected * 12)
    terrain = RiskTerrain.__new__(RiskTerrain)
    terrain._fill(
        grid,
        {
            "share": grid.share,
            "count": counts,
            "exposure": np.ones(grid.n_cells),
            "rrs": score / score.min(),
            "environment": environment,
            "area_history": area_history,
            "spot_history": spot_history,
            "expected": expected,
            "lower": np.floor(expected / 3),
            "upper": np.ceil(3 * expected + 1),
            "rate_sd": expected / 2,
            "neighbourhood": expected / spot_history,
        },
        flags,
        _weights(factors, rrvs, flags, method),
        pd.DataFrame(list(curves), columns=CURVE_COLUMNS),
        city_mean,
        90,
        _facts(grid, counts, factors, method) | facts,
    )
    return terrain


def _weights(
    factors: Sequence[str], rrvs: Sequence[float], flags: dict[str, np.ndarray], method: str
) -> pd.DataFrame:
    guarded = method == "guarded"
    reason = "fits better where it is" if guarded else "entered the model by BIC"
    rows: list[dict[str, Any]] = [
        {
            "factor": name,
            "kind": ("proximity", "density")[number % 2],
            "influence_m": 200.0 * (number % 3 + 1),
            "coef": np.log(rrv),
            "se": 0.1,
            "rrv": rrv,
            "lower": rrv / 1.2,
            "upper": rrv * 1.2,
            "shift_p": 0.001,
            "adjusted_p": 0.004,
            "n_effective_shifts": 120.0,
            "n_cells": float(flags[name].sum()),
            "n_inside": 120.0,
            "status": "in the model",
            "reason": reason,
        }
        | (GUARDED if guarded else {"extent_set": ""})
        for number, (name, rrv) in enumerate(zip(factors, rrvs, strict=False))
    ]
    rows.append(
        {
            "factor": "bus stops", "extent_set": "", "shift_p": 0.21, "adjusted_p": 0.42, "n_effective_shifts": 90.0,
            "status": "not in the model", "reason": "the model is better without it, by BIC",
        }
    )  # fmt: skip
    if guarded:
        rows[-1]["reason"] = "it fits no better where it is than where it is moved to"
        rows.append(
            {
                "factor": "liquor stores", "extent_set": "", "shift_p": 0.02, "adjusted_p": 0.03,
                "n_effective_shifts": 12.0, "status": "not decided",
                "reason": "the map is too small to decide: 12 independent shifts, below 20",
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=WEIGHT_COLUMNS)


def _facts(grid: Grid, counts: np.ndarray, factors: Sequence[str], method: str) -> dict[str, Any]:
    guarded = method == "guarded"
    return {
        "n_incidents": int(counts.sum()),
        "period": "2021-01-01/2023-12-31",
        "period_days": 1095,
        "n_cells": grid.n_cells,
        "n_cells_with_incidents": int((counts > 0).sum()),
        "cell_size_m": grid.cell_size,
        "block_length_m": grid.block_length,
        "area_km2": grid.area.area_m2 / 1e6,
        "crs": grid.crs.to_string(),
        "crs_name": grid.crs.name,
        "exposure": "not adjusted for how busy places are",
        "timing": "all factors precede the incidents",
        "why": {
            "method": method,
            "family": "poisson" if guarded else "nb1",
            "intercept": -3.2,
            "dispersion": None if guarded else 1.7,
            "noise": {"variance": 0.4, "range_m": 1150.0, "nugget": 0.5} if guarded else None,
            "fold_block_m": 3450.0 if guarded else None,
            "bic": {
                "columns": [],
                "rows": [{"family": "nb1", "bic": 900.0, "null_bic": 950.0, "n_factors": 2}],
            },
            "runner_ups": {"columns": [], "rows": []},
            "n_generated": 18,
            "n_dropped": 2,
            "n_kept": 5,
            "seed": 7,
            "notes": [
                "1 holes smaller than a cell closed",
                GUARDED_INTERVAL if guarded else "95 % Wald intervals, too narrow",
            ],
        },
        "where": {
            "tempering": 0.8,
            "widths_m": [500.0, 125.0, 0.0],
            "strengths": [4.0, 2.0, 1.0],
            "decay_days": None,
            "drift": 0.1,
            "hot_cells": None,
            "history_horizons": 12.0,
            "gain": "None of the incidents could be held out, so that what the factors add to history is not known.",
            "gain_nats": [None, None, None],
            "uses_curves": True,
            "seed": 8,
            "notes": ["90 % gamma-Poisson predictive intervals"],
        },
        "factors": [
            {
                "name": name,
                "provenance": "community-reported",
                "period": "2020-01-01/2020-12-31",
                "n_inside": 340,
                "n_beyond": 12,
                "source": "requests.csv",
                "notes": ["12 rows at (0, 0) left out"],
            }
            for name in (*factors, "bus stops")
        ],
        "cannot_know": list(CANNOT_KNOW),
    }


@pytest.fixture(scope="session", autouse=True)
def _headless() -> None:
    mpl.use("Agg")


@pytest.fixture(scope="session")
def sample_terrain() -> RiskTerrain:
    """The terrain of the sample, by the classic procedure, which is quicker."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # rows without a place
        study = Study.from_file(sample_path("study.toml"))
        return assess(study.grid(), study.risk_factors(), study.read("incidents"), method="classic")


@pytest.fixture(scope="session")
def make_terrain() -> Callable[..., RiskTerrain]:
    """Return the maker of terrains."""
    return made_terrain
