"""Addresses with coordinates become hundred blocks, in order along their streets."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyproj
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from rtmkc.checks import check_columns
from rtmkc.errors import InputError
from rtmkc.inputs.columns import find_column
from rtmkc.inputs.coordinates import crs_name, parse_crs
from rtmkc.inputs.layers import Layer, as_layer
from rtmkc.inputs.ledger import Ledger
from rtmkc.places.corridors.network.addresses import parse_addresses

REACH_M = 400.0
"""Addresses of one hundred block, and blocks that follow one another, are nearer together than this, in metres."""
FURTHER_M = 250.0
"""Metres that a street may run for each hundred block after the first; in Kansas City it is about 125 to 200."""
MOST_HUNDREDS = 4
"""Blocks that follow one another have numbers at most this many hundreds apart."""
SAME_PLACE_M = 20.0
"""Hundred blocks of a street nearer together than this are one line."""
SAME_STREET_M = 150.0
"""A street written without its direction or type is the full one whose blocks of equal number are this near."""
_FOLD_DEGREES = 100.0

_ADDRESS_COLUMNS = (
    "address", "streetaddress", "incidentaddress", "blockaddress", "fulladdress", "siteaddress",
    "hundredblock", "hundredblockaddress", "block", "location1", "location", "addr",
)  # fmt: skip
_INTERSECTION = "an intersection, which lies on no one block"
_INTERSTATE = "an interstate, which is no street to walk"
_NO_POINT = "not a point"
_ODD = "coordinates that do not fit the rest of the street"
_ORDER = "a hundred block out of order along its street"


@dataclass(frozen=True, eq=False, repr=False)
class HundredBlocks:
    """The hundred blocks that addresses with coordinates tell of.

    Attributes
    ----------
    blocks : DataFrame
        One row a hundred block, in order along each street: street (number, into `streets`), hundred_block,
        number (median), easting, northing (metres), n_addresses, run (number of the unbroken run of
        blocks that it belongs to).
    streets : DataFrame
        One row a street: direction, name, suffix, street (the three in one).
    addresses : DataFrame
        One row an address in use: street, hundred_block, easting, northing (metres).
    crs : CRS
        Projected, in metres.
    ledger : Ledger
        What became of the rows; as many are in use as `addresses` has rows.
    notes : tuple of str
        What was decided on the way, with counts.
    """

    blocks: pd.DataFrame
    streets: pd.DataFrame = field(repr=False)
    addresses: pd.DataFrame = field(repr=False)
    crs: pyproj.CRS
    ledger: Ledger
    notes: tuple[str, ...]

    @classmethod
    def of(cls, addresses: Any, *, column: str | None = None, crs: Any = None) -> "HundredBlocks":
        """Place the hundred blocks of a layer or table of addresses; arguments as in `streets_from_addresses`."""
        if isinstance(addresses, cls):
            return addresses
        layer = as_layer(addresses, name="addresses")
        placed, parsed, ledger, system = _usable_rows(layer, column, crs)
        notes: list[str] = []
        codes, keys = _street_numbers(parsed, placed, notes)
        placed = placed.assign(
            street=codes,
            hundred_block=parsed["hundred_block"].to_numpy(dtype=np.int64),
            number=parsed["number"].to_numpy(dtype=np.int64),
        )
        placed, blocks, ledger = _blocks_in_order(placed, ledger)
        return cls(blocks, keys, placed, system, ledger, (*layer.notes, *notes))

    def __repr__(self) -> str:
        return (
            f"HundredBlocks({len(self.blocks):,} hundred blocks of {self.blocks['street'].nunique():,} streets "
            f"from {len(self.addresses):,} addresses)"
        )


def _usable_rows(
    layer: Layer, column: str | None, crs: Any
) -> tuple[pd.DataFrame, pd.DataFrame, Ledger, pyproj.CRS]:
    frame = layer.frame
    column = _address_column(frame, column)
    system = _metric_system(layer, crs)
    parsed = parse_addresses(frame[column])
    reason = parsed["reason"].to_numpy(dtype=object, copy=True)
    reason[(parsed["kind"] == "intersection").to_numpy()] = _INTERSECTION
    no_reason = pd.isna(reason)
    is_interstate = parsed["name"].str.startswith("I-").fillna(False).to_numpy(dtype=bool)
    reason[no_reason & is_interstate & (parsed["suffix"] == "").to_numpy()] = _INTERSTATE
    no_reason = pd.isna(reason)
    is_point = shapely.get_type_id(frame.geometry.to_numpy()) == 0
    reason[no_reason & ~is_point] = _NO_POINT
    usable = pd.isna(reason)
    ledger = layer.ledger
    for why, rows in pd.Series(reason[~usable]).value_counts().sort_index().items():
        ledger = ledger.drop(str(why), int(rows))
    if not usable.any():
        raise InputError(
            f"Invalid addresses: no row of column {column!r} has a house number and a street "
            f"({ledger.sentence()}). Addresses look like '3500 INDEPENDENCE AV'."
        )
    places = shapely.get_coordinates(frame.geometry[usable].to_crs(system))
    placed = pd.DataFrame({"easting": places[:, 0], "northing": places[:, 1]}, index=frame.index[usable])
    return placed, parsed[usable], ledger, system


def _address_column(frame: pd.DataFrame, column: str | None) -> str:
    if column is not None:
        check_columns([column], frame.columns, "The layer of addresses")
        return column
    found = find_column([name for name in frame.columns if name != frame.geometry.name], _ADDRESS_COLUMNS)
    if found is None:
        raise InputError(
            "Invalid addresses: no column of addresses was found. Say which it is with address_column=; "
            f"there are: {', '.join(map(str, frame.columns))}."
        )
    return found


def _metric_system(layer: Layer, crs: Any) -> pyproj.CRS:
    system = layer.crs if crs is None else parse_crs(crs)
    if crs is None and not _is_metric(system) and len(layer):
        system = layer.frame.estimate_utm_crs()
    if not _is_metric(system):
        raise InputError(
            f"Invalid crs {crs_name(system)}. Streets need a projected coordinate system in metres, such as "
            "EPSG:26915 (UTM zone 15 N)."
        )
    return system


def _is_metric(system: pyproj.CRS) -> bool:
    return bool(
        system.is_projected and all(axis.unit_conversion_factor == 1 for axis in system.axis_info[:2])
    )


def _street_numbers(
    parsed: pd.DataFrame, placed: pd.DataFrame, notes: list[str]
) -> tuple[np.ndarray, pd.DataFrame]:
    """Number the streets; one written without direction or type is the full one that its blocks lie on."""
    codes, labels = pd.factorize(parsed["street"], sort=True)
    _, first = np.unique(codes, return_index=True)
    keys = parsed[["direction", "name", "suffix", "street"]].iloc[first].reset_index(drop=True)
    place = placed.assign(street=codes, hundred_block=parsed["hundred_block"].to_numpy(dtype=np.int64))
    medians = place.groupby(["street", "hundred_block"])[["easting", "northing"]].median().reset_index()
    of_street = {
        int(blocks["street"].iloc[0]): blocks.set_index("hundred_block")
        for _, blocks in medians.groupby("street")
    }
    target = np.arange(len(labels))
    for _, same_name in keys.groupby("name"):
        for number in same_name.index[(same_name["direction"] == "") | (same_name["suffix"] == "")]:
            fuller = [other for other in same_name.index if _is_fuller(keys.loc[other], keys.loc[number])]
            # the fewer words are added the better: Paseo is Paseo Boulevard before it is W Paseo Boulevard
            added = [
                int((keys.loc[other] != keys.loc[number])[["direction", "suffix"]].sum()) for other in fuller
            ]
            agree = [_agreement(of_street[number], of_street[other]) for other in fuller]
            agreeing = [
                (3 - words, rows) if rows else (0, 0) for words, rows in zip(added, agree, strict=True)
            ]
            if agreeing and max(agreeing) > (0, 0) and agreeing.count(max(agreeing)) == 1:
                target[number] = fuller[agreeing.index(max(agreeing))]
    target = target[target]  # Paseo -> Paseo Boulevard -> E Paseo Boulevard
    changed = int((target[codes] != codes).sum())
    if changed:
        notes.append(
            "Addresses without the direction or type of their street that were given those of the street whose "
            f"blocks they lie on: {changed:,}."
        )
    return target[codes], keys


def _is_fuller(other: pd.Series, one: pd.Series) -> bool:
    same = [(one[part], other[part]) for part in ("direction", "suffix")]
    return all(mine in ("", its) for mine, its in same) and any(mine != its for mine, its in same)


def _agreement(one: pd.DataFrame, other: pd.DataFrame) -> int:
    """Blocks of equal number that lie together, or 0 if as many do not; blocks at the zero point prove nothing."""
    shared = one.index.intersection(other.index)
    shared = shared[shared > 0]
    apart = np.hypot(*(one.loc[shared, side] - other.loc[shared, side] for side in ("easting", "northing")))
    near = int((apart <= SAME_STREET_M).sum())
    return near if near > len(shared) - near else 0


def _blocks_in_order(placed: pd.DataFrame, ledger: Ledger) -> tuple[pd.DataFrame, pd.DataFrame, Ledger]:
    """Choose the addresses that make sequences of blocks, and number the unbroken runs of each street."""
    placed = placed.assign(cluster=_clusters(placed))
    grouped = placed.groupby("cluster", sort=True)
    blocks = grouped[["street", "hundred_block"]].first()
    blocks["number"] = grouped["number"].median()
    # the two sides of a wide street are apart, and the median of all would lie on either
    sides = placed.groupby(["cluster", placed["number"] % 2])[["easting", "northing"]].median()
    blocks[["easting", "northing"]] = sides.groupby(level="cluster").mean()
    blocks["n_addresses"] = grouped.size()
    blocks = blocks.sort_values(["street", "hundred_block", "easting", "northing"], kind="stable")
    fits = np.zeros(len(blocks), dtype=bool)
    in_order = np.zeros(len(blocks), dtype=bool)
    run = np.zeros(len(blocks), dtype=np.int64)
    next_run = 0
    starts = np.flatnonzero(np.diff(blocks["street"].to_numpy(), prepend=-1))
    for rows in np.split(np.arange(len(blocks)), starts[1:]):
        places = blocks[["easting", "northing"]].to_numpy()[rows]
        numbers, weights = blocks["number"].to_numpy()[rows], blocks["n_addresses"].to_numpy()[rows]
        kept = _heaviest_sequence(numbers, places, weights)
        fits[rows[kept]] = True
        for part in _runs(numbers[kept], places[kept]):
            straight = kept[part][_without_folds(places[kept[part]], weights[kept[part]])]
            in_order[rows[straight]] = True
            run[rows[straight]] = next_run
            next_run += 1
    fate = pd.Series(np.where(in_order, "", np.where(fits, _ORDER, _ODD)), index=blocks.index)
    of_row = fate.loc[placed["cluster"]].to_numpy()
    for reason in (_ODD, _ORDER):
        ledger = ledger.drop(reason, int((of_row == reason).sum()))
    blocks = blocks.assign(run=run)[in_order].reset_index(drop=True)
    used = placed[of_row == ""][["street", "hundred_block", "easting", "northing"]]
    return used, blocks, ledger


def _clusters(placed: pd.DataFrame) -> np.ndarray:
    """Number the groups of addresses of one hundred block; those with gaps of more than 400 m are several."""
    group = placed.groupby(["street", "hundred_block"]).ngroup().to_numpy()
    places = placed[["easting", "northing"]].to_numpy()
    grouped = placed.groupby(group)[["easting", "northing"]]
    spread = (grouped.max() - grouped.min()).max(axis=1).to_numpy()
    cluster = group.astype(np.int64)
    n_clusters = len(spread)
    wide = np.flatnonzero(spread[group] > REACH_M / 2)
    order = wide[np.argsort(group[wide], kind="stable")]
    for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        distinct, which = np.unique(places[rows], axis=0, return_inverse=True)
        near = (
            cKDTree(distinct).query_pairs(REACH_M, output_type="ndarray")
            if len(rows)
            else np.empty((0, 2), int)
        )
        links = coo_array((np.ones(len(near)), (near[:, 0], near[:, 1])), shape=(len(distinct),) * 2)
        n_parts, part = connected_components(links, directed=False)
        if n_parts > 1:
            cluster[rows] = n_clusters + part[which]
            n_clusters += n_parts
    return cluster


def _heaviest_sequence(numbers: np.ndarray, places: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the rows, sorted by number, that hold most addresses with neighbours at plausible distances.

    Longest path in a directed acyclic graph: best(j) = weight(j) + max of best(i) over the i before it.
    """
    n_rows = len(numbers)
    best = weights.astype(float)
    before = np.full(n_rows, -1)
    for row in range(1, n_rows):
        further = np.maximum((numbers[row] - numbers[:row]) / 100 - 1, 0)
        apart = np.hypot(*(places[row] - places[:row]).T)
        other_block = numbers[:row] // 100 < numbers[row] // 100
        may = np.flatnonzero(other_block & (apart <= REACH_M + FURTHER_M * further))
        if len(may):
            # of equal weights the nearest number
            before[row] = may[np.flatnonzero(best[may] == best[may].max())[-1]]
            best[row] += best[before[row]]
    chosen = []
    row = int(np.argmax(best))
    while row >= 0:
        chosen.append(row)
        row = int(before[row])
    return np.array(chosen[::-1])


def _runs(numbers: np.ndarray, places: np.ndarray) -> list[np.ndarray]:
    gap = (np.hypot(*np.diff(places, axis=0).T) > REACH_M) | (np.diff(numbers // 100) > MOST_HUNDREDS)
    return np.split(np.arange(len(places)), np.flatnonzero(gap) + 1)


def _without_folds(places: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the rows left when, wherever the street turns back, the block with fewest addresses there is out."""
    rows = np.arange(len(places))
    while len(rows) > 2:
        distinct = rows[np.r_[True, np.hypot(*np.diff(places[rows], axis=0).T) > SAME_PLACE_M]]
        steps = np.diff(places[distinct], axis=0)
        bearing = np.degrees(np.arctan2(steps[:, 0], steps[:, 1]))
        turn = np.abs((np.diff(bearing) + 180) % 360 - 180)
        if len(turn) == 0 or turn.max() <= _FOLD_DEGREES:
            break
        at = int(np.argmax(turn > _FOLD_DEGREES)) + 1
        around = distinct[at : at + 2] if at + 1 < len(distinct) - 1 else distinct[at : at + 1]
        rows = rows[rows != around[np.argmin(weights[around])]]
    return rows
