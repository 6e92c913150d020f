"""The centre line of one corridor: how far along it a place is, on which side, and which way that faces."""

from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely
from shapely.geometry.base import BaseGeometry

from rtmkc.errors import InputError
from rtmkc.inputs.coordinates import parse_crs
from rtmkc.inputs.layers import Layer, as_layer

COMPASS = ("east", "north-east", "north", "north-west", "west", "south-west", "south", "south-east")
ON_THE_LINE_M = 0.05
"""A place this near to the centre line has no side of its own."""
_TANGENT_M = 0.01
_FACING_M = 50.0
_WEB_MERCATOR = 3857


@dataclass(frozen=True, eq=False)
class Axis:
    """The centre line of a corridor in metres.

    Attributes
    ----------
    line : LineString
        In its running direction.
    crs : CRS
        Projected, in metres.
    name : str
        What the corridor is called in sentences.
    """

    line: shapely.LineString
    crs: pyproj.CRS
    name: str

    @classmethod
    def of(cls, corridor: Any, crs: Any = None) -> "Axis":
        """Return the axis of a row of a table of corridors, of a line, or of a layer of one line.

        Parameters
        ----------
        corridor : GeoDataFrame or GeoSeries of one row, Series, LineString, Layer or path
        crs : optional
            Of a line or a Series, which have none.

        Raises
        ------
        InputError
            If it is not one unbroken line, or its system is not known.
        """
        shape, system, name = _one_shape(corridor, crs)
        line = shapely.force_2d(shape) if isinstance(shape, BaseGeometry) else None
        if isinstance(line, shapely.MultiLineString):
            line = shapely.line_merge(line)
        if not isinstance(line, shapely.LineString) or not np.isfinite(line.length) or line.length == 0:
            kind = getattr(shape, "geom_type", type(shape).__name__)
            raise InputError(
                f"Invalid corridor of type {kind}. It must be one unbroken line with a length, such as a row of the "
                "table of find_corridors."
            )
        target = _metric(system, line)
        series = gpd.GeoSeries([line], crs=system).to_crs(target)
        if not np.isfinite(series.iloc[0].length):
            raise InputError(
                f"Invalid corridor. Its coordinates do not fit {system.name}; check for swapped longitude and "
                "latitude, or a wrong crs."
            )
        return cls(shapely.remove_repeated_points(series.iloc[0]), target, name)

    def along(self, points: np.ndarray) -> np.ndarray:
        """Return the chainage of points: metres along the line to the place nearest to them."""
        return np.asarray(shapely.line_locate_point(self.line, points), dtype=float)

    def offset(self, points: np.ndarray) -> np.ndarray:
        """Return the distance of points from the line in metres, positive on the left of its running direction."""
        chainage = self.along(points)
        foot = self._at(chainage)
        # At a bend the mean of both directions decides: the sign is right anywhere beside the corner.
        tangent = self._at(chainage + _TANGENT_M) - self._at(chainage - _TANGENT_M)
        away = shapely.get_coordinates(points).reshape(-1, 2) - foot
        cross = tangent[:, 0] * away[:, 1] - tangent[:, 1] * away[:, 0]
        return np.sign(cross) * np.hypot(away[:, 0], away[:, 1])

    def left_faces(self, chainage: np.ndarray) -> np.ndarray:
        """Return the direction of the left side in degrees counter-clockwise from east, over 50 m either way."""
        ahead = self._at(chainage + _FACING_M) - self._at(chainage - _FACING_M)
        return np.asarray((np.degrees(np.arctan2(ahead[:, 1], ahead[:, 0])) + 90) % 360)

    def is_left(self, chainage: np.ndarray, offset: np.ndarray) -> np.ndarray:
        """Return which places are on the left; those on the line itself go to its northern (or western) side."""
        facing = np.radians(self.left_faces(chainage))
        north, west = np.sin(facing), -np.cos(facing)
        by_compass = np.where(np.abs(north) > 0.01, north > 0, west > 0)
        return np.where(np.abs(offset) > ON_THE_LINE_M, offset > 0, by_compass)

    def sides(self, chainage: np.ndarray, is_left: np.ndarray) -> list[str]:
        """Return the side of each place as people call it, such as "north side"."""
        facing = self.left_faces(chainage) + np.where(is_left, 0, 180)
        return [f"{compass(angle)} side" for angle in facing]

    def place(self, chainage: float) -> shapely.Point:
        """Return the point of the line at a chainage."""
        return shapely.line_interpolate_point(self.line, chainage)

    def _at(self, chainage: np.ndarray) -> np.ndarray:
        within = np.clip(chainage, 0, self.line.length)  # a negative distance would count from the end
        return shapely.get_coordinates(shapely.line_interpolate_point(self.line, within)).reshape(-1, 2)


def compass(degrees: float) -> str:
    """Return the name of a direction given in degrees counter-clockwise from east.

    Examples
    --------
    >>> compass(92.0), compass(-45.0)
    ('north', 'south-east')
    """
    return COMPASS[round(degrees / 45) % 8]


def _one_shape(corridor: Any, crs: Any) -> tuple[Any, pyproj.CRS, str]:
    """Return the geometry of a corridor, its system and its name."""
    if isinstance(corridor, gpd.GeoSeries):
        corridor = corridor.to_frame("geometry")
    if isinstance(corridor, Layer) or not isinstance(corridor, BaseGeometry | pd.Series | gpd.GeoDataFrame):
        corridor = as_layer(corridor, name="corridor").frame
    if isinstance(corridor, gpd.GeoDataFrame):
        if len(corridor) != 1:
            raise InputError(
                f"Invalid corridor: {len(corridor):,} rows. A route sheet is of one corridor; choose it, as in "
                "corridors[corridors['rank'] == 1]."
            )
        shape, row = corridor.geometry.iloc[0], corridor.iloc[0]
        crs = corridor.crs if corridor.crs is not None else crs
    elif isinstance(corridor, pd.Series):
        shape, row = corridor.get("geometry"), corridor
    else:
        shape, row = corridor, pd.Series(dtype=object)
    if crs is None:
        raise InputError(
            "Invalid crs None. A bare line or row does not say its coordinate reference system; give crs=, or a "
            "table of one row, as in corridors.iloc[[0]]."
        )
    return shape, parse_crs(crs), _name(row)


def _name(row: pd.Series) -> str:
    name, start, end = (_text(row.get(key)) for key in ("name", "from_street", "to_street"))
    if not name:
        return "the corridor"
    return f"{name}, {start} to {end}" if start and end else name


def _text(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _metric(system: pyproj.CRS, line: shapely.LineString) -> pyproj.CRS:
    in_metres = system.is_projected and system.axis_info[0].unit_conversion_factor == 1.0
    if in_metres and system.to_epsg() != _WEB_MERCATOR:
        return system
    try:
        return gpd.GeoSeries([line], crs=system).estimate_utm_crs()
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"Invalid corridor. Its coordinates do not fit {system.name}; check for swapped longitude and "
            "latitude, or a wrong crs."
        ) from error
