"""The path is the optimum: against glum, against an independent dense check, and under every invariance."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from glum import GeneralizedLinearRegressor

from rtmkc.engine import path as path_module
from rtmkc.engine.blocks import MemoryBlocks
from rtmkc.engine.path import fit_path, fit_path_on
from rtmkc.engine.sweeps import Design
from rtmkc.errors import InputError, ModelWarning


def make_city(seed=0, n_cells=20_000, n_factors=6):
    """Nested bands and density levels of a few factors, in runs, and overdispersed counts."""
    random = np.random.RandomState(seed)
    codes, tables = [], []
    eta = np.full(n_cells, -2.6)
    nested = np.array([[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]], dtype=float)
    levels = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 1], [1, 1, 1]], dtype=float)
    for factor in range(n_factors):
        walk = np.abs(np.cumsum(random.normal(0, 1, n_cells)) + random.normal(0, 50)) % 24
        band = np.where(walk < 12, 1 + (walk // 3), 0).astype(np.uint8)
        dense = random.choice(5, n_cells, p=[0.8, 0.08, 0.06, 0.03, 0.03]).astype(np.uint8)
        codes += [band, dense]
        tables += [nested, levels]
        if factor < 3:
            eta += 0.5 * nested[band, 1] - 0.4 * (factor == 2) * nested[band, 3] + 0.4 * levels[dense, 1]
    counts = random.poisson(np.exp(eta) * random.gamma(2, 0.5, n_cells)).astype(float)
    folds = random.permutation(n_cells // 400 + 1)[np.arange(n_cells) // 400] % 5
    return Design(tuple(codes), tuple(tables)), counts, folds


@pytest.fixture(scope="module")
def city():
    return make_city()


@pytest.fixture(scope="module")
def wide(city):
    """A cross-validated path with offsets, weights and one-sided bounds of every kind."""
    design, counts, folds = city
    random = np.random.RandomState(7)
    offset = np.log(random.uniform(0.3, 1.0, counts.size))
    weights = random.randint(0, 3, counts.size).astype(float)
    lower = np.zeros(design.n_columns)
    upper = np.full(design.n_columns, np.inf)
    lower[::3], upper[1::7] = -np.inf, 0.05
    settings = {"offset": offset, "weights": weights, "folds": folds, "lower": lower, "upper": upper}
    return settings, fit_path(design, counts, patience=None, **settings)


def violation(dense, counts, coef, intercept, penalty, l1_ratio, lower, upper, offset=0.0, weights=None):
    """Largest violation of the optimality conditions, from the definition and the whole matrix."""
    weights = np.ones(counts.size) if weights is None else weights
    residual = weights * (np.exp(offset + intercept + dense @ coef) - counts) / weights.sum()
    worst = abs(residual.sum())
    gradient = dense.T @ residual + penalty * (1 - l1_ratio) * coef
    for value, slope, low, high in zip(coef, gradient, lower, upper, strict=True):
        rise = slope + penalty * l1_ratio * (1 if value >= 0 else -1)
        fall = slope + penalty * l1_ratio * (-1 if value <= 0 else 1)
        if value < high:
            worst = max(worst, -rise)
        if value > low:
            worst = max(worst, fall)
    return worst


def test_every_point_meets_the_optimality_conditions(city, wide):
    """Along 100 penalties the violation, computed apart, is at most 1e-8 per cell, as is the reported one."""
    design, counts, _ = city
    settings, path = wide
    dense = design.dense(range(design.n_columns))
    apart = [
        violation(
            dense, counts, path.coefs[k], path.intercepts[k], path.lambdas[k], 0.5,
            settings["lower"], settings["upper"], settings["offset"], settings["weights"],
        )
        for k in range(0, 100, 3)
    ]  # fmt: skip
    assert max(apart) <= 1.0001e-8
    assert path.kkt.max() <= 1e-8
    assert (path.coefs >= settings["lower"]).all()
    assert (path.coefs <= settings["upper"]).all()
    assert np.count_nonzero(path.coefs[-1]) > 10
    assert np.count_nonzero(path.coefs[0]) == 0


@pytest.mark.parametrize("l1_ratio", [1.0, 0.5, 0.05])
def test_objective_rises_with_the_penalty(city, l1_ratio):
    """The penalised objective and the size of the coefficients are monotone in the penalty."""
    design, counts, _ = city
    path = fit_path(design, counts, l1_ratio=l1_ratio, n_lambdas=40)
    assert (np.diff(path.objective) <= 1e-12).all()
    size = l1_ratio * np.abs(path.coefs).sum(axis=1) + (1 - l1_ratio) / 2 * (path.coefs**2).sum(axis=1)
    assert (np.diff(size) >= -1e-9).all()
    assert path.kkt.max() <= 1e-8
    assert (path.best, path.one_se) == (None, None)


@pytest.mark.parametrize(("l1_ratio", "lower"), [(0.5, -np.inf), (0.5, 0.0), (0.95, 0.0)])
def test_objective_is_glums_or_lower(city, l1_ratio, lower):
    """At five penalties the objective is within 1e-6 of glum's, never above it."""
    design, counts, _ = city
    dense = design.dense(range(design.n_columns))
    path = fit_path(design, counts, l1_ratio=l1_ratio, lower=lower, n_lambdas=30)
    for k in (3, 8, 14, 21, 29):
        theirs = GeneralizedLinearRegressor(
            family="poisson",
            alpha=path.lambdas[k],
            l1_ratio=l1_ratio,
            lower_bounds=None if lower == -np.inf else np.full(design.n_columns, lower),
            gradient_tol=1e-8,
            max_iter=500,
        ).fit(dense, counts)
        coef = theirs.coef_
        eta = theirs.intercept_ + dense @ coef
        objective = np.mean(np.exp(eta) - counts * eta)
        penalty = l1_ratio * np.abs(coef).sum() + (1 - l1_ratio) / 2 * (coef**2).sum()
        objective += path.lambdas[k] * penalty
        assert path.objective[k] <= objective + 1e-12
        assert path.objective[k] == pytest.approx(objective, rel=1e-6)


def test_cross_validation_is_refitting_without_each_fold(city):
    """Held-out deviance equals that of paths fitted, one by one, to the cells outside a fold."""
    design, counts, folds = city
    path = fit_path(design, counts, folds=folds, lower=0.0, n_lambdas=12, tolerance=1e-10)
    dense = design.dense(range(design.n_columns))
    for fold in range(5):
        train, test = folds != fold, folds == fold
        part = Design(tuple(codes[train] for codes in design.codes), design.tables)
        alone = fit_path(part, counts[train], lambdas=path.lambdas, lower=0.0, tolerance=1e-10)
        mean = np.exp(alone.intercepts[:, np.newaxis] + alone.coefs @ dense[test].T)
        y = counts[test]
        logs = np.where(y > 0, y * np.log(np.where(y > 0, y, 1.0) / mean), 0.0)
        deviance = 2 * (logs - y + mean).sum(axis=1)
        np.testing.assert_allclose(path.cv_deviance[fold], deviance, rtol=1e-7)
    np.testing.assert_array_equal(path.fold_sizes, np.bincount(folds))
    np.testing.assert_allclose(path.cv_mean, path.cv_deviance.sum(axis=0) / counts.size, rtol=1e-12)
    assert path.best == np.argmin(path.cv_mean)
    spread = path.cv_deviance / path.fold_sizes[:, np.newaxis] - path.cv_mean
    error = np.sqrt((path.fold_sizes[:, np.newaxis] * spread**2).sum(axis=0) / counts.size / 4)
    np.testing.assert_allclose(path.cv_se, error, rtol=1e-10)
    limit = path.cv_mean[path.best] + error[path.best]
    assert path.one_se == next(k for k in range(12) if path.cv_mean[k] <= limit)


def test_workers_do_not_change_a_bit(city):
    """One and two threads, an executor, and blocks made beforehand give the same bits."""
    design, counts, folds = city
    one = fit_path(design, counts, folds=folds, n_lambdas=15)
    two = fit_path(design, counts, folds=folds, n_lambdas=15, n_threads=2)
    with ThreadPoolExecutor(2) as pool:
        afar = fit_path(design, counts, folds=folds, n_lambdas=15, executor=pool)
    source = MemoryBlocks.build(design, counts, folds=folds)
    there = fit_path_on(source, design.tables, n_lambdas=15)
    for other in (two, afar, there):
        np.testing.assert_array_equal(one.coefs, other.coefs)
        np.testing.assert_array_equal(one.cv_deviance, other.cv_deviance)


def test_the_path_ends_where_held_out_deviance_has_turned(city):
    """With patience the path is the first part of the whole one, up to so many rises in a row; progress ends."""
    design, counts, folds = city
    heard = []
    whole = fit_path(design, counts, folds=folds, patience=None)
    short = fit_path(
        design, counts, folds=folds, patience=6, progress=lambda done, total: heard.append((done, total))
    )
    n_done = short.lambdas.size
    assert whole.lambdas.size == 100 > n_done
    rises = np.diff(whole.cv_mean) > 0
    assert n_done == 2 + next(k for k in range(99) if rises[max(k - 5, 0) : k + 1].sum() == 6)
    np.testing.assert_array_equal(short.cv_deviance, whole.cv_deviance[:, :n_done])
    assert (short.best, short.one_se) == (whole.best, whole.one_se)
    np.testing.assert_allclose(short.coefs[short.best], whole.coefs[whole.best], atol=1e-11)
    assert short.coefs.shape[0] == short.objective.size == short.kkt.size == n_done
    assert heard[-2:] == [(n_done - 1, 100), (100, 100)]
    given = fit_path(design, counts, folds=folds, lambdas=whole.lambdas, patience=6)
    assert given.lambdas.size == 100


@pytest.mark.parametrize("l1_ratio", [0.5, 0.05])
def test_row_order_does_not_matter(city, l1_ratio):
    """Shuffled cells give the chosen coefficients to 1e-10."""
    design, counts, folds = city
    order = np.random.RandomState(5).permutation(counts.size)
    shuffled = Design(tuple(codes[order] for codes in design.codes), design.tables)
    settings = {"l1_ratio": l1_ratio, "lower": 0.0, "n_lambdas": 30}
    one = fit_path(design, counts, folds=folds, **settings)
    other = fit_path(shuffled, counts[order], folds=folds[order], **settings)
    assert (one.best, one.one_se) == (other.best, other.one_se)
    for k in (one.best, one.one_se):
        np.testing.assert_allclose(one.coefs[k], other.coefs[k], atol=1e-10)
        assert one.intercepts[k] == pytest.approx(other.intercepts[k], abs=1e-10)


def test_an_offset_is_a_weight_on_rates(city):
    """A fit with log exposure equals the fit of rates weighted by exposure."""
    design, counts, _ = city
    exposure = np.random.RandomState(8).uniform(0.2, 2.0, counts.size)
    exposure /= exposure.mean()
    one = fit_path(design, counts, offset=np.log(exposure), n_lambdas=8, tolerance=1e-11)
    other = fit_path(design, counts / exposure, weights=exposure, n_lambdas=8, tolerance=1e-11)
    np.testing.assert_allclose(one.lambdas, other.lambdas, rtol=1e-12)
    np.testing.assert_allclose(one.coefs, other.coefs, atol=1e-6)


def test_columns_nearly_parallel_to_the_intercept():
    """Columns whose mean is large against their spread cost no accuracy and few sweeps."""
    random = np.random.RandomState(9)
    matrix = random.normal(100, 1, (300, 3))
    counts = random.poisson(np.exp(0.4 * (matrix[:, 0] - 100))).astype(float)
    path = fit_path(Design.from_matrix(matrix), counts, n_lambdas=50)
    centred = fit_path(Design.from_matrix(matrix - 100), counts, lambdas=path.lambdas)
    assert path.kkt.max() <= 1e-8
    assert path.n_sweeps < 500
    np.testing.assert_allclose(path.coefs, centred.coefs, atol=1e-5)


@pytest.mark.parametrize("seed", [21, 36, 85])
def test_folds_far_from_the_full_fit(seed):
    """Folds whose curvature is far from that of all rows, at large coefficients, reach the optimum too."""
    random = np.random.RandomState(seed)
    matrix = np.column_stack([random.normal(50, 30, 30), random.normal(0, 30, 30), np.arange(30) < 3])
    counts = random.poisson(random.gamma(0.3, 20, 30)).astype(float)
    counts[:3] = [0, 40, 0]
    path = fit_path(Design.from_matrix(matrix), counts, folds=np.arange(30) % 2, l1_ratio=1.0, n_lambdas=30)
    assert path.kkt.max() <= 1e-8
    assert path.n_sweeps < 2000


def test_what_was_not_reached_is_warned_of(city, monkeypatch):
    """A path that had to stop early says so, with the violation that remains."""
    design, counts, _ = city
    monkeypatch.setattr(path_module, "MAX_ITERATIONS", 2)
    with pytest.warns(ModelWarning, match="penalties stopped at a violation"):
        path = fit_path(design, counts, n_lambdas=5)
    assert path.kkt.max() > 1e-8


def test_given_penalties_are_used_largest_first(city):
    """Penalties may be given, in any order and from the middle of a path."""
    design, counts, _ = city
    path = fit_path(design, counts, n_lambdas=20, tolerance=1e-11)
    some = fit_path(design, counts, lambdas=path.lambdas[[15, 5]], tolerance=1e-11)
    np.testing.assert_array_equal(some.lambdas, path.lambdas[[5, 15]])
    np.testing.assert_allclose(some.coefs, path.coefs[[5, 15]], atol=1e-6)


def test_nothing_may_move_or_nothing_is_there(city):
    """Columns bound to zero, or no columns at all, leave the null at every penalty."""
    design, counts, folds = city
    bound = fit_path(design, counts, folds=folds, lower=0.0, upper=0.0, n_lambdas=5)
    empty = fit_path(Design((), ()), counts, folds=folds, n_lambdas=5)
    for path in (bound, empty):
        assert not path.coefs.any()
        np.testing.assert_allclose(np.exp(path.intercepts), counts.mean(), rtol=1e-12)
        assert path.best == 0
    assert empty.coefs.shape == (5, 0)


def test_one_column_and_one_incident():
    """The smallest problems have a path."""
    near = np.repeat(np.array([0, 1], dtype=np.uint8), 20)
    design = Design((near,), (np.array([[0.0], [1.0]]),))
    counts = np.zeros(40)
    counts[3] = 1
    path = fit_path(design, counts, n_lambdas=20)
    assert path.kkt.max() <= 1e-8
    assert path.coefs[-1, 0] < -1
    positive = fit_path(design, counts, lower=0.0, n_lambdas=20)
    assert not positive.coefs.any()


@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_in_at_the_first_penalty(seed):
    """Where the null is best, the fit that is exact to rounding is the null: no column by a rounding error."""
    design, folds = make_city(seed, n_cells=2000)[0], np.arange(2000) % 5
    counts = np.random.RandomState(seed).poisson(0.2, 2000).astype(float)
    path = fit_path(design, counts, folds=folds, n_lambdas=6, lambda_ratio=0.5)
    assert not path.coefs[0].any()
    alone = fit_path(design, counts, folds=folds, n_lambdas=1)
    assert (alone.best, np.count_nonzero(alone.coefs)) == (0, 0)
    assert alone.intercepts[0] == pytest.approx(np.log(counts.mean()), abs=1e-12)


def test_progress_is_told(city):
    """The callback hears of every penalty, in order."""
    design, counts, _ = city
    heard = []
    fit_path(design, counts, n_lambdas=4, progress=lambda done, total: heard.append((done, total)))
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_many_columns_with_little_selection():
    """Curves: 240 columns at l1_ratio 0.05, dozens of them non-zero, meet the conditions too."""
    design, counts, folds = make_city(seed=3, n_factors=34)
    path = fit_path(design, counts, folds=folds, l1_ratio=0.05, lower=0.0)
    assert design.n_columns == 238
    assert np.count_nonzero(path.coefs[-1]) > 40
    assert path.kkt.max() <= 1e-8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"l1_ratio": 0.0}, "Invalid l1_ratio 0.0"),
        ({"lambda_ratio": 2.0}, "Invalid lambda_ratio 2.0"),
        ({"n_lambdas": 0}, "Invalid n_lambdas 0"),
        ({"lambdas": [0.1, -1.0]}, "Invalid lambdas"),
        ({"tolerance": 0.0}, "Invalid tolerance 0.0"),
        ({"patience": 0}, "Invalid patience 0"),
        ({"lower": 0.1}, "Invalid lower or upper"),
        ({"counts": np.zeros(6)}, "Invalid counts: no incidents"),
        ({"counts": [1.0, 0, 0, 0, 0, 0]}, "the cells outside fold 0 hold no incidents"),
    ],
)
def test_what_has_no_path_is_said(arguments, message):
    """Arguments that make no path raise, and the message names them."""
    design = Design((np.array([0, 1, 0, 1, 0, 1], dtype=np.uint8),), (np.array([[0.0], [1.0]]),))
    given = {"counts": np.ones(6), "folds": np.array([0, 0, 1, 1, 2, 2])} | arguments
    with pytest.raises(InputError, match=message):
        fit_path(design, given.pop("counts"), **given)
