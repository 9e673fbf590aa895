"""Outcomes: what a program that overflows gives, path by path, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
import pytest
from flint import arb

from gradconform.reference.arithmetic.ball_arrays import BallArrays
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, Format
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.arithmetic.rounded import ANYTHING, NAN, NEGATIVE, POSITIVE, Rounded, RoundedBalls
from gradconform.reference.judge import decision
from gradconform.reference.outcomes import MOST_RUNS, Special, apart, outcomes

HALF, SINGLE = RoundedBalls(FLOAT16, OPENCL), RoundedBalls(FLOAT32, OPENCL)


@pytest.fixture(autouse=True)
def _working_precision() -> Iterator[None]:
    with precision(192):
        yield


def edge(ops: Any, number: int = 0) -> Any:
    """One of several operands whose exponential may be a float32 or not: float32's largest number is e^88.722839…"""
    return ops.read(Rounded(ops, arb(88.7228) + number * arb(2) ** -20, arb(2) ** -10))


def of(formula: Callable[..., Any], *numbers: float, balls: RoundedBalls = SINGLE) -> tuple[Any, ...]:
    return outcomes(lambda ops: formula(ops, *map(ops.given, numbers)), balls)


def said(found: tuple[Any, ...]) -> list[str]:
    """The outcomes in words: a ball's rounded centre, or the special."""
    return sorted(repr(o.value) if isinstance(o, Special) else f"{float(o.exact):.6g}" for o in found)


def admitted(found: tuple[Any, ...], *numbers: float) -> list[float]:
    return [x for x in numbers if decision(x, found) == "inside"]


def logistic(ops: Any, z: Any) -> Any:
    return ops.exp(z) / (1 + ops.exp(z))


def test_a_program_that_does_not_overflow_has_one_outcome() -> None:
    assert said(of(logistic, -95.0)) == ["5.52108e-42"]
    assert said(of(logistic, 3.0)) == ["0.952574"]


def test_sigma_of_95_by_e_to_the_z_is_about_1_or_nan_and_nothing_else() -> None:
    found = of(logistic, 95.0)
    assert said(found) == ["1", "nan"]
    assert admitted(found, 1.0, math.nan) == pytest.approx([1.0, math.nan], nan_ok=True)
    assert admitted(found, 0.0, 0.3, 0.9999, math.inf, -math.inf) == []


def test_the_same_operation_on_the_same_operand_overflows_or_does_not() -> None:
    assert said(of(lambda ops: ops.exp(edge(ops)) - ops.exp(edge(ops)))) == ["0", "nan"]


def test_the_same_operation_on_other_operands_is_decided_apart() -> None:
    found = of(lambda ops: ops.exp(edge(ops)) - ops.exp(edge(ops, 1)))
    kinds = [o.value for o in found if isinstance(o, Special)]
    assert len(found) == 4
    assert {math.inf, -math.inf} < set(kinds)
    assert any(map(math.isnan, kinds))


def test_what_overflows_for_certain_does_so_throughout_or_is_computed_in_a_wider_format() -> None:
    """e^96 − e^95: NaN, or where float32's limit is no limit, about 3e41; never one of the two alone."""
    found = of(lambda ops, x, y: ops.exp(x) - ops.exp(y), 96.0, 95.0)
    assert len(found) == 2
    assert admitted(found, math.nan, math.inf, -math.inf, 0.0) == pytest.approx([math.nan, math.inf], nan_ok=True)
    assert said(found)[1] == "nan", "the infinity is what 3e41 rounds to"


def test_which_infinity_a_sum_overflows_to_is_decided_apart_from_that_it_does() -> None:
    """60000·3 − 40000·2 in float16: +∞, −∞ or NaN by the order of its terms, beside an exponential that overflows."""

    def program(ops: Any, z: Any, *terms: Any) -> Any:
        ops.exp(z)
        return ops.total_of(terms)

    found = of(program, 12.0, 60000.0, 60000.0, 60000.0, -40000.0, -40000.0, balls=HALF)
    assert {repr(o.value) for o in found if isinstance(o, Special)} == {"inf", "-inf", "nan"}


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (lambda ops, e: 1 / e, ["0"]),
        (lambda ops, e: e * 0.0, ["nan"]),
        (lambda ops, e: ops.given(0.0) * e, ["nan"]),
        (lambda ops, e: ops.given(-2.0) * e, ["-inf"]),
        (lambda ops, e: 0.5 * -e, ["-inf"]),
        (lambda ops, e: e + e, ["inf"]),
        (lambda ops, e: 1 - e, ["-inf"]),
        (lambda ops, e: (1 - e) ** 2, ["inf"]),
        (lambda ops, e: e / e, ["nan"]),
        (lambda ops, e: ops.exp(-e), ["0"]),
        (lambda ops, e: ops.tanh(e), ["1"]),
        (lambda ops, e: ops.log(e), ["inf"]),
        (lambda ops, e: ops.log(-e), ["nan"]),
        (lambda ops, e: ops.sigmoid(-e), ["0"]),
        (lambda ops, e: ops.positive_part(-e), ["0"]),
        (lambda ops, e: ops.absolute(-e), ["inf"]),
        (lambda ops, e: ops.maximum(e, ops.given(1.0)), ["inf"]),
        (lambda ops, e: ops.select(e, ops.given(3.0), -e), ["3"]),
        (lambda ops, e: ops.select(ops.given(-1.0), e, ops.given(4.0)), ["4"]),
        (lambda ops, e: ops.step(e, 1, 0), ["1"]),
        (lambda ops, e: ops.total_of([e, ops.given(1.0), -e]), ["nan"]),
        (lambda ops, e: ops.total_of([e, ops.given(1.0), e]), ["inf"]),
        (lambda ops, e: ops.over_total(ops.given(1.0), ops.total_of([e, e]), arb(0)), ["0"]),
    ],
)
def test_after_an_infinity_everything_follows_ieee(program: Callable[..., Any], expected: list[str]) -> None:
    assert said(of(program, math.inf)) == expected


def test_the_larger_of_minus_infinity_and_a_number_is_the_number() -> None:
    for program in (lambda ops, x, y: ops.maximum(x, y), lambda ops, x, y: ops.maximum(y, x)):
        assert said(of(program, -math.inf, 5.25)) == ["5.25"]
        assert said(of(program, -math.inf, math.inf)) == ["inf"]


def test_a_nan_that_was_reported_stays_one() -> None:
    assert said(of(lambda ops, x: ops.exp(x) * 0.0 + 1, math.nan)) == ["nan"]


def test_a_factor_that_may_be_flushed_makes_nan_of_an_infinity_or_not() -> None:
    subnormal = 2.0**-20
    assert said(of(lambda ops, x, y: ops.given(math.inf) * x, subnormal, 0.0, balls=HALF)) == ["inf", "nan"]
    assert said(of(lambda ops, x, y: ops.given(math.inf) * x, 1.0, 0.0, balls=HALF)) == ["inf"]


@pytest.mark.parametrize(
    ("x", "y", "beside", "kinds"),
    [
        (math.inf, 2.0, 1.0, {"inf"}),
        (-math.inf, 2.0, 1.0, {"-inf"}),
        (math.inf, -2.0, 1.0, {"-inf"}),
        (math.inf, 0.0, 1.0, {"nan"}),
        (math.inf, 2.0, -math.inf, {"nan"}),
        (math.inf, 2.0, math.inf, {"inf"}),
        (math.inf, 2.0**-140, 1.0, {"inf", "-inf", "nan"}),
        (-math.inf, 2.0, 1e38, {"inf", "-inf", "nan"}),
    ],
    ids=[
        "∞",
        "-∞",
        "∞ of a negative",
        "0·∞",
        "∞-∞",
        "∞+∞",
        "∞ of what may be flushed",
        "a finite part that may overflow",
    ],
)
def test_an_inner_product_with_an_infinity_among_its_factors_is_what_its_infinities_come_to(
    x: float, y: float, beside: float, kinds: set[str]
) -> None:
    found = of(lambda ops, x, y: ops.dot([x, ops.given(4.0)], [y, ops.given(beside)]), x, y)
    assert {repr(o.value) for o in found} == kinds
    assert admitted(found, 3.0) == []


def test_a_sum_with_an_infinity_is_that_unless_the_others_may_overflow() -> None:
    assert said(of(lambda ops, x, y: ops.total_of([x, y, ops.given(3e38)]), -math.inf, 1.0)) == ["-inf"]
    assert said(of(lambda ops, x, y: ops.total_of([x, y, ops.given(3e38)]), -math.inf, 3e38)) == ["-inf", "inf", "nan"]


def test_of_an_operand_of_which_nothing_is_known_nothing_follows() -> None:
    (found,) = outcomes(lambda ops: ops.read(Rounded(SINGLE, arb(0), arb(0), ANYTHING)) * ops.given(math.inf), SINGLE)
    assert found.specials & ANYTHING
    assert decision(1.0, (found,)) == "unknown"


def test_a_division_by_what_is_zero_to_every_bit_still_admits_the_nan_that_it_may_give() -> None:
    # 1 − σ(136) is 0 ± 2^−192 in balls; in bfloat16 it is 0 itself, and (1 − t)/0·0 is NaN.
    def slope(ops: Any, z: Any) -> Any:
        p = ops.sigmoid(z)
        return ops.bounded((0.25 / (1 - p) - 0.75 / p) * (p * (1 - p)), -0.75, 0.25)

    found = of(slope, 136.0, balls=RoundedBalls(BFLOAT16, OPENCL))
    assert len(admitted(found, math.nan, 0.25)) == 2
    assert admitted(found, 0.5, -1.0) == []


def test_an_infinity_and_what_nothing_is_known_of_may_make_an_infinity_or_nan() -> None:
    for program in (lambda ops, x: x * ops.given(math.inf), lambda ops, x: ops.total_of([x, ops.given(math.inf)])):
        found = outcomes(lambda ops, of=program: of(ops, Rounded(ops, arb(0), arb(0), ANYTHING)), SINGLE)
        assert decision(2.0, found) == "unknown"
        assert admitted(found, math.inf, math.nan) == pytest.approx([math.inf, math.nan], nan_ok=True)


def test_a_part_of_a_sum_that_may_overflow_is_a_number_or_what_ieee_gives() -> None:
    def part(ops: Any) -> Any:
        e = ops.exp(edge(ops))
        return ops.part_of(e, ops.total_of([e, ops.given(1.0)]), arb(1))

    assert said(outcomes(part, SINGLE)) == ["0", "1", "nan"]


def test_of_a_program_with_too_many_runs_no_more_is_said_and_infinities_are_admitted() -> None:
    def of_exponentials(count: int, most: int = MOST_RUNS) -> tuple[Any, ...]:
        return outcomes(
            lambda ops: sum((ops.tanh(ops.exp(edge(ops, n))) for n in range(count)), ops.given(0)), SINGLE, most
        )

    assert len(of_exponentials(5)) == 2**5
    found = of_exponentials(9)
    assert len(found) == MOST_RUNS + 1
    assert found[-1].specials & ANYTHING
    assert decision(1.0, found) == "unknown"
    assert admitted(found, math.inf, -math.inf) == [math.inf, -math.inf]
    assert len(of_exponentials(5, most=3)) == 4


def test_arrays_of_outcomes_are_followed_together() -> None:
    """Two components of one run: both of the exponential that overflowed, or both of the one that did not."""

    def program(ops: Any) -> Any:
        e = ops.exp(edge(ops))
        return np.array([e, -e], dtype=object)

    found = outcomes(program, SINGLE)
    assert [[isinstance(o, Special) for o in run] for run in found] == [[False, False], [True, True]]


def test_of_the_others_in_a_row_with_an_infinity_nothing_is_known() -> None:
    def program(ops: Any) -> Any:
        arrays = BallArrays(FLOAT32, OPENCL, ops)
        return arrays.row_sum_of_others(arrays.given(np.array([[1.0, math.inf, 2.0], [1.0, 2.0, 4.0]]))).values

    (found,) = outcomes(program, SINGLE)
    assert [bool(x.specials & ANYTHING) for x in found.ravel()] == [True] * 3 + [False] * 3
    assert [float(x.exact) for x in found[1]] == [6.0, 5.0, 3.0]


def test_bits_alone_are_a_ball_and_each_of_its_specials() -> None:
    assert said(apart(Rounded(SINGLE, arb(2), arb(1), POSITIVE | NAN))) == ["2", "inf", "nan"]
    assert said(apart(Rounded(SINGLE, arb(2), arb(1), NEGATIVE))) == ["-inf", "2"]
    (unknown,) = apart(Rounded(SINGLE, arb(2), arb(0), ANYTHING | POSITIVE))
    assert unknown.specials & ANYTHING


# The law ------------------------------------------------------------------------------------------------------

PROGRAMS: tuple[Callable[[Any, Any, Any], Any], ...] = (
    lambda ops, x, y: ops.exp(x) / (1 + ops.exp(x)),
    lambda ops, x, y: y / (1 + ops.exp(x)) * ops.exp(x),
    lambda ops, x, y: y * (ops.exp(x) / (1 + ops.exp(x)) ** 2),
    lambda ops, x, y: x * x * y - y * y * x,
    lambda ops, x, y: (x - y) ** 2 / (x + y) ** 2,
    lambda ops, x, y: x * (ops.exp(y) * (ops.exp(y) + 2)) / (ops.exp(y) * (ops.exp(y) + 2) + 2),
    lambda ops, x, y: ops.exp(x) - ops.exp(y) * x,
    lambda ops, x, y: ops.tanh(x * y * y) * ops.exp(y),
)


class Numpy:
    """The same programs in NumPy's own arithmetic."""

    exp, tanh = staticmethod(np.exp), staticmethod(np.tanh)


@pytest.mark.parametrize(("target", "dtype"), [(FLOAT16, np.float16), (FLOAT32, np.float32)], ids=["half", "single"])
def test_what_numpy_computes_is_an_outcome_and_what_it_does_not_mostly_is_none(target: Format, dtype: Any) -> None:
    draw, balls = Random(f"outcomes {target.name}"), RoundedBalls(target, OPENCL)
    special = wrong = 0
    for number in range(400):
        program = PROGRAMS[number % len(PROGRAMS)]
        reach = draw.choice([1.0, math.log(target.largest) * 1.3, math.sqrt(target.largest) * 1.5])
        x, y = (dtype(draw.uniform(-reach, reach)) for _ in range(2))
        with np.errstate(all="ignore"):
            # A Python number is taken as one of the dtype; arrays of one element are computed as arrays are.
            got = float(np.asarray(program(Numpy, np.array([x]), np.array([y])))[0])
        found = of(program, float(x), float(y), balls=balls)
        assert decision(got, found) in ("inside", "unknown"), (number, x, y, got, found)
        if not math.isfinite(got):
            special += 1
            wrong += sum(decision(v, found) == "outside" for v in (math.inf, -math.inf, math.nan, 0.37))
    assert special > 80
    assert wrong > 1.5 * special
