"""What lies beside a corridor: records of factors and businesses, gathered into the places they are at."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from rtmkc.errors import InputError
from rtmkc.inputs.columns import enforcement_word, find_column, loose
from rtmkc.inputs.layers import Layer, as_layer
from rtmkc.inputs.rasters import is_raster
from rtmkc.places.corridors.visits.axis import Axis
from rtmkc.raster.factors import GUARDED_PROVENANCES, RiskFactor

BUSINESS = "business"
SAME_ADDRESS_M = 30.0
"""Records of one address are one place if they lie within this of each other; a hundred-block is not one."""
AT_BUSINESS_M = 25.0
"""A violation is the nearest business's within this distance."""
SAME_ADDRESS_VIOLATION_M = 200.0
"""A violation is at its address, if its own coordinates are not farther off than this."""
_ADDRESS_NAMES = (
    "address", "streetaddress", "incidentaddress", "siteaddress", "propertyaddress", "businessaddress",
    "situsaddress", "locationaddress", "premiseaddress", "premisesaddress", "fulladdress", "addr", "addrfull",
)  # fmt: skip
_BUSINESS_NAMES = (
    "businessname", "business", "dba", "dbaname", "doingbusinessas", "facilityname", "facility",
    "establishmentname", "establishment", "storename", "premisesname", "sitename", "placename",
)  # fmt: skip
_PERSONS = re.compile(
    r"owner|resident|tenant|occupant|complain|caller|firstname|lastname|victim|suspect|applicant|contactname"
)
_WORDS = {
    "avenue": "ave", "av": "ave", "street": "st", "boulevard": "blvd", "road": "rd", "drive": "dr", "lane": "ln",
    "terrace": "ter", "terr": "ter", "place": "pl", "court": "ct", "parkway": "pkwy", "trafficway": "trfy",
    "highway": "hwy", "north": "n", "south": "s", "east": "e", "west": "w",
}  # fmt: skip
_UNIT = re.compile(r"\s(?:#|apt|unit|suite|ste|fl|floor|rm|room|bldg|lot)\b.*|\s*#.*")


@dataclass(eq=False)
class Frontage:
    """Records within a corridor's width, one row each, and where each lies.

    Attributes
    ----------
    axis : Axis
    records : DataFrame
        kind (name of the factor, or `BUSINESS`), name, address, date, easting, northing, chainage, offset.
    notes : list of str
        What was left out, and why.
    """

    axis: Axis
    records: pd.DataFrame = field(default_factory=pd.DataFrame)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def along(cls, axis: Axis, layers: Mapping[str, Any], businesses: Any, width_m: float) -> "Frontage":
        """Read what lies within a width of an axis.

        Raises
        ------
        InputError
            If a layer cannot be read, has no coordinate system, or is of persons or police work.
        """
        made = cls(axis)
        parts = [made._read(thing, str(name), width_m) for name, thing in layers.items()]
        if businesses is not None:
            part = made._read(businesses, "businesses", width_m)
            parts.append(part.assign(kind=BUSINESS))
        made.records = pd.concat(parts, ignore_index=True) if parts else _records([], axis, "", None)
        return made

    def _read(self, thing: Any, kind: str, width_m: float) -> pd.DataFrame:
        layer = take_layer(thing, kind)
        kind = " ".join(kind.split())
        if layer is None:
            self.notes.append(f"{kind}: a raster has no places to visit; left out")
            return _records([], self.axis, kind, None)
        if not len(layer):
            self.notes.append(f"{kind}: the layer is empty")
        return records_near(layer, self.axis, kind, width_m)

    def places(self, same_place_m: float) -> np.ndarray:
        """Return the number of the place of each record, shape (n_records,).

        Notes
        -----
        Records of one address within `SAME_ADDRESS_M` are one place, however they were geocoded; then places on
        one side of the line, all within `same_place_m` of each other. Places are gathered by complete linkage, so
        that a row of houses does not become one place from neighbour to neighbour.
        """
        records = self.records
        points = records[["easting", "northing"]].to_numpy(dtype=float)
        place = np.arange(len(records))
        keys = records["address"].map(address_key)
        for _, rows in records.groupby(keys[keys != ""]).indices.items():
            group = _gather(points[rows], SAME_ADDRESS_M)
            first = np.array([rows[group == number][0] for number in range(group.max() + 1)])
            place[rows] = first[group]
        at, member = np.unique(place, return_inverse=True)
        heads = self.heads(member)
        left = self.axis.is_left(*records[["chainage", "offset"]].to_numpy(dtype=float)[heads].T)
        merged = np.zeros(len(at), dtype=np.int64)
        count = 0
        for side in (False, True):
            own = left == side
            if own.any():
                merged[own] = _gather(points[heads[own]], same_place_m) + count
                count = merged[own].max() + 1
        return merged[member]

    def heads(self, place: np.ndarray) -> np.ndarray:
        """Return the record that gives each place its point: a business, else that farthest from the line.

        Addresses are often geocoded to the centre line of the street; a record off the line knows more.
        """
        records = self.records
        table = pd.DataFrame(
            {
                "place": place,
                "other": (records["kind"] != BUSINESS).to_numpy(),
                "near": -records["offset"].abs().round(3).to_numpy(),
                "easting": records["easting"].to_numpy(),
                "northing": records["northing"].to_numpy(),
            }
        )
        order = table.sort_values(["place", "other", "near", "easting", "northing"], kind="stable")
        return order.groupby("place").head(1).index.to_numpy()


def take_layer(thing: Any, name: str) -> Layer | None:
    """Return the layer of a factor, None of a raster; refuse what is about persons or police work.

    Raises
    ------
    InputError
        If its provenance is "policing" or "person", or unstated with such a name, and it is not a `RiskFactor`
        that allows it.
    """
    allowed = None
    if isinstance(thing, RiskFactor):
        allowed, thing = thing.allow_provenance, thing.layer
    if is_raster(thing):
        return None
    layer = as_layer(thing, name=name)
    provenance = layer.provenance
    if provenance == "unstated":
        found = enforcement_word([name, layer.name])
        provenance = found[1] if found else provenance
    if provenance in GUARDED_PROVENANCES and allowed != provenance:
        raise InputError(
            f"Invalid layer {name!r}. It is of provenance {provenance!r}, by its own word or its name: it would send "
            "a team to where police act or persons live. Leave it out; if its name misleads, read it with "
            "read_layer(..., provenance=)."
        )
    return layer


def records_near(layer: Layer, axis: Axis, kind: str, within_m: float) -> pd.DataFrame:
    """Return the features of a layer within a distance of an axis, at their point nearest to it."""
    frame = layer.to_crs(axis.crs).frame
    near = shapely.dwithin(frame.geometry.to_numpy(), axis.line, within_m)
    frame = frame[near]
    dates = None if layer.date_column is None else frame[layer.date_column]
    shapes = shapely.force_2d(frame.geometry.to_numpy())
    points = shapely.get_point(shapely.shortest_line(shapes, axis.line), 0)
    return _records(points, axis, kind, frame, dates)


def _records(
    points: Iterable[Any], axis: Axis, kind: str, frame: gpd.GeoDataFrame | None, dates: Any = None
) -> pd.DataFrame:
    places = np.array(list(points), dtype=object)
    number = len(places)
    coordinates = shapely.get_coordinates(places).reshape(-1, 2)
    return pd.DataFrame(
        {
            "kind": pd.Series([kind] * number, dtype=object),
            "name": _names(frame, is_business=kind == "businesses"),
            "address": _texts(frame, _ADDRESS_NAMES).map(_street_part),
            "date": pd.Series(pd.NaT, index=range(number), dtype="datetime64[ns]")
            if dates is None
            else pd.Series(dates.to_numpy(), dtype="datetime64[ns]"),
            "easting": coordinates[:, 0],
            "northing": coordinates[:, 1],
            "chainage": axis.along(places),
            "offset": axis.offset(places) if number else np.empty(0),
        }
    )


def _names(frame: gpd.GeoDataFrame | None, *, is_business: bool) -> pd.Series:
    """Return names of businesses; a plain "name" beside columns about persons may be a person's."""
    about_persons = frame is not None and any(_PERSONS.search(loose(column)) for column in frame.columns)
    plain = () if about_persons and not is_business else ("name", "label", "title")
    return _texts(frame, (*_BUSINESS_NAMES, *plain))


def _texts(frame: gpd.GeoDataFrame | None, names: tuple[str, ...]) -> pd.Series:
    """Return the first column with one of the loose names as texts in one line, "" where there is none."""
    number = 0 if frame is None else len(frame)
    column = None if frame is None else find_column(frame.columns, names)
    if frame is None or column is None:
        return pd.Series([""] * number, dtype=object)
    values = [" ".join(str(value).split()) if pd.notna(value) else "" for value in frame[column]]
    return pd.Series(values, dtype=object)


def _street_part(address: str) -> str:
    """Return the part of an address before the city."""
    first, _, _ = address.partition(",")
    return first.strip() if any(map(str.isalpha, first)) else address


def address_key(address: str) -> str:
    """Return an address in one spelling, without its unit; "" if it has no house number.

    Examples
    --------
    >>> address_key("4317 Independence Avenue, Apt 2"), address_key("4317 INDEPENDENCE AV.")
    ('4317 independence ave', '4317 independence ave')
    >>> address_key("Independence Avenue")
    ''
    """
    text = _UNIT.sub("", _street_part(address).lower())
    words = re.sub(r"[^a-z0-9 ]+", "", text).split()
    if not words or not words[0][0].isdigit() or len(words) < 2:
        return ""
    return " ".join(_WORDS.get(word, word) for word in words)


def _gather(points: np.ndarray, limit: float) -> np.ndarray:
    """Return groups of points of which all are within a distance of each other (complete linkage), from 0."""
    distinct, member = np.unique(points, axis=0, return_inverse=True)
    member = member.reshape(-1)
    pairs = cKDTree(distinct).query_pairs(limit, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(distinct), len(distinct)))
    _, component = connected_components(links, directed=False)
    group = np.zeros(len(distinct), dtype=np.int64)
    count = 0
    for number in range(component.max(initial=-1) + 1):
        rows = np.flatnonzero(component == number)
        inner = np.ones(1, dtype=np.int64)
        if len(rows) > 1:
            inner = fcluster(linkage(distinct[rows], "complete"), limit, "distance")
        group[rows] = inner - 1 + count
        count += int(inner.max())
    return group[member]


def assign_violations(
    violations: pd.DataFrame, records: pd.DataFrame, place: np.ndarray, same_place_m: float
) -> np.ndarray:
    """Return the place of each violation, -1 for none: by its address, else the nearest business, else place.

    Parameters
    ----------
    violations, records : DataFrame
        As in `Frontage.records`.
    place : ndarray of int, shape (n_records,)
        Place of each record.
    same_place_m : float
        How near a place that is no business must be, in metres; a business may be `AT_BUSINESS_M` away.
    """
    found = np.full(len(violations), -1, dtype=np.int64)
    at = records[["easting", "northing"]].to_numpy(dtype=float)
    own = violations[["easting", "northing"]].to_numpy(dtype=float)
    is_business = (records["kind"] == BUSINESS).to_numpy()
    keys = records["address"].map(address_key)
    by_key = records.groupby(keys[keys != ""]).indices
    for row, key in enumerate(violations["address"].map(address_key)):
        rows = by_key.get(key, np.empty(0, dtype=np.int64)) if key else np.empty(0, dtype=np.int64)
        away = np.hypot(*(at[rows] - own[row]).T)
        rows, away = rows[away <= SAME_ADDRESS_VIOLATION_M], away[away <= SAME_ADDRESS_VIOLATION_M]
        if len(rows):
            found[row] = place[rows[np.lexsort((away, ~is_business[rows]))[0]]]
    for chosen, limit in ((is_business, AT_BUSINESS_M), (~is_business, same_place_m)):
        open_rows = np.flatnonzero(found < 0)
        if chosen.any() and len(open_rows):
            away, nearest = cKDTree(at[chosen]).query(own[open_rows])
            hit = away <= limit
            found[open_rows[hit]] = place[chosen][nearest[hit]]
    return found
