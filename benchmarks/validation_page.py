"""The page docs/reference/validation.md: what is explained by hand, and how tables of a validation become text."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from page import made_by, table

from rtmkc.evidence.contestants import CURVES, FOREST_HISTORY, HISTORY, KERNEL_DENSITY, PAST_COUNTS, WEIGHTS
from rtmkc.evidence.validation import Validation
from rtmkc.storage import write_text

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "validation.md"
COMMAND = "RTMKC_DATA=... python benchmarks/validation_real.py"
FOREST_MARGIN = -0.03

HEAD = """# Validation on real cities

`rtm.validate` fits everything on one part of the incidents and scores another, beside what a forecast has to beat. All of this page
but the paragraphs called *Reading* is written by `python benchmarks/validation_real.py` (`RTMKC_DATA` names the folder of the data,
which is not part of the project).

*Nats* are the mean over test incidents of log(density / uniform density): 0 is uniform, 0.1 more means that the places of incidents
were held on average 10 % more likely. It is a proper score: in expectation nothing beats the truth. *Hits* are the share of test incidents in the
best 1, 2, 5 and 10 % of the area, equal scores by expectation; in brackets at 5 % the worst and best order of equal scores. Intervals are
95 % of a bootstrap of 1.5 km blocks; differences are paired, draw by draw, so that two overlapping intervals may well differ surely.
Every contestant is fitted on the training incidents alone, with its own choices (bandwidth, floor, leaf size) made inside them. A random forest of
500 trees has the same factors; *x history* multiplies its out-of-bag surface by the same history as that of the curves. The *oracle*
is the test itself: nobody can reach it, chance included. Compare within a table only: other cells and other incidents give other figures.
"""

TITLES = {
    "kansas-city": "Kansas City, violence: January to September 2017 against October to December",
    "burglary-halves": "Chicago, burglaries 2017: random halves",
    "burglary-districts": "Chicago, burglaries 2017: one police district after the other left out",
    "assaults-time-safe": "Chicago, aggravated assaults: 2010 to 2016 against 2017, factors that are no reports of 2017",
    "assaults-contemporaneous": "Chicago, aggravated assaults: 2010 to 2016 against 2017, with the reports of 2017",
}

READINGS = {
    "kansas-city": """Nearly half of the violence of the last quarter fell on the 1 % of the area that history names: past counts find
    as much there, and lose beyond it, where they have nothing to say. The forecast is far ahead of counts and kernel density, and ahead of a forest with past counts as columns
    in nats, though that one finds more at 2 to 5 %. What the factors add to local history (.041 nats) and the difference from the forest times
    history (-.005) are both within the uncertainty of 731 incidents: two criteria of ours fail here by a hair, and no claim is made.""",
    "burglary-halves": """The forecast has clearly more nats than past counts, kernel density, its own parts and a forest with past counts
    as columns it is level with; the forest times the same history is ahead by a hundredth of a nat, which is sure and small. At 5 % of
    the area history alone finds as many burglaries as the forecast: what the factors add lies in the many places without a past. The
    source removed repeated coordinates, so past counts look worse here than they would. Classic weights tie so many cells that their
    hits at 5 % depend on the order; guarded weights are fainter than the truth (slope 1.5) and so lose nats, though they rank better.""",
    "assaults-time-safe": """Seven years of the past say nearly everything: history alone is within .001 nats of the forecast, the sign of
    that gain is sure and its size is nothing, and kernel density (at the narrowest bandwidth on offer) and past counts follow closely. Liquor
    retail and rail stations explain some of the pattern and foretell almost none that the past does not. The forest without a past is lost;
    with one it is level or behind. Bins are calibrated to a few per cent but for the safest tenth of the incidents (0.86).""",
    "burglary-districts": """The factors carry over: in districts of which nothing was learned the curves have .332 nats, against .344 where
    every other incident was known. The forest is level with them, both kinds of weights are well behind: one column a factor is what costs.
    Guarded weights rank better than classic ones at 5 % and are too faint in nats (slope 1.5): they compare a place with its surroundings, and
    leave to the surroundings what whole parts of the city have in common. Expected and seen differ by 12 % at most in any bin.""",
    "assaults-contemporaneous": """Reports of 2017 explain the assaults of 2017 far better than undated licences and stations do (curves alone .522
    nats against .128), which is no forecast: reports and assaults of one year come from the same streets. On top of seven years of
    past they add .006 nats, sure and small. The forest times history is level; without a past it remembers places through its fine leaves.""",
}


def section(name: str, found: Validation, cost: str) -> str:
    """Return one case as Markdown."""
    parts = [
        f"## {TITLES[name]}",
        f"**{found.heading}**",
        *(f"- {line}" for line in found.verdict),
        "",
        contestants(found),
        "",
        f"The {'forecast' if found.facts['compared'] != CURVES else 'curves'} minus every other, hits in percentage points:",
        "",
        differences(found),
        "",
        f"Calibration of {found.facts['compared']}, bins of equal expectation from the lowest to the highest risk:",
        "",
        calibration(found),
        "",
        acceptance(found),
        "",
        " ".join(found.statement),
        "",
        f"{cost} {made_by(f'{COMMAND} {name}')}",
    ]
    return "\n".join(parts)


def contestants(found: Validation) -> str:
    """Return the table of contestants: nats, hits, PAI, PEI, deviance, slope and what was chosen."""
    at_five = found.rankings[found.rankings["area_share"] == 0.05].set_index("contestant")
    rows = []
    for row in found.table.to_dict("records"):
        name = str(row["contestant"])
        if name not in at_five.index:
            rows.append([name, "-", "", "", "", "", "", "", "", "", row["note"]])
            continue
        five = at_five.loc[name]
        hits = [f"{100 * row[f'hit_{share}']:.1f}" for share in (1, 2, 5, 10)]
        hits[2] += f" [{100 * five['hit_rate_lowest']:.1f}, {100 * five['hit_rate_highest']:.1f}]"
        pai = f"{five['pai']:.2f} [{five['pai_lower']:.2f}, {five['pai_upper']:.2f}]"
        slope = "" if pd.isna(row["calibration_slope"]) else f"{row['calibration_slope']:.2f}"
        nats = f"{row['nats']:.3f} [{row['nats_lower']:.3f}, {row['nats_upper']:.3f}]"
        rows.append(
            [name, nats, *hits, pai, f"{five['pei']:.2f}", f"{row['deviance_shape']:.4f}", slope, row["note"]]
        )
    heads = [
        "",
        "nats",
        "hits 1 %",
        "2 %",
        "5 %",
        "10 %",
        "PAI 5 %",
        "PEI 5 %",
        "deviance",
        "slope",
        "chosen",
    ]
    return table(heads, rows)


def differences(found: Validation) -> str:
    """Return the paired table."""
    rows = [
        [
            f"{row['contestant']} - {row['against']}",
            f"{row['nats']:+.3f} [{row['nats_lower']:+.3f}, {row['nats_upper']:+.3f}]",
            *(
                f"{100 * row[f'hit_{share}']:+.1f} [{100 * row[f'hit_{share}_lower']:+.1f}, "
                f"{100 * row[f'hit_{share}_upper']:+.1f}]"
                for share in (2, 5)
            ),
        ]
        for row in found.paired.to_dict("records")
        if row["against"] != "uniform"
    ]
    return table(["", "nats", "hits in 2 %", "hits in 5 %"], rows)


def calibration(found: Validation) -> str:
    """Return expected and observed incidents of the forecast's bins."""
    own = found.calibration[found.calibration["contestant"] == found.facts["compared"]]
    heads = ["bin", *(f"{number}" for number in own["bin"])]
    rows = [
        ["cells", *(f"{value:,.0f}" for value in own["cells"])],
        ["expected", *(f"{value:,.0f}" for value in own["expected"])],
        ["observed", *(f"{value:,.0f}" for value in own["observed"])],
        ["observed / expected", *(f"{value:.2f}" for value in own["ratio"])],
        [
            "95 % exact",
            *(f"{low:.2f}-{high:.2f}" for low, high in zip(own["lower"], own["upper"], strict=True)),
        ],
    ]
    return table(heads, rows)


def accepted(found: Validation) -> list[tuple[str, bool]]:
    """Return what is asked of the library, and whether it holds here."""
    forecast = found.facts["compared"]
    pairs = found.paired.set_index(["contestant", "against"])
    asked: list[tuple[str, str, float]] = [(CURVES, WEIGHTS.format("classic"), 0.0)]
    if forecast != CURVES:
        asked += [(forecast, other, 0.0) for other in (PAST_COUNTS, KERNEL_DENSITY, HISTORY)]
        asked += [(forecast, FOREST_HISTORY, FOREST_MARGIN)]
    said = []
    for first, second, margin in asked:
        lower = float(pairs.loc[(first, second), "nats_lower"])
        said.append((f"{first} - {second} above {margin:g} nats: lower end {lower:+.3f}", lower > margin))
    return said


def acceptance(found: Validation) -> str:
    """Return the same as a list."""
    return "\n".join(f"- {'holds' if holds else '**fails**'}: {what}" for what, holds in accepted(found))


def write_cases(sections: Mapping[str, str], path: Path = PAGE) -> None:
    """Replace the sections of some cases and leave the others as they are; readings are written anew."""
    present = path.read_text(encoding="utf-8") if path.exists() else ""
    parts = {key: _find(present, key) for key in TITLES}
    parts |= {name: text.strip() + "\n" for name, text in sections.items()}
    body = "\n".join(
        f"<!-- begin {key} -->\n{parts[key]}<!-- end {key} -->\n{_reading(key)}"
        for key in TITLES
        if parts[key]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, HEAD + "\n" + body, overwrite=True)


def _find(page: str, name: str) -> str:
    found = re.search(rf"<!-- begin {name} -->\n(.*?)<!-- end {name} -->", page, flags=re.DOTALL)
    return found.group(1) if found else ""


def _reading(name: str) -> str:
    return f"\n*Reading.* {' '.join(READINGS[name].split())}\n" if name in READINGS else ""


def costs(seconds: dict[str, float]) -> str:
    """Return the time of every contestant, dearest first."""
    dearest: Sequence[tuple[str, float]] = sorted(seconds.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {value:.0f} s" for name, value in dearest if value >= 0.5)
