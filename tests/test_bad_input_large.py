"""Bad input to what is made for large grids: one line that names the value, the rule and the fix; no file is left."""

import errno

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from sklearn.base import clone

import rtmkc as rtm
from rtmkc.errors import CapacityError, InputError, NoFactorError, OutputError
from rtmkc.model import cost as cost_module
from rtmkc.model.cluster import workers_at
from rtmkc.model.compute import FileBlocks
from rtmkc.raster.coding import CodeStore

UTM = "EPSG:26915"
SQUARE = rtm.StudyArea.from_geometry(shapely.box(0, 0, 9000, 9000), crs=UTM)
FRAME = rtm.Frame.cover(SQUARE, block_length=100)
IN_BLOCKS = [rtm.RiskFactor("bars", "bars.csv")]


@pytest.fixture(scope="module")
def city():
    return rtm.simulate_city(n_rows=40, n_columns=40, n_incidents=600, n_factors=3, random_state=1)


@pytest.fixture(scope="module")
def why(city):
    model = rtm.RiskTerrainModel("classic", shift_test=False)
    return model.fit(city.grid, city.risk_factors(), city.incidents, allow_later_factors=True)


@pytest.fixture(scope="module")
def no_factor(city):
    """A model of one layer on all sides of whose features there are as many incidents."""
    even = shapely.points(
        [(x, y) for x in range(362_100, 366_000, 400) for y in range(4_326_100, 4_330_000, 400)]
    )
    factor = rtm.RiskFactor("lattice", _layer(even), direction="protective", kind="proximity")
    model = rtm.RiskTerrainModel("classic", shift_test=False)
    return model.fit(city.grid, [factor], _layer(np.repeat(even, 3)), allow_later_factors=True)


def _layer(points):
    return gpd.GeoDataFrame(geometry=points, crs=UTM)


LAID = {
    "a cell of no size": ({"cell_size": 0}, InputError, "Invalid cell_size 0. It must be greater than 0."),
    "a cell of no number": ({"cell_size": float("nan")}, InputError, "Invalid cell_size nan. It must be a finite"),
    "a cell larger than the area": (
        {"cell_size": 10_000},
        InputError,
        "Invalid cell_size 10,000.0 m. A cell is larger than the whole study area (81,000,000 m2); choose a smaller",
    ),
    "a block in blocks": ({"block_length": "3 blocks"}, InputError, "Invalid block_length '3 blocks'. A length in"),
    "a block in words": ({"block_length": "long"}, InputError, "Invalid block_length 'long'. Write a number and a"),
    "a cell too small for memory": (
        {"cell_size": 1},
        CapacityError,
        "It would make 81,000,000 cells over the bounding box; at most 50,000,000 fit in memory. Choose a cell of at least",
    ),
    "neither cell nor block": ({}, InputError, "Invalid grid. Give block_length="),
}  # fmt: skip


@pytest.mark.parametrize(("given", "kind", "message"), LAID.values(), ids=LAID)
def test_a_frame_that_cannot_be_laid_says_why(given, kind, message):
    """A cell or block that makes no grid is refused with its value."""
    cover = rtm.Grid.cover if kind is CapacityError else rtm.Frame.cover
    with pytest.raises(kind) as raised:
        cover(SQUARE, **given)
    assert_one_line(raised, message)


@pytest.mark.parametrize("cover", [rtm.Frame.cover, rtm.Grid.cover])
@pytest.mark.parametrize("area", ["area.geojson", SQUARE.geometry, None])
def test_what_is_no_area_is_told_how_to_become_one(cover, area):
    """A file name, a polygon or nothing in place of a study area."""
    with pytest.raises(InputError) as raised:
        cover(area, cell_size=50)
    assert_one_line(
        raised, f"Invalid area of type {type(area).__name__}. Give a StudyArea; StudyArea.from_file"
    )


ASKED = {
    "blocks without a block length": (
        rtm.Frame.cover(SQUARE, cell_size=50),
        {},
        "Invalid max_influence of factor 'bars' '3 blocks'. A length in blocks needs a block length",
    ),
    "no frame": (SQUARE, {}, "Invalid frame of type StudyArea. Lay cells over the area: Frame.cover(area, block_len"),
    "no list": (FRAME, {"factors": IN_BLOCKS[0]}, "Invalid factors of type RiskFactor. Give a list of RiskFactor"),
    "no factor": (FRAME, {"factors": []}, "Invalid factors []. Give at least one RiskFactor."),
    "layers": (FRAME, {"factors": ["bars.csv"]}, "Invalid factors of type str. Give a list of RiskFactor; a layer"),
    "two of a name": (FRAME, {"factors": IN_BLOCKS * 2}, "Invalid factor name 'bars'. Each name may be used once"),
    "a reach in the wrong unit": (
        FRAME,
        {"factors": [rtm.RiskFactor("bars", "bars.csv", max_influence="300000000 m")]},
        "Invalid max_influence of factor 'bars' '300000000 m'. It is more than 1,000 steps of the distances tried;",
    ),
    "no fits": (FRAME, {"fits": 0}, "Invalid fits 0. It must be greater than 0."),
    "another method": (FRAME, {"method": "bold"}, "Invalid method 'bold'. It must be one of: 'guarded', 'classic'."),
    "another work": (FRAME, {"work": "fit"}, "Invalid work 'fit'. It must be one of: 'weights', 'assess', 'run'."),
}  # fmt: skip


@pytest.mark.parametrize(("frame", "given", "message"), ASKED.values(), ids=ASKED)
def test_a_cost_that_cannot_be_told_says_why(frame, given, message):
    """Distances without a unit and work that nobody knows are refused with their value."""
    with pytest.raises(InputError) as raised:
        rtm.estimate_cost(frame, **{"factors": IN_BLOCKS} | given)
    assert_one_line(raised, message)


@pytest.mark.parametrize(
    ("free", "advice"), [(1e8, "use a machine with more memory."), (0.4e9, "choose cells of at least")]
)
def test_work_that_fits_nowhere_is_refused_with_advice(monkeypatch, free, advice):
    """A machine too small for the program hears of a larger one, not of a size of cell that would not help."""
    monkeypatch.setattr(cost_module, "available_memory", lambda: free / cost_module.USABLE)
    cost = rtm.estimate_cost(
        rtm.Frame.cover(SQUARE, block_length=2.6), IN_BLOCKS, method="classic", work="weights"
    )
    assert cost.place == "nowhere"
    with pytest.raises(CapacityError) as raised:
        cost.check()
    assert_one_line(raised, "Invalid cell_size 1.3 m. A fit takes 47,941,776 cells x 12 candidates")
    assert advice in str(raised.value)


def with_pixels(city, folder):
    """The factors of a city, and a raster in place of each."""
    grid, path = city.grid, folder / "pixels.tif"
    profile = {
        "driver": "GTiff",
        "dtype": "float32",
        "count": 1,
        "height": grid.n_rows,
        "width": grid.n_columns,
    }
    with rasterio.open(path, "w", **profile, crs=grid.crs.to_wkt(), transform=grid.transform) as file:
        file.write(np.ones((grid.n_rows, grid.n_columns), dtype=np.float32), 1)
    return [rtm.RiskFactor(factor.name, str(path)) for factor in city.risk_factors()]


def frame_elsewhere(city):
    far = shapely.box(0, 4e6, 1000, 4_001_000)
    return rtm.Frame.cover(rtm.StudyArea.from_geometry(far, crs=city.grid.crs), block_length=200)


def frame_of_cells(city):
    return rtm.Frame.cover(city.area, cell_size=city.grid.cell_size)


SCORED = {
    "no layer at all": (lambda city, folder: (None, []), "Invalid factors []. Give at least one RiskFactor."),
    "a layer that is no factor": (
        lambda city, folder: (None, list(city.factor_points.values())),
        "Invalid factors of type GeoDataFrame. Give a list of RiskFactor; a layer becomes one with",
    ),
    "two factors of a name": (
        lambda city, folder: (None, city.risk_factors() * 2),
        "Invalid factor name 'factor 0', 'factor 1', 'factor 2'. Each name may be used once; rename one.",
    ),
    "an area and no frame": (
        lambda city, folder: (city.area, city.risk_factors()),
        "Invalid frame of type StudyArea. Lay cells over the area: Frame.cover(area, cell_size=...).",
    ),
    "a layer too few": (
        lambda city, folder: (None, [one for one in city.risk_factors() if one.name == "factor 2"]),
        "whose layer is missing; give a factor of that name.",
    ),
    "a file that is not there": (
        lambda city, folder: (None, [rtm.RiskFactor(one.name, "nowhere.csv") for one in city.risk_factors()]),
        "Invalid file 'nowhere.csv'. There is no such file; check the name and the folder.",
    ),
    "a raster over a frame": (
        lambda city, folder: (frame_of_cells(city), with_pixels(city, folder)),
        "Its layer or its weight is of a raster, and values of rasters are not scored by strips; take rrs_ of the model",
    ),
    "a frame out of reach": (
        lambda city, folder: (frame_elsewhere(city), city.risk_factors()),
        "Nothing of them lies within reach of the area; check their coordinate reference systems, and the area.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("made", "message"), SCORED.values(), ids=SCORED)
def test_an_area_that_cannot_be_scored_says_why(city, why, tmp_path, made, message):
    """Layers and frames that a model cannot use are refused before a file is begun."""
    frame, factors = made(city, tmp_path)
    before = set(tmp_path.iterdir())
    with pytest.raises(InputError) as raised:
        rtm.write_relative_risk(tmp_path / "area.tif", why, frame, factors)
    assert_one_line(raised, message)
    assert set(tmp_path.iterdir()) == before


def test_what_is_no_fitted_model_is_said(city, tmp_path):
    """The result of an assessment, or a model before its fit, is named with what to give."""
    for model, message in (
        (city, "Invalid model of type SimulatedCity. Give a fitted RiskTerrainModel; of what `assess` returns it is"),
        (rtm.RiskTerrainModel("classic"), "Invalid model. It is not fitted yet; call its fit first."),
    ):  # fmt: skip
        with pytest.raises(InputError) as raised:
            rtm.write_relative_risk(tmp_path / "area.tif", model)
        assert_one_line(raised, message)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("mine.tif", "It exists already; choose another name"),
        ("nowhere/area.tif", "It cannot be written: No such file or directory."),
        ("mine.tif/area.tif", "It cannot be written: Not a directory."),
    ],
)
def test_a_place_that_takes_no_file_is_said_before_anything_is_read(city, why, tmp_path, place, reason):
    """With layers that are not there it is the place that is named: it was looked at first."""
    (tmp_path / "mine.tif").write_bytes(b"mine")
    gone = [rtm.RiskFactor(one.name, "nowhere.csv") for one in city.risk_factors()]
    with pytest.raises(OutputError) as raised:
        rtm.write_relative_risk(tmp_path / place, why, factors=gone)
    assert_one_line(raised, f"Invalid output {str(tmp_path / place)!r}. {reason}")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.tif"]


def test_a_model_without_a_factor_has_nothing_to_write(no_factor, tmp_path):
    """Where no factor has a weight that is said, and no file is written."""
    assert not len(no_factor.flags_.columns)
    with pytest.raises(NoFactorError) as raised:
        rtm.write_relative_risk(tmp_path / "area.tif", no_factor)
    assert_one_line(
        raised, "Invalid model. No factor has a weight, so the relative risk score is 1 everywhere"
    )
    assert not list(tmp_path.iterdir())


def test_a_file_that_exists_stays_and_a_stop_leaves_nothing(why, tmp_path):
    """Neither a file in the way nor Ctrl-C in the middle changes what is in the folder."""

    def stop(done, total):
        raise KeyboardInterrupt

    (tmp_path / "kept.tif").write_bytes(b"mine")
    with pytest.raises(
        OutputError, match=r"kept\.tif'\. It exists already; choose another name or say --overwrite"
    ):
        rtm.write_relative_risk(tmp_path / "kept.tif", why)
    with pytest.raises(KeyboardInterrupt):
        rtm.write_relative_risk(tmp_path / "kept.tif", why, overwrite=True, progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.tif"]
    assert (tmp_path / "kept.tif").read_bytes() == b"mine"


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_store_is_said_and_holds_nothing_half_written(city, why, tmp_path, monkeypatch):
    """Codes and blocks that find no room are an error with the name of the place, and no part of them stays."""
    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OutputError) as raised:
        CodeStore(tmp_path).keep(np.zeros(9, dtype=np.uint8))
    assert_one_line(
        raised, "It cannot be written: No space left on device. Nothing was left behind; choose another"
    )
    with pytest.raises(OutputError) as raised:
        clone(why).fit(city.grid, why.candidates_, city.incidents, allow_later_factors=True, store=tmp_path)
    assert_one_line(
        raised, f"Invalid store {str(tmp_path)!r}. Blocks cannot be written: No space left on device."
    )
    assert not list(tmp_path.iterdir())


def test_blocks_that_are_gone_are_said(tmp_path):
    """A worker that does not see the folder of the blocks names the store and what it must be."""
    with pytest.raises(InputError) as raised:
        FileBlocks(tmp_path / "gone", 1, 0).load(0)
    assert_one_line(
        raised, f"Invalid store {str(tmp_path)!r}. A worker cannot read the blocks in it: No such file"
    )


def test_a_store_below_a_file_is_said(city, why, tmp_path):
    """A store that cannot be a folder is named."""
    (tmp_path / "file").write_text("")
    store = tmp_path / "file" / "store"
    with pytest.raises(OutputError) as raised:
        clone(why).fit(city.grid, why.candidates_, city.incidents, allow_later_factors=True, store=store)
    assert_one_line(raised, "Blocks cannot be kept there: Not a directory. Choose another folder.")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("nonsense", "missing port number"),
        ("", "missing port number"),
        ("ftp://127.0.0.1:1", "unknown address scheme"),
        ("http://127.0.0.1:80", "unknown address scheme"),
    ],
)
def test_an_address_that_is_none_is_said_at_once(address, reason):
    """What cannot be the address of a scheduler is refused with its value, and with how to get one."""
    pytest.importorskip("distributed")
    with pytest.raises(InputError) as raised, workers_at(address):
        pass
    assert_one_line(raised, f"Invalid scheduler {address!r}. No Dask scheduler answers there: {reason}")
    assert "Start one with `dask scheduler`" in str(raised.value)


def assert_one_line(raised, message):
    said = str(raised.value)
    assert message in said
    assert "\n" not in said
    assert said.startswith("Invalid ")
    assert said.endswith(".")
