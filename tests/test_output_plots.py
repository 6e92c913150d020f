"""Plots: what is drawn where, what is said, and that nothing hides anything else."""

import itertools

import geopandas as gpd
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import shapely
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from rtmkc.errors import NoFactorError
from rtmkc.output.classes import COLOURS, area_of_classes, classify, legend_labels
from rtmkc.output.maps import draw_classes, map_size
from rtmkc.output.plots import plot_risk, plot_weights, weights_size
from rtmkc.output.words import attribution

NUMBER = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10")


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


def texts(ax):
    found = [text.get_text() for text in ax.texts]
    legend = ax.get_legend()
    if legend is not None:
        found += [text.get_text() for text in legend.get_texts()]
    return [
        *found,
        ax.get_title(loc="left"),
        ax.get_xlabel(),
        *(tick.get_text() for tick in ax.get_yticklabels()),
    ]


def numbers(ax):
    return [text for text in ax.texts if isinstance(text, Annotation) and text.get_text() in NUMBER]


def test_every_cell_has_the_colour_of_its_class(make_terrain, ax):
    """The picture of a hand-drawn 2 x 3 terrain holds the class of each cell, north up."""
    environment = np.array([0.1, 1.0, 8.0, 0.1, 0.1, 0.1])
    small = make_terrain(n_rows=2, n_columns=3, environment=environment)
    plot_risk(small, ax=ax)
    (image,) = ax.get_images()
    relative = (small.cells["expected"] / small.city_mean).to_numpy().reshape(2, 3)
    np.testing.assert_array_equal(image.get_array(), np.digitize(relative, [1, 2, 5, 10]))
    assert image.get_array()[0, 2] == classify(relative.max())
    assert image.origin == "upper"
    assert image.get_extent() == [
        small.grid.west, small.grid.west + 300.0, small.grid.north - 200.0, small.grid.north,
    ]  # fmt: skip


def test_cells_outside_the_area_are_not_drawn(make_terrain, ax):
    """Where the raster has no cell the picture is masked."""
    terrain = make_terrain(n_rows=2, n_columns=3)
    inside = np.array([[True, True, False], [True, True, True]])
    grid = terrain.grid.__class__(
        terrain.grid.area, 100.0, terrain.grid.west, terrain.grid.north, 2, 3, 200.0, inside, np.ones(5)
    )
    draw_classes(ax, grid, np.zeros(5, dtype=int))
    np.testing.assert_array_equal(np.ma.getmaskarray(ax.get_images()[0].get_array()), ~inside)


def test_colours_fall_in_lightness_from_class_to_class():
    """The order of the classes survives a grey printer and any kind of colour blindness in lightness."""
    linear = [[(int(colour[k : k + 2], 16) / 255) ** 2.2 for k in (1, 3, 5)] for colour in COLOURS]
    lightness = 116 * np.cbrt(np.array(linear) @ [0.2126, 0.7152, 0.0722]) - 16  # CIE L*
    assert np.all(np.diff(lightness) < -10)


def test_the_legend_says_how_much_of_the_area_is_in_each_class():
    """Half a cell counts half; the shares of the classes sum to 1."""
    shares = area_of_classes(np.array([0, 0, 1, 4]), np.array([1.0, 1.0, 0.5, 0.5]))
    assert shares.tolist() == pytest.approx([2 / 3, 1 / 6, 0, 0, 1 / 6])
    assert legend_labels(shares.tolist())[:3] == [
        "below the city's average (67 % of the area)",
        "1 to 2 x the average (17 % of the area)",
        "2 to 5 x the average (none)",
    ]


def test_the_map_carries_its_facts(terrain, ax):
    """The map says what it shows, for how long, where, and the facts every output must say."""
    plot_risk(terrain, ax=ax)
    said = " ".join(texts(ax)).replace("\n", " · ")
    assert "Expected incidents in 90 days, Northeast" in said
    for fact in attribution(terrain).split(" · "):
        assert fact in said


def test_the_scale_is_as_long_as_it_says(terrain, ax):
    """The metric side spans its metres, the imperial side its miles, in the map's own units."""
    plot_risk(terrain, ax=ax)
    spans = {round(np.ptp(line.get_xdata()), 3) for line in ax.lines if len(line.get_xdata()) == 4}
    assert spans == {500.0, round(0.5 * 1609.344, 3)}
    assert {"500 m", "0.5 mi", "N"} <= set(texts(ax))


def test_scale_and_north_can_be_left_out(terrain, ax):
    """Without scale bar and arrow the map has neither."""
    plot_risk(terrain, ax=ax, scale_bar=False, north_arrow=False)
    assert not {"500 m", "0.5 mi", "N"} & set(texts(ax))


def test_hot_spots_are_outlined_and_the_first_ten_numbered(terrain, ax):
    """Twelve cells are outlined, ten numbers are written, each with a line to its own cell."""
    hotspots = terrain.hotspots(count=12)
    plot_risk(terrain, ax=ax, hotspots=hotspots)
    assert "12 hot-spot cells, the first 10 numbered" in texts(ax)
    found = numbers(ax)
    assert [int(text.get_text()) for text in found] == list(range(1, 11))
    cells = hotspots.geometry.iloc[:10]
    assert all(cell.covers(shapely.Point(text.xy)) for cell, text in zip(cells, found, strict=True))


def test_outlines_do_not_bury_small_cells(make_terrain, ax):
    """Where a cell is smaller than its outline only the numbered hot spots are outlined, and that is said."""
    city = make_terrain(n_rows=200, n_columns=240)
    plot_risk(city, ax=ax, hotspots=city.hotspots(count=500))
    assert "the first 10 of 500 hot-spot cells" in texts(ax)


@pytest.mark.parametrize(("n_rows", "n_columns"), [(24, 30), (10, 60), (80, 14)])
def test_no_number_hides_another_and_nothing_is_cut_off(make_terrain, n_rows, n_columns):
    """On square, wide and tall cities, crowded numbers keep apart and every text lies on the figure."""
    city = make_terrain(n_rows=n_rows, n_columns=n_columns)
    figure = Figure(figsize=map_size(city.grid), layout="constrained")
    ax = plot_risk(city, ax=figure.add_subplot(), hotspots=city.hotspots(count=12))
    figure.draw_without_rendering()
    # Of the text alone: an annotation's own extent includes the line to its place.
    boxes = [Text.get_window_extent(text) for text in numbers(ax)]
    assert len(boxes) == 10
    pad = 0.22 * 6.5 * figure.dpi / 72
    for one, other in itertools.combinations(boxes, 2):
        radii = [np.hypot(box.width / 2 + pad, box.height / 2 + pad) for box in (one, other)]
        gap = np.hypot(
            (one.x0 + one.x1 - other.x0 - other.x1) / 2, (one.y0 + one.y1 - other.y0 - other.y1) / 2
        )
        assert gap >= sum(radii)
    everything = [*ax.texts, *ax.get_legend().get_texts(), ax.title]
    for text in everything:
        box = text.get_window_extent()
        if text.get_text():
            assert box.x0 >= -1, text.get_text()
            assert box.y0 >= -1, text.get_text()
            assert box.x1 <= figure.bbox.width + 1, text.get_text()
            assert box.y1 <= figure.bbox.height + 1, text.get_text()


def test_ranking_by_rrs_without_factors_is_refused(make_terrain, ax):
    """A map of a score that is 1 everywhere is not drawn."""
    with pytest.raises(NoFactorError, match=r"Invalid by 'rrs'.*rank by\s+'expected'"):
        plot_risk(make_terrain(factors=()), by="rrs", ax=ax)


def test_given_axes_are_used_and_nothing_is_changed(terrain, ax):
    """The Axes given come back, no pyplot figure appears, and the terrain stays as it was."""
    before, open_before = terrain.cells.copy(), plt.get_fignums()
    assert plot_risk(terrain, by="rrs", ax=ax) is ax
    assert plt.get_fignums() == open_before
    assert terrain.cells.equals(before)


def test_a_new_figure_is_one_of_pyplot(terrain):
    """Without Axes a figure is made that a notebook shows and plt.close finds."""
    made = plot_weights(terrain)
    assert made.figure.number in plt.get_fignums()
    plt.close(made.figure)


def test_weights_are_drawn_at_their_values_on_a_log_axis(terrain, ax):
    """Each factor's point stands at its RRV, its interval from lower to upper, and the words repeat both."""
    plot_weights(terrain, ax=ax)
    assert ax.get_xscale() == "log"
    points = next(line for line in ax.lines if line.get_marker() == "o")
    assert points.get_xdata().tolist() == [2.4, 2.7]
    ends = [path.vertices[:, 0].tolist() for path in ax.collections[0].get_paths()]
    assert ends == [pytest.approx([2.0, 2.88]), pytest.approx([2.25, 3.24])]
    assert {"x2.40 (2.00 to 2.88)", "poor lighting\nwithin 200 m (656 ft, 1 block)"} <= set(texts(ax))


def test_no_significant_factor_is_said_in_the_place_of_the_plot(make_terrain, ax):
    """Nothing found is a result that the picture states."""
    plot_weights(make_terrain(factors=()), ax=ax)
    assert "No significant factor.\nThe one factor tried is not in the model." in texts(ax)


def test_an_unbounded_interval_does_not_stretch_the_axis(make_terrain, ax):
    """A weight whose interval reaches to infinity is drawn without it, and the axis stays finite."""
    terrain = make_terrain()
    terrain.weights.loc[0, "upper"] = np.inf
    terrain.weights.loc[1, ["lower", "upper"]] = [1e-9, 1e12]
    plot_weights(terrain, ax=ax)
    low, high = ax.get_xlim()
    assert 0.05 < low < 1 < 2.7 < high < 100
    assert "x2.40 (not available)" in texts(ax)


def test_names_are_text_and_never_formulas(make_terrain):
    """A name with dollar signs is drawn letter by letter, not as mathematics."""
    terrain = make_terrain(factors=("cash $ loans $ and _ more", "b"))
    figure = Figure(layout="constrained")
    ax = plot_weights(terrain, ax=figure.add_subplot())
    figure.draw_without_rendering()
    label = ax.get_yticklabels()[0]
    assert label.get_text().count(r"\$") == 2
    assert label._preprocess_math(label.get_text())[1] is False


def test_the_risk_map_can_show_the_first_corridor_and_what_is_treated(terrain, corridors, ax):
    """Both are lines with a legend entry of their own beside the hot spots, whose numbers stay."""
    hotspots = terrain.hotspots(count=3)
    plot_risk(terrain, ax=ax, hotspots=hotspots, corridors=corridors.iloc[:1], treated=corridors.iloc[1:])
    said = texts(ax)
    assert "corridor 1: Independence Avenue, Benton\nBoulevard to Hardesty Avenue (1.0 km)" in said
    assert "treated already, left out" in said
    assert len(numbers(ax)) == 3
    drawn = [path.vertices.tolist() for lines in ax.collections for path in lines.get_paths()]
    for line in corridors.geometry:
        assert [list(point) for point in line.coords] in drawn


def test_guarded_weights_show_reach_chance_and_what_is_open(make_terrain, ax):
    """Labels have all distances that fit; what is not decided has an open mark at 1, what is not in only its name."""
    plot_weights(make_terrain(method="guarded"), ax=ax)
    said = texts(ax)
    assert "poor lighting\nwithin 100 to 300 m (328 to 984 ft),\nor by density within 100 m (328 ft)" in said
    assert "p of shifts 0.004" in said
    assert {"liquor stores", "not decided", "bus stops", "not in the model"} <= set(said)
    assert "patches about 1.1 km (0.7 mi) wide" in ax.get_xlabel()
    points, opened = (line for line in ax.lines if line.get_marker() == "o")
    assert points.get_xdata().tolist() == [2.4, 2.7]
    assert opened.get_markerfacecolor() == "white"
    height = {tick.get_text(): y for tick, y in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)}
    assert opened.get_xydata().tolist() == [[1.0, height["liquor stores"]]]
    assert height["bus stops"] < height["liquor stores"] < min(points.get_ydata())


def test_a_classic_factor_that_may_be_chance_is_marked(make_terrain, ax):
    """The p of shifts stands beside each value, in bold above .05, and the picture says what that means."""
    terrain = make_terrain()
    terrain.weights.loc[1, "shift_p"] = 0.21
    plot_weights(terrain, ax=ax)
    weights = {text.get_text(): text.get_fontweight() for text in ax.texts}
    assert weights["p of shifts 0.001"] == "normal"
    assert weights["p of shifts 0.21"] == "bold"
    assert "Do not rely on vacant houses" in ax.get_xlabel()


def test_weights_of_many_factors_stay_on_the_figure(make_terrain):
    """Rows of factors without a weight do not run into each other or off the figure."""
    terrain = make_terrain(method="guarded")
    more = [terrain.weights.iloc[[2]].assign(factor=f"candidate {number}") for number in range(12)]
    terrain.weights = pd.concat([terrain.weights, *more], ignore_index=True)
    figure = Figure(figsize=weights_size(terrain), layout="constrained")
    ax = plot_weights(terrain, ax=figure.add_subplot())
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    for above, below in itertools.pairwise(boxes):
        assert above.y0 >= below.y1 - 1
    assert min(box.y0 for box in boxes) > 0
    assert min(box.x0 for box in boxes) > 0
