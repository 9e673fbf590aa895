"""The programs that what a run returned is held against, and what one of them may give."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.arithmetic.arrays import RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.formats import FLOAT32
from gradconform.reference.arithmetic.midpoints import OutOfRange
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.arithmetic.rounded import NAN, NEGATIVE, POSITIVE, Sums
from gradconform.reference.programs.array_allowance import ArrayAllowed
from gradconform.reference.programs.record import Record, Step, Taken
from gradconform.reference.programs.run import Run


def programs(run: Run) -> Iterator[tuple[str, Sums, int]]:
    """The programs that a gradient is held against: how 16-bit sums are accumulated, and each of the kernels' forms."""
    forms = run.backward.forms
    for sums, said in _ways(run):
        for form in range(forms):
            yield (f"recorded, form {form + 1}" if forms > 1 else "recorded") + said, sums, form


def mixed_programs(run: Run, profile: Profile) -> Iterator[tuple[str, Sums, Taken]]:
    """Further ones, for what is in none of these: each kernel by the form that it was itself nearest to."""
    taken = nearest_forms(run.backward, profile)
    if len(set(taken.values())) > 1:
        for sums, said in _ways(run):
            yield "recorded, each kernel by a form of its own" + said, sums, taken


def _ways(run: Run) -> Sequence[tuple[Sums, str]]:
    """How sums are accumulated, and what is said of that."""
    narrow = any(a.format.precision < 24 for a in (*run.arguments, *run.tangents))
    return (("wide", ""), ("any", ", sums in the dtype")) if narrow else (("any", ""),)


def nearest_forms(record: Record, profile: Profile) -> dict[int, int]:
    """By the place of each kernel of several forms, the one that has what it returned deepest in its allowance.

    On the operands that the kernel had: where each is within its form, so is every result of the program that takes
    these, since its balls hold the operands.
    """
    several = [
        s
        for s in record.steps
        if len(s.forms) > 1 and s.out.size and not s.implicit and not np.isnan(record.held[s.out]).all()
    ]
    shares: dict[int, list[float]] = {s.place: [] for s in several}
    wide = any(s.format.precision > FLOAT32.precision for s in record.steps)
    for form in range(record.forms if several else 0):
        allowed = ArrayAllowed(record, profile, form=form, wide=wide)
        for step in (s for s in several if form < len(s.forms)):
            try:
                allowed.evaluate([step])
                shares[step.place].append(_share(allowed, step))
            except OutOfRange:
                shares[step.place].append(math.inf)
            allowed.forget(step)
    return {place: min(range(len(each)), key=each.__getitem__) for place, each in shares.items()}


def _share(allowed: ArrayAllowed, step: Step) -> float:
    """How much of a kernel's allowance its worst result takes, of those that are finite numbers."""
    value, exactly = result(allowed, step.out, allowed.arithmetics[step.format.name])
    got = allowed.record.held[step.out]
    known = np.isfinite(got) & np.isfinite(exactly) & (True if value.specials is None else value.specials == 0)
    with np.errstate(all="ignore"):
        off = np.abs(value.arithmetic.mids.distance(got, value.mid))
        share = np.where(off == 0, 0.0, off / value.radii())
    return float(share[known].max(initial=0.0))


def result(allowed: ArrayAllowed, ids: NDArray[np.int64], A: RoundedArrays) -> tuple[RoundedArray, NDArray[np.float64]]:
    """What a program may give for some numbers, 0 where that is exactly infinite or NaN; and these."""
    x, odd = allowed.take(ids, A)
    radius, exactly = np.array(x.radii()), np.zeros(ids.shape)
    mid = A.mids.writable(x.mid, ids.shape)
    specials = np.zeros(ids.shape, np.uint8) if x.specials is None else np.array(x.specials)
    if odd is not None:
        exactly = np.where(odd, allowed.high[ids], 0.0)
        mid = A.mids.where(odd, A.mids.lift(np.zeros(())), mid)
        bits = np.where(np.isnan(exactly), NAN, np.where(exactly > 0, POSITIVE, NEGATIVE))
        specials = np.where(odd, bits, specials).astype(np.uint8)
    return RoundedArray(A, mid, radius, None, specials if specials.any() else None), exactly
