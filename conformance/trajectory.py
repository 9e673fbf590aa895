"""The exact trajectory: gradient descent that is never rounded, to hold a framework's beside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from flint import arb
from numpy.typing import NDArray

from gradconform.reference.arithmetic.arrays import OutOfRange, RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.exact import EXACT, precision
from gradconform.reference.arithmetic.formats import FLOAT64
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.cases import Point
from gradconform.reference.cases import derivation as derivation_of
from gradconform.reference.equations import Derivation, Evaluation

#: The largest difference of a component from the exact one, given the framework's numbers.
Distance = Callable[[NDArray[np.float64]], float]

#: Bits that the document's trajectory is carried to; a network's is carried in double words, 100 bits.
BITS = 256


def trajectory(point: Point) -> Iterator[Mapping[str, Distance]]:
    """The updated weights after each step from the point's own, as distances from them, by quantity; without end.

    Where a network's exact trajectory leaves what double words hold, nothing is said from there on.
    """
    derivation = derivation_of(point.derivation)
    yield from (_of_numbers if point.architecture is None else _of_arrays)(point, derivation)


def _of_numbers(point: Point, derivation: Derivation) -> Iterator[Mapping[str, Distance]]:
    values = {n: arb(v) for n, v in point.values.items()} | {derivation.rate: arb(point.rate)}
    while True:
        with precision(BITS):
            evaluation = Evaluation(derivation, EXACT, values)
            values |= {w: evaluation[new].mid() for w, new in derivation.updated.items()}
        yield {new: _from_number(values[w]) for w, new in derivation.updated.items()}


def _from_number(exact: Any) -> Distance:
    def distance(got: NDArray[np.float64]) -> float:
        with precision(BITS):
            return float(abs(arb(float(got)) - exact)) if np.isfinite(got) else float("inf")

    return distance


def _of_arrays(point: Point, derivation: Derivation) -> Iterator[Mapping[str, Distance]]:
    with suppress(OutOfRange):
        yield from _in_double_words(point, derivation)
    while True:
        yield {}


def _in_double_words(point: Point, derivation: Derivation) -> Iterator[Mapping[str, Distance]]:
    ops = RoundedArrays(FLOAT64, OPENCL, exact=True)
    values: dict[str, Any] = {n: ops.given(v) for n, v in point.values.items()}
    values[derivation.rate] = ops.given(point.rate)
    while True:
        evaluation = Evaluation(derivation, ops, values)
        stepped = {w: evaluation[new] for w, new in derivation.updated.items()}
        if any(x.specials is not None for x in stepped.values()):
            return  # beyond float64 a midpoint is no value of the formula
        # Midpoints alone are carried on: they are the formula's values, the radii what a program might make of them.
        values |= {w: RoundedArray(ops, x.mid) for w, x in stepped.items()}
        yield {new: _from_array(ops, values[w].mid) for w, new in derivation.updated.items()}


def _from_array(ops: RoundedArrays, exact: Any) -> Distance:
    return lambda got: float(ops.mids.distance(got, exact).max())
