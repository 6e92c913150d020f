"""Plots of a validation: how many incidents a share of the area holds, and whether as many came as were expected."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from rtmkc.evidence.contestants import ORACLE, UNIFORM
from rtmkc.output.classes import CORRIDOR, INK, STREET
from rtmkc.output.furniture import TEXT, plain

if TYPE_CHECKING:
    from rtmkc.evidence.validation import Validation

FARTHEST = 0.25
"""Share of the area to which hit rates are drawn: nobody can work more of a city."""
LINES = ("#d1495b", "#edae49", "#00798c", "#6a4c93", "#3b8132", "#8d6a4f", "#c2185b", "#5c6b73", "#b5651d")
DASHES = ("solid", (0, (5, 1.5)), (0, (1.5, 1.2)))
SIZE = (7.4, 4.3)


def plot_hit_rates(validation: "Validation", *, ax: Axes | None = None) -> Axes:
    """Draw the share of later incidents that the best share of the area holds, for every contestant.

    Parameters
    ----------
    validation : Validation
        From `rtmkc.validate`.
    ax : Axes, optional
        Where to draw; a new figure if left out.

    Returns
    -------
    Axes
        The forecast is the thick line, the uniform and the oracle are the floor and the ceiling.
    """
    ax = ax if ax is not None else _new_axes()
    others = 0
    for name, curve in validation.curves.groupby("contestant", sort=False):
        near = curve[curve["area_share"] <= FARTHEST + 1e-9]
        style: dict[str, Any] = {"linewidth": 1.3, "zorder": 3}
        if name == validation.facts["compared"]:
            style = {"color": CORRIDOR, "linewidth": 2.8, "zorder": 5}
        elif name in (UNIFORM, ORACLE):
            style |= {"color": STREET if name == UNIFORM else INK, "linestyle": (0, (2, 2)), "linewidth": 1.0}
        else:
            # Colour and dashes both differ, so that a grey printer tells them apart.
            style |= {"color": LINES[others % len(LINES)], "linestyle": DASHES[others % len(DASHES)]}
            others += 1
        ax.plot(100 * near["area_share"], 100 * near["hit_rate"], label=plain(str(name)), **style)
    ax.set(xlim=(0, 100 * FARTHEST), ylim=(0, 100))
    ax.set_xlabel("share of the area, in % (best cells first)", fontsize=TEXT, color=INK)
    ax.set_ylabel("share of later incidents in it, in %", fontsize=TEXT, color=INK)
    ax.grid(color="#e4e7eb", linewidth=0.6, zorder=0)
    _finish(ax, f"Hit rate: {validation.facts['n_test']:,} later incidents")
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=TEXT, borderaxespad=0.0)
    return ax


def plot_calibration(
    validation: "Validation", contestant: str | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw how many incidents came for each that was expected, from quiet places to busy ones.

    Parameters
    ----------
    validation : Validation
        From `rtmkc.validate`.
    contestant : str, optional
        One of the contestants; default the forecast.
    ax : Axes, optional
        Where to draw; a new figure if left out.

    Returns
    -------
    Axes
        One mark a group of cells that expects a tenth of all incidents, with its exact 95 % interval; 1 is right.
    """
    ax = ax if ax is not None else _new_axes()
    name = contestant or validation.facts["compared"]
    bins = validation.calibration[validation.calibration["contestant"] == name]
    position = bins["bin"].to_numpy()
    ratio, lower, upper = (bins[column].to_numpy(dtype=float) for column in ("ratio", "lower", "upper"))
    low = max(min(lower[lower > 0].min(initial=0.5), 0.5), 0.05)
    high = min(max(upper.max(initial=2.0), 2.0), 20.0)
    ax.axhline(1.0, color=INK, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
    ax.vlines(position, np.maximum(lower, low), np.minimum(upper, high), color=CORRIDOR, linewidth=2)
    ax.plot(position, np.clip(ratio, low, high), "o", color=CORRIDOR, markersize=6)
    for place, cells in zip(position, bins["cells"], strict=True):
        ax.annotate(
            f"{cells:,.0f}", (place, 0.0), xycoords=ax.get_xaxis_transform(), xytext=(0, 3),
            textcoords="offset points", ha="center", fontsize=TEXT, color=INK,
        )  # fmt: skip
    ax.set_yscale("log")
    ax.set(ylim=(low / 1.3, high * 1.15), xlim=(0.4, position.max() + 0.6), xticks=position)
    ax.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 3.0, 5.0, 7.0)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"x{tick:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(
        "tenths of all expected incidents, from the quietest cells to the busiest; cells in each below",
        fontsize=TEXT,
        color=INK,
    )
    ax.set_ylabel("incidents that came / expected", fontsize=TEXT, color=INK)
    _finish(ax, f"Calibration of {name}")
    return ax


def _finish(ax: Axes, title: str) -> None:
    ax.set_title(plain(title), loc="left", fontsize=10, fontweight="bold", color=INK)
    ax.tick_params(labelsize=TEXT)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _new_axes() -> Axes:
    import matplotlib.pyplot as plt

    return plt.figure(figsize=SIZE, layout="constrained").add_subplot()
