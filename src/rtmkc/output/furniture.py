"""What every picture carries beside its data: title, facts, scale, north, legend, numbers that keep apart."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rtmkc.output.classes import INK
from rtmkc.output.words import attribution
from rtmkc.units import FOOT

if TYPE_CHECKING:
    from rtmkc.model.terrain import RiskTerrain

TEXT = 7.5
SMALL = 6.5
LANDSCAPE = 0.8
"""Height over width of a city below which the legend goes under its map instead of beside it."""
_IMPERIAL = [
    *((feet * FOOT, f"{feet:,} ft") for feet in (20, 50, 100, 200, 500, 1000)),
    *((miles * 5280 * FOOT, f"{miles:g} mi") for miles in (0.25, 0.5, 1, 2, 5, 10, 20, 50, 100)),
]
_METRIC = [
    *((float(metres), f"{metres:,} m") for metres in (10, 20, 50, 100, 200, 500)),
    *((1000.0 * km, f"{km:,} km") for km in (1, 2, 5, 10, 20, 50, 100, 200)),
]


def finish_map(
    ax: Axes, terrain: "RiskTerrain", title: str, handles: Sequence[Any], scale_bar: bool, north_arrow: bool
) -> None:
    """Set limits with room below for scale and north; add legend, title and facts."""
    grid = terrain.grid
    width, height = grid.n_columns * grid.cell_size, grid.n_rows * grid.cell_size
    bounds = (grid.west, grid.north - height, grid.west + width, grid.north)
    frame_map(ax, bounds, scale_bar=scale_bar, north_arrow=north_arrow)
    say_title(ax, terrain, title)
    beside = height / width >= LANDSCAPE
    ax.legend(
        handles=list(handles), loc="upper left", bbox_to_anchor=(1.01, 1.0) if beside else (0.0, -0.01),
        ncols=1 if beside else 2, frameon=False, fontsize=TEXT, borderaxespad=0.0, labelspacing=0.6,
        alignment="left",
    )  # fmt: skip


def frame_map(
    ax: Axes, bounds: tuple[float, float, float, float], *, scale_bar: bool = True, north_arrow: bool = True
) -> None:
    """Set the limits to west, south, east and north, with room below for the scale and the arrow."""
    west, south, east, north = bounds
    width, height = east - west, north - south
    margin = 0.02 * max(width, height)
    room = 0.13 * np.clip(height, 0.6 * width, 1.8 * width) if scale_bar or north_arrow else 0.0
    spare = max(0.0, 0.35 * height - width) / 2  # a narrow city still leaves room for the scale
    left, right = west - margin - spare, east + margin + spare
    bottom = south - margin - room
    ax.set(xlim=(left, right), ylim=(bottom, north + margin), aspect="equal", xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)
    if scale_bar:
        _draw_scale(ax, left + margin, bottom + 0.55 * room, 0.3 * (right - left), 0.08 * room)
    if north_arrow:
        ax.annotate(
            "N", (right - 2.5 * margin, bottom + 0.85 * room), (right - 2.5 * margin, bottom + 0.25 * room),
            ha="center", va="bottom", fontsize=TEXT, color=INK,
            arrowprops={"arrowstyle": "-|>", "color": INK},
        )  # fmt: skip


def _draw_scale(ax: Axes, left: float, level: float, longest: float, tick: float) -> None:
    """A bar with metres above and feet or miles below, each of a round length."""
    for lengths, side in ((_METRIC, 1), (_IMPERIAL, -1)):
        length, words = max((item for item in lengths if item[0] <= longest), default=lengths[0])
        ends = [left, left, left + length, left + length]
        ax.plot(
            ends, [level + side * tick, level, level, level + side * tick], color=INK, linewidth=1.0, zorder=4
        )
        ax.annotate(
            words, (left + length, level + side * tick), xytext=(3, 0), textcoords="offset points", ha="left",
            va="bottom" if side > 0 else "top", fontsize=SMALL, color=INK,
        )  # fmt: skip


def say_title(ax: Axes, terrain: "RiskTerrain", title: str) -> None:
    """Write the title, and under it the facts every picture must say."""
    inches = ax.get_window_extent().width / figure_of(ax).dpi
    facts = _wrap_facts(plain(attribution(terrain)), max(40, int(inches / 0.05)))
    heading = textwrap.wrap(plain(title), max(30, int(inches / 0.085)))
    ax.set_title(
        "\n".join(heading),
        loc="left",
        fontsize=10,
        fontweight="bold",
        color=INK,
        pad=6 + 1.25 * SMALL * len(facts),
    )
    ax.annotate(
        "\n".join(facts), (0, 1), xycoords="axes fraction", xytext=(0, 3), textcoords="offset points",
        ha="left", va="bottom", fontsize=SMALL, color="#52606d",
    )  # fmt: skip


def _wrap_facts(line: str, width: int) -> list[str]:
    lines: list[str] = []
    for fact in line.split(" · "):
        if lines and len(lines[-1]) + len(fact) + 3 <= width:
            lines[-1] += f" · {fact}"
        else:
            lines.append(fact)
    return lines


def number_places(ax: Axes, points: np.ndarray, labels: Sequence[Any], *, away: bool) -> None:
    """Write numbers at places so that none hides another; those that find no room are left out."""
    figure = figure_of(ax)
    figure.draw_without_rendering()  # settles the layout, so that distances in points are real
    per_point = figure.dpi / 72
    pixels = ax.transData.transform(points) / per_point
    frame = ax.get_window_extent()
    low, high = np.array([frame.x0, frame.y0]) / per_point + 6, np.array([frame.x1, frame.y1]) / per_point - 6
    taken = np.empty((0, 2))
    for point, pixel, label in zip(points, pixels, labels, strict=True):
        moves = _moves(pixel, pixels, away)
        centres = pixel + moves
        free = np.all((centres > low) & (centres < high), axis=1)
        for others, distance in ((taken, 17.0), (pixels[np.any(pixels != pixel, axis=1)], 9.0)):
            gaps = np.hypot(*(centres[:, None, :] - others[None, :, :]).transpose(2, 0, 1))
            free &= np.all(gaps >= distance, axis=1)
        if not free.any():
            continue
        choice = int(np.argmax(free))
        taken = np.vstack([taken, centres[choice]])
        ax.annotate(
            str(label), tuple(point), tuple(moves[choice]), textcoords="offset points",
            ha="center", va="center", fontsize=SMALL, fontweight="bold", color=INK, zorder=10,
            bbox={"boxstyle": "circle,pad=0.22", "facecolor": "white", "edgecolor": INK, "linewidth": 0.8},
            arrowprops={"arrowstyle": "-", "linewidth": 0.8, "color": INK, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip


def _moves(pixel: np.ndarray, pixels: np.ndarray, away: bool) -> np.ndarray:
    """Where a number may go from its place, in points, best first: near, and outward of its neighbours."""
    angles = np.deg2rad(np.arange(45, 405, 30))
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    moves = np.vstack([radius * circle for radius in (15, 24, 36, 50, 66)])
    weight = np.exp(-np.hypot(*(pixels - pixel).T) / 40)[:, None]
    outward = pixel - (weight * pixels).sum(axis=0) / weight.sum()
    length = np.hypot(*outward)
    cost = np.hypot(*moves.T) - (0 if length == 0 else 8 * np.tile(circle, (5, 1)) @ outward / length)
    moves = moves[np.argsort(cost.round(6), kind="stable")]
    return moves if away else np.vstack([np.zeros((1, 2)), moves])


def figure_of(ax: Axes) -> Figure:
    """Return the figure that holds the Axes."""
    figure = ax.get_figure(root=True)
    if figure is None:
        raise ValueError("the Axes belong to no figure")
    return figure


def plain(text: str) -> str:
    """Return a name from a user's file so that it is drawn as text and never as a formula."""
    return str(text).replace("$", r"\$")
