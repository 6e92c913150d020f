"""StudyArea: the polygon that is studied, in metres."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyproj
import shapely
from shapely.geometry.base import BaseGeometry

from rtmkc.errors import InputError
from rtmkc.inputs.layers import as_layer, read_layer

WEB_MERCATOR = 3857


@dataclass(frozen=True)
class StudyArea:
    """The area that is studied: a polygon in a projected system whose unit is the metre.

    Make one with `from_file` or `from_geometry`, which choose the projection and say so.

    Attributes
    ----------
    geometry : Polygon or MultiPolygon
        Valid, in metres.
    crs : pyproj.CRS
        Projected, in metres.
    name : str
        For titles.
    notes : tuple of str
        What was decided when the area was made.
    source, sha256 : str or None
        The file it came from and its hash.

    Examples
    --------
    >>> import shapely
    >>> area = StudyArea.from_geometry(shapely.box(0, 0, 300, 200), crs="EPSG:26915")
    >>> area.area_m2
    60000.0
    """

    geometry: BaseGeometry
    crs: pyproj.CRS
    name: str = "study area"
    notes: tuple[str, ...] = ()
    source: str = "memory"
    sha256: str | None = None

    @property
    def area_m2(self) -> float:
        """Area in square metres."""
        return float(self.geometry.area)

    @classmethod
    def from_file(
        cls, path: str | Path, *, name: str | None = None, crs: Any = None, study_crs: Any = None
    ) -> "StudyArea":
        """Read the boundary from any polygon file; several polygons are united.

        Parameters
        ----------
        path : path
            GeoJSON, GeoPackage, Shapefile, GeoParquet ...
        name : str, optional
            What the area is called in titles; default the name of the file.
        crs : optional
            The system of the file, if the file does not say.
        study_crs : optional
            The projected system to work in. Default: the system of the file if it is projected in
            metres, else the UTM zone of the area.

        Raises
        ------
        InputError
            If the file has no polygons or no system, or `study_crs` is geographic or EPSG:3857.
        """
        return cls.from_layer(read_layer(path, name=name or Path(path).stem, crs=crs), study_crs=study_crs)

    @classmethod
    def from_layer(cls, layer: Any, *, study_crs: Any = None) -> "StudyArea":
        """Unite the polygons of a layer or GeoDataFrame; see `from_file`."""
        layer = as_layer(layer, name="study area")
        polygons = layer.frame.geometry[layer.frame.geom_type.isin(["Polygon", "MultiPolygon"])]
        if polygons.empty:
            found = ", ".join(sorted(set(layer.frame.geom_type))) or "nothing"
            raise InputError(
                f"Invalid boundary {layer.source!r}. A study area is made of polygons, and the layer holds: {found}."
            )
        united = shapely.union_all(shapely.make_valid(polygons.to_numpy()))
        area = cls.from_geometry(united, crs=layer.frame.crs, study_crs=study_crs, name=layer.name)
        return cls(area.geometry, area.crs, area.name, layer.notes + area.notes, layer.source, layer.sha256)

    @classmethod
    def from_geometry(
        cls, geometry: BaseGeometry, *, crs: Any, study_crs: Any = None, name: str = "study area"
    ) -> "StudyArea":
        """Make a study area of a polygon in the system `crs`; see `from_file`."""
        if crs is None:
            raise InputError(
                "Invalid crs None. The boundary has no coordinate reference system; "
                "name it, for example crs='EPSG:4326' for longitude and latitude."
            )
        frame = gpd.GeoSeries([shapely.make_valid(geometry)], crs=crs)
        notes: list[str] = []
        if study_crs is None and _is_metric(frame.crs):
            target = pyproj.CRS(frame.crs)
        elif study_crs is None:
            if frame.crs.to_epsg() == WEB_MERCATOR:
                raise InputError(
                    "Invalid study crs 'EPSG:3857'. Its metres are stretched (29 % at 39 degrees north); "
                    "name a projected system in metres with study_crs=, such as the UTM zone of the city."
                )
            target = frame.estimate_utm_crs()
            notes.append(
                f"projected from {frame.crs.name} to {target.name} ({target.to_string()}), in metres"
            )
        else:
            target = pyproj.CRS(study_crs)
            if target.to_epsg() == WEB_MERCATOR or not _is_metric(target):
                raise InputError(
                    f"Invalid study_crs {target.to_string()!r}. The study needs a projected system in metres other "
                    "than EPSG:3857; leave it out to let the UTM zone of the area be chosen."
                )
        geometry = _only_polygons(frame.to_crs(target).iloc[0])
        if geometry.is_empty or geometry.area <= 0:
            raise InputError("Invalid boundary. It has no area; a study area is made of polygons.")
        if not np.all(np.isfinite(geometry.bounds)):
            raise InputError(
                "Invalid boundary. Its coordinates do not fit its coordinate reference system; check for swapped "
                "longitude and latitude, or a wrong crs."
            )
        return cls(geometry, target, name, tuple(notes))

    def __repr__(self) -> str:
        return f"StudyArea({self.name!r}, {self.area_m2 / 1e6:,.1f} km2, {self.crs.to_string()})"

    def without_small_holes(self, smallest_m2: float) -> tuple["StudyArea", int]:
        """Close the holes smaller than an area, and say how many they were."""
        closed, parts = 0, []
        for polygon in shapely.get_parts(self.geometry):
            holes = [shapely.Polygon(ring) for ring in polygon.interiors]
            kept = [hole.exterior for hole in holes if hole.area >= smallest_m2]
            closed += len(holes) - len(kept)
            parts.append(shapely.Polygon(polygon.exterior, kept))
        geometry = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
        return replace(self, geometry=geometry), closed


def _is_metric(crs: pyproj.CRS) -> bool:
    crs = pyproj.CRS(crs)
    return (
        crs.is_projected and crs.to_epsg() != WEB_MERCATOR and crs.axis_info[0].unit_conversion_factor == 1.0
    )


def _only_polygons(geometry: BaseGeometry) -> BaseGeometry:
    parts = shapely.get_parts(geometry)
    return shapely.union_all(parts[np.isin(shapely.get_type_id(parts), [3, 6])])
