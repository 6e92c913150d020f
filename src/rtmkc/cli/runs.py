"""The commands that run a whole study: demo, run."""

from pathlib import Path
from typing import Any

import click

from rtmkc.cli.frame import (
    data_option,
    is_quiet,
    overwrite_option,
    print_json,
    shared_options,
    workers_of,
)
from rtmkc.output.terminal import Progress, result_lines


@click.command()
@click.option("-o", "--output", default="rtmkc-demo", show_default=True, help="Folder to write.")
@overwrite_option
@shared_options
def demo(output: str, overwrite: bool, as_json: bool) -> None:
    """Run the embedded sample: a synthetic Kansas City north-east. Needs no data and no network."""
    from rtmkc.datasets import sample_path

    _run(sample_path("study.toml"), None, output, overwrite, as_json)


@click.command()
@click.argument("study", type=click.Path())
@click.option("-o", "--output", required=True, help="Folder to write.")
@data_option
@click.option(
    "--since", type=click.Path(), help="Results of an earlier run on the same grid: say what changed."
)
@click.option("--dropped", is_flag=True, help="Write the rows that each layer does not use, to look at them.")
@click.option(
    "--shapefile-names", is_flag=True, help="Also write Shapefiles, with field names of 10 characters."
)
@click.option(
    "--scheduler", metavar="ADDRESS", help="Address of a Dask scheduler whose workers add up the cells."
)
@click.option(
    "--store",
    type=click.Path(file_okay=False),
    help="Folder for blocks of cells instead of memory; with --scheduler one that all workers see.",
)
@overwrite_option
@shared_options
def run(
    study: str,
    output: str,
    data: str | None,
    since: str | None,
    dropped: bool,
    shapefile_names: bool,
    scheduler: str | None,
    store: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Run STUDY (a study.toml) and write one folder: report, map, tables, model and manifest."""
    also = {"dropped": dropped, "shapefile": shapefile_names}
    with workers_of(scheduler) as executor:
        where = {"executor": executor, "store": store}
        _run(Path(study), data, output, overwrite, as_json, since=since, also=also, where=where)


def _run(
    study: Path,
    data: str | None,
    output: str,
    overwrite: bool,
    as_json: bool,
    *,
    since: str | None = None,
    also: dict[str, bool] | None = None,
    where: dict[str, Any] | None = None,
) -> None:
    from rtmkc.workflow.run import run as run_study
    from rtmkc.workflow.study import Study

    with Progress(is_quiet()) as progress:
        made = Study.from_file(study, data=data)
        for name, wanted in (also or {}).items():
            setattr(made.output, name, wanted or getattr(made.output, name))
        results = run_study(
            made, output, since=since, overwrite=overwrite, progress=progress, **(where or {})
        )
    if as_json:
        print_json(results.record())
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
