"""Rounded balls, whole arrays at a time: what a rounded program may hold where the formula holds a tensor.

The rules are those of `rounded`, hypothesis by hypothesis; here a value is a midpoint array (see `midpoints`) with an
array of radii in float64, and what it may be besides in bits. What float64 does not hold, of a midpoint or a radius, is
not known.

Radii are computed with the unit roundoff enlarged by 2^−30 of itself. They are sums, products and quotients of
non-negative float64 numbers, homogeneous in the unit roundoff, and so the enlargement outweighs the rounding of their
own computation, 2^−50 of them an operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from flint import arb
from numpy.typing import NDArray

from gradconform.reference.arithmetic.exact import BALLS, Constant, HandWritten, precision
from gradconform.reference.arithmetic.formats import FLOAT32, FLOAT64, Format
from gradconform.reference.arithmetic.midpoints import HOST_ULPS, Array, Double, OutOfRange, Plain, squares
from gradconform.reference.arithmetic.profiles import OPENCL, Profile
from gradconform.reference.arithmetic.rounded import (
    ANYTHING,
    BELOW_ONE,
    DOUBT,
    FAR,
    HARDLY,
    NAN,
    NEGATIVE,
    OVERFLOWED,
    POSITIVE,
    ZERO,
    Rounded,
    RoundedBalls,
    Sums,
)
from gradconform.reference.arithmetic.specials import ABOVE, AT_ZERO, BELOW, table
from gradconform.reference.equations import Slope
from gradconform.reference.judge import FIRST_PRECISION

_ENLARGED = 1 + 2.0**-30
#: The least number of float64: no radius but 0 is smaller.
_LEAST = 2.0**-1074
#: And the largest.
_LARGEST = float(np.finfo(np.float64).max)

Bits = NDArray[Any]


class RoundedArray:
    """A tensor: midpoints, radii (None: known exactly), half widths of sets at kinks, specials; see the module.

    `raw` is the same numbers in float32, for a tensor that was given in it: midpoints, and specials where not all of it
    is finite, are made from it when they are asked for. `excess` is by how much, relatively, radii may be larger than
    the rules say, because they were computed in float32.
    """

    __slots__ = ("_mid", "_sizes", "_specials", "arithmetic", "excess", "radius", "raw", "spread")
    __array_ufunc__ = None  # let NumPy arrays defer to these operators

    def __init__(
        self,
        arithmetic: RoundedArrays,
        mid: Any,
        radius: Array | None = None,
        spread: Array | None = None,
        specials: Bits | None = None,
        raw: NDArray[Any] | None = None,
        excess: float = 0.0,
    ) -> None:
        if mid is not None and radius is not None:  # numbers known exactly have no digits to lose
            arithmetic.mids.check(mid, arithmetic.smallest_normal)
        self.arithmetic, self._mid, self.radius = arithmetic, mid, radius
        self.spread, self._specials, self.raw = spread, specials, raw
        self._sizes: NDArray[Any] | None = None
        self.excess = excess

    @property
    def mid(self) -> Any:
        """The midpoints, as the arithmetic has them."""
        if self._mid is None:
            self._read()
        return self._mid

    @property
    def specials(self) -> Bits | None:
        """What each component may be besides a number near its midpoint; None if no component may."""
        if self._mid is None:
            self._read()
        return self._specials

    def _read(self) -> None:
        """Midpoints and specials of the numbers given in float32."""
        self._mid, self._specials = self.arithmetic.numbers(self.raw)
        if self._specials is not None:
            self.raw = None

    @property
    def sizes(self) -> NDArray[Any]:
        """|x| of the numbers given in float32."""
        if self._sizes is None:
            self._sizes = np.abs(self.raw)  # type: ignore[arg-type]
        return self._sizes

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._mid.shape) if self.raw is None else self.raw.shape

    @property
    def high(self) -> Array:
        """The midpoints, to float64."""
        found: Array = self.arithmetic.mids.high(self.mid)
        return found

    @property
    def T(self) -> RoundedArray:
        mid = self.mid.T  # a factor of a product, which asks for it
        radius, spread, specials, raw = (
            None if x is None else x.T for x in (self.radius, self.spread, self.specials, self.raw)
        )
        turned = RoundedArray(self.arithmetic, mid, radius, spread, specials, raw)
        turned._sizes = None if raw is None else self.sizes.T
        return turned

    def under(self, arithmetic: RoundedArrays) -> RoundedArray:
        """The same values, to go on from under another arithmetic."""
        return RoundedArray(arithmetic, self.mid, self.radius, self.spread, self.specials, excess=self.excess)

    def besides(self, specials: Bits | None) -> RoundedArray:
        """The same values, with these specials."""
        found = RoundedArray(self.arithmetic, self.mid, None, self.spread, specials, excess=self.excess)
        found.radius = self.radius
        return found

    def radii(self) -> Array:
        if self.radius is None:
            return np.zeros(self.shape)
        return self.radius if self.radius.shape == self.shape else np.broadcast_to(self.radius, self.shape)

    def folded(self) -> RoundedArray:
        """The same value with the sets' half widths as a part of the radii."""
        if self.spread is None:
            return self
        return RoundedArray(self.arithmetic, self.mid, self.radii() + self.spread, None, self.specials)

    def __neg__(self) -> RoundedArray:
        mids = self.arithmetic.mids
        specials = self.specials
        if specials is not None:  # POSITIVE and NEGATIVE change places
            specials = (specials & ~np.uint8(3)) | ((specials & 1) << 1) | ((specials & 2) >> 1)
        return RoundedArray(self.arithmetic, mids.negative(self.mid), self.radius, self.spread, specials)

    def __add__(self, other: Any) -> RoundedArray:
        return self.arithmetic.add(self, self.arithmetic.coerce(other))

    __radd__ = __add__

    def __sub__(self, other: Any) -> RoundedArray:
        return self.arithmetic.add(self, -self.arithmetic.coerce(other))

    def __rsub__(self, other: Any) -> RoundedArray:
        return self.arithmetic.add(self.arithmetic.coerce(other), -self)

    def __mul__(self, other: Any) -> RoundedArray:
        if isinstance(other, int | float) and abs(float(np.frexp(other)[0])) == 0.5:
            return self.arithmetic.scale(self, other)
        return self.arithmetic.multiply(self, self.arithmetic.coerce(other))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> RoundedArray:
        return self.arithmetic.divide(self, self.arithmetic.coerce(other))

    def __rtruediv__(self, other: Any) -> RoundedArray:
        return self.arithmetic.divide(self.arithmetic.coerce(other), self)

    def __pow__(self, power: int) -> RoundedArray:
        if power != 2:
            raise TypeError(f"only the square is defined, got power {power!r}")
        return self.arithmetic.square(self)

    def __matmul__(self, other: RoundedArray) -> RoundedArray:
        return self.arithmetic.product(self, other)


class RoundedArrays(HandWritten):
    """Arithmetic in `target` under the hypotheses of `profile`, on `RoundedArray` values.

    Midpoints are plain float64 for formats of at most 24 bits, double words for float64; `exact=True` takes double
    words for every format. `sums` as in `RoundedBalls`.
    """

    def __init__(self, target: Format, profile: Profile, exact: bool = False, sums: Sums = "any") -> None:
        self.format, self.profile, self.flush = target, profile, profile.flush
        self.mids: Any = Double if exact or target.precision > 24 else Plain
        self.balls = RoundedBalls(target, profile, sums)
        self.sums: Sums = sums
        #: How far a midpoint may be from the exact value, in radii.
        self.slack = self.mids.slack * 2.0 ** (target.precision - self.mids.precision)
        self.unit = 2.0**-target.precision * _ENLARGED
        self.smallest_normal = 2.0**target.emin
        self.half_tiny = 2.0 ** max(target.emin - target.precision, -1074)
        # The least number that rounds to infinity, which for float64 is none of its own; and what is certainly below.
        self.infinite = (2 - 2.0**-target.precision) * 2.0**target.emax if target.precision < 53 else math.inf
        self.overflow = target.largest * (1 - 2.0**-20)
        # Hypothesis 3: products of 16-bit matrices are accumulated in float32 or wider, then rounded once.
        self.narrow = target.precision < 24
        self._constants: dict[Any, RoundedArray] = {}
        self._kept: RoundedArrays | None = None

    # Values -----------------------------------------------------------------------------------------------------------

    def given(self, x: Any) -> RoundedArray:
        """Numbers of the format, known exactly; of infinity and NaN no formula says anything."""
        if isinstance(x, np.ndarray) and x.dtype == np.float32 and self.mids is Plain:
            return RoundedArray(self, None, raw=x)
        mid, specials = self.numbers(x)
        return RoundedArray(self, mid, None, None, specials)

    def numbers(self, x: Any) -> tuple[Any, Bits | None]:
        """Midpoints of numbers known exactly, and which of them are none."""
        mid = self.mids.lift(x)
        high = self.mids.high(mid)
        flat = (x if isinstance(x, np.ndarray) else high).reshape(-1)
        with np.errstate(all="ignore"):
            ordinary = math.isfinite(squares(flat))  # infinities and NaN stay in a sum of squares
        if ordinary:
            return mid, None
        finite = np.isfinite(high)
        if finite.all():
            return mid, None
        return self.mids.lift(np.where(finite, x, 0.0)), np.where(finite, 0, ANYTHING).astype(np.uint8)

    def reported(self, x: Any) -> RoundedArray:
        """Numbers that a framework reported for values it may have kept in higher precision (hypothesis 9)."""
        known = self.given(x)
        size = np.abs(known.high)
        radius = np.maximum(self.unit * size, self.half_tiny)
        if self.flush:
            radius = np.where(size < self.smallest_normal, self.smallest_normal, radius)
        return RoundedArray(self, known.mid, radius, None, known.specials)

    def unrounded(self, x: RoundedArray) -> RoundedArray:
        """The results of an operation before they were rounded, and maybe flushed, to x."""
        x = x.folded()
        size, r = np.abs(x.high), x.radii()
        error = np.maximum(self.unit * (size + r), self.half_tiny)
        if self.flush:
            error = np.where(size - r < self.smallest_normal, np.maximum(error, self.smallest_normal), error)
        return RoundedArray(self, x.mid, r + error, None, x.specials, excess=x.excess)

    def gradual(self, formula: Callable[..., RoundedArray], *operands: RoundedArray) -> RoundedArray:
        """As in `RoundedBalls`."""
        if not (self.flush and self.format.name == "float16"):
            return formula(self, *operands)
        if self._kept is None:
            gradual = replace(self.profile, flush=False)
            self._kept = RoundedArrays(self.format, gradual, self.mids is Double, self.sums)
        return formula(self._kept, *[x.under(self._kept) for x in operands]).under(self)

    def real(self, constant: Constant) -> RoundedArray:
        """A constant of a formula: an operand of radius u|c| unless the format holds it (hypothesis 1)."""
        if constant.text not in self._constants:
            with precision(FIRST_PRECISION):
                value = self.balls.real(constant)
                mid = self.mids.number(constant.of(BALLS))
                radius = None if value.radius.is_zero() else np.asarray(_upper(value.radius) * _ENLARGED)
            self._constants[constant.text] = RoundedArray(self, mid, radius)
        return self._constants[constant.text]

    def coerce(self, x: Any) -> RoundedArray:
        if isinstance(x, RoundedArray):
            return x
        if x not in self._constants:
            if not isinstance(x, int | float) or not self.format.holds(x):
                raise TypeError(f"{x!r} is not a number of {self.format.name}; give it as ops.real(…)")
            self._constants[x] = RoundedArray(self, self.mids.lift(float(x)))
        return self._constants[x]

    # Roundings --------------------------------------------------------------------------------------------------------

    def _operand(self, x: RoundedArray) -> Any:
        """The radii of an operand, widened where it may be a subnormal number that the operation flushes."""
        if not self.flush:
            return x.radius
        size = np.abs(x.high)
        least = size if x.radius is None else size - x.radius
        if least.size == 0 or least.min() >= self.smallest_normal:
            return x.radius
        sup = size if x.radius is None else size + x.radius
        extra = np.where(least < self.smallest_normal, np.minimum(sup, self.smallest_normal), 0.0)
        if not extra.any():  # zeros
            return x.radius
        return extra if x.radius is None else x.radius + extra

    def _round(
        self, mid: Any, propagated: Array | None, operands: tuple[RoundedArray, ...] = (),
        error: Array | float | None = None, factors: bool = False,
    ) -> RoundedArray:  # fmt: skip
        """Widened by one rounding, of u·sup|x| or the `error` given, and infinite where it may overflow.

        `factors`: a product or quotient of the operands, 0 only where one of them is.
        """
        radius = self._widened(mid, propagated, operands, error, factors)
        excess = max((o.excess for o in operands), default=0.0)
        size = np.abs(self.mids.high(mid))
        if not size.size or (size + radius).max() < self.overflow:
            return RoundedArray(self, mid, radius, excess=excess)
        return self._overflowing(mid, radius, excess)

    def _widened(
        self, mid: Any, propagated: Array | None, operands: tuple[RoundedArray, ...] = (),
        error: Array | float | None = None, factors: bool = False,
    ) -> Array:  # fmt: skip
        """The radius of a rounded result; see `_round`."""
        size = np.abs(self.mids.high(mid))
        sup = size if propagated is None else size + propagated
        if factors and not sup.all():  # float64 itself underflows, below 2^−1075: 0 stands for what is not 0
            zero = _exact_zeros(operands[0]) | _exact_zeros(operands[-1])
            sup = np.where((sup == 0) & ~zero, _LEAST, sup)
        if error is None:
            error = self.unit * sup
        least = size - error if propagated is None else size - propagated - error
        if least.size and not least.min() >= self.smallest_normal:
            low = ~(least >= self.smallest_normal)
            tiny = np.maximum(error, np.minimum(sup, self.half_tiny))
            if self.flush:
                tiny = np.maximum(tiny, np.minimum(sup, self.smallest_normal + tiny))
            error = np.where(low, tiny, error)
        return np.asarray(error if propagated is None else propagated + error)

    def _overflowing(self, mid: Any, radius: Array, excess: float) -> RoundedArray:
        """A rounded result, infinite where it may overflow (hypothesis 7), unknown where float64 does not hold it.

        The midpoint stays where only the radius is beyond: it is the truth's.
        """
        value, radius = self.mids.high(mid), np.broadcast_to(radius, mid.shape)
        with np.errstate(all="ignore"):
            # What these sums, and a midpoint, are off by; of numbers known exactly nothing is.
            more = np.where(radius > 0, radius * (1 + self.slack) + (np.abs(value) + radius) * 2.0**-50, 0.0)
            above = np.where(value + more < self.infinite, 0, POSITIVE)
            below = np.where(more - value < self.infinite, 0, NEGATIVE)
        specials = (above | below).astype(np.uint8)
        held = np.isfinite(value) & np.isfinite(radius)
        if not held.all():
            specials = np.where(held, specials, specials | ANYTHING).astype(np.uint8)
            mid, radius = self._where_held(np.isfinite(value), mid), np.where(held, radius, 0.0)
        return RoundedArray(self, mid, radius, None, specials if specials.any() else None, excess=excess)

    def _where_held(self, held: Any, mid: Any) -> Any:
        """Midpoints, 0 for those that are not held."""
        return self.mids.where(held, mid, self.mids.lift(np.zeros(())))

    def _with_specials(self, result: RoundedArray, operation: str, *operands: RoundedArray) -> RoundedArray:
        """As of `RoundedBalls`."""
        if all(o.specials is None for o in operands):
            return result
        shape = result.shape
        union: Any = np.uint8(0)
        for o in operands:
            union = union | (0 if o.specials is None else o.specials)
        where = np.nonzero(np.broadcast_to(union, shape)) if shape else ()
        found = table(operation, len(operands))
        ways = tuple(self._ways(o, shape, where) for o in operands)
        specials = np.zeros(shape, np.uint8) if result.specials is None else np.array(result.specials)
        radius = np.array(np.broadcast_to(result.radii(), shape))
        own, of_operands = specials[where], np.broadcast_to(union, shape)[where]
        least, largest = found.least[ways], found.largest[ways]
        finite = least <= largest
        bits = own | (of_operands & np.uint8(DOUBT)) | found.specials[ways] | np.where(finite, DOUBT, 0)
        value = np.broadcast_to(result.high, shape)[where]
        low = np.broadcast_to(result.mid.lo, shape)[where] if self.mids is Double else 0.0
        with np.errstate(all="ignore"):
            widened = np.maximum(np.abs(value - least + low), np.abs(value - largest + low)) * (1 + 2.0**-48)
            widened = np.where(finite, np.maximum(radius[where], widened), radius[where])
        unknown = (((own | of_operands) & ANYTHING) != 0) | ~np.isfinite(widened)
        overflowed = ((own | of_operands) & OVERFLOWED) != 0
        bits = np.where(unknown, np.where(overflowed, ANYTHING | OVERFLOWED, ANYTHING), bits)
        specials[where], radius[where] = bits.astype(np.uint8), np.where(unknown, 0.0, widened)
        return RoundedArray(
            self, result.mid, radius, result.spread, specials if specials.any() else None, excess=result.excess
        )

    def _ways(self, x: RoundedArray, shape: tuple[int, ...], where: Any) -> Any:
        """How some elements of an operand can meet an infinity; see `representatives`."""

        def some(values: Any) -> Any:
            return np.broadcast_to(values, shape)[where]

        value, radius = some(x.high), 0.0 if x.radius is None else some(x.radius)
        rest = some(self._rest(x))
        ways = np.zeros(np.shape(value), np.intp) if x.specials is None else some(x.specials) & np.intp(OVERFLOWED)
        ways = ways | np.where(value + radius + rest <= 0, 0, ABOVE) | np.where(value - radius - rest >= 0, 0, BELOW)
        nearest = self.smallest_normal if self.flush else 0.0
        return ways | np.where(np.abs(value) - radius - rest > nearest, 0, AT_ZERO)

    def _unknown(self, x: RoundedArray, where: Any, bits: Any = ANYTHING | OVERFLOWED) -> RoundedArray:
        """The same, but that nothing is known of some elements; or no more than that they are one of a few specials."""
        if not np.any(where):
            return x
        where = np.broadcast_to(where, x.shape)
        own = np.zeros(x.shape, np.uint8) if x.specials is None else x.specials
        mid = self._where_held(~where | np.isfinite(x.high), x.mid)
        specials = np.where(where, bits, own).astype(np.uint8)
        return RoundedArray(self, mid, np.where(where, 0.0, x.radii()), x.spread, specials, excess=x.excess)

    def _mended(
        self, result: RoundedArray, bad: Any, operands: tuple[RoundedArray, ...], operation: Callable[..., Any]
    ) -> RoundedArray:
        """The result, its elements that are `bad` computed by the scalar arithmetic, those that are equal once."""
        if not np.any(bad):
            return result
        shape = np.broadcast_shapes(result.shape, np.shape(bad))
        where = np.nonzero(np.broadcast_to(bad, shape)) if shape else ()
        first, same = self._distinct(operands, where, shape)
        same = same if shape else same.reshape(())
        mid = self.mids.writable(result.mid, shape)
        radius = np.array(np.broadcast_to(result.radii(), shape))
        specials = np.zeros(shape, np.uint8) if result.specials is None else np.array(result.specials)
        spread = None if result.spread is None else np.array(np.broadcast_to(result.spread, shape))
        found = self.mids.lift(np.zeros(len(first)))
        radii, kinds, widths = np.zeros(len(first)), np.zeros(len(first), dtype=np.uint8), np.zeros(len(first))
        with precision(FIRST_PRECISION):
            for n, place in enumerate(first):
                at = tuple(int(axis[place]) for axis in where)
                value = operation(*[self.scalar(o, at, shape) for o in operands])
                if not np.isfinite(float(value.exact.mid())):  # exact values that even float64 does not hold
                    value = Rounded(self.balls, ZERO, ZERO, value.specials | ANYTHING)
                self.mids.put(found, n, value.exact)
                radii[n], kinds[n], widths[n] = _upper(value.radius), value.specials, _upper(value.spread)
        self.mids.assign(mid, where, self.mids.take(found, same))
        radius[where], specials[where] = radii[same], kinds[same]
        if spread is not None or widths.any():
            spread = np.zeros(shape) if spread is None else spread
            spread[where] = widths[same]
        return RoundedArray(self, mid, radius, spread, specials if specials.any() else None, excess=result.excess)

    def _distinct(
        self, operands: tuple[RoundedArray, ...], where: tuple[Bits, ...], shape: tuple[int, ...]
    ) -> tuple[Bits, Bits]:
        """Of some elements the first of each that are equal in all operands, and which of those each is."""
        columns = []
        for x in operands:
            parts = [self.mids.high(x.mid), self.mids.low(x.mid), x.radius, x.spread, x.specials]
            columns += [np.atleast_1d(np.broadcast_to(p, shape)[where]) for p in parts if p is not None]
        bits = np.ascontiguousarray(np.stack(columns, axis=1).astype(np.float64)).view(np.int64)
        _, first, same = np.unique(bits, axis=0, return_index=True, return_inverse=True)
        return first, np.asarray(same).reshape(-1)

    def scalar(self, x: RoundedArray, index: tuple[int, ...], shape: tuple[int, ...]) -> Rounded:
        """One element, as the scalar arithmetic has it; `shape` is what x is broadcast to."""
        own = index[len(shape) - len(x.shape) :]
        own = tuple(0 if n == 1 else i for i, n in zip(own, x.shape, strict=True))

        def element(values: Any) -> Any:
            return np.broadcast_to(values, x.shape)[own]

        radius = ZERO if x.radius is None else arb(float(element(x.radius)))
        spread = ZERO if x.spread is None else arb(float(element(x.spread)))
        specials = 0 if x.specials is None else int(element(x.specials))
        return Rounded(self.balls, self.mids.ball(x.mid, own), radius, specials, spread)

    # Operations -------------------------------------------------------------------------------------------------------

    def add(self, a: RoundedArray, b: RoundedArray) -> RoundedArray:
        if a.spread is not None or b.spread is not None:
            return self._set(self.add(a.folded(), b.folded()), _width(a) + _width(b))
        mid = self.mids.add(a.mid, b.mid)
        ra, rb = self._operand(a), self._operand(b)
        propagated = ra if rb is None else rb if ra is None else ra + rb
        error: Any = None
        zero = _exact_zeros(a) | _exact_zeros(b)
        if zero.any():  # x + 0 = x
            size = np.abs(self.mids.high(mid))
            error = np.where(zero, 0.0, self.unit * (size if propagated is None else size + propagated))
        return self._with_specials(self._round(mid, propagated, (a, b), error), "add", a, b)

    def multiply(self, a: RoundedArray, b: RoundedArray, unrounded: Any = None) -> RoundedArray:
        """a·b; `unrounded` says where one is a power of two, so that the product is exact."""
        if a.spread is not None or b.spread is not None:
            return self._multiply_set(a, b)
        ra, rb = self._operand(a), self._operand(b)
        propagated: Any = None
        with np.errstate(all="ignore"):
            if rb is not None:
                propagated = np.abs(a.high) * rb
            if ra is not None:
                right = np.abs(b.high) if rb is None else np.abs(b.high) + rb
                propagated = ra * right if propagated is None else propagated + ra * right
            mid = self.mids.multiply(a.mid, b.mid)
            error: Any = None
            if unrounded is not None:
                size = np.abs(self.mids.high(mid))
                error = np.where(unrounded, 0.0, self.unit * (size if propagated is None else size + propagated))
            result = self._round(mid, propagated, (a, b), error, factors=True)
            return self._with_specials(result, "multiply", a, b)

    def _set(self, whole: RoundedArray, spread: Any) -> RoundedArray:
        """The set of the results, each rounded, of a `whole` that counts the set's half width as an error.

        What is left of that error is rounding; the difference is itself rounded.
        """
        spread = np.broadcast_to(spread, whole.shape)
        with np.errstate(all="ignore"):
            left = np.maximum(whole.radii() - spread, 0.0) + 2.0**-51 * spread
            left = np.where(np.isfinite(spread), left, np.inf)
        radius = np.where(spread > 0, left, whole.radii())
        return RoundedArray(self, whole.mid, radius, spread, whole.specials, excess=whole.excess)

    def _multiply_set(self, a: RoundedArray, b: RoundedArray) -> RoundedArray:
        """A product where one factor is a set: the set of the products, each rounded."""
        if a.spread is None:
            a, b = b, a
        b = b.folded()
        with np.errstate(all="ignore"):
            return self._set(self.multiply(a.folded(), b), _width(a) * np.abs(b.high))

    def square(self, a: RoundedArray) -> RoundedArray:
        a = a.folded()
        ra = self._operand(a)
        with np.errstate(all="ignore"):
            propagated = None if ra is None else ra * (2 * np.abs(a.high) + ra)
            mid = self.mids.multiply(a.mid, a.mid)
            return self._with_specials(self._round(mid, propagated, (a,), factors=True), "square", a)

    def scale(self, a: RoundedArray, power: float) -> RoundedArray:
        """Multiplication by a power of two: exact unless the result is subnormal or overflows."""
        if a.spread is not None:
            return self._multiply_set(a, self.coerce(power))
        ra = self._operand(a)
        propagated = None
        if ra is not None:
            propagated = ra * abs(power)
            if abs(power) < 1:  # exact, but for subnormal radii of float64
                propagated = np.where((propagated < 2.0**-1022) & (ra > 0), propagated + _LEAST, propagated)
        mid = self.mids.scale(a.mid, power)
        result = self._round(mid, propagated, (a,), 0.0, factors=True)
        return self._with_specials(result, "multiply", a, RoundedArray(self, self.mids.lift(power)))

    def divide(self, a: RoundedArray, b: RoundedArray) -> RoundedArray:
        a, b = a.folded(), b.folded()
        ra, rb = self._operand(a), self._operand(b)
        least = np.abs(b.high) if rb is None else np.abs(b.high) - rb - self._rest(b)
        with np.errstate(all="ignore"):
            mid = self.mids.divide(a.mid, b.mid)
            size = np.abs(self.mids.high(mid))
            propagated: Any = None
            if ra is not None:
                propagated = ra / least
            if rb is not None:
                right = size * rb / least
                propagated = right if propagated is None else propagated + right
            unclear = ~(least > 0)
            if not unclear.any():
                result = self._round(mid, propagated, (a, b), factors=True)
                return self._with_specials(result, "divide", a, b)
            # 0, or 0/0; of any other number nothing is known.
            nothing = _exact_zeros(a) & (True if b.specials is None else b.specials == 0)
            mid = self._where_held(~unclear | (np.isfinite(size) & ~nothing), mid)
            propagated = np.where(unclear, 0.0, 0.0 if propagated is None else propagated)
            result = self._with_specials(self._round(mid, propagated, (a, b), factors=True), "divide", a, b)
            return self._unknown(result, unclear, np.where(nothing, NAN, ANYTHING | OVERFLOWED))

    def descend(self, w: RoundedArray, eta: RoundedArray, gradient: RoundedArray) -> RoundedArray:
        """w − η·g, by the rules of `multiply` and `add`; ordinary numbers in fewer passes over memory."""
        raw, slope = w.raw, gradient.raw
        given = raw is not None and slope is not None and raw.shape == slope.shape and raw.size
        exactly = all(x.radius is None for x in (w, eta, gradient)) and gradient.specials is None
        if not (exactly and given and self.mids is Plain and abs(float(eta.high)) <= 2.0**30):
            return super().descend(w, eta, gradient)  # type: ignore[no-any-return]
        assert raw is not None
        assert slope is not None
        with np.errstate(all="ignore"):
            step = gradient.mid * eta.high
            radius = step.astype(np.float32)
            np.abs(radius, out=radius)
            least = radius.min()
            mid = raw.astype(np.float64)
            mid -= step
            size = mid.astype(np.float32)
            radius += np.abs(size, out=size)  # u|p| + u(|w − p| + u|p|), p the step
            # Five roundings in float32; and the flushing of w, g, p or the result, each by at most 2^emin, is lost in
            # the enlargement too where |p| >= 2^60·2^emin.
            radius *= np.float32(self.unit * (1 + self.unit) * (1 + 2.0**-20))
        # False for NaN too.
        ordinary = least > self.smallest_normal * 2.0**60 and radius.max() / self.unit < self.overflow / 4
        return RoundedArray(self, mid, radius) if ordinary else super().descend(w, eta, gradient)

    # Elementary functions ---------------------------------------------------------------------------------------------

    def _elementary(self, name: str, x: RoundedArray, moved: Callable[[Array, Array, Array], Array]) -> RoundedArray:
        """Hypothesis 4. `moved(x, r, f(x))` bounds how far the function moves over a ball of radius r about x."""
        x = x.folded()
        with np.errstate(all="ignore"):
            mid = self.mids.function(name, x.mid)
            value = self.mids.high(mid)
            ra = self._operand(x)
            propagated = None if ra is None else moved(x.high, ra, value) * _ENLARGED
        return self._with_specials(self._within(name, mid, propagated), name, x)

    def _within(self, name: str, mid: Any, propagated: Any) -> RoundedArray:
        """A function's value that is moved by `propagated`, and its own error of K ulp."""
        with np.errstate(all="ignore"):
            value = self.mids.high(mid)
            bound, counted, rounds = self.profile.bound(name, self.format)
            size = np.abs(value)
            sup = size if propagated is None else size + propagated
            if name in ("exp", "erfc"):
                sup = np.maximum(sup, 5e-324)  # never zero, even where float64 says so
            # Where a ball straddles a power of two, the larger; near its largest number float64 holds no more.
            _, exponent = np.frexp(np.minimum(sup * (1 + 2.0**-50), _LARGEST))
            binade = np.clip(exponent - 1, counted.emin, counted.emax)
            if name in BELOW_ONE:
                binade = np.minimum(binade, -1)
            error = np.ldexp(bound * _ENLARGED, binade - counted.precision + 1)
            error = np.where(sup == 0, 0.0, error)
            if rounds:
                propagated = error if propagated is None else propagated + error
                return self._round(mid, propagated)
            return self._round(mid, propagated, (), error)

    def _rest(self, x: RoundedArray) -> Any:
        """What of midpoints is beyond float64, without its sign."""
        return np.abs(x.mid.lo) if self.mids is Double else 0.0

    def derivative(self, z: RoundedArray, rule: Slope) -> RoundedArray:
        """As in `RoundedBalls`."""
        z = z.folded()
        at = RoundedArray(self, z.mid)
        slope, bent = rule.slope(self, at), rule.curvature(self, at)
        moved = self._operand(z)
        moved = np.zeros(z.shape) if moved is None else moved
        with np.errstate(all="ignore"):
            curvature, jump = self._curvature(z, rule, bent), np.zeros(())
            crossing = (moved > 0) & (np.abs(z.high) <= moved)
            if crossing.any():
                curvature, jump = self._about_zero(z, moved, rule, curvature, crossing)
                jump = jump if slope.spread is None else np.where(slope.spread > 0, 0.0, jump)
            curvature = curvature + moved * rule.third
            sup = np.abs(slope.high) + (0.0 if slope.spread is None else slope.spread) + jump + moved * curvature
            _, exponent = np.frexp(np.minimum(sup * (1 + 2.0**-50), _LARGEST))
            binade = np.clip(np.where(sup > 0, exponent - 1, self.format.emin), self.format.emin, self.format.emax)
            ulp = np.ldexp(1.0, binade - self.format.precision + 1)
            factor = _upper(self.balls.own(rule.primitives))
            error = factor * _ENLARGED * (ulp + self.unit * (np.abs(z.high) + moved) * curvature)
            result = self._round(slope.mid, (jump + moved * curvature) * _ENLARGED, (), error)
        unknown = ~np.isfinite(sup) | ~np.isfinite(error)
        for x, bits in ((slope, ANYTHING), (bent, ANYTHING), (z, 0xFF)):
            if x.specials is not None:
                unknown = unknown | ((x.specials & bits) != 0)
        specials = result.specials
        if np.any(unknown):
            unknown_bits = np.where(np.broadcast_to(unknown, result.shape), ANYTHING, 0).astype(np.uint8)
            specials = unknown_bits if specials is None else specials | unknown_bits
        return RoundedArray(self, result.mid, result.radius, slope.spread, specials)

    def _curvature(self, z: RoundedArray, rule: Slope, bent: RoundedArray) -> Array:
        """|f''(z)|, and no less, from its midpoints; or where these say little of it, as in a tail, from float64's."""
        vague = bent.radii() * self.slack
        found = np.abs(bent.high) + vague
        loose = np.broadcast_to(vague > np.abs(bent.high) / 8, found.shape)
        if not loose.any():
            return found
        at = np.broadcast_to(z.high, found.shape)[loose]
        known = rule.curvature(HOST, RoundedArray(HOST, at))
        # What a midpoint is beyond float64 moves f'' by no more than so much.
        beyond = np.broadcast_to(self._rest(z), found.shape)[loose]
        most = ((np.abs(known.high) + known.radii()) + beyond * rule.third) * _ENLARGED
        most = np.where(self._never(known, ANYTHING), most, np.inf)
        found[loose] = np.minimum(found[loose], most)
        return found

    def _about_zero(
        self, z: RoundedArray, moved: Array, rule: Slope, curvature: Array, crossing: Any
    ) -> tuple[Array, Array]:
        """As in `RoundedBalls`, where balls reach 0."""
        curvature, moved = curvature.copy(), np.broadcast_to(moved, z.shape)[crossing]
        for end in (z.high[crossing] - moved, z.high[crossing] + moved):
            bent = rule.curvature(self, RoundedArray(self, self.mids.lift(end)))
            known = True if bent.specials is None else bent.specials & ANYTHING == 0
            size = np.where(known, np.abs(bent.high) + bent.radii(), np.inf)
            curvature[crossing] = np.maximum(curvature[crossing], size)
        at = rule.slope(self, RoundedArray(self, self.mids.lift(np.zeros(1))))
        jump = 0.0 if at.spread is None else 2 * _ENLARGED * float(at.spread[0])
        return curvature, np.where(crossing, jump, 0.0)

    def recentred(self, x: RoundedArray, truth: RoundedArray) -> RoundedArray:
        """As in `RoundedBalls`: what x may hold, around the truth's exact value."""
        gap = self._apart(x, truth)
        if x.spread is not None or truth.spread is not None:
            widths = [np.zeros(()) if v.spread is None else v.spread for v in (x, truth)]
            gap = gap + np.abs(widths[0] - widths[1])
        # What two midpoints of the same number are apart, and its own radius outweighs, is no distance.
        gap = np.where(gap <= 4 * self.slack * x.radii(), 0.0, gap)
        return RoundedArray(self, truth.mid, x.radii() + gap, truth.spread, x.specials, excess=x.excess)

    def bounded(self, x: RoundedArray, low: Any, high: Any) -> RoundedArray:
        """As in `RoundedBalls`."""
        low, high = self.coerce(low), self.coerce(high)
        own = np.zeros(x.shape, np.uint8) if x.specials is None else x.specials
        vague = ((own & ANYTHING) != 0) & ((own & OVERFLOWED) != 0)
        least, most = low.high - low.radii(), high.high + high.radii()
        middle = (least + most) / 2
        # What these sums and halves are rounded by is added.
        half = (most - least) / 2 + (np.abs(least) + np.abs(most)) * 2.0**-51 + np.where(most > least, _LEAST, 0.0)
        known = RoundedArray(
            self,
            self.mids.lift(np.broadcast_to(middle, x.shape)),
            np.broadcast_to(half * _ENLARGED, x.shape),
            None,
            np.where(vague, OVERFLOWED, own).astype(np.uint8),
        )
        wide = ((own & ANYTHING) == 0) & (x.radii() > known.radii())
        return self._where(vague | wide, known, x)

    def epsilon(self) -> RoundedArray:
        """The distance from 1 to the next number of the format, 2^(1 − p)."""
        return RoundedArray(self, self.mids.lift(2.0 ** (1 - self.format.precision)))

    def exp(self, x: RoundedArray) -> RoundedArray:
        return self._elementary("exp", x, _exponential)

    def expm1(self, x: RoundedArray) -> RoundedArray:
        return self._elementary("expm1", x, _exponential)

    def sin(self, x: RoundedArray) -> RoundedArray:
        return self._elementary("sin", x, lambda v, r, f: r)  # |sin'| <= 1

    def cos(self, x: RoundedArray) -> RoundedArray:
        return self._elementary("cos", x, lambda v, r, f: r)  # |cos'| <= 1

    def log(self, x: RoundedArray) -> RoundedArray:
        """log x; where a program may hold 0 for x it is infinite, or the logarithm of a number that the format has."""
        x = x.folded()
        smallest = (self.format.emin - self.format.precision + 1) * math.log(2)

        def moved(v: Array, r: Array, f: Array) -> Array:
            least = v - r - self._rest(x)
            if (least > 0).all():
                return np.asarray(r / least)
            to_zero = (
                np.maximum(np.maximum(f - smallest, np.log(v + r) - f), 0.0) + (np.abs(f) + abs(smallest)) * 2.0**-50
            )
            return np.asarray(np.where(least > 0, r / least, np.where(v > 0, to_zero, 0.0)))

        result = self._elementary("log", x, moved)
        r = self._operand(x)
        least = x.high if r is None else x.high - r - self._rest(x)
        if (least > 0).all() and x.specials is None:
            return result
        own = np.zeros(x.shape, np.uint8) if x.specials is None else x.specials
        to_zero = (least <= 0) & (x.high > 0) & (own == 0)
        bits = np.where(to_zero, np.where(least >= 0, NEGATIVE, NEGATIVE | NAN), 0).astype(np.uint8)
        bits = bits if result.specials is None else bits | result.specials
        result = RoundedArray(self, result.mid, result.radii(), None, bits, excess=result.excess)
        return self._unknown(result, (~(least > 0) & ~to_zero) | ((own & (NEGATIVE | NAN | ANYTHING)) != 0))

    def log1p(self, x: RoundedArray) -> RoundedArray:
        """log(1 + x); where x may not be above −1 nothing is known of the result."""
        x = x.folded()

        def least_of(v: Array, r: Array) -> Array:
            """1 + x, and no more, by the order in which it loses nothing."""
            return np.asarray(np.where(v >= 2, 1 + (v - r - self._rest(x)), 1 + v - np.abs(1 + v) * 2.0**-51 - r))

        def moved(v: Array, r: Array, f: Array) -> Array:
            least = least_of(v, r)
            return np.asarray(np.where(least > 0, r / least, 0.0))

        result = self._elementary("log1p", x, moved)
        r = self._operand(x)
        unclear = ~((1 + x.high if r is None else least_of(x.high, r)) > 0)
        return self._unknown(result, unclear | ~self._never(x, NEGATIVE | NAN | ANYTHING))

    def tanh(self, x: RoundedArray) -> RoundedArray:
        def moved(v: Array, r: Array, f: Array) -> Array:
            return np.asarray(r * np.minimum(1, 4 * np.exp(-2 * np.maximum(np.abs(v) - r, 0))))

        return self._elementary("tanh", x, moved)

    def erf(self, x: RoundedArray) -> RoundedArray:
        return self._elementary("erf", x, _gaussian)

    def erfc(self, x: RoundedArray) -> RoundedArray:
        return self._elementary("erfc", x, _gaussian)

    def sinh(self, x: RoundedArray) -> RoundedArray:
        return self._elementary("sinh", x, lambda v, r, f: 2 * np.cosh(np.abs(v) + r / 2) * np.sinh(r / 2))

    def cosh(self, x: RoundedArray) -> RoundedArray:
        return self._elementary("cosh", x, lambda v, r, f: 2 * np.sinh(np.abs(v) + r / 2) * np.sinh(r / 2))

    def sqrt(self, x: RoundedArray) -> RoundedArray:
        """√x; where a program may hold a number below 0 for x it may be NaN, where x is one nothing is known."""
        x = x.folded()

        def moved(v: Array, r: Array, f: Array) -> Array:
            return np.asarray(np.where(v > 0, r / (f + np.sqrt(np.maximum(v - r - self._rest(x), 0.0))), np.sqrt(r)))

        result = self._elementary("sqrt", x, moved)
        least = x.high if x.radius is None else x.high - x.radius - self._rest(x)
        if not (least >= 0).all():
            bits = np.where(least >= 0, 0, NAN).astype(np.uint8)
            bits = bits if result.specials is None else bits | result.specials
            result = RoundedArray(self, result.mid, result.radii(), None, bits, excess=result.excess)
        return self._unknown(result, ~(x.high >= 0) | ~self._never(x, ANYTHING))

    def sigmoid(self, x: RoundedArray) -> RoundedArray:
        """σ(x) = 1/(1 + e^−x); what is hardly known of it is still a number of [0, 1]."""
        result = super().sigmoid(x)
        if result.specials is None:
            return result  # type: ignore[no-any-return]
        x = x.folded()
        own = np.zeros(x.shape, np.uint8) if x.specials is None else x.specials
        vague = ((result.specials & ANYTHING) != 0) & ((own & ANYTHING) == 0)
        # The 0 that an infinite e^−x makes of it is the program's own.
        bits = np.where(vague, own & (NAN | DOUBT), (result.specials & ~np.uint8(DOUBT)) | (own & DOUBT))
        small = self.mids.function("exp", self.mids.where(x.high > 0, self.mids.negative(x.mid), x.mid))
        one = self.mids.lift(np.ones(()))
        part = self.mids.divide(self.mids.where(x.high < 0, small, one), self.mids.add(one, small))
        value = self.mids.high(part)
        radius = np.maximum(value, 1 - value) * _ENLARGED
        with np.errstate(all="ignore"):
            far = np.abs(x.high) - x.radii() > FAR  # e^x is 0 or infinite in every format, and σ(x) is 0 or 1 of either
            # Where float64 does not hold e^−x the quotient is at most 1/e^−(x + r), with a few roundings.
            tail = (x.high < 0) & (x.radii() <= 0.5) & ~np.isfinite(np.exp(-x.high))
            other = (own & np.where(x.high < 0, POSITIVE, NEGATIVE)) != 0  # an infinity of the other side
            tail, far = tail & ~other, far & ~other
            radius = np.where(tail, value * np.exp(x.radii()) * (1 + 2.0**-20) + _LEAST, radius)
            radius = np.where(far, np.where(x.high < 0, self.half_tiny, 2 * self.unit), radius)
        return RoundedArray(
            self,
            self.mids.where(vague, part, result.mid),
            np.where(vague, radius, result.radii()),
            None,
            bits.astype(np.uint8) if bits.any() else None,
            excess=result.excess,
        )

    # Piecewise functions ----------------------------------------------------------------------------------------------

    def positive_part(self, x: RoundedArray) -> RoundedArray:
        x = x.folded()
        mid = self.mids.where(x.high > 0, x.mid, self.mids.lift(np.zeros(x.shape)))
        return self._with_specials(self._round(mid, self._operand(x), (x,), 0.0), "positive_part", x)

    def absolute(self, x: RoundedArray) -> RoundedArray:
        x = x.folded()
        mid = self.mids.where(x.high < 0, self.mids.negative(x.mid), x.mid)
        return self._with_specials(self._round(mid, self._operand(x), (x,), 0.0), "absolute", x)

    def _sides(self, x: RoundedArray) -> tuple[Array, Any, Any]:
        """The midpoints, and where the program certainly finds x > 0, and certainly x <= 0."""
        r = self._operand(x)
        v = x.high
        above, below = (v > 0, v <= 0) if r is None else (v - r > 0, v + r <= 0)
        return (
            v,
            above & self._never(x, NEGATIVE | NAN | ANYTHING),
            below & self._never(x, POSITIVE | NAN | ANYTHING),
        )

    @staticmethod
    def _never(x: RoundedArray, bits: int) -> Any:
        """Where a value is certainly none of some specials."""
        return np.True_ if x.specials is None else (x.specials & np.uint8(bits)) == 0

    def select(self, x: RoundedArray, above: Any, below: Any) -> RoundedArray:
        x, above, below = x.folded(), self.coerce(above).folded(), self.coerce(below).folded()
        v, certainly_above, certainly_below = self._sides(x)
        mid = self.mids.where(v > 0, above.mid, below.mid)
        # What is passed on may be flushed, as by a minimum or maximum.
        ra, rb = (np.zeros(b.shape) if (r := self._operand(b)) is None else r for b in (above, below))
        radius = np.where(v > 0, ra, rb)
        if not (certainly_above | certainly_below).all():
            gap = self._apart(above, below)
            either = np.where(v > 0, np.maximum(ra, gap + rb), np.maximum(rb, gap + ra))
            radius = np.where(certainly_above | certainly_below, radius, either * _ENLARGED)
        return self._chosen(x, above, below, mid, radius, None, certainly_above, certainly_below)

    def _apart(self, a: RoundedArray, b: RoundedArray) -> Array:
        """The distance of two midpoints, which may differ in their low words only; ∞ where float64 does not hold it."""
        with np.errstate(all="ignore"):
            gap = np.abs(self.mids.high(self.mids.subtract(a.mid, b.mid))) * _ENLARGED
        return np.where(np.isfinite(gap), gap, np.inf)

    def _chosen(
        self, x: RoundedArray, above: RoundedArray, below: RoundedArray, mid: Any, radius: Array,
        spread: Array | None, certainly_above: Any, certainly_below: Any,
    ) -> RoundedArray:  # fmt: skip
        """A choice between two branches, with the specials of those that may be taken."""
        shape = tuple(mid.shape)
        specials: Any = None
        for branch, never in ((above, certainly_below), (below, certainly_above)):
            if branch.specials is not None:
                taken = np.where(never, 0, branch.specials).astype(np.uint8)
                specials = taken if specials is None else specials | taken
        if x.specials is not None:  # a choice by NaN may be either branch, or NaN itself
            own = np.where(certainly_above | certainly_below, 0, x.specials & (NAN | ANYTHING)).astype(np.uint8)
            specials = own if specials is None else specials | own
        if specials is not None:
            specials = np.broadcast_to(specials, shape) if specials.any() else None
        found = RoundedArray(self, mid, np.broadcast_to(radius, shape), spread, specials)
        return self._unknown(found, ~np.isfinite(found.radii()))

    def step(self, x: RoundedArray, above: Any, below: Any) -> RoundedArray:
        """The slope of a kink at x = 0: `above` for x > 0, `below` for x < 0, all between them where x may be 0."""
        x, above, below = x.folded(), self.coerce(above), self.coerce(below)
        r = self._operand(x)
        v = x.high
        over, under = (v > 0, v < 0) if r is None else (v - r > 0, v + r < 0)
        over = over & self._never(x, NEGATIVE | NAN | ANYTHING)
        under = under & self._never(x, POSITIVE | NAN | ANYTHING)
        kink = ~(over | under)
        # Where x is known to be at one side and the program may find itself at the other, the slope is that side's.
        crossing = kink & (np.abs(v) > (0.0 if r is None else 4 * self.slack * r))
        over, under, kink = over | (crossing & (v > 0)), under | (crossing & (v < 0)), kink & ~crossing
        shape = np.broadcast_shapes(v.shape, above.shape, below.shape)
        mid = self.mids.where(over, above.mid, below.mid)
        radius = np.where(over, above.radii(), below.radii())
        spread: Any = None
        for branch, taken in ((above, over), (below, under)):
            if branch.spread is not None:
                of_branch = np.where(taken, branch.spread, 0.0)
                spread = of_branch if spread is None else spread + of_branch
        if crossing.any():
            a, b = above.folded(), below.folded()
            either = self._apart(a, b) + np.where(v > 0, b.radii(), a.radii())
            radius = np.where(crossing, np.maximum(radius, either * _ENLARGED), radius)
            over, under = over & ~crossing, under & ~crossing  # of both branches, which may be taken, the specials
        if kink.any():
            a, b = above.folded(), below.folded()
            centre = self.mids.scale(self.mids.add(a.mid, b.mid), 0.5)
            mid = self.mids.where(kink, centre, mid)
            radius = np.where(kink, np.maximum(a.radii(), b.radii()), radius)
            # Not enlarged: a set's ends are numbers that a program takes. What is below the last bit is in the radius.
            width = self.mids.subtract(a.mid, b.mid)
            half = np.abs(self.mids.high(width)) / 2
            below_bit = self.mids.subtract(width, self.mids.lift(self.mids.high(width)))
            radius = np.where(kink, radius + np.abs(self.mids.high(below_bit)), radius)
            spread = np.where(kink, half, 0.0 if spread is None else spread)
        if spread is not None:
            spread = np.broadcast_to(spread, shape)
        return self._chosen(x, above, below, mid, radius, spread, over, under)

    # Sums -------------------------------------------------------------------------------------------------------------

    def row_maximum(self, x: RoundedArray) -> RoundedArray:
        """The largest of each row, which moves no further than the element of it that moves furthest."""
        x = x.folded()
        column = x.high.argmax(axis=1)[:, None]
        mid = self.mids.take(x.mid, (np.arange(len(column))[:, None], column))
        r = self._operand(x)
        radius = None if r is None else np.broadcast_to(r, x.shape).max(axis=1, keepdims=True)
        specials = None
        if x.specials is not None:  # of a row with one of them nothing is known
            specials = np.where(x.specials.any(axis=1, keepdims=True), ANYTHING, 0).astype(np.uint8)
        return RoundedArray(self, mid, radius, None, specials)

    def row_sum(self, x: RoundedArray) -> RoundedArray:
        return self._sum(x, 1, True)

    def log_row_sum(self, e: RoundedArray) -> RoundedArray:
        """As `log_of_total` of `RoundedBalls`."""
        total = self.row_sum(e)
        result = self.log(total)
        hardly, low, high = self._hardly(e, total)
        if not hardly.any():
            return result
        with np.errstate(all="ignore"):
            low, high = np.log(low), np.log(high)
            exact = self.mids.function("log", total.mid)
            middle = self.mids.lift((low + high) / 2) if self.sums == "own" else exact
            value = self.mids.high(middle)
            moved = (np.maximum(high - value, value - low) + 2.0**-40) * _ENLARGED
        known = self._within("log", middle, np.where(hardly, moved, 0.0))
        return self._where(hardly, known, result)

    def over_row_sum(self, x: RoundedArray, e: RoundedArray) -> RoundedArray:
        """As `over_total` of `RoundedBalls`."""
        total = self.row_sum(e)
        result = self.divide(x, total)
        hardly, low, high = self._hardly(e, total)
        hardly = hardly & (True if x.specials is None else x.specials == 0)
        if not np.any(hardly):
            return result
        x = x.folded()
        r = np.zeros(x.shape) if (own := self._operand(x)) is None else own
        with np.errstate(all="ignore"):
            low, high = 1 / high, 1 / low
            exact = self.mids.divide(x.mid, total.mid)
            middle = (low + high) / 2 if self.sums == "own" else 1 / total.high
            off = np.maximum(middle - low, high - middle) + 2.0**-40 * middle
            moved = ((np.abs(x.high) + r) * off + r * middle) * _ENLARGED
            moved = np.where(_exact_zeros(x), moved, np.maximum(moved, _LEAST))
            if self.sums == "own":
                exact = self.mids.multiply(x.mid, self.mids.lift(middle))
            known = self._round(exact, np.where(hardly, moved, 0.0))
        return self._where(np.broadcast_to(hardly, known.shape), known, result)

    def _hardly(self, e: RoundedArray, total: RoundedArray) -> tuple[Any, Array, Array]:
        """Where little is known of a sum of numbers that are not negative, and what it then lies between."""
        below = e.high - e.radii()
        least = np.where(below >= self.smallest_normal, below, 0.0).max(axis=1, keepdims=True)
        radius, value = total.radii(), total.high
        unclear = radius * HARDLY >= value
        steady = True if total.specials is None else total.specials == 0
        flushed = self.smallest_normal if self.flush else 0.0
        return unclear & (least > 0) & steady, np.maximum(least, value - radius - flushed), value + radius

    def _where(self, condition: Any, a: RoundedArray, b: RoundedArray) -> RoundedArray:
        """a where the condition holds, else b; neither is a set."""
        bits = [np.zeros(a.shape, np.uint8) if v.specials is None else v.specials for v in (a, b)]
        specials = np.where(condition, *bits).astype(np.uint8)
        return RoundedArray(
            self,
            self.mids.where(condition, a.mid, b.mid),
            np.where(condition, a.radii(), b.radii()),
            None,
            specials if specials.any() else None,
        )

    def row_sum_of_others(self, x: RoundedArray) -> RoundedArray:
        """For each component the sum of the others of its row, as the truth has it: its radius is the whole sum's."""
        total, columns = self.row_sum(x), x.shape[1]
        nothing = self.mids.lift(np.zeros((x.shape[0], 1)))
        before, after = [nothing], [nothing]
        for j in range(columns - 1):  # nothing is taken away from a sum: that would cancel
            before.append(self.mids.add(before[-1], self.mids.take(x.mid, (slice(None), slice(j, j + 1)))))
            k = columns - 1 - j
            after.append(self.mids.add(after[-1], self.mids.take(x.mid, (slice(None), slice(k, k + 1)))))
        mid = self.mids.add(self.mids.beside(before), self.mids.beside(after[::-1]))
        specials = _spread_over(total, x.shape)
        beyond = ~np.isfinite(self.mids.high(mid))  # even in float64, where the sum itself may be not
        if beyond.any():
            specials = np.where(beyond, ANYTHING, 0 if specials is None else specials).astype(np.uint8)
        radius = np.broadcast_to(total.radii(), x.shape)
        if self.narrow and self.sums == "wide":  # rounded once, to the ulp of the others' sum: it may be the larger one
            radius = radius + self.unit * (np.abs(self.mids.high(mid)) + radius)
        return RoundedArray(self, mid, radius, None, specials)

    def normalised(self, e: RoundedArray) -> RoundedArray:
        """As `part_of` of `RoundedBalls`: what is hardly known of a part is still a number of [0, 1]."""
        result = self.over_row_sum(e, e)
        if result.specials is None:
            return result
        total = self.row_sum(e)
        hardly = (result.specials & ANYTHING) != 0
        for x in (e, total):
            hardly = hardly & (True if x.specials is None else (x.specials & ~np.uint8(DOUBT)) == 0)
        with np.errstate(all="ignore"):
            part = self.mids.divide(e.mid, total.mid)
            part = self.mids.where(np.isfinite(self.mids.high(part)), part, self.mids.lift(0.5))
        value = np.abs(self.mids.high(part))
        kinds = np.full(result.shape, NAN | (POSITIVE if self.flush else 0), np.uint8)
        known = RoundedArray(self, part, np.maximum(value, np.abs(1 - value)) * _ENLARGED, None, kinds)
        return self._where(hardly, known, result)

    def column_sum(self, x: RoundedArray) -> RoundedArray:
        """Σ over the batch: an adjoint's fan-in, which may accumulate in the dtype (hypothesis 3)."""
        return self._sum(x, 0, False)

    def total(self, x: RoundedArray) -> RoundedArray:
        return self._sum(x, None, False)

    def _sum(self, x: RoundedArray, axis: int | None, keepdims: bool) -> RoundedArray:
        """A sum of k terms in any order: errs by at most (k − 1)·u·Σ|terms| (hypothesis 2)."""
        if x.spread is not None:
            width = np.broadcast_to(x.spread, x.shape).sum(axis=axis, keepdims=keepdims)
            return self._set(self._sum(x.folded(), axis, keepdims), width)
        k = int(np.prod(x.shape)) if axis is None else x.shape[axis]
        mid = self.mids.sum(x.mid, axis, keepdims)
        r = self._operand(x)
        magnitude = np.abs(x.high) if r is None else np.abs(x.high) + r
        magnitude = magnitude.sum(axis=axis, keepdims=keepdims) * _ENLARGED
        propagated = 0.0 if r is None else np.broadcast_to(r, x.shape).sum(axis=axis, keepdims=keepdims) * _ENLARGED
        # Sums of numbers of a format do not underflow; a partial sum that is subnormal may be flushed.
        count = np.maximum((~_exact_zeros(x)).sum(axis=axis, keepdims=keepdims) - 1, 0)  # x + 0 = x
        error = self._accumulated(count, self.unit, self.smallest_normal, magnitude)
        radius = np.asarray(propagated + error)
        if self.narrow and k > 1:  # accumulated in float32 and rounded once: sharper by far, but for very few terms
            wide = self._accumulated(count, 2.0**-FLOAT32.precision * _ENLARGED, 2.0**FLOAT32.emin, magnitude)
            once = np.where(count > 0, self._widened(mid, np.asarray(propagated + wide)), radius)
            radius = once if self.sums == "wide" else np.maximum(radius, once)
        return self._summed(mid, radius, propagated, magnitude + radius, x, axis, keepdims)

    def _accumulated(self, count: Any, unit: float, tiny: float, magnitude: Any) -> Any:
        """What `count` additions of partial sums of at most `magnitude` err by, flushing included."""
        error = count * unit * magnitude
        return error + np.minimum(count * tiny, magnitude) if self.flush else error

    def _summed(
        self, mid: Any, radius: Array, propagated: Any, sup: Array, x: RoundedArray, axis: int | None, keepdims: bool
    ) -> RoundedArray:
        """A sum whose partial sums may overflow, or that has a term of which nothing is known, is itself unknown."""
        specials: Any = None
        if x.specials is not None:
            union: Any = np.bitwise_or.reduce
            specials = union(x.specials, axis=axis, keepdims=keepdims)
        if not np.all(sup < self.overflow):
            beyond = np.where(sup < self.overflow, 0, self._partial_sums(x, axis, keepdims, radius - propagated))
            specials = beyond if specials is None else specials | beyond
        known = np.isfinite(self.mids.high(mid)) & np.isfinite(radius)
        if not np.all(known):  # beyond even float64
            specials = np.where(known, 0 if specials is None else specials, ANYTHING | OVERFLOWED)
        if specials is None or not np.any(specials):
            return RoundedArray(self, mid, radius)
        both = (specials & (POSITIVE | NEGATIVE)) == POSITIVE | NEGATIVE  # two infinities make a NaN
        specials = np.where(both, specials | NAN, specials).astype(np.uint8)
        return RoundedArray(self, mid, np.where(specials & ANYTHING, 0.0, radius), None, specials)

    def _partial_sums(self, x: RoundedArray, axis: int | None, keepdims: bool, error: Array) -> Any:
        """Which infinities a partial sum, in some order, may overflow to; what it errs by is `error`."""
        r = x.radii() if (own := self._operand(x)) is None else np.broadcast_to(own, x.shape)
        more = error + r.sum(axis=axis, keepdims=keepdims) * self.slack
        with np.errstate(all="ignore"):
            top, low = (np.maximum(side * x.high + r, 0.0).sum(axis=axis, keepdims=keepdims) for side in (1, -1))
            top, low = (end + np.where(more > 0, more + end * 2.0**-40, 0.0) for end in (top, low))
        return np.where(top < self.infinite, 0, POSITIVE) | np.where(low < self.infinite, 0, NEGATIVE)

    # Matrix products --------------------------------------------------------------------------------------------------

    def product(self, a: RoundedArray, b: RoundedArray) -> RoundedArray:
        """A·B of two matrices."""
        return self._inner_products(a, b, None)

    def product_in_the_dtype(self, a: RoundedArray, b: RoundedArray) -> RoundedArray:
        """A·B, each sum accumulated in the format, whatever its precision."""
        return self._inner_products(a, b, None, own=True)

    def linear(self, x: RoundedArray, weight: RoundedArray, bias: RoundedArray | None) -> RoundedArray:
        """x·Wᵀ + b, the bias one more term of each inner product."""
        return self._inner_products(x, weight.T, bias)

    def _inner_products(
        self, a: RoundedArray, b: RoundedArray, bias: RoundedArray | None, own: bool = False
    ) -> RoundedArray:
        """Inner products of k terms, summed in any order: err by k·u·Σ|a·b| (hypotheses 2 and 3; `own` as in `dot`).

        C. P. Jeannerod and S. M. Rump, "Improved error bounds for inner products in floating-point arithmetic", SIAM J.
        Matrix Anal. Appl. 34 (2013): k·u and no γ_k.
        """
        if any(x is not None and x.spread is not None for x in (a, b, bias)):
            width = _width(a) @ np.abs(b.high) + np.abs(a.high) @ _width(b)
            if bias is not None:
                width = width + _width(bias)
            folded = None if bias is None else bias.folded()
            return self._set(self._inner_products(a.folded(), b.folded(), folded, own), width)
        quick = self._plain_products(a, b, bias)
        if quick is not None:
            return quick
        narrow = self.narrow and not own
        terms = a.shape[1] + (bias is not None)
        size_a, size_b = np.abs(a.high), np.abs(b.high)
        ra, rb = self._operand(a), self._operand(b)
        top_a = size_a if ra is None else size_a + ra
        top_b = size_b if rb is None else size_b + rb
        with np.errstate(all="ignore"):
            magnitude = self._bound(top_a, top_b)
            propagated: Any = None
            if rb is not None:
                propagated = self._bound(size_a, np.broadcast_to(rb, b.shape))
            if ra is not None:
                left = self._bound(np.broadcast_to(ra, a.shape), top_b)
                propagated = left if propagated is None else propagated + left
            if bias is not None:
                r = self._operand(bias)
                magnitude = magnitude + (np.abs(bias.high) if r is None else np.abs(bias.high) + r)
                if r is not None:
                    propagated = r if propagated is None else propagated + r
            if not magnitude.all():  # float64 itself underflows: 0 stands for what is not 0
                some = (top_a > 0).astype(np.float32) @ (top_b > 0).astype(np.float32) > 0
                magnitude = np.where((magnitude == 0) & some, _LEAST, magnitude)
            beyond = ~np.isfinite(magnitude)  # even in float64: of these components nothing is known
            if beyond.any():
                magnitude = np.where(beyond, 0.0, magnitude)
                propagated = None if propagated is None else np.where(beyond, 0.0, propagated)
            wide = FLOAT32 if narrow else self.format
            excess = (a.shape[1] + 6) * 2.0**-22 if self.mids is Plain else 0.0  # see `_bound`
            unit = 2.0**-wide.precision * _ENLARGED
            tiny = 2.0**wide.emin if self.flush else 2.0 ** max(wide.emin - wide.precision, -1074)
            error = terms * (unit * magnitude + np.minimum(tiny, magnitude))
            if narrow:
                error = error * (1 + self.unit)
            mid = self.mids.product(a.mid, b.mid, error)
            if bias is not None:
                mid = self.mids.add(mid, bias.mid)
        if beyond.any():
            mid = self.mids.where(beyond, self.mids.lift(np.zeros(magnitude.shape)), mid)
        found = np.where(beyond, ANYTHING, 0)
        if a.specials is not None:
            found = found | np.bitwise_or.reduce(a.specials, axis=1)[:, None]
        if b.specials is not None:
            found = found | np.bitwise_or.reduce(b.specials, axis=0)
        if bias is not None and bias.specials is not None:
            found = found | bias.specials
        # With an infinity or NaN among its terms no sum is finite.
        found = np.where(found & (POSITIVE | NEGATIVE | NAN), found | POSITIVE | NEGATIVE | NAN, found)
        # A partial sum may, in some order, be infinite, and two infinities cancel.
        reach = self.overflow if not narrow else FLOAT32.largest * (1 - 2.0**-20)
        found = np.where(magnitude + error < reach, found, found | POSITIVE | NEGATIVE | NAN)
        if narrow:
            propagated = error if propagated is None else propagated + error
            result = self._round(mid, propagated)
        else:
            result = RoundedArray(self, mid, error if propagated is None else propagated + error)
        specials = result.specials
        if found.any():
            bits = np.broadcast_to(found, result.shape).astype(np.uint8)
            specials = bits if specials is None else specials | bits
        return RoundedArray(self, result.mid, result.radius, None, specials, excess=excess)

    def _plain_products(self, a: RoundedArray, b: RoundedArray, bias: RoundedArray | None) -> RoundedArray | None:
        """The same for float32 matrices known exactly, the allowance in float32 and in place, where all is ordinary."""
        operands = [a, b] if bias is None else [a, b, bias]
        if self.mids is not Plain or self.narrow or any(x.raw is None or x.radius is not None for x in operands):
            return None
        k = a.shape[1]
        with np.errstate(all="ignore"):
            radius = a.sizes @ b.sizes
            if bias is not None:
                radius += bias.sizes
        # Sums so far above the subnormal numbers that k of them, flushed, are lost in the enlargement; operands normal.
        # NaN and infinity are neither.
        ordinary = radius.size and radius.min() > self.smallest_normal * 2.0**60 and radius.max() < self.overflow / 4
        if not (ordinary and all(self._normal(x.sizes) for x in operands)):
            return None
        mid = a.mid @ b.mid
        if bias is not None:
            mid += bias.mid
        # The float32 product errs by (k + 1)·2^−24 of itself, and so does each pass over it by 2^−24.
        terms = k + (bias is not None)
        radius *= np.float32(terms * self.unit * (1 + (k + 8) * 2.0**-23))
        return RoundedArray(self, mid, radius, excess=(k + 8) * 2.0**-22)

    def _normal(self, size: NDArray[Any]) -> bool:
        """Whether no number is subnormal; zeros are not."""
        if not self.flush or size.min() >= self.smallest_normal:
            return True
        return bool(((size == 0) | (size >= self.smallest_normal)).all())

    def _bound(self, a: Array, b: Array) -> Array:
        """An upper bound of A·B for matrices of non-negative numbers, at most (k + 6)·2^−22 above it."""
        k = a.shape[1]
        if self.mids is Plain and not (_tiny(a) or _tiny(b)):
            # Rounding the factors to float32 and k products and sums in it err by (k + 2)·2^−24, or underflow by 2^−149
            # a term; where that might matter, float64 it is.
            narrow = (a.astype(np.float32) @ b.astype(np.float32)).astype(np.float64)
            if narrow.min(initial=1.0) >= 2.0**-100 and np.isfinite(narrow.max(initial=0.0)):
                return np.asarray(narrow * (1 + (k + 4) * 2.0**-23))
        found: Array = a @ b
        return np.asarray(found * (1 + (k + 2) * 2.0**-52))


class _Host(RoundedArrays):
    """What this computer's float64 gives, as rounded: midpoints that are no further from the truth than the radius."""

    def __init__(self) -> None:
        ulps = dict.fromkeys(OPENCL.ulps["float64"], HOST_ULPS)
        super().__init__(FLOAT64, Profile("host", {"float64": ulps}, flush=False))
        self.mids, self.slack = Plain, 1.0


HOST = _Host()


def _upper(x: arb) -> float:
    """A float64 that is not below the ball."""
    return 0.0 if x.is_zero() else float(np.nextafter(float(abs(x).upper()), np.inf))


def _tiny(x: Array) -> bool:
    """Whether a number other than zero is so small that float32 may lose its digits."""
    return bool(np.where(x == 0, 1.0, x).min(initial=1.0) < 2.0**-100)


def _spread_over(x: RoundedArray, shape: tuple[int, ...]) -> Bits | None:
    """The specials of a column, for each component of its row."""
    return None if x.specials is None else np.broadcast_to(x.specials, shape)


def _width(x: RoundedArray) -> Array:
    """Half the width of the sets that the elements stand for; 0 of what is none."""
    return np.zeros(x.shape) if x.spread is None else np.asarray(np.broadcast_to(x.spread, x.shape))


def _exact_zeros(x: RoundedArray) -> Any:
    """Where the program holds an exact zero."""
    zero = x.high == 0
    if x.radius is not None:
        zero = zero & (x.radius == 0)
    return zero if x.specials is None else zero & (x.specials == 0)


def _exponential(v: Array, r: Array, f: Array) -> Array:
    """How far e^x moves over a ball: by e^(v + r) − e^v = e^(v + r)·(1 − e^−r), upwards.

    e^v·(e^r − 1) is the same number, but for e^v too small or e^r too large for float64. The sum's last bit, and v's,
    are counted: the function makes of 2^−51 of the exponent so much of itself.
    """
    return np.asarray(np.exp(v + r + (np.abs(v) * 2.0**-51 + r * 2.0**-51)) * -np.expm1(-r))


def _gaussian(v: Array, r: Array, f: Array) -> Array:
    """How far erf moves over a ball: its derivative is 2/√π·e^(−y²), largest where |y| is smallest."""
    nearest = np.maximum(np.abs(v) - r, 0)
    return np.asarray(2 / np.sqrt(np.pi) * np.exp(-nearest * nearest) * r)


__all__ = ["OutOfRange", "RoundedArray", "RoundedArrays"]
