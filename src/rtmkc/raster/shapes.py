"""Shapes: features as bare coordinates, ready to be measured on any lattice."""

from dataclasses import dataclass, field

import numpy as np
import shapely

from rtmkc.raster.kernels import merge_points, segments_of


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
        forms = shapely.get_type_id(parts)
        while (forms > 3).any():
            parts = shapely.get_parts(parts)
            forms = shapely.get_type_id(parts)
        points = shapely.get_coordinates(parts[forms == 0])
        first, counts = merge_points(points.view(np.int64))
        lines = parts[(forms == 1) | (forms == 2)]
        segments, _ = _segments(lines, np.zeros(len(lines), dtype=np.int64))
        polygons = parts[forms == 3]
        polygons = polygons[~shapely.is_empty(polygons)]
        rings, polygon = shapely.get_rings(polygons, return_index=True)
        # The rings of a polygon are its outer one, then its holes.
        outer = np.diff(polygon, prepend=-1) > 0
        edges, starts = _segments(rings, np.where(outer, 1, -1))
        offsets = np.append(starts[:-1][outer], starts[-1])
        extents = shapely.bounds(polygons)[:, [1, 3]]
        return cls(points[first], counts, segments, edges, offsets, extents)


def _segments(chains: np.ndarray, turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Segments of lines or rings, and the first of each with the end of all."""
    corners = np.concatenate([[0], np.cumsum(shapely.get_num_coordinates(chains), dtype=np.int64)])
    segments = segments_of(shapely.get_coordinates(chains), corners, turns)
    return segments, corners - np.arange(len(corners))
