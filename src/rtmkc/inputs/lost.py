"""The rows of a source that its layer does not use: which, what became of them, and why."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely

from rtmkc.errors import InputError
from rtmkc.inputs import delimited, files
from rtmkc.inputs.columns import is_personal
from rtmkc.storage import file_sha256

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True, eq=False)
class Lost:
    """Rows that one step of reading took.

    Attributes
    ----------
    fate : {"dropped", "merged"}
    reason : str
        As in the ledger.
    rows : ndarray
        Row numbers in the source, from 0 after the header, or index labels of the frame given.
    """

    fate: str
    reason: str
    rows: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, fate: str, reason: str, index: pd.Index) -> "Lost":
        """Return the rows of an index, in as few bytes as row numbers need."""
        rows = index.to_numpy()
        if rows.dtype.kind == "i" and len(rows) and rows.min() >= 0 and rows.max() < 2**32:
            rows = rows.astype(np.uint32)
        return cls(fate, reason, rows)


@dataclass(frozen=True)
class Origin:
    """A file that rows were read from, to read them again.

    Attributes
    ----------
    path : str
    layer : str or None
        Layer, sheet or member, as it was asked for.
    n_rows : int
        Rows read of it; those of the next file are numbered on from here.
    sha256 : str
        Hash of the file when it was read.
    """

    path: str
    layer: str | None
    n_rows: int
    sha256: str


def lost_table(lost: Iterable[Lost]) -> pd.DataFrame:
    """Return one row for every row lost: row, fate, reason; in the order of the source."""
    parts = [part for part in lost if len(part.rows)]
    if not parts:
        return pd.DataFrame({"row": np.empty(0, dtype=np.int64), "fate": [], "reason": []})
    rows = np.concatenate([part.rows for part in parts])
    rows = rows.astype(np.int64) if rows.dtype.kind in "iu" else rows
    sizes = [len(part.rows) for part in parts]
    columns: dict[str, Any] = {"row": rows}
    for name in ("fate", "reason"):
        words = [getattr(part, name) for part in parts]
        known = list(dict.fromkeys(words))
        codes: np.ndarray = np.repeat(np.array([known.index(word) for word in words], dtype=np.int8), sizes)
        columns[name] = pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(known))
    table = pd.DataFrame(columns)
    if rows.dtype.kind == "i":
        table = table.sort_values("row", kind="stable", ignore_index=True)
    return table


def read_again(origins: Sequence[Origin], rows: np.ndarray) -> pd.DataFrame:
    """Return rows of the files as they stand there, without the columns about persons.

    Parameters
    ----------
    origins : sequence of Origin
        In the order their rows were numbered.
    rows : ndarray of int
        Row numbers, ascending.

    Raises
    ------
    InputError
        If a file is gone or another than it was.
    """
    parts = []
    first = 0
    for origin in origins:
        wanted = rows[(rows >= first) & (rows < first + origin.n_rows)] - first
        if len(wanted):
            parts.append(_rows_of(origin, wanted).set_axis(wanted + first))
        first += origin.n_rows
    return pd.concat(parts) if parts else pd.DataFrame(index=pd.Index([], dtype=np.int64))


def _rows_of(origin: Origin, wanted: np.ndarray) -> pd.DataFrame:
    path = Path(origin.path)
    if not path.exists() or source_sha256(path) != origin.sha256:
        raise InputError(
            f"Invalid file {origin.path!r}. It is gone or has changed since the layer was read; read it again."
        )
    if path.suffix.lower() in files.TABLES:
        table = delimited.read_rows(path, wanted)
    else:
        frame, _ = files.read_file(path, layer=origin.layer)
        table = pd.DataFrame(frame.iloc[wanted])
        if "geometry" in table.columns and str(table["geometry"].dtype) == "geometry":
            table = table.assign(geometry=shapely.to_wkt(table["geometry"].to_numpy()))
    return table.drop(columns=[name for name in table.columns if is_personal(name)])


def source_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, or of the files of a geodatabase in the order of their names."""
    if not path.is_dir():
        return file_sha256(path)
    parts = sorted(file for file in path.rglob("*") if file.is_file() and file.suffix != ".lock")
    lines = [f"{file.relative_to(path).as_posix()} {file_sha256(file)}\n" for file in parts]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def harmless(values: pd.Series) -> pd.Series:
    """Return a column in which no text can run as a formula in a spreadsheet; numbers stay numbers."""
    if pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_datetime64_any_dtype(values.dtype):
        return values
    text = values.astype("string")
    number = text.str.fullmatch(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*").fillna(False)
    risky = text.str.startswith(FORMULA).fillna(False) & ~number
    return text.mask(risky, "'" + text)
