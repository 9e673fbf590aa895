"""Correct programs that are not ours: one pass through a layered network, written in NumPy, and what may differ in it.

A `Program` is that pass with an order of summation, a width that it computes in, and formulas of its own for some
activations and losses: each what somebody writes, each right mathematics. None is made from the reference's forms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType
from typing import Any, Literal

import ml_dtypes
import numpy as np
from scipy import special

from gradconform.adapters.contract import Answer, Point, Route, Trace, Unsupported
from gradconform.reference.network import Architecture

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
        self, f: Functions, shape: Architecture, given: dict[str, Any], g: Array, report: Callable[..., Array], late: int
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


def _softmax(f: Functions, z: Array) -> Array:
    e = f.exp(z - z.max(axis=1, keepdims=True))
    return e / f.row_sum(e)


def _log_softmax(f: Functions, z: Array) -> Array:
    shifted = z - z.max(axis=1, keepdims=True)
    return shifted - f.log(f.row_sum(f.exp(shifted)))


SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def _selu_factor(f: Functions) -> Any:
    return f.number(SELU_SCALE) * f.number(SELU_ALPHA)


VALUES: Mapping[str, Value] = MappingProxyType({
    "identity": lambda f, z: z,
    "sigmoid": lambda f, z: f.sigmoid(z),
    "tanh": lambda f, z: f.tanh(z),
    "relu": lambda f, z: np.maximum(z, 0 * z),
    "leaky_relu": lambda f, z: np.where(z > 0, z, f.number(0.01) * z),
    "elu": lambda f, z: np.where(z > 0, z, f.expm1(z)),
    "selu": lambda f, z: np.where(z > 0, f.number(SELU_SCALE) * z, _selu_factor(f) * f.expm1(z)),
    "softplus": lambda f, z: f.softplus(z),
    "silu": lambda f, z: z * f.sigmoid(z),
    "gelu": lambda f, z: z * f.cdf(z),
    "gelu_tanh": lambda f, z: f.number(0.5) * z * (1 + f.tanh(_cubic(f, z))),
    "mish": lambda f, z: z * f.tanh(f.softplus(z)),
    "hard_tanh": lambda f, z: f.clip(z),
    "softmax": _softmax,
})  # fmt: skip

BACKWARDS: Mapping[str, Backward] = MappingProxyType({
    "identity": lambda f, g, z, a: g,
    "sigmoid": lambda f, g, z, a: g * (a * (1 - a)),
    "tanh": lambda f, g, z, a: g * (1 - a * a),
    "relu": lambda f, g, z, a: np.where(z > 0, g, 0 * g),
    "leaky_relu": lambda f, g, z, a: np.where(z > 0, g, f.number(0.01) * g),
    "elu": lambda f, g, z, a: np.where(z > 0, g, g * f.exp(z)),
    "selu": lambda f, g, z, a: np.where(z > 0, g * f.number(SELU_SCALE), g * _selu_factor(f) * f.exp(z)),
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
    "softmax_cross_entropy": lambda f, a, t, n: f.mean(f.total(-(t * _log_softmax(f, a))), n),
})  # fmt: skip

LOSS_SLOPES: Mapping[str, LossFormula] = MappingProxyType({
    "half_squared_error": lambda f, a, t, n: f.mean(a - t, n),
    "squared_error": lambda f, a, t, n: f.mean(2 * (a - t), n),
    "l1": lambda f, a, t, n: f.mean(np.sign(a - t), n),
    "huber": lambda f, a, t, n: f.mean(f.clip(a - t), n),
    "binary_cross_entropy_with_logits": lambda f, a, t, n: f.mean(f.sigmoid(a) - t, n),
    "softmax_cross_entropy": lambda f, a, t, n: f.mean(_softmax(f, a) * f.row_sum(t) - t, n),
})  # fmt: skip


# The programs ---------------------------------------------------------------------------------------------------------


def _sech_squared(f: Functions, z: Array) -> Array:
    e = f.exp(-2 * abs(z))
    return 4 * e / ((1 + e) * (1 + e))


def _two_branches(f: Functions, z: Array) -> Array:
    e = f.exp(-abs(z))
    return np.where(z < 0, e / (1 + e), 1 / (1 + e))


def _softplus_of_tensorflow(f: Functions, z: Array) -> Array:
    """tensorflow/core/kernels/softplus_op.h: threshold = log(ε) + 2."""
    threshold = f.number(math.log(float(ml_dtypes.finfo(f.type).eps)) + 2)
    return np.where(z > -threshold, z, np.where(z < threshold, f.exp(z), f.log1p(f.exp(z))))


def _softplus_branches(f: Functions, z: Array) -> Array:
    return np.where(z > 0, z + f.log1p(f.exp(-abs(z))), f.log1p(f.exp(-abs(z))))


def _probability_loss(f: Functions, z: Array, t: Array, count: int) -> Array:
    a = f.sigmoid(z)
    return f.mean(f.total(-t * f.log(a) - (1 - t) * f.log(1 - a)), count)


def _probability_slope(f: Functions, z: Array, t: Array, count: int) -> Array:
    """((1 − t)/(1 − a) − t/a)·a(1 − a), the chain rule through the probability."""
    a = f.sigmoid(z)
    return f.mean(((1 - t) / (1 - a) - t / a) * (a * (1 - a)), count)


def _softmax_unshifted(f: Functions, z: Array) -> Array:
    return f.exp(z) / f.row_sum(f.exp(z))


def _log_sum_exp(f: Functions, a: Array, t: Array, count: int) -> Array:
    """Σ over rows of log Σe^z − Σ t·z, for targets that add up to one."""
    top = a.max(axis=1, keepdims=True)
    shifted = a - top
    return f.mean(f.total(f.log(f.row_sum(f.exp(shifted))) - f.row_sum(t * shifted)), count)


def _mish_rational(f: Functions, z: Array) -> Array:
    """tanh(log(1 + e^z)) = n/(n + 2) with n = e^z(e^z + 2)."""
    n = f.exp(z) * (f.exp(z) + 2)
    return z * n / (n + 2)


def _mish_rational_backward(f: Functions, g: Array, z: Array, a: Array) -> Array:
    """n/(n + 2) + z·2n'/(n + 2)² with n' = 2e^z(e^z + 1)."""
    e = f.exp(z)
    n = e * (e + 2)
    return g * (n / (n + 2) + z * (4 * e * (e + 1)) / ((n + 2) * (n + 2)))


def _gelu_of_cdf(f: Functions, z: Array) -> Array:
    return z * f.of_scipy(special.ndtr, z)


def _gelu_backward_of_cdf(f: Functions, g: Array, z: Array, a: Array) -> Array:
    return g * (f.of_scipy(special.ndtr, z) + z * f.density(z))


def _gelu_erfc_backward(f: Functions, g: Array, z: Array, a: Array) -> Array:
    return g * (f.number(0.5) * f.erfc(-z * f.number(math.sqrt(0.5))) + z * f.density(z))


def _huber_parts(f: Functions, a: Array, t: Array, count: int) -> Array:
    """½q² + (|d| − q) with q = min(|d|, 1)."""
    d = abs(a - t)
    q = np.minimum(d, f.number(1.0))
    return f.mean(f.total(f.number(0.5) * q * q + (d - q)), count)


HALF = 0.5
_ORDERS: tuple[tuple[str, Order], ...] = (
    ("sums backwards", backwards), ("sums pairwise", pairwise), ("sums in a random order", shuffled),
    ("sums in four lanes", in_lanes), ("Kahan's sums", compensated), ("sums in longdouble, rounded once", wide_sum),
    ("sums from the smallest term", by_size),
)  # fmt: skip


def _programs() -> Sequence[Program]:
    return (
        Program("sums in order"),
        *(Program(name, Arithmetic(order)) for name, order in _ORDERS),
        Program("fused multiply-add", Arithmetic(fused=True)),
        Program("each equation in a wider type", Arithmetic(inside="step")),
        Program("each equation in a wider type, sums pairwise", Arithmetic(pairwise, "step")),
        Program("all in a wider type, rounded as reported", Arithmetic(inside="whole")),
        Program("bias first", bias="first"),
        Program("bias first, fused multiply-add", Arithmetic(fused=True), bias="first"),
        Program("1/m in ∂E/∂W", mean="weights"),
        # σ
        Program("σ' = σ(z)σ(−z)", backwards={"sigmoid": lambda f, g, z, a: g * (f.sigmoid(z) * f.sigmoid(-z))}),
        Program("σ' = (gσ(z))σ(−z)", backwards={"sigmoid": lambda f, g, z, a: g * f.sigmoid(z) * f.sigmoid(-z)}),
        Program("σ' = e^z/(1+e^z)²", backwards={"sigmoid": lambda f, g, z, a: g * f.exp(z) / (1 + f.exp(z)) ** 2}),
        Program(
            "σ' = e^-|z|/(1+e^-|z|)²",
            backwards={"sigmoid": lambda f, g, z, a: g * (f.exp(-abs(z)) / (1 + f.exp(-abs(z))) ** 2)},
        ),
        Program(
            "σ' = 1/(4cosh²(z/2))",
            backwards={"sigmoid": lambda f, g, z, a: g / (4 * f.cosh(f.number(HALF) * z) ** 2)},
        ),
        Program("σ' = a−a²", backwards={"sigmoid": lambda f, g, z, a: g * (a - a * a)}),
        Program("σ' recomputed", backwards={"sigmoid": lambda f, g, z, a: g * (f.sigmoid(z) * (1 - f.sigmoid(z)))}),
        Program("σ by two branches", values={"sigmoid": _two_branches}),
        Program("σ = e^z/(e^z+1)", values={"sigmoid": lambda f, z: f.exp(z) / (f.exp(z) + 1)}),
        Program(
            "σ = ½(1+tanh(z/2))",
            values={"sigmoid": lambda f, z: f.number(HALF) * (1 + f.tanh(f.number(HALF) * z))},
        ),
        # tanh
        Program("tanh' = g/cosh²z", backwards={"tanh": lambda f, g, z, a: g / f.cosh(z) ** 2}),
        Program("tanh' = 4e^-2|z|/(1+e^-2|z|)²", backwards={"tanh": lambda f, g, z, a: g * _sech_squared(f, z)}),
        Program("tanh' = (1−a)(1+a)", backwards={"tanh": lambda f, g, z, a: g * ((1 - a) * (1 + a))}),
        Program("tanh' recomputed", backwards={"tanh": lambda f, g, z, a: g * (1 - f.tanh(z) ** 2)}),
        Program("tanh' = g−ga²", backwards={"tanh": lambda f, g, z, a: g - g * a * a}),
        Program("tanh = 2σ(2z)−1", values={"tanh": lambda f, z: 2 * f.sigmoid(2 * z) - 1}),
        # the others
        Program("relu = z·[z>0]", values={"relu": lambda f, z: z * (z > 0).astype(z.dtype)}),
        Program("leaky relu = max(z, cz)", values={"leaky_relu": lambda f, z: np.maximum(z, f.number(0.01) * z)}),
        Program(
            "elu', selu' from a",
            backwards={
                "elu": lambda f, g, z, a: np.where(z > 0, g, g * (a + 1)),
                "selu": lambda f, g, z, a: np.where(z > 0, g * f.number(SELU_SCALE), g * (a + _selu_factor(f))),
            },
        ),
        Program("softplus = log(1+e^z)", values={"softplus": lambda f, z: f.log(1 + f.exp(z))}),
        Program("TensorFlow's softplus", values={"softplus": _softplus_of_tensorflow}),
        Program("softplus by two branches", values={"softplus": _softplus_branches}),
        Program(
            "softplus' = 1−e^-a", backwards={"softplus": lambda f, g, z, a: g * -f.expm1(-a)}
        ),
        Program("softplus' by two branches", backwards={"softplus": lambda f, g, z, a: g * _two_branches(f, z)}),
        Program("silu = z/(1+e^-z)", values={"silu": lambda f, z: z / (1 + f.exp(-z))}),
        Program(
            "silu' = σ+a(1−σ)",
            backwards={"silu": lambda f, g, z, a: g * (f.sigmoid(z) + a * (1 - f.sigmoid(z)))},
        ),
        Program(
            "silu' = σ+zσ(z)σ(−z)",
            backwards={"silu": lambda f, g, z, a: g * (f.sigmoid(z) + z * (f.sigmoid(z) * f.sigmoid(-z)))},
        ),
        Program("gelu of SciPy's normal distribution", values={"gelu": _gelu_of_cdf},
                backwards={"gelu": _gelu_backward_of_cdf}),
        Program(
            "gelu by erfc",
            values={"gelu": lambda f, z: f.number(HALF) * z * f.erfc(-z * f.number(math.sqrt(0.5)))},
            backwards={"gelu": _gelu_erfc_backward},
        ),
        Program("mish = z·n/(n+2)", values={"mish": _mish_rational}, backwards={"mish": _mish_rational_backward}),
        Program(
            "hard tanh by two comparisons",
            values={"hard_tanh": lambda f, z: np.where(z > 1, f.number(1.0), np.where(z < -1, f.number(-1.0), z))},
        ),
        Program(
            "softmax without the shift",
            values={"softmax": _softmax_unshifted},
            losses={"softmax_cross_entropy": lambda f, a, t, n: f.mean(
                f.total(-(t * f.log(_softmax_unshifted(f, a)))), n)},
            slopes={"softmax_cross_entropy": lambda f, a, t, n: f.mean(_softmax_unshifted(f, a) - t, n)},
        ),
        Program(
            "cross-entropy by log(softmax)",
            losses={"softmax_cross_entropy": lambda f, a, t, n: f.mean(f.total(-(t * f.log(_softmax(f, a)))), n)},
        ),
        Program("cross-entropy by log Σe^z − Σtz", losses={"softmax_cross_entropy": _log_sum_exp}),
        Program(
            "−t·log a−(1−t)·log(1−a)",
            losses={"binary_cross_entropy_with_logits": _probability_loss},
            slopes={"binary_cross_entropy_with_logits": _probability_slope},
        ),
        Program("huber by its parts", losses={"huber": _huber_parts}),
        Program(
            "(a−t)+(a−t)", slopes={"squared_error": lambda f, a, t, n: f.mean((a - t) + (a - t), n)}
        ),
    )  # fmt: skip


PROGRAMS: tuple[Program, ...] = tuple(_programs())

#: Right mathematics that loses digits and that no list of textbook programs holds so far: reported, not required.
BEYOND: tuple[Program, ...] = (
    Program("tanh = (e^z−e^-z)/(e^z+e^-z)", values={"tanh": lambda f, z: (f.exp(z) - f.exp(-z)) / (f.exp(z) + f.exp(-z))}),
    Program("tanh = (e^2z−1)/(e^2z+1)", values={"tanh": lambda f, z: (f.exp(2 * z) - 1) / (f.exp(2 * z) + 1)}),
    Program(
        "hard tanh = ½(|z+1|−|z−1|)",
        values={"hard_tanh": lambda f, z: f.number(HALF) * (abs(z + 1) - abs(z - 1))},
    ),
    Program("σ' = ¼(1−tanh²(z/2))", backwards={
        "sigmoid": lambda f, g, z, a: g * (f.number(0.25) * (1 - f.tanh(f.number(HALF) * z) ** 2))}),
    Program("elu = e^z−1", values={"elu": lambda f, z: np.where(z > 0, z, f.exp(z) - 1)}),
)  # fmt: skip
