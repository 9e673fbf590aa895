"""The check of a layered network: every tensor of an answer held against the reference, at both levels.

whole: loss, gradient and updated weights from the case's inputs alone, in double words for every dtype.
step:  every equation of every layer on the operands that the framework itself reported, block by block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradconform.adapters.contract import Answer, Trace
from gradconform.conformance.levels import reports, same_bits, widened
from gradconform.conformance.measurement import Measurement, judged
from gradconform.reference.array_judge import Adjudicator, Index, Screen, holds, judge_array, norm
from gradconform.reference.arrays import RoundedArray, RoundedArrays
from gradconform.reference.ball_arrays import BallArray, BallArrays
from gradconform.reference.cases import Key, Point
from gradconform.reference.cases import derivation as derivation_of
from gradconform.reference.equations import Derivation, Equation, Evaluation, Form, elementwise
from gradconform.reference.exact import precision
from gradconform.reference.formats import FORMATS, Format
from gradconform.reference.judge import FIRST_PRECISION, Candidate, Judgement, judge
from gradconform.reference.judge import widest as widest_ball
from gradconform.reference.midpoints import EXACTLY, OutOfRange
from gradconform.reference.plain import PLAIN
from gradconform.reference.profiles import Profile
from gradconform.reference.rounded import ANYTHING, Rounded

#: Components judged at a time where an equation is elementwise: so many that a block's arrays stay in a core's cache.
BLOCK = 1 << 15
#: Operand numbers that one component is adjudicated on in balls; beyond, in double words, and in balls again up to the
#: second number of them where double words do not hold what is needed.
BALL_OPERANDS, BALL_MOST = 20_000, 500_000

#: Work (see `_work`) up to which a whole network is evaluated in balls, where double words do not do; its precision.
BALL_WORK, BALL_PRECISION = 50_000, 320

Values = Mapping[str, Any]
Chooser = Callable[[Sequence[Any], Sequence[Form]], Any]


def check_network(
    answer: Answer, point: Point, constants: Profile, of: dict[str, Any], half_ulp: bool = False
) -> Iterator[Measurement]:
    """Judge every quantity of an answer; `of` identifies it (case, adapter, route, dtype)."""
    derivation, target = derivation_of(point.derivation), FORMATS[point.dtype]
    whole = Whole(point, constants)
    for name, value in {
        derivation.loss: answer.loss,
        **{derivation.gradient[w]: answer.gradient[w] for w in point.parameters},
        **{derivation.updated[w]: answer.updated[w] for w in point.parameters},
    }.items():
        yield _measured(of, "whole", name, value, whole.judge(name, np.asarray(value)))
    trace = answer.trace
    reason = "traced" if trace and not same_bits(trace.gradient, answer.gradient) else None
    reported = reports(derivation, trace or Trace({}, {}, answer.gradient, answer.updated))
    step = Step(point, constants, _held(reported, target))
    for name, value in reported.items():
        if trace is None and name not in derivation.updated.values():
            continue  # without a trace the gradient's operands are not known; it was judged as a whole
        got = np.asarray(value)
        judgement = step.judge(name, got, half_ulp=False)
        note = reason
        if judgement.verdict == "deviates":
            judgement, note = widened(judgement, step.judge(name, got, half_ulp=True), half_ulp, reason)
        measurement = _measured(of, "step", name, value, judgement)
        yield measurement.because(note) if note else measurement


def _measured(of: dict[str, Any], level: str, name: str, value: Any, judgement: Judgement) -> Measurement:
    shape = np.shape(value)
    return judged({**of, "level": level, "quantity": name}, judgement, max(1, math.prod(shape)), shape)


def _held(reported: Values, target: Format) -> dict[str, Any]:
    """The reported values as operands: what came in a wider type is rounded to the dtype first."""
    return {n: target.round(v) if holds(np.asarray(v), target) is not None else v for n, v in reported.items()}


# Whole ----------------------------------------------------------------------------------------------------------------


class Whole:
    """What each quantity may be from the inputs alone, by one program after the other; see `_programs`."""

    def __init__(self, point: Point, constants: Profile) -> None:
        self.point, self.constants = point, constants
        self.target = FORMATS[point.dtype]
        self.derivation = derivation_of(point.derivation)

    def judge(self, name: str, got: NDArray[Any]) -> Judgement:
        equation = self.derivation.by_name[name]
        values: dict[str, RoundedArray] = {}
        screens: list[Screen] = []
        try:
            evaluations = _whole(_PointKey(self.point), self.constants)
            for choice, evaluation in evaluations.items():
                values[choice] = evaluation[name]
                screen = Screen(choice, self.target, got.shape)
                screen.add(got, values[choice], 0)
                screens.append(screen)
                if screen.settles:
                    break  # a program that accepts it, the sharpest first
            against = _norm_of(equation, evaluations["sharpest"])
        except OutOfRange as error:
            if _work(self.derivation) > BALL_WORK:
                return _unresolved(got, str(error))
            return self._by_balls(name, got)

        def adjudicator(form: str, index: Index) -> Rounded:
            return _component(values[form], index)

        return judge_array(got, screens, self.target, adjudicator, against, bits=FIRST_PRECISION)

    def _by_balls(self, name: str, got: NDArray[Any]) -> Judgement:
        """The judgement by balls alone, for small networks with numbers that double words do not hold."""
        evaluations = _whole_by_balls(_PointKey(self.point), self.constants)
        equation = self.derivation.by_name[name]
        with precision(BALL_PRECISION):
            candidates = [Candidate(choice, list(e[name].values.ravel())) for choice, e in evaluations.items()]
            against = None
            if equation.against is not None:
                step = evaluations["sharpest"].form(equation.against)
                against = [x.exact for x in step.values.ravel()]
            return judge([float(v) for v in got.reshape(-1)], candidates, self.target, against)


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
def _whole(key: _PointKey, constants: Profile) -> dict[str, Evaluation]:
    point = key.point
    ops = RoundedArrays(FORMATS[point.dtype], constants, exact=True)
    derivation = _without_narrow(point.derivation, ops.narrow)
    given = {n: ops.given(v) for n, v in point.values.items()} | {derivation.rate: ops.given(point.rate)}
    return _programs(derivation, ops, given, sharpest, widest)


@lru_cache(maxsize=2)
def _whole_by_balls(key: _PointKey, constants: Profile) -> dict[str, Evaluation]:
    point = key.point
    ops = BallArrays(FORMATS[point.dtype], constants)
    derivation = _without_narrow(point.derivation, FORMATS[point.dtype].precision < 24)
    given = {n: ops.given(v) for n, v in point.values.items()} | {derivation.rate: ops.given(point.rate)}

    def size(value: Any) -> float:
        balls = value.values.ravel()
        return math.inf if any(b.specials & 8 for b in balls) else sum(float(b.radius.upper()) for b in balls)

    def most(values: Sequence[Any], forms: Sequence[Form]) -> Any:
        found = np.empty(values[0].shape, dtype=object)
        for index in np.ndindex(found.shape):
            found[index] = widest_ball([v.values[index] for v in values])
        return BallArray(ops, found)

    return _programs(derivation, ops, given, lambda v, _: min(v, key=size), most)


def _programs(
    derivation: Derivation, ops: Any, given: Mapping[str, Any], least: Chooser, most: Chooser
) -> dict[str, Evaluation]:
    """Whole programs: the sharpest form at every equation; the first of each, the second, …; and any mixture of forms.

    The last of them, the widest, has in every component the largest allowance of any form. Allowances grow with those
    of their operands, so whatever forms a program takes, here one and there another, it is within the widest; what is
    outside of that deviates, and that is a proof. The others come first because they say more.
    """
    count = max(len(e.forms) for e in derivation.equations)
    choosers = {"sharpest": least, **{f"program {i + 1}": _at(i) for i in range(count)}, "widest": most}
    return {name: Evaluation(derivation, ops, given, choose) for name, choose in choosers.items()}


def _at(number: int) -> Chooser:
    return lambda values, _: values[min(number, len(values) - 1)]


@lru_cache(maxsize=64)
def _without_narrow(key: Key, narrow: bool) -> Derivation:
    """The derivation with only the forms that matter in this format."""
    from dataclasses import replace

    derivation = derivation_of(key)
    if narrow:
        return derivation
    equations = tuple(replace(e, forms=tuple(f for f in e.forms if not f.narrow)) for e in derivation.equations)
    return replace(derivation, equations=equations)


def _size(value: RoundedArray) -> float:
    """The allowance of a tensor as one number; infinite where a component may be anything."""
    if value.lost or (value.specials is not None and bool((value.specials & 8).any())):
        return math.inf
    return float(np.sum(value.radii()))


def sharpest(values: Sequence[RoundedArray], forms: Sequence[Form]) -> RoundedArray:
    """The value of the form with the smallest allowance; forms that may overflow set aside where another cannot."""
    steady = [v for v in values if v.specials is None and not v.lost] or list(values)
    return _admitting(min(steady, key=_size), values)


def widest(values: Sequence[RoundedArray], forms: Sequence[Form]) -> RoundedArray:
    """In every component the largest allowance of the forms that are known there."""
    known = [v for v in values if not v.lost]
    if len(known) < 2:
        return _admitting(known[0] if known else values[0], values)
    first = known[0]
    radius, spread = np.zeros(first.shape), np.zeros(first.shape)
    specials = None if first.specials is None else first.specials.copy()
    for v in known:
        unknown = np.False_ if v.specials is None else (v.specials & ANYTHING) != 0
        radius = np.maximum(radius, np.where(unknown, 0.0, v.radii()))
        if v.spread is not None:
            spread = np.maximum(spread, np.where(unknown, 0.0, v.spread))
        if specials is not None and v.specials is not None:
            specials = np.where((specials & ANYTHING != 0) & ~unknown, v.specials, specials)
    kinks = spread if any(v.spread is not None for v in known) else None
    return _admitting(RoundedArray(first.arithmetic, first.mid, radius, kinks, specials), values)


def _admitting(chosen: RoundedArray, values: Sequence[RoundedArray]) -> RoundedArray:
    """The chosen value, infinite or NaN only where every form may be (hypothesis 7)."""
    if chosen.specials is None or any(v.specials is None and not v.lost for v in values):
        specials = None
    else:
        specials = chosen.specials
        for v in values:
            if v.specials is not None:
                unknown = (v.specials & 8) != 0
                specials = np.where(unknown, specials, specials & (v.specials | 8)).astype(np.uint8)
    return RoundedArray(chosen.arithmetic, chosen.mid, chosen.radius, chosen.spread, specials, chosen.lost)


def _norm_of(equation: Equation, evaluation: Evaluation) -> float | None:
    """The 2-norm of what a quantity's accuracy is measured by, where it is not the quantity itself."""
    if equation.against is None:
        return None
    operands = [evaluation[o].high for o in equation.against.operands]
    return norm(np.asarray(equation.against.formula(PLAIN, *operands)))


# Step -----------------------------------------------------------------------------------------------------------------


class Step:
    """What each reported quantity may be, by each of its equation's forms on the other reported values."""

    def __init__(self, point: Point, constants: Profile, reported: Values) -> None:
        self.point, self.constants, self.reported = point, constants, reported
        self.target = FORMATS[point.dtype]
        self.arrays = RoundedArrays(self.target, constants)
        self.derivation = _without_narrow(point.derivation, self.arrays.narrow)
        # Up to 24 bits every number of the format is a float32: half the memory, and products at twice the speed.
        type_ = np.float64 if self.target.precision > 24 else np.float32
        self.known: Values = {
            n: np.asarray(v, dtype=type_) if np.ndim(v) else v
            for n, v in {**point.values, self.derivation.rate: point.rate, **reported}.items()
        }
        self.given: dict[str, RoundedArray] = {}
        self.balls = BallArrays(self.target, constants)

    def judge(self, name: str, got: NDArray[Any], half_ulp: bool) -> Judgement:
        """The judgement of one reported quantity; `half_ulp` takes reported operands as known to half an ulp only."""
        equation = self.derivation.by_name[name]
        forms = [form for form in equation.forms if not form.tangent]
        absent = next((o for form in forms for o in form.operands if o not in self.known), None)
        if absent is not None:
            return _unresolved(got, f"the trace lacks {absent}")
        try:
            screens, against = self._screened(equation, forms, got, half_ulp)
            return judge_array(got, screens, self.target, self._adjudicator(equation, forms, half_ulp), against)
        except OutOfRange as error:
            if self._ball_work(equation, forms, got) > BALL_MOST:
                return _unresolved(got, str(error))
            return self._by_balls(equation, forms, got, half_ulp)

    def _screened(
        self, equation: Equation, forms: Sequence[Form], got: NDArray[Any], half_ulp: bool
    ) -> tuple[list[Screen], float | None]:
        """Screens of the forms, in order, up to the first that accepts; and the norm that vacuity is measured by."""
        screens: list[Screen] = []
        against = 0.0
        for form in forms:
            screen = Screen(form.name, self.target, got.shape)
            for start, block, part in _blocks(equation, got):
                operands = self._operands(equation, form, half_ulp, block)
                screen.add(part, form.formula(self.arrays, *operands), start)
                if equation.against is not None and not screens:
                    known = dict(zip(form.operands, operands, strict=True))
                    scale = equation.against.formula(PLAIN, *[known[o].high for o in equation.against.operands])
                    against = math.hypot(against, norm(np.asarray(scale)))
            screens.append(screen)
            if screen.settles:
                break
        return screens, None if equation.against is None else against

    def _operands(self, equation: Equation, form: Form, half_ulp: bool, block: slice | None) -> list[RoundedArray]:
        """What a form reads, or a block of it."""
        values = [self.known[o] for o in form.operands]
        if block is not None:
            assert equation.rows is not None
            values = equation.rows(block, values)
        return [
            self.arrays.reported(v) if self._doubted(o, half_ulp) else self._given(o, v)
            for o, v in zip(form.operands, values, strict=True)
        ]

    def _doubted(self, name: str, half_ulp: bool) -> bool:
        """Whether an operand is known to half an ulp only."""
        return half_ulp and name in self.reported

    def _read(self, arithmetic: Any, form: Form, values: Sequence[Any], half_ulp: bool) -> list[Any]:
        """What a form reads, as an arithmetic's values."""
        return [
            arithmetic.reported(v) if self._doubted(o, half_ulp) else arithmetic.given(v)
            for o, v in zip(form.operands, values, strict=True)
        ]

    def _given(self, name: str, value: Any) -> RoundedArray:
        """Numbers known exactly, lifted once for all equations that read them; weights each time, to save memory."""
        if value is not self.known[name] or np.size(value) > 2 * BLOCK:
            return self.arrays.given(value)
        if name not in self.given:
            self.given[name] = self.arrays.given(value)
        return self.given[name]

    def _alike(self, forms: Sequence[Form], got: NDArray[Any]) -> bool:
        """Whether all operands have the result's shape: all components together cost no more than each alone."""
        return all(np.shape(self.known[o]) in ((), got.shape) for form in forms for o in form.operands)

    def _ball_work(self, equation: Equation, forms: Sequence[Form], got: NDArray[Any]) -> int:
        """How many numbers a judgement by balls alone reads."""
        of_one = sum(len(f.operands) for f in forms)
        return got.size * (of_one if self._alike(forms, got) else self._operands_of_one(equation, forms, got))

    def _operands_of_one(self, equation: Equation, forms: Sequence[Form], got: NDArray[Any]) -> int:
        """How many numbers one component depends on."""
        assert equation.part is not None
        parts, _ = equation.part((0,) * got.ndim, [self.known[o] for o in forms[0].operands])
        return sum(np.size(p) for p in parts)

    def _adjudicator(self, equation: Equation, forms: Sequence[Form], half_ulp: bool) -> Adjudicator:
        by_name = {form.name: form for form in forms}
        wide: dict[tuple[str, Index], Rounded] = {}  # of double words, which have one precision

        def adjudicate(form_name: str, index: Index) -> Rounded:
            assert equation.part is not None
            form = by_name[form_name]
            values = [self.known[o] for o in form.operands]
            if equation.part is elementwise:  # in the arithmetic of single numbers: faster than that of their arrays
                numbers = [float(v[index] if np.ndim(v) else v) for v in values]
                single: Rounded = form.formula(self.balls.balls, *self._read(self.balls.balls, form, numbers, half_ulp))
                return single
            parts, local = equation.part(index, values)
            operands = sum(np.size(p) for p in parts)
            if operands > BALL_OPERANDS:
                if (form_name, index) not in wide:
                    arrays = RoundedArrays(self.target, self.constants, exact=True)
                    given = self._read(arrays, form, parts, half_ulp)
                    try:
                        wide[form_name, index] = _component(form.formula(arrays, *given), local)
                    except OutOfRange:
                        if operands > BALL_MOST:
                            raise
                if (form_name, index) in wide and (
                    operands > BALL_MOST or not wide[form_name, index].specials & ANYTHING
                ):
                    return wide[form_name, index]
            found: Rounded = form.formula(self.balls, *self._read(self.balls, form, parts, half_ulp)).values[local]
            return found

        return adjudicate

    def _by_balls(self, equation: Equation, forms: Sequence[Form], got: NDArray[Any], half_ulp: bool) -> Judgement:
        """The judgement by balls alone, for numbers that double words do not hold."""
        adjudicate = self._adjudicator(equation, forms, half_ulp)

        def components(form: Form) -> list[Rounded]:
            if not self._alike(forms, got):
                return [adjudicate(form.name, i) for i in np.ndindex(got.shape)]
            operands = self._read(self.balls, form, [self.known[o] for o in form.operands], half_ulp)
            return list(form.formula(self.balls, *operands).values.ravel())

        with precision(4 * FIRST_PRECISION):
            candidates = [Candidate(form.name, components(form)) for form in forms]
            return judge([float(v) for v in got.reshape(-1)], candidates, self.target)


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
        "undecided", value, None, None, None, None, None, None, None, None, None, None, 0, f"operands: {why}"
    )
