"""The judge: got against truth and allowance, decided rigorously.

A quantity is a tensor of components. A candidate is what one accepted form's program may give for each component: a
ball about its own exact value, and the infinities and NaN that it gives where it overflows. The truth stands beside
them. Precision is raised by the caller until nothing is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cmp_to_key
from typing import Any, Literal, get_args

import numpy as np
from flint import arb

from gradconform.reference.arithmetic.exact import decimal, exponent, power_of_two, to_float
from gradconform.reference.arithmetic.formats import Format
from gradconform.reference.arithmetic.rounded import ANYTHING, NAN, NEGATIVE, POSITIVE, Rounded, larger
from gradconform.reference.components import Indices
from gradconform.reference.outcomes import Outcome, Special, apart

#: Three questions (see the claim), each with its answers, worst first.
Formula = Literal["wrong", "undefined", "unknown", "singular", "kink", "right"]
Execution = Literal["outside", "undecided", "overflow", "within"]
Accuracy = Literal["lost", "vacuous", "ill-conditioned", "certified"]
FORMULA: tuple[Formula, ...] = get_args(Formula)
EXECUTION: tuple[Execution, ...] = get_args(Execution)
ACCURACY: tuple[Accuracy, ...] = get_args(Accuracy)

Verdict = Literal[
    "conforms", "deviates", "lost", "vacuous", "ill-conditioned", "out of range", "singular", "undecided",
    "unsupported", "crashed",
]  # fmt: skip
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

#: The precision, in bits, at which a judgement starts and at which it gives up.
FIRST_PRECISION, PRECISION_CAP = 192, 4096
#: Why a quantity stays undecided.
EDGE = "edge: the error is the allowance to all the bits that were tried"
#: Why nothing that is accepted there certifies anything.
NOT_FINITE = "operands: one is not finite, and of that no formula says anything"
#: Bits that 25 correct decimal digits of the truth need.
TRUTH_BITS = 84


@dataclass(frozen=True)
class Candidate:
    """One form's outcomes for every component of a quantity; `instead` and `approximates` are the form's."""

    form: str
    components: Sequence[tuple[Outcome, ...]]
    instead: str = ""
    approximates: str = ""

    @classmethod
    def of_values(cls, form: str, values: Iterable[Rounded], instead: str = "") -> Candidate:
        """The candidate of which no more is known than each component's ball and specials."""
        return cls(form, [apart(v) for v in values], instead)


@dataclass(frozen=True)
class Judgement:
    """What is said of one quantity. Numbers are those of its worst component, the one with the largest share."""

    verdict: Verdict
    value: float
    truth: str | None = None
    truth_radius: float | None = None
    error_abs: float | None = None
    error_ulp: float | None = None
    median_ulp: float | None = None
    allowance: float | None = None
    share: float | None = None
    sharpest_share: float | None = None
    accepted_form: str | None = None
    certified_bits: float | None = None
    worst_index: int = 0
    reason: str | None = None
    max_ulp: float | None = None
    formula: Formula | None = None
    execution: Execution | None = None
    accuracy: Accuracy | None = None
    cause: str | None = None
    #: The components that deviate, by their numbers in the tensor laid flat; None where that is not told.
    deviating: Indices | None = field(default=None, compare=False, repr=False)


def ulp(x: arb, target: Format) -> arb:
    """The unit in the last place of the exact number x: 2^(clamp(floor(log2|x|), emin, emax) − (p−1))."""
    magnitude = abs(x)
    if not magnitude.upper() > 0:
        return power_of_two(target.emin - target.precision + 1)
    binade = min(max(exponent(magnitude), target.emin), target.emax)
    return power_of_two(binade - target.precision + 1)


Inside = Literal["inside", "outside", "undecided", "unknown"]


def is_known(outcome: Outcome) -> bool:
    """Whether anything is known of an outcome: whether it is a ball, or exactly an infinity or NaN."""
    return isinstance(outcome, Special) or not outcome.specials & ANYTHING


def admits(outcome: Rounded, got: float) -> bool:
    """Whether an infinity or NaN is among the specials of a value, whatever else is known of it."""
    if math.isfinite(got):
        return False
    return bool(outcome.specials & (NAN if math.isnan(got) else POSITIVE if got > 0 else NEGATIVE))


def ball_of(outcomes: Sequence[Outcome]) -> Rounded | None:
    """What a program gives where nothing overflows, if that is known."""
    return next((o for o in outcomes if isinstance(o, Rounded) and is_known(o)), None)


def accepting(got: float, outcomes: Sequence[Outcome]) -> Rounded | None:
    """The ball that holds what was got: the program's without overflow, or else one that an overflow leads to.

    A 0 that an infinite divisor makes is the program's own, and is as far from the truth as it is.
    """
    balls = [o for o in outcomes if isinstance(o, Rounded) and is_known(o)]
    if len(balls) < 2:
        return balls[0] if balls else None
    return next((b for b in balls if math.isfinite(got) and _within(got, b) == "inside"), balls[0])


def decision(got: float, outcomes: Sequence[Outcome]) -> Inside:
    """Whether a program with these outcomes may have given what was got; undecided at this precision, or unknown.

    An infinity or NaN is inside only where the program itself gives it (hypothesis 7), as where a divisor may be 0.
    """
    if len(outcomes) == 1 and is_known(outcomes[0]):
        return _within(got, outcomes[0])
    known = [o for o in outcomes if is_known(o)]
    found: set[Inside] = {_within(got, o) for o in known}
    if "inside" in found or any(not is_known(o) and admits(o, got) for o in outcomes):
        return "inside"
    if len(known) < len(outcomes):
        return "unknown"
    return "undecided" if "undecided" in found else "outside"


def _within(got: float, outcome: Outcome) -> Inside:
    if isinstance(outcome, Special):
        same = math.isnan(got) if math.isnan(outcome.value) else got == outcome.value
        return "inside" if same else "outside"
    if not math.isfinite(got):
        return "inside" if beyond(got, outcome) else "outside"
    error = outcome.distance(got)
    if error <= outcome.radius:
        return "inside"
    return "outside" if error > outcome.radius else "undecided"


def beyond(got: float, ball: Rounded) -> bool:
    """Whether an infinity is what a number so large rounds to."""
    if not math.isinf(got):
        return False
    end = ball.exact + ball.radius + ball.spread if got > 0 else ball.radius + ball.spread - ball.exact
    return not end < ball.arithmetic.overflow


def share_of(error: arb, radius: arb) -> float:
    """error/radius with 0/0 = 0 and x/0 = ∞."""
    if error.is_zero():
        return 0.0
    return to_float(error / radius) if radius > 0 else math.inf


def off(ball: Rounded, truth: Rounded) -> arb:
    """How far from the truth what a program holds may be: its centre's distance and its radius.

    At a kink how far beyond the set of slopes: all that is in it is right.
    """
    found = abs(ball.exact - truth.exact) + ball.radius
    if truth.spread.is_zero():
        return found + ball.spread
    rest = found + ball.spread - truth.spread
    return rest if rest > 0 else larger(rest.upper(), arb(0))


def verdict_of(formula: Formula, execution: Execution, accuracy: Accuracy) -> Verdict:
    """What the three answers come to."""
    if formula in ("wrong", "undefined") or execution == "outside":
        return "deviates"
    if execution == "undecided":
        return "undecided"
    if execution == "overflow":
        return "out of range"
    if formula == "singular":
        return "singular"
    return "conforms" if accuracy == "certified" else accuracy


#: Bits that another program must keep beyond those of the one that was run, for that to be called lost.
LOST_BITS = 8
#: Bits below which a result that keeps some is asked for a program that keeps more, too: 1 may be half the truth off.
FEW_BITS = 2
#: Roundings of the operands that a result may be off by and still be called ill-conditioned.
ILL_CONDITIONED = 16


def accuracy_of(
    bits: float | None, unstable: bool, others: Iterable[tuple[str, float]], ill_conditioned: Callable[[], bool]
) -> tuple[Accuracy, str | None]:
    """How many digits a program keeps, given the certified `bits` (None: all) and what `others` keep; and why.

    `others` are asked only where it keeps few, and `ill_conditioned` last: it may take long.
    """
    if unstable:
        return "lost", None
    if bits is None or bits >= FEW_BITS:
        return "certified", None
    form, most = max(others, key=lambda other: other[1], default=("", 0.0))
    if most >= max(bits, 0.0) + LOST_BITS:
        return "lost", f"lost: {form} keeps {'every bit' if most == math.inf else f'{most:.0f} bits'}"
    if bits > 0:
        return "certified", None
    return ("ill-conditioned" if ill_conditioned() else "vacuous"), None


def noted(*notes: str | None) -> str | None:
    """Reasons, one after the other."""
    return "; ".join(n for n in notes if n) or None


def note_of(form: str, instead: str, approximates: str) -> str | None:
    """What is to be said of a form that was accepted."""
    if instead:
        return f"unstable: {instead} keeps the digits that {form} loses"
    return f"approximates: {approximates}" if approximates else None


def text_of(truth: Rounded) -> str | None:
    """The truth to 25 digits; at a kink the set [lo, hi]; None where no formula says anything."""
    if truth.specials & ANYTHING:
        return None
    if truth.spread.is_zero():
        return decimal(truth.exact)
    low, high = truth.exact - truth.spread, truth.exact + truth.spread
    return f"[{decimal(low, 17)}, {decimal(high, 17)}]"


def judge(
    got: Sequence[float],
    candidates: Sequence[Candidate],
    target: Format,
    truths: Sequence[Rounded],
    against: Sequence[arb] | None = None,
    condition: Callable[[], arb] | None = None,
    nested: bool = False,
    exhibited: Callable[[], Sequence[Candidate]] | None = None,
) -> Judgement:
    """Judge the components `got`: one form for all of them, or where it is not known, those that are.

    Of `nested` candidates each holds what those before it do: of what one does not know they know nothing either.
    `against` holds the magnitudes that certified bits are measured by, the truth itself by default; `condition` gives
    the norm of the condition numbers κ; `exhibited` are programs that accept nothing and are only shown for the digits
    that they keep. A form of which nothing is known excuses nothing where another is known.
    """
    decided = [[decision(value, c.components[i]) for i, value in enumerate(got)] for c in candidates]

    def standing(number: int) -> Inside:
        of_others = [] if nested else decided
        return combined([among(found, of_others, i) for i, found in enumerate(decided[number])])

    standings = [standing(n) for n in range(len(candidates))]
    measured = [_measured(got, c, truths) for c in candidates]

    def sharper(a: int, b: int) -> int:
        return _sharper(candidates, measured, a, b)

    order = sorted(range(len(candidates)), key=cmp_to_key(sharper))
    accepted = [n for n in order if standings[n] in ("inside", "unknown")]

    def shares_by(number: int) -> list[float]:
        return [_share(value, candidates[number].components[i]) for i, value in enumerate(got)]

    named = accepted[0] if accepted else min(order, key=lambda n: max(shares_by(n)))
    candidate, shares = candidates[named], shares_by(named)
    worst = max(range(len(got)), key=lambda i: shares[i])
    value, truth = got[worst], truths[worst]
    ball = ball_of(candidate.components[worst])
    sharp = ball_of(candidates[order[0]].components[worst])

    ulps = [ulp_error(v, t, target) for v, t in zip(got, truths, strict=True)]
    scale = two_norm(against if against is not None else [abs(t.exact) + t.spread for t in truths])
    bits = certified(measured[named], scale)
    overflowed = not all(map(math.isfinite, got))
    kink = any(not t.spread.is_zero() for t in truths)
    foreign = next((v for v in got if not target.holds(v)), None)
    outside: list[int] = []
    formula: Formula = "kink" if kink else "right"
    execution: Execution = "overflow" if overflowed else "within"
    accuracy: Accuracy | None
    reason: str | None
    if foreign is not None:
        formula, execution, accuracy = "unknown", "outside", None
        reason = f"dtype: {target.name} does not hold {foreign!r}; the answer came in a wider type"
        outside = [i for i, v in enumerate(got) if not target.holds(v)]
    elif not accepted:
        undecided = "undecided" in standings
        of_others = [] if nested else decided
        outside = [i for i, found in enumerate(decided[named]) if among(found, of_others, i) == "outside"]
        formula, execution, accuracy = "unknown", "undecided" if undecided else "outside", None
        reason = EDGE if undecided else None
    elif standings[named] == "unknown" and (ball is None or (math.isfinite(value) and not shares[worst] <= 1)):
        return _unknown(value, candidate.form, worst)  # in no outcome that is known
    else:

        def others() -> Iterator[tuple[str, float]]:
            keeping = [(candidates[n].form, measured[n]) for n in order if n != named]
            shown = exhibited() if exhibited else ()
            for form, radius in (*keeping, *((c.form, _measured(got, c, truths)) for c in shown)):
                kept = certified(radius, scale)
                yield form, kept if kept is not None else math.inf

        ill = _ill_conditioned(measured[named], condition, target)
        accuracy, why = accuracy_of(bits, bool(candidate.instead), others(), ill)
        reason = noted(note_of(candidate.form, candidate.instead, candidate.approximates), why)
    # An infinity or NaN that the form itself may give there has no distance from the truth.
    admitted = bool(accepted) and (not math.isfinite(value) or bool(truth.specials & ANYTHING))
    told = Told(shares[worst], ulps[worst], _share_of_sharpest(value, sharp))
    return Judgement(
        verdict=verdict_of(formula, execution, accuracy or "certified"),
        **told.columns(value, truth, ball, admitted),
        max_ulp=None if admitted else max(ulps),
        median_ulp=None if admitted else sorted(ulps)[len(ulps) // 2],
        accepted_form=candidate.form,
        certified_bits=None if bits in (math.inf, -math.inf) else bits,
        worst_index=worst,
        reason=reason,
        formula=formula,
        execution=execution,
        accuracy=accuracy,
        deviating=np.array(outside, dtype=np.int64) if outside else None,
    )


def _share_of_sharpest(value: float, sharp: Rounded | None) -> float | None:
    return share_of(sharp.distance(value), sharp.radius) if math.isfinite(value) and sharp is not None else None


@dataclass(frozen=True)
class Told:
    """What a judgement tells of its worst component: its share, its error in ulp, its share by the sharpest form."""

    share: float
    ulps: float
    sharpest: float | None

    def columns(self, value: float, truth: Rounded, ball: Rounded | None, admitted: bool = False) -> dict[str, Any]:
        """The columns of `Judgement`, given the truth and the ball of the form that is named.

        What is `admitted` has no distance from the truth.
        """
        far = to_float(truth.distance(value)) if math.isfinite(value) else math.inf
        return {
            "value": value,
            "truth": text_of(truth),
            "truth_radius": None if truth.specials & ANYTHING else to_float(truth.exact.rad()),
            "error_abs": None if admitted else far,
            "error_ulp": None if admitted else self.ulps,
            "allowance": None if ball is None else to_float(ball.radius),
            "share": None if admitted else self.share,
            "sharpest_share": self.sharpest,
        }


def among(own: Inside, decided: Sequence[Sequence[Inside]], index: int) -> Inside:
    """A component's standing by a form: where nothing is known of that, by the forms of which something is."""
    if own != "unknown":
        return own
    others = {of[index] for of in decided} - {"unknown"}
    worst: tuple[Inside, ...] = ("inside", "undecided", "outside")
    for found in worst:
        if found in others:
            return found
    return "unknown"


def combined(standings: Sequence[Inside]) -> Inside:
    """A tensor's standing by those of its components."""
    worst: tuple[Inside, ...] = ("outside", "undecided", "unknown")
    for found in worst:
        if found in standings:
            return found
    return "inside"


def ulp_error(value: float, truth: Rounded, target: Format) -> float:
    """The distance from the truth, or from the set of them, in units in the last place of the truth."""
    if not math.isfinite(value) or truth.specials & ANYTHING:
        return math.inf
    return to_float(truth.distance(value) / ulp(abs(truth.exact) + truth.spread, target))


def _measured(got: Sequence[float], candidate: Candidate, truths: Sequence[Rounded]) -> arb | None:
    """The norm of how far from the truth a form may be; None where a component of it is not known."""
    parts = []
    for value, outcomes, truth in zip(got, candidate.components, truths, strict=True):
        ball = accepting(value, outcomes)
        if ball is None:
            return None
        parts.append(off(ball, truth))
    return two_norm(parts)


def two_norm(parts: Sequence[arb]) -> arb:
    """‖parts‖₂, of parts that are not negative: of one that is not known well by its upper end, since the ball of its
    square may reach below 0."""
    known = [p if p.rel_accuracy_bits() > 2 or not p.is_finite() else larger(p.upper(), arb(0)) for p in parts]
    return known[0] if len(known) == 1 else sum((p * p for p in known), arb(0)).sqrt()


def _sharper(candidates: Sequence[Candidate], measured: Sequence[arb | None], a: int, b: int) -> int:
    """Order forms: unstable ones last, then by how far they may be from the truth."""
    if bool(candidates[a].instead) != bool(candidates[b].instead):
        return 1 if candidates[a].instead else -1
    x, y = measured[a], measured[b]
    if x is None or y is None:
        return (x is None) - (y is None)
    return 1 if x > y else -1 if x < y else 0


def _share(value: float, outcomes: Sequence[Outcome]) -> float:
    """The share of the allowance by the outcome that allows most; of an admitted special, 0."""
    if not math.isfinite(value) and decision(value, outcomes) == "inside":
        return 0.0
    balls = [o for o in outcomes if isinstance(o, Rounded) and is_known(o)]
    if not balls:
        return 0.0 if not all(is_known(o) for o in outcomes) else math.inf
    if not math.isfinite(value):
        return math.inf
    return min(share_of(b.distance(value), b.radius) for b in balls)


def certified(radius: arb | None, scale: arb) -> float | None:
    """−log2(radius/scale): the leading bits that a pass vouches for; None where there is nothing to be off by."""
    if radius is None:
        return -math.inf
    if radius.is_zero():
        return None
    ratio = scale / radius
    return to_float(ratio.log() / arb.const_log2()) if ratio.is_finite() and ratio > 0 else -math.inf


def _ill_conditioned(radius: arb | None, condition: Callable[[], arb] | None, target: Format) -> Callable[[], bool]:
    def ask() -> bool:
        if condition is None or radius is None:
            return False
        return bool(radius <= ILL_CONDITIONED * power_of_two(-target.precision) * condition())

    return ask


def _unknown(value: float, form: str, worst: int) -> Judgement:
    """Nothing is known of the quantity: an operand was not finite, or a divisor may be zero."""
    why = "operands: one is not finite or not known well enough for the formula to have a value here"
    return Judgement("out of range", value, accepted_form=form, worst_index=worst, reason=why, formula="unknown",
                     execution="overflow", accuracy="vacuous")  # fmt: skip


def left_open(why: str, value: float = math.nan, verdict: Verdict = "undecided") -> Judgement:
    """Of what nothing can be said, and why."""
    return Judgement(verdict, value, reason=why, formula="unknown", execution="undecided")


def too_large(not_held: Exception) -> Judgement:
    """Of what is too large for balls, with numbers that arrays do not hold."""
    return left_open(f"size: too large for balls, and array arithmetic does not hold {not_held}")


def settled(truths: Sequence[Rounded]) -> bool:
    """Whether the truth is known to the digits that are reported: relatively, or as an exact zero."""
    return all(t.specials & ANYTHING or t.exact.rel_accuracy_bits() >= TRUTH_BITS or t.exact.is_zero() for t in truths)
