"""Exact arithmetic: rigorous enclosures of real numbers, python-flint's `arb`, at the working precision of the context.

Balls carry their own + − × ÷ and powers; this module adds the named operations by their hand-written formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from flint import arb, ctx


@dataclass(frozen=True)
class Constant:
    """A real constant of a formula, for every arithmetic: `of(field)` builds it from a field's ratio, sqrt and pi."""

    text: str
    of: Callable[[Any], Any]


def ratio(numerator: int, denominator: int) -> Constant:
    """A rational constant, such as the 1/N of a mean."""
    return Constant(f"{numerator}/{denominator}", lambda field: field.ratio(numerator, denominator))


def decimal_constant(digits: str) -> Constant:
    """A constant that is defined by its decimal digits."""
    exact = Fraction(digits)
    return Constant(digits, lambda field: field.ratio(exact.numerator, exact.denominator))


class Field:
    """How to build a `Constant`: a ratio of integers, a square root and π."""

    def __init__(self, ratio: Callable[[int, int], Any], sqrt: Callable[[Any], Any], pi: Callable[[], Any]) -> None:
        self.ratio, self.sqrt, self.pi = ratio, sqrt, pi


BALLS = Field(lambda p, q: arb(p) / q, lambda x: arb(x).sqrt(), arb.pi)


class HandWritten:
    """The document's named operations, by formula, for every arithmetic that has `exp`."""

    def exp(self, x: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define exp")

    def sigmoid(self, x: Any) -> Any:
        """σ(x) = 1 / (1 + e^−x)."""
        return 1 / (1 + self.exp(-x))

    def descend(self, w: Any, eta: Any, gradient: Any) -> Any:
        """w − η·∂E/∂w."""
        return w - eta * gradient

    def normalised(self, e: Any) -> Any:
        """Each of a row's non-negative numbers over their sum."""
        return e / self.row_sum(e)  # type: ignore[attr-defined]

    def log_row_sum(self, e: Any) -> Any:
        """The logarithm of the sum of a row's non-negative numbers."""
        return self.log(self.row_sum(e))  # type: ignore[attr-defined]

    def over_row_sum(self, x: Any, e: Any) -> Any:
        """x over the sum of a row's non-negative numbers."""
        return x / self.row_sum(e)  # type: ignore[attr-defined]

    def derivative(self, z: Any, rule: Any) -> Any:
        """f'(z), by whatever program."""
        return rule.slope(self, z)

    def bounded(self, x: Any, low: Any, high: Any) -> Any:
        """x, which lies between low and high."""
        return x

    def unrounded(self, x: Any) -> Any:
        """What was rounded to x; in an arithmetic without roundings, x."""
        return x

    def product_in_the_dtype(self, a: Any, b: Any) -> Any:
        """The product of two matrices, each sum accumulated in the dtype; in an arithmetic without roundings, a·b."""
        return a @ b

    def gradual(self, formula: Any, *operands: Any) -> Any:
        """A formula of a program that keeps float16's subnormal numbers; elsewhere nothing else than the formula."""
        return formula(self, *operands)


class ExactBalls(HandWritten):
    """Operations on `arb`."""

    def exp(self, x: Any) -> Any:
        return x.exp()


EXACT = ExactBalls()


def precision(bits: int) -> Any:
    """A context in which balls are computed to `bits` bits; the process-wide precision is restored after it."""
    return ctx.workprec(bits)


@lru_cache(maxsize=4096)
def power_of_two(k: int) -> arb:
    """2^k, exactly."""
    return arb(2) ** k


def exponent(x: arb) -> int:
    """floor(log2 of the upper bound of x), for x > 0: where a ball straddles a power of two, the larger."""
    mantissa, power = x.upper().man_exp()
    return int(mantissa).bit_length() + int(power) - 1


def to_float(x: arb, digits: int = 6) -> float:
    """The midpoint of a ball to `digits` significant digits; balls outside float64's range saturate."""
    if not x.is_finite():
        return math.inf
    value = float(x.mid())
    return float(f"{value:.{digits}g}") if value else 0.0


def decimal(x: arb, digits: int = 25) -> str:
    """The midpoint of a ball as a decimal string of `digits` digits, correctly rounded to within one of the last."""
    middle = x.mid()
    if middle.is_zero():
        return "0"
    with precision(max(ctx.prec, 4 * digits + 64)):
        return str(middle.str(digits, radius=False))
