"""Places are read from every way of writing them, and those that cannot be true are found."""

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from rtmkc.errors import InputError
from rtmkc.inputs import coordinates
from rtmkc.inputs.coordinates import (
    bad_places,
    check_order,
    flatten,
    parse_crs,
    parse_locations,
    points,
    repair,
)

DOWNTOWN = shapely.Point(-94.5786, 39.0997)


@pytest.mark.parametrize(
    ("text", "longitude", "latitude"),
    [
        ("400 W 58 ST\nKANSAS CITY 64113\n(39.022397, -94.59269)", -94.59269, 39.022397),
        ("13100 HOLMES RD\nKANSAS CITY 64145\n(38.889239, -94.586045)", -94.586045, 38.889239),
        ("BROADWAY KANSAS CITY64131\r\n(38.9767, -94.5767)", -94.5767, 38.9767),
        ("POINT (-94.58546458 39.103614672)", -94.58546458, 39.103614672),
        ("POINT(-94.574238674757 39.021251335024)", -94.574238674757, 39.021251335024),
        ("POINT Z (-94.5 39.1 250)", -94.5, 39.1),
        ('{"type": "Point", "coordinates": [-94.5, 39.1]}', -94.5, 39.1),
        ({"type": "Point", "coordinates": [-94.5, 39.1]}, -94.5, 39.1),
        ({"latitude": "39.1", "longitude": "-94.5"}, -94.5, 39.1),
        ("99999(0.0, 0.0)", 0.0, 0.0),
    ],
)
def test_every_way_of_writing_a_place_is_read(text: object, longitude: float, latitude: float) -> None:
    """The verbatim strings of the city's exports, longitude and latitude never exchanged."""
    shapes, forms = parse_locations(pd.Series([text], dtype=object))
    assert (shapes[0].x, shapes[0].y) == (longitude, latitude)
    assert len(forms) == 1


@pytest.mark.parametrize(
    "text",
    ["3500 PROSPECT AV\nKANSAS CITY 64127\n", "11600 E US\nHW KANSAS CITY 64133\n", "99999\n", "", None,
     "POINT EMPTY", "POINT (39.1)", "{broken", '{"type": "Point"}', "(39.1, -94.5) corner", float("nan")],
)  # fmt: skip
def test_text_without_a_place_is_missing(text: object) -> None:
    """Addresses, withheld places and broken text have no coordinates, and nothing is guessed."""
    shapes, _ = parse_locations(pd.Series([text], dtype=object))
    assert shapes[0] is None or shapes[0].is_empty


def test_shapes_in_text_are_read() -> None:
    """Portals export areas as well-known text too."""
    shapes, forms = parse_locations(
        pd.Series(["MULTIPOLYGON (((0 0, 2 0, 2 2, 0 2, 0 0)))", "LINESTRING (0 0, 1 1)"])
    )
    assert [shape.geom_type for shape in shapes] == ["MultiPolygon", "LineString"]
    assert forms == {"WKT"}


@given(st.lists(st.tuples(st.floats(-180, 180), st.floats(-90, 90)), min_size=1, max_size=5))
def test_text_of_a_point_gives_back_the_point(places: list[tuple[float, float]]) -> None:
    """Well-known text and (latitude, longitude) text are read to the last bit."""
    wkt = pd.Series([f"POINT ({longitude!r} {latitude!r})" for longitude, latitude in places])
    pair = pd.Series([f"A ST\n({latitude!r}, {longitude!r})" for longitude, latitude in places])
    for series in (wkt, pair):
        shapes, _ = parse_locations(series)
        assert [(shape.x, shape.y) for shape in shapes] == places


def test_points_from_columns_that_are_text() -> None:
    """Numbers as text are numbers; what is no number is a missing place."""
    shapes = points(pd.Series(["-94.5", "", "n/a", None]), pd.Series(["39.1", "39.1", "39.1", "39.1"]))
    assert shapes[0].equals(shapely.Point(-94.5, 39.1))
    assert list(shapes[1:]) == [None, None, None]


def test_every_bad_place_has_exactly_one_reason() -> None:
    """Missing, empty, not finite, null island, off the globe, a collection: each is counted once."""
    shapes = np.array(
        [
            DOWNTOWN,
            None,
            shapely.Point(),
            shapely.LineString([(0, 0), (np.inf, 1)]),
            shapely.Point(0, 0),
            shapely.Point(-94.5, 139.1),
            shapely.GeometryCollection([DOWNTOWN]),
            shapely.Point(-94.5, np.inf),
        ],
        dtype=object,
    )
    bad = bad_places(shapes, geographic=True)
    found = {reason: np.flatnonzero(mask).tolist() for reason, mask in bad.items()}
    assert found == {
        coordinates.NOT_FINITE: [3, 7],
        coordinates.NO_PLACE: [1, 2],
        coordinates.NOT_A_SHAPE: [6],
        coordinates.NULL_ISLAND: [4],
        coordinates.OFF_THE_GLOBE: [5],
    }


def test_projected_coordinates_may_be_large() -> None:
    """Metres and feet have no globe to be off."""
    bad = bad_places(np.array([shapely.Point(2_766_402.4, 1_067_976.9)], dtype=object), geographic=False)
    assert not any(mask.any() for mask in bad.values())


def test_swapped_longitude_and_latitude_are_said() -> None:
    """A latitude of -94.58 can only be a longitude."""
    with pytest.raises(InputError, match="look swapped; exchange them"):
        check_order("lights", np.array([shapely.Point(39.1, -94.58)] * 3, dtype=object), fix="")


def test_degrees_that_are_metres_are_said() -> None:
    """363,494 is no longitude."""
    with pytest.raises(InputError, match="look projected: name easting=, northing= and crs="):
        check_order("lights", np.array([shapely.Point(363_494.7, 4_329_026.6)], dtype=object), fix="")


def test_one_wrong_place_is_not_a_wrong_layer() -> None:
    """Less than half off the globe is dirt, to be dropped and counted."""
    check_order(
        "lights", np.array([DOWNTOWN, DOWNTOWN, shapely.Point(9999, 9999), None], dtype=object), fix=""
    )


def test_heights_are_cut_off() -> None:
    """A map has no third coordinate."""
    assert not shapely.has_z(flatten(np.array([shapely.Point(1, 2, 3), None], dtype=object))).any()


def test_invalid_areas_keep_their_area() -> None:
    """A bow tie becomes its two triangles: 1/4 each of the unit square; valid shapes are untouched."""
    bow_tie = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    square = shapely.box(0, 0, 1, 1)
    given = np.array([bow_tie, square, DOWNTOWN], dtype=object)
    shapes, repaired = repair(given)
    assert repaired == 1
    assert shapes[0].is_valid
    assert shapes[0].area == pytest.approx(0.5)
    assert shapes[1] is square
    assert given[0] is bow_tie


def test_an_area_without_area_is_no_place() -> None:
    """A polygon flattened to a line has nothing to keep."""
    shapes, repaired = repair(np.array([shapely.Polygon([(0, 0), (1, 0), (2, 0)])], dtype=object))
    assert (shapes[0], repaired) == (None, 1)


def test_an_unknown_crs_is_refused() -> None:
    """The message shows a code that would do."""
    with pytest.raises(InputError, match=r"Invalid crs 'EPSG:99999'.*'EPSG:4326'"):
        parse_crs("EPSG:99999")
