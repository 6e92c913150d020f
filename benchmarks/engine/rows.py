"""The table of ratios: what each pair of measurements says."""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import paths
from city import N_LAMBDAS
from processes import Case, Results


@dataclass(frozen=True)
class Ratio:
    """A row of the table: the library against one peer.

    Attributes
    ----------
    work, city, peer : str
        What was done, on which city, by whom else.
    seconds, gb : tuple of float
        Ours and the peer's; memory is the peak of the whole process.
    threads : tuple of int
        Ours and the peer's.
    difference, worst : float or None
        How much higher our objective is than the peer's, relative: in all, and at the worst penalty. Negative is
        lower, and better. None where there is none to compare.
    note : str
        What must be known to read the row.
    """

    work: str
    city: str
    peer: str
    seconds: tuple[float, float]
    gb: tuple[float, float]
    threads: tuple[int, int]
    difference: float | None = None
    worst: float | None = None
    note: str = ""

    @property
    def time(self) -> float:
        """The peer's seconds over ours: above 1 ours is faster."""
        return self.seconds[1] / self.seconds[0]

    @property
    def memory(self) -> float:
        """The peer's peak over ours: above 1 ours needs less."""
        return self.gb[1] / self.gb[0]


def surface_cases(city: str, shape: tuple[int, int]) -> Iterator[Case]:
    """Give the measurements of distances and densities, where they are."""
    if importlib.util.find_spec("surfaces") is not None:
        import surfaces

        yield from surfaces.cases(city, shape)


def surface_ratios(city: str, results: Results) -> list[Ratio]:
    """Return the rows of distances and densities, where they are."""
    if importlib.util.find_spec("surfaces") is None:
        return []
    import surfaces

    return list(surfaces.ratios(city, results))


def ratio(
    results: Results, city: str, work: str, peer: str, ours: str, other: str, **rest: Any
) -> list[Ratio]:
    """Return a row of two measurements, by their names; none if one is missing."""
    pair = [f"{name}, {city}" for name in (ours, other)]
    if not all(name in results for name in pair):
        return []
    own, their = (results[name] for name in pair)
    row = Ratio(
        work, city, peer,
        seconds=(own["seconds"], their["seconds"]),
        gb=(own["peak_gb"], their["peak_gb"]),
        threads=(own["threads"], their["threads"]),
        **rest,
    )  # fmt: skip
    return [row]


def judged(results: Results, city: str, ours: str, peer: str) -> dict[str, Any]:
    """Return how our objective differs from a peer's, as keywords of a row."""
    name = f"judge, {city}"
    if name not in results or any(f"path-{one}" not in results[name]["objective"] for one in (ours, peer)):
        return {}
    total, worst = paths.differences(results[name], f"path-{ours}", f"path-{peer}")
    return {"difference": total, "worst": worst}


def path_rows(results: Results, city: str) -> list[Ratio]:
    """Return the rows of the elastic-net path."""
    work, peer = "path of 100 penalties with 5-fold cross validation", "R glmnet"
    early = results.get(f"cv ours, early stop, {city}") or {}
    stopped = f"ours stops past the minimum, after {early.get('penalties')} penalties; glmnet goes on"
    two = judged(results, city, "ours-cv", "glmnet-cv")
    rows = ratio(results, city, work, peer, "cv ours", "cv glmnet", **two, note=same_choice(results, city))
    rows += ratio(results, city, f"{work}, one thread", peer, "cv ours, 1 thread", "cv glmnet", **two)
    rows += ratio(
        results, city, f"{work}, early stop", peer, "cv ours, early stop", "cv glmnet",
        **judged(results, city, "ours-cv-early", "glmnet-cv"), note=stopped,
    )  # fmt: skip
    if not is_trial(results, f"cv glum, {city}"):
        rows += ratio(
            results, city, work, "glum", "cv ours", "cv glum", **judged(results, city, "ours-cv", "glum-cv"),
            note="glum leaves the coefficients of its best penalty only: the difference is there",
        )  # fmt: skip
    work = "path of 100 penalties, no folds"
    two = judged(results, city, "ours-path", "glmnet-path")
    rows += ratio(results, city, work, "R glmnet", "path ours", "path glmnet", **two)
    glum = faster_glum(results, city)
    if not is_trial(results, glum):
        two = judged(results, city, "ours-path", "glum-path")
        rows += ratio(results, city, work, "glum", "path ours", glum.removesuffix(f", {city}"), **two)
    return rows + ridge_rows(results, city)


def faster_glum(results: Results, city: str) -> str:
    """Return the name of the measurement of glum's path with the threads that suit it."""
    names = [f"path glum, {city}", f"path glum, 1 thread, {city}"]
    return min(names, key=lambda name: (results.get(name) or {}).get("seconds", np.inf))


def is_trial(results: Results, name: str) -> bool:
    """Return whether a measurement was given some of the penalties only, to try whether it runs."""
    one = results.get(name)
    return one is not None and one.get("penalties", N_LAMBDAS) < N_LAMBDAS


def same_choice(results: Results, city: str) -> str:
    """Return how far the held-out deviances of the two programs agree, and what they choose by them."""
    means = (results.get(f"judge, {city}") or {}).get("cv_mean", {})
    pair = [np.array(means.get(f"mean-{name}-cv", [])) for name in ("ours", "glmnet")]
    if pair[0].size == 0 or pair[0].size != pair[1].size:
        return ""
    apart = float(np.abs(pair[0] / pair[1] - 1).max())
    best = [int(np.argmin(one)) + 1 for one in pair]
    chosen = (
        f"both choose penalty {best[0]}"
        if best[0] == best[1]
        else f"ours chooses penalty {best[0]}, glmnet {best[1]}"
    )
    return f"held-out deviances agree to {apart:.0e}; {chosen} of {pair[0].size}"


def ridge_rows(results: Results, city: str) -> list[Ratio]:
    """Return the row of ridge fits, the only penalty that scikit-learn's Poisson model has."""
    pair = [results.get(f"ridge {name}, {city}") for name in ("ours", "scikit-learn")]
    if None in pair:
        return []
    own, their = (np.array(one["objective"]) for one in pair if one)
    found = {
        "difference": float((own.sum() - their.sum()) / abs(their.sum())),
        "worst": float(((own - their) / np.abs(their)).max()),
    }
    note = (
        f"scikit-learn has no absolute penalty, no bounds and no path; its faster solver, {pair[1]['solver']}"  # type: ignore[index]
    )
    work = f"ridge fits at {len(own)} penalties, coefficients free"
    return ratio(results, city, work, "scikit-learn", "ridge ours", "ridge scikit-learn", **found, note=note)


def per_fit(results: Results, family: str) -> float:
    """Return the seconds of one fit of statsmodels: the mean over the additions to the null model."""
    return float(results[f"search {family} statsmodels, 180k"]["per_fit"])


def search_rows(results: Results, city: str) -> list[Ratio]:
    """Return the rows of the search by BIC: statsmodels' seconds are those of one fit times our fits."""
    rows = []
    for family in ("poisson", "nb1"):
        names = [f"search {family} {who}, {city}" for who in ("ours", "statsmodels")]
        if not all(name in results for name in names):
            continue
        own, their = (results[name] for name in names)
        low = (their["log_likelihood"] - own["log_likelihood"]) / abs(their["log_likelihood"])
        rows.append(
            Ratio(
                f"search by BIC over all 240 columns, {family}",
                city,
                "statsmodels",
                seconds=(own["seconds"], their["per_fit"] * own["n_fits"]),
                gb=(own["peak_gb"], their["peak_gb"]),
                threads=(own["threads"], their["threads"]),
                difference=low,
                worst=low,
                note=f"statsmodels: {their['n_fits']} fits measured, {their['seconds']:.0f} s, scaled to our {own['n_fits']:,} "
                f"fits; objective: log likelihood of the final model (BIC differs by {own['bic'] - their['bic']:+.1e})",
            )
        )
    return rows


def score_rows(results: Results, city: str) -> list[Ratio]:
    """Return the rows of scoring."""
    rows = []
    for work, name in (
        ("relative risk score of all cells, the factors of a model", "rrs"),
        ("score of all cells, the columns of the path", "score"),
    ):
        pair = [results.get(f"{name} {who}, {city}") for who in ("ours", "numpy")]
        if pair[0] and pair[1]:
            low = pair[0]["sum"] / pair[1]["sum"] - 1
            held = [f"{one['before_gb']:.2f}" for one in pair if one]
            note = (
                "the peer's 0/1 columns are in memory already; difference: the sum of all scores; before the work the processes held "
                f"{' and '.join(held)} GB, imports and data"
            )
            rows += ratio(
                results,
                city,
                work,
                "numpy",
                f"{name} ours",
                f"{name} numpy",
                difference=low,
                worst=low,
                note=note,
            )
    return rows


def plain_seconds(results: Results, city: str, path: str) -> dict[str, float]:
    """Return the parts of the plain pipeline in seconds: its own steps, the path of a peer, and the search."""
    own, plain = (results[f"end to end {who}, {city}"] for who in ("ours", "plain"))
    scale = own["n_cells"] / 180_000
    search = sum(own["n_fits"][family] * per_fit(results, family) for family in ("poisson", "nb1")) * scale
    return dict(plain["steps"]) | {"path": results[f"cv {path}, {city}"]["seconds"], "search": search}


def end_to_end_rows(results: Results, city: str) -> list[Ratio]:
    """Return the rows from files to a map: the plain pipeline is a sum of parts."""
    rows = []
    for path, peer in (
        ("glmnet", "pandas, scipy, R glmnet, statsmodels, rasterio"),
        ("glum", "the same with glum"),
    ):
        needed = [f"end to end ours, {city}", f"end to end plain, {city}", f"cv {path}, {city}"]
        needed += [f"search {family} statsmodels, 180k" for family in ("poisson", "nb1")]
        if not all(name in results for name in needed) or is_trial(results, needed[2]):
            continue
        own, plain = (results[name] for name in needed[:2])
        rows.append(
            Ratio(
                "from files to a map",
                city,
                peer,
                seconds=(own["seconds"], sum(plain_seconds(results, city, path).values())),
                gb=(
                    own["peak_gb"],
                    max(plain["peak_gb"], *(results[name]["peak_gb"] for name in needed[2:])),
                ),
                threads=(own["threads"], plain["threads"]),
                note="the peers' is the sum of their parts, and the largest of their peaks; "
                f"{plain['columns_that_differ']} of 240 columns differ",
            )
        )
    return rows


def all_rows(results: Results, city: str) -> list[Ratio]:
    """Return every row of a city that has been measured."""
    return [
        *path_rows(results, city),
        *search_rows(results, city),
        *surface_ratios(city, results),
        *score_rows(results, city),
        *end_to_end_rows(results, city),
    ]
