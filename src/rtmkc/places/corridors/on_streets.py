"""Corridors along streets: what is chosen, and everything that is said of it."""

from dataclasses import dataclass, replace
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from rtmkc.errors import InputError
from rtmkc.places.corridors.choice.neighbours import why_not_longer
from rtmkc.places.corridors.choice.paths import FoundPaths, PathSearch, StreetPath
from rtmkc.places.corridors.choice.portfolio import Portfolio
from rtmkc.places.corridors.choice.rules import CorridorRules, PreparedRules
from rtmkc.places.corridors.choice.selection import Selection
from rtmkc.places.corridors.choice.significance import resample, scan_p_values
from rtmkc.places.corridors.choice.together import best_together
from rtmkc.places.corridors.describe import row_of_path
from rtmkc.places.corridors.kernels import Worth
from rtmkc.places.corridors.network.blocks import StreetBlocks
from rtmkc.places.corridors.risk import StreetRisk
from rtmkc.places.corridors.tables import detectable_percent, finish, horizon_words
from rtmkc.places.corridors.wishes import Limits, Progress, Wish
from rtmkc.units import format_length


def find_on_streets(
    risk: StreetRisk, wish: Wish, limits: Limits, progress: Progress | None = None
) -> gpd.GeoDataFrame:
    """Return the corridors of a street network; see `find_corridors`."""
    notes = list(risk.notes)
    selection = _selection(risk, wish, limits, notes)
    search, expected = selection.search, risk.expected
    found, portfolio = _choose(selection, risk, limits, progress)
    if found.n_looked_at == 0:
        closed = not selection.is_open[selection.is_inside].all()
        raise InputError(
            f"Invalid min_length {format_length(search.family.shortest)}. No path of the streets given is {wish.bounds} "
            f"with {_turn_words(search.family.max_turns)}; lower min_length, allow more turns, or "
            f"{'exclude less' if closed else 'check that the lines meet'}."
        )
    yardsticks = _Yardsticks.of(selection, expected)
    tests = _tests(found, risk, selection, wish, progress)
    rows = [
        _row(at, found, risk, selection, yardsticks)
        | {name: values[at] for name, values in tests.items()}
        | _of_rules(found.paths[at], selection, limits.rules)
        | {"gap": np.nan if found.n_given_up else portfolio.gap if portfolio else 0.0}
        for at in range(len(found.paths))
    ]
    best_of = (
        f"the best of {found.n_looked_at:,} stretches of street with {_turn_words(search.family.max_turns)}"
        f"{'' if search.family.anywhere else ' from corner to corner'}, {wish.bounds}, by "
        f"{_objective_words(wish.objective, yardsticks.price, risk)}"
    )
    if portfolio and wish.resamples and rows:
        notes.append(
            "Rank stability and optimism are found with corridors chosen one after the other, without quotas and budget: a "
            "corridor that only a rule brings in is seldom found again."
        )
    if found.n_given_up:
        notes.append(
            f"From {found.n_given_up} corners there are too many paths to look at all: the result is the best found, and "
            "is not proved. Allow fewer turns or a shorter max_length."
        )
    return finish(
        rows, risk.terrain, wish, limits, best_of, notes, multiple_of="the typical street",
        instead=portfolio.statement if portfolio else None,
    )  # fmt: skip


def _choose(
    selection: Selection, risk: StreetRisk, limits: Limits, progress: Progress | None
) -> tuple[FoundPaths, Portfolio | None]:
    if not limits.is_chosen_together:
        return selection.best(risk.expected), None
    rules = limits.rules or CorridorRules().prepare(risk.network.crs)
    return best_together(selection, rules, risk.expected, progress=progress)


def _of_rules(path: StreetPath, selection: Selection, rules: PreparedRules | None) -> dict[str, Any]:
    """Return what rules count of a corridor: its cost and its district."""
    if rules is None:
        return {}
    line = np.array([path.line(selection.search.blocks)], dtype=object)
    has_cost = rules.cost_per_km > 0 or rules.cost_column is not None
    return {
        "cost": path.total(selection.costs) if has_cost else np.nan,
        "district": rules.districts_of(line)[0] or None if len(rules.district_names) else None,
    }


@dataclass(frozen=True, eq=False)
class _Yardsticks:
    """What every corridor is measured by: the price and the median rate of a metre, even risk, and the goal."""

    price: float
    median: float
    base: np.ndarray
    kind: int
    worth: Worth

    @classmethod
    def of(cls, selection: Selection, expected: np.ndarray) -> "_Yardsticks":
        price, median = selection.price(expected), selection.price(expected, share=0.5)
        return cls(price, median, selection.base(expected), *selection.goal(expected))


def _row(
    at: int, found: FoundPaths, risk: StreetRisk, selection: Selection, yardsticks: _Yardsticks
) -> dict[str, Any]:
    """Return all that is said of one corridor but its tests."""
    path, search, expected = found.paths[at], selection.search, risk.expected
    row, total = row_of_path(path, risk), path.total(expected)
    price, median = yardsticks.price, yardsticks.median
    lower, upper = risk.interval(path.blocks, path.shares)
    stops = why_not_longer(
        path, search, yardsticks.kind, yardsticks.worth._replace(is_open=found.open_then[at]),
        expected=expected, price=price if selection.objective == "excess" else None,
    )  # fmt: skip
    in_order = stops[:: -1 if row["is_reversed"] else 1]
    reasons = zip((row["from_street"], row["to_street"]), in_order, strict=True)
    return row | {
        "turns": search.n_turns(path.arcs),
        "expected": total,
        "lower": lower,
        "upper": upper,
        "excess": total - price * path.length_m,
        "llr": selection.likelihood_ratio(path, expected, yardsticks.base),
        "incidents": path.total(risk.incidents),
        "city_multiple": total / path.length_m / median if median > 0 else np.nan,
        "mde_percent": detectable_percent(total, risk.terrain.horizon_days),
        "runner_up": _runner_up(found.runner_ups[at], risk),
        "why_not_longer": "; ".join(f"{end}: {reason}" for end, reason in reasons),
    }


def _selection(risk: StreetRisk, wish: Wish, limits: Limits, notes: list[str]) -> Selection:
    """Return how corridors are chosen on these streets, and note what is left out."""
    blocks, family, inside = risk.blocks, wish.family, risk.is_inside
    if blocks.labels is not None and family.max_turns:
        raise InputError(
            f"Invalid max_turns {family.max_turns}. Streets drawn from addresses do not know their corners: corridors along "
            "them cannot turn; leave it 0, or give a street layer."
        )
    if risk.network.segments["name"].isna().all():
        notes.append("No street has a name: corridors are named by their place.")
        family = replace(family, one_name=0.0)
    is_open, multiplier = inside.copy(), np.ones(blocks.n_blocks)
    past, rules = limits.treated, limits.rules
    if limits.excluded is not None:
        is_open &= ~_near_excluded(blocks, limits.excluded, wish.separation)
    if rules is not None:
        is_open &= ~rules.is_avoided(blocks.geometry)
        notes += rules.notes
    if past is not None:
        multiplier = past.multiplier(blocks.geometry)
        notes += past.notes
    closed = int((inside & ~is_open).sum())
    if closed:
        notes.append(
            f"{closed} of {int(inside.sum())} blocks left out: excluded, treated or to be avoided, or too near to that."
        )
    if not is_open.any():
        raise InputError(
            "Invalid exclude. With what is treated and avoided it leaves no street of the study area to search; exclude "
            "less, or lower the separation."
        )
    return Selection(
        PathSearch(blocks, family), wish.objective, wish.k, wish.separation, inside, is_open, multiplier,
        _costs(risk, wish, rules), wish.incident_value,
    )  # fmt: skip


def _costs(risk: StreetRisk, wish: Wish, rules: PreparedRules | None) -> np.ndarray:
    """Return what each block costs."""
    if wish.objective == "net" and (rules is None or not (rules.cost_per_km or rules.cost_column)):
        raise InputError(
            "Invalid objective 'net'. It needs costs: give rules=CorridorRules(cost_per_km=) or cost_column=, and "
            "incident_value=."
        )
    if rules is None:
        return np.zeros(risk.blocks.n_blocks)
    own = None
    if rules.cost_column is not None:
        if "cost" not in risk.network.segments:
            raise InputError(
                f"Invalid cost_column {rules.cost_column!r}. The streets were read without it; give the layer itself, or "
                "read them with cost=."
            )
        own = risk.blocks.sum(risk.network.segments["cost"].to_numpy(dtype=float))
    return rules.costs(risk.blocks.length_m, [np.array([at]) for at in range(risk.blocks.n_blocks)], own)


def _near_excluded(blocks: StreetBlocks, excluded: BaseGeometry, separation: float) -> np.ndarray:
    near = np.zeros(blocks.n_blocks, dtype=bool)
    if separation > 0:
        near[blocks.nearer_than(separation, excluded)] = True
    else:  # a street that only crosses an excluded one stays
        shared = shapely.length(shapely.intersection(blocks.geometry, excluded))
        near[shared > 0] = True
    return near


def _tests(
    found: FoundPaths,
    risk: StreetRisk,
    selection: Selection,
    wish: Wish,
    progress: Progress | None,
) -> dict[str, np.ndarray]:
    """Return the columns that say whether a corridor is real, as far as they are asked for."""
    columns: dict[str, np.ndarray] = {}
    if wish.replicates:
        p_values = scan_p_values(
            found.paths,
            risk,
            selection,
            replicates=wish.replicates,
            random_state=wish.random_state,
            progress=progress,
        )
        columns |= {f"p_{name}": values for name, values in p_values.items()}
    if wish.resamples:
        columns["rank_stability"], columns["optimism"] = resample(
            found,
            risk,
            selection,
            resamples=wish.resamples,
            random_state=wish.random_state,
            progress=progress,
        )
    return columns


def _turn_words(most: int) -> str:
    return {0: "no turn", 1: "at most one turn"}.get(most, f"at most {most} turns")


def _objective_words(objective: str, price: float, risk: StreetRisk) -> str:
    horizon = horizon_words(risk.terrain)
    return {
        "excess": f"expected incidents above {1000 * price:.3g} a km {horizon} (the rate of the street at the 80th "
        "percentile of length)",
        "density": f"expected incidents a km {horizon}",
        "total": f"expected incidents {horizon}",
        "llr": f"the log likelihood ratio of expected incidents {horizon} against risk spread evenly over streets",
        "net": f"what expected incidents {horizon} are worth less the cost",
    }[objective]


def _runner_up(path: StreetPath | None, risk: StreetRisk) -> str:
    if path is None:
        return "none: no other stretch is worth its length"
    row = row_of_path(path, risk)
    return (
        f"{row['name']}, {row['from_street']} to {row['to_street']} ({path.length_m:,.0f} m, "
        f"{path.total(risk.expected):.3g} expected)"
    )
