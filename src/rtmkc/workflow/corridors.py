"""The next corridors as a folder: what a team takes along, and what a meeting decides on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
from matplotlib.figure import Figure

from rtmkc.evidence.programme import plan_rollout
from rtmkc.inputs.layers import as_layer
from rtmkc.inputs.lost import source_sha256
from rtmkc.model.terrain import RiskTerrain
from rtmkc.output.briefs import corridor_file, write_briefs
from rtmkc.output.files import write_geojson, write_gpkg, write_table
from rtmkc.output.plots_corridors import corridors_size, plot_corridors
from rtmkc.output.routes import write_gpx, write_route_sheet
from rtmkc.places.corridors.along import corridor_blocks
from rtmkc.places.corridors.choice.treated import Treated
from rtmkc.places.corridors.risk import StreetRisk
from rtmkc.places.corridors.search import find_corridors
from rtmkc.places.corridors.visits.canvass import plan_canvass
from rtmkc.places.corridors.visits.departments import Departments, read_departments
from rtmkc.places.corridors.zones import corridor_zones
from rtmkc.raster.factors import RiskFactor
from rtmkc.storage import created_at, file_sha256, new_folder, write_json
from rtmkc.workflow.manifest import versions
from rtmkc.workflow.run import check_replaceable

Progress = Callable[[str, int, int], None]
DPI = 150


@dataclass(frozen=True, eq=False)
class CorridorPlan:
    """The next corridors, and what was written of them.

    Attributes
    ----------
    folder : Path
        Where it is: corridors.csv, corridors.geojson, corridors.gpkg, corridors.png, manifest.json; with streets
        corridor_blocks.csv and briefs/; with factors or businesses routes/; with quarters rollout.csv.
    corridors : GeoDataFrame
        From `find_corridors`.
    blocks : GeoDataFrame or None
        From `corridor_blocks`; None without streets.
    stops : dict of int to GeoDataFrame
        Rank -> stops of its teams, from `plan_canvass`.
    rollout : DataFrame or None
        From `plan_rollout`.
    """

    folder: Path
    corridors: gpd.GeoDataFrame = field(repr=False)
    blocks: gpd.GeoDataFrame | None = field(repr=False)
    stops: dict[int, gpd.GeoDataFrame] = field(repr=False)
    rollout: pd.DataFrame | None = field(repr=False)


def plan_corridors(
    terrain: RiskTerrain,
    streets: Any,
    output: str | Path,
    *,
    factors: Mapping[str, Any] | Sequence[RiskFactor] | None = None,
    businesses: Any = None,
    violations: Any = None,
    departments: str | Path | Departments | None = None,
    teams: int = 2,
    quarters: int | None = None,
    start: str | None = None,
    inputs: Mapping[str, str | Path] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    **search: Any,
) -> CorridorPlan:
    """Find the next corridors and write all that a team takes along to one folder, whole or not at all.

    Parameters
    ----------
    terrain : RiskTerrain
        The terrain.
    streets : StreetRisk, StreetNetwork, Layer, GeoDataFrame or path, optional
        As in `find_corridors`; without them (None) there are no blocks and no briefs.
    output : path
        The folder to write.
    factors : mapping of str to layer, or sequence of RiskFactor, optional
        Factor -> its features, to be visited.
    businesses, violations, departments, teams : optional
        As in `plan_canvass`.
    quarters, start : optional
        As in `plan_rollout`; without quarters there is no roll-out.
    inputs : mapping of str to path, optional
        Files that were read, for the manifest.
    overwrite : bool
        Whether a folder of results that exists may be replaced.
    progress : callable, optional
        Called with (step, done, total).
    **search
        Further arguments of `find_corridors`.

    Returns
    -------
    CorridorPlan

    Raises
    ------
    InputError
        As the functions named above.
    OutputError
        If the folder exists and `overwrite` is false or it holds something else than results, or it cannot be written.
    """
    say: Progress = progress or (lambda step, done, total: None)
    check_replaceable(Path(output), overwrite)
    with new_folder(output, overwrite=overwrite) as folder:
        layers = (
            factors if isinstance(factors, Mapping) else {factor.name: factor for factor in factors or ()}
        )
        known = departments if isinstance(departments, Departments) else read_departments(departments)
        by = search.get("by", "expected")
        say("reading", 0, 1)
        risk = streets
        if streets is not None:
            columns = {name: search.pop(name) for name in ("name", "road_class") if name in search}
            rules = search.get("rules")
            cost = None if rules is None else rules.cost_column
            risk = StreetRisk.of(terrain, streets, cost=cost, by=by, **columns)
        treated = _shown(search)
        say("reading", 1, 1)
        say("finding corridors", 0, 1)
        found = find_corridors(
            terrain, risk, progress=lambda done, total: say("testing corridors", done, total), **search
        )
        say("finding corridors", 1, 1)
        blocks = None if risk is None else corridor_blocks(terrain, found, risk, by=by)
        rollout = None
        if quarters is not None:
            rollout = plan_rollout(found, quarters, start=start, random_state=search.get("random_state", 0))
        stops = {}
        if layers or businesses is not None:
            for at, rank in enumerate(found["rank"]):
                say("planning visits", at, len(found))
                stops[int(rank)] = plan_canvass(
                    found.iloc[[at]],
                    layers,
                    businesses=businesses,
                    violations=violations,
                    departments=known,
                    teams=teams,
                )
            say("planning visits", len(found), len(found))
        plan = CorridorPlan(Path(output), found, blocks, stops, rollout)
        say("writing", 0, 1)
        _write(folder, terrain, plan, risk, treated, known)
        asked = {"teams": teams, "quarters": quarters, "start": start, "today": search.get("today")}
        write_json(folder / "manifest.json", _manifest(folder, plan, inputs or {}, asked))
        say("writing", 1, 1)
    return plan


def _shown(search: dict[str, Any]) -> gpd.GeoDataFrame | None:
    """Corridors worked already, as a layer for maps; read once, so that a file does not warn twice."""
    treated = search.get("treated")
    if treated is None or isinstance(treated, Treated):
        return None
    search["treated"] = as_layer(treated, name="treated")
    return search["treated"].frame


def _write(
    folder: Path,
    terrain: RiskTerrain,
    plan: CorridorPlan,
    risk: StreetRisk | None,
    treated: gpd.GeoDataFrame | None,
    departments: Departments,
) -> None:
    found = plan.corridors
    write_table(folder / "corridors.csv", found)
    write_geojson(folder / "corridors.geojson", found)
    if plan.blocks is not None:
        write_table(folder / "corridor_blocks.csv", plan.blocks)
    if plan.rollout is not None:
        write_table(folder / "rollout.csv", plan.rollout)
    write_gpkg(
        folder / "corridors.gpkg",
        terrain,
        corridors=found,
        blocks=plan.blocks,
        stops=_all_stops(plan),
        zones=corridor_zones(found, others=treated) if len(found) else None,
        treated=treated,
    )
    lines = None if risk is None else risk.network.segments
    figure = Figure(figsize=corridors_size(terrain.grid, found), layout="constrained")
    plot_corridors(terrain, found, ax=figure.add_subplot(), streets=lines, treated=treated)
    figure.savefig(folder / "corridors.png", dpi=DPI, bbox_inches="tight", metadata={"Software": None})
    if plan.stops:
        (folder / "routes").mkdir()
    for at, rank in enumerate(found["rank"]):
        if int(rank) in plan.stops:
            path = folder / "routes" / corridor_file(found.iloc[at])
            write_route_sheet(path.with_suffix(".csv"), plan.stops[int(rank)])
            write_gpx(path.with_suffix(".gpx"), plan.stops[int(rank)], found.iloc[[at]])
    if risk is not None and len(found):
        write_briefs(
            folder / "briefs", terrain, found, blocks=plan.blocks, stops=plan.stops, streets=risk, treated=treated,
            departments=departments,
        )  # fmt: skip


def _all_stops(plan: CorridorPlan) -> gpd.GeoDataFrame | None:
    """The stops of all corridors, with their rank."""
    tables = [stops.assign(rank=rank) for rank, stops in plan.stops.items() if len(stops)]
    if not tables:
        return None
    return gpd.GeoDataFrame(pd.concat(tables, ignore_index=True), crs=tables[0].crs)


def _manifest(
    folder: Path, plan: CorridorPlan, inputs: Mapping[str, str | Path], asked: dict[str, Any]
) -> dict[str, Any]:
    found = plan.corridors
    return {
        "schema_version": 1,
        "created": created_at(),
        "versions": versions(),
        "inputs": {name: source_sha256(Path(path)) for name, path in inputs.items()},
        "parameters": found.attrs["search"] | asked,
        "statement": found.attrs["statement"],
        "notes": found.attrs["notes"],
        "rollout": None if plan.rollout is None else plan.rollout.attrs["statement"],
        "visits": {rank: stops.attrs["statement"] for rank, stops in plan.stops.items()},
        "outputs": {
            path.relative_to(folder).as_posix(): file_sha256(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    }
