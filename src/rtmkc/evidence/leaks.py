"""What must not be known beforehand: the outcome, in any disguise."""

from dataclasses import replace

import numpy as np
import shapely

from rtmkc.errors import InputError
from rtmkc.evidence.splits import HoldOut
from rtmkc.model.observations import Observations, check_not_the_outcome, check_order_in_time
from rtmkc.raster.candidates import Candidates

FEWEST_COPIES = 10
COPIED_SHARE = 0.5


def check_spread(held: HoldOut) -> None:
    """Raise if a training set lies in one cell: neither a curve nor a bandwidth can then be tried on anything."""
    for split in held.splits:
        if np.count_nonzero(split.train.counts) < 2:
            raise InputError(
                f"Invalid incidents. All {split.train.n_incidents:,} that are learned from lie in one cell; where "
                "places were not known, records are often put on one point: look at dominant_places()."
            )


def check_leaks(measured: Candidates, observations: Observations, held: HoldOut, *, allow_later: bool) -> str:
    """Raise if a factor knows the outcome; return how the factors lie in time to the test."""
    check_not_the_outcome(measured, observations)
    points = np.round(shapely.get_coordinates(observations.incidents.frame.geometry.to_numpy()), 3)
    places = set(map(tuple, points))
    for name, features in measured.features.items():
        if features.raster is not None:
            continue
        shapes = features.frame.geometry.to_numpy()
        own = np.round(shapely.get_coordinates(shapes[shapely.get_type_id(shapes) == 0]), 3)
        on_incidents = sum(tuple(point) in places for point in own)
        copied = set(map(tuple, own))
        under = np.mean([tuple(point) in copied for point in points])
        if on_incidents >= max(FEWEST_COPIES, COPIED_SHARE * len(own)) and under >= COPIED_SHARE:
            raise InputError(
                f"Invalid factor {name!r}. {on_incidents:,} of its {len(own):,} points lie exactly on incidents, and "
                f"{100 * under:.0f} % of the incidents on its points: it is made from them, and would foretell "
                "itself. Leave it out."
            )
    outcome = replace(observations, period=held.test_period)
    return check_order_in_time(measured, outcome, allow_later=allow_later)
