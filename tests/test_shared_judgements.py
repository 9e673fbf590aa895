"""Routes that report the same numbers share their judgements at the step level, and no others do."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from gradconform.adapters import registry
from gradconform.conformance import check
from gradconform.conformance.answers import ask
from gradconform.conformance.api import _case
from gradconform.conformance.levels import step_level
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
    check._judged.cache_clear()
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
