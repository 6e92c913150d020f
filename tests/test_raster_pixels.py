"""Rasters on a grid: means and amounts are those of arithmetic, and every pixel is accounted for."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from rtmkc.errors import CapacityError, InputError
from rtmkc.inputs.layers import read_layer
from rtmkc.inputs.rasters import RasterLayer, is_raster, read_raster, transformed
from rtmkc.model.saving import load
from rtmkc.model.terrain import assess
from rtmkc.raster import pixels
from rtmkc.raster.candidates import build_candidates, build_curves
from rtmkc.raster.exposure import Exposure
from rtmkc.raster.factors import RiskFactor
from rtmkc.raster.grid import Grid, StudyArea
from rtmkc.raster.pixels import measure_raster

UTM = "EPSG:26915"
WEST, SOUTH = 362_000.0, 4_326_000.0


def a_grid(*, columns: int = 4, rows: int = 3, size: float = 100.0) -> Grid:
    outline = shapely.box(WEST, SOUTH, WEST + columns * size, SOUTH + rows * size)
    return Grid.cover(StudyArea.from_geometry(outline, crs=UTM), cell_size=size)


def a_raster(
    values: object, *, size: float, west: float = WEST, north: float = SOUTH + 300, **options
) -> RasterLayer:
    options = {"crs": UTM, "name": "residents"} | options
    return RasterLayer.from_array(
        np.array(values), transform=Affine(size, 0, west, 0, -size, north), **options
    )


def write(path: Path, values: np.ndarray, *, transform: Affine, crs: str | None = UTM, **options) -> Path:
    values = np.atleast_3d(values.T).T
    profile = {"driver": "GTiff", "width": values.shape[2], "height": values.shape[1], "count": len(values)}
    profile |= {"dtype": str(values.dtype), "crs": crs, "transform": transform} | options
    with rasterio.open(path, "w", **profile) as file:
        file.write(values)
    return path


def test_pixels_that_are_cells_are_copied() -> None:
    """A raster on the grid's own cells comes out as it is, north up."""
    values = np.arange(12.0).reshape(3, 4)
    measured = measure_raster(a_grid(), a_raster(values, size=100))
    np.testing.assert_allclose(measured.mean, values.ravel(), rtol=1e-12)
    np.testing.assert_allclose(measured.amount, values.ravel(), rtol=1e-12)
    assert measured.layer.ledger.used == 12


def test_pixels_are_weighted_by_the_area_they_share() -> None:
    """Two pixels of 150 m over a cell row of 100 m: 10, then half of 10 and half of 40, then 40."""
    layer = a_raster([[10.0, 40.0]] * 2, size=150)
    measured = measure_raster(a_grid(columns=3), layer)
    np.testing.assert_allclose(measured.mean.reshape(3, 3), [[10, 25, 40]] * 3, rtol=1e-12)
    # A pixel of 150 m has 2.25 cells: 10 / 2.25 to a cell it covers whole.
    np.testing.assert_allclose(
        measured.amount.reshape(3, 3), [[10 / 2.25, 25 / 2.25, 40 / 2.25]] * 3, rtol=1e-12
    )
    assert measured.amount.sum() == pytest.approx(100, rel=1e-12)


def test_a_mean_is_over_what_has_data() -> None:
    """A cell half without data has the mean of the other half; a cell without any is NaN; amounts are 0 there."""
    values = np.array([[2.0, -9999, -9999, -9999], [4.0, 8.0, -9999, -9999]])
    layer = a_raster(values, size=50, north=SOUTH + 100, nodata=-9999)
    measured = measure_raster(a_grid(columns=2, rows=1), layer)
    assert measured.mean[0] == pytest.approx(14 / 3)
    assert np.isnan(measured.mean[1])
    assert measured.amount.tolist() == pytest.approx([14.0, 0.0])
    assert measured.layer.ledger.dropped == {"no data": 5}


def test_every_pixel_is_used_without_data_or_outside() -> None:
    """Counted by hand: 10 x 10 pixels of 100 m, 12 over the grid, one of them NaN."""
    values = np.ones((10, 10))
    values[4, 4] = np.nan
    layer = a_raster(values, size=100, west=WEST - 300, north=SOUTH + 600)
    ledger = measure_raster(a_grid(), layer).layer.ledger
    assert (ledger.read, ledger.used) == (100, 11)
    assert ledger.dropped == {"outside the study area": 88, "no data": 1}


def brute(grid: Grid, layer: RasterLayer) -> tuple[np.ndarray, np.ndarray]:
    """Area weights by shapely: every projected pixel cut by every cell."""
    project = pyproj.Transformer.from_crs(layer.crs, grid.crs, always_xy=True)
    cells = grid.cell_polygons().to_numpy()
    area, volume, amount = (np.zeros(grid.n_cells) for _ in range(3))
    values = layer.read()
    for row, column in np.ndindex(values.shape):
        corners = [
            transformed(layer.transform, column + right, row + down)
            for right, down in ((0, 0), (1, 0), (1, 1), (0, 1))
        ]
        pixel = shapely.Polygon([project.transform(*corner) for corner in corners])
        pieces = shapely.area(shapely.intersection(cells, pixel))
        if not np.isnan(values[row, column]):
            area += pieces
            volume += pieces * values[row, column]
            amount += pieces / pixel.area * values[row, column]
    with np.errstate(invalid="ignore"):
        return volume / area, amount


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    size=st.floats(40, 260),
    turn=st.floats(-40, 40),
    degrees=st.booleans(),
)
def test_any_raster_is_cut_as_polygons_are(seed: int, size: float, turn: float, degrees: bool) -> None:
    """Rotated, in degrees or in metres, coarse or fine: the same as cutting polygons one by one."""
    random = np.random.default_rng(seed)
    values = random.normal(5, 3, (5, 6))
    values[random.random((5, 6)) < 0.2] = np.nan
    west, north, step = (-94.5935, 39.0744, size / 111_000) if degrees else (WEST - 100, SOUTH + 350, size)
    sine, cosine = np.sin(np.radians(turn)), np.cos(np.radians(turn))
    transform = Affine(step * cosine, step * sine, west, step * sine, -step * cosine, north)
    layer = RasterLayer.from_array(values, transform=transform, crs="EPSG:4326" if degrees else UTM)
    grid = a_grid()
    mean, amount = brute(grid, layer)
    if np.isnan(mean).all():
        return
    measured = measure_raster(grid, layer)
    np.testing.assert_allclose(measured.mean, mean, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(measured.amount, amount, rtol=1e-6, atol=1e-6)
    ledger = measured.layer.ledger
    assert ledger.read == 30 == ledger.used + sum(ledger.dropped.values())


def test_no_amount_is_lost_in_another_system() -> None:
    """Residents of a raster in degrees, wholly over the grid, sum to themselves."""
    values = np.random.default_rng(0).poisson(40, (12, 15)).astype(float)
    grid = a_grid(columns=30, rows=30)
    to_degrees = pyproj.Transformer.from_crs(UTM, "EPSG:4326", always_xy=True)
    west, north = to_degrees.transform(WEST + 400, SOUTH + 2500)
    layer = RasterLayer.from_array(values, transform=Affine(1e-3, 0, west, 0, -1e-3, north), crs="EPSG:4326")
    assert measure_raster(grid, layer).amount.sum() == pytest.approx(values.sum(), rel=1e-9)


def test_only_the_part_over_the_area_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a raster of a whole state the window over the city is read; a window too fine is refused first."""
    values = np.zeros((2000, 2000), dtype="uint8")
    values[1000:1003, 1000:1004] = np.arange(12).reshape(3, 4)
    transform = Affine(100, 0, WEST - 100_000, 0, -100, SOUTH + 300 + 100_000)
    path = write(tmp_path / "light.tif", values, transform=transform)
    layer = read_raster(path)
    seen = []
    read = RasterLayer.read
    monkeypatch.setattr(
        RasterLayer, "read", lambda self, window=None: seen.append(window) or read(self, window)
    )
    measured = measure_raster(a_grid(), layer)
    assert measured.mean.tolist() == pytest.approx(list(range(12)))
    assert seen[0].width * seen[0].height < 60
    assert measured.layer.ledger.dropped == {"outside the study area": 4_000_000 - 12}
    monkeypatch.setattr(pixels, "MAX_PIXELS", 10)
    with pytest.raises(CapacityError, match="Make its pixels larger first"):
        measure_raster(a_grid(), layer)


def test_what_a_file_says_is_heeded(tmp_path: Path) -> None:
    """No-data values, scale and offset, and descriptions of bands."""
    values = np.array([[[1, 2], [3, 255]], [[5, 6], [7, 8]]], dtype="uint8")
    path = write(
        tmp_path / "two.tif", values, transform=Affine(100, 0, WEST, 0, -100, SOUTH + 300), nodata=255
    )
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets, file.descriptions = (0.5, 1.0), (10.0, 0.0), ("light", "people")
    with pytest.raises(InputError, match=r"Invalid band None.*1 \(light\), 2 \(people\)"):
        read_raster(path)
    layer = read_raster(path, band="light")
    np.testing.assert_array_equal(layer.read(), [[10.5, 11.0], [11.5, np.nan]])
    assert "band 1 of 2: light" in layer.notes
    assert read_raster(path, band=2).read().tolist() == [[5, 6], [7, 8]]


@pytest.mark.parametrize(
    ("make", "options", "sentence"),
    [
        (lambda path: None, {}, "There is no such file"),
        (lambda path: path.write_bytes(b""), {}, "cannot be read as a raster"),
        (lambda path: path.write_bytes(b"II*\0garbage"), {}, "cannot be read as a raster"),
        (lambda path: path.write_bytes(bytes(range(256)) * 9), {}, "cannot be read as a raster"),
        (
            lambda path: write(path, np.ones((2, 2)), transform=Affine.identity()),
            {},
            "a picture without a place",
        ),
        (
            lambda path: write(path, np.ones((2, 2)), transform=Affine(1, 0, 5, 0, -1, 5), crs=None),
            {},
            r"Invalid crs None.*state it, as in crs='EPSG:4326'",
        ),
        (
            lambda path: write(path, np.ones((2, 2)), transform=Affine(1, 0, 5, 0, -1, 5)),
            {"crs": "EPSG:4326"},
            "says that it is in EPSG:26915",
        ),
        (
            lambda path: write(path, np.ones((2, 2)), transform=Affine(1, 0, 5, 0, -1, 5)),
            {"provenance": "satellite"},
            "Invalid provenance 'satellite'",
        ),
    ],
)
def test_a_raster_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, make, options: dict, sentence: str
) -> None:
    """Missing, empty, damaged, without a place or a system: each says what to do."""
    path = tmp_path / "light.tif"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        make(path)
    with pytest.raises(InputError, match=sentence) as caught:
        read_raster(path, **options)
    assert "\n" not in str(caught.value)


def test_a_truncated_raster_is_said_when_its_pixels_are_read(tmp_path: Path) -> None:
    """The header may be whole where the pixels are not."""
    values = np.random.default_rng(0).random((200, 200))
    path = write(tmp_path / "light.tif", values, transform=Affine(10, 0, WEST, 0, -10, SOUTH + 300))
    path.write_bytes(path.read_bytes()[:10_000])
    with pytest.raises(InputError, match="cannot be read as a raster"):
        measure_raster(a_grid(), read_raster(path))


def test_a_raster_is_no_layer_of_features(tmp_path: Path) -> None:
    """read_layer names the function that reads it."""
    path = write(tmp_path / "light.tif", np.ones((2, 2)), transform=Affine(1, 0, 5, 0, -1, 5))
    with pytest.raises(InputError, match=r"It is a raster.*read_raster\(\)"):
        read_layer(path)
    assert is_raster(path)
    assert not is_raster("lights.csv")


def test_a_raster_elsewhere_is_refused() -> None:
    """The message has the ledger."""
    with pytest.raises(InputError, match="None of its 4 pixels with data lies in the study area"):
        measure_raster(a_grid(), a_raster(np.ones((2, 2)), size=100, west=WEST + 50_000))
    with pytest.raises(InputError, match="12 dropped: no data"):
        measure_raster(a_grid(), a_raster(np.full((3, 4), np.nan), size=100))


# As factors


def a_factor(values: np.ndarray, **options) -> RiskFactor:
    return RiskFactor("light", a_raster(values, size=100, north=SOUTH + 1000), **options)


def test_columns_are_the_cells_above_a_quantile() -> None:
    """Of 100 cells with the values 0 to 99 the top half, quarter, tenth: counted by hand."""
    candidates = build_candidates(a_grid(columns=10, rows=10), [a_factor(np.arange(100.0).reshape(10, 10))])
    assert candidates.columns["n_cells"].tolist() == [50, 25, 10]
    assert candidates.columns["kind"].unique().tolist() == ["value"]
    assert candidates.columns["name"].tolist()[0] == "light | value | above 49.5 (top 50 %)"
    np.testing.assert_array_equal(candidates.column(2), np.arange(100) >= 90)
    # Five cells are too few for a weight, and that is said.
    assert candidates.dropped["reason"].tolist() == ["too rare: true in 5 cells, fewer than 10"]
    assert candidates.features["light"].n_inside == 100


def test_where_high_values_may_protect_low_ones_have_columns_too() -> None:
    """A protective factor can be high in all but the lowest quarter."""
    candidates = build_candidates(
        a_grid(columns=10, rows=10), [a_factor(np.arange(100.0).reshape(10, 10), direction="protective")]
    )
    assert candidates.columns["n_cells"].tolist() == [90, 75, 50, 25, 10]
    assert set(candidates.columns["direction"]) == {"protective"}


def test_ties_and_cells_without_data_are_not_above() -> None:
    """Where most cells are equal, only those truly higher count; cells without data count as low, and it is said."""
    values = np.zeros((10, 10))
    values[0] = 7
    values[1] = np.nan
    candidates = build_candidates(a_grid(columns=10, rows=10), [a_factor(values)])
    assert candidates.columns["n_cells"].tolist() == [10]
    assert candidates.column(0)[:10].all()
    assert any("10 cells without data count as low" in note for note in candidates.notes)
    constant = build_candidates(a_grid(columns=10, rows=10), [a_factor(np.full((10, 10), 0.1))])
    assert constant.n_columns == 0
    assert set(constant.dropped["reason"]) == {"constant: true in no cell"}


def test_curves_are_steps_of_quantiles() -> None:
    """Nested columns, each true where the next is; every code switches on the cuts below it."""
    curves = build_curves(a_grid(columns=10, rows=10), [a_factor(np.arange(100.0).reshape(10, 10))])
    flags = np.column_stack([curves.column(number) for number in range(curves.n_columns)])
    assert curves.n_columns >= 8
    assert (np.diff(flags.astype(int), axis=1) <= 0).all()
    assert (np.diff(curves.columns["cut"]) > 0).all()
    for number, cut in enumerate(curves.columns["cut"]):
        np.testing.assert_array_equal(flags[:, number], np.arange(100) > cut)


def test_kinds_fit_what_is_measured() -> None:
    """A raster has no proximity, and points have no value."""
    grid, values = a_grid(columns=10, rows=10), np.arange(100.0).reshape(10, 10)
    with pytest.raises(InputError, match=r"Invalid kind 'density' of factor 'light'.*say kind='value'"):
        build_candidates(grid, [a_factor(values, kind="density")])
    table = {"easting": [WEST + 5], "northing": [SOUTH + 5]}
    points = read_layer(pd.DataFrame(table), crs=UTM)
    with pytest.raises(InputError, match="Invalid kind 'value' of factor 'bars'. Its layer has features"):
        build_candidates(grid, [RiskFactor("bars", points, kind="value", max_influence="300 m")])
    assert build_candidates(grid, [a_factor(values, kind="value")]).n_columns == 3


def test_a_raster_of_police_work_is_guarded_like_a_layer() -> None:
    """Predictions and arrests come as rasters too."""
    raster = a_raster(np.arange(12.0).reshape(3, 4), size=100, provenance="policing")
    with pytest.raises(InputError, match="allow_provenance='policing'"):
        RiskFactor("arrests", raster).features(a_grid())


# As exposure


def test_residents_are_exposure_by_cell() -> None:
    """Shared by area and divided by the mean; cells without any are lifted to the floor, and it is said."""
    residents = np.array([[0.0, 10, 20, 50], [30, 30, 30, 30], [0, 0, 20, 20]])
    measured = Exposure(a_raster(residents, size=100), name="residents").measure(a_grid())
    relative = np.maximum(residents.ravel() / 20, 0.05)
    np.testing.assert_allclose(measured.values, relative / relative.mean(), rtol=1e-12)
    assert "raster of 12 pixels, 240 shared among the cells by area; 25 % of cells" in measured.statement
    assert measured.ledger is not None
    with pytest.raises(InputError, match="an exposure has no negative amounts"):
        Exposure(a_raster(residents - 5, size=100), name="residents").measure(a_grid())


def test_a_raster_in_a_whole_fit(tmp_path: Path) -> None:
    """A planted weight of a raster in a file is found, by the path through both models, saved and read back."""
    grid = a_grid(columns=40, rows=40)
    random = np.random.default_rng(0)
    light = random.gamma(2, 1, (40, 40))
    path = write(tmp_path / "light.tif", light, transform=Affine(100, 0, WEST, 0, -100, SOUTH + 4000))
    counts = random.poisson(np.where(light > np.quantile(light, 0.75), 3.0, 1.0).ravel())
    cells = np.repeat(np.arange(grid.n_cells), counts)
    table = pd.DataFrame({"easting": grid.eastings[cells], "northing": grid.northings[cells]})
    incidents = read_layer(table, name="incidents", crs=UTM, period="2021")
    factor = RiskFactor("light", path)
    assert factor.opened().opened().layer.sha256 == read_raster(path).sha256
    terrain = assess(grid, [factor], incidents, method="classic")
    weight = terrain.weights.set_index("factor").loc["light"]
    assert weight["kind"] == "value"
    assert 2.5 < weight["rrv"] < 3.5
    assert terrain.models.ledgers()[1].used == 1600
    terrain.save(tmp_path / "model")
    assert load(tmp_path / "model").weights["kind"].tolist() == ["value"]
