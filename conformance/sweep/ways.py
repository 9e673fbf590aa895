"""The ways through the overflows of many numbers at a time: two of each, where no more are.

Where a result lies beyond its format for certain, a program overflows, or computes in a wider one throughout (see
`outcomes`). So each number has a way without any overflow and one with all of them, which whole arrays can go. Where a
result may overflow or not there are more; they matter only where the way without overflow does not hold what was
returned, and then the balls go the ways of that number alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from flint import arb
from numpy.typing import NDArray

from gradconform.conformance.programs.accepted import result
from gradconform.reference.arithmetic.arrays import RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.midpoints import DoubleArray
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.arithmetic.rounded import (
    ANYTHING,
    DOUBT,
    NAN,
    NEGATIVE,
    OVERFLOWED,
    POSITIVE,
    Rounded,
    RoundedBalls,
    Sums,
)
from gradconform.reference.outcomes import BranchingBalls, Choices, Outcome, Special
from gradconform.reference.programs.array_allowance import ArrayAllowed
from gradconform.reference.programs.record import Ids, Record, Step
from gradconform.reference.programs.run import Run

#: Functions that reach beyond every format of at most 24 bits: from which argument on, at either side; none, infinite.
#: There they are still numbers of float64, and beyond what K ulp and the widest of these formats could hold.
FAR: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("exp", "expm1", "exp2", "exp10", "expi"), (-np.inf, 300.0)),
    **dict.fromkeys(("sinh", "cosh", "i0", "i1"), (-300.0, 300.0)),
    "gamma": (-np.inf, 150.0),
    "erfcx": (-20.0, np.inf),
}
#: How near an allowance's edge the arrays leave to the balls.
EDGE = 2.0**-20


class Way(ArrayAllowed):
    """A program that, where its results lie beyond their format, is `wide` throughout, or else gives infinities."""

    follows = True

    def __init__(self, record: Record, profile: Profile, sums: Sums, form: int, wide: bool) -> None:
        super().__init__(record, profile, sums, form)
        self.wide = wide
        #: Whether anything lay beyond its format.
        self.beyond = False

    def _map(self, step: Step, A: RoundedArrays) -> None:
        """A function that float64 does not hold either, where it is beyond every narrower format for certain."""
        ids = step.operands[0]
        low, high = FAR.get(step.function, (-np.inf, np.inf))
        if not (np.isfinite(low) or np.isfinite(high)) or A.infinite > 2.0**1000:
            super()._map(step, A)
            return
        x, radius = self.high[ids], self.radius[ids]
        far = np.isfinite(x) & ((x - radius > high) | (x + radius < low))
        if far.any():  # any argument in its place is as far beyond
            self.beyond = True
            self.high[ids[far]], self.radius[ids[far]] = np.where(x[far] > 0, high, low), 0.0
        super()._map(step, A)
        if far.any():
            self.high[ids[far]], self.radius[ids[far]] = x[far], radius[far]
            if self.wide:
                self.specials[step.out[far]] = ANYTHING | OVERFLOWED

    def put(self, ids: Ids, x: RoundedArray, odd: Any = None, values: Any = None) -> None:
        high, radius = np.broadcast_to(x.high, ids.shape), np.broadcast_to(x.radii(), ids.shape)
        specials = np.broadcast_to(np.uint8(0) if x.specials is None else x.specials, ids.shape)
        # The bit of one infinity alone, and far enough beyond for rounded sums to say so.
        bits = np.where(high > 0, POSITIVE, NEGATIVE)
        certain = (specials == bits) & (np.abs(high) * (1 - 2.0**-40) - radius >= x.arithmetic.infinite)
        if odd is not None:
            certain = certain & ~odd
        self.beyond = self.beyond or bool(certain.any())
        specials = np.where(certain, 0, specials)
        if self.wide:  # DOUBT goes on to the results: they have other ways
            may = ((specials & OVERFLOWED) != 0) & ((specials & ANYTHING) == 0)
            specials = np.where(may, DOUBT, specials)
        kept = RoundedArray(x.arithmetic, x.mid, radius, None, specials.astype(np.uint8), excess=x.excess)
        if not self.wide and certain.any():
            values = np.where(certain, np.copysign(np.inf, high), 0.0 if values is None else values)
            odd = certain if odd is None else odd | certain
        super().put(ids, kept, odd, values)


def outcomes(
    run: Run, profile: Profile, sums: Sums, form: int, got: NDArray[np.float64], near: NDArray[np.bool_]
) -> list[tuple[Outcome, ...] | None]:
    """What a program may give for each number of the first result, of which `got` was returned.

    Of an infinity or NaN it is enough that the program may give it, and of what is `near` the truth that the way
    without overflow holds it. None where there are ways that are not known here.
    """
    ids, format = run.results[0].ravel(), run.judged[0].format
    ops = BranchingBalls(RoundedBalls(format, profile, sums), Choices())
    found: list[list[Outcome]] = [[] for _ in range(ids.size)]
    known = np.ones(ids.size, dtype=bool)
    enough = np.zeros(ids.size, dtype=bool)
    for wide in (True, False):
        way = Way(run.backward, profile, sums, form, wide)
        way.evaluate()
        x, exactly = result(way, ids, way.arithmetics[format.name])
        odd = ~np.isfinite(way.high[ids])
        specials = np.zeros(ids.shape, np.uint8) if x.specials is None else x.specials
        if wide:
            enough = ~odd & ((specials == 0) | (near & (specials == DOUBT))) & _holds(x, got)
        known &= odd | (specials == 0)
        for n in np.flatnonzero((enough | known) if wide else (known & ~enough)).tolist():
            found[n].append(Special(ops, float(exactly[n])) if odd[n] else _ball(ops, x, n))
        # The other way may be one of which nothing is known.
        given = ~known & ~enough & admitted(got, exactly, specials)
        for n in np.flatnonzero(given).tolist():
            found[n] = [Special(ops, float(got[n]))]
        enough |= given
        if not way.beyond or enough.all():
            break
    known |= enough
    if (~known & ~np.isfinite(got)).any():
        allowed = ArrayAllowed(run.backward, profile, sums, form).evaluate()
        x, exactly = result(allowed, ids, allowed.arithmetics[format.name])
        specials = np.zeros(ids.shape, np.uint8) if x.specials is None else x.specials
        for n in np.flatnonzero(~known & admitted(got, exactly, specials)).tolist():
            found[n], known[n] = [_ball(ops, x, n), Special(ops, float(got[n]))], True
    return [tuple(of) if there else None for of, there in zip(found, known, strict=True)]


def admitted(got: NDArray[np.float64], exactly: NDArray[np.float64], specials: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where an infinity or NaN was returned that the program gives, or may give where it overflows."""
    bits = np.where(np.isnan(got), NAN, np.where(got > 0, POSITIVE, NEGATIVE))
    may = ((specials & bits) != 0) & ((specials & ANYTHING) == 0)
    return np.asarray(~np.isfinite(got) & (may | (exactly == got) | (np.isnan(exactly) & np.isnan(got))))


def _holds(x: RoundedArray, got: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where what was returned is a number within the radius, and not near its edge."""
    low = x.mid.lo if isinstance(x.mid, DoubleArray) else 0.0
    with np.errstate(invalid="ignore"):
        return np.asarray(np.isfinite(got) & (np.abs((got - x.high) - low) <= x.radii() * (1 - EDGE)))


def _ball(ops: BranchingBalls, x: RoundedArray, n: int) -> Rounded:
    """An element as a ball, whose radius holds what the midpoint of an array is off by."""
    A = x.arithmetic
    radius = float(x.radii()[n])
    return Rounded(ops, A.mids.ball(x.mid, (n,)) + arb(0, radius * A.slack), arb(radius), 0)
