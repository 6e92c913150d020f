"""Corridors that are chosen together: candidates for the best set under a city's rules."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import shapely

from rtmkc.errors import InputError
from rtmkc.places.corridors.choice.conflicts import conflict_pairs
from rtmkc.places.corridors.choice.paths import FoundPaths, PathSearch, StreetPath
from rtmkc.places.corridors.choice.portfolio import Portfolio, choose_together
from rtmkc.places.corridors.choice.rules import REACH_M, PreparedRules, serves
from rtmkc.places.corridors.choice.selection import Selection
from rtmkc.places.corridors.kernels import LINEAR, Worth

MOST_CANDIDATES = 1500
OF_EVERY_PLACE = 200
"""Candidates that are added for a district or place that must have some."""
BISECTIONS = 24


@dataclass(frozen=True, eq=False)
class _Candidates:
    paths: tuple[StreetPath, ...]
    upper_outside: float
    n_looked_at: int
    n_given_up: int


def best_together(
    selection: Selection,
    rules: PreparedRules,
    expected: np.ndarray,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[FoundPaths, Portfolio]:
    """Return the corridors that are worth most together under rules.

    Parameters
    ----------
    selection : Selection
        What is looked for; its objective must be a sum over blocks.
    rules : PreparedRules
        Quotas, places and money.
    expected : ndarray, shape (n_blocks,)
        Expected incidents.
    progress : callable, optional
        Told (done, of).

    Returns
    -------
    FoundPaths
        Best first; what each beat is the best other candidate that shares no block with it.
    Portfolio
        What the set is the best of.

    Raises
    ------
    InputError
        If the objective is no sum, or the rules cannot be met.

    Notes
    -----
    Candidates are the paths worth most of all, the best ones apart from each other, the best for what they cost, and
    for each district or place that must have a corridor those worth most there. No path outside is worth more than
    the least of the first kind, which is what the proof over all paths rests on.
    """
    kind, worth = selection.goal(expected)
    if kind != LINEAR:
        raise InputError(
            f"Invalid objective {selection.objective!r}. Corridors chosen together need one that adds up: 'excess', 'total' "
            "or 'net'."
        )
    found = _candidates(selection, rules, kind, worth)
    blocks = selection.search.blocks
    paths = found.paths
    lines = np.array([path.line(blocks) for path in paths], dtype=object)
    members = [path.blocks for path in paths]
    values = np.array([path.value for path in paths])
    costs = np.array([path.total(selection.costs) for path in paths])
    whole = not selection.search.family.anywhere  # else a path may end before the block that is near another
    own = members if whole else [np.array([number]) for number in range(len(paths))]
    portfolio = choose_together(
        values,
        members,
        k=selection.k,
        conflicts=conflict_pairs(blocks.geometry if whole else lines, own, selection.separation),
        costs=costs if rules.budget is not None else None,
        budget=rules.budget,
        quotas=rules.quotas(lines),
        upper_outside=found.upper_outside,
        progress=progress,
    )
    chosen = [paths[number] for number in portfolio.chosen]
    order = np.argsort(-values, kind="stable")
    runner_ups = tuple(_runner_up(path, paths, order) for path in chosen)
    open_then = _open_then(selection, chosen)
    return FoundPaths(tuple(chosen), runner_ups, open_then, found.n_looked_at, found.n_given_up), portfolio


def _candidates(selection: Selection, rules: PreparedRules, kind: int, worth: Worth) -> _Candidates:
    search = selection.search
    best, floor = _worth_most(search, kind, worth, MOST_CANDIDATES)
    apart = search.best_apart(kind, worth, k=4 * selection.k + 20, separation=selection.separation)
    paths = [*best, *apart.paths]
    if rules.budget is not None and worth.value.max(initial=0.0) > 0:
        top = max((path.value for path in best), default=0.0)
        for price in (0.5, 1.0, 2.0, 4.0):
            dear = worth._replace(value=worth.value - price * top / rules.budget * selection.costs)
            paths += _worth_most(search, kind, dear, MOST_CANDIDATES // 5)[0]
    paths += _of_places(selection, rules, kind, worth)
    unique = {(*path.arcs.tolist(), round(path.last_share, 9)): _valued(path, worth) for path in paths}
    return _Candidates(tuple(unique.values()), floor, apart.n_looked_at, apart.n_given_up)


def _worth_most(search: PathSearch, kind: int, worth: Worth, most: int) -> tuple[list[StreetPath], float]:
    """Return at most so many paths, and what no path that is left out exceeds."""
    value, _, n_within, _ = search.best_of_every_start(kind, worth)
    top = float(value.max(initial=-np.inf))
    if not np.isfinite(top):
        return [], -np.inf
    floor = -np.inf
    if n_within.sum() > most:
        low, high = -abs(top), top
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            enough = search.count(kind, worth, floor=middle) > most
            low, high = (middle, high) if enough else (low, middle)
        floor = high
    # where more than that are worth the same, the rest of them is left out
    return list(itertools.islice(search.all(kind, worth, floor=floor), most)), floor


def _of_places(selection: Selection, rules: PreparedRules, kind: int, worth: Worth) -> list[StreetPath]:
    """Return, for everything that must have a corridor, the paths worth most there."""
    search = selection.search
    lines = search.blocks.geometry
    found: list[StreetPath] = []
    # one that may have few needs candidates as much as one that must have some: they take the place of those it loses
    quotas = {**rules.most, **rules.least}
    district = rules.districts_of(lines) if quotas else np.empty(0)
    for name, number in quotas.items():
        if number:
            found += _within(search, kind, worth, district == name)
    for _, place in rules.places:
        found += _through(search, kind, worth, shapely.dwithin(lines, place, search.family.longest), place)
    return found


def _within(search: PathSearch, kind: int, worth: Worth, own: np.ndarray) -> list[StreetPath]:
    inside = worth._replace(is_open=worth.is_open & own)
    return [
        *_worth_most(search, kind, inside, OF_EVERY_PLACE)[0],
        *search.best_apart(kind, inside, k=10, separation=0.0).paths,
    ]


def _through(
    search: PathSearch, kind: int, worth: Worth, near: np.ndarray, place: shapely.Geometry
) -> list[StreetPath]:
    around = worth._replace(is_open=worth.is_open & near)
    touching = shapely.dwithin(search.blocks.geometry, place, REACH_M)
    paths = [path for path in search.all(kind, around) if touching[path.blocks].any()]
    paths.sort(key=lambda path: -path.value)
    found: list[StreetPath] = []
    for begin in range(0, len(paths), OF_EVERY_PLACE):  # most that touch a place serve it
        part = paths[begin : begin + OF_EVERY_PLACE]
        lines = np.array([path.line(search.blocks) for path in part], dtype=object)
        found += [path for path, does in zip(part, serves(lines, place), strict=True) if does]
        if len(found) >= OF_EVERY_PLACE:
            break
    return found


def _valued(path: StreetPath, worth: Worth) -> StreetPath:
    """A candidate found by other prices, at its own worth."""
    return StreetPath(path.arcs, path.length_m, path.total(worth.value), path.last_share)


def _runner_up(path: StreetPath, paths: Sequence[StreetPath], order: np.ndarray) -> StreetPath | None:
    own = set(path.blocks.tolist())
    return next((paths[at] for at in order if own.isdisjoint(paths[at].blocks.tolist())), None)


def _open_then(selection: Selection, chosen: Sequence[StreetPath]) -> tuple[np.ndarray, ...]:
    """What was open to each corridor, given all the others."""
    search = selection.search
    apart = selection.separation
    closed = [
        search.blocks.nearer_than(apart, path.line(search.blocks)) if apart > 0 else path.blocks
        for path in chosen
    ]
    opened = []
    for number in range(len(chosen)):
        is_open = selection.is_open.copy()
        for other, near in enumerate(closed):
            if other != number:
                is_open[near] = False
        opened.append(is_open)
    return tuple(opened)
