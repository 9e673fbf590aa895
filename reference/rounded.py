"""Rounded balls: what a rounded program may hold where the formula holds `exact`.

A `Rounded` value says: the formula's exact value is `exact` (itself a rigorous enclosure); a program that evaluates the
same formula in the dtype, under the numbered hypotheses of the claim, holds a number within `radius` of it, or else one
of the `specials` (±inf after an overflow, NaN after an operation on one). Every operation widens the radius by

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

from flint import arb

from gradconform.reference.exact import HandWritten, exponent, power_of_two
from gradconform.reference.formats import Format
from gradconform.reference.profiles import Profile

POSITIVE, NEGATIVE, NAN, ANYTHING = 1, 2, 4, 8
ZERO = arb(0)


def larger(a: arb, b: arb) -> arb:
    """An upper bound of max(a, b), equal to it unless the balls overlap; a, b >= 0."""
    return a if a >= b else b if b >= a else a + b


def smaller(a: arb, b: arb) -> arb:
    """An upper bound of min(a, b)."""
    return a if a <= b else b


def _real(x: object) -> bool:
    return isinstance(x, Rounded | int | float)


class Rounded:
    """A value of `RoundedBalls`; see the module."""

    __slots__ = ("arithmetic", "exact", "radius", "specials")

    def __init__(self, arithmetic: RoundedBalls, exact: arb, radius: arb = ZERO, specials: int = 0) -> None:
        self.arithmetic, self.exact, self.radius, self.specials = arithmetic, exact, radius, specials

    def __repr__(self) -> str:
        return f"Rounded({self.exact.str(6)}, radius={self.radius.str(3)}, specials={self.specials})"

    def is_zero(self) -> bool:
        """Whether the program holds an exact zero here."""
        return not self.specials and self.exact.is_zero() and self.radius.is_zero()

    def __neg__(self) -> Rounded:
        swapped = self.specials & ~(POSITIVE | NEGATIVE)
        swapped |= NEGATIVE if self.specials & POSITIVE else 0
        swapped |= POSITIVE if self.specials & NEGATIVE else 0
        return Rounded(self.arithmetic, -self.exact, self.radius, swapped)

    def __add__(self, other: Rounded | float) -> Rounded:
        return self.arithmetic.add(self, self.arithmetic.coerce(other)) if _real(other) else NotImplemented

    __radd__ = __add__

    def __sub__(self, other: Rounded | float) -> Rounded:
        return self.arithmetic.add(self, -self.arithmetic.coerce(other)) if _real(other) else NotImplemented

    def __rsub__(self, other: float) -> Rounded:
        return self.arithmetic.add(self.arithmetic.coerce(other), -self)

    def __mul__(self, other: Rounded | float) -> Rounded:
        if isinstance(other, int | float) and abs(math.frexp(other)[0]) == 0.5:
            return self.arithmetic.scale(self, other)
        return self.arithmetic.multiply(self, self.arithmetic.coerce(other)) if _real(other) else NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, other: Rounded | float) -> Rounded:
        return self.arithmetic.divide(self, self.arithmetic.coerce(other)) if _real(other) else NotImplemented

    def __rtruediv__(self, other: float) -> Rounded:
        return self.arithmetic.divide(self.arithmetic.coerce(other), self)

    def __pow__(self, power: int) -> Rounded:
        if power != 2:
            raise TypeError(f"only the square is defined, got power {power!r}")
        return self.arithmetic.square(self)


class RoundedBalls(HandWritten):
    """Arithmetic in `target` under the hypotheses of `profile`, on `Rounded` values."""

    def __init__(self, target: Format, profile: Profile) -> None:
        self.format, self.profile, self.flush = target, profile, profile.flush
        self.unit = power_of_two(-target.precision)
        self.smallest_normal = power_of_two(target.emin)
        self.half_tiny = power_of_two(target.emin - target.precision)
        # The least number that rounds to infinity, Ω = (2 − 2^−p)·2^emax (hypothesis 7; IEEE 754-2019 §4.3.1).
        self.overflow = (2 - self.unit) * power_of_two(target.emax)
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

    def constant(self, x: arb) -> Rounded:
        """A constant that the format does not hold: an operand of radius u|c| (hypothesis 1)."""
        return self._round(x, ZERO)

    def coerce(self, x: Rounded | float) -> Rounded:
        if isinstance(x, Rounded):
            return x
        if x not in self._constants:
            if not isinstance(x, int | float) or not self.format.holds(x):
                raise TypeError(f"{x!r} is not a number of {self.format.name}; give it as ops.constant(…)")
            self._constants[x] = self.given(float(x))
        return self._constants[x]

    # Roundings --------------------------------------------------------------------------------------------------------

    def _round(self, exact: arb, propagated: arb, specials: int = 0, error: arb | None = None) -> Rounded:
        """Widen by one rounding: by `error` where it is given, by u·sup|x| where it is not."""
        sup = abs(exact) + propagated
        if error is None:
            error = self.unit * sup
        if not sup + error < self.overflow:
            specials |= 0 if exact + propagated + error < self.overflow else POSITIVE
            specials |= 0 if exact - propagated - error > -self.overflow else NEGATIVE
        if not abs(exact) - propagated - error >= self.smallest_normal:
            if sup.is_zero():
                return Rounded(self, exact, ZERO, specials)
            error = larger(error, smaller(sup, self.half_tiny))
            if self.flush:
                # What is flushed is the result as computed, below 2^emin: the exact one may be `error` above that.
                error = larger(error, smaller(sup, self.smallest_normal + error))
        return Rounded(self, exact, propagated + error, specials)

    def _operand(self, x: Rounded) -> arb:
        """The radius of an operand, widened if it may be a subnormal number that the operation flushes."""
        if not self.flush or abs(x.exact) - x.radius >= self.smallest_normal:
            return x.radius
        sup = abs(x.exact) + x.radius
        return x.radius if sup.is_zero() else x.radius + smaller(sup, self.smallest_normal)

    # Operations -------------------------------------------------------------------------------------------------------

    def add(self, a: Rounded, b: Rounded) -> Rounded:
        exactly = ZERO if a.is_zero() or b.is_zero() else None  # x + 0 = x
        result = self._round(a.exact + b.exact, self._operand(a) + self._operand(b), error=exactly)
        return self._with_specials(result, lambda x, y: (x + y,), a, b) if a.specials | b.specials else result

    def multiply(self, a: Rounded, b: Rounded) -> Rounded:
        ra, rb = self._operand(a), self._operand(b)
        result = self._round(a.exact * b.exact, abs(a.exact) * rb + ra * (abs(b.exact) + rb))
        return self._with_specials(result, lambda x, y: (x * y,), a, b) if a.specials | b.specials else result

    def square(self, a: Rounded) -> Rounded:
        """x·x, both factors the same number."""
        ra = self._operand(a)
        result = self._round(a.exact * a.exact, ra * (2 * abs(a.exact) + ra))
        return self._with_specials(result, lambda x: (x * x,), a) if a.specials else result

    def scale(self, a: Rounded, power: float) -> Rounded:
        """Multiplication by a power of two: exact unless the result is subnormal or overflows."""
        c = arb(power)
        result = self._round(a.exact * c, self._operand(a) * abs(c), error=ZERO)
        return self._with_specials(result, lambda x: (x * power,), a) if a.specials else result

    def divide(self, a: Rounded, b: Rounded) -> Rounded:
        """a/b; where b may be zero nothing is known of the result."""
        ra, rb = self._operand(a), self._operand(b)
        least = abs(b.exact) - rb
        if not least > 0:
            return Rounded(self, a.exact / b.exact, ZERO, ANYTHING)
        exact = a.exact / b.exact
        result = self._round(exact, (ra + abs(exact) * rb) / least)
        return self._with_specials(result, _quotients, a, b) if a.specials | b.specials else result

    def inner_product(self, coefficients: Sequence[float], terms: Sequence[Rounded]) -> Rounded:
        """Σ c·x of k terms, summed in any order: errs by at most k·u·Σ|c·x| (Higham §3.1; hypothesis 2)."""
        exact, propagated, magnitude = ZERO, ZERO, ZERO
        for coefficient, term in zip(coefficients, terms, strict=True):
            c, radius = abs(arb(coefficient)), self._operand(term)
            exact += arb(coefficient) * term.exact
            propagated += c * radius
            magnitude += c * (abs(term.exact) + radius)
        tiny = self.smallest_normal if self.flush else self.half_tiny
        error = len(terms) * (self.unit * magnitude + tiny)
        # A partial sum, in whatever order, is at most `magnitude`; beyond Ω it may be infinite, and two cancel to NaN.
        specials = 0 if magnitude + error < self.overflow else POSITIVE | NEGATIVE | NAN
        specials |= ANYTHING if any(t.specials for t in terms) else 0
        return Rounded(self, exact, propagated + error, specials)

    def sigmoid(self, x: Rounded) -> Rounded:
        """σ(x) = 1/(1 + e^−x); where x is hardly known, still a number of [0, 1].

        An exponential is not negative, so the divisor as computed is at least 1 and the quotient lies in [0, 1]: that
        bounds it where the ball of 1 + e^−x, being symmetric, reaches down to zero.
        """
        result: Rounded = super().sigmoid(x)
        if result.specials & ANYTHING and not x.specials & ANYTHING:
            exact = 1 / (1 + (-x.exact).exp())
            return Rounded(self, exact, larger(abs(exact), abs(1 - exact)), NAN if x.specials & NAN else 0)
        return result

    def exp(self, x: Rounded) -> Rounded:
        radius = self._operand(x)
        exact = x.exact.exp()
        result = self._elementary("exp", exact, exact * radius.expm1())
        return self._with_specials(result, lambda v: (math.exp(v),), x) if x.specials else result

    def sin(self, x: Rounded) -> Rounded:
        result = self._elementary("sin", x.exact.sin(), self._operand(x))  # |sin'| <= 1
        return self._with_specials(result, lambda v: (math.nan,), x) if x.specials else result

    def cos(self, x: Rounded) -> Rounded:
        result = self._elementary("cos", x.exact.cos(), self._operand(x))  # |cos'| <= 1
        return self._with_specials(result, lambda v: (math.nan,), x) if x.specials else result

    def _elementary(self, function: str, exact: arb, propagated: arb) -> Rounded:
        """Hypothesis 4: within K ulp of the exact value at the argument that the program holds."""
        bound, counted, rounds = self.profile.bound(function, self.format)
        sup = abs(exact) + propagated
        if sup.is_zero():
            return Rounded(self, exact)
        if not sup.is_finite():  # beyond even a ball's exponents: no enclosure to go on from
            return Rounded(self, exact, ZERO, ANYTHING)
        binade = min(max(exponent(sup), counted.emin), counted.emax)
        error = arb(bound) * power_of_two(binade - counted.precision + 1)
        if rounds:
            return self._round(exact, propagated + error)
        return self._round(exact, propagated, error=error)

    # Infinities -------------------------------------------------------------------------------------------------------

    def _with_specials(self, result: Rounded, operation: Callable[..., Iterable[float]], *operands: Rounded) -> Rounded:
        """Add what the operation gives where an operand is a special; a finite outcome widens the ball to hold it."""
        if any(o.specials & ANYTHING for o in operands):
            return Rounded(self, result.exact, ZERO, ANYTHING)
        specials, radius = result.specials, result.radius
        for values in itertools.product(*[_representatives(o) for o in operands]):
            if all(math.isfinite(v) for v in values):
                continue
            for outcome in operation(*values):
                if math.isnan(outcome):
                    specials |= NAN
                elif math.isinf(outcome):
                    specials |= POSITIVE if outcome > 0 else NEGATIVE
                else:
                    radius = larger(radius, abs(result.exact - arb(outcome)))
        return Rounded(self, result.exact, radius, specials)


def _representatives(x: Rounded) -> Iterator[float]:
    """One number for each way that a value can meet an infinity: its specials, and the signs of its finite part."""
    if x.specials & POSITIVE:
        yield math.inf
    if x.specials & NEGATIVE:
        yield -math.inf
    if x.specials & NAN:
        yield math.nan
    if not x.exact + x.radius < 0:
        yield 1.0
    if not x.exact - x.radius > 0:
        yield -1.0
    if not abs(x.exact) - x.radius > (x.arithmetic.smallest_normal if x.arithmetic.flush else 0):
        yield 0.0  # it may be zero, or a subnormal number that is flushed


def _quotients(x: float, y: float) -> tuple[float, ...]:
    if y == 0:
        return (math.nan,) if math.isnan(x) else (math.inf, -math.inf)
    return (x / y,)
