"""Cells with equal columns become one weighted row, exactly: what all cells say, on a few rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rtmkc import checks
from rtmkc.engine.rows.families import FAMILIES, Floats, GlmFit, Integers, fit_glm
from rtmkc.engine.sweeps import Design, check_cells


@dataclass(frozen=True, eq=False)
class CollapsedRows:
    """Cells with equal columns, counts (and offsets) as weighted rows; `fit` gives what all cells give.

    Attributes
    ----------
    matrix : (n_rows, n_columns)
    counts, weights : (n_rows,)
    offset : (n_rows,) or None
    family : str
        The family the rows are exact for.
    """

    matrix: Floats
    counts: Floats
    weights: Floats
    offset: Floats | None
    family: str

    def fit(self, start: Sequence[float] | Floats | None = None) -> GlmFit:
        """Fit the family to the rows."""
        return fit_glm(
            self.matrix,
            self.counts,
            family=self.family,
            offset=self.offset,
            weights=self.weights,
            start=start,
        )


def collapse(
    design: Design,
    columns: Sequence[int] | Integers,
    counts: ArrayLike,
    offset: ArrayLike | None = None,
    family: str = "poisson",
) -> CollapsedRows:
    """Collapse cells to weighted rows that `fit_glm` fits to the same likelihood.

    Without offset a row is (pattern of the columns, count). With one, cells without incidents become one
    row a pattern with the log of their summed exposure (``poisson``, ``nb1``: there the likelihood is linear
    in the mean), and the others rows of (pattern, count, offset); ``nb2`` has only such rows.

    Examples
    --------
    >>> import numpy as np
    >>> near = np.array([0, 0, 0, 1, 1], dtype=np.uint8)
    >>> rows = collapse(Design((near,), (np.array([[0.0], [1.0]]),)), [0], [0, 0, 1, 2, 2])
    >>> np.column_stack([rows.matrix, rows.counts, rows.weights])
    array([[0., 0., 2.],
           [0., 1., 1.],
           [1., 2., 2.]])
    """
    checks.check_choice("family", family, tuple(FAMILIES))
    y, log_exposure, _ = check_cells(design, counts, offset, None)
    pattern, matrix = patterns(design, columns, y.size)
    if log_exposure is None:
        keys, weights = np.unique(np.column_stack([pattern, y]), axis=0, return_counts=True)
        rows = keys[:, 0].astype(np.int64)
        return CollapsedRows(matrix[rows], keys[:, 1], weights.astype(float), None, family)
    exposed = log_exposure > -600
    single = exposed if family == "nb2" else y > 0
    keys, weights = np.unique(
        np.column_stack([pattern[single], y[single], log_exposure[single]]), axis=0, return_counts=True
    )
    rows, row_counts, row_offset = keys[:, 0].astype(np.int64), keys[:, 1], keys[:, 2]
    row_weights = weights.astype(float)
    if family != "nb2":
        zero = exposed & (y == 0)
        exposure = np.bincount(pattern[zero], np.exp(log_exposure[zero]), minlength=len(matrix))
        some = np.flatnonzero(exposure > 0)
        rows = np.concatenate([some, rows])
        row_counts = np.concatenate([np.zeros(some.size), row_counts])
        row_offset = np.concatenate([np.log(exposure[some]), row_offset])
        row_weights = np.concatenate([np.ones(some.size), row_weights])
    return CollapsedRows(matrix[rows], row_counts, row_weights, row_offset, family)


def patterns(design: Design, columns: Sequence[int] | Integers, n_cells: int) -> tuple[Integers, Floats]:
    """Return the pattern of every cell over `columns`, ``(n_cells,)``, and the columns of each pattern."""
    pattern = np.zeros(n_cells, dtype=np.int32)
    matrix = np.empty((1, 0))
    for column in columns:
        values, code_value = np.unique(design.level_values(int(column)), return_inverse=True)
        codes = design.codes[int(design.column_variable[column])]
        key = pattern * np.int32(values.size) + code_value.astype(np.int32)[codes]
        present = np.flatnonzero(np.bincount(key, minlength=len(matrix) * values.size))
        renumber = np.zeros(len(matrix) * values.size, dtype=np.int32)
        renumber[present] = np.arange(present.size, dtype=np.int32)
        pattern = renumber[key]
        matrix = np.column_stack([matrix[present // values.size], values[present % values.size]])
    return pattern, matrix
