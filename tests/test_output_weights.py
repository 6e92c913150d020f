"""Words on the weights of a model: reach, noise, chance, and what is not decided."""

import numpy as np
import pandas as pd
import pytest

from rtmkc.output.comparisons import change_lines, slice_rows
from rtmkc.output.weights import (
    comparison_rows,
    doubts,
    extent_sentence,
    extent_words,
    noise_sentence,
    none_of,
    other_rows,
    patches_sentence,
    unsure_sentence,
    weight_rows,
)
from rtmkc.workflow.changes import COLUMNS

STATUS = {"one": "not in the model", "two": "not decided"}


def terrain_of(make_terrain, *statuses):
    """A terrain without a factor in the model, whose factors have these statuses."""
    terrain = make_terrain(factors=(), method="guarded")
    names = ["bars", "hotels", "parks"][: len(statuses)]
    rows = [
        {"factor": name, "status": status, "reason": "x"}
        for name, status in zip(names, statuses, strict=True)
    ]
    terrain.weights = pd.DataFrame(rows, columns=terrain.weights.columns)
    return terrain


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        (["one"], "The one factor tried is not in the model"),
        (["one", "one"], "None of the 2 factors tried is in the model"),
        (
            ["one", "two", "two"],
            "None of the 3 factors tried is in the model; the map is too small to decide on hotels and parks",
        ),
        (["two"], "Whether it matters is not decided: the map is too small"),
        (["two", "two"], "Whether any of the 2 factors tried matters is not decided: the map is too small"),
    ],
)
def test_no_factor_is_a_sentence_and_undecided_is_not_refuted(make_terrain, statuses, said):
    """What the map cannot decide is told apart from what is not in the model, also where there is nothing else."""
    assert none_of(terrain_of(make_terrain, *(STATUS[status] for status in statuses))) == said


def test_a_reach_is_as_wide_as_the_data_leave_it():
    """Distances of one kind are told as first to last, kinds after one another; one alone is said to be alone."""
    assert extent_words("proximity 1,000 m (3,281 ft), 1,250 m (4,101 ft)") == (
        "within 1,000 to 1,250 m (3,281 to 4,101 ft)"
    )
    alone = "proximity 69 m (225 ft)"
    assert extent_sentence(alone) == "It acts within 69 m (225 ft); nothing else fits as well."
    assert extent_sentence(f"{alone}; density 69 m (225 ft)") == (
        "It acts within 69 m (225 ft), or by density within 69 m (225 ft): the data cannot tell these apart."
    )
    assert extent_sentence("") == extent_words("") == ""


def test_extents_of_a_fitted_model_can_be_told():
    """The text that a fit writes is the text that is read here: every distance of the set lies in the words."""
    from rtmkc import RiskTerrainModel, simulate_city

    city = simulate_city(
        n_rows=40, n_columns=40, n_factors=2, active={0: ("proximity", 2, 5.0)}, random_state=1
    )
    weights = RiskTerrainModel().fit(city.grid, city.risk_factors(), city.incidents).weights_
    row = weights.set_index("factor").loc["factor 0"]
    assert row["status"] == "in the model"
    words = extent_words(row["extent_set"])
    assert words.startswith("within ")
    assert f"{row['influence_m']:,.0f}" in row["extent_set"]
    assert words.count("(") == words.count("ft)")


def test_what_noise_costs_is_said_in_plain_words():
    """A wider interval is told as a multiple; none, as none; unknown, not at all."""
    assert noise_sentence(2.14) == "The map's noise costs this factor a 2.1-fold width of its interval."
    assert noise_sentence(1.0) == "The map's noise costs this factor no width of its interval."
    assert noise_sentence(np.nan) == ""


def test_patches_are_told_with_their_width(make_terrain):
    """Patches, only single cells, nothing, and not measured, are four different sentences."""
    facts = make_terrain(method="guarded").facts
    assert patches_sentence(facts) == (
        "Risk also varies in patches about 1.1 km (0.7 mi) wide that no factor explains; the intervals allow for them."
    )
    noise = facts["why"]["noise"]
    noise["range_m"] = 600.0
    assert "about 600 m (1,969 ft) wide" in patches_sentence(facts)
    noise["variance"] = 0.0
    assert patches_sentence(facts).startswith(
        "No patches of risk are seen beyond the factors; single cells vary"
    )
    noise["nugget"] = 0.0
    assert patches_sentence(facts) == "No patches of risk are seen beyond the factors."
    assert patches_sentence(make_terrain().facts) == ""


def test_a_classic_factor_that_shifts_do_not_support_is_doubted(make_terrain):
    """Above .05 it is warned of, at .05 it is not; where the map is too small that is said; guarded weights need none."""
    terrain = make_terrain()
    terrain.weights.loc[0, "shift_p"] = 0.05
    assert doubts(terrain) == ""
    terrain.weights.loc[0, "shift_p"] = 0.0501
    assert doubts(terrain) == (
        "Do not rely on poor lighting: moved elsewhere on the map, it fits the incidents as well in more than 5 of "
        "100 places."
    )
    terrain.weights.loc[1, "shift_p"] = 0.9
    assert doubts(terrain).startswith(
        "Do not rely on poor lighting and vacant houses: moved elsewhere on the map, they fit"
    )
    terrain.weights.loc[1, "n_effective_shifts"] = 19.0
    assert doubts(terrain).endswith("The map is too small to test vacant houses by shifts.")
    guarded = make_terrain(method="guarded")
    guarded.weights.loc[0, "shift_p"] = 0.9
    assert doubts(guarded) == ""


def test_rows_have_the_p_value_of_their_method(make_terrain):
    """Guarded rows show the p-value for all factors together, classic rows that of the factor alone."""
    (first, *_), (classic, *_) = (
        weight_rows(make_terrain(method=method)) for method in ("guarded", "classic")
    )
    assert (first["chance"], classic["chance"]) == ("0.004", "0.001")
    assert not first["is_chance"]
    assert first["extent"].startswith("It acts within 100 to 300 m")
    assert classic["extent"] == classic["noise"] == ""
    guarded = make_terrain(method="guarded")
    assert [row["factor"] for row in other_rows(guarded, "not in the model")] == ["bus stops"]
    (open_one,) = other_rows(guarded, "not decided")
    assert (open_one["factor"], open_one["shifts"]) == ("liquor stores", "12 independent shifts")


def test_a_comparison_keeps_the_three_statuses_apart(make_terrain):
    """With and without exposure: a value, not in the model, or not decided."""
    terrain = make_terrain(method="guarded")
    without = terrain.weights.copy()
    without.loc[0, "status"] = "not decided"
    rows = {row["factor"]: row for row in comparison_rows(terrain, without)}
    assert rows["poor lighting"] == {
        "factor": "poor lighting", "with": "x2.40 (2.00 to 2.88)", "without": "not decided",
    }  # fmt: skip
    assert rows["bus stops"]["with"] == "not in the model"
    assert comparison_rows(terrain, None) == []


def test_slices_and_changes_keep_the_three_statuses_apart():
    """An empty cell of a slice is not in the model; an undecided one says so; a factor that left says where to."""
    slices = pd.DataFrame(
        {
            "slice": ["all", "nights"], "hours": "all", "weekdays": "all", "n_incidents": [900, 80],
            "status_bars": ["in the model", "not decided"], "rrv_bars": [2.0, np.nan],
            "lower_bars": [1.5, np.nan], "upper_bars": [3.0, np.nan],
            "status_parks": "not in the model", "rrv_parks": np.nan, "lower_parks": np.nan, "upper_parks": np.nan,
        }
    )  # fmt: skip
    assert slice_rows(slices)["rows"] == [
        {"factor": "bars", "cells": ["x2.00 (1.50 to 3.00)", "not decided"]}
    ]
    row = dict.fromkeys(COLUMNS, np.nan) | {
        "what": "factor", "name": "bars", "change": "left", "status_before": "in the model",
        "status_now": "not decided", "rank_before": 1, "value_before": 2.0, "lower_before": 1.5, "upper_before": 3.0,
    }  # fmt: skip
    new = dict.fromkeys(COLUMNS, np.nan) | {
        "what": "factor", "name": "parks", "change": "entered", "status_before": None, "status_now": "in the model",
        "rank_now": 1, "value_now": 1.5, "lower_now": 1.2, "upper_now": 1.9,
    }  # fmt: skip
    changes = pd.DataFrame([row, new])
    changes.attrs.update(statement="factors: 1 left", notes=[])
    assert change_lines(changes)[:2] == [
        "bars: left, x2.00 (1.50 to 3.00) -> not decided",
        "parks: entered, not tried -> x1.50 (1.20 to 1.90)",
    ]


@pytest.mark.parametrize(
    ("lower", "upper", "said"),
    [(0.9, 2.0, True), (1.0, 2.0, True), (0.4, 1.0, True), (1.001, 2.0, False), (0.4, 0.99, False), (np.nan, np.nan, False)],
)  # fmt: skip
def test_an_interval_that_includes_one_is_put_into_words(make_terrain, lower, upper, said):
    """Of guarded weights only: a factor that shifts let in can have an interval that reaches to the other side of 1."""
    sentence = "That it matters is clearer than how much: its interval includes 1."
    for method, told in (("guarded", said), ("classic", False)):
        terrain = make_terrain(method=method)
        terrain.weights.loc[0, ["lower", "upper"]] = lower, upper
        first, second = weight_rows(terrain)
        assert first["unsure"] == (sentence if told else "")
        assert second["unsure"] == ""
    assert unsure_sentence(pd.Series({"lower": lower, "upper": upper})) == (sentence if said else "")
