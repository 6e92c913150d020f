"""A corridor block by block: the blocks add up to the corridor, in order, and from its files as well."""

import itertools
from dataclasses import dataclass, field

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from rtmkc.errors import InputError
from rtmkc.output.files import write_geojson
from rtmkc.places.corridors.along import COLUMNS, corridor_blocks
from rtmkc.places.corridors.network.streets import StreetNetwork
from rtmkc.places.corridors.risk import StreetRisk
from rtmkc.places.corridors.search import find_corridors
from rtmkc.raster.grid import Grid, StudyArea

N_AVENUES = 12
WEST, SOUTH = 360_000.0, 4_330_000.0
PLACES = np.cumsum([0, 90, 120, 101, 137, 90, 110, 95, 130, 80, 120, 100]).astype(float)


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

    def ranking(self, by):
        return self.cells[by].to_numpy()


@pytest.fixture(scope="module")
def terrain():
    """A terrain of 50 m cells with risk drawn at random, smooth enough that corridors are long."""
    side = PLACES[-1]
    area = StudyArea.from_geometry(shapely.box(WEST, SOUTH, WEST + side, SOUTH + side), crs="EPSG:32615")
    grid = Grid.cover(area, cell_size=50)
    random = np.random.default_rng(0)
    hot = np.exp(-(((grid.eastings - WEST - 500) / 300) ** 2) - ((grid.northings - SOUTH - 300) / 80) ** 2)
    expected = 0.1 + hot + random.gamma(1.0, 0.1, grid.n_cells)
    cells = pd.DataFrame({"expected": expected, "count": random.poisson(4 * expected), "share": grid.share})
    cells["neighbourhood"] = expected
    cells["rate_sd"], cells["rrs"], cells["f_dumping"] = expected / 2, 1 + hot, hot > 0.5
    return Terrain(grid, cells)


def streets():
    """Return a lattice of uneven blocks, the streets bent, each block of them in two lines; one sharp side street."""
    names, lines = [], []
    for line, block in itertools.product(range(N_AVENUES), range(N_AVENUES - 1)):
        across, begin, end = PLACES[line], PLACES[block], PLACES[block + 1]
        bend = (begin + end) / 2
        names += [f"{line} St"] * 2 + [f"{line} Ave"]
        lines.append(shapely.LineString([(begin, across), (bend, across + 9)]))
        lines.append(shapely.LineString([(bend, across + 9), (end, across)]))
        lines.append(shapely.LineString([(across, begin), (across, end)]))
    # leaves 2 St by 1.4 degrees, so that it is within half a metre of it for 20 m
    sharp = shapely.LineString([(PLACES[4], PLACES[2]), (PLACES[4] + 60, PLACES[2] + 13.5)])
    shapes = shapely.transform(np.array([*lines, sharp]), np.array([WEST, SOUTH]).__add__)
    return gpd.GeoDataFrame({"name": [*names, "Sharp Way"]}, geometry=shapes, crs=32615)


@pytest.fixture(scope="module")
def risk(terrain):
    return StreetRisk.of(terrain, StreetNetwork.from_layer(streets()))


SEARCHES = {
    "no turn": {"max_turns": 0},
    "one turn": {"max_turns": 1, "one_name": 0},
    "two turns": {"max_turns": 2, "one_name": 0},
    "anywhere": {"ends": "anywhere", "max_turns": 1, "one_name": 0, "max_length": 777},
    "short and anywhere": {"ends": "anywhere", "objective": "density", "min_length": 333},
    "long and anywhere": {"ends": "anywhere", "objective": "total", "max_length": 651.5, "max_turns": 2},
}


def search(terrain, risk, how, **more):
    return find_corridors(
        terrain,
        risk,
        **({"k": 4, "min_length": 300, "max_length": 800, "separation": 120} | SEARCHES[how] | more),
    )


def assert_adds_up(blocks, corridors, *, within=1e-9):
    for corridor in corridors.itertuples():
        own = blocks[blocks["rank"] == corridor.rank]
        assert (own["corridor_id"] == corridor.corridor_id).all()
        assert len(own) == corridor.blocks
        for column in ("length_m", "expected", "incidents"):
            assert own[column].sum() == pytest.approx(getattr(corridor, column), rel=within)
    assert blocks["rank"].nunique() == len(corridors)


@pytest.mark.parametrize("how", SEARCHES)
def test_blocks_add_up_to_the_corridor(terrain, risk, how):
    """Metres, expected and observed incidents of the blocks are the corridor's, wherever it ends and however it turns."""
    corridors = search(terrain, risk, how)
    assert len(corridors) >= 2
    blocks = corridor_blocks(terrain, corridors, risk)
    assert list(blocks.columns) == [*COLUMNS, "geometry"]
    assert_adds_up(blocks, corridors, within=1e-7)
    if "anywhere" in how:
        ends = blocks.groupby("rank")["geometry"].agg(["first", "last"]).to_numpy().ravel()
        corners = shapely.multipoints([risk.network.place(node) for node in range(risk.network.n_nodes)])
        inside = [
            shapely.distance(corners, shapely.get_point(line, at)).max() > 1
            for line in ends
            for at in (0, -1)
        ]
        assert any(inside)


@pytest.mark.parametrize("by", ["rrs", "empirical_bayes"])
def test_blocks_of_other_surfaces_add_up(terrain, risk, by):
    """Blocks by the surface that a corridor was found by have its sums."""
    corridors = search(terrain, risk, "one turn", by=by)
    assert_adds_up(corridor_blocks(terrain, corridors, risk, by=by), corridors)


@pytest.mark.parametrize("how", SEARCHES)
def test_order_and_chainage_run_along_the_line(terrain, risk, how):
    """Block by block, end to end, the lines draw the corridor; metres begin at 0, leave no gap and end at its length."""
    corridors = search(terrain, risk, how)
    blocks = corridor_blocks(terrain, corridors, risk)
    for corridor in corridors.itertuples():
        own = blocks[blocks["rank"] == corridor.rank]
        assert own["order"].tolist() == list(range(1, len(own) + 1))
        assert own["from_m"].iloc[0] == 0
        assert np.allclose(own["from_m"].iloc[1:], own["to_m"].iloc[:-1])
        assert own["to_m"].iloc[-1] == pytest.approx(corridor.length_m)
        assert np.allclose(own["to_m"] - own["from_m"], own.geometry.length)
        coordinates = [shapely.get_coordinates(line) for line in own.geometry]
        drawn = np.vstack([coordinates[0], *(more[1:] for more in coordinates[1:])])
        assert np.allclose(drawn, shapely.get_coordinates(corridor.geometry), atol=1e-6)
        # what one block ends at is where the next begins, and names are the corners' streets by hand
        for row in own.itertuples():
            assert row.expected_per_km == pytest.approx(1000 * row.expected / row.length_m)
            kind, other = ("St", "Ave") if row.name.endswith("St") else ("Ave", "St")
            assert row.name.endswith(kind)
            at = 0 if kind == "St" else 1
            for words, place in zip(
                (row.from_street, row.to_street), shapely.get_coordinates(row.geometry)[[0, -1]], strict=True
            ):
                off = np.abs(PLACES + (WEST, SOUTH)[at] - place[at])
                if off.min() < 1e-6:
                    assert words == f"{off.argmin()} {other}" or words.startswith("Sharp Way")
                else:
                    assert words.startswith("short of ")


@pytest.mark.parametrize("form", ["gpkg", "geojson", "degrees", "backwards"])
@pytest.mark.parametrize("how", ["two turns", "anywhere"])
def test_corridors_read_back_from_files(terrain, risk, tmp_path, form, how):
    """A GeoPackage, GeoJSON with six decimals, another system and lines drawn backwards give the same blocks."""
    corridors = search(terrain, risk, how)
    if form == "gpkg":
        corridors.to_file(tmp_path / "corridors.gpkg", engine="pyogrio")
        back = gpd.read_file(tmp_path / "corridors.gpkg")
    elif form == "geojson":
        write_geojson(tmp_path / "corridors.geojson", corridors)
        back = gpd.read_file(tmp_path / "corridors.geojson")
    elif form == "degrees":
        back = corridors.to_crs(4326)
    else:
        back = corridors.set_geometry(corridors.geometry.reverse())
    blocks, again = (corridor_blocks(terrain, table, risk) for table in (corridors, back))
    assert_adds_up(again, corridors, within=1e-3 if form == "geojson" else 1e-6)
    if form == "backwards":
        for rank in corridors["rank"]:
            one, other = (table[table["rank"] == rank] for table in (blocks, again))
            assert other["name"].tolist() == one["name"].tolist()[::-1]
            assert other["from_street"].tolist() == one["to_street"].tolist()[::-1]
    else:
        text = ["rank", "corridor_id", "order", "name", "from_street", "to_street", "top_factors"]
        assert again[text].equals(blocks[text])


def test_a_side_street_at_a_sharp_angle_is_no_part(terrain, risk):
    """A street that leaves the corridor by 1.4 degrees, within half a metre of it for 20 metres, is none of its blocks."""
    rows = streets().query("name == '2 St'")
    line = shapely.line_merge(shapely.union_all(rows.geometry.to_numpy()))
    corridor = gpd.GeoDataFrame({"rank": [1], "corridor_id": ["c"]}, geometry=[line], crs=32615)
    blocks = corridor_blocks(terrain, corridor, risk)
    assert (blocks["name"].tolist(), len(blocks)) == (["2 St"] * 11, N_AVENUES - 1)
    assert blocks["length_m"].sum() == pytest.approx(rows.length.sum())


def test_other_streets_are_refused(terrain, risk):
    """Corridors of other streets, and seams, are one sentence with the metres that fit; so is a table without ranks."""
    corridors = search(terrain, risk, "no turn", k=2)
    few = streets()
    few = few[~few["name"].isin(corridors["name"])]
    with pytest.raises(
        InputError, match=r"Invalid corridor 1 \(\d St\)\. Streets run along \d+ m of its \d+ m"
    ):
        corridor_blocks(terrain, corridors, few)
    seams = find_corridors(terrain, k=1, min_length=300, max_length=800)
    with pytest.raises(InputError, match="give the streets that it was found on"):
        corridor_blocks(terrain, seams, risk)
    with pytest.raises(InputError, match="Invalid column 'rank'"):
        corridor_blocks(terrain, corridors.drop(columns="rank"), risk)
    with pytest.raises(InputError, match="Invalid tolerance_m 0"):
        corridor_blocks(terrain, corridors, risk, tolerance_m=0)


def test_no_corridors_have_no_blocks(terrain, risk):
    """An empty table gives an empty table with the same columns."""
    corridors = search(terrain, risk, "no turn").iloc[:0]
    blocks = corridor_blocks(terrain, corridors, risk)
    assert len(blocks) == 0
    assert list(blocks.columns) == [*COLUMNS, "geometry"]
