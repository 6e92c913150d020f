"""Relative risk scores of areas of any size, strip by strip: no more than a few rows are in memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from rtmkc import __version__
from rtmkc.errors import InputError, NoFactorError
from rtmkc.model.why import RiskTerrainModel, log_risk
from rtmkc.raster.coding import marks_of
from rtmkc.raster.cog import write_cog_by_strips
from rtmkc.raster.factors import RiskFactor
from rtmkc.raster.shapes import Shapes
from rtmkc.raster.tiles import Frame, Strip
from rtmkc.storage import created_at

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
        The layers there, by the names of the model's factors; default those of the model.
    overwrite : bool
        Whether a file that exists may be replaced.
    progress : callable, optional
        Called with (rows done, rows in all).

    Raises
    ------
    NoFactorError
        If no factor has a weight.
    InputError
        If a factor of the model is not given, is a raster, or has nothing within reach of the area.
    OutputError
        If the file exists and `overwrite` is false, or it cannot be written.

    Notes
    -----
    A strip of rows is measured with the features within reach of it, so every cell has what it would have on a
    grid in memory. Densities are compared with the cuts of the fit, not with means of the new area. The scores
    are kept beside the file, 8 bytes a cell, until the lowest is known.
    """
    check_is_fitted(why)
    frame = why.candidates_.grid if frame is None else frame
    terms = _terms(why, frame, why.candidates_.factors if factors is None else factors)
    coef = np.array([term.coef for term in terms])
    lowest = np.inf
    with TemporaryDirectory(prefix=".rtmkc-", dir=Path(path).resolve().parent) as folder:
        spilled = np.memmap(
            f"{folder}/scores", dtype=np.float64, mode="w+", shape=(frame.n_rows * frame.n_columns,)
        )
        strips = []
        for strip in frame.strips():
            marks = (term.mark(strip) for term in terms)
            score = log_risk(marks, coef, strip.n_cells)
            spilled[strip.cells] = score
            lowest = min(lowest, float(score.min(initial=np.inf)))
            strips.append(strip)
            if progress is not None:
                progress(strip.rows.stop, frame.n_rows)
        windows = ((strip, {BAND: np.exp(spilled[strip.cells] - lowest)}) for strip in strips)
        write_cog_by_strips(
            path,
            frame,
            [BAND],
            windows,
            units={BAND: "x the lowest cell"},
            tags=_tags(why),
            overwrite=overwrite,
        )
        del spilled


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


def _terms(why: RiskTerrainModel, frame: Frame, factors: Sequence[RiskFactor]) -> list[_Term]:
    """The factors with a weight, in the order in which the model adds them."""
    names = list(why.flags_.columns)
    if not names:
        raise NoFactorError(
            "Invalid model. No factor has a weight, so the relative risk score is 1 everywhere and there is nothing to "
            "write; add factors or incidents."
        )
    given = {factor.name: factor for factor in factors}
    weights: Any = why.weights_.set_index("factor").to_dict("index")
    columns = why.candidates_.columns
    terms = []
    for name in names:
        if name not in given:
            raise InputError(
                f"Invalid factors {', '.join(given) or 'none'}. The model has a weight for {name!r}, whose layer is "
                "missing; give a factor of that name."
            )
        kind, influence = str(weights[name]["kind"]), float(weights[name]["influence_m"])
        own = columns[(columns["factor"] == name) & (columns["kind"] == kind)]
        cut = float(own.loc[own["influence_m"] == influence, "cut"].iloc[0])
        shapes = Shapes.of(given[name].features(frame).frame.geometry.to_numpy())
        terms.append(_Term(float(weights[name]["coef"]), kind, influence, cut, shapes))
    return terms


def _tags(why: RiskTerrainModel) -> dict[str, str]:
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
    }
