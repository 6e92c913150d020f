"""What a count of incidents after the work could show, in plain words: said before the work starts."""

import math

from rtmkc.checks import check_count
from rtmkc.errors import InputError
from rtmkc.evidence.statistics.intervention import (
    CONTROLS,
    LEVEL,
    OVERDISPERSION,
    POWER,
    PRE_WINDOWS,
    incidents_needed,
    minimum_detectable_reduction,
)

EFFECTS = (0.3, 0.1)
"""Falls that people hope for: of these the largest that cannot be told is named. Trials of cleaned and lit streets
mostly report 7 to 13 %."""
FEW, MANY = 0.05, 100
"""Below so many expected incidents there is nothing to count; so many corridors nobody pools."""
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def power_sentence(expected: float, horizon_days: int | None, *, pooled: int = 4) -> str:
    """Return which fall of incidents could be told from chance in a place, alone and pooled with others like it.

    Parameters
    ----------
    expected : float
        Incidents expected in the place in `horizon_days`, if nothing is done.
    horizon_days : int or None
        Days; None where incidents have no period, so that there is no rate.
    pooled : int
        How many such corridors are taken together.

    Raises
    ------
    InputError
        An expected count below 0 or not finite, days that are no whole number, or fewer than two to pool.

    Notes
    -----
    Falls are those of `minimum_detectable_reduction` with its design, rounded up to a whole percent, so that a fall
    said to be enough is enough. The design is stated by `power_design_sentence`.

    Examples
    --------
    >>> print(power_sentence(12, 90))  # doctest: +NORMALIZE_WHITESPACE
    About 12 incidents are expected here in 90 days. Only a fall of 76 % or more could be told from chance; a fall of
    30 % could not. Pooling four such corridors would tell a fall of 46 %.
    >>> print(power_sentence(3, 90))  # doctest: +NORMALIZE_WHITESPACE
    About 3 incidents are expected here in 90 days. Not even a complete stop could be told from chance. Pooling four
    such corridors would tell a fall of 76 %.
    """
    if horizon_days is None:
        return (
            "The incidents have no dates or stated period, so what a count of them could show is not known."
        )
    days = check_count("horizon_days", horizon_days)
    together = check_count("pooled", pooled, minimum=2)
    if not (math.isfinite(expected) and expected >= 0):
        raise InputError(
            f"Invalid expected {expected!r}. It is a number of incidents: finite, and not below 0."
        )
    if expected < FEW:
        return (
            f"Hardly any incident is expected here in {days} days, so no count of them could show an effect."
        )
    fall = float(minimum_detectable_reduction(expected))
    shared = float(minimum_detectable_reduction(together * expected))
    return " ".join(
        [_count_words(expected, days), _alone_words(fall), _pooled_words(expected, shared, together)]
    )


def power_design_sentence(horizon_days: int = 90) -> str:
    """Return the design that the falls of `power_sentence` stand for.

    Examples
    --------
    >>> print(power_design_sentence())  # doctest: +NORMALIZE_WHITESPACE
    This holds if the count is compared with four earlier periods of 90 days and with five comparison corridors of
    like size for each corridor worked, in a one-sided test at 5 % that sees such a fall in 80 % of cases, where counts
    vary 1.5 times as much (in variance) as chance alone makes them. Counts by which a corridor was chosen must not be
    among them: they fall by themselves.
    """
    days = check_count("horizon_days", horizon_days)
    return (
        f"This holds if the count is compared with {_number(PRE_WINDOWS)} earlier periods of {days} days and with "
        f"{_number(CONTROLS)} comparison corridors of like size for each corridor worked, in a one-sided test at "
        f"{100 * LEVEL:.0f} % that sees such a fall in {100 * POWER:.0f} % of cases, where counts vary "
        f"{OVERDISPERSION:g} times as much (in variance) as chance alone makes them. Counts by which a corridor was "
        "chosen must not be among them: they fall by themselves."
    )


def _count_words(expected: float, days: int) -> str:
    count = f"{expected:.2g}" if expected < 10 else f"{expected:,.0f}"
    return f"About {count} incident{' is' if count == '1' else 's are'} expected here in {days} days."


def _alone_words(fall: float) -> str:
    if math.isnan(fall):
        return "Not even a complete stop could be told from chance."
    percent = _percent(fall)
    if percent == 100:
        return "Only a complete stop could be told from chance; a fall of 30 % could not."
    missed = next((effect for effect in EFFECTS if percent > 100 * effect), None)
    if missed is None:
        return f"A fall of {percent} % or more could be told from chance."
    return f"Only a fall of {percent} % or more could be told from chance; a fall of {100 * missed:.0f} % could not."


def _pooled_words(expected: float, fall: float, pooled: int) -> str:
    if not math.isnan(fall):
        told = "a complete stop" if _percent(fall) == 100 else f"a fall of {_percent(fall)} %"
        return f"Pooling {_number(pooled)} such corridors would tell {told}."
    needed = math.ceil(incidents_needed(0.5) / expected)
    if needed > MANY:
        return f"Nor could it in {_number(pooled)} such corridors together: judge the work by something more frequent."
    return f"To tell a fall of 50 % takes {_number(needed)} such corridors together."


def _percent(fall: float) -> int:
    return math.ceil(100 * fall - 1e-9)


def _number(count: int) -> str:
    return _NUMBERS[count] if count < len(_NUMBERS) else f"{count}"


def zone_sentence(expected: float, horizon_days: int | None) -> str:
    """Return which fall could be told in the zone of 100 m on either side; empty without a period.

    Examples
    --------
    >>> zone_sentence(6.3, 90)
    'Counted in the zone of 100 m on either side, where about 6.3 are expected, it takes a fall of 93 %.'
    """
    if horizon_days is None or expected <= 0:
        return ""
    fall = minimum_detectable_reduction(expected)
    told = (
        "not even a complete stop could be told"
        if math.isnan(fall)
        else f"it takes a fall of {math.ceil(100 * fall)} %"
    )
    return f"Counted in the zone of 100 m on either side, where about {expected:.2g} are expected, {told}."
