"""Cell vectors to cloud-optimised GeoTIFFs and back."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.io import MemoryFile

from rtmkc.errors import InputError
from rtmkc.raster.grid import Grid
from rtmkc.storage import write_atomically


def write_cog(
    path: str | Path,
    grid: Grid,
    bands: Mapping[str, np.ndarray],
    *,
    dtype: str = "float32",
    units: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> None:
    """Write cell vectors as the bands of one cloud-optimised GeoTIFF; NaN where there is no cell.

    Parameters
    ----------
    path : path
        The file.
    grid : Grid
        The grid of the vectors.
    bands : mapping of str to ndarray, each (n_cells,)
        Band descriptions and values, in order.
    dtype : {"float32", "float64"}
        Type in the file.
    units : mapping of str to str, optional
        Unit of each band that has one.
    tags : mapping, optional
        Metadata of the file.
    overwrite : bool
        Whether a file that exists may be replaced.

    Raises
    ------
    OutputError
        If the file exists or cannot be written.
    """
    rasters = np.stack([grid.to_raster(np.asarray(vector, dtype=float)) for vector in bands.values()])
    profile = {
        "driver": "GTiff",
        "dtype": dtype,
        "count": len(rasters),
        "height": grid.n_rows,
        "width": grid.n_columns,
        "crs": grid.crs.to_wkt(),
        "transform": grid.transform,
        "nodata": np.nan,
    }
    with write_atomically(path, overwrite=overwrite) as temporary, MemoryFile() as memory:
        with memory.open(**profile) as plain:
            plain.write(rasters.astype(dtype))
            for number, name in enumerate(bands, start=1):
                plain.set_band_description(number, name)
                if units and name in units:
                    plain.set_band_unit(number, units[name])
            plain.update_tags(**(tags or {}))
        with memory.open() as plain:
            rasterio.shutil.copy(
                plain, temporary, driver="COG", compress="deflate", predictor="yes", overviews="auto"
            )


def read_cog(path: str | Path, inside: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Read the bands of a file written by `write_cog`, as rasters, or as cell vectors given `inside`.

    Raises
    ------
    InputError
        If the file cannot be read as a raster.
    """
    try:
        with rasterio.open(path) as file:
            names = [name or f"band_{number}" for number, name in enumerate(file.descriptions, start=1)]
            rasters = file.read()
    except rasterio.errors.RasterioIOError as error:
        reason = str(error.__cause__ or error).rstrip(".")
        raise InputError(f"Invalid raster {str(path)!r}. It cannot be read: {reason}.") from None
    return {
        name: raster if inside is None else raster[inside]
        for name, raster in zip(names, rasters, strict=True)
    }
