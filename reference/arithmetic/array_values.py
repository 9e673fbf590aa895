"""Tensors of rounded balls and what the rules ask of their executor: NumPy, whole arrays at a time.

A value is a midpoint array (see `midpoints`) with an array of radii in float64, and what it may be besides in bits.
What float64 does not hold, of a midpoint or a radius, is not known.

Radii are computed with the unit roundoff enlarged by 2^−30 of itself. They are sums, products and quotients of
non-negative float64 numbers, homogeneous in the unit roundoff, and so the enlargement outweighs the rounding of their
own computation, 2^−50 of them an operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.arithmetic import rules
from gradconform.reference.arithmetic.formats import FLOAT32, Format
from gradconform.reference.arithmetic.midpoints import Array, Double, Plain, two_sum
from gradconform.reference.arithmetic.profiles import Profile, counted_in
from gradconform.reference.arithmetic.specials import ANYTHING, OVERFLOWED, table
from gradconform.reference.equations import Slope

if TYPE_CHECKING:
    from gradconform.reference.arithmetic.arrays import RoundedArrays

ENLARGED = 1 + 2.0**-30
#: The least number of float64: no radius but 0 is smaller.
LEAST = 2.0**-1074
#: And the largest.
LARGEST = float(np.finfo(np.float64).max)

Bits = NDArray[Any]


#: Functions that are never 0, even where float64 says so.
NEVER_ZERO = ("exp", "erfc")


class Nothing:
    """Zeros that take no memory and no time: the radii of numbers known exactly, the widths of what is no set."""

    __slots__ = ()
    __array_ufunc__ = None

    def __add__(self, other: Any) -> Any:
        return other

    __radd__ = __rsub__ = __add__

    def __mul__(self, other: Any) -> Nothing:
        return self

    __rmul__ = __truediv__ = __mul__

    def __neg__(self) -> Nothing:
        return self

    __abs__ = __neg__

    def __sub__(self, other: Any) -> Any:
        return -other

    def __lt__(self, other: Any) -> Any:
        return other > 0

    def __le__(self, other: Any) -> Any:
        return other >= 0

    def __gt__(self, other: Any) -> Any:
        return other < 0

    def __ge__(self, other: Any) -> Any:
        return other <= 0


NOTHING = Nothing()


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

    def at(self, where: Any, shape: tuple[int, ...]) -> RoundedArray:
        """Some of the elements, by their places in a `shape` that these are broadcast to."""
        if not shape:
            return self
        mids = self.arithmetic.mids
        radius, spread, specials = (
            None if x is None else np.broadcast_to(x, shape)[where] for x in (self.radius, self.spread, self.specials)
        )
        return RoundedArray(
            self.arithmetic, mids.take(mids.broadcast(self.mid, shape), where), radius, spread, specials
        )

    def under(self, arithmetic: RoundedArrays) -> RoundedArray:
        """The same values, to go on from under another arithmetic."""
        return RoundedArray(arithmetic, self.mid, self.radius, self.spread, self.specials, excess=self.excess)

    def besides(self, specials: Bits | None) -> RoundedArray:
        """The same values, with these specials."""
        found = RoundedArray(self.arithmetic, self.mid, None, self.spread, specials, excess=self.excess)
        found.radius = self.radius
        return found

    # Under the names that the rules have for them.

    @property
    def off(self) -> Any:
        return NOTHING if self.radius is None else self.radius

    @property
    def width(self) -> Any:
        return NOTHING if self.spread is None else self.spread

    @property
    def bits(self) -> Any:
        found = self.specials
        return 0 if found is None else found

    def radii(self) -> Array:
        if self.radius is None:
            return np.zeros(self.shape)
        return self.radius if self.radius.shape == self.shape else np.broadcast_to(self.radius, self.shape)

    def folded(self) -> RoundedArray:
        """The same value with the sets' half widths as a part of the radii."""
        return rules.folded(self.arithmetic, self)  # type: ignore[no-any-return]

    def __neg__(self) -> RoundedArray:
        return self.arithmetic.negative(self)

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


def _is_nothing(x: Any) -> bool:
    return x is NOTHING or (isinstance(x, float) and x == 0)


#: From so many elements on an operation is done by a compiled kernel, in one pass, where numba is installed. A kernel
#: takes seconds to compile, once on a machine: what is smaller is judged in less time than that.
COMPILED_FROM = 1 << 20


@cache
def compiled() -> Any:
    """The compiled rules; None where numba is not installed, or is not for this Python or NumPy."""
    try:
        return import_module("gradconform.reference.arithmetic.fused")  # an extra, and it takes a second
    except ImportError:
        return None


class ArrayPrimitives:
    """What `rules` need of arrays; see there."""

    #: The arithmetic of this computer's own float64, where midpoints say little of a bound.
    host: Any

    def __init__(self, target: Format, profile: Profile, mids: Any) -> None:
        self.format, self.profile, self.flush = target, profile, profile.flush
        self.mids = mids
        #: How far a midpoint may be from the exact value, in radii.
        self.slack = mids.slack * 2.0 ** (target.precision - mids.precision)
        self.unit, self.smallest_normal, self.half_tiny, self.overflow = self.limits(target)
        self.log_of_tiny = (target.emin - target.precision + 1) * math.log(2)
        # The least number that rounds to infinity, which for float64 is none of its own; `overflow` is certainly below.
        self.infinite = (2 - 2.0**-target.precision) * 2.0**target.emax if target.precision < 53 else math.inf
        # Hypothesis 3: products of 16-bit matrices are accumulated in float32 or wider, then rounded once.
        self.narrow = target.precision < FLOAT32.precision

    def by_rule(self, rule: Callable[..., Any], of: tuple[Any, ...], operands: tuple[Any, ...]) -> RoundedArray:
        """A rule applied to arrays: by its kernel, if they are large and there is one, or over NumPy."""
        found: RoundedArray | None = None
        values = [x for x in operands if isinstance(x, RoundedArray)]
        if self.mids is Plain and max(math.prod(x.shape) for x in values) >= COMPILED_FROM:
            kernels = compiled() if all(x.spread is None for x in values) else None
            found = None if kernels is None else kernels.applied(self, rule, of, operands)
        if found is None:
            with np.errstate(all="ignore"):
                found = cast(RoundedArray, rule(self, *of, *operands))
        found.excess = max(x.excess for x in values)
        return found

    #: Numbers underflow: 0 stands for what is not 0, and the least of them is above it.
    underflows, least, zero, half = True, LEAST, 0.0, 0.5

    @staticmethod
    def limits(of: Format) -> tuple[float, float, float, float]:
        unit, half_tiny = 2.0**-of.precision * ENLARGED, 2.0 ** max(of.emin - of.precision, -1074)
        return unit, 2.0**of.emin, half_tiny, of.largest * (1 - 2.0**-20)

    finite = staticmethod(np.isfinite)

    @staticmethod
    def no(condition: Any) -> Any:
        return np.logical_not(condition)

    def high(self, mid: Any) -> Any:
        found: Array = self.mids.high(mid)
        return found

    def size(self, mid: Any) -> Any:
        return np.abs(self.mids.high(mid))

    def rest(self, mid: Any) -> Any:
        """What of midpoints is beyond float64, without its sign."""
        return np.abs(mid.lo) if self.mids is Double else NOTHING

    @staticmethod
    def every(condition: Any) -> bool:
        return bool(condition.all()) if isinstance(condition, np.ndarray) else bool(condition)

    shortcut = every

    def normal(self, size: Any, radius: Any) -> bool:
        normal = size - radius >= self.smallest_normal
        return self.every(normal) or self.every(normal | self.vanishes(size + radius))

    @staticmethod
    def larger(a: Any, b: Any) -> Any:
        return b if a is NOTHING else a if b is NOTHING else np.maximum(a, b)

    @staticmethod
    def smaller(a: Any, b: Any) -> Any:
        return NOTHING if a is NOTHING or b is NOTHING else np.minimum(a, b)

    @staticmethod
    def pick(condition: Any, a: Any, b: Any) -> Any:
        if condition is True or condition is False:
            return a if condition else b
        if (a is NOTHING or b is NOTHING) and _is_nothing(a) and _is_nothing(b):
            return NOTHING
        return np.where(condition, 0.0 if a is NOTHING else a, 0.0 if b is NOTHING else b)

    def pick_mid(self, condition: Any, a: Any, b: Any) -> Any:
        return b if condition is False else self.mids.where(condition, a, b)

    @staticmethod
    def flag(condition: Any, bit: int) -> Any:
        return np.where(condition, np.uint8(bit), np.uint8(0))

    @staticmethod
    def vanishes(x: Any) -> Any:
        return True if x is NOTHING else x == 0

    @staticmethod
    def number(x: Any) -> Any:
        return x

    def outwards(self, size: Array, radius: Array) -> Any:
        """What sums of radii, and a midpoint, are off by: nothing of numbers known exactly; NaN where that is 0·∞."""
        return np.where(radius == 0, 0.0, radius * (1 + self.slack) + (size + radius) * 2.0**-50)

    @staticmethod
    def without(radius: Any, part: Any) -> Any:
        """What is left of a radius is rounding; the difference is itself rounded."""
        radius = 0.0 if radius is NOTHING else radius
        left = np.maximum(radius - part, 0.0) + 2.0**-51 * part
        return np.where(part > 0, np.where(np.isfinite(part), left, np.inf), radius)

    def scaled(self, mid: Any, power: float) -> Any:
        return self.mids.scale(mid, power)

    @staticmethod
    def times_power(x: Any, power: float) -> Any:
        if x is NOTHING or power >= 1:
            return x * power
        found = x * power  # exact, but for subnormal numbers of float64
        return np.where((found < 2.0**-1022) & (x > 0), found + LEAST, found)

    def apart(self, mid: Any, number: Any) -> Any:
        return np.abs(self.mids.high(mid) - number + (mid.lo if self.mids is Double else 0.0)) * (1 + 2.0**-48)

    @staticmethod
    def is_zero(x: RoundedArray) -> Any:
        """Where the program holds an exact zero."""
        zero = x.high == 0
        if x.radius is not None:
            zero = zero & (x.radius == 0)
        return zero if x.specials is None else zero & (x.specials == 0)

    @staticmethod
    def is_number(x: RoundedArray) -> bool:
        """Whether values are known to be numbers of the format: arrays do not look."""
        return False

    def value(self, mid: Any, off: Any = NOTHING, bits: Any = 0, width: Any = NOTHING) -> RoundedArray:
        specials = None
        if not isinstance(bits, int) and np.any(bits):
            specials = np.broadcast_to(np.asarray(bits, np.uint8), mid.shape)
        radius = None if off is NOTHING else np.asarray(off)
        spread = None if width is NOTHING or not np.any(width) else np.broadcast_to(width, mid.shape)
        return RoundedArray(self, mid, radius, spread, specials)  # type: ignore[arg-type]

    @property
    def nothing(self) -> Any:
        """A midpoint that is 0."""
        return self.mids.lift(np.zeros(()))

    def held(self, mid: Any, size: Any, radius: Any, bits: Any, width: Any = NOTHING) -> RoundedArray:
        """Values; unknown where float64 does not hold them.

        The midpoint stays where only the radius is beyond: it is the truth's.
        """
        held = radius is NOTHING or np.isfinite(size) & np.isfinite(radius)
        if np.all(held):
            return self.value(mid, radius, bits, width)
        mid = self.mids.where(np.isfinite(size), mid, self.nothing)
        bits = np.where(held, bits, bits | ANYTHING)
        return self.value(mid, np.where(held, radius, 0.0), bits, width)

    def only(
        self,
        bits: Any,
        rule: Callable[..., RoundedArray],
        operation: str,
        result: RoundedArray,
        *operands: RoundedArray,
    ) -> RoundedArray:
        shape = result.shape
        where = np.nonzero(np.broadcast_to(bits, shape)) if shape else ()
        found = rule(self, operation, result.at(where, shape), *[x.at(where, shape) for x in operands])
        specials = np.zeros(shape, np.uint8) if result.specials is None else np.array(result.specials)
        radius = np.array(np.broadcast_to(result.radii(), shape))
        specials[where], radius[where] = found.bits, found.radii()
        return self.value(result.mid, radius, specials)

    @staticmethod
    def of_one(operation: str, ways: Any) -> tuple[Any, Any, Any]:
        row = table(operation, 1)
        return row.specials[ways], row.least[ways], row.largest[ways]

    @staticmethod
    def of_two(operation: str, of_a: Any, of_b: Any) -> tuple[Any, Any, Any]:
        row = table(operation, 2)
        return row.specials[of_a, of_b], row.least[of_a, of_b], row.largest[of_a, of_b]

    def function(self, name: str, mid: Any) -> Any:
        return self.mids.function(name, mid)

    @staticmethod
    def math(name: str, x: Any) -> Any:
        return getattr(np, name)(0.0 if x is NOTHING else x)

    def sized(self, name: str, mid: Any) -> Any:
        return self.above_zero(self.size(mid)) if name in NEVER_ZERO else self.size(mid)

    @staticmethod
    def raised(v: Array, r: Array) -> Any:
        """The sum's last bit, and v's, are counted: a function makes of 2^−51 of an exponent so much of itself."""
        return v + r + (np.abs(v) * 2.0**-51 + r * 2.0**-51)

    def lowered(self, v: Array, r: Any) -> Any:
        """A midpoint's lower word is at most 2^−53 of the upper one."""
        return v - r - np.abs(v) * 2.0**-52 if self.mids is Double else v - r

    def one_plus(self, v: Array, r: Any) -> Any:
        """By the order in which it loses nothing."""
        return np.where(v >= 2, 1 + self.lowered(v, r), 1 + v - np.abs(1 + v) * 2.0**-51 - r)

    @staticmethod
    def rise(a: Any, b: Any) -> Any:
        return np.maximum(a - b, 0.0) + (np.abs(a) + np.abs(b)) * 2.0**-50

    @staticmethod
    def upwards(x: Any) -> Any:
        return x * ENLARGED

    @staticmethod
    def above_zero(size: Array) -> Any:
        return np.maximum(size, LEAST)

    def bound(self, function: str) -> tuple[float, Format, bool]:
        bound, counted, rounds = self.profile.bound(function, self.format)
        return bound * ENLARGED, counted_in(function, counted), rounds

    @staticmethod
    def ulp(sup: Any, counted: Format) -> Any:
        """The unit in the last place of the largest number that is at most `sup`."""
        # Where a ball straddles a power of two, the larger; near its largest number float64 holds no more.
        _, exponent = np.frexp(np.minimum(sup * (1 + 2.0**-50), LARGEST))
        binade = np.clip(np.where(sup > 0, exponent - 1, counted.emin), counted.emin, counted.emax)
        return np.ldexp(1.0, binade - counted.precision + 1)

    def positive(self, mid: Any) -> Any:
        return self.mids.where(self.mids.high(mid) > 0, mid, self.nothing)

    def absolute_of(self, mid: Any) -> Any:
        return self.mids.where(self.mids.high(mid) < 0, -mid, mid)

    def apart_mids(self, a: Any, b: Any) -> Any:
        """The distance of two midpoints, which may differ in their low words only; ∞ where float64 does not hold it."""
        gap = np.abs(self.mids.high(a - b)) * ENLARGED
        return np.where(np.isfinite(gap), gap, np.inf)

    def is_away(self, v: Array, r: Any) -> Any:
        """Whether a number is certainly at one side of 0, whatever its midpoint is off by."""
        return np.abs(v) > 4 * self.slack * r

    def middle(self, a: Any, b: Any) -> Any:
        return self.mids.scale(a + b, 0.5)

    def half_width(self, a: Any, b: Any) -> tuple[Array, Array]:
        """What float64 holds of half a distance, and the rest of it, with what the middle is off by."""
        width = a - b
        high = self.mids.high(width)
        if self.mids is Plain:  # where one is far larger than the other
            rest = np.abs(two_sum(a, -b)[1]) + np.abs(two_sum(a, b)[1])
        else:
            rest = np.abs(self.mids.high(width - self.mids.lift(high)))
        return np.abs(high) / 2, rest

    def lift(self, number: Any) -> Any:
        return self.mids.lift(number)

    @staticmethod
    def there(condition: Any, f: Callable[[Any], Any], number: Array) -> Any:
        """A function of numbers where the condition holds, else 0."""
        condition = np.broadcast_to(condition, number.shape)
        found = np.zeros(number.shape)
        found[condition] = f(number[condition])
        return found

    @staticmethod
    def bend_of(bent: RoundedArray) -> Any:
        """|f''|, and no less; ∞ where it is not known."""
        size = np.abs(bent.high) + bent.off
        return size if bent.specials is None else np.where(bent.specials & ANYTHING, np.inf, size)

    def bend(self, z: RoundedArray, rule: Slope, bent: RoundedArray) -> Any:
        """|f''(z)|, and no less, from its midpoints; or where these say little of it, as in a tail, from float64's."""
        vague = bent.radii() * self.slack
        found: Array = np.abs(bent.high) + vague
        loose = np.broadcast_to(vague > np.abs(bent.high) / 8, found.shape)
        if not loose.any():
            return found
        at = np.broadcast_to(z.high, found.shape)[loose]
        known = rule.curvature(self.host, self.host.value(at))
        # What a midpoint is beyond float64 moves f'' by no more than so much.
        beyond = np.broadcast_to(np.abs(z.mid.lo) if self.mids is Double else 0.0, found.shape)[loose]
        found[loose] = np.minimum(found[loose], (self.bend_of(known) + beyond * rule.third) * ENLARGED)
        return found

    def indistinct(self, x: RoundedArray, truth: RoundedArray, gap: Any) -> Any:
        """Where two midpoints are apart by what those of the same number are, and its own radius outweighs."""
        return gap <= 4 * self.slack * x.off

    @staticmethod
    def half_of(least: Any, most: Any) -> Any:
        """What these sums and halves are rounded by is added."""
        half = (most - least) / 2 + (np.abs(least) + np.abs(most)) * 2.0**-51
        return (half + np.where(most > least, LEAST, 0.0)) * ENLARGED

    def unknown(self, x: RoundedArray, where: Any, bits: Any = ANYTHING | OVERFLOWED) -> RoundedArray:
        """The same, but that nothing is known of some elements; or no more than that they are one of a few specials."""
        if not np.any(where):
            return x
        where = np.broadcast_to(where, x.shape)
        mid = self.mids.where(~where | np.isfinite(x.high), x.mid, self.nothing)
        return self.value(mid, np.where(where, 0.0, x.radii()), np.where(where, bits, x.bits), x.width)
