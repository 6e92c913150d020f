"""What a fit will take: counted before it is begun, and refused with advice that holds."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pytest
import shapely
from click.testing import CliRunner

import rtmkc as rtm
from rtmkc.cli import main
from rtmkc.errors import CapacityError, InputError
from rtmkc.model import cost as cost_module
from rtmkc.raster import grid as grid_module
from rtmkc.workflow.study import AreaSpec, ExposureSpec, FactorSpec, LayerSpec, ModelSpec, SliceSpec

UTM = "EPSG:26915"


def frame_of(side, cell):
    area = rtm.StudyArea.from_geometry(shapely.box(0, 0, side, side), crs=UTM)
    return rtm.Frame.cover(area, block_length=2 * cell)


def free(monkeypatch, size):
    monkeypatch.setattr(cost_module, "available_memory", lambda: size)


def test_candidates_are_counted_as_they_will_be_generated():
    """For every kind and increment the estimate counts the columns that measuring generates, and its variables."""
    points = gpd.GeoDataFrame(
        geometry=gpd.points_from_xy(*np.random.default_rng(0).uniform(0, 2000, (2, 80))), crs=UTM
    )
    factors = [
        rtm.RiskFactor("a", points, kind="both"),
        rtm.RiskFactor("b", points.iloc[:50], kind="proximity", increment="whole"),
        rtm.RiskFactor("c", points.iloc[20:], kind="density", max_influence="2 blocks"),
    ]
    frame = frame_of(2000, 50)
    grid = rtm.Grid.cover(frame.area, block_length=100)
    candidates = rtm.build_candidates(grid, factors)
    found = rtm.estimate_cost(frame, factors)
    assert found.n_candidates == candidates.n_generated == 12 + 3 + 4
    assert found.n_cells == grid.n_cells == 1600
    assert found == rtm.estimate_cost(grid, factors)


def test_codes_go_to_files_when_memory_is_short_and_nothing_fits_in_less(monkeypatch):
    """With falling memory the place is memory, then files, then nowhere; what is said says so."""
    frame, factors = frame_of(70_000, 70), [rtm.RiskFactor(f"f{n}", "points.csv") for n in range(30)]
    free(monkeypatch, None)
    wanted = rtm.estimate_cost(frame, factors)
    assert wanted.memory > wanted.memory_with_store > 0
    assert wanted.place == "memory"
    places = []
    for size in (1.3 * wanted.memory, 1.3 * wanted.memory_with_store, 0.5 * wanted.memory_with_store):
        free(monkeypatch, size)
        found = rtm.estimate_cost(frame, factors)
        places.append(found.place)
        if found.place == "files":
            assert "of files" in found.statement
            found.check()
    assert places == ["memory", "files", "nowhere"]


def test_the_advised_cell_would_fit(monkeypatch):
    """A refusal names a cell size; with cells of that size the same work is not refused."""
    factors = [rtm.RiskFactor(f"f{n}", "points.csv", max_influence="2 blocks") for n in range(8)]
    free(monkeypatch, 4e9)
    refused = rtm.estimate_cost(frame_of(200_000, 50), factors, work="run")
    with pytest.raises(
        CapacityError, match=r"16,000,000 cells x 64 candidates.*choose cells of at least"
    ) as error:
        refused.check()
    advised = float(str(error.value).split("at least ")[1].split(" m")[0])
    rtm.estimate_cost(frame_of(200_000, advised), factors, work="run").check()
    free(monkeypatch, 1e8)
    with pytest.raises(CapacityError, match=r"0\.1 GB are free; use a machine with more memory"):
        rtm.estimate_cost(frame_of(200_000, 50), factors).check()


def test_wrong_work_is_named():
    """Work and method are one of those there are."""
    with pytest.raises(InputError, match="Invalid work 'fit'"):
        rtm.estimate_cost(frame_of(1000, 50), [], work="fit")
    with pytest.raises(InputError, match="Invalid method 'mine'"):
        rtm.estimate_cost(frame_of(1000, 50), [], method="mine")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small study in files."""
    folder = tmp_path_factory.mktemp("study")
    city = rtm.simulate_city(n_rows=24, n_columns=24, n_incidents=300, n_factors=3, random_state=4)
    gpd.GeoDataFrame(geometry=[city.area.geometry], crs=city.grid.crs).to_file(folder / "boundary.gpkg")
    city.incidents.to_file(folder / "incidents.gpkg")
    for name, points in city.factor_points.items():
        points.to_file(folder / f"{name}.gpkg")
    return folder, city


def study_of(folder, city):
    return rtm.Study(
        study=AreaSpec(name="city", boundary="boundary.gpkg", block_length=city.grid.block_length),
        incidents=LayerSpec(file="incidents.gpkg", period="2021/2023"),
        factors=[
            FactorSpec(file=f"{name}.gpkg", name=name, max_influence="1 block") for name in city.factor_points
        ],
        model=ModelSpec(method="classic", allow_later_factors=True),
        folder=str(folder),
    )


def test_a_run_that_does_not_fit_is_refused_before_a_layer_is_read(folder, tmp_path, monkeypatch):
    """With too little memory a run ends before it reads its factors (here missing), and writes nothing."""
    study = study_of(*folder)
    study.factors[0].file = "missing.gpkg"
    free(monkeypatch, 1e8)
    with pytest.raises(CapacityError, match="use a machine with more memory"):
        rtm.run(study, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_run_keeps_blocks_in_files_where_memory_is_short(folder, tmp_path, monkeypatch):
    """Where only files fit, the run uses them by itself: the same cells as in memory, and no files left."""
    study = study_of(*folder)
    plain = rtm.run(study, tmp_path / "plain").terrain
    cost = study.cost(study.grid())
    free(monkeypatch, (cost.memory + cost.memory_with_store) / 2 / cost_module.USABLE)
    assert study.cost(study.grid()).place == "files"
    said = []
    stored = rtm.run(study, tmp_path / "stored", progress=lambda step, done, total: said.append(step)).terrain
    assert any("of files" in step for step in said)
    assert isinstance(stored.models.why.candidates_.codes[0], np.memmap)
    assert stored.cells.equals(plain.cells)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain", "stored"]


FACTORS = [rtm.RiskFactor(f"f{n}", "points.csv", max_influence="2 blocks") for n in range(4)]


@pytest.mark.parametrize("work", ["weights", "assess", "run"])
def test_above_the_most_cells_of_a_grid_nothing_fits(monkeypatch, work):
    """100 million cells are refused whatever the memory; cells as advised are not, and the way by strips is named."""
    free(monkeypatch, None)
    refused = rtm.estimate_cost(frame_of(100_000, 10), FACTORS, work=work)
    assert refused.place == "nowhere"
    with pytest.raises(
        CapacityError, match=r"100,000,000 cells .* at most 50,000,000.*write_relative_risk"
    ) as error:
        refused.check()
    advised = float(str(error.value).split("at least ")[1].split(" m")[0])
    assert 14.1 < advised < 14.3
    rtm.estimate_cost(frame_of(100_000, advised), FACTORS, work=work).check()
    free(monkeypatch, 1e8)
    with pytest.raises(
        CapacityError, match=r"choose cells of at least 14\.\d+ m and a machine with more memory, or"
    ):
        rtm.estimate_cost(frame_of(100_000, 10), FACTORS, work=work).check()


@pytest.mark.parametrize(
    ("width", "height"), [(1000, 1000), (7919, 13), (3, 99_991), (640.7, 811.3), (50_001, 1.5)]
)
def test_the_cell_that_a_grid_advises_makes_a_grid(monkeypatch, width, height):
    """A grid refused for its number of cells is laid with cells of the size its refusal names, hardly larger than need be."""
    monkeypatch.setattr(grid_module, "MAX_CELLS", 5000)
    area = rtm.StudyArea.from_geometry(shapely.box(0, 0, width, height), crs=UTM)
    with pytest.raises(CapacityError, match="at most 5,000 fit") as error:
        rtm.Grid.cover(area, cell_size=np.sqrt(width * height / 6000))
    advised = float(str(error.value).split("at least ")[1].split(" m")[0].replace(",", ""))
    assert 0.8 * 5000 < rtm.Grid.cover(area, cell_size=advised).n_cells <= 5000


def test_files_need_room_on_the_disk_of_the_store(monkeypatch, tmp_path):
    """Work that wants files is refused where their disk, that of the nearest folder there is, has less room than they take."""
    asked = []

    def usage(path):
        asked.append(path)
        return SimpleNamespace(free=room)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    frame = frame_of(70_000, 35)
    free(monkeypatch, None)
    room = 1e5
    cost = rtm.estimate_cost(frame, FACTORS, store=tmp_path / "not" / "yet")
    assert asked == [tmp_path]
    cost.check()
    free(monkeypatch, 1.01 * cost.memory_with_store / cost_module.USABLE)
    assert rtm.estimate_cost(frame, FACTORS).disk_free is None
    short = rtm.estimate_cost(frame, FACTORS, store=tmp_path)
    assert short.place == "files"
    with pytest.raises(
        CapacityError, match=r"with 0\.\d+ GB of files \(0\.0001 GB of the disk are free\).*choose a store"
    ):
        short.check()
    room = 1.01 * cost.files
    rtm.estimate_cost(frame, FACTORS, store=tmp_path).check()


def test_every_fit_takes_its_time_and_the_program_takes_it_once():
    """Time is a base, seconds for a run, and what each fit adds."""
    frame = frame_of(20_000, 50)
    one, two, four = (rtm.estimate_cost(frame, FACTORS, work="run", fits=fits) for fits in (1, 2, 4))
    assert four.seconds - two.seconds == pytest.approx(2 * (two.seconds - one.seconds))
    assert 2 < 2 * one.seconds - two.seconds < 6
    assert one.memory == four.memory


def test_slices_and_an_exposure_are_fits(folder):
    """A study with two slices and an exposure takes three and a half times what its cells take."""
    study = study_of(*folder)
    grid = study.grid()
    base = cost_module.PRICES["classic", "run"].seconds_base
    plain = study.cost(grid).seconds - base
    study.slices = [SliceSpec(name="night", hours="19-3"), SliceSpec(name="weekend", weekdays="fri-sun")]
    study.exposure = ExposureSpec(file="homes.gpkg")
    assert study.cost(grid).seconds - base == pytest.approx(3.5 * plain)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 s"), (89, "89 s"), (600, "10 minutes"), (7200, "2.0 hours"), (47 * 3600, "47.0 hours"),
        (10 * 86400, "10 days"), (365 * 86400, "365 days"), (366 * 86400, "more than a year"), (1e15, "more than a year"),
    ],
)  # fmt: skip
def test_durations_are_said_in_words(seconds, words):
    """Time is said in a unit that fits it, up to a year."""
    cost = replace(rtm.estimate_cost(frame_of(1000, 50), FACTORS), seconds=seconds)
    assert cost.statement.endswith(f"of memory and {words} of one core")


V2 = ("", "memory.max", "memory.current", "inactive_file")
V1 = ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def group(folder, version, limit, used, inactive):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in (
        (version[1], limit),
        (version[2], used),
        ("memory.stat", f"cache 5\n{version[3]} {inactive}"),
    ):
        (folder / name).write_text(f"{value}\n")


@pytest.mark.parametrize("version", [V1, V2], ids=["v1", "v2"])
def test_the_limits_of_containers_hold(tmp_path, version):
    """What is left is the least of the own group and of those above it; files read are no use, and less than none is none."""
    root, own = tmp_path / "groups", tmp_path / "own"
    top = root / version[0]
    own.write_text("7:cpu,cpuacct:/a\n4:memory:/a/b\n" if version is V1 else "0::/a/b\n")
    assert cost_module.group_memory(root, own) is None
    group(top, version, "max" if version is V2 else 2**63 - 4096, 900, 0)
    group(top / "a" / "b", version, 1000, 700, 200)
    assert cost_module.group_memory(root, own) == 1000 - (700 - 200)
    group(top / "a", version, 800, 700, 50)
    assert cost_module.group_memory(root, own) == 800 - (700 - 50)
    group(top, version, 500, 900, 100)
    assert cost_module.group_memory(root, own) == 0
    # Inside a container the path is that of the host, and its own limit stands at the root.
    own.write_text("4:memory:/docker/1f3a\n0::/../../1f3a\n")
    group(top, version, 500, 300, 100)
    assert cost_module.group_memory(root, own) == 300
    assert cost_module.group_memory(root, tmp_path / "none") == 300


CHECKED = {
    "a grid that cannot be laid": ("block_length = 0.2", None, "Invalid cell_size 0.1 m. It would make 576,000,000 cells"),
    "memory that is short": ("block_length = 200", 1e8, "Invalid cell_size 100 m. A fit takes 576 cells x 6 candidates"),
}  # fmt: skip


@pytest.mark.parametrize(("block", "memory", "message"), CHECKED.values(), ids=CHECKED)
def test_check_says_why_a_run_would_be_refused(folder, monkeypatch, block, memory, message):
    """The last line of `rtmkc check` is the reason; the card is shown all the same, and the exit code is 0."""
    place, city = folder
    free(monkeypatch, memory)
    lines = ["[study]", 'name = "city"', 'boundary = "boundary.gpkg"', block]
    lines += ["[incidents]", 'file = "incidents.gpkg"', 'period = "2021/2023"']
    for name in city.factor_points:
        lines += ["[[factors]]", f'name = "{name}"', f'file = "{name}.gpkg"', 'max_influence = "0.5 block"']
    path = place / "checked.toml"
    path.write_text("\n".join(lines))
    done = CliRunner().invoke(main, ["check", str(path), "-q"])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1].startswith(f"A run would be refused: {message}")
    asked = CliRunner().invoke(main, ["check", str(path), "--json"])
    assert json.loads(asked.stdout)["refused"].startswith(message)
