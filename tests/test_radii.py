"""Radii hold what programs hold: a small instance of `benchmarks/radii.py`, that it would notice, and what it found."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from flint import arb
from tests_support import benchmark

from gradconform.reference.arithmetic.arrays import RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import FLOAT16, FLOAT32, FLOAT64, FORMATS
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.arithmetic.rounded import NAN, NEGATIVE, POSITIVE, Rounded, RoundedBalls
from gradconform.reference.derivations.activations import ACTIVATIONS

radii: Any = benchmark("radii")
trying: Any = benchmark("radii_operations")
OPERATIONS = {o.name: o for o in trying.operations()}


def found(operation: str, dtype: str, cases: int, made: Any = None, profile: str = "opencl") -> Any:
    batch = radii.batch(OPERATIONS[operation], radii.Setting(dtype, profile, "any"), cases, "test")
    return radii.tried(batch, made or radii.ARITHMETICS)


def test_every_operation_of_the_arithmetics_is_tried() -> None:
    assert trying.untried(*trying.CLASSES) == []


def test_an_operation_that_is_not_tried_is_named() -> None:
    class More(RoundedBalls):
        def gamma(self, x: Rounded) -> Rounded:
            return x

    assert trying.untried(More) == ["More.gamma"]


def test_no_radius_is_unsound() -> None:
    tried = 0
    for name, dtype in zip(OPERATIONS, itertools.cycle(FORMATS), strict=False):
        result = found(name, dtype, 12)
        assert not result.unsound, result.example
        tried += result.tried.total()
    assert tried > 1000


class Halved(RoundedArrays):
    """Half of exp's radius, of the number that its argument's ball makes of it."""

    def exp(self, x: RoundedArray) -> RoundedArray:
        right = super().exp(x)
        return RoundedArray(self, right.mid, right.radii() / 2, right.spread, right.specials)


class Certain(RoundedArrays):
    """Sums that never overflow."""

    def row_sum(self, x: RoundedArray) -> RoundedArray:
        right = super().row_sum(x)
        return RoundedArray(self, right.mid, right.radii(), None, None)


def test_half_a_radius_is_noticed() -> None:
    made = {"arrays": lambda setting: Halved(FORMATS[setting.dtype], OPENCL)}
    result = found("exp", "float32", 100, made)
    assert result.unsound["arrays", "float32"] > 5
    assert " held " in result.example["arrays", "float32"]
    assert "outside" in result.example["arrays", "float32"]
    assert radii.said([("exp", result)], 1.0) == 1


def test_an_infinity_that_is_not_admitted_is_noticed() -> None:
    made = {"arrays": lambda setting: Certain(FORMATS[setting.dtype], OPENCL)}
    assert found("row_sum", "float16", 400, made).unsound["arrays", "float16"] > 0
    assert not found("row_sum", "float16", 400).unsound


def test_a_scan_without_unsound_radii_ends_in_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert radii.said([("x²", found("x²", "float32", 20))], 1.0) == 0
    assert "60 balls with 8 programs each, 0 unsound" in capsys.readouterr().out


# What it found --------------------------------------------------------------------------------------------------------


def array_of(ops: RoundedArrays, mid: float, radius: float = 0.0, specials: int = 0, spread: float = 0.0) -> Any:
    one = np.ones(1)
    bits = np.full(1, specials, np.uint8) if specials else None
    return RoundedArray(ops, ops.mids.lift(mid * one), radius * one, spread * one if spread else None, bits)


@pytest.mark.parametrize("target", [FLOAT64, FLOAT32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", ["exp", "expm1"])
def test_exp_s_radius_over_minus_746_and_700_about_it_reaches_e_to_the_minus_46(name: str, target: Any) -> None:
    ops = RoundedArrays(target, OPENCL)
    result = getattr(ops, name)(array_of(ops, -746.0, 700.0))
    upper = float(result.high[0] + result.radii()[0])
    assert upper >= math.exp(-46) - (name == "expm1")
    if name == "exp":
        assert math.exp(-46) == pytest.approx(1.0530617357553812e-20)
        assert float(result.radii()[0]) == pytest.approx(1.0530617357553812e-20, rel=1e-5)


def test_a_product_of_a_set_may_overflow_by_the_set_s_own_width() -> None:
    ops = RoundedArrays(FLOAT16, OPENCL)
    left = array_of(ops, -3.5, 0.001, spread=916480.0)
    two = RoundedArray(ops, np.array([-32016.0, 1.0]), np.array([62.5, 0.0]), None, np.array([0, NAN], np.uint8))
    assert (left * two).specials[0] & (POSITIVE | NEGATIVE) == POSITIVE | NEGATIVE


def test_the_maximum_of_minus_infinity_is_the_other_number() -> None:
    balls = RoundedBalls(FLOAT32, OPENCL)
    result = balls.maximum(Rounded(balls, arb(0), arb(1), NEGATIVE), balls.given(-88.5))
    assert abs(arb(-88.5) - result.exact) <= result.radius


def test_two_infinities_of_a_sum_are_nan_whether_terms_or_partial_sums() -> None:
    balls, arrays = RoundedBalls(FLOAT32, OPENCL), RoundedArrays(FLOAT32, OPENCL)
    half = FLOAT32.largest * 0.75
    terms = [balls.given(-half), balls.given(-half), Rounded(balls, arb(1), arb(0), POSITIVE)]
    assert balls.total_of(terms).specials & NAN
    row = RoundedArray(arrays, np.array([[-half, -half, 1.0]]), None, None, np.array([[0, 0, POSITIVE]], np.uint8))
    assert arrays.row_sum(row).specials[0, 0] & NAN


def test_selu_s_slope_of_a_subnormal_number_may_be_that_of_0() -> None:
    rule, tiny = ACTIVATIONS["selu"].rule, 2.0**-130
    balls, arrays = RoundedBalls(FLOAT32, OPENCL), RoundedArrays(FLOAT32, OPENCL)
    with precision(128):
        scalar = balls.derivative(balls.given(tiny), rule)
    element = arrays.derivative(array_of(arrays, tiny), rule)
    for exact, radius in ((float(scalar.exact), float(scalar.radius)), (element.high[0], element.radii()[0])):
        assert exact == pytest.approx(1.0507, abs=1e-4)
        assert exact + radius >= 1.7580993408473766
        assert exact + radius < 1.7582


def test_elu_s_slope_bends_on_the_other_side_of_0() -> None:
    rule = ACTIVATIONS["elu"].rule
    balls, arrays = RoundedBalls(FLOAT64, OPENCL), RoundedArrays(FLOAT64, OPENCL)
    with precision(128):
        scalar = balls.derivative(Rounded(balls, arb(0.01), arb(0.02)), rule)
    element = arrays.derivative(array_of(arrays, 0.01, 0.02), rule)
    for exact, radius in ((float(scalar.exact), float(scalar.radius)), (element.high[0], element.radii()[0])):
        assert exact - radius <= math.exp(-0.01)


def test_a_part_of_terms_that_are_all_0_about_wide_radii_is_still_a_number_of_0_to_1() -> None:
    balls = RoundedBalls(FLOAT32, OPENCL)
    x = Rounded(balls, arb(0), arb(1))
    result = balls.part_of(x, balls.total_of([x, balls.given(0.0)]), arb(0))
    assert abs(arb(0.5) - result.exact) + 0.5 <= result.radius
    assert result.specials & NAN


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_float64_underflows_is_not_exactly_0(dtype: str) -> None:
    ops = RoundedArrays(FORMATS[dtype], OPENCL)
    tiny = array_of(ops, 2.0**-1074)
    for result in (tiny * tiny, tiny**2, 0.5 * tiny, tiny / array_of(ops, 2.0**100)):
        assert result.radii()[0] > 0
    for result in (array_of(ops, 0.0) * tiny, 0.5 * array_of(ops, 0.0)):
        assert result.radii()[0] == 0
