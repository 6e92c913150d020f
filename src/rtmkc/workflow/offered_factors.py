"""The factors and the exposure that a folder offers, each with the reasons for and against it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import shapely

from rtmkc.inputs.columns import find_column
from rtmkc.inputs.kansas_city.factors import kc_factors
from rtmkc.inputs.layers import Layer
from rtmkc.raster.area import StudyArea
from rtmkc.units import Period
from rtmkc.workflow import guesses
from rtmkc.workflow.draft import Table
from rtmkc.workflow.inspect import Finding, kind_of, type_column
from rtmkc.workflow.specs import reader_of

Place = Callable[[Finding], str]
LEAST_FEATURES = 20
LEAST_BEFORE = 50
"""Features dated before the incidents that are enough to leave the later ones out."""
YEARS_BEFORE = 3
PARTIAL_SHARE = 0.03
"""Reports of which 80 % lie in so little of the area come from a part of it."""
_SQUARE_M = 1000.0
_LEAST_FOR_SHARE = 500


@dataclass
class Tried:
    """A factor (or the exposure) as a table of the study file, switched on or off.

    Attributes
    ----------
    name : str
        What it is called.
    table : Table
        Its keys and comments.
    later : bool
        Whether its data reach into the period of the incidents.
    can_be_forced : bool
        Whether it may be switched on where nothing better is there.
    """

    name: str
    table: Table
    later: bool = False
    can_be_forced: bool = True

    def leave_out(self, why: str, *, for_good: bool = False) -> None:
        """Switch it off, with a reason."""
        self.table.active = False
        self.table.comments.append(f"Left out: {why}.")
        self.can_be_forced &= not for_good


def factors_of(
    findings: list[Finding], incidents: Layer, period: Period | None, area: StudyArea, place: Place
) -> list[Tried]:
    """Return every factor that the findings offer, and the exposure.

    Parameters
    ----------
    findings : list of Finding
        What is in the folder.
    incidents : Layer
        Those chosen.
    period : Period or None
        Of the incidents: factors should end before it.
    area : StudyArea
        The area.
    place : callable
        Gives the path of a finding as the study file writes it.
    """
    offers = [
        *_from_requests(findings, area, place),
        *_from_layers(findings, place),
        *_from_land_use(findings, place),
    ]
    tried: list[Tried] = []
    names: set[str] = set()
    for name, layer, table, why_not in offers:
        unique, number = name, 2
        while unique in names:
            unique, number = f"{name} {number}", number + 1
        names.add(unique)
        table.keys.insert(0, ("name", unique, ""))
        one = Tried(unique, table)
        _weigh(one, layer, period, area, why_not)
        tried.append(one)
    return tried + _exposure(findings, area, place)


Offer = tuple[str, Layer, Table, str]


def _weigh(one: Tried, layer: Layer, period: Period | None, area: StudyArea, why_not: str) -> None:
    """Switch a factor off where it cannot be used, and keep its data before the incidents where they can be."""
    inside = _inside(layer, area)
    if layer.provenance in ("policing", "person"):
        one.leave_out(
            f"it was made by police work or is about persons ({layer.provenance}), and would feed that back",
            for_good=True,
        )
    elif inside.sum() < LEAST_FEATURES:
        one.leave_out(
            f"only {int(inside.sum())} features lie in the area, too few to learn from",
            for_good=not inside.any(),
        )
    elif why_not:
        one.leave_out(why_not)
    else:
        one.table.comments.append(f"{int(inside.sum()):,} features in the area.")
    if period is None or layer.period is None or layer.period.end < period.start:
        if layer.period is not None and period is not None:
            one.table.comments.append(f"Its data ({layer.period}) end before the incidents begin.")
        elif layer.period is None and period is not None:
            one.table.comments.append("It has no dates: whether it precedes the incidents is not known.")
        return
    dates = layer.dates
    if dates is not None:
        start, end = pd.Timestamp(period.start), pd.Timestamp(period.start) - pd.Timedelta(days=1)
        first = max(pd.Timestamp(layer.period.start), start - pd.DateOffset(years=YEARS_BEFORE))
        before = inside & np.asarray((dates < start) & (dates >= first))
        if before.sum() >= LEAST_BEFORE:
            one.table.add("period", f"{first.date()}/{end.date()}")
            one.table.comments.append(
                f"Its data run to {layer.period.end}; only those of up to {YEARS_BEFORE} years before the incidents "
                f"begin are used ({int(before.sum()):,} in the area), so that they cannot be their consequence."
            )
            return
    one.later = True
    one.table.comments.append(
        f"Its data ({layer.period}) reach into the period of the incidents; see [model]."
    )


def _inside(layer: Layer, area: StudyArea) -> np.ndarray:
    shapes = layer.frame.geometry.to_crs(area.crs).to_numpy()
    shapely.prepare(area.geometry)
    return np.asarray(shapely.intersects(area.geometry, shapes), dtype=bool)


def _from_requests(findings: list[Finding], area: StudyArea, place: Place) -> list[Offer]:
    """Requests and violations sorted into factors: by the map of Kansas City, else by words in their types."""
    offers: list[Offer] = []
    given = [one for one in findings if one.role == "requests" and one.layer is not None]
    for reader in ("kc_311", "kc_violations"):
        group = [one for one in given if one.reader == reader]
        group = [one for one in group if not guesses.is_part(one.stem)] or group
        if not group:
            continue
        layer = group[0].layer
        if len(group) > 1:
            layer = reader_of(reader)([one.frame for one in group], name=reader)
        assert layer is not None  # chosen above
        part = _partial(layer, area)
        sorted_ = kc_factors(layer)
        listed = ", ".join(
            f"{kind} ({rows:,})" for kind, rows in sorted_.unmapped[["type", "rows"]].head(8).to_numpy()
        )
        core = [name for name in guesses.CORE_FACTORS if name in sorted_]
        others = sorted(set(sorted_) - set(core))
        names = core or others
        for number, name in enumerate(names):
            files = [place(one) for one in group]
            table = Table("[[factors]]")
            if number == 0:
                table.comments.append(
                    f"{group[0].why[:1].upper()}{group[0].why[1:]}: types are sorted into factors by the built-in map "
                    f'(own map: factor_map = "my.toml"). Not in the map: {listed or "nothing"}.'
                )
                if core and others:
                    rest = ", ".join(f"{other} ({len(sorted_[other]):,})" for other in others)
                    table.comments.append(f"The map knows more, to be added in the same way: {rest}.")
            table.add("file", files[0] if len(files) == 1 else files)
            table.add("reader", reader)
            table.add("factor", name, "the part of the map")
            offers.append((name, sorted_[name], table, part))
    for one in given:
        if one.reader == "layer" and one.layer is not None:
            offers += _by_words(one, area, place)
    return offers


def _by_words(one: Finding, area: StudyArea, place: Place) -> list[Offer]:
    layer = one.layer
    assert layer is not None  # chosen by the caller
    column = type_column(layer)
    part = _partial(layer, area)
    if column is None:
        table = _table(one, place)
        return [(guesses.plain_name(one.stem), layer, table, part)]
    groups: dict[str, list[str]] = {}
    counts = layer.frame[column].value_counts()
    for value in map(str, counts.index):
        factor = guesses.factor_of(value)
        if factor is not None:
            groups.setdefault(factor, []).append(value)
    offers: list[Offer] = []
    for factor, values in groups.items():
        table = _table(one, place)
        table.comments.append(f"The values of {column!r} that speak of {factor}, whole and exact.")
        table.add("where", {column: values})
        table.add("provenance", "community-reported", "requests, by the file's name")
        chosen = layer.keep(np.asarray(layer.frame[column].isin(values), dtype=bool), "of another type")
        offers.append((factor, chosen, table, part))
    if offers:
        rest = [
            f"{value} ({counts[value]:,})" for value in counts.index if guesses.factor_of(str(value)) is None
        ]
        offers[0][2].comments.append(f"Not mapped of {column!r}: {', '.join(rest[:20])}.")
    return offers


def _table(one: Finding, place: Place) -> Table:
    table = Table("[[factors]]")
    table.add("file", place(one))
    for key, value in one.options.items():
        table.add(key, value)
    return table


def _from_layers(findings: list[Finding], place: Place) -> list[Offer]:
    offers: list[Offer] = []
    for one in findings:
        layer = one.layer
        if one.role != "factor" or layer is None:
            continue
        table = _table(one, place)
        why_not = "its name says that it is a sample" if guesses.is_part(one.stem) else ""
        if one.reader == "kc_buildings":
            table.add("reader", one.reader)
            offers.append(("dangerous buildings", layer, table, why_not))
            continue
        factor = guesses.factor_of(one.stem)
        name = factor or guesses.plain_name(one.stem)
        if factor:
            table.comments.append(f"Called {factor!r} after the words in the file's name.")
        columns = [str(name) for name in layer.frame.columns]
        provenance = guesses.provenance_of(one.stem, columns)
        if provenance is None:
            table.comments.append(
                'What made it is not known: say provenance = "environment", "community-reported" or "inspection".'
            )
        else:
            table.add("provenance", provenance, "a guess by the words in its name")
        if kind_of(layer) != "points":
            table.add("kind", "proximity", f"{kind_of(layer)} have no density of points")
        layer = _with(layer, provenance)
        if layer.period is None:
            years = guesses.years_in(one.stem)
            if years is not None:
                table.add("period", str(years), "the years in the file's name; it has no dates")
                layer = _with(layer, provenance, years)
        offers.append((name, layer, table, why_not))
    return offers


def _with(layer: Layer, provenance: str | None, period: Period | None = None) -> Layer:
    return replace(layer, provenance=provenance or layer.provenance, period=period or layer.period)


def _from_land_use(findings: list[Finding], place: Place) -> list[Offer]:
    """Parcels with a code of land use hold factors too."""
    offers: list[Offer] = []
    for one in findings:
        layer = one.layer
        if one.role != "exposure" or layer is None or guesses.is_part(one.stem):
            continue
        column = find_column(layer.frame.columns, guesses.LAND_USE_COLUMNS)
        if column is None:
            continue
        groups: dict[str, list[str]] = {}
        for value in layer.frame[column].dropna().astype(str).unique():
            factor = guesses.land_use_of(value)
            if factor is not None:
                groups.setdefault(factor, []).append(value)
        years = guesses.years_in(one.stem)
        for factor, values in groups.items():
            table = _table(one, place)
            table.comments.append(f"The values of {column!r} that speak of {factor}, whole and exact.")
            table.add("where", {column: values})
            table.add("provenance", "environment", "parcels, by the file's name")
            if layer.period is None and years is not None:
                table.add("period", str(years), "the years in the file's name; it has no dates")
            chosen = layer.keep(np.asarray(layer.frame[column].isin(values), dtype=bool), "of another use")
            offers.append((factor, _with(chosen, "environment", years), table, ""))
    return offers


def _exposure(findings: list[Finding], area: StudyArea, place: Place) -> list[Tried]:
    given = [one for one in findings if one.role == "exposure" and one.layer is not None]
    given.sort(key=lambda one: -one.rows)
    tried: list[Tried] = []
    for one in given:
        layer: Any = one.layer
        table = Table("[exposure]")
        table.comments.append(
            f"How busy or built-up a place is ({one.why}). The weights are adjusted for it, and shown without it too."
        )
        table.add("name", guesses.plain_name(one.stem))
        table.add("file", place(one))
        for key, value in one.options.items():
            table.add(key, value)
        table.add("provenance", guesses.provenance_of(one.stem, []))
        made = Tried(guesses.plain_name(one.stem), table, can_be_forced=False)
        if tried:
            made.leave_out("another file has more rows")
        elif not _inside(layer, area).any():
            made.leave_out("nothing of it lies in the area")
        tried.append(made)
    return tried


def _partial(layer: Layer, area: StudyArea) -> str:
    """Return why a layer of reports covers a part of the area only, or nothing."""
    inside = _inside(layer, area)
    if inside.sum() < _LEAST_FOR_SHARE:
        return ""
    points = layer.frame.geometry[inside].to_crs(area.crs).representative_point()
    squares = pd.Series(np.floor(points.x / _SQUARE_M) * 1e6 + np.floor(points.y / _SQUARE_M))
    counts = squares.value_counts()
    n_squares = int((counts.cumsum() < 0.8 * counts.sum()).sum()) + 1
    share = n_squares * _SQUARE_M**2 / area.area_m2
    if share >= PARTIAL_SHARE:
        return ""
    return (
        f"80 % of the reports lie in {100 * share:.1f} % of the area, so they were collected in a part of it, and "
        "where nobody collected would look as if nothing were there"
    )
