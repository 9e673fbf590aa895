"""Sums of rows: in float32 or in the format itself, their logarithms and what is divided by them; other centres."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from flint import arb

from gradconform.reference.arithmetic.arrays import RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from gradconform.reference.arithmetic.profiles import OPENCL, STRICT
from gradconform.reference.arithmetic.rounded import POSITIVE, Rounded, RoundedBalls, Sums

DTYPES: dict[str, Any] = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
NARROW = pytest.mark.parametrize("target", [FLOAT16, BFLOAT16], ids=lambda f: f.name)
EVERY: tuple[Sums, ...] = ("wide", "any", "own")


@pytest.fixture(autouse=True)
def _working_precision() -> Iterator[None]:
    with precision(192):
        yield


def outside(got: float, ball: Rounded) -> bool:
    return bool(abs(arb(got) - ball.exact) > ball.radius)


def terms(target: Format, count: int, seed: int) -> Any:
    """Numbers of the format between 0 and 1, of every size, as the exponentials of a softmax are."""
    draw = np.random.default_rng([seed, count])
    return np.exp(-draw.exponential(3.0, count)).astype(DTYPES[target.name])


def in_the_format(values: Any, order: Any) -> Any:
    """Each partial sum rounded to the format."""
    total = values.dtype.type(0)
    for x in values[order]:
        total = values.dtype.type(float(total) + float(x))
    return total


def in_float32(values: Any, order: Any) -> Any:
    """Partial sums in float32, rounded once."""
    total = np.float32(0)
    for x in values[order]:
        total = np.float32(total + np.float32(x))
    return values.dtype.type(total)


def balls_of(target: Format, sums: Sums, values: Any) -> tuple[RoundedBalls, list[Rounded], Rounded, arb]:
    balls = RoundedBalls(target, STRICT, sums)
    row = [balls.given(float(x)) for x in values]
    return balls, row, balls.total_of(row), balls.least_of(row)


@NARROW
@pytest.mark.parametrize("count", [2, 30, 300])
def test_a_sum_is_in_its_ball_however_it_is_accumulated(target: Format, count: int) -> None:
    draw = np.random.default_rng(count)
    for seed in range(20):
        values = terms(target, count, seed)
        for sums in EVERY:
            _, _, total, _ = balls_of(target, sums, values)
            for _ in range(3):
                order = draw.permutation(count)
                assert not outside(float(in_float32(values, order)), total), sums
                assert sums == "wide" or not outside(float(in_the_format(values, order)), total), sums


@NARROW
def test_a_sum_in_float32_says_more_than_one_in_the_format(target: Format) -> None:
    """So much that it excludes what an accumulation in the format makes of 300 terms."""
    excluded = 0
    for seed in range(20):
        values = terms(target, 300, seed)
        wide, own = (balls_of(target, sums, values)[2] for sums in ("wide", "own"))
        assert wide.radius * 20 < own.radius
        excluded += outside(float(in_the_format(values, np.arange(300))), wide)
    assert excluded > 10


@pytest.mark.parametrize("sums", EVERY)
def test_a_float32_sum_is_of_one_kind(sums: Sums) -> None:
    values = terms(FLOAT32, 40, 0)
    found = balls_of(FLOAT32, sums, values)[2]
    assert found.radius == balls_of(FLOAT32, "any", values)[2].radius
    assert not outside(float(in_the_format(values, np.arange(40))), found)


def test_adding_zeros_is_no_rounding() -> None:
    balls = RoundedBalls(FLOAT16, STRICT, "own")
    zero, x, y = (balls.given(v) for v in (0.0, 1.5, 2.0**-9))
    assert balls.total_of([zero, x, zero, zero]).radius.is_zero()
    assert balls.total_of([zero, x, y, zero]).radius == balls.total_of([x, y]).radius


@pytest.mark.parametrize("target", [FLOAT64, FLOAT32, FLOAT16], ids=lambda f: f.name)
def test_a_row_of_which_all_but_two_are_0_has_one_rounding_in_arrays_too(target: Format) -> None:
    """As a one-hot row of a cross-entropy's terms has: a row of 1,000 classes errs no more than one of two."""
    ops = RoundedArrays(target, STRICT, sums="own")
    row = np.zeros((2, 1000))
    row[:, 7], row[:, 400] = 1.5, 2.0**-9
    few = ops.total(ops.given(np.array([[1.5, 2.0**-9]]))).radii()
    assert few > 0
    assert ops.row_sum(ops.given(row)).radii()[1, 0] == few
    assert ops.column_sum(ops.given(row.T)).radii()[1] == few
    assert ops.total(ops.given(row[:1])).radii() == few
    assert ops.total(ops.given(row)).radii() > 2 * few


@NARROW
@pytest.mark.parametrize("count", [2, 30, 300, 1000])
def test_logarithm_quotient_and_part_of_a_sum_are_in_their_balls(target: Format, count: int) -> None:
    """Also where the sum's ball reaches down to zero: a sum of what is not negative is no less than any term."""
    dtype = DTYPES[target.name]
    for seed in range(8):
        values = terms(target, count, seed)
        order = np.random.default_rng(seed).permutation(count)
        for sums in EVERY:
            balls, row, total, least = balls_of(target, sums, values)
            for summed in (in_float32, in_the_format)[: 1 if sums == "wide" else 2]:
                s = summed(values, order)
                logarithm = float(dtype(np.log(float(s))))
                assert not outside(logarithm, balls.log_of_total(total, least)), (sums, summed)
                x = dtype(0.75)
                quotient = balls.over_total(balls.given(float(x)), total, least)
                assert not outside(float(dtype(float(x) / float(s))), quotient), (sums, summed)
                part = balls.part_of(row[0], total, least)
                assert not outside(float(dtype(float(values[0]) / float(s))), part), (sums, summed)


def test_what_is_divided_by_a_sum_of_which_little_is_known_is_still_bounded() -> None:
    """1000 terms of bfloat16: (k − 1)u is nearly 4, but the sum is no less than 1, the largest of them."""
    values = np.ones(1000, DTYPES["bfloat16"])
    balls, _, total, least = balls_of(BFLOAT16, "own", values)
    assert total.exact - total.radius < 0
    one = balls.given(1.0)
    quotient, logarithm = balls.over_total(one, total, least), balls.log_of_total(total, least)
    assert not quotient.specials | logarithm.specials
    assert outside(1.01, quotient), "1/1 is the most"
    assert outside(-0.01, quotient), "and no sum of ones makes it negative, but for the last rounding"
    assert not outside(1 / 256, quotient), "where a sum of ones in bfloat16 comes to rest"
    assert outside(-0.05, logarithm)
    assert not outside(float(np.log(256.0)), logarithm)
    assert balls.divide(one, total).specials, "a quotient of balls alone is not known"


def test_a_sum_without_a_term_that_is_not_flushed_has_no_least() -> None:
    balls = RoundedBalls(FLOAT16, OPENCL, "own")
    small = balls.given(2.0**-20)
    assert balls.least_of([small, small]) == 0
    assert balls.least_of([small, balls.given(2.0**-14)]) == arb(2) ** -14
    assert balls.least_of([Rounded(balls, arb(1), arb(0.25)), small]) == 0.75


@pytest.mark.parametrize("exact", [False, True], ids=["plain", "double words"])
@pytest.mark.parametrize("sums", EVERY)
@pytest.mark.parametrize("target", [FLOAT32, FLOAT16, BFLOAT16], ids=lambda f: f.name)
def test_arrays_say_of_sums_what_balls_do(target: Format, sums: Sums, exact: bool) -> None:
    ops = RoundedArrays(target, OPENCL, exact, sums)
    for count in (3, 60, 700):
        values = np.stack([terms(target, count, seed) for seed in range(3)]).astype(np.float64)
        e = ops.given(values)
        x = ops.given(np.array([[0.75], [-2.0], [0.25]]))
        logs, over, parts = ops.log_row_sum(e), ops.over_row_sum(x, e), ops.normalised(e)
        for i in range(3):
            row = [ops.balls.given(float(v)) for v in values[i]]
            total, least = ops.balls.total_of(row), ops.balls.least_of(row)
            for found, index, ball in (
                (logs, (i, 0), ops.balls.log_of_total(total, least)),
                (over, (i, 0), ops.balls.over_total(ops.scalar(x, (i, 0), x.shape), total, least)),
                (parts, (i, 1), ops.balls.part_of(row[1], total, least)),
            ):
                agree(ops, found, index, ball)


def agree(ops: RoundedArrays, found: RoundedArray, index: tuple[int, int], ball: Rounded) -> None:
    """An element holds what the ball does, and hardly more."""
    element = ops.scalar(found, index, found.shape)
    assert element.specials == ball.specials
    gap = abs(element.exact - ball.exact)
    assert element.radius >= (gap + ball.radius) * (1 - 2.0**-9)
    assert element.radius + gap <= ball.radius * 2.01  # next to a power of two the larger ulp may be counted
    assert gap <= ball.radius * 2.0**-9


# Other centres ------------------------------------------------------------------------------------------------


def test_a_form_about_the_truth_holds_what_it_held_about_its_own_centre() -> None:
    ops, draw = RoundedBalls(FLOAT32, STRICT), Random("centres")
    for _ in range(200):
        form = Rounded(ops, arb(draw.uniform(-1, 1)), arb(draw.choice([0.0, 0.125, draw.random()])), POSITIVE)
        truth = Rounded(ops, arb(draw.uniform(-1, 1)), arb(draw.random()))
        found = ops.recentred(form, truth)
        assert found.exact == truth.exact
        assert found.specials == POSITIVE
        for end in (-1, 1):
            x = form.exact + end * form.radius
            assert abs(x - found.exact) <= found.radius
        assert found.radius <= (form.radius + abs(form.exact - truth.exact)) * (1 + arb(2) ** -50)


def test_a_form_of_the_truths_own_centre_stays_as_it_is() -> None:
    ops = RoundedBalls(FLOAT32, STRICT)
    form, truth = Rounded(ops, arb(1) / 3, arb(0.25)), Rounded(ops, 1 - arb(2) / 3, arb(0.5))
    found = ops.recentred(form, truth)
    assert found.exact.overlaps(form.exact)
    assert found.radius == form.radius


def test_a_form_without_a_set_about_a_set_reaches_every_member_that_it_holds() -> None:
    ops = RoundedBalls(FLOAT32, STRICT)
    form, kink = ops.given(1.0), Rounded(ops, arb(0.5), arb(0), 0, arb(0.5))
    found = ops.recentred(form, kink)
    assert found.distance(1.0) <= found.radius
    assert found.spread == 0.5


@pytest.mark.parametrize("exact", [False, True], ids=["plain", "double words"])
def test_arrays_take_the_truths_centre_as_balls_do(exact: bool) -> None:
    ops = RoundedArrays(FLOAT32, STRICT, exact)
    own, of_truth = np.array([1.0, 1.0, -2.5, 0.0]), np.array([1.0, 1.25, -2.0, 2.0**-40])
    radius = np.array([0.5, 0.0, 0.125, 0.0])
    found = ops.recentred(
        RoundedArray(ops, ops.mids.lift(own), radius), RoundedArray(ops, ops.mids.lift(of_truth), np.ones(4))
    )
    assert found.high.tolist() == of_truth.tolist()
    for i, (a, b, r) in enumerate(zip(own, of_truth, radius, strict=True)):
        ball = ops.balls.recentred(Rounded(ops.balls, arb(a), arb(r)), Rounded(ops.balls, arb(b), arb(1)))
        assert found.radii()[i] == pytest.approx(float(ball.radius), rel=1e-8, abs=0)


def test_what_is_known_exactly_keeps_its_distance_from_the_truth_however_little() -> None:
    """1 beside 1 − 10⁻¹¹⁴, of which a program knows a ten millionth: 1 is not the truth."""
    ops = RoundedArrays(FLOAT32, STRICT, exact=True)
    one = ops.given(np.array([1.0]))
    truth = RoundedArray(ops, ops.mids.add(one.mid, ops.mids.lift(np.array([-1e-114]))), np.array([1e-7]))
    exactly = RoundedArray(ops, one.mid, np.zeros(1))
    assert ops.recentred(exactly, truth).radii()[0] == pytest.approx(1e-114, rel=1e-6, abs=0)
