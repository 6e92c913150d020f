"""Every compiled loop of the engine, in one file because numba's cache does not see edits elsewhere.

Two subjects: *blocks* (run-length events of the codes and the sums taken over them) and *quadratics*
(bounded coordinate descent).
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
