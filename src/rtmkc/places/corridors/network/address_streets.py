"""Streets without a street layer: hundred blocks drawn as lines, and lines named after the addresses along them."""

import re
from collections.abc import Iterable
from itertools import combinations
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from rtmkc.errors import InputError
from rtmkc.places.corridors.network.addresses import block_label
from rtmkc.places.corridors.network.hundred_blocks import MOST_HUNDREDS, REACH_M, SAME_PLACE_M, HundredBlocks
from rtmkc.units import parse_length

_NEAR_ZERO = 200
LEAST_NAMED = 0.25
"""A line is mostly along a street if that has addresses along this share of it: one of every other house is enough."""
_BIN_M = 50.0


def streets_from_addresses(
    addresses: Any, address_column: str | None = None, crs: Any = None
) -> gpd.GeoDataFrame:
    """Draw streets as lines of hundred blocks where there is no street layer.

    Parameters
    ----------
    addresses : Layer, GeoDataFrame, DataFrame or path
        Addresses with coordinates: service requests, incidents, licences. The more the better.
    address_column : str, optional
        Column with the address. Found by itself if it is called address, street_address, incident_address,
        block_address, location ...
    crs : anything pyproj reads, optional
        Projected coordinate system in metres of the result; by default the layer's own if it is in metres,
        else the local UTM zone.

    Returns
    -------
    GeoDataFrame
        One row a hundred block, in order along each street: name ("Independence Avenue"), from_block and
        to_block ("3500 block"; different only where blocks lie at one place), n_addresses, geometry (LineString
        towards higher numbers). For `StreetNetwork.from_layer` and `find_corridors`. ``attrs["notes"]`` says
        what became of the rows, ``attrs["rows"]`` the same as numbers by reason.

    Raises
    ------
    InputError
        If there is no column of addresses, no two neighbouring hundred blocks are found, or `crs` is not in
        metres.

    Notes
    -----
    A block's place is half way between the medians of the coordinates of its even and its odd numbers. Along a street, the heaviest sequence of
    blocks (most addresses) is kept in which two neighbours whose numbers differ by n are at most 400 m apart, and 250
    m more for each hundred of n beyond the first; addresses elsewhere are left out and counted, and so are blocks at
    which the street would turn back by more than 100 degrees. Neighbours more than 400 m or 400 numbers apart are a
    gap (a park, a motorway), over which no line is drawn. The line of a block runs from half way to the block before,
    over its place, to half way to the block after; at the end of a run it goes on by half the length of a hundred
    numbers between the last two places. So the length of a run is that between its first and its last place, and
    about half a block at either end, which is a guess. A block without neighbours has no line. Where
    numbers count both ways from a zero point (E and W 39th Street), the two lines meet.

    Streets cross without a shared node, so corridors on them run along one street only.

    Examples
    --------
    >>> table = pd.DataFrame({"address": [f"{number} PROSPECT AV" for number in (3500, 3599, 3610, 3701)]})
    >>> places = gpd.points_from_xy([500, 520, 510, 510], [900, 900, 750, 610])
    >>> lines = streets_from_addresses(gpd.GeoDataFrame(table, geometry=places, crs=26915))
    >>> lines.assign(metres=lines.length)[["name", "from_block", "metres"]]
                  name  from_block  metres
    0  Prospect Avenue  3500 block   150.0
    1  Prospect Avenue  3600 block   145.0
    2  Prospect Avenue  3700 block   140.0
    """
    placed = HundredBlocks.of(addresses, column=address_column, crs=crs)
    notes = list(placed.notes)
    merged = _merge_same_places(placed.blocks)
    lone = merged.groupby("run")["run"].transform("size").to_numpy() < 2
    drawn = merged[~lone].reset_index(drop=True)
    if len(drawn) == 0:
        raise InputError(
            f"Invalid addresses: no two neighbouring hundred blocks of a street among {placed.ledger.read:,} rows "
            f"({placed.ledger.sentence()}). Give more addresses, or a layer of street centre lines."
        )
    lines, n_joined = _lines(drawn, placed.streets)
    notes += _notes_of_lines(placed, merged, lone, n_joined)
    rows = {"read": placed.ledger.read, "used": placed.ledger.used, **placed.ledger.dropped}
    return _table(drawn, placed, lines, notes, rows)


def name_by_addresses(lines: Any, addresses: Any, *, within: float | str = "75 m") -> list[str | None]:
    """Name lines without a street, such as seams of a grid, after the addresses along them.

    Parameters
    ----------
    lines : GeoSeries or GeoDataFrame of LineString
        With a coordinate system.
    addresses : Layer, GeoDataFrame, DataFrame, path or HundredBlocks
        As in `streets_from_addresses`.
    within : float or str
        How near to a line an address counts: metres, or a text with a unit.

    Returns
    -------
    list of str or None
        "mostly 3400-3900 Independence Avenue" where one street has addresses along half the line or more, as far as
        any street has; the two that have most, in order along the line, where none has; None without addresses. "In
        part" where addresses are too few to say more: along less than a quarter of the line.

    Notes
    -----
    What counts is not how many addresses a street has near the line, but along how many stretches of 50 m of the
    line it has any: streets that only cross it have few.

    Examples
    --------
    >>> table = pd.DataFrame({"address": [f"{number} PROSPECT AV" for number in (3500, 3610, 3701)]})
    >>> places = gpd.points_from_xy([510, 510, 510], [900, 750, 610])
    >>> seam = gpd.GeoSeries(shapely.from_wkt(["LINESTRING (500 600, 500 1000)"]), crs=26915)
    >>> name_by_addresses(seam, gpd.GeoDataFrame(table, geometry=places, crs=26915))
    ['mostly 3500-3700 Prospect Avenue']
    """
    distance = parse_length(within, name="within")
    if lines.crs is None:
        raise InputError("Invalid lines: they have no coordinate system. Set it with set_crs().")
    placed = HundredBlocks.of(addresses)
    shapes = lines.geometry.to_crs(placed.crs).to_numpy()
    found = placed.addresses
    points = shapely.points(found["easting"], found["northing"])
    line, point = shapely.STRtree(points).query(shapes, predicate="dwithin", distance=distance)
    near = found.iloc[point].assign(line=line, at=shapely.line_locate_point(shapes[line], points[point]))
    by_line = dict(list(near.groupby("line")))
    labels = placed.streets["street"].to_numpy()
    return [
        _name_of_line(by_line[number], labels, shapes[number].length) if number in by_line else None
        for number in range(len(shapes))
    ]


def block_range(first: str, last: str) -> str:
    """Return the words for a stretch between two hundred blocks, both included.

    Examples
    --------
    >>> block_range("3500 block", "3900 block"), block_range("3500 block", "3500 block")
    ('3500 to 3900 block', '3500 block')
    """
    return last if first == last else f"{first.removesuffix(' block')} to {last}"


def is_block_label(text: str) -> bool:
    """Return whether a text names a hundred block, as `from_block` and `to_block` do."""
    return re.fullmatch(r"\d{2,} block", text) is not None


def _merge_same_places(blocks: pd.DataFrame) -> pd.DataFrame:
    """Join blocks of a run that lie within 20 m: their line would have no length."""
    places = blocks[["easting", "northing"]].to_numpy()
    step = np.hypot(*np.diff(places, axis=0, prepend=np.inf).T)
    same = (step <= SAME_PLACE_M) & (blocks["run"].diff() == 0).to_numpy()
    merged = blocks.groupby(np.cumsum(~same))
    table = merged[["street", "run"]].first()
    table[["first", "last"]] = merged["hundred_block"].agg(["min", "max"])
    table[["easting", "northing"]] = merged[["easting", "northing"]].mean()
    table["n_addresses"] = merged["n_addresses"].sum()
    return table.reset_index(drop=True)


def _lines(drawn: pd.DataFrame, streets: pd.DataFrame) -> tuple[np.ndarray, int]:
    places = drawn[["easting", "northing"]].to_numpy()
    starts_run = (drawn["run"].diff() != 0).to_numpy()
    ends_run = np.r_[starts_run[1:], True]
    halfway = (places[:-1] + places[1:]) / 2
    first = np.vstack([places[:1], halfway])
    last = np.vstack([halfway, places[-1:]])
    # beyond the ends the street goes on for half a block as long as those between the last two places
    hundreds = np.r_[1, np.maximum((drawn["first"].to_numpy()[1:] - drawn["last"].to_numpy()[:-1]) / 100, 1)][
        :, None
    ]
    outer = np.flatnonzero(starts_run)
    first[outer] = places[outer] - (places[outer + 1] - places[outer]) / (2 * hundreds[outer + 1])
    outer = np.flatnonzero(ends_run)
    last[outer] = places[outer] + (places[outer] - places[outer - 1]) / (2 * hundreds[outer])
    n_joined = 0
    for one, other in _across_zero(drawn, streets, places, np.flatnonzero(starts_run)):
        first[one] = first[other] = (places[one] + places[other]) / 2
        n_joined += 1
    lines: np.ndarray = shapely.linestrings(np.stack([first, places, last], axis=1))
    return lines, n_joined


def _across_zero(
    drawn: pd.DataFrame, streets: pd.DataFrame, places: np.ndarray, starts: np.ndarray
) -> Iterable[tuple[int, int]]:
    """Pairs of first blocks of a street that goes on under another direction where its numbers begin."""
    lowest = drawn.iloc[starts]
    lowest = lowest[lowest["first"].to_numpy() <= _NEAR_ZERO]
    key = streets.iloc[lowest["street"].to_numpy()]
    number = drawn["street"].to_numpy()
    pairs = []
    for _, rows in lowest.groupby([key["name"].to_numpy(), key["suffix"].to_numpy()]):
        for one, other in combinations(rows.index, 2):
            apart = float(np.hypot(*(places[one] - places[other])))
            outward = np.dot(places[one] - places[one + 1], places[other] - places[other + 1])
            if number[one] != number[other] and outward < 0 and SAME_PLACE_M < apart <= REACH_M:
                pairs.append((apart, int(one), int(other)))
    taken: set[int] = set()
    for _, one, other in sorted(pairs):
        if not taken & {one, other}:
            taken |= {one, other}
            yield one, other


def _notes_of_lines(
    placed: HundredBlocks, merged: pd.DataFrame, lone: np.ndarray, n_joined: int
) -> list[str]:
    dropped = "; ".join(f"{reason} ({rows:,})" for reason, rows in placed.ledger.dropped.items())
    n_gaps = int(placed.blocks["run"].nunique() - placed.blocks["street"].nunique())
    drawn = merged[~lone]
    used = f"Addresses used: {placed.ledger.used:,} of {placed.ledger.read:,}"
    made = f"Streets with a line: {drawn['street'].nunique():,}, of {len(drawn):,} blocks"
    notes = [
        f"{used}; left out: {dropped}." if dropped else f"{used}.",
        f"{made}, drawn from the places of addresses, not surveyed.",
    ]
    if lone.any():
        notes.append(
            f"Blocks without a neighbour within {REACH_M:.0f} m, and so without a line: {lone.sum():,}."
        )
    if n_gaps:
        notes.append(
            f"Gaps of more than {REACH_M:.0f} m or {100 * MOST_HUNDREDS} numbers along a street, left open: {n_gaps:,}."
        )
    if n_joined:
        notes.append(f"Streets that go on across the zero point of their numbers: {n_joined:,}.")
    return notes


def _table(
    drawn: pd.DataFrame, placed: HundredBlocks, lines: np.ndarray, notes: list[str], rows: dict[str, int]
) -> gpd.GeoDataFrame:
    table = gpd.GeoDataFrame(
        {
            "name": placed.streets["street"].to_numpy()[drawn["street"]],
            "from_block": [block_label(number) for number in drawn["first"]],
            "to_block": [block_label(number) for number in drawn["last"]],
            "n_addresses": drawn["n_addresses"].to_numpy(),
        },
        geometry=lines,
        crs=placed.crs,
    )
    table.attrs = {"notes": notes, "rows": rows}
    return table


def _name_of_line(near: pd.DataFrame, labels: np.ndarray, length_m: float) -> str:
    """Name a line after the addresses near it: street, hundred_block, at (metres along the line)."""
    near = near.assign(bin=near["at"] // _BIN_M)
    along = near.groupby("street").agg(
        bins=("bin", "nunique"), rows=("bin", "size"), first=("hundred_block", "min"),
        last=("hundred_block", "max"), at=("at", "median"),
    )  # fmt: skip
    along["label"] = labels[along.index]
    along = along.sort_values(["bins", "rows", "label"], ascending=[False, False, True])
    if 2 * along["bins"].iloc[0] >= near["bin"].nunique():
        how = "mostly" if along["bins"].iloc[0] >= LEAST_NAMED * length_m / _BIN_M else "in part"
        return f"{how} {_numbers(along.iloc[0])}"
    return " and ".join(_numbers(row) for _, row in along.head(2).sort_values("at").iterrows())


def _numbers(row: pd.Series) -> str:
    if row["first"] == row["last"]:
        return f"the {block_label(int(row['first']))} of {row['label']}"
    return f"{row['first'] or '00'}-{row['last']} {row['label']}"
