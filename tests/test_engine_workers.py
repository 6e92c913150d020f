"""Sums over blocks: the same tables whoever adds them, in whatever process, and nothing else travels."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import pytest

from rtmkc.engine import workers as workers_module
from rtmkc.engine.blocks import make_block
from rtmkc.engine.sweeps import PoissonSweep
from rtmkc.engine.switches import Switches
from rtmkc.engine.workers import Workers

NESTED = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])


@dataclass(frozen=True)
class Drawn:
    """Blocks that are drawn when asked for: a source that says where its blocks are, and holds none."""

    n_blocks: int
    n_folds: int = 2

    def load(self, block):
        random = np.random.default_rng(block)
        codes = np.repeat(random.integers(0, 3, 100), 3).astype(np.uint8)
        return make_block(
            [codes], [NESTED], random.poisson(0.3, 300).astype(float), folds=np.arange(300) % 2, n_folds=2
        )


@dataclass(frozen=True)
class Logs:
    """A task whose sum depends on the order of additions."""

    weights: np.ndarray

    def zeros(self):
        return (np.zeros(3),)

    def one(self, block):
        return block.weighted_counts.sum() * self.weights + block.begin.size * 1e-9

    def add(self, total, sums):
        total[0][:] += sums


@pytest.mark.parametrize("n_blocks", [1, 5, 16, 33, 80])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_sums_are_those_of_groups_in_order(n_blocks, n_threads):
    """Blocks are added within groups of sixteen and groups in order, written out by hand, to the last bit."""
    task, source = Logs(np.array([1e8, 0.1, 1e-7])), Drawn(n_blocks)
    expected = np.zeros(3)
    for first in range(0, n_blocks, 16):
        group = np.zeros(3)
        for block in range(first, min(first + 16, n_blocks)):
            group += task.one(source.load(block))
        expected += group
    with Workers(n_threads).at_work() as team:
        (total,) = team.add_up(task, source)
    np.testing.assert_array_equal(total, expected)


def test_other_processes_give_the_same_bits(monkeypatch):
    """Tasks and sources travel to processes that share nothing; only tables do, and they are counted."""
    monkeypatch.setattr(workers_module, "GROUP_BLOCKS", 4)
    source = Drawn(9)
    coefs, intercepts = np.full((3, 2), 0.2), np.full(3, -1.0)
    here = PoissonSweep([NESTED], source)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        team = Workers(executor=pool)
        there = PoissonSweep([NESTED], source, workers=team)
        sent, received = team.bytes_sent, team.bytes_received
        sums, others = here(coefs, intercepts), there(coefs, intercepts)
    np.testing.assert_array_equal(sums.gradient, others.gradient)
    np.testing.assert_array_equal(sums.held_out_deviance, others.held_out_deviance)
    # Three groups: a row of eight doubles a switch and the intercept go; a row a switch and two more come.
    assert team.bytes_sent - sent == 3 * 8 * 8 * (2 + 1)
    assert team.bytes_received - received == 3 * 8 * 8 * (2 + 2)


def test_switches_are_columns_or_levels():
    """Tables of 0 and 1 switch columns, others levels; switches times values are the tables either way."""
    one_hot = np.eye(4)[:, :3]
    numeric = np.array([[0.0, 0.0], [0.5, 1.0], [0.0, -2.0]])
    wide = np.array([[0.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0]])
    tables = [NESTED, one_hot, numeric, wide]
    switches = Switches.of(tables)
    assert [on is not None for on in switches.on] == [True, True, False, False]
    values = switches.values.todense()
    first_column = 0
    for table, on, of_level, first, end in zip(
        tables, switches.on, switches.of_level, switches.first[:-1], switches.first[1:], strict=True
    ):
        if on is None:
            on = of_level[:, np.newaxis] == np.arange(first, end)
        columns = slice(first_column, first_column + table.shape[1])
        np.testing.assert_array_equal(on @ values[first:end, columns], table)
        first_column += table.shape[1]
    assert switches.n_columns == first_column
    assert np.count_nonzero(values) == 2 + 3 + 3 + 5
