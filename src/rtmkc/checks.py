"""One check for each concept; every check raises `InputError` with the value, the rule and the fix."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from rtmkc.errors import InputError


def check_number(name: str, value: Any) -> float:
    """Return `value` as a float; booleans, text and NaN are refused."""
    if isinstance(value, bool) or (not isinstance(value, int | float) and not hasattr(value, "__float__")):
        raise InputError(f"Invalid {name} {value!r}. It must be a number.")
    number = float(value)
    if not math.isfinite(number):
        raise InputError(f"Invalid {name} {value!r}. It must be a finite number.")
    return number


def check_positive(name: str, value: Any) -> float:
    """Return `value` as a float greater than zero."""
    number = check_number(name, value)
    if number <= 0:
        raise InputError(f"Invalid {name} {value!r}. It must be greater than 0.")
    return number


def check_share(name: str, value: Any) -> float:
    """Return `value` as a share, greater than 0 and at most 1."""
    number = check_number(name, value)
    if not 0 < number <= 1:
        raise InputError(
            f"Invalid {name} {value!r}. It must be a share greater than 0 and at most 1 (0.02 means 2 %)."
        )
    return number


def check_count(name: str, value: Any, *, minimum: int = 1) -> int:
    """Return `value` as an integer of at least `minimum`."""
    number = check_number(name, value)
    if number != int(number) or number < minimum:
        raise InputError(f"Invalid {name} {value!r}. It must be a whole number of at least {minimum}.")
    return int(number)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Return `value` if it is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"Invalid {name} {value!r}. It must be one of: {', '.join(map(repr, choices))}.")
    return value


def check_columns(wanted: Iterable[str], present: Iterable[Any], what: str) -> None:
    """Raise if any of the `wanted` column names is not among those `present` in `what`."""
    present = [str(column) for column in present]
    missing = [column for column in wanted if column not in present]
    if missing:
        raise InputError(
            f"Invalid column {', '.join(map(repr, missing))}. {what} has no such column; "
            f"it has: {', '.join(present) if present else 'none'}."
        )


def check_unique(name: str, values: Iterable[str]) -> None:
    """Raise if any value occurs twice."""
    seen: set[str] = set()
    twice = {value for value in values if value in seen or seen.add(value)}  # type: ignore[func-returns-value]
    if twice:
        raise InputError(
            f"Invalid {name} {', '.join(map(repr, sorted(twice)))}. Each name may be used once; rename one."
        )
