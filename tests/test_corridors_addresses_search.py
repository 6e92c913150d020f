"""Corridors along streets that are drawn from addresses alone, and seams named after them."""

from dataclasses import dataclass, field

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from rtmkc.errors import InputError
from rtmkc.places.corridors.along import corridor_blocks
from rtmkc.places.corridors.network.address_streets import streets_from_addresses
from rtmkc.places.corridors.network.blocks import StreetBlocks
from rtmkc.places.corridors.network.streets import StreetNetwork
from rtmkc.places.corridors.risk import StreetRisk
from rtmkc.places.corridors.search import find_corridors
from rtmkc.raster.grid import Grid, StudyArea

WEST, SOUTH = 360_000.0, 4_330_000.0
BLOCK, N_BLOCKS = 110.0, 16
AVENUES = ("Independence", "Truman", "Linwood", "Armour", "Gregory", "Meyer")
STREETS = ("Benton", "Prospect", "Hardesty", "Monroe", "Norton", "Askew")
APART = N_BLOCKS * BLOCK / 5
FIRST = 3000
"""Avenues run west to east and streets south to north; block 3000 is the first of each, 110 m long."""


@dataclass
class Terrain:
    grid: Grid
    cells: pd.DataFrame
    horizon_days: int = 90
    facts: dict = field(
        default_factory=lambda: {
            "where": {"drift": 0.1, "hot_cells": None, "strengths": [2.0], "history_horizons": 4.0},
            "period_days": 360,
        }
    )


def addresses(seed=0, per_block=6, spelling=str.upper):
    """Return places of addresses with numbers drawn within their block, odd ones on one side of the street."""
    random = np.random.default_rng(seed)
    rows, places = [], []
    for line, (avenue, street) in enumerate(zip(AVENUES, STREETS, strict=True)):
        for block in range(N_BLOCKS):
            for number in random.integers(0, 100, per_block):
                for name, kind in ((avenue, "Av"), (street, "St")):
                    along = (block + (number + 0.5) / 100) * BLOCK
                    across = line * APART + (8 if number % 2 else -8)
                    rows.append(spelling(f"{FIRST + 100 * block + number} {name} {kind}"))
                    places.append((along, across) if kind == "Av" else (across, along))
    places = np.array(places) + np.array([WEST, SOUTH])
    return gpd.GeoDataFrame({"address": rows}, geometry=gpd.points_from_xy(*places.T), crs=32615)


@pytest.fixture(scope="module")
def terrain():
    """A terrain of 55 m cells, hot on the blocks 3500 to 4099 of Linwood, and 3900 to 4299 of Benton."""
    side = N_BLOCKS * BLOCK
    area = StudyArea.from_geometry(shapely.box(WEST, SOUTH, WEST + side, SOUTH + side), crs="EPSG:32615")
    grid = Grid.cover(area, cell_size=55)
    right, up = grid.eastings - WEST, grid.northings - SOUTH
    random = np.random.default_rng(0)
    linwood = (abs(up - 2 * APART) < 40) & (right > 5 * BLOCK) & (right < 11 * BLOCK)
    benton = (right < 40) & (up > 9 * BLOCK) & (up < 13 * BLOCK)
    expected = random.gamma(4.0, 0.02, grid.n_cells) + 1.0 * linwood + 0.8 * benton
    cells = pd.DataFrame(
        {
            "expected": expected,
            "count": random.poisson(4 * expected),
            "rate_sd": expected / 2,
            "neighbourhood": expected,
        }
    )
    return Terrain(grid, cells)


@pytest.fixture(scope="module")
def drawn():
    return streets_from_addresses(addresses())


def number(words):
    return int(words.removesuffix(" block"))


def test_every_hundred_block_is_a_block(drawn):
    """The twelve streets are drawn with sixteen blocks each, none of them joined to the next, each about its place."""
    blocks = StreetBlocks.of_network(StreetNetwork.from_layer(drawn))
    table = gpd.GeoDataFrame(
        {"name": blocks.names[blocks.street], "label": blocks.labels}, geometry=blocks.geometry, crs=32615
    ).dissolve(["name", "label"])
    assert len(table) == 12 * N_BLOCKS
    for (name, label), place in zip(table.index, table.geometry.centroid, strict=True):
        along = place.x - WEST if name.endswith("Avenue") else place.y - SOUTH
        assert along == pytest.approx(((number(label) - FIRST) / 100 + 0.5) * BLOCK, abs=BLOCK / 3)


def test_corridors_are_named_by_the_blocks_they_run_between(terrain, drawn):
    """The hot stretches come first, their ends are hundred blocks, and they have as many as lie between those."""
    table = find_corridors(terrain, drawn, k=2, min_length=300, max_length=1200, separation=150)
    assert table["name"].tolist() == ["Linwood Avenue", "Benton Street"]
    for row, (begin, end) in zip(table.itertuples(), ((3500, 4000), (3900, 4200)), strict=True):
        first, last = number(row.from_street), number(row.to_street)
        assert first < last
        # cells share their risk out within 150 m, so a block more at either end may be hot
        assert abs(first - begin) <= 100
        assert abs(last - end) <= 100
        assert row.blocks == (last - first) / 100 + 1
        assert row.turns == 0
        assert row.length_m == pytest.approx(row.blocks * BLOCK, rel=0.1)
    assert (table["lower"] <= table["expected"]).all()
    assert (table["expected"] <= table["upper"]).all()


def test_corridor_is_cut_between_hundred_blocks(terrain, drawn):
    """Its ends are ends of drawn blocks, and its blocks in order are one hundred more each, from its first to its last."""
    risk = StreetRisk.of(terrain, drawn)
    table = find_corridors(terrain, risk, k=3, min_length=300, max_length=1200, separation=150)
    ends = shapely.union_all(shapely.get_point(drawn.geometry.to_numpy(), 0)).union(
        shapely.union_all(shapely.get_point(drawn.geometry.to_numpy(), -1))
    )
    for line in table.geometry:
        assert shapely.distance(shapely.get_point(line, 0), ends) < 1e-6
        assert shapely.distance(shapely.get_point(line, -1), ends) < 1e-6
    blocks = corridor_blocks(terrain, table, risk)
    for row in table.itertuples():
        own = blocks[blocks["rank"] == row.rank]
        numbers = own["from_street"].map(number).tolist()
        assert numbers == list(range(number(row.from_street), number(row.to_street) + 1, 100))
        assert own["to_street"].tolist() == own["from_street"].tolist()
        assert own["expected"].sum() == pytest.approx(row.expected)


def test_a_corridor_of_addresses_runs_as_its_numbers_rise(terrain):
    """Where numbers rise from east to west the corridor runs from east to west, from the lower block to the higher."""
    places = addresses()
    east, north = places.geometry.x.to_numpy(), places.geometry.y.to_numpy()
    falls = places["address"].str.endswith(" AV").to_numpy()
    east = np.where(falls, 2 * WEST + N_BLOCKS * BLOCK - east, east)
    mirrored = places.set_geometry(gpd.points_from_xy(east, north), crs=32615)
    table = find_corridors(terrain, streets_from_addresses(mirrored), k=1, min_length=300, max_length=1200)
    row = table.iloc[0]
    ends = shapely.get_coordinates(row.geometry)[[0, -1], 0]
    assert ends[0] > ends[1]
    # block 3000 + 100 i lies where 3000 + 100 (15 - i) was: 3500 to 4000 is still 3500 to 4000, from the other side
    assert abs(number(row["from_street"]) - 3500) <= 100
    assert abs(number(row["to_street"]) - 4000) <= 100


def test_seams_are_named_by_the_addresses_along_them(terrain):
    """Without streets the seams over the hot stretches are "mostly" their street's numbers, which are within a block."""
    table = find_corridors(
        terrain, k=2, min_length=300, max_length=700, separation=150, addresses=addresses(3)
    )
    assert table["name"].str.startswith("mostly ").all()
    for words, street, begin, end in zip(
        table["name"], ("Linwood Avenue", "Benton Street"), (3500, 3900), (4000, 4200), strict=True
    ):
        numbers, named = words.removeprefix("mostly ").split(" ", 1)
        assert named == street
        first, last = map(int, numbers.split("-"))
        assert begin - 200 <= first <= begin + 200
        assert end - 200 <= last <= end + 200


def test_seams_are_named_by_area_and_addresses(terrain):
    """With areas too, the area comes first."""
    side = N_BLOCKS * BLOCK
    areas = gpd.GeoDataFrame(
        {"name": ["Lykins"]},
        geometry=[shapely.box(WEST - 9, SOUTH - 9, WEST + side, SOUTH + side)],
        crs=32615,
    )
    table = find_corridors(terrain, k=1, max_length=700, areas=areas, addresses=addresses(3))
    assert table["name"].iloc[0].startswith("Lykins, mostly 3")
    assert table["name"].iloc[0].endswith(" Linwood Avenue")


def test_spelling_and_order_of_rows_change_nothing(terrain):
    """Lower case, shuffled rows of the same addresses give the same corridors."""
    one = find_corridors(terrain, streets_from_addresses(addresses()), k=2, min_length=300, max_length=1200)
    mixed = addresses(spelling=str.lower).sample(frac=1, random_state=1)
    other = find_corridors(terrain, streets_from_addresses(mixed), k=2, min_length=300, max_length=1200)
    text = ["name", "from_street", "to_street", "via", "blocks"]
    assert one[text].equals(other[text])
    assert np.allclose(one["expected"], other["expected"])


def test_streets_of_addresses_do_not_turn(terrain):
    """Block numbers of two streets say nothing of a corner: turns are refused, with the fix."""
    with pytest.raises(
        InputError, match=r"Invalid max_turns 1\. Streets drawn from addresses do not know their corners"
    ):
        find_corridors(terrain, streets_from_addresses(addresses()), max_turns=1)
