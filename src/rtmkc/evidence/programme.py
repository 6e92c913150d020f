"""The programme: in which order corridors are worked, so that a later evaluation means something."""

import datetime
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import ndtri

from rtmkc.checks import check_choice, check_columns, check_count, check_number
from rtmkc.errors import InputError
from rtmkc.evidence.statistics.intervention import OVERDISPERSION

DAYS = 90
TIE = 0.4
"""Two corridors are a near-tie if the lesser sees the more incidents of both in at least this share of windows."""
COVERAGE = 0.9
"""Coverage of the predictive interval of a corridor's count."""
ROUNDING = 1e-9
_NEEDED = ("rank", "corridor_id", "name", "from_street", "to_street", "expected", "lower", "upper")
_FIGURES = {"excess": "excess", "expected": "expected incidents"}
_ENOUGH = 20
"""So many equally likely orders are needed before a test by lot can reach 5 %."""
_MAY_CLAIM = (
    "In a randomised one a later evaluation may say that a difference beyond chance is due to the work: both corridors were picked "
    "by the same figures, and only the lot put one first."
)
_ARGUE = (
    "may speak of an effect there only if it can argue that both would have changed alike without the work."
)
_LEAVE_OUT = "A waiting corridor next to one at work may take its incidents; leave it out as a comparison."


def plan_rollout(
    corridors: pd.DataFrame,
    quarters: int,
    *,
    start: Any = None,
    per_quarter: int = 1,
    tie: float = TIE,
    by: Literal["excess", "expected"] = "excess",
    random_state: int = 0,
) -> pd.DataFrame:
    """Put corridors in an order over quarters: the best first, and near-ties by lot.

    Where two corridors are so alike that the next count may well turn them round, it costs little to draw lots for
    who comes first. Those that wait by lot are then a fair comparison for those at work: a small randomised trial
    that comes free with the work.

    Parameters
    ----------
    corridors : DataFrame
        As `find_corridors` gives it; the order of its rows does not matter.
    quarters : int
        How many quarters are planned; each is 90 days, and the next starts the day after, so that four of them are five
        days shorter than a year. There must be a corridor for every one of them.
    start : date or text, optional
        First day of the first quarter, such as "2026-01-05"; without it the quarters have numbers only.
    per_quarter : int
        How many corridors are worked at the same time. The last quarter may have fewer.
    tie : float
        How near is a near-tie: the least chance with which a corridor will see more, in the coming window, than the
        best of its group, greater than 0 and at most 0.5. At 0.5 only equal corridors are drawn by lot.
    by : {"excess", "expected"}
        The figure that orders corridors: what `find_corridors` ranks by unless told otherwise, or the expected
        incidents themselves.
    random_state : int
        The seed of the lot. The same seed and the same corridors give the same order. Settle it, and write it
        down, before anybody has seen the order.

    Returns
    -------
    DataFrame
        One row a corridor, in the order of work: quarter (missing for those that wait throughout), start, end (first
        and last day; missing without `start`), corridor_id, name, from_street, to_street, rank, expected, tie_group
        (1 is the best), group_size, randomised (whether its quarter was drawn by lot), probability (the chance that
        the lot had of giving it this quarter, or of making it wait), controls (corridors that still wait
        while it is worked) and randomised_controls (those of them that wait by lot). ``attrs["statement"]`` says in
        plain words what is randomised and what a later evaluation may claim, ``attrs["design"]`` holds the figures.

    Raises
    ------
    InputError
        A table without the columns of `find_corridors`, without corridors, without expected counts, or with a
        corridor twice; more quarters than corridors fill; or an argument out of range.

    Notes
    -----
    Tie groups are anchored: the best corridor starts one, and those that follow join while their figure is at most
    z sqrt(s_best^2 + s^2) below its own; the first that is further below starts the next. Here
    s = (upper - lower) / (2 x 1.645) is the standard deviation of a corridor's count in the coming window, by its 90 %
    predictive interval (or sqrt(1.5 expected) where there is none, as for seams), and z is the normal quantile of 1 - tie: 0.253 for 0.4. Nobody joins by being near to another
    that joined: a chain of small steps would tie the first with the last. Groups keep their order, and within one
    every order is equally likely, also where only a part of it is worked and the rest waits. The
    seed is `random_state`, as everywhere in this package.

    Examples
    --------
    >>> found = pd.DataFrame({
    ...     "rank": [1, 2, 3], "corridor_id": ["a", "b", "c"], "name": ["Oak", "Elm", "Ash"],
    ...     "from_street": "1st", "to_street": "9th", "excess": [9.0, 8.5, 3.0],
    ...     "expected": [14.0, 13.0, 6.0], "lower": [7, 6, 2], "upper": [22, 21, 11],
    ... })
    >>> plan = plan_rollout(found, 2, start="2026-01-05", random_state=3)
    >>> plan[["quarter", "end", "name", "tie_group", "probability", "controls"]]
       quarter        end name  tie_group  probability  controls
    0        1 2026-04-04  Elm          1          0.5         2
    1        2 2026-07-03  Oak          1          0.5         1
    2     <NA>        NaT  Ash          2          1.0         0
    """
    n_quarters, at_once = check_count("quarters", quarters), check_count("per_quarter", per_quarter)
    seed = check_count("random_state", random_state, minimum=0)
    nearness = check_number("tie", tie)
    if not 0 < nearness <= 0.5:
        raise InputError(f"Invalid tie {tie!r}. It must be a chance greater than 0 and at most 0.5.")
    check_choice("by", by, tuple(_FIGURES))
    first_day = _day(start)
    table = _ordered(corridors, by)
    if (n_quarters - 1) * at_once >= len(table):
        filled = -(-len(table) // at_once)
        raise InputError(
            f"Invalid quarters {quarters!r}. There {_are(len(table), 'corridor')}, enough for "
            f"{_counted(filled, 'quarter')} with {at_once} in each; plan {filled}, or look for more corridors (k)."
        )
    deviation, is_rough = _deviation(table)
    group = tie_groups(table[by], deviation, tie=nearness)
    place = draw_queue(group, np.random.default_rng(seed))
    quarter = np.minimum(place // at_once, n_quarters)  # from 0; the last is of those who wait throughout
    is_worked = quarter < n_quarters
    begins = pd.Series(first_day + pd.to_timedelta(DAYS * quarter, unit="D")).where(is_worked)
    shares = Counter(zip(group.tolist(), quarter.tolist(), strict=True))
    alike = np.array([shares[pair] for pair in zip(group.tolist(), quarter.tolist(), strict=True)])
    size = np.bincount(group)[group]
    later = quarter[None, :] > quarter[:, None]
    plan = pd.DataFrame(
        {
            "quarter": pd.Series(quarter + 1, dtype="Int64").where(is_worked),
            "start": begins,
            "end": begins + pd.Timedelta(days=DAYS - 1),
            **{column: table[column] for column in _NEEDED if column not in ("lower", "upper")},
            "tie_group": group + 1,
            "group_size": size,
            "randomised": alike < size,
            "probability": alike / size,
            "controls": later.sum(axis=1),
            "randomised_controls": (later & (group[None, :] == group[:, None])).sum(axis=1),
        }
    )
    plan = plan.iloc[np.argsort(quarter, kind="stable")].reset_index(drop=True)
    orders = _n_orders(group, shares)
    plan.attrs["design"] = {
        "quarters": n_quarters, "days": DAYS, "per_quarter": at_once, "by": by, "tie": nearness, "random_state": seed,
        "comparisons": int(plan["controls"].sum()), "randomised_comparisons": int(plan["randomised_controls"].sum()),
        "equally_likely_orders": orders, "smallest_p": 1 / orders,
    }  # fmt: skip
    plan.attrs["statement"] = _statement(
        plan, is_by_rank=table["rank"].is_monotonic_increasing, is_rough=is_rough
    )
    return plan


def tie_groups(value: Any, deviation: Any, *, tie: float = TIE) -> np.ndarray:
    """Return the tie group of each corridor, 0 the best; see `plan_rollout` for the rule.

    Parameters
    ----------
    value : array of shape (n,)
        What corridors are ordered by, in incidents; highest first.
    deviation : array of shape (n,)
        Standard deviation of each count in the coming window, in incidents.
    tie : float
        Least chance of a corridor to see more than the best of its group.

    Examples
    --------
    >>> tie_groups([10, 9, 8, 7, 6], [3.6] * 5).tolist()
    [0, 0, 1, 1, 2]
    """
    values, spread = np.asarray(value, dtype=float), np.asarray(deviation, dtype=float)
    reach = float(ndtri(1 - tie))
    group = np.zeros(values.size, dtype=np.int64)
    best = 0
    for number in range(1, values.size):
        margin = reach * math.hypot(spread[best], spread[number]) + ROUNDING * abs(values[best])
        if values[best] - values[number] > margin:
            best = number
        group[number] = group[number - 1] + (best == number)
    return group


def _ordered(corridors: Any, by: str) -> pd.DataFrame:
    """The corridors, best first, in an order that does not depend on that of the rows; checked."""
    if not isinstance(corridors, pd.DataFrame):
        raise InputError(
            f"Invalid corridors {type(corridors).__name__}. They are the table that find_corridors gives."
        )
    check_columns([*_NEEDED, by], corridors.columns, "The table of corridors")
    if corridors.empty:
        raise InputError("Invalid corridors. The table has none; look for some with find_corridors first.")
    table = pd.DataFrame(corridors)[list(dict.fromkeys([*_NEEDED, by]))]
    numbers = table[list(dict.fromkeys(["rank", "expected", "lower", "upper", by]))].apply(
        pd.to_numeric, errors="coerce"
    )
    if not np.isfinite(numbers[["rank", "expected", by]].to_numpy(dtype=float)).all():
        raise InputError(
            "Invalid corridors. Some have no rank or no expected count; without counts in a time nothing can be planned, "
            "and they need incidents with dates or a stated period."
        )
    if (numbers["lower"] > numbers["upper"]).any():
        raise InputError("Invalid corridors. The lower bound of a count is above its upper bound.")
    table = table.assign(**numbers, corridor_id=table["corridor_id"].astype(str))
    twice = table["corridor_id"][table["corridor_id"].duplicated()]
    if len(twice):
        raise InputError(f"Invalid corridor_id {twice.iloc[0]!r}. Each corridor may be in the table once.")
    return table.sort_values([by, "rank", "corridor_id"], ascending=[False, True, True], ignore_index=True)


def _deviation(table: pd.DataFrame) -> tuple[np.ndarray, bool]:
    """The standard deviation of each count in the coming window, and whether any had no interval to tell it."""
    width = (table["upper"] - table["lower"]).to_numpy(dtype=float)
    rough = np.sqrt(OVERDISPERSION * table["expected"].clip(lower=0).to_numpy(dtype=float))
    by_interval = width / (2 * ndtri(0.5 + COVERAGE / 2))
    return np.where(np.isnan(width), rough, by_interval), bool(np.isnan(width).any())


def draw_queue(group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The place in the queue of each corridor: groups in their order, all orders within one equally likely."""
    queue = [rng.permutation(np.flatnonzero(group == number)) for number in range(int(group[-1]) + 1)]
    place = np.empty(group.size, dtype=np.int64)
    place[np.concatenate(queue)] = np.arange(group.size)
    return place


def _n_orders(group: np.ndarray, shares: Counter[tuple[int, int]]) -> int:
    """In how many ways the lot could have fallen: who is worked in which quarter, or waits."""
    orders = math.prod(math.factorial(int(size)) for size in np.bincount(group))
    return orders // math.prod(math.factorial(size) for size in shares.values())


def _day(start: Any) -> Any:
    if start is None:
        return pd.NaT
    try:
        # A bare number would be nanoseconds since 1970.
        day = pd.Timestamp(start) if isinstance(start, str | datetime.date | np.datetime64) else pd.NaT
    except ValueError:
        day = pd.NaT
    if pd.isna(day):
        raise InputError(f"Invalid start {start!r}. It must be a date, such as '2026-01-05'.")
    return day.tz_localize(None).normalize()


def _statement(plan: pd.DataFrame, *, is_by_rank: bool, is_rough: bool) -> str:
    """What is randomised, what is not, and what may be claimed."""
    design = plan.attrs["design"]
    waiting = int(plan["quarter"].isna().sum())
    dated = plan["start"].dropna()
    said = [
        f"{_counted(len(plan), 'corridor')} in order of {_FIGURES[design['by']]}, {_counted(design['quarters'], 'quarter')} of {DAYS} days"
        + (f" from {dated.min():%Y-%m-%d} to {plan['end'].max():%Y-%m-%d}" if len(dated) else "")
        + f", {design['per_quarter']} at work in each"
        + (f"; {waiting} wait{'s' if waiting == 1 else ''} throughout." if waiting else ".")
    ]
    if not is_by_rank:
        said.append(f"Their order by {_FIGURES[design['by']]} is not that of their ranks.")
    if is_rough:
        said.append(
            f"Corridors without an interval are taken to vary {OVERDISPERSION:g} times as much (in variance) as chance alone."
        )
    by_lot = plan[plan["randomised"]]
    if by_lot.empty:
        return " ".join([*said, *_nothing_randomised(design)])
    said.append(f"Drawn by lot (random_state={design['random_state']}):")
    said.append("; ".join(_group_words(own) for _, own in by_lot.groupby("tie_group", sort=True)) + ".")
    said.append(
        f"In at least {100 * design['tie']:.0f} % of quarters, each would turn out better than the best of its group."
    )
    return " ".join([*said, *_claims(design)])


def _group_words(own: pd.DataFrame) -> str:
    """A tie group: whom the lot put where."""
    names = [
        f"{name} (rank {rank}: {'waits' if pd.isna(quarter) else f'quarter {quarter}'})"
        for name, rank, quarter in zip(own["name"], own["rank"], own["quarter"], strict=True)
    ]
    return f"tie group {own['tie_group'].iloc[0]}, {_listed(names)}"


def _nothing_randomised(design: dict[str, Any]) -> list[str]:
    if not design["comparisons"]:
        return [
            "Nothing is drawn by lot, and no corridor waits while another is worked: there is no comparison in it."
        ]
    can_be = f"A corridor at work can be compared with one that still waits {_times(design['comparisons'])}"
    return [
        "Nothing is drawn by lot: no near-ties fall into different quarters, so the order is that of the figures.",
        f"{can_be}, never by lot. A later evaluation {_ARGUE}",
    ]


def _claims(design: dict[str, Any]) -> list[str]:
    total, lots = design["comparisons"], design["randomised_comparisons"]
    orders, others = design["equally_likely_orders"], total - lots
    ways = f"{orders:,}" if orders <= 1_000_000 else "1,000,000 or more"
    can_be = f"A corridor at work can be compared with one that still waits {_times(total)}; {_of(lots, total)} randomised"
    fell = f"The lot could have fallen in {ways} equally likely ways, so a test by lot has a p-value of at least 1 in"
    weak = ": by itself this plan can show no effect at 5 %, and must be pooled with others"
    said = [
        f"{can_be} (both of one tie group).",
        _MAY_CLAIM,
        f"{fell} {ways}{weak if orders < _ENOUGH else ''}.",
    ]
    if others:
        are = f"The other {_counted(others, 'comparison')} {'is' if others == 1 else 'are'}"
        said.append(f"{are} between corridors that differed from the start; it {_ARGUE}")
    return [*said, _LEAVE_OUT]


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _are(count: int, noun: str) -> str:
    return f"{'is' if count == 1 else 'are'} {_counted(count, noun)}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _of(part: int, whole: int) -> str:
    if part == whole:
        return "it is" if whole == 1 else "all of these are"
    return f"{part:,} of these {'is' if part == 1 else 'are'}"
