"""Plots of corridors: the ranked lines on the city's map, one of them close up, and its risk block by block."""

from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import shapely
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rtmkc.output.classes import COLOURS, CORRIDOR, INK, LABELS, classify
from rtmkc.output.furniture import finish_map, number_places
from rtmkc.output.maps import (
    NUMBERED,
    corridor_label,
    draw_classes,
    draw_corridors,
    draw_excluded,
    draw_outline,
    draw_streets,
    draw_treated,
    map_size,
    new_axes,
)
from rtmkc.output.words import expected_words, relative_risk

if TYPE_CHECKING:
    from rtmkc.model.terrain import RiskTerrain
    from rtmkc.raster.grid import Grid


def plot_corridors(
    terrain: "RiskTerrain",
    corridors: gpd.GeoDataFrame,
    *,
    ax: Axes | None = None,
    streets: Any = None,
    treated: Any = None,
    exclude: Any = None,
    scale_bar: bool = True,
    north_arrow: bool = True,
    title: str | None = None,
) -> Axes:
    """Draw the ranked corridors, numbered, over a pale risk map.

    Parameters
    ----------
    terrain : RiskTerrain
        The terrain.
    corridors : GeoDataFrame
        From `find_corridors`.
    ax : Axes, optional
        Where to draw; a new figure if left out.
    streets : layer, optional
        Lines drawn thinly for orientation.
    treated : layer, optional
        What is treated already: dashed.
    exclude : layer, geometry or list of these, optional
        What was left out of the search for other reasons: dotted.
    scale_bar, north_arrow : bool
        Whether to draw them, below the map.
    title : str, optional
        Instead of a sentence saying what is shown.

    Returns
    -------
    Axes
    """
    grid = terrain.grid
    ax = ax if ax is not None else new_axes(*corridors_size(grid, corridors))
    draw_classes(ax, grid, classify(relative_risk(terrain)), alpha=0.5)
    draw_streets(ax, grid, streets)
    draw_outline(ax, grid)
    handles: list[Any] = [
        Patch(facecolor=colour, alpha=0.5, edgecolor=INK, linewidth=0.4, label=label)
        for colour, label in zip(COLOURS, LABELS, strict=True)
    ]
    if treated is not None:
        handles.append(draw_treated(ax, grid, treated))
    if exclude is not None:
        handles.append(draw_excluded(ax, grid, exclude))
    lines = draw_corridors(ax, grid, corridors)
    handles += [_corridor_handle(corridor) for _, corridor in corridors.iloc[:NUMBERED].iterrows()]
    if not len(corridors):
        handles.append(Line2D([], [], color="none", label="no stretch is worth its length"))
    default = f"Next corridors. {expected_words(terrain)}, {grid.area.name}"
    finish_map(ax, terrain, title or default, handles, scale_bar, north_arrow)
    if len(lines):
        middles = shapely.get_coordinates(
            shapely.line_interpolate_point(_longest_part(lines), 0.5, normalized=True)
        )
        number_places(ax, middles[:NUMBERED], corridors["rank"].tolist()[:NUMBERED], away=False)
    return ax


def corridors_size(grid: "Grid", corridors: gpd.GeoDataFrame) -> tuple[float, float]:
    """Return width and height of a figure, in inches, that fits a map of corridors and their names."""
    return map_size(grid, legend_lines=6 + 2 * min(len(corridors), NUMBERED))


def _longest_part(lines: np.ndarray) -> np.ndarray:
    parts = [max(shapely.get_parts(line), key=lambda part: part.length) for line in lines]
    return np.array(parts, dtype=object)


def _corridor_handle(corridor: Any) -> Line2D:
    return Line2D(
        [], [], color="none", marker=f"${corridor['rank']}$", markersize=6.5, markerfacecolor=CORRIDOR,
        markeredgecolor=CORRIDOR, markeredgewidth=0.4, label=corridor_label(corridor),
    )  # fmt: skip
