"""Cell vectors of a grid as padded rasters: correlations and convolutions by FFT, on any shape of area."""

import os

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from rtmkc.raster.grid import Grid

Spectrum = NDArray[np.complex128]


class Plane:
    """The plane of a grid, padded with zeros so that shifts up to half its shorter side do not wrap.

    Attributes
    ----------
    grid : Grid
        The grid.
    short_side : int
        Cells along the shorter side of the box around the area.
    distance : ndarray of float, shape (n_padded_rows, n_padded_columns)
        Length of the shift that each entry of a correlation stands for, in cells.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.rows, self.columns = grid.rows - grid.rows.min(), grid.columns - grid.columns.min()
        extent = int(self.rows.max()) + 1, int(self.columns.max()) + 1
        self.short_side = min(extent)
        pad = self.short_side // 2 + 1
        self.shape = tuple(fft.next_fast_len(size + pad, real=True) for size in extent)
        self.spectrum_shape = self.shape[0], self.shape[1] // 2 + 1
        down, across = (fft.fftfreq(size, 1 / size) for size in self.shape)
        self.distance = np.hypot(down[:, None], across[None, :])

    def spectrum(self, vector: np.ndarray) -> Spectrum:
        """Transform a cell vector; places outside the area count 0."""
        raster = np.zeros(self.shape)
        raster[self.rows, self.columns] = vector
        return self.transform(raster)

    def transform(self, raster: np.ndarray) -> Spectrum:
        """Transform a padded raster."""
        return np.asarray(fft.rfft2(raster, workers=_workers()))

    def back(self, spectrum: Spectrum) -> np.ndarray:
        """Return the padded raster of a spectrum."""
        return np.asarray(fft.irfft2(spectrum, s=self.shape, workers=_workers()))

    def mean_of(self, spectrum: np.ndarray) -> float:
        """Return the mean of a real spectrum over all frequencies, of which half are stored."""
        by_column = spectrum.sum(axis=0)
        twice = 2 * by_column.sum() - by_column[0] - (by_column[-1] if self.shape[1] % 2 == 0 else 0.0)
        return float(twice / (self.shape[0] * self.shape[1]))

    def correlate(self, moved: Spectrum, fixed: Spectrum) -> np.ndarray:
        """Return ``sum_i moved(i + s) fixed(i)`` for every shift s, as a padded raster."""
        return self.back(moved * fixed.conj())

    def convolve(self, vector: np.ndarray, kernel: Spectrum) -> np.ndarray:
        """Return a cell vector convolved with a symmetric kernel, on the cells of the area."""
        return np.asarray(self.back(self.spectrum(vector) * kernel)[self.rows, self.columns])


def _workers() -> int:
    return os.cpu_count() or 1
