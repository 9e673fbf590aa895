"""A recorded run before the judge: formula, execution and accuracy of every gradient.

The formula is the backward record without rounding, held against the derivative of the forward record by reverse mode,
both over exact balls; the execution is what was returned, held against the backward record in rounded balls. Where
tangents are asked for the record is that of the tangents, and the derivative by forward mode.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from flint import arb

from gradconform.conformance.programs import equal_order, together
from gradconform.conformance.programs.check_program_arrays import (
    IN_ARRAYS,
    agreement,
    chosen_by_subnormals,
    fits,
    judged,
    mixed_programs,
    programs,
    shown_at,
    tells,
    with_wrong,
    work,
)
from gradconform.conformance.programs.equal_order import EqualOrder, Places
from gradconform.conformance.programs.other_branch import OtherBranch, derivative
from gradconform.reference.arithmetic.exact import power_of_two, precision, to_float
from gradconform.reference.arithmetic.formats import Format
from gradconform.reference.arithmetic.midpoints import OutOfRange
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.arithmetic.rounded import ANYTHING, OVERFLOWED, ZERO, Rounded, RoundedBalls, Sums, larger
from gradconform.reference.components import named
from gradconform.reference.judge import (
    FORMULA,
    PRECISION_CAP,
    Candidate,
    Formula,
    Judgement,
    ball_of,
    decision,
    judge,
    noted,
    ulp_error,
    verdict_of,
)
from gradconform.reference.measurement import which_deviate
from gradconform.reference.outcomes import Outcome
from gradconform.reference.programs import keeping
from gradconform.reference.programs.allowance import outcomes_of
from gradconform.reference.programs.cancelled import cancelled
from gradconform.reference.programs.exact import Exact
from gradconform.reference.programs.record import Taken
from gradconform.reference.programs.run import Mode, Run, Tensor

#: Working precision that a run is first evaluated in, and the bits of a formula that is decided where rounded literals
#: leave less than p + 3.
FIRST, DECIDED = 160, 40
#: Operations on single numbers up to which balls are asked what the arrays leave open.
AFFORDABLE = 100_000


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


class Truth:
    """The derivative over the forward record, in the run's mode, and what the backward record is without rounding.

    A component is seen beside its tensor's largest, unless each is asked `alone`. `flush` says whether the framework
    may flush subnormal numbers to 0 (hypothesis 5).
    """

    def __init__(self, run: Run, alone: bool = False, flush: bool = True) -> None:
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
            if bits >= PRECISION_CAP or self._accurate():
                break
            bits *= 2
        #: Whether what is not finite is a pole that was met exactly, or comes of one.
        self.poles = poles
        with precision(bits):
            literals = bool(run.defined.record.literals or run.backward.literals)
            self.set = self._derivative(ties=True, literals=literals)[0] if self.ties or literals else self.point
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
                    self.point[number][component] = self.set[number][component] = known
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
        self.astray = self._decided_otherwise(exact)
        self._note(exact)
        return [[exact[i] for i in ids.ravel().tolist()] for ids in self.run.results]

    def _note(self, exact: Exact) -> None:
        self.vague, self.beyond = self.vague or exact.vague, self.beyond or exact.beyond

    def _decided_otherwise(self, exact: Exact) -> bool:
        """Whether the run chose by an infinity or NaN where there is a number, or by numbers that are equal, or not, by
        their rounding alone: it is then not the program's branch."""
        record = self.run.backward
        shown = {i for s in record.steps for i in s.out.ravel().tolist()}
        for d in record.decisions:
            pair = (d.left, d.right)
            if not d.relation or not any(i in shown for i in pair):
                continue
            if any(i in shown and not math.isfinite(record.held[i]) and exact[i].is_finite() for i in pair):
                return True
            if d.relation in ("eq", "ne") and all(math.isfinite(record.held[i]) for i in pair):
                x, y = exact[d.left], exact[d.right]
                if not x.overlaps(y) if record.held[d.left] == record.held[d.right] else x == y:
                    return True
        return False

    def torn(self, number: int, component: int) -> bool:
        """Whether a component is in its set of slopes, and wrong since they do not go together."""
        return not self.together and self.set[number][component].overlaps(self.program[number][component])

    def unresolved(self, number: int, component: int) -> bool:
        """Whether the derivative is known here, and of the program's number no precision tells what it is."""
        x, y = self.point[number][component], self.program_point[number][component]
        return x.is_finite() and not y.is_finite() and self.vague and not (self.beyond or self.astray)

    def _wrong(self, number: int, component: int) -> Formula:
        """What is to be said of a component that is not the derivative."""
        if self.astray or self.flushed:
            return "unknown"
        if self.order.excuses(number, component, self._alike):
            # In the order of the program this is its derivative, as far as anybody knows.
            self.point[number][component] = self.set[number][component] = self.program_point[number][component]
            return "unknown"
        return "wrong"

    def _alike(self, places: Places) -> bool:
        truth, program = (sum((of[n][c] for n, c in places), ZERO) for of in (self.set, self.program))
        return not (truth.is_finite() and program.is_finite()) or bool(truth.overlaps(program))

    @cached_property
    def order(self) -> EqualOrder:
        return EqualOrder(self.run)

    @cached_property
    def together(self) -> bool:
        """Whether what the program takes of the slopes at ties goes together, as far as one direction shows that."""
        if self.run.mode != "reverse" or self.aside:
            return True
        with precision(self.bits):
            return together.in_balls(self.run, self.program)

    @cached_property
    def flushed(self) -> bool:
        """Whether a number chose that hardware may flush to 0: the branch may be that of 0."""
        return self.flush and chosen_by_subnormals(self.run)

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
        """Leading bits to which something that is `off` is known: of the number, or of what is lost beside its tensor.

        A derivative that is 0 by cancellation has no leading bits: it is known to u of the tensor's largest number, to
        the format's smallest, or as a part of what cancels.
        """
        if not off > 0:
            return math.inf
        format = self.run.judged[number].format
        beside = () if self.alone else self.point[number]
        largest = max((abs(x).upper() for x in beside if x.is_finite()), default=ZERO)
        size = larger(abs(self.point[number][component]).upper(), largest * power_of_two(-format.precision))
        size = larger(size, power_of_two(format.emin - format.precision + 1))
        if self.point[number][component].contains(0):
            size = larger(size, arb(self._cancelled(number)[component]))
        return to_float((size / off).log() / arb.const_log2())

    def _cancelled(self, number: int) -> Sequence[float]:
        """What cancels in the components of this gradient that are 0."""
        if number not in self._sizes:
            zero = [c for c, x in enumerate(self.point[number]) if x.contains(0) and not x.is_zero()]
            self._sizes[number] = cancelled(self.run.backward, self.run.results[number], zero).ravel().tolist()
        return self._sizes[number]

    def formula(self, number: int, component: int, format: Format) -> tuple[Formula, float]:
        """What is to be said of one component's formula, and to how many bits."""
        truth, program = self.set[number][component], self.program[number][component]
        point, at = self.point[number][component], self.program_point[number][component]
        if not point.is_finite():
            return ("singular" if self.poles else "unknown"), math.inf
        if not at.is_finite():
            # What is infinite has no derivative, also where a branch of the program says that it is constant.
            endless = self.endless or (self.other is not None and self.other.endless(number, component))
            met: Formula = "singular" if endless else "undefined"
            return (met if self.poles and not self.astray else "unknown"), math.inf
        if not truth.overlaps(program):
            apart = self._bits(number, component, abs(at - point).upper())
            if self.run.definition is not None and apart >= agreement(self.run, format):
                return "right", apart  # an approximation that is meant
            return self._wrong(number, component), math.inf
        needed, known = format.precision + 3, self._bits(number, component, at.rad() + point.rad())
        if known < needed:
            return "unknown", known
        if not at.overlaps(point):  # the same by another slope of a tie, or by what a literal may have been
            by_any = self._bits(number, component, program.rad() + (ZERO if self.ties else truth.rad()))
            # With the very literals that were read they agree to so many bits; whatever these stand for, to those.
            known = min(known, max(by_any, self._bits(number, component, abs(at - point).upper())))
            if known < min(needed, DECIDED):
                return "unknown", known
        if (number, component) in self.aside:
            return "kink", known
        if not (self.ties and _is_set(truth)):
            return "right", known
        if self.together:
            return "kink", known
        # Along that direction equal arguments move alike, in whatever order they come.
        return ("unknown" if self.astray or self.flushed or not self.order.own else "wrong"), math.inf


def gradients(run: Run, profile: Profile) -> Iterator[Gradient]:
    """One judgement for every argument and route."""
    in_arrays = _in_arrays(run, profile) if fits(run) else None
    yield from _in_balls(run, profile) if in_arrays is None else in_arrays


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


def _left_open(run: Run, argument: Tensor, route: str, error: OutOfRange) -> Gradient:
    judgement = Judgement(
        "undecided", math.nan, None, None, None, None, None, None, None, None, None, None, 0,
        f"size: too large for balls, and array arithmetic does not hold {error}",
        formula="unknown", execution="undecided",
    )  # fmt: skip
    return Gradient(
        argument.name, route, judgement, 0.0, mode=run.mode, dtype=argument.format.name, elements=argument.ids.size
    )


def _in_balls(run: Run, profile: Profile) -> Iterator[Gradient]:
    truth = Truth(run, flush=profile.flush)
    wanted = [(ids, a.format) for a, ids in zip(run.judged, run.results, strict=True)]

    def evaluated(asked: Iterable[tuple[str, Sums, Taken]]) -> list[tuple[str, list[list[tuple[Outcome, ...]]]]]:
        return [(name, outcomes_of(run.backward, profile, wanted, sums, form)) for name, sums, form in asked]

    with precision(truth.bits):
        candidates = evaluated(programs(run))
        if not _held(run, [outcomes for _, outcomes in candidates]):
            candidates += evaluated(mixed_programs(run, profile))
    for number, argument in enumerate(run.judged):
        with precision(truth.bits):
            formulas = [truth.formula(number, c, argument.format) for c in range(argument.ids.size)]
        known = truth.set if truth.ties else truth.point
        sets = [_truth(x, argument.format, profile, bool(truth.ties)) for x in known[number]]
        for route, returned in run.answers.items():
            got = [float(x) for x in np.asarray(returned[number], dtype=np.float64).ravel()]
            yield _judged(run, truth, number, argument, route, got, formulas, candidates, sets, profile)


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


def _truth(x: arb, format: Format, profile: Profile, ties: bool) -> Rounded:
    """A truth as the judge reads it: a ball whose radius is no rounding, or of `ties` a set's middle and half width."""
    ops = RoundedBalls(format, profile)
    if not x.is_finite():
        return Rounded(ops, ZERO, ZERO, ANYTHING)
    return Rounded(ops, x.mid(), ZERO, 0, x.rad()) if ties and _is_set(x) else Rounded(ops, x)


def _is_set(x: arb) -> bool:
    """Whether these are the slopes of a kink, and no number that is known well."""
    return x.is_finite() and x.rad() > 0 and x.rel_accuracy_bits() <= 40


def _judged(
    run: Run,
    truth: Truth,
    number: int,
    argument: Tensor,
    route: str,
    got: Sequence[float],
    formulas: Sequence[tuple[Formula, float]],
    candidates: Sequence[tuple[str, list[list[tuple[Outcome, ...]]]]],
    sets: Sequence[Rounded],
    profile: Profile,
) -> Gradient:
    if not got:
        return _gradient(run, argument, route, _nothing(), "right", math.inf, truth.ties)
    with precision(truth.bits):
        # An infinity or NaN in the place of a derivative that there is not is held against nobody.
        nothing = (Rounded(RoundedBalls(argument.format, profile), ZERO, ZERO, ANYTHING | OVERFLOWED),)
        excused = [f == "singular" and not math.isfinite(x) for (f, _), x in zip(formulas, got, strict=True)]
        of = [
            Candidate(name, [nothing if e else o for e, o in zip(excused, outcomes[number], strict=True)])
            for name, outcomes in candidates
        ]
        digits = _Keeping(run, truth, number, of[0], profile)
        judgement = judge(got, of, argument.format, sets, condition=digits.condition, exhibited=digits.exhibited)
        judgement = digits.said(judgement)
    formula: Formula = min((f for f, _ in formulas), key=FORMULA.index, default="right")
    bits = min((b for _, b in formulas), default=math.inf)
    if formula == "unknown" and truth.order.excused:
        judgement = equal_order.undecided(judgement)
    # Where nothing overflowed, or an infinity is of a divisor that is 0 as far as can be seen, nothing is known.
    none = all(map(math.isfinite, got)) or truth.unresolved(number, judgement.worst_index)
    if formula == "unknown" and judgement.execution == "overflow" and none:
        judgement = replace(judgement, execution="undecided")
    if tells(judgement, formula):
        among = {c: ulp_error(got[c], sets[c], argument.format) for c, (f, _) in enumerate(formulas) if f == formula}
        worst = max(among, key=lambda c: math.inf if math.isnan(among[c]) else among[c])
        judgement = shown_at(judgement, worst, got[worst], sets[worst], argument.format)
    shown = judgement.worst_index
    if formulas[shown][0] == "wrong" and truth.torn(number, shown):
        judgement = replace(judgement, reason=noted(judgement.reason, together.APART))
    wrong = np.array([c for c, (f, _) in enumerate(formulas) if f in ("wrong", "undefined")], dtype=np.int64)
    return _gradient(run, argument, route, with_wrong(judgement, wrong), formula, bits, truth.ties)


def _nothing() -> Judgement:
    """Of a tensor without numbers, which has what it should."""
    return Judgement(
        "conforms", math.nan, None, None, None, None, None, None, None, None, None, None, 0, None,
        formula="right", execution="within", accuracy="certified",
    )  # fmt: skip


@dataclass(frozen=True)
class _Keeping:
    """What there is to be said of the digits of one gradient, where it is asked."""

    run: Run
    truth: Truth
    number: int
    candidate: Candidate
    profile: Profile

    @property
    def ids(self) -> list[int]:
        return [int(i) for i in self.run.results[self.number].ravel()]

    def condition(self) -> arb:
        balls = zip(self.ids, self.candidate.components, strict=True)
        off = {i: to_float(b.radius) for i, outcomes in balls if (b := ball_of(outcomes)) is not None}
        return arb(keeping.condition(self.truth.backward, self.run.given, off) or 0.0)

    def exhibited(self) -> list[Candidate]:
        """Another program that may keep the digits; of tangents none is tried."""
        run = self.run
        if run.mode != "reverse" or any(step.implicit for step in run.forward.steps):
            return []  # there is no row of the table for what solves equations
        seeds = [run.backward.held[c].ravel().tolist() for c in run.cotangents]
        arguments = [a.ids for a in run.arguments]
        found = keeping.by_table(run.forward, self.profile, list(zip(run.outputs, seeds, strict=True)), arguments)
        return [Candidate(keeping.BY_TABLE, [(x,) for x in found[self.number]])]

    def said(self, judgement: Judgement) -> Judgement:
        """The judgement, with the operation that the digits go at."""
        if judgement.accuracy in (None, "certified") or not self.ids:
            return judgement
        found = keeping.loser(self.truth.backward, self.ids[judgement.worst_index])
        if found is None:
            return judgement
        step, moved = found
        much = f"moves it by {moved:.2g} of itself" if math.isfinite(moved) else "is all of it"
        where = f"digits go at {step.name} ({step.line or 'no line'}): one rounding there {much}"
        return replace(judgement, reason=noted(judgement.reason, where))


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
