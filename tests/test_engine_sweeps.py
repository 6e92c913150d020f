"""A sweep over codes is the dense arithmetic over cells, in the same bits whoever runs it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.special import xlogy

from rtmkc.engine import blocks, sweeps
from rtmkc.engine.sweeps import Design, MemoryBlocks, PoissonSweep
from rtmkc.engine.workers import Workers
from rtmkc.errors import InputError


def make_design(n_cells, seed=0):
    """Three coded variables: nested bands in runs, density levels, and one with many levels."""
    random = np.random.RandomState(seed)
    bands = np.repeat(random.randint(0, 4, n_cells // 5 + 1), 5)[:n_cells].astype(np.uint8)
    density = random.choice(3, n_cells, p=[0.8, 0.15, 0.05]).astype(np.uint8)
    fine = random.randint(0, 300, n_cells).astype(np.uint16)
    tables = (
        np.array([[0, 0, 0], [1, 1, 1], [0, 1, 1], [0, 0, 1]], dtype=float),
        np.array([[0, 0], [1, 0], [1, 1]], dtype=float),
        np.column_stack([np.linspace(-1, 1, 300), np.arange(300) % 2]),
    )
    return Design((bands, density, fine), tables)


@pytest.fixture(scope="module")
def problem():
    """Forty thousand cells: three blocks, five folds, offsets and weights."""
    n_cells = 40_000
    random = np.random.RandomState(1)
    design = make_design(n_cells)
    offset = np.log(random.uniform(0.1, 1.0, n_cells))
    offset[:50] = -np.inf
    weights = random.randint(0, 3, n_cells).astype(float)
    counts = random.poisson(0.2, n_cells).astype(float)
    counts[:50] = 0
    folds = random.randint(-1, 5, n_cells)
    return design, counts, offset, weights, folds


def test_design_views_agree(problem):
    """Columns, the dense matrix and the linear predictor are three views of codes and tables."""
    design = problem[0]
    assert design.n_columns == 7
    assert design.slices == (slice(0, 3), slice(3, 5), slice(5, 7))
    np.testing.assert_array_equal(design.column_variable, [0, 0, 0, 1, 1, 2, 2])
    dense = design.dense(range(7), slice(100, 200))
    np.testing.assert_array_equal(dense[:, 4], design.column(4)[100:200])
    coef = np.arange(7.0)
    np.testing.assert_allclose(design.linear(coef)[100:200], dense @ coef, atol=1e-12)
    assert design.dense([], slice(100, 200)).shape == (100, 0)


def test_a_matrix_and_its_codes_hold_the_same_columns():
    """Coding a matrix loses nothing, whatever the number of distinct values."""
    random = np.random.RandomState(3)
    matrix = np.column_stack([random.rand(700), random.randint(0, 2, 700), np.full(700, -2.5)])
    design = Design.from_matrix(matrix)
    np.testing.assert_array_equal(design.dense(range(3)), matrix)
    assert [codes.dtype for codes in design.codes] == [np.uint16, np.uint8, np.uint8]


@pytest.mark.parametrize("n_lanes", [6, 1, 11])
def test_a_sweep_is_the_dense_arithmetic(problem, n_lanes):
    """Objective, gradient, expected sums and held-out deviance of every lane are numpy's on all cells."""
    design, counts, offset, weights, folds = problem
    n_folds = n_lanes - 1
    random = np.random.RandomState(n_lanes)
    folds = random.randint(-1, n_folds, counts.size) if n_folds else None
    source = MemoryBlocks.build(design, counts, offset=offset, weights=weights, folds=folds)
    assert source.n_blocks == 3
    sweep = PoissonSweep(design.tables, source)
    coefs, intercepts = random.normal(0, 0.3, (n_lanes, 7)), random.normal(-1, 0.1, n_lanes)
    sums = sweep(coefs, intercepts)
    dense = design.dense(range(7))
    for lane in range(n_lanes):
        train = np.ones(counts.size, dtype=bool) if lane == n_folds else folds != lane
        eta = dense @ coefs[lane] + intercepts[lane]
        mean = weights * np.exp(eta + offset)
        n = weights[train].sum()
        log_mean = np.where(counts > 0, eta + offset, 0.0)
        objective = (mean - weights * counts * log_mean)[train].sum() / n
        assert sums.objective[lane] == pytest.approx(objective, rel=1e-12)
        assert sums.mean_sum[lane] == pytest.approx(mean[train].sum(), rel=1e-12)
        residual = (mean - weights * counts)[train]
        np.testing.assert_allclose(sums.gradient[lane], dense[train].T @ residual / n, atol=1e-13)
        assert sums.intercept_gradient[lane] == pytest.approx(residual.sum() / n, abs=1e-13)
        if lane < n_folds:
            y, mu, w = counts[~train], np.exp(eta + offset)[~train], weights[~train]
            safe = np.where(y > 0, mu, 1.0)
            deviance = 2 * (w * (xlogy(y, y / safe) - y + mu)).sum()
            assert sums.held_out_deviance[lane] == pytest.approx(deviance, rel=1e-11)


@pytest.mark.parametrize("limit", [10_000, 0])
def test_the_hessian_is_the_dense_one(problem, limit, monkeypatch):
    """The Hessian over chosen columns equals X' W X on the whole matrix, by pairs of levels and by cells."""
    monkeypatch.setattr(sweeps, "MAX_PAIRED_SWITCHES", limit)
    design, counts, offset, weights, folds = problem
    sweep = PoissonSweep(
        design.tables, MemoryBlocks.build(design, counts, offset=offset, weights=weights, folds=folds)
    )
    coef = np.random.RandomState(4).normal(0, 0.3, 7)
    columns = np.array([0, 2, 4, 5])
    dense = np.column_stack([np.ones(counts.size), design.dense(columns)])
    mean = weights * np.exp(design.linear(coef) - 1.0 + offset)
    expected = dense.T @ (dense * mean[:, np.newaxis]) / weights.sum()
    np.testing.assert_allclose(sweep.hessian(columns, coef, -1.0), expected, rtol=1e-10, atol=1e-15)


def test_bits_do_not_depend_on_the_workers(problem):
    """One thread, two threads and a foreign executor's map give the same bits."""
    design, counts, offset, weights, folds = problem
    source = MemoryBlocks.build(design, counts, offset=offset, weights=weights, folds=folds)
    coefs, intercepts = np.random.RandomState(5).normal(0, 0.3, (6, 7)), np.full(6, -1.0)

    def run(workers):
        with workers.at_work():
            sweep = PoissonSweep(design.tables, source, workers=workers)
            return sweep(coefs, intercepts), sweep.hessian(np.arange(7), coefs[0], -1.0)

    alone, alone_hessian = run(Workers())
    with ThreadPoolExecutor(3) as pool:
        for workers in (Workers(2), Workers(5), Workers(executor=pool)):
            sums, hessian = run(workers)
            np.testing.assert_array_equal(sums.gradient, alone.gradient)
            np.testing.assert_array_equal(sums.objective, alone.objective)
            np.testing.assert_array_equal(sums.held_out_deviance, alone.held_out_deviance)
            np.testing.assert_array_equal(hessian, alone_hessian)


def test_any_source_of_blocks_serves(problem):
    """A source that makes its blocks when asked, as tiles on disk would, gives the same bits."""
    design, counts, offset, weights, folds = problem
    memory = MemoryBlocks.build(design, counts, offset=offset, weights=weights, folds=folds)

    class Rebuilt:
        n_blocks, n_folds = memory.n_blocks, memory.n_folds

        def load(self, block):
            return MemoryBlocks.build(design, counts, offset=offset, weights=weights, folds=folds).load(block)

    coefs, intercepts = np.full((6, 7), 0.1), np.full(6, -1.0)
    one = PoissonSweep(design.tables, memory)(coefs, intercepts)
    other = PoissonSweep(design.tables, Rebuilt())(coefs, intercepts)
    np.testing.assert_array_equal(one.gradient, other.gradient)


def test_block_edges_do_not_show(problem, monkeypatch):
    """Blocks of another size change the sums by rounding only."""
    design, counts, _, _, folds = problem
    coefs, intercepts = np.full((6, 7), 0.1), np.full(6, -1.0)
    usual = PoissonSweep(design.tables, MemoryBlocks.build(design, counts, folds=folds))(coefs, intercepts)
    monkeypatch.setattr(blocks, "BLOCK_CELLS", 1000)
    small = PoissonSweep(design.tables, MemoryBlocks.build(design, counts, folds=folds))(coefs, intercepts)
    np.testing.assert_allclose(small.gradient, usual.gradient, atol=1e-14)
    np.testing.assert_allclose(small.objective, usual.objective, rtol=1e-13)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"counts": np.zeros(10)}, "Invalid counts: no incidents"),
        ({"counts": np.ones(9)}, r"Invalid counts \(9,\)"),
        ({"counts": np.full(10, np.nan)}, "Invalid counts: NaN"),
        ({"weights": -np.ones(10)}, "Invalid weights"),
        ({"weights": np.zeros(10)}, "Invalid counts: no incidents"),
        ({"offset": np.full(10, np.nan)}, "Invalid offset"),
        ({"offset": np.full(10, -np.inf)}, "10 cells have incidents but no exposure"),
        ({"folds": np.zeros(10, dtype=int)}, "Invalid folds 1"),
        ({"folds": np.array([0, 2] * 5)}, "Invalid folds 3"),
        ({"folds": np.zeros(10)}, "Invalid folds float64"),
    ],
)
def test_what_cannot_be_swept_is_said(arguments, message):
    """Cells that make no Poisson model raise, and the message names the argument."""
    design = Design((np.zeros(10, dtype=np.uint8),), (np.zeros((1, 1)),))
    with pytest.raises(InputError, match=message):
        MemoryBlocks.build(design, **({"counts": np.ones(10)} | arguments))


@pytest.mark.parametrize(
    ("codes", "tables", "message"),
    [
        ((np.zeros(3, dtype=np.uint8),), (), "Invalid design 1 codes, 0 tables"),
        ((np.zeros(3),), (np.zeros((1, 1)),), "Invalid codes float64"),
        ((np.full(3, 2, dtype=np.uint8),), (np.zeros((2, 1)),), "Invalid codes 2 of variable 0"),
        ((np.zeros(3, dtype=np.uint8),), (np.array([[np.inf]]),), "Invalid table"),
        ((np.zeros(3, dtype="u1"), np.zeros(4, dtype="u1")), (np.zeros((1, 1)),) * 2, "Invalid codes"),
    ],
)
def test_codes_and_tables_must_fit(codes, tables, message):
    """Codes that are not levels of their table raise."""
    with pytest.raises(InputError, match=message):
        Design(codes, tables)


def test_a_block_survives_its_bytes(problem):
    """Blocks written one after the other and read back, without a copy, give the same bits."""
    design, counts, offset, weights, folds = problem
    memory = MemoryBlocks.build(design, counts, offset=offset, weights=weights, folds=folds)
    stored = [memory.load(k).to_bytes() for k in range(memory.n_blocks)]
    whole = memoryview(b"".join(stored))
    ends = np.cumsum([0, *map(len, stored)])

    class Stored:
        n_blocks, n_folds = memory.n_blocks, memory.n_folds

        def load(self, block):
            return blocks.Block.from_buffer(whole[ends[block] : ends[block + 1]])

    assert Stored().load(1).to_bytes() == stored[1]
    coefs, intercepts = np.full((6, 7), 0.1), np.full(6, -1.0)
    one = PoissonSweep(design.tables, memory)(coefs, intercepts)
    other = PoissonSweep(design.tables, Stored())(coefs, intercepts)
    np.testing.assert_array_equal(one.gradient, other.gradient)
    for spoilt in (b"", stored[0][:-64], b"x" * 4096):
        with pytest.raises(InputError, match="Invalid buffer"):
            blocks.Block.from_buffer(spoilt)


def test_a_block_needs_its_own_cells_only(problem):
    """Blocks made one by one from slices are those of the whole design."""
    design, counts, offset, weights, folds = problem
    memory = MemoryBlocks.build(design, counts, offset=offset, weights=weights, folds=folds)
    cells = slice(blocks.BLOCK_CELLS, 2 * blocks.BLOCK_CELLS)
    alone = blocks.make_block(
        [codes[cells] for codes in design.codes], design.tables, counts[cells],
        offset=offset[cells], weights=weights[cells], folds=folds[cells], n_folds=5,
    )  # fmt: skip
    assert alone.to_bytes() == memory.load(1).to_bytes()
