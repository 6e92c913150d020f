"""Files to hand on: GeoPackage with QGIS styles, cloud-optimised GeoTIFF, CSV and GeoJSON."""

import contextlib
import json
import sqlite3
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

from rtmkc import __version__
from rtmkc.errors import OutputError
from rtmkc.inputs.layers import as_layer
from rtmkc.output.qgis import RISK_COLUMN, layer_styles
from rtmkc.output.weights import patches_sentence, undecided
from rtmkc.output.words import relative_risk
from rtmkc.raster.cog import write_cog
from rtmkc.storage import created_at, write_atomically, write_text

if TYPE_CHECKING:
    from rtmkc.model.terrain import RiskTerrain

DECIMALS = {"longitude": 6, "latitude": 6, "easting": 2, "northing": 2}
"""Columns that are places: 6 decimals of a degree are 0.1 m."""
DIGITS = 6
"""Significant digits of any other number in a CSV."""
FORMULA = ("=", "+", "-", "@", "\t", "\n")
"""A text cell that starts with one of these could run as a formula in a spreadsheet."""
RASTER_BANDS = {
    "relative": "x the city's average",
    "rrs": "x the lowest cell",
    "environment": "x the city's average",
    "area_history": "x",
    "spot_history": "x",
}
"""Bands beside `expected`, and what they are multiples of."""
_STYLE_TABLE = """
CREATE TABLE layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256),
    f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
    useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
    update_time DATETIME DEFAULT CURRENT_TIMESTAMP
)"""


def write_gpkg(
    path: str | Path,
    terrain: "RiskTerrain",
    *,
    hotspots: gpd.GeoDataFrame | None = None,
    areas: gpd.GeoDataFrame | None = None,
    corridors: gpd.GeoDataFrame | None = None,
    blocks: gpd.GeoDataFrame | None = None,
    stops: gpd.GeoDataFrame | None = None,
    zones: gpd.GeoDataFrame | None = None,
    incidents: Any = None,
    treated: Any = None,
    overwrite: bool = False,
) -> None:
    """Write one GeoPackage with a layer for each thing, styled for QGIS.

    Parameters
    ----------
    path : path
        The file, ``.gpkg``.
    terrain : RiskTerrain
        Its cells become the layer ``risk`` (all columns, and ``relative``: x the city's average), its area
        the layer ``study_area``, which carries the facts: n, period, cell size, system, method; and its weights
        the table ``weights``, one row a factor tried.
    hotspots, areas, corridors : GeoDataFrame, optional
        From `find_hotspots` and `find_corridors`: layers ``hotspots``, ``hotspot_areas``, ``corridors``.
    blocks, stops, zones : GeoDataFrame, optional
        From `corridor_blocks`, `plan_canvass` and `corridor_zones`: layers ``corridor_blocks``, ``stops``, ``zones``.
    incidents : layer, optional
        Layer ``incidents``. Left out unless given: a map of risk does not need the place of each victim.
    treated : layer, optional
        Layer ``treated``.
    overwrite : bool
        Whether a file that exists may be replaced.

    Raises
    ------
    OutputError
        If the file exists and `overwrite` is false, or it cannot be written.

    Notes
    -----
    Layers are in the grid's system, in metres. Times inside follow SOURCE_DATE_EPOCH, and then the same input
    gives the same bytes.
    """
    crs = terrain.grid.crs
    layers = {"risk": _risk_cells(terrain)}
    for name, frame in (
        ("hotspots", hotspots), ("hotspot_areas", areas), ("zones", zones), ("corridor_blocks", blocks),
        ("corridors", corridors), ("stops", stops),
    ):  # fmt: skip
        if frame is not None:
            layers[name] = frame.to_crs(crs)
    for name, layer in (("incidents", incidents), ("treated", treated)):
        if layer is not None:
            layers[name] = as_layer(layer, name=name).frame.to_crs(crs)
    layers["study_area"] = _area_with_facts(terrain)
    with write_atomically(path, overwrite=overwrite) as temporary, one_kind_of_fault(path):
        with _gdal_clock():
            for name, frame in layers.items():
                _write_layer(temporary, name, frame)
            _write_rows(temporary, "weights", terrain.weights)
        _add_styles(temporary, list(layers))


@contextlib.contextmanager
def one_kind_of_fault(path: str | Path) -> Iterator[None]:
    """Let a full disk be an `OutputError`: GDAL and SQLite have errors of their own for it."""
    try:
        yield
    except (DataSourceError, DataLayerError, FeatureError, sqlite3.Error) as error:
        raise OutputError(
            f"Invalid output {str(path)!r}. It cannot be written: {str(error).rstrip('.')}. Nothing was left "
            "behind; choose another place or free some space."
        ) from error


def write_table(path: str | Path, frame: pd.DataFrame, *, overwrite: bool = False) -> None:
    """Write a table as CSV that people open in a spreadsheet.

    Parameters
    ----------
    path : path
        The file.
    frame : DataFrame or GeoDataFrame
        A geometry becomes columns longitude and latitude (a place on it; the middle of a line, whose ends get
        columns of their own), unless the table has them.
    overwrite : bool
        Whether a file that exists may be replaced.

    Raises
    ------
    OutputError
        If the file exists and `overwrite` is false, or it cannot be written.

    Notes
    -----
    Text that starts with = + - @ or a control character gets an apostrophe before it, so that no spreadsheet
    runs it as a formula; numbers stay numbers, with six significant digits.
    """
    plain = _with_places(frame) if isinstance(frame, gpd.GeoDataFrame) else frame
    cells = pd.DataFrame(
        {_harmless(str(name)): _column_text(str(name), plain[name]) for name in plain.columns}, dtype=object
    )
    write_text(path, cells.to_csv(index=False, lineterminator="\n"), overwrite=overwrite)


def write_geojson(path: str | Path, frame: gpd.GeoDataFrame, *, overwrite: bool = False) -> None:
    """Write features as GeoJSON (RFC 7946): longitude and latitude, six decimals, rings counter-clockwise.

    Raises
    ------
    OutputError
        If the file exists and `overwrite` is false, or it cannot be written.
    """
    geometry = frame.geometry.to_crs(4326)
    shapes = shapely.orient_polygons(shapely.transform(geometry.to_numpy(), lambda degrees: degrees.round(6)))
    columns = {str(name): frame[name] for name in frame.columns if name != frame.geometry.name}
    features = [
        {
            "type": "Feature",
            "properties": {name: _json_value(column.iloc[row]) for name, column in columns.items()},
            "geometry": None if shape is None else _json_geometry(shape),
        }
        for row, shape in enumerate(shapes)
    ]
    # One feature a line: a difference between two runs can be read.
    lines = ",\n".join(json.dumps(feature, allow_nan=False, ensure_ascii=False) for feature in features)
    write_text(path, f'{{"type": "FeatureCollection", "features": [\n{lines}\n]}}\n', overwrite=overwrite)


def write_risk_raster(path: str | Path, terrain: "RiskTerrain", *, overwrite: bool = False) -> None:
    """Write the surfaces as a cloud-optimised GeoTIFF, one band each.

    Bands: expected (incidents per cell over the horizon), relative (x the city's average), rrs (lowest cell
    = 1), environment, area_history and spot_history (whose product with the city's mean is expected). The
    tags say n, period, cell size, system, method, version and when it was made; each band has its unit.

    Raises
    ------
    OutputError
        If the file exists and `overwrite` is false, or it cannot be written.
    """
    surfaces = {
        name: relative_risk(terrain) if name == "relative" else terrain.cells[name].to_numpy()
        for name in ("expected", *RASTER_BANDS)
    }
    units = {"expected": f"incidents per cell in {terrain.horizon}"} | RASTER_BANDS
    tags = {name: str(value) for name, value in _facts(terrain).items()}
    write_cog(path, terrain.grid, surfaces, units=units, tags=tags, overwrite=overwrite)


def _facts(terrain: "RiskTerrain") -> dict[str, Any]:
    """What every file says of itself."""
    facts = terrain.facts
    return {
        "rtmkc_version": __version__,
        "created": created_at(),
        "method": facts["why"]["method"],
        "n": facts["n_incidents"],
        "period": facts["period"] or "not known",
        "crs": facts["crs"],
        "cell_size_m": facts["cell_size_m"],
        "expected_for": terrain.horizon,
        "city_mean": terrain.city_mean,
        "timing": facts["timing"],
        "exposure": facts["exposure"],
        "factors": ", ".join(terrain.factors) or "no significant factor",
        "not_decided": ", ".join(undecided(terrain)) or "none",
        "patches": patches_sentence(facts) or "not measured",
    }


def _risk_cells(terrain: "RiskTerrain") -> gpd.GeoDataFrame:
    cells = terrain.cells.assign(**{RISK_COLUMN: relative_risk(terrain)})
    return gpd.GeoDataFrame(cells, geometry=terrain.grid.cell_polygons(), crs=terrain.grid.crs)


def _area_with_facts(terrain: "RiskTerrain") -> gpd.GeoDataFrame:
    area = terrain.grid.area
    row = {"name": area.name, "area_km2": area.area_m2 / 1e6} | _facts(terrain)
    return gpd.GeoDataFrame([row], geometry=[area.geometry], crs=area.crs)


def _write_layer(path: Path, name: str, frame: gpd.GeoDataFrame) -> None:
    frame = frame.rename_geometry("geom") if frame.geometry.name != "geom" else frame
    kinds = set(frame.geom_type.dropna())
    with warnings.catch_warnings():
        # An empty or mixed layer has no one geometry type, which is no news here.
        warnings.filterwarnings("ignore", category=UserWarning, module="pyogrio")
        pyogrio.write_dataframe(
            frame.rename(columns=_field_names(frame)),
            path,
            layer=name,
            driver="GPKG",
            geometry_type=kinds.pop() if len(kinds) == 1 else "Unknown" if not kinds else None,
            # Version 1.2 is read by every QGIS and ArcGIS in use; GDAL's default of 1.4 is not.
            dataset_options=None if path.exists() else {"VERSION": "1.2"},
        )


def _write_rows(path: Path, name: str, table: pd.DataFrame) -> None:
    """Write a table without places."""
    texts = table.select_dtypes(exclude="number").columns
    # A text that is missing is null, and not a number.
    plain = table.astype(dict.fromkeys(texts, object))
    plain[texts] = plain[texts].where(plain[texts].notna(), None)
    pyogrio.write_dataframe(plain, path, layer=name, driver="GPKG")


def _field_names(frame: gpd.GeoDataFrame) -> dict[Any, str]:
    """SQLite tells columns apart without regard to case, and keeps two names for itself."""
    taken, names = {"fid", "geom"}, {}
    for column in frame.columns:
        if column == frame.geometry.name:
            continue
        name, number = str(column), 2
        while name.lower() in taken:
            name, number = f"{column}_{number}", number + 1
        taken.add(name.lower())
        names[column] = name
    return names


@contextlib.contextmanager
def _gdal_clock() -> Iterator[None]:
    """Let GDAL write our time of creation into the file instead of its own clock's."""
    option = "OGR_CURRENT_DATE"
    before = pyogrio.get_gdal_config_option(option)
    pyogrio.set_gdal_config_options({option: _gpkg_time()})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({option: before})


def _gpkg_time() -> str:
    return created_at().replace("Z", ".000Z")


def _add_styles(path: Path, layers: list[str]) -> None:
    styles, moment = layer_styles(), _gpkg_time()
    rows = [
        ("", "", name, "geom", name, styles[name], "", True, "by rtmkc", "", None, moment)
        for name in layers
        if name in styles
    ]
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(_STYLE_TABLE)
        connection.executemany(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, "
            "styleName, styleQML, styleSLD, useAsDefault, description, owner, ui, update_time) "
            f"VALUES ({', '.join('?' * 12)})",
            rows,
        )
        connection.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change) "
            "VALUES ('layer_styles', 'attributes', 'layer_styles', '', ?)",
            (moment,),
        )


def _with_places(frame: gpd.GeoDataFrame) -> pd.DataFrame:
    plain = pd.DataFrame(frame.drop(columns=frame.geometry.name))
    if {"longitude", "latitude"} <= set(plain.columns) or frame.empty:
        return plain
    shapes = frame.geometry.to_numpy()
    lines = shapely.get_type_id(shapes) == 1
    place = frame.geometry.representative_point().to_numpy(copy=True)
    place[lines] = shapely.line_interpolate_point(shapes[lines], 0.5, normalized=True)
    places = {"": place}
    if lines.all():
        places |= {"from_": shapely.get_point(shapes, 0), "to_": shapely.get_point(shapes, -1)}
    for prefix, points in places.items():
        degrees = gpd.GeoSeries(points, index=frame.index, crs=frame.crs).to_crs(4326)
        plain[f"{prefix}longitude"], plain[f"{prefix}latitude"] = degrees.x, degrees.y
    return plain


def _column_text(name: str, column: pd.Series) -> list[Any]:
    decimals = next((places for key, places in DECIMALS.items() if name.endswith(key)), None)
    return [_cell(value, decimals) for value in column]


def _cell(value: Any, decimals: int | None) -> Any:
    if isinstance(value, str):
        return _harmless(value)
    if value is None or value is pd.NaT or value is pd.NA:
        return ""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating):
        return _digits(float(value), decimals)
    if isinstance(value, pd.Timestamp) and value == value.normalize():
        return value.date().isoformat()  # a day has no hours
    return value if isinstance(value, int | np.integer) else _harmless(str(value))


def _digits(value: float, decimals: int | None) -> str:
    if not np.isfinite(value):
        return "" if np.isnan(value) else str(value)
    if decimals is not None:
        return f"{value:.{decimals}f}"
    if abs(value) >= 10**DIGITS:
        return f"{value:.0f}"
    return str(np.format_float_positional(value, precision=DIGITS, fractional=False, trim="-"))


def _harmless(text: str) -> str:
    # A lone carriage return would end the row: the csv module quotes only the line end it writes.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{text}" if text.startswith(FORMULA) else text


def _json_value(value: Any) -> Any:
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.10g}") if np.isfinite(value) else None
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _json_geometry(shape: shapely.Geometry) -> dict[str, Any]:
    geometry: dict[str, Any] = json.loads(shapely.to_geojson(shape))
    return geometry
