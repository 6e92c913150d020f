"""Files of any supported format become a table, with or without geometry; nothing is judged here."""

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pyarrow as pa

from rtmkc.errors import InputError
from rtmkc.inputs.archives import unpacked
from rtmkc.inputs.delimited import ColumnChoice, read_table, sensible_types
from rtmkc.inputs.vectors import WITH_LAYERS, read_vector
from rtmkc.inputs.workbooks import read_workbook

__all__ = ["ColumnChoice", "RASTERS", "SUPPORTED", "TABLES", "read_file", "sensible_types"]

TABLES = (".csv", ".tsv", ".tab", ".txt")
_PARQUET = (".parquet", ".geoparquet", ".pq")
_WORKBOOKS = (".xlsx", ".xlsm")
_LINES = (".geojsonl", ".geojsons", ".geojsonseq", ".ndjson", ".jsonl")
_VECTORS = (".geojson", ".gpkg", ".gdb", ".shp", ".fgb", ".kml", ".kmz")
_PLAIN = (*TABLES, ".json", *_LINES, *_VECTORS, *_PARQUET, *_WORKBOOKS)
SUPPORTED = (*_PLAIN, ".zip")
RASTERS = (".tif", ".tiff", ".vrt", ".img", ".asc")

_INSTEAD = {
    ".xls": "save it as .xlsx, or as CSV in UTF-8",
    ".dbf": "name the .shp beside it",
    ".shx": "name the .shp beside it",
    ".prj": "name the .shp beside it",
    ".gz": "unpack it first",
    ".7z": "unpack it first",
    ".rar": "unpack it first",
}


def read_file(
    path: Path, *, layer: str | None = None, columns: ColumnChoice | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of a file, numbered from 0, and what was decided while reading it.

    Parameters
    ----------
    path : Path
        CSV (also with tabs, semicolons or bars), Excel, GeoJSON (also one feature a line), JSON records,
        GeoPackage, file geodatabase, Shapefile, FlatGeobuf, KML, KMZ, Parquet or GeoParquet, and a zip
        archive of any of these.
    layer : str, optional
        Layer, sheet or member of the archive, needed if there are several.
    columns : callable, optional
        Given the names of all columns, returns those to be read.

    Returns
    -------
    frame : DataFrame or GeoDataFrame
    notes : list of str

    Raises
    ------
    InputError
        If the file is missing, of an unknown kind, damaged, or holds no rows.
    """
    _check_kind(path)
    kind = path.suffix.lower()
    if layer is not None and kind not in (*WITH_LAYERS, *_WORKBOOKS, ".zip"):
        raise InputError(
            f"Invalid layer {layer!r}. Only a GeoPackage, a geodatabase, a KML file, a workbook or an archive "
            f"has layers; leave it out for {path.name}."
        )
    notes: list[str] = []
    try:
        frame = _read(path, layer, notes, columns, shown=str(path))
    except InputError:
        raise
    except PermissionError:
        raise InputError(f"Invalid file {str(path)!r}. It may not be read; change its permissions.") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"Invalid file {str(path)!r}. Its text is not in UTF-8, as {kind[1:]} has to be; save it again in that encoding."
        ) from error
    except Exception as error:
        # Every reader has its own exceptions for a damaged file; users need one sentence.
        reason = " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
        if "Error occurred in" in reason:
            reason = "it is damaged"
        if "EOF inside string" in reason:
            reason = "it has a quoted cell that is never closed, as if the file were cut off"
        raise InputError(
            f"Invalid file {str(path)!r}. It cannot be read as {kind[1:]}: {reason}. "
            "Export it again, or check that its ending tells what it is."
        ) from error
    if len(frame) == 0:
        raise InputError(f"Invalid file {str(path)!r}. It holds no rows; export it again with its data.")
    return frame, notes


def _check_kind(path: Path) -> None:
    kind = path.suffix.lower()
    if not path.exists():
        raise InputError(f"Invalid file {str(path)!r}. There is no such file; check the name and the folder.")
    if path.is_dir() and kind != ".gdb":
        raise InputError(f"Invalid file {str(path)!r}. It is a folder; name a file inside it.")
    if kind in RASTERS:
        raise InputError(
            f"Invalid file {str(path)!r}. It is a raster, which has pixels and no features; give it to "
            "RiskFactor or Exposure as it is, or read it with read_raster()."
        )
    if kind not in SUPPORTED:
        advice = _INSTEAD.get(kind)
        raise InputError(
            f"Invalid file {str(path)!r}. Its ending {kind!r} is not one of those read: "
            f"{', '.join(SUPPORTED)}{f'; {advice}' if advice else ''}."
        )


def _read(
    path: Path, layer: str | None, notes: list[str], columns: ColumnChoice | None, *, shown: str
) -> pd.DataFrame:
    kind = path.suffix.lower()
    if kind in TABLES:
        return read_table(path, notes, shown=shown, columns=columns)
    if kind in _WORKBOOKS:
        return read_workbook(path, layer, notes, shown=shown, columns=columns)
    if kind in _PARQUET:
        return _read_parquet(path, columns)
    if kind in (".zip", ".kmz"):
        readable = _PLAIN if kind == ".zip" else (".kml",)
        with unpacked(path, layer, notes, shown=shown, readable=readable) as (member, inner):
            return _read(member, inner, notes, columns, shown=f"{shown}/{member.name}")
    records = None
    if kind == ".json":
        records = _json_records(path)
    elif kind in _LINES:
        records = _line_records(path)
    if records is not None:
        return records if columns is None else records[columns([str(name) for name in records.columns])]
    frame = read_vector(path, layer, notes, shown=shown, columns=columns)
    if kind in _LINES and len(frame) < (lines := _n_lines(path)):
        # GDAL leaves out what it cannot read, and says nothing.
        raise ValueError(
            f"{lines - len(frame):,} of {lines:,} lines are no whole feature, as if the file were cut off"
        )
    return frame


def _read_parquet(path: Path, columns: ColumnChoice | None) -> pd.DataFrame:
    import pyarrow.parquet

    schema = pyarrow.parquet.read_schema(path)
    names = None
    if columns is not None:
        hidden = [name for name in schema.names if name.startswith("__index_level_")]
        names = columns([name for name in schema.names if name not in hidden])
    if b"geo" in (schema.metadata or {}):
        place = json.loads(schema.metadata[b"geo"]).get("primary_column", "geometry")
        names = names if names is None or place in names else [*names, place]
        frame: pd.DataFrame = gpd.read_parquet(path, columns=names)
    else:
        frame = pd.read_parquet(path, columns=names)
    for name in frame.columns:
        if pd.api.types.is_string_dtype(frame[name].dtype) and frame[name].dtype != object:
            # Broken text would fail much later, at whoever looks at it first.
            pa.array(frame[name].array).validate(full=True)
    return frame.reset_index(drop=all(name is None for name in frame.index.names))


def _json_records(path: Path) -> pd.DataFrame | None:
    """Return the records of a JSON file that is a list of them, or a portal's table of them; else None."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError):
        return None
    if isinstance(content, list) and all(isinstance(record, dict) for record in content):
        return pd.DataFrame(content)
    if isinstance(content, dict) and "data" in content and "view" in content.get("meta", {}):
        return _portal_table(content)
    return None


def _portal_table(content: dict[str, Any]) -> pd.DataFrame:
    """Return the table of a Socrata portal's rows.json: lists of cells, with their names apart."""
    described = content["meta"]["view"]["columns"]
    names = [str(column["name"]) for column in described]
    frame = pd.DataFrame(content["data"], columns=names)
    frame = frame.drop(columns=[column["name"] for column in described if column.get("id") == -1])
    kinds = {column["name"]: column.get("dataTypeName") for column in described}
    for name in frame.columns:
        if kinds[name] == "location":
            frame[name] = [_portal_location(cell) for cell in frame[name]]
        elif kinds[name] == "number":
            frame[name] = pd.to_numeric(frame[name], errors="coerce")
    return frame


def _portal_location(cell: Any) -> str | None:
    # [address, latitude, longitude, machine address, needs recoding]
    if not isinstance(cell, list) or len(cell) < 3 or cell[1] is None or cell[2] is None:
        return None
    return f"({cell[1]}, {cell[2]})"


def _n_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip(b" \r\n\t\x1e"))


def _line_records(path: Path) -> pd.DataFrame | None:
    """Return the records of a file with one on each line, or None if they are GeoJSON features."""
    records: list[dict[str, Any]] = []
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            text = line.strip().lstrip("\x1e")
            if not text:
                continue
            try:
                record = json.loads(text)
            except json.JSONDecodeError:
                raise ValueError(f"line {number} is no whole record, as if the file were cut off") from None
            if not isinstance(record, dict):
                raise ValueError(f"line {number} is no record")
            if not records and record.get("type") == "Feature":
                return None
            records.append(record)
    return pd.DataFrame(records)
