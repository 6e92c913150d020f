"""Compiled loops over collapsed rows, in one file because numba's cache does not see edits elsewhere.

Sums that make rows of cells, likelihoods of a few rows, their Newton fit, and the fits of all columns that may enter
a model. No fastmath, and every sum in the order of the cells: the same input gives the same bits.

Rows are *crossed*: a pattern of the columns of a model, and the value of one column more. Where there is no such
column, it has one value, 0, and no parameter.
"""

import math
from typing import Any

import numba
import numpy as np

POISSON, NB1, NB2 = 0, 1, 2
COEFFICIENT_CAP = 10.0
LOG_DISPERSION_FLOOR = -12.0
LOG_DISPERSION_CEILING = 12.0
SMALL_LOG_DISPERSION = -4.0
# Products of exponentials of less than this neither overflow nor lose digits.
_MODERATE = 300.0

_compile: Any = numba.njit(cache=True, nogil=True)


@_compile
def refine(pattern: Any, codes: Any, value_of: Any, number: Any) -> None:
    """Give every cell the number of (its pattern, the value of its code)."""
    for cell in range(pattern.size):
        pattern[cell] = number[pattern[cell], value_of[codes[cell]]]


@_compile
def mark(pattern: Any, seen: Any) -> None:
    """Mark the patterns that cells have."""
    for cell in range(pattern.size):
        seen[pattern[cell]] = True


@_compile
def list_cells(pattern: Any, wanted: Any, cells: Any, patterns: Any) -> int:
    """List the cells of wanted patterns, and their patterns; returns how many."""
    n_listed = 0
    for cell in range(pattern.size):
        cells[n_listed] = cell
        patterns[n_listed] = pattern[cell]
        n_listed += wanted[pattern[cell]]
    return n_listed


@_compile
def listed_sums(
    cells: Any, patterns: Any, codes: Any, level_of: Any, values: Any, result: Any
) -> None:  # fmt: skip
    """Add the value (1 if there are none) of every listed cell to result[level, pattern]."""
    if values.size == 0:
        for place in range(cells.size):
            result[level_of[codes[cells[place]]], patterns[place]] += 1
    else:
        for place in range(cells.size):
            result[level_of[codes[cells[place]]], patterns[place]] += values[cells[place]]


@_compile
def pattern_sums(pattern: Any, levels: Any, values: Any, result: Any) -> None:
    """Add every cell's value (1 if there are none) to result[level, pattern]."""
    if values.size == 0:
        for cell in range(pattern.size):
            result[levels[cell], pattern[cell]] += 1.0
    else:
        for cell in range(pattern.size):
            result[levels[cell], pattern[cell]] += values[cell]


@_compile
def list_tails(row: Any, counts: Any, n_rows: int) -> Any:
    """For every row the number of its cells with count > k, for k = 1, 2, ...

    Returns pointer (n_rows + 1), k and number of cells, both (pointer[-1]). With the number of cells that have
    any incident these are all that a negative binomial needs of the counts: log gamma(y + a) - log gamma(a) =
    sum of log(a + k) over k < y.
    """
    n_cells = row.size
    top = np.zeros(n_rows, dtype=np.int64)
    start = np.zeros(n_rows + 1, dtype=np.int64)
    highest = 0
    for cell in range(n_cells):
        start[row[cell] + 1] += 1
        top[row[cell]] = max(top[row[cell]], counts[cell])
        highest = max(highest, counts[cell])
    pointer = np.zeros(n_rows + 1, dtype=np.int64)
    for index in range(n_rows):
        start[index + 1] += start[index]
        pointer[index + 1] = pointer[index] + max(top[index] - 1, 0)
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
        for k in range(top[index] - 1, 0, -1):
            above += histogram[k + 1]
            steps[pointer[index] + k - 1] = k
            numbers[pointer[index] + k - 1] = above
        for place in range(start[index], start[index + 1]):
            histogram[order[place]] = 0.0
    return pointer, steps, numbers


@_compile
def list_steps(row: Any, counts: Any, scale: Any, n_rows: int) -> Any:
    """For every row k = 1, 2, ... below the count of each of its cells, with the scale of the cell's mean.

    Returns pointer (n_rows + 1), k and scale, both (pointer[-1]): `list_tails` for cells of unequal exposure.
    """
    pointer = np.zeros(n_rows + 1, dtype=np.int64)
    for cell in range(row.size):
        pointer[row[cell] + 1] += max(counts[cell] - 1, 0)
    for index in range(n_rows):
        pointer[index + 1] += pointer[index]
    steps = np.empty(pointer[-1])
    scales = np.empty(pointer[-1])
    cursor = pointer[:-1].copy()
    for cell in range(row.size):
        for k in range(1, counts[cell]):
            steps[cursor[row[cell]]] = k
            scales[cursor[row[cell]]] = scale[cell]
            cursor[row[cell]] += 1
    return pointer, steps, scales


@_compile
def tails(row: Any, counts: Any, scale: Any, n_rows: int) -> Any:
    """Pointer, steps, numbers and scales of `list_steps` if there is a scale, else of `list_tails`."""
    if scale.size:
        pointer, steps, scales = list_steps(row, counts, scale, n_rows)
        return pointer, steps, np.ones(steps.size), scales
    pointer, steps, numbers = list_tails(row, counts, n_rows)
    return pointer, steps, numbers, np.ones(steps.size)


@_compile
def evaluate_rows(
    family: int, matrix: Any, offset: Any, values: Any, weight: Any, total: Any, first: Any,
    pointer: Any, steps: Any, numbers: Any, scales: Any, point: Any, score: Any, information: Any,
) -> float:  # fmt: skip
    """Log likelihood without constants at `point` = (intercept, coefficients[, log dispersion]).

    Fills the score and the observed information. The derivation of every term is in `families`; what a pattern
    adds to the columns of the model is summed over the values of the crossed one before it is spread.
    """
    n_patterns, n_columns = matrix.shape
    n_values = values.size
    size = point.size
    last = size - 1
    is_crossed = size > 1 + n_columns + (family != POISSON)
    crossed = 1 + n_columns
    score[:] = 0.0
    information[:] = 0.0
    likelihood = 0.0
    dispersion = 0.0 if family == POISSON else math.exp(point[last])
    ratio = math.log1p(dispersion) / dispersion if family == NB1 else 0.0
    over = 1.0 + dispersion
    row = np.ones(1 + n_columns)
    slopes = np.zeros(n_values)
    factors = np.ones(n_values)
    if is_crossed:
        for value in range(n_values):
            slopes[value] = point[crossed] * values[value]
            factors[value] = math.exp(min(max(slopes[value], -700.0), 700.0))
    for index in range(n_patterns):
        base = offset[index] + point[0]
        for column in range(n_columns):
            row[column + 1] = matrix[index, column]
            base += point[column + 1] * row[column + 1]
        base_mean = math.exp(min(max(base, -700.0), 700.0))
        # Sums over the values x of the crossed column: of first derivatives, second ones, and mixed ones.
        firsts, firsts_x, seconds, seconds_x, seconds_xx, mixeds, mixeds_x = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for value in range(n_values):
            cells, incidents = weight[index, value], total[index, value]
            if cells == 0.0 and incidents == 0.0:
                continue
            eta = min(max(base + slopes[value], -700.0), 700.0)
            mean = base_mean * factors[value]
            if is_crossed and (abs(base) > _MODERATE or abs(slopes[value]) > _MODERATE):
                mean = math.exp(eta)
            expected = cells * mean
            one, two, mixed = 0.0, 0.0, 0.0
            if family == POISSON:
                likelihood += incidents * eta - expected
                one = incidents - expected
                two = expected
            elif family == NB1:
                busy = first[index, value]
                logs, q_sum, q_rest, beyond = busy * eta, busy, 0.0, 0.0
                line = index * n_values + value
                for place in range(pointer[line], pointer[line + 1]):
                    number = numbers[place]
                    own = mean * scales[place]
                    both = own + steps[place] * dispersion
                    share = own / both
                    logs += number * math.log(both)
                    q_sum += number * share
                    q_rest += number * share * (1.0 - share)
                    beyond += number * (1.0 - share)
                likelihood += logs - ratio * expected - incidents * dispersion * ratio
                one = q_sum - ratio * expected
                two = ratio * expected - q_rest
                mixed = q_rest + expected * (1.0 / over - ratio)
                score[last] += beyond - expected * (1.0 / over - ratio) - incidents * dispersion / over
                information[last, last] -= (
                    q_rest
                    + expected * (dispersion / over**2 + 1.0 / over - ratio)
                    - incidents * dispersion / over**2
                )
            else:
                spread = 1.0 + dispersion * mean
                log_spread = math.log1p(dispersion * mean)
                excess = incidents - expected
                likelihood += incidents * eta - (incidents + cells / dispersion) * log_spread
                one = excess / spread
                two = mean * (cells + dispersion * incidents) / spread**2
                mixed = dispersion * mean * excess / spread**2
                score[last] += (
                    cells * log_spread / dispersion - (dispersion * incidents + cells) * mean / spread
                )
                information[last, last] -= (
                    cells * (mean / spread - log_spread / dispersion) - dispersion * mean * excess / spread**2
                )
            x = values[value]
            firsts += one
            firsts_x += one * x
            seconds += two
            seconds_x += two * x
            seconds_xx += two * x * x
            mixeds += mixed
            mixeds_x += mixed * x
        for i in range(1 + n_columns):
            if row[i] != 0.0:
                score[i] += firsts * row[i]
                scaled = seconds * row[i]
                for j in range(i, 1 + n_columns):
                    information[i, j] += scaled * row[j]
                if is_crossed:
                    information[i, crossed] += seconds_x * row[i]
                if family != POISSON:
                    information[i, last] += mixeds * row[i]
        if is_crossed:
            score[crossed] += firsts_x
            information[crossed, crossed] += seconds_xx
            if family != POISSON:
                information[crossed, last] += mixeds_x
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
    family: int, matrix: Any, offset: Any, values: Any, weight: Any, total: Any, first: Any,
    pointer: Any, steps: Any, numbers: Any, scales: Any, point: Any, information: Any, max_iterations: int,
) -> Any:  # fmt: skip
    """Climb from `point` by Newton's method to the maximum; returns (likelihood, iterations, done).

    Coefficients stay within the cap, log dispersion between floor and ceiling. Where the information is
    not positive definite it gets a ridge, so every step climbs.
    """
    size = point.size
    score = np.empty(size)
    step = np.empty(size)
    trial_score = np.empty(size)
    trial_information = np.empty((size, size))
    trial = np.empty(size)
    low = np.full(size, -COEFFICIENT_CAP)
    high = np.full(size, COEFFICIENT_CAP)
    low[0], high[0] = -1e4, 1e4
    if family != POISSON:
        low[size - 1], high[size - 1] = LOG_DISPERSION_FLOOR, LOG_DISPERSION_CEILING
    for i in range(size):
        point[i] = min(max(point[i], low[i]), high[i])
    free = np.ones(size, dtype=np.bool_)
    likelihood = evaluate_rows(
        family, matrix, offset, values, weight, total, first, pointer, steps, numbers, scales,
        point, score, information,
    )  # fmt: skip
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
                family, matrix, offset, values, weight, total, first, pointer, steps, numbers, scales,
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


@_compile
def fit_columns(
    family: int, matrix: Any, offset: Any, merged: Any, exposure: Any, unit: float, incidents: Any, busy: Any,
    above: Any, above_levels: Any, above_counts: Any, above_scales: Any, steps: Any, numbers: Any,
    variable: Any, first_level: Any, level_pointer: Any, value_of: Any, value_pointer: Any, values: Any,
    start: Any, max_iterations: int, points: Any, likelihoods: Any,
) -> None:  # fmt: skip
    """Fit a model and one column more, for every one of many columns.

    The sums of exposure (whole, in units), of incidents and of cells with incidents are (n_levels, n_patterns); pattern p of theirs is
    pattern ``merged[p]`` of the model. Column c sets the levels from ``first_level[c]`` on to the values that
    ``value_of[level_pointer[c]:level_pointer[c + 1]]`` numbers, among ``values[value_pointer[c]:value_pointer[c + 1]]``.
    Cells with more than one
    incident have their pattern in `above` and their level of variable v in ``above_levels[v]``; `steps` and
    `numbers` are those of all cells. Fills the points where the fits end and their log likelihoods.
    """
    n_patterns, size = len(matrix), start.size
    information = np.empty((size, size))
    simple = np.empty((size - 1, size - 1))
    row = np.empty(above.size, dtype=np.int64)
    scales = np.ones(steps.size)
    # At the boundary Poisson has the log of a cell's mean for each of its incidents, nb1 for the first.
    more = 0.0
    for cell in range(above_scales.size):
        more += (above_counts[cell] - 1) * math.log(above_scales[cell])
    for column in range(first_level.size):
        own = values[value_pointer[column] : value_pointer[column + 1]]
        width = own.size
        weight = np.zeros((n_patterns, width))
        total = np.zeros((n_patterns, width))
        first = np.zeros((n_patterns, width))
        value_at = value_of[level_pointer[column] : level_pointer[column + 1]]
        for level in range(value_at.size):
            value = value_at[level]
            place = first_level[column] + level
            for pattern in range(merged.size):
                weight[merged[pattern], value] += unit * exposure[place, pattern]
                total[merged[pattern], value] += incidents[place, pattern]
            if family == NB1:
                for pattern in range(merged.size):
                    first[merged[pattern], value] += busy[place, pattern]
        pointer = np.zeros(1, dtype=np.int64)
        own_steps, own_numbers = steps, numbers
        if family == NB1:
            for cell in range(above.size):
                level = above_levels[variable[column], cell]
                row[cell] = merged[above[cell]] * width + value_at[level]
            pointer, own_steps, own_numbers, scales = tails(
                row, above_counts, above_scales, n_patterns * width
            )
        point = points[column]
        point[:] = start
        likelihood, _, _ = fit_rows(
            family, matrix, offset, own, weight, total, first, pointer, own_steps, own_numbers, scales,
            point, information, max_iterations,
        )  # fmt: skip
        if family != POISSON and point[size - 1] <= LOG_DISPERSION_FLOOR:
            likelihood, _, _ = fit_rows(
                POISSON, matrix, offset, own, weight, total, first, pointer, own_steps, own_numbers, scales,
                point[: size - 1], simple, max_iterations,
            )  # fmt: skip
            # The next model may be overdispersed again; it starts from a small dispersion.
            point[size - 1] = SMALL_LOG_DISPERSION
            likelihood += more
        likelihoods[column] = likelihood


@_compile
def fit_draws(
    matrix: Any, n_columns: int, pattern: Any, block: Any, incidents: Any, exposure: Any, draws: Any,
    start: Any, max_iterations: int, points: Any, is_fitted: Any,
) -> None:  # fmt: skip
    """Fit a Poisson model to rows of (pattern, block), for every draw of weights of the blocks, (n_draws, n_blocks).

    Fills the points where the fits end, and whether each stands: every one of the first columns has some of the
    incidents inside and some outside, and none ran to the cap.
    """
    n_patterns = len(matrix)
    weight, total, first = np.empty((n_patterns, 1)), np.empty((n_patterns, 1)), np.empty((0, 1))
    offset, value = np.zeros(n_patterns), np.zeros(1)
    pointer, nothing = np.zeros(1, dtype=np.int64), np.empty(0)
    information = np.empty((start.size, start.size))
    inside = np.empty(n_columns)
    for draw in range(len(draws)):
        weight[:] = 0.0
        total[:] = 0.0
        for row in range(pattern.size):
            times = draws[draw, block[row]]
            weight[pattern[row], 0] += times * exposure[row]
            total[pattern[row], 0] += times * incidents[row]
        inside[:] = 0.0
        everywhere = 0.0
        for place in range(n_patterns):
            everywhere += total[place, 0]
            for column in range(n_columns):
                if matrix[place, column] > 0.0:
                    inside[column] += total[place, 0]
        is_fitted[draw] = everywhere > 0.0
        for column in range(n_columns):
            is_fitted[draw] &= 0.0 < inside[column] < everywhere
        if not is_fitted[draw]:
            continue
        point = points[draw]
        point[:] = start
        fit_rows(
            POISSON, matrix, offset, value, weight, total, first, pointer, nothing, nothing, nothing,
            point, information, max_iterations,
        )  # fmt: skip
        for place in range(1, point.size):
            is_fitted[draw] &= abs(point[place]) < COEFFICIENT_CAP
