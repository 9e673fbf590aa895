"""Choosers: which of an equation's forms a whole program takes, told by their values.

All values are around the same truth, and have the allowance of their form. Every chooser is here for numbers, for
arrays, and for arrays of balls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from gradconform.reference.arithmetic.arrays import RoundedArray
from gradconform.reference.arithmetic.ball_arrays import BallArray
from gradconform.reference.arithmetic.rounded import ANYTHING, Rounded
from gradconform.reference.equations import Form

#: Picks among the values of an equation's forms, or makes one value of them.
Chooser = Callable[[Sequence[Any], Sequence[Form]], Any]


def stable(choose: Chooser) -> Chooser:
    """The choice among the forms that are not unstable."""

    def chosen(values: Sequence[Any], forms: Sequence[Form]) -> Any:
        kept = [n for n, form in enumerate(forms) if not form.unstable]
        return choose([values[n] for n in kept], [forms[n] for n in kept])

    return chosen


def nth(number: int) -> Chooser:
    """Always the form of this number, the last where there are fewer."""
    return lambda values, _: values[min(number, len(values) - 1)]


@dataclass(frozen=True)
class Choosers:
    """The choosers of one arithmetic: the sharpest form, the widest, and the widest with every infinity and NaN."""

    sharpest: Chooser
    widest: Chooser
    overflowing: Chooser


# Numbers --------------------------------------------------------------------------------------------------------------


def sharpest(values: Sequence[Rounded], forms: Sequence[Form] = ()) -> Rounded:
    """The value of the form with the smallest radius, forms that may overflow set aside where another cannot."""
    steady = [v for v in values if not v.specials] or [v for v in values if not v.specials & ANYTHING] or values
    return _admitting(reduce(lambda a, b: b if b.radius < a.radius else a, steady), values, forms)


def widest(values: Sequence[Rounded], forms: Sequence[Form] = ()) -> Rounded:
    """The value of the form that reaches furthest from the truth, half the width of a set at a kink included."""
    known = [v for v in values if not v.specials & ANYTHING] or values
    return _admitting(reduce(_further, known), values, forms)


def overflowing(values: Sequence[Rounded], forms: Sequence[Form] = ()) -> Rounded:
    """The widest, infinite or NaN wherever any form may be; where nothing is known of one, nothing is."""
    known = [v for v in values if not v.specials & ANYTHING] or values
    found = reduce(_further, known)
    specials = reduce(lambda bits, v: bits | v.specials, values, found.specials)
    return Rounded(found.arithmetic, found.exact, found.radius, specials, found.spread)


def _further(a: Rounded, b: Rounded) -> Rounded:
    return b if b.radius + b.spread > a.radius + a.spread else a


def _admitting(chosen: Rounded, values: Sequence[Rounded], forms: Sequence[Form]) -> Rounded:
    """The chosen value, infinite or NaN only if every form may be.

    Forward and reverse mode meet their infinities at different places: it is enough that every form of one mode may be.
    """
    modes = [form.tangent for form in forms] or [False] * len(values)
    admitted = 0
    for mode in set(modes):
        of_mode = [v.specials for v, m in zip(values, modes, strict=True) if m == mode and not v.specials & ANYTHING]
        admitted |= reduce(lambda a, b: a & b, of_mode) if of_mode else 0
    specials = admitted | chosen.specials & ANYTHING
    return Rounded(chosen.arithmetic, chosen.exact, chosen.radius, specials, chosen.spread)


# Arrays ---------------------------------------------------------------------------------------------------------------


def _size(value: RoundedArray) -> float:
    """The allowance of a tensor as one number; infinite where a component may be anything."""
    if value.specials is not None and bool((value.specials & ANYTHING).any()):
        return math.inf
    return float(np.sum(value.radii()))


def _sharpest_array(values: Sequence[RoundedArray], forms: Sequence[Form]) -> RoundedArray:
    """The value of the form with the smallest allowance; forms that may overflow set aside where another cannot."""
    steady = [v for v in values if v.specials is None] or list(values)
    return _admitting_array(min(steady, key=_size), values)


def _widest_array(values: Sequence[RoundedArray], forms: Sequence[Form]) -> RoundedArray:
    """In every component the largest allowance of the forms that are known there."""
    return _admitting_array(_envelope(values), values)


def _overflowing_array(values: Sequence[RoundedArray], forms: Sequence[Form]) -> RoundedArray:
    """The widest, infinite or NaN wherever any form may be; where nothing is known of one, nothing is."""
    found = _envelope(values)
    specials = found.specials
    for v in values:
        if v.specials is not None:
            specials = v.specials if specials is None else specials | v.specials
    return RoundedArray(found.arithmetic, found.mid, found.radius, found.spread, specials)


def _envelope(values: Sequence[RoundedArray]) -> RoundedArray:
    """Around the truth, in every component the largest radius of the forms of which something is known there."""
    first = values[0]
    if len(values) == 1:
        return first
    radius, spread = np.zeros(first.shape), np.zeros(first.shape)
    specials = None if first.specials is None else first.specials.copy()
    for v in values:
        unknown = np.False_ if v.specials is None else (v.specials & ANYTHING) != 0
        radius = np.maximum(radius, np.where(unknown, 0.0, v.radii()))
        if v.spread is not None:
            spread = np.maximum(spread, np.where(unknown, 0.0, v.spread))
        if specials is not None:
            known = np.zeros(v.shape, np.uint8) if v.specials is None else v.specials
            specials = np.where((specials & ANYTHING != 0) & ~unknown, known, specials)
    kinks = spread if any(v.spread is not None for v in values) else None
    return RoundedArray(first.arithmetic, first.mid, radius, kinks, specials)


def _admitting_array(chosen: RoundedArray, values: Sequence[RoundedArray]) -> RoundedArray:
    """The chosen value, infinite or NaN only where every form may be."""
    if chosen.specials is None or any(v.specials is None for v in values):
        specials = None
    else:
        specials = chosen.specials
        for v in values:
            if v.specials is not None:
                unknown = (v.specials & ANYTHING) != 0
                specials = np.where(unknown, specials, specials & (v.specials | ANYTHING)).astype(np.uint8)
    return RoundedArray(chosen.arithmetic, chosen.mid, chosen.radius, chosen.spread, specials)


# Arrays of balls ------------------------------------------------------------------------------------------------------


def _smallest(values: Sequence[BallArray], forms: Sequence[Form]) -> BallArray:
    """The value of the form with the smallest allowance."""
    return min(values, key=_ball_size)


def _ball_size(value: BallArray) -> float:
    balls: list[Rounded] = list(value.values.ravel())
    return math.inf if any(b.specials & ANYTHING for b in balls) else sum(float(b.radius.upper()) for b in balls)


def _each(choose: Chooser) -> Chooser:
    """The chooser of numbers for every component."""

    def chosen(values: Sequence[BallArray], forms: Sequence[Form]) -> BallArray:
        found = np.empty(values[0].shape, dtype=object)
        for index in np.ndindex(found.shape):
            found[index] = choose([v.values[index] for v in values], forms)
        return BallArray(values[0].arithmetic, found)

    return chosen


OF_NUMBERS = Choosers(sharpest, widest, overflowing)
OF_ARRAYS = Choosers(_sharpest_array, _widest_array, _overflowing_array)
OF_BALL_ARRAYS = Choosers(_smallest, _each(widest), _each(overflowing))
