"""Shapefiles for those who need them: field names of ten safe characters, and a table that says what they are."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyogrio

from rtmkc.output.files import one_kind_of_fault, write_table
from rtmkc.storage import created_at

LENGTH = 10
TEXT = 254
"""Longest text of a field; the rest is cut off."""


def write_shapefiles(folder: Path, layers: Mapping[str, gpd.GeoDataFrame]) -> pd.DataFrame:
    """Write layers as Shapefiles, and ``fields.csv``, which maps their field names to those of the tables.

    Parameters
    ----------
    folder : Path
        An existing folder.
    layers : mapping of str to GeoDataFrame
        Name of the file -> features. One without features is left out: a Shapefile must know its kind.

    Returns
    -------
    DataFrame
        One row a field: file, field, column, cut (number of texts cut off at 254 characters).

    Raises
    ------
    OutputError
        If ``fields.csv`` exists or cannot be written.
    """
    rows = []
    for name, frame in layers.items():
        if frame.empty:
            continue
        columns = [str(column) for column in frame.columns if column != frame.geometry.name]
        fields = field_names(columns)
        plain = frame.rename(columns=fields)
        for column, field in fields.items():
            values = plain[field]
            cut = 0
            if pd.api.types.is_bool_dtype(values.dtype):
                plain[field] = values.astype("int32")
            elif pd.api.types.is_string_dtype(values.dtype) or values.dtype == object:
                text = values.astype("string").fillna("")
                cut = int((text.str.len() > TEXT).sum())
                plain[field] = text.str.slice(0, TEXT)
            rows.append({"file": f"{name}.shp", "field": field, "column": column, "cut": cut})
        with warnings.catch_warnings(), one_kind_of_fault(folder / f"{name}.shp"):
            # GDAL says that it shortened texts of several bytes a letter, which the field's length does.
            warnings.filterwarnings("ignore", category=RuntimeWarning, module="pyogrio")
            pyogrio.write_dataframe(
                plain,
                folder / f"{name}.shp",
                driver="ESRI Shapefile",
                layer_options={"ENCODING": "UTF-8", "DBF_DATE_LAST_UPDATE": created_at()[:10]},
            )
    table = pd.DataFrame(rows, columns=["file", "field", "column", "cut"])
    write_table(folder / "fields.csv", table)
    return table


def field_names(columns: list[str]) -> dict[str, str]:
    """Return a field name for each column: at most ten letters, digits and _, a letter first, each once.

    Examples
    --------
    >>> field_names(["expected", "expected_per_km", "f_poor lighting", "f_poor light", "2nd"])
    {'expected': 'expected', 'expected_per_km': 'expected_p', 'f_poor lighting': 'f_poor_lig', 'f_poor light': 'f_poor_l_2', '2nd': 'f_2nd'}
    """
    taken: set[str] = set()
    names = {}
    for column in columns:
        plain = re.sub(r"[^A-Za-z0-9]+", "_", column).strip("_") or "field"
        plain = plain if plain[0].isalpha() else f"f_{plain}"
        name, number = plain[:LENGTH], 2
        while name.lower() in taken:
            end = f"_{number}"
            name, number = f"{plain[: LENGTH - len(end)]}{end}", number + 1
        taken.add(name.lower())
        names[column] = name
    return names
