"""The section "Who is looked at": which columns and rows it shows, and that names are shown and never run."""

import re

import numpy as np
import pandas as pd
import pytest

from rtmkc.evidence.bias import BiasPanel
from rtmkc.output.bias import SHOWN, bias_record, bias_rows
from rtmkc.output.report import write_report
from rtmkc.output.terminal import result_lines


def panel_of(count, *, nowhere=0.0, residents=False, without=False):
    """A panel of so many districts, made by hand."""
    names = ["<b>East</b>", *(f"district {number}" for number in range(2, count + 1)), "in no district"]
    table = pd.DataFrame({"district": names, "area_share": [(1 - nowhere) / count] * count + [nowhere]})
    table["incidents"], table["incidents_share"] = 10.0, 0.25
    table.loc[count, ["incidents", "incidents_share"]] = 0.0
    if residents:
        table["residents_share"] = [0.3] * count + [np.nan]
    table["flagged_share"], table["flagged_share_low"], table["flagged_share_high"] = 0.4, 0.061, 0.55
    if without:
        table["flagged_share_without"] = 0.123
    scenarios = pd.DataFrame({"district": ["<b>East</b>"], "reporting_rate": [0.8]})
    return BiasPanel(table, scenarios, ("stops",) if without else (), ("First.", "<i>Second</i>."))


def section_of(tmp_path, terrain, panel):
    """The section of a report, as HTML."""
    hotspots = terrain.hotspots(count=5)
    write_report(tmp_path / "report.html", terrain, hotspots=hotspots, bias=panel, overwrite=True)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    return html.partition("<h2>Who is looked at</h2>")[2].partition("</section>")[0]


def test_sentences_come_first_and_then_the_table(tmp_path, make_terrain):
    """Both are escaped; the range over all scenarios stands beside the share as reported."""
    html = section_of(tmp_path, make_terrain(), panel_of(3))
    assert html.index("First.") < html.index("&lt;i&gt;Second&lt;/i&gt;.") < html.index("<table>")
    assert "<b>East" not in html
    row = re.findall(r"<td.*?>(.*?)</td>", html)[:5]
    assert row == ["&lt;b&gt;East&lt;/b&gt;", "33 %", "25 %", "40 %", "6.1 % to 55 %"]
    assert "Residents" not in html
    assert "without" not in html


def test_residents_and_policing_have_columns_only_where_they_are_known(tmp_path, make_terrain):
    """The columns, and the names of what was left out."""
    html = section_of(tmp_path, make_terrain(), panel_of(3, residents=True, without=True))
    row = re.findall(r"<td.*?>(.*?)</td>", html)[:7]
    assert row[2] == "30 %"
    assert row[6] == "12 %"
    assert "Without: the models fitted again without stops." in html


@pytest.mark.parametrize(("nowhere", "rows"), [(0.0, 3), (0.1, 4)])
def test_what_lies_in_no_district_is_shown_if_there_is_any(nowhere, rows):
    """An empty remainder is no row; one with land is, though its residents are not known."""
    found = bias_rows(panel_of(3, nowhere=nowhere, residents=True))
    assert len(found["rows"]) == rows
    if nowhere:
        assert found["rows"][-1]["district"] == "in no district"
        assert found["rows"][-1]["residents"] == "not known"


def test_many_districts_are_cut_and_said_to_be(tmp_path, make_terrain):
    """The most flagged come first; the file has all."""
    html = section_of(tmp_path, make_terrain(), panel_of(SHOWN + 5, nowhere=0.1))
    assert html.count("<tr>") == 1 + SHOWN + 1
    assert f"The first {SHOWN} of {SHOWN + 5} districts; bias.csv has all." in html
    assert len(bias_record(panel_of(SHOWN + 5))["table"]) == SHOWN + 6


def test_without_districts_there_is_no_section(tmp_path, make_terrain):
    """No panel, no heading."""
    assert section_of(tmp_path, make_terrain(), None) == ""
    assert bias_rows(None) is None


def test_a_terminal_has_the_sentences(make_terrain):
    """They stand under their heading, one a line; without districts there is none."""
    terrain = make_terrain()
    corridors = pd.DataFrame()
    corridors.attrs = {"statement": "none", "multiple_of": "the typical street"}
    hotspots = terrain.hotspots(count=5)
    lines = list(result_lines(terrain, hotspots, corridors, bias=panel_of(3)))
    start = lines.index("Who is looked at")
    assert lines[start + 1 : start + 3] == ["  First.", "  <i>Second</i>."]
    assert "Who is looked at" not in list(result_lines(terrain, hotspots, corridors))
