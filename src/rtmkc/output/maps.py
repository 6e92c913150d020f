"""The parts of a map, one function each: cells, streets, outlines, what is treated, corridors and their labels."""

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import shapely
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.lines import Line2D
from shapely.geometry.base import BaseGeometry

from rtmkc.inputs.layers import as_layer
from rtmkc.output.classes import COLOURS, CORRIDOR, INK, STREET, TREATED
from rtmkc.output.furniture import LANDSCAPE, plain
from rtmkc.output.words import corridor_name, ends_words

if TYPE_CHECKING:
    from rtmkc.raster.grid import Grid

NUMBERED = 10
"""So many places are numbered on a map; more numbers hide what they name."""


def map_size(grid: "Grid", *, legend_lines: int = 6) -> tuple[float, float]:
    """Return width and height of a figure, in inches, that fits a map of the grid and its legend."""
    ratio = grid.n_rows / grid.n_columns
    if ratio < LANDSCAPE:  # the legend stands in two columns below the map
        return 7.4, 1.7 + 0.1 * legend_lines + 7.4 * ratio
    return 7.4, 1.0 + 4.6 * min(ratio, 1.8)


def new_axes(width: float, height: float) -> Axes:
    """Return the Axes of a new figure of so many inches."""
    # By pyplot, so that a notebook shows it and plt.show() finds it; it falls back to Agg without a display.
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(width, height), layout="constrained").add_subplot()


def draw_classes(ax: Axes, grid: "Grid", classes: np.ndarray, alpha: float = 1.0) -> None:
    """Draw every cell in the colour of its class; classes have shape (n_cells,)."""
    raster = np.ma.masked_less(grid.to_raster(classes.astype(int), fill=-1), 0)
    east = grid.west + grid.n_columns * grid.cell_size
    south = grid.north - grid.n_rows * grid.cell_size
    ax.imshow(
        raster, extent=(grid.west, east, south, grid.north), cmap=ListedColormap(COLOURS), vmin=-0.5,
        vmax=len(COLOURS) - 0.5, interpolation="nearest", alpha=alpha, zorder=1,
    )  # fmt: skip


def draw_outline(ax: Axes, grid: "Grid") -> None:
    """Draw the boundary of the study area."""
    draw_lines(ax, [shapely.boundary(grid.area.geometry)], INK, 0.7, zorder=3)


def draw_streets(ax: Axes, grid: "Grid", streets: Any) -> None:
    """Draw streets thinly for orientation, as far as the area's box reaches."""
    if streets is not None:
        lines = shapely.clip_by_rect(layer_shapes(streets, grid), *grid.area.geometry.bounds)
        draw_lines(ax, lines, STREET, 0.35, zorder=2)


def layer_shapes(layer: Any, grid: "Grid") -> np.ndarray:
    """Return the shapes of a layer, of streets, or of a list of these, in the system of a grid."""
    if isinstance(layer, BaseGeometry):  # in the grid's system, as `find_corridors` has it
        return np.array([layer], dtype=object)
    if isinstance(layer, list | tuple):
        parts = [np.empty(0, dtype=object), *(layer_shapes(part, grid) for part in layer)]
        return np.concatenate(parts)
    network = getattr(layer, "network", layer)  # of a StreetRisk
    frame = getattr(network, "segments", None)  # of a StreetNetwork
    if frame is None:
        frame = layer if isinstance(layer, gpd.GeoSeries) else as_layer(layer, name="lines").frame
    shapes: np.ndarray = frame.to_crs(grid.crs).geometry.dropna().to_numpy()
    return shapes


def draw_lines(
    ax: Axes, shapes: Iterable[Any], colour: str, width: float, *, zorder: float, linestyle: Any = "solid"
) -> None:
    """Draw lines, each part of a shape by itself; width in points."""
    parts = shapely.get_parts(shapely.get_parts(np.asarray(list(shapes), dtype=object)))
    lines = [shapely.get_coordinates(part) for part in parts if not part.is_empty]
    ax.add_collection(
        LineCollection(lines, colors=colour, linewidths=width, linestyles=[linestyle], zorder=zorder),
        autolim=False,
    )


def draw_treated(ax: Axes, grid: "Grid", treated: Any) -> Line2D:
    """Draw what is treated already, dashed, and return its line of the legend."""
    return _draw_dashed(ax, grid, treated, TREATED, 2.0, (0, (2, 1)), "treated already, left out")


def draw_excluded(ax: Axes, grid: "Grid", excluded: Any) -> Line2D:
    """Draw what was left out for other reasons, dotted, and return its line of the legend."""
    return _draw_dashed(ax, grid, excluded, INK, 1.4, (0, (1, 1)), "left out")


def _draw_dashed(
    ax: Axes, grid: "Grid", layer: Any, colour: str, width: float, dashes: Any, label: str
) -> Line2D:
    shapes = layer_shapes(layer, grid)
    areal = np.isin(shapely.get_type_id(shapes), [3, 6])
    lines = np.where(areal, shapely.boundary(shapes), shapes)
    draw_lines(ax, lines, colour, width, zorder=6, linestyle=dashes)
    return Line2D([], [], color=colour, linewidth=width, linestyle=dashes, label=label)


def draw_corridors(ax: Axes, grid: "Grid", corridors: gpd.GeoDataFrame) -> np.ndarray:
    """Draw corridors as lines with a white edge, and return the lines in the grid's system."""
    lines = corridors.to_crs(grid.crs).geometry.to_numpy() if len(corridors) else np.array([], dtype=object)
    draw_lines(ax, lines, "white", 4.4, zorder=7)
    draw_lines(ax, lines, CORRIDOR, 2.6, zorder=8)
    return lines


def corridor_line(corridor: Any) -> Line2D:
    """Return the line of the legend of a corridor on a map of other things."""
    label = corridor_label(corridor, f"corridor {corridor['rank']}: ")
    return Line2D([], [], color=CORRIDOR, linewidth=2.6, label=label)


def corridor_label(corridor: Any, before: str = "") -> str:
    """Return the name, ends and length of a corridor in lines that fit a legend."""
    ends = ends_words(corridor)
    name = f"{before}{corridor_name(corridor)}"
    words = f"{name}{', ' if ends else ''}{ends} ({corridor['length_m'] / 1000:.1f} km)"
    return "\n".join(textwrap.wrap(plain(words), 46))
