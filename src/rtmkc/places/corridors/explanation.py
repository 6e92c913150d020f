"""Why a corridor, and why it is expected to be busy: two answers, each over the length of its line."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import shapely

from rtmkc.errors import InputError
from rtmkc.model.weights import IN_MODEL

if TYPE_CHECKING:
    from rtmkc.model.terrain import RiskTerrain
    from rtmkc.raster.grid import Grid

PARTS = ("environment", "area_history", "spot_history")


@dataclass(frozen=True, eq=False)
class CorridorExplanation:
    """What the terrain says of the cells that a corridor passes through.

    Attributes
    ----------
    why : DataFrame
        One row a factor in the model, that of most of the length first: factor, kind, influence_m, extent_set, rrv, lower,
        upper (95 %), share (of the corridor's length in cells that the factor marks).
    where : dict
        city_mean, environment, area_history, spot_history, expected (per cell), relative: ``expected = city_mean x
        environment x area_history x spot_history``, and relative is what follows the city's mean.
    unmarked : float
        Share of the length in cells that no factor marks.
    inside : float
        Share of the length inside the study area; the other shares are of this part.
    """

    why: pd.DataFrame
    where: dict[str, float]
    unmarked: float
    inside: float


def explain_corridor(terrain: "RiskTerrain", line: Any) -> CorridorExplanation:
    """Explain a corridor: which factors reach how much of it, and what its expected incidents are made of.

    Parameters
    ----------
    terrain : RiskTerrain
        The terrain.
    line : LineString or MultiLineString
        In the grid's system.

    Returns
    -------
    CorridorExplanation

    Raises
    ------
    InputError
        If no part of the line lies in the study area.

    Notes
    -----
    With s the share of the line's length in each cell, and each cell's expected incidents the product of the city's mean,
    environment e, area history a and spot history h, the parts are ``sum(s e)``, ``sum(s e a) / sum(s e)`` and
    ``sum(s e a h) / sum(s e a)``: the history is that of the places where the environment says incidents happen. Their
    product is exact; one of plain means would not be.

    These are figures of an average cell along the line. The corridor's own expected incidents are its share of these
    cells and of those beside them.
    """
    cell, length = lengths_in_cells(line, terrain.grid)
    if not len(cell):
        raise InputError(
            "Invalid line. No part of it lies in the study area; a bare geometry must be in the grid's system "
            f"({terrain.grid.crs.to_string()})."
        )
    share = length / length.sum()
    cells = terrain.cells.iloc[cell]
    running, where = share, {"city_mean": float(terrain.city_mean)}
    for part in PARTS:
        longer = running * cells[part].to_numpy(dtype=float)
        where[part] = float(longer.sum() / running.sum())
        running = longer
    where["relative"] = float(running.sum())
    where["expected"] = where["city_mean"] * where["relative"]
    why = terrain.weights.loc[
        terrain.weights["status"] == IN_MODEL,
        ["factor", "kind", "influence_m", "extent_set", "rrv", "lower", "upper"],
    ].reset_index(drop=True)
    flags = cells[[f"f_{name}" for name in why["factor"]]].to_numpy(dtype=bool)
    why["share"] = share @ flags
    why = why.sort_values("share", ascending=False, kind="stable", ignore_index=True)
    unmarked = float(share @ ~flags.any(axis=1)) if len(why) else 1.0
    return CorridorExplanation(why, where, unmarked, min(1.0, float(length.sum() / shapely.length(line))))


def lengths_in_cells(line: Any, grid: "Grid") -> tuple[np.ndarray, np.ndarray]:
    """Return the cells of the area that a line passes through, and its metres in each; along an edge half in either."""
    west, south, east, north = shapely.bounds(line)
    half = grid.cell_size / 2
    near = np.flatnonzero(
        (grid.eastings >= west - half) & (grid.eastings <= east + half)
        & (grid.northings >= south - half) & (grid.northings <= north + half)
    )  # fmt: skip
    squares = shapely.box(
        grid.eastings[near] - half,
        grid.northings[near] - half,
        grid.eastings[near] + half,
        grid.northings[near] + half,
    )
    within = shapely.length(shapely.intersection(squares, line))
    edges = shapely.length(shapely.intersection(shapely.boundary(squares), line))
    length = within - edges / 2
    passed = length > 0
    return near[passed], length[passed]
