"""The exact trajectory: gradient descent that is never rounded, to hold a framework's beside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from flint import arb
from numpy.typing import NDArray

from gradconform.reference.arithmetic.arrays import OutOfRange, RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.exact import EXACT, precision
from gradconform.reference.arithmetic.formats import FLOAT64, FORMATS
from gradconform.reference.arithmetic.midpoints import DoubleArray
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.cases import Point
from gradconform.reference.cases import derivation as derivation_of
from gradconform.reference.equations import Derivation, Evaluation

#: The largest difference of a component from the exact one, given the framework's numbers.
Distance = Callable[[NDArray[np.float64]], float]

#: Bits that the document's trajectory is carried to; a network's is carried in double words, 100 bits.
BITS = 256


def trajectory(point: Point, rates: Sequence[float] | None = None) -> Iterator[Mapping[str, Distance]]:
    """The updated weights after each step from the point's own, as distances from them, by quantity; without end.

    `rates` are η in each step, where it is not the point's; after the last of them that stays. Where a network's exact
    trajectory leaves what double words hold, nothing is said from there on.
    """
    derivation = derivation_of(point.derivation)
    etas = _rates(point, rates)
    yield from (_of_numbers if point.architecture is None else _of_arrays)(point, derivation, etas)


def _rates(point: Point, rates: Sequence[float] | None) -> Iterator[float]:
    rate = point.rate
    for rate in rates or ():
        yield float(FORMATS[point.dtype].round(rate))
    while True:
        yield float(FORMATS[point.dtype].round(rate))


def _of_numbers(point: Point, derivation: Derivation, rates: Iterator[float]) -> Iterator[Mapping[str, Distance]]:
    values = {n: arb(v) for n, v in point.values.items()}
    while True:
        with precision(BITS):
            values[derivation.rate] = arb(next(rates))
            evaluation = Evaluation(derivation, EXACT, values)
            values |= {w: evaluation[new].mid() for w, new in derivation.updated.items()}
        yield {new: _from_number(values[w]) for w, new in derivation.updated.items()}


def _from_number(exact: Any) -> Distance:
    def distance(got: NDArray[np.float64]) -> float:
        with precision(BITS):
            return float(abs(arb(float(got)) - exact)) if np.isfinite(got) else float("inf")

    return distance


def _of_arrays(point: Point, derivation: Derivation, rates: Iterator[float]) -> Iterator[Mapping[str, Distance]]:
    with suppress(OutOfRange):
        yield from _in_double_words(point, derivation, rates)
    while True:
        yield {}


def _in_double_words(point: Point, derivation: Derivation, rates: Iterator[float]) -> Iterator[Mapping[str, Distance]]:
    ops = RoundedArrays(FLOAT64, OPENCL, exact=True)
    values: dict[str, Any] = {n: ops.given(v) for n, v in point.values.items()}
    while True:
        values[derivation.rate] = ops.given(next(rates))
        evaluation = Evaluation(derivation, ops, values)
        stepped = {w: evaluation[new] for w, new in derivation.updated.items()}
        if any(x.specials is not None for x in stepped.values()):
            return  # beyond float64 a midpoint is no value of the formula
        # Midpoints alone are carried on: they are the formula's values, the radii what a program might make of them.
        values |= {w: RoundedArray(ops, x.mid) for w, x in stepped.items()}
        yield {new: _from_array(ops, values[w].mid) for w, new in derivation.updated.items()}


def _from_array(ops: RoundedArrays, exact: Any) -> Distance:
    return lambda got: float(ops.mids.distance(got, exact).max())


# Gradients ------------------------------------------------------------------------------------------------------------

#: Exact numbers of weights, or of their gradients, by the weights' names.
Exact = Mapping[str, Sequence[arb]]


def exact_gradients(point: Point) -> Callable[[Exact], Mapping[str, list[arb]] | None]:
    """The gradient without rounding at exact weights; None where it leaves what double words hold."""
    derivation = derivation_of(point.derivation)
    return _slopes_of_numbers(point, derivation) if point.architecture is None else _slopes_of_arrays(point, derivation)


def _slopes_of_numbers(point: Point, derivation: Derivation) -> Callable[[Exact], Mapping[str, list[arb]] | None]:
    values = {n: arb(v) for n, v in point.values.items()}

    def at(weights: Exact) -> Mapping[str, list[arb]]:
        with precision(BITS):
            evaluation = Evaluation(derivation, EXACT, values | {w: x for w, (x,) in weights.items()})
            return {w: [evaluation[derivation.gradient[w]].mid()] for w in weights}

    return at


def _slopes_of_arrays(point: Point, derivation: Derivation) -> Callable[[Exact], Mapping[str, list[arb]] | None]:
    ops = RoundedArrays(FLOAT64, OPENCL, exact=True)
    values: dict[str, Any] = {n: ops.given(v) for n, v in point.values.items()}

    def given(numbers: Sequence[arb], shape: tuple[int, ...]) -> RoundedArray:
        high = [float(x) for x in numbers]
        low = [float(x - h) for x, h in zip(numbers, high, strict=True)]
        return RoundedArray(ops, DoubleArray(np.reshape(high, shape), np.reshape(low, shape)))

    def at(weights: Exact) -> Mapping[str, list[arb]] | None:
        with precision(BITS), suppress(OutOfRange):
            there = {w: given(numbers, np.shape(point.values[w])) for w, numbers in weights.items()}
            evaluation = Evaluation(derivation, ops, values | there)
            found = {w: evaluation[derivation.gradient[w]] for w in weights}
            if all(x.specials is None for x in found.values()):
                return {w: _exactly(x.mid) for w, x in found.items()}
        return None

    return at


def _exactly(numbers: DoubleArray) -> list[arb]:
    return [arb(h) + arb(x) for h, x in zip(numbers.hi.ravel().tolist(), numbers.lo.ravel().tolist(), strict=True)]
