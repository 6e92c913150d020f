"""What is learned from and what is scored: hold-outs in time, random halves, and places left out."""

import hashlib
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import shapely

from rtmkc.checks import check_columns
from rtmkc.errors import InputError
from rtmkc.inputs.layers import as_layer
from rtmkc.model.folds import block_folds
from rtmkc.model.observations import Observations
from rtmkc.raster.exposure import MeasuredExposure
from rtmkc.raster.grid import Grid
from rtmkc.units import Period, format_length, parse_days, parse_length, parse_period

N_FOLDS = 5
DEFAULT_BLOCK = "1.5 km"


@dataclass(frozen=True, eq=False)
class Split:
    """One training set and the counts it is tested on.

    Attributes
    ----------
    train : Observations
        Incidents that are learned from, on the whole grid; all lie in cells of `learned`.
    learned : ndarray of bool, shape (n_cells,)
        Cells that are learned from.
    test : ndarray of int64, shape (n_cells,)
        Incidents to be forecast; 0 outside `scored`.
    scored : ndarray of bool, shape (n_cells,)
        Cells that are forecast.
    """

    train: Observations
    learned: np.ndarray = field(repr=False)
    test: np.ndarray = field(repr=False)
    scored: np.ndarray = field(repr=False)

    def training_part(self, grid: Grid, *, with_exposure: bool) -> Observations:
        """Return the training incidents on a grid of the learned cells only, as `Candidates.within` makes it.

        Without exposure it is 1 everywhere: the forecast ranks places by what is expected there, busy or not.
        """
        train = self.train
        number = np.cumsum(self.learned) - 1
        exposure = MeasuredExposure(np.ones(grid.n_cells), train.exposure.statement)
        if with_exposure:
            values = train.exposure.values[self.learned]
            exposure = replace(exposure, values=values / values.mean())
        return Observations(
            grid, train.incidents, number[train.cells], train.counts[self.learned], train.period, exposure
        )


@dataclass(frozen=True, eq=False)
class HoldOut:
    """All splits of a validation.

    Attributes
    ----------
    kind : {"time", "halves", "places"}
        Past against later incidents, one random half against the other, or places against other places.
    splits : tuple of Split
        One, or one a fold. Every cell is scored in exactly one.
    train_period, test_period : Period or None
        Days of the incidents that are learned from and scored.
    statement : str
        What was held out, in words.
    """

    kind: str
    splits: tuple[Split, ...]
    train_period: Period | None
    test_period: Period | None
    statement: str

    @property
    def test(self) -> np.ndarray:
        """Incidents to be forecast in every cell; shape (n_cells,)."""
        return np.asarray(sum(split.test for split in self.splits))


def hold_out_period(
    observations: Observations,
    train: str | Period | None,
    test: str | Period | None,
    horizon: int | str,
) -> HoldOut:
    """Learn from one period, score a later one.

    Parameters
    ----------
    observations : Observations
        Incidents with dates.
    train, test : period, optional
        One alone gives the other: all before the test, or all after the training. Without both the last days of
        the incidents, as many as the horizon, are the test.
    horizon : duration
        Length of the test where no period is given.

    Raises
    ------
    InputError
        If the incidents have no dates, the periods overlap or run backwards, or one holds no incidents.
    """
    dates = observations.incidents.dates
    if dates is None:
        raise InputError(
            f"Invalid train {str(train)!r} and test {str(test)!r}. The incidents have no dates to tell them apart; read "
            "them with date=, or leave train and test out: random halves are then compared, and named so."
        )
    first, second = _periods(observations, dates, train, test, horizon)
    learned, scored = first.contains(dates), second.contains(dates)
    for name, period, mine in (("train", first, learned), ("test", second, scored)):
        if not mine.any():
            raise InputError(
                f"Invalid {name} '{period}'. None of the {observations.n_incidents:,} incidents in the study area has a "
                f"date in it; they are of {dates.min().date()} to {dates.max().date()}."
            )
    unused = observations.n_incidents - int(learned.sum() + scored.sum())
    left = f"; {unused:,} incidents of neither period are not used" if unused else ""
    statement = (
        f"hold-out in time: learned from {learned.sum():,} incidents of {first}, scored on {scored.sum():,} of "
        f"{second}{left}"
    )
    return HoldOut("time", (_everywhere(observations, learned, scored, first),), first, second, statement)


def _periods(
    observations: Observations,
    dates: pd.Series,
    train: str | Period | None,
    test: str | Period | None,
    horizon: int | str,
) -> tuple[Period, Period]:
    whole = observations.period or Period(dates.min().date(), dates.max().date())
    day = timedelta(days=1)
    first = None if train is None else parse_period(train)
    second = None if test is None else parse_period(test)
    if second is None:
        start = first.end + day if first else whole.end - (parse_days(horizon, name="horizon") - 1) * day
        if start > whole.end or (first is None and start - day < whole.start):
            raise InputError(
                f"Invalid {'train' if first else 'horizon'} {str(first or horizon)!r}. The incidents are of {whole}, so "
                "nothing would be left on one side; give train= and test=."
            )
        second = Period(start, whole.end)
    if first is None:
        if whole.start > second.start - day:
            raise InputError(
                f"Invalid test '{second}'. The incidents are of {whole}: none come before it to learn from."
            )
        first = Period(whole.start, second.start - day)
    if first.end >= second.start and second.end >= first.start:
        raise InputError(
            f"Invalid train '{first}' and test '{second}'. They overlap, and a model would be tested on what it has "
            "learned; end the training before the test starts."
        )
    if second.end < first.start:
        raise InputError(
            f"Invalid train '{first}' and test '{second}'. The test comes before the training, which would be no "
            "forecast; exchange them."
        )
    return first, second


def hold_out_half(observations: Observations, seed: int) -> HoldOut:
    """Learn from a random half of the incidents, score the other: for incidents without dates.

    The coin of each incident is a hash of its index, so that the order of rows does not matter.
    """
    heads = _hashes(observations.incidents.frame.index, f"half|{seed}") % 2 == 0
    if heads.all() or not heads.any():
        raise InputError(
            f"Invalid incidents: {observations.n_incidents:,}. Too few to be divided into two halves; use a longer "
            "period."
        )
    statement = (
        f"random halves, as the incidents have no dates: learned from {heads.sum():,}, scored on {(~heads).sum():,}. "
        "It says how well places are told apart, not how well a later time is foretold"
    )
    period = observations.period
    return HoldOut("halves", (_everywhere(observations, heads, ~heads, None),), period, period, statement)


def hold_out_places(observations: Observations, by: Any, block: float | str, seed: int) -> HoldOut:
    """Learn from all places but some, score those, in turn.

    Parameters
    ----------
    observations : Observations
        Incidents on a grid.
    by : "blocks", areas (layer, path or frame, or (areas, column)), or ndarray of int (n_cells,)
        Square blocks dealt to five folds, areas left out one by one (with a column, those of one label together),
        or a fold for every cell.
    block : length
        Side of the square blocks.
    seed : int
        Deals the blocks to the folds.

    Raises
    ------
    InputError
        If there is only one fold, or all incidents lie in one.
    """
    grid = observations.grid
    if isinstance(by, str) and by == "blocks":
        side = parse_length(block, name="block", block_length=grid.block_length)
        folds = block_folds(grid, side, N_FOLDS, seed)
        what = f"square blocks of {format_length(side)} in {folds.max() + 1} folds"
    elif isinstance(by, np.ndarray):
        folds = _given_folds(grid, by)
        what = f"{folds.max() + 1} folds of cells as given"
    else:
        folds, name = _folds_of_areas(grid, by)
        what = f"{folds.max() + 1} areas of {name}, one left out at a time"
    per_fold = np.bincount(folds, weights=observations.counts)
    if len(per_fold) < 2 or per_fold.max() == observations.n_incidents:
        raise InputError(
            f"Invalid by of {len(per_fold)} folds. All incidents lie in one of them, and leaving it out leaves nothing "
            "to learn from; give more or other folds."
        )
    splits = []
    for fold in range(len(per_fold)):
        out = folds == fold
        learned = ~out[observations.cells]
        counts = np.where(out, 0, observations.counts)
        kept = observations.incidents.keep(learned, "in places left out")
        train = replace(observations, incidents=kept, cells=observations.cells[learned], counts=counts)
        splits.append(Split(train, ~out, np.where(out, observations.counts, 0), out))
    empty = int((per_fold == 0).sum())
    none = f"; {empty} of them hold no incidents and count by what is expected there" if empty else ""
    statement = f"places left out: {what}{none}. It says whether the factors carry over to places not seen"
    return HoldOut("places", tuple(splits), observations.period, observations.period, statement)


def _everywhere(
    observations: Observations, learned: np.ndarray, scored: np.ndarray, period: Period | None
) -> Split:
    n_cells = observations.grid.n_cells
    cells = observations.cells[learned]
    train = replace(
        observations,
        incidents=replace(
            observations.incidents.keep(learned, "held out, or of neither period"), period=period
        ),
        cells=cells,
        counts=np.bincount(cells, minlength=n_cells),
        period=period,
    )
    everywhere = np.ones(n_cells, dtype=bool)
    return Split(train, everywhere, np.bincount(observations.cells[scored], minlength=n_cells), everywhere)


def _given_folds(grid: Grid, folds: np.ndarray) -> np.ndarray:
    if folds.shape != (grid.n_cells,) or not np.issubdtype(folds.dtype, np.integer) or folds.min() < 0:
        raise InputError(
            f"Invalid by of {folds.dtype} and shape {folds.shape}. Folds are whole numbers from 0, one for each of the "
            f"{grid.n_cells:,} cells."
        )
    return np.unique(folds, return_inverse=True)[1]


def _folds_of_areas(grid: Grid, by: Any) -> tuple[np.ndarray, str]:
    areas, column = by if isinstance(by, tuple) else (by, None)
    layer = as_layer(areas, name="areas", allow_empty=False).to_crs(grid.crs)
    shapes = layer.frame.geometry.to_numpy()
    if not np.isin(shapely.get_type_id(shapes), (3, 6)).all():
        raise InputError(f"Invalid by {layer.name!r}. Places left out are areas; it holds points or lines.")
    label = np.arange(len(shapes))
    if column is not None:
        check_columns([column], layer.frame.columns, "The layer of areas")
        label = pd.factorize(layer.frame[column].astype(str))[0]
    # The area of the centre, the first where several overlap; of a cell between areas the nearest.
    centres = shapely.points(grid.eastings, grid.northings)
    cells, found = shapely.STRtree(shapes).query_nearest(centres, all_matches=True)
    first = np.full(grid.n_cells, len(shapes))
    np.minimum.at(first, cells, found)
    return np.unique(label[first], return_inverse=True)[1], layer.name


def incident_folds(observations: Observations, n_folds: int, seed: int) -> np.ndarray:
    """Return a fold for each incident: consecutive parts of the period, or by a hash where there are no dates.

    Parts in time keep the records of one event together, which random parts take for repetition. A day is never
    divided.
    """
    layer = observations.incidents
    if layer.dates is not None and layer.dates.dt.normalize().nunique() >= n_folds:
        days = layer.dates.dt.normalize()
        middle = days.rank(method="average", pct=True).fillna(0.5).to_numpy()
        return np.unique(np.minimum((middle * n_folds).astype(np.int64), n_folds - 1), return_inverse=True)[1]
    return _hashes(layer.frame.index, f"fold|{seed}") % n_folds


def _hashes(labels: Iterable[Hashable], salt: str) -> np.ndarray:
    return np.array(
        [
            int.from_bytes(hashlib.blake2b(f"{label}|{salt}".encode(), digest_size=4).digest(), "little")
            for label in labels
        ],
        dtype=np.int64,
    )
