"""Exposure: how much of the city there is in each cell, which weights are adjusted for."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from rtmkc.checks import check_choice, check_share
from rtmkc.errors import InputError
from rtmkc.inputs.layers import as_layer
from rtmkc.inputs.ledger import Ledger
from rtmkc.inputs.rasters import as_raster, is_raster
from rtmkc.raster.grid import Grid
from rtmkc.raster.pixels import measure_raster
from rtmkc.raster.surfaces import quartic_density
from rtmkc.units import format_length, parse_length

Role = Literal["offset", "covariate"]
NO_EXPOSURE = "not adjusted for how busy places are"
AS_COVARIATE = "as a covariate: how much it matters is fitted, log and log squared"


@dataclass(frozen=True, eq=False)
class Exposure:
    """How busy or built-up places are, measured by the density of a layer or the amounts of a raster.

    Parameters
    ----------
    layer : Layer, RasterLayer, path, GeoDataFrame or DataFrame
        Parcels, points of interest, streets ...; or a raster of residents, of which every pixel is shared
        among the cells by area, so that none is lost.
    name : str
        For tables and captions.
    bandwidth : length
        Radius of the quartic kernel; it plays no part for a raster.
    floor : float
        Cells below this share of the mean are lifted to it, so that no place is declared riskless.
    role : {"offset", "covariate"}
        Offset: twice the exposure, twice the incidents, as is right for an amount of what is at risk. Covariate: a
        stand-in for how busy a place is; what it does is fitted as ``exp(a log E + b (log E)^2)``.

    Examples
    --------
    >>> Exposure("parcels.gpkg", name="parcels").floor
    0.05
    """

    layer: Any
    name: str = "exposure"
    bandwidth: float | str = "2 blocks"
    floor: float = 0.05
    role: Role = "offset"

    def __post_init__(self) -> None:
        check_choice(f"role of exposure {self.name!r}", self.role, get_args(Role))

    def measure(self, grid: Grid) -> "MeasuredExposure":
        """Measure the exposure on a grid.

        Raises
        ------
        InputError
            If nothing of the layer lies within the bandwidth of the study area, or a raster is negative.
        """
        if is_raster(self.layer):
            return self._measure_raster(grid)
        bandwidth = parse_length(self.bandwidth, name="exposure bandwidth", block_length=grid.block_length)
        floor = check_share("exposure floor", self.floor)
        layer = as_layer(self.layer, name=self.name).to_crs(grid.crs)
        density = quartic_density(grid, layer.frame.geometry.to_numpy(), bandwidth)
        if not density.mean() > 0:
            raise InputError(
                f"Invalid exposure {self.name!r}. None of its {len(layer):,} features lies within "
                f"{format_length(bandwidth)} of the study area; check its coordinate reference system."
            )
        values, lifted = _lift(density, floor)
        return MeasuredExposure(
            values,
            f"adjusted for exposure: density of {self.name} (n = {len(layer):,}, quartic kernel of "
            f"{format_length(bandwidth)}; {lifted})" + self._as_role(),
            layer.ledger,
            self.role,
        )

    def _measure_raster(self, grid: Grid) -> "MeasuredExposure":
        floor = check_share("exposure floor", self.floor)
        measured = measure_raster(grid, as_raster(self.layer, name=self.name))
        if (measured.amount < 0).any() or not measured.amount.sum() > 0:
            raise InputError(
                f"Invalid exposure {self.name!r}. The raster sums to {measured.amount.sum():,.6g} over the study "
                f"area and to {measured.amount.min():,.6g} in its lowest cell; an exposure has no negative amounts "
                "and some amount. Say nodata= in read_raster() if a value stands for 'no data'."
            )
        values, lifted = _lift(measured.amount, floor)
        return MeasuredExposure(
            values,
            f"adjusted for exposure: {self.name} (raster of {len(measured.layer):,} pixels, {measured.amount.sum():,.6g} "
            f"shared among the cells by area; {lifted})" + self._as_role(),
            measured.layer.ledger,
            self.role,
        )

    def _as_role(self) -> str:
        return "" if self.role == "offset" else f", {AS_COVARIATE}"


def _lift(amounts: np.ndarray, floor: float) -> tuple[np.ndarray, str]:
    """Return amounts as a cell vector of mean 1, those below a share of the mean lifted to it, and the sentence."""
    relative = amounts / amounts.mean()
    low = relative < floor
    lifted = np.maximum(relative, floor)
    sentence = f"{100 * low.mean():.0f} % of cells below {100 * floor:.0f} % of the mean were lifted to it"
    return lifted / lifted.mean(), sentence


@dataclass(frozen=True, eq=False)
class MeasuredExposure:
    """A cell vector of mean 1, the sentence that says what it is, the ledger of its layer if it has one, and its role."""

    values: np.ndarray
    statement: str
    ledger: Ledger | None = None
    role: Role = "offset"


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
