"""The pages on corridors say what was measured: speed on a real network, and the corridors of Kansas City."""

import importlib
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from scipy import stats

import rtmkc as rtm
from rtmkc.errors import InputError
from rtmkc.places.joins import kinds_around

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def pages():
    """The modules of both pages: speed, Kansas City."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield tuple(importlib.import_module(name) for name in ("corridor_speed", "corridors_kansas_city"))


@pytest.fixture
def speed(pages):
    """The module of the page on speed."""
    return pages[0]


@pytest.fixture
def kansas(pages):
    """The module of the page on Kansas City."""
    return pages[1]


def measured(speed, **changes):
    """Return figures of a row as a process would, most of them of no matter."""
    names = (
        "warm-up",
        "reading",
        "network",
        "allocation",
        "search",
        "seconds",
        "processor",
        "gb",
        "km",
        "gap",
    )
    lists = ("expected", "length_m", "p_length", "p_factors", "rank_stability", "optimism")
    counts = ("rows", "segments", "nodes", "blocks", "names", "cells", "found")
    statement = "Corridor 1 is the best of 12,345 stretches of street with no turn, by expected incidents."
    return (
        dict.fromkeys(names, 0.0)
        | {name: [0.25, 0.5] for name in lists}
        | dict.fromkeys(counts, 7)
        | {"statement": statement}
        | changes
    )


def addresses_in(places):
    """Return addresses at places in metres: {address: (east, north)}."""
    table = pd.DataFrame({"address": list(places)})
    return gpd.GeoDataFrame(table, geometry=gpd.points_from_xy(*np.array(list(places.values())).T), crs=26915)


def test_the_made_up_history_is_drawn_from_the_made_up_rates(speed):
    """A city without streets in its west has no risk there; elsewhere a year of incidents is what 90 days expect, by days."""
    area = rtm.StudyArea.from_geometry(shapely.box(0, 0, 20_000, 20_000), crs="EPSG:32612")
    grid = rtm.Grid.cover(area, cell_size=100.0)
    metres = np.where(grid.eastings < 5000, 0.0, 150.0)
    terrain = speed.made_up(grid, metres, 1)
    cells = terrain.cells
    assert (cells.loc[metres == 0, ["expected", "count", "environment"]] == 0).all(axis=None)
    assert cells["neighbourhood"].sum() == pytest.approx(speed.INCIDENTS)
    years = cells["count"].sum() * speed.HORIZON_DAYS / speed.HISTORY_DAYS
    assert cells["expected"].sum() == pytest.approx(speed.INCIDENTS, rel=0.1)
    assert years == pytest.approx(speed.INCIDENTS, rel=0.1)
    # what is said of a cell is its posterior, here by integrating prior times likelihood
    multiplier = np.linspace(0.0, 60.0, 400_001)[1:]
    prior = stats.gamma.pdf(multiplier, speed.SPOT_SHAPE, scale=1 / speed.SPOT_SHAPE)
    for _, cell in cells.nlargest(3, "expected").iterrows():
        seen = stats.poisson.pmf(int(cell["count"]), multiplier * cell["neighbourhood"] * 365 / 90)
        weight = prior * seen / (prior * seen).sum()
        mean = weight @ multiplier
        spread = np.sqrt(weight @ (multiplier - mean) ** 2)
        assert cell["expected"] == pytest.approx(cell["neighbourhood"] * mean, rel=1e-3)
        assert cell["rate_sd"] == pytest.approx(cell["neighbourhood"] * spread, rel=1e-3)
    assert np.log(cells.loc[metres > 0, "environment"]).std() == pytest.approx(np.hypot(0.8, 1.0), rel=0.25)


def test_the_number_of_paths_is_that_of_the_little_town(speed):
    """Straight stretches of 500 to 2,500 m of 8 streets of 12 blocks and 11 of 9, counted by hand: 591."""
    risk = speed.warm_up({"max_turns": 0})
    found = rtm.find_corridors(risk.terrain, risk, k=2, max_turns=0)
    by_hand = 8 * sum(13 - blocks for blocks in range(4, 13)) + 11 * sum(
        10 - blocks for blocks in range(4, 10)
    )
    assert by_hand == 591
    assert speed.paths_of({"statement": found.attrs["statement"]}) == "591"


@pytest.mark.parametrize(
    ("name", "figures", "words"),
    [
        ("turns-1", {"seconds": 2.1}, "2.1 s, above 2 s"),
        ("turns-2", {"seconds": 10.2}, "10.2 s, above 10 s"),
        ("scan", {"seconds": 61.0}, "61.0 s, above 60 s"),
        ("resamples", {"gb": 1.6}, "1.60 GB, above 1.5 GB"),
        ("turns-0", {"gap": 0.01}, "not proved best"),
    ],
)
def test_a_broken_limit_is_named_on_the_page(speed, name, figures, words):
    """Seconds, memory and proof beyond their limits are each said, and nothing is where all hold."""
    good = {case: measured(speed) for case in speed.CASES}
    assert speed.promises(good) == []
    assert "Every limit holds." in speed.page(good, 5.0)
    broken = good | {name: measured(speed, **figures)}
    assert [words in said for said in speed.promises(broken)] == [True]
    text = speed.page(broken, 5.0)
    assert words in text
    assert "Every limit holds" not in text
    assert text.count("12,345") == len(speed.CASES)


def test_without_the_data_nothing_is_written(pages, monkeypatch, capsys):
    """Both scripts say that the folder of the data is missing, and leave their pages alone."""
    monkeypatch.delenv("RTMKC_DATA", raising=False)
    monkeypatch.setattr("sys.argv", ["page.py"])
    for page in pages:
        monkeypatch.setattr(page, "write_text", None)
        assert page.main() == 0
        assert "RTMKC_DATA is not set" in capsys.readouterr().out


def test_a_file_that_was_cut_off_loses_its_last_record_alone(kansas, tmp_path):
    """Records with line breaks in them are whole; the one that the end of the file cuts is left out."""
    path = tmp_path / "cut.csv"
    path.write_text(
        'ID,ADDRESS,GEO\n1,100 A ST,"100 A ST\n(39, -94)"\n2,200 A ST,"x"\n3,300 A ST\n', encoding="utf-8-sig"
    )
    assert kansas.whole_records(path).to_dict("list") == {
        "ID": ["1", "2"], "ADDRESS": ["100 A ST", "200 A ST"], "GEO": ["100 A ST\n(39, -94)", "x"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("9600 - Vacant Non-Residential (including billboards)", "vacant non-residential"),
        ("1111 - Single Family (Non-Mobile Home Park)", "single family"),
        ("5212 - Paved Parking / Other Paved Lots", "paved parking / other paved lots"),
    ],
)
def test_land_use_codes_are_words(kansas, code, words):
    """Number and brackets of a code go."""
    assert kansas.land_use(code) == words


def test_steps_are_counted_where_numbers_rise(kansas):
    """Of a street drawn by hand one step of three goes astray; the gap between its pieces is no step."""
    wkt = [
        "LINESTRING (0 1000, 0 800)", "LINESTRING (0 800, 0 600)", "LINESTRING (0 600, 300 600)",
        "LINESTRING (300 600, 300 400)", "LINESTRING (300 0, 300 -200)",
    ]  # fmt: skip
    lines = gpd.GeoDataFrame(geometry=shapely.from_wkt(wkt), crs=26915)
    # middles: (0, 900), (0, 700), (150, 600), (300, 500); the second step is more east than south
    assert kansas.steps_along(lines, "south") == (1, 3)
    assert kansas.steps_along(lines, "east") == (2, 3)


def test_blocks_of_avenues_lie_half_a_block_south_of_their_street(kansas):
    """In a city laid out by the plan, with 200 m to a block, the difference is 100 m at every block."""
    avenue = {
        f"{100 * n + at} PROSPECT AV": (10.0, -200.0 * n - 2 * at)
        for n in range(30, 36)
        for at in (1, 50, 99)
    }
    crossing = {f"{1100 + n} E {n}TH ST": (200.0, -200.0 * n) for n in range(30, 36)}
    addresses = addresses_in(avenue | crossing)
    streets = rtm.streets_from_addresses(addresses, crs="EPSG:26915")
    avenues = streets[streets["name"] == "Prospect Avenue"]
    assert len(avenues) == 6
    assert kansas.against_numbered_streets(addresses, avenues) == pytest.approx(np.full(6, 100.0), abs=2.0)


def test_a_street_without_neighbouring_blocks_is_said_to_have_no_line(kansas):
    """The table of streets has every street asked for, and says why one is not drawn."""
    addresses = addresses_in(
        {
            "3500 TROOST AV": (0, 200),
            "3600 TROOST AV": (0, 10),
            "3500 INDEPENDENCE AV": (0, 900),
            "5800 INDEPENDENCE AV": (4000, 900),
        }
    )
    said = kansas.street_table(addresses, rtm.streets_from_addresses(addresses, crs="EPSG:26915"))
    lines = {line.split(" | ")[0].strip("| "): line for line in said.splitlines()}
    assert "1 of 1 to the south" in lines["Troost Avenue"]
    assert "no two blocks near each other" in lines["Independence Avenue"]


def test_stretches_with_addresses_are_counted_once(kansas):
    """Of a seam of 200 m, three addresses in two stretches of 50 m are near; one is farther than 75 m away."""
    seam = gpd.GeoDataFrame(geometry=[shapely.LineString([(100, 100), (300, 100)])], crs=26915)
    addresses = addresses_in({"1": (110, 120), "2": (140, 40), "3": (290, 170), "4": (200, 180)})
    assert kansas.covered_stretches(seam, addresses) == [2]


def test_half_of_what_is_expected_lies_in_cells_of_that_price(kansas):
    """The richest cells down to the price have half of all, and without the last of them less than half."""
    expected = np.random.default_rng(2).lognormal(size=1000)
    price = kansas.half_price(expected)
    assert expected[expected >= price].sum() >= expected.sum() / 2 > expected[expected > price].sum()


def test_kinds_around_are_those_counted_one_by_one():
    """Numbers, shares and multiples agree with a loop over distances; what stands out has the largest divergence."""
    random = np.random.default_rng(3)
    kinds = random.choice(["home", "shop", "lot", "school"], 600, p=[0.7, 0.15, 0.14, 0.01])
    east, north = random.uniform(0, 1000, (2, 600))
    east = np.where(kinds == "shop", east / 3, east)
    things = gpd.GeoDataFrame({"kind": kinds}, geometry=gpd.points_from_xy(east, north), crs=26915)
    lines = [shapely.LineString([(at, 0), (at, 1000)]) for at in (100, 500, 900)]
    places = gpd.GeoDataFrame(geometry=lines, crs=26915, index=[4, 8, 15])
    around = kinds_around(places, things, "kind", within=80)
    assert around.index.tolist() == [4, 8, 15]
    usual = things["kind"].value_counts(normalize=True)
    for at, line in zip(places.index, lines, strict=True):
        count = things["kind"][things.distance(line) <= 80].value_counts()
        row, share = around.loc[at], count / count.sum()
        assert row["n"] == count.sum()
        assert row["common"] == share.idxmax()
        assert row["common_share"] == pytest.approx(share.max())
        may = [kind for kind in count.index if count[kind] >= 5 and share[kind] >= 1.5 * usual[kind]]
        if not may:
            assert row["outstanding"] == ""
            assert np.isnan(row["multiple"])
            continue
        first = max(
            may,
            key=lambda kind: (
                share[kind] * np.log(share[kind] / usual[kind])
                + (1 - share[kind]) * np.log((1 - share[kind]) / (1 - usual[kind]))
            ),
        )
        assert row["outstanding"] == first
        assert row["multiple"] == pytest.approx(share[first] / usual[first])
    assert around.loc[4, "outstanding"] == "shop"
    turned = kinds_around(places, things.iloc[::-1].to_crs(4326), "kind", within="80 m")
    pd.testing.assert_frame_equal(turned, around)


def test_where_nothing_is_around_nothing_is_said():
    """A place without things has none; things without a kind, and places in degrees, get a sentence."""
    places = gpd.GeoDataFrame(geometry=[shapely.Point(0, 0)], crs=26915)
    things = gpd.GeoDataFrame({"kind": ["home"]}, geometry=[shapely.Point(500, 0)], crs=26915)
    assert kinds_around(places, things, "kind").iloc[0].fillna("").tolist() == [0, "", "", "", "", ""]
    with pytest.raises(InputError, match="not in metres"):
        kinds_around(places.to_crs(4326), things, "kind")
    with pytest.raises(InputError, match="is empty"):
        kinds_around(places, things.assign(kind=None), "kind")
