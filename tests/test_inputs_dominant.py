"""Coordinates that hold very many incidents are found, the largest first."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from rtmkc.errors import InputError
from rtmkc.inputs.dominant import dominant_places
from rtmkc.inputs.layers import Layer, read_layer


def at(*rows: int) -> Layer:
    """A layer with so many points at each of several places."""
    latitudes = np.repeat(39.0 + 0.01 * np.arange(len(rows)), rows)
    return read_layer(pd.DataFrame({"lat": latitudes, "lon": -94.5}))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(1, 20), st.floats(0.01, 1))
def test_places_are_those_that_counting_finds(rows: list[int], minimum: int, share: float) -> None:
    """A place is listed if and only if its count reaches both bounds."""
    found = dominant_places(at(*rows), share=share, minimum=minimum)
    expected = sorted((n for n in rows if n >= minimum and n >= share * sum(rows)), reverse=True)
    assert found["points"].tolist() == expected
    assert found["share"].tolist() == [n / sum(rows) for n in expected]


def test_what_is_listed_can_be_left_out() -> None:
    """The coordinates of the table are the ones that exclude_places takes, also of a projected layer."""
    layer = at(12, 40, 3)
    found = dominant_places(layer.to_crs("EPSG:26915"))
    assert found["points"].tolist() == [40, 12]
    places = list(zip(found["latitude"], found["longitude"], strict=True))
    assert len(read_layer(layer.frame, exclude_places=places)) == 3


def test_lines_and_areas_are_not_places() -> None:
    """Only points can share one coordinate."""
    layer = read_layer(gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)] * 12, crs=26915))
    assert dominant_places(layer, minimum=1).empty


def test_bounds_out_of_range_are_refused() -> None:
    """A share of 2 is 200 %."""
    with pytest.raises(InputError, match="Invalid share 2"):
        dominant_places(at(3), share=2)
    with pytest.raises(InputError, match="Invalid minimum 0"):
        dominant_places(at(3), minimum=0)
