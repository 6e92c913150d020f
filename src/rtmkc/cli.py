"""The command `rtmkc`: parse, call the public API, print.

Results go to stdout, progress and messages to stderr. Exit codes: 0 fine (no significant factor is fine),
1 an error in data or run, 2 usage, 130 interrupted.
"""

import json
import traceback
import warnings
from pathlib import Path
from typing import Any

import click

from rtmkc import __version__
from rtmkc.errors import RtmkcError, RtmkcWarning
from rtmkc.output.terminal import (
    Progress,
    fact_lines,
    one_line,
    plain_rows,
    plain_value,
    result_lines,
    table_text,
    validation_lines,
    validation_record,
)

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
                click.echo(f"rtmkc: {one_line(place)} cannot be read or written: {error.strerror}.", err=True)
            elif isinstance(error, RtmkcError):
                click.echo(f"rtmkc: {one_line(error)}", err=True)
            else:
                click.echo(
                    f"rtmkc: unexpected {type(error).__name__}: {one_line(error)}. This is a fault of rtmkc; run "
                    "again with -v and report what it prints.",
                    err=True,
                )
            ctx.exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rtmkc")
def main() -> None:
    """Risk terrain modeling: which places, why, and where next.

    Start with `rtmkc demo`. With your own data: `rtmkc init FOLDER`, then `rtmkc run FOLDER/study.toml -o results`.
    """


def _is_quiet() -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(QUIET))


def _say(message: str) -> None:
    """A message on stderr, in one line."""
    if not _is_quiet():
        click.echo(one_line(message), err=True)


def _show_warning(message: Any, category: type, *_: Any, **__: Any) -> None:
    if issubclass(category, RtmkcWarning):
        _say(f"warning: {message}")


def _flag(key: str, *names: str, help: str) -> Any:
    """An option that the command itself need not know."""

    def remember(context: click.Context, _: click.Parameter, value: bool) -> None:
        context.meta[key] = value

    return click.option(*names, is_flag=True, expose_value=False, callback=remember, help=help)


def _writer(output: str) -> Any:
    """Return what writes a table to a file of this name."""
    from rtmkc.errors import OutputError
    from rtmkc.output.files import write_geojson, write_table

    if output.lower().endswith((".geojson", ".json")):
        return write_geojson
    if output.lower().endswith(".csv"):
        return write_table
    raise OutputError(
        f"Invalid output {output!r}. Its name must end in .csv or .geojson, the two that are written."
    )


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
@click.option(
    "--since", type=click.Path(), help="Results of an earlier run on the same grid: say what changed."
)
@click.option("--dropped", is_flag=True, help="Write the rows that each layer does not use, to look at them.")
@click.option(
    "--shapefile-names", is_flag=True, help="Also write Shapefiles, with field names of 10 characters."
)
@_overwrite
@_json
@_quiet
@_verbose
def run_(
    study: str,
    output: str,
    data: str | None,
    since: str | None,
    dropped: bool,
    shapefile_names: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Run STUDY (a study.toml) and write one folder: report, map, tables, model and manifest."""
    also = {"dropped": dropped, "shapefile": shapefile_names}
    _run(Path(study), data, output, overwrite, as_json, since=since, also=also)


def _run(
    study: Path,
    data: str | None,
    output: str,
    overwrite: bool,
    as_json: bool,
    *,
    since: str | None = None,
    also: dict[str, bool] | None = None,
) -> None:
    from rtmkc.workflow.run import run
    from rtmkc.workflow.study import Study

    with Progress(_is_quiet()) as progress:
        made = Study.from_file(study, data=data)
        for name, wanted in (also or {}).items():
            setattr(made.output, name, wanted or getattr(made.output, name))
        results = run(made, output, since=since, overwrite=overwrite, progress=progress)
    if as_json:
        _print_json(results.record())
    else:
        for line in result_lines(
            results.terrain,
            results.hotspots,
            results.corridors,
            slices=results.comparison,
            changes=results.changes,
            diagnostics=results.diagnostics,
            bias=results.bias,
        ):
            click.echo(line)
        click.echo(f"\nWritten to {results.folder}: open {results.folder / 'report.html'} first.")


@main.command("init")
@click.argument("folder", type=click.Path())
@click.option("-o", "--output", help="Study file to write; default study.toml in FOLDER.")
@_overwrite
@_json
@_quiet
@_verbose
def init_(folder: str, output: str | None, overwrite: bool, as_json: bool) -> None:
    """Look at every file of FOLDER and write a study.toml that runs, every guess explained in it."""
    import pandas as pd

    from rtmkc.workflow.init import write_study

    with Progress(_is_quiet()) as progress:
        draft = write_study(folder, output, overwrite=overwrite, progress=progress)
    records = [finding.record() for finding in draft.findings]
    if as_json:
        _print_json({"study": str(draft.path), "files": records, "notes": draft.notes})
        return
    table = pd.DataFrame(records)
    table["located"] = [f"{100 * share:.0f} %" if pd.notna(share) else "-" for share in table["located"]]
    click.echo(table_text(table[["file", "role", "rows", "located", "period", "why"]], 4))
    for note in draft.notes:
        _say(f"note: {note}")
    click.echo(
        f"\nWritten to {draft.path}. Next: rtmkc check {draft.path}, then rtmkc run {draft.path} -o results"
    )


@main.command()
@click.argument("study", type=click.Path(), metavar="STUDY|FILE")
@click.option("-o", "--output", help="HTML file to write.")
@click.option("--data", help="Where relative paths of the study start; default the folder of the study file.")
@_overwrite
@_json
@_quiet
@_verbose
def check(study: str, output: str | None, data: str | None, overwrite: bool, as_json: bool) -> None:
    """Show the data-quality card of a study.toml or of any file: rows, places, dates, repeats. Fits nothing."""
    from rtmkc.output.card import write_card
    from rtmkc.workflow.check import check_data

    card = check_data(study, data=data)
    if output:
        write_card(output, card.title, card.layers, overwrite=overwrite)
        _say(f"card of {len(card.layers)} layers written to {output}")
    if as_json:
        _print_json({"title": card.title, "layers": card.layers})
    elif not output:
        import pandas as pd

        table = card.to_frame()
        table["located"] = [f"{100 * share:.0f} %" if pd.notna(share) else "-" for share in table["located"]]
        click.echo(table_text(table.drop(columns="look_at"), 4))
        for layer in card.layers:
            for line in layer["look_at"]:
                click.echo(f"  {one_line(layer['name'])}: {one_line(line)}")


@main.command()
@click.argument("model", type=click.Path())
@click.argument("places", type=click.Path())
@click.option("-o", "--output", help="CSV or GeoJSON file to write; default a table on stdout.")
@click.option("--crs", help="Coordinate system of the places, if their file does not say.")
@click.option(
    "--join",
    "joins",
    multiple=True,
    metavar="FILE:COLUMN",
    help="Areas to label the places with, such as beats.geojson:beat; may be given several times.",
)
@_overwrite
@_json
@_quiet
@_verbose
def score(
    model: str,
    places: str,
    output: str | None,
    crs: str | None,
    joins: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
) -> None:
    """Score PLACES (any file of points) with MODEL (a folder of results). Needs no layers."""
    from rtmkc.inputs.layers import read_layer
    from rtmkc.model.saving import load
    from rtmkc.places.joins import join_areas
    from rtmkc.places.scoring import score as score_places

    terrain = load(model)
    scored = score_places(terrain, read_layer(places, name="places", crs=crs))
    if joins:
        scored = join_areas(scored, _joins(joins, list(scored.columns)))
    if output:
        write = _writer(output)
        write(output, scored, overwrite=overwrite)
        _say(f"{len(scored):,} places written to {output}")
    elif as_json:
        _print_json({"horizon_days": terrain.horizon_days, "places": plain_rows(scored)})
    else:
        table = scored.drop(columns=scored.geometry.name).sort_values("expected", ascending=False)
        click.echo(f"Expected incidents per cell in {terrain.horizon}; relative = x the city's average")
        click.echo(table_text(table.drop(columns=["cell_id", "lower", "upper"]), 3))


def _joins(given: tuple[str, ...], taken: list[str]) -> dict[str, Any]:
    """Areas and column by the name of the new column: that of theirs, with their file's before it if it is taken."""
    from rtmkc.errors import InputError
    from rtmkc.inputs.layers import read_layer

    joins: dict[str, Any] = {}
    for text in given:
        file, _, column = text.rpartition(":")
        if not file or not column or Path(text).exists():
            raise InputError(f"Invalid join {text!r}. Write FILE:COLUMN, as in beats.geojson:beat.")
        name = column if column not in (*taken, *joins) else f"{Path(file).stem} {column}"
        joins[name] = (read_layer(file, name=name), column)
    return joins


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
    from rtmkc.model.saving import load
    from rtmkc.places.corridors.search import find_corridors
    from rtmkc.places.corridors.streets import StreetNetwork

    terrain = load(model)
    network = None
    if streets:
        network = StreetNetwork.around(
            terrain.grid, read_layer(streets, name="streets"), name=name, road_class=road_class
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
        write = _writer(output)
        write(output, found, overwrite=overwrite)
        _say(f"{len(found)} corridors written to {output}")
    elif as_json:
        _print_json({"statement": found.attrs["statement"], "corridors": plain_rows(found)})
    else:
        click.echo(found.attrs["statement"])
        columns = [
            "rank", "name", "from_street", "to_street", "length_m", "expected", "city_multiple", "incidents",
        ]  # fmt: skip
        if len(found):
            click.echo(table_text(found[columns], 4))


@main.command("validate")
@click.argument("study", type=click.Path())
@click.option("--train", help="Days to learn from, such as 2021/2022.")
@click.option("--test", help="Days to forecast, such as 2023.")
@click.option(
    "--by", metavar="time|blocks|FILE", help="Hold out time (default), square blocks, or the areas of a file."
)
@click.option("--data", help="Where relative paths of the study start; default the folder of the study file.")
@click.option("--no-baselines", is_flag=True, help="Leave out random forests, which take most of the time.")
@click.option("-o", "--output", help="Folder to write: a page, tables and a manifest.")
@_overwrite
@_json
@_quiet
@_verbose
def validate_(
    study: str,
    train: str | None,
    test: str | None,
    by: str | None,
    data: str | None,
    no_baselines: bool,
    output: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Test the forecast of STUDY on incidents it has not seen, beside past counts, kernel density and forests.

    What is held out is said by the options, or else by the table [validation] of the study.
    """
    from rtmkc.workflow.specs import ValidationSpec
    from rtmkc.workflow.study import Study
    from rtmkc.workflow.validation import validate_study

    with Progress(_is_quiet()) as progress:
        made = Study.from_file(study, data=data)
        if train or test or by:
            by = by or "time"
            place = by if by in ("time", "blocks") else str(Path(by).absolute())
            made.validation = ValidationSpec(train=train, test=test, by=place)
        found = validate_study(
            made, output, baselines=not no_baselines, overwrite=overwrite, progress=progress
        )
    if as_json:
        _print_json(validation_record(found))
    else:
        for line in validation_lines(found):
            click.echo(line)
        if output:
            click.echo(f"\nWritten to {output}: open {Path(output) / 'validation.html'} first.")


@main.command("audit")
@click.argument("study", type=click.Path())
@click.option("--places", is_flag=True, help="Also without the few places that hold very many incidents.")
@click.option("--data", help="Where relative paths of the study start; default the folder of the study file.")
@click.option("-o", "--output", help="Folder to write: tables and a manifest.")
@_overwrite
@_json
@_quiet
@_verbose
def audit_(
    study: str, places: bool, data: str | None, output: str | None, overwrite: bool, as_json: bool
) -> None:
    """Fit STUDY again on other grids, and say which weights and hot spots stand.

    The grids have cells of half and twice the size, and lines moved by half a cell: six fits, so it takes long.
    """
    from rtmkc.output.audits import audit_lines, audit_record
    from rtmkc.workflow.audit import audit_study
    from rtmkc.workflow.study import Study

    with Progress(_is_quiet()) as progress:
        made = Study.from_file(study, data=data)
        found = audit_study(made, output, places=places, overwrite=overwrite, progress=progress)
    if as_json:
        _print_json(audit_record(found.grids, found.places))
    else:
        for line in audit_lines(found.grids, found.places):
            click.echo(line)
        if output:
            click.echo(f"\nWritten to {output}.")


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
        from rtmkc.model.saving import load

        found = load(model).facts
    if as_json:
        _print_json(found)
        return
    for name, value in found.items():
        for line in fact_lines(name, value):
            click.echo(line)


def _print_json(value: Any) -> None:
    click.echo(json.dumps(plain_value(value), allow_nan=False, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()
