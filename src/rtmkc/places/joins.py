"""Joins: the beat, district or neighbourhood that each place lies in, and what kinds of things are around it."""

from collections.abc import Mapping, Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from scipy.special import rel_entr

from rtmkc.checks import check_columns
from rtmkc.errors import InputError
from rtmkc.inputs.columns import loose
from rtmkc.inputs.layers import Layer, as_layer
from rtmkc.units import parse_length

LEAST_SHARE = 0.25
"""A further area is named if it holds at least this share of a line or an area."""
SEVERAL = "; "
FEWEST = 5
"""Things of a kind around a place before the kind can stand out there."""
LEAST_MULTIPLE = 1.5
"""And its share there against its share of all."""
_LABEL_WORDS = (
    "name", "beat", "district", "dist", "division", "ward", "sector", "precinct", "zip", "postal", "tract",
    "label", "number", "code", "id",
)  # fmt: skip


def join_areas(
    places: gpd.GeoDataFrame,
    joins: Mapping[str, Any],
    *,
    several: bool = False,
) -> gpd.GeoDataFrame:
    """Return places with a column for each join: the area that each place lies in.

    Parameters
    ----------
    places : GeoDataFrame
        Hot spots, corridors or scored places; not changed.
    joins : mapping of str to layer, or to (layer, column)
        Name of the new column -> areas (a path, Layer or GeoDataFrame), and the column of their labels, which
        is found by its name if it is not given.
    several : bool
        Name every area that holds a good part of a place, the largest part first: for lines and areas.

    Returns
    -------
    GeoDataFrame
        With the new columns after ``name``, else after ``rank``, else before ``cell_id``; empty text where a
        place lies in none.

    Raises
    ------
    InputError
        If a column of the name is there already, or a layer holds no areas or no such column.

    Notes
    -----
    A place lies where a point on it lies, in the first of areas that overlap. With `several` the parts of its
    length (or area) count: the area with most of it, then others that hold a quarter or more.

    Examples
    --------
    >>> from shapely import Point, box
    >>> beats = gpd.GeoDataFrame({"beat": [112, 113]}, geometry=[box(0, 0, 1, 1), box(1, 0, 2, 1)], crs=26915)
    >>> stops = gpd.GeoDataFrame({"rank": [1, 2]}, geometry=[Point(1.5, 0.5), Point(9, 9)], crs=26915)
    >>> join_areas(stops, {"beat": beats})["beat"].tolist()
    ['113', '']
    """
    table = places.copy()
    position = _position(list(table.columns))
    for name, given in joins.items():
        if name in table.columns:
            raise InputError(
                f"Invalid join {name!r}. The table has a column of that name; call the join something else."
            )
        areas, column = given if isinstance(given, tuple) else (given, None)
        table.insert(position, name, name_places(places, areas, column, several=several))
        position += 1
    table.attrs = dict(places.attrs)
    return table


def _position(columns: Sequence[str]) -> int:
    for name, after in (("name", 1), ("rank", 1), ("cell_id", 0)):
        if name in columns:
            return columns.index(name) + after
    return len(columns)


def name_places(
    places: gpd.GeoDataFrame, areas: Any, column: str | None, *, several: bool = False
) -> np.ndarray:
    """Return the label of the area that each place lies in; empty text where there is none."""
    layer = areas if isinstance(areas, Layer) else as_layer(areas, name="areas")
    frame = layer.to_crs(places.crs).frame
    if column is None:
        column = label_column_of(frame)
    check_columns([column], frame.columns.drop(frame.geometry.name), "The layer of names")
    labels = np.append(_labels(frame[column]), "")
    shapes = frame.geometry.to_numpy()
    if not np.isin(shapely.get_type_id(shapes), (3, 6)).any():
        raise InputError(
            f"Invalid areas {layer.name!r}. Places are labelled with areas, and the layer holds none."
        )
    if several:
        return _largest_parts(places.geometry.to_numpy(), shapes, labels)
    middles = places.geometry.representative_point().to_numpy()
    place, area = shapely.STRtree(shapes).query(middles, predicate="intersects")
    # Where areas overlap the first of the file counts: a place has one name.
    first = np.full(len(places), len(frame))
    np.minimum.at(first, place, area)
    return np.asarray(labels[first])


def kinds_around(
    places: gpd.GeoDataFrame, things: Any, column: str, *, within: float | str = "75 m"
) -> pd.DataFrame:
    """Return which kind of things is most common around each place, and which stands out against all of them.

    Parameters
    ----------
    places : GeoDataFrame
        Corridors, hot spots or other places, in a projected system in metres.
    things : Layer, GeoDataFrame or path
        Parcels with a land use, licences with a type ...; those without a kind are left out.
    column : str
        Their kind.
    within : float or str
        How near to a place a thing counts: metres, or a text with a unit.

    Returns
    -------
    DataFrame, shape (n_places, 6)
        With the index of `places`: n (things around it), common and common_share (the most common kind, and its part
        of n), outstanding, outstanding_share and multiple (the kind that stands out, its part of n, and how many
        times its part of all things that is). Empty text and NaN where there is none.

    Raises
    ------
    InputError
        If the places are not in metres, or the things have no such column, or no kinds in it.

    Notes
    -----
    The kind that stands out is the one, of those with at least 5 things around the place and a share s of at least 1.5
    times its share u of all, with the largest ``s ln(s / u) + (1 - s) ln((1 - s) / (1 - u))``: much more than usual, and much of it.
    The largest multiple alone would always be of something rare.

    Examples
    --------
    >>> from shapely import LineString, Point
    >>> corner = gpd.GeoDataFrame(geometry=[LineString([(0, 0), (100, 0)])], crs=26915)
    >>> shops = [Point(10 * at, 20) for at in range(6)]
    >>> homes = [Point(10 * at, 40) for at in range(8)] + [Point(500, 10 * at) for at in range(46)]
    >>> table = {"use": ["shop"] * len(shops) + ["home"] * len(homes)}
    >>> around = kinds_around(corner, gpd.GeoDataFrame(table, geometry=shops + homes, crs=26915), "use").iloc[0]
    >>> f"{around['n']} around: {around['outstanding']}, {around['multiple']:.1f} times its usual share"
    '14 around: shop, 4.3 times its usual share'
    """
    distance = parse_length(within, name="within")
    if places.crs is None or not places.crs.is_projected:
        raise InputError("Invalid places: they are not in metres. Use to_crs() with a projected system.")
    frame = as_layer(things, name="things").to_crs(places.crs).frame
    check_columns([column], frame.columns.drop(frame.geometry.name), "The layer of things")
    frame = frame[frame[column].notna()]
    if len(frame) == 0:
        raise InputError(f"Invalid things: column {column!r} is empty.")
    kinds, labels = pd.factorize(frame[column].astype(str), sort=True)
    usual = np.bincount(kinds) / len(kinds)
    place, thing = shapely.STRtree(frame.geometry.to_numpy()).query(
        places.geometry.to_numpy(), predicate="dwithin", distance=distance
    )
    count = np.zeros((len(places), len(labels)), dtype=np.int64)
    np.add.at(count, (place, kinds[thing]), 1)
    rows = [_mix(one, usual, labels.to_numpy()) for one in count]
    columns = ["n", "common", "common_share", "outstanding", "outstanding_share", "multiple"]
    return pd.DataFrame(rows, columns=columns, index=places.index)


def _mix(count: np.ndarray, usual: np.ndarray, labels: np.ndarray) -> tuple[Any, ...]:
    n = int(count.sum())
    if n == 0:
        return 0, "", np.nan, "", np.nan, np.nan
    share = count / n
    common = int(np.argmax(count))
    said = (n, labels[common], share[common])
    may = (count >= FEWEST) & (share >= LEAST_MULTIPLE * usual)
    if not may.any():
        return (*said, "", np.nan, np.nan)
    gain = np.where(may, rel_entr(share, usual) + rel_entr(1 - share, 1 - usual), -np.inf)
    most = int(np.argmax(gain))
    return (*said, labels[most], share[most], share[most] / usual[most])


def _largest_parts(shapes: np.ndarray, areas: np.ndarray, labels: np.ndarray) -> np.ndarray:
    place, area = shapely.STRtree(areas).query(shapes, predicate="intersects")
    part = shapely.intersection(shapes[place], areas[area])
    is_area = np.isin(shapely.get_type_id(shapes[place]), (3, 6))
    held = np.where(is_area, shapely.area(part), shapely.length(part))
    whole = np.where(is_area, shapely.area(shapes[place]), shapely.length(shapes[place]))
    shares = pd.Series(held / np.maximum(whole, 1e-9))
    named = np.full(len(shapes), "", dtype=object)
    for number in np.unique(place):
        own = place == number
        # Several areas can have one label, as a beat that a river cuts.
        sums = shares[own].groupby(labels[area[own]], sort=False).sum()
        sums = sums.sort_values(ascending=False, kind="stable")
        kept = [label for rank, label in enumerate(sums.index) if rank == 0 or sums[label] >= LEAST_SHARE]
        named[number] = SEVERAL.join(str(label) for label in kept if label)
    return named


def _labels(values: pd.Series) -> np.ndarray:
    """Return labels as text; a number read with decimals, as tables with gaps are, is a whole one."""
    text = values.astype("string").str.strip()
    if pd.api.types.is_float_dtype(values.dtype):
        text = text.str.removesuffix(".0")
    return text.fillna("").to_numpy(dtype=object)


def label_column_of(frame: gpd.GeoDataFrame, wanted: str = "") -> str:
    """Return the column that tells the areas of a layer apart.

    Parameters
    ----------
    frame : GeoDataFrame
        The areas.
    wanted : str
        What they are, such as "beat": a column called so comes first, then one called name, beat, district ...

    Raises
    ------
    InputError
        If no column is called like a label and none is the only one of text.
    """
    plain = pd.DataFrame(frame.drop(columns=frame.geometry.name))
    columns = [str(name) for name in plain.columns if not pd.api.types.is_float_dtype(plain[name])]
    columns = [name for name in columns if not pd.api.types.is_datetime64_any_dtype(plain[name])]
    words = [word for word in wanted.lower().split() if len(word) > 2]
    for word in (*words, *_LABEL_WORDS):
        found = [name for name in columns if _called(name, word)]
        if found:
            return min(found, key=lambda name: (int(plain[name].duplicated().sum()), _width(plain, name)))
    text = [name for name in columns if pd.api.types.is_string_dtype(plain[name])]
    if len(text) == 1:
        return text[0]
    raise InputError(
        f"Invalid names. No column is called like a name among: {', '.join(columns) or 'none'}; "
        "say which with name_column= or column."
    )


def _called(name: str, word: str) -> bool:
    plain = loose(name)
    if word in ("id", "code", "number"):
        return plain.endswith(word)
    return word in plain or (word in ("district", "division") and plain.startswith(word[:4]))


def _width(table: pd.DataFrame, name: str) -> float:
    return float(table[name].astype("string").str.len().mean())
