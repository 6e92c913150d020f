"""Compiled loops over collapsed rows, in one file because numba's cache does not see edits elsewhere.

Likelihoods of a few rows, their Newton fit, and the sums that make rows of cells. No fastmath: the same input gives
the same bits.
"""

import math
from typing import Any

import numba
import numpy as np

POISSON, NB1, NB2 = 0, 1, 2
COEFFICIENT_CAP = 10.0
LOG_DISPERSION_FLOOR = -12.0
LOG_DISPERSION_CEILING = 12.0

_compile: Any = numba.njit(cache=True, nogil=True)


@_compile
def pattern_sums(pattern: Any, codes: Any, values: Any, result: Any) -> None:
    """Add every cell's value (1 if there are none) to result[pattern, code]."""
    if values.size == 0:
        for cell in range(pattern.size):
            result[pattern[cell], codes[cell]] += 1.0
    else:
        for cell in range(pattern.size):
            result[pattern[cell], codes[cell]] += values[cell]


@_compile
def list_tails(row: Any, counts: Any, n_rows: int, lowest: int) -> Any:
    """For every row the number of its cells with count > k, for k = lowest, lowest + 1, ...

    Returns pointer (n_rows + 1), k and number of cells, both (pointer[-1]). These are all that the
    negative binomial needs of the counts: log gamma(y + a) - log gamma(a) = sum of log(a + k) over k < y.
    """
    n_cells = row.size
    top = np.zeros(n_rows, dtype=np.int64)
    start = np.zeros(n_rows + 1, dtype=np.int64)
    for cell in range(n_cells):
        start[row[cell] + 1] += 1
        top[row[cell]] = max(top[row[cell]], counts[cell])
    pointer = np.zeros(n_rows + 1, dtype=np.int64)
    highest = 0
    for index in range(n_rows):
        start[index + 1] += start[index]
        pointer[index + 1] = pointer[index] + max(top[index] - lowest, 0)
        highest = max(highest, top[index])
    order = np.empty(n_cells, dtype=np.int64)
    cursor = start[:-1].copy()
    for cell in range(n_cells):
        order[cursor[row[cell]]] = counts[cell]
        cursor[row[cell]] += 1
    steps = np.empty(pointer[-1])
    numbers = np.empty(pointer[-1])
    histogram = np.zeros(highest + 1)
    for index in range(n_rows):
        for place in range(start[index], start[index + 1]):
            histogram[order[place]] += 1.0
        above = 0.0
        for k in range(top[index] - 1, lowest - 1, -1):
            above += histogram[k + 1]
            steps[pointer[index] + k - lowest] = k
            numbers[pointer[index] + k - lowest] = above
        for place in range(start[index], start[index + 1]):
            histogram[order[place]] = 0.0
    return pointer, steps, numbers


@_compile
def evaluate_rows(
    family: int, matrix: Any, offset: Any, weight: Any, total: Any, pointer: Any, steps: Any, numbers: Any,
    point: Any, score: Any, information: Any,
) -> float:  # fmt: skip
    """Log likelihood without constants at `point` = (intercept, coefficients[, log dispersion]).

    Fills the score and the observed information. The derivation of every term is in `families`.
    """
    n_rows, n_columns = matrix.shape
    size = point.size
    last = size - 1
    score[:] = 0.0
    information[:] = 0.0
    likelihood = 0.0
    dispersion = 0.0 if family == POISSON else math.exp(point[last])
    ratio = math.log1p(dispersion) / dispersion if family == NB1 else 0.0
    row = np.ones(1 + n_columns)
    for index in range(n_rows):
        eta = offset[index] + point[0]
        for column in range(n_columns):
            row[column + 1] = matrix[index, column]
            eta += point[column + 1] * row[column + 1]
        eta = min(max(eta, -700.0), 700.0)
        mean = math.exp(eta)
        expected = weight[index] * mean
        first, second, mixed = 0.0, 0.0, 0.0
        if family == POISSON:
            likelihood += total[index] * eta - expected
            first = total[index] - expected
            second = expected
        elif family == NB1:
            q_sum, q_rest, logs, beyond = 0.0, 0.0, 0.0, 0.0
            for place in range(pointer[index], pointer[index + 1]):
                number = numbers[place]
                if steps[place] == 0.0:
                    logs += number * eta
                    q_sum += number
                else:
                    both = mean + steps[place] * dispersion
                    share = mean / both
                    logs += number * math.log(both)
                    q_sum += number * share
                    q_rest += number * share * (1.0 - share)
                    beyond += number * (1.0 - share)
            over = 1.0 + dispersion
            likelihood += logs - ratio * expected - total[index] * dispersion * ratio
            first = q_sum - ratio * expected
            second = ratio * expected - q_rest
            mixed = q_rest + expected * (1.0 / over - ratio)
            score[last] += beyond - expected * (1.0 / over - ratio) - total[index] * dispersion / over
            information[last, last] -= (
                q_rest
                + expected * (dispersion / over**2 + 1.0 / over - ratio)
                - total[index] * dispersion / over**2
            )
        else:
            spread = 1.0 + dispersion * mean
            log_spread = math.log1p(dispersion * mean)
            excess = total[index] - expected
            likelihood += total[index] * eta - (total[index] + weight[index] / dispersion) * log_spread
            first = excess / spread
            second = mean * (weight[index] + dispersion * total[index]) / spread**2
            mixed = dispersion * mean * excess / spread**2
            score[last] += (
                weight[index] * log_spread / dispersion
                - (dispersion * total[index] + weight[index]) * mean / spread
            )
            information[last, last] -= (
                weight[index] * (mean / spread - log_spread / dispersion)
                - dispersion * mean * excess / spread**2
            )
        for i in range(1 + n_columns):
            if row[i] != 0.0:
                score[i] += first * row[i]
                scaled = second * row[i]
                for j in range(i, 1 + n_columns):
                    information[i, j] += scaled * row[j]
                if family != POISSON:
                    information[i, last] += mixed * row[i]
    if family == NB2:
        for place in range(steps.size):
            product = dispersion * steps[place]
            likelihood += numbers[place] * math.log1p(product)
            score[last] += numbers[place] * product / (1.0 + product)
            information[last, last] -= numbers[place] * product / (1.0 + product) ** 2
    for i in range(size):
        for j in range(i):
            information[i, j] = information[j, i]
    return likelihood


@_compile
def _solve(matrix: Any, right: Any, free: Any, ridge: float, solution: Any) -> bool:
    """Solve for the free entries by Cholesky; False if the matrix is not safely positive definite."""
    size = right.size
    factor = np.zeros((size, size))
    for i in range(size):
        solution[i] = 0.0
        if not free[i]:
            continue
        for j in range(i + 1):
            if not free[j]:
                continue
            value = matrix[i, j]
            if i == j:
                value += ridge * max(abs(matrix[i, i]), 1e-10)
            for k in range(j):
                if free[k]:
                    value -= factor[i, k] * factor[j, k]
            if i == j:
                if not value > 1e-11 * max(abs(matrix[i, i]), 1e-300):
                    return False
                factor[i, i] = math.sqrt(value)
            else:
                factor[i, j] = value / factor[j, j]
    for i in range(size):
        if free[i]:
            value = right[i]
            for k in range(i):
                if free[k]:
                    value -= factor[i, k] * solution[k]
            solution[i] = value / factor[i, i]
    for i in range(size - 1, -1, -1):
        if free[i]:
            value = solution[i]
            for k in range(i + 1, size):
                if free[k]:
                    value -= factor[k, i] * solution[k]
            solution[i] = value / factor[i, i]
    return True


@_compile
def fit_rows(
    family: int, matrix: Any, offset: Any, weight: Any, total: Any, pointer: Any, steps: Any, numbers: Any,
    point: Any, information: Any, max_iterations: int,
) -> Any:  # fmt: skip
    """Climb from `point` by Newton's method to the maximum; returns (likelihood, iterations, done).

    Coefficients stay within the cap, log dispersion between floor and ceiling. Where the information is
    not positive definite it gets a ridge, so every step climbs.
    """
    size = point.size
    n_columns = matrix.shape[1]
    score = np.empty(size)
    step = np.empty(size)
    trial_score = np.empty(size)
    trial_information = np.empty((size, size))
    trial = np.empty(size)
    low = np.full(size, -COEFFICIENT_CAP)
    high = np.full(size, COEFFICIENT_CAP)
    low[0], high[0] = -1e4, 1e4
    if size > 1 + n_columns:
        low[size - 1], high[size - 1] = LOG_DISPERSION_FLOOR, LOG_DISPERSION_CEILING
    for i in range(size):
        point[i] = min(max(point[i], low[i]), high[i])
    free = np.ones(size, dtype=np.bool_)
    likelihood = evaluate_rows(
        family, matrix, offset, weight, total, pointer, steps, numbers, point, score, information
    )
    for iteration in range(max_iterations):
        for i in range(size):
            outward = (point[i] >= high[i] and score[i] >= 0.0) or (point[i] <= low[i] and score[i] <= 0.0)
            free[i] = not outward
        ridge = 0.0
        while not _solve(information, score, free, ridge, step):
            ridge = max(10.0 * ridge, 1e-8)
            if ridge > 1e12:
                return likelihood, iteration, False
        longest, gain = 0.0, 0.0
        for i in range(size):
            longest = max(longest, abs(step[i]))
            gain += step[i] * score[i]
        share = min(1.0, 4.0 / longest) if longest > 0.0 else 1.0
        accepted = False
        moved = 0.0
        for _ in range(50):
            moved = 0.0
            for i in range(size):
                trial[i] = min(max(point[i] + share * step[i], low[i]), high[i])
                moved = max(moved, abs(trial[i] - point[i]))
            value = evaluate_rows(
                family, matrix, offset, weight, total, pointer, steps, numbers,
                trial, trial_score, trial_information,
            )  # fmt: skip
            if value >= likelihood - 1e-11 * (1.0 + abs(likelihood)):
                accepted = True
                break
            share *= 0.5
        if not accepted:
            return likelihood, iteration, gain <= 1e-9 * (1.0 + abs(likelihood))
        point[:] = trial
        score[:] = trial_score
        information[:] = trial_information
        likelihood = value
        # A direction that the counts do not determine (dependent columns, all separated) never settles; what
        # it could still gain is rounding.
        enough = 1e-16 if iteration < 40 else 1e-9
        if moved <= 1e-7 or gain <= enough * (1.0 + abs(likelihood)):
            return likelihood, iteration + 1, True
    return likelihood, max_iterations, False
