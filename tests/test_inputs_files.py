"""Every supported file is read with its codes intact; every damaged one is one sentence."""

import json
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
import shapely

from rtmkc.errors import InputError
from rtmkc.inputs.files import SUPPORTED, read_file, sensible_types
from rtmkc.inputs.layers import read_layer

POINTS = [(-94.58, 39.10), (-94.57, 39.11), (-94.56, 39.12)]


def some_lights() -> gpd.GeoDataFrame:
    places = gpd.GeoSeries([shapely.Point(place) for place in POINTS], crs="EPSG:4326")
    return gpd.GeoDataFrame({"kind": ["out", "dim", "out"], "beat": ["011", "120", "130"]}, geometry=places)


def write(frame: gpd.GeoDataFrame, path: Path) -> Path:
    if path.suffix in (".parquet", ".geoparquet", ".pq"):
        frame.to_parquet(path)
    elif path.suffix == ".csv":
        table = pd.DataFrame(frame.drop(columns="geometry"))
        table.assign(Latitude=frame.geometry.y, Longitude=frame.geometry.x).to_csv(path, index=False)
    elif path.suffix == ".json":
        frame.to_file(path, driver="GeoJSON")
    else:
        frame.to_file(path)
    return path


@pytest.mark.parametrize(
    "ending", [".csv", ".geojson", ".json", ".gpkg", ".shp", ".fgb", ".parquet", ".geoparquet"]
)
def test_every_format_gives_the_same_layer(tmp_path: Path, ending: str) -> None:
    """The same three lights come out of every format, codes with their leading zeros."""
    path = write(some_lights(), tmp_path / f"lights{ending}")
    layer = read_layer(path)
    # FlatGeobuf keeps its features in the order of its spatial index.
    frame = layer.frame.sort_values("beat")
    assert layer.name == "lights"
    assert layer.crs == "EPSG:4326"
    assert shapely.get_coordinates(frame.geometry).tolist() == [list(place) for place in POINTS]
    assert list(frame["beat"].astype(str)) == ["011", "120", "130"]
    assert list(layer.frame.index) == [0, 1, 2]
    assert layer.ledger.read == layer.ledger.used == 3
    assert layer.source == str(path)
    assert layer.sha256 is not None
    assert len(layer.sha256) == 64


def test_a_table_with_a_byte_order_mark_and_newlines_in_cells(tmp_path: Path) -> None:
    """Excel's mark is not part of the first name, and a quoted newline is not the end of a row."""
    path = tmp_path / "requests.csv"
    text = '\ufeffCASE ID,ADDRESS,LATITUDE,LONGITUDE\r\n0071,"938 Mulberry\n(39.10, -94.60)",39.10,-94.60\r\n'
    path.write_text(text, encoding="utf-8", newline="")
    layer = read_layer(path)
    assert list(layer.frame.columns) == ["CASE ID", "ADDRESS", "LATITUDE", "LONGITUDE", "geometry"]
    assert layer.frame["CASE ID"].tolist() == ["0071"]


@pytest.mark.parametrize(("separator", "ending"), [(";", ".csv"), ("\t", ".tsv"), ("|", ".txt")])
def test_other_separators_are_noticed(tmp_path: Path, separator: str, ending: str) -> None:
    """A table of one column with semicolons is a table with semicolons, and the note says so."""
    path = tmp_path / f"places{ending}"
    path.write_text(f"name{separator}lat{separator}lon\nbar{separator}39.1{separator}-94.5\n")
    layer = read_layer(path)
    assert layer.frame.geometry.iloc[0].equals(shapely.Point(-94.5, 39.1))
    assert any("separated by" in note for note in layer.notes)


def test_a_table_in_an_old_encoding_is_read_and_said(tmp_path: Path) -> None:
    """Windows-1252 is what is left when text is not UTF-8."""
    path = tmp_path / "places.csv"
    path.write_bytes("name,lat,lon\nCafé,39.1,-94.5\n".encode("cp1252"))
    layer = read_layer(path)
    assert layer.frame["name"].tolist() == ["Café"]
    assert any("Windows-1252" in note for note in layer.notes)


def test_numbers_become_numbers_and_codes_stay_text() -> None:
    """A column is numeric only if every value is a plain number that a float can hold."""
    text = pd.DataFrame(
        {
            "count": ["1", "20", None],
            "share": ["0.5", "-1", "1.5e3"],
            "zip": ["64101", "01234", "64130"],
            "ibrs": ["120", "13A", None],
            "code": ["1E5", "2E5", "120"],
            "pin": ["12345678901234567", "1", "2"],
            "flag": ["True", "false", "TRUE"],
            "blank": [None, None, None],
        },
        dtype=object,
    )
    frame = sensible_types(text)
    numeric = [name for name in frame if pd.api.types.is_numeric_dtype(frame[name].dtype)]
    assert numeric == ["count", "share", "flag"]
    assert frame["flag"].tolist() == [True, False, True]
    assert frame["zip"].tolist() == ["64101", "01234", "64130"]


def test_records_of_a_portals_interface_are_read(tmp_path: Path) -> None:
    """A JSON list of records with a GeoJSON point in each is a layer."""
    path = tmp_path / "rows.json"
    records = [{"id": "1", "location": {"type": "Point", "coordinates": [-94.5, 39.1]}}, {"id": "2"}]
    path.write_text(json.dumps(records))
    with pytest.warns(match="1 no coordinates"):
        layer = read_layer(path)
    assert layer.frame.geometry.iloc[0].equals(shapely.Point(-94.5, 39.1))


def test_plain_parquet_tables_have_coordinate_columns(tmp_path: Path) -> None:
    """A Parquet file without geometry is a table like any other; a named index becomes a column."""
    path = tmp_path / "bars.parquet"
    pd.DataFrame({"lat": [39.1], "lng": [-94.5]}, index=pd.Index(["b7"], name="licence")).to_parquet(path)
    layer = read_layer(path)
    assert layer.frame["licence"].tolist() == ["b7"]
    assert list(layer.frame.index) == [0]


def test_a_geopackage_with_two_layers_needs_a_choice(tmp_path: Path) -> None:
    """The message lists the layers; naming one reads it."""
    path = tmp_path / "city.gpkg"
    some_lights().to_file(path, layer="lights")
    some_lights().iloc[:1].to_file(path, layer="poles")
    with pytest.raises(InputError, match=r"Invalid layer None.*'lights', 'poles'"):
        read_layer(path)
    with pytest.raises(InputError, match="Invalid layer 'lamps'"):
        read_layer(path, layer="lamps")
    assert len(read_layer(path, layer="poles")) == 1


def damaged(folder: Path, kind: str) -> Path:
    content = {
        "missing.csv": None,
        "lights.xyz": b"a,b\n1,2\n",
        "empty.csv": b"",
        "blank.csv": b"\xef\xbb\xbf\r\n",
        "header.csv": b"name,lat,lon\n",
        "binary.csv": bytes(range(256)) * 4,
        "page.csv": b"<!DOCTYPE html><html><body>Sign in</body></html>",
        "ragged.csv": b"lat,lon\n39.1,-94.5\n1,2,3,4\n",
        "unclosed.csv": b'name,lat,lon\n"a,39.1,-94.5\nb,39.2,-94.6\n',
        "broken.geojson": b'{"type": "FeatureCollection", "features": [{"type"',
        "empty.geojson": b'{"type": "FeatureCollection", "features": []}',
        "records.json": b"[]",
        "garbage.gpkg": b"\x00\x01garbage",
        "garbage.shp": b"\x00\x01garbage",
        "garbage.parquet": b"PAR1garbage",
    }[kind]
    path = folder / kind
    if content is not None:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("missing.csv", "There is no such file"),
        ("lights.xyz", "ending '.xyz' is not one of those read: .csv"),
        ("empty.csv", "It is empty"),
        ("blank.csv", "It is empty"),
        ("header.csv", "It holds no rows"),
        ("binary.csv", "binary content"),
        ("page.csv", "It is a web page"),
        ("ragged.csv", "cannot be read as csv: .*line 3"),
        ("unclosed.csv", "a quoted cell that is never closed"),
        ("broken.geojson", "cannot be read as geojson"),
        ("empty.geojson", "It holds no rows"),
        ("records.json", "It holds no rows"),
        ("garbage.gpkg", "cannot be read as gpkg"),
        ("garbage.shp", "cannot be read as shp"),
        ("garbage.parquet", "cannot be read as parquet"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, kind: str, sentence: str) -> None:
    """The message names the file, the rule and the fix, on one line."""
    path = damaged(tmp_path, kind)
    with pytest.raises(InputError, match=sentence) as caught:
        read_file(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    """Naming a folder is the commonest slip of the command line."""
    with pytest.raises(InputError, match="It is a folder"):
        read_layer(tmp_path)


def test_geojson_in_metres_is_refused_until_its_crs_is_stated(tmp_path: Path) -> None:
    """The format cannot say its system, so a statement counts; a GeoPackage says it, so there it does not."""
    path = tmp_path / "lights.geojson"
    point = {
        "type": "Feature",
        "properties": {},
        "geometry": {"type": "Point", "coordinates": [363494.7, 4329026.6]},
    }
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [point]}))
    with pytest.raises(InputError, match="look projected"):
        read_layer(path)
    layer = read_layer(path, crs="EPSG:26915")
    assert layer.crs == "EPSG:26915"
    assert layer.frame.geometry.iloc[0].x == 363494.7
    with pytest.raises(InputError, match="says that it is in EPSG:4326"):
        read_layer(write(some_lights(), tmp_path / "lights.gpkg"), crs="EPSG:26915")


def test_layer_is_for_files_with_layers_only(tmp_path: Path) -> None:
    """A layer name that would be ignored is refused."""
    path = write(some_lights(), tmp_path / "lights.csv")
    with pytest.raises(InputError, match="Only a GeoPackage, a geodatabase"):
        read_layer(path, layer="lights")
    with pytest.raises(InputError, match="A frame in memory has no layers"):
        read_layer(some_lights(), layer="lights")


def test_the_supported_endings_are_stated() -> None:
    """The list in the error message is the list that is read."""
    assert set(SUPPORTED) >= {".csv", ".geojson", ".gpkg", ".shp", ".parquet", ".geoparquet"}
