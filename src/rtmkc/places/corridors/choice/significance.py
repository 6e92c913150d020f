"""Is it real? Scan tests of the incidents of a corridor, and how its choice would change with the data."""

from collections.abc import Callable, Sequence

import numpy as np

from rtmkc.places.corridors.allocate import metres_of_street
from rtmkc.places.corridors.choice.paths import FoundPaths, PathSearch, StreetPath, worth_of
from rtmkc.places.corridors.choice.selection import Selection
from rtmkc.places.corridors.risk import StreetRisk

RESELECTED = 0.5
"""A corridor is found again if this share of its length is."""
Progress = Callable[[int, int], None]


def cell_nulls(risk: StreetRisk) -> dict[str, np.ndarray]:
    """Return, by name, the chance of an incident to fall into each cell if nothing but that mattered.

    Returns
    -------
    dict of str to ndarray, shape (n_cells,)
        "length": in proportion to metres of street; "factors": to the environment's part of the forecast, which has no
        history. Both 0 in cells that no street is near, and summing to 1.
    """
    has_street = risk.allocation.has_street
    grid, cells = risk.terrain.grid, risk.terrain.cells
    # a cell that streets only pass by has no metres of its own, and cannot see an incident under the first null
    metres = np.where(has_street, metres_of_street(grid, risk.network), 0.0)
    factors = np.where(has_street, cells["environment"].to_numpy(dtype=float), 0.0)
    return {"length": metres / metres.sum(), "factors": factors / factors.sum()}


def scan_p_values(
    paths: Sequence[StreetPath],
    risk: StreetRisk,
    selection: Selection,
    *,
    replicates: int,
    random_state: int,
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """Return the scan p-values of some paths under both nulls.

    Parameters
    ----------
    paths : sequence of StreetPath
        Corridors.
    risk : StreetRisk
        The terrain on its streets.
    selection : Selection
        The family of paths, and the blocks that were open.
    replicates : int
        Cities B that are drawn under each null.
    random_state : int
        Seed.
    progress : callable, optional
        Told (done, of).

    Returns
    -------
    dict of str to ndarray, shape (n_paths,)
        By null: ``(1 + #{max LLR_b >= LLR}) / (B + 1)``.

    Notes
    -----
    Incidents of the data are multinomial over cells under the null; a drawn city is allocated to streets as the real one
    is, and the best path of the whole family is found in it, so that the test pays for the search (Kulldorff 1997,
    Communications in Statistics 26, 1481-1496). Later corridors are compared with the same maxima, which is
    conservative.
    """
    random = np.random.default_rng([random_state, 0])
    allocation, blocks = risk.allocation, risk.blocks
    count = np.where(allocation.has_street, risk.terrain.cells["count"].to_numpy(dtype=float), 0.0)
    total = int(count.sum())
    if total == 0:
        return {name: np.full(len(paths), np.nan) for name in ("length", "factors")}
    seen = blocks.sum(allocation.to_segments(count))
    p_values = {}
    for number, (name, chance) in enumerate(cell_nulls(risk).items()):
        base = blocks.sum(allocation.to_segments(total * chance))
        maxima = np.empty(replicates)
        for replicate in range(replicates):
            drawn = blocks.sum(allocation.to_segments(random.multinomial(total, chance).astype(float)))
            maxima[replicate] = best_likelihood_ratio(selection.search, drawn, base, selection.is_open)
            if progress is not None:
                progress(number * replicates + replicate + 1, 2 * replicates)
        own = np.array([selection.likelihood_ratio(path, seen, base) for path in paths])
        p_values[name] = (1 + (maxima[None, :] >= own[:, None]).sum(axis=1)) / (replicates + 1)
    return p_values


def best_likelihood_ratio(
    search: PathSearch, counts: np.ndarray, base: np.ndarray, is_open: np.ndarray | None = None
) -> float:
    """Return the largest log likelihood ratio of any path, 0 if none exceeds its base."""
    kind, worth = worth_of("llr", search.blocks, counts, base=base, is_open=is_open)
    value, *_ = search.best_of_every_start(kind, worth)
    return max(float(value.max(initial=0.0)), 0.0)


def resample(
    found: FoundPaths,
    risk: StreetRisk,
    selection: Selection,
    *,
    resamples: int,
    random_state: int,
    progress: Progress | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return rank stability and optimism of corridors, by rank.

    Parameters
    ----------
    found : FoundPaths
        The corridors.
    risk : StreetRisk
        The terrain on its streets; without rates (`by` is "rrs") both are NaN.
    selection : Selection
        How they were chosen.
    resamples : int
        How many risks are drawn.
    random_state : int
        Seed.
    progress : callable, optional
        Told (done, of).

    Returns
    -------
    stability : ndarray, shape (n_paths,)
        Share of the risks drawn in which half of the corridor's length or more is among the best k.
    optimism : ndarray, shape (n_paths,)
        What the corridor of that rank is expected to see over what it truly sees, where the truth is known: a risk is
        drawn, a history is drawn from it, and corridors are chosen by what the history says. 1 is right; above 1 the
        best look better than they are.

    Notes
    -----
    Rates of cells are drawn from their gamma distributions, apart from each other. A drawn history is as long as the
    real one, and a cell's expectation is renewed from it as the forecast does: what is around it times the posterior
    mean of its own multiplier.
    """
    n_paths = len(found.paths)
    draw = _drawer(risk, np.random.default_rng([random_state, 1]))
    if draw is None or n_paths == 0:
        return np.full(n_paths, np.nan), np.full(n_paths, np.nan)
    again, apparent, true = np.zeros(n_paths), np.zeros(n_paths), np.zeros(n_paths)
    length = risk.blocks.length_m
    for number in range(resamples):
        truth, learned = draw()
        chosen = np.zeros(risk.blocks.n_blocks)
        for path in selection.best(truth).paths:
            chosen[path.blocks] = np.maximum(chosen[path.blocks], path.shares)
        for rank, path in enumerate(found.paths):
            shared = np.minimum(path.shares, chosen[path.blocks]) @ length[path.blocks]
            again[rank] += shared >= RESELECTED * path.length_m
        for rank, path in enumerate(selection.best(learned).paths[:n_paths]):
            apparent[rank] += path.total(learned)
            true[rank] += path.total(truth)
        if progress is not None:
            progress(number + 1, resamples)
    optimism = np.divide(apparent, true, out=np.full(n_paths, np.nan), where=true > 0)
    return again / resamples, optimism


def _drawer(
    risk: StreetRisk, random: np.random.Generator
) -> Callable[[], tuple[np.ndarray, np.ndarray]] | None:
    """Return what draws a true risk of the blocks, and what a history drawn from it says of them."""
    rates = risk.rates
    if rates is None:
        return None

    def on_blocks(surface: np.ndarray) -> np.ndarray:
        return risk.blocks.sum(risk.allocation.to_segments(surface))

    def draw() -> tuple[np.ndarray, np.ndarray]:
        truth = rates.draw(random)
        seen = random.poisson(truth * rates.length).astype(float)
        return on_blocks(truth), on_blocks(rates.learn(seen))

    return draw
