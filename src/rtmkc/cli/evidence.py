"""The commands that put a study to the test: validate, audit."""

from pathlib import Path

import click

from rtmkc.cli.frame import data_option, is_quiet, overwrite_option, print_json, shared_options
from rtmkc.output.terminal import Progress, validation_lines, validation_record


@click.command()
@click.argument("study", type=click.Path())
@click.option("--train", help="Days to learn from, such as 2021/2022.")
@click.option("--test", help="Days to forecast, such as 2023.")
@click.option(
    "--by", metavar="time|blocks|FILE", help="Hold out time (default), square blocks, or the areas of a file."
)
@data_option
@click.option("--no-baselines", is_flag=True, help="Leave out random forests, which take most of the time.")
@click.option("-o", "--output", help="Folder to write: a page, tables and a manifest.")
@overwrite_option
@shared_options
def validate(
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

    with Progress(is_quiet()) as progress:
        made = Study.from_file(study, data=data)
        if train or test or by:
            by = by or "time"
            place = by if by in ("time", "blocks") else str(Path(by).absolute())
            made.validation = ValidationSpec(train=train, test=test, by=place)
        found = validate_study(
            made, output, baselines=not no_baselines, overwrite=overwrite, progress=progress
        )
    if as_json:
        print_json(validation_record(found))
    else:
        for line in validation_lines(found):
            click.echo(line)
        if output:
            click.echo(f"\nWritten to {output}: open {Path(output) / 'validation.html'} first.")


@click.command()
@click.argument("study", type=click.Path())
@click.option("--places", is_flag=True, help="Also without the few places that hold very many incidents.")
@data_option
@click.option("-o", "--output", help="Folder to write: tables and a manifest.")
@overwrite_option
@shared_options
def audit(
    study: str, places: bool, data: str | None, output: str | None, overwrite: bool, as_json: bool
) -> None:
    """Fit STUDY again on other grids, and say which weights and hot spots stand.

    The grids have cells of half and twice the size, and lines moved by half a cell: six fits, so it takes long.
    """
    from rtmkc.output.audits import audit_lines, audit_record
    from rtmkc.workflow.audit import audit_study
    from rtmkc.workflow.study import Study

    with Progress(is_quiet()) as progress:
        made = Study.from_file(study, data=data)
        found = audit_study(made, output, places=places, overwrite=overwrite, progress=progress)
    if as_json:
        print_json(audit_record(found.grids, found.places))
    else:
        for line in audit_lines(found.grids, found.places):
            click.echo(line)
        if output:
            click.echo(f"\nWritten to {output}.")
