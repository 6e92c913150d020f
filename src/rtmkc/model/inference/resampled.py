"""Standard errors for incidents that cluster: blocks drawn again, and a sandwich whose filling reaches far."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.stats import t

from rtmkc.engine.rows.collapse import patterns
from rtmkc.engine.rows.families import GlmFit, fit_draws, fit_glm
from rtmkc.engine.sweeps import Design
from rtmkc.errors import InputError
from rtmkc.evidence.statistics.resampling import square_blocks
from rtmkc.model.guarded.plane import Plane
from rtmkc.model.guarded.recipe import WALD, Response
from rtmkc.raster.grid import Grid

Floats = NDArray[np.float64]

MIN_BLOCKS = 4
"""Blocks; the spread of fewer says nothing."""
MAX_LOST = 0.05
"""Share of the draws that may leave a column without incidents before its error counts as unknown."""


@dataclass(frozen=True, eq=False)
class BlockTable:
    """Incidents and exposure by block and by pattern of columns: all that a Poisson fit of weighted blocks needs.

    Attributes
    ----------
    matrix : ndarray, shape (n_patterns, n_columns + n_covariates)
        Columns and covariates of each pattern.
    n_columns : int
        How many of them are columns.
    pattern, block : ndarray of int, shape (n_rows,)
    counts, exposure : ndarray of float, shape (n_rows,)
        Sums over the cells of a pattern in a block.
    """

    matrix: Floats
    n_columns: int
    pattern: np.ndarray = field(repr=False)
    block: np.ndarray = field(repr=False)
    counts: Floats = field(repr=False)
    exposure: Floats = field(repr=False)

    @classmethod
    def of(
        cls,
        design: Design,
        columns: Sequence[int],
        response: Response,
        blocks: np.ndarray | None = None,
        cells: NDArray[np.bool_] | None = None,
    ) -> "BlockTable":
        """Collapse cells, all or some; every cell is a pattern of its own where there are covariates."""
        n_cells = response.counts.size
        pattern, matrix = patterns(design, columns, n_cells)
        kept = slice(None) if cells is None else cells
        counts, exposure = response.counts[kept], np.exp(response.offset[kept])
        block = np.zeros(counts.size, dtype=np.int64)
        if blocks is not None:
            block = np.unique(blocks[kept], return_inverse=True)[1]
        pattern = pattern[kept]
        if response.covariates.shape[1]:
            matrix = np.column_stack([matrix[pattern], response.covariates[kept]])
            return cls(matrix, len(columns), np.arange(counts.size), block, counts, exposure)
        # Patterns are few, and so are blocks: counting by both is cheaper than sorting the cells.
        key = block * len(matrix) + pattern
        rows = np.flatnonzero(np.bincount(key))
        return cls(
            matrix,
            len(columns),
            rows % len(matrix),
            rows // len(matrix),
            np.bincount(key, weights=counts)[rows].astype(float),
            np.bincount(key, weights=exposure)[rows].astype(float),
        )

    @property
    def n_blocks(self) -> int:
        """Blocks with cells."""
        return int(self.block.max()) + 1

    def fit(self, weights: Floats | None = None) -> GlmFit | None:
        """Fit a Poisson model to blocks of given weights; None if a column has all incidents, or none."""
        weight = np.ones(len(self.block)) if weights is None else weights[self.block]
        counts, exposure = (
            np.bincount(self.pattern, weights=weight * sums, minlength=len(self.matrix))
            for sums in (self.counts, self.exposure)
        )
        inside = counts @ (self.matrix[:, : self.n_columns] > 0)
        if not counts.sum() or (np.minimum(inside, counts.sum() - inside) <= 0).any():
            return None
        some = exposure > 0
        fit = fit_glm(self.matrix[some], counts[some], offset=np.log(exposure[some]))
        return None if fit.separated else fit

    def coefs(self, draws: Floats) -> Floats:
        """Fit to each of many weights of the blocks, (n_draws, n_blocks); coefficients of the columns where `fit` has any."""
        whole = self.fit()
        start = np.zeros(1 + self.matrix.shape[1])
        start[0] = np.log(self.counts.sum() / self.exposure.sum())
        if whole is not None:
            start = np.array([whole.intercept, *whole.coef])
        return fit_draws(
            self.matrix, self.n_columns, self.pattern, self.block, self.counts, self.exposure, draws, start
        )


@dataclass(frozen=True, eq=False)
class Errors:
    """Standard errors of coefficients, and what to multiply them with for a 95 % interval; NaN where not known."""

    standard_errors: Floats
    multiple: float


def blocks_of(grid: Grid, side: float) -> np.ndarray:
    """Return the square block of each cell, of a side in metres; blocks count from the corner of the grid."""
    return square_blocks(grid.rows, grid.columns, max(1, round(side / grid.cell_size)))


def checkerboard(grid: Grid, side: float) -> NDArray[np.bool_]:
    """Return which cells lie in the white blocks of a checkerboard with squares of a side in metres."""
    n_cells = max(1, round(side / grid.cell_size))
    return np.asarray((grid.rows // n_cells + grid.columns // n_cells) % 2 == 0)


def check_blocks(n_blocks: int, side: float) -> None:
    """Raise if an area holds too few blocks."""
    if n_blocks < MIN_BLOCKS:
        raise InputError(
            f"Invalid block {side:,.0f} m. The area holds {n_blocks} such blocks in one sample, and fewer than "
            f"{MIN_BLOCKS} say nothing of how much they vary. Use a shorter block=, if patches of risk are shorter too, "
            "or how='thin' or 'conley'."
        )


def bootstrap_errors(table: BlockTable, n_draws: int, seed: int) -> Errors:
    """Draw the blocks again and again with replacement, and fit each draw.

    Notes
    -----
    The standard error is the standard deviation over draws [1]_, and the interval takes Student's t with one degree of
    freedom less than there are blocks [2]_. A draw that leaves a column with none of the incidents, or all, has no fit.

    References
    ----------
    .. [1] Lahiri, S. N. (2003). Resampling Methods for Dependent Data. Springer.
    .. [2] Bester, C. A., Conley, T. G. and Hansen, C. B. (2011). Inference with dependent data using cluster covariance
       estimators. Journal of Econometrics 165.
    """
    shares = np.full(table.n_blocks, 1 / table.n_blocks)
    draws = np.random.default_rng(seed).multinomial(table.n_blocks, shares, size=n_draws)
    coefs = table.coefs(draws.astype(float))
    errors = np.full(table.n_columns, np.nan)
    if len(coefs) >= (1 - MAX_LOST) * n_draws:
        errors = coefs.std(axis=0, ddof=1)
    return Errors(errors, float(t.ppf(0.975, table.n_blocks - 1)))


def conley_errors(plane: Plane, matrix: Floats, counts: Floats, means: Floats, bandwidth: float) -> Errors:
    """Standard errors that allow for residuals that are alike up to some distance.

    Parameters
    ----------
    plane : Plane
    matrix : (n_cells, n_columns)
        With the intercept first, and covariates last if there are any.
    counts, means : (n_cells,)
    bandwidth : float
        In cells: where the kernel ends, at most half the shorter side of the area.

    Returns
    -------
    Errors
        One a column of `matrix`.

    Notes
    -----
    ``I^-1 [sum_ij K(i - j) s_i s_j'] I^-1`` with scores ``s_i = x_i (y_i - m_i)`` [1]_ and K the product of Bartlett's
    kernel along rows and columns, ``(1 - |dr| / L)+ (1 - |dc| / L)+``, which makes the sum positive semi-definite [2]_.

    References
    ----------
    .. [1] Conley, T. G. (1999). GMM estimation with cross sectional dependence. Journal of Econometrics 92.
    .. [2] Newey, W. K. and West, K. D. (1987). A simple, positive semi-definite, heteroskedasticity and
       autocorrelation consistent covariance matrix. Econometrica 55.
    """
    down, across = (
        np.maximum(0.0, 1.0 - np.abs(fft.fftfreq(size, 1 / size)) / bandwidth) for size in plane.shape
    )
    kernel = plane.transform(np.outer(down, across))
    scores = matrix * (counts - means)[:, None]
    filling = scores.T @ np.column_stack([plane.convolve(score, kernel) for score in scores.T])
    inverse = np.linalg.inv(matrix.T @ (matrix * means[:, None]))
    variance = np.diag(inverse @ filling @ inverse)
    return Errors(np.sqrt(np.maximum(variance, 0.0)), WALD)
