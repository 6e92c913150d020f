"""What cities publish is read without options, and what is wrong with a file is said in one sentence."""

import builtins
import datetime
import json
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely

from rtmkc.errors import DataWarning, InputError
from rtmkc.inputs import delimited
from rtmkc.inputs.layers import Layer, read_layer

PLACES = [(-94.5786, 39.0997), (-94.5712, 39.1103), (-94.5634, 39.1208)]


def lights() -> gpd.GeoDataFrame:
    points = gpd.GeoSeries([shapely.Point(place) for place in PLACES], crs="EPSG:4326")
    return gpd.GeoDataFrame({"kind": ["out", "dim", "out"], "beat": ["011", "120", "130"]}, geometry=points)


def table() -> pd.DataFrame:
    frame = lights()
    return pd.DataFrame(frame.drop(columns="geometry")).assign(
        Latitude=frame.geometry.y, Longitude=frame.geometry.x
    )


def zipped(path: Path, members: list[Path], root: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            archive.write(member, member.relative_to(root))
    return path


def quietly(source: object, **options: object) -> Layer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return read_layer(source, **options)


def kml(folder: Path) -> Path:
    pyogrio.write_dataframe(lights(), folder / "lights.kml", driver="LIBKML")
    return folder / "lights.kml"


def kmz(folder: Path) -> Path:
    kml(folder).rename(folder / "doc.kml")
    return zipped(folder / "lights.kmz", [folder / "doc.kml"], folder)


def shapefile_zip(folder: Path) -> Path:
    (folder / "download").mkdir()
    lights().to_file(folder / "download" / "lights.shp")
    (folder / "download" / "readme.txt").write_text("City of Somewhere\n")
    members = [*(folder / "download").glob("lights.*")]
    return zipped(folder / "lights.zip", members, folder)


def geodatabase(folder: Path) -> Path:
    pyogrio.write_dataframe(lights(), folder / "city.gdb", layer="lights", driver="OpenFileGDB")
    return folder / "city.gdb"


def geodatabase_zip(folder: Path) -> Path:
    path = geodatabase(folder)
    return zipped(folder / "city.gdb.zip", [*path.iterdir()], folder)


def workbook(folder: Path) -> Path:
    table().to_excel(folder / "lights.xlsx", index=False)
    return folder / "lights.xlsx"


def geojson_lines(folder: Path) -> Path:
    pyogrio.write_dataframe(lights(), folder / "lights.geojsonl", driver="GeoJSONSeq")
    return folder / "lights.geojsonl"


def features_by_line(folder: Path) -> Path:
    return geojson_lines(folder).rename(folder / "lights.ndjson")


def record_lines(folder: Path) -> Path:
    path = folder / "lights.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in table().to_dict("records")) + "\n")
    return path


def csv_zip(folder: Path) -> Path:
    table().to_csv(folder / "lights.csv", index=False)
    return zipped(folder / "kaggle.zip", [folder / "lights.csv"], folder)


def esri_json(folder: Path) -> Path:
    features = [
        {
            "attributes": {"kind": row.kind, "beat": row.beat},
            "geometry": {"x": row.Longitude, "y": row.Latitude},
        }
        for row in table().itertuples()
    ]
    fields = [{"name": name, "type": "esriFieldTypeString"} for name in ("kind", "beat")]
    content = {"geometryType": "esriGeometryPoint", "spatialReference": {"wkid": 4326}, "fields": fields}
    (folder / "query.json").write_text(json.dumps(content | {"features": features}))
    return folder / "query.json"


WRITERS = [
    kml, kmz, shapefile_zip, geodatabase, geodatabase_zip, workbook, geojson_lines, features_by_line, record_lines,
    csv_zip, esri_json,
]  # fmt: skip


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_every_format_gives_the_same_layer(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    """The same three lights come out, codes with their zeros, numbered from 0, with a hash and a ledger."""
    path = write(tmp_path)
    layer = read_layer(path)
    assert layer.crs == "EPSG:4326"
    np.testing.assert_allclose(shapely.get_coordinates(layer.frame.geometry), PLACES, atol=1e-9)
    assert list(layer.frame["beat"]) == ["011", "120", "130"]
    assert list(layer.frame.index) == [0, 1, 2]
    assert layer.ledger.read == layer.ledger.used == 3
    assert layer.sha256 is not None
    assert len(layer.sha256) == 64
    assert not {"altitudeMode", "tessellate", "extrude"} & set(layer.frame.columns)


# Several layers in one file


def two_in(folder: Path, ending: str) -> Path:
    path = folder / f"city{ending}"
    if ending == ".xlsx":
        with pd.ExcelWriter(path) as book:
            for name in ("lights", "poles"):
                table().to_excel(book, sheet_name=name, index=False)
            pd.DataFrame().to_excel(book, sheet_name="Sheet3")
    elif ending == ".zip":
        for name in ("lights", "poles"):
            lights().to_file(folder / f"{name}.shp")
        zipped(path, [file for file in folder.iterdir() if file != path], folder)
    else:
        driver = {".gdb": "OpenFileGDB", ".kml": "LIBKML", ".gpkg": "GPKG"}[ending]
        for number, name in enumerate(("lights", "poles")):
            pyogrio.write_dataframe(lights(), path, layer=name, driver=driver, append=bool(number))
    return path


@pytest.mark.parametrize("ending", [".gpkg", ".gdb", ".kml", ".xlsx", ".zip"])
def test_of_several_layers_one_is_named(tmp_path: Path, ending: str) -> None:
    """The error lists them; an empty sheet is none."""
    path = two_in(tmp_path, ending)
    with pytest.raises(InputError, match=r"Invalid layer None.*has 2 layers.*layer=: 'lights', 'poles'"):
        read_layer(path)
    layer = read_layer(path, layer="poles")
    assert len(layer) == 3
    assert any("'poles'" in note for note in layer.notes)


def test_tables_without_places_are_no_choice(tmp_path: Path) -> None:
    """QGIS keeps its styles in a table of the GeoPackage: the one layer with places is meant."""
    path = tmp_path / "city.gpkg"
    lights().to_file(path, layer="lights")
    pyogrio.write_dataframe(pd.DataFrame({"style": ["red"]}), path, layer="layer_styles", append=True)
    layer = read_layer(path)
    assert len(layer) == 3
    assert any("tables without places are left: layer_styles" in note for note in layer.notes)


def test_an_archive_of_other_things_says_what_is_in_it(tmp_path: Path) -> None:
    """Pictures are not read; members that would leave the folder do not count."""
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jpg", b"x")
        archive.writestr("../evil.csv", "lat,lon\n1,2\n")
        archive.writestr("__MACOSX/._b.csv", b"x")
    with pytest.raises(InputError, match=r"The archive holds no file that is read \(a.jpg\)"):
        read_layer(path)


# Text


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("cp1252", "Windows-1252"),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "no mark"),
        ("utf-16-be", "no mark"),
    ],
)
def test_encodings_are_found_and_said(tmp_path: Path, encoding: str, said: str | None) -> None:
    """The same accents come out of every encoding."""
    path = tmp_path / "places.csv"
    path.write_bytes("name,lat,lon\nCafé Niño,39.1,-94.5\nBar,39.2,-94.6\n".encode(encoding))
    layer = read_layer(path)
    assert layer.frame["name"].tolist() == ["Café Niño", "Bar"]
    assert [note for note in layer.notes if "UTF" in note] == [
        note for note in layer.notes if said and said in note
    ]


def test_a_few_broken_characters_do_not_turn_utf8_into_another_encoding(tmp_path: Path) -> None:
    """One lost byte among many accents is a broken character, counted; not mojibake everywhere."""
    path = tmp_path / "places.csv"
    path.write_bytes(
        b"name,lat,lon\n" + "Café é é é é é é é é é é é é,39.1,-94.5\n".encode() + b"Bar \xff,39.2,-94.6\n"
    )
    layer = read_layer(path)
    assert layer.frame["name"].iloc[0].startswith("Café")
    assert any("UTF-8 with 1 broken characters" in note for note in layer.notes)


def test_bytes_that_windows_does_not_know_are_latin1(tmp_path: Path) -> None:
    """0x81 is no character of Windows-1252."""
    path = tmp_path / "places.csv"
    path.write_bytes(b"name,lat,lon\nCaf\xe9\x81,39.1,-94.5\n")
    assert any("Latin-1" in note for note in read_layer(path).notes)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_are_found_though_others_stand_in_the_cells(tmp_path: Path, separator: str) -> None:
    """Commas in names and addresses do not hide a semicolon."""
    path = tmp_path / "places.csv"
    frame = table().assign(**{"street, city": "1 Main St, Kansas City; MO | USA"})
    frame.to_csv(path, sep=separator, index=False)
    layer = read_layer(path)
    assert list(layer.frame["street, city"]) == ["1 Main St, Kansas City; MO | USA"] * 3
    assert any("separated by" in note for note in layer.notes) == (separator != ",")


def test_decimal_commas_are_numbers_where_commas_do_not_separate(tmp_path: Path) -> None:
    """Exports of European software, said."""
    path = tmp_path / "places.csv"
    path.write_text("name;lat;lon\nbar;39,0997;-94,5786\npub;39,1000;-94,6000\n")
    layer = read_layer(path)
    assert layer.frame.geometry.iloc[0].equals(shapely.Point(-94.5786, 39.0997))
    assert "numbers are written with a decimal comma: lat, lon" in layer.notes


def test_a_table_cut_off_in_its_last_row_is_said(tmp_path: Path) -> None:
    """The row is counted, and lost if its place is."""
    path = tmp_path / "places.csv"
    text = table().to_csv(index=False)
    path.write_text(text[: text.rindex(",") - 3])
    layer = quietly(path)
    assert layer.ledger.read == 3
    assert any("as if the file were cut off" in note for note in layer.notes)


TEXTS = {
    "plain": "a,lat,lon\n1,39.1,-94.5\n2,39.2,-94.6\n",
    "quoted newlines": 'a,lat,lon\n"x\ny",39.1,-94.5\n"z",39.2,-94.6\n',
    "empty lines": "a,lat,lon\n\n1,39.1,-94.5\n\n\n2,39.2,-94.6\n",
    "missing": "a,b,lat,lon\nNA,,39.1,-94.5\nnull,N/A,,\n",
    "codes": "a,b,c,lat,lon\n011,1E5,12345678901234567,39.1,-94.5\n012,2E5,1,39.2,-94.6\n",
    "blanks and plus": "a,b,lat,lon\n +5, 1.5 ,39.1,-94.5\n6,2.5,39.2,-94.6\n",
    "flags": "a,b,lat,lon\nTrue,true,39.1,-94.5\nFALSE,,39.2,-94.6\n",
    "twice": "a,a,lat,lon\n1,2,39.1,-94.5\n",
    "quoted quotes": 'a,lat,lon\n"say ""no""",39.1,-94.5\n',
    "short row": "a,lat,lon\n1,39.1,-94.5\n2,39.2\n",
    "semicolons": "a;lat;lon\n1;39,125;-94,5\n",
    "carriage returns": "a,lat,lon\r\n1,39.1,-94.5\r\n",
    "header only": "a,lat,lon\n",
}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_large_table_is_read_as_a_small_one(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read in a stream or at once, a table has the same cells, types and notes."""
    path = tmp_path / "table.csv"
    path.write_text(TEXTS[kind], newline="")
    small_notes: list[str] = []
    small = delimited.read_table(path, small_notes, shown="x", columns=None)
    monkeypatch.setattr(delimited, "LARGE", 0)
    large_notes: list[str] = []
    large = delimited.read_table(path, large_notes, shown="x", columns=None)
    pd.testing.assert_frame_equal(small, large)
    assert small_notes == large_notes


def test_only_the_columns_asked_for_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of dates and repeats stay; conditions may use others; a wrong name is an error."""
    frame = table().assign(date=["2021-01-01", "2021-02-01", "2021-03-01"], Race="W", more="x")
    path = tmp_path / "lights.csv"
    frame.to_csv(path, index=False)
    for large in (delimited.LARGE, 0):
        monkeypatch.setattr(delimited, "LARGE", large)
        layer = quietly(path, columns=["beat"], where="kind == 'out'", merge=["more", "place"])
        assert set(layer.frame.columns) == {"beat", "date", "more", "geometry"}
        assert layer.ledger.used == 2
        assert "columns about persons are not kept: Race" in layer.notes
    everything = quietly(frame, where="kind == 'out'")
    memory = quietly(frame, columns=[], where="kind == 'out'")
    assert set(memory.frame.columns) == {"date", "geometry"}
    assert memory.ledger == everything.ledger
    with pytest.raises(InputError, match="Invalid column 'baet'"):
        read_layer(path, columns=["baet"])
    with pytest.raises(InputError, match=r"Invalid columns 'beat'. Give a list of names"):
        read_layer(path, columns="beat")
    lights().to_file(tmp_path / "lights.gpkg")
    assert list(read_layer(tmp_path / "lights.gpkg", columns=["kind"]).frame.columns) == ["kind", "geometry"]
    lights().to_parquet(tmp_path / "lights.parquet")
    assert list(read_layer(tmp_path / "lights.parquet", columns=["kind"]).frame.columns) == [
        "kind",
        "geometry",
    ]


# Layouts


def test_the_layout_of_chicagos_portal() -> None:
    """Its column names, American dates with a half of the day, and both kinds of coordinates."""
    frame = pd.DataFrame(
        {
            "ID": [10_000_092], "Case Number": ["HY189866"], "Date": ["01/31/2017 11:30:00 PM"],
            "Block": ["047XX W OHIO ST"], "IUCR": ["041A"], "Primary Type": ["BATTERY"], "Arrest": [False],
            "Beat": ["1111"], "X Coordinate": [1_144_606], "Y Coordinate": [1_903_566], "Year": [2017],
            "Updated On": ["02/10/2018 03:50:01 PM"], "Latitude": [41.891398861], "Longitude": [-87.744384567],
            "Location": ["(41.891398861, -87.744384567)"],
        }
    )  # fmt: skip
    layer = quietly(frame)
    assert layer.date_column == "Date"
    assert layer.frame["Date"].iloc[0] == pd.Timestamp(2017, 1, 31, 23, 30)
    assert layer.frame.geometry.iloc[0].equals(shapely.Point(-87.744384567, 41.891398861))
    assert len(quietly(frame, hours="23-24")) == 1


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("the_geom", "POINT (-94.5786 39.0997)"),
        ("Geocoded Column", "POINT (-94.5786 39.0997)"),
        ("Where", "POINT (-94.5786 39.0997)"),
        ("location", {"type": "Point", "coordinates": [-94.5786, 39.0997]}),
        ("location", {"latitude": "39.0997", "longitude": "-94.5786", "human_address": "{}"}),
        ("location", "{'type': 'Point', 'coordinates': [-94.5786, 39.0997]}"),
        ("Location 1", "1 MAIN ST\nKANSAS CITY, MO\n(39.0997, -94.5786)"),
        ("LAT_LON", "(39.0997, -94.5786)"),
        ("Map point", "39.0997, -94.5786"),
    ],
)
def test_places_in_one_column_of_any_name(column: str, cell: object) -> None:
    """Socrata's ways to write a point, and people's: found by name or by what the cells hold."""
    layer = read_layer(pd.DataFrame({"name": ["a", "b"], column: [cell, cell]}))
    assert layer.crs == "EPSG:4326"
    assert layer.frame.geometry.iloc[1].distance(shapely.Point(-94.5786, 39.0997)) < 1e-9
    assert list(layer.frame.columns) == ["name", "geometry"]


def test_a_socrata_table_of_lists_is_read(tmp_path: Path) -> None:
    """rows.json keeps its columns' names apart; columns of the portal itself are left out."""
    columns = [
        {"id": -1, "name": "sid", "dataTypeName": "meta_data"},
        {"id": 1, "name": "Count", "dataTypeName": "number"},
        {"id": 2, "name": "Location", "dataTypeName": "location"},
    ]
    data = [
        ["row-1", "3", [None, "39.0997", "-94.5786", None, False]],
        ["row-2", None, [None, None, None, None, False]],
    ]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"meta": {"view": {"columns": columns}}, "data": data}))
    layer = quietly(path)
    assert list(layer.frame.columns) == ["Count", "geometry"]
    assert layer.ledger.dropped == {"no coordinates": 1}


def test_an_arcgis_export_in_degrees_needs_no_options(tmp_path: Path) -> None:
    """X and Y that can only be degrees are taken for them, and that is said; dates are milliseconds."""
    path = tmp_path / "export.csv"
    moment = int(datetime.datetime(2021, 6, 4, 20, 30, tzinfo=datetime.UTC).timestamp() * 1000)
    path.write_text(f"X,Y,OBJECTID,REPORT_DATE\n-94.578612,39.099734,1,{moment}\n-94.561234,39.091234,2,\n")
    layer = read_layer(path)
    assert layer.crs == "EPSG:4326"
    assert "columns 'X' and 'Y' are degrees by their values: taken for EPSG:4326" in layer.notes
    assert layer.frame["REPORT_DATE"].iloc[0] == pd.Timestamp(2021, 6, 4, 20, 30)
    assert any("milliseconds since 1970 (UTC, not local time)" in note for note in layer.notes)
    with pytest.warns(DataWarning, match="are in UTC, and so are the hours"):
        assert len(read_layer(path, hours="19-3")) == 1


def test_arcgis_writes_the_zone_as_a_bare_hour() -> None:
    """ "2019/01/02 05:00:00+00" is a date; "2021-01-04" keeps its day."""
    frame = table().assign(date=["2019/01/02 05:00:00+00", "2021-01-04", "2019/01/02 05:00:00"])
    dates = read_layer(frame).frame["date"]
    assert dates.tolist() == [
        pd.Timestamp(2019, 1, 2, 5),
        pd.Timestamp(2021, 1, 4),
        pd.Timestamp(2019, 1, 2, 5),
    ]


@pytest.mark.parametrize(
    ("x", "y", "hint"),
    [
        (-10_528_440.0, 4_735_000.0, "look like web Mercator, as ArcGIS exports it: crs='EPSG:3857'"),
        (363_494.7, 4_329_026.6, "look like metres of a UTM zone"),
        (2_766_402.4, 1_067_976.9, "look like feet of a state plane zone"),
        (1.0, 2.0, "state it, as in crs='EPSG:26915'"),
    ],
)
def test_projected_numbers_are_not_guessed_but_hinted_at(x: float, y: float, hint: str) -> None:
    """The error says what the numbers look like; with degrees beside them the degrees are taken."""
    frame = pd.DataFrame({"X": [x], "Y": [y], "OBJECTID": [1]})
    with pytest.raises(InputError, match=hint):
        read_layer(frame)
    assert read_layer(frame.assign(lat=39.0997, lon=-94.5786)).crs == "EPSG:4326"


def test_a_workbook_below_its_title(tmp_path: Path) -> None:
    """A title, an empty row, the header, and rows of text, numbers and dates."""
    path = tmp_path / "report.xlsx"
    rows = [
        ["Lights out in 2021", *[None] * 4], [None] * 5, ["Beat", "Reported Date", "Lat", "Lon", "n"],
        ["011", datetime.datetime(2021, 5, 1), 39.0997, -94.5786, 1], [None] * 5,
        ["120", datetime.datetime(2021, 6, 1), 39.1103, -94.5712, 2.5],
    ]  # fmt: skip
    pd.DataFrame(rows).to_excel(path, index=False, header=False)
    layer = read_layer(path)
    assert layer.frame["Beat"].tolist() == ["011", "120"]
    assert layer.frame["n"].tolist() == [1, 2.5]
    assert str(layer.period) == "2021-05-01/2021-06-01"
    assert "the header is row 3; what stands above it is left out" in layer.notes


def test_without_its_package_a_workbook_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Excel is an extra."""
    path = workbook(tmp_path)
    importing = builtins.__import__

    def without(name: str, *args: object, **options: object) -> object:
        if name == "openpyxl":
            raise ImportError(name)
        return importing(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'rtmkc\[excel\]'"):
        read_layer(path)


# Faults

FORMATS = {
    "csv": ".csv", "tsv": ".tsv", "json": ".json", "geojson": ".geojson", "geojsonl": ".geojsonl", "ndjson": ".jsonl",
    "gpkg": ".gpkg", "shp": ".shp", "fgb": ".fgb", "parquet": ".parquet", "kml": ".kml", "kmz": ".kmz", "zip": ".zip",
    "gdb": ".gdb", "xlsx": ".xlsx",
}  # fmt: skip


def whole(folder: Path, ending: str, frame: gpd.GeoDataFrame) -> Path:
    """Write a file of any format; the frame may have no rows."""
    path = folder / f"lights{ending}"
    flat = pd.DataFrame(frame.drop(columns="geometry")).assign(
        Latitude=frame.geometry.y, Longitude=frame.geometry.x
    )
    if ending in (".csv", ".tsv"):
        flat.to_csv(path, index=False, sep="," if ending == ".csv" else "\t")
    elif ending == ".xlsx":
        flat.to_excel(path, index=False)
    elif ending == ".jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in flat.to_dict("records")))
    elif ending == ".parquet":
        frame.to_parquet(path)
    elif ending in (".kmz", ".zip"):
        inner = whole(folder, ".kml" if ending == ".kmz" else ".shp", frame)
        zipped(path, [file for file in folder.iterdir() if file.stem == inner.stem and file != path], folder)
    else:
        drivers = {".kml": "LIBKML", ".gdb": "OpenFileGDB", ".json": "GeoJSON", ".geojsonl": "GeoJSONSeq"}
        pyogrio.write_dataframe(frame, path, driver=drivers.get(ending), geometry_type="Point")
    return path


def content_of(path: Path) -> Path:
    """The file whose bytes matter: the largest table of a geodatabase."""
    if not path.is_dir():
        return path
    return max(path.glob("*.gdbtable"), key=lambda file: file.stat().st_size)


@pytest.mark.parametrize("fault", ["empty", "binary", "truncated", "wrongly encoded", "header only"])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_fault_is_an_error_or_an_account(tmp_path: Path, kind: str, fault: str) -> None:
    """One sentence that names the file, or a layer whose ledger counts every row it could read."""
    ending = FORMATS[kind]
    many = pd.concat([lights()] * 700, ignore_index=True)
    path = whole(tmp_path, ending, many.iloc[:0] if fault == "header only" else many)
    file = content_of(path)
    content = file.read_bytes()
    if fault == "empty":
        file.write_bytes(b"")
    elif fault == "binary":
        file.write_bytes(bytes(range(256)) * 50)
    elif fault == "truncated":
        file.write_bytes(content[: len(content) * 2 // 3 - 7])
    elif fault == "wrongly encoded":
        file = file.with_suffix(".dbf") if kind == "shp" else file
        content = file.read_bytes()
        file.write_bytes(content.replace(b"dim", b"d\xeem").replace(b"out", b"\xff\xfet"))
    layer, error = outcome(path)
    if layer is None:
        assert "\n" not in error
        assert "lights" in error
        return
    assert fault in ("truncated", "wrongly encoded")
    ledger = layer.ledger
    assert ledger.read == ledger.used + sum(ledger.merged.values()) + sum(ledger.dropped.values())
    assert len(layer.dropped_rows()) == ledger.read - ledger.used
    if fault == "truncated":
        said = any("cut off" in note or "GDAL says" in note for note in layer.notes)
        assert said or ledger.dropped["no coordinates"] > 600


def outcome(path: Path) -> tuple[Layer | None, str]:
    try:
        return quietly(path), ""
    except InputError as error:
        return None, str(error)


# What was dropped


def dirty(folder: Path) -> Path:
    frame = pd.concat([table()] * 3, ignore_index=True).assign(
        name="=HYPERLINK(1)", Race="W", date="2021-01-01"
    )
    frame.loc[1, "Latitude"] = np.nan
    frame.loc[4, ["Latitude", "Longitude"]] = 0.0
    frame.loc[5, "date"] = "2019-01-01"
    frame.to_csv(folder / "dirty.csv", index=False)
    return folder / "dirty.csv"


def test_dropped_rows_are_known_by_number_and_reason(tmp_path: Path) -> None:
    """In the order of the source, with the words of the ledger."""
    layer = quietly(dirty(tmp_path), period="2020/2021", merge=["place"])
    rows = layer.dropped_rows()
    assert rows.astype(str).to_numpy().tolist() == [
        ["1", "dropped", "no coordinates"],
        ["3", "merged", "same place"],
        ["4", "dropped", "coordinates (0, 0)"],
        ["5", "dropped", "outside the period 2020-01-01/2021-12-31"],
        ["6", "merged", "same place"],
        ["8", "merged", "same place"],
    ]
    kept = layer.keep(np.array([True, False, True]), "outside the study area")
    assert kept.dropped_rows()["row"].tolist() == [1, 2, 3, 4, 5, 6, 8]
    assert len(layer.dropped_rows()) == 6


def test_dropped_rows_are_written_as_they_stood_in_the_file(tmp_path: Path) -> None:
    """With their own columns, but none about persons and nothing that a spreadsheet runs."""
    source = dirty(tmp_path)
    layer = quietly(source, period="2020/2021")
    layer.write_dropped(tmp_path / "dropped.csv")
    written = pd.read_csv(tmp_path / "dropped.csv", dtype=str)
    assert list(written.columns) == [
        "row",
        "fate",
        "reason",
        "kind",
        "beat",
        "Latitude",
        "Longitude",
        "name",
        "date",
    ]
    assert written["row"].tolist() == ["1", "4", "5"]
    assert written["name"].tolist() == ["'=HYPERLINK(1)"] * 3
    assert written["beat"].tolist() == ["120", "120", "130"]
    assert written["Longitude"].tolist()[2] == "-94.5634"
    source.write_text(source.read_text() + "\n")
    with pytest.raises(InputError, match="It is gone or has changed since the layer was read"):
        layer.write_dropped(tmp_path / "again.csv")
    assert not (tmp_path / "again.csv").exists()


@pytest.mark.parametrize("write", [geodatabase, workbook, shapefile_zip], ids=lambda write: write.__name__)
def test_rows_of_any_format_are_read_again(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    """The columns of the source stand beside the reasons."""
    layer = quietly(write(tmp_path), where="kind == 'dim'")
    layer.write_dropped(tmp_path / "dropped.csv")
    written = pd.read_csv(tmp_path / "dropped.csv", dtype=str)
    assert written["kind"].tolist() == ["out", "out"]
    assert written["row"].tolist() == ["0", "2"]


def test_of_a_frame_in_memory_the_labels_are_known(tmp_path: Path) -> None:
    """The index given tells the user which rows; a layer that lost none writes a header."""
    frame = table().set_axis(list("abc"))
    layer = quietly(frame, where="kind == 'dim'")
    assert layer.dropped_rows()["row"].tolist() == ["a", "c"]
    layer.write_dropped(tmp_path / "dropped.csv")
    assert (tmp_path / "dropped.csv").read_text().splitlines()[1] == "a,dropped,not chosen by where="
    quietly(frame).write_dropped(tmp_path / "none.csv")
    assert (tmp_path / "none.csv").read_text() == "row,fate,reason\n"


def test_a_geodatabase_is_one_source_whatever_its_lock_files(tmp_path: Path) -> None:
    """Its hash is that of its files, so that a copy is the same and a change is not."""
    path = geodatabase(tmp_path)
    copy = tmp_path / "copy" / "city.gdb"
    shutil.copytree(path, copy)
    (copy / "city.lock").write_text("busy")
    assert read_layer(copy).sha256 == read_layer(path).sha256
    (copy / "more.bin").write_text("x")
    assert read_layer(copy).sha256 != read_layer(path).sha256
