"""Candidates: every factor at every kind and distance, as one small code per cell.

A *variable* is one code per cell (a distance ring, or the combination of densities met); its *table*
says which columns each code switches on. Columns are 0/1 and are never stored per cell.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rtmkc.checks import check_unique
from rtmkc.errors import InputError
from rtmkc.raster.coding import (
    CHUNK,
    ROUNDING,
    CodeStore,
    combine,
    count_below,
    density_of,
    flag_bits,
    is_dense,
    mean_and_deviation,
    open_store,
    ring_codes,
)
from rtmkc.raster.factors import Features, RiskFactor
from rtmkc.raster.grid import Grid
from rtmkc.raster.shapes import Shapes

MIN_CELLS = 10
"""A column that is true, or false, in fewer cells than this cannot carry a weight."""
TOP_SHARES = (0.5, 0.25, 0.1, 0.05)
"""A raster's columns: the cells whose value is among the highest half, quarter, tenth, twentieth."""
LOW_SHARES = (0.75, 0.9, 0.95)
"""Where high values may protect, also all cells but the lowest quarter, tenth, twentieth."""
CURVE_DISTANCES = 20
CURVE_QUANTILES = np.linspace(0.08, 0.985, 12)
CURVE_BANDWIDTHS = (0.125, 0.25, 0.5, 1.0)
"""Curves: 20 distances from half a cell to the reach, and at four bandwidths (shares of the reach) the
densities "any" and above 12 quantiles of the positive values; levels measured on four real cities."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """The candidate columns of a set of factors on a grid.

    Attributes
    ----------
    grid : Grid
        Where they were measured.
    factors : tuple of RiskFactor
        In the order given.
    codes : tuple of ndarray of uint8 or uint16, each (n_cells,)
        One code per cell and variable.
    tables : tuple of ndarray of float, each (n_levels, n_columns of the variable)
        Which columns a code switches on.
    columns : DataFrame
        One row a column, in the order of the tables: name, factor, kind, influence_m, cut (density
        threshold, features per km2, or the value of a raster), direction, variable, n_cells, cell_share.
    dropped : DataFrame
        The generated columns that are not used: name, factor, kind, influence_m, reason.
    features : dict of str to Features
        What was read of each factor.
    notes : tuple of str
        What was decided.
    """

    grid: Grid
    factors: tuple[RiskFactor, ...]
    codes: tuple[np.ndarray, ...] = field(repr=False)
    tables: tuple[np.ndarray, ...] = field(repr=False)
    columns: pd.DataFrame = field(repr=False)
    dropped: pd.DataFrame = field(repr=False)
    features: dict[str, Features] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def n_columns(self) -> int:
        """Number of columns in use."""
        return len(self.columns)

    @property
    def n_generated(self) -> int:
        """Number of columns generated: those in use and those dropped."""
        return len(self.columns) + len(self.dropped)

    def column(self, number: int) -> np.ndarray:
        """Return one column as a boolean cell vector."""
        row = self.columns.iloc[number]
        first = int((self.columns["variable"].to_numpy() == row["variable"]).argmax())
        return self.tables[row["variable"]][self.codes[row["variable"]], number - first] > 0

    def within(self, cells: np.ndarray) -> "Candidates":
        """Return the same columns on a grid of some of the cells only.

        Parameters
        ----------
        cells : ndarray of bool, shape (n_cells,)
            Those to keep; give them to `build_candidates` as well, or their cuts know the others.

        Returns
        -------
        Candidates
            Its grid has the same frame and study area. Columns and their order are unchanged.
        """
        inside = self.grid.to_raster(cells, fill=False)
        part = replace(self.grid, inside=inside, share=self.grid.share[cells])
        return replace(self, grid=part, codes=tuple(codes[cells] for codes in self.codes))

    def to_frame(self) -> pd.DataFrame:
        """Return all columns as a 0/1 table, one row a cell, for fitting elsewhere."""
        return pd.DataFrame(
            {name: self.column(number).astype(np.uint8) for number, name in enumerate(self.columns["name"])},
            index=pd.RangeIndex(self.grid.n_cells, name="cell_id"),
        )

    def __repr__(self) -> str:
        return (
            f"Candidates({self.n_columns} columns of {len(self.factors)} factors on {self.grid.n_cells:,} cells, "
            f"{len(self.dropped)} dropped)"
        )


@dataclass(frozen=True, eq=False)
class _Variable:
    codes: np.ndarray
    table: np.ndarray
    rows: list[dict[str, Any]]


def build_candidates(
    grid: Grid,
    factors: Sequence[RiskFactor],
    *,
    cells: np.ndarray | None = None,
    store: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Candidates:
    """Measure every factor at every kind and distance it may act, as the published procedure does.

    Parameters
    ----------
    grid : Grid
        The grid.
    factors : sequence of RiskFactor
        Names must differ.
    cells : ndarray of bool, shape (n_cells,), optional
        The cells that decide: cuts are taken from them, and columns that are constant, rare or duplicate in them
        are dropped. The other cells are coded by the same cuts. Default all; for places that are held out.
    store : path, optional
        A folder to keep the codes in, as files that are mapped into memory; the same bits as without. For grids whose
        codes should not fill the memory.
    progress : callable, optional
        Called with (done, total) after each factor.

    Returns
    -------
    Candidates
        With the reasons for every column that was dropped: constant, too rare, duplicate.

    Raises
    ------
    InputError
        If there are no factors, two share a name, or one cannot be measured.

    Notes
    -----
    Proximity is 1 where the cell centre is within the distance of the nearest feature. Density is 1
    where the quartic kernel density of that radius is at least its mean plus two standard deviations
    over the cells of the area (divisor n) [1]_. Value, an extension of rtmkc: 1 where the mean of a raster
    in the cell is above a quantile of the cells, at `TOP_SHARES`, and at `LOW_SHARES` unless the factor is
    aggravating; cells without data are 0. Its `influence_m` is the side of a cell.

    References
    ----------
    .. [1] Caplan, J. M., Kennedy, L. W. and Piza, E. L. (2013). Risk Terrain Modeling Diagnostics
       (RTMDx) Utility user manual. Rutgers Center on Public Security.
    """
    return _build(grid, factors, _steps_of, cells, store, progress)


def build_curves(
    grid: Grid,
    factors: Sequence[RiskFactor],
    *,
    cells: np.ndarray | None = None,
    store: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Candidates:
    """Measure every factor finely: many nested distances and densities, for smooth curves of risk.

    See `build_candidates` for parameters and errors. The kind of a factor is respected; nothing is
    looked at beyond its `max_influence`.
    """
    return _build(grid, factors, _curves_of, cells, store, progress)


def check_factors(factors: Any) -> tuple[RiskFactor, ...]:
    """Return factors as a tuple, if there are any, all are factors and their names differ."""
    if not isinstance(factors, list | tuple) or not all(isinstance(factor, RiskFactor) for factor in factors):
        what = type(factors).__name__
        if isinstance(factors, list | tuple):
            what = ", ".join(dict.fromkeys(type(factor).__name__ for factor in factors))
        raise InputError(
            f"Invalid factors of type {what}. Give a list of RiskFactor; a layer becomes one with "
            "RiskFactor('its name', layer)."
        )
    if not factors:
        raise InputError("Invalid factors []. Give at least one RiskFactor.")
    check_unique("factor name", [factor.name for factor in factors])
    return tuple(factors)


def _build(
    grid: Grid,
    factors: Sequence[RiskFactor],
    measure: Callable[[Grid, RiskFactor, Features, tuple[str, ...], np.ndarray], list[_Variable]],
    cells: np.ndarray | None,
    store: str | Path | None,
    progress: Callable[[int, int], None] | None,
) -> Candidates:
    factors = check_factors(factors)
    deciding = _check_cells(grid, cells)
    kept = CodeStore(open_store(store))
    features = {factor.name: factor.features(grid) for factor in factors}
    kinds = [factor.resolve_kind(features[factor.name], grid) for factor in factors]

    def measured(number: int) -> list[_Variable]:
        factor = factors[number]
        found = measure(grid, factor, features[factor.name], kinds[number][0], deciding)
        return [replace(one, codes=kept.keep(one.codes)) for one in found]

    variables: list[_Variable] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, found in enumerate(pool.map(measured, range(len(factors)))):
            variables += found
            if progress:
                progress(number + 1, len(factors))
    notes = tuple(note for _, note in kinds if note)
    return _assemble(grid, factors, variables, features, notes, deciding)


def _check_cells(grid: Grid, cells: np.ndarray | None) -> np.ndarray:
    if cells is None:
        return np.ones(grid.n_cells, dtype=bool)
    if cells.dtype != bool or cells.shape != (grid.n_cells,) or not cells.any():
        raise InputError(
            f"Invalid cells of {cells.dtype} and shape {cells.shape}. Give one boolean for each of the "
            f"{grid.n_cells:,} cells, some of them true."
        )
    return cells


def _steps_of(
    grid: Grid, factor: RiskFactor, features: Features, kinds: tuple[str, ...], deciding: np.ndarray
) -> list[_Variable]:
    if features.raster is not None:
        shares = TOP_SHARES if factor.direction == "aggravating" else (*LOW_SHARES, *TOP_SHARES)
        return [_values(grid, factor, features.raster.mean, 1 - np.array(shares), deciding)]
    shapes = Shapes.of(features.frame.geometry.to_numpy())
    influences = factor.influences(grid)
    variables = []
    if "proximity" in kinds:
        variables.append(_proximity(grid, factor, shapes, influences))
    if "density" in kinds:
        flags, rows = np.zeros(grid.n_cells, dtype=flag_bits(len(influences))), []
        for influence in influences:
            density = density_of(grid, shapes, influence)
            mean, deviation = mean_and_deviation(density, deciding)
            cut = mean + 2 * deviation
            flags <<= 1
            flags |= is_dense(density, cut)
            rows.append(_row(factor, "density", influence, cut))
        combinations, codes = combine(flags, len(influences))
        variables.append(_Variable(codes, combinations, rows))
    return variables


def _curves_of(
    grid: Grid, factor: RiskFactor, features: Features, kinds: tuple[str, ...], deciding: np.ndarray
) -> list[_Variable]:
    if features.raster is not None:
        return [_values(grid, factor, features.raster.mean, CURVE_QUANTILES, deciding)]
    shapes = Shapes.of(features.frame.geometry.to_numpy())
    reach, cell = factor.reach(grid), grid.cell_size
    variables = []
    if "proximity" in kinds:
        distances = np.geomspace(min(cell / 2, reach), reach, CURVE_DISTANCES)
        # The last step of geomspace may miss the reach by a rounding; the reach is the promise.
        distances[-1] = reach
        variables.append(_proximity(grid, factor, shapes, list(np.unique(distances))))
    if "density" in kinds:
        for bandwidth in (share * reach for share in CURVE_BANDWIDTHS):
            if bandwidth < 1.5 * cell and bandwidth < reach:
                continue  # a kernel narrower than three cells across misses most features
            density = density_of(grid, shapes, bandwidth)
            positive = density[deciding & (density > 0)]
            if not positive.size:
                continue
            cuts = np.unique(np.append(0.0, np.quantile(positive, CURVE_QUANTILES)))
            codes = count_below(cuts[1:] * (1 + ROUNDING), density) + (density > 0)
            table = np.tril(np.ones((len(cuts) + 1, len(cuts))), -1)
            rows = [_row(factor, "density", bandwidth, float(cut)) for cut in cuts]
            variables.append(_Variable(codes, table, rows))
    return variables


def _values(
    grid: Grid, factor: RiskFactor, mean: np.ndarray, quantiles: np.ndarray, deciding: np.ndarray
) -> _Variable:
    # Code k is above the k lowest cuts; cells without data are above none.
    known = ~np.isnan(mean)
    levels = np.sort(quantiles)
    if not np.any(known & deciding):
        return _Variable(np.zeros(grid.n_cells, dtype=np.uint8), np.zeros((1, 0)), [])
    cuts = np.quantile(mean[known & deciding], levels)
    codes = count_below(cuts + ROUNDING * np.abs(cuts), mean)
    rows = []
    for level, cut in zip(levels, cuts, strict=True):
        name = f"{factor.name} | value | above {cut:.4g} (top {100 * (1 - level):.3g} %)"
        rows.append(_row(factor, "value", grid.cell_size, float(cut)) | {"name": name})
    return _Variable(codes, np.tril(np.ones((len(cuts) + 1, len(cuts))), -1), rows)


def _proximity(grid: Grid, factor: RiskFactor, shapes: Shapes, influences: list[float]) -> _Variable:
    # Ring 1 is the nearest, ring k the farthest, 0 is out of reach; column j holds rings 1..j+1.
    n_rings = len(influences)
    codes = ring_codes(grid, shapes, influences)
    table = np.zeros((n_rings + 1, n_rings))
    for number in range(n_rings):
        table[1 : number + 2, number] = 1.0
    return _Variable(codes, table, [_row(factor, "proximity", influence, np.nan) for influence in influences])


def _row(factor: RiskFactor, kind: str, influence: float, cut: float) -> dict[str, Any]:
    return {
        "name": f"{factor.name} | {kind} | {influence:.0f} m",
        "factor": factor.name,
        "kind": kind,
        "influence_m": influence,
        "cut": cut,
        "direction": factor.direction,
    }


def _assemble(
    grid: Grid,
    factors: tuple[RiskFactor, ...],
    variables: list[_Variable],
    features: dict[str, Features],
    notes: tuple[str, ...],
    deciding: np.ndarray,
) -> Candidates:
    n_deciding = int(deciding.sum())
    codes: list[np.ndarray] = []
    tables: list[np.ndarray] = []
    kept_rows: list[dict[str, Any]] = []
    dropped_rows: list[dict[str, Any]] = []
    seen: dict[int, list[tuple[str, _Variable, np.ndarray]]] = {}
    for variable in variables:
        cells_of_level = _count_levels(variable, deciding)
        used = []
        for number, row in enumerate(variable.rows):
            flagged = variable.table[:, number] > 0
            n_cells = int(cells_of_level[flagged].sum())
            row = row | {"n_cells": n_cells, "cell_share": n_cells / n_deciding}
            if n_cells == 0 or n_cells == n_deciding:
                reason = f"constant: true in {'no cell' if n_cells == 0 else 'all cells'}"
            elif min(n_cells, n_deciding - n_cells) < MIN_CELLS:
                side = "true" if n_cells < n_deciding / 2 else "false"
                reason = (
                    f"too rare: {side} in {min(n_cells, n_deciding - n_cells)} cells, fewer than {MIN_CELLS}"
                )
            else:
                like = seen.setdefault(n_cells, [])
                same = (
                    name for name, other, marks in like if _equal(variable, flagged, other, marks, deciding)
                )
                twin = next(same, None)
                reason = "" if twin is None else f"duplicate: the same cells as {twin!r}"
                like.append((row["name"], variable, flagged))
            if reason:
                dropped_rows.append(row | {"reason": reason})
            else:
                used.append(number)
                kept_rows.append(row | {"variable": len(codes)})
        if used:
            codes.append(variable.codes)
            tables.append(np.ascontiguousarray(variable.table[:, used]))
    base = ["name", "factor", "kind", "influence_m", "cut", "direction", "n_cells", "cell_share"]
    return Candidates(
        grid,
        factors,
        tuple(codes),
        tuple(tables),
        pd.DataFrame(kept_rows, columns=[*base, "variable"]),
        pd.DataFrame(dropped_rows, columns=[*base, "reason"]),
        features,
        notes,
    )


def _count_levels(variable: _Variable, deciding: np.ndarray) -> np.ndarray:
    """Number of deciding cells at every level."""
    total = np.zeros(len(variable.table), dtype=np.int64)
    for begin in range(0, deciding.size, CHUNK):
        part = slice(begin, begin + CHUNK)
        total += np.bincount(variable.codes[part][deciding[part]], minlength=total.size)
    return total


def _equal(
    one: _Variable, marks: np.ndarray, other: _Variable, other_marks: np.ndarray, deciding: np.ndarray
) -> bool:
    """Whether two columns, given as variables and the levels that switch them on, mark the same deciding cells."""
    for begin in range(0, deciding.size, CHUNK):
        part = slice(begin, begin + CHUNK)
        apart = marks[one.codes[part]] != other_marks[other.codes[part]]
        if (apart & deciding[part]).any():
            return False
    return True
