"""The streets, the areas with names and the treated corridors of a folder, as tables of a study file."""

from collections.abc import Callable

import shapely

from rtmkc.errors import InputError
from rtmkc.inputs.layers import Layer
from rtmkc.places.joins import label_column_of
from rtmkc.raster.area import StudyArea
from rtmkc.workflow import guesses
from rtmkc.workflow.draft import Table
from rtmkc.workflow.inspect import Finding

Place = Callable[[Finding], str]
#: Columns of a table of hot spots that a join must not be called.
_TAKEN = ("name", "rank", "row", "column", "count")


def streets_of(
    findings: list[Finding], area: StudyArea, place: Place
) -> tuple[Finding | None, list[Table], Layer | None]:
    """Return the streets that most lines inside the area belong to: finding, table and layer."""
    ranked = []
    for one in findings:
        if one.role == "streets" and one.layer is not None:
            ranked.append((_n_touching(one.layer, area), one))
    tables = []
    ranked.sort(key=lambda each: -each[0])
    chosen: Finding | None = None
    for lines, one in ranked:
        assert one.layer is not None  # ranked are those with a layer
        table = Table("[streets]")
        table.add("file", place(one))
        for key, value in one.options.items():
            table.add(
                key,
                value,
                {"name": "street names", "road_class": "motorways and ramps are left out"}.get(key, ""),
            )
        if not lines:
            table.comments.append("Left out: no line of it lies in the area.")
        elif chosen is not None:
            table.comments.append("Left out: another file has more lines in the area.")
        elif "name" not in one.options:
            table.comments.append(
                "Left out: no column is called like street names, which corridors need; if there is one, name it "
                "with name. Corridors are chains of cells meanwhile."
            )
        else:
            table.comments.append(f"Corridors run along these: {lines:,} lines inside the area.")
        table.active = bool(lines) and chosen is None and "name" in one.options
        if lines and chosen is None:
            chosen = one
        tables.append(table)
    return chosen, tables, None if chosen is None else chosen.layer


def areas_of(findings: list[Finding], boundary: Finding, area: StudyArea, place: Place) -> list[Table]:
    """Return the areas that places are named after, and those they are joined with."""
    tables: list[Table] = []
    named = False
    used = set(_TAKEN)
    ordered = sorted(
        (one for one in findings if one.role == "areas" and one.layer is not None),
        key=lambda one: (guesses.kind_of_areas(one.stem) != "neighbourhood", one is boundary, one.file),
    )
    for one in ordered:
        assert one.layer is not None  # chosen above
        kind = guesses.kind_of_areas(one.stem)
        try:
            column = label_column_of(one.layer.frame, kind)
        except InputError:
            tables.append(
                Table(
                    "[[joins]]",
                    [f"{one.file}: {len(one.layer):,} areas without a column of names."],
                    active=False,
                )
            )
            tables[-1].add("file", place(one))
            continue
        is_names = kind == "neighbourhood" and not named
        table = Table("[names]" if is_names else "[[joins]]")
        name, number = kind, 2
        while not is_names and name in used:
            name, number = f"{kind} {number}", number + 1
        inside = _n_touching(one.layer, area)
        if is_names:
            table.comments.append("Places are named after these areas.")
        else:
            table.comments.append(f"Every hot spot and corridor gets a column {name!r}.")
            table.add("name", name)
            used.add(name)
        table.add("file", place(one))
        for key, value in one.options.items():
            table.add(key, value)
        first = [str(value) for value in one.layer.frame[column].dropna().head(3)]
        table.add("column", column, f"such as {', '.join(first)}")
        if not inside:
            table.comments.append("Left out: none of them touches the area.")
            table.active = False
        named |= is_names and table.active
        tables.append(table)
    return tables


def treated_of(findings: list[Finding], place: Place) -> list[Table]:
    """Return the corridors worked already; the first file counts."""
    tables: list[Table] = []
    for one in findings:
        if one.role != "treated":
            continue
        table = Table(
            "[treated]", [f"The next corridors stay away from these: {one.why}."], active=not tables
        )
        table.add("file", place(one))
        for key, value in one.options.items():
            table.add(key, value)
        tables.append(table)
    return tables


def _n_touching(layer: Layer, area: StudyArea) -> int:
    shapes = layer.frame.geometry.to_crs(area.crs).to_numpy()
    shapely.prepare(area.geometry)
    return int(shapely.intersects(area.geometry, shapes).sum())
