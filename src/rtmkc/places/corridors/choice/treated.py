"""Corridors treated already: the recent ones are left out, the older ones count less for a while."""

import datetime
import math
from dataclasses import dataclass, field
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely
from shapely.geometry.base import BaseGeometry

from rtmkc.checks import check_columns, check_number
from rtmkc.errors import InputError
from rtmkc.inputs.columns import find_column
from rtmkc.inputs.dates import DATE_NAMES, parse_dates
from rtmkc.inputs.layers import as_layer
from rtmkc.units import format_length, parse_days, parse_length

_START_NAMES = ("start", "startdate", "datestart", "started", "begin", "begindate", "from", *DATE_NAMES)
_END_NAMES = ("end", "enddate", "dateend", "ended", "until", "finish", "finished", "finishdate", "lastday")
_DAYS_NAMES = ("days", "duration", "durationdays", "ndays", "numberofdays")
LEAST_SHARE = 0.5
"""A block runs along a treated corridor if this share of its length is near it; a side street does not."""


@dataclass(frozen=True, eq=False)
class Treated:
    """Corridors where work was done, and what that means for the next choice.

    Attributes
    ----------
    excluded : geometry or None
        Everything that is under way, planned, undated or within the cool-down: the next corridors keep their
        separation from it.
    fading : ndarray of geometry, shape (m,)
        Corridors whose cool-down is over.
    fading_age_days : ndarray, shape (m,)
        Days since each of these ended.
    fade : float
        What is taken off at age 0, as a share.
    fade_days : float
        Days in which that falls to 37 % (1/e).
    near_m : float
        How near a block must be to run along a treated corridor, in metres.
    notes : tuple of str
        What was decided, with counts.

    Notes
    -----
    Both are knobs of policy, not measurements. The cool-down shares the work out between places; the fade
    says how much a place that had its turn stands back, ``1 - fade exp(-age / fade_days)``. Neither says that
    the work lowered the risk there: that is what an evaluation is for.
    """

    excluded: BaseGeometry | None
    fading: np.ndarray
    fading_age_days: np.ndarray
    fade: float
    fade_days: float
    near_m: float
    notes: tuple[str, ...] = field(default=())

    @classmethod
    def from_layer(
        cls,
        treated: Any,
        *,
        crs: Any,
        today: str | datetime.date,
        date: str | None = None,
        days: str | int | None = None,
        end: str | None = None,
        cooldown: int | str = "365 days",
        fade: float = 0.5,
        fade_days: int | str = "365 days",
        near: float | str = "30 m",
    ) -> "Treated":
        """Read treated corridors and judge each by its age.

        Parameters
        ----------
        treated : Layer, GeoDataFrame or path
            Lines, or areas or points around which work was done.
        crs : anything pyproj reads
            Projected system in metres to work in.
        today : date or str
            Day from which ages are counted, as "2024-12-31": never the clock, so that a run can be repeated.
        date : str, optional
            Column with the first day of the work; found if it is called start, start_date, date ...
        days : str or int, optional
            Column with the duration in days (found if it is called days or duration), or one number for all.
            Without it, and without `end`, the age counts from the start.
        end : str, optional
            Column with the last day; found if it is called end, end_date ... It goes before `days`.
        cooldown : int or str
            Days after the end within which a corridor, and what is nearer to it than the separation, is not
            chosen again.
        fade : float
            Share, from 0 to 1, taken off the worth of a block along a corridor that has just ended.
        fade_days : int or str
            Days in which that falls to 37 %.
        near : length
            Blocks of which half or more lies this near to a treated corridor run along it.

        Raises
        ------
        InputError
            If the layer cannot be read or has no column of a name given, or a number does not fit.

        Notes
        -----
        The last day of work that starts on a day and takes n days is the n-th, counting the first. Age 0 is
        that day.

        Examples
        --------
        >>> lines = shapely.linestrings([[(0, 0), (500, 0)], [(0, 900), (500, 900)]])
        >>> past = gpd.GeoDataFrame({"start": ["2024-03-01", "2021-01-01"], "days": 90}, geometry=lines, crs=26915)
        >>> treated = Treated.from_layer(past, crs=26915, today="2024-12-31")
        >>> treated.excluded.wkt
        'LINESTRING (0 0, 500 0)'
        >>> treated.multiplier(shapely.linestrings([[(0, 905), (100, 905)], [(600, 0), (700, 0)]])).round(3).tolist()
        [0.988, 1.0]
        """
        on = _day(today)
        cool = 0 if cooldown == 0 else parse_days(cooldown, name="cooldown")
        share = check_number("fade", fade)
        if not 0 <= share <= 1:
            raise InputError(f"Invalid fade {fade!r}. It must be a share from 0 (no fading) to 1.")
        tau = parse_days(fade_days, name="fade_days")
        near_m = parse_length(near, name="near")
        layer = as_layer(treated, name="treated").to_crs(pyproj.CRS.from_user_input(crs))
        frame = layer.frame
        start, last = _first_and_last_days(frame, date, days, end)
        age = (on - last).dt.days.to_numpy(dtype=float)
        undated = np.isnan(age)
        planned = ~undated & (start > on).to_numpy()
        under_way = ~undated & ~planned & (age <= 0)
        recent = ~undated & ~planned & ~under_way & (age < cool)
        hard = undated | planned | under_way | recent
        shapes = frame.geometry.to_numpy()
        notes = _notes(
            len(frame), on, cool,
            {"under way": under_way, "planned": planned, "without a usable date": undated, "recent": recent},
            int((~hard).sum()) if share > 0 else 0, share, tau, near_m,
        )  # fmt: skip
        return cls(
            excluded=shapely.union_all(shapes[hard]) if hard.any() else None,
            fading=shapes[~hard],
            fading_age_days=age[~hard],
            fade=share,
            fade_days=float(tau),
            near_m=near_m,
            notes=notes,
        )

    def multiplier(self, block_lines: np.ndarray) -> np.ndarray:
        """Return what the worth of each block is multiplied with, from 1 - `fade` to 1.

        Parameters
        ----------
        block_lines : ndarray of LineString, shape (n_blocks,)
            In metres.

        Returns
        -------
        ndarray, shape (n_blocks,)
            ``1 - s fade exp(-age / fade_days)``, s being the share of the block's length near a treated
            corridor, 0 if it is less than half. Of several treated corridors the one that takes most off
            counts.
        """
        lines = np.asarray(block_lines, dtype=object)
        taken = np.zeros(len(lines))
        if len(lines) == 0 or len(self.fading) == 0 or self.fade == 0:
            return 1.0 - taken
        tree = shapely.STRtree(lines)
        for shape, age in zip(self.fading, self.fading_age_days, strict=True):
            around = shape.buffer(self.near_m)
            block = tree.query(around, predicate="intersects")
            inside = shapely.length(shapely.intersection(lines[block], around))
            share = np.minimum(inside / np.maximum(shapely.length(lines[block]), 1e-9), 1.0)
            share[share < LEAST_SHARE] = 0.0
            taken[block] = np.maximum(taken[block], share * self.fade * math.exp(-age / self.fade_days))
        return 1.0 - taken


def _day(today: str | datetime.date) -> pd.Timestamp:
    day = pd.to_datetime(str(today), errors="coerce")
    if not isinstance(day, pd.Timestamp):
        raise InputError(f"Invalid today {today!r}. Write a day, as in '2024-12-31'.")
    return day.tz_localize(None).normalize()


def _first_and_last_days(
    frame: gpd.GeoDataFrame, date: str | None, days: str | int | None, end: str | None
) -> tuple[pd.Series, pd.Series]:
    """First and last day of the work on each row; NaT where none is known."""
    columns = [str(name) for name in frame.columns if name != frame.geometry.name]
    check_columns(
        [name for name in (date, end, days) if isinstance(name, str)],
        columns,
        "The layer of treated corridors",
    )
    last_column = end or find_column(columns, _END_NAMES)
    first_column = date or find_column([name for name in columns if name != last_column], _START_NAMES)
    none = pd.Series(pd.NaT, index=frame.index, dtype="datetime64[ns]")
    first = none if first_column is None else _dates(frame, first_column)
    last = none if last_column is None else _dates(frame, last_column)
    duration = days if days is not None else find_column(columns, _DAYS_NAMES)
    if isinstance(duration, str):
        lasted = pd.to_numeric(frame[duration], errors="coerce").clip(lower=1, upper=36_500).fillna(1)
    else:
        lasted = pd.Series(float(parse_days(duration or 1, name="days")), index=frame.index)
    by_duration = first + pd.to_timedelta(lasted - 1, unit="D")
    last = last.fillna(by_duration)
    # An end before the start is a slip of the pen: the later of the two is the safer.
    return first.fillna(last), last.where(~(last < first), first)


def _dates(frame: gpd.GeoDataFrame, column: str) -> pd.Series:
    dates, _ = parse_dates(frame[column], what=column)
    return pd.Series(dates, index=frame.index).astype("datetime64[ns]").dt.normalize()


def _notes(
    n_rows: int,
    on: pd.Timestamp,
    cool: int,
    reasons: dict[str, np.ndarray],
    fading: int,
    share: float,
    tau: int,
    near_m: float,
) -> tuple[str, ...]:
    words = {
        "under way": "under way",
        "planned": "planned for later",
        "without a usable date": "without a usable date, so left out to be safe",
        "recent": f"ended less than {cool:,} days before",
    }
    listed = [f"{int(rows.sum())} {words[reason]}" for reason, rows in reasons.items() if rows.any()]
    day = on.date().isoformat()
    notes = []
    if listed:
        notes.append(f"Treated corridors left out, of {n_rows} and as of {day}: {'; '.join(listed)}.")
    if fading:
        notes.append(
            f"{fading} treated corridor{'' if fading == 1 else 's'} ended {cool:,} days or more before {day}: blocks along "
            f"{'it' if fading == 1 else 'them'} (within {format_length(near_m)}) count less, by {share:.0%} at the end and "
            f"37 % of that after {tau:,} days. That is a rule, not a measured effect."
        )
    return tuple(notes)
