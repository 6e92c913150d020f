"""The command that plans: corridors, and the folder a team takes along."""

from pathlib import Path
from typing import Any

import click

from rtmkc.cli.frame import is_quiet, overwrite_option, print_json, say, shared_options, writer_of
from rtmkc.output.terminal import Progress, plain_rows, table_text

SHOWN = (
    "rank", "name", "from_street", "to_street", "length_m", "expected", "lower", "upper", "city_multiple", "incidents",
)  # fmt: skip


@click.command()
@click.argument("model", type=click.Path())
@click.option(
    "--study",
    type=click.Path(),
    help="Study file: its streets, treated corridors, names and factors are used.",
)
@click.option(
    "--streets", type=click.Path(), help="Street layer; without it corridors are seams of the grid."
)
@click.option("--name", help="Column of the street names.")
@click.option("--road-class", help="Column of the road classes; motorways and ramps are left out.")
@click.option(
    "--addresses",
    type=click.Path(),
    help="File with addresses: streets are drawn from them if there are none.",
)
@click.option("--areas", type=click.Path(), help="Areas with names, to name seams.")
@click.option("--area-name", help="Column of those names.")
@click.option("-k", "--count", "k", default=5, show_default=True, help="How many corridors.")
@click.option(
    "--objective", type=click.Choice(["excess", "density", "total", "llr", "net"]), default="excess", show_default=True,
    help="What the best has most of.",
)  # fmt: skip
@click.option("--turns", default=0, show_default=True, help="Most turns of a corridor.")
@click.option("--min-length", default="500 m", show_default=True)
@click.option("--max-length", default="2500 m", show_default=True)
@click.option("--ends", type=click.Choice(["corner", "anywhere"]), default="corner", show_default=True)
@click.option(
    "--one-name", default=0.7, show_default=True, help="Least share of its length on one street name."
)
@click.option(
    "--max-detour",
    default=2.0,
    show_default=True,
    help="Greatest length, x the straight line between the ends.",
)
@click.option("--separation", default="300 m", show_default=True, help="Distance between corridors.")
@click.option(
    "--by", type=click.Choice(["expected", "rrs", "empirical_bayes"]), default="expected", show_default=True,
    help="The surface that is summed.",
)  # fmt: skip
@click.option("--exclude", type=click.Path(), help="Places to stay away from.")
@click.option("--treated", type=click.Path(), help="Corridors worked already, with dates.")
@click.option(
    "--today", metavar="DATE", help="Day from which their age counts; default the end of the incidents."
)
@click.option("--districts", metavar="FILE[:COLUMN]", help="Districts that corridors are counted in.")
@click.option("--at-most", multiple=True, metavar="N|DISTRICT=N", help="Most corridors of a district.")
@click.option("--at-least", multiple=True, metavar="N|DISTRICT=N", help="Fewest corridors of a district.")
@click.option("--must-include", type=click.Path(), help="Places, each of which a corridor must serve.")
@click.option("--avoid", type=click.Path(), help="Areas that no corridor may run in.")
@click.option("--budget", type=float, help="What all corridors together may cost.")
@click.option("--cost-per-km", type=float, help="Cost of a kilometre.")
@click.option("--cost-column", help="Column of the streets with what work along each costs.")
@click.option("--incident-value", type=float, help="For --objective net: what one incident is worth.")
@click.option("--together", is_flag=True, help="Choose those that are worth most together.")
@click.option(
    "--replicates",
    default=0,
    show_default=True,
    help="Cities drawn for the tests against chance; 199 is usual.",
)
@click.option(
    "--resamples", default=0, show_default=True, help="Redrawn risks for how sure a rank is; 100 is usual."
)
@click.option("--seed", default=0, show_default=True, help="Seed of all that is drawn.")
@click.option("--businesses", type=click.Path(), help="Businesses to visit; makes route sheets.")
@click.option("--violations", type=click.Path(), help="Their violations, to visit repeats first.")
@click.option("--departments", type=click.Path(), help="Which department sees to which factor (TOML).")
@click.option("--teams", default=2, show_default=True, help="Teams that share a corridor.")
@click.option("--quarters", type=int, help="Plan so many quarters ahead, near-ties by lot.")
@click.option("--start", metavar="DATE", help="First day of the first quarter.")
@click.option(
    "-o", "--output", help="A CSV or GeoJSON file, or a folder for briefs, routes and maps; default a table."
)
@overwrite_option
@shared_options
def corridors(model: str, output: str | None, overwrite: bool, as_json: bool, **asked: Any) -> None:
    """Propose the next corridors on the terrain of MODEL (a folder of results).

    With -o FOLDER everything that a team takes along is written: a one-page brief of each corridor, its blocks, route
    sheets for the factors of --study and for --businesses, a GeoPackage and a map.
    """
    from rtmkc.inputs.layers import read_layer
    from rtmkc.model.saving import load
    from rtmkc.places.corridors.search import find_corridors
    from rtmkc.workflow.corridors import plan_corridors

    terrain = load(model)
    study = None
    if asked["study"]:
        from rtmkc.workflow.study import Study

        study = Study.from_file(asked["study"])
    streets, search = _what(asked, study, terrain.grid.crs)
    as_folder = output is not None and not output.lower().endswith((".csv", ".geojson", ".json"))
    if as_folder and output is not None:

        def layer(name: str) -> Any:
            return read_layer(asked[name], name=name) if asked[name] else None

        with Progress(is_quiet()) as progress:
            plan = plan_corridors(
                terrain, streets, output, factors={factor.name: factor for factor in study.risk_factors()} if study else None,
                businesses=layer("businesses"), violations=layer("violations"), departments=asked["departments"],
                teams=asked["teams"], quarters=asked["quarters"], start=asked["start"], inputs=_inputs(asked, study) | _of_model(model),
                overwrite=overwrite, progress=progress, **search,
            )  # fmt: skip
        found, more = plan.corridors, plan
    else:
        _refuse_without_folder(asked)
        found, more = find_corridors(terrain, streets, **search), None
        if output:
            writer_of(output)(output, found, overwrite=overwrite)
            say(f"{len(found)} corridors written to {output}")
            return
    if as_json:
        record = {
            "statement": found.attrs["statement"],
            "notes": found.attrs["notes"],
            "corridors": plain_rows(found),
        }
        if more is not None and more.rollout is not None:
            record["rollout"] = {
                "statement": more.rollout.attrs["statement"],
                "quarters": plain_rows(more.rollout),
            }
        print_json(record)
        return
    click.echo(found.attrs["statement"])
    if len(found):
        click.echo(table_text(found[list(SHOWN)], 4))
    for note in found.attrs["notes"]:
        say(f"note: {note}")
    if more is not None:
        if more.rollout is not None:
            click.echo(f"\n{more.rollout.attrs['statement']}")
        first = "corridors.png" if more.blocks is None or not len(found) else "briefs"
        click.echo(f"\nWritten to {output}: open {Path(output or '') / first} first.")


FOR_FOLDER = ("businesses", "violations", "departments", "quarters", "start")
OF_STUDY = {
    "k": "k", "objective": "objective", "turns": "max_turns", "min_length": "min_length", "max_length": "max_length",
    "ends": "ends", "one_name": "one_name", "max_detour": "max_detour", "separation": "separation", "by": "by", "replicates": "replicates",
    "resamples": "resamples",
}  # fmt: skip
"""Option -> what it is called in [corridors] of a study and in `find_corridors`."""


def _refuse_without_folder(asked: dict[str, Any]) -> None:
    given = [name for name in FOR_FOLDER if asked[name] is not None]
    if given:
        raise click.UsageError(f"--{given[0]} is for a folder: give one with -o FOLDER.")


def _what(asked: dict[str, Any], study: Any, crs: Any) -> tuple[Any, dict[str, Any]]:
    """Return the streets, and the arguments of `find_corridors`: of the options, else of the study."""
    from rtmkc.inputs.layers import read_layer
    from rtmkc.places.corridors.network.address_streets import streets_from_addresses

    def layer(name: str) -> Any:
        if asked[name]:
            return read_layer(asked[name], name=name)
        return (
            study.read({"areas": "names"}.get(name, name))
            if study and name in ("streets", "treated", "areas")
            else None
        )

    search = {argument: asked[option] for option, argument in OF_STUDY.items()}
    if study is not None:
        search |= {
            argument: getattr(study.corridors, argument)
            for option, argument in OF_STUDY.items()
            if not _is_given(option)
        }
    addresses = layer("addresses")
    # addresses that are given go before the streets of a study, which are only there
    streets = None if addresses is not None and not asked["streets"] else layer("streets")
    if streets is None and addresses is not None:
        streets = streets_from_addresses(addresses, crs=crs)
    spec = study.streets if study is not None and not asked["streets"] and addresses is None else None
    search |= {
        "name": asked["name"] or (spec.name if spec else None),
        "road_class": asked["road_class"] or (spec.road_class if spec else None),
        "exclude": layer("exclude"),
        "treated": layer("treated"),
        "today": asked["today"],
        "rules": _rules(asked),
        "together": asked["together"],
        "incident_value": asked["incident_value"],
        "random_state": asked["seed"],
        "areas": layer("areas"),
        "area_name": asked["area_name"]
        or (study.names.column if study and study.names and not asked["areas"] else None),
        "addresses": addresses,
    }
    return streets, search


def _is_given(option: str) -> bool:
    source = click.get_current_context().get_parameter_source(option)
    return source is not None and source.name != "DEFAULT"


def _rules(asked: dict[str, Any]) -> Any:
    """Return the rules that the options make, or None."""
    from rtmkc.inputs.layers import read_layer
    from rtmkc.places.corridors.choice.rules import CorridorRules

    file, column = _districts(asked)
    rules = {
        "districts": read_layer(file, name="districts") if file else None,
        "district_name": column,
        "at_most": _quota("at-most", asked["at_most"]),
        "at_least": _quota("at-least", asked["at_least"]),
        "must_include": read_layer(asked["must_include"], name="must_include")
        if asked["must_include"]
        else None,
        "avoid": read_layer(asked["avoid"], name="avoid") if asked["avoid"] else None,
        "budget": asked["budget"],
        "cost_per_km": asked["cost_per_km"],
        "cost_column": asked["cost_column"],
    }
    return CorridorRules(**rules) if any(value is not None for value in rules.values()) else None


def _quota(option: str, given: tuple[str, ...]) -> int | dict[str, int] | None:
    """Return a number for every district, or one a district."""
    if not given:
        return None
    numbers = {}
    for text in given:
        district, _, number = text.rpartition("=")
        if not number.strip().isdigit():
            raise click.UsageError(f"--{option} {text!r}: write a number, or DISTRICT=NUMBER, as in East=2.")
        numbers[district.strip()] = int(number)
    if "" in numbers and len(numbers) > 1:
        raise click.UsageError(
            f"--{option}: give one number for every district, or DISTRICT=NUMBER for each, not both."
        )
    return numbers.get("", numbers) if "" in numbers else numbers


def _of_model(model: str) -> dict[str, Path]:
    """Return the files of the terrain."""
    from rtmkc.model.saving import model_folder

    return {f"model/{path.name}": path for path in sorted(model_folder(model).iterdir()) if path.is_file()}


def _districts(asked: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return the file of the districts and the column of their names, of FILE or FILE:COLUMN."""
    given = asked["districts"]
    if not given or ":" not in given or Path(given).exists():
        return given, None
    file, _, column = given.rpartition(":")
    return file, column


def _inputs(asked: dict[str, Any], study: Any) -> dict[str, Path]:
    """Return the files that were read, by their names."""
    named = (
        "streets", "addresses", "areas", "exclude", "treated", "must_include", "avoid", "businesses", "violations",
        "departments", "study",
    )  # fmt: skip
    files = {Path(asked[name]).name: Path(asked[name]) for name in named if asked[name]}
    file, _ = _districts(asked)
    if file:
        files[Path(file).name] = Path(file)
    return (study.files() if study is not None else {}) | files
