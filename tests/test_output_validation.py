"""The page and plots of a validation, and the lines of diagnostics and validations on a terminal."""

import html as entities
import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from rtmkc.errors import OutputError
from rtmkc.evidence.contestants import FORECAST, ORACLE
from rtmkc.evidence.validation import validate
from rtmkc.output.diagnostics import check_lines, check_rows
from rtmkc.output.plots_validation import plot_calibration, plot_hit_rates
from rtmkc.output.terminal import validation_lines
from rtmkc.output.validation_page import write_validation_page
from rtmkc.simulate import simulate_city


@pytest.fixture(scope="module")
def found():
    city = simulate_city(
        n_rows=30, n_columns=30, n_factors=1, active={0: ("proximity", 3, 4.0)}, random_state=2
    )
    return validate(
        city.grid,
        city.risk_factors(),
        city.incidents,
        test="2023",
        baselines=False,
        n_bootstrap=100,
        block="500 m",
    )


@pytest.fixture
def ax():
    return Figure(layout="constrained").add_subplot()


class Page:
    """Text, tags and rows of tables of a page."""

    def __init__(self, html):
        text = re.sub(r"<style>.*?</style>|<title>.*?</title>|<[^>]+>", " ", html, flags=re.DOTALL)
        self.words = " ".join(entities.unescape(text).split())
        self.tags = set(re.findall(r"<(\w+)", html))
        self.tables = [
            body.count("<tr>") for body in re.findall(r"<tbody>(.*?)</tbody>", html, flags=re.DOTALL)
        ]


def page(tmp_path, found, title="City"):
    write_validation_page(tmp_path / "v.html", found, title=title, overwrite=True)
    html = (tmp_path / "v.html").read_text(encoding="utf-8")
    return html, Page(html)


def test_the_verdict_comes_first_and_everyone_has_a_row(tmp_path, found):
    """Heading, verdict, then a row for each contestant and pair, then what was tested on."""
    html, said = page(tmp_path, found)
    assert said.words.index(found.verdict[0]) < said.words.index("Everyone's scores")
    assert said.tables == [len(found.table), len(found.paired)]
    for line in (found.heading, *found.verdict, *found.statement):
        assert line in said.words
    assert not {"script", "link", "iframe"} & said.tags
    assert html.count("data:image/png;base64") == 2


def test_figures_are_those_of_the_tables(tmp_path, found):
    """The row of the forecast holds its nats, interval, hit rates and PAI."""
    row = found.table.set_index("contestant").loc[FORECAST]
    _, said = page(tmp_path, found)
    hits = " ".join(f"{100 * row[f'hit_{share}']:.1f}" for share in (1, 2, 5, 10))
    assert (
        f"{row['nats']:.3f} {row['nats_lower']:.3f} to {row['nats_upper']:.3f} {hits} {row['pai_5']:.2f}"
        in said.words
    )


@pytest.mark.parametrize(
    ("lower", "upper", "said"),
    [(0.01, 0.02, "better"), (-0.02, -0.01, "worse"), (-0.01, 0.01, "not told apart")],
)
def test_a_difference_is_told_by_its_interval(tmp_path, found, lower, upper, said):
    """Only an interval on one side of 0 says better or worse."""
    from dataclasses import replace

    paired = found.paired.iloc[:1].assign(nats=0.0, nats_lower=lower, nats_upper=upper)
    _, shown = page(tmp_path, replace(found, paired=paired))
    assert f"{lower:+.3f} to {upper:+.3f}" in shown.words
    assert said in shown.words.split("By nats")[1].split("Calibration")[0]


def test_a_zero_has_no_sign(tmp_path, found):
    """The uniform has 0.000 nats, whichever side of 0 rounding left it on."""
    from dataclasses import replace

    table = found.table.iloc[:1].assign(nats=-1e-15, nats_lower=-1e-15, nats_upper=0.0)
    _, said = page(tmp_path, replace(found, table=table))
    assert "uniform 0.000 0.000 to 0.000 " in said.words


def test_names_are_shown_and_never_run(tmp_path, found):
    """A title and a verdict with tags are text."""
    from dataclasses import replace

    attack = "<script>alert(1)</script>"
    html, said = page(tmp_path, replace(found, verdict=(attack,)), title=attack)
    assert "script" not in said.tags
    assert attack not in html
    assert said.words.count(attack) == 2


def test_a_page_that_exists_is_kept(tmp_path, found):
    """Without overwrite the old page stays."""
    (tmp_path / "v.html").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        write_validation_page(tmp_path / "v.html", found, title="x")


def test_hit_rates_are_drawn_as_they_are(found, ax):
    """Each contestant is a line of its own, at the hit rates of the table; the forecast is the thickest."""
    plot_hit_rates(found, ax=ax)
    lines = {line.get_label(): line for line in ax.lines}
    assert set(lines) == set(found.curves["contestant"])
    own = found.curves[found.curves["contestant"] == FORECAST]
    x, y = lines[FORECAST].get_data()
    np.testing.assert_allclose(y, 100 * own["hit_rate"].to_numpy()[: len(y)])
    np.testing.assert_allclose(x, 100 * own["area_share"].to_numpy()[: len(x)])
    assert max(lines, key=lambda name: lines[name].get_linewidth()) == FORECAST
    assert np.all(lines[ORACLE].get_ydata() >= y - 1e-9)


def test_calibration_is_drawn_as_it_is(found, ax):
    """Marks stand at observed / expected, bars from lower to upper, cells are counted below."""
    plot_calibration(found, ax=ax)
    own = found.calibration[found.calibration["contestant"] == FORECAST]
    marks = next(line for line in ax.lines if line.get_marker() == "o")
    np.testing.assert_allclose(marks.get_ydata(), own["ratio"])
    assert [text.get_text() for text in ax.texts] == [f"{cells:,.0f}" for cells in own["cells"]]
    made = plot_calibration(found, "past counts")
    assert made.get_title(loc="left") == "Calibration of past counts"
    plt.close(made.figure)


def test_a_tenth_without_incidents_stays_on_the_picture(found, ax):
    """A ratio of 0 has no place on a log axis; it stands at the lower edge, and the axis is finite."""
    from dataclasses import replace

    none = found.calibration.assign(ratio=0.0, lower=0.0, upper=np.inf)
    plot_calibration(replace(found, calibration=none), ax=ax)
    low, high = ax.get_ylim()
    assert 0 < low < high < 100


def test_lines_of_a_validation_keep_their_columns_and_no_codes(found):
    """The table stays in columns; codes that terminals obey are taken out."""
    from dataclasses import replace

    lines = list(validation_lines(replace(found, statement=("two\x1b[31m red",))))
    assert "two [31m red" in lines
    assert any(line.startswith(f"{FORECAST}   ") for line in lines)


def test_checks_that_are_not_fine_come_first():
    """Alarms, then what to look at, then the rest; a terminal has only the first two, or one line."""
    table = pd.DataFrame(
        [
            ("incidents", "900", "Enough.", "", "fine"),
            ("exposure", "none", "Busy.", "Give one.", "look"),
            ("noise", "far", "Not allowed for.", "", "alarm"),
        ],
        columns=["check", "value", "meaning", "advice", "status"],
    )
    assert [row["check"] for row in check_rows(table)] == ["noise", "exposure", "incidents"]
    assert check_lines(table) == ["alarm: noise, far.", "look: exposure, none. Give one."]
    assert check_lines(table.iloc[:1]) == ["all 1 checks are fine"]
    assert check_rows(None) is None


def test_json_holds_every_fact(found):
    """What `rtmkc validate --json` prints of a validation can be printed."""
    from rtmkc.output.terminal import plain_rows, plain_value

    said = plain_value({"facts": found.facts, "table": plain_rows(found.table)})
    assert json.loads(json.dumps(said, allow_nan=False))["facts"]["n_test"] == found.facts["n_test"]
