"""The risk of a terrain on its streets: what every block is expected to see, and has seen."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import gammaln

from rtmkc.checks import check_choice
from rtmkc.errors import InputError
from rtmkc.model.history.intervals import Rates, predictive_interval
from rtmkc.places.corridors.allocate import Allocation, allocate
from rtmkc.places.corridors.blocks import StreetBlocks
from rtmkc.places.corridors.streets import StreetNetwork
from rtmkc.units import format_length

RANGE_M = 150.0
"""How far from its centre a cell's risk goes to streets; half as much as a cell, if that is more."""
SURFACES = ("expected", "rrs", "empirical_bayes")
CARRIES_HISTORY = ("expected",)
"""Surfaces that the incidents of a place itself are part of already."""
LOG_SHAPE_BOUNDS = (-5.0, 8.0)


@dataclass(frozen=True, eq=False)
class StreetRisk:
    """A terrain on a street network.

    Attributes
    ----------
    terrain : RiskTerrain
        The terrain.
    network : StreetNetwork
        The streets, in the grid's system.
    blocks : StreetBlocks
        Their blocks.
    allocation : Allocation
        How cells share their risk out to segments.
    by : {"expected", "rrs", "empirical_bayes"}
        Which surface it is: the forecast; the relative risk score alone, at the forecast's total; or that score, corrected
        block by block by the incidents seen there.
    expected : ndarray, shape (n_blocks,)
        Incidents expected in `terrain.horizon_days` days.
    variance : ndarray of shape (n_blocks,), or None
        Variance of each block's rate, where that is known by block and not by cell.
    incidents : ndarray, shape (n_blocks,)
        Incidents of the data, allocated in the same way.
    is_inside : ndarray of bool, shape (n_blocks,)
        Which blocks take part of a cell: the streets of the area.
    notes : tuple of str
        What was decided, with figures.
    """

    terrain: Any = field(repr=False)
    network: StreetNetwork
    blocks: StreetBlocks = field(repr=False)
    allocation: Allocation = field(repr=False)
    by: str
    expected: np.ndarray = field(repr=False)
    variance: np.ndarray | None = field(repr=False)
    incidents: np.ndarray = field(repr=False)
    is_inside: np.ndarray = field(repr=False)
    notes: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(
        cls,
        terrain: Any,
        streets: Any,
        *,
        name: str | None = None,
        road_class: str | None = None,
        cost: str | None = None,
        by: str = "expected",
    ) -> "StreetRisk":
        """Put a terrain on streets.

        Parameters
        ----------
        terrain : RiskTerrain
            Used are its grid, its cells and `horizon_days`.
        streets : StreetRisk, StreetNetwork, Layer, GeoDataFrame or path
            Street centre lines; a StreetRisk of the same terrain and surface comes back as it is.
        name, road_class : str, optional
            Columns of the layer, where they do not speak for themselves.
        cost : str, optional
            Column of the layer with what work along each line costs.
        by : {"expected", "rrs", "empirical_bayes"}
            The surface.

        Raises
        ------
        InputError
            If no street comes near the area, or the terrain has not what the surface needs.
        NoFactorError
            For "rrs" and "empirical_bayes" when no factor is in the model.

        Notes
        -----
        The empirical Bayes rate of a block with m expected by its score and y incidents seen in t times the horizon is
        ``(a + y) / (a / m + t)``, a by negative binomial likelihood over the blocks (Clayton and Kaldor 1987,
        Biometrics 43, 671-681). It starts from the score, which knows no incidents of the place itself; `expected` has
        history in it already, and is never corrected a second time.
        """
        check_choice("by", by, SURFACES)
        if isinstance(streets, StreetRisk) and streets.terrain is terrain:
            if streets.by == by:
                return streets
            network, blocks, allocation = streets.network, streets.blocks, streets.allocation
        else:
            grid = terrain.grid
            if isinstance(streets, StreetRisk):  # of another terrain
                streets = streets.network
            network = (
                streets
                if isinstance(streets, StreetNetwork)
                else StreetNetwork.around(grid, streets, name=name, road_class=road_class, cost=cost)
            )
            blocks = StreetBlocks.of_network(network)
            allocation = allocate(grid, network, radius_m=max(RANGE_M, grid.cell_size))
        is_inside = blocks.sum(allocation.reached().astype(float)) > 0
        if not is_inside.any():
            raise InputError(
                "Invalid streets: none comes near a cell of the study area. Check the layer's coordinate system."
            )
        notes = list(network.notes)
        incidents = blocks.sum(allocation.to_segments(terrain.cells["count"].to_numpy(dtype=float)))
        surface = _surface(terrain, by)
        expected, variance = blocks.sum(allocation.to_segments(surface)), None
        if by == "empirical_bayes":
            expected, variance, statement = _empirical_bayes(
                expected, incidents, is_inside, _history_length(terrain), surface="rrs"
            )
            notes.append(statement)
        elif by == "rrs":
            notes.append(
                "Corridors are ranked by the relative risk score: by the factors alone, without history."
            )
        residual, total = allocation.residual(surface), surface.sum()
        if residual > 0:
            notes.append(
                f"{residual:.3g} of {total:.3g} expected incidents ({residual / total:.1%}) lie in cells with no "
                f"street within {format_length(allocation.radius_m)} and belong to no corridor."
            )
        return cls(
            terrain, network, blocks, allocation, by, expected, variance, incidents, is_inside, tuple(notes)
        )

    def cell_weights(self, block_ids: np.ndarray, shares: np.ndarray | None = None) -> np.ndarray:
        """Return the part of every cell that some blocks take, shape (n_cells,).

        Parameters
        ----------
        block_ids : ndarray of int
            Blocks, each once.
        shares : ndarray, optional
            How much of each block counts; all of it by default.
        """
        of_block = np.zeros(self.blocks.n_blocks)
        of_block[block_ids] = 1.0 if shares is None else shares
        return np.asarray(self.allocation.weights @ of_block[self.blocks.block_of_segment])

    def interval(self, block_ids: np.ndarray, shares: np.ndarray | None = None) -> tuple[float, float]:
        """Return the 90 % predictive interval of the count of some blocks together over the horizon.

        Notes
        -----
        Rates of cells are gamma distributed and independent given what is around them; their sum is taken as gamma
        with its mean and variance. So is what the forecast's own trials showed beyond that (`drift`): it was fitted to
        cells one by one, and a corridor takes parts of many, whose errors even out. Moving all cells together by it
        gave intervals from 0 to three times what was expected, which covered everything and said nothing. NaN for the
        relative risk score, which has no rate.
        """
        shares = np.ones(len(block_ids)) if shares is None else shares
        mean = float(self.expected[block_ids] @ shares)
        if self.by == "rrs" or mean <= 0:
            return np.nan, np.nan
        if self.variance is None:
            return cells_interval(self.terrain, self.cell_weights(block_ids, shares))
        return count_interval(
            self.expected[block_ids], self.variance[block_ids], shares, _drift(self.terrain)
        )


def cells_interval(terrain: Any, parts: np.ndarray) -> tuple[float, float]:
    """Return the 90 % predictive interval of the count of parts of cells together; `parts` of shape (n_cells,)."""
    some = np.flatnonzero(parts)
    rate = terrain.cells["expected"].to_numpy(dtype=float)[some]
    variance = terrain.cells["rate_sd"].to_numpy(dtype=float)[some] ** 2
    return count_interval(rate, variance, parts[some], _drift(terrain))


def count_interval(
    rate: np.ndarray, variance: np.ndarray, parts: np.ndarray, drift: float
) -> tuple[float, float]:
    """Return the 90 % predictive interval of a count whose rate is the sum of parts of independent rates."""
    mean, spread = float(rate @ parts), variance + drift * (rate**2 + variance)
    shape = mean**2 / max(float(spread @ parts**2), 1e-12 * mean**2)
    lower, upper = predictive_interval(Rates(np.ones((1, 1)), np.array([[mean]]), np.array([[shape]])))
    return float(lower[0]), float(upper[0])


def _drift(terrain: Any) -> float:
    return float(terrain.facts["where"]["drift"])


def _surface(terrain: Any, by: str) -> np.ndarray:
    """Return expected incidents of every cell over the horizon, by a surface."""
    expected = terrain.cells["expected"].to_numpy(dtype=float)
    if by == "expected":
        return expected
    score = terrain.ranking("rrs") * terrain.cells["share"].to_numpy()
    return np.asarray(score * (expected.sum() / score.sum()))


def _history_length(terrain: Any) -> float:
    days = terrain.facts["period_days"]
    if not days or not terrain.horizon_days:
        raise InputError(
            "Invalid by 'empirical_bayes'. The incidents of this terrain have no period, so their rate is not known; "
            "give the period when the incidents are read."
        )
    return float(days / terrain.horizon_days)


def _empirical_bayes(
    prior: np.ndarray, seen: np.ndarray, is_inside: np.ndarray, length: float, *, surface: str
) -> tuple[np.ndarray, np.ndarray, str]:
    """Return the rates of blocks corrected by what was seen there, their variances, and the sentence on it."""
    # Not an `assert`: no switch of the interpreter may let the same incidents count twice.
    if surface in CARRIES_HISTORY:
        raise RuntimeError(
            f"{surface} carries history: correcting it by the same incidents would count them twice"
        )
    mean, count = prior[is_inside] * length, seen[is_inside]
    # the score's level is that of the horizon; the incidents seen may be more or fewer
    mean = np.maximum(mean * (count.sum() / max(mean.sum(), 1e-300)), 1e-12)

    def surprise(log_shape: float) -> float:
        shape = np.exp(log_shape)
        terms = gammaln(shape + count) - gammaln(shape) + shape * np.log(shape / (shape + mean))
        terms += count * np.log(mean / (shape + mean))
        return -float(terms.sum())

    shape = float(np.exp(minimize_scalar(surprise, bounds=LOG_SHAPE_BOUNDS, method="bounded").x))
    multiplier = np.ones(len(prior))
    multiplier[is_inside] = (shape + count) / (shape + mean)
    rate = prior * multiplier
    rate *= prior.sum() / max(rate.sum(), 1e-300)
    variance = np.zeros(len(prior))
    variance[is_inside] = rate[is_inside] ** 2 / (shape + count)
    statement = (
        "Corridors are ranked by the relative risk score, corrected block by block by the incidents seen there "
        f"(empirical Bayes; the score is worth {shape:.2g} incidents a block)."
    )
    return rate, variance, statement
