"""The condition of a step: what one rounding of its operands would do to its result.

κ = Σ_j |x_j·∂g/∂x_j| over the operands x_j of one component (N. J. Higham, "Accuracy and Stability of Numerical
Algorithms", 2nd ed., §1.6; componentwise, absolute); where a kink is within one rounding u·|x_j| of x_j, what crossing
it does besides, the jump, in units of u. It is asked for where a result has lost its digits, to tell whether the
formula had any to keep, and decides nothing else: float64 and forward differentiation do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.special
from numpy.typing import NDArray

from gradconform.reference.arithmetic.exact import Constant, Field, HandWritten
from gradconform.reference.equations import Equation, elementwise
from gradconform.reference.programs.functions import FUNCTIONS
from gradconform.reference.programs.words import BY_HOST

Array = NDArray[np.float64]
#: Components times derivatives of a rowwise step that are computed; beyond, its condition is not known.
MOST_DERIVATIVES = 10_000_000
_FLOATS = Field(lambda p, q: p / q, np.sqrt, lambda: math.pi)


class Dual:
    """A number and its derivative along x·∂/∂x of some operand x, or arrays of them."""

    __array_ufunc__ = None

    def __init__(self, value: Any, slope: Any = 0.0) -> None:
        self.value, self.slope = np.asarray(value, dtype=np.float64), np.asarray(slope, dtype=np.float64)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def __neg__(self) -> Dual:
        return Dual(-self.value, -self.slope)

    def __add__(self, other: Any) -> Dual:
        other = dual(other)
        return Dual(self.value + other.value, self.slope + other.slope)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Dual:
        return self + -dual(other)

    def __rsub__(self, other: Any) -> Dual:
        return dual(other) - self

    def __mul__(self, other: Any) -> Dual:
        other = dual(other)
        return Dual(self.value * other.value, self.slope * other.value + self.value * other.slope)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Dual:
        other = dual(other)
        quotient = self.value / other.value
        return Dual(quotient, (self.slope - quotient * other.slope) / other.value)

    def __rtruediv__(self, other: Any) -> Dual:
        return dual(other) / self

    def __pow__(self, power: int) -> Dual:
        return self * self


def dual(x: Any) -> Dual:
    return x if isinstance(x, Dual) else Dual(x)


class _Host:
    """The functions of the table on float64 numbers, for the partial derivatives that it gives."""

    sqrt, square, sigmoid = (staticmethod(f) for f in (np.sqrt, np.square, scipy.special.expit))

    def __getattr__(self, name: str) -> Callable[[Array], Array]:
        return BY_HOST[name]

    @staticmethod
    def pi() -> float:
        return math.pi


_HOST = _Host()


def _by_table(name: str) -> Callable[..., Dual]:
    """A function of one number, by its row of the table."""

    def function(self: Duals, x: Any) -> Dual:
        x = dual(x)
        value = getattr(_HOST, name)(x.value)
        (slope,) = FUNCTIONS[name].partials(_HOST, x.value, value)
        return Dual(value, slope * x.slope)

    return function


class Duals(HandWritten):
    """The named operations on `Dual` values; `unit` is u, one rounding of an operand."""

    def __init__(self, unit: float) -> None:
        self.unit = unit

    def real(self, constant: Constant) -> Dual:
        return Dual(constant.of(_FLOATS))

    exp, expm1, log, log1p, sqrt = (_by_table(n) for n in ("exp", "expm1", "log", "log1p", "sqrt"))
    tanh, sinh, cosh = (_by_table(n) for n in ("tanh", "sinh", "cosh"))
    sigmoid, erf, erfc = (_by_table(n) for n in ("sigmoid", "erf", "erfc"))

    def positive_part(self, x: Any) -> Dual:
        return self.select(x, x, 0.0)

    def absolute(self, x: Any) -> Dual:
        return self.select(x, x, -x)

    def select(self, x: Any, above: Any, below: Any) -> Dual:
        x, above, below = dual(x), dual(above), dual(below)
        shape = np.broadcast_shapes(x.shape, above.shape, below.shape)
        slopes = [np.broadcast_to(v.slope, shape) for v in (above, below)]
        crossed = (x.slope != 0) & (np.abs(x.value) <= self.unit * np.abs(x.slope))
        jump = np.where(crossed, np.abs(above.value - below.value) / self.unit, 0.0)
        return Dual(np.where(x.value > 0, above.value, below.value), np.where(x.value > 0, *slopes) + jump)

    step = select

    def row_maximum(self, x: Any) -> Dual:
        x = dual(x)
        at = x.value.argmax(axis=1)[:, None]
        slope = np.broadcast_to(x.slope, x.shape)
        return Dual(np.take_along_axis(x.value, at, 1), np.take_along_axis(slope, at, 1))

    def row_sum(self, x: Any) -> Dual:
        x = dual(x)
        return Dual(x.value.sum(axis=1, keepdims=True), np.broadcast_to(x.slope, x.shape).sum(axis=1, keepdims=True))

    def row_sum_of_others(self, x: Any) -> Dual:
        return self.row_sum(x) - dual(x)

    def total(self, x: Any) -> Dual:
        """Along one number of each row at a time: rows do not move each other, and each of their numbers counts."""
        x = dual(x)
        return Dual(x.value.sum(), np.abs(np.broadcast_to(x.slope, x.shape).sum(axis=1)).sum())


def condition(equation: Equation, operands: Sequence[Any], unit: float) -> float | None:
    """‖κ‖₂ of a step over all its components, on the operands of its truth; None where it is not known.

    The steps of a network are elementwise, or rowwise, or sums over all rows, or multilinear: sums of products, each
    term of which counts once for each of its factors. `unit` is u of the format.
    """
    values = [np.asarray(x, dtype=np.float64) for x in operands]
    with np.errstate(all="ignore"):
        if equation.part is None or equation.part is elementwise:
            moved = [_moved(equation, values, n, x, unit) for n, x in enumerate(values)]
            found: Array | None = np.asarray(sum(moved))
        elif equation.factors:
            # Σ of the terms' magnitudes, each as often as it has factors.
            terms = equation.truth.formula(PLAIN_SUMS, *[np.abs(x) for x in values])
            found = equation.factors * np.asarray(terms)
        else:
            found = _by_columns(equation, values, unit)
        size = None if found is None else float(np.sqrt(np.square(found).sum()))
    return size if size is not None and math.isfinite(size) else None


def _moved(equation: Equation, values: Sequence[Array], number: int, seed: Array, unit: float) -> Array:
    """|x·∂g/∂x| of one operand, or of as much of it as the seed holds."""
    duals = [Dual(x, seed if n == number else 0.0) for n, x in enumerate(values)]
    return np.abs(dual(equation.truth.formula(Duals(unit), *duals)).slope)


def _by_columns(equation: Equation, values: Sequence[Array], unit: float) -> Array | None:
    shape = values[0].shape
    if len(shape) != 2 or any(x.shape != shape for x in values):
        return None
    if math.prod(shape) * shape[1] * len(values) > MOST_DERIVATIVES:
        return None
    found = np.zeros(())
    for number, x in enumerate(values):
        for column in range(shape[1]):
            seed = np.zeros(shape)
            seed[:, column] = x[:, column]
            found = found + _moved(equation, values, number, seed, unit)
    return found


class _PlainSums(HandWritten):
    """The sums of products of a network on arrays of numbers."""

    def real(self, constant: Constant) -> Any:
        return constant.of(_FLOATS)

    def linear(self, x: Any, w: Any, b: Any) -> Any:
        return x @ w.T if b is None else x @ w.T + b

    def column_sum(self, x: Any) -> Any:
        return x.sum(axis=0)


PLAIN_SUMS = _PlainSums()
