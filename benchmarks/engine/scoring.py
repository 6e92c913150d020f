"""Scores of all cells from codes, against a numpy product of the 0/1 columns."""

from typing import Any

import numpy as np
from city import City
from processes import best_of, memory_gb

REPEATS = 7


def from_codes(city: str, columns: list[int], coef: list[float]) -> dict[str, Any]:
    """Measure the relative risk score as the library takes it of a fitted model: flags by codes, then their sum."""
    from rtmkc.model.why import relative_risk_score

    data = City(city)
    design, weights = data.design, np.array(coef)
    before = memory_gb("VmRSS")
    seconds, score = best_of(
        lambda: relative_risk_score(
            np.column_stack([design.column(column) > 0 for column in columns]), weights
        ),
        REPEATS,
    )
    return {"seconds": seconds, "before_gb": before, **_summary(score)}


def every_column_from_codes(city: str) -> dict[str, Any]:
    """Measure the score by all columns of the best penalty, through the tables."""
    data = City(city)
    design, coef = data.design, best_coef(data)
    before = memory_gb("VmRSS")

    def work() -> np.ndarray:
        eta = design.linear(coef)
        return np.asarray(np.exp(eta - eta.min()))

    seconds, score = best_of(work, REPEATS)
    return {"seconds": seconds, "before_gb": before, **_summary(score)}


def by_product(city: str, columns: list[int], coef: list[float]) -> dict[str, Any]:
    """Measure the product of ``rrv ** column`` over 0/1 columns that are in memory already."""
    data = City(city)
    flags = np.column_stack([data.column(column) for column in columns]).astype(np.uint8)
    rrv = np.exp(coef)
    before = memory_gb("VmRSS")

    def work() -> np.ndarray:
        score = np.prod(np.where(flags, rrv, 1.0), axis=1)
        return np.asarray(score / score.min())

    seconds, score = best_of(work, REPEATS)
    return {"seconds": seconds, "before_gb": before, **_summary(score)}


def every_column_by_product(city: str) -> dict[str, Any]:
    """Measure the same score as a matrix product of all 0/1 columns, in double precision, in memory already."""
    data = City(city)
    coef = best_coef(data)
    matrix = np.empty((data.counts.size, coef.size))
    for number in range(coef.size):
        matrix[:, number] = data.column(number)
    before = memory_gb("VmRSS")

    def work() -> np.ndarray:
        eta = matrix @ coef
        return np.asarray(np.exp(eta - eta.min()))

    seconds, score = best_of(work, REPEATS)
    return {"seconds": seconds, "before_gb": before, **_summary(score)}


def best_coef(data: City) -> np.ndarray:
    """Return the coefficients of the path at the penalty of least held-out deviance."""
    n_columns = sum(table.shape[1] for table in data.tables)
    mean = np.fromfile(data.path("mean-ours-cv.f8"))
    points = np.fromfile(data.path("path-ours-cv.f8")).reshape(-1, 2 + n_columns)
    return np.asarray(points[int(np.argmin(mean)), 2:])


def _summary(score: np.ndarray) -> dict[str, float]:
    return {"sum": float(score.sum()), "most": float(score.max())}
