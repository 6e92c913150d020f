"""RiskFactor, Exposure and Candidates: arithmetic, codes against plain columns, reasons for what is dropped."""

from itertools import pairwise

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from scipy.spatial import cKDTree

import rtmkc as rtm
from rtmkc.errors import DataWarning, InputError
from rtmkc.raster.exposure import measure_exposure
from rtmkc.raster.factors import nearest_neighbour
from rtmkc.raster.surfaces import quartic_density

UTM = "EPSG:26915"
AREA = shapely.box(1000, 1000, 5000, 4000)


@pytest.fixture(scope="module")
def grid():
    """80 x 60 cells of 50 m, block 100 m."""
    return rtm.Grid.cover(rtm.StudyArea.from_geometry(AREA, crs=UTM), block_length=100)


def frame(coordinates):
    return gpd.GeoDataFrame(geometry=gpd.points_from_xy(*np.asarray(coordinates, dtype=float).T), crs=UTM)


def scattered(number, seed, margin=0):
    rng = np.random.default_rng(seed)
    return frame(
        np.column_stack(
            [
                rng.uniform(1000 - margin, 5000 + margin, number),
                rng.uniform(1000 - margin, 4000 + margin, number),
            ]
        )
    )


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        ([("both", "3 blocks", "whole"), ("proximity", "3 blocks", "whole")], 9),
        ([("both", "3 blocks", "half")] * 14 + [("proximity", "3 blocks", "half")], 174),
        ([("both", "3 blocks", "whole")] * 14 + [("proximity", "3 blocks", "whole")] * 9, 111),
    ],
    ids=["Leeds", "RTMDx manual", "Chicago assault"],
)
def test_candidate_arithmetic_of_published_studies(specs, expected):
    """Factors x kinds x increments give the 9, 174 and 111 candidates of the published reports."""
    small = rtm.Grid.cover(
        rtm.StudyArea.from_geometry(shapely.box(1000, 1000, 2000, 2000), crs=UTM), block_length=100
    )
    rng = np.random.default_rng(0)
    factors = [
        rtm.RiskFactor(
            f"factor {number}",
            frame(rng.uniform(1000, 2000, (8, 2))),
            kind=kind,
            max_influence=reach,
            increment=increment,
        )
        for number, (kind, reach, increment) in enumerate(specs)
    ]
    assert rtm.build_candidates(small, factors).n_generated == expected


def test_columns_are_within_distance_and_above_the_density_cut(grid):
    """Each column equals its definition computed plainly, from features inside and beyond the boundary."""
    points = scattered(150, 3, margin=400)
    candidates = rtm.build_candidates(grid, [rtm.RiskFactor("bars", points)])
    coordinates = shapely.get_coordinates(points.geometry.to_numpy())
    distance, _ = cKDTree(coordinates).query(np.column_stack([grid.eastings, grid.northings]))
    assert len(candidates.columns) + len(candidates.dropped) == 12
    for number, row in candidates.columns.iterrows():
        if row["kind"] == "proximity":
            expected = distance <= row["influence_m"]
        else:
            density = quartic_density(grid, points.geometry.to_numpy(), row["influence_m"])
            expected = density >= density.mean() + 2 * density.std()
        np.testing.assert_array_equal(candidates.column(number), expected)
        assert row["n_cells"] == expected.sum()
    table = candidates.to_frame()
    assert table.shape == (grid.n_cells, candidates.n_columns)
    assert set(np.unique(table.to_numpy())) == {0, 1}


def test_codes_are_one_byte_per_cell_and_variable(grid):
    """A factor of both kinds takes two bytes a cell, however many columns it has."""
    candidates = rtm.build_candidates(
        grid, [rtm.RiskFactor("a", scattered(90, 1)), rtm.RiskFactor("b", scattered(90, 2))]
    )
    assert [codes.dtype for codes in candidates.codes] == [np.uint8] * 4
    assert [
        table.shape[0] > codes.max() for codes, table in zip(candidates.codes, candidates.tables, strict=True)
    ]


def test_features_beyond_the_boundary_count(grid):
    """A feature 80 m outside the area marks the cells within reach inside it; one farther off is dropped and counted."""
    inside = scattered(20, 5)
    outside = frame([(920.0, 2025.0), (100.0, 2025.0)])
    both = pd.concat([inside, outside], ignore_index=True)
    candidates = rtm.build_candidates(grid, [rtm.RiskFactor("a", both, kind="proximity")])
    features = candidates.features["a"]
    assert (features.n_inside, features.n_beyond) == (20, 1)
    assert list(features.layer.ledger.dropped.values()) == [1]
    column = candidates.columns.query("influence_m == 150").index[0]
    assert candidates.column(column)[grid.locate([1025.0], [2025.0])[0]]


def test_constant_rare_and_duplicate_columns_are_dropped_with_their_reason(grid):
    """One far point is too rare at short reach; a copy of a factor is a duplicate; a factor everywhere is constant."""
    rng = np.random.default_rng(4)
    everywhere = frame(np.column_stack([grid.eastings, grid.northings]))
    base = scattered(40, 6)
    factors = [
        rtm.RiskFactor("one point", frame([(3000.0, 2500.0)]), kind="proximity"),
        rtm.RiskFactor("base", base, kind="proximity"),
        rtm.RiskFactor("copy", base.sample(frac=1, random_state=int(rng.integers(9))), kind="proximity"),
        rtm.RiskFactor("everywhere", everywhere, kind="proximity"),
    ]
    candidates = rtm.build_candidates(grid, factors)
    reasons = candidates.dropped.set_index("name")["reason"]
    assert reasons["one point | proximity | 50 m"].startswith("too rare: true in 4 cells")
    assert reasons["copy | proximity | 100 m"] == "duplicate: the same cells as 'base | proximity | 100 m'"
    assert reasons["everywhere | proximity | 300 m"] == "constant: true in all cells"
    assert candidates.n_generated == 24


def test_identical_points_are_one_place_for_proximity_and_many_for_density(grid):
    """A thousand points on one spot mark the same cells as one; their density peaks there."""
    one = rtm.build_candidates(grid, [rtm.RiskFactor("a", frame([(3000.0, 2500.0)]))])
    many = rtm.build_candidates(grid, [rtm.RiskFactor("a", frame([(3000.0, 2500.0)] * 1000))])
    for number, name in enumerate(one.columns["name"]):
        np.testing.assert_array_equal(one.column(number), many.column(number), err_msg=name)


def test_policing_and_person_layers_are_refused_unless_asked_for_by_name(grid):
    """A layer of arrests is refused; naming its provenance lets it in."""
    layer = rtm.read_layer(scattered(30, 7), name="drug market calls", provenance="policing")
    with pytest.raises(InputError, match="provenance 'policing'.*allow_provenance='policing'"):
        rtm.build_candidates(grid, [rtm.RiskFactor("calls", layer)])
    with pytest.raises(InputError, match="provenance 'policing'"):
        rtm.build_candidates(grid, [rtm.RiskFactor("calls", layer, allow_provenance="person")])
    assert (
        rtm.build_candidates(grid, [rtm.RiskFactor("calls", layer, allow_provenance="policing")]).n_columns
        > 0
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "near"}, "Invalid kind of factor 'a' 'near'"),
        ({"increment": "third"}, "Invalid increment of factor 'a'"),
        ({"direction": "up"}, "Invalid direction of factor 'a'"),
        ({"allow_provenance": "inspection"}, "Invalid allow_provenance of factor 'a'"),
    ],
)
def test_options_of_a_factor_are_checked_when_it_is_made(options, message):
    """A wrong option is an error at once, with the choices."""
    with pytest.raises(InputError, match=message):
        rtm.RiskFactor("a", None, **options)


def test_factors_that_cannot_be_measured_are_refused(grid):
    """No factors, two of a name, an empty layer and a layer of another city are errors that say so."""
    with pytest.raises(InputError, match="Give at least one RiskFactor"):
        rtm.build_candidates(grid, [])
    with pytest.raises(InputError, match="Invalid factor name 'a'. Each name may be used once"):
        rtm.build_candidates(
            grid, [rtm.RiskFactor("a", scattered(5, 1)), rtm.RiskFactor("a", scattered(5, 2))]
        )
    with pytest.raises(InputError, match="None of its 2 features lies within 300 m"):
        rtm.build_candidates(grid, [rtm.RiskFactor("a", frame([(90_000, 90_000), (91_000, 90_000)]))])
    with (
        pytest.raises(InputError, match="Invalid factor 'a'. Its layer .* has no features left"),
        pytest.warns(DataWarning, match="nothing is left of 0 rows"),
    ):
        rtm.build_candidates(grid, [rtm.RiskFactor("a", scattered(5, 1).iloc[:0])])
    bare = rtm.Grid.cover(rtm.StudyArea.from_geometry(AREA, crs=UTM), cell_size=50)
    with pytest.raises(
        InputError, match="Invalid max_influence of factor 'a' '3 blocks'. A length in blocks needs"
    ):
        rtm.build_candidates(bare, [rtm.RiskFactor("a", scattered(5, 1))])


def test_influences_step_by_half_or_whole_blocks(grid):
    """Three blocks of 100 m: six half steps or three whole ones; a reach between steps is the last one."""
    assert rtm.RiskFactor("a", None).influences(grid) == [50, 100, 150, 200, 250, 300]
    assert rtm.RiskFactor("a", None, increment="whole").influences(grid) == [100, 200, 300]
    assert rtm.RiskFactor("a", None, max_influence="230 m", increment="whole").influences(grid) == [
        100,
        200,
        230,
    ]
    assert rtm.RiskFactor("a", None, max_influence="20 m").influences(grid) == [20]


def test_auto_kind_follows_the_nearest_neighbour_rule(grid):
    """Clustered points with near neighbours ask for density, a lattice for proximity; the note says why."""
    rng = np.random.default_rng(8)
    clusters = rng.uniform([1500, 1500], [4500, 3500], (8, 2))
    clustered = frame((clusters[:, None, :] + rng.normal(0, 40, (8, 15, 2))).reshape(-1, 2))
    lattice = frame(
        np.array(np.meshgrid(np.arange(1100, 5000, 400), np.arange(1100, 4000, 400))).reshape(2, -1).T
    )
    candidates = rtm.build_candidates(
        grid,
        [
            rtm.RiskFactor("clustered", clustered, kind="auto"),
            rtm.RiskFactor("lattice", lattice, kind="auto"),
        ],
    )
    kinds = candidates.columns.groupby("factor")["kind"].unique()
    assert list(kinds["clustered"]) == ["density"]
    assert list(kinds["lattice"]) == ["proximity"]
    assert "clustered: density, as the mean distance between neighbours" in candidates.notes[0]


def test_clark_evans_of_a_lattice_and_of_chance():
    """A square lattice has a ratio of 2 (its expectation is half the spacing); uniform points have one near 1."""
    lattice = np.array(np.meshgrid(np.arange(50), np.arange(50))).reshape(2, -1).T * 10.0
    ratio, z_score, observed = nearest_neighbour(lattice, 500.0 * 500.0)
    assert (ratio, observed) == (pytest.approx(2.0), pytest.approx(10.0))
    assert z_score > 50
    uniform = np.random.default_rng(2).uniform(0, 500, (4000, 2))
    assert nearest_neighbour(uniform, 500.0 * 500.0)[0] == pytest.approx(1.0, abs=0.03)


def test_exposure_is_relative_floored_and_said(grid):
    """Exposure has mean 1 and no zeros; the share of lifted cells is in its sentence."""
    measured = measure_exposure(grid, rtm.Exposure(scattered(500, 9), "parcels"))
    assert measured.values.mean() == pytest.approx(1.0)
    assert measured.values.min() > 0
    assert "density of parcels (n = 500" in measured.statement
    assert measure_exposure(grid, None).statement == "not adjusted for how busy places are"
    with pytest.raises(InputError, match="values greater than 0"):
        measure_exposure(grid, np.zeros(grid.n_cells))
    with pytest.raises(InputError, match="None of its 1 features"):
        measure_exposure(grid, rtm.Exposure(frame([(90_000, 90_000)])))


def test_curves_are_nested_and_stop_at_the_reach(grid):
    """Curve columns of a variable are nested, distances end at max_influence, bandwidths never exceed it."""
    from rtmkc.raster.candidates import build_curves

    candidates = build_curves(grid, [rtm.RiskFactor("a", scattered(200, 10), max_influence="12 blocks")])
    assert candidates.columns["influence_m"].max() == 1200
    for _, own in candidates.columns.groupby("variable"):
        columns = np.array([candidates.column(number) for number in own.index])
        sizes = columns.sum(axis=1)
        order = np.argsort(sizes)
        for small, large in pairwise(order):
            assert not np.any(columns[small] & ~columns[large])
    assert candidates.columns.groupby("kind")["variable"].nunique().to_dict() == {
        "density": 4,
        "proximity": 1,
    }


def test_cells_that_decide_set_the_cuts(grid):
    """With half of the cells the density cut is mean + 2 SD over that half; every cell is coded by it."""
    factor = rtm.RiskFactor("a", scattered(300, 11), kind="density", max_influence="4 blocks")
    west = grid.columns < 40
    candidates = rtm.build_candidates(grid, [factor], cells=west)
    for number, row in candidates.columns.iterrows():
        density = quartic_density(grid, factor.features(grid).frame.geometry.to_numpy(), row["influence_m"])
        cut = density[west].mean() + 2 * density[west].std()
        assert row["cut"] == pytest.approx(cut, rel=1e-12)
        np.testing.assert_array_equal(candidates.column(number), density >= cut)
        assert row["n_cells"] == (density[west] >= cut).sum()
        assert row["cell_share"] == pytest.approx((density[west] >= cut).mean())
    whole = rtm.build_candidates(grid, [factor])
    assert not np.allclose(whole.columns["cut"], candidates.columns["cut"], rtol=1e-3)


def test_what_lies_outside_the_deciding_cells_changes_nothing_in_them(grid):
    """Features far from the deciding cells, few or many, leave their cuts, their columns and what is dropped as they are."""
    west = grid.columns < 30
    home = np.random.default_rng(12).uniform([1000, 1000], [2000, 4000], (150, 2))
    away = np.random.default_rng(13).uniform([4500, 1000], [5000, 4000], (4000, 2))
    for build in (rtm.build_candidates, rtm.build_curves):
        few, many = (
            build(
                grid,
                [rtm.RiskFactor("a", frame(points), max_influence="3 blocks")],
                cells=west,
            )
            for points in (np.concatenate([home, away[:5]]), np.concatenate([home, away]))
        )
        columns = ["name", "cut", "n_cells"]
        pd.testing.assert_frame_equal(few.columns[columns], many.columns[columns])
        pd.testing.assert_frame_equal(few.dropped, many.dropped)
        inside = few.within(west), many.within(west)
        pd.testing.assert_frame_equal(*(one.to_frame() for one in inside))


def test_candidates_within_some_cells(grid):
    """A part has the rows of its cells, on a grid of them alone that knows where they lie."""
    west = grid.columns < 33
    candidates = rtm.build_candidates(
        grid, [rtm.RiskFactor("a", scattered(60, 14), max_influence="2 blocks")], cells=west
    )
    part = candidates.within(west)
    assert part.grid.n_cells == west.sum()
    assert part.grid != grid
    np.testing.assert_array_equal(part.grid.eastings, grid.eastings[west])
    np.testing.assert_array_equal(part.to_frame().to_numpy(), candidates.to_frame().to_numpy()[west])
    np.testing.assert_array_equal(part.to_frame().sum().to_numpy(), candidates.columns["n_cells"])


@pytest.mark.parametrize("cells", [np.ones(5, dtype=bool), np.ones(4800), np.zeros(4800, dtype=bool)])
def test_cells_that_cannot_decide(grid, cells):
    """Deciding cells are booleans, one a cell, and not all false."""
    with pytest.raises(InputError, match="one boolean for each of the 4,800 cells"):
        rtm.build_candidates(grid, [rtm.RiskFactor("a", scattered(60, 14))], cells=cells)
