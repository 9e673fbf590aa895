"""The judge: got against truth and allowance, decided rigorously.

A quantity is a tensor of components. A candidate is one accepted form's `Rounded` value for each component; all
candidates enclose the same truth. Precision is raised by the caller until nothing is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cmp_to_key, reduce
from typing import Literal

from flint import arb

from gradconform.reference.equations import Form
from gradconform.reference.exact import decimal, exponent, power_of_two, to_float
from gradconform.reference.formats import Format
from gradconform.reference.rounded import ANYTHING, NAN, NEGATIVE, POSITIVE, Rounded, larger

#: Three questions (see the claim), each with its answers, worst first.
Formula = Literal["wrong", "undefined", "unknown", "singular", "kink", "right"]
Execution = Literal["outside", "undecided", "overflow", "within"]
Accuracy = Literal["lost", "vacuous", "ill-conditioned", "certified"]
FORMULA: tuple[Formula, ...] = ("wrong", "undefined", "unknown", "singular", "kink", "right")
EXECUTION: tuple[Execution, ...] = ("outside", "undecided", "overflow", "within")
ACCURACY: tuple[Accuracy, ...] = ("lost", "vacuous", "ill-conditioned", "certified")

Verdict = Literal[
    "conforms", "deviates", "lost", "vacuous", "ill-conditioned", "out of range", "singular", "undecided",
    "unsupported", "crashed",
]  # fmt: skip
VERDICTS: tuple[Verdict, ...] = (
    "conforms", "deviates", "lost", "vacuous", "ill-conditioned", "out of range", "singular", "undecided",
    "unsupported", "crashed",
)  # fmt: skip

#: The precision, in bits, at which a judgement starts and at which it gives up.
FIRST_PRECISION, PRECISION_CAP = 192, 4096
#: Why a quantity stays undecided.
EDGE = "edge: the error is the allowance to all the bits that were tried"
#: Bits that 25 correct decimal digits of the truth need.
TRUTH_BITS = 84


@dataclass(frozen=True)
class Candidate:
    """One form's value for every component of a quantity."""

    form: str
    components: Sequence[Rounded]


@dataclass(frozen=True)
class Judgement:
    """What is said of one quantity. Numbers are those of its worst component, the one with the largest share."""

    verdict: Verdict
    value: float
    truth: str | None
    truth_radius: float | None
    error_abs: float | None
    error_ulp: float | None
    median_ulp: float | None
    allowance: float | None
    share: float | None
    sharpest_share: float | None
    accepted_form: str | None
    certified_bits: float | None
    worst_index: int
    reason: str | None = None
    max_ulp: float | None = None
    formula: Formula | None = None
    execution: Execution | None = None
    accuracy: Accuracy | None = None
    cause: str | None = None


def ulp(x: arb, target: Format) -> arb:
    """The unit in the last place of the exact number x: 2^(clamp(floor(log2|x|), emin, emax) − (p−1))."""
    magnitude = abs(x)
    if not magnitude.upper() > 0:
        return power_of_two(target.emin - target.precision + 1)
    binade = min(max(exponent(magnitude), target.emin), target.emax)
    return power_of_two(binade - target.precision + 1)


@dataclass(frozen=True)
class Decision:
    """Whether one component of one candidate admits what was got: inside, outside, or not decided at this precision.

    `special` marks an infinity or NaN that the form itself may produce there.
    """

    outcome: Literal["inside", "outside", "undecided"]
    special: bool = False


def _by_radius(a: Candidate, b: Candidate) -> int:
    """Order candidates by their largest radius; radii may lie far outside float64's range."""
    wide, narrow = (reduce(larger, (ball.radius for ball in c.components)) for c in (a, b))
    return 1 if wide > narrow else -1 if wide < narrow else 0


def decision(got: float, ball: Rounded, bounded: bool) -> Decision:
    """`bounded` says that some form cannot overflow here: then no infinity or NaN is admitted (hypothesis 7)."""
    if ball.specials & ANYTHING:
        return Decision("inside", special=True)
    if not math.isfinite(got):
        special = NAN if math.isnan(got) else POSITIVE if got > 0 else NEGATIVE
        return Decision("inside", special=True) if ball.specials & special and not bounded else Decision("outside")
    error = ball.distance(got)
    if error <= ball.radius:
        return Decision("inside")
    return Decision("outside") if error > ball.radius else Decision("undecided")


def share_of(error: arb, radius: arb) -> float:
    """error/radius with 0/0 = 0 and x/0 = ∞."""
    if error.is_zero():
        return 0.0
    return to_float(error / radius) if radius > 0 else math.inf


def judge(
    got: Sequence[float],
    candidates: Sequence[Candidate],
    target: Format,
    against: Sequence[arb] | None = None,
) -> Judgement:
    """Judge the components `got` against candidates that enclose the same truth.

    `against` holds the magnitudes that certified bits and vacuity are measured by, the truth itself by default.
    A form of which nothing is known is set aside where another is known.
    """
    known = [c for c in candidates if not any(b.specials & ANYTHING for b in c.components)]
    usable = sorted(known or candidates, key=cmp_to_key(_by_radius))
    bounded = [any(not c.components[i].specials for c in usable) for i in range(len(got))]
    decisions = {
        id(c): [decision(*each) for each in zip(got, c.components, bounded, strict=True)] for c in usable
    }  # fmt: skip
    accepting = [c for c in usable if all(d.outcome == "inside" for d in decisions[id(c)])]
    doubtful = [c for c in usable if all(d.outcome != "outside" for d in decisions[id(c)])]
    named = accepting[0] if accepting else usable[-1]
    scale = against if against is not None else [b.exact for b in named.components]

    worst, worst_share = 0, -1.0
    ulps: list[float] = []
    for index, (value, ball) in enumerate(zip(got, named.components, strict=True)):
        if not math.isfinite(value) or ball.specials & ANYTHING:
            share = math.inf
            ulps.append(math.inf)
        else:
            distance = ball.distance(value)
            share = share_of(distance, ball.radius)
            ulps.append(to_float(distance / ulp(ball.exact, target)))
        if decisions[id(named)][index].special:
            share = 0.0
        if share > worst_share:
            worst, worst_share = index, share

    if named.components[worst].specials & ANYTHING:
        return _unknown(got[worst], named.form, worst)
    value, ball, sharpest = got[worst], named.components[worst], usable[0].components[worst]
    finite = math.isfinite(value)
    error = ball.distance(value) if finite else None
    admitted = bool(accepting) and decisions[id(named)][worst].special
    verdict: Verdict
    reason = None
    foreign = [v for v in got if not target.holds(v)]
    if foreign:
        verdict = "deviates"
        reason = f"dtype: {target.name} does not hold {foreign[0]!r}; the answer came in a wider type"
    elif accepting:
        verdict = _accepted(decisions[id(named)], got, named, scale, target)
    else:
        verdict = "undecided" if doubtful else "deviates"
        reason = EDGE if doubtful else None
    return Judgement(
        verdict=verdict,
        value=value,
        truth=decimal(ball.exact),
        truth_radius=to_float(ball.exact.rad()),
        # An infinity or NaN that the form itself may give there has no distance from the truth.
        error_abs=None if admitted else to_float(error) if error is not None else math.inf,
        error_ulp=None if admitted else ulps[worst],
        median_ulp=None if admitted else sorted(ulps)[len(ulps) // 2],
        allowance=to_float(ball.radius),
        share=None if admitted else worst_share,
        sharpest_share=share_of(error, sharpest.radius) if error is not None else None,
        accepted_form=named.form,
        certified_bits=_certified_bits(ball.radius, scale[worst]),
        worst_index=worst,
        reason=reason,
    )


def _unknown(value: float, form: str, worst: int) -> Judgement:
    """Nothing is known of the quantity: an operand was not finite, or a divisor may be zero."""
    return Judgement(
        "out of range", value, None, None, None, None, None, None, None, None, form, None, worst,
        "operands: one is not finite or not known well enough for the formula to have a value here",
    )  # fmt: skip


def _accepted(
    decisions: Sequence[Decision],
    got: Sequence[float],
    named: Candidate,
    scale: Sequence[arb],
    target: Format,
) -> Verdict:
    """conforms, vacuous or out of range, for a quantity that the named form admits."""
    overflow = (2 - power_of_two(-target.precision)) * power_of_two(target.emax)
    for decision, value, ball in zip(decisions, got, named.components, strict=True):
        beyond = math.isinf(value) and not ball.specials & ANYTHING and not abs(ball.exact) + ball.radius < overflow
        if decision.special and not beyond:
            return "out of range"
    for value, ball, magnitude in zip(got, named.components, scale, strict=True):
        if math.isfinite(value) and not ball.radius.is_zero() and not ball.radius < abs(magnitude):
            return "vacuous"
    return "conforms"


def _certified_bits(radius: arb, magnitude: arb) -> float | None:
    """−log2(allowance/|truth|); null where either is zero and the ratio says nothing."""
    ratio = abs(magnitude) / radius if radius > 0 else arb(0)
    return to_float(ratio.log() / arb.const_log2()) if ratio.is_finite() and ratio > 0 else None


def settled(candidates: Sequence[Candidate]) -> bool:
    """Whether the truth is known to the digits that are reported: relatively, or as an exact zero."""
    return all(b.exact.rel_accuracy_bits() >= TRUTH_BITS or b.exact.is_zero() for b in candidates[0].components)


def sharpest(values: Sequence[Rounded], forms: Sequence[Form] = ()) -> Rounded:
    """The value of the form with the smallest radius, forms that may overflow set aside where another cannot."""
    steady = [v for v in values if not v.specials] or [v for v in values if not v.specials & ANYTHING] or values
    return _admitting(reduce(lambda a, b: b if b.radius < a.radius else a, steady), values, forms)


def widest(values: Sequence[Rounded], forms: Sequence[Form] = ()) -> Rounded:
    """The value of the form that reaches furthest from the truth, half the width of a set at a kink included."""
    known = [v for v in values if not v.specials & ANYTHING] or values

    def further(a: Rounded, b: Rounded) -> Rounded:
        return b if b.radius + b.spread > a.radius + a.spread else a

    return _admitting(reduce(further, known), values, forms)


def _admitting(chosen: Rounded, values: Sequence[Rounded], forms: Sequence[Form]) -> Rounded:
    """The chosen value, infinite or NaN only if every form may be (hypothesis 7).

    Forward and reverse mode meet their infinities at different places: it is enough that every form of one mode may be.
    """
    modes = [form.tangent for form in forms] or [False] * len(values)
    admitted = 0
    for mode in set(modes):
        of_mode = [v.specials for v, m in zip(values, modes, strict=True) if m == mode and not v.specials & ANYTHING]
        admitted |= reduce(lambda a, b: a & b, of_mode) if of_mode else 0
    specials = admitted | chosen.specials & ANYTHING
    return Rounded(chosen.arithmetic, chosen.exact, chosen.radius, specials, chosen.spread)
