"""Measure what fits and runs take in memory and time, and print the prices that `estimate_cost` uses.

    python benchmarks/engine/cost.py

Every fit runs in a process of its own, in simulated cities of several sizes and numbers of factors, once with codes
and blocks in memory and once in files. Prices are fitted by non-negative least squares to relative errors; the worst
error of each is printed. Time is that of the processor: it depends less on what else runs on the machine.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

import rtmkc as rtm
from rtmkc.model.compute import FileBlocks
from rtmkc.model.cost import WORK, _variables_of

SHAPES = ((200, 225), (300, 400), (450, 400), (600, 900))
FACTORS = (3, 10)
KINDS = [(method, work) for work in WORK for method in ("classic", "guarded")]


def city_of(shape: tuple[int, int], n_factors: int) -> rtm.SimulatedCity:
    """Return a city with 3 % of cells hit and a feature in 180 cells."""
    n_cells = shape[0] * shape[1]
    return rtm.simulate_city(
        n_rows=shape[0], n_columns=shape[1], n_factors=n_factors, n_incidents=0.03 * n_cells,
        n_parents=n_cells / 180 / 8, n_children=8.0, random_state=0,
    )  # fmt: skip


def study_of(city: rtm.SimulatedCity, folder: Path) -> Path:
    """Write a city as the files of a study."""
    import geopandas as gpd

    gpd.GeoDataFrame({"name": ["city"]}, geometry=[city.area.geometry], crs=city.grid.crs).to_file(
        folder / "boundary.gpkg"
    )
    city.incidents.to_file(folder / "incidents.gpkg")
    lines = [
        "[study]", 'name = "city"', 'boundary = "boundary.gpkg"', f"block_length = {city.grid.block_length}",
        "[incidents]", 'file = "incidents.gpkg"', 'date = "date"', 'period = "2021/2023"', "[model]", "allow_later_factors = true",
    ]  # fmt: skip
    for number, (name, points) in enumerate(city.factor_points.items()):
        points.to_file(folder / f"factor{number}.gpkg")
        lines += [
            "[[factors]]",
            f'name = "{name}"',
            f'file = "factor{number}.gpkg"',
            'provenance = "environment"',
        ]
    (folder / "study.toml").write_text("\n".join(lines), encoding="utf-8")
    return folder / "study.toml"


def measure(method: str, work: str, shape: tuple[int, int], n_factors: int, in_files: bool) -> dict[str, Any]:
    """Run one kind of work in this process."""
    small = city_of((30, 30), 3)
    rtm.assess(
        small.grid, small.risk_factors(), small.incidents, allow_later_factors=True
    )  # compiled code is loaded
    city = city_of(shape, n_factors)
    factors = city.risk_factors(increment="half")
    written: list[int] = []
    write = FileBlocks.write.__func__  # type: ignore[attr-defined]

    def counted(cls: type, folder: Path, *rest: Any, **options: Any) -> FileBlocks:
        made = write(cls, folder, *rest, **options)
        written.append(sum(path.stat().st_size for path in folder.iterdir()))
        return made

    FileBlocks.write = classmethod(counted)  # type: ignore[assignment,method-assign]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = folder / "store" if in_files else None
        study = study_of(city, folder) if work == "run" else None
        started, busy = time.perf_counter(), time.process_time()
        if study is not None:
            made = rtm.Study.from_file(study)
            made.model.method = method  # type: ignore[assignment]
            rtm.run(made, folder / "results", store=store)
        elif work == "assess":
            rtm.assess(
                city.grid, factors, city.incidents, method=method, store=store, allow_later_factors=True,
            )  # fmt: skip
        else:
            model = rtm.RiskTerrainModel(method, shift_test=method == "guarded")
            model.fit(city.grid, factors, city.incidents, store=store, allow_later_factors=True)
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
        codes = sum(path.stat().st_size for path in (store or folder).glob("codes-*"))
    parts = [_variables_of(factor, city.grid) for factor in factors]
    used = [part[0] if work == "weights" else part[0] + part[1] for part in parts]
    return {
        "n_cells": city.grid.n_cells,
        "variables": sum(len(one) for one in used),
        "columns": sum(sum(one) for one in used),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "files": codes + max(written, default=0),
        "seconds": seconds,
        "processor_seconds": busy,
    }


def price(rows: list[dict[str, Any]], in_files: list[dict[str, Any]]) -> str:
    """Return the line of the price list, and the worst errors."""
    kept = float(np.median([row["files"] / row["n_cells"] / row["variables"] for row in in_files]))
    cells = np.array([row["n_cells"] for row in rows], dtype=float)
    variables = np.array([row["variables"] for row in rows], dtype=float)
    columns = np.array([row["columns"] for row in rows], dtype=float)
    peak = np.array([row["peak"] for row in rows], dtype=float)
    always = np.column_stack([np.ones(len(rows)) * 1e6, cells, cells * variables])
    bytes_of, _ = nnls(always / peak[:, None], (peak - kept * cells * variables) / peak)
    seconds = np.array([row["processor_seconds"] for row in rows])
    slow = np.column_stack([np.ones(len(rows)), cells, cells * columns])
    seconds_of, _ = nnls(slow / seconds[:, None], np.ones(len(rows)))
    memory_error = np.abs((always @ bytes_of + kept * cells * variables) / peak - 1).max()
    time_error = np.abs(slow @ seconds_of / seconds - 1).max()
    return (
        f"_Prices({bytes_of[0] * 1e6:.3g}, {bytes_of[1]:.3g}, {bytes_of[2]:.3g}, {kept:.3g}, {seconds_of[0]:.3g}, "
        f"{seconds_of[1]:.3g}, {seconds_of[2]:.3g}),  # memory within {100 * memory_error:.0f} %, time within {100 * time_error:.0f} %"
    )


def main() -> None:
    """Measure all, or one (given as JSON)."""
    if len(sys.argv) > 1:
        print(json.dumps(measure(**json.loads(sys.argv[1]))))
        return
    for method, work in KINDS:
        found: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
        for shape in SHAPES:
            for n_factors in FACTORS:
                for in_files in (False, True) if shape == SHAPES[1] else (False,):
                    asked = {
                        "method": method, "work": work, "shape": shape, "n_factors": n_factors, "in_files": in_files,
                    }  # fmt: skip
                    answer = subprocess.run(
                        [sys.executable, __file__, json.dumps(asked)],
                        check=True,
                        capture_output=True,
                        text=True,
                    )
                    found[in_files].append(json.loads(answer.stdout.splitlines()[-1]))
                    print(asked, found[in_files][-1], file=sys.stderr, flush=True)
        print(f'("{method}", "{work}"):', price(found[False], found[True]), flush=True)


if __name__ == "__main__":
    main()
