"""Balls in double words, whole arrays at a time: a midpoint of about 102 bits, and rigorous radii in float64.

A number is its midpoint (`reference.midpoints.Double`) and one or two radii: the first encloses it on the numbers that
a record holds, the second also over what literals and ties leave open (see `array_exact`). Each operation of double
words errs by less than 2^−102 of its result; radii move by the operands' radii in full and are enlarged by 2^−30 of
themselves, which outweighs the rounding of their own computation. An infinity is a midpoint of radius 0; of what is not
known the midpoint is NaN and the radius infinite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from flint import arb

from gradconform.reference.arithmetic.arrays import HOST
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.function_rules import (
    Moves,
    as_far,
    exponential,
    exponential_less_one,
    gaussian,
    hyperbolic_cosine,
    hyperbolic_sine,
)
from gradconform.reference.arithmetic.midpoints import (
    HOST_ULPS,
    LOST,
    SMALL,
    Array,
    Double,
    DoubleArray,
    Plain,
    product_and_bound,
)
from gradconform.reference.programs import taylor
from gradconform.reference.programs.functions import FUNCTIONS

#: What an operation errs by, relative to its result: of double words, and of a root by one step of Newton's method.
UNIT, OF_ROOT = 2.0**-102, 2.0**-98
#: What an operation of blunt numbers errs by, and one of their functions, with a few operations about it.
BLUNT, OF_HOST = 2.0**-53, 3 * HOST_ULPS * 2.0**-52
ENLARGED = 1 + 2.0**-30
#: Numbers from which a function's Taylor polynomials are worth to be made.
MANY = 64
#: Bits of the balls that functions are evaluated in.
BITS = 140


class Words:
    """An array of balls: midpoints, and radii with one axis more, the first."""

    __slots__ = ("blunt", "mid", "radius")
    __array_ufunc__ = None

    def __init__(self, mid: DoubleArray, radius: Array, blunt: bool = False) -> None:
        self.mid, self.radius, self.blunt = mid, radius, blunt

    @property
    def shape(self) -> tuple[int, ...]:
        return self.mid.hi.shape

    @property
    def high(self) -> Array:
        return self.mid.hi

    def __neg__(self) -> Words:
        if self.blunt:
            return blunt(-self.mid.hi, self.radius)
        return Words(Double.negative(self.mid), self.radius)

    def __add__(self, other: Any) -> Words:
        return add(self, coerced(other))

    __radd__ = __add__

    def __sub__(self, other: Any) -> Words:
        return add(self, -coerced(other))

    def __rsub__(self, other: Any) -> Words:
        return add(coerced(other), -self)

    def __mul__(self, other: Any) -> Words:
        return multiply(self, coerced(other))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Words:
        return divide(self, coerced(other))

    def __rtruediv__(self, other: Any) -> Words:
        return divide(coerced(other), self)

    def __pow__(self, power: int) -> Words:
        if not isinstance(power, int):
            raise TypeError(f"got the power {power!r}; expected an integer: write any other as power(x, y)")
        found = number(1.0)
        for _ in range(abs(power)):
            found = found * self
        return found if power >= 0 else 1 / found


def number(x: float) -> Words:
    """One number, exactly; beside arrays of any length."""
    return Words(DoubleArray(np.array([x], dtype=np.float64), np.zeros(1)), np.zeros((1, 1)))


def blunt(high: Array, radius: Array) -> Words:
    """Balls about float64 numbers."""
    return Words(DoubleArray(high, np.broadcast_to(0.0, high.shape)), radius, True)


def blunted(x: Words) -> Words:
    """The same balls about their upper words."""
    return x if x.blunt else blunt(x.mid.hi, x.radius + np.abs(x.mid.lo))


def of_ball(x: arb) -> Words:
    """A real number that is given as a ball."""
    high = float(x.mid())
    low = x - high
    found = DoubleArray(np.array([high]), np.array([float(low.mid())]))
    return Words(found, np.full((1, 1), abs(high) * UNIT + float(abs(low).upper()) * 2.0**-50))


def with_balls(x: Words, at: Sequence[int], balls: Sequence[Sequence[arb]]) -> Words:
    """The same array with other numbers at some of its places, by a ball for each of its radii, about the first's."""
    high, low, radius = x.mid.hi.flatten(), x.mid.lo.flatten(), x.radius.reshape(len(x.radius), -1).copy()
    for place, of in zip(at, balls, strict=True):
        upper = float(of[0].mid())
        lower = float((of[0] - upper).mid())
        high[place], low[place] = upper, lower
        radius[:, place] = [float(abs(ball - upper - lower).upper()) * ENLARGED for ball in of]
    return Words(DoubleArray(high.reshape(x.shape), low.reshape(x.shape)), radius.reshape(x.radius.shape))


def coerced(x: Any) -> Words:
    return x if isinstance(x, Words) else number(float(x))


def known(x: Words) -> Array:
    """Where anything is known: the number is finite, and so are its radii."""
    return np.asarray(np.isfinite(x.mid.hi) & np.isfinite(x.radius).all(axis=0))


def exactly_zero(x: Words) -> Array:
    return np.asarray((x.mid.hi == 0) & (x.radius == 0).all(axis=0))


# Arithmetic -----------------------------------------------------------------------------------------------------------


def _closed(
    mid: DoubleArray, moved: Array, operation: Callable[..., Array], *operands: Words, unit: float = UNIT
) -> Words:
    """A result with its radius; what double words do not hold by the rules of IEEE 754 on the numbers themselves."""
    with np.errstate(all="ignore"):
        size = np.abs(mid.hi)
        radius = (moved + size * unit) * ENLARGED
        little = size < SMALL
        if little.any():
            whole = np.ones((), dtype=bool)
            for x in operands:
                whole = whole & (x.mid.hi != 0)
            radius = np.where(little & whole, radius + LOST, radius)
        bad = ~(np.isfinite(mid.hi) & np.isfinite(mid.lo) & np.isfinite(radius).all(axis=0))
        if not bad.any():
            return Words(mid, radius)
        value = np.broadcast_to(operation(*[x.mid.hi for x in operands]), bad.shape)
        infinite = np.zeros((), dtype=bool)
        steady = np.ones((), dtype=bool)
        for x in operands:
            own = np.isinf(x.mid.hi)
            infinite = infinite | own
            # An infinity's sign, or 0, comes of the signs of the others.
            steady = steady & np.isfinite(x.radius).all(axis=0) & (own | _signed(operation, x))
        sound = bad & infinite & steady & ~np.isnan(value)
        hi = np.where(sound, value, np.where(bad, np.nan, mid.hi))
        lo = np.where(bad, 0.0, mid.lo)
        radius = np.where(sound, 0.0, np.where(bad, np.inf, radius))
        # Ordinary numbers that are too large for the product's parts.
        plain = bad & ~infinite & np.isfinite(value) & np.isfinite(moved).all(axis=0)
        if plain.any():
            hi, radius = (
                np.where(plain, value, hi),
                np.where(plain, moved * ENLARGED + np.abs(value) * 2.0**-51, radius),
            )
    return Words(DoubleArray(hi, lo), radius)


def _bluntly(moved: Array, operation: Callable[..., Array], *operands: Words) -> Words:
    """A result of blunt operands, with its radius."""
    high = operation(*(x.mid.hi for x in operands))
    found = _closed(DoubleArray(high, np.broadcast_to(0.0, high.shape)), moved, operation, *operands, unit=BLUNT)
    found.blunt = True
    return found


def _signed(operation: Callable[..., Array], x: Words) -> Array:
    """Where a number's sign is known, if the operation asks for it."""
    if operation is np.add:
        return np.ones((), dtype=bool)
    return np.asarray((np.abs(x.mid.hi) > x.radius).all(axis=0) | exactly_zero(x))


def add(a: Words, b: Words) -> Words:
    with np.errstate(all="ignore"):
        if a.blunt or b.blunt:
            a, b = blunted(a), blunted(b)
            return _bluntly(a.radius + b.radius, np.add, a, b)
        return _closed(Double.add(a.mid, b.mid), a.radius + b.radius, np.add, a, b)


def _of_product(a: DoubleArray, b: DoubleArray) -> Any:
    """What a product errs by, relative to itself: less where an upper word is ±1, whose product is exact.

    So 1 − y² is known where y is nearer to 1 than double words otherwise tell.
    """
    one = (np.abs(a.hi) == 1) | (np.abs(b.hi) == 1)
    if not one.any():
        return UNIT
    low = np.abs(a.lo * b.lo) + 2.0**-51 * (np.abs(a.hi * b.lo) + np.abs(a.lo * b.hi))
    return np.where(one, np.minimum((low + LOST) / np.abs(a.hi * b.hi), UNIT), UNIT)


def _with_lost(bound: Array, some: Any) -> Array:
    """A bound of a product or quotient, where float64's smallest numbers may have lost what it is `some` of."""
    lost = (bound < SMALL) & some
    return np.where(lost, bound + LOST, bound) if lost.any() else bound


def multiply(a: Words, b: Words) -> Words:
    with np.errstate(all="ignore"):
        either = a.blunt or b.blunt
        if either:
            a, b = blunted(a), blunted(b)
        size = np.abs(b.mid.hi) + b.radius
        moved = np.abs(a.mid.hi) * b.radius + a.radius * size
        moved = _with_lost(moved, ((a.radius > 0) & (size > 0)) | ((b.radius > 0) & (a.mid.hi != 0)))
        if either:
            return _bluntly(moved, np.multiply, a, b)
        return _closed(Double.multiply(a.mid, b.mid), moved, np.multiply, a, b, unit=_of_product(a.mid, b.mid))


def divide(a: Words, b: Words) -> Words:
    with np.errstate(all="ignore"):
        either = a.blunt or b.blunt
        if either:
            a, b = blunted(a), blunted(b)
        mid = Double.lift(a.mid.hi / b.mid.hi) if either else Double.divide(a.mid, b.mid)
        least = np.abs(b.mid.hi) * (1 - 2.0**-51) - b.radius
        moved = np.where(least > 0, a.radius / least + np.abs(mid.hi) * (b.radius / least), np.inf)
        moved = _with_lost(moved, (a.radius > 0) | ((b.radius > 0) & (a.mid.hi != 0)))
        return _bluntly(moved, np.divide, a, b) if either else _closed(mid, moved, np.divide, a, b)


def absolute(x: Words) -> Words:
    below = x.mid.hi < 0
    return Words(Double.where(below, Double.negative(x.mid), x.mid), x.radius, x.blunt)


def where(condition: Any, a: Words, b: Words) -> Words:
    if a.blunt or b.blunt:
        a, b = blunted(a), blunted(b)
        return blunt(np.where(condition, a.mid.hi, b.mid.hi), np.where(condition, a.radius, b.radius))
    return Words(Double.where(condition, a.mid, b.mid), np.where(condition, a.radius, b.radius))


def apart(a: Words, b: Words) -> Array:
    """a − b, to float64; NaN where one is not known."""
    with np.errstate(all="ignore"):
        found: Array = (a.mid.hi - b.mid.hi) + (a.mid.lo - b.mid.lo)
        return np.where(np.isinf(a.mid.hi) | np.isinf(b.mid.hi), a.mid.hi - b.mid.hi, found)


def separation(a: Words, b: Words, radius: int = 1) -> tuple[Array, Array]:
    """How far apart the midpoints are, and how far they may be for the balls to touch, by the radii of that number; NaN
    where one is not known. The gap is computed to float64: it may be off by four roundings of itself."""
    with np.errstate(all="ignore"):
        gap: Array = np.abs(apart(a, b))
        return gap, (a.radius + b.radius)[radius] * ENLARGED + gap * 2.0**-50


def disjoint(a: Words, b: Words, radius: int = 1) -> Array:
    """Where the balls certainly do not touch."""
    gap, reach = separation(a, b, radius)
    return gap > reach


# Sums -----------------------------------------------------------------------------------------------------------------


def total(x: Words) -> Words:
    """Σ over the last axis."""
    count = x.shape[-1]
    if count == 0:
        shape = x.shape[:-1]
        return Words(DoubleArray(np.zeros(shape), np.zeros(shape)), np.zeros((x.radius.shape[0], *shape)))
    with np.errstate(all="ignore"):
        mid = Double.sum(x.mid, len(x.shape) - 1, False)
        size = np.abs(x.mid.hi).sum(axis=-1)
        depth = count.bit_length() + 1
        grown = 1 + (count + 4) * 2.0**-52
        radius = (x.radius.sum(axis=-1) + depth * UNIT * size) * (ENLARGED * grown)
        bad = ~(np.isfinite(mid.hi) & np.isfinite(mid.lo) & np.isfinite(radius).all(axis=0))
        if bad.any():
            value = x.mid.hi.sum(axis=-1)
            sound = bad & np.isinf(value) & np.isinf(x.mid.hi).any(axis=-1) & np.isfinite(x.radius).all(axis=(0, -1))
            mid = DoubleArray(np.where(sound, value, np.where(bad, np.nan, mid.hi)), np.where(bad, 0.0, mid.lo))
            radius = np.where(sound, 0.0, np.where(bad, np.inf, radius))
    return Words(mid, radius)


def matrix_product(a: Words, b: Words) -> Words:
    """A·B of two matrices. Of a row or a column with an infinity or NaN nothing is known."""
    (m, k), n = a.shape, b.shape[1]
    fine = [np.asarray(known(x)) for x in (a, b)]
    lost: Any = None
    if not (fine[0].all() and fine[1].all()):
        lost = ~np.asarray(fine[0].all(axis=1))[:, None] | ~np.asarray(fine[1].all(axis=0))[None, :]
        zero = DoubleArray(np.zeros(()), np.zeros(()))
        a, b = (
            Words(Double.where(f, x.mid, zero), np.where(f, x.radius, 0.0)) for f, x in zip(fine, (a, b), strict=True)
        )
    sizes = np.abs(a.mid.hi), np.abs(b.mid.hi)
    size = sizes[0] @ sizes[1]
    # A bound of 2^−90 of Σ|a·b| is enough for every format's digits.
    mid, bound = product_and_bound(a.mid, b.mid, size * 2.0**-41)
    empty: Any = size == 0
    if empty.any():  # float64 may have lost what is not 0
        empty = empty & ~((sizes[0] > 0).astype(np.float32) @ (sizes[1] > 0).astype(np.float32) > 0)
    small: Any = size < SMALL
    if small.any():  # what float64 loses of the product, and of k products each of sizes and of radii: 2^−1075 each
        some = [((s > 0) | (x.radius > 0).any(axis=0)).astype(np.float32) for s, x in zip(sizes, (a, b), strict=True)]
        small = np.where(small & (some[0] @ some[1] > 0), LOST + k * 2.0**-1072, 0.0)
    radius = np.empty((max(a.radius.shape[0], b.radius.shape[0]), m, n))
    for r in range(radius.shape[0]):
        ra, rb = (x.radius[min(r, x.radius.shape[0] - 1)] for x in (a, b))
        moved = np.zeros((m, n))
        if rb.any():
            moved = sizes[0] @ rb
        if ra.any():
            moved = moved + ra @ (sizes[1] + rb)
        # Low words are multiplied in float64; slices are added in double words.
        own = bound + (3 * k + 64) * 2.0**-104 * size
        radius[r] = (moved + np.where(empty, 0.0, own) + small) * (ENLARGED + (k + 8) * 2.0**-52)
    if lost is not None:
        mid = DoubleArray(np.where(lost, np.nan, mid.hi), np.where(lost, 0.0, mid.lo))
        radius = np.where(lost, np.inf, radius)
    return Words(mid, radius)


# Functions ------------------------------------------------------------------------------------------------------------


def _root(x: Words) -> Words:
    with np.errstate(all="ignore"):
        high = np.sqrt(x.mid.hi)
        square = Double.multiply(Double.lift(high), Double.lift(high))
        rest = Double.subtract(x.mid, square)
        step = rest.hi / (2 * high)
        hi = high + step
        lo = step - (hi - high)
        least = np.abs(x.mid.hi) * (1 - 2.0**-51) - x.radius
        moved = np.where(least > 0, x.radius / (high + np.sqrt(np.maximum(least, 0.0))), np.inf) + high * OF_ROOT
        zero, infinite = exactly_zero(x), x.mid.hi == np.inf
        plain = zero | infinite
        hi, lo = np.where(plain, high, hi), np.where(plain, 0.0, lo)
        radius = np.where(plain, 0.0, moved * ENLARGED)
        small = (x.mid.hi < SMALL) & ~plain
        radius = np.where(small, radius + np.sqrt(LOST), radius)
        radius = np.where(np.isfinite(hi) | infinite, radius, np.inf)
    return Words(DoubleArray(hi, lo), radius)


def _logarithm(shift: float) -> Callable[[Array, Array, Array], Array]:
    def moved(v: Array, r: Array, f: Array) -> Array:
        least = (v + shift) - np.abs(v) * 2.0**-51 - abs(shift) * 2.0**-51 - r
        return np.asarray(np.where(least > 0, r / least, np.inf))

    return moved


def _decaying(most: float, rate: float) -> Callable[[Array, Array, Array], Array]:
    """Of a function whose slope at y is at most min(most, 4·e^(−rate·|y|))."""

    def moved(v: Array, r: Array, f: Array) -> Array:
        nearest = np.maximum(np.abs(v) * (1 - 2.0**-51) - r, 0)
        return np.asarray(np.minimum(most * r, 4 * r * np.exp(-rate * nearest * (1 - 2.0**-40))))

    return moved


def _by_rule(moves: Moves) -> Callable[[Array, Array, Array], Array]:
    """As the rule says it, over arrays."""
    return lambda v, r, f: np.asarray(moves(HOST, v, r, f))


#: How far functions move over a ball of radius r about v: bounds from above. Of others the balls themselves say it.
_MOVED: Mapping[str, Callable[[Array, Array, Array], Array]] = {
    "exp": _by_rule(exponential),
    "expm1": _by_rule(exponential_less_one),
    "log": _logarithm(0.0),
    "log1p": _logarithm(1.0),
    "tanh": _decaying(1.0, 2.0),
    "sech": _decaying(0.5, 1.0),
    "sigmoid": _decaying(0.25, 1.0),
    "erf": _by_rule(gaussian),
    "erfc": _by_rule(gaussian),
    **dict.fromkeys(("sin", "cos", "atan", "softplus", "log_sigmoid"), _by_rule(as_far)),
}


#: Arguments of one function that are remembered at most.
REMEMBERED = 1 << 15


@lru_cache(maxsize=16)
def _remembered(name: str, *levels: int) -> dict[tuple[float, ...], tuple[float, float, Array]]:
    """What balls said of a function's arguments with so many radii each: the definition and a program ask the same."""
    return {}


def _by_balls(name: str, arguments: tuple[Words, ...]) -> Words:
    """A function of the table by balls, once for each of the numbers that differ."""
    shape = np.broadcast_shapes(*[x.shape for x in arguments])
    levels = max(x.radius.shape[0] for x in arguments)
    moved = _MOVED.get(name) if len(arguments) == 1 else None
    columns = [np.broadcast_to(c, shape).ravel() for x in arguments for c in (x.mid.hi, x.mid.lo)]
    if moved is None:
        columns += [
            np.broadcast_to(x.radius, (x.radius.shape[0], *shape)).reshape(x.radius.shape[0], -1)[r]
            for x in arguments
            for r in range(x.radius.shape[0])
        ]
    first, same = _distinct(columns)
    hi, lo = np.empty(len(first)), np.empty(len(first))
    radius = np.zeros((levels, len(first)))
    parts = [c[first].tolist() for c in columns]
    value = FUNCTIONS[name].ball
    count = len(arguments)
    remembered = _remembered(name, *[x.radius.shape[0] for x in arguments])
    if len(remembered) > REMEMBERED:
        remembered.clear()
    with precision(BITS):
        for n, key in enumerate(zip(*parts, strict=True)):
            known = remembered.get(key)
            if known is not None:
                hi[n], lo[n], radius[:, n] = known
                continue
            x = [_ball(parts[2 * i][n], parts[2 * i + 1][n]) for i in range(count)]
            found = value(*x)
            hi[n], lo[n], off = _split(found)
            radius[:, n] = off
            if moved is None:
                at = 2 * count
                for level in range(levels):
                    wide, place = [], at
                    for i, argument in enumerate(arguments):
                        own = argument.radius.shape[0]
                        r = parts[place + min(level, own - 1)][n]
                        place += own
                        wide.append(x[i] if r == 0 else x[i] + arb(0, r) if np.isfinite(r) else arb.nan())
                    if any(w is not v for w, v in zip(wide, x, strict=True)):
                        radius[level, n] = off + _reach(value(*wide), found)
            remembered[key] = hi[n], lo[n], radius[:, n].copy()
    mid = DoubleArray(hi[same].reshape(shape), lo[same].reshape(shape))
    radius = radius[:, same].reshape(levels, *shape)
    with np.errstate(all="ignore"):
        if moved is not None:
            over = arguments[0].radius
            radius = radius + np.where(over > 0, moved(arguments[0].mid.hi, over, mid.hi) * ENLARGED, 0.0)
        unknown = np.isnan(mid.hi) | ~np.isfinite(radius).all(axis=0)
    if unknown.any():
        mid = DoubleArray(np.where(unknown, np.nan, mid.hi), np.where(unknown, 0.0, mid.lo))
        radius = np.where(unknown, np.inf, radius)
    return Words(mid, radius)


def _distinct(columns: list[Array]) -> tuple[Array, Any]:
    """The first of each of the elements that differ in some column, and which of those each element is."""
    size = columns[0].size
    everything = np.arange(size)
    if size < 64 or np.unique(columns[0]).size > size // 2:
        return everything, everything
    bits = np.ascontiguousarray(np.stack(columns, axis=1)).view(np.int64)
    _, first, same = np.unique(bits, axis=0, return_index=True, return_inverse=True)
    return first, np.asarray(same).reshape(-1)


def _ball(high: float, low: float) -> arb:
    return arb(high) if low == 0 or not np.isfinite(high) else arb(high) + arb(low)


def _split(x: arb) -> tuple[float, float, float]:
    """A ball as a double word, and its radius."""
    if x.is_finite():
        high = float(x.mid())
        if np.isfinite(high):
            rest = x - high
            low = float(rest.mid())
            off = 0.0 if (rest - low).is_zero() else float(np.nextafter(float(abs(rest - low).upper()), np.inf))
            return high, low, off
    if not x.is_nan() and not x.rad() > 0:  # exactly an infinity
        return (np.inf if x > 0 else -np.inf), 0.0, 0.0
    return np.nan, 0.0, np.inf


def _reach(wide: arb, narrow: arb) -> float:
    off = abs(wide - narrow)
    return float(np.nextafter(float(off.upper()), np.inf)) if wide.is_finite() and narrow.is_finite() else np.inf


def _by_series(name: str, x: Words) -> Words:
    """A function of many numbers by its Taylor polynomials, and by balls where these do not know it."""
    row = Words(DoubleArray(x.mid.hi.ravel(), x.mid.lo.ravel()), x.radius.reshape(x.radius.shape[0], -1))
    mid, error, sure = taylor.evaluated(name, row.mid)
    with np.errstate(all="ignore"):
        moved = np.where(row.radius > 0, _MOVED[name](row.mid.hi, row.radius, mid.hi), 0.0)
        radius = (error + moved) * ENLARGED
        sure = sure & np.isfinite(radius).all(axis=0)
    if not sure.all():
        rest = _by_balls(name, (Words(Double.take(row.mid, ~sure), row.radius[:, ~sure]),))
        Double.assign(mid, ~sure, rest.mid)
        radius[:, ~sure] = rest.radius
    return Words(
        DoubleArray(mid.hi.reshape(x.shape), mid.lo.reshape(x.shape)), radius.reshape(x.radius.shape[0], *x.shape)
    )


# By this computer's float64 -------------------------------------------------------------------------------------------


def _tail(x: Array) -> Array:
    """e^−|x|."""
    return np.asarray(np.exp(-np.abs(x)))


def _sigmoid(x: Array) -> Array:
    e = _tail(x)
    return np.asarray(np.where(x < 0, e, 1.0) / (1 + e))


def _softplus(x: Array) -> Array:
    return np.asarray(np.maximum(x, 0.0) + np.log1p(_tail(x)))


def _secant(x: Array) -> Array:
    e = _tail(x)
    return np.asarray(2 * e / (1 + e * e))


def _normal(x: Array) -> Array:
    return 0.5 * Plain.function("erfc", x * -(0.5**0.5))


#: Further functions of NumPy, which are asked for at given numbers: how they move is not known here.
_OF_NUMPY: Mapping[str, str] = {
    "exp2": "exp2", "log2": "log2", "log10": "log10", "cbrt": "cbrt", "tan": "tan", "asin": "arcsin", "acos": "arccos",
    "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
}  # fmt: skip
#: Functions of float64, each to OF_HOST of itself: those of the host, and few operations about one.
BY_HOST: Mapping[str, Callable[[Array], Array]] = {
    **{
        name: partial(Plain.function, name)
        for name in ("exp", "expm1", "log", "log1p", "tanh", "erf", "erfc", "sin", "cos", "sinh", "cosh")
    },
    **{name: getattr(np, by) for name, by in _OF_NUMPY.items()},
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "log_sigmoid": lambda x: -_softplus(-x),
    "sech": _secant,
    "ndtr": _normal,
}


def _density(v: Array, r: Array, f: Array) -> Array:
    nearest = np.maximum(np.abs(v) * (1 - 2.0**-51) - r, 0)
    return np.asarray(0.4 * r * np.exp(-nearest * nearest * (0.5 - 2.0**-40)))


_HOST_MOVED: Mapping[str, Callable[[Array, Array, Array], Array]] = {
    **_MOVED,
    "sinh": _by_rule(hyperbolic_sine),
    "cosh": _by_rule(hyperbolic_cosine),
    "ndtr": _density,
}


def _by_host(name: str, x: Words) -> Words:
    """A function by float64's own."""
    with np.errstate(all="ignore"):
        high = BY_HOST[name](x.mid.hi)
        size = np.abs(high)
        own = size * OF_HOST + LOST
        if name == "ndtr":  # of y = −x/√2, rounded twice, erfc moves by 2y² + 1 of itself at most, by ½ below 0
            own = own + size * (np.minimum(x.mid.hi, 0.0) ** 2 + 1) * 2.0**-51
        moved: Any = 0.0
        if x.radius.any():
            moves = _HOST_MOVED.get(name)
            moved = np.where(x.radius > 0, np.inf if moves is None else moves(x.mid.hi, x.radius, high), 0.0)
        radius = np.broadcast_to((moved + own) * ENLARGED, (x.radius.shape[0], *high.shape))
        # Of infinities, and of what is beyond float64, the balls know more.
        clear = np.isfinite(x.mid.hi) & np.isfinite(high) & np.isfinite(radius).all(axis=0)
        if not clear.all():
            high, radius = np.where(clear, high, np.nan), np.where(clear, radius, np.inf)
    return blunt(high, radius)


def function(name: str, *arguments: Words) -> Words:
    """A function of the table."""
    own = _OWN.get(name)
    if own is not None:
        return own(*arguments)
    if arguments[0].blunt and name in BY_HOST:
        return _by_host(name, arguments[0])
    if name in _SATURATED:
        return _saturating(name, arguments[0])
    return _sharply(name, *arguments)


def _sharply(name: str, *arguments: Words) -> Words:
    if name in taylor.FUNCTIONS and arguments[0].high.size >= MANY:
        return _by_series(name, arguments[0])
    return _by_balls(name, arguments)


#: Of functions that come close to ±1: from which argument on their lower word alone says how close; whether to −1,
#: too; and how close that is.
_SATURATED: Mapping[str, tuple[float, bool, Callable[[Array], Array]]] = {
    "sigmoid": (40.0, False, lambda x: _sigmoid(-x)),
    "ndtr": (9.0, False, lambda x: _normal(-x)),
    "tanh": (20.0, True, lambda x: 2 * _sigmoid(-2 * x)),
    "erf": (6.0, True, partial(Plain.function, "erfc")),
}


def _saturating(name: str, x: Words) -> Words:
    """A function that comes close to ±1, where it does so by 1 less what this computer's own functions say."""
    least, odd, rest = _SATURATED[name]
    with np.errstate(all="ignore"):
        size = np.abs(x.mid.hi) if odd else x.mid.hi
        close = np.isfinite(size) & (size > least)
    if not close.any():
        return _sharply(name, x)
    x = Words(x.mid, np.broadcast_to(x.radius, (x.radius.shape[0], *x.shape)))
    with np.errstate(all="ignore"):
        left = rest(size[close])
        # Of an argument that is rounded to its upper word, a tail e^(−x²) moves by 2x² roundings of itself.
        own = left * (OF_HOST + (size[close] * size[close] + 1) * 2.0**-50) + LOST
        over = x.radius[:, close]
        moved = np.where(over > 0, _HOST_MOVED[name](x.mid.hi[close], over, np.ones(left.shape)), 0.0)
        sign = np.where(x.mid.hi[close] < 0, -1.0, 1.0)
    high, low = np.empty(x.shape), np.empty(x.shape)
    radius = np.empty((x.radius.shape[0], *x.shape))
    high[close], low[close], radius[:, close] = sign, -sign * left, (own + moved) * ENLARGED
    if not close.all():
        others = _sharply(name, Words(Double.take(x.mid, ~close), x.radius[:, ~close]))
        high[~close], low[~close], radius[:, ~close] = others.mid.hi, others.mid.lo, others.radius
    return Words(DoubleArray(high, low), radius)


_OWN: Mapping[str, Callable[..., Words]] = {
    "negative": lambda x: -x,
    "add": add,
    "subtract": lambda x, y: add(x, -y),
    "multiply": multiply,
    "residue": lambda n, x, y: add(x, -multiply(n, y)),
    "divide": divide,
    "square": lambda x: multiply(x, x),
    "reciprocal": lambda x: divide(number(1.0), x),
    "round": lambda x: x,
    "absolute": absolute,
    "sqrt": _root,
    "rsqrt": lambda x: divide(number(1.0), _root(x)),
}


class WordOperations:
    """The functions of the table on `Words`, for the partial derivatives that it gives."""

    def __getattr__(self, name: str) -> Callable[..., Words]:
        return lambda *arguments: function(name, *map(coerced, arguments))

    @staticmethod
    def pi() -> Words:
        with precision(BITS):
            return of_ball(arb.pi())

    @staticmethod
    def ln2() -> Words:
        with precision(BITS):
            return of_ball(arb.const_log2())

    @staticmethod
    def number(x: float) -> Words:
        return number(x)


WORD_OPERATIONS = WordOperations()
