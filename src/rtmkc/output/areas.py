"""Relative risk scores of areas of any size, strip by strip: no more than a few rows are in memory."""

import errno
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from rtmkc import __version__
from rtmkc.errors import DataWarning, InputError, NoFactorError
from rtmkc.inputs.layers import as_layer
from rtmkc.inputs.rasters import is_raster
from rtmkc.model.why import RiskTerrainModel, log_risk
from rtmkc.raster.candidates import check_factors
from rtmkc.raster.coding import marks_of
from rtmkc.raster.cog import fill_cog
from rtmkc.raster.factors import RiskFactor
from rtmkc.raster.shapes import Shapes
from rtmkc.raster.tiles import Frame, Strip
from rtmkc.storage import created_at, write_atomically
from rtmkc.units import format_length

BAND = "rrs"


def write_relative_risk(
    path: str | Path,
    why: RiskTerrainModel,
    frame: Frame | None = None,
    factors: Sequence[RiskFactor] | None = None,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the relative risk score of an area as a cloud-optimised GeoTIFF, however large it is.

    Parameters
    ----------
    path : path
        The file. One band, rrs: the product of the RRVs of the factors present, lowest cell = 1; NaN outside.
    why : RiskTerrainModel
        Fitted; its factors with a weight are measured again.
    frame : Frame or Grid, optional
        Where to score; default the grid of the model. ``Frame.cover(area, cell_size=...)`` takes no memory.
        Cells should be of the size the weights were fitted on.
    factors : sequence of RiskFactor, optional
        The layers there, by the names of the model's factors; default those of the model. Their kind and their
        distances are those of the weights, whatever is said of them here.
    overwrite : bool
        Whether a file that exists may be replaced.
    progress : callable, optional
        Called with (rows done, rows in all).

    Raises
    ------
    NoFactorError
        If no factor has a weight.
    InputError
        If the model is not fitted, `frame` is no frame, a factor of the model is not given or is a raster, or no
        factor has anything within reach of the area.
    OutputError
        If the file exists and `overwrite` is false, or it cannot be written.

    Warns
    -----
    DataWarning
        If a factor has nothing within reach of the area: it is absent there. If the cells are of another size than
        those of the fit.

    Notes
    -----
    A strip of rows is measured with the features within reach of it, so every cell has what it would have on a
    grid in memory. Densities are compared with the cuts of the fit, not with means of the new area. The scores
    are kept beside the file, 8 bytes a cell of the area, until the lowest is known.
    """
    frame = _checked(why, frame)
    factors = why.candidates_.factors if factors is None else check_factors(factors)
    # What is in the way of the file is said before anything is measured.
    with write_atomically(path, overwrite=overwrite) as target:
        if Path(path).is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        terms, absent = _terms(why, frame, factors)
        _warn(why, frame, absent)
        coef = np.array([term.coef for term in terms])
        scores, lowest = target.with_name(f"{target.name}.scores"), np.inf
        with open(scores, "wb") as spilled:
            for strip in frame.strips():
                score = log_risk((term.mark(strip) for term in terms), coef, strip.n_cells)
                spilled.write(score.data)
                lowest = min(lowest, float(score.min(initial=np.inf)))
                if progress is not None:
                    progress(strip.rows.stop, frame.n_rows)
        windows = _windows(frame, scores, lowest)
        fill_cog(target, frame, [BAND], windows, units={BAND: "x the lowest cell"}, tags=_tags(why, absent))


def _windows(frame: Frame, scores: Path, lowest: float) -> Iterator[tuple[Strip, dict[str, np.ndarray]]]:
    """Every strip with its relative risk, from the file of the sums of coefficients."""
    for strip in frame.strips():
        begin = strip.first_cell * np.dtype(np.float64).itemsize
        score = np.fromfile(scores, dtype=np.float64, count=strip.n_cells, offset=begin)
        yield strip, {BAND: np.exp(score - lowest)}


def _checked(why: RiskTerrainModel, frame: Frame | None) -> Frame:
    if not isinstance(why, RiskTerrainModel):
        raise InputError(
            f"Invalid model of type {type(why).__name__}. Give a fitted RiskTerrainModel; of what `assess` returns "
            "it is models.why."
        )
    try:
        check_is_fitted(why)
    except NotFittedError:
        raise InputError("Invalid model. It is not fitted yet; call its fit first.") from None
    frame = why.candidates_.grid if frame is None else frame
    if not isinstance(frame, Frame):
        raise InputError(
            f"Invalid frame of type {type(frame).__name__}. Lay cells over the area: Frame.cover(area, cell_size=...)."
        )
    return frame


def _warn(why: RiskTerrainModel, frame: Frame, absent: list[str]) -> None:
    fitted = why.candidates_.grid.cell_size
    if abs(frame.cell_size / fitted - 1) > 0.01:
        warnings.warn(
            f"the cells are of {format_length(frame.cell_size)} and the weights were fitted on cells of "
            f"{format_length(fitted)}: presence near a limit of distance or density differs; use cells of that size",
            DataWarning,
            stacklevel=3,
        )
    if absent:
        warnings.warn(
            f"nothing of {', '.join(map(repr, absent))} lies within reach of the area: scored as absent everywhere; "
            "check the coordinate reference system of the layer if that cannot be",
            DataWarning,
            stacklevel=3,
        )


@dataclass(frozen=True, eq=False)
class _Term:
    """One factor of a model, and its features around an area."""

    coef: float
    kind: str
    influence: float
    cut: float
    shapes: Shapes

    def mark(self, strip: Strip) -> np.ndarray:
        """Where the factor is present in a strip."""
        return marks_of(strip, self.shapes, self.kind, self.influence, self.cut)


def _terms(
    why: RiskTerrainModel, frame: Frame, factors: Sequence[RiskFactor]
) -> tuple[list[_Term], list[str]]:
    """The factors with a weight, in the order in which the model adds them; and the names of those with nothing there."""
    names = list(why.flags_.columns)
    if not names:
        raise NoFactorError(
            "Invalid model. No factor has a weight, so the relative risk score is 1 everywhere and there is nothing to "
            "write; add factors or incidents."
        )
    given = {factor.name: factor for factor in factors}
    weights: Any = why.weights_.set_index("factor").to_dict("index")
    columns = why.candidates_.columns
    reach_of = {factor.name: factor.reach for factor in why.candidates_.factors}
    for name in names:
        if name not in given:
            raise InputError(
                f"Invalid factors {', '.join(given)}. The model has a weight for {name!r}, whose layer is missing; give a "
                "factor of that name."
            )
        if weights[name]["kind"] == "value" or is_raster(given[name].layer):
            raise InputError(
                f"Invalid factor {name!r}. Its layer or its weight is of a raster, and values of rasters are not scored "
                "by strips; take rrs_ of the model for the grid it was fitted on."
            )
    terms, absent = [], []
    for name in names:
        kind, influence = str(weights[name]["kind"]), float(weights[name]["influence_m"])
        own = columns[(columns["factor"] == name) & (columns["kind"] == kind)]
        cut = float(own.loc[own["influence_m"] == influence, "cut"].iloc[0])
        # A cell that touches the area has its centre within a cell of it, and the weight reaches from there; but no
        # farther from the area than the fit looked.
        reach = min(reach_of[name](why.candidates_.grid), influence + frame.cell_size)
        factor = replace(given[name], max_influence=reach).opened()
        try:
            features = factor.features(frame).frame.geometry.to_numpy()
        except InputError:
            if not _is_elsewhere(factor, frame, reach):
                raise
            absent.append(name)
            continue
        terms.append(_Term(float(weights[name]["coef"]), kind, influence, cut, Shapes.of(features)))
    if not terms:
        raise InputError(
            f"Invalid factors {', '.join(map(repr, names))}. Nothing of them lies within reach of the area; check their "
            "coordinate reference systems, and the area."
        )
    return terms, absent


def _is_elsewhere(factor: RiskFactor, frame: Frame, reach: float) -> bool:
    """Whether a layer has features, and none within reach of the area."""
    layer = as_layer(factor.layer, name=factor.name)
    shapes = layer.to_crs(frame.crs).frame.geometry.to_numpy()
    return len(shapes) > 0 and not shapely.dwithin(shapes, frame.area.geometry, reach).any()


def _tags(why: RiskTerrainModel, absent: list[str]) -> dict[str, str]:
    observations = why.observations_
    return {
        "rtmkc_version": __version__,
        "created": created_at(),
        "method": why.method,
        "n": str(observations.n_incidents),
        "period": str(observations.period or "not known"),
        "fitted_on": why.candidates_.grid.area.name,
        "timing": why.timing_,
        "factors": ", ".join(why.flags_.columns),
        **({"absent": ", ".join(absent)} if absent else {}),
    }
