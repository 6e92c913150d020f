"""Route sheets: what is in the CSV and the GPX, read back by other libraries, whatever names stand in them."""

import csv
import re
from xml.etree import ElementTree

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely

from rtmkc import plan_canvass, write_gpx, write_route_sheet
from rtmkc.errors import InputError, OutputError
from rtmkc.places.corridors.visits.canvass import COLUMNS
from rtmkc.storage import file_sha256

EPOCH, MOMENT = "1700000000", "2023-11-14T22:13:20Z"
WEST, SOUTH, CRS = 362_000.0, 4_326_000.0, "EPSG:26915"
HOSTILE = ["=cmd|' /C calc'!A0", '<script>alert(1)</script> & "Co"', "Café\nZoë \x07 \U0001f355", "@SUM(A1)"]
NAMESPACE = "{http://www.topografix.com/GPX/1/1}"
# The order of elements that the schema of GPX 1.1 asks for (an xsd:sequence).
ORDER = {
    "gpx": ["metadata", "wpt", "rte", "trk", "extensions"],
    "metadata": ["name", "desc", "author", "copyright", "link", "time", "keywords", "bounds", "extensions"],
    "rte": ["name", "cmt", "desc", "src", "link", "number", "type", "extensions", "rtept"],
    "trk": ["name", "cmt", "desc", "src", "link", "number", "type", "extensions", "trkseg"],
    "trkseg": ["trkpt", "extensions"],
}
POINT = [
    "ele",
    "time",
    "magvar",
    "geoidheight",
    "name",
    "cmt",
    "desc",
    "src",
    "link",
    "sym",
    "type",
    "extensions",
]
ORDER |= dict.fromkeys(("wpt", "rtept", "trkpt"), POINT)


@pytest.fixture(autouse=True)
def _fixed_clock(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH)


@pytest.fixture(scope="module")
def corridor():
    line = shapely.LineString([(WEST, SOUTH), (WEST + 600, SOUTH), (WEST + 1000, SOUTH + 10)])
    return gpd.GeoDataFrame({"name": ["Oak & Elm <Street>"]}, geometry=[line], crs=CRS)


@pytest.fixture(scope="module")
def stops(corridor):
    def points(places, **columns):
        eastings, northings = np.array(places, dtype=float).T
        return gpd.GeoDataFrame(
            columns, geometry=gpd.points_from_xy(WEST + eastings, SOUTH + northings), crs=CRS
        )

    shops = points([(100, 15), (350, -15), (700, 15), (900, -15)], name=HOSTILE)
    dates = pd.to_datetime(["2024-05-01 10:00", "2024-03-01 00:00", "2024-03-02 23:00"])
    weeds = points([(100, 15), (200, 15), (800, 20)], address=["", "=2+3", "80 Oak St"], date=dates)
    violations = points([(350, -15)] * 3, date=dates)
    return plan_canvass(corridor, {"<b>weeds</b>": weeds}, businesses=shops, violations=violations)


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def elements_of(path):
    root = ElementTree.parse(path).getroot()
    return root, list(root.iter())


def test_the_sheet_has_a_row_a_stop_in_walking_order(tmp_path, stops):
    """Shuffled stops are written by team and number, with every column but the geometry, whole metres and plain days."""
    write_route_sheet(tmp_path / "sheet.csv", stops.sample(frac=1, random_state=1))
    rows = rows_of(tmp_path / "sheet.csv")
    assert list(rows[0]) == [name for name in COLUMNS if name != "geometry"]
    walked = [(int(row["team"]), int(row["seq"])) for row in rows]
    assert walked == sorted(walked) == list(zip(stops["team"], stops["seq"], strict=True))
    assert len(rows) == len(stops) == 6
    for row, (_, stop) in zip(rows, stops.iterrows(), strict=True):
        assert float(row["latitude"]) == pytest.approx(stop["latitude"], abs=5e-7)
        assert float(row["longitude"]) == pytest.approx(stop["longitude"], abs=5e-7)
        assert int(row["chainage_m"]) == round(stop["chainage_m"])
        assert (row["done"], row["notes"]) == ("", "")
    assert {row["last_seen"] for row in rows} == {"", "2024-05-01", "2024-03-01", "2024-03-02"}
    assert [row["priority"] for row in rows if row["priority"]] == ["1"]
    # What a spreadsheet program would read by itself gives the same numbers.
    again = pd.read_csv(tmp_path / "sheet.csv")
    assert again["minutes"].tolist() == stops["minutes"].tolist()
    assert again["violations"].tolist() == stops["violations"].tolist()


def test_no_cell_of_the_sheet_is_a_formula(tmp_path, stops):
    """Names that start with = or @ get an apostrophe; a line end in a name stays in its cell."""
    named = stops.assign(place=["=1+1", "+1", "-1", "@a", "a\nb", '"q",'], **{"=column": "x"})
    write_route_sheet(tmp_path / "named.csv", named)
    rows = rows_of(tmp_path / "named.csv")
    assert [row["place"] for row in rows] == ["'=1+1", "'+1", "'-1", "'@a", "a\nb", '"q",']
    assert "'=column" in rows[0]
    write_route_sheet(tmp_path / "sheet.csv", stops)
    cells = [cell for row in rows_of(tmp_path / "sheet.csv") for cell in row.values()]
    assert any(cell.startswith("'=cmd") for cell in cells)
    assert not [cell for cell in cells if re.match(r"[=+@\t]|-(?!\d)", cell)]


def test_gpx_follows_the_schema(tmp_path, stops, corridor):
    """Root, version, order of elements, latitude and longitude in their ranges, time in UTC: the rules of GPX 1.1."""
    path = tmp_path / "walk.gpx"
    write_gpx(path, stops, corridor)
    assert path.read_bytes().startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n<gpx ')
    root, elements = elements_of(path)
    assert (root.tag, root.get("version"), root.get("creator")) == (f"{NAMESPACE}gpx", "1.1", "rtmkc")
    assert root.find(f"{NAMESPACE}metadata/{NAMESPACE}time").text == MOMENT
    for element in elements:
        name = element.tag.removeprefix(NAMESPACE)
        children = [child.tag.removeprefix(NAMESPACE) for child in element]
        if name in ORDER:
            positions = [ORDER[name].index(child) for child in children]
            assert positions == sorted(positions), name
            single = [
                child
                for child in children
                if child not in ("wpt", "rte", "trk", "trkseg", "rtept", "trkpt", "link")
            ]
            assert len(single) == len(set(single)), name
        else:
            assert not children
        if name in ("wpt", "rtept", "trkpt"):
            assert set(element.attrib) == {"lat", "lon"}
            assert -90 <= float(element.get("lat")) <= 90
            assert -180 <= float(element.get("lon")) < 180
        elif name != "gpx":
            assert not element.attrib
        if name == "number":
            assert int(element.text) >= 0


def test_gdal_reads_waypoints_routes_and_track(tmp_path, stops, corridor):
    """GDAL finds a waypoint a stop, a route a team in walking order, and the corridor, where they belong."""
    path = tmp_path / "walk.gpx"
    write_gpx(path, stops, corridor)
    layers = dict(pyogrio.list_layers(path))
    assert {"waypoints", "routes", "tracks", "route_points"} <= set(layers)
    waypoints = pyogrio.read_dataframe(path, layer="waypoints")
    assert waypoints.crs == "EPSG:4326"
    assert waypoints.to_crs(CRS).distance(gpd.GeoSeries(stops.geometry)).max() < 0.1
    routes = pyogrio.read_dataframe(path, layer="routes").to_crs(CRS)
    assert routes["name"].tolist() == ["Team 1, east", "Team 2, west"]
    assert routes["number"].tolist() == [1, 2]
    for team, line in zip((1, 2), routes.geometry, strict=True):
        walked = shapely.get_coordinates(stops.geometry[stops["team"] == team].to_numpy())
        assert np.allclose(shapely.get_coordinates(line), walked, atol=0.1)
    [track] = pyogrio.read_dataframe(path, layer="tracks").to_crs(CRS).geometry
    assert track.hausdorff_distance(corridor.geometry.iloc[0]) < 0.2


def test_names_in_gpx_are_text_whatever_is_in_them(tmp_path, stops, corridor):
    """Tags, ampersands, line ends and control signs in names come back as text in one line, none as an element."""
    path = tmp_path / "walk.gpx"
    departments = pd.Series(["<wpt lat='0' lon='0'/> \ud800\x00]]>"] * len(stops), dtype=object)
    write_gpx(path, stops.assign(departments=departments), corridor)
    names = pyogrio.read_dataframe(path, layer="waypoints")["name"].tolist()
    assert {name.partition(" ")[2] for name in names} >= {
        HOSTILE[0],
        HOSTILE[1],
        "Café Zoë \U0001f355",
        HOSTILE[3],
    }
    numbers = [name.partition(" ")[0] for name in names]
    assert numbers == [f"{team}-{seq}" for team, seq in zip(stops["team"], stops["seq"], strict=True)]
    _, elements = elements_of(path)
    allowed = {name for names in ORDER.values() for name in names} | {"gpx"}
    assert {element.tag.removeprefix(NAMESPACE) for element in elements} <= allowed
    assert sum(element.tag == f"{NAMESPACE}wpt" for element in elements) == len(stops)


def test_what_must_not_be_missed_is_marked(tmp_path, stops):
    """A stop with repeat violations has a red flag and says how many; the others have a blue one."""
    write_gpx(tmp_path / "walk.gpx", stops)
    waypoints = pyogrio.read_dataframe(tmp_path / "walk.gpx", layer="waypoints")
    first = stops["priority"].notna().to_numpy()
    assert first.sum() == 1
    assert (waypoints["sym"] == "Flag, Red").tolist() == first.tolist()
    assert waypoints["desc"][first].str.contains("Repeat violations: 2").all()
    assert not waypoints["desc"][~first].str.contains("Repeat").any()


def test_the_same_stops_give_the_same_bytes(tmp_path, stops, corridor):
    """Two files of one table are equal to the byte when SOURCE_DATE_EPOCH is set."""
    for number in (1, 2):
        write_gpx(tmp_path / f"{number}.gpx", stops, corridor)
        write_route_sheet(tmp_path / f"{number}.csv", stops)
    for suffix in ("gpx", "csv"):
        assert file_sha256(tmp_path / f"1.{suffix}") == file_sha256(tmp_path / f"2.{suffix}")


def test_no_stop_gives_files_without_stops(tmp_path, corridor):
    """A corridor without stops gives a sheet with its header alone, and a GPX file with the corridor alone."""
    far = gpd.GeoDataFrame(geometry=gpd.points_from_xy([WEST], [SOUTH + 900]), crs=CRS)
    empty = plan_canvass(corridor, {"weeds": far})
    write_route_sheet(tmp_path / "sheet.csv", empty)
    assert (tmp_path / "sheet.csv").read_text("utf-8").startswith("team,heading,seq,priority,")
    assert rows_of(tmp_path / "sheet.csv") == []
    write_gpx(tmp_path / "walk.gpx", empty, corridor)
    root, _ = elements_of(tmp_path / "walk.gpx")
    assert [child.tag.removeprefix(NAMESPACE) for child in root] == ["metadata", "trk"]


def test_longitude_180_is_written_as_the_schema_has_it(tmp_path, stops):
    """The schema's longitudes end before 180: that meridian is written as -180."""
    write_gpx(tmp_path / "walk.gpx", stops.assign(longitude=180.0))
    root, _ = elements_of(tmp_path / "walk.gpx")
    assert {point.get("lon") for point in root.iter(f"{NAMESPACE}wpt")} == {"-180.000000"}


def test_faults_are_said(tmp_path, stops):
    """A missing column, a stop off the globe, and a file that exists are errors that name them; nothing is left behind."""
    path = tmp_path / "walk.gpx"
    for write in (write_gpx, write_route_sheet):
        with pytest.raises(InputError, match="Invalid column 'team'. The table of stops has no such column"):
            write(path, stops.drop(columns="team"))
    for place in ({"latitude": 91.0}, {"longitude": np.nan}):
        with pytest.raises(InputError, match="A stop needs a latitude from -90 to 90"):
            write_gpx(path, stops.assign(**place))
    assert list(tmp_path.iterdir()) == []
    path.write_text("mine")
    for write in (write_gpx, write_route_sheet):
        with pytest.raises(OutputError, match="It exists already"):
            write(path, stops)
        assert path.read_text() == "mine"
        write(path, stops, overwrite=True)
        path.write_text("mine")
