"""A fitted model, fitted again: to other incidents, to some cells, at another price of a parameter."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rtmkc.engine.collapse import collapse
from rtmkc.engine.families import GlmFit
from rtmkc.engine.stepwise import search_bic
from rtmkc.engine.sweeps import Design
from rtmkc.model.why import MIN_INCIDENTS, RiskTerrainModel, incidents_inside, sign_bounds
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
    counts, offset : ndarray of float, shape (n_cells,)
        Incidents, and log exposure.
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
        return cls(
            model=model,
            grid=observations.grid,
            candidates=candidates,
            design=Design(candidates.codes, candidates.tables),
            counts=observations.counts.astype(float),
            offset=np.log(observations.exposure.values),
            factors=factors,
            columns=tuple(_column_of(candidates, name, model.flags_[name].to_numpy()) for name in factors),
            rrvs=model.weights_.set_index("factor")["rrv"].reindex(list(factors)).to_numpy(dtype=float),
        )

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
        kept = np.ones(self.grid.n_cells, dtype=bool) if cells is None else cells
        y = (self.counts if counts is None else counts)[kept]
        design = Design(tuple(codes[kept] for codes in self.design.codes), self.design.tables)
        inside = incidents_inside(design, y)[list(self.columns)]
        if not y.sum() or (np.minimum(inside, y.sum() - inside) < MIN_INCIDENTS).any():
            return None
        fit = collapse(design, self.columns, y, self.offset[kept], family).fit()
        return None if fit.separated else fit

    def changes(
        self, *, counts: np.ndarray | None = None, cells: np.ndarray | None = None
    ) -> dict[str, tuple[float, float]]:
        """Return the RRV of every factor in the model and in a refit of its family; empty if that cannot be."""
        refit = self.fit(self.model.family_, counts=counts, cells=cells)
        if refit is None:
            return {}
        pairs = zip(self.rrvs.tolist(), np.exp(refit.coef).tolist(), strict=True)
        return dict(zip(self.factors, pairs, strict=True))

    def search(self, n_for_bic: int) -> set[int]:
        """Return the columns at which the published search ends, if a parameter costs the log of a number."""
        path, lower_upper = self.model.path_, sign_bounds(self.candidates)
        if path is None:
            return set()
        best = path.best if self.model.selection == "minimum" else path.one_se
        found = search_bic(
            self.design,
            self.counts,
            family=self.model.family_,
            groups=pd.factorize(self.candidates.columns["factor"])[0],
            candidates=np.flatnonzero(path.coefs[best]),
            lower=lower_upper[0],
            upper=lower_upper[1],
            offset=self.offset,
            n_for_bic=n_for_bic,
            swaps=False,
        )
        return set(found.columns)


def _column_of(candidates: Candidates, factor: str, flags: np.ndarray) -> int:
    """The kind and the distance do not tell: columns of a raster share both."""
    own = np.flatnonzero(candidates.columns["factor"] == factor)
    return next(int(number) for number in own if np.array_equal(candidates.column(int(number)), flags))
