"""The data-quality card: its figures are those counted by hand."""

import json
import re

import geopandas as gpd
import pandas as pd
import pytest
from click.testing import CliRunner
from shapely import box

import rtmkc as rtm
from rtmkc.cli import main
from rtmkc.errors import InputError, StudyError
from rtmkc.output.card import write_card

STUDY = """
[study]
name = "City"
boundary = "area.geojson"
block_length = "100 m"

[incidents]
file = "crimes.csv"
provenance = "policing"

[[factors]]
name = "bars <b>"
file = "bars.csv"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Twelve crimes: eight at one place, one without place, one of 1899, one of 2150, one far off; months 3 to 5 empty."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1735689600")  # 2025-01-01
    rows = [("2023-01-05", 39.1, -94.5)] * 2
    rows += [(f"2023-02-{day:02}", 39.1, -94.5) for day in range(1, 7)]
    rows += [("2023-06-01", None, None), ("1985-01-01", 39.101, -94.501), ("2150-01-01", 39.102, -94.502)]
    rows += [("2023-06-30", 39.9, -94.5)]
    table = pd.DataFrame(rows, columns=["date", "lat", "lon"]).assign(offense="Theft", Victim_Race="x")
    table.to_csv(tmp_path / "crimes.csv", index=False)
    bars = pd.DataFrame({"lat": [39.1, 39.2], "lon": [-94.5, -94.5]})
    bars.to_csv(tmp_path / "bars.csv", index=False)
    outline = box(-94.6, 39.05, -94.4, 39.15)
    gpd.GeoDataFrame(geometry=[outline], crs="EPSG:4326").to_file(tmp_path / "area.geojson")
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    return tmp_path


@pytest.mark.filterwarnings("ignore::rtmkc.errors.DataWarning")
def test_the_figures_of_a_study_are_those_of_its_files(folder):
    """Rows, places, dates, repeats, dominant places and what lies outside, layer by layer."""
    card = rtm.check_data(folder / "study.toml")
    crimes, bars = card.layers
    assert (card.title, crimes["role"], bars["name"]) == ("City", "incidents", "bars <b>")
    assert (crimes["ledger"]["read"], crimes["ledger"]["used"]) == (12, 11)
    assert crimes["located"] == pytest.approx(11 / 12)
    assert crimes["dates"]["impossible"] == 2
    assert crimes["dates"]["impossible_such_as"] == ["1985-01-01", "2150-01-01"]
    assert (crimes["dates"]["first"], crimes["dates"]["last"]) == ("2023-01-05", "2023-06-30")
    assert crimes["dates"]["months"] == {
        "2023-01": 2, "2023-02": 6, "2023-03": 0, "2023-04": 0, "2023-05": 0, "2023-06": 1,
    }  # fmt: skip
    assert crimes["repeats"] == 1
    assert crimes["outside"] == 1
    assert crimes["personal_columns"] == ["Victim_Race"]
    assert bars["outside"] == 1
    assert "provenance unstated" in bars["look_at"]
    assert "2 impossible dates" in crimes["look_at"]
    assert "only 92 % located" in crimes["look_at"]
    assert card.to_frame()["used"].tolist() == [11, 2]


@pytest.mark.filterwarnings("ignore::rtmkc.errors.DataWarning")
def test_a_file_is_checked_without_a_study(folder):
    """The file is taken for what it looks like; nothing is outside, as there is no area."""
    (card,) = rtm.check_data(folder / "crimes.csv").layers
    assert (card["role"], card["outside"], card["ledger"]["used"]) == ("incidents", None, 11)


def test_places_that_dominate_are_listed(tmp_path):
    """Ten of twelve points at one place are 83 %, with its coordinates."""
    table = pd.DataFrame({"lat": [39.1] * 10 + [39.2, 39.3], "lon": [-94.5] * 12})
    table.to_csv(tmp_path / "a.csv", index=False)
    (card,) = rtm.check_data(tmp_path / "a.csv").layers
    (place,) = card["dominant_places"]
    assert (place["latitude"], place["longitude"], place["points"]) == (39.1, -94.5, 10)
    assert "83 % at one place (39.10000, -94.50000)" in card["look_at"]


@pytest.mark.filterwarnings("ignore::rtmkc.errors.DataWarning")
def test_types_that_are_not_mapped_are_counted():
    """Of the sample's 311 requests 560 are of types that the map does not know, potholes in streets most of all."""
    (card,) = rtm.check_data(rtm.sample_path("requests_311.csv")).layers
    assert card["unmapped"]["unmapped"] == 560
    assert card["unmapped"]["types"][0] == {"type": "A Pothole > Pothole in Street", "rows": 204}
    assert card["unmapped"]["factors"]["illegal dumping"] == 547
    assert sum(card["unmapped"][fate] for fate in ("mapped", "left out", "unmapped")) == 3_189


@pytest.mark.filterwarnings("ignore::rtmkc.errors.DataWarning")
def test_the_card_of_the_sample_study_knows_shared_files():
    """Five factors of one file: its unmapped types are listed once, and its share located is that of the file."""
    card = rtm.check_data(rtm.sample_path("study.toml"))
    assert [layer["role"] for layer in card.layers][:2] == ["incidents", "factors[0]"]
    assert len(card.layers) == 9


@pytest.mark.filterwarnings("ignore::rtmkc.errors.DataWarning")
def test_the_page_is_one_file_and_shows_names_as_text(folder):
    """No scripts, no links, and names from files are escaped."""
    card = rtm.check_data(folder / "study.toml")
    write_card(folder / "card.html", card.title, card.layers)
    page = (folder / "card.html").read_text(encoding="utf-8")
    assert "bars &lt;b&gt;" in page
    assert "<b>" not in page
    assert not re.search(r"<script|<a |https?://(?!www.w3.org)", page)
    assert page.count("<rect") == 6
    assert "2023-03" in page


def test_the_command_prints_a_table_json_or_a_page(folder):
    """Table on stdout, --json for machines, -o for people; exit code 0."""
    study = str(folder / "study.toml")
    done = CliRunner().invoke(main, ["check", study, "-q"])
    assert done.exit_code == 0, done.output
    assert "incidents: 2 impossible dates" in done.stdout
    done = CliRunner().invoke(main, ["check", study, "--json", "-q"])
    assert json.loads(done.stdout)["layers"][0]["ledger"]["read"] == 12
    done = CliRunner().invoke(main, ["check", study, "-o", str(folder / "card.html")])
    assert (done.exit_code, done.stdout) == (0, "")
    assert (folder / "card.html").stat().st_size > 3000


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("none.csv", InputError, "There is no such file"),
        ("none.toml", StudyError, "It cannot be read"),
        ("bad.csv", InputError, "It cannot be checked: No columns of coordinates were found in: a"),
    ],
)
def test_what_cannot_be_checked_is_said(tmp_path, name, error, said):
    """A missing file, a missing study, and a table without places."""
    (tmp_path / "bad.csv").write_text("a\n1\n", encoding="utf-8")
    with pytest.raises(error, match=said):
        rtm.check_data(tmp_path / name)
