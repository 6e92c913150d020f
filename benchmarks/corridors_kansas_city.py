"""The next corridors of Kansas City by the violence of 2017, without a street layer: seams, and streets made of addresses.

    RTMKC_DATA=... python benchmarks/corridors_kansas_city.py [--again]

Fits the study kansas_city_2017.toml twice, with all incidents and without those at the address of the police headquarters,
and keeps both terrains in real-results/corridors/ (about two minutes each; --again fits them anew). Writes
docs/reference/corridors-kansas-city.md.
"""

import argparse
import csv
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from page import made_by, table

import rtmkc as rtm
from rtmkc.places.corridors.choice.seams import best_seams
from rtmkc.places.joins import kinds_around
from rtmkc.storage import write_text

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "reference" / "corridors-kansas-city.md"
STUDY = HERE / "studies" / "kansas_city_2017.toml"
TERRAINS = Path("real-results") / "corridors"
HEADQUARTERS = (39.10091, -94.57733)
"""Latitude and longitude of the 1100 block of Locust Street, where the police headquarters stands (no. 1125)."""
WITHIN = "75 m"
UTM = "EPSG:26915"
STREETS = {
    "Prospect": ("Prospect Avenue", "south"),
    "Troost": ("Troost Avenue", "south"),
    "Paseo": ("Paseo Boulevard", "south"),
    "Truman": ("E Truman Road", "east"),
    "Independence": ("Independence Avenue", "east"),
}
"""Streets that are looked at one by one: their name, and where their numbers rise by the city's plan."""


def fitted(
    name: str, data: Path, *, without: Sequence[tuple[float, float]] = (), again: bool = False
) -> rtm.RiskTerrain:
    """Return a terrain of the study, fitted once."""
    folder = TERRAINS / name
    if again or not (folder / "model.json").exists():
        study = rtm.Study.from_file(STUDY, data=data)
        study.incidents.exclude_places = list(without) or None
        terrain = rtm.assess(
            study.grid(), study.risk_factors(), study.read("incidents"), method=study.model.method,
            exposure=study.measured_exposure(), allow_later_factors=study.model.allow_later_factors,
            horizon=study.model.horizon, random_state=study.model.random_state,
        )  # fmt: skip
        folder.parent.mkdir(parents=True, exist_ok=True)
        terrain.save(folder, overwrite=True)
    return rtm.load(folder)


def addresses_of(folder: Path) -> gpd.GeoDataFrame:
    """Return every address with a place in the folder: file, address, geometry (degrees)."""
    requests = rtm.read_layer(folder / "kc311_raw_format_sample_500.csv").frame
    potholes = rtm.read_layer(whole_records(folder / "kc311_potholes_raw_sample.csv"), name="potholes").frame
    homicides = rtm.read_layer(folder / "homicides_2015.parquet").frame
    parts = {
        "kc311_raw_format_sample_500.csv": requests.rename(columns={"STREET ADDRESS": "address"}),
        "kc311_potholes_raw_sample.csv": potholes.rename(columns={"STREET ADDRESS": "address"}),
        "homicides_2015.parquet": homicides,
    }
    frames = [part[["address", "geometry"]].assign(file=name) for name, part in parts.items()]
    return gpd.GeoDataFrame(pd.concat(frames, ignore_index=True), geometry="geometry", crs=requests.crs)


def whole_records(path: Path) -> pd.DataFrame:
    """Read a CSV whose end was cut off inside a record, without that record."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        head, *records = csv.reader(file)
    return pd.DataFrame([record for record in records if len(record) == len(head)], columns=head)


def land_use(kind: str) -> str:
    """Return a land-use code of the parcels in words.

    >>> land_use("9600 - Vacant Non-Residential (including billboards)")
    'vacant non-residential'
    """
    return re.sub(r"^\d+ - |\s*\(.*?\)", "", kind).lower()


def land_uses(seams: gpd.GeoDataFrame, parcels: Any) -> list[str]:
    """Return what parcels along seams are used for, in words."""
    around = kinds_around(seams, parcels, "landusecode", within=WITHIN)
    said = []
    for row in around.itertuples():
        words = "no parcel near" if not row.n else f"{land_use(row.common)} {row.common_share:.0%} of {row.n}"
        if row.outstanding:
            times = f"{row.multiple:.1f} x the city's share"
            same = row.outstanding == row.common
            words += (
                f" ({times})"
                if same
                else f"; {land_use(row.outstanding)} {row.outstanding_share:.0%} ({times})"
            )
        said.append(words)
    return said


def cells_of(seam: shapely.LineString, terrain: rtm.RiskTerrain) -> pd.DataFrame:
    """Return the cells a seam is a chain of."""
    return terrain.cells.iloc[terrain.grid.locate(*shapely.get_coordinates(seam).T)]


def seam_table(seams: gpd.GeoDataFrame, terrain: rtm.RiskTerrain, parcels: Any) -> str:
    """Return the seams as Markdown."""
    rows = []
    for (_, seam), use in zip(seams.iterrows(), land_uses(seams, parcels), strict=True):
        along = cells_of(seam.geometry, terrain)
        first = np.sort(along["expected"].to_numpy())[::-1]
        rows.append(
            [
                f"{seam['rank']}",
                seam["name"],
                f"{seam['from_street']} to {seam['to_street']}",
                f"{seam['length_m']:,.0f} m",
                expected_words(seam),
                f"{seam['incidents']:.0f}",
                f"{first[0] / first.sum():.0%} / {first[:3].sum() / first.sum():.0%}",
                f"{(along['count'] == 0).sum()} of {len(along)}",
                f"{seam['city_multiple']:.0f} x",
                seam["top_factors"],
                use,
                detectable_words(seam),
            ]
        )  # fmt: skip
    heads = [
        "rank", "through", "from - to (latitude, longitude)", "length", "expected (90 %)", "in 2017",
        "in its first cell / three", "cells without any in 2017", "the average cell", "factors (share of its cells)",
        f"parcels within {WITHIN}", "smallest fall to be told",
    ]  # fmt: skip
    return table(heads, rows)


def expected_words(corridor: pd.Series) -> str:
    """Return expected incidents with their interval, if there is one."""
    words = f"{corridor['expected']:.1f}"
    return (
        words if pd.isna(corridor["lower"]) else f"{words} ({corridor['lower']:.0f}-{corridor['upper']:.0f})"
    )


def detectable_words(corridor: pd.Series) -> str:
    """Return the smallest fall that 90 days could tell from chance."""
    return "none" if pd.isna(corridor["mde_percent"]) else f"{corridor['mde_percent']:.0f} %"


def parsed_table(addresses: gpd.GeoDataFrame) -> str:
    """Return what the addresses of each file are."""
    rows = []
    groups = [*addresses.groupby("file", sort=False), ("together", addresses)]
    for name, part in groups:
        parsed = rtm.parse_addresses(part["address"])
        kinds = parsed["kind"].value_counts()
        blocks, crossings = int(kinds.get("block", 0)), int(kinds.get("intersection", 0))
        full = parsed[parsed["kind"] == "block"]
        n_blocks = len(full[["street", "hundred_block"]].drop_duplicates())
        rows.append(
            [
                str(name), f"{len(part):,}", f"{blocks:,} ({blocks / len(part):.1%})", f"{crossings:,}",
                f"{len(part) - blocks - crossings:,}", f"{full['street'].nunique():,}", f"{n_blocks:,}",
            ]
        )  # fmt: skip
    heads = [
        "file",
        "rows",
        "house number and street",
        "intersections",
        "neither",
        "streets",
        "hundred blocks",
    ]
    return table(heads, rows)


def steps_along(lines: gpd.GeoDataFrame, towards: str) -> tuple[int, int]:
    """Return how many steps between neighbouring blocks of a street go where its numbers rise, of how many."""
    middles = shapely.get_coordinates(
        shapely.line_interpolate_point(lines.geometry.to_numpy(), 0.5, normalized=True)
    )
    meet = shapely.dwithin(lines.geometry.to_numpy()[:-1], lines.geometry.to_numpy()[1:], 1.0)
    east, north = np.diff(middles, axis=0)[meet].T
    right = (
        (north < 0) & (-north > np.abs(east)) if towards == "south" else (east > 0) & (east > np.abs(north))
    )
    return int(right.sum()), len(right)


def street_table(addresses: gpd.GeoDataFrame, streets: gpd.GeoDataFrame) -> str:
    """Return what became of some streets."""
    written = rtm.parse_addresses(addresses["address"])
    rows = []
    for word, (name, towards) in STREETS.items():
        own = written[written["name"].str.contains(word, na=False) & (written["kind"] == "block")]
        lines = streets[streets["name"] == name]
        if len(lines) == 0:
            rows.append(
                [
                    name,
                    f"{len(own)}",
                    f"{own['hundred_block'].nunique()}",
                    "0",
                    "-",
                    "-",
                    "no two blocks near each other",
                ]
            )
            continue
        right, of = steps_along(lines, towards)
        apart = np.append(
            True, ~shapely.dwithin(lines.geometry[:-1].to_numpy(), lines.geometry[1:].to_numpy(), 1.0)
        )
        rows.append(
            [
                name, f"{len(own)}", f"{own['hundred_block'].nunique()}", f"{len(lines)}", f"{apart.sum()}",
                f"{lines.length.sum() / 1000:.1f} km", f"{right} of {of} to the {towards}",
            ]
        )  # fmt: skip
    heads = [
        "street",
        "addresses",
        "hundred blocks",
        "with a line",
        "pieces",
        "length",
        "steps where its numbers rise",
    ]
    return table(heads, rows)


def against_numbered_streets(addresses: gpd.GeoDataFrame, streets: gpd.GeoDataFrame) -> np.ndarray:
    """Return how far the middle of each block of an avenue lies south of the numbered street that begins it, in metres.

    By the city's plan the 3900 block of an avenue runs from 39th to 40th Street; the places of numbered streets are
    those of the addresses on them, and have no part in the lines of avenues.
    """
    metric = addresses.to_crs(streets.crs)
    parsed = rtm.parse_addresses(metric["address"])
    number = pd.to_numeric(parsed["name"].str.extract(r"^(\d+)(?:st|nd|rd|th)$")[0])
    is_numbered = (
        number.notna()
        & (parsed["direction"] == "E")
        & (parsed["suffix"] == "Street")
        & (parsed["kind"] == "block")
    )
    place = pd.DataFrame({"number": number, "north": metric.geometry.y, "east": metric.geometry.x})[
        is_numbered
    ]
    apart = []
    for line in streets[streets["name"].str.endswith(("Avenue", "Boulevard"))].itertuples():
        east, north = line.geometry.interpolate(0.5, normalized=True).coords[0]
        same = place[place["number"] == int(str(line.from_block).split()[0]) / 100]
        near = same[(same["east"] - east).abs() < 1500]
        if len(near):
            apart.append(near["north"].median() - north)
    return np.array(apart)


def street_corridors(corridors: gpd.GeoDataFrame) -> str:
    """Return corridors along streets made of addresses."""
    rows = [
        [
            f"{one['rank']}", one["name"], f"{one['from_street']} to {one['to_street']}", f"{one['length_m']:,.0f} m",
            expected_words(one), f"{one['incidents']:.0f}", f"{one['city_multiple']:.1f} x", one["top_factors"],
        ]
        for _, one in corridors.iterrows()
    ]  # fmt: skip
    heads = [
        "rank", "street", "from - to", "length", "expected (90 %)", "in 2017", "the median metre", "factors (share of its cells)",
    ]  # fmt: skip
    return table(heads, rows)


def at_headquarters(data: Path, addresses: gpd.GeoDataFrame) -> dict[str, Any]:
    """Return what the files have at the address of the police headquarters."""
    frame = rtm.Study.from_file(STUDY, data=data).read("incidents").frame
    latitude, longitude = HEADQUARTERS
    there = frame[
        (np.abs(frame.geometry.y - latitude) < 1e-5) & (np.abs(frame.geometry.x - longitude) < 1e-5)
    ]
    homicides = frame["Crime"] == "Homicide_Non_Negl"
    in_2015 = addresses[addresses["file"] == "homicides_2015.parquet"]
    return {
        "incidents": len(there), "homicides": int((there["Crime"] == "Homicide_Non_Negl").sum()),
        "all_homicides": int(homicides.sum()), "office": int(there["Hour"].between(8, 18).sum()),
        "office_share": float(frame["Hour"].between(8, 18).mean()),
        "listed": int(in_2015["address"].str.split().str.join(" ").eq("1100 LOCUST ST").sum()), "all_listed": len(in_2015),
    }  # fmt: skip


def main() -> int:
    """Fit what is missing, search, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--again", action="store_true", help="fit the terrains anew")
    again = parser.parse_args().again
    if not os.environ.get("RTMKC_DATA"):
        print("RTMKC_DATA is not set: Kansas City is skipped. Set it to the folder of the data.")
        return 0
    warnings.simplefilter("ignore", rtm.errors.DataWarning)
    data = Path(os.environ["RTMKC_DATA"])
    terrain = fitted("kansas_city_2017", data, again=again)
    cleaned = fitted("without_headquarters", data, without=[HEADQUARTERS], again=again)
    addresses = addresses_of(data / "kc")
    parcels = rtm.read_layer(data / "kc" / "parcel_points_landuse_2015.parquet")
    named = {
        "areas": data / "kc" / "neighborhoods_246.parquet",
        "area_name": "nbhname",
        "addresses": addresses[["address", "geometry"]],
    }
    seams, seams_without = (rtm.find_corridors(one, **named) for one in (terrain, cleaned))
    streets = rtm.streets_from_addresses(addresses[["address", "geometry"]], crs=UTM)
    corridors = rtm.find_corridors(cleaned, streets, max_turns=0)
    write_text(
        PAGE,
        "\n".join(
            [
                head(terrain),
                seams.attrs["statement"], "", seam_table(seams, terrain, parcels), "", *(f"- {note}" for note in seams.attrs["notes"]), "",
                odd_address(at_headquarters(data, addresses), seams, terrain), "",
                seam_table(seams_without, cleaned, parcels), "",
                meaning(seams_without, cleaned), "",
                ADDRESSES, thin_words(seams_without, addresses), "", parsed_table(addresses), "", *(f"- {note}" for note in streets.attrs["notes"]), "",
                street_table(addresses, streets), "", order_words(addresses, streets), "",
                "## Corridors along streets made of addresses", "", corridors.attrs["statement"], "",
                street_corridors(corridors), "", *(f"- {note}" for note in corridors.attrs["notes"]), "",
                street_words(cleaned, streets), "",
                made_by("RTMKC_DATA=... python benchmarks/corridors_kansas_city.py"), "",
            ]
        ),
        overwrite=True,
    )  # fmt: skip
    print(f"written: {PAGE.name}")
    return 0


def head(terrain: rtm.RiskTerrain) -> str:
    """Return the beginning of the page."""
    facts = terrain.facts
    return f"""# Corridors: Kansas City 2017

Where the next corridor would be by the violence of 2017 (aggravated assaults, robberies, homicides), found without a street layer, as the
city's was not at hand. Written by `python benchmarks/corridors_kansas_city.py` (`RTMKC_DATA` names the folder of the data, which is not
part of the project). The terrain is that of the [real runs](real-runs.md): {facts["n_incidents"]:,} incidents, {facts["n_cells"]:,} cells of
{facts["cell_size_m"]:.0f} m, in the model {", ".join(terrain.factors)}.

## Seams

`find_corridors(terrain, areas=neighborhoods, addresses=addresses)`. Names are those of the neighbourhoods that hold most of the seam, and after a
comma the addresses along it. *Expected* is for {terrain.horizon}, with a 90 % interval where one is known; *factors* are those that reach most of its cells;
*parcels* gives the most common use of the land, then the use that stands out most against the whole city
(`rtmkc.places.joins.kinds_around`; parcels, not acres, and those without a code left out); the *smallest fall* is what
90 days could tell from chance.
"""


def half_price(expected: np.ndarray) -> float:
    """Return what a cell has at least, of those richest cells that have half of all that is expected.

    >>> half_price(np.array([1.0, 1.0, 2.0, 4.0]))
    4.0
    """
    richest = np.sort(expected)[::-1]
    return float(richest[np.searchsorted(np.cumsum(richest), richest.sum() / 2)])


def covered_stretches(seams: gpd.GeoDataFrame, addresses: gpd.GeoDataFrame) -> list[int]:
    """Return along how many stretches of 50 m of each seam there is any address within 75 m."""
    points = addresses.geometry.to_crs(seams.crs).to_numpy()
    return [
        len(np.unique(shapely.line_locate_point(seam, points[shapely.dwithin(points, seam, 75.0)]) // 50.0))
        for seam in seams.geometry
    ]


def odd_address(found: dict[str, Any], seams: gpd.GeoDataFrame, terrain: rtm.RiskTerrain) -> str:
    """Return what is wrong with the incidents at one address, and which seam is there because of it."""
    place = (
        gpd.GeoSeries.from_xy([HEADQUARTERS[1]], [HEADQUARTERS[0]], crs=4326).to_crs(terrain.grid.crs).iloc[0]
    )
    near = seams[seams.distance(place) < terrain.grid.cell_size]
    first = rtm.find_hotspots(terrain, count=1)
    is_first = bool(first.distance(place).min() < terrain.grid.cell_size)
    first_words = "It is the first hot spot of the city. " if is_first else ""
    first_words += "".join(f"Seam {rank} above goes through it." for rank in near["rank"])
    return f"""## One address is not a place of violence

{found["incidents"]} of the incidents lie on one point in the 1100 block of Locust Street, where the police headquarters stands: {found["homicides"]} of the {found["all_homicides"]} homicides of the year among
them, and {found["office"]} of the {found["incidents"]} between 8 and 18:59 (of all incidents {found["office_share"]:.0%}). In the list of homicides of 2015,
{found["listed"]} of {found["all_listed"]} have the address "1100 LOCUST ST". It looks as if cases were filed there whose place is not given. {first_words} `dominant_places` does not name it by its defaults, as it has less than 2 % of the incidents. Left out with
`exclude_places = [{list(HEADQUARTERS)}]` under `[incidents]`, and everything fitted again:
"""


def meaning(seams: gpd.GeoDataFrame, terrain: rtm.RiskTerrain) -> str:
    """Return what the seams mean, and what they cannot know."""
    longest = seams.attrs["search"]["longest"]
    n_long = int((seams["length_m"] > longest - 2 * terrain.grid.cell_size).sum())
    expected = terrain.cells["expected"]
    total = seams["expected"].sum()
    means = (
        f"**What it means.** The {len(seams)} seams have {total:.0f} of the {expected.sum():.0f} incidents expected in the whole city in "
        f"{terrain.horizon}, {total / expected.sum():.1%}, on {seams['length_m'].sum() / 1000:.1f} km of cells {terrain.grid.cell_size:.0f} m wide. "
        "A fall that 90 days could tell from chance is in the last column; trials of street lights, repairs and clean-ups have shown falls of 7 to 36 %, so "
        "that one seam alone will not show what was done: several of them, or several quarters, may."
    )
    cannot = (
        "**What it cannot know.** A seam is a chain of cells, not a street: it may change from one street to the next, and it joins hot cells "
        "by way of cells that had nothing (columns on its first cells, and on cells without any incident)."
    )
    if 2 * n_long >= len(seams):
        price, dear = float(expected.quantile(0.8)), half_price(expected.to_numpy())
        mean = float(np.mean([cells_of(seam, terrain)["expected"].mean() for seam in seams.geometry]))
        dearer = best_seams(
            terrain.grid, expected.to_numpy(), k=len(seams), shortest=500.0, longest=longest, separation=300.0, price=dear
        )  # fmt: skip
        lengths = [seam.length_m for seam in dearer]
        cannot += (
            f" {n_long} of {len(seams)} are as long as allowed ({longest:,.0f} m, less two cells at most): at every step a seam may take any of three "
            f"neighbours, so that to go on nearly always pays. The price of a cell ({price:.4f} expected) is {price / mean:.1%} of what cells of these seams have, "
            f"and is not the reason: at {dear / price:.0f} times as much (half of all incidents are expected in cells above that) they would be "
            f"{min(lengths):,.0f} to {max(lengths):,.0f} m long. Lower `max_length` to what a team can walk, or give streets."
        )
    places = (
        "Incidents are those that were reported, at the place and hour of the report. A point with many at a hospital may be where they were told and "
        "not where they happened; nobody but the police can say. Land use is of 2015."
    )
    return "\n\n".join([means, cannot, places])


ADDRESSES = """## Addresses of hundred blocks

`streets_from_addresses` draws streets from addresses that have coordinates. In this folder three small files have any:
the raw sample of 311 requests, the raw sample of pothole requests (its end is cut off inside a record, which is left out;
`read_layer` refuses such a file), and the homicides of 2015. The large files have none: `kc311_central_2007_2020`,
`kc311_potholes_citywide`, `kcpd_crime_2017_geocoded` and the parcels give coordinates without an address. So this shows that real addresses
are read and drawn; it is far too little for a street map. With the city's full 311 file it would be enough.
"""


def thin_words(seams: gpd.GeoDataFrame, addresses: gpd.GeoDataFrame) -> str:
    """Return how little the names of seams rest on."""
    covered = covered_stretches(seams, addresses)
    in_all = round(seams["length_m"].mean() / 50)
    return (
        f"Names of seams rest on little here: of about {in_all} stretches of 50 m, seams 1 to {len(seams)} without the headquarters have addresses along "
        f'{", ".join(map(str, covered))}. "Mostly" in their names means along most of those that have any.'
    )


def order_words(addresses: gpd.GeoDataFrame, streets: gpd.GeoDataFrame) -> str:
    """Return how the blocks of avenues lie to the numbered streets."""
    apart = against_numbered_streets(addresses, streets)
    low, middle, high = np.quantile(apart, [0.05, 0.5, 0.95])
    return (
        "By the city's plan the numbers of avenues rise to the south and those of east streets to the east, and the 3900 block of an avenue "
        "runs from 39th to 40th Street, about 200 m. Addresses on numbered streets say where those lie, and have no part in the lines of "
        f"avenues: of {len(apart)} blocks with one near, the middle lies {middle:.0f} m south of its street in the median (90 % between {low:.0f} and "
        f"{high:.0f} m); 100 m would be the middle."
    )


def street_words(terrain: rtm.RiskTerrain, streets: gpd.GeoDataFrame) -> str:
    """Return what corridors along these streets mean."""
    return (
        f"These are the best of the {streets.length.sum() / 1000:.0f} km of street that {streets['n_addresses'].sum():,.0f} addresses draw, not of the city, and each drawn "
        "street takes what belongs to its undrawn neighbours within 150 m. An end means that no address follows there, not that the street stops. They show the names a "
        "team would get: street, and hundred block to hundred block."
    )


if __name__ == "__main__":
    sys.exit(main())
