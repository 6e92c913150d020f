"""What a team takes along: the stops of one corridor in walking order, and what there is to see to at each."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import geopandas as gpd
import numpy as np
import pandas as pd

from rtmkc.checks import check_choice, check_count, check_number, check_positive
from rtmkc.errors import InputError
from rtmkc.places.corridors.visits.axis import Axis, compass
from rtmkc.places.corridors.visits.departments import Departments, departments_of, read_departments
from rtmkc.places.corridors.visits.frontage import (
    BUSINESS,
    SAME_ADDRESS_VIOLATION_M,
    Frontage,
    address_key,
    assign_violations,
    records_near,
    take_layer,
)
from rtmkc.places.corridors.visits.rounds import Pattern, Round, Start, Street, hours_words
from rtmkc.units import format_length, parse_length

FACTOR_MINUTES = 5.0
"""Time to look at one factor of a place, photograph it and write it down: a planning figure."""
BUSINESS_MINUTES = 15.0
"""Time for a talk at the door of a business: a planning figure."""
WALKING_M_PER_MINUTE = 75.0
"""4.5 km an hour, an unhurried walk."""
SHIFT_MINUTES = 240.0
"""Time at the doors in one shift: half a working day, the rest being the way there and the notes."""
VIOLATION_MONTHS = 24
_UNSURE_SIDE_M = 3.0
_ADDRESSES = 3
COLUMNS = (
    "team", "heading", "seq", "priority", "side", "compass", "chainage_m", "place", "factors", "departments",
    "records", "violations", "repeats", "last_seen", "minutes", "walk_m", "done", "notes", "latitude",
    "longitude", "geometry",
)  # fmt: skip
"""Columns of a table of stops."""
_TYPES: dict[str, Any] = (
    dict.fromkeys(("team", "seq", "records"), "int64")
    | dict.fromkeys(("priority", "violations", "repeats"), "Int64")
    | dict.fromkeys(("chainage_m", "minutes", "walk_m", "latitude", "longitude"), "float64")
    | dict.fromkeys(("heading", "side", "compass", "place", "factors", "departments", "done", "notes"), str)
    | {"last_seen": "datetime64[ns]"}
)


def plan_canvass(
    corridor: Any,
    layers: Mapping[str, Any],
    *,
    businesses: Any = None,
    violations: Any = None,
    departments: str | Path | Departments | None = None,
    width: float | str = "40 m",
    minutes: float | Mapping[str, float] | None = None,
    teams: int = 2,
    start: Start = "middle",
    pattern: Pattern = "boustrophedon",
    months: int = VIOLATION_MONTHS,
    as_of: Any = None,
    same_place: float | str = "5 m",
    metres_per_minute: float = WALKING_M_PER_MINUTE,
    shift_minutes: float = SHIFT_MINUTES,
    crs: Any = None,
) -> gpd.GeoDataFrame:
    """Plan the door-to-door visits along one corridor: every place with a factor or a business is a stop.

    Parameters
    ----------
    corridor : GeoDataFrame of one row, Series, LineString, Layer or path
        One row of the table of `find_corridors`, as in ``corridors.iloc[[0]]``, or any centre line.
    layers : mapping of str to Layer, GeoDataFrame, DataFrame, path or RiskFactor
        Factor -> its features. Lines and areas count at their point nearest to the centre line; rasters have no
        places and are left out. Layers about persons or police work are refused, unless a `RiskFactor` allows it.
    businesses : layer, optional
        Businesses, with a column of names and, if known, of addresses. Each is a stop, with a factor or without.
    violations : layer, optional
        Violations of health or other codes, with dates. One counts at the place of its address, else at the
        nearest business within 25 m, else at a place within `same_place`; it makes no stop of its own.
    departments : path or Departments, optional
        Which department sees to which factor; see `read_departments`. By default the built-in list.
    width : length
        Places this near to the centre line are stops, in metres or a text such as "130 ft".
    minutes : float or mapping of str to float, optional
        Time of a visit: one number for every stop, or minutes by factor and for "business", which add up at a
        stop. By default 5 a factor and 15 a business.
    teams : {1, 2}
        Two part the stops so that the team which takes longer is done as early as can be; one starts where the
        line starts.
    start : {"middle", "ends"}
        Where two teams start: back to back where their parts meet, or at both ends of the corridor.
    pattern : {"boustrophedon", "zigzag"}
        Out on the right-hand side and back on the other; or from door to door across the street.
    months : int
        How far back violations count.
    as_of : date, optional
        Last day on which violations count; by default that of the newest.
    same_place : length
        Records within this distance of each other on one side of the street are one place, as are those of one
        address within 30 m.
    metres_per_minute : float
        Walking speed.
    shift_minutes : float
        Time at the doors in one shift, in minutes.
    crs : optional
        Coordinate reference system of a corridor that has none: a bare line or a Series.

    Returns
    -------
    GeoDataFrame
        One row a stop, by team in walking order, in a projected system in metres: team, heading (first direction
        of the team), seq, priority (1 = most repeat violations, missing without any: who must not be
        missed, whatever the order of the walk), side (L or R, seen in the running direction of the line), compass
        ("north side"), chainage_m, place (businesses and address), factors, departments, records (features at the
        place), violations (in the last `months`), repeats (days with a violation beyond the first), last_seen
        (newest record), minutes (of the visit), walk_m (from the stop before), done and notes (to fill in),
        latitude, longitude, geometry. ``attrs``: statement, notes, teams (stops, minutes, walk and shifts of
        each), compliance_first (stops with repeat violations, most first), corridor.

    Raises
    ------
    InputError
        If the corridor is not one line, a layer cannot be read or has no coordinate system, or an argument does
        not fit.

    Notes
    -----
    Walking goes along the street and straight across it, and back to the start. Times are planning figures, not
    measurements. Nothing about persons is taken over: of the layers only names of businesses, addresses,
    dates and places are.

    Examples
    --------
    >>> import shapely
    >>> street = gpd.GeoDataFrame(
    ...     {"name": ["Oak Street"]}, geometry=[shapely.LineString([(0, 0), (400, 0)])], crs=32615)
    >>> vacant = gpd.GeoDataFrame(
    ...     {"address": ["12 Oak St", "31 Oak St"]}, geometry=gpd.points_from_xy([100, 300], [15, -15]), crs=32615)
    >>> stops = plan_canvass(street, {"vacant houses": vacant}, teams=1)
    >>> stops[["team", "heading", "seq", "side", "compass", "place"]]
       team heading  seq side     compass      place
    0     1    east    1    R  south side  31 Oak St
    1     1    east    2    L  north side  12 Oak St
    >>> print(stops.attrs["statement"])
    2 stops within 40 m (131 ft) of Oak Street (400 m (1,312 ft) long), from 2 records of 1 factor. Team 1, east: 2 stops,
    19 min (10 min of visits and 660 m of walking), 1 shift. Planning figures: 5 min a factor, 15 min a business, 75 m of
    walking a minute, 4 h a shift.
    """
    if not isinstance(layers, Mapping):
        raise InputError(
            f"Invalid layers of type {type(layers).__name__}. Give a mapping of factor to layer; of risk factors: "
            "{factor.name: factor for factor in factors}."
        )
    if not layers and businesses is None:
        raise InputError("Invalid layers {}. Give at least one layer of a factor, or businesses.")
    check_choice("start", start, get_args(Start))
    check_choice("pattern", pattern, get_args(Pattern))
    if check_count("teams", teams) > 2:
        raise InputError(f"Invalid teams {teams!r}. It must be 1 or 2; for more, part the corridor first.")
    width_m, same_place_m = parse_length(width, name="width"), parse_length(same_place, name="same_place")
    times = _visit_times(minutes, [" ".join(str(name).split()) for name in layers])
    speed, shift = (
        check_positive("metres_per_minute", metres_per_minute),
        check_positive("shift_minutes", shift_minutes),
    )
    known = departments if isinstance(departments, Departments) else read_departments(departments)
    axis = Axis.of(corridor, crs)

    front = Frontage.along(axis, layers, businesses, width_m)
    place = front.places(same_place_m)
    table = _stops(front, place, times, known)
    unsure = int((table["offset"].abs() < _UNSURE_SIDE_M).sum())
    if unsure:
        front.notes.append(
            f"{_count(unsure, 'stop')} within {format_length(_UNSURE_SIDE_M)} of the centre line, as addresses "
            "geocoded to the street are: look for them on both sides"
        )
    newest = _count_violations(
        table,
        violations,
        front,
        place,
        months=check_count("months", months),
        as_of=as_of,
        width_m=width_m,
        same_place_m=same_place_m,
    )
    street = Street(
        table["chainage_m"].to_numpy(), table["offset"].to_numpy(), (table["side"] == "L").to_numpy(),
        table["minutes"].to_numpy(), axis.line.length, pattern, speed,
    )  # fmt: skip
    easting, northing = np.subtract(*np.asarray(axis.line.coords)[[-1, 0], :2])
    runs_east = bool(easting > 0 if abs(easting) >= abs(northing) else northing > 0)
    rounds = street.rounds(teams, start, runs_east=runs_east)
    stops = _in_order(table, rounds, axis)
    counted = "" if newest is None else f"violations counted from {months} months before {newest:%Y-%m-%d}"
    stops.attrs["corridor"] = axis.name
    stops.attrs["teams"] = _teams(stops, rounds, axis, shift)
    stops.attrs["compliance_first"] = _compliance_first(stops)
    stops.attrs["notes"] = [*front.notes, *([counted] if counted else [])]
    stops.attrs["statement"] = _statement(stops, front, width_m, minutes, speed, shift)
    return stops


def _visit_times(minutes: float | Mapping[str, float] | None, factors: list[str]) -> dict[str, float] | float:
    """Return minutes by factor and of a business, or the one number of every stop."""
    if minutes is not None and not isinstance(minutes, Mapping):
        return _not_negative("minutes", minutes)
    times = dict.fromkeys(factors, FACTOR_MINUTES) | {BUSINESS: BUSINESS_MINUTES}
    for name, value in (minutes or {}).items():
        if name not in times:
            raise InputError(
                f"Invalid minutes {{{name!r}: {value!r}}}. There is no such factor; there are: {', '.join(times)}."
            )
        times[name] = _not_negative(f"minutes of {name!r}", value)
    return times


def _not_negative(name: str, value: Any) -> float:
    number = check_number(name, value)
    if number < 0:
        raise InputError(f"Invalid {name} {value!r}. It must be minutes, 0 or more.")
    return number


def _stops(
    front: Frontage, place: np.ndarray, times: dict[str, float] | float, departments: Departments
) -> pd.DataFrame:
    """Return a row for each place, in the order of their numbers."""
    axis, records = front.axis, front.records
    heads = front.heads(place)
    head = records.iloc[heads].reset_index(drop=True)
    chainage, offset = head["chainage"].to_numpy(dtype=float), head["offset"].to_numpy(dtype=float)
    left = axis.is_left(chainage, offset)
    rows = [_what_is_there(records.iloc[members], times, departments) for members in _members(place)]
    table = pd.DataFrame(rows, columns=["place", "factors", "departments", "records", "last_seen", "minutes"])
    table["side"] = np.where(left, "L", "R")
    table["compass"] = axis.sides(chainage, left)
    table["chainage_m"], table["offset"] = chainage, offset
    table["easting"], table["northing"] = head["easting"].to_numpy(), head["northing"].to_numpy()
    return table


def _members(place: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(place, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(place[order])) + 1) if len(order) else []


def _what_is_there(
    records: pd.DataFrame, times: dict[str, float] | float, departments: Departments
) -> dict[str, Any]:
    is_business = records["kind"] == BUSINESS
    factors = list(dict.fromkeys(records.loc[~is_business, "kind"]))
    names = sorted(set(records.loc[is_business, "name"]))
    titles = [name for name in names or sorted(set(records["name"])) if name]
    counts = Counter(address for address in records["address"] if address)
    spelling: dict[str, str] = {}
    for address in sorted(counts, key=lambda address: (-counts[address], address)):
        spelling.setdefault(address_key(address) or address, address)
    addresses = list(spelling.values())
    more = [f"and {len(addresses) - _ADDRESSES} more"] if len(addresses) > _ADDRESSES else []
    titles += ["; ".join([*addresses[:_ADDRESSES], *more])] if addresses else []
    seen_to = departments_of([*factors, *([BUSINESS] if len(names) else [])], departments)
    return {
        "place": ", ".join(titles),
        "factors": "; ".join(factors),
        "departments": "; ".join(seen_to),
        "records": len(records),
        "last_seen": records["date"].max().normalize() if records["date"].notna().any() else pd.NaT,
        "minutes": times
        if isinstance(times, float)
        else sum(times[factor] for factor in factors) + times[BUSINESS] * len(names),
    }


def _count_violations(
    table: pd.DataFrame,
    violations: Any,
    front: Frontage,
    place: np.ndarray,
    *,
    months: int,
    as_of: Any,
    width_m: float,
    same_place_m: float,
) -> pd.Timestamp | None:
    """Add violations, repeats and priority to the stops; return the last day that counts."""
    for column in ("violations", "repeats", "priority"):
        table[column] = pd.Series(pd.NA, index=table.index, dtype="Int64")
    if violations is None:
        return None
    layer = take_layer(violations, "violations")
    if layer is None:
        raise InputError("Invalid violations. They are a raster; give a layer of points with dates.")
    is_dated = layer.dates is not None and bool(layer.dates.notna().any())
    last = _last_day(as_of, layer.dates if is_dated else None)
    found = records_near(layer, front.axis, "violations", SAME_ADDRESS_VIOLATION_M)
    if last is not None and is_dated:
        after = last - pd.DateOffset(months=months)
        undated = int(found["date"].isna().sum())
        if undated:
            front.notes.append(f"{undated:,} violations without a date were not counted")
        day = found["date"].dt.normalize()
        found = found[(day > after) & (day <= last)].reset_index(drop=True)
    at = assign_violations(found, front.records, place, same_place_m)
    beside = (found["offset"].abs() <= width_m).to_numpy()
    lost = int((beside & (at < 0)).sum())
    if lost:
        front.notes.append(
            f"{lost:,} of {int(beside.sum()):,} violations beside the corridor are at none of its stops; to visit "
            "where they are, give them as a factor too"
        )
    table["violations"] = pd.array(np.bincount(at[at >= 0], minlength=len(table)), dtype="Int64")
    found = found.assign(place=at, day=found["date"].dt.normalize())[at >= 0]
    newest = found.groupby("place")["day"].max().reindex(table.index)
    table["last_seen"] = pd.concat([table["last_seen"], newest], axis=1).max(axis=1)
    if not is_dated:
        front.notes.append("violations have no dates: all are counted, and which are repeats is not known")
        return None
    days = found.groupby("place")["day"].nunique().reindex(table.index, fill_value=0)
    table["repeats"] = (days - 1).clip(lower=0).astype("Int64")
    worst = table[table["repeats"] > 0].sort_values(
        ["repeats", "violations", "records", "easting", "northing"], ascending=[False] * 3 + [True] * 2
    )
    table.loc[worst.index, "priority"] = pd.array(np.arange(1, len(worst) + 1), dtype="Int64")
    return last


def _last_day(as_of: Any, dates: pd.Series | None) -> pd.Timestamp | None:
    if as_of is None:
        return None if dates is None else dates.max().normalize()
    try:
        day = pd.to_datetime(as_of)
    except (ValueError, TypeError):
        day = None
    if not isinstance(day, pd.Timestamp):
        raise InputError(f"Invalid as_of {as_of!r}. It must be a date, as in '2024-06-30'.")
    return day.tz_localize(None).normalize()


def _in_order(table: pd.DataFrame, rounds: list[Round], axis: Axis) -> gpd.GeoDataFrame:
    parts = [
        table.iloc[one.stops].assign(
            team=number,
            heading=_heading(one, table, axis),
            seq=np.arange(1, len(one.stops) + 1),
            walk_m=one.walk_m,
        )
        for number, one in enumerate(rounds, start=1)
    ]
    stops = pd.concat(parts, ignore_index=True).assign(done="", notes="")
    points = gpd.GeoSeries.from_xy(stops["easting"], stops["northing"], crs=axis.crs)
    degrees = points.to_crs(4326)
    stops = stops.assign(latitude=degrees.y, longitude=degrees.x)
    made = stops[[name for name in COLUMNS if name != "geometry"]].astype(_TYPES)
    return gpd.GeoDataFrame(made, geometry=points.to_numpy(), crs=axis.crs)


def _heading(one: Round, table: pd.DataFrame, axis: Axis) -> str:
    """Return the direction from a team's start to its farthest stop; without stops that of the line there."""
    chainage = table["chainage_m"].to_numpy()[one.stops]
    reach = float(np.abs(chainage - one.start_m).max(initial=0.0))
    step = max(reach, 1.0) * (1 if one.forward else -1)
    # A start at an end has no line behind it, and a lone stop none before it: look along the line either way.
    first, last = np.clip([one.start_m, one.start_m + step], 0, axis.line.length)
    if first == last:
        first, last = np.clip([first - step, last], 0, axis.line.length)
    start, end = axis.place(float(first)), axis.place(float(last))
    return compass(float(np.degrees(np.arctan2(end.y - start.y, end.x - start.x))))


def _teams(stops: gpd.GeoDataFrame, rounds: list[Round], axis: Axis, shift: float) -> list[dict[str, Any]]:
    starts = gpd.GeoSeries([axis.place(one.start_m) for one in rounds], crs=axis.crs).to_crs(4326)
    return [
        {
            "team": number,
            "heading": _heading_of(stops, number),
            "stops": len(one.stops),
            "visit_minutes": float(stops.loc[stops["team"] == number, "minutes"].sum()),
            "walk_m": float(one.walk_m.sum() + one.back_m),
            "minutes": one.minutes,
            "shifts": int(np.ceil(round(one.minutes / shift, 9))),
            "start_chainage_m": one.start_m,
            "start_latitude": float(point.y),
            "start_longitude": float(point.x),
        }
        for number, (one, point) in enumerate(zip(rounds, starts, strict=True), start=1)
    ]


def _heading_of(stops: gpd.GeoDataFrame, team: int) -> str:
    return next(iter(stops.loc[stops["team"] == team, "heading"]), "")


def _compliance_first(stops: gpd.GeoDataFrame) -> list[dict[str, Any]]:
    chosen = stops[stops["priority"].notna()].sort_values("priority")
    return [
        {name: row[name] if name == "place" else int(row[name]) for name in ("priority", "place", "repeats", "violations", "team", "seq")}
        for _, row in chosen.iterrows()
    ]  # fmt: skip


def _statement(
    stops: gpd.GeoDataFrame,
    front: Frontage,
    width_m: float,
    minutes: Any,
    speed: float,
    shift: float,
) -> str:
    kinds = front.records["kind"]
    n_factors, n_businesses = kinds[kinds != BUSINESS].nunique(), int((kinds == BUSINESS).sum())
    where = f"within {format_length(width_m)} of {stops.attrs['corridor']} ({format_length(front.axis.line.length)} long)"
    if stops.empty:
        return f"No stop: no record of the layers given lies {where}."
    sources = [_count(int((kinds != BUSINESS).sum()), "record") + f" of {_count(n_factors, 'factor')}"] * (
        n_factors > 0
    )
    sources += [_count(n_businesses, "business", "businesses")] * (n_businesses > 0)
    said = [f"{_count(len(stops), 'stop')} {where}, from {' and '.join(sources)}."]
    for team in stops.attrs["teams"]:
        if not team["stops"]:
            said.append(f"Team {team['team']} has no stop.")
            continue
        said.append(
            f"Team {team['team']}, {team['heading']}: {_count(team['stops'], 'stop')}, {hours_words(team['minutes'])} "
            f"({hours_words(team['visit_minutes'])} of visits and {team['walk_m']:,.0f} m of walking), "
            f"{_count(team['shifts'], 'shift')}."
        )
    meeting = {(f"{one['start_latitude']:.5f}, {one['start_longitude']:.5f}") for one in stops.attrs["teams"]}
    if len(stops.attrs["teams"]) == 2 and len(meeting) == 1:
        said.append(f"Both start at {meeting.pop()}.")
    first = stops.attrs["compliance_first"]
    if first:
        named = [
            f"{one['place'] or 'no address'} (team {one['team']}, stop {one['seq']})" for one in first[:3]
        ]
        more = f" and {len(first) - 3:,} more" if len(first) > 3 else ""
        said.append(f"Not to be missed, for repeat violations: {'; '.join(named)}{more}.")
    visit = f"{FACTOR_MINUTES:g} min a factor, {BUSINESS_MINUTES:g} min a business"
    if minutes is not None:
        visit = "visits as given" if isinstance(minutes, Mapping) else f"{minutes:g} min a stop"
    said.append(f"Planning figures: {visit}, {speed:g} m of walking a minute, {hours_words(shift)} a shift.")
    return " ".join(said)


def _count(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
