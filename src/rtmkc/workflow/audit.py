"""A study's weights and hot spots on other grids and without the places that dominate, and the folder that says so."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from rtmkc.evidence.audits import GridAudit, PlacesAudit, audit_grid, audit_places
from rtmkc.model.terrain import assess
from rtmkc.output.files import write_table
from rtmkc.storage import new_folder, write_json
from rtmkc.workflow.manifest import describe_run, ledgers_of
from rtmkc.workflow.run import check_replaceable
from rtmkc.workflow.study import Study


@dataclass(frozen=True, eq=False)
class StudyAudit:
    """What an audit of a study found.

    Attributes
    ----------
    grids : GridAudit
        On other grids.
    places : PlacesAudit or None
        Without the places that dominate, if that was asked for.
    """

    grids: GridAudit = field(repr=False)
    places: PlacesAudit | None = field(repr=False)


def audit_study(
    study: Study | str | Path,
    output: str | Path | None = None,
    *,
    places: bool = False,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> StudyAudit:
    """Fit a study again on other grids, and without the places that dominate, and write what changes to a folder.

    Parameters
    ----------
    study : Study or path
        A study, or its file.
    output : path, optional
        The folder to write: grid_factors.csv, grid_weights.csv, grids.csv, manifest.json; with `places` also
        places_factors.csv and places.csv.
    places : bool
        Fit also without the few places that hold very many incidents.
    overwrite : bool
        Whether a folder that exists may be replaced.
    progress : callable, optional
        Called with (step, done, total).

    Returns
    -------
    StudyAudit

    Raises
    ------
    StudyError, InputError
        If the study or its data cannot be used.
    CapacityError
        If its grid has too many cells to be fitted six times.
    OutputError
        If the folder exists and `overwrite` is false or it holds something else than results, or it
        cannot be written.
    """
    study = study if isinstance(study, Study) else Study.from_file(study)
    study.check()
    say = progress or (lambda step, done, total: None)
    if output is not None:
        check_replaceable(Path(output), overwrite)
    with nullcontext() if output is None else new_folder(output, overwrite=overwrite) as folder:
        say("reading", 0, 1)
        grid, factors, incidents = study.grid(), study.risk_factors(), study.read("incidents")
        exposure, area_share = study.measured_exposure(), study.hotspots.flagged_share()
        say("reading", 1, 1)
        model = study.model
        on_grids = audit_grid(
            grid,
            factors,
            incidents,
            method=model.method,
            exposure=exposure,
            area_share=area_share,
            allow_later_factors=model.allow_later_factors,
            random_state=model.random_state,
            progress=lambda _, done, total: say("fitting on other grids", done, total),
        )
        without = None
        if places:
            terrain = assess(
                grid,
                factors,
                incidents,
                method=model.method,
                exposure=exposure,
                allow_later_factors=model.allow_later_factors,
                horizon=model.horizon,
                random_state=model.random_state,
                progress=progress,
            )
            say("places that dominate", 0, 1)
            without = audit_places(terrain, area_share=area_share)
            say("places that dominate", 1, 1)
        found = StudyAudit(on_grids, without)
        if folder is not None:
            _write(folder, found)
            facts = {
                "grids": list(on_grids.sentences),
                "places": list(without.sentences) if without else None,
            }
            ledgers = ledgers_of(incidents, factors)
            write_json(folder / "manifest.json", describe_run(study, folder, facts, ledgers, {}))
    return found


def _write(folder: Path, found: StudyAudit) -> None:
    write_table(folder / "grid_factors.csv", found.grids.table)
    write_table(folder / "grid_weights.csv", found.grids.weights)
    write_table(folder / "grids.csv", found.grids.grids)
    if found.places is not None:
        write_table(folder / "places_factors.csv", found.places.table)
        write_table(folder / "places.csv", found.places.places)
