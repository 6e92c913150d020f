"""Do the weights hold what they promise? Both methods in simulated cities whose truth is known.

    python benchmarks/guarded_truth.py [--jobs 2] [--only NAME ...] [--page]

Every world of `WORLDS` is drawn and fitted; its figures go to study-results/known-truth/, and worlds that are there
already are not run again. Writes docs/reference/known-truth.md; exit status 1 if a promise is broken. Seeds were fixed
before the method was: it was developed on cities of other seeds.
"""

import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from known_truth_page import PAGE, promises, render
from worlds import World, judge

from rtmkc.storage import write_json, write_text

RESULTS = Path("study-results") / "known-truth"
CHUNK = 10
GUARDED = ("guarded",)
GRADIENT = 2.5

WORLDS = (
    World("null P", "null", "P", 400, 100_000),
    World("null L1", "null", "L1", 400, 110_000),
    World("null L2", "null", "L2", 400, 120_000),
    World("alt P", "alt", "P", 400, 130_000),
    World("alt L1", "alt", "L1", 400, 140_000),
    World("alt L2", "alt", "L2", 400, 150_000),
    World("gradient, no exposure", "null", "P", 200, 200_000, gradient=GRADIENT),
    World("gradient, stand-in for exposure", "null", "P", 200, 200_000, gradient=GRADIENT, exposure="proxy", methods=GUARDED),
    World("gradient, true exposure", "null", "P", 200, 200_000, gradient=GRADIENT, exposure="true"),
    World("alt gradient, no exposure", "alt", "P", 100, 210_000, gradient=GRADIENT),
    World("alt gradient, stand-in for exposure", "alt", "P", 100, 210_000, gradient=GRADIENT, exposure="proxy", methods=GUARDED),
    World("alt gradient, true exposure", "alt", "P", 100, 210_000, gradient=GRADIENT, exposure="true"),
    World("null P, ellipse", "null", "P", 400, 300_000, is_ellipse=True),
    World("null L1, ellipse", "null", "L1", 200, 310_000, is_ellipse=True),
    World("null L2, ellipse", "null", "L2", 400, 320_000, is_ellipse=True),
    World("alt L2, ellipse", "alt", "L2", 200, 330_000, is_ellipse=True),
    World("null L2, 20 factors", "null", "L2", 200, 400_000, n_factors=20, methods=GUARDED),
    World("alt L2, 20 factors", "alt", "L2", 200, 410_000, n_factors=20, methods=GUARDED),
)  # fmt: skip


def study(world: World, seeds: range) -> list[dict[str, dict[str, object]]]:
    """Judge the cities of some seeds."""
    return [{method: asdict(one) for method, one in judge(world, seed).items()} for seed in seeds]


def run(world: World, pool: ProcessPoolExecutor) -> None:
    """Draw and fit all cities of a world, and keep what came of them."""
    path = RESULTS / f"{world.name.replace(', ', '-').replace(' ', '-')}.json"
    if path.exists():
        return
    last = world.first_seed + world.n_cities
    chunks = [range(first, min(first + CHUNK, last)) for first in range(world.first_seed, last, CHUNK)]
    cities = []
    for part in pool.map(study, [world] * len(chunks), chunks):
        cities += part
        n_false = sum(city["guarded"]["n_false"] > 0 for city in cities)
        print(
            f"{world.name}: {len(cities)} cities, {n_false} with a false factor", file=sys.stderr, flush=True
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"world": asdict(world), "cities": cities})


def main() -> int:
    """Run what is missing, write the page, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--only", nargs="*", default=None, help="names of worlds; no page is written then")
    asked = parser.parse_args()
    with ProcessPoolExecutor(asked.jobs) as pool:
        for world in WORLDS:
            if asked.only is None or world.name in asked.only:
                run(world, pool)
    if asked.only is not None:
        return 0
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    by_name = {one["world"]["name"]: one for one in found}
    broken = promises(by_name)
    write_text(PAGE, render(by_name, broken), overwrite=True)
    print("\n".join(broken) or "every promise is kept")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
