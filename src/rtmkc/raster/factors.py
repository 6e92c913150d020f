"""RiskFactor: what is measured of a layer, how far, and in which direction it may act."""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import geopandas as gpd
import numpy as np
import shapely
from scipy.spatial import cKDTree

from rtmkc.checks import check_choice
from rtmkc.errors import InputError
from rtmkc.inputs.layers import Layer, as_layer
from rtmkc.inputs.rasters import RasterLayer, as_raster, is_raster
from rtmkc.raster.grid import Grid
from rtmkc.raster.pixels import MeasuredRaster, measure_raster
from rtmkc.raster.tiles import Frame
from rtmkc.units import format_length, parse_length

Kind = Literal["proximity", "density", "both", "auto", "value"]
Increment = Literal["half", "whole"]
Direction = Literal["aggravating", "protective", "either"]
GUARDED_PROVENANCES = ("policing", "person")


@dataclass(frozen=True, eq=False)
class RiskFactor:
    """A feature of the environment that may raise or lower risk nearby.

    Parameters
    ----------
    name : str
        What people call it, such as "poor lighting".
    layer : Layer, RasterLayer, path, GeoDataFrame or DataFrame
        Where the features are: points, lines or polygons; or a raster of what is measured everywhere.
    kind : {"both", "proximity", "density", "auto", "value"}
        Proximity: a cell is exposed if its centre is within the distance of a feature. Density: if the
        features around it are unusually dense. "auto" chooses by a nearest-neighbour analysis. Value: if the
        mean of a raster in the cell is high; a raster is always measured so.
    max_influence : length
        How far the factor is looked at, and how far beyond the boundary its features are read. It plays no
        part for a raster, whose value in the cell itself counts.
    increment : {"half", "whole"}
        Step of the distances that are tried, in blocks.
    direction : {"aggravating", "protective", "either"}
        Which sign its weight may have.
    allow_provenance : {"policing", "person"}, optional
        Layers made by enforcement, or about persons, are refused unless this names what they are.

    Examples
    --------
    >>> RiskFactor("bars", "bars.csv", kind="proximity", max_influence="2 blocks").kind
    'proximity'
    """

    name: str
    layer: Any
    kind: Kind = "both"
    max_influence: float | str = "3 blocks"
    increment: Increment = "half"
    direction: Direction = "aggravating"
    allow_provenance: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise InputError(
                f"Invalid factor name {self.name!r}. Give every factor a name for its tables and maps."
            )
        check_choice(f"kind of factor {self.name!r}", self.kind, get_args(Kind))
        check_choice(f"increment of factor {self.name!r}", self.increment, get_args(Increment))
        check_choice(f"direction of factor {self.name!r}", self.direction, get_args(Direction))
        # A wrong unit is said now, not when the factor is measured; any block length will do to read it.
        parse_length(self.max_influence, name=f"max_influence of factor {self.name!r}", block_length=1.0)
        if self.allow_provenance is not None:
            check_choice(
                f"allow_provenance of factor {self.name!r}", self.allow_provenance, GUARDED_PROVENANCES
            )

    def opened(self) -> "RiskFactor":
        """Return the factor with its layer read, so that it is read once however often it is measured.

        Raises
        ------
        InputError
            If the layer cannot be read.
        """
        read = as_raster if is_raster(self.layer) else as_layer
        return replace(self, layer=read(self.layer, name=self.name))

    def influences(self, grid: Frame) -> list[float]:
        """Return the distances that are tried on a grid, in metres, shortest first.

        Steps of half a block or a block up to `max_influence`; on a grid without a block length the
        cell stands for half a block.
        """
        longest = self.reach(grid)
        half = grid.block_length / 2 if grid.block_length else grid.cell_size
        step = half if self.increment == "half" else 2 * half
        distances = [step * number for number in range(1, int(longest / step + 1e-9) + 1)]
        if not distances or longest - distances[-1] > 1e-6 * step:
            distances.append(longest)
        return distances

    def reach(self, grid: Frame) -> float:
        """Return `max_influence` in metres on a grid."""
        return parse_length(
            self.max_influence, name=f"max_influence of factor {self.name!r}", block_length=grid.block_length
        )

    def _check_provenance(self, layer: Layer | RasterLayer) -> None:
        if layer.provenance in GUARDED_PROVENANCES and self.allow_provenance != layer.provenance:
            raise InputError(
                f"Invalid factor {self.name!r}. Its layer is of provenance {layer.provenance!r}: it shows where police "
                f"act or persons live, and feeds that back. Leave it out, or say allow_provenance={layer.provenance!r}."
            )

    def features(self, grid: Frame) -> "Features":
        """Read the features within reach of the study area, in the grid's system, or the pixels over a `Grid`.

        Raises
        ------
        InputError
            If the layer was made by enforcement or is about persons and the factor does not allow it,
            or if nothing of it lies within reach.
        """
        if is_raster(self.layer):
            if not isinstance(grid, Grid):
                raise InputError(
                    f"Invalid factor {self.name!r}. Its layer is a raster, which is measured on a Grid in memory and not "
                    "strip by strip; leave it out, or make a Grid."
                )
            raster = as_raster(self.layer, name=self.name)
            self._check_provenance(raster)
            measured = measure_raster(grid, raster)
            return Features(measured.layer, len(measured.layer), 0, measured)
        layer = as_layer(self.layer, name=self.name)
        self._check_provenance(layer)
        if not len(layer):
            raise InputError(
                f"Invalid factor {self.name!r}. Its layer {layer.source!r} has no features left: {layer.ledger.sentence()}"
            )
        projected = layer.to_crs(grid.crs)
        shapes = projected.frame.geometry.to_numpy()
        outline = grid.area.geometry
        shapely.prepare(outline)
        inside = shapely.intersects(outline, shapes)
        near = inside.copy()
        near[~inside] = shapely.dwithin(shapes[~inside], outline, self.reach(grid))
        if not near.any():
            raise InputError(
                f"Invalid factor {self.name!r}. None of its {len(layer):,} features lies within "
                f"{format_length(self.reach(grid))} of the study area; check its coordinate reference system."
            )
        kept = projected.keep(near, f"farther than {format_length(self.reach(grid))} from the study area")
        return Features(kept, int(inside.sum()), int(near.sum() - inside.sum()))

    def resolve_kind(self, features: "Features", grid: Grid) -> tuple[tuple[str, ...], str | None]:
        """Return the kinds to measure, and for "auto" and rasters the sentence that says why.

        Raises
        ------
        InputError
            If the kind is not one that the layer can be measured by.

        Notes
        -----
        The rule of the RTMDx manual (appendix B): density if the points are significantly clustered and
        their observed mean nearest-neighbour distance is within the maximum influence, else proximity.
        Significance is that of Clark and Evans (1954), one-sided 5 %.
        """
        is_value = features.raster is not None
        if is_value != (self.kind == "value") and not (is_value and self.kind in ("both", "auto")):
            rule = (
                "Its layer is a raster, which has values everywhere and no features; say kind='value'"
                if is_value
                else "Its layer has features and no pixels; say 'proximity', 'density', 'both' or 'auto'"
            )
            raise InputError(f"Invalid kind {self.kind!r} of factor {self.name!r}. {rule}.")
        if features.raster is not None:
            empty = int(np.isnan(features.raster.mean).sum())
            lacking = f"; {empty:,} cells without data count as low" if empty else ""
            return ("value",), f"{self.name}: the mean of the raster in each cell, by area{lacking}"
        if self.kind in ("proximity", "density"):
            return (self.kind,), None
        if self.kind == "both":
            return ("proximity", "density"), None
        geometries = features.frame.geometry.to_numpy()
        if len(geometries) < 3 or not np.all(shapely.get_type_id(geometries) == 0):
            return (
                "proximity",
            ), f"{self.name}: proximity, as a nearest-neighbour analysis needs three points or more"
        ratio, z_score, observed = nearest_neighbour(shapely.get_coordinates(geometries), grid.area.area_m2)
        kind = "density" if z_score < -1.645 and observed <= self.reach(grid) else "proximity"
        return (kind,), (
            f"{self.name}: {kind}, as the mean distance between neighbours is {format_length(observed)}, "
            f"{ratio:.2f} of what chance would give (z {z_score:.1f})"
        )


@dataclass(frozen=True, eq=False)
class Features:
    """The features of a factor within reach of a study area, or the pixels over it."""

    layer: Layer | RasterLayer
    n_inside: int
    n_beyond: int
    raster: MeasuredRaster | None = None

    @property
    def frame(self) -> gpd.GeoDataFrame:
        """The features in the grid's system; a raster has none."""
        if isinstance(self.layer, RasterLayer):
            raise InputError(f"Invalid layer {self.layer.name!r}. It is a raster, which has no features.")
        return self.layer.frame


def nearest_neighbour(coordinates: np.ndarray, area_m2: float) -> tuple[float, float, float]:
    """Return the Clark-Evans ratio, its z score, and the observed mean distance in metres.

    Notes
    -----
    Clark and Evans (1954): expected distance ``0.5 / sqrt(n / A)``, standard error
    ``0.26136 / sqrt(n^2 / A)``. No edge correction.
    """
    distances, _ = cKDTree(coordinates).query(coordinates, k=2)
    observed, number = float(distances[:, 1].mean()), len(coordinates)
    expected = 0.5 / np.sqrt(number / area_m2)
    z_score = (observed - expected) / (0.26136 / np.sqrt(number**2 / area_m2))
    return observed / expected, float(z_score), observed
