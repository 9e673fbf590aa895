"""Rounded balls: what a rounded program may hold where the formula holds `exact`.

A `Rounded` value says: the formula's exact value is `exact` (itself a rigorous enclosure); a program that evaluates the
same formula in the dtype, under the numbered hypotheses of the claim, holds a number within `radius` of it, or else one
of the `specials` (±inf after an overflow, NaN after an operation on one). At a kink the derivative is a set
(hypothesis 8): `exact` is then its centre and `spread` half its width. Every operation widens the radius by

  propagation   what the operands' radii do to the result, in full, not to first order;
  rounding      u·sup|x| for a correctly rounded operation, K ulp for an elementary function (hypotheses 2 and 4),
                half of the smallest subnormal where the result may be subnormal;
  flushing      min(sup|x|, 2^emin) before and after an operation, only where a subnormal is possible (hypothesis 5).

Sources: N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., §2.2, §3.1 and §3.3 (the standard
model, inner products, running error analysis); S. M. Rump, "Fast and parallel interval arithmetic", BIT 39 (1999)
(midpoint-radius arithmetic).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Literal

import numpy as np
from flint import arb, arb_mat
from numpy.typing import NDArray

from gradconform.reference.arithmetic.exact import BALLS, Constant, HandWritten, exponent, power_of_two, precision
from gradconform.reference.arithmetic.formats import FLOAT32, Format
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.equations import Slope

#: What a value may be besides a number near `exact`. DOUBT says that its radius has been widened by what an infinity on
#: the way may have made of it: whether a program can give both that and the rest, the bits do not tell (see
#: `outcomes`).
POSITIVE, NEGATIVE, NAN, ANYTHING, DOUBT = 1, 2, 4, 8, 16
OVERFLOWED = POSITIVE | NEGATIVE | NAN

#: How a 16-bit sum may be accumulated; see `RoundedBalls`.
Sums = Literal["wide", "any", "own"]
#: Of a sum of numbers that are not negative little is known where its radius is more than a part so large of it.
HARDLY = 16

#: Functions with values below 1, whatever their argument: an ulp of theirs is at most that of numbers from 1/2 to 1.
BELOW_ONE = ("tanh", "erf")

Numbers = NDArray[np.float64]
ZERO = arb(0)
#: An argument beyond which e^x is infinite, and e^−x is 0, in every format that a program may compute in.
FAR = 1e5


def larger(a: arb, b: arb) -> arb:
    """max(a, b)."""
    return a if a >= b else b if b >= a else a.max(b)


def smaller(a: arb, b: arb) -> arb:
    """An upper bound of min(a, b)."""
    return a if a <= b else b


def positive(x: arb) -> arb:
    """max(x, 0)."""
    return x if x > 0 else ZERO if x <= 0 else (x + abs(x)) / 2


def _opposed(specials: int) -> int:
    """The specials of a sum: two infinities, of terms or of partial sums, make a NaN."""
    return specials | NAN if specials & POSITIVE and specials & NEGATIVE else specials


class Rounded:
    """A value of `RoundedBalls`; see the module."""

    __slots__ = ("arithmetic", "exact", "radius", "specials", "spread")

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
        if self.spread.is_zero():
            return self
        return Rounded(self.arithmetic, self.exact, self.radius + self.spread, self.specials)

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
        if isinstance(other, _NUMBER) and abs(math.frexp(other)[0]) == 0.5:
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


#: What may stand beside a value in + − × ÷. A tuple: a union of types would be made anew each time.
_NUMBER = (int, float)
_REAL = (Rounded, int, float)


@lru_cache
def _limits(target: Format) -> tuple[arb, arb, arb, arb]:
    """Of a format u, the smallest normal number, half the smallest subnormal one, and what rounds to infinity."""
    unit = power_of_two(-target.precision)
    # The least number that rounds to infinity, Ω = (2 − 2^−p)·2^emax (hypothesis 7; IEEE 754-2019 §4.3.1).
    with precision(2 * target.precision):  # exactly, whatever the precision is here
        overflow = (2 - unit) * power_of_two(target.emax)
    return unit, power_of_two(target.emin), power_of_two(target.emin - target.precision), overflow


class RoundedBalls(HandWritten):
    """Arithmetic in `target` under the hypotheses of `profile`, on `Rounded` values.

    `sums` is of 16-bit formats (hypothesis 3): "wide" accumulates in float32 and rounds once, "any" maybe in the format
    itself, which covers both; "own" is that with a centre of its own where little is known of a sum, which is more than
    it would be around the exact value.
    """

    def __init__(self, target: Format, profile: Profile, sums: Sums = "any") -> None:
        self.format, self.profile, self.flush = target, profile, profile.flush
        self.sums: Sums = sums
        self.unit, self.smallest_normal, self.half_tiny, self.overflow = _limits(target)
        self._constants: dict[float, Rounded] = {}

    # Values -----------------------------------------------------------------------------------------------------------

    def given(self, x: float) -> Rounded:
        """A number of the format, known exactly; of infinity and NaN no formula says anything."""
        if not math.isfinite(x):
            return Rounded(self, ZERO, ZERO, ANYTHING)
        return Rounded(self, arb(x))

    def reported(self, x: float) -> Rounded:
        """A number that a framework reported for a value it may have kept in higher precision (hypothesis 9).

        It is known to half an ulp; where it may have been flushed when it was reported, to 2^emin.
        """
        if not math.isfinite(x):
            return self.given(x)
        exact = arb(x)
        if self.flush and abs(exact) < self.smallest_normal:
            return Rounded(self, exact, self.smallest_normal)
        return Rounded(self, exact, larger(self.unit * abs(exact), self.half_tiny))

    def unrounded(self, x: Rounded) -> Rounded:
        """The result of an operation before it was rounded, and maybe flushed, to x: x may be 0 where it was not."""
        x = x.folded()
        error = larger(self.unit * (abs(x.exact) + x.radius), self.half_tiny)
        if self.flush and not abs(x.exact) - x.radius >= self.smallest_normal:
            error = larger(error, self.smallest_normal)
        return Rounded(self, x.exact, x.radius + error, x.specials)

    def gradual(self, formula: Callable[..., Rounded], *operands: Rounded) -> Rounded:
        """A formula of a program that keeps float16's subnormal numbers (hypothesis 5 allows what keeps nothing)."""
        if not (self.flush and self.format.name == "float16"):
            return formula(self, *operands)
        kept = self.keeping_subnormals(RoundedBalls(self.format, replace(self.profile, flush=False), self.sums))
        result = formula(kept, *[x.under(kept) for x in operands])
        return result.under(self)

    def keeping_subnormals(self, balls: RoundedBalls) -> RoundedBalls:
        """The arithmetic like this one that has the given properties."""
        return balls

    def epsilon(self) -> Rounded:
        """The distance from 1 to the next number of the format, 2^(1 − p)."""
        return Rounded(self, 2 * self.unit)

    def constant(self, x: arb) -> Rounded:
        """A constant that the format does not hold: an operand of radius u|c| (hypothesis 1)."""
        return self._round(x, ZERO)

    def real(self, constant: Constant) -> Rounded:
        """A constant of a formula, exactly where the format holds it."""
        value = constant.of(BALLS)
        if value.is_exact() and self.format.holds(float(value)) and arb(float(value)) == value:
            return Rounded(self, value)
        return self.constant(value)

    def coerce(self, x: Rounded | float) -> Rounded:
        if isinstance(x, Rounded):
            return x
        if x not in self._constants:
            if not isinstance(x, _NUMBER) or not self.format.holds(x):
                raise TypeError(f"{x!r} is not a number of {self.format.name}; give it as ops.constant(…)")
            self._constants[x] = self.given(float(x))
        return self._constants[x]

    # Roundings --------------------------------------------------------------------------------------------------------

    def _round(self, exact: arb, propagated: arb, specials: int = 0, error: arb | None = None) -> Rounded:
        """Widen by one rounding: by `error` where it is given, by u·sup|x| where it is not."""
        size = abs(exact)
        sup = size + propagated
        if error is None:
            error = self.unit * sup
        if not sup + error < self.overflow:
            specials |= 0 if exact + propagated + error < self.overflow else POSITIVE
            specials |= 0 if exact - propagated - error > -self.overflow else NEGATIVE
        if not size - propagated - error >= self.smallest_normal:
            if sup.is_zero():
                return Rounded(self, exact, ZERO, specials)
            all_of_it = sup.upper()  # a number: that 0 is within it is then decided
            error = larger(error, smaller(all_of_it, self.half_tiny))
            if self.flush:
                # What is flushed is the result as computed, below 2^emin: the exact one may be `error` above that.
                error = larger(error, smaller(all_of_it, self.smallest_normal + error))
        return Rounded(self, exact, propagated + error, specials)

    def _operand(self, x: Rounded) -> arb:
        """The radius of an operand, widened if it may be a subnormal number that the operation flushes."""
        if not self.flush or (size := abs(x.exact)) - x.radius >= self.smallest_normal:
            return x.radius
        sup = size + x.radius
        return x.radius if sup.is_zero() else x.radius + smaller(sup, self.smallest_normal)

    # Operations -------------------------------------------------------------------------------------------------------

    def negative(self, a: Rounded) -> Rounded:
        swapped = a.specials & ~(POSITIVE | NEGATIVE)
        swapped |= NEGATIVE if a.specials & POSITIVE else 0
        swapped |= POSITIVE if a.specials & NEGATIVE else 0
        return Rounded(self, -a.exact, a.radius, swapped, a.spread)

    def recentred(self, x: Rounded, truth: Rounded) -> Rounded:
        """What x may hold, around the truth's exact value: how far they are apart is a part of the radius."""
        if (x.specials | truth.specials) & ANYTHING:
            return x
        if x.exact.overlaps(truth.exact) and x.spread.overlaps(truth.spread):
            return x
        gap = abs(x.exact - truth.exact) + abs(x.spread - truth.spread)
        return Rounded(self, truth.exact, (x.radius + gap).upper(), x.specials, truth.spread)

    def add(self, a: Rounded, b: Rounded) -> Rounded:
        if not (a.spread.is_zero() and b.spread.is_zero()):
            return self._set(self.add(a.folded(), b.folded()), a.spread + b.spread)
        exactly = ZERO if a.is_zero() or b.is_zero() else None  # x + 0 = x
        result = self._round(a.exact + b.exact, self._operand(a) + self._operand(b), error=exactly)
        return self._with_specials(result, "add", a, b) if a.specials | b.specials else result

    def multiply(self, a: Rounded, b: Rounded) -> Rounded:
        if not (a.spread.is_zero() and b.spread.is_zero()):
            return self._multiply_set(a, b)
        ra, rb = self._operand(a), self._operand(b)
        result = self._round(a.exact * b.exact, abs(a.exact) * rb + ra * (abs(b.exact) + rb))
        return self._with_specials(result, "multiply", a, b) if a.specials | b.specials else result

    def _multiply_set(self, a: Rounded, b: Rounded) -> Rounded:
        """A product where one factor is a set: the set of the products, each rounded."""
        a, b = (a, b.folded()) if not a.spread.is_zero() else (b, a.folded())
        return self._set(self.multiply(a.folded(), b), a.spread * abs(b.exact))

    def _set(self, whole: Rounded, spread: arb) -> Rounded:
        """The set of the results, each rounded, of a `whole` that counts the set's half width as an error."""
        return Rounded(self, whole.exact, positive(whole.radius - spread), whole.specials, spread)

    def square(self, a: Rounded) -> Rounded:
        """x·x, both factors the same number."""
        a = a.folded()
        ra = self._operand(a)
        result = self._round(a.exact * a.exact, ra * (2 * abs(a.exact) + ra))
        return self._with_specials(result, "square", a) if a.specials else result

    def scale(self, a: Rounded, power: float) -> Rounded:
        """Multiplication by a power of two: exact unless the result is subnormal or overflows."""
        c = arb(power)
        if not a.spread.is_zero():
            return self._multiply_set(a, self.coerce(power))
        result = self._round(a.exact * c, self._operand(a) * abs(c), error=ZERO)
        return self._with_specials(result, "multiply", a, self.coerce(power)) if a.specials else result

    def divide(self, a: Rounded, b: Rounded) -> Rounded:
        """a/b; where b may be zero nothing is known of the result, but that it may be infinite or NaN."""
        a, b = a.folded(), b.folded()
        ra, rb = self._operand(a), self._operand(b)
        least = abs(b.exact) - rb
        if not least > 0:
            if a.is_zero() and not b.specials:  # 0, or 0/0
                return Rounded(self, ZERO, ZERO, NAN)
            return Rounded(self, a.exact / b.exact, ZERO, ANYTHING | OVERFLOWED)
        exact = a.exact / b.exact
        result = self._round(exact, (ra + abs(exact) * rb) / least)
        return self._with_specials(result, "divide", a, b) if a.specials | b.specials else result

    def inner_product(self, coefficients: Sequence[float], terms: Sequence[Rounded]) -> Rounded:
        """Σ c·x of k terms, summed in any order: errs by at most k·u·Σ|c·x| (Higham §3.1; hypothesis 2)."""
        exact, propagated, magnitude = ZERO, ZERO, ZERO
        terms = [t.folded() for t in terms]
        for coefficient, term in zip(coefficients, terms, strict=True):
            c, radius = abs(arb(coefficient)), self._operand(term)
            exact += arb(coefficient) * term.exact
            propagated += c * radius
            magnitude += c * (abs(term.exact) + radius)
        tiny = self.smallest_normal if self.flush else self.half_tiny
        error = len(terms) * (self.unit * magnitude + tiny)
        # A partial sum, in whatever order, is at most `magnitude`; beyond Ω it may be infinite, and two cancel to NaN.
        specials = 0 if magnitude + error < self.overflow else POSITIVE | NEGATIVE | NAN
        for t in terms:
            specials |= t.specials
        if specials & (POSITIVE | NEGATIVE | NAN):
            specials |= POSITIVE | NEGATIVE | NAN
        return Rounded(self, exact, propagated + error, specials)

    def total_of(self, terms: Sequence[Rounded]) -> Rounded:
        """Σ x of k terms in any order: errs by at most (k − 1)·u·Σ|x| in the format (hypothesis 2).

        Numbers of a format do not underflow when they are added; a subnormal partial sum may be flushed. A 16-bit sum
        may be accumulated in float32 and rounded once (hypothesis 3): sharper by far, but for very few terms.
        """
        if any(not t.spread.is_zero() for t in terms):
            width = sum((t.spread for t in terms), ZERO)
            return self._set(self.total_of([t.folded() for t in terms]), width)
        radii = [self._operand(t) for t in terms]
        exact, propagated = sum((t.exact for t in terms), ZERO), sum(radii, ZERO)
        magnitude = sum((abs(t.exact) for t in terms), ZERO) + propagated
        count = max(sum(not t.is_zero() for t in terms) - 1, 0)  # x + 0 = x
        radius = propagated + self._accumulated(count, self.unit, self.smallest_normal, magnitude)
        if count and self.format.precision < FLOAT32.precision:
            wide = self._accumulated(count, power_of_two(-FLOAT32.precision), power_of_two(FLOAT32.emin), magnitude)
            once = self._round(exact, propagated + wide).radius
            radius = once if self.sums == "wide" else larger(radius, once)
        specials = 0 if magnitude + radius < self.overflow else self._partial_sums(terms, radii, radius - propagated)
        for t in terms:
            specials |= t.specials
        return Rounded(self, exact, radius, _opposed(specials))

    def _accumulated(self, count: int, unit: arb, tiny: arb, magnitude: arb) -> arb:
        """What `count` additions of partial sums of at most `magnitude` err by, flushing included."""
        error = count * unit * magnitude
        return error + smaller(count * tiny, magnitude) if self.flush else error

    def _partial_sums(self, terms: Sequence[Rounded], radii: Sequence[arb], error: arb) -> int:
        """Which infinities a partial sum, in some order, may overflow to."""
        above = sum((positive(t.exact + r) for t, r in zip(terms, radii, strict=True)), ZERO)
        below = sum((positive(r - t.exact) for t, r in zip(terms, radii, strict=True)), ZERO)
        specials = 0 if above + error < self.overflow else POSITIVE
        return specials | (0 if below + error < self.overflow else NEGATIVE)

    def least_of(self, terms: Sequence[Rounded]) -> arb:
        """What a sum of numbers that are not negative certainly reaches: the largest that is not flushed.

        Rounding is monotone, so that such a sum is, in any order, no less than any of its terms. That says something
        of it where the bound on its error reaches down to zero.
        """
        least = ZERO
        for t in terms:
            low = t.exact - t.radius - t.spread
            if low > least and low >= self.smallest_normal:
                least = low
        return least

    def _hardly(self, total: Rounded, least: arb) -> tuple[arb, arb] | None:
        """What a sum lies between, where its ball says little more than that; None where that says enough."""
        if total.specials or total.radius * HARDLY < total.exact or not least > 0:
            return None
        low = total.exact - self._operand(total)
        return (low if low > least else least), total.exact + total.radius

    def log_of_total(self, total: Rounded, least: arb) -> Rounded:
        """The logarithm of a sum of numbers that are not negative, which reaches `least`."""
        between = self._hardly(total, least)
        if between is None:
            return self.log(total)
        low, high = (end.log() for end in between)
        if self.sums == "own":
            return self._elementary("log", (low + high) / 2, (high - low) / 2)
        exact = total.exact.log()
        return self._elementary("log", exact, larger(exact - low, high - exact))

    def over_total(self, x: Rounded, total: Rounded, least: arb) -> Rounded:
        """x over a sum of numbers that are not negative, which reaches `least`."""
        between = None if x.specials else self._hardly(total, least)
        if between is None:
            return self.divide(x, total)
        x = x.folded()
        radius = self._operand(x)
        low, high = 1 / between[1], 1 / between[0]
        middle = (low + high) / 2 if self.sums == "own" else 1 / total.exact
        off = larger(middle - low, high - middle)
        return self._round(x.exact * middle, (abs(x.exact) + radius) * off + radius * middle)

    def dot(
        self, a: Sequence[Rounded], b: Sequence[Rounded], bias: Rounded | None = None, own: bool = False
    ) -> Rounded:
        """Σ a·b (+ bias) of k terms in any order: errs by at most k·u·Σ|a·b| (hypothesis 2).

        In a 16-bit format the terms are accumulated in float32 or wider and rounded once (hypothesis 3); `own`
        accumulates them in the format itself.
        """
        width = ZERO if bias is None else bias.spread
        for x, y in zip(a, b, strict=True):
            width += x.spread * abs(y.exact) + abs(x.exact) * y.spread
        if not width.is_zero():
            folded = None if bias is None else bias.folded()
            return self._set(self.dot([x.folded() for x in a], [y.folded() for y in b], folded, own), width)
        exact, propagated, magnitude = ZERO, ZERO, ZERO
        for x, y in zip(a, b, strict=True):
            rx, ry = self._operand(x), self._operand(y)
            exact += x.exact * y.exact
            if not (rx.is_zero() and ry.is_zero()):
                propagated += abs(x.exact) * ry + rx * (abs(y.exact) + ry)
            magnitude += (abs(x.exact) + rx) * (abs(y.exact) + ry)
        terms = [*a, *b]
        if bias is not None:
            terms.append(bias)
            exact, propagated = exact + bias.exact, propagated + self._operand(bias)
            magnitude += abs(bias.exact) + self._operand(bias)
        specials = 0
        for t in terms:
            specials |= t.specials
        if specials & (POSITIVE | NEGATIVE | NAN):  # with one of them among its terms no sum is finite
            specials |= POSITIVE | NEGATIVE | NAN
        return self._dot(exact, propagated, magnitude, len(a) + (bias is not None), specials, own)

    def _dot(
        self, exact: arb, propagated: arb, magnitude: arb, k: int, specials: int = 0, own: bool = False
    ) -> Rounded:
        narrow = self.format.precision < FLOAT32.precision and not own
        wide = FLOAT32 if narrow else self.format
        tiny = power_of_two(wide.emin if self.flush else wide.emin - wide.precision)
        error = k * (power_of_two(-wide.precision) * magnitude + smaller(tiny, magnitude))
        if narrow:
            error *= 1 + self.unit
        overflow = (2 - power_of_two(-wide.precision)) * power_of_two(wide.emax)
        if specials & ANYTHING:
            return Rounded(self, exact, ZERO, specials)
        if not magnitude + error < overflow:  # partial sums may, in some order, be infinite and cancel
            specials |= POSITIVE | NEGATIVE | NAN
        if narrow:
            return self._round(exact, propagated + error, specials)
        return Rounded(self, exact, propagated + error, specials)

    def dot_of_numbers(self, a: Numbers, b: Numbers, bias: float | None = None) -> Rounded:
        """`dot` of float64 numbers known exactly, at the speed of a matrix product."""
        if bias is not None:
            a, b = np.append(a, bias), np.append(b, 1.0)
        sizes = np.abs(np.concatenate([a, b]))
        least, largest = sizes[sizes > 0].min(initial=1.0), sizes.max(initial=0.0)
        with np.errstate(over="ignore"):
            ordinary = math.isfinite(sizes.sum()) and least >= float(self.smallest_normal)
        if not ordinary:
            return self.dot([self.given(x) for x in a.tolist()], [self.given(x) for x in b.tolist()], None)
        if self.format.precision <= 24 and largest < 2.0**127:
            # Products of two such numbers are float64 numbers, and `fsum` rounds their sum once: hi + lo is the sum to
            # 106 bits of its own, and to 2^−53 of lo.
            terms = (a * b).tolist()
            high = math.fsum(terms)
            low = math.fsum([*terms, -high])
            exact = arb(high) + arb(low, abs(low) * 2.0**-52)
            size = math.fsum(map(abs, terms))
            return self._dot(exact, ZERO, arb(size, size * 2.0**-52), len(a))
        exact = (arb_mat([a.tolist()]) * arb_mat([[x] for x in b.tolist()]))[0, 0]
        magnitude = (arb_mat([np.abs(a).tolist()]) * arb_mat([[x] for x in np.abs(b).tolist()]))[0, 0]
        return self._dot(exact, ZERO, magnitude, len(a))

    def sigmoid(self, x: Rounded) -> Rounded:
        """σ(x) = 1/(1 + e^−x); where x is hardly known, still a number of [0, 1].

        An exponential is not negative, so the divisor as computed is at least 1 and the quotient lies in [0, 1]: that
        bounds it where the ball of 1 + e^−x, being symmetric, reaches down to zero.
        """
        result: Rounded = super().sigmoid(x)
        if result.specials & ANYTHING and not x.specials & ANYTHING:
            other = x.specials & (POSITIVE if x.exact < 0 else NEGATIVE)  # an infinity of the other side
            if (
                abs(x.exact) - x.radius > FAR and not other
            ):  # e^x is 0 or infinite in every format, and σ(x) is 0 or 1 of either
                near = Rounded(self, ZERO if x.exact < 0 else arb(1), self.half_tiny if x.exact < 0 else 2 * self.unit)
                return Rounded(self, near.exact, near.radius, x.specials & (NAN | DOUBT))
            small = (-abs(x.exact)).exp()  # never beyond a ball's exponents
            known = self.from_0_to_1((small if x.exact < 0 else 1) / (1 + small))
            return Rounded(self, known.exact, known.radius, x.specials & (NAN | DOUBT))
        # The 0 that an infinite e^−x makes of it is the program's own.
        return Rounded(self, result.exact, result.radius, result.specials & ~DOUBT | x.specials & DOUBT)

    def derivative(self, z: Rounded, rule: Slope) -> Rounded:
        """f'(z) by any program for it: within K'·(ulp(f') + u·|z·f''|), K' = 4 + 2K·(ulp_K/ulp).

        K is the largest bound of the primitives that programs for it use, counted in ulp_K. Two of them, four roundings
        in units of the result, and the argument's last bit, which counts where f' has a root.
        """
        z = z.folded()
        if z.specials & ~DOUBT:
            return Rounded(self, ZERO, ZERO, ANYTHING)
        at = Rounded(self, z.exact)
        slope = rule.slope(self, at)
        bent = rule.curvature(self, at)
        if (slope.specials | bent.specials) & ANYTHING or not (slope.exact.is_finite() and bent.exact.is_finite()):
            return Rounded(self, ZERO, ZERO, ANYTHING)
        moved = self._operand(z)
        curvature, jump = abs(bent.exact) + bent.spread, ZERO
        if not (moved.is_zero() or abs(z.exact) > moved):
            curvature, jump = self._about_zero(z.exact, moved, rule, curvature)
            jump = ZERO if slope.spread > 0 else jump
        curvature += moved * rule.third
        sup = abs(slope.exact) + slope.spread + jump + moved * curvature
        factor, ulps = self.own(rule.primitives), self._ulp_of(sup)
        error = factor * (ulps + self.unit * (abs(z.exact) + moved) * curvature)
        result = self._round(slope.exact, jump + moved * curvature, error=error)
        return Rounded(self, result.exact, result.radius, result.specials | z.specials, slope.spread)

    def _about_zero(self, z: arb, moved: arb, rule: Slope, curvature: arb) -> tuple[arb, arb]:
        """The largest |f''| at z and at the ends of a ball that reaches 0, and by how much f' jumps there.

        A kink of f' or f'' is at 0. On either side f'' moves by no more than `moved` times its bound from what it is at
        that side's end, or at z; so f' moves by no more than its jump and `moved` times the larger of these.
        """
        for end in (z - moved, z + moved):
            bent = rule.curvature(self, Rounded(self, end))
            curvature = larger(curvature, abs(bent.exact) + bent.spread)
        return curvature, 2 * rule.slope(self, Rounded(self, ZERO)).spread

    def own(self, primitives: Iterable[str]) -> arb:
        """K' of `derivative`."""
        factor = ZERO
        for name in primitives:
            bound, counted, _ = self.profile.bound(name, self.format)
            factor = larger(factor, arb(bound) * power_of_two(self.format.precision - counted.precision))
        return 4 + 2 * factor

    def _ulp_of(self, sup: arb) -> arb:
        """The unit in the last place of the largest number that is at most `sup`."""
        if not sup > 0:
            return 2 * self.half_tiny
        binade = min(max(exponent(sup), self.format.emin), self.format.emax)
        return power_of_two(binade - self.format.precision + 1)

    def part_of(self, x: Rounded, total: Rounded, least: arb) -> Rounded:
        """x/total, where x >= 0 is one of the terms of the total, all of them so; at the least a number of [0, 1].

        A term is flushed where it is added and where it is divided, or in neither place; the total may be by itself.
        """
        result = self.over_total(x, total, least)
        if result.specials & ANYTHING and not (x.specials | total.specials) & ~DOUBT:
            part = x.exact / total.exact
            known = self.from_0_to_1(part if part.is_finite() else arb(0.5))
            # 0/0, where all of them underflow; x/0, where only the sum of such small numbers is flushed.
            return Rounded(self, known.exact, known.radius, NAN | (POSITIVE if self.flush else 0))
        return result

    def bounded(self, x: Rounded, low: Rounded | float, high: Rounded | float) -> Rounded:
        """A value that is known to lie between two others where it is finite, if its ball says less than that."""
        a, b = self.coerce(low).folded(), self.coerce(high).folded()
        least, most = a.exact - a.radius, b.exact + b.radius
        vague = x.specials & ANYTHING and x.specials & OVERFLOWED
        if not vague and (x.specials & ANYTHING or x.radius <= (most - least) / 2):
            return x
        specials = OVERFLOWED if vague else x.specials
        return Rounded(self, (least + most) / 2, (most - least) / 2, specials)

    def from_0_to_1(self, exact: arb) -> Rounded:
        """A value of which no more is known than that a program, too, has it between 0 and 1."""
        return Rounded(self, exact, larger(abs(exact), abs(1 - exact)))

    def exp(self, x: Rounded) -> Rounded:
        x = x.folded()
        result = self._elementary("exp", x.exact.exp(), self._exponential(x))
        return self._with_specials(result, "exp", x) if x.specials else result

    def sin(self, x: Rounded) -> Rounded:
        x = x.folded()
        result = self._elementary("sin", x.exact.sin(), self._operand(x))  # |sin'| <= 1
        return self._with_specials(result, "sin", x) if x.specials else result

    def cos(self, x: Rounded) -> Rounded:
        x = x.folded()
        result = self._elementary("cos", x.exact.cos(), self._operand(x))  # |cos'| <= 1
        return self._with_specials(result, "cos", x) if x.specials else result

    def sinh(self, x: Rounded) -> Rounded:
        """sinh x, which moves by 2·cosh(x ± r/2)·sinh(r/2) over a ball of radius r at most."""
        x = x.folded()
        half = self._operand(x) / 2
        moved = 2 * (abs(x.exact) + half).cosh() * half.sinh()
        result = self._elementary("sinh", x.exact.sinh(), moved)
        return self._with_specials(result, "sinh", x) if x.specials else result

    def cosh(self, x: Rounded) -> Rounded:
        """cosh x, which moves by 2·sinh(|x| + r/2)·sinh(r/2) over a ball of radius r at most."""
        x = x.folded()
        half = self._operand(x) / 2
        moved = 2 * (abs(x.exact) + half).sinh() * half.sinh()
        result = self._elementary("cosh", x.exact.cosh(), moved)
        return self._with_specials(result, "cosh", x) if x.specials else result

    def sqrt(self, x: Rounded) -> Rounded:
        """√x; where a program may hold a number below 0 for x it may be NaN, where x is one nothing is known."""
        x = x.folded()
        if not x.exact >= 0 or x.specials & ANYTHING:
            return Rounded(self, x.exact.sqrt(), ZERO, ANYTHING | OVERFLOWED)
        exact, radius = x.exact.sqrt(), self._operand(x)
        least = positive(x.exact - radius)
        moved = ZERO if radius.is_zero() else radius / (exact + least.sqrt())  # |√y − √x| = |y − x|/(√y + √x)
        if exact.is_zero():
            moved = radius.sqrt()
        result = self._elementary("sqrt", exact, moved)
        if not x.exact - x.radius >= 0:
            result = Rounded(self, result.exact, result.radius, result.specials | NAN)
        return self._with_specials(result, "sqrt", x) if x.specials else result

    def expm1(self, x: Rounded) -> Rounded:
        x = x.folded()
        result = self._elementary("expm1", x.exact.expm1(), self._exponential(x))
        return self._with_specials(result, "expm1", x) if x.specials else result

    def log(self, x: Rounded) -> Rounded:
        """log x; where a program may hold 0 for x it is infinite, or the logarithm of a number that the format has."""
        x = x.folded()
        radius = self._operand(x)
        least = x.exact - radius
        if not x.specials and x.exact > 0 and not least > 0:
            exact = x.exact.log()
            moved = larger(exact - (2 * self.half_tiny).log(), ((x.exact + radius) / x.exact).log())
            found = self._elementary("log", exact, positive(moved))
            return Rounded(self, exact, found.radius, found.specials | (NEGATIVE if least >= 0 else NEGATIVE | NAN))
        if not least > 0 or x.specials & (NEGATIVE | NAN | ANYTHING):
            return Rounded(self, x.exact.log(), ZERO, ANYTHING | OVERFLOWED)
        result = self._elementary("log", x.exact.log(), radius / least)
        return self._with_specials(result, "log", x) if x.specials else result

    def log1p(self, x: Rounded) -> Rounded:
        """log(1 + x); where x may not be above −1 nothing is known of the result."""
        x = x.folded()
        radius = self._operand(x)
        least = 1 + x.exact - radius
        if not least > 0 or x.specials & (NEGATIVE | NAN | ANYTHING):
            return Rounded(self, x.exact.log1p(), ZERO, ANYTHING | OVERFLOWED)
        result = self._elementary("log1p", x.exact.log1p(), radius / least)
        return self._with_specials(result, "log1p", x) if x.specials else result

    def tanh(self, x: Rounded) -> Rounded:
        """tanh x; its derivative is at most 4·e^(−2|y|), and at most 1."""
        x = x.folded()
        radius = self._operand(x)
        nearest = positive(abs(x.exact) - radius)
        propagated = smaller(radius, 4 * radius * (-2 * nearest).exp())
        result = self._elementary("tanh", x.exact.tanh(), propagated)
        return self._with_specials(result, "tanh", x) if x.specials else result

    def erf(self, x: Rounded) -> Rounded:
        x = x.folded()
        result = self._elementary("erf", x.exact.erf(), self._gaussian(x))
        return self._with_specials(result, "erf", x) if x.specials else result

    def erfc(self, x: Rounded) -> Rounded:
        x = x.folded()
        result = self._elementary("erfc", x.exact.erfc(), self._gaussian(x))
        return self._with_specials(result, "erfc", x) if x.specials else result

    def _exponential(self, x: Rounded) -> arb:
        """How far e^x moves over a ball: by e^x·(e^r − 1), which is e^(x + r)·(1 − e^−r), without a large e^r."""
        radius = self._operand(x)
        if radius <= 1:
            return x.exact.exp() * radius.expm1()
        return (x.exact + radius).exp() * -(-radius).expm1()

    def _gaussian(self, x: Rounded) -> arb:
        """How far erf moves over a ball: its derivative is 2/√π·e^(−y²), largest where |y| is smallest."""
        radius = self._operand(x)
        nearest = positive(abs(x.exact) - radius)
        return 2 / arb.pi().sqrt() * (-nearest * nearest).exp() * radius

    # Piecewise functions ----------------------------------------------------------------------------------------------

    def positive_part(self, x: Rounded) -> Rounded:
        """max(x, 0), which moves no further than x and is not rounded."""
        x = x.folded()
        result = self._round(positive(x.exact), self._operand(x), error=ZERO)
        return self._with_specials(result, "positive_part", x) if x.specials else result

    def absolute(self, x: Rounded) -> Rounded:
        x = x.folded()
        result = self._round(abs(x.exact), self._operand(x), error=ZERO)
        return self._with_specials(result, "absolute", x) if x.specials else result

    def maximum(self, a: Rounded, b: Rounded) -> Rounded:
        """max(a, b), which moves no further than the operand that moves further; where one is −∞ it is the other."""
        a, b = a.folded(), b.folded()
        exact = a.exact if a.exact > b.exact else b.exact if b.exact > a.exact else a.exact.max(b.exact)
        result = self._round(exact, larger(self._operand(a), self._operand(b)), error=ZERO)
        if not a.specials | b.specials:
            return result
        found, radius = self._with_specials(result, "maximum", a, b), result.radius
        if found.specials & ANYTHING:
            return found
        for infinite, other in ((a, b), (b, a)):
            if infinite.specials & NEGATIVE:
                radius = larger(radius, abs(other.exact - exact) + self._operand(other))
        return Rounded(self, exact, radius, found.specials)

    def select(self, x: Rounded, above: Rounded | float, below: Rounded | float) -> Rounded:
        """`above` where x > 0, else `below`: two branches of a function that is continuous at x = 0."""
        x = x.folded()
        above, below = (self._passed(self.coerce(v).folded()) for v in (above, below))
        if self._above(x):
            return above
        if self._below(x):
            return below
        chosen = self._either(*((above, below) if x.exact > 0 else (below, above)))
        return self._of_side(x, chosen)

    def _passed(self, x: Rounded) -> Rounded:
        """A number that an operation passes on: it may be flushed, as by a minimum or maximum."""
        return Rounded(self, x.exact, self._operand(x), x.specials, x.spread)

    def _of_side(self, x: Rounded, chosen: Rounded) -> Rounded:
        """A choice between branches by a number that may be NaN: either of them, or NaN itself."""
        specials = chosen.specials | (x.specials & (NAN | ANYTHING))
        return Rounded(self, chosen.exact, chosen.radius, specials, chosen.spread)

    def step(self, x: Rounded, above: Rounded | float, below: Rounded | float) -> Rounded:
        """The slope of a kink at x = 0: `above` for x > 0, `below` for x < 0, all between them where x may be 0."""
        x, above, below = x.folded(), self.coerce(above), self.coerce(below)
        if self._above(x):
            return above
        if x.exact + self._operand(x) < 0 and not x.specials & ~(NEGATIVE | DOUBT):
            return below
        if not x.exact.contains(0):  # the slope is one of the two; the program may find itself on the other side
            return self._of_side(x, self._either(*((above, below) if x.exact > 0 else (below, above))))
        above, below = above.folded(), below.folded()
        centre, spread = (above.exact + below.exact) / 2, abs(above.exact - below.exact) / 2
        found = Rounded(self, centre, larger(above.radius, below.radius), above.specials | below.specials, spread)
        return self._of_side(x, found)

    def _above(self, x: Rounded) -> bool:
        """Whether the program certainly finds x > 0."""
        return bool(x.exact - self._operand(x) > 0) and not x.specials & ~(POSITIVE | DOUBT)

    def _below(self, x: Rounded) -> bool:
        """Whether the program certainly finds x <= 0."""
        return bool(x.exact + self._operand(x) <= 0) and not x.specials & ~(NEGATIVE | DOUBT)

    def _either(self, chosen: Rounded, other: Rounded) -> Rounded:
        other = other.folded()
        radius = larger(chosen.radius, abs(other.exact - chosen.exact) + other.radius)
        return Rounded(self, chosen.exact, radius, chosen.specials | other.specials, chosen.spread)

    def _elementary(self, function: str, exact: arb, propagated: arb) -> Rounded:
        """Hypothesis 4: within K ulp of the exact value at the argument that the program holds."""
        bound, counted, rounds = self.profile.bound(function, self.format)
        sup = abs(exact) + propagated
        if sup.is_zero():
            return Rounded(self, exact)
        if not sup.is_finite():  # beyond even a ball's exponents: no enclosure to go on from
            return Rounded(self, exact, ZERO, ANYTHING)
        binade = min(max(exponent(sup), counted.emin), counted.emax)
        if function in BELOW_ONE:
            binade = min(binade, -1)
        error = arb(bound) * power_of_two(binade - counted.precision + 1)
        if rounds:
            return self._round(exact, propagated + error)
        return self._round(exact, propagated, error=error)

    # Infinities -------------------------------------------------------------------------------------------------------

    def _with_specials(self, result: Rounded, operation: str, *operands: Rounded) -> Rounded:
        """Add what the operation gives where an operand is a special; a finite outcome widens the ball to hold it."""
        specials, radius = result.specials, result.radius
        for o in operands:
            specials |= o.specials & (DOUBT | ANYTHING)
        if specials & ANYTHING:
            infinite = any(o.specials & OVERFLOWED for o in operands) or result.specials & OVERFLOWED
            return Rounded(self, result.exact, ZERO, ANYTHING | (OVERFLOWED if infinite else 0))
        for values in itertools.product(*[representatives(o) for o in operands]):
            if all(math.isfinite(v) for v in values):
                continue
            for outcome in ieee(operation, *values):
                if math.isnan(outcome):
                    specials |= NAN
                elif math.isinf(outcome):
                    specials |= POSITIVE if outcome > 0 else NEGATIVE
                else:
                    radius, specials = larger(radius, abs(result.exact - arb(outcome))), specials | DOUBT
        return Rounded(self, result.exact, radius, specials)


def representatives(x: Rounded) -> Iterator[float]:
    """One number for each way that a value can meet an infinity: its specials, and the signs of its finite part."""
    if x.specials & POSITIVE:
        yield math.inf
    if x.specials & NEGATIVE:
        yield -math.inf
    if x.specials & NAN:
        yield math.nan
    if not x.exact + x.radius <= 0:
        yield 1.0
    if not x.exact - x.radius >= 0:
        yield -1.0
    if not abs(x.exact) - x.radius > (x.arithmetic.smallest_normal if x.arithmetic.flush else 0):
        yield 0.0  # it may be zero, or a subnormal number that is flushed


def ieee(operation: str, *values: float) -> tuple[float, ...]:
    """What an operation gives of values that are not all finite (IEEE 754-2019 §6, §9.2); ±0 is not told apart."""
    if any(math.isnan(v) for v in values):
        return (math.nan,)
    if operation == "divide" and values[1] == 0:
        return math.inf, -math.inf
    return (_IEEE[operation](*values),)


_IEEE: dict[str, Callable[..., float]] = {
    "add": lambda x, y: x + y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "square": lambda x: x * x,
    "maximum": max,
    "absolute": abs,
    "positive_part": lambda x: max(x, 0.0),
    "exp": math.exp,
    "expm1": math.expm1,
    "log": lambda x: x if x > 0 else math.nan,
    "log1p": lambda x: x if x > 0 else math.nan,
    "tanh": math.tanh,
    "erf": math.erf,
    "erfc": math.erfc,
    "sigmoid": lambda x: 1.0 if x > 0 else 0.0,
    "sin": lambda x: math.nan,
    "cos": lambda x: math.nan,
    "sinh": lambda x: x,
    "cosh": abs,
    "sqrt": lambda x: x if x > 0 else math.nan,
}
