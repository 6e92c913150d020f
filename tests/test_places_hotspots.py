"""Hot spots: which cells are taken, in which order, what is said of them, and the areas they form."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

import rtmkc as rtm
from rtmkc.errors import InputError, NoFactorError
from rtmkc.model.terrain import RiskTerrain
from rtmkc.places.scoring import NO_FACTOR_HERE
from rtmkc.raster.grid import Grid, StudyArea

CELL = 100.0
WEST, SOUTH = 362_000.0, 4_326_000.0


def draw(expected, *, flags=None, rrvs=None, environment=None, spot=None, count=None, area=None):
    """Return a terrain whose rasters are as given: cells of 100 m, north up, area history 1 everywhere.

    `expected` is a list of rows; `flags` maps a factor to such a list, `rrvs` to its relative risk value.
    `environment` takes the whole variation of `expected` unless `spot` says that history does.
    """
    expected = np.array(expected, dtype=float)
    n_rows, n_columns = expected.shape
    outline = area or shapely.box(WEST, SOUTH, WEST + n_columns * CELL, SOUTH + n_rows * CELL)
    grid = Grid.cover(StudyArea.from_geometry(outline, crs="EPSG:26915"), cell_size=CELL)
    assert (grid.n_rows, grid.n_columns) == (n_rows, n_columns)
    values = grid.to_vector(expected)
    mean = float(values.mean())
    ones = np.ones(grid.n_cells)
    spot_history = grid.to_vector(np.array(spot, dtype=float)) if spot is not None else ones
    flags = {name: grid.to_vector(np.array(rows, dtype=bool)) for name, rows in (flags or {}).items()}
    rrvs = rrvs or {}
    score = np.prod([np.where(flags[name], rrvs[name], 1.0) for name in flags], axis=0) if flags else ones
    weights = pd.DataFrame(
        [
            {
                "factor": name, "kind": "proximity", "influence_m": 200.0, "coef": np.log(rrv), "se": 0.1,
                "rrv": rrv, "lower": rrv / 1.2, "upper": rrv * 1.2, "n_cells": int(flags[name].sum()),
                "n_inside": 10, "status": "in the model", "reason": "",
            }
            for name, rrv in sorted(rrvs.items(), key=lambda item: -item[1])
        ]
        or [{"factor": "dumping", "status": "out", "reason": "not significant", "rrv": np.nan}]
    )  # fmt: skip
    terrain = RiskTerrain.__new__(RiskTerrain)
    terrain._fill(
        grid,
        {
            "share": grid.share,
            "count": grid.to_vector(np.array(count)) if count is not None else np.zeros(grid.n_cells),
            "exposure": ones,
            "rrs": score / score.min(),
            "environment": values / mean / spot_history,
            "area_history": ones,
            "spot_history": spot_history,
            "expected": mean * (values / mean / spot_history) * spot_history,
            "lower": 0 * ones,
            "upper": np.ceil(3 * values),
        },
        {name: flags[name] for name in rrvs},
        weights,
        pd.DataFrame({"factor": []}),
        mean,
        90,
        {"n_incidents": 12, "period": "2021-01-01/2021-12-31"},
    )
    return terrain


# Two blobs and a loner among cells of 1: A joins by a corner, B by a side, C touches nothing.
PICTURE = [
    [9, 1, 1, 1, 1, 7],
    [1, 9, 1, 1, 1, 7],
    [1, 1, 1, 1, 1, 1],
    [1, 1, 1, 5, 1, 1],
]


@pytest.fixture(scope="module")
def terrain():
    flags = {"bars": [[1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0] * 6, [0, 0, 0, 1, 0, 0]]}
    return draw(
        PICTURE, flags=flags, rrvs={"bars": 2.5}, count=[[4, 0, 0, 0, 0, 3], [2] + [0] * 5, [0] * 6, [0] * 6]
    )


def squares(terrain, **columns):
    shapes = terrain.grid.cell_polygons()
    return gpd.GeoDataFrame(
        columns, geometry=list(shapes[: len(next(iter(columns.values())))]), crs=shapes.crs
    )


def test_count_takes_the_highest_cells_in_order(terrain):
    """The five highest of the picture, ranked 1 to 5, with equal cells from north-west to south-east."""
    table = rtm.find_hotspots(terrain, count=5)
    assert table["rank"].tolist() == [1, 2, 3, 4, 5]
    assert list(zip(table["row"], table["column"], strict=True)) == [(0, 0), (1, 1), (0, 5), (1, 5), (3, 3)]
    np.testing.assert_allclose(table["expected"], [9, 9, 7, 7, 5])
    np.testing.assert_allclose(table["relative"], table["expected"] / np.mean(PICTURE))
    assert table.crs == terrain.grid.crs
    assert table.geometry.area.tolist() == [10_000.0] * 5


def test_count_beyond_the_cells_takes_them_all(terrain):
    """There are no more hot spots than cells."""
    assert len(rtm.find_hotspots(terrain, count=1000)) == 24


def test_area_share_is_filled_up_to_the_last_cell_that_fits(terrain):
    """Of 24 whole cells a share of 3/24 takes 3, a hair less takes 2, and less than one cell takes one."""
    sizes = [len(rtm.find_hotspots(terrain, area_share=share)) for share in (3 / 24, 2.99 / 24, 0.001, 1)]
    assert sizes == [3, 2, 1, 24]


def test_default_is_two_percent_of_the_area():
    """Of 100 equal cells the default takes two, and says so."""
    table = rtm.find_hotspots(draw(np.arange(1, 101).reshape(10, 10)))
    assert table["cell_id"].tolist() == [99, 98]
    assert table.attrs["statement"] == (
        "the cells highest by expected, up to 2 % of the study area: 2 cells, 2 % of the area"
    )


def test_cells_on_the_border_count_with_their_share():
    """Where the hottest cells lie half outside, twice as many fit into the same share of the area."""
    west, south = 362_000.0, 4_326_000.0
    # Four columns of ten cells, the first of which lies half outside the area: 5 + 30 = 35 cells' worth.
    outline = shapely.box(west, south, west + 350.0, south + 1000.0)
    picture = np.tile([1.0, 2.0, 3.0, 9.0], (10, 1))
    terrain = draw(picture, area=outline)
    assert sorted(set(terrain.grid.share)) == [0.5, 1.0]
    share = terrain.grid.share.sum()
    assert share == 35
    hot = terrain.cells["expected"].to_numpy() > 8
    assert terrain.grid.share[hot].tolist() == [0.5] * 10
    assert len(rtm.find_hotspots(terrain, area_share=2 / 35)) == 4
    assert len(rtm.find_hotspots(terrain, area_share=1.9 / 35)) == 3


def test_standard_deviations_cut_above_mean_plus_two_population_deviations():
    """With 3 of 25 cells at RRS 4 the cut is 1.36 + 2 x 0.975 = 3.31; with 12 of 25 nothing exceeds it."""
    few, many = np.zeros((5, 5), dtype=int), np.zeros((5, 5), dtype=int)
    few.flat[:3], many.flat[:12] = 1, 1
    expected = np.ones((5, 5))
    table = rtm.find_hotspots(draw(expected, flags={"bars": few}, rrvs={"bars": 4.0}), standard_deviations=2)
    assert table["cell_id"].tolist() == [0, 1, 2]
    score = np.where(few, 4.0, 1.0)
    assert f"(above {score.mean() + 2 * score.std():.3g})" in table.attrs["statement"]
    terrain = draw(expected, flags={"bars": many}, rrvs={"bars": 4.0})
    for areas in (False, True):
        none = rtm.find_hotspots(
            terrain, standard_deviations=2, areas=areas, names=squares(terrain, name=["a"])
        )
        assert len(none) == 0
        assert {"rank", "name", "relative", "expected", "why", "longitude", "geometry"} <= set(none.columns)
        assert none.attrs["statement"].endswith("0 cells, 0 % of the area")


def test_population_deviation_decides_where_the_two_differ():
    """One cell of five at 3: its score is exactly mean + 2 population SDs and so not above; 1.99 takes it."""
    terrain = draw([[1, 1, 1, 1, 1]], flags={"bars": [[1, 0, 0, 0, 0]]}, rrvs={"bars": 3.0})
    assert len(rtm.find_hotspots(terrain, standard_deviations=2)) == 0
    assert len(rtm.find_hotspots(terrain, standard_deviations=1.99)) == 1


def test_equal_cells_are_ordered_by_the_other_value():
    """Among equal expected values the higher relative risk score comes first, and the other way round."""
    flags = {"bars": [[0, 0, 1], [0, 1, 1]]}
    terrain = draw([[5, 5, 5], [9, 3, 8]], flags=flags, rrvs={"bars": 2.0})
    assert rtm.find_hotspots(terrain, count=6)["cell_id"].tolist() == [3, 5, 2, 0, 1, 4]
    assert rtm.find_hotspots(terrain, count=6, by="rrs")["cell_id"].tolist() == [5, 2, 4, 3, 0, 1]


def test_rounding_in_the_last_digits_does_not_order_cells():
    """Cells that differ by less than a billionth are ties, so order is the same on every machine."""
    flags = {"bars": [[0, 1]]}
    terrain = draw([[5.0 * (1 + 1e-13), 5.0]], flags=flags, rrvs={"bars": 2.0})
    assert rtm.find_hotspots(terrain, count=2)["cell_id"].tolist() == [1, 0]


def test_without_a_factor_rrs_cannot_rank():
    """Ranking by rrs, asked for or implied, says that there is no factor and what to do."""
    terrain = draw(PICTURE)
    for options in ({"by": "rrs"}, {"standard_deviations": 2}):
        with pytest.raises(NoFactorError, match=r"rank by 'expected', which uses local history"):
            rtm.find_hotspots(terrain, **options)
    assert len(rtm.find_hotspots(terrain, count=2)) == 2


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"count": 3, "area_share": 0.1}, "Invalid cuts area_share, count. Give one"),
        ({"count": 0}, "Invalid count 0. It must be a whole number of at least 1"),
        ({"count": 2.5}, "Invalid count 2.5"),
        ({"area_share": 0}, "Invalid area_share 0. It must be a share"),
        ({"area_share": 2}, "Invalid area_share 2"),
        ({"area_share": float("nan")}, "Invalid area_share nan"),
        ({"standard_deviations": -1}, "Invalid standard_deviations -1"),
        ({"standard_deviations": "two"}, "Invalid standard_deviations 'two'. It must be a number"),
        ({"standard_deviations": 2, "by": "expected"}, "Invalid by 'expected'"),
        ({"by": "risk"}, "Invalid by 'risk'. Rank by 'expected'"),
    ],
)
def test_cuts_out_of_range_are_refused(terrain, options, rule):
    """Each cut has its range, and only one may be given."""
    with pytest.raises(InputError, match=rule):
        rtm.find_hotspots(terrain, **options)


def test_areas_are_the_groups_of_the_picture(terrain):
    """Cells that touch by a side or a corner form one area: 2 + 2 + 1 cells, ranked by what they sum to."""
    table = rtm.find_hotspots(terrain, count=5, areas=True)
    assert table["rank"].tolist() == [1, 2, 3]
    assert table["n_cells"].tolist() == [2, 2, 1]
    np.testing.assert_allclose(table["expected"], [18, 14, 5])
    np.testing.assert_allclose(table["relative"], np.array([9, 7, 5]) / np.mean(PICTURE))
    assert table["area_m2"].tolist() == [20_000, 20_000, 10_000]
    assert table["count"].tolist() == [4, 3, 0]
    np.testing.assert_allclose(table["rrs"], [2.5, 1, 2.5])
    assert table["why"].tolist()[0] == "bars in 100 % of cells"
    cells = rtm.find_hotspots(terrain, count=5)
    assert shapely.equals(table.geometry.union_all(), cells.geometry.union_all())


def test_areas_by_rrs_rank_by_the_score_of_their_cells(terrain):
    """By rrs an area of two flagged cells comes before one of one, whatever is expected there."""
    table = rtm.find_hotspots(terrain, count=3, by="rrs", areas=True)
    assert table["n_cells"].tolist() == [2, 1]
    np.testing.assert_allclose(table["rrs"], 2.5)


def test_both_explanations_stand_apart(terrain):
    """`why` lists relative risk values, `where` the multiples of the city's mean; neither holds the other."""
    first = rtm.find_hotspots(terrain, count=1).iloc[0]
    assert first["why"] == "bars x2.50"
    assert (
        first["where"] == f"environment x{9 / np.mean(PICTURE):.2f}, area history x1.00, spot history x1.00"
    )
    assert first["f_bars"]


def test_history_without_a_factor_is_said():
    """A high cell without any factor says that history ranks it; one that the curves rank says that."""
    terrain = draw(
        [[8, 8, 1, 1, 1, 1]],
        spot=[[6, 1, 1, 1, 1, 1]],
        flags={"bars": [[0, 0, 1, 0, 0, 0]]},
        rrvs={"bars": 2.0},
    )
    said = rtm.find_hotspots(terrain, count=6).set_index("cell_id")["why"]
    assert said[0] == NO_FACTOR_HERE == "ranked by history; no measured factor explains it"
    assert said[1] == "no factor with a weight is here; the curves of the forecast rank it"
    assert said[2] == "bars x2.00"
    assert said[3] == "no measured factor"
    areas = rtm.find_hotspots(draw([[8, 1, 1, 1]], spot=[[4, 1, 1, 1]]), count=1, areas=True)
    assert areas["why"].tolist() == [NO_FACTOR_HERE]


def test_places_on_the_map_are_those_of_the_cells(terrain):
    """Longitude and latitude project back to the middle of each cell."""
    table = rtm.find_hotspots(terrain, count=5)
    back = gpd.GeoSeries.from_xy(table["longitude"], table["latitude"], crs=4326).to_crs(terrain.grid.crs)
    assert (back.distance(table.geometry.centroid) < 1e-3).all()
    areas = rtm.find_hotspots(terrain, count=5, areas=True)
    back = gpd.GeoSeries.from_xy(areas["longitude"], areas["latitude"], crs=4326).to_crs(terrain.grid.crs)
    assert (back.distance(areas.geometry) < 1e-3).all()


def test_names_come_from_the_area_that_holds_the_place(terrain):
    """Each hot spot gets the name of its area, the first of two that overlap, none outside, in any system."""
    north = shapely.box(361_000, 4_326_200, 363_000, 4_327_000)
    west = shapely.box(361_000, 4_326_000, 362_200, 4_327_000)
    names = gpd.GeoDataFrame(
        {"NAME": ["North", "West"], "kind": ["x", "y"]}, geometry=[north, west], crs=26915
    )
    for layer in (names, names.to_crs(4326)):
        table = rtm.find_hotspots(terrain, count=5, names=layer)
        assert table.columns[1] == "name"
        assert table["name"].tolist() == ["North"] * 4 + [""]
    swapped = rtm.find_hotspots(terrain, count=5, names=names[::-1])
    assert swapped["name"].tolist() == ["West", "West", "North", "North", ""]
    chosen = rtm.find_hotspots(terrain, count=5, names=names, name_column="kind", areas=True)
    assert chosen["name"].tolist() == ["x", "x", ""]


def test_names_need_a_column(terrain):
    """A layer whose column of names cannot be told, or is not there, is refused with the columns it has."""
    layer = squares(terrain, one=["a"], two=["b"])
    with pytest.raises(InputError, match=r"called like a name among: one, two; say which with name_column="):
        rtm.find_hotspots(terrain, count=1, names=layer)
    with pytest.raises(InputError, match=r"Invalid column 'three'.*it has: one, two"):
        rtm.find_hotspots(terrain, count=1, names=layer, name_column="three")
    assert rtm.find_hotspots(terrain, count=1, names=layer[["one", "geometry"]])["name"].tolist() == ["a"]


def test_the_method_of_the_terrain_is_the_function(terrain):
    """`terrain.hotspots()` is `find_hotspots`, and neither changes the terrain."""
    before = terrain.cells.copy()
    pd.testing.assert_frame_equal(terrain.hotspots(count=4), rtm.find_hotspots(terrain, count=4))
    pd.testing.assert_frame_equal(terrain.cells, before)
