"""Rounded balls element by element: arrays of `Rounded`, for a few components to any precision.

The same formulas and the same rules as `arrays`, each element by the scalar arithmetic. Slow, and the last word: a
component that deviates by `arrays` is put to this arithmetic before it is said to deviate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.arithmetic.exact import Constant, HandWritten
from gradconform.reference.arithmetic.formats import FLOAT32, Format
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.arithmetic.rounded import ANYTHING, ZERO, Rounded, RoundedBalls
from gradconform.reference.equations import Slope

Objects = NDArray[np.object_]


class BallArray:
    """An array of `Rounded`, with the operators of arrays."""

    __array_ufunc__ = None

    def __init__(
        self, arithmetic: BallArrays, values: Objects | None, exactly: NDArray[np.float64] | None = None
    ) -> None:
        self.arithmetic, self._values, self.exactly = arithmetic, values, exactly

    @property
    def values(self) -> Objects:
        """The elements; of numbers known exactly (`exactly`) they are made when they are asked for."""
        if self._values is None:
            assert self.exactly is not None
            self._values = np.empty(self.exactly.shape, dtype=object)
            for index in np.ndindex(self.exactly.shape):
                self._values[index] = self.arithmetic.balls.given(float(self.exactly[index]))
        return self._values

    def under(self, arithmetic: BallArrays) -> BallArray:
        """The same values, to go on from under another arithmetic."""
        values = np.empty(self.shape, dtype=object)
        for index in np.ndindex(values.shape):
            element: Any = self.values[index]
            values[index] = element.under(arithmetic.balls)
        return BallArray(arithmetic, values)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape if self.exactly is None else self.exactly.shape

    @property
    def T(self) -> BallArray:
        turned = None if self.exactly is None else self.exactly.T
        return BallArray(self.arithmetic, None if turned is not None else self.values.T, turned)

    def _with(self, operation: Callable[[Any, Any], Any], other: Any) -> BallArray:
        right = other.values if isinstance(other, BallArray) else other
        with np.errstate(all="ignore"):  # NumPy reads flags that python-flint's own arithmetic has raised
            return BallArray(self.arithmetic, np.asarray(operation(self.values, right), dtype=object))

    def __neg__(self) -> BallArray:
        return BallArray(self.arithmetic, np.asarray(-self.values, dtype=object))

    def __add__(self, other: Any) -> BallArray:
        return self._with(lambda a, b: a + b, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> BallArray:
        return self._with(lambda a, b: a - b, other)

    def __rsub__(self, other: Any) -> BallArray:
        return self._with(lambda a, b: b - a, other)

    def __mul__(self, other: Any) -> BallArray:
        return self._with(lambda a, b: a * b, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> BallArray:
        return self._with(lambda a, b: a / b, other)

    def __rtruediv__(self, other: Any) -> BallArray:
        return self._with(lambda a, b: b / a, other)

    def __pow__(self, power: int) -> BallArray:
        return BallArray(self.arithmetic, np.asarray(self.values**power, dtype=object))

    def __matmul__(self, other: BallArray) -> BallArray:
        return self.arithmetic.products(self, other, None)


def _each(name: str) -> Callable[..., BallArray]:
    """An operation of numbers, element by element."""
    return lambda self, *operands: self._map(getattr(self.balls, name), *operands)


class BallArrays(HandWritten):
    """Arithmetic in `target` under the hypotheses of `profile`, on `BallArray` values; or by the `balls` given."""

    def __init__(self, target: Format, profile: Profile, balls: RoundedBalls | None = None) -> None:
        self.balls = balls or RoundedBalls(target, profile)

    def given(self, x: Any) -> BallArray:
        return BallArray(self, None, np.asarray(x, dtype=np.float64))

    def reported(self, x: Any) -> BallArray:
        numbers = np.asarray(x, dtype=np.float64)
        values = np.empty(numbers.shape, dtype=object)
        for index in np.ndindex(numbers.shape):
            values[index] = self.balls.reported(float(numbers[index]))
        return BallArray(self, values)

    def real(self, constant: Constant) -> BallArray:
        values = np.empty((), dtype=object)
        values[()] = self.balls.real(constant)
        return BallArray(self, values)

    def gradual(self, formula: Callable[..., BallArray], *operands: BallArray) -> BallArray:
        """As in `RoundedBalls`."""
        balls = self.balls
        if not (balls.flush and balls.format.name == "float16"):
            return formula(self, *operands)
        profile = replace(balls.profile, flush=False)
        gradual = balls.keeping_subnormals(RoundedBalls(balls.format, profile, balls.sums))
        kept = BallArrays(balls.format, profile, gradual)
        return formula(kept, *[x.under(kept) for x in operands]).under(self)

    def _coerce(self, x: Any) -> Objects:
        if isinstance(x, BallArray):
            return x.values
        values = np.empty((), dtype=object)
        values[()] = self.balls.coerce(x)
        return values

    def _map(self, operation: Callable[..., Rounded], *operands: Any) -> BallArray:
        arrays = np.broadcast_arrays(*[self._coerce(x) for x in operands])
        values = np.empty(arrays[0].shape, dtype=object)
        for index in np.ndindex(values.shape):
            values[index] = operation(*[a[index] for a in arrays])
        return BallArray(self, values)

    exp, expm1, log, log1p, sqrt = (_each(n) for n in ("exp", "expm1", "log", "log1p", "sqrt"))
    tanh, sinh, cosh, sigmoid = (_each(n) for n in ("tanh", "sinh", "cosh", "sigmoid"))
    erf, erfc, positive_part, absolute = (_each(n) for n in ("erf", "erfc", "positive_part", "absolute"))
    select, step, bounded = (_each(n) for n in ("select", "step", "bounded"))
    recentred, unrounded = (_each(n) for n in ("recentred", "unrounded"))

    def derivative(self, z: Any, rule: Slope) -> BallArray:
        return self._map(lambda one: self.balls.derivative(one, rule), z)

    def epsilon(self) -> BallArray:
        return self.given(2.0 ** (1 - self.balls.format.precision))

    def normalised(self, e: BallArray) -> BallArray:
        values = np.empty(e.shape, dtype=object)
        for i, row in enumerate(e.values):
            total, least = self.balls.total_of(list(row)), self.balls.least_of(list(row))
            for j, x in enumerate(row):
                values[i, j] = self.balls.part_of(x, total, least)
        return BallArray(self, values)

    def row_maximum(self, x: BallArray) -> BallArray:
        values = np.empty((x.shape[0], 1), dtype=object)
        for i, row in enumerate(x.values):
            largest = row[0]
            for element in row[1:] if len(row) > 1 else row:  # a maximum of one number may flush it, too
                largest = self.balls.maximum(largest, element)
            values[i, 0] = largest
        return BallArray(self, values)

    def row_sum(self, x: BallArray) -> BallArray:
        return self._by_rows(self.balls.total_of, x)

    def _by_rows(self, operation: Callable[[list[Rounded]], Rounded], x: BallArray) -> BallArray:
        values = np.empty((x.shape[0], 1), dtype=object)
        for i, row in enumerate(x.values):
            values[i, 0] = operation(list(row))
        return BallArray(self, values)

    def log_row_sum(self, e: BallArray) -> BallArray:
        def logarithm(row: list[Rounded]) -> Rounded:
            return self.balls.log_of_total(self.balls.total_of(row), self.balls.least_of(row))

        return self._by_rows(logarithm, e)

    def over_row_sum(self, x: BallArray, e: BallArray) -> BallArray:
        values = np.empty((e.shape[0], 1), dtype=object)
        for i, row in enumerate(e.values):
            total, least = self.balls.total_of(list(row)), self.balls.least_of(list(row))
            values[i, 0] = self.balls.over_total(x.values[i, 0], total, least)
        return BallArray(self, values)

    def row_sum_of_others(self, x: BallArray) -> BallArray:
        """For each component the sum of the others of its row, as the truth has it: its radius is the whole sum's.

        Of a sum that is not finite nothing is known.
        """
        total = self.row_sum(x).values
        values = np.empty(x.shape, dtype=object)
        for i, j in np.ndindex(x.shape):
            whole: Any = total[i, 0]
            one: Any = x.values[i, j]
            if not (isinstance(whole, Rounded) and isinstance(one, Rounded)):
                values[i, j] = Rounded(self.balls, ZERO, ZERO, ANYTHING)
                continue
            exact, radius = whole.exact - one.exact, whole.radius
            if self.balls.format.precision < FLOAT32.precision and self.balls.sums == "wide":  # as in `RoundedArrays`
                radius += self.balls.unit * (abs(exact) + radius)
            values[i, j] = Rounded(self.balls, exact, radius, whole.specials)
        return BallArray(self, values)

    def column_sum(self, x: BallArray) -> BallArray:
        values = np.empty(x.shape[1], dtype=object)
        for j in range(x.shape[1]):
            numbers = None if x.exactly is None else x.exactly[:, j]
            values[j] = self.balls.total_of_numbers(numbers) if numbers is not None else self._total(x.values[:, j])
        return BallArray(self, values)

    def _total(self, values: Objects) -> Rounded:
        return self.balls.total_of(list(values.ravel()))

    def total(self, x: BallArray) -> BallArray:
        values = np.empty((), dtype=object)
        values[()] = self._total(x.values)
        return BallArray(self, values)

    def linear(self, x: BallArray, weight: BallArray, bias: BallArray | None) -> BallArray:
        return self.products(x, weight.T, bias)

    def product_in_the_dtype(self, a: BallArray, b: BallArray) -> BallArray:
        values = np.empty((a.shape[0], b.shape[1]), dtype=object)
        for i, j in np.ndindex(values.shape):
            values[i, j] = self.balls.dot(list(a.values[i]), list(b.values[:, j]), own=True)
        return BallArray(self, values)

    def products(self, a: BallArray, b: BallArray, bias: BallArray | None) -> BallArray:
        values = np.empty((a.shape[0], b.shape[1]), dtype=object)
        if a.exactly is not None and b.exactly is not None and (bias is None or bias.exactly is not None):
            rows, columns = a.exactly, b.exactly
            for i, j in np.ndindex(values.shape):
                one = None if bias is None or bias.exactly is None else float(bias.exactly[j])
                values[i, j] = self.balls.dot_of_numbers(rows[i], columns[:, j], one)
            return BallArray(self, values)
        for i, j in np.ndindex(values.shape):
            extra: Any = None if bias is None else bias.values[j]
            values[i, j] = self.balls.dot(list(a.values[i]), list(b.values[:, j]), extra)
        return BallArray(self, values)
