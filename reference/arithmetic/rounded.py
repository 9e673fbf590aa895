"""Rounded balls: what a rounded program may hold where the formula holds `exact`.

A `Rounded` value says: the formula's exact value is `exact` (itself a rigorous enclosure); a program that evaluates the
same formula in the dtype, under the numbered hypotheses of the claim, holds a number within `radius` of it, or else one
of the `specials` (±inf after an overflow, NaN after an operation on one). At a kink the derivative is a set
(hypothesis 8): `exact` is then its centre and `spread` half its width. How every operation widens the radius is said in
`rules`, which this arithmetic executes number by number.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from flint import arb, arb_mat
from numpy.typing import NDArray

from gradconform.reference.arithmetic import function_rules, rules, sum_rules
from gradconform.reference.arithmetic.ball_values import (
    NUMBER,
    ZERO,
    BallPrimitives,
    Rounded,
    larger,
    positive,
)
from gradconform.reference.arithmetic.exact import BALLS, Constant, HandWritten, power_of_two
from gradconform.reference.arithmetic.formats import Format
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.arithmetic.specials import ANYTHING, DOUBT, NAN, NEGATIVE, OVERFLOWED, POSITIVE
from gradconform.reference.equations import Slope

#: How a 16-bit sum may be accumulated; see `RoundedBalls`.
Sums = Literal["wide", "any", "own"]
Numbers = NDArray[np.float64]


#: Numbers from which on their sum is taken of few that have the same.
MANY = 256


def _sum_of_numbers(numbers: Numbers) -> arb:
    """Σx of ordinary float64 numbers: `fsum` rounds it once, and hi + lo is it to 106 bits and to 2^−53 of lo."""
    terms = _of_the_same_sum(numbers) if numbers.size >= MANY else numbers.tolist()
    high = math.fsum(terms)
    low = math.fsum([*terms, -high])
    return arb(high) + arb(low, abs(low) * 2.0**-52)


def _of_the_same_sum(numbers: Numbers) -> list[float]:
    """A few float64 numbers with exactly the sum of many, each the exact sum of what all of them have in some digits.

    Adding and taking away σ leaves of n ≤ 2^M numbers of at most 2^−M·σ multiples of 2^−53·σ, the sums of which are
    float64 numbers in any order, and a rest of at most 2^−53·σ (S. M. Rump, T. Ogita, S. Oishi, "Accurate
    floating-point summation part I: faithful rounding", SIAM J. Sci. Comput. 31 (2008), ExtractVector).
    """
    found: list[float] = []
    digits = numbers.size.bit_length()
    rest = numbers
    while (largest := float(np.abs(rest).max())) > 0:
        sigma = math.ldexp(1.0, math.frexp(largest)[1] + digits)
        part = (rest + sigma) - sigma
        found.append(float(part.sum()))
        rest = rest - part
    return found


def _no_ends(error: arb) -> tuple[arb, arb]:
    raise AssertionError("no sum overflows here")


def _union(terms: Iterable[Rounded]) -> int:
    """All that some values may be besides numbers."""
    found = 0
    for t in terms:
        found |= t.specials
    return found


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

    @cached_property
    def whole(self) -> RoundedBalls:
        """The same without paths: what a function of its own is computed in."""
        return RoundedBalls(self.format, self.profile)

    # Values -----------------------------------------------------------------------------------------------------------

    def given(self, x: float) -> Rounded:
        """A number of the format, known exactly; of infinity and NaN no formula says anything."""
        if not math.isfinite(x):
            return Rounded(self, ZERO, ZERO, ANYTHING)
        return Rounded(self, arb(x))

    def reported(self, x: float) -> Rounded:
        """A number that a framework reported for a value it may have kept in higher precision (hypothesis 9)."""
        if not math.isfinite(x):
            return self.given(x)
        return function_rules.reported(self, self.given(x))  # type: ignore[no-any-return]

    unrounded = _ruled(function_rules.unrounded)

    def gradual(self, formula: Callable[..., Rounded], *operands: Rounded) -> Rounded:
        """A formula of a program that keeps float16's subnormal numbers (hypothesis 5 allows what keeps nothing)."""
        if not (self.flush and self.format.name == "float16"):
            return formula(self, *operands)
        kept = self.keeping_subnormals(self._unflushed)
        result = formula(kept, *[x.under(kept) for x in operands])
        return result.under(self)

    @cached_property
    def _unflushed(self) -> RoundedBalls:
        return RoundedBalls(self.format, replace(self.profile, flush=False), self.sums)

    def keeping_subnormals(self, balls: RoundedBalls) -> RoundedBalls:
        """What computes by these balls, which flush nothing: they themselves, or an arithmetic of this one's kind."""
        return balls

    def epsilon(self) -> Rounded:
        """The distance from 1 to the next number of the format, 2^(1 − p)."""
        return Rounded(self, 2 * self.unit)

    def constant(self, x: arb) -> Rounded:
        """A constant that the format does not hold: an operand of radius u|c| (hypothesis 1)."""
        return self.rounded(x, ZERO)

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

    def rounded(self, exact: arb, propagated: arb, error: arb | None = None) -> Rounded:
        """Widen by one rounding: by `error` where it is given, by u·sup|x| where it is not."""
        size = abs(exact)
        return rules.rounded(  # type: ignore[no-any-return]
            self, exact, size, propagated, self.unit * (size + propagated) if error is None else error
        )

    radius_of = rules.operand

    # Operations -------------------------------------------------------------------------------------------------------

    negative, add, multiply = _ruled(rules.negative), _ruled(rules.add), _ruled(rules.multiply)
    divide, square, scale = _ruled(rules.divide), _ruled(rules.square), _ruled(rules.scale)

    recentred, bounded = _ruled(function_rules.recentred), _ruled(function_rules.bounded)
    sigmoid, derivative = _ruled(function_rules.sigmoid), _ruled(function_rules.derivative)

    def inner_product(self, coefficients: Sequence[float], terms: Sequence[Rounded]) -> Rounded:
        """Σ c·x of k terms, summed in any order: errs by at most k·u·Σ|c·x| (Higham §3.1; hypothesis 2)."""
        exact, propagated, magnitude = ZERO, ZERO, ZERO
        terms = [t.folded() for t in terms]
        for coefficient, term in zip(coefficients, terms, strict=True):
            c, radius = abs(arb(coefficient)), self.radius_of(term)
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

    def total_of_numbers(self, numbers: Numbers) -> Rounded:
        """`total_of` float64 numbers known exactly; where they are ordinary, at the speed of a sum."""
        sizes = np.abs(numbers)
        largest, least = float(sizes.max(initial=0.0)), float(sizes.min(initial=1.0, where=sizes > 0))
        # No term is flushed, so that none moves, and no sum of them overflows; of a NaN the comparisons are false.
        ordinary = largest * sizes.size < self._half_overflow and least >= self._least_normal
        if not ordinary or self.format.precision > 24:
            return self.total_of([self.given(x) for x in numbers.tolist()])
        count = max(int(np.count_nonzero(numbers)) - 1, 0)
        exact, size = _sum_of_numbers(numbers), _sum_of_numbers(sizes)
        return sum_rules.total(self, exact, ZERO, size, count, 0, _no_ends)  # type: ignore[no-any-return]

    @cached_property
    def _least_normal(self) -> float:
        return float(self.smallest_normal)

    @cached_property
    def _half_overflow(self) -> float:
        return float(self.overflow) / 2

    def total_of(self, terms: Sequence[Rounded]) -> Rounded:
        """Σ x, in any order; see `sum_rules.total`."""
        if any(not t.spread.is_zero() for t in terms):
            width = sum((t.spread for t in terms), ZERO)
            return rules.as_set(self, self.total_of([t.folded() for t in terms]), width)  # type: ignore[no-any-return]
        radii = [rules.operand(self, t) for t in terms]
        moved = sum(radii, ZERO)
        magnitude = sum((abs(t.exact) for t in terms), ZERO) + moved

        def ends(error: arb) -> tuple[arb, arb]:
            above = sum((positive(t.exact + r) for t, r in zip(terms, radii, strict=True)), ZERO)
            below = sum((positive(r - t.exact) for t, r in zip(terms, radii, strict=True)), ZERO)
            return above + error, below + error

        count = max(sum(not t.is_zero() for t in terms) - 1, 0)
        exact = sum((t.exact for t in terms), ZERO)
        return sum_rules.total(self, exact, moved, magnitude, count, _union(terms), ends)  # type: ignore[no-any-return]

    def least_of(self, terms: Sequence[Rounded]) -> arb:
        """What a sum of numbers that are not negative certainly reaches: see `sum_rules.reached`."""
        least = ZERO
        for t in terms:
            least = larger(least, sum_rules.reached(self, t))
        return least

    log_of_total, over_total = _ruled(sum_rules.log_of_total), _ruled(sum_rules.over_total)
    part_of = _ruled(sum_rules.part_of)

    def dot(
        self, a: Sequence[Rounded], b: Sequence[Rounded], bias: Rounded | None = None, own: bool = False
    ) -> Rounded:
        """Σ a·b (+ bias) of k terms in any order: errs by at most k·u·Σ|a·b| (hypothesis 2).

        In a 16-bit format the terms are accumulated in float32 or wider and rounded once (hypothesis 3); `own`
        accumulates them in the format itself.
        """
        if bias is not None:
            a, b = [*a, bias], [*b, self.coerce(1.0)]
        width = sum((x.spread * abs(y.exact) + abs(x.exact) * y.spread for x, y in zip(a, b, strict=True)), ZERO)
        if not width.is_zero():
            whole = self.dot([x.folded() for x in a], [y.folded() for y in b], None, own)
            return rules.as_set(self, whole, width)  # type: ignore[no-any-return]
        exact, moved, magnitude = ZERO, ZERO, ZERO
        for x, y in zip(a, b, strict=True):
            off, size = sum_rules.of_products(self, operator.mul, x, y)
            exact, moved, magnitude = exact + x.exact * y.exact, moved + off, magnitude + size
        return self._dot(exact, moved, magnitude, len(a), _union([*a, *b]), own)

    def _dot(self, exact: arb, moved: arb, magnitude: arb, terms: int, bits: int = 0, own: bool = False) -> Rounded:
        error = sum_rules.product_error(self, magnitude, terms, own)
        return sum_rules.inner_product(self, exact, moved, magnitude, error, bits, own)  # type: ignore[no-any-return]

    def dot_of_numbers(self, a: Numbers, b: Numbers, bias: float | None = None) -> Rounded:
        """`dot` of float64 numbers known exactly, at the speed of a matrix product."""
        if bias is not None:
            a, b = np.append(a, bias), np.append(b, 1.0)
        sizes = np.abs(np.concatenate([a, b]))
        largest, least = float(sizes.max(initial=0.0)), float(sizes.min(initial=1.0))
        if least == 0:
            least = float(sizes.min(initial=1.0, where=sizes > 0))
        # Of a NaN both comparisons are false.
        if not (largest < math.inf and least >= self._least_normal):
            return self.dot([self.given(x) for x in a.tolist()], [self.given(x) for x in b.tolist()], None)
        if self.format.precision <= 24 and largest < 2.0**127:
            # Products of two such numbers are float64 numbers.
            products = a * b
            # NumPy's sum of k numbers errs by k·2^−53 at most (Higham §4.2: in any order).
            size = float(np.abs(products).sum())
            return self._dot(_sum_of_numbers(products), ZERO, arb(size, size * len(a) * 2.0**-52), len(a))
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
    elementary = _ruled(function_rules.within)

    def maximum(self, a: Rounded, b: Rounded) -> Rounded:
        """max(a, b), which moves no further than the operand that moves further; where one is −∞ it is the other."""
        a, b = a.folded(), b.folded()
        exact = a.exact if a.exact > b.exact else b.exact if b.exact > a.exact else a.exact.max(b.exact)
        result = self.rounded(exact, larger(self.radius_of(a), self.radius_of(b)), error=ZERO)
        if not a.specials | b.specials:
            return result
        found, radius = self._with_specials(result, "maximum", a, b), result.radius
        if found.specials & ANYTHING:
            return found
        for infinite, other in ((a, b), (b, a)):
            if infinite.specials & NEGATIVE:
                radius = larger(radius, abs(other.exact - exact) + self.radius_of(other))
        return Rounded(self, exact, radius, found.specials)

    def either(self, chosen: Rounded, other: Rounded) -> Rounded:
        """A ball from the lower end of one to the upper end of the other: of slopes at a tie no more than their set."""
        both = chosen.folded(), other.folded()
        high = larger(*(x.exact + x.radius for x in both)).upper()
        low = -larger(*(x.radius - x.exact for x in both)).upper()
        middle = ((high + low) / 2).mid()
        # A hair more than the set, whose ends are inside whatever digits of the radius are lost on the way.
        radius = (larger(high - middle, middle - low) * (1 + power_of_two(-64))).upper()
        return Rounded(self, middle, radius, chosen.specials | other.specials)

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


class Remembering(RoundedBalls):
    """Rounded balls, of one precision, that remember what a function gave of a value.

    The forms of a derivation ask for the same σ(x) or σ'(x) many times. A value is known again by its identity.
    """

    def __init__(self, target: Format, profile: Profile, sums: Sums = "any") -> None:
        super().__init__(target, profile, sums)
        #: With the operands, so that no others can have their identities.
        self._found: dict[tuple[object, ...], tuple[Rounded, tuple[object, ...]]] = {}

    def negative(self, x: Rounded) -> Rounded:
        return self._once(RoundedBalls.negative, x)

    def exp(self, x: Rounded) -> Rounded:
        return self._once(RoundedBalls.exp, x)

    def sigmoid(self, x: Rounded) -> Rounded:
        return self._once(RoundedBalls.sigmoid, x)

    def derivative(self, z: Rounded, rule: Slope) -> Rounded:
        return self._once(RoundedBalls.derivative, z, rule)

    def _once(self, operation: Callable[..., Rounded], *operands: object) -> Rounded:
        key = (operation, *map(id, operands))
        if key not in self._found:
            self._found[key] = operation(self, *operands), operands
        return self._found[key][0]
