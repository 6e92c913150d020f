"""How long ago: incidents with their ages, and the lessons that a past teaches about what came after it."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from rtmkc.model.observations import Observations
from rtmkc.units import Period

RANDOM_SPLITS = 5
YEAR_DAYS = 365
EPOCH = 719_163
"""The ordinal of 1970-01-01."""
LONG_DAYS = 3 * YEAR_DAYS
"""From three years on the last one is predicted from those before it; ages tell something only then."""


@dataclass(frozen=True, eq=False)
class Past:
    """Incidents that a forecast is made from.

    Attributes
    ----------
    n_cells : int
        Cells of the grid.
    cells : ndarray of int, shape (n,)
        The cell of each incident, or of each cell's incidents where they have no dates.
    ages : ndarray, shape (n,)
        Days from each incident to the day from which the forecast is made; 0 without dates.
    numbers : ndarray, shape (n,)
        How many incidents each entry stands for.
    """

    n_cells: int
    cells: np.ndarray = field(repr=False)
    ages: np.ndarray = field(repr=False)
    numbers: np.ndarray = field(repr=False)

    @classmethod
    def of_counts(cls, counts: np.ndarray) -> "Past":
        """Return a past of which only the incidents per cell are known."""
        cells = np.flatnonzero(counts)
        return cls(len(counts), cells, np.zeros(len(cells)), np.asarray(counts, dtype=float)[cells])

    @property
    def total(self) -> float:
        """Number of incidents, each counted whole."""
        return float(self.numbers.sum())

    def counts(self, decay_days: float = math.inf) -> np.ndarray:
        """Return the incidents per cell, each weighing ``exp(-age / decay_days)``; shape (n_cells,)."""
        weights = self.numbers * np.exp(-self.ages / decay_days)
        return np.bincount(self.cells, weights=weights, minlength=self.n_cells)

    def slope(self, decay_days: float) -> np.ndarray:
        """Return the derivative of `counts` by log(decay_days); shape (n_cells,)."""
        old = self.ages / decay_days
        return np.bincount(self.cells, weights=self.numbers * np.exp(-old) * old, minlength=self.n_cells)


@dataclass(frozen=True, eq=False)
class Lesson:
    """A past, and what came after it.

    Attributes
    ----------
    past : Past
        What is learned from.
    future : ndarray, shape (n_cells,)
        Incidents per cell that are to be predicted.
    expected_total : float
        How many they should be by the rate of the past.
    """

    past: Past
    future: np.ndarray = field(repr=False)
    expected_total: float


@dataclass(frozen=True, eq=False)
class Lessons:
    """What can be learned from a period by predicting parts of it from others.

    Attributes
    ----------
    lessons : tuple of Lesson
        The first one goes forward in time where there are dates.
    learned : ndarray of bool, shape (n_incidents,)
        The incidents of the first lesson's past.
    first : Period or None
        The days of that past.
    by_time : bool
        Whether parts are parts of the period, or drawn at random.
    has_ages : bool
        Whether the past is long enough for the age of an incident to matter.
    statement : str
        What was done, for people.
    """

    lessons: tuple[Lesson, ...]
    learned: np.ndarray = field(repr=False)
    first: Period | None
    by_time: bool
    has_ages: bool
    statement: str

    def __iter__(self) -> Any:
        return iter(self.lessons)


def whole_past(observations: Observations) -> Past:
    """Return all incidents with their ages on the day after the period."""
    days = _days(observations)
    if days is None:
        return Past.of_counts(observations.counts)
    return _past(observations, _ends(observations, days)[1] + 1 - days)


def split_halves(observations: Observations, seed: int) -> Lessons:
    """Return the lessons of a period: its last year, its halves by time, or random halves.

    Parameters
    ----------
    observations : Observations
        Incidents on a grid.
    seed : int
        Of the random halves.

    Returns
    -------
    Lessons
        With at least three years of dates, the last 365 days are predicted from all before them. With a
        shorter period each half by date is predicted from the other: parts in time keep the records of one
        event together. Without dates, or where all lie on one day, five times random halves, both ways, are
        drawn by a hash of each incident's index, so that the order of rows does not matter.
    """
    days = _days(observations)
    if days is not None:
        start, end = _ends(observations, days)
        length = end - start + 1
        if length >= LONG_DAYS:
            cut = end + 1 - YEAR_DAYS
            early = days < cut
            if early.any() and not early.all():
                lesson = _forward(observations, days, early, cut, length)
                return Lessons(
                    (lesson,), early, _until(observations, cut), True, True,
                    f"tempering, strengths and the weights of ages were fitted to predict the last {YEAR_DAYS} days from "
                    f"the {length - YEAR_DAYS:,} before them",
                )  # fmt: skip
        # The first of the day in the middle of all incidents: no day is cut in two.
        cut = int(np.sort(days)[len(days) // 2])
        early = days < cut
        if early.any():
            return Lessons(
                _both_ways(observations, early, (cut - start) / (end + 1 - cut)),
                early, _until(observations, cut), True, False,
                "tempering and strengths were fitted to predict each half of the period from the other",
            )  # fmt: skip
    drawn = [_coins(observations, seed, split) for split in range(RANDOM_SPLITS)]
    why = "all incidents are of one day" if days is not None else "the incidents have no dates"
    return Lessons(
        tuple(lesson for first in drawn for lesson in _both_ways(observations, first, None)),
        drawn[0], observations.period, False, False,
        f"{why}: tempering and strengths were fitted to predict random halves from each other, which takes records of one "
        "event on both sides for repetition",
    )  # fmt: skip


def both_ways(halves: Sequence[np.ndarray], counts: np.ndarray) -> tuple[Lesson, ...]:
    """Return the lessons of halves of counts: each predicted from the rest, and the rest from it."""
    pairs = [(half, counts - half) for half in halves]
    return tuple(
        Lesson(Past.of_counts(past), future, float(np.sum(future)))
        for one, other in pairs
        for past, future in ((one, other), (other, one))
    )


def recent_rate(observations: Observations) -> tuple[float, str]:
    """Return the incidents a day that a forecast goes on from, and in words what they were taken from.

    Of a period of three years or more it is the rate of the last 365 days: levels drift, and a whole year has
    every season. Of a shorter one it is that of the whole. The period must be known.
    """
    assert observations.period is not None
    days, length = _days(observations), observations.period.days
    if days is None or length < LONG_DAYS:
        return observations.n_incidents / length, "the level is that of the whole period"
    recent = int((days > observations.period.end.toordinal() - YEAR_DAYS).sum())
    if not recent:
        return (
            observations.n_incidents / length,
            "the level is that of the whole period: its last year has none",
        )
    return recent / YEAR_DAYS, f"the level is that of the last {YEAR_DAYS} days ({recent:,} incidents)"


def first_part(observations: Observations, lessons: Lessons) -> Observations:
    """Return the incidents of the first lesson's past, as if nothing were known of the rest."""
    kept = lessons.learned
    cells = observations.cells[kept]
    return replace(
        observations,
        incidents=observations.incidents.keep(kept, "later than the first part"),
        cells=cells,
        counts=np.bincount(cells, minlength=observations.grid.n_cells),
        period=lessons.first,
    )


def _days(observations: Observations) -> np.ndarray | None:
    """The day of each incident as a proleptic ordinal, if most have one; the rest count as of the median day."""
    dates = observations.incidents.dates
    if dates is None or dates.isna().mean() > 0.5:
        return None
    days = pd.DatetimeIndex(dates).to_numpy().astype("datetime64[D]")
    known = ~np.isnat(days)
    ordinals = np.where(known, days.astype(np.int64) + EPOCH, 0)
    ordinals[~known] = np.sort(ordinals[known])[known.sum() // 2]
    return np.asarray(ordinals)


def _ends(observations: Observations, days: np.ndarray) -> tuple[int, int]:
    period = observations.period
    if period is None:
        return int(days.min()), int(days.max())
    return min(period.start.toordinal(), int(days.min())), max(period.end.toordinal(), int(days.max()))


def _until(observations: Observations, cut: int) -> Period | None:
    period = observations.period
    if period is None or cut <= period.start.toordinal():
        return None
    return Period(period.start, period.start + timedelta(days=cut - 1 - period.start.toordinal()))


def _past(observations: Observations, ages: np.ndarray, kept: np.ndarray | None = None) -> Past:
    cells = observations.cells if kept is None else observations.cells[kept]
    ages = ages if kept is None else ages[kept]
    return Past(observations.grid.n_cells, cells, ages.astype(float), np.ones(len(cells)))


def _forward(
    observations: Observations, days: np.ndarray, early: np.ndarray, cut: int, length: int
) -> Lesson:
    n_cells = observations.grid.n_cells
    recent = int((early & (days >= cut - YEAR_DAYS)).sum())
    return Lesson(
        _past(observations, cut - days, early),
        np.bincount(observations.cells[~early], minlength=n_cells),
        float(recent or early.sum() * YEAR_DAYS / (length - YEAR_DAYS)),
    )


def _both_ways(observations: Observations, first: np.ndarray, ratio: float | None) -> tuple[Lesson, ...]:
    """Two lessons; `ratio` is the length of the first part to that of the second (None: their totals are taken as known)."""
    n_cells = observations.grid.n_cells
    parts = [np.bincount(observations.cells[mine], minlength=n_cells) for mine in (first, ~first)]
    one, other = (float(part.sum()) for part in parts)
    return (
        Lesson(Past.of_counts(parts[0]), parts[1], other if ratio is None else one / ratio),
        Lesson(Past.of_counts(parts[1]), parts[0], one if ratio is None else other * ratio),
    )


def _coins(observations: Observations, seed: int, split: int) -> np.ndarray:
    """Heads or tails for every incident, by a hash of its index."""
    labels = (f"{label}|{seed}|{split}".encode() for label in observations.incidents.frame.index)
    return np.array(
        [bool(hashlib.blake2b(label, digest_size=1).digest()[0] & 1) for label in labels], dtype=bool
    )
