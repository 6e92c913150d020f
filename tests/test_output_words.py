"""Sentences about a terrain."""

import numpy as np
import pandas as pd
import pytest

from rtmkc.output.words import (
    attribution,
    bracketed,
    corridor_name,
    curve_lines,
    ends_words,
    expected_words,
    marks_words,
    relative_risk,
    weight_words,
)

STEP = {"factor": "poor lighting", "kind": "proximity", "bandwidth_m": np.nan}
DENSE = {"factor": "poor lighting", "kind": "density"}


def test_attribution_says_n_dates_cells_system_and_method(make_terrain):
    """Every picture says n, period, cell size in both units, system, method and version."""
    terrain = make_terrain(n_incidents=3221)
    assert attribution(terrain) == (
        "n = 3,221 incidents, 2021-01-01 to 2023-12-31 · 720 cells of 100 m (328 ft) · EPSG:26915 · "
        "weights: classic · rtmkc 0.1.0"
    )


def test_contemporaneous_factors_are_said_on_every_picture(make_terrain):
    """A picture alone still says that it is not a forecast."""
    terrain = make_terrain(timing="contemporaneous, not a forecast")
    assert attribution(terrain).endswith("contemporaneous, not a forecast")


def test_relative_risk_is_a_multiple_of_the_mean_cell(make_terrain):
    """The mean over cells of both kinds of relative risk is 1."""
    terrain = make_terrain()
    assert relative_risk(terrain).mean() == pytest.approx(1.0)
    assert relative_risk(terrain, "rrs").mean() == pytest.approx(1.0)
    np.testing.assert_allclose(relative_risk(terrain) * terrain.city_mean, terrain.cells["expected"])


@pytest.mark.parametrize(
    ("kind", "rrv", "beginning"),
    [
        (
            "proximity",
            2.4,
            "Within 200 m (656 ft, 1 block) of bars, places have 2.40",
        ),
        (
            "density",
            0.5,
            "Where bars cluster, counted within 200 m (656 ft, 1 block), places have 0.50",
        ),
    ],
)
def test_a_weight_is_told_as_a_sentence_with_its_distance(kind, rrv, beginning):
    """A weight says where it acts, in metres, feet and blocks, how much, and in which direction."""
    weight = pd.Series({"factor": "bars", "kind": kind, "influence_m": 200.0, "rrv": rrv})
    end = " times the incidents of other places that are alike in the other factors of the model"
    assert weight_words(weight, 200.0) == beginning + end + (" (protective)." if rrv < 1 else ".")


def test_a_distance_curve_is_averaged_by_block(make_terrain):
    """Over a block of which half has x4 and half x1 the geometric mean is x2; flat blocks are left out."""
    curves = [
        {**STEP, "from_m": 0.0, "to_m": 200.0, "multiplier": 4.0},
        {**STEP, "from_m": 200.0, "to_m": 300.0, "multiplier": 4.0},
        {**STEP, "from_m": 300.0, "to_m": 420.0, "multiplier": 1.0001},
        {**STEP, "from_m": 420.0, "to_m": 450.0, "multiplier": 1.01},
    ]
    (line,) = curve_lines(make_terrain(curves=curves))
    assert line["near"] == "x4.00 within 200 m (656 ft), x2.00 from 200 m (656 ft) to 400 m (1,312 ft)"
    assert line["dense"] == "no effect above 5 %"


def test_a_density_curve_is_told_by_its_highest_level(make_terrain):
    """Each bandwidth is told once, by the multiplier of its densest level and where that level starts."""
    curves = [
        {**DENSE, "bandwidth_m": 400.0, "from_density": 0.0, "to_density": 12.5, "multiplier": 1.2},
        {**DENSE, "bandwidth_m": 400.0, "from_density": 12.5, "to_density": np.inf, "multiplier": 1.8},
        {**DENSE, "bandwidth_m": 100.0, "from_density": 3.0, "to_density": np.inf, "multiplier": 1.01},
    ]
    (line,) = curve_lines(make_terrain(curves=curves))
    assert line == {
        "factor": "poor lighting",
        "near": "no effect above 5 %",
        "dense": "x1.80 above 12.5 per km2 (32.4 per sq mi) counted within 400 m (1,312 ft)",
    }


def test_flat_curves_have_no_line(make_terrain):
    """A factor whose curve is within 5 % of 1 everywhere is not told."""
    curves = [{**STEP, "from_m": 0.0, "to_m": 200.0, "multiplier": 1.03}]
    assert curve_lines(make_terrain(curves=curves)) == []
    assert curve_lines(make_terrain()) == []


def test_places_in_a_row_are_told_apart_by_brackets():
    """Pairs of degrees get brackets once, wherever they stand; other numbers and names stay as they are."""
    assert bracketed("south-north seam near 39.0936, -94.5460") == (
        "south-north seam near (39.0936,\N{NO-BREAK SPACE}-94.5460)"
    )
    assert bracketed("(39.0936, -94.5460)") == "(39.0936, -94.5460)"
    assert bracketed("Route 24, 31st Street") == "Route 24, 31st Street"


@pytest.mark.parametrize("missing", [None, "", np.nan])
def test_a_corridor_runs_between_two_ends_or_none(missing):
    """Where one end has no name neither is told: one street alone says nothing."""
    assert ends_words({"from_street": "Benton", "to_street": "Hardesty"}) == "Benton to Hardesty"
    assert ends_words({"from_street": "Benton", "to_street": missing}) == ""


def test_a_factor_that_marks_most_of_the_city_says_so():
    """Half of the cells is not most; a little more is."""
    assert marks_words(0.5) == "marks 50 % of the cells"
    assert marks_words(0.51).endswith("it says little about where in the built-up city")


def test_without_a_period_expected_incidents_are_for_no_number_of_days(make_terrain):
    """A map's title names the days, or says that it is relative."""
    terrain = make_terrain()
    assert expected_words(terrain) == "Expected incidents in 90 days"
    terrain.horizon_days = None
    assert expected_words(terrain) == "Expected incidents, relative to the city's average"


def test_a_seam_says_its_place_once():
    """A seam without a name is told by its ends alone; a seam and a street with a name keep it."""
    ends = {"from_street": "39.0905, -94.5461", "to_street": "39.0967, -94.5460"}
    assert corridor_name({"name": "south-north seam near 39.0936, -94.5460", **ends}) == "south-north seam"
    assert corridor_name({"name": "Lykins / Scarritt Point", **ends}) == "Lykins / Scarritt Point"
    assert corridor_name({"name": "Oak", "from_street": None, "to_street": "Elm"}) == "Oak"
