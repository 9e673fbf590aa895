"""The judge's verdicts, one by one, and the units they are reported in."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from flint import arb

from gradconform.reference.equations import Form
from gradconform.reference.exact import power_of_two, precision
from gradconform.reference.formats import FLOAT16, FLOAT32, FLOAT64, FORMATS, Format
from gradconform.reference.judge import Candidate, Judgement, judge, settled, sharpest, ulp, widest
from gradconform.reference.profiles import OPENCL
from gradconform.reference.rounded import ANYTHING, NAN, NEGATIVE, POSITIVE, Rounded, RoundedBalls

OPS = RoundedBalls(FLOAT64, OPENCL)
HALF_OPS = RoundedBalls(FLOAT16, OPENCL)


@pytest.fixture(autouse=True)
def _working_precision() -> Iterator[None]:
    with precision(192):
        yield


def ball(exact: float | arb, radius: float | arb = 0.0, specials: int = 0) -> Rounded:
    return Rounded(OPS, arb(exact), arb(radius), specials)


def verdict(got: float, *balls: Rounded) -> str:
    """The verdict on one number against forms named 0, 1, …"""
    return one(got, *balls).verdict


def one(got: float, *balls: Rounded) -> Judgement:
    return judge([got], [Candidate(str(i), [b]) for i, b in enumerate(balls)], FLOAT64)


# Inside and outside -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("got", "expected"),
    [(1.0, "conforms"), (1.25, "conforms"), (0.75, "conforms"), (1.2500001, "deviates"), (-1.0, "deviates")],
)
def test_a_number_conforms_up_to_the_edge_of_the_ball_and_no_further(got: float, expected: str) -> None:
    assert verdict(got, ball(1.0, 0.25)) == expected


def test_the_share_is_the_error_over_the_allowance() -> None:
    assert one(1.125, ball(1.0, 0.25)).share == 0.5
    beyond = one(1.5, ball(1.0, 0.25))
    assert (beyond.share, beyond.verdict, beyond.error_abs, beyond.allowance) == (2.0, "deviates", 0.5, 0.25)


def test_an_exact_truth_met_has_share_zero_and_one_missed_an_infinite_share() -> None:
    met, missed = one(1.0, ball(1.0)), one(1.0000001, ball(1.0))
    assert (met.verdict, met.share) == ("conforms", 0.0)
    assert (missed.verdict, missed.share) == ("deviates", math.inf)


def test_a_truth_of_zero_known_exactly_is_met_by_zero_of_either_sign_only() -> None:
    assert verdict(0.0, ball(0.0)) == verdict(-0.0, ball(0.0)) == "conforms"
    assert verdict(5e-324, ball(0.0)) == "deviates"


def test_an_allowance_that_reaches_the_truth_makes_a_pass_vacuous() -> None:
    assert verdict(1.0, ball(1.0, 0.99)) == "conforms"
    assert verdict(1.0, ball(1.0, 1.0)) == "vacuous"
    assert verdict(0.0, ball(0.0, 1e-300)) == "vacuous"
    assert verdict(3.0, ball(1.0, 1.5)) == "deviates"


def test_vacuity_and_certified_bits_are_taken_against_the_step_where_one_is_given() -> None:
    candidates = [Candidate("document", [ball(1.0, 2.0**-10)])]
    against_itself = judge([1.0], candidates, FLOAT64)
    assert (against_itself.verdict, against_itself.certified_bits) == ("conforms", 10.0)
    against_a_step = judge([1.0], candidates, FLOAT64, [arb(2) ** -6])
    assert (against_a_step.verdict, against_a_step.certified_bits) == ("conforms", 4.0)
    assert judge([1.0], candidates, FLOAT64, [arb(2) ** -10]).verdict == "vacuous"


def test_certified_bits_are_null_where_the_ratio_says_nothing() -> None:
    assert one(1.0, ball(1.0)).certified_bits is None
    assert one(0.0, ball(0.0, 1.0)).certified_bits is None
    assert one(1.0, ball(1.0, 0.5)).certified_bits == 1.0


def test_a_truth_that_is_not_known_well_enough_leaves_the_judge_undecided() -> None:
    blurred = ball(arb(1, 0.1), 0.25)
    assert verdict(1.0, blurred) == "conforms"
    assert verdict(1.25, blurred) == "undecided"
    assert verdict(1.75, blurred) == "deviates"


def test_a_form_that_admits_the_number_decides_although_another_is_undecided() -> None:
    assert verdict(1.25, ball(arb(1, 0.1), 0.25), ball(arb(1, 0.1), 0.5)) == "conforms"
    assert verdict(1.75, ball(arb(1, 0.1), 0.25), ball(arb(1, 0.1), 0.75)) == "undecided"


def test_a_component_that_is_outside_decides_although_another_is_undecided() -> None:
    blurred, sharp = ball(arb(1, 0.1), 0.25), ball(1.0, 0.25)
    assert judge([1.25, 1.0], [Candidate("only", [blurred, sharp])], FLOAT64).verdict == "undecided"
    assert judge([1.25, 2.0], [Candidate("only", [blurred, sharp])], FLOAT64).verdict == "deviates"


def test_the_truth_is_settled_by_its_digits_or_as_an_exact_zero() -> None:
    assert settled([Candidate("only", [ball(arb(1) / 3)])])
    assert settled([Candidate("only", [ball(0.0)])])
    assert not settled([Candidate("only", [ball(arb(1, 1e-20))])])
    assert not settled([Candidate("only", [ball(1.0), ball(arb(0, 1e-60))])])


# Range --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("got", "specials", "expected"),
    [
        (math.inf, POSITIVE, "out of range"),
        (math.inf, NEGATIVE, "deviates"),
        (math.inf, NAN, "deviates"),
        (math.inf, 0, "deviates"),
        (-math.inf, NEGATIVE, "out of range"),
        (-math.inf, POSITIVE, "deviates"),
        (math.nan, NAN, "out of range"),
        (math.nan, POSITIVE | NEGATIVE, "deviates"),
        (math.nan, 0, "deviates"),
        (1.0, POSITIVE | NAN, "conforms"),
        (2.0, POSITIVE | NAN, "deviates"),
    ],
)
def test_infinities_and_nan_are_admitted_only_where_the_formula_may_give_them(
    got: float, specials: int, expected: str
) -> None:
    assert verdict(got, ball(1.0, 0.25, specials)) == expected


def test_infinity_conforms_where_the_truth_itself_is_beyond_the_format() -> None:
    beyond = [Candidate("document", [HALF_OPS.given(60000.0) * HALF_OPS.given(2.0)])]
    assert judge([math.inf], beyond, FLOAT16).verdict == "conforms"
    assert judge([-math.inf], beyond, FLOAT16).verdict == "deviates"
    assert judge([math.nan], beyond, FLOAT16).verdict == "deviates"
    assert judge([0.0], beyond, FLOAT16).verdict == "deviates"


def test_an_infinity_that_is_not_admitted_reports_infinite_errors() -> None:
    judged = one(math.inf, ball(1.0, 0.25))
    assert (judged.error_abs, judged.error_ulp, judged.share) == (math.inf, math.inf, math.inf)


def test_an_infinity_that_is_admitted_has_no_distance_from_the_truth() -> None:
    judged = one(math.inf, ball(1.0, 0.25, POSITIVE))
    assert (judged.error_abs, judged.error_ulp, judged.share) == (None, None, None)


def test_a_form_that_may_overflow_admits_nan_only_where_every_form_may_and_its_finite_values_always() -> None:
    overflowing, steady = ball(1.0, 0.25, NAN), ball(1.0, 0.125)
    assert verdict(math.nan, overflowing) == "out of range"
    assert verdict(math.nan, overflowing, steady) == "deviates"
    assert verdict(1.2, overflowing, steady) == "conforms"
    assert verdict(1.3, overflowing, steady) == "deviates"


@pytest.mark.parametrize("got", [1.0, math.inf, math.nan])
def test_where_nothing_is_known_the_verdict_is_out_of_range_with_its_reason(got: float) -> None:
    judged = one(got, ball(0.0, 0.0, ANYTHING))
    assert judged.verdict == "out of range"
    assert judged.reason is not None
    assert judged.reason.startswith("operands: ")
    assert judged.truth is judged.share is None


def test_a_component_of_which_nothing_is_known_does_not_excuse_another() -> None:
    candidates = [Candidate("only", [ball(0.0, 0.0, ANYTHING), ball(1.0, 0.25)])]
    assert judge([7.0, 1.0], candidates, FLOAT64).verdict == "out of range"
    assert judge([7.0, 2.0], candidates, FLOAT64).verdict == "deviates"


# The dtype ----------------------------------------------------------------------------------------------------


def test_a_number_that_the_dtype_does_not_hold_deviates_however_near_it_is() -> None:
    near = [Candidate("document", [ball(arb(1) / 3, 0.01)])]
    assert judge([float(np.float32(1 / 3))], near, FLOAT32).verdict == "conforms"
    judged = judge([1 / 3], near, FLOAT32)
    assert judged.verdict == "deviates"
    assert judged.reason == f"dtype: float32 does not hold {1 / 3!r}; the answer came in a wider type"


def test_the_reason_names_the_number_that_the_dtype_does_not_hold() -> None:
    candidates = [Candidate("document", [ball(0.25, 0.125), ball(arb(1) / 3, 0.01)])]
    judged = judge([0.3125, 1 / 3], candidates, FLOAT32)  # the first has the larger share
    assert judged.reason == f"dtype: float32 does not hold {1 / 3!r}; the answer came in a wider type"


# Forms and components -----------------------------------------------------------------------------------------


def test_the_sharpest_form_that_admits_the_number_is_named() -> None:
    forms = (ball(1.0, 0.5), ball(1.0, 0.125), ball(1.0, 0.25))
    assert one(1.0625, *forms).form == "1"
    assert one(1.1875, *forms).form == "2"
    assert one(1.375, *forms).form == "0"


def test_where_no_form_admits_the_number_the_widest_is_named() -> None:
    judged = one(2.0, ball(1.0, 0.125), ball(1.0, 0.5), ball(1.0, 0.25))
    assert (judged.form, judged.share, judged.sharpest_share) == ("1", 2.0, 8.0)


def test_the_share_of_the_sharpest_form_is_reported_beside_the_named_ones() -> None:
    judged = one(1.25, ball(1.0, 0.5), ball(1.0, 0.125))
    assert (judged.verdict, judged.form, judged.share, judged.sharpest_share) == ("conforms", "0", 0.5, 2.0)


def test_one_form_must_admit_every_component() -> None:
    a = Candidate("a", [ball(1.0, 0.5), ball(1.0, 0.0625)])
    b = Candidate("b", [ball(1.0, 0.0625), ball(1.0, 0.25)])
    assert judge([1.25, 1.0], [a, b], FLOAT64).form == "a"
    assert judge([1.0, 1.125], [a, b], FLOAT64).form == "b"
    mixed = judge([1.25, 1.125], [a, b], FLOAT64)
    assert mixed.verdict == "deviates"


def test_the_worst_component_is_the_one_with_the_largest_share() -> None:
    judged = judge([1.0, 2.5, 3.0], [Candidate("only", [ball(1.0, 1e-9), ball(2.0, 1.0), ball(2.75, 1.0)])], FLOAT64)
    assert (judged.worst_index, judged.value, judged.share) == (1, 2.5, 0.5)


def test_the_median_is_that_of_the_components_errors() -> None:
    eps = 2.0**-52
    judged = judge([1.0, 1 + eps, 1 + 9 * eps], [Candidate("only", [ball(1.0, 0.5)] * 3)], FLOAT64)
    assert (judged.error_ulp, judged.median_ulp) == (9.0, 1.0)


def test_sharpest_and_widest_go_by_the_radius_and_overflow_only_if_every_form_does() -> None:
    narrow, middle, wide = ball(1.0, 0.1), ball(1.0, 0.2), ball(1.0, 0.3)
    assert sharpest([middle, narrow, wide]).radius is narrow.radius
    assert widest([middle, wide, narrow]).radius is wide.radius
    overflowing = ball(1.0, 0.01, POSITIVE)
    assert sharpest([overflowing, middle]).radius is middle.radius
    hull = widest([ball(1.0, 0.5, NAN | POSITIVE), middle])
    assert (float(hull.radius), hull.specials) == (0.5, 0)
    assert widest([ball(1.0, 0.5, NAN | POSITIVE), overflowing]).specials == POSITIVE
    assert widest([ball(1.0, 0.0, ANYTHING), middle]).radius is middle.radius
    assert sharpest([overflowing]).specials == POSITIVE
    reverse, forward = (Form(n, (), lambda ops: 0, "", tangent=n == "f") for n in "rf")
    assert widest([ball(1.0, 0.1, NAN), middle], [reverse, forward]).specials == NAN, "every form of one mode"
    assert sharpest([ball(1.0, 0.1, NAN), middle], [reverse, reverse]).specials == 0


def test_the_truth_is_reported_in_25_digits() -> None:
    assert one(0.3333, ball(arb(1) / 3, 0.01)).truth == "0.3333333333333333333333333"
    assert one(0.0, ball(0.0)).truth == "0"


# Units --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", FORMATS.values(), ids=lambda f: f.name)
def test_the_unit_in_the_last_place_steps_at_powers_of_two(target: Format) -> None:
    eps = 2.0 ** (1 - target.precision)
    assert ulp(arb(1.0), target) == eps
    assert ulp(arb(1.0 - eps / 2), target) == eps / 2
    assert ulp(arb(2.0 - eps), target) == eps
    assert ulp(arb(-2.0), target) == 2 * eps


@pytest.mark.parametrize("target", FORMATS.values(), ids=lambda f: f.name)
def test_zero_and_subnormal_numbers_have_the_smallest_unit(target: Format) -> None:
    tiny = power_of_two(target.emin - target.precision + 1)
    for x in (arb(0), tiny, 3 * tiny, power_of_two(target.emin), power_of_two(target.emin - 5000)):
        assert ulp(x, target) == tiny
    assert ulp(power_of_two(target.emin + 1), target) == 2 * tiny


@pytest.mark.parametrize("target", FORMATS.values(), ids=lambda f: f.name)
def test_numbers_beyond_the_format_have_the_unit_of_its_largest_binade(target: Format) -> None:
    assert ulp(power_of_two(target.emax + 7), target) == power_of_two(target.emax - target.precision + 1)
    assert ulp(arb(target.largest), target) == power_of_two(target.emax - target.precision + 1)


def test_a_ball_across_a_power_of_two_has_the_larger_unit() -> None:
    assert ulp(arb(1, 1e-30), FLOAT64) == 2.0**-52
    assert ulp(arb(1) - arb(2) ** -60, FLOAT64) == 2.0**-53


@pytest.mark.parametrize("x", [1.0, 1.5, 0.1, 1e-310, 1e300, 5e-324, 65504.0])
def test_the_unit_of_a_float64_is_numpys_spacing(x: float) -> None:
    assert ulp(arb(x), FLOAT64) == float(np.spacing(x))
    assert ulp(arb(-x), FLOAT64) == float(np.spacing(x))


def test_errors_are_counted_in_units_of_the_truth() -> None:
    assert one(1 + 3 * 2.0**-52, ball(1.0, 0.5)).error_ulp == 3.0
    assert one(1 - 3 * 2.0**-53, ball(1.0, 0.5)).error_ulp == 1.5
    assert one(5e-324, ball(0.0, 0.5)).error_ulp == 1.0
