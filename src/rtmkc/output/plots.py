"""Plots: one result type in, Axes out; nothing is computed here but the classes of the legend."""

import textwrap
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import shapely
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from rtmkc.model.guarded.recipe import LEVEL
from rtmkc.model.weights import IN_MODEL, UNDECIDED
from rtmkc.output.classes import (
    COLOURS,
    CORRIDOR,
    INK,
    area_of_classes,
    classify,
    legend_labels,
)
from rtmkc.output.furniture import SMALL, TEXT, figure_of, finish_map, number_places, plain, say_title
from rtmkc.output.maps import (
    NUMBERED,
    corridor_line,
    draw_classes,
    draw_corridors,
    draw_lines,
    draw_outline,
    draw_streets,
    draw_treated,
    map_size,
    new_axes,
)
from rtmkc.output.weights import (
    chance_of,
    chance_words,
    doubts,
    extent_words,
    in_model,
    none_of,
    patches_sentence,
)
from rtmkc.output.words import (
    expected_words,
    interval_words,
    reach_words,
    relative_risk,
    times,
)

if TYPE_CHECKING:
    from rtmkc.model.terrain import RiskTerrain
    from rtmkc.raster.grid import Grid

OTHER_ROW = 0.5
"""Height of the row of a factor without a weight, in rows of those with one."""
UNSURE, WARNING = "#7b8794", "#b44d12"


def plot_risk(
    terrain: "RiskTerrain",
    *,
    by: str = "expected",
    ax: Axes | None = None,
    hotspots: gpd.GeoDataFrame | None = None,
    streets: Any = None,
    corridors: gpd.GeoDataFrame | None = None,
    treated: Any = None,
    scale_bar: bool = True,
    north_arrow: bool = True,
    title: str | None = None,
) -> Axes:
    """Draw the risk map in multiples of the city's average.

    Parameters
    ----------
    terrain : RiskTerrain
        The terrain.
    by : {"expected", "rrs"}
        Expected incidents (where next) or relative risk score (why here).
    ax : Axes, optional
        Where to draw; a new figure if left out.
    hotspots : GeoDataFrame, optional
        Cells or areas from `find_hotspots`: outlined, the first ten numbered by rank.
    streets : layer, optional
        Lines drawn thinly for orientation.
    corridors : GeoDataFrame, optional
        From `find_corridors`: drawn, and named in the legend.
    treated : layer, optional
        What is treated already: dashed.
    scale_bar, north_arrow : bool
        Whether to draw them, below the map.
    title : str, optional
        Instead of a sentence saying what is shown.

    Returns
    -------
    Axes

    Raises
    ------
    NoFactorError
        For "rrs" when no factor is in the model.

    Notes
    -----
    The classes are the same for every terrain, so that two maps can be compared; the legend says how much of
    the study area is in each. North is grid north.
    """
    classes = classify(relative_risk(terrain, by))
    what = expected_words(terrain) if by == "expected" else "Relative risk score, from the factors alone"
    ax = ax if ax is not None else new_axes(*map_size(terrain.grid))
    draw_classes(ax, terrain.grid, classes)
    draw_streets(ax, terrain.grid, streets)
    draw_outline(ax, terrain.grid)
    handles: list[Any] = [
        Patch(facecolor=colour, edgecolor=INK, linewidth=0.4, label=label)
        for colour, label in zip(
            COLOURS, legend_labels(area_of_classes(classes, terrain.grid.share).tolist()), strict=True
        )
    ]
    first = None
    if hotspots is not None and len(hotspots):
        places = hotspots.to_crs(terrain.grid.crs)
        first = places.iloc[:NUMBERED]
        # Outlines of cells smaller than their line would bury the colours below.
        outlined = places if _cell_points(ax, terrain.grid) >= 2 else first
        outline = shapely.boundary(shapely.union_all(outlined.geometry.to_numpy()))
        draw_lines(ax, [outline], INK, 0.9, zorder=5)
        handles.append(
            Line2D([], [], color=INK, linewidth=0.9, label=_hotspot_label(hotspots, len(outlined)))
        )
    if treated is not None:
        handles.append(draw_treated(ax, terrain.grid, treated))
    if corridors is not None and len(corridors):
        draw_corridors(ax, terrain.grid, corridors)
        handles += [corridor_line(corridor) for _, corridor in corridors.iloc[:NUMBERED].iterrows()]
    finish_map(ax, terrain, title or f"{what}, {terrain.grid.area.name}", handles, scale_bar, north_arrow)
    if first is not None:
        middles = shapely.get_coordinates(first.geometry.representative_point().to_numpy())
        number_places(ax, middles, first["rank"].tolist(), away=True)
    return ax


def plot_weights(terrain: "RiskTerrain", *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """Draw the relative risk values with their 95 % intervals.

    Parameters
    ----------
    terrain : RiskTerrain
        The terrain.
    ax : Axes, optional
        Where to draw; a new figure if left out.
    title : str, optional
        Instead of a sentence saying what is shown.

    Returns
    -------
    Axes
        On a log axis: x2 is as far from 1 as x0.5. Factors that are not decided have an open mark at 1, those not in
        the model only their name, in grey. Without a factor in the model it says so.
    """
    weights = in_model(terrain)
    ax = ax if ax is not None else new_axes(*weights_size(terrain))
    say_title(ax, terrain, title or f"What the environment has to do with it, {terrain.grid.area.name}")
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    if weights.empty:
        ax.set_axis_off()
        words = "\n".join(["No significant factor.", *textwrap.wrap(plain(f"{none_of(terrain)}."), 60)])
        ax.text(0.5, 0.5, words, ha="center", va="center", fontsize=11, color=INK, transform=ax.transAxes)
        return ax
    others = terrain.weights[terrain.weights["status"] != IN_MODEL].sort_values("status", kind="stable")
    rows = -np.arange(len(weights), dtype=float)
    below = rows[-1] - 0.8 - OTHER_ROW * np.arange(len(others))
    _draw_intervals(ax, weights, rows)
    _draw_chances(ax, [chance_of(terrain, weight) for _, weight in weights.iterrows()], rows)
    _draw_others(ax, others, below)
    ax.axvline(1.0, color=INK, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
    labels = [_factor_label(weight, terrain.grid.block_length) for _, weight in weights.iterrows()]
    names = [textwrap.shorten(plain(name), 34, placeholder=" ...") for name in others["factor"]]
    ax.set_yticks([*rows, *below], [*labels, *names])
    for label in ax.get_yticklabels()[len(rows) :]:
        label.set_color(UNSURE)
    ax.tick_params(axis="y", length=0, labelsize=TEXT)
    ax.tick_params(axis="x", labelsize=TEXT)
    ax.set_ylim(min([rows[-1], *below]) - 0.6, 0.6)
    notes = [patches_sentence(terrain.facts), doubts(terrain)]
    said = [
        "relative risk value (RRV) and 95 % interval: times the incidents of places without it; log scale",
        *(plain(line) for note in notes for line in textwrap.wrap(note, 112)),
    ]
    ax.set_xlabel("\n".join(said), fontsize=TEXT, color=INK)
    return ax


def _draw_chances(ax: Axes, chances: list[float], rows: np.ndarray) -> None:
    """Write below each value how often shifted maps fit as well; in bold where that may be chance."""
    for row, chance in zip(rows, chances, strict=True):
        ax.annotate(
            f"p of shifts {chance_words(chance)}", (1.01, row), xycoords=ax.get_yaxis_transform(), xytext=(0, -9),
            textcoords="offset points", va="center", fontsize=SMALL, color=UNSURE if chance <= LEVEL else WARNING,
            fontweight="normal" if chance <= LEVEL else "bold",
        )  # fmt: skip


def _draw_others(ax: Axes, others: Any, rows: np.ndarray) -> None:
    """Name the factors without a weight: an open mark at 1 where nothing is decided, none where it is not in."""
    for row, status in zip(rows, others["status"], strict=True):
        if status == UNDECIDED:
            ax.plot(1.0, row, "o", markerfacecolor="white", markeredgecolor=UNSURE, markersize=6, zorder=3)
        ax.text(
            1.01, row, status, transform=ax.get_yaxis_transform(), va="center", fontsize=TEXT, color=UNSURE
        )


def _draw_intervals(ax: Axes, weights: Any, rows: np.ndarray) -> None:
    value, lower, upper = (weights[name].to_numpy(dtype=float) for name in ("rrv", "lower", "upper"))
    known = np.isfinite(lower) & np.isfinite(upper)
    # An interval of a badly determined weight may reach to infinity; the axis stays with the values.
    low = max(min(value.min(), np.where(known, lower, value).min(), 1.0), value.min() / 20) / 1.25
    high = min(max(value.max(), np.where(known, upper, value).max(), 1.0), value.max() * 20) * 1.25
    ax.hlines(
        rows[known],
        np.maximum(lower[known], low),
        np.minimum(upper[known], high),
        color=CORRIDOR,
        linewidth=2,
    )
    ax.plot(value, rows, "o", color=CORRIDOR, markersize=6)
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.xaxis.set_major_locator(LogLocator(base=10, subs=_tick_steps(high / low)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"x{tick:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    for row, rrv, bounds in zip(rows, value, zip(lower, upper, strict=True), strict=True):
        ax.text(
            1.01, row, f"{times(rrv)} ({interval_words(*bounds)})",
            transform=ax.get_yaxis_transform(), va="center", fontsize=TEXT, color=INK,
        )  # fmt: skip


def _tick_steps(ratio: float) -> tuple[float, ...]:
    if ratio < 12:
        return (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
    return (1.0, 2.0, 5.0) if ratio < 300 else (1.0,)


def _factor_label(weight: Any, block_length: float | None) -> str:
    how = "within" if weight["kind"] == "proximity" else "dense within"
    # Where several distances fit as well, one of them would be false precision.
    reach = extent_words(weight["extent_set"]) or f"{how} {reach_words(weight['influence_m'], block_length)}"
    return "\n".join(
        [*textwrap.wrap(plain(weight["factor"]), 34), *reach.replace(", or ", ",\nor ").split("\n")]
    )


def weights_size(terrain: "RiskTerrain") -> tuple[float, float]:
    """Return width and height of a figure, in inches, that fits the relative risk values."""
    n_others = len(terrain.weights) - len(terrain.factors) if terrain.factors else 0
    return 7.6, 1.8 + 0.55 * max(len(terrain.factors) + OTHER_ROW * n_others, 1)


def _cell_points(ax: Axes, grid: "Grid") -> float:
    """Return the side of a cell on the page, in points, near enough to choose how to draw."""
    extent = ax.get_window_extent()
    return float(min(extent.width / grid.n_columns, extent.height / grid.n_rows) * 72 / figure_of(ax).dpi)


def _hotspot_label(hotspots: gpd.GeoDataFrame, n_outlined: int) -> str:
    kind = "areas" if "n_cells" in hotspots else "cells"
    total, first = len(hotspots), min(NUMBERED, len(hotspots))
    if n_outlined < total:
        return f"the first {first} of {total:,} hot-spot {kind}"
    numbered = f", the first {first} numbered" if first < total else ", numbered by rank"
    return f"{total:,} hot-spot {kind}{numbered}"
