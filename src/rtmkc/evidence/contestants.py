"""Every contestant of a validation, fitted to one training set: a surface of expected incidents each.

Nothing in here sees the test. Cuts of densities, selection, penalties, bandwidths, floors, strengths of history and
sizes of leaves are all taken from the training incidents, in the training cells.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rtmkc.engine.sweeps import Design
from rtmkc.evidence import forest
from rtmkc.evidence.baselines import kernel_density, mixed, parts_of, past_counts
from rtmkc.evidence.splits import N_FOLDS, Split, incident_folds
from rtmkc.model.folds import block_folds
from rtmkc.model.history.ages import split_halves, whole_past
from rtmkc.model.history.fit import fit_history
from rtmkc.model.where import RiskForecast
from rtmkc.model.why import RiskTerrainModel
from rtmkc.raster.candidates import Candidates, build_candidates, build_curves
from rtmkc.raster.factors import RiskFactor
from rtmkc.raster.grid import Grid

UNIFORM = "uniform"
PAST_COUNTS = "past counts"
KERNEL_DENSITY = "kernel density"
HISTORY = "history alone"
WEIGHTS = "{} weights"
CURVES = "curves alone"
FORECAST = "curves x history"
FOREST = "random forest"
FOREST_LAGS = "random forest, past counts as columns"
FOREST_HISTORY = "random forest x history"
ORACLE = "oracle (the test itself)"
NO_PAST = "cannot compete: nothing of the past of places left out is known"
N_LAG_PARTS = 3
N_PLACE_FOLDS = 3
FOLD_BLOCK_M = 1500.0


@dataclass(frozen=True, eq=False)
class Surface:
    """What a contestant expects, and what was decided on the way.

    Attributes
    ----------
    expected : ndarray, shape (n_cells,)
        Expected incidents of every cell, of which the scored ones are used.
    note : str
        What was chosen.
    seconds : float
        Time it took.
    """

    expected: np.ndarray = field(repr=False)
    note: str
    seconds: float


@dataclass(frozen=True)
class Setting:
    """What all splits of a validation have in common.

    Attributes
    ----------
    grid : Grid
        The grid.
    factors : tuple of RiskFactor
        Opened.
    methods : tuple of str
        Recipes of weights that compete.
    horizon : int or str
        What is forecast.
    with_past : bool
        Whether the past of the places that are scored is known.
    with_forest : bool
        Whether random forests compete; they take most of the time.
    seed : int
        Of everything random.
    """

    grid: Grid
    factors: tuple[RiskFactor, ...]
    methods: tuple[str, ...]
    horizon: int | str
    with_past: bool
    with_forest: bool
    seed: int

    @property
    def forecast(self) -> str:
        """The contestant that is compared with all others."""
        return FORECAST if self.with_past else CURVES

    @property
    def names(self) -> tuple[str, ...]:
        """All contestants, also those that cannot compete, in the order of the tables."""
        weights = tuple(WEIGHTS.format(method) for method in self.methods)
        forests = (FOREST, FOREST_LAGS, FOREST_HISTORY) if self.with_forest else ()
        return (UNIFORM, PAST_COUNTS, KERNEL_DENSITY, HISTORY, *weights, CURVES, FORECAST, *forests, ORACLE)

    @property
    def competing(self) -> tuple[str, ...]:
        """Those that compete and are fitted."""
        needs_past = {PAST_COUNTS, KERNEL_DENSITY, HISTORY, FORECAST, FOREST_LAGS, FOREST_HISTORY}
        fitted = [name for name in self.names if name not in (UNIFORM, ORACLE)]
        return tuple(name for name in fitted if self.with_past or name not in needs_past)


class Contest:
    """All contestants on one split; what several of them need is made once."""

    def __init__(self, setting: Setting, split: Split) -> None:
        self.setting, self.split = setting, split
        grid, learned = setting.grid, split.learned
        self.curves = build_curves(grid, setting.factors, cells=learned)
        self.part = self.curves.within(learned)
        self.observations = split.training_part(self.part.grid, with_exposure=False)
        self.sizes = self.part.grid.share
        self.where: RiskForecast | None = None
        self._columns: np.ndarray | None = None
        self._grown: tuple[forest.Choice, forest.Choice, forest.Grown] | None = None

    def surfaces(self) -> Iterator[tuple[str, Surface]]:
        """Fit one contestant after the other."""
        ways: dict[str, Callable[[], tuple[np.ndarray, str]]] = {
            PAST_COUNTS: self._past_counts,
            KERNEL_DENSITY: self._kernel_density,
            HISTORY: self._history,
            CURVES: self._curves,
            FORECAST: self._forecast,
            FOREST: self._forest,
            FOREST_LAGS: self._forest_lags,
            FOREST_HISTORY: self._forest_history,
        }
        for method in self.setting.methods:
            ways[WEIGHTS.format(method)] = lambda method=method: self._weights(method)  # type: ignore[misc]
        started = time.perf_counter()
        self._fitted()
        shared = time.perf_counter() - started
        for name in self.setting.competing:
            # The fit that the level of all comes from is the forecast's own.
            started = time.perf_counter() - (shared if name == self.setting.forecast else 0.0)
            expected, note = ways[name]()
            yield name, Surface(self._levelled(name, expected), note, time.perf_counter() - started)

    def _levelled(self, name: str, expected: np.ndarray) -> np.ndarray:
        """Give every contestant the total of the forecast, or in places the rate of the training cells.

        The total is a decision of its own (how much of a trend goes on); what is compared is the pattern.
        """
        if name == FORECAST:
            return expected
        total = (
            float(self._fitted().expected_.sum()) if self.setting.with_past else self.observations.n_incidents
        )
        return np.asarray(expected * (total / expected[self.split.learned].sum()))

    # ---- the model and its parts -------------------------------------------------------------------------------

    def _fitted(self) -> RiskForecast:
        if self.where is None:
            self.where = self._fit_forecast(self.part)
        return self.where

    def _fit_forecast(self, curves: Candidates) -> RiskForecast:
        where = RiskForecast(horizon=self.setting.horizon, random_state=self.setting.seed)
        # Whether factors precede the test was asked before; that they overlap the training is no fault here.
        return where.fit(curves.grid, curves, self.observations, allow_later_factors=True)

    def _forecast(self) -> tuple[np.ndarray, str]:
        where = self._fitted()
        history = where.history_
        strengths = ", ".join(f"{value:.2g}" for value in history.strengths)
        return where.expected_, f"tempering {history.tempering:.2f}; strengths {strengths}"

    def _curves(self) -> tuple[np.ndarray, str]:
        where, sizes = self._fitted(), self.setting.grid.share
        if not where.uses_curves_ or where.path_ is None or where.path_.best is None:
            return sizes.copy(), "flat: no curve beats a flat surface on held-out likelihood"
        coef = where.path_.coefs[where.path_.best]
        rate = np.exp(Design(self.curves.codes, self.curves.tables).linear(coef))
        return sizes * rate, f"{np.count_nonzero(coef)} steps of {coef.size}"

    def _history(self) -> tuple[np.ndarray, str]:
        flat = replace(self.part, codes=(), tables=(), columns=self.part.columns.iloc[:0])
        where = self._fit_forecast(flat)
        return where.expected_, f"strengths {', '.join(f'{value:.2g}' for value in where.history_.strengths)}"

    def _weights(self, method: str) -> tuple[np.ndarray, str]:
        grid, split = self.setting.grid, self.split
        candidates = build_candidates(grid, self.setting.factors, cells=split.learned)
        part = candidates.within(split.learned)
        observations = split.training_part(part.grid, with_exposure=True)
        # Only the surface is wanted: shifts do not enter that of classic weights.
        why = RiskTerrainModel(
            method,  # type: ignore[arg-type]
            shift_test=method == "guarded",
            random_state=self.setting.seed,
        )
        why.fit(part.grid, part, observations, allow_later_factors=True)
        score = np.zeros(grid.n_cells)
        coefs = why.weights_.set_index("factor")["coef"]
        for factor in why.flags_.columns:
            score += coefs[factor] * candidates.column(
                _column_of(part, factor, why.flags_[factor].to_numpy())
            )
        found = ", ".join(why.flags_.columns) or "no factor: flat"
        return np.exp(score) * split.train.exposure.values * grid.share, found

    # ---- baselines ---------------------------------------------------------------------------------------------

    def _parts(self) -> list[np.ndarray]:
        folds = incident_folds(self.observations, N_FOLDS, self.setting.seed)
        return parts_of(self.observations.cells, folds, self.part.grid.n_cells)

    def _past_counts(self) -> tuple[np.ndarray, str]:
        found = past_counts(self.sizes, self._parts())
        return found.shares, f"floor {100 * found.floor:.0f} %"

    def _kernel_density(self) -> tuple[np.ndarray, str]:
        found = kernel_density(self.part.grid, self._parts())
        metres = found.bandwidth_cells * self.part.grid.cell_size
        return found.shares, f"Gaussian, {metres:,.0f} m; floor {100 * found.floor:.0f} %"

    def _forest_columns(self) -> np.ndarray:
        if self._columns is None:
            self._columns = forest.columns_of(self.curves)
        return self._columns

    def _main_forest(self) -> tuple[forest.Choice, forest.Choice, forest.Grown]:
        """The choices for the forest itself and for its out-of-bag surface, and the forest."""
        if self._grown is None:
            columns, seed = self._forest_columns(), self.setting.seed
            lessons = list(split_halves(self.observations, seed))[:2]
            own, unseen = forest.choose_by_time(columns, lessons, self.sizes, seed)
            self._grown = own, unseen, self._grow(columns, own)
        return self._grown

    def _grow(self, columns: np.ndarray, choice: forest.Choice) -> forest.Grown:
        return forest.grow(
            columns, self.observations.counts, self.sizes, leaf=choice.leaf, n_trees=forest.N_TREES,
            seed=self.setting.seed,
        )  # fmt: skip

    def _forest(self) -> tuple[np.ndarray, str]:
        if not self.setting.with_past:
            return self._forest_of_places()
        choice, _, grown = self._main_forest()
        return mixed(grown.whole * self.sizes, self.sizes, choice.floor), _words(choice)

    def _forest_of_places(self) -> tuple[np.ndarray, str]:
        columns, learned, sizes = self._forest_columns(), self.split.learned, self.setting.grid.share
        folds = block_folds(self.part.grid, FOLD_BLOCK_M, N_PLACE_FOLDS, self.setting.seed)
        counts = self.observations.counts
        choice = forest.choose_by_places(columns[learned], counts, self.sizes, folds, self.setting.seed)
        grown = forest.grow(
            columns[learned], counts, self.sizes, leaf=choice.leaf, n_trees=forest.N_TREES, seed=self.setting.seed,
            others=columns,
        )  # fmt: skip
        return mixed(grown.whole * sizes, sizes, choice.floor), _words(choice)

    def _forest_lags(self) -> tuple[np.ndarray, str]:
        """Each third of the incidents is learned from the lags of the other two; all are then the lags."""
        grid, seed, columns = self.part.grid, self.setting.seed, self._forest_columns()
        folds = incident_folds(self.observations, N_LAG_PARTS, seed)
        parts = [part for part in parts_of(self.observations.cells, folds, grid.n_cells) if part.sum() > 0]
        counts = self.observations.counts
        trials = [(np.column_stack([columns, forest.lags(grid, counts - part)]), part) for part in parts]
        choice = forest.choose_by_bag(*trials[-1], self.sizes, seed)
        total = np.zeros(grid.n_cells)
        for number, (own, part) in enumerate(trials):
            # Lags to come are made comparable: as many incidents as the ones that were learned from.
            now = forest.lags(grid, counts * (1 - part.sum() / counts.sum()))
            grown = forest.grow(
                own, part, self.sizes, leaf=choice.leaf, n_trees=-(-forest.N_TREES // len(trials)), seed=seed + number,
                others=np.column_stack([columns, now]),
            )  # fmt: skip
            total += grown.whole
        return mixed(total * self.sizes, self.sizes, choice.floor), _words(choice)

    def _forest_history(self) -> tuple[np.ndarray, str]:
        own, choice, grown = self._main_forest()
        if choice.leaf != own.leaf:
            grown = self._grow(self._forest_columns(), choice)
        base = mixed(grown.out_of_bag * self.sizes, self.sizes, choice.floor)
        history = fit_history(
            self.part.grid,
            base,
            whole_past(self.observations),
            split_halves(self.observations, self.setting.seed),
            weight=self.sizes,
        )
        return history.expected, f"out-of-bag surface, {_words(choice)}; tempering {history.tempering:.2f}"


def _column_of(candidates: Candidates, factor: str, flags: np.ndarray) -> int:
    """Return the column of a factor by the cells it marks: no two columns mark the same."""
    for number in np.flatnonzero(candidates.columns["factor"] == factor):
        if np.array_equal(candidates.column(int(number)), flags):
            return int(number)
    raise RuntimeError(f"no column of {factor!r} marks the cells that the model says")


def _words(choice: forest.Choice) -> str:
    return f"leaves of {choice.leaf} cells or more, floor {100 * choice.floor:.1g} %"


def pooled(splits: Sequence[Split], surfaces: Sequence[np.ndarray]) -> np.ndarray:
    """Return one surface in which every cell is forecast by the fit that has not seen it."""
    expected = np.zeros(len(splits[0].test))
    for split, surface in zip(splits, surfaces, strict=True):
        expected[split.scored] = surface[split.scored]
    return expected
