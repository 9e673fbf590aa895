"""The check: one answer held against the reference, at both levels, as measurements.

whole: every quantity from the case's inputs alone: the loss, the gradient, the updated weights.
step:  every equation on the operands that the framework itself reported.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from gradconform.adapters.contract import Adapter, Answer, Route
from gradconform.conformance.answers import ask, missing
from gradconform.conformance.conventions import (
    accepted_as,
    at_scale,
    caused,
    may_be_of_another_scale,
    rescaled,
    scales,
    unaccepted,
    would_be,
)
from gradconform.conformance.levels.shared import Report, plain_reports, step_reports, widened, worst_of_each
from gradconform.conformance.levels.step_level import StepLevel
from gradconform.conformance.levels.whole_level import WholeLevel, programs_at
from gradconform.conformance.own_forms import with_own_forms
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.profiles import Profile, profile
from gradconform.reference.cases import Point
from gradconform.reference.cases import derivation as derivation_of
from gradconform.reference.equations import Equation
from gradconform.reference.judge import Judgement
from gradconform.reference.measurement import Measurement, judged


def check_route(adapter: Adapter, route: Route, point: Point, profile_name: str) -> list[Measurement]:
    """Every measurement of one adapter's route at one point; a crash or a refusal is one measurement."""
    answer = ask(adapter, route, point)
    return [answer] if isinstance(answer, Measurement) else judge_answer(answer, adapter, route, point, profile_name)


def judge_answer(answer: Answer, adapter: Adapter, route: Route, point: Point, profile_name: str) -> list[Measurement]:
    """Every measurement of an answer."""
    of: dict[str, Any] = {"case": point.case, "adapter": adapter.name, "route": route.name, "dtype": point.dtype}
    constants, half_ulp = profile(profile_name, adapter.name), route.operands == "half-ulp"
    point = with_own_forms(point, adapter)
    # What overflows on its way is found by its result; the caller's settings must not make it an error.
    with np.errstate(all="ignore"):
        rows = list(check_answer(answer, point, constants, of, half_ulp, tuple(route.conventions)))
    absent = missing(answer, point)
    if absent and rows:  # said once, where it is seen first; what is there is judged
        rows[0] = rows[0].because(f"unreported: the answer gives no {', '.join(absent)}")
    return rows


def check_answer(
    answer: Answer,
    point: Point,
    constants: Profile,
    of: dict[str, Any],
    half_ulp: bool = False,
    conventions: tuple[str, ...] = (),
) -> Iterator[Measurement]:
    """Judge every quantity of an answer; `of` identifies it (case, adapter, route, dtype)."""
    derivation = derivation_of(point.derivation)
    whole = WholeLevel(point, constants, conventions, answer.stencil)
    step = step_level(point, constants, conventions)
    # A difference quotient has no step level: its allowance is that of the whole loss.
    reports = () if answer.stencil is not None else step_reports(derivation, answer, half_ulp)
    left_out = {r.quantity: lacking for r in reports if (lacking := step.missing(r)) is not None}
    plain = plain_reports(derivation, answer)
    rows: list[Measurement] = []

    def of_whole(name: str, whole: WholeLevel) -> Measurement:
        return _measured(of, "whole", derivation.by_name[name], plain[name], whole.judge(name, np.asarray(plain[name])))

    for name in plain:
        row = of_whole(name, whole)
        if name in left_out:
            row = row.because(f"unreported: the trace lacks {left_out[name]}, without which no step is judged here")
        rows.append(row)

    def measured(report: Report, step: StepLevel) -> Measurement:
        return told(report, step, step.judge(report))

    def told(report: Report, step: StepLevel, judgement: Judgement) -> Measurement:
        note = report.note
        if judgement.verdict == "deviates":
            judgement, note = widened(judgement, step.judge(report, half_ulp=True), half_ulp, note)
        row = _measured(of, "step", report.equation, report.value, judgement)
        return row.because(note) if note else row

    asked = [r for r in reports if r.quantity not in left_out]
    steps = [told(r, step, judgement) for r, judgement in zip(asked, step.judge_each(asked), strict=True)]
    if may_be_of_another_scale(rows, steps, derivation):
        for c in scales(point):
            again = at_scale(steps, asked, c, partial(measured, step=step_level(point, constants, conventions, c)))
            if again is not None:
                steps = again
                break
    if unasked := unaccepted([*rows, *steps], derivation, point, conventions):
        other, of_step = WholeLevel(point, constants, unasked), step_level(point, constants, unasked)
        rows = [would_be(row, partial(of_whole, row.quantity, other)) for row in rows]
        steps = [would_be(row, partial(measured, report, of_step)) for row, report in zip(steps, asked, strict=True)]
    yield from caused([*rows, *worst_of_each(steps)], answer, point, whole.truth)


def step_level(
    point: Point, constants: Profile, conventions: tuple[str, ...] = (), scale: Fraction | None = None
) -> StepLevel:
    """The step level of a point; with a `scale`, of adjoints so many times the derivation's own."""
    derivation = derivation_of(point.derivation)
    given = {**point.values, derivation.rate: point.rate}
    if scale is not None:
        derivation = rescaled(derivation, scale)
    judged = programs_at(point, constants, conventions).steps.setdefault(scale, {})
    return StepLevel(derivation, FORMATS[point.dtype], constants, given, conventions, judged)


def _measured(of: dict[str, Any], level: str, equation: Equation, value: Any, judgement: Judgement) -> Measurement:
    shape = np.shape(value)
    identity = {**of, "level": level, "quantity": equation.name}
    return accepted_as(judged(identity, judgement, max(1, math.prod(shape)), shape, operator=equation.operator))
