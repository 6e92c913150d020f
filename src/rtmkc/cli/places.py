"""The command that needs a folder of results alone: score."""

from pathlib import Path
from typing import Any

import click

from rtmkc.cli.frame import overwrite_option, print_json, say, shared_options, writer_of
from rtmkc.output.terminal import plain_rows, table_text


@click.command()
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
@overwrite_option
@shared_options
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
        write = writer_of(output)
        write(output, scored, overwrite=overwrite)
        say(f"{len(scored):,} places written to {output}")
    elif as_json:
        print_json({"horizon_days": terrain.horizon_days, "places": plain_rows(scored)})
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
