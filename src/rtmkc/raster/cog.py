"""Cell vectors to cloud-optimised GeoTIFFs and back."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.windows import Window

from rtmkc.errors import InputError
from rtmkc.raster.grid import Grid
from rtmkc.raster.tiles import Frame, Strip
from rtmkc.storage import write_atomically

CACHE_MB = 128


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
    vectors = {name: np.asarray(vector) for name, vector in bands.items()}
    for vector in vectors.values():
        if vector.shape != (grid.n_cells,):
            raise InputError(
                f"Invalid cell vector of shape {vector.shape}. The grid has {grid.n_cells:,} cells."
            )
    windows = (
        (strip, {name: vector[strip.cells] for name, vector in vectors.items()}) for strip in grid.strips()
    )
    with write_atomically(path, overwrite=overwrite) as temporary:
        fill_cog(temporary, grid, list(vectors), windows, dtype=dtype, units=units, tags=tags)


def fill_cog(
    path: Path,
    frame: Frame,
    names: Sequence[str],
    windows: Iterable[tuple[Strip, Mapping[str, np.ndarray]]],
    *,
    dtype: str = "float32",
    units: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Fill a temporary path of `write_atomically` window by window: no more than one strip of cells is in memory.

    Parameters
    ----------
    path : Path
        The file; a plain copy is made beside it.
    frame : Frame
        Where its cells are.
    names : sequence of str
        Band descriptions, in order.
    windows : iterable of (Strip, mapping of str to ndarray)
        The values of every band at the cells of each strip.
    dtype, units, tags
        As in `write_cog`.

    Raises
    ------
    OSError
        If the disk is full.
    """
    profile = {
        "driver": "GTiff",
        "dtype": dtype,
        "count": len(names),
        "height": frame.n_rows,
        "width": frame.n_columns,
        "crs": frame.crs.to_wkt(),
        "transform": frame.transform,
        "nodata": np.nan,
        "BIGTIFF": "IF_SAFER",
    }
    plain, n_values = path.with_name(f"{path.name}.plain.tif"), 0
    try:
        # GDAL would otherwise keep blocks in a twentieth of all memory.
        with rasterio.Env(GDAL_CACHEMAX=CACHE_MB), rasterio.open(plain, "w", **profile) as file:
            for strip, values in windows:
                window = Window(0, strip.first_row, frame.n_columns, strip.n_rows)
                for number, name in enumerate(names, start=1):
                    raster = np.full(strip.inside.shape, np.nan, dtype=dtype)
                    raster[strip.inside] = values[name]
                    file.write(raster, number, window=window)
                    n_values += int(np.count_nonzero(~np.isnan(raster))) if number == 1 else 0
            for number, name in enumerate(names, start=1):
                file.set_band_description(number, name)
                if units and name in units:
                    file.set_band_unit(number, units[name])
            file.update_tags(**(tags or {}))
        with rasterio.Env(GDAL_CACHEMAX=CACHE_MB):
            rasterio.shutil.copy(
                plain, path, driver="COG", compress="deflate", predictor="yes", overviews="auto",
                bigtiff="if_safer", num_threads="all_cpus",
            )  # fmt: skip
        plain.unlink()
        is_whole = _count_values(path) == n_values
    except (RasterioError, CPLE_BaseError):
        is_whole = False
    if not is_whole:
        raise OSError("the raster was cut short, as it is when a disk is full")


def _count_values(path: Path) -> int:
    """The cells of the first band with a value: where a disk is full, GDAL may leave a part of a file and say nothing."""
    with rasterio.open(path) as file:
        parts = (file.read(1, window=window) for _, window in file.block_windows(1))
        return sum(int(np.count_nonzero(~np.isnan(part))) for part in parts)


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
