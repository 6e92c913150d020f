"""A corridor block by block: what lies along it, in order."""

from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from rtmkc.checks import check_columns, check_positive
from rtmkc.errors import InputError
from rtmkc.places.corridors.choice.paths import reference_price
from rtmkc.places.corridors.describe import NAMELESS, cells_along, end_words, top_factors
from rtmkc.places.corridors.risk import StreetRisk

COLUMNS = (
    "rank", "corridor_id", "order", "name", "from_street", "to_street", "from_m", "to_m", "length_m", "expected",
    "expected_per_km", "city_multiple", "incidents", "top_factors",
)  # fmt: skip
"""Columns of a table of blocks, before its geometry."""


def corridor_blocks(
    terrain: Any,
    corridors: gpd.GeoDataFrame,
    streets: Any,
    *,
    by: str = "expected",
    tolerance_m: float = 0.5,
) -> gpd.GeoDataFrame:
    """Cut corridors into the blocks that they run along, in order.

    Parameters
    ----------
    terrain : RiskTerrain
        The terrain.
    corridors : GeoDataFrame
        From `find_corridors`, or read from its files: rank, corridor_id and a line each.
    streets : StreetRisk, StreetNetwork, Layer, GeoDataFrame or path
        The streets that they were found on.
    by : {"expected", "rrs", "empirical_bayes"}
        The surface that they were found by.
    tolerance_m : float
        How far a block may lie from the line, in metres.

    Returns
    -------
    GeoDataFrame
        One row a block: rank, corridor_id, order (from 1), name, from_street, to_street, from_m, to_m (metres along the
        corridor), length_m, expected (its sum is the corridor's), expected_per_km, city_multiple (of the median metre of
        street), incidents, top_factors, geometry (in running direction).

    Raises
    ------
    InputError
        If a corridor follows no street of the network: a seam, or other streets.
    """
    check_columns(["rank", "corridor_id"], corridors.columns, "The table of corridors")
    tolerance = check_positive("tolerance_m", tolerance_m)
    risk = StreetRisk.of(terrain, streets, by=by)
    inside = risk.is_inside
    median = reference_price(risk.expected[inside], risk.blocks.length_m[inside], share=0.5)
    lines = corridors.to_crs(terrain.grid.crs).geometry.to_numpy()
    rows = [
        row
        for (_, corridor), line in zip(corridors.iterrows(), lines, strict=True)
        for row in _rows(corridor, line, risk, median, tolerance)
    ]
    return gpd.GeoDataFrame(
        pd.DataFrame(rows, columns=[*COLUMNS, "geometry"]), geometry="geometry", crs=terrain.grid.crs
    )


def _rows(
    corridor: pd.Series, line: shapely.LineString, risk: StreetRisk, median: float, tolerance: float
) -> list[dict[str, Any]]:
    blocks = risk.blocks
    ids, parts = _blocks_along(risk, line, tolerance)
    covered = shapely.length(parts).sum()
    if abs(covered - line.length) > max(0.01 * line.length, 4 * tolerance):
        raise InputError(
            f"Invalid corridor {corridor['rank']} ({corridor.get('name', 'without a name')}). Streets run along "
            f"{covered:,.0f} m of its {line.length:,.0f} m; give the streets that it was found on."
        )
    shares = shapely.length(parts) / blocks.length_m[ids]
    stops = np.cumsum(shapely.length(parts))
    rows = []
    for order, (block, part, share, stop) in enumerate(zip(ids, parts, shares, stops, strict=True), start=1):
        street = blocks.street[block]
        name = str(blocks.names[street]) if street >= 0 else None
        nodes = (int(blocks.tail[block]), int(blocks.head[block]))
        begin, end = (blocks.geometry[block].project(shapely.get_point(part, at)) for at in (0, -1))
        if begin > end:
            nodes = nodes[::-1]
        ends = [
            end_words(
                risk, node, name, is_inside=np.hypot(*(place - risk.network.place(node))) > 2 * tolerance
            )
            if blocks.labels is None
            else str(blocks.labels[block])
            for node, place in zip(nodes, shapely.get_coordinates(part)[[0, -1]], strict=True)
        ]
        length, expected = float(shapely.length(part)), float(risk.expected[block] * share)
        rows.append(
            {
                "rank": corridor["rank"],
                "corridor_id": corridor["corridor_id"],
                "order": order,
                "name": name or NAMELESS,
                "from_street": ends[0],
                "to_street": ends[1],
                "from_m": float(stop - length),
                "to_m": float(stop),
                "length_m": length,
                "expected": expected,
                "expected_per_km": 1000 * expected / length,
                "city_multiple": expected / length / median if median > 0 else np.nan,
                "incidents": float(risk.incidents[block] * share),
                "top_factors": top_factors(cells_along(part, risk.terrain.grid), risk.terrain.cells),
                "geometry": part,
            }
        )
    return rows


def _blocks_along(
    risk: StreetRisk, line: shapely.LineString, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the blocks that a line runs along, in order, and the part of each, in running direction."""
    blocks = risk.blocks
    band = shapely.buffer(line, tolerance)
    near = np.sort(blocks.tree.query(band, predicate="intersects"))
    part = np.array([_between_ends(block, line, tolerance) for block in blocks.geometry[near]], dtype=object)
    # side streets, however sharp their angle, leave the band
    runs_along = shapely.covered_by(part, band) & (shapely.length(part) > 0)
    near, part = near[runs_along], part[runs_along]
    middle = shapely.line_interpolate_point(part, 0.5, normalized=True)
    order = np.argsort(shapely.line_locate_point(line, middle), kind="stable")
    near, part = near[order], part[order]
    ends = (shapely.line_locate_point(line, shapely.get_point(part, at)) for at in (0, -1))
    backwards = np.greater(*ends)
    part[backwards] = shapely.reverse(part[backwards])
    return near, part


def _between_ends(
    block: shapely.LineString, line: shapely.LineString, tolerance: float
) -> shapely.LineString:
    """Return a block, cut where a line ends inside it."""
    cuts = [
        float(block.project(end))
        for end in (shapely.get_point(line, 0), shapely.get_point(line, -1))
        if block.dwithin(end, tolerance)
    ]
    cuts = sorted(cut for cut in cuts if 2 * tolerance < cut < block.length - 2 * tolerance)
    if len(cuts) == 1:
        goes_on_at_tail = line.dwithin(shapely.get_point(block, 0), tolerance)
        cuts = [0.0, *cuts] if goes_on_at_tail else [*cuts, block.length]
    return shapely.ops.substring(block, *cuts) if cuts else block
