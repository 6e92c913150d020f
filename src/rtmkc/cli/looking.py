"""The commands that look and fit nothing: init, check, info."""

from typing import Any

import click

from rtmkc.cli.frame import data_option, is_quiet, overwrite_option, print_json, say, shared_options
from rtmkc.output.terminal import Progress, fact_lines, one_line, table_text


@click.command()
@click.argument("folder", type=click.Path())
@click.option("-o", "--output", help="Study file to write; default study.toml in FOLDER.")
@overwrite_option
@shared_options
def init(folder: str, output: str | None, overwrite: bool, as_json: bool) -> None:
    """Look at every file of FOLDER and write a study.toml that runs, every guess explained in it."""
    import pandas as pd

    from rtmkc.workflow.init import write_study

    with Progress(is_quiet()) as progress:
        draft = write_study(folder, output, overwrite=overwrite, progress=progress)
    records = [finding.record() for finding in draft.findings]
    if as_json:
        print_json({"study": str(draft.path), "files": records, "notes": draft.notes})
        return
    table = pd.DataFrame(records)
    table["located"] = [f"{100 * share:.0f} %" if pd.notna(share) else "-" for share in table["located"]]
    click.echo(table_text(table[["file", "role", "rows", "located", "period", "why"]], 4))
    for note in draft.notes:
        say(f"note: {note}")
    click.echo(
        f"\nWritten to {draft.path}. Next: rtmkc check {draft.path}, then rtmkc run {draft.path} -o results"
    )


@click.command()
@click.argument("study", type=click.Path(), metavar="STUDY|FILE")
@click.option("-o", "--output", help="HTML file to write.")
@data_option
@overwrite_option
@shared_options
def check(study: str, output: str | None, data: str | None, overwrite: bool, as_json: bool) -> None:
    """Show the data-quality card of a study.toml or of any file: rows, places, dates, repeats. Fits nothing."""
    from rtmkc.output.card import write_card
    from rtmkc.workflow.check import check_data

    card = check_data(study, data=data)
    if output:
        write_card(output, card.title, card.layers, overwrite=overwrite)
        say(f"card of {len(card.layers)} layers written to {output}")
    if as_json:
        cost = None if card.cost is None else card.cost.record()
        print_json({"title": card.title, "layers": card.layers, "cost": cost, "refused": card.refused})
    elif not output:
        import pandas as pd

        table = card.to_frame()
        table["located"] = [f"{100 * share:.0f} %" if pd.notna(share) else "-" for share in table["located"]]
        click.echo(table_text(table.drop(columns="look_at"), 4))
        for layer in card.layers:
            for line in layer["look_at"]:
                click.echo(f"  {one_line(layer['name'])}: {one_line(line)}")
        if card.refused is not None:
            click.echo(f"A run would be refused: {one_line(card.refused)}")
        elif card.cost is not None:
            click.echo(f"A run will take: {card.cost.statement}.")


@click.command()
@click.argument("model", type=click.Path(), required=False)
@shared_options
def info(model: str | None, as_json: bool) -> None:
    """Show versions, or what a MODEL (a folder of results) was made of."""
    from rtmkc.workflow.manifest import versions

    if model is None:
        found: dict[str, Any] = versions()
    else:
        from rtmkc.model.saving import load

        found = load(model).facts
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        for line in fact_lines(name, value):
            click.echo(line)
