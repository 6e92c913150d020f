"""Zones of corridors, in which incidents are counted before and after the work: treated, and the ring around it."""

from typing import Any

import geopandas as gpd
import numpy as np
import pyproj
import shapely

from rtmkc.errors import InputError
from rtmkc.units import format_length, parse_length

TREATED, RING = "treated", "ring"


def corridor_zones(
    corridors: gpd.GeoDataFrame,
    *,
    treated: float | str = "100 m",
    ring: float | str = "400 m",
    others: Any = None,
) -> gpd.GeoDataFrame:
    """Draw around each corridor the zone that is treated, and the ring to which incidents could be displaced.

    Parameters
    ----------
    corridors : GeoDataFrame
        From `find_corridors`: rank, corridor_id, name and lines, in a projected system in metres.
    treated : length
        Half the width of the treated zone.
    ring : length
        Outer edge of the ring, from the corridor's line.
    others : GeoDataFrame or GeoSeries, optional
        Corridors worked already, as lines or areas: their treated zones are cut out of the rings too.

    Returns
    -------
    GeoDataFrame
        Two rows a corridor: rank, corridor_id, name, zone ("treated" or "ring"), from_m, to_m (distance from the
        line), area_m2, geometry.

    Raises
    ------
    InputError
        If the system is not projected in metres, a length is not one, or the ring is not wider than the treated zone.

    Notes
    -----
    No place is in two treated zones (where they would overlap the better corridor has it), and none is both in a ring
    and in a treated zone. Rings of neighbouring corridors may overlap: an incident there counts for both. A ring of two
    blocks is where displacement is looked for; most studies find none, or that benefits spread (Bowers et al. 2011,
    Journal of Experimental Criminology 7, 347-374).

    Examples
    --------
    >>> street = gpd.GeoDataFrame(
    ...     {"rank": [1], "corridor_id": ["c1"], "name": ["Oak Street"]},
    ...     geometry=[shapely.LineString([(0, 0), (1000, 0)])], crs=32615)
    >>> zones = corridor_zones(street)
    >>> [f"{zone}: {area / 1e4:.0f} ha" for zone, area in zip(zones["zone"], zones["area_m2"])]
    ['treated: 23 ha', 'ring: 107 ha']
    """
    crs = None if corridors.crs is None else pyproj.CRS(corridors.crs)
    if crs is None or not crs.is_projected or any(axis.unit_name != "metre" for axis in crs.axis_info[:2]):
        raise InputError(
            f"Invalid corridors in {'no known system' if crs is None else crs.name}. Zones need metres: reproject them "
            "with .to_crs(terrain.grid.crs)."
        )
    inner, outer = parse_length(treated, name="treated"), parse_length(ring, name="ring")
    if outer <= inner:
        raise InputError(
            f"Invalid ring {ring!r}. It must reach farther than the treated zone of {format_length(inner)}."
        )
    order = np.argsort(corridors["rank"].to_numpy(), kind="stable")
    lines = corridors.geometry.to_numpy()
    worked = None if others is None else shapely.union_all(others.geometry.to_crs(crs).dropna().to_numpy())
    zones: dict[int, Any] = {}
    taken = shapely.Polygon()
    for at in order:
        zone = shapely.difference(shapely.buffer(lines[at], inner, quad_segs=32), taken)
        zones[int(at)], taken = zone, shapely.union(taken, zone)
    if worked is not None:
        taken = shapely.union(taken, shapely.buffer(worked, inner, quad_segs=32))
    rows, shapes = [], []
    for at, corridor in enumerate(corridors.itertuples()):
        about = {"rank": corridor.rank, "corridor_id": corridor.corridor_id, "name": corridor.name}
        around = shapely.difference(shapely.buffer(lines[at], outer, quad_segs=32), taken)
        for zone, start, end, shape in ((TREATED, 0.0, inner, zones[at]), (RING, inner, outer, around)):
            rows.append(about | {"zone": zone, "from_m": start, "to_m": end, "area_m2": float(shape.area)})
            shapes.append(shape)
    columns = ["rank", "corridor_id", "name", "zone", "from_m", "to_m", "area_m2"]
    return gpd.GeoDataFrame({name: [row[name] for row in rows] for name in columns}, geometry=shapes, crs=crs)
