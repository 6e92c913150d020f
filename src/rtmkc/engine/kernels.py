"""Every compiled loop of the engine, in one file because numba's cache does not see edits elsewhere.

Two subjects: *blocks* (runs of switches and the sums taken over them) and *quadratics* (bounded coordinate
descent). No fastmath: the same input gives the same bits, whatever the number of threads.
"""

import math
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

TILE = 256
LANES = 8
STRANDS = 4

_compile: Any = numba.njit(cache=True, nogil=True)
_intrinsic: Any = intrinsic


# ---------------------------------------------------------------- blocks


@_compile
def list_switched(
    codes: Any, on: Any, first_switch: int, begin: Any, last: Any, switch: Any, place: int, n_runs: Any
) -> int:
    """List the runs of a variable's switches, tile by tile, from `place` on; return where they end.

    ``on[level, k]`` says whether a level turns switch `k` on. A run ends with its tile. What
    does not fit in the arrays is counted and not written.
    """
    n_switches = on.shape[1]
    opened = np.full(n_switches, -1)
    for tile in range(n_runs.size):
        before = place
        start = tile * TILE
        stop = min(start + TILE, codes.size)
        level = codes[start]
        for k in range(n_switches):
            opened[k] = 0 if on[level, k] else -1
        for cell in range(start + 1, stop):
            if codes[cell] == level:
                continue
            level = codes[cell]
            row = cell - start
            for k in range(n_switches):
                if on[level, k] == (opened[k] >= 0):
                    continue
                if opened[k] < 0:
                    opened[k] = row
                else:
                    if place < begin.size:
                        begin[place], last[place], switch[place] = opened[k], row - 1, first_switch + k
                    place += 1
                    opened[k] = -1
        for k in range(n_switches):
            if opened[k] >= 0:
                if place < begin.size:
                    begin[place], last[place], switch[place] = opened[k], stop - start - 1, first_switch + k
                place += 1
        n_runs[tile] = place - before
    return place


@_compile
def list_levels(
    codes: Any, switch_of_level: Any, begin: Any, last: Any, switch: Any, place: int, n_runs: Any
) -> int:
    """List the runs of a variable's levels, as `list_switched` does; switch -1: the level has no columns."""
    for tile in range(n_runs.size):
        before = place
        start = tile * TILE
        stop = min(start + TILE, codes.size)
        opened = start
        for cell in range(start + 1, stop + 1):
            if cell < stop and codes[cell] == codes[opened]:
                continue
            number = switch_of_level[codes[opened]]
            if number >= 0:
                if place < begin.size:
                    begin[place], last[place], switch[place] = opened - start, cell - start - 1, number
                place += 1
            opened = cell
        n_runs[tile] = place - before
    return place


@_compile
def arrange(n_runs: Any, begin: Any, last: Any, switch: Any, local: Any, pointer: Any, result: Any) -> None:
    """Bring runs listed by variable and tile, ``n_runs[variable, tile]``, into the order tile, variable."""
    result_begin, result_last, result_switch = result
    n_variables, n_tiles = n_runs.shape
    for tile in range(n_tiles):
        pointer[tile + 1] = pointer[tile] + n_runs[:, tile].sum()
    cursor = pointer[:-1].copy()
    run = 0
    for variable in range(n_variables):
        for tile in range(n_tiles):
            place = cursor[tile]
            for _ in range(n_runs[variable, tile]):
                result_begin[place], result_last[place] = begin[run], last[run]
                result_switch[place] = local[switch[run]]
                place += 1
                run += 1
            cursor[tile] = place


def _power_of_two_series(degree: int) -> list[float]:
    """Return the polynomial nearest to 2**x on [-1/2, 1/2], exactly 1 at 0: its error is below 3e-16."""
    log_2 = math.log(2.0)

    def slope(x: Any) -> Any:
        safe = np.where(x == 0.0, 1.0, x)
        return np.where(x == 0.0, log_2, np.expm1(safe * log_2) / safe)

    fit = np.polynomial.Chebyshev.interpolate(slope, degree - 1, domain=[-0.5, 0.5])
    return [1.0, *map(float, fit.convert(kind=np.polynomial.Polynomial).coef)]


LOG2_E = math.log2(math.e)
_SERIES = _power_of_two_series(10)
_FALLING_SERIES = tuple(_SERIES[::-1])
# Adding 1.5 * 2**52 leaves the nearest integer in the low bits of a double.
_ROUNDER = 6755399441055744.0
_LARGEST_POWER = 1000.0

_DOUBLES = ir.VectorType(ir.DoubleType(), LANES)
_LONGS = ir.VectorType(ir.IntType(64), LANES)


class _Lanes:
    """Writes instructions for rows of eight lanes: one for all of them, where the machine can.

    Written as loops over lanes they would be eight, as the compiler cannot know that arrays do not overlap,
    and every index would be tested for its sign: the sweep would take four times as long.
    """

    def __init__(self, context: Any, builder: Any, signature: Any) -> None:
        self.context, self.builder, self.kinds = context, builder, signature.args

    def data(self, position: int, arguments: Any) -> Any:
        """The first item of an array."""
        kind = self.kinds[position]
        return self.context.make_array(kind)(self.context, self.builder, arguments[position]).data

    def item(self, data: Any, index: Any) -> Any:
        """One item, integers as 64 bits."""
        value = self.builder.load(self.builder.gep(data, [index]))
        return self.builder.zext(value, index.type) if isinstance(value.type, ir.IntType) else value

    def row(self, data: Any, index: Any) -> Any:
        """Where a row of eight lanes is."""
        first = self.builder.mul(index, ir.Constant(index.type, LANES))
        return self.builder.bitcast(self.builder.gep(data, [first]), _DOUBLES.as_pointer())

    def load(self, place: Any) -> Any:
        return self.builder.load(place, align=8)

    def store(self, value: Any, place: Any) -> None:
        self.builder.store(value, place, align=8)

    def add(self, place: Any, value: Any) -> None:
        self.store(self.builder.fadd(self.load(place), value), place)

    def subtract(self, place: Any, value: Any) -> None:
        self.store(self.builder.fsub(self.load(place), value), place)

    def call(self, name: str, *values: Any) -> Any:
        function = ir.FunctionType(_DOUBLES, [_DOUBLES] * len(values))
        declared = cgutils.get_or_insert_function(self.builder.module, function, f"llvm.{name}.v{LANES}f64")
        return self.builder.call(declared, values)

    def number(self, value: float) -> Any:
        return ir.Constant(_DOUBLES, [value] * LANES)

    def spread(self, value: Any) -> Any:
        """Put one number in all lanes."""
        none = ir.Constant(_DOUBLES, ir.Undefined)
        first = self.builder.insert_element(none, value, ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(
            first, none, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        )

    def exponential(self, power: Any) -> Any:
        """2**power, clipped to [-1000, 1000]."""
        builder = self.builder
        power = self.call("maxnum", power, self.number(-_LARGEST_POWER))
        power = self.call("minnum", power, self.number(_LARGEST_POWER))
        rounded = builder.fadd(power, self.number(_ROUNDER))
        rest = builder.fsub(power, builder.fsub(rounded, self.number(_ROUNDER)))
        series = self.number(_SERIES[-1])
        for coefficient in _SERIES[-2::-1]:
            series = self.call("fmuladd", series, rest, self.number(coefficient))
        exponent = builder.shl(builder.bitcast(rounded, _LONGS), ir.Constant(_LONGS, [52] * LANES))
        return builder.bitcast(builder.add(builder.bitcast(series, _LONGS), exponent), _DOUBLES)


def _each_run(lanes: _Lanes, arguments: Any, write: Any) -> None:
    """Write a loop over runs ``start`` to before ``end``, in four strands far apart.

    Neighbouring runs often meet in a row, and would wait for each other's store.
    """
    builder = lanes.builder
    start, end = arguments[5], arguments[6]
    begin, last, switch = (lanes.data(position, arguments) for position in (2, 3, 4))

    def one(run: Any) -> None:
        behind = builder.add(lanes.item(last, run), ir.Constant(run.type, 1))
        write(lanes.item(begin, run), behind, lanes.item(switch, run))

    number = builder.sub(end, start)
    length = builder.udiv(number, ir.Constant(start.type, STRANDS))
    with cgutils.for_range(builder, length, intp=start.type) as loop:
        for strand in range(STRANDS):
            offset = builder.mul(length, ir.Constant(start.type, strand))
            one(builder.add(builder.add(start, offset), loop.index))
    done = builder.mul(length, ir.Constant(start.type, STRANDS))
    with cgutils.for_range(builder, builder.sub(number, done), intp=start.type) as loop:
        one(builder.add(builder.add(start, done), loop.index))


@_intrinsic
def _enter(
    _context: Any, change: Any, contribution: Any, begin: Any, last: Any, switch: Any, _start: Any, _end: Any
) -> Any:
    """For each run: add its switch's contribution where it begins, take it away behind its last row."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = _Lanes(context, builder, signature)
        changes, contributions = lanes.data(0, arguments), lanes.data(1, arguments)

        def write(first: Any, behind: Any, number: Any) -> None:
            value = lanes.load(lanes.row(contributions, number))
            lanes.add(lanes.row(changes, first), value)
            lanes.subtract(lanes.row(changes, behind), value)

        _each_run(lanes, arguments, write)
        return context.get_dummy_value()

    return types.void(change, contribution, begin, last, switch, types.intp, types.intp), generate


@_intrinsic
def _collect(
    _context: Any, histogram: Any, prefix: Any, begin: Any, last: Any, switch: Any, _start: Any, _end: Any
) -> Any:
    """For each run: add the prefix sum behind its last row less the one before its first to its switch."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = _Lanes(context, builder, signature)
        sums, prefixes = lanes.data(0, arguments), lanes.data(1, arguments)

        def write(first: Any, behind: Any, number: Any) -> None:
            inside = builder.fsub(
                lanes.load(lanes.row(prefixes, behind)), lanes.load(lanes.row(prefixes, first))
            )
            lanes.add(lanes.row(sums, number), inside)

        _each_run(lanes, arguments, write)
        return context.get_dummy_value()

    return types.void(histogram, prefix, begin, last, switch, types.intp, types.intp), generate


@_intrinsic
def _scan(
    _context: Any, change: Any, intercept: Any, prefix: Any, sums: Any, exposure: Any, fold: Any, kept: Any,
    _first_exposure: Any, _first: Any, _n_rows: Any,
) -> Any:  # fmt: skip
    """Add up changes to log means and their exponentials to prefix sums, row by row; clear the changes.

    ``sums[0]`` gains what is kept, ``sums[1]`` what is held out: ``kept[fold]`` is 1 in the lanes that
    use a row and 0 in the lane that leaves it out.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = _Lanes(context, builder, signature)
        changes, intercepts, prefixes, totals, exposures, folds, keeps = (
            lanes.data(position, arguments) for position in range(7)
        )
        first_exposure, first, n_rows = arguments[7:]
        zero, one = (ir.Constant(n_rows.type, value) for value in (0, 1))
        power, inside, outside = (cgutils.alloca_once(builder, _DOUBLES) for _ in range(3))
        builder.store(lanes.load(lanes.row(intercepts, zero)), power)
        builder.store(lanes.number(0.0), inside)
        builder.store(lanes.number(0.0), outside)
        lanes.store(lanes.number(0.0), lanes.row(prefixes, zero))
        with cgutils.for_range(builder, n_rows, intp=n_rows.type) as loop:
            place = lanes.row(changes, loop.index)
            current = builder.fadd(builder.load(power), lanes.load(place))
            builder.store(current, power)
            lanes.store(lanes.number(0.0), place)
            mean = builder.fmul(
                lanes.exponential(current),
                lanes.spread(lanes.item(exposures, builder.add(first_exposure, loop.index))),
            )
            own_fold = lanes.item(folds, builder.add(first, loop.index))
            keep = builder.fmul(mean, lanes.load(lanes.row(keeps, own_fold)))
            total = builder.fadd(builder.load(inside), keep)
            builder.store(total, inside)
            lanes.store(total, lanes.row(prefixes, builder.add(loop.index, one)))
            builder.store(builder.fadd(builder.load(outside), builder.fsub(mean, keep)), outside)
        # The last runs end behind the last row.
        lanes.store(lanes.number(0.0), lanes.row(changes, n_rows))
        lanes.add(lanes.row(totals, zero), builder.load(inside))
        lanes.add(lanes.row(totals, one), builder.load(outside))
        return context.get_dummy_value()

    rows = types.intp, types.intp, types.intp
    return types.void(change, intercept, prefix, sums, exposure, fold, kept, *rows), generate


@_compile
def _rows(n_rows: int) -> Any:
    """Return zeros ``(n_rows, 8)`` that begin with a cache line: a row across two would take twice as long."""
    raw = np.zeros((n_rows + 1) * LANES)
    first = (-raw.ctypes.data % 64) // 8
    return raw[first : first + n_rows * LANES].reshape(n_rows, LANES)


@_compile
def sweep_block(
    pointer: Any, begin: Any, last: Any, switch: Any, switches: Any, contribution: Any, intercept: Any,
    exposure: Any, fold: Any, n_folds: int, first_lane: int, histogram: Any, sums: Any,
) -> None:  # fmt: skip
    """Sum exposure x 2**eta of one block for eight lanes: by switch, over kept cells, and over those left out.

    A switch's sum is the prefix sum where a run of it ends less the prefix sum where it begins, so the
    work of a block is the number of its runs, not cells x columns. Each tile starts anew, so that its
    rows stay in the cache and errors do not build up.
    """
    chosen = _rows(switches.size)
    for number in range(switches.size):
        for lane in range(LANES):
            chosen[number, lane] = contribution[switches[number], lane]
    kept = _rows(n_folds + 1)
    for row in range(n_folds + 1):
        for lane in range(LANES):
            kept[row, lane] = 1.0
    for lane in range(min(LANES, n_folds - first_lane)):
        kept[1 + first_lane + lane, lane] = 0.0
    by_switch, totals = _rows(switches.size), _rows(2)
    change, prefix = _rows(TILE + 1), _rows(TILE + 1)
    everywhere = exposure.size == 0
    exposures = np.ones(TILE) if everywhere else exposure
    for tile in range(pointer.size - 1):
        start = tile * TILE
        n_rows = min(TILE, fold.size - start)
        _enter(change, chosen, begin, last, switch, pointer[tile], pointer[tile + 1])
        _scan(
            change,
            intercept,
            prefix,
            totals,
            exposures,
            fold,
            kept,
            0 if everywhere else start,
            start,
            n_rows,
        )
        _collect(by_switch, prefix, begin, last, switch, pointer[tile], pointer[tile + 1])
    for lane in range(LANES):
        for number in range(switches.size):
            histogram[number, lane] = by_switch[number, lane]
        sums[0, lane], sums[1, lane] = totals[0, lane], totals[1, lane]


@_compile
def count_block(
    pointer: Any, begin: Any, last: Any, switch: Any, switches: Any, counted: Any, counts: Any, fold: Any,
    histogram: Any,
) -> None:  # fmt: skip
    """Add the counts of one block by switch and fold; last are the cells in none."""
    first = 0
    n_folds = histogram.shape[1] - 1
    for tile in range(pointer.size - 1):
        beyond = first
        while beyond < counted.size and counted[beyond] < (tile + 1) * TILE:
            beyond += 1
        for run in range(pointer[tile], pointer[tile + 1]):
            for number in range(first, beyond):
                cell = counted[number]
                if begin[run] <= cell - tile * TILE <= last[run]:
                    group = n_folds if fold[cell] == 0 else int(fold[cell]) - 1
                    histogram[switches[switch[run]], group] += counts[number]
        first = beyond


@_compile
def add_rows(total: Any, rows: Any, values: Any) -> None:
    """Add values to the rows of a total that they belong to; rows do not repeat."""
    for number in range(rows.size):
        for lane in range(values.shape[1]):
            total[rows[number], lane] += values[number, lane]


@_compile
def _tile_means(
    start: int, end: int, begin: Any, last: Any, switch: Any, contribution: Any, intercept: float,
    first: int, n_rows: int, exposure: Any, fold: Any, left_out: int, power: Any, power_bits: Any,
    mean: Any, mean_bits: Any,
) -> None:  # fmt: skip
    """Fill the means of a tile's rows, 0 in the fold left out; `power` is zero before and after."""
    for run in range(start, end):
        value = contribution[switch[run]]
        power[begin[run]] += value
        power[int(last[run]) + 1] -= value
    running = intercept
    for row in range(n_rows):
        running += power[row]
        power[row] = min(max(running, -_LARGEST_POWER), _LARGEST_POWER)
    # The exponential of a sweep, in loops that the compiler makes vectors of.
    for row in range(n_rows):
        rest = power[row] - ((power[row] + _ROUNDER) - _ROUNDER)
        series = 0.0
        for coefficient in _FALLING_SERIES:
            series = series * rest + coefficient
        mean[row] = series
        power[row] += _ROUNDER
    for row in range(n_rows):
        mean_bits[row] += power_bits[row] << 52
    if exposure.size > 0:
        for row in range(n_rows):
            mean[row] *= exposure[first + row]
    for row in range(n_rows):
        mean[row] = 0.0 if fold[first + row] == left_out else mean[row]
    for row in range(n_rows + 1):
        power[row] = 0.0


@_compile
def _link(
    start: int, end: int, begin: Any, last: Any, switch: Any, chosen: Any, picked: Any, first_begin: Any,
    next_begin: Any, first_end: Any, next_end: Any,
) -> None:  # fmt: skip
    """Pick a tile's runs of chosen switches; link them by the row they begin in, and by the row behind them."""
    n_picked = 0
    for run in range(start, end):
        picked[n_picked] = run
        n_picked += chosen[switch[run]]
    for row in range(TILE + 1):
        first_begin[row] = first_end[row] = -1
    for number in range(n_picked - 1, -1, -1):
        row, behind = begin[picked[number]], int(last[picked[number]]) + 1
        next_begin[number] = first_begin[row]
        next_end[number] = first_end[behind]
        first_begin[row] = first_end[behind] = number


@_compile
def pair_block(
    pointer: Any, begin: Any, last: Any, switch: Any, contribution: Any, intercept: float, exposure: Any,
    fold: Any, left_out: int, place: Any, pairs: Any,
) -> None:  # fmt: skip
    """Add the means of one block, but for one fold, to every pair of switches that a cell has.

    A pair is added at (a, b) or at (b, a). `place` is the row of a switch in `pairs`, -1 if it is not
    chosen; row 0 is the intercept, which every cell has. When a run ends, what it shared with each of those
    still there is the prefix sum now less that when the later of the two began.
    """
    longest = 1
    for tile in range(pointer.size - 1):
        longest = max(longest, pointer[tile + 1] - pointer[tile] + 1)
    picked, next_begin, next_end = np.empty((3, longest), dtype=np.int64)
    first_begin, first_end = np.empty((2, TILE + 1), dtype=np.int64)
    power, mean = np.zeros(TILE + 1), np.zeros(TILE)
    power_bits, mean_bits = power.view(np.int64), mean.view(np.int64)
    chosen = (place >= 0).astype(np.int64)
    size = pairs.shape[0]
    present, position = np.zeros((2, size), dtype=np.int64)
    entered = np.zeros(size)
    for tile in range(pointer.size - 1):
        first = tile * TILE
        n_rows = min(TILE, fold.size - first)
        _tile_means(
            pointer[tile], pointer[tile + 1], begin, last, switch, contribution, intercept,
            first, n_rows, exposure, fold, left_out, power, power_bits, mean, mean_bits,
        )  # fmt: skip
        _link(
            pointer[tile], pointer[tile + 1], begin, last, switch, chosen, picked,
            first_begin, next_begin, first_end, next_end,
        )  # fmt: skip
        n_present = 1
        total = 0.0
        for row in range(n_rows):
            number = first_end[row]
            while number >= 0:
                gone = place[switch[picked[number]]]
                gap = position[gone]
                since = entered[gap]
                for other in range(n_present):
                    pairs[gone, present[other]] += total - max(since, entered[other])
                n_present -= 1
                present[gap], entered[gap] = present[n_present], entered[n_present]
                position[present[gap]] = gap
                number = next_end[number]
            number = first_begin[row]
            while number >= 0:
                come = place[switch[picked[number]]]
                present[n_present], entered[n_present], position[come] = come, total, n_present
                n_present += 1
                number = next_begin[number]
            total += mean[row]
        for gap in range(n_present - 1, -1, -1):
            for other in range(gap + 1):
                pairs[present[gap], present[other]] += total - max(entered[gap], entered[other])


@_compile
def hessian_block(
    pointer: Any, begin: Any, last: Any, switch: Any, contribution: Any, intercept: float, exposure: Any,
    fold: Any, left_out: int, column_start: Any, column_end: Any, value_start: Any, values: Any, hessian: Any,
) -> None:  # fmt: skip
    """Add the upper triangle of sum mu x x' of one block, but for one fold; x = 1 and then the columns.

    A switch sets the columns from `column_start` to before `column_end` to the numbers at `value_start` in
    `values`. Cells with the same x are added at once.
    """
    longest = 1
    for tile in range(pointer.size - 1):
        longest = max(longest, pointer[tile + 1] - pointer[tile] + 1)
    picked, next_begin, next_end = np.empty((3, longest), dtype=np.int64)
    first_begin, first_end = np.empty((2, TILE + 1), dtype=np.int64)
    power, mean = np.zeros(TILE + 1), np.zeros(TILE)
    power_bits, mean_bits = power.view(np.int64), mean.view(np.int64)
    chosen = (column_end > column_start).astype(np.int64)
    for tile in range(pointer.size - 1):
        first = tile * TILE
        n_rows = min(TILE, fold.size - first)
        _tile_means(
            pointer[tile], pointer[tile + 1], begin, last, switch, contribution, intercept,
            first, n_rows, exposure, fold, left_out, power, power_bits, mean, mean_bits,
        )  # fmt: skip
        _link(
            pointer[tile], pointer[tile + 1], begin, last, switch, chosen, picked,
            first_begin, next_begin, first_end, next_end,
        )  # fmt: skip
        point = np.zeros(hessian.shape[0])
        point[0] = 1.0
        pending = 0.0
        for row in range(n_rows):
            if first_begin[row] >= 0 or first_end[row] >= 0:
                _add_outer(hessian, point, pending)
                pending = 0.0
            number = first_end[row]
            while number >= 0:
                gone = switch[picked[number]]
                for column in range(column_start[gone], column_end[gone]):
                    point[column] = 0.0
                number = next_end[number]
            number = first_begin[row]
            while number >= 0:
                come = switch[picked[number]]
                offset = value_start[come] - column_start[come]
                for column in range(column_start[come], column_end[come]):
                    point[column] = values[offset + column]
                number = next_begin[number]
            pending += mean[row]
        _add_outer(hessian, point, pending)


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
