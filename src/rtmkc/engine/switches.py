"""Tables as switches and values: what a level turns on, and what that is worth in every column."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from rtmkc.engine.design import Floats, Integers


@dataclass(frozen=True, eq=False)
class Switches:
    """The 0/1 numbers that sweeps add up over, and how columns are made of them.

    A *switch* belongs to one variable and is on or off in every cell. Where a table holds 0 and 1 alone its
    columns are the switches: nested columns change one at a time from cell to cell, and so have a third
    fewer runs than the levels. Otherwise every level with a column is one.

    Attributes
    ----------
    first : (n_variables + 1,)
        The first switch of every variable, and at the end their number.
    on : tuple of (n_levels, n_switches_of_variable) of uint8, or None
        What a level turns on; None where every level is a switch.
    of_level : tuple of (n_levels,), or None
        The switch of a level, -1 if it has no column; None where columns are the switches.
    values : sparse (n_switches, n_columns)
        What a switch is worth in every column.
    """

    first: Integers
    on: tuple[Integers | None, ...]
    of_level: tuple[Integers | None, ...]
    values: sparse.csr_array

    @classmethod
    def of(cls, tables: Sequence[Floats]) -> "Switches":
        """Return the switches of the tables of a `Design`.

        Examples
        --------
        >>> nested = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
        >>> switches = Switches.of([nested, np.array([[0.0], [0.5], [2.5]])])
        >>> switches.first, switches.values.todense()
        (array([0, 2, 4]), array([[1. , 0. , 0. ],
               [0. , 1. , 0. ],
               [0. , 0. , 0.5],
               [0. , 0. , 2.5]]))
        """
        first, on, of_level, values = [0], [], [], []
        for table in tables:
            used = table.any(axis=1)
            n_used = int(np.count_nonzero(used))
            by_column = table.shape[1] <= n_used and bool(((table == 0.0) | (table == 1.0)).all())
            numbers = first[-1] - 1 + np.cumsum(used)
            on.append(table.astype(np.uint8) if by_column else None)
            of_level.append(None if by_column else np.where(used, numbers, -1))
            values.append(np.eye(table.shape[1]) if by_column else table[used])
            first.append(first[-1] + len(values[-1]))
        # A block without rows or columns still has its other side.
        both = sparse.block_diag([sparse.coo_array(part) for part in values]) if values else np.zeros((0, 0))
        return cls(np.array(first), tuple(on), tuple(of_level), sparse.csr_array(both))

    @property
    def n_switches(self) -> int:
        """Number of switches."""
        return int(self.values.shape[0])

    @property
    def n_columns(self) -> int:
        """Number of model columns."""
        return int(self.values.shape[1])
