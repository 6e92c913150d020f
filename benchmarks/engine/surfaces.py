"""Distances and densities at the cells of a city, against trees, transforms, filters and buffers.

    python benchmarks/engine/surfaces.py [180k] [1.8M]

prints a table. Every measurement has a process of its own with one thread. A program is given the features as it
likes them best: geometries ours, the tree and the buffers, coordinates the rest.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from problem import CELL_M, SHAPES, Problem
from processes import Case, Results, best_of, in_processes, memory_gb

REACH_CELLS = 6
REACH_M = REACH_CELLS * CELL_M
N_STREETS, N_FOOTPRINTS = 20_000, 50_000


@dataclass(frozen=True)
class Features:
    """The features of a benchmark city: points of its first factor, streets of five pieces, footprints of 10 x 16 m."""

    city: Problem

    @cached_property
    def extent(self) -> np.ndarray:
        """Width and height in metres."""
        return np.array([self.city.shape[1], self.city.shape[0]]) * CELL_M

    @cached_property
    def coordinates(self) -> np.ndarray:
        """Points (n, 2)."""
        return self.city.points(0)

    @cached_property
    def points(self) -> Any:
        """Points as geometries."""
        import shapely

        return shapely.points(self.coordinates)

    @cached_property
    def lines(self) -> Any:
        """Bent streets of about 250 m."""
        import shapely

        rng = np.random.default_rng(11)
        starts = rng.uniform(0.0, 1.0, (N_STREETS, 1, 2)) * self.extent
        return shapely.linestrings(starts + np.cumsum(rng.normal(0.0, 40.0, (N_STREETS, 6, 2)), axis=1))

    @cached_property
    def polygons(self) -> Any:
        """Footprints of houses, turned at random."""
        import shapely

        rng = np.random.default_rng(12)
        middles = rng.uniform(0.0, 1.0, (N_FOOTPRINTS, 1, 2)) * self.extent
        angle = rng.uniform(0.0, np.pi, (N_FOOTPRINTS, 1))
        across, along = np.array([-5.0, 5.0, 5.0, -5.0]), np.array([-8.0, -8.0, 8.0, 8.0])
        turned = [
            across * np.cos(angle) - along * np.sin(angle),
            across * np.sin(angle) + along * np.cos(angle),
        ]
        return shapely.polygons(middles + np.stack(turned, axis=2))


def our_distance(features: Features, kind: str) -> np.ndarray:
    """The library's distance, infinity beyond the reach."""
    from rtmkc.raster.surfaces import nearest_distance

    return nearest_distance(features.city.grid, getattr(features, kind), REACH_M)


def our_density(features: Features, kind: str) -> np.ndarray:
    """The library's density."""
    from rtmkc.raster.surfaces import quartic_density

    return quartic_density(features.city.grid, getattr(features, kind), REACH_M)


def tree_of_points(features: Features, kind: str) -> np.ndarray:
    """Distances of scipy's cKDTree, bounded."""
    from scipy.spatial import cKDTree

    grid = features.city.grid
    centres = np.column_stack([grid.eastings, grid.northings])
    return np.asarray(cKDTree(features.coordinates).query(centres, distance_upper_bound=REACH_M)[0])


def transform(features: Features, kind: str) -> np.ndarray:
    """Distances between centres of cells: scipy's transform of the cells that hold a feature."""
    from scipy.ndimage import distance_transform_edt

    return np.asarray(distance_transform_edt(_counts(features) == 0, sampling=CELL_M)).ravel()


def tree_of_shapes(features: Features, kind: str) -> np.ndarray:
    """Distances of shapely's STRtree, bounded."""
    import shapely

    grid = features.city.grid
    distance = np.full(grid.n_cells, np.inf)
    (cells, _), found = shapely.STRtree(getattr(features, kind)).query_nearest(
        shapely.points(grid.eastings, grid.northings),
        max_distance=REACH_M,
        return_distance=True,
        all_matches=False,
    )
    distance[cells] = found
    return distance


def buffers(features: Features, kind: str) -> np.ndarray:
    """The outer distance of the ring of each cell: shapely's buffers, rasterised from the widest to the closest."""
    import shapely
    from rasterio.features import rasterize

    grid = features.city.grid
    raster = np.full(features.city.shape, np.inf)
    for cells in range(REACH_CELLS, 0, -1):
        wide = shapely.buffer(getattr(features, kind), cells * CELL_M)
        value = (cells - 0.5) * CELL_M
        rasterize(((shape, value) for shape in wide), out=raster, transform=grid.transform)
    return raster.ravel()


def gaussian(features: Features, kind: str) -> np.ndarray:
    """Counts of cells through scipy's Gaussian filter, which ends where our kernel does."""
    from scipy.ndimage import gaussian_filter

    counts = _counts(features).astype(float)
    return np.asarray(gaussian_filter(counts, REACH_CELLS / 3, truncate=3.0, mode="constant")).ravel()


def convolution(features: Features, kind: str) -> np.ndarray:
    """Counts of cells convolved with our kernel by scipy's FFT, in single precision."""
    from scipy.signal import fftconvolve

    return np.asarray(fftconvolve(_counts(features).astype(np.float32), _kernel(), mode="same")).ravel()


def convolution_by_parts(features: Features, kind: str) -> np.ndarray:
    """The same by overlap and add."""
    from scipy.signal import oaconvolve

    return np.asarray(oaconvolve(_counts(features).astype(np.float32), _kernel(), mode="same")).ravel()


def _counts(features: Features) -> np.ndarray:
    rows, columns = features.city.shape
    column = np.minimum((features.coordinates[:, 0] / CELL_M).astype(int), columns - 1)
    row = np.clip(rows - 1 - (features.coordinates[:, 1] / CELL_M).astype(int), 0, rows - 1)
    return np.bincount(row * columns + column, minlength=rows * columns).reshape(rows, columns)


def _kernel() -> np.ndarray:
    steps = np.arange(-REACH_CELLS, REACH_CELLS + 1)
    squared = (steps[:, None] ** 2 + steps**2) / REACH_CELLS**2
    return np.maximum(1.0 - squared, 0.0).astype(np.float32) ** 2


def wrong_rings(found: np.ndarray, exact: np.ndarray) -> float:
    """Return the share of the cells in reach that lie in another ring of one cell's width."""
    rings = [
        np.where(distance <= REACH_M, np.ceil(distance / CELL_M), REACH_CELLS + 1)
        for distance in (found, exact)
    ]
    return float(np.count_nonzero(rings[0] != rings[1]) / np.count_nonzero(exact <= REACH_M))


def wrong_dense(found: np.ndarray, exact: np.ndarray) -> float:
    """Return how many cells are above the mean plus two standard deviations in one only, as a share of ours above."""
    above, own = (density >= density.mean() + 2 * density.std() for density in (found, exact))
    return float(np.count_nonzero(above != own) / np.count_nonzero(own))


Measure = Callable[[Features, str], np.ndarray]
PEERS: dict[tuple[str, str], dict[str, Measure]] = {
    ("distance", "points"): {
        "scipy cKDTree": tree_of_points,
        "scipy distance_transform_edt": transform,
    },
    ("density", "points"): {
        "scipy gaussian_filter": gaussian,
        "scipy fftconvolve": convolution,
        "scipy oaconvolve": convolution_by_parts,
    },
    ("distance", "lines"): {"shapely STRtree": tree_of_shapes, "buffers, rasterized": buffers},
    ("distance", "polygons"): {"shapely STRtree": tree_of_shapes, "buffers, rasterized": buffers},
}
OURS = {"distance": our_distance, "density": our_density}
WRONG = {"distance": wrong_rings, "density": wrong_dense}
WORDS = {
    "distance": "distance to {n} {kind}, within six cells",
    "density": "density of {n} {kind}, within six cells",
}


def measure(what: str, kind: str, peer: str, shape: tuple[int, int]) -> dict[str, Any]:
    """Measure ours (`peer` empty) or a peer's surface; a peer's has the share of cells it gets wrong, as `error`."""
    features = Features(Problem((shape[0], shape[1])))
    function = PEERS[what, kind][peer] if peer else OURS[what]
    _ = features.city.grid, features.coordinates, getattr(features, kind)
    before = memory_gb("VmRSS")
    seconds, found = best_of(lambda: function(features, kind), 1)
    if seconds < 5.0:
        seconds, found = best_of(lambda: function(features, kind), 5)
    peak = memory_gb("VmHWM")
    error = WRONG[what](found, OURS[what](features, kind)) if peer else 0.0
    return {"seconds": seconds, "before_gb": before, "peak_gb": peak, "error": error}


def cases(city: str, shape: tuple[int, int]) -> Iterator[Case]:
    """Give the measurements of a city: ours of every surface, and each peer's."""
    for (what, kind), peers in PEERS.items():
        for peer in ("", *peers):
            arguments = {"what": what, "kind": kind, "peer": peer, "shape": list(shape)}
            yield Case(_name(what, kind, peer, city), "surfaces:measure", arguments, threads=1, ours=not peer)


def ratios(city: str, results: Results) -> Iterator[Any]:
    """Give a row of the table of ratios for every peer."""
    from rows import ratio

    for (what, kind), peers in PEERS.items():
        for peer in peers:
            pair = [_name(what, kind, one, "").removesuffix(", ") for one in ("", peer)]
            note = ""
            if _name(what, kind, peer, city) in results:
                note = error_in_words(what, results[_name(what, kind, peer, city)]["error"])
            yield from ratio(results, city, words(what, kind, city), peer, *pair, note=note)


def words(what: str, kind: str, city: str) -> str:
    """Return what was measured, for people."""
    rows, columns = SHAPES[city]
    n_points = len(Problem((rows, columns)).points(0))
    number = {"points": n_points, "lines": N_STREETS, "polygons": N_FOOTPRINTS}[kind]
    return WORDS[what].format(n=f"{number:,}", kind=kind)


def error_in_words(what: str, error: float) -> str:
    """Return what a peer gets wrong, for people."""
    if error < 5e-7:
        return "the same cells in every ring"
    if what == "distance":
        return f"the peer puts {100 * error:.2g} % of the cells in reach into a wrong ring"
    return f"the peer's dense cells differ from the exact ones by {100 * error:.2g} % of them"


def rows(city: str) -> list[dict[str, Any]]:
    """Measure a city and return a row a peer: what, ours_s, peer, peer_s, ours_peak, peer_peak (GB), error."""
    found = {case.name: in_processes(case) for case in cases(city, SHAPES[city])}
    table = []
    for (what, kind), peers in PEERS.items():
        own = found[_name(what, kind, "", city)]
        for peer in peers:
            their = found[_name(what, kind, peer, city)]
            table.append(
                {
                    "what": words(what, kind, city),
                    "ours_s": own["seconds"],
                    "peer": peer,
                    "peer_s": their["seconds"],
                    "ours_peak": own["peak_gb"],
                    "peer_peak": their["peak_gb"],
                    "error": their["error"],
                }
            )
    return table


def _name(what: str, kind: str, peer: str, city: str) -> str:
    return f"{what} of {kind} {peer or 'ours'}, {city}"


def main() -> int:
    """Print the table of the cities named."""
    for city in sys.argv[1:] or ["180k"]:
        n_cells = SHAPES[city][0] * SHAPES[city][1]
        print(f"{city}: seconds (ns a cell), peak GB of the process")
        for row in rows(city):
            ours, peer = (
                f"{row[f'{who}_s']:8.4f} ({row[f'{who}_s'] / n_cells * 1e9:8.1f}) {row[f'{who}_peak']:5.2f}"
                for who in ("ours", "peer")
            )
            print(
                f"{row['what']:48s} ours {ours} | {row['peer']:28s} {peer} | "
                f"{row['peer_s'] / row['ours_s']:7.1f} times, {100 * row['error']:.2g} % of cells wrong"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
