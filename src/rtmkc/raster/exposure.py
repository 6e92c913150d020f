"""Exposure: how much of the city there is in each cell, as the offset of a model."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rtmkc.checks import check_share
from rtmkc.errors import InputError
from rtmkc.inputs.layers import as_layer
from rtmkc.inputs.ledger import Ledger
from rtmkc.raster.grid import Grid
from rtmkc.raster.surfaces import quartic_density
from rtmkc.units import format_length, parse_length

NO_EXPOSURE = "not adjusted for how busy places are"


@dataclass(frozen=True, eq=False)
class Exposure:
    """How busy or built-up places are, measured by the density of a layer.

    Parameters
    ----------
    layer : Layer, path, GeoDataFrame or DataFrame
        Parcels, points of interest, streets ...
    name : str
        For tables and captions.
    bandwidth : length
        Radius of the quartic kernel.
    floor : float
        Cells below this share of the mean are lifted to it, so that no place is declared riskless.

    Examples
    --------
    >>> Exposure("parcels.gpkg", name="parcels").floor
    0.05
    """

    layer: Any
    name: str = "exposure"
    bandwidth: float | str = "2 blocks"
    floor: float = 0.05

    def measure(self, grid: Grid) -> "MeasuredExposure":
        """Measure the exposure on a grid.

        Raises
        ------
        InputError
            If nothing of the layer lies within the bandwidth of the study area.
        """
        bandwidth = parse_length(self.bandwidth, name="exposure bandwidth", block_length=grid.block_length)
        floor = check_share("exposure floor", self.floor)
        layer = as_layer(self.layer, name=self.name).to_crs(grid.crs)
        density = quartic_density(grid, layer.frame.geometry.to_numpy(), bandwidth)
        if not density.mean() > 0:
            raise InputError(
                f"Invalid exposure {self.name!r}. None of its {len(layer):,} features lies within "
                f"{format_length(bandwidth)} of the study area; check its coordinate reference system."
            )
        relative = density / density.mean()
        low = relative < floor
        lifted = np.maximum(relative, floor)
        return MeasuredExposure(
            lifted / lifted.mean(),
            f"adjusted for exposure: density of {self.name} (n = {len(layer):,}, quartic kernel of "
            f"{format_length(bandwidth)}; {100 * low.mean():.0f} % of cells below {100 * floor:.0f} % of the mean "
            "were lifted to it)",
            layer.ledger,
        )


@dataclass(frozen=True, eq=False)
class MeasuredExposure:
    """A cell vector of mean 1, the sentence that says what it is, and the ledger of its layer if it has one."""

    values: np.ndarray
    statement: str
    ledger: Ledger | None = None


def measure_exposure(grid: Grid, exposure: Any) -> MeasuredExposure:
    """Return the exposure of every cell from an `Exposure`, a cell vector, or None (1 everywhere)."""
    if exposure is None:
        return MeasuredExposure(np.ones(grid.n_cells), NO_EXPOSURE)
    if isinstance(exposure, Exposure):
        return exposure.measure(grid)
    if isinstance(exposure, MeasuredExposure):
        return exposure
    values = np.asarray(exposure, dtype=float)
    if values.shape != (grid.n_cells,) or not np.all(np.isfinite(values)) or not np.all(values > 0):
        raise InputError(
            f"Invalid exposure of shape {values.shape}. Give an Exposure, or a cell vector of {grid.n_cells:,} finite "
            "values greater than 0; a place without exposure would have no risk at all."
        )
    return MeasuredExposure(values / values.mean(), "adjusted for exposure given as a cell vector")
