"""Plots of corridors: what stands where, in which unit, and that names can be read."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from rtmkc.output.plots_corridors import plot_corridors

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
