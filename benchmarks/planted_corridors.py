"""Is it found? Cities with one corridor planted among patches of noise, and the sample, whose truth is known.

    python benchmarks/planted_corridors.py [--again]

Every seed draws a city, plants a stretch of one named street in it, fits the forecast to two years of incidents, and looks for
the stretch among the first five corridors: of streets, and for some seeds of cells without streets. Cities go to
study-results/planted/, and those that are there already are not run again; --again searches anew from the forecasts that are
there. Seeds were fixed before the first city was drawn. `corridor_studies_page.py` writes the page.
"""

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import geopandas as gpd
import numpy as np
import shapely
from corridor_cities import BLOCK, City, Law, Surface, Truth, draw_city, on_line

import rtmkc as rtm
from rtmkc.storage import write_json

RESULTS = Path("study-results") / "planted"
N_CITIES = 200
N_WITHOUT_STREETS = 60
FIRST_SEED = 800_000
TOP = 5
YEARS = 2
MULTIPLES = {6.0: N_CITIES, 4.0: 120}
"""The planted stretch has so many times the incidents a metre of the city's mean street, in so many cities. Promised is the
first; of the other it is shown how much is missed. The search counts less of it, as a street shares its cells with others."""
LENGTHS = (1000.0, 1500.0)
"""Bounds of its length, metres."""
FOUND = 0.5
"""It is found if one corridor covers at least this share of its length."""
NEAR_CELLS = 1.5
"""Without streets it is covered where a chain of cells is this near."""
CAUSES = {"factor": 3.0, "both": 1.7, "unmeasured": 1.7}
"""What makes the stretch risky, and what a place of the factor multiplies risk by everywhere; cities take turns.

Factor: places of a known factor lie along it. Both: such places, which explain less of it. Unmeasured: no places."""


def law_of(cause: str) -> Law:
    """Return what makes risk in the cities of a cause: patches as in the sample, and no main streets to compete."""
    return Law(
        side=40, incidents=400.0, known=(CAUSES[cause], 1.3), unknown=(1.3,), main=1.0, lesser=1.0,
        patch_variance=0.12, patch_range=200.0, street_variance=0.05, block_sd=0.3, odd_share=0.0, drift=0.1,
    )  # fmt: skip


@dataclass
class Plant:
    """A stretch of one named street whose risk is raised to a multiple of the city's mean.

    Attributes
    ----------
    multiple : float
        Its incidents a metre, of those of all other streets.
    has_places : bool
        Whether places of factor 0 are laid along it.
    lines : ndarray of LineString
        The blocks planted, known once it has been called.
    """

    multiple: float
    has_places: bool
    lines: np.ndarray | None = None

    def __call__(self, truth: Truth, random: np.random.Generator) -> None:
        """Choose the stretch, lay the places, and raise the risk."""
        chosen = choose_stretch(truth.streets, truth.length_m, random)
        self.lines = truth.streets.geometry.to_numpy()[chosen]
        if self.has_places:
            every = [
                shapely.line_interpolate_point(self.lines, share, normalized=True) for share in (0.25, 0.75)
            ]
            places = shapely.get_coordinates(np.concatenate(every))
            truth.add_places(0, places + random.normal(0, 10.0, places.shape))
        others = np.ones(len(truth.weight), dtype=bool)
        others[chosen] = False
        mean = truth.weight[others].sum() / truth.length_m[others].sum()
        own = truth.weight[chosen].sum() / truth.length_m[chosen].sum()
        truth.weight[chosen] *= self.multiple * mean / own


def choose_stretch(
    streets: gpd.GeoDataFrame, length_m: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Return the lines of a stretch of one street without a gap, with a length within the bounds."""
    names, lines = streets["name"].to_numpy(), streets.geometry.to_numpy()
    ends = np.array([shapely.get_coordinates(line)[[0, -1]] for line in lines])
    aim = random.uniform(LENGTHS[0], LENGTHS[1] - BLOCK)
    while True:
        chosen = [int(random.integers(len(lines)))]
        while length_m[chosen].sum() < aim:
            following = chosen[-1] + 1
            if following == len(lines) or names[following] != names[chosen[0]]:
                break
            if not np.allclose(ends[following, 0], ends[chosen[-1], 1]):
                break
            chosen.append(following)
        if LENGTHS[0] <= length_m[chosen].sum() <= LENGTHS[1]:
            return np.array(chosen)


def covered(lines: np.ndarray, corridor: shapely.Geometry) -> float:
    """Return the share of the planted length that a corridor runs along."""
    return float(shapely.length(lines[on_line(lines, corridor)]).sum() / shapely.length(lines).sum())


def covered_nearby(lines: np.ndarray, corridor: shapely.Geometry, distance_m: float) -> float:
    """Return the share of the planted length that lies within a distance of a corridor."""
    near = shapely.intersection(lines, corridor.buffer(distance_m))
    return float(shapely.length(near).sum() / shapely.length(lines).sum())


def judge(corridors: gpd.GeoDataFrame, cover: Callable[[shapely.Geometry], float]) -> dict[str, Any]:
    """Return the rank of the first corridor that covers the stretch, and the best and first covers."""
    covers = [cover(line) for line in corridors.geometry]
    ranks = [number for number, share in enumerate(covers, start=1) if share >= FOUND]
    return {
        "rank": ranks[0] if ranks else None,
        "covered": max(covers, default=0.0),
        "city_multiple": float(corridors["city_multiple"].iloc[ranks[0] - 1]) if ranks else None,
        "lengths_m": [float(length) for length in corridors["length_m"]],
    }


def forecast(city: City, seed: int, path: Path) -> np.ndarray:
    """Return what is expected in every cell, fitted once."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        model = rtm.RiskForecast(random_state=seed).fit(city.grid, city.factors(), city.incidents)
        np.save(path, model.expected_)
    return np.asarray(np.load(path))


def cause_of(seed: int) -> str:
    """Return what makes the stretch of a seed risky."""
    return list(CAUSES)[seed % len(CAUSES)]


def study(seed: int, multiple: float, fits: Path, *, with_seams: bool) -> dict[str, Any]:
    """Plant one corridor and look for it."""
    cause = cause_of(seed)
    plant = Plant(multiple, has_places=cause != "unmeasured")
    city = draw_city(law_of(cause), seed, years=YEARS, plant=plant)
    lines = plant.lines
    assert lines is not None
    surfaces = {
        "forecast": Surface.of(city.grid, forecast(city, seed, fits / f"{multiple:g}x-{seed}.npy")),
        "truth": Surface.of(city.grid, city.true_cells),
        "last year": Surface.of(city.grid, city.counts(365) * (90 / 365)),
    }
    one: dict[str, Any] = {
        "seed": seed,
        "multiple": multiple,
        "cause": cause,
        "length_m": float(shapely.length(lines).sum()),
        "history": len(city.incidents),
        "on_it": int(count_near(city, lines)),
    }
    reach = NEAR_CELLS * city.grid.cell_size
    for name, surface in surfaces.items():
        found = rtm.find_corridors(surface, city.network, k=TOP)
        one[name] = judge(found, lambda line: covered(lines, line))
        if with_seams:
            seams = rtm.find_corridors(surface, k=TOP)
            one[f"{name}, no streets"] = judge(seams, lambda line: covered_nearby(lines, line, reach))
    return one


def count_near(city: City, lines: np.ndarray) -> int:
    """Return the incidents of the history on the stretch."""
    nearest = shapely.distance(shapely.union_all(lines), city.incidents.geometry.to_numpy())
    return int((nearest < 20.0).sum())


def run(
    seeds: range,
    multiple: float,
    results: Path,
    *,
    n_without_streets: int = N_WITHOUT_STREETS,
    again: bool = False,
) -> None:
    """Run the cities that are missing, and keep each."""
    results.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        path = results / f"city-{multiple:g}x-{seed}.json"
        if path.exists() and not again:
            continue
        with_seams = seed - seeds.start < n_without_streets
        one = study(seed, multiple, results / "fits", with_seams=with_seams)
        write_json(path, one, overwrite=True)
        found = {name: one[name]["rank"] for name in ("forecast", "truth")}
        print(f"{multiple:g}x, {seed}, {one['cause']}: {found}", file=sys.stderr, flush=True)


# ------------------------------------------------------------------ the sample


@dataclass(frozen=True, eq=False)
class SampleStreets:
    """The streets of the sample as its own generator knows them.

    Attributes
    ----------
    streets : GeoDataFrame
        One line between two crossings: name, from_node, to_node, length_m, rate (true expected incidents in 90 days of the
        last year), is_inside (whether incidents there count); in the grid's system, without motorways.
    places : ndarray, shape (n, 2)
        Where incidents happen, in the same system; inside the area only.
    place_rate : ndarray, shape (n,)
        True expected incidents in 90 days of the last year at each.
    """

    streets: gpd.GeoDataFrame
    places: np.ndarray
    place_rate: np.ndarray


def sample_truth(crs: Any) -> SampleStreets:
    """Take the truth of the sample from the script that wrote it: its own places, law and noise."""
    spec = importlib.util.spec_from_file_location("sample_generator", rtm.sample_path("generate.py"))
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    segments = maker.build_streets()
    places, owners, lengths = maker.build_anchors(segments)
    points = {name: maker.build_points(name, segments, places) for name in maker.FACTORS}
    intensity, _ = maker.violent_intensity(segments, places, owners, lengths, points)
    inside = maker.inside_area(places)
    rate = np.where(inside, intensity, 0.0) * maker.YEAR_SHARES[-1] * 90 / 366
    ends = [[maker.to_degrees(end) for end in (one["line"][0], one["line"][-1])] for one in segments]
    lines = [shapely.LineString([maker.to_degrees(place) for place in one["line"]]) for one in segments]
    _, number = np.unique(np.array(ends).reshape(-1, 2), axis=0, return_inverse=True)
    node = number.reshape(-1, 2)
    streets = gpd.GeoDataFrame(
        {
            "name": [one["name"] for one in segments],
            "from_node": node[:, 0],
            "to_node": node[:, 1],
            "rate": np.bincount(owners, rate, minlength=len(segments)),
            "is_inside": np.bincount(owners, inside, minlength=len(segments)) > 0,
        },
        geometry=lines,
        crs=4326,
    ).to_crs(crs)
    streets["length_m"] = streets.length
    is_street = np.array([one["road_class"] != "motorway" for one in segments])
    degrees = gpd.GeoSeries([shapely.Point(maker.to_degrees(place)) for place in places[inside]], crs=4326)
    positions = shapely.get_coordinates(degrees.to_crs(crs).to_numpy())
    return SampleStreets(streets[is_street].reset_index(drop=True), positions, rate[inside])


def true_corridors(
    sample: SampleStreets,
    treated: shapely.Geometry,
    *,
    k: int = TOP,
    bounds_m: tuple[float, float] = (500.0, 2500.0),
    separation_m: float = 300.0,
) -> list[dict[str, Any]]:
    """Return the truly best corridors without a turn, by writing out every one of them.

    Notes
    -----
    The family is that of `rtm.find_corridors` with ``max_turns=0``: along one street from corner to corner, where at most three
    tenths of the length may have other names if they go straight on. The objective is excess over the rate of the street at
    the 80th percentile of length. Nothing is shared out: what happens on a street is its own.
    """
    streets = sample.streets
    name, length = streets["name"].tolist(), streets["length_m"].tolist()
    ends = streets[["from_node", "to_node"]].to_numpy().tolist()
    direction = np.array([np.subtract(*shapely.get_coordinates(line)[[-1, 0]]) for line in streets.geometry])
    at: dict[int, list[int]] = {}
    for number, pair in enumerate(ends):
        for node in pair:
            at.setdefault(node, []).append(number)

    def heading(number: int, start: int) -> np.ndarray:
        return direction[number] if ends[number][0] == start else -direction[number]

    def goes_on(number: int, node: int, following: int) -> bool:
        start = ends[number][0] if ends[number][1] == node else ends[number][1]
        one, other = heading(number, start), heading(following, node)
        cosine = np.dot(one, other) / np.hypot(*one) / np.hypot(*other)
        deflection = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        return bool(deflection <= 150 if name[number] == name[following] else deflection <= 20)

    following = {
        (number, node): [other for other in at[node] if other != number and goes_on(number, node, other)]
        for node, members in at.items()
        for number in members
    }
    is_corner = {
        node: len(members) != 2 or name[members[0]] != name[members[1]] for node, members in at.items()
    }
    inside = streets["is_inside"].to_numpy()
    price = reference_rate(streets["rate"].to_numpy()[inside], streets["length_m"].to_numpy()[inside])
    worth = (streets["rate"] - price * streets["length_m"]).tolist()
    found: list[tuple[float, tuple[int, ...]]] = []

    def extend(path: list[int], visited: list[int], metres: float, value: float) -> None:
        node = visited[-1]
        if metres >= bounds_m[0] and is_corner[node] and path[0] <= path[-1] and value > 0:
            by_name: dict[str, float] = {}
            for number in path:
                by_name[name[number]] = by_name.get(name[number], 0.0) + length[number]
            if max(by_name.values()) >= 0.7 * metres:
                found.append((value, tuple(path)))
        for number in following[path[-1], node]:
            onward = ends[number][0] if ends[number][1] == node else ends[number][1]
            if inside[number] and onward not in visited and metres + length[number] <= bounds_m[1]:
                extend([*path, number], [*visited, onward], metres + length[number], value + worth[number])

    for number, (start, stop) in enumerate(ends):
        for first, second in ((start, stop), (stop, start)):
            if inside[number] and is_corner[first]:
                extend([number], [first, second], length[number], worth[number])
    lines = streets.geometry.to_numpy()
    is_open = shapely.distance(lines, treated) >= separation_m
    found.sort(reverse=True)
    best: list[dict[str, Any]] = []
    for value, path in found:
        if len(best) == k:
            break
        members = list(path)
        if is_open[members].all():
            line = shapely.union_all(lines[members])
            is_open &= shapely.distance(lines, line) >= separation_m
            names = streets["name"].iloc[members]
            best.append(
                {
                    "name": names.mode().iloc[0], "members": members, "excess": value,
                    "true": float(streets["rate"].iloc[members].sum()), "length_m": float(sum(length[n] for n in members)),
                }
            )  # fmt: skip
    return best


def reference_rate(rate: np.ndarray, length_m: np.ndarray, share: float = 0.8) -> float:
    """Return the rate of the street metre at a share of the length."""
    order = np.argsort(rate / length_m)
    reached = np.cumsum(length_m[order]) / length_m.sum()
    return float((rate / length_m)[order][np.searchsorted(reached, share)])


def study_sample() -> dict[str, Any]:
    """Compare the corridors found in the sample with the truly best ones, the treated stretch left out."""
    study = rtm.Study.from_file(rtm.sample_path("study.toml"))
    grid, incidents, treated = study.grid(), study.read("incidents"), study.read("treated")
    assert treated is not None
    model = rtm.RiskForecast().fit(grid, study.risk_factors(), incidents)
    network = rtm.StreetNetwork.around(grid, study.read("streets"))
    sample = sample_truth(grid.crs)
    avoided = shapely.union_all(treated.frame.to_crs(grid.crs).geometry.to_numpy())
    best = true_corridors(sample, avoided)
    lines, rate = sample.streets.geometry.to_numpy(), sample.streets["rate"].to_numpy()
    cells = grid.locate(*sample.places.T)
    true_cells = np.bincount(cells[cells >= 0], sample.place_rate[cells >= 0], minlength=grid.n_cells)
    surfaces = {"forecast": model.expected_, "truth": true_cells}
    price = (best[0]["true"] - best[0]["excess"]) / best[0]["length_m"]
    report: dict[str, Any] = {"true_total": float(rate.sum()), "best": []}
    found = {
        name: rtm.find_corridors(
            Surface.of(grid, surface), network, k=TOP, max_turns=0, exclude=treated.frame
        )
        for name, surface in surfaces.items()
    }
    for one in best:
        own = lines[one.pop("members")]
        report["best"].append(
            one | {f"covered by {name}": _best_cover(own, table) for name, table in found.items()}
        )
    for name, table in found.items():
        report[name] = []
        for _, row in table.iterrows():
            true = float(rate[on_line(lines, row.geometry)].sum())
            report[name].append(
                {
                    "name": row["name"], "from": row["from_street"], "to": row["to_street"],
                    "length_m": float(row["length_m"]), "expected": float(row["expected"]),
                    "true": true, "excess": true - price * float(row["length_m"]),
                }
            )  # fmt: skip
    return report


def _best_cover(lines: np.ndarray, table: gpd.GeoDataFrame) -> dict[str, Any]:
    covers = [covered(lines, corridor) for corridor in table.geometry]
    return {"rank": int(np.argmax(covers)) + 1, "share": max(covers)}


def cities(results: Path = RESULTS) -> list[dict[str, Any]]:
    """Read the cities that were searched."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("city-*.json"))]


def main() -> int:
    """Run what is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--again", action="store_true", help="search anew in the forecasts that are there")
    asked = parser.parse_args()
    for multiple, n_cities in MULTIPLES.items():
        run(range(FIRST_SEED, FIRST_SEED + n_cities), multiple, RESULTS, again=asked.again)
    write_json(RESULTS / "sample.json", study_sample(), overwrite=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
