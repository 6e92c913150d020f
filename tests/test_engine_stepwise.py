"""The search takes the moves that brute force on all cells takes, and collapsing loses nothing."""

import tracemalloc

import numpy as np
import pytest

from rtmkc.engine.rows import collapse as collapse_module
from rtmkc.engine.rows import tables as tables_module
from rtmkc.engine.rows.collapse import collapse, patterns
from rtmkc.engine.rows.families import fit_glm
from rtmkc.engine.rows.stepwise import search_bic
from rtmkc.engine.sweeps import Design
from rtmkc.errors import InputError

FAMILIES = ("poisson", "nb1", "nb2")


def make_problem(seed=0, n_cells=1500):
    """Three factors, each with three nested bands and two density columns, coded as two variables."""
    random = np.random.RandomState(seed)
    nested = np.array([[0, 0, 0], [1, 1, 1], [0, 1, 1], [0, 0, 1]], dtype=float)
    levels = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=float)
    codes, tables, groups = [], [], []
    for factor in range(3):
        codes.append(random.choice(4, n_cells, p=[0.5, 0.1, 0.2, 0.2]).astype(np.uint8))
        codes.append(random.choice(4, n_cells, p=[0.7, 0.1, 0.1, 0.1]).astype(np.uint8))
        tables += [nested, levels]
        groups += [factor] * 5
    design = Design(tuple(codes), tuple(tables))
    eta = -0.7 + 0.7 * design.column(1) + 0.5 * design.column(8) - 0.6 * design.column(12)
    mean = np.exp(eta)
    counts = random.negative_binomial(mean / 0.8, 1 / 1.8).astype(float)
    offset = np.log(random.uniform(0.3, 1.0, n_cells))
    return design, counts, np.array(groups), offset


def brute_force(design, counts, family, groups, offset, lower, upper, swaps=True):
    """The same search on the whole matrix: every move refitted on all cells, with no table and no start."""
    dense, cost = design.dense(range(design.n_columns)), np.log(counts.size)

    def bic(columns):
        fit = fit_glm(dense[:, list(columns)], counts, family=family, offset=offset)
        inside = all(lower[c] <= b <= upper[c] for c, b in zip(columns, fit.coef, strict=True))
        return -2 * fit.log_likelihood + (len(columns) + 1 + (family != "poisson")) * cost, inside

    current, steps = (), []
    value = bic(())[0]
    while True:
        moves = []
        for column in range(design.n_columns):
            if all(groups[column] != groups[c] for c in current):
                moves.append(("add", column, (*current, column)))
            for old in current:
                if swaps and column != old and groups[column] == groups[old]:
                    rest = tuple(c for c in current if c != old)
                    moves.append(("swap", column, (*rest, column)))
        moves += [("drop", old, tuple(c for c in current if c != old)) for old in current]
        fits = [(bic(columns), action, column, columns) for action, column, columns in moves]
        admissible = [
            (number, action, column, columns) for (number, inside), action, column, columns in fits if inside
        ]
        best = min(admissible, key=lambda move: move[0]) if admissible else None
        if best is None or best[0] >= value:
            return current, value, steps
        value, current = best[0], best[3]
        steps.append((best[1], best[2], best[0]))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("with_offset", [False, True])
def test_search_takes_the_moves_of_brute_force(family, with_offset):
    """Every step, its column and its BIC are those of a search that refits all cells."""
    design, counts, groups, offset = make_problem()
    offset = offset if with_offset else None
    lower = np.where(np.arange(15) < 10, 0.0, -np.inf)
    upper = np.full(15, np.inf)
    found = search_bic(design, counts, family=family, groups=groups, lower=lower, upper=upper, offset=offset)
    columns, value, steps = brute_force(design, counts, family, groups, offset, lower, upper)
    assert found.columns == columns
    assert found.bic == pytest.approx(value, rel=1e-10)
    assert [step[:2] for step in found.steps] == [step[:2] for step in steps]
    np.testing.assert_allclose([step[2] for step in found.steps], [step[2] for step in steps], rtol=1e-10)
    direct = fit_glm(design.dense(columns), counts, family=family, offset=offset)
    np.testing.assert_allclose(found.fit.coef, direct.coef, rtol=1e-8)
    np.testing.assert_allclose(found.fit.covariance, direct.covariance, rtol=1e-6, atol=1e-12)
    assert found.null_bic > found.bic


def test_search_without_swaps_only_adds_and_drops():
    """Without swaps the moves are those of brute force without them, and runner-ups are still listed."""
    design, counts, groups, _ = make_problem(seed=3)
    lower, upper = np.full(15, -np.inf), np.full(15, np.inf)
    found = search_bic(design, counts, family="nb1", groups=groups, swaps=False)
    columns, value, steps = brute_force(design, counts, "nb1", groups, None, lower, upper, swaps=False)
    assert [step[:2] for step in found.steps] == [step[:2] for step in steps]
    assert found.columns == columns
    assert found.bic == pytest.approx(value, rel=1e-10)
    assert {action for action, *_ in steps} <= {"add", "drop"}
    assert set(found.runner_ups) == set(columns)


def test_the_true_columns_are_found():
    """With enough cells the search ends at the columns that made the counts."""
    design, counts, groups, _ = make_problem(seed=5, n_cells=20_000)
    found = search_bic(design, counts, family="nb1", groups=groups)
    assert sorted(found.columns) == [1, 8, 12]
    np.testing.assert_allclose(dict(zip(found.columns, found.fit.coef, strict=True))[12], -0.6, atol=0.1)
    assert np.exp(found.fit.log_dispersion) == pytest.approx(0.8, abs=0.1)
    poisson = search_bic(design, counts, family="poisson", groups=groups)
    assert found.bic < poisson.bic


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("with_offset", [False, True])
def test_collapsed_rows_have_the_likelihood_of_all_cells(family, with_offset):
    """Log likelihood agrees to 1e-10 and coefficients to 1e-9, on far fewer rows."""
    design, counts, _, offset = make_problem(seed=2)
    offset = offset if with_offset else None
    columns = [1, 8, 4]
    rows = collapse(design, columns, counts, offset, family)
    one = rows.fit()
    whole = fit_glm(design.dense(columns), counts, family=family, offset=offset)
    assert abs(one.log_likelihood - whole.log_likelihood) <= 1e-10 * abs(whole.log_likelihood)
    np.testing.assert_allclose(one.coef, whole.coef, rtol=1e-9)
    np.testing.assert_allclose(one.covariance, whole.covariance, rtol=1e-7, atol=1e-12)
    if family != "nb2" or not with_offset:
        assert len(rows.rows.matrix) == len(np.unique(design.dense(columns), axis=0))
        assert rows.rows.weight.sum() == pytest.approx(np.exp(offset).sum() if with_offset else counts.size)


def test_cells_without_exposure_count_for_nothing():
    """A cell with no exposure and no incidents may stay or go."""
    design, counts, groups, offset = make_problem(seed=4, n_cells=800)
    keep = np.arange(800) % 10 > 0
    counts[~keep] = 0
    offset[~keep] = -np.inf
    part = Design(tuple(codes[keep] for codes in design.codes), design.tables)
    for family in FAMILIES:
        one = search_bic(design, counts, family=family, groups=groups, offset=offset, n_for_bic=720)
        other = search_bic(part, counts[keep], family=family, groups=groups, offset=offset[keep])
        assert one.columns == other.columns
        assert one.bic == pytest.approx(other.bic, rel=1e-10)


def test_exposure_counts_also_where_there_is_no_overdispersion():
    """NB1 without overdispersion and with unequal exposure has the Poisson likelihood of all cells, in every model."""
    design, _, groups, offset = make_problem(seed=7, n_cells=800)
    mean = np.exp(1.2 + offset + 0.6 * design.column(1))
    counts = np.round(mean)
    found = search_bic(design, counts, family="nb1", groups=groups, offset=offset)
    assert found.fit.at_boundary
    direct = fit_glm(design.dense(found.columns), counts, offset=offset)
    n_parameters = len(found.columns) + 2
    assert found.bic == pytest.approx(n_parameters * np.log(800) - 2 * direct.log_likelihood, rel=1e-10)
    assert found.steps[-1][2] == pytest.approx(found.bic, rel=1e-10)
    poisson = search_bic(design, counts, family="poisson", groups=groups, offset=offset)
    assert found.columns == poisson.columns


def test_at_most_one_column_of_a_group_and_only_candidates():
    """Groups and candidates bind: one big group allows one column, and the others are its runners-up."""
    design, counts, groups, _ = make_problem(n_cells=6000)
    one = search_bic(design, counts, family="poisson", groups=np.zeros(15, dtype=int))
    assert len(one.columns) == 1
    runners = one.runner_ups[one.columns[0]]
    assert sorted([*(column for column, _ in runners), *one.columns]) == list(range(15))
    assert [value for _, value in runners] == sorted(value for _, value in runners)
    assert runners[0][1] >= one.bic
    few = search_bic(design, counts, family="poisson", groups=groups, candidates=[0, 2, 8])
    assert set(few.columns) <= {0, 2, 8}
    none = search_bic(design, counts, family="nb1", groups=groups, candidates=[])
    assert none.columns == ()
    assert none.bic == none.null_bic


def test_a_wrong_sign_keeps_a_column_out():
    """The protective column 12 enters only if its bounds allow a negative coefficient."""
    design, counts, groups, _ = make_problem(seed=5, n_cells=20_000)
    free = search_bic(design, counts, family="poisson", groups=groups)
    aggravating = search_bic(design, counts, family="poisson", groups=groups, lower=0.0)
    protective = search_bic(design, counts, family="poisson", groups=groups, upper=0.0)
    assert 12 in free.columns
    assert (aggravating.fit.coef >= 0).all()
    assert set(aggravating.columns) <= set(range(10))
    assert protective.columns == (12,)


def test_equal_columns_are_settled_by_their_number():
    """Of two columns with the same cells the lower number enters, in either order of variables."""
    near = np.tile(np.array([0, 0, 1, 0], dtype=np.uint8), 100)
    table = np.array([[0.0], [1.0]])
    counts = np.tile([0.0, 1.0, 4.0, 1.0], 100)
    design = Design((near, near), (table, table))
    assert search_bic(design, counts, family="poisson", groups=[0, 1]).columns == (0,)
    backwards = Design((1 - near, near), (table[::-1].copy(), table))
    assert search_bic(backwards, counts, family="nb1", groups=[0, 1]).columns == (0,)


def test_null_wins_on_noise():
    """Counts that have nothing to do with the columns leave the null model."""
    design, _, groups, _ = make_problem()
    counts = np.random.RandomState(1).poisson(0.5, 1500).astype(float)
    found = search_bic(design, counts, family="poisson", groups=groups)
    assert found.columns == ()
    assert found.steps == ()
    assert np.exp(found.fit.intercept) == pytest.approx(counts.mean())


def test_row_order_does_not_matter():
    """Shuffled cells give the same columns and coefficients to 1e-10."""
    design, counts, groups, offset = make_problem(seed=6)
    order = np.random.RandomState(1).permutation(counts.size)
    shuffled = Design(tuple(codes[order] for codes in design.codes), design.tables)
    for family in FAMILIES:
        one = search_bic(design, counts, family=family, groups=groups, offset=offset)
        other = search_bic(shuffled, counts[order], family=family, groups=groups, offset=offset[order])
        assert one.columns == other.columns
        np.testing.assert_allclose(one.fit.coef, other.fit.coef, atol=1e-10)


def test_n_for_bic_is_the_price_of_a_column():
    """A larger number makes columns dearer, until none enters."""
    design, counts, groups, _ = make_problem()
    usual = search_bic(design, counts, family="poisson", groups=groups)
    dear = search_bic(design, counts, family="poisson", groups=groups, n_for_bic=10**60)
    assert len(dear.columns) < len(usual.columns)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("with_offset", [False, True])
def test_search_in_small_pieces_has_the_same_bits(family, with_offset, monkeypatch, tmp_path):
    """Codes on disk, pieces of 101 cells, and tables of one variable at a time change no bit of the result."""
    design, counts, groups, offset = make_problem(seed=9, n_cells=1200)
    counts[offset < -0.8] = 0
    offset = np.where(offset < -0.8, -np.inf, np.round(offset, 1)) if with_offset else None
    usual = search_bic(design, counts, family=family, groups=groups, offset=offset)
    on_disk = []
    for number, codes in enumerate(design.codes):
        file = np.memmap(tmp_path / str(number), dtype=codes.dtype, mode="w+", shape=codes.shape)
        file[:] = codes
        on_disk.append(file)
    for module in (collapse_module, tables_module):
        monkeypatch.setattr(module, "PIECE_CELLS", 101)
    monkeypatch.setattr(tables_module, "MAX_SUMS", 10)
    found = search_bic(
        Design(tuple(on_disk), design.tables), counts, family=family, groups=groups, offset=offset
    )
    assert found.steps == usual.steps
    assert len(found.columns) >= 2
    assert found.runner_ups == usual.runner_ups
    np.testing.assert_array_equal(found.fit.coef, usual.fit.coef)


def test_a_search_holds_a_few_bytes_a_cell():
    """Beside codes and counts a search holds a pattern a cell, and with exposure one number more and its logarithm."""
    design, counts, groups, offset = make_problem(seed=9, n_cells=400_000)
    counts[np.arange(counts.size) % 30 > 0] = 0
    for exposure, most in ((None, 6), (offset, 14)):
        search_bic(design, counts, family="poisson", groups=groups, offset=exposure)
        tracemalloc.start()
        search_bic(design, counts, family="poisson", groups=groups, offset=exposure)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < most * counts.size + 2e6


def test_patterns_are_the_rows_of_the_matrix():
    """Patterns number the distinct rows of the chosen columns."""
    design, counts, _, _ = make_problem()
    pattern, matrix = patterns(design, [3, 0, 11], counts.size)
    np.testing.assert_array_equal(matrix[pattern], design.dense([3, 0, 11]))
    assert len(np.unique(matrix, axis=0)) == len(matrix)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"family": "normal"}, "Invalid family 'normal'"),
        ({"groups": [0, 1]}, r"Invalid groups \(2,\)"),
        ({"candidates": [0, 15]}, "Invalid candidates 0 to 15"),
        ({"n_for_bic": 0}, "Invalid n_for_bic 0"),
        ({"lower": 1.0}, "Invalid lower or upper"),
        ({"family": "nb1", "counts": np.full(1500, 0.5)}, "not whole numbers"),
        ({"counts": np.zeros(1500)}, "Invalid counts: no incidents"),
    ],
)
def test_what_cannot_be_searched_is_said(arguments, message):
    """Arguments that make no search raise, and the message names them."""
    design, counts, groups, _ = make_problem()
    given = {"counts": counts, "family": "poisson", "groups": groups} | arguments
    with pytest.raises(InputError, match=message):
        search_bic(design, given.pop("counts"), **given)
