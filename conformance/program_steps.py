"""The step level of a program: each operation on the operands that the framework really had."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from gradconform.reference.exact import precision
from gradconform.reference.formats import FORMATS
from gradconform.reference.judge import EXECUTION, Candidate, Execution, judge
from gradconform.reference.profiles import Profile
from gradconform.reference.programs.allowance import Allowed
from gradconform.reference.programs.record import Record, Step, every
from gradconform.reference.rounded import Rounded, RoundedBalls

BITS = 160


@dataclass(frozen=True)
class StepFinding:
    """What is said of one operation: its worst element, on the operands that it had."""

    number: int
    operation: str
    dtype: str
    line: str
    elements: int
    execution: Execution
    share: float | None
    max_ulp: float | None
    value: float
    truth: str | None
    worst_index: str


def check_steps(record: Record, profile: Profile) -> Iterator[StepFinding]:
    """Every step whose operands and results the framework showed."""
    allowed = [
        Allowed(record, profile, sums="any", form=form)
        for form in range(max((len(s.forms) for s in record.steps), default=1) or 1)
    ]
    for number, step in enumerate(record.steps):
        if np.isnan(record.held[step.out]).all() and step.out.size:
            continue
        with precision(BITS):
            yield _finding(number, step, record, allowed, profile)


def _finding(number: int, step: Step, record: Record, allowed: list[Allowed], profile: Profile) -> StepFinding:
    ids = step.out.ravel().tolist()
    candidates: list[Candidate] = []
    truths: list[Rounded] = []
    for form, of in enumerate(allowed[: max(1, len(step.forms))]):
        of.evaluate([step])
        ops = of.arithmetics[step.format.name]
        values = [of.value(i, ops) for i in ids]
        candidates.append(Candidate(step.forms[form].name if step.forms else "recorded", [(v,) for v in values]))
        if not truths:
            plain = RoundedBalls(FORMATS[step.format.name], profile)
            truths = [Rounded(plain, v.exact) if isinstance(v, Rounded) else plain.given(math.nan) for v in values]
        of.forget(chain(step.out.ravel().tolist(), _inner(step)))
    found = judge([float(x) for x in record.held[step.out].ravel()], candidates, step.format, truths)
    index = np.unravel_index(found.worst_index, step.out.shape) if step.out.ndim else ()
    return StepFinding(
        number,
        step.name,
        step.format.name,
        step.line,
        step.out.size,
        found.execution or "within",
        found.share,
        found.max_ulp,
        found.value,
        found.truth,
        ",".join(str(int(i)) for i in index),
    )


def _inner(step: Step) -> Iterator[int]:
    inside = [s for form in (*step.forms, *([step.definition] if step.definition else [])) for s in every(form.steps)]
    return (i for s in inside for i in s.out.ravel().tolist())


def worst_first(findings: list[StepFinding]) -> list[StepFinding]:
    return sorted(findings, key=lambda f: (EXECUTION.index(f.execution), -(f.share or 0.0)))
