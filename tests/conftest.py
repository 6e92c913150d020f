"""What several test files share: a terrain drawn by hand, and one run of the demo."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely

from rtmkc.model.terrain import RiskTerrain
from rtmkc.raster.grid import Grid, StudyArea

CELL = 100.0
WEST, SOUTH = 362_000.0, 4_326_000.0


def draw_terrain(expected, *, flags=None, rrvs=None, environment=None, spot=None, count=None, area=None):
    """Return a terrain whose rasters are as given: cells of 100 m, north up, area history 1 everywhere.

    `expected` is a list of rows; `flags` maps a factor to such a list, `rrvs` to its relative risk value.
    `environment` takes the whole variation of `expected` unless `spot` says that history does.
    """
    expected = np.array(expected, dtype=float)
    n_rows, n_columns = expected.shape
    outline = area or shapely.box(WEST, SOUTH, WEST + n_columns * CELL, SOUTH + n_rows * CELL)
    grid = Grid.cover(StudyArea.from_geometry(outline, crs="EPSG:26915"), cell_size=CELL)
    assert (grid.n_rows, grid.n_columns) == (n_rows, n_columns)
    values = grid.to_vector(expected)
    mean = float(values.mean())
    ones = np.ones(grid.n_cells)
    spot_history = grid.to_vector(np.array(spot, dtype=float)) if spot is not None else ones
    flags = {
        name: grid.to_vector(np.array(rows, dtype=bool)) for name, rows in (flags or {}).items()
    }
    rrvs = rrvs or {}
    score = np.prod([np.where(flags[name], rrvs[name], 1.0) for name in flags], axis=0) if flags else ones
    weights = pd.DataFrame(
        [
            {
                "factor": name, "kind": "proximity", "influence_m": 200.0, "coef": np.log(rrv), "se": 0.1,
                "rrv": rrv, "lower": rrv / 1.2, "upper": rrv * 1.2, "n_cells": int(flags[name].sum()),
                "n_inside": 10, "status": "in the model", "reason": "",
            }
            for name, rrv in sorted(rrvs.items(), key=lambda item: -item[1])
        ]
        or [{"factor": "dumping", "status": "out", "reason": "not significant", "rrv": np.nan}]
    )  # fmt: skip
    terrain = RiskTerrain.__new__(RiskTerrain)
    terrain._fill(
        grid,
        {
            "share": grid.share,
            "count": grid.to_vector(np.array(count)) if count is not None else np.zeros(grid.n_cells),
            "exposure": ones,
            "rrs": score / score.min(),
            "environment": values / mean / spot_history,
            "area_history": ones,
            "spot_history": spot_history,
            "expected": mean * (values / mean / spot_history) * spot_history,
            "lower": 0 * ones,
            "upper": np.ceil(3 * values),
        },
        {name: flags[name] for name in rrvs},
        weights,
        pd.DataFrame({"factor": []}),
        mean,
        90,
        {"n_incidents": 12, "period": "2021-01-01/2021-12-31"},
    )
    return terrain


@pytest.fixture(scope="session")
def drawn():
    """The function that draws a terrain by hand."""
    return draw_terrain


def rtmkc(*arguments, cwd=None, **environment):
    """Run the command as a user does, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "rtmkc.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="session")
def command():
    """The function that runs `rtmkc` in a process of its own."""
    return rtmkc


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """One run of the demo with the clock fixed: its folder, what it printed, and what its JSON says."""
    folder = tmp_path_factory.mktemp("demo")
    done = rtmkc("demo", "-o", "results", "--json", cwd=folder, SOURCE_DATE_EPOCH="1700000000")
    done.folder = folder / "results"
    with contextlib.suppress(ValueError):
        done.json = json.loads(done.stdout)
    done.manifest = json.loads(Path(done.folder / "manifest.json").read_text(encoding="utf-8"))
    return done
