"""One pass through a layered network, by hand in NumPy, and what may differ in it between correct programs.

A `Program` is that pass with an order of summation, a width that it computes in, and formulas of its own for some
activations and losses. None is made from the reference's forms. The programs are in `correct_programs.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType
from typing import Any, Literal

import ml_dtypes
import numpy as np
from scipy import special

from gradconform.adapters.contract import Answer, Point, Route, Trace, Unsupported
from gradconform.reference.derivations.network import Architecture

Array = Any
#: Σ over the first axis of an array of terms.
Order = Callable[[Array], Array]
#: value(f, z), backward(f, g, z, a): an activation and its ∂E/∂z; f are the elementary functions of the type.
Value = Callable[["Functions", Array], Array]
Backward = Callable[["Functions", Array, Array, Array], Array]
#: loss(f, a, t, count) and its ∂E/∂a.
LossFormula = Callable[["Functions", Array, Array, int], Array]

TYPES = {"float64": np.float64, "float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
#: What is wider than a dtype: the next in which its products are exact, or nearly.
WIDER = {"float64": np.longdouble, "float32": np.float64, "float16": np.float32, "bfloat16": np.float32}


# Orders of summation --------------------------------------------------------------------------------------------------


def in_order(terms: Array) -> Array:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def backwards(terms: Array) -> Array:
    return in_order(terms[::-1])


def pairwise(terms: Array) -> Array:
    half = len(terms) // 2
    return terms[0] if not half else pairwise(terms[:half]) + pairwise(terms[half:])


def shuffled(terms: Array) -> Array:
    order = list(range(len(terms)))
    Random(f"order of {terms.shape}").shuffle(order)
    return in_order(terms[order])


def in_lanes(terms: Array) -> Array:
    """Four running sums, as vector units keep them, added at the end."""
    return in_order([in_order(terms[lane::4]) for lane in range(min(4, len(terms)))])  # type: ignore[arg-type]


def compensated(terms: Array) -> Array:
    """Kahan's sum."""
    total, lost = terms[0], 0 * terms[0]
    for term in terms[1:]:
        y = term - lost
        grown = total + y
        lost = (grown - total) - y
        # Where the sum is infinite the correction is NaN, and there is nothing to correct.
        total, lost = grown, np.where(np.isfinite(grown), lost, 0 * y)
    return total


def wide_sum(terms: Array) -> Array:
    """In longdouble, rounded once."""
    return in_order(terms.astype(np.longdouble)).astype(terms.dtype)


def by_size(terms: Array) -> Array:
    """From the smallest to the largest."""
    return in_order(np.take_along_axis(terms, np.argsort(np.abs(terms), axis=0), axis=0))


# Arithmetic -----------------------------------------------------------------------------------------------------------


class Functions:
    """Elementary functions of a type; what NumPy or SciPy do not have in it is computed in a wider one and rounded."""

    def __init__(self, type_: Any, order: Order) -> None:
        self.type, self.order = np.dtype(type_), order

    def exp(self, x: Array) -> Array:
        return np.exp(x)

    def log(self, x: Array) -> Array:
        return np.log(x)

    def log1p(self, x: Array) -> Array:
        return np.log1p(x)

    def expm1(self, x: Array) -> Array:
        return np.expm1(x)

    def tanh(self, x: Array) -> Array:
        return np.tanh(x)

    def cosh(self, x: Array) -> Array:
        return np.cosh(x)

    def of_scipy(self, function: Callable[[Array], Array], x: Array) -> Array:
        held = x.astype(np.float32 if self.type.itemsize == 2 else np.float64 if self.type.itemsize > 8 else self.type)
        return function(held).astype(self.type)

    def erf(self, x: Array) -> Array:
        return self.of_scipy(special.erf, x)

    def erfc(self, x: Array) -> Array:
        return self.of_scipy(special.erfc, x)

    def number(self, x: float) -> Any:
        return self.type.type(x)

    def clip(self, x: Array) -> Array:
        """Between −1 and 1."""
        return np.maximum(np.minimum(x, self.number(1.0)), self.number(-1.0))

    def sigmoid(self, z: Array) -> Array:
        return 1 / (1 + self.exp(-z))

    def softplus(self, z: Array) -> Array:
        return np.maximum(z, 0 * z) + self.log1p(self.exp(-abs(z)))

    def cdf(self, z: Array) -> Array:
        """The normal distribution function."""
        return self.number(0.5) * (1 + self.erf(z * self.number(math.sqrt(0.5))))

    def density(self, z: Array) -> Array:
        return self.number(1 / math.sqrt(2 * math.pi)) * self.exp(self.number(-0.5) * z * z)

    def total(self, terms: Array) -> Array:
        return self.order(terms.reshape(-1))

    def row_sum(self, x: Array) -> Array:
        return self.order(x.T).reshape(-1, 1)

    def mean(self, total: Array, count: int) -> Array:
        return total if count == 1 else total / self.number(count)


Width = Literal["dtype", "step", "whole"]


@dataclass(frozen=True)
class Arithmetic:
    """`inside`: every operation in the dtype; every equation in a wider type and rounded ("step"); or the whole pass in
    a wider type, rounded as it is reported ("whole"). `fused`: products by fused multiply-add."""

    order: Order = in_order
    inside: Width = "dtype"
    fused: bool = False

    def work(self, dtype: str) -> Any:
        return TYPES[dtype] if self.inside == "dtype" else WIDER[dtype]

    def rounded(self, x: Array, dtype: str) -> Array:
        return x if self.inside == "dtype" else x.astype(TYPES[dtype])

    def kept(self, x: Array, dtype: str) -> Array:
        """What the pass goes on with, of what it reports."""
        return self.rounded(x, dtype).astype(self.work(dtype)) if self.inside == "step" else x

    def product(self, x: Array, y: Array) -> Array:
        """x·y; what has 16 bits is accumulated in float32 and rounded once."""
        held = x.dtype if x.dtype.itemsize > 2 else np.dtype(np.float32)
        left, right = x.astype(held).T[:, :, None], y.astype(held)[:, None, :]
        return (fused_sum(left, right) if self.fused else self.order(left * right)).astype(x.dtype)


def fused_sum(x: Array, y: Array) -> Array:
    """Σ x·y over the first axis, each product added with one rounding."""
    total = 0 * (x[0] * y[0])
    for left, right in zip(x, y, strict=True):
        if total.dtype == np.float32:  # the product is a float64, and so is the sum to all that matters
            total = (left.astype(np.float64) * right + total).astype(np.float32)
        elif total.dtype == np.float64:  # of longdouble's 64 bits; rounded again to 53
            total = (left.astype(np.longdouble) * right + total).astype(np.float64)
        else:
            total = left * right + total
    return total


# The pass -------------------------------------------------------------------------------------------------------------

Share = Literal["loss", "weights"]


@dataclass(frozen=True)
class Program:
    """A pass by hand. `values`, `backwards`, `losses` and `slopes` are its own formulas, by activation or loss.

    `bias`: added to the product, or before its terms. `mean`: where the 1/count of a mean is applied, in ∂E/∂a or, as
    courses write it, in ∂E/∂W and ∂E/∂b alone: then every adjoint is count times the derivative.
    """

    name: str
    arithmetic: Arithmetic = Arithmetic()
    values: Mapping[str, Value] = field(default_factory=dict)
    backwards: Mapping[str, Backward] = field(default_factory=dict)
    losses: Mapping[str, LossFormula] = field(default_factory=dict)
    slopes: Mapping[str, LossFormula] = field(default_factory=dict)
    bias: Literal["last", "first"] = "last"
    mean: Share = "loss"

    @property
    def activations(self) -> tuple[str, ...]:
        """The activations that have a formula of this program's own."""
        return tuple(dict.fromkeys([*self.values, *self.backwards]))

    @property
    def own_losses(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*self.losses, *self.slopes]))

    def run(self, point: Point) -> dict[str, Any]:
        """Every quantity of the derivation by its name there, as the dtype's numbers."""
        shape = point.architecture
        if shape is None:
            raise Unsupported("derivation: this pass is written for layers")
        made = self.arithmetic
        work = np.dtype(made.work(point.dtype))
        f = Functions(work, made.order)
        found: dict[str, Any] = {}

        def report(name: str, value: Array) -> Array:
            if value.dtype != work:
                raise TypeError(f"{name} is {value.dtype}, expected {work}: a formula left the type it computes in")
            found[name] = made.rounded(value, point.dtype)
            return made.kept(value, point.dtype)

        given = {n: np.asarray(v).astype(work) for n, v in point.values.items()}
        a = given["X"]
        for layer, activation in enumerate(shape.activations, 1):
            z = report(f"z{layer}", self._linear(a, given[f"W{layer}"], given.get(f"b{layer}")))
            a = report(f"a{layer}", {**VALUES, **self.values}[activation](f, z))
            given[f"z{layer}"], given[f"a{layer}"] = z, a
        count = shape.count
        report("E", {**LOSS_VALUES, **self.losses}[shape.loss](f, a, given["T"], count))
        late = self.mean == "weights" and count > 1
        slope = {**LOSS_SLOPES, **self.slopes}[shape.loss]
        g = report(f"dE/da{shape.layers}", slope(f, a, given["T"], 1 if late else count))
        self._back(f, shape, given, g, report, count if late else 1)
        rate = f.number(point.rate)
        for name in point.parameters:
            report(f"{name}_new", given[name] - rate * given[f"dE/d{name}"])
        return found

    def _linear(self, a: Array, w: Array, b: Array | None) -> Array:
        if b is None or self.bias == "last":
            z = self.arithmetic.product(a, w.T)
            return z if b is None else z + b
        ones = np.ones((len(a), 1)).astype(a.dtype)
        return self.arithmetic.product(np.hstack([ones, a]), np.hstack([b[:, None], w]).T)

    def _back(
        self,
        f: Functions,
        shape: Architecture,
        given: dict[str, Any],
        g: Array,
        report: Callable[..., Array],
        late: int,
    ) -> None:
        for layer in range(shape.layers, 0, -1):
            backward = {**BACKWARDS, **self.backwards}[shape.activations[layer - 1]]
            dz = report(f"dE/dz{layer}", backward(f, g, given[f"z{layer}"], given[f"a{layer}"]))
            before = given["X"] if layer == 1 else given[f"a{layer - 1}"]
            dw = f.mean(self.arithmetic.product(dz.T, before), late)
            given[f"dE/dW{layer}"] = report(f"dE/dW{layer}", dw)
            if shape.biased[layer - 1]:
                given[f"dE/db{layer}"] = report(f"dE/db{layer}", f.mean(self.arithmetic.order(dz), late))
            if layer > 1:
                g = report(f"dE/da{layer - 1}", self.arithmetic.product(dz, given[f"W{layer}"]))


class ByProgram:
    """A program as an adapter."""

    name = "by-hand"

    def __init__(self, program: Program) -> None:
        self.program = program
        known = "half-ulp" if program.arithmetic.inside == "whole" else "exact"
        self.routes = (Route("numpy", program.name, operands=known),)  # type: ignore[arg-type]

    def answer(self, point: Point, route: str) -> Answer:
        with np.errstate(all="ignore"):
            return as_answer(self.program.run(point), point)


def as_answer(found: Mapping[str, Any], point: Point) -> Answer:
    """Quantities by their names in the derivation, as an answer with its trace."""
    held = {n: np.asarray(v, dtype=np.float64) for n, v in found.items()}
    values = {n: v if v.ndim else float(v) for n, v in held.items()}
    forward = point.shapes
    gradient = {p: values[f"d{point.loss}/d{p}"] for p in point.parameters}
    updated = {p: values[f"{p}_new"] for p in point.parameters}
    adjoints = {n: values[f"d{point.loss}/d{n}"] for n in point.intermediates if f"d{point.loss}/d{n}" in values}
    trace = Trace({n: values[n] for n in forward if n in values}, adjoints, gradient, updated)
    return Answer(values[point.loss], gradient, updated, trace)


# The formulas that a program has where it has none of its own ---------------------------------------------------------


def _cubic(f: Functions, z: Array) -> Array:
    return f.number(math.sqrt(2 / math.pi)) * (z + f.number(0.044715) * z * z * z)


def _gelu_tanh_backward(f: Functions, g: Array, z: Array, a: Array) -> Array:
    t = f.tanh(_cubic(f, z))
    inner = f.number(math.sqrt(2 / math.pi)) * (1 + f.number(3 * 0.044715) * z * z)
    half = f.number(0.5)
    return g * (half * (1 + t) + half * z * (1 - t * t) * inner)


def _mish_backward(f: Functions, g: Array, z: Array, a: Array) -> Array:
    t = f.tanh(f.softplus(z))
    return g * (t + z * f.sigmoid(z) * (1 - t * t))


def softmax(f: Functions, z: Array) -> Array:
    e = f.exp(z - z.max(axis=1, keepdims=True))
    return e / f.row_sum(e)


def log_softmax(f: Functions, z: Array) -> Array:
    shifted = z - z.max(axis=1, keepdims=True)
    return shifted - f.log(f.row_sum(f.exp(shifted)))


SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def selu_factor(f: Functions) -> Any:
    return f.number(SELU_SCALE) * f.number(SELU_ALPHA)


VALUES: Mapping[str, Value] = MappingProxyType({
    "identity": lambda f, z: z,
    "sigmoid": lambda f, z: f.sigmoid(z),
    "tanh": lambda f, z: f.tanh(z),
    "relu": lambda f, z: np.maximum(z, 0 * z),
    "leaky_relu": lambda f, z: np.where(z > 0, z, f.number(0.01) * z),
    "elu": lambda f, z: np.where(z > 0, z, f.expm1(z)),
    "selu": lambda f, z: np.where(z > 0, f.number(SELU_SCALE) * z, selu_factor(f) * f.expm1(z)),
    "softplus": lambda f, z: f.softplus(z),
    "silu": lambda f, z: z * f.sigmoid(z),
    "gelu": lambda f, z: z * f.cdf(z),
    "gelu_tanh": lambda f, z: f.number(0.5) * z * (1 + f.tanh(_cubic(f, z))),
    "mish": lambda f, z: z * f.tanh(f.softplus(z)),
    "hard_tanh": lambda f, z: f.clip(z),
    "softmax": softmax,
})  # fmt: skip

BACKWARDS: Mapping[str, Backward] = MappingProxyType({
    "identity": lambda f, g, z, a: g,
    "sigmoid": lambda f, g, z, a: g * (a * (1 - a)),
    "tanh": lambda f, g, z, a: g * (1 - a * a),
    "relu": lambda f, g, z, a: np.where(z > 0, g, 0 * g),
    "leaky_relu": lambda f, g, z, a: np.where(z > 0, g, f.number(0.01) * g),
    "elu": lambda f, g, z, a: np.where(z > 0, g, g * f.exp(z)),
    "selu": lambda f, g, z, a: np.where(z > 0, g * f.number(SELU_SCALE), g * selu_factor(f) * f.exp(z)),
    "softplus": lambda f, g, z, a: g * f.sigmoid(z),
    "silu": lambda f, g, z, a: g * f.sigmoid(z) * (1 + z * (1 - f.sigmoid(z))),
    "gelu": lambda f, g, z, a: g * (f.cdf(z) + z * f.density(z)),
    "gelu_tanh": _gelu_tanh_backward,
    "mish": _mish_backward,
    "hard_tanh": lambda f, g, z, a: np.where(abs(z) < 1, g, 0 * g),
    "softmax": lambda f, g, z, a: (g - f.row_sum(g * a)) * a,
})  # fmt: skip


def _huber(f: Functions, a: Array, t: Array, count: int) -> Array:
    d, half = abs(a - t), f.number(0.5)
    return f.mean(f.total(np.where(d > 1, d - half, half * d * d)), count)


def _bce(f: Functions, a: Array, t: Array, count: int) -> Array:
    return f.mean(f.total(f.softplus(a) - a * t), count)


LOSS_VALUES: Mapping[str, LossFormula] = MappingProxyType({
    "half_squared_error": lambda f, a, t, n: f.mean(f.total(f.number(0.5) * (t - a) * (t - a)), n),
    "squared_error": lambda f, a, t, n: f.mean(f.total((t - a) * (t - a)), n),
    "l1": lambda f, a, t, n: f.mean(f.total(abs(t - a)), n),
    "huber": _huber,
    "binary_cross_entropy_with_logits": _bce,
    "softmax_cross_entropy": lambda f, a, t, n: f.mean(f.total(-(t * log_softmax(f, a))), n),
})  # fmt: skip

LOSS_SLOPES: Mapping[str, LossFormula] = MappingProxyType({
    "half_squared_error": lambda f, a, t, n: f.mean(a - t, n),
    "squared_error": lambda f, a, t, n: f.mean(2 * (a - t), n),
    "l1": lambda f, a, t, n: f.mean(np.sign(a - t), n),
    "huber": lambda f, a, t, n: f.mean(f.clip(a - t), n),
    "binary_cross_entropy_with_logits": lambda f, a, t, n: f.mean(f.sigmoid(a) - t, n),
    "softmax_cross_entropy": lambda f, a, t, n: f.mean(softmax(f, a) * f.row_sum(t) - t, n),
})  # fmt: skip
