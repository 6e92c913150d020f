"""Find the next corridors of a terrain: stretches of named streets, or seams of the grid without streets."""

from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from rtmkc.checks import check_count
from rtmkc.errors import InputError
from rtmkc.inputs.layers import as_layer
from rtmkc.places.corridors.allocate import Allocation, allocate
from rtmkc.places.corridors.describe import SeamNames, describe, row_of_seam, row_of_stretch
from rtmkc.places.corridors.seams import best_seams
from rtmkc.places.corridors.streets import StreetNetwork
from rtmkc.places.corridors.stretches import StreetBlocks, best_stretches, reference_price
from rtmkc.raster.grid import Grid
from rtmkc.units import format_length, parse_length


@dataclass(frozen=True)
class _Wish:
    """What was asked for, in metres."""

    k: int
    shortest: float
    longest: float
    separation: float

    def __str__(self) -> str:
        return f"between {format_length(self.shortest)} and {format_length(self.longest)} long"


def find_corridors(
    terrain: Any,
    streets: Any = None,
    *,
    k: int = 5,
    min_length: float | str = "500 m",
    max_length: float | str = "2500 m",
    separation: float | str = "300 m",
    exclude: Any = None,
    name: str | None = None,
    areas: Any = None,
    area_name: str | None = None,
) -> gpd.GeoDataFrame:
    """Rank the stretches of street whose expected incidents most exceed what their length is worth.

    Parameters
    ----------
    terrain : RiskTerrain
        Used are its grid, its `cells` (columns expected and count, and one f_<factor> flag a factor), and
        `horizon_days`, the days that `expected` stands for.
    streets : StreetNetwork, Layer, GeoDataFrame or path, optional
        Street centre lines with names. Without them corridors are seams: chains of neighbouring cells.
    k : int
        How many at most. Fewer come back where no more are worth their length; `attrs["notes"]` says so.
    min_length, max_length : length
        Bounds of a corridor, both included.
    separation : length
        No two corridors are nearer to each other than this, nor to anything in `exclude`; 0 lets them touch.
    exclude : Layer, GeoDataFrame, GeoSeries, geometry, path, or a list of these, optional
        Corridors treated already, and other places to leave out. A bare geometry is in the grid's system.
    name : str, optional
        Column with the street's name, where it does not speak for itself.
    areas : Layer, GeoDataFrame or path, optional
        Polygons (neighbourhoods, say) that seams are named after.
    area_name : str, optional
        Column of `areas` with their names.

    Returns
    -------
    GeoDataFrame
        In the grid's system, best first, with the columns

        - rank, corridor_id (from the corners or cells it runs through, so the same in every run),
        - name, from_street, to_street; length_m, blocks (for seams: cells),
        - expected (incidents in `horizon_days` days, allocated), expected_per_km,
        - excess (expected, less the price of its length),
        - city_multiple (of the median metre of street; for seams, of the mean cell),
        - incidents (observed, allocated in the same way),
        - top_factors (the factors flagged in most of its cells, with the share of its cells),
        - buffer_expected (all cells with their centre within 100 m), geometry (LineString).

        ``attrs["statement"]`` says in a sentence what the corridors are the best of, ``attrs["notes"]``
        lists what was decided on the way, ``attrs["multiple_of"]`` names what city_multiple compares with.

    Raises
    ------
    InputError
        If no segment has a street name, a length is not one, or a layer cannot be used.

    Notes
    -----
    The objective is ``excess = expected - price * length``, the price being the rate of the street metre at
    the 80th percentile of the city's street length. The search is exact: every simple path along one name
    from corner to corner is enumerated; later corridors are the best given the earlier ones.
    """
    grid: Grid = terrain.grid
    wish = _Wish(
        check_count("k", k),
        parse_length(min_length, name="min_length"),
        parse_length(max_length, name="max_length"),
        0.0 if separation == 0 else parse_length(separation, name="separation"),
    )
    if wish.longest < wish.shortest:
        raise InputError(
            f"Invalid max_length {max_length!r}. It must not be shorter than min_length {min_length!r}."
        )
    excluded = _geometry_of(exclude, grid)
    if streets is None:
        found = _find_seams(terrain, wish, excluded, areas, area_name)
    else:
        found = _find_stretches(terrain, streets, wish, excluded, name)
    return found


def _find_stretches(
    terrain: Any, streets: Any, wish: _Wish, excluded: BaseGeometry | None, name: str | None
) -> gpd.GeoDataFrame:
    grid = terrain.grid
    network = (
        streets if isinstance(streets, StreetNetwork) else StreetNetwork.around(grid, streets, name=name)
    )
    if network.segments["name"].isna().all():
        raise InputError(
            "Invalid streets: no segment has a street name. Say which column holds it with name=, "
            "or leave the streets out to get corridors of cells."
        )
    notes = list(network.notes)
    allocation = allocate(grid, network, radius_m=max(150.0, grid.cell_size))
    blocks = StreetBlocks.of_network(network)
    expected = terrain.cells["expected"].to_numpy(dtype=float)
    prizes = blocks.sum(allocation.to_segments(expected))
    of_area = blocks.sum(allocation.reached().astype(float)) > 0
    _note_residual(allocation, expected, notes)
    if not of_area.any():
        raise InputError(
            "Invalid streets: none comes near a cell of the study area. Check the layer's coordinate system."
        )
    _note_divided_roads(blocks, of_area, notes)
    price = reference_price(prizes[of_area], blocks.length_m[of_area])
    is_open = of_area.copy()
    if excluded is not None:
        is_open &= ~_near_excluded(blocks, excluded, wish.separation)
        notes.append(
            f"{int((of_area & ~is_open).sum())} blocks left out as excluded or too near to what is excluded."
        )
    search = best_stretches(
        blocks, prizes, k=wish.k, shortest=wish.shortest, longest=wish.longest, separation=wish.separation,
        price=price, is_open=is_open,
    )  # fmt: skip
    if search.too_many:
        notes.append(
            "Left out, as their name covers a web of streets with too many paths: "
            f"{', '.join(search.too_many)}."
        )
    incidents = blocks.sum(allocation.to_segments(terrain.cells["count"].to_numpy(dtype=float)))
    median = reference_price(prizes[of_area], blocks.length_m[of_area], share=0.5)
    rows = [
        row_of_stretch(stretch, blocks, network)
        | {
            "incidents": float(incidents[stretch.blocks].sum()),
            "city_multiple": stretch.prize / stretch.length_m / median if median > 0 else np.nan,
        }
        for stretch in search.found
    ]
    best_of = (
        f"the best of {search.n_stretches:,} stretches of one named street from corner to corner, {wish}, "
        f"by expected incidents above {1000 * price:.3g} a km {_horizon(terrain)} (the rate of the street "
        "at the 80th percentile of length)"
    )
    return _finish(rows, terrain, wish, best_of, notes, multiple_of="the typical street")


def _near_excluded(blocks: StreetBlocks, excluded: BaseGeometry, separation: float) -> np.ndarray:
    near = np.zeros(blocks.n_blocks, dtype=bool)
    if separation > 0:
        near[blocks.nearer_than(separation, excluded)] = True
    else:  # a street that only crosses an excluded one stays
        shared = shapely.length(shapely.intersection(blocks.geometry, excluded))
        near[shared > 0] = True
    return near


def _note_residual(allocation: Allocation, expected: np.ndarray, notes: list[str]) -> None:
    residual, total = allocation.residual(expected), expected.sum()
    if residual > 0:
        notes.append(
            f"{residual:.3g} of {total:.3g} expected incidents ({residual / total:.1%}) lie in cells with no "
            f"street within {format_length(allocation.radius_m)} and belong to no corridor."
        )


def _find_seams(
    terrain: Any, wish: _Wish, excluded: BaseGeometry | None, areas: Any, area_name: str | None
) -> gpd.GeoDataFrame:
    grid = terrain.grid
    expected = terrain.cells["expected"].to_numpy(dtype=float)
    price = reference_price(expected, np.ones(grid.n_cells))
    found = best_seams(
        grid, expected, k=wish.k, shortest=wish.shortest, longest=wish.longest, separation=wish.separation,
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
        }
        for seam in found
    ]
    best_of = (
        f"the best of all seams (chains of neighbouring cells that never turn back) {wish}, by expected "
        f"incidents above {price:.3g} a cell of {format_length(grid.cell_size)} {_horizon(terrain)} "
        "(the 80th percentile of the cells)"
    )
    notes = ["No streets given: corridors are chains of cells, not streets; check them on a map."]
    return _finish(rows, terrain, wish, best_of, notes, multiple_of="the average cell")


def _horizon(terrain: Any) -> str:
    days = terrain.horizon_days
    return f"in {days} days" if days else "in the data"


def _note_divided_roads(blocks: StreetBlocks, of_area: np.ndarray, notes: list[str]) -> None:
    doubled = blocks.doubled()
    doubled = doubled[of_area[doubled]]
    if len(doubled):
        names = sorted(set(blocks.names[blocks.street[doubled]]))
        listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        notes.append(
            f"{blocks.length_m[doubled].sum() / 1000:.1f} km of street lie beside a line of the same name "
            f"({listed}): each side of a divided road takes its share of the risk, so it ranks too low."
        )


def _finish(
    rows: list[dict[str, Any]], terrain: Any, wish: _Wish, best_of: str, notes: list[str], *, multiple_of: str
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
    return table


def _geometry_of(thing: Any, grid: Grid) -> BaseGeometry | None:
    """Return everything in `thing` as one geometry in the grid's system; None if there is nothing."""
    if thing is None:
        return None
    if isinstance(thing, BaseGeometry):
        parts = [thing]
    elif isinstance(thing, list | tuple):
        parts = [part for part in (_geometry_of(member, grid) for member in thing) if part is not None]
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
