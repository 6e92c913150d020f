"""From files to a map: the library, and a plain pipeline of the programs an analyst would put together.

Both read the same CSV files (longitude, latitude) and boundary, and make the same 0/1 columns. Of the plain pipeline
only what no other row has is run here: reading, measuring, the matrix, scoring, writing; its cross-validated path and
its search are those of the other rows, and the whole is the sum of the parts.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
from city import L1_RATIO, N_LAMBDAS, City
from processes import memory_gb

CRS = "EPSG:26915"
OFFSET = np.array([357_000.0, 4_319_000.0])
"""Where the city is put, in metres: multiples of a cell."""
CELL_M, STEPS = 70.0, 6
BOUNDARY, INCIDENTS, MAP = "boundary.gpkg", "incidents.csv", "risk.tif"


def write_files(city: str, shape: tuple[int, int], n_factors: int = 20) -> dict[str, Any]:
    """Write points of every factor and incident as CSV, and the boundary as GeoPackage."""
    import geopandas as gpd
    import pandas as pd
    import shapely
    from problem import Problem
    from pyproj import Transformer

    started = time.perf_counter()
    problem = Problem((shape[0], shape[1]), n_factors)
    data = City(city)
    folder = data.path("files")
    folder.mkdir(parents=True, exist_ok=True)
    turn = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)

    def write(name: str, points: np.ndarray) -> None:
        longitude, latitude = turn.transform(*(points + OFFSET).T)
        rows = pd.DataFrame({"id": np.arange(len(points)), "longitude": longitude, "latitude": latitude})
        rows.to_csv(folder / name, index=False, float_format="%.9f")

    for factor in range(n_factors):
        write(f"factor_{factor:02d}.csv", problem.points(factor))
    random = np.random.default_rng([problem.seed, 3000])
    cell = np.repeat(np.arange(data.counts.size), data.counts.astype(np.int64))
    row, column = np.divmod(cell, shape[1])
    within = random.uniform(0.01, 0.99, (2, cell.size)) * CELL_M
    write(INCIDENTS, np.column_stack([column * CELL_M + within[0], (shape[0] - row) * CELL_M - within[1]]))
    box = shapely.box(*OFFSET, *(OFFSET + np.array([shape[1], shape[0]]) * CELL_M))
    (folder / BOUNDARY).unlink(missing_ok=True)
    gpd.GeoDataFrame({"name": ["benchmark city"]}, geometry=[box], crs=CRS).to_file(folder / BOUNDARY)
    return {"seconds": time.perf_counter() - started, "incidents": int(cell.size)}


class Clock:
    """Seconds of consecutive steps."""

    def __init__(self) -> None:
        self.steps: dict[str, float] = {}
        self._begun = self._last = time.perf_counter()

    def step(self, name: str) -> None:
        """Say that a step is done."""
        now = time.perf_counter()
        self.steps[name], self._last = now - self._last, now

    @property
    def total(self) -> float:
        """Seconds so far."""
        return self._last - self._begun


def ours(city: str) -> dict[str, Any]:
    """Read, measure, fit (path with cross validation, search in both families), score and write, by the library."""
    folder = City(city).path("files")
    clock = Clock()
    import warnings

    import rtmkc as rtm
    from rtmkc.model.observations import observe
    from rtmkc.model.selection import Screen, select_columns
    from rtmkc.model.why import relative_risk_score
    from rtmkc.raster.candidates import build_candidates
    from rtmkc.raster.cog import write_cog

    warnings.simplefilter("ignore")
    clock.step("imports")
    area = rtm.StudyArea.from_file(folder / BOUNDARY)
    layers = [rtm.read_layer(path) for path in sorted(folder.glob("factor_*.csv"))]
    incidents = rtm.read_layer(folder / INCIDENTS)
    clock.step("reading")
    grid = rtm.Grid.cover(area, block_length=2 * CELL_M)
    clock.step("grid")
    factors = [
        rtm.RiskFactor(f"factor {number:02d}", layer, kind="both", max_influence="3 blocks")
        for number, layer in enumerate(layers)
    ]
    candidates = build_candidates(grid, factors)
    clock.step("measuring")
    counts = observe(grid, incidents).counts
    folds = np.random.default_rng(0).permutation(np.arange(grid.n_cells) % 5)
    screen = Screen(L1_RATIO, N_LAMBDAS, "minimum")
    found = select_columns(screen, candidates, counts, None, folds, swaps=True)
    clock.step("path and search")
    chosen = found.chosen
    flags = np.column_stack([candidates.column(column) for column in chosen.columns])
    score = relative_risk_score(flags, np.asarray(chosen.fit.coef))
    clock.step("scoring")
    write_cog(folder / MAP, grid, {"rrs": score}, overwrite=True)
    clock.step("writing")
    np.save(
        folder / "incidents_in_columns.npy",
        _signature([candidates.column(n) for n in range(candidates.n_columns)]),
    )
    return {
        "seconds": clock.total, "steps": clock.steps, "columns": [int(one) for one in chosen.columns],
        "names": [str(candidates.columns["name"].iloc[one]) for one in chosen.columns],
        "n_fits": {family: search.n_fits for family, search in found.searches.items()},
        "n_cells": grid.n_cells, "n_columns": candidates.n_columns, "incidents": float(counts.sum()),
        "most": float(score.max()),
    }  # fmt: skip


def plain(city: str, columns: list[int], coef: list[float] | None = None) -> dict[str, Any]:
    """Read, measure, score and write with pandas, geopandas, scipy, numpy and rasterio.

    Parameters
    ----------
    columns : list of int
        The final model's, whose score is written.
    """
    folder = City(city).path("files")
    clock = Clock()
    import geopandas as gpd
    import pandas as pd
    import rasterio
    from scipy import sparse
    from scipy.spatial import cKDTree

    clock.step("imports")
    west, south, east, north = gpd.read_file(folder / BOUNDARY).total_bounds

    def read(path: Path) -> np.ndarray:
        table = pd.read_csv(path)
        points = gpd.GeoSeries(
            gpd.points_from_xy(table["longitude"], table["latitude"]), crs="EPSG:4326"
        ).to_crs(CRS)
        return np.column_stack([points.x, points.y])

    layers = [read(path) for path in sorted(folder.glob("factor_*.csv"))]
    incidents = read(folder / INCIDENTS)
    clock.step("reading")
    n_rows, n_columns = round((north - south) / CELL_M), round((east - west) / CELL_M)
    eastings = west + CELL_M * (np.arange(n_columns) + 0.5)
    northings = north - CELL_M * (np.arange(n_rows) + 0.5)
    centres = np.column_stack([np.tile(eastings, n_rows), np.repeat(northings, n_columns)])
    place = np.floor((north - incidents[:, 1]) / CELL_M).astype(int) * n_columns
    place += np.floor((incidents[:, 0] - west) / CELL_M).astype(int)
    counts = np.bincount(place, minlength=len(centres))
    clock.step("grid")
    reaches = CELL_M * np.arange(1, STEPS + 1)
    matrix = np.empty((len(centres), 2 * STEPS * len(layers)), dtype=np.uint8, order="F")
    cells = cKDTree(centres)
    for number, points in enumerate(layers):
        tree = cKDTree(points)
        distance, _ = tree.query(centres, distance_upper_bound=reaches[-1] * (1 + 1e-12), workers=2)
        pairs = tree.sparse_distance_matrix(cells, reaches[-1], output_type="coo_matrix")
        for step, reach in enumerate(reaches):
            matrix[:, 2 * STEPS * number + step] = distance <= reach
            kernel = np.where(pairs.data < reach, (1 - (pairs.data / reach) ** 2) ** 2, 0.0)
            density = np.bincount(pairs.col, weights=kernel, minlength=len(centres))
            cut = density.mean() + 2 * density.std()
            matrix[:, 2 * STEPS * number + STEPS + step] = density >= cut
    clock.step("measuring")
    for_the_solver = sparse.csc_matrix(matrix, dtype=float)
    clock.step("matrix")
    chosen = matrix[:, columns].astype(float)
    weights = np.array(coef) if coef else np.ones(len(columns))
    score = np.exp(chosen @ weights)
    score /= score.min()
    clock.step("scoring")
    profile = {
        "driver": "GTiff", "dtype": "float32", "count": 1, "height": n_rows, "width": n_columns, "crs": CRS,
        "transform": rasterio.transform.from_origin(west, north, CELL_M, CELL_M), "compress": "deflate",
    }  # fmt: skip
    with rasterio.open(folder / "plain.tif", "w", **profile) as file:
        file.write(score.reshape(n_rows, n_columns).astype(np.float32), 1)
    clock.step("writing")
    seconds, peak = clock.total, memory_gb("VmHWM")
    both = np.load(folder / "incidents_in_columns.npy"), _signature(list(matrix.T))
    differing = int((both[0] != both[1]).any(axis=1).sum()) if both[0].shape == both[1].shape else -1
    return {
        "seconds": seconds, "peak_gb": peak, "steps": clock.steps, "incidents": int(counts.sum()),
        "ones": int(for_the_solver.nnz), "columns_that_differ": differing,
    }  # fmt: skip


def _signature(columns: list[np.ndarray]) -> np.ndarray:
    """Return for every column the number of its ones and the sum of their places: equal for equal columns."""
    return np.array([[np.count_nonzero(one), int(np.flatnonzero(one).sum())] for one in columns])
