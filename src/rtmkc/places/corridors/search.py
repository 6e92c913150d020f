"""Find the next corridors of a terrain: the best paths along its streets, or seams of the grid without streets."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from rtmkc.checks import check_choice, check_count, check_positive, check_share
from rtmkc.errors import InputError
from rtmkc.evidence.statistics.intervention import minimum_detectable_reduction
from rtmkc.inputs.layers import as_layer
from rtmkc.places.corridors.blocks import StreetBlocks
from rtmkc.places.corridors.describe import SeamNames, describe, row_of_path, row_of_seam
from rtmkc.places.corridors.neighbours import why_not_longer
from rtmkc.places.corridors.paths import (
    OBJECTIVES,
    FoundPaths,
    PathFamily,
    PathSearch,
    StreetPath,
    reference_price,
)
from rtmkc.places.corridors.risk import StreetRisk
from rtmkc.places.corridors.seams import best_seams
from rtmkc.places.corridors.selection import Selection
from rtmkc.places.corridors.significance import resample, scan_p_values
from rtmkc.raster.grid import Grid
from rtmkc.units import format_length, parse_length

DAYS = 90


@dataclass(frozen=True)
class _Wish:
    """What was asked for, checked, in metres."""

    k: int
    objective: str
    family: PathFamily
    separation: float
    incident_value: float
    replicates: int
    resamples: int
    random_state: int

    @classmethod
    def of(cls, **asked: Any) -> "_Wish":
        shortest = parse_length(asked["min_length"], name="min_length")
        longest = parse_length(asked["max_length"], name="max_length")
        if longest < shortest:
            raise InputError(
                f"Invalid max_length {asked['max_length']!r}. It must not be shorter than min_length "
                f"{asked['min_length']!r}."
            )
        separation = asked["separation"]
        return cls(
            check_count("k", asked["k"]),
            check_choice("objective", asked["objective"], OBJECTIVES),
            PathFamily(
                shortest,
                longest,
                check_count("max_turns", asked["max_turns"], minimum=0),
                0.0 if asked["one_name"] == 0 else check_share("one_name", asked["one_name"]),
                check_choice("ends", asked["ends"], ("corner", "anywhere")) == "anywhere",
            ),
            0.0 if separation == 0 else parse_length(separation, name="separation"),
            1.0
            if asked["incident_value"] is None
            else check_positive("incident_value", asked["incident_value"]),
            check_count("replicates", asked["replicates"], minimum=0),
            check_count("resamples", asked["resamples"], minimum=0),
            check_count("random_state", asked["random_state"], minimum=0),
        )

    @property
    def bounds(self) -> str:
        return f"between {format_length(self.family.shortest)} and {format_length(self.family.longest)} long"


def find_corridors(
    terrain: Any,
    streets: Any = None,
    *,
    k: int = 5,
    objective: Literal["excess", "density", "total", "llr", "net"] = "excess",
    max_turns: int = 0,
    min_length: float | str = "500 m",
    max_length: float | str = "2500 m",
    ends: Literal["corner", "anywhere"] = "corner",
    one_name: float = 0.7,
    separation: float | str = "300 m",
    by: Literal["expected", "rrs", "empirical_bayes"] = "expected",
    exclude: Any = None,
    incident_value: float | None = None,
    replicates: int = 0,
    resamples: int = 0,
    random_state: int = 0,
    name: str | None = None,
    road_class: str | None = None,
    areas: Any = None,
    area_name: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> gpd.GeoDataFrame:
    """Rank the stretches of street whose expected incidents most exceed what their length is worth.

    Parameters
    ----------
    terrain : RiskTerrain
        Used are its grid, its `cells`, `horizon_days` (the days that `expected` stands for) and facts.
    streets : StreetRisk, StreetNetwork, Layer, GeoDataFrame or path, optional
        Street centre lines, best with names. Without them corridors are seams: chains of neighbouring cells.
    k : int
        How many at most. Fewer come back where no more are worth their length; `attrs["notes"]` says so.
    objective : {"excess", "density", "total", "llr", "net"}
        What the best has most of: expected incidents above what its length would see at the rate of the street metre at
        the 80th percentile of the city's length; expected incidents a metre (comes out as short as allowed); expected
        incidents (as long as allowed); the log likelihood ratio against risk spread evenly over streets; or what its
        expected incidents are worth (`incident_value` each) less what it costs (`rules`).
    max_turns : int
        Most turns; 0 is along one street. A turn is a change of direction by more than 40 degrees, or by more than 20
        where the name changes; a street that goes on under its name may bend.
    min_length, max_length : length
        Bounds of a corridor, both included.
    ends : {"corner", "anywhere"}
        Whether both ends must be corners, or one may lie inside a block.
    one_name : float
        Least share of the length that has one street name; 0 for any. Without effect where no street has a name.
    separation : length
        No two corridors are nearer to each other than this, nor to anything in `exclude`; 0 lets them touch.
    by : {"expected", "rrs", "empirical_bayes"}
        What is summed: the forecast; the factors' relative risk score alone; or that score corrected by the incidents
        of each block. The forecast has the incidents of each place in it already.
    exclude : Layer, GeoDataFrame, GeoSeries, geometry, path, or a list of these, optional
        Places to leave out, such as corridors at work. A bare geometry is in the grid's system.
    incident_value : float, optional
        For objective "net": what one incident is worth, in the unit of the costs.
    replicates : int
        Cities drawn by chance for the scan tests `p_length` and `p_factors`; 0 leaves them out. 199 is usual.
    resamples : int
        Redrawn risks for `rank_stability` and `optimism`; 0 leaves them out. 100 is usual.
    random_state : int
        Seed of both.
    name, road_class : str, optional
        Columns with the street's name and class, where they do not speak for themselves.
    areas : Layer, GeoDataFrame or path, optional
        Polygons (neighbourhoods, say) that seams are named after.
    area_name : str, optional
        Column of `areas` with their names.
    progress : callable, optional
        Told (done, of) while cities are drawn.

    Returns
    -------
    GeoDataFrame
        In the grid's system, best first, with the columns

        - rank, corridor_id (from the corners or cells it runs through, so the same in every run),
        - name (the street it is longest on), from_street, to_street, via (all streets in order); turns, length_m, blocks
          (for seams: cells), value (what the objective says: ranks are by it),
        - expected (incidents in `horizon_days` days, allocated), lower, upper (90 % predictive interval of their
          number), expected_per_km, excess, llr, city_multiple (of the median metre of street; for seams, of the mean
          cell),
        - incidents (observed, allocated in the same way), top_factors (the factors flagged in most of its cells, with
          the share of its cells), buffer_expected (all cells with their centre within 100 m),
        - mde_percent: the smallest reduction that 90 days could tell from chance (`minimum_detectable_reduction`),
        - p_length, p_factors: scan tests of its incidents; rank_stability, optimism: how sure its place is,
        - runner_up: the best one that shares no block with it; why_not_longer: what stopped it at each end,
        - gap: how far the best possible may lie above it (0: proved best given the earlier ones), and
        - geometry (LineString).

        ``attrs["statement"]`` says in a sentence what the corridors are the best of, ``attrs["notes"]`` lists what was
        decided on the way, ``attrs["multiple_of"]`` names what city_multiple compares with, ``attrs["search"]`` holds
        the resolved values of the search.

    Raises
    ------
    InputError
        If a value is out of its range, a layer cannot be used, or nothing is left to search.

    Notes
    -----
    The search is exact: every simple path of the family is enumerated; later corridors are the best given the earlier
    ones. See `rtmkc.StreetRisk` for how cells become streets.
    """
    wish = _Wish.of(
        k=k, objective=objective, max_turns=max_turns, min_length=min_length, max_length=max_length, ends=ends,
        one_name=one_name, separation=separation, incident_value=incident_value, replicates=replicates,
        resamples=resamples, random_state=random_state,
    )  # fmt: skip
    excluded = geometry_of(exclude, terrain.grid)
    if streets is None:
        return _find_seams(terrain, wish, excluded, areas, area_name)
    risk = StreetRisk.of(terrain, streets, name=name, road_class=road_class, by=by)
    return _find_paths(risk, wish, excluded, progress)


def _find_paths(
    risk: StreetRisk,
    wish: "_Wish",
    excluded: BaseGeometry | None,
    progress: Callable[[int, int], None] | None,
) -> gpd.GeoDataFrame:
    notes = list(risk.notes)
    selection = _selection(risk, wish, excluded, notes)
    search, expected = selection.search, risk.expected
    kind, worth = selection.goal(expected)
    found = selection.best(expected)
    if found.n_looked_at == 0:
        raise InputError(
            f"Invalid min_length {format_length(search.family.shortest)}. No path of the streets given is {wish.bounds} "
            f"with {_turn_words(search.family.max_turns)}; lower min_length, allow more turns, or check that the lines "
            "meet."
        )
    price, base = selection.price(expected), selection.base(expected)
    median = selection.price(expected, share=0.5)
    tests = _tests(found, risk, selection, wish, progress)
    rows = []
    for at, path in enumerate(found.paths):
        row, total = row_of_path(path, risk), path.total(expected)
        lower, upper = risk.interval(path.blocks, path.shares)
        stops = why_not_longer(
            path, search, kind, worth._replace(is_open=found.open_then[at]),
            price=price if wish.objective == "excess" else None,
        )  # fmt: skip
        reasons = zip(
            (row["from_street"], row["to_street"]), stops[:: -1 if row["is_reversed"] else 1], strict=True
        )
        rows.append(
            row
            | {name: values[at] for name, values in tests.items()}
            | {
                "turns": search.n_turns(path.arcs),
                "expected": total,
                "lower": lower,
                "upper": upper,
                "excess": total - price * path.length_m,
                "llr": selection.likelihood_ratio(path, expected, base),
                "incidents": path.total(risk.incidents),
                "city_multiple": total / path.length_m / median if median > 0 else np.nan,
                "mde_percent": _detectable(total, risk.terrain.horizon_days),
                "runner_up": _runner_up(found.runner_ups[at], risk),
                "why_not_longer": "; ".join(f"{end}: {reason}" for end, reason in reasons),
                "gap": 0.0 if found.n_given_up == 0 else np.nan,
            }
        )
    best_of = (
        f"the best of {found.n_looked_at:,} stretches of street with {_turn_words(search.family.max_turns)}"
        f"{'' if search.family.anywhere else ' from corner to corner'}, {wish.bounds}, by "
        f"{_objective_words(wish.objective, price, risk)}"
    )
    if found.n_given_up:
        notes.append(
            f"From {found.n_given_up} corners there are too many paths to look at all: the result is the best found, and "
            "is not proved. Allow fewer turns or a shorter max_length."
        )
    return _finish(rows, risk.terrain, wish, best_of, notes, multiple_of="the typical street")


def _selection(risk: StreetRisk, wish: "_Wish", excluded: BaseGeometry | None, notes: list[str]) -> Selection:
    """Return how corridors are chosen on these streets, and note what is left out."""
    blocks, family, inside = risk.blocks, wish.family, risk.is_inside
    if risk.network.segments["name"].isna().all():
        notes.append("No street has a name: corridors are named by their place.")
        family = replace(family, one_name=0.0)
    is_open = inside.copy()
    if excluded is not None:
        is_open &= ~_near_excluded(blocks, excluded, wish.separation)
        notes.append(
            f"{int((inside & ~is_open).sum())} of {int(inside.sum())} blocks left out as excluded or too near to what is "
            "excluded."
        )
        if not is_open.any():
            raise InputError(
                "Invalid exclude. It leaves no street of the study area to search; exclude less, or lower the separation."
            )
    return Selection(
        PathSearch(blocks, family), wish.objective, wish.k, wish.separation, inside, is_open,
        np.ones(blocks.n_blocks), np.zeros(blocks.n_blocks), wish.incident_value,
    )  # fmt: skip


def _tests(
    found: FoundPaths,
    risk: StreetRisk,
    selection: Selection,
    wish: "_Wish",
    progress: Callable[[int, int], None] | None,
) -> dict[str, np.ndarray]:
    """Return the columns that say whether a corridor is real, as far as they are asked for."""
    columns = {}
    if wish.replicates:
        p_values = scan_p_values(
            found.paths,
            risk,
            selection,
            replicates=wish.replicates,
            random_state=wish.random_state,
            progress=progress,
        )
        columns |= {f"p_{name}": values for name, values in p_values.items()}
    if wish.resamples:
        columns["rank_stability"], columns["optimism"] = resample(
            found,
            risk,
            selection,
            resamples=wish.resamples,
            random_state=wish.random_state,
            progress=progress,
        )
    return columns


def _turn_words(most: int) -> str:
    return {0: "no turn", 1: "at most one turn"}.get(most, f"at most {most} turns")


def _objective_words(objective: str, price: float, risk: StreetRisk) -> str:
    horizon = _horizon(risk.terrain)
    return {
        "excess": f"expected incidents above {1000 * price:.3g} a km {horizon} (the rate of the street at the 80th "
        "percentile of length)",
        "density": f"expected incidents a km {horizon}",
        "total": f"expected incidents {horizon}",
        "llr": f"the log likelihood ratio of expected incidents {horizon} against risk spread evenly over streets",
        "net": f"what expected incidents {horizon} are worth less the cost",
    }[objective]


def _runner_up(path: StreetPath | None, risk: StreetRisk) -> str:
    if path is None:
        return "none: no other stretch is worth its length"
    row = row_of_path(path, risk)
    return (
        f"{row['name']}, {row['from_street']} to {row['to_street']} ({path.length_m:,.0f} m, "
        f"{path.total(risk.expected):.3g} expected)"
    )


def _detectable(expected: float, horizon_days: int | None) -> float:
    """Return the smallest fall, in per cent, that 90 days could tell from chance."""
    if not horizon_days:
        return np.nan
    return 100 * minimum_detectable_reduction(expected * DAYS / horizon_days)


def _near_excluded(blocks: StreetBlocks, excluded: BaseGeometry, separation: float) -> np.ndarray:
    near = np.zeros(blocks.n_blocks, dtype=bool)
    if separation > 0:
        near[blocks.nearer_than(separation, excluded)] = True
    else:  # a street that only crosses an excluded one stays
        shared = shapely.length(shapely.intersection(blocks.geometry, excluded))
        near[shared > 0] = True
    return near


def _find_seams(
    terrain: Any, wish: "_Wish", excluded: BaseGeometry | None, areas: Any, area_name: str | None
) -> gpd.GeoDataFrame:
    grid, family = terrain.grid, wish.family
    expected = terrain.cells["expected"].to_numpy(dtype=float)
    price = reference_price(expected, np.ones(grid.n_cells))
    found = best_seams(
        grid, expected, k=wish.k, shortest=family.shortest, longest=family.longest, separation=wish.separation,
        price=price, excluded=excluded,
    )  # fmt: skip
    count = terrain.cells["count"].to_numpy(dtype=float)
    names = SeamNames.of_areas(areas, area_name, grid) if areas is not None else None
    mean = expected.mean()
    rows = [
        row_of_seam(seam, grid, names)
        | {
            "incidents": float(count[seam.cells].sum()),
            "city_multiple": seam.prize / len(seam.cells) / mean if mean > 0 else np.nan,
            "mde_percent": _detectable(seam.prize, terrain.horizon_days),
            "gap": 0.0,
        }
        for seam in found
    ]
    best_of = (
        f"the best of all seams (chains of neighbouring cells that never turn back) {wish.bounds}, by expected "
        f"incidents above {price:.3g} a cell of {format_length(grid.cell_size)} {_horizon(terrain)} "
        "(the 80th percentile of the cells)"
    )
    notes = ["No streets given: corridors are chains of cells, not streets; check them on a map."]
    return _finish(rows, terrain, wish, best_of, notes, multiple_of="the average cell")


def _horizon(terrain: Any) -> str:
    days = terrain.horizon_days
    return f"in {days} days" if days else "in the data"


def _finish(
    rows: list[dict[str, Any]],
    terrain: Any,
    wish: "_Wish",
    best_of: str,
    notes: list[str],
    *,
    multiple_of: str,
) -> gpd.GeoDataFrame:
    table = describe(rows, terrain)
    if len(table) == 0:
        statement = (
            f"No corridor: of {best_of.removeprefix('the best of ')}, none is worth more than its length."
        )
    else:
        later = (
            ""
            if len(table) == 1
            else (
                " Each later one is the best given the earlier, none nearer than "
                f"{format_length(wish.separation)} to another."
                if wish.separation > 0
                else " Each later one is the best given the earlier, sharing nothing with another."
            )
        )
        statement = f"Corridor 1 is {best_of}.{later}"
    if len(table) < wish.k:
        notes.append(
            f"{len(table)} of {wish.k} corridors asked for: no more are worth more than their length."
        )
    table.attrs["statement"] = statement
    table.attrs["notes"] = notes
    table.attrs["multiple_of"] = multiple_of
    table.attrs["search"] = {
        "k": wish.k,
        "objective": wish.objective,
        "separation_m": wish.separation,
    } | asdict(wish.family)
    return table


def geometry_of(thing: Any, grid: Grid) -> BaseGeometry | None:
    """Return everything in `thing` as one geometry in the grid's system; None if there is nothing."""
    if thing is None:
        return None
    if isinstance(thing, BaseGeometry):
        parts = [thing]
    elif isinstance(thing, list | tuple):
        parts = [part for part in (geometry_of(member, grid) for member in thing) if part is not None]
    else:
        is_frame = isinstance(thing, gpd.GeoSeries | gpd.GeoDataFrame)
        series = thing.geometry if is_frame else as_layer(thing, name="exclude").frame.geometry
        if series.crs is None:
            raise InputError(
                "Invalid exclude: it has no coordinate system. Set it with .set_crs(), or give the bare "
                f"geometry in the grid's system ({grid.crs.name})."
            )
        parts = list(series.to_crs(grid.crs).dropna())
    union = shapely.union_all(parts) if parts else None
    return None if union is None or union.is_empty else union
