"""Zones of corridors: where they are, that none counts twice, and what they refuse."""

import geopandas as gpd
import numpy as np
import pytest
import shapely

from rtmkc.errors import InputError
from rtmkc.places.corridors.zones import corridor_zones


def streets(*lines, ranks=None, crs=32615):
    ranks = ranks or list(range(1, len(lines) + 1))
    table = {"rank": ranks, "corridor_id": [f"c{rank}" for rank in ranks], "name": "Oak Street"}
    return gpd.GeoDataFrame(table, geometry=[shapely.LineString(line) for line in lines], crs=crs)


def inside(zones, rank, zone, points):
    [shape] = zones.loc[(zones["rank"] == rank) & (zones["zone"] == zone), zones.geometry.name]
    return shapely.covers(shape, points)


def test_zones_are_those_of_the_distance_to_the_line():
    """A thousand points by chance: within 100 m treated, from there to 400 m ring, beyond neither."""
    corridor = streets([(0, 0), (1000, 0), (1000, 700)])
    zones = corridor_zones(corridor)
    random = np.random.default_rng(0)
    points = shapely.points(random.uniform(-600, 1600, 1000), random.uniform(-600, 1300, 1000))
    distance = shapely.distance(points, corridor.geometry.iloc[0])
    clear = (np.abs(distance - 100) > 0.1) & (
        np.abs(distance - 400) > 0.2
    )  # circles are polygons of 128 sides
    np.testing.assert_array_equal(inside(zones, 1, "treated", points)[clear], (distance < 100)[clear])
    ring = (distance > 100) & (distance < 400)
    np.testing.assert_array_equal(inside(zones, 1, "ring", points)[clear], ring[clear])
    assert zones["area_m2"].tolist() == pytest.approx(zones.area.tolist())


def test_no_place_is_treated_twice_nor_both_ring_and_treated():
    """Two corridors 150 m apart, the better one second in the table: it keeps the overlap; rings keep clear of both."""
    zones = corridor_zones(streets([(0, 150), (1000, 150)], [(0, 0), (1000, 0)], ranks=[2, 1]))
    shape = zones.set_index(["rank", "zone"]).geometry
    between = shapely.Point(500, 80)  # 70 m from the worse, 80 m from the better
    assert shape[1, "treated"].covers(between)
    assert shape[1, "treated"].intersection(shape[2, "treated"]).area == pytest.approx(0, abs=1e-6)
    for rank in (1, 2):
        for other in (1, 2):
            assert shape[rank, "ring"].intersection(shape[other, "treated"]).area == pytest.approx(
                0, abs=1e-6
            )
    assert not shape[1, "ring"].covers(shapely.Point(500, 240))  # treated by the other


def test_what_was_worked_before_is_cut_out_of_the_ring():
    """A street treated last year lies in the ring: its treated zone is no place to look for displacement."""
    before = gpd.GeoSeries([shapely.LineString([(0, 250), (1000, 250)])], crs=32615).to_crs(4326)
    zones = corridor_zones(streets([(0, 0), (1000, 0)]), others=before)
    assert not inside(zones, 1, "ring", shapely.Point(500, 300))
    assert inside(zones, 1, "ring", shapely.Point(500, -300))
    assert inside(zones, 1, "ring", shapely.Point(500, 370))


def test_lengths_in_feet_set_the_zones():
    """300 ft and 1200 ft are 91.44 m and 365.76 m."""
    zones = corridor_zones(streets([(0, 0), (1000, 0)]), treated="300 ft", ring="1200 ft")
    assert zones["to_m"].tolist() == pytest.approx([91.44, 365.76])
    assert zones.geometry.iloc[0].bounds[3] == pytest.approx(91.44)


@pytest.mark.parametrize(
    ("corridors", "options", "message"),
    [
        (streets([(0, 0), (1, 0)], crs=4326), {}, "Invalid corridors in WGS 84.*metres"),
        (streets([(0, 0), (1, 0)], crs=None), {}, "no known system"),
        (streets([(0, 0), (1000, 0)], crs=32615), {"ring": "50 m"}, "Invalid ring '50 m'.*farther"),
        (streets([(0, 0), (1000, 0)], crs=2267), {}, "metres"),
    ],
)
def test_what_has_no_metres_is_refused(corridors, options, message):
    """Degrees, feet and no system at all, and a ring inside the treated zone, get a sentence each."""
    with pytest.raises(InputError, match=message):
        corridor_zones(corridors, **options)


def test_no_corridor_has_no_zone():
    """An empty table stays one, with the columns."""
    zones = corridor_zones(streets([(0, 0), (1, 0)]).iloc[:0])
    assert len(zones) == 0
    assert {"zone", "area_m2", "geometry"} <= set(zones.columns)
