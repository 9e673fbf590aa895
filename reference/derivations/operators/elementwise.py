"""Elementwise operators: a row each of the table of functions, which has value, partial derivatives and source."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from gradconform.reference.derivations.operators.operator import Operand, Operator, of_row
from gradconform.reference.programs.functions import POSITIVE, REAL, Interval

Definition = Callable[..., Any]


def _one(name: str, definition: Definition, source: str, **data: Any) -> Operator:
    return Operator(name, "elementwise", definition, source, (Operand("x", draws="binades"),), **data)


def _two(
    name: str, definition: Definition, source: str, *, x: Interval = REAL, y: Interval = REAL, **data: Any
) -> Operator:
    operands = (Operand("x", x, draws="binades"), Operand("y", y, draws="binades"))
    return Operator(name, "elementwise", definition, source, operands, **data)


def _alone(*numbers: float) -> dict[str, Sequence[float]]:
    """Numbers each by itself: of an array a loop goes round for all until the last one ends, and may never end."""
    return {f"alone {x:g}": (x,) for x in numbers}


#: Where e^x overflows and its half does not, in float32 and in float64: so many that a vectorised kernel takes them.
_NEAR_OVERFLOW = {"near overflow": ([89.0, -89.0] * 32,), "near overflow of float64": ([710.0, -710.0] * 32,)}
_EQUALS = {"equal": ([1.0, -2.0, 0.0], [1.0, -2.0, 0.0])}

#: Functions of one number.
UNARY = (
    of_row("negative", "elementwise"),
    of_row("square", "elementwise"),
    of_row("reciprocal", "elementwise", singularities=(0.0,)),
    of_row("sign", "elementwise", singularities=(0.0,)),
    of_row("sqrt", "elementwise"),
    of_row("rsqrt", "elementwise"),
    of_row("cbrt", "elementwise", singularities=(0.0,)),
    of_row("exp", "elementwise"),
    of_row("exp2", "elementwise"),
    of_row("expm1", "elementwise"),
    of_row("log", "elementwise"),
    of_row("log2", "elementwise"),
    of_row("log10", "elementwise"),
    of_row("log1p", "elementwise"),
    of_row("sin", "elementwise"),
    of_row("cos", "elementwise"),
    of_row("tan", "elementwise"),
    of_row("asin", "elementwise"),
    of_row("acos", "elementwise"),
    of_row("atan", "elementwise"),
    of_row("sinc", "elementwise"),
    of_row("sinh", "elementwise", edges=_NEAR_OVERFLOW),
    of_row("cosh", "elementwise", edges=_NEAR_OVERFLOW),
    of_row("tanh", "elementwise"),
    of_row("asinh", "elementwise"),
    of_row("acosh", "elementwise"),
    of_row("atanh", "elementwise"),
    of_row("logit", "elementwise"),
    of_row("erf", "special"),
    of_row("erfc", "special"),
    of_row("erfcx", "special"),
    of_row("erfinv", "special"),
    of_row("ndtr", "special"),
    of_row("log_ndtr", "special"),
    of_row("ndtri", "special"),
    of_row("entr", "special"),
    of_row("dawsn", "special"),
    of_row("gamma", "special", singularities=(0.0, -1.0, -2.0)),
    of_row("lgamma", "special", singularities=(0.0, -1.0, -2.0)),
    of_row("digamma", "special", singularities=(0.0, -1.0, -2.0)),
    of_row("i0", "special"),
    of_row("i0e", "special", kinks=(0.0,)),
    of_row("i1", "special"),
    of_row("i1e", "special", kinks=(0.0,)),
    of_row("j0", "special"),
    of_row("j1", "special"),
    of_row("y0", "special"),
    of_row("y1", "special"),
    of_row("k0", "special"),
    of_row("k1", "special"),
    of_row("k0e", "special"),
    of_row("k1e", "special"),
    of_row("airy_ai", "special"),
    of_row("spherical_bessel_j0", "special"),
    of_row("expi", "special", singularities=(0.0,), edges=_alone(-3.5, -1.25, -(2.0**-12), 2.0**-12, 4.5, 60.0)),
    of_row("exp1", "special", edges=_alone(2.0**-12, 1 / 16, 1.25, 9.0, 60.0)),
    _one("absolute", lambda o, x: abs(x), "|x|", kinks=(0.0,)),
    _one("deg2rad", lambda o, x: x * o.pi() / 180.0, "x·π/180"),
    _one("rad2deg", lambda o, x: x * 180.0 / o.pi(), "x·180/π"),
)

#: Functions of two or three numbers.
BINARY = (
    of_row("add", "elementwise"),
    of_row("subtract", "elementwise"),
    of_row("multiply", "elementwise", edges={"zero and large": ([0.0, 1.0], [1e4, 0.0])}),
    of_row("divide", "elementwise", edges={"by zero": ([1.0, 0.0], [0.0, 0.0])}),
    of_row("power", "elementwise", edges={
        "zero": ([0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 2.0, 0.5]), "negative base": ([-2.0, -2.0, -0.5], [2.0, 3.0, -1.0]),
        "one": ([1.0, 1.0], [0.0, 5.0])}),
    of_row("hypot", "elementwise", edges={"zero": ([0.0, 3.0], [0.0, 0.0]), "large": ([3e4, 1e-4], [4e4, 1e-5])}),
    of_row("atan2", "elementwise", edges={"zero": ([0.0, 0.0, 1.0], [1.0, -1.0, 0.0])}),
    of_row("logaddexp", "elementwise", edges=_EQUALS),
    of_row("logaddexp2", "elementwise", edges=_EQUALS),
    of_row("xlogy", "special", edges={"zero": ([0.0, 0.0, 2.0], [0.0, 1.0, 0.5])}),
    of_row("xlog1py", "special", edges={"zero": ([0.0, 0.0, 2.0], [-1.0, 1.0, 0.5])}),
    Operator("fmod", "elementwise", lambda o, x, y: o.fmod(x, y), "x − y·trunc(x/y)", (Operand("x"), Operand("y"))),
    Operator("remainder", "elementwise", lambda o, x, y: o.remainder(x, y), "x − y·floor(x/y)",
             (Operand("x"), Operand("y"))),
    of_row("gammainc", "special"),
    of_row("gammaincc", "special"),
    of_row("beta", "special"),
    of_row("betaln", "special"),
    of_row("betainc", "special"),
    _two("maximum", lambda o, x, y: o.maximum(x, y), "max(x, y)", edges=_EQUALS),
    _two("minimum", lambda o, x, y: o.minimum(x, y), "min(x, y)", edges=_EQUALS),
    _two("fmax", lambda o, x, y: o.maximum(x, y), "max(x, y)", edges=_EQUALS),
    _two("fmin", lambda o, x, y: o.minimum(x, y), "min(x, y)", edges=_EQUALS),
    _two("copysign", lambda o, x, y: o.where(y.held >= 0, abs(x), -abs(x)), "|x| with the sign of y"),
    _two("ldexp", lambda o, x, y: x * o.exp2(y), "x·2^y"),
    _two("float_power", lambda o, x, y: o.power(x, y), "x^y", x=POSITIVE, dtypes=("float64",)),
    Operator("lerp", "elementwise", lambda o, x, y, z: x + z * (y - x), "x + z·(y − x)",
             tuple(Operand(n) for n in "xyz")),
    Operator("addcmul", "elementwise", lambda o, x, y, z, value: x + value * y * z, "x + value·y·z",
             tuple(Operand(n) for n in "xyz"), parameters=({"value": 0.5},)),
    Operator("addcdiv", "elementwise", lambda o, x, y, z, value: x + value * y / z, "x + value·y/z",
             (Operand("x"), Operand("y"), Operand("z", draws="positive")), parameters=({"value": 0.5},)),
    Operator("where", "elementwise", lambda o, c, x, y: o.where(c, x, y), "x where c, else y",
             (Operand("c", kind="mask"), Operand("x"), Operand("y"))),
    Operator("safe_sqrt", "elementwise", lambda o, x: o.where(x > 0.0, o.sqrt(o.where(x > 0.0, x, 1.0)), 0.0),
             "√x where x > 0, else 0, as it is written to keep √ from its pole", (Operand("x", draws="binades"),),
             singularities=(0.0,)),
    Operator("clamp", "elementwise", lambda o, x, low, high: o.clamp(x, low, high), "min(max(x, low), high)",
             (Operand("x", draws="binades"),), parameters=({"low": -1.0, "high": 0.5},), kinks=(-1.0, 0.5),
             edges={"at the bounds": ([-1.0, 0.5, 0.0],)}),
    Operator("nan_to_num", "elementwise", lambda o, x: x, "x, of finite numbers", (Operand("x", draws="binades"),)),
    Operator("polygamma", "special", lambda o, x, n: o.map("polygamma", float(n), x), "ψ⁽ⁿ⁾(x), DLMF 5.15",
             (Operand("x", POSITIVE, draws="binades"),), parameters=({"n": 1}, {"n": 2})),
    Operator("multigammaln", "special", lambda o, x, p: sum(
                 (o.lgamma(x - 0.5 * j) for j in range(p)), 0.25 * p * (p - 1) * o.log(o.pi())),
             "log Γ_p(x), DLMF 35.3.4", (Operand("x", (2.0, math.inf)),), parameters=({"p": 3},)),
    Operator("zeta", "special", lambda o, x, q: o.map("zeta", x, q), "ζ(x, q), DLMF 25.11",
             (Operand("x", (1.5, 8.0)), Operand("q", (0.5, 8.0)))),
)  # fmt: skip

OPERATORS = (*UNARY, *BINARY)
