"""Relative risk of areas of any size: what the model says, strip by strip."""

import copy
import errno
from contextlib import contextmanager

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

import rtmkc as rtm
from rtmkc.errors import DataWarning, InputError, NoFactorError, OutputError
from rtmkc.raster import tiles


@pytest.fixture(scope="module")
def city():
    return rtm.simulate_city(n_rows=40, n_columns=50, n_incidents=900, n_factors=3, random_state=3)


@pytest.fixture(scope="module")
def why(city):
    return rtm.RiskTerrainModel("classic").fit(city.grid, city.risk_factors(), city.incidents)


def read(path):
    with rasterio.open(path) as file:
        return file.read(1), file.profile, file.tags()


@pytest.mark.parametrize("strip_cells", [2**20, 170])
def test_scores_of_the_grid_are_those_of_the_model(why, city, tmp_path, monkeypatch, strip_cells):
    """On the model's own grid every cell has its relative risk score, to the bit, however the grid is cut."""
    monkeypatch.setattr(tiles, "STRIP_CELLS", strip_cells)
    assert len(why.flags_.columns) >= 2
    said = []
    rtm.write_relative_risk(
        tmp_path / "rrs.tif", why, progress=lambda done, total: said.append((done, total))
    )
    values, profile, tags = read(tmp_path / "rrs.tif")
    np.testing.assert_array_equal(values, city.grid.to_raster(why.rrs_.astype(np.float32)))
    assert profile["crs"] == city.grid.crs
    assert tags["factors"] == ", ".join(why.flags_.columns)
    assert said[-1] == (40, 40)
    assert [path.name for path in tmp_path.iterdir()] == ["rrs.tif"]


def test_a_larger_area_gives_the_same_ratios(why, city, tmp_path):
    """Weights applied to an area twice as wide: where it holds the city, scores differ by one factor (the lowest cell)."""
    west, south, east, north = city.area.geometry.bounds
    size = city.grid.cell_size
    wide = rtm.StudyArea.from_geometry(
        shapely.box(west - 10 * size, south, east + 20 * size, north), crs=city.grid.crs
    )
    frame = rtm.Frame.cover(wide, block_length=city.grid.block_length)
    rtm.write_relative_risk(tmp_path / "wide.tif", why, frame, city.risk_factors())
    values, _, _ = read(tmp_path / "wide.tif")
    assert values.shape == (40, 80)
    ratio = values[:, 10:60].ravel() / why.rrs_
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)
    assert np.nanmin(values) == 1.0


def test_what_cannot_be_scored_is_said(why, city, tmp_path):
    """No weights, a missing layer, a file in the way: an error that says what to do, and nothing is written."""
    with pytest.raises(InputError, match="whose layer is missing"):
        rtm.write_relative_risk(tmp_path / "a.tif", why, factors=city.risk_factors()[2:])
    far = gpd.GeoDataFrame(
        geometry=gpd.points_from_xy(*np.random.default_rng(1).uniform(0, 9e4, (2, 60))), crs=26915
    )
    with pytest.raises(InputError, match="Nothing of them lies within reach"):
        rtm.write_relative_risk(
            tmp_path / "a.tif", why, factors=[rtm.RiskFactor(name, far) for name in why.flags_.columns]
        )
    (tmp_path / "b.tif").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        rtm.write_relative_risk(tmp_path / "b.tif", why)
    noise = rtm.simulate_city(n_rows=20, n_columns=20, active="null", n_incidents=80, random_state=5)
    empty = rtm.RiskTerrainModel("classic").fit(noise.grid, noise.risk_factors(), noise.incidents)
    assert not len(empty.flags_.columns)
    with pytest.raises(NoFactorError, match="No factor has a weight"):
        rtm.write_relative_risk(tmp_path / "c.tif", empty)
    assert [path.name for path in tmp_path.iterdir()] == ["b.tif"]


@pytest.mark.parametrize("block_length", [None, 30.0])
def test_a_weight_reaches_as_far_as_it_was_fitted(why, city, tmp_path, block_length):
    """Whatever the new layers say of distances, or the frame of blocks, scores are those of the weights, to the bit."""
    frame = rtm.Frame.cover(city.area, cell_size=city.grid.cell_size, block_length=block_length)
    for reach in ("1 m", "3 blocks", "9 km"):
        factors = [
            rtm.RiskFactor(name, points, max_influence=reach) for name, points in city.factor_points.items()
        ]
        rtm.write_relative_risk(tmp_path / "scores", why, frame, factors, overwrite=True)
        values, _, _ = read(tmp_path / "scores")
        np.testing.assert_array_equal(values, city.grid.to_raster(why.rrs_.astype(np.float32)))


def test_a_factor_that_is_not_there_is_absent(why, city, tmp_path):
    """Where one layer has nothing within reach, scores are the product of the other RRVs, and a warning names it."""
    first, *others = why.flags_.columns
    far = gpd.GeoDataFrame(geometry=gpd.points_from_xy([5e3, 9e3], [5e3, 9e3]), crs=city.grid.crs)
    factors = [
        rtm.RiskFactor(name, far if name == first else points) for name, points in city.factor_points.items()
    ]
    with pytest.warns(
        DataWarning, match=f"nothing of '{first}' lies within reach of the area: scored as absent"
    ):
        rtm.write_relative_risk(tmp_path / "rrs.tif", why, factors=factors)
    values, _, tags = read(tmp_path / "rrs.tif")
    rrv = why.weights_.set_index("factor")["rrv"]
    product = np.prod([np.where(why.flags_[name], rrv[name], 1.0) for name in others], axis=0)
    np.testing.assert_allclose(values.ravel(), product / product.min(), rtol=1e-6)
    assert tags["absent"] == first


def test_cells_of_another_size_are_said(why, city, tmp_path):
    """Cells more than a hundredth larger than those of the fit are scored with a warning of both sizes; fewer are not."""
    size = city.grid.cell_size
    with pytest.warns(DataWarning, match=r"cells are of 102 m .* fitted on cells of 100 m"):
        rtm.write_relative_risk(tmp_path / "a.tif", why, rtm.Frame.cover(city.area, cell_size=1.02 * size))
    rtm.write_relative_risk(tmp_path / "b.tif", why, rtm.Frame.cover(city.area, cell_size=1.005 * size))


def test_weights_of_values_are_not_scored(why, tmp_path):
    """A weight of the values of a raster is refused by name."""
    values = copy.copy(why)
    values.weights_ = why.weights_.assign(kind="value")
    with pytest.raises(
        InputError, match=r"values of rasters are not scored by strips; take rrs_ of the model"
    ):
        rtm.write_relative_risk(tmp_path / "a.tif", values)
    assert not list(tmp_path.iterdir())


@contextmanager
def files_of_at_most(size):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [1_000, 12_000])
def test_a_disk_that_is_full_is_said_and_nothing_is_left(why, tmp_path, size):
    """Where the system gives less room than the 16,000 bytes of scores, it is an error with the name of the file."""
    with (
        files_of_at_most(size),
        pytest.raises(OutputError, match=r"cannot be written: .*Nothing was left") as raised,
    ):
        rtm.write_relative_risk(tmp_path / "a.tif", why)
    assert f"Invalid output {str(tmp_path / 'a.tif')!r}" in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_raster_that_was_cut_short_is_not_given_out(why, tmp_path, monkeypatch):
    """A file that lost its end or its cells without an error, as GDAL may leave one on a full disk, is no result."""
    whole = rasterio.shutil.copy

    def truncated(source, target, **options):
        whole(source, target, **options)
        with open(target, "r+b") as file:
            file.truncate(file.seek(0, 2) - 400)

    def emptied(source, target, **options):
        with rasterio.open(source, "r+") as file:
            file.write(np.full((1, 9, 9), np.nan, dtype="float32"), window=((0, 9), (0, 9)))
        whole(source, target, **options)

    for copied in (truncated, emptied):
        monkeypatch.setattr(rasterio.shutil, "copy", copied)
        with pytest.raises(
            OutputError, match="cannot be written: the raster was cut short, as it is when a disk is"
        ):
            rtm.write_relative_risk(tmp_path / "a.tif", why)
        assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_at_the_end_is_said_of_the_file(why, tmp_path, monkeypatch):
    """Where the scores found room and the raster does not, the file that was asked for is named, and nothing is left."""

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rasterio.shutil, "copy", full)
    with pytest.raises(OutputError, match="cannot be written: No space left on device") as raised:
        rtm.write_relative_risk(tmp_path / "a.tif", why)
    assert f"Invalid output {str(tmp_path / 'a.tif')!r}" in str(raised.value)
    assert not list(tmp_path.iterdir())
