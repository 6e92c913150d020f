"""How long corridors take on the street network of a real city, and how much memory.

    RTMKC_DATA=... python benchmarks/corridor_speed.py

The network is that of Salt Lake City (50,917 lines of OpenStreetMap, motorways left out by their class, no names); the risk is
made up, by a seed. Every row is measured in a process of its own, compiled code loaded, the best of three. Writes
docs/reference/corridor-speed.md; exit status 1 if a limit is broken.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from page import made_by, table
from scipy.ndimage import gaussian_filter

import rtmkc as rtm
from rtmkc.places.corridors.allocate import metres_of_street
from rtmkc.storage import write_text

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "corridor-speed.md"
NETWORK = Path("streets") / "slc_4881_osm_streets.parquet"
REPEATS = 5
SEED = 20
MOST_GB = 1.5
CELL_M, HORIZON_DAYS, HISTORY_DAYS, INCIDENTS = 100.0, 90, 365, 1000.0
PATCHES = ((1500.0, 0.8), (300.0, 1.0))
"""Distances over which the logarithm of risk is alike, in metres, and its standard deviations."""
SPOT_SHAPE = 0.5
"""Shape of the gamma multiplier of each cell: what its own history says."""


@dataclass(frozen=True)
class Case:
    """A row: what is asked for, and the most seconds it may take (None: no limit)."""

    title: str
    asked: Mapping[str, Any]
    most_seconds: float | None = None
    named: bool = False
    repeats: int = REPEATS


CASES = {
    "turns-0": Case("one street (`max_turns=0`, the default)", {"max_turns": 0}, 2.0),
    "turns-1": Case("one turn (`max_turns=1`)", {"max_turns": 1}, 2.0),
    "turns-2": Case("two turns (`max_turns=2`)", {"max_turns": 2}, 10.0),
    "named-0": Case("streets named by strokes, `max_turns=0`", {"max_turns": 0}, 2.0, named=True),
    "named-1": Case("streets named by strokes, `max_turns=1`", {"max_turns": 1}, 2.0, named=True),
    "named-2": Case("streets named by strokes, `max_turns=2`", {"max_turns": 2}, 10.0, named=True),
    "scan": Case("`max_turns=0`, `replicates=199`", {"max_turns": 0, "replicates": 199}, 60.0, repeats=1),
    "resamples": Case("`max_turns=0`, `resamples=100`", {"max_turns": 0, "resamples": 100}, repeats=1),
    "together": Case("`max_turns=0`, `together=True`", {"max_turns": 0, "together": True}, repeats=1),
    "together-1": Case("`max_turns=1`, `together=True`", {"max_turns": 1, "together": True}, repeats=1),
}


@dataclass(frozen=True, eq=False)
class MadeUp:
    """A terrain whose numbers are drawn: all that a search for corridors asks a terrain for."""

    grid: rtm.Grid
    cells: pd.DataFrame = field(repr=False)
    facts: dict[str, Any] = field(repr=False)
    horizon_days: int = HORIZON_DAYS


def made_up(grid: rtm.Grid, metres: np.ndarray, seed: int) -> MadeUp:
    """Draw a terrain: log-normal patches, more where more street is, and a history of a year.

    Parameters
    ----------
    grid : Grid
        The cells.
    metres : ndarray, shape (n_cells,)
        Metres of street in each: where there is none, nobody is.
    seed : int
        Of everything that is drawn.
    """
    random = np.random.default_rng(seed)
    logarithm = np.zeros(grid.n_cells)
    for range_m, spread in PATCHES:
        sigma = range_m / grid.cell_size
        wide = np.maximum((grid.n_rows, grid.n_columns), int(10 * sigma))
        noise = gaussian_filter(random.standard_normal(wide), sigma, mode="wrap")
        logarithm += spread / noise.std() * noise[grid.rows, grid.columns]
    environment = np.exp(logarithm) * np.minimum(metres, 300.0)
    environment /= environment.mean()
    around = environment * (INCIDENTS / grid.n_cells)
    horizons = HISTORY_DAYS / HORIZON_DAYS
    count = random.poisson(around * random.gamma(SPOT_SHAPE, 1 / SPOT_SHAPE, grid.n_cells) * horizons)
    known = (SPOT_SHAPE + count) / (SPOT_SHAPE + around * horizons)
    cells = pd.DataFrame(
        {
            "expected": around * known,
            "rate_sd": around * known / np.sqrt(SPOT_SHAPE + count),
            "count": count,
            "environment": environment,
            "neighbourhood": around,
            "f_a factor": environment > np.quantile(environment, 0.8),
        }
    )
    where = {
        "drift": 0.1,
        "hot_cells": None,
        "strengths": [SPOT_SHAPE],
        "history_horizons": horizons,
    }
    return MadeUp(grid, cells, {"where": where, "period_days": HISTORY_DAYS})


def terrain_of(network: rtm.StreetNetwork, *, seed: int = SEED) -> MadeUp:
    """Draw a terrain over the box of a network."""
    box = shapely.box(*network.segments.total_bounds)
    grid = rtm.Grid.cover(rtm.StudyArea.from_geometry(box, crs=network.crs), cell_size=CELL_M)
    return made_up(grid, metres_of_street(grid, network), seed)


def town() -> rtm.StreetNetwork:
    """Return the streets of a little town: eight by eleven, 150 m apart, each a block longer at both ends."""
    lines = [shapely.LineString([(-150, 150 * at), (1650, 150 * at)]) for at in range(8)]
    lines += [shapely.LineString([(150 * at, -150), (150 * at, 1200)]) for at in range(11)]
    pieces = list(shapely.get_parts(shapely.node(shapely.MultiLineString(lines))))
    return rtm.StreetNetwork.from_layer(gpd.GeoDataFrame(geometry=pieces, crs="EPSG:32612"))


def warm_up(asked: Mapping[str, Any]) -> rtm.StreetRisk:
    """Load the compiled code by the same search in a little town."""
    few = {name: 2 for name in ("replicates", "resamples") if name in asked}
    network = town()
    risk = rtm.StreetRisk.of(terrain_of(network), network)
    rtm.find_corridors(risk.terrain, risk, k=2, **{**asked, **few})
    return risk


def measure(data: Path, case: Case) -> dict[str, Any]:
    """Measure a row in this process."""
    times: dict[str, list[float]] = {}
    processor: dict[str, list[float]] = {}

    def timed(name: str, what: Callable[[], Any]) -> Any:
        started, worked = time.perf_counter(), time.process_time()
        result = what()
        times.setdefault(name, []).append(time.perf_counter() - started)
        processor.setdefault(name, []).append(time.process_time() - worked)
        return result

    timed("warm-up", lambda: warm_up(case.asked))
    streets = timed("reading", lambda: rtm.read_layer(data / NETWORK, name="streets"))
    missing = "strokes" if case.named else "leave"
    network = timed("network", lambda: rtm.StreetNetwork.from_layer(streets, missing_names=missing))
    terrain = terrain_of(network)
    for _ in range(case.repeats):
        risk = timed("allocation", lambda: rtm.StreetRisk.of(terrain, network))
        corridors = timed("search", partial(rtm.find_corridors, terrain, risk, k=10, **case.asked))
    both = [sum(pair) for pair in zip(times["allocation"], times["search"], strict=True)]
    best = int(np.argmin(both))
    return {
        **{name: values[best if len(values) > 1 else 0] for name, values in times.items()},
        "seconds": both[best],
        "slowest": max(both),
        "processor": processor["allocation"][best] + processor["search"][best],
        "gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "rows": len(streets),
        "segments": network.n_segments,
        "nodes": network.n_nodes,
        "blocks": risk.blocks.n_blocks,
        "names": len(risk.blocks.names),
        "km": float(risk.blocks.length_m.sum() / 1000),
        "cells": terrain.grid.n_cells,
        "found": len(corridors),
        "expected": corridors["expected"].tolist(),
        "length_m": corridors["length_m"].tolist(),
        "gap": float(corridors["gap"].max()),
        "p_length": corridors["p_length"].tolist(),
        "p_factors": corridors["p_factors"].tolist(),
        "rank_stability": corridors["rank_stability"].tolist(),
        "optimism": corridors["optimism"].tolist(),
        "statement": corridors.attrs["statement"],
    }


def in_a_process(name: str, *, cache: str | None = None) -> dict[str, Any]:
    """Measure a row in a process of its own; `cache` is an empty folder for compiled code."""
    environment = os.environ | ({"NUMBA_CACHE_DIR": cache} if cache else {})
    done = subprocess.run(
        [sys.executable, __file__, "--measure", name],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def promises(measured: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the limits that are broken."""
    broken = []
    for name, one in measured.items():
        most = CASES[name].most_seconds
        if most is not None and one["seconds"] > most:
            broken.append(f"{CASES[name].title}: {one['seconds']:.1f} s, above {most:.0f} s")
        if one["gb"] > MOST_GB:
            broken.append(f"{CASES[name].title}: {one['gb']:.2f} GB, above {MOST_GB} GB")
        if one["gap"] != 0:
            broken.append(f"{CASES[name].title}: not proved best")
    return broken


def paths_of(one: Mapping[str, Any]) -> str:
    """Return how many paths were to choose from, as the statement says it."""
    words = str(one["statement"]).split(" of ")
    return next(word.split()[0] for word in words[1:] if word.split()[1:2] == ["stretches"])


def page(measured: Mapping[str, Mapping[str, Any]], compiling: float) -> str:
    """Return the page."""
    first = next(iter(measured.values()))
    broken = promises(measured)
    return HEAD.format(**{name: first[name] for name in ("rows", "segments", "nodes", "blocks", "km", "cells")},
        incidents=INCIDENTS, days=HORIZON_DAYS, cores=os.cpu_count(), repeats=REPEATS, compiling=compiling,
        warm=np.median([one["warm-up"] for one in measured.values()]),
        reading=min(one["reading"] for one in measured.values()),
        network=min(one["network"] for name, one in measured.items() if not CASES[name].named),
        named=min((one["network"] for name, one in measured.items() if CASES[name].named), default=np.nan),
        names=max(one["names"] for one in measured.values()),
    ) + "\n".join(
        [
            "", "## Search", "", searches(measured), "",
            "Every limit holds." if not broken else "**Broken:** " + "; ".join(broken) + ".", "",
            "## What came out", "", came_out(measured), "", AFTER, made_by("RTMKC_DATA=... python benchmarks/corridor_speed.py"), "",
        ]
    )  # fmt: skip


def searches(measured: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of seconds, memory and limits."""
    rows = []
    for name, one in measured.items():
        most = CASES[name].most_seconds
        rows.append(
            [
                CASES[name].title,
                paths_of(one),
                f"{one['allocation']:.2f}",
                f"{one['search']:.2f}",
                f"**{one['seconds']:.2f}**",
                "-" if most is None else f"{most:.0f}",
                f"{one['processor']:.2f}",
                f"{one['gb']:.2f}",
            ]
        )
    heads = [
        "ten corridors, 300 m apart",
        "paths",
        "allocation, s",
        "search, s",
        "both, s",
        "limit, s",
        "processor, s",
        "peak, GB",
    ]
    return table(heads, rows)


def came_out(measured: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of what was found, so that a change of speed is not one of results."""
    rows = []
    for name, one in measured.items():
        said = ""
        if CASES[name].asked.get("replicates"):
            said = f"p against length {span(one['p_length'], 3)}, against the factors {span(one['p_factors'], 3)}"
        if CASES[name].asked.get("resamples"):
            said = f"stability {span(one['rank_stability'], 2)}, optimism {span(one['optimism'], 2)}"
        lengths = span(one["length_m"], 0) + " m"
        rows.append([CASES[name].title, f"{one['found']}", f"{sum(one['expected']):.1f}", lengths, said])
    return table(["", "corridors", "expected in all", "lengths", "tests"], rows)


def span(values: Sequence[float], digits: int) -> str:
    """Return the range of some values."""
    low, high = (f"{value:,.{digits}f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def main() -> int:
    """Measure every row and write the page."""
    if not os.environ.get("RTMKC_DATA"):
        print(
            "RTMKC_DATA is not set: the speed of corridors is not measured. Set it to the folder of the data."
        )
        return 0
    with tempfile.TemporaryDirectory() as cache:
        compiling = in_a_process("turns-0", cache=cache)["warm-up"]
    measured = {}
    for name, case in CASES.items():
        measured[name] = in_a_process(name)
        one = measured[name]
        print(f"{case.title}: {one['seconds']:.2f} s, {one['gb']:.2f} GB", file=sys.stderr, flush=True)
    write_text(PAGE, page(measured, compiling), overwrite=True)
    broken = promises(measured)
    print("\n".join(broken) or f"written: {PAGE.name}")
    return int(bool(broken))


HEAD = """# Corridors: speed and memory

How long the search for corridors takes on the streets of a real city. This page is written by `python benchmarks/corridor_speed.py`
(`RTMKC_DATA` names the folder of the data, which is not part of the project).

**Streets.** Salt Lake City from OpenStreetMap: {rows:,} lines as they are in the file; motorways and their ramps are left out by their
class, which leaves {segments:,} segments between {nodes:,} nodes, {km:,.0f} km, {blocks:,} blocks. The file has no street names. Rows that say so
have names made of strokes (streets that go straight on), {names:,} of them, so that the share on one name and turns at a change of name are tried as well.

**Risk is made up.** {cells:,} cells of 100 m over the box of the streets; {incidents:,.0f} incidents expected in {days} days; the logarithm of risk is the sum of
two smooth fields (alike over 1,500 and 300 m, standard deviations 0.8 and 1.0); there is none without a street in the cell, and each cell has
a gamma multiplier of its own (shape 0.5), known by a year of incidents drawn from it. Seed 20. These figures say how long it takes, and nothing of Salt Lake City.

**Measured** on {cores} cores, every row in a process of its own: the best of {repeats} (scan, resamples and sets chosen together: once). Seconds are by the clock.

| before the search | s |
| --- | --- |
| compiling, once after installing | {compiling:.1f} |
| loading compiled code and a search in a little town | {warm:.1f} |
| reading the file | {reading:.2f} |
| network of {segments:,} segments | {network:.2f} |
| the same with names made of strokes | {named:.2f} |
"""

AFTER = """*Paths* are all stretches of 500 to 2,500 m from corner to corner with so many turns: the search looks at each. *Allocation* splits the risk
of cells among streets; *search* is all the rest, with names, intervals and reasons. A scan test draws 199 cities under each of two nulls and
searches each; 100 resamples search 200 times for the ten best; *together* is proved by a mixed-integer program.
Where the clock is well above the processor, the machine had other work to do.
"""

if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        warnings.simplefilter("ignore")
        print(json.dumps(measure(Path(os.environ["RTMKC_DATA"]), CASES[sys.argv[2]])))
    else:
        sys.exit(main())
