"""A recorded run before the judge, whole arrays at a time: what `check_program` says, for programs of any size.

The truth and the program without rounding are balls in double words; what may be returned is held in the array
arithmetic. A component near its allowance is put to balls where the part of the program that it depends on is small.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from gradconform.conformance.programs import together
from gradconform.conformance.programs.accepted import mixed_programs, programs, result
from gradconform.conformance.programs.array_answers import Adjudicator, Answers, Condition
from gradconform.conformance.programs.array_truths import Formulas, Truths
from gradconform.conformance.programs.shown import (
    anywhere,
    overflowed,
    shown_anywhere,
    shown_at,
    tells,
    undecided,
    with_unrounded,
    with_wrong,
)
from gradconform.conformance.programs.size import FORMULA_AFFORDABLE, IN_ARRAYS, work
from gradconform.conformance.programs.truth import Truth
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import FLOAT32
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.array_judge import Screen, judge_array
from gradconform.reference.judge import FORMULA, Formula, Judgement, noted
from gradconform.reference.programs import words
from gradconform.reference.programs.array_allowance import ArrayAllowed
from gradconform.reference.programs.run import Run

#: What balls say of a formula that is taken where arrays know nothing.
KNOWN: tuple[Formula, ...] = ("right", "wrong")
#: Precision in which what the arrays hold is read as balls; and the most that a formula alone is asked in.
BITS, MOST = 160, 640


@dataclass(frozen=True)
class Found:
    """What is said of the gradient of the argument of this number by one route; as in `check_program.Gradient`."""

    number: int
    route: str
    judgement: Judgement
    formula: Formula
    bits: float
    ties: int
    #: Whether balls may tell what the arrays leave open.
    open: bool


def judged(run: Run, profile: Profile, decided: int) -> Iterator[Found]:
    """What is said of every argument's gradient by every route. Raises OutOfRange where arrays do not hold a number."""
    truths = Truths(run, decided, profile.flush)
    formulas = [truths.formulas(n) for n in range(len(run.judged))]
    if IN_ARRAYS <= work(run) <= FORMULA_AFFORDABLE and not truths.astray:
        formulas = by_balls_too(run, profile, formulas)
    screens, answers = _screened(run, profile, truths, formulas)
    condition = Condition(run)
    for (number, route), of in screens.items():
        got = np.asarray(run.answers[route][number], dtype=np.float64)
        said, heard = formulas[number], Adjudicator(answers[number])
        kappa = partial(condition.of, number, next(iter(answers[number].forms.values())).radii())
        found = judge_array(got, of, answers[number].format, heard, kappa, BITS, together=heard)
        said = said.doubted if found.accuracy == "certified" else said  # see `check_program`
        found = _with_formula(found, said, answers[number], got)
        program = truths.program[number].high.ravel()
        found = with_unrounded(found, said.worst, lambda c, of=program: repr(float(of[c])))  # type: ignore[misc]
        left_open = (said.worst == "unknown" and not truths.astray) or found.execution == "undecided"
        yield Found(number, route, found, said.worst, said.worst_bits, truths.ties, left_open)


def by_balls_too(run: Run, profile: Profile, formulas: list[Formulas]) -> list[Formulas]:
    """The formulas, of the components that double words leave unknown as balls have them."""
    unknown = [np.flatnonzero(f.codes == FORMULA.index("unknown")) for f in formulas]
    if not any(at.size for at in unknown):
        return formulas
    truth = Truth(run, flush=profile.flush, most=MOST)
    found = []
    with precision(truth.bits):
        for number, (of, at) in enumerate(zip(formulas, unknown, strict=True)):
            said = {c: truth.formula(number, c, run.judged[number].format) for c in at.tolist()}
            known = [c for c, s in said.items() if s.formula in KNOWN and not s.otherwise and not truth.torn(number, c)]
            codes, bits = of.codes.copy(), of.bits.copy()
            codes.reshape(-1)[known] = [FORMULA.index(said[c].formula) for c in known]
            bits.reshape(-1)[known] = [said[c].bits for c in known]
            balls = [(truth.point[number][c], truth.set[number][c]) for c in known]
            found.append(replace(of, codes=codes, bits=bits, truth=words.with_balls(of.truth, known, balls)))
    return found


def _screened(
    run: Run, profile: Profile, truths: Truths, formulas: Sequence[Formulas]
) -> tuple[dict[tuple[int, str], list[Screen]], dict[int, Answers]]:
    """What was returned for each gradient by each route, held against one program after the other until one settles it;
    and by the gradient's number what these programs may give."""
    screens: dict[tuple[int, str], list[Screen]] = {(n, r): [] for n in range(len(run.judged)) for r in run.answers}
    answers: dict[int, Answers] = {}
    wide = any(a.format.precision > FLOAT32.precision for a in run.judged)
    for name, sums, form in chain(programs(run), mixed_programs(run, profile)):
        left = [asked for asked, by in screens.items() if not (by and by[-1].settles)]
        if not left:
            break
        allowed = ArrayAllowed(run.backward, profile, sums, form, wide=wide).evaluate()
        for number in dict.fromkeys(n for n, _ in left):
            format = run.judged[number].format
            A = allowed.arithmetics[format.name]
            value, exactly = result(allowed, run.results[number], A)
            centre = truths.centre(formulas[number], A)
            of = answers.setdefault(number, Answers(format, profile, formulas[number].truth, centre))
            of.forms[name], of.exactly[name] = value, exactly
            for route in (r for n, r in left if n == number):
                got = np.asarray(run.answers[route][number], dtype=np.float64)
                screen = Screen(name, format, got.shape)
                if got.size:
                    screen.add(got, value, 0, centre)
                screens[number, route].append(screen)
        del allowed
    return screens, answers


def _with_formula(found: Judgement, said: Formulas, of: Answers, got: NDArray[np.float64]) -> Judgement:
    """The judgement of an execution, with what is to be said of the formula and at the component that it is about."""
    if tells(found, said.worst):
        truth = said.truth.high.ravel()[said.at]
        with np.errstate(all="ignore"):
            far = np.abs(got.ravel()[said.at] - truth) / np.maximum(np.abs(truth), 2.0**of.format.emin)
        worst = int(said.at[np.where(np.isnan(far), np.inf, far).argmax()])
        index = tuple(int(i) for i in np.unravel_index(worst, got.shape))
        found = shown_at(found, worst, float(got[index]), of.truth_of(index), of.format)
    elif said.worst == "unknown" and anywhere(found, got):
        found = replace(found, execution="undecided")  # as balls have it
    elif said.worst in ("right", "kink") and anywhere(found, got):
        index = tuple(int(i) for i in np.unravel_index(found.worst_index, got.shape))
        found = shown_anywhere(found, float(got[index]), of.truth_of(index), of.format)
    elif (beyond := overflowed(found, got.ravel())) is not None:
        index = tuple(int(i) for i in np.unravel_index(beyond, got.shape))
        found = shown_at(found, beyond, float(got[index]), of.truth_of(index), of.format)
    if said.worst in ("wrong", "undefined"):
        found = with_wrong(found, said.at)
    if said.worst == "wrong" and said.torn:
        found = replace(found, reason=noted(found.reason, together.APART))
    return undecided(found, said.why) if said.worst == "unknown" and said.why else found
