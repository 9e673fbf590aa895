"""The containment law: whatever a rounded program may hold under the hypotheses lies in its rounded ball.

Three kinds of machine run the same random programs: NumPy's own arithmetic, and a simulator in rational numbers that
rounds to nearest, or keeps more digits, or flushes subnormal numbers, or errs in exp by as much as the profile allows.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from random import Random
from typing import Any, Protocol

import ml_dtypes
import numpy as np
import pytest
from flint import arb, fmpq

from gradconform.reference.arithmetic.complexes import Complex, ComplexOver
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, Format
from gradconform.reference.arithmetic.profiles import OPENCL, PROFILES, STRICT, Profile, profile
from gradconform.reference.arithmetic.rounded import (
    ANYTHING,
    DOUBT,
    NAN,
    NEGATIVE,
    OVERFLOWED,
    POSITIVE,
    Rounded,
    RoundedBalls,
    larger,
)
from gradconform.reference.judge import decision

BITS = 400
PROGRAMS = 1500
DTYPES: dict[str, Any] = {
    "float64": np.float64,
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
}
COMPLEX_DTYPES: dict[str, Any] = {"float64": np.complex128, "float32": np.complex64}

every_format = pytest.mark.parametrize("target", FORMATS.values(), ids=lambda f: f.name)

#: A number that a machine holds: rational, or ±inf or NaN as a float.
Number = Fraction | float
Step = tuple[str, tuple[int, ...], tuple[float, ...]]


@pytest.fixture(autouse=True)
def _working_precision() -> Iterator[None]:
    with precision(BITS):
        yield


def as_ball(x: Number) -> arb:
    return arb(fmpq(x.numerator, x.denominator)) if isinstance(x, Fraction) else arb(x)


def outside(got: Number, ball: Rounded) -> bool:
    """Whether a number is proved not to lie in a rounded ball, its specials included."""
    if ball.specials & ANYTHING:
        return False
    if isinstance(got, float) and not math.isfinite(got):
        kind = NAN if math.isnan(got) else POSITIVE if got > 0 else NEGATIVE
        return not ball.specials & kind
    return outside_ball(as_ball(got), ball)


def outside_ball(got: arb, ball: Rounded) -> bool:
    return bool(abs(got - ball.exact) > ball.radius)


# Machines -----------------------------------------------------------------------------------------------------


class Machine(Protocol):
    """What a program needs. `number` brings in a number of the format."""

    def number(self, x: float) -> Any: ...
    def add(self, a: Any, b: Any) -> Any: ...
    def subtract(self, a: Any, b: Any) -> Any: ...
    def multiply(self, a: Any, b: Any) -> Any: ...
    def divide(self, a: Any, b: Any) -> Any: ...
    def square(self, a: Any) -> Any: ...
    def scale(self, a: Any, power: float) -> Any: ...
    def complement(self, a: Any) -> Any: ...
    def exp(self, a: Any) -> Any: ...
    def inner_product(self, coefficients: Sequence[float], terms: Sequence[Any]) -> Any: ...


class Balls:
    """Rounded balls, by the operators that formulas use."""

    def __init__(self, target: Format, constants: Profile) -> None:
        self.ops = RoundedBalls(target, constants)
        self.number, self.exp, self.inner_product = self.ops.given, self.ops.exp, self.ops.inner_product
        self.add, self.subtract, self.multiply, self.divide = (
            operator.add, operator.sub, operator.mul, operator.truediv,
        )  # fmt: skip

    def square(self, a: Rounded) -> Rounded:
        return a**2

    def scale(self, a: Rounded, power: float) -> Rounded:
        return power * a

    def complement(self, a: Rounded) -> Rounded:
        return 1 - a


class Native:
    """NumPy's (and ml_dtypes') own arithmetic on arrays of one element."""

    def __init__(self, target: Format) -> None:
        self.dtype = DTYPES[target.name]

    def number(self, x: float) -> Any:
        return np.array([x], dtype=self.dtype)

    add, subtract, multiply, divide = np.add, np.subtract, np.multiply, np.divide
    square, exp = np.square, np.exp

    def scale(self, a: Any, power: float) -> Any:
        return a * self.number(power)

    def complement(self, a: Any) -> Any:
        return self.number(1.0) - a

    def inner_product(self, coefficients: Sequence[float], terms: Sequence[Any]) -> Any:
        products = [self.number(c) * t for c, t in zip(coefficients, terms, strict=True)]
        return products[2] + (products[0] + products[1])


@dataclass(frozen=True)
class Simulated:
    """Arithmetic in rational numbers under the hypotheses, each freedom taken at random with probability one half.

    `wide`: an intermediate may keep 30 bits more, and then has no limit on its exponent, as in a fused multiply-add.
    `flush`: subnormal operands and results may become zero. `exp_ulps`: exp errs by up to so many ulp.
    """

    target: Format
    draw: Random
    wide: bool = False
    flush: bool = False
    exp_ulps: float = 0.0
    counted: Format | None = None

    def number(self, x: float) -> Number:
        return Fraction(x)

    def may(self, freedom: bool) -> bool:
        return freedom and self.draw.random() < 0.5

    def flushed(self, x: Number) -> Number:
        small = isinstance(x, Fraction) and abs(x) < Fraction(2) ** self.target.emin
        return Fraction(0) if small and self.may(self.flush) else x

    def rounded(self, x: Fraction) -> Number:
        if self.may(self.wide):
            return x if abs(x) < 1 and x.denominator < 2**200 else quantized(x, self.target.precision + 30, None)
        y = quantized(x, self.target.precision, self.target.emin)
        if abs(y) > Fraction(self.target.largest):
            return math.inf if y > 0 else -math.inf
        return self.flushed(y)

    def operation(self, exactly: Callable[..., Any], *operands: Number) -> Number:
        """One rounded operation; infinities, NaN and division by zero go by NumPy's rules."""
        x = [self.flushed(o) for o in operands]
        if all(isinstance(v, Fraction) for v in x):
            try:
                return self.rounded(exactly(*x))
            except ZeroDivisionError:
                pass
        with np.errstate(all="ignore"):
            signs = [np.float64(v if isinstance(v, float) else (v > 0) - (v < 0)) for v in x]
            return special_or_zero(float(exactly(*signs)))

    def add(self, a: Number, b: Number) -> Number:
        return self.operation(operator.add, a, b)

    def subtract(self, a: Number, b: Number) -> Number:
        return self.operation(operator.sub, a, b)

    def multiply(self, a: Number, b: Number) -> Number:
        return self.operation(operator.mul, a, b)

    def divide(self, a: Number, b: Number) -> Number:
        return self.operation(operator.truediv, a, b)

    def square(self, a: Number) -> Number:
        return self.operation(lambda x: x * x, a)

    def scale(self, a: Number, power: float) -> Number:
        return self.multiply(a, Fraction(power))

    def complement(self, a: Number) -> Number:
        return self.subtract(Fraction(1), a)

    def inner_product(self, coefficients: Sequence[float], terms: Sequence[Number]) -> Number:
        products = [self.multiply(Fraction(c), t) for c, t in zip(coefficients, terms, strict=True)]
        self.draw.shuffle(products)
        total = products[0]
        for product in products[1:]:
            total = self.add(total, product)
        return total

    def exp(self, a: Number) -> Number:
        x = self.flushed(a)
        if not isinstance(x, Fraction) or abs(x) > 200_000:
            limit = x if isinstance(x, float) else math.inf if x > 0 else -math.inf
            return special_or_zero(float(np.exp(np.float64(limit))))
        value = as_ball(x).exp().mid()
        mantissa, power = value.man_exp()
        exact = Fraction(int(mantissa)) * Fraction(2) ** int(power)
        counted = self.counted or self.target
        error = Fraction(self.exp_ulps) * Fraction(self.draw.choice([-1.0, 1.0, self.draw.uniform(-1, 1)]))
        erring = exact + error * unit_in_last_place(exact, counted)
        if counted is not self.target or not self.exp_ulps:
            return self.rounded(erring)
        # A number of the format, on the side of `erring` that is nearer the exact value.
        result = quantized(erring, counted.precision, counted.emin, math.floor if error > 0 else math.ceil)
        return math.inf if result > Fraction(counted.largest) else self.flushed(result)


def special_or_zero(x: float) -> Number:
    return x if x != 0 else Fraction(0)


def exponent_of(x: Fraction) -> int:
    """floor(log2|x|), for x ≠ 0."""
    guess = abs(x).numerator.bit_length() - x.denominator.bit_length()
    return guess if abs(x) >= Fraction(2) ** guess else guess - 1


def quantized(x: Fraction, digits: int, emin: int | None, to_integer: Callable[[Fraction], int] = round) -> Fraction:
    """x to `digits` significant bits (to nearest, ties to even), fewer below 2^emin."""
    if x == 0:
        return x
    exponent = exponent_of(x) if emin is None else max(exponent_of(x), emin)
    quantum = Fraction(2) ** (exponent - digits + 1)
    return to_integer(x / quantum) * quantum


def unit_in_last_place(x: Fraction, target: Format) -> Fraction:
    return Fraction(2) ** (max(exponent_of(x), target.emin) - target.precision + 1)


def allowed_simulation(target: Format, constants: Profile, seed: str) -> Simulated:
    """The simulator that takes every freedom that the profile gives."""
    ulps, counted, _ = constants.bound("exp", target)
    return Simulated(target, Random(seed), wide=True, flush=constants.flush, exp_ulps=ulps, counted=counted)


# Programs -----------------------------------------------------------------------------------------------------


def draw_number(target: Format, draw: Random) -> float:
    """Mostly within 2^±4, sometimes near either end of the range, subnormal numbers included."""
    lowest = target.emin - target.precision + 1
    low, high = draw.choice([(-4, 4)] * 5 + [(lowest, target.emin + 4), (target.emax - 3, target.emax)])
    significand = draw.randrange(2 ** (target.precision - 1), 2**target.precision)
    magnitude = math.ldexp(significand, draw.randint(low, high) - target.precision + 1)
    return float(target.round(draw.choice([-1, 1]) * magnitude))


def draw_program(target: Format, draw: Random, length: int = 6) -> tuple[list[float], list[Step]]:
    """Three inputs, and steps that each take earlier values by their position."""
    inputs = [draw_number(target, draw) for _ in range(3)]
    program: list[Step] = []
    arity = {"add": 2, "subtract": 2, "multiply": 2, "divide": 2, "square": 1, "complement": 1, "exp": 1, "scale": 1}
    for index in range(length):
        name = draw.choice([*arity, "inner_product"])
        operands = tuple(draw.randrange(3 + index) for _ in range(arity.get(name, 3)))
        constants: tuple[float, ...] = ()
        if name == "scale":
            constants = (draw.choice([0.5, 2.0, -0.25]),)
        if name == "inner_product":
            constants = tuple(float(target.round(draw.uniform(-2, 2))) for _ in operands)
        program.append((name, operands, constants))
    return inputs, program


def run(machine: Machine, inputs: Sequence[float], program: Sequence[Step]) -> list[Any]:
    """The value of every step, in order."""
    values = [machine.number(x) for x in inputs]
    for name, operands, constants in program:
        x = [values[i] for i in operands]
        if name == "inner_product":
            values.append(machine.inner_product(constants, x))
        else:
            values.append(getattr(machine, name)(*x, *constants))
    return values[len(inputs) :]


@dataclass(frozen=True)
class Law:
    """What came of running programs on a machine: every escape from a ball, and how many balls say something."""

    escapes: list[str]
    bounded: int
    steps: int


def contained(target: Format, constants: Profile, machine: Callable[[str], Machine]) -> Law:
    escapes, bounded, steps = [], 0, 0
    for number in range(PROGRAMS):
        seed = f"{target.name} {number}"
        inputs, program = draw_program(target, Random(seed))
        balls = run(Balls(target, constants), inputs, program)
        with np.errstate(all="ignore"):
            got = run(machine(seed), inputs, program)
        for index, (x, ball) in enumerate(zip(got, balls, strict=True)):
            value = float(x[0]) if isinstance(x, np.ndarray) else x
            steps += 1
            bounded += not ball.specials and bool(ball.radius.is_finite())
            if outside(value, ball):
                escapes.append(f"{seed}: step {index} of {inputs} {program}: {as_ball(value).str(9)} is not in {ball}")
    return Law(escapes, bounded, steps)


@every_format
def test_what_numpy_computes_lies_in_the_ball(target: Format) -> None:
    law = contained(target, OPENCL, lambda seed: Native(target))
    assert law.escapes == []
    assert law.bounded > law.steps / 2


@every_format
def test_plain_rounding_to_nearest_lies_in_the_strict_profiles_ball(target: Format) -> None:
    law = contained(target, STRICT, lambda seed: Simulated(target, Random(seed)))
    assert law.escapes == []
    assert law.bounded > law.steps / 2


@pytest.mark.parametrize("name", PROFILES)
@every_format
def test_every_freedom_that_the_profile_gives_stays_in_the_ball(target: Format, name: str) -> None:
    constants = profile(name, "jax")
    law = contained(target, constants, lambda seed: allowed_simulation(target, constants, seed))
    assert law.escapes == []


@every_format
def test_arithmetic_with_two_bits_fewer_escapes(target: Format) -> None:
    coarse = replace(target, precision=target.precision - 2)
    law = contained(target, OPENCL, lambda seed: Simulated(coarse, Random(seed)))
    assert len(law.escapes) > PROGRAMS / 10
    assert "is not in Rounded(" in law.escapes[0]


@every_format
def test_an_exponential_that_errs_by_four_times_the_bound_escapes(target: Format) -> None:
    ulps, counted, _ = OPENCL.bound("exp", target)
    four_times = Simulated(target, Random(7), wide=True, exp_ulps=4 * ulps, counted=counted)
    ball = RoundedBalls(target, replace(OPENCL, flush=False))
    # 1 is just above a binade's foot, where sup and ulp agree best.
    got = [four_times.exp(Fraction(1, 2**20)) for _ in range(200)]
    in_float32 = target is BFLOAT16  # there the error of float32's exp is lost beside the rounding
    assert any(outside(x, ball.exp(ball.given(2.0**-20))) for x in got) is not in_float32


def test_flushing_escapes_where_the_profile_does_not_allow_it() -> None:
    law = contained(FLOAT16, STRICT, lambda seed: Simulated(FLOAT16, Random(seed), flush=True))
    assert law.escapes
    allowed = contained(FLOAT16, OPENCL, lambda seed: Simulated(FLOAT16, Random(seed), flush=True))
    assert allowed.escapes == []


def test_the_simulator_rounds_as_the_format_does() -> None:
    for target in FORMATS.values():
        draw = Random(f"simulator {target.name}")
        for _ in range(300):
            x = draw.uniform(-4, 4) * 2.0 ** draw.randint(-12, 12)
            assert Simulated(target, Random(0)).rounded(Fraction(x)) == float(target.round(x))


# Elementary functions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [FLOAT64, FLOAT32, FLOAT16], ids=lambda f: f.name)
@pytest.mark.parametrize("constants", [OPENCL, STRICT], ids=lambda p: p.name)
def test_exp_may_err_by_k_ulp_and_not_by_k_and_two(target: Format, constants: Profile) -> None:
    ops = RoundedBalls(target, constants)
    bound = int(constants.bound("exp", target)[0])
    x = 2.0 ** (1 - target.precision)  # e^x is just above 1, the foot of a binade
    ball = ops.exp(ops.given(x))
    ulp = as_ball(Fraction(2) ** (1 - target.precision))
    for sign in (1, -1):
        assert not outside_ball(ball.exact + sign * bound * ulp, ball)
        assert outside_ball(ball.exact + sign * (bound + 2) * ulp, ball)
    assert outside(1 + (bound + 3) * 2.0 ** (1 - target.precision), ball)


@pytest.mark.parametrize(
    ("target", "x"),
    [(FLOAT16, -9.703125), (FLOAT32, None), (FLOAT64, None)],
    ids=["float16", "float32", "float64"],
)
def test_exp_that_errs_to_below_the_smallest_normal_number_may_be_flushed(target: Format, x: float | None) -> None:
    """e^x is K ulp or less above 2^emin; a function that errs by K ulp gives a subnormal number, which is flushed."""
    ops = RoundedBalls(target, OPENCL)
    omega = as_ball(Fraction(2) ** target.emin)
    bound = int(OPENCL.bound("exp", target)[0])
    ulp = omega * as_ball(Fraction(2) ** (1 - target.precision))
    # A rounded ball may be known in more digits than the format holds: the argument is where e^x = 2^emin + (K−½)·ulp.
    argument = arb(x) if x is not None else (omega + (bound - arb(0.5)) * ulp).log().mid()
    ball = ops.exp(Rounded(ops, argument))
    assert omega < ball.exact < omega + bound * ulp
    assert not outside(0.0, ball)


@pytest.mark.parametrize("constants", [OPENCL, STRICT], ids=lambda p: p.name)
def test_a_result_that_may_be_flushed_or_underflows_is_decided(constants: Profile) -> None:
    """All of it is its error, to the last bit: 0 is inside, and what has another sign is not."""
    half, single = RoundedBalls(FLOAT16, constants), RoundedBalls(FLOAT32, constants)
    balls = [single.given(2.0**-100) / single.given(3.0 * 2.0**60)]
    if constants.flush:
        balls += [half.exp(half.given(-12.0)), half.given(1.0) / half.given(30000.0)]
    for ball in balls:
        assert decision(0.0, [ball]) == "inside"
        assert decision(-1e-40, [ball]) == "outside"


def test_the_larger_of_two_balls_that_overlap_is_no_more_than_either() -> None:
    a, b = arb(1, 2.0**-60), arb(1) + arb(2) ** -70
    for found in (larger(a, b), larger(b, a)):
        assert found.overlaps(a)
        assert found < 1 + arb(2) ** -59
    assert larger(arb(2), arb(3)) == 3


def test_the_exponential_of_a_number_near_float64s_end_may_be_infinite_and_does_not_raise() -> None:
    with precision(192):
        ops = RoundedBalls(FLOAT64, OPENCL)
        for x in (1e300, FLOAT64.largest):
            assert not outside(math.inf, ops.exp(ops.given(x)))
            assert not outside(0.0, ops.exp(ops.given(-x)))
            assert not outside(0.0, ops.sigmoid(ops.given(-x)))


@pytest.mark.parametrize("function", ["sin", "cos"])
def test_sine_and_cosine_may_err_by_their_bound(function: str) -> None:
    for target in (FLOAT64, FLOAT32, FLOAT16):
        ops = RoundedBalls(target, OPENCL)
        for x in (0.0, 0.5, 1.0, 3.0, 12.5):
            ball = getattr(ops, function)(ops.given(x))
            exact = getattr(arb(x), function)()
            got = float(getattr(np, function)(DTYPES[target.name](x)))
            assert ball.exact.overlaps(exact)
            assert not outside(got, ball)
            assert outside(got + 8 * OPENCL.ulps[target.name][function] * 2.0 ** (1 - target.precision), ball)


# Overflow and division ----------------------------------------------------------------------------------------


def test_a_sum_that_may_reach_the_overflow_threshold_may_be_infinite() -> None:
    for target in FORMATS.values():
        ops = RoundedBalls(target, OPENCL)
        largest = ops.given(target.largest)
        assert (largest + largest).specials == POSITIVE
        assert (-largest - largest).specials == NEGATIVE
        assert (largest - largest).specials == 0
        assert ops.given(target.largest / 4).__add__(ops.given(target.largest / 4)).specials == 0


def test_the_logistic_function_of_an_overflowing_exponential_holds_zero() -> None:
    for target in FORMATS.values():
        ops = RoundedBalls(target, OPENCL)
        x = ops.given(float(target.round(math.log(target.largest) + 4)))
        assert ops.exp(x).specials == POSITIVE
        sigmoid = ops.sigmoid(-x)
        assert sigmoid.specials == 0
        assert not outside(0.0, sigmoid)
        assert not outside(float(target.round(math.exp(-float(x.exact)))), sigmoid)
        assert outside(0.5, sigmoid)


def test_the_ratio_of_two_overflows_may_be_nan() -> None:
    ops = RoundedBalls(FLOAT16, OPENCL)
    e = ops.exp(ops.given(12.0))
    assert (e / (1 + e)).specials & NAN
    assert (1 / (1 + e)).specials == DOUBT, "0 is what an infinite e makes of it"


def test_infinity_minus_infinity_may_be_nan() -> None:
    ops = RoundedBalls(FLOAT16, OPENCL)
    big = ops.given(60000.0) * ops.given(2.0)
    assert big.specials == POSITIVE
    assert (big - big).specials & NAN
    assert not (big + big).specials & (NAN | NEGATIVE)


def test_zero_times_infinity_may_be_nan() -> None:
    ops = RoundedBalls(FLOAT16, OPENCL)
    big = ops.given(60000.0) * ops.given(3.0)
    assert (big * ops.given(0.0)).specials & NAN
    assert (ops.given(-1.0) * big).specials == NEGATIVE


def test_a_flushed_subnormal_number_times_infinity_may_be_nan() -> None:
    small = 2.0**-20
    for constants, may_be_nan in ((OPENCL, True), (STRICT, False)):
        ops = RoundedBalls(FLOAT16, constants)
        big = ops.given(60000.0) * ops.given(3.0)
        product = big * ops.given(small)
        assert outside(math.nan, product) is not may_be_nan
        assert not outside(math.inf, product)


def test_a_sum_of_products_that_overflows_may_be_infinite() -> None:
    ops = RoundedBalls(FLOAT16, OPENCL)
    total = ops.inner_product([1.0, 1.0], [ops.given(60000.0), ops.given(60000.0)])
    assert not outside(math.inf, total)
    assert outside(math.inf, ops.inner_product([1.0, 1.0], [ops.given(3.0), ops.given(4.0)]))


def test_nothing_is_known_of_a_quotient_whose_divisor_may_be_zero() -> None:
    ops = RoundedBalls(FLOAT32, OPENCL)
    one, third = ops.given(1.0), ops.given(1.0) / ops.given(3.0)
    assert (one / ops.given(0.0)).specials == ANYTHING | OVERFLOWED
    assert (one / (third + third + third - 1)).specials == ANYTHING | OVERFLOWED
    assert ((one / ops.given(0.0)) + 1).specials == ANYTHING | OVERFLOWED
    assert (ops.given(0.0) / (third + third + third - 1)).specials == NAN, "0, or 0/0"
    assert (one / third).specials == 0


def test_nothing_is_known_of_what_is_not_finite() -> None:
    ops = RoundedBalls(FLOAT64, OPENCL)
    for x in (math.inf, -math.inf, math.nan):
        assert ops.given(x).specials == ops.reported(x).specials == ANYTHING
        assert ops.exp(ops.given(x)).specials == ANYTHING


def test_a_subnormal_divisor_may_be_flushed_to_zero() -> None:
    one, small = 1.0, 2.0**-130
    assert RoundedBalls(FLOAT32, OPENCL).divide(*map(RoundedBalls(FLOAT32, OPENCL).given, (one, small))).specials
    strict = RoundedBalls(FLOAT32, STRICT)
    assert not strict.divide(strict.given(2.0**-100), strict.given(small)).specials


# Values -------------------------------------------------------------------------------------------------------


def test_a_given_number_is_known_exactly_and_a_reported_one_to_half_an_ulp() -> None:
    ops = RoundedBalls(FLOAT16, OPENCL)
    assert ops.given(1.5).radius.is_zero()
    reported = ops.reported(1.0)
    assert not outside(1 + 2.0**-11, reported)
    assert outside(1 + 2.0**-10, reported)
    assert not outside(2.0**-14, ops.reported(0.0)), "what was reported may have been flushed"
    assert outside(2.0**-13, ops.reported(0.0))
    gradual = RoundedBalls(FLOAT16, STRICT)
    assert not outside(2.0**-25, gradual.reported(0.0))
    assert outside(2.0**-24, gradual.reported(0.0))


def test_a_constant_has_the_radius_of_its_rounding() -> None:
    ops = RoundedBalls(FLOAT16, OPENCL)
    tenth = ops.constant(arb(1) / 10)
    assert not outside(float(np.float16(0.1)), tenth)
    assert outside(0.1001, tenth)


def test_a_number_that_the_format_does_not_hold_is_refused_as_an_operand() -> None:
    ops = RoundedBalls(FLOAT16, OPENCL)
    with pytest.raises(TypeError, match=r"0\.1 is not a number of float16; give it as ops\.constant"):
        ops.given(1.0) + 0.1
    assert (ops.given(1.0) + 0.125).exact == arb(1.125)


def test_only_the_square_is_a_power() -> None:
    with pytest.raises(TypeError, match="only the square is defined, got power 3"):
        RoundedBalls(FLOAT64, OPENCL).given(2.0) ** 3


def test_multiplying_by_a_power_of_two_adds_no_rounding() -> None:
    ops = RoundedBalls(FLOAT32, OPENCL)
    x = Rounded(ops, arb(1) / 3, arb(2) ** -30)
    assert (0.5 * x).radius == arb(2) ** -31
    assert (x * ops.given(0.5)).radius > arb(2) ** -31


# Comparisons --------------------------------------------------------------------------------------------------


OPERATIONS: dict[str, Callable[[RoundedBalls, Rounded, Rounded], Rounded]] = {
    "add": lambda ops, a, b: a + b,
    "subtract": lambda ops, a, b: a - b,
    "subtract from": lambda ops, a, b: b - a,
    "multiply": lambda ops, a, b: a * b,
    "divide": lambda ops, a, b: a / b,
    "divide into": lambda ops, a, b: b / a,
    "square": lambda ops, a, b: a**2,
    "halve": lambda ops, a, b: 0.5 * a,
    "exp": lambda ops, a, b: ops.exp(a),
    "sin": lambda ops, a, b: ops.sin(a),
    "cos": lambda ops, a, b: ops.cos(a),
    "inner product": lambda ops, a, b: ops.inner_product([0.75, -1.5], [a, b]),
}


def pairs(target: Format) -> list[tuple[float, float]]:
    draw = Random(f"pairs {target.name}")
    return [(draw_number(target, draw), draw_number(target, draw)) for _ in range(40)]


def no_smaller(wide: Rounded, narrow: Rounded) -> bool:
    """Whether `wide` holds all that `narrow` does: at least its radius and its specials."""
    if wide.specials & ANYTHING:
        return True
    return not narrow.specials & ~wide.specials and not wide.radius < narrow.radius


@every_format
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_wider_operand_never_gives_a_narrower_result(target: Format, name: str) -> None:
    ops = RoundedBalls(target, OPENCL)
    for x, y in pairs(target):
        a, b = ops.given(x), ops.given(y)
        radii = [abs(a.exact) * as_ball(Fraction(k, 2**target.precision)) for k in (0, 1, 2, 9, 2**target.precision)]
        results = [OPERATIONS[name](ops, Rounded(ops, a.exact, r), b) for r in radii]
        for narrow, wide in itertools.pairwise(results):
            assert no_smaller(wide, narrow), f"{name} of {x!r}, {y!r}: {wide} is narrower than {narrow}"


@every_format
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_strict_profiles_ball_is_no_wider_than_opencls(target: Format, name: str) -> None:
    strict, opencl = RoundedBalls(target, STRICT), RoundedBalls(target, OPENCL)
    for x, y in pairs(target):
        narrow, wide = (OPERATIONS[name](ops, ops.given(x), ops.given(y)) for ops in (strict, opencl))
        assert no_smaller(wide, narrow), f"{name} of {x!r}, {y!r}: strict {narrow}, opencl {wide}"


def test_some_strict_balls_are_narrower_than_opencls() -> None:
    strict, opencl = (RoundedBalls(FLOAT64, p) for p in (STRICT, OPENCL))
    assert strict.exp(strict.given(0.5)).radius < opencl.exp(opencl.given(0.5)).radius
    assert not no_smaller(strict.exp(strict.given(0.5)), opencl.exp(opencl.given(0.5)))


# Complex numbers ----------------------------------------------------------------------------------------------


def complex_programs(ops: Any, z: Any, w: Any) -> dict[str, Any]:
    """Formulas of the document's kinds: `ops.exp` and operators, the imaginary part small beside the real one."""
    sigmoid = 1 / (1 + ops.exp(-z))
    return {
        "sum": z + w,
        "difference": 1 - z,
        "product": z * w,
        "square": (z - w) ** 2,
        "halved": 0.5 * (z - w) ** 2,
        "exp": ops.exp(z),
        "sigmoid": sigmoid,
        "network": 0.5 * (0.25 - 1 / (1 + ops.exp(-(w * sigmoid + 0.5 * z)))) ** 2,
    }


class NumpyComplex:
    @staticmethod
    def exp(z: Any) -> Any:
        return np.exp(z)


@pytest.mark.parametrize("target", [FLOAT64, FLOAT32], ids=lambda f: f.name)
def test_what_numpy_computes_in_complex_numbers_lies_in_the_balls(target: Format) -> None:
    ops, dtype, draw = RoundedBalls(target, OPENCL), COMPLEX_DTYPES[target.name], Random(f"complex {target.name}")
    caught = 0
    for _ in range(150):
        x, y = (float(target.round(draw.uniform(-6, 6))) for _ in range(2))
        h, k = (float(target.round(draw.uniform(-1, 1) * 2.0 ** draw.choice([-40, -20, -4]))) for _ in range(2))
        exact = complex_programs(
            ComplexOver(ops), Complex(ops.given(x), ops.given(h)), Complex(ops.given(y), ops.given(k))
        )
        got = complex_programs(NumpyComplex, np.array([complex(x, h)], dtype), np.array([complex(y, k)], dtype))
        for name, ball in exact.items():
            value = got[name][0]
            for part, rounded in ((float(value.real), ball.re), (float(value.imag), ball.im)):
                assert not outside(part, rounded), f"{name} of {x}+{h}i, {y}+{k}i: {part!r} is not in {rounded}"
                caught += outside(part * (1 + 300 * 2.0**-target.precision), rounded)
    assert caught > 150


def test_complex_formulas_over_rational_numbers_are_those_of_the_complex_numbers() -> None:
    z, w = Complex(Fraction(3, 4), Fraction(-1, 8)), Complex(Fraction(5, 2), Fraction(1, 16))
    for got, expected in (
        (z + w, complex(3.25, -0.0625)),
        (z - w, complex(0.75, -0.125) - complex(2.5, 0.0625)),
        (z * w, complex(0.75, -0.125) * complex(2.5, 0.0625)),
        (z / w, complex(0.75, -0.125) / complex(2.5, 0.0625)),
        (2 - z, complex(1.25, 0.125)),
        (z**2, complex(0.75, -0.125) ** 2),
        (1 / w, 1 / complex(2.5, 0.0625)),
    ):
        assert complex(float(got.re), float(got.im)) == pytest.approx(expected, rel=1e-15)
    with pytest.raises(TypeError, match="only the square is defined, got power 3"):
        z**3


def test_a_real_number_has_no_imaginary_part_even_beside_an_overflow() -> None:
    """1 + z leaves Im z as it is whatever Re z holds: its zero is not 0·Re z."""
    ops = RoundedBalls(FLOAT32, OPENCL)
    overflowing = ops.exp(ops.given(100.0))
    assert overflowing.specials == POSITIVE
    assert (1 + Complex(overflowing, ops.given(0.5))).im.specials == 0
