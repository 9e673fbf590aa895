"""Midpoints: arrays of numbers so close to the exact ones that a verdict hardly depends on the difference.

Both kinds are programs of the same formulas in a format much wider than the one that is judged, and so they err by no
more than the same recurrences say with the wider format's unit roundoff in place of the judged one's: an allowance of
radius r, every rounding of which is at least u, encloses a midpoint's error of at most θ·r. `slack` is θ, the largest
ratio of a rounding error of the midpoint's program to that of the judged one.

Plain   float64, for formats of at most 24 bits. The host's elementary functions are taken to err by at most `HOST_ULPS`
        (the GNU C library documents 1 to 5 for these, NumPy at most 4; SciPy's erfc was seen at 31 near 12.3, a test
        samples them all): θ <= 2·HOST_ULPS·2^−29.
Double  unevaluated sums of two float64, for float64: u = 2^−102 covers every operation below (M. Joldes, J.-M. Muller,
        V. Popescu, "Tight and rigorous error bounds for basic building blocks of double-word arithmetic", ACM TOMS 44
        (2017): 3·2^−106 for the sum, 5·2^−106 the product, 10·2^−106 the quotient); elementary functions by `arb`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, lru_cache
from importlib import import_module
from typing import Any

import numpy as np
from flint import arb
from numpy.typing import NDArray

from gradconform.reference.arithmetic.exact import precision

#: Of float64, or of float32 where the radii are.
Array = NDArray[Any]

#: Error in ulp that the elementary functions of the host are trusted with; a test samples them against `arb`.
HOST_ULPS = 128.0
#: Elements of a sum of squares that are added up at a time; OpenBLAS takes one thread up to 10,000.
ROW = 1024
#: Products of two numbers, of a matrix product, from which on numba, where it is installed, is worth being loaded.
COMPILED_FROM = 1 << 19
#: Sums or products of double words, which it does in one pass over memory, from which on it is; or, once it is loaded,
#: worth a call.
WORDS_FROM, WORDS_CALLED_FROM = 1 << 17, 1 << 12
#: Bits that hold the sum of any two float64 numbers: from 2^1024 down to 2^−1074.
EXACTLY = 2100
_SPLITTER = 134217729.0  # 2^27 + 1 (T. J. Dekker, 1971)


class OutOfRange(ArithmeticError):
    """A value lies where double words do not hold the digits that a verdict needs: near float64's own limits."""


def squares(flat: Array) -> float:
    """Σx² of a flat array, in its own type, by rows so short that BLAS keeps them in this thread.

    What this thread has just written, another fetches more slowly than the sum takes.
    """
    rows = flat[: flat.size // ROW * ROW].reshape(-1, ROW)
    rest = flat[rows.size :]
    return float(np.vecdot(rows, rows).sum() + np.dot(rest, rest))


# Plain float64 --------------------------------------------------------------------------------------------------------


def _host(name: str) -> Callable[[Array], Array]:
    if name in ("erf", "erfc"):
        import scipy.special

        found: Callable[[Array], Array] = getattr(scipy.special, name)
        return found
    of_numpy: Callable[[Array], Array] = getattr(np, name)
    return of_numpy


class Plain:
    """Midpoints that are float64 arrays."""

    #: For the format with the most digits that it is used for; and how many these are.
    slack, precision = 2 * HOST_ULPS * 2.0**-29, 24

    @staticmethod
    def lift(x: Any) -> Array:
        return np.asarray(x, dtype=np.float64)

    @staticmethod
    def high(x: Array) -> Array:
        return x

    add = staticmethod(np.add)
    subtract = staticmethod(np.subtract)
    multiply = staticmethod(np.multiply)
    divide = staticmethod(np.divide)
    negative = staticmethod(np.negative)

    @staticmethod
    def scale(x: Array, power: float) -> Array:
        return x * power

    @staticmethod
    def number(x: arb) -> Array:
        return np.float64(float(x.mid()))  # type: ignore[return-value]

    @staticmethod
    def function(name: str, x: Array) -> Array:
        found: Array = _host(name)(x)
        return found

    @staticmethod
    def where(condition: Any, a: Array, b: Array) -> Array:
        return np.where(condition, a, b)

    @staticmethod
    def take(x: Array, index: Any) -> Array:
        return np.asarray(x[index])

    @staticmethod
    def product(a: Array, b: Array, allowance: Array | None) -> Array:
        return a @ b

    @staticmethod
    def sum(x: Array, axis: int | None, keepdims: bool) -> Array:
        return np.asarray(x.sum(axis=axis, keepdims=keepdims))

    @staticmethod
    def check(x: Array, normal: float) -> None:
        """Nothing: float64 holds every digit that a format of 24 bits needs, down to its subnormal numbers."""

    @staticmethod
    def distance(got: Array, x: Array, dtype: Any = np.float64) -> Array:
        error = got.astype(np.float64)
        error -= x
        found: Array = error.astype(dtype, copy=False)
        return np.abs(found, out=found)

    @staticmethod
    def ball(x: Array, index: Any) -> arb:
        return arb(float(x[index]))

    @staticmethod
    def put(x: Array, index: Any, value: arb) -> None:
        x[index] = float(value.mid())

    @staticmethod
    def low(x: Array) -> None:
        """What a midpoint holds beyond float64: nothing."""

    @staticmethod
    def assign(x: Array, where: Any, values: Array) -> None:
        x[where] = values

    @staticmethod
    def beside(columns: list[Array]) -> Array:
        return np.concatenate(columns, axis=1)

    broadcast = staticmethod(np.broadcast_to)

    @staticmethod
    def writable(x: Array, shape: tuple[int, ...]) -> Array:
        return np.array(np.broadcast_to(x, shape))


# Double words ---------------------------------------------------------------------------------------------------------


class DoubleArray:
    """hi + lo, with |lo| at most half an ulp of hi."""

    __slots__ = ("hi", "lo")

    def __init__(self, hi: Array, lo: Array) -> None:
        self.hi, self.lo = hi, lo

    @property
    def shape(self) -> tuple[int, ...]:
        return self.hi.shape

    @property
    def T(self) -> DoubleArray:
        return DoubleArray(self.hi.T, self.lo.T)

    def __neg__(self) -> DoubleArray:
        return Double.negative(self)

    def __add__(self, other: DoubleArray) -> DoubleArray:
        return Double.add(self, other)

    def __sub__(self, other: DoubleArray) -> DoubleArray:
        return Double.subtract(self, other)

    def __mul__(self, other: DoubleArray) -> DoubleArray:
        return Double.multiply(self, other)

    def __truediv__(self, other: DoubleArray) -> DoubleArray:
        return Double.divide(self, other)


# In each of these an array is used again as soon as it is free: of many elements a new one takes longer than the
# operation.


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """a + b = s + e exactly (D. E. Knuth, TAOCP 2, §4.2.2): e = (a − (s − t)) + (b − t), t = s − a."""
    s = a + b
    t = np.asarray(s - a)
    e = np.asarray(s - t)
    np.subtract(a, e, out=e)
    e += np.subtract(b, t, out=t)
    return s, e


def _fast_two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """The same where |a| >= |b| (T. J. Dekker, 1971): e = b − (s − a)."""
    s = a + b
    e = np.asarray(s - a)
    return s, np.subtract(b, e, out=e)


def _two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """a·b = p + e exactly, if nothing overflows or underflows (T. J. Dekker, 1971).

    With a = ah + al and b = bh + bl, of 26 bits each: e = ((ah·bh − p) + ah·bl + al·bh) + al·bl.
    """
    p = a * b
    (ah, al), (bh, bl) = _halves(a), _halves(b)
    e = np.asarray(ah * bh)
    e -= p
    e += ah * bl
    e += al * bh
    e += al * bl
    return p, e


def _halves(a: Array) -> tuple[Array, Array]:
    t = _SPLITTER * a
    high = np.asarray(t - a)
    np.subtract(t, high, out=high)
    return high, np.asarray(a - high)


#: Below the first a product of double words may lose digits to float64's smallest numbers: at most the second.
SMALL, LOST = 2.0**-900, 2.0**-1060
#: Where products of double words hold all their digits.
_LEAST, _LARGEST = 2.0**-480, 2.0**480


def _far(x: Array) -> bool:
    """Whether a number is too small or too large for products of double words; 0, infinities and NaN are not."""
    size = np.abs(x)
    small = np.where(size == 0, 1.0, size)
    if not size.size or (size.max() <= _LARGEST and small.min() >= _LEAST):
        return False
    return bool((np.isfinite(size) & ((size > _LARGEST) | (small < _LEAST))).any())


def _about_one(x: DoubleArray) -> tuple[DoubleArray, Array]:
    """Double words without their powers of two, which are exact, and these."""
    hi, power = np.frexp(x.hi)
    return DoubleArray(hi, np.ldexp(x.lo, -power)), power


def _times_power(x: DoubleArray, power: Array) -> DoubleArray:
    """Double words times powers of two; what the upper word loses where it is subnormal is in the lower one."""
    with np.errstate(all="ignore"):
        hi = np.ldexp(x.hi, power)
        left = np.where(np.isfinite(hi), x.hi - np.ldexp(hi, -power), 0.0)
        return DoubleArray(hi, np.ldexp(np.where(np.isfinite(left), left, 0.0) + x.lo, power))


@lru_cache(maxsize=128)
def _by_arb(name: str, high_words: bytes, low_words: bytes) -> tuple[Array, Array]:
    """An elementary function of double words, number by number: every form and program asks for the same ones."""
    numbers = zip(np.frombuffer(high_words).tolist(), np.frombuffer(low_words).tolist(), strict=True)
    hi, lo = np.empty(len(high_words) // 8), np.empty(len(high_words) // 8)
    with precision(160):
        for i, (h, low) in enumerate(numbers):
            value = getattr(arb(h) + arb(low), name)()
            hi[i] = high = float(value.mid()) if value.is_finite() else np.nan
            lo[i] = float((value - high).mid()) if np.isfinite(high) else 0.0
    hi.flags.writeable = lo.flags.writeable = False
    return hi, lo


class Double:
    """Midpoints that are double words."""

    slack, precision = 2.0**-102 / 2.0**-53 * 2, 53

    @staticmethod
    def lift(x: Any) -> DoubleArray:
        hi = np.asarray(x, dtype=np.float64)
        return DoubleArray(hi, np.zeros_like(hi))

    @staticmethod
    def high(x: DoubleArray) -> Array:
        return x.hi

    @staticmethod
    def add(a: DoubleArray, b: DoubleArray) -> DoubleArray:
        """AccurateDWPlusDW of Joldes, Muller and Popescu."""
        kernels = _of_words(a, b)
        if kernels is not None:
            return DoubleArray(*kernels.added(a.hi, a.lo, b.hi, b.lo))
        s, e = two_sum(a.hi, b.hi)
        t, f = two_sum(a.lo, b.lo)
        s, e = _fast_two_sum(s, e + t)
        return DoubleArray(*_fast_two_sum(s, e + f))

    @staticmethod
    def add_float(a: DoubleArray, b: Array) -> DoubleArray:
        """DWPlusFP of Joldes, Muller and Popescu: within 2·2^−106 of the result."""
        s, e = two_sum(a.hi, b)
        return DoubleArray(*_fast_two_sum(s, a.lo + e))

    @staticmethod
    def subtract(a: DoubleArray, b: DoubleArray) -> DoubleArray:
        return Double.add(a, DoubleArray(-b.hi, -b.lo))

    @staticmethod
    def negative(a: DoubleArray) -> DoubleArray:
        return DoubleArray(-a.hi, -a.lo)

    @staticmethod
    def multiply(a: DoubleArray, b: DoubleArray) -> DoubleArray:
        """DWTimesDW1 of Joldes, Muller and Popescu."""
        if _far(a.hi) or _far(b.hi):
            (a, i), (b, j) = _about_one(a), _about_one(b)
            return _times_power(_product(a, b), i + j)
        return _product(a, b)

    @staticmethod
    def divide(a: DoubleArray, b: DoubleArray) -> DoubleArray:
        """DWDivDW2 of Joldes, Muller and Popescu."""
        if _far(a.hi) or _far(b.hi):
            (a, i), (b, j) = _about_one(a), _about_one(b)
            return _times_power(Double.divide(a, b), i - j)
        q = a.hi / b.hi
        p, e = _two_product(b.hi, q)
        p, e = _fast_two_sum(p, e + b.lo * q)
        rest = (a.hi - p) + (a.lo - e)
        return DoubleArray(*_fast_two_sum(q, rest / b.hi))

    @staticmethod
    def scale(a: DoubleArray, power: float) -> DoubleArray:
        return DoubleArray(a.hi * power, a.lo * power)

    @staticmethod
    def number(x: arb) -> DoubleArray:
        high = float(x.mid())
        return DoubleArray(np.asarray(high), np.asarray(float((x - high).mid())))

    @staticmethod
    def function(name: str, x: DoubleArray) -> DoubleArray:
        hi, lo = _by_arb(name, x.hi.tobytes(), x.lo.tobytes())
        return DoubleArray(hi.reshape(x.hi.shape), lo.reshape(x.hi.shape))

    @staticmethod
    def where(condition: Any, a: DoubleArray, b: DoubleArray) -> DoubleArray:
        return DoubleArray(np.where(condition, a.hi, b.hi), np.where(condition, a.lo, b.lo))

    @staticmethod
    def take(x: DoubleArray, index: Any) -> DoubleArray:
        return DoubleArray(x.hi[index], x.lo[index])

    @staticmethod
    def sum(x: DoubleArray, axis: int | None, keepdims: bool) -> DoubleArray:
        """By halving, so that k terms take log2 k additions of whole arrays."""
        shape = x.hi.shape
        if axis is None:
            x, axis = DoubleArray(x.hi.reshape(-1), x.lo.reshape(-1)), 0
            kept: tuple[int, ...] = (1,) * len(shape) if keepdims else ()
        else:
            kept = tuple(1 if i == axis else n for i, n in enumerate(shape) if keepdims or i != axis)
        rest = DoubleArray(np.moveaxis(x.hi, axis, 0), np.moveaxis(x.lo, axis, 0))
        while rest.hi.shape[0] > 1:
            n = rest.hi.shape[0]
            half = (n + 1) // 2
            front, back = Double.take(rest, slice(0, n - half)), Double.take(rest, slice(half, n))
            folded = Double.add(front, back)
            if n % 2:
                middle = Double.take(rest, slice(n - half, half))
                folded = DoubleArray(np.concatenate([folded.hi, middle.hi]), np.concatenate([folded.lo, middle.lo]))
            rest = folded
        return DoubleArray(rest.hi[0].reshape(kept), rest.lo[0].reshape(kept))

    @staticmethod
    def check(x: DoubleArray, normal: float) -> None:
        """Raise OutOfRange for a number whose low word underflows although a format with such normal numbers has an ulp
        about as small: from `normal` to 2^32 times it, if that is where float64's own subnormal numbers begin."""
        if normal > 2.0**-1000:
            return
        size = np.abs(x.hi)
        if size.min(initial=np.inf) >= normal * 2.0**32:
            return
        if ((size >= normal) & (size < normal * 2.0**32)).any():
            raise OutOfRange(f"{float(size[(size >= normal) & (size < normal * 2.0**32)][0])!r} as a double word")

    @staticmethod
    def distance(got: Array, x: DoubleArray, dtype: Any = np.float64) -> Array:
        return np.asarray(np.abs((got - x.hi) - x.lo))

    @staticmethod
    def ball(x: DoubleArray, index: Any) -> arb:
        with precision(EXACTLY):
            return arb(float(x.hi[index])) + arb(float(x.lo[index]))

    @staticmethod
    def put(x: DoubleArray, index: Any, value: arb) -> None:
        high = float(value.mid())
        x.hi[index] = high
        x.lo[index] = float((value - high).mid()) if np.isfinite(high) else 0.0

    @staticmethod
    def low(x: DoubleArray) -> Array:
        return x.lo

    @staticmethod
    def assign(x: DoubleArray, where: Any, values: DoubleArray) -> None:
        x.hi[where], x.lo[where] = values.hi, values.lo

    @staticmethod
    def beside(columns: list[DoubleArray]) -> DoubleArray:
        return DoubleArray(
            np.concatenate([c.hi for c in columns], axis=1), np.concatenate([c.lo for c in columns], axis=1)
        )

    @staticmethod
    def broadcast(x: DoubleArray, shape: tuple[int, ...]) -> DoubleArray:
        return DoubleArray(np.broadcast_to(x.hi, shape), np.broadcast_to(x.lo, shape))

    @staticmethod
    def writable(x: DoubleArray, shape: tuple[int, ...]) -> DoubleArray:
        return DoubleArray(np.array(np.broadcast_to(x.hi, shape)), np.array(np.broadcast_to(x.lo, shape)))

    @staticmethod
    def product(a: DoubleArray, b: DoubleArray, allowance: Array | None) -> DoubleArray:
        """A matrix product; each component is within 2^−49 of its `allowance` of the exact one, or is recomputed.

        Rows of A and columns of B are scaled by powers of two, so that it is their spread that counts and not their
        size; components smaller than their row's or column's largest by more than 2^−480 are left out, and counted.
        """
        result, bound = product_and_bound(a, b, allowance)
        if allowance is not None:
            again = (bound > _PART * allowance) & (allowance > 0)
            for i, j in zip(*np.nonzero(again), strict=True):
                Double.put(result, (i, j), _exact_dot(Double.take(a, i), Double.take(b, (slice(None), j))))
        return result


def _product(a: DoubleArray, b: DoubleArray) -> DoubleArray:
    """The product of double words that are neither too small nor too large for it."""
    kernels = _of_words(a, b)
    if kernels is not None:
        return DoubleArray(*kernels.multiplied(a.hi, a.lo, b.hi, b.lo))
    p, e = _two_product(a.hi, b.hi)
    return DoubleArray(*_fast_two_sum(p, e + (a.hi * b.lo + a.lo * b.hi)))


def product_and_bound(a: DoubleArray, b: DoubleArray, allowance: Array | None) -> tuple[DoubleArray, Array]:
    """A matrix product, and what its slices leave out; more of them where that is not a part of the `allowance`."""
    if not (np.isfinite(a.hi).all() and np.isfinite(b.hi).all()):
        raise OutOfRange("a matrix product of numbers that float64 does not hold")
    k = a.hi.shape[1]
    (left, ea), (right, eb) = _scaled(a, 1), _scaled(b, 0)
    scale = ea + eb
    if k <= 4:
        total = _outer(left, right, 0)
        for i in range(1, k):
            total = Double.add(total, _outer(left, right, i))
        bound = np.full(total.shape, k * 2.0**-478)
    else:
        kernels = compiled_products() if k * scale.size >= COMPILED_FROM else None
        if kernels is None:
            scaled = None if allowance is None else np.ldexp(allowance, -scale)
            total, bound = _sliced_product(left.hi, right.hi, scaled)
        else:
            high_words, low_words, bound = kernels.product(left.hi, right.hi)
            total = DoubleArray(high_words, low_words)
        # Numbers known exactly have no low words: nothing is multiplied by them.
        low: Any = 0.0
        for x, y in ((left.hi, right.lo), (left.lo, right.hi)):
            if x.any() and y.any():
                low += x @ y
        total = Double.add_float(total, low) if np.ndim(low) else total
        bound += k * 2.0**-478
    unscaled = _scaling(ea, eb)
    for words in (total.hi, total.lo, bound):
        unscaled(words, words)
    return total, bound


def _scaling(*powers: NDArray[np.int64]) -> Callable[[Array, Array], Array]:
    """Multiplication by 2 to the sum of some powers, into an array: by numbers where they are, not by the slow `ldexp`.

    New arrays of a large product's size take longer than what is computed in them.
    """
    if sum(int(np.abs(p).max(initial=0)) for p in powers) > 1000:
        return lambda x, out: np.ldexp(x, sum(powers), out=out)
    factor: Any = math.prod(np.ldexp(1.0, p) for p in powers)
    return lambda x, out: np.multiply(x, factor, out=out)


@cache
def compiled_products() -> Any:
    """Products by fused multiply-add; None where numba is not installed, or is not for this Python or NumPy."""
    try:
        return import_module("gradconform.reference.arithmetic.products")  # an extra, and it takes a third of a second
    except ImportError:
        return None


def _of_words(a: DoubleArray, b: DoubleArray) -> Any:
    """The compiled operations of double words, where these are as many on both sides; else None."""
    loaded = compiled_products.cache_info().currsize
    enough = a.hi.size >= (WORDS_CALLED_FROM if loaded else WORDS_FROM) and a.hi.shape == b.hi.shape
    return compiled_products() if enough else None


def _scaled(x: DoubleArray, axis: int) -> tuple[DoubleArray, NDArray[np.int64]]:
    """Rows (axis 1) or columns (axis 0) scaled to at most 1, and the exponents of their scale."""
    largest, least = x.hi.max(axis=axis, keepdims=True), x.hi.min(axis=axis, keepdims=True)
    _, exponent = np.frexp(np.maximum(largest, -least))
    scaled = _scaling(-exponent)
    hi = scaled(x.hi, np.empty(x.hi.shape))
    lo = scaled(x.lo, np.empty(x.lo.shape)) if x.lo.any() else x.lo
    tiny = (hi > -_LEAST) & (hi < _LEAST)
    if tiny.any():
        hi, lo = np.where(tiny, 0.0, hi), np.where(tiny, 0.0, lo)
    return DoubleArray(hi, lo), exponent.astype(np.int64)


def _outer(a: DoubleArray, b: DoubleArray, i: int) -> DoubleArray:
    """Of scaled factors the products of the i-th column and row."""
    return _product(Double.take(a, (slice(None), slice(i, i + 1))), Double.take(b, (slice(i, i + 1),)))


def _exact_dot(a: DoubleArray, b: DoubleArray) -> arb:
    with precision(320):
        total = arb(0)
        for ah, al, bh, bl in zip(a.hi.tolist(), a.lo.tolist(), b.hi.tolist(), b.lo.tolist(), strict=True):
            total += (arb(ah) + arb(al)) * (arb(bh) + arb(bl))
        return total


#: Slices that a factor is cut into at first, and at most.
_SLICES = (4, 8)
#: Of its allowance, what a component of a product may err by: half of `Double.slack`.
_PART = 2.0**-49


def _sliced_product(a: Array, b: Array, allowance: Array | None) -> tuple[DoubleArray, Array]:
    """A·B by error-free slices, and a bound on what is left out.

    Each row of A and each column of B is cut, from its largest component's exponent down, into slices of β bits so
    short that a product of two slices, k terms long, is exact in float64 in any order of summation (K. Ozaki, T. Ogita,
    S. Oishi, S. M. Rump, "Error-free transformations of matrix multiplication by using fast routines of matrix
    multiplication and its applications", Numer. Algorithms 59 (2012)). Products of slices beyond the number of slices
    together are left out.
    """
    k = a.shape[1]
    beta = (53 - int(np.ceil(np.log2(k)))) // 2
    rows, columns = np.abs(a).max(axis=1, keepdims=True), np.abs(b).max(axis=0, keepdims=True)
    for slices in range(_SLICES[0], _SLICES[1] + 1):
        # The slices of a factor leave at most 2^−(β·slices) of its largest component; each left-out product is at most
        # twice that, and there are at most slices + 2 of them for each of the k terms.
        bound = (k * (slices + 2.0) * 2.0 ** (1 - beta * slices)) * (rows * columns)
        if allowance is None or slices == _SLICES[1] or not (bound > _PART * allowance).any():
            break
    sa, sb = _cut(a, rows, beta, slices), _cut(b, columns, beta, slices)
    total: DoubleArray | None = None
    for order in range(slices):
        for i in range(order + 1):
            part = sa[i] @ sb[order - i]
            total = Double.lift(part) if total is None else Double.add_float(total, part)
    assert total is not None
    return total, bound


def _cut(x: Array, largest: Array, beta: int, slices: int) -> list[Array]:
    _, exponent = np.frexp(largest)
    parts = []
    rest = x
    for i in range(slices):
        # Adding and taking away 3·2^(e + 51 − β(i+1)) rounds to a multiple of 2^(e − β(i+1)).
        anchor = np.ldexp(1.5, exponent + 52 - beta * (i + 1))
        part = (rest + anchor) - anchor
        rest = rest - part
        parts.append(part)
    return parts
