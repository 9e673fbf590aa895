"""Routes that report the same numbers share their judgements, and no others do."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gradconform.adapters import registry
from gradconform.conformance import check
from gradconform.conformance.answers import ask
from gradconform.conformance.api import _case
from gradconform.conformance.levels import step_level, whole_level
from gradconform.conformance.levels.whole_level import WholeLevel
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.cases import point
from gradconform.reference.judge import Judgement

pytest.importorskip("torch")


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each quantity was judged."""
    found: Counter[str] = Counter()
    by_balls = step_level._Evidence.by_balls

    def counted(self: Any, *rest: Any) -> Judgement:
        found[self.report.quantity] += 1
        return by_balls(self, *rest)

    monkeypatch.setattr(step_level._Evidence, "by_balls", counted)
    whole_level.forget()
    return found


def rows(**changed: float) -> dict[str, str]:
    """The verdicts of PyTorch's answer at the step level, with some values of its trace changed."""
    (chosen,) = registry.choose("torch/eager")
    at = point(_case("document/worked-example"), "float32", "cpu")
    answer: Any = ask(chosen.adapter, chosen.route, at)
    answer = replace(answer, trace=replace(answer.trace, values={**answer.trace.values, **changed}))
    found = check.judge_answer(answer, chosen.adapter, chosen.route, at, "opencl")
    return {m.quantity: m.verdict for m in found if m.level == "step"}


def test_the_same_numbers_are_judged_once(judged: Counter[str]) -> None:
    first = rows()
    once = dict(judged)
    assert once
    assert rows() == first
    assert dict(judged) == once


def test_another_operand_is_another_judgement_also_through_numbers_that_nobody_reported(judged: Counter[str]) -> None:
    assert set(rows().values()) == {"conforms"}
    before = Counter(judged)
    verdicts = rows(a_h1=0.5)
    again = {name for name, times in judged.items() if times > before[name]}
    assert {"a_h1", "o1", "o2", "dE_total/dw5", "dE_total/dh1"} <= again
    assert not {"h1", "h2", "a_h2", "E1", "w1_new"} & again
    assert verdicts["a_h1"] == verdicts["o1"] == verdicts["dE_total/dw5"] == "deviates"


def test_small_tensors_that_are_the_same_are_judged_once_and_one_that_is_not_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged: Counter[str] = Counter()
    judgement = step_level._Evidence.judgement

    def counted(self: Any) -> Judgement:
        judged[self.report.quantity] += 1
        return judgement(self)

    monkeypatch.setattr(step_level._Evidence, "judgement", counted)
    whole_level.forget()
    (chosen,) = registry.choose("torch/eager")
    at = point(_case("network/published/mazur-2-2-2"), "float32", "cpu")
    answer: Any = ask(chosen.adapter, chosen.route, at)

    def verdicts(a1: Any) -> dict[str, str]:
        changed = replace(answer, trace=replace(answer.trace, values={**answer.trace.values, "a1": a1}))
        found = check.judge_answer(changed, chosen.adapter, chosen.route, at, "opencl")
        return {m.quantity: m.verdict for m in found if m.level == "step"}

    a1 = answer.trace.values["a1"]
    first = verdicts(a1.copy())
    once = dict(judged)
    assert set(once.values()) == {1}
    assert verdicts(a1.copy()) == first
    assert dict(judged) == once
    other = a1.copy()
    other.flat[0] *= 1.5
    assert verdicts(other)["a1"] == "deviates"
    again = {name for name, times in judged.items() if times > once[name]}
    assert {"a1", "z2"} <= again
    assert not {"z1", "E", "W2_new"} & again


def test_at_the_whole_level_the_same_bits_share_a_judgement_and_a_wrong_one_has_its_own() -> None:
    whole_level.forget()
    at = point(_case("network/published/mazur-2-2-2"), "float32", "cpu")
    (chosen,) = registry.choose("torch/eager")
    answer: Any = ask(chosen.adapter, chosen.route, at)
    got = np.asarray(answer.gradient["W1"])
    one, other = WholeLevel(at, OPENCL), WholeLevel(at, OPENCL)
    assert one.judge("dE/dW1", got) is other.judge("dE/dW1", got.copy())
    assert one.judge("dE/dW1", got).verdict == "conforms"
    assert other.judge("dE/dW1", 1.5 * got).verdict == "deviates"
    assert one.judge("dE/dW1", got.astype(np.float64)) is not one.judge("dE/dW1", got)
