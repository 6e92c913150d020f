"""Results as lines for a terminal, and as plain values for JSON."""

import math
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from rtmkc.evidence.bias import BiasPanel
    from rtmkc.evidence.validation import Validation
    from rtmkc.model.terrain import RiskTerrain

FIGURES = ("relative", "expected", "percentile", "rrs", "length_m", "city_multiple", "incidents")
"""Columns of ours that are shown with few digits; columns of users are shown as they are."""


def one_line(text: Any) -> str:
    """Return text in one line; names in users' files may hold line breaks, and codes that terminals obey."""
    return "".join(sign if sign.isprintable() else " " for sign in " ".join(str(text).split()))


def result_lines(
    terrain: "RiskTerrain",
    hotspots: "pd.DataFrame",
    corridors: "pd.DataFrame",
    *,
    slices: "pd.DataFrame | None" = None,
    changes: "pd.DataFrame | None" = None,
    diagnostics: "pd.DataFrame | None" = None,
    bias: "BiasPanel | None" = None,
) -> Iterator[str]:
    """Give the answers of a run in some thirty lines: the report has the rest."""
    from rtmkc.output.words import NO_PERIOD

    facts = terrain.facts
    rated = terrain.horizon_days is not None
    yield (
        f"{facts['n_incidents']:,} incidents ({facts['period'] or 'period unknown'}) on {facts['n_cells']:,} "
        f"cells of {facts['cell_size_m']:.0f} m, {facts['crs']}; method {facts['why']['method']}, seed "
        f"{facts['why']['seed']}; {facts['exposure']}; {one_line(facts['timing'])}"
    )
    if not rated:
        yield NO_PERIOD
    yield ""
    yield from _weight_lines(terrain)
    yield ""
    yield f"Where next: {hotspots.attrs['statement']}{f'; expected in {terrain.horizon}' if rated else ''}"
    for _, row in hotspots.head(5).iterrows():
        where = f" {one_line(row['name'])}" if row.get("name") else ""
        relative = f"x{row['relative']:.1f} the average"
        value = f"{row['expected']:.2f} ({relative})" if rated else relative
        yield f"  {row['rank']:>2}. {row['latitude']:.5f}, {row['longitude']:.5f}{where}: {value}"
    if facts["where"].get("gain"):
        yield f"  {one_line(facts['where']['gain'])}"
    yield ""
    yield "Next corridors"
    yield from _corridor_lines(corridors, rated)
    yield from _comparison_lines(slices, changes)
    if bias is not None:
        yield ""
        yield "Who is looked at"
        yield from (f"  {one_line(line)}" for line in bias.sentences)
    if diagnostics is not None:
        from rtmkc.output.diagnostics import check_lines

        yield ""
        yield "Diagnostics"
        yield from (f"  {one_line(line)}" for line in check_lines(diagnostics))


def _weight_lines(terrain: "RiskTerrain") -> Iterator[str]:
    """One line a factor tried, then what the factors leave over and what is to be doubted."""
    from rtmkc.model.weights import IN_MODEL, UNDECIDED
    from rtmkc.output.weights import chance_of, chance_words, doubts, extent_words, none_of, patches_sentence
    from rtmkc.output.words import marks_words

    found = "" if terrain.factors else f" - no significant factor. {none_of(terrain)}"
    yield f"Why here: relative risk values{found}"
    for _, row in terrain.weights.iterrows():
        if row["status"] == IN_MODEL:
            reach = extent_words(row["extent_set"]) or f"{row['kind']} within {row['influence_m']:.0f} m"
            said = (
                f"x{row['rrv']:<6.2f} [{row['lower']:.2f}, {row['upper']:.2f}]  {reach}; "
                f"{marks_words(row['n_cells'] / terrain.grid.n_cells)}; p of shifts {chance_words(chance_of(terrain, row))}"
            )
        else:
            said = f"{'?' if row['status'] == UNDECIDED else '-'}       {row['status']}: {one_line(row['reason'])}"
        yield f"  {one_line(row['factor']):<24.24} {said}"
    for line in (patches_sentence(terrain.facts), doubts(terrain)):
        if line:
            yield f"  {one_line(line)}"


def validation_lines(found: "Validation") -> Iterator[str]:
    """Give a validation in lines: the verdict first, then the table, then what it rests on."""
    for line in str(found).splitlines():
        yield "".join(sign if sign.isprintable() else " " for sign in line)  # blanks hold the columns


def validation_record(found: "Validation") -> dict[str, Any]:
    """Return a validation for JSON."""
    return {
        "heading": found.heading, "verdict": found.verdict, "statement": found.statement, "facts": found.facts,
        "table": plain_rows(found.table), "paired": plain_rows(found.paired),
        "calibration": plain_rows(found.calibration),
    }  # fmt: skip


class Progress:
    """One bar a step on a terminal, one line a step elsewhere; nothing where it is to be quiet."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.step = ""
        self.bar: Any = None

    def __call__(self, step: str, done: int, total: int) -> None:
        """Say how far a step has come."""
        if self.quiet:
            return
        if step != self.step:
            self.close()
            self.step = step
            if sys.stderr.isatty():
                from tqdm import tqdm

                self.bar = tqdm(desc=step, total=total, file=sys.stderr, leave=False, unit="", ncols=80)
            else:
                sys.stderr.write(f"{step} ...\n")
        if self.bar is not None:
            self.bar.n, self.bar.total = done, total
            self.bar.refresh()

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _corridor_lines(corridors: "pd.DataFrame", rated: bool) -> Iterator[str]:
    from rtmkc.output.words import corridor_name, ends_words

    for _, row in corridors.iterrows():
        ends = ends_words(row)
        expected = f"{row['expected']:.1f} expected, " if rated else ""
        yield (
            f"  {row['rank']:>2}. {one_line(corridor_name(row))}{', ' if ends else ''}{one_line(ends)}: "
            f"{row['length_m']:,.0f} m, {expected}x{row['city_multiple']:.1f} {corridors.attrs['multiple_of']}"
        )
    if not len(corridors):
        yield (f"  {corridors.attrs['statement']}")


def _comparison_lines(slices: "pd.DataFrame | None", changes: "pd.DataFrame | None") -> Iterator[str]:
    from rtmkc.output.comparisons import change_lines, slice_lines

    for title, table, lines in (
        ("Hours and weekdays", slices, slice_lines),
        ("Since the last run", changes, change_lines),
    ):
        if table is not None:
            yield ""
            yield title
            yield from (f"  {one_line(line)}" for line in lines(table))


def fact_lines(name: str, value: Any, indent: str = "") -> Iterator[str]:
    """Give one fact a line; what is a table is left to JSON."""
    if isinstance(value, dict) and "rows" not in value:
        yield f"{indent}{name}"
        for key, part in value.items():
            yield from fact_lines(key, part, indent + "  ")
    elif isinstance(value, list):
        texts = [one["name"] if isinstance(one, dict) and "name" in one else one for one in value]
        for number, text in enumerate(texts):
            yield f"{indent}{name if number == 0 else '':<24} {one_line(text)}"
    elif not isinstance(value, dict):
        yield f"{indent}{name:<24} {'not known' if value is None else one_line(value)}"


def table_text(table: "pd.DataFrame", digits: int) -> str:
    """Return a table in columns: our figures with so many digits, the user's own as they are."""
    import pandas as pd

    shown = pd.DataFrame(index=table.index)
    for name in table.columns:
        if name in FIGURES:
            texts = [f"{value:,.{digits}g}" if pd.notna(value) else "-" for value in table[name]]
        else:
            texts = [one_line(value) if pd.notna(value) else "-" for value in table[name]]
        shown[one_line(name)] = texts
    return str(shown.to_string(index=False, max_colwidth=60))


def plain_rows(table: Any) -> list[dict[str, Any]]:
    """Return a table as plain rows, geometry left out, missing values null."""
    import pandas as pd

    geometry = getattr(table, "_geometry_column_name", None)
    plain = pd.DataFrame(table.drop(columns=[geometry] if geometry in table.columns else []))
    rows = plain.astype(object).where(plain.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def plain_value(value: Any) -> Any:
    """Return what JSON can hold: it has neither NaN nor infinity, nor types of numpy."""
    if isinstance(value, dict):
        return {str(key): plain_value(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(part) for part in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if hasattr(value, "item"):
        return plain_value(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
