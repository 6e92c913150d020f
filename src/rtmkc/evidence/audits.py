"""Audits: do weights and hot spots stand on other grids, and without the few places that hold very many incidents?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from sklearn.base import clone

from rtmkc.checks import check_count, check_positive, check_share
from rtmkc.errors import CapacityError, InputError
from rtmkc.evidence.stability import LARGEST_CHANGE, compare_weights, describe_changes, percent
from rtmkc.inputs.dominant import dominant_places
from rtmkc.inputs.layers import Layer, as_layer
from rtmkc.inputs.selection import at_place
from rtmkc.model.terrain import RANKINGS, RiskTerrain, assess
from rtmkc.model.why import Method
from rtmkc.places.hotspots import flagged_cells
from rtmkc.raster.coverage import coverage
from rtmkc.raster.exposure import Exposure
from rtmkc.raster.factors import RiskFactor
from rtmkc.raster.grid import Grid
from rtmkc.units import format_length

AS_GIVEN = "as given"
MAX_CELLS = 1_500_000
"""Finer grids are left out of an audit, with the reason."""
MOVES = {
    "half the cell": (0.5, 0, 0),
    "twice the cell": (2.0, 0, 0),
    "half a cell east": (1.0, 1, 0),
    "half a cell south": (1.0, 0, 1),
    "half a cell east and south": (1.0, 1, 1),
}
"""Other grids: size of the cell, and whether the lines move by half a cell to the east and to the south."""
AREAS_NOT_CELLS = "Which side of a line a place falls on is chance: read hot spots as areas, and a single cell at their rim as undecided."


@dataclass(frozen=True, eq=False)
class GridAudit:
    """What cell size and origin do to weights and hot spots.

    Attributes
    ----------
    table : DataFrame
        One row a factor: factor, in_model, kind, influence_m, rrv, lower, upper (all on the grid as given), n_in_model
        (fits in which it is in the model), n_fits, rrv_lowest, rrv_highest, largest_change (share by which its RRV
        moves, the largest in size, with its sign), largest_change_at (the grid), same_column (the same kind and reach
        wherever it is in the model), verdict ("stable", "changes", "comes and goes", "never in the model") and
        flagged (it changes, or comes and goes).
    weights : DataFrame
        One row a grid and factor: grid, factor, in_model, kind, influence_m, rrv, change, reason (as in its weights).
    grids : DataFrame
        One row a grid: grid, cell_size_m, west_m and south_m (its lower left corner), n_cells, n_factors, log_cells
        (BIC's penalty per parameter, log of the cells), overlap_expected and overlap_rrs (share of the hot-spot area of
        the grid as given that is hot spot on this one too; missing without a factor in the model), near_expected and
        near_rrs (share of it within one cell of a hot spot on this one), reason (why it was left out; empty if it was
        not).
    sentences : tuple of str
        The same in words.
    """

    table: pd.DataFrame = field(repr=False)
    weights: pd.DataFrame = field(repr=False)
    grids: pd.DataFrame = field(repr=False)
    sentences: tuple[str, ...]

    @property
    def statement(self) -> str:
        """All sentences."""
        return " ".join(self.sentences)


def audit_grid(
    grid: Grid,
    factors: Sequence[RiskFactor],
    incidents: Any,
    *,
    method: Method = "guarded",
    exposure: Exposure | None = None,
    area_share: float = 0.02,
    largest_change: float = LARGEST_CHANGE,
    max_cells: int = MAX_CELLS,
    allow_later_factors: bool = False,
    random_state: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> GridAudit:
    """Fit both models again with cells of half and twice the size, and on grids moved by half a cell.

    Nothing in a city says where the lines of a grid run. What depends on them is not knowledge of the city.

    Parameters
    ----------
    grid : Grid
        The grid in use.
    factors, incidents, method, allow_later_factors, random_state
        As in `rtmkc.assess`.
    exposure : Exposure, optional
        It is measured on every grid; a cell vector cannot be.
    area_share : float
        Share of the area that is hot spot.
    largest_change : float
        Share by which an RRV may move before it is flagged.
    max_cells : int
        Finer grids are left out.
    progress : callable, optional
        Called with (grid, grids done, grids in all).

    Returns
    -------
    GridAudit

    Raises
    ------
    InputError
        If an argument cannot be used.
    CapacityError
        If the grid as given has more than `max_cells` cells.

    Notes
    -----
    The modifiable areal unit problem (Openshaw 1984, CATMOG 38). Distances stay the same in metres on all grids, those
    that are tried too: half a block stays half a block. The area is that of the grid as given. Overlaps are exact areas
    inside it, of hot-spot cells with hot-spot cells; by chance the overlap would be `area_share`. A single hot cell can
    overlap at most half where the lines move by half a cell, and a quarter where they move both ways: hence `near`.

    Examples
    --------
    >>> import rtmkc as rtm
    >>> city = rtm.simulate_city(n_rows=20, n_columns=20, n_factors=3, random_state=3)
    >>> audit = audit_grid(city.grid, city.risk_factors(), city.incidents, method="classic", allow_later_factors=True)
    >>> print(audit.grids[["grid", "cell_size_m", "n_cells"]].to_string(index=False))
                          grid  cell_size_m  n_cells
                      as given        100.0      400
                 half the cell         50.0     1600
                twice the cell        200.0      100
              half a cell east        100.0      420
             half a cell south        100.0      420
    half a cell east and south        100.0      441
    """
    check_share("area_share", area_share)
    check_positive("largest_change", largest_change)
    max_cells = check_count("max_cells", max_cells)
    if exposure is not None and not isinstance(exposure, Exposure):
        raise InputError(
            f"Invalid exposure of type {type(exposure).__name__}. An audit measures it on other grids: give an Exposure."
        )
    if grid.n_cells > max_cells:
        raise CapacityError(
            f"Invalid grid of {grid.n_cells:,} cells. An audit fits it six times and stops at max_cells={max_cells:,}; "
            "audit a part of the area, or raise max_cells."
        )
    # Read once: every grid measures the same features.
    opened = [factor.opened() for factor in factors]
    incidents = as_layer(incidents, name="incidents")
    rows: list[dict[str, Any]] = []
    weights: dict[str, pd.DataFrame] = {}
    given: dict[str, Any] = {}
    for number, (name, other, reason) in enumerate(_other_grids(grid, max_cells)):
        if progress:
            progress(name, number, len(MOVES) + 1)
        if other is None:
            rows.append({"grid": name, "cell_size_m": grid.cell_size * MOVES[name][0], "reason": reason})
            continue
        terrain = assess(
            other,
            opened,
            incidents,
            method=method,
            exposure=exposure,
            allow_later_factors=allow_later_factors,
            random_state=random_state,
        )
        hot = {by: _flagged_area(terrain, area_share, by) for by in RANKINGS}
        given = given or hot
        weights[name] = terrain.weights
        rows.append(
            {
                "grid": name,
                "cell_size_m": other.cell_size,
                "west_m": other.west,
                "south_m": other.north - other.n_rows * other.cell_size,
                "n_cells": other.n_cells,
                "n_factors": len(terrain.factors),
                "log_cells": float(np.log(other.n_cells)),
                **{f"overlap_{by}": _overlap(given[by], hot[by]) for by in RANKINGS},
                **{f"near_{by}": _overlap(given[by], _widened(hot[by], grid.cell_size)) for by in RANKINGS},
                "reason": "",
            }
        )
    if progress:
        progress("all grids", len(MOVES) + 1, len(MOVES) + 1)
    grids = pd.DataFrame(rows)
    table, long = compare_weights(weights, largest_change=largest_change)
    sentences = tuple(_about_grids(table, long, grids, area_share, largest_change))
    return GridAudit(table, long.rename(columns={"fit": "grid"}), grids, sentences)


def moved_grid(grid: Grid, *, cell_size: float, east: float = 0.0, south: float = 0.0) -> Grid:
    """Return a grid over the same area with other cells, and its lines moved.

    Parameters
    ----------
    grid : Grid
    cell_size : float
        Metres. Cells start at the lower left corner of the grid, as in `Grid.cover`.
    east, south : float
        Metres by which the lines are moved, at least 0 and less than a cell.

    Returns
    -------
    Grid
        With the block length of the grid; where that has none a block is two of its cells, so that the same distances
        are tried.
    """
    _, low, right, top = grid.area.geometry.bounds
    # Lines moved east by a part of a cell leave a strip in the west, which takes one more column there.
    west = grid.west + east - (cell_size if east else 0.0)
    bottom = min(grid.north - grid.n_rows * grid.cell_size, low) - south
    n_columns = max(1, int(np.ceil((right - west) / cell_size - 1e-9)))
    n_rows = max(1, int(np.ceil((top - bottom) / cell_size - 1e-9)))
    north = bottom + n_rows * cell_size
    share = coverage(grid.area.geometry, west, north, cell_size, n_rows, n_columns)
    inside = share > 0
    block = grid.block_length or 2 * grid.cell_size
    return Grid(
        grid.area, cell_size, west, north, n_rows, n_columns, block, inside, share[inside], grid.notes
    )


def _other_grids(grid: Grid, max_cells: int) -> Iterator[tuple[str, Grid | None, str]]:
    """The grid as given and the others, one at a time; None, with the reason, for one that is not to be fitted."""
    yield AS_GIVEN, grid, ""
    for name, (size, east, south) in MOVES.items():
        cell_size = size * grid.cell_size
        n_cells = round(grid.area.area_m2 / cell_size**2)
        if n_cells > max_cells:
            yield name, None, f"about {n_cells:,} cells, more than max_cells = {max_cells:,}"
        elif n_cells < 1:
            yield name, None, "one cell is larger than the area"
        else:
            half = cell_size / 2
            yield name, moved_grid(grid, cell_size=cell_size, east=east * half, south=south * half), ""


def _flagged_area(terrain: RiskTerrain, area_share: float, by: str) -> Any:
    """The hot spots inside the area as one geometry; None where no factor ranks the cells."""
    flagged = flagged_cells(terrain, area_share, by)
    if flagged is None:
        return None
    cells = terrain.grid.cell_polygons(np.flatnonzero(flagged)).union_all()
    return shapely.intersection(cells, terrain.grid.area.geometry)


def _widened(hot: Any, width: float) -> Any:
    return None if hot is None else shapely.buffer(hot, width, join_style="mitre")


def _overlap(given: Any, other: Any) -> float:
    if given is None or other is None:
        return float("nan")
    return float(shapely.intersection(given, other).area / given.area)


def _about_grids(
    table: pd.DataFrame, long: pd.DataFrame, grids: pd.DataFrame, area_share: float, limit: float
) -> Iterator[str]:
    fitted = grids[grids["reason"] == ""].set_index("grid")
    sizes = dict(zip(grids["grid"], grids["cell_size_m"].map(format_length), strict=True))
    others = [str(name) for name in fitted.index[1:]]
    named = [f"{name}, {sizes[name]}" if name.endswith("the cell") else name for name in others]
    yield (
        f"Both models were fitted again on {len(others)} other grids than that of {sizes[AS_GIVEN]} cells: "
        f"{'; '.join(named)}."
    )
    for name, reason in zip(grids["grid"], grids["reason"], strict=True):
        if reason:
            yield f"The grid of {sizes[name]} cells was left out: {reason}."
    yield from describe_changes(table, long, limit, "on all grids")
    found = fitted.iloc[1:]
    for by, words in (("expected", "expected incidents"), ("rrs", "relative risk score")):
        overlap, near = found[f"overlap_{by}"].dropna(), found[f"near_{by}"].dropna()
        if overlap.empty:
            yield f"Hot spots by {words} cannot be compared: no factor is in the model."
            continue
        yield (
            f"Of the hot spots by {words} ({100 * area_share:g} % of the area), {percent(overlap.min())} to "
            f"{percent(overlap.max())} is hot spot on the other grids too (least with {overlap.idxmin()!s}; by chance it "
            f"would be {100 * area_share:g} %), and at least {percent(near.min())} lies within one cell of one."
        )
    yield AREAS_NOT_CELLS
    costs = ", ".join(
        f"{float(fitted['log_cells'][name]):.1f} with {sizes[name]}"
        for name in (AS_GIVEN, "half the cell", "twice the cell")
        if name in fitted.index
    )
    yield (
        "BIC asks more of a factor the finer the grid, although the incidents are the same: its penalty per parameter, the "
        f"log of the number of cells, is {costs}."
    )


@dataclass(frozen=True, eq=False)
class PlacesAudit:
    """What a few places with very many incidents do to weights and hot spots.

    Attributes
    ----------
    table : DataFrame
        One row a factor, as in `GridAudit`: the fit to all incidents against the one without the places.
    places : DataFrame
        One row a place: latitude, longitude, incidents, share, hotspot (whether its cell is one, by expected incidents),
        hotspot_without (whether it is one without the places), factor and distance_m (the nearest feature of any factor).
    overlap_expected, overlap_rrs : float
        Share of the hot-spot area that is hot spot without the places too; missing without a factor in the model.
    terrain : RiskTerrain or None
        The terrain without the places; None if there are none.
    sentences : tuple of str
        The same in words.
    """

    table: pd.DataFrame = field(repr=False)
    places: pd.DataFrame = field(repr=False)
    overlap_expected: float
    overlap_rrs: float
    terrain: RiskTerrain | None = field(repr=False)
    sentences: tuple[str, ...]

    @property
    def statement(self) -> str:
        """All sentences."""
        return " ".join(self.sentences)


def audit_places(
    terrain: RiskTerrain,
    *,
    share: float = 0.005,
    minimum: int = 10,
    area_share: float = 0.02,
    largest_change: float = LARGEST_CHANGE,
) -> PlacesAudit:
    """Fit both models again without the places that dominate, and say what changes.

    A hospital, a station or a geocoder's answer to bad addresses gathers incidents at one point. What is recorded at
    the address of a factor makes that factor explain itself.

    Parameters
    ----------
    terrain : RiskTerrain
        Fitted; one that was loaded has no models.
    share, minimum : float, int
        Which places dominate: exact coordinates with at least this share, and this number, of the incidents.
    area_share : float
        Share of the area that is hot spot.
    largest_change : float
        Share by which an RRV may move before it is flagged.

    Returns
    -------
    PlacesAudit

    Raises
    ------
    InputError
        If the terrain was loaded, an argument is out of range, or all incidents lie at the places.

    Notes
    -----
    Columns, exposure and seeds are those of the terrain; only the incidents differ.

    Examples
    --------
    >>> import rtmkc as rtm
    >>> city = rtm.simulate_city(n_rows=20, n_columns=20, n_factors=2, random_state=3, active={0: ("proximity", 2, 4.0)})
    >>> terrain = rtm.assess(city.grid, city.risk_factors(), city.incidents, method="classic", allow_later_factors=True)
    >>> audit_places(terrain).statement
    'No place dominates: no coordinate holds 0.5 % of the 986 incidents and at least 10. Nothing was fitted again.'
    """
    check_share("area_share", area_share)
    check_positive("largest_change", largest_change)
    models, grid = terrain.models, terrain.grid
    observations = models.why.observations_
    found = dominant_places(observations.incidents, share=share, minimum=minimum)
    found = found.rename(columns={"points": "incidents"})
    weights = {"all incidents": terrain.weights}
    if found.empty:
        table, _ = compare_weights(weights, largest_change=largest_change)
        nothing = (
            f"No place dominates: no coordinate holds {100 * share:g} % of the {observations.n_incidents:,} incidents and "
            f"at least {minimum}. Nothing was fitted again."
        )
        places = _describe_places(found, terrain, [])
        return PlacesAudit(table, places, 1.0, 1.0 if terrain.factors else np.nan, None, (nothing,))
    there = _at_places(observations.incidents, found)
    if there.all():
        raise InputError(
            f"Invalid terrain. All of its {len(there):,} incidents lie at {len(found)} places that dominate; raise share= "
            "or minimum=."
        )

    def without(model: Any) -> Any:
        own = model.observations_
        fewer = replace(
            own,
            incidents=own.incidents.keep(~there, "at a place that dominates"),
            cells=own.cells[~there],
            counts=np.bincount(own.cells[~there], minlength=grid.n_cells),
        )
        # Whether the factors may be later was decided when the terrain was made.
        return clone(model).fit(grid, model.candidates_, fewer, allow_later_factors=True)

    other = RiskTerrain(without(models.why), without(models.where))
    weights["without the places"] = other.weights
    table, long = compare_weights(weights, largest_change=largest_change)
    marks = [flagged_cells(one, area_share, "expected") for one in (terrain, other)]
    places = _describe_places(found, terrain, marks)
    overlaps = {by: _share_kept(terrain, other, area_share, by) for by in RANKINGS}
    sentences = _about_places(places, table, long, overlaps, area_share, largest_change)
    return PlacesAudit(table, places, overlaps["expected"], overlaps["rrs"], other, tuple(sentences))


def _at_places(layer: Layer, places: pd.DataFrame) -> np.ndarray:
    """Which points of a layer lie at one of the places."""
    degrees = layer.to_crs(4326).frame.geometry
    longitudes, latitudes = degrees.x.to_numpy(), degrees.y.to_numpy()
    there = np.zeros(len(layer), dtype=bool)
    for latitude, longitude in zip(places["latitude"], places["longitude"], strict=True):
        there |= at_place(longitudes, latitudes, (latitude, longitude))
    return there


def _share_kept(terrain: RiskTerrain, other: RiskTerrain, area_share: float, by: str) -> float:
    before, after = (flagged_cells(one, area_share, by) for one in (terrain, other))
    if before is None or after is None:
        return float("nan")
    return float(terrain.grid.share[before & after].sum() / terrain.grid.share[before].sum())


def _describe_places(places: pd.DataFrame, terrain: RiskTerrain, marks: Sequence[np.ndarray]) -> pd.DataFrame:
    """Add whether each place is a hot spot, and the nearest feature of a factor."""
    degrees = gpd.points_from_xy(places["longitude"], places["latitude"], crs=4326)
    points = gpd.GeoSeries(degrees).to_crs(terrain.grid.crs)
    cells = terrain.grid.locate(points.x, points.y)
    table = places.copy()
    for name, marked in zip(("hotspot", "hotspot_without"), marks, strict=False):
        table[name] = (cells >= 0) & marked[cells]
    table["factor"], table["distance_m"] = "", np.inf
    for name, features in terrain.models.why.candidates_.features.items():
        if features.raster is None and len(table):
            tree = shapely.STRtree(features.frame.geometry.to_numpy())
            (_, _), distance = tree.query_nearest(points.to_numpy(), return_distance=True, all_matches=False)
            nearer = distance < table["distance_m"].to_numpy()
            table.loc[nearer, "factor"], table.loc[nearer, "distance_m"] = name, distance[nearer]
    return table


def _about_places(
    places: pd.DataFrame,
    table: pd.DataFrame,
    long: pd.DataFrame,
    overlaps: Mapping[str, float],
    area_share: float,
    limit: float,
) -> Iterator[str]:
    one = len(places) == 1
    yield (
        f"{len(places)} {'place holds' if one else 'places hold'} {places['incidents'].sum():,} incidents "
        f"({percent(places['share'].sum())} of all); both models were fitted again without them."
    )
    first = places.iloc[0]
    beside = ""
    if np.isfinite(first["distance_m"]):
        beside = f", {format_length(first['distance_m'])} from the nearest feature of {first['factor']!r}"
    yield (
        f"{'It' if one else 'The largest'} is at {first['latitude']:.5f}, {first['longitude']:.5f}, with "
        f"{first['incidents']:,} incidents{beside}: look up what it is. Incidents recorded at the address of a factor make "
        "the factor explain itself."
    )
    yield from describe_changes(table, long, limit, "without the places")
    for by, words in (("expected", "expected incidents"), ("rrs", "relative risk score")):
        if np.isfinite(overlaps[by]):
            yield (
                f"{percent(overlaps[by])} of the hot spots by {words} ({100 * area_share:g} % of the area) stays hot spot "
                "without them."
            )
