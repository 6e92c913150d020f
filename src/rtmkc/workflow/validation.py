"""A study's forecast tested on incidents it has not seen, and the folder that says how good it was."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rtmkc.evidence.validation import Validation, validate
from rtmkc.inputs.layers import read_layer
from rtmkc.output.validation_page import write_validation_page
from rtmkc.storage import new_folder, write_json
from rtmkc.workflow.manifest import describe_run, ledgers_of
from rtmkc.workflow.run import check_replaceable
from rtmkc.workflow.study import Study


def validate_study(
    study: Study | str | Path,
    output: str | Path | None = None,
    *,
    baselines: bool = True,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Validation:
    """Test the forecast of a study as its table ``[validation]`` says, and write what was found to a folder.

    Parameters
    ----------
    study : Study or path
        A study, or its file.
    output : path, optional
        The folder to write: validation.html, tables/ (CSV), manifest.json.
    baselines : bool
        Let random forests compete, which take most of the time; past counts and kernel density always do.
    overwrite : bool
        Whether a folder that exists may be replaced.
    progress : callable, optional
        Called with (step, done, total).

    Returns
    -------
    Validation
        See `rtmkc.validate`.

    Raises
    ------
    StudyError, InputError
        If the study or its data cannot be used, or nothing can be held out as asked.
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
        exposure, by = study.measured_exposure(), _by(study)
        say("reading", 1, 1)
        spec = study.validation
        found = validate(
            grid,
            factors,
            incidents,
            train=spec.train,
            test=spec.test,
            by=by,
            exposure=exposure,
            method=study.model.method,
            horizon=study.model.horizon,
            baselines=baselines,
            allow_later_factors=study.model.allow_later_factors,
            random_state=study.model.random_state,
            progress=progress,
        )
        if folder is not None:
            found.save(folder / "tables")
            write_validation_page(folder / "validation.html", found, title=study.study.name)
            ledgers = ledgers_of(incidents, factors)
            write_json(folder / "manifest.json", describe_run(study, folder, found.facts, ledgers, {}))
    return found


def _by(study: Study) -> Any:
    """What `validate` leaves out: time, blocks, or the areas of a file."""
    spec, file = study.validation, study.validation.file()
    if file is None:
        return spec.by
    areas = read_layer(Path(study.folder) / file, name=Path(file).stem)
    return areas if spec.column is None else (areas, spec.column)
