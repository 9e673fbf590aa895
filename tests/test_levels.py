"""The two levels: what is judged where, what a trace is believed, and what half an ulp allows."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from gradconform.adapters.contract import Answer, Trace
from gradconform.conformance.cases.catalogue import random_case
from gradconform.conformance.check import check_answer
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.profiles import profile
from gradconform.reference.cases import Point, point
from gradconform.reference.derivations.plain import PLAIN
from gradconform.reference.document import NETWORK
from gradconform.reference.equations import Evaluation
from gradconform.reference.measurement import Measurement

OF = {"case": "c", "adapter": "a", "route": "r", "dtype": "float64"}


def traced(at: Point, **changes: float) -> Answer:
    """The document's formulas in float64, with some reported values replaced and everything after recomputed."""
    evaluation = Evaluation(NETWORK, PLAIN, {**at.values, "eta": at.rate, **changes})
    value = {e.name: float(evaluation[e.name]) for e in NETWORK.equations}
    gradient = {w: value[g] for w, g in NETWORK.gradient.items()}
    updated = {w: value[n] for w, n in NETWORK.updated.items()}
    forward = {e.name: value[e.name] for e in NETWORK.group("forward")}
    adjoints = {n: value[NETWORK.adjoint(n)] for n in NETWORK.intermediates}
    return Answer(value["E_total"], gradient, updated, Trace(forward, adjoints, gradient, updated))


def judged(answer: Answer) -> list[Measurement]:
    return list(check_answer(answer, AT, profile("opencl"), OF))


AT = point(random_case(1, 5), "float64")


def test_every_reported_equation_is_judged_at_the_step_level() -> None:
    rows = judged(traced(AT))
    step = [m.quantity for m in rows if m.level == "step"]
    assert len(step) == 35
    assert step == [e.name for e in NETWORK.equations if e.name in set(step)], "in the document's order"
    assert {m.verdict for m in rows} == {"conforms"}


def test_a_fault_is_named_by_its_equation_and_those_after_it_are_not_blamed() -> None:
    right = traced(AT).trace
    assert right is not None
    wrong = traced(AT, **{"dE_total/do1": right.adjoints["o1"] * (1 + 2.0**-40)})
    step = {m.quantity for m in judged(wrong) if m.level == "step" and m.verdict == "deviates"}
    assert step == {"dE_total/do1"}


def nudged(factor: float) -> dict[str, Measurement]:
    """The step level of an answer whose plain gradient by w1 is not the traced one."""
    answer = traced(AT)
    rows = judged(replace(answer, gradient={**answer.gradient, "w1": answer.gradient["w1"] * factor}))
    assert all(m.reason is None for m in rows if m.level == "whole")
    return {m.quantity: m for m in rows if m.level == "step"}


def test_a_plain_gradient_that_is_not_the_traced_one_is_judged_on_the_trace_and_says_so() -> None:
    found = nudged(1 + 2.0**-40)
    assert (found["dE_total/dw1"].verdict, found["dE_total/dw1"].reason) == ("deviates", "traced")
    assert {q for q, m in found.items() if m.verdict == "deviates"} == {"dE_total/dw1", "w1_new"}
    assert {q for q, m in found.items() if m.reason} == {"dE_total/dw1"}


def test_a_plain_gradient_within_the_rounding_of_the_traced_step_conforms() -> None:
    found = nudged(1 + 2.0**-52)
    assert {m.verdict for m in found.values()} == {"conforms"}
    assert {m.reason for m in found.values()} == {None}


def test_an_update_is_judged_on_the_plain_gradient() -> None:
    answer = traced(AT)
    wrong = {**answer.updated, "w1": answer.updated["w1"] + AT.rate * 1e-9}
    for updated, verdict in ((answer.updated, "conforms"), (wrong, "deviates")):
        rows = judged(replace(answer, updated=updated, trace=None))
        assert [m.verdict for m in rows if (m.level, m.quantity) == ("step", "w1_new")] == [verdict]


def test_operands_kept_in_higher_precision_conform_only_where_the_route_declares_it() -> None:
    """a_o1 reported half an ulp away from what the adjoint was computed from, where a − t cancels."""
    target = FORMATS["float64"]
    plain = traced(AT).trace
    assert plain is not None
    a = plain.values["a_o1"]
    cancelling = Point(**{**vars(AT), "values": {**AT.values, "t1": float(target.round(a * (1 - 2.0**-40)))}})
    kept = traced(cancelling, a_o1=a)
    assert kept.trace is not None
    exact = (a + 2.0**-54) - cancelling.values["t1"]  # what the compiler would have had: 2^-54 is a quarter of an ulp
    difference = float(exact) + 2.0**-54
    trace = replace(kept.trace, adjoints={**kept.trace.adjoints, "a_o1": difference})
    answer = replace(kept, trace=trace)
    constants = profile("opencl")

    def verdict(half_ulp: bool) -> Measurement:
        rows = check_answer(answer, cancelling, constants, OF, half_ulp)
        (found,) = [m for m in rows if m.level == "step" and m.quantity == "dE_total/da_o1"]
        return found

    strict, widened = verdict(half_ulp=False), verdict(half_ulp=True)
    assert strict.verdict == "deviates"
    assert (strict.reason or "").startswith("operands: conforms if they are known to half an ulp only")
    assert widened.verdict == "conforms"
    assert (widened.accepted_form or "").endswith("±½ulp")
    assert widened.sharpest_share == strict.share


@pytest.mark.parametrize("followed", [True, False])
def test_an_operand_that_is_not_finite_is_followed_as_ieee_754_has_it(followed: bool) -> None:
    answer = traced(AT)
    assert answer.trace is not None
    values = {**answer.trace.values, "a_h1": math.inf}
    if followed:
        values["o1"] = math.copysign(math.inf, AT.values["w5"])
    rows = judged(replace(answer, trace=replace(answer.trace, values=values)))
    found = {m.quantity: m for m in rows if m.level == "step"}
    assert found["a_h1"].verdict == "deviates"
    assert found["o1"].verdict == ("out of range" if followed else "deviates")
    assert (found["o1"].reason or "").startswith("operands:") == followed
    assert found["o1"].truth is None


def test_certified_bits_of_an_update_are_taken_against_the_step() -> None:
    rows = {m.quantity: m for m in judged(traced(AT)) if m.level == "step"}
    update, gradient = rows["w5_new"], rows["dE_total/dw5"]
    assert update.allowance is not None
    assert update.certified_bits is not None
    assert gradient.value is not None
    expected = -math.log2(update.allowance / abs(AT.rate * gradient.value))
    assert update.certified_bits == pytest.approx(expected, rel=1e-4)
