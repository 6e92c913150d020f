"""Work of equal kinds side by side, with the same results on any number of processors."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

Result = TypeVar("Result")


def in_threads(function: Callable[..., Result], *arguments: Any) -> list[Result]:
    """Return what a function makes of each set of arguments, in their order, as `map` does.

    For calls that take a millisecond or more and spend it in numpy, scipy or compiled loops, which let other threads
    run. Sums that must be the same bits everywhere belong inside the function or after it, in the order of the list.

    Examples
    --------
    >>> in_threads(pow, [2, 3], [4, 5])
    [16, 243]
    """
    calls = list(zip(*arguments, strict=True))
    n_threads = min(os.cpu_count() or 1, len(calls))
    if n_threads <= 1:
        return [function(*call) for call in calls]
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(lambda call: function(*call), calls))


def inner(one: np.ndarray, other: np.ndarray) -> float:
    """Return the sum of products of two vectors, in one thread.

    A linear algebra library shares such a sum between threads, which then wait for each other longer than they add; and
    how it is shared decides the last bits.

    Examples
    --------
    >>> inner(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    11.0
    """
    return float(np.einsum("i,i", one, other))
