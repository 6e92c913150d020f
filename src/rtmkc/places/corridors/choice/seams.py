"""Corridors without streets: the best chains of neighbouring cells that never turn back, exactly."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely

from rtmkc.errors import CapacityError
from rtmkc.places.corridors.kernels import sweep_seams
from rtmkc.raster.grid import Grid

_MICROMETRE = 1e-6
_TILE = 256
_MOST_BYTES = 2e9
# Steps into a cell: rows down, columns right, diagonal. A direction allows its own step and those beside it.
_DIRECTIONS = {
    "east": ((0, 1, 0), (-1, 1, 1), (1, 1, 1)),
    "south": ((1, 0, 0), (1, -1, 1), (1, 1, 1)),
    "north-east": ((-1, 1, 1), (0, 1, 0), (-1, 0, 0)),
    "south-east": ((1, 1, 1), (0, 1, 0), (1, 0, 0)),
}
# A closed step is kept once for both ways, at the cell it leaves going east, south-east, south, south-west.
_STEP_KINDS = ((0, 1), (1, 1), (1, 0), (1, -1))


@dataclass(frozen=True, eq=False)
class Seam:
    """A monotone chain of neighbouring cells.

    Attributes
    ----------
    cells : ndarray of int
        The cells, in order.
    direction : str
        Where it runs: east, south, north-east or south-east.
    length_m : float
        Metres from the first centre to the last, along the chain.
    prize, value : float
        Sum of the cells, and the same less the price of each cell.
    """

    cells: np.ndarray
    direction: str
    length_m: float
    prize: float
    value: float

    def line(self, grid: Grid) -> shapely.LineString:
        """Return the chain as a line through the centres of its cells."""
        return shapely.LineString(np.column_stack([grid.eastings[self.cells], grid.northings[self.cells]]))


def best_seams(
    grid: Grid,
    values: np.ndarray,
    *,
    k: int,
    shortest: float,
    longest: float,
    separation: float,
    price: float,
    excluded: shapely.Geometry | None = None,
) -> tuple[Seam, ...]:
    """Return the best seam of a grid, then the best one far enough from it, and so on.

    Parameters
    ----------
    grid : Grid
        The cells; what is outside the area, holes too, is a wall.
    values : ndarray, shape (n_cells,)
        What each cell is worth.
    k : int
        How many at most; only seams with a positive value are returned.
    shortest, longest : float
        Bounds of the length in metres, both included. A diagonal step counts for sqrt(2) cells.
    separation : float
        Least distance between two seams, and to `excluded`, in metres. With 0, seams share no cell.
    price : float
        Price of a cell; the value of a seam is the sum over its cells of value less price.
    excluded : geometry, optional
        Where no seam may go, in the grid's system.

    Returns
    -------
    tuple of Seam
        Best first.

    Raises
    ------
    CapacityError
        If the cells are so small against `longest` that the sweep would not fit in memory.

    Notes
    -----
    Dynamic programming over cells, numbers of steps and numbers of diagonal steps, in the four directions
    east, south, north-east and south-east, each with the three moves around it: the exact maximum over all
    such paths of any allowed length. After a seam is taken, the cells and steps too near to it are closed,
    and the sweep is repeated where that can matter.
    """
    _check_capacity(grid, longest)
    sweep = _SeamSweep(grid, np.asarray(values, dtype=float), shortest, longest, price)
    if excluded is not None:
        sweep.close(excluded, separation)
    sweep.everywhere()
    found: list[Seam] = []
    while len(found) < k:
        seam = sweep.best()
        if seam is None:
            break
        found.append(seam)
        if len(found) < k:
            sweep.close(seam.line(grid), separation, seam.cells)
            sweep.again()
    return tuple(found)


def _check_capacity(grid: Grid, longest: float) -> None:
    steps = longest / grid.cell_size
    needed = 16 * (steps / np.sqrt(2) + 1) * (_TILE + 2 * steps) * (_TILE + steps)
    if needed > _MOST_BYTES:
        raise CapacityError(
            f"Invalid max_length {longest:,.0f} m. Seams of so many cells of {grid.cell_size:,.1f} m would "
            f"need {needed / 1e9:,.1f} GB; choose a shorter max_length, larger cells, or give streets."
        )


@dataclass(frozen=True)
class _Window:
    """Rows and columns of the raster, upper bounds excluded."""

    top: int
    bottom: int
    left: int
    right: int

    def grow(self, up: int, down: int, left: int, right: int) -> "_Window":
        return _Window(self.top - up, self.bottom + down, self.left - left, self.right + right)

    def within(self, n_rows: int, n_columns: int) -> "_Window":
        return _Window(
            max(self.top, 0), min(self.bottom, n_rows), max(self.left, 0), min(self.right, n_columns)
        )

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)


class _SeamSweep:
    """The best path that ends in each cell, by direction, and what is closed to paths."""

    def __init__(self, grid: Grid, values: np.ndarray, shortest: float, longest: float, price: float) -> None:
        self.grid, self.values, self.price = grid, values, price
        self.shortest, self.longest = shortest - _MICROMETRE, longest + _MICROMETRE
        self.reach = int(self.longest / grid.cell_size)
        self.tie = 1e-12 * max(float(np.abs(values).sum()), 1e-300)
        self.shape = (grid.n_rows, grid.n_columns)
        self.surplus = np.full(self.shape, -np.inf)
        self.surplus[grid.rows, grid.columns] = values - price
        self.index = np.full(self.shape, -1, dtype=np.int64)
        self.index[grid.rows, grid.columns] = np.arange(grid.n_cells)
        self.closed_steps = np.zeros((len(_STEP_KINDS), *self.shape), dtype=bool)
        self.changed: _Window | None = None
        size = (len(_DIRECTIONS), *self.shape)
        self.best_value, self.best_length = np.full(size, -np.inf), np.full(size, np.inf)
        self.best_steps, self.best_diagonals = np.zeros(size, dtype=np.int16), np.zeros(size, dtype=np.int16)

    def close(self, geometry: shapely.Geometry, separation: float, cells: np.ndarray | None = None) -> None:
        """Close the cells and steps less than `separation` from a geometry, and `cells` in any case."""
        grid, half = self.grid, self.grid.cell_size / 2
        west, south, east, north = shapely.buffer(
            shapely.box(*geometry.bounds), separation + grid.cell_size
        ).bounds
        window = _Window(
            int(np.floor((grid.north - north) / grid.cell_size)),
            int(np.ceil((grid.north - south) / grid.cell_size)),
            int(np.floor((west - grid.west) / grid.cell_size)),
            int(np.ceil((east - grid.west) / grid.cell_size)),
        ).within(*self.shape)
        self.changed = window
        if window.top >= window.bottom or window.left >= window.right:
            return
        rows, columns = np.mgrid[window.slices]
        eastings, northings = grid.west + columns * 2 * half + half, grid.north - rows * 2 * half - half
        shapely.prepare(geometry)
        if separation > 0:
            near = shapely.dwithin(shapely.points(eastings, northings), geometry, separation - _MICROMETRE)
            for kind, (down, right) in enumerate(_STEP_KINDS):
                ends = np.stack(
                    [eastings, northings, eastings + right * 2 * half, northings - down * 2 * half], axis=-1
                )
                steps = shapely.linestrings(ends.reshape(*rows.shape, 2, 2))
                too_near = shapely.dwithin(steps, geometry, separation - _MICROMETRE)
                self.closed_steps[kind][window.slices] |= too_near
        elif cells is None:
            boxes = shapely.box(eastings - half, northings - half, eastings + half, northings + half)
            near = shapely.intersects(boxes, geometry)
        else:
            near = np.zeros(rows.shape, dtype=bool)
        self.surplus[window.slices][near] = -np.inf
        if cells is not None:
            self.surplus[grid.rows[cells], grid.columns[cells]] = -np.inf

    def everywhere(self) -> None:
        """Sweep the whole grid, tile by tile."""
        for direction in range(len(_DIRECTIONS)):
            for tile in self._tiles(_Window(0, self.shape[0], 0, self.shape[1])):
                self._sweep(direction, tile)

    def again(self) -> None:
        """Sweep again all ends of paths that what was closed last can have served."""
        if self.changed is None:
            return
        for direction, moves in enumerate(_DIRECTIONS.values()):
            up, down, left, right = self._reach(moves)
            ends = self.changed.grow(up, down, left, right).within(*self.shape)
            for tile in self._tiles(ends):
                self._sweep(direction, tile)

    def best(self) -> Seam | None:
        """Return the best path, if any has a positive value: of equal ones the shorter, then the first."""
        top = self.best_value.max(initial=-np.inf)
        if not top > self.tie:
            return None
        equal = np.flatnonzero(self.best_value >= top - self.tie)
        chosen = equal[np.argmin(np.round(self.best_length.ravel()[equal], 6))]
        direction, row, column = (int(number) for number in np.unravel_index(chosen, self.best_value.shape))
        return self._trace(direction, row, column)

    def _reach(self, moves: tuple[tuple[int, int, int], ...]) -> tuple[int, int, int, int]:
        """Rows up and down, columns left and right that a path of these moves can get from its start."""
        downs, rights = [move[0] for move in moves], [move[1] for move in moves]
        sides = (-min(downs), max(downs), -min(rights), max(rights))
        up, down, left, right = (self.reach * max(side, 0) for side in sides)
        return up, down, left, right

    @staticmethod
    def _tiles(window: _Window) -> Iterator[_Window]:
        for top in range(window.top, window.bottom, _TILE):
            for left in range(window.left, window.right, _TILE):
                yield _Window(top, min(top + _TILE, window.bottom), left, min(left + _TILE, window.right))

    def _sweep(self, direction: int, ends: _Window) -> None:
        moves = tuple(_DIRECTIONS.values())[direction]
        outcome = (self.best_value, self.best_length, self.best_steps, self.best_diagonals)
        if not np.isfinite(self.surplus[ends.slices]).any():
            self.best_value[direction][ends.slices] = -np.inf
            return
        up, down, left, right = self._reach(moves)
        around = ends.grow(down, up, right, left).within(*self.shape)
        results, _ = self._run(moves, around, recorded=None)
        inner = (
            slice(ends.top - around.top, ends.bottom - around.top),
            slice(ends.left - around.left, ends.right - around.left),
        )
        for whole, part in zip(outcome, results, strict=True):
            whole[direction][ends.slices] = part[inner]

    def _trace(self, direction: int, row: int, column: int) -> Seam:
        name, moves = tuple(_DIRECTIONS.items())[direction]
        step = int(self.best_steps[direction, row, column])
        diagonal = int(self.best_diagonals[direction, row, column])
        up, down, left, right = (side * step // max(self.reach, 1) for side in self._reach(moves))
        around = _Window(row, row + 1, column, column + 1).grow(down, up, right, left).within(*self.shape)
        _, choice = self._run(moves, around, recorded=(step, diagonal))
        path = [(row, column)]
        while step > 0:
            move = moves[choice[step, diagonal, row - around.top + 1, column - around.left + 1]]
            row, column, diagonal, step = row - move[0], column - move[1], diagonal - move[2], step - 1
            path.append((row, column))
        cells = self.index[tuple(np.array(path[::-1]).T)]
        prize = float(self.values[cells].sum())
        length = float(self.best_length[direction, path[0][0], path[0][1]])
        return Seam(cells, name, length, prize, prize - self.price * len(cells))

    def _run(
        self, moves: tuple[tuple[int, int, int], ...], window: _Window, *, recorded: tuple[int, int] | None
    ) -> tuple[list[np.ndarray], np.ndarray]:
        surplus = np.pad(self.surplus[window.slices], 1, constant_values=-np.inf)
        toll = np.stack([self._toll(move, window) for move in moves])
        size = surplus.shape
        best, length = np.empty(size), np.empty(size)
        steps, diagonals = np.zeros(size, dtype=np.int16), np.zeros(size, dtype=np.int16)
        longest = self.longest
        layers = (0, 0)
        if recorded is not None:
            step, diagonal = recorded
            longest = (step - diagonal + diagonal * np.sqrt(2.0)) * self.grid.cell_size + _MICROMETRE
            layers = (
                int(longest / self.grid.cell_size) + 1,
                int(longest / (self.grid.cell_size * np.sqrt(2.0))) + 1,
            )
        choice = np.zeros((*layers, *size), dtype=np.uint8)
        sweep_seams(
            surplus,
            toll,
            np.array(moves),
            self.grid.cell_size,
            self.shortest,
            longest,
            self.tie,
            best,
            length,
            steps,
            diagonals,
            choice,
        )
        return [result[1:-1, 1:-1] for result in (best, length, steps, diagonals)], choice

    def _toll(self, move: tuple[int, int, int], window: _Window) -> np.ndarray:
        """Return 0 or -inf for the move into each cell of a window and its margin."""
        forward = move[:2] in _STEP_KINDS
        kind = _STEP_KINDS.index(move[:2] if forward else (-move[0], -move[1]))
        toll = np.zeros((window.bottom - window.top + 2, window.right - window.left + 2))
        closed = np.argwhere(self.closed_steps[kind][window.slices]) + 1
        if forward:  # kept at the cell it leaves
            closed = closed + np.array(move[:2])
        inside = ((closed >= 0) & (closed < toll.shape)).all(axis=1)
        toll[tuple(closed[inside].T)] = -np.inf
        return toll
