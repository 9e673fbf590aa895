"""The judge's verdicts, one by one, and the units they are reported in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from flint import arb

from gradconform.reference.arithmetic.exact import power_of_two, precision
from gradconform.reference.arithmetic.formats import FLOAT16, FLOAT32, FLOAT64, FORMATS, Format
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.arithmetic.rounded import ANYTHING, NAN, NEGATIVE, POSITIVE, Rounded, RoundedBalls
from gradconform.reference.derivations.choosers import overflowing, sharpest, stable, widest
from gradconform.reference.equations import Form
from gradconform.reference.judge import (
    Candidate,
    Judgement,
    accuracy_of,
    judge,
    settled,
    two_norm,
    ulp,
    verdict_of,
)
from gradconform.reference.outcomes import Special

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


def form(name: str, *balls: Rounded, instead: str = "") -> Candidate:
    """One form's value of every component, as far as its ball and its specials say."""
    return Candidate.of_values(name, balls, instead)


def truth_of(value: Rounded) -> Rounded:
    """What a form of one centre with the truth is true to: the centre, without its radius."""
    return Rounded(value.arithmetic, value.exact, arb(0), value.specials & ANYTHING, value.spread)


def held(got: Sequence[float], *forms: Candidate, target: Format = FLOAT64, **more: Any) -> Judgement:
    """Components against forms; the truth is the first one's centre."""
    return judge(got, forms, target, [truth_of(of[0]) for of in forms[0].components], **more)


def one(got: float, *balls: Rounded) -> Judgement:
    """One number against forms named 0, 1, …"""
    return held([got], *(form(str(i), b) for i, b in enumerate(balls)))


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
    document = form("document", ball(1.0, 2.0**-10))
    against_itself = held([1.0], document)
    assert (against_itself.verdict, against_itself.certified_bits) == ("conforms", 10.0)
    against_a_step = held([1.0], document, against=[arb(2) ** -6])
    assert (against_a_step.verdict, against_a_step.certified_bits) == ("conforms", 4.0)
    assert held([1.0], document, against=[arb(2) ** -10]).verdict == "vacuous"


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
    assert held([1.25, 1.0], form("only", blurred, sharp)).verdict == "undecided"
    assert held([1.25, 2.0], form("only", blurred, sharp)).verdict == "deviates"


def test_the_truth_is_settled_by_its_digits_or_as_an_exact_zero() -> None:
    assert settled([ball(arb(1) / 3)])
    assert settled([ball(0.0)])
    assert not settled([ball(arb(1, 1e-20))])
    assert not settled([ball(1.0), ball(arb(0, 1e-60))])


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


def test_an_infinity_is_out_of_range_also_where_the_truth_itself_is_beyond_the_format() -> None:
    """It is what so large a number rounds to, and no gradient that anybody can use."""
    beyond = form("document", HALF_OPS.given(60000.0) * HALF_OPS.given(2.0))
    assert held([math.inf], beyond, target=FLOAT16).verdict == "out of range"
    assert held([-math.inf], beyond, target=FLOAT16).verdict == "deviates"
    assert held([math.nan], beyond, target=FLOAT16).verdict == "deviates"
    assert held([0.0], beyond, target=FLOAT16).verdict == "deviates"


def test_an_infinity_that_is_not_admitted_reports_infinite_errors() -> None:
    judged = one(math.inf, ball(1.0, 0.25))
    assert (judged.error_abs, judged.error_ulp, judged.share) == (math.inf, math.inf, math.inf)


def test_an_infinity_that_is_admitted_has_no_distance_from_the_truth() -> None:
    judged = one(math.inf, ball(1.0, 0.25, POSITIVE))
    assert (judged.error_abs, judged.error_ulp, judged.share) == (None, None, None)


def test_a_form_that_overflows_admits_what_its_own_program_gives_also_where_another_is_bounded() -> None:
    overflows, steady = ball(1.0, 0.25, NAN), ball(1.0, 0.125)
    found = one(math.nan, overflows, steady)
    assert (found.verdict, found.execution, found.accepted_form) == ("out of range", "overflow", "0")
    assert verdict(math.nan, steady) == "deviates"
    assert verdict(math.inf, overflows, steady) == "deviates", "NaN is what that program gives, and nothing else"
    assert verdict(1.2, overflows, steady) == "conforms"
    assert verdict(1.3, overflows, steady) == "deviates"


def test_a_program_that_overflows_for_certain_admits_no_number() -> None:
    only = Candidate("only", [(Special(OPS, math.inf),)])  # type: ignore[arg-type]
    truth = [ball(1.0)]
    assert judge([math.inf], [only], FLOAT64, truth).verdict == "out of range"
    assert judge([1.0], [only], FLOAT64, truth).verdict == "deviates"
    assert judge([math.nan], [only], FLOAT64, truth).verdict == "deviates"


@pytest.mark.parametrize("got", [7.0, math.inf, math.nan])
def test_a_form_of_which_nothing_is_known_excuses_nothing_where_another_is_known(got: float) -> None:
    unknown, steady = ball(0.0, 0.0, ANYTHING), ball(1.0, 0.125)
    assert verdict(got, unknown) == "out of range"
    assert verdict(got, steady, unknown) == "deviates"
    assert one(1.0625, steady, unknown).accepted_form == "0"


def test_of_what_a_nested_program_does_not_know_those_before_it_know_nothing() -> None:
    steady, unknown = form("steady", ball(1.0, 0.125)), form("mixture", ball(0.0, 0.0, ANYTHING))
    assert held([7.0], steady, unknown).verdict == "deviates"
    assert held([7.0], steady, unknown, nested=True).verdict == "out of range"
    assert held([1.0], steady, unknown, nested=True).verdict == "conforms"


def test_what_may_be_a_division_by_zero_admits_the_infinity_and_excuses_no_number() -> None:
    pole, steady = ball(0.0, 0.0, ANYTHING | POSITIVE), ball(1.0, 0.125)
    assert verdict(math.inf, steady, pole) == "out of range"
    assert verdict(-math.inf, steady, pole) == "deviates"
    assert verdict(7.0, steady, pole) == "deviates"


@pytest.mark.parametrize("got", [1.0, math.inf, math.nan])
def test_where_nothing_is_known_the_verdict_is_out_of_range_with_its_reason(got: float) -> None:
    judged = one(got, ball(0.0, 0.0, ANYTHING))
    assert judged.verdict == "out of range"
    assert judged.reason is not None
    assert judged.reason.startswith("operands: ")
    assert judged.truth is judged.share is None


def test_a_component_of_which_nothing_is_known_does_not_excuse_another() -> None:
    only = form("only", ball(0.0, 0.0, ANYTHING), ball(1.0, 0.25))
    assert held([7.0, 1.0], only).verdict == "out of range"
    assert held([7.0, 2.0], only).verdict == "deviates"


# Truth, forms and accuracy ------------------------------------------------------------------------------------


def at(truth: float | arb | Rounded, got: float, *forms: Candidate, **more: Any) -> Judgement:
    """One number against forms, each of a centre of its own, and the truth beside them."""
    return judge([got], forms, FLOAT64, [truth if isinstance(truth, Rounded) else ball(truth)], **more)


def test_the_share_is_of_the_forms_own_centre_and_the_error_of_the_truth() -> None:
    eps = 2.0**-52
    found = at(1.0, 1 + 5 * eps, form("other", ball(1 + 4 * eps, 2 * eps)))
    assert (found.verdict, found.share, found.error_ulp, found.max_ulp) == ("conforms", 0.5, 5.0, 5.0)
    assert found.allowance == pytest.approx(2 * eps, rel=1e-5)
    assert at(1.0, 1.0, form("other", ball(1 + 4 * eps, 2 * eps))).verdict == "deviates", "not what it gives"


def test_certified_bits_count_how_far_a_forms_centre_is_from_the_truth() -> None:
    assert at(1.0, 1.125, form("other", ball(1.125, 0.0))).certified_bits == 3.0
    assert at(1.0, 1.125, form("other", ball(1.125, 0.125))).certified_bits == 2.0
    assert at(1.0, 1.0, form("same", ball(1.0, 0.0))).certified_bits is None


def test_a_form_that_has_lost_what_another_keeps_is_within_and_lost() -> None:
    """σ'(40) by a(1 − a) from a = 1: 0 ± 0, and all of the truth is missing."""
    slope = 4.24835425529159e-18
    saturated, kept = form("a(1-a)", ball(0.0)), form("σ(z)σ(-z)", ball(slope, slope * 2.0**-50))
    found = at(slope, 0.0, saturated, kept)
    assert (found.formula, found.execution, found.accuracy, found.verdict) == ("right", "within", "lost", "lost")
    assert found.reason == "lost: σ(z)σ(-z) keeps 50 bits"
    assert (found.share, found.accepted_form, found.certified_bits) == (0.0, "a(1-a)", 0.0)
    assert at(slope, slope, saturated, kept).verdict == "conforms"
    assert at(slope, slope / 2, saturated, kept).verdict == "deviates"


def test_digits_that_no_other_form_keeps_are_vacuous_and_eight_bits_more_are_a_proof_of_loss() -> None:
    def kept_by_another(bits: int) -> str:
        return at(1.0, 1.5, form("vague", ball(1.0, 1.0)), form("other", ball(1.0, 2.0**-bits))).verdict

    assert at(1.0, 1.5, form("vague", ball(1.0, 1.0))).verdict == "vacuous"
    assert [kept_by_another(bits) for bits in (7, 8)] == ["vacuous", "lost"]


def test_what_one_rounding_of_the_operands_does_as_well_is_ill_conditioned() -> None:
    vague = form("vague", ball(1.0, 16.0))

    def verdict_at(kappa: float) -> str:
        return at(1.0, 1.5, vague, condition=lambda: arb(kappa)).verdict

    assert verdict_at(2.0**53) == "ill-conditioned"
    assert verdict_at(2.0**53 * 0.999) == "vacuous"


def test_the_condition_is_asked_for_only_where_digits_are_missing() -> None:
    def never() -> arb:
        raise AssertionError

    assert at(1.0, 1.0, form("sharp", ball(1.0, 0.25)), condition=never).verdict == "conforms"


def test_what_only_an_unstable_form_admits_is_lost_and_the_reason_says_what_keeps_the_digits() -> None:
    stable_one, textbook = form("stable", ball(1.0, 0.125)), form("textbook", ball(1.0, 0.0625), instead="stable")
    found = at(1.0, 1.03125, textbook, stable_one)
    assert (found.verdict, found.accepted_form) == ("conforms", "stable"), "an unstable form is the last that is named"
    wide = form("textbook", ball(1.0, 0.5), instead="stable")
    found = at(1.0, 1.25, wide, stable_one)
    assert (found.verdict, found.formula, found.execution) == ("lost", "right", "within")
    assert found.reason == "unstable: stable keeps the digits that textbook loses"
    assert at(1.0, 1.75, wide, stable_one).verdict == "deviates"


def test_a_documented_approximation_conforms_and_is_named() -> None:
    identity = Candidate("z above 20", [(ball(20.0, 1e-9),)], approximates="the identity above 20")
    found = at(20.000000002, 20.0, identity)
    assert (found.verdict, found.reason) == ("conforms", "approximates: the identity above 20")
    assert at(20.000000002, 20.0 - 1e-8, identity).verdict == "deviates"


@pytest.mark.parametrize("got", [0.0, 0.25, 1.0])
def test_at_a_kink_every_slope_of_the_set_is_right_and_has_no_error(got: float) -> None:
    half = Rounded(OPS, arb(0.5), arb(0), 0, arb(0.5))
    found = at(half, got, form("z>0", half))
    assert (found.verdict, found.formula, found.truth) == ("conforms", "kink", "[0, 1.0000000000000000]")
    assert (found.error_abs, found.error_ulp, found.max_ulp, found.share) == (0.0, 0.0, 0.0, 0.0)


def test_beyond_a_kinks_set_the_error_is_from_its_nearer_end() -> None:
    half = Rounded(OPS, arb(0.5), arb(0), 0, arb(0.5))
    found = at(half, 1 + 2.0**-51, form("z>0", half))
    assert (found.verdict, found.error_ulp) == ("deviates", 2.0)
    assert at(half, -0.25, form("z>0", half)).error_abs == 0.25


@pytest.mark.parametrize(
    ("formula", "execution", "accuracy", "expected"),
    [
        ("right", "within", "certified", "conforms"),
        ("kink", "within", "certified", "conforms"),
        ("right", "within", "lost", "lost"),
        ("kink", "within", "vacuous", "vacuous"),
        ("right", "within", "ill-conditioned", "ill-conditioned"),
        ("wrong", "within", "certified", "deviates"),
        ("undefined", "within", "certified", "deviates"),
        ("right", "outside", "certified", "deviates"),
        ("wrong", "undecided", "certified", "deviates"),
        ("right", "undecided", "certified", "undecided"),
        ("right", "overflow", "lost", "out of range"),
        ("singular", "within", "certified", "singular"),
        ("unknown", "within", "certified", "conforms"),
        ("unknown", "outside", "certified", "deviates"),
    ],
)
def test_a_verdict_is_what_the_three_answers_come_to(
    formula: Any, execution: Any, accuracy: Any, expected: str
) -> None:
    assert verdict_of(formula, execution, accuracy) == expected


def test_an_unstable_form_has_lost_digits_whatever_it_certifies() -> None:
    def never() -> bool:
        raise AssertionError

    assert accuracy_of(40.0, True, [], never) == ("lost", None)
    assert accuracy_of(40.0, False, [("other", 53.0)], never) == ("certified", None)
    assert accuracy_of(None, False, [], never) == ("certified", None), "nothing to be off by"


# The dtype ----------------------------------------------------------------------------------------------------


def test_a_number_that_the_dtype_does_not_hold_deviates_however_near_it_is() -> None:
    near = form("document", ball(arb(1) / 3, 0.01))
    assert held([float(np.float32(1 / 3))], near, target=FLOAT32).verdict == "conforms"
    judged = held([1 / 3], near, target=FLOAT32)
    assert judged.verdict == "deviates"
    assert judged.reason == f"dtype: float32 does not hold {1 / 3!r}; the answer came in a wider type"


def test_the_reason_names_the_number_that_the_dtype_does_not_hold() -> None:
    document = form("document", ball(0.25, 0.125), ball(arb(1) / 3, 0.01))
    judged = held([0.3125, 1 / 3], document, target=FLOAT32)  # the first has the larger share
    assert judged.reason == f"dtype: float32 does not hold {1 / 3!r}; the answer came in a wider type"


# Forms and components -----------------------------------------------------------------------------------------


def test_the_sharpest_form_that_admits_the_number_is_named() -> None:
    forms = (ball(1.0, 0.5), ball(1.0, 0.125), ball(1.0, 0.25))
    assert one(1.0625, *forms).accepted_form == "1"
    assert one(1.1875, *forms).accepted_form == "2"
    assert one(1.375, *forms).accepted_form == "0"


def test_where_no_form_admits_the_number_the_widest_is_named() -> None:
    judged = one(2.0, ball(1.0, 0.125), ball(1.0, 0.5), ball(1.0, 0.25))
    assert (judged.accepted_form, judged.share, judged.sharpest_share) == ("1", 2.0, 8.0)


def test_the_share_of_the_sharpest_form_is_reported_beside_the_named_ones() -> None:
    judged = one(1.25, ball(1.0, 0.5), ball(1.0, 0.125))
    assert (judged.verdict, judged.accepted_form, judged.share, judged.sharpest_share) == ("conforms", "0", 0.5, 2.0)


def test_one_form_must_admit_every_component() -> None:
    a = form("a", ball(1.0, 0.5), ball(1.0, 0.0625))
    b = form("b", ball(1.0, 0.0625), ball(1.0, 0.25))
    assert held([1.25, 1.0], a, b).accepted_form == "a"
    assert held([1.0, 1.125], a, b).accepted_form == "b"
    mixed = held([1.25, 1.125], a, b)
    assert mixed.verdict == "deviates"


def test_the_worst_component_is_the_one_with_the_largest_share() -> None:
    judged = held([1.0, 2.5, 3.0], form("only", ball(1.0, 1e-9), ball(2.0, 1.0), ball(2.75, 1.0)))
    assert (judged.worst_index, judged.value, judged.share) == (1, 2.5, 0.5)


def test_the_largest_error_stands_beside_that_of_the_component_with_the_largest_share() -> None:
    eps = 2.0**-52
    found = held([1 + eps, 1 + 9 * eps], form("only", ball(1.0, eps), ball(1.0, 100 * eps)))
    assert (found.worst_index, found.error_ulp, found.max_ulp) == (0, 1.0, 9.0)


def test_the_median_is_that_of_the_components_errors() -> None:
    eps = 2.0**-52
    judged = held([1.0, 1 + eps, 1 + 9 * eps], form("only", *[ball(1.0, 0.5)] * 3))
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


def test_overflowing_is_the_widest_and_infinite_wherever_a_form_is() -> None:
    found = overflowing([ball(1.0, 0.2, POSITIVE), ball(1.0, 0.3), ball(1.0, 0.1, NAN)])
    assert (float(found.radius), found.specials) == (0.3, POSITIVE | NAN)
    assert overflowing([ball(1.0, 0.3), ball(0.0, 0.0, ANYTHING)]).specials & ANYTHING


def test_a_stable_choice_is_among_the_forms_that_are_not_unstable() -> None:
    steady, textbook = Form("s", (), lambda ops: 0, ""), Form("t", (), lambda ops: 0, "", instead="s")
    narrow, wide = ball(1.0, 0.1), ball(1.0, 0.3)
    assert stable(widest)([narrow, wide], [steady, textbook]).radius is narrow.radius
    assert widest([narrow, wide], [steady, textbook]).radius is wide.radius


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


def test_the_norm_of_parts_of_which_one_may_be_0_is_a_number() -> None:
    small = arb(1, 0.9) * power_of_two(-60)  # whose square's ball reaches below 0
    for parts in ([arb(0), small], [small], [arb(0), arb(0, 2.0**-60)]):
        assert 0 < two_norm(parts) < power_of_two(-58)
    assert two_norm([arb(3), arb(4)]).overlaps(arb(5))
    assert not two_norm([arb("nan"), arb(1)]).is_finite()
