"""Every number of a recorded run of an operator judged by itself: by arrays, and by balls what these leave open.

The questions and words are those of `check_program`, of a component alone and not of a tensor. A number is lost where
its program keeps less than two bits, and it has itself eight fewer than the operator correctly rounded; where the
program may lose the digits and did not, as where subnormal numbers may be flushed, a pass is vacuous.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from flint import arb
from numpy.typing import NDArray

from gradconform.conformance.programs.check_program import Truth, _is_set, _truth
from gradconform.conformance.programs.check_program_arrays import Truths, programs, result
from gradconform.conformance.sweep import ways
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import Format
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.arithmetic.rounded import Rounded, Sums
from gradconform.reference.array_judge import last_places
from gradconform.reference.judge import FEW_BITS, FORMULA, Candidate, Judgement, Verdict, judge, verdict_of
from gradconform.reference.outcomes import Outcome
from gradconform.reference.programs.allowance import outcomes_of
from gradconform.reference.programs.array_allowance import ArrayAllowed, all_of
from gradconform.reference.programs.parts import part
from gradconform.reference.programs.run import Run

#: Bits of a formula that is decided where rounded literals leave less than p + 3.
DECIDED = 40
#: Bits that another program must keep beyond those of one that has lost its digits.
MORE = 8
_RIGHT = FORMULA.index("right")


@dataclass(frozen=True)
class Judged:
    """Of each number: its verdict, the error in ulp, the share of the allowance, the truth, and by which it was judged.

    Where a verdict has no error or share these are NaN. `unknown` are those of whose formula nothing is known.
    """

    verdicts: NDArray[np.object_]
    ulps: NDArray[np.float64]
    shares: NDArray[np.float64]
    truths: NDArray[np.float64]
    unknown: NDArray[np.bool_]
    by_balls: NDArray[np.bool_]


def by_arrays(run: Run, profile: Profile, got: NDArray[np.float64]) -> Judged:
    """What whole arrays can say of the first result of a run; the verdict is empty where the balls have to be asked."""
    format = run.judged[0].format
    truths = Truths(run, DECIDED, profile.flush)
    truth = truths.truth[0]
    formula, _ = truths.formulas(0, alone=True)
    size = got.size
    verdicts, shares = np.full(size, "", dtype=object), np.full(size, np.nan)
    unknown = np.zeros(size, bool)
    smallest = 2.0 ** (format.emin - format.precision + 1)
    with np.errstate(all="ignore"):
        magnitude = np.abs(truth.high)
        sharp = (truth.high != 0) & (truth.radius[1] <= magnitude * 2.0**-DECIDED)
        #: Of what is far below the format's smallest number, that is all that has to be known.
        vanishing = magnitude + truth.radius[1] < smallest / 4
        known = np.isfinite(magnitude) & np.isfinite(truth.radius).all(axis=0) & (sharp | vanishing)
        right = known & (formula == _RIGHT)
        #: Beyond float64 the arrays know nothing; an infinity that the program gives there is one all the same.
        beyond = ~np.isfinite(magnitude)
        ulps = np.abs((got - truth.mid.hi) - truth.mid.lo) / last_places(np.maximum(magnitude, smallest), format)
        for sums, form in _programs(run):
            if not ((right | beyond) & (verdicts == "")).any():
                break
            allowed = ArrayAllowed(run.backward, profile, sums, form).evaluate()
            value, odd = result(allowed, run.results[0], allowed.arithmetics[format.name])
            specials = np.zeros(size, np.uint8) if value.specials is None else value.specials
            overflow = ways.admitted(got, odd, specials) & (verdicts == "") & (right | beyond)
            verdicts[overflow], unknown[overflow & beyond] = "out of range", True
            radius = np.broadcast_to(value.radii(), got.shape)
            low = value.mid.lo if hasattr(value.mid, "lo") else 0.0
            error = np.abs((got - value.high) - low)
            sure = (odd == 0) & (specials == 0) & (error <= radius * (1 - ways.EDGE)) & np.isfinite(got)
            within = right & (verdicts == "") & sure
            off = np.abs((value.high - truth.mid.hi) + (low - truth.mid.lo)) + radius
            bits = np.where(off > 0, np.log2(magnitude) - np.log2(off), np.inf)
            own = np.log2(magnitude) - np.log2(np.abs((got - truth.mid.hi) - truth.mid.lo))
            verdicts[within] = np.where(vanishing, "vacuous", _kept(bits, own, magnitude, format))[within]
            shares[within] = np.where(radius > 0, error / np.where(radius > 0, radius, 1.0), 0.0)[within]
    settled = verdicts != ""
    within = settled & np.isfinite(got)
    return Judged(verdicts, np.where(within, ulps, np.nan), shares, truth.high, unknown, ~settled)


def _kept(
    bits: NDArray[np.float64], own: NDArray[np.float64], truth: NDArray[np.float64], format: Format
) -> NDArray[np.object_]:
    """The verdict of what is right and within, by the bits that its program keeps, and by those that it has itself."""
    with np.errstate(all="ignore"):
        best = np.log2(np.abs(truth)) - np.log2(last_places(np.abs(truth), format) / 2)
    lost = (bits < FEW_BITS) & (best >= np.maximum(bits, own) + MORE)
    return np.where(lost, "lost", np.where(bits > 0, "conforms", "vacuous")).astype(object)


def by_balls(run: Run, profile: Profile, got: NDArray[np.float64]) -> Judged:
    """Every number of the first result of a run by balls."""
    argument = run.judged[0]
    format, size = argument.format, got.size
    truth = Truth(run, alone=True, flush=profile.flush)
    verdicts, unknown = np.full(size, "", dtype=object), np.zeros(size, bool)
    ulps, shares, truths = (np.full(size, np.nan) for _ in range(3))
    with precision(truth.bits):
        known = truth.set[0] if truth.ties else truth.point[0]
        near = _near(got, np.array([_number(x) for x in known]), format, profile)
        candidates = [Outcomes(run, profile, sums, form, got, near) for sums, form in _programs(run)]
        for c in range(size):
            formula, _ = truth.formula(0, c, format)
            at = _truth(known[c], format, profile, bool(truth.ties))
            centre = Rounded(at.arithmetic, truth.program_point[0][c]) if formula == "kink" else at
            judgement = judge([float(got[c])], [of.candidate(c) for of in candidates], format, [centre])
            if _open(judgement) and any(of.by_arrays(c) for of in candidates):
                judgement = judge([float(got[c])], [of.candidate(c, alone=True) for of in candidates], format, [centre])
            execution, accuracy = judgement.execution, judgement.accuracy
            if execution is None:
                verdicts[c] = judgement.verdict
                continue
            if formula == "unknown" and execution == "overflow" and math.isfinite(got[c]):
                execution = "undecided"
            if execution == "within" and not math.isfinite(got[c]):
                execution = "overflow"  # of what lies beyond the format
            verdict: Verdict = verdict_of(formula, execution, accuracy or "vacuous")
            if formula == "unknown" and execution == "within":
                unknown[c], verdict = True, "conforms"
            if verdict in ("conforms", "vacuous") and formula in ("right", "kink"):
                kept = judgement.certified_bits
                bits = np.array([kept if kept is not None else math.inf if accuracy == "certified" else -math.inf])
                exact = _number(known[c])
                with np.errstate(divide="ignore", invalid="ignore"):
                    own = np.log2(np.abs(exact)) - np.log2(np.abs(np.array([got[c] - exact])))
                verdict = _kept(bits, own, np.array([exact]), format)[0] if exact else verdict
            verdicts[c] = verdict
            truths[c] = _number(known[c])
            inside = _is_set(known[c]) and known[c].contains(arb(float(got[c]))) if math.isfinite(got[c]) else False
            ulps[c] = 0.0 if inside else judgement.error_ulp if judgement.error_ulp is not None else math.nan
            shares[c] = judgement.share if judgement.share is not None else math.nan
    return Judged(verdicts, ulps, shares, truths, unknown, np.ones(size, bool))


def _programs(run: Run) -> list[tuple[Sums, int]]:
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
        self.run, self.profile, self.sums, self.form = run, profile, sums, form
        self.found = ways.outcomes(run, profile, sums, form, got, near)

    def by_arrays(self, n: int) -> bool:
        return self.found[n] is not None

    def candidate(self, n: int, alone: bool = False) -> Candidate:
        """One number's; `alone` by balls, whatever the arrays say."""
        found = None if alone else self.found[n]
        return Candidate(f"form {self.form + 1}", [self._alone(n) if found is None else found])

    def _alone(self, n: int) -> tuple[Outcome, ...]:
        one, format = self.run.results[0].ravel()[n : n + 1], self.run.judged[0].format
        return outcomes_of(part(self.run.backward, one), self.profile, [(one, format)], self.sums, self.form)[0][0]


def _near(got: NDArray[np.float64], truth: NDArray[np.float64], format: Format, profile: Profile) -> NDArray[np.bool_]:
    """Where what was returned is within a unit in the last place of the truth, or 0 for what may be flushed."""
    smallest = 2.0**format.emin
    with np.errstate(invalid="ignore"):
        off = np.abs(got - truth)
        flushed = (got == 0) & (np.abs(truth) < smallest) & profile.flush
        return np.asarray(flushed | (off <= last_places(np.maximum(np.abs(truth), smallest), format)))


def _open(judgement: Judgement) -> bool:
    """Whether radii that are a little smaller might say something else."""
    near = judgement.share is not None and judgement.share > 1 - ways.EDGE
    return near or judgement.execution not in ("within", "overflow")


def _number(x: arb) -> float:
    return float(x.mid()) if x.is_finite() else math.nan


def together(found: Judged, places: Sequence[int] | NDArray[np.int64], rest: Judged) -> None:
    """Put what the balls said in its places."""
    for column in ("verdicts", "ulps", "shares", "truths", "unknown"):
        getattr(found, column)[places] = getattr(rest, column)
