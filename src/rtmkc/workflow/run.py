"""A whole run: a study in, one folder of results out."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import geopandas as gpd
import pandas as pd
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

from rtmkc.errors import OutputError
from rtmkc.inputs.ledger import Ledger
from rtmkc.model.terrain import RiskTerrain, assess
from rtmkc.model.why import RiskTerrainModel
from rtmkc.output.files import write_geojson, write_gpkg, write_risk_raster, write_table
from rtmkc.output.report import write_report
from rtmkc.places.corridors.search import find_corridors
from rtmkc.places.corridors.streets import StreetNetwork
from rtmkc.places.hotspots import find_hotspots
from rtmkc.raster.exposure import measure_exposure
from rtmkc.storage import new_folder, write_json
from rtmkc.workflow.manifest import describe_run
from rtmkc.workflow.study import Study

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Results:
    """What a run found, and where it wrote it.

    Attributes
    ----------
    folder : Path
        report.html, rtmkc.gpkg, risk.tif, weights.csv, hotspots.csv, corridors.csv, corridors.geojson,
        model/, manifest.json; with exposure also weights_without_exposure.csv.
    terrain : RiskTerrain
        The terrain.
    hotspots, areas, corridors : GeoDataFrame
        Ranked cells, the contiguous areas they form, and the next corridors.
    ledgers : list of Ledger
        What became of every row of every layer.
    """

    folder: Path
    terrain: RiskTerrain
    hotspots: gpd.GeoDataFrame = field(repr=False)
    areas: gpd.GeoDataFrame = field(repr=False)
    corridors: gpd.GeoDataFrame = field(repr=False)
    ledgers: list[Ledger] = field(repr=False)


def run(
    study: Study | str | Path,
    output: str | Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Results:
    """Run a study and write its results to one folder, whole or not at all.

    Parameters
    ----------
    study : Study or path
        A study, or its file.
    output : path
        The folder to write.
    overwrite : bool
        Whether a folder that exists may be replaced.
    progress : callable, optional
        Called with (step, done, total).

    Returns
    -------
    Results

    Raises
    ------
    StudyError, InputError, CapacityError
        If the study or its data cannot be used.
    OutputError
        If the folder exists and `overwrite` is false or it holds something else than results, or it
        cannot be written.
    """
    study = study if isinstance(study, Study) else Study.from_file(study)
    study.check()
    say: Progress = progress or (lambda step, done, total: None)
    _check_replaceable(Path(output), overwrite)
    with new_folder(output, overwrite=overwrite) as folder:
        say("reading", 0, 1)
        grid = study.grid()
        incidents, factors = study.read("incidents"), study.risk_factors()
        exposure = study.measured_exposure()
        streets, names, treated = (study.read(what) for what in ("streets", "names", "treated"))
        say("reading", 1, 1)

        later = study.model.allow_later_factors
        terrain = assess(
            grid,
            factors,
            incidents,
            method=study.model.method,
            exposure=exposure,
            allow_later_factors=later,
            horizon=study.model.horizon,
            random_state=study.model.random_state,
            progress=say,
        )
        comparison = _without_exposure(terrain, later) if exposure else None

        say("finding places", 0, 1)
        cut = {name: getattr(study.hotspots, name) for name in study.hotspots.__struct_fields__}
        name_column = study.names.column if study.names else None
        hotspots = find_hotspots(terrain, **cut, names=names, name_column=name_column)
        areas = find_hotspots(terrain, **cut, areas=True, names=names, name_column=name_column)
        network = _network(study, streets, terrain)
        sought = {name: getattr(study.corridors, name) for name in study.corridors.__struct_fields__}
        corridors = find_corridors(
            terrain, network, **sought, exclude=treated, areas=names, area_name=name_column
        )
        say("finding places", 1, 1)

        say("writing", 0, 1)
        ledgers = terrain.models.ledgers()
        ledgers += [layer.ledger for layer in (streets, names, treated) if layer is not None]
        with _writing(Path(output)):
            write_table(folder / "weights.csv", terrain.weights)
            if comparison is not None:
                write_table(folder / "weights_without_exposure.csv", comparison)
            write_table(folder / "hotspots.csv", hotspots)
            write_table(folder / "corridors.csv", corridors)
            write_geojson(folder / "corridors.geojson", corridors)
            write_risk_raster(folder / "risk.tif", terrain)
            write_gpkg(
                folder / "rtmkc.gpkg",
                terrain,
                hotspots=hotspots,
                areas=areas,
                corridors=corridors,
                treated=treated,
            )
            write_report(
                folder / "report.html",
                terrain,
                title=study.study.name,
                hotspots=hotspots,
                areas=areas,
                corridors=corridors,
                ledgers=ledgers,
                streets=network,
                treated=treated,
                exposure_comparison=comparison,
            )
            terrain.save(folder / "model")
        places = {"hotspots": hotspots.attrs["statement"], "corridors": corridors.attrs["statement"]}
        write_json(folder / "manifest.json", describe_run(study, folder, terrain.facts, ledgers, places))
        say("writing", 1, 1)
    return Results(Path(output), terrain, hotspots, areas, corridors, ledgers)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Let a full disk be one kind of error: GDAL and SQLite have their own for it."""
    try:
        yield
    except (DataSourceError, DataLayerError, FeatureError, sqlite3.Error) as error:
        raise OutputError(
            f"Invalid output {str(folder)!r}. It cannot be written: {str(error).rstrip('.')}. Nothing was left "
            "behind; choose another place or free some space."
        ) from error


def _check_replaceable(folder: Path, overwrite: bool) -> None:
    """Replacing deletes what is there: only a folder of results, or an empty one, may be replaced."""
    if overwrite and folder.is_dir() and any(folder.iterdir()) and not (folder / "manifest.json").is_file():
        raise OutputError(
            f"Invalid output {str(folder)!r}. It exists and holds other things than results of a run, which "
            "would be deleted; choose another name."
        )


def _network(study: Study, streets: object, terrain: RiskTerrain) -> StreetNetwork | None:
    if streets is None or study.streets is None:
        return None
    return StreetNetwork.from_layer(
        streets, name=study.streets.name, road_class=study.streets.road_class, crs=terrain.grid.crs
    )


def _without_exposure(terrain: RiskTerrain, allow_later_factors: bool) -> pd.DataFrame:
    """The weights as they would be without the exposure: readers see what it changes."""
    why = terrain.models.why
    grid = terrain.grid
    plain = replace(why.observations_, exposure=measure_exposure(grid, None))
    model = RiskTerrainModel(why.method, random_state=why.random_state)
    return model.fit(grid, why.candidates_, plain, allow_later_factors=allow_later_factors).weights_
