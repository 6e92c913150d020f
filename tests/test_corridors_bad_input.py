"""Input that cannot be used for corridors: one clear sentence each, that names the argument and what to do."""

import itertools
import warnings
from dataclasses import dataclass, field

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from rtmkc.errors import DataWarning, InputError, NoFactorError, RtmkcError
from rtmkc.places.corridors.choice.rules import CorridorRules
from rtmkc.places.corridors.network.streets import StreetNetwork
from rtmkc.places.corridors.risk import StreetRisk
from rtmkc.places.corridors.search import find_corridors
from rtmkc.raster.grid import Grid, StudyArea

N, BLOCK = 9, 120.0
WEST, SOUTH = 360_000.0, 4_330_000.0
SIDE = (N - 1) * BLOCK


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

    def ranking(self, by):
        raise NoFactorError("Invalid by 'rrs'. No factor is in the model; rank by 'expected'.")


def city(**facts):
    area = StudyArea.from_geometry(shapely.box(WEST, SOUTH, WEST + SIDE, SOUTH + SIDE), crs="EPSG:32615")
    grid = Grid.cover(area, cell_size=60)
    expected = np.random.default_rng(0).gamma(1.0, 0.1, grid.n_cells)
    cells = pd.DataFrame(
        {
            "expected": expected,
            "count": 1,
            "rate_sd": expected / 2,
            "share": grid.share,
            "neighbourhood": expected,
        }
    )
    terrain = Terrain(grid, cells)
    terrain.facts |= facts
    return terrain


def streets(**columns):
    names, lines = [], []
    for line, block in itertools.product(range(N), range(N - 1)):
        across, begin, end = line * BLOCK, block * BLOCK, (block + 1) * BLOCK
        names += [f"{line} St", f"{line} Ave"]
        lines.append(shapely.LineString([(WEST + begin, SOUTH + across), (WEST + end, SOUTH + across)]))
        lines.append(shapely.LineString([(WEST + across, SOUTH + begin), (WEST + across, SOUTH + end)]))
    return gpd.GeoDataFrame({"name": names} | columns, geometry=lines, crs=32615)


def frame(geometry, crs=32615, **columns):
    return gpd.GeoDataFrame(columns or {"name": "Here"}, geometry=[geometry], crs=crs, index=[0])


AREA = shapely.box(WEST - 500, SOUTH - 500, WEST + SIDE + 500, SOUTH + SIDE + 500)
WEST_HALF = shapely.box(WEST - 9, SOUTH - 9, WEST + SIDE / 2, SOUTH + SIDE + 9)
ACROSS = shapely.LineString([(WEST, SOUTH), (WEST + SIDE, SOUTH)])
DISTRICTS = frame(WEST_HALF, name="West")


def in_degrees():
    """Coordinates in degrees, under the label of a system in metres."""
    return streets().to_crs(4326).set_crs(32615, allow_override=True)


def quotas(**rule):
    return {"rules": CorridorRules(districts=DISTRICTS, **rule)}


CASES = {
    "network in degrees": (in_degrees, {}, "look like longitudes and latitudes under a wrong label"),
    "layer without system": (lambda: streets().set_crs(None, allow_override=True), {}, "Invalid crs None. Layer 'streets' does not say"),
    "far away": (lambda: streets().set_geometry(streets().translate(90_000, 0)), {}, "comes near the study area"),
    "one segment": (lambda: streets().iloc[[0]], {}, "Invalid min_length 500 m.*lower min_length"),
    "no path long enough": (streets, {"min_length": 2400, "max_length": 2500}, "Invalid min_length.*lower min_length, allow more turns"),
    "no path long enough, together": (streets, {"min_length": 2400, "max_length": 2500, "together": True}, "Invalid min_length"),
    "empty layer": (lambda: streets().iloc[:0], {}, "none of the 0 rows comes near the study area"),
    "points for streets": (lambda: streets().set_geometry(streets().centroid), {}, "none of the 144 rows is a street line"),
    "all motorways": (lambda: streets(highway="motorway"), {}, "none of the 144 rows is a street line that may be used"),
    "not a layer": (lambda: 7, {}, "Give a path, a GeoDataFrame or a DataFrame"),
    "no such name": (streets, {"name": "strasse"}, "Invalid column 'strasse'"),
    "no such class": (streets, {"road_class": "klasse"}, "Invalid column 'klasse'"),
    "everything excluded": (streets, {"exclude": AREA}, "Invalid exclude. .*leaves no street of the study area"),
    "everything treated": (streets, {"treated": frame(AREA, start="2023-11-01")}, "Invalid exclude. With what is treated"),
    "everything avoided": (streets, {"rules": CorridorRules(avoid=frame(AREA))}, "Invalid exclude. .*treated and avoided"),
    "too much excluded": (streets, {"exclude": frame(AREA.buffer(-700)), "min_length": 900, "separation": 210}, "exclude less"),
    "exclude without system": (streets, {"exclude": gpd.GeoSeries([ACROSS])}, "Invalid exclude: it has no coordinate system"),
    "exclude of no kind": (streets, {"exclude": 7}, "Give a path, a GeoDataFrame or a DataFrame"),
    "treated without dates": (streets, {"treated": frame(AREA)}, "Invalid exclude. With what is treated"),
    "treated without today": (streets, {"treated": frame(ACROSS, start="2020-01-01")}, "Invalid today None. .*write today"),
    "today of no kind": (streets, {"treated": frame(ACROSS, start="2020-01-01"), "today": "soon"}, "Invalid today 'soon'"),
    "zero budget": (streets, lambda: {"rules": CorridorRules(budget=0, cost_per_km=1)}, "Invalid budget 0. It must be greater than 0"),
    "budget without costs": (streets, lambda: {"rules": CorridorRules(budget=9)}, "A budget needs costs"),
    "quota without districts": (streets, lambda: {"rules": CorridorRules(at_least=1)}, "give districts= too"),
    "quota that cannot be met": (streets, lambda: quotas(at_least=50) | {"k": 50}, "Invalid rules: at least 50 corridors in West cannot be met"),
    "more in a district than altogether": (streets, lambda: quotas(at_least=3) | {"k": 2}, "Invalid rules: at most 2 corridors altogether and at least 3"),
    "unknown district": (streets, lambda: quotas(at_most={"Nord": 1}), "Invalid at_most for 'Nord'. There is no such district; there are: West"),
    "place out of reach": (streets, lambda: {"rules": CorridorRules(must_include=frame(shapely.Point(WEST + 9e4, SOUTH)))}, "Invalid rules: .* within 100 m of Here cannot be met"),
    "cost not in the layer": (streets, lambda: {"rules": CorridorRules(cost_column="dollars", budget=9)}, "Invalid column 'dollars'"),
    "costs missing": (lambda: streets(cost=np.nan), lambda: {"rules": CorridorRules(cost_column="cost", budget=9)}, "blocks have a cost that is missing"),
    "negative separation": (streets, {"separation": -1}, "Invalid separation -1"),
    "separation without a unit": (streets, {"separation": "300 somethings"}, "Invalid separation '300 somethings'"),
    "separation not a number": (streets, {"separation": float("nan")}, "Invalid separation nan"),
    "none asked for": (streets, {"k": 0}, "Invalid k 0. It must be a whole number of at least 1"),
    "half a corridor": (streets, {"k": 1.5}, "Invalid k 1.5"),
    "negative turns": (streets, {"max_turns": -1}, "Invalid max_turns -1. It must be a whole number of at least 0"),
    "share above one": (streets, {"one_name": 2}, "Invalid one_name 2. It must be a share"),
    "share below zero": (streets, {"one_name": -0.1}, "Invalid one_name -0.1. It must be a share"),
    "length not a number": (streets, {"min_length": float("nan")}, "Invalid min_length nan"),
    "length infinite": (streets, {"max_length": float("inf")}, "Invalid max_length inf"),
    "length zero": (streets, {"min_length": 0}, "Invalid min_length 0"),
    "longest below shortest": (streets, {"max_length": "100 m"}, "Invalid max_length '100 m'. It must not be shorter than min_length"),
    "unknown objective": (streets, {"objective": "best"}, "Invalid objective 'best'. It must be one of: 'excess'"),
    "objective that is no sum": (streets, {"objective": "llr", "together": True}, "Invalid objective 'llr'. .*'excess', 'total' or 'net'"),
    "net without costs": (streets, {"objective": "net"}, "Invalid objective 'net'. It needs costs"),
    "incident worth nothing": (streets, {"incident_value": 0}, "Invalid incident_value 0"),
    "unknown ends": (streets, {"ends": "middle"}, "Invalid ends 'middle'"),
    "unknown surface": (streets, {"by": "counts"}, "Invalid by 'counts'. It must be one of: 'expected'"),
    "no factor for rrs": (streets, {"by": "rrs"}, "Invalid by 'rrs'. No factor is in the model"),
    "negative replicates": (streets, {"replicates": -1}, "Invalid replicates -1"),
    "negative resamples": (streets, {"resamples": -1}, "Invalid resamples -1"),
    "seed of no kind": (streets, {"random_state": "seven"}, "Invalid random_state 'seven'"),
    "cells by density": (lambda: None, {"objective": "density"}, "Invalid objective 'density'. Corridors of cells"),
    "cells by score": (lambda: None, {"by": "rrs"}, "Invalid by 'rrs'. Corridors of cells"),
    "cells under rules": (lambda: None, lambda: quotas(at_most=1), "Invalid rules. Corridors of cells"),
    "cells all excluded": (lambda: None, {"exclude": AREA}, "Invalid min_length .*No chain of cells that is not excluded"),
    "cells too long": (lambda: None, {"min_length": 9000, "max_length": 9500}, "Invalid min_length .*lower min_length, or exclude less"),
    "areas without names": (lambda: None, {"areas": frame(AREA, what=1)}, "Invalid areas: no column with names"),
}  # fmt: skip
SEARCH = {"min_length": 500, "max_length": 900, "separation": 100}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_clear_sentence(case):
    """What cannot be used is an error of the library with the argument, the rule and the fix."""
    given, arguments, words = CASES[case]
    terrain = city(period=None) if case in ("treated without today",) else city()

    def search():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # that nothing is left of a layer is said as well
            more = arguments() if callable(arguments) else arguments
            return find_corridors(terrain, given(), **SEARCH | more)

    with pytest.raises((InputError, NoFactorError), match=words) as caught:
        search()
    message = str(caught.value)
    assert message.startswith("Invalid ")
    assert "\n" not in message
    assert message.endswith(".")
    assert len(message) < 420
    assert "Traceback" not in message
    assert isinstance(caught.value, RtmkcError)


def test_streets_without_names_are_a_result_with_a_note():
    """No names are no error: corridors come out, called by their place, and a note says so."""
    table = find_corridors(city(), streets().drop(columns="name"), **SEARCH)
    assert len(table) > 0
    assert "No street has a name: corridors are named by their place." in table.attrs["notes"]


def test_nothing_within_the_budget_is_a_result():
    """Where no corridor can be paid the table is empty and its sentence says what the cheapest costs."""
    rules = CorridorRules(budget=0.1, cost_per_km=1)
    table = find_corridors(city(), streets(), **SEARCH, rules=rules)
    assert len(table) == 0
    assert "No corridor: a budget of 0.1 is less than any of the" in table.attrs["statement"]


def test_treated_without_dates_is_left_out_and_said():
    """A treated corridor without a usable date is kept clear of, and a note says so."""
    table = find_corridors(city(), streets(), **SEARCH, treated=frame(ACROSS, start=None))
    assert (table.geometry.distance(ACROSS) >= 100 - 1e-6).all()
    assert any("1 without a usable date, so left out to be safe" in note for note in table.attrs["notes"])


def test_rows_that_cannot_be_used_are_counted():
    """Rows without a line, of no length or off the map do not stop the search; the notes count what was dropped."""
    good = streets()
    nowhere = gpd.GeoDataFrame(
        {"name": ["None", "Empty", "Speck"]},
        geometry=[None, shapely.LineString(), shapely.LineString([(WEST, SOUTH), (WEST, SOUTH)])],
        crs=32615,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        both = pd.concat([good, nowhere], ignore_index=True)
    one = find_corridors(city(), good, **SEARCH)
    with pytest.warns(DataWarning, match="2 of 147 rows were dropped"):
        other = find_corridors(city(), both, **SEARCH)
    assert one["corridor_id"].tolist() == other["corridor_id"].tolist()
    assert np.allclose(one["expected"], other["expected"])


def test_everything_ready_made_is_taken_too():
    """A layer, a network and a StreetRisk of the same streets give the same corridors."""
    terrain = city()
    given = streets(), StreetNetwork.from_layer(streets()), StreetRisk.of(terrain, streets())
    tables = [find_corridors(terrain, one, **SEARCH) for one in given]
    assert (
        tables[0]["corridor_id"].tolist()
        == tables[1]["corridor_id"].tolist()
        == tables[2]["corridor_id"].tolist()
    )


def test_seams_say_what_they_leave_empty():
    """Without streets scan tests and fading have no effect, and the notes say so instead of nothing."""
    past = frame(ACROSS, start="2020-01-01")
    table = find_corridors(city(), **SEARCH, treated=past, replicates=9, resamples=9)
    assert table[["p_length", "p_factors", "rank_stability", "optimism"]].isna().all(axis=None)
    assert any("need streets, and are left empty" in note for note in table.attrs["notes"])
    assert any("Without streets no cell counts less" in note for note in table.attrs["notes"])


@pytest.mark.parametrize(
    ("objective", "words"),
    [("excess", "worth more than its length"), ("net", "worth more than it costs"), ("total", "any expected incidents")],
)  # fmt: skip
def test_nothing_worth_choosing_is_said_in_the_words_of_the_objective(objective, words):
    """A city without risk has no corridor by any objective, and where few keep apart the note counts them."""
    rules = CorridorRules(cost_per_km=1.0) if objective == "net" else None
    quiet = city()
    quiet.cells["expected"] = 0.0
    table = find_corridors(quiet, streets(), **SEARCH, objective=objective, rules=rules)
    assert len(table) == 0
    assert table.attrs["statement"].endswith(f"{words}.")
    few = find_corridors(
        city(), streets(), **SEARCH | {"separation": 700}, objective=objective, rules=rules, k=9
    )
    assert 1 <= len(few) < 9
    assert few.attrs["notes"][-1].startswith(
        f"{len(few)} of 9 corridors asked for: no other that is far enough from these"
    )
