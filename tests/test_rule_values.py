"""The rounding rules give what they gave: that none became wider, or admits more, no program that is run can say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from flint import arb
from tests_support import benchmark

from gradconform.reference.arithmetic import function_rules, rules
from gradconform.reference.arithmetic.array_values import LEAST
from gradconform.reference.arithmetic.arrays import RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.ball_values import Rounded
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import FLOAT32, FLOAT64
from gradconform.reference.arithmetic.midpoints import EXACTLY, DoubleArray
from gradconform.reference.arithmetic.profiles import STRICT
from gradconform.reference.arithmetic.rounded import RoundedBalls
from gradconform.reference.arithmetic.specials import ANYTHING, NAN, NEGATIVE, POSITIVE

VALUES = benchmark("rule_values")
ARRAYS = benchmark("rule_arrays")


def test_every_rule_gives_what_it_gave() -> None:
    found, kept = VALUES.fingerprints(), VALUES.kept()
    changed = [name for name in {**found, **kept} if found.get(name) != kept.get(name)]
    assert not changed, f"if it is meant: python benchmarks/rule_values.py --write ({', '.join(changed)})"


def test_a_radius_that_is_wider_by_a_millionth_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    divide = RoundedBalls.divide

    def wider(self: RoundedBalls, a: Rounded, b: Rounded) -> Rounded:
        right = divide(self, a, b)
        return Rounded(self, right.exact, right.radius * arb(1 + 1e-6), right.specials, right.spread)

    monkeypatch.setattr(RoundedBalls, "divide", wider)
    assert VALUES.fingerprint("divide") != VALUES.kept()["divide"]


def test_a_bit_that_is_admitted_besides_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    absolute = RoundedBalls.absolute

    def vaguer(self: RoundedBalls, x: Rounded) -> Rounded:
        right = absolute(self, x)
        return Rounded(self, right.exact, right.radius, right.specials | (4 if x.specials == 1 else 0), right.spread)

    monkeypatch.setattr(RoundedBalls, "absolute", vaguer)
    assert VALUES.fingerprint("absolute") != VALUES.kept()["absolute"]


def _double(high: float, low: float, radius: float) -> tuple[RoundedArrays, RoundedArray]:
    arrays = RoundedArrays(FLOAT64, STRICT)
    return arrays, RoundedArray(arrays, DoubleArray(np.array([high]), np.array([low])), np.array([radius]), None, None)


@pytest.mark.parametrize(
    ("high", "low", "radius"),
    [
        (-1.0, 2.0**-60, 1.0),
        (1.0, -(2.0**-60), 1.0),
        (1.0, -(2.0**-53), 1 - 2.0**-53),
        (-1.0, 2.0**-53, 1 - 2.0**-53),
    ],
)
def test_the_low_word_counts_where_a_ball_reaches_zero(high: float, low: float, radius: float) -> None:
    arrays, x = _double(high, low, radius)
    with precision(EXACTLY):
        ball = arrays.scalar(x, (0,), (1,))
        assert rules.ways(arrays, x).tolist() == [rules.ways(arrays.balls, ball)]
        sides = [bool(np.asarray(side)) for side in function_rules.sides(arrays, x)]
        assert sides == list(function_rules.sides(arrays.balls, ball))
        slope = arrays.balls.step(ball, 1.0, 0.0)
        assert arrays.step(x, arrays.coerce(1.0), arrays.coerce(0.0)).radii() == pytest.approx(float(slope.radius))
        reaches = abs(arb(high) + arb(low)) <= radius
        below = arb(high) + arb(low) - radius < 0
    over = np.asarray(arrays.divide(arrays.given(np.array([1.0])), x).bits)
    assert bool(over & ANYTHING) == reaches
    with np.errstate(all="ignore"):
        assert bool(np.asarray(arrays.sqrt(x).bits) & NAN) == below


def test_the_low_word_counts_where_a_ball_reaches_the_largest_number() -> None:
    ulp = 2.0**971
    arrays, x = _double(FLOAT64.largest - ulp, 0.49 * ulp, 1.25 * ulp)  # up to 0.74 ulp beyond the largest number
    with np.errstate(all="ignore"), precision(EXACTLY):
        bits = arrays.absolute(x).bits
        assert arrays.balls.absolute(arrays.scalar(x, (0,), (1,))).specials == POSITIVE
    assert np.asarray(bits).tolist() == [POSITIVE]


@pytest.mark.parametrize(
    ("argument", "off"), [(-720.0, 0.25), (-744.0413, 0.25), (-744.0413, 0.5), (-744.0413, 1.25), (-1000.0, 300.0)]
)
def test_a_tail_that_float64_hardly_holds_is_between_0_and_its_largest_number(argument: float, off: float) -> None:
    """The exponential of the other sign is infinite, so that the quotient is known to lie between 0 and e^(x + r)."""
    arrays = RoundedArrays(FLOAT64, STRICT)
    with np.errstate(all="ignore"):
        found = arrays.sigmoid(RoundedArray(arrays, arrays.mids.lift(np.array([argument])), np.array([off])))
    with precision(200):
        largest = arb(argument + off).exp()
        value = arrays.scalar(found, (0,), (1,))
        assert value.exact + value.radius >= largest
    sharp = math.exp(argument + off) * (1 + 2.0**-20) + LEAST
    assert value.radius <= sharp * (1 + 1e-9) + LEAST


@pytest.mark.parametrize(("argument", "bits"), [(-31.1329, NEGATIVE), (-31.1329, POSITIVE), (-23.1571, POSITIVE)])
def test_a_divisor_that_may_be_infinite_or_as_little_as_1_takes_no_digits_of_the_quotient(
    argument: float, bits: int
) -> None:
    """1 + e^−x is 1 at least, of which float64 loses the last digits where e^−x is 10^13 and may be 0."""
    arrays = RoundedArrays(FLOAT64, STRICT)
    x = RoundedArray(arrays, arrays.mids.lift(np.array([argument])), np.array([0.0]), None, np.array([bits], np.uint8))
    with precision(EXACTLY):
        ball = arrays.balls.sigmoid(arrays.scalar(x, (0,), (1,)))
        assert float(ball.radius) <= 1 + 1e-9
    assert arrays.sigmoid(x).radii()[0] == pytest.approx(float(ball.radius), rel=2.0**-28)


def test_a_sigmoid_far_below_is_bounded_by_its_exponential_in_balls_too() -> None:
    """By the quotient's rule alone it is off by 3,000 times itself, where the divisor's ball nearly reaches 0."""
    with precision(200):
        balls = RoundedArrays(FLOAT64, STRICT).balls
        ball = balls.sigmoid(Rounded(balls, arb(-359.5), arb(0.6923598797112487)))
        assert ball.radius <= arb(-359.5 + 0.6923598797112487).exp() * (1 + 2.0**-19)
        assert ball.radius >= arb(-359.5).exp()


def test_a_sigmoid_whose_ball_reaches_0_is_0_from_100_000_below_on() -> None:
    with precision(200):
        balls = RoundedArrays(FLOAT64, STRICT).balls
        at = [balls.sigmoid(Rounded(balls, arb(x), arb(1.0))) for x in (-99_999.5, -100_000.5)]
        assert [x.exact.is_zero() for x in at] == [False, True]
        assert all(0 < x.radius <= arb(-99_000).exp() for x in at)


def test_what_nothing_is_known_of_bounds_nothing() -> None:
    arrays = RoundedArrays(FLOAT32, STRICT)
    unknown = [RoundedArray(arrays, np.ones(1), np.zeros(1), None, np.full(1, bits, np.uint8)) for bits in (8, 15)]
    for x in unknown[1], RoundedArray(arrays, np.ones(1), np.full(1, 9.0)):
        for low, high in ((unknown[0], arrays.coerce(1.0)), (arrays.coerce(0.0), unknown[0])):
            kept = arrays.bounded(x, low, high)
            assert (kept.radii().tolist(), np.asarray(kept.bits).tolist()) == (
                x.radii().tolist(),
                np.asarray(x.bits).tolist(),
            )
        assert arrays.bounded(x, arrays.coerce(0.0), arrays.coerce(1.0)).radii() == pytest.approx(0.5)


def test_nothing_over_a_sum_of_which_little_is_known_is_nothing() -> None:
    arrays = RoundedArrays(FLOAT32, STRICT)
    e = RoundedArray(arrays, np.array([[1.0, 0.5]]), np.array([[0.0, 0.5]]))
    found = arrays.over_row_sum(arrays.given(np.zeros((1, 1))), e)
    assert (found.high.tolist(), found.radii().tolist(), found.specials) == ([[0.0]], [[0.0]], None)


@pytest.mark.parametrize("name", ARRAYS.array_operations())
def test_whole_arrays_have_the_balls_and_bits_of_the_scalar_rules_whichever_way_they_go(name: str) -> None:
    assert [said for case in ARRAYS.array_cases(name) if (said := case())] == []


@pytest.mark.parametrize(
    ("primitive", "planted", "name", "said"),
    [
        ("apart_mids", lambda self, a, b: np.abs(self.mids.high(a - b)) * (1 + 1e-6), "select", "wider"),
        ("underflows", False, "multiply", "narrower"),
        ("ulp", staticmethod(lambda sup, counted: 0.0), "sin", "narrower"),
    ],
)
def test_an_array_that_says_something_else_is_noticed(
    primitive: str, planted: Any, name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RoundedArrays, primitive, planted)
    assert any(said in found for case in ARRAYS.array_cases(name) if (found := case()))
