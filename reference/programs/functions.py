"""The table of scalar functions: value, partial derivatives, and how far an implementation may err.

One row serves the truth (value and partials over balls), the exact value of a program, its allowance (the partials over
the operands' balls, and K units in the last place), second derivatives (the partials of what the partials are made of)
and the proof by SymPy. K is OpenCL's (OpenCL C specification, numerical compliance, full profile) where that names the
function, else the largest error measured against this table, rounded up, and said to be that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from flint import acb, arb

OPENCL = "OpenCL C, numerical compliance"
EXACTLY = "IEEE 754-2019: correctly rounded"


@dataclass(frozen=True)
class Function:
    """A scalar function. `ball` is its value over balls, `partials(ops, *arguments, value)` its partial derivatives.

    `symbol(sympy, *arguments)` is the function for the proof. `ulps` is K, of float64 and float32, and `half` of
    float16; None where the arithmetic has a rule of its own for the operation.
    """

    name: str
    arguments: int
    ball: Callable[..., arb]
    partials: Callable[..., tuple[Any, ...]]
    symbol: Callable[..., Any]
    ulps: float | None
    source: str = OPENCL
    half: float = 2.0


class BallOperations:
    """The functions of the table on `arb`, for formulas that are written over any arithmetic."""

    def __getattr__(self, name: str) -> Callable[..., arb]:
        return FUNCTIONS[name].ball

    @staticmethod
    def pi() -> arb:
        return arb.pi()

    @staticmethod
    def ln2() -> arb:
        return arb.const_log2()

    @staticmethod
    def number(x: float) -> arb:
        return arb(x)


def _sigmoid(x: arb) -> arb:
    return 1 / (1 + (-x).exp())


def _power(x: arb, y: arb) -> arb:
    if y.is_exact() and y.is_integer() and abs(y) < 1 << 20:
        return x ** int(float(y))
    if x.is_zero() and y > 0:
        return arb(0)
    return x**y


def _power_partials(ops: Any, x: Any, y: Any, value: Any) -> tuple[Any, Any]:
    # By the exponent where the base is not positive there is a derivative only of constants, which do not ask for it.
    by_exponent = value * ops.log(x)
    return y * ops.power(x, y - ops.number(1.0)), by_exponent


def _cube_root(x: arb) -> arb:
    return x.root(3) if x > 0 else -((-x).root(3)) if x < 0 else arb(0) if x.is_zero() else arb.nan()


def _polygamma(order: arb, x: arb) -> arb:
    return acb(x).polygamma(acb(order)).real


def _sinc(x: arb) -> arb:
    """sin(πx)/(πx), 1 at 0, as NumPy, PyTorch and JAX have it."""
    return (arb.pi() * x).sinc()


def _sinc_slope(x: arb) -> arb:
    """(cos πx − sinc x)/x, by its series where that cancels or x may be 0: Σ (−1)^k π^2k·2k/(2k+1)!·x^(2k−1)."""
    if abs(x) > 0.5:
        return ((arb.pi() * x).cos() - _sinc(x)) / x
    square, term, total = (arb.pi() * x) ** 2, arb.pi() ** 2 * x, arb(0)
    k, factor = 1, arb(1) / 6
    while True:
        part = -term * factor * 2 * k if k % 2 else term * factor * 2 * k
        total += part
        bound = abs(part).upper()
        if not bound > 0 or bound < abs(total).upper() * arb(2) ** -4200 or k > 400:
            return total + arb(0, bound)  # the terms alternate and shrink: what is left is below the last
        term, factor, k = term * square, factor / ((2 * k + 2) * (2 * k + 3)), k + 1


def _f(
    name: str,
    arguments: int,
    ball: Callable[..., arb],
    partials: Callable[..., tuple[Any, ...]],
    symbol: Callable[..., Any],
    ulps: float | None,
    source: str = OPENCL,
    half: float = 2.0,
) -> Function:
    return Function(name, arguments, ball, partials, symbol, ulps, source, half)


_ALL = (
    # Arithmetic
    _f("negative", 1, lambda x: -x, lambda o, x, v: (o.number(-1.0),), lambda s, x: -x, None, EXACTLY),
    _f("add", 2, lambda x, y: x + y, lambda o, x, y, v: (o.number(1.0), o.number(1.0)), lambda s, x, y: x + y, None),
    _f("subtract", 2, lambda x, y: x - y, lambda o, x, y, v: (o.number(1.0), o.number(-1.0)), lambda s, x, y: x - y,
       None, EXACTLY),
    _f("multiply", 2, lambda x, y: x * y, lambda o, x, y, v: (y, x), lambda s, x, y: x * y, None, EXACTLY),
    _f("divide", 2, lambda x, y: x / y, lambda o, x, y, v: (1 / y, -v / y), lambda s, x, y: x / y, None, EXACTLY),
    _f("square", 1, lambda x: x * x, lambda o, x, v: (2 * x,), lambda s, x: x * x, None, EXACTLY),
    _f("reciprocal", 1, lambda x: 1 / x, lambda o, x, v: (-v * v,), lambda s, x: 1 / x, None, EXACTLY),
    _f("power", 2, _power, _power_partials, lambda s, x, y: x**y, 16.0),
    _f("round", 1, lambda x: x, lambda o, x, v: (o.number(1.0),), lambda s, x: x, None, EXACTLY),
    # Exponentials and logarithms
    _f("exp", 1, lambda x: x.exp(), lambda o, x, v: (v,), lambda s, x: s.exp(x), 3.0),
    _f("exp2", 1, lambda x: (x * arb.const_log2()).exp(), lambda o, x, v: (v * o.ln2(),), lambda s, x: 2**x, 3.0),
    _f("expm1", 1, lambda x: x.expm1(), lambda o, x, v: (o.exp(x),), lambda s, x: s.exp(x) - 1, 3.0),
    _f("log", 1, lambda x: x.log(), lambda o, x, v: (1 / x,), lambda s, x: s.log(x), 3.0),
    _f("log2", 1, lambda x: x.log() / arb.const_log2(), lambda o, x, v: (1 / (x * o.ln2()),),
       lambda s, x: s.log(x, 2), 3.0),
    _f("log10", 1, lambda x: x.log() / arb.const_log10(), lambda o, x, v: (1 / (x * o.log(o.number(10.0))),),
       lambda s, x: s.log(x, 10), 3.0),
    _f("log1p", 1, lambda x: x.log1p(), lambda o, x, v: (1 / (1 + x),), lambda s, x: s.log(1 + x), 2.0),
    _f("sigmoid", 1, _sigmoid, lambda o, x, v: (v * o.sigmoid(-x),), lambda s, x: 1 / (1 + s.exp(-x)), None),
    # Trigonometric and hyperbolic functions, and their inverses
    _f("sin", 1, lambda x: x.sin(), lambda o, x, v: (o.cos(x),), lambda s, x: s.sin(x), 4.0),
    _f("cos", 1, lambda x: x.cos(), lambda o, x, v: (-o.sin(x),), lambda s, x: s.cos(x), 4.0),
    _f("tan", 1, lambda x: x.tan(), lambda o, x, v: (1 + v * v,), lambda s, x: s.tan(x), 5.0),
    _f("asin", 1, lambda x: x.asin(), lambda o, x, v: (1 / o.sqrt((1 - x) * (1 + x)),), lambda s, x: s.asin(x), 4.0),
    _f("acos", 1, lambda x: x.acos(), lambda o, x, v: (-1 / o.sqrt((1 - x) * (1 + x)),), lambda s, x: s.acos(x), 4.0),
    _f("atan", 1, lambda x: x.atan(), lambda o, x, v: (1 / (1 + x * x),), lambda s, x: s.atan(x), 5.0),
    _f("atan2", 2, lambda y, x: arb.atan2(y, x), lambda o, y, x, v: (x / (x * x + y * y), -y / (x * x + y * y)),
       lambda s, y, x: s.atan(y / x), 6.0),
    _f("sinh", 1, lambda x: x.sinh(), lambda o, x, v: (o.cosh(x),), lambda s, x: s.sinh(x), 4.0),
    _f("cosh", 1, lambda x: x.cosh(), lambda o, x, v: (o.sinh(x),), lambda s, x: s.cosh(x), 4.0),
    _f("tanh", 1, lambda x: x.tanh(), lambda o, x, v: (1 / o.cosh(x) ** 2,), lambda s, x: s.tanh(x), 5.0),
    _f("asinh", 1, lambda x: x.asinh(), lambda o, x, v: (1 / o.sqrt(1 + x * x),), lambda s, x: s.asinh(x), 4.0),
    _f("acosh", 1, lambda x: x.acosh(), lambda o, x, v: (1 / o.sqrt((x - 1) * (x + 1)),), lambda s, x: s.acosh(x), 4.0),
    _f("atanh", 1, lambda x: x.atanh(), lambda o, x, v: (1 / ((1 - x) * (1 + x)),), lambda s, x: s.atanh(x), 5.0),
    # Roots
    _f("sqrt", 1, lambda x: x.sqrt(), lambda o, x, v: (1 / (2 * v),), lambda s, x: s.sqrt(x), 0.5, EXACTLY, 0.5),
    _f("rsqrt", 1, lambda x: x.rsqrt(), lambda o, x, v: (-v / (2 * x),), lambda s, x: 1 / s.sqrt(x), 2.0),
    _f("cbrt", 1, _cube_root, lambda o, x, v: (1 / (3 * v * v),), lambda s, x: s.cbrt(x), 2.0),
    _f("hypot", 2, lambda x, y: (x * x + y * y).sqrt(), lambda o, x, y, v: (x / v, y / v),
       lambda s, x, y: s.sqrt(x * x + y * y), 4.0),
    # Error functions
    _f("erf", 1, lambda x: x.erf(), lambda o, x, v: (2 / o.sqrt(o.pi()) * o.exp(-x * x),), lambda s, x: s.erf(x), 16.0,
       half=4.0),
    _f("erfc", 1, lambda x: x.erfc(), lambda o, x, v: (-2 / o.sqrt(o.pi()) * o.exp(-x * x),), lambda s, x: s.erfc(x),
       16.0, half=4.0),
    # The gamma function and its kin; K as measured, see `benchmarks/functions.py`
    _f("lgamma", 1, lambda x: x.lgamma(), lambda o, x, v: (o.digamma(x),), lambda s, x: s.loggamma(x), 64.0,
       "measured"),
    _f("digamma", 1, lambda x: x.digamma(), lambda o, x, v: (o.polygamma(o.number(1.0), x),),
       lambda s, x: s.digamma(x), 64.0, "measured"),
    _f("polygamma", 2, _polygamma, lambda o, n, x, v: (o.number(0.0), o.polygamma(n + 1, x)),
       lambda s, n, x: s.polygamma(n, x), 64.0, "measured"),
    _f("sinc", 1, _sinc, lambda o, x, v: (o.sinc_slope(x),), lambda s, x: s.sinc(s.pi * x), 16.0, "measured"),
    _f("sinc_slope", 1, _sinc_slope, lambda o, x, v: (-(o.pi() ** 2) * o.sinc(x) - 2 * v / x,),
       lambda s, x: (s.cos(s.pi * x) - s.sinc(s.pi * x)) / x, None, "a derivative of sinc"),
)  # fmt: skip

#: The functions by name.
FUNCTIONS: Mapping[str, Function] = MappingProxyType({f.name: f for f in _ALL})
BALL_OPERATIONS = BallOperations()


def is_integer(x: float) -> bool:
    """Whether an exponent is an integer for which a power is a product."""
    return math.isfinite(x) and float(x).is_integer()
