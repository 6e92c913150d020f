"""Explanations of corridors: shares of the length, and a product that is exact."""

import numpy as np
import pytest
import shapely

from rtmkc.errors import InputError
from rtmkc.places.corridors.explanation import explain_corridor, lengths_in_cells


@pytest.fixture(scope="module")
def terrain(make_terrain):
    return make_terrain(method="guarded")


def at(terrain, *places):
    """A line through places given in cells from the north-west corner."""
    grid = terrain.grid
    return shapely.LineString([(grid.west + 100 * east, grid.north - 100 * south) for east, south in places])


def test_length_is_shared_among_the_cells_a_line_passes(terrain):
    """From the middle of one cell through the next into a quarter of the third: 50, 100, 25 m."""
    cell, length = lengths_in_cells(at(terrain, (0.5, 0.5), (2.25, 0.5)), terrain.grid)
    assert cell.tolist() == [0, 1, 2]
    assert length.tolist() == pytest.approx([50.0, 100.0, 25.0])


def test_a_line_on_an_edge_counts_half_on_either_side(terrain):
    """Between two rows, each cell has half of its side; on the area's own edge what is outside is lost."""
    cell, length = lengths_in_cells(at(terrain, (0, 1), (1, 1)), terrain.grid)
    assert (cell.tolist(), length.tolist()) == ([0, 30], pytest.approx([50.0, 50.0]))


def test_a_line_by_chance_has_all_its_metres(terrain):
    """A bent line inside the area: its cells hold its length, cell by cell that of points every centimetre."""
    line = at(terrain, (1.3, 2.2), (7.9, 5.1), (9.2, 20.7))
    cell, length = lengths_in_cells(line, terrain.grid)
    assert length.sum() == pytest.approx(line.length)
    points = shapely.get_coordinates(
        shapely.line_interpolate_point(line, np.arange(0.005, line.length, 0.01))
    )
    counted = np.bincount(terrain.grid.locate(*points.T), minlength=terrain.grid.n_cells) * 0.01
    np.testing.assert_allclose(length, counted[cell], atol=0.05)


def test_the_parts_multiply_to_what_is_expected_of_its_cells(terrain):
    """City mean x environment x histories is the mean of `expected` along the line, to rounding."""
    line = at(terrain, (1.3, 2.2), (22.9, 14.1))
    found = explain_corridor(terrain, line)
    cell, length = lengths_in_cells(line, terrain.grid)
    mean = np.average(terrain.cells["expected"].to_numpy()[cell], weights=length)
    where = found.where
    product = where["city_mean"] * where["environment"] * where["area_history"] * where["spot_history"]
    assert product == pytest.approx(mean, rel=1e-12)
    assert where["expected"] == pytest.approx(mean, rel=1e-12)
    assert where["relative"] == pytest.approx(mean / terrain.city_mean, rel=1e-12)
    assert where["environment"] == pytest.approx(
        np.average(terrain.cells["environment"].to_numpy()[cell], weights=length)
    )


def test_shares_of_factors_are_those_of_the_length(make_terrain):
    """Marked in the first of two cells, of which the line has 50 and 150 m: a quarter of its length."""
    terrain = make_terrain()
    terrain.cells["f_poor lighting"] = False
    terrain.cells["f_vacant houses"] = False
    terrain.cells.loc[0, "f_poor lighting"] = True
    found = explain_corridor(terrain, at(terrain, (0.5, 0.5), (2.5, 0.5)))
    assert found.why["factor"].tolist() == ["poor lighting", "vacant houses"]
    assert found.why["share"].tolist() == pytest.approx([0.25, 0.0])
    assert found.why["rrv"].tolist() == [2.4, 2.7]
    assert found.unmarked == pytest.approx(0.75)


def test_without_a_factor_nothing_explains_and_the_forecast_stands(make_terrain):
    """No row of factors, all of the length unmarked, and the parts all the same."""
    terrain = make_terrain(factors=())
    found = explain_corridor(terrain, at(terrain, (0.5, 0.5), (2.5, 0.5)))
    assert found.why.empty
    assert found.unmarked == 1.0
    assert found.where["expected"] > 0


def test_what_is_outside_is_said_or_refused(terrain):
    """Half of a line outside the area: shares are of the rest; all of it: a sentence."""
    assert explain_corridor(terrain, at(terrain, (-2, 0.5), (2, 0.5))).inside == pytest.approx(0.5)
    with pytest.raises(InputError, match="Invalid line.*EPSG:26915"):
        explain_corridor(terrain, shapely.LineString([(-94.5, 39.1), (-94.4, 39.1)]))
