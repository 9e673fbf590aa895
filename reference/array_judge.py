"""The judge of tensors: every component screened by array arithmetic, what matters decided by exact balls.

`Screen` holds a tensor's components against one accepted form's `RoundedArray`, a block at a time. What the screen
finds close to its allowance or outside it is adjudicated: the same form is evaluated in balls, to as many bits as it
takes, on just the operands that the component depends on. So is every component where an operation may overflow. So a
tensor's `deviates` is a proof by ball arithmetic, like a number's. What a tensor certifies is normwise:
−log2(‖|centre − truth| + allowance‖₂/‖truth‖₂) bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from flint import arb, ctx
from numpy.typing import NDArray

from gradconform.reference.arithmetic.arrays import RoundedArray
from gradconform.reference.arithmetic.comparisons import Comparison
from gradconform.reference.arithmetic.exact import precision, to_float
from gradconform.reference.arithmetic.formats import Format
from gradconform.reference.arithmetic.midpoints import EXACTLY, Array, Plain, squares
from gradconform.reference.arithmetic.rounded import ANYTHING, DOUBT, NAN, NEGATIVE, POSITIVE, Rounded
from gradconform.reference.components import Indices
from gradconform.reference.judge import (
    EDGE,
    FEW_BITS,
    FIRST_PRECISION,
    ILL_CONDITIONED,
    NOT_FINITE,
    PRECISION_CAP,
    Accuracy,
    Candidate,
    Execution,
    Formula,
    Inside,
    Judgement,
    Told,
    accepting,
    accuracy_of,
    among,
    ball_of,
    combined,
    decision,
    judge,
    note_of,
    noted,
    off,
    settled,
    share_of,
    ulp_error,
    verdict_of,
)
from gradconform.reference.outcomes import Outcome

Index = tuple[int, ...]
#: A component's standing as a number, in arrays of them; and that of one that is to be asked about by itself.
STANDINGS: tuple[Inside, ...] = ("inside", "outside", "undecided", "unknown")
ASKED = -1

#: Components near or outside their allowance that are adjudicated, for each form.
ADJUDICATED = 16_384
#: Why a tensor stays undecided that has more of them.
CROWD = f"edge: more than {ADJUDICATED:,} components are near their allowance, and those that were tried are inside"
#: A largest error in ulp that may be the midpoints' own, which is at most 2^−21 of a radius (`slack`): of a result that
#: was rounded some component is further off as a rule.
NEXT_TO_NOTHING = 2.0**-10
#: At most this many components, evenly spaced, are in the median of a tensor's errors.
SAMPLE = 1024


class Adjudicator(Protocol):
    """One component at the precision of the context."""

    def outcomes(self, form: str, index: Index) -> tuple[Outcome, ...]:
        """What one form's program may give there."""

    def truth(self, index: Index) -> Rounded:
        """The truth there."""

    def broken(self, index: Index) -> bool:
        """Whether an operand that it depends on is infinite or NaN."""


def holds(values: NDArray[Any], target: Format) -> NDArray[Any] | None:
    """Which of the values the format does not hold, or None if it holds them all."""
    if (values.dtype == np.float32 and target.precision == 24) or values.dtype == target.name:
        return None
    if target.name == "bfloat16" and values.dtype == np.float32:
        odd = (np.ascontiguousarray(values).view(np.uint32) & 0xFFFF) != 0
        odd &= np.isfinite(values)
    else:
        wide = values.astype(np.float64)
        odd = (target.round(wide) != wide) & np.isfinite(wide)
    return odd if odd.any() else None


def place(number: int, shape: tuple[int, ...]) -> Index:
    """The index of a component by its number in the tensor laid flat."""
    index: list[int] = []
    for size in reversed(shape):
        number, i = divmod(number, size)
        index.append(i)
    return tuple(reversed(index))


def norm(x: Array) -> float:
    """‖x‖₂ in float64, whatever the size of the components."""
    flat = x.reshape(-1).astype(np.float64, copy=False)
    with np.errstate(all="ignore"):
        found = squares(flat)
        if not 2.0**-960 < found < math.inf:
            largest = float(np.abs(flat).max(initial=0.0))
            if 0 < largest < math.inf:
                return largest * math.sqrt(squares(flat / largest))
    return math.sqrt(found)


def component(value: RoundedArray, index: Index) -> Rounded:
    """A component of an array as a ball that holds the exact value: the midpoint's error is at most slack·radius.

    The radius is enlarged by twice that. What is at the very edge of it, as a slope at the end of a kink's set is, is
    then certainly inside, although this precision cannot be raised.
    """
    ball = value.arithmetic.scalar(value, index, value.shape)
    within = (ball.radius * value.arithmetic.mids.slack).upper()
    with precision(EXACTLY):  # a radius may be far smaller than the last of fewer bits, as of 1 − 10^−114
        exact = ball.exact + arb(0, float(within))
    return Rounded(ball.arithmetic, exact, (ball.radius + 3 * within).upper(), ball.specials, ball.spread)


@dataclass
class Screen:
    """One form's verdict on a tensor, collected block by block; `instead` and `approximates` are the form's.

    `off` is the norm of how far from the truth the form may be, `scale` that of what it is measured by. `unmeasured`
    are the components of which the arrays know nothing, with what each is measured by, if that is not the truth.
    """

    form: str
    target: Format
    shape: tuple[int, ...]
    instead: str = ""
    approximates: str = ""
    share: float = -1.0
    worst: int = 0
    max_ulp: float = -1.0
    furthest: int = 0
    off: float = 0.0
    scale: float = 0.0
    kink: bool = False
    unmeasured: list[tuple[int, float | None]] = field(default_factory=list)
    special: list[int] = field(default_factory=list)
    close: list[tuple[float, int]] = field(default_factory=list)
    close_count: int = 0
    sample: list[Array] = field(default_factory=list)
    limit: float = 1.0
    #: The components that are certainly outside, as the blocks came.
    outside: list[Indices] = field(default_factory=list)
    #: Whether every operand is known to be finite.
    finite: bool = False

    def add(
        self, got: NDArray[Any], value: RoundedArray, start: int, truth: RoundedArray, against: Array | None = None
    ) -> None:
        """Hold a block of components, the first of them number `start`, against the form's value and the truth."""
        mids = value.arithmetic.mids
        self.limit = (1 - self.margin(mids)) / (1 + value.excess)
        radius = np.ascontiguousarray(value.radii()).reshape(-1)
        with np.errstate(all="ignore"):
            # Where the radii are float32 so are the errors, each rounded once: far within the margin.
            error = _distance(got, value, radius.dtype)
            own = truth is value
            wrong = error if own else _distance(got, truth, radius.dtype)
            apart = radius if own else radius + np.abs(mids.high(mids.subtract(value.mid, truth.mid))).reshape(-1)
            if truth.spread is not None:  # within a set of slopes nothing is off
                own_spread = 0.0 if value.spread is None else value.spread
                apart = np.maximum(apart + np.ravel(own_spread) - truth.spread.reshape(-1), 0.0)
            share = np.divide(error, radius)
            if math.isnan(share[share.argmax()]):  # 0/0
                share[(radius == 0) & (error == 0)] = 0.0
        known: Any = None
        for x in (value, truth):
            if x.specials is not None:
                of_this = (np.broadcast_to(x.specials, got.shape).reshape(-1) & ANYTHING) == 0
                known = of_this if known is None else known & of_this
        measured = known
        if math.isnan(norm(apart)):  # ∞ − ∞ in double words, which balls know
            finite = ~np.isnan(apart)
            measured = finite if known is None else known & finite
        size = against if against is not None else _size(truth)
        self.off = math.hypot(self.off, norm(apart if measured is None else np.where(measured, apart, 0.0)))
        self.scale = math.hypot(
            self.scale, norm(size if measured is None else np.where(measured, size.reshape(-1), 0.0))
        )
        if measured is not None:
            sizes = None if against is None else np.broadcast_to(against, got.shape).reshape(-1)
            missing = np.flatnonzero(~measured).tolist()
            self.unmeasured += [(start + i, None if sizes is None else float(sizes[i])) for i in missing]
        self.kink = self.kink or (truth.spread is not None and bool((truth.spread > 0).any()))
        self._ulps(wrong, truth, start, known)
        if value.specials is not None or not share[share.argmax()] < np.inf:
            self._specials(got.reshape(-1), value, share, start)
        worst = int(share.argmax())
        if share[worst] > self.share:
            self.share, self.worst = float(share[worst]), start + worst
        if share[worst] > self.limit:
            near = np.nonzero(share > self.limit)[0]
            self.close_count += len(near)
            self.outside.append(start + near[share[near] > 1 + self.margin(mids)])
            largest = near[np.argsort(share[near])[::-1][:ADJUDICATED]]
            self.close += [(float(share[i]), start + int(i)) for i in largest]
            self.close = sorted(self.close, reverse=True)[:ADJUDICATED]

    def take(self, found: Comparison) -> None:
        """Hold the whole tensor against the form, which is the truth's, as it was compared; nothing of it is close."""
        self.share, self.worst, self.max_ulp, self.furthest, self.off, self.scale, sample = found
        self.sample, self.finite = [sample], True

    def _ulps(self, error: Array, truth: RoundedArray, start: int, known: Any) -> None:
        """Keep the largest error in ulp, where it is, and an even sample of all of them."""
        with np.errstate(all="ignore"):
            ulps = error / last_places(_size(truth).reshape(-1), self.target, error.dtype)
        if known is not None:
            ulps[~known] = np.nan
        step = max(1, -(-math.prod(self.shape) // SAMPLE))
        self.sample.append(ulps[-start % step :: step].astype(np.float64))
        largest = int(ulps.argmax())
        if math.isnan(ulps[largest]):
            ulps = np.where(np.isnan(ulps), -1.0, ulps)
            largest = int(ulps.argmax())
        if ulps[largest] > self.max_ulp:
            self.max_ulp, self.furthest = float(ulps[largest]), start + largest

    @property
    def accepts(self) -> bool:
        """Whether this form certainly accepts the tensor."""
        return not (self.close or self.special)

    @property
    def settles(self) -> bool:
        """Whether this form certainly accepts the tensor, says something by it, and is no textbook's."""
        return self.accepts and (self.bits is None or self.bits >= FEW_BITS) and not self.instead

    @property
    def bits(self) -> float | None:
        """The leading bits that a pass vouches for; None where there is nothing to be off by."""
        if not self.off:
            return None
        return math.log2(self.scale) - math.log2(self.off) if self.scale > 0 and self.off < math.inf else -math.inf

    @staticmethod
    def margin(mids: Any) -> float:
        """How near to 1 a share may be and still be decided by the screen: 8 times the midpoints' own error."""
        return 2.0**-18 if mids is Plain else 2.0**-30

    def _specials(self, got: NDArray[Any], value: RoundedArray, share: Array, start: int) -> None:
        """Components that balls are to be asked about: of which nothing is known, where the radius holds what an
        infinity on the way may have made of it, or that are infinite or NaN where the form may be."""
        share[np.isnan(share)] = np.inf
        if value.specials is None:
            return
        specials = value.specials.reshape(-1)
        doubtful = np.nonzero((specials & (ANYTHING | DOUBT) != 0) | ((specials != 0) & ~np.isfinite(got)))[0]
        share[doubtful] = 0.0
        self.special += (start + doubtful).tolist()

    @property
    def median(self) -> float | None:
        """The median error of the sample, in ulp of the truth."""
        ulps = self.sample[0] if len(self.sample) == 1 else np.concatenate(self.sample or [np.empty(0)])
        if not ulps.size:
            return None
        middle = np.partition(ulps, ulps.size // 2)[ulps.size // 2]  # NaN is last, and counts as infinite
        return math.inf if math.isnan(middle) else float(f"{middle:.6g}")


def _distance(got: NDArray[Any], value: RoundedArray, dtype: Any) -> Array:
    """|got − centre|, or the distance to a set."""
    error: Array = value.arithmetic.mids.distance(got, value.mid, dtype).reshape(-1)
    if value.spread is None:
        return error
    beyond: Array = np.maximum(error - np.broadcast_to(value.spread, got.shape).reshape(-1), 0.0)
    return beyond.astype(dtype, copy=False)


def _size(truth: RoundedArray) -> Array:
    """|truth|; of a set the larger end."""
    size = np.abs(truth.high)
    return size if truth.spread is None else size + truth.spread


def last_places(size: Array, target: Format, dtype: Any = np.float64) -> Array:
    """The unit in the last place of numbers that are not negative, by their exponent's bits."""
    least = 2.0**target.emin
    if dtype == np.float32:
        bits = size.astype(np.float32).view(np.uint32) & np.uint32(0x7F800000)
        binade = bits.view(np.float32)
    else:
        bits64 = np.ascontiguousarray(size, dtype=np.float64).view(np.uint64) & np.uint64(0x7FF0000000000000)
        binade = bits64.view(np.float64)
    return np.clip(binade, least, 2.0**target.emax) * np.asarray(2.0 ** (1 - target.precision), dtype=binade.dtype)


class Together(Protocol):
    """An adjudicator that knows no more than arrays do, and says it of many components at once."""

    def standings(self, form: str, numbers: Indices, got: NDArray[Any]) -> NDArray[np.int8]:
        """What `got` of each component is by one form: a place in STANDINGS, or ASKED."""

    def broken_among(self, numbers: Indices) -> bool:
        """Whether an operand of some of the components is infinite or NaN."""


def standings_of(value: RoundedArray, numbers: Indices, got: NDArray[Any], margin: float) -> NDArray[np.int8]:
    """What `got` of some components is by an array that is all that is known of them, as of `Together`.

    Asked about is only what is close to its allowance, by `margin` of it, or an infinity or NaN of a component of which
    something is known.
    """
    index: Any = np.unravel_index(numbers, value.shape) if value.shape else (np.newaxis,)
    bits = np.zeros(numbers.shape, np.uint8) if value.specials is None else value.specials[index]
    finite = np.isfinite(got)
    other = np.where(np.isnan(got), NAN, np.where(got > 0, POSITIVE, NEGATIVE))
    unknown = (bits & ANYTHING) != 0
    mids, radius = value.arithmetic.mids, value.radii()[index]
    with np.errstate(all="ignore"):
        error = mids.distance(got, mids.take(value.mid, index))
        error = error if value.spread is None else error - np.broadcast_to(value.spread, value.shape)[index]
        within = finite & (error <= radius * (1 - margin))
    inside = np.where(unknown, ~finite & ((bits & other) != 0), within)
    return np.where(inside, STANDINGS.index("inside"), np.where(unknown, STANDINGS.index("unknown"), ASKED)).astype(
        np.int8
    )


class _Hearing:
    """A tensor before the balls: each component's outcomes and truth by every form, kept by precision."""

    def __init__(
        self,
        got: NDArray[Any],
        screens: Sequence[Screen],
        adjudicator: Adjudicator,
        bits: int | None,
        nested: bool,
        together: Together | None = None,
    ) -> None:
        self.nested, self.together = nested, together
        self.flat, self.shape, self.screens = got.reshape(-1), screens[0].shape, screens
        self.adjudicator, self.bits = adjudicator, bits
        self.kept: dict[tuple[str, int, int], tuple[Outcome, ...]] = {}
        self.found: dict[tuple[str, int], Inside] = {}
        self.truths: dict[tuple[int, int], Rounded] = {}

    def index(self, number: int) -> Index:
        return place(number, self.shape)

    def value(self, number: int) -> float:
        return float(self.flat[number])

    def outcomes(self, screen: Screen, number: int) -> tuple[Outcome, ...]:
        key = (screen.form, number, ctx.prec)
        if key not in self.kept:
            self.kept[key] = self.adjudicator.outcomes(screen.form, self.index(number))
        return self.kept[key]

    def decided(self, screen: Screen, number: int) -> Inside:
        """A component's standing by one form alone, at a precision that is raised until it is decided."""
        if (screen.form, number) not in self.found:

            def attempt() -> tuple[Inside, bool]:
                found = decision(self.value(number), self.outcomes(screen, number))
                return found, found != "undecided"

            self.found[screen.form, number] = raised(attempt, self.bits)
        return self.found[screen.form, number]

    def component(self, screen: Screen, number: int) -> Inside:
        """A component's standing by a form, or where nothing is known of that, by those of which something is."""
        own = self.decided(screen, number)
        if own != "unknown" or self.nested:
            return own
        return among(own, [[self.decided(s, number)] for s in self.screens], 0)

    def specials(self, screen: Screen) -> tuple[list[int], list[Inside]]:
        """Those of a form's special components that are to be asked about, and how the others stand, each word once."""
        if self.together is None or not screen.special:
            return screen.special, []
        numbers = np.array(screen.special)
        found = self.at_once(screen, numbers)
        return numbers[found == ASKED].tolist(), [STANDINGS[n] for n in np.unique(found[found != ASKED]).tolist()]

    def at_once(self, screen: Screen, numbers: Indices) -> NDArray[np.int8]:
        """As `component`, of many of them."""
        assert self.together is not None
        unknown = STANDINGS.index("unknown")
        found = self.together.standings(screen.form, numbers, self.flat[numbers])
        for s in () if self.nested else self.screens:
            if s is not screen and (found == unknown).any():
                # What another form knows is asked of it for each; where it knows nothing either, that is all.
                other = self.together.standings(s.form, numbers, self.flat[numbers])
                found[(found == unknown) & (other != unknown)] = ASKED
        return found

    def standing(self, screen: Screen) -> tuple[Inside, int]:
        """The tensor's standing by one form, and the component that decides it."""
        # Where the screen finds nothing close, its worst component stands for it: balls must not say otherwise.
        asked = [number for _, number in screen.close] or [screen.worst]
        special, found = self.specials(screen)
        for number in [*asked, *special]:
            found.append(self.component(screen, number))
            if found[-1] in ("outside", "undecided"):
                return found[-1], number
        if screen.close_count > len(screen.close):
            return "undecided", screen.worst
        return combined(found), screen.worst

    def outside(self, screen: Screen) -> Indices:
        """The components that a form does not allow. Of those that only balls can tell the first ADJUDICATED / 64."""
        sure = np.concatenate(screen.outside) if screen.outside else np.empty(0, np.int64)
        near = [n for _, n in screen.close if n not in set(sure.tolist())] if len(sure) < len(screen.close) else []
        asked = [*near, *self.specials(screen)[0]][: ADJUDICATED // 64]
        more = [n for n in asked if self.component(screen, n) == "outside"]
        return np.unique(np.concatenate([sure, np.array(more, dtype=np.int64)]))

    def truth(self, number: int) -> Rounded:
        key = (number, ctx.prec)
        if key not in self.truths:
            self.truths[key] = self.adjudicator.truth(self.index(number))
        return self.truths[key]

    def measure(self, screen: Screen) -> None:
        """Add to a form's norms what balls say of the components of which its arrays know nothing.

        And of those that it accepts on a path that overflows: there it is off by what that path is.
        """
        for number, size in self.measurable(screen):
            with precision(self.bits or FIRST_PRECISION):
                truth, ball = self.truth(number), self.ball(screen, number)
                if ball is None or truth.specials & ANYTHING:
                    continue
                screen.off = math.hypot(screen.off, to_float(off(ball, truth)))
                of_truth = to_float(abs(truth.exact) + truth.spread)
            screen.scale = math.hypot(screen.scale, of_truth if size is None else size)
        seen = {number for number, _ in screen.unmeasured}
        # An adjudicator that says the same of many has no other paths.
        special = [] if self.together is not None else screen.special
        for number in [n for n in special if n not in seen and self.decided(screen, n) == "inside"]:
            with precision(self.bits or FIRST_PRECISION):
                outcomes = self.outcomes(screen, number)
                ball = accepting(self.value(number), outcomes)
                if ball is not None and ball is not ball_of(outcomes):
                    screen.off = math.hypot(screen.off, to_float(off(ball, self.truth(number))))
        screen.unmeasured = []

    def measurable(self, screen: Screen) -> list[tuple[int, float | None]]:
        """The unmeasured components of which something may be known."""
        if self.together is None or not screen.unmeasured:
            return screen.unmeasured
        found = self.at_once(screen, np.array([number for number, _ in screen.unmeasured]))
        unknown = STANDINGS.index("unknown")
        return [x for x, standing in zip(screen.unmeasured, found.tolist(), strict=True) if standing != unknown]

    def ball(self, screen: Screen, number: int) -> Rounded | None:
        """The ball of a component by a form, or where that does not accept it, by the first that does."""
        for s in (screen, *(() if self.nested else self.screens)):
            if self.decided(s, number) == "inside":
                return accepting(self.value(number), self.outcomes(s, number))
        return None

    def without_truth(self, screen: Screen, number: int) -> bool:
        """Whether of some component the formula says nothing, the worst or a special one."""
        return not screen.finite and any(self.adjudicator.broken(self.index(n)) for n in [number, *screen.special[:1]])

    def unknown(self, screen: Screen) -> tuple[bool, bool]:
        """Whether nothing is known of some component by any form; and whether an operand of one is not finite."""
        if self.together is not None and screen.special:
            all_of_them = np.array(screen.special)
            found = self.at_once(screen, all_of_them)
            asked = [n for n in all_of_them[found == ASKED].tolist() if self.component(screen, n) == "unknown"]
            unclear = np.array([*all_of_them[found == STANDINGS.index("unknown")].tolist(), *asked], dtype=np.int64)
            return bool(unclear.size), self.together.broken_among(unclear)
        numbers = [n for n in screen.special if self.component(screen, n) == "unknown"]
        return bool(numbers), any(self.adjudicator.broken(self.index(n)) for n in numbers)


def judge_array(
    got: NDArray[Any],
    screens: Sequence[Screen],
    target: Format,
    adjudicator: Adjudicator,
    condition: Callable[[], float | None] | None = None,
    bits: int | None = None,
    nested: bool = False,
    together: Together | None = None,
) -> Judgement:
    """The judgement of a tensor that was screened by every accepted form, or by all up to one that settles it.

    `condition` gives the norm of the condition numbers κ; `bits` is a precision that cannot be raised, where the
    adjudicator has just one; `nested` as in `judge`; `together` is the adjudicator, where it speaks of many at once.
    """
    hearing = _Hearing(got, screens, adjudicator, bits, nested, together)
    order = sorted(screens, key=lambda s: (bool(s.instead), math.inf if s.special or s.unmeasured else s.off, s.off))
    standings = {id(s): hearing.standing(s) for s in order}
    accepted = [s for s in order if standings[id(s)][0] in ("inside", "unknown")]
    named = accepted[0] if accepted else min(order, key=lambda s: s.share)
    worst = named.worst if accepted else standings[id(named)][1]
    numbers = _numbers(hearing, named, order[0], worst, target)

    accuracy: Accuracy | None = None
    odd = holds(got, target)
    formula: Formula = "kink" if named.kink else "right"
    execution: Execution
    reason: str | None = None
    outside: Indices | None = None
    if odd is not None:
        first = float(hearing.flat[int(np.argmax(odd.reshape(-1)))])
        formula, execution = "unknown", "outside"
        reason = f"dtype: {target.name} does not hold {first!r}; the answer came in a wider type"
        outside = np.flatnonzero(odd.reshape(-1))
    elif not accepted:
        undecided = [s for s in order if standings[id(s)][0] == "undecided"]
        formula, execution = "unknown", "undecided" if undecided else "outside"
        outside = None if undecided else hearing.outside(named)
        if undecided:
            reason = CROWD if all(s.close_count > len(s.close) for s in undecided) else EDGE
    else:
        hearing.measure(named)
        nothing, broken = hearing.unknown(named)
        # What is not finite is no finite share of its allowance, and else a special of the screen.
        finite = named.accepts or bool(np.isfinite(hearing.flat).all())
        execution = "within" if finite and not broken else "overflow"
        if hearing.without_truth(named, worst):
            reason = NOT_FINITE
        keeping = -math.inf if nothing else named.bits
        others = [
            (s.form, math.inf if s.bits is None else s.bits)
            for s in order
            if s is not named and not (s.special or s.unmeasured)
        ]
        accuracy, why = accuracy_of(keeping, bool(named.instead), others, _ill_conditioned(named, condition, target))
        reason = noted(reason, note_of(named.form, named.instead, named.approximates), why)
    kept = named.bits if named.bits not in (math.inf, -math.inf) else None
    of_tensor = {
        "verdict": verdict_of(formula, execution, accuracy or "certified"),
        "max_ulp": _largest_ulp(hearing, named, worst, numbers["max_ulp"], target),
        "median_ulp": named.median,
        "certified_bits": None if kept is None else float(f"{kept:.6g}"),
        "worst_index": worst,
        "reason": reason,
        "formula": formula,
        "execution": execution,
        "accuracy": accuracy,
        "deviating": outside,
    }
    return Judgement(**{**numbers, **of_tensor})


def _numbers(hearing: _Hearing, named: Screen, sharpest: Screen, worst: int, target: Format) -> dict[str, Any]:
    """The columns that are of the worst component, from balls."""
    before: Rounded | None = None

    def attempt() -> tuple[dict[str, Any], bool]:
        nonlocal before
        value, truth = hearing.value(worst), hearing.truth(worst)
        # In double words more is not known at a higher precision.
        known, before = truth is before or settled([truth]), truth
        outcomes = hearing.outcomes(named, worst)
        ball = ball_of(outcomes)
        if ball is not None and len(outcomes) == 1 and math.isfinite(value) and not truth.specials & ANYTHING:
            share, ulps = share_of(ball.distance(value), ball.radius), ulp_error(value, truth, target)
            found = Told(share, ulps, share).columns(value, truth, ball)
            found |= {"max_ulp": ulps, "accepted_form": named.form}
        else:
            candidate = Candidate(named.form, [outcomes], named.instead, named.approximates)
            found = dict(vars(judge([value], [candidate], target, [truth])))
        if sharpest is not named and math.isfinite(value):
            sharp = ball_of(hearing.outcomes(sharpest, worst))
            if sharp is not None:
                found["sharpest_share"] = share_of(sharp.distance(value), sharp.radius)
        return found, known

    result: dict[str, Any] = raised(attempt, hearing.bits)
    return result


def _largest_ulp(hearing: _Hearing, named: Screen, worst: int, at_worst: float | None, target: Format) -> float | None:
    """The largest error in ulp: from balls where it is the worst component's, else as the screen measured it.

    Where that is next to nothing it may be the midpoints' own error, and balls are asked.
    """
    if at_worst is None or named.furthest == worst:
        return at_worst
    if named.max_ulp < NEXT_TO_NOTHING:
        with precision(hearing.bits or FIRST_PRECISION):
            largest = ulp_error(hearing.value(named.furthest), hearing.truth(named.furthest), target)
        return max(at_worst, largest)
    return max(at_worst, float(f"{named.max_ulp:.6g}"))


def _ill_conditioned(named: Screen, condition: Callable[[], float | None] | None, target: Format) -> Callable[[], bool]:
    def ask() -> bool:
        kappa = None if condition is None else condition()
        return kappa is not None and named.off <= ILL_CONDITIONED * 2.0**-target.precision * kappa

    return ask


def raised(attempt: Callable[[], tuple[Any, bool]], bits: int | None) -> Any:
    """The result of an attempt, at a precision that is raised until the attempt is satisfied."""
    at = bits or FIRST_PRECISION
    while True:
        with precision(at):
            result, satisfied = attempt()
        if satisfied or bits is not None or at >= PRECISION_CAP:
            return result
        at = min(2 * at, PRECISION_CAP)
