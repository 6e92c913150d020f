"""Corridors chosen together: every set of every path, rules of a city, money, and what was treated before."""

import ctypes
import itertools
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field

import geopandas as gpd
import networkx as nx
import numpy as np
import pandas as pd
import pytest
import shapely

from rtmkc.errors import InputError
from rtmkc.places.corridors.choice import program, together
from rtmkc.places.corridors.choice.paths import PathFamily, PathSearch
from rtmkc.places.corridors.choice.rules import CorridorRules
from rtmkc.places.corridors.choice.selection import Selection
from rtmkc.places.corridors.choice.together import best_together
from rtmkc.places.corridors.choice.treated import Treated
from rtmkc.places.corridors.network.blocks import StreetBlocks
from rtmkc.places.corridors.network.streets import StreetNetwork
from rtmkc.places.corridors.risk import StreetRisk
from rtmkc.places.corridors.search import find_corridors
from rtmkc.raster.grid import Grid, StudyArea

WEST, SOUTH = 360_000.0, 4_330_000.0
CRS = "EPSG:32615"


def lattice(n_rows, n_columns, seed=0, *, missing=0.0):
    """Return streets and avenues of uneven blocks, some of them missing, a line a block."""
    random = np.random.default_rng(seed)
    right, up = (np.cumsum(np.r_[0, random.integers(80, 160, n - 1)]) for n in (n_columns, n_rows))
    rows = []
    for row, column in itertools.product(range(n_rows), range(n_columns)):
        here = (right[column], up[row])
        if column + 1 < n_columns:
            rows.append((f"{row} St", shapely.LineString([here, (right[column + 1], up[row])])))
        if row + 1 < n_rows:
            rows.append((f"{column} Ave", shapely.LineString([here, (right[column], up[row + 1])])))
    kept = [one for one in rows if random.random() >= missing]
    lines = shapely.transform(np.array([line for _, line in kept]), np.array([WEST, SOUTH]).__add__)
    return gpd.GeoDataFrame({"name": [name for name, _ in kept]}, geometry=lines, crs=CRS)


def all_paths(streets, shortest, longest, max_turns):
    """Rows of every simple path between corners, by networkx; a turn is where the street changes on a lattice."""
    graph = nx.Graph()
    for row, (name, line) in enumerate(zip(streets["name"], streets.geometry, strict=True)):
        begin, end = (tuple(place) for place in shapely.get_coordinates(line)[[0, -1]].round(3))
        graph.add_edge(begin, end, row=row, name=name)
    corners = [
        node
        for node in graph
        if graph.degree(node) != 2 or len({name for *_, name in graph.edges(node, data="name")}) > 1
    ]
    length = streets.length.to_numpy()
    found = []
    for begin, end in itertools.combinations(corners, 2):
        # a block is 80 m or longer
        for nodes in nx.all_simple_paths(graph, begin, end, cutoff=int(longest / 80)):
            edges = [graph.edges[pair] for pair in itertools.pairwise(nodes)]
            names, rows = [edge["name"] for edge in edges], [edge["row"] for edge in edges]
            turns = sum(one != other for one, other in itertools.pairwise(names))
            if turns <= max_turns and shortest <= length[rows].sum() <= longest:
                found.append(frozenset(rows))
    return found


@dataclass
class Case:
    """A small network with everything that can be chosen from it, twice: as the search sees it, and by hand."""

    seed: int
    shape: tuple = (3, 3)
    max_turns: int = 1
    objective: str = "excess"
    k: int = 2
    separation: float = 0.0
    anywhere: bool = False
    rules: CorridorRules = field(default_factory=CorridorRules)

    def __post_init__(self):
        random = np.random.default_rng([self.seed, 7])
        self.streets = lattice(*self.shape, self.seed, missing=0.1)
        network = StreetNetwork.from_layer(self.streets, snap_m=0, merge_divided=False)
        self.blocks = StreetBlocks.of_network(network)
        self.by_row = random.gamma(1.0, 1.0, len(self.streets))
        source = network.segments["source"].to_numpy()
        self.rows = [
            frozenset(source[self.blocks.block_of_segment == at]) for at in range(self.blocks.n_blocks)
        ]
        self.expected = np.array([self.by_row[list(rows)].sum() for rows in self.rows])
        self.prepared = self.rules.prepare(CRS)
        everything = np.ones(self.blocks.n_blocks, dtype=bool)
        family = PathFamily(180.0, 450.0, self.max_turns, anywhere=self.anywhere)
        costs = self.blocks.length_m / 1000 * self.prepared.cost_per_km
        self.selection = Selection(
            PathSearch(self.blocks, family), self.objective, self.k, self.separation, everything, everything,
            1.0 * everything, costs, 2.0,
        )  # fmt: skip

    def found(self):
        return best_together(self.selection, self.prepared, self.expected)

    def by_hand(self):
        """Values, lines, lengths of all paths, from the rows alone."""
        paths = all_paths(self.streets, 180.0, 450.0, self.max_turns)
        length = self.streets.length.to_numpy()
        lines = [shapely.union_all(self.streets.geometry.to_numpy()[list(rows)]) for rows in paths]
        prize = np.array([self.by_row[list(rows)].sum() for rows in paths])
        metres = np.array([length[list(rows)].sum() for rows in paths])
        whole = sorted(
            (self.by_row[list(rows)].sum() / length[list(rows)].sum(), length[list(rows)].sum())
            for rows in self.rows
        )
        reached = np.cumsum([own for _, own in whole]) / length.sum()
        price = next(rate for (rate, _), share in zip(whole, reached, strict=True) if share >= 0.8 - 1e-12)
        value = {
            "excess": prize - price * metres,
            "total": prize,
            "net": 2.0 * prize - metres / 1000 * self.prepared.cost_per_km,
        }[self.objective]
        return paths, lines, metres, value

    def best_by_hand(self):
        """The worth of the best set that is allowed, by looking at all of them; None if none is."""
        paths, lines, metres, value = self.by_hand()
        n = len(paths)
        far = shapely.distance(np.array(lines)[:, None], np.array(lines)[None, :]) >= self.separation - 1e-6
        apart = far & [[not one & other for other in paths] for one in paths]
        districts = self.hand_districts(lines) if self.rules.districts is not None else [None] * n
        money = metres / 1000 * self.prepared.cost_per_km
        best = None

        def allowed(chosen):
            counts = {
                name: sum(districts[at] == name for at in chosen) for name in self.prepared.district_names
            }
            return (
                all(counts[name] >= number for name, number in self.prepared.least.items())
                and all(counts[name] <= number for name, number in self.prepared.most.items())
                and (self.rules.budget is None or money[list(chosen)].sum() <= self.rules.budget + 1e-9)
            )

        def grow(chosen, start):
            nonlocal best
            if allowed(chosen):
                worth = value[list(chosen)].sum()
                best = worth if best is None else max(best, worth)
            if len(chosen) < self.k:
                for at in range(start, n):
                    if all(apart[at, other] for other in chosen):
                        grow((*chosen, at), at + 1)

        grow((), 0)
        return best

    def hand_districts(self, lines):
        frame = self.rules.districts.sort_values("name")
        named = []
        for line in lines:
            inside = [line.intersection(area).length for area in frame.geometry]
            named.append(frame["name"].iloc[int(np.argmax(np.round(inside, 6)))])
        return named


def halves(streets):
    """Two districts that split a city from north to south."""
    west, south, east, north = streets.total_bounds
    middle = west + 0.45 * (east - west)
    boxes = [
        shapely.box(west - 9, south - 9, middle, north + 9),
        shapely.box(middle, south - 9, east + 9, north + 9),
    ]
    return gpd.GeoDataFrame({"name": ["West", "East"]}, geometry=boxes, crs=CRS)


def worth(found):
    return sum(path.value for path in found.paths)


def test_equals_every_set_of_every_path():
    """On 80 small networks the corridors chosen together are worth what the best set of all is, and keep apart."""
    n_more_than_greedy = 0
    for seed in range(80):
        random = np.random.default_rng(seed)
        case = Case(
            seed, max_turns=int(random.integers(0, 3)), objective=("excess", "total", "net")[seed % 3],
            k=int(random.integers(1, 4)), separation=float(random.choice([0.0, 60.0, 130.0])),
            rules=CorridorRules(cost_per_km=2.0),
        )  # fmt: skip
        found, portfolio = case.found()
        assert worth(found) == pytest.approx(case.best_by_hand(), abs=1e-9), seed
        assert portfolio.value == pytest.approx(worth(found))
        assert (portfolio.gap, portfolio.is_best_of_all) == (0.0, True)
        for one, other in itertools.combinations(found.paths, 2):
            assert not set(one.blocks) & set(other.blocks)
            assert one.line(case.blocks).distance(other.line(case.blocks)) >= case.separation - 1e-6
        greedy = worth(case.selection.best(case.expected))
        assert worth(found) >= greedy - 1e-9
        n_more_than_greedy += worth(found) > greedy + 1e-6
        assert sorted((path.value for path in found.paths), reverse=True) == [
            path.value for path in found.paths
        ]
    assert n_more_than_greedy > 10


def test_equals_every_set_under_rules():
    """With quotas by district and a budget too; where no set meets them there is an error, and nowhere else."""
    n_impossible = n_bound = 0
    for seed in range(36):
        random = np.random.default_rng(seed)
        shape = (3, 4)
        least = {"West": int(random.integers(0, 3)), "East": int(random.integers(0, 2))}
        most = {"East": int(random.integers(1, 3))}
        rules = CorridorRules(
            districts=halves(lattice(*shape, seed)), at_least=least, at_most=most,
            budget=float(random.choice([1.0, 1.6, 2.5])), cost_per_km=2.0,
        )  # fmt: skip
        case = Case(
            seed, shape=shape, max_turns=seed % 2, objective=("excess", "total", "net")[seed % 3],
            k=int(random.integers(2, 4)), separation=float(random.choice([0.0, 60.0])), rules=rules,
        )  # fmt: skip
        best = case.best_by_hand()
        if best is None:
            n_impossible += 1
            with pytest.raises(InputError, match="^Invalid rules: .* cannot be met"):
                case.found()
            continue
        found, _ = case.found()
        assert worth(found) == pytest.approx(best, abs=1e-9), seed
        free, _ = Case(
            seed,
            shape,
            case.max_turns,
            case.objective,
            case.k,
            case.separation,
            rules=CorridorRules(cost_per_km=2.0),
        ).found()
        assert worth(found) <= worth(free) + 1e-9
        n_bound += worth(found) < worth(free) - 1e-6
    assert 5 < n_impossible < 25
    assert n_bound > 8


@pytest.mark.parametrize("separation", [0.0, 90.0])
def test_ends_inside_blocks_are_never_worse_than_greedy(separation):
    """Where corridors may end anywhere the set is worth at least the greedy one, and its lines keep their distance."""
    for seed in range(30):
        case = Case(seed, objective="total", k=3, separation=separation, anywhere=True)
        found, _ = case.found()
        assert worth(found) >= worth(case.selection.best(case.expected)) - 1e-9, seed
        lines = [path.line(case.blocks) for path in found.paths]
        for one, other in itertools.combinations(range(len(lines)), 2):
            assert lines[one].distance(lines[other]) >= separation - 1e-6
            assert not set(found.paths[one].blocks) & set(found.paths[other].blocks)


def test_proof_over_all_paths_holds_with_few_candidates(monkeypatch):
    """With five candidates of each kind the bound is never below the best of all sets, and a proof is never wrong."""
    monkeypatch.setattr(together, "MOST_CANDIDATES", 5)
    monkeypatch.setattr(together, "OF_EVERY_PLACE", 5)
    n_proved = n_open = 0
    for seed in range(30):
        case = Case(seed, max_turns=2, k=3, separation=60.0)
        found, portfolio = case.found()
        best = case.best_by_hand()
        assert portfolio.bound_of_all >= best - 1e-9, seed
        if portfolio.is_best_of_all:
            n_proved += 1
            assert worth(found) == pytest.approx(best, abs=1e-9), seed
        n_open += not portfolio.is_best_of_all
    assert n_proved > 5
    assert n_open > 5


def test_what_each_beat_shares_nothing_with_it():
    """The runner-up is worth most of all paths that share no block; what was open then is all but the others' blocks."""
    for seed in range(30):
        case = Case(seed, k=2)
        found, _ = case.found()
        paths, _, _, value = case.by_hand()
        for number, (path, beaten) in enumerate(zip(found.paths, found.runner_ups, strict=True)):
            own = frozenset().union(*(case.rows[block] for block in path.blocks))
            others = [worth for rows, worth in zip(paths, value, strict=True) if not rows & own]
            assert (beaten is None) == (not others)
            if others:
                assert beaten.value == pytest.approx(max(others))
            taken = {
                int(block) for at, other in enumerate(found.paths) if at != number for block in other.blocks
            }
            assert set(np.flatnonzero(~found.open_then[number]).tolist()) == taken


# --- through find_corridors, on a terrain ---


@dataclass
class Terrain:
    grid: Grid
    cells: pd.DataFrame
    horizon_days: int = 90
    facts: dict = field(
        default_factory=lambda: {
            "where": {"drift": 0.1, "hot_cells": None, "strengths": [2.0], "history_horizons": 4.0},
            "period": "2023-01-01/2023-12-31",
            "period_days": 365,
        }
    )


@pytest.fixture(scope="module")
def city():
    """Streets, and a terrain of 60 m cells, hot along 2 St and cooler to the east."""
    streets = lattice(8, 10, 1)
    area = StudyArea.from_geometry(shapely.box(*streets.total_bounds), crs=CRS)
    grid = Grid.cover(area, cell_size=60)
    random = np.random.default_rng(0)
    second = streets[streets["name"] == "2 St"].geometry.iloc[0].centroid.y
    hot = np.exp(-(((grid.northings - second) / 80) ** 2)) * (grid.eastings < grid.eastings.mean() + 200)
    expected = random.gamma(2.0, 0.05, grid.n_cells) + 0.4 * hot
    cells = pd.DataFrame(
        {
            "expected": expected,
            "count": random.poisson(expected * 4),
            "rate_sd": expected / 2,
            "neighbourhood": expected,
        }
    )
    return Terrain(grid, cells), streets


SEARCH = {"k": 3, "min_length": 250, "max_length": 700, "separation": 120}


def test_together_through_find_corridors(city):
    """Together three corridors are worth at least as much as one after the other; the statement says what they are."""
    terrain, streets = city
    one_by_one, at_once = (
        find_corridors(terrain, streets, **SEARCH, together=both) for both in (False, True)
    )
    assert at_once["value"].sum() >= one_by_one["value"].sum() - 1e-9
    assert at_once.attrs["statement"].startswith("The best set of 3 corridors there is: proved for the ")
    assert "They are of " in at_once.attrs["statement"]
    assert (at_once["gap"] == 0).all()
    for one, other in itertools.combinations(at_once.geometry, 2):
        assert one.distance(other) >= 120 - 1e-6


def test_checks_of_corridors_chosen_together_say_how_they_are_made(city):
    """Resampled choices do not know the rules, and a note says so; without resamples there is no such note."""
    terrain, streets = city
    for resamples in (0, 3):
        table = find_corridors(terrain, streets, **SEARCH, together=True, resamples=resamples)
        said = any(
            "chosen one after the other, without quotas and budget" in note for note in table.attrs["notes"]
        )
        assert said is (resamples > 0)
        assert table["rank_stability"].notna().all() == (resamples > 0)


def test_quotas_bring_corridors_where_they_are_asked_for(city):
    """Free, two corridors lie one in each half; two in the east, or none, come out where that is the rule, for less."""
    terrain, streets = city
    districts = halves(streets)
    asked = SEARCH | {"k": 2, "max_length": 400}

    def where(table):
        middles = gpd.GeoDataFrame(geometry=table.geometry.interpolate(0.5, normalized=True), crs=CRS)
        return sorted(districts.sjoin(middles)["name"])

    free = find_corridors(terrain, streets, **asked, together=True)
    assert where(free) == ["East", "West"]
    for rule, expected in (
        ({"at_least": {"East": 2}}, ["East", "East"]),
        ({"at_most": {"East": 0}}, ["West", "West"]),
    ):
        table = find_corridors(terrain, streets, **asked, rules=CorridorRules(districts=districts, **rule))
        assert where(table) == expected
        assert table["value"].sum() < free["value"].sum() - 1e-6
        assert "that the rules allow" in table.attrs["statement"]
        assert any("2 districts that holds most of their length" in note for note in table.attrs["notes"])


def test_budget_and_places_and_what_to_avoid(city):
    """The set costs no more than there is, one corridor serves the place, and none runs where it may not."""
    terrain, streets = city
    west, south, east, north = streets.total_bounds
    place = gpd.GeoDataFrame(
        {"name": ["Budd Park"]}, geometry=[shapely.Point(east - 60, north - 60)], crs=CRS
    )
    wall = gpd.GeoDataFrame(geometry=[shapely.box(west - 9, south - 9, west + 300, north + 9)], crs=CRS)
    rules = CorridorRules(must_include=place, avoid=wall, budget=1300, cost_per_km=1000)
    table = find_corridors(terrain, streets, **SEARCH | {"min_length": 200}, rules=rules)
    assert table["length_m"].sum() <= 1300 + 1e-6
    assert table.geometry.distance(place.geometry.iloc[0]).min() <= 100
    assert (table.geometry.intersection(wall.geometry.iloc[0].buffer(-1)).length == 0).all()
    assert any("blocks left out: excluded, treated or to be avoided" in note for note in table.attrs["notes"])


def test_rules_alone_leave_the_choice_as_it_is(city):
    """Rules that only avoid a place choose one corridor after the other, as `exclude` with no separation does."""
    terrain, streets = city
    park = streets[streets["name"] == "2 St"].geometry.iloc[2].buffer(5)
    rules = CorridorRules(avoid=gpd.GeoDataFrame(geometry=[park], crs=CRS))
    table = find_corridors(terrain, streets, **SEARCH, rules=rules)
    assert table.attrs["statement"].startswith("Corridor 1 is the best of")
    assert (table.geometry.intersection(park.buffer(-1)).length == 0).all()


def past(line, start, **more):
    return gpd.GeoDataFrame({"start": [start], "days": [90], **more}, geometry=[line], crs=CRS)


def test_treated_corridors_fade(city):
    """A corridor treated long ago counts less in the choice by the rule's multiplier; what it expects is shown in full."""
    terrain, streets = city
    first = find_corridors(terrain, streets, **SEARCH | {"k": 1, "objective": "total"}).iloc[0]
    treated = past(first.geometry, "2022-06-01")
    table = find_corridors(
        terrain, streets, **SEARCH | {"k": 60, "objective": "total", "separation": 0}, treated=treated
    )
    rule = Treated.from_layer(treated, crs=CRS, today="2023-12-31")
    factor = 1 - rule.fade * np.exp(-rule.fading_age_days[0] / rule.fade_days)
    assert 0.5 < factor < 0.9
    inside = table[table.geometry.covered_by(first.geometry.buffer(1))]
    apart = table[table.geometry.distance(first.geometry) > 60]
    assert len(inside) >= 1
    assert len(apart) >= 1
    assert np.allclose(inside["value"], factor * inside["expected"])
    assert np.allclose(apart["value"], apart["expected"])
    free = find_corridors(terrain, streets, **SEARCH | {"k": 1, "objective": "total"}, exclude=None)
    assert free["expected"].iloc[0] == pytest.approx(first["expected"])
    assert any("That is a rule, not a measured effect" in note for note in table.attrs["notes"])
    # a rule that takes nothing off changes nothing
    nothing = Treated.from_layer(treated, crs=CRS, today="2023-12-31", fade=0)
    same = find_corridors(terrain, streets, **SEARCH | {"k": 1, "objective": "total"}, treated=nothing)
    assert same["corridor_id"].tolist() == [first["corridor_id"]]


def test_recently_treated_is_excluded(city):
    """Treated within the year is what `exclude` is, to the last figure; its age counts from the end of the incidents."""
    terrain, streets = city
    line = find_corridors(terrain, streets, **SEARCH | {"k": 1}).geometry.iloc[0]
    excluded = find_corridors(terrain, streets, **SEARCH, exclude=gpd.GeoSeries([line], crs=CRS))
    treated = find_corridors(terrain, streets, **SEARCH, treated=past(line, "2023-06-01"))
    assert treated["corridor_id"].tolist() == excluded["corridor_id"].tolist()
    assert treated["value"].tolist() == excluded["value"].tolist()
    assert (treated.geometry.distance(line) >= 120 - 1e-6).all()
    later = find_corridors(terrain, streets, **SEARCH, treated=past(line, "2023-06-01"), today="2026-12-31")
    assert (later.geometry.distance(line) < 120).any()


def test_net_is_worth_less_cost(city):
    """The value of "net" is what incidents are worth less kilometres times their cost, plus the lines' own."""
    terrain, streets = city
    rules = CorridorRules(cost_per_km=100.0)
    table = find_corridors(terrain, streets, **SEARCH, objective="net", rules=rules, incident_value=40.0)
    assert np.allclose(table["value"], 40 * table["expected"] - 100 * table["length_m"] / 1000)
    dear = streets.assign(cost=np.where(streets["name"] == "2 St", 30.0, 3.0))
    by_column = CorridorRules(cost_column="cost")
    table = find_corridors(terrain, dear, **SEARCH, objective="net", rules=by_column, incident_value=40.0)
    own = [dear[dear.covered_by(line.buffer(1))]["cost"].sum() for line in table.geometry]
    assert np.allclose(table["value"], 40 * table["expected"] - own)


def test_cost_of_a_line_is_split_over_its_pieces(city):
    """Lines of several blocks with one cost each give the corridors of lines a block with their parts of it by length."""
    terrain, streets = city
    long = streets.dissolve("name").reset_index()
    long.geometry = shapely.line_merge(long.geometry.to_numpy())
    long["cost"] = np.arange(len(long)) * 10.0
    of_street = long.set_index("name")
    share = streets.length / streets["name"].map(of_street.length)
    short = streets.assign(cost=streets["name"].map(of_street["cost"]) * share)
    rules = CorridorRules(cost_column="cost")
    one, other = (
        find_corridors(terrain, given, **SEARCH, objective="net", rules=rules, incident_value=30.0)
        for given in (long, short)
    )
    assert one["corridor_id"].tolist() == other["corridor_id"].tolist()
    assert np.allclose(one["value"], other["value"])


def test_what_does_not_add_up_is_said(city):
    """Objectives that are no sums, costs that were not read, and rules without streets are one sentence each."""
    terrain, streets = city
    for objective in ("density", "llr"):
        with pytest.raises(InputError, match="Corridors chosen together need one that adds up"):
            find_corridors(terrain, streets, **SEARCH, objective=objective, together=True)
    with pytest.raises(InputError, match="Invalid objective 'net'. It needs costs"):
        find_corridors(terrain, streets, **SEARCH, objective="net")
    risk = StreetRisk.of(terrain, streets)
    rules = CorridorRules(cost_column="cost", budget=10)
    with pytest.raises(InputError, match="Invalid cost_column 'cost'. The streets were read without it"):
        find_corridors(terrain, risk, **SEARCH, rules=rules)
    with pytest.raises(InputError, match="Invalid rules. Corridors of cells cannot be chosen together"):
        find_corridors(terrain, together=True)


def test_equal_worth_everywhere_does_not_overflow(city, monkeypatch):
    """Where thousands of paths are worth the same, as in a city without risk, the candidates stay few."""
    monkeypatch.setattr(together, "MOST_CANDIDATES", 40)
    terrain, streets = city
    nothing = Terrain(terrain.grid, terrain.cells.assign(expected=0.0, count=0))
    table = find_corridors(nothing, streets, **SEARCH, together=True)
    assert len(table) == 0
    assert table.attrs["statement"].startswith("No corridor: of the 40 candidates none is worth choosing.")


LOUD = textwrap.dedent(
    """
    import ctypes, os
    import numpy as np
    from rtmkc.places.corridors.choice import program
    from rtmkc.places.corridors.choice.portfolio import choose_together

    solve = program.milp

    def loud(*given, **named):
        ctypes.CDLL(None).printf(b"HighsMipSolverData::transformNewIntegerFeasibleSolution\\n")
        os.write(1, b"and a line past all buffers\\n")
        return solve(*given, **named)

    def broken(*given, **named):
        ctypes.CDLL(None).printf(b"about to break\\n")
        raise ValueError("solver")

    windows = [np.array([0, 1]), np.array([1, 2]), np.array([2, 3])]
    print("[1,", end="")
    for program.milp in (loud, broken):
        try:
            best = choose_together(np.array([5.0, 8.0, 4.0]), windows, k=2)
        except ValueError:
            print("2]")
    """
)


@pytest.mark.skipif(sys.platform == "win32", reason="the C library of the process has another name")
@pytest.mark.parametrize("closed", [False, True])
def test_lines_of_the_solver_stay_off_standard_output(closed):
    """What compiled code prints while a portfolio is solved does not reach standard output, nor does an error let it;
    a process without standard output solves as well.
    """
    command = [sys.executable, "-c", LOUD]
    if closed:
        command = ["sh", "-c", 'exec "$0" -c "$1" >&-', sys.executable, LOUD]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "" if closed else "[1,2]\n", "")


def test_standard_output_is_itself_again(capfd):
    """Before and after, what is printed arrives, whoever holds standard output; within, nothing does."""
    print("before")
    with pytest.raises(ZeroDivisionError), program._nothing_on_stdout():  # noqa: PT012
        os.write(1, b"within\n")
        raise ZeroDivisionError
    print("after")
    if sys.platform != "win32":
        ctypes.CDLL(None).fflush(None)
    assert capfd.readouterr().out == "before\nafter\n"
