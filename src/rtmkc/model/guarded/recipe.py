"""The guarded recipe: weights, p-values and intervals that hold where risk is patchy.

1. screen by an elastic net over spatial blocks, search by BIC: a working model
2. leave out each factor in turn, and test all its columns by shifts against what the others leave over
3. keep the factors that pass for all candidates together, each with the column that fits best
4. fit their weights, allowing for patches of risk that no factor explains
5. intervals as wide as shifted maps of the same factor say they must be
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from rtmkc.engine.rows.collapse import collapse
from rtmkc.engine.rows.families import GlmFit, fit_glm
from rtmkc.engine.sweeps import Design
from rtmkc.model.folds import block_folds
from rtmkc.model.guarded.noise import ROUGH, NoiseFit, Whitened, Whitener, fit_with_noise, measure_noise
from rtmkc.model.guarded.plane import Plane
from rtmkc.model.guarded.shifts import ShiftScores, ShiftTest, adjust_stepwise
from rtmkc.model.selection import MIN_INCIDENTS, Screen, Selection, select_columns
from rtmkc.raster.candidates import Candidates

LEVEL = 0.05
"""Probability of any false factor that the gate aims at."""
EXTENT_LEVEL = 0.9
MIN_EFFECTIVE = 1 / LEVEL
"""Independent shifts below which a probability of .05 cannot be told."""
WALD = 1.959963984540054
MAX_TURNS = 50

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Response:
    """What is explained: counts, log exposure, and covariates that every model has, (n_cells, n_covariates)."""

    counts: np.ndarray
    offset: np.ndarray
    covariates: np.ndarray


@dataclass(frozen=True, eq=False)
class Gate:
    """What shifts say of every candidate factor.

    Attributes
    ----------
    columns : dict of str to ndarray of int
        The columns of each factor that were scored.
    scores : dict of str to ShiftScores
        Factors without any column to score are not in it.
    adjusted : dict of str to float
        p-values that hold for all candidate factors together.
    n_shifts : int
    """

    columns: dict[str, np.ndarray]
    scores: dict[str, ShiftScores] = field(repr=False)
    adjusted: dict[str, float]
    n_shifts: int

    def best_column(self, factor: str) -> int:
        """Return the column of a factor that fits best where it is."""
        return int(self.columns[factor][self.scores[factor].best])

    def is_decided(self, factor: str) -> bool:
        """Whether the map holds enough independent shifts to tell the factor from chance."""
        return self.scores[factor].n_effective >= MIN_EFFECTIVE

    def passed(self) -> list[str]:
        """Return the factors that pass, most certain first."""
        inside = [name for name, p in self.adjusted.items() if p <= LEVEL and self.is_decided(name)]
        return sorted(inside, key=lambda name: -float(self.scores[name].statistic[0]))


@dataclass(frozen=True, eq=False)
class Interval:
    """Interval of one weight, calibrated by shifts."""

    se: float
    multiple: float
    naive_se: float
    design_effect: float
    extents: tuple[int, ...]

    @property
    def half_width(self) -> float:
        """Of the 95 % interval of the log relative risk value."""
        return self.multiple * self.se

    @property
    def inflation(self) -> float:
        """How many times wider than the naive interval."""
        return self.half_width / (WALD * self.naive_se)


@dataclass(frozen=True, eq=False)
class GuardedFit:
    """What the guarded recipe found, step by step."""

    selection: Selection
    block_side: float
    gate: Gate
    columns: tuple[int, ...]
    removed: dict[str, str]
    naive: GlmFit
    final: NoiseFit | None
    means: np.ndarray
    intervals: tuple[Interval, ...]


def fit_guarded(
    screen: Screen,
    candidates: Candidates,
    response: Response,
    *,
    n_folds: int,
    fold_block: float,
    random_state: int,
    folds: np.ndarray | None = None,
    progress: Progress | None = None,
) -> GuardedFit:
    """Run the five steps of the recipe."""
    grid, design = candidates.grid, Design(candidates.codes, candidates.tables)
    plane = Plane(grid)
    # The search collapses equal cells, which covariates make unequal: they enter it as they are fitted alone.
    null = np.log(poisson_means(design, (), response)[1])
    offset = null if response.covariates.shape[1] else response.offset

    def working_model(cell_folds: np.ndarray) -> Selection:
        return select_columns(
            screen, candidates, response.counts, offset, cell_folds, swaps=True, progress=progress
        )

    blocks = folds if folds is not None else block_folds(grid, fold_block, n_folds, random_state)
    selection = working_model(blocks)
    if folds is None:
        means = poisson_means(design, selection.chosen.columns, response)[1]
        reach = grid.cell_size * measure_noise(plane, response.counts, means).range_cells
        if reach > fold_block / 2:
            # Blocks that one patch of risk can cover do not hold anything out.
            fold_block = 3 * reach
            selection = working_model(block_folds(grid, fold_block, n_folds, random_state))

    gate = gate_by_shifts(plane, candidates, selection.chosen.columns, response)
    columns, removed = _columns_of(gate, candidates, response.counts)
    final, columns = _fit_in_direction(plane, candidates, columns, response, removed)
    naive, means = poisson_means(design, columns, response)
    intervals: tuple[Interval, ...] = ()
    if final is not None:
        means = final.means
        intervals = _calibrate(plane, candidates, gate, columns, naive, final)
    return GuardedFit(selection, fold_block, gate, tuple(columns), removed, naive, final, means, intervals)


def poisson_means(design: Design, columns: Sequence[int], response: Response) -> tuple[GlmFit, np.ndarray]:
    """Fit columns as independent Poisson counts; return the fit and the means of the cells.

    Columns collapse, covariates do not: one is fitted with the other held, in turn, until neither moves.
    """
    counts, offset, covariates = response.counts, response.offset, response.covariates

    def effect_of(fit: GlmFit) -> np.ndarray:
        return design.dense(columns) @ fit.coef if len(columns) else np.zeros(counts.size)

    fit = collapse(design, columns, counts, offset).fit()
    effect = effect_of(fit)
    if not covariates.shape[1]:
        return fit, np.exp(fit.intercept + effect + offset)
    busy, before = np.zeros(counts.size), np.inf
    for _ in range(MAX_TURNS):
        by_exposure = fit_glm(covariates, counts, offset=offset + effect)
        busy = covariates @ by_exposure.coef
        fit = collapse(design, columns, counts, offset + busy).fit()
        effect = effect_of(fit)
        if abs(fit.log_likelihood - before) < 1e-9 * abs(before):
            break
        before = fit.log_likelihood
    return fit, np.exp(fit.intercept + effect + busy + offset)


def gate_by_shifts(plane: Plane, candidates: Candidates, model: Sequence[int], response: Response) -> Gate:
    """Test every factor by shifts, against what the other factors of a model leave over.

    The residuals are weighted by the inverse of their covariance, which is measured on themselves: it knows nothing of
    where the tested factor is, and makes a factor of small reach stand out from patches of large.
    """
    design, test, counts = Design(candidates.codes, candidates.tables), ShiftTest(plane), response.counts
    factor_of = candidates.columns["factor"].to_numpy()
    # By cell share and not by incidents inside, which would favour the place itself over its shifts.
    expected = candidates.columns["cell_share"].to_numpy() * counts.sum()
    enough = np.minimum(expected, counts.sum() - expected) >= MIN_INCIDENTS
    residuals: dict[tuple[int, ...], Whitened] = {}
    columns, scores = {}, {}
    for factor in candidates.factors:
        own = np.flatnonzero((factor_of == factor.name) & enough)
        if not own.size or not test.n_shifts:
            continue
        others = tuple(column for column in model if factor_of[column] != factor.name)
        if others not in residuals:
            means = poisson_means(design, others, response)[1]
            noise = measure_noise(plane, counts, means)
            whitener = Whitener(plane, means, noise, tolerance=ROUGH)
            residuals[others] = whitener.whiten(counts, means)
        columns[factor.name] = own
        maps = [candidates.column(int(column)).astype(float) for column in own]
        scores[factor.name] = test.score(maps, residuals[others], factor.direction)
    adjusted = adjust_stepwise([score.statistic for score in scores.values()])
    return Gate(columns, scores, dict(zip(scores, map(float, adjusted), strict=True)), test.n_shifts)


def _columns_of(gate: Gate, candidates: Candidates, counts: np.ndarray) -> tuple[list[int], dict[str, str]]:
    """The columns of the factors that pass; a column without enough incidents cannot carry a weight."""
    columns, removed = [], {}
    for name in gate.passed():
        column = gate.best_column(name)
        inside = float(counts[candidates.column(column)].sum())
        if min(inside, counts.sum() - inside) < MIN_INCIDENTS:
            removed[name] = f"its best column has {inside:.0f} incidents inside: too few for a weight"
        else:
            columns.append(column)
    return columns, removed


def _fit_in_direction(
    plane: Plane, candidates: Candidates, columns: list[int], response: Response, removed: dict[str, str]
) -> tuple[NoiseFit | None, list[int]]:
    """Fit the weights; beside the others a factor may lose its direction, and is then taken out."""
    design = Design(candidates.codes, candidates.tables)
    signs = candidates.columns["direction"].map({"aggravating": 1.0, "protective": -1.0, "either": 0.0})
    while columns:
        means = poisson_means(design, columns, response)[1]
        final = fit_with_noise(
            plane, design.dense(columns), response.covariates, response.counts, response.offset, means
        )
        along = final.coef * signs.to_numpy()[columns] / final.standard_errors
        worst = int(np.argmin(along))
        if along[worst] >= 0:
            return final, columns
        name = str(candidates.columns["factor"].iloc[columns[worst]])
        removed[name] = "beside the other factors it acts against its direction"
        columns = [column for number, column in enumerate(columns) if number != worst]
    return None, columns


def _calibrate(
    plane: Plane,
    candidates: Candidates,
    gate: Gate,
    columns: list[int],
    naive: GlmFit,
    final: NoiseFit,
) -> tuple[Interval, ...]:
    """Widen each standard error to the spread that shifted maps have, and the multiple for the choice of column."""
    test, intervals = ShiftTest(plane), []
    for position, column in enumerate(columns):
        factor = str(candidates.columns["factor"].iloc[column])
        own = gate.columns[factor]
        maps = [candidates.column(int(one)).astype(float) for one in own]
        scores = test.score(maps, final.whitened, "either")
        place = int(np.flatnonzero(own == column)[0])
        # 1 if the noise were as measured; shifts also know what the exponential covariance misses.
        ratio = float(scores.variance[place] / final.information[position])
        misjudged = float(scores.spread[place]) * np.sqrt(ratio)
        extents = gate.columns[factor][gate.scores[factor].extent_set(EXTENT_LEVEL)]
        se = float(final.standard_errors[position]) * max(1.0, misjudged)
        naive_se = float(naive.standard_errors[position + 1])  # the intercept comes first
        intervals.append(
            Interval(
                se,
                max(WALD, scores.reach(1 - LEVEL)),
                naive_se,
                (se / naive_se) ** 2,
                tuple(int(one) for one in extents),
            )
        )
    return tuple(intervals)
