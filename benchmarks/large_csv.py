"""Five million incidents in one CSV: how long `read_layer` takes, and how much memory at its peak.

The table is made up here in the layout of Chicago's portal (15 columns, about 0.9 GB), with a known number
of rows without coordinates, at (0, 0), without a readable date and of every offence, so that the ledgers
are checked to the row. Each case runs in a process of its own:

    python benchmarks/large_csv.py [rows]
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

ROWS = 5_000_000
MOST_SECONDS = 60
OFFENCES = ("THEFT", "BATTERY", "CRIMINAL DAMAGE", "ASSAULT", "ROBBERY", "BURGLARY", "MOTOR VEHICLE THEFT")
# Name -> options of read_layer, the rows that must be left (a name in the truth), and the most GB at the peak.
CASES = {
    "all rows, three columns": ({"columns": ["ID", "Primary Type"]}, "good", 2.0),
    "one offence of one year, three columns": (
        {
            "columns": ["ID", "Primary Type"],
            "where": "`Primary Type` == 'ROBBERY'",
            "period": "2021",
            "merge": ["Case Number"],
        },
        "robberies_2021",
        2.0,
    ),
    "violence at night, all columns": (
        {"where": {"Primary Type": ["ROBBERY", "ASSAULT", "BATTERY"]}, "hours": "19-3"},
        "violence_at_night",
        3.0,
    ),
}


def write(path: Path, rows: int) -> dict[str, int]:
    """Write the table block by block; return how many rows each case must leave."""
    random = np.random.default_rng(1)
    truth = dict.fromkeys(("good", "robberies_2021", "violence_at_night"), 0)
    for start in range(0, rows, 250_000):
        number = np.arange(start, min(start + 250_000, rows))
        size = len(number)
        minutes = random.integers(0, 6 * 365 * 24 * 60, size)
        moment = pd.Timestamp("2018-01-01") + pd.to_timedelta(minutes, unit="min")
        offence = random.choice(OFFENCES, size)
        east, north = random.normal(0, 0.08, size), random.normal(0, 0.1, size)
        latitude = pd.Series(41.83 + north).map("{:.9f}".format)
        longitude = pd.Series(-87.68 + east).map("{:.9f}".format)
        missing, null_island, undated = (number % 100 == 7), (number % 1000 == 11), (number % 5000 == 13)
        latitude = latitude.mask(missing, "").mask(null_island, "0.0")
        longitude = longitude.mask(missing, "").mask(null_island, "0.0")
        date = pd.Series(moment.strftime("%m/%d/%Y %I:%M:%S %p")).mask(undated, "UNKNOWN")
        pd.DataFrame(
            {
                "ID": 10_000_000 + number,
                "Case Number": [f"JA{one:07d}" for one in number],
                "Date": date,
                "Block": [
                    f"{one:03d}XX N {street} AVE"
                    for one, street in zip(number % 100, number % 400, strict=True)
                ],
                "IUCR": random.choice(["0820", "0460", "051A", "143C", "0325"], size),
                "Primary Type": offence,
                "Description": random.choice(
                    ["$500 AND UNDER", "SIMPLE", "TO VEHICLE", "HANDGUN, OTHER"], size
                ),
                "Location Description": random.choice(["STREET", "APARTMENT", "SIDEWALK", "RESIDENCE"], size),
                "Domestic": random.random(size) < 0.15,
                "Beat": [f"{one:04d}" for one in random.integers(111, 2535, size)],
                "District": [f"{one:03d}" for one in random.integers(1, 26, size)],
                "Ward": random.integers(1, 51, size),
                "Latitude": latitude,
                "Longitude": longitude,
                "Location": ("(" + latitude + ", " + longitude + ")").mask(missing, ""),
            }
        ).to_csv(path, mode="w" if start == 0 else "a", header=start == 0, index=False)
        place = ~missing & ~null_island
        violent = np.isin(offence, ["ROBBERY", "ASSAULT", "BATTERY"])
        night = (moment.hour >= 19) | (moment.hour < 3)
        truth["good"] += int(place.sum())
        truth["robberies_2021"] += int(
            (place & ~undated & (offence == "ROBBERY") & (moment.year == 2021)).sum()
        )
        truth["violence_at_night"] += int((place & ~undated & violent & night).sum())
    return truth


def measure(path: str, case: str) -> None:
    """Read the table in this process and print what it took."""
    from rtmkc import read_layer

    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = read_layer(path, name="incidents", provenance="policing", **CASES[case][0])
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    ledger = layer.ledger
    lost = len(layer.dropped_rows())
    print(
        json.dumps({"seconds": seconds, "gb": peak, "read": ledger.read, "used": ledger.used, "lost": lost})
    )


def main() -> None:
    """Write the table, measure every case, and fail if one is wrong or beyond its bounds."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "incidents.csv"
        truth = write(path, rows)
        print(f"{rows:,} rows, {path.stat().st_size / 1e9:.2f} GB")
        wrong = False
        for case, (_, expected, most_gb) in CASES.items():
            done = subprocess.run(
                [sys.executable, __file__, "--measure", str(path), case],
                capture_output=True,
                text=True,
                check=True,
            )
            took = json.loads(done.stdout)
            exact = took["used"] == truth[expected] and took["used"] + took["lost"] == took["read"] == rows
            within = took["seconds"] < MOST_SECONDS and took["gb"] < most_gb
            wrong |= not (exact and within)
            print(
                f"{case}: {took['seconds']:.1f} s, peak {took['gb']:.2f} GB, {took['used']:,} used of "
                f"{took['read']:,}{'' if exact else ' WRONG'}{'' if within else ' BEYOND THE BOUNDS'}"
            )
    sys.exit(wrong)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(*sys.argv[2:4])
    else:
        main()
