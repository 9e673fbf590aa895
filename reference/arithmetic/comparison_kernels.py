"""The passes of `comparisons`, compiled by numba: product, magnitude, allowance and error of a component at once.

A row is taken in tiles. One loop over a tile's components computes and writes, so that it becomes vector instructions;
others reduce what was written. Numbers that are not negative are ordered as their bits are, NaN above all: the largest
of them is found in integers, whose order of reduction does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from gradconform.reference.arithmetic import elementary
from gradconform.reference.arithmetic.arrays import RoundedArrays
from gradconform.reference.arithmetic.comparisons import Array, Comparing, Found
from gradconform.reference.arithmetic.fused import GUESSES, Noted, Unnoted, noted, written
from gradconform.reference.arithmetic.kernels import ORDINARY, TEXT, executor, noted_at, ordinary, started, what_held
from gradconform.reference.arithmetic.products import jitted
from gradconform.reference.equations import Formula

#: Components of a tile, and of a product that is held against what was got while a core's cache has it.
TILE, BLOCK = 512, 1 << 15
_BITS, _WITHOUT_SIGN = ir.IntType(32), ir.Constant(ir.IntType(32), 0x7FFFFFFF)


@intrinsic
def _size_bits(context: Any, x: Any) -> Any:
    """The bits of |x|."""
    return types.int32(types.float32), lambda _, builder, s, a: builder.and_(
        builder.bitcast(a[0], _BITS), _WITHOUT_SIGN
    )


@intrinsic
def _number(context: Any, x: Any) -> Any:
    """What is kept as bits, as the number of that width."""
    of, type_ = (types.float32, ir.FloatType()) if x == types.int32 else (types.float64, ir.DoubleType())
    return of(x), lambda _, builder, s, a: builder.bitcast(a[0], type_)


summing, inlined = partial(jitted, fastmath={"reassoc"}), partial(jitted, forceinline=True)


@jitted
def _tops(share: Any, ulps: Any, low: Any, high: Any, n: int) -> Any:
    """The largest share and error in ulp, the least and the largest magnitude, of a tile."""
    a, b, least, most = share[0], ulps[0], low[0], high[0]
    for j in range(n):
        a, b = max(a, share[j]), max(b, ulps[j])
        least, most = min(least, low[j]), max(most, high[j])
    return a, b, least, most


@summing
def _squares(x: Any, r: Any, n: int) -> Any:
    """The sums of the squares, in any order."""
    of_x, of_r = 0.0, 0.0
    for j in range(n):
        of_x += x[j] * x[j]
    for j in range(n):
        of_r += np.float64(r[j]) * np.float64(r[j])
    return of_x, of_r


@jitted
def _take(
    found: Any, number: int, n: int, share: Any, ulps: Any, low: Any, high: Any, measure: Any, radius: Any
) -> None:
    """Take in a tile of n components, the first of them that number of the tensor's."""
    step, sample, norms, tops = found
    largest, furthest, least, most = _tops(share, ulps, low, high, n)
    # Of components that are as far off the first: tiles do not come in the tensor's order.
    if largest >= tops[0]:
        at = number + _first(share, largest, n)
        if largest > tops[0] or at < tops[1]:
            tops[0], tops[1] = largest, at
    if furthest >= tops[2]:
        at = number + _first(ulps, furthest, n)
        if furthest > tops[2] or at < tops[3]:
            tops[2], tops[3] = furthest, at
    tops[4], tops[5] = min(tops[4], least), max(tops[5], most)
    of_measure, of_radius = _squares(measure, radius, n)
    norms[0] += of_measure
    norms[1] += of_radius
    for j in range(-number % step, n, step):
        sample[(number + j) // step] = _number(ulps[j])


@jitted
def _first(values: Any, value: Any, n: int) -> int:
    for j in range(n):
        if values[j] == value:
            return j
    return -1


@inlined
def _error(got: Any, mid: Any, radius: Any) -> Any:
    """The bits of the share and of the error in ulp of a component."""
    error = abs(np.float32(np.float64(got) - mid))
    binade = _size_bits(np.float32(mid)) & np.int32(0x7F800000)
    place = _number(np.int32(min(max(binade, np.int32(1 << 23)), np.int32(254 << 23)))) * np.float32(2.0**-23)
    return _size_bits(error / radius), _size_bits(error / place)


@jitted
def _product(
    found: Any, got: Any, row: int, column: int, mid: Any, size: Any, bias: Any, bias_size: Any, factor: Any
) -> None:
    rows, columns = mid.shape
    share, ulps = np.empty(TILE, np.int32), np.empty(TILE, np.int32)
    middle, radius, magnitude = np.empty(TILE), np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    bits = magnitude.view(np.int32)
    for i in range(rows):
        for first in range(0, columns, TILE):
            n = min(TILE, columns - first)
            g = got[row + i, column + first : column + first + n]
            t, s = mid[i, first : first + n], size[i, first : first + n]
            b, c = bias[first : first + n], bias_size[first : first + n]
            for j in range(n):
                middle[j], magnitude[j] = t[j] + b[j], s[j] + c[j]
                radius[j] = magnitude[j] * factor
                share[j], ulps[j] = _error(g[j], middle[j], radius[j])
            number = (row + i) * got.shape[1] + column + first
            _take(found, number, n, share, ulps, bits, bits, middle, radius)


@jitted
def _update(found: Any, got: Any, w: Any, slope: Any, rate: Any, factor: Any) -> None:
    share, ulps = np.empty(TILE, np.int32), np.empty(TILE, np.int32)
    step, radius, size = np.empty(TILE), np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    of_size, of_radius = size.view(np.int32), radius.view(np.int32)
    for first in range(0, got.size, TILE):
        n = min(TILE, got.size - first)
        g, v, d = got[first : first + n], w[first : first + n], slope[first : first + n]
        for j in range(n):
            step[j] = np.float64(np.float32(d[j])) * rate
            weight = np.float32(v[j])
            mid = np.float64(weight) - step[j]
            size[j] = abs(np.float32(step[j]))
            # 0 − p is exact.
            radius[j] = (size[j] + (abs(np.float32(mid)) if weight != 0 else np.float32(0))) * factor
            share[j], ulps[j] = _error(g[j], mid, radius[j])
        _take(found, first, n, share, ulps, of_size, of_radius, step, radius)


@cache
def _formula(program: Noted, truth: Noted, gradual: bool | None) -> Any:
    """The pass over components that a program makes of their operands, each as if it were ordinary; whether all are."""
    of_program, of_truth, same, text = written(program), written(truth), program == truth, TEXT

    @jitted
    def kernel(found: Any, E: Any, last: float, got: Any, numbers: Any) -> bool:
        share, ulps = np.empty(TILE, np.int64), np.empty(TILE, np.int64)
        middle, apart, held = np.empty(TILE), np.empty(TILE), np.empty(TILE, np.uint8)
        of_middle = middle.view(np.int64)
        note = noted_at()
        guessing = ordinary(E, note, gradual)
        for first in range(0, got.size, TILE):
            n = min(TILE, got.size - first)
            for j in range(n):
                started(note)
                value = of_program(guessing, numbers, first + j)
                true = value if same else of_truth(guessing, numbers, first + j)
                error = abs(got[first + j] - value.mid)
                middle[j], apart[j] = abs(true.mid), value.off + abs(value.mid - true.mid)
                share[j] = elementary.bits(error / value.off if error > 0 else 0.0)
                ulps[j] = elementary.bits(abs(got[first + j] - true.mid) / _place(E, middle[j], last))
                # Neither is a set, nor anything but a number.
                held[j] = what_held(note) if value.bits == 0 and value.width == 0 and true.width == 0 else 0
            every = np.uint8(ORDINARY if text else 0)
            for j in range(n):  # in a loop of its own: together neither is vectorised
                every &= held[j]
            if every != ORDINARY:
                return False
            _take(found, first, n, share, ulps, of_middle, of_middle, middle, apart)
        return True

    return kernel


@inlined
def _place(E: Any, size: Any, last: Any) -> Any:
    """The unit in the last place of a number that is not beyond its format, `last` that of 1."""
    binade = elementary.of_bits(elementary.bits(size) & 0x7FF0000000000000)
    return max(binade, E.smallest_normal) * last


@jitted
def _widen(x: Any, row: int, column: int, wide: Any, size: Any, ends: Any) -> None:
    least, most = np.int32(0x7F800000), np.int32(-1)
    rows, columns = wide.shape
    for i in range(rows):
        from_, to, sizes = x[row + i, column : column + columns], wide[i], size[i]
        for j in range(columns):
            number = np.float32(from_[j])
            to[j] = number
            sizes[j] = abs(number)
        for j in range(columns):
            bits = _size_bits(sizes[j])
            most = max(most, bits)
            least = min(least, bits if bits > 0 else np.int32(0x7F800000))
    ends[0], ends[1] = least, most


# As `comparisons.NumPyPasses` -----------------------------------------------------------------------------------------


def widen(x: Array, row: int, column: int, wide: Array, size: Array) -> tuple[float, float]:
    ends = np.empty(2, np.int32)
    _widen(x, row, column, wide, size, ends)
    least, most = ends.view(np.float32).tolist()
    return least, most


def product(
    of: Comparing, found: Found, got: Array, row: int, column: int, mid: Array, size: Array,
    bias: tuple[Array, Array] | None, factor: np.float32,
) -> None:  # fmt: skip
    columns = mid.shape[1]
    b, c = bias or (of.zeros("no bias", columns, np.float64), of.zeros("its size", columns, np.float32))
    _product(found.arrays, got, row, column, mid, size, b, c, factor)


def update(of: Comparing, found: Found, got: Array, w: Array, slope: Array, rate: float, factor: np.float32) -> None:
    _update(found.arrays, got, w, slope, rate, factor)


@dataclass(frozen=True, eq=False)
class Pass:
    """The pass over a formula's elements."""

    A: RoundedArrays
    program: Noted
    truth: Noted
    #: Found once, by what is taken for granted: it takes long to compare what was noted.
    kernels: dict[bool | None, Callable[..., bool]] = field(default_factory=dict)

    def __call__(self, got: Array, numbers: tuple[Array, ...], samples: int) -> Found | None:
        """What is found of elements that are all ordinary, in the one way or the other."""
        last = 2.0 ** (1 - self.A.format.precision)
        for gradual in GUESSES:
            if gradual not in self.kernels:
                self.kernels[gradual] = _formula(self.program, self.truth, gradual)
            found = Found(got.size, samples, np.float64)
            if self.kernels[gradual](found.arrays, executor(self.A), last, got, numbers):
                return found
        return None


#: A formula, and which of all operands it reads.
Reading = tuple[Formula, tuple[int, ...]]


@lru_cache(maxsize=1024)
def elementwise(A: RoundedArrays, program: Reading, truth: Reading, operands: int) -> Pass | None:
    """The pass over a formula of so many operands; None where it, or its truth, does more than to apply rules."""

    def read(formula: Formula, places: tuple[int, ...]) -> Noted:
        return noted(A, lambda ops, *given: formula(ops, *[given[n] for n in places]), operands)

    try:
        return Pass(A, read(*program), read(*truth))
    except Unnoted:
        return None
