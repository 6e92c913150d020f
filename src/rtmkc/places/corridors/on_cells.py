"""Corridors without streets: seams of the grid, named after areas or addresses."""

from typing import Any

import geopandas as gpd
import numpy as np

from rtmkc.errors import InputError
from rtmkc.places.corridors.choice.paths import reference_price
from rtmkc.places.corridors.choice.seams import Seam, best_seams
from rtmkc.places.corridors.describe import SeamNames, row_of_seam
from rtmkc.places.corridors.network.address_streets import name_by_addresses
from rtmkc.places.corridors.risk import CellRates
from rtmkc.places.corridors.tables import detectable_percent, finish, horizon_words
from rtmkc.places.corridors.wishes import Limits, Wish
from rtmkc.units import format_length


def find_on_cells(
    terrain: Any,
    wish: Wish,
    limits: Limits,
    *,
    by: str = "expected",
    areas: Any = None,
    area_name: str | None = None,
    addresses: Any = None,
) -> gpd.GeoDataFrame:
    """Return the corridors of a grid without streets; see `find_corridors`."""
    if limits.rules is not None or limits.together:
        raise InputError(
            "Invalid rules. Corridors of cells cannot be chosen together; give streets, or streets_from_addresses()."
        )
    for name, asked, only in (("objective", wish.objective, "excess"), ("by", by, "expected")):
        if asked != only:
            raise InputError(
                f"Invalid {name} {asked!r}. Corridors of cells are chosen by {only!r} only; give streets, or "
                "streets_from_addresses()."
            )
    grid, family = terrain.grid, wish.family
    expected = terrain.cells["expected"].to_numpy(dtype=float)
    price = reference_price(expected, np.ones(grid.n_cells))

    def seams(risk: np.ndarray, price: float, k: int) -> tuple[Seam, ...]:
        return best_seams(
            grid, risk, k=k, shortest=family.shortest, longest=family.longest, separation=wish.separation,
            price=price, excluded=limits.excluded,
        )  # fmt: skip

    found = seams(expected, price, wish.k)
    if not found and not seams(np.ones(grid.n_cells), 0.0, 1):
        raise InputError(
            f"Invalid min_length {format_length(family.shortest)}. No chain of cells that is not excluded is "
            f"{wish.bounds}; lower min_length, or exclude less."
        )
    count = terrain.cells["count"].to_numpy(dtype=float)
    names = SeamNames.of_areas(areas, area_name, grid) if areas is not None else None
    mean = expected.mean()
    rates = CellRates.of_forecast(terrain)
    intervals = [
        rates.interval(np.bincount(seam.cells, minlength=grid.n_cells).astype(float)) for seam in found
    ]
    rows = [
        row_of_seam(seam, grid, names)
        | {
            "incidents": float(count[seam.cells].sum()),
            "lower": interval[0],
            "upper": interval[1],
            "city_multiple": seam.prize / len(seam.cells) / mean if mean > 0 else np.nan,
            "mde_percent": detectable_percent(seam.prize, terrain.horizon_days),
            "gap": 0.0,
        }
        for seam, interval in zip(found, intervals, strict=True)
    ]
    if addresses is not None and rows:
        table = gpd.GeoSeries([row["geometry"] for row in rows], crs=grid.crs)
        for row, mostly in zip(rows, name_by_addresses(table, addresses), strict=True):
            if mostly is not None:
                row["name"] = f"{row['name']}, {mostly}" if names is not None else mostly
    best_of = (
        f"the best of all seams (chains of neighbouring cells that never turn back) {wish.bounds}, by expected "
        f"incidents above {price:.3g} a cell of {format_length(grid.cell_size)} {horizon_words(terrain)} "
        "(the 80th percentile of the cells)"
    )
    notes = ["No streets given: corridors are chains of cells, not streets; check them on a map."]
    if past := limits.treated:
        notes += past.notes
        if len(past.fading) and past.fade > 0:
            notes.append(
                "Without streets no cell counts less, however lately a corridor near it was treated."
            )
    if wish.replicates or wish.resamples:
        notes.append("Scan tests, rank stability and optimism need streets, and are left empty.")
    return finish(rows, terrain, wish, limits, best_of, notes, multiple_of="the average cell")
