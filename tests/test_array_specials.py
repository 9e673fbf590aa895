"""Infinities, NaN, overflow and kinks are in the rules of the array arithmetic: no element is handed over by itself."""

from __future__ import annotations

import ast
import inspect
import sys
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from flint import arb
from tests_support import benchmark

from gradconform.reference.arithmetic import array_values, function_rules, rules
from gradconform.reference.arithmetic.arrays import RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from gradconform.reference.arithmetic.midpoints import Double, DoubleArray, Plain
from gradconform.reference.arithmetic.profiles import OPENCL, STRICT
from gradconform.reference.arithmetic.rounded import (
    ANYTHING,
    DOUBT,
    NAN,
    NEGATIVE,
    OVERFLOWED,
    POSITIVE,
    Rounded,
    RoundedBalls,
)
from gradconform.reference.array_judge import STANDINGS, Screen, standings_of

RULES = benchmark("array_rules")


@pytest.mark.parametrize("name", RULES.OPERATIONS)
def test_arrays_have_the_balls_and_bits_of_the_scalar_rules_for_adversarial_operands(name: str) -> None:
    assert [said for A in RULES.arithmetics() for said in RULES.differences(name, A, 60, 7)] == []


def test_the_set_at_a_kink_holds_its_ends_where_one_is_far_larger_than_the_other() -> None:
    arrays = RoundedArrays(FLOAT32, OPENCL)
    large, small = np.float64(2.0**64 + 2.0**42), np.float64(22.5 + 2.0**-19)
    set_ = arrays.step(arrays.given(np.zeros(1)), arrays.given(large.reshape(1)), arrays.given(small.reshape(1)))
    ball = arrays.scalar(set_, (0,), (1,))
    with precision(300):
        for end in (large, small):
            assert ball.distance(float(end)) <= ball.radius
        assert 0 < ball.radius < 2.0**13


def test_a_radius_that_float64_does_not_hold_admits_an_infinity() -> None:
    arrays = RoundedArrays(FLOAT64, OPENCL)
    known = RoundedArray(arrays, arrays.mids.lift(np.array([-0.5, -0.5])), np.array([0.0, 2.0**-50]), None, None)
    vast = RoundedArray(arrays, arrays.mids.lift(np.full(2, FLOAT64.largest)), np.full(2, 1.7e308), None, None)
    with np.errstate(all="ignore"):
        found = arrays.multiply(known, vast)
    assert (np.asarray(found.specials) & (NEGATIVE | ANYTHING) == NEGATIVE | ANYTHING).all()


def test_of_two_values_one_is_chosen_for_each_element() -> None:
    arrays = RoundedArrays(FLOAT32, OPENCL)
    a, b = (
        RoundedArray(arrays, np.full(2, mid), np.full(2, radius), None, np.full(2, bits, np.uint8))
        for mid, radius, bits in ((1.0, 0.25, NAN), (3.0, 0.5, 0))
    )
    found = rules.either(arrays, np.array([True, False]), a, b)
    assert (found.high.tolist(), found.radii().tolist(), found.bits.tolist()) == ([1, 3], [0.25, 0.5], [NAN, 0])


def test_what_underflows_in_float64_is_not_zero_and_what_is_zero_is() -> None:
    arrays = RoundedArrays(FLOAT64, STRICT)
    tiny, none = arrays.given(np.array([1e-200])), arrays.given(np.array([0.0]))
    for pair in ((tiny, tiny), (tiny, -tiny)):
        assert arrays.multiply(*pair).radii() > 0
    for pair in ((tiny, none), (none, tiny), (none, none)):
        assert arrays.multiply(*pair).radii() == 0
    assert arrays.divide(tiny, arrays.given(np.array([1e200]))).radii() > 0
    assert arrays.divide(none, tiny).radii() == 0


#: What rules say where an operand reaches their ends, by hand, of a midpoint, a radius and bits each.
ENDS: list[tuple[str, list[tuple[float, float, int]], int]] = [
    ("sqrt", [(1, 2, 0)], NAN),
    ("sqrt", [(1, 1, 0)], 0),
    ("sqrt", [(-1, 0, 0)], ANYTHING | OVERFLOWED),
    ("sqrt", [(1, 0, POSITIVE)], POSITIVE),
    ("log", [(1, 1, 0)], NEGATIVE),
    ("log", [(1, 2, 0)], NEGATIVE | NAN),
    ("log", [(-1, 0, 0)], ANYTHING | OVERFLOWED),
    ("log", [(1, 0, NEGATIVE)], ANYTHING | OVERFLOWED),
    ("log1p", [(0, 1, 0)], ANYTHING | OVERFLOWED),
    ("log1p", [(0, 0.5, 0)], 0),
    ("exp", [(100, 0, 0)], POSITIVE),
    ("sinh", [(-100, 0, 0)], NEGATIVE),
    ("sin", [(1, 0, POSITIVE)], NAN),
    ("divide", [(1, 0, 0), (0, 1, 0)], ANYTHING | OVERFLOWED),
    ("divide", [(0, 0, 0), (0, 1, 0)], NAN),
    ("divide", [(1, 0, 0), (2, 0, POSITIVE)], DOUBT),
    ("multiply", [(1, 0, POSITIVE), (0, 0, 0)], NAN),
    ("multiply", [(1, 0, POSITIVE), (2, 0, 0)], POSITIVE),
    ("multiply", [(2.0**100, 0, 0), (-(2.0**100), 0, 0)], NEGATIVE),
    ("add", [(1, 0, POSITIVE), (1, 0, NEGATIVE)], POSITIVE | NEGATIVE | NAN),
    ("add", [(1, 0, ANYTHING), (1, 0, 0)], ANYTHING),
    ("absolute", [(1, 0, NEGATIVE)], POSITIVE),
    ("positive_part", [(1, 0, NEGATIVE)], DOUBT),
    ("select", [(1, 0, NAN), (1, 0, 0), (2, 0, 0)], NAN),
    ("select", [(1, 0, 0), (1, 0, 0), (2, 0, POSITIVE)], 0),
    ("select", [(0, 1, 0), (1, 0, 0), (2, 0, POSITIVE)], POSITIVE),
    ("step", [(0, 1, NAN), (1, 0, 0), (0, 0, 0)], NAN),
    ("step", [(-1, 0, 0), (1, 0, POSITIVE), (0, 0, 0)], 0),
]


@pytest.mark.parametrize(("name", "operands", "bits"), ENDS)
def test_what_a_rule_says_at_its_ends(name: str, operands: list[tuple[float, float, int]], bits: int) -> None:
    A = RoundedArrays(FLOAT32, STRICT)
    balls = [Rounded(A.balls, arb(mid), arb(radius), kinds) for mid, radius, kinds in operands]
    of_arrays = [
        RoundedArray(A, *(np.array([float(v)]) for v in x[:2]), None, np.array(x[2:], np.uint8)) for x in operands
    ]
    found = getattr(A, name)(*of_arrays)
    assert getattr(A.balls, name)(*balls).specials == bits
    assert (0 if found.specials is None else int(found.specials[0])) == bits


@pytest.mark.parametrize("name", ["multiply", "tanh"])
def test_kernels_have_the_balls_and_bits_of_the_array_arithmetic_for_adversarial_operands(name: str) -> None:
    pytest.importorskip("numba")
    plain = [A for A in RULES.arithmetics() if A.mids is Plain]
    assert [said for A in plain for said in RULES.differing_kernels(name, A, 400, 7)] == []


def test_a_formula_as_one_kernel_is_the_formula_over_arrays() -> None:
    pytest.importorskip("numba")
    from gradconform.reference.arithmetic.fused import fused  # an extra

    A = RoundedArrays(FLOAT32, OPENCL)
    x = np.array([0.3, -2.0, 0.0, 1e-40, 3e38, np.inf, np.nan], np.float32)

    def formula(ops: Any, g: Any, a: Any) -> Any:
        return 0.5 * g * (1 - a**2) / (1 + ops.absolute(a))

    one, other = fused(A, formula, x[::-1].copy(), x), formula(A, A.given(x[::-1].copy()), A.given(x))
    assert one.specials is not None
    assert one.specials.tolist() == other.specials.tolist()
    np.testing.assert_allclose(one.radii(), other.radii(), rtol=1e-12)
    np.testing.assert_allclose(one.high, other.high, rtol=1e-15)


def test_a_kernel_is_of_one_formula_though_a_number_of_another_equals_the_place_of_an_operand() -> None:
    pytest.importorskip("numba")
    from gradconform.reference.arithmetic.fused import fused, noted  # an extra

    A, x = RoundedArrays(FLOAT32, OPENCL), np.array([-2.0, 3.0, -1.5, 0.5])

    def positive(ops: Any, x: Any) -> Any:
        return ops.select(x, x, 0.0)

    def not_positive(ops: Any, x: Any) -> Any:
        return ops.select(x, 0.0, x)

    assert fused(A, positive, x).mid.tolist() == [0.0, 3.0, 0.0, 0.5]
    assert fused(A, not_positive, x).mid.tolist() == [-2.0, 0.0, -1.5, 0.0]
    assert noted(A, positive, 1) != noted(A, not_positive, 1)
    assert noted(A, positive, 1) == noted(A, positive, 1)


def test_kernels_have_every_primitive_of_the_rules_that_they_are_given() -> None:
    pytest.importorskip("numba")
    from gradconform.reference.arithmetic import fused, kernels  # an extra

    of_arrays = {name for name in dir(RoundedArrays(FLOAT32, OPENCL)) if not name.startswith("_")}
    values, primitives = {"mid", "off", "bits", "width"}, set(kernels.Compiled._fields) | kernels.PRIMITIVES
    for rule in (r for module in (rules, function_rules) for r in vars(module).values() if callable(r)):
        if getattr(rule, "__module__", "") in (rules.__name__, function_rules.__name__):
            asked = {n.attr for n in ast.walk(ast.parse(inspect.getsource(rule))) if isinstance(n, ast.Attribute)}
            lacking = (asked & of_arrays) - values - primitives
            assert (not lacking) == (rule not in fused.LACKING and rule is not function_rules._about_zero), rule


def test_what_a_comparison_took_is_known_where_the_comparison_is_certain() -> None:
    A = RoundedArrays(FLOAT32, OPENCL)
    x, b = A.given(np.array([1.0, 2.0, 3.0, 4.0, 5.0])), A.coerce(20.0)
    a = RoundedArray(A, np.array([21.0, 20.0, 19.0, 20.0005, 20.01]), np.array([0.0, 0.0, 0.0, 1e-3, 1e-3]))
    above, below = (rules.taken(A, *signs, x, a, b) for signs in ((1, 1), (-1, 0)))
    assert above.mid.tolist() == below.mid.tolist() == x.mid.tolist()
    assert (above.specials == 0).tolist() == [True, False, False, False, True]
    assert (below.specials == 0).tolist() == [False, True, True, False, False]


def test_an_argument_is_moved_where_it_is_beyond_an_end_for_certain() -> None:
    A = RoundedArrays(FLOAT32, OPENCL)
    x = RoundedArray(A, np.array([1e4, 301.0, -1e4, 5.0]), np.array([1.0, 2.0, 0.0, 0.5]))
    found = rules.no_further(A, -np.inf, 300.0, x)
    assert found.mid.tolist() == [300.0, 301.0, -1e4, 5.0]
    assert found.radii().tolist() == [0.0, 2.0, 0.0, 0.5]


def test_a_kernel_of_another_rule_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def unrounded(A: RoundedArrays, rule: Any, of: Any, operands: tuple[RoundedArray, ...]) -> RoundedArray:
        return RoundedArray(A, operands[0].mid + operands[1].mid, operands[0].radii() + operands[1].radii())

    monkeypatch.setattr(array_values, "compiled", lambda: SimpleNamespace(applied=unrounded))
    assert any("kernel" in said for said in RULES.differing_kernels("add", RoundedArrays(FLOAT32, OPENCL), 60, 7))


def test_without_numba_large_arrays_are_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    for name in ("fused", "kernels"):
        monkeypatch.delitem(sys.modules, f"gradconform.reference.arithmetic.{name}", raising=False)
    array_values.compiled.cache_clear()
    try:
        A = RoundedArrays(FLOAT32, OPENCL)
        with RULES.by_kernels(1):
            assert (A.given(np.ones(8)) + 1.0).high.tolist() == [2.0] * 8
        assert array_values.compiled() is None
    finally:
        array_values.compiled.cache_clear()


def test_a_rule_that_forgets_what_an_infinity_makes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RoundedArrays, "only", lambda self, bits, rule, operation, result, *operands: result)
    A = RoundedArrays(FLOAT32, OPENCL)
    assert any("bits" in said for said in RULES.differences("multiply", A, 60, 7))


def test_a_radius_that_forgets_the_flushing_of_an_operand_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RoundedArrays, "smaller", lambda self, a, b: 0.0 * a)
    A = RoundedArrays(FLOAT32, OPENCL)
    assert any("narrower" in said for said in RULES.differences("add", A, 300, 7))


@pytest.mark.parametrize("target", [BFLOAT16, FLOAT16], ids=["bfloat16", "float16"])
def test_of_every_number_of_a_16_bit_format_the_sigmoid_is_known_and_no_ball_is_asked(
    target: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RoundedArrays, "mended", None)
    every = np.arange(1 << 16, dtype=np.uint32)
    with np.errstate(all="ignore"):
        x = (every << 16).view(np.float32) if target is BFLOAT16 else every.astype(np.uint16).view(np.float16)
    x = x[np.isfinite(x)].astype(np.float64)
    A = RoundedArrays(target, OPENCL)
    z = A.given(x)
    with np.errstate(all="ignore"):
        a = A.sigmoid(z)
        slope = a * (1 - a)
        e = np.exp(-np.abs(x))
        value = np.where(x < 0, e, 1) / (1 + e)
    for found, got in ((a, target.round(value)), (slope, target.round(value * np.where(x < 0, 1, e) / (1 + e)))):
        assert found.specials is None or not (found.specials & ANYTHING).any()
        assert (standings_of(found, np.arange(x.size), got, 0.0) == STANDINGS.index("inside")).all()


def test_the_largest_number_of_a_format_does_not_overflow_where_nothing_is_rounded() -> None:
    for target in (FLOAT64, FLOAT32, FLOAT16, BFLOAT16):
        A = RoundedArrays(target, OPENCL)
        x = A.given(np.array([target.largest, -target.largest]))
        assert A.absolute(x).specials is None
        assert (x + 0.0).specials is None
        with np.errstate(all="ignore"):
            assert (x + x).specials is not None


def test_a_double_word_and_a_number_add_up_to_two_roundings_of_106_bits() -> None:
    drawn = np.random.default_rng(7)
    high = drawn.normal(size=2000) * 2.0 ** drawn.integers(-40, 40, 2000)
    low = high * drawn.uniform(-1, 1, 2000) * 2.0**-54
    near = -high * (1 + drawn.integers(-4, 5, 2000) * 2.0**-52)  # all but a few bits cancel
    other = np.where(drawn.random(2000) < 0.5, near, drawn.normal(size=2000))
    found = Double.add_float(DoubleArray(high, low), other)
    for hi, lo, x, h, y in zip(high, low, other, found.hi, found.lo, strict=True):
        exact = Fraction(hi) + Fraction(lo) + Fraction(x)
        assert abs(Fraction(h) + Fraction(y) - exact) <= abs(exact) * Fraction(2) ** -105


def test_products_of_double_words_hold_their_digits_near_the_ends_of_float64() -> None:
    x, y = np.array([1.1e300, 3e-290, 1.7e308, 5e-310]), np.array([1.3e-8, 7e10, 1.0, 2.0])
    product, quotient = Double.multiply(Double.lift(x), Double.lift(y)), Double.divide(Double.lift(x), Double.lift(y))
    with precision(200):
        for i in range(x.size):
            a, b = Double.ball(Double.lift(x), (i,)), Double.ball(Double.lift(y), (i,))
            for found, exact in ((product, a * b), (quotient, a / b)):
                assert abs(Double.ball(found, (i,)) - exact) < abs(exact) * 2.0**-98 + 2.0**-1073


def test_what_is_outside_of_an_array_is_asked_about_and_what_is_not_known_is_not() -> None:
    A = RoundedArrays(FLOAT32, OPENCL)
    bits = np.array([0, 0, ANYTHING, ANYTHING | NAN, POSITIVE], np.uint8)
    value = RoundedArray(A, np.ones(5), np.full(5, 0.1), None, bits)
    got = np.array([1.05, 1.2, 7.0, np.nan, np.inf])
    found = standings_of(value, np.arange(5), got, Screen.margin(A.mids))
    assert [STANDINGS[n] if n >= 0 else "asked" for n in found.tolist()] == [
        "inside",
        "asked",
        "unknown",
        "inside",
        "asked",
    ]


def test_the_least_number_that_overflows_does_not_depend_on_the_precision_of_its_making() -> None:
    with precision(30):
        balls = RoundedBalls(FLOAT64, OPENCL)
    with precision(200):
        assert not balls.absolute(balls.given(FLOAT64.largest)).specials


def test_a_midpoint_stays_where_its_radius_is_beyond_float64() -> None:
    A = RoundedArrays(FLOAT32, OPENCL, exact=True)
    z = RoundedArray(A, A.mids.lift(np.array([0.5])), np.array([600.0]))
    with np.errstate(all="ignore"):
        value = A.exp(z + z)
    assert value.high[0] == np.exp(1.0)
    assert (value.specials & ANYTHING).all()  # type: ignore[operator]
