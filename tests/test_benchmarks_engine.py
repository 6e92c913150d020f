"""The benchmark of the engine compares what it says: same data, same objective, ratios the right way round."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def bench():
    """Give the modules of the benchmark by their names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        patch.syspath_prepend(str(BENCHMARKS / "engine"))
        import city
        import floor
        import paths
        import processes
        import rows
        import speed_page

        yield {one.__name__: one for one in (city, floor, paths, processes, rows, speed_page)}


@pytest.fixture(scope="module")
def tiny(bench, tmp_path_factory):
    """Write a city of 30 x 30 cells and six factors."""
    folder = tmp_path_factory.mktemp("cities")
    bench["city"].write_city("tiny", (30, 30), 6, str(folder))
    return bench["city"].City("tiny", folder)


def test_the_matrix_of_the_peers_is_the_design(tiny):
    """The sparse matrix on disk, the codes with their tables, and single columns are the same 0/1 numbers."""
    matrix, design = tiny.matrix.toarray(), tiny.design
    assert matrix.shape == (900, design.n_columns)
    assert 0.02 < matrix.mean() < 0.5
    for number in range(design.n_columns):
        assert np.array_equal(matrix[:, number], design.column(number))
        assert np.array_equal(matrix[:, number] > 0, tiny.column(number))


def test_the_objective_is_the_formula(bench, tiny):
    """The judge's objective is the penalised Poisson likelihood written out on the dense matrix."""
    random = np.random.default_rng(3)
    matrix, y = tiny.matrix.toarray(), tiny.counts
    points = np.column_stack([[-3.0, -2.0], random.uniform(-0.2, 0.4, (2, matrix.shape[1]))])
    expected = []
    for (intercept, *coef), penalty in zip(points, (0.1, 0.02), strict=True):
        eta = intercept + matrix @ np.array(coef)
        size = 0.3 * np.abs(coef).sum() + 0.35 * np.square(coef).sum()
        expected.append(np.mean(np.exp(eta) - y * eta) + penalty * size)
    found = bench["paths"].objectives(tiny, points, np.array([0.1, 0.02]), 0.3)
    assert found == pytest.approx(expected, rel=1e-13)


def test_ours_and_glum_reach_the_same_objective(bench, tiny):
    """On a city of 900 cells both programs end within 1e-4 of each other at every penalty, ours never above."""
    folder, n = str(tiny.folder), 12
    ours = bench["paths"].ours("tiny", cv=False, n_threads=1, repeats=1, folder=folder)
    glum = bench["paths"].glum_path("tiny", n_penalties=n, folder=folder)
    assert (ours["penalties"], glum["penalties"]) == (100, n)
    judged = bench["paths"].judge("tiny", folder=folder)
    assert len(judged["objective"]["path-glum-path"]) == n
    total, worst = bench["paths"].differences(judged, "path-ours-path", "path-glum-path")
    assert -1e-4 < total <= 1e-10
    assert worst <= 1e-9


def test_the_largest_penalty_is_the_smallest_that_keeps_all_at_zero(tiny):
    """The first penalty given to every program leaves no column in the model; one a hundredth smaller does not."""
    from rtmkc.engine.path import fit_path

    first = tiny.lambdas[0]
    fit = fit_path(tiny.design, tiny.counts, lambdas=[first, 0.99 * first], lower=0.0)
    assert np.count_nonzero(fit.coefs, axis=1).tolist()[0] == 0
    assert fit.coefs[1].max() > 0
    assert tiny.lambdas[-1] == pytest.approx(first / 1000)


def test_a_city_written_again_keeps_what_programs_left(bench, tiny):
    """The same city leaves a program's file where it is, so that late and early programs are judged together."""
    tiny.path("path-somebody.f8").write_bytes(b"")
    before = tiny.path("digest.txt").read_text(encoding="utf-8")
    again = bench["city"].write_city("tiny", (30, 30), 6, str(tiny.folder))
    assert again["digest"] == before
    assert tiny.path("path-somebody.f8").exists()
    tiny.path("path-somebody.f8").unlink()
    tiny.path("digest.txt").write_text("of another city", encoding="utf-8")
    bench["city"].write_city("tiny", (30, 30), 6, str(tiny.folder))
    assert tiny.path("digest.txt").read_text(encoding="utf-8") == before
    assert [one.name for one in tiny.folder.iterdir()] == ["tiny"]


def test_differences_are_ours_less_the_peers_where_both_have_a_penalty(bench):
    """Sums and the worst are over the shared penalties; positive means that ours is higher."""
    found = {
        "lambda": {"ours": [0.3, 0.2, 0.1], "peer": [0.2, 0.1]},
        "objective": {"ours": [9.0, 1.0, 3.0], "peer": [2.0, 2.0]},
    }
    total, worst = bench["paths"].differences(found, "ours", "peer")
    assert (total, worst) == ((4.0 - 4.0) / 4.0, 0.5)


def kept(results, name, code="old", **values):
    """Put a result in as if it had been measured; return its case."""
    from processes import Case

    case = Case(name, "module:function", {"a": (1, 2)}, **values.pop("case", {}))
    results.keep(case, {"seconds": 1.0, "peak_gb": 0.1, **values}, code)
    return case


def test_ratios_are_the_peers_over_ours(bench, tmp_path):
    """A peer of 30 s and 2 GB against 3 s and 4 GB is 10 times slower, in half the memory, and the page says both."""
    results = bench["processes"].Results(tmp_path / "results.json")
    kept(results, "x ours, 180k", seconds=3.0, peak_gb=4.0, case={"threads": 2})
    kept(results, "x peer, 180k", seconds=30.0, peak_gb=2.0, case={"threads": 1})
    rows = bench["rows"]
    (row,) = rows.ratio(results, "180k", "work", "somebody", "x ours", "x peer", difference=-1e-7, worst=2e-5)
    assert (row.time, row.memory, row.threads) == (10.0, 0.5, (2, 1))
    assert rows.ratio(results, "180k", "work", "somebody", "x ours", "y peer") == []
    line = bench["speed_page"].ratios([row]).splitlines()[-1]
    assert "| 1 | work | 180k | somebody | **10.0** | 0.50 | -1.0e-07 | +2.0e-05 | 3.00 / 30.0 |" in line
    said = bench["speed_page"].not_better([row])
    assert "more memory (2.0 times), a higher objective (by 2.0e-05 at the worst penalty)" in said
    assert "slower" not in said


def test_a_search_of_statsmodels_is_scaled_by_our_fits(bench, tmp_path):
    """Seconds of one fit, times the fits that our search needed."""
    results = bench["processes"].Results(tmp_path / "results.json")
    kept(results, "search poisson ours, 180k", n_fits=500, log_likelihood=-99.0, bic=10.0)
    kept(
        results, "search poisson statsmodels, 180k", seconds=24.0, per_fit=0.1, n_fits=240,
        log_likelihood=-100.0, bic=10.5,
    )  # fmt: skip
    (row,) = bench["rows"].search_rows(results, "180k")
    assert row.time == pytest.approx(50.0)
    assert row.difference == pytest.approx(-0.01)  # our likelihood is higher, so our objective is lower


def test_what_is_measured_already_is_measured_again_only_when_it_must(bench, tmp_path):
    """Ours when its code changed, anything when its city did or what it came after; and results survive the process."""
    processes = bench["processes"]
    results = processes.Results(tmp_path / "results.json")
    kept(results, "city", digest="one")
    ours = kept(results, "ours", case={"city": "city"})
    peer = kept(results, "peer", case={"city": "city", "ours": False})
    judge = kept(results, "judge", case={"ours": False, "after": ("peer",)})
    lacking = kept(results, "lacking", missing="R", case={"ours": False})
    again = processes.Results(tmp_path / "results.json")
    assert [again.is_current(one, "old") for one in (ours, peer, judge, lacking)] == [True, True, True, False]
    assert [again.is_current(one, "new") for one in (ours, peer)] == [False, True]
    assert not again.is_current(dataclasses.replace(peer, arguments={"a": (1, 3)}), "old")
    kept(again, "peer", case={"city": "city", "ours": False})
    assert not again.is_current(judge, "old")
    kept(again, "city", digest="two")
    assert not again.is_current(peer, "old")


def test_a_page_without_glmnet_says_so_loudly(bench, tmp_path, monkeypatch, capsys):
    """Where R is missing the page says it is not complete and how to install it, and the command fails."""
    speed_page = bench["speed_page"]
    for name in ("PAGE", "IMAGES"):
        monkeypatch.setattr(speed_page, name, tmp_path / name)
    monkeypatch.setattr(speed_page, "ROOT", tmp_path)
    monkeypatch.setattr(bench["paths"].shutil, "which", lambda name: None)
    found = bench["paths"].glmnet("tiny", "cv")
    results = bench["processes"].Results(tmp_path / "results.json")
    kept(results, "cv glmnet, 180k", **found, case={"ours": False})
    assert speed_page.write(results) == 1
    text = (tmp_path / "PAGE").read_text(encoding="utf-8")
    assert "**This page is not complete.**" in text
    assert "apt install r-base-core r-cran-glmnet" in text
    assert "NOT COMPLETE" in capsys.readouterr().err


def test_bytes_that_a_sweep_reads(bench):
    """All arrays of a block, in nested values too, but for the counts."""

    @dataclasses.dataclass
    class Inner:
        codes: np.ndarray

    @dataclasses.dataclass
    class Block:
        inner: Inner
        parts: tuple[np.ndarray, ...]
        weighted_counts: np.ndarray

    block = Block(Inner(np.zeros(5, np.uint16)), (np.zeros(3), np.zeros(2, np.uint8)), np.zeros(100))
    assert bench["floor"].bytes_of(block) == 10 + 24 + 2


def test_bytes_of_other_codes(bench):
    """Ten cells, one variable of six levels that changes twice: 1 byte, 3 bits, or 2 x 2 / 10 + 1 bytes a cell."""
    found = bench["floor"].compact_bytes((np.array([0, 0, 0, 5, 5, 5, 5, 1, 1, 1], dtype=np.uint8),))
    assert found == pytest.approx({"dense": 1.0, "bits": 3 / 8, "runs": 1.4})
