"""The table of scalar functions: values, enclosures, partial derivatives and theirs, against SymPy and mpmath."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any

import pytest

pytest.importorskip("sympy")
pytest.importorskip("mpmath")

import mpmath as mp
import sympy
from flint import arb

from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.programs.functions import BALL_OPERATIONS, FUNCTIONS, Function

DIGITS, BITS = 60, 320
#: What SymPy does not differentiate: mpmath's numerical derivatives stand in.
NOT_BY_SYMPY = {"sign", "fmod", "remainder", "cbrt", "lgamma", "zeta", "zeta_derivative", "gammainc", "gammaincc",
                "gammainc_by_order"}  # fmt: skip
#: Partials that are 0 wherever they are known.
FLAT = {("sign", 0), ("within", 1)}
EVERY = sorted(FUNCTIONS)


# What stands for SymPy's functions in mpmath --------------------------------------------------------------------------


def _by_order(a: Any, x: Any) -> Any:
    return mp.diff(lambda t: mp.gammainc(t, 0, x, regularized=True), a)


MPMATH = [{
    "hurwitz": lambda s, q, n: mp.zeta(s, q, int(n)),
    "gammainc_by_order": _by_order,
    "betainc_regularized": lambda a, b, low, high: mp.betainc(a, b, low, high, regularized=True),
    "airyaiprime": lambda x: mp.airyai(x, derivative=1),
}, "mpmath"]  # fmt: skip


class SymbolOperations:
    """The functions of the table as SymPy's."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *arguments: FUNCTIONS[name].symbol(sympy, *arguments)

    @staticmethod
    def pi() -> Any:
        return sympy.pi

    @staticmethod
    def ln2() -> Any:
        return sympy.log(2)

    @staticmethod
    def number(x: float) -> Any:
        return sympy.nan if math.isnan(x) else sympy.Rational(x)


def symbols(row: Function) -> list[Any]:
    intervals = row.domain[row.orders :]
    return [sympy.Symbol(f"x{n}", real=True, **({"positive": True} if low >= 0 else {})) for n, (low, _) in
            enumerate(intervals)]  # fmt: skip


@cache
def value_of(name: str, orders: tuple[int, ...]) -> Callable[..., Any]:
    """The row's symbol in mpmath."""
    row = FUNCTIONS[name]
    variables = symbols(row)
    return sympy.lambdify(variables, row.symbol(sympy, *map(sympy.Integer, orders), *variables), MPMATH)  # type: ignore[no-any-return]


def slope_of(name: str, orders: tuple[int, ...], number: int) -> Callable[..., Any]:
    """Its derivative by one argument in mpmath: SymPy's, or where it has none mpmath's."""
    row = FUNCTIONS[name]
    if name in NOT_BY_SYMPY:
        value, by = value_of(name, orders), [0] * (row.arguments - row.orders)
        by[number] = 1
        return lambda *x: mp.diff(value, x, tuple(by))
    variables = symbols(row)
    slope = sympy.diff(row.symbol(sympy, *map(sympy.Integer, orders), *variables), variables[number])
    return sympy.lambdify(variables, slope, MPMATH)  # type: ignore[no-any-return]


@cache
def slope_at(name: str, x: tuple[float, ...], number: int) -> Any:
    """The derivative there to DIGITS and more."""
    orders, at = split(FUNCTIONS[name], x)
    with mp.workdps(DIGITS + 25):
        return slope_of(name, orders, number)(*at)


# Where the rows are tried ---------------------------------------------------------------------------------------------


def _inside(draw: Random, low: float, high: float) -> float:
    if math.isinf(low):
        return draw.choice((-1.0, 1.0)) * draw.uniform(0.05, 4.5)
    width = 5.0 if math.isinf(high) else high - low
    return low + width * draw.uniform(0.03, 0.97)


def points(row: Function, count: int, seed: str = "") -> Iterator[tuple[float, ...]]:
    """Arguments within the row's domain: its orders whole numbers."""
    draw = Random(f"{row.name} {seed}")
    for _ in range(count):
        orders = [float(draw.randint(int(a), int(b))) for a, b in row.domain[: row.orders]]
        yield (*orders, *(_inside(draw, a, b) for a, b in row.domain[row.orders :]))


def split(row: Function, x: Sequence[float]) -> tuple[tuple[int, ...], list[Any]]:
    return tuple(int(n) for n in x[: row.orders]), [mp.mpf(t) for t in x[row.orders :]]


def number(x: arb) -> Any:
    """The middle of a ball."""
    mantissa, exponent = x.mid().man_exp()
    return mp.mpf(int(mantissa)) * mp.mpf(2) ** int(exponent)


def agree(x: arb, expected: Any, digits: int = 50) -> bool:
    """Whether a narrow ball is what mpmath has, to `digits`."""
    if not x.is_finite():
        return False
    with mp.workdps(DIGITS + 25):
        near = mp.mpf(10) ** -digits
        allowed = near * max(abs(expected), near)
        return bool(number(x.rad()) < allowed and abs(number(x) - expected) <= allowed)


# Partial derivatives --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in EVERY if n not in NOT_BY_SYMPY])
def test_the_partials_are_sympys_derivatives(name: str) -> None:
    row = FUNCTIONS[name]
    for orders in [(n,) * row.orders for n in ((1, 2) if row.orders else (0,))]:
        variables = symbols(row)
        value = row.symbol(sympy, *map(sympy.Integer, orders), *variables)
        partials = row.partials(SymbolOperations(), *map(sympy.Integer, orders), *variables, value)
        for partial, variable in zip(partials[row.orders :], variables, strict=True):
            if partial is sympy.nan:
                continue
            difference = sympy.expand(partial - sympy.diff(value, variable))
            assert difference == 0 or sympy.simplify(difference) == 0


def wrong_partials(row: Function) -> list[str]:
    """Partials over balls that are not the derivative to 50 digits, by argument."""
    found = []
    with precision(BITS):
        for x in points(row, 12 if row.name == "fmod" else 3):
            balls = [arb(t) for t in x]
            partials = row.partials(BALL_OPERATIONS, *balls, row.ball(*balls))
            for n in range(row.arguments - row.orders):
                partial = partials[row.orders + n]
                if not partial.is_nan() and not agree(partial, slope_at(row.name, x, n), 40):
                    found.append(f"by argument {row.orders + n} at {x}")
    return found


@pytest.mark.parametrize("name", EVERY)
def test_the_partials_over_balls_are_the_derivatives(name: str) -> None:
    assert wrong_partials(FUNCTIONS[name]) == []


@pytest.mark.parametrize("name", EVERY)
def test_a_partial_off_by_a_factor_or_a_sign_is_noticed(name: str) -> None:
    row = FUNCTIONS[name]
    for n in range(row.orders, row.arguments):
        if known(row, n) and (name, n) not in FLAT:
            for factor in (1 + 2.0**-40, -1.0):
                assert wrong_partials(planted(row, n, factor))


def known(row: Function, n: int) -> bool:
    x = [arb(t) for t in next(points(row, 1))]
    return not row.partials(BALL_OPERATIONS, *x, row.ball(*x))[n].is_nan()


def planted(row: Function, n: int, factor: float) -> Function:
    """The row with one partial times a factor."""

    def partials(*x: Any) -> tuple[Any, ...]:
        right = row.partials(*x)
        return (*right[:n], right[n] * factor, *right[n + 1 :])

    return replace(row, partials=partials)


# Second derivatives ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Jet:
    """A number and its derivative in one direction."""

    value: arb
    slope: arb

    def __neg__(self) -> Jet:
        return Jet(-self.value, -self.slope)

    def __add__(self, other: Any) -> Jet:
        other = lifted(other)
        return Jet(self.value + other.value, self.slope + other.slope)

    def __sub__(self, other: Any) -> Jet:
        return self + -lifted(other)

    def __mul__(self, other: Any) -> Jet:
        other = lifted(other)
        return Jet(self.value * other.value, self.slope * other.value + self.value * other.slope)

    def __truediv__(self, other: Any) -> Jet:
        other = lifted(other)
        value = self.value / other.value
        return Jet(value, (self.slope - value * other.slope) / other.value)

    def __pow__(self, power: int) -> Jet:
        return Jet(self.value**power, power * self.value ** (power - 1) * self.slope)

    def __radd__(self, other: Any) -> Jet:
        return self + other

    def __rsub__(self, other: Any) -> Jet:
        return lifted(other) - self

    def __rmul__(self, other: Any) -> Jet:
        return self * other

    def __rtruediv__(self, other: Any) -> Jet:
        return lifted(other) / self


def lifted(x: Any) -> Jet:
    return x if isinstance(x, Jet) else Jet(arb(x), arb(0))


class JetOperations:
    """The functions of the table on jets, by their own partials."""

    def __getattr__(self, name: str) -> Callable[..., Jet]:
        def of(*arguments: Any) -> Jet:
            jets = [lifted(x) for x in arguments]
            values = [x.value for x in jets]
            value = FUNCTIONS[name].ball(*values)
            partials = FUNCTIONS[name].partials(BALL_OPERATIONS, *values, value)
            moved = [p * x.slope for p, x in zip(partials, jets, strict=True) if not x.slope.is_zero()]
            return Jet(value, sum(moved, arb(0)))

        return of

    @staticmethod
    def pi() -> Jet:
        return lifted(arb.pi())

    @staticmethod
    def ln2() -> Jet:
        return lifted(arb.const_log2())

    @staticmethod
    def number(x: float) -> Jet:
        return lifted(x)


@pytest.mark.parametrize("name", EVERY)
def test_the_partials_of_the_partials_are_second_derivatives(name: str) -> None:
    row = FUNCTIONS[name]
    count = row.arguments - row.orders
    x = next(points(row, 1, "second"))
    orders, at = split(row, x)
    for by in range(count):
        with precision(BITS):
            jets = [Jet(arb(t), arb(1 if n == row.orders + by else 0)) for n, t in enumerate(x)]
            partials = row.partials(JetOperations(), *jets, getattr(JetOperations(), name)(*jets))
        for first in range(count):
            second = lifted(partials[row.orders + first])
            if second.value.is_nan() or second.slope.is_nan():
                continue
            once = [int(n == by) for n in range(count)]
            twice = [int(n == first) + t for n, t in enumerate(once)]
            with mp.workdps(40):
                if name in NOT_BY_SYMPY:
                    expected = mp.diff(value_of(name, orders), at, tuple(twice))
                else:
                    expected = mp.diff(slope_of(name, orders, first), at, tuple(once))
            assert agree(second.slope, expected, 20)


# Values ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_the_value_is_mpmaths(name: str) -> None:
    row = FUNCTIONS[name]
    with mp.workdps(DIGITS + 25), precision(BITS):
        for x in points(row, 3, "value"):
            orders, at = split(row, x)
            assert agree(row.ball(*map(arb, x)), value_of(name, orders)(*at), 40 if name == "gammainc_by_order" else 50)


def ends(low: float, high: float) -> tuple[float, ...]:
    """Far away, and close to where the domain ends."""
    if math.isinf(low):
        return (-20.5, -(2.0**-60), 2.0**-20, 20.5)
    return (low + max(2.0**-40 * abs(low), 2.0**-60 * (low == 0)), low + 20.5 if math.isinf(high) else high - 2.0**-40)


@pytest.mark.parametrize("name", EVERY)
def test_the_value_at_the_ends_of_the_domain_is_mpmaths(name: str) -> None:
    row = FUNCTIONS[name]
    inside = next(points(row, 1, "ends"))
    for n in range(row.orders, row.arguments):
        for end in ends(*row.domain[n]):
            x = (*inside[:n], end, *inside[n + 1 :])
            orders, at = split(row, x)
            # mpmath's erfc loses its digits far out.
            with mp.workdps(300 if name in ("log_ndtr", "inverse_mills") else 100), precision(BITS):
                assert agree(row.ball(*map(arb, x)), value_of(name, orders)(*at), 40)


@pytest.mark.parametrize("name", EVERY)
def test_a_wide_ball_holds_the_values_inside(name: str) -> None:
    row, draw = FUNCTIONS[name], Random(f"balls {name}")
    finite = 0
    with mp.workdps(25), precision(120):
        for size, x in enumerate(points(row, 3, "balls")):
            middles, radii = list(x), [0.0] * row.arguments
            for n in range(row.orders, row.arguments):
                low, high = row.domain[n]
                reach = min(x[n] - low, high - x[n], 3.0)
                radii[n] = reach * (0.01, 0.3, 0.9)[size]
            ball = row.ball(*(arb(m, r) for m, r in zip(middles, radii, strict=True)))
            finite += ball.is_finite()
            for _ in range(2):
                inside = [m + r * draw.uniform(-1, 1) for m, r in zip(middles, radii, strict=True)]
                orders, at = split(row, inside)
                value = value_of(name, orders)(*at)
                slack = abs(value) * mp.mpf(10) ** -15
                assert not ball.is_finite() or abs(number(ball) - value) <= mp.mpf(float(ball.rad())) + slack
    assert finite  # an enclosure that holds everything is none


# Poles, overflow, and limits ------------------------------------------------------------------------------------------

INFINITE = math.inf
#: Arguments at which a function is not finite, or has no value.
NOT_FINITE = [
    ("exp", 1e300), ("exp10", 1e300), ("log", 0.0), ("log", -1.0), ("log1p", -1.0), ("sqrt", -1.0), ("rsqrt", 0.0),
    ("reciprocal", 0.0), ("power", 0.0, -1.0), ("power", -2.0, 0.5), ("atanh", 1.0), ("acosh", 0.5), ("asin", 1.5),
    ("erfinv", 1.0), ("erfinv", 1.5), ("erfcinv", 0.0), ("ndtri", 0.0), ("ndtri", 1.0), ("logit", 0.0), ("logit", 1.0),
    ("gamma", -3.0), ("gamma", 0.0), ("lgamma", -3.0), ("lgamma", 0.0), ("digamma", 0.0), ("digamma", -2.0),
    ("polygamma", 1.0, -2.0), ("polygamma", 0.5, 2.0), ("zeta", 1.0, 2.0), ("zeta", 2.5, -0.5), ("i0", 1e300),
    ("k0", 0.0), ("k1e", 0.0), ("y0", 0.0), ("exp1", 0.0), ("expi", 0.0), ("expi", 1e300), ("entr", -1.0),
    ("gammainc", -1.0, 1.0), ("betainc", 1.0, 1.0, 1.5), ("fmod", 1.0, 0.0), ("logaddexp", -INFINITE, -INFINITE),
]  # fmt: skip
#: Limits: the function, its arguments, its value, its partials (None where they are not finite).
LIMITS: list[tuple[str, tuple[float, ...], float, tuple[float | None, ...]]] = [
    ("sigmoid", (-1e300,), 0.0, (0.0,)),
    ("sigmoid", (1e300,), 1.0, (0.0,)),
    ("sigmoid", (-INFINITE,), 0.0, (0.0,)),
    ("tanh", (1e300,), 1.0, (0.0,)),
    ("tanh", (-1e300,), -1.0, (0.0,)),
    ("exp", (-1e300,), 0.0, (0.0,)),
    ("erfc", (1e10,), 0.0, (0.0,)),
    ("erfc", (1e300,), 0.0, (0.0,)),
    ("erfc", (-1e300,), 2.0, (0.0,)),
    ("erf", (1e300,), 1.0, (0.0,)),
    ("ndtr", (-1e300,), 0.0, (0.0,)),
    ("softplus", (1e300,), 1e300, (1.0,)),
    ("softplus", (-1e300,), 0.0, (0.0,)),
    ("log_sigmoid", (-1e300,), -1e300, (1.0,)),
    ("log_ndtr", (1e300,), 0.0, (0.0,)),
    ("log_ndtr", (-1e10,), -5e19, (1e10,)),
    ("erfcx", (1e10,), 5.641895835477563e-11, (0.0,)),
    ("logaddexp", (-INFINITE, 2.0), 2.0, (0.0, 1.0)),
    ("logaddexp", (1e300, -1e300), 1e300, (1.0, 0.0)),
    ("logaddexp2", (3.0, -INFINITE), 3.0, (1.0, 0.0)),
    ("xlogy", (0.0, 0.0), 0.0, (None, None)),
    ("xlogy", (0.0, 2.0), 0.0, (math.log(2.0), 0.0)),
    ("xlog1py", (0.0, -1.0), 0.0, (None, None)),
    ("entr", (0.0,), 0.0, (None,)),
    ("sinc", (0.0,), 1.0, (0.0,)),
    ("sinc_derivative", (1.0, 0.0), 0.0, (None, -(math.pi**2) / 3)),
    ("spherical_bessel_j0", (0.0,), 1.0, (0.0,)),
    ("i1e", (0.0,), 0.0, (0.5,)),
    ("i0e", (1e300,), 0.0, (0.0,)),
    ("j1", (0.0,), 0.0, (0.5,)),
    ("gammainc", (1.0, 0.0), 0.0, (0.0, 1.0)),
    ("gammaincc", (2.0, 0.0), 1.0, (0.0, 0.0)),
    ("betainc", (1.0, 2.0, 0.0), 0.0, (None, None, 2.0)),
    ("power", (0.0, 0.0), 1.0, (0.0, None)),
    ("power", (0.0, 1.0), 0.0, (1.0, 0.0)),
    ("power", (0.0, 2.0), 0.0, (0.0, 0.0)),
    ("power", (0.0, 0.5), 0.0, (None, 0.0)),
    ("power", (-2.0, 3.0), -8.0, (12.0, None)),
    ("power", (-2.0, 0.0), 1.0, (0.0, None)),
    ("power", (-1.0, 2.0**53 - 1), -1.0, (2.0**53 - 1, None)),
    ("power", (-math.inf, -3.0), 0.0, (0.0, None)),
    ("fmod", (-7.5, math.inf), -7.5, (1.0, 0.0)),
    ("fmod", (-7.5, 2.0), -1.5, (1.0, 3.0)),
    ("remainder", (-7.5, 2.0), 0.5, (1.0, 4.0)),
    ("cbrt", (-8.0,), -2.0, (1 / 12,)),
    ("cbrt", (0.0,), 0.0, (None,)),
    ("lgamma", (-0.5,), 1.2655121234846454, (0.03648997397857652,)),
    ("polygamma", (1.0, -2.5), 9.539246644989124, (None, -0.108204051641727)),
]


@pytest.mark.parametrize(("name", "arguments"), [(n, x) for n, *x in NOT_FINITE], ids=str)
def test_a_pole_an_overflow_and_what_has_no_value_are_not_finite(name: str, arguments: list[float]) -> None:
    with precision(BITS):
        assert not FUNCTIONS[name].ball(*map(arb, arguments)).is_finite()


@pytest.mark.parametrize(("name", "x", "value", "slopes"), LIMITS)
def test_a_limit_is_taken_where_an_intermediate_overflows(
    name: str, x: tuple[float, ...], value: float, slopes: tuple[float | None, ...]
) -> None:
    with precision(1200):
        balls = [arb(t) for t in x]
        found = FUNCTIONS[name].ball(*balls)
        assert close(found, value)
        for partial, slope in zip(FUNCTIONS[name].partials(BALL_OPERATIONS, *balls, found), slopes, strict=True):
            assert not partial.is_finite() if slope is None else close(partial, slope)


def close(x: arb, expected: float) -> bool:
    """Whether a narrow ball is what a float64 says to its last digits."""
    narrow = x.is_finite() and x.rad() < abs(x.mid()) * 2.0**-100 + arb(2) ** -300
    return narrow and math.isclose(float(x.mid()), expected, rel_tol=1e-13, abs_tol=1e-15)


def test_the_logarithm_of_two_vanished_exponentials_is_minus_infinity() -> None:
    found = FUNCTIONS["logaddexp"].ball(arb.neg_inf(), arb.neg_inf())
    assert found < 0
    assert not found.is_finite()


@pytest.mark.parametrize("name", EVERY)
def test_nothing_raises_whatever_the_arguments(name: str) -> None:
    row = FUNCTIONS[name]
    with precision(128):
        for x in (0.0, 1.0, -1.0, 0.5, 2.0, -3.0, 5e-324, 1e300, -1e300, INFINITE, -INFINITE, math.nan):
            for radius in (0.0, 1.0):
                arguments = [arb(x, radius)] * row.arguments
                partials = row.partials(BALL_OPERATIONS, *arguments, row.ball(*arguments))
                assert len(partials) == row.arguments
