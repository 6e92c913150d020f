"""A corridor close up: its blocks, the streets around it with their names, and the places to visit."""

from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from shapely import affinity

from rtmkc.errors import InputError
from rtmkc.inputs.layers import as_layer
from rtmkc.output.classes import BLOCK_LABELS, COLOURS, CORRIDOR, INK, STOP, STREET, classify
from rtmkc.output.furniture import SMALL, TEXT, figure_of, frame_map, number_places, plain, say_title
from rtmkc.output.maps import corridor_label, draw_lines, draw_treated, layer_shapes, new_axes
from rtmkc.output.plots_corridors import blocks_of, stops_of
from rtmkc.output.words import short_street

if TYPE_CHECKING:
    from rtmkc.model.terrain import RiskTerrain
    from rtmkc.raster.grid import Grid

MARGIN_M = 150.0
"""What is shown around a corridor at least."""
NAMED = 40
"""So many streets around a corridor are tried for a name."""
ASIDE = 0.015
"""How far from the line a place stands that has no point of its own, as a share of the view's width."""
UNSURE = "#7b8794"


def plot_corridor(
    terrain: "RiskTerrain",
    corridors: gpd.GeoDataFrame,
    rank: int = 1,
    *,
    blocks: gpd.GeoDataFrame | None = None,
    streets: Any = None,
    stops: pd.DataFrame | None = None,
    treated: Any = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw one corridor close up, among the streets around it.

    Parameters
    ----------
    terrain : RiskTerrain
        The terrain.
    corridors : GeoDataFrame
        From `find_corridors`; others in view are drawn thinly, with their rank.
    rank : int
        Which corridor.
    blocks : GeoDataFrame, optional
        From `corridor_blocks`: each in the colour of its multiple of the city's typical street.
    streets : StreetNetwork, StreetRisk or layer, optional
        Lines around; those of a column name are named, cross streets of the corridor first.
    stops : DataFrame, optional
        Places along the corridor, with a column chainage_m, or points.
    treated : layer, optional
        What is treated already: dashed.
    ax : Axes, optional
        Where to draw; a new figure if left out.
    title : str, optional
        Instead of the corridor's name.

    Returns
    -------
    Axes

    Raises
    ------
    InputError
        If there is no corridor of this rank.
    """
    corridor = corridor_of(corridors, rank)
    ax = ax if ax is not None else new_axes(7.0, 6.6)
    say_title(ax, terrain, title or f"Corridor {rank}: {corridor_label(corridor)}".replace("\n", " "))
    rows = None if blocks is None else blocks_of(blocks, rank)
    handles = draw_close_up(
        ax,
        terrain,
        corridors,
        rank,
        blocks=rows,
        streets=streets,
        stops=stops_of(stops, rank),
        treated=treated,
    )
    ax.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0.0, -0.01), ncols=2, frameon=False, fontsize=TEXT,
        borderaxespad=0.0,
    )  # fmt: skip
    return ax


def corridor_of(corridors: gpd.GeoDataFrame, rank: int) -> Any:
    """Return the row of one corridor.

    Raises
    ------
    InputError
        If there is none of this rank.
    """
    found = corridors[corridors["rank"] == rank]
    if found.empty:
        ranks = ", ".join(map(str, corridors["rank"])) or "none"
        raise InputError(f"Invalid rank {rank!r}. Ranks of these corridors: {ranks}. Give one of them.")
    return found.iloc[0]


def draw_close_up(
    ax: Axes,
    terrain: "RiskTerrain",
    corridors: gpd.GeoDataFrame,
    rank: int,
    *,
    blocks: gpd.GeoDataFrame | None = None,
    streets: Any = None,
    stops: pd.DataFrame | None = None,
    treated: Any = None,
    shape: float = 1.0,
) -> list[Any]:
    """Draw what `plot_corridor` shows, `shape` times as high as wide, and return the entries of its legend."""
    grid = terrain.grid
    lines = corridors.to_crs(grid.crs).geometry
    line = lines[corridors["rank"] == rank].iloc[0]
    bounds = _view(line, shape)
    frame_map(ax, bounds)
    view = shapely.box(*bounds)
    handles: list[Any] = []
    if streets is not None:
        draw_lines(ax, shapely.clip_by_rect(layer_shapes(streets, grid), *bounds), STREET, 0.7, zorder=2)
    if treated is not None:
        seen = [part for part in shapely.intersection(layer_shapes(treated, grid), view) if not part.is_empty]
        handles += [draw_treated(ax, grid, seen)] if seen else []
    others = corridors["rank"] != rank
    draw_lines(ax, shapely.intersection(lines[others].to_numpy(), view), CORRIDOR, 1.6, zorder=6)
    for number_of, other in zip(corridors.loc[others, "rank"], lines[others], strict=True):
        if not (part := other.intersection(view)).is_empty:
            place = shapely.get_coordinates(part.interpolate(0.5, normalized=True))[0]
            number_places(ax, place[None], [number_of], away=False)
    draw_lines(ax, [line], INK, 6.0, zorder=7)
    if blocks is None:
        draw_lines(ax, [line], CORRIDOR, 4.4, zorder=8)
    else:
        classes = classify(blocks["city_multiple"].to_numpy(dtype=float))
        shapes = blocks.to_crs(grid.crs).geometry.to_numpy()
        for level in np.unique(classes):
            draw_lines(ax, shapes[classes == level], COLOURS[level], 4.4, zorder=8)
        corners = shapely.get_coordinates(shapely.get_point(shapes, 0))
        ax.plot(
            corners[1:, 0], corners[1:, 1], "o", markersize=2.6, color="white", markeredgecolor=INK,
            markeredgewidth=0.6, zorder=9,
        )  # fmt: skip
        handles += [
            Patch(facecolor=colour, edgecolor=INK, linewidth=0.4, label=label)
            for colour, label in zip(COLOURS, BLOCK_LABELS, strict=True)
        ]
    if stops is not None and len(stops):
        aside = ASIDE * (bounds[2] - bounds[0])
        ax.plot(
            *_points_of(stops, line, grid, aside).T,
            "o",
            markersize=2.6,
            color=STOP,
            markeredgewidth=0,
            zorder=10,
        )
        handles.append(
            Line2D([], [], color=STOP, marker="o", markersize=3, linestyle="", label="place to visit")
        )
    if streets is not None:
        _name_streets(ax, streets, grid, lines, bounds, blocks)
    return handles


def _view(line: shapely.LineString, shape: float) -> tuple[float, float, float, float]:
    """Return west, south, east, north around a line, `shape` times as high as wide."""
    west, south, east, north = line.bounds
    margin = max(0.1 * max(east - west, north - south), MARGIN_M)
    width, height = east - west + 2 * margin, north - south + 2 * margin
    width, height = max(width, height / shape), max(height, width * shape)
    middle_east, middle_north = (west + east) / 2, (south + north) / 2
    return (
        middle_east - width / 2, middle_north - height / 2, middle_east + width / 2, middle_north + height / 2,
    )  # fmt: skip


def _points_of(stops: pd.DataFrame, line: shapely.LineString, grid: "Grid", aside: float) -> np.ndarray:
    """Return where stops are: their own points, else so many metres beside the line, on their side of it."""
    if isinstance(stops, gpd.GeoDataFrame):
        places = stops.to_crs(grid.crs).geometry.dropna().representative_point().to_numpy()
    else:
        chainage = stops["chainage_m"].to_numpy(dtype=float)
        places = shapely.line_interpolate_point(line, chainage)
        if "side" in stops:
            ahead = shapely.line_interpolate_point(line, np.minimum(chainage + 1, line.length))
            back = shapely.line_interpolate_point(line, np.maximum(chainage - 1, 0.0))
            along = shapely.get_coordinates(ahead) - shapely.get_coordinates(back)
            left = np.column_stack([-along[:, 1], along[:, 0]]) / np.hypot(*along.T)[:, None]
            side = np.where(stops["side"].astype(str).str.upper().str.startswith("L"), 1.0, -1.0)
            return np.asarray(shapely.get_coordinates(places) + aside * side[:, None] * left)
    points: np.ndarray = shapely.get_coordinates(places)
    return points


def _name_streets(
    ax: Axes,
    streets: Any,
    grid: "Grid",
    lines: gpd.GeoSeries,
    bounds: tuple[float, float, float, float],
    blocks: gpd.GeoDataFrame | None,
) -> None:
    """Write the names of streets along them, the corridor's own and its cross streets first, none over another."""
    frame = named_streets(streets, grid)
    if frame is None:
        return
    near = frame[frame["name"].notna() & frame.intersects(shapely.box(*bounds))]
    of_corridor = [] if blocks is None else [*blocks["name"], *blocks["from_street"], *blocks["to_street"]]
    first = {name: place for place, name in reversed(list(enumerate(of_corridor)))}
    clipped = near.geometry.clip_by_rect(*bounds)
    longest = clipped.length.groupby(near["name"]).sum()
    names = sorted(longest.index, key=lambda name: (first.get(name, len(first) + 1), -longest[name], name))
    figure = figure_of(ax)
    figure.draw_without_rendering()
    scale = 72 / figure.dpi

    def to_points(coordinates: np.ndarray) -> np.ndarray:
        return np.asarray(ax.transData.transform(coordinates) * scale)

    frame_of_view = shapely.box(*to_points(np.array([bounds[:2], bounds[2:]])).ravel())
    taken = [shapely.transform(line, to_points).buffer(5.0) for line in lines]
    for name in names[:NAMED]:
        merged = shapely.transform(
            shapely.line_merge(shapely.union_all(clipped[near["name"] == name])), to_points
        )
        label = short_street(str(name))
        box, middle, angle = _place_along(merged, 0.64 * SMALL * len(label), taken, frame_of_view)
        if box is None:
            continue
        taken.append(box)
        place = ax.transData.inverted().transform(np.asarray(middle) / scale)
        ax.text(
            place[0], place[1], plain(label), rotation=angle, rotation_mode="anchor", ha="center", va="center", fontsize=SMALL,
            color=INK if name in first else UNSURE, fontweight="bold" if name in first else "normal", zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.75},
        )  # fmt: skip


def named_streets(streets: Any, grid: "Grid") -> gpd.GeoDataFrame | None:
    """Return street lines with a column name, in the system of a grid; None if they have no names."""
    network = getattr(streets, "network", streets)
    frame = getattr(network, "segments", None)
    frame = as_layer(streets, name="streets").frame if frame is None else frame
    return frame.to_crs(grid.crs) if "name" in frame.columns else None


def _place_along(
    merged: shapely.Geometry, width: float, taken: list[shapely.Geometry], view: shapely.Geometry
) -> tuple[shapely.Geometry | None, tuple[float, float], float]:
    """Return the box of a name along a line, its middle and angle: where it lies on nothing else; all in points."""
    parts = sorted(shapely.get_parts(merged), key=lambda part: -part.length)
    for part in parts[:4]:
        for share in (0.5, 0.3, 0.7, 0.15, 0.85):
            at = share * part.length
            ends = [part.interpolate(min(max(at + side * width / 2, 0), part.length)) for side in (-1, 1)]
            angle = np.degrees(np.arctan2(ends[1].y - ends[0].y, ends[1].x - ends[0].x))
            angle = 90 - (90 - angle) % 180  # read from below or from the right
            middle = part.interpolate(at)
            box = shapely.box(-width / 2, -0.55 * SMALL, width / 2, 0.55 * SMALL)
            box = affinity.translate(affinity.rotate(box, angle, origin=(0, 0)), middle.x, middle.y)
            if view.contains(box) and not any(box.intersects(other) for other in taken):
                return box, (middle.x, middle.y), float(angle)
    return None, (0.0, 0.0), 0.0
