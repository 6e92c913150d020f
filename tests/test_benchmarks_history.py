"""The scores that the benchmarks report are exact, and the published classic row comes out of the engine."""

import itertools
import math
import os
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def anchors():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import history_anchors

        yield history_anchors


@pytest.fixture(scope="module")
def truth():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import known_truth

        yield known_truth


def test_ties_count_by_their_mean_over_all_orders(anchors):
    """The hit rate of tied scores is the mean over every order in which the ties can be broken."""
    score, test = np.array([3.0, 1.0, 1.0, 1.0, 0.5, 1.0]), np.array([1.0, 4.0, 0.0, 2.0, 1.0, 0.0])
    for n_flagged in range(1, 7):
        rates = []
        for order in itertools.permutations(range(6)):
            if all(score[first] >= score[then] for first, then in itertools.pairwise(order)):
                rates.append(test[list(order[:n_flagged])].sum() / test.sum())
        rate = anchors.hit_rate(score, test, np.ones(6), n_flagged / 6)
        assert rate == pytest.approx(np.mean(rates), abs=1e-12)


def test_area_is_counted_not_cells(anchors):
    """Two half cells are as much area as a full one; a budget within a cell takes that part of its incidents."""
    score, test, size = np.array([4.0, 3.0, 2.0]), np.array([1.0, 1.0, 6.0]), np.array([0.5, 0.5, 1.0])
    assert anchors.hit_rate(score, test, size, 0.5) == pytest.approx(2 / 8)
    assert anchors.hit_rate(score, test, size, 0.75) == pytest.approx(5 / 8)
    assert anchors.hit_rate(np.ones(3), test, size, 0.1) == pytest.approx(0.1)


def test_nats_against_uniform(anchors):
    """A uniform forecast has 0 nats; one that puts three quarters on half the area has what its logarithms say."""
    test, size = np.array([2.0, 1.0]), np.array([0.5, 0.5])
    assert anchors.nats(np.full(2, 7.0), test, size) == pytest.approx(0.0, abs=1e-15)
    expected = (2 * math.log(1.5) + math.log(0.5)) / 3
    assert anchors.nats(np.array([3.0, 1.0]), test, size) == pytest.approx(expected)
    assert anchors.nats(np.array([30.0, 10.0]), test, size) == pytest.approx(expected)


def test_without_data_the_anchors_are_skipped_and_say_so(anchors, monkeypatch, capsys):
    """Without RTMKC_DATA the script prints one sentence and succeeds."""
    monkeypatch.delenv("RTMKC_DATA", raising=False)
    assert anchors.main() == 0
    assert "RTMKC_DATA is not set" in capsys.readouterr().out


@pytest.mark.skipif(not os.environ.get("RTMKC_DATA"), reason="RTMKC_DATA is not set: no real data")
def test_the_published_classic_row(anchors):
    """Plain arrays and the library's candidates both give the published fit of Chicago's burglaries to the digit."""
    folder = Path(os.environ["RTMKC_DATA"]) / "chicago"
    row = anchors.library_row(anchors.published_world(folder))
    for name, value in anchors.plain_row(folder).items():
        published, tolerance = anchors.GOLDEN[name]
        assert value == pytest.approx(published, abs=tolerance), name
        assert row[name] == pytest.approx(value, rel=1e-9), name


@pytest.mark.parametrize(("n", "total"), [(0, 200), (3, 200), (57, 100), (100, 100)])
def test_wilson_intervals(truth, n, total):
    """They are those of statsmodels."""
    from statsmodels.stats.proportion import proportion_confint

    expected = proportion_confint(n, total, method="wilson")
    np.testing.assert_allclose(truth.wilson(n, total), expected, atol=1e-9)


def test_a_section_replaces_itself_and_no_other(anchors, tmp_path):
    """Each script writes its own part of the page, in a fixed order, as often as it likes."""
    import sys

    page = sys.modules["page"]
    path = tmp_path / "reference" / "anchors.md"
    page.write_section("known-truth", "## Truth\n\none", path)
    page.write_section("chicago", "## Chicago", path)
    page.write_section("known-truth", "## Truth\n\ntwo", path)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# Anchors")
    assert "one" not in text.split("## Chicago")[1]
    assert text.index("## Chicago") < text.index("## Truth") < text.index("two")
    page.write_section("known-truth", "## Truth\n\ntwo", path)
    assert path.read_text(encoding="utf-8") == text
