"""A folder becomes a study file that runs: every guess is made by a rule, and said beside its result."""

import os
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely

from rtmkc.errors import InputError, RtmkcWarning
from rtmkc.inputs.columns import find_column
from rtmkc.inputs.dates import TIME_NAMES, has_time_of_day
from rtmkc.inputs.kansas_city.offences import OFFENCES
from rtmkc.inputs.layers import Layer
from rtmkc.inputs.selection import repeated
from rtmkc.raster.area import WEB_MERCATOR, StudyArea
from rtmkc.raster.tiles import suggest_block_length
from rtmkc.storage import write_text
from rtmkc.units import Period, format_length
from rtmkc.workflow import guesses
from rtmkc.workflow.draft import Table, comment
from rtmkc.workflow.inspect import Finding, inspect_folder, kind_of, type_column
from rtmkc.workflow.offered_factors import Tried, factors_of
from rtmkc.workflow.offered_places import areas_of, streets_of, treated_of
from rtmkc.workflow.specs import reader_of
from rtmkc.workflow.study import Study

DEFAULT_BLOCK_M = 150.0
BLOCKS_M = (60.0, 400.0)
"""A median line of streets outside these is no block."""
MOST_CELLS = 500_000
_LEAST_VIOLENT = 50
_LISTED = 60
_TRIED_POINTS = 5000


@dataclass(frozen=True, eq=False)
class Draft:
    """A study file that was written, and what it was made of.

    Attributes
    ----------
    path : Path
        The study file.
    text : str
        What is in it.
    findings : list of Finding
        What each file was taken to be.
    notes : list of str
        What the user should look at first.
    """

    path: Path
    text: str = field(repr=False)
    findings: list[Finding] = field(repr=False)
    notes: list[str]


def write_study(
    folder: str | Path,
    output: str | Path | None = None,
    *,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Draft:
    """Look at a folder of downloads and write a study file that runs, with every guess explained in it.

    Parameters
    ----------
    folder : path
        The folder; folders in it are looked at too, but not those in these.
    output : path, optional
        The study file; default ``study.toml`` in the folder.
    overwrite : bool
        Whether a file that exists may be replaced.
    progress : callable, optional
        Called with (step, done, total).

    Returns
    -------
    Draft

    Raises
    ------
    InputError
        If the folder holds no boundary, no incidents or no factor, with what was found instead.
    OutputError
        If the file exists and `overwrite` is false, or it cannot be written.
    """
    folder = Path(folder)
    path = folder / "study.toml" if output is None else Path(output)
    if path.exists() and not overwrite:
        # Before minutes of reading; write_text says it.
        write_text(path, "", overwrite=False)
    findings = inspect_folder(folder, progress=progress)
    with warnings.catch_warnings():
        # What these say is in the ledgers, and `rtmkc check` shows it.
        warnings.simplefilter("ignore", RtmkcWarning)
        text, notes = _compose(folder, path, findings)
    write_text(path, text, overwrite=overwrite)
    Study.from_file(path)  # what was written must be a study
    return Draft(path, text, findings, notes)


@dataclass
class _Incidents:
    table: Table
    layer: Layer
    period: Period | None
    points: np.ndarray
    others: list[Finding]


def _compose(folder: Path, path: Path, findings: list[Finding]) -> tuple[str, list[str]]:
    def place(finding: Finding) -> str:
        return _from(path, folder / finding.file)

    incidents = _choose_incidents(findings, place)
    boundary, area, boundary_table = _choose_boundary(findings, incidents, place)
    streets, street_table, street_layer = streets_of(findings, area, place)
    _add_grid(boundary_table, area, streets, street_layer)
    tried = factors_of(findings, incidents.layer, incidents.period, area, place)
    if not any(one.table.active for one in tried):
        _switch_on(tried, findings)
    names = areas_of(findings, boundary, area, place)
    treated = treated_of(findings, place)
    later = [one.name for one in tried if one.table.active and one.later]
    model = _model(later, incidents.period)
    _say_inside(incidents, area)
    boundary_table.keys.insert(0, ("name", _title(folder), "for titles"))
    tables = [boundary_table, incidents.table, *_other_incidents(incidents, place)]
    tables += [one.table for one in tried if one.table.head == "[[factors]]"]
    tables += [one.table for one in tried if one.table.head != "[[factors]]"]
    tables += [*street_table, *names, *treated, model, *_rest()]
    n_active = sum(one.table.active for one in tried if one.table.head == "[[factors]]")
    lines = _header(folder, findings, incidents, n_active, path)
    for table in tables:
        lines += ["", *table.lines()]
    unused = [one for one in findings if one.role in ("not used", "places")]
    if unused:
        lines += ["", *comment("Files that this study does not read:")]
        for one in unused:
            lines += comment(f"- {one.file}: {one.why}")
    notes = []
    if later:
        notes.append(
            f"data of {', '.join(later)} reach into the period of the incidents: contemporaneous, not a forecast"
        )
    off = [one.name for one in tried if not one.table.active and one.table.head == "[[factors]]"]
    if off:
        notes.append(f"left as comments: {', '.join(off)}")
    return "\n".join(lines) + "\n", notes


def _from(path: Path, file: Path) -> str:
    try:
        return Path(os.path.relpath(file.resolve(), path.parent.resolve())).as_posix()
    except ValueError:  # another drive
        return file.resolve().as_posix()


def _title(folder: Path) -> str:
    name = "".join(sign if sign.isprintable() else " " for sign in folder.resolve().name)
    return f"Risk terrain of {' '.join(name.replace('_', ' ').split()) or 'a city'}"


def _header(
    folder: Path, findings: list[Finding], incidents: _Incidents, n_factors: int, path: Path
) -> list[str]:
    roles = Counter(one.role for one in findings)
    counted = ", ".join(f"{number} {role}" for role, number in roles.items())
    return [
        *comment(
            "A study, written by `rtmkc init` from the files of this folder. It runs as it is: "
            f"`rtmkc run {path.name} -o results`. Look first: `rtmkc check {path.name}`."
        ),
        *comment(
            "Every choice below is a guess by a rule, and the rule stands beside it. Change what is wrong; lines "
            "that start with # do not count. All keys: docs/reference/study-toml.md."
        ),
        *comment(
            f"{len(findings)} files or layers were looked at: {counted}. {n_factors} factors are on. "
            "Paths start at the folder of this file."
        ),
    ]


def _choose_incidents(findings: list[Finding], place: Callable[[Finding], str]) -> _Incidents:
    """Take dated incidents before undated ones, then the layer with the most features."""
    candidates: list[tuple[Layer, list[Finding]]] = []
    given = [one for one in findings if one.role == "incidents" and one.layer is not None and len(one.layer)]
    whole = [one for one in given if not guesses.is_part(one.stem)] or given
    group = [one for one in whole if one.reader == "kcpd_crime"]
    if group:
        layer = group[0].layer
        if len(group) > 1:
            layer = reader_of("kcpd_crime")([one.frame for one in group], name="incidents")
        assert layer is not None  # layers without features were left out above
        candidates.append((layer, group))
    candidates += [
        (one.layer, [one]) for one in whole if one.reader != "kcpd_crime" and one.layer is not None
    ]
    candidates = [(layer, ones) for layer, ones in candidates if kind_of(layer) == "points"]
    if not candidates:
        raise InputError(
            "Invalid folder. No file of it looks like incidents: points in a file that is called like crimes, or "
            f"with a column such as offense. {_seen(findings)}"
        )
    candidates.sort(key=lambda each: (each[0].date_column is None, -len(each[0])))
    layer, chosen = candidates[0]
    others = [one for one in given if one not in chosen]
    table = Table("[incidents]")
    files = [place(one) for one in chosen]
    table.comments.append(f"What is to be explained and forecast. Chosen: {chosen[0].why}")
    if others:
        table.comments[0] += ", and of several it is the dated one with most rows"
    table.comments[0] += "."
    table.add("file", files[0] if len(files) == 1 else files)
    for key, value in chosen[0].options.items():
        table.add(key, value)
    if chosen[0].reader != "layer":
        table.add("reader", chosen[0].reader, "one row a person there: one incident a report and offence")
    keep = _add_kinds(table, layer, chosen[0].reader)
    narrowed = layer.frame[keep]
    if chosen[0].reader == "layer":
        _add_merge(table, layer, narrowed)
        table.add(
            "provenance",
            "policing" if layer.provenance == "unstated" else None,
            "police records, by their name",
        )
    period = _add_period(table, layer, narrowed, chosen[0].stem)
    points = narrowed.geometry
    return _Incidents(table, layer.keep(keep, "not of the kind"), period, np.asarray(points), others)


def _add_kinds(table: Table, layer: Layer, reader: str) -> np.ndarray:
    """Choose violence where the types say what it is; return which rows stay."""
    frame = layer.frame
    everything = np.ones(len(frame), dtype=bool)
    if reader == "kcpd_crime" and "ibrs" in frame:
        counts = frame["ibrs"].value_counts()
        codes = [code for code in OFFENCES["violence"] if counts.get(code, 0)]
        if sum(int(counts[code]) for code in codes) >= _LEAST_VIOLENT:
            table.add("ibrs", codes, "murder (09A), aggravated assault (13A), robbery (120)")
            table.comments.append(f"Other IBRS codes there: {_counted(counts.drop(codes))}.")
            return np.asarray(frame["ibrs"].isin(codes).fillna(False), dtype=bool)
        return everything
    column = type_column(layer)
    if column is None:
        return everything
    counts = frame[column].value_counts()
    chosen = guesses.violent_values([str(value) for value in counts.index])
    if sum(int(counts[value]) for value in chosen) < _LEAST_VIOLENT:
        table.comments.append(
            f"All kinds are taken: no value of {column!r} names violence often enough. It holds: {_counted(counts)}. "
            f'To choose some: where = {{ "{column}" = ["...", "..."] }}.'
        )
        return everything
    table.comments.append(
        f"Violence: the values of {column!r} that name homicide, robbery, shooting or aggravated assault, whole and "
        f"exact. The others there: {_counted(counts.drop(chosen))}."
    )
    table.add("where", {column: chosen})
    return np.asarray(frame[column].isin(chosen), dtype=bool)


def _counted(counts: "pd.Series[int]") -> str:
    listed = [f"{value} ({rows:,})" for value, rows in counts.head(_LISTED).items()]
    rest = f" and {len(counts) - _LISTED:,} more" if len(counts) > _LISTED else ""
    return ", ".join(listed) + rest or "none"


def _add_merge(table: Table, layer: Layer, frame: Any) -> None:
    """Rows of one moment, kind and place are one incident with several persons, where the moment is known."""
    columns = [str(name) for name in frame.columns if name != frame.geometry.name]
    if not columns:
        return
    moment = None if layer.date_column is None else find_column(columns, TIME_NAMES)
    timed = layer.dates is not None and (moment is not None or has_time_of_day(layer.dates))
    kind = type_column(layer)
    keys = columns
    if timed and kind is not None:
        keys = [name for name in (layer.date_column, moment, kind) if name is not None]
    repeats = int(repeated(frame, frame.geometry.to_numpy(), [*keys, "place"], what="incidents").sum())
    if not repeats:
        return
    if timed:
        table.add("merge", [*keys, "place"])
        table.comments.append(
            f"{repeats:,} rows repeat another one in {', '.join(keys)} and in place: taken for one incident with "
            "several persons (merge)."
        )
    else:
        listed = ", ".join(f'"{name}"' for name in [*keys, "place"])
        table.comments.append(
            f"{repeats:,} rows repeat another one in every column and in place. Without a time of day they may be "
            f"incidents of their own, and all are kept; if a row is a person, add: merge = [{listed}]."
        )


def _add_period(table: Table, layer: Layer, frame: Any, stem: str) -> Period | None:
    if layer.date_column is None:
        period = guesses.years_in(stem)
        if period is None:
            table.comments.append(
                "It has no dates and its name no year, so there is no rate: if you know the days it covers, add "
                'period = "2021/2023".'
            )
        else:
            table.add("period", str(period), "the years in the file's name; it has no dates")
        return period
    known = frame[layer.date_column].dropna()
    if known.empty:
        return None
    period = layer.period
    assert period is not None  # a layer with dates has one
    usual = known.quantile(0.005)
    first = known.min()
    why = "the first to the last date there"
    if (usual - first).days > 366:
        start = usual.replace(day=1).date()
        why = f"a few dates lie far before (the first is {first.date()}), and are left out"
        period = Period(start, period.end)
    table.add("period", str(period), why)
    return period


def _say_inside(incidents: _Incidents, area: StudyArea) -> None:
    inside = _n_inside(incidents.layer, area)
    total = len(incidents.layer)
    doubt = "" if inside >= 0.5 * total else " (few: check that it is the right one)"
    if inside < total:
        incidents.table.comments.append(
            f"{inside:,} of {total:,} lie inside the boundary{doubt}; the rest is left out."
        )


def _n_inside(layer: Layer, area: StudyArea) -> int:
    points = layer.frame.geometry.to_crs(area.crs)
    shapely.prepare(area.geometry)
    return int(shapely.intersects_xy(area.geometry, points.x.to_numpy(), points.y.to_numpy()).sum())


def _other_incidents(incidents: _Incidents, place: Callable[[Finding], str]) -> list[Table]:
    tables = []
    for one in incidents.others:
        assert one.layer is not None  # others were candidates
        dated = f"{one.layer.period}" if one.layer.period else "no dates"
        table = Table("[incidents]", active=False)
        table.comments.append(f"Instead, {len(one.layer):,} rows, {dated}:")
        table.add("file", place(one))
        for key, value in one.options.items():
            table.add(key, value)
        table.add("reader", one.reader if one.reader != "layer" else None)
        table.add("provenance", "policing" if one.reader == "layer" else None)
        tables.append(table)
    return tables


def _choose_boundary(
    findings: list[Finding], incidents: _Incidents, place: Callable[[Finding], str]
) -> tuple[Finding, StudyArea, Table]:
    """Take the boundary that holds most incidents; without one, the areas that do, united."""
    ranked = []
    for one in findings:
        if one.role not in ("boundary", "areas") or one.layer is None:
            continue
        held = _held(one.layer, incidents.layer)
        called = guesses.looks_like("boundary", one.stem)
        # Nearly as many will do: outlines differ at the edges, and a boundary is what is called one.
        ranked.append((one.role == "boundary", held, called, one))
    if not ranked:
        raise InputError(
            "Invalid folder. No file of it holds areas, and a study needs a boundary: add the city limits (any "
            f"format with polygons). {_seen(findings)}"
        )
    most = max(held for _, held, _, _ in ranked)
    if not most:
        raise InputError(
            "Invalid folder. No area in it holds any of the incidents: the boundary is of another place, or a file "
            "has the wrong coordinate reference system; see `rtmkc check FILE`."
        )
    good = [each for each in ranked if each[1] >= 0.5 * most]
    is_boundary, _, called, chosen = max(good, key=lambda each: (each[0], each[2], each[1]))
    layer = chosen.layer
    assert layer is not None  # ranked are those with a layer
    table = Table("[study]")
    why = "areas, and called like a boundary" if called and is_boundary else "a single area"
    if not is_boundary:
        why = f"no file is a boundary: the {len(layer):,} areas of this one are united"
    table.add("boundary", place(chosen), why)
    table.add("boundary_layer", chosen.options.get("layer"))
    table.add("boundary_crs", chosen.options.get("crs"), "it does not say its own; the numbers are degrees")
    study_crs = None
    if layer.crs.to_epsg() == WEB_MERCATOR:
        study_crs = layer.frame.estimate_utm_crs().to_string()
        table.add("crs", study_crs, "web Mercator stretches lengths: the UTM zone instead")
    area = StudyArea.from_layer(layer, study_crs=study_crs)
    system = "" if study_crs else f", worked on in {area.crs.name} ({area.crs.to_string()})"
    table.comments.append(f"The area is {area.area_m2 / 1e6:,.1f} km2{system}.")
    others = [one.file for _, _, _, one in ranked if one is not chosen and one.role == "boundary"]
    if others:
        table.comments.append(f"Other boundaries: {', '.join(others)}.")
    return chosen, area, table


def _held(areas: Layer, incidents: Layer) -> float:
    """Return the share of the incidents that areas hold, estimated from some thousand of them."""
    some = incidents.frame.geometry.iloc[:: len(incidents) // _TRIED_POINTS + 1]
    points = some.to_crs(areas.crs).to_numpy()
    place, _ = shapely.STRtree(points).query(areas.frame.geometry.to_numpy(), predicate="intersects")[::-1]
    return len(np.unique(place)) / len(points)


def _add_grid(table: Table, area: StudyArea, streets: Finding | None, layer: Layer | None) -> None:
    block, why = (
        DEFAULT_BLOCK_M,
        "assumed: there are no streets to measure; many American blocks are 100 to 200 m",
    )
    if layer is not None and streets is not None:
        median = suggest_block_length(layer, area)
        if BLOCKS_M[0] <= median <= BLOCKS_M[1]:
            block, why = round(median, 1), f"the median line of {streets.file} inside the area"
        else:
            why = f"assumed: the median line of {streets.file} is {median:,.0f} m, which is no block"
    table.add("block_length", f"{block:g} m", f"{format_length(block)}; {why}")
    cell = block / 2
    n_cells = area.area_m2 / cell**2
    if n_cells > MOST_CELLS:
        cell = float(np.ceil(np.sqrt(area.area_m2 / MOST_CELLS) / 10) * 10)
        table.add("cell_size", f"{cell:g} m", f"half a block would make {n_cells:,.0f} cells")
    else:
        table.comments.append(f"Cells are half a block, about {n_cells:,.0f} of them.")


def _switch_on(tried: list[Tried], findings: list[Finding]) -> None:
    """A study needs a factor: the best of those left out is better than none, with the reason beside it."""
    soft = [one for one in tried if one.can_be_forced and one.table.head == "[[factors]]"]
    if not soft:
        raise InputError(
            "Invalid folder. No file of it can be a risk factor (points, lines or areas of something that may "
            f"matter, such as vacant houses). {_seen(findings)}"
        )
    core = [one for one in soft if one.name in guesses.CORE_FACTORS] or soft[:1]
    for one in core:
        one.table.active = True
        one.table.comments.append("It is on all the same, because the folder holds no better factor.")


def _model(later: list[str], period: Period | None) -> Table:
    table = Table("[model]")
    table.add(
        "method",
        "guarded",
        'weights and intervals that hold where risk is patchy; "classic" is the published procedure',
    )
    table.add("horizon", "90 days", "expected incidents are for so long")
    if later:
        table.comments.append(
            f"Data of {', '.join(later)} reach into the period of the incidents ({period}), and too few lie before "
            "it: they may be a consequence of the incidents. Every result is marked 'contemporaneous, not a forecast'."
        )
        table.add("allow_later_factors", True)
    return table


def _rest() -> list[Table]:
    hotspots = Table("[hotspots]")
    hotspots.add("area_share", 0.02, "the hottest cells, up to this share of the area")
    corridors = Table("[corridors]")
    corridors.add("k", 5, "how many next corridors")
    corridors.add("min_length", "500 m")
    corridors.add("max_length", "2500 m")
    corridors.add("separation", "300 m", "no two corridors are nearer to each other")
    return [hotspots, corridors]


def _seen(findings: list[Finding]) -> str:
    seen = [f"{one.file} ({one.role}{f': {one.why}' if one.role == 'not used' else ''})" for one in findings]
    return f"It holds: {'; '.join(seen[:12])}{'; ...' if len(seen) > 12 else ''}."
