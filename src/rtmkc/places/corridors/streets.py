"""Street centre lines become a network: segments with names and lengths, and the nodes where they meet."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely

from rtmkc.checks import check_columns, check_number
from rtmkc.errors import InputError
from rtmkc.inputs.layers import as_layer
from rtmkc.places.corridors.noding import NodedLines, end_points, node_lines, number_places
from rtmkc.raster.grid import Grid

NOT_FOR_CORRIDORS = (
    "motorway", "motorway_link", "trunk_link", "interstate", "freeway", "expressway", "ramp",
    "S1100", "S1630",
    "footway", "path", "steps", "cycleway", "bridleway", "track", "proposed", "construction", "raceway",
    "S1710", "S1720", "S1820",
)  # fmt: skip
"""Road classes left out by default: no street to walk along (OpenStreetMap, TIGER and plain words)."""

_NAME_COLUMNS = (
    "name", "street", "streetname", "stname", "strname", "fullname", "fullstname", "streetfullname",
    "fullstreet", "roadname", "rdname", "streetnam", "streetn", "stnam", "road", "label",
)  # fmt: skip
_CLASS_COLUMNS = (
    "highway",
    "roadclass",
    "rdclass",
    "fclass",
    "functionalclass",
    "funcclass",
    "mtfcc",
    "class",
)
_NO_NAME = re.compile(
    r"(un-?named|no ?name)\b.*|[<(]?(none|null|nan|n/?a|unknown)[>)]?|[\W_]*", re.IGNORECASE
)


AROUND_M = 1000.0
"""How far beyond the area streets are read, in metres."""


@dataclass(frozen=True)
class StreetNetwork:
    """Street segments that meet at nodes.

    A segment runs from one node to another without meeting anything between. Nodes are numbered from west to
    east, so that nothing depends on the order of the rows in the file.

    Attributes
    ----------
    segments : GeoDataFrame
        One row a segment, index `segment_id`: name (None if the street has none), road_class, from_node,
        to_node, length_m, source (row label in the layer), geometry (LineString, projected metres).
    node_eastings, node_northings : ndarray, shape (n_nodes,)
        Coordinates of the nodes in metres.
    notes : tuple of str
        What was decided while reading, with counts.
    """

    segments: gpd.GeoDataFrame
    node_eastings: np.ndarray
    node_northings: np.ndarray
    notes: tuple[str, ...]

    @classmethod
    def around(
        cls, grid: Grid, streets: Any, *, name: str | None = None, road_class: str | None = None
    ) -> "StreetNetwork":
        """Build the network of a grid's area and a kilometre more, so that its border streets have their corners.

        Parameters
        ----------
        grid : Grid
            The cells.
        streets : Layer, GeoDataFrame or path
            Centre lines, of the county say; those farther away are not looked at.
        name, road_class : str, optional
            As in `from_layer`.

        Raises
        ------
        InputError
            If no line comes near the area, and as in `from_layer`.
        """
        layer = as_layer(streets, name="streets").to_crs(grid.crs)
        west, south, east, north = grid.area.geometry.bounds
        near_box = shapely.box(west - AROUND_M, south - AROUND_M, east + AROUND_M, north + AROUND_M)
        near = layer.frame.geometry.intersects(near_box).to_numpy()
        if not near.any():
            raise InputError(
                f"Invalid streets: none of the {len(near):,} rows comes near the study area. "
                "Check the coordinate system of the layer."
            )
        return cls.from_layer(
            layer.keep(near, "far from the study area"), name=name, road_class=road_class, crs=grid.crs
        )

    @classmethod
    def from_layer(
        cls,
        streets: Any,
        *,
        name: str | None = None,
        road_class: str | None = None,
        exclude_classes: Iterable[str] = NOT_FOR_CORRIDORS,
        crs: Any = None,
        snap_m: float = 0.5,
    ) -> "StreetNetwork":
        """Build a network from street centre lines.

        Parameters
        ----------
        streets : Layer, GeoDataFrame or path
            Lines. Multi-part lines are taken apart; anything that is not a line is dropped and counted.
        name : str, optional
            Column with the street's name. Found by itself if it is called name, street, st_name, fullname ...
        road_class : str, optional
            Column with the road class. Found by itself if it is called highway, road_class, fclass, mtfcc ...
        exclude_classes : iterable of str
            Road classes to leave out, whatever their case.
        crs : anything pyproj reads, optional
            Projected coordinate system in metres to work in; by default the layer's own if it is in metres,
            else the local UTM zone.
        snap_m : float
            Ends nearer than this to each other or to another line, in metres, are one node.

        Returns
        -------
        StreetNetwork

        Raises
        ------
        InputError
            If a column named does not exist, no line is left, or `crs` is not in metres.

        Notes
        -----
        A line is split where another line ends on it, and at vertices that it shares with another line. Lines
        that cross without a shared vertex may pass over one another: they are left, and counted in `notes`.
        Both carriageways of a divided road stay two streets of one name.

        Examples
        --------
        >>> lines = gpd.GeoDataFrame(
        ...     {"ST_NAME": ["Oak", "Elm"]},
        ...     geometry=shapely.from_wkt(["LINESTRING (0 0, 100 0)", "LINESTRING (40 0, 40 90)"]), crs=32615)
        >>> network = StreetNetwork.from_layer(lines)
        >>> network.segments[["name", "from_node", "to_node", "length_m"]]
                   name  from_node  to_node  length_m
        segment_id
        0           Oak          0        1      40.0
        1           Oak          1        3      60.0
        2           Elm          1        2      90.0
        >>> network.cross_street(1, "Oak")
        'Elm'
        """
        layer = as_layer(streets, name="streets")
        frame = layer.frame
        if check_number("snap_m", snap_m) < 0:
            raise InputError(f"Invalid snap_m {snap_m!r}. It must be a distance in metres, 0 or more.")
        name_column = _find_column(frame, name, _NAME_COLUMNS)
        class_column = _find_column(frame, road_class, _CLASS_COLUMNS)
        notes: list[str] = list(layer.notes)
        frame = _to_metres(frame, crs, notes)
        rows = pd.DataFrame(
            {
                "name": _clean_names(frame[name_column]) if name_column else _objects([None] * len(frame)),
                "road_class": _objects(
                    map(_text, frame[class_column] if class_column else [None] * len(frame))
                ),
                "source": frame.index,
            }
        )
        lines, row = _take_lines(frame, notes)
        lines, row = _drop_classes(lines, row, rows["road_class"], exclude_classes, notes)
        lines, row = _drop_repeats(lines, row, rows["name"], notes)
        if len(lines) == 0:
            raise InputError(
                f"Invalid streets: none of the {len(frame)} rows is a street line that may be used. "
                "Give a layer of street centre lines, or change exclude_classes."
            )
        noded = node_lines(lines, snap_m=snap_m)
        _note_noding(noded, snap_m, notes)
        return cls._of_pieces(noded.lines, rows.iloc[row[noded.origin]], frame.crs, notes)

    @classmethod
    def _of_pieces(
        cls, lines: np.ndarray, rows: pd.DataFrame, crs: pyproj.CRS, notes: list[str]
    ) -> "StreetNetwork":
        places, number = number_places(np.vstack(end_points(lines)))
        from_node, to_node = np.split(number, 2)
        segments = gpd.GeoDataFrame(
            {
                "name": rows["name"].to_numpy(),
                "road_class": rows["road_class"].to_numpy(),
                "from_node": from_node,
                "to_node": to_node,
                "length_m": shapely.length(lines),
                "source": rows["source"].to_numpy(),
            },
            geometry=lines,
            crs=crs,
            index=pd.RangeIndex(len(lines), name="segment_id"),
        )
        nameless = int(segments["name"].isna().sum())
        if nameless:
            share = segments.loc[segments["name"].isna(), "length_m"].sum() / segments["length_m"].sum()
            notes.append(
                f"{nameless} of {len(segments)} segments ({share:.0%} of the length) have no street name: "
                "they take their share of the risk, but cannot be part of a named corridor."
            )
        return cls(segments, places[:, 0], places[:, 1], tuple(notes))

    @property
    def n_segments(self) -> int:
        """Number of segments."""
        return len(self.segments)

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.node_eastings)

    @property
    def crs(self) -> pyproj.CRS:
        """Coordinate system, projected, in metres."""
        return pyproj.CRS(self.segments.crs)

    @cached_property
    def degrees(self) -> np.ndarray:
        """Number of segment ends at every node, shape (n_nodes,); a loop counts twice."""
        ends = np.concatenate([self.segments["from_node"], self.segments["to_node"]])
        return np.bincount(ends, minlength=self.n_nodes)

    @cached_property
    def street_numbers(self) -> np.ndarray:
        """Number of the street of every segment, shape (n_segments,); -1 without a name."""
        codes, _ = pd.factorize(self.segments["name"], sort=True)
        return np.asarray(codes, dtype=np.int64)

    @cached_property
    def _names(self) -> np.ndarray:
        return _objects(None if pd.isna(name) else name for name in self.segments["name"])

    @cached_property
    def _segments_at(self) -> tuple[np.ndarray, np.ndarray]:
        ends = np.concatenate([self.segments["from_node"], self.segments["to_node"]])
        order = np.argsort(ends, kind="stable")
        starts = np.concatenate([[0], np.cumsum(self.degrees)])
        return starts, order % self.n_segments

    def segments_at(self, node: int) -> np.ndarray:
        """Return the ids of the segments that end at a node; a loop appears twice."""
        starts, segments = self._segments_at
        return segments[starts[node] : starts[node + 1]]

    def names_at(self, node: int) -> list[str]:
        """Return the names of the segments that end at a node, each segment's once; nameless ones have none."""
        return [str(found) for found in self._names[self.segments_at(node)] if found]

    def cross_street(self, node: int, street: str) -> str:
        """Return what a corridor of `street` ends at, in words.

        Parameters
        ----------
        node : int
            Node of the network.
        street : str
            Name of the street that the corridor runs along.

        Returns
        -------
        str
            The name of the street that crosses there (of several the one with most segments, then the first
            in the alphabet); else "near the end of <street>", "near a fork of <street>", or "near <other>"
            with the nearest other street within 150 m where only nameless lines meet.
        """
        names = self.names_at(node)
        others = sorted(set(names) - {street}, key=lambda found: (-names.count(found), found))
        if others:
            return str(others[0])
        if self.degrees[node] <= 1:
            return f"near the end of {street}"
        if len(names) == self.degrees[node]:
            return f"near a fork of {street}"
        nearest = self._nearest_other(node, street, within_m=150.0)
        return f"near {nearest}" if nearest else f"an unnamed side street of {street}"

    def _nearest_other(self, node: int, street: str, *, within_m: float) -> str | None:
        place = shapely.Point(self.node_eastings[node], self.node_northings[node])
        near = np.sort(self.segments.sindex.query(place, predicate="dwithin", distance=within_m))
        near = near[[bool(found) and found != street for found in self._names[near]]]
        if len(near) == 0:
            return None
        nearest = near[np.argmin(shapely.distance(self.segments.geometry.to_numpy()[near], place))]
        return str(self._names[nearest])

    def __repr__(self) -> str:
        kilometres = self.segments["length_m"].sum() / 1000
        return (
            f"StreetNetwork({self.n_segments} segments, {self.n_nodes} nodes, {kilometres:,.1f} km, "
            f"{self.street_numbers.max(initial=-1) + 1} street names)"
        )


def _find_column(frame: pd.DataFrame, given: str | None, known: tuple[str, ...]) -> str | None:
    if given is not None:
        check_columns([given], frame.columns, "The street layer")
        return given
    loose = {
        re.sub(r"[^a-z0-9]", "", str(column).lower()): str(column) for column in reversed(list(frame.columns))
    }
    return next((loose[candidate] for candidate in known if candidate in loose), None)


def _text(value: Any) -> str | None:
    if isinstance(value, list | tuple | set | np.ndarray):  # OpenStreetMap tags of merged ways
        return " / ".join(sorted({str(part).strip() for part in value})) or None
    return None if value is None or value is pd.NA or value != value else str(value).strip()


def _clean_names(names: pd.Series) -> np.ndarray:
    """One spelling a street: spaces collapsed, and the commonest of spellings that differ in case only."""
    texts = [" ".join((_text(name) or "").split()) for name in names]
    counts = Counter(text for text in texts if _NO_NAME.fullmatch(text) is None)
    spelling: dict[str, str] = {}
    for text in sorted(counts, key=lambda text: (-counts[text], text)):
        spelling.setdefault(text.casefold(), text)
    return _objects(spelling.get(text.casefold()) for text in texts)


def _objects(values: Iterable[Any]) -> np.ndarray:
    listed = list(values)
    made = np.empty(len(listed), dtype=object)
    made[:] = listed
    return made


def _to_metres(frame: gpd.GeoDataFrame, crs: Any, notes: list[str]) -> gpd.GeoDataFrame:
    target = pyproj.CRS.from_user_input(crs) if crs is not None else frame.crs
    if crs is None and not _is_metric(target):
        target = frame.estimate_utm_crs()
        notes.append(f"Streets projected to {target.name}.")
    if not _is_metric(target):
        raise InputError(
            f"Invalid crs {crs!r}. Streets need a projected coordinate system in metres, "
            "such as the local UTM zone (frame.estimate_utm_crs())."
        )
    return frame if frame.crs == target else frame.to_crs(target)


def _is_metric(crs: pyproj.CRS) -> bool:
    return bool(
        crs.is_projected and all(abs(axis.unit_conversion_factor - 1) < 1e-9 for axis in crs.axis_info[:2])
    )


def _take_lines(frame: gpd.GeoDataFrame, notes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    shapes = shapely.force_2d(frame.geometry.to_numpy())
    parts, row = shapely.get_parts(shapes, return_index=True)
    while np.isin(shapely.get_type_id(parts), [5, 7]).any():
        parts, inner = shapely.get_parts(parts, return_index=True)
        row = row[inner]
    is_line = np.isin(shapely.get_type_id(parts), [1, 2])
    if not is_line.all():
        notes.append(f"{int((~is_line).sum())} shapes that are not lines were left out of the streets.")
    parts, row = parts[is_line], row[is_line]
    rings = shapely.get_type_id(parts) == 2
    parts[rings] = [shapely.LineString(ring.coords) for ring in parts[rings]]
    usable = np.isfinite(shapely.length(parts)) & (shapely.length(parts) > 0)
    if not usable.all():
        notes.append(f"{int((~usable).sum())} street lines without length were left out.")
    return shapely.remove_repeated_points(parts[usable]), row[usable]


def _drop_classes(
    lines: np.ndarray, row: np.ndarray, classes: pd.Series, excluded: Iterable[str], notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    unwanted = {str(value).casefold() for value in excluded}
    of_line = classes.iloc[row]
    drop = of_line.map(lambda value: isinstance(value, str) and value.casefold() in unwanted).to_numpy(
        dtype=bool
    )
    if drop.any():
        named = ", ".join(sorted(set(of_line[drop])))
        notes.append(f"{int(drop.sum())} lines left out for their road class ({named}).")
    return lines[~drop], row[~drop]


def _drop_repeats(
    lines: np.ndarray, row: np.ndarray, names: pd.Series, notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Drop lines drawn twice (once a direction, say): they would halve the risk of the street."""
    shape = pd.Series(shapely.to_wkb(shapely.normalize(lines)))
    named_first = np.argsort(names.iloc[row].isna().to_numpy(), kind="stable")
    repeat = shape.iloc[named_first].duplicated().sort_index().to_numpy(dtype=bool)
    if repeat.any():
        notes.append(f"{int(repeat.sum())} lines drawn twice were kept once.")
    return lines[~repeat], row[~repeat]


def _note_noding(noded: NodedLines, snap_m: float, notes: list[str]) -> None:
    if noded.n_snapped:
        notes.append(
            f"{noded.n_snapped} line ends were moved by up to {snap_m:g} m to meet a neighbouring end."
        )
    if noded.n_vanished:
        notes.append(f"{noded.n_vanished} lines shorter than {snap_m:g} m became a single node.")
    if noded.n_split:
        notes.append(f"{noded.n_split} lines were split where another street meets them.")
    if noded.n_crossings:
        notes.append(
            f"{noded.n_crossings} pairs of lines cross without a shared point: taken as bridges, not corners."
        )
