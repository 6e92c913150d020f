"""Street centre lines become a network: segments with names and lengths, and the nodes where they meet."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely

from rtmkc.checks import check_choice, check_columns, check_number
from rtmkc.errors import InputError
from rtmkc.inputs.layers import as_layer
from rtmkc.places.corridors.network.centre_lines import (
    CLASS_COLUMNS,
    NAME_COLUMNS,
    NOT_FOR_CORRIDORS,
    as_text,
    check_not_degrees,
    clean_names,
    drop_classes,
    find_column,
    objects,
    take_lines,
    to_metres,
)
from rtmkc.places.corridors.network.divided import merge_divided as merge_carriageways
from rtmkc.places.corridors.network.noding import (
    NodedLines,
    count_crossings,
    end_points,
    first_of_repeats,
    node_lines,
    number_places,
)
from rtmkc.places.corridors.network.strokes import name_by_strokes
from rtmkc.raster.grid import Grid

BLOCK_COLUMNS = ("from_block", "to_block")
"""Hundred blocks at the ends of a line, where streets are drawn from addresses."""
AROUND_M = 1000.0
"""How far beyond the area streets are read, in metres."""


@dataclass(frozen=True, eq=False)
class StreetNetwork:
    """Street segments that meet at nodes.

    A segment runs from one node to another without meeting anything between. Nodes are numbered from west to
    east, so that nothing depends on the order of the rows in the file.

    Attributes
    ----------
    segments : GeoDataFrame
        One row a segment, index `segment_id`: name (None if the street has none), road_class, from_node,
        to_node, length_m, source (row label in the layer), geometry (LineString, projected metres); from_block and
        to_block of streets drawn from addresses, cost if a column was given.
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
        cls,
        grid: Grid,
        streets: Any,
        *,
        name: str | None = None,
        road_class: str | None = None,
        cost: str | None = None,
        merge_divided: bool = True,
        missing_names: str = "leave",
    ) -> "StreetNetwork":
        """Build the network of a grid's area and a kilometre more, so that its border streets have their corners.

        Parameters
        ----------
        grid : Grid
            The cells.
        streets : Layer, GeoDataFrame or path
            Centre lines, of the county say; those farther away are not looked at.
        name, road_class, cost, merge_divided, missing_names : optional
            As in `from_layer`.

        Raises
        ------
        InputError
            If no line comes near the area, and as in `from_layer`.
        """
        layer = as_layer(streets, name="streets")
        check_not_degrees(layer.frame)
        if layer.crs != grid.crs:
            said = f"Streets projected to {grid.crs.name}."
            layer = replace(layer.to_crs(grid.crs), notes=(*layer.notes, said))
        west, south, east, north = grid.area.geometry.bounds
        near_box = shapely.box(west - AROUND_M, south - AROUND_M, east + AROUND_M, north + AROUND_M)
        near = layer.frame.geometry.intersects(near_box).to_numpy()
        if not near.any():
            raise InputError(
                f"Invalid streets: none of the {len(near):,} rows comes near the study area. "
                "Check the coordinate system of the layer."
            )
        return cls.from_layer(
            layer.keep(near, "far from the study area"), name=name, road_class=road_class, crs=grid.crs,
            cost=cost, merge_divided=merge_divided, missing_names=missing_names,
        )  # fmt: skip

    @classmethod
    def from_layer(
        cls,
        streets: Any,
        *,
        name: str | None = None,
        road_class: str | None = None,
        cost: str | None = None,
        exclude_classes: Iterable[str] = NOT_FOR_CORRIDORS,
        crs: Any = None,
        snap_m: float = 0.5,
        merge_divided: bool = True,
        missing_names: str = "leave",
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
        cost : str, optional
            Column with what work along each line costs; a line that is split shares it by length.
        exclude_classes : iterable of str
            Road classes to leave out, whatever their case.
        crs : anything pyproj reads, optional
            Projected coordinate system in metres to work in; by default the layer's own if it is in metres,
            else the local UTM zone.
        snap_m : float
            Ends nearer than this to each other or to another line, in metres, are one node.
        merge_divided : bool
            Make one street of the two carriageways of a divided road: lines of one name beside each other, at
            most 40 m apart for 80 m or more. One stays, the southern or western one; streets that met the
            other now meet it. Without, each takes its share of the risk, and the road ranks too low.
        missing_names : "leave" or "strokes"
            With "strokes", nameless segments take the name of the street they continue, and streets without
            any name are called "unnamed street 1", 2 ... from west to east. Needs the extra ``rtmkc[streets]``.

        Returns
        -------
        StreetNetwork

        Raises
        ------
        InputError
            If a column named does not exist, no line is left, `crs` is not in metres, the layer has no
            coordinate system or cannot be in the one it names, or strokes are asked for without momepy.

        Notes
        -----
        A line is split where another line ends on it, and at vertices that it shares with another line. Lines
        that cross without a shared vertex may pass over one another: they are left, and counted in `notes`.
        Divided roads are found by name only: lines without one are never merged.

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
        name_column = find_column(frame, name, NAME_COLUMNS)
        class_column = find_column(frame, road_class, CLASS_COLUMNS)
        check_choice("missing_names", missing_names, ("leave", "strokes"))
        notes: list[str] = list(layer.notes)
        check_not_degrees(frame)
        frame = to_metres(frame, crs, notes)
        rows = pd.DataFrame(
            {
                "name": clean_names(frame[name_column]) if name_column else objects([None] * len(frame)),
                "road_class": objects(
                    map(as_text, frame[class_column] if class_column else [None] * len(frame))
                ),
                "source": frame.index,
            }
            | _further(frame, cost)
        )
        lines, row = take_lines(frame, notes)
        lines, row = drop_classes(lines, row, rows["road_class"], exclude_classes, notes)
        names = rows["name"].to_numpy()
        kept = first_of_repeats(lines, names[row])
        if len(kept) < len(lines):
            notes.append(f"{len(lines) - len(kept)} lines drawn twice were kept once.")
        lines, row = lines[kept], row[kept]
        if len(lines) == 0:
            raise InputError(
                f"Invalid streets: none of the {len(frame)} rows is a street line that may be used. "
                "Give a layer of street centre lines, or change exclude_classes."
            )
        noded = node_lines(lines, snap_m=snap_m)
        _note_noding(noded, snap_m, notes)
        lines, row = noded.lines, row[noded.origin]
        kept = first_of_repeats(lines, names[row])
        if len(kept) < len(lines):
            notes.append(f"{len(lines) - len(kept)} pieces of lines that lie on one another were kept once.")
        lines, row = lines[kept], row[kept]
        names = names[row]
        can_be_divided = ~pd.isna(names)
        if missing_names == "strokes":
            names, can_be_divided = _name_nameless(lines, names, frame.crs, notes)
        if merge_divided:
            street = np.where(can_be_divided, pd.factorize(names, sort=True)[0], -1)
            merged = merge_carriageways(lines, street, snap_m=snap_m)
            if merged.merged_m:
                _note_merged(merged.merged_m, np.unique(names[~pd.isna(names)]), notes)
                kept = first_of_repeats(merged.lines, names[merged.origin])
                lines, origin = merged.lines[kept], merged.origin[kept]
                row, names = row[origin], names[origin]
        n_crossings = count_crossings(lines)
        if n_crossings:
            notes.append(
                f"{n_crossings} pairs of lines cross without a shared point: taken as bridges, not corners."
            )
        return cls._of_pieces(lines, rows.iloc[row].assign(name=names), frame.crs, notes)

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
        for column in rows.columns.intersection(list(BLOCK_COLUMNS)):
            segments[column] = rows[column].to_numpy()
        if "cost_per_m" in rows:
            segments["cost"] = rows["cost_per_m"].to_numpy() * segments["length_m"]
        nameless = int(segments["name"].isna().sum())
        if nameless:
            share = segments.loc[segments["name"].isna(), "length_m"].sum() / segments["length_m"].sum()
            notes.append(
                f"{nameless} of {len(segments)} segments ({share:.0%} of the length) have no street name: "
                "they take their share of the risk, and a corridor is named after its part that has a name."
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
        return objects(None if pd.isna(name) else name for name in self.segments["name"])

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

    def place(self, node: int) -> np.ndarray:
        """Return easting and northing of a node in metres, shape (2,)."""
        return np.array([self.node_eastings[node], self.node_northings[node]])

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


def _name_nameless(
    lines: np.ndarray, names: np.ndarray, crs: pyproj.CRS, notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    given = name_by_strokes(lines, names, crs)
    if given.n_continued or given.n_unnamed_lines:
        notes.append(
            f"{given.n_continued} nameless segments took the name of the street they continue; "
            f"{given.n_unnamed_lines} others make {given.n_unnamed_streets} unnamed streets."
        )
    return given.names, ~given.is_made_up


def _note_merged(merged_m: dict[int, float], names: np.ndarray, notes: list[str]) -> None:
    longest = sorted(merged_m, key=lambda street: (-round(merged_m[street], 3), street))
    listed = ", ".join(f"{names[street]} {merged_m[street] / 1000:.1f} km" for street in longest[:3])
    more = f" and {len(longest) - 3} more" if len(longest) > 3 else ""
    notes.append(
        f"{sum(merged_m.values()) / 1000:.1f} km of carriageway were merged with the other side of their divided "
        f"road ({listed}{more})."
    )


def _further(frame: gpd.GeoDataFrame, cost: str | None) -> dict[str, Any]:
    """Hundred blocks of lines that have them, and what a metre costs."""
    blocks = [column for column in BLOCK_COLUMNS if column in frame.columns]
    further: dict[str, Any] = {column: frame[column].to_numpy() for column in blocks}
    if cost is not None:
        check_columns([cost], frame.columns, "The street layer")
        money = pd.to_numeric(frame[cost], errors="coerce").to_numpy(dtype=float)
        length = shapely.length(frame.geometry.to_numpy())
        further["cost_per_m"] = np.divide(money, length, out=np.zeros(len(frame)), where=length > 0)
    return further


def _note_noding(noded: NodedLines, snap_m: float, notes: list[str]) -> None:
    if noded.n_snapped:
        notes.append(
            f"{noded.n_snapped} line ends were moved by up to {snap_m:g} m to meet a neighbouring end."
        )
    if noded.n_vanished:
        notes.append(f"{noded.n_vanished} lines shorter than {snap_m:g} m became a single node.")
    if noded.n_split:
        notes.append(f"{noded.n_split} lines were split where another street meets them.")
