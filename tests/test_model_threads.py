"""Work in threads: in order, with its errors, and sums in one."""

import math
import time

import numpy as np
import pytest

from rtmkc.model.threads import in_threads, inner


def test_results_come_in_the_order_of_the_arguments():
    """The call that ends last is first in the list if it was first in the arguments."""
    waits = [0.05, 0.0, 0.02]
    assert in_threads(lambda wait, name: (time.sleep(wait), name)[1], waits, "abc") == ["a", "b", "c"]
    assert in_threads(str, []) == []


def test_an_error_is_raised_where_the_work_was_asked_for():
    """What fails in a thread fails for the caller."""
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda one: 1 / one, [1, 0])


def test_inner_is_the_sum_of_products():
    """It is the exactly rounded sum to rounding, also of a vector that is a column of a table."""
    one, other = np.random.default_rng(0).normal(size=(2, 20_001))
    assert inner(one, other) == pytest.approx(math.fsum(one * other), rel=1e-12)
    assert inner(np.column_stack([one, other])[:, 0], other) == pytest.approx(
        math.fsum(one * other), rel=1e-12
    )
