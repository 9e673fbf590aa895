"""The formula by whole arrays: what `truth` says, in double words, for programs of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradconform.conformance.programs import branches, equal_order, together
from gradconform.conformance.programs.array_answers import centred
from gradconform.conformance.programs.equal_order import EqualOrder, Places
from gradconform.conformance.programs.size import one_record
from gradconform.conformance.programs.truth import INDISTINGUISHABLE, SHARP
from gradconform.reference.arithmetic.arrays import RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.midpoints import DoubleArray
from gradconform.reference.components import Indices
from gradconform.reference.judge import FORMULA, Formula
from gradconform.reference.programs import words
from gradconform.reference.programs.array_exact import ArrayExact
from gradconform.reference.programs.array_tangents import push
from gradconform.reference.programs.beside import beside
from gradconform.reference.programs.cancelled import cancelled
from gradconform.reference.programs.record import Record, Step
from gradconform.reference.programs.run import Run
from gradconform.reference.programs.words import Words

#: Leading bits of its own to which a derivative must be known that is less than the last bit of the tensor's largest
#: number. What is left is 2^-16 of a rounding of that, and the digits that are seen are right; of the 102 bits of
#: double words a vanishing gradient may lose 86.
VANISHING = 16
#: Leading bits to which a function's values must stay whatever masks are between their two sides.
CONTINUOUS = 80
_UNKNOWN, _WRONG, _KINK, _RIGHT = (FORMULA.index(f) for f in ("unknown", "wrong", "kink", "right"))


@dataclass(frozen=True)
class Formulas:
    """What is said of each component of a gradient: its place in FORMULA, and to how many bits it is known to be right.

    `truth` is what the components are held against; of those that are `sets` all that its second radius holds. `why` is
    said where nothing is known of some that may be meant otherwise. Where they are `torn` all are within their sets of
    slopes, and wrong since these do not go together. Those that are `otherwise` are right by the branches that the
    program takes without rounding, and wrong by those that it took.
    """

    codes: NDArray[np.int64]
    bits: NDArray[np.float64]
    truth: Words
    sets: NDArray[np.bool_]
    why: str = ""
    torn: bool = False
    otherwise: NDArray[np.bool_] | None = None

    @property
    def doubted(self) -> Formulas:
        """The same, where of those that are right by the other branches nothing is known."""
        if self.otherwise is None:
            return self
        return replace(
            self, codes=np.where(self.otherwise & (self.codes == _WRONG), _UNKNOWN, self.codes), otherwise=None
        )

    @property
    def worst(self) -> Formula:
        return FORMULA[int(self.codes.min(initial=_RIGHT))]

    @property
    def worst_bits(self) -> float:
        return float(self.bits.min(initial=math.inf))

    @property
    def at(self) -> Indices:
        """Those of which the worst is to be said."""
        return np.flatnonzero(self.codes == self.codes.min(initial=_RIGHT))


@dataclass(frozen=True)
class _Distance:
    """How near the program's components are to the truth, and to how many bits that is known.

    They are `known` where both are finite, `exact` where they meet on the numbers that were recorded, and `met` where
    they do by some slope at ties, by what literals leave open, or as an approximation that is meant. `bits` is how well
    the two are known, `steady` how well they agree whatever the literals stand for.
    """

    known: NDArray[np.bool_]
    exact: NDArray[np.bool_]
    met: NDArray[np.bool_]
    bits: NDArray[np.float64]
    steady: NDArray[np.float64]
    needed: NDArray[np.float64]


class _Wide(NamedTuple):
    """As `truth` has it; nothing where no choice jumps."""

    derivative: Sequence[Words]
    continuous: bool = False
    together: bool = False


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
        self.backward = program
        self.astray = branches.by_rounding_in_arrays(run.backward, program)
        #: The components that are the derivative by another branch than the one taken, which is then their truth; and
        #: those of which that is left to balls.
        self.aside = [np.zeros(x.shape, bool) for x in self.truth]
        self.odd = [np.zeros(x.shape, bool) for x in self.truth]
        for number, by in enumerate(other or ()):
            self._beside(number, by)
        #: Whether what the program takes of the slopes at ties goes together, as far as one direction shows that.
        self.together = True
        if self.ties and run.mode == "reverse" and not any(x.any() for x in self.aside):
            self.together = together.in_arrays(run, exact, self.truth, self.program)
        self.order = EqualOrder(run)

    def formulas(self, number: int) -> Formulas:
        """What is to be said of a gradient's components; see `truth.Truth`.

        Where double words leave nothing of one that vanishes beside the tensor's largest, balls are to be asked.
        """
        truth, program = self.truth[number], self.program[number]
        if not truth.high.size:
            return Formulas(np.zeros(truth.shape, np.int64), np.zeros(truth.shape), truth, np.zeros(truth.shape, bool))
        with np.errstate(all="ignore"):
            far = self._distance(number)
        vague = ~far.known | (far.bits < far.needed) | (far.steady < np.minimum(far.needed, self.decided))
        all_met = bool(far.met.all())
        wrong = _UNKNOWN if self.astray or (self.flushed and not (all_met and self.together)) else _WRONG
        codes = np.select(
            [~far.known | (~far.met & self.odd[number]), ~far.met, vague,
             (~far.exact & bool(self.ties)) | self.aside[number]],
            [_UNKNOWN, wrong, _UNKNOWN, _KINK if self.together else wrong],
            _RIGHT,
        )  # fmt: skip
        sets = np.full(codes.shape, bool(self.ties))
        if (codes == _WRONG).any():
            between = (codes == _WRONG) & ~far.met & self._between(number) & (far.bits >= far.needed)
            if between.any():
                truth, sets = words.where(between, self.wide.derivative[number], truth), sets | between
                codes = np.where(between, _KINK, codes)
                far = replace(far, steady=np.where(between, far.bits, far.steady))
        otherwise = self._chosen_otherwise(number, codes)
        if self.run.definition is not None and otherwise is not None:
            codes, otherwise = np.where(otherwise, _UNKNOWN, codes), None
        codes, why = self._excused(number, codes)
        if why.any() and (excused := why == equal_order.MAY).any():
            # In the order of the program this is its derivative, as far as anybody knows.
            truth = words.where(excused, program, truth)
        bits = np.where(codes == _WRONG, np.inf, np.where(far.bits < far.needed, far.bits, far.steady))
        said = next(filter(None, why[why != ""].tolist()), "") if why.any() else ""
        torn, known = all_met and not self.together, np.where(far.known, bits, -np.inf)
        return Formulas(codes, known, truth, sets, said, torn, otherwise)

    def _chosen_otherwise(self, number: int, codes: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """What of the wrong is right by the branches of exact arithmetic, if anything may be; see `truth.Truth`."""
        wrong = codes == _WRONG
        if not wrong.any() or self._by_exact_branches is None:
            return None
        gap, reach = words.separation(self.truth[number], self._by_exact_branches[number])
        return np.asarray(wrong & (gap <= reach))

    @cached_property
    def _by_exact_branches(self) -> list[Words] | None:
        other = branches.without_rounding(self.run.backward, self.backward.otherwise())
        if other is None:
            return None
        exact = ArrayExact(other, blunt=self.backward.values.blunt).evaluate()
        return [exact.values.copied(ids) for ids in self.run.results]

    def _distance(self, number: int) -> _Distance:
        truth, program, format = self.truth[number], self.program[number], self.run.judged[number].format
        gap, off = np.abs(words.apart(truth, program)), truth.radius + program.radius
        known = np.isfinite(gap) & np.isfinite(off).all(axis=0)
        exact, met = (known & ~words.disjoint(truth, program, radius) for radius in (0, 1))
        own = np.maximum(np.abs(truth.high), 2.0 ** (format.emin - format.precision + 1))
        largest = float(np.where(known, own, 0.0).max()) * 2.0**-format.precision
        needed = np.where(own < largest, min(VANISHING, format.precision + 3), format.precision + 3)
        # What is 0 by cancellation is known as a part of what cancels, to more bits than numbers cancel by chance.
        terms = self._cancelled(number, known & (np.abs(truth.high) <= truth.radius[0]) & (off[0] > 0))
        as_part = (_bits(terms, off[0]) >= self.decided) & (terms > own)
        size, needed = np.where(as_part, terms, own), np.where(as_part, format.precision + 3, needed)
        # The program with the very literals that were read may be the derivative with these, to so many bits; or
        # whatever the literals stand for.
        agreed = _bits(size, gap + off[0])
        met |= known & (_bits(np.abs(truth.high), gap + off[0]) >= INDISTINGUISHABLE)
        steady = np.maximum(_bits(size, program.radius[1] + truth.radius[1]), agreed)
        if self.ties and (known & met & (steady < np.minimum(needed, self.decided))).any():
            # What a literal leaves open beside a tie is no slope of it.
            x = self.slopes[number]
            beyond = np.maximum(np.abs(words.apart(x, program)) - x.radius[1], 0.0)
            of = np.maximum(size, np.where(x.radius[1] > np.abs(x.high) * 2.0**-SHARP, x.radius[1], 0.0))
            steady = np.maximum(steady, np.where(known & words.known(x), _bits(of, beyond + off[0]), -np.inf))
        if (meant := self.run.definition) is not None:
            met |= known & (_bits(own, gap + off[0]) >= meant.agreement(format))
            if meant.ulps:  # of what cancels the ulps are its terms'
                terms = self._cancelled(number, known & ~met)
                met |= known & (_bits(terms, gap + off[0]) >= meant.agreement(format))
        return _Distance(known, exact, met, _bits(size, off[0]), steady, needed)

    @cached_property
    def slopes(self) -> Sequence[Words]:
        """All slopes at ties, by the very literals that were read."""
        of = self.run.defined
        if not of.record.literals:
            return self.truth
        record = without_literals(of.record)
        found = _derivative(self.run, ArrayExact(record, blunt=self.truth[0].blunt).evaluate(), record.steps)
        return [words.where(a, x, y) for a, x, y in zip(self.aside, self.truth, found, strict=True)]

    def _cancelled(self, number: int, where: NDArray[np.bool_]) -> NDArray[np.float64]:
        return cancelled(self.run.backward, self.run.results[number], np.flatnonzero(where).tolist())

    def _excused(self, number: int, codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
        """The codes, where what seems wrong may be meant otherwise; and by each of those why."""
        wrong = codes == _WRONG
        if not wrong.any():
            return codes, np.broadcast_to(np.str_(""), codes.shape)
        why = np.full(codes.shape, "", dtype=f"U{max(len(equal_order.MAY), len(branches.EDGE))}")
        if self.order.tied.size and (self.together or not self.order.own):
            for c in np.flatnonzero(wrong):
                if self.order.excuses(number, int(c), self._alike):
                    why.reshape(-1)[c] = equal_order.MAY
        left = wrong & (why == "")
        if left.any():
            why[left & self._jumps(number)] = branches.EDGE
        return np.where(why == "", codes, _UNKNOWN), why

    @cached_property
    def flushed(self) -> bool:
        """Whether a number chose that hardware may flush to 0: the branch may be that of 0."""
        return self.flush and branches.chosen_by_subnormals(self.run)

    @cached_property
    def at_edge(self) -> bool:
        """Whether a number of the function's was equal to another where that moved data or took a branch."""
        return branches.at_edge(self.run)

    @cached_property
    def wide(self) -> _Wide:
        """The derivative over all between the two numbers of a choice that is a tie, where some jumps."""
        of = self.run.defined
        exact = ArrayExact(of.record, jumps=True).evaluate()
        if not exact.jumped:
            return _Wide(())
        wide, same = _derivative(self.run, exact, of.record.steps), self._steady()
        asked = same and self.run.mode == "reverse"
        return _Wide(wide, same, not asked or together.in_arrays(self.run, exact, wide, self.program))

    def _steady(self) -> bool:
        """Whether the function's values stay whatever lies between the two numbers of a mask; by the very literals."""
        of = self.run.defined
        exact = ArrayExact(without_literals(of.record), jumps=True).evaluate()
        outputs = [exact.values.copied(ids) for ids in of.outputs]
        return all(bool((x.radius[1] <= np.abs(x.high) * 2.0**-CONTINUOUS).all()) for x in outputs)

    def _between(self, number: int) -> Any:
        """Which components are on the other side of a mask's edge, or between the two, where the function goes on
        continuously; see `truth.Truth`."""
        of = self.wide
        if not (of.continuous and of.together):
            return False
        gap, reach = words.separation(of.derivative[number], self.program[number])
        return gap <= reach

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
        """Which components may be the derivative on the other side of an edge that a number stands at."""
        if self.perhaps or self.at_edge:
            return True
        wide = self.wide.derivative
        return bool(wide) and ~words.disjoint(wide[number], self.program[number])

    def _alike(self, places: Places) -> bool:
        """Whether some components have together what those of the truth have."""
        return not words.disjoint(_sum(self.truth, places), _sum(self.program, places)).any()

    def _beside(self, number: int, other: Words) -> None:
        """Take the derivative by the other branches where the program has that; see `other_branch`."""
        truth, program = self.truth[number], self.program[number]
        gap, reach = words.separation(truth, program)
        other_gap, other_reach = words.separation(other, program)
        far = ~(gap <= reach)
        self.aside[number] = far & (other_gap <= other_reach)
        self.odd[number] = far & ~np.isfinite(other_gap + other_reach)
        self.truth[number] = words.where(self.aside[number], other, truth)

    def centre(self, of: Formulas, A: RoundedArrays) -> RoundedArray:
        """A truth as the judge reads it: numbers without a radius, or at ties the middle and half width of a set."""
        x = of.truth
        with np.errstate(all="ignore"):
            width = np.where(of.sets, x.radius[1], x.radius[0])
            known = np.isfinite(x.high) & np.isfinite(width)
            spread = np.where(known & (width > np.abs(x.high) * 2.0**-SHARP), width, 0.0)
        return centred(x, known, A, spread if spread.any() else None)


def without_literals(record: Record) -> Record:
    """The record, whose literals are the numbers that were read."""
    found = record.until()
    found.literals = {}
    return found


def _sum(of: Sequence[Words], places: Places) -> Words:
    parts = []
    for number in dict.fromkeys(n for n, _ in places):
        x, at = of[number], [c for n, c in places if n == number]
        mid = DoubleArray(x.mid.hi.ravel()[at], x.mid.lo.ravel()[at])
        parts.append(words.total(Words(mid, x.radius.reshape(x.radius.shape[0], -1)[:, at])))
    return reduce(words.add, parts)


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
        if words.disjoint(other.values.copied(ids), exact.values.copied(ids), 0).any():
            return None
    return _derivative(run, other, turned.steps)


def _bits(size: NDArray[np.float64], off: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leading bits to which something that is `off` is known."""
    return np.where(off > 0, np.log2(size) - np.log2(off), np.inf)
