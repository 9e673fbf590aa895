"""Rounded balls, whole arrays at a time: what a rounded program may hold where the formula holds a tensor.

The rules are those of `rules`, `function_rules` and `sum_rules`, which the balls of `rounded` are executed by, too;
what a value is, and how its radii are kept from being too small, `array_values` says. Here stands what arrays have
besides: elements that the scalar arithmetic computes, and the products and sums of many terms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from flint import arb
from numpy.typing import NDArray

from gradconform.reference.arithmetic import function_rules, rules, sum_rules
from gradconform.reference.arithmetic.array_values import ENLARGED, LEAST, NOTHING, ArrayPrimitives, Bits, RoundedArray
from gradconform.reference.arithmetic.exact import BALLS, Constant, HandWritten, precision
from gradconform.reference.arithmetic.formats import FLOAT64, Format
from gradconform.reference.arithmetic.midpoints import HOST_ULPS, Array, Double, OutOfRange, Plain, squares
from gradconform.reference.arithmetic.profiles import OPENCL, Profile
from gradconform.reference.arithmetic.rounded import ZERO, Rounded, RoundedBalls, Sums
from gradconform.reference.arithmetic.specials import ANYTHING
from gradconform.reference.judge import FIRST_PRECISION

#: Which columns some operands have, and their bits; what the scalar arithmetic said of them: the exact value, radius,
#: specials and spread.
Key = tuple[bool | bytes, ...]
Remembered = dict[Key, tuple[arb, float, int, float]]


def _ruled(rule: Callable[..., Any], *of: Any) -> Callable[..., RoundedArray]:
    """A rule as an operation of the array arithmetic; `of` are its first arguments."""

    def operation(self: RoundedArrays, *operands: Any) -> RoundedArray:
        return self.by_rule(rule, of, operands)

    return operation


def _function(name: str, moves: function_rules.Moves) -> Callable[..., RoundedArray]:
    return _ruled(function_rules.function, name, moves)


class RoundedArrays(ArrayPrimitives, HandWritten):
    """Arithmetic in `target` under the hypotheses of `profile`, on `RoundedArray` values.

    Midpoints are plain float64 for formats of at most 24 bits, double words for float64; `exact=True` takes double
    words for every format. `sums` as in `RoundedBalls`.
    """

    def __init__(self, target: Format, profile: Profile, exact: bool = False, sums: Sums = "any") -> None:
        super().__init__(target, profile, Double if exact or target.precision > 24 else Plain)
        self.balls = RoundedBalls(target, profile, sums)
        self.sums: Sums = sums
        self._constants: dict[Any, RoundedArray] = {}
        self._kept: RoundedArrays | None = None

    # Values -----------------------------------------------------------------------------------------------------------

    def given(self, x: Any) -> RoundedArray:
        """Numbers of the format, known exactly; of infinity and NaN no formula says anything."""
        if isinstance(x, np.ndarray) and x.dtype == np.float32 and self.mids is Plain:
            return RoundedArray(self, None, raw=x)
        mid, specials = self.numbers(x)
        return RoundedArray(self, mid, None, None, specials)

    def numbers(self, x: Any) -> tuple[Any, Bits | None]:
        """Midpoints of numbers known exactly, and which of them are none."""
        mid = self.mids.lift(x)
        high = self.mids.high(mid)
        flat = (x if isinstance(x, np.ndarray) else high).reshape(-1)
        with np.errstate(all="ignore"):
            ordinary = math.isfinite(squares(flat))  # infinities and NaN stay in a sum of squares
        if ordinary:
            return mid, None
        finite = np.isfinite(high)
        if finite.all():
            return mid, None
        return self.mids.lift(np.where(finite, x, 0.0)), np.where(finite, 0, ANYTHING).astype(np.uint8)

    def reported(self, x: Any) -> RoundedArray:
        """Numbers that a framework reported for values it may have kept in higher precision (hypothesis 9)."""
        found: RoundedArray = function_rules.reported(self, self.given(x))
        return found

    unrounded = _ruled(function_rules.unrounded)

    def gradual(self, formula: Callable[..., RoundedArray], *operands: RoundedArray) -> RoundedArray:
        """As in `RoundedBalls`."""
        if not (self.flush and self.format.name == "float16"):
            return formula(self, *operands)
        if self._kept is None:
            gradual = replace(self.profile, flush=False)
            self._kept = RoundedArrays(self.format, gradual, self.mids is Double, self.sums)
        return formula(self._kept, *[x.under(self._kept) for x in operands]).under(self)

    def real(self, constant: Constant) -> RoundedArray:
        """A constant of a formula: an operand of radius u|c| unless the format holds it (hypothesis 1)."""
        if constant.text not in self._constants:
            with precision(FIRST_PRECISION):
                value = self.balls.real(constant)
                mid = self.mids.number(constant.of(BALLS))
                radius = None if value.radius.is_zero() else np.asarray(_upper(value.radius) * ENLARGED)
            self._constants[constant.text] = RoundedArray(self, mid, radius)
        return self._constants[constant.text]

    def coerce(self, x: Any) -> RoundedArray:
        if isinstance(x, RoundedArray):
            return x
        if x not in self._constants:
            if not isinstance(x, int | float) or not self.format.holds(x):
                raise TypeError(f"{x!r} is not a number of {self.format.name}; give it as ops.real(…)")
            self._constants[x] = RoundedArray(self, self.mids.lift(float(x)))
        return self._constants[x]

    # Roundings --------------------------------------------------------------------------------------------------------

    def radius_of(self, x: RoundedArray) -> Any:
        """The radii of an operand, widened where it may be a subnormal number that the operation flushes."""
        found = rules.operand(self, x)
        return None if found is NOTHING else found

    def chosen(self, mid: Any, moved: Array) -> RoundedArray:
        """What was taken and not rounded, up to so far from its midpoint; infinite where it may overflow."""
        return rules.rounded(self, mid, self.size(mid), moved, 0.0)  # type: ignore[no-any-return]

    def rounding(self, mid: Any) -> Array:
        """The radius of an exact number that is rounded once."""
        size = self.size(mid)
        return np.asarray(rules.widened(self, size, NOTHING, self.unit * size))

    def mended(
        self,
        result: RoundedArray,
        bad: Any,
        operands: tuple[RoundedArray, ...],
        operation: Callable[..., Any],
        remembered: Remembered | None = None,
    ) -> RoundedArray:
        """The result, its elements that are `bad` computed by the scalar arithmetic, those that are equal once.

        What is `remembered` of the operation, on operands of the same bits, is not computed again.
        """
        if not np.any(bad):
            return result
        shape = np.broadcast_shapes(result.shape, np.shape(bad))
        where = np.nonzero(np.broadcast_to(bad, shape)) if shape else ()
        first, same, keys = self._distinct(operands, where, shape)
        same = same if shape else same.reshape(())
        remembered = {} if remembered is None else remembered
        mid = self.mids.writable(result.mid, shape)
        radius = np.array(np.broadcast_to(result.radii(), shape))
        specials = np.zeros(shape, np.uint8) if result.specials is None else np.array(result.specials)
        spread = None if result.spread is None else np.array(np.broadcast_to(result.spread, shape))
        found = self.mids.lift(np.zeros(len(first)))
        radii, kinds, widths = np.zeros(len(first)), np.zeros(len(first), dtype=np.uint8), np.zeros(len(first))
        with precision(FIRST_PRECISION):
            for n, place in enumerate(first):
                known = remembered.get(keys[n])
                if known is None:
                    at = tuple(int(axis[place]) for axis in where)
                    value = operation(*[self.scalar(o, at, shape) for o in operands])
                    if not np.isfinite(float(value.exact.mid())):  # exact values that even float64 does not hold
                        value = Rounded(self.balls, ZERO, ZERO, value.specials | ANYTHING)
                    known = value.exact, _upper(value.radius), value.specials, _upper(value.spread)
                    remembered[keys[n]] = known
                self.mids.put(found, n, known[0])
                _, radii[n], kinds[n], widths[n] = known
        self.mids.assign(mid, where, self.mids.take(found, same))
        radius[where], specials[where] = radii[same], kinds[same]
        if spread is not None or widths.any():
            spread = np.zeros(shape) if spread is None else spread
            spread[where] = widths[same]
        return RoundedArray(self, mid, radius, spread, specials if specials.any() else None, excess=result.excess)

    def _distinct(
        self, operands: tuple[RoundedArray, ...], where: tuple[Bits, ...], shape: tuple[int, ...]
    ) -> tuple[Bits, Bits, list[Key]]:
        """Of some elements the first of each that are equal in all operands, which of those each is, and their bits."""
        columns: list[Any] = []
        which: list[bool] = []
        for x in operands:
            parts = [self.mids.high(x.mid), self.mids.low(x.mid), x.radius, x.spread, x.specials]
            columns += [np.atleast_1d(np.broadcast_to(p, shape)[where]) for p in parts if p is not None]
            which += [p is not None for p in parts]
        bits = np.ascontiguousarray(np.stack(columns, axis=1).astype(np.float64)).view(np.int64)
        rows, first, same = np.unique(bits, axis=0, return_index=True, return_inverse=True)
        return first, np.asarray(same).reshape(-1), [(*which, row.tobytes()) for row in rows]

    def scalar(self, x: RoundedArray, index: tuple[int, ...], shape: tuple[int, ...]) -> Rounded:
        """One element, as the scalar arithmetic has it; `shape` is what x is broadcast to."""
        own = index[len(shape) - len(x.shape) :]
        own = tuple(0 if n == 1 else i for i, n in zip(own, x.shape, strict=True))

        def element(values: Any) -> Any:
            return np.broadcast_to(values, x.shape)[own]

        radius = ZERO if x.radius is None else arb(float(element(x.radius)))
        spread = ZERO if x.spread is None else arb(float(element(x.spread)))
        specials = 0 if x.specials is None else int(element(x.specials))
        return Rounded(self.balls, self.mids.ball(x.mid, own), radius, specials, spread)

    # Operations -------------------------------------------------------------------------------------------------------

    negative, add, multiply, divide = (_ruled(r) for r in (rules.negative, rules.add, rules.multiply, rules.divide))
    square, scale = _ruled(rules.square), _ruled(rules.scale)

    @property
    def far_from_subnormal(self) -> float:
        """Above this a magnitude loses in its factor what is flushed on the way to it, each time at most 2^emin."""
        return self.smallest_normal * 2.0**60

    @property
    def of_update(self) -> np.float32:
        """What |w − p| + |p|, p = η·g, is multiplied by in float32 for the radius of w − p: u(1 + u)(1 + 2^−20).

        By the rules of `multiply` and `add` the radius is u|p| + u(|w − p| + u|p|). Five roundings in float32, and what
        is flushed of w, g, p or the result where |p| is `far_from_subnormal`, are in the last factor.
        """
        return np.float32(self.unit * (1 + self.unit) * (1 + 2.0**-20))

    def of_product(self, k: int, biased: bool) -> tuple[np.float32, float]:
        """What |A|·|B| + |b|, of k products, is multiplied by in float32 for the radius, and how far that is above it.

        `sum_rules.product_error` says u of it for each term. The float32 product errs by (k + 1)·2^−24 of itself, and
        so does each pass over it by 2^−24; what is flushed of the products is lost where it is `far_from_subnormal`.
        """
        return np.float32((k + biased) * self.unit * (1 + (k + 8) * 2.0**-23)), (k + 8) * 2.0**-22

    def of_sum(self, k: int) -> tuple[np.float32, float]:
        """The same of Σ|x| of k numbers, none of them 0, for their sum: `sum_rules.total` says (k − 1)·u of it.

        Σ|x| is summed in float64, which errs by k·2^−53 of it at most (Higham §4.2), and rounded to float32; so are the
        factor and the product: three times 2^−24.
        """
        return np.float32((k - 1) * self.unit * (1 + 2.0**-22 + k * 2.0**-52)), 2.0**-21 + k * 2.0**-51

    def descend(self, w: RoundedArray, eta: RoundedArray, gradient: RoundedArray) -> RoundedArray:
        """w − η·g, by the rules of `multiply` and `add`; ordinary numbers in fewer passes over memory."""
        raw, slope = w.raw, gradient.raw
        given = raw is not None and slope is not None and raw.shape == slope.shape and raw.size
        exactly = all(x.radius is None for x in (w, eta, gradient)) and gradient.specials is None
        if not (exactly and given and self.mids is Plain and abs(float(eta.high)) <= 2.0**30):
            return super().descend(w, eta, gradient)  # type: ignore[no-any-return]
        assert raw is not None
        assert slope is not None
        with np.errstate(all="ignore"):
            step = gradient.mid * eta.high
            radius = step.astype(np.float32)
            np.abs(radius, out=radius)
            least = radius.min()
            mid = raw.astype(np.float64)
            mid -= step
            size = mid.astype(np.float32)
            if not (inexact := raw != 0).all():  # 0 − p is exact
                size *= inexact
            radius += np.abs(size, out=size)
            radius *= self.of_update
        # False for NaN too.
        ordinary = least > self.far_from_subnormal and radius.max() / self.unit < self.overflow / 4
        return RoundedArray(self, mid, radius) if ordinary else super().descend(w, eta, gradient)

    # Elementary functions ---------------------------------------------------------------------------------------------

    exp = _function("exp", function_rules.exponential)
    expm1 = _function("expm1", function_rules.exponential_less_one)
    sin, cos = (_function(n, function_rules.as_far) for n in ("sin", "cos"))
    sinh = _function("sinh", function_rules.hyperbolic_sine)
    cosh = _function("cosh", function_rules.hyperbolic_cosine)
    tanh = _function("tanh", function_rules.hyperbolic_tangent)
    erf, erfc = (_function(n, function_rules.gaussian) for n in ("erf", "erfc"))
    sqrt, log, log1p = (_ruled(r) for r in (function_rules.sqrt, function_rules.log, function_rules.log1p))
    positive_part, absolute = _ruled(function_rules.positive_part), _ruled(function_rules.absolute)
    select, step = _ruled(function_rules.select), _ruled(function_rules.step)

    recentred, bounded = _ruled(function_rules.recentred), _ruled(function_rules.bounded)
    sigmoid, derivative = _ruled(function_rules.sigmoid), _ruled(function_rules.derivative)

    def own(self, primitives: Iterable[str]) -> float:
        """K' of `derivative`."""
        return _upper(self.balls.own(primitives)) * ENLARGED

    def epsilon(self) -> RoundedArray:
        """The distance from 1 to the next number of the format, 2^(1 − p)."""
        return RoundedArray(self, self.mids.lift(2.0 ** (1 - self.format.precision)))

    def separation(self, a: RoundedArray, b: RoundedArray) -> Any:
        with np.errstate(all="ignore"):
            return self.apart_mids(a.mid, b.mid)

    # Sums -------------------------------------------------------------------------------------------------------------

    def row_maximum(self, x: RoundedArray) -> RoundedArray:
        """The largest of each row, which moves no further than the element of it that moves furthest."""
        x = x.folded()
        column = x.high.argmax(axis=1)[:, None]
        mid = self.mids.take(x.mid, (np.arange(len(column))[:, None], column))
        r = self.radius_of(x)
        radius = None if r is None else np.broadcast_to(r, x.shape).max(axis=1, keepdims=True)
        specials = None
        if x.specials is not None:  # of a row with one of them nothing is known
            specials = np.where(x.specials.any(axis=1, keepdims=True), ANYTHING, 0).astype(np.uint8)
        return RoundedArray(self, mid, radius, None, specials)

    def row_sum(self, x: RoundedArray) -> RoundedArray:
        return self._sum(x, 1, True)

    def log_row_sum(self, e: RoundedArray) -> RoundedArray:
        return self._of_rows(sum_rules.log_of_total, e)

    def over_row_sum(self, x: RoundedArray, e: RoundedArray) -> RoundedArray:
        return self._of_rows(sum_rules.over_total, e, x)

    def normalised(self, e: RoundedArray) -> RoundedArray:
        return self._of_rows(sum_rules.part_of, e, e)

    def _of_rows(self, rule: Callable[..., Any], e: RoundedArray, *x: RoundedArray) -> RoundedArray:
        """A rule of the sums of rows of numbers that are not negative."""
        with np.errstate(all="ignore"):
            least = np.broadcast_to(sum_rules.reached(self, e), e.shape).max(axis=1, keepdims=True)
            found: RoundedArray = rule(self, *x, self.row_sum(e), least)
        return found

    def row_sum_of_others(self, x: RoundedArray) -> RoundedArray:
        """For each component the sum of the others of its row, as the truth has it: its radius is the whole sum's."""
        total, columns = self.row_sum(x), x.shape[1]
        nothing = self.mids.lift(np.zeros((x.shape[0], 1)))
        before, after = [nothing], [nothing]
        for j in range(columns - 1):  # nothing is taken away from a sum: that would cancel
            before.append(self.mids.add(before[-1], self.mids.take(x.mid, (slice(None), slice(j, j + 1)))))
            k = columns - 1 - j
            after.append(self.mids.add(after[-1], self.mids.take(x.mid, (slice(None), slice(k, k + 1)))))
        mid = self.mids.add(self.mids.beside(before), self.mids.beside(after[::-1]))
        specials = _spread_over(total, x.shape)
        beyond = ~np.isfinite(self.mids.high(mid))  # even in float64, where the sum itself may be not
        if beyond.any():
            specials = np.where(beyond, ANYTHING, 0 if specials is None else specials).astype(np.uint8)
        radius = np.broadcast_to(total.radii(), x.shape)
        if self.narrow and self.sums == "wide":  # rounded once, to the ulp of the others' sum: it may be the larger one
            radius = radius + self.unit * (np.abs(self.mids.high(mid)) + radius)
        return RoundedArray(self, mid, radius, None, specials)

    def column_sum(self, x: RoundedArray) -> RoundedArray:
        """Σ over the batch: an adjoint's fan-in, which may accumulate in the dtype (hypothesis 3)."""
        return self._sum(x, 0, False)

    def total(self, x: RoundedArray) -> RoundedArray:
        return self._sum(x, None, False)

    def _sum(self, x: RoundedArray, axis: int | None, keepdims: bool) -> RoundedArray:
        """Σ x, in any order; see `sum_rules.total`."""

        union: Any = np.bitwise_or.reduce

        def added(values: Any) -> Any:
            return np.broadcast_to(values, x.shape).sum(axis=axis, keepdims=keepdims)

        if _is_set(x):
            with np.errstate(all="ignore"):
                return rules.as_set(self, self._sum(x.folded(), axis, keepdims), added(x.spread))  # type: ignore[no-any-return]
        r = rules.operand(self, x)
        moved = NOTHING if r is NOTHING else added(r) * ENLARGED

        def ends(error: Any) -> tuple[Any, Any]:
            more = error if r is NOTHING else error + added(r) * self.slack
            both = [added(np.maximum(side * x.high + r, 0.0)) for side in (1, -1)]
            above, below = (end + np.where(more > 0, more + end * 2.0**-40, 0.0) for end in both)
            return above, below

        with np.errstate(all="ignore"):
            magnitude = added(np.abs(x.high) + r) * ENLARGED
            count = np.maximum(added(~self.is_zero(x)) - 1, 0)
            bits = x.bits if x.specials is None else union(x.specials, axis=axis, keepdims=keepdims)
            mid = self.mids.sum(x.mid, axis, keepdims)
            return sum_rules.total(self, mid, moved, magnitude, count, bits, ends)  # type: ignore[no-any-return]

    # Matrix products --------------------------------------------------------------------------------------------------

    def product(self, a: RoundedArray, b: RoundedArray) -> RoundedArray:
        """A·B of two matrices."""
        return self._inner_products(a, b, None)

    def product_in_the_dtype(self, a: RoundedArray, b: RoundedArray) -> RoundedArray:
        """A·B, each sum accumulated in the format, whatever its precision."""
        return self._inner_products(a, b, None, own=True)

    def linear(self, x: RoundedArray, weight: RoundedArray, bias: RoundedArray | None) -> RoundedArray:
        """x·Wᵀ + b, the bias one more term of each inner product."""
        return self._inner_products(x, weight.T, bias)

    def _inner_products(
        self, a: RoundedArray, b: RoundedArray, bias: RoundedArray | None, own: bool = False
    ) -> RoundedArray:
        """Inner products, summed in any order; see `sum_rules`."""
        if any(x is not None and _is_set(x) for x in (a, b, bias)):
            width = _width(a) @ np.abs(b.high) + np.abs(a.high) @ _width(b)
            if bias is not None:
                width = width + _width(bias)
            folded = None if bias is None else bias.folded()
            whole = self._inner_products(a.folded(), b.folded(), folded, own)
            return rules.as_set(self, whole, width)  # type: ignore[no-any-return]
        quick = self._plain_products(a, b, bias)
        if quick is not None:
            return quick
        terms = a.shape[1] + (bias is not None)
        with np.errstate(all="ignore"):
            moved, magnitude = sum_rules.of_products(self, self._bound_of(a.shape, b.shape), a, b)
            if not magnitude.all():  # float64 itself underflows: 0 stands for what is not 0
                some = _some(a).astype(np.float32) @ _some(b).astype(np.float32) > 0
                magnitude = np.where((magnitude == 0) & some, LEAST, magnitude)
            if bias is not None:
                r = rules.operand(self, bias)
                moved, magnitude = moved + r, magnitude + (np.abs(bias.high) + r)
            beyond = ~np.isfinite(magnitude)  # even in float64: of these components nothing is known
            if beyond.any():
                magnitude = np.where(beyond, 0.0, magnitude)
                moved = self.pick(beyond, 0.0, moved)
            error = sum_rules.product_error(self, magnitude, terms, own)
            mid = self.mids.product(a.mid, b.mid, error)
            if bias is not None:
                mid = self.mids.add(mid, bias.mid)
        if beyond.any():
            mid = self.mids.where(beyond, self.mids.lift(np.zeros(magnitude.shape)), mid)
        bits: Any = np.where(beyond, ANYTHING, 0) if beyond.any() else 0
        if a.specials is not None:
            bits = bits | np.bitwise_or.reduce(a.specials, axis=1)[:, None]
        if b.specials is not None:
            bits = bits | np.bitwise_or.reduce(b.specials, axis=0)
        if bias is not None and bias.specials is not None:
            bits = bits | bias.specials
        with np.errstate(all="ignore"):
            result: RoundedArray = sum_rules.inner_product(self, mid, moved, magnitude, error, bits, own)
        result.excess = (a.shape[1] + 6) * 2.0**-22 if self.mids is Plain else 0.0  # see `_bound`
        return result

    def _plain_products(self, a: RoundedArray, b: RoundedArray, bias: RoundedArray | None) -> RoundedArray | None:
        """The same for float32 matrices known exactly, the allowance in float32 and in place, where all is ordinary."""
        operands = [a, b] if bias is None else [a, b, bias]
        if self.mids is not Plain or self.narrow or any(x.raw is None or x.radius is not None for x in operands):
            return None
        with np.errstate(all="ignore"):
            radius = a.sizes @ b.sizes
            if bias is not None:
                radius += bias.sizes
        # Of NaN and infinity this is false.
        ordinary = radius.size and radius.min() > self.far_from_subnormal and radius.max() < self.overflow / 4
        if not (ordinary and all(self._normal(x.sizes) for x in operands)):
            return None
        mid = a.mid @ b.mid
        if bias is not None:
            mid += bias.mid
        factor, excess = self.of_product(a.shape[1], bias is not None)
        radius *= factor
        return RoundedArray(self, mid, radius, excess=excess)

    def _normal(self, size: NDArray[Any]) -> bool:
        """Whether no number is subnormal; zeros are not."""
        if not self.flush or size.min() >= self.smallest_normal:
            return True
        return bool(((size == 0) | (size >= self.smallest_normal)).all())

    def _bound_of(self, of_a: tuple[int, ...], of_b: tuple[int, ...]) -> Callable[[Any, Any], Any]:
        """An upper bound of A·B for matrices of such shapes."""

        def bound(a: Any, b: Any) -> Any:
            if a is NOTHING or b is NOTHING:
                return NOTHING
            a, b = (x if x.shape == of else np.broadcast_to(x, of) for x, of in ((a, of_a), (b, of_b)))
            return self._bound(a, b)

        return bound

    def _bound(self, a: Array, b: Array) -> Array:
        """An upper bound of A·B for matrices of non-negative numbers, at most (k + 6)·2^−22 above it."""
        k = a.shape[1]
        if self.mids is Plain and not (_tiny(a) or _tiny(b)):
            # Rounding the factors to float32 and k products and sums in it err by (k + 2)·2^−24, or underflow by 2^−149
            # a term; where that might matter, float64 it is.
            narrow = (a.astype(np.float32) @ b.astype(np.float32)).astype(np.float64)
            if narrow.min(initial=1.0) >= 2.0**-100 and np.isfinite(narrow.max(initial=0.0)):
                return np.asarray(narrow * (1 + (k + 4) * 2.0**-23))
        found: Array = a @ b
        found *= 1 + (k + 2) * 2.0**-52
        return found


class Beyond(ArithmeticError):
    """A centre that needs more than centres."""


class Lacking(Beyond):
    """An operation that centres do not have."""


class Centres(ArrayPrimitives, HandWritten):
    """The midpoints that `RoundedArrays` gives, alone: its rules where nothing is rounded.

    Only smooth operations, of which no number of float64 is too large: what a radius decides, such as whether a divisor
    may be 0 or where a kink is, is not here. Raises Beyond, and Lacking for any other operation.
    """

    def __init__(self, A: RoundedArrays) -> None:
        super().__init__(A.format, A.profile, A.mids)
        self.unit: Any = NOTHING
        self.flush, self._of = False, A

    negative, add, multiply = _ruled(rules.negative), _ruled(rules.add), _ruled(rules.multiply)
    square, scale = _ruled(rules.square), _ruled(rules.scale)
    exp, sigmoid = _function("exp", function_rules.exponential), _ruled(function_rules.sigmoid)

    def coerce(self, x: Any) -> Any:
        return x if isinstance(x, RoundedArray) else self.centres(self._of.coerce(x))

    def real(self, constant: Constant) -> RoundedArray:
        return self.centres(self._of.real(constant))

    def __getattr__(self, name: str) -> Any:
        raise Lacking(name)

    def centres(self, x: RoundedArray) -> RoundedArray:
        """The midpoints of an array of numbers."""
        if x.specials is not None or x.spread is not None:
            raise Beyond("an operand is no number")
        return RoundedArray(self, x.mid)  # type: ignore[arg-type]

    def of(self, formula: Callable[..., RoundedArray], operands: Iterable[RoundedArray]) -> RoundedArray:
        """A formula's value: its midpoints, and no radii."""
        found = formula(self, *map(self.centres, operands))
        if not np.isfinite(found.high).all() or found.specials is not None:
            raise Beyond("a result is no number")
        return RoundedArray(self._of, found.mid)

    def function(self, name: str, mid: Any) -> Any:
        if self.size(mid).max(initial=0.0) > FAR:
            raise Beyond(f"{name} of a number beyond {FAR}")
        return super().function(name, mid)

    def ulp(self, sup: Any, counted: Format) -> Any:  # type: ignore[override]
        return NOTHING


@lru_cache(maxsize=64)
def arithmetic(target: Format, profile: Profile, exact: bool, sums: Sums) -> RoundedArrays:
    """One arithmetic for all who ask for the same: what is compiled for it is found again."""
    return RoundedArrays(target, profile, exact, sums)


#: Where e^x neither overflows nor underflows in float64.
FAR = 700.0


class _Host(RoundedArrays):
    """What this computer's float64 gives, as rounded: midpoints that are no further from the truth than the radius."""

    def __init__(self) -> None:
        ulps = dict.fromkeys(OPENCL.ulps["float64"], HOST_ULPS)
        super().__init__(FLOAT64, Profile("host", {"float64": ulps}, flush=False))
        self.mids, self.slack = Plain, 1.0


HOST = ArrayPrimitives.host = _Host()


def _upper(x: arb) -> float:
    """A float64 that is not below the ball."""
    return 0.0 if x.is_zero() else float(np.nextafter(float(abs(x).upper()), np.inf))


def _tiny(x: Array) -> bool:
    """Whether a number other than zero is so small that float32 may lose its digits."""
    return bool(np.where(x == 0, 1.0, x).min(initial=1.0) < 2.0**-100)


def _some(x: RoundedArray) -> Any:
    """Where a number is not exactly 0."""
    return (x.high != 0) | (x.radii() != 0)


def _spread_over(x: RoundedArray, shape: tuple[int, ...]) -> Bits | None:
    """The specials of a column, for each component of its row."""
    return None if x.specials is None else np.broadcast_to(x.specials, shape)


def _is_set(x: RoundedArray) -> bool:
    """Whether an element stands for a set; what was taken of an array of sets may have none."""
    return x.spread is not None and bool(x.spread.any())


def _width(x: RoundedArray) -> Array:
    """Half the width of the sets that the elements stand for; 0 of what is none."""
    return np.zeros(x.shape) if x.spread is None else np.asarray(np.broadcast_to(x.spread, x.shape))


__all__ = ["OutOfRange", "RoundedArray", "RoundedArrays", "arithmetic"]
