"""Cells with equal columns become one weighted row, exactly: what all cells say, on a few rows.

Everything is summed piece by piece, so that codes may lie on disk: beside them a few vectors of cells are held.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from rtmkc import checks
from rtmkc.engine.rows import kernels
from rtmkc.engine.rows.families import (
    FAMILIES,
    Floats,
    GlmFit,
    Integers,
    Rows,
    fit_rows,
    tail_of_all,
    whole_counts,
)
from rtmkc.engine.sweeps import Design, check_cells

PIECE_CELLS = 65536
"""Cells that are looked at together: few enough for a processor's cache. Sums do not depend on it."""


@dataclass(frozen=True, eq=False)
class CollapsedRows:
    """Cells summed by pattern of their columns; `fit` gives what all cells give.

    Attributes
    ----------
    rows : Rows
    family : str
        The family the rows are exact for.
    """

    rows: Rows
    family: str

    def fit(self, start: Sequence[float] | Floats | None = None) -> GlmFit:
        """Fit the family to the rows."""
        return fit_rows(self.rows, self.family, start)


def collapse(
    design: Design,
    columns: Sequence[int] | Integers,
    counts: ArrayLike,
    offset: ArrayLike | None = None,
    family: str = "poisson",
) -> CollapsedRows:
    """Collapse cells to rows that have the same likelihood: one for each pattern of the columns.

    Where offsets differ, ``poisson`` and ``nb1`` sum exposure, in which their likelihood is linear but for the cells
    with more than one incident, which ``nb1`` lists; ``nb2`` has a row for each pattern and offset.

    Examples
    --------
    >>> import numpy as np
    >>> near = np.array([0, 0, 0, 1, 1], dtype=np.uint8)
    >>> rows = collapse(Design((near,), (np.array([[0.0], [1.0]]),)), [0], [0, 0, 1, 2, 2]).rows
    >>> np.column_stack([rows.matrix, rows.total, rows.weight])
    array([[0., 1., 3.],
           [1., 4., 2.]])
    """
    checks.check_choice("family", family, tuple(FAMILIES))
    cells = Cells.of(design, counts, offset, family)
    pattern, matrix = patterns(design, columns, cells.n_cells)
    row_offset = cells.root_offset
    if cells.root.size:
        rows, pattern = np.unique(
            pattern.astype(np.int64) * row_offset.size + cells.root, return_inverse=True
        )
        matrix, row_offset = matrix[rows // row_offset.size], row_offset[rows % row_offset.size]
    else:
        row_offset = np.full(len(matrix), row_offset[0])
    exposure = np.zeros(len(matrix))
    for piece in pieces(cells.n_cells):
        own = cells.exposure[piece] if cells.exposure.size else None
        exposure += np.bincount(pattern[piece], own, minlength=len(matrix))
    return CollapsedRows(cells.rows(matrix, row_offset, exposure, pattern[cells.busy]), family)


def patterns(design: Design, columns: Sequence[int] | Integers, n_cells: int) -> tuple[Integers, Floats]:
    """Return the pattern of every cell over `columns`, ``(n_cells,)``, and the columns of each pattern."""
    pattern = np.zeros(n_cells, dtype=np.int32)
    matrix = np.empty((1, 0))
    for column in columns:
        values, value_of = np.unique(design.level_values(int(column)), return_inverse=True)
        codes = design.codes[int(design.column_variable[column])]
        numbers = np.arange(len(matrix) * values.size, dtype=np.int32).reshape(len(matrix), values.size)
        seen = np.zeros(numbers.size, dtype=np.bool_)
        for piece in pieces(n_cells):
            kernels.refine(pattern[piece], codes[piece], value_of, numbers)
            kernels.mark(pattern[piece], seen)
        present = np.flatnonzero(seen)
        if present.size < seen.size:
            renumber = np.zeros((seen.size, 1), dtype=np.int32)
            renumber[present, 0] = np.arange(present.size)
            for piece in pieces(n_cells):
                pattern[piece] = renumber[pattern[piece], 0]
        matrix = np.column_stack([matrix[present // values.size], values[present % values.size]])
    return pattern, matrix


def pieces(n_cells: int) -> Iterator[slice]:
    """Return slices of consecutive cells, `PIECE_CELLS` each but the last."""
    return (slice(begin, min(begin + PIECE_CELLS, n_cells)) for begin in range(0, n_cells, PIECE_CELLS))


@dataclass(frozen=True, eq=False)
class Cells:
    """What a likelihood needs of the cells beside their columns; those with incidents (busy) apart.

    Attributes
    ----------
    n_cells : int
    family : str
    exposure : (n_cells,) of int
        In units of `unit`, so that sums are exact in any order and so are their differences; empty if it is the same
        everywhere, or if a root holds it.
    unit : float
        Of all exposure together ``2**-62``; 1 where cells are counted.
    root : (n_cells,) of int
        Number of a cell's offset among `root_offset`, where cells of unequal offsets cannot be summed (``nb2``); else
        empty, and there is one root.
    root_offset : (n_roots,)
        Log exposure beside `exposure`.
    busy : (n_busy,) of int
        Cells with incidents.
    counts : (n_busy,)
        Their incidents.
    above : (n_above,) of int
        Places within `busy` of the cells with more than one, which ``nb1`` lists.
    above_counts : (n_above,) of int
    above_scales : (n_above,)
        Their exposure; empty if it is the same everywhere.
    steps, numbers : (n_steps,)
        The tail of all counts, for ``nb2``.
    constant : float
        What the log likelihood adds that holds no parameter.
    """

    n_cells: int
    family: str
    exposure: Integers
    unit: float
    root: Integers
    root_offset: Floats
    busy: Integers
    counts: Floats
    above: Integers
    above_counts: Integers
    above_scales: Floats
    steps: Floats
    numbers: Floats
    constant: float

    @classmethod
    def of(cls, design: Design, counts: ArrayLike, offset: ArrayLike | None, family: str) -> "Cells":
        """Check the cells and take out what the family needs of them."""
        all_counts, log_exposure, _ = check_cells(design, counts, offset, None)
        n_cells, busy = all_counts.size, np.flatnonzero(all_counts)
        some = all_counts[busy]
        constant = -float(gammaln(some + 1).sum())
        exposure, unit = np.empty(0, dtype=np.int64), 1.0
        above_scales, root = np.empty(0), np.empty(0, dtype=np.int32)
        above, above_counts = np.empty((2, 0), dtype=np.int64)
        steps, numbers = np.empty((2, 0))
        if family == "nb1":
            whole = whole_counts(some)
            above = np.flatnonzero(whole > 1)
            above_counts = whole[above]
        elif family == "nb2":
            steps, numbers = tail_of_all(whole_counts(some), np.ones(some.size))
        root_offset = np.zeros(1)
        if log_exposure is not None and log_exposure.min() == log_exposure.max():
            root_offset = log_exposure[:1].copy()
        elif log_exposure is not None and family == "nb2":
            root_offset, which = np.unique(np.maximum(log_exposure, -700.0), return_inverse=True)
            root = which.astype(np.int32)
        elif log_exposure is not None:
            exposure, unit = _in_units(log_exposure)
            own = log_exposure[busy]
            # Of a busy cell nb1 has the log of its mean once, and otherwise its mean: its offset adds a constant.
            constant += float((own if family == "nb1" else some * own).sum())
            above_scales = np.exp(own[above])
        return cls(
            n_cells, family, exposure, unit, root, root_offset, busy, some,
            above, above_counts, above_scales, steps, numbers, constant,
        )  # fmt: skip

    def rows(self, matrix: Floats, offset: Floats, exposure: Floats, busy_row: Integers) -> Rows:
        """Return the rows of patterns of these columns, offsets and sums of units, from the row of every busy cell."""
        n_rows = len(matrix)
        total = np.bincount(busy_row, self.counts, minlength=n_rows).astype(np.float64)
        pointer, first = np.zeros(n_rows + 1, dtype=np.int64), np.empty(0)
        steps, numbers, scales = self.steps, self.numbers, np.ones(self.steps.size)
        if self.family == "nb1":
            first = np.bincount(busy_row, minlength=n_rows).astype(np.float64)
            pointer, steps, numbers, scales = kernels.tails(
                busy_row[self.above].astype(np.int64), self.above_counts, self.above_scales, n_rows
            )
        columns, log_exposure = (np.ascontiguousarray(array, dtype=np.float64) for array in (matrix, offset))
        weight = exposure * self.unit
        return Rows(
            columns, log_exposure, weight, total, first, pointer, steps, numbers, scales, self.constant
        )


def _in_units(log_exposure: Floats) -> tuple[Integers, float]:
    """Return exposure as whole numbers, at least 1 where there is any, and their unit."""
    total = sum(float(np.exp(log_exposure[piece]).sum()) for piece in pieces(log_exposure.size))
    result = np.empty(log_exposure.size, dtype=np.int64)
    for piece in pieces(log_exposure.size):
        share = np.exp(log_exposure[piece]) / total
        result[piece] = np.where(share > 0, np.maximum(np.rint(np.ldexp(share, 62)), 1), 0)
    return result, float(np.ldexp(total, -62))
