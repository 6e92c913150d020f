"""Names for nameless street segments, from the natural continuation of streets across corners."""

import warnings
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely

from rtmkc.errors import InputError


@dataclass(frozen=True, eq=False)
class StrokeNames:
    """Names after the nameless segments got theirs.

    Attributes
    ----------
    names : ndarray of str, shape (n_lines,)
        A name for every line.
    is_made_up : ndarray of bool, shape (n_lines,)
        Which names are "unnamed street <n>".
    n_continued, n_unnamed_lines, n_unnamed_streets : int
        Lines that took the name of the street they continue; lines on strokes without any name, and such
        strokes.
    """

    names: np.ndarray
    is_made_up: np.ndarray
    n_continued: int
    n_unnamed_lines: int
    n_unnamed_streets: int


def name_by_strokes(lines: np.ndarray, names: np.ndarray, crs: pyproj.CRS | None = None) -> StrokeNames:
    """Give nameless lines the name of the stroke they are part of.

    Parameters
    ----------
    lines : ndarray of LineString, shape (n_lines,)
        Lines that touch at their ends only, none twice, in metres.
    names : ndarray of str or None, shape (n_lines,)
        Street names; they are kept.
    crs : CRS, optional
        Coordinate system of the lines.

    Returns
    -------
    StrokeNames

    Raises
    ------
    InputError
        If momepy is not installed.

    Notes
    -----
    A stroke is a chain of lines that a walker would call the same street: at each corner a line goes on into
    the one that deflects least, if that one agrees (COINS; Tripathy, Rao, Balakrishnan and Malladi 2021,
    "An open-source tool to extract natural continuity and hierarchy of urban street networks", Environment
    and Planning B 48(8)). Every line stays whole. The name with the greatest length on a stroke wins. Strokes
    without names are numbered from west to east.

    Examples
    --------
    >>> wkt = ["LINESTRING (0 0, 90 0)", "LINESTRING (90 0, 200 5)", "LINESTRING (90 0, 90 80)"]
    >>> name_by_strokes(shapely.from_wkt(wkt), np.array(["Oak", None, None])).names
    array(['Oak', 'Oak', 'unnamed street 1'], dtype=object)
    """
    nameless = pd.isna(names)
    is_made_up = np.zeros(len(lines), dtype=bool)
    named = np.array(names, dtype=object)
    if not nameless.any():
        return StrokeNames(named, is_made_up, 0, 0, 0)
    stroke = _strokes(lines, crs)
    _give_stroke_names(named, stroke, shapely.length(lines))
    n_continued = int(nameless.sum() - pd.isna(named).sum())
    is_made_up = np.asarray(pd.isna(named))
    west_south = shapely.bounds(lines[is_made_up])[:, :2]
    corner = pd.DataFrame(np.round(west_south, 3), columns=["west", "south"])
    corner["stroke"] = stroke[is_made_up]
    first = corner.sort_values(["west", "south", "stroke"]).drop_duplicates("stroke")
    number = pd.Series(np.arange(1, len(first) + 1), index=first["stroke"])
    named[is_made_up] = [f"unnamed street {number[of]}" for of in stroke[is_made_up]]
    return StrokeNames(named, is_made_up, n_continued, int(is_made_up.sum()), len(first))


def _give_stroke_names(named: np.ndarray, stroke: np.ndarray, length: np.ndarray) -> None:
    table = pd.DataFrame({"stroke": stroke, "name": named, "length": length})
    lengths = table.dropna(subset="name").groupby(["stroke", "name"])["length"].sum().round(3).reset_index()
    lengths = lengths.sort_values(["stroke", "length", "name"], ascending=[True, False, True])
    winner = lengths.drop_duplicates("stroke").set_index("stroke")["name"]
    nameless = np.asarray(pd.isna(named))
    of_stroke = winner.reindex(stroke[nameless]).to_numpy(dtype=object)
    named[nameless] = [None if pd.isna(name) else name for name in of_stroke]


def _strokes(lines: np.ndarray, crs: pyproj.CRS | None) -> np.ndarray:
    """Number of the stroke of every line, the same in whatever order and direction the lines come."""
    try:
        import momepy
    except ImportError:
        raise InputError(
            "Invalid missing_names 'strokes'. It needs the package momepy, which is not installed: "
            "pip install 'rtmkc[streets]', or leave missing_names as it is."
        ) from None
    # ties between equal angles go by order, and vertices are compared as text: no -0.0
    plain = shapely.normalize(shapely.transform(lines, lambda coordinates: coordinates + 0.0))
    order = np.argsort(shapely.to_wkb(plain), kind="stable")
    frame = gpd.GeoDataFrame(geometry=plain[order], crs=crs)
    with warnings.catch_warnings():
        # a line that runs back on itself: its angle is taken as 0, which breaks the stroke there
        warnings.filterwarnings("ignore", message=".*identical or overlapping", category=UserWarning)
        found = momepy.COINS(frame, flow_mode=True).stroke_attribute().to_numpy()
    stroke = np.empty(len(lines), dtype=np.int64)
    stroke[order] = found
    return stroke
