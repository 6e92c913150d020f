"""The elastic-net path with five-fold cross validation: the same cells, penalties and folds for every program.

``mean(mu - y eta) + lambda (l1_ratio |b|_1 + (1 - l1_ratio) / 2 |b|_2^2)`` with ``l1_ratio = 1/2``, coefficients of at
least zero, a free intercept, columns as they are, and 100 penalties down to a thousandth of the largest.
"""

import inspect
import json
import shutil
import subprocess
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from city import L1_RATIO, LAMBDA_RATIO, N_LAMBDAS, City
from processes import FOLDER, best_of, memory_gb

CHUNK_CELLS = 4096
RIDGE_L1 = 1e-9
"""The library needs some absolute penalty; this share of it changes a ridge objective by less than 1e-9."""
RIDGE_PENALTIES = (1e-3, 1e-5)
INSTALL = "apt install r-base-core r-cran-glmnet"


def ours(
    city: str,
    cv: bool = True,
    n_threads: int = 2,
    repeats: int = 3,
    early: bool = False,
    folder: str | None = None,
) -> dict[str, Any]:
    """Measure the library's path; `early` lets it stop past the minimum of the cross validation."""
    from rtmkc.engine.path import fit_path

    if early and not has_early_stop():
        return {"missing": "this version's path has no early stop"}
    data = _city(city, folder)
    warm_up = path_seconds_of_few(data, cv, n_threads)
    design, counts, folds = data.design, data.counts, data.folds if cv else None
    # Penalties that are given are all fitted; the library's own, the same numbers, may end early.
    asked = {"n_lambdas": N_LAMBDAS, "lambda_ratio": LAMBDA_RATIO} if early else {"lambdas": data.lambdas}
    before = memory_gb("VmRSS")
    seconds, fit = best_of(
        lambda: fit_path(design, counts, folds=folds, lower=0.0, n_threads=n_threads, **asked),
        repeats,
    )
    name = f"ours-{'cv' if cv else 'path'}{'-early' if early else ''}"
    n = fit.lambdas.size
    if not early and n < data.lambdas.size:
        raise RuntimeError("the path stopped early although all penalties were asked for")
    np.testing.assert_allclose(fit.lambdas, data.lambdas[:n], rtol=1e-9)
    _keep(data, name, data.lambdas[:n], fit.intercepts, fit.coefs)
    if cv:
        np.asarray(fit.cv_mean).tofile(data.path(f"mean-{name}.f8"))
    return {
        "seconds": seconds, "warm_up": warm_up, "before_gb": before, "penalties": int(n),
        "best": -1 if fit.best is None else int(fit.best), "sweeps": fit.n_sweeps, "hessians": fit.n_hessians,
        "kkt": float(np.max(fit.kkt)),
    }  # fmt: skip


def has_early_stop() -> bool:
    """Return whether the path of this version can stop past the minimum of the cross validation."""
    from rtmkc.engine.path import fit_path

    return "patience" in inspect.signature(fit_path).parameters


def path_seconds_of_few(data: City, cv: bool = True, n_threads: int = 1) -> float:
    """Return the seconds of a path on a few cells: what compiling, or loading compiled code, takes."""
    from rtmkc.engine.path import fit_path

    few = data.few()
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit_path(
            few.design, few.counts, folds=few.folds if cv else None, n_lambdas=5, lower=0.0, n_threads=n_threads,
        )  # fmt: skip
    return time.perf_counter() - started


def glmnet(city: str, what: str, repeats: int = 1, folder: str | None = None) -> dict[str, Any]:
    """Measure R glmnet at its default threshold; ``{"missing": ...}`` where R or the package is not there."""
    program = shutil.which("Rscript")
    if program is None:
        return {"missing": f"Rscript is not installed: {INSTALL}"}
    known = subprocess.run(
        [program, "-e", "packageVersion('glmnet')"], capture_output=True, text=True, check=False
    )
    if known.returncode:
        return {"missing": f"R has no glmnet: {INSTALL}"}
    data = _city(city, folder)
    done = subprocess.run(
        [program, str(FOLDER / "glmnet.R"), str(data.path("")), what, str(repeats)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def glum_cv(city: str, n_penalties: int = 100, folder: str | None = None) -> dict[str, Any]:
    """Measure glum's cross validation over the first penalties, on its sparse matrix, at its default tolerance."""
    import glum
    from sklearn.model_selection import PredefinedSplit

    data = _city(city, folder)
    matrix, counts = data.matrix, data.counts
    model = glum.GeneralizedLinearRegressorCV(
        l1_ratio=L1_RATIO,
        alphas=data.lambdas[:n_penalties],
        family="poisson",
        lower_bounds=np.zeros(matrix.shape[1]),
        cv=PredefinedSplit(data.folds),
    )
    before = memory_gb("VmRSS")
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(matrix, counts)
    seconds = time.perf_counter() - started
    best = int(np.argmin(np.abs(data.lambdas - model.alpha_)))
    _keep(data, "glum-cv", data.lambdas[[best]], np.array([model.intercept_]), model.coef_[np.newaxis])
    return {
        "seconds": seconds,
        "before_gb": before,
        "penalties": n_penalties,
        "best": best,
        "version": glum.__version__,
    }


def glum_path(
    city: str, n_penalties: int = 100, form: str = "sparse", folder: str | None = None
) -> dict[str, Any]:
    """Measure glum's path without folds: warm-started from penalty to penalty."""
    import glum

    data = _city(city, folder)
    matrix: Any = data.matrix
    if form == "dense":
        matrix = matrix.toarray(order="F")
    model = glum.GeneralizedLinearRegressor(
        alpha_search=True,
        l1_ratio=L1_RATIO,
        alpha=data.lambdas[:n_penalties],
        family="poisson",
        lower_bounds=np.zeros(matrix.shape[1]),
    )
    before = memory_gb("VmRSS")
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(matrix, data.counts)
    seconds = time.perf_counter() - started
    _keep(
        data,
        "glum-path",
        data.lambdas[:n_penalties],
        np.asarray(model.intercept_path_),
        np.asarray(model.coef_path_),
    )
    return {"seconds": seconds, "before_gb": before, "penalties": n_penalties, "version": glum.__version__}


def ridge_ours(city: str, n_threads: int = 2, repeats: int = 3, folder: str | None = None) -> dict[str, Any]:
    """Measure a ridge fit of the library at each of `RIDGE_PENALTIES`, coefficients free."""
    from rtmkc.engine.path import fit_path

    data = _city(city, folder)
    path_seconds_of_few(data, False, n_threads)
    design, counts = data.design, data.counts
    before = memory_gb("VmRSS")
    seconds, fits = best_of(
        lambda: [
            fit_path(design, counts, lambdas=[one], l1_ratio=RIDGE_L1, n_threads=n_threads)
            for one in RIDGE_PENALTIES
        ],
        repeats,
    )
    points = [(float(fit.intercepts[0]), fit.coefs[0]) for fit in fits]
    return {"seconds": seconds, "before_gb": before, "objective": _ridge(data, points)}


def ridge_sklearn(city: str, repeats: int = 1, folder: str | None = None) -> dict[str, Any]:
    """Measure scikit-learn's PoissonRegressor at the same penalties, by the faster of its solvers."""
    import sklearn
    from sklearn.linear_model import PoissonRegressor

    data = _city(city, folder)
    matrix, counts = data.matrix, data.counts
    before = memory_gb("VmRSS")
    found: dict[str, Any] = {"seconds": np.inf}
    for solver in ("lbfgs", "newton-cholesky"):
        models = [PoissonRegressor(alpha=one, solver=solver, max_iter=1000) for one in RIDGE_PENALTIES]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seconds, _ = best_of(
                lambda models=models: [model.fit(matrix, counts) for model in models], repeats
            )
        points = [(float(model.intercept_), model.coef_) for model in models]
        if seconds < found["seconds"]:
            found = {
                "seconds": seconds,
                "solver": solver,
                "objective": _ridge(data, points),
                "peak_gb": memory_gb("VmHWM"),
            }
    return found | {"before_gb": before, "version": sklearn.__version__}


def judge(city: str, folder: str | None = None) -> dict[str, Any]:
    """Return the objective of all coefficients that programs left, by program: one place, double precision."""
    data = _city(city, folder)
    started = time.perf_counter()
    n_columns = sum(table.shape[1] for table in data.tables)
    left = {
        path.stem: np.fromfile(path).reshape(-1, 2 + n_columns)
        for path in sorted(data.path("").glob("path-*.f8"))
    }
    values = {
        name: objectives(data, points[:, 1:], points[:, 0], L1_RATIO).tolist()
        for name, points in left.items()
    }
    penalties = {name: points[:, 0].tolist() for name, points in left.items()}
    means = {path.stem: np.fromfile(path).tolist() for path in sorted(data.path("").glob("mean-*.f8"))}
    return {
        "seconds": time.perf_counter() - started,
        "objective": values,
        "lambda": penalties,
        "cv_mean": means,
    }


def objectives(data: City, points: np.ndarray, penalties: np.ndarray, l1_ratio: float) -> np.ndarray:
    """Return the penalised objective of each point ``(intercept, coefficients)`` at its own penalty."""
    total = np.zeros(len(points))
    contributions, first = [], 1
    for table in data.tables:
        contributions.append(np.ascontiguousarray(table @ points[:, first : first + table.shape[1]].T))
        first += table.shape[1]
    for begin in range(0, data.counts.size, CHUNK_CELLS):
        some = slice(begin, begin + CHUNK_CELLS)
        eta = np.tile(points[:, 0], (data.counts[some].size, 1))
        for codes, contribution in zip(data.codes, contributions, strict=True):
            eta += contribution[codes[some]]
        total += np.exp(eta).sum(axis=0) - data.counts[some] @ eta
    coefs = points[:, 1:]
    size = l1_ratio * np.abs(coefs).sum(axis=1) + (1 - l1_ratio) / 2 * (coefs**2).sum(axis=1)
    return np.asarray(total / data.counts.size + penalties * size)


def differences(found: Mapping[str, Any], ours_name: str, peer_name: str) -> tuple[float, float]:
    """Return how much higher our objective is, relative: summed over the penalties both have, and at the worst."""
    own, peer = (
        dict(zip(found["lambda"][name], found["objective"][name], strict=True))
        for name in (ours_name, peer_name)
    )
    shared = [penalty for penalty in peer if penalty in own]
    own, peer = (np.array([one[penalty] for penalty in shared]) for one in (own, peer))
    return float((own.sum() - peer.sum()) / abs(peer.sum())), float(((own - peer) / np.abs(peer)).max())


def _ridge(data: City, points: list[tuple[float, np.ndarray]]) -> list[float]:
    rows = np.array([np.concatenate([[intercept], coef]) for intercept, coef in points])
    return objectives(data, rows, np.array(RIDGE_PENALTIES), 0.0).tolist()


def _keep(data: City, name: str, penalties: np.ndarray, intercepts: np.ndarray, coefs: np.ndarray) -> None:
    np.column_stack([penalties, intercepts, coefs]).astype(np.float64).tofile(data.path(f"path-{name}.f8"))


def _city(name: str, folder: str | None) -> City:
    return City(name) if folder is None else City(name, Path(folder))
