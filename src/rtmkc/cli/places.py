"""The commands that need a folder of results alone: score, corridors."""

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


@click.command()
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
@overwrite_option
@shared_options
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
        write = writer_of(output)
        write(output, found, overwrite=overwrite)
        say(f"{len(found)} corridors written to {output}")
    elif as_json:
        print_json({"statement": found.attrs["statement"], "corridors": plain_rows(found)})
    else:
        click.echo(found.attrs["statement"])
        columns = [
            "rank", "name", "from_street", "to_street", "length_m", "expected", "city_multiple", "incidents",
        ]  # fmt: skip
        if len(found):
            click.echo(table_text(found[columns], 4))
