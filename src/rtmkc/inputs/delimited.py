"""Text tables: which encoding and separator, read as text, in a stream where they are large, then typed."""

import codecs
import csv
import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rtmkc.errors import InputError

#: Given the names of all columns, returns those to be read.
ColumnChoice = Callable[[list[str]], list[str]]

#: Files of more bytes than this are read in a stream, as Arrow text; smaller ones at once.
LARGE = 64 * 2**20
_START = 65_536
_CHUNK = 8 * 2**20
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
# What pandas takes for an empty cell.
_EMPTY = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A",
    "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip

_NUMBER = r"^\s*[+-]?(?:\d+\.?\d*|\.\d+|\d\.\d+[eE][+-]?\d+)\s*$"
_WHOLE = r"^\s*[+-]?\d+\s*$"
# A leading zero makes a code, and a float would round digit strings of 16.
_CODE = r"^\s*[+-]?(?:0\d|\d{16,}\s*$)"
_DECIMAL_COMMA = r"^\s*[+-]?\d+,\d+\s*$"


@dataclass(frozen=True)
class Dialect:
    """How a text table is written, found in its bytes, and the sentences that say so."""

    encoding: str
    separator: str
    damaged: bool
    notes: tuple[str, ...]


def read_table(path: Path, notes: list[str], *, shown: str, columns: ColumnChoice | None) -> pd.DataFrame:
    """Return the rows of a text table.

    Parameters
    ----------
    path : Path
        With commas, semicolons, tabs or bars, in UTF-8, UTF-16 or Windows-1252.
    notes : list of str
        What was decided is added to it.
    shown : str
        Name of the file in messages.
    columns : callable, optional
        Chooses the columns that are read.

    Raises
    ------
    InputError
        If it is no text table.
    """
    dialect = find_dialect(path, shown=shown)
    notes.extend(dialect.notes)
    decimal_comma = dialect.separator != ","
    typed = None
    if path.stat().st_size > LARGE and not dialect.damaged:
        typed = _stream(path, dialect, columns, decimal_comma)
    if typed is None:
        typed = _typed_columns(_read_at_once(path, dialect, columns), decimal_comma)
    frame, commas = typed
    if commas:
        notes.append(f"numbers are written with a decimal comma: {', '.join(map(str, commas))}")
    if _ends_early(path, dialect, width=None if columns else len(frame.columns)):
        notes.append("the last row has fewer cells than the first, as if the file were cut off")
    return frame


def find_dialect(path: Path, *, shown: str) -> Dialect:
    """Return how a text table is written.

    Raises
    ------
    InputError
        If it is empty, binary, or a web page.
    """
    with path.open("rb") as file:
        start = file.read(_START)
    if not start.strip(b"\xef\xbb\xbf\xff\xfe\r\n \t"):
        raise InputError(f"Invalid file {shown!r}. It is empty; export it again with its data.")
    encoding, damaged, notes = _find_encoding(path, start, shown)
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(start)
    if text.lstrip("\ufeff\r\n \t").startswith("<"):
        raise InputError(
            f"Invalid file {shown!r}. It is a web page or XML, no table; download the CSV export itself."
        )
    if re.match(r"\ufeff?\"?sep=.", text):
        raise InputError(
            f"Invalid file {shown!r}. Its first line is a hint for Excel ({text.splitlines()[0]!r}), not the header; "
            "delete that line."
        )
    separator = find_separator(text)
    if separator != ",":
        notes.append(f"columns are separated by {separator!r} ({_SEPARATORS[separator]}), not by commas")
    return Dialect(encoding, separator, damaged, tuple(notes))


def _find_encoding(path: Path, start: bytes, shown: str) -> tuple[str, bool, list[str]]:
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16", False, ["the file is not UTF-8; it was read as UTF-16"]
    if b"\0" in start:
        # Text in UTF-16 without its mark has a zero in every second byte, and only there.
        zeros = [start[side::2].count(0) / max(len(start[side::2]), 1) for side in (0, 1)]
        if sorted(zeros)[0] < 0.05 and sorted(zeros)[1] > 0.7:
            encoding = "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
            return encoding, False, ["the file is not UTF-8; it was read as UTF-16 (it has no mark)"]
        raise InputError(
            f"Invalid file {shown!r}. It is not a text table (binary content); export it as CSV in UTF-8."
        )
    read, broken = _count_utf8(path)
    if not broken:
        return "utf-8-sig", False, []
    if broken * 10 <= read:
        note = (
            f"the file is UTF-8 with {broken:,} broken characters, which stand as \N{REPLACEMENT CHARACTER}"
        )
        return "utf-8-sig", True, [note]
    with path.open("rb") as file:
        content = iter(lambda: file.read(_CHUNK), b"")
        undefined = any(
            byte in chunk for chunk in content for byte in (b"\x81", b"\x8d", b"\x8f", b"\x90", b"\x9d")
        )
    if undefined:
        return "latin-1", False, ["the file is not UTF-8; it was read as Latin-1"]
    return "cp1252", False, ["the file is not UTF-8; it was read as Windows-1252"]


def _count_utf8(path: Path) -> tuple[int, int]:
    """Return how many characters beyond ASCII a file has when read as UTF-8, and how many broken ones."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    read = broken = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            if chunk.isascii() and decoder.getstate()[0] == b"":
                continue
            text = decoder.decode(chunk)
            wrong = text.count("\N{REPLACEMENT CHARACTER}")
            broken += wrong
            read += len(text) - len(text.encode("ascii", "ignore")) - wrong
        broken += len(decoder.decode(b"", final=True))
    return read, broken


def find_separator(text: str) -> str:
    """Return the separator that gives the rows at the start of a table one width, the widest if several do.

    Examples
    --------
    >>> find_separator("name; street, city; lat\\nbar; 1 Main, KC; 39.1\\n")
    ';'
    """
    best, separator = (0.0, 0), ","
    for candidate in _SEPARATORS:
        widths = _widths(text, candidate)
        if not widths or widths[0] < 2:
            continue
        same = sum(width == widths[0] for width in widths) / len(widths)
        if (same, widths[0]) > best:
            best, separator = (same, widths[0]), candidate
    return separator


def _widths(text: str, separator: str, *, rows: int = 30) -> list[int]:
    # The last line may be cut by the end of the sample.
    lines = text.lstrip("\ufeff").splitlines(keepends=True)
    lines = lines[:-1] if len(lines) > 2 else lines
    widths = []
    try:
        for cells in csv.reader(lines, delimiter=separator):
            if cells:
                widths.append(len(cells))
            if len(widths) == rows:
                break
    except csv.Error:
        return widths
    return widths


def _read_at_once(path: Path, dialect: Dialect, columns: ColumnChoice | None) -> pd.DataFrame:
    options: dict[str, Any] = {
        "dtype": str,
        "encoding": dialect.encoding,
        "encoding_errors": "replace" if dialect.damaged else "strict",
        "sep": dialect.separator,
        "index_col": False,
        "engine": "c",
    }
    if columns is not None:
        options["usecols"] = columns(list(pd.read_csv(path, nrows=0, **options).columns))
    with warnings.catch_warnings():
        # A row longer than the header loses cells: that is a damaged table.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            return pd.read_csv(path, **options)
        except pd.errors.ParserWarning as warning:
            raise ValueError(str(warning)) from None


def read_rows(path: Path, rows: np.ndarray) -> pd.DataFrame:
    """Return rows of a text table, every cell as it is written; `rows` are ascending, from 0 below the header."""
    dialect = find_dialect(path, shown=str(path))
    parts, first = [], 0
    with pd.read_csv(
        path,
        dtype=str,
        keep_default_na=False,
        encoding=dialect.encoding,
        encoding_errors="replace" if dialect.damaged else "strict",
        sep=dialect.separator,
        index_col=False,
        chunksize=200_000,
    ) as blocks:
        for block in blocks:
            wanted = rows[(rows >= first) & (rows < first + len(block))] - first
            parts.append(block.iloc[wanted])
            first += len(block)
    return pd.concat(parts, ignore_index=True)


def _stream(
    path: Path, dialect: Dialect, columns: ColumnChoice | None, decimal_comma: bool
) -> tuple[pd.DataFrame, list[str]] | None:
    """Return a large table read block by block, or None if its rows are not all of one width."""
    from pyarrow import csv as arrow_csv

    names = list(
        pd.read_csv(path, nrows=0, encoding=dialect.encoding, sep=dialect.separator, index_col=False).columns
    )
    chosen = names if columns is None else columns(names)
    try:
        with arrow_csv.open_csv(
            path,
            read_options=arrow_csv.ReadOptions(
                column_names=names,
                skip_rows_after_names=1,
                block_size=_CHUNK,
                encoding="utf8" if dialect.encoding == "utf-8-sig" else dialect.encoding,
            ),
            parse_options=arrow_csv.ParseOptions(delimiter=dialect.separator, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=chosen,
                null_values=list(_EMPTY),
                strings_can_be_null=True,
            ),
        ) as reader:
            table = pa.Table.from_batches(list(reader), schema=reader.schema)
    except pa.ArrowInvalid:
        return None
    typed, commas = {}, []
    for name in chosen:
        # One column at a time, so that text and what it becomes are never all in memory.
        text = table.column(name)
        table = table.drop_columns([name])
        numbers, comma = _numbers(text, decimal_comma)
        commas += [name] if comma else []
        typed[name] = text.to_pandas() if numbers is None else pd.Series(numbers)
        del text
    return pd.DataFrame(typed, columns=chosen), commas


def sensible_types(frame: pd.DataFrame, *, decimal_comma: bool = False) -> pd.DataFrame:
    """Return the table with columns of plain numbers as numbers, and every code still text.

    A column stays text if any value has a leading zero or more than 15 digits, or is not a number.

    Parameters
    ----------
    frame : DataFrame
        Of text.
    decimal_comma : bool
        Whether "39,1" may be a number.

    Examples
    --------
    >>> frame = pd.DataFrame({"n": ["1", "2.5"], "beat": ["011", "120"], "ibrs": ["120", "13A"]})
    >>> [pd.api.types.is_numeric_dtype(column) for _, column in sensible_types(frame).items()]
    [True, False, False]
    """
    return _typed_columns(frame, decimal_comma)[0]


def _typed_columns(frame: pd.DataFrame, decimal_comma: bool) -> tuple[pd.DataFrame, list[str]]:
    typed, commas = {}, []
    for name, values in frame.items():
        numbers, comma = _numbers(
            pa.chunked_array([pa.array(values, type=pa.large_string(), from_pandas=True)]), decimal_comma
        )
        commas += [str(name)] if comma else []
        typed[name] = values if numbers is None else pd.Series(numbers, index=values.index)
    return pd.DataFrame(typed, index=frame.index), commas


def _numbers(text: pa.ChunkedArray, decimal_comma: bool) -> tuple[np.ndarray | None, bool]:
    """Return a column of text as numbers or flags, or None; and whether it had decimal commas."""
    if text.null_count == len(text):
        return None, False
    if not text.null_count and _all_match(text, r"(?i)^\s*(?:true|false)\s*$"):
        return pc.starts_with(pc.utf8_lower(pc.utf8_trim_whitespace(text)), "true").to_numpy(), False
    comma = decimal_comma and _all_match(text, _DECIMAL_COMMA)
    if comma:
        text = pc.replace_substring(text, ",", ".", max_replacements=1)
    if not _all_match(text, _NUMBER) or _any_match(text, _CODE):
        return None, False
    whole = not text.null_count and _all_match(text, _WHOLE)
    plain = pc.ascii_trim_whitespace(text)
    if pc.any(pc.starts_with(plain, "+")).as_py():
        # Arrow reads no plus sign.
        plain = pc.replace_substring_regex(plain, r"^\+", "")
    return pc.cast(plain, pa.int64() if whole else pa.float64()).to_numpy(), comma


def _all_match(text: pa.ChunkedArray, pattern: str) -> bool:
    # Most columns that do not match show it in their first values.
    for part in (text.slice(0, 1000), text):
        # Empty cells are null, and count for nothing.
        if pc.all(pc.match_substring_regex(part, pattern)).as_py() is False:
            return False
    return True


def _any_match(text: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(text, pattern)).as_py())


def _ends_early(path: Path, dialect: Dialect, *, width: int | None) -> bool:
    """Return whether the last row is unfinished: no end of line, and fewer cells than the header."""
    if width is None or dialect.encoding.startswith("utf-16"):
        return False
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _START))
        end = file.read().decode(dialect.encoding, errors="replace")
    if end.endswith(("\n", "\r")):
        return False
    rows = _cells(end, dialect.separator)
    return len(rows) > 1 and len(rows[-1]) < width


def _cells(text: str, separator: str) -> Sequence[list[str]]:
    try:
        return list(csv.reader(io.StringIO(text), delimiter=separator))
    except csv.Error:
        return []
