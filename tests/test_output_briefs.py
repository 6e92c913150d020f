"""Briefs: one page a corridor, its two answers apart, every name harmless, nothing of persons on it."""

import base64
import re
import shutil
import subprocess
from html.parser import HTMLParser

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import shapely.affinity
import shapely.ops

from rtmkc.errors import InputError, OutputError
from rtmkc.output.briefs import write_brief, write_briefs
from rtmkc.output.power_words import power_sentence
from rtmkc.output.words import NO_PERIOD
from rtmkc.places.corridors.explanation import explain_corridor

HOSTILE = "<script>alert('x')</script> & Sons $"


@pytest.fixture(autouse=True)
def _fixed_clock(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


@pytest.fixture(scope="module")
def terrain(make_terrain):
    return make_terrain(method="guarded")


def made_corridors(terrain, **columns):
    """Two corridors, from west to east and from south to north, as `find_corridors` gives them."""
    west, north = terrain.grid.west, terrain.grid.north
    table = {
        "rank": [1, 2], "corridor_id": ["c1", "c2"], "name": ["Independence Avenue", "Oak / Elm & Co. Street"],
        "from_street": ["Benton Boulevard", "near the end of Oak Street"], "to_street": ["Hardesty Avenue", "Truman Road"],
        "via": ["Independence Avenue", "Oak Street"], "turns": [0.0, 0.0], "length_m": [1000.0, 900.0], "blocks": [2, 3],
        "expected": [6.25, 3.0], "lower": [2.0, 0.0], "upper": [11.0, 7.0], "expected_per_km": [6.25, 3.33],
        "city_multiple": [4.2, 2.0], "incidents": [73.0, 30.5], "top_factors": "", "runner_up": ["Oak Street (3 expected)", ""],
        "why_not_longer": ["Benton Boulevard: the street ends there", ""], "gap": [0.0, 0.0], "p_length": np.nan,
        "p_factors": np.nan, "rank_stability": np.nan,
    }  # fmt: skip
    lines = [
        shapely.LineString([(west + 500, north - 750), (west + 1500, north - 750)]),
        shapely.LineString([(west + 1050, north - 1200), (west + 1050, north - 300)]),
    ]
    made = gpd.GeoDataFrame(table | columns, geometry=lines, crs=terrain.grid.crs)
    made.attrs |= {
        "multiple_of": "the typical street",
        "statement": "Corridor 1 is the best of 99 paths. Each later one is.",
    }
    return made


def made_blocks(corridors):
    """Two halves of corridor 1; the typical street has 1.5 expected incidents per km."""
    line, multiple = corridors.geometry.iloc[0], np.array([2.0, 6.0])
    return gpd.GeoDataFrame(
        {
            "rank": 1, "corridor_id": "c1", "order": [1, 2], "name": "Independence Avenue",
            "from_street": ["Benton Boulevard", "Askew Avenue"], "to_street": ["Askew Avenue", "Hardesty Avenue"],
            "from_m": [0.0, 500.0], "to_m": [500.0, 1000.0], "length_m": 500.0, "expected": 0.75 * multiple,
            "expected_per_km": 1.5 * multiple, "city_multiple": multiple, "incidents": 36.5, "top_factors": "",
        },
        geometry=[shapely.ops.substring(line, 0, 500), shapely.ops.substring(line, 500, 1000)], crs=corridors.crs,
    )  # fmt: skip


def made_stops(corridors, n_stops=12):
    line = corridors.geometry.iloc[0]
    chainage = np.linspace(10, 990, n_stops)
    factors = ["vacant houses", "poor lighting; vacant houses", ""]
    return gpd.GeoDataFrame(
        {
            "team": 1, "seq": np.arange(1, n_stops + 1), "side": "L", "compass": "north side", "chainage_m": chainage,
            "place": [f"{100 + number} Independence Av" for number in range(n_stops)],
            "factors": [factors[number % 3] for number in range(n_stops)], "departments": "", "records": 8765,
            "violations": 4321, "priority": pd.array([2, *[pd.NA] * (n_stops - 1)], dtype="Int64"), "minutes": 5.0,
        },
        geometry=line.interpolate(chainage).tolist(), crs=corridors.crs,
    )  # fmt: skip


class Page(HTMLParser):
    """The words, tags and attributes of a page, as a browser takes them."""

    def __init__(self, path):
        super().__init__()
        self.words, self.tags, self.values, self.quiet = [], [], [], False
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.values += [(name, value) for name, value in attrs if name in ("src", "href", "alt", "onerror")]
        self.quiet = tag == "style"

    def handle_endtag(self, tag):
        self.quiet = False

    def handle_data(self, data):
        self.words += [] if self.quiet else [data]

    def between(self, start, end):
        return self.text.partition(start)[2].partition(end)[0]


@pytest.fixture
def brief(tmp_path, terrain):
    def write(rank=1, *, of=terrain, corridors=None, **more):
        path = tmp_path / "brief.html"
        write_brief(
            path, of, made_corridors(of) if corridors is None else corridors, rank, overwrite=True, **more
        )
        return Page(path)

    return write


def test_a_brief_needs_nothing_but_itself(brief, terrain):
    """No script, no link, no address of a network; both pictures are inside the file."""
    corridors = made_corridors(terrain)
    page = brief(blocks=made_blocks(corridors))
    assert not {"script", "link", "iframe", "a", "object"} & set(page.tags)
    pictures = [value for name, value in page.values if name == "src"]
    assert len(pictures) == 2
    for source in pictures:
        assert base64.b64decode(source.removeprefix("data:image/png;base64,"))[:4] == b"\x89PNG"
    assert not re.search(r"https?:|url\(", re.sub(r"base64,[^\"]*", "", page.source))
    assert "default-src 'none'" in page.source


def test_the_page_says_where_how_long_and_how_much(brief, terrain):
    """Name, ends, length, expected incidents with interval, the typical street and the past, each with its unit."""
    page = brief(blocks=made_blocks(made_corridors(terrain)))
    for words in (
        "Corridor 1: Independence Avenue",
        "Benton Boulevard to Hardesty Avenue · 1.00 km (0.62 mi), 2 blocks",
        "6.25 incidents expected in 90 days 90 % interval: 2 to 11",
        "x4.20 the typical street 6.25 per km against 1.50",
        "73 incidents in the data 6.00 in 90 days 2021-01-01 to 2023-12-31",  # 73 * 90 / 1095
        "n = 140 incidents",
        "EPSG:26915",
        "seeds 7 (weights), 8 (forecast)",
        "Corridor 1 is the best of 99 paths. n =",
    ):
        assert words in page.text


def test_why_here_and_where_next_are_two_blocks(brief, terrain):
    """Weights with shares of the length in one, the product of the forecast in the other, and neither in both."""
    found = explain_corridor(terrain, made_corridors(terrain).geometry.iloc[0])
    page = brief()
    why = page.between("Why here:", "Where next:")
    forecast = page.between("Where next:", "Places to visit")
    for _, factor in found.why.iterrows():
        assert f"{factor['factor']} x{factor['rrv']:.2f}" in why
        assert f"{100 * factor['share']:.0f} %" in why
        assert factor["factor"] not in forecast
    numbers = [float(value) for value in re.findall(r"(?:mean|environment|history|=) ([\d.]+)", forecast)]
    mean, environment, area, spot, expected = numbers
    assert mean * environment * area * spot == pytest.approx(expected, rel=0.02)  # of three digits each
    assert expected == pytest.approx(found.where["expected"], rel=0.005)
    assert "environment" not in why.partition("Factor")[2]
    assert "the weights above are not multiplied into it" in forecast
    assert "The map is too small to decide on liquor stores." in why


def test_without_a_factor_the_brief_says_so(brief, make_terrain):
    """No table of weights, the sentence instead, and the forecast stands."""
    page = brief(of=make_terrain(factors=()))
    assert "is not in the model" in page.between("Why here:", "Where next:")
    assert "environment" in page.between("Where next:", "Places to visit")


def test_the_first_ten_stops_are_listed_and_no_counts_by_address(brief, terrain):
    """Ten of twelve places with side and factors, repeat violations in bold; how many records an address has is not said."""
    corridors = made_corridors(terrain)
    page = brief(stops=made_stops(corridors), blocks=made_blocks(corridors))
    visits = page.between("Places to visit", "Who is needed")
    assert re.findall(r"(\d+) Independence Av", visits) == [str(number) for number in range(100, 110)]
    assert "1 north 100 Independence Av vacant houses" in visits
    assert "poor lighting and vacant houses" in visits
    assert "And 2 more" in visits
    assert "<strong>100 Independence Av</strong>" in page.source
    assert "<strong>101 Independence Av</strong>" not in page.source
    assert "12 places to visit 1.0 h at the doors" in page.text
    assert not re.search("8765|8,765|4321|4,321", re.sub(r"base64,[^\"]*", "", page.source))


def test_departments_stand_beside_their_factors(brief, terrain, tmp_path):
    """A city's own list decides; places are counted once for each factor that they have."""
    corridors = made_corridors(terrain)
    own = tmp_path / "own.toml"
    own.write_text('[departments]\n"Night Lights <b>" = ["lighting"]\n', encoding="utf-8")
    page = brief(stops=made_stops(corridors), departments=own)
    assert "vacant houses to be assigned 8 poor lighting Night Lights <b> 4" in page.between(
        "Who is needed", "What it beat"
    )


def test_without_a_canvass_the_page_says_so(brief, terrain):
    """None planned and none found are two things; departments are then those of the factors in reach."""
    page = brief()
    assert "no canvass was planned for it" in page.text
    assert "vacant houses Dangerous Buildings" in page.between("Who is needed", "What it beat")
    empty = brief(stops=made_stops(made_corridors(terrain)).iloc[:0])
    assert "No place of these layers lies along it" in empty.text
    assert "0 places to visit" in empty.text


def test_what_could_be_shown_is_the_power_sentence(brief):
    """The page repeats the sentence on power for its own expected incidents."""
    assert power_sentence(6.25, 90) in brief().text


@pytest.mark.parametrize(
    ("columns", "sentences"),
    [
        (
            {"p_length": 0.005, "p_factors": 0.01, "rank_stability": 0.9},
            [
                "No better one of the kind searched was missed: every one was looked at.",
                "Chance alone seldom brings so many incidents together on a stretch of street (p 0.005).",
                "That is more than the measured factors explain (p 0.010): look for what no layer shows.",
                "Its place is fairly sure: with other incidents of the same risk it is chosen again in 90 % of cases.",
            ],
        ),
        (
            {"p_length": 0.2, "p_factors": 0.31, "rank_stability": 0.4, "gap": 0.02},
            [
                "That a better one was missed is not ruled out (gap 2.0 %).",
                "Chance alone brings as many incidents together on some stretch in 20 % of cities.",
                "That is no more than chance adds to what the measured factors explain (p 0.31).",
                "Its place is not sure: with other incidents of the same risk it is chosen again in 40 % of cases.",
            ],
        ),
        ({"gap": np.nan}, ["Whether its place could be chance was not tested."]),
    ],
)
def test_how_sure_its_place_is_stands_in_plain_words(brief, terrain, columns, sentences):
    """Every test has its sentence on either side of its level, and none without the test."""
    page = brief(corridors=made_corridors(terrain, **columns))
    said = page.between("What it beat, and where it ends", "What a count")
    ends = "The next best: Oak Street (3 expected). Why not longer: Benton Boulevard: the street ends there. "
    assert said.strip() == ends + " ".join(sentences)


def test_without_a_rate_there_are_no_days(brief, make_terrain):
    """Where incidents have no period the page gives shares and multiples, and says why."""
    of = make_terrain(period=None, period_days=None)
    of.horizon_days = None
    page = brief(of=of, blocks=made_blocks(made_corridors(of)))
    share = 100 * 6.25 / of.cells["expected"].sum()
    assert f"{share:.0f} % of the incidents expected in the city" in page.text
    assert NO_PERIOD in page.text
    assert "in 90 days" not in page.text.replace(NO_PERIOD, "")


def test_contemporaneous_data_are_said_first(brief, make_terrain):
    """The warning of the report stands above the figures."""
    page = brief(of=make_terrain(timing="contemporaneous, not a forecast"))
    assert page.text.index("Contemporaneous, not a forecast.") < page.text.index("incidents expected in")


def test_a_seam_has_a_brief_too(brief, terrain):
    """Without streets, blocks, turns and interval: cells are counted, and what is not known is said."""
    seams = made_corridors(terrain, turns=np.nan, lower=np.nan, upper=np.nan, via=None, runner_up=None)
    seams.attrs["multiple_of"] = "the average cell"
    page = brief(corridors=seams)
    assert "2 cells" in page.text
    assert "x4.20 the average cell" in page.text
    assert "interval not known" in page.text
    assert len([value for name, value in page.values if name == "src"]) == 1


def test_turns_name_the_streets_in_order(brief, terrain):
    """A corridor that turns says along which streets it leads."""
    corridors = made_corridors(terrain, turns=[1.0, 0.0], via=["Oak Street, then Elm Street", "Oak Street"])
    assert "along Oak Street, then Elm Street" in brief(corridors=corridors).text
    assert "along" not in brief(2, corridors=corridors).between("Corridor 2", "incidents expected")


def hostile_world(make_terrain):
    factors = [f"{HOSTILE} {number} {'x' * 40}" for number in range(9)]
    of = make_terrain(factors=factors, rrvs=np.linspace(1.2, 3.0, 9), timing="contemporaneous: later factors")
    long = HOSTILE * 9
    corridors = made_corridors(
        of, name=[long, long], from_street=long, to_street=long, via=long, turns=2.0, runner_up=long * 3,
        why_not_longer=long * 3, gap=0.02, p_length=0.005, p_factors=0.31, rank_stability=0.4,
    )  # fmt: skip
    corridors.attrs["statement"] = "Corridor 1 is the best of 9,619 stretches of street. " * 4
    blocks = made_blocks(corridors)
    blocks[["name", "from_street", "to_street"]] = long
    stops = made_stops(corridors, 40)
    stops["place"], stops["team"] = long, [1] * 20 + [2] * 20
    stops["factors"] = ["; ".join(factors[number % 9 : number % 9 + 3]) for number in range(40)]
    streets = gpd.GeoDataFrame(
        {"name": [long] * 3},
        geometry=[shapely.affinity.translate(corridors.geometry.iloc[1], at) for at in (-300, 0, 300)],
        crs=of.grid.crs,
    )
    return of, corridors, {"blocks": blocks, "stops": stops, "streets": streets, "treated": streets.iloc[:1]}


def test_hostile_names_are_shown_and_never_run(brief, make_terrain):
    """Tags in the names of streets, factors and places arrive as text."""
    of, corridors, more = hostile_world(make_terrain)
    page = brief(of=of, corridors=corridors, **more)
    assert "script" not in page.tags
    assert not [value for name, value in page.values if name in ("href", "onerror")]
    assert HOSTILE in page.text
    assert "<script>" not in page.source


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to print with")
@pytest.mark.parametrize("paper", ["A4", "letter"])
def test_the_longest_brief_prints_on_one_page(tmp_path, make_terrain, paper):
    """Nine factors, forty stops, names of 300 letters, a warning and every test: still one page, printed by a browser."""
    of, corridors, more = hostile_world(make_terrain)
    path, pdf = tmp_path / "brief.html", tmp_path / "brief.pdf"
    write_brief(path, of, corridors, **more)
    page = path.read_text(encoding="utf-8")
    assert page.count("@page { margin: 8mm 10mm; }") == 1
    path.write_text(
        page.replace("@page { margin: 8mm", f"@page {{ size: {paper}; margin: 8mm"), encoding="utf-8"
    )
    subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}", "--no-pdf-header-footer",
            f"--print-to-pdf={pdf}", path.as_uri(),
        ],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf.read_bytes())) == 1


def test_briefs_of_all_corridors_have_names_that_are_safe(tmp_path, terrain):
    """One file each, numbered by rank, in the folder whatever the street is called; stops go to their own corridor."""
    corridors = made_corridors(terrain, name=["../../etc/<passwd>", "Čā"])
    stops = made_stops(corridors, 3).assign(rank=1)
    files = write_briefs(tmp_path / "new" / "briefs", terrain, corridors, stops=stops, streets=corridors)
    assert [file.name for file in files] == ["corridor-01-etc-passwd.html", "corridor-02.html"]
    assert sorted(files) == sorted((tmp_path / "new" / "briefs").iterdir())
    assert "3 places to visit" in Page(files[0]).text
    assert "0 places to visit" in Page(files[1]).text
    mapped = write_briefs(tmp_path / "other", terrain, corridors, stops={1: stops.drop(columns="rank")})
    assert "3 places to visit" in Page(mapped[0]).text
    assert "no canvass was planned" in Page(mapped[1]).text


def test_the_same_input_gives_the_same_bytes(tmp_path, terrain):
    """Two writings at one SOURCE_DATE_EPOCH are equal, pictures and all."""
    corridors = made_corridors(terrain)
    for name in ("one.html", "two.html"):
        write_brief(tmp_path / name, terrain, corridors, blocks=made_blocks(corridors))
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_what_cannot_be_written_is_said(tmp_path, terrain):
    """No such rank, a file that is there, stops of nobody, and a folder that is a file: a sentence each, no half file."""
    corridors, path = made_corridors(terrain), tmp_path / "brief.html"
    with pytest.raises(InputError, match="Invalid rank 7.*1, 2"):
        write_brief(path, terrain, corridors, 7)
    with pytest.raises(InputError, match="Invalid rank 2"):
        write_brief(path, terrain, corridors, 2, blocks=made_blocks(corridors))
    with pytest.raises(InputError, match="The table of stops"):
        write_briefs(tmp_path, terrain, corridors, stops=made_stops(corridors))
    assert not list(tmp_path.iterdir())
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="exists"):
        write_brief(path, terrain, corridors)
    with pytest.raises(OutputError, match="folder cannot be made"):
        write_briefs(path, terrain, corridors)
    assert path.read_text(encoding="utf-8") == "mine"
