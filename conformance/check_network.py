"""The check of a layered network: every tensor of an answer held against the reference, at both levels.

whole: loss, gradient and updated weights from the case's inputs alone, in double words for every dtype.
step:  every equation of every layer on the operands that the framework itself reported, block by block.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache, partial
from typing import Any

import numpy as np
from flint import arb, ctx
from numpy.typing import NDArray

from gradconform.adapters.contract import Answer
from gradconform.conformance.conventions import (
    ASKED,
    accepted_as,
    at_scale,
    caused,
    may_be_of_another_scale,
    rescaled,
    scales,
    unaccepted,
    would_be,
)
from gradconform.conformance.levels import Report, plain_reports, step_reports, widened, worst_of_each
from gradconform.conformance.measurement import Measurement, judged
from gradconform.reference.array_judge import Index, Screen, holds, judge_array
from gradconform.reference.arrays import RoundedArray, RoundedArrays
from gradconform.reference.ball_arrays import BallArray, BallArrays
from gradconform.reference.cases import Key, Point
from gradconform.reference.cases import derivation as derivation_of
from gradconform.reference.condition import condition
from gradconform.reference.equations import Derivation, Equation, Evaluation, Form, elementwise
from gradconform.reference.exact import precision
from gradconform.reference.formats import FLOAT32, FORMATS, Format
from gradconform.reference.judge import FIRST_PRECISION, Candidate, Chooser, Judgement, ball_of, decision, judge, stable
from gradconform.reference.judge import overflowing as overflowing_ball
from gradconform.reference.judge import widest as widest_ball
from gradconform.reference.midpoints import EXACTLY, Array, OutOfRange
from gradconform.reference.network import everything, of_column
from gradconform.reference.outcomes import MOST_RUNS, BranchingBalls, Outcome, apart, outcomes
from gradconform.reference.plain import PLAIN
from gradconform.reference.profiles import Profile
from gradconform.reference.rounded import ANYTHING, Rounded, RoundedBalls, Sums

#: Components judged at a time where an equation is elementwise: so many that a block's arrays stay in a core's cache.
BLOCK = 1 << 15
#: Operand numbers that one component is adjudicated on in balls; beyond, in double words, and in balls again up to the
#: second number of them where double words do not hold what is needed.
BALL_OPERANDS, BALL_MOST = 20_000, 500_000
#: Operand numbers times runs that a program is followed on where operations of it may overflow.
BALL_RUNS = 1 << 18

#: Work (see `_work`) up to which a whole network is evaluated in balls, where double words do not do; its precision.
BALL_WORK, BALL_PRECISION = 50_000, 320

#: What the name of a form ends with where its sums may be accumulated in a 16-bit format.
ANY_SUM = ", sums in the dtype"

Values = Mapping[str, Any]


def check_network(
    answer: Answer,
    point: Point,
    constants: Profile,
    of: dict[str, Any],
    half_ulp: bool = False,
    conventions: tuple[str, ...] = (),
) -> Iterator[Measurement]:
    """Judge every quantity of an answer; `of` identifies it (case, adapter, route, dtype)."""
    derivation = derivation_of(point.derivation)
    whole = Whole(point, constants, conventions)
    step = Step(point, constants, conventions)
    reports = step_reports(derivation, answer, half_ulp)
    left_out = {r.quantity: missing for r in reports if (missing := step.missing(r)) is not None}
    plain = plain_reports(derivation, answer)
    rows: list[Measurement] = []

    def of_whole(name: str, whole: Whole) -> Measurement:
        return _measured(of, "whole", derivation.by_name[name], plain[name], whole.judge(name, np.asarray(plain[name])))

    for name in plain:
        row = of_whole(name, whole)
        if name in left_out:
            row = row.because(f"unreported: the trace lacks {left_out[name]}, without which no step is judged here")
        rows.append(row)

    def measured(report: Report, step: Step) -> Measurement:
        judgement, note = step.judge(report, half_ulp=False), report.note
        if judgement.verdict == "deviates":
            judgement, note = widened(judgement, step.judge(report, half_ulp=True), half_ulp, note)
        row = _measured(of, "step", report.equation, report.value, judgement)
        return row.because(note) if note else row

    asked = [r for r in reports if r.quantity not in left_out]
    steps = [measured(r, step) for r in asked]
    if may_be_of_another_scale(rows, steps, derivation):
        for c in scales(point):
            again = at_scale(steps, asked, c, partial(measured, step=Step(point, constants, conventions, c)))
            if again is not None:
                steps = again
                break
    if unasked := unaccepted([*rows, *steps], derivation, point, conventions):
        other, of_step = Whole(point, constants, unasked), Step(point, constants, unasked)
        rows = [would_be(row, partial(of_whole, row.quantity, other)) for row in rows]
        steps = [would_be(row, partial(measured, report, of_step)) for row, report in zip(steps, asked, strict=True)]
    yield from caused([*rows, *worst_of_each(steps)], answer, point, whole.truth)


def _measured(of: dict[str, Any], level: str, equation: Equation, value: Any, judgement: Judgement) -> Measurement:
    shape = np.shape(value)
    identity = {**of, "level": level, "quantity": equation.name}
    return accepted_as(judged(identity, judgement, max(1, math.prod(shape)), shape, operator=equation.operator))


def _held(values: Values, target: Format) -> dict[str, Any]:
    """The reported values as operands: what came in a wider type is rounded to the dtype first."""
    return {n: target.round(v) if holds(np.asarray(v), target) is not None else v for n, v in values.items()}


# Whole ----------------------------------------------------------------------------------------------------------------


class Whole:
    """What each quantity may be from the inputs alone, by one program after the other; see `_programs`."""

    def __init__(self, point: Point, constants: Profile, conventions: tuple[str, ...] = ()) -> None:
        self.point, self.constants, self.conventions = point, constants, conventions
        self.target = FORMATS[point.dtype]
        self.derivation = derivation_of(point.derivation)

    def truth(self, name: str) -> Array:
        """The exact values of a quantity, in float64. Raises OutOfRange where double words do not hold them."""
        return np.asarray(_whole(_PointKey(self.point), self.constants, self.conventions)[0].evaluation[name].high)

    def judge(self, name: str, got: NDArray[Any]) -> Judgement:
        values: dict[str, RoundedArray] = {}
        screens: list[Screen] = []
        try:
            programs = _whole(_PointKey(self.point), self.constants, self.conventions)
            truth = programs[0].evaluation[name]
            against = _norm_of(self.derivation.by_name[name], programs[0].evaluation)
            for program in programs:
                values[program.name] = program.evaluation[name]
                screen = Screen(program.name, self.target, got.shape, program.instead)
                screen.add(got, values[program.name], 0, truth, against)
                screens.append(screen)
                if screen.accepts:
                    break  # the sharpest comes first: no other says more
        except OutOfRange as error:
            if _work(self.derivation) > BALL_WORK:
                return _unresolved(got, str(error))
            return self._by_balls(name, got)
        return judge_array(got, screens, self.target, _OfPrograms(values, truth), None, FIRST_PRECISION, True)

    def _by_balls(self, name: str, got: NDArray[Any]) -> Judgement:
        """The judgement by balls alone, for small networks with numbers that double words do not hold."""
        programs = _whole_by_balls(_PointKey(self.point), self.constants, self.conventions)
        equation = self.derivation.by_name[name]
        with precision(BALL_PRECISION):
            truths = list(programs[0].evaluation[name].values.ravel())
            candidates = [Candidate.of_values(p.name, p.evaluation[name].values.ravel(), p.instead) for p in programs]
            against = None
            if equation.against is not None:
                step = programs[0].evaluation.form(equation.against)
                against = [abs(x.exact) for x in step.values.ravel()]
            return judge([float(v) for v in got.reshape(-1)], candidates, self.target, truths, against, nested=True)


@dataclass(frozen=True)
class _OfPrograms:
    """Components of whole programs, as far as double words know them."""

    values: Mapping[str, RoundedArray]
    of_truth: RoundedArray

    def outcomes(self, form: str, index: Index) -> tuple[Outcome, ...]:
        return apart(_component(self.values[form], index))

    def truth(self, index: Index) -> Rounded:
        return _component(self.of_truth, index)

    def broken(self, index: Index) -> bool:
        return False


@dataclass(frozen=True)
class _Program:
    """A way through all equations: which form it takes at each; `instead`, where unstable ones are among them."""

    name: str
    evaluation: Evaluation
    instead: str = ""


def _work(derivation: Derivation) -> int:
    """Components of all weights' gradients times the batch: what a pass over the network in balls takes."""
    batch = derivation.by_name["z1"].shape[0]
    return batch * sum(math.prod(derivation.by_name[g].shape) for g in derivation.gradient.values())


def _component(value: RoundedArray, index: Index) -> Rounded:
    """A component of an array as a ball that holds the exact value: the midpoint's error is at most slack·radius.

    The radius is enlarged by twice that. What is at the very edge of it, as a slope at the end of a kink's set is, is
    then certainly inside, although this precision cannot be raised.
    """
    ball = value.arithmetic.scalar(value, index, value.shape)
    within = (ball.radius * value.arithmetic.mids.slack).upper()
    with precision(EXACTLY):  # a radius may be far smaller than the last of fewer bits, as of 1 − 10^−114
        exact = ball.exact + ball.exact.__class__(0, float(within))
    return Rounded(ball.arithmetic, exact, (ball.radius + 3 * within).upper(), ball.specials, ball.spread)


class _PointKey:
    """A point as a key of the cache, by identity of its values: routes of one task share them."""

    def __init__(self, point: Point) -> None:
        self.point = point
        self.key = (point.derivation, point.dtype, point.rate, tuple((n, id(v)) for n, v in point.values.items()))

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _PointKey) and self.key == other.key


@lru_cache(maxsize=2)
def _whole(key: _PointKey, constants: Profile, conventions: tuple[str, ...] = ()) -> tuple[_Program, ...]:
    point = key.point

    def evaluation(derivation: Derivation, choose: Chooser, sums: Sums) -> Evaluation:
        ops = RoundedArrays(FORMATS[point.dtype], constants, exact=True, sums=sums)
        given = {n: ops.given(v) for n, v in point.values.items()} | {derivation.rate: ops.given(point.rate)}
        return Evaluation(derivation, ops, given, choose)

    return _programs(point, conventions, evaluation, sharpest, widest, overflowing)


@lru_cache(maxsize=2)
def _whole_by_balls(key: _PointKey, constants: Profile, conventions: tuple[str, ...] = ()) -> tuple[_Program, ...]:
    point = key.point

    def evaluation(derivation: Derivation, choose: Chooser, sums: Sums) -> Evaluation:
        target = FORMATS[point.dtype]
        ops = BallArrays(target, constants, RoundedBalls(target, constants, sums))
        given = {n: ops.given(v) for n, v in point.values.items()} | {derivation.rate: ops.given(point.rate)}
        return Evaluation(derivation, ops, given, choose)

    def size(value: Any) -> float:
        balls = value.values.ravel()
        return math.inf if any(b.specials & ANYTHING for b in balls) else sum(float(b.radius.upper()) for b in balls)

    def each(choose: Chooser) -> Chooser:
        def chosen(values: Sequence[Any], forms: Sequence[Form]) -> Any:
            found = np.empty(values[0].shape, dtype=object)
            for index in np.ndindex(found.shape):
                found[index] = choose([v.values[index] for v in values], forms)
            return BallArray(values[0].arithmetic, found)

        return chosen

    smallest: Chooser = lambda values, _: min(values, key=size)  # noqa: E731
    return _programs(point, conventions, evaluation, smallest, each(widest_ball), each(overflowing_ball))


def _programs(
    point: Point,
    conventions: tuple[str, ...],
    evaluation: Callable[[Derivation, Chooser, Sums], Evaluation],
    least: Chooser,
    most: Chooser,
    unbounded: Chooser,
) -> tuple[_Program, ...]:
    """Whole programs: the sharpest form at every equation; the first of each, the second, …; and any mixture of forms.

    The widest has in every component the largest allowance of any form. Allowances grow with those of their operands,
    so whatever forms a program takes, here one and there another, it is within the widest; with the textbook's unstable
    ones among them, and with every infinity that one of them may meet, within the last. What is outside of that
    deviates, and that is a proof. The others come first because they say more: a 16-bit sum is accumulated in float32
    in them. Forms that conventions ask for are in the widest ones that follow the widest without them.
    """
    narrow = FORMATS[point.dtype].precision < FLOAT32.precision
    usual, of = _without_narrow(point.derivation, narrow), _without_narrow(point.derivation, narrow, conventions)
    count = max(sum(not f.unstable for f in e.forms) for e in usual.equations)
    asked = [(ASKED[c], stable(most)) for c in conventions if narrow]
    return (
        _Program("sharpest", evaluation(usual, stable(least), "wide")),
        *(_Program(f"program {i + 1}", evaluation(usual, stable(_at(i)), "wide")) for i in range(min(count, 3))),
        _Program("widest", evaluation(usual, stable(most), "any")),
        *(_Program(f"widest, {name}", evaluation(of, choose, "any")) for name, choose in asked),
        _Program("widest, unstable programs too", evaluation(of, most, "any"), "a stable program at every equation"),
        _Program("widest, overflow included", evaluation(of, unbounded, "any")),
    )


def _at(number: int) -> Chooser:
    return lambda values, _: values[min(number, len(values) - 1)]


@lru_cache(maxsize=64)
def _without_narrow(key: Key, narrow: bool, conventions: tuple[str, ...] = ()) -> Derivation:
    """The derivation with only the forms that matter in this format, and of those asked for only the `conventions`'."""
    derivation = derivation_of(key)

    def kept(form: Form) -> bool:
        return (narrow or not form.narrow) and (not form.asked or form.asked in conventions)

    equations = tuple(replace(e, forms=tuple(filter(kept, e.forms))) for e in derivation.equations)
    return replace(derivation, equations=equations)


def _size(value: RoundedArray) -> float:
    """The allowance of a tensor as one number; infinite where a component may be anything."""
    if value.specials is not None and bool((value.specials & ANYTHING).any()):
        return math.inf
    return float(np.sum(value.radii()))


def sharpest(values: Sequence[RoundedArray], forms: Sequence[Form]) -> RoundedArray:
    """The value of the form with the smallest allowance; forms that may overflow set aside where another cannot."""
    steady = [v for v in values if v.specials is None] or list(values)
    return _admitting(min(steady, key=_size), values)


def widest(values: Sequence[RoundedArray], forms: Sequence[Form]) -> RoundedArray:
    """In every component the largest allowance of the forms that are known there."""
    return _admitting(_envelope(values), values)


def overflowing(values: Sequence[RoundedArray], forms: Sequence[Form]) -> RoundedArray:
    """The widest, infinite or NaN wherever any form may be; where nothing is known of one, nothing is."""
    found = _envelope(values)
    specials = found.specials
    for v in values:
        if v.specials is not None:
            specials = v.specials if specials is None else specials | v.specials
    return RoundedArray(found.arithmetic, found.mid, found.radius, found.spread, specials)


def _envelope(values: Sequence[RoundedArray]) -> RoundedArray:
    """Around the truth, in every component the largest radius of the forms of which something is known there."""
    first = values[0]
    if len(values) == 1:
        return first
    radius, spread = np.zeros(first.shape), np.zeros(first.shape)
    specials = None if first.specials is None else first.specials.copy()
    for v in values:
        unknown = np.False_ if v.specials is None else (v.specials & ANYTHING) != 0
        radius = np.maximum(radius, np.where(unknown, 0.0, v.radii()))
        if v.spread is not None:
            spread = np.maximum(spread, np.where(unknown, 0.0, v.spread))
        if specials is not None:
            known = np.zeros(v.shape, np.uint8) if v.specials is None else v.specials
            specials = np.where((specials & ANYTHING != 0) & ~unknown, known, specials)
    kinks = spread if any(v.spread is not None for v in values) else None
    return RoundedArray(first.arithmetic, first.mid, radius, kinks, specials)


def _admitting(chosen: RoundedArray, values: Sequence[RoundedArray]) -> RoundedArray:
    """The chosen value, infinite or NaN only where every form may be."""
    if chosen.specials is None or any(v.specials is None for v in values):
        specials = None
    else:
        specials = chosen.specials
        for v in values:
            if v.specials is not None:
                unknown = (v.specials & ANYTHING) != 0
                specials = np.where(unknown, specials, specials & (v.specials | ANYTHING)).astype(np.uint8)
    return RoundedArray(chosen.arithmetic, chosen.mid, chosen.radius, chosen.spread, specials)


def _norm_of(equation: Equation, evaluation: Evaluation) -> Array | None:
    """What a quantity's accuracy is measured by, where it is not the quantity itself."""
    if equation.against is None:
        return None
    operands = [evaluation[o].high for o in equation.against.operands]
    return np.asarray(equation.against.formula(PLAIN, *operands))


# Step -----------------------------------------------------------------------------------------------------------------


class Step:
    """What each reported quantity may be, by each of its equation's forms on the other reported values."""

    def __init__(
        self,
        point: Point,
        constants: Profile,
        conventions: tuple[str, ...] = (),
        scale: Fraction | None = None,
    ) -> None:
        self.point, self.constants = point, constants
        self.target = FORMATS[point.dtype]
        narrow = self.target.precision < FLOAT32.precision
        self.derivation = _without_narrow(point.derivation, narrow, conventions)
        if scale is not None:
            self.derivation = rescaled(self.derivation, scale)
        #: Sums of 16-bit numbers: accumulated in float32, and by any accumulation.
        self.kinds: dict[str, Sums] = {"": "wide", ANY_SUM: "own"} if narrow else {"": "own"}
        self.arrays = {k: RoundedArrays(self.target, constants, sums=sums) for k, sums in self.kinds.items()}
        self.balls = {k: RoundedBalls(self.target, constants, sums) for k, sums in self.kinds.items()}
        self.nothing = self.balls[next(iter(self.kinds))].given(math.nan)
        self._given: dict[tuple[int, str], RoundedArray] = {}
        self._operands: dict[int, Values] = {}

    def missing(self, report: Report) -> str | None:
        """What a report's equation needs of the trace, that is not there, by whichever of its forms; or None."""
        known = self._known(report)
        lacking = [[o for o in f.operands if o not in known] for f in report.equation.forms if not f.tangent]
        return None if any(not names for names in lacking) else lacking[0][0]

    def _known(self, report: Report) -> Values:
        """Everything that the equations of one evaluation may read."""
        if report.group not in self._operands:
            # Up to 24 bits every number of the format is a float32: half the memory, products at twice the speed.
            type_ = np.float64 if self.target.precision > 24 else np.float32
            held = _held(report.operands, self.target)
            values = {**self.point.values, self.derivation.rate: self.point.rate, **held}
            self._operands[report.group] = {
                n: np.asarray(v, dtype=type_) if np.ndim(v) else v for n, v in values.items()
            }
        return self._operands[report.group]

    def judge(self, report: Report, half_ulp: bool) -> Judgement:
        """The judgement of a report; `half_ulp` takes reported operands as known to half an ulp only."""
        hearing = _Evidence(self, report, half_ulp)
        got = np.asarray(report.value)
        try:
            screens = hearing.screened(got)
            return judge_array(got, screens, self.target, hearing, hearing.condition)
        except OutOfRange as error:
            if hearing.ball_work(got) > BALL_MOST:
                return _unresolved(got, str(error))
            return hearing.by_balls(got)

    def given(self, report: Report, name: str, value: Any, kind: str) -> RoundedArray:
        """Numbers known exactly, lifted once for all equations that read them; weights each time, to save memory."""
        arrays = self.arrays[kind]
        if np.size(value) > 2 * BLOCK or value is not self._known(report)[name]:
            return arrays.given(value)
        key = (id(value), kind)
        if key not in self._given:
            self._given[key] = arrays.given(value)
        return self._given[key]


class _Evidence:
    """One report before the judge: its equation by every form, in arrays and in balls."""

    def __init__(self, step: Step, report: Report, half_ulp: bool) -> None:
        self.step, self.report, self.half_ulp = step, report, half_ulp
        self.known = step._known(report)
        self.equation = step.derivation.by_name[report.quantity]
        self.forms = [f for f in self.equation.forms if not f.tangent and all(o in self.known for o in f.operands)]
        #: By the name of a form, and of the way in which sums are taken in it where that matters.
        # A textbook's program is followed with sums in float32 only: with 16-bit ones its balls would excuse anything.
        self.programs = {
            f"{f.name}{kind}": (f, kind) for kind in self._kinds() for f in self.forms if not (kind and f.unstable)
        }
        truth = self.equation.truth
        self.truth_form = truth if all(o in self.known for o in truth.operands) else self.forms[0]
        self._wide: dict[tuple[str, Index], tuple[Outcome, ...]] = {}
        self._alike: dict[tuple[Any, ...], tuple[Outcome, ...]] = {}
        self._rows: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    def _kinds(self) -> Iterable[str]:
        sums = self.equation.rowwise or self.equation.part in (everything, of_column)
        return self.step.kinds if sums else list(self.step.kinds)[:1]

    def _doubted(self, name: str) -> bool:
        """Whether an operand is known to half an ulp only."""
        return self.half_ulp and name in self.report.operands

    def screened(self, got: NDArray[Any]) -> list[Screen]:
        """Screens of the forms, in order, up to the first that settles the matter."""
        screens: list[Screen] = []
        first = next(iter(self.step.kinds))
        for name, (form, kind) in self.programs.items():
            screen = Screen(name, self.step.target, got.shape, form.instead, form.approximates)
            for start, block, part in _blocks(self.equation, got):
                value = form.formula(self.step.arrays[kind], *self._read_block(form, block, kind))
                if form is self.truth_form:
                    truth = value
                else:
                    of = self._read_block(self.truth_form, block, first)
                    truth = self.truth_form.formula(self.step.arrays[first], *of)
                screen.add(part, value, start, truth, self._against(block))
            screens.append(screen)
            if screen.settles and self._confirmed(screen, got):
                break
        return screens

    def _confirmed(self, screen: Screen, got: NDArray[Any]) -> bool:
        """Whether balls, which may know more of its worst component, accept that by this form, too.

        Where no form is left they are not asked: what they say then changes nothing here.
        """
        if screen.form == list(self.programs)[-1]:
            return True
        index = tuple(int(i) for i in np.unravel_index(screen.worst, got.shape))
        with precision(FIRST_PRECISION):
            return decision(float(got[index]), self.outcomes(screen.form, index)) != "outside"

    def _against(self, block: slice | None) -> Array | None:
        form = self.equation.against
        if form is None:
            return None
        return np.asarray(form.formula(PLAIN, *[np.asarray(v, dtype=np.float64) for v in self._values(form, block)]))

    def _values(self, form: Form, block: slice | None) -> list[Any]:
        values = [self.known[o] for o in form.operands]
        if block is None:
            return values
        assert self.equation.rows is not None
        return self.equation.rows(block, values)

    def _read_block(self, form: Form, block: slice | None, kind: str) -> list[RoundedArray]:
        """What a form reads, or a block of it."""
        arrays = self.step.arrays[kind]
        return [
            arrays.reported(v) if self._doubted(o) else self.step.given(self.report, o, v, kind)
            for o, v in zip(form.operands, self._values(form, block), strict=True)
        ]

    # The adjudicator --------------------------------------------------------------------------------------------------

    def outcomes(self, form: str, index: Index) -> tuple[Outcome, ...]:
        program, kind = self.programs[form]
        return self._outcomes(program, kind, form, index)

    def truth(self, index: Index) -> Rounded:
        """The truth; of an operand that is not finite no formula says anything."""
        (found, *_) = self._outcomes(self.truth_form, next(iter(self.step.kinds)), "truth", index)
        return found if isinstance(found, Rounded) else self.step.nothing

    def broken(self, index: Index) -> bool:
        parts = [p for f in self.forms for p in self._parts(f, index)[0]]
        return not all(np.isfinite(p).all() for p in parts)

    def condition(self) -> float | None:
        if self.truth_form is not self.equation.truth:
            return None
        operands = [self.known[o] for o in self.truth_form.operands]
        return condition(self.equation, operands, 2.0**-self.step.target.precision)

    def _parts(self, form: Form, index: Index) -> tuple[list[Any], Index]:
        assert self.equation.part is not None
        return self.equation.part(index, [self.known[o] for o in form.operands])

    def _outcomes(self, form: Form, kind: str, name: str, index: Index) -> tuple[Outcome, ...]:
        """What a program gives of the operands that a component depends on, at the precision of the context."""
        balls = self.step.balls[kind]
        if self.equation.part is elementwise:  # in the arithmetic of single numbers: faster than that of their arrays
            numbers = [float(v[index] if np.ndim(v) else v) for v in (self.known[o] for o in form.operands)]
            key = (name, ctx.prec, *map(_bits, numbers))
            if key not in self._alike:
                self._alike[key] = self._of_numbers(form, balls, numbers)
            return self._alike[key]
        parts, local = self._parts(form, index)
        size = sum(np.size(p) for p in parts)
        if size > BALL_OPERANDS:
            found = self._in_double_words(form, kind, name, index, parts, local, size)
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
        row = (name, ctx.prec, *(index[:1] if self.equation.rowwise else index))
        if row not in self._rows:
            self._rows[row] = outcomes(program, balls, min(MOST_RUNS, max(2, BALL_RUNS // size)))
        return tuple(values[local] for values in self._rows[row])

    def _of_numbers(self, form: Form, balls: RoundedBalls, numbers: Sequence[float]) -> tuple[Outcome, ...]:
        def program(ops: BranchingBalls) -> Outcome:
            given = [
                ops.read((ops.reported if self._doubted(o) else ops.given)(x))
                for o, x in zip(form.operands, numbers, strict=True)
            ]
            return form.formula(ops, *given)

        return outcomes(program, balls)

    def _in_double_words(
        self, form: Form, kind: str, name: str, index: Index, parts: Sequence[Any], local: Index, size: int
    ) -> tuple[Outcome, ...] | None:
        """A component of very many operands: in double words, which have one precision, where they do."""
        if (name, index) not in self._wide:
            arrays = RoundedArrays(self.step.target, self.step.constants, True, self.step.kinds[kind])
            given = [
                (arrays.reported if self._doubted(o) else arrays.given)(v)
                for o, v in zip(form.operands, parts, strict=True)
            ]
            try:
                self._wide[name, index] = apart(_component(form.formula(arrays, *given), local))
            except OutOfRange:
                if size > BALL_MOST:
                    raise
                return None
        found = self._wide[name, index]
        return found if size > BALL_MOST or ball_of(found) is not None else None

    # Balls alone ------------------------------------------------------------------------------------------------------

    def _of_same_shape(self, got: NDArray[Any]) -> bool:
        """Whether all operands have the result's shape: all components together cost no more than each alone."""
        return all(np.shape(self.known[o]) in ((), got.shape) for form in self.forms for o in form.operands)

    def ball_work(self, got: NDArray[Any]) -> int:
        """How many numbers a judgement by balls alone reads."""
        if self._of_same_shape(got):
            return got.size * sum(len(f.operands) for f in self.forms)
        parts, _ = self._parts(self.forms[0], (0,) * got.ndim)
        return got.size * sum(np.size(p) for p in parts)

    def by_balls(self, got: NDArray[Any]) -> Judgement:
        """The judgement by balls alone, for numbers that double words do not hold: by the forms in order, as far as
        one that accepts the tensor and keeps its digits."""
        indices, values = list(np.ndindex(got.shape)), [float(v) for v in got.reshape(-1)]
        candidates: list[Candidate] = []
        with precision(4 * FIRST_PRECISION):
            truths = [self.truth(i) for i in indices]
            for name, (form, _) in self.programs.items():
                of_form = [self.outcomes(name, i) for i in indices]
                candidates.append(Candidate(name, of_form, form.instead, form.approximates))
                found = judge(values, candidates, self.step.target, truths, condition=self._kappa)
                if found.verdict == "conforms":
                    break
        return found

    def _kappa(self) -> arb:
        return arb(self.condition() or 0.0)


def _bits(x: float) -> bytes:
    """What tells a number from another, NaN and the sign of 0 included."""
    return struct.pack("<d", x)


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


def _unresolved(got: NDArray[Any], why: str) -> Judgement:
    value = float(got.reshape(-1)[0])
    return Judgement(
        "undecided", value, None, None, None, None, None, None, None, None, None, None, 0, f"operands: {why}",
        formula="unknown", execution="undecided",
    )  # fmt: skip
