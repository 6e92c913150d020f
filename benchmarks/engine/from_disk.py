"""Eighteen million cells fitted from disk, a hundred million scored: `python benchmarks/engine/from_disk.py`.

What a user would do: points of ten factors in memory, codes and blocks in files, a cross-validated path and a search
(`classic` without shifts), the relative risk of the grid as a GeoTIFF, and the same weights over a region of a hundred
million cells, strip by strip. Each half runs in a process of its own, whose peak memory is its own.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from problem import SHAPES, Problem
from processes import RESULTS, best_of, memory_gb

import rtmkc as rtm
from rtmkc.engine.blocks import Design
from rtmkc.engine.rows.stepwise import search_bic
from rtmkc.engine.sweeps import PoissonSweep
from rtmkc.engine.workers import Workers
from rtmkc.model.compute import FileBlocks

N_FACTORS = 10
FOLDER = Path(tempfile.gettempdir()) / "rtmkc-from-disk"


class Clock:
    """Seconds of consecutive steps."""

    def __init__(self) -> None:
        self.steps: dict[str, float] = {}
        self._started = time.perf_counter()

    def lap(self, name: str) -> None:
        """End a step."""
        now = time.perf_counter()
        self.steps[name] = now - self._started
        self._started = now
        print(f"{name}: {self.steps[name]:.1f} s, {memory_gb('VmHWM'):.2f} GB", file=sys.stderr, flush=True)


def incidents_of(problem: Problem) -> Any:
    """Return incidents as points: as many as cells say, each in the middle of its cell."""
    import geopandas as gpd

    cells = np.repeat(np.arange(problem.n_cells), problem.counts.astype(np.int64))
    grid = problem.grid
    row, column = np.divmod(cells, grid.n_columns)
    points = gpd.points_from_xy(grid.column_eastings[column], grid.row_northings[row])
    return gpd.GeoDataFrame(geometry=points, crs=grid.crs)


def fit(size: str) -> dict[str, Any]:
    """Fit a city from disk and write its scores."""
    small = Problem((60, 60), N_FACTORS)
    rtm.RiskTerrainModel("classic", shift_test=False).fit(small.grid, small.factors, incidents_of(small))
    problem = Problem(SHAPES[size], N_FACTORS)
    incidents = incidents_of(problem)
    problem.__dict__.pop("candidates")  # those that drew the incidents: the fit measures its own
    clock = Clock()
    grid, factors = problem.grid, problem.factors
    clock.lap("grid and points")
    candidates = rtm.build_candidates(grid, factors, store=FOLDER)
    clock.lap("measuring")
    model = rtm.RiskTerrainModel("classic", shift_test=False)
    model.fit(grid, candidates, incidents, store=FOLDER)
    clock.lap("fitting")
    rtm.write_relative_risk(FOLDER / "rrs.tif", model, overwrite=True)
    clock.lap("scoring and writing")
    peak, seconds = memory_gb("VmHWM"), sum(clock.steps.values())
    files = sum(path.stat().st_size for path in FOLDER.glob("codes-*"))
    found = {
        "n_cells": problem.n_cells, "columns": len(model.flags_.columns), "penalties": int(model.path_.lambdas.size),
        "sweeps": model.path_.n_sweeps, "steps_s": clock.steps, "seconds": seconds, "peak_gb": peak,
        "codes_gb": files / 1e9, "weights": model.weights_.loc[model.weights_.status == "in the model", ["factor", "rrv"]]
        .round(3).to_dict("records"),
    }  # fmt: skip
    return found | _kinds(problem, candidates, clock.steps["measuring"])


def score(size: str, scored: str) -> dict[str, Any]:
    """Fit a small city, and write the scores of a large one by its weights."""
    small, region = Problem(SHAPES[size], N_FACTORS), Problem(SHAPES[scored], N_FACTORS)
    model = rtm.RiskTerrainModel("classic", shift_test=False)
    model.fit(small.grid, small.factors, incidents_of(small))
    used = [factor for factor in region.factors if factor.name in model.flags_]
    frame = rtm.Frame.cover(
        rtm.StudyArea.from_geometry(_box(region.shape), crs=small.grid.crs),
        block_length=small.grid.block_length,
    )
    before = memory_gb("VmHWM")
    started = time.perf_counter()
    rtm.write_relative_risk(FOLDER / "region.tif", model, frame, used)
    seconds = time.perf_counter() - started
    return {
        "n_cells": region.n_cells, "factors": len(used), "seconds": seconds, "before_gb": before,
        "peak_gb": memory_gb("VmHWM"), "file_gb": (FOLDER / "region.tif").stat().st_size / 1e9,
    }  # fmt: skip


def _kinds(problem: Problem, candidates: Any, measuring: float) -> dict[str, float]:
    """Return seconds of the kinds of work that are measured in memory for other sizes, here from disk."""
    design = Design(candidates.codes, candidates.tables)
    groups = pd.factorize(candidates.columns["factor"])[0]
    folds = np.random.default_rng(5).integers(0, 5, problem.n_cells, dtype=np.int32)
    with tempfile.TemporaryDirectory(dir=FOLDER) as name, Workers(2).at_work() as workers:
        source = FileBlocks.write(Path(name), design, problem.counts, folds=folds)
        sums = PoissonSweep(design.tables, source, workers=workers)
        coefs, start = np.zeros((sums.n_lanes, sums.n_columns)), np.full(sums.n_lanes, -3.5)
        coefs[:, ::7] = 0.1
        sums(coefs, start)
        sweep, _ = best_of(lambda: sums(coefs, start), 3)
    search, chosen = best_of(
        lambda: search_bic(design, problem.counts, family="poisson", groups=groups, lower=0.0), 1
    )
    coef = np.zeros(design.n_columns)
    coef[list(chosen.columns)] = chosen.fit.coef
    scoring, _ = best_of(lambda: np.exp(design.linear(coef)), 3)
    rounds = len(chosen.steps) + 1
    return {
        "measuring": measuring, "sweep": sweep, "search": search, "step": search / rounds, "rounds": rounds,
        "scoring": scoring,
    }  # fmt: skip


def _box(shape: tuple[int, int]) -> Any:
    import shapely
    from problem import CELL_M

    return shapely.box(0.0, 0.0, shape[1] * CELL_M, shape[0] * CELL_M)


def main() -> None:
    """Measure both halves, each in a process of its own, and keep the result."""
    if len(sys.argv) > 1:
        print(json.dumps({"fit": fit, "score": score}[sys.argv[1]](*sys.argv[2:])))
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    try:
        found = _in_process("fit", "18M") | {"region": _in_process("score", "180k", "100M")}
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "from-disk.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(json.dumps(found, indent=1))


def _in_process(*words: str) -> dict[str, Any]:
    answer = subprocess.run([sys.executable, __file__, *words], check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(answer.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
