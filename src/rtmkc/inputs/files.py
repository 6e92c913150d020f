"""Files of any supported format become a table, with or without geometry; nothing is judged here."""

import csv
import json
import re
import warnings
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd

from rtmkc.errors import InputError

_TABLES = (".csv", ".tsv", ".txt")
_PARQUET = (".parquet", ".geoparquet", ".pq")
_VECTORS = (".geojson", ".gpkg", ".shp", ".fgb")
SUPPORTED = (*_TABLES, ".json", *_VECTORS, *_PARQUET)

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+|\d\.\d+[eE][+-]?\d+)")
_LEADING_ZERO = re.compile(r"[+-]?0\d")
# A float would round digit strings this long.
_IDENTIFIER = re.compile(r"[+-]?\d{16,}$")


def read_file(path: Path, *, layer: str | None = None) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of a file, numbered from 0, and what was decided while reading it.

    Parameters
    ----------
    path : Path
        CSV (also with tabs or semicolons), GeoJSON, JSON records, GeoPackage, Shapefile, FlatGeobuf,
        Parquet or GeoParquet.
    layer : str, optional
        Layer of a GeoPackage, needed if it has several.

    Returns
    -------
    frame : DataFrame or GeoDataFrame
    notes : list of str

    Raises
    ------
    InputError
        If the file is missing, of an unknown kind, damaged, or holds no rows.
    """
    kind = path.suffix.lower()
    if not path.exists():
        raise InputError(f"Invalid file {str(path)!r}. There is no such file; check the name and the folder.")
    if path.is_dir():
        raise InputError(f"Invalid file {str(path)!r}. It is a folder; name a file inside it.")
    if kind not in SUPPORTED:
        raise InputError(
            f"Invalid file {str(path)!r}. Its ending {kind!r} is not one of those read: "
            f"{', '.join(SUPPORTED)}."
        )
    if layer is not None and kind != ".gpkg":
        raise InputError(
            f"Invalid layer {layer!r}. Only a GeoPackage has layers; leave it out for {path.name}."
        )
    notes: list[str] = []
    try:
        if kind in _TABLES:
            frame = _read_table(path, notes)
        elif kind in _PARQUET:
            frame = _read_parquet(path)
        elif kind == ".json" and (records := _json_records(path)) is not None:
            frame = pd.DataFrame(records)
        else:
            frame = _read_vector(path, layer, notes)
    except InputError:
        raise
    except PermissionError:
        raise InputError(f"Invalid file {str(path)!r}. It may not be read; change its permissions.") from None
    except Exception as error:
        # Every reader has its own exceptions for a damaged file; users need one sentence.
        reason = " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
        if "EOF inside string" in reason:
            reason = "it has a quoted cell that is never closed, as if the file were cut off"
        raise InputError(
            f"Invalid file {str(path)!r}. It cannot be read as {kind[1:]}: {reason}. "
            "Export it again, or check that its ending tells what it is."
        ) from error
    if len(frame) == 0:
        raise InputError(f"Invalid file {str(path)!r}. It holds no rows; export it again with its data.")
    return frame, notes


def _read_table(path: Path, notes: list[str]) -> pd.DataFrame:
    with path.open("rb") as file:
        start = file.read(65536)
    if b"\0" in start:
        raise InputError(
            f"Invalid file {str(path)!r}. It is not a text table (binary content); export it as CSV in UTF-8."
        )
    if not start.strip(b"\xef\xbb\xbf\r\n \t"):
        raise InputError(f"Invalid file {str(path)!r}. It is empty; export it again with its data.")
    if start.lstrip(b"\xef\xbb\xbf\r\n \t").startswith(b"<"):
        raise InputError(
            f"Invalid file {str(path)!r}. It is a web page or XML, no table; download the CSV export itself."
        )
    encoding = "utf-8-sig"
    try:
        path.read_text(encoding=encoding)
    except UnicodeDecodeError:
        encoding = "cp1252"
        notes.append("the file is not UTF-8; it was read as Windows-1252")
    separator = _separator(start.decode(encoding, errors="replace"))
    if separator != ",":
        notes.append(f"columns are separated by {separator!r}, not by commas")
    frame = pd.read_csv(path, dtype=str, encoding=encoding, sep=separator, index_col=False, engine="c")
    return sensible_types(frame)


def _separator(text: str) -> str:
    header = next(csv.reader([text.splitlines()[0]]), [""])
    line = ",".join(header)
    return "," if len(header) > 1 else max(",;\t|", key=line.count)


def sensible_types(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table with columns of plain numbers as numbers, and every code still text.

    A column stays text if any value has a leading zero or more than 15 digits, or is not a number.

    Examples
    --------
    >>> frame = pd.DataFrame({"n": ["1", "2.5"], "beat": ["011", "120"], "ibrs": ["120", "13A"]})
    >>> [pd.api.types.is_numeric_dtype(column) for _, column in sensible_types(frame).items()]
    [True, False, False]
    """
    columns = {}
    for name, values in frame.items():
        known = pd.Series(values.dropna().unique(), dtype="string").str.strip()
        if known.empty:
            columns[name] = values
        elif known.str.lower().isin(["true", "false"]).all() and values.notna().all():
            columns[name] = (values.str.strip().str.lower() == "true").astype(bool)
        elif (
            known.str.fullmatch(_NUMBER).all()
            and not known.str.match(_LEADING_ZERO).any()
            and not known.str.match(_IDENTIFIER).any()
        ):
            columns[name] = pd.to_numeric(values.str.strip())
        else:
            columns[name] = values
    return pd.DataFrame(columns, index=frame.index)


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow.parquet

    metadata = pyarrow.parquet.read_schema(path).metadata or {}
    frame = gpd.read_parquet(path) if b"geo" in metadata else pd.read_parquet(path)
    return frame.reset_index(drop=all(name is None for name in frame.index.names))


def _json_records(path: Path) -> list[Any] | None:
    """Return the records of a JSON file that is a list of them, as portals' interfaces give; else None."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError):
        return None
    if isinstance(content, list) and all(isinstance(record, dict) for record in content):
        return content
    return None


def _read_vector(path: Path, layer: str | None, notes: list[str]) -> pd.DataFrame:
    import pyogrio

    with warnings.catch_warnings():
        # Measures (M) go the way of heights: points on a map have neither.
        warnings.filterwarnings("ignore", message="Measured")
        if path.suffix.lower() == ".gpkg":
            layer = _choose_layer(path, layer, [str(name) for name in pyogrio.list_layers(path)[:, 0]])
            notes.append(f"layer {layer!r} of the GeoPackage")
        frame: pd.DataFrame = pyogrio.read_dataframe(path, layer=layer)
        return frame


def _choose_layer(path: Path, layer: str | None, present: list[str]) -> str:
    if layer is None and len(present) == 1:
        return present[0]
    if layer is None or layer not in present:
        raise InputError(
            f"Invalid layer {layer!r}. {path.name} has {len(present)} layers; choose one with layer=: "
            f"{', '.join(map(repr, present))}."
        )
    return layer
