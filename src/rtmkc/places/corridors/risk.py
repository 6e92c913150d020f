"""The risk of a terrain on its streets: what every block is expected to see, and has seen."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import gammaln

from rtmkc.checks import check_choice
from rtmkc.errors import InputError
from rtmkc.model.history.cells import HotCells, cell_multiplier
from rtmkc.model.history.intervals import Rates, predictive_interval
from rtmkc.places.corridors.allocate import Allocation, allocate
from rtmkc.places.corridors.network.blocks import StreetBlocks
from rtmkc.places.corridors.network.streets import StreetNetwork
from rtmkc.units import format_length

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
        cell by cell by the incidents seen there.
    expected : ndarray, shape (n_blocks,)
        Incidents expected in `terrain.horizon_days` days.
    rates : CellRates or None
        What is known of the rate of every cell; None for the relative risk score, which has no rate.
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
    rates: "CellRates | None" = field(repr=False)
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
        The empirical Bayes rate of a cell with m expected by its score and y incidents seen in t times the horizon is
        ``(a + y) / (a / m + t)``, a by negative binomial likelihood over the cells (Clayton and Kaldor 1987,
        Biometrics 43, 671-681). Cells, not blocks, as their counts are whole: those of blocks are shares of cells, and
        far smoother than counts. It starts from the score, which knows no incidents of the place itself; `expected`
        has history in it already, and is never corrected a second time.
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
            allocation = allocate(grid, network)
        is_inside = blocks.sum(allocation.reached().astype(float)) > 0
        if not is_inside.any():
            raise InputError(
                "Invalid streets: none comes near a cell of the study area. Check the layer's coordinate system."
            )
        notes = list(network.notes)
        incidents = blocks.sum(allocation.to_segments(terrain.cells["count"].to_numpy(dtype=float)))
        surface, rates = _surface(terrain, by)
        expected = blocks.sum(allocation.to_segments(surface))
        if by == "empirical_bayes" and rates is not None:
            notes.append(
                "Corridors are ranked by the relative risk score, corrected cell by cell by the incidents seen there "
                f"(empirical Bayes; the score is worth {rates.strength:.2g} incidents a cell)."
            )
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
            terrain, network, blocks, allocation, by, expected, rates, incidents, is_inside, tuple(notes)
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
        return (
            (np.nan, np.nan)
            if self.rates is None
            else self.rates.interval(self.cell_weights(block_ids, shares))
        )


@dataclass(frozen=True, eq=False)
class CellRates:
    """The rate of every cell over the horizon: a gamma variable, learned from the cell's own incidents.

    Attributes
    ----------
    mean, spread : ndarray, shape (n_cells,)
        Mean and standard deviation.
    around : ndarray, shape (n_cells,)
        What is expected of the cell before its own incidents are seen.
    strength : float
        What that is worth, in incidents.
    hot : HotCells or None
        A second kind of cells, if there is one.
    length : float
        How many times the horizon has been seen.
    drift : float
        Variance of a further multiplier of each cell.
    """

    mean: np.ndarray = field(repr=False)
    spread: np.ndarray = field(repr=False)
    around: np.ndarray = field(repr=False)
    strength: float
    hot: HotCells | None
    length: float
    drift: float

    @classmethod
    def of_forecast(cls, terrain: Any) -> "CellRates":
        """Return the rates that a terrain's forecast leaves."""
        cells, where = terrain.cells, terrain.facts["where"]
        return cls(
            cells["expected"].to_numpy(dtype=float),
            cells["rate_sd"].to_numpy(dtype=float),
            cells["neighbourhood"].to_numpy(dtype=float),
            float(where["strengths"][-1]),
            None if where["hot_cells"] is None else HotCells(**where["hot_cells"]),
            float(where["history_horizons"]),
            float(where["drift"]),
        )

    def interval(self, parts: np.ndarray) -> tuple[float, float]:
        """Return the 90 % predictive interval of the count of parts of cells together; `parts` of shape (n_cells,)."""
        some = np.flatnonzero(parts)
        mean, variance, parts = self.mean[some], self.spread[some] ** 2, parts[some]
        whole = float(mean @ parts)
        if whole <= 0:
            return np.nan, np.nan
        spread = variance + self.drift * (mean**2 + variance)
        shape = whole**2 / max(float(spread @ parts**2), 1e-12 * whole**2)
        lower, upper = predictive_interval(Rates(np.ones((1, 1)), np.array([[whole]]), np.array([[shape]])))
        return float(lower[0]), float(upper[0])

    def draw(self, random: np.random.Generator) -> np.ndarray:
        """Draw a true rate of every cell; shape (n_cells,)."""
        drawn = self.mean.copy()
        varied = (self.mean > 0) & (self.spread > 0)
        shape = (self.mean[varied] / self.spread[varied]) ** 2
        drawn[varied] = random.gamma(shape, self.mean[varied] / shape)
        return drawn

    def learn(self, seen: np.ndarray) -> np.ndarray:
        """Return the mean of every cell's rate after other incidents were seen, at the same total."""
        learned = self.around * cell_multiplier(self.strength, self.hot, seen, self.around * self.length)
        return np.asarray(learned * (self.mean.sum() / max(learned.sum(), 1e-300)))


def _surface(terrain: Any, by: str) -> tuple[np.ndarray, CellRates | None]:
    """Return expected incidents of every cell over the horizon, by a surface, and what is known of their rates."""
    if by == "expected":
        rates = CellRates.of_forecast(terrain)
        return rates.mean, rates
    total = float(terrain.cells["expected"].sum())
    score = terrain.ranking("rrs") * terrain.cells["share"].to_numpy()
    score = np.asarray(score * (total / score.sum()))
    if by == "rrs":
        return score, None
    seen = terrain.cells["count"].to_numpy(dtype=float)
    corrected = empirical_bayes(score, seen, _history_length(terrain), surface="rrs")
    return corrected.mean, corrected


def _history_length(terrain: Any) -> float:
    days = terrain.facts["period_days"]
    if not days or not terrain.horizon_days:
        raise InputError(
            "Invalid by 'empirical_bayes'. The incidents of this terrain have no period, so their rate is not known; "
            "give the period when the incidents are read."
        )
    return float(days / terrain.horizon_days)


def empirical_bayes(around: np.ndarray, seen: np.ndarray, length: float, *, surface: str) -> CellRates:
    """Return the rates of cells by a surface and their own incidents.

    Parameters
    ----------
    around : ndarray, shape (n_cells,)
        Expected incidents over the horizon by the surface.
    seen : ndarray, shape (n_cells,)
        Incidents.
    length : float
        How many times the horizon they were seen in.
    surface : str
        Name of the surface; one that carries history is refused.

    Raises
    ------
    RuntimeError
        If the surface has the same incidents in it already.

    Examples
    --------
    >>> rates = empirical_bayes(np.full(4, 0.5), np.array([0.0, 0.0, 1.0, 7.0]), 4.0, surface="rrs")
    >>> round(rates.strength, 2), rates.mean.round(2)
    (0.37, array([0.08, 0.08, 0.29, 1.56]))
    """
    # Not an `assert`: no switch of the interpreter may let the same incidents count twice.
    if surface in CARRIES_HISTORY:
        raise RuntimeError(
            f"{surface} carries history: correcting it by the same incidents would count them twice"
        )
    # the score's level is that of the horizon; the incidents seen may be more or fewer
    mean = np.maximum(around * (seen.sum() / max(around.sum(), 1e-300)), 1e-12)

    def surprise(log_shape: float) -> float:
        shape = np.exp(log_shape)
        terms = gammaln(shape + seen) - gammaln(shape) + shape * np.log(shape / (shape + mean))
        terms += seen * np.log(mean / (shape + mean))
        return -float(terms.sum())

    strength = float(np.exp(minimize_scalar(surprise, bounds=LOG_SHAPE_BOUNDS, method="bounded").x))
    rate = around * (strength + seen) / (strength + mean)
    rate *= around.sum() / max(rate.sum(), 1e-300)
    return CellRates(rate, rate / np.sqrt(strength + seen), around, strength, None, length, 0.0)
