"""Nothing is done, and what seems to change? Corridors picked in four ways in cities without any treatment.

    python benchmarks/placebo_corridors.py [--again]

Every round draws a city whose noise is outside the family of the models, fits both models to one to three years of it,
picks the best corridor by each rule, and counts what happens there in the next 90 days. Rounds go to
study-results/placebo/, and those that are there already are not run again; --again picks corridors anew from the fits that
are there. Seeds were fixed before the first round was run. `corridor_studies_page.py` writes the page.
"""

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import shapely
from corridor_cities import AFTER_DAYS, City, Law, Surface, draw_city, on_line

import rtmkc as rtm
from rtmkc.errors import NoFactorError
from rtmkc.storage import write_json

RESULTS = Path("study-results") / "placebo"
N_ROUNDS = 160
FIRST_SEED = 700_000
LAW = Law()
YEARS = (1, 2, 3)
"""Lengths of the history; rounds take turns."""
RULES = ("last 90 days", "last year", "rrs", "empirical_bayes", "expected")


def years_of(seed: int) -> int:
    """Return how many years of history a round has."""
    return YEARS[seed % len(YEARS)]


def fitted(city: City, seed: int, folder: Path) -> rtm.RiskTerrain:
    """Return the terrain of a round, fitted once."""
    if not folder.exists():
        rtm.assess(city.grid, city.factors(), city.incidents, random_state=seed).save(folder)
    return rtm.load(folder)


def pick(city: City, terrain: rtm.RiskTerrain) -> dict[str, Any]:
    """Return the best corridor by every rule; its `expected` is what the rule says of the next 90 days."""
    year = city.counts(365) * (AFTER_DAYS / 365)
    picked = {
        "last 90 days": best(Surface.of(city.grid, city.counts(AFTER_DAYS)), city),
        "last year": best(Surface.of(city.grid, year), city),
        "expected": best(terrain, city),
        "the truth": best(Surface.of(city.grid, city.true_cells), city),
    }
    with contextlib.suppress(NoFactorError):  # then the weights have nothing to pick by
        picked |= {rule: best(terrain, city, by=rule) for rule in ("rrs", "empirical_bayes")}
    return picked


def best(terrain: Any, city: City, **options: Any) -> Any:
    """Return the first corridor of a surface, by the defaults of the search."""
    return rtm.find_corridors(terrain, city.network, k=1, **options).iloc[0]


def study(seed: int, fits: Path) -> dict[str, Any]:
    """Run one round."""
    city = draw_city(LAW, seed, years=years_of(seed))
    terrain = fitted(city, seed, fits / f"{seed}")
    expected = terrain.cells["expected"].to_numpy()
    surfaces = {
        "after": city.after, "true": city.true_cells, "last_90": city.counts(AFTER_DAYS),
        "last_year": city.counts(365) * (AFTER_DAYS / 365), "expected": expected,
    }  # fmt: skip
    lines = city.streets.geometry.to_numpy()
    rules = {}
    for rule, corridor in pick(city, terrain).items():
        share, on = city.share_of(corridor.geometry), on_line(lines, corridor.geometry)
        one = {name: float(share @ surface) for name, surface in surfaces.items()} | {
            "promised": float(corridor.expected), "length_m": float(corridor.length_m), "name": str(corridor["name"]),
            "after_on_street": float(city.after_on[on].sum()), "true_on_street": float(city.rate[on].sum()),
            "lines_m": float(shapely.length(lines[on]).sum()),
        }  # fmt: skip
        if rule == "expected":
            one |= {end: float(corridor[end]) for end in ("lower", "upper")}
            assert abs(one["promised"] - one["expected"]) <= 1e-6 * one["promised"], (
                "not the corridor's blocks"
            )
        rules[rule] = one
    return {
        "seed": seed,
        "years": city.years,
        "history": len(city.incidents),
        "factors": terrain.factors,
        "city": {name: float(surface.sum()) for name, surface in surfaces.items()},
        "rules": rules,
    }


def run(seeds: range, results: Path, *, again: bool = False) -> None:
    """Run the rounds that are missing, and keep each."""
    results.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        path = results / f"round-{seed}.json"
        if path.exists() and not again:
            continue
        one = study(seed, results / "fits")
        write_json(path, one, overwrite=True)
        rule = one["rules"]["expected"]
        print(
            f"{seed}: {rule['promised']:.1f} promised, {rule['after']:.1f} came", file=sys.stderr, flush=True
        )


def rounds(results: Path = RESULTS) -> list[dict[str, Any]]:
    """Read the rounds that were run."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("round-*.json"))]


def main() -> int:
    """Run what is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--again", action="store_true", help="pick corridors anew from the fits that are there"
    )
    asked = parser.parse_args()
    run(range(FIRST_SEED, FIRST_SEED + N_ROUNDS), RESULTS, again=asked.again)
    return 0


if __name__ == "__main__":
    sys.exit(main())
