"""The benchmark city as plain arrays on disk, so that a program under measurement does nothing but its own work."""

import hashlib
import shutil
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from processes import RESULTS

CITIES = RESULTS / "cities"
DIGEST = "digest.txt"
LARGEST_MATRIX = 2_000_000
"""Cells up to which the 0/1 columns are written for the peers."""
DISPERSION = 0.5
"""Of the counts for negative binomial models: their variance is (1 + this) x mean."""
L1_RATIO, N_LAMBDAS, LAMBDA_RATIO = 0.5, 100, 1e-3


@dataclass(frozen=True)
class City:
    """The files of a city: codes, tables, counts, folds, penalties, and its columns as a sparse matrix.

    The matrix is compressed by column (`indptr`, `indices`; every value is one), as scipy and R hold it.
    """

    name: str
    folder: Path = CITIES

    def path(self, name: str) -> Path:
        """Return a file of the city."""
        return self.folder / self.name / name

    @cached_property
    def codes(self) -> tuple[np.ndarray, ...]:
        """One array a variable, (n_cells,)."""
        return tuple(np.load(path) for path in sorted((self.folder / self.name).glob("codes_*.npy")))

    @cached_property
    def tables(self) -> tuple[np.ndarray, ...]:
        """One table a variable, (n_levels, n_columns of the variable)."""
        return tuple(np.load(path) for path in sorted((self.folder / self.name).glob("table_*.npy")))

    @cached_property
    def counts(self) -> np.ndarray:
        """Incidents of each cell."""
        return np.fromfile(self.path("counts.f8"))

    @cached_property
    def dispersed(self) -> np.ndarray:
        """Counts of the same means with variance (1 + `DISPERSION`) x mean."""
        return np.fromfile(self.path("dispersed.f8"))

    @cached_property
    def folds(self) -> np.ndarray:
        """Fold of each cell, 0 to 4."""
        return np.fromfile(self.path("folds.i4"), dtype=np.int32)

    @cached_property
    def groups(self) -> np.ndarray:
        """Factor of each column."""
        return np.load(self.path("groups.npy"))

    @cached_property
    def lambdas(self) -> np.ndarray:
        """The penalties, falling: the same numbers for every program."""
        return np.fromfile(self.path("lambdas.f8"))

    @property
    def design(self) -> Any:
        """The city as the engine takes it."""
        from rtmkc.engine.design import Design

        return Design(self.codes, self.tables)

    @property
    def matrix(self) -> Any:
        """All columns, a sparse matrix of zeros and ones, compressed by column."""
        from scipy import sparse

        indptr = np.fromfile(self.path("indptr.i4"), dtype=np.int32)
        indices = np.fromfile(self.path("indices.i4"), dtype=np.int32)
        shape = (self.counts.size, indptr.size - 1)
        return sparse.csc_matrix((np.ones(indices.size), indices, indptr), shape=shape)

    def column(self, number: int) -> np.ndarray:
        """Return one column, (n_cells,) of bool."""
        for codes, table in zip(self.codes, self.tables, strict=True):
            if number < table.shape[1]:
                return np.asarray(table[:, number] > 0)[codes]
            number -= table.shape[1]
        raise IndexError(number)

    def few(self, cells: int = 900) -> "City":
        """Return the first cells as a city in memory, to load compiled code with."""
        some = City(self.name, self.folder)
        some.__dict__["codes"] = tuple(codes[:cells] for codes in self.codes)
        some.__dict__["tables"] = self.tables
        some.__dict__["counts"] = (np.arange(min(cells, self.counts.size)) % 7 == 0).astype(float)
        some.__dict__["dispersed"] = 2.0 * some.__dict__["counts"]
        some.__dict__["folds"] = np.arange(min(cells, self.counts.size), dtype=np.int32) % 5
        return some


def write_city(
    name: str, shape: tuple[int, int], n_factors: int = 20, folder: str = str(CITIES)
) -> dict[str, Any]:
    """Draw and measure a city, and write its files."""
    import pandas as pd
    from problem import BUSY_SHARE, Problem

    problem = Problem((shape[0], shape[1]), n_factors)
    started = time.perf_counter()
    candidates = problem.candidates
    seconds = time.perf_counter() - started
    city = City(f"{name}.new", Path(folder))
    shutil.rmtree(city.path(""), ignore_errors=True)
    city.path("").mkdir(parents=True)
    for number, (codes, table) in enumerate(zip(candidates.codes, candidates.tables, strict=True)):
        np.save(city.path(f"codes_{number:04d}.npy"), codes)
        np.save(city.path(f"table_{number:04d}.npy"), table)
    problem.counts.astype(np.float64).tofile(city.path("counts.f8"))
    risk = np.exp(problem.log_risk(candidates.codes))
    shape_of = risk * (BUSY_SHARE / risk.mean()) / DISPERSION
    drawn = np.random.default_rng([problem.seed, 4000]).negative_binomial(shape_of, 1 / (1 + DISPERSION))
    drawn.astype(np.float64).tofile(city.path("dispersed.f8"))
    problem.folds.astype(np.int32).tofile(city.path("folds.i4"))
    np.save(city.path("groups.npy"), pd.factorize(candidates.columns["factor"])[0])
    penalties(candidates.codes, candidates.tables, problem.counts).tofile(city.path("lambdas.f8"))
    ones = 0
    if problem.n_cells <= LARGEST_MATRIX and n_factors <= 20:
        ones = _write_matrix(city)
    digest = _digest(city)
    city.path(DIGEST).write_text(digest, encoding="utf-8")
    present = City(name, Path(folder))
    # The same city keeps what the programs left beside it: their coefficients are judged together.
    if present.path(DIGEST).exists() and present.path(DIGEST).read_text(encoding="utf-8") == digest:
        shutil.rmtree(city.path(""))
    else:
        shutil.rmtree(present.path(""), ignore_errors=True)
        city.path("").rename(present.path(""))
    return {
        "digest": digest,
        "seconds": seconds, "n_cells": problem.n_cells, "n_columns": candidates.n_columns, "ones": ones,
        "incidents": float(problem.counts.sum()), "busy": float((problem.counts > 0).mean()),
        "code_bytes": sum(codes.itemsize for codes in candidates.codes),
    }  # fmt: skip


def _digest(city: City) -> str:
    found = hashlib.sha256()
    for path in sorted(city.path("").iterdir()):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()[:16]


def penalties(codes: Any, tables: Any, counts: np.ndarray) -> np.ndarray:
    """Return the penalties: from the smallest that keeps every coefficient >= 0 at zero, down to a thousandth."""
    residual = counts - counts.mean()
    pull = max(
        float((table.T @ np.bincount(code, weights=residual, minlength=len(table))).max())
        for code, table in zip(codes, tables, strict=True)
    )
    return pull / counts.size / L1_RATIO * np.geomspace(1.0, LAMBDA_RATIO, N_LAMBDAS)


def _write_matrix(city: City) -> int:
    indptr = [0]
    with city.path("indices.i4").open("wb") as file:
        for codes, table in zip(city.codes, city.tables, strict=True):
            for values in table.T:
                rows = np.flatnonzero((values > 0)[codes]).astype(np.int32)
                rows.tofile(file)
                indptr.append(indptr[-1] + rows.size)
    np.array(indptr, dtype=np.int32).tofile(city.path("indptr.i4"))
    return indptr[-1]
