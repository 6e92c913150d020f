"""Would the same factors be chosen again? A model's own recipe, run on some of its incidents or of its cells."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from rtmkc.checks import check_count
from rtmkc.engine.sweeps import Design
from rtmkc.errors import InputError
from rtmkc.model.diagnosis.refits import Refits
from rtmkc.model.guarded.noise import Noise, measure_noise
from rtmkc.model.guarded.plane import Plane
from rtmkc.model.guarded.recipe import Response
from rtmkc.model.inference.resampled import blocks_of, check_blocks
from rtmkc.model.inference.thinning import find_chains, keep_incidents, toss
from rtmkc.model.why import RiskTerrainModel
from rtmkc.raster.candidates import MIN_CELLS, Candidates
from rtmkc.raster.grid import Grid
from rtmkc.units import parse_length

Progress = Callable[[int, int], None]
Chosen = tuple[int, ...]

RANGES = 3.0
"""Blocks and bandwidths are this many ranges of the residuals long: exponential correlation is .05 there."""
ANY = "any"
"""In tables of frequencies: the factor, whatever its kind and distance."""


@dataclass(frozen=True, eq=False)
class Material:
    """A fitted model taken apart: what it was fitted to, its columns, and what it leaves over."""

    model: RiskTerrainModel
    design: Design
    response: Response
    columns: Chosen
    noise: Noise

    @classmethod
    def of(cls, model: RiskTerrainModel) -> "Material":
        """Take a fitted model apart.

        Raises
        ------
        InputError
            If it is no `RiskTerrainModel`.
        """
        if not isinstance(model, RiskTerrainModel):
            raise InputError(f"Invalid model of type {type(model).__name__}. Give a fitted RiskTerrainModel.")
        check_is_fitted(model)
        fitted = Refits.of(model)
        noise = measure_noise(Plane(fitted.grid), fitted.counts, model.predict())
        return cls(model, fitted.design, model.response_, fitted.columns, noise)

    @property
    def grid(self) -> Grid:
        """The grid of the model."""
        return self.model.observations_.grid

    @property
    def candidates(self) -> Candidates:
        """The candidates of the model."""
        return self.model.candidates_

    @property
    def reach(self) -> float:
        """The range of the residuals, in metres."""
        return self.noise.range_cells * self.grid.cell_size

    def block_side(self, block: float | str | None) -> float:
        """Return the side of the blocks in metres: as given, or by the residuals and the folds of the model."""
        length = self.grid.block_length
        if block is not None:
            return parse_length(block, name="block", block_length=length)
        of_folds = self.model.fold_block_m_ or parse_length(
            self.model.fold_block, name="fold_block", block_length=length
        )
        return max(RANGES * self.reach, of_folds)

    def chosen_on(self, incidents: NDArray[np.bool_]) -> Chosen:
        """Return the columns that the model's own recipe chooses on some of the incidents."""
        observations = keep_incidents(self.model.observations_, incidents)
        if not observations.n_incidents:
            return ()
        part = self._unfitted()
        # What reaches into the period of the incidents was allowed for the model, or does not.
        part.fit(self.grid, self.candidates, observations, folds=self.model.folds_, allow_later_factors=True)
        return Refits.of(part).columns

    def chosen_in(self, cells: NDArray[np.bool_]) -> Chosen:
        """Return the columns that the model's own recipe chooses in some of the cells."""
        whole = self.model.observations_
        inside = cells[whole.cells]
        candidates, kept = _in_cells(self.candidates, cells)
        if not (inside.any() and kept.size):
            return ()
        observations = replace(
            keep_incidents(whole, inside),
            grid=candidates.grid,
            cells=(np.cumsum(cells) - 1)[whole.cells[inside]],
            counts=whole.counts[cells],
            exposure=replace(whole.exposure, values=whole.exposure.values[cells]),
        )
        folds = self.model.folds_
        folds = None if folds is None else np.unique(folds[cells], return_inverse=True)[1]
        part = self._unfitted()
        part.fit(candidates.grid, candidates, observations, folds=folds, allow_later_factors=True)
        return tuple(int(kept[column]) for column in Refits.of(part).columns)

    def _unfitted(self) -> RiskTerrainModel:
        """The model's own recipe, without shifts where they only comment on what was chosen."""
        part = RiskTerrainModel(**self.model.get_params())
        return part.set_params(shift_test=False) if part.method == "classic" else part

    def frequencies(self, **choices: list[Chosen]) -> pd.DataFrame:
        """Return the share of fits, of each kind, in which factors (kind "any") and columns were chosen."""
        columns, rows = self.candidates.columns, []
        for factor in self.candidates.factors:
            own = np.flatnonzero((columns["factor"] == factor.name).to_numpy())
            for members in (own, *own[:, None]):
                shares = {name: _share(fits, members) for name, fits in choices.items()}
                row: dict[str, Any] = {"factor": factor.name, "kind": ANY}
                if members is not own:
                    place = columns.iloc[int(members[0])]
                    row |= {"kind": place["kind"], "influence_m": place["influence_m"]}
                row["in_model"] = bool(np.isin(members, self.columns).any())
                if members is own or row["in_model"] or any(shares.values()):
                    rows.append(row | shares)
        return pd.DataFrame(rows, columns=["factor", "kind", "influence_m", "in_model", *choices])


def _in_cells(candidates: Candidates, cells: NDArray[np.bool_]) -> tuple[Candidates, np.ndarray]:
    """Return the candidates of some cells, without columns that are rare there, and the numbers of the others."""
    part, size = candidates.within(cells), int(cells.sum())
    n_cells = np.array([int(part.column(number).sum()) for number in range(part.n_columns)], dtype=np.int64)
    kept = np.flatnonzero(np.minimum(n_cells, size - n_cells) >= MIN_CELLS)
    columns = part.columns.iloc[kept]
    variables, variable = np.unique(columns["variable"], return_inverse=True)
    first = part.columns.reset_index().groupby("variable")["index"].first()
    tables = tuple(
        part.tables[one][:, kept[variable == place] - int(first[one])] for place, one in enumerate(variables)
    )
    share = {"n_cells": n_cells[kept], "cell_share": n_cells[kept] / size, "variable": variable}
    codes = tuple(part.codes[one] for one in variables)
    columns = columns.assign(**share).reset_index(drop=True)
    return replace(part, codes=codes, tables=tables, columns=columns), kept


def _share(fits: list[Chosen], members: np.ndarray) -> float:
    return float(np.mean([bool(np.isin(members, fit).any()) for fit in fits]))


def stability(
    model: RiskTerrainModel,
    *,
    n_pairs: int = 15,
    seed: int = 0,
    block: float | str | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Count how often a model's own recipe chooses each factor again, on halves of the data.

    Parameters
    ----------
    model : RiskTerrainModel
        Fitted; it may have no factor.
    n_pairs : int
        The city's blocks are split in two halves, and the incidents in two halves, so many times; every half is fitted:
        four fits a pair.
    seed : int
        Of the halves.
    block : length, optional
        Side of the blocks; by default 3 ranges of the residuals, and no shorter than the blocks of the folds.
    progress : callable, optional
        Called with (done, total) after each pair.

    Returns
    -------
    DataFrame
        One row a factor (kind "any") and one a column that was chosen at all, with influence_m: in_model,
        on_half_the_city and on_half_the_incidents (shares of the fits).

    Raises
    ------
    InputError
        If the model is not a fitted `RiskTerrainModel`, an argument is out of range, or the area holds too few blocks.

    Notes
    -----
    Complementary halves [1]_, of blocks that are drawn whole because neighbours share their noise. A factor found in
    most halves does not hang on one part of the city. On half the incidents all halves share one city and its noise:
    a high share there only says that there are incidents enough. Half of the data find less than all, so that a share
    below .5 does not speak against a weak factor. The bound on the expected number of false factors that
    stability selection gives [2]_ says nothing with as few candidate factors as these, and needs noise that is
    exchangeable: no bound is given.

    References
    ----------
    .. [1] Shah, R. D. and Samworth, R. J. (2013). Variable selection with error control: another look at stability
       selection. Journal of the Royal Statistical Society B 75.
    .. [2] Meinshausen, N. and Buhlmann, P. (2010). Stability selection. Journal of the Royal Statistical Society B 72.

    Examples
    --------
    >>> from rtmkc.simulate import simulate_city
    >>> city = simulate_city(n_rows=40, n_columns=40, n_factors=2, active={0: ("proximity", 2, 4.0)})
    >>> model = RiskTerrainModel("classic").fit(city.grid, city.risk_factors(), city.incidents)
    >>> shares = stability(model, n_pairs=1)
    >>> shares.loc[shares["kind"] == "any", ["factor", "on_half_the_city"]].values.tolist()
    [['factor 0', 1.0], ['factor 1', 0.0]]
    """
    n_pairs, seed = check_count("n_pairs", n_pairs), check_count("seed", seed, minimum=0)
    material = Material.of(model)
    side = material.block_side(block)
    blocks = blocks_of(material.grid, side)
    n_blocks = int(blocks.max()) + 1
    check_blocks(n_blocks // 2, side)
    chains, random = find_chains(model.observations_), np.random.default_rng(seed)
    city, incidents = [], []
    for pair in range(n_pairs):
        half = np.isin(blocks, random.permutation(n_blocks)[: n_blocks // 2])
        coins = toss(chains, 0.5, seed, pair)
        city += [material.chosen_in(half), material.chosen_in(~half)]
        incidents += [material.chosen_on(coins), material.chosen_on(~coins)]
        if progress:
            progress(pair + 1, n_pairs)
    return material.frequencies(on_half_the_city=city, on_half_the_incidents=incidents)
