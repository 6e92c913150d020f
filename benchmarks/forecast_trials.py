"""What was tried for the forecast, on incidents held out in time, and what was kept.

    RTMKC_DATA=/path/to/data python benchmarks/forecast_trials.py

Everything is developed on Chicago (assaults of 2017 from those before; burglaries by random halves) and confirmed on
Kansas City (the last quarter of 2017 from those before). Writes docs/reference/forecast-trials.md; no seed but the
ones it names.
"""

import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from forecast_trials_page import TEMPLATE
from page import made_by, table

import rtmkc as rtm
from rtmkc.engine.path import PathFit, fit_path
from rtmkc.engine.sweeps import Design
from rtmkc.evidence.statistics.metrics import nats
from rtmkc.inputs.layers import Layer
from rtmkc.model.folds import block_folds
from rtmkc.model.history.ages import split_halves, whole_past
from rtmkc.model.history.fit import (
    FIRST_DECAY_DAYS,
    FIRST_HOT,
    History,
    Learner,
    Parameters,
    Scales,
    Trial,
    climb,
    fit_history,
)
from rtmkc.model.history.gain import measure_gain
from rtmkc.model.history.intervals import Rates, predictive_interval
from rtmkc.model.observations import Observations
from rtmkc.model.selection import sign_bounds
from rtmkc.raster.candidates import Candidates, build_curves
from rtmkc.raster.exposure import measure_exposure
from rtmkc.storage import write_text
from rtmkc.units import parse_period
from rtmkc.workflow.study import Study

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "forecast-trials.md"
STUDIES = Path(__file__).parent / "studies"
BURGLARY_SEEDS = (100, 101, 102)
CITY_SEEDS = range(6)
DEFAULT = (500.0, 125.0)
OTHER_WIDTHS = ((1000.0, 250.0), (1000.0, 250.0, 75.0))
PUBLISHED = {"2016": 0.830, "2015/2016": 0.890, "2014/2016": 0.920, "2011/2016": 0.955}
PUBLISHED_AGED = 0.959
QUARTERS = ("2017-01/2017-03", "2017-04/2017-06", "2017-07/2017-09", "2017-10/2017-12")


# ---- cities, and what a model makes of them ----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class City:
    """Incidents on a grid, and the curves of its factors."""

    name: str
    grid: rtm.Grid
    incidents: Layer
    cells: np.ndarray
    curves: Candidates

    def between(self, period: str, only: np.ndarray | None = None) -> Observations:
        """Return the incidents of a period."""
        kept = parse_period(period).contains(self.incidents.dates)
        return self.rows(kept if only is None else kept & only, period)

    def rows(self, kept: np.ndarray, period: str) -> Observations:
        """Return some rows, as incidents of a period."""
        layer, cells = self.incidents.keep(kept, "of another part"), self.cells[kept]
        counts = np.bincount(cells, minlength=self.grid.n_cells)
        exposure = measure_exposure(self.grid, None)
        return Observations(self.grid, layer, cells, counts, parse_period(period), exposure)

    @cached_property
    def folds(self) -> np.ndarray:
        """Square blocks of 1.5 km, as `RiskForecast` has them."""
        return block_folds(self.grid, 1500.0, 5, 0)

    @cached_property
    def design(self) -> Design:
        """The columns of the curves."""
        return Design(self.curves.codes, self.curves.tables)

    def path(self, counts: np.ndarray, log_known: np.ndarray | None = None, **options: object) -> PathFit:
        """Return the penalty path of the curves, given what is known already."""
        lower, upper = sign_bounds(self.curves)
        offset = np.log(self.grid.share) + (0.0 if log_known is None else log_known)
        choice = {"folds": self.folds, "n_lambdas": 30} | options
        return fit_path(
            self.design,
            counts.astype(float),
            offset=offset,
            l1_ratio=0.05,
            lower=lower,
            upper=upper,
            **choice,
        )

    def environment(self, path: PathFit, number: int | None = None) -> np.ndarray:
        """Return the surface of the chosen curves."""
        chosen = path.best if number is None else number
        return np.exp(path.intercepts[chosen] + self.design.linear(path.coefs[chosen])) * self.grid.share

    def base(self, counts: np.ndarray, log_known: np.ndarray | None = None) -> np.ndarray:
        """Return the environment of some counts."""
        return self.environment(self.path(counts, log_known))

    def history(self, base: np.ndarray, seen: Observations, widths: Sequence[float] = DEFAULT) -> History:
        """Return a base with its history, as `RiskForecast` fits it."""
        lessons = split_halves(seen, 0)
        return fit_history(self.grid, base, whole_past(seen), lessons, weight=self.grid.share, widths=widths)

    def score(self, surface: np.ndarray, later: np.ndarray) -> float:
        """Return nats per incident."""
        return nats(surface, later, self.grid.share)

    def learned(self, history: History, seen: Observations) -> float:
        """Return nats per incident over the parts of the training period that were predicted from others."""
        futures = [lesson.future for lesson in split_halves(seen, 0)]
        uniform = np.log(self.grid.share / self.grid.share.sum())
        return float(
            (history.log_likelihood - sum(one @ uniform for one in futures)) / sum(map(np.sum, futures))
        )


def chicago(folder: Path, cell_size: float, *, burglaries: bool = False) -> City:
    """Assaults 2010 to 2017, or the burglaries of 2017, and four layers of factors within 3 km."""
    study = STUDIES / f"chicago_{'burglaries' if burglaries else 'assaults'}_2017.toml"
    loaded = Study.from_file(study, data=folder)
    grid = rtm.Grid.cover(loaded.area(), block_length=2 * cell_size)
    file = "burglaries17" if burglaries else "aggravated_assaults_2010_2017"
    layer = rtm.read_layer(folder / "chicago" / f"{file}.parquet", date=None if burglaries else "date")
    factors = [replace(one, max_influence=3000.0) for one in loaded.risk_factors()]
    return City(f"Chicago {cell_size:g} m", grid, *grid.place(layer), build_curves(grid, factors))


def kansas_city(folder: Path, cell_size: float) -> City:
    """Violence of 2017 and the six factors of the study."""
    loaded = Study.from_file(STUDIES / "kansas_city_2017.toml", data=folder)
    grid = rtm.Grid.cover(loaded.area(), block_length=2 * cell_size)
    factors = [replace(one, max_influence=450.0) for one in loaded.risk_factors()]
    name = f"Kansas City {cell_size:g} m"
    return City(name, grid, *grid.place(loaded.read("incidents")), build_curves(grid, factors))


# ---- trials ------------------------------------------------------------------------------------------------------


def windows(city: City, later: np.ndarray) -> str:
    """One to six years of past incidents: the plain recipe, ages, hot cells, and history alone."""
    rows = []
    for period, published in PUBLISHED.items():
        seen = city.between(period)
        base, lessons = city.base(seen.counts), split_halves(seen, 0)
        scales = Scales(city.grid, base, city.grid.share, (*DEFAULT, 0.0))
        trial, learner = Trial(scales, lessons.lessons), Learner(scales, whole_past(seen))
        plain = climb(trial, Parameters(1.0, (math.e,) * 3), is_flat=False)
        steps = {"plain": plain}
        aged = plain
        if lessons.has_ages:
            aged = steps["aged"] = climb(trial, replace(plain, decay_days=FIRST_DECAY_DAYS), is_flat=False)
        steps["hot"] = climb(trial, replace(aged, hot=FIRST_HOT), is_flat=False)
        found = {name: city.score(learner.stages(one)[0][-1], later) for name, one in steps.items()}
        gained = trial.log_likelihood(steps["hot"]) - trial.log_likelihood(aged)
        alone = city.score(city.history(city.grid.share, seen).expected, later)
        note = f" ({PUBLISHED_AGED:.3f} with ages)" if period == "2011/2016" else ""
        age = f"{found['aged']:.4f} (tau {aged.decay_days / 365.25:.1f} y)" if lessons.has_ages else "-"
        rows.append(
            [period, f"{published:.3f}{note}", f"{found['plain']:.4f}", age, f"{found['hot']:.4f}", f"{gained:.0f}",
             f"{plain.tempering:.2f}, {steps['hot'].tempering:.2f}", f"{alone:.4f}"]
        )  # fmt: skip
    heads = ["past", "published", "plain", "with ages", "and hot cells", "training log likelihood of hot cells",
             "tempering without, with hot cells", "history alone"]  # fmt: skip
    return table(heads, rows)


def widths(worlds: Sequence[tuple[City, Observations]]) -> str:
    """Kernel widths by training data only."""
    rows = []
    for city, seen in worlds:
        base, size = city.base(seen.counts), city.grid.cell_size
        tried = [(4 * size, size), DEFAULT, *OTHER_WIDTHS]
        scores = [city.learned(city.history(base, seen, one), seen) for one in tried]
        rows.append([f"{city.name}, {seen.period}", *(f"{score:.4f}" for score in scores)])
        say(rows[-1])
    heads = [
        "training data",
        "4 cells, 1 cell",
        *(", ".join(f"{width:,.0f} m" for width in one) for one in tried[1:]),
    ]
    return table(heads, rows)


def halved(coarse: City, fine: City, later: np.ndarray) -> str:
    """The forecast of 62.5 m cells summed to 125 m cells, against that of 125 m cells."""
    place = coarse.grid.locate(fine.grid.eastings, fine.grid.northings)
    rows = []
    for name, of_size in (
        ("4 cells, 1 cell", lambda size: (4 * size, size)),
        ("500 m, 125 m", lambda _: DEFAULT),
    ):
        surfaces = []
        for city in (coarse, fine):
            seen = city.between("2016")
            surfaces.append(city.history(city.base(seen.counts), seen, of_size(city.grid.cell_size)).expected)
        kept = place >= 0
        summed = np.bincount(place[kept], weights=surfaces[1][kept], minlength=coarse.grid.n_cells)
        summed = np.maximum(summed, summed[summed > 0].min())
        alike = np.corrcoef(surfaces[0], summed)[0, 1]
        scores = [f"{coarse.score(one, later):.4f}" for one in (surfaces[0], summed)]
        rows.append([name, *scores, f"{alike:.3f}"])
    return table(["widths", "125 m cells", "62.5 m cells, summed", "correlation"], rows)


def bases(city: City) -> str:
    """Tempering and strengths fitted on a base that saw the incidents, and on bases that did not."""
    rows = []
    for seed in BURGLARY_SEEDS:
        coin = (np.random.default_rng(seed).random(6876) < 0.5)[city.incidents.frame.index.to_numpy()]
        seen, later = city.rows(coin, "2017"), city.rows(~coin, "2017").counts
        path = city.path(seen.counts)
        base, penalty = city.environment(path), path.lambdas[path.best : path.best + 1]
        apart = np.empty_like(base)
        for fold in range(city.folds.max() + 1):
            held = city.folds == fold
            own = city.path(seen.counts * ~held, lambdas=penalty, folds=None, weights=(~held).astype(float))
            apart[held] = city.environment(own, 0)[held]
        fits = [city.history(one, seen) for one in (base, apart)]
        learner = Learner(Scales(city.grid, base, city.grid.share, (*DEFAULT, 0.0)), whole_past(seen))
        scores = [
            fits[0].expected,
            learner.stages(fits[1].parameters)[0][-1],
            fits[1].expected,
        ]
        rows.append([str(seed), *(f"{city.score(one, later):.4f}" for one in scores)])
    heads = ["seed", "base of all", "parameters from the base out of fold", "everything out of fold"]
    return table(heads, rows)


def curves_given_history(city: City, later: np.ndarray) -> str:
    """Curves fitted again with history as offset, or to counts weighted by age."""
    rows = []
    for period in ("2016", "2011/2016"):
        seen = city.between(period)
        first = city.history(city.base(seen.counts), seen)
        known = np.log(first.multipliers[0])
        again = city.history(city.base(seen.counts, known), seen)
        weighted = city.history(city.base(first.counts), seen) if period != "2016" else None
        scores = [city.score(one.expected, later) if one else None for one in (first, again, weighted)]
        rows.append([period, *("-" if score is None else f"{score:.4f}" for score in scores)])
    heads = ["past", "as fitted", "curves fitted again given area history", "curves of weighted counts"]
    return table(heads, rows)


def clock(city: City) -> str:
    """One surface for every hour, against surfaces of their own for parts of the day and the week."""
    dates = city.incidents.dates
    parts = {
        "six-hour bands": dates.dt.hour.to_numpy() // 6,
        "weekend": (dates.dt.day_of_week >= 5).to_numpy(int),
    }
    seen = city.between("2016")
    whole = city.history(city.base(seen.counts), seen).expected
    whole = whole / whole.sum()
    rows = []
    for name, part in parts.items():
        change = np.zeros(2)
        for number in range(part.max() + 1):
            mine = city.between("2016", part == number)
            own = city.history(city.base(mine.counts), mine).expected
            own = own / own.sum()
            later = city.between("2017", part == number).counts
            for column, surface in enumerate((own, (own + whole) / 2)):
                change[column] += later @ np.log(surface / whole)
        total = city.between("2017").n_incidents
        rows.append([name, *(f"{one / total:+.4f}" for one in change)])
    return table(["parts", "surfaces of their own", "half own, half common"], rows)


def with_exposure(city: City, folder: Path, seen: Observations) -> str:
    """Parcels as exposure of the forecast, by training data only."""
    loaded = Study.from_file(STUDIES / "kansas_city_2017.toml", data=folder)
    exposure = measure_exposure(city.grid, loaded.measured_exposure()).values
    plain = city.history(city.base(seen.counts), seen)
    exposed = city.history(city.base(seen.counts, np.log(exposure)) * exposure, seen)
    scores = [city.learned(one, seen) for one in (plain, exposed)]
    return (
        f"{city.name}, {seen.period}: {scores[0]:.4f} nats without exposure, {scores[1]:.4f} with the density of parcels as "
        "exposure (parts of the training period predicted from others)."
    )


def levels(city: City) -> str:
    """A year's number from the years before it."""
    totals = {year: city.between(str(year)).n_incidents for year in range(2010, 2018)}
    rules: dict[str, Callable[[int], float]] = {
        "the last year": lambda year: totals[year - 1],
        "the last two years": lambda year: (totals[year - 1] + totals[year - 2]) / 2,
        "all years": lambda year: float(np.mean([totals[one] for one in range(2010, year)])),
        "weights exp(-age / 5 years)": lambda year: float(
            np.average(
                [totals[one] for one in range(2010, year)],
                weights=[math.exp(-(year - one - 0.5) / 5) for one in range(2010, year)],
            )
        ),
    }
    errors = {
        name: np.mean([abs(rule(year) / totals[year] - 1) for year in range(2012, 2018)])
        for name, rule in rules.items()
    }
    rows = [[name, f"{100 * error:.1f} %"] for name, error in errors.items()]
    return table(["level of the next year", "mean error, 2012 to 2017"], rows)


# ---- the whole model ---------------------------------------------------------------------------------------------


def coverage(rates: Rates, drift: float, later: np.ndarray) -> list[str]:
    """Coverage % of 90 % intervals in all cells and the top 10, 2 and .5 %: without drift / with it (aimed at)."""
    widened = rates.widened(drift)
    mean = (rates.chances * rates.means).sum(axis=0)
    order = np.argsort(-mean, kind="stable")
    rng = np.random.default_rng(0)
    kind = np.minimum((rng.random(mean.size) > widened.chances[0]).astype(int), len(widened.chances) - 1)
    at = (kind, np.arange(mean.size))
    ends = [predictive_interval(one) for one in (rates, widened)]
    drawn = rng.poisson(
        rng.gamma(widened.shapes[at], widened.means[at] / widened.shapes[at], (20, mean.size))
    )
    aimed = ((drawn >= ends[1][0]) & (drawn <= ends[1][1])).mean(axis=0)
    cells = []
    for share in (1.0, 0.1, 0.02, 0.005):
        top = order[: round(share * mean.size)]
        covered = [100 * ((later >= low) & (later <= high))[top].mean() for low, high in ends]
        cells.append(f"{covered[0]:.1f} / {covered[1]:.1f} ({100 * aimed[top].mean():.1f})")
    return cells


def intervals(where: rtm.RiskForecast, city: City, later: Sequence[str]) -> list[list[str]]:
    """Coverage in periods that come later."""
    rows = []
    for period in later:
        observed = city.between(period)
        total = float(where.expected_.sum()) * observed.period.days / where.horizon_days_
        rates = where.history_.rates(total)
        bare = replace(where.history_, drift=0.0).rates(total)
        assert np.allclose(rates.means, bare.means)
        sums = f"{total:,.0f} / {observed.n_incidents:,}"
        drift = where.history_.drift
        learned = str(where.observations_.period)
        rows.append([city.name, learned, period, sums, f"{drift:g}", *coverage(bare, drift, observed.counts)])
    return rows


def simulated_intervals() -> list[str]:
    """Coverage in simulated cities: new counts of 90 days from the true intensity."""
    found = []
    for seed in CITY_SEEDS:
        city = rtm.simulate_city(
            random_state=seed, n_incidents=1500, noise_variance=0.5, active="alt", period="2021/2022"
        )
        where = rtm.RiskForecast().fit(city.grid, city.risk_factors(), city.incidents)
        later = np.random.default_rng(1000 + seed).poisson(city.intensity * 90 / 730, (20, city.grid.n_cells))
        covered = (later >= where.lower_) & (later <= where.upper_)
        order = np.argsort(-where.expected_)
        found.append(
            [covered[:, order[: round(share * order.size)]].mean() for share in (1.0, 0.1, 0.02, 0.005)]
        )
    return [f"{100 * one:.1f}" for one in np.mean(found, axis=0)]


def gains(where: rtm.RiskForecast, city: City, later: np.ndarray) -> list[str]:
    """What the fit says of the factors, and what later incidents say."""
    alone = city.history(city.grid.share, where.observations_).expected
    shown = measure_gain(city.grid, where.expected_, alone, later, block=1500.0, by_time=True, seed=0)
    told = where.gain_over_history_
    return [city.name, str(where.observations_.period),
            *(f"{one.nats:+.3f} ({one.lower:+.3f} to {one.upper:+.3f})" for one in (told, shown))]  # fmt: skip


def fit(city: City, seen: Observations) -> tuple[rtm.RiskForecast, float]:
    """Fit the whole model; return it with the seconds of processor time."""
    started = time.process_time()
    where = rtm.RiskForecast().fit(city.grid, city.curves, seen, allow_later_factors=True)
    return where, time.process_time() - started


def confirmed(city: City, where: rtm.RiskForecast, later: np.ndarray) -> str:
    """The recipe before and after, on incidents that nothing was chosen by."""
    seen, size = where.observations_, city.grid.cell_size
    base = city.base(seen.counts)
    lessons = split_halves(seen, 0)
    scores = []
    for widths_m in ((4 * size, size, 0.0), (*DEFAULT, 0.0)):
        scales = Scales(city.grid, base, city.grid.share, widths_m)
        plain = climb(Trial(scales, lessons.lessons), Parameters(1.0, (math.e,) * 3), is_flat=False)
        scores.append(city.score(Learner(scales, whole_past(seen)).stages(plain)[0][-1], later))
    alone = city.history(city.grid.share, seen).expected
    scores += [city.score(where.expected_, later), city.score(alone, later)]
    heads = ["plain, 4 cells and 1 cell", "plain, 500 m and 125 m", "with hot cells (kept)", "history alone"]
    return table(heads, [[f"{score:.3f}" for score in scores]])


def say(what: object) -> None:
    """Report progress."""
    print(what, file=sys.stderr, flush=True)


def main() -> int:
    """Run every trial and write the page."""
    root = os.environ.get("RTMKC_DATA")
    if not root:
        print("RTMKC_DATA is not set: the trials need the folder of the real data and were skipped.")
        return 0
    folder = Path(root)
    city, fine = chicago(folder, 125.0), chicago(folder, 62.5)
    kansas, coarse = kansas_city(folder, 75.0), kansas_city(folder, 150.0)
    later, before = city.between("2017").counts, "2017-01/2017-09"
    parts: dict[str, str] = {}

    def step(name: str, result: str) -> None:
        parts[name] = result
        say(f"{name}\n{result}\n")

    step("windows", windows(city, later))
    step("levels", levels(city))
    step("halved", halved(city, fine, later))
    step("bases", bases(chicago(folder, 125.0, burglaries=True)))
    step("curves", curves_given_history(city, later))
    step("clock", clock(city))
    worlds = [(city, city.between("2016")), (city, city.between("2011/2016")), (fine, fine.between("2016"))]
    worlds += [(kansas, kansas.between(before)), (coarse, coarse.between(before))]
    step("widths", widths(worlds))
    step("exposure", with_exposure(kansas, folder, kansas.between(before)))
    year, year_seconds = fit(city, city.between("2016"))
    years, years_seconds = fit(city, city.between("2011/2016"))
    months, months_seconds = fit(kansas, kansas.between(before))
    held = kansas.between(QUARTERS[-1]).counts
    step("gains", table(["city", "learned from", "told by the fit", "shown later"],
         [gains(year, city, later), gains(years, city, later), gains(months, kansas, held)]))  # fmt: skip
    rows = intervals(year, city, (*QUARTERS, "2017")) + intervals(years, city, (*QUARTERS, "2017"))
    rows += intervals(months, kansas, QUARTERS[-1:])
    rows.append(["six simulated cities", "two years", "90 days", "-", "fitted", *simulated_intervals()])
    heads = [
        "city",
        "learned from",
        "period",
        "expected / observed",
        "drift",
        "all cells",
        "top 10 %",
        "top 2 %",
        "top .5 %",
    ]
    step("intervals", table(heads, rows))
    step("confirmed", confirmed(kansas, months, held))
    parts["seconds"] = (
        f"Kansas City {kansas.grid.n_cells:,} cells {months_seconds:.0f} s, Chicago {city.grid.n_cells:,} cells one year "
        f"{year_seconds:.0f} s, six years {years_seconds:.0f} s"
    )
    parts["made"] = made_by("RTMKC_DATA=... python benchmarks/forecast_trials.py")
    write_text(PAGE, TEMPLATE.format(**parts), overwrite=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
