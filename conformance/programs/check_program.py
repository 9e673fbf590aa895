"""A recorded run before the judge: formula, execution and accuracy of every gradient.

The formula is the backward record without rounding, held against the derivative of the forward record by reverse mode,
both over exact balls; the execution is what was returned, held against the backward record in rounded balls. Where
tangents are asked for the record is that of the tangents, and the derivative by forward mode.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gradconform.conformance.programs import together
from gradconform.conformance.programs.accepted import mixed_programs, programs
from gradconform.conformance.programs.check_program_arrays import judged
from gradconform.conformance.programs.digits import Digits
from gradconform.conformance.programs.narrowed import Narrowed
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
from gradconform.conformance.programs.size import AFFORDABLE, IN_ARRAYS, fits, work
from gradconform.conformance.programs.truth import DECIDED, Said, Truth, as_read
from gradconform.reference.arithmetic.exact import decimal, precision
from gradconform.reference.arithmetic.midpoints import OutOfRange
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.arithmetic.rounded import ANYTHING, OVERFLOWED, ZERO, Rounded, RoundedBalls, Sums
from gradconform.reference.components import named
from gradconform.reference.judge import (
    FORMULA,
    Candidate,
    Formula,
    Judgement,
    decision,
    judge,
    noted,
    too_large,
    ulp_error,
    verdict_of,
)
from gradconform.reference.measurement import which_deviate
from gradconform.reference.outcomes import Outcome
from gradconform.reference.programs.allowance import outcomes_of
from gradconform.reference.programs.record import Taken
from gradconform.reference.programs.run import Mode, Run, Tensor


@dataclass(frozen=True)
class Gradient:
    """What is said of one argument's gradient by one route; in forward mode of one output's tangent."""

    argument: str
    route: str
    judgement: Judgement
    #: Leading bits to which the formula is known to be right; infinite where both are exact.
    formula_bits: float
    #: Where the worst component is, as text; empty for a number.
    index: str = ""
    ties: int = 0
    #: Of which row of the Jacobian, or of which function, where a report is about several; as text.
    of: str = ""
    mode: Mode = "reverse"
    dtype: str = ""
    #: How many numbers it has; 0 where it could not be asked for.
    elements: int = 0
    #: How many of them deviate, and which, as text; empty where none does.
    components: str = ""


def gradients(run: Run, profile: Profile) -> Iterator[Gradient]:
    """One judgement for every argument and route."""
    in_arrays = _in_arrays(run, profile) if fits(run) else None
    narrowed, numbers = Narrowed(run, profile), {of.name: n for n, of in enumerate(run.judged)}
    for found in _in_balls(run, profile) if in_arrays is None else in_arrays:
        yield replace(found, judgement=narrowed.said(numbers[found.argument], found.judgement))


def _in_arrays(run: Run, profile: Profile) -> list[Gradient] | None:
    """What the arrays say; None where they leave something open that balls can decide in some seconds."""
    affordable = work(run) <= AFFORDABLE
    try:
        found = list(judged(run, profile, DECIDED))
    except OutOfRange as error:
        return None if affordable else [_left_open(run, of, route, error) for of in run.judged for route in run.answers]
    if affordable and any(f.open for f in found):
        return None
    if work(run) < IN_ARRAYS and any(f.judgement.accuracy != "certified" for f in found):
        return None  # what another program would keep balls tell
    return [_gradient(run, run.judged[f.number], f.route, f.judgement, f.formula, f.bits, f.ties) for f in found]


def _left_open(run: Run, of: Tensor, route: str, error: OutOfRange) -> Gradient:
    return Gradient(
        of.name, route, too_large(error), 0.0, mode=run.mode, dtype=of.format.name, elements=of.ids.size
    )  # fmt: skip


def _in_balls(run: Run, profile: Profile) -> Iterator[Gradient]:
    truth = Truth(run, flush=profile.flush)
    wanted = [(ids, a.format) for a, ids in zip(run.judged, run.results, strict=True)]

    def evaluated(asked: Iterable[tuple[str, Sums, Taken]]) -> list[tuple[str, list[list[tuple[Outcome, ...]]]]]:
        return [(name, outcomes_of(run.backward, profile, wanted, sums, form)) for name, sums, form in asked]

    with precision(truth.bits):
        programs_of = evaluated(programs(run))
        if not _held(run, [outcomes for _, outcomes in programs_of]):
            programs_of += evaluated(mixed_programs(run, profile))
    for number, argument in enumerate(run.judged):
        with precision(truth.bits):
            formulas = [truth.formula(number, c, argument.format) for c in range(argument.ids.size)]
        known = truth.set[number] if truth.ties else truth.point[number]
        truths = [x if said.truth is None else said.truth for x, said in zip(known, formulas, strict=True)]
        sets = [
            as_read(x, argument.format, profile, ties=bool(truth.ties) or x is said.truth)
            for x, said in zip(truths, formulas, strict=True)
        ]
        candidates = [Candidate(name, outcomes[number]) for name, outcomes in programs_of]
        of = _OfBalls(run, truth, number, formulas, candidates, sets, profile)
        for route, returned in run.answers.items():
            yield of.judged(route, [float(x) for x in np.asarray(returned[number], dtype=np.float64).ravel()])


def _held(run: Run, candidates: Sequence[list[list[tuple[Outcome, ...]]]]) -> bool:
    """Whether everything that was returned is within one of the programs so far."""
    return all(
        any(
            all(decision(float(x), o) != "outside" for x, o in zip(got.ravel(), of[number], strict=True))
            for of in candidates
        )
        for returned in run.answers.values()
        for number, got in enumerate(np.asarray(r, dtype=np.float64) for r in returned)
    )


@dataclass(frozen=True)
class _OfBalls:
    """What balls know of the gradient of this number, whatever a route returned for it."""

    run: Run
    truth: Truth
    number: int
    formulas: Sequence[Said]
    candidates: Sequence[Candidate]
    sets: Sequence[Rounded]
    profile: Profile

    def judged(self, route: str, got: Sequence[float]) -> Gradient:
        argument, ties = self.run.judged[self.number], self.truth.ties
        if not got:
            return _gradient(self.run, argument, route, _nothing(), "right", math.inf, ties)
        judgement = self._executed(got)
        certain = judgement.accuracy == "certified"
        of = self._doubted if certain or self._as_another_program(got) else self
        formula = min((said.formula for said in of.formulas), key=FORMULA.index)
        if formula == "unknown":
            judgement = of._of_unknown(judgement, got)
        elif anywhere(judgement, np.asarray(got)):
            at, format = judgement.worst_index, self.run.judged[self.number].format
            judgement = shown_anywhere(judgement, got[at], self.sets[at], format)
        judgement = of._shown(judgement, formula, got)
        wrong = [c for c, said in enumerate(of.formulas) if said.formula in ("wrong", "undefined")]
        judgement = with_wrong(judgement, np.array(wrong, dtype=np.int64))
        return _gradient(self.run, argument, route, judgement, formula, min(s.bits for s in of.formulas), ties)

    @property
    def _doubted(self) -> _OfBalls:
        """The same, where of what is right by the branches that the program takes without rounding nothing is known.

        The branch that rounding took goes on in the other, or what is within would not keep digits.
        """
        said = [s._replace(formula="unknown") if s.otherwise else s for s in self.formulas]
        return replace(self, formulas=said)

    def _as_another_program(self, got: Sequence[float]) -> bool:
        """Whether what is right by another branch than rounding took is what reverse mode by the table may give: the
        number is right then, whatever branch it came by."""
        asked = [c for c, said in enumerate(self.formulas) if said.otherwise]
        if not asked or any(said.formula == "wrong" and not said.otherwise for said in self.formulas):
            return False
        digits = Digits(self.run, self.truth, self.number, self.candidates[0], self.profile)
        with precision(self.truth.bits):
            return any(
                all(decision(got[c], other.components[c]) == "inside" for c in asked) for other in digits.exhibited()
            )

    def _executed(self, got: Sequence[float]) -> Judgement:
        """The execution and the accuracy. An infinity or NaN in the place of a derivative that there is not is held
        against nobody."""
        format = self.run.judged[self.number].format
        with precision(self.truth.bits):
            nothing = (Rounded(RoundedBalls(format, self.profile), ZERO, ZERO, ANYTHING | OVERFLOWED),)
            excused = [
                said.formula == "singular" and not math.isfinite(x) for said, x in zip(self.formulas, got, strict=True)
            ]
            of = [
                Candidate(c.form, [nothing if e else o for e, o in zip(excused, c.components, strict=True)])
                for c in self.candidates
            ]
            digits = Digits(self.run, self.truth, self.number, of[0], self.profile)
            judgement = judge(got, of, format, self.sets, condition=digits.condition, exhibited=digits.exhibited)
            return digits.said(judgement)

    def _of_unknown(self, judgement: Judgement, got: Sequence[float]) -> Judgement:
        """The judgement, where of some component's formula nothing is known."""
        why = next((said.why for said in self.formulas if said.why), "")
        if why:
            judgement = undecided(judgement, why)
        # Where nothing overflowed, or an infinity is of a divisor that is 0 as far as can be seen, nothing is known.
        none = all(map(math.isfinite, got)) or self.truth.unresolved(self.number, judgement.worst_index)
        return replace(judgement, execution="undecided") if judgement.execution == "overflow" and none else judgement

    def _shown(self, judgement: Judgement, formula: Formula, got: Sequence[float]) -> Judgement:
        """The judgement at the component that it is about."""
        format = self.run.judged[self.number].format
        if tells(judgement, formula):
            said = [c for c, of in enumerate(self.formulas) if of.formula == formula]
            errors = {c: ulp_error(got[c], self.sets[c], format) for c in said}
            worst = max(errors, key=lambda c: math.inf if math.isnan(errors[c]) else errors[c])
            judgement = shown_at(judgement, worst, got[worst], self.sets[worst], format)
        elif (beyond := overflowed(judgement, np.asarray(got))) is not None:
            judgement = shown_at(judgement, beyond, got[beyond], self.sets[beyond], format)
        at, program = judgement.worst_index, self.truth.program_point[self.number]
        judgement = with_unrounded(judgement, formula, lambda c: decimal(program[c]))
        if self.formulas[at].formula == "wrong" and self.truth.torn(self.number, at):
            judgement = replace(judgement, reason=noted(judgement.reason, together.APART))
        return judgement


def _nothing() -> Judgement:
    """Of a tensor without numbers, which has what it should."""
    return Judgement("conforms", math.nan, formula="right", execution="within", accuracy="certified")


def _gradient(
    run: Run, argument: Tensor, route: str, judgement: Judgement, formula: Formula, bits: float, ties: int
) -> Gradient:
    execution = judgement.execution or "within"
    verdict = verdict_of(formula, execution, judgement.accuracy or "certified")
    if formula == "singular" and execution == "overflow":  # a pole's infinity is no overflow
        verdict = "singular"
    judgement = replace(judgement, formula=formula, execution=execution, verdict=verdict)
    there = argument.ids.ndim and argument.ids.size
    index = np.unravel_index(judgement.worst_index, argument.ids.shape) if there else ()
    at = named(index, argument.complex) if index else ""
    return Gradient(
        argument.name, route, judgement, bits, at, ties,
        mode=run.mode, dtype=argument.format.name, elements=argument.ids.size,
        components=which_deviate(judgement, argument.ids.shape, argument.complex) or "",
    )  # fmt: skip
