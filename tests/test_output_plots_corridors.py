"""Plots of corridors: what stands where, in which unit, and that names can be read."""

import itertools

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import shapely.affinity
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from rtmkc.errors import InputError
from rtmkc.output.classes import BLOCK_LABELS, COLOURS
from rtmkc.output.plots_close_up import plot_corridor
from rtmkc.output.plots_corridors import plot_corridor_strip, plot_corridors

NUMBER = tuple(map(str, range(1, 11)))


@pytest.fixture
def ax():
    return Figure(figsize=(7.4, 6.0), layout="constrained").add_subplot()


@pytest.fixture(scope="module")
def terrain(make_terrain):
    return make_terrain()


@pytest.fixture(scope="module")
def corridors(terrain):
    west, north = terrain.grid.west, terrain.grid.north
    lines = [
        shapely.LineString([(west + 500, north - 700), (west + 1500, north - 700)]),
        shapely.LineString([(west + 1000, north - 1200), (west + 1000, north - 300)]),
    ]
    return gpd.GeoDataFrame(
        {
            "rank": [1, 2], "name": ["Independence Avenue", "Cash $ Loans $ Road"],
            "from_street": ["Benton Boulevard", None], "to_street": ["Hardesty Avenue", None],
            "length_m": [1000.0, 900.0],
        },
        geometry=lines, crs=terrain.grid.crs,
    )  # fmt: skip


def made_blocks(terrain, lengths, names=None, street="Independence Avenue", rank=1):
    """Blocks of one corridor from west to east; the typical street has 0.5 expected incidents per km."""
    start = np.cumsum([0.0, *lengths])
    corners = names or [f"Cross {number} Street" for number in range(len(lengths) + 1)]
    west, level = terrain.grid.west + 300, terrain.grid.north - 700
    multiple = 0.5 + 1.5 * np.arange(len(lengths))
    rate = 0.5 * multiple
    return gpd.GeoDataFrame(
        {
            "rank": rank, "order": np.arange(1, len(lengths) + 1), "name": street, "from_street": corners[:-1],
            "to_street": corners[1:], "from_m": start[:-1], "to_m": start[1:], "length_m": lengths,
            "expected": rate * np.array(lengths) / 1000, "expected_per_km": rate, "city_multiple": multiple,
            "incidents": 2.0, "top_factors": "",
        },
        geometry=[
            shapely.LineString([(west + a, level), (west + b, level)]) for a, b in itertools.pairwise(start)
        ],
        crs=terrain.grid.crs,
    )  # fmt: skip


def texts(ax):
    legend = ax.get_legend()
    found = [text.get_text() for text in (legend.get_texts() if legend is not None else ())]
    return [*found, *(text.get_text() for text in ax.texts), ax.get_title(loc="left"), ax.get_xlabel()]


def numbers(ax):
    return [text for text in ax.texts if isinstance(text, Annotation) and text.get_text() in NUMBER]


def test_corridors_are_numbered_and_named(terrain, corridors, ax):
    """Each corridor's number stands on its line, and the legend names street and ends."""
    plot_corridors(terrain, corridors, ax=ax)
    found = numbers(ax)
    assert [text.get_text() for text in found] == ["1", "2"]
    for text, line in zip(found, corridors.geometry, strict=True):
        assert line.distance(shapely.Point(text.xy)) < 1e-6
    assert "Independence Avenue, Benton Boulevard to\nHardesty Avenue (1.0 km)" in texts(ax)


def test_treated_streets_are_shown_as_treated(terrain, corridors, ax):
    """Lines and areas that are treated already get a legend entry of their own."""
    areas = corridors.set_geometry(corridors.buffer(50))
    plot_corridors(terrain, corridors.iloc[:0], ax=ax, treated=areas, streets=corridors)
    assert "treated already, left out" in texts(ax)
    assert "no stretch is worth its length" in texts(ax)


def test_what_was_left_out_is_drawn_where_it_is(terrain, corridors, ax):
    """A bare geometry, a layer or a list of both: each of their lines is on the map, with one entry of the legend."""
    place = shapely.box(
        terrain.grid.west, terrain.grid.north - 400, terrain.grid.west + 300, terrain.grid.north
    )
    plot_corridors(terrain, corridors.iloc[:1], ax=ax, exclude=[place, corridors.iloc[1:].to_crs(4326)])
    assert texts(ax).count("left out") == 1
    drawn = [path.vertices for lines in ax.collections for path in lines.get_paths()]
    for line in (place.exterior, corridors.geometry.iloc[1]):
        expected = shapely.get_coordinates(line)
        assert any(
            found.shape == expected.shape and np.allclose(found, expected, atol=1e-3) for found in drawn
        )


def test_the_area_of_a_bar_is_what_is_expected_of_its_block(terrain, ax):
    """Bars stand where the blocks are along the street, and width x height is their expected incidents."""
    blocks = made_blocks(terrain, [100.0, 250.0, 50.0])
    plot_corridor_strip(terrain, blocks.iloc[::-1], ax=ax)
    bars = ax.patches
    assert [bar.get_x() for bar in bars] == [0.0, 100.0, 350.0]
    assert [bar.get_width() * bar.get_height() / 1000 for bar in bars] == pytest.approx(blocks["expected"])
    assert [tuple(np.round(bar.get_facecolor(), 3)) for bar in bars] == [
        tuple(np.round([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)] + [1.0], 3))
        for colour in (COLOURS[0], COLOURS[2], COLOURS[2])
    ]


def test_the_typical_street_and_the_past_have_the_unit_of_the_bars(terrain, ax):
    """The line is the rate whose multiples the blocks are; dots scale three years of incidents to 90 days."""
    plot_corridor_strip(terrain, made_blocks(terrain, [100.0, 250.0]), ax=ax)
    typical = next(line for line in ax.lines if line.get_linestyle() == "--")
    assert set(np.round(typical.get_ydata(), 12)) == {0.5}
    dots = next(line for line in ax.lines if line.get_marker() == "o")
    assert dots.get_xdata().tolist() == [50.0, 225.0]
    assert dots.get_ydata().tolist() == pytest.approx([2 / 0.1 * 90 / 1095, 2 / 0.25 * 90 / 1095])
    assert ax.get_ylabel() == "expected incidents\nper km in 90 days"
    said = ax.get_xlabel().replace("\n", " ")
    assert "350 m (1,148 ft) from west to east" in said
    assert "typical street (0.500)" in said


def test_without_a_rate_the_strip_has_multiples_and_no_past(make_terrain, ax):
    """Where nothing says how long the period is, bars are multiples of the typical street, which is 1."""
    terrain = make_terrain(period=None, period_days=None)
    terrain.horizon_days = None
    plot_corridor_strip(terrain, made_blocks(terrain, [100.0, 250.0]), ax=ax)
    assert [bar.get_height() for bar in ax.patches] == [0.5, 2.0]
    assert not [line for line in ax.lines if line.get_marker() == "o"]
    assert ax.get_ylabel() == "x the typical street"


@pytest.mark.parametrize("n_blocks", [1, 3, 12, 30, 90])
def test_names_of_corners_do_not_touch_and_both_ends_are_named(terrain, n_blocks):
    """From one block to ninety, long names are cut, and no name lies on another."""
    names = [f"Saint Bartholomew of the Meadows {number} Boulevard" for number in range(n_blocks + 1)]
    names[0], names[-1] = "Alpha Avenue", "near the end of Omega Avenue"
    figure = Figure(figsize=(7.6, 3.6), layout="constrained")
    blocks = made_blocks(terrain, [2500.0 / n_blocks] * n_blocks, names)
    ax = plot_corridor_strip(terrain, blocks, ax=figure.add_subplot())
    figure.draw_without_rendering()
    labels = [label for label in ax.get_xticklabels() if label.get_text()]
    assert [labels[0].get_text(), labels[-1].get_text()] == ["Alpha Ave", "end of Omega Ave"]
    assert all(len(label.get_text()) <= 24 for label in labels)
    shapes = [upright(label) for label in labels]
    for one, other in itertools.pairwise(shapes):
        assert not one.intersects(other)
    assert all(shapely.box(-1, -1, *(figure.bbox.size + 1)).covers(shape) for shape in shapes)


def upright(label):
    """The box of a turned text, in pixels: not the box around it, which is larger."""
    angle, place = label.get_rotation(), label.get_transform().transform(label.get_position())
    label.set_rotation(0)
    flat = label.get_window_extent()
    label.set_rotation(angle)
    turned = shapely.box(flat.x0, flat.y0, flat.x1, flat.y1)
    return shapely.affinity.rotate(turned, angle, origin=tuple(place))


def test_a_turn_is_marked_and_both_streets_are_named(terrain, ax):
    """Where the street's name changes a line stands at the corner, with the name on each side."""
    blocks = made_blocks(terrain, [200.0, 200.0, 300.0])
    blocks["name"] = ["Oak Street", "Oak Street", "Cash $ Loans $ Road"]
    plot_corridor_strip(terrain, blocks, ax=ax)
    assert {"Oak St", r"Cash \$ Loans \$ Rd"} <= set(texts(ax))
    assert [400.0, 400.0] in [list(line.get_xdata()) for line in ax.lines]


def test_marks_of_a_factor_stand_where_its_places_are(terrain, ax):
    """Each factor has a row of marks at the chainage of its stops, the most frequent lowest; other ranks are left out."""
    stops = pd.DataFrame(
        {
            "rank": [1, 1, 1, 2], "chainage_m": [40.0, 180.0, 90.0, 55.0],
            "factors": ["poor lighting", "vacant houses; poor lighting", None, "poor lighting"],
        }
    )  # fmt: skip
    plot_corridor_strip(terrain, made_blocks(terrain, [100.0, 250.0]), stops=stops, ax=ax)
    rows = [line for line in ax.lines if line.get_marker() == "v"]
    assert [row.get_xdata().tolist() for row in rows] == [[40.0, 180.0], [180.0]]
    assert rows[0].get_ydata()[0] < rows[1].get_ydata()[0]
    assert {"poor lighting", "vacant houses"} <= set(texts(ax))
    highest = max(bar.get_height() for bar in ax.patches)
    assert min(rows[0].get_ydata()) > highest


def test_a_rank_without_blocks_is_refused(terrain, ax):
    """The message lists the ranks there are."""
    with pytest.raises(InputError, match="Invalid rank 7.*those of 1"):
        plot_corridor_strip(terrain, made_blocks(terrain, [100.0]), rank=7, ax=ax)


def close_up(terrain, corridors, **more):
    figure = Figure(figsize=(7.0, 7.0), layout="constrained")
    streets = gpd.GeoDataFrame(
        {"name": ["Independence Avenue", "Oak Street", "Elm Street", None]},
        geometry=[
            corridors.geometry.iloc[0],
            *(
                shapely.LineString([(terrain.grid.west + 500 + at, terrain.grid.north - 1300),
                                    (terrain.grid.west + 500 + at, terrain.grid.north - 100)])
                for at in (200, 700, 900)
            ),
        ],
        crs=terrain.grid.crs,
    )  # fmt: skip
    return plot_corridor(terrain, corridors, streets=streets, ax=figure.add_subplot(), **more)


def test_close_up_colours_blocks_and_names_streets_along_them(terrain, corridors):
    """A block has the colour of its class; names lie along their streets and not on one another."""
    blocks = made_blocks(terrain, [400.0, 600.0])
    ax = close_up(terrain, corridors, blocks=blocks)
    lines = {
        tuple(map(tuple, path.vertices)): collection
        for collection in ax.collections
        for path in collection.get_paths()
    }
    for geometry, colour in zip(blocks.geometry, (COLOURS[0], COLOURS[2]), strict=True):
        drawn = lines[tuple(geometry.coords)].get_colors()[0]
        assert drawn[:3] == pytest.approx([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    names = {text.get_text(): text for text in ax.texts if text.get_text().endswith(" St")}
    assert set(names) == {"Oak St", "Elm St"}
    assert [names[name].get_rotation() for name in ("Oak St", "Elm St")] == pytest.approx([90.0, 90.0])
    assert [
        names[name].get_position()[0] - terrain.grid.west for name in ("Oak St", "Elm St")
    ] == pytest.approx([700, 1200])
    assert set(BLOCK_LABELS) <= set(texts(ax))


def test_places_stand_on_their_side_of_the_street(terrain, corridors):
    """Walking from west to east the left side is the north; places with points of their own stand there."""
    stops = pd.DataFrame({"chainage_m": [100.0, 400.0], "side": ["L", "R"]})
    ax = close_up(terrain, corridors, stops=stops)
    level = terrain.grid.north - 700
    [dots] = [line for line in ax.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(dots.get_xdata(), terrain.grid.west + np.array([600.0, 900.0]))
    assert dots.get_ydata()[0] > level > dots.get_ydata()[1]
    points = gpd.GeoDataFrame(stops, geometry=gpd.points_from_xy([1, 2], [3, 4]), crs=terrain.grid.crs)
    ax = close_up(terrain, corridors, stops=points)
    [dots] = [line for line in ax.lines if line.get_marker() == "o"]
    assert dots.get_xydata().tolist() == [[1.0, 3.0], [2.0, 4.0]]


def test_the_other_corridors_in_view_keep_their_rank(terrain, corridors):
    """Corridor 2 crosses the view of corridor 1: its number is on its line."""
    ax = close_up(terrain, corridors)
    [text] = numbers(ax)
    assert text.get_text() == "2"
    assert corridors.geometry.iloc[1].distance(shapely.Point(text.xy)) < 1e-6
    with pytest.raises(InputError, match="Invalid rank 3.*1, 2"):
        plot_corridor(terrain, corridors, 3)
