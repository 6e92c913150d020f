"""Files to hand on: what is in them, read back by other libraries, and the same bytes twice."""

import csv
import json
import sqlite3
from xml.etree import ElementTree

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
import shapely

from rtmkc.errors import OutputError
from rtmkc.output.classes import BREAKS, LABELS
from rtmkc.output.files import write_geojson, write_gpkg, write_risk_raster, write_table
from rtmkc.output.qgis import layer_styles, risk_style
from rtmkc.places.corridors.zones import corridor_zones
from rtmkc.storage import file_sha256

EPOCH, MOMENT = "1700000000", "2023-11-14T22:13:20"


@pytest.fixture(autouse=True)
def _fixed_clock(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH)


@pytest.fixture(scope="module")
def terrain(make_terrain):
    return make_terrain()


@pytest.fixture(scope="module")
def corridors(terrain):
    west, north = terrain.grid.west, terrain.grid.north
    line = shapely.LineString([(west + 500, north - 700), (west + 1500, north - 700)])
    table = {
        "rank": [1],
        "name": ["=Oak"],
        "from_street": [None],
        "expected": [0.123456789],
        "incidents": [3.0],
    }
    return gpd.GeoDataFrame(table, geometry=[line], crs=terrain.grid.crs)


@pytest.fixture
def package(tmp_path, terrain, corridors):
    path = tmp_path / "rtmkc.gpkg"
    write_gpkg(
        path, terrain, hotspots=terrain.hotspots(), areas=terrain.hotspots(areas=True), corridors=corridors,
        treated=corridors,
    )  # fmt: skip
    return path


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_geopackage_holds_a_layer_for_each_thing_and_no_incidents(package):
    """Layers are those named in the documentation; incidents are not among them unless given."""
    layers = dict(pyogrio.list_layers(package))
    assert set(layers) == {
        "risk", "hotspots", "hotspot_areas", "corridors", "treated", "study_area", "weights", "layer_styles",
    }  # fmt: skip
    assert layers["risk"] == "Polygon"
    assert layers["corridors"] == "LineString"


def test_incidents_are_written_only_when_given(tmp_path, terrain):
    """Who hands over incidents gets them as points."""
    points = gpd.GeoDataFrame(geometry=[shapely.Point(-94.58, 39.08)], crs=4326)
    write_gpkg(tmp_path / "with.gpkg", terrain, incidents=points)
    assert len(gpd.read_file(tmp_path / "with.gpkg", layer="incidents")) == 1


def test_risk_cells_come_back_as_they_were(package, terrain):
    """Every column of the cells, x the average, and the squares survive the file to the last bit."""
    found = gpd.read_file(package, layer="risk")
    assert found.crs == terrain.grid.crs
    pd.testing.assert_frame_equal(
        pd.DataFrame(found[terrain.cells.columns]), terrain.cells, check_dtype=False, rtol=0, atol=0
    )
    np.testing.assert_array_equal(found["relative"], terrain.cells["expected"] / terrain.city_mean)
    assert found.geometry.geom_equals(terrain.grid.cell_polygons().reset_index(drop=True)).all()


def test_the_study_area_carries_the_facts(package, terrain):
    """The file says n, period, cell size, system, method, timing and when it was made."""
    (area,) = gpd.read_file(package, layer="study_area").to_dict("records")
    assert area["n"] == terrain.facts["n_incidents"]
    assert area["period"] == "2021-01-01/2023-12-31"
    assert area["method"] == "classic"
    assert area["crs"] == "EPSG:26915"
    assert area["timing"] == "all factors precede the incidents"
    assert str(area["created"]).startswith(MOMENT)


def test_every_layer_has_a_default_style_that_qgis_finds(package):
    """layer_styles is registered in gpkg_contents, names each layer's geometry column, and holds QML."""
    with sqlite3.connect(package) as connection:
        (kind,) = connection.execute(
            "SELECT data_type FROM gpkg_contents WHERE table_name = 'layer_styles'"
        ).fetchone()
        styles = connection.execute(
            "SELECT f_table_name, f_table_catalog, f_table_schema, f_geometry_column, useAsDefault, styleQML "
            "FROM layer_styles"
        ).fetchall()
        geometries = dict(connection.execute("SELECT table_name, column_name FROM gpkg_geometry_columns"))
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert kind == "attributes"
    assert {style[0] for style in styles} == set(geometries)
    for name, catalog, schema, column, default, qml in styles:
        assert (catalog, schema, column, default) == ("", "", geometries[name], 1)
        assert ElementTree.fromstring(qml.split("\n", 1)[1]).tag == "qgis"


def test_corridors_come_with_blocks_stops_and_zones(tmp_path, terrain, corridors):
    """What a team and an evaluation need of a corridor are layers of their own, each with a style of its own kind."""
    street = corridors.geometry.iloc[0]
    blocks = corridors.assign(order=1, city_multiple=3.0)
    stops = gpd.GeoDataFrame(
        {"rank": [1], "seq": [1], "place": ["=1 Oak"], "violations": pd.array([pd.NA], dtype="Int64"),
         "last_seen": pd.to_datetime([None])},
        geometry=[street.interpolate(10)], crs=terrain.grid.crs,
    )  # fmt: skip
    zones = corridor_zones(corridors.assign(corridor_id="c1"))
    path = tmp_path / "corridors.gpkg"
    write_gpkg(path, terrain, corridors=corridors, blocks=blocks, stops=stops, zones=zones.to_crs(4326))
    kinds = dict(pyogrio.list_layers(path))
    assert {name: kinds[name] for name in ("corridor_blocks", "stops", "zones")} == {
        "corridor_blocks": "LineString", "stops": "Point", "zones": "Polygon",
    }  # fmt: skip
    assert gpd.read_file(path, layer="zones").crs == terrain.grid.crs
    assert gpd.read_file(path, layer="zones").area.tolist() == pytest.approx(
        zones["area_m2"].tolist(), rel=1e-4
    )
    assert gpd.read_file(path, layer="stops")["place"].tolist() == ["=1 Oak"]
    with sqlite3.connect(path) as connection:
        styles = dict(connection.execute("SELECT f_table_name, styleQML FROM layer_styles").fetchall())
    trees = {name: ElementTree.fromstring(qml.split("\n", 1)[1]) for name, qml in styles.items()}
    symbols = {name: {one.get("type") for one in tree.iter("symbol")} for name, tree in trees.items()}
    assert [symbols[name] for name in ("corridor_blocks", "stops", "zones")] == [
        {"line"},
        {"marker"},
        {"fill"},
    ]
    assert trees["corridor_blocks"].find("renderer-v2").get("attr") == "city_multiple"
    shown = [one.get("value") for one in trees["zones"].iter("category")]
    assert shown == list(dict.fromkeys(zones["zone"]))


def test_the_risk_style_has_the_classes_of_the_map():
    """The ranges of the style start and end at the breaks of the picture's legend, under the same words."""
    root = ElementTree.fromstring(risk_style().split("\n", 1)[1])
    renderer = root.find("renderer-v2")
    assert renderer.get("attr") == "relative"
    ranges = renderer.findall("ranges/range")
    assert [float(each.get("upper")) for each in ranges][:-1] == list(BREAKS)
    assert [each.get("label") for each in ranges] == list(LABELS)
    assert {each.get("symbol") for each in ranges} == {each.get("name") for each in renderer.find("symbols")}


def test_styles_are_well_formed():
    """Every style parses as XML and draws something."""
    for qml in layer_styles().values():
        assert (
            ElementTree.fromstring(qml.split("\n", 1)[1]).find("renderer-v2/symbols/symbol/layer") is not None
        )


def test_the_same_input_gives_the_same_bytes(tmp_path, terrain, corridors):
    """With SOURCE_DATE_EPOCH two runs of every writer differ in no byte; times inside are that time."""
    writers = {
        "gpkg": lambda path: write_gpkg(path, terrain, hotspots=terrain.hotspots(), corridors=corridors),
        "tif": lambda path: write_risk_raster(path, terrain),
        "csv": lambda path: write_table(path, terrain.hotspots()),
        "geojson": lambda path: write_geojson(path, corridors),
    }
    for kind, write in writers.items():
        paths = [tmp_path / f"{kind}{run}" / f"out.{kind}" for run in (1, 2)]
        for path in paths:
            path.parent.mkdir()
            write(path)
        assert file_sha256(paths[0]) == file_sha256(paths[1]), kind
    with sqlite3.connect(tmp_path / "gpkg1" / "out.gpkg") as connection:
        times = {time for (time,) in connection.execute("SELECT last_change FROM gpkg_contents")}
    assert times == {f"{MOMENT}.000Z"}


def test_the_clock_of_gdal_is_given_back(tmp_path, terrain):
    """Writing a GeoPackage leaves GDAL's option as it was."""
    before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    write_gpkg(tmp_path / "a.gpkg", terrain)
    assert pyogrio.get_gdal_config_option("OGR_CURRENT_DATE") == before


def test_factor_names_that_sqlite_cannot_tell_apart_keep_apart(tmp_path, make_terrain):
    """Names that differ in case only, or are SQL, are written and read back."""
    names = ("Bars", "bars", "robert'); DROP TABLE risk;--")
    write_gpkg(tmp_path / "a.gpkg", make_terrain(factors=names))
    found = gpd.read_file(tmp_path / "a.gpkg", layer="risk")
    assert {"f_Bars", "f_bars_2", "f_robert'); DROP TABLE risk;--"} <= set(found.columns)


def test_empty_results_are_written_as_empty_layers(tmp_path, terrain, corridors):
    """No corridor found is a layer without rows and a CSV with its header."""
    write_gpkg(tmp_path / "a.gpkg", terrain, corridors=corridors.iloc[:0])
    assert len(gpd.read_file(tmp_path / "a.gpkg", layer="corridors")) == 0
    write_table(tmp_path / "a.csv", corridors.iloc[:0])
    assert (tmp_path / "a.csv").read_text() == "rank,name,from_street,expected,incidents\n"
    write_geojson(tmp_path / "a.geojson", corridors.iloc[:0])
    assert json.loads((tmp_path / "a.geojson").read_text())["features"] == []


@pytest.mark.parametrize("kind", ["gpkg", "tif", "csv", "geojson"])
def test_a_file_that_exists_is_replaced_only_when_told(tmp_path, terrain, corridors, kind):
    """Without overwrite nothing happens to the file; with it the file is replaced whole."""
    path = tmp_path / f"out.{kind}"
    path.write_text("precious")
    write = {
        "gpkg": lambda **options: write_gpkg(path, terrain, **options),
        "tif": lambda **options: write_risk_raster(path, terrain, **options),
        "csv": lambda **options: write_table(path, corridors, **options),
        "geojson": lambda **options: write_geojson(path, corridors, **options),
    }[kind]
    with pytest.raises(OutputError, match="exists already"):
        write()
    assert path.read_text() == "precious"
    write(overwrite=True)
    assert path.read_bytes() != b"precious"
    assert list(tmp_path.iterdir()) == [path]


def test_a_spreadsheet_cannot_run_what_is_in_a_table(tmp_path):
    """Text and headers that a spreadsheet would run get an apostrophe; negative numbers do not."""
    dangerous = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "safe = text"]
    frame = pd.DataFrame({"=evil": dangerous, "number": [-1.5, 2.0, np.nan, 1e-7, 1234567.8, -3.0, 0.0]})
    write_table(tmp_path / "a.csv", frame)
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["'=evil", "number"]
    assert [row[0] for row in rows] == ["'=1+1", "'+1", "'-1", "'@x", "'\tx", "'\nx", "safe = text"]
    assert [row[1] for row in rows] == ["-1.5", "2", "", "0.0000001", "1234568", "-3", "0"]


def test_names_with_formulas_are_harmless_in_hot_spots(tmp_path, make_terrain):
    """A factor named like a formula is text in the header and in the explanation."""
    terrain = make_terrain(factors=("=cmd|'/C calc'!A0",))
    write_table(tmp_path / "a.csv", terrain.weights)
    assert rows_of(tmp_path / "a.csv")[0]["factor"] == "'=cmd|'/C calc'!A0"
    write_table(tmp_path / "b.csv", terrain.hotspots())
    assert not any(value.startswith("=") for row in rows_of(tmp_path / "b.csv") for value in row.values())


def test_numbers_in_tables_have_six_digits_and_places_six_decimals(tmp_path, terrain, corridors):
    """A rate has six significant digits, a longitude six decimals, a true flag the word true."""
    write_table(tmp_path / "c.csv", corridors)
    (row,) = rows_of(tmp_path / "c.csv")
    assert row["expected"] == "0.123457"
    assert row["from_street"] == ""
    middle = gpd.GeoSeries(corridors.geometry.interpolate(500.0)).to_crs(4326).iloc[0]
    assert (row["longitude"], row["latitude"]) == (f"{middle.x:.6f}", f"{middle.y:.6f}")
    assert float(row["from_longitude"]) < float(row["longitude"]) < float(row["to_longitude"])
    hotspots = terrain.hotspots()
    write_table(tmp_path / "h.csv", hotspots)
    rows = rows_of(tmp_path / "h.csv")
    assert "geometry" not in rows[0]
    assert [row["f_poor lighting"] for row in rows] == [
        str(flag).lower() for flag in hotspots["f_poor lighting"]
    ]
    np.testing.assert_allclose([float(row["expected"]) for row in rows], hotspots["expected"], rtol=1e-5)


def test_lines_and_areas_in_one_table_each_get_a_place(tmp_path):
    """A line is placed at its middle, an area inside it; neither is lost for the other."""
    shapes = [shapely.box(362000, 4326000, 362100, 4326100), shapely.LineString([(0, 0), (2, 2)])]
    write_table(tmp_path / "a.csv", gpd.GeoDataFrame({"a": [1, 2]}, geometry=shapes, crs=26915))
    first, second = rows_of(tmp_path / "a.csv")
    assert set(first) == {"a", "longitude", "latitude"}
    assert -95 < float(first["longitude"]) < -94
    assert second["latitude"] == "0.000009"


def test_geojson_is_what_rfc_7946_asks(tmp_path, terrain):
    """Degrees with six decimals, rings counter-clockwise, missing values null, no system named."""
    hotspots = terrain.hotspots(count=3)
    hotspots.loc[0, "rrs"] = np.nan
    hotspots.loc[1, "rrs"] = np.inf
    write_geojson(tmp_path / "a.geojson", hotspots)
    document = json.loads((tmp_path / "a.geojson").read_text(), parse_constant=pytest.fail)
    assert set(document) == {"type", "features"}
    assert [feature["properties"]["rrs"] for feature in document["features"]][:2] == [None, None]
    for feature, polygon in zip(document["features"], hotspots.geometry.to_crs(4326), strict=True):
        ring = feature["geometry"]["coordinates"][0]
        assert shapely.LinearRing(ring).is_ccw
        assert all(value == round(value, 6) for point in ring for value in point)
        assert shapely.Polygon(ring).hausdorff_distance(polygon) < 1e-6
        assert isinstance(feature["properties"]["cell_id"], int)
        assert isinstance(feature["properties"]["f_poor lighting"], bool)
    back = gpd.read_file(tmp_path / "a.geojson")
    assert back.crs.to_epsg() == 4326
    assert back["rank"].tolist() == [1, 2, 3]


def test_the_raster_is_a_cog_with_its_facts(tmp_path, terrain):
    """rasterio finds a cloud-optimised layout, the named bands, the values, and tags with the facts."""
    write_risk_raster(tmp_path / "risk.tif", terrain)
    with rasterio.open(tmp_path / "risk.tif") as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.descriptions == (
            "expected", "relative", "rrs", "environment", "area_history", "spot_history",
        )  # fmt: skip
        assert file.crs == rasterio.crs.CRS.from_user_input(terrain.grid.crs)
        bands = dict(zip(file.descriptions, file.read().astype(float), strict=True))
        tags = file.tags()
    np.testing.assert_allclose(
        terrain.grid.to_vector(bands["expected"]), terrain.cells["expected"], rtol=1e-6
    )
    product = terrain.city_mean * bands["environment"] * bands["area_history"] * bands["spot_history"]
    np.testing.assert_allclose(bands["expected"], product, rtol=1e-6)
    np.testing.assert_allclose(bands["expected"], terrain.city_mean * bands["relative"], rtol=1e-6)
    assert {"n", "period", "crs", "method", "rtmkc_version", "cell_size_m", "expected_for"} <= set(tags)
    assert tags["created"] == f"{MOMENT}Z"


def test_weights_are_a_table_of_the_geopackage(tmp_path, make_terrain):
    """One row a factor tried, numbers to the last bit; what is not decided is told, and missing texts are null."""
    terrain = make_terrain(method="guarded")
    write_gpkg(tmp_path / "t.gpkg", terrain)
    found = pyogrio.read_dataframe(tmp_path / "t.gpkg", layer="weights")
    pd.testing.assert_frame_equal(found, terrain.weights, check_dtype=False, rtol=0, atol=0)
    (area,) = gpd.read_file(tmp_path / "t.gpkg", layer="study_area").to_dict("records")
    assert area["not_decided"] == "liquor stores"
    assert "1.1 km" in area["patches"]
