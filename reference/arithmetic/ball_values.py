"""Rounded balls and what the rules ask of their executor: python-flint's `arb`, one number at a time.

The midpoint is the exact value itself, a rigorous enclosure to the working precision, so nothing is added to a bound
for what it is computed with.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from flint import arb

from gradconform.reference.arithmetic import rules
from gradconform.reference.arithmetic.exact import exponent, power_of_two, precision
from gradconform.reference.arithmetic.formats import FLOAT32, Format
from gradconform.reference.arithmetic.profiles import Profile, counted_in
from gradconform.reference.arithmetic.specials import ANYTHING, table
from gradconform.reference.equations import Slope

if TYPE_CHECKING:
    from gradconform.reference.arithmetic.rounded import RoundedBalls

ZERO = arb(0)


def larger(a: arb, b: arb) -> arb:
    """max(a, b)."""
    return a if a >= b else b if b >= a else a.max(b)


def smaller(a: arb, b: arb) -> arb:
    """An upper bound of min(a, b)."""
    return a if a <= b else b


def positive(x: arb) -> arb:
    """max(x, 0)."""
    return x if x > 0 else ZERO if x <= 0 else (x + abs(x)) / 2


class Rounded:
    """A value of `RoundedBalls`; see the module."""

    __slots__ = ("arithmetic", "exact", "radius", "specials", "spread")
    #: The same under the names that the rules have for them.
    mid: arb
    off: arb
    bits: int
    width: arb

    def __init__(
        self, arithmetic: RoundedBalls, exact: arb, radius: arb = ZERO, specials: int = 0, spread: arb = ZERO
    ) -> None:
        self.arithmetic, self.exact, self.radius, self.specials = arithmetic, exact, radius, specials
        self.spread = spread

    def __repr__(self) -> str:
        return f"Rounded({self.exact.str(6)}, radius={self.radius.str(3)}, specials={self.specials})"

    def under(self, arithmetic: RoundedBalls) -> Rounded:
        """The same value, to go on from under another arithmetic."""
        return Rounded(arithmetic, self.exact, self.radius, self.specials, self.spread)

    def is_zero(self) -> bool:
        """Whether the program holds an exact zero here."""
        return not self.specials and self.exact.is_zero() and self.radius.is_zero() and self.spread.is_zero()

    def distance(self, x: float) -> arb:
        """From x to the exact value, or to the set of them."""
        return positive(abs(arb(x) - self.exact) - self.spread)

    def folded(self) -> Rounded:
        """The same value with the set's half width as a part of the radius."""
        return rules.folded(self.arithmetic, self)  # type: ignore[no-any-return]

    def __neg__(self) -> Rounded:
        return self.arithmetic.negative(self)

    def __add__(self, other: Rounded | float) -> Rounded:
        return (
            self.arithmetic.add(self.folded(), self.arithmetic.coerce(other).folded())
            if isinstance(other, _REAL)
            else NotImplemented
        )

    __radd__ = __add__

    def __sub__(self, other: Rounded | float) -> Rounded:
        return (
            self.arithmetic.add(self.folded(), self.arithmetic.negative(self.arithmetic.coerce(other).folded()))
            if isinstance(other, _REAL)
            else NotImplemented
        )

    def __rsub__(self, other: float) -> Rounded:
        return self.arithmetic.add(self.arithmetic.coerce(other), self.arithmetic.negative(self))

    def __mul__(self, other: Rounded | float) -> Rounded:
        if isinstance(other, NUMBER) and abs(math.frexp(other)[0]) == 0.5:
            return self.arithmetic.scale(self, other)
        return (
            self.arithmetic.multiply(self, self.arithmetic.coerce(other))
            if isinstance(other, _REAL)
            else NotImplemented
        )

    __rmul__ = __mul__

    def __truediv__(self, other: Rounded | float) -> Rounded:
        return (
            self.arithmetic.divide(self, self.arithmetic.coerce(other)) if isinstance(other, _REAL) else NotImplemented
        )

    def __rtruediv__(self, other: float) -> Rounded:
        return self.arithmetic.divide(self.arithmetic.coerce(other), self)

    def __pow__(self, power: int) -> Rounded:
        if power != 2:
            raise TypeError(f"only the square is defined, got power {power!r}")
        return self.arithmetic.square(self)


for _name, _alias in (("exact", "mid"), ("radius", "off"), ("specials", "bits"), ("spread", "width")):
    setattr(Rounded, _alias, Rounded.__dict__[_name])

#: What may stand beside a value in + − × ÷. A tuple: a union of types would be made anew each time.
NUMBER = (int, float)
_REAL = (Rounded, int, float)


@lru_cache
def limits(target: Format) -> tuple[arb, arb, arb, arb]:
    """Of a format u, the smallest normal number, half the smallest subnormal one, and what rounds to infinity."""
    unit = power_of_two(-target.precision)
    # The least number that rounds to infinity, Ω = (2 − 2^−p)·2^emax (hypothesis 7; IEEE 754-2019 §4.3.1).
    with precision(2 * target.precision):  # exactly, whatever the precision is here
        overflow = (2 - unit) * power_of_two(target.emax)
    return unit, power_of_two(target.emin), power_of_two(target.emin - target.precision), overflow


class BallPrimitives:
    """What `rules` need of balls; see there."""

    def __init__(self, target: Format, profile: Profile) -> None:
        self.format, self.profile, self.flush = target, profile, profile.flush
        self.unit, self.smallest_normal, self.half_tiny, self.overflow = limits(target)
        self.infinite, self.narrow = self.overflow, target.precision < FLOAT32.precision
        self._bounds: dict[str, tuple[arb, Format, bool]] = {}
        # Of python-flint's own, which a class would take for methods.
        self.value = partial(Rounded, self)  # type: ignore[arg-type]
        self.finite, self.vanishes = arb.is_finite, arb.is_zero
        #: Not a ball: that 0 is within it is decided.
        self.number = arb.upper

    #: No number of a ball is so small that it is lost.
    underflows, least, zero, nothing = False, ZERO, ZERO, ZERO
    half, limits = arb(0.5), staticmethod(limits)
    size, every, shortcut, no = abs, bool, bool, operator.not_

    def normal(self, size: arb, radius: arb) -> bool:
        return bool(size - radius >= self.smallest_normal or (size + radius).is_zero())

    larger, smaller = staticmethod(larger), staticmethod(smaller)

    @staticmethod
    def high(mid: arb) -> arb:
        return mid

    @staticmethod
    def rest(mid: arb) -> arb:
        return ZERO

    @staticmethod
    def pick(condition: bool, a: Any, b: Any) -> Any:
        return a if condition else b

    pick_mid = pick

    @staticmethod
    def flag(condition: bool, bit: int) -> int:
        return bit if condition else 0

    @staticmethod
    def outwards(size: arb, radius: arb) -> arb:
        return radius

    @staticmethod
    def without(radius: arb, part: arb) -> arb:
        return positive(radius - part)

    @staticmethod
    def scaled(mid: arb, power: float) -> arb:
        return mid * power

    times_power = scaled

    @staticmethod
    def apart(mid: arb, number: arb) -> arb:
        return abs(mid - number)

    is_zero = staticmethod(Rounded.is_zero)

    def is_number(self, x: Rounded) -> bool:
        """Whether a value is known to be 0 or a number of the format that no hardware flushes to 0."""
        if x.specials or not x.radius.is_zero():
            return False
        value = float(x.exact.mid())
        there = x.exact == arb(value) and self.format.holds(value)
        return there and (value == 0 or abs(value) >= 2.0**self.format.emin)

    def held(self, mid: arb, size: arb, radius: arb, bits: int, width: arb = ZERO) -> Rounded:
        """A value; of one beyond even a ball's exponents there is no enclosure to go on from."""
        if radius.is_finite() and size.is_finite():
            return self.value(mid, radius, bits, width)
        return self.value(mid, ZERO, bits | ANYTHING, width)

    @staticmethod
    def function(name: str, mid: arb) -> Any:
        return getattr(mid, name)()

    math = function

    @staticmethod
    def sized(name: str, mid: arb) -> arb:
        return abs(mid)

    @staticmethod
    def raised(v: arb, r: arb) -> arb:
        return v + r

    @staticmethod
    def lowered(v: arb, r: arb) -> arb:
        return v - r

    @staticmethod
    def one_plus(v: arb, r: arb) -> arb:
        return 1 + v - r

    @staticmethod
    def rise(a: arb, b: arb) -> arb:
        return positive(a - b)

    @staticmethod
    def upwards(x: arb) -> arb:
        return x

    above_zero = upwards

    @property
    def log_of_tiny(self) -> arb:
        return (2 * self.half_tiny).log()

    def bound(self, function: str) -> tuple[arb, Format, bool]:
        if function not in self._bounds:
            bound, counted, rounds = self.profile.bound(function, self.format)
            self._bounds[function] = arb(bound), counted_in(function, counted), rounds
        return self._bounds[function]

    @staticmethod
    def ulp(sup: arb, counted: Format) -> arb:
        """The unit in the last place of the largest number that is at most `sup`."""
        if not sup.is_finite():
            return sup
        binade = counted.emin if not sup > 0 else min(max(exponent(sup), counted.emin), counted.emax)
        return power_of_two(binade - counted.precision + 1)

    @staticmethod
    def positive(mid: arb) -> arb:
        return positive(mid)

    absolute_of = abs

    @staticmethod
    def apart_mids(a: arb, b: arb) -> arb:
        return abs(a - b)

    @staticmethod
    def is_away(v: arb, r: arb) -> bool:
        """Whether a number is certainly at one side of 0."""
        return not v.contains(0)

    @staticmethod
    def middle(a: arb, b: arb) -> arb:
        return (a + b) / 2

    @staticmethod
    def half_width(a: arb, b: arb) -> tuple[arb, arb]:
        return abs(a - b) / 2, ZERO

    @staticmethod
    def lift(number: arb | float) -> arb:
        return arb(number)

    @staticmethod
    def there(condition: bool, f: Callable[[arb], arb], number: arb) -> arb:
        """A function of numbers where the condition holds, else 0."""
        return f(number) if condition else ZERO

    @staticmethod
    def bend_of(bent: Rounded) -> arb:
        """|f''|, and no less."""
        return abs(bent.exact) + bent.spread

    def bend(self, z: Rounded, rule: Slope, bent: Rounded) -> arb:
        return self.bend_of(bent)

    @staticmethod
    def indistinct(x: Rounded, truth: Rounded, gap: arb) -> bool:
        """Whether two values may have the same centre, and width."""
        return bool(x.exact.overlaps(truth.exact)) and bool(x.spread.overlaps(truth.spread))

    @staticmethod
    def half_of(least: arb, most: arb) -> arb:
        return (most - least) / 2

    def unknown(self, x: Rounded, where: bool, bits: int) -> Rounded:
        return self.value(x.exact, ZERO, bits) if where else x

    def only(
        self, bits: int, rule: Callable[..., Rounded], operation: str, result: Rounded, *operands: Rounded
    ) -> Rounded:
        return rule(self, operation, result, *operands)

    @staticmethod
    def of_one(operation: str, ways: int) -> tuple[int, arb, arb]:
        row = table(operation, 1)
        return int(row.specials[ways]), arb(float(row.least[ways])), arb(float(row.largest[ways]))

    @staticmethod
    def of_two(operation: str, of_a: int, of_b: int) -> tuple[int, arb, arb]:
        row, ways = table(operation, 2), (of_a, of_b)
        return int(row.specials[ways]), arb(float(row.least[ways])), arb(float(row.largest[ways]))
