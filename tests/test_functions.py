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

from gradconform.reference.exact import precision
from gradconform.reference.programs.functions import BALL_OPERATIONS, FUNCTIONS, Function

DIGITS, BITS = 60, 320
#: What SymPy does not differentiate: mpmath's numerical derivatives stand in.
NOT_BY_SYMPY = {"fmod", "remainder", "cbrt", "lgamma", "zeta", "zeta_derivative", "gammainc", "gammaincc",
                "gammainc_by_order"}  # fmt: skip
#: Whose partials are 0 wherever they are known.
FLAT = {"sign"}
EVERY = sorted(FUNCTIONS)


# What stands for SymPy's functions in mpmath --------------------------------------------------------------------------


def _by_order(a: Any, x: Any) -> Any:
    return mp.diff(lambda t: mp.gammainc(t, 0, x, regularized=True), a)


MPMATH = [{"hurwitz": lambda s, q, n: mp.zeta(s, q, int(n)), "gammainc_by_order": _by_order,
           "sinc": lambda x: mp.sinc(x)}, "mpmath"]  # fmt: skip


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


@cache
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
    near = mp.mpf(10) ** -digits
    radius = mp.mpf(float(x.rad() / (abs(x.mid()) + arb(2) ** -2000))) if x.rad() > 0 else mp.mpf(0)
    return bool(radius < near and abs(number(x) - expected) <= near * max(abs(expected), near))


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
    with mp.workdps(DIGITS + 25), precision(BITS):
        for x in points(row, 3):
            orders, at = split(row, x)
            balls = [arb(t) for t in x]
            partials = row.partials(BALL_OPERATIONS, *balls, row.ball(*balls))
            for n in range(row.arguments - row.orders):
                partial = partials[row.orders + n]
                if not partial.is_nan() and not agree(partial, slope_of(row.name, orders, n)(*at), 40):
                    found.append(f"by argument {row.orders + n} at {x}")
    return found


@pytest.mark.parametrize("name", EVERY)
def test_the_partials_over_balls_are_the_derivatives(name: str) -> None:
    assert wrong_partials(FUNCTIONS[name]) == []


@pytest.mark.parametrize("name", EVERY)
def test_a_partial_off_by_a_factor_or_a_sign_is_noticed(name: str) -> None:
    row = FUNCTIONS[name]
    for n in range(row.orders, row.arguments):
        if known(row, n) and name not in FLAT:
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


# Values ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_the_value_is_mpmaths(name: str) -> None:
    row = FUNCTIONS[name]
    with mp.workdps(DIGITS + 25), precision(BITS):
        for x in points(row, 4, "value"):
            orders, at = split(row, x)
            assert agree(row.ball(*map(arb, x)), value_of(name, orders)(*at), 40 if name == "gammainc_by_order" else 50)


@pytest.mark.parametrize("name", EVERY)
def test_a_wide_ball_holds_the_values_inside(name: str) -> None:
    row, draw = FUNCTIONS[name], Random(f"balls {name}")
    finite = 0
    with mp.workdps(25), precision(120):
        for x in points(row, 4, "balls"):
            middles, radii = list(x), [0.0] * row.arguments
            for n in range(row.orders, row.arguments):
                low, high = row.domain[n]
                reach = min(x[n] - low, high - x[n], 3.0)
                radii[n] = reach * draw.choice((0.01, 0.2, 0.9))
            ball = row.ball(*(arb(m, r) for m, r in zip(middles, radii, strict=True)))
            finite += ball.is_finite()
            for _ in range(2):
                inside = [m + r * draw.uniform(-1, 1) for m, r in zip(middles, radii, strict=True)]
                orders, at = split(row, inside)
                value = value_of(name, orders)(*at)
                slack = abs(value) * mp.mpf(10) ** -15
                assert not ball.is_finite() or abs(number(ball) - value) <= mp.mpf(float(ball.rad())) + slack
    assert finite  # an enclosure that holds everything is none
