"""What was got, held against a formula of numbers known exactly, in one pass over memory: products, sums and updates.

Operands are float32 numbers, which may be given as float64 arrays.

Products with weights, and updates of these, are where the components of a network are. The rules of the array
arithmetic (`sum_rules`, `rules`) come to one factor here where all that is met is ordinary: no number is infinite, NaN
or subnormal, and every sum is so far above the subnormal numbers that what is flushed is lost in the
factor. Where that is not so, or a component comes near its allowance, `Comparing` gives None, and all is computed by
the rules, array by array.

A block of the product and of its magnitude is held against what was got while it is in a core's cache: by a compiled
pass (`comparison_kernels`) where numba is installed, else by NumPy in arrays that are used again. Both do the same
operations in the same types, so that shares and errors in ulp are the same to the last bit.

Any other form that goes element by element is held against what was got by a compiled pass, of the rules as kernels
have them (`fused`); without numba it is left to the rules. Functions are the kernels' own there: 2^-53 of one is 2^-29
units in the last place of float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.arithmetic.midpoints import Plain, squares

if TYPE_CHECKING:
    from gradconform.reference.arithmetic.arrays import RoundedArrays
    from gradconform.reference.equations import Form, Formula

#: Components of the largest tensor of a derivation from which on the compiled passes are worth being loaded: numba
#: takes half a second, and its first time on a machine several.
COMPILED_FROM = 1 << 18
#: Elements of a factor that are widened at a time: what a core's cache holds of them.
WIDENED = 1 << 17
#: OpenBLAS multiplies without copying its factors where a product has at most so many multiplications; of a factor that
#: is transposed at most so many columns. That is worth smaller products where each column takes so many of them.
DIRECT, COLUMNS, WORTH = 10**6, (60, 32), 1 << 13
#: Where sums of squares neither underflow nor overflow.
_HOLDING = (2.0**-960, 2.0**960)

Single = np.float32
Array = NDArray[Any]


# What a formula is ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Factor:
    """A factor of a product: which operand, and whether it is transposed."""

    operand: int
    transposed: bool = False

    @property
    def T(self) -> Factor:
        return Factor(self.operand, not self.transposed)

    def __matmul__(self, other: Factor) -> Product:
        return Product(self, other)

    def __mul__(self, other: Factor) -> tuple[Factor, Factor]:
        return self, other


@dataclass(frozen=True)
class Product:
    """left·right, or with a bias for every column."""

    left: Factor
    right: Factor
    bias: Factor | None = None


@dataclass(frozen=True)
class Update:
    """w − η·g."""

    weight: Factor
    rate: Factor
    slope: Factor


@dataclass(frozen=True)
class ColumnSum:
    """Σ of the rows."""

    terms: Factor


class _Noting:
    """An arithmetic in which there are only products, sums of columns and updates."""

    @staticmethod
    def linear(x: Factor, weight: Factor, bias: Factor | None) -> Product:
        return Product(x, weight.T, bias)

    @staticmethod
    def column_sum(x: Factor) -> ColumnSum:
        return ColumnSum(x)

    @staticmethod
    def descend(w: Factor, eta: Factor, gradient: Factor) -> Update:
        return Update(w, eta, gradient)


@lru_cache(maxsize=4096)
def step_of(formula: Formula, operands: int) -> Any:
    """The one product, sum or update that a formula is, or the two factors that it multiplies; None for others."""
    try:
        found = formula(_Noting, *map(Factor, range(operands)))
    except (AttributeError, TypeError):  # of anything else there is nothing here
        return None
    return found


# Comparisons ----------------------------------------------------------------------------------------------------------


class Comparison(NamedTuple):
    """What came out: the largest share and error in ulp, and of which component; norms of the radius and of what the
    accuracy is measured by; the errors in ulp of every so many components."""

    share: float
    worst: int
    ulps: float
    furthest: int
    off: float
    scale: float
    sample: Array


class Found:
    """What a pass has found so far; a compiled one writes into its arrays.

    `tops` are the largest share and error in ulp, each with its component, and the least and largest magnitude: the
    numbers by their bits, which are ordered as numbers that are not negative are. `norms` are the sums of squares of
    what accuracy is measured by and of the radius.
    """

    def __init__(self, size: int, samples: int, dtype: Any = Single) -> None:
        self.step = max(1, -(-size // samples))
        self.sample = np.empty(-(-size // self.step), dtype)
        self._integer = np.int32 if dtype == Single else np.int64
        self.infinite = int(dtype(np.inf).view(self._integer))
        self.tops = np.array([-1, -1, -1, -1, self.infinite, -1], dtype=np.int64)
        self.norms = np.zeros(2)

    @property
    def arrays(self) -> tuple[int, Array, Array, Array]:
        return self.step, self.sample, self.norms, self.tops

    def add(self, share: Array, ulps: Array, low: Array, high: Array, number: Callable[[int], int]) -> None:
        """Take in a block; `number` says which component of the tensor one of the block is."""
        tops = self.tops
        for at, values in ((0, share), (2, ulps)):
            largest = int(values.argmax())  # the first NaN, if there is one
            value = values.reshape(-1)[largest]
            found, where = int(value.view(np.int32)) if value < np.inf else self.infinite, number(largest)
            # Of components that are as far off the first: blocks do not come in the tensor's order.
            if found > tops[at] or (found == tops[at] and where < tops[at + 1]):
                tops[at], tops[at + 1] = found, where
        # Where a NaN is among them the share is one, too.
        tops[4] = min(tops[4], int(low.view(np.int32).min()))
        tops[5] = max(tops[5], int(high.view(np.int32).max()))

    def outcome(self, least: float, largest: float, limit: float) -> Comparison | None:
        """None where a magnitude is not between `least` and `largest`, or a share over the limit."""
        bits = self.tops.tolist()
        if not (0 <= bits[0] < self.infinite and 0 <= bits[2] < self.infinite):
            return None
        share, _, ulps, _, low, high = self.tops.astype(self._integer).view(self.sample.dtype).tolist()
        if not (low > least and high < largest and share <= limit):
            return None
        scale, off = self.norms.tolist()
        if not all(_HOLDING[0] < x < _HOLDING[1] for x in (scale, off)):
            return None
        return Comparison(share, bits[1], ulps, bits[3], math.sqrt(off), math.sqrt(scale), self.sample)


@cache
def compiled() -> Any:
    """The compiled passes; None where numba is not installed, or is not for this Python or NumPy."""
    try:
        return import_module("gradconform.reference.arithmetic.comparison_kernels")  # an extra, and it takes a second
    except ImportError:
        return None


class Comparing:
    """Comparisons by the arithmetic of a step level's arrays; `largest` is the size of its largest tensor.

    A share up to `margin` below 1 is left to the rules. Of the errors in ulp at most `samples` are kept.
    """

    def __init__(self, A: RoundedArrays, largest: int, margin: float, samples: int) -> None:
        self.A, self.margin, self.samples = A, margin, samples
        self.possible = A.mids is Plain and A.format.precision == 24
        self._compiled = compiled() if A.mids is Plain and largest >= COMPILED_FROM else None
        self.passes = self._compiled or NumPyPasses
        self._kept: dict[str, Array] = {}

    def compared(self, got: Array, step: Any, operands: Sequence[Any]) -> Comparison | None:
        """What was got against a step of operands known exactly; None where that is left to the rules."""
        if not (self.possible and got.size and _plain(got) and got.dtype == Single):
            return None
        with np.errstate(all="ignore"):
            if isinstance(step, Product):
                return self._product(got, step, operands)
            if isinstance(step, ColumnSum):
                return self._column_sum(got, operands[step.terms.operand])
            return self._update(got, step, operands) if isinstance(step, Update) else None

    def elementwise(self, got: Array, program: Form, truth: Form, known: Mapping[str, Any]) -> Comparison | None:
        """What was got against a formula of operands known exactly, element by element, and against the truth.

        None where there is no compiled pass for it, or an element is left to the rules.
        """
        names = tuple(dict.fromkeys((*program.operands, *truth.operands)))
        operands = [known[o] for o in names]
        if self._compiled is None or not all(_plain(x) and x.shape == got.shape for x in (got, *operands)):
            return None
        of, of_truth = ((f.formula, tuple(map(names.index, f.operands))) for f in (program, truth))
        one = self._compiled.elementwise(self.A, of, of_truth, len(names))
        if one is None or not got.size:
            return None
        found = one(got.reshape(-1), tuple(x.reshape(-1) for x in operands), self.samples)
        return None if found is None else found.outcome(-1.0, math.inf, 1 - self.margin)

    def array(self, name: str, shape: tuple[int, ...], dtype: Any = Single) -> Array:
        """An array of that name; what was in the one before is lost."""
        size = math.prod(shape)
        if name not in self._kept or self._kept[name].size < size:
            self._kept[name] = np.empty(size, dtype)
        return self._kept[name][:size].reshape(shape)

    def zeros(self, name: str, size: int, dtype: Any) -> Array:
        """An array of zeros, to be left so."""
        if name not in self._kept or self._kept[name].size < size:
            self._kept[name] = np.zeros(size, dtype)
        return self._kept[name][:size]

    # Products ---------------------------------------------------------------------------------------------------------

    def _product(self, got: Array, step: Product, operands: Sequence[Any]) -> Comparison | None:
        left, right = operands[step.left.operand], operands[step.right.operand]
        bias = None if step.bias is None else operands[step.bias.operand]
        if not (_plain(got, 2) and _plain(left, 2) and _plain(right, 2) and (bias is None or _plain(bias, 1))):
            return None
        rows, columns = got.shape
        terms = left.shape[0 if step.left.transposed else 1]
        shapes = [(rows, terms), (terms, columns)]
        if shapes != [x.shape[:: -1 if f.transposed else 1] for x, f in ((left, step.left), (right, step.right))]:
            return None
        if bias is not None and bias.size != columns:
            return None
        first = self._widened("left", left, step.left.transposed, 0, rows)
        biases = None if bias is None else self._widened("bias", bias.reshape(1, columns), False, 0, 1)
        if first is None or (bias is not None and biases is None):
            return None
        biases = None if biases is None else (biases[0][0], biases[1][0])
        found = Found(got.size, self.samples)
        factor, excess = self.A.of_product(terms, bias is not None)
        at_once = min(columns, max(1, WIDENED // max(terms, 1)))
        block = max(1, self.passes.BLOCK // columns) if at_once == columns else rows
        for c in range(0, columns, at_once):
            n = min(at_once, columns - c)
            second = self._widened("right", right, not step.right.transposed, c, n)
            if second is None:
                return None
            for r in range(0, rows, block):
                m = min(block, rows - r)
                mid, magnitude = self.array("mid", (m, n), np.float64), self.array("magnitude", (m, n))
                for j in _direct(m, n, terms, step.right.transposed):
                    for a, b, out in zip(first, second, (mid, magnitude), strict=True):
                        np.matmul(a[r : r + m], b[j].T, out=out[:, j])
                of_block = None if biases is None else (biases[0][c : c + n], biases[1][c : c + n])
                self.passes.product(self, found, got, r, c, mid, magnitude, of_block, factor)
        limit = (1 - self.margin) / (1 + excess)
        return found.outcome(self.A.far_from_subnormal, self.A.overflow / 4, limit)

    def _widened(self, name: str, x: Array, by_columns: bool, first: int, count: int) -> tuple[Array, Array] | None:
        """Some rows, or columns laid as rows, of a factor in float64, and their sizes in float32; None where a number
        of them is infinite, NaN or subnormal."""
        row, column = (0, first) if by_columns else (first, 0)
        shape = (x.shape[0], count) if by_columns else (count, x.shape[1])
        wide, size = self.array(f"{name}, wide", shape, np.float64), self.array(f"{name}, size", shape)
        if not self._ordinary(*self.passes.widen(x, row, column, wide, size)):
            return None
        return (wide.T, size.T) if by_columns else (wide, size)

    def _column_sum(self, got: Array, terms: Array) -> Comparison | None:
        """Σ of the rows, none of whose numbers is 0: x + 0 = x is not rounded, so that fewer roundings are counted."""
        if not (_plain(got, 1) and _plain(terms, 2) and terms.shape[1:] == got.shape and len(terms) > 1):
            return None
        of_terms = self._widened("left", terms, False, 0, len(terms))
        if of_terms is None or not of_terms[1].all():
            return None
        mid, magnitude = self.array("mid", (1, got.size), np.float64), self.array("magnitude", (1, got.size))
        mid[0], magnitude[0] = (x.sum(axis=0, dtype=np.float64) for x in of_terms)
        factor, excess = self.A.of_sum(len(terms))
        found = Found(got.size, self.samples)
        self.passes.product(self, found, got.reshape(1, -1), 0, 0, mid, magnitude, None, factor)
        return found.outcome(self.A.far_from_subnormal, self.A.overflow / 4, (1 - self.margin) / (1 + excess))

    def _ordinary(self, least: float, largest: float) -> bool:
        """Whether numbers are, of which the least is not 0 and the largest is maybe none."""
        return largest < math.inf and (not self.A.flush or least >= self.A.smallest_normal)

    # Updates ----------------------------------------------------------------------------------------------------------

    def _update(self, got: Array, step: Update, operands: Sequence[Any]) -> Comparison | None:
        """w − η·g, by `RoundedArrays.of_update`."""
        w, eta, slope = (operands[f.operand] for f in (step.weight, step.rate, step.slope))
        if not (_plain(w) and _plain(slope) and w.shape == slope.shape == got.shape) or np.ndim(eta):
            return None
        rate = float(eta)
        if not abs(rate) <= 2.0**30:
            return None
        found = Found(got.size, self.samples)
        self.passes.update(self, found, got.reshape(-1), w.reshape(-1), slope.reshape(-1), rate, self.A.of_update)
        return found.outcome(self.A.far_from_subnormal, self.A.overflow / 4 * self.A.unit, 1 - self.margin)


def _plain(x: Any, axes: int | None = None) -> bool:
    """Whether this is an array, of so many axes, of float32 or float64 numbers that lie one after the other."""
    return (
        isinstance(x, np.ndarray)
        and x.dtype in (Single, np.float64)
        and x.flags.c_contiguous
        and (x.ndim == axes if axes is not None else x.ndim > 0)
    )


def _direct(rows: int, columns: int, terms: int, transposed: bool) -> Iterator[slice]:
    """Columns of a product to compute at a time."""
    most = min(COLUMNS[transposed], DIRECT // max(1, rows * terms)) if rows * terms >= WORTH else columns
    most = most if most >= 8 else columns
    for j in range(0, columns, most):
        yield slice(j, min(j + most, columns))


class NumPyPasses:
    """The passes by NumPy. Each of them is one loop of `comparison_kernels`, operation by operation."""

    #: Components compared at a time.
    BLOCK = 1 << 16

    @staticmethod
    def widen(x: Array, row: int, column: int, wide: Array, size: Array) -> tuple[float, float]:
        """Write a block of float32 numbers in float64, and their sizes; the least but 0 of these, and the largest."""
        size[...] = x[row : row + wide.shape[0], column : column + wide.shape[1]]
        wide[...] = size
        np.abs(size, out=size)
        least = float(size.min(initial=np.inf))
        if least == 0:
            least = float(size.min(initial=np.inf, where=size > 0))
        return least, float(size.max(initial=0.0))

    @staticmethod
    def product(
        of: Comparing, found: Found, got: Array, row: int, column: int, mid: Array, size: Array,
        bias: tuple[Array, Array] | None, factor: np.float32,
    ) -> None:  # fmt: skip
        """Hold a block of what was got, from that row and column on, against its sums and their magnitude.

        These lack the bias, which is given with its size.
        """
        rows, columns = mid.shape
        if bias is not None:
            mid += bias[0]
            size += bias[1]
        radius = np.multiply(size, factor, out=of.array("radius", mid.shape))
        error = np.subtract(got[row : row + rows, column : column + columns], mid,
                            out=of.array("error", mid.shape, np.float64))  # fmt: skip
        width = got.shape[1]
        _hold(
            of,
            found,
            error,
            mid,
            radius,
            (size, size),
            mid,
            lambda i: (row + i // columns) * width + column + i % columns,
        )

    @staticmethod
    def update(
        of: Comparing, found: Found, got: Array, w: Array, slope: Array, rate: float, factor: np.float32
    ) -> None:
        """Hold updated weights, all of them laid flat, against w − rate·slope."""
        for first in range(0, got.size, NumPyPasses.BLOCK):
            part = slice(first, first + NumPyPasses.BLOCK)
            shape = got[part].shape
            step, mid, error = (of.array(name, shape, np.float64) for name in ("step", "mid", "error"))
            size, radius = of.array("size", shape), of.array("radius", shape)
            size[...] = slope[part]
            np.multiply(size, rate, out=step, dtype=np.float64)
            size[...] = w[part]
            np.subtract(size, step, out=mid)
            radius[...] = mid
            if not (ordinary := size != 0).all():  # 0 − p is exact
                radius *= ordinary
            size[...] = step
            np.abs(size, out=size)
            np.abs(radius, out=radius)
            radius += size
            radius *= factor
            np.subtract(got[part], mid, out=error)
            _hold(of, found, error, mid, radius, (size, radius), step, first.__add__)


def _hold(
    of: Comparing, found: Found, error: Array, mid: Array, radius: Array, ends: tuple[Array, Array], measure: Array,
    number: Callable[[int], int],
) -> None:  # fmt: skip
    """Take in a block by its errors, which are lost."""
    shape = mid.shape
    found.norms += squares(measure.reshape(-1)), squares(radius.reshape(-1).astype(np.float64))
    away = of.array("away", shape)
    away[...] = error
    np.abs(away, out=away)
    share = np.divide(away, radius, out=of.array("share", shape))
    place = of.array("place", shape)
    place[...] = mid
    bits = place.view(np.int32)
    bits &= found.infinite
    np.clip(bits, 1 << 23, 254 << 23, out=bits)
    place *= Single(2.0**-23)
    ulps = np.divide(away, place, out=away)
    found.add(share, ulps, *ends, number)
    step = found.step
    # Whole rows of the tensor follow one another.
    together = number(mid.size - 1) - number(0) == mid.size - 1
    columns = mid.size if together else shape[-1]
    for i, row in enumerate(ulps.reshape(-1, columns)):
        start = number(i * columns)
        found.sample[-(-start // step) : -(-(start + columns) // step)] = row[-start % step :: step]
