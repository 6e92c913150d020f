"""Local history at several scales: gamma-Poisson multipliers on top of a base surface.

    cur = base ^ gamma, rescaled to the weighted incidents; then for each width h, wide to narrow:
    cur <- cur * (a_h + Y_h) / (a_h + M_h)

Y_h are the incidents under a Gaussian kernel of width h (peak 1), each weighing exp(-age / tau), M_h the same sum of
`cur`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import minimize

from rtmkc.model.ages import Lesson, Lessons, Past
from rtmkc.model.history_cells import HotCells, cell_multiplier
from rtmkc.model.kernels import smooth
from rtmkc.raster.grid import Grid

WIDTHS_M = (500.0, 125.0, 0.0)
LOG_STRENGTH_BOUNDS = (-4.0, 10.0)
LOG_STRENGTH_PENALTY = 0.01
TEMPERING_BOUNDS = (0.0, 3.0)
FIRST_DECAY_DAYS = 5 * 365.25
DECAY_BOUNDS_DAYS = (90.0, 50 * 365.25)
DECAY_GAIN = 2.0
"""Weights of ages are one more parameter: they are used if they raise the log likelihood by more than this."""
SMALLEST_RATE = 1e-9
"""Of the mean: where the base says never, history could not correct it."""


@dataclass(frozen=True)
class Parameters:
    """What is fitted.

    Attributes
    ----------
    tempering : float
        Gamma: the power to which the base surface is taken.
    strengths : tuple of float
        a_h of each width, in incidents of today: how many the surface is worth there.
    decay_days : float
        Tau: an incident of age t weighs ``exp(-t / tau)``; infinite if all weigh the same.
    hot : HotCells or None
        The second kind of cell, if there is one.
    """

    tempering: float
    strengths: tuple[float, ...]
    decay_days: float = math.inf
    hot: HotCells | None = None


@dataclass(frozen=True, eq=False)
class History:
    """Multipliers of local history.

    Attributes
    ----------
    parameters : Parameters
        As fitted.
    widths_m : tuple of float
        Kernel widths in metres, wide to narrow; 0 is the cell itself.
    base : ndarray, shape (n_cells,)
        Tempered base, summing to the weighted incidents.
    multipliers : ndarray, shape (n_widths, n_cells)
        One factor per width, wide to narrow.
    counts : ndarray, shape (n_cells,)
        Incidents per cell, weighted by age.
    log_likelihood : float
        Of the futures of the lessons, given their numbers; 0 without lessons.
    """

    parameters: Parameters
    widths_m: tuple[float, ...]
    base: np.ndarray = field(repr=False)
    multipliers: np.ndarray = field(repr=False)
    counts: np.ndarray = field(repr=False)
    log_likelihood: float

    @property
    def tempering(self) -> float:
        """Gamma: the power to which the base surface is taken."""
        return self.parameters.tempering

    @property
    def strengths(self) -> tuple[float, ...]:
        """a_h of each width."""
        return self.parameters.strengths

    @property
    def expected(self) -> np.ndarray:
        """The surface: base times multipliers; shape (n_cells,)."""
        return np.asarray(self.base * np.prod(self.multipliers, axis=0))


class Scales:
    """A base surface and the widths on its grid."""

    def __init__(self, grid: Grid, base: np.ndarray, weight: np.ndarray, widths: Sequence[float]) -> None:
        rate = base / weight
        self.grid, self.weight = grid, weight
        self.log_rate = np.log(np.maximum(rate, SMALLEST_RATE * rate.mean()))
        self.taps = [_taps(width / grid.cell_size) for width in widths]
        self._spans = _spans(grid.inside)
        self._tempered: tuple[float, np.ndarray, np.ndarray] | None = None

    @property
    def is_flat(self) -> bool:
        """Whether the base is the same to every power: there is no tempering to fit."""
        return float(np.ptp(self.log_rate)) < 1e-9

    def under(self, scale: int, vector: np.ndarray) -> np.ndarray:
        """Return the sums of a cell vector under the kernel of a width."""
        taps = self.taps[scale]
        if taps.size == 1:
            return vector
        return self.grid.to_vector(smooth(self.grid.to_raster(vector, fill=0.0), taps, *self._spans))

    def tempered(self, tempering: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the base to the power `tempering` with sum 1, and its sums under the widest kernel."""
        if self._tempered is None or self._tempered[0] != tempering:
            power = tempering * self.log_rate
            base = self.weight * np.exp(power - power.max())
            base /= base.sum()
            self._tempered = (tempering, base, self.under(0, base))
        return self._tempered[1:]


class Learner:
    """What a past makes of a base surface with any parameters.

    An optimiser mostly moves one parameter at a time, and the sums under a kernel depend only on the parameters
    before it: what did not change is kept.
    """

    def __init__(self, scales: Scales, past: Past) -> None:
        self.scales, self.past = scales, past
        self._sums: tuple[float, list[np.ndarray]] | None = None
        self._stages: list[tuple[object, np.ndarray, np.ndarray]] = []

    def sums(self, decay_days: float) -> list[np.ndarray]:
        """Return the weighted incidents under every kernel."""
        if self._sums is None or self._sums[0] != decay_days:
            counts = self.past.counts(decay_days)
            self._sums = (decay_days, [self.scales.under(k, counts) for k in range(len(self.scales.taps))])
        return self._sums[1]

    def stage(self, parameters: Parameters, scale: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the surface before the history of a width, and its sums under that kernel."""
        key = (parameters.tempering, parameters.decay_days, parameters.strengths[:scale])
        if len(self._stages) > scale and self._stages[scale][0] == key:
            return self._stages[scale][1:]
        if scale == 0:
            base, widest = self.scales.tempered(parameters.tempering)
            total = float(self.sums(parameters.decay_days)[-1].sum())
            surface, expected = base * total, widest * total
        else:
            surface = self.stage(parameters, scale - 1)[0] * self.multiplier(parameters, scale - 1)
            expected = self.scales.under(scale, surface)
        self._stages[scale:] = [(key, surface, expected)]
        return surface, expected

    def multiplier(self, parameters: Parameters, scale: int) -> np.ndarray:
        """Return the gamma-Poisson multiplier of a width; 1 where nothing is expected and nothing was seen."""
        seen, expected = self.sums(parameters.decay_days)[scale], self.stage(parameters, scale)[1]
        hot = parameters.hot if scale == len(parameters.strengths) - 1 else None
        return cell_multiplier(parameters.strengths[scale], hot, seen, expected)

    def surface(self, parameters: Parameters) -> np.ndarray:
        """Return the surface after all widths."""
        last = len(parameters.strengths) - 1
        return np.asarray(self.stage(parameters, last)[0] * self.multiplier(parameters, last))


class Trial:
    """How well parameters predict the futures of lessons."""

    def __init__(self, scales: Scales, lessons: Sequence[Lesson]) -> None:
        usable = [lesson for lesson in lessons if lesson.past.total > 0 and lesson.future.sum() > 0]
        self.lessons = usable
        self.learners = [Learner(scales, lesson.past) for lesson in usable]
        self._hits = [np.flatnonzero(lesson.future) for lesson in usable]

    def log_likelihood(self, parameters: Parameters) -> float:
        """Return the sum of log(share of the forecast) over all incidents predicted."""
        total = 0.0
        for lesson, learner, hit in zip(self.lessons, self.learners, self._hits, strict=True):
            surface = learner.surface(parameters)
            total += float(lesson.future[hit] @ np.log(surface[hit] / surface.sum()))
        return total


def fit_history(
    grid: Grid,
    base: np.ndarray,
    past: Past | np.ndarray,
    lessons: Lessons | Sequence[Lesson],
    *,
    weight: np.ndarray | None = None,
    widths: Sequence[float] = WIDTHS_M,
) -> History:
    """Fit tempering, strengths and the weights of ages by predicting parts of a period from others.

    Parameters
    ----------
    grid : Grid
        The grid.
    base : ndarray, shape (n_cells,)
        Expected incidents by the environment; a constant for history alone.
    past : Past, or ndarray of shape (n_cells,)
        All incidents, with their ages or as counts per cell.
    lessons : Lessons, or sequence of Lesson
        From `split_halves`; without any the start values stay.
    weight : ndarray, shape (n_cells,), optional
        Size of each cell (its share inside the area), which is not tempered.
    widths : sequence of float
        Kernel widths in metres, wide to narrow; 0 is the cell itself.

    Returns
    -------
    History

    Notes
    -----
    Maximises ``sum t log(cur / sum cur)`` over the incidents t of all futures with a weak penalty ``.01 (log a_h - 1)^2``
    a lesson, by Powell's method. With a flat base gamma has no effect and stays 1; tau is infinite unless the lessons
    have ages and it raises the log likelihood by more than `DECAY_GAIN`. What was found on parts is used unchanged on
    the whole. Kernels are cut at 4 h along each axis and sum over cells of the area only. The multipliers are posterior
    means of a gamma-Poisson model at each scale (Clayton and Kaldor 1987, Biometrics 43, 671-681).
    """
    past = past if isinstance(past, Past) else Past.of_counts(past)
    weight = np.ones(grid.n_cells) if weight is None else weight
    scales = Scales(grid, base, weight, widths)
    trial = Trial(scales, list(lessons))
    has_ages = isinstance(lessons, Lessons) and lessons.has_ages
    parameters = _fit(trial, scales.is_flat, len(widths), has_ages=has_ages)
    learner = Learner(scales, past)
    multipliers = np.array([learner.multiplier(parameters, scale) for scale in range(len(widths))])
    return History(
        parameters,
        tuple(widths),
        learner.stage(parameters, 0)[0],
        multipliers,
        past.counts(parameters.decay_days),
        trial.log_likelihood(parameters),
    )


def _fit(trial: Trial, is_flat: bool, n_widths: int, *, has_ages: bool) -> Parameters:
    """Climb from the start values, first with equal weights, then with weights of ages."""
    n_lessons = len(trial.lessons)

    def read(values: np.ndarray) -> Parameters:
        tempering = 1.0 if is_flat else float(values[0])
        rest = values if is_flat else values[1:]
        decay = float(np.exp(rest[n_widths])) if len(rest) > n_widths else math.inf
        return Parameters(tempering, tuple(float(value) for value in np.exp(rest[:n_widths])), decay)

    def objective(values: np.ndarray) -> float:
        parameters = read(values)
        penalty = LOG_STRENGTH_PENALTY * sum((math.log(value) - 1.0) ** 2 for value in parameters.strengths)
        return penalty * n_lessons - trial.log_likelihood(parameters)

    start = np.ones(n_widths + (0 if is_flat else 1))
    bounds = ([] if is_flat else [TEMPERING_BOUNDS]) + [LOG_STRENGTH_BOUNDS] * n_widths
    if not n_lessons:
        return read(start)
    found = climb(objective, start, bounds)
    if has_ages:
        longer = np.append(found, math.log(FIRST_DECAY_DAYS))
        low, high = (math.log(days) for days in DECAY_BOUNDS_DAYS)
        aged = climb(objective, longer, [*bounds, (low, high)])
        if trial.log_likelihood(read(aged)) > trial.log_likelihood(read(found)) + DECAY_GAIN:
            found = aged
    return read(found)


def climb(
    objective: Callable[[np.ndarray], float], start: np.ndarray, bounds: Sequence[tuple[float, float]]
) -> np.ndarray:
    """Return the minimum by Powell's method, to three decimals.

    They are finer than the data can tell; with them the last digits of sums do not matter.
    """
    options = {"xtol": 1e-3, "ftol": 1e-7}
    return np.round(minimize(objective, start, method="Powell", bounds=bounds, options=options).x, 3)


def _taps(width: float) -> np.ndarray:
    """The kernel from its centre outwards; `width` in cells."""
    if width <= 0:
        return np.ones(1)
    return np.exp(-0.5 * (np.arange(int(4 * width + 1e-9) + 1) / width) ** 2)


def _spans(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first column of the area in every row, and the one after its last; equal where there is none."""
    some = inside.any(axis=1)
    first = np.where(some, inside.argmax(axis=1), 0)
    last = np.where(some, inside.shape[1] - inside[:, ::-1].argmax(axis=1), 0)
    return first, last
