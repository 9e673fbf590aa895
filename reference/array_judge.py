"""The judge of tensors: every component screened by array arithmetic, what matters decided by exact balls.

`Screen` holds a tensor's components against one accepted form's `RoundedArray`, a block at a time. What the screen
finds close to its allowance or outside it is adjudicated: the same form is evaluated in balls, to as many bits as it
takes, on just the operands that the component depends on. So a tensor's `deviates` is a proof by ball arithmetic, like
a number's. A tensor's vacuity is normwise: its certified bits are −log2(‖allowance‖₂/‖truth‖₂).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from flint import arb, ctx
from numpy.typing import NDArray

from gradconform.reference.arrays import RoundedArray
from gradconform.reference.exact import precision, to_float
from gradconform.reference.formats import Format
from gradconform.reference.judge import (
    EDGE,
    FIRST_PRECISION,
    PRECISION_CAP,
    Candidate,
    Judgement,
    Verdict,
    decision,
    judge,
    settled,
    share_of,
)
from gradconform.reference.midpoints import Array, Plain, squares
from gradconform.reference.rounded import ANYTHING, NAN, NEGATIVE, POSITIVE, Rounded

Index = tuple[int, ...]
#: One form's value at one component, at the precision of the context; and the magnitude that vacuity is measured by.
Adjudicator = Callable[[str, Index], Rounded]

#: Components near or outside their allowance that are adjudicated, for each form.
ADJUDICATED = 1024
#: Why a tensor stays undecided that has more of them.
CROWD = f"edge: more than {ADJUDICATED:,} components are near their allowance, and those that were tried are inside"
#: At most this many components, evenly spaced, are in the median of a tensor's errors.
SAMPLE = 1024


def holds(values: NDArray[Any], target: Format) -> NDArray[Any] | None:
    """Which of the values the format does not hold, or None if it holds them all."""
    if values.dtype == target.name or (values.dtype == np.float32 and target.precision == 24):
        return None
    if target.name == "bfloat16" and values.dtype == np.float32:
        odd = (np.ascontiguousarray(values).view(np.uint32) & 0xFFFF) != 0
        odd &= np.isfinite(values)
    else:
        wide = values.astype(np.float64)
        odd = (target.round(wide) != wide) & np.isfinite(wide)
    return odd if odd.any() else None


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


@dataclass
class Screen:
    """One form's verdict on a tensor, collected block by block."""

    form: str
    target: Format
    shape: tuple[int, ...]
    share: float = -1.0
    worst: int = 0
    radius_norm: float = 0.0
    truth_norm: float = 0.0
    lost: bool = False
    special: list[int] = field(default_factory=list)
    close: list[tuple[float, int]] = field(default_factory=list)
    close_count: int = 0
    sample: list[tuple[Array, Array]] = field(default_factory=list)
    limit: float = 1.0

    def add(self, got: NDArray[Any], value: RoundedArray, start: int) -> None:
        """Hold a block of components, the first of them number `start`, against the form's value."""
        mids = value.arithmetic.mids
        self.limit = (1 - self.margin(mids)) / (1 + value.excess)
        truth = value.high.reshape(-1)
        self.truth_norm = math.hypot(self.truth_norm, norm(truth))
        if value.lost:
            self.lost = True
            self.share = max(self.share, 0.0)
            return
        radius = np.ascontiguousarray(value.radii()).reshape(-1)
        self.radius_norm = math.hypot(self.radius_norm, norm(radius))
        with np.errstate(all="ignore"):
            # Where the radii are float32 so are the errors, each rounded once: far within the margin.
            error = mids.distance(got, value.mid, radius.dtype).reshape(-1)
            if value.spread is not None:
                error = np.maximum(error - value.spread.reshape(-1), 0.0)
            step = max(1, -(-math.prod(self.shape) // SAMPLE))
            self.sample.append((error[-start % step :: step].astype(np.float64), truth[-start % step :: step]))
            share = np.divide(error, radius)
            if math.isnan(share[share.argmax()]):  # 0/0
                share[(radius == 0) & (error == 0)] = 0.0
        worst = int(share.argmax())
        if value.specials is not None or not share[worst] < np.inf:
            self._specials(got.reshape(-1), value, share, start)
            worst = int(share.argmax())
        if share[worst] > self.share:
            self.share, self.worst = float(share[worst]), start + worst
        if share[worst] > self.limit:
            near = np.nonzero(share > self.limit)[0]
            self.close_count += len(near)
            largest = near[np.argsort(share[near])[::-1][:ADJUDICATED]]
            self.close += [(float(share[i]), start + int(i)) for i in largest]
            self.close = sorted(self.close, reverse=True)[:ADJUDICATED]

    @property
    def settles(self) -> bool:
        """Whether this form certainly accepts the tensor, and says something by it."""
        says = self.radius_norm < self.truth_norm or not self.radius_norm
        return not (self.close or self.special or self.lost) and says

    @staticmethod
    def margin(mids: Any) -> float:
        """How near to 1 a share may be and still be decided by the screen: 8 times the midpoints' own error."""
        return 2.0**-18 if mids is Plain else 2.0**-30

    def _specials(self, got: NDArray[Any], value: RoundedArray, share: Array, start: int) -> None:
        """Components that may be or are infinite or NaN; share 0 for those that the form admits as such."""
        share[np.isnan(share)] = np.inf
        if value.specials is None:
            return
        specials = value.specials.reshape(-1)
        kinds = np.where(np.isnan(got), NAN, np.where(np.isfinite(got), 0, np.where(got > 0, POSITIVE, NEGATIVE)))
        admitted = np.nonzero(specials & (kinds | ANYTHING))[0]
        share[admitted] = 0.0
        self.special += (start + admitted).tolist()

    @property
    def radius(self) -> float:
        return math.inf if self.lost else self.radius_norm

    @property
    def median(self) -> float | None:
        """The median error of the sample, in ulp of the truth."""
        if not self.sample:
            return None
        error, truth = (np.concatenate(part) for part in zip(*self.sample, strict=True))
        _, exponent = np.frexp(truth)
        binade = np.minimum(np.maximum(exponent - 1, self.target.emin), self.target.emax)
        binade[truth == 0] = self.target.emin
        with np.errstate(over="ignore"):  # so many ulps that float64 does not hold the number: infinite
            ulps = np.ldexp(np.where(np.isnan(error), np.inf, error), self.target.precision - 1 - binade)
        middle = ulps.size // 2
        return float(f"{np.partition(ulps, middle)[middle]:.6g}") if ulps.size else None


def judge_array(
    got: NDArray[Any],
    screens: Sequence[Screen],
    target: Format,
    adjudicator: Adjudicator,
    against: float | None = None,
    bits: int | None = None,
) -> Judgement:
    """The judgement of a tensor that was screened by every accepted form.

    `against` is the 2-norm that certified bits and vacuity are measured by, that of the truth by default; `bits` a
    precision that cannot be raised, where the adjudicator has just one.
    """
    usable = sorted(screens, key=lambda s: s.radius)
    flat = got.reshape(-1)

    kept: dict[tuple[str, int, int], Rounded] = {}

    def ball_at(screen: Screen, index: int) -> Rounded:
        key = (screen.form, index, ctx.prec)
        if key not in kept:
            kept[key] = adjudicator(screen.form, tuple(int(i) for i in np.unravel_index(index, screen.shape)))
        return kept[key]

    def outcome(screen: Screen, index: int) -> str:
        def decide() -> tuple[str, bool]:
            value = float(flat[index])
            bounded = math.isfinite(value) or any(not ball_at(s, index).specials for s in usable)
            found = decision(value, ball_at(screen, index), bounded).outcome
            return found, found != "undecided"

        found: str = _raised(decide, bits)
        return found

    def standing(screen: Screen) -> str:
        """inside, outside or undecided: the tensor against one form."""
        if screen.lost and not screen.close:
            return "inside"
        # Where the screen finds nothing close, its worst component stands for it: balls must not say otherwise.
        for index in [index for _, index in screen.close] or [screen.worst]:
            found = outcome(screen, index)
            if found != "inside":
                return found
        return "inside" if screen.close_count <= len(screen.close) else "undecided"

    standings = {id(s): standing(s) for s in usable}
    inadmissible: dict[int, int] = {}
    for s in usable:
        for index in np.asarray(s.special, dtype=int)[~np.isfinite(flat[s.special])].tolist():
            if outcome(s, index) == "outside":
                standings[id(s)] = "outside"
                inadmissible.setdefault(id(s), index)
    accepting = [s for s in usable if standings[id(s)] == "inside"]
    named = accepting[0] if accepting else min(usable, key=lambda s: s.share)
    worst = named.worst
    if not accepting:
        worst = inadmissible.get(id(named), named.close[0][1] if named.close else worst)

    def numbers() -> tuple[Judgement, bool]:
        candidates = [Candidate(named.form, [ball_at(named, worst)])]
        found = judge([float(flat[worst])], candidates, target)
        value = float(flat[worst])
        if named is not usable[0] and math.isfinite(value) and not ball_at(usable[0], worst).specials & ANYTHING:
            sharpest = ball_at(usable[0], worst)
            found = replace(found, sharpest_share=share_of(sharpest.distance(value), sharpest.radius))
        return found, settled(candidates)

    result: Judgement = _raised(numbers, bits)
    verdict: Verdict
    reason = None if result.reason == EDGE else result.reason  # of one component and one form; see below
    odd = holds(got, target)
    if odd is not None:
        first = float(flat[int(np.argmax(odd.reshape(-1)))])
        verdict = "deviates"
        reason = f"dtype: {target.name} does not hold {first!r}; the answer came in a wider type"
    elif accepting:
        scale = named.truth_norm if against is None else against
        if named.special:
            # Operands that rounding left hardly known are lost digits; infinite ones are out of range.
            unknown = bits is not None and bool(np.isfinite(flat[named.special]).all())
            verdict = "vacuous" if unknown else "out of range"
        elif named.lost or (named.radius > 0 and not named.radius < scale):
            verdict = "vacuous"
        else:
            verdict = "conforms"
    else:
        undecided = [s for s in usable if standings[id(s)] == "undecided"]
        verdict = "undecided" if undecided else "deviates"
        if undecided:
            reason = CROWD if all(s.close_count > len(s.close) for s in undecided) else EDGE
    size = named.truth_norm if against is None else against
    certified = size > 0 and 0 < named.radius < math.inf
    lost = named.lost
    return replace(
        result,
        verdict=verdict,
        median_ulp=named.median,
        allowance=math.inf if lost else result.allowance,
        share=0.0 if lost else result.share,
        certified_bits=to_float(arb(math.log2(size) - math.log2(named.radius))) if certified else None,
        worst_index=worst,
        reason=reason,
    )


def _raised(attempt: Callable[[], tuple[Any, bool]], bits: int | None) -> Any:
    """The result of an attempt, at a precision that is raised until the attempt is satisfied."""
    at = bits or FIRST_PRECISION
    while True:
        with precision(at):
            result, satisfied = attempt()
        if satisfied or bits is not None or at >= PRECISION_CAP:
            return result
        at = min(2 * at, PRECISION_CAP)
