"""Real cities: forecasts of incidents that were held out, beside everything they have to beat.

    RTMKC_DATA=/path/to/data python benchmarks/validation_real.py [case ...]

Writes docs/reference/validation.md, one section a case; a case that is not asked for keeps its section. Tables go to
real-results/validation/<case>. Exit status 1 if an acceptance fails.
"""

import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from validation_page import accepted, costs, section, write_cases

import rtmkc as rtm
from rtmkc.evidence.validation import Validation, validate
from rtmkc.workflow.study import Study

HERE = Path(__file__).resolve().parent
OUTPUT = HERE.parent / "real-results" / "validation"


@dataclass(frozen=True, eq=False)
class City:
    """What the study of a city reads."""

    grid: rtm.Grid
    factors: list[rtm.RiskFactor]
    incidents: rtm.Layer
    exposure: rtm.Exposure | None


def city(study: str, data: Path) -> City:
    """Read the study of a city as `rtmkc run` does."""
    loaded = Study.from_file(HERE / "studies" / f"{study}.toml", data=data)
    incidents = loaded.read("incidents")
    assert incidents is not None
    return City(loaded.grid(), loaded.risk_factors(), incidents, loaded.measured_exposure())


def assaults(data: Path) -> rtm.Layer:
    """Read eight years of aggravated assaults, of which the study takes one."""
    file = data / "chicago" / "aggravated_assaults_2010_2017.parquet"
    return rtm.read_layer(file, name="assaults", date="date", period="2010/2017", provenance="policing")


Case = Callable[[Path, Callable[[str, int, int], None]], Validation]


def kansas_city(data: Path, progress: Callable[[str, int, int], None]) -> Validation:
    """January to September against October to December 2017."""
    found = city("kansas_city_2017", data)
    return validate(
        found.grid, found.factors, found.incidents, exposure=found.exposure, train="2017-01/2017-09",
        test="2017-10/2017-12", progress=progress,
    )  # fmt: skip


def burglary_halves(data: Path, progress: Callable[[str, int, int], None]) -> Validation:
    """Random halves of the burglaries of 2017, which have no dates."""
    found = city("chicago_burglaries_2017", data)
    return validate(found.grid, found.factors, found.incidents, allow_later_factors=True, progress=progress)


def burglary_districts(data: Path, progress: Callable[[str, int, int], None]) -> Validation:
    """One police district after the other left out."""
    found = city("chicago_burglaries_2017", data)
    districts = rtm.read_layer(data / "chicago" / "policeDistricts.parquet", name="police districts")
    return validate(
        found.grid, found.factors, found.incidents, by=districts, allow_later_factors=True, progress=progress
    )


def assaults_time_safe(data: Path, progress: Callable[[str, int, int], None]) -> Validation:
    """2010 to 2016 against 2017, with layers that are no reports of 2017."""
    found = city("chicago_assaults_2017", data)
    # The study states 2017 for the licences, which would make them later than the test; they are undated.
    liquor = rtm.read_layer(
        data / "chicago" / "liquorRetail.parquet", name="liquor retail", provenance="environment"
    )
    stations = rtm.read_layer(
        data / "chicago" / "cta_rail_stations.parquet", name="rail stations", provenance="environment"
    )
    factors = [rtm.RiskFactor("liquor retail", liquor), rtm.RiskFactor("rail stations", stations)]
    return validate(found.grid, factors, assaults(data), train="2010/2016", test="2017", progress=progress)


def assaults_contemporaneous(data: Path, progress: Callable[[str, int, int], None]) -> Validation:
    """2010 to 2016 against 2017, with the reports of 2017 too."""
    found = city("chicago_assaults_2017", data)
    return validate(
        found.grid, found.factors, assaults(data), train="2010/2016", test="2017", allow_later_factors=True,
        progress=progress,
    )  # fmt: skip


CASES: dict[str, Case] = {
    "kansas-city": kansas_city,
    "burglary-halves": burglary_halves,
    "burglary-districts": burglary_districts,
    "assaults-time-safe": assaults_time_safe,
    "assaults-contemporaneous": assaults_contemporaneous,
}


def run(name: str, data: Path) -> list[str]:
    """Run one case, write its tables and its section; return what is not accepted."""
    before, started = _processor_seconds(), time.perf_counter()

    def progress(what: str, done: int, total: int) -> None:
        print(
            f"{name}: {what}, {done} of {total}, {time.perf_counter() - started:.0f} s",
            file=sys.stderr,
            flush=True,
        )

    found = CASES[name](data, progress)
    wall, processor = time.perf_counter() - started, _processor_seconds() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    cost = (
        f"{wall:.0f} s by the clock on {os.cpu_count()} cores, {processor:.0f} s of processor time, {peak:.1f} GB; by the "
        f"clock: {costs(found.seconds)}."
    )
    OUTPUT.mkdir(parents=True, exist_ok=True)
    found.save(OUTPUT / name, overwrite=True)
    print(found, cost, sep="\n\n", flush=True)
    write_cases({name: section(name, found, cost)})
    return [f"{name}: {what}" for what, holds in accepted(found) if not holds]


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(names: list[str]) -> int:
    """Run the cases asked for, or all, and return the exit status."""
    data = os.environ.get("RTMKC_DATA")
    if not data:
        print(
            "RTMKC_DATA is not set: validations of real cities are skipped. Set it to the folder of the data."
        )
        return 0
    unknown = sorted(set(names) - set(CASES))
    if unknown:
        print(f"Invalid case {unknown[0]!r}. Known are: {', '.join(CASES)}.", file=sys.stderr)
        return 2
    failed = [one for name in names or CASES for one in run(name, Path(data))]
    for one in failed:
        print(f"not accepted: {one}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
