"""Relative risk of areas of any size: what the model says, strip by strip."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

import rtmkc as rtm
from rtmkc.errors import InputError, NoFactorError, OutputError
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
    with pytest.raises(InputError, match="lies within"):
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
