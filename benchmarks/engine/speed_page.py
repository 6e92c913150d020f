"""The page docs/reference/speed.md, from what `bench.py` left in study-results/engine/."""

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from processes import RESULTS, ROOT, Results, code_hash
from rows import Ratio, all_rows, is_trial, per_fit, plain_seconds
from speed_plots import FLAT, KINDS, figure, plot_costs, plot_ratios

sys.path.append(str(Path(__file__).resolve().parent.parent))
from page import made_by, table

from rtmkc.storage import write_text

PAGE = ROOT / "docs" / "reference" / "speed.md"
IMAGES = PAGE.parent / "images"
FROM_DISK = RESULTS / "from-disk.json"
CLUSTER_FILE = RESULTS / "cluster.json"
KANSAS_CITY_FILE = RESULTS / "kansas-city.json"
"""What the measurement of blocks on disk leaves: ``n_cells``, ``seconds``, ``peak_gb``, and any of the kinds of work of `KINDS` in seconds."""
LARGE, SMALL, WIDE = "1.8M", "180k", "2400 columns"
SIZES = ("180k", "600k", "1.8M", "6M", "18M")
PER = {"measuring": 10}
DISTURBED = 0.15
"""Cores kept busy by other programs above which it is said."""
AS_LOW = 1e-9
"""A relative difference of objectives that counts as none."""
ONE_RUN_HOURS = 3


@dataclass(frozen=True)
class Promise:
    """What was asked for, what came out, and whether it holds; None where it was not measured."""

    asked: str
    found: str
    holds: bool | None


def write(results: Results) -> int:
    """Write page and plots; return 1 if the page is not complete for want of a peer."""
    rows = [*all_rows(results, SMALL), *all_rows(results, LARGE)]
    lacking = missing(results)
    if rows:
        IMAGES.mkdir(parents=True, exist_ok=True)
        plot_ratios(rows, IMAGES / "speed-ratios.png")
    sizes = cells_measured(results)
    if len(sizes) > 1:
        plot_costs(sizes, IMAGES / "speed-per-cell.png")
    write_text(PAGE, page(results, rows, lacking, sizes), overwrite=True)
    print(f"wrote {PAGE.relative_to(ROOT)}")
    for one in lacking:
        print(f"NOT COMPLETE: {one}", file=sys.stderr)
    return 1 if any("glmnet" in one or "failed" in one for one in lacking) else 0


def missing(results: Results) -> list[str]:
    """Return what the page lacks, in sentences that say how to get it."""
    said = []
    for city, command in ((SMALL, "make bench"), (LARGE, "make bench-large")):
        one = results.found.get(f"cv glmnet, {city}")
        if one is None:
            said.append(f"the row of R glmnet at {city} cells is missing: run `{command}`")
        elif "missing" in one:
            said.append(
                f"the row of R glmnet at {city} cells is missing ({one['missing']}): then run `{command}`"
            )
    said += [
        f"{name}: {one['missing']}"
        for name, one in results.found.items()
        if "missing" in one and "cv glmnet" not in name
    ]
    if is_trial(results, f"cv glum, {SMALL}"):
        said.append("glum was given a few penalties only, in a trial: run `make bench`")
    for city in (SMALL, LARGE):
        at = [one["at"] for name, one in results.found.items() if name.endswith(f", {city}")]
        if at and max(at) - min(at) > ONE_RUN_HOURS * 3600:
            said.append(
                f"{city} was measured over {(max(at) - min(at)) / 3600:.0f} hours, not in one run: use `--again`"
            )
    if not FROM_DISK.exists():
        said.append("the row of 18 million cells from disk has not been measured")
    code = code_hash()
    old = [name for name, one in results.found.items() if one["ours"] and one["code"] != code]
    if old:
        said.append(
            f"{len(old)} of our measurements are of other code than the present: run the commands again"
        )
    return said


def page(
    results: Results, rows: Sequence[Ratio], lacking: Sequence[str], sizes: Sequence[dict[str, Any]]
) -> str:
    """Return the page."""
    parts = [HEAD]
    if lacking:
        parts.append("**This page is not complete.** " + "; ".join(lacking) + ".\n")
    busy = disturbed(results)
    if busy:
        parts.append(busy)
    parts += ["## Ratios", RATIOS, ratios(rows), notes(rows)]
    if rows:
        parts.append("![Seconds of the peer for each second of the library](images/speed-ratios.png)\n")
    parts += ["## What was asked", promised(promises(results)), "## What was not better", not_better(rows)]
    parts += ["## A sweep against the memory floor", FLOOR, floor(results)]
    parts += ["## From files to a map", FILES, end_to_end(results)]
    parts += ["## What a cell costs", CELLS, costs(sizes), disk_in_words()]
    if len(sizes) > 1:
        parts.append("![What a cell costs against the size of the city](images/speed-per-cell.png)\n")
    parts += ["## Past one machine", CLUSTER, past_one_machine()]
    parts += ["## Kansas City before and after", KANSAS_CITY, before_and_after()]
    parts += ["## Compiling", compiling(results), "## Programs and machine", programs(results)]
    parts += [HOW, made_by("make bench; make bench-large"), ""]
    return "\n".join(part.strip() + "\n" for part in parts)


def ratios(rows: Sequence[Ratio]) -> str:
    """Return the table of ratios."""
    heads = [
        "", "work", "cells", "peer", "**time ratio**", "memory ratio", "objective, relative", "at the worst penalty",
        "seconds: ours / peer", "peak GB: ours / peer", "threads",
    ]  # fmt: skip
    lines = []
    for number, row in enumerate(rows, start=1):
        lines.append(
            [
                str(number),
                row.work,
                row.city,
                row.peer,
                f"**{figure(row.time)}**",
                figure(row.memory),
                signed(row.difference),
                signed(row.worst),
                " / ".join(seconds_text(one) for one in row.seconds),
                " / ".join(f"{one:.2f}" for one in row.gb),
                " / ".join(str(one) for one in row.threads),
            ]
        )
    return table(heads, lines) if lines else "Nothing has been measured yet: `make bench`."


def notes(rows: Sequence[Ratio]) -> str:
    """Return the notes of the rows that have one."""
    return "\n".join(f"- Row {number}: {row.note}." for number, row in enumerate(rows, start=1) if row.note)


def not_better(rows: Sequence[Ratio]) -> str:
    """Return the rows in which the library is slower, larger or at a higher objective than the peer."""
    said = []
    for row in rows:
        faults = []
        if row.time < 1:
            faults.append(f"slower ({figure(row.time)} of the peer's speed)")
        if row.memory < 1:
            faults.append(f"more memory ({1 / row.memory:.1f} times)")
        if row.worst is not None and row.worst > AS_LOW:
            faults.append(f"a higher objective (by {row.worst:.1e} at the worst penalty)")
        if faults:
            said.append(f"- {row.work}, {row.city}, against {row.peer}: {', '.join(faults)}.")
    return (
        "\n".join(said)
        or "In every row the library is faster, needs less memory, and its objective is as low or lower."
    )


def promises(results: Results) -> list[Promise]:
    """Return what was asked of the engine and what came out."""

    def value(name: str, key: str) -> float | None:
        one = results.get(name)
        return None if one is None else float(one[key])

    def limit(asked: str, measured: float | None, most: float, text: str) -> Promise:
        if measured is None:
            return Promise(asked, "not measured", None)
        return Promise(asked, text.format(measured), measured <= most)

    def times(city: str, peer: str, least: float) -> Promise:
        asked = f"{city}: path with cross validation at least {least:.0f} times as fast as {peer}, at an objective as low"
        pair = value(f"cv ours, {city}", "seconds"), value(f"cv {peer}, {city}", "seconds")
        if None in pair:
            return Promise(asked, "not measured", None)
        rows = [row for row in all_rows(results, city) if row.peer.endswith(peer) and "5-fold" in row.work]
        if not rows:
            return Promise(asked, "not measured", None)
        row = rows[0]
        early = value(f"cv ours, early stop, {city}", "seconds")
        text = f"{figure(row.time)} times" + (
            f", {figure(pair[1] / early)} with the early stop" if early else ""
        )  # type: ignore[operator]
        if row.worst is None:
            return Promise(asked, f"{text}; objectives not compared", None)
        text += f"; objective {signed(row.difference)}, at the worst penalty {signed(row.worst)}"
        return Promise(asked, text, row.time >= least and row.worst <= AS_LOW)

    list_of = [
        times(SMALL, "glmnet", 10),
        times(SMALL, "glum", 60),
        limit(
            f"{SMALL}: peak of that fit at most 0.35 GB",
            value(f"cv ours, {SMALL}", "peak_gb"),
            0.35,
            "{:.2f} GB",
        ),
        times(LARGE, "glmnet", 20),
        limit(
            f"{LARGE}: peak of that fit under 0.6 GB", value(f"cv ours, {LARGE}", "peak_gb"), 0.6, "{:.2f} GB"
        ),
        limit(
            f"{LARGE}: from files to a map in under 25 s",
            value(f"end to end ours, {LARGE}", "seconds"),
            25,
            "{:.1f} s",
        ),
    ]
    for city in (SMALL, LARGE):
        for threads in (1, 2):
            measured = value(f"sweep {threads}, {city}", "times_own_floor")
            asked = f"{city}: a sweep within 10 times the floor for the bytes of its blocks, {threads} thread{'s' * (threads > 1)}"
            list_of.append(limit(asked, measured, 10, "{:.1f} times"))
    for family in ("poisson", "nb1"):
        name = f"search {family} ours, {SMALL}"
        list_of.append(
            limit(
                f"{SMALL}: search over all 240 columns under 0.3 s, {family}",
                value(name, "seconds"),
                0.3,
                "{:.2f} s",
            )
        )
    list_of.append(
        limit(
            "200 factors, 2,400 columns: peak under 1 GB",
            value(f"cv ours, {WIDE}", "peak_gb"),
            1.0,
            "{:.2f} GB",
        )
    )
    disk = from_disk()
    asked = "18 million cells of 10 factors from disk: under 3 GB and 15 minutes"
    if disk is None:
        list_of.append(Promise(asked, "not measured", None))
    else:
        text = f"{disk['peak_gb']:.2f} GB, {disk['seconds'] / 60:.1f} min"
        list_of.append(Promise(asked, text, disk["peak_gb"] < 3 and disk["seconds"] < 900))
    sizes = cells_measured(results)
    for kind, words in KINDS.items():
        list_of.append(flatness(kind, words, sizes))
    return list_of


def flatness(kind: str, words: str, sizes: Sequence[dict[str, Any]]) -> Promise:
    """Return whether a cell costs the same, within `FLAT`, from the smallest to the largest city measured."""
    each = [one[kind] / one["n_cells"] for one in sizes if kind in one]
    asked = f"cost per cell flat within {FLAT:.0%}: {words}"
    if len(each) < len(SIZES):
        return Promise(asked, "not measured up to 18M", None)
    spread = max(each) / min(each) - 1
    dearest = max(each) / each[0] - 1
    return Promise(
        asked,
        f"dearest cell {dearest:+.0%} against {SMALL}; largest over smallest {spread:+.0%}",
        dearest <= FLAT,
    )


def promised(given: Sequence[Promise]) -> str:
    """Return the table of promises."""
    words = {True: "holds", False: "**does not hold**", None: "-"}
    return table(["asked", "measured", ""], [[one.asked, one.found, words[one.holds]] for one in given])


def floor(results: Results) -> str:
    """Return the table of sweeps."""
    lines = []
    for city in (SMALL, LARGE):
        for threads in (1, 2):
            one = results.get(f"sweep {threads}, {city}")
            if one:
                lines.append(
                    [
                        city,
                        str(threads),
                        f"{one['ns_per_cell']:.1f}",
                        f"{one['gb_per_s']:.1f}",
                        f"{one['block_bytes']:.1f}",
                        f"{one['times_own_floor']:.1f}",
                        f"{one['dense_bytes']:.0f} / {one['bits_bytes']:.1f} / {one['runs_bytes']:.1f}",
                        f"{one['times_floor']:.1f}",
                    ]
                )
    heads = [
        "cells", "threads", "sweep, ns per cell", "reading, GB/s", "blocks, bytes per cell", "times their floor",
        "other exact codes, bytes per cell: dense / bits / runs", "times the floor of the fewest bytes",
    ]  # fmt: skip
    return table(heads, lines)


def end_to_end(results: Results) -> str:
    """Return the tables of steps."""
    parts = []
    for city in (SMALL, LARGE):
        own, plain = (results.get(f"end to end {who}, {city}") for who in ("ours", "plain"))
        if not own:
            continue
        lines = [["the library", name, seconds_text(value)] for name, value in own["steps"].items()]
        lines.append(["the library", "**all**", f"**{seconds_text(own['seconds'])}**"])
        glmnet = results.get(f"cv glmnet, {city}")
        if plain and glmnet and f"search nb1 statsmodels, {SMALL}" in results:
            steps = plain_seconds(results, city, "glmnet")
            lines += [["plain pipeline", name, seconds_text(value)] for name, value in steps.items()]
            lines.append(["plain pipeline", "**all**", f"**{seconds_text(sum(steps.values()))}**"])
        parts.append(f"{city} cells:\n\n" + table(["", "step", "seconds"], lines) + "\n")
    fits = [
        f"{family} {per_fit(results, family):.2f} s"
        for family in ("poisson", "nb1")
        if f"search {family} statsmodels, {SMALL}" in results
    ]
    if fits:
        parts.append(
            f"*path* is R glmnet's cross validation of the table above; *search* is statsmodels' mean fit at {SMALL} cells "
            f"({', '.join(fits)}), times the fits of our search, times the cells over {SMALL}.\n"
        )
    return "\n".join(parts)


def cells_measured(results: Results) -> list[dict[str, Any]]:
    """Return the measured costs per cell, the smallest city first."""
    return [results[f"per cell {size}"] | {"size": size} for size in SIZES if f"per cell {size}" in results]


def from_disk() -> dict[str, Any] | None:
    """Return what was measured of blocks on disk."""
    return dict(json.loads(FROM_DISK.read_text(encoding="utf-8"))) if FROM_DISK.exists() else None


def costs(sizes: Sequence[dict[str, Any]]) -> str:
    """Return the table of costs per cell in nanoseconds."""
    lines = []
    disk = from_disk()
    for one in [*sizes, *([disk | {"size": "18M, from disk"}] if disk else [])]:
        each = [nanoseconds(one, kind) for kind in KINDS]
        texts = ["-" if value is None else f"{value:.1f}" for value in each]
        rounds, columns = str(one.get("rounds", "-")), str(one.get("columns", "-"))
        lines.append([one["size"], *texts, rounds, columns, f"{one['peak_gb']:.2f}"])
    if disk is None:
        lines.append(["18M, from disk", *["not measured"] * (len(KINDS) + 3)])
    heads = [
        "cells",
        *(f"{words}, ns per cell" for words in KINDS.values()),
        "steps",
        "columns chosen",
        "peak, GB",
    ]
    return table(heads, lines)


def disk_in_words() -> str:
    """Return how long the steps from disk took, and the scores of the larger region."""
    disk = from_disk()
    if disk is None:
        return ""
    steps = ", ".join(f"{name} {seconds_text(value)} s" for name, value in disk.get("steps_s", {}).items())
    text = f"From disk, {disk['n_cells']:,} cells: {disk['seconds']:.0f} s and {disk['peak_gb']:.2f} GB in all ({steps})."
    region = disk.get("region")
    if region:
        text += (
            f" {region['n_cells']:,} cells scored window by window: {region['seconds']:.0f} s, {region['peak_gb']:.2f} GB, "
            f"of which {region['before_gb']:.2f} GB are layers and programs before it begins."
        )
    return text


def past_one_machine() -> str:
    """Return the table of who added up."""
    if not CLUSTER_FILE.exists():
        return "Not measured.\n"
    found = json.loads(CLUSTER_FILE.read_text(encoding="utf-8"))
    lines = []
    for row in found["rows"]:
        bits = "-" if "same" not in row else "yes" if row["same"] else "**no**"
        moved = [f"{row[name] / 1000:,.0f}" if name in row else "-" for name in ("sent", "received")]
        lines.append([row["who"], seconds_text(row["seconds"]), bits, *moved])
    heads = ["who adds up", "seconds", "the bits of threads", "sent, kB a sweep", "received, kB a sweep"]
    return (
        f"{found['n_cells']:,} cells, {found['columns']} columns, {found['penalties']} penalties with five folds: "
        f"{found['sweeps']} sweeps and {found['hessians']} Hessians over {found['blocks']} blocks, which took "
        f"{found['writing_s']:.1f} s to write.\n\n" + table(heads, lines)
    )


def before_and_after() -> str:
    """Return the table of one real city."""
    found = json.loads(KANSAS_CITY_FILE.read_text(encoding="utf-8")) if KANSAS_CITY_FILE.exists() else {}
    if not {"before", "after"} <= set(found):
        return "Not measured.\n"
    lines = [
        [
            name,
            seconds_text(was["seconds"]),
            seconds_text(found["after"][name]["seconds"]),
            f"{was['seconds'] / found['after'][name]['seconds']:.1f}",
            f"{was['peak_gb']:.2f} / {found['after'][name]['peak_gb']:.2f}",
        ]
        for name, was in found["before"].items()
        if name in found["after"]
    ]
    return table(["work", "before, s", "after, s", "times faster", "peak GB, before / after"], lines)


def nanoseconds(one: dict[str, Any], kind: str) -> float | None:
    """Return what a cell costs, of one kind of work."""
    if kind not in one:
        return None
    return float(one[kind] / one["n_cells"] * 1e9 / PER.get(kind, 1))


def compiling(results: Results) -> str:
    """Return what compiling takes: in no other figure of the page."""
    pair = [results.get(f"{name}, {SMALL}") for name in ("compile", "load compiled")]
    if not (pair[0] and pair[1]):
        return "Not measured."
    cold, warm = (one for one in pair if one)
    return (
        f"The first time on a machine: {cold['path']:.0f} s for the path and {cold['search']:.0f} s for the search. After that "
        f"{warm['path']:.1f} and {warm['search']:.1f} s once a process, to load what is compiled. No other figure of the page holds "
        "either, but *from files to a map*, which loads what is compiled."
    )


def programs(results: Results) -> str:
    """Return versions of the programs, and the machine."""
    names = (
        "numpy",
        "scipy",
        "numba",
        "scikit-learn",
        "statsmodels",
        "glum",
        "tabmat",
        "pandas",
        "geopandas",
        "rasterio",
    )
    peers = [f"{name} {version(name)}" for name in names]
    r = next(
        (one["version"] for name, one in results.found.items() if "glmnet" in name and "version" in one),
        "R glmnet: missing",
    )
    gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{', '.join([*peers, r])}. Python {platform.python_version()}. {processor()}, {os.cpu_count()} cores, "
        f"{gb:.0f} GB of memory.\n"
    )


def processor() -> str:
    """Return the name of the processor."""
    lines = (
        Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if Path("/proc/cpuinfo").exists()
        else []
    )
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )


def disturbed(results: Results) -> str:
    """Return the sentence about other programs that ran meanwhile, if they did."""
    busy = {name: one["others"] for name, one in results.found.items() if one.get("others", 0) > DISTURBED}
    if not busy:
        return ""
    return (
        f"**Measured on a machine with other work**: in {len(busy)} of {len(results.found)} measurements other programs kept "
        f"up to {max(busy.values()):.1f} cores busy. Ratios suffer less than seconds, but suffer.\n"
    )


def seconds_text(value: float) -> str:
    """Return seconds with about three figures."""
    return (
        f"{value:,.0f}"
        if value >= 100
        else f"{value:.1f}"
        if value >= 10
        else f"{value:.2f}"
        if value >= 1
        else f"{value:.4f}"
    )


def signed(value: float | None) -> str:
    """Return a relative difference, or a dash."""
    return "-" if value is None else f"{value:+.1e}"


HEAD = """# Speed: the engine against its peers

A made-up city (clustered points, 20 factors, 240 columns of zeros and ones, six factors with an effect, incidents in 3 of 100
cells) at 180,000 cells (450 x 400) and 1.8 million (1350 x 1333, the same density). Every program gets the same cells, columns, counts, folds
and penalties, in a process of its own, on the same machine in the same run. `make bench` measures the small city, `make bench-large`
the large one and costs per cell; both resume, and both write this page. Nothing is typed in by hand but the explanations.
"""
RATIOS = """*Time ratio*: seconds of the peer for each second of the library; above 1 the library is faster. *Memory ratio*: the same of the peak
resident memory of the whole process, with the data in the form that the program wants. *Objective*: how much higher ours is than the
peer's, relative; **negative is lower, and better**. All objectives are evaluated in one place, in double precision, from the coefficients that
the programs left: summed over penalties, and at the penalty where ours does worst. The path: `mean(mu - y eta) + lambda (|b|_1 / 2 +
|b|_2^2 / 4)`, coefficients of at least zero, free intercept, columns not standardised, 100 penalties down to a thousandth of the largest.
"""
FLOOR = """The floor is the time in which this machine reads the bytes: an exclusive or, a bitwise or, or a maximum over 512 MB, whichever is
fastest, with as many threads, in the same process, in turns with the sweep. A sweep is one pass for six fits at once: objective and gradient
of all 240 columns. *Blocks* are the bytes that it reads as the engine holds them. The other codes hold the same information: a byte for
each variable (dense), the fewest whole bits for each (bits), or two bytes for each change along the cells and one for their number (runs). A sweep
does more than read: it takes exponentials and adds to a table for each change.
"""
FILES = """Read 21 CSV files and a boundary, measure 240 columns, fit the path with cross validation, search in both families, score all cells,
write a GeoTIFF. The plain pipeline is what an analyst would put together of pandas, geopandas, scipy's cKDTree, numpy, rasterio, and the solvers.
"""
CELLS = """Cities of 10 factors (120 columns) in memory, two threads. *Measuring* is for each factor: distances and densities at six steps each.
A *sweep* is for six fits. A *step* of the search tries every column, and every exchange.
"""
CLUSTER = """`python benchmarks/engine/cluster.py 1.8M`: the same path by threads of one process, and by workers of Dask, each a process of
its own with one thread, on this machine; blocks are in files. The worker of the last row was killed (signal 9) when half of the penalties were done.
A sweep sends the coefficients to one task for each group of 16 blocks, and gets back one table of sums from each.
"""
KANSAS_CITY = """`python benchmarks/engine/kansas_city.py before` and `... after` (the file says how): the study of Kansas City of the page of real
runs, 149,261 cells; the library before its engine was made faster (revision 83a6169) and now, one after the other with little else running. A round of
the placebo study is one simulated city with all its fits and searches.
"""
HOW = """## How it is measured

Seconds are wall time, the least of three (two at 1.8 million cells; one where a program takes more than a few seconds, and two processes for *from files to a map*). Data
are read before the clock starts, except from files to a map. Compiled code is loaded before the clock starts. Peak memory is
VmHWM of the process, R's too. cv.glmnet runs on one thread; with a further package its folds can run in processes of their own, each with
its memory, so the row with one thread of ours is the one to compare thread by thread. glum has one thread or two, whichever is faster for
it; scikit-learn and numpy may use two. glmnet is at its default threshold of 1e-7, glum and scikit-learn at their default tolerances, ours at a
violation of the optimality conditions of at most 1e-8 per cell.
"""
