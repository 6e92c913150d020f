"""Which columns may matter: a cross-validated elastic net screens, a search by BIC chooses."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from rtmkc.engine.path import PathFit
from rtmkc.engine.rows.stepwise import StepwiseFit, search_bic
from rtmkc.engine.sweeps import Design
from rtmkc.model.compute import Compute
from rtmkc.raster.candidates import Candidates

MIN_INCIDENTS = 10
"""Incidents a column must have inside and outside to carry a weight."""
FAMILIES = {"poisson": "Poisson", "nb1": "negative binomial (NB1, variance = mean x (1 + sigma))"}


@dataclass(frozen=True)
class Screen:
    """Settings of the elastic net, and where it is computed."""

    l1_ratio: float
    n_lambdas: int
    selection: str
    compute: Compute = field(default_factory=Compute)


@dataclass(frozen=True, eq=False)
class Selection:
    """What screen and search found, step by step."""

    usable: np.ndarray
    path: PathFit | None
    kept: np.ndarray
    searches: dict[str, StepwiseFit]
    chosen: StepwiseFit


def select_columns(
    screen: Screen,
    candidates: Candidates,
    counts: np.ndarray,
    offset: np.ndarray | None,
    folds: np.ndarray,
    *,
    swaps: bool,
    progress: Callable[[int, int], None] | None = None,
) -> Selection:
    """Screen the candidates by a cross-validated elastic net, then search by BIC in both families."""
    design = Design(candidates.codes, candidates.tables)
    counts = counts.astype(float)
    lower, upper = sign_bounds(candidates)

    usable = enough_incidents(design, counts)
    path, kept = None, np.zeros(0, dtype=np.int64)
    # Where one fold holds all incidents nothing can be held out.
    if usable.any() and np.bincount(folds, weights=counts).max() < counts.sum():
        path = screen.compute.fit_path(
            design,
            counts,
            offset=offset,
            folds=folds,
            l1_ratio=screen.l1_ratio,
            n_lambdas=screen.n_lambdas,
            lower=np.where(usable, lower, 0.0),
            upper=np.where(usable, upper, 0.0),
            progress=progress,
        )
        kept = np.flatnonzero(path.coefs[path.best if screen.selection == "minimum" else path.one_se])
    groups = pd.factorize(candidates.columns["factor"])[0]
    searches = {
        family: search_bic(
            design,
            counts,
            family=family,
            groups=groups,
            candidates=kept,
            lower=lower,
            upper=upper,
            offset=offset,
            swaps=swaps,
        )
        for family in FAMILIES
    }
    best = min(searches, key=lambda family: searches[family].bic)
    if searches[best].fit.at_boundary:
        best = "poisson"  # dispersion at its boundary: NB1 is the Poisson model with a parameter too many
    return Selection(usable, path, kept, searches, searches[best])


def sign_bounds(candidates: Candidates) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper bounds of the coefficients that the factors' directions allow."""
    direction = candidates.columns["direction"].to_numpy()
    return np.where(direction == "aggravating", 0.0, -np.inf), np.where(
        direction == "protective", 0.0, np.inf
    )


def enough_incidents(design: Design, counts: np.ndarray) -> np.ndarray:
    """Return which columns have at least `MIN_INCIDENTS` incidents both inside and outside."""
    inside = incidents_inside(design, counts)
    return np.minimum(inside, counts.sum() - inside) >= MIN_INCIDENTS


def incidents_inside(design: Design, counts: np.ndarray) -> np.ndarray:
    """Return the incidents in the flagged cells of every column; shape (n_columns,)."""
    busy = np.flatnonzero(counts)
    return np.concatenate(
        [
            table.T @ np.bincount(codes[busy], weights=counts[busy], minlength=len(table))
            for codes, table in zip(design.codes, design.tables, strict=True)
        ]
        or [np.zeros(0)]
    )
