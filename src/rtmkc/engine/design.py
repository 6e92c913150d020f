"""Codes and tables: the columns of a model, and the cells they are fitted to."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rtmkc.errors import InputError

Floats = NDArray[np.float64]
Integers = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Design:
    """Columns of a model as codes and tables; the columns themselves are never stored.

    Parameters
    ----------
    codes : tuple of arrays
        One array for each variable, ``(n_cells,)``, unsigned integers: the level every cell is in.
    tables : tuple of arrays
        One array for each variable, ``(n_levels, n_columns_of_variable)``: the columns a level switches on.

    Examples
    --------
    >>> import numpy as np
    >>> bands = np.array([0, 1, 2, 1], dtype=np.uint8)
    >>> nested = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> design = Design((bands,), (nested,))
    >>> design.n_cells, design.n_columns
    (4, 2)
    >>> design.column(1)
    array([0., 1., 1., 1.])
    """

    codes: tuple[Integers, ...]
    tables: tuple[Floats, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "codes", tuple(np.ascontiguousarray(codes) for codes in self.codes))
        object.__setattr__(
            self, "tables", tuple(np.ascontiguousarray(table, dtype=np.float64) for table in self.tables)
        )
        if len(self.codes) != len(self.tables):
            raise InputError(
                f"Invalid design {len(self.codes)} codes, {len(self.tables)} tables. "
                "Every variable needs one of each."
            )
        for variable, (codes, table) in enumerate(zip(self.codes, self.tables, strict=True)):
            if codes.ndim != 1 or codes.size != self.codes[0].size or codes.dtype.kind != "u":
                raise InputError(
                    f"Invalid codes {codes.dtype} {codes.shape} of variable {variable}. "
                    f"They must be unsigned integers, one for each of the {self.codes[0].size} cells."
                )
            if table.ndim != 2 or not np.isfinite(table).all():
                raise InputError(
                    f"Invalid table {table.shape} of variable {variable}. "
                    "It must be finite, one row for each level and one column for each model column."
                )
            if codes.size and int(codes.max()) >= table.shape[0]:
                raise InputError(
                    f"Invalid codes {int(codes.max())} of variable {variable}. "
                    f"Its table has {table.shape[0]} levels, so codes must be below that."
                )

    def __repr__(self) -> str:
        return f"Design({self.n_cells} cells, {self.n_variables} variables, {self.n_columns} columns)"

    @classmethod
    def from_matrix(cls, matrix: ArrayLike) -> "Design":
        """Code the columns of a matrix ``(n_rows, n_columns)``; one variable for each column.

        Raises
        ------
        InputError
            If the matrix is not two-dimensional or holds NaN or infinity.

        Examples
        --------
        >>> Design.from_matrix([[0.5, 1.0], [0.5, 2.0]]).tables[1]
        array([[1.],
               [2.]])
        """
        values = np.asarray(matrix, dtype=np.float64)
        if values.ndim != 2 or not np.isfinite(values).all():
            raise InputError(
                f"Invalid matrix {values.shape}. It must be two-dimensional without NaN or infinity."
            )
        codes, tables = [], []
        for column in values.T:
            levels, code = np.unique(column, return_inverse=True)
            codes.append(code.astype(np.min_scalar_type(levels.size - 1)))
            tables.append(levels[:, np.newaxis])
        return cls(tuple(codes), tuple(tables))

    @property
    def n_cells(self) -> int:
        """Number of cells; 0 for a design without variables."""
        return self.codes[0].size if self.codes else 0

    @property
    def n_variables(self) -> int:
        """Number of coded variables."""
        return len(self.codes)

    @property
    def n_columns(self) -> int:
        """Number of model columns over all variables."""
        return sum(table.shape[1] for table in self.tables)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """The columns of every variable, as slices of the global column numbers."""
        ends = np.cumsum([0, *(table.shape[1] for table in self.tables)])
        return tuple(slice(int(begin), int(end)) for begin, end in pairwise(ends))

    @cached_property
    def column_variable(self) -> Integers:
        """The variable that every global column belongs to, ``(n_columns,)``."""
        return np.repeat(np.arange(self.n_variables), [table.shape[1] for table in self.tables])

    @cached_property
    def level_start(self) -> Integers:
        """The first global level of every variable, and at the end the number of levels."""
        return np.cumsum([0, *(table.shape[0] for table in self.tables)])

    def level_values(self, column: int) -> Floats:
        """Return the value of one column at every level of its variable."""
        variable = int(self.column_variable[column])
        return self.tables[variable][:, column - self.slices[variable].start]

    def column(self, column: int) -> Floats:
        """Return one column, ``(n_cells,)``."""
        return self.level_values(column)[self.codes[int(self.column_variable[column])]]

    def linear(self, coef: ArrayLike) -> Floats:
        """Return the sum of coefficient x column over all columns, ``(n_cells,)``."""
        coefficients = np.asarray(coef, dtype=np.float64)
        if coefficients.shape != (self.n_columns,):
            raise InputError(
                f"Invalid coef {coefficients.shape}. "
                f"There must be one for each of the {self.n_columns} columns."
            )
        eta = np.zeros(self.n_cells)
        for codes, table, part in zip(self.codes, self.tables, self.slices, strict=True):
            if np.any(coefficients[part]):
                eta += (table @ coefficients[part])[codes]
        return eta

    def dense(self, columns: Sequence[int] | Integers, rows: slice = slice(None)) -> Floats:
        """Return chosen columns and rows as a matrix; meant for few columns or few rows."""
        chosen = [self.level_values(c)[self.codes[int(self.column_variable[c])][rows]] for c in columns]
        return np.column_stack(chosen) if chosen else np.empty((len(range(*rows.indices(self.n_cells))), 0))


def check_cells(
    design: Design, counts: ArrayLike, offset: ArrayLike | None, weights: ArrayLike | None
) -> tuple[Floats, Floats | None, Floats | None]:
    """Return counts, offset and weights as arrays fit for a Poisson model of the cells of `design`.

    Raises
    ------
    InputError
        If lengths differ, a value cannot be used, or there are no incidents.
    """
    counts = np.ascontiguousarray(counts, dtype=np.float64)
    n_cells = design.n_cells if design.n_variables else counts.size
    if counts.shape != (n_cells,) or n_cells == 0:
        raise InputError(f"Invalid counts {counts.shape}. There must be one for each of the {n_cells} cells.")
    if not np.isfinite(counts).all() or counts.min() < 0:
        raise InputError("Invalid counts: NaN, infinite or negative. Counts must be numbers of at least 0.")
    if weights is not None:
        weights = np.ascontiguousarray(weights, dtype=np.float64)
        if weights.shape != (n_cells,) or not np.isfinite(weights).all() or weights.min() < 0:
            raise InputError(
                f"Invalid weights {weights.shape}. There must be one finite number of at least 0 "
                f"for each of the {n_cells} cells."
            )
    if offset is not None:
        offset = np.ascontiguousarray(offset, dtype=np.float64)
        if offset.shape != (n_cells,) or np.isnan(offset).any() or offset.max() > 600:
            raise InputError(
                f"Invalid offset {offset.shape}. There must be one log exposure below 600 "
                f"for each of the {n_cells} cells; minus infinity means none."
            )
        impossible = int(((counts > 0) & ~(offset > -600)).sum())
        if impossible:
            raise InputError(
                f"Invalid offset: {impossible} cells have incidents but no exposure. "
                "Give those cells an exposure or leave them out."
            )
    used = counts if weights is None else counts * weights
    if not used.sum() > 0:
        raise InputError("Invalid counts: no incidents in any cell. A model needs at least one incident.")
    return counts, offset, weights


def check_folds(folds: ArrayLike | None, n_cells: int) -> tuple[NDArray[np.int32], int]:
    """Return folds as an array ``(n_cells,)``, empty if there are none, and their number.

    Raises
    ------
    InputError
        If they are not one number a cell, or not numbered from 0 without a gap.
    """
    if folds is None:
        return np.zeros(0, dtype=np.int32), 0
    fold_ids = np.asarray(folds)
    if fold_ids.shape != (n_cells,) or fold_ids.dtype.kind not in "iu" or fold_ids.min(initial=0) < -1:
        raise InputError(
            f"Invalid folds {fold_ids.dtype} {fold_ids.shape}. There must be one whole number of at least -1 "
            f"for each of the {n_cells} cells."
        )
    n_folds = int(fold_ids.max()) + 1
    present = np.bincount(fold_ids[fold_ids >= 0], minlength=n_folds)
    if n_folds < 2 or not present.all():
        raise InputError(f"Invalid folds {n_folds}. At least two are needed, numbered from 0 without a gap.")
    return np.ascontiguousarray(fold_ids, dtype=np.int32), n_folds
