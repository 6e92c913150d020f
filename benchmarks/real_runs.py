"""Run the studies of real cities and write what came out to docs/reference/real-runs.md.

    RTMKC_DATA=... python benchmarks/real_runs.py

Results go to real-results/<study>. Without RTMKC_DATA nothing is run, and that is said.
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

import rtmkc as rtm
from rtmkc.workflow.study import Study

HERE = Path(__file__).parent
ROOT = HERE.parent
PAGE = ROOT / "docs" / "reference" / "real-runs.md"
STUDIES = ("kansas_city_2017", "chicago_burglaries_2017", "chicago_assaults_2017")

INTRODUCTION = """# Real runs

Three studies of two cities, as `make real` runs them (`RTMKC_DATA` names the folder of the data, which is not part of the project).
This page is written by `python benchmarks/real_runs.py`; times are of one run on a machine with two cores, compilation cached.

Weights are `guarded`: they compare a place with its surroundings, their intervals allow for patches of risk that no factor explains, and a factor
may be in the model although its interval includes 1 (that it matters is clearer than how much). Expected incidents come from curves of the same factors times local
history; a share of *expected* incidents says how concentrated the forecast is, not how well it will do.
"""

NOTES = {
    "kansas_city_2017": """Violent incidents are aggravated assaults (also domestic and drive-by), robberies and homicides; the file has one
row a person, and rows of equal date, hour, crime and place are one incident. "Vacant lots" are land, not houses. Exposure is the density of
parcels: 27 % of 75 m cells have no parcel within 150 m, and 0.4 % of the violence. It adjusts the weights; without it "near vacant lots" is
mostly another word for "in the built-up city", and with it that factor is gone. The forecast does not use exposure: on held-out incidents
it gains nothing here (see the design page). Corridors are seams of the grid, as the city's street layer is not at hand.
""",
    "chicago_burglaries_2017": """The factor layers are reports of the same year without dates: the run is marked "contemporaneous, not a
forecast". Coordinate duplicates were removed from the incidents by their publisher, which understates repeats.
""",
    "chicago_assaults_2017": """Coordinates are rounded to four decimals, so many incidents share a point. The factors are the same
contemporaneous layers. Nearly every incident lies within 375 m of a street light reported out: that weight says "in the built-up city" more
than "in the dark", and no exposure layer is at hand here to take it out.
""",
}


def main() -> int:
    data = os.environ.get("RTMKC_DATA")
    if not data:
        print("RTMKC_DATA is not set: real runs are skipped. Set it to the folder of the data.")
        return 0
    sections = [INTRODUCTION]
    for name in STUDIES:
        sections.append(run_study(name, Path(data)))
    PAGE.write_text("\n".join(sections), encoding="utf-8")
    print(f"written: {PAGE.relative_to(ROOT)}")
    return 0


def run_study(name: str, data: Path) -> str:
    study = HERE / "studies" / f"{name}.toml"
    output = ROOT / "real-results" / name
    output.parent.mkdir(exist_ok=True)
    command = [
        "rtmkc",
        "run",
        f"benchmarks/studies/{name}.toml",
        "--data",
        "$RTMKC_DATA",
        "-o",
        f"real-results/{name}",
    ]
    executable = [
        sys.executable,
        "-m",
        "rtmkc.cli",
        "run",
        str(study),
        "--data",
        str(data),
        "-o",
        str(output),
    ]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([*executable, "--overwrite", "--quiet"], check=True)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    terrain = rtm.load(output)
    facts = terrain.facts
    without = output / "weights_without_exposure.csv"
    hotspots, corridors = (pd.read_csv(output / f"{table}.csv") for table in ("hotspots", "corridors"))
    parts = [
        f"## {Study.from_file(study).study.name}\n",
        f"```\n{' '.join(command)}\n```\n",
        NOTES[name],
        (
            f"{facts['n_incidents']:,} incidents ({facts['period']}) on {facts['n_cells']:,} cells of {facts['cell_size_m']:.0f} m, "
            f"{facts['crs']}; {facts['timing']}. {seconds:.0f} s wall, {after.ru_utime - before.ru_utime:.0f} s of processor time, "
            f"peak memory of the runs so far {after.ru_maxrss / 1e6:.2f} GB.\n"
        ),
        "What became of the rows of the incident file:\n",
        ledger_table(output),
        "Weights with exposure:\n" if without.exists() else "Weights:\n",
        weights_table(terrain.weights),
    ]
    if without.exists():
        parts += ["Weights without exposure:\n", weights_table(pd.read_csv(without))]
    parts += [
        f"Forecast: tempering of the environment {facts['where']['tempering']:.2f}; strengths of history "
        + ", ".join(
            f"{strength:.2g} at {f'{width:.0f} m' if width else 'the cell itself'}"
            for width, strength in zip(facts["where"]["widths_m"], facts["where"]["strengths"], strict=True)
        )
        + f". {facts['where']['gain']}\n",
        f"Ten first hot spots (cells; expected incidents in {terrain.horizon}, 90 % interval):\n",
        hotspot_table(hotspots.head(10)),
        "Five next corridors:\n",
        corridor_table(corridors),
    ]
    if name == "kansas_city_2017":
        parts.append(check_deciles(terrain, study, data))
    return "\n".join(parts)


def ledger_table(output: Path) -> str:
    ledger = json.loads((output / "manifest.json").read_text(encoding="utf-8"))["ledgers"][0]
    rows = [("read", ledger["read"]), ("used", ledger["used"])]
    rows += [(f"merged: {reason}", number) for reason, number in ledger["merged"].items()]
    rows += [(f"dropped: {reason}", number) for reason, number in ledger["dropped"].items()]
    assert ledger["read"] == sum(number for _, number in rows[1:])
    return markdown(["rows", "number"], [[what, f"{number:,}"] for what, number in rows])


def weights_table(weights: pd.DataFrame) -> str:
    rows = []
    for _, row in weights.iterrows():
        if row["status"] == "in the model":
            reach = f"{row['kind']} within {row['influence_m']:.0f} m"
            rows.append(
                [
                    row["factor"],
                    reach,
                    f"{row['rrv']:.2f}",
                    f"{row['lower']:.2f} - {row['upper']:.2f}",
                    f"{row['n_inside']:,.0f}",
                ]
            )
        else:
            rows.append([row["factor"], row["reason"], "-", "-", "-"])
    return markdown(["factor", "acts as", "RRV", "95 % (too narrow)", "incidents inside"], rows)


def hotspot_table(hotspots: pd.DataFrame) -> str:
    rows = [
        [
            row["rank"],
            row["name"],
            f"{row['latitude']:.5f}, {row['longitude']:.5f}",
            f"{row['expected']:.2f} ({row['lower']:.0f}-{row['upper']:.0f})",
            row["count"],
            row["why"],
        ]
        for _, row in hotspots.iterrows()
    ]
    return markdown(
        ["rank", "neighbourhood", "latitude, longitude", "expected", "in the data", "why here"], rows
    )


def corridor_table(corridors: pd.DataFrame) -> str:
    rows = [
        [
            row["rank"],
            row["name"],
            f"{row['from_street']} to {row['to_street']}",
            f"{row['length_m']:,.0f} m",
            f"{row['expected']:.1f}",
            f"{row['incidents']:.0f}",
        ]
        for _, row in corridors.iterrows()
    ]
    return markdown(
        ["rank", "through", "from - to (latitude, longitude)", "length", "expected", "in the data"], rows
    )


def check_deciles(terrain: rtm.RiskTerrain, study: Path, data: Path) -> str:
    """How many of the first hot spots touch the tenth of the neighbourhoods with most violence."""
    loaded = Study.from_file(study, data=data)
    areas = loaded.read("names").to_crs(terrain.grid.crs).frame
    placed, _ = terrain.grid.place(loaded.read("incidents"))
    joined = placed.frame.sjoin(areas[["geometry"]], predicate="within")
    counts = (
        joined.groupby("index_right").size().reindex(areas.index, fill_value=0).sort_values(ascending=False)
    )
    worst = areas.loc[counts.index[: round(len(areas) / 10)]]

    def touching(places: pd.DataFrame) -> int:
        return sum(bool(worst.intersects(shape).any()) for shape in places.head(10).geometry)

    cells, whole = terrain.hotspots(count=10), terrain.hotspots(areas=True)
    return (
        f"Of the ten first hot-spot cells {touching(cells)} touch one of the {len(worst)} neighbourhoods (a tenth of {len(areas)}) with the most "
        f"violent incidents; of the ten first contiguous hot-spot areas (2 % of the city) {touching(whole)} do.\n"
    )


def markdown(head: list[str], rows: list[list[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
