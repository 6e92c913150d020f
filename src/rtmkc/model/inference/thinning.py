"""Poisson thinning: coins deal the incidents to two halves, and near repeats share a coin."""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rtmkc.checks import check_columns, check_count, check_number
from rtmkc.errors import InputError
from rtmkc.model.observations import Observations
from rtmkc.units import parse_days

Words = NDArray[np.uint64]
PER_METRE = 1000.0
"""Places are told apart to the millimetre."""


@dataclass(frozen=True, eq=False)
class Chains:
    """Incidents that belong together, and therefore share a coin.

    Attributes
    ----------
    number : ndarray of int, shape (n_incidents,)
        The chain of each incident.
    keys : ndarray of uint64, shape (n_chains,)
        What a chain is known by: the places and days of its incidents, and not where they stand in the table.
    rule : str
        What makes a chain, in words.
    """

    number: np.ndarray = field(repr=False)
    keys: Words = field(repr=False)
    rule: str

    @property
    def n_chains(self) -> int:
        """Number of coins."""
        return len(self.keys)

    @property
    def share_together(self) -> float:
        """Share of the incidents that are not alone in their chain."""
        return float((np.bincount(self.number)[self.number] > 1).mean())


def find_chains(
    observations: Observations,
    *,
    repeat_days: int | str = 14,
    event: str | None = None,
    address: str | None = None,
) -> Chains:
    """Join incidents that followed each other at one place, and records of one event.

    Parameters
    ----------
    observations : Observations
        Incidents; without dates all of one place are joined.
    repeat_days : duration
        Longest time between one incident and the next at the same place.
    event : str, optional
        Column of the incidents that is equal in the records of one event, such as a report number.
    address : str, optional
        Column of the incidents that names the place, beside the exact coordinates.

    Returns
    -------
    Chains

    Raises
    ------
    InputError
        If a column is not there, or the duration is not one.
    """
    days = parse_days(repeat_days, name="repeat_days")
    frame = observations.incidents.frame
    check_columns(
        [name for name in (event, address) if name is not None], frame.columns, "The layer of incidents"
    )
    points = np.column_stack([frame.geometry.x, frame.geometry.y])
    millimetres = np.rint(points * PER_METRE).astype(np.int64)
    dates = observations.incidents.dates
    day = np.full(len(frame), np.nan)
    if dates is not None:
        stamps = pd.to_datetime(dates).to_numpy(dtype="datetime64[D]")
        day = np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64))

    place = pd.MultiIndex.from_arrays(list(millimetres.T)).factorize()[0]
    links = [_links_in_time(place, day, days)]
    if address is not None:
        links.append(_links_in_time(frame[address].factorize()[0], day, days))
    if event is not None:
        links.append(_links_in_time(frame[event].factorize()[0], np.full(len(frame), np.nan), days))
    first, second = np.concatenate(links, axis=1)
    ones = np.ones(first.size, dtype=bool)
    number = connected_components(coo_array((ones, (first, second)), shape=(len(frame),) * 2), False)[1]
    known_day = np.nan_to_num(day, nan=-1.0).astype(np.int64)
    words = _mix(_mix(_mix(_words(millimetres[:, 0])) ^ _words(millimetres[:, 1])) ^ _words(known_day))
    keys = np.full(number.max() + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(keys, number, words)
    within = f"within {days} days of each other" if dates is not None else "(without dates, whenever it was)"
    same = " or address" if address is not None else ""
    together = f", and records with the same {event!r}" if event is not None else ""
    return Chains(number, keys, f"incidents with the same coordinates{same} {within}{together}")


def _links_in_time(group: np.ndarray, day: np.ndarray, days: int) -> np.ndarray:
    """Pairs of incidents next to each other in a group, if no more days apart; unknown days are never apart."""
    order = np.lexsort((day, group))
    before, after = order[:-1], order[1:]
    # A group of -1 is a missing value, and two missing values are not alike.
    linked = (group[before] == group[after]) & (group[before] >= 0) & ~(day[after] - day[before] > days)
    return np.stack([before[linked], after[linked]])


def toss(chains: Chains, eps: float, seed: int, thin: int = 0) -> NDArray[np.bool_]:
    """Toss one coin a chain; return which incidents go to the first half.

    Parameters
    ----------
    chains : Chains
    eps : float
        Probability of the first half, between 0 and 1.
    seed, thin : int
        Of the coins; a thin is one of many with the same seed.

    Returns
    -------
    ndarray of bool, shape (n_incidents,)
        The same for each incident however the rows are ordered.

    Raises
    ------
    InputError
        If `eps` is not between 0 and 1.

    Notes
    -----
    If the chains of a cell are Poisson with mean m, those of the two halves are independent and Poisson with means
    ``eps m`` and ``(1 - eps) m`` [1]_ [2]_. The coin is a hash of the chain [3]_.

    References
    ----------
    .. [1] Neufeld, A., Dharamshi, A., Gao, L. L. and Witten, D. (2024). Data thinning for convolution-closed
       distributions. Journal of Machine Learning Research 25.
    .. [2] Leiner, J., Duan, B., Wasserman, L. and Ramdas, A. (2025). Data fission: splitting a single data point.
       Journal of the American Statistical Association 120.
    .. [3] Steele, G. L., Lea, D. and Flood, C. H. (2014). Fast splittable pseudorandom number generators. OOPSLA.
    """
    share = check_eps(eps)
    seeds = [check_count("seed", seed, minimum=0), check_count("thin", thin, minimum=0)]
    salt = _mix(_mix(_words(np.array(seeds[:1]))) ^ _words(np.array(seeds[1:])))
    uniform = (_mix(chains.keys ^ salt) >> np.uint64(11)).astype(np.float64) / 2.0**53
    return np.asarray((uniform < share)[chains.number])


def check_eps(eps: float) -> float:
    """Return the probability of the first half, if it is between 0 and 1."""
    share = check_number("eps", eps)
    if not 0 < share < 1:
        raise InputError(
            f"Invalid eps {eps!r}. It is the probability that an incident helps to choose the factors, and must be "
            "greater than 0 and less than 1; the others measure the weights."
        )
    return share


def keep_incidents(observations: Observations, mask: NDArray[np.bool_]) -> Observations:
    """Return the observations with some of the incidents."""
    cells = observations.cells[mask]
    return replace(
        observations,
        incidents=observations.incidents.keep(mask, "dealt to the other half"),
        cells=cells,
        counts=np.bincount(cells, minlength=observations.grid.n_cells),
    )


def _words(numbers: np.ndarray) -> Words:
    return np.asarray(numbers, dtype=np.int64).view(np.uint64)


def _mix(words: Words) -> Words:
    """Scatter 64 bits so that close numbers have nothing in common; sums and products wrap."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
