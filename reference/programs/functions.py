"""The table of scalar functions: value, partial derivatives, and how far an implementation may err.

One row serves the truth (value and partials over balls), the exact value of a program, its allowance (the partials over
the operands' balls, and K units in the last place), second derivatives (the partials of what the partials are made of)
and the proof by SymPy. K is OpenCL's (OpenCL C specification, numerical compliance, full profile) where that names the
function, else what JAX documents, else what was measured of PyTorch, JAX and SciPy by the rule that
`benchmarks/functions.py` states (docs/functions has the errors, versions and how many points); never the error of one
that loses digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from flint import arb

from gradconform.reference.programs import special

OPENCL = "OpenCL C, numerical compliance"
EXACTLY = "IEEE 754-2019: correctly rounded"
JAX = "JAX documentation, numerical accuracy"
MEASURED = "measured: benchmarks/functions.py"
MKL = "Intel oneMKL, vector mathematics, accuracy HA"
CLOG = "glibc manual, known maximum errors: clog, 3 ulp"
NEIGHBOUR = "only part of a derivative; as its neighbours of order 0 and 1"
DERIVATIVE = "only part of a derivative"

#: What is a function's domain in one argument: from where to where.
Interval = tuple[float, float]
REAL, POSITIVE, UNIT, ONE_WAY = (-math.inf, math.inf), (0.0, math.inf), (0.0, 1.0), (-1.0, 1.0)


@dataclass(frozen=True)
class Function:
    """A scalar function. `ball` is its value over balls, `partials(ops, *arguments, value)` its partial derivatives.

    Partials are written over any arithmetic: by operators, by powers that are Python integers, and by the table's own
    functions, which `ops` has by name beside `number`, `pi` and `ln2`. `symbol(sympy, *arguments)` is the function for
    the proof. The first `orders` arguments are whole numbers, by which there is no derivative: that partial is nan. So
    is one that is not known. `ulps` is K, of float64 and float32, and `half` of float16; None where the arithmetic has
    a rule of its own for the operation, and of functions that only derivatives are made of.
    """

    name: str
    arguments: int
    ball: Callable[..., arb]
    partials: Callable[..., tuple[Any, ...]]
    symbol: Callable[..., Any]
    ulps: float | None
    source: str
    half: float
    domain: tuple[Interval, ...]
    orders: int


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


def _none(o: Any) -> Any:
    """The partial where there is no derivative, or none is known."""
    return o.number(math.nan)


def _density(o: Any, x: Any) -> Any:
    """The normal distribution's."""
    return o.exp(-x * x / 2) / o.sqrt(2 * o.pi())


def _gamma_density(o: Any, a: Any, x: Any) -> Any:
    return o.power(x, a - o.number(1.0)) * o.exp(-x) / o.gamma(a)


def _sinc_derivative(s: Any, n: Any, x: Any) -> Any:
    t = s.Dummy()
    return s.diff(s.sin(s.pi * t) / (s.pi * t), t, n).subs(t, x)


def _f(
    name: str,
    ball: Callable[..., arb],
    partials: Callable[..., tuple[Any, ...]],
    symbol: Callable[..., Any],
    ulps: float | None,
    source: str = OPENCL,
    half: float = 2.0,
    domain: tuple[Interval, ...] = (REAL,),
    orders: int = 0,
) -> Function:
    return Function(name, len(domain), ball, partials, symbol, ulps, source, half, domain, orders)


_TWO = (REAL, REAL)
#: Of orders: those that the benchmark and the proof try.
_ORDERS = (0.0, 3.0)

_ARITHMETIC = (
    _f("negative", lambda x: -x, lambda o, x, v: (o.number(-1.0),), lambda s, x: -x, None, EXACTLY),
    _f("add", lambda x, y: x + y, lambda o, x, y, v: (o.number(1.0), o.number(1.0)), lambda s, x, y: x + y, None,
       EXACTLY, domain=_TWO),
    _f("subtract", lambda x, y: x - y, lambda o, x, y, v: (o.number(1.0), o.number(-1.0)), lambda s, x, y: x - y,
       None, EXACTLY, domain=_TWO),
    _f("multiply", lambda x, y: x * y, lambda o, x, y, v: (y, x), lambda s, x, y: x * y, None, EXACTLY, domain=_TWO),
    _f("divide", lambda x, y: x / y, lambda o, x, y, v: (1 / y, -v / y), lambda s, x, y: x / y, None, EXACTLY,
       domain=_TWO),
    _f("square", lambda x: x * x, lambda o, x, v: (2 * x,), lambda s, x: x * x, None, EXACTLY),
    _f("reciprocal", lambda x: 1 / x, lambda o, x, v: (-v * v,), lambda s, x: 1 / x, None, EXACTLY),
    _f("round", lambda x: x, lambda o, x, v: (o.number(1.0),), lambda s, x: x, None, EXACTLY),
    # What a kernel with a known bound gives: x, off by at most |y|.
    _f("within", lambda x, y: x, lambda o, x, y, v: (o.number(1.0), o.number(0.0)), lambda s, x, y: x, None, EXACTLY,
       domain=_TWO),
    _f("sign", special.sign, lambda o, x, v: (o.number(0.0),), lambda s, x: s.sign(x), 0.0, half=0.0),
    # (v − x)/y is −trunc(x/y), or −floor(x/y).
    _f("fmod", special.fmod, lambda o, x, y, v: (o.number(1.0), (v - x) / y),
       lambda s, x, y: x - y * s.sign(x / y) * s.floor(abs(x / y)), 0.0, half=0.0, domain=_TWO),
    _f("remainder", special.remainder, lambda o, x, y, v: (o.number(1.0), (v - x) / y),
       lambda s, x, y: x - y * s.floor(x / y), 1.0, "fmod (0 ulp), and one addition", 1.0, _TWO),
    # Either of them where n is data: the whole part that a run took of x/y.
    _f("residue", lambda n, x, y: x - n * y, lambda o, n, x, y, v: (_none(o), o.number(1.0), -n),
       lambda s, n, x, y: x - n * y, 0.0, half=0.0, domain=(_ORDERS, *_TWO), orders=1),
)  # fmt: skip

_POWERS = (
    _f("power", special.power, lambda o, x, y, v: (
        o.power_derivative(o.number(1.0), o.number(0.0), x, y), o.power_derivative(o.number(0.0), o.number(1.0), x, y)),
       lambda s, x, y: x**y, 16.0, half=4.0, domain=(POSITIVE, REAL)),
    _f("power_derivative", special.power_derivative, lambda o, k, n, x, y, v: (
        _none(o), _none(o), o.power_derivative(k + 1, n, x, y), o.power_derivative(k, n + 1, x, y)),
       lambda s, k, n, x, y: s.diff(s.diff(x**y, x, k), y, n), None, DERIVATIVE,
       domain=(_ORDERS, _ORDERS, POSITIVE, REAL), orders=2),
    _f("sqrt", lambda x: x.sqrt(), lambda o, x, v: (1 / (2 * v),), lambda s, x: s.sqrt(x), 1.0, MKL, 0.5,
       (POSITIVE,)),
    _f("rsqrt", lambda x: x.rsqrt(), lambda o, x, v: (-v / (2 * x),), lambda s, x: 1 / s.sqrt(x), 2.0, half=1.0,
       domain=(POSITIVE,)),
    _f("cbrt", special.cube_root, lambda o, x, v: (1 / (3 * v * v),), lambda s, x: s.sign(x) * s.cbrt(s.Abs(x)), 2.0),
    _f("hypot", lambda x, y: (x * x + y * y).sqrt(), lambda o, x, y, v: (x / v, y / v),
       lambda s, x, y: s.sqrt(x * x + y * y), 4.0, domain=_TWO),
)  # fmt: skip

_EXPONENTIALS = (
    _f("exp", lambda x: x.exp(), lambda o, x, v: (v,), lambda s, x: s.exp(x), 3.0),
    _f("exp2", lambda x: arb(2) ** x, lambda o, x, v: (v * o.ln2(),), lambda s, x: 2**x, 3.0),
    _f("exp10", special.exp10, lambda o, x, v: (v * o.log(o.number(10.0)),), lambda s, x: 10**x, 3.0),
    _f("expm1", lambda x: x.expm1(), lambda o, x, v: (o.exp(x),), lambda s, x: s.exp(x) - 1, 3.0),
    _f("log", special.logarithm, lambda o, x, v: (1 / x,), lambda s, x: s.log(x), 3.0, domain=(POSITIVE,)),
    # Of the modulus of a complex number.
    _f("log_hypot", special.log_hypot, lambda o, x, y, v: (x / (x * x + y * y), y / (x * x + y * y)),
       lambda s, x, y: s.log(x * x + y * y) / 2, 4.0, CLOG, domain=_TWO),
    _f("log2", lambda x: special.logarithm(x) / arb.const_log2(), lambda o, x, v: (1 / (x * o.ln2()),),
       lambda s, x: s.log(x, 2), 3.0, domain=(POSITIVE,)),
    _f("log10", lambda x: special.logarithm(x) / arb.const_log10(), lambda o, x, v: (1 / (x * o.log(o.number(10.0))),),
       lambda s, x: s.log(x, 10), 3.0, domain=(POSITIVE,)),
    _f("log1p", special.log1p, lambda o, x, v: (1 / (1 + x),), lambda s, x: s.log(1 + x), 2.0,
       domain=((-1.0, math.inf),)),
    _f("sigmoid", special.sigmoid, lambda o, x, v: (v * o.sigmoid(-x),), lambda s, x: 1 / (1 + s.exp(-x)), None),
    _f("log_sigmoid", special.log_sigmoid, lambda o, x, v: (o.sigmoid(-x),), lambda s, x: -s.log(1 + s.exp(-x)), 5.0,
       MEASURED, 3.0),
    _f("softplus", special.softplus, lambda o, x, v: (o.sigmoid(x),), lambda s, x: s.log(1 + s.exp(x)), 4.0,
       MEASURED, 3.0),
    _f("logit", special.logit, lambda o, x, v: (1 / (x * (1 - x)),), lambda s, x: s.log(x / (1 - x)), 5.0,
       MEASURED, 8.0, domain=(UNIT,)),
    _f("logaddexp", special.logaddexp, lambda o, x, y, v: (o.sigmoid(x - y), o.sigmoid(y - x)),
       lambda s, x, y: s.log(s.exp(x) + s.exp(y)), 12.0, MEASURED, 6.0, domain=_TWO),
    _f("logaddexp2", special.logaddexp2, lambda o, x, y, v: (
        o.sigmoid((x - y) * o.ln2()), o.sigmoid((y - x) * o.ln2())),
       lambda s, x, y: s.log(2**x + 2**y, 2), 14.0, MEASURED, domain=_TWO),
    _f("xlogy", special.xlogy, lambda o, x, y, v: (o.log(y), x / y), lambda s, x, y: x * s.log(y), 4.0,
       "log (3 ulp), and one product", domain=(REAL, POSITIVE)),
    _f("xlog1py", special.xlog1py, lambda o, x, y, v: (o.log1p(y), x / (1 + y)), lambda s, x, y: x * s.log(1 + y), 4.0,
       "log1p (2 ulp), and one product", domain=(REAL, (-1.0, math.inf))),
    _f("entr", special.entr, lambda o, x, v: (-(o.log(x) + 1),), lambda s, x: -x * s.log(x), 4.0,
       "log (3 ulp), and one product", domain=(POSITIVE,)),
)  # fmt: skip

_CIRCULAR = (
    _f("sin", lambda x: x.sin(), lambda o, x, v: (o.cos(x),), lambda s, x: s.sin(x), 4.0),
    _f("cos", lambda x: x.cos(), lambda o, x, v: (-o.sin(x),), lambda s, x: s.cos(x), 4.0),
    _f("tan", lambda x: x.tan(), lambda o, x, v: (1 + v * v,), lambda s, x: s.tan(x), 5.0),
    _f("asin", lambda x: x.asin(), lambda o, x, v: (1 / o.sqrt((1 - x) * (1 + x)),), lambda s, x: s.asin(x), 4.0,
       domain=(ONE_WAY,)),
    _f("acos", lambda x: x.acos(), lambda o, x, v: (-1 / o.sqrt((1 - x) * (1 + x)),), lambda s, x: s.acos(x), 4.0,
       domain=(ONE_WAY,)),
    _f("atan", lambda x: x.atan(), lambda o, x, v: (1 / (1 + x * x),), lambda s, x: s.atan(x), 5.0),
    _f("atan2", lambda y, x: arb.atan2(y, x), lambda o, y, x, v: (x / (x * x + y * y), -y / (x * x + y * y)),
       lambda s, y, x: s.atan2(y, x), 6.0, domain=_TWO),
    _f("sinc", special.sinc, lambda o, x, v: (o.sinc_derivative(o.number(1.0), x),), lambda s, x: s.sinc(s.pi * x),
       4.0, JAX),
    _f("sinc_derivative", special.sinc_derivative, lambda o, n, x, v: (_none(o), o.sinc_derivative(n + 1, x)),
       _sinc_derivative, None, DERIVATIVE, domain=(_ORDERS, REAL), orders=1),
    _f("spherical_bessel_j0", special.spherical_bessel_j0,
       lambda o, x, v: (o.sinc_derivative(o.number(1.0), x / o.pi()) / o.pi(),), lambda s, x: s.sin(x) / x, 4.0,
       MEASURED),
)  # fmt: skip

_HYPERBOLIC = (
    _f("sinh", lambda x: x.sinh(), lambda o, x, v: (o.cosh(x),), lambda s, x: s.sinh(x), 4.0),
    _f("cosh", lambda x: x.cosh(), lambda o, x, v: (o.sinh(x),), lambda s, x: s.cosh(x), 4.0),
    _f("tanh", special.tanh, lambda o, x, v: (o.square(o.sech(x)),), lambda s, x: s.tanh(x), 5.0),
    _f("sech", special.sech, lambda o, x, v: (-v * o.tanh(x),), lambda s, x: 1 / s.cosh(x), None, DERIVATIVE),
    _f("asinh", lambda x: x.asinh(), lambda o, x, v: (1 / o.sqrt(1 + x * x),), lambda s, x: s.asinh(x), 4.0),
    _f("acosh", lambda x: x.acosh(), lambda o, x, v: (1 / o.sqrt((x - 1) * (x + 1)),), lambda s, x: s.acosh(x), 4.0,
       domain=((1.0, math.inf),)),
    _f("atanh", lambda x: x.atanh(), lambda o, x, v: (1 / ((1 - x) * (1 + x)),), lambda s, x: s.atanh(x), 5.0,
       domain=(ONE_WAY,)),
)  # fmt: skip

_ERROR = (
    _f("erf", special.erf, lambda o, x, v: (2 / o.sqrt(o.pi()) * o.exp(-x * x),), lambda s, x: s.erf(x), 16.0,
       half=4.0),
    _f("erfc", special.erfc, lambda o, x, v: (-2 / o.sqrt(o.pi()) * o.exp(-x * x),), lambda s, x: s.erfc(x), 16.0,
       half=4.0),
    _f("erfcx", special.erfcx, lambda o, x, v: (2 * x * v - 2 / o.sqrt(o.pi()),),
       lambda s, x: s.exp(x * x) * s.erfc(x), 4.5, JAX),
    _f("erfinv", special.erfinv, lambda o, x, v: (o.sqrt(o.pi()) / 2 * o.exp(v * v),), lambda s, x: s.erfinv(x), 26.0,
       MEASURED, domain=(ONE_WAY,)),
    _f("erfcinv", special.erfcinv, lambda o, x, v: (-o.sqrt(o.pi()) / 2 * o.exp(v * v),), lambda s, x: s.erfinv(1 - x),
       4.0, JAX, domain=((0.0, 2.0),)),
    _f("ndtr", special.ndtr, lambda o, x, v: (_density(o, x),), lambda s, x: s.erfc(-x / s.sqrt(2)) / 2, 32.0, MEASURED,
       8.0),
    _f("log_ndtr", special.log_ndtr, lambda o, x, v: (o.inverse_mills(x),),
       lambda s, x: s.log(s.erfc(-x / s.sqrt(2)) / 2), 18.0, MEASURED),
    _f("ndtri", special.ndtri, lambda o, p, v: (o.sqrt(2 * o.pi()) * o.exp(v * v / 2),),
       lambda s, p: s.sqrt(2) * s.erfinv(2 * p - 1), 3.5, JAX, domain=(UNIT,)),
    _f("inverse_mills", special.inverse_mills, lambda o, x, v: (-v * (x + v),),
       lambda s, x: s.sqrt(2 / s.pi) * s.exp(-x * x / 2) / s.erfc(-x / s.sqrt(2)), None, DERIVATIVE),
    _f("dawsn", special.dawsn, lambda o, x, v: (1 - 2 * x * v,),
       lambda s, x: s.sqrt(s.pi) / 2 * s.exp(-x * x) * s.erfi(x), 32.0, MEASURED),
)  # fmt: skip

_GAMMA = (
    _f("gamma", special.gamma, lambda o, x, v: (v * o.digamma(x),), lambda s, x: s.gamma(x), 16.0, half=4.0),
    _f("lgamma", special.lgamma, lambda o, x, v: (o.digamma(x),), lambda s, x: s.log(s.Abs(s.gamma(x))), 17.0,
       MEASURED),
    _f("digamma", special.digamma, lambda o, x, v: (o.polygamma(o.number(1.0), x),), lambda s, x: s.digamma(x), 19.0,
       MEASURED),
    _f("polygamma", special.polygamma, lambda o, n, x, v: (_none(o), o.polygamma(n + 1, x)),
       lambda s, n, x: s.polygamma(n, x), 25.0, MEASURED, 8.0, (_ORDERS, REAL), 1),
    _f("beta", special.beta, lambda o, a, b, v: (
        v * (o.digamma(a) - o.digamma(a + b)), v * (o.digamma(b) - o.digamma(a + b))),
       lambda s, a, b: s.gamma(a) * s.gamma(b) / s.gamma(a + b), 32.0, MEASURED, 8.0, (POSITIVE, POSITIVE)),
    _f("betaln", special.betaln, lambda o, a, b, v: (o.digamma(a) - o.digamma(a + b), o.digamma(b) - o.digamma(a + b)),
       lambda s, a, b: s.loggamma(a) + s.loggamma(b) - s.loggamma(a + b), 32.0, MEASURED, 8.0, (POSITIVE, POSITIVE)),
    _f("zeta", special.zeta, lambda o, z, q, v: (
        o.zeta_derivative(o.number(1.0), z, q), -z * o.zeta(z + o.number(1.0), q)),
       lambda s, z, q: s.zeta(z, q), 6.0, MEASURED, 2.0, ((1.0, math.inf), POSITIVE)),
    _f("zeta_derivative", special.zeta_derivative, lambda o, n, z, q, v: (
        _none(o), o.zeta_derivative(n + 1, z, q),
        -z * o.zeta_derivative(n, z + o.number(1.0), q) - n * o.zeta_derivative(n - 1, z + o.number(1.0), q)),
       lambda s, n, z, q: s.Function("hurwitz")(z, q, n), None, DERIVATIVE,
       domain=((1.0, 3.0), (1.0, math.inf), POSITIVE), orders=1),
    _f("gammainc", special.gammainc, lambda o, a, x, v: (o.gammainc_by_order(a, x), _gamma_density(o, a, x)),
       lambda s, a, x: s.lowergamma(a, x) / s.gamma(a), 32.0, MEASURED, 2.0, (POSITIVE, POSITIVE)),
    _f("gammaincc", special.gammaincc, lambda o, a, x, v: (-o.gammainc_by_order(a, x), -_gamma_density(o, a, x)),
       lambda s, a, x: s.uppergamma(a, x) / s.gamma(a), 32.0, MEASURED, 8.0, (POSITIVE, POSITIVE)),
    _f("gammainc_by_order", special.gammainc_by_order, lambda o, a, x, v: (
        _none(o), _gamma_density(o, a, x) * (o.log(x) - o.digamma(a))),
       lambda s, a, x: s.Function("gammainc_by_order")(a, x), 32.0, MEASURED, 8.0, (POSITIVE, POSITIVE)),
    _f("betainc", special.betainc, lambda o, a, b, x, v: (
        _none(o), _none(o),
        o.power(x, a - o.number(1.0)) * o.power(1 - x, b - o.number(1.0)) / o.beta(a, b)),
       lambda s, a, b, x: s.betainc_regularized(a, b, 0, x), 32.0, MEASURED, 8.0, (POSITIVE, POSITIVE, UNIT)),
)  # fmt: skip

_BESSEL = (
    _f("i0", lambda x: x.bessel_i(0), lambda o, x, v: (o.i1(x),), lambda s, x: s.besseli(0, x), 7.0, MEASURED, 3.0),
    _f("i1", lambda x: x.bessel_i(1), lambda o, x, v: ((o.i0(x) + o.bessel_i(o.number(2.0), x)) / 2,),
       lambda s, x: s.besseli(1, x), 23.0, MEASURED, 4.0),
    _f("i0e", lambda x: special.bessel_ie(arb(0), x), lambda o, x, v: (o.i1e(x) - o.sign(x) * v,),
       lambda s, x: s.exp(-s.Abs(x)) * s.besseli(0, x), 8.0, JAX),
    _f("i1e", lambda x: special.bessel_ie(arb(1), x), lambda o, x, v: (
        (o.i0e(x) + o.bessel_ie(o.number(2.0), x)) / 2 - o.sign(x) * v,),
       lambda s, x: s.exp(-s.Abs(x)) * s.besseli(1, x), 15.5, JAX),
    _f("bessel_i", special.bessel_i, lambda o, n, x, v: (_none(o), (o.bessel_i(n - 1, x) + o.bessel_i(n + 1, x)) / 2),
       lambda s, n, x: s.besseli(n, x), 16.0, NEIGHBOUR, domain=(_ORDERS, REAL), orders=1),
    _f("bessel_ie", special.bessel_ie, lambda o, n, x, v: (
        _none(o), (o.bessel_ie(n - 1, x) + o.bessel_ie(n + 1, x)) / 2 - o.sign(x) * v),
       lambda s, n, x: s.exp(-s.Abs(x)) * s.besseli(n, x), 16.0, NEIGHBOUR, domain=(_ORDERS, REAL), orders=1),
    _f("j0", lambda x: special.bessel_j(arb(0), x), lambda o, x, v: (-o.j1(x),), lambda s, x: s.besselj(0, x), 10.0,
       MEASURED),
    _f("j1", lambda x: special.bessel_j(arb(1), x), lambda o, x, v: ((o.j0(x) - o.bessel_j(o.number(2.0), x)) / 2,),
       lambda s, x: s.besselj(1, x), 18.0, MEASURED),
    _f("bessel_j", special.bessel_j, lambda o, n, x, v: (_none(o), (o.bessel_j(n - 1, x) - o.bessel_j(n + 1, x)) / 2),
       lambda s, n, x: s.besselj(n, x), 32.0, MEASURED, domain=(_ORDERS, REAL), orders=1),
    _f("y0", lambda x: special.bessel_y(arb(0), x), lambda o, x, v: (-o.y1(x),), lambda s, x: s.bessely(0, x), 32.0,
       MEASURED, domain=(POSITIVE,)),
    _f("y1", lambda x: special.bessel_y(arb(1), x), lambda o, x, v: (o.y0(x) - v / x,), lambda s, x: s.bessely(1, x),
       32.0, MEASURED, domain=(POSITIVE,)),
    _f("k0", lambda x: special.bessel_k(arb(0), x), lambda o, x, v: (-o.k1(x),), lambda s, x: s.besselk(0, x), 23.0,
       MEASURED, domain=(POSITIVE,)),
    _f("k1", lambda x: special.bessel_k(arb(1), x), lambda o, x, v: (-o.k0(x) - v / x,), lambda s, x: s.besselk(1, x),
       8.0, MEASURED, domain=(POSITIVE,)),
    _f("k0e", lambda x: special.bessel_ke(arb(0), x), lambda o, x, v: (v - o.k1e(x),),
       lambda s, x: s.exp(x) * s.besselk(0, x), 16.0, MEASURED, domain=(POSITIVE,)),
    _f("k1e", lambda x: special.bessel_ke(arb(1), x), lambda o, x, v: (v - o.k0e(x) - v / x,),
       lambda s, x: s.exp(x) * s.besselk(1, x), 7.0, MEASURED, domain=(POSITIVE,)),
    _f("airy_ai", special.airy_ai, lambda o, x, v: (o.airy_ai_derivative(x),), lambda s, x: s.airyai(x), 32.0,
       MEASURED),
    _f("airy_ai_derivative", special.airy_ai_derivative, lambda o, x, v: (x * o.airy_ai(x),),
       lambda s, x: s.airyaiprime(x), 16.0, NEIGHBOUR),
    _f("expi", special.expi, lambda o, x, v: (o.exp(x) / x,), lambda s, x: s.Ei(x), 13.0, MEASURED),
    _f("exp1", lambda x: special.expn(arb(1), x), lambda o, x, v: (-o.exp(-x) / x,), lambda s, x: s.expint(1, x), 13.0,
       MEASURED, domain=(POSITIVE,)),
    _f("expn", special.expn, lambda o, n, x, v: (_none(o), -o.expn(n - 1, x)), lambda s, n, x: s.expint(n, x), 20.0,
       MEASURED, domain=((1.0, 3.0), POSITIVE), orders=1),
)  # fmt: skip

#: The functions by name.
FUNCTIONS: Mapping[str, Function] = MappingProxyType({
    f.name: f
    for family in (_ARITHMETIC, _POWERS, _EXPONENTIALS, _CIRCULAR, _HYPERBOLIC, _ERROR, _GAMMA, _BESSEL)
    for f in family
})  # fmt: skip
BALL_OPERATIONS = BallOperations()
