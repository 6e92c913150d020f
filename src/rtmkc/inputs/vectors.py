"""Files that GDAL reads, layer by layer: GeoPackage, geodatabase, Shapefile, GeoJSON, KML, FlatGeobuf."""

import os
import warnings
from pathlib import Path

import pandas as pd

from rtmkc.errors import InputError
from rtmkc.inputs.delimited import ColumnChoice

#: How the kinds with layers are called.
WITH_LAYERS = {".gpkg": "GeoPackage", ".gdb": "geodatabase", ".kml": "KML file", ".kmz": "KML file"}
# What the KML driver adds to every feature, whatever the file says.
_HOUSEKEEPING = frozenset(
    ["altitudeMode", "tessellate", "extrude", "visibility", "drawOrder", "icon", "snippet"]
)


def read_vector(
    path: Path, layer: str | None, notes: list[str], *, shown: str, columns: ColumnChoice | None
) -> pd.DataFrame:
    """Return the features of a file, or of one layer of it.

    Parameters
    ----------
    path : Path
        A file, or the folder of a geodatabase.
    layer : str or None
        Needed if several layers have features.
    notes : list of str
        What was decided, and what GDAL says, is added to it.
    shown : str
        Name of the file in messages.
    columns : callable or None
        Chooses the attributes that are read.

    Raises
    ------
    InputError
        If a layer has to be named, or there is none of the name.
    """
    import pyogrio

    kind = path.suffix.lower()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        if kind in WITH_LAYERS:
            layer = _choose_layer(pyogrio.list_layers(path), layer, shown, notes, WITH_LAYERS[kind])
        wanted = None
        if columns is not None:
            wanted = columns([str(name) for name in pyogrio.read_info(path, layer=layer)["fields"]])
        frame: pd.DataFrame
        try:
            frame = pyogrio.read_dataframe(path, layer=layer, columns=wanted)
        except UnicodeDecodeError:
            if kind != ".shp":
                raise
            # The .cpg beside a Shapefile often promises an encoding that its .dbf does not have.
            frame = pyogrio.read_dataframe(path, layer=layer, columns=wanted, encoding="cp1252")
            notes.append(
                "the text of the Shapefile is not in the encoding it states; it was read as Windows-1252"
            )
    # Measures (M) go the way of heights: points on a map have neither.
    words = [" ".join(str(warning.message).split()) for warning in said]
    words = [
        sentence.replace(f"{path.parent}{os.sep}", "") for sentence in words if "Measured" not in sentence
    ]
    notes.extend(f"GDAL says: {sentence[:200]}" for sentence in list(dict.fromkeys(words))[:3])
    if kind in (".kml", ".kmz"):
        idle = [name for name in frame.columns if name in _HOUSEKEEPING or frame[name].isna().all()]
        frame = frame.drop(columns=[name for name in idle if name != "geometry"])
    return frame


def _choose_layer(table: "object", layer: str | None, shown: str, notes: list[str], kind: str) -> str:
    present = [(str(name), geometry) for name, geometry in table]  # type: ignore[attr-defined]
    names = [name for name, _ in present]
    # A geodatabase keeps its lists of codes, and QGIS its styles, in tables without places.
    placed = [name for name, geometry in present if geometry is not None]
    if layer is None and (len(placed) == 1 or len(names) == 1):
        layer = placed[0] if placed else names[0]
        others = [name for name in names if name != layer]
        rest = f"; tables without places are left: {', '.join(others)}" if others else ""
        notes.append(f"layer {layer!r} of the {kind}{rest}")
        return layer
    return choose_layer(layer, names, shown, notes, kind)


def choose_layer(layer: str | None, names: list[str], shown: str, notes: list[str], kind: str) -> str:
    """Return the layer that is meant: the one named, or the only one.

    Raises
    ------
    InputError
        With the list of layers, if none or a wrong one is named, or the file has none.
    """
    if not names:
        raise InputError(f"Invalid file {shown!r}. It holds no layer; export it again with its data.")
    if layer is None and len(names) == 1:
        layer = names[0]
    if layer is None or layer not in names:
        raise InputError(
            f"Invalid layer {layer!r}. {Path(shown).name} has {len(names)} layers; choose one with layer=: "
            f"{', '.join(map(repr, names))}."
        )
    notes.append(f"layer {layer!r} of the {kind}")
    return layer
