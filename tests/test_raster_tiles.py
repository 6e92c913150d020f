"""Frames and their strips: what is measured on a few rows is what the whole grid gives, to the bit."""

import tracemalloc

import geopandas as gpd
import numpy as np
import pytest
import shapely

import rtmkc as rtm
from rtmkc.errors import CapacityError
from rtmkc.raster import tiles
from rtmkc.raster.candidates import build_candidates, build_curves
from rtmkc.raster.coding import combine, count_below, mean_and_deviation

UTM = "EPSG:26915"
OUTLINE = shapely.box(0, 0, 2400, 1800).difference(shapely.Point(900, 900).buffer(400)).union(
    shapely.Point(2500, 600).buffer(333)
)  # fmt: skip


@pytest.fixture(scope="module")
def area():
    """With a round hole and a bulge: rows differ in their cells."""
    return rtm.StudyArea.from_geometry(OUTLINE, crs=UTM)


@pytest.fixture(scope="module")
def factors():
    """Points, lines and polygons, also beyond the boundary."""
    rng = np.random.default_rng(0)
    points = gpd.points_from_xy(*rng.uniform(-100, 2900, (2, 160)))
    starts = rng.uniform(0, 2400, (12, 2))
    lines = [shapely.LineString([start, start + rng.normal(0, 400, 2)]) for start in starts]
    parks = [shapely.Point(*rng.uniform(0, 2000, 2)).buffer(rng.uniform(20, 250)) for _ in range(8)]
    made = {"points": points, "lines": lines, "parks": parks}
    return [
        rtm.RiskFactor(name, gpd.GeoDataFrame(geometry=list(shapes), crs=UTM))
        for name, shapes in made.items()
    ]


@pytest.fixture
def in_strips(monkeypatch):
    """Strips of three rows of these grids."""
    monkeypatch.setattr(tiles, "STRIP_CELLS", 150)


def test_strips_of_a_frame_are_the_rows_of_the_grid(area, in_strips):
    """Strip after strip, flags, cells and centres are those of the grid in memory."""
    frame, grid = rtm.Frame.cover(area, cell_size=50), rtm.Grid.cover(area, cell_size=50)
    strips, own = list(frame.strips()), list(grid.strips())
    assert len(strips) == len(own) > 10
    np.testing.assert_array_equal(np.concatenate([strip.inside for strip in strips]), grid.inside)
    for one, other in zip(strips, own, strict=True):
        assert (one.cells, one.rows) == (other.cells, other.rows)
        np.testing.assert_array_equal(one.inside, other.inside)
        np.testing.assert_array_equal(one.row_northings, grid.row_northings[one.rows])
    assert strips[-1].cells.stop == grid.n_cells


def test_shares_of_strips_are_exact(area, monkeypatch):
    """Shares measured strip by strip are the areas of the cells inside, and sum to the study area."""
    whole = rtm.Grid.cover(area, cell_size=50)
    monkeypatch.setattr(tiles, "STRIP_CELLS", 150)
    grid = rtm.Grid.cover(area, cell_size=50)
    np.testing.assert_array_equal(grid.share, whole.share)
    assert grid.share.sum() * 50**2 == pytest.approx(area.area_m2, rel=1e-9)


@pytest.mark.parametrize("build", [build_candidates, build_curves])
def test_codes_measured_in_strips_have_the_same_bits(area, factors, build, monkeypatch):
    """Candidates and curves of points, lines and polygons are equal, however the grid is cut."""
    grid = rtm.Grid.cover(area, block_length=100)
    whole = build(grid, factors)
    for cells in (1, 150, 1000):
        monkeypatch.setattr(tiles, "STRIP_CELLS", cells)
        cut = build(grid, factors)
        assert cut.columns.equals(whole.columns)
        assert cut.dropped.equals(whole.dropped)
        for one, other in zip(cut.codes, whole.codes, strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
        for one, other in zip(cut.tables, whole.tables, strict=True):
            np.testing.assert_array_equal(one, other)


def test_codes_in_files_are_the_same_and_mapped(area, factors, tmp_path):
    """With a store codes are files mapped into memory, equal to those in memory; measured again they are found there."""
    grid = rtm.Grid.cover(area, block_length=100)
    memory = build_candidates(grid, factors)
    stored = build_candidates(grid, factors, store=tmp_path / "codes")
    files = sorted((tmp_path / "codes").iterdir())
    assert all(isinstance(codes, np.memmap) for codes in stored.codes)
    for one, other in zip(stored.codes, memory.codes, strict=True):
        np.testing.assert_array_equal(one, other)
    build_candidates(grid, factors, store=tmp_path / "codes")
    assert sorted((tmp_path / "codes").iterdir()) == files


def test_a_damaged_file_of_codes_is_not_believed(area, factors, tmp_path):
    """Files that are empty, cut short, or have one other byte are written again: the codes are those in memory."""
    grid = rtm.Grid.cover(area, block_length=100)
    build_candidates(grid, factors, store=tmp_path)
    empty, cut, other, *_ = sorted(tmp_path.glob("codes-*.npy"))
    empty.write_bytes(b"")
    cut.write_bytes(cut.read_bytes()[:200])
    content = other.read_bytes()
    other.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    memory, stored = build_candidates(grid, factors), build_candidates(grid, factors, store=tmp_path)
    for one, codes in zip(stored.codes, memory.codes, strict=True):
        np.testing.assert_array_equal(one, codes)


def test_a_frame_takes_no_memory_and_a_grid_of_its_size_is_refused():
    """A hundred million cells: the frame and its first strip are small, the grid in memory is refused."""
    area = rtm.StudyArea.from_geometry(shapely.box(0, 0, 700_000, 700_000), crs=UTM)
    tracemalloc.start()
    frame = rtm.Frame.cover(area, cell_size=70)
    strip = next(frame.strips())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert frame.n_rows * frame.n_columns == 100_000_000
    assert strip.n_cells == 1_050_000
    assert peak < 30e6
    with pytest.raises(CapacityError, match="100,000,000 cells"):
        rtm.Grid.cover(area, cell_size=70)


@pytest.mark.parametrize("n_flags", [1, 6, 16, 20])
def test_combinations_are_the_distinct_rows(n_flags):
    """Bits of flags give the distinct rows and their numbers that numpy finds in the table of flags."""
    table = np.random.default_rng(n_flags).random((500, n_flags)) < 0.2
    bits = table @ (1 << np.arange(n_flags)[::-1])
    combinations, codes = combine(bits.astype(np.uint32), n_flags)
    rows, number = np.unique(table, axis=0, return_inverse=True)
    np.testing.assert_array_equal(combinations, rows)
    np.testing.assert_array_equal(codes, number.ravel())


def test_mean_and_deviation_in_chunks_are_those_of_numpy():
    """Merged over chunks, mean and deviation of chosen values agree with two passes over all of them."""
    rng = np.random.default_rng(1)
    values, chosen = 1e6 + rng.gamma(0.3, size=200_000), rng.random(200_000) < 0.4
    mean, deviation = mean_and_deviation(values, chosen)
    assert mean == pytest.approx(values[chosen].mean(), rel=1e-14)
    assert deviation == pytest.approx(values[chosen].std(), rel=1e-9)


def test_cuts_are_counted_below_each_value():
    """As many cuts as lie strictly below: a value on a cut is not above it, NaN above none, infinity above all."""
    assert count_below([1.0, 2.0], np.array([0.5, 1.0, 1.5, 2.0, 3.0, np.inf, np.nan])).tolist() == [
        0, 0, 1, 1, 2, 2, 0,
    ]  # fmt: skip
