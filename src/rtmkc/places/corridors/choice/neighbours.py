"""What a corridor was weighed against: the next block at either end, and the best one without its blocks."""

import numpy as np

from rtmkc.places.corridors.choice.paths import PathSearch, StreetPath
from rtmkc.places.corridors.choice.program import EQUAL
from rtmkc.places.corridors.kernels import Worth, objective_of, share_on_one_name
from rtmkc.places.corridors.network.blocks import MICROMETRE
from rtmkc.units import format_length


def why_not_longer(
    path: StreetPath,
    search: PathSearch,
    kind: int,
    worth: Worth,
    *,
    expected: np.ndarray,
    price: float | None,
) -> tuple[str, str]:
    """Return, for the beginning and for the end of a path, why it stops there.

    Parameters
    ----------
    path : StreetPath
        A corridor.
    search : PathSearch
        What it was found by.
    kind, worth
        What it was found with, and which blocks were open then.
    expected : ndarray, shape (n_blocks,)
        Expected incidents.
    price : float, optional
        Price of a metre, if the objective is excess.
    """
    reasons = []
    for arcs, share in ((path.arcs[::-1] ^ 1, 1.0), (path.arcs, path.last_share)):
        if share < 1.0:
            limit = search.family.longest if path.length_m > search.family.shortest + 1e-3 else path.length_m
            reasons.append(f"it ends inside a block, at {format_length(limit)}")
        else:
            reasons.append(_reason(arcs, path, search, kind, worth, expected, price))
    return reasons[0], reasons[1]


def _reason(
    arcs: np.ndarray,
    path: StreetPath,
    search: PathSearch,
    kind: int,
    worth: Worth,
    expected: np.ndarray,
    price: float | None,
) -> str:
    graph, family = search.graph, search.family
    on_path = set(search.nodes(path.arcs).tolist())
    used = search.n_turns(path.arcs)
    reasons: dict[str, str] = {}
    best = -np.inf
    for at in range(graph.next_starts[arcs[-1]], graph.next_starts[arcs[-1] + 1]):
        after = int(graph.next_arcs[at])
        block, length = after >> 1, float(graph.length[after >> 1])
        longer = np.append(arcs, after)
        room = family.longest + MICROMETRE - path.length_m
        # as much of a block as there is room for, if one end may lie inside a block and the other does not
        part = min(room / length, 1.0) if family.anywhere and path.last_share == 1.0 else 1.0
        if used + graph.next_turns[at] > family.max_turns:
            reasons["turn"] = (
                "to go on would be another turn" if family.max_turns else "to go on would be a turn"
            )
        elif not worth.is_open[block]:
            reasons["closed"] = (
                "the next block is left out, or too near to what is left out or to a better corridor"
            )
        elif int(graph.head[after]) in on_path:
            reasons["loop"] = "the next block leads back to it"
        elif part * length > room or part * length <= 2 * MICROMETRE:
            reasons["length"] = f"with the next block it would be longer than {format_length(family.longest)}"
        elif family.one_name > 0 and (
            share_on_one_name(longer, len(longer), part, graph, np.zeros(len(search.blocks.names) + 1))
            < family.one_name - 1e-9
        ):
            reasons["name"] = "too little of it would have one street name"
        else:
            value = path.total(worth.value) + part * worth.value[block]
            base = path.total(worth.base) + part * worth.base[block]
            gain = objective_of(kind, value, base, path.length_m + part * length, worth) - path.value
            if gain > best:
                best = gain
                reasons["worth"] = _worth_words(
                    float(worth.value[block]), float(expected[block]), length, price
                )
    if best > EQUAL * max(abs(path.value), 1.0):
        return "the next block would add to it, but the rules for all corridors together leave no room for it"
    # what stops it straight on comes before side streets, which are one turn too many
    for reason in ("worth", "length", "name", "closed", "loop", "turn"):
        if reason in reasons:
            return reasons[reason]
    return "the street ends there" if search.blocks.labels is None else "no address follows there"


def _worth_words(worth: float, expected: float, length: float, price: float | None) -> str:
    if price is None:
        return f"the next block ({format_length(length)}) would make it worth less"
    counted = worth + price * length
    fades = f" (which count as {counted:.2g}, as it was treated)" if counted < (1 - EQUAL) * expected else ""
    return (
        f"the next block ({format_length(length)}) adds {expected:.2g} expected incidents{fades}, and its length would "
        f"have to bring {price * length:.2g}"
    )
