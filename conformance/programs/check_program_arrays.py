"""A recorded run before the judge, whole arrays at a time: what `check_program` says, for programs of any size.

The truth and the program without rounding are balls in double words; what may be returned is held in the array
arithmetic. A component near its allowance is put to balls where the part of the program that it depends on is small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial, reduce
from itertools import chain
from typing import Any

import numpy as np
from flint import arb
from numpy.typing import NDArray

from gradconform.conformance.programs import equal_order, together
from gradconform.conformance.programs.equal_order import EqualOrder, Places
from gradconform.reference.arithmetic.arrays import RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.exact import to_float
from gradconform.reference.arithmetic.formats import FLOAT32, Format
from gradconform.reference.arithmetic.midpoints import Double, DoubleArray, OutOfRange
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.arithmetic.rounded import (
    ANYTHING,
    NAN,
    NEGATIVE,
    POSITIVE,
    ZERO,
    Rounded,
    RoundedBalls,
    Sums,
)
from gradconform.reference.array_judge import ASKED, Index, Screen, judge_array, norm, standings_of
from gradconform.reference.components import Indices
from gradconform.reference.judge import FORMULA, Formula, Judgement, noted, text_of, ulp_error
from gradconform.reference.outcomes import BranchingBalls, Choices, Outcome, Special, apart
from gradconform.reference.programs import words
from gradconform.reference.programs.array_allowance import ArrayAllowed
from gradconform.reference.programs.array_exact import ArrayExact
from gradconform.reference.programs.array_tangents import push
from gradconform.reference.programs.beside import beside
from gradconform.reference.programs.cancelled import cancelled
from gradconform.reference.programs.record import STOPPED, Record, Step, Taken, every
from gradconform.reference.programs.run import Run
from gradconform.reference.programs.words import Words

#: Precision in which what the arrays hold is read as balls.
BITS = 160
#: Operations on single numbers from which arrays are faster than balls (a program's break even at 250 to 700), and from
#: which balls are not asked any more where digits are lost.
FASTER, IN_ARRAYS = 500, 1_500
#: Of a truth that is known to so many bits what is left is no set.
SHARP = 40
#: Operations on single numbers up to which the condition of what has lost its digits is computed.
CONDITIONED = 3_000_000
#: Bits beyond those of the tensor's largest number to which a derivative must be known that vanishes beside it. p + 3
#: bits are an eighth of a rounding of a number: of one of the largest number that is 3, and 13 more are asked, so that
#: nothing wrong hides that is more than 2^-16 of what the execution is allowed. Of the 102 bits of double words this
#: leaves float64 33 for what sums lose; correct programs with vanishing components were seen to use at most 11.
VANISHING = 16


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


def work(run: Run) -> int:
    """How many operations on single numbers a run takes, forward and backward."""
    return sum(s.work() for s in run.backward.steps)


def fits(run: Run) -> bool:
    """Whether a run is one for arrays: large enough, and without equations to be solved."""
    return work(run) >= FASTER and not any(s.implicit for s in (*run.defined.record.steps, *run.backward.steps))


def one_record(run: Run) -> bool:
    """Whether the backward record goes on from the forward one."""
    forward = run.forward.steps
    return run.backward.steps[: len(forward)] == forward


#: The relations of decisions, as NumPy has them.
_COMPARED: Mapping[str, Callable[..., NDArray[np.bool_]]] = {
    "gt": np.greater, "ge": np.greater_equal, "lt": np.less, "le": np.less_equal, "eq": np.equal, "ne": np.not_equal,
}  # fmt: skip


def chosen_by_subnormals(run: Run) -> bool:
    """Whether a run chose by a number that hardware may flush to 0, and would choose otherwise by 0 (hypothesis 5)."""
    held, least = run.backward.held, max(2.0**argument.format.emin for argument in run.judged)
    for relation, compared in _COMPARED.items():
        for by, left, right in run.backward.decisions.blocks():
            if by == relation:
                seen = held[left], held[right]
                flushed = [np.where(np.abs(side) < least, 0.0, side) for side in seen]
                if not np.array_equal(compared(*seen), compared(*flushed)):
                    return True
    return False


def decided_by_rounding(run: Run, program: ArrayExact) -> bool:
    """Whether numbers that the run computed were equal, or not, by their rounding alone: another branch is the
    program's then."""
    record, relations = run.backward, ("eq", "ne")
    none = np.zeros(0, np.int64)
    pairs = [(left, right) for by, left, right in record.decisions.blocks() if by in relations]
    sides = [np.concatenate([none, *(pair[side] for pair in pairs)]) for side in (0, 1)]
    left, right = (program.values.copied(ids) for ids in sides)
    held = [record.held[ids] for ids in sides]
    off, gap = left.radius[0] + right.radius[0], np.abs(words.apart(left, right))
    apart = gap > off * words.ENLARGED + gap * 2.0**-50
    same = (gap == 0) & (off == 0)
    shown = np.isfinite(held[0]) & np.isfinite(held[1])
    return bool((shown & np.where(held[0] == held[1], apart, same)).any())


class Truths:
    """The derivative over the forward record, in the run's mode; and the backward record without rounding.

    `flush` says whether the framework may flush subnormal numbers to 0 (hypothesis 5). They are known to some 44 bits
    where they are asked for as `blunt`, of which formulas of at most 24 bits can be right.
    """

    def __init__(self, run: Run, decided: int, flush: bool = True, blunt: bool = False) -> None:
        self.run, self.decided, self.flush = run, decided, flush
        true, goes_on = run.defined, run.definition is None and one_record(run)
        exact = ArrayExact(run.backward if goes_on else true.record, blunt=blunt).evaluate()
        self.truth = _derivative(run, exact, true.record.steps)
        self.ties = exact.ties
        other = _by_other_branches(run, exact)
        program = exact if goes_on else ArrayExact(run.backward, blunt=blunt).evaluate()
        self.program = [program.values.copied(ids) for ids in run.results]
        self.astray = decided_by_rounding(run, program)
        #: The components that are the derivative by another branch than the one taken, which is then their truth; and
        #: those of which that is left to balls.
        self.aside, self.odd = (
            [np.zeros(x.shape, bool) for x in self.truth],
            [np.zeros(x.shape, bool) for x in self.truth],
        )
        for number, by in enumerate(other or ()):
            self._beside(number, by)
        #: The gradients that are in their sets of slopes, and wrong since these do not go together.
        self.torn: set[int] = set()
        #: Whether what the program takes of the slopes at ties goes together, as far as one direction shows that.
        self.together = True
        if self.ties and run.mode == "reverse" and not any(x.any() for x in self.aside):
            self.together = together.in_arrays(run, exact, self.program)
        self.order = EqualOrder(run)
        #: Whether a number stands at the edge of a mask, and something was excused by that.
        self.at_edge = False
        #: By the number of a gradient that was asked for, the components of which the worst is to be said.
        self.worst: dict[int, Indices] = {}

    def formula(self, number: int) -> tuple[Formula, float]:
        """The worst that is to be said of a gradient's components, and to how many bits; see `check_program.Truth`."""
        if not self.truth[number].high.size:
            return "right", math.inf
        said, sure = self.formulas(number)
        self.worst[number] = np.flatnonzero(said == said.min())
        return FORMULA[int(said.min())], float(sure.min())

    def formulas(self, number: int, alone: bool = False) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """What is to be said of each component, as its place in FORMULA, and to how many bits.

        A component is seen beside the tensor's largest, unless each is asked `alone`.
        """
        truth, program = self.truth[number], self.program[number]
        format = self.run.judged[number].format
        with np.errstate(all="ignore"):
            gap = np.abs(words.apart(truth, program))
            off = truth.radius + program.radius
            known = np.isfinite(gap) & np.isfinite(off).all(axis=0)
            touch = gap <= off * words.ENLARGED + gap * 2.0**-50
            size = np.abs(truth.high)
            beside = 0.0 if alone else float(np.where(known, size, 0.0).max()) * 2.0**-format.precision
            needed = np.where(size < beside, VANISHING, format.precision + 3)
            size = np.maximum(np.maximum(size, beside), 2.0 ** (format.emin - format.precision + 1))
            zero = known & (np.abs(truth.high) <= truth.radius[0]) & (off[0] > 0)
            terms = cancelled(self.run.backward, self.run.results[number], np.flatnonzero(zero).tolist())
            needed = np.where(terms > size, format.precision + 3, needed)
            size = np.maximum(size, terms)
            bits = _bits(size, off[0])
            # The program with the very literals that were read may be the derivative with these, to so many bits; or
            # whatever the literals stand for.
            steady = _bits(size, program.radius[1] + (0.0 if self.ties else truth.radius[1]))
            steady = np.maximum(steady, _bits(size, gap + off[0]))
            if self.run.definition is not None:  # an approximation that is meant
                agreed = agreement(self.run, format)
                near = known & (_bits(size, gap + off[0]) >= agreed)
                if self.run.defined.ulps:  # of what cancels the ulps are its terms'
                    left = np.flatnonzero(known & ~touch[1] & ~near)
                    terms = cancelled(self.run.backward, self.run.results[number], left.tolist())
                    near |= known & (_bits(terms, gap + off[0]) >= agreed)
                touch = touch | near
        vague = ~known | (bits < needed) | (steady < np.minimum(needed, self.decided))
        flushed = self.flush and not (touch[1].all() and self.together) and chosen_by_subnormals(self.run)
        wrong: Formula = "unknown" if flushed or self.astray else "wrong"
        said = np.select(
            [
                ~known | (~touch[1] & self.odd[number]),
                ~touch[1],
                vague,
                (~touch[0] & bool(self.ties)) | self.aside[number],
            ],
            [FORMULA.index(f) for f in ("unknown", wrong, "unknown", "kink" if self.together else wrong)],
            FORMULA.index("right"),
        )
        if not self.together and touch[1].all():
            self.torn.add(number)
        if self.order.tied.size and (self.together or not self.order.own):  # see `check_program.Truth.formula`
            wrongs = np.flatnonzero(said == FORMULA.index("wrong")).tolist()
            excused = np.zeros(said.shape, bool)
            excused.reshape(-1)[[c for c in wrongs if self.order.excuses(number, c, self._alike)]] = True
            said = np.where(excused, FORMULA.index("unknown"), said)
            # In the order of the program this is its derivative, as far as anybody knows.
            self.truth[number] = words.where(excused, program, truth)
        wrongly = said == FORMULA.index("wrong")
        if wrongly.any():
            jumps = wrongly & self._jumps(number)
            self.at_edge |= bool(jumps.any())
            said = np.where(jumps, FORMULA.index("unknown"), said)
        sure = np.where(said == FORMULA.index("wrong"), np.inf, np.where(bits < needed, bits, steady))
        return said, np.where(known, sure, -np.inf)

    @cached_property
    def wide(self) -> list[Words] | None:
        """The derivative over all between the two numbers of a choice that is a tie; None where none jumps."""
        exact = ArrayExact(self.run.defined.record, jumps=True).evaluate()
        return _derivative(self.run, exact, self.run.defined.record.steps) if exact.jumped else None

    @cached_property
    def perhaps(self) -> bool:
        """Whether a branch was perhaps taken since numbers were equal, or beside equal ones a mask has an edge: balls
        are asked then."""
        of = self.run.defined
        if self.run.mode == "value":
            return False
        other = beside(of.record, of.arguments)
        jumps = other is not None and ArrayExact(other, jumps=True).evaluate().jumped
        return jumps or beside(of.record, of.arguments, perhaps=True) is not None

    def _jumps(self, number: int) -> Any:
        """Which components may be the derivative on the other side of an edge; see `check_program.Truth`."""
        if self.order.at_edge or self.wide is None or self.perhaps:
            return self.order.at_edge or self.perhaps
        wide, program = self.wide[number], self.program[number]
        with np.errstate(all="ignore"):
            gap, reach = _apart(wide, program)
            return ~(gap > reach)

    def _alike(self, places: Places) -> bool:
        """Whether some components have together what those of the truth have."""
        truth, program = (self._sum(of, places) for of in (self.truth, self.program))
        gap, reach = _apart(truth, program)
        return not bool((gap > reach).any())

    @staticmethod
    def _sum(of: Sequence[Words], places: Places) -> Words:
        parts = []
        for number in dict.fromkeys(n for n, _ in places):
            x, at = of[number], [c for n, c in places if n == number]
            mid = DoubleArray(x.mid.hi.ravel()[at], x.mid.lo.ravel()[at])
            parts.append(words.total(Words(mid, x.radius.reshape(x.radius.shape[0], -1)[:, at])))
        return reduce(words.add, parts)

    def _beside(self, number: int, other: Words) -> None:
        """Take the derivative by the other branches where the program has that; see `other_branch`."""
        truth, program = self.truth[number], self.program[number]
        with np.errstate(all="ignore"):
            away, other_away = (_apart(x, program) for x in (truth, other))
            far = ~(away[0] <= away[1])
            met = far & (other_away[0] <= other_away[1])
            self.odd[number] = far & ~np.isfinite(other_away[0] + other_away[1])
        self.aside[number] = met
        self.truth[number] = words.where(met, other, truth)

    def centre(self, number: int, A: RoundedArrays) -> RoundedArray:
        """A truth as the judge reads it: numbers without a radius, or at ties the middle and half width of a set."""
        x = self.truth[number]
        with np.errstate(all="ignore"):
            width = x.radius[1] if self.ties else x.radius[0]
            known = np.isfinite(x.high) & np.isfinite(width)
            spread = np.where(known & (width > np.abs(x.high) * 2.0**-SHARP), width, 0.0)
        mid = Double.where(known, x.mid, Double.lift(np.zeros(())))
        return RoundedArray(
            A,
            mid if A.mids is Double else mid.hi,
            None,
            spread if spread.any() else None,
            None if known.all() else np.where(known, 0, ANYTHING).astype(np.uint8),
        )


def _apart(x: Words, y: Words, level: int = 1) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far apart the middles of balls are, and how far they may be for the balls to touch: the slopes of ties and
    what literals leave open included, unless the `level` is 0."""
    gap = np.abs(words.apart(x, y))
    return gap, (x.radius + y.radius)[level] * words.ENLARGED + gap * 2.0**-50


def _derivative(run: Run, exact: ArrayExact, forward: Sequence[Step]) -> list[Words]:
    """Of a function, in the run's mode, all tensors that are judged; of the values themselves, these."""
    true, of = run.defined, run.backward.held
    if run.mode == "value":
        return [exact.values.copied(ids) for ids in true.outputs]
    seeded = true.outputs if run.mode == "reverse" else true.arguments
    seeds = [(ids, of[c]) for ids, c in zip(seeded, run.cotangents, strict=True)]
    if run.mode == "reverse":
        return exact.pull(seeds, true.arguments, forward)
    return push(exact, seeds, true.outputs, forward)


def _by_other_branches(run: Run, exact: ArrayExact) -> list[Words] | None:
    """The derivative by the branches that were not taken where numbers were asked to be equal, and are; None where
    there are none, or the function does not go on continuously by them. What is not finite may or may not."""
    true = run.defined
    turned = None if run.mode == "value" else beside(true.record, true.arguments)
    if turned is None:
        return None
    other = ArrayExact(turned, blunt=exact.values.blunt).evaluate()
    for ids in true.outputs:
        x, y = other.values.copied(ids), exact.values.copied(ids)
        with np.errstate(all="ignore"):
            gap, reach = _apart(x, y, 0)
        if (gap > reach).any():
            return None
    return _derivative(run, other, turned.steps)


def agreement(run: Run, format: Format) -> float:
    """Leading bits to which a program agrees with a definition that it approximates, and is right."""
    ulps = run.defined.ulps
    return format.precision + 3 if not ulps else min(format.precision + 3, format.precision - 1 - math.log2(ulps))


def _bits(size: NDArray[np.float64], off: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leading bits to which something that is `off` is known."""
    return np.where(off > 0, np.log2(size) - np.log2(off), np.inf)


@dataclass
class Answers:
    """What the arrays say of one gradient's components, as balls: an adjudicator that knows no better."""

    format: Format
    profile: Profile
    truth: Words
    centre: RoundedArray
    forms: dict[str, RoundedArray] = field(default_factory=dict)
    exactly: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    balls: dict[str, Callable[[Index], tuple[Outcome, ...] | None]] = field(default_factory=dict)

    def outcomes(self, form: str, index: Index) -> tuple[Outcome, ...]:
        again = self.balls[form](index) if form in self.balls else None
        if again is not None:
            return again
        x, ops = self.forms[form], BranchingBalls(RoundedBalls(self.format, self.profile), Choices())
        odd = float(self.exactly[form][index])
        if not math.isfinite(odd):
            return (Special(ops, odd),)
        radius = float(x.radii()[index])
        exact = x.arithmetic.mids.ball(x.mid, index) + arb(0, radius * x.arithmetic.slack)
        specials = 0 if x.specials is None else int(x.specials[index])
        return apart(Rounded(ops, exact, arb(radius), specials))

    def truth_of(self, index: Index) -> Rounded:
        ops = RoundedBalls(self.format, self.profile)
        x = self.truth
        if self.broken(index):
            return Rounded(ops, ZERO, ZERO, ANYTHING)
        spread = 0.0 if self.centre.spread is None else float(self.centre.spread[index])
        middle = Double.ball(x.mid, index)
        if spread:
            return Rounded(ops, middle, ZERO, 0, arb(spread))
        return Rounded(ops, middle + arb(0, float(x.radius[(0, *index)])))

    def broken(self, index: Index) -> bool:
        return self.centre.specials is not None and bool(self.centre.specials[index])

    def standings(self, form: str, numbers: Indices, got: NDArray[np.float64]) -> NDArray[np.int8]:
        """As of `Together`."""
        x = self.forms[form]
        exactly = ~np.isfinite(self.exactly[form].reshape(-1)[numbers])
        if form in self.balls or exactly.any():
            return np.full(numbers.shape, ASKED, np.int8)
        return standings_of(x, numbers, got, Screen.margin(x.arithmetic.mids))

    def broken_among(self, numbers: Indices) -> bool:
        """As of `Together`."""
        return self.centre.specials is not None and bool(self.centre.specials.reshape(-1)[numbers].any())


class Adjudicator:
    """The answers under the names that the judge of arrays asks for."""

    def __init__(self, answers: Answers) -> None:
        self.outcomes, self.truth, self.broken = answers.outcomes, answers.truth_of, answers.broken
        self.standings, self.broken_among = answers.standings, answers.broken_among


class Condition:
    """A lower bound of the norm of a gradient's condition numbers, as `keeping.condition` has it."""

    def __init__(self, run: Run) -> None:
        self.run = run

    @cached_property
    def _exact(self) -> ArrayExact | None:
        steps = self.run.backward.steps
        if work(self.run) > CONDITIONED or any(step.function == STOPPED for step in every(steps)):
            return None
        return ArrayExact(self.run.backward).evaluate()

    def of(self, number: int, radii: NDArray[np.float64]) -> float | None:
        """Of the gradient of this number, whose components may be so far off."""
        exact, flat = self._exact, radii.ravel()
        length = norm(flat)
        if exact is None or not 0 < length < math.inf:
            return None
        largest = np.zeros(flat.size)
        largest[flat.argmax()] = 1.0
        return max(self._moved(exact, number, seeds) for seeds in (largest, flat / length))

    def _moved(self, exact: ArrayExact, number: int, seeds: NDArray[np.float64]) -> float:
        given = self.run.given
        adjoints = exact.pull([(self.run.results[number], seeds)], given)
        found = 0.0
        with np.errstate(all="ignore"):
            for ids, adjoint in zip(given, adjoints, strict=True):
                least = np.maximum(np.abs(adjoint.high) - adjoint.radius[0], 0.0) * np.abs(
                    exact.values.copied(ids).high
                )
                found += float(np.where(np.isfinite(least), least, 0.0).sum())
        return found


def judged(run: Run, profile: Profile, decided: int) -> Iterator[Found]:
    """What is said of every argument's gradient by every route. Raises OutOfRange where arrays do not hold a number."""
    truths = Truths(run, decided, profile.flush)
    formulas = [truths.formula(n) for n in range(len(run.judged))]
    pairs = [(n, route) for n in range(len(run.judged)) for route in run.answers]
    screens: dict[tuple[int, str], list[Screen]] = {p: [] for p in pairs}
    answers: dict[int, Answers] = {}
    wide = any(a.format.precision > FLOAT32.precision for a in run.judged)
    for name, sums, form in chain(programs(run), mixed_programs(run, profile)):
        left = [p for p in pairs if not (screens[p] and screens[p][-1].settles)]
        if not left:
            break
        allowed = ArrayAllowed(run.backward, profile, sums, form, wide=wide).evaluate()
        for number in dict.fromkeys(n for n, _ in left):
            argument = run.judged[number]
            A = allowed.arithmetics[argument.format.name]
            value, exactly = result(allowed, run.results[number], A)
            centre = truths.centre(number, A)
            of = answers.setdefault(number, Answers(argument.format, profile, truths.truth[number], centre))
            of.forms[name], of.exactly[name] = value, exactly
            for route in (r for n, r in left if n == number):
                got = np.asarray(run.answers[route][number], dtype=np.float64)
                screen = Screen(name, argument.format, got.shape)
                if got.size:
                    screen.add(got, value, 0, centre)
                screens[number, route].append(screen)
        del allowed
    condition = Condition(run)
    for number, route in pairs:
        got = np.asarray(run.answers[route][number], dtype=np.float64)
        argument, said = run.judged[number], answers[number]
        kappa = partial(condition.of, number, next(iter(said.forms.values())).radii())
        heard = Adjudicator(said)
        found = judge_array(got, screens[number, route], argument.format, heard, kappa, BITS, together=heard)
        if tells(found, formulas[number][0]):
            among = truths.worst[number]
            with np.errstate(all="ignore"):
                far = np.abs(got.ravel()[among] - said.truth.high.ravel()[among])
                far /= np.maximum(np.abs(said.truth.high.ravel()[among]), 2.0**argument.format.emin)
            worst = int(among[np.where(np.isnan(far), np.inf, far).argmax()])
            index = tuple(int(i) for i in np.unravel_index(worst, got.shape))
            found = shown_at(found, worst, float(got[index]), said.truth_of(index), argument.format)
        if formulas[number][0] in ("wrong", "undefined"):
            found = with_wrong(found, truths.worst[number])
        if formulas[number][0] == "wrong" and number in truths.torn:
            found = replace(found, reason=noted(found.reason, together.APART))
        if formulas[number][0] == "unknown" and (truths.order.excused or truths.at_edge):
            found = equal_order.undecided(found, equal_order.EDGE if truths.at_edge else equal_order.MAY)
        left_open = (formulas[number][0] == "unknown" and not truths.astray) or found.execution == "undecided"
        yield Found(number, route, found, *formulas[number], truths.ties, left_open)


def tells(judgement: Judgement, formula: Formula) -> bool:
    """Whether the component to show is one that the formula is worst at, and not one that the execution is."""
    if formula in ("wrong", "undefined", "singular"):
        return judgement.execution in (None, "within", "overflow")
    return formula == "unknown" and judgement.execution in (None, "within")


def with_wrong(judgement: Judgement, components: Indices) -> Judgement:
    """The judgement, with components whose formula is wrong among those that deviate."""
    if not components.size:
        return judgement
    outside = judgement.deviating
    return replace(judgement, deviating=components if outside is None else np.union1d(components, outside))


def shown_at(judgement: Judgement, component: int, got: float, truth: Rounded, format: Format) -> Judgement:
    """The judgement, shown at this component."""
    error = ulp_error(got, truth, format)
    finite = math.isfinite(error)
    return replace(
        judgement,
        worst_index=component,
        value=got,
        truth=text_of(truth),
        error_ulp=error,
        error_abs=to_float(truth.distance(got)) if finite else math.inf,
    )


def programs(run: Run) -> Iterator[tuple[str, Sums, int]]:
    """The programs that a gradient is held against: how 16-bit sums are accumulated, and each of the kernels' forms."""
    forms = run.backward.forms
    for sums, said in _ways(run):
        for form in range(forms):
            yield (f"recorded, form {form + 1}" if forms > 1 else "recorded") + said, sums, form


def mixed_programs(run: Run, profile: Profile) -> Iterator[tuple[str, Sums, Taken]]:
    """Further ones, for what is in none of these: each kernel by the form that it was itself nearest to."""
    taken = nearest_forms(run.backward, profile)
    if len(set(taken.values())) > 1:
        for sums, said in _ways(run):
            yield "recorded, each kernel by a form of its own" + said, sums, taken


def _ways(run: Run) -> Sequence[tuple[Sums, str]]:
    """How sums are accumulated, and what is said of that."""
    narrow = any(a.format.precision < 24 for a in (*run.arguments, *run.tangents))
    return (("wide", ""), ("any", ", sums in the dtype")) if narrow else (("any", ""),)


def nearest_forms(record: Record, profile: Profile) -> dict[int, int]:
    """By the place of each kernel of several forms, the one that has what it returned deepest in its allowance.

    On the operands that the kernel had: where each is within its form, so is every result of the program that takes
    these, since its balls hold the operands.
    """
    several = [
        s
        for s in record.steps
        if len(s.forms) > 1 and s.out.size and not s.implicit and not np.isnan(record.held[s.out]).all()
    ]
    shares: dict[int, list[float]] = {s.place: [] for s in several}
    wide = any(s.format.precision > FLOAT32.precision for s in record.steps)
    for form in range(record.forms if several else 0):
        allowed = ArrayAllowed(record, profile, form=form, wide=wide)
        for step in (s for s in several if form < len(s.forms)):
            try:
                allowed.evaluate([step])
                shares[step.place].append(_share(allowed, step))
            except OutOfRange:
                shares[step.place].append(math.inf)
            allowed.forget(step)
    return {place: min(range(len(each)), key=each.__getitem__) for place, each in shares.items()}


def _share(allowed: ArrayAllowed, step: Step) -> float:
    """How much of a kernel's allowance its worst result takes, of those that are finite numbers."""
    value, exactly = result(allowed, step.out, allowed.arithmetics[step.format.name])
    got = allowed.record.held[step.out]
    known = np.isfinite(got) & np.isfinite(exactly) & (True if value.specials is None else value.specials == 0)
    with np.errstate(all="ignore"):
        off = np.abs(value.arithmetic.mids.distance(got, value.mid))
        share = np.where(off == 0, 0.0, off / value.radii())
    return float(share[known].max(initial=0.0))


def result(allowed: ArrayAllowed, ids: NDArray[np.int64], A: RoundedArrays) -> tuple[RoundedArray, NDArray[np.float64]]:
    """What a program may give for some numbers, 0 where that is exactly infinite or NaN; and these."""
    x, odd = allowed.take(ids, A)
    radius, exactly = np.array(x.radii()), np.zeros(ids.shape)
    mid = A.mids.writable(x.mid, ids.shape)
    specials = np.zeros(ids.shape, np.uint8) if x.specials is None else np.array(x.specials)
    if odd is not None:
        exactly = np.where(odd, allowed.high[ids], 0.0)
        mid = A.mids.where(odd, A.mids.lift(np.zeros(())), mid)
        bits = np.where(np.isnan(exactly), NAN, np.where(exactly > 0, POSITIVE, NEGATIVE))
        specials = np.where(odd, bits, specials).astype(np.uint8)
    return RoundedArray(A, mid, radius, None, specials if specials.any() else None), exactly
