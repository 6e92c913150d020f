"""The report: self-contained, honest, safe, and complete."""

import base64
import re
from html.parser import HTMLParser

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from rtmkc.errors import DataWarning, OutputError
from rtmkc.inputs.ledger import Ledger
from rtmkc.output.report import SHOWN, concentration, left_out, write_report

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """Tags, attributes, headings and text of a page; open tags must close in order."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text, self.tables, self.open = [], [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tbody":
            self.tables.append(0)
        if tag == "tr" and "tbody" in self.open:
            self.tables[-1] += 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture(autouse=True)
def _fixed_clock(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


@pytest.fixture(scope="module")
def terrain(make_terrain):
    return make_terrain()


@pytest.fixture(scope="module")
def corridors(terrain):
    west, north = terrain.grid.west, terrain.grid.north
    lines = [
        shapely.LineString([(west + 500, north - 100 * k), (west + 1500, north - 100 * k)]) for k in range(12)
    ]
    count = len(lines)
    table = gpd.GeoDataFrame(
        {
            "rank": range(1, count + 1), "name": ["Independence Avenue <east>"] * count,
            "from_street": ["Benton"] * count, "to_street": ["Hardesty"] * count, "length_m": 1000.0,
            "expected": 12.3, "expected_per_km": 12.3, "excess": 8.0, "city_multiple": 4.1,
            "incidents": 33.25,
            "top_factors": "poor lighting 80 %",
        },
        geometry=lines, crs=terrain.grid.crs,
    )  # fmt: skip
    table.attrs.update(statement="the best of 1,234 stretches.", notes=["12 blocks left out"])
    return table


def report(tmp_path, terrain, **options):
    options.setdefault("hotspots", terrain.hotspots())
    write_report(tmp_path / "report.html", terrain, overwrite=True, **options)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    return html, Page(html)


def test_the_report_needs_nothing_from_anywhere(tmp_path, terrain, corridors):
    """No script, no link, no address: the pictures are inside, as PNG."""
    html, page = report(tmp_path, terrain, corridors=corridors, areas=terrain.hotspots(areas=True))
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    sources = [value for _, name, value in page.attributes if name in ("src", "href", "srcset")]
    assert len(sources) == 3
    for source in sources:
        kind, data = source.split(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data).startswith(b"\x89PNG")
    assert not re.search(r"https?:|url\(|@import", html)
    assert all(value for tag, name, value in page.attributes if (tag, name) == ("img", "alt"))


def test_names_of_files_are_shown_and_never_run(tmp_path, make_terrain):
    """Tags in the names of factors, areas, files and titles appear as text."""
    attack = "<script>alert(1)</script>"
    terrain = make_terrain(factors=(attack,))
    terrain.facts["factors"][0]["source"] = attack
    terrain.facts["factors"][0]["notes"] = [f'"><img src=x onerror="{attack}">']
    ledger = Ledger.of(attack, 3).drop(attack, 1)
    hotspots = terrain.hotspots()
    hotspots["name"] = attack
    hotspots.attrs["statement"] = attack
    html, page = report(tmp_path, terrain, title=attack, hotspots=hotspots, ledgers=[ledger])
    assert "script" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert attack not in html
    assert page.words.count(attack) >= 15


def test_the_first_page_says_what_was_found(tmp_path, terrain, corridors):
    """Incidents, dates, strongest factors in words, concentration and first corridor come first."""
    _, page = report(tmp_path, terrain, title="Northeast 2024", corridors=corridors)
    first = page.words.split("Next corridors")[0]
    assert f"{terrain.facts['n_incidents']:,} incidents, 2021-01-01 to 2023-12-31" in first
    assert "2 of the 3 factors tried have to do with where incidents happen" in first
    assert "poor lighting x2.40 (95 % interval 2.00 to 2.88; marks " in first
    assert "Within 200 m (656 ft, 1 block) of poor lighting, places have 2.40 times the incidents" in first
    assert "of the incidents expected in 90 days" in first
    assert "not a test of it" in first
    assert "Independence Avenue <east> , Benton to Hardesty" in first.replace(">,", "> ,")


def test_concentration_counts_shares_of_area_and_of_expected(make_terrain):
    """Hand-made: two of four cells hold 16/20 of what is expected on half of the area."""
    flat = make_terrain(n_rows=2, n_columns=2)
    flat.cells["expected"] = [8.0, 3.0, 8.0, 1.0]
    found = concentration(flat, flat.hotspots(count=2))
    assert found == {"n_cells": 2, "expected": pytest.approx(0.8), "area": pytest.approx(0.5)}


def test_no_significant_factor_is_a_result(tmp_path, make_terrain):
    """Without factors the report says so first, says it of each place, and still ranks them."""
    terrain = make_terrain(factors=())
    _, page = report(tmp_path, terrain)
    assert "no significant factor. The one factor tried is not in the model. That is a result" in page.words
    assert "the relative risk score is 1 everywhere" in page.words
    assert terrain.hotspots()["why"].iloc[0] in page.words
    assert "the model is better without it, by BIC" in page.words


def test_contemporaneous_is_said_prominently(tmp_path, make_terrain, terrain):
    """Factors that reach into the period make the first box of the page; others do not."""
    said = "Contemporaneous, not a forecast."
    _, page = report(tmp_path, make_terrain(timing="contemporaneous, not a forecast"))
    assert page.words.index(said) < page.words.index("Why here")
    _, page = report(tmp_path, terrain)
    assert said not in page.words
    assert "Time: All factors precede the incidents. Not adjusted" in page.words


def test_why_and_where_are_two_blocks(tmp_path, terrain):
    """Each block has its own heading and says that it is not multiplied into the other."""
    html, page = report(tmp_path, terrain)
    assert re.findall(r"<h2>(.*?)</h2>", html)[:2] == ["Where next", "Why here"]
    assert "they are not multiplied into the expected incidents" in page.words
    assert "Expected incidents = city mean x environment x area history x spot history" in page.words


def test_tables_show_ten_rows_and_say_where_the_rest_is(tmp_path, terrain, corridors):
    """Of 12 corridors and 15 cells ten are shown, and the files are named that have all."""
    _, page = report(tmp_path, terrain, hotspots=terrain.hotspots(count=15), corridors=corridors)
    assert page.tables[:2] == [SHOWN, SHOWN]
    assert "The first 10 of 12; corridors.csv has all." in page.words
    assert "The first 10 of 15; hotspots.csv has all." in page.words
    assert "The best of 1,234 stretches." in page.words


def test_every_row_is_accounted_for(tmp_path, terrain):
    """The ledger shows what was read, used, merged and left out, with reasons."""
    ledger = Ledger.of("incidents", 1300).merge("same event", 9).drop("outside the study area", 60)
    _, page = report(tmp_path, terrain, ledgers=[ledger, Ledger.of("streets", 5)])
    assert "incidents 1,300 1,231 9 merged: same event 60 left out: outside the study area" in page.words
    assert "streets 5 5 none" in page.words


def test_everything_a_reader_must_know_is_there(tmp_path, terrain):
    """Method, cell size in both units, system, seeds, versions, provenance, caveats and disclaimer."""
    _, page = report(tmp_path, terrain)
    for fact in (
        "the published RTMDx procedure",
        "720 of 100 m (328 ft)",
        "NAD83 / UTM zone 15N (EPSG:26915)",
        "7 (weights), 8 (forecast)",
        "rtmkc 0.1.0, Python 3.",
        "community-reported",
        "2020-01-01 to 2020-12-31",
        "95 % Wald intervals, too narrow.",
        "90 % gamma-Poisson predictive intervals.",
        "Not adjusted for how busy places are.",
        *terrain.facts["cannot_know"],
        "not a publication of any police department",
        "written 2023-11-14T22:13:20Z",
    ):
        assert fact in page.words, fact


def test_weights_with_and_without_exposure_stand_side_by_side(tmp_path, terrain):
    """A factor that only one of the two models has is said to be missing in the other."""
    without = terrain.weights.copy()
    without.loc[0, "rrv"] = 3.5
    without.loc[1, "status"] = "not in the model"
    _, page = report(tmp_path, terrain, exposure_comparison=without)
    assert "poor lighting x2.40 (2.00 to 2.88) x3.50 (2.00 to 2.88)" in page.words
    assert "vacant houses x2.70 (2.25 to 3.24) not in the model" in page.words


@pytest.fixture
def undated(make_terrain):
    terrain = make_terrain(period=None, period_days=None)
    terrain.horizon_days = None
    return terrain


def test_incidents_without_a_period_are_said_to_have_none(tmp_path, undated, corridors):
    """Where no period is known that is said once, first, and every value is relative: no rate, no interval."""
    _, page = report(tmp_path, undated, corridors=corridors, areas=undated.hotspots(areas=True))
    said = "there is no rate and no 90-day figure; values are relative."
    assert page.words.count(said) == 1
    assert page.words.index(said) < page.words.index("Why here")
    for words in ("90 days", "which is not known", "Expected per km", "with a 90 % predictive interval"):
        assert words not in page.words, words
    assert "period not known" in page.words
    share = 12.3 / undated.cells["expected"].sum()
    assert f"{100 * share:.{1 if share < 0.0995 else 0}f} %" in page.words
    assert "x4.10 the typical street" in page.words


def test_the_caution_about_intervals_is_on_the_first_page(tmp_path, terrain, make_terrain):
    """Beside the factors stands that the intervals are too narrow and that false factors are picked."""
    _, page = report(tmp_path, terrain)
    first = page.words.split("Where next:")[0]
    assert "The intervals are too narrow" in first
    assert "picks false factors where incidents cluster for reasons that no layer shows" in first
    _, page = report(tmp_path, make_terrain(factors=()))
    assert "picks false factors" not in page.words


def test_a_factor_that_marks_most_cells_is_flagged_twice(tmp_path, make_terrain):
    """88 % of the cells: said on the first page and in the table; the other factor is not flagged."""
    terrain = make_terrain()
    terrain.weights.loc[0, "n_cells"] = 0.88 * terrain.grid.n_cells
    _, page = report(tmp_path, terrain)
    flag = "It marks 88 % of the cells: it says little about where in the built-up city."
    assert page.words.count(flag) == 2
    assert page.words.index(flag) < page.words.index("Where next:")
    assert page.words.count("it says little about where") == 2


def test_what_is_treated_is_named_beside_the_first_corridor(tmp_path, terrain, corridors):
    """The street left out is named, and so are the hot spots that lie on it."""
    hotspots = terrain.hotspots(count=12)
    line = shapely.LineString(list(hotspots.geometry.iloc[:2].centroid))
    touched = [int(rank) for rank in hotspots["rank"][:SHOWN][hotspots.geometry[:SHOWN].intersects(line)]]
    treated = gpd.GeoDataFrame({"name": ["Oak <Street>"]}, geometry=[line], crs=terrain.grid.crs)
    _, page = report(tmp_path, terrain, corridors=corridors, hotspots=hotspots, treated=treated)
    assert {1, 2} <= set(touched)
    ranks = ", ".join(map(str, touched[:-1])) + f" and {touched[-1]}"
    first = page.words.split("Time:")[0]
    assert f"Left out: Oak <Street> (worked already); hot-spot cells {ranks} lie on it." in first


def test_places_treated_without_a_name_are_counted(tmp_path, terrain, corridors):
    """A layer of treated places without a column of names still says how many there are."""
    far = [shapely.Point(9, 9), shapely.Point(1, 1)]
    treated = gpd.GeoDataFrame({"cost": [1.5, 2.5]}, geometry=far, crs=terrain.grid.crs)
    assert left_out(terrain, treated, terrain.hotspots()) == "2 places (worked already)"
    with pytest.warns(DataWarning, match="nothing is left"):
        assert left_out(terrain, treated.iloc[:0], terrain.hotspots()) == ""


def test_corridors_of_cells_say_that_no_streets_were_given(tmp_path, terrain):
    """Without streets the first page says so, places stand in brackets, and no rate per km is claimed."""
    seams = terrain.corridors()
    assert len(seams)
    _, page = report(tmp_path, terrain, corridors=seams)
    first = page.words.split("Time:")[0]
    assert "No streets given: corridors are chains of cells." in first
    assert re.search(r"seam, \(\d+\.\d{4}, -\d+\.\d{4}\) to \(\d+\.\d{4}, -\d+\.\d{4}\): ", first)
    assert "the average cell" in first
    assert "per km)" not in first


def test_corridors_show_their_interval_and_the_streets_of_a_turn(tmp_path, terrain, corridors):
    """Expected incidents stand above their 90 % interval; a corridor that turns says along which streets."""
    table = corridors.assign(
        lower=2.0, upper=11.0, turns=[1.0] + [0.0] * (len(corridors) - 1), via="Oak Street, then Elm Street"
    )
    table.attrs = corridors.attrs
    _, page = report(tmp_path, terrain, corridors=table)
    assert page.words.count("along Oak Street, then Elm Street") == 1
    assert "2 to 11" in page.words
    assert "Expected: incidents in 90 days, with a 90 % predictive interval. Excess" in page.words
    _, page = report(tmp_path, terrain, corridors=corridors)
    assert "Expected: incidents in 90 days. Excess" in page.words


def test_corridors_of_streets_say_what_they_are_compared_with(tmp_path, terrain, corridors):
    """The rate per km, the typical street, and why incidents on a street need not be whole."""
    _, page = report(tmp_path, terrain, corridors=corridors)
    assert "12.3 incidents expected in 90 days (12.3 per km), x4.10 the typical street" in page.words
    assert "a cell's count is shared among the streets near it, so they need not be whole" in page.words
    assert "No streets given" not in page.words


def test_what_it_cannot_know_holds_only_what_it_cannot_know(tmp_path, terrain, make_terrain):
    """The order in time and an exposure are facts; that it scores places is a line of its own."""
    words = "What this cannot know"
    _, page = report(tmp_path, terrain)
    part = page.words.split(words)[1].split("What it was made of")[0]
    assert "precede" not in part
    assert "Not adjusted for how busy places are." in part
    assert part.count("It scores places, never people.") == 1
    assert part.rstrip().endswith("It scores places, never people.")
    unknown = "the order in time of factors and incidents is not known: the incidents have no period"
    _, page = report(tmp_path, make_terrain(exposure="adjusted for parcels", timing=unknown))
    part = page.words.split(words)[1].split("What it was made of")[0]
    assert "adjusted" not in part
    assert "The order in time of factors and incidents is not known" in part


def test_curves_say_how_they_act_and_which_factors_have_none(tmp_path, make_terrain):
    """Curves multiply and are tempered; a factor without an effect has a row that says so."""
    step = {"factor": "bus stops", "kind": "proximity", "bandwidth_m": np.nan}
    terrain = make_terrain(curves=[{**step, "from_m": 0.0, "to_m": 200.0, "multiplier": 2.0}])
    _, page = report(tmp_path, terrain)
    assert "All curves of all factors are multiplied with one another" in page.words
    assert "raised to the power 0.800 (the tempering)" in page.words
    assert "bus stops x2.00 within 200 m (656 ft) no effect above 5 %" in page.words
    assert "poor lighting no effect above 5 % no effect above 5 %" in page.words


def test_nothing_found_is_said(tmp_path, terrain, corridors):
    """No corridor, and no hot spot above the cut, are sentences instead of empty tables."""
    _, page = report(tmp_path, terrain, hotspots=terrain.hotspots().iloc[:0], corridors=corridors.iloc[:0])
    assert "No stretch is worth its length" in page.words
    assert "No cell passes the cut" in page.words


def test_the_same_input_gives_the_same_report(tmp_path, terrain):
    """With SOURCE_DATE_EPOCH two reports are equal to the byte, pictures included."""
    assert report(tmp_path, terrain)[0] == report(tmp_path, terrain)[0]


def test_a_report_that_exists_is_kept(tmp_path, terrain):
    """Without overwrite the old report stays as it is."""
    (tmp_path / "r.html").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        write_report(tmp_path / "r.html", terrain, hotspots=terrain.hotspots())
    assert (tmp_path / "r.html").read_text() == "mine"


def test_a_fitted_city_is_reported(tmp_path):
    """A city with known truth, fitted for real, comes out with its factors, curves and runner-ups."""
    import rtmkc as rtm

    city = rtm.simulate_city(
        n_rows=30, n_columns=30, n_factors=2, active={0: ("proximity", 3, 4.0)}, random_state=1
    )
    terrain = rtm.assess(city.grid, city.risk_factors(), city.incidents, method="classic")
    assert np.isfinite(terrain.cells["expected"]).all()
    _, page = report(tmp_path, terrain, areas=terrain.hotspots(areas=True))
    assert "factor 0" in terrain.factors
    assert "of factor 0, places have" in page.words
    assert "BIC (n = cells)" in page.words
    assert "Next best kind and distance" in page.words


def test_guarded_weights_are_told_with_reach_noise_and_chance(tmp_path, make_terrain):
    """Reach, noise, p for all factors and patches are said; the interval's caution of classic weights is not."""
    _, page = report(tmp_path, make_terrain(method="guarded"))
    first = page.words.split("Where next:")[0]
    assert (
        "2 of the 4 factors tried have to do with where incidents happen; the map is too small to decide on liquor"
        in first
    )
    assert "It acts within 100 to 300 m (328 to 984 ft), or by density within 100 m" in first
    assert "Risk also varies in patches about 1.1 km (0.7 mi) wide that no factor explains" in first
    assert "picks false factors" not in page.words
    assert "poor lighting proximity, 200 m (656 ft, 1 block) x2.40 2.00 to 2.88 0.004" in page.words
    assert "The map's noise costs this factor a 2.1-fold width of its interval." in page.words
    assert "all factors tried taken together; a factor enters the model at 0.05 or below" in page.words
    assert "guarded: every factor tested by random shifts" in page.words
    assert "correlated noise: patches of log variance 0.4 and range 1,150 m" in page.words
    assert "Next best kind and distance" not in page.words


def test_an_interval_that_includes_one_is_explained_where_it_stands(tmp_path, make_terrain):
    """On the first page and in the table of weights; a report whose intervals stay clear of 1 has no such sentence."""
    sentence = "That it matters is clearer than how much: its interval includes 1."
    terrain = make_terrain(method="guarded")
    _, clear = report(tmp_path, terrain)
    assert sentence not in clear.words
    terrain.weights.loc[1, "lower"] = 0.97
    _, page = report(tmp_path, terrain)
    first, _, rest = page.words.partition("Where next:")
    assert (first.count(sentence), rest.count(sentence)) == (1, 1)


def test_what_is_not_decided_is_not_what_is_not_in_the_model(tmp_path, make_terrain):
    """Each has a table of its own, with p, reason and how many shifts its map holds."""
    _, page = report(tmp_path, make_terrain(method="guarded"))
    out, open_ones = page.words.split("Factors not in the model")[1].split("Factors not decided")
    assert (
        "bus stops 0.42 it fits no better where it is than where it is moved to 90 independent shifts" in out
    )
    assert "neither for nor against them" in open_ones
    assert "liquor stores 0.030 the map is too small to decide: 12 independent shifts, below 20" in open_ones
    _, page = report(tmp_path, make_terrain())
    assert "Factors not decided" not in page.words


def test_a_map_too_small_for_anything_is_not_a_result_against_factors(tmp_path, make_terrain):
    """Where every factor is undecided the report does not say that nothing was found."""
    terrain = make_terrain(factors=(), method="guarded")
    terrain.weights["status"] = "not decided"
    _, page = report(tmp_path, terrain)
    assert (
        "Whether any of the 2 factors tried matters is not decided: the map is too small. That is neither for"
        in page.words
    )
    assert "That is a result" not in page.words
    assert "nothing here to repair" not in page.words
    assert "A larger study area, or factors that are less spread out, could decide." in page.words


def test_a_classic_factor_that_shifts_do_not_support_is_warned_of(tmp_path, make_terrain):
    """The warning is on the first page and below the table; without such a factor there is none."""
    terrain = make_terrain()
    _, page = report(tmp_path, terrain)
    assert "Do not rely on" not in page.words
    terrain.weights.loc[0, "shift_p"] = 0.2
    _, page = report(tmp_path, terrain)
    assert page.words.count("Do not rely on poor lighting: moved elsewhere") == 2
    assert page.words.index("Do not rely on") < page.words.index("Where next:")
    assert "x2.40 2.00 to 2.88 0.20" in page.words


def test_what_factors_add_to_history_is_said_where_it_is_known(tmp_path, make_terrain):
    """The sentence of the forecast stands beside where next, on the first page."""
    terrain = make_terrain()
    terrain.facts["where"]["gain"] = "the factors add +0.021 nats to history alone"
    _, page = report(tmp_path, terrain)
    assert "The factors add +0.021 nats to history alone." in page.words.split("Time:")[0]


def test_the_line_on_intervals_is_the_one_that_explains_them(tmp_path, make_terrain):
    """A note that only names an interval, such as that of the gain, is not taken for it; ages are told if they weigh."""
    terrain = make_terrain()
    terrain.facts["where"]["notes"].insert(0, "the factors add 0.02 nats (95 % interval 0.01 to 0.03)")
    terrain.facts["where"]["decay_days"] = 1461.0
    _, page = report(tmp_path, terrain)
    part = page.words.split("Hot-spot cells")[1].split("Curves: the environment")[0]
    assert part.rstrip().endswith("90 % gamma-Poisson predictive intervals.")
    assert "4.00 at 500 m (1,640 ft), 2.00 at 125 m (410 ft), 1.00 of the cell itself" in page.words
    assert "an incident weighs exp(-age / 1,461 days)" in page.words


def test_diagnostics_are_a_table_with_alarms_first(tmp_path, terrain):
    """Every check is there with value, meaning and advice; without checks there is no section."""
    checks = pd.DataFrame(
        [["incidents", "900", "Enough.", "", "fine"], ["exposure", "<b>none", "Busy.", "Give one.", "alarm"]],
        columns=["check", "value", "meaning", "advice", "status"],
    )
    html, page = report(tmp_path, terrain, diagnostics=checks)
    part = page.words.split("Diagnostics")[1]
    assert "alarm exposure <b>none Busy. Give one. fine incidents 900 Enough." in part
    assert "<b>none" not in html
    _, page = report(tmp_path, terrain)
    assert "Diagnostics" not in page.words
