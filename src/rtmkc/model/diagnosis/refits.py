"""A fitted model, fitted again: to other incidents, to some cells, at another price of a parameter."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rtmkc.engine.rows.collapse import collapse
from rtmkc.engine.rows.families import GlmFit
from rtmkc.engine.rows.stepwise import search_bic
from rtmkc.engine.sweeps import Design
from rtmkc.model.selection import MIN_INCIDENTS, enough_incidents, incidents_inside, sign_bounds
from rtmkc.model.why import RiskTerrainModel
from rtmkc.raster.candidates import Candidates
from rtmkc.raster.grid import Grid


@dataclass(frozen=True, eq=False)
class Refits:
    """The columns and the data of a fitted model.

    Attributes
    ----------
    model : RiskTerrainModel
        Fitted; it may have no factor.
    grid, candidates, design
        What it was fitted on.
    counts : ndarray of float, shape (n_cells,)
        Incidents.
    offset : ndarray of float, shape (n_cells,)
        Log of what the model expects without its factors: level, exposure, and covariates as they were fitted.
    factors : tuple of str
        The factors in the model.
    columns : tuple of int
        Their columns, by number in the candidates.
    rrvs : ndarray of float, shape (n_factors,)
        Their relative risk values.
    """

    model: RiskTerrainModel
    grid: Grid
    candidates: Candidates
    design: Design
    counts: np.ndarray
    offset: np.ndarray
    factors: tuple[str, ...]
    columns: tuple[int, ...]
    rrvs: np.ndarray

    @classmethod
    def of(cls, model: RiskTerrainModel) -> "Refits":
        """Take from a fitted model what a refit needs."""
        candidates, observations = model.candidates_, model.observations_
        factors = tuple(model.flags_.columns)
        rrvs = model.weights_.set_index("factor")["rrv"].reindex(list(factors)).to_numpy(dtype=float)
        return cls(
            model=model,
            grid=observations.grid,
            candidates=candidates,
            design=Design(candidates.codes, candidates.tables),
            counts=observations.counts.astype(float),
            offset=np.log(model.predict()) - model.flags_.to_numpy(dtype=float) @ np.log(rrvs),
            factors=factors,
            columns=tuple(_column_of(candidates, name, model.flags_[name].to_numpy()) for name in factors),
            rrvs=rrvs,
        )

    @property
    def is_calibrated(self) -> bool:
        """Whether the method allows for noise that places share, in its weights and intervals."""
        return self.model.method != "classic"

    @property
    def n_incidents(self) -> int:
        """Incidents the model was fitted to."""
        return int(self.counts.sum())

    def fit(
        self, family: str, *, counts: np.ndarray | None = None, cells: np.ndarray | None = None
    ) -> GlmFit | None:
        """Fit the columns of the model to other counts, or to some cells.

        Parameters
        ----------
        family : {"poisson", "nb1"}
        counts : ndarray of float, shape (n_cells,), optional
        cells : ndarray of bool, shape (n_cells,), optional

        Returns
        -------
        GlmFit or None
            None if a column is left with fewer than `MIN_INCIDENTS` incidents inside or outside.
        """
        kept = slice(None) if cells is None else cells
        y = (self.counts if counts is None else counts)[kept]
        variables = self.design.column_variable[list(self.columns)]
        own = Design(
            tuple(self.design.codes[variable][kept] for variable in variables),
            tuple(self.design.level_values(column)[:, None] for column in self.columns),
        )
        inside = incidents_inside(own, y)
        if not y.sum() or (np.minimum(inside, y.sum() - inside) < MIN_INCIDENTS).any():
            return None
        fit = collapse(own, range(len(self.columns)), y, self.offset[kept], family).fit()
        return None if fit.separated else fit

    def changes(
        self, *, counts: np.ndarray | None = None, cells: np.ndarray | None = None
    ) -> dict[str, tuple[float, float]]:
        """Return the RRV of every factor in the model, and what becomes of it; empty if that cannot be told.

        The model's RRV is moved by the ratio of two refits, with and without the change: the same as a refit where the
        method is maximum likelihood, and close to one where it is not.
        """
        before, after = (
            self.fit(self.model.family_, **which) for which in ({}, {"counts": counts, "cells": cells})
        )
        if before is None or after is None:
            return {}
        moved = self.rrvs * np.exp(after.coef - before.coef)
        pairs = zip(self.rrvs.tolist(), moved.tolist(), strict=True)
        return dict(zip(self.factors, pairs, strict=True))

    def screened(self) -> np.ndarray:
        """Return the columns that passed the screen of the model."""
        path = self.model.path_
        if path is None:
            return np.zeros(0, dtype=np.int64)
        return np.flatnonzero(path.coefs[path.best if self.model.selection == "minimum" else path.one_se])

    def search(
        self, columns: np.ndarray, *, counts: np.ndarray | None = None, n_for_bic: int | None = None
    ) -> set[int]:
        """Return the columns at which the model's search by BIC ends.

        Parameters
        ----------
        columns : ndarray of int
            Those that may enter, if they have enough incidents.
        counts : ndarray of float, shape (n_cells,), optional
            Other incidents.
        n_for_bic : int, optional
            A parameter costs its logarithm; the number of cells by default.
        """
        y, bic = self.counts if counts is None else counts, self.model.bic_
        lower, upper = sign_bounds(self.candidates)
        found = search_bic(
            self.design,
            y,
            family=str(bic["family"].iloc[int(bic["bic"].argmin())]),
            groups=pd.factorize(self.candidates.columns["factor"])[0],
            candidates=columns[enough_incidents(self.design, y)[columns]],
            lower=lower,
            upper=upper,
            offset=self.offset,
            n_for_bic=n_for_bic,
            swaps=self.is_calibrated,  # the published search does not exchange columns
        )
        return set(found.columns)


def _column_of(candidates: Candidates, factor: str, flags: np.ndarray) -> int:
    """The kind and the distance do not tell: columns of a raster share both."""
    own = np.flatnonzero(candidates.columns["factor"] == factor)
    return next(int(number) for number in own if np.array_equal(candidates.column(int(number)), flags))
