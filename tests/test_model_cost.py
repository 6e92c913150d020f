"""What a fit will take: counted before it is begun, and refused with advice that holds."""

import geopandas as gpd
import numpy as np
import pytest
import shapely

import rtmkc as rtm
from rtmkc.errors import CapacityError, InputError
from rtmkc.model import cost as cost_module
from rtmkc.workflow.study import AreaSpec, FactorSpec, LayerSpec, ModelSpec

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
