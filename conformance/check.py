"""The check: one answer held against the reference, at both levels, as measurements.

whole: every quantity from the case's inputs alone: the loss, the gradient, the updated weights.
step:  every equation on the operands that the framework itself reported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np
from flint import arb

from gradconform.adapters.contract import Adapter, Answer, Route, Stencil
from gradconform.conformance.answers import ask, missing
from gradconform.conformance.check_network import check_network
from gradconform.conformance.conventions import caused
from gradconform.conformance.levels import Report, plain_reports, step_reports, widened, worst_of_each
from gradconform.conformance.measurement import Measurement, judged
from gradconform.conformance.own_forms import with_own_forms
from gradconform.reference.cases import Point
from gradconform.reference.cases import derivation as derivation_of
from gradconform.reference.condition import condition
from gradconform.reference.equations import Derivation, Evaluation, Form
from gradconform.reference.exact import precision
from gradconform.reference.formats import FORMATS
from gradconform.reference.judge import (
    FIRST_PRECISION,
    PRECISION_CAP,
    Candidate,
    Chooser,
    Judgement,
    ball_of,
    decision,
    judge,
    off,
    overflowing,
    settled,
    sharpest,
    stable,
    widest,
)
from gradconform.reference.outcomes import outcomes
from gradconform.reference.profiles import Profile, profile
from gradconform.reference.rounded import Rounded, RoundedBalls
from gradconform.reference.stencils import allowed, quotient


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
        if point.architecture is None:
            rows = list(check_answer(answer, point, constants, of, half_ulp))
        else:
            rows = list(check_network(answer, point, constants, of, half_ulp, tuple(route.conventions)))
    absent = missing(answer, point)
    if absent and rows:  # said once, where it is seen first; what is there is judged
        rows[0] = rows[0].because(f"unreported: the answer gives no {', '.join(absent)}")
    return rows


def check_answer(
    answer: Answer, point: Point, constants: Profile, of: dict[str, Any], half_ulp: bool = False
) -> Iterator[Measurement]:
    """Judge every quantity of an answer; `of` identifies it (case, adapter, route, dtype)."""
    whole = whole_references(point, constants, answer.stencil)

    def truth(name: str) -> float:
        with precision(FIRST_PRECISION):
            return float(whole(name, FIRST_PRECISION).truth.exact.mid())

    yield from caused(list(_rows(answer, point, constants, of, half_ulp, whole)), answer, point, truth)


def _rows(
    answer: Answer,
    point: Point,
    constants: Profile,
    of: dict[str, Any],
    half_ulp: bool,
    whole: Callable[[str, int], Reference],
) -> Iterator[Measurement]:
    derivation, target = derivation_of(point.derivation), FORMATS[point.dtype]
    for name, value in plain_reports(derivation, answer).items():
        judgement = decide(value, partial(whole, name), target)
        yield judged({**of, "level": "whole", "quantity": name}, judgement, operator=derivation.by_name[name].operator)
    if answer.stencil is not None:
        return  # a difference quotient has no step level: its allowance is that of the whole loss
    step = StepLevel(point, constants, derivation, answer, half_ulp)

    def measured(report: Report) -> Measurement:
        judgement, note = step.judge(report, half_ulp=False), report.note
        if half_ulp or judgement.verdict == "deviates":
            judgement, note = widened(judgement, step.judge(report, half_ulp=True), half_ulp, note)
        row = judged({**of, "level": "step", "quantity": report.quantity}, judgement, operator=report.equation.operator)
        return row.because(note) if note else row

    yield from worst_of_each(map(measured, step.reports))


@dataclass(frozen=True)
class Reference:
    """What a quantity is held against at one precision: candidates, each made when it is asked for; its truth.

    `against` is the magnitude that certified bits are measured by, where that is not the truth's; `condition` gives the
    norm of κ; `nested` as in `judge`.
    """

    candidates: Iterable[Candidate]
    truth: Rounded
    against: arb | None = None
    condition: Callable[[], arb] | None = None
    nested: bool = False


def decide(value: float, reference: Callable[[int], Reference], target: Any) -> Judgement:
    """Judge a value, raising the precision until the verdict and the digits of the truth are decided."""
    bits = FIRST_PRECISION
    while True:
        with precision(bits):
            of = reference(bits)
            judgement = judge(
                [float(value)],
                list(_as_far_as_needed(float(value), of)),
                target,
                [of.truth],
                None if of.against is None else [of.against],
                of.condition,
                of.nested,
            )
            if bits >= PRECISION_CAP or (judgement.verdict != "undecided" and settled([of.truth])):
                return judgement
        bits = min(2 * bits, PRECISION_CAP)


def _as_far_as_needed(value: float, of: Reference) -> Iterator[Candidate]:
    """The candidates in order, up to the first that accepts the value, keeps its digits and is no textbook's."""
    scale = of.against if of.against is not None else abs(of.truth.exact) + of.truth.spread
    for candidate in of.candidates:
        yield candidate
        ball = ball_of(candidate.components[0])
        if ball is None or candidate.instead or decision(value, candidate.components[0]) != "inside":
            continue
        if math.isfinite(value) and (off(ball, of.truth) < scale or off(ball, of.truth).is_zero()):
            return


# References -----------------------------------------------------------------------------------------------------------


def given(point: Point, ops: RoundedBalls) -> dict[str, Rounded]:
    rate = derivation_of(point.derivation).rate
    return {**{n: ops.given(v) for n, v in point.values.items()}, rate: ops.given(point.rate)}


def whole_references(point: Point, constants: Profile, stencil: Stencil | None) -> Callable[[str, int], Reference]:
    """What each quantity may be, from the inputs alone, by one program after the other; see `PROGRAMS`."""
    if stencil is None:
        return _whole(_PointKey(point), constants)
    derivation = derivation_of(point.derivation)
    plain = _whole(_PointKey(point), constants)

    @cache
    def evaluation(bits: int) -> Evaluation:
        ops = RoundedBalls(FORMATS[point.dtype], constants)
        values = given(point, ops)
        truth = Evaluation(derivation, ops, values, widest)
        quotients = {
            name: allowed(truth[name], quotient(derivation, ops, values, w, stencil))
            for w, name in derivation.gradient.items()
        }
        return Evaluation(derivation, ops, {**values, **quotients}, widest)

    def reference(name: str, bits: int) -> Reference:
        if name == derivation.loss:
            return plain(name, bits)
        e = evaluation(bits)
        return Reference([Candidate.of_values("stencil", [e[name]])], e[name], _against(e, name))

    return reference


class _PointKey:
    """A point as a key of the cache: the same values in the same dtype have the same references."""

    def __init__(self, point: Point) -> None:
        self.point = point
        self.key = (point.derivation, point.dtype, point.rate, tuple(point.values.items()))

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _PointKey) and self.key == other.key


SHARPEST = stable(sharpest)
#: Whole programs, the sharpest first: name, choice among the forms of an equation, what keeps the digits they lose.
PROGRAMS: tuple[tuple[str, Chooser, str], ...] = (
    ("sharpest", SHARPEST, ""),
    ("widest", stable(widest), ""),
    ("widest, unstable programs too", widest, "a stable program at every equation"),
    ("widest, overflow included", overflowing, ""),
)


@lru_cache(maxsize=8)
def _whole(key: _PointKey, constants: Profile) -> Callable[[str, int], Reference]:
    point, derivation = key.point, derivation_of(key.point.derivation)

    @cache
    def evaluation(bits: int, program: str) -> Evaluation:
        ops = RoundedBalls(FORMATS[point.dtype], constants, "wide" if program == "sharpest" else "any")
        choose = next(choice for name, choice, _ in PROGRAMS if name == program)
        return Evaluation(derivation, ops, given(point, ops), choose)

    def reference(name: str, bits: int) -> Reference:
        def candidates() -> Iterator[Candidate]:
            for program, _, instead in PROGRAMS:
                with precision(bits):
                    value = evaluation(bits, program)[name]
                yield Candidate.of_values(program, [value], instead)

        first = evaluation(bits, "sharpest")
        return Reference(candidates(), first[name], _against(first, name), nested=True)

    return reference


class StepLevel:
    """What each reported quantity may be, by each of its equation's forms on the other reported values."""

    def __init__(
        self, point: Point, constants: Profile, derivation: Derivation, answer: Answer, compiled: bool
    ) -> None:
        self.point, self.constants, self.derivation = point, constants, derivation
        self.target = FORMATS[point.dtype]
        self.reports = step_reports(derivation, answer, compiled)
        self._evaluation = cache(self._evaluated)

    def judge(self, report: Report, half_ulp: bool) -> Judgement:
        return decide(float(report.value), partial(self._reference, report, half_ulp), self.target)

    def _evaluated(self, group: int, half_ulp: bool, bits: int, choose: Chooser | None) -> Evaluation:
        """The reported values of one evaluation, and what they leave out, computed from them; None: by definition."""
        ops = RoundedBalls(self.target, self.constants)
        known = ops.reported if half_ulp else ops.given
        operands = self.reports[group].operands
        held = {n: known(v if self.target.holds(v) else float(self.target.round(v))) for n, v in operands.items()}
        derivation = self.derivation if choose else self.derivation.defined
        return Evaluation(derivation, ops, {**given(self.point, ops), **held}, choose)

    def _reference(self, report: Report, half_ulp: bool, bits: int) -> Reference:
        evaluation = self._evaluation(report.group, half_ulp, bits, SHARPEST)
        equation = report.equation
        balls = RoundedBalls(self.target, self.constants, "own")

        def candidates() -> Iterator[Candidate]:
            forms = [form for form in equation.forms if not form.tangent]
            for form in forms:
                yield _candidate(form, evaluation, balls)
            for form in forms:
                if not all(o in evaluation.given for o in form.operands):  # by whatever program they were computed
                    with precision(bits):
                        wide = self._evaluation(report.group, half_ulp, bits, widest)
                        yield _candidate(form, wide, balls)

        def kappa() -> arb:
            operands = [float(evaluation[o].exact.mid()) for o in equation.truth.operands]
            return arb(condition(equation, operands, 2.0**-self.target.precision) or 0.0)

        truth = self._evaluation(report.group, half_ulp, bits, None).form(equation.truth)
        return Reference(candidates(), truth, _against(evaluation, report.quantity), kappa)


def _candidate(form: Form, evaluation: Evaluation, balls: RoundedBalls) -> Candidate:
    operands = [evaluation[o] for o in form.operands]
    found = outcomes(lambda ops: form.formula(ops, *[ops.read(x) for x in operands]), balls)
    return Candidate(form.name, [found], form.instead, form.approximates)


def _against(evaluation: Evaluation, name: str) -> arb | None:
    """The exact magnitude that a quantity's accuracy is measured by, where it is not the quantity itself."""
    form = evaluation.derivation.by_name[name].against
    return None if form is None else abs(evaluation.form(form).exact)
