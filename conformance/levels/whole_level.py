"""The whole level: what each quantity may be from the case's inputs alone, by one program after the other.

Numbers and the smallest tensors are judged by balls, whose precision is raised. Others are judged by arrays of double
words, and small ones by balls where double words do not hold what is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from flint import arb, ctx
from numpy.typing import NDArray

from gradconform.adapters.contract import Stencil
from gradconform.conformance.conventions import ASKED
from gradconform.conformance.levels.in_balls import Reference, decide
from gradconform.conformance.levels.shared import KEPT, accepted, bits_of, unresolved
from gradconform.reference.arithmetic.arrays import RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.ball_arrays import BallArrays
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import FLOAT32, FORMATS
from gradconform.reference.arithmetic.midpoints import Array, OutOfRange
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.arithmetic.rounded import Remembering, Rounded, Sums
from gradconform.reference.array_judge import Index, Screen, component, judge_array, standings_of
from gradconform.reference.cases import Point
from gradconform.reference.cases import derivation as derivation_of
from gradconform.reference.components import Indices
from gradconform.reference.derivations.choosers import (
    OF_ARRAYS,
    OF_BALL_ARRAYS,
    OF_NUMBERS,
    Chooser,
    Choosers,
    nth,
    stable,
    widest,
)
from gradconform.reference.derivations.plain import PLAIN
from gradconform.reference.derivations.stencils import allowed, quotients
from gradconform.reference.equations import Derivation, Equation, Evaluation
from gradconform.reference.judge import FIRST_PRECISION, Candidate, Judgement
from gradconform.reference.outcomes import Outcome, apart

#: Work (see `_work`) up to which a whole network is evaluated in balls, where double words do not do; its precision.
BALL_WORK, BALL_PRECISION = 50_000, 320
#: And up to which balls come first: an operation of arrays, of however few elements, takes as long as ten of balls.
FEW = 64


class WholeLevel:
    """What each quantity of an answer may be from the inputs alone; of difference quotients by their `stencil`."""

    def __init__(
        self, point: Point, constants: Profile, conventions: tuple[str, ...] = (), stencil: Stencil | None = None
    ) -> None:
        self.point, self.constants, self.stencil = point, constants, stencil
        self.target = FORMATS[point.dtype]
        self.derivation = derivation_of(point.derivation)
        self.programs = programs_at(point, constants, conventions)

    def truth(self, name: str) -> Array:
        """The exact values of a quantity, in float64. Raises OutOfRange where double words do not hold a tensor's."""
        if not self.derivation.of_numbers:
            return np.asarray(self.programs.in_arrays[0].evaluation[name].high)
        with precision(FIRST_PRECISION):
            return np.asarray(float(self.programs.in_balls[0].evaluation[name].exact.mid()))

    def judge(self, name: str, got: NDArray[Any]) -> Judgement:
        """The judgement of what was got of a quantity; routes report the same numbers as a rule."""
        if self._by_stencil(name) or got.size > KEPT:
            return self._judged(name, got)
        key, kept = (name, bits_of(got)), self.programs.judged
        if key not in kept:
            kept[key] = self._judged(name, got)
        return kept[key]

    def _by_stencil(self, name: str) -> bool:
        """Whether a quantity follows from difference quotients."""
        return self.stencil is not None and name != self.derivation.loss

    def _judged(self, name: str, got: NDArray[Any]) -> Judgement:
        if self.derivation.of_numbers or _work(self.derivation) <= FEW:
            return self._by_balls(name, got, None)
        values: dict[str, RoundedArray] = {}
        screens: list[Screen] = []
        try:
            programs = self.programs.in_arrays
            truth = programs[0].evaluation[name]
            against = _magnitude(self.derivation.by_name[name], programs[0].evaluation)
            for program in programs:
                values[program.name] = program.evaluation[name]
                screen = Screen(program.name, self.target, got.shape, program.instead)
                screen.add(got, values[program.name], 0, truth, against)
                screens.append(screen)
                if screen.accepts:
                    break  # the sharpest comes first: no other says more
        except OutOfRange as error:
            if _work(self.derivation) > BALL_WORK:
                return unresolved(got, str(error))
            return self._by_balls(name, got, BALL_PRECISION)
        known = _OfPrograms(values, truth)
        return judge_array(got, screens, self.target, known, None, FIRST_PRECISION, True, known)

    def _by_balls(self, name: str, got: NDArray[Any], bits: int | None) -> Judgement:
        reference = self._of_stencil if self._by_stencil(name) else self._of_programs
        return decide([float(v) for v in got.reshape(-1)], lambda: reference(name), self.target, bits)

    def _of_programs(self, name: str) -> Reference:
        programs = self.programs.in_balls
        first = programs[0].evaluation
        candidates = (Candidate.of_values(p.name, _balls(p.evaluation[name]), p.instead) for p in programs)
        return Reference(candidates, _balls(first[name]), self._against(name, first), nested=True)

    def _against(self, name: str, evaluation: Evaluation) -> list[arb] | None:
        """The exact magnitudes that a quantity's accuracy is measured by, where they are not its own."""
        form = self.derivation.by_name[name].against
        return None if form is None else [abs(x.exact) for x in _balls(evaluation.form(form))]

    def _of_stencil(self, name: str) -> Reference:
        """A difference quotient has a single program, and its updated weight the one that starts with that."""
        assert self.stencil is not None
        evaluation = self.programs.with_quotients(self.stencil)
        found = _balls(evaluation[name])
        return Reference([Candidate.of_values("stencil", found)], found, self._against(name, evaluation))


def _given(point: Point, ops: Any) -> dict[str, Any]:
    rate = derivation_of(point.derivation).rate
    return {**{n: ops.given(v) for n, v in point.values.items()}, rate: ops.given(point.rate)}


def _balls(value: Any) -> list[Rounded]:
    """The components of a number or of an array of balls."""
    return [value] if isinstance(value, Rounded) else list(value.values.ravel())


def _work(derivation: Derivation) -> int:
    """Components of all weights' gradients times the batch: what a pass over the network in balls takes."""
    batch = derivation.by_name["z1"].shape[0]
    return batch * sum(math.prod(derivation.by_name[g].shape) for g in derivation.gradient.values())


def _magnitude(equation: Equation, evaluation: Evaluation) -> Array | None:
    """What a tensor's accuracy is measured by, where it is not the tensor itself."""
    if equation.against is None:
        return None
    operands = [evaluation[o].high for o in equation.against.operands]
    return np.asarray(equation.against.formula(PLAIN, *operands))


@dataclass(frozen=True)
class _OfPrograms:
    """Components of whole programs, as far as double words know them."""

    values: Mapping[str, RoundedArray]
    of_truth: RoundedArray

    def outcomes(self, form: str, index: Index) -> tuple[Outcome, ...]:
        return apart(component(self.values[form], index))

    def truth(self, index: Index) -> Rounded:
        return component(self.of_truth, index)

    def broken(self, index: Index) -> bool:
        return False

    def standings(self, form: str, numbers: Indices, got: NDArray[Any]) -> NDArray[np.int8]:
        value = self.values[form]
        return standings_of(value, numbers, got, Screen.margin(value.arithmetic.mids))

    def broken_among(self, numbers: Indices) -> bool:
        return False


# Programs -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Program:
    """A way through all equations: which form it takes at each; `instead`, where unstable ones are among them."""

    name: str
    evaluation: Evaluation
    instead: str = ""


class PointKey:
    """A point as a key of the cache, arrays by their identity."""

    def __init__(self, point: Point) -> None:
        self.point = point
        values = tuple((n, id(v) if np.ndim(v) else v) for n, v in point.values.items())
        self.key = (point.derivation, point.dtype, point.rate, values)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PointKey) and self.key == other.key


class Programs:
    """The whole programs at a point; see `_programs`."""

    def __init__(self, key: PointKey, constants: Profile, conventions: tuple[str, ...]) -> None:
        self.point, self.constants, self.conventions = key.point, constants, conventions
        #: What was judged by them: the name and the bits of what was got.
        self.judged: dict[tuple[str, object], Judgement] = {}
        #: What was judged at the step level, by the scale of adjoints; see `StepLevel`.
        self.steps: dict[Fraction | None, dict[object, Judgement]] = {}
        self._in_balls: dict[int, tuple[Program, ...]] = {}
        self._truths: dict[int, Evaluation] = {}
        self._of_stencil: tuple[object, dict[int, Evaluation]] | None = None

    @cached_property
    def in_arrays(self) -> tuple[Program, ...]:
        """Of tensors, in double words."""
        target = FORMATS[self.point.dtype]
        arithmetic = lambda sums: RoundedArrays(target, self.constants, exact=True, sums=sums)  # noqa: E731
        return _programs(self.point, self.conventions, arithmetic, OF_ARRAYS)

    @property
    def in_balls(self) -> tuple[Program, ...]:
        """At the precision of the context."""
        if ctx.prec not in self._in_balls:
            self._in_balls[ctx.prec] = _programs(self.point, self.conventions, *self._arithmetic_of_balls())
        return self._in_balls[ctx.prec]

    def with_quotients(self, stencil: Stencil) -> Evaluation:
        """What the quantities may be where the gradients are difference quotients, at the precision of the context.

        Every stencil starts from the same values of the quantities; of the last one the quotients are kept, too.
        """
        points = [(w, *map(float, at)) for w, at in stencil.points.items()]
        key = stencil.kind, float(stencil.h), [float(c) for c in stencil.coefficients], points
        if self._of_stencil is None or self._of_stencil[0] != key:
            self._of_stencil = key, {}
        kept = self._of_stencil[1]
        if ctx.prec not in kept:
            derivation = derivation_of(self.point.derivation)
            if ctx.prec not in self._truths:
                ops = Remembering(FORMATS[self.point.dtype], self.constants)
                self._truths[ctx.prec] = Evaluation(derivation, ops, _given(self.point, ops), widest)
            truth = self._truths[ctx.prec]
            by_parameter = quotients(truth, stencil)
            found = {g: allowed(truth[g], by_parameter[w]) for w, g in derivation.gradient.items()}
            kept[ctx.prec] = truth.moved(found)
        return kept[ctx.prec]

    def _arithmetic_of_balls(self) -> tuple[Callable[[Sums], Any], Choosers]:
        target, constants = FORMATS[self.point.dtype], self.constants
        if derivation_of(self.point.derivation).of_numbers:
            return (lambda sums: Remembering(target, constants, sums)), OF_NUMBERS
        return (lambda sums: BallArrays(target, constants, Remembering(target, constants, sums))), OF_BALL_ARRAYS


#: Routes of one task share the programs at its point, and what was judged there. Those of large tensors take much
#: memory.
_OF_NUMBERS, _OF_TENSORS = (lru_cache(maxsize=size)(Programs) for size in (8, 2))


def programs_at(point: Point, constants: Profile, conventions: tuple[str, ...] = ()) -> Programs:
    """The whole programs at a point, kept for the next that asks for them."""
    kept = _OF_NUMBERS if derivation_of(point.derivation).of_numbers else _OF_TENSORS
    return kept(PointKey(point), constants, conventions)


def forget() -> None:
    """Drop what is kept of points: whole programs, and judgements at both levels."""
    _OF_NUMBERS.cache_clear()
    _OF_TENSORS.cache_clear()


def _programs(
    point: Point, conventions: tuple[str, ...], arithmetic: Callable[[Sums], Any], of: Choosers
) -> tuple[Program, ...]:
    """Whole programs: the sharpest form at every equation; the first of each, the second, …; and any mixture of forms.

    The widest has in every component the largest allowance of any form. Allowances grow with those of their operands,
    so whatever forms a program takes, here one and there another, it is within the widest; with the textbook's unstable
    ones among them, and with every infinity that one of them may meet, within the last. What is outside of that
    deviates, and that is a proof. The others come first because they say more: a 16-bit sum is accumulated in float32
    in them. Of numbers there are no such sums, and the widest says as much as they would. Forms that conventions ask
    for are in the widest ones that follow the widest without them.
    """
    target, derivation = FORMATS[point.dtype], derivation_of(point.derivation)
    usual, asking = accepted(derivation, target), accepted(derivation, target, conventions)

    def evaluation(derivation: Derivation, choose: Chooser, sums: Sums) -> Evaluation:
        ops = arithmetic(sums)
        return Evaluation(derivation, ops, _given(point, ops), choose)

    def found() -> Iterator[Program]:
        yield Program("sharpest", evaluation(usual, stable(of.sharpest), "wide"))
        count = 0 if derivation.of_numbers else max(sum(not f.unstable for f in e.forms) for e in usual.equations)
        for i in range(min(count, 3)):
            yield Program(f"program {i + 1}", evaluation(usual, stable(nth(i)), "wide"))
        yield Program("widest", evaluation(usual, stable(of.widest), "any"))
        for c in conventions if target.precision < FLOAT32.precision else ():
            yield Program(f"widest, {ASKED[c]}", evaluation(asking, stable(of.widest), "any"))
        yield Program(
            "widest, unstable programs too", evaluation(asking, of.widest, "any"), "a stable program at every equation"
        )
        yield Program("widest, overflow included", evaluation(asking, of.overflowing, "any"))

    return tuple(found())
