"""The formula: a backward record without rounding, held against the forward record's derivative, in exact balls."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from flint import arb

from gradconform.conformance.programs import branches, equal_order, together
from gradconform.conformance.programs.equal_order import EqualOrder, Places
from gradconform.conformance.programs.other_branch import Derivative, OtherBranch, derivative
from gradconform.reference.arithmetic.exact import power_of_two, precision, to_float
from gradconform.reference.arithmetic.formats import Format
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.arithmetic.rounded import ANYTHING, ZERO, Rounded, RoundedBalls, larger
from gradconform.reference.judge import PRECISION_CAP, Formula
from gradconform.reference.programs.cancelled import cancelled
from gradconform.reference.programs.exact import Exact
from gradconform.reference.programs.run import Run

#: Working precision that a run is first evaluated in, and the bits of a formula that is decided where rounded literals
#: leave less than p + 3. Nor do numbers cancel to so many by chance.
FIRST, DECIDED = 160, 40
#: Leading bits of its own to which a number that is not the derivative agrees with it, and is: beyond what any format
#: shows, as of a guard that takes 1 for 1 + x² where x is 1e-20.
INDISTINGUISHABLE = 64
#: What is so many bits less than its tensor's largest number is 0 in a format of float32's range, whatever its sign:
#: 2^128 less 277 bits is the smallest subnormal number. By no fewer bits is a component that has no digits of its own
#: right beside the others: gradients through many steps vanish, and a rule that is wrong in those alone is wrong.
VANISHED = 277
#: Of a truth that is known to so many bits what is left is no set.
SHARP = 40


#: Why nothing is known where an ulp of a literal decides everything.
LITERALS = "literals: by an ulp of one in the program the derivative may be anything"


class Said(NamedTuple):
    """What is said of one component's formula: to how many bits it is known to be right, infinite where both are exact;
    `why` nothing is known, where it might be meant otherwise; its `truth`, if not the one that it was held against; and
    whether what is wrong is right by the branches that its program takes without rounding.
    """

    formula: Formula
    bits: float = math.inf
    why: str = ""
    truth: arb | None = None
    otherwise: bool = False


class _Wide(NamedTuple):
    """A derivative over everything between the two sides of masks' edges. The function is `continuous` there, if its
    values stay whatever the masks are in between, and the program's slopes may go `together`."""

    derivative: Derivative
    continuous: bool = False
    together: bool = False


class Truth:
    """The derivative over the forward record, in the run's mode, and what the backward record is without rounding.

    A component that vanishes is seen beside its tensor's largest, unless each is asked `alone`. `flush` says whether
    the framework may flush subnormal numbers to 0 (hypothesis 5). No more bits than `most` are taken.
    """

    def __init__(self, run: Run, alone: bool = False, flush: bool = True, most: int = PRECISION_CAP) -> None:
        self.run, self.alone, self.flush = run, alone, flush
        self._sizes: dict[int, Sequence[float]] = {}
        #: Whether a result of the function is no number, without rounding.
        self.endless = False
        bits = FIRST
        while True:
            with precision(bits):
                self.bits = bits
                self.vague = self.beyond = False
                self.point, self.ties = self._derivative(ties=False, literals=False)
                self.program_point = self._program(literals=False)
                poles = not (self.vague or self.beyond)
            if bits >= most or self._accurate():
                break
            bits *= 2
        #: Whether what is not finite is a pole that was met exactly, or comes of one.
        self.poles = poles
        with precision(bits):
            literals = bool(run.defined.record.literals or run.backward.literals)
            self.set = [[*x] for x in self.point]
            if self.ties or literals:
                self.set = self._derivative(ties=True, literals=literals)[0]
            self.program = self._program(literals=True) if literals else self.program_point
            self.other = OtherBranch.of(run)
            #: The components that are the derivative by another branch than the one taken, which is then their truth.
            self.aside = set(self._by_other_branches(self.other)) if self.other else set()

    def _by_other_branches(self, other: OtherBranch) -> Iterator[tuple[int, int]]:
        for number, every in enumerate(self.program):
            for component, program in enumerate(every):
                truth = self.set[number][component]
                if not truth.is_finite() or not program.is_finite() or truth.overlaps(program):
                    continue
                known = other.known(number, component, self.program_point[number][component])
                if known is not None:
                    at, self.ties = known, self.ties + is_set(known)
                    if is_set(known):
                        at = self.program_point[number][component]
                    self.point[number][component], self.set[number][component] = at, known
                    yield number, component

    def _derivative(self, ties: bool, literals: bool) -> tuple[list[list[arb]], int]:
        run, of = self.run, self.run.defined
        exact = Exact(of.record, literals=literals).evaluate()
        self.endless = not all(exact[i].is_finite() for ids in of.outputs for i in ids.ravel().tolist())
        found = derivative(run, of, exact, ties)
        self._note(exact)
        return found, len(exact.ties)

    def _program(self, literals: bool) -> list[list[arb]]:
        exact = Exact(self.run.backward, literals=literals).evaluate()
        if not literals:
            self.backward = exact
        self.astray = branches.by_rounding(self.run.backward, exact)
        self._note(exact)
        return [[exact[i] for i in ids.ravel().tolist()] for ids in self.run.results]

    def _note(self, exact: Exact) -> None:
        self.vague, self.beyond = self.vague or exact.vague, self.beyond or exact.beyond

    def torn(self, number: int, component: int) -> bool:
        """Whether a component is in its set of slopes, and wrong since they do not go together."""
        return not self.together and self.set[number][component].overlaps(self.program[number][component])

    def unresolved(self, number: int, component: int) -> bool:
        """Whether the derivative is known here, and of the program's number no precision tells what it is."""
        x, y = self.point[number][component], self.program_point[number][component]
        return x.is_finite() and not y.is_finite() and self.vague and not (self.beyond or self.astray)

    def _wrong(self, number: int, component: int, format: Format) -> Said:
        """What is to be said of a component that is not the derivative."""
        otherwise = self._chosen_otherwise(number, component)
        # Of a program beside a definition it is enough that it is the derivative by its own branches.
        if self.astray or self.flushed or (otherwise and self.run.definition is not None):
            return Said("unknown")
        beside = self._between(number, component, format)
        if beside is not None:
            return beside
        if self._jumps(number, component):
            return Said("unknown", why=branches.EDGE)
        if self.order.excuses(number, component, self._alike):
            # In the order of the program this is its derivative, as far as anybody knows.
            return Said("unknown", why=equal_order.MAY, truth=self.program_point[number][component])
        return Said("wrong", otherwise=otherwise)

    def _chosen_otherwise(self, number: int, component: int) -> bool:
        """Whether the program is the derivative by the branches that it takes without rounding."""
        if self._by_exact_branches is None:
            return False
        x, y = self.set[number][component], self._by_exact_branches[number][component]
        return bool(x.is_finite() and y.is_finite() and x.overlaps(y))

    @cached_property
    def _by_exact_branches(self) -> list[list[arb]] | None:
        with precision(self.bits):
            other = branches.without_rounding(self.run.backward, np.array(self.backward.otherwise()))
            if other is None:
                return None
            exact = Exact(other, literals=True).evaluate()
            return [[exact[i] for i in ids.ravel().tolist()] for ids in self.run.results]

    def _alike(self, places: Places) -> bool:
        truth, program = (sum((of[n][c] for n, c in places), ZERO) for of in (self.set, self.program))
        return not (truth.is_finite() and program.is_finite()) or bool(truth.overlaps(program))

    @cached_property
    def wide(self) -> list[_Wide]:
        """The derivative over everything between the two numbers of a choice that is a tie, where some jumps: by the
        branches that were taken, and by those beside equal numbers."""
        of, found = self.run.defined, []
        with precision(self.bits):
            for record in (of.record, *([self.other.record] if self.other else [])):
                exact = Exact(record, jumps=True).evaluate()
                if exact.jumped:
                    wide = derivative(self.run, replace(of, record=record), exact, ties=True)
                    same = record is of.record and self._steady()
                    found.append(_Wide(wide, same, same and self._go_together(exact, wide)))
        return found

    def _steady(self) -> bool:
        """Whether the function's values stay whatever lies between the two numbers of a mask; by the very literals."""
        of = self.run.defined
        exact = Exact(of.record, literals=False, jumps=True).evaluate()
        outputs = (exact[i] for ids in of.outputs for i in ids.ravel().tolist())
        return all(x.rel_accuracy_bits() >= self.bits // 2 for x in outputs)

    def _go_together(self, exact: Exact, truth: Derivative) -> bool:
        return self.run.mode != "reverse" or together.in_balls(self.run, exact, truth, self.program)

    def _between(self, number: int, component: int, format: Format) -> Said | None:
        """What is to be said of a slope on the other side of a mask's edge, or between the two, where the function goes
        on continuously: it is in the set that the mask leaves open. None of another one."""
        program, at = self.program[number][component], self.program_point[number][component]
        for wide in self.wide:
            x = wide.derivative[number][component]
            if wide.continuous and wide.together and x.is_finite() and x.overlaps(program):
                known = self._bits(number, component, at.rad())
                return Said("kink", known, truth=x) if known >= format.precision + 3 else None
        return None

    @cached_property
    def perhaps(self) -> OtherBranch | None:
        """The branches that were perhaps taken since numbers were equal, as one of several conditions."""
        return OtherBranch.of(self.run, perhaps=True)

    def _jumps(self, number: int, component: int) -> bool:
        """Whether a component may be the derivative on the other side of an edge that a number stands at."""
        at, program = self.program_point[number][component], self.program[number][component]
        wide = (of.derivative[number][component] for of in self.wide)
        if self.at_edge or any(not x.is_finite() or x.overlaps(program) for x in wide):
            return True
        return self.perhaps is not None and self.perhaps.known(number, component, at) is not None

    @cached_property
    def at_edge(self) -> bool:
        """Whether a number of the function's was equal to another where that moved data or took a branch."""
        return branches.at_edge(self.run)

    @cached_property
    def order(self) -> EqualOrder:
        return EqualOrder(self.run)

    @cached_property
    def together(self) -> bool:
        """Whether what the program takes of the slopes at ties goes together, as far as one direction shows that."""
        if self.aside:
            return True
        with precision(self.bits):
            return self._go_together(Exact(self.run.defined.record).evaluate(), self.set)

    @cached_property
    def flushed(self) -> bool:
        """Whether a number chose that hardware may flush to 0: the branch may be that of 0."""
        return self.flush and branches.chosen_by_subnormals(self.run)

    def _accurate(self) -> bool:
        """Whether every number is known to p + 3 bits, or cannot be known better."""
        for number, argument in enumerate(self.run.judged):
            for component in range(argument.ids.size):
                x, y = self.point[number][component], self.program_point[number][component]
                off = x.rad() + y.rad()
                if self.vague and not (x.is_finite() and y.is_finite()):
                    return False
                if off.is_finite() and self._bits(number, component, off) < argument.format.precision + 3:
                    return False
        return True

    def _bits(self, number: int, component: int, off: arb) -> float:
        """Leading bits to which something that is `off` is known: of the number, or of what it is 0 beside.

        A derivative that is 0 by cancellation has no leading bits. It is known as a part of what cancels, to more bits
        than numbers cancel by chance, or to as many beside the tensor's largest as numbers vanish in. Below the
        format's smallest number there are none.
        """
        own = self._own_bits(number, component, off)
        if not math.isfinite(own) or not self.point[number][component].contains(0):
            return own
        beside = () if self.alone else self.point[number]
        largest = max((abs(x).upper() for x in beside if x.is_finite()), default=ZERO)
        sizes = (largest, VANISHED), (arb(self._cancelled(number)[component]), DECIDED)
        known = ((_ratio_bits(size, off), needed) for size, needed in sizes)
        return max([own, *(bits for bits, needed in known if bits >= needed)])

    def _own_bits(self, number: int, component: int, off: arb) -> float:
        """The same of the number, or of the format's smallest one."""
        format = self.run.judged[number].format
        size = larger(abs(self.point[number][component]).upper(), power_of_two(format.emin - format.precision + 1))
        return _ratio_bits(size, off)

    def _approximated(self, number: int, component: int, off: arb) -> float:
        """Leading bits to which a program agrees with what it approximates: of what cancels the ulps are its terms'."""
        bits = self._own_bits(number, component, off)
        if not self.run.defined.ulps:
            return bits
        terms = cancelled(self.run.backward, self.run.results[number], [component]).ravel()[component]
        return max(bits, _ratio_bits(arb(terms), off))

    def _cancelled(self, number: int) -> Sequence[float]:
        """What cancels in the components of this gradient that are 0."""
        if number not in self._sizes:
            zero = [c for c, x in enumerate(self.point[number]) if x.contains(0) and not x.is_zero()]
            self._sizes[number] = cancelled(self.run.backward, self.run.results[number], zero).ravel().tolist()
        return self._sizes[number]

    def formula(self, number: int, component: int, format: Format) -> Said:
        """What is to be said of one component's formula."""
        truth, program = self.set[number][component], self.program[number][component]
        point, at = self.point[number][component], self.program_point[number][component]
        if not point.is_finite():
            return Said("singular" if self.poles else "unknown")
        if not at.is_finite():
            # What is infinite has no derivative, also where a branch of the program says that it is constant.
            endless = self.endless or (self.other is not None and self.other.endless(number, component))
            met: Formula = "singular" if endless else "undefined"
            return Said(met if self.poles and not (self.astray or self.flushed) else "unknown")
        if not (truth.is_finite() and program.is_finite()):
            # By what a literal may have been there is no number; a ball that is everything overlaps, and says nothing.
            if not at.overlaps(point):
                return Said("unknown", why=LITERALS)
        elif not truth.overlaps(program):
            if self.run.definition is not None:
                apart = self._approximated(number, component, abs(at - point).upper())
                if apart >= self.run.definition.agreement(format):
                    return Said("right", apart)  # an approximation that is meant
            if abs(at - point) <= abs(point) * power_of_two(-INDISTINGUISHABLE):
                return Said("right", INDISTINGUISHABLE)
            return self._wrong(number, component, format)
        needed, known = format.precision + 3, self._bits(number, component, at.rad() + point.rad())
        if known < needed:
            return Said("unknown", known)
        if not at.overlaps(point):  # the same by another slope of a tie, or by what a literal may have been
            # With the very literals that were read they agree to so many bits; whatever these stand for, to those.
            by_any = -math.inf if self.ties else self._bits(number, component, program.rad() + truth.rad())
            known = min(known, max(by_any, self._agreed(number, component)))
            if known < min(needed, DECIDED):
                return Said("unknown", known)
        if (number, component) in self.aside:
            return Said("kink", known)
        if not (self.ties and is_set(truth)):
            return Said("right", known)
        return Said("kink", known) if self.together else self._torn(number, component)

    def _agreed(self, number: int, component: int) -> float:
        """Bits to which the program agrees with the derivative, by the very literals that were read, or with one of
        its slopes at ties: what a literal leaves open beside a tie is none of them."""
        x, at = self.slopes[number][component], self.program_point[number][component]
        if not x.is_finite():
            return -math.inf
        off = larger(abs(at - x.mid()).upper() - x.rad(), at.rad())
        return max(self._bits(number, component, off), _ratio_bits(abs(x).upper() if is_set(x) else ZERO, off))

    @cached_property
    def slopes(self) -> Derivative:
        """All slopes at ties, by the very literals that were read."""
        if not (self.ties and self.run.defined.record.literals):
            return self.set if self.ties else self.point
        with precision(self.bits):
            found = self._derivative(ties=True, literals=False)[0]
        return [
            [known if (n, c) in self.aside else x for c, (x, known) in enumerate(zip(new, old, strict=True))]
            for n, (new, old) in enumerate(zip(found, self.set, strict=True))
        ]

    def _torn(self, number: int, component: int) -> Said:
        """Of a component within its set, whose slopes do not go together with the others'. Along that direction equal
        arguments move alike, in whatever order they come; masks are as they were taken."""
        if self.astray or self.flushed:
            return Said("unknown")
        if self._jumps(number, component):
            return Said("unknown", why=branches.EDGE)
        return Said("wrong") if self.order.own else Said("unknown", why=equal_order.MAY)


def _ratio_bits(size: arb, off: arb) -> float:
    """By how many bits something is less than a size."""
    if not off > 0:
        return math.inf
    return to_float((size / off).log() / arb.const_log2()) if size > 0 else -math.inf


def as_read(x: arb, format: Format, profile: Profile, ties: bool) -> Rounded:
    """A truth as the judge reads it: a ball whose radius is no rounding, or of `ties` a set's middle and half width."""
    ops = RoundedBalls(format, profile)
    if not x.is_finite():
        return Rounded(ops, ZERO, ZERO, ANYTHING)
    return Rounded(ops, x.mid(), ZERO, 0, x.rad()) if ties and is_set(x) else Rounded(ops, x)


def is_set(x: arb) -> bool:
    """Whether these are the slopes of a kink, and no number that is known well."""
    return x.is_finite() and x.rad() > 0 and x.rel_accuracy_bits() <= SHARP
