"""Plots of corridors: the ranked lines on the city's map, and the risk of one of them block by block."""

import textwrap
from collections import Counter
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rtmkc.errors import InputError
from rtmkc.output.classes import COLOURS, CORRIDOR, INK, LABELS, STOP, classify
from rtmkc.output.formats import number
from rtmkc.output.furniture import (
    SMALL,
    TEXT,
    figure_of,
    finish_map,
    number_places,
    plain,
    say_title,
)
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
from rtmkc.output.words import (
    cut,
    expected_words,
    factor_names,
    listed,
    period_words,
    relative_risk,
    short_street,
)
from rtmkc.units import format_length

if TYPE_CHECKING:
    from rtmkc.model.terrain import RiskTerrain
    from rtmkc.raster.grid import Grid

STRIP_SIZE = 7.6, 3.6
"""Inches of the plot of one corridor's blocks."""
CORNER = 24
"""Letters of the name of a cross street."""
LINE = 9.0
"""Height of a line of small text, in points, with room to the next."""
STRAIGHT = 0.8
"""A corridor whose ends are nearer than this share of its length leads in no direction."""
ROOM = 0.33
"""Share of the height of a figure that is left to the bars, at least."""
LETTERS = 17
"""Letters of small text in an inch, less what names beside the bars take."""
MARKED = 5
"""So many factors get a row of marks."""


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


def plot_corridor_strip(
    terrain: "RiskTerrain",
    blocks: gpd.GeoDataFrame,
    *,
    rank: int = 1,
    stops: pd.DataFrame | None = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the risk along one corridor, block by block, between its cross streets.

    Parameters
    ----------
    terrain : RiskTerrain
        The terrain.
    blocks : GeoDataFrame
        From `corridor_blocks`.
    rank : int
        Which corridor.
    stops : DataFrame, optional
        Places along the corridor, with columns chainage_m and factors (names, joined by semicolons);
        those of a column rank that is another corridor's are left out. Each factor gets a row of marks.
    ax : Axes, optional
        Where to draw; a new figure if left out.
    title : str, optional
        Instead of the corridor's name.

    Returns
    -------
    Axes
        Chainage in metres against expected incidents per km of street over the terrain's horizon, so that the area
        of a bar is the block's expected incidents. Dots are the incidents in the data, scaled from their period to
        the horizon. A dashed line is the city's typical street. Without a horizon bars are multiples of it, and
        there are no dots.

    Raises
    ------
    InputError
        If there are no blocks of this rank.
    """
    rows = blocks_of(blocks, rank)
    ax = ax if ax is not None else new_axes(*STRIP_SIZE)
    name = listed(list(dict.fromkeys(rows["name"])))
    ends = f"{rows['from_street'].iloc[0]} to {rows['to_street'].iloc[-1]}"
    say_title(ax, terrain, title or f"Corridor {rank}: {name}, {ends}")
    draw_strip(ax, terrain, rows, stops_of(stops, rank))
    return ax


def blocks_of(blocks: gpd.GeoDataFrame, rank: int) -> gpd.GeoDataFrame:
    """Return the blocks of one corridor, in order.

    Raises
    ------
    InputError
        If there are none.
    """
    rows = blocks[blocks["rank"] == rank].sort_values("order", kind="stable")
    if rows.empty:
        there = ", ".join(map(str, sorted(set(blocks["rank"])))) or "no corridor"
        raise InputError(f"Invalid rank {rank!r}. The blocks are those of {there}. Give one of these.")
    return rows


def stops_of(stops: pd.DataFrame | None, rank: int) -> pd.DataFrame | None:
    """Return the stops of one corridor; a table without ranks is that of one corridor."""
    return stops if stops is None or "rank" not in stops else stops[stops["rank"] == rank]


def draw_strip(
    ax: Axes, terrain: "RiskTerrain", rows: gpd.GeoDataFrame, stops: pd.DataFrame | None = None
) -> None:
    """Draw what `plot_corridor_strip` shows, without title and facts."""
    rated = terrain.horizon_days is not None
    start, length = rows["from_m"].to_numpy(dtype=float), rows["length_m"].to_numpy(dtype=float)
    multiple = rows["city_multiple"].to_numpy(dtype=float)
    height = rows["expected_per_km"].to_numpy(dtype=float) if rated else multiple
    ax.bar(
        start, height, length, align="edge", color=[COLOURS[number] for number in classify(multiple)],
        edgecolor=INK, linewidth=0.6, zorder=2,
    )  # fmt: skip
    way = " ".join([format_length(length.sum()), direction_words(rows.geometry)]).strip()
    said, highest = [f"{way}. Bars: blocks, coloured by x the typical street as on the map"], [height.max()]
    typical = typical_rate(rows) if rated else 1.0
    if np.isfinite(typical):
        ax.axhline(typical, color=INK, linewidth=0.9, linestyle=(0, (4, 2)), zorder=4)
        said.append(f"dashed: the city's typical street ({number(typical) if rated else 'x1'})")
        highest.append(typical)
    seen = observed_rate(terrain, rows)
    if seen is not None:
        ax.plot(start + length / 2, seen, "o", color=CORRIDOR, markersize=4.5, zorder=5)
        years = period_words(terrain.facts["period"])
        said.append(f"dots: incidents in the data ({years}), as in {terrain.horizon}")
        highest.append(seen.max())
    top = max(highest) * 1.06 or 1.0
    ax.set(xlim=(start[0], start[-1] + length[-1]), ylabel=_rate_words(terrain))
    ax.set_ylim(0.0, top)
    ticks = ax.get_yticks()
    ax.set_yticks(ticks[ticks <= top])  # none beside the marks above the bars
    top = _draw_streets_walked(ax, rows, top)
    top = _draw_marks(ax, terrain, stops, top)
    ax.set_ylim(0.0, top)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.tick_params(axis="both", labelsize=TEXT)
    ax.yaxis.label.set(size=TEXT, color=INK)
    words = "; ".join(said) + "."
    letters = int(figure_of(ax).get_figwidth() * LETTERS)
    ax.set_xlabel("\n".join(textwrap.wrap(plain(words), letters)), fontsize=SMALL, color=INK)
    _name_corners(ax, rows)


def _rate_words(terrain: "RiskTerrain") -> str:
    if terrain.horizon_days is None:
        return "x the typical street"
    return f"expected incidents\nper km in {terrain.horizon}"


def direction_words(lines: gpd.GeoSeries) -> str:
    """Return where a chain of lines leads, by its ends; empty where it leads about.

    Examples
    --------
    >>> direction_words(gpd.GeoSeries.from_wkt(["LINESTRING (0 0, 90 5)", "LINESTRING (90 5, 200 0)"]))
    'from west to east'
    """
    (west, south), (east, north) = (
        shapely.get_coordinates(shapely.get_point(lines.iloc[at], at))[0] for at in (0, -1)
    )
    if np.hypot(east - west, north - south) < STRAIGHT * lines.length.sum():
        return ""
    if abs(east - west) >= abs(north - south):
        return "from west to east" if east >= west else "from east to west"
    return "from south to north" if north >= south else "from north to south"


def typical_rate(rows: gpd.GeoDataFrame) -> float:
    """Return the expected incidents per km of the street that city_multiple compares with; NaN if not known."""
    rate, multiple = (rows[name].to_numpy(dtype=float) for name in ("expected_per_km", "city_multiple"))
    known = np.isfinite(multiple) & (multiple > 0)
    return float(np.median(rate[known] / multiple[known])) if known.any() else float("nan")


def observed_rate(terrain: "RiskTerrain", rows: gpd.GeoDataFrame) -> np.ndarray | None:
    """Return the incidents in the data per km, in as many days as are expected for; None if either is not known."""
    days = terrain.facts["period_days"]
    if terrain.horizon_days is None or not days:
        return None
    per_km = 1000.0 * rows["incidents"].to_numpy(dtype=float) / rows["length_m"].to_numpy(dtype=float)
    rate: np.ndarray = per_km * terrain.horizon_days / days
    return rate


def _draw_streets_walked(ax: Axes, rows: gpd.GeoDataFrame, top: float) -> float:
    """Where a corridor turns, mark the corner and name the street on each side; return the new top."""
    names = rows["name"].to_numpy()
    first = np.flatnonzero(np.append(True, names[1:] != names[:-1]))
    if len(first) == 1:
        return top
    starts, end = rows["from_m"].to_numpy(dtype=float)[first], float(rows["to_m"].iloc[-1])
    for left, right, name in zip(starts, [*starts[1:], end], names[first], strict=True):
        if left > starts[0]:
            ax.axvline(left, color=INK, linewidth=0.9, linestyle=(0, (1, 1)), zorder=1)
        room = max(4, int((right - left) / (end - starts[0]) * 90))
        ax.text(
            (left + right) / 2, top * 1.06, plain(short_street(name, room)), ha="center", va="center",
            fontsize=TEXT, fontweight="bold", color=INK,
        )  # fmt: skip
    return top * 1.13


def _draw_marks(ax: Axes, terrain: "RiskTerrain", stops: pd.DataFrame | None, top: float) -> float:
    """Mark above the bars where the stops of each factor are; return the new top."""
    if stops is None or not len(stops):
        return top
    chainage = stops["chainage_m"].to_numpy(dtype=float)
    of_stop = [set(factor_names(words)) for words in stops["factors"]]
    counts = Counter(name for names in of_stop for name in names)
    step = top * max(0.11, LINE / (ROOM * 72 * figure_of(ax).get_figheight()))
    for row, (name, _) in enumerate(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MARKED]):
        here = np.array([name in names for names in of_stop])
        level = top + step * (row + 0.6)
        ax.plot(
            chainage[here], np.full(here.sum(), level), "v", markersize=4.5, color=STOP,
            markeredgewidth=0, alpha=0.7, clip_on=False, zorder=5,
        )  # fmt: skip
        ax.text(
            1.012, level, plain(cut(name, 26)), transform=ax.get_yaxis_transform(),
            va="center", fontsize=SMALL, color=STOP,
        )  # fmt: skip
    return top + step * (min(len(counts), MARKED) + 0.2)


def _name_corners(ax: Axes, rows: gpd.GeoDataFrame) -> None:
    """Write the cross streets under their corners, turned so that none touches another; both ends always."""
    corners = np.append(rows["from_m"].to_numpy(dtype=float)[:1], rows["to_m"].to_numpy(dtype=float))
    streets = [rows["from_street"].iloc[0], *rows["to_street"]]
    names = [plain(short_street(street, CORNER)) if isinstance(street, str) else "" for street in streets]
    ax.set_xticks(corners, names, rotation=45, ha="right", rotation_mode="anchor", fontsize=SMALL)
    figure = figure_of(ax)
    figure.draw_without_rendering()  # settles the layout, so that distances in points are real
    points = (
        ax.transData.transform(np.column_stack([corners, np.zeros_like(corners)]))[:, 0] * 72 / figure.dpi
    )
    steep = np.diff(points).min() < LINE / np.sin(np.pi / 4)
    room, kept = LINE if steep else 0.0, [0]
    for at in range(1, len(points) - 1):
        if points[at] - points[kept[-1]] >= room and points[-1] - points[at] >= room:
            kept.append(at)
    shown = [name if at in {*kept, len(points) - 1} else "" for at, name in enumerate(names)]
    ax.set_xticks(
        corners, shown, rotation=90 if steep else 45, ha="right", va="center" if steep else "top",
        rotation_mode="anchor", fontsize=SMALL,
    )  # fmt: skip
