"""Excel workbooks: the sheet that is meant, its header found below titles, its cells as tables have them."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rtmkc.errors import InputError
from rtmkc.inputs.delimited import ColumnChoice, sensible_types
from rtmkc.inputs.vectors import choose_layer

_ROWS_ABOVE = 20


def read_workbook(
    path: Path, layer: str | None, notes: list[str], *, shown: str, columns: ColumnChoice | None
) -> pd.DataFrame:
    """Return the rows of a sheet.

    Parameters
    ----------
    path : Path
        An .xlsx or .xlsm file.
    layer : str or None
        Name of the sheet; needed if several are filled.
    notes : list of str
        What was decided is added to it.
    shown : str
        Name of the file in messages.
    columns : callable or None
        Chooses the columns that are kept.

    Raises
    ------
    InputError
        If the package that reads workbooks is missing, or a sheet has to be named.
    """
    try:
        import openpyxl  # noqa: F401
    except ImportError:
        raise InputError(
            f"Invalid file {shown!r}. Reading Excel needs the package openpyxl; install it with "
            "pip install 'rtmkc[excel]', or save the sheet as CSV in UTF-8."
        ) from None
    sheets: dict[str, pd.DataFrame] = pd.read_excel(path, sheet_name=None, header=None, dtype=object)
    filled = [str(name) for name, sheet in sheets.items() if sheet.notna().any(axis=None)]
    if not filled:
        raise InputError(f"Invalid file {shown!r}. It is empty; export it again with its data.")
    sheet = sheets[choose_layer(layer, filled, shown, notes, "workbook")]
    frame, header = _below_header(sheet)
    if header:
        notes.append(f"the header is row {header + 1}; what stands above it is left out")
    if columns is not None:
        frame = frame[columns(list(frame.columns))]
    return pd.DataFrame({name: _plain(values) for name, values in frame.items()}, index=frame.index)


def _below_header(sheet: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Return the rows below the header, and its position: the first row as filled as the fullest near it."""
    filled: np.ndarray = sheet.notna().to_numpy()
    width = filled[:_ROWS_ABOVE].sum(axis=1)
    header = int(np.argmax(width >= max(1, width.max() / 2)))
    names = sheet.iloc[header]
    used = np.flatnonzero(filled[header:].any(axis=0))
    below = header + 1 + np.flatnonzero(filled[header + 1 :].any(axis=1))
    rows = sheet.iloc[below, used]
    # A column without a name is called by its letter's position, as pandas does.
    labels = [
        str(names.iloc[position]) if pd.notna(names.iloc[position]) else f"Unnamed: {position}"
        for position in used
    ]
    return rows.set_axis(labels, axis=1).reset_index(drop=True), header


def _plain(values: pd.Series) -> pd.Series:
    """Return a column of cells as numbers, dates, flags or text, whichever all of its cells are."""
    kinds = {type(value) for value in values.dropna()}
    if kinds and kinds <= {datetime.datetime, datetime.date, pd.Timestamp}:
        return pd.to_datetime(values, errors="coerce")
    if kinds <= {int, float, bool, np.int64, np.float64} and not (bool in kinds and len(kinds) > 1):
        return values.infer_objects()
    text = values.map(_cell, na_action="ignore").astype("str" if kinds == {str} else object)
    return sensible_types(pd.DataFrame({"cells": text}))["cells"]


def _cell(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
