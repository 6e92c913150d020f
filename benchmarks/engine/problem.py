"""The benchmark city: clustered factors on a rectangle of half-blocks, six of them with an effect.

A city has 450 x 400 cells, 1,000 features a factor and 2.8 % of cells with an incident; larger ones have the
same density. Everything is drawn from one seed, so every program is given the same numbers.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import geopandas as gpd
import numpy as np
import shapely

import rtmkc as rtm
from rtmkc.engine.blocks import Design
from rtmkc.raster.candidates import Candidates, build_candidates
from rtmkc.raster.grid import Grid

CRS = "EPSG:26915"
CELL_M = 70.0
SHAPES = {"180k": (450, 400), "1.8M": (1350, 1333), "18M": (4500, 4000), "100M": (10_000, 10_000)}
FEATURES_PER_CELL = 1000 / 180_000
EFFECTS = {0: 2.0, 1: 2.0, 2: 1.6, 3: 1.6, 4: 3.0, 5: 1.4}
"""What a feature within three cells (factors 0-2) or six cells (3-5) multiplies risk by."""
BUSY_SHARE = 0.03


@dataclass(frozen=True)
class Problem:
    """A city of one of the `SHAPES`, or of any (rows, columns)."""

    shape: tuple[int, int]
    n_factors: int = 20
    seed: int = 0

    @property
    def n_cells(self) -> int:
        """Number of cells; all lie inside."""
        return self.shape[0] * self.shape[1]

    @cached_property
    def grid(self) -> Grid:
        """Square cells of half a block."""
        rows, columns = self.shape
        area = rtm.StudyArea.from_geometry(
            shapely.box(0.0, 0.0, columns * CELL_M, rows * CELL_M), crs=CRS, name="benchmark city"
        )
        return rtm.Grid.cover(area, block_length=2 * CELL_M)

    def points(self, factor: int) -> np.ndarray:
        """Return the features of a factor, (n, 2) in metres: clusters of about eight, 300 m wide."""
        rng = np.random.default_rng([self.seed, factor])
        number = round(FEATURES_PER_CELL * self.n_cells)
        extent = np.array([self.shape[1], self.shape[0]]) * CELL_M
        parents = rng.uniform(0.0, 1.0, (max(1, number // 8), 2)) * extent
        around = parents[rng.integers(len(parents), size=number)]
        return np.asarray((around + rng.normal(0.0, 300.0, (number, 2))) % extent)

    @cached_property
    def factors(self) -> list[rtm.RiskFactor]:
        """The factors, each within six steps of half a block, near and dense."""
        return [
            rtm.RiskFactor(
                f"factor {number:02d}",
                gpd.GeoDataFrame(geometry=gpd.points_from_xy(*self.points(number).T), crs=CRS),
                max_influence="3 blocks",
            )
            for number in range(self.n_factors)
        ]

    @cached_property
    def candidates(self) -> Candidates:
        """Twelve columns a factor."""
        return build_candidates(self.grid, self.factors)

    @cached_property
    def design(self) -> Design:
        """The candidates as the engine takes them."""
        return Design(self.candidates.codes, self.candidates.tables)

    def log_risk(self, codes: Any) -> np.ndarray:
        """Return the true log risk, from the proximity codes of the first six factors."""
        effect = 0.0
        for number, rrv in EFFECTS.items():
            code = codes[2 * number]
            reach = 3 if number < 3 else 6
            effect = effect + np.log(rrv) * ((code > 0) & (code <= reach))
        return np.asarray(effect)

    @cached_property
    def counts(self) -> np.ndarray:
        """Incidents of each cell."""
        rng = np.random.default_rng([self.seed, 1000])
        risk = np.exp(self.log_risk(self.candidates.codes))
        return rng.poisson(risk * (BUSY_SHARE / risk.mean())).astype(float)

    @cached_property
    def folds(self) -> np.ndarray:
        """Five folds of cells at random."""
        return np.random.default_rng([self.seed, 2000]).permutation(np.arange(self.n_cells) % 5)
