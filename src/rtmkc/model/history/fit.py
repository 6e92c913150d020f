"""Local history at several scales: gamma-Poisson multipliers on top of a base surface.

    cur = base ^ gamma, rescaled to the weighted incidents; then for each width h, wide to narrow:
    cur <- cur * (a_h + Y_h) / (a_h + M_h)

Y_h are the incidents under a Gaussian kernel of width h (peak 1), each weighing exp(-age / tau), M_h the same sum of
`cur`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from rtmkc.model.history.ages import Lesson, Lessons, Past
from rtmkc.model.history.cells import HotCells, Multiplier, differentiate
from rtmkc.model.history.intervals import Rates, fit_drift, rates_of
from rtmkc.model.history.kernels import smooth
from rtmkc.model.threads import in_threads, inner
from rtmkc.raster.grid import Grid

WIDTHS_M = (500.0, 125.0)
LOG_STRENGTH_BOUNDS = (-4.0, 10.0)
LOG_STRENGTH_PENALTY = 0.01
TEMPERING_BOUNDS = (0.0, 3.0)
FIRST_DECAY_DAYS = 5 * 365.25
DECAY_BOUNDS = (math.log(90.0), math.log(50 * 365.25))
DECAY_GAIN = 2.0
"""Weights of ages are one more parameter: they are used if they raise the log likelihood by more than this."""
FIRST_HOT = HotCells(share=0.02, lift=7.5, strength=1.0)
HOT_BOUNDS = [(-9.0, 0.0), (0.0, 5.0), (-4.0, 6.0)]
HOT_GAIN = 10.0
MAX_ITERATIONS = 200
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

    @property
    def values(self) -> np.ndarray:
        """What an optimiser moves: gamma, log strengths, log tau if finite, and of hot cells logit share, log lift and
        log strength.
        """
        hot = self.hot
        of_hot = [] if hot is None else [float(logit(hot.share)), math.log(hot.lift), math.log(hot.strength)]
        decay = [math.log(self.decay_days)] if math.isfinite(self.decay_days) else []
        return np.array([self.tempering, *(math.log(value) for value in self.strengths), *decay, *of_hot])

    @property
    def bounds(self) -> list[tuple[float, float]]:
        """Bounds of `values`."""
        decay = [DECAY_BOUNDS] if math.isfinite(self.decay_days) else []
        hot = [] if self.hot is None else HOT_BOUNDS
        return [TEMPERING_BOUNDS, *[LOG_STRENGTH_BOUNDS] * len(self.strengths), *decay, *hot]

    def moved_to(self, values: np.ndarray) -> "Parameters":
        """Return parameters of the same kind with other values."""
        rest = [float(value) for value in values]
        tempering, logs, rest = rest[0], rest[1 : len(self.strengths) + 1], rest[len(self.strengths) + 1 :]
        decay = math.exp(rest.pop(0)) if math.isfinite(self.decay_days) else math.inf
        hot = HotCells(float(expit(rest[0])), math.exp(rest[1]), math.exp(rest[2])) if self.hot else None
        return Parameters(tempering, tuple(math.exp(value) for value in logs), decay, hot)


@dataclass(frozen=True, eq=False)
class History:
    """Multipliers of local history.

    Attributes
    ----------
    parameters : Parameters
        As fitted.
    widths_m : tuple of float
        Kernel widths in metres, wide to narrow; the last, 0, is the cell itself.
    base : ndarray, shape (n_cells,)
        Tempered base, summing to the weighted incidents.
    multipliers : ndarray, shape (n_widths, n_cells)
        One factor per width, wide to narrow.
    counts : ndarray, shape (n_cells,)
        Incidents per cell, weighted by age.
    drift : float
        Variance of a further multiplier of every cell's rate, by which intervals are widened: what the futures of
        the lessons showed beyond the rates that their pasts left.
    log_likelihood : float
        Of the futures of the lessons, given their numbers; 0 without lessons.
    """

    parameters: Parameters
    widths_m: tuple[float, ...]
    base: np.ndarray = field(repr=False)
    multipliers: np.ndarray = field(repr=False)
    counts: np.ndarray = field(repr=False)
    drift: float
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

    def rates(self, total: float) -> Rates:
        """Return the distribution of every cell's rate, without drift, for `total` incidents in all."""
        surface = self.base * np.prod(self.multipliers[:-1], axis=0)
        return rates_of(self.strengths[-1], self.parameters.hot, surface, self.counts, total)


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
    """What a past makes of a base surface with any parameters, and how that moves with them."""

    def __init__(self, scales: Scales, past: Past) -> None:
        self.scales, self.past = scales, past
        self._sums: tuple[float, list[np.ndarray]] | None = None

    def sums(self, decay_days: float) -> list[np.ndarray]:
        """Return the weighted incidents under every kernel."""
        if self._sums is None or self._sums[0] != decay_days:
            counts = self.past.counts(decay_days)
            self._sums = (decay_days, [self.scales.under(k, counts) for k in range(len(self.scales.taps))])
        return self._sums[1]

    def stages(self, parameters: Parameters) -> tuple[list[np.ndarray], list[Multiplier]]:
        """Return the surface before each width and after the last, and the multiplier of each width."""
        sums = self.sums(parameters.decay_days)
        last = len(parameters.strengths) - 1
        base, widest = self.scales.tempered(parameters.tempering)
        total = float(self.past.counts(parameters.decay_days).sum())
        surfaces, multipliers = [base * total], []
        for scale, strength in enumerate(parameters.strengths):
            expected = widest * total if scale == 0 else self.scales.under(scale, surfaces[-1])
            hot = parameters.hot if scale == last else None
            multipliers.append(differentiate(strength, hot, sums[scale], expected))
            surfaces.append(surfaces[-1] * multipliers[-1].value)
        return surfaces, multipliers

    def gradient(
        self,
        parameters: Parameters,
        surfaces: list[np.ndarray],
        multipliers: list[Multiplier],
        slope: np.ndarray,
    ) -> np.ndarray:
        """Return the derivatives by `Parameters.values` of something whose derivatives by the surface are `slope`.

        The chain rule backwards through the widths; kernels are symmetric, and so their own transposes.
        """
        by_strength, by_decay, by_hot = [], 0.0, []
        aged = self.past.slope(parameters.decay_days) if math.isfinite(parameters.decay_days) else None
        for scale in reversed(range(len(multipliers))):
            multiplier = multipliers[scale]
            through = slope * surfaces[scale]
            by_strength.append(parameters.strengths[scale] * inner(through, multiplier.by_strength))
            by_hot += [inner(through, one) for one in multiplier.by_hot]
            if aged is not None:
                by_decay += inner(through * multiplier.by_seen, self.scales.under(scale, aged))
            slope = slope * multiplier.value + self.scales.under(scale, through * multiplier.by_expected)
        base, _ = self.scales.tempered(parameters.tempering)
        total = float(surfaces[0].sum())
        rate = self.scales.log_rate
        by_tempering = total * inner(slope * base, rate - inner(base, rate))
        if aged is not None:
            by_decay += inner(slope, base) * float(aged.sum())
        by_age = [] if aged is None else [by_decay]
        return np.array([by_tempering, *reversed(by_strength), *by_age, *by_hot])


class Trial:
    """How well parameters predict the futures of lessons."""

    def __init__(self, scales: Scales, lessons: Sequence[Lesson]) -> None:
        self._scales = scales
        self.lessons = [lesson for lesson in lessons if lesson.past.total > 0 and lesson.future.sum() > 0]
        self.learners = [Learner(scales, lesson.past) for lesson in self.lessons]
        self._hits = [np.flatnonzero(lesson.future) for lesson in self.lessons]

    def log_likelihood(self, parameters: Parameters) -> float:
        """Return the sum of log(share of the forecast) over all incidents predicted."""
        return self.value_and_gradient(parameters, with_gradient=False)[0]

    def value_and_gradient(
        self, parameters: Parameters, *, with_gradient: bool = True
    ) -> tuple[float, np.ndarray]:
        """Return the log likelihood and its derivatives by `Parameters.values`."""

        def of_one(lesson: Lesson, learner: Learner, hit: np.ndarray) -> tuple[float, np.ndarray]:
            surfaces, multipliers = learner.stages(parameters)
            found, total = surfaces[-1], float(surfaces[-1].sum())
            future = lesson.future[hit]
            value = inner(future.astype(float), np.log(found[hit] / total))
            if not with_gradient:
                return value, np.zeros(len(parameters.values))
            slope = np.full(found.size, -float(future.sum()) / total)
            slope[hit] += future / found[hit]
            return value, learner.gradient(parameters, surfaces, multipliers, slope)

        self._scales.tempered(parameters.tempering)  # all lessons share it: once, before there are threads
        each = in_threads(of_one, self.lessons, self.learners, self._hits)
        none = np.zeros(len(parameters.values))
        return sum(value for value, _ in each), sum((gradient for _, gradient in each), start=none)

    def rates(self, parameters: Parameters) -> list[tuple[Rates, np.ndarray]]:
        """Return what each past says of the rates of its future, and that future."""
        pairs = []
        for lesson, learner in zip(self.lessons, self.learners, strict=True):
            surface = learner.stages(parameters)[0][-2]
            seen = learner.sums(parameters.decay_days)[-1]
            rates = rates_of(parameters.strengths[-1], parameters.hot, surface, seen, lesson.expected_total)
            pairs.append((rates, lesson.future))
        return pairs


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
        Kernel widths in metres, wide to narrow, without the cell itself, which is always the last scale.

    Returns
    -------
    History

    Notes
    -----
    Maximises ``sum t log(cur / sum cur)`` over the incidents t of all futures with a weak penalty ``.01 (log a_h - 1)^2``
    a lesson, with exact derivatives. With a flat base gamma has no effect and stays 1; tau is infinite unless the lessons
    have ages and it raises the log likelihood by more than `DECAY_GAIN`. What was found on parts is used unchanged on
    the whole. Kernels are cut at 4 h along each axis and sum over cells of the area only. The multipliers are posterior
    means of a gamma-Poisson model at each scale (Clayton and Kaldor 1987, Biometrics 43, 671-681).
    """
    past = past if isinstance(past, Past) else Past.of_counts(past)
    weight = np.ones(grid.n_cells) if weight is None else weight
    all_widths = (*widths, 0.0)
    scales = Scales(grid, base, weight, all_widths)
    trial = Trial(scales, list(lessons))
    has_ages = isinstance(lessons, Lessons) and lessons.has_ages
    parameters = fit_parameters(trial, len(all_widths), is_flat=scales.is_flat, has_ages=has_ages)
    surfaces, multipliers = Learner(scales, past).stages(parameters)
    return History(
        parameters,
        all_widths,
        surfaces[0],
        np.array([one.value for one in multipliers]),
        past.counts(parameters.decay_days),
        fit_drift(trial.rates(parameters)),
        trial.log_likelihood(parameters),
    )


def fit_parameters(trial: Trial, n_widths: int, *, is_flat: bool, has_ages: bool) -> Parameters:
    """Climb from the start values: first the plain recipe, then with weights of ages, then with hot cells.

    Each addition starts from what was found without it, and stays if it raises the log likelihood enough.
    """
    found = Parameters(1.0, (math.e,) * n_widths)
    if not trial.lessons:
        return found
    found = climb(trial, found, is_flat=is_flat)
    if has_ages:
        aged = climb(trial, replace(found, decay_days=FIRST_DECAY_DAYS), is_flat=is_flat)
        found = _better(trial, found, aged, DECAY_GAIN)
    return _better(trial, found, climb(trial, replace(found, hot=FIRST_HOT), is_flat=is_flat), HOT_GAIN)


def _better(trial: Trial, one: Parameters, other: Parameters, gain: float) -> Parameters:
    return other if trial.log_likelihood(other) > trial.log_likelihood(one) + gain else one


def climb(trial: Trial, start: Parameters, *, is_flat: bool) -> Parameters:
    """Maximise the penalised likelihood over the values that `start` has, to three decimals.

    They are finer than the data can tell; with them the last digits of sums do not matter.
    """
    n_widths, n_lessons = len(start.strengths), len(trial.lessons)
    n_predicted = sum(float(lesson.future.sum()) for lesson in trial.lessons)
    bounds = list(start.bounds)
    if is_flat:
        bounds[0] = (1.0, 1.0)

    def objective(values: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = trial.value_and_gradient(start.moved_to(values))
        apart = values[1 : n_widths + 1] - 1.0
        loss = LOG_STRENGTH_PENALTY * n_lessons * float(apart @ apart) - value
        slope = -gradient
        slope[1 : n_widths + 1] += 2.0 * LOG_STRENGTH_PENALTY * n_lessons * apart
        return loss / n_predicted, slope / n_predicted

    options = {"maxiter": MAX_ITERATIONS, "ftol": 1e-8, "gtol": 1e-5}
    found = minimize(objective, start.values, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return start.moved_to(np.round(found.x, 3))


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
