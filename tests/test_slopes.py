"""The slopes of activations as functions of their own: derivatives, proved; and what any program for them may give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from flint import arb, arb_series

from gradconform.reference.arithmetic.arrays import RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.exact import BALLS, Constant, HandWritten, power_of_two, precision
from gradconform.reference.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, Format
from gradconform.reference.arithmetic.profiles import OPENCL, STRICT, Profile
from gradconform.reference.arithmetic.rounded import ANYTHING, Rounded, RoundedBalls
from gradconform.reference.derivations.activations import ACTIVATIONS, Activation
from gradconform.reference.equations import Slope
from gradconform.reference.judge import ulp

RULES = {a.name: a.rule for a in ACTIVATIONS.values() if a.rule is not None}
#: Beyond, every third derivative vanishes with e^−|z|.
FAR = 60.0


class Series(HandWritten):
    """Truncated power series with ball coefficients; a choice is by the sign of the constant one's midpoint."""

    def real(self, constant: Constant) -> arb:
        return constant.of(BALLS)

    def exp(self, x: Any) -> Any:
        return arb_series(x).exp()

    def expm1(self, x: Any) -> Any:
        return self.exp(x) - 1

    def log1p(self, x: Any) -> Any:
        return (1 + arb_series(x)).log()

    def log(self, x: Any) -> Any:
        return arb_series(x).log()

    def tanh(self, x: Any) -> Any:
        return 2 * self.sigmoid(2 * x) - 1

    def erf(self, x: Any) -> Any:
        return arb_series(x).erf()

    def erfc(self, x: Any) -> Any:
        return arb_series(x).erfc()

    def absolute(self, x: Any) -> Any:
        return x if x[0].mid() > 0 else -x

    def positive_part(self, x: Any) -> Any:
        return x if x[0].mid() > 0 else 0 * x

    def select(self, x: Any, above: Any, below: Any) -> Any:
        return above if x[0].mid() > 0 else below

    step = select


SERIES = Series()


def taylor(formula: Callable[..., Any], z: arb, order: int) -> list[arb]:
    """A function's value and derivatives up to `order`, over the ball z."""
    found = arb_series(formula(SERIES, arb_series([z, 1], order + 1)), order + 1)
    derivatives, factorial = [], 1
    for k in range(order + 1):
        factorial *= max(k, 1)
        derivatives.append(found[k] * factorial)
    return derivatives


def value_of(activation: Activation) -> Callable[..., Any]:
    return activation.value or activation.forward[0].formula


def points(name: str) -> list[arb]:
    draw = Random(f"points {name}")
    return [arb(draw.uniform(-scale, scale)) for scale in (0.1, 3.0, 30.0) for _ in range(25)]


def wrong_derivatives(value: Callable[..., Any], rule: Slope, name: str) -> list[str]:
    """What of a rule is not the derivative of what stands before it, in balls of 300 bits that must overlap."""
    found = set()
    with precision(300):
        for z in points(name):
            (slope, bent), (_, of_value), (_, of_slope) = (
                (taylor(rule.slope, z, 0)[0], taylor(rule.curvature, z, 0)[0]),
                taylor(value, z, 1),
                taylor(rule.slope, z, 1),
            )
            for what, a, b in (("slope", slope, of_value), ("curvature", bent, of_slope)):
                assert a.rad() < arb(10) ** -50
                if not a.overlaps(b):
                    found.add(what)
    return sorted(found)


@pytest.mark.parametrize("name", RULES)
def test_the_slope_is_the_derivative_of_the_value_and_the_curvature_that_of_the_slope(name: str) -> None:
    assert wrong_derivatives(value_of(ACTIVATIONS[name]), RULES[name], name) == []


def test_a_wrong_slope_and_a_wrong_curvature_are_noticed() -> None:
    value, rule = value_of(ACTIVATIONS["gelu"]), RULES["gelu"]
    off = replace(rule, curvature=lambda ops, z: rule.curvature(ops, z) * (1 + arb(10) ** -30))
    assert wrong_derivatives(value, off, "gelu") == ["curvature"]
    tanh = RULES["gelu_tanh"]
    assert wrong_derivatives(value, tanh, "gelu") == ["slope"], "gelu's slope is not that of its approximation"


def least_bound(rule: Slope, claimed: arb) -> arb | None:
    """A proof that |f'''| is at most `claimed` on [−FAR, 0] and [0, FAR], by halving; None, or where it fails."""
    pending = [(-FAR, 0.0), (0.0, FAR)]
    while pending:
        low, high = pending.pop()
        middle, half = (low + high) / 2, (high - low) / 2
        try:
            if abs(taylor(rule.slope, arb(middle, half), 2)[2]).upper() <= claimed:
                continue
        except ValueError:  # so wide that a divisor may be 0
            pass
        if abs(taylor(rule.slope, arb(middle), 2)[2]).lower() > claimed or half < 2.0**-40:
            return arb(middle)
        pending += [(low, middle), (middle, high)]
    return None


@pytest.mark.parametrize("target", [FLOAT64, FLOAT32, BFLOAT16], ids=lambda f: f.name)
@pytest.mark.parametrize("name", RULES)
def test_far_from_0_neither_a_slope_nor_a_curvature_meets_an_infinity(name: str, target: Format) -> None:
    """In e^-|z| nothing overflows; written in e^|z| the same formula would, and of the truth nothing were known."""
    ops, rule = RoundedBalls(target, OPENCL), ACTIVATIONS[name].rule
    assert rule is not None
    with precision(300):
        for z in (60.0, -60.0, 250.0, -250.0, 1000.0, -1000.0):
            at = ops.given(z)
            assert (rule.slope(ops, at).specials, rule.curvature(ops, at).specials) == (0, 0), z


@pytest.mark.parametrize("name", RULES)
def test_the_third_derivative_is_bounded_and_hardly_less(name: str) -> None:
    """To a part in a thousand: of some the bound is the very largest value, which no enclosure proves."""
    with precision(80):
        assert least_bound(RULES[name], arb(RULES[name].third) * 1.001) is None
        assert least_bound(RULES[name], arb(RULES[name].third) * 0.99) is not None
        for number in range(2000):
            z = arb(number - 1000) / 100
            # At 0 the third derivative of each side; a bound of both.
            assert not abs(taylor(RULES[name].slope, z, 2)[2]) > arb(RULES[name].third) * (1 + arb(2) ** -50)


# What a program may give --------------------------------------------------------------------------------------


def outside(got: float | arb, ball: Rounded) -> bool:
    return bool(abs(arb(got) - ball.exact) > ball.radius)


def arguments(target: Format, seed: str, count: int = 60) -> list[float]:
    draw = Random(seed)
    found = [draw.uniform(-scale, scale) for scale in (0.5, 4.0, 10.0) for _ in range(count // 3)]
    return [float(target.round(x)) for x in found]


def of_its_own(target: Format, constants: Profile, z: float, name: str) -> Rounded:
    ops = RoundedBalls(target, constants)
    return ops.derivative(ops.given(z), RULES[name])


def counted(target: Format, constants: Profile, name: str) -> float:
    """K' = 4 + 2K·(ulp_K/ulp), by hand."""
    bounds = [constants.bound(p, target) for p in RULES[name].primitives]
    return 4 + 2 * max(k * 2.0 ** (target.precision - of.precision) for k, of, _ in bounds)


@pytest.mark.parametrize("constants", [OPENCL, STRICT], ids=["opencl", "strict"])
@pytest.mark.parametrize("target", FORMATS.values(), ids=lambda f: f.name)
@pytest.mark.parametrize("name", RULES)
def test_a_program_errs_by_its_own_last_places_and_by_that_of_its_argument(
    name: str, target: Format, constants: Profile
) -> None:
    """f'(z) + δ·(ulp + u|z·f''|) with |δ| of nearly K' is inside, and with two more it is outside."""
    draw, k = Random(name), counted(target, constants, name)
    beyond = 0
    with precision(192):
        for z in arguments(target, f"{name} {target.name}"):
            ball = of_its_own(target, constants, z, name)
            slope, bent = (taylor(f, arb(z), 0)[0] for f in (RULES[name].slope, RULES[name].curvature))
            last = ulp(slope, target)
            moved = power_of_two(-target.precision) * abs(arb(z) * bent)
            for sign in (-1, 1):
                assert not outside(slope + sign * draw.uniform(0.9, 0.999) * k * (last + moved), ball)
                beyond += outside(slope + sign * (k + 2) * (last + moved), ball)
    # Where the result is subnormal it may be flushed besides.
    assert beyond >= 100


#: Programs of other people, in NumPy: they keep their digits, or are as good as those that frameworks run.
OTHERS: dict[str, Callable[[Any], Any]] = {
    "sigmoid": lambda z: (1 / (1 + np.exp(-z))) * (1 / (1 + np.exp(z))),
    "tanh": lambda z: 1 / np.cosh(z) ** 2,
    "elu": lambda z: np.exp(np.minimum(z, 0)),
    "softplus": lambda z: 1 / (1 + np.exp(-z)),
    "silu": lambda z: (1 / (1 + np.exp(-z))) * (1 + z * (1 / (1 + np.exp(z)))),
}


@pytest.mark.parametrize("target", [FLOAT64, FLOAT32, FLOAT16], ids=lambda f: f.name)
@pytest.mark.parametrize("name", OTHERS)
def test_programs_that_we_have_not_listed_are_inside(name: str, target: Format) -> None:
    wrong = 0
    with precision(192), np.errstate(all="ignore"):
        for z in arguments(target, f"others {name} {target.name}", 300):
            got = float(OTHERS[name](np.array([z], target.name))[0])
            ball = of_its_own(target, OPENCL, z, name)
            assert not outside(got, ball), (z, got, ball)
            wrong += outside(got * 1.5, ball)
    assert wrong > 250, "half as much again"


@pytest.mark.parametrize("target", [FLOAT32, FLOAT16], ids=lambda f: f.name)
def test_a_slope_that_has_lost_its_digits_is_outside(target: Format) -> None:
    """½(1 + erf) in the tail, 1 − tanh² where tanh is nearly 1: unstable, and so found."""
    ops = RoundedBalls(target, OPENCL)
    dtype = np.dtype(target.name).type
    with precision(192):
        for name, z in (("tanh", 4.0), ("sigmoid", 9.0)):
            a = dtype(np.tanh(dtype(z))) if name == "tanh" else dtype(1 / (1 + np.exp(-z)))
            got = float(dtype(1) - a * a) if name == "tanh" else float(a * (dtype(1) - a))
            ball = ops.derivative(ops.given(z), RULES[name])
            assert outside(got, ball)


def test_an_argument_that_is_not_known_moves_the_slope_by_its_radius() -> None:
    ops = RoundedBalls(FLOAT64, STRICT)
    with precision(192):
        for name, rule in RULES.items():
            for middle in (-0.75, -1.278, 0.5, 3.0):
                ball = ops.derivative(Rounded(ops, arb(middle), arb(2) ** -4), rule)
                for end in (-1, -0.5, 0.25, 1):
                    inside = taylor(rule.slope, arb(middle) + arb(end) * arb(2) ** -4, 0)[0]
                    assert not outside(inside, ball), name
                bent = abs(taylor(rule.curvature, arb(middle), 0)[0]) + rule.third * arb(2) ** -4
                assert ball.radius < arb(2) ** -4 * bent * 1.001 + 2.0**-40, "and by no more"


def test_of_an_infinite_argument_no_slope_is_known() -> None:
    ops = RoundedBalls(FLOAT32, OPENCL)
    for x in (ops.given(float("inf")), Rounded(ops, arb(1), arb(0), 1)):
        assert ops.derivative(x, RULES["gelu"]).specials & ANYTHING


def test_at_a_kink_the_slope_of_its_own_is_the_set() -> None:
    ops = RoundedBalls(FLOAT64, STRICT)
    with precision(192):
        ball = ops.derivative(ops.given(0.0), RULES["selu"])
        assert all(ball.distance(x) <= ball.radius for x in (1.0507009873554805, 1.4, 1.7580993408473766))
        assert all(ball.distance(x) > ball.radius for x in (1.0507, 1.7581))
        assert not ball.spread.is_zero()


@pytest.mark.parametrize("exact", [False, True], ids=["plain", "double words"])
@pytest.mark.parametrize("target", [FLOAT64, FLOAT32, FLOAT16, BFLOAT16], ids=lambda f: f.name)
@pytest.mark.parametrize("name", RULES)
def test_arrays_say_of_a_slope_what_balls_do(name: str, target: Format, exact: bool) -> None:
    ops = RoundedArrays(target, OPENCL, exact=exact)
    z = np.array([*arguments(target, f"arrays {name}", 30), 0.0, 1.0, -1.0])
    radius = np.abs(z) * ops.unit * (np.arange(len(z)) % 4)
    # What midpoints in float64 may hide of a curvature, of a result that is all but 0.
    hidden = 0.0 if target is FLOAT64 else 2.0**-20 * ops.unit
    for x in (ops.given(z), RoundedArray(ops, ops.given(z).mid, radius)):
        found = ops.derivative(x, RULES[name])
        with precision(192):
            for i in range(len(z)):
                ball = ops.balls.derivative(ops.scalar(x, (i,), z.shape), RULES[name])
                element = ops.scalar(found, (i,), z.shape)
                assert element.spread.overlaps(ball.spread) or abs(element.spread - ball.spread) < ball.radius
                gap = abs(element.exact - ball.exact)
                # The ulp of a result next to a power of two may be counted as the larger.
                assert element.radius + gap >= ball.radius * (1 - arb(2) ** -30)
                assert element.radius <= ball.radius * 2.001 + hidden * abs(arb(float(z[i])))
                assert gap <= ball.radius * 2.0**-12
