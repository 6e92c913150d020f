"""Where sums run changes no bit: memory, files, one worker, two workers, a worker killed in the middle."""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import rtmkc as rtm
from rtmkc.engine.blocks import Design, MemoryBlocks
from rtmkc.errors import InputError, OutputError
from rtmkc.model import cluster as cluster_module
from rtmkc.model.cluster import workers_at
from rtmkc.model.compute import Compute, FileBlocks

distributed = pytest.importorskip("distributed")
SAME = ("lambdas", "coefs", "intercepts", "objective", "kkt", "cv_deviance", "cv_mean")


@pytest.fixture(scope="module")
def problem():
    """A design of 40,000 cells with offset and folds, and its path in memory."""
    rng = np.random.default_rng(4)
    n_cells = 40_000
    codes = tuple(np.cumsum(rng.random(n_cells) < 0.05).astype(np.uint64) % 4 for _ in range(5))
    codes = tuple(one.astype(np.uint8) for one in codes)
    tables = tuple(np.tril(np.ones((4, 3)), -1) for _ in codes)
    design = Design(codes, tables)
    offset = rng.normal(0, 0.1, n_cells)
    counts = rng.poisson(np.exp(-3 + 0.8 * (codes[0] > 1) + 0.5 * (codes[3] > 2) + offset)).astype(float)
    folds = rng.integers(0, 5, n_cells)
    return design, counts, offset, folds


def fit(compute, problem, **options):
    design, counts, offset, folds = problem
    return compute.fit_path(design, counts, offset=offset, folds=folds, lower=0.0, n_lambdas=10, **options)


def assert_same_bits(one, other):
    for name in SAME:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert (one.best, one.one_se, one.n_sweeps) == (other.best, other.one_se, other.n_sweeps)


@pytest.fixture(scope="module")
def in_memory(problem):
    return fit(Compute(), problem)


@pytest.fixture(scope="module")
def cluster():
    """Two workers, each a process of its own."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", host="127.0.0.1"
    ) as made:
        yield made


@pytest.fixture(scope="module")
def client(cluster):
    with distributed.Client(cluster) as made:
        yield made


def test_blocks_in_files_are_those_in_memory(problem, tmp_path):
    """Each block read from its file has the arrays of the block in memory, and cannot be written to."""
    design, counts, offset, folds = problem
    memory = MemoryBlocks.build(design, counts, offset=offset, folds=folds)
    files = FileBlocks.write(tmp_path, design, counts, offset=offset, folds=folds)
    assert (files.n_blocks, files.n_folds) == (memory.n_blocks, memory.n_folds) == (3, 5)
    for number in range(3):
        assert files.load(number).to_bytes() == memory.load(number).to_bytes()


def test_a_path_over_files_has_the_bits_of_memory(problem, in_memory, tmp_path):
    """With a store the fit reads files, gives the same bits, and leaves the store as it was."""
    assert_same_bits(fit(Compute(store=tmp_path / "new"), problem), in_memory)
    assert list((tmp_path / "new").iterdir()) == []


def test_an_executor_of_the_standard_library_gives_the_bits_of_memory(problem, in_memory):
    """Whatever has the `map` of `concurrent.futures` can add up."""
    with ThreadPoolExecutor(2) as executor:
        assert_same_bits(fit(Compute(executor), problem), in_memory)


def test_one_worker_and_two_give_the_bits_of_memory(problem, in_memory, client):
    """A path fitted by Dask workers in processes of their own has the bits of the path in memory, with one and with two."""
    workers = list(client.scheduler_info()["workers"])
    assert len(workers) == 2
    assert_same_bits(fit(Compute(client.get_executor()), problem), in_memory)
    assert_same_bits(fit(Compute(client.get_executor(workers=workers[:1])), problem), in_memory)


def test_a_worker_killed_in_the_middle_changes_nothing(problem, in_memory, client):
    """kill -9 of one of two workers while a path is fitted: the fit goes on, and its bits are the same."""
    killed = []

    def kill(done, total):
        if done == total // 2 and not killed:
            killed.append(min(client.run(os.getpid).values()))
            os.kill(killed[0], signal.SIGKILL)

    path = fit(Compute(client.get_executor()), problem, progress=kill)
    assert killed
    assert_same_bits(path, in_memory)


def test_models_fitted_by_workers_are_the_same(client, tmp_path):
    """Weights and forecast of a simulated city, fitted over a cluster with a store, equal those in memory to the bit."""
    city = rtm.simulate_city(n_rows=30, n_columns=30, n_incidents=500, n_factors=3, random_state=2)
    given = city.grid, city.risk_factors(), city.incidents
    spread = {"allow_later_factors": True, "executor": client.get_executor(), "store": tmp_path}
    why = rtm.RiskTerrainModel("classic", n_lambdas=8, shift_test=False)
    alone = why.fit(*given, allow_later_factors=True).weights_
    assert len(why.flags_.columns)
    assert why.fit(*given, **spread).weights_.equals(alone)
    where = rtm.RiskForecast(n_lambdas=4)
    expected = where.fit(*given, allow_later_factors=True).expected_
    np.testing.assert_array_equal(where.fit(*given, **spread).expected_, expected)
    assert {path.suffix for path in tmp_path.iterdir()} == {".npy"}


def test_a_store_that_workers_cannot_see_is_said(problem, tmp_path):
    """A worker without the files says that the store must be on storage that all workers see."""
    gone = FileBlocks(tmp_path / "elsewhere" / "blocks", 3, 5)
    with pytest.raises(InputError, match="storage that all workers see"):
        gone.load(0)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be kept there"):
        fit(Compute(store=tmp_path / "file"), problem)


def test_a_scheduler_that_does_not_answer_is_said(monkeypatch):
    """No scheduler at an address, and no Dask at all, are errors that say what to do."""
    monkeypatch.setattr(cluster_module, "CONNECT_SECONDS", 0.5)
    with pytest.raises(InputError, match="No Dask scheduler answers there"), workers_at("tcp://127.0.0.1:9"):
        pass
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install 'rtmkc\[dask\]'"), workers_at("tcp://127.0.0.1:9"):
        pass


def test_the_scheduler_option_uses_the_workers(cluster, client):
    """`workers_at` gives an executor whose functions run in the processes of the workers."""
    with workers_at(cluster.scheduler_address) as executor:
        assert set(executor.map(_pid, range(8))) <= set(client.run(os.getpid).values())


def _pid(_):
    return os.getpid()
