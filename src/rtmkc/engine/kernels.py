"""Every compiled loop of the engine, in one file because numba's cache does not see edits elsewhere.

Three subjects: *blocks* (run-length events of the codes and the sums taken over them), *quadratics*
(bounded coordinate descent) and *rows* (likelihoods of a few collapsed rows and their Newton fit).
No fastmath: the same input gives the same bits, whatever the number of threads.
"""

import math
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

TILE = 256
LANES = 8
POISSON, NB1, NB2 = 0, 1, 2
COEFFICIENT_CAP = 10.0
LOG_DISPERSION_FLOOR = -12.0
LOG_DISPERSION_CEILING = 12.0

_LOG2_E = 1.4426950408889634
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
# Adding 1.5 * 2**52 leaves the nearest integer in the low bits of a double.
_ROUNDER = 6755399441055744.0

_compile: Any = numba.njit(cache=True, nogil=True)


# ---------------------------------------------------------------- blocks


@_compile
def count_changes(codes: Any, n_changes: Any) -> None:
    """Add 1 at every cell whose code differs from the cell before."""
    for cell in range(1, codes.size):
        if codes[cell] != codes[cell - 1]:
            n_changes[cell] += 1


@_compile
def list_changes(codes: Any, local: Any, cursor: Any, origin: Any, target: Any) -> None:
    """Write the level left and the level entered of every change, at the cursor of its cell."""
    for cell in range(1, codes.size):
        if codes[cell] != codes[cell - 1]:
            place = cursor[cell]
            origin[place] = local[codes[cell - 1]]
            target[place] = local[codes[cell]]
            cursor[cell] = place + 1


@_compile
def exponentials(values: Any, scratch: Any, scratch_bits: Any, result: Any, result_bits: Any) -> None:
    """Exponential of every value, to 1 ulp, clipped to [-700, 700]; loops that the compiler vectorises."""
    for k in range(values.size):
        scratch[k] = min(max(values[k], -700.0), 700.0) * _LOG2_E + _ROUNDER
    for k in range(values.size):
        power = scratch[k] - _ROUNDER
        rest = (min(max(values[k], -700.0), 700.0) - power * _LN2_HIGH) - power * _LN2_LOW
        series = 1.0 / 6227020800.0
        series = series * rest + 1.0 / 479001600.0
        series = series * rest + 1.0 / 39916800.0
        series = series * rest + 1.0 / 3628800.0
        series = series * rest + 1.0 / 362880.0
        series = series * rest + 1.0 / 40320.0
        series = series * rest + 1.0 / 5040.0
        series = series * rest + 1.0 / 720.0
        series = series * rest + 1.0 / 120.0
        series = series * rest + 1.0 / 24.0
        series = series * rest + 1.0 / 6.0
        series = series * rest + 0.5
        series = series * rest + 1.0
        result[k] = series * rest + 1.0
    for k in range(values.size):
        result_bits[k] += scratch_bits[k] << 52


def _row_operation(*operations: str) -> Any:
    """Make ``result[row] (operation)= other[a]``, or ``... (other[a] (operation) other[b])``, of eight lanes.

    One vector instruction for each operation. Written as a loop it would be eight, as the compiler cannot
    know that two arrays do not overlap; the whole sweep would take half as long again.
    """
    lanes = ir.VectorType(ir.DoubleType(), LANES)

    def place(context: Any, builder: Any, kind: Any, array: Any, row: Any) -> Any:
        data = context.make_array(kind)(context, builder, array).data
        first = builder.mul(row, ir.Constant(row.type, LANES))
        return builder.bitcast(builder.gep(data, [first]), lanes.as_pointer())

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        result = place(context, builder, kinds[0], arguments[0], arguments[1])
        rows = [place(context, builder, kinds[2], arguments[2], row) for row in arguments[3:]]
        values = [builder.load(row, align=8) for row in rows]
        change = values[0]
        for operation, value in zip(operations[1:], values[1:], strict=True):
            change = getattr(builder, operation)(change, value)
        value = getattr(builder, operations[0])(builder.load(result, align=8), change)
        builder.store(value, result, align=8)
        return context.get_dummy_value()

    if len(operations) == 1:

        @intrinsic
        def operate(_context: Any, result: Any, _row: Any, other: Any, _a: Any) -> Any:
            return types.void(result, types.intp, other, types.intp), generate

    else:

        @intrinsic
        def operate(_context: Any, result: Any, _row: Any, other: Any, _a: Any, _b: Any) -> Any:
            return types.void(result, types.intp, other, types.intp, types.intp), generate

    return operate


_add = _row_operation("fadd")
_subtract = _row_operation("fsub")
_shift = _row_operation("fadd", "fsub")


@_compile
def sweep_block(
    first: Any, last: Any, pointer: Any, origin: Any, target: Any,
    contribution: Any, intercept: Any, exposure: Any, fold: Any, first_lane: int,
    histogram: Any, inside: Any, outside: Any,
) -> None:  # fmt: skip
    """Sum exposure x exp(eta) of one block for eight lanes: by level, by lane, and over the cells left out.

    A level's sum is the prefix sum where a run of it ends minus the prefix sum where it began, so the
    work of a block is the number of its runs, not cells x columns.
    """
    n_cells = pointer.size - 1
    eta = np.empty((TILE, LANES))
    mean = np.empty((TILE, LANES))
    scratch = np.empty(TILE * LANES)
    flat_eta = eta.reshape(-1)
    flat_mean = mean.reshape(-1)
    scratch_bits = scratch.view(np.int64)
    mean_bits = flat_mean.view(np.int64)
    running = intercept.copy()
    for level in first:
        _add(running, 0, contribution, level)
    prefix = np.zeros((1, LANES))
    for begin in range(0, n_cells, TILE):
        n_rows = min(TILE, n_cells - begin)
        eta[:] = 0.0
        for row in range(n_rows):
            for event in range(pointer[begin + row], pointer[begin + row + 1]):
                _shift(running, 0, contribution, target[event], origin[event])
            _add(eta, row, running, 0)
        exponentials(flat_eta, scratch, scratch_bits, flat_mean, mean_bits)
        for row in range(n_rows):
            cell = begin + row
            for event in range(pointer[cell], pointer[cell + 1]):
                _add(histogram, origin[event], prefix, 0)
                _subtract(histogram, target[event], prefix, 0)
            if exposure.size > 0:
                for lane in range(LANES):
                    mean[row, lane] *= exposure[cell]
            if fold.size > 0:
                excluded = fold[cell] - first_lane
                if 0 <= excluded < LANES:
                    outside[excluded] += mean[row, excluded]
                    mean[row, excluded] = 0.0
            _add(prefix, 0, mean, row)
    for level in last:
        _add(histogram, level, prefix, 0)
    _add(inside, 0, prefix, 0)


@_compile
def hessian_block(
    first: Any, pointer: Any, origin: Any, target: Any, contribution: Any, intercept: Any, exposure: Any,
    fold: Any, left_out: int, column_start: Any, column_end: Any, value_start: Any, values: Any, hessian: Any,
) -> None:  # fmt: skip
    """Add the upper triangle of sum mu x x' of one block, but for one fold; x = 1 and then the columns.

    A level switches the chosen columns [column_start, column_end) of its variable to the numbers at
    `value_start` in `values`. Cells between two changes of x are added at once.
    """
    size = hessian.shape[0]
    row = np.zeros(size)
    row[0] = 1.0
    running = intercept
    for level in first:
        running += contribution[level]
        offset = value_start[level] - column_start[level]
        for column in range(column_start[level], column_end[level]):
            row[column] = values[offset + column]
    pending = 0.0
    for cell in range(pointer.size - 1):
        stale = False
        for event in range(pointer[cell], pointer[cell + 1]):
            entered = target[event]
            if column_end[entered] > column_start[entered]:
                stale = True
                break
        if stale:
            _add_outer(hessian, row, pending)
            pending = 0.0
        for event in range(pointer[cell], pointer[cell + 1]):
            entered = target[event]
            running += contribution[entered] - contribution[origin[event]]
            offset = value_start[entered] - column_start[entered]
            for column in range(column_start[entered], column_end[entered]):
                row[column] = values[offset + column]
        mean = math.exp(min(max(running, -700.0), 700.0))
        if exposure.size > 0:
            mean *= exposure[cell]
        if fold.size == 0 or fold[cell] != left_out:
            pending += mean
    _add_outer(hessian, row, pending)


@_compile
def pair_block(
    first: Any, pointer: Any, origin: Any, target: Any, contribution: Any, intercept: Any, exposure: Any,
    fold: Any, left_out: int, variable: Any, place: Any, pairs: Any,
) -> None:  # fmt: skip
    """Add mu of one block, but for one fold, to every pair of levels a cell is in; upper triangle.

    `variable` is the chosen variable of a level (-1: not chosen), `place` its row of `pairs` (-1: its columns
    are all zero). Row 0 of `pairs` is the intercept, a level that every cell is in.
    """
    n_variables = 0
    for level in range(variable.size):
        n_variables = max(n_variables, variable[level] + 1)
    current = np.full(n_variables, -1)
    present = np.zeros(n_variables + 1, dtype=np.int64)
    running = intercept
    for level in first:
        running += contribution[level]
        if variable[level] >= 0:
            current[variable[level]] = place[level]
    pending = 0.0
    n_cells = pointer.size - 1
    for cell in range(n_cells + 1):
        stale = cell == n_cells
        if not stale:
            for event in range(pointer[cell], pointer[cell + 1]):
                level = target[event]
                stale = stale or (variable[level] >= 0 and current[variable[level]] != place[level])
        if stale:
            n_present = 1
            for index in range(n_variables):
                if current[index] >= 0:
                    present[n_present] = current[index]
                    n_present += 1
            for i in range(n_present):
                for j in range(i, n_present):
                    pairs[present[i], present[j]] += pending
            pending = 0.0
        if cell == n_cells:
            break
        for event in range(pointer[cell], pointer[cell + 1]):
            entered = target[event]
            running += contribution[entered] - contribution[origin[event]]
            if variable[entered] >= 0:
                current[variable[entered]] = place[entered]
        mean = math.exp(min(max(running, -700.0), 700.0))
        if exposure.size > 0:
            mean *= exposure[cell]
        if fold.size == 0 or fold[cell] != left_out:
            pending += mean


@_compile
def _add_outer(hessian: Any, row: Any, weight: float) -> None:
    """Add weight x x' to the upper triangle, skipping the columns that are zero."""
    size = row.size
    for i in range(size):
        if row[i] != 0.0:
            scaled = weight * row[i]
            for j in range(i, size):
                hessian[i, j] += scaled * row[j]


@_compile
def pattern_sums(pattern: Any, codes: Any, values: Any, result: Any) -> None:
    """Add every cell's value (1 if there are none) to result[pattern, code]."""
    if values.size == 0:
        for cell in range(pattern.size):
            result[pattern[cell], codes[cell]] += 1.0
    else:
        for cell in range(pattern.size):
            result[pattern[cell], codes[cell]] += values[cell]


# ---------------------------------------------------------------- quadratics


@_compile
def descend(
    hessian: Any, gradient: Any, coefficient: Any, penalty: float, ridge: float,
    lower: Any, upper: Any, tolerance: float, max_passes: int,
) -> Any:  # fmt: skip
    """Minimise the quadratic model plus elastic-net penalty by coordinate descent; return the new point.

    Entry 0 is the intercept: no penalty, no bounds. It is eliminated first, because a column whose mean is
    large against its spread is nearly parallel to it. `gradient` is the smooth gradient at `coefficient`.
    """
    size = gradient.size
    point = coefficient.copy()
    slope = gradient.copy()
    inner = hessian.copy()
    for j in range(1, size):
        share = hessian[0, j] / hessian[0, 0]
        slope[j] -= share * gradient[0]
        for k in range(1, size):
            inner[j, k] -= share * hessian[0, k]
    everything = True
    for _ in range(max_passes):
        worst = 0.0
        for j in range(1, size):
            old = point[j]
            curvature = max(inner[j, j], 1e-13 * hessian[j, j])
            total = curvature + ridge
            if (old == 0.0 and not everything) or total <= 0.0:
                continue
            target = curvature * old - slope[j]
            if target > penalty:
                new = (target - penalty) / total
            elif target < -penalty:
                new = (target + penalty) / total
            else:
                new = 0.0
            new = min(max(new, lower[j]), upper[j])
            change = new - old
            if change != 0.0:
                point[j] = new
                for k in range(1, size):
                    slope[k] += inner[j, k] * change
                worst = max(worst, abs(change) * total)
        if worst <= tolerance:
            if everything:
                break
            everything = True
        else:
            everything = False
    step = gradient[0]
    for j in range(1, size):
        step += hessian[0, j] * (point[j] - coefficient[j])
    point[0] = coefficient[0] - step / hessian[0, 0]
    return point


@_compile
def correct(hessian: Any, step: Any, change: Any) -> None:
    """Make a Hessian agree with the change of the gradient seen over a step (BFGS), unless that is noise."""
    size = step.size
    product = np.zeros(size)
    expected, seen = 0.0, 0.0
    for i in range(size):
        for j in range(size):
            product[i] += hessian[i, j] * step[j]
        expected += step[i] * product[i]
        seen += step[i] * change[i]
    # Tiny changes are rounding; a ratio very far from 1 is noise, not curvature.
    if expected <= 1e-24 or seen <= 1e-4 * expected or seen >= 1e4 * expected:
        return
    for i in range(size):
        for j in range(size):
            hessian[i, j] += change[i] * change[j] / seen - product[i] * product[j] / expected


# ---------------------------------------------------------------- rows


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
