"""The engine against its peers: measure what is not measured yet, then write docs/reference/speed.md.

    python benchmarks/engine/bench.py [--large] [--again] [--only WORD] [--quick] [--page]

Without options: a city of 180,000 cells. `--large`: 1.8 million, and what a cell costs up to 18 million. Every
measurement has a process of its own and is kept in study-results/engine/; one is made again when the code of the library or
the city it was made with has changed, all of them with `--again`, and only those with a word in their name with
`--only`. `--quick` gives glum a few penalties and statsmodels a few columns, to try whether all runs. `--page` writes the page from what there is. Exit status 1 if R glmnet is missing.
"""

import argparse
import fcntl
import sys
import time
from collections.abc import Iterator
from typing import Any

import rows
import speed_page
from processes import RESULTS, Case, Results, code_hash, in_processes

CITIES: dict[str, tuple[int, int]] = {"180k": (450, 400), "1.8M": (1350, 1333)}
SIZES: dict[str, tuple[int, int]] = {
    "180k": (450, 400), "600k": (800, 750), "1.8M": (1350, 1333), "6M": (2500, 2400), "18M": (4500, 4000),
}  # fmt: skip
SIZES_OF = {"bench": ("180k", "600k"), "bench-large": ("1.8M", "6M", "18M")}
WIDE, WIDE_FACTORS = "2400 columns", 200


def cases(city: str, results: Results, *, quick: bool = False) -> Iterator[Case]:
    """Give the measurements of a city in order; later ones use the results of earlier ones."""
    written = f"city {city}"
    large = city != "180k"
    repeats = 2 if large else 3
    n_penalties, every = (10, 40) if quick else (100, 4)

    def case(name: str, function: str, **rest: Any) -> Case:
        arguments = {"city": city} | rest.pop("arguments", {})
        return Case(f"{name}, {city}", function, arguments, city=written, **rest)

    yield Case(written, "city:write_city", {"name": city, "shape": CITIES[city]})
    if not large:
        yield case("compile", "compiling:seconds", cold=True)
    # Twice: the first may still have to compile, and what compiles needs more memory than what loads.
    yield case("compiled before", "compiling:seconds")
    yield case("load compiled", "compiling:seconds", after=(f"compiled before, {city}",))

    yield case("cv ours", "paths:ours", arguments={"repeats": repeats})
    yield case("cv ours, 1 thread", "paths:ours", arguments={"repeats": repeats, "n_threads": 1}, threads=1)
    yield case("cv ours, early stop", "paths:ours", arguments={"repeats": repeats, "early": True})
    yield case("cv glmnet", "paths:glmnet", arguments={"what": "cv"}, ours=False, threads=1)
    judged = ["cv ours", "cv ours, early stop", "cv glmnet"]
    if not large:
        yield case("path ours", "paths:ours", arguments={"repeats": repeats, "cv": False})
        yield case(
            "path glmnet", "paths:glmnet", arguments={"what": "path", "repeats": 2}, ours=False, threads=1
        )
        first = {"n_penalties": n_penalties}
        for threads, name in ((2, "path glum"), (1, "path glum, 1 thread")):
            yield case(name, "paths:glum_path", arguments=first, ours=False, threads=threads)
        # Two threads that wait for each other may be slower than one: glum gets what suits it.
        threads = (results.get(rows.faster_glum(results, city)) or {"threads": 1})["threads"]
        yield case("cv glum", "paths:glum_cv", arguments=first, ours=False, threads=threads)
        judged += ["path ours", "path glmnet", "path glum", "cv glum"]
    yield case("judge", "paths:judge", ours=False, after=tuple(f"{name}, {city}" for name in judged))
    if not large:
        yield case("ridge ours", "paths:ridge_ours")
        yield case("ridge scikit-learn", "paths:ridge_sklearn", ours=False)

    for n_threads in (1, 2):
        yield case(f"sweep {n_threads}", "floor:sweep", arguments={"n_threads": n_threads}, threads=n_threads)

    for family in ("poisson", "nb1"):
        yield case(
            f"search {family} ours",
            "bic_search:ours",
            arguments={"family": family, "repeats": repeats},
            threads=1,
        )
        model = results.get(f"search {family} ours, {city}")
        if model and not large:
            asked = {"family": family, "columns": model["columns"], "every": every}
            yield case(
                f"search {family} statsmodels", "bic_search:statsmodels_fits", arguments=asked, ours=False
            )

    model = results.get(f"search poisson ours, {city}")
    if model:
        weights = {"columns": model["columns"], "coef": [round(one, 6) for one in model["coef"]]}
        yield case("rrs ours", "scoring:from_codes", arguments=weights, threads=1)
        yield case("rrs numpy", "scoring:by_product", arguments=weights, threads=1, ours=False)
    if f"cv ours, {city}" in results:
        every_column = {"after": (f"cv ours, {city}",), "threads": 2}
        yield case("score ours", "scoring:every_column_from_codes", **every_column)
        yield case("score numpy", "scoring:every_column_by_product", ours=False, **every_column)

    yield from rows.surface_cases(city, CITIES[city])

    yield case("files", "from_files:write_files", arguments={"shape": CITIES[city]})
    yield case("end to end ours", "from_files:ours", processes=2, after=(f"files, {city}",))
    mapped = results.get(f"end to end ours, {city}")
    if mapped:
        asked = {"columns": mapped["columns"]}
        yield case("end to end plain", "from_files:plain", arguments=asked, ours=False)
    if not large:
        yield Case(
            f"city {WIDE}",
            "city:write_city",
            {"name": WIDE, "shape": CITIES[city], "n_factors": WIDE_FACTORS},
        )
        yield Case(f"cv ours, {WIDE}", "paths:ours", {"city": WIDE, "repeats": 1}, city=f"city {WIDE}")


def costs_per_cell(sizes: tuple[str, ...]) -> Iterator[Case]:
    """Give the measurements of what a cell costs."""
    for size in sizes:
        yield Case(f"per cell {size}", "per_cell:costs", {"shape": SIZES[size]})


def measure(results: Results, given: Iterator[Case], *, again: bool, only: str) -> None:
    """Measure what is not current, and say what is done."""
    code = code_hash()
    for case in given:
        wanted = only in case.name
        if not wanted or (not again and results.is_current(case, code)):
            continue
        print(f"{time.strftime('%H:%M:%S')} {case.name} ... ", end="", file=sys.stderr, flush=True)
        try:
            result = in_processes(case)
        except RuntimeError as error:
            # The others are measured nevertheless, and the page says what is missing.
            print(f"\n{error}", file=sys.stderr)
            result = {"missing": "it failed: " + str(error).rstrip().splitlines()[-1]}
        results.keep(case, result, code)
        said = result.get("missing") or f"{result['seconds']:.4g} s, {result['peak_gb']:.2f} GB"
        print(said, file=sys.stderr, flush=True)


def main() -> int:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--large", action="store_true", help="1.8 million cells, and costs per cell up to 18 million"
    )
    parser.add_argument("--again", action="store_true", help="measure also what is measured already")
    parser.add_argument(
        "--only", default="", metavar="WORD", help="measure only what has this word in its name"
    )
    parser.add_argument("--quick", action="store_true", help="spare the peers: a trial, no result")
    parser.add_argument("--page", action="store_true", help="only write the page")
    asked = parser.parse_args()
    name = "bench-large" if asked.large else "bench"
    RESULTS.mkdir(parents=True, exist_ok=True)
    lock = (RESULTS / "lock").open("w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("another run measures already: two at once would spoil both", file=sys.stderr)
        return 1
    results = Results(RESULTS / "bench.json")
    if not asked.page:
        started = time.time()
        given = cases("1.8M" if asked.large else "180k", results, quick=asked.quick)
        measure(results, given, again=asked.again, only=asked.only)
        measure(results, costs_per_cell(SIZES_OF[name]), again=asked.again, only=asked.only)
        print(f"{time.time() - started:.0f} s in all", file=sys.stderr)
    return speed_page.write(results)


if __name__ == "__main__":
    sys.exit(main())
