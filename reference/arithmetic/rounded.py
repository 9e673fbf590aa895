"""Rounded balls: what a rounded program may hold where the formula holds `exact`.

A `Rounded` value says: the formula's exact value is `exact` (itself a rigorous enclosure); a program that evaluates the
same formula in the dtype, under the numbered hypotheses of the claim, holds a number within `radius` of it, or else one
of the `specials` (±inf after an overflow, NaN after an operation on one). At a kink the derivative is a set
(hypothesis 8): `exact` is then its centre and `spread` half its width. How every operation widens the radius is said in
`rules`, which this arithmetic executes number by number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from flint import arb, arb_mat
from numpy.typing import NDArray

from gradconform.reference.arithmetic import function_rules, rules
from gradconform.reference.arithmetic.ball_values import (
    NUMBER,
    ZERO,
    BallPrimitives,
    Rounded,
    larger,
    positive,
    smaller,
)
from gradconform.reference.arithmetic.exact import BALLS, Constant, HandWritten, power_of_two
from gradconform.reference.arithmetic.formats import FLOAT32, Format
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.arithmetic.specials import ANYTHING, DOUBT, NAN, NEGATIVE, OVERFLOWED, POSITIVE

#: How a 16-bit sum may be accumulated; see `RoundedBalls`.
Sums = Literal["wide", "any", "own"]
#: Of a sum of numbers that are not negative little is known where its radius is more than a part so large of it.
HARDLY = 16

Numbers = NDArray[np.float64]


def _opposed(specials: int) -> int:
    """The specials of a sum: two infinities, of terms or of partial sums, make a NaN."""
    return specials | NAN if specials & POSITIVE and specials & NEGATIVE else specials


def _ruled(rule: Callable[..., Any]) -> Callable[..., Rounded]:
    """A rule as an operation of balls: its executor is the arithmetic."""
    return rule


def _function(name: str, moves: function_rules.Moves) -> Callable[..., Rounded]:
    return lambda self, x: function_rules.function(self, name, moves, x)


class RoundedBalls(BallPrimitives, HandWritten):
    """Arithmetic in `target` under the hypotheses of `profile`, on `Rounded` values.

    `sums` is of 16-bit formats (hypothesis 3): "wide" accumulates in float32 and rounds once, "any" maybe in the format
    itself, which covers both; "own" is that with a centre of its own where little is known of a sum, which is more than
    it would be around the exact value.
    """

    def __init__(self, target: Format, profile: Profile, sums: Sums = "any") -> None:
        super().__init__(target, profile)
        self.sums: Sums = sums
        self._constants: dict[float, Rounded] = {}

    # Values -----------------------------------------------------------------------------------------------------------

    def given(self, x: float) -> Rounded:
        """A number of the format, known exactly; of infinity and NaN no formula says anything."""
        if not math.isfinite(x):
            return Rounded(self, ZERO, ZERO, ANYTHING)
        return Rounded(self, arb(x))

    def reported(self, x: float) -> Rounded:
        """A number that a framework reported for a value it may have kept in higher precision (hypothesis 9)."""
        known = self.given(x)
        return known if known.specials else function_rules.reported(self, known)

    unrounded = _ruled(function_rules.unrounded)

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
            if not isinstance(x, NUMBER) or not self.format.holds(x):
                raise TypeError(f"{x!r} is not a number of {self.format.name}; give it as ops.constant(…)")
            self._constants[x] = self.given(float(x))
        return self._constants[x]

    # Roundings --------------------------------------------------------------------------------------------------------

    def _round(self, exact: arb, propagated: arb, specials: int = 0, error: arb | None = None) -> Rounded:
        """Widen by one rounding: by `error` where it is given, by u·sup|x| where it is not."""
        size = abs(exact)
        result: Rounded = rules.rounded(
            self, exact, size, propagated, self.unit * (size + propagated) if error is None else error
        )
        result.specials |= specials
        return result

    _operand = rules.operand

    # Operations -------------------------------------------------------------------------------------------------------

    negative, add, multiply = _ruled(rules.negative), _ruled(rules.add), _ruled(rules.multiply)
    divide, square, scale = _ruled(rules.divide), _ruled(rules.square), _ruled(rules.scale)

    recentred, bounded = _ruled(function_rules.recentred), _ruled(function_rules.bounded)
    sigmoid, derivative = _ruled(function_rules.sigmoid), _ruled(function_rules.derivative)

    def _set(self, whole: Rounded, spread: arb) -> Rounded:
        """The set of the results, each rounded, of a `whole` that counts the set's half width as an error."""
        return Rounded(self, whole.exact, positive(whole.radius - spread), whole.specials, spread)

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

    def own(self, primitives: Iterable[str]) -> arb:
        """K' of `derivative`."""
        factor = ZERO
        for name in primitives:
            bound, counted, _ = self.profile.bound(name, self.format)
            factor = larger(factor, arb(bound) * power_of_two(self.format.precision - counted.precision))
        return 4 + 2 * factor

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

    def from_0_to_1(self, exact: arb) -> Rounded:
        """A value of which no more is known than that a program, too, has it between 0 and 1."""
        return Rounded(self, exact, larger(abs(exact), abs(1 - exact)))

    exp = _function("exp", function_rules.exponential)
    expm1 = _function("expm1", function_rules.exponential_less_one)
    sin, cos = (_function(n, function_rules.as_far) for n in ("sin", "cos"))
    sinh = _function("sinh", function_rules.hyperbolic_sine)
    cosh = _function("cosh", function_rules.hyperbolic_cosine)
    tanh = _function("tanh", function_rules.hyperbolic_tangent)
    erf, erfc = (_function(n, function_rules.gaussian) for n in ("erf", "erfc"))
    sqrt, log, log1p = (_ruled(r) for r in (function_rules.sqrt, function_rules.log, function_rules.log1p))
    positive_part, absolute = _ruled(function_rules.positive_part), _ruled(function_rules.absolute)
    select, step = _ruled(function_rules.select), _ruled(function_rules.step)
    _elementary = _ruled(function_rules.within)

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

    def _either(self, chosen: Rounded, other: Rounded) -> Rounded:
        other = other.folded()
        radius = larger(chosen.radius, abs(other.exact - chosen.exact) + other.radius)
        return Rounded(self, chosen.exact, radius, chosen.specials | other.specials, chosen.spread)

    # Infinities -------------------------------------------------------------------------------------------------------

    def _with_specials(self, result: Rounded, operation: str, *operands: Rounded) -> Rounded:
        """Add what the operation gives where an operand is a special; a finite outcome widens the ball to hold it."""
        return (rules.met if len(operands) == 1 else rules.met_by_two)(self, operation, result, *operands)  # type: ignore[no-any-return]


__all__ = [
    "ANYTHING",
    "DOUBT",
    "NAN",
    "NEGATIVE",
    "OVERFLOWED",
    "POSITIVE",
    "ZERO",
    "Rounded",
    "RoundedBalls",
    "larger",
]
