"""A whole run: a study in, one folder of results out."""

import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from rtmkc.errors import CapacityError, InputError, OutputError
from rtmkc.evidence.bias import BiasPanel, bias_panel
from rtmkc.evidence.districts import share_out
from rtmkc.inputs.layers import Layer
from rtmkc.inputs.ledger import Ledger
from rtmkc.model.compute import Compute
from rtmkc.model.diagnosis.table import diagnose
from rtmkc.model.terrain import RiskTerrain, assess
from rtmkc.model.why import RiskTerrainModel
from rtmkc.output.bias import bias_record
from rtmkc.output.files import write_geojson, write_gpkg, write_risk_raster, write_table
from rtmkc.output.report import write_report
from rtmkc.output.shapefiles import write_shapefiles
from rtmkc.output.terminal import plain_rows
from rtmkc.places.corridors.network.streets import StreetNetwork
from rtmkc.places.corridors.search import find_corridors
from rtmkc.places.corridors.tables import no_corridors
from rtmkc.places.hotspots import find_hotspots
from rtmkc.places.joins import join_areas
from rtmkc.raster.exposure import Exposure, measure_exposure
from rtmkc.raster.factors import RiskFactor
from rtmkc.raster.grid import Grid
from rtmkc.storage import new_folder, write_json
from rtmkc.workflow.changes import Previous, compare
from rtmkc.workflow.manifest import describe_run, ledger_record
from rtmkc.workflow.slices import compare_slices
from rtmkc.workflow.study import Study

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Results:
    """What a run found, and where it wrote it.

    Attributes
    ----------
    folder : Path
        report.html, rtmkc.gpkg, risk.tif, weights.csv, diagnostics.csv, hotspots.csv, corridors.csv,
        corridors.geojson, model/, manifest.json; with exposure also weights_without_exposure.csv, with districts bias.csv
        and bias_scenarios.csv, with slices slices.csv and slices/, with `since` changes.csv, and where asked for
        dropped/ and shapefiles/.
    terrain : RiskTerrain
        The terrain.
    hotspots, areas, corridors : GeoDataFrame
        Ranked cells, the contiguous areas they form, and the next corridors.
    diagnostics : DataFrame
        What the weights rest on, and what could be wrong with them: one row a check.
    ledgers : list of Ledger
        What became of every row of every layer.
    slices : dict of str to Results
        The same for every slice of the study.
    comparison : DataFrame or None
        The weights and first hot spots of the whole and of its slices, side by side.
    changes : DataFrame or None
        What changed since the earlier run.
    bias : BiasPanel or None
        What falls on each district.
    """

    folder: Path
    terrain: RiskTerrain
    hotspots: gpd.GeoDataFrame = field(repr=False)
    areas: gpd.GeoDataFrame = field(repr=False)
    corridors: gpd.GeoDataFrame = field(repr=False)
    diagnostics: pd.DataFrame = field(repr=False)
    ledgers: list[Ledger] = field(repr=False)
    slices: dict[str, "Results"] = field(repr=False, default_factory=dict)
    comparison: pd.DataFrame | None = field(repr=False, default=None)
    changes: pd.DataFrame | None = field(repr=False, default=None)
    bias: BiasPanel | None = field(repr=False, default=None)

    def record(self) -> dict[str, Any]:
        """Return the results for JSON."""
        tables = {
            "weights": self.terrain.weights, "hotspots": self.hotspots, "corridors": self.corridors,
            "diagnostics": self.diagnostics, "slices": self.comparison, "changes": self.changes,
        }  # fmt: skip
        return {
            "folder": str(self.folder),
            "facts": self.terrain.facts,
            "ledgers": [ledger_record(one) for one in self.ledgers],
            **{name: plain_rows(table) for name, table in tables.items() if table is not None},
            **({} if self.bias is None else {"districts": bias_record(self.bias)}),
        }


@dataclass(frozen=True, eq=False)
class _Surroundings:
    """What a study and its slices share: everything but the incidents, read once."""

    grid: Grid
    factors: list[RiskFactor]
    compute: Compute
    exposure: Exposure | None
    streets: Layer | None
    network: StreetNetwork | None
    names: Layer | None
    treated: Layer | None
    districts: Layer | None
    joins: dict[str, tuple[Layer, str | None]]

    @classmethod
    def of(cls, study: Study, grid: Grid, compute: Compute) -> "_Surroundings":
        streets = study.read("streets")
        network = None
        if streets is not None and study.streets is not None:
            network = StreetNetwork.around(
                grid, streets, name=study.streets.name, road_class=study.streets.road_class
            )
        return cls(
            grid,
            study.risk_factors(),
            compute,
            study.measured_exposure(),
            streets,
            network,
            study.read("names"),
            study.read("treated"),
            _read_districts(study, grid),
            study.read_joins(),
        )

    def layers(self) -> list[Layer]:
        """Layers that are only looked at."""
        others = [self.streets, self.names, self.treated, self.districts]
        return [
            layer for layer in (*others, *(layer for layer, _ in self.joins.values())) if layer is not None
        ]


def _read_districts(study: Study, grid: Grid) -> Layer | None:
    """Read the districts, and see before anything is fitted whether they can be used."""
    layer = study.read("districts")
    if layer is not None and study.districts is not None:
        nobody = np.empty(0, dtype=object)
        share_out(grid, nobody, layer, name=study.districts.name, residents=study.districts.residents)
    return layer


def run(
    study: Study | str | Path,
    output: str | Path,
    *,
    since: str | Path | None = None,
    overwrite: bool = False,
    executor: Any = None,
    store: str | Path | None = None,
    progress: Progress | None = None,
) -> Results:
    """Run a study and write its results to one folder, whole or not at all.

    Parameters
    ----------
    study : Study or path
        A study, or its file.
    output : path
        The folder to write. Every slice of the study has a folder of its own in it, ``slices/<name>``.
    since : path, optional
        Results of an earlier run on the same grid: what changed is written and reported.
    overwrite : bool
        Whether a folder that exists may be replaced.
    executor : concurrent.futures.Executor, optional
        Runs the sums over cells elsewhere, as ``distributed.Client.get_executor()`` does on a cluster; the results are
        the same.
    store : path, optional
        A folder for codes and blocks of cells instead of memory. Default: memory as long as it is enough by
        `estimate_cost`, then a folder beside the output that is removed again.
    progress : callable, optional
        Called with (step, done, total).

    Returns
    -------
    Results

    Raises
    ------
    StudyError, InputError, CapacityError
        If the study or its data cannot be used, the work does not fit this machine, or `since` holds results on another grid.
    OutputError
        If the folder exists and `overwrite` is false or it holds something else than results, or it
        cannot be written.
    """
    study = study if isinstance(study, Study) else Study.from_file(study)
    study.check()
    say: Progress = progress or (lambda step, done, total: None)
    check_replaceable(Path(output), overwrite)
    previous = None if since is None else Previous.load(since)
    with new_folder(output, overwrite=overwrite) as folder, ExitStack() as cleanup:
        say("reading", 0, 1)
        grid = study.grid()
        if previous is not None:
            previous.check_grid(grid)
        cost = study.cost(grid, folder.parent if store is None else store)
        cost.check()
        if store is None and cost.place == "files":
            beside = TemporaryDirectory(prefix=".rtmkc-store-", dir=folder.parent, ignore_cleanup_errors=True)
            store = cleanup.enter_context(beside)
        shared = _Surroundings.of(study, grid, Compute(executor, store))
        say("reading", 1, 1)
        say(cost.statement, 1, 1)
        slices: dict[str, Results] = {}
        for one in study.slices:
            (folder / "slices" / one.name).mkdir(parents=True)
            step = _named_steps(say, one.name)
            try:
                slices[one.name] = run_one(
                    study.of_slice(one),
                    shared,
                    folder / "slices" / one.name,
                    previous=_previous_slice(since, one.name),
                    progress=step,
                )
            except InputError as error:
                raise InputError(f"Invalid slice {one.name!r}. {error}") from error
        found = run_one(study, shared, folder, previous=previous, slices=slices, progress=say)
    moved = {
        name: replace(part, folder=Path(output) / "slices" / name) for name, part in found.slices.items()
    }
    return replace(found, folder=Path(output), slices=moved)


def run_one(
    study: Study,
    shared: _Surroundings,
    folder: Path,
    *,
    previous: Previous | None = None,
    slices: dict[str, Results] | None = None,
    progress: Progress,
) -> Results:
    """Run a study, or one slice of it, on what is read already, and write its files into a folder."""
    incidents = study.read("incidents")
    later = study.model.allow_later_factors
    terrain = assess(
        shared.grid,
        shared.factors,
        incidents,
        method=study.model.method,
        exposure=shared.exposure,
        allow_later_factors=later,
        horizon=study.model.horizon,
        random_state=study.model.random_state,
        executor=shared.compute.executor,
        store=shared.compute.store,
        progress=progress,
    )
    without = _without_exposure(terrain, later, shared.compute, progress) if shared.exposure else None
    progress("checking weights", 0, 1)
    diagnostics = diagnose(terrain.models.why, random_state=study.model.random_state)
    progress("checking weights", 1, 1)

    progress("finding places", 0, 1)
    hotspots, areas, corridors = _places(study, shared, terrain)
    progress("finding places", 1, 1)

    bias = _bias(study, shared, terrain, progress)

    progress("writing", 0, 1)
    ledgers = terrain.models.ledgers() + [layer.ledger for layer in shared.layers()]
    found = Results(
        folder, terrain, hotspots, areas, corridors, diagnostics, ledgers, slices or {}, bias=bias
    )
    if slices:
        found = replace(found, comparison=compare_slices(study, found))
    if previous is not None:
        found = replace(found, changes=compare(previous, terrain, hotspots, corridors))
    _write(study, shared, found, without)
    places = {"hotspots": hotspots.attrs["statement"], "corridors": corridors.attrs["statement"]}
    if bias is not None:
        places["districts"] = bias.statement
    write_json(folder / "manifest.json", describe_run(study, folder, terrain.facts, ledgers, places))
    progress("writing", 1, 1)
    return found


def _places(
    study: Study, shared: _Surroundings, terrain: RiskTerrain
) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """Find hot spots, their areas and corridors, and say in which areas they lie."""
    cut = {name: getattr(study.hotspots, name) for name in study.hotspots.__struct_fields__}
    column = study.names.column if study.names else None
    hotspots = find_hotspots(terrain, **cut, names=shared.names, name_column=column)
    areas = find_hotspots(terrain, **cut, areas=True, names=shared.names, name_column=column)
    sought = {name: getattr(study.corridors, name) for name in study.corridors.__struct_fields__}
    try:
        corridors = find_corridors(
            terrain,
            shared.network,
            **sought,
            treated=shared.treated,
            areas=shared.names,
            area_name=column,
            random_state=study.model.random_state,
        )
    except (InputError, CapacityError) as error:  # weights and hot spots stand without corridors
        corridors = no_corridors(terrain, str(error))
    return (
        join_areas(hotspots, shared.joins),
        join_areas(areas, shared.joins, several=True),
        join_areas(corridors, shared.joins, several=True),
    )


def _bias(study: Study, shared: _Surroundings, terrain: RiskTerrain, progress: Progress) -> BiasPanel | None:
    """What falls on each district, if the study has any."""
    if shared.districts is None or study.districts is None:
        return None
    return bias_panel(
        terrain,
        shared.districts,
        residents=study.districts.residents,
        name=study.districts.name,
        area_share=study.hotspots.flagged_share(),
        progress=progress,
    )


def _write(study: Study, shared: _Surroundings, found: Results, without: pd.DataFrame | None) -> None:
    folder, terrain = found.folder, found.terrain
    write_table(folder / "weights.csv", terrain.weights)
    write_table(folder / "diagnostics.csv", found.diagnostics)
    for name, table in (
        ("weights_without_exposure", without), ("slices", found.comparison), ("changes", found.changes),
    ):  # fmt: skip
        if table is not None:
            write_table(folder / f"{name}.csv", table)
    if found.bias is not None:
        write_table(folder / "bias.csv", found.bias.table)
        write_table(folder / "bias_scenarios.csv", found.bias.scenarios)
    write_table(folder / "hotspots.csv", found.hotspots)
    write_table(folder / "corridors.csv", found.corridors)
    write_geojson(folder / "corridors.geojson", found.corridors)
    write_risk_raster(folder / "risk.tif", terrain)
    write_gpkg(
        folder / "rtmkc.gpkg",
        terrain,
        hotspots=found.hotspots,
        areas=found.areas,
        corridors=found.corridors,
        treated=shared.treated,
    )
    if study.output.shapefile:
        (folder / "shapefiles").mkdir()
        write_shapefiles(
            folder / "shapefiles",
            {"hotspots": found.hotspots, "hotspot_areas": found.areas, "corridors": found.corridors},
        )
    if study.output.dropped:
        _write_dropped(folder / "dropped", [*terrain.models.layers(), *shared.layers()])
    write_report(
        folder / "report.html",
        terrain,
        title=study.study.name,
        hotspots=found.hotspots,
        areas=found.areas,
        corridors=found.corridors,
        ledgers=found.ledgers,
        streets=shared.network,
        treated=shared.treated,
        exposure_comparison=without,
        joins=list(shared.joins),
        slices=found.comparison,
        changes=found.changes,
        diagnostics=found.diagnostics,
        bias=found.bias,
    )
    terrain.save(folder / "model")


def _write_dropped(folder: Path, layers: list[Any]) -> None:
    """Write what each layer does not use; a layer that uses every row has no file."""
    folder.mkdir()
    taken: set[str] = set()
    for layer in layers:
        if not isinstance(layer, Layer) or layer.ledger.read == layer.ledger.used:
            continue
        stem = re.sub(r"[^\w-]+", "_", layer.name).strip("_") or "layer"
        name, number = stem, 2
        while name.lower() in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name.lower())
        layer.write_dropped(folder / f"{name}.csv")


def _named_steps(say: Progress, name: str) -> Progress:
    return lambda step, done, total: say(f"{name}: {step}", done, total)


def _previous_slice(since: str | Path | None, name: str) -> Previous | None:
    """Results of the slice of the same name, if the earlier run had one."""
    if since is None or not (Path(since) / "slices" / name / "manifest.json").is_file():
        return None
    return Previous.load(Path(since) / "slices" / name)


def check_replaceable(folder: Path, overwrite: bool) -> None:
    """Refuse to replace what is no folder of results and not empty: replacing deletes what is there."""
    if overwrite and folder.is_dir() and any(folder.iterdir()) and not (folder / "manifest.json").is_file():
        raise OutputError(
            f"Invalid output {str(folder)!r}. It exists and holds other things than results of a run, which "
            "would be deleted; choose another name."
        )


def _without_exposure(
    terrain: RiskTerrain, allow_later_factors: bool, compute: Compute, progress: Progress
) -> pd.DataFrame:
    """The weights as they would be without the exposure: readers see what it changes."""
    why = terrain.models.why
    grid = terrain.grid
    plain = replace(why.observations_, exposure=measure_exposure(grid, None))
    model = RiskTerrainModel(why.method, random_state=why.random_state)
    model.fit(
        grid,
        why.candidates_,
        plain,
        allow_later_factors=allow_later_factors,
        executor=compute.executor,
        store=compute.store,
        progress=lambda done, total: progress("fitting weights without exposure", done, total),
    )
    return model.weights_
