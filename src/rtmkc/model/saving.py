"""A terrain as files, JSON and GeoTIFF, and back: without the layers, never pickled."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyproj
import shapely

from rtmkc import __version__
from rtmkc.errors import InputError, OutputError
from rtmkc.model.facts import records
from rtmkc.model.terrain import RiskTerrain
from rtmkc.raster.area import StudyArea
from rtmkc.raster.cog import read_cog, write_cog
from rtmkc.raster.grid import Grid
from rtmkc.storage import created_at, new_folder, write_json

SCHEMA_VERSION = 3
SURFACES = (
    "share", "count", "exposure", "rrs", "environment", "area_history", "spot_history", "expected", "lower", "upper",
    "rate_sd", "neighbourhood",
)  # fmt: skip
TEXT = ("factor", "kind", "extent_set", "status", "reason")


def save(terrain: RiskTerrain, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a terrain to a folder; see `RiskTerrain.save`."""
    grid = terrain.grid
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
        "city_mean": terrain.city_mean,
        "horizon_days": terrain.horizon_days,
        "factors": terrain.factors,
        "weights": records(terrain.weights),
        "curves": records(terrain.curves),
        "facts": terrain.facts,
    }
    surfaces = {name: terrain.cells[name].to_numpy() for name in SURFACES}
    surfaces |= {f"f_{name}": terrain.cells[f"f_{name}"].to_numpy(dtype=float) for name in terrain.factors}
    if overwrite and Path(path).exists() and not (Path(path) / "model.json").exists():
        raise OutputError(
            f"Invalid output {str(path)!r}. It is not a saved model, and is not replaced by one; choose another name."
        )
    with new_folder(path, overwrite=overwrite) as folder:
        write_json(folder / "model.json", document)
        write_cog(folder / "surfaces.tif", grid, surfaces, dtype="float64")


def model_folder(path: str | Path) -> Path:
    """Return where the files of a terrain are: the folder itself, or, of a run, a folder of its own in it."""
    folder = Path(path)
    if not (folder / "model.json").exists() and (folder / "model" / "model.json").exists():
        return folder / "model"
    return folder


def load(path: str | Path) -> RiskTerrain:
    """Load a terrain saved by `RiskTerrain.save` or by a run.

    Raises
    ------
    InputError
        If the folder holds no model, or one of a newer schema.
    """
    folder = model_folder(path)
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


def _frame(document: dict[str, Any]) -> pd.DataFrame:
    rows = [
        {name: np.inf if value == "inf" else value for name, value in row.items()} for row in document["rows"]
    ]
    table = pd.DataFrame(rows, columns=document["columns"])
    for name in table.columns:
        if name not in TEXT:
            table[name] = pd.to_numeric(table[name])
    return table
