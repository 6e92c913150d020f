"""Cloud-optimised GeoTIFFs: what is written is what is read, where it should be."""

import numpy as np
import pytest
import rasterio
import shapely

import rtmkc as rtm
from rtmkc.errors import InputError, OutputError
from rtmkc.raster.cog import read_cog, write_cog


def test_a_cog_holds_each_cell_at_its_place(tmp_path):
    """The value of every cell is found in the file at the cell's centre, and outside the area there is none."""
    shape = shapely.Polygon([(500_000, 4_300_000), (505_000, 4_301_000), (503_000, 4_304_000)])
    grid = rtm.Grid.cover(rtm.StudyArea.from_geometry(shape, crs="EPSG:26915"), cell_size=50)
    value = grid.eastings * 1e-3 + grid.northings
    write_cog(
        tmp_path / "a.tif",
        grid,
        {"value": value, "row": grid.rows.astype(float)},
        dtype="float64",
        tags={"n": "3"},
    )
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.crs.to_epsg() == 26915
        assert np.isnan(file.nodata)
        assert file.descriptions == ("value", "row")
        assert file.tags()["n"] == "3"
        sampled = np.array(list(file.sample(zip(grid.eastings, grid.northings, strict=True))))
        np.testing.assert_array_equal(sampled[:, 0], value)
        np.testing.assert_array_equal(sampled[:, 1], grid.rows)
        assert np.isfinite(file.read(1)).sum() == grid.n_cells
    np.testing.assert_array_equal(read_cog(tmp_path / "a.tif", grid.inside)["value"], value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    with pytest.raises(OutputError, match="exists already"):
        write_cog(tmp_path / "a.tif", grid, {"value": value})


def test_what_is_no_raster_is_refused(tmp_path):
    """A text file is not a raster; the message names it."""
    (tmp_path / "a.tif").write_text("no raster")
    with pytest.raises(InputError, match="a.tif'. It cannot be read"):
        read_cog(tmp_path / "a.tif")
