"""What an operation gives of operands that may be infinite or NaN: the scalar arithmetic's own answers, as tables.

An operand is a set of the ways in which it can meet an infinity, a bit for each: its specials, and the signs of its
finite part. For every set of them, or pair of sets, a table holds what `rounded.ieee` makes of the representatives.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.arithmetic.rounded import NAN, NEGATIVE, POSITIVE, ieee

#: The ways, as bits: those of a special are its own, and then those of the finite part.
ABOVE, BELOW, AT_ZERO = 8, 16, 32
_WAYS = {POSITIVE: math.inf, NEGATIVE: -math.inf, NAN: math.nan, ABOVE: 1.0, BELOW: -1.0, AT_ZERO: 0.0}
_SETS = 64


@dataclass(frozen=True)
class Table:
    """By sets of ways: the specials that come out, and the least and largest finite number, ∞ and −∞ if none does."""

    specials: NDArray[np.uint8]
    least: NDArray[np.float64]
    largest: NDArray[np.float64]


@cache
def table(operation: str, operands: int) -> Table:
    """What an operation gives of one operand or two."""
    shape = (_SETS,) * operands
    specials, least, largest = np.zeros(shape, np.uint8), np.full(shape, np.inf), np.full(shape, -np.inf)
    sets: Any = np.meshgrid(*[np.arange(_SETS)] * operands, indexing="ij")
    for ways in itertools.product(_WAYS, repeat=operands):
        values = [_WAYS[way] for way in ways]
        if all(math.isfinite(v) for v in values):
            continue
        met = np.all([(of & way) != 0 for of, way in zip(sets, ways, strict=True)], axis=0)
        for outcome in ieee(operation, *values):
            if math.isfinite(outcome):
                least[met], largest[met] = np.minimum(least[met], outcome), np.maximum(largest[met], outcome)
            else:
                specials[met] |= NAN if math.isnan(outcome) else POSITIVE if outcome > 0 else NEGATIVE
    return Table(specials, least, largest)
