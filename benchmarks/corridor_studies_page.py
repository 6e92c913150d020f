"""The page docs/reference/corridor-studies.md: what is claimed of corridors, and what simulated cities say of it.

    python benchmarks/corridor_studies_page.py

Writes the page from what `placebo_corridors.py` and `planted_corridors.py` left in study-results/, once both have; exit status
1 if a promise is broken.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import placebo_corridors as placebo
import planted_corridors as planted
from page import made_by, table

from rtmkc.evidence.statistics.metrics import wilson
from rtmkc.storage import write_text

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "corridor-studies.md"
DEFAULT = "expected"
PROMISED, WEAKER = planted.MULTIPLES
MOST_ERRORS, MOST_ERROR, LEAST_FOUND = 2.0, 0.04, 0.90
NAMES = {
    "last 90 days": "counts of the last 90 days",
    "last year": "counts of the last year",
    "rrs": "`rrs`: the factors alone",
    "empirical_bayes": "`empirical_bayes`: the factors, corrected by each cell's incidents",
    "expected": "`expected`: the forecast, **the default**",
    "the truth": "the truth, which nobody has",
}
Rows = Sequence[dict[str, Any]]


def change(after: np.ndarray, before: np.ndarray) -> tuple[float, float]:
    """Return after / before - 1 of the sums over rounds, and its standard error over rounds.

    The error is the linearised one of a ratio, ``sqrt(n / (n - 1) sum((a - r b)^2)) / sum(b)`` (Cochran 1977, Sampling
    Techniques, 6.4).
    """
    ratio, n = after.sum() / before.sum(), len(after)
    error = np.sqrt(n / (n - 1) * np.sum((after - ratio * before) ** 2)) / before.sum()
    return float(ratio - 1), float(error)


def of_rule(rounds: Rows, rule: str, name: str) -> np.ndarray:
    """Return a figure of the corridors that a rule picked, over the rounds in which it could pick one."""
    return np.array([one["rules"][rule][name] for one in rounds if rule in one["rules"]], dtype=float)


def changes(rounds: Rows, rule: str) -> dict[str, tuple[float, float]]:
    """Return what seems to change where a rule picked: against its promise, the same 90 days' counts, and the truth."""
    after = of_rule(rounds, rule, "after")
    return {name: change(after, of_rule(rounds, rule, name)) for name in ("promised", "last_90", "true")}


def found_share(cities: Rows, surface: str, *, rank: int = planted.TOP) -> tuple[int, int]:
    """Return in how many cities the planted corridor is among the first ranks, and in how many it was looked for."""
    ranks = [one[surface]["rank"] for one in cities if surface in one]
    return sum(found is not None and found <= rank for found in ranks), len(ranks)


def of_multiple(cities: Rows, multiple: float) -> list[dict[str, Any]]:
    """Return the cities whose planted stretch has a multiple of the mean street's incidents."""
    return [one for one in cities if one["multiple"] == multiple]


def promises(rounds: Rows, cities: Rows) -> list[str]:
    """Return the promises that are broken."""
    broken = []
    mean, error = changes(rounds, DEFAULT)["last_90"]
    if abs(mean) > MOST_ERRORS * error:
        broken.append(
            f"placebo: a change of {said(mean, error)} without treatment is more than chance for the default"
        )
    if error > MOST_ERROR:
        broken.append(f"placebo: a standard error of {100 * error:.1f} % is above {100 * MOST_ERROR:.0f} %")
    n_found, n = found_share(of_multiple(cities, PROMISED), "forecast")
    if n_found < LEAST_FOUND * n:
        broken.append(f"planted: found in {n_found} of {n} cities, below {100 * LEAST_FOUND:.0f} %")
    return broken


def promise_words(rounds: Rows) -> str:
    """Return what came of the default's promises, in a sentence."""
    mean, error = changes(rounds, DEFAULT)["promised"]
    if abs(mean) <= MOST_ERRORS * error:
        return f"What came is what the default promised: {said(mean, error)}, which is within chance."
    way = "more" if mean > 0 else "less"
    return f"Beyond chance {way} came than the default promised: {said(mean, error)}."


def said(mean: float, error: float) -> str:
    """Return a change and its standard error as text."""
    return f"{100 * mean:+.1f} % ± {100 * error:.1f}"


def rules_table(rounds: Rows) -> str:
    """Return what every rule picked and what then happened."""
    best = of_rule(rounds, "the truth", "true_on_street").mean()
    rows = []
    for rule, name in NAMES.items():
        if not any(rule in one["rules"] for one in rounds):
            continue
        own = changes(rounds, rule)
        on_street = of_rule(rounds, rule, "true_on_street")
        of_truth = change(of_rule(rounds, rule, "after"), of_rule(rounds, rule, "true"))
        rows.append(
            [
                name,
                str(len(on_street)),
                f"{of_rule(rounds, rule, 'promised').mean():.1f}",
                f"{of_rule(rounds, rule, 'after').mean():.1f}",
                said(*own["promised"]),
                f"**{said(*own['last_90'])}**" if rule == DEFAULT else said(*own["last_90"]),
                said(*of_truth),
                f"{on_street.mean():.1f} ({100 * on_street.mean() / best:.0f} %)",
            ]
        )
    heads = [
        "picked by", "rounds", "promised", "came", "change against what was promised",
        "change against the corridor's last 90 days", "what came against the true mean",
        "true mean on the street itself (of the best possible)",
    ]  # fmt: skip
    return table(heads, rows)


def parts_table(rounds: Rows) -> str:
    """Return where the default's change comes from: by length of history, and what the city as a whole did."""
    rows = []
    for years in sorted({one["years"] for one in rounds}):
        some = [one for one in rounds if one["years"] == years]
        rows.append([f"history of {years} year{'s' if years > 1 else ''}", str(len(some)), *_parts(some)])
    rows.append(["all", str(len(rounds)), *_parts(rounds)])
    heads = [
        "", "rounds", "corridor: came against promised", "whole city: came against promised",
        "corridor, the city's change taken out", "true mean against promised",
    ]  # fmt: skip
    return table(heads, rows)


def _parts(rounds: Rows) -> list[str]:
    after, promised = of_rule(rounds, DEFAULT, "after"), of_rule(rounds, DEFAULT, "promised")
    came = np.array([one["city"]["after"] for one in rounds])
    foretold = np.array([one["city"]["expected"] for one in rounds])
    return [
        said(*change(after, promised)),
        said(*change(came, foretold)),
        said(*change(after, promised * came / foretold)),
        said(*change(of_rule(rounds, DEFAULT, "true"), promised)),
    ]


def planted_table(cities: Rows) -> str:
    """Return how often the planted corridor is found, by what it is searched in and what caused it."""
    rows = []
    surfaces = ("forecast", "last year", "truth")
    for surface in (*surfaces, *(f"{name}, no streets" for name in surfaces)):
        if not any(surface in one for one in cities):
            continue
        (n_found, n), (n_first, _) = found_share(cities, surface), found_share(cities, surface, rank=1)
        low, high = wilson(n_found, n)
        cover = np.mean([one[surface]["covered"] for one in cities if surface in one])
        by_cause = []
        for cause in planted.CAUSES:
            own, of = found_share([one for one in cities if one["cause"] == cause], surface)
            by_cause.append(f"{own} of {of}")
        name = {"forecast": "`expected`", "last year": "counts of the last year", "truth": "the truth"}
        what, _, how = surface.partition(", ")
        rows.append(
            [
                f"{name[what]}{', ' + how if how else ''}",
                str(n),
                f"{100 * n_found / n:.1f} % [{100 * low:.0f}, {100 * high:.0f}]",
                f"{100 * n_first / n:.1f} %",
                f"{100 * cover:.0f} %",
                *by_cause,
            ]
        )
    heads = [
        "searched in", "cities", "among the first five, 95 % interval", "the first", "length covered by the best of five",
        "factor", "both", "unmeasured",
    ]  # fmt: skip
    return table(heads, rows)


def _counted(cities: Rows) -> str:
    """Return the multiple of the typical street that the planted stretch has in the search of the true cells."""
    found = [one["truth"]["city_multiple"] for one in cities if one["truth"]["rank"]]
    return f"{np.mean(found):.1f}"


def sample_tables(sample: dict[str, Any]) -> tuple[str, str]:
    """Return the truly best corridors of the sample, and those that were found."""
    best = [
        [
            str(rank),
            one["name"],
            f"{one['length_m']:,.0f} m",
            f"{one['true']:.2f}",
            f"{one['excess']:.2f}",
            *(_covered(one[f"covered by {surface}"]) for surface in ("forecast", "truth")),
        ]
        for rank, one in enumerate(sample["best"], start=1)
    ]
    heads = ["rank in truth", "street", "length", "true incidents in 90 days", "true excess"]
    first = table([*heads, "covered by those found", "by those of the true cells"], best)
    found = [
        [
            str(rank), one["name"], f"{one['from']} to {one['to']}", f"{one['length_m']:,.0f} m",
            f"{one['expected']:.2f}", f"{one['true']:.2f}", f"{one['excess']:.2f}",
        ]
        for rank, one in enumerate(sample["forecast"], start=1)
    ]  # fmt: skip
    heads = [
        "rank found", "street", "between", "length", "`expected`", "true incidents on the street", "true excess",
    ]  # fmt: skip
    return first, table(heads, found)


def _covered(cover: dict[str, Any]) -> str:
    return f"{100 * cover['share']:.0f} % (rank {cover['rank']})" if cover["share"] > 0 else "no"


def render(rounds: Rows, cities: Rows, sample: dict[str, Any], broken: Sequence[str]) -> str:
    """Return the page."""
    law, small = placebo.LAW, planted.law_of("both")
    default = changes(rounds, DEFAULT)
    after = of_rule(rounds, DEFAULT, "after")
    lower, upper = of_rule(rounds, DEFAULT, "lower"), of_rule(rounds, DEFAULT, "upper")
    n_inside, n = int(((lower <= after) & (after <= upper)).sum()), len(rounds)
    inside = wilson(n_inside, n)
    on_street = of_rule(rounds, DEFAULT, "true_on_street").sum() / of_rule(rounds, DEFAULT, "true").sum()
    n_without = sum("rrs" not in one["rules"] for one in rounds)
    best, found = sample_tables(sample)
    strong, weak = of_multiple(cities, PROMISED), of_multiple(cities, WEAKER)
    verdict = "**Every promise is kept.**" if not broken else f"**Broken promises: {'; '.join(broken)}.**"
    return TEMPLATE.format(
        verdict=verdict,
        n_rounds=len(rounds),
        rules=rules_table(rounds),
        parts=parts_table(rounds),
        naive=said(*changes(rounds, "last 90 days")["promised"]),
        default=said(*default["last_90"]),
        promise=promise_words(rounds),
        n_without=n_without,
        interval=f"{n_inside} of {n} ({100 * n_inside / n:.0f} %, 95 % interval {100 * inside[0]:.0f} to {100 * inside[1]:.0f})",
        interval_width=f"{np.median(lower):.0f} to {np.median(upper):.0f}",
        promised=f"{of_rule(rounds, DEFAULT, 'promised').mean():.1f}",
        on_street=f"{on_street:.1f}",
        n_cities=len(strong),
        planted=planted_table(strong),
        weaker=planted_table(weak),
        multiple=f"{PROMISED:g}",
        weak=f"{WEAKER:g}",
        counted=_counted(strong),
        counted_weak=_counted(weak),
        on_it=f"{np.mean([one['on_it'] for one in strong]):.0f}",
        history=f"{np.mean([one['history'] for one in strong]):,.0f}",
        shortest=f"{planted.LENGTHS[0]:,.0f}",
        longest=f"{planted.LENGTHS[1]:,.0f}",
        best=best,
        found=found,
        gained=f"{sum(one['excess'] for one in sample['forecast']):.2f}",
        attainable=f"{sum(one['excess'] for one in sample['best']):.2f}",
        gained_truth=f"{sum(one['excess'] for one in sample['truth']):.2f}",
        law=law,
        small=small,
        block_share=f"{100 * law.odd_share:g} %",
        seeds=f"placebo {placebo.FIRST_SEED:,}, planted {planted.FIRST_SEED:,}",
        made=made_by("make placebo planted"),
        years=planted.YEARS,
    )


def main() -> int:
    """Write the page and return the exit status."""
    rounds, cities = placebo.rounds(), planted.cities()
    path = planted.RESULTS / "sample.json"
    if not rounds or not cities or not path.exists():
        print("the page needs both studies: make placebo, make planted")
        return 0
    broken = promises(rounds, cities)
    sample = json.loads(path.read_text(encoding="utf-8"))
    write_text(PAGE, render(rounds, cities, sample, broken), overwrite=True)
    print("\n".join(broken) or "every promise is kept")
    return 1 if broken else 0


TEMPLATE = """# Corridors: what seems to change when nothing is done, and is the right street found?

Two studies in simulated cities, and the sample. {verdict}

## Placebo: {n_rounds} rounds without any treatment

Who picks the street with most incidents of the last 90 days, works it, and counts again, will see a fall whether the work did
anything or not: the street was picked because those 90 days were bad. So corridors are picked in cities in which nothing is
done. Any change is the method's own.

Every city has {law.side} named streets either way and two diagonals (blocks of 100 to 145 m, with gaps), {law.incidents:,.0f} expected
incidents in 90 days, and half-block cells. What makes risk is outside the family of the models: three known factors whose effect fades
with distance, two that nobody told the model of, main streets, log-Gaussian patches, the same along every street apart, blocks
with lognormal risk and {block_share} of them with a Pareto tail, patches that get slowly better or worse, a level that drifts with seasons,
and incidents that bring about {law.repeats:g} more each on the same block within weeks. Half of a year's incidents lie on about 5 % of the blocks,
as published for real cities (2.1 to 6.0 %: Weisburd 2015, Criminology 53, 133-157). History is one, two or three years, in turn.

Each rule picks the one best stretch by the defaults of `rtm.find_corridors` (excess over the price of its length). *Promised* is what the rule
itself says of the next 90 days: the count of the last 90 days; last year's count, scaled to 90 days; the score at the forecast's total;
and, for the default, the `expected` of the corridor. Corridor counts are allocated as the search does it. Changes are ratios of sums over
rounds, with their standard error over rounds.

{rules}

**Before and after.** A team would compare the 90 days after with the 90 days before. Required of the default: a change within two standard
errors of zero, and a standard error of at most 4 %. It is {default}. Picking by the last 90 days and comparing with them shows {naive} without
anybody having done anything. In {n_without} of {n_rounds} rounds no factor was told from chance, and the score has nothing to pick by.

**Promise and truth.** {promise} Whoever takes `expected` of a corridor as the count before the work must know that.

### Where the gap between promise and count comes from

{parts}

Read: the third column is what the corridor did beyond the city. The last one compares means and has no chance of the 90 days in it.
Above zero, more came than was promised: a forecast from a short history shrinks what stands out, which is the opposite of
regression to the mean. `rrs` and `empirical_bayes` are for ranking; where most of what makes risk is not measured, what they say of
the number is too low.

The 90 % interval of the corridor's count held {interval} of what came; in the middle it went from {interval_width} where {promised} were promised.

### What a corridor's count is, and is not

A cell's incidents are shared out among the streets around it, so that no incident counts twice. Risk that lies on a single street goes in
part to its neighbours: on the streets picked the true number of incidents was {on_street} times that allocated to them. Both the forecast and the count are
allocated in the same way, so that changes compare like with like; the number of reports with an address on the street will be higher than `expected`.

## Planted: is a risky street found among patches of noise?

{n_cities} cities of {small.side} streets either way, about {small.incidents:,.0f} incidents in 90 days, {years} years of history ({history} incidents in the mean). In each, a
stretch of one street, {shortest} to {longest} m long and anywhere, has {multiple} times the incidents a metre of the city's mean street ({on_it} in the mean);
as the search counts, that is {counted} times the typical street. Patches of noise (variance {small.patch_variance:g}, range
{small.patch_range:g} m, as in the sample) and single blocks make other places bad. Seeds take turns: places of a known factor lie along it; they
explain part of it; or nothing that is measured does, and history alone can tell.

Found means: one of the first five corridors runs along at least half of it. Without streets, half of it lies within one and a half cells of a
chain of cells. Required: found in at least 90 % of cities, with streets.

{planted}

Four times the mean was run first, and is too little for that. Six was then chosen on 24 cities of other seeds. What is missed with
{weak} times the mean ({counted_weak} times the typical street as the search counts):

{weaker}

Searching the true cells shows what the search alone would find if the forecast were perfect. What is missed is mostly a stretch that
nothing measured explains, in a city that is calm otherwise: the forecast takes the rest of the city as its measure of how much single places
stand out, and shrinks it.

## The sample, with the treated stretch left out

The truth of the sample is known block by block, from the script that wrote it. Every stretch without a turn, from corner to corner, was written out
and the best five by true excess taken, 300 m apart:

{best}

What `rtm.find_corridors` returns from the forecast:

{found}

The five found have a true excess of {gained} together, of {attainable} that the truly best five have; searching the true cells gives {gained_truth}. Incidents are few
(one corridor has one to three in 90 days), so that several streets are nearly tied; cells blur what lies on two parallel streets.

{made} First seeds: {seeds}; fixed before the first run.
"""

if __name__ == "__main__":
    sys.exit(main())
