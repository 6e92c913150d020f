"""The command `rtmkc`: parse, call the public API, print.

Results go to stdout, progress and messages to stderr. Exit codes: 0 fine (no significant factor is fine), 1 an
error in data or run, 2 usage, 130 interrupted.
"""

import json
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import click

from rtmkc import __version__
from rtmkc.errors import RtmkcError, RtmkcWarning


class _Commands(click.Group):
    """Turns errors into one line and an exit code, for every command alike."""

    def main(self, *args: Any, **options: Any) -> Any:  # type: ignore[override]
        verbose = "-v" in sys.argv or "--verbose" in sys.argv
        try:
            result = super().main(*args, **{**options, "standalone_mode": False})
            sys.exit(result if isinstance(result, int) else 0)
        except click.exceptions.Abort:
            click.echo("rtmkc: interrupted", err=True)
            sys.exit(130)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except RtmkcError as error:
            if verbose:
                traceback.print_exc()
            click.echo(f"rtmkc: {error}", err=True)
            sys.exit(1)
        except BrokenPipeError:
            sys.exit(0)
        except Exception as error:
            if verbose:
                traceback.print_exc()
            click.echo(
                f"rtmkc: unexpected {type(error).__name__}: {error}. This is a fault of rtmkc; run again with -v and "
                "report what it prints.",
                err=True,
            )
            sys.exit(1)


class _Progress:
    """One bar a step on a terminal, one line a step elsewhere; nothing with --quiet."""

    def __init__(self, quiet: bool) -> None:
        self.quiet, self.step, self.bar = quiet, "", None

    def __call__(self, step: str, done: int, total: int) -> None:
        if self.quiet:
            return
        from tqdm import tqdm

        if step != self.step:
            self.close()
            self.step = step
            if sys.stderr.isatty():
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
    warnings.showwarning = _show_warning
    warnings.simplefilter("always", RtmkcWarning)


def _show_warning(message: Any, category: type, *_: Any, **__: Any) -> None:
    if issubclass(category, RtmkcWarning):
        click.echo(f"warning: {message}", err=True)


_json = click.option("--json", "as_json", is_flag=True, help="Print the results as JSON on stdout.")
_quiet = click.option("-q", "--quiet", is_flag=True, help="No progress.")
_verbose = click.option("-v", "--verbose", is_flag=True, help="Show the traceback of an error.")
_overwrite = click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")


@main.command()
@click.option("-o", "--output", default="rtmkc-demo", show_default=True, help="Folder to write.")
@_overwrite
@_json
@_quiet
@_verbose
def demo(output: str, overwrite: bool, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Run the embedded sample: a synthetic Kansas City north-east. Needs no data and no network."""
    from rtmkc.datasets import sample_path

    _run(sample_path("study.toml"), None, output, overwrite, as_json, quiet)


@main.command("run")
@click.argument("study", type=click.Path())
@click.option("-o", "--output", required=True, help="Folder to write.")
@click.option("--data", help="Where relative paths of the study start; default the folder of the study file.")
@_overwrite
@_json
@_quiet
@_verbose
def run_(
    study: str, output: str, data: str | None, overwrite: bool, as_json: bool, quiet: bool, verbose: bool
) -> None:
    """Run STUDY (a study.toml) and write one folder: report, map, tables, model and manifest."""
    _run(Path(study), data, output, overwrite, as_json, quiet)


def _run(
    study: Path, data: str | None, output: str, overwrite: bool, as_json: bool, quiet: bool
) -> None:
    from rtmkc.workflow.run import run
    from rtmkc.workflow.study import Study

    progress = _Progress(quiet)
    try:
        results = run(Study.from_file(study, data=data), output, overwrite=overwrite, progress=progress)
    finally:
        progress.close()
    terrain = results.terrain
    if as_json:
        _print_json(
            {
                "folder": str(results.folder),
                "facts": terrain.facts,
                "ledgers": [
                    {"layer": one.name, "read": one.read, "used": one.used, "merged": one.merged, "dropped": one.dropped}
                    for one in results.ledgers
                ],
                "weights": _rows(terrain.weights),
                "hotspots": _rows(results.hotspots),
                "corridors": _rows(results.corridors),
            }
        )
        return
    facts = terrain.facts
    click.echo(
        f"{facts['n_incidents']:,} incidents ({facts['period'] or 'period unknown'}) on {facts['n_cells']:,} cells of "
        f"{facts['cell_size_m']:.0f} m, {facts['crs']}; {facts['timing']}"
    )
    click.echo("\nWhy here: relative risk values" + ("" if terrain.factors else " - no significant factor"))
    for _, row in terrain.weights.iterrows():
        if row["status"] == "in the model":
            click.echo(
                f"  {row['factor']:<24.24} x{row['rrv']:<6.2f} [{row['lower']:.2f}, {row['upper']:.2f}]  "
                f"{row['kind']} within {row['influence_m']:.0f} m"
            )
        else:
            click.echo(f"  {row['factor']:<24.24} -       {row['reason']}")
    click.echo(f"\nWhere next: expected incidents in {terrain.horizon}, first hot spots")
    for _, row in results.hotspots.head(5).iterrows():
        where = f" {row['name']}" if "name" in row else ""
        click.echo(
            f"  {row['rank']:>2}. {row['latitude']:.5f}, {row['longitude']:.5f}{where}: {row['expected']:.2f} "
            f"(x{row['relative']:.0f} the average)"
        )
    click.echo("\nNext corridors")
    for _, row in results.corridors.iterrows():
        ends = f", {row['from_street']} to {row['to_street']}" if row["from_street"] else ""
        click.echo(
            f"  {row['rank']:>2}. {row['name']}{ends}: {row['length_m']:,.0f} m, {row['expected']:.1f} expected, "
            f"x{row['city_multiple']:.1f} the typical street"
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
@_verbose
def score(
    model: str, places: str, output: str | None, crs: str | None, overwrite: bool, as_json: bool, verbose: bool
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
        click.echo(f"{len(scored):,} places written to {output}", err=True)
    elif as_json:
        _print_json({"horizon_days": terrain.horizon_days, "places": _rows(scored)})
    else:
        table = scored.drop(columns=scored.geometry.name).sort_values("expected", ascending=False)
        shown = table.drop(columns=["cell_id", "lower", "upper"])
        click.echo(f"Expected incidents per cell in {terrain.horizon}; relative = x the city's average")
        click.echo(shown.to_string(index=False, max_colwidth=60, float_format="{:.3g}".format))


@main.command()
@click.argument("model", type=click.Path())
@click.option("--streets", type=click.Path(), help="Street layer; without it corridors are seams of the grid.")
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
    verbose: bool,
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
        click.echo(f"{len(found)} corridors written to {output}", err=True)
    elif as_json:
        _print_json({"statement": found.attrs["statement"], "corridors": _rows(found)})
    else:
        click.echo(found.attrs["statement"])
        columns = ["rank", "name", "from_street", "to_street", "length_m", "expected", "city_multiple", "incidents"]
        if len(found):
            click.echo(found[columns].to_string(index=False, float_format="{:.1f}".format))


@main.command()
@click.argument("model", type=click.Path(), required=False)
@_json
@_verbose
def info(model: str | None, as_json: bool, verbose: bool) -> None:
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
        if not isinstance(value, dict | list):
            click.echo(f"{name:<24} {value}")


def _rows(table: Any) -> list[dict[str, Any]]:
    """A table as plain rows, geometry left out, missing values null."""
    import pandas as pd

    geometry = getattr(table, "_geometry_column_name", None)
    plain = pd.DataFrame(table.drop(columns=[geometry] if geometry in table.columns else []))
    rows = plain.astype(object).where(plain.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def _print_json(value: Any) -> None:
    def plain(item: Any) -> Any:
        return item.item() if hasattr(item, "item") else str(item)

    click.echo(json.dumps(value, default=plain, ensure_ascii=False, indent=1))
