"""The order in which teams walk the stops of a corridor, and how long that takes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Start = Literal["middle", "ends"]
Pattern = Literal["boustrophedon", "zigzag"]


@dataclass(frozen=True, eq=False)
class Round:
    """The walk of one team.

    Attributes
    ----------
    stops : ndarray of int, shape (n,)
        In walking order.
    walk_m : ndarray of float, shape (n,)
        Metres from the stop before, or from the start.
    back_m : float
        Metres from the last stop back to the start.
    start_m : float
        Chainage of the start.
    minutes : float
        Visits and walking, the way back included.
    forward : bool
        Whether the team first walks in the running direction of the line.
    """

    stops: np.ndarray
    walk_m: np.ndarray
    back_m: float
    start_m: float
    minutes: float
    forward: bool


@dataclass(frozen=True, eq=False)
class Street:
    """Stops beside a line, as the walk sees them.

    Attributes
    ----------
    chainage : ndarray of float, shape (n_stops,)
        Metres along the line.
    offset : ndarray of float, shape (n_stops,)
        Metres from the line, positive on the left.
    is_left : ndarray of bool, shape (n_stops,)
        Side of the line.
    visit_minutes : ndarray of float, shape (n_stops,)
        Time at each stop.
    length_m : float
        Of the line.
    pattern : {"boustrophedon", "zigzag"}
        Out on one side and back on the other, or from side to side.
    metres_per_minute : float
        Walking speed.
    """

    chainage: np.ndarray
    offset: np.ndarray
    is_left: np.ndarray
    visit_minutes: np.ndarray
    length_m: float
    pattern: Pattern
    metres_per_minute: float

    def walk(self, stops: np.ndarray, start_m: float, *, forward: bool) -> Round:
        """Return the walk of one team from a place on the line over its stops, and back.

        Notes
        -----
        A team keeps to its right: out on the right-hand side, back on the other. Distances go along the street
        and straight across it: |difference of chainage| + |difference of offset|.
        """
        ahead = np.round((self.chainage[stops] - start_m) * (1 if forward else -1), 3)
        aside = np.round(np.abs(self.offset[stops]), 3)
        far_side = self.is_left[stops] == forward
        if self.pattern == "zigzag":
            order = np.lexsort((aside, far_side, ahead))
        else:
            order = np.lexsort((aside, np.where(far_side, -ahead, ahead), far_side))
        walked = stops[order]
        along = np.concatenate([[start_m], self.chainage[walked], [start_m]])
        across = np.concatenate([[0.0], self.offset[walked], [0.0]])
        steps = np.abs(np.diff(along)) + np.abs(np.diff(across))
        if not len(walked):
            steps = np.zeros(1)
        minutes = float(self.visit_minutes[walked].sum() + steps.sum() / self.metres_per_minute)
        return Round(walked, steps[:-1], float(steps[-1]), start_m, minutes, forward)

    def rounds(self, teams: int, start: Start, *, runs_east: bool) -> list[Round]:
        """Return the walks of one or two teams, that which starts in the running direction first.

        Parameters
        ----------
        teams : {1, 2}
            One starts at the beginning of the line.
        start : {"middle", "ends"}
            Two start back to back where they part, or at both ends of the line.
        runs_east : bool
            Whether the line runs east or north: it decides between two partings that are equally good, so that a
            line and its reverse are parted at the same place.

        Notes
        -----
        Of all places to part the stops by chainage, that where the team which takes longer is back first.
        """
        order = np.lexsort((np.round(self.offset, 3), np.round(self.chainage, 3)))
        if teams == 1:
            return [self.walk(order, 0.0, forward=True)]
        best: tuple[tuple[float, ...], list[Round]] | None = None
        for cut in range(len(order) + 1):
            behind, ahead = order[:cut], order[cut:]
            pair = self._pair(behind, ahead, start)
            times = sorted(one.minutes for one in pair)
            quality = (
                *(round(value, 6) for value in (times[1], times[1] - times[0])),
                round(abs(pair[0].start_m + pair[1].start_m - self.length_m), 3),
                cut if runs_east else len(order) - cut,
            )
            if best is None or quality < best[0]:
                best = quality, pair
        assert best is not None
        return best[1]

    def _pair(self, behind: np.ndarray, ahead: np.ndarray, start: Start) -> list[Round]:
        if start == "ends":
            return [
                self.walk(behind, 0.0, forward=True),
                self.walk(ahead, self.length_m, forward=False),
            ]
        nearest = [*self.chainage[behind[-1:]], *self.chainage[ahead[:1]]]
        middle = float(np.mean(nearest)) if nearest else self.length_m / 2
        return [self.walk(ahead, middle, forward=True), self.walk(behind, middle, forward=False)]


def hours_words(minutes: float) -> str:
    """Return a time for people.

    Examples
    --------
    >>> hours_words(200), hours_words(45.2), hours_words(120)
    ('3 h 20 min', '45 min', '2 h')
    """
    hours, rest = divmod(round(minutes), 60)
    parts: Sequence[str] = [f"{hours} h"] * (hours > 0) + [f"{rest} min"] * (rest > 0 or hours == 0)
    return " ".join(parts)
