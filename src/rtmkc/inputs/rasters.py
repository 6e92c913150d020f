"""Rasters as covariates: a band of pixels with its place on earth, read in windows, and its ledger."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import rasterio
from affine import Affine
from rasterio.windows import Window

from rtmkc.checks import check_choice, check_number
from rtmkc.errors import InputError
from rtmkc.inputs.coordinates import crs_name, parse_crs
from rtmkc.inputs.files import RASTERS
from rtmkc.inputs.layers import PROVENANCES
from rtmkc.inputs.ledger import Ledger
from rtmkc.storage import file_sha256
from rtmkc.units import Period, parse_period

#: Values below this are no measurement: the most negative float stands for "no data" in many files.
LOWEST = -1e30


@dataclass(frozen=True, eq=False, repr=False)
class RasterLayer:
    """One band of a raster: what is measured everywhere, such as population or light at night.

    A raster in a file is read in windows, when its values are needed: one of a whole country costs what its
    part over the city costs.

    Parameters
    ----------
    name : str
    crs : pyproj.CRS
    transform : Affine
        From (column, row) to coordinates of `crs`.
    n_rows, n_columns : int
    provenance : str
        One of `PROVENANCES`.
    ledger : Ledger
        Of pixels.
    period : Period or None
        Days that it tells of, as stated.
    source : str
        File, or "memory".
    sha256 : str or None
    notes : tuple of str

    Raises
    ------
    InputError
        If the provenance is unknown.
    """

    name: str
    crs: pyproj.CRS
    transform: Affine
    n_rows: int
    n_columns: int
    provenance: str
    ledger: Ledger
    period: Period | None = None
    source: str = "memory"
    sha256: str | None = None
    notes: tuple[str, ...] = ()
    band: int = 1
    nodata: float | None = None
    pixels: np.ndarray | None = field(default=None)

    def __post_init__(self) -> None:
        check_choice("provenance", self.provenance, PROVENANCES)

    @classmethod
    def from_array(
        cls,
        pixels: Any,
        *,
        transform: Affine,
        crs: Any,
        name: str = "raster",
        nodata: float | None = None,
        provenance: str | None = None,
        period: str | Period | None = None,
    ) -> "RasterLayer":
        """Return the layer of an array, shape (n_rows, n_columns), north up or however `transform` lays it.

        Raises
        ------
        InputError
            If the array is not of two dimensions and numbers, or the system is unknown.
        """
        values = np.asarray(pixels)
        if values.ndim != 2 or not values.size or values.dtype.kind not in "iufb":
            raise InputError(
                f"Invalid raster of {values.dtype} and shape {values.shape}. Give numbers in rows and columns."
            )
        return cls(
            name=name,
            crs=parse_crs(crs),
            transform=transform,
            n_rows=values.shape[0],
            n_columns=values.shape[1],
            provenance=provenance or "unstated",
            ledger=Ledger.of(name, values.size),
            period=None if period is None else parse_period(period),
            nodata=nodata,
            pixels=values,
        )

    def __len__(self) -> int:
        return self.ledger.used

    def __repr__(self) -> str:
        return (
            f"<RasterLayer {self.name!r}: {self.n_rows:,} x {self.n_columns:,} pixels, {crs_name(self.crs)}, "
            f"{self.provenance}{f', {self.period}' if self.period else ''}>"
        )

    def window(self, west: float, south: float, east: float, north: float) -> Window | None:
        """Return the pixels that touch a box in the raster's own system, or None if none does."""
        inverse = ~self.transform
        columns, rows = transformed(
            inverse, np.array([west, west, east, east]), np.array([south, north, south, north])
        )
        # Edges of the box are curves in another system: a pixel more on every side.
        first_column, last_column = max(0, int(np.floor(columns.min())) - 1), int(np.ceil(columns.max())) + 1
        first_row, last_row = max(0, int(np.floor(rows.min())) - 1), int(np.ceil(rows.max())) + 1
        last_column, last_row = min(last_column, self.n_columns), min(last_row, self.n_rows)
        if last_column <= first_column or last_row <= first_row:
            return None
        return Window(first_column, first_row, last_column - first_column, last_row - first_row)

    def read(self, window: Window | None = None) -> np.ndarray:
        """Return values of pixels, shape (rows, columns) of the window; NaN where there are no data.

        Raises
        ------
        InputError
            If the file cannot be read.
        """
        if self.pixels is not None:
            part = (slice(None), slice(None)) if window is None else window.toslices()
            values = self.pixels[part].astype(float)
        else:
            with _opened(Path(self.source)) as file:
                cells = file.read(self.band, window=window, masked=True)
                scale, offset = file.scales[self.band - 1], file.offsets[self.band - 1]
                values = np.ma.filled(cells.astype(float), np.nan) * scale + offset
        if self.nodata is not None:
            values[values == self.nodata] = np.nan
        values[~np.isfinite(values) | (values < LOWEST)] = np.nan
        return values

    def account(self, dropped: dict[str, int]) -> "RasterLayer":
        """Return the layer with pixels counted as left out, by reason."""
        ledger = self.ledger
        for reason, pixels in dropped.items():
            ledger = ledger.drop(reason, pixels)
        return replace(self, ledger=ledger)


def transformed(transform: Affine, across: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where an affine transform puts points."""
    return (
        transform.a * across + transform.b * down + transform.c,
        transform.d * across + transform.e * down + transform.f,
    )


def is_raster(thing: Any) -> bool:
    """Return whether something is a raster: a `RasterLayer`, or the path of a raster file."""
    if isinstance(thing, RasterLayer):
        return True
    return isinstance(thing, str | Path) and Path(thing).suffix.lower() in RASTERS


def as_raster(thing: Any, *, name: str) -> RasterLayer:
    """Return a `RasterLayer` unchanged, or that of a path."""
    return thing if isinstance(thing, RasterLayer) else read_raster(thing, name=name)


def read_raster(
    source: str | Path,
    *,
    name: str | None = None,
    band: int | str | None = None,
    crs: Any = None,
    nodata: float | None = None,
    provenance: str | None = None,
    period: str | Period | None = None,
) -> RasterLayer:
    """Return one band of a raster file as a layer.

    Parameters
    ----------
    source : path
        GeoTIFF (also cloud-optimised), VRT, Erdas Imagine or ESRI ASCII grid.
    name : str, optional
        Name of the layer; else the file's.
    band : int or str, optional
        Number (from 1) or description of the band; needed if there are several.
    crs : optional
        Coordinate reference system of a file that does not say its own.
    nodata : float, optional
        Value that stands for "no data" where the file does not say so, such as -9999.
    provenance : str, optional
        What made it: environment, community-reported, inspection, policing or person.
    period : str or Period, optional
        Days that it tells of, such as "2020".

    Returns
    -------
    RasterLayer

    Raises
    ------
    InputError
        If the file cannot be read as a raster, has no place on earth or no CRS, or a band has to be named.

    Examples
    --------
    >>> import tempfile
    >>> import rasterio
    >>> folder = tempfile.TemporaryDirectory()
    >>> profile = {"driver": "GTiff", "width": 3, "height": 2, "count": 1, "dtype": "uint8", "crs": "EPSG:26915"}
    >>> with rasterio.open(f"{folder.name}/p.tif", "w", transform=Affine(100, 0, 0, 0, -100, 200), **profile) as file:
    ...     file.write(np.arange(6, dtype="uint8").reshape(1, 2, 3))
    >>> read_raster(f"{folder.name}/p.tif", name="residents", period="2020")
    <RasterLayer 'residents': 2 x 3 pixels, EPSG:26915, unstated, 2020-01-01/2020-12-31>
    >>> folder.cleanup()
    """
    path = Path(source)
    if provenance is not None:
        check_choice("provenance", provenance, PROVENANCES)
    notes: list[str] = []
    with _opened(path) as file:
        number = _choose_band(path, band, file.descriptions)
        own = None if file.crs is None else pyproj.CRS.from_user_input(file.crs.to_wkt())
        stated = None if crs is None else parse_crs(crs)
        if own is None and stated is None:
            raise InputError(
                f"Invalid crs None. Raster {str(path)!r} does not say its coordinate reference system; state "
                "it, as in crs='EPSG:4326' for longitude and latitude."
            )
        if own is not None and stated is not None and own != stated:
            raise InputError(
                f"Invalid crs {crs_name(stated)!r}. Raster {str(path)!r} says that it is in {crs_name(own)}; "
                "leave crs= out, or correct the file."
            )
        if file.transform == Affine.identity():
            raise InputError(
                f"Invalid file {str(path)!r}. It is a picture without a place on earth; export it as a GeoTIFF."
            )
        if file.nodatavals[number - 1] is None and nodata is None:
            notes.append("the raster names no value for 'no data': every pixel counts, unless not a number")
        if file.count > 1:
            notes.append(
                f"band {number} of {file.count}: {file.descriptions[number - 1] or 'without a name'}"
            )
        transform, n_rows, n_columns = file.transform, file.height, file.width
    title = name or path.stem
    return RasterLayer(
        name=title,
        crs=stated if own is None else own,  # type: ignore[arg-type]
        transform=transform,
        n_rows=n_rows,
        n_columns=n_columns,
        provenance=provenance or "unstated",
        ledger=Ledger.of(title, n_rows * n_columns),
        period=None if period is None else parse_period(period),
        source=str(source),
        sha256=file_sha256(path),
        notes=tuple(notes),
        band=number,
        nodata=None if nodata is None else check_number("nodata", nodata),
    )


def _choose_band(path: Path, band: int | str | None, descriptions: tuple[str | None, ...]) -> int:
    if band is None and len(descriptions) == 1:
        return 1
    if isinstance(band, str) and descriptions.count(band) == 1:
        return descriptions.index(band) + 1
    if isinstance(band, int) and not isinstance(band, bool) and 1 <= band <= len(descriptions):
        return band
    listed = ", ".join(
        f"{number} ({text or 'without a name'})" for number, text in enumerate(descriptions, 1)
    )
    raise InputError(
        f"Invalid band {band!r}. {path.name} has {len(descriptions)} bands; choose one with band=: {listed}."
    )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise InputError(f"Invalid file {str(path)!r}. There is no such file; check the name and the folder.")
    if path.suffix.lower() not in RASTERS:
        raise InputError(
            f"Invalid file {str(path)!r}. Its ending {path.suffix.lower()!r} is not one of a raster: "
            f"{', '.join(RASTERS)}."
        )
    try:
        with warnings.catch_warnings():
            # A file without a place is refused by name.
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(path) as file:
                yield file
    except rasterio.errors.RasterioError as error:
        reason = " ".join(str(error).split()).rstrip(".")[:200]
        raise InputError(
            f"Invalid file {str(path)!r}. It cannot be read as a raster: {reason}. Export it again."
        ) from None
