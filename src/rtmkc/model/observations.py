"""What a model is fitted to: incidents in cells, over a period, with exposure, after the factors."""

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rtmkc.errors import InputError, ModelWarning
from rtmkc.inputs.layers import Layer
from rtmkc.raster.candidates import Candidates
from rtmkc.raster.exposure import MeasuredExposure, measure_exposure
from rtmkc.raster.grid import Grid
from rtmkc.units import Period

CONTEMPORANEOUS = "contemporaneous, not a forecast"
FEW_INCIDENTS = 50


@dataclass(frozen=True, eq=False)
class Observations:
    """Incidents on a grid.

    Attributes
    ----------
    grid : Grid
        The grid.
    incidents : Layer
        Those inside the area; its ledger counts the rest.
    cells : ndarray of int64, shape (n_incidents,)
        The cell of each incident.
    counts : ndarray of int64, shape (n_cells,)
        Incidents per cell.
    period : Period or None
        Days the incidents were collected; without it there is no rate.
    exposure : MeasuredExposure
        Relative exposure per cell, mean 1.
    """

    grid: Grid
    incidents: Layer = field(repr=False)
    cells: np.ndarray = field(repr=False)
    counts: np.ndarray = field(repr=False)
    period: Period | None
    exposure: MeasuredExposure = field(repr=False)

    @property
    def n_incidents(self) -> int:
        """Number of incidents inside the area."""
        return len(self.cells)


def observe(grid: Grid, incidents: Any, *, exposure: Any = None) -> Observations:
    """Place incidents on a grid.

    Raises
    ------
    InputError
        If there are no incidents inside the area.
    """
    if not isinstance(grid, Grid):
        raise InputError(
            f"Invalid grid of type {type(grid).__name__}. Make one with Grid.cover(area, block_length=...)."
        )
    if isinstance(incidents, Observations):
        return incidents
    if isinstance(incidents, list | tuple):
        raise InputError(
            f"Invalid incidents of type {type(incidents).__name__}. Give one layer, path or frame of points; factors "
            "come before incidents in the call."
        )
    layer, cells = grid.place(incidents)
    if not len(cells):
        raise InputError(
            f"Invalid incidents {layer.name!r}. None is left to learn from: {layer.ledger.sentence()}. "
            "Check the period, the filter and the coordinates."
        )
    if len(cells) < FEW_INCIDENTS:
        warnings.warn(
            f"incidents in the study area: {len(cells)}; below {FEW_INCIDENTS} no weight should be "
            "believed: use a longer period or a wider definition",
            ModelWarning,
            stacklevel=3,
        )
    counts = np.bincount(cells, minlength=grid.n_cells)
    return Observations(grid, layer, cells, counts, layer.period, measure_exposure(grid, exposure))


def check_together(
    grid: Grid, candidates: Candidates, observations: Observations, *, allow_later: bool
) -> str:
    """Return how factors and incidents lie in time, if they belong together on a grid.

    Raises
    ------
    InputError
        If the candidates are of another grid, a factor is the incidents themselves, or is later than they are
        and that is not allowed.
    """
    if candidates.grid != grid:
        raise InputError("Invalid candidates. They were measured on another grid; measure them on this one.")
    check_not_the_outcome(candidates, observations)
    return check_order_in_time(candidates, observations, allow_later=allow_later)


def check_not_the_outcome(candidates: Candidates, observations: Observations) -> None:
    """Raise if a factor is read from the file of the incidents without saying what made it.

    Incidents cannot explain themselves: near an incident there are incidents.
    """
    own = observations.incidents.sha256
    for name, features in candidates.features.items():
        if own and features.layer.sha256 == own and features.layer.provenance == "unstated":
            raise InputError(
                f"Invalid factor {name!r}. It is read from the file of the incidents, and incidents cannot explain "
                "themselves. If its rows are of another kind, say what made them with provenance=."
            )


def check_order_in_time(candidates: Candidates, observations: Observations, *, allow_later: bool) -> str:
    """Return how the factors lie in time to the incidents, as a sentence.

    Raises
    ------
    InputError
        If the data of a factor reach beyond the first day of the incidents and that is not allowed.
    """
    period = observations.period
    if period is None:
        return "the order in time of factors and incidents is not known: the incidents have no period"
    later, undated = [], []
    for name, features in candidates.features.items():
        if features.layer.period is None:
            undated.append(name)
        elif features.layer.period.end >= period.start:
            later.append(f"{name} ({features.layer.period})")
    if later and not allow_later:
        raise InputError(
            f"Invalid factors {', '.join(later)}. Their data reach into or beyond the period of the incidents "
            f"({period}), so they may be a consequence of them. Use earlier data (period=), or say "
            "allow_later_factors=True (in a study file, allow_later_factors = true under [model]); every result is then "
            "marked 'contemporaneous, not a forecast'."
        )
    if later:
        return CONTEMPORANEOUS
    if undated:
        return f"no date known for {', '.join(undated)}: whether they precede the incidents is not known"
    layers = {"incidents": observations.incidents} | {
        name: features.layer for name, features in candidates.features.items()
    }
    stated = [name for name, layer in layers.items() if getattr(layer, "date_column", None) is None]
    by_word = f" (by periods stated, not read from dates, of {', '.join(stated)})" if stated else ""
    return f"all factors precede the incidents{by_word}"
