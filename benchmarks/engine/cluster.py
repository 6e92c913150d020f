"""The same path by threads and by workers of Dask: bits, seconds, bytes a sweep; and with a worker killed half-way.

python benchmarks/engine/cluster.py 1.8M
"""

import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from problem import SHAPES, Problem
from processes import RESULTS

from rtmkc.engine.path import PathFit, fit_path, fit_path_on
from rtmkc.engine.workers import Workers
from rtmkc.model.compute import FileBlocks

N_LAMBDAS = 30
SAME = ("lambdas", "coefs", "intercepts", "objective", "kkt", "cv_deviance")


def measure(size: str) -> dict[str, Any]:
    """Fit a path of `N_LAMBDAS` penalties with five folds in threads, and by one and two workers."""
    from distributed import Client, LocalCluster

    small = Problem((60, 60))
    fit_path(small.design, small.counts, folds=small.folds, lower=0.0)
    problem = Problem(SHAPES[size])
    design, counts, folds = problem.design, problem.counts, problem.folds
    options: dict[str, Any] = {"lower": 0.0, "n_lambdas": N_LAMBDAS}
    started = time.perf_counter()
    alone = fit_path(design, counts, folds=folds, n_threads=2, **options)
    rows = [{"who": "two threads", "seconds": time.perf_counter() - started}]

    def same(path: PathFit) -> bool:
        return all(np.array_equal(getattr(path, name), getattr(alone, name)) for name in SAME)

    with (
        tempfile.TemporaryDirectory() as name,
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        started = time.perf_counter()
        source = FileBlocks.write(Path(name), design, counts, folds=folds)
        writing = time.perf_counter() - started
        addresses = list(client.scheduler_info()["workers"])
        for who, some in (("one worker", addresses[:1]), ("two workers", addresses)):
            executor = client.get_executor(workers=some)
            fit_path_on(
                source, design.tables, workers=Workers(executor=executor), **options | {"n_lambdas": 2}
            )
            workers = Workers(executor=executor)
            started = time.perf_counter()
            path = fit_path_on(source, design.tables, workers=workers, **options)
            passes = path.n_sweeps + path.n_hessians
            rows.append(
                {
                    "who": who,
                    "seconds": time.perf_counter() - started,
                    "same": same(path),
                    "sent": workers.bytes_sent / passes,
                    "received": workers.bytes_received / passes,
                }
            )
        killed: list[int] = []

        def kill(done: int, total: int) -> None:
            if done == total // 2:
                killed.append(next(iter(client.run(os.getpid).values())))
                os.kill(killed[0], signal.SIGKILL)

        started = time.perf_counter()
        path = fit_path_on(
            source, design.tables, workers=Workers(executor=client.get_executor()), progress=kill, **options
        )
        rows.append(
            {
                "who": "two workers, one killed half-way",
                "seconds": time.perf_counter() - started,
                "same": same(path),
            }
        )
    return {
        "n_cells": problem.n_cells, "columns": design.n_columns, "penalties": N_LAMBDAS, "sweeps": alone.n_sweeps,
        "hessians": alone.n_hessians, "blocks": source.n_blocks, "writing_s": writing, "rows": rows,
    }  # fmt: skip


def main() -> None:
    """Measure one size and keep the result."""
    found = measure(sys.argv[1] if len(sys.argv) > 1 else "1.8M")
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "cluster.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
