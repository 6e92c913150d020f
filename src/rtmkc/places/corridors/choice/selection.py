"""One way to choose corridors by what blocks are expected to see: for the answer, and for everything that tests it."""

from dataclasses import dataclass, field

import numpy as np

from rtmkc.places.corridors.choice.paths import FoundPaths, PathSearch, StreetPath, reference_price, worth_of
from rtmkc.places.corridors.kernels import LLR, Worth, objective_of

PRICE_SHARE = 0.8
"""The price of a metre is the rate of the street metre at this share of the city's length."""


@dataclass(frozen=True, eq=False)
class Selection:
    """What is looked for, where, and what for.

    Attributes
    ----------
    search : PathSearch
        All paths.
    objective : str
        One of `OBJECTIVES`.
    k : int
        How many.
    separation : float
        Metres between two of them.
    is_inside, is_open : ndarray of bool, shape (n_blocks,)
        Streets of the area, and those of them that may be used.
    multiplier : ndarray, shape (n_blocks,)
        What a block's incidents count for in the choice: less than 1 where it was worked not long ago.
    costs : ndarray, shape (n_blocks,)
        What a block costs.
    incident_value : float
        What an incident is worth, in the unit of the costs.
    """

    search: PathSearch
    objective: str
    k: int
    separation: float
    is_inside: np.ndarray = field(repr=False)
    is_open: np.ndarray = field(repr=False)
    multiplier: np.ndarray = field(repr=False)
    costs: np.ndarray = field(repr=False)
    incident_value: float

    def price(self, expected: np.ndarray, share: float = PRICE_SHARE) -> float:
        """Return the rate of the street metre at a share of the city's length."""
        inside = self.is_inside
        return reference_price(expected[inside], self.search.blocks.length_m[inside], share=share)

    def base(self, expected: np.ndarray) -> np.ndarray:
        """Return the expected incidents spread evenly over the streets of the area."""
        length = np.where(self.is_inside, self.search.blocks.length_m, 0.0)
        return np.asarray(length * (expected.sum() / length.sum()))

    def goal(self, expected: np.ndarray) -> tuple[int, Worth]:
        """Return the kind of the objective and what it makes of the blocks."""
        return worth_of(
            self.objective,
            self.search.blocks,
            expected * self.multiplier,
            price=self.price(expected),
            incident_value=self.incident_value,
            costs=self.costs,
            base=self.base(expected),
            is_open=self.is_open,
        )

    def best(self, expected: np.ndarray) -> FoundPaths:
        """Return the best paths, each given those before it."""
        return self.search.best_apart(*self.goal(expected), k=self.k, separation=self.separation)

    def likelihood_ratio(self, path: StreetPath, seen: np.ndarray, base: np.ndarray) -> float:
        """Return the log likelihood ratio of what a path has of `seen` against `base`, which has the same total."""
        whole = Worth(seen, base, float(seen.sum()), float(base.sum()), self.is_open)
        return float(objective_of(LLR, path.total(seen), path.total(base), path.length_m, whole))
