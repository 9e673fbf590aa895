"""Rounding to a format is what NumPy's and ml_dtypes' own casts do, and `holds` says what a cast leaves alone."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from gradconform.reference.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, Format

Floats = NDArray[np.float64]

NARROW = [FLOAT32, FLOAT16, BFLOAT16]
by_name = pytest.mark.parametrize("target", FORMATS.values(), ids=lambda f: f.name)
narrow = pytest.mark.parametrize("target", NARROW, ids=lambda f: f.name)


def cast(target: Format, x: Floats) -> Floats:
    """The framework's cast. ml_dtypes rounds float64 by way of float32, so bfloat16 is to be asked of float32s only."""
    dtype = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}[target.name]
    with np.errstate(over="ignore"):
        source = x.astype(np.float32) if target is BFLOAT16 else x
        return source.astype(dtype).astype(np.float64)


def sample(target: Format, seed: int) -> Floats:
    """Numbers all over the format's range and beyond both its ends, among them numbers next to its midpoints."""
    draw = np.random.default_rng(seed)
    exponents = draw.integers(target.emin - target.precision - 3, target.emax + 3, 20_000)
    near = draw.integers(0, 2**target.precision, 20_000) + draw.choice([0.0, 0.25, 0.5, 0.75], 20_000)
    anywhere = draw.uniform(1, 2, 20_000) * 2.0 ** (target.precision - 1)
    significands = np.where(draw.random(20_000) < 0.5, near, anywhere) * draw.choice([-1.0, 1.0], 20_000)
    x = np.ldexp(significands, exponents - target.precision + 1)
    if target is not BFLOAT16:
        return x
    single = x.astype(np.float32).astype(np.float64)
    return single[np.isfinite(single)]


def differing(round_: Callable[[Any], Floats], target: Format, x: Floats) -> int:
    """How many numbers a rounding takes elsewhere than the cast does, the sign of zero counted."""
    got, expected = round_(x), cast(target, x)
    return int(np.count_nonzero((got != expected) | (np.signbit(got) != np.signbit(expected))))


def nearest(target: Format, x: float) -> float:
    """Round to nearest, ties to even, in rational arithmetic: a third opinion, for every format."""
    exact = abs(Fraction(x))
    if exact == 0:
        return x
    exponent = max(math.frexp(x)[1] - 1, target.emin)
    quantum = Fraction(2) ** (exponent - target.precision + 1)
    rounded = round(exact / quantum) * quantum
    if rounded > Fraction(sys.float_info.max) or float(rounded) > target.largest:
        return math.copysign(math.inf, x)
    return math.copysign(float(rounded), x)


@narrow
def test_rounding_is_the_frameworks_cast(target: Format) -> None:
    with np.errstate(over="ignore"):
        x = sample(target, seed=1)
    assert differing(target.round, target, x) == 0


@narrow
def test_truncation_and_rounding_half_up_are_not_the_cast(target: Format) -> None:
    with np.errstate(over="ignore"):
        x = sample(target, seed=1)
    step = 2.0 ** (target.precision - 1)

    def truncated(values: Floats) -> Floats:
        mantissa, exponent = np.frexp(values)
        return np.asarray(np.ldexp(np.trunc(mantissa * 2 * step) / step, exponent - 1))

    def half_up(values: Floats) -> Floats:
        mantissa, exponent = np.frexp(values)
        return np.asarray(
            np.ldexp(np.copysign(np.floor(np.abs(mantissa) * 2 * step + 0.5), mantissa) / step, exponent - 1)
        )

    with np.errstate(over="ignore"):
        assert differing(truncated, target, x) > 100
        assert differing(half_up, target, x) > 100


@narrow
def test_rounding_is_to_nearest_in_rational_arithmetic(target: Format) -> None:
    with np.errstate(over="ignore"):
        x = sample(target, seed=2)[:4000]
    assert [float(v) for v in target.round(x)] == [nearest(target, float(v)) for v in x]


def test_float64_is_rounded_to_bfloat16_once_where_ml_dtypes_rounds_twice() -> None:
    x = 1 + 2.0**-8 + 2.0**-40  # just above the midpoint of 1 and 1 + 2^-7, and at it once rounded to float32
    assert float(BFLOAT16.round(x)) == 1 + 2.0**-7
    assert float(BFLOAT16.round(np.float32(x))) == 1.0


@narrow
def test_ties_go_to_the_even_neighbour(target: Format) -> None:
    u = 2.0**-target.precision
    assert float(target.round(1 + u)) == 1.0
    assert float(target.round(1 + 3 * u)) == 1 + 4 * u
    assert float(target.round(1 + u * (1 + 2.0**-20))) == 1 + 2 * u
    assert float(target.round(1 + u * (1 - 2.0**-20))) == 1.0


@narrow
def test_numbers_overflow_from_halfway_past_the_largest(target: Format) -> None:
    threshold = math.ldexp(2 - 2.0**-target.precision, target.emax)
    below = math.nextafter(threshold, 0)
    assert float(target.round(below)) == target.largest
    assert float(target.round(threshold)) == math.inf
    assert float(target.round(-threshold)) == -math.inf
    assert float(target.round(-below)) == -target.largest


@narrow
def test_subnormal_numbers_round_to_multiples_of_the_smallest(target: Format) -> None:
    tiny = 2.0 ** (target.emin - target.precision + 1)
    assert [float(target.round(k * tiny)) / tiny for k in (0.5, 0.5000001, 1, 1.5, 2.5, 3.25)] == [0, 1, 1, 2, 2, 3]
    assert math.copysign(1, float(target.round(-0.25 * tiny))) == -1.0


@by_name
def test_infinities_zeros_and_nan_stay_what_they_are(target: Format) -> None:
    assert [float(v) for v in target.round([math.inf, -math.inf, 0.0])] == [math.inf, -math.inf, 0.0]
    assert math.copysign(1, float(target.round(-0.0))) == -1.0
    assert math.isnan(float(target.round(math.nan)))


def test_float64_is_left_alone() -> None:
    x = np.array([0.1, 5e-324, -sys.float_info.max])
    assert (FLOAT64.round(x) == x).all()
    assert FLOAT64.round(x) is not x


@pytest.mark.parametrize(
    ("target", "info"),
    [(FLOAT64, np.finfo(np.float64)), (FLOAT32, np.finfo(np.float32)), (FLOAT16, np.finfo(np.float16)),
     (BFLOAT16, ml_dtypes.finfo(ml_dtypes.bfloat16))],
    ids=lambda v: getattr(v, "name", "finfo"),
)  # fmt: skip
def test_the_constants_are_the_dtypes_own(target: Format, info: Any) -> None:
    assert target.largest == float(info.max)
    assert 2.0**target.emin == float(info.smallest_normal)
    assert 2.0 ** (1 - target.precision) == float(info.eps)


@narrow
def test_a_format_holds_what_rounding_leaves_alone(target: Format) -> None:
    with np.errstate(over="ignore"):
        x = sample(target, seed=3)[:4000]
    held = [target.holds(float(v)) for v in x]
    assert held == [bool(v == r) for v, r in zip(x, target.round(x), strict=True)]
    assert 100 < sum(held) < 3900


@by_name
def test_a_format_holds_its_extremes_and_nothing_between_or_beyond(target: Format) -> None:
    tiny = math.ldexp(1.0, target.emin - target.precision + 1)
    for x in (0.0, -0.0, tiny, -3 * tiny, 2.0**target.emin, target.largest, math.inf, -math.inf, math.nan):
        assert target.holds(x), f"{target.name} holds {x!r}"
    if target is not FLOAT64:
        u = 2.0**-target.precision
        for x in (tiny / 2, 1.5 * tiny, 1 + u, 2 * target.largest, math.ldexp(1.0, target.emax + 1)):
            assert not target.holds(x), f"{target.name} does not hold {x!r}"
