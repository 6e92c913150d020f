"""The search by BIC over all candidates, and the fits that statsmodels would need for it."""

import time
import warnings
from typing import Any

import numpy as np
from city import City
from processes import best_of, memory_gb

LOWER = 0.0


def counts_of(data: City, family: str) -> np.ndarray:
    """Return Poisson counts, or overdispersed ones for a negative binomial model."""
    return data.counts if family == "poisson" else data.dispersed


def ours(city: str, family: str, repeats: int = 3) -> dict[str, Any]:
    """Measure the library's search over all columns, from the null, until no change lowers BIC."""
    from rtmkc.engine.rows.stepwise import search_bic

    data = City(city)
    warm_up = seconds_of_few(data, family)
    design, counts, groups = data.design, counts_of(data, family), data.groups
    before = memory_gb("VmRSS")
    seconds, found = best_of(
        lambda: search_bic(design, counts, family=family, groups=groups, lower=LOWER), repeats
    )
    columns = [int(column) for column in found.columns]
    return {
        "seconds": seconds, "warm_up": warm_up, "before_gb": before, "columns": columns, "n_fits": found.n_fits,
        "steps": len(found.steps), "log_likelihood": found.fit.log_likelihood, "bic": found.bic,
        "coef": np.asarray(found.fit.coef).tolist(), "intercept": float(found.fit.intercept),
    }  # fmt: skip


def seconds_of_few(data: City, family: str) -> float:
    """Return the seconds of a search on a few cells: what compiling, or loading compiled code, takes."""
    from rtmkc.engine.rows.stepwise import search_bic

    few = data.few()
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search_bic(few.design, counts_of(few, family), family=family, groups=data.groups, lower=LOWER)
    return time.perf_counter() - started


def statsmodels_fits(city: str, family: str, columns: list[int], every: int = 1) -> dict[str, Any]:
    """Measure statsmodels: the first step of additions, one fit a candidate, and a refit of our final model.

    Parameters
    ----------
    columns : list of int
        Those of the final model.
    every : int
        Fit every so many of the candidates only.
    """
    import statsmodels
    from statsmodels.discrete.discrete_model import NegativeBinomial, Poisson

    data = City(city)
    counts = counts_of(data, family)

    def fit(matrix: np.ndarray) -> Any:
        full = np.column_stack([np.ones(counts.size), matrix])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if family == "poisson":
                return Poisson(counts, full).fit(disp=0, maxiter=100)
            return NegativeBinomial(counts, full, loglike_method=family).fit(disp=0, maxiter=200)

    before = memory_gb("VmRSS")
    tried = range(0, sum(table.shape[1] for table in data.tables), every)
    seconds, best = 0.0, -np.inf
    for number in tried:
        column = data.column(number).astype(float)
        started = time.perf_counter()
        one = fit(column[:, np.newaxis])
        seconds += time.perf_counter() - started
        best = max(best, float(one.llf))
    chosen = np.column_stack([data.column(column) for column in columns]).astype(float)
    started = time.perf_counter()
    final = fit(chosen)
    last = time.perf_counter() - started
    parameters = len(final.params)
    return {
        "seconds": seconds, "n_fits": len(tried), "per_fit": seconds / len(tried), "final_fit": last,
        "before_gb": before, "log_likelihood": float(final.llf),
        "bic": float(-2 * final.llf + parameters * np.log(counts.size)), "best_first": best,
        "version": statsmodels.__version__,
    }  # fmt: skip
