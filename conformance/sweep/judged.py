"""Every number of a recorded run of an operator judged by itself: by arrays, and by balls what these leave open.

The questions and words are those of `check_program`, of a component alone and not of a tensor. A number is lost where
its program keeps less than two bits, and it has itself eight fewer than the operator correctly rounded; where the
program may lose the digits and did not, as where subnormal numbers may be flushed, a pass is vacuous.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from typing import Any

import numpy as np
from flint import arb
from numpy.typing import NDArray

from gradconform.conformance.programs.accepted import programs, result
from gradconform.conformance.programs.array_truths import Truths
from gradconform.conformance.programs.truth import DECIDED, Truth, as_read, is_set
from gradconform.conformance.sweep import ways
from gradconform.reference.arithmetic.arrays import RoundedArray
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import Format
from gradconform.reference.arithmetic.midpoints import DoubleArray, OutOfRange
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.arithmetic.rounded import DOUBT, Rounded, Sums
from gradconform.reference.array_judge import last_places
from gradconform.reference.judge import FEW_BITS, FORMULA, Candidate, Judgement, Verdict, judge, verdict_of
from gradconform.reference.outcomes import Outcome
from gradconform.reference.programs import words
from gradconform.reference.programs.allowance import outcomes_of
from gradconform.reference.programs.array_allowance import ArrayAllowed, all_of
from gradconform.reference.programs.parts import part
from gradconform.reference.programs.run import Run
from gradconform.reference.programs.words import Words

#: Bits that another program must keep beyond those of one that has lost its digits.
MORE = 8
_RIGHT = FORMULA.index("right")


#: Verdicts of a number, and what stands for those that are open, and of what is no number of the domain.
WORDS = (
    "", "conforms", "vacuous", "lost", "ill-conditioned", "out of range", "deviates", "undecided", "singular",
    "special", "outside the domain",
)  # fmt: skip
_OPEN, _CONFORMS, _VACUOUS, _LOST = range(4)
_OUT_OF_RANGE = WORDS.index("out of range")


@dataclass(frozen=True)
class Judged:
    """Of each number: its verdict, the error in ulp, the share of the allowance, the truth, and by which it was judged.

    `codes` are places in WORDS. Where a verdict has no error or share these are NaN. `unknown` are those of whose
    formula nothing is known.
    """

    codes: NDArray[np.int8]
    ulps: NDArray[np.float64]
    shares: NDArray[np.float64]
    truths: NDArray[np.float64]
    unknown: NDArray[np.bool_]
    by_balls: NDArray[np.bool_]

    @property
    def open(self) -> NDArray[np.int64]:
        """The places of those that have no verdict."""
        return np.flatnonzero(self.codes == _OPEN)

    @property
    def verdicts(self) -> NDArray[np.object_]:
        return np.array(WORDS, dtype=object)[self.codes]

    @classmethod
    def none(cls, size: int) -> Judged:
        """Nothing is said yet."""
        ulps, shares, truths = (np.full(size, np.nan) for _ in range(3))
        return cls(np.full(size, _OPEN, np.int8), ulps, shares, truths, np.zeros(size, bool), np.zeros(size, bool))

    def cleared(self) -> Judged:
        """The same memory, in which nothing is said."""
        self.forget(slice(None))
        return self

    def forget(self, some: NDArray[np.bool_] | slice) -> None:
        """Of some of the numbers nothing is said."""
        for column, nothing in zip(fields(self), (_OPEN, np.nan, np.nan, np.nan, False, False), strict=True):
            getattr(self, column.name)[some] = nothing

    def of(self, part: slice) -> Judged:
        """Some that follow one another: what is said of these is said here."""
        return Judged(*(getattr(self, column.name)[part] for column in fields(self)))

    def put(self, places: NDArray[np.int64] | slice, rest: Judged) -> None:
        """What was said of some of the numbers, in their places."""
        for column in fields(self):
            getattr(self, column.name)[places] = getattr(rest, column.name)


def by_arrays(
    run: Run,
    profile: Profile,
    got: NDArray[np.float64],
    blunt: bool = False,
    same: Callable[[], bool] = lambda: False,
) -> Judged:
    """What whole arrays can say of the first result of a run, of which this was returned; others are left open.

    By `blunt` truths of 44 bits, or by double words. The formula is right also where float64 does not hold the truth if
    the program is the `same` as the definition, step by step; that is asked only there.
    """
    try:
        return _by_arrays(run, profile, got, blunt, same)
    except OutOfRange:  # what double words do not hold
        return Judged.none(got.size)


def _by_arrays(run: Run, profile: Profile, got: NDArray[np.float64], blunt: bool, same: Callable[[], bool]) -> Judged:
    format = run.judged[0].format
    truths = Truths(run, DECIDED, profile.flush, blunt)
    truth = truths.truth[0]
    found = Judged.none(got.size)
    with np.errstate(all="ignore"):
        right = truths.formulas(0).codes == _RIGHT
        judging = _Judging(truth, right, got, format, profile.flush, same)
        forms = programs_of(run)
        for sums, form in forms:
            if not judging.left(found).any():
                break
            allowed = ArrayAllowed(run.backward, profile, sums, form).evaluate()
            value, odd = result(allowed, run.results[0], allowed.arithmetics[format.name])
            judging.held_against(found, value, odd)
        near = _near(got, truth.high, format, profile.flush)
        outside = judging.right.copy()
        for sums, form in forms:
            if not judging.left(found).any():
                break
            for wide in (True, False):
                way = ways.Way(run.backward, profile, sums, form, wide)
                way.evaluate()
                value, odd = result(way, run.results[0], way.arithmetics[format.name])
                judging.held_against(found, value, odd, near if wide else None)
                outside &= judging.outside(value, odd)
                if not way.beyond:
                    break
        if profile.flush and not judging.finite.all():
            judging.overflowing(found, run, gradual(profile))
        # What is outside of both ways of every program, of which nothing else is known to lie beyond its format.
        outside &= found.codes == _OPEN
        found.codes[outside], found.shares[outside] = WORDS.index("deviates"), judging.nearest[outside]
    within = (found.codes != _OPEN) & judging.finite
    found.ulps[within], found.truths[:] = judging.ulps[within], truth.high
    found.ulps[outside & ~judging.finite] = np.inf
    return found


def by_kernels(
    found: Judged,
    truth: RoundedArray,
    values: Iterable[RoundedArray],
    got: NDArray[np.float64],
    format: Format,
    flush: bool,
    same: Callable[[], bool] = lambda: False,
) -> None:
    """Say of numbers, of which nothing is, what their program makes of them that is right and may hold one of `values`.

    These are of the forms of its rounding, of which a further one is asked only where something is left open. It is
    right where it is the `same` as the definition, step by step, or its first form meets that: see `_meets`.
    """
    forms = iter(values)
    value = next(forms)
    unknown = np.zeros(got.size, bool) if truth.specials is None else truth.specials != 0
    exact = words.blunt(np.where(unknown, np.nan, truth.mid), np.where(unknown, np.inf, truth.radii())[None])
    with np.errstate(all="ignore"):
        right = np.ones((), bool) if same() else _meets(value, exact, format)
        judging = _Judging(exact, right, got, format, flush, same)
        # Of a program that overflows on its way the value has all that is finite, whichever way it goes.
        odd, near = np.zeros(got.size), partial(_near, got, exact.high, format, flush)
        judging.held_against(found, value, odd, None if value.specials is None else near())
        while judging.left(found).any() and (further := next(forms, None)) is not None:
            judging.held_against(found, further, odd, None if further.specials is None else near())
    within = (found.codes != _OPEN) & np.isfinite(got)
    found.ulps[:], found.truths[:] = np.where(within, judging.ulps, np.nan), exact.high


def _meets(value: RoundedArray, truth: Words, format: Format) -> NDArray[np.bool_]:
    """Where the midpoint of what a program may hold, which is the program without rounding, is the truth.

    It is known to the arithmetic's `slack` of the radius: by that much, at most, the program is something else. So are
    numbers that are 0 in the format, or beyond it, on both sides: there the arguments of functions are moved nearer.
    """
    smallest, infinite = 2.0 ** (format.emin - format.precision + 1), value.arithmetic.infinite
    mid, exact = value.high, truth.high
    gap, reach = np.abs(mid - exact), value.radii() * value.arithmetic.slack + truth.radius[-1]
    nothing = np.maximum(np.abs(mid), np.abs(exact)) < smallest / 4
    beyond = (np.minimum(np.abs(mid), np.abs(exact)) >= infinite) & ((mid > 0) == (exact > 0))
    return np.asarray((gap <= reach) | nothing | beyond)


class _Judging:
    """What is known of the truths of many numbers, and of what was returned, whatever program is asked."""

    def __init__(
        self,
        truth: Words,
        right: NDArray[np.bool_],
        got: NDArray[np.float64],
        format: Format,
        flush: bool,
        same: Callable[[], bool],
    ) -> None:
        self.truth, self.got, self.format = truth, got, format
        smallest = 2.0 ** (format.emin - format.precision + 1)
        self.magnitude = np.abs(truth.high)
        sharp = (truth.high != 0) & (truth.radius[-1] <= self.magnitude * 2.0**-DECIDED)
        #: Of what is far below the format's smallest number, that is all that has to be known.
        self.vanishing = self.magnitude + truth.radius[-1] < smallest / 4
        known = np.isfinite(self.magnitude) & np.isfinite(truth.radius).all(axis=0) & (sharp | self.vanishing)
        self.right = known & right
        #: Beyond float64 the arrays know no truth; a program that is the definition is right there, too.
        beyond = ~np.isfinite(self.magnitude)
        self.known = self.right | beyond if beyond.any() and same() else self.right
        self.off = np.abs((got - truth.mid.hi) - truth.mid.lo)
        self.ulps = self.off / last_places(np.maximum(self.magnitude, smallest), format)
        self.finite = np.isfinite(got)
        #: 0 in the place of what is certainly subnormal is that, flushed, however its radius comes to hold it.
        self.least = 2.0**format.emin if flush else 0.0
        #: Shares of the allowance of the nearest program, of what `outside` was asked about.
        self.nearest = np.full(got.size, np.inf)

    def left(self, found: Judged) -> NDArray[np.bool_]:
        return np.asarray(self.known & (found.codes == _OPEN))

    def held_against(
        self, found: Judged, value: RoundedArray, odd: NDArray[np.float64], doubtless: NDArray[np.bool_] | None = None
    ) -> None:
        """Give what is still open the verdict by a program, where this has one.

        Where it may overflow, too, it has when what was returned is `doubtless` that of the way without.
        """
        got, truth, left = self.got, self.truth, self.left(found)
        specials = np.zeros(got.size, np.uint8) if value.specials is None else value.specials
        if not self.finite.all():
            found.codes[ways.admitted(got, odd, specials) & left] = _OUT_OF_RANGE
        radius, error, low = self._off(value)
        size = np.abs(value.high)
        flushed = (got == 0) & (error <= radius) & (size + radius < self.least)
        clear = (odd == 0) & (
            (specials == 0) | (doubtless & (specials == DOUBT)) if doubtless is not None else specials == 0
        )
        inside = (error <= radius * (1 - ways.EDGE)) | flushed
        within = self.right & left & clear & inside & self.finite
        off = np.abs((value.high - truth.mid.hi) + (low - truth.mid.lo)) + radius
        codes = _kept(off, self.off, self.magnitude, self.format)
        np.copyto(found.codes, np.where(self.vanishing, _VACUOUS, codes), where=within)
        np.copyto(found.shares, np.divide(error, radius, out=np.zeros(got.size), where=radius > 0), where=within)

    def outside(self, value: RoundedArray, odd: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Where a program certainly has not what was returned."""
        specials = np.zeros(self.got.size, np.uint8) if value.specials is None else value.specials
        radius, error, _ = self._off(value)
        plain = (odd == 0) & (specials == 0)
        self.nearest = np.fmin(self.nearest, np.where(plain, error / radius, np.inf))
        far = plain & np.isfinite(radius) & ~(error <= radius * (1 + ways.EDGE))
        return np.asarray(np.where(odd == 0, far, ~ways.admitted(self.got, odd, specials)))

    def _off(self, value: RoundedArray) -> tuple[NDArray[np.float64], NDArray[np.float64], Any]:
        """The radius of what a program has, how far what was returned is from its midpoint, and its lower word."""
        low = value.mid.lo if isinstance(value.mid, DoubleArray) else 0.0
        return np.broadcast_to(value.radii(), self.got.shape), np.abs((self.got - value.high) - low), low

    def overflowing(self, found: Judged, run: Run, gradual: Profile) -> None:
        """Of infinities and NaN it is enough that a program gives them that flushes nothing, which each may be."""
        for sums, form in programs_of(run):
            if not (self.left(found) & ~self.finite).any():
                return
            way = ways.Way(run.backward, gradual, sums, form, wide=False)
            way.evaluate()
            value, odd = result(way, run.results[0], way.arithmetics[self.format.name])
            specials = np.zeros(odd.shape, np.uint8) if value.specials is None else value.specials
            found.codes[ways.admitted(self.got, odd, specials) & self.left(found)] = _OUT_OF_RANGE


def _kept(
    off: NDArray[np.float64], own: NDArray[np.float64], truth: NDArray[np.float64], format: Format
) -> NDArray[np.int8]:
    """The verdict of what is right and within, by how far its program may be off the truth, and how far it is itself.

    In bits −log2(off/|truth|); half a unit in the last place is what the operator is off, correctly rounded.
    """
    vague = off * 2.0**FEW_BITS > truth
    codes = np.where((off < truth) | (off == 0), _CONFORMS, _VACUOUS).astype(np.int8)
    if not vague.any():
        return codes
    more = last_places(truth, format) * 2.0 ** (MORE - 1)  # half of float64's least unit is 0
    lost = vague & (more <= np.minimum(off, own)) & (truth > 0)
    return np.where(lost, np.int8(_LOST), codes)


def by_balls(run: Run, profile: Profile, got: NDArray[np.float64]) -> Judged:
    """Every number of the first result of a run by balls."""
    argument = run.judged[0]
    format, size = argument.format, got.size
    truth = Truth(run, alone=True, flush=profile.flush)
    found = Judged.none(size)
    found.by_balls[:] = True
    with precision(truth.bits):
        known = truth.set[0] if truth.ties else truth.point[0]
        near = _near(got, np.array([_number(x) for x in known]), format, profile.flush)
        candidates = [Outcomes(run, profile, sums, form, got, near) for sums, form in programs_of(run)]
        for c in range(size):
            said = truth.formula(0, c, format)
            formula, exactly = said.formula, known[c] if said.truth is None else said.truth
            at = as_read(exactly, format, profile, ties=bool(truth.ties) or exactly is said.truth)
            centre = Rounded(at.arithmetic, truth.program_point[0][c]) if formula == "kink" else at
            judgement = judge([float(got[c])], [of.candidate(c) for of in candidates], format, [centre])
            if _open(judgement) and any(of.by_arrays(c) for of in candidates):
                judgement = judge([float(got[c])], [of.candidate(c, alone=True) for of in candidates], format, [centre])
            execution, accuracy = judgement.execution, judgement.accuracy
            if execution is None:
                found.codes[c] = WORDS.index(judgement.verdict)
                continue
            if formula == "unknown" and execution == "overflow" and math.isfinite(got[c]):
                execution = "undecided"
            if execution == "within" and not math.isfinite(got[c]):
                execution = "overflow"  # of what lies beyond the format
            verdict: Verdict = verdict_of(formula, execution, accuracy or "vacuous")
            if formula == "unknown" and execution == "within":
                found.unknown[c], verdict = True, "conforms"
            code, exact = WORDS.index(verdict), _number(exactly)
            if verdict in ("conforms", "vacuous") and formula in ("right", "kink"):
                kept = judgement.certified_bits
                bits = kept if kept is not None else math.inf if accuracy == "certified" else -math.inf
                here = np.array([abs(exact)])
                with np.errstate(all="ignore"):
                    left = _kept(here * np.exp2(-bits), np.abs(got[c : c + 1] - exact), here, format)
                code = int(left[0]) if exact else code
            found.codes[c], found.truths[c] = code, exact
            inside = math.isfinite(got[c]) and is_set(exactly) and exactly.contains(arb(float(got[c])))
            found.ulps[c] = 0.0 if inside else judgement.error_ulp if judgement.error_ulp is not None else math.nan
            found.shares[c] = judgement.share if judgement.share is not None else math.nan
    return found


@cache
def gradual(profile: Profile) -> Profile:
    """The profile, of what flushes nothing."""
    return replace(profile, flush=False)


def programs_of(run: Run) -> list[tuple[Sums, int]]:
    """The programs that differ: how sums are accumulated is nothing to one that has none."""
    ways = [(sums, form) for _, sums, form in programs(run)]
    if any(step.kind == "sop" for step in all_of(run.backward.steps)):
        return ways
    return list({form: (sums, form) for sums, form in reversed(ways)}.values())[::-1]


class Outcomes:
    """What a program may give for each number, of every way through its overflows.

    By whole arrays, where these go every way; else of each number apart, when it is asked for.
    """

    def __init__(
        self,
        run: Run,
        profile: Profile,
        sums: Sums,
        form: int,
        got: NDArray[np.float64],
        near: NDArray[np.bool_],
    ) -> None:
        self.run, self.profile, self.sums, self.form, self.got = run, profile, sums, form, got
        try:
            self.found = ways.outcomes(run, profile, sums, form, got, near)
        except OutOfRange:  # what double words do not hold
            self.found = [None] * got.size

    def by_arrays(self, n: int) -> bool:
        return self.found[n] is not None

    def candidate(self, n: int, alone: bool = False) -> Candidate:
        """One number's; `alone` by balls, whatever the arrays say."""
        found = None if alone else self.found[n]
        return Candidate(f"form {self.form + 1}", [self._alone(n) if found is None else found])

    def _alone(self, n: int) -> tuple[Outcome, ...]:
        one, format = self.run.results[0].ravel()[n : n + 1], self.run.judged[0].format
        got = float(self.got[n])
        enough = None if math.isfinite(got) else got
        alone = part(self.run.backward, one)
        return outcomes_of(alone, self.profile, [(one, format)], self.sums, self.form, enough=enough)[0][0]


def _near(got: NDArray[np.float64], truth: NDArray[np.float64], format: Format, flush: bool) -> NDArray[np.bool_]:
    """Where what was returned is within a unit in the last place of the truth, or 0 for what may be flushed."""
    smallest = 2.0**format.emin
    with np.errstate(invalid="ignore"):
        off = np.abs(got - truth)
        flushed = (got == 0) & (np.abs(truth) < smallest) & flush
        return np.asarray(flushed | (off <= last_places(np.maximum(np.abs(truth), smallest), format)))


def _open(judgement: Judgement) -> bool:
    """Whether radii that are a little smaller might say something else."""
    near = judgement.share is not None and judgement.share > 1 - ways.EDGE
    return near or judgement.execution not in ("within", "overflow")


def _number(x: arb) -> float:
    return float(x.mid()) if x.is_finite() else math.nan
