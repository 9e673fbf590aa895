"""The step level of a program: each operation on the operands that the framework really had."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from gradconform.conformance.programs.accepted import result
from gradconform.conformance.programs.array_answers import Adjudicator, Answers
from gradconform.conformance.programs.size import IN_ARRAYS
from gradconform.reference.arithmetic.arrays import RoundedArray
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import FLOAT32, FORMATS
from gradconform.reference.arithmetic.midpoints import Double, DoubleArray
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.arithmetic.rounded import ANYTHING, Rounded, RoundedBalls
from gradconform.reference.array_judge import Screen, judge_array
from gradconform.reference.judge import EXECUTION, Candidate, Execution, Judgement, judge
from gradconform.reference.outcomes import Choices, Outcome
from gradconform.reference.programs.allowance import Allowed, more_ways_than_followed, nothing_known
from gradconform.reference.programs.array_allowance import ArrayAllowed
from gradconform.reference.programs.record import Record, Step, every
from gradconform.reference.programs.words import Words

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
    forms = range(record.forms)
    balls = [Allowed(record, profile, sums="any", form=form) for form in forms]
    wide = any(s.format.precision > FLOAT32.precision for s in record.steps)
    arrays: list[ArrayAllowed] = []
    if any(in_arrays(s) for s in record.steps):
        arrays = [ArrayAllowed(record, profile, form=form, wide=wide) for form in forms]
    unseen = np.zeros(record.size, dtype=bool)
    for number, step in enumerate(record.steps):
        unseen[step.out] = not (shown := _shown(step, record))
        if not shown or any(unseen[ids].any() for ids in step.reads()):
            continue
        with precision(BITS):
            if in_arrays(step):
                yield _in_arrays(number, step, record, arrays, profile)
            else:
                yield _finding(number, step, record, balls, profile)


def _shown(step: Step, record: Record) -> bool:
    """Whether the framework showed what a step gave: numbers of its format, and not all unknown."""
    held = _got(step, record)
    with np.errstate(all="ignore"):
        known = np.isfinite(held)
        return held.size > 0 and not np.isnan(held).all() and bool((step.format.round(held) == held)[known].all())


def in_arrays(step: Step) -> bool:
    """Whether a step is judged by whole arrays."""
    return step.work() >= IN_ARRAYS and not step.implicit


def _in_arrays(number: int, step: Step, record: Record, allowed: list[ArrayAllowed], profile: Profile) -> StepFinding:
    got = _got(step, record)
    screens: list[Screen] = []
    answers: Answers | None = None
    for form, of in enumerate(allowed[: max(1, len(step.forms))]):
        of.evaluate([step])
        value, exactly = result(of, step.out, of.arithmetics[step.format.name])
        of.forget(step)
        if answers is None:
            answers = _answers(step, value, profile)
        name = step.forms[form].name if step.forms else "recorded"
        answers.forms[name], answers.exactly[name] = value, exactly
        screens.append(Screen(name, step.format, got.shape))
        screens[-1].add(got, value, 0, answers.centre)
    assert answers is not None
    heard = Adjudicator(answers)
    return _found(number, step, judge_array(got, screens, step.format, heard, bits=BITS, together=heard))


def _answers(step: Step, value: RoundedArray, profile: Profile) -> Answers:
    """What there is to be said of a step, whose truth is the midpoint of its first form."""
    A = value.arithmetic
    unknown = None if value.specials is None else np.where(value.specials != 0, ANYTHING, 0).astype(np.uint8)
    mid = value.mid if isinstance(value.mid, DoubleArray) else Double.lift(value.mid)
    off = value.radii() * A.slack
    truth = Words(mid, np.stack([off, off]))
    return Answers(step.format, profile, truth, RoundedArray(A, value.mid, None, None, unknown))


def _finding(number: int, step: Step, record: Record, allowed: list[Allowed], profile: Profile) -> StepFinding:
    candidates: list[Candidate] = []
    truths: list[Rounded] = []
    for form, of in enumerate(allowed[: max(1, len(step.forms))]):
        found = _outcomes(of, step, profile)
        candidates.append(Candidate(step.forms[form].name if step.forms else "recorded", found))
        if not truths:
            plain = RoundedBalls(FORMATS[step.format.name], profile)
            truths = [Rounded(plain, v.exact) if isinstance(v, Rounded) else plain.given(math.nan) for v, *_ in found]
    got = [float(x) for x in _got(step, record).ravel()]
    return _found(number, step, judge(got, candidates, step.format, truths))


def _outcomes(of: Allowed, step: Step, profile: Profile) -> list[tuple[Outcome, ...]]:
    """What a step may give for each of its results, by every way through its overflows; see `outcomes_of`."""
    ids, ops = step.out.ravel().tolist(), of.arithmetics[step.format.name]
    found: list[list[Outcome]] = [[] for _ in ids]

    def follow(decisions: Choices) -> bool:
        of.follow(decisions)
        of.evaluate([step])
        for outcomes, i in zip(found, ids, strict=True):
            outcomes.append(of.value(i, ops))
        of.forget(chain(ids, _inner(step)))
        return False

    if more_ways_than_followed(follow):
        for outcomes in found:
            outcomes.append(nothing_known(FORMATS[step.format.name], profile))
    return [tuple(outcomes) for outcomes in found]


def _got(step: Step, record: Record) -> NDArray[np.float64]:
    """What the framework had for a step. A literal that is passed on is recorded as it was written."""
    held: NDArray[np.float64] = np.asarray(record.held[step.out])
    if step.kind in ("maximum", "minimum", "choose"):
        with np.errstate(all="ignore"):
            return np.where(np.isfinite(held), step.format.round(held), held)
    return held


def _found(number: int, step: Step, found: Judgement) -> StepFinding:
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
    forms = (*step.forms, *([step.definition] if step.definition else []))
    for form in forms:
        yield from (i for s in every(form.steps) for i in s.out.ravel().tolist())
        yield from (i for solution in form.solutions for i in solution.unknowns)


def worst_first(findings: list[StepFinding]) -> list[StepFinding]:
    return sorted(findings, key=lambda f: (EXECUTION.index(f.execution), -(f.share or 0.0)))
