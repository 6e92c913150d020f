"""The published figures of Chicago's burglaries, and the page that sets ours beside them."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from page import table

# Hit % at 1, 2, 5, 10 % of the area, then nats; the mean over the 20 splits, and its standard deviation.
PUBLISHED_20 = {
    "past counts": ((4.2, 6.8, 14.5, 24.5, None), (0.3, 0.3, 0.3, 0.6, None)),
    "KDE with floor": ((4.6, 8.3, 16.8, 27.6, 0.319), (0.3, 0.3, 0.4, 0.5, 0.010)),
    "classic": ((1.97, 3.94, 9.8, 19.7, 0.230), (0.04, 0.08, 0.2, 0.4, 0.007)),
    "history alone": ((5.6, 9.3, 18.3, 29.6, 0.344), (0.3, 0.4, 0.6, 0.7, 0.011)),
    "classic x history": ((5.5, 9.2, 18.3, 29.7, 0.367), (0.3, 0.4, 0.5, 0.7, 0.011)),
}
YARDSTICKS = ("past counts", "KDE with floor")
USUAL_SD = (0.5, 0.5, 0.5, 0.5, 0.01)
NONE = (None, None, None, None, None)
PUBLISHED_ONE = {
    "past counts": (3.9, 6.3, 13.7, 23.0, None),
    "KDE with floor": (4.8, 8.2, 16.7, 27.6, 0.310),
    "classic": (2.0, 4.0, 9.9, 19.8, 0.226),
    "columns exchanged": NONE,
    "elastic net, many columns": (3.8, 6.6, 13.8, 24.0, 0.293),
    "curves to 3,000 m": (None, None, 15.0, None, 0.335),
    "curves to 750 m": NONE,
    "history alone": (5.3, 9.5, 17.8, 29.2, 0.330),
    "classic x history": (5.1, 9.5, 18.1, 28.6, 0.353),
    "columns exchanged x history": NONE,
    "curves to 3,000 m x history": (None, None, 18.3, None, 0.397),
    "curves to 750 m x history": NONE,
}
GOLDEN = {
    "cells": (36_042, 0),
    "incidents of the half": (3_388, 0),
    "Poisson BIC": (21_881.24, 0.01),
    "NB1 BIC": (21_630.92, 0.01),
    "NB1 log intercept": (-5.1606, 0.0001),
    "NB1 sigma": (0.1656, 0.0001),
    "RRV sanitation, 250 m": (5.49, 0.01),
    "RRV abandoned buildings, 250 m": (1.78, 0.01),
    "RRV liquor retail, 375 m": (1.41, 0.01),
    "RRV street lights out, 250 m": (2.45, 0.01),
    "share of cells flagged, sanitation": (0.776, 0.0005),
    "share of cells flagged, abandoned buildings": (0.344, 0.0005),
    "share of cells flagged, liquor retail": (0.374, 0.0005),
    "share of cells flagged, street lights out": (0.833, 0.0005),
    "distinct scores": (16, 0),
}
"""The published classic row and its tolerance: half of its last digit, or what the brief of the row allows."""


def compare(
    ours: np.ndarray,
    published: tuple[float | None, ...],
    deviation: tuple[float | None, ...],
    allowed: float,
) -> Iterator[tuple[str, bool]]:
    """Yield, for hits at four budgets and nats, "ours / published (difference in SD)", and whether it passes."""
    for number, (value, target, sd) in enumerate(zip(ours, published, deviation, strict=True)):
        digits = 3 if number == 4 else 1
        if np.isnan(value):
            yield "-", True
        elif target is None or sd is None:
            yield f"{value:.{digits}f}", True
        else:
            difference = (value - target) / sd
            # As many digits as were published.
            digits = max(digits, len(f"{target:g}".partition(".")[2]))
            passes = difference >= -allowed  # better is no failure
            mark = "" if passes else " **fails**"
            # Adding 0 turns -0.0 into 0.0.
            yield (
                f"{value:.{digits}f} / {target:.{digits}f} ({round(difference, 1) + 0.0:+.1f}){mark}",
                passes,
            )


def rows_of(
    results: dict[str, np.ndarray], cells_of: Callable[[str, np.ndarray], Iterator[tuple[str, bool]]]
) -> tuple[list[list[str]], list[str]]:
    """Return the rows of a table, and the names of the models that fail."""
    rows, failed = [], []
    for name, values in results.items():
        cells = list(cells_of(name, values))
        rows.append([name, *(text for text, _ in cells)])
        if not all(passes for _, passes in cells):
            failed.append(name)
    return rows, failed


SHORT = ["1 %", "2 %", "5 %", "10 %", "nats"]
HEADS = ["model", "hit % at 1 % of area", "2 %", "5 %", "10 %", "nats"]


def twenty_table(results: dict[str, np.ndarray], splits: Sequence[int]) -> tuple[str, list[str], list[str]]:
    """Return the table of means over the 20 splits, what fails, and where a yardstick is beyond the rule.

    A mean fails more than one published SD below the published mean, and any single split more than three. The
    yardsticks are computed here and not by the library, so a single split of theirs is told but fails nothing.
    """
    rows, failed = rows_of(
        results, lambda name, values: compare(values.mean(axis=0), *PUBLISHED_20[name], allowed=1.0)
    )
    told = []
    for row, (name, values) in zip(rows, results.items(), strict=True):
        means, deviations = (np.array(part, dtype=float) for part in PUBLISHED_20[name])
        distance = (values - means) / deviations
        split, figure = np.unravel_index(np.nanargmin(distance), distance.shape)
        row.append(f"{distance[split, figure]:+.1f}: {SHORT[figure]}, s = {splits[split]}")
        if distance[split, figure] < -3:
            row[-1] += " **beyond 3**"
            (told if name in YARDSTICKS else failed).append(f"{name}, {SHORT[figure]}, s = {splits[split]}")
    return table([*HEADS, "lowest single split, SD"], rows), failed, told


def one_table(results: dict[str, np.ndarray]) -> tuple[str, list[str]]:
    """Return the table of the one split, and what fails: more than three SD below the published figure."""

    def cells(name: str, values: np.ndarray) -> Iterator[tuple[str, bool]]:
        known = PUBLISHED_20.get(name, (None, USUAL_SD))[1]
        deviation = tuple(own or usual for own, usual in zip(known, USUAL_SD, strict=True))
        return compare(values, PUBLISHED_ONE[name], deviation, allowed=3.0)

    rows, failed = rows_of(results, cells)
    return table(HEADS, rows), failed


def golden_table(
    plain: dict[str, float], centres: dict[str, float], touching: dict[str, float]
) -> tuple[str, list[str]]:
    """Return the table of the classic row, and what fails on the published cells."""
    rows, failed = [], []
    for name, (published, tolerance) in GOLDEN.items():
        form = f",.{4 if tolerance else 0}f"
        rows.append([name, f"{published:,}", *(f"{row[name]:{form}}" for row in (plain, centres, touching))])
        if max(abs(row[name] - published) for row in (plain, centres)) > tolerance:
            rows[-1][0] += " **fails**"
            failed.append(name)
    heads = ["quantity", "published", "plain arrays", "library, centre rule", "library, touching cells"]
    return table(heads, rows), failed


TEMPLATE = """## Chicago burglaries 2017: forecasts of incidents held out

6,876 burglaries, 125 m cells, EPSG:26916; factors: abandoned buildings, sanitation, street lights out (311 requests of 2017,
undated) and liquor retail. Half of the incidents teach, the other half is forecast. *Hit %*: share of the held-out
incidents in the best-ranked 1, 2, 5 or 10 % of the city's area, ties at the edge counted by expectation. *Nats*: mean
over held-out incidents of log(forecast / uniform). Every cell of a table reads **ours / published (difference in published
standard deviations)**; figures without a published one stand alone. The factors are of the same year as the incidents: contemporaneous, not a
forecast of the future; and the source had removed duplicates, so the halves understate repeats.

Rule: a mean over 20 splits may lie at most 1 standard deviation below the published mean, any one split at most 3;
better is no failure. A single split of the two yardsticks (past counts and KDE, which the script computes, not the
library) is told and fails nothing. {verdict}

KDE in split 109 is the one figure that comes near the rule or breaks it: its cross validation cannot tell 2 cells from 3. On the published grid 3 cells won
in 14 of 20 draws of the folds and give 25.9 % at 10 % of area (-3.4 standard deviations), 2 cells won in 6 and give 26.5 % (-2.3); on the library's own
grid it is -3.3 and -2.1.

### Twenty splits

Training half: `numpy.random.default_rng(s).random(6876) < .5`, s = 100 to 119, rows as in the file. Classic has the
published columns, refitted by NB1 on every half.

The library's own grid, {touching_cells} cells, {touching_incidents} incidents:

{touching_twenty}

The published grid, {centres_cells} cells, {centres_incidents} incidents:

{centres_twenty}

### One split

The published one-split table does not name its split. It is s = 1: the sizes of its halves (3,388 and 3,483 incidents) and its
Poisson BIC (21,881.24) are found there and with no other seed from 0 to 399. Where no standard deviation was published, .5 points and .01 nats are used.

The library's own grid:

{touching_one}

The published grid:

{centres_one}

"Curves" is the environment of `RiskForecast` before history; "x history" is its `expected_`. Curves to 750 m (6 cells, the
default reach of 3 blocks) lose nothing here against curves to 3,000 m (24 cells, as published). The figures published for curves x
history are .397 to .402 nats.

### The classic model of that split

The published row belongs to the training half of s = 1, not to all incidents. *Plain arrays*: cells, distances and counts made in
the script with numpy, scipy and shapely alone, and given to `rtmkc.engine.rows.families.fit_glm`. *Library*: its candidates and collapsed tables.

{golden}

On touching cells there are 896 cells more, on average 23 % inside the city, with 1 of the half's incidents and few factors. `classic`, as published,
has no offset for the share of a cell inside, so it takes a sliver for a full cell without incidents: BIC and every RRV come out a little higher.

Which columns are chosen:

- Published: sanitation 250 m, abandoned buildings 250 m, liquor retail 375 m, street lights out 250 m, all proximity (NB1 BIC 21,630.92).
- `RiskTerrainModel("classic")`, published grid: {centres_classic}.
- `RiskTerrainModel("classic")`, own grid: {touching_classic}.
- A search that may also exchange a column for another of its factor, published grid: {centres_exchanged}.
- The same, own grid: {touching_exchanged}.

The published procedure adds and drops columns one at a time, and keeps the distance at which a factor once entered. With exchanges the same four
factors reach a BIC some 50 lower at other distances: the distance that `classic` reports need not be the best one by its
own measure. "Columns exchanged" in the tables scores that model.

### The two grids

- *Own*: squares of 125 m from the lower left corner of the city's bounding box, half-open `[west, east) x (south, north]`; a cell belongs
  to the city if any of it is inside, and counts with its share (36,043 full cells in sum). Area, forecast and history use the
  shares; past counts are ranked as they are. An incident counts if the boundary polygon covers it: 17 do not.
- *Published*: the same squares; a cell belongs to the city if its centre does, and counts in full. An incident in no cell goes to the
  nearest centre within 125 m (7 do), else it is dropped (5).

KDE with floor: Gaussian of .5 to 12 cells, divided by the same filter of the city, mixed with a uniform floor of 2 to 40 %, both chosen by five-fold log
score. History: as `RiskForecast` fits it on incidents without dates, with five random halves keyed on the row of the file.

{made}
"""
