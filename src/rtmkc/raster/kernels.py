"""Compiled loops of the raster room: points, segments and polygons are spread over the cells they can reach.

A *band* is some rows of a lattice that fit in cache. Its columns are followed by `PADDING` more, so that loops
over the columns in reach run in whole groups of eight; what is written there is never read. Sums and minima of
a cell are taken in the order of the features, whatever the band.
"""

import numba
import numpy as np

PADDING = 8
SLACK = 1e-6
"""In cells: what is looked at beyond the reach, so that rounding of a row or column number never loses a cell."""


@numba.njit(cache=True, nogil=True)
def merge_points(coordinates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first point of every distinct place, in order, and how many points lie there.

    `coordinates` are the bits (n, 2) of the coordinates as integers: equal places are equal to the last bit.
    """
    number = coordinates.shape[0]
    size = 16
    while size < 2 * number:
        size *= 2
    slots = np.full(size, -1, dtype=np.int64)
    first, counts = np.empty(number, dtype=np.int64), np.empty(number)
    places = 0
    for point in range(number):
        mixed = np.uint64(coordinates[point, 0]) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(29))) + np.uint64(coordinates[point, 1])
        mixed *= np.uint64(0xBF58476D1CE4E5B9)
        slot = np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(size - 1))
        while slots[slot] >= 0:
            other = first[slots[slot]]
            if (
                coordinates[other, 0] == coordinates[point, 0]
                and coordinates[other, 1] == coordinates[point, 1]
            ):
                break
            slot = (slot + 1) & (size - 1)
        if slots[slot] < 0:
            slots[slot] = places
            first[places] = point
            counts[places] = 0.0
            places += 1
        counts[slots[slot]] += 1.0
    return first[:places], counts[:places]


@numba.njit(cache=True, nogil=True)
def segments_of(corners: np.ndarray, starts: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Return the segments (n, 4) of chains of corners, chain ``c`` from ``starts[c]`` to ``starts[c + 1]``.

    Closed chains are turned about where they run against `turns`: 1 anticlockwise, -1 clockwise, 0 as they are.
    """
    number = 0
    for chain in range(turns.size):
        number += max(0, starts[chain + 1] - starts[chain] - 1)
    segments = np.empty((number, 4))
    number = 0
    for chain in range(turns.size):
        first, last = starts[chain], starts[chain + 1] - 1
        # Twice the signed area, from the first corner, so that coordinates of millions of metres do not cancel.
        area = 0.0
        for corner in range(first, last):
            area += (corners[corner, 0] - corners[first, 0]) * (corners[corner + 1, 1] - corners[first, 1])
            area -= (corners[corner + 1, 0] - corners[first, 0]) * (corners[corner, 1] - corners[first, 1])
        about = area * turns[chain] < 0.0
        for corner in range(first, last):
            start, stop = (corner + 1, corner) if about else (corner, corner + 1)
            segments[number, 0], segments[number, 1] = corners[start, 0], corners[start, 1]
            segments[number, 2], segments[number, 3] = corners[stop, 0], corners[stop, 1]
            number += 1
    return segments


@numba.njit(cache=True, nogil=True)
def members_of_bands(
    ends: np.ndarray,
    other_ends: np.ndarray,
    row_northings: np.ndarray,
    size: float,
    band_rows: int,
    reach: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return which items, from one northing to another, can reach each band of rows: offsets and items.

    Items keep their order within a band. One without a northing reaches none.
    """
    n_rows = row_northings.size
    offsets = np.zeros((n_rows + band_rows - 1) // band_rows + 1, dtype=np.int64)
    for item in range(ends.size):
        first, last = _bands_of(ends[item], other_ends[item], row_northings, size, band_rows, reach)
        for band in range(first, last + 1):
            offsets[band + 1] += 1
    for band in range(1, offsets.size):
        offsets[band] += offsets[band - 1]
    items = np.empty(offsets[-1], dtype=np.int64)
    following = offsets[:-1].copy()
    for item in range(ends.size):
        first, last = _bands_of(ends[item], other_ends[item], row_northings, size, band_rows, reach)
        for band in range(first, last + 1):
            items[following[band]] = item
            following[band] += 1
    return offsets, items


@numba.njit(cache=True, nogil=True)
def _bands_of(
    end: float, other: float, row_northings: np.ndarray, size: float, band_rows: int, reach: float
) -> tuple[int, int]:
    reach += SLACK * size
    high, low = max(end, other) + reach, min(end, other) - reach
    top, bottom = row_northings[0], row_northings[-1]
    # Most features are far from a strip: they cost two comparisons.
    if not (low <= top and high >= bottom):
        return 0, -1
    if row_northings.size <= band_rows:
        return 0, 0
    first_row, last_row = np.ceil((top - min(high, top)) / size), np.floor((top - max(low, bottom)) / size)
    return int(first_row) // band_rows, min(row_northings.size - 1, int(last_row)) // band_rows


@numba.njit(cache=True, nogil=True)
def splat_points(
    points: np.ndarray,
    members: np.ndarray,
    column_eastings: np.ndarray,
    row_northings: np.ndarray,
    size: float,
    reach: float,
    squared: np.ndarray,
) -> None:
    """Lower `squared` (band, m2) to the squared distance from each cell centre to the nearest point.

    Cells a little beyond the reach are lowered too, to their own distance.
    """
    span = reach / size + SLACK
    runs = np.empty(2 * int(np.ceil(span)) + 2 * PADDING)
    for point in members:
        easting, northing = points[point, 0], points[point, 1]
        first_row, last_row = _range(row_northings[0] - northing, size, span, row_northings.size)
        first, last = _range(easting - column_eastings[0], size, span, column_eastings.size - PADDING)
        if last_row < first_row or last < first:
            continue
        width = ((last - first) // PADDING + 1) * PADDING
        for column in range(width):
            run = column_eastings[first + column] - easting
            runs[column] = run * run
        for row in range(first_row, last_row + 1):
            rise = row_northings[row] - northing
            rise *= rise
            line = squared[row, first : first + width]
            for column in range(width):
                line[column] = min(line[column], rise + runs[column])


@numba.njit(cache=True, nogil=True)
def splat_quartic(
    points: np.ndarray,
    weights: np.ndarray,
    column_eastings: np.ndarray,
    row_northings: np.ndarray,
    size: float,
    bandwidth: float,
    total: np.ndarray,
) -> None:
    """Add to `total` (band) the weight of every point times ``(d^2 - r^2)^2`` where ``r < d``, the bandwidth."""
    limit = bandwidth * bandwidth
    span = bandwidth / size + SLACK
    runs = np.empty(2 * int(np.ceil(span)) + 2 * PADDING)
    for point in range(weights.size):
        easting, northing, weight = points[point, 0], points[point, 1], weights[point]
        first_row, last_row = _range(row_northings[0] - northing, size, span, row_northings.size)
        first, last = _range(easting - column_eastings[0], size, span, column_eastings.size - PADDING)
        if last_row < first_row or last < first:
            continue
        width = ((last - first) // PADDING + 1) * PADDING
        for column in range(width):
            run = column_eastings[first + column] - easting
            runs[column] = run * run
        for row in range(first_row, last_row + 1):
            rise = row_northings[row] - northing
            rise *= rise
            line = total[row, first : first + width]
            for column in range(width):
                fade = max(0.0, limit - (rise + runs[column]))
                line[column] += weight * (fade * fade)


@numba.njit(cache=True, nogil=True)
def splat_segments(
    segments: np.ndarray,
    members: np.ndarray,
    column_eastings: np.ndarray,
    row_northings: np.ndarray,
    size: float,
    reach: float,
    squared: np.ndarray,
) -> None:
    """Lower `squared` (band, m2) to the squared distance from each cell centre to the nearest segment.

    `segments` are (n, 4): easting and northing of both ends. In each row only the columns are visited
    that the part of the segment near the row can reach.
    """
    span = reach / size + SLACK
    for segment in members:
        easting, northing = segments[segment, 0], segments[segment, 1]
        run, rise = segments[segment, 2] - easting, segments[segment, 3] - northing
        length = run * run + rise * rise
        inverse = 1.0 / length if length > 0.0 else 0.0
        high, low = max(northing, northing + rise), min(northing, northing + rise)
        first_row = max(0, int(np.ceil(max(-1.0, (row_northings[0] - high) / size - span))))
        last_row = int(np.floor(min(row_northings.size - 1.0, (row_northings[0] - low) / size + span)))
        for row in range(first_row, last_row + 1):
            above = row_northings[row] - northing
            start, stop = 0.0, 1.0
            if rise != 0.0:
                one, other = (above - span * size) / rise, (above + span * size) / rise
                start, stop = max(start, min(one, other)), min(stop, max(one, other))
            west = easting + min(start * run, stop * run) - column_eastings[0]
            east = easting + max(start * run, stop * run) - column_eastings[0]
            last_column = column_eastings.size - PADDING - 1.0
            if not (east / size + span >= 0.0 and west / size - span <= last_column):
                continue
            first = int(np.ceil(max(0.0, west / size - span)))
            last = int(np.floor(min(last_column, east / size + span)))
            if last < first:
                continue
            width = ((last - first) // PADDING + 1) * PADDING
            line = squared[row, first : first + width]
            eastings = column_eastings[first : first + width]
            for column in range(width):
                beyond = eastings[column] - easting
                share = min(1.0, max(0.0, (beyond * run + above * rise) * inverse))
                beyond -= share * run
                off = above - share * rise
                line[column] = min(line[column], beyond * beyond + off * off)


@numba.njit(cache=True, nogil=True)
def _range(offset: float, size: float, span: float, number: int) -> tuple[int, int]:
    """First and last of `number` centres within `span` cells of an offset (m) from the first centre."""
    position = offset / size
    if not (position + span >= 0.0 and position - span <= number - 1):
        return 0, -1
    return max(0, int(np.ceil(position - span))), min(number - 1, int(np.floor(position + span)))


@numba.njit(cache=True, nogil=True)
def fill_polygons(
    edges: np.ndarray,
    offsets: np.ndarray,
    members: np.ndarray,
    column_eastings: np.ndarray,
    row_northings: np.ndarray,
    size: float,
    squared: np.ndarray,
) -> None:
    """Set `squared` (band) to 0 where a cell centre lies in a polygon: where its rings cross the row an odd number of times to the west."""
    n_rows, n_columns = row_northings.size, column_eastings.size - PADDING
    odd = np.zeros((n_rows, n_columns + 1), dtype=np.bool_)
    for polygon in members:
        top, bottom, left, right = n_rows, -1, n_columns, -1
        for edge in range(offsets[polygon], offsets[polygon + 1]):
            easting, northing = edges[edge, 0], edges[edge, 1]
            run, rise = edges[edge, 2] - easting, edges[edge, 3] - northing
            low, high = min(northing, edges[edge, 3]), max(northing, edges[edge, 3])
            first_row = int(np.ceil(max(0.0, (row_northings[0] - high) / size - SLACK)))
            last_row = int(np.floor(min(n_rows - 1.0, (row_northings[0] - low) / size + SLACK)))
            for row in range(first_row, last_row + 1):
                if (northing > row_northings[row]) == (edges[edge, 3] > row_northings[row]):
                    continue
                crossing = easting + (row_northings[row] - northing) / rise * run
                column = min(max((crossing - column_eastings[0]) / size, -1.0), n_columns - 1.0)
                first = int(np.floor(column)) + 1
                odd[row, first] = not odd[row, first]
                top, bottom = min(top, row), max(bottom, row)
                left, right = min(left, first), max(right, first)
        for row in range(top, bottom + 1):
            within = False
            for column in range(left, right + 1):
                within ^= odd[row, column]
                odd[row, column] = False
                if within:
                    squared[row, column] = 0.0


@numba.njit(cache=True, nogil=True)
def add_coverage(
    edges: np.ndarray,
    offsets: np.ndarray,
    members: np.ndarray,
    west: float,
    north: float,
    size: float,
    first_row: int,
    first_column: int,
    total: np.ndarray,
) -> None:
    """Add to `total` the exact share of every cell that each polygon covers.

    `edges` (n, 4) run anticlockwise around polygons and clockwise around holes; those of polygon `p` are
    ``offsets[p]`` to ``offsets[p + 1]``. Cell (0, 0) of `total` is row `first_row` and column `first_column` of a
    frame with its outer corner at `west` and `north`: shares are those of the frame, wherever `total` is cut out of it.

    Notes
    -----
    Green's theorem, cell by cell: each edge adds the area to its east in the cells it crosses, and its
    height to all cells farther east of the row, by a running sum.
    """
    n_rows, n_columns = total.shape
    gains = np.zeros((n_rows, n_columns + 1))
    for polygon in members:
        top, bottom, left, right = n_rows, -1, n_columns, -1
        for edge in range(offsets[polygon], offsets[polygon + 1]):
            across, down = (edges[edge, 0] - west) / size, (north - edges[edge, 1]) / size
            other_across, other_down = (edges[edge, 2] - west) / size, (north - edges[edge, 3]) / size
            sign = 1.0
            if other_down < down:
                across, down, other_across, other_down = other_across, other_down, across, down
                sign = -1.0
            if not (other_down > down and other_down >= first_row and down <= first_row + n_rows):
                continue
            slope = (other_across - across) / (other_down - down)
            last_row = int(min(np.floor(other_down), first_row + n_rows - 1.0))
            for row in range(int(max(np.floor(down), first_row)), last_row + 1):
                start, stop = max(down, row), min(other_down, row + 1.0)
                if stop <= start:
                    continue
                one = across + (start - down) * slope
                other = other_across - (other_down - stop) * slope
                here = row - first_row
                line = gains[here]
                first, last = _add_edge(
                    line,
                    min(one, other) - first_column,
                    max(one, other) - first_column,
                    sign * (stop - start),
                )
                top, bottom = min(top, here), max(bottom, here)
                left, right = min(left, first), max(right, last)
        for row in range(top, bottom + 1):
            share = 0.0
            for column in range(left, right + 1):
                share += gains[row, column]
                gains[row, column] = 0.0
                # Below a millionth of a cell a share is rounding of the boundary's coordinates, not area.
                if share > 1e-6 and column < n_columns:
                    total[row, column] += share if share <= 1.0 - 1e-12 else 1.0


@numba.njit(cache=True, nogil=True)
def _add_edge(line: np.ndarray, west: float, east: float, height: float) -> tuple[int, int]:
    """Add to `line` what an edge from `west` to `east` (columns) of a signed height gains there and after; return the columns."""
    n_columns = line.size - 1
    if west >= n_columns:
        return n_columns, n_columns
    if east <= 0.0:
        line[0] += height
        return 0, 0
    if west < 0.0:
        outside = height * (-west / (east - west))
        line[0] += outside
        height -= outside
        west = 0.0
    if east > n_columns:
        height *= (n_columns - west) / (east - west)
        east = n_columns
    first = column = int(west)
    if east <= column + 1.0:
        inner = (west + east) / 2.0 - column
        line[column] += height * (1.0 - inner)
        line[column + 1] += height * inner
        return first, column + 1
    slope = height / (east - west)
    while west < east:
        edge = min(column + 1.0, east)
        inner = (west + edge) / 2.0 - column
        line[column] += slope * (edge - west) * (1.0 - inner)
        line[column + 1] += slope * (edge - west) * inner
        west = edge
        column += 1
    return first, column


@numba.njit(cache=True, nogil=True)
def gather_distance(squared: np.ndarray, inside: np.ndarray, reach: float, distance: np.ndarray) -> None:
    """Write the distances of the cells `inside` of a band into `distance`, infinity beyond the reach."""
    _compress(squared, inside, distance)
    for cell in range(distance.size):
        distance[cell] = np.sqrt(distance[cell]) if distance[cell] <= reach * reach else np.inf


@numba.njit(cache=True, nogil=True)
def gather_density(total: np.ndarray, inside: np.ndarray, scale: float, density: np.ndarray) -> None:
    """Write `scale` times the totals of the cells `inside` of a band into `density`."""
    _compress(total, inside, density)
    for cell in range(density.size):
        density[cell] *= scale


@numba.njit(cache=True, nogil=True)
def _compress(raster: np.ndarray, inside: np.ndarray, vector: np.ndarray) -> None:
    cell = 0
    for row in range(inside.shape[0]):
        for column in range(inside.shape[1]):
            if inside[row, column]:
                vector[cell] = raster[row, column]
                cell += 1


@numba.njit(cache=True, nogil=True)
def share_pixels(
    eastings: np.ndarray,
    northings: np.ndarray,
    values: np.ndarray,
    west: float,
    north: float,
    size: float,
    inside: np.ndarray,
    area: np.ndarray,
    volume: np.ndarray,
    amount: np.ndarray,
    touched: np.ndarray,
) -> None:
    """Cut the pixels of a raster by the cells of a grid, each pixel a quadrilateral of its four corners.

    `eastings` and `northings` hold the corners of the pixels (rows + 1, columns + 1) in the grid's system.
    For every cell `inside` the area `area` gains the area (m2) of the pieces of pixels with a value, `volume` that area times
    the value, and `amount` the value shared by area; `touched` marks pixels with a piece in a cell.
    """
    n_rows, n_columns = area.shape
    left, low = np.empty(16), np.empty(16)
    other_left, other_low = np.empty(16), np.empty(16)
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            left[0], low[0] = eastings[row, column], northings[row, column]
            left[1], low[1] = eastings[row, column + 1], northings[row, column + 1]
            left[2], low[2] = eastings[row + 1, column + 1], northings[row + 1, column + 1]
            left[3], low[3] = eastings[row + 1, column], northings[row + 1, column]
            quad_east, quad_north = left[:4].copy(), low[:4].copy()
            if not (np.all(np.isfinite(quad_east)) and np.all(np.isfinite(quad_north))):
                continue
            whole = _ring_area(quad_east, quad_north, 4)
            if whole <= 0.0:
                continue
            first_column = max(0, int(np.floor((quad_east.min() - west) / size)))
            last_column = min(n_columns - 1, int(np.floor((quad_east.max() - west) / size)))
            first_row = max(0, int(np.floor((north - quad_north.max()) / size)))
            last_row = min(n_rows - 1, int(np.floor((north - quad_north.min()) / size)))
            for cell_row in range(first_row, last_row + 1):
                top = north - cell_row * size
                for cell_column in range(first_column, last_column + 1):
                    if not inside[cell_row, cell_column]:
                        continue
                    edge = west + cell_column * size
                    left[:4] = quad_east
                    low[:4] = quad_north
                    corners = 4
                    corners = _clip(left, low, corners, other_left, other_low, edge, 1.0, True)
                    corners = _clip(other_left, other_low, corners, left, low, edge + size, -1.0, True)
                    corners = _clip(left, low, corners, other_left, other_low, top - size, 1.0, False)
                    corners = _clip(other_left, other_low, corners, left, low, top, -1.0, False)
                    if corners < 3:
                        continue
                    piece = _ring_area(left, low, corners)
                    if piece <= 1e-12 * whole:
                        continue
                    touched[row, column] = True
                    value = values[row, column]
                    if not np.isnan(value):
                        area[cell_row, cell_column] += piece
                        volume[cell_row, cell_column] += piece * value
                        amount[cell_row, cell_column] += piece / whole * value


@numba.njit(cache=True, nogil=True)
def _clip(
    eastings: np.ndarray,
    northings: np.ndarray,
    corners: int,
    clipped_eastings: np.ndarray,
    clipped_northings: np.ndarray,
    limit: float,
    side: float,
    across: bool,
) -> int:
    """Cut a convex ring by one straight edge (Sutherland and Hodgman, 1974); return how many corners are left."""
    number = 0
    for corner in range(corners):
        before = corners - 1 if corner == 0 else corner - 1
        here = side * ((eastings[corner] if across else northings[corner]) - limit)
        there = side * ((eastings[before] if across else northings[before]) - limit)
        if (here >= 0.0) != (there >= 0.0):
            share = there / (there - here)
            clipped_eastings[number] = eastings[before] + share * (eastings[corner] - eastings[before])
            clipped_northings[number] = northings[before] + share * (northings[corner] - northings[before])
            number += 1
        if here >= 0.0:
            clipped_eastings[number] = eastings[corner]
            clipped_northings[number] = northings[corner]
            number += 1
    return number


@numba.njit(cache=True, nogil=True)
def _ring_area(eastings: np.ndarray, northings: np.ndarray, corners: int) -> float:
    # From the first corner, so that coordinates of millions of metres do not cancel.
    total = 0.0
    for corner in range(1, corners - 1):
        total += (eastings[corner] - eastings[0]) * (northings[corner + 1] - northings[0])
        total -= (eastings[corner + 1] - eastings[0]) * (northings[corner] - northings[0])
    return abs(total) / 2.0
