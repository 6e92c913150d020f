"""The manifest of a run: what went in, what was used, and what came out, by hash."""

import importlib.metadata
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from rtmkc import __version__
from rtmkc.inputs.layers import Layer
from rtmkc.inputs.ledger import Ledger
from rtmkc.inputs.lost import source_sha256
from rtmkc.raster.factors import RiskFactor
from rtmkc.storage import created_at, file_sha256
from rtmkc.workflow.study import Study

LIBRARIES = (
    "numpy", "scipy", "pandas", "geopandas", "shapely", "pyproj", "pyogrio", "rasterio", "scikit-learn",
    "numba", "pyarrow", "matplotlib",
)  # fmt: skip


def ledgers_of(incidents: Layer | None, factors: Sequence[RiskFactor]) -> list[Ledger]:
    """Return what became of every row of the incidents and the factors."""
    layers = (incidents, *(factor.layer for factor in factors))
    return [layer.ledger for layer in layers if layer is not None]


def versions() -> dict[str, str]:
    """Return the versions of rtmkc, Python, the libraries, GDAL and PROJ."""
    import pyogrio
    import pyproj
    import rasterio

    found = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {
        "rtmkc": __version__,
        "python": platform.python_version(),
        "platform": sys.platform,
        **found,
        "gdal (rasterio)": rasterio.__gdal_version__,
        "gdal (pyogrio)": pyogrio.__gdal_version_string__,
        "proj": pyproj.proj_version_str,
    }


def ledger_record(ledger: Ledger) -> dict[str, Any]:
    """Return what became of the rows of a layer, for JSON."""
    return {
        "layer": ledger.name,
        "read": ledger.read,
        "used": ledger.used,
        "merged": dict(ledger.merged),
        "dropped": dict(ledger.dropped),
    }


def describe_run(
    study: Study, folder: Path, facts: dict[str, Any], ledgers: list[Ledger], places: dict[str, str]
) -> dict[str, Any]:
    """Return the manifest of a run whose other files are already in `folder`.

    Parameters
    ----------
    study : Study
        With every default filled in: what is written is what was used.
    folder : Path
        The results.
    facts : dict
        Facts of the terrain.
    ledgers : list of Ledger
        What became of every row.
    places : dict
        The statements of hot spots, corridors and districts, or none.

    Returns
    -------
    dict
        Hashes, versions, parameters, ledgers and facts, for JSON.
    """
    parameters = msgspec.to_builtins(study)
    parameters.pop("folder")  # where a machine keeps its files is nobody's business
    return {
        "schema_version": 1,
        "created": created_at(),
        "versions": versions(),
        "inputs": {name: source_sha256(path) for name, path in study.files().items()},
        "parameters": parameters,
        "ledgers": [ledger_record(one) for one in ledgers],
        "facts": facts,
        "places": places,
        "outputs": {
            path.relative_to(folder).as_posix(): file_sha256(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    }
