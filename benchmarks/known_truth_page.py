"""The page docs/reference/known-truth.md: what is promised of weights, and what simulated cities say of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from page import made_by, table
from scipy.stats import kstest

from rtmkc.evidence.statistics.metrics import wilson

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "known-truth.md"
NOISES = ("P", "L1", "L2")
MOST_FALSE, LEAST_COVER, LEAST_ALL = 0.09, 0.93, 0.90
LEAST_FOUND = {"P": 2.985, "L1": 2.42, "L2": 1.67}
"""2.99 of 3 when rounded; the other two are the best that an earlier form of the gate reached in such cities."""
MOST_P = {0.05: 0.08, 0.01: 0.025}
MOST_KS = 0.06
CLASSIC_FAILS = 0.70

Study = Mapping[str, Any]


class Figures:
    """What the cities of a world say of a method."""

    def __init__(self, study: Study, method: str) -> None:
        self.world, self.cities = study["world"], [city[method] for city in study["cities"]]
        self.n = len(self.cities)
        self.n_with_false = sum(city["n_false"] > 0 for city in self.cities)
        self.any_false = self.n_with_false / self.n
        self.true_found = float(np.mean([city["n_true"] for city in self.cities]))
        with_weights = [city for city in self.cities if city["covers"]]
        self.cover = self._mean("covers")
        self.all_cover = (
            float(np.mean([all(city["covers"]) for city in with_weights])) if with_weights else np.nan
        )
        self.width = float(np.median(self.pool("widths"))) if with_weights else np.nan
        errors = self.pool("errors")
        self.rmse = float(np.sqrt(np.mean(errors**2))) if errors.size else np.nan
        self.bias = float(errors.mean()) if errors.size else np.nan
        self.inflation = float(np.median(self.pool("inflations"))) if self.pool("inflations").size else np.nan
        self.exact, self.in_extents = self._mean("exact"), self._mean("in_extents")
        p = self.pool("null_p")
        self.p_below = {level: float((p <= level).mean()) for level in MOST_P}
        self.ks = float(kstest(p, "uniform").statistic)
        self.n_p = p.size
        self.effective = np.quantile(self.pool("effective"), [0.1, 0.5])
        self.undecided = (
            float(np.mean([city["n_undecided"] for city in self.cities])) / self.world["n_factors"]
        )

    def pool(self, name: str) -> np.ndarray:
        """All values of all cities."""
        return np.array([value for city in self.cities for value in city[name]], dtype=float)

    def _mean(self, name: str) -> float:
        values = self.pool(name)
        return float(values.mean()) if values.size else np.nan


def promises(studies: Mapping[str, Study]) -> list[str]:
    """Return the promises that are broken."""
    broken = []
    for name, study in studies.items():
        world, guarded = study["world"], Figures(study, "guarded")
        if world["gradient"]:
            continue  # what exposure repairs and what not is reported, and not promised
        if guarded.any_false > MOST_FALSE:
            broken.append(f"{name}: a false factor in {guarded.any_false:.3f} of cities, above {MOST_FALSE}")
        if world["truth"] == "null":
            broken += [
                f"{name}: p below {level} in {guarded.p_below[level]:.3f}, above {most}"
                for level, most in MOST_P.items()
                if guarded.p_below[level] > most
            ]
            if guarded.ks > MOST_KS:
                broken.append(f"{name}: distance of p from uniform {guarded.ks:.3f}, above {MOST_KS}")
            if world["noise"] == "L2" and "classic" in world["methods"]:
                classic = Figures(study, "classic")
                if classic.any_false < CLASSIC_FAILS:
                    broken.append(f"{name}: classic fails in {classic.any_false:.3f} only: it is not classic")
            continue
        if guarded.cover < LEAST_COVER:
            broken.append(f"{name}: intervals cover {guarded.cover:.3f}, below {LEAST_COVER}")
        if guarded.all_cover < LEAST_ALL:
            broken.append(
                f"{name}: all intervals of a city cover in {guarded.all_cover:.3f}, below {LEAST_ALL}"
            )
        plain = world["n_factors"] == 6 and not world["is_ellipse"]
        if plain and guarded.true_found < LEAST_FOUND[world["noise"]]:
            broken.append(
                f"{name}: {guarded.true_found:.2f} true factors found, below {LEAST_FOUND[world['noise']]}"
            )
    return broken


def render(studies: Mapping[str, Study], broken: list[str]) -> str:
    """Return the page."""
    verdict = "**Every promise is kept.**" if not broken else f"**Broken promises: {'; '.join(broken)}.**"
    plain = [f"{truth} {noise}" for truth in ("null", "alt") for noise in NOISES]
    gradient = [name for name in studies if studies[name]["world"]["gradient"]]
    order = ("no exposure", "stand-in for exposure", "true exposure")
    gradient.sort(key=lambda name: (name.startswith("alt"), order.index(name.split(", ")[1])))
    other = [name for name in studies if studies[name]["world"]["is_ellipse"]]
    many = [name for name in studies if studies[name]["world"]["n_factors"] > 6]
    return TEMPLATE.format(
        verdict=verdict,
        errors=_errors(studies, plain),
        intervals=_intervals(studies, [name for name in plain if name.startswith("alt")]),
        columns=_columns(studies, [name for name in plain if name.startswith("alt")]),
        p_values=_p_values(studies, plain + other),
        gradient=_errors(studies, gradient),
        ellipse=_errors(studies, other),
        many=_errors(studies, many)
        + "\n\n"
        + _intervals(studies, [name for name in many if name.startswith("alt")]),
        seeds=", ".join(f"{name} {one['world']['first_seed']:,}" for name, one in sorted(studies.items())),
        made=made_by("make truth"),
        most_false=MOST_FALSE,
        cover=f"{100 * LEAST_COVER:.0f} %",
        all=f"{100 * LEAST_ALL:.0f} %",
    )


def _each(studies: Mapping[str, Study], names: list[str]) -> list[tuple[str, str, Figures]]:
    found = []
    for name in names:
        if name in studies:
            methods = studies[name]["world"]["methods"]
            found += [(name, method, Figures(studies[name], method)) for method in methods]
    return found


def _errors(studies: Mapping[str, Study], names: list[str]) -> str:
    rows = []
    for name, method, one in _each(studies, names):
        low, high = wilson(one.n_with_false, one.n)
        found = f"{one.true_found:.2f} of 3" if one.world["truth"] == "alt" else "-"
        undecided = "-" if method == "classic" else f"{100 * one.undecided:.1f} %"
        rows.append(
            [name, method, str(one.n), f"{one.any_false:.3f} [{low:.3f}, {high:.3f}]", found, undecided]
        )
    return table(
        [
            "world",
            "method",
            "cities",
            "P(any false factor), 95 % interval",
            "true factors found",
            "not decided",
        ],
        rows,
    )


def _intervals(studies: Mapping[str, Study], names: list[str]) -> str:
    rows = [
        [
            name, method, f"{100 * one.cover:.1f} %", f"{100 * one.all_cover:.1f} %", f"{one.width:.2f}",
            f"{one.rmse:.3f}", f"{one.bias:+.3f}", "1" if method == "classic" else f"{one.inflation:.2f}",
        ]
        for name, method, one in _each(studies, names)
    ]  # fmt: skip
    heads = [
        "world", "method", "intervals that hold the truth", "cities in which all do", "median width of log RRV",
        "RMSE of log RRV", "bias", "width against the naive interval",
    ]  # fmt: skip
    return table(heads, rows)


def _columns(studies: Mapping[str, Study], names: list[str]) -> str:
    rows = []
    for name, method, one in _each(studies, names):
        inside = "-" if method == "classic" else f"{100 * one.in_extents:.1f} %"
        rows.append([name, method, f"{100 * one.exact:.1f} %", inside])
    return table(
        ["world", "method", "right kind and distance, of true factors found", "in the extent set"], rows
    )


def _p_values(studies: Mapping[str, Study], names: list[str]) -> str:
    rows = [
        [
            name, str(one.n_p), f"{one.p_below[0.05]:.3f}", f"{one.p_below[0.01]:.3f}", f"{one.ks:.3f}",
            f"{one.effective[1]:.0f} ({one.effective[0]:.0f})",
        ]
        for name, method, one in _each(studies, names)
        if method == "guarded"
    ]  # fmt: skip
    heads = [
        "world", "unreal factors", "p at most .05", "p at most .01", "distance from uniform (KS)",
        "independent shifts: median (lowest tenth)",
    ]  # fmt: skip
    return table(heads, rows)


TEMPLATE = """# Known truth: do the weights hold what they promise?

Claims about weights can only be tested where the truth is known. So cities are simulated, thousands of them, and both
methods are fitted to the same ones. {verdict}

A city has 60 x 60 cells, about 1,000 incidents and six clustered factors, each with six candidate columns (proximity and
density within 2, 4 and 6 cells). In *alt* three factors are real (proximity 4 cells with RRV 2, proximity 2 cells with
RRV 3, density 4 cells with RRV 2) and three are not; in *null* none is. Noise: *P*, incidents are independent (Poisson);
*L1* and *L2*, risk also varies in patches that no factor explains (log-Gaussian, variance .5 and range 4 cells; variance 1
and range 6 cells). Real cities are patchy.

## Are factors invented, and are real ones found?

Promised of `guarded`: at most {most_false} of cities with any false factor.

{errors}

Read: where risk is patchy, `classic` invents a factor in most cities, and no figure it prints shows it. `guarded` keeps its
error rate in all of them. The price is paid where patches are strong: some real factors are not told from chance. That is
what such data can say.

## Do the intervals hold the truth?

The truth is the weight that the chosen columns would have with no noise and no end of incidents (the projection of the mean
on them). Promised of `guarded`: {cover} of intervals, and all intervals of a city together in {all} of cities.

{intervals}

## Are kind and distance right?

{columns}

The extent set holds the columns that are not told from the best. It is given beside the best because a single distance,
to the foot, claims more than the data know.

## Are the shift p-values uniform?

Of factors that are not real, before the correction for many factors. Bounds: .08 at .05, .025 at .01, distance .06.

{p_values}

## Other maps

The same on an ellipse of 2,073 cells, where factors also lie beyond the boundary:

{ellipse}

With twenty candidate factors instead of six:

{many}

The step-down maximum over joint shifts was compared with Holm's correction of the single p-values while the method was
developed (other seeds, 40 to 60 cities): the same error rates, and 0 to .05 more true factors found of three. It needs 20
independent shifts where Holm needs 20 for every candidate factor, and so decides on smaller maps; it is used for any number
of factors.

## Where factors and crime share a busy centre

Here factors and incidents are both several times denser in the centre (by a factor of about 12) and otherwise independent, so
that every factor marks places with more incidents without causing one. *True exposure*: the fit is told how busy each place
is. *Stand-in*: it is told the density of all points of interest (kernel of 15 cells) as a covariate.

{gradient}

Read: told nothing, `classic` invents factors in nearly every city. `guarded` sees the centre as one large patch of risk, which
repairs most of it, and not all. Told how busy places are, both hold. A stand-in made of the factors' own points repairs
`guarded` too; its cost is that a factor's own effect is partly taken for how busy a place is. So give an exposure where
there is one; where there is none every result says "not adjusted for how busy places are", and that sentence is meant.

## What these figures are not

One size of city, one number of incidents, one law of clusters, positive effects only. A weight that is right in this sense is
still an association. A factor that is not measured, and lies where measured ones lie, is part of their weights.

{made} First seeds: {seeds}. They were fixed before the study was run; the method was developed on cities of other seeds.
"""
