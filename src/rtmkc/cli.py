"""The command `rtmkc`: parse, call the public API, print.

Results go to stdout, progress and messages to stderr. Exit codes: 0 fine (no significant factor is fine),
1 an error in data or run, 2 usage, 130 interrupted.
"""

import json
import math
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtmkc import __version__
from rtmkc.errors import RtmkcError, RtmkcWarning

if TYPE_CHECKING:
    from rtmkc.workflow.run import Results

FIGURES = ("relative", "expected", "percentile", "rrs", "length_m", "city_multiple", "incidents")
QUIET, VERBOSE = "rtmkc.quiet", "rtmkc.verbose"


class _Commands(click.Group):
    """Turns errors into one line and an exit code, and warnings into one line, for every command alike."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always", RtmkcWarning)
                warnings.showwarning = _show_warning  # restored when the block ends
                return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("rtmkc: interrupted", err=True)
            ctx.exit(130)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if ctx.meta.get(VERBOSE):
                traceback.print_exc()
            if isinstance(error, OSError) and not isinstance(error, RtmkcError) and error.strerror:
                place = error.filename or "the output"
                click.echo(f"rtmkc: {_line(place)} cannot be read or written: {error.strerror}.", err=True)
            elif isinstance(error, RtmkcError):
                click.echo(f"rtmkc: {_line(error)}", err=True)
            else:
                click.echo(
                    f"rtmkc: unexpected {type(error).__name__}: {_line(error)}. This is a fault of rtmkc; run "
                    "again with -v and report what it prints.",
                    err=True,
                )
            ctx.exit(1)


class _Progress:
    """One bar a step on a terminal, one line a step elsewhere; nothing with --quiet."""

    def __init__(self) -> None:
        self.quiet = _is_quiet()
        self.step = ""
        self.bar: Any = None

    def __call__(self, step: str, done: int, total: int) -> None:
        if self.quiet:
            return
        if step != self.step:
            self.close()
            self.step = step
            if sys.stderr.isatty():
                from tqdm import tqdm

                self.bar = tqdm(desc=step, total=total, file=sys.stderr, leave=False, unit="", ncols=80)
            else:
                click.echo(f"{step} ...", err=True)
        if self.bar is not None:
            self.bar.n, self.bar.total = done, total
            self.bar.refresh()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rtmkc")
def main() -> None:
    """Risk terrain modeling: which places, why, and where next.

    Start with `rtmkc demo`. With your own data: write a study.toml and `rtmkc run study.toml -o results`.
    """


def _is_quiet() -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(QUIET))


def _say(message: str) -> None:
    """A message on stderr, in one line."""
    if not _is_quiet():
        click.echo(_line(message), err=True)


def _show_warning(message: Any, category: type, *_: Any, **__: Any) -> None:
    if issubclass(category, RtmkcWarning):
        _say(f"warning: {message}")


def _line(text: Any) -> str:
    """Text in one line; names in users' files may hold line breaks, and codes that terminals obey."""
    return "".join(sign if sign.isprintable() else " " for sign in " ".join(str(text).split()))


def _flag(key: str, *names: str, help: str) -> Any:
    """An option that the command itself need not know."""

    def remember(context: click.Context, _: click.Parameter, value: bool) -> None:
        context.meta[key] = value

    return click.option(*names, is_flag=True, expose_value=False, callback=remember, help=help)


_json = click.option("--json", "as_json", is_flag=True, help="Print the results as JSON on stdout.")
_quiet = _flag(QUIET, "-q", "--quiet", help="No progress and no warnings.")
_verbose = _flag(VERBOSE, "-v", "--verbose", help="Show the traceback of an error.")
_overwrite = click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")


@main.command()
@click.option("-o", "--output", default="rtmkc-demo", show_default=True, help="Folder to write.")
@_overwrite
@_json
@_quiet
@_verbose
def demo(output: str, overwrite: bool, as_json: bool) -> None:
    """Run the embedded sample: a synthetic Kansas City north-east. Needs no data and no network."""
    from rtmkc.datasets import sample_path

    _run(sample_path("study.toml"), None, output, overwrite, as_json)


@main.command("run")
@click.argument("study", type=click.Path())
@click.option("-o", "--output", required=True, help="Folder to write.")
@click.option("--data", help="Where relative paths of the study start; default the folder of the study file.")
@_overwrite
@_json
@_quiet
@_verbose
def run_(study: str, output: str, data: str | None, overwrite: bool, as_json: bool) -> None:
    """Run STUDY (a study.toml) and write one folder: report, map, tables, model and manifest."""
    _run(Path(study), data, output, overwrite, as_json)


def _run(study: Path, data: str | None, output: str, overwrite: bool, as_json: bool) -> None:
    from rtmkc.workflow.manifest import ledger_record
    from rtmkc.workflow.run import run
    from rtmkc.workflow.study import Study

    progress = _Progress()
    try:
        results = run(Study.from_file(study, data=data), output, overwrite=overwrite, progress=progress)
    finally:
        progress.close()
    if as_json:
        _print_json(
            {
                "folder": str(results.folder),
                "facts": results.terrain.facts,
                "ledgers": [ledger_record(one) for one in results.ledgers],
                "weights": _rows(results.terrain.weights),
                "hotspots": _rows(results.hotspots),
                "corridors": _rows(results.corridors),
            }
        )
    else:
        _print_results(results)


def _print_results(results: "Results") -> None:
    """The answers in some thirty lines: the report has the rest."""
    terrain, facts = results.terrain, results.terrain.facts
    click.echo(
        f"{facts['n_incidents']:,} incidents ({facts['period'] or 'period unknown'}) on {facts['n_cells']:,} "
        f"cells of {facts['cell_size_m']:.0f} m, {facts['crs']}; method {facts['why']['method']}, seed "
        f"{facts['why']['seed']}; {facts['exposure']}; {_line(facts['timing'])}"
    )
    click.echo("\nWhy here: relative risk values" + ("" if terrain.factors else " - no significant factor"))
    for _, row in terrain.weights.iterrows():
        if row["status"] == "in the model":
            said = (
                f"x{row['rrv']:<6.2f} [{row['lower']:.2f}, {row['upper']:.2f}]  {row['kind']} within "
                f"{row['influence_m']:.0f} m"
            )
        else:
            said = f"-       {_line(row['reason'])}"
        click.echo(f"  {_line(row['factor']):<24.24} {said}")
    click.echo(f"\nWhere next: {results.hotspots.attrs['statement']}; expected in {terrain.horizon}")
    for _, row in results.hotspots.head(5).iterrows():
        where = f" {_line(row['name'])}" if row.get("name") else ""
        click.echo(
            f"  {row['rank']:>2}. {row['latitude']:.5f}, {row['longitude']:.5f}{where}: "
            f"{row['expected']:.2f} (x{row['relative']:.1f} the average)"
        )
    click.echo("\nNext corridors")
    for _, row in results.corridors.iterrows():
        ends = f", {_line(row['from_street'])} to {_line(row['to_street'])}" if row["from_street"] else ""
        click.echo(
            f"  {row['rank']:>2}. {_line(row['name'])}{ends}: {row['length_m']:,.0f} m, "
            f"{row['expected']:.1f} expected, x{row['city_multiple']:.1f} {results.corridors.attrs['multiple_of']}"
        )
    if not len(results.corridors):
        click.echo(f"  {results.corridors.attrs['statement']}")
    click.echo(f"\nWritten to {results.folder}: open {results.folder / 'report.html'} first.")


@main.command()
@click.argument("model", type=click.Path())
@click.argument("places", type=click.Path())
@click.option("-o", "--output", help="CSV or GeoJSON file to write; default a table on stdout.")
@click.option("--crs", help="Coordinate system of the places, if their file does not say.")
@_overwrite
@_json
@_quiet
@_verbose
def score(
    model: str, places: str, output: str | None, crs: str | None, overwrite: bool, as_json: bool
) -> None:
    """Score PLACES (any file of points) with MODEL (a folder of results). Needs no layers."""
    from rtmkc.inputs.layers import read_layer
    from rtmkc.model.terrain import load
    from rtmkc.output.files import write_geojson, write_table
    from rtmkc.places.scoring import score as score_places

    terrain = load(model)
    scored = score_places(terrain, read_layer(places, name="places", crs=crs))
    if output:
        write = write_geojson if output.lower().endswith((".geojson", ".json")) else write_table
        write(output, scored, overwrite=overwrite)
        _say(f"{len(scored):,} places written to {output}")
    elif as_json:
        _print_json({"horizon_days": terrain.horizon_days, "places": _rows(scored)})
    else:
        table = scored.drop(columns=scored.geometry.name).sort_values("expected", ascending=False)
        click.echo(f"Expected incidents per cell in {terrain.horizon}; relative = x the city's average")
        _print_table(table.drop(columns=["cell_id", "lower", "upper"]), 3)


@main.command()
@click.argument("model", type=click.Path())
@click.option(
    "--streets", type=click.Path(), help="Street layer; without it corridors are seams of the grid."
)
@click.option("--name", help="Column of the street names.")
@click.option("--road-class", help="Column of the road classes; motorways and ramps are left out.")
@click.option("--exclude", type=click.Path(), help="Corridors treated already, to stay away from.")
@click.option("--areas", type=click.Path(), help="Areas with names, to name seams.")
@click.option("--area-name", help="Column of those names.")
@click.option("-k", "--count", "k", default=5, show_default=True, help="How many corridors.")
@click.option("--min-length", default="500 m", show_default=True)
@click.option("--max-length", default="2500 m", show_default=True)
@click.option("--separation", default="300 m", show_default=True, help="Distance between corridors.")
@click.option("-o", "--output", help="CSV or GeoJSON file to write; default a table on stdout.")
@_overwrite
@_json
@_quiet
@_verbose
def corridors(
    model: str,
    streets: str | None,
    name: str | None,
    road_class: str | None,
    exclude: str | None,
    areas: str | None,
    area_name: str | None,
    k: int,
    min_length: str,
    max_length: str,
    separation: str,
    output: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Propose the next corridors on the terrain of MODEL (a folder of results)."""
    from rtmkc.inputs.layers import read_layer
    from rtmkc.model.terrain import load
    from rtmkc.output.files import write_geojson, write_table
    from rtmkc.places.corridors.search import find_corridors
    from rtmkc.places.corridors.streets import StreetNetwork

    terrain = load(model)
    network = None
    if streets:
        network = StreetNetwork.from_layer(
            read_layer(streets, name="streets"), name=name, road_class=road_class, crs=terrain.grid.crs
        )
    found = find_corridors(
        terrain,
        network,
        k=k,
        min_length=min_length,
        max_length=max_length,
        separation=separation,
        exclude=read_layer(exclude, name="treated") if exclude else None,
        areas=read_layer(areas, name="areas") if areas else None,
        area_name=area_name,
    )
    if output:
        write = write_geojson if output.lower().endswith((".geojson", ".json")) else write_table
        write(output, found, overwrite=overwrite)
        _say(f"{len(found)} corridors written to {output}")
    elif as_json:
        _print_json({"statement": found.attrs["statement"], "corridors": _rows(found)})
    else:
        click.echo(found.attrs["statement"])
        columns = [
            "rank",
            "name",
            "from_street",
            "to_street",
            "length_m",
            "expected",
            "city_multiple",
            "incidents",
        ]
        if len(found):
            _print_table(found[columns], 4)


@main.command()
@click.argument("model", type=click.Path(), required=False)
@_json
@_quiet
@_verbose
def info(model: str | None, as_json: bool) -> None:
    """Show versions, or what a MODEL (a folder of results) was made of."""
    from rtmkc.workflow.manifest import versions

    if model is None:
        found: dict[str, Any] = versions()
    else:
        from rtmkc.model.terrain import load

        found = load(model).facts
    if as_json:
        _print_json(found)
        return
    for name, value in found.items():
        _print_fact(name, value)


def _print_fact(name: str, value: Any, indent: str = "") -> None:
    """One fact a line; what is a table is left to --json."""
    if isinstance(value, dict) and "rows" not in value:
        click.echo(f"{indent}{name}")
        for key, part in value.items():
            _print_fact(key, part, indent + "  ")
    elif isinstance(value, list):
        texts = [one["name"] if isinstance(one, dict) and "name" in one else one for one in value]
        for number, text in enumerate(texts):
            click.echo(f"{indent}{name if number == 0 else '':<24} {_line(text)}")
    elif not isinstance(value, dict):
        click.echo(f"{indent}{name:<24} {'not known' if value is None else _line(value)}")


def _print_table(table: Any, digits: int) -> None:
    """A table in columns: our figures with so many digits, the user's own as they are."""
    import pandas as pd

    shown = pd.DataFrame(index=table.index)
    for name in table.columns:
        if name in FIGURES:
            texts = [f"{value:,.{digits}g}" if pd.notna(value) else "-" for value in table[name]]
        else:
            texts = [_line(value) if pd.notna(value) else "-" for value in table[name]]
        shown[_line(name)] = texts
    click.echo(shown.to_string(index=False, max_colwidth=60))


def _rows(table: Any) -> list[dict[str, Any]]:
    """A table as plain rows, geometry left out, missing values null."""
    import pandas as pd

    geometry = getattr(table, "_geometry_column_name", None)
    plain = pd.DataFrame(table.drop(columns=[geometry] if geometry in table.columns else []))
    rows = plain.astype(object).where(plain.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def _print_json(value: Any) -> None:
    click.echo(json.dumps(_plain(value), allow_nan=False, ensure_ascii=False, indent=1))


def _plain(value: Any) -> Any:
    """What JSON can hold: it has neither NaN nor infinity, nor types of numpy."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if hasattr(value, "item"):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


if __name__ == "__main__":
    main()
