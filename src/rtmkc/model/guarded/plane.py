"""Cell vectors of a grid as padded rasters: correlations and convolutions by FFT, on any shape of area."""

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from rtmkc.raster.grid import Grid

Spectrum = NDArray[np.complex128]


class Plane:
    """The plane of a grid, padded with zeros so that shifts up to half its shorter side do not wrap.

    Transforms go along rows first and then along columns, and back the other way round: rows that hold nothing but
    zeros, and rows that nobody asks for, are left out. Each is made in one thread: two side by side
    take the time of one, which two threads for one would not.

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
        rows, columns = grid.rows - grid.rows.min(), grid.columns - grid.columns.min()
        extent = int(rows.max()) + 1, int(columns.max()) + 1
        self.short_side = min(extent)
        pad = self.short_side // 2 + 1
        self.shape = tuple(fft.next_fast_len(size + pad, real=True) for size in extent)
        self.spectrum_shape = self.shape[0], self.shape[1] // 2 + 1
        self._n_rows, self._places = extent[0], rows * self.shape[1] + columns
        down, across = (fft.fftfreq(size, 1 / size) for size in self.shape)
        self.distance = np.hypot(down[:, None], across[None, :])

    def spectrum(self, vector: np.ndarray) -> Spectrum:
        """Transform a cell vector; places outside the area count 0."""
        raster = np.zeros((self._n_rows, self.shape[1]))
        raster.ravel()[self._places] = vector
        return self.transform(raster)

    def transform(self, raster: np.ndarray) -> Spectrum:
        """Transform a padded raster, or its first rows where the others are 0."""
        along = fft.rfft(raster, axis=1)
        return np.asarray(fft.fft(along, n=self.shape[0], axis=0, overwrite_x=True))

    def back(self, spectrum: np.ndarray, rows: slice | NDArray[np.intp] = np.s_[:]) -> np.ndarray:
        """Return the padded raster of a spectrum, or some of its rows; the spectrum is written over."""
        along = fft.ifft(spectrum, axis=0, overwrite_x=True)[rows]
        return np.asarray(fft.irfft(along, n=self.shape[1], axis=1))

    def mean_of(self, spectrum: np.ndarray) -> float:
        """Return the mean of a real spectrum over all frequencies, of which half are stored."""
        by_column = spectrum.sum(axis=0)
        twice = 2 * by_column.sum() - by_column[0] - (by_column[-1] if self.shape[1] % 2 == 0 else 0.0)
        return float(twice / (self.shape[0] * self.shape[1]))

    def correlate(
        self, moved: Spectrum, fixed: Spectrum, rows: slice | NDArray[np.intp] = np.s_[:]
    ) -> np.ndarray:
        """Return ``sum_i moved(i + s) fixed(i)`` for every shift s, as a padded raster or some of its rows."""
        return self.back(moved * fixed.conj(), rows)

    def convolve(self, vector: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        """Return a cell vector convolved with a symmetric kernel, given as spectrum, on the cells of the area."""
        spectrum = self.spectrum(vector)
        spectrum *= kernel
        return np.asarray(self.back(spectrum, np.s_[: self._n_rows]).ravel()[self._places])
