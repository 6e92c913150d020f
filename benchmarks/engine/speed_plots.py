"""The plots of docs/reference/speed.md."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rows import Ratio

KINDS = {
    "measuring": "measuring, a factor",
    "sweep": "a sweep",
    "step": "a step of the search",
    "scoring": "a score",
}
"""Kinds of work whose cost per cell is measured, in words."""
FLAT = 0.20
"""How much more a cell may cost in a larger city."""


def figure(value: float) -> str:
    """Return a ratio with two or three figures."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def plot_ratios(rows: Sequence[Ratio], path: Path) -> None:
    """Draw the time ratios as bars on a logarithmic scale."""
    plt = _pyplot()
    figure_, axes = plt.subplots(figsize=(9, 0.9 + 0.34 * len(rows)), layout="constrained")
    places = np.arange(len(rows))[::-1]
    values = np.array([row.time for row in rows])
    axes.barh(places, values - 1, left=1, color=np.where(values >= 1, "#2b6a99", "#b5483a"), height=0.7)
    axes.set_xscale("log")
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.axvline(1, color="0.3", linewidth=0.8)
    names = [f"{row.work}, {row.city}" for row in rows]
    axes.set_yticks(
        places, [f"{name}\nagainst {row.peer}" for name, row in zip(names, rows, strict=True)], fontsize=6.5
    )
    for place, value in zip(places, values, strict=True):
        axes.annotate(
            figure(value), (value, place), xytext=(3 if value >= 1 else -3, 0), textcoords="offset points", va="center",
            ha="left" if value >= 1 else "right", fontsize=7,
        )  # fmt: skip
    axes.set_xlim(min(0.5, values.min() / 2), values.max() * 3)
    axes.set_xlabel("seconds of the peer for each second of the library (logarithmic)")
    _finish(plt, figure_, axes, path)


def plot_costs(sizes: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw what a cell costs against cells, the smallest city being one; the band is what was asked for."""
    plt = _pyplot()
    figure_, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    cells = [one["n_cells"] for one in sizes]
    axes.axhspan(1 - FLAT, 1 + FLAT, color="0.9", linewidth=0)
    for (kind, words), marker in zip(KINDS.items(), "osD^", strict=True):
        each = np.array([one[kind] / one["n_cells"] for one in sizes])
        axes.plot(cells, each / each[0], marker=marker, markersize=4, linewidth=1.2, label=words)
    axes.set_xscale("log")
    axes.set_xticks(cells, [one["size"] for one in sizes])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set(xlabel="cells", ylabel=f"seconds per cell, {sizes[0]['size']} = 1")
    axes.legend(frameon=False, fontsize=8)
    _finish(plt, figure_, axes, path)


def _pyplot() -> Any:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def _finish(plt: Any, drawn: Any, axes: Any, path: Path) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    drawn.savefig(path, dpi=150, metadata={"Software": None})
    plt.close(drawn)
