"""The study of intervals of hit rates measures what it says: its targets, its intervals, and the page it wrote."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def study():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import pai_intervals

        yield pai_intervals


def test_the_general_rate_is_a_mean_of_ratios(study):
    """Noise that doubles one cell in one of two years moves the expected rate as two divisions by hand say."""
    flags, mean = np.array([[1.0], [0.5], [0.0]]), np.array([2.0, 2.0, 4.0])
    noise = np.array([[1.0, 1.0, 1.0], [2.0, 1.0, 1.0]])
    expected = (3 / 8 + 5 / 10) / 2
    assert study.expected_rates(flags, mean, noise) == pytest.approx([expected], abs=1e-15)
    assert study.expected_rates(flags, mean, noise[:1]) == pytest.approx([3 / 8], abs=1e-15)


def test_new_noise_is_that_of_the_cities(study):
    """Fields have mean 1 and the variance exp(v) - 1 of a log-Gaussian field; worlds without noise have none."""
    for noise, law in study.NOISES.items():
        fields = study.patches(noise, 30)
        if not law:
            assert fields.tolist() == [[1.0] * 900]
            continue
        assert fields.shape == (study.N_FIELDS, 900)
        assert fields.mean() == pytest.approx(1.0, abs=0.05)
        assert np.log(fields).var() == pytest.approx(law["noise_variance"], rel=0.1)


def test_the_paired_interval_is_that_of_mcnemar(study):
    """With flags of 0 and 1 the interval is the published one, from the incidents that only one surface has."""
    counts = np.array([5.0, 7.0, 2.0, 11.0])
    first, second = np.array([[1.0], [1.0], [0.0], [0.0]]), np.array([[1.0], [0.0], [1.0], [0.0]])
    only_first, only_second, total = 7, 2, 25
    error = np.sqrt(only_first + only_second - (only_first - only_second) ** 2 / total) / total
    lower, upper = study.paired_wald(counts, first, second)
    assert (lower + upper) / 2 == pytest.approx([(only_first - only_second) / total], abs=1e-15)
    assert (upper - lower) / 2 == pytest.approx([1.959963984540054 * error], abs=1e-15)


def test_the_coarse_surface_keeps_the_incidents_of_each_square(study):
    """It is flat within squares of 6 cells, and has their totals."""
    city = study.draw("P", 1, 30)
    fine, coarse = (city.grid.to_raster(one) for one in study.surfaces(city))
    assert fine[:6, 6:12].std() > 0
    for row in range(0, 30, 6):
        for column in range(0, 30, 6):
            square = np.s_[row : row + 6, column : column + 6]
            assert coarse[square] == pytest.approx(np.full((6, 6), fine[square].mean()), rel=1e-12)


def test_without_patches_counting_holds_what_it_says(study):
    """Where incidents are independent, the score interval of the hit rate holds the true one in 95 of 100 cities."""
    rows = pd.DataFrame(
        [row for seed in range(60) for row in study.judge("P", 900_000 + seed, 30, ())],
    )
    own = rows[(rows["quantity"] == "PAI") & (rows["share"] == 0.2)]
    assert len(own) == 60
    held = int(own[study.GENERAL].sum())
    assert binomtest(held, 60, 0.95).pvalue > 0.001
    assert (own[study.GENERAL] == own[study.HERE]).all()  # without noise both are the same rate


def test_what_falls_short_is_said(study):
    """A share is in bold, and in the list, if its own 95 % interval ends below .95; 93 of 100 may be luck."""
    rows = pd.DataFrame(
        [
            {
                "noise": noise,
                "side": study.SIDE,
                "method": method,
                "quantity": quantity,
                "share": share,
                "width": 1.0,
                study.GENERAL: city >= (20 if (noise, method, share) == ("L2", 1, 0.05) else 7),
                study.HERE: True,
            }
            for noise in study.NOISES
            for method in (study.COUNTING, *study.BLOCKS)
            for quantity in study.QUANTITIES
            for share in study.SHARES
            for city in range(100)
        ]
    )
    coverage = study.Coverage(rows)
    assert coverage.share(study.GENERAL, "P", 15, "PAI") == 0.93
    assert coverage.said(0.93) == "0.930"
    assert coverage.said(0.80) == "**0.800**"
    assert study.shortfalls(coverage) == [
        f"- {what}, bootstrap of cells: 0.800 with L2 noise and 5 % flagged."
        for what in ("PAI", "the difference of two hit rates")
    ]
    assert study.methods_table(coverage, "PAI").count("**0.800**") == 1


def test_the_page_is_the_one_of_this_script(study):
    """The page names the command, the seeds and every published figure; its tables have one width each."""
    page = study.PAGE.read_text(encoding="utf-8")
    assert "python benchmarks/pai_intervals.py" in page
    for noise, first in study.FIRST_SEED.items():
        assert f"{noise} {first:,}" in page
    for known in study.PUBLISHED.values():
        assert " / ".join(f"{one:.3f}" for one in known) in page
    for block in page.split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1
