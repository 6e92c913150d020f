"""What is said about a corridor: its name and ends, its figures, and what its cells have in common."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely

from rtmkc.checks import check_columns
from rtmkc.errors import InputError
from rtmkc.inputs.layers import as_layer
from rtmkc.places.corridors.choice.paths import StreetPath
from rtmkc.places.corridors.choice.seams import Seam
from rtmkc.places.corridors.risk import StreetRisk
from rtmkc.raster.grid import Grid

_BUFFER_M = 100.0
_SAMPLE_M = 10.0
_TOP_FACTORS = 3
_NUMBERS = (
    "turns", "length_m", "value", "expected", "lower", "upper", "expected_per_km", "excess", "llr", "city_multiple",
    "incidents", "buffer_expected", "p_length", "p_factors", "rank_stability", "optimism", "mde_percent", "cost", "gap",
)  # fmt: skip
_TYPES = {"rank": "int64", "blocks": "int64"} | dict.fromkeys(_NUMBERS, "float64")
COLUMNS = (
    "rank", "corridor_id", "name", "from_street", "to_street", "via", "turns", "length_m", "blocks", "value", "expected",
    "lower", "upper", "expected_per_km", "excess", "llr", "city_multiple", "incidents", "top_factors", "buffer_expected",
    "mde_percent", "p_length", "p_factors", "rank_stability", "optimism", "runner_up", "why_not_longer", "cost",
    "district", "gap",
)  # fmt: skip
"""Columns of a table of corridors, before its geometry."""
NAMELESS = "an unnamed street"


def row_of_path(path: StreetPath, risk: StreetRisk) -> dict[str, Any]:
    """Name a path along streets after the streets it runs between, from west to east or south to north."""
    blocks = risk.blocks
    line = path.line(blocks)
    is_reversed = not _runs_east_or_north(line)
    if blocks.labels is not None:  # numbers rise along a street of addresses
        numbers = [int(re.sub(r"\D.*", "", str(blocks.labels[path.blocks[at]])) or 0) for at in (0, -1)]
        is_reversed = numbers[0] > numbers[1] if numbers[0] != numbers[1] else is_reversed
    names = [str(blocks.names[street]) if street >= 0 else None for street in blocks.street[path.blocks]]
    begin, end = path.ends(blocks)
    if blocks.labels is None:
        ends = [
            end_words(risk, begin, names[0]),
            end_words(risk, end, names[-1], is_inside=path.last_share < 1.0),
        ]
    else:  # addresses know the block of each end, and not what crosses there
        ends = [str(blocks.labels[path.blocks[at]]) for at in (0, -1)]
    lengths = pd.Series(blocks.length_m[path.blocks] * path.shares)
    by_name = lengths.groupby(pd.Series(names, dtype=object)).sum()
    corners = sorted(
        (
            name or "",
            f"{shapely.length(part):.0f}",
            *sorted(f"{east:.0f} {north:.0f}" for east, north in _both_ends(part)),
        )
        for name, part in zip(names, path.parts(blocks), strict=True)
    )
    if is_reversed:
        line, names, ends = shapely.reverse(line), names[::-1], ends[::-1]
    in_order = [name or NAMELESS for name in dict.fromkeys(names)]
    return {
        "corridor_id": _identity(corners),
        "name": str(by_name.idxmax()) if len(by_name) else _plain_name(line, risk.terrain.grid, "street"),
        "from_street": ends[0],
        "to_street": ends[1],
        "via": ", then ".join(in_order),
        "blocks": len(path.arcs),
        "length_m": path.length_m,
        "value": path.value,
        "geometry": line,
        "is_reversed": is_reversed,
    }


def end_words(risk: StreetRisk, node: int, name: str | None, *, is_inside: bool = False) -> str:
    """Return what a stretch of a street ends at: a cross street; or, where no name helps, latitude and longitude.

    Parameters
    ----------
    risk : StreetRisk
        The streets.
    node : int
        The corner.
    name : str or None
        Name of the street that ends there.
    is_inside : bool
        Whether the stretch ends inside the block before that corner.
    """
    network = risk.network
    if name is not None:
        found = network.cross_street(node, name)
    elif others := network.names_at(node):
        found = min(others)  # whatever the order of the rows
    else:
        found = "{:.4f}, {:.4f}".format(*_in_degrees(network.place(node), risk.terrain.grid))
    return f"short of {found}" if is_inside else found


@dataclass(frozen=True)
class SeamNames:
    """Areas that seams are named after.

    Attributes
    ----------
    names : tuple of str
        Name of each area.
    shapes : ndarray of Polygon or MultiPolygon
        In the grid's system.
    """

    names: tuple[str, ...]
    shapes: np.ndarray

    @classmethod
    def of_areas(cls, areas: Any, area_name: str | None, grid: Grid) -> "SeamNames":
        """Read the areas; names are in `area_name`, or a column called name, neighborhood, nbhname ..."""
        frame = as_layer(areas, name="areas").frame
        if area_name is None:
            known = (
                "name",
                "neighborhood",
                "neighbourhood",
                "nbhname",
                "nbhdname",
                "nhood",
                "label",
                "area",
                "district",
            )
            loose = {
                "".join(filter(str.isalnum, str(column).lower())): column
                for column in reversed(frame.columns)
            }
            area_name = next((str(loose[candidate]) for candidate in known if candidate in loose), None)
        if area_name is None:
            raise InputError(
                "Invalid areas: no column with names was found. Say which it is with area_name=; "
                f"there are: {', '.join(map(str, frame.columns))}."
            )
        check_columns([area_name], frame.columns, "The layer of areas")
        frame = frame[frame[area_name].notna()]
        return cls(
            tuple(" ".join(str(name).split()) for name in frame[area_name]),
            shapely.make_valid(frame.geometry.to_crs(grid.crs).to_numpy()),
        )

    def of_line(self, line: shapely.LineString) -> str | None:
        """Return the areas that hold most of a line: the largest shares that make two thirds, at most 3."""
        inside = shapely.length(shapely.intersection(self.shapes, line))
        lengths = pd.Series(inside).groupby(list(self.names)).sum()
        lengths = lengths[lengths > 0].sort_values(ascending=False, kind="stable")
        n_needed = int((lengths.cumsum() < 2 / 3 * line.length).sum()) + 1
        return " / ".join(lengths.index[: min(n_needed, 3)]) or None


def row_of_seam(seam: Seam, grid: Grid, names: SeamNames | None) -> dict[str, Any]:
    """Name a seam after the areas it crosses, else by direction and place; ends are latitude, longitude."""
    line = seam.line(grid)
    if not _runs_east_or_north(line):
        line = shapely.reverse(line)
    begin, end = (_in_degrees(place, grid) for place in _both_ends(line))
    return {
        "corridor_id": _identity(sorted(seam.cells.tolist())),
        "name": (names.of_line(line) if names is not None else None) or _plain_name(line, grid, "seam"),
        "from_street": f"{begin[0]:.4f}, {begin[1]:.4f}",
        "to_street": f"{end[0]:.4f}, {end[1]:.4f}",
        "blocks": len(seam.cells),
        "length_m": seam.length_m,
        "value": seam.value,
        "expected": seam.prize,
        "excess": seam.value,
        "geometry": line,
    }


def _plain_name(line: shapely.LineString, grid: Grid, what: str) -> str:
    latitude, longitude = _in_degrees(
        shapely.get_coordinates(line.interpolate(0.5, normalized=True))[0], grid
    )
    return f"{_compass(line)} {what} near {latitude:.4f}, {longitude:.4f}"


def _in_degrees(place: np.ndarray, grid: Grid) -> tuple[float, float]:
    """Return latitude and longitude of a place."""
    longitude, latitude = pyproj.Transformer.from_crs(grid.crs, 4326, always_xy=True).transform(*place)
    return float(latitude), float(longitude)


def describe(rows: list[dict[str, Any]], terrain: Any) -> gpd.GeoDataFrame:
    """Make the table of corridors, best first, and add what their cells say."""
    grid: Grid = terrain.grid
    table = gpd.GeoDataFrame(
        pd.DataFrame(rows, columns=[*(set(COLUMNS) & {key for row in rows for key in row}), "geometry"]),
        geometry="geometry",
        crs=grid.crs,
    )
    lines = table.geometry.to_numpy()
    table["rank"] = np.arange(1, len(table) + 1)
    if len(table):
        table["expected_per_km"] = 1000 * table["expected"] / table["length_m"]
    table["top_factors"] = [top_factors(cells_along(line, grid), terrain.cells) for line in lines]
    table["buffer_expected"] = [_expected_around(line, terrain) for line in lines]
    return table.reindex(columns=[*COLUMNS, "geometry"]).astype(_TYPES)


def cells_along(line: shapely.LineString, grid: Grid) -> np.ndarray:
    """Return the cells of the area that a line passes through (points every 10 m)."""
    chainage = np.linspace(0.0, line.length, int(np.ceil(line.length / _SAMPLE_M)) + 1)
    eastings, northings = shapely.get_coordinates(shapely.line_interpolate_point(line, chainage)).T
    cells = np.unique(grid.locate(eastings, northings))
    return cells[cells >= 0]


def top_factors(cells: np.ndarray, table: pd.DataFrame) -> str:
    """Return the factors flagged in most of some cells, with the share of these."""
    flags = [column for column in table.columns if str(column).startswith("f_")]
    if len(cells) == 0 or not flags:
        return ""
    share = table[flags].iloc[cells].mean().sort_values(ascending=False, kind="stable")
    share = share[share > 0].head(_TOP_FACTORS)
    return ", ".join(f"{str(flag)[2:]} {part:.0%}" for flag, part in share.items())


def _expected_around(line: shapely.LineString, terrain: Any) -> float:
    grid: Grid = terrain.grid
    west, south, east, north = line.bounds
    near = np.flatnonzero(
        (grid.eastings >= west - _BUFFER_M) & (grid.eastings <= east + _BUFFER_M)
        & (grid.northings >= south - _BUFFER_M) & (grid.northings <= north + _BUFFER_M)
    )  # fmt: skip
    inside = shapely.dwithin(shapely.points(grid.eastings[near], grid.northings[near]), line, _BUFFER_M)
    return float(terrain.cells["expected"].to_numpy(dtype=float)[near[inside]].sum())


def _both_ends(line: shapely.LineString) -> np.ndarray:
    ends: np.ndarray = shapely.get_coordinates(line)[[0, -1]]
    return ends


def _runs_east_or_north(line: shapely.LineString) -> bool:
    east, north = np.subtract(*_both_ends(line)[::-1])
    return bool(east > 0 if abs(east) >= abs(north) else north > 0)


def _compass(line: shapely.LineString) -> str:
    east, north = np.subtract(*_both_ends(line)[::-1])
    eighth = round(np.degrees(np.arctan2(north, east)) / 45)
    return {0: "west-east", 1: "south-west to north-east", 2: "south-north", 3: "south-east to north-west"}[
        eighth % 4
    ]


def _identity(parts: Iterable[Any]) -> str:
    return "c" + hashlib.sha256(repr(list(parts)).encode()).hexdigest()[:10]
