"""The data dictionary: every column that a run writes, and none that it does not."""

import csv
import re
from pathlib import Path

import pyogrio
import pytest
import rasterio

import rtmkc as rtm
from rtmkc.output.shapefiles import write_shapefiles
from rtmkc.workflow.changes import COLUMNS as CHANGES

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "columns.md"
OWN = {"treated", "layer_styles"}
"""Layers whose columns are those of a file of the user, or QGIS's own."""


def sections():
    """Heading of each section -> its columns, and those that are there only if given."""
    found = {}
    for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        rows = re.findall(r"^\| `(.+?)` \|(.*?)\|(.*)\|$", part, flags=re.MULTILINE)
        assert all(meaning.strip() for _, _, meaning in rows)
        assert len({name for name, _, _ in rows}) == len(rows)
        found[part.split("\n")[0]] = {name: unit.strip() for name, unit, _ in rows}
    return found


def general(columns, prefixes=("f_",)):
    """Columns with the name of a factor replaced."""
    return {next((f"{p}<factor>" for p in prefixes if name.startswith(p)), name) for name in columns}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("columns") / "demo"
    with pytest.warns(rtm.errors.DataWarning):
        return rtm.run(rtm.sample_path("study.toml"), folder)


def test_every_table_of_the_demo_is_described(results):
    """The columns of the CSV files are those of the page, in the same order."""
    described = sections()
    for name in ("weights.csv", "hotspots.csv", "corridors.csv"):
        with open(results.folder / name, encoding="utf-8", newline="") as file:
            header = next(csv.reader(file))
        plain = list(dict.fromkeys(re.sub(r"^f_.*", "f_<factor>", column) for column in header))
        assert plain == list(described[name]), name
    assert {path.name for path in results.folder.glob("*.csv")} <= set(described)


def test_every_layer_of_the_geopackage_is_described(results):
    """Each layer has a section with exactly its columns; hot spots and corridors are those of the CSV files."""
    described = sections()
    package = results.folder / "rtmkc.gpkg"
    for layer, _ in pyogrio.list_layers(package):
        if layer in OWN:
            continue
        columns = general(pyogrio.read_info(package, layer=layer)["fields"])
        wanted = described.get(layer) or described[f"{layer}.csv"]
        degrees = {name for name in wanted if name.endswith(("longitude", "latitude"))}
        assert columns == set(wanted) - (degrees if layer == "corridors" else set()), layer


def test_every_band_is_described_and_has_its_unit(results):
    """Names of bands are those of the page; the file says the unit of each, with the days for expected."""
    described = sections()["risk.tif"]
    with rasterio.open(results.folder / "risk.tif") as file:
        assert list(file.descriptions) == list(described)
        for unit, wanted in zip(file.units, described.values(), strict=True):
            assert unit.startswith(wanted)
        assert file.units[0] == "incidents per cell in 90 days"
        tags = {name for name in file.tags() if name != "AREA_OR_POINT"}
    assert tags == set(sections()["study_area"]) - {"name", "area_km2"}
    with rasterio.open(results.folder / "model" / "surfaces.tif") as file:
        assert general(file.descriptions) <= set(sections()["risk"])


def test_scored_places_are_described(results):
    """A place comes back with its own column and those of the page."""
    import geopandas as gpd

    cell = results.terrain.grid.cell_polygons([0]).centroid
    scored = results.terrain.score(gpd.GeoDataFrame({"mine": ["a"]}, geometry=cell.to_numpy(), crs=cell.crs))
    assert [name for name in scored.columns if name not in ("mine", "geometry")] == list(
        sections()["Scored places"]
    )


def test_tables_that_only_some_runs_write_are_described(results, tmp_path):
    """Changes, slices and fields of Shapefiles have the columns of the page."""
    from rtmkc.workflow.slices import compare_slices
    from rtmkc.workflow.study import Study

    described = sections()
    assert set(described["changes.csv"]) == set(CHANGES)
    fields = write_shapefiles(tmp_path, {"corridors": results.corridors})
    assert list(described["fields.csv"]) == list(fields.columns)
    table = compare_slices(Study.from_file(rtm.sample_path("study.toml")), results)
    assert general(table.columns, ("status_", "rrv_", "lower_", "upper_")) == set(described["slices.csv"])


def test_tables_of_a_validation_are_described():
    """Every column of the five tables of a validation is on the page, and every column of the page is in one."""
    from rtmkc.evidence.validation import TABLES, validate

    city = rtm.simulate_city(
        n_rows=24, n_columns=24, n_factors=1, active={0: ("proximity", 2, 3.0)}, n_incidents=300
    )
    found = validate(
        city.grid,
        city.risk_factors(),
        city.incidents,
        test="2023",
        baselines=False,
        n_bootstrap=100,
        block="400 m",
    )
    columns = {name for table in TABLES for name in getattr(found, table).columns}
    plain = {re.sub(r"^(hit|pai)_[0-9.]+", r"\1_<share>", name) for name in columns}
    assert plain == set(sections()["Tables of a validation"])


def test_tables_of_districts_and_of_audits_are_described():
    """With residents and a layer of policing every column of a panel is there, and every column of audits is in a table."""
    import geopandas as gpd
    import shapely

    city = rtm.simulate_city(
        n_rows=20, n_columns=20, n_factors=2, active={0: ("proximity", 2, 4.0)}, random_state=3
    )
    first, second = city.risk_factors()
    layer = rtm.read_layer(city.factor_points["factor 1"], name="stops", provenance="policing")
    stops = rtm.RiskFactor(second.name, layer, increment="whole", allow_provenance="policing")
    points = city.incidents.geometry.reset_index(drop=True)
    at_one_place = points.where(points.index >= 30, points.iloc[0])
    incidents = rtm.read_layer(at_one_place, name="incidents", period="2021/2023")
    terrain = rtm.assess(city.grid, [first, stops], incidents, method="classic", allow_later_factors=True)
    west, south, east, north = city.area.geometry.bounds
    halves = [shapely.box(west, south, west + 500, north), shapely.box(west + 500, south, east, north)]
    wards = gpd.GeoDataFrame({"ward": ["a", "b"], "people": [1, 2]}, geometry=halves, crs=city.grid.crs)
    panel = rtm.bias_panel(terrain, wards, residents="people", reporting=(0.8,))
    described = sections()
    assert list(panel.table.columns) == list(described["bias.csv"])
    assert list(panel.scenarios.columns) == list(described["bias_scenarios.csv"])

    grids = rtm.audit_grid(city.grid, [first], incidents, method="classic", allow_later_factors=True)
    places = rtm.audit_places(terrain)
    tables = (grids.table, grids.weights, grids.grids, places.table, places.places)
    assert {name for table in tables for name in table.columns} == set(described["Tables of an audit"])
