"""RiskTerrain: the answers of both models, one row a cell; save and load without the layers."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyproj
import shapely

from rtmkc import __version__
from rtmkc.errors import InputError, NoFactorError, OutputError
from rtmkc.inputs.ledger import Ledger
from rtmkc.model.observations import observe
from rtmkc.model.where import RiskForecast
from rtmkc.model.why import RiskTerrainModel
from rtmkc.raster.area import StudyArea
from rtmkc.raster.candidates import build_candidates, build_curves, check_factors
from rtmkc.raster.cog import read_cog, write_cog
from rtmkc.raster.exposure import measure_exposure
from rtmkc.raster.factors import RiskFactor
from rtmkc.raster.grid import Grid
from rtmkc.storage import created_at, new_folder, write_json

if TYPE_CHECKING:
    import geopandas as gpd
    from matplotlib.axes import Axes

SCHEMA_VERSION = 1
SURFACES = (
    "share", "count", "exposure", "rrs", "environment", "area_history", "spot_history", "expected", "lower", "upper",
)  # fmt: skip
RANKINGS = ("expected", "rrs")
CANNOT_KNOW = (
    "A weight is an association in these data; removing a factor need not remove the risk.",
    "It knows reported incidents only: places where people report less look safer than they are.",
    "It knows only the factors it was given.",
)


@dataclass(frozen=True, eq=False)
class Models:
    """The two fitted models of a terrain."""

    why: RiskTerrainModel
    where: RiskForecast

    def layers(self) -> list[Any]:
        """The incidents and the factors, as far as they were used: layers, and of rasters raster layers."""
        features = self.why.candidates_.features.values()
        return [self.why.observations_.incidents, *(one.layer for one in features)]

    def ledgers(self) -> list[Ledger]:
        """What became of every row of the incidents, the factors and the exposure."""
        exposure = self.why.observations_.exposure.ledger
        return [layer.ledger for layer in self.layers()] + ([exposure] if exposure else [])


class RiskTerrain:
    """The result: every cell with its scores, its factors and its history.

    Parameters
    ----------
    why : RiskTerrainModel
        Fitted.
    where : RiskForecast
        Fitted on the same grid and incidents.

    Attributes
    ----------
    grid : Grid
        The cells.
    cells : DataFrame
        One row a cell in cell-vector order: cell_id, row, column, easting, northing (metres), share,
        count, exposure, rrs, environment, area_history, spot_history, expected, lower, upper (incidents over
        `horizon_days`), and one boolean column ``f_<factor>`` for every factor in the model.
    weights : DataFrame
        ``why.weights_``.
    curves : DataFrame
        ``where.curves_``.
    city_mean : float
        Mean of expected incidents per cell; ``expected = city_mean * environment * area_history * spot_history``.
    horizon_days : int or None
        What `expected` is for; None where the incidents have no period, and then it is for that unknown period.
    models : Models
        The fitted models, ``models.why`` and ``models.where``; a terrain that was loaded has none.
    facts : dict
        n, period, dates, cell size, system, methods, seeds and notes: what every output must say.

    Raises
    ------
    InputError
        If the two models are of different grids or incidents.
    """

    def __init__(self, why: RiskTerrainModel, where: RiskForecast) -> None:
        if why.candidates_.grid != where.candidates_.grid:
            raise InputError("Invalid models. They were fitted on different grids; fit both on one.")
        if not np.array_equal(why.observations_.counts, where.observations_.counts):
            raise InputError("Invalid models. They were fitted to different incidents; fit both to the same.")
        self._models: Models | None = Models(why, where)
        grid, observations = why.candidates_.grid, why.observations_
        surfaces = {
            "share": grid.share,
            "count": observations.counts,
            "exposure": observations.exposure.values,
            "rrs": why.rrs_,
            "environment": where.environment_,
            "area_history": where.area_history_,
            "spot_history": where.spot_history_,
            "expected": where.expected_,
            "lower": where.lower_,
            "upper": where.upper_,
        }
        flags = {name: why.flags_[name].to_numpy() for name in why.flags_.columns}
        self._fill(
            grid,
            surfaces,
            flags,
            why.weights_,
            where.curves_,
            where.city_mean_,
            where.horizon_days_,
            _facts(why, where),
        )

    def _fill(
        self,
        grid: Grid,
        surfaces: dict[str, np.ndarray],
        flags: dict[str, np.ndarray],
        weights: pd.DataFrame,
        curves: pd.DataFrame,
        city_mean: float,
        horizon_days: int | None,
        facts: dict[str, Any],
    ) -> None:
        self.grid, self.weights, self.curves = grid, weights, curves
        self.city_mean, self.horizon_days, self.facts = city_mean, horizon_days, facts
        places = {
            "cell_id": np.arange(grid.n_cells),
            "row": grid.rows,
            "column": grid.columns,
            "easting": grid.eastings,
            "northing": grid.northings,
        }
        factors = {f"f_{name}": np.asarray(values, dtype=bool) for name, values in flags.items()}
        self.cells = pd.DataFrame(places | surfaces | factors)
        self.cells["count"] = self.cells["count"].astype(int)
        self._check_identities()

    def _check_identities(self) -> None:
        cells = self.cells
        product = self.city_mean * cells["environment"] * cells["area_history"] * cells["spot_history"]
        in_model = self.weights[self.weights["status"] == "in the model"]
        score = np.ones(len(cells))
        for factor, rrv in zip(in_model["factor"], in_model["rrv"], strict=True):
            score = score * np.where(cells[f"f_{factor}"], rrv, 1.0)
        for name, value, parts in (
            ("expected", cells["expected"], product),
            ("rrs", cells["rrs"], score / score.min()),
        ):
            # Not an `assert`: what people are shown must be the product of its parts in every run.
            if not np.allclose(value, parts, rtol=1e-12, atol=0):
                raise RuntimeError(f"{name} is not the product of its parts")

    @property
    def factors(self) -> list[str]:
        """Names of the factors in the model, strongest first."""
        return list(self.weights.loc[self.weights["status"] == "in the model", "factor"])

    @property
    def models(self) -> "Models":
        """The fitted models.

        Raises
        ------
        InputError
            If the terrain was loaded: files hold results, not models.
        """
        if self._models is None:
            raise InputError(
                "Invalid terrain. It was loaded from files, which hold results and not models; fit it again."
            )
        return self._models

    def ranking(self, by: str = "expected") -> np.ndarray:
        """Return the values that cells are ranked by; shape (n_cells,).

        Raises
        ------
        NoFactorError
            For "rrs" when no factor is in the model.
        """
        if by not in RANKINGS:
            raise InputError(f"Invalid by {by!r}. Rank by 'expected' (where next) or 'rrs' (why here).")
        if by == "rrs" and not self.factors:
            raise NoFactorError(
                "Invalid by 'rrs'. No factor is in the model, so the relative risk score is 1 everywhere; rank by "
                "'expected', which uses local history, or add factors or incidents."
            )
        return self.cells[by].to_numpy()

    @property
    def horizon(self) -> str:
        """What `expected` is for, in words."""
        return f"{self.horizon_days} days" if self.horizon_days else "the period of the data"

    # Convenience: each a delegation to the room that does the work.
    def hotspots(self, **options: Any) -> "gpd.GeoDataFrame":
        """Return ranked hot-spot cells; see `rtmkc.find_hotspots`."""
        from rtmkc.places.hotspots import find_hotspots

        return find_hotspots(self, **options)

    def corridors(self, streets: Any = None, **options: Any) -> "gpd.GeoDataFrame":
        """Return ranked next corridors; see `rtmkc.find_corridors`."""
        from rtmkc.places.corridors.search import find_corridors

        return find_corridors(self, streets, **options)

    def explain(self, location: Any, **options: Any) -> Any:
        """Explain one place; see `rtmkc.explain`."""
        from rtmkc.places.scoring import explain

        return explain(self, location, **options)

    def score(self, places: Any, **options: Any) -> "gpd.GeoDataFrame":
        """Score places; see `rtmkc.score`."""
        from rtmkc.places.scoring import score

        return score(self, places, **options)

    def plot(self, by: str = "expected", **options: Any) -> "Axes":
        """Draw the risk map; see `rtmkc.plot_risk`."""
        from rtmkc.output.plots import plot_risk

        return plot_risk(self, by=by, **options)

    def to_gpkg(self, path: str | Path, **options: Any) -> None:
        """Write a GeoPackage; see `rtmkc.write_gpkg`."""
        from rtmkc.output.files import write_gpkg

        write_gpkg(path, self, **options)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Save to a folder of JSON and GeoTIFF that `rtmkc.load` reads back, without the layers.

        Raises
        ------
        OutputError
            If the folder exists and `overwrite` is false, or cannot be written.
        """
        grid = self.grid
        document = {
            "schema_version": SCHEMA_VERSION,
            "rtmkc_version": __version__,
            "created": created_at(),
            "grid": {
                "crs": grid.crs.to_wkt(),
                "cell_size_m": grid.cell_size,
                "west": grid.west,
                "north": grid.north,
                "n_rows": grid.n_rows,
                "n_columns": grid.n_columns,
                "block_length_m": grid.block_length,
                "area": shapely.to_wkt(grid.area.geometry, rounding_precision=-1),
                "area_name": grid.area.name,
                "notes": list(grid.notes),
            },
            "city_mean": self.city_mean,
            "horizon_days": self.horizon_days,
            "factors": self.factors,
            "weights": _records(self.weights),
            "curves": _records(self.curves),
            "facts": self.facts,
        }
        surfaces = {name: self.cells[name].to_numpy() for name in SURFACES}
        surfaces |= {f"f_{name}": self.cells[f"f_{name}"].to_numpy(dtype=float) for name in self.factors}
        if overwrite and Path(path).exists() and not (Path(path) / "model.json").exists():
            raise OutputError(
                f"Invalid output {str(path)!r}. It is not a saved model, and is not replaced by one; choose another name."
            )
        with new_folder(path, overwrite=overwrite) as folder:
            write_json(folder / "model.json", document)
            write_cog(folder / "surfaces.tif", grid, surfaces, dtype="float64")

    def __repr__(self) -> str:
        factors = ", ".join(self.factors) or "no significant factor"
        return (
            f"RiskTerrain({self.grid.n_cells:,} cells, {self.facts['n_incidents']:,} incidents "
            f"{self.facts['period'] or 'of an unknown period'}; {factors})"
        )


def assess(
    grid: Grid,
    factors: Sequence[RiskFactor],
    incidents: Any,
    *,
    method: str,
    exposure: Any = None,
    allow_later_factors: bool = False,
    horizon: int | str = "90 days",
    random_state: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> RiskTerrain:
    """Fit both models and return the terrain: why here, and where next.

    Parameters
    ----------
    grid, factors, incidents, allow_later_factors
        As in `RiskTerrainModel.fit`.
    exposure : Exposure or cell vector, optional
        Adjusts the weights. The forecast ranks places by what is expected there, busy or not, and does not use it.
    method : {"classic"}
        Recipe of the weights.
    horizon : duration
        What expected incidents are for.
    random_state : int
        Seed of both models.
    progress : callable, optional
        Called with (step, done, total).

    Returns
    -------
    RiskTerrain
    """

    def step(name: str) -> Callable[[int, int], None] | None:
        return None if progress is None else lambda done, total: progress(name, done, total)

    observations = observe(grid, incidents, exposure=exposure)
    later = allow_later_factors
    # Read each layer once: both models measure the same features.
    resolved = [factor.opened() for factor in check_factors(factors)]
    columns = build_candidates(grid, resolved, progress=step("measuring factors"))
    why = RiskTerrainModel(method, random_state=random_state)  # type: ignore[arg-type]
    why.fit(grid, columns, observations, allow_later_factors=later, progress=step("fitting weights"))
    curves = build_curves(grid, resolved, progress=step("measuring curves"))
    where = RiskForecast(horizon=horizon, random_state=random_state)
    all_places = replace(observations, exposure=measure_exposure(grid, None))
    where.fit(grid, curves, all_places, allow_later_factors=later, progress=step("fitting forecast"))
    return RiskTerrain(why, where)


def load(path: str | Path) -> RiskTerrain:
    """Load a terrain saved by `RiskTerrain.save` or by a run.

    Raises
    ------
    InputError
        If the folder holds no model, or one of a newer schema.
    """
    folder = Path(path)
    # The folder of a run keeps its model in a folder of its own.
    if not (folder / "model.json").exists() and (folder / "model" / "model.json").exists():
        folder = folder / "model"
    try:
        document = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(
            f"Invalid model {str(path)!r}. It holds no model.json; give the folder written by `rtmkc run` or save()."
        ) from None
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(
            f"Invalid model {str(path)!r}. Its schema version is {version!r} and this rtmkc reads {SCHEMA_VERSION}; "
            "load it with the version of rtmkc that wrote it."
        )
    missing = {"grid", "factors", "weights", "curves", "city_mean", "horizon_days", "facts"} - set(document)
    if missing:
        raise InputError(
            f"Invalid model {str(path)!r}. Its model.json lacks {', '.join(sorted(missing))}; run it again."
        )
    rasters = read_cog(folder / "surfaces.tif")
    absent = [
        name for name in (*SURFACES, *(f"f_{one}" for one in document["factors"])) if name not in rasters
    ]
    if absent:
        raise InputError(
            f"Invalid model {str(path)!r}. Its surfaces.tif lacks {', '.join(absent)}; run it again."
        )
    inside = np.isfinite(rasters["share"])
    grid = _grid_of(document["grid"], inside, rasters["share"][inside])
    terrain = RiskTerrain.__new__(RiskTerrain)
    terrain._models = None
    terrain._fill(
        grid,
        {name: rasters[name][inside] for name in SURFACES},
        {name: rasters[f"f_{name}"][inside] for name in document["factors"]},
        _frame(document["weights"]),
        _frame(document["curves"]),
        document["city_mean"],
        document["horizon_days"],
        document["facts"],
    )
    return terrain


def _grid_of(document: dict[str, Any], inside: np.ndarray, share: np.ndarray) -> Grid:
    area = StudyArea(
        shapely.from_wkt(document["area"]), pyproj.CRS.from_wkt(document["crs"]), document["area_name"]
    )
    return Grid(
        area,
        document["cell_size_m"],
        document["west"],
        document["north"],
        document["n_rows"],
        document["n_columns"],
        document["block_length_m"],
        inside,
        share,
        tuple(document["notes"]),
    )


def _records(table: pd.DataFrame) -> dict[str, Any]:
    """A table as JSON: NaN becomes null and infinity text, which JSON cannot hold."""
    rows = [
        {
            name: None if pd.isna(value) else ("inf" if value == np.inf else value)
            for name, value in row.items()
        }
        for row in table.astype(object).to_dict("records")
    ]
    return {"columns": list(table.columns), "rows": rows}


def _frame(document: dict[str, Any]) -> pd.DataFrame:
    rows = [
        {name: np.inf if value == "inf" else value for name, value in row.items()} for row in document["rows"]
    ]
    table = pd.DataFrame(rows, columns=document["columns"])
    for name in table.columns:
        if name not in ("factor", "kind", "status", "reason"):
            table[name] = pd.to_numeric(table[name])
    return table


def _facts(why: RiskTerrainModel, where: RiskForecast) -> dict[str, Any]:
    grid, observations = why.candidates_.grid, why.observations_
    features = why.candidates_.features
    return {
        "n_incidents": observations.n_incidents,
        "period": str(observations.period) if observations.period else None,
        "period_days": observations.period.days if observations.period else None,
        "n_cells": grid.n_cells,
        "n_cells_with_incidents": int((observations.counts > 0).sum()),
        "cell_size_m": grid.cell_size,
        "block_length_m": grid.block_length,
        "area_km2": grid.area.area_m2 / 1e6,
        "crs": grid.crs.to_string(),
        "crs_name": grid.crs.name,
        "exposure": observations.exposure.statement,
        "timing": why.timing_,
        "why": {
            "method": why.method,
            "family": why.family_,
            "intercept": why.intercept_,
            "dispersion": why.dispersion_,
            "bic": _records(why.bic_),
            "runner_ups": _records(why.runner_ups_),
            "n_generated": why.candidates_.n_generated,
            "n_dropped": len(why.candidates_.dropped),
            "n_kept": why.n_kept_,
            "seed": why.random_state,
            "notes": list(why.notes_),
        },
        "where": {
            "tempering": where.history_.tempering,
            "strengths": list(where.history_.strengths),
            "uses_curves": where.uses_curves_,
            "seed": where.random_state,
            "notes": list(where.notes_),
        },
        "factors": [
            {
                "name": name,
                "provenance": found.layer.provenance,
                "period": str(found.layer.period) if found.layer.period else None,
                "n_inside": found.n_inside,
                "n_beyond": found.n_beyond,
                "source": Path(found.layer.source).name,
                "notes": list(found.layer.notes),
            }
            for name, found in features.items()
        ],
        "cannot_know": list(CANNOT_KNOW),
    }
