"""The check: one answer held against the reference, at both levels, as measurements.

whole: every quantity from the case's inputs alone: the loss, the gradient, the updated weights.
step:  every equation on the operands that the framework itself reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np

from gradconform.adapters.contract import Adapter, Answer, Route, Stencil, Trace
from gradconform.conformance.answers import ask
from gradconform.conformance.check_network import check_network
from gradconform.conformance.levels import reports, same_bits, widened
from gradconform.conformance.measurement import Measurement, judged
from gradconform.reference.cases import Point
from gradconform.reference.cases import derivation as derivation_of
from gradconform.reference.equations import Evaluation
from gradconform.reference.exact import precision
from gradconform.reference.formats import FORMATS
from gradconform.reference.judge import (
    FIRST_PRECISION,
    PRECISION_CAP,
    Candidate,
    Judgement,
    judge,
    settled,
    sharpest,
    widest,
)
from gradconform.reference.profiles import Profile, profile
from gradconform.reference.rounded import Rounded, RoundedBalls
from gradconform.reference.stencils import allowed, quotient

#: Candidates and the magnitude certified bits are taken against, for a quantity, at the precision of the context.
Reference = Callable[[int], tuple[list[Candidate], Any]]


def check_route(adapter: Adapter, route: Route, point: Point, profile_name: str) -> list[Measurement]:
    """Every measurement of one adapter's route at one point; a crash or a refusal is one measurement."""
    answer = ask(adapter, route, point)
    return [answer] if isinstance(answer, Measurement) else judge_answer(answer, adapter, route, point, profile_name)


def judge_answer(answer: Answer, adapter: Adapter, route: Route, point: Point, profile_name: str) -> list[Measurement]:
    """Every measurement of an answer."""
    of: dict[str, Any] = {"case": point.case, "adapter": adapter.name, "route": route.name, "dtype": point.dtype}
    check = check_answer if point.architecture is None else check_network
    # What overflows on its way is found by its result; the caller's settings must not make it an error.
    with np.errstate(all="ignore"):
        return list(check(answer, point, profile(profile_name, adapter.name), of, route.operands == "half-ulp"))


def check_answer(
    answer: Answer, point: Point, constants: Profile, of: dict[str, Any], half_ulp: bool = False
) -> Iterator[Measurement]:
    """Judge every quantity of an answer; `of` identifies it (case, adapter, route, dtype)."""
    derivation, target = derivation_of(point.derivation), FORMATS[point.dtype]
    whole = whole_references(point, constants, answer.stencil)
    for name, value in {
        derivation.loss: answer.loss,
        **{derivation.gradient[w]: answer.gradient[w] for w in point.parameters},
        **{derivation.updated[w]: answer.updated[w] for w in point.parameters},
    }.items():
        yield judged({**of, "level": "whole", "quantity": name}, decide(value, partial(whole, name), target))
    if answer.stencil is not None:
        return  # a difference quotient has no step level: its allowance is that of the whole loss
    trace = answer.trace
    reason = "traced" if trace and not same_bits(trace.gradient, answer.gradient) else None
    reported = reports(derivation, trace or Trace({}, {}, answer.gradient, answer.updated))
    operands = {n: v if target.holds(v) else float(target.round(v)) for n, v in reported.items()}
    strict = step_references(point, constants, operands, half_ulp=False)
    loose = step_references(point, constants, operands, half_ulp=True)
    for name, value in reported.items():
        if trace is None and name not in derivation.updated.values():
            continue  # without a trace the gradient's operands are not known; it was judged as a whole
        judgement = decide(value, partial(strict, name), target)
        note = reason
        if half_ulp or judgement.verdict == "deviates":
            judgement, note = widened(judgement, decide(value, partial(loose, name), target), half_ulp, reason)
        measurement = judged({**of, "level": "step", "quantity": name}, judgement)
        yield measurement.because(note) if note else measurement


def decide(value: float, reference: Reference, target: Any) -> Judgement:
    """Judge a value, raising the precision until the verdict and the digits of the truth are decided."""
    bits = FIRST_PRECISION
    while True:
        with precision(bits):
            candidates, against = reference(bits)
            judgement = judge([float(value)], candidates, target, None if against is None else [against])
            if bits >= PRECISION_CAP or (judgement.verdict != "undecided" and settled(candidates)):
                return judgement
        bits = min(2 * bits, PRECISION_CAP)


# References -----------------------------------------------------------------------------------------------------------


def given(point: Point, ops: RoundedBalls) -> dict[str, Rounded]:
    rate = derivation_of(point.derivation).rate
    return {**{n: ops.given(v) for n, v in point.values.items()}, rate: ops.given(point.rate)}


def whole_references(point: Point, constants: Profile, stencil: Stencil | None) -> Callable[[str, int], Any]:
    """What each quantity may be, from the inputs alone: by the sharpest form at every equation, and by the widest."""
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

    def reference(name: str, bits: int) -> tuple[list[Candidate], Any]:
        if name == derivation.loss:
            return plain(name, bits)
        e = evaluation(bits)
        return [Candidate("stencil", [e[name]])], _against(e, name)

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


@lru_cache(maxsize=8)
def _whole(key: _PointKey, constants: Profile) -> Callable[[str, int], tuple[list[Candidate], Any]]:
    point, derivation = key.point, derivation_of(key.point.derivation)

    @cache
    def evaluations(bits: int) -> Sequence[tuple[str, Evaluation]]:
        ops = RoundedBalls(FORMATS[point.dtype], constants)
        values = given(point, ops)
        return [(n, Evaluation(derivation, ops, values, c)) for n, c in (("sharpest", sharpest), ("widest", widest))]

    def reference(name: str, bits: int) -> tuple[list[Candidate], Any]:
        candidates = [Candidate(form, [e[name]]) for form, e in evaluations(bits)]
        return candidates, _against(evaluations(bits)[0][1], name)

    return reference


def step_references(
    point: Point, constants: Profile, reported: Mapping[str, float], half_ulp: bool
) -> Callable[[str, int], tuple[list[Candidate], Any]]:
    """What each reported quantity may be, by each of its equation's forms on the other reported values."""
    derivation = derivation_of(point.derivation)

    @cache
    def evaluation(bits: int) -> Evaluation:
        ops = RoundedBalls(FORMATS[point.dtype], constants)
        known = ops.reported if half_ulp else ops.given
        return Evaluation(derivation, ops, {**given(point, ops), **{n: known(v) for n, v in reported.items()}}, widest)

    def reference(name: str, bits: int) -> tuple[list[Candidate], Any]:
        e = evaluation(bits)
        forms = [form for form in derivation.by_name[name].forms if not form.tangent]
        return [Candidate(form.name, [e.form(form)]) for form in forms], _against(e, name)

    return reference


def _against(evaluation: Evaluation, name: str) -> Any:
    """The exact magnitude that a quantity's accuracy is measured by, where it is not the quantity itself."""
    form = evaluation.derivation.by_name[name].against
    return None if form is None else evaluation.form(form).exact
