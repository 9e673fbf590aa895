"""The step level: every equation on the operands that the framework itself reported, tensors block by block.

It is of a derivation, a format and what is given, whatever these are of:

    step = StepLevel(derivation, FORMATS["float32"], OPENCL, {"w": w, "eta": 0.1})
    step.judge(Report("w_new", derivation.by_name["w_new"], new, {"dE/dw": gradient}))
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from flint import arb, ctx
from numpy.typing import NDArray

from gradconform.conformance.levels.in_balls import Reference, decide
from gradconform.conformance.levels.shared import KEPT, Report, accepted, bits_of, unresolved
from gradconform.reference.arithmetic.arrays import Beyond, Centres, Lacking, RoundedArray, RoundedArrays, arithmetic
from gradconform.reference.arithmetic.ball_arrays import BallArrays
from gradconform.reference.arithmetic.comparisons import (
    ColumnSum,
    Comparing,
    Comparison,
    Factor,
    Product,
    Update,
    step_of,
)
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import FLOAT32, Format
from gradconform.reference.arithmetic.midpoints import Array, OutOfRange
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.arithmetic.rounded import ZERO, Remembering, Rounded, RoundedBalls, Sums
from gradconform.reference.array_judge import SAMPLE, Index, Screen, component, holds, judge_array, place
from gradconform.reference.condition import condition
from gradconform.reference.derivations.choosers import Chooser, sharpest, stable, widest
from gradconform.reference.derivations.network import everything, of_column
from gradconform.reference.derivations.plain import PLAIN
from gradconform.reference.equations import Derivation, Equation, Evaluation, Form, Formula, elementwise
from gradconform.reference.judge import (
    FIRST_PRECISION,
    NOT_FINITE,
    Candidate,
    Judgement,
    ball_of,
    decision,
    noted,
    verdict_of,
)
from gradconform.reference.outcomes import MOST_RUNS, BranchingBalls, Outcome, apart, outcomes

#: Components judged at a time where an equation is elementwise: so many that a block's arrays stay in a core's cache.
BLOCK = 1 << 15
#: Operand numbers that one component is adjudicated on in balls; beyond, in double words, and in balls again up to the
#: second number of them where double words do not hold what is needed.
BALL_OPERANDS, BALL_MOST = 20_000, 500_000
#: Operand numbers times runs that a program is followed on where operations of it may overflow.
BALL_RUNS = 1 << 18
#: The precision of a tensor that is judged in balls alone; that of a number is raised.
BALL_PRECISION = 4 * FIRST_PRECISION

#: What the name of a form ends with where its sums may be accumulated in a 16-bit format.
ANY_SUM = ", sums in the dtype"

SHARPEST = stable(sharpest)
#: η·g, as `step_of` has it.
_STEP = Factor(0), Factor(1)
Values = Mapping[str, Any]


class StepLevel:
    """What each reported quantity may be, by each of its equation's forms on the other reported values.

    `given` are the inputs, parameters and rate of the derivation, by name, as numbers or arrays of them. `judged` is
    shared with others of the same arguments: routes report the same numbers as a rule.
    """

    def __init__(
        self,
        derivation: Derivation,
        target: Format,
        constants: Profile,
        given: Values,
        conventions: tuple[str, ...] = (),
        judged: dict[object, Judgement] | None = None,
    ) -> None:
        #: Of numbers what was judged before, by what it was judged on.
        self.judged = {} if judged is None else judged
        self.derivation, self.target, self.constants = accepted(derivation, target, conventions), target, constants
        self.values = given
        narrow = target.precision < FLOAT32.precision
        #: Sums of 16-bit numbers: accumulated in float32, and by any accumulation.
        self.kinds: dict[str, Sums] = {"": "wide", ANY_SUM: "own"} if narrow else {"": "own"}
        self.balls = {k: RoundedBalls(target, constants, sums) for k, sums in self.kinds.items()}
        self.nothing = self.balls[""].given(math.nan)
        self._given: dict[tuple[int, str], RoundedArray] = {}
        self._comparing: dict[str, Comparing] = {}
        self._converted: dict[int, tuple[Any, Any]] = {}
        self._known: dict[int, tuple[Values, Values]] = {}
        self._computed: dict[tuple[int, bool, int, Chooser | None], Evaluation] = {}

    @cached_property
    def arrays(self) -> dict[str, RoundedArrays]:
        return {k: arithmetic(self.target, self.constants, False, sums) for k, sums in self.kinds.items()}

    @cached_property
    def centres(self) -> tuple[Centres, set[Formula]]:
        """The arithmetic of a truth's centres, and formulas that are not for it."""
        return Centres(self.arrays[""]), set()

    def comparing(self, kind: str) -> Comparing:
        if kind not in self._comparing:
            largest = max((math.prod(e.shape) for e in self.derivation.equations), default=0)
            A = self.arrays[kind]
            self._comparing[kind] = Comparing(A, largest, Screen.margin(A.mids), SAMPLE)
        return self._comparing[kind]

    def missing(self, report: Report) -> str | None:
        """What a report's equation needs of the trace, that is not there, by whichever of its forms; or None.

        Numbers that a trace lacks are computed from what it has.
        """
        if self.derivation.of_numbers:
            return None
        known = self.known(report)
        lacking = [[o for o in f.operands if o not in known] for f in report.equation.forms if not f.tangent]
        return None if any(not names for names in lacking) else lacking[0][0]

    def known(self, report: Report) -> Values:
        """Everything that the equations of one evaluation may read; what came in a wider type is rounded."""
        of = report.operands
        if id(of) not in self._known:  # kept with what is known of it, so that no other can have its id
            reported = {n: self.typed(v if self._holds(v) else self.target.round(v)) for n, v in of.items()}
            self._known[id(of)] = of, {**self.values, **reported}
        return self._known[id(of)][1]

    def typed(self, value: Any) -> Any:
        """Numbers as arrays are computed with.

        Up to 24 bits every number of the format is a float32: half the memory, products at twice the speed. Numbers
        that are given may be float64, and are converted where that is asked for, once.
        """
        type_ = np.float64 if self.target.precision > 24 else np.float32
        if not np.ndim(value) or getattr(value, "dtype", None) == type_:
            return value
        if id(value) not in self._converted:  # kept with what it was made of, so that no other can have its id
            self._converted[id(value)] = value, np.asarray(value, dtype=type_)
        return self._converted[id(value)][1]

    def _holds(self, value: Any) -> bool:
        if isinstance(value, float):
            return self.target.holds(value)
        return holds(np.asarray(value), self.target) is None

    def judge(self, report: Report, half_ulp: bool = False) -> Judgement:
        """The judgement of a report; `half_ulp` takes reported operands as known to half an ulp only."""
        (found,) = self.judge_each([report], half_ulp)
        return found

    def judge_each(self, reports: Iterable[Report], half_ulp: bool = False) -> list[Judgement]:
        """The judgements of reports, in order.

        Of tensors all are screened first: that goes through much memory, and what is done for few numbers after it,
        over and over the same, is as fast again from a core's cache.
        """
        keys: list[object] = []
        hearings: dict[object, _Evidence] = {}
        for number, report in enumerate(reports):
            keys.append(key := self._key(report, half_ulp) or number)
            if key not in self.judged and key not in hearings:
                hearings[key] = _Evidence(self, report, half_ulp)
        if not self.derivation.of_numbers:
            for evidence in hearings.values():
                evidence.screen()
        found = {key: evidence.judgement() for key, evidence in hearings.items()}
        self.judged |= {key: judgement for key, judgement in found.items() if not isinstance(key, int)}
        return [found[key] if key in found else self.judged[key] for key in keys]

    def _key(self, report: Report, half_ulp: bool) -> object:
        """What a judgement is made of, bit by bit: the same again is not judged again. None where that is much."""
        if np.size(report.value) > KEPT:
            return None
        reads = list(self._judged_on(report))
        if not self.derivation.of_numbers and sum(np.size(value) for _, value in reads) > KEPT:
            return None
        return (report.quantity, half_ulp, bits_of(report.value), *((name, bits_of(value)) for name, value in reads))

    def _judged_on(self, report: Report) -> Iterator[tuple[str, Any]]:
        """What was reported of what a judgement reads, by name, itself or to compute numbers that nobody reported."""
        pending, seen = [report.equation], set[str]()
        while pending:
            equation = pending.pop()
            for name in (*equation.read, *(equation.against.operands if equation.against else ())):
                if name in report.operands and name not in seen:
                    yield name, report.operands[name]
                elif name in self.derivation.by_name and name not in seen:
                    pending.append(self.derivation.by_name[name])
                seen.add(name)

    def lifted(self, report: Report, name: str, value: Any, kind: str) -> RoundedArray:
        """Numbers known exactly, lifted once for all equations that read them; weights each time, to save memory."""
        arrays = self.arrays[kind]
        if np.size(value) > 2 * BLOCK or value is not self.typed(self.known(report)[name]):
            return arrays.given(value)
        key = (id(value), kind)
        if key not in self._given:
            self._given[key] = arrays.given(value)
        return self._given[key]

    def computed(self, report: Report, half_ulp: bool, choose: Chooser | None) -> Evaluation:
        """Numbers that the trace lacks, from those that it has, in the precision of the context.

        By the forms that `choose` takes; None: by definition.
        """
        key = (id(report.operands), half_ulp, ctx.prec, choose)
        if key not in self._computed:
            ops = Remembering(self.target, self.constants)
            reported = ops.reported if half_ulp else ops.given
            known = self.known(report)
            given = {n: (reported if n in report.operands else ops.given)(float(v)) for n, v in known.items()}
            derivation = self.derivation if choose else self.derivation.defined
            self._computed[key] = Evaluation(derivation, ops, given, choose)
        return self._computed[key]


@dataclass(frozen=True)
class _Program:
    """A form, how sums are taken in it, and by which forms operands that nobody reported are computed."""

    form: Form
    kind: str = ""
    choose: Chooser | None = SHARPEST

    @property
    def name(self) -> str:
        return f"{self.form.name}{self.kind}"


class _Evidence:
    """One report before the judge: its equation by every form, in arrays and in balls."""

    def __init__(self, step: StepLevel, report: Report, half_ulp: bool) -> None:
        self.step, self.report, self.half_ulp = step, report, half_ulp
        self.got = np.asarray(report.value)
        self.screens: list[Screen] = []
        #: What double words do not hold, if that was met.
        self.out_of_range: OutOfRange | None = None
        self.known, self.numbers = step.known(report), step.derivation.of_numbers
        self.equation = step.derivation.by_name[report.quantity]
        self.forms = [f for f in self.equation.forms if not f.tangent and self._readable(f)]
        truth = self.equation.truth
        self.truth_form = truth if self._readable(truth) else self.forms[0]
        self._wide: dict[tuple[int, str, Index], RoundedArray] = {}
        self._asked: dict[tuple[Any, ...], tuple[Outcome, ...]] = {}
        self._alike: dict[tuple[Any, ...], tuple[Outcome, ...]] = {}
        self._rows: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    @cached_property
    def programs(self) -> dict[str, _Program]:
        return dict(self._programs())

    def _readable(self, form: Form) -> bool:
        """Whether all that a form reads is known, or can be computed."""
        return self.numbers or all(o in self.known for o in form.operands)

    def _programs(self) -> Iterator[tuple[str, _Program]]:
        """By the name of a form, and of the way in which sums are taken in it where that matters.

        What reads numbers that nobody reported follows once more, with these computed by whatever program.
        """
        for kind in self._kinds():
            for form in self.forms:
                # A textbook's program is followed with sums in float32 only: with 16-bit ones its balls would excuse
                # anything.
                if not (kind and form.unstable):
                    yield f"{form.name}{kind}", _Program(form, kind)
        for form in self.forms:
            if any(o not in self.known for o in form.operands):
                yield f"{form.name}, of whatever operands", _Program(form, choose=widest)

    def _kinds(self) -> Iterable[str]:
        sums = self.equation.rowwise or self.equation.part in (everything, of_column)
        return self.step.kinds if sums else [""]

    def _doubted(self, name: str) -> bool:
        """Whether an operand is known to half an ulp only."""
        return self.half_ulp and name in self.report.operands

    def screen(self) -> None:
        """Screens of the next forms, in order, up to the first that settles the matter."""
        try:
            for name in list(self.programs)[len(self.screens) :]:
                self.screens.append(self._screened(name))
                if self.screens[-1].settles:
                    break
        except OutOfRange as error:
            self.out_of_range = error

    def judgement(self) -> Judgement:
        """The judgement by the screens, and by those that are missing; of numbers by balls."""
        if self.numbers:
            return self.by_balls()
        got = self.got
        try:
            while self.out_of_range is None and not self._confirmed(self.screens[-1]):
                self.screen()
            if self.out_of_range is not None:
                raise self.out_of_range
            return judge_array(got, self.screens, self.step.target, self, self.condition)
        except OutOfRange as error:
            if self.ball_work() > BALL_MOST:
                return unresolved(got, str(error))
            return self.by_balls()

    def _screened(self, name: str) -> Screen:
        """What was got against one form, block by block."""
        program, got = self.programs[name], self.got
        form, kind = program.form, program.kind
        screen = Screen(name, self.step.target, got.shape, form.instead, form.approximates)
        compared = self._compared(form, kind)
        if compared is not None:
            screen.take(compared)
            return screen
        if self._sums_up():
            with suppress(OutOfRange):
                of = (form, kind), (self.truth_form, "")
                value, truth = (self._in_words(f, k, (), [self.known[o] for o in f.operands]) for f, k in of)
                screen.add(got, value, 0, truth)
                return screen
        for start, block, part in _blocks(self.equation, got):
            value = form.formula(self.step.arrays[kind], *self._read_block(form, block, kind))
            truth = value if form is self.truth_form else self._truth_of(block)
            screen.add(part, value, start, truth, self._against(block))
        return screen

    def _sums_up(self) -> bool:
        """Whether this number depends on so many that double words adjudicate it: then they are its screen, too."""
        form = self.truth_form
        return (
            not self.got.shape
            and self.equation.part is everything
            and self.equation.against is None
            and sum(np.size(self.known[o]) for o in form.operands) > BALL_OPERANDS
        )

    def _truth_of(self, block: slice | None) -> RoundedArray:
        """The truth, or a block of it: where that is all there is to it its centres alone."""
        formula, of = self.truth_form.formula, self._read_block(self.truth_form, block, "")
        centres, without = self.step.centres
        # In 16 bits e^z may be so little known that a program's σ(z) is no more than a number of [0, 1].
        if formula not in without and not self.step.arrays[""].narrow:
            try:
                return centres.of(formula, of)
            except Lacking:
                without.add(formula)
            except Beyond:
                pass
        return formula(self.step.arrays[""], *of)  # type: ignore[no-any-return]

    def _compared(self, form: Form, kind: str) -> Comparison | None:
        """What was got against a form in one pass over it: against the truth's, if it is a product, sum or update."""
        against = self.equation.against
        if any(self._doubted(o) for o in (*form.operands, *self.truth_form.operands)):
            return None
        if self.equation.part is elementwise and against is None:
            return self.step.comparing(kind).elementwise(self.got, form, self.truth_form, self.known)
        if form is not self.truth_form:
            return None
        step = step_of(form.formula, len(form.operands))
        if isinstance(step, Update):
            # What the accuracy is measured by must be the step itself.
            if against is None or step_of(against.formula, len(against.operands)) != _STEP:
                return None
            if against.operands != (form.operands[step.rate.operand], form.operands[step.slope.operand]):
                return None
        elif not isinstance(step, Product | ColumnSum) or against is not None:
            return None
        return self.step.comparing(kind).compared(self.got, step, [self.known[o] for o in form.operands])

    def _confirmed(self, screen: Screen) -> bool:
        """Whether balls, which may know more of its worst component, accept that by this form, too.

        Where no form is left they are not asked: what they say then changes nothing here.
        """
        if len(self.screens) == len(self.programs):
            return True
        index = place(screen.worst, self.got.shape)
        with precision(FIRST_PRECISION):
            return decision(float(self.got[index]), self.outcomes(screen.form, index)) != "outside"

    def _against(self, block: slice | None) -> Array | None:
        form = self.equation.against
        if form is None:
            return None
        return np.asarray(form.formula(PLAIN, *[np.asarray(v, dtype=np.float64) for v in self._values(form, block)]))

    def _values(self, form: Form, block: slice | None) -> list[Any]:
        values = [self.step.typed(self.known[o]) for o in form.operands]
        if block is None:
            return values
        assert self.equation.rows is not None
        return self.equation.rows(block, values)

    def _read_block(self, form: Form, block: slice | None, kind: str) -> list[RoundedArray]:
        """What a form reads, or a block of it."""
        arrays = self.step.arrays[kind]
        return [
            arrays.reported(v) if self._doubted(o) else self.step.lifted(self.report, o, v, kind)
            for o, v in zip(form.operands, self._values(form, block), strict=True)
        ]

    # The adjudicator --------------------------------------------------------------------------------------------------

    def outcomes(self, form: str, index: Index) -> tuple[Outcome, ...]:
        return self._outcomes(self.programs[form], index)

    def truth(self, index: Index) -> Rounded:
        """The truth; of an operand that is not finite no formula says anything."""
        (found, *_) = self._outcomes(self._true, index)
        return found if isinstance(found, Rounded) else self.step.nothing

    @cached_property
    def _true(self) -> _Program:
        # The truth is one of the forms as a rule: where all that it reads was reported it is computed once.
        every = all(o in self.known for o in self.truth_form.operands)
        return _Program(self.truth_form, choose=SHARPEST if every else None)

    def broken(self, index: Index) -> bool:
        # Many forms read the same.
        return any(self._not_finite(form, index) for form in {frozenset(f.operands): f for f in self.forms}.values())

    def _not_finite(self, form: Form, index: Index) -> bool:
        """Whether a number that a component of a form depends on was reported as an infinity or NaN."""
        if self.numbers:
            return not all(math.isfinite(self.known[o]) for o in form.operands if o in self.known)
        if self.equation.part is elementwise:
            return not all(math.isfinite(self._of_index(self.known[o], index)) for o in form.operands)
        return not all(np.isfinite(p).all() for p in self._parts(form, index)[0])

    def condition(self) -> float | None:
        if self.truth_form is not self.equation.truth:
            return None
        operands = [self._middle(o) for o in self.truth_form.operands]
        return condition(self.equation, operands, 2.0**-self.step.target.precision)

    def _middle(self, name: str) -> Any:
        """An operand, or the middle of what is known of a number that nobody reported."""
        if name in self.known:
            return self.known[name]
        return float(self.step.computed(self.report, self.half_ulp, SHARPEST)[name].exact.mid())

    def _parts(self, form: Form, index: Index) -> tuple[list[Any], Index]:
        assert self.equation.part is not None
        return self.equation.part(index, [self.known[o] for o in form.operands])

    def _outcomes(self, of: _Program, index: Index) -> tuple[Outcome, ...]:
        """What a program gives of the operands that a component depends on, at the precision of the context."""
        key = (id(of.form), of.kind, of.choose, ctx.prec, index)
        if key not in self._asked:
            self._asked[key] = self._computed(of, index)
        return self._asked[key]

    def _computed(self, of: _Program, index: Index) -> tuple[Outcome, ...]:
        form, kind = of.form, of.kind
        balls = self.step.balls[kind]
        if self.equation.part is elementwise:  # in the arithmetic of single numbers: faster than that of their arrays
            operands = [self._number(o, index, of.choose) for o in form.operands]
            if any(isinstance(x, Rounded) for x in operands):
                return self._of_numbers(form, balls, operands)
            key = (id(form), kind, ctx.prec, *map(bits_of, operands))
            if key not in self._alike:
                self._alike[key] = self._of_numbers(form, balls, operands)
            return self._alike[key]
        parts, local = self._parts(form, index)
        size = sum(np.size(p) for p in parts)
        if size > BALL_OPERANDS:
            found = self._in_double_words(form, kind, index, parts, local, size)
            if found is not None:
                return found

        def program(ops: BranchingBalls) -> Any:
            arrays = BallArrays(self.step.target, self.step.constants, ops)
            given = [
                (arrays.reported if self._doubted(o) else arrays.given)(v)
                for o, v in zip(form.operands, parts, strict=True)
            ]
            return form.formula(arrays, *given).values

        # The components of a row come of the same numbers.
        row = (id(form), kind, ctx.prec, *(index[:1] if self.equation.rowwise else index))
        if row not in self._rows:
            self._rows[row] = outcomes(program, balls, min(MOST_RUNS, max(2, BALL_RUNS // size)))
        return tuple(values[local] for values in self._rows[row])

    def _number(self, name: str, index: Index, choose: Chooser | None) -> Any:
        """A component of an operand; of a number that nobody reported, what may have been computed for it."""
        if name in self.known:
            return self._of_index(self.known[name], index)
        return self.step.computed(self.report, self.half_ulp, choose)[name]

    @staticmethod
    def _of_index(value: Any, index: Index) -> float:
        return value if isinstance(value, float) else float(value[index] if np.ndim(value) else value)

    def _of_numbers(self, form: Form, balls: RoundedBalls, operands: Sequence[Any]) -> tuple[Outcome, ...]:
        # Numbers of the format, as a rule: there is nothing to be read of them.
        exactly = not (self.half_ulp or any(isinstance(x, Rounded) for x in operands))

        def program(ops: BranchingBalls) -> Outcome:
            if exactly:
                return form.formula(ops, *map(ops.given, operands))
            given = [
                ops.read(x if isinstance(x, Rounded) else (ops.reported if self._doubted(o) else ops.given)(x))
                for o, x in zip(form.operands, operands, strict=True)
            ]
            return form.formula(ops, *given)

        return outcomes(program, balls)

    def _in_double_words(
        self, form: Form, kind: str, index: Index, parts: Sequence[Any], local: Index, size: int
    ) -> tuple[Outcome, ...] | None:
        """A component of very many operands: in double words, which have one precision, where they do."""
        try:
            found = apart(component(self._in_words(form, kind, index, parts), local))
        except OutOfRange:
            if size > BALL_MOST:
                raise
            return None
        return found if size > BALL_MOST or ball_of(found) is not None else None

    def _in_words(self, form: Form, kind: str, index: Index, parts: Sequence[Any]) -> RoundedArray:
        """A form in double words of the parts of its operands that a component depends on."""
        if (id(form), kind, index) not in self._wide:
            arrays = arithmetic(self.step.target, self.step.constants, True, self.step.kinds[kind])
            given = [
                (arrays.reported if self._doubted(o) else arrays.given)(v)
                for o, v in zip(form.operands, parts, strict=True)
            ]
            self._wide[id(form), kind, index] = form.formula(arrays, *given)
        return self._wide[id(form), kind, index]

    # Balls alone ------------------------------------------------------------------------------------------------------

    def _of_same_shape(self) -> bool:
        """Whether all operands have the result's shape: all components together cost no more than each alone."""
        return all(np.shape(self.known[o]) in ((), self.got.shape) for form in self.forms for o in form.operands)

    def ball_work(self) -> int:
        """How many numbers a judgement by balls alone reads."""
        got = self.got
        if self._of_same_shape():
            return got.size * sum(len(f.operands) for f in self.forms)
        parts, _ = self._parts(self.forms[0], (0,) * got.ndim)
        return got.size * sum(np.size(p) for p in parts)

    def by_balls(self) -> Judgement:
        """The judgement by balls alone, of numbers and of what double words do not hold."""
        got = self.got
        indices: list[Index] = [()] if self.numbers else list(np.ndindex(got.shape))

        def reference() -> Reference:
            of_forms = (self._candidate(program, indices) for _, program in self._programs())
            return Reference(of_forms, [self.truth(i) for i in indices], self._steps(indices), self._kappa)

        bits = None if self.numbers else BALL_PRECISION
        found = decide([float(v) for v in got.reshape(-1)], reference, self.step.target, bits)
        of_nothing = found.execution in ("outside", "undecided") or found.formula == "unknown"
        if of_nothing or not any(self._not_finite(self.truth_form, i) for i in indices):
            return found
        verdict = verdict_of(found.formula or "unknown", "overflow", found.accuracy or "vacuous")
        return replace(found, verdict=verdict, execution="overflow", reason=noted(NOT_FINITE, found.reason))

    def _candidate(self, program: _Program, indices: Sequence[Index]) -> Candidate:
        found = [self._outcomes(program, i) for i in indices]
        return Candidate(program.name, found, program.form.instead, program.form.approximates)

    def _steps(self, indices: Sequence[Index]) -> list[arb] | None:
        """The magnitudes that the quantity's accuracy is measured by, where they are not its own."""
        form = self.equation.against
        if form is None:
            return None
        found = [self._outcomes(_Program(form), i)[0] for i in indices]
        return [abs(x.exact) if isinstance(x, Rounded) else ZERO for x in found]

    def _kappa(self) -> arb:
        return arb(self.condition() or 0.0)


def _blocks(equation: Equation, got: NDArray[Any]) -> Iterator[tuple[int, slice | None, NDArray[Any]]]:
    """Blocks of the first axis to judge one after the other: first component, rows (None: all), what was got there."""
    if equation.rows is None or got.size <= 2 * BLOCK:
        yield 0, None, got
        return
    width = got.size // got.shape[0]
    rows = max(1, BLOCK // width)
    for first in range(0, got.shape[0], rows):
        block = slice(first, min(first + rows, got.shape[0]))
        yield first * width, block, got[block]
