"""Corridors of a terrain, from streets or without: what comes back, and what is said."""

import itertools
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from rtmkc.errors import InputError
from rtmkc.places.corridors.describe import COLUMNS
from rtmkc.places.corridors.network.streets import StreetNetwork
from rtmkc.places.corridors.search import find_corridors
from rtmkc.raster.grid import Grid, StudyArea

N_AVENUES = 21
BLOCK = 120.0
WEST, SOUTH = 360_000.0, 4_330_000.0


@dataclass
class Terrain:
    grid: Grid
    cells: pd.DataFrame
    horizon_days: int | None = 90

    @property
    def facts(self):
        where = {"drift": 0.05, "hot_cells": None, "strengths": [8.0], "history_horizons": 4.0}
        return {"where": where, "period_days": 360}

    def ranking(self, by):
        return self.cells[by].to_numpy()


def city(seed=0):
    """Return a terrain of 2.4 km a side with two hot stripes, one west-east and one south-north."""
    side = (N_AVENUES - 1) * BLOCK
    area = StudyArea.from_geometry(shapely.box(WEST, SOUTH, WEST + side, SOUTH + side), crs=32615)
    grid = Grid.cover(area, cell_size=60)
    random = np.random.default_rng(seed)
    expected = random.gamma(2.0, 0.05, grid.n_cells)
    up, right = grid.northings - SOUTH, grid.eastings - WEST
    hot = (abs(up - 5 * BLOCK) < 60) & (right > 3 * BLOCK) & (right < 13 * BLOCK)
    hot_too = (abs(right - 16 * BLOCK) < 60) & (up > 9 * BLOCK) & (up < 18 * BLOCK)
    expected = np.where(hot, expected + 0.6, np.where(hot_too, expected + 0.4, expected))
    cells = pd.DataFrame({"expected": expected, "count": random.poisson(expected * 4), "share": grid.share})
    cells["rate_sd"], cells["neighbourhood"] = expected / 2, expected
    cells["environment"] = expected / expected.mean()
    cells["rrs"] = np.where(hot, 4.0, np.where(hot_too, 3.0, 1.0))
    cells["f_poor lighting"], cells["f_vacant houses"] = hot, hot | hot_too
    return Terrain(grid, cells)


def streets():
    """Return a lattice of 1 St to 21 St by A Ave to U Ave, a line a block."""
    names, lines = [], []
    for line, block in itertools.product(range(N_AVENUES), range(N_AVENUES - 1)):
        across, begin, end = line * BLOCK, block * BLOCK, (block + 1) * BLOCK
        names += [f"{line + 1} St", f"{chr(65 + line)} Ave"]
        lines.append(shapely.LineString([(WEST + begin, SOUTH + across), (WEST + end, SOUTH + across)]))
        lines.append(shapely.LineString([(WEST + across, SOUTH + begin), (WEST + across, SOUTH + end)]))
    return gpd.GeoDataFrame({"name": names}, geometry=lines, crs=32615)


@pytest.fixture(scope="module")
def terrain():
    return city()


@pytest.fixture(scope="module")
def network():
    return StreetNetwork.from_layer(streets())


def assert_apart(table, distance, others=()):
    shapes = [*table.geometry, *others]
    for one, other in itertools.combinations(range(len(shapes)), 2):
        if one < len(table):
            assert shapes[one].distance(shapes[other]) >= distance - 1e-6


def test_planted_hot_streets_come_first_with_their_names(terrain, network):
    """The hot stretches are ranks 1 and 2: all of 6 St from D Ave with a block more, and all of Q Ave."""
    table = find_corridors(terrain, network, k=3)
    assert list(table.columns) == [*COLUMNS, "geometry"]
    assert table.crs == terrain.grid.crs
    assert table["rank"].tolist() == [1, 2, 3]
    first, second = table.iloc[0], table.iloc[1]
    assert (first["name"], first["from_street"], first["to_street"]) == ("6 St", "D Ave", "O Ave")
    assert (second["name"], second["from_street"], second["to_street"]) == ("Q Ave", "10 St", "19 St")
    assert (first["blocks"], first["length_m"]) == (11, pytest.approx(1320))
    assert table.geometry.length.tolist() == pytest.approx(table["length_m"].tolist())
    assert first["top_factors"].startswith("poor lighting")
    assert second["top_factors"].startswith("vacant houses")
    assert first["city_multiple"] > 3
    assert_apart(table, 300)
    assert table.attrs["statement"].startswith("Corridor 1 is the best of ")
    assert "none nearer than 300 m (984 ft)" in table.attrs["statement"]


def test_figures_agree_with_each_other_and_with_the_cells(terrain, network):
    """Excess is expected less price, density follows from length, the buffer sums centres within 100 m."""
    table = find_corridors(terrain, network, k=4)
    rate = (table["expected"] - table["excess"]) / table["length_m"]
    assert np.ptp(rate) < 1e-12
    assert f"{1000 * rate[0]:.3g} a km in 90 days" in table.attrs["statement"]
    assert np.allclose(table["expected_per_km"], 1000 * table["expected"] / table["length_m"])
    grid = terrain.grid
    centres = shapely.points(grid.eastings, grid.northings)
    for row in table.itertuples():
        inside = shapely.distance(centres, row.geometry) <= 100
        assert row.buffer_expected == pytest.approx(terrain.cells["expected"][inside].sum())
    assert table["excess"].is_monotonic_decreasing
    assert table["expected"].sum() < terrain.cells["expected"].sum()


def test_number_of_stretches_is_what_counting_by_hand_gives(terrain, network):
    """42 streets of 20 blocks of 120 m: stretches of 5 to 20 blocks are 16 + 15 + ... + 1 a street."""
    statement = find_corridors(terrain, network).attrs["statement"]
    assert f"the best of {42 * 16 * 17 // 2:,} stretches" in statement


def test_top_k_is_a_prefix_of_a_longer_list(terrain, network):
    """Asking for more corridors changes nothing about the first ones."""
    few, many = (find_corridors(terrain, network, k=k) for k in (2, 5))
    assert few["corridor_id"].tolist() == many["corridor_id"].tolist()[:2]
    assert many["corridor_id"].is_unique


@pytest.mark.parametrize("form", ["frame", "series", "geometry", "list", "other system"])
def test_nothing_comes_back_near_what_is_excluded(terrain, network, form):
    """An excluded corridor, in whatever form it is given, and all within the separation of it stay out."""
    treated = find_corridors(terrain, network, k=1)
    line = treated.geometry.iloc[0]
    exclude = {
        "frame": treated, "series": treated.geometry, "geometry": line,
        "list": [line, treated.iloc[:0]], "other system": treated.to_crs(4326),
    }[form]  # fmt: skip
    for given in (network, None):
        table = find_corridors(terrain, given, k=4, exclude=exclude)
        assert len(table) > 0
        assert_apart(table, 300 if form != "other system" else 299.9, others=[line])
    assert "6 St" not in find_corridors(terrain, network, k=1, exclude=exclude)["name"].tolist()


def test_with_no_separation_crossing_streets_stay(terrain, network):
    """With separation 0 only the excluded blocks themselves are closed: streets that cross them stay."""
    first = find_corridors(terrain, network, k=1, separation=0)
    again = find_corridors(terrain, network, k=40, separation=0, exclude=first)
    shared = again.geometry.intersection(first.geometry.iloc[0])
    assert (shared.length == 0).all()
    assert (~shared.is_empty).any()


def test_order_direction_and_splitting_of_the_rows_change_nothing(terrain):
    """Shuffled, reversed rows and blocks cut at a whole number of pieces give the same table."""
    plain = streets()
    cut = plain.geometry.iloc[::3]
    parts = [[shapely.ops.substring(line, *ends) for line in cut] for ends in ((0, 48), (48, 120))]
    halves = [gpd.GeoDataFrame({"name": plain["name"].iloc[::3]}, geometry=part, crs=32615) for part in parts]
    changed = (
        pd.concat([plain.drop(cut.index), *halves]).sample(frac=1, random_state=1).reset_index(drop=True)
    )
    changed.geometry = [line.reverse() if row % 2 else line for row, line in enumerate(changed.geometry)]
    one, other = (find_corridors(terrain, given, k=4) for given in (plain, changed))
    text = ["corridor_id", "name", "from_street", "to_street", "blocks", "top_factors"]
    assert one[text].equals(other[text])
    numbers = one.select_dtypes("float").columns
    assert np.allclose(one[numbers], other[numbers], rtol=1e-9, equal_nan=True)


def test_seams_without_streets_follow_the_hot_stripes(terrain):
    """Without streets the two stripes come first again, as chains of cells named by compass and place."""
    table = find_corridors(terrain, k=2, max_length="1200 m")
    assert list(table.columns) == [*COLUMNS, "geometry"]
    ends = shapely.bounds(table.geometry.to_numpy())
    assert abs((ends[0, 1] + ends[0, 3]) / 2 - SOUTH - 5 * BLOCK) < 60
    assert abs((ends[1, 0] + ends[1, 2]) / 2 - WEST - 16 * BLOCK) < 60
    assert table["name"].iloc[0].startswith("west-east seam near 39.1")
    assert table["name"].iloc[1].startswith("south-north seam near 39.1")
    assert_apart(table, 300)
    assert table.attrs["statement"].startswith("Corridor 1 is the best of all seams")
    assert "check them on a map" in table.attrs["notes"][0]
    assert np.allclose(
        table["expected"], [table["expected_per_km"][n] * table["length_m"][n] / 1000 for n in (0, 1)]
    )


def test_seams_are_named_by_the_areas_they_cross(terrain):
    """A seam within one area has its name; one across two has both, the larger part first."""
    middle = WEST + 8.5 * BLOCK
    areas = gpd.GeoDataFrame(
        {"NBHNAME": ["Lykins", "Northeast ", None]},
        geometry=[
            shapely.box(WEST - 9, SOUTH - 9, middle, SOUTH + 3000),
            shapely.box(middle, SOUTH - 9, WEST + 3000, SOUTH + 3000),
            shapely.box(WEST, SOUTH, WEST + 3000, SOUTH + 3000),
        ],
        crs=32615,
    ).to_crs(4326)
    table = find_corridors(terrain, k=2, areas=areas, max_length="1200 m")
    assert table["name"].tolist() == ["Lykins / Northeast", "Northeast"]
    renamed = areas.rename(columns={"NBHNAME": "what"})
    assert find_corridors(terrain, k=1, areas=renamed, area_name="what", max_length=1200)[
        "name"
    ].tolist() == ["Lykins / Northeast"]
    with pytest.raises(InputError, match="Invalid areas: no column with names"):
        find_corridors(terrain, k=1, areas=renamed)


def test_no_incidents_give_an_empty_table_that_says_so(network):
    """A terrain without risk has no corridors, with streets or without: no rows, and a sentence."""
    terrain = city()
    terrain.cells["expected"], terrain.cells["count"] = 0.0, 0
    for given in (network, None):
        table = find_corridors(terrain, given)
        assert len(table) == 0
        assert list(table.columns) == [*COLUMNS, "geometry"]
        assert table.crs == terrain.grid.crs
        assert table.attrs["statement"].startswith("No corridor: of ")
        assert table.attrs["notes"][-1].startswith("0 of 5 corridors asked for")


def test_fewer_than_k_are_said(terrain, network):
    """When only some stretches are worth their length, those come back and the notes say how many."""
    table = find_corridors(terrain, network, k=500)
    assert 2 <= len(table) < 500
    assert (table["excess"] > 0).all()
    assert table.attrs["notes"][-1].startswith(f"{len(table)} of 500 corridors asked for")


def test_streets_without_names_give_corridors_named_by_their_place(terrain):
    """The hot stretches are found without names too; they are called after their middle, and the notes say so."""
    table = find_corridors(terrain, streets().drop(columns="name"), k=2)
    assert table["length_m"].tolist() == pytest.approx([1320, 1080])
    assert table["name"].str.match(r"(west-east|south-north) street near 39\.\d{4}, -94\.\d{4}$").all()
    assert "No street has a name: corridors are named by their place." in table.attrs["notes"]


def test_input_that_cannot_be_used_is_an_error_with_its_fix(terrain, network):
    """Streets without names or elsewhere, and wrong lengths, are one-line errors that say what to do."""
    away = streets()
    away.geometry = away.translate(90_000, 0)
    with pytest.raises(InputError, match="none of the 840 rows comes near the study area"):
        find_corridors(terrain, away)
    with pytest.raises(InputError, match="Invalid k 0"):
        find_corridors(terrain, network, k=0)
    with pytest.raises(InputError, match=r"Invalid max_length '300 m'\. It must not be shorter"):
        find_corridors(terrain, network, max_length="300 m")
    with pytest.raises(InputError, match="Invalid separation -1"):
        find_corridors(terrain, network, separation=-1)
    with pytest.raises(InputError, match="Invalid exclude: it has no coordinate system"):
        find_corridors(terrain, network, exclude=gpd.GeoSeries([shapely.Point(0, 0)]))


def test_arguments_are_not_changed(terrain):
    """Neither the terrain's cells, nor the streets, nor what is excluded are touched."""
    given, exclude = streets(), gpd.GeoSeries([shapely.Point(WEST, SOUTH)], crs=32615)
    before = terrain.cells.copy(), given.copy(), exclude.copy()
    find_corridors(terrain, given, exclude=exclude)
    assert terrain.cells.equals(before[0])
    assert given.equals(before[1])
    assert exclude.equals(before[2])
