"""What a cell costs, from a city to a country: measuring, a sweep, a step of the search, a score."""

import time
from typing import Any

import numpy as np
from floor import coefficients
from processes import best_of, memory_gb

N_FACTORS = 10


def costs(shape: tuple[int, int], n_threads: int = 2) -> dict[str, Any]:
    """Measure a city of `N_FACTORS` factors in memory; seconds of each kind of work."""
    import pandas as pd
    from problem import Problem

    from rtmkc.engine.rows.stepwise import search_bic
    from rtmkc.raster.candidates import build_candidates

    small = Problem((60, 60), N_FACTORS)
    search_bic(
        small.design,
        small.counts,
        family="poisson",
        groups=np.zeros(small.design.n_columns, dtype=int),
        lower=0.0,
    )
    problem = Problem((shape[0], shape[1]), N_FACTORS)
    n_cells = problem.n_cells
    _ = problem.grid, problem.factors
    repeats = 3 if n_cells < 1_000_000 else 1
    measuring, candidates = best_of(lambda: build_candidates(problem.grid, problem.factors), repeats)
    problem.__dict__["candidates"] = candidates  # not measured once more
    measured_gb = memory_gb("VmHWM")
    design, counts = problem.design, problem.counts
    building, sweep = _sweep(problem, n_threads, repeats)
    groups = pd.factorize(candidates.columns["factor"])[0]
    search, found = best_of(
        lambda: search_bic(design, counts, family="poisson", groups=groups, lower=0.0), repeats
    )
    coef = np.zeros(design.n_columns)
    coef[list(found.columns)] = found.fit.coef

    def scores() -> np.ndarray:
        eta = design.linear(coef)
        return np.asarray(np.exp(eta - eta.min()))

    scoring, _ = best_of(scores, 5)
    rounds = len(found.steps) + 1
    return {
        "n_cells": n_cells, "seconds": measuring + building + sweep + search + scoring, "measuring": measuring,
        "building": building, "sweep": sweep, "search": search, "step": search / rounds, "rounds": rounds,
        "columns": len(found.columns), "scoring": scoring, "measured_gb": measured_gb,
    }  # fmt: skip


def _sweep(problem: Any, n_threads: int, repeats: int) -> tuple[float, float]:
    """Return the seconds of cutting the cells into blocks, and of one sweep of six fits over them."""
    from rtmkc.engine.blocks import MemoryBlocks
    from rtmkc.engine.sweeps import PoissonSweep
    from rtmkc.engine.workers import Workers

    folds = np.random.default_rng(5).integers(0, 5, problem.n_cells, dtype=np.int32)
    started = time.perf_counter()
    source = MemoryBlocks.build(problem.design, problem.counts, folds=folds, n_threads=n_threads)
    building = time.perf_counter() - started
    with Workers(n_threads).at_work() as team:
        sums = PoissonSweep(problem.design.tables, source, workers=team)
        coefs, start = coefficients(sums.n_lanes, sums.n_columns)
        sums(coefs, start)
        sweep, _ = best_of(lambda: sums(coefs, start), 7)
    return building, sweep
