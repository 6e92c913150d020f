"""The random forest, against scikit-learn's own prediction, and what its out-of-bag surface must not know."""

import numpy as np
import pytest
import shapely
from sklearn.ensemble import RandomForestRegressor

import rtmkc as rtm
from rtmkc.evidence import forest
from rtmkc.model.history.ages import both_ways
from rtmkc.raster.surfaces import nearest_distance, quartic_density


@pytest.fixture(scope="module")
def city():
    return rtm.simulate_city(n_rows=40, n_columns=40, n_factors=3, random_state=5)


@pytest.fixture(scope="module")
def curves(city):
    return rtm.build_curves(city.grid, city.risk_factors(max_influence="6 blocks"))


def test_columns_keep_the_order_of_distance_and_density(city, curves):
    """Along every column of codes the true distance falls or the true density rises, and never turns."""
    columns = forest.columns_of(curves)
    assert columns.shape == (city.grid.n_cells, len(curves.codes))
    for variable, rows in curves.columns.groupby("variable"):
        points = city.factor_points[rows["factor"].iloc[0]].geometry.to_numpy()
        if rows["kind"].iloc[0] == "proximity":
            truth = nearest_distance(city.grid, points, rows["influence_m"].max())
        else:
            truth = quartic_density(city.grid, points, rows["influence_m"].iloc[0])
        code = columns[:, variable]
        levels = np.unique(code)
        low, high = (np.array([find(truth[code == level]) for level in levels]) for find in (np.min, np.max))
        assert len(levels) > 3
        assert (high[:-1] <= low[1:] * (1 + 1e-9)).all()


def test_a_forest_is_scikit_learns(city, curves):
    """Mean of all trees, and of the trees that have not drawn a cell, are its predict and its out-of-bag prediction."""
    columns, sizes = forest.columns_of(curves), city.grid.share
    counts = city.grid.count(city.incidents)
    grown = forest.grow(columns, counts, sizes, leaf=20, n_trees=40, seed=3)
    oracle = RandomForestRegressor(
        40, min_samples_leaf=20, max_features="sqrt", oob_score=True, random_state=3
    ).fit(columns, counts / sizes, sample_weight=sizes)
    np.testing.assert_allclose(grown.whole, oracle.predict(columns), rtol=1e-12)
    np.testing.assert_allclose(grown.out_of_bag, oracle.oob_prediction_, rtol=1e-12)
    others = forest.grow(columns, counts, sizes, leaf=20, n_trees=40, seed=3, others=columns[:50])
    np.testing.assert_array_equal(others.whole, grown.whole[:50])
    again = forest.grow(columns, counts, sizes, leaf=20, n_trees=40, seed=3)
    np.testing.assert_array_equal(again.out_of_bag, grown.out_of_bag)


def test_trees_are_grown_a_few_at_a_time(city, curves, monkeypatch):
    """A forest of 14 trees is that of 10 and that of 4 with the next seed, weighed by their numbers."""
    columns, sizes = forest.columns_of(curves), city.grid.share
    counts = city.grid.count(city.incidents)
    monkeypatch.setattr(forest, "TREES_AT_A_TIME", 10)
    whole, ten, four = (
        forest.grow(columns, counts, sizes, leaf=20, n_trees=number, seed=seed).whole
        for number, seed in ((14, 3), (10, 3), (4, 13))
    )
    np.testing.assert_allclose(whole, (10 * ten + 4 * four) / 14, rtol=1e-12)


def test_out_of_bag_remembers_nothing_of_the_cell():
    """On counts that no column explains the whole forest has learned them by heart, the out-of-bag surface not."""
    random = np.random.default_rng(0)
    columns, counts = random.normal(size=(2000, 5)).astype(np.float32), random.poisson(0.5, 2000)
    grown = forest.grow(columns, counts, np.ones(2000), leaf=3, n_trees=100, seed=0)
    assert np.corrcoef(grown.whole, counts)[0, 1] > 0.6
    assert abs(np.corrcoef(grown.out_of_bag, counts)[0, 1]) < 4 / np.sqrt(2000)


def test_cells_in_every_bag_get_the_mean():
    """With one tree a cell it has drawn has no out-of-bag value: it gets the rate of all cells."""
    columns, counts = np.arange(40, dtype=np.float32)[:, None], np.arange(40) % 3
    grown = forest.grow(columns, counts, np.full(40, 0.5), leaf=1, n_trees=1, seed=0)
    drawn = np.isclose(grown.out_of_bag, counts.sum() / 20)
    assert 0.5 < drawn.mean() < 0.8


def test_lags_are_rates_without_an_edge():
    """Incidents spread as the area is give equal lags in every cell, partial ones at the edge too."""
    area = rtm.StudyArea.from_geometry(shapely.Point(5000, 5000).buffer(900), crs="EPSG:26915")
    grid = rtm.Grid.cover(area, cell_size=100)
    np.testing.assert_allclose(forest.lags(grid, 7 * grid.share), 7.0, rtol=1e-5)
    one = np.zeros(grid.n_cells)
    one[100] = 1
    lagged = forest.lags(grid, one)
    assert lagged[100, 0] == pytest.approx(1 / grid.share[100])
    assert (np.diff(lagged[100]) < 0).all()


def test_leaves_are_small_where_the_past_repeats(monkeypatch):
    """Later incidents where earlier ones were ask for small leaves, incidents that columns alone explain for large ones."""
    monkeypatch.setattr(forest, "LEAVES", (3, 60))
    random = np.random.default_rng(1)
    columns = random.normal(size=(3000, 4)).astype(np.float32)
    hot = random.random(3000) < 0.02
    own = np.where(hot, 5.0, 0.02)
    explained = np.exp(columns[:, 0]) * 0.3
    for rate, leaf in ((own, 3), (explained, 60)):
        half, rest = random.poisson(rate), random.poisson(rate)
        lessons = both_ways([half], half + rest)
        whole, unseen = forest.choose_by_time(columns, lessons, np.ones(3000), 0)
        assert whole.leaf == leaf
        # What has not seen the cell cannot repeat its past.
        assert unseen.leaf == 60


def test_choices_by_places_and_by_bag(monkeypatch):
    """With an effect of one column and folds of cells, or out of bag, large leaves win; a flat truth asks for a floor."""
    monkeypatch.setattr(forest, "LEAVES", (3, 60))
    monkeypatch.setattr(forest, "PLACE_LEAVES", (3, 60))
    random = np.random.default_rng(2)
    columns = random.normal(size=(3000, 4)).astype(np.float32)
    counts = random.poisson(np.exp(0.5 * columns[:, 0]) * 0.1)
    folds = np.arange(3000) % 3
    assert forest.choose_by_places(columns, counts, np.ones(3000), folds, 0).leaf == 60
    assert forest.choose_by_bag(columns, counts, np.ones(3000), 0).leaf == 60
    flat = random.poisson(0.1, 3000)
    assert forest.choose_by_bag(columns, flat, np.ones(3000), 0).floor == max(forest.FLOORS)
