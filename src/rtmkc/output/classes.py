"""The classes of the risk map and their colours: one legend for picture, report and QGIS."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

BREAKS = (1.0, 2.0, 5.0, 10.0)
"""Multiples of the city's average where one class ends and the next begins."""
COLOURS = ("#f3efe0", "#fec44f", "#fd8d3c", "#e31a1c", "#800026")
"""From yellow to dark red (after ColorBrewer YlOrRd): lightness falls from class to class, so that the order
also holds for colour-blind eyes and on a grey printer."""
OUTSIDE = "#ffffff"
INK = "#1f2933"
STREET = "#9aa5b1"
CORRIDOR = "#08519c"
TREATED = "#00695c"
STOP = "#b44d12"

LABELS = (
    "below the city's average",
    *(f"{low:g} to {high:g} x the average" for low, high in pairwise(BREAKS)),
    f"more than {BREAKS[-1]:g} x the average",
)
BLOCK_LABELS = tuple(
    label.replace("the city's average", "the typical street").replace("the average", "the typical street")
    for label in LABELS
)
"""The same classes of blocks, which are multiples of the city's typical street."""


def classify(relative: np.ndarray) -> np.ndarray:
    """Return the class (0 = below average) of multiples of the city's average.

    Examples
    --------
    >>> classify(np.array([0.2, 1.0, 4.9, 12.0]))
    array([0, 1, 2, 4])
    """
    classes: np.ndarray = np.digitize(relative, BREAKS)
    return classes


def area_of_classes(classes: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return the share of the study area in each class.

    Parameters
    ----------
    classes : ndarray of int, shape (n_cells,)
        From `classify`.
    share : ndarray, shape (n_cells,)
        Share of each cell inside the area.

    Examples
    --------
    >>> area_of_classes(np.array([0, 0, 4]), np.array([1.0, 0.5, 0.5])).tolist()
    [0.75, 0.0, 0.0, 0.0, 0.25]
    """
    area = np.bincount(classes, weights=share, minlength=len(LABELS))
    shares: np.ndarray = area / area.sum()
    return shares


def legend_labels(area: Sequence[float]) -> list[str]:
    """Return the label of every class with its share of the study area.

    Examples
    --------
    >>> legend_labels([0.7, 0.2, 0.0996, 0.0004, 0.0])[3:]
    ['5 to 10 x the average (under 0.1 % of the area)', 'more than 10 x the average (none)']
    """
    return [f"{label} ({_of_area(share)})" for label, share in zip(LABELS, area, strict=True)]


def _of_area(share: float) -> str:
    if share <= 0:
        return "none"
    if share < 0.001:
        return "under 0.1 % of the area"
    return f"{100 * share:.1f} % of the area" if share < 0.1 else f"{100 * share:.0f} % of the area"
