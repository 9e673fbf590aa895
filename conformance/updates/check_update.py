"""An update before the judge: each equation of its rule on what the framework itself had, and has after it.

The equation's forms are run over the arithmetic that records (`programs/emitted`), so that each of them is a program
like one that was recorded, and held in rounded balls or arrays; the first form without rounding is the truth. In 16-bit
formats a form is also one that computes in float32 and rounds its result once; settings are Python's float64 numbers,
or such of float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from flint import arb
from numpy.typing import NDArray

from gradconform.conformance.levels.in_balls import Reference, decide
from gradconform.conformance.programs.accepted import result
from gradconform.conformance.programs.array_answers import Adjudicator, Answers, Condition, centred
from gradconform.conformance.programs.size import IN_ARRAYS
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import FLOAT16, FLOAT32, FLOAT64, Format
from gradconform.reference.arithmetic.midpoints import OutOfRange
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.arithmetic.rounded import ANYTHING, ZERO, Rounded, RoundedBalls, Sums
from gradconform.reference.array_judge import Index, Screen, judge_array
from gradconform.reference.derivations.updates.rule import Rule
from gradconform.reference.equations import Equation, Form, elementwise
from gradconform.reference.judge import (
    FIRST_PRECISION,
    NOT_FINITE,
    Candidate,
    Judgement,
    ball_of,
    noted,
    too_large,
    verdict_of,
)
from gradconform.reference.outcomes import Outcome
from gradconform.reference.programs import keeping
from gradconform.reference.programs.allowance import outcomes_of
from gradconform.reference.programs.array_allowance import ArrayAllowed
from gradconform.reference.programs.array_exact import ArrayExact
from gradconform.reference.programs.emitted import Emitting
from gradconform.reference.programs.exact import Exact
from gradconform.reference.programs.record import Ids, Record
from gradconform.reference.programs.recording import Array
from gradconform.reference.programs.run import Run
from gradconform.reference.programs.words import Words

Numbers = NDArray[np.float64]
#: Numbers that are judged at a time where an equation is elementwise.
BLOCK = 1 << 15
#: The most operations on single numbers that balls are asked for where arrays do not hold a number.
AFFORDABLE = 100_000
#: Fewer of a form over whole tensors, since balls take every path of an overflow by itself (see DEAR).
AFFORDABLE_TOGETHER = AFFORDABLE // 5
#: Operations of a form over whole tensors from which on arrays are asked, since balls take every path of an overflow by
#: itself, and no form that is sharper is looked for beside one that accepts.
DEAR = 400


@dataclass(frozen=True, eq=False)
class Update:
    """What a framework made of one tensor in one update.

    `values` are the gradient, the weight and state before and after, by the names of the rule, and its settings.
    `formats` are those of the tensors among them.
    """

    rule: Rule
    values: Mapping[str, Any]
    formats: Mapping[str, Format]

    @cached_property
    def reported(self) -> tuple[Equation, ...]:
        """The equations whose results the framework shows."""
        return tuple(e for e in self.rule.derivation.equations if e.name in self.values)


@dataclass(frozen=True)
class Variation:
    """How a form is computed: in which format settings are, and 16-bit numbers.

    These are `wide`, kept in float32 until the result is rounded once; or each operation is done `by_float32` and then
    rounded; or it is done in the format itself, which may read a subnormal number as 0. A `gradual` program keeps
    subnormal numbers, as conversions to float16 do: where another may divide by 0 nothing is known of that one.
    """

    settings: Format = FLOAT64
    wide: bool = False
    by_float32: bool = False
    gradual: bool = False
    sums: Sums = "wide"

    @property
    def said(self) -> str:
        within = ", in float32 and rounded once" if self.wide else ", each result rounded" if self.by_float32 else ""
        within += ", subnormal numbers kept" if self.gradual else ""
        of = ", settings in float32" if self.settings is FLOAT32 else ""
        return within + of + (", sums in the dtype" if self.sums == "any" else "")


@dataclass(frozen=True, eq=False)
class Program:
    """A form as the steps of a record, on some numbers, and the ids of what it gives and of what it was given."""

    record: Record
    results: Ids
    given: tuple[Ids, ...]


class Judged:
    """One equation of an update."""

    def __init__(self, update: Update, equation: Equation, profile: Profile, first: str = "") -> None:
        self.update, self.equation, self.profile = update, equation, profile
        self.target = update.formats[equation.name]
        self.got = np.asarray(update.values[equation.name], dtype=np.float64)
        read = (o for f in (*equation.forms, equation.truth) for o in f.operands if o in update.values)
        self.operands = {o: np.asarray(update.values[o], dtype=np.float64) for o in read}
        readable = [f for f in equation.forms if all(o in self.operands for o in f.operands)]
        self.forms = {f"{f.name}{v.said}": (f, v) for v in self._variations() for f in readable}
        if first in self.forms:  # what was accepted before is tried before others
            self.forms = {first: self.forms[first], **self.forms}
        self.elementwise = equation.part is elementwise
        #: Whether of a form that was asked nothing is known, of some component.
        self.vague = False
        moved = update.rule.moved.get(equation.name)
        #: What the result was before, where its accuracy is that of the step that it takes.
        self.before = None if moved is None else np.asarray(update.values[moved], dtype=np.float64)

    def _variations(self) -> Iterator[Variation]:
        tensors = [self.target, *(self.update.formats[o] for o in self.operands if o in self.update.formats)]
        narrow = any(f.precision < FLOAT32.precision for f in tensors)
        settings = [FLOAT64] if self.target is FLOAT64 else [FLOAT64, FLOAT32]
        if narrow:
            yield from (Variation(s, wide=True) for s in settings)
            if FLOAT16 in tensors:
                yield from (Variation(s, by_float32=True, gradual=True) for s in settings)
            yield from (Variation(s, by_float32=True) for s in settings)
        sums: Sequence[Sums] = ("wide", "any") if narrow and self.equation.part is not elementwise else ("wide",)
        yield from (Variation(s, sums=how) for how in sums for s in settings)

    # Programs ---------------------------------------------------------------------------------------------------------

    def program(self, form: Form, how: Variation, at: Any = None) -> Program:
        """A form on the operands, or on part of them: of tensors of the result's shape the numbers `at` an index."""
        record = Record()
        emitting = Emitting(record, how.settings, how.by_float32)
        given: dict[str, Array] = {}
        for name in dict.fromkeys(form.operands):
            numbers = self.operands[name]
            if at is not None and name not in self.update.rule.settings and numbers.shape == self.got.shape:
                numbers = numbers.reshape(-1)[at]
            ids = record.new(numbers.shape, numbers)
            if name in self.update.rule.settings:
                given[name] = emitting.setting(ids)
            else:
                format = self.update.formats[name]
                tensor = emitting.tensor(ids, format, format.precision > self.target.precision)
                given[name] = emitting.wide(tensor) if how.wide else tensor
        # Ids of operands come before those of what is done to them.
        found = emitting.rounded(form.formula(emitting, *(given[o] for o in form.operands)), self.target)
        arguments = tuple(x.ids for x in given.values())
        shape = self.got.shape if at is None else self.got.reshape(-1)[at].shape
        return Program(record, np.broadcast_to(found.ids, shape), arguments)

    def exact(self, at: Any = None) -> tuple[Program, Exact]:
        """The definition's program, and its numbers without rounding."""
        program = self.program(self.equation.truth, Variation(), at)
        return program, Exact(program.record, literals=False).evaluate()

    # Balls ------------------------------------------------------------------------------------------------------------

    def by_balls(self) -> Judgement:
        """The judgement by balls alone."""

        def reference() -> Reference:
            program, exact = self.exact()
            ids = program.results.ravel().tolist()
            truths = [self._truth(exact[i]) for i in ids]
            candidates = (self._candidate(name) for name in self.forms)
            against = self._against(truths)
            return Reference(candidates, truths, against, partial(self._kappa, program, exact))

        return decide(self.got.ravel().tolist(), reference, self.target)

    def _truth(self, x: arb) -> Rounded:
        ops = RoundedBalls(self.target, self.profile)
        return Rounded(ops, x) if x.is_finite() else Rounded(ops, ZERO, ZERO, ANYTHING)

    def _against(self, truths: Sequence[Rounded]) -> list[arb] | None:
        """A weight is measured by the step that it takes, and what else moves."""
        if self.before is None:
            return None
        before = self.before.ravel().tolist()
        return [abs(t.exact - arb(w)) if not t.specials else ZERO for t, w in zip(truths, before, strict=True)]

    def _candidate(self, name: str) -> Candidate:
        form, how = self.forms[name]
        components = self._outcomes(form, how)
        self.vague = self.vague or any(ball_of(c) is None for c in components)
        return Candidate(name, components, form.instead, form.approximates)

    def _outcomes(self, form: Form, how: Variation, at: Any = None) -> list[tuple[Outcome, ...]]:
        program = self.program(form, how, at)
        wanted = [(program.results, self.target)]
        return outcomes_of(program.record, self._profile(how), wanted, how.sums)[0]

    def _profile(self, how: Variation) -> Profile:
        return replace(self.profile, flush=False) if how.gradual else self.profile

    def _kappa(self, program: Program, exact: Exact) -> arb:
        """The norm of the condition numbers, where the result may be an ulp off everywhere."""
        off = {i: float(abs(exact[i]).mid()) for i in program.results.ravel().tolist() if exact[i].is_finite()}
        return arb(keeping.condition(exact, program.given, off) or 0.0)

    # Arrays -----------------------------------------------------------------------------------------------------------

    def by_arrays(self, dear: bool = False) -> Judgement:
        """The judgement by whole arrays, a block after the other; what is close by balls. Raises OutOfRange."""
        answers: dict[str, Answers] = {}
        screens: list[Screen] = []
        for name, (form, how) in self.forms.items():
            screen = Screen(name, self.target, self.got.shape, form.instead, form.approximates)
            for start, at in self._blocks():
                self._screened(screen, form, how, start, at, answers)
            screens.append(screen)
            if screen.settles or (dear and screen.accepts):
                found = self._of_arrays(screens, answers)
                if found.execution not in ("outside", "undecided"):  # balls, which are sharper, may find it so
                    return found
        found = self._of_arrays(screens, answers)
        vague = any(s.special or s.unmeasured for s in screens)
        if vague and not self.elementwise and found.execution in ("outside", "undecided"):
            raise OutOfRange("what may overflow on the way to a whole tensor")
        return found

    def _of_arrays(self, screens: Sequence[Screen], answers: Mapping[str, Answers]) -> Judgement:
        adjudicator = _Components(self) if self.elementwise else Adjudicator(answers[""])
        return judge_array(self.got, screens, self.target, adjudicator, self._condition,
                           None if self.elementwise else FIRST_PRECISION)  # fmt: skip

    def _blocks(self) -> Iterator[tuple[int, slice | None]]:
        if not self.elementwise or self.got.size <= 2 * BLOCK:
            yield 0, None
        else:
            yield from ((n, slice(n, n + BLOCK)) for n in range(0, self.got.size, BLOCK))

    def _screened(self, screen: Screen, form: Form, how: Variation, start: int, at: slice | None,
                  answers: dict[str, Answers]) -> None:  # fmt: skip
        got = self.got if at is None else self.got.reshape(-1)[at]
        definition = self.program(self.equation.truth, Variation(), at)
        truth = ArrayExact(definition.record).evaluate().values.copied(definition.results)
        program = self.program(form, how, at)
        allowed = ArrayAllowed(program.record, self._profile(how), how.sums, wide=self.target is FLOAT64)
        held(screen, allowed, program.results, truth, answers, got, start, self._steps(truth, at))

    def _steps(self, truth: Words, at: slice | None) -> Numbers | None:
        if self.before is None:
            return None
        before = self.before if at is None else self.before.reshape(-1)[at]
        with np.errstate(all="ignore"):
            return np.asarray(np.abs(truth.high - before))

    def _condition(self) -> float | None:
        program = self.program(self.equation.truth, Variation())
        run = Run(self.equation.name, program.record, (), (), program.record, program.given, (), (program.results,), {})
        return Condition(run).of(0, np.maximum(np.abs(self.got), 2.0**self.target.emin))

    # The judgement ----------------------------------------------------------------------------------------------------

    def judgement(self) -> Judgement:
        """What is said of the equation's result."""
        at = slice(0, BLOCK) if self.elementwise and self.got.size >= BLOCK else None
        work = self.program(self.equation.truth, Variation(), at)
        found = self._decided(max(self.got.size, sum(s.work() for s in work.record.steps)))
        if found.execution not in ("outside", "undecided") and self._without_value():
            why = f"operands: the rule has no value on these numbers ({self.equation.source})"
            if all(np.isfinite(x).all() for x in self.operands.values()):
                return replace(found, formula="singular", verdict=verdict_of("singular", "within", "certified"),
                               execution="within", reason=noted(why, found.reason))  # fmt: skip
            return replace(found, execution="overflow", reason=noted(NOT_FINITE, found.reason),
                           verdict=verdict_of(found.formula or "unknown", "overflow", "certified"))  # fmt: skip
        return found

    def _decided(self, work: int) -> Judgement:
        dear = work >= DEAR and not self.elementwise
        if work < IN_ARRAYS and not dear:
            return self._not_by_others(self.by_balls())
        try:
            return self.by_arrays(dear)
        except OutOfRange as error:
            if work <= (AFFORDABLE if self.elementwise else AFFORDABLE_TOGETHER):
                return self._not_by_others(self.by_balls())
            return too_large(error)

    def _not_by_others(self, found: Judgement) -> Judgement:
        """Nothing is wrong for certain that is outside of some forms, and of others nothing is known of the tensor."""
        if self.elementwise or not self.vague or found.execution != "outside":
            return found
        why = "range: of a form nothing is known, as a number on the way may leave the format, or be 0 where it divides"
        return replace(found, execution="undecided", verdict="undecided", reason=noted(why, found.reason))

    def _without_value(self) -> bool:
        """Whether of some component the definition has no value."""
        if np.isfinite(self.got).all() and all(np.isfinite(x).all() for x in self.operands.values()):
            return False
        odd = np.flatnonzero(~np.isfinite(self.got)).tolist()[:16]
        with precision(FIRST_PRECISION):
            for number in odd if self.elementwise else [None]:
                program, exact = self.exact(number)
                if not all(exact[i].is_finite() for i in program.results.ravel().tolist()):
                    return True
        return False


class _Components:
    """One component at a time, in balls at the precision of the context."""

    def __init__(self, of: Judged) -> None:
        self.of = of

    def _at(self, index: Index) -> int:
        return int(np.ravel_multi_index(index, self.of.got.shape)) if index else 0

    def outcomes(self, form: str, index: Index) -> tuple[Outcome, ...]:
        return self.of._outcomes(*self.of.forms[form], self._at(index))[0]

    def truth(self, index: Index) -> Rounded:
        program, exact = self.of.exact(self._at(index))
        return self.of._truth(exact[int(program.results)])

    def broken(self, index: Index) -> bool:
        at = self._at(index)
        numbers = (x.reshape(-1)[at] if x.shape == self.of.got.shape else x for x in self.of.operands.values())
        return not all(np.isfinite(x).all() for x in numbers)


def held(screen: Screen, allowed: ArrayAllowed, results: Ids, truth: Words, answers: dict[str, Answers],
         got: Numbers, start: int = 0, against: Numbers | None = None) -> None:  # fmt: skip
    """Hold what was got against a program and the truth; what arrays say of all programs is kept among the answers."""
    A = allowed.evaluate().arithmetics[screen.target.name]
    value, exactly = result(allowed, results, A)
    centre = centred(truth, np.isfinite(truth.high) & np.isfinite(truth.radius[0]), A)
    of = answers.setdefault("", Answers(screen.target, A.profile, truth, centre))
    of.forms[screen.form], of.exactly[screen.form] = value, exactly
    screen.add(got, value, start, centre, against)
