"""Shapes: features as bare coordinates, ready to be measured on any lattice."""

from dataclasses import dataclass, field

import numpy as np
import shapely

from rtmkc.raster.kernels import merge_points


@dataclass(frozen=True, eq=False)
class Shapes:
    """Features of a layer as points, segments of lines and edges of polygons.

    Give it instead of the geometries where the same features are measured many times.

    Attributes
    ----------
    points : ndarray of float, shape (n_places, 2)
        Eastings and northings in metres: every distinct place once, in order of its first appearance.
    counts : ndarray of float, shape (n_places,)
        Points at each place.
    segments : ndarray of float, shape (n_segments, 4)
        Easting and northing of both ends of every straight piece of a line.
    edges : ndarray of float, shape (n_edges, 4)
        The same of polygons, anticlockwise around them and clockwise around their holes.
    offsets : ndarray of int64, shape (n_polygons + 1,)
        Polygon ``p`` has the edges ``offsets[p]`` to ``offsets[p + 1]``.
    extents : ndarray of float, shape (n_polygons, 2)
        Southern and northern end of every polygon.

    Examples
    --------
    >>> shapes = Shapes.of([shapely.Point(3, 4), shapely.MultiPoint([(3, 4), (5, 6)]), shapely.box(0, 0, 1, 1)])
    >>> shapes.points
    array([[3., 4.],
           [5., 6.]])
    >>> shapes.counts, len(shapes.segments), len(shapes.edges)
    (array([2., 1.]), 0, 4)
    """

    points: np.ndarray = field(repr=False)
    counts: np.ndarray = field(repr=False)
    segments: np.ndarray = field(repr=False)
    edges: np.ndarray = field(repr=False)
    offsets: np.ndarray = field(repr=False)
    extents: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, geometries: object) -> "Shapes":
        """Take geometries apart: points, lines, polygons, multi and collections of them, in their order."""
        parts = np.asarray(geometries, dtype=object)
        while (shapely.get_type_id(parts) > 3).any():
            parts = shapely.get_parts(parts)
        parts = parts[~(shapely.is_missing(parts) | shapely.is_empty(parts))]
        dimensions = shapely.get_dimensions(parts)
        polygons = parts[dimensions == 2]
        points = np.ascontiguousarray(shapely.get_coordinates(parts[dimensions == 0]))
        first, counts = merge_points(points.view(np.int64))
        lines, line = shapely.get_coordinates(parts[dimensions == 1], return_index=True)
        rings, polygon = shapely.get_rings(polygons, return_index=True)
        corners, ring = shapely.get_coordinates(rings, return_index=True)
        ends, ring = _segments(corners, ring)
        # Rings come outer first, then the holes of the same polygon.
        outer = np.diff(polygon, prepend=-1) > 0
        turned = (_areas(ends, ring, len(rings)) > 0) != outer
        edges = np.where(turned[ring, None], ends[:, [2, 3, 0, 1]], ends)
        offsets = np.searchsorted(polygon[ring], np.arange(len(polygons) + 1))
        extents = shapely.bounds(polygons)[:, [1, 3]]
        return cls(points[first], counts, _segments(lines, line)[0], edges, offsets, extents)


def _segments(vertices: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of consecutive vertices of one owner, and the owner of each."""
    same = owner[1:] == owner[:-1]
    return np.ascontiguousarray(np.column_stack([vertices[:-1][same], vertices[1:][same]])), owner[1:][same]


def _areas(ends: np.ndarray, ring: np.ndarray, n_rings: int) -> np.ndarray:
    """Twice the signed area of every ring, from its first corner: large coordinates must not cancel."""
    start = np.searchsorted(ring, np.arange(n_rings))
    if not len(ends):
        return np.zeros(n_rings)
    origin = ends[np.minimum(start, len(ends) - 1), :2][ring]
    relative = ends - np.column_stack([origin, origin])
    cross = relative[:, 0] * relative[:, 3] - relative[:, 2] * relative[:, 1]
    return np.bincount(ring, weights=cross, minlength=n_rings)
