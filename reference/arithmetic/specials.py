"""What a value may be besides a number, and what an operation gives of operands that may be infinite or NaN.

An operand is a set of the ways in which it can meet an infinity, a bit for each: its specials, and the signs of its
finite part. For every set of them, or pair of sets, a table holds what IEEE 754 makes of the representatives.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What a value may be besides a number near `exact`. DOUBT says that its radius has been widened by what an infinity on
#: the way may have made of it: whether a program can give both that and the rest, the bits do not tell (see
#: `outcomes`).
POSITIVE, NEGATIVE, NAN, ANYTHING, DOUBT = 1, 2, 4, 8, 16
OVERFLOWED = POSITIVE | NEGATIVE | NAN

#: The ways, as bits: those of a special are its own, and then those of the finite part.
ABOVE, BELOW, AT_ZERO = 8, 16, 32
_WAYS = {POSITIVE: math.inf, NEGATIVE: -math.inf, NAN: math.nan, ABOVE: 1.0, BELOW: -1.0, AT_ZERO: 0.0}
_SETS = 64


def representatives(ways: int) -> tuple[float, ...]:
    """One number for each way of a set."""
    return tuple(value for way, value in _WAYS.items() if ways & way)


def ieee(operation: str, *values: float) -> tuple[float, ...]:
    """What an operation gives of values that are not all finite (IEEE 754-2019 §6, §9.2); ±0 is not told apart."""
    if any(math.isnan(v) for v in values):
        return (math.nan,)
    if operation == "divide" and values[1] == 0:
        return math.inf, -math.inf
    return (_IEEE[operation](*values),)


_IEEE: dict[str, Callable[..., float]] = {
    "add": lambda x, y: x + y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "square": lambda x: x * x,
    "maximum": max,
    "absolute": abs,
    "positive_part": lambda x: max(x, 0.0),
    "exp": math.exp,
    "expm1": math.expm1,
    "log": lambda x: x if x > 0 else math.nan,
    "log1p": lambda x: x if x > 0 else math.nan,
    "tanh": math.tanh,
    "erf": math.erf,
    "erfc": math.erfc,
    "sigmoid": lambda x: 1.0 if x > 0 else 0.0,
    "sin": lambda x: math.nan,
    "cos": lambda x: math.nan,
    "sinh": lambda x: x,
    "cosh": abs,
    "sqrt": lambda x: x if x > 0 else math.nan,
}


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
