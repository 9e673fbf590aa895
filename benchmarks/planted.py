"""Planted faults: a correct hand-written pass through a layered network, and a hundred and more with one mistake each.

`Pass` is the derivation in matrix form written once over any arithmetic of arrays, so that every faulty pass can be run
in a dtype, as an adapter, and in exact balls, which tells what the mistake moves. A fault replaces methods of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from random import Random
from typing import Any

import ml_dtypes
import numpy as np
from flint import arb

from gradconform.adapters.contract import Answer, Route, Trace
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.cases import Case, Point, network_case
from gradconform.reference.derivations.network import Architecture

#: What may be done with a quantity as it is computed: record it, or go on with another value.
Tap = Callable[[str, Any], Any]

TYPES = {"float64": np.float64, "float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
#: Significant bits of a narrower format that a value takes a detour through: float32, half, bfloat16, an 8-bit float.
NARROWER = {"float64": 24, "float32": 11, "float16": 8, "bfloat16": 4}


# Arithmetics ----------------------------------------------------------------------------------------------------------


class InDtype:
    """Arrays of one dtype. Products of 16-bit matrices accumulate in float32 and round once (hypothesis 3)."""

    def __init__(self, dtype: str) -> None:
        self.dtype, self.type = dtype, np.dtype(TYPES[dtype])
        self.u = 2.0 ** -FORMATS[dtype].precision

    def array(self, values: Any) -> Any:
        return np.asarray(values, dtype=np.float64).astype(self.type)

    def constant(self, value: float) -> Any:
        return self.type.type(value)

    def product(self, x: Any, y: Any) -> Any:
        return x @ y if self.type.itemsize > 2 else (x.astype(np.float32) @ y.astype(np.float32)).astype(self.type)

    def product_plus(self, x: Any, y: Any, b: Any) -> Any:
        return self.product(x, y) + b

    def total(self, x: Any) -> Any:
        return np.sum(x, dtype=self.type)

    def column_sum(self, x: Any) -> Any:
        return np.sum(x, axis=0, dtype=self.type)

    def row_sum(self, x: Any) -> Any:
        """Of 16-bit rows in float32, rounded once, as frameworks do."""
        wide = np.float32 if self.type.itemsize == 2 else self.type
        return np.sum(x, axis=1, keepdims=True, dtype=wide).astype(self.type)

    def times(self, x: Any, factor: float) -> Any:
        """x·factor, rounded once, for a factor that the dtype need not hold."""
        wide = np.longdouble if self.dtype == "float64" else np.float64
        return (x.astype(wide) * wide(factor)).astype(self.type)

    def rounded(self, x: Any, bits: int, how: str = "nearest", random: Random | None = None) -> Any:
        """x with so many significant bits; `how` is nearest, down (towards zero) or stochastic."""
        return _rounded(x.astype(np.float64), bits, how, random).astype(self.type)

    def values(self, x: Any) -> Any:
        """The numbers as float64."""
        return np.asarray(x).astype(np.float64)


class Exactly(InDtype):
    """Arrays of balls at the precision of the context; the dtype only says what a fault's constants are."""

    def __init__(self, dtype: str) -> None:
        super().__init__(dtype)

    def array(self, values: Any) -> Any:
        return _balls(np.asarray(values, dtype=np.float64))

    def constant(self, value: float) -> Any:
        return arb(value)

    def product(self, x: Any, y: Any) -> Any:
        return x @ y

    def total(self, x: Any) -> Any:
        return np.array(x.sum(), dtype=object)[()]

    def column_sum(self, x: Any) -> Any:
        return x.sum(axis=0)

    def row_sum(self, x: Any) -> Any:
        return x.sum(axis=1, keepdims=True)

    def times(self, x: Any, factor: float) -> Any:
        return x * arb(factor)

    def rounded(self, x: Any, bits: int, how: str = "nearest", random: Random | None = None) -> Any:
        return self.array(_rounded(self.values(x), bits, how, random))

    def values(self, x: Any) -> Any:
        return np.array([float(v) for v in np.ravel(x)]).reshape(np.shape(x))


def _balls(values: Any) -> Any:
    found = np.empty(values.shape, dtype=object)
    for index, value in np.ndenumerate(values):
        found[index] = arb(float(value))
    return found


def _rounded(x: Any, bits: int, how: str, random: Random | None) -> Any:
    mantissa, exponent = np.frexp(x)
    scaled = np.ldexp(mantissa, bits)
    if how == "stochastic":
        assert random is not None
        whole = np.floor(scaled + np.array([random.random() for _ in range(np.size(x))]).reshape(np.shape(x)))
    else:
        whole = {"nearest": np.rint, "down": np.trunc}[how](scaled)
    return np.where(np.isfinite(x), np.ldexp(whole, exponent - bits), x)


# The pass -------------------------------------------------------------------------------------------------------------


class Pass:
    """Forward, backward and update by hand; every method is one line of the derivation, and what a fault may replace.

    Arrays are (batch, width), weights (out, in), biases (out,). Layers count from 1; `layer` is passed to every method,
    `self.last` is the last one. `memory` outlives a call: a correct pass never looks into it. A `plain` fault is in the
    plain answer alone: its trace is that of a correct pass.
    """

    plain = False

    def __init__(self, numbers: InDtype) -> None:
        self.numbers = numbers
        self.memory: dict[str, Any] = {}
        self.calls = 0
        self.random = Random("planted")

    # Forward

    def linear(self, layer: int, a: Any, w: Any, b: Any) -> Any:
        z = self.matmul(layer, a, w.T)
        return z if b is None else z + b

    def matmul(self, layer: int, x: Any, y: Any) -> Any:
        return self.numbers.product(x, y)

    def exp(self, x: Any) -> Any:
        return np.exp(x)

    def sigmoid(self, z: Any) -> Any:
        return 1 / (1 + self.exp(-z))

    def tanh(self, z: Any) -> Any:
        return np.tanh(z)

    def relu(self, z: Any) -> Any:
        return np.where(z > 0, z, 0 * z)

    def identity(self, z: Any) -> Any:
        return z

    def activation(self, layer: int, z: Any) -> Any:
        return getattr(self, self.architecture.activations[layer - 1])(z)

    def stored(self, layer: int, a: Any) -> Any:
        """An activation as it is kept."""
        return a

    def labels(self, t: Any) -> Any:
        """The targets as the loss reads them."""
        return t

    def loss(self, a: Any, t: Any) -> Any:
        terms = self.cross_entropies if self.architecture.loss == "softmax_cross_entropy" else self.squares
        return self.shared(self.numbers.total(terms(a, t)))

    def cross_entropies(self, a: Any, t: Any) -> Any:
        shifted = a - a.max(axis=1, keepdims=True)
        return -(t * (shifted - np.log(self.numbers.row_sum(self.exp(shifted)))))

    def softmax(self, a: Any) -> Any:
        e = self.exp(a - a.max(axis=1, keepdims=True))
        return e / self.numbers.row_sum(e)

    def squares(self, a: Any, t: Any) -> Any:
        return self.numbers.constant(0.5) * ((t - a) * (t - a))

    def shared(self, x: Any) -> Any:
        count = self.architecture.count
        return x if count == 1 else x / self.numbers.constant(count)

    # Backward

    def loss_slope(self, a: Any, t: Any) -> Any:
        return self.shared(self.residual(a, t))

    def residual(self, a: Any, t: Any) -> Any:
        return (self.softmax(a) if self.architecture.loss == "softmax_cross_entropy" else a) - t

    def sigmoid_slope(self, z: Any, a: Any) -> Any:
        return a * (1 - a)

    def tanh_slope(self, z: Any, a: Any) -> Any:
        return 1 - a * a

    def relu_slope(self, z: Any, a: Any) -> Any:
        return np.where(z > 0, 1 + 0 * z, 0 * z)

    def identity_slope(self, z: Any, a: Any) -> Any:
        return 1 + 0 * z

    def slope(self, layer: int, z: Any, a: Any) -> Any:
        return getattr(self, f"{self.architecture.activations[layer - 1]}_slope")(z, a)

    def local(self, layer: int, da: Any, z: Any, a: Any) -> Any:
        """∂E/∂z."""
        return da * self.slope(layer, z, a)

    def weight_gradient(self, layer: int, dz: Any, before: Any) -> Any:
        return self.matmul(layer, dz.T, before)

    def bias_gradient(self, layer: int, dz: Any) -> Any:
        return self.numbers.column_sum(dz)

    def input_gradient(self, layer: int, dz: Any, w: Any) -> Any:
        return self.matmul(layer, dz, w)

    def gradient(self, name: str, g: Any) -> Any:
        """A parameter's gradient as it is handed out."""
        return g

    # Update

    def step(self, name: str, g: Any, w: Any) -> Any:
        """What is taken off a parameter."""
        return self.rate * g

    def updated(self, name: str, w: Any, g: Any) -> Any:
        return w - self.step(name, g, w)

    # The order of it all

    def forward(self, given: Mapping[str, Any], architecture: Architecture, tap: Tap) -> Any:
        """The loss; `given` are the case's inputs and parameters and eta, as arrays of the arithmetic."""
        self.architecture, self.last = architecture, architecture.layers
        self.weights = dict(given)
        self.rate = given["eta"]
        self.calls += 1
        a = given["X"]
        self.kept: dict[str, Any] = {"a0": a}
        for layer in range(1, self.last + 1):
            z = tap(f"z{layer}", self.linear(layer, a, given[f"W{layer}"], given.get(f"b{layer}")))
            a = tap(f"a{layer}", self.stored(layer, self.activation(layer, z)))
            self.kept[f"z{layer}"], self.kept[f"a{layer}"] = z, a
        return tap("E", self.loss(a, self.labels(given["T"])))

    def backward(self, tap: Tap) -> None:
        """Every adjoint and gradient, and the updated parameters, from what `forward` kept."""
        kept, names = self.saved(), {}
        da = tap(f"dE/da{self.last}", self.loss_slope(kept[f"a{self.last}"], self.labels(self.weights["T"])))
        for layer in range(self.last, 0, -1):
            dz = tap(f"dE/dz{layer}", self.local(layer, da, kept[f"z{layer}"], kept[f"a{layer}"]))
            names[f"W{layer}"] = self.weight_gradient(layer, dz, kept[f"a{layer - 1}"])
            if f"b{layer}" in self.weights:
                names[f"b{layer}"] = self.bias_gradient(layer, dz)
            for name in (f"W{layer}", f"b{layer}"):
                if name in names:
                    names[name] = tap(f"dE/d{name}", self.gradient(name, names[name]))
            self.after_layer(layer, names)
            if layer > 1:
                da = tap(f"dE/da{layer - 1}", self.input_gradient(layer, dz, self.weights[f"W{layer}"]))
        for name, g in names.items():
            tap(f"{name}_new", self.updated(name, self.weights[name], g))
        self.memory.update(kept=self.kept, gradients=names)

    def saved(self) -> Mapping[str, Any]:
        """What the backward pass reads of the forward one."""
        return self.kept

    def after_layer(self, layer: int, gradients: Mapping[str, Any]) -> None:
        """Called when a layer's gradients are known and the ones before it are not."""


def given(point: Point, numbers: InDtype) -> dict[str, Any]:
    """A point's values and rate as arrays of an arithmetic."""
    return {n: numbers.array(v) for n, v in point.values.items()} | {"eta": numbers.constant(point.rate)}


def evaluated(one: Pass, point: Point, reported: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Every quantity of a pass by name; where `reported` has a value the pass goes on with that one."""
    assert point.architecture is not None
    found: dict[str, Any] = {}
    known = {n: one.numbers.array(v) for n, v in (reported or {}).items()}

    def tap(name: str, value: Any) -> Any:
        found[name] = value
        return known.get(name, value)

    with np.errstate(all="ignore"):
        one.forward(given(point, one.numbers), point.architecture, tap)
        one.backward(tap)
    return found


def answered(one: Pass, point: Point) -> Answer:
    """A pass in the point's dtype, with its trace."""
    found = {n: one.numbers.values(v) for n, v in evaluated(one, point).items()}
    answer = as_answer(found, point)
    if not one.plain:
        return answer
    right = {n: one.numbers.values(v) for n, v in evaluated(Pass(one.numbers), point).items()}
    return replace(answer, trace=as_answer(right, point).trace)


def as_answer(found: Mapping[str, Any], point: Point) -> Answer:
    found = {n: v if np.ndim(v) else float(v) for n, v in found.items()}
    gradient = {p: found[f"dE/d{p}"] for p in point.parameters}
    updated = {p: found[f"{p}_new"] for p in point.parameters}
    layers = range(1, point.architecture.layers + 1) if point.architecture else ()
    names = [f"{x}{layer}" for layer in layers for x in "za"]
    trace = Trace({n: found[n] for n in (*names, "E")}, {n: found[f"dE/d{n}"] for n in names}, gradient, updated)
    return Answer(found["E"], gradient, updated, trace)


class ByHand:
    """A pass as an adapter, correct or with a fault."""

    name = "by-hand"
    routes = (Route("numpy", "the derivation in matrix form, by hand"),)

    def __init__(self, fault: Fault | None = None) -> None:
        self.fault = fault or CORRECT
        self.passes: dict[str, Pass] = {}

    def answer(self, point: Point, route: str) -> Answer:
        one = self.passes.setdefault(point.dtype, self.fault.made(InDtype(point.dtype)))
        found = answered(one, point)
        if self.fault.in_place:
            value = point.values["W1"]
            value.flags.writeable = True
            value[...] = found.updated["W1"]
        return found


# The catalogue --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """A mistake: its name, what kind of mistake it is, and the methods of `Pass` that it replaces.

    `plain`: it is in the plain answer alone, the trace is right. `classes`: it is one of class indices, and planted in
    `CLASSES` alone.
    """

    name: str
    kind: str
    changes: Mapping[str, Callable[..., Any]]
    in_place: bool = False
    plain: bool = False
    classes: bool = False

    def made(self, numbers: InDtype) -> Pass:
        """A fresh pass with the mistake."""
        made: Pass = type("Planted", (Pass,), {**self.changes, "plain": self.plain})(numbers)
        return made


CORRECT = Fault("none", "correct", {})


def _slope_by(name: str, formula: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    return {f"{name}_slope": formula}


def _square(x: Any) -> bool:
    return x.ndim == 2 and x.shape[0] == x.shape[1]


def _where(mask: Any, x: Any, y: Any) -> Any:
    """numpy.where over arrays of anything; the mask of comparisons of balls is of objects."""
    return np.where(np.asarray(mask, dtype=bool), x, y)


def _mathematics() -> list[Fault]:
    """Wrong formulas."""

    def transposed_back(self: Any, layer: int, dz: Any, w: Any) -> Any:
        return self.matmul(layer, dz, w.T if _square(w) else w)

    def transposed_gradient(self: Any, layer: int, dz: Any, before: Any) -> Any:
        g = Pass.weight_gradient(self, layer, dz, before)
        return g.T if _square(g) else g

    def own_output(self: Any, layer: int, dz: Any, before: Any) -> Any:
        own = self.kept[f"a{layer}"]
        return Pass.weight_gradient(self, layer, dz, own if own.shape == before.shape else before)

    def wrong_weights(self: Any, layer: int, dz: Any, w: Any) -> Any:
        other = self.weights[f"W{layer - 1}"]
        return self.matmul(layer, dz, other if other.shape == w.shape else w)

    def first_row(self: Any, layer: int, dz: Any, before: Any) -> Any:
        return Pass.weight_gradient(self, layer, dz, np.repeat(before[:1], len(before), axis=0))

    def first_path(self: Any, layer: int, dz: Any, w: Any) -> Any:
        return self.matmul(layer, dz[:, :1], w[:1]) if layer == self.last else self.matmul(layer, dz, w)

    def last_term(self: Any, layer: int, dz: Any, w: Any) -> Any:
        return self.matmul(layer, dz[:, :-1], w[:-1])

    def squares_whole(self: Any, a: Any, t: Any) -> Any:
        return (t - a) * (t - a)

    def per_row(self: Any, a: Any, t: Any) -> Any:
        return (a - t) / self.numbers.constant(len(a)) if self.architecture.reduction == "mean" else a - t

    def half(x: Any, self: Any) -> Any:
        return self.numbers.constant(0.5) * x

    def clipped(self: Any, name: str, g: Any, w: Any) -> Any:
        limit = self.numbers.constant(2.0**-6) + 0 * g
        return self.rate * _where(g > limit, limit, _where(g < -limit, -limit, g))

    def signs(self: Any, name: str, g: Any, w: Any) -> Any:
        one = 1 + 0 * g
        return self.rate * _where(g > 0, one, _where(g < 0, -one, 0 * g))

    def smoothed(self: Any, a: Any, t: Any) -> Any:
        return a - (self.numbers.times(t, 0.875) + self.numbers.constant(0.0625))

    def sigmoid_of_slope(self: Any, z: Any, a: Any) -> Any:
        again = self.sigmoid(a)
        return again * (1 - again)

    def late_kink(self: Any, z: Any, a: Any) -> Any:
        return _where(z > 0.0625, 1 + 0 * z, 0 * z)

    both = {
        "squares": squares_whole,
        "residual": lambda self, a, t: 2 * (a - t),
    }
    table: dict[str, dict[str, Callable[..., Any]]] = {
        "sign of ∂E/∂a": {"residual": lambda self, a, t: t - a},
        "sign of the update": {"updated": lambda self, name, w, g: w + self.step(name, g, w)},
        "sign of the first layer's ∂E/∂z": {
            "local": lambda self, layer, *rest: (-1 if layer == 1 else 1) * Pass.local(self, layer, *rest)
        },
        "sign of ∂E/∂b": {"bias_gradient": lambda self, layer, dz: -Pass.bias_gradient(self, layer, dz)},
        "sign of the slope of the sigmoid: a(a−1)": _slope_by("sigmoid", lambda self, z, a: a * (a - 1)),
        "½ missing in E and ∂E/∂a": both,
        "½ missing in E": {"squares": squares_whole},
        "½ doubled in E": {"squares": lambda self, a, t: half(Pass.squares(self, a, t), self)},
        "½ doubled in ∂E/∂a": {"residual": lambda self, a, t: half(a - t, self)},
        "2 in ∂E/∂a": {"residual": lambda self, a, t: 2 * (a - t)},
        "E for ∂E/∂a: ½(t−a)²": {"residual": lambda self, a, t: Pass.squares(self, a, t)},
        "|t−a| for ∂E/∂a": {"residual": lambda self, a, t: abs(t - a)},
        "targets smoothed in ∂E/∂a": {"residual": smoothed},
        "σ' without its 1−a": _slope_by("sigmoid", lambda self, z, a: a),
        "σ' without its a": _slope_by("sigmoid", lambda self, z, a: 1 - a),
        "σ' with 1+a": _slope_by("sigmoid", lambda self, z, a: a * (1 + a)),
        "σ' squared: a²(1−a)": _slope_by("sigmoid", lambda self, z, a: a * a * (1 - a)),
        "σ' of the activation: σ'(a)": _slope_by("sigmoid", sigmoid_of_slope),
        "σ' as z(1−z)": _slope_by("sigmoid", lambda self, z, a: z * (1 - z)),
        "tanh' as 1−z²": _slope_by("tanh", lambda self, z, a: 1 - z * z),
        "tanh' as 1+a²": _slope_by("tanh", lambda self, z, a: 1 + a * a),
        "tanh' as 1−a": _slope_by("tanh", lambda self, z, a: 1 - a),
        "tanh' as a(1−a), the sigmoid's": _slope_by("tanh", lambda self, z, a: a * (1 - a)),
        "relu' on the wrong side of the kink": _slope_by("relu", lambda self, z, a: _where(z < 0, 1 + 0 * z, 0 * z)),
        "relu' 1 everywhere": _slope_by("relu", lambda self, z, a: 1 + 0 * z),
        "relu' with its kink at 1/16": _slope_by("relu", late_kink),
        "slope left out": {"local": lambda self, layer, da, z, a: da},
        "slope left out of the output layer": {
            "local": lambda self, layer, da, *r: da if layer == self.last else Pass.local(self, layer, da, *r)
        },
        "slope taken twice": {"local": lambda self, n, da, z, a: da * self.slope(n, z, a) * self.slope(n, z, a)},
        "W transposed in ∂E/∂a": {"input_gradient": transposed_back},
        "∂E/∂W transposed": {"weight_gradient": transposed_gradient},
        "∂E/∂W by the layer's own output": {"weight_gradient": own_output},
        "∂E/∂a by the weights of the layer before": {"input_gradient": wrong_weights},
        "∂E/∂W by the first row of every batch": {"weight_gradient": first_row},
        "only the first output's path to ∂E/∂a": {"input_gradient": first_path},
        "last term of ∂E/∂a missing": {"input_gradient": last_term},
        "∂E/∂b zero": {"bias_gradient": lambda self, layer, dz: 0 * dz[0]},
        "∂E/∂b of the first row": {"bias_gradient": lambda self, layer, dz: dz[0]},
        "mean for sum in ∂E/∂b": {
            "bias_gradient": lambda self, n, dz: Pass.bias_gradient(self, n, dz) / self.numbers.constant(len(dz))
        },
        "mean for sum in ∂E/∂W": {
            "weight_gradient": lambda self, n, dz, a: (
                Pass.weight_gradient(self, n, dz, a) / self.numbers.constant(len(dz))
            )
        },
        "mean over rows for the mean over all": {"loss_slope": per_row},
        "sum for mean in ∂E/∂a": {"shared": lambda self, x: x if np.ndim(x) else Pass.shared(self, x)},
        "sum for mean in E and ∂E/∂a": {"shared": lambda self, x: x},
        "bias added twice": {
            "linear": lambda self, n, a, w, b: Pass.linear(self, n, a, w, None if b is None else b + b)
        },
        "bias left out": {"linear": lambda self, layer, a, w, b: Pass.linear(self, layer, a, w, None)},
        "η missing": {"step": lambda self, name, g, w: g},
        "η taken twice": {"step": lambda self, name, g, w: self.rate * (self.rate * g)},
        "η doubled": {"step": lambda self, name, g, w: 2 * (self.rate * g)},
        "η halved": {"step": lambda self, name, g, w: half(self.rate * g, self)},
        "weight decay of 1/64 left on": {
            "step": lambda self, name, g, w: self.rate * (g + self.numbers.constant(2.0**-6) * w)
        },
        "gradients clipped at 1/64": {"step": clipped},
        "signs of the gradient in the update": {"step": signs},
        "biases not updated": {
            "updated": lambda self, name, w, g: w if name[0] == "b" else Pass.updated(self, name, w, g)
        },
    }  # fmt: skip
    return [Fault(name, "mathematics", changes) for name, changes in table.items()]


def _state() -> list[Fault]:
    """Right formulas, of values that are not the ones meant."""

    def accumulated(self: Any, name: str, g: Any) -> Any:
        before = self.memory.get("gradients", {}).get(name)
        return g if before is None or before.shape != g.shape else g + before

    def stale(self: Any) -> Any:
        before = self.memory.get("kept", self.kept)
        fits = all(before.get(n) is not None and before[n].shape == v.shape for n, v in self.kept.items())
        return before if fits else self.kept

    def update_first(self: Any, layer: int, gradients: Mapping[str, Any]) -> None:
        self.weights[f"W{layer}"] = self.updated(f"W{layer}", self.weights[f"W{layer}"], gradients[f"W{layer}"])

    def update_next(self: Any, name: str, w: Any, g: Any) -> Any:
        return (
            Pass.updated(self, name, w - self.step(name, g, w), g) if name == "W1" else Pass.updated(self, name, w, g)
        )

    def overwritten(self: Any, layer: int, da: Any, z: Any, a: Any) -> Any:
        slope = self.slope(layer, z, a)
        if self.kept[f"a{layer - 1}"].shape == slope.shape:
            self.kept[f"a{layer - 1}"] = slope
        return da * slope

    def shared_buffer(self: Any, name: str, g: Any) -> Any:
        buffers = self.__dict__.setdefault("buffers", {})
        key = (self.calls, g.shape)
        return buffers.setdefault(key, g)

    def momentum(self: Any, name: str, g: Any, w: Any) -> Any:
        v = self.memory.get(("velocity", name))
        v = g if v is None or v.shape != g.shape else self.numbers.times(v, 0.875) + g
        self.memory["velocity", name] = v
        return self.rate * v

    def old_weights(self: Any, name: str, w: Any, g: Any) -> Any:
        before = self.memory.get(("weights", name), w)
        self.memory["weights", name] = w
        return Pass.updated(self, name, before if before.shape == w.shape else w, g)

    def old_bias(self: Any, name: str, g: Any) -> Any:
        before = self.memory.get("gradients", {}).get(name)
        return before if name[0] == "b" and before is not None and before.shape == g.shape else g

    def averaged(self: Any, name: str, w: Any, g: Any) -> Any:
        return self.numbers.constant(0.5) * (w + Pass.updated(self, name, w, g))

    def cached_loss(self: Any, a: Any, t: Any) -> Any:
        return self.memory.setdefault("loss", Pass.loss(self, a, t))

    def scaled(self: Any, a: Any, t: Any) -> Any:
        return self.numbers.constant(1024.0) * Pass.residual(self, a, t)

    def last_batch(self: Any, layer: int, dz: Any, before: Any) -> Any:
        old = self.memory.get(("input", layer))
        self.memory["input", layer] = before
        fits = old is not None and old.shape == before.shape and len(before) > 1
        return Pass.weight_gradient(self, layer, dz, np.concatenate([before[:-1], old[-1:]]) if fits else before)

    table: dict[str, dict[str, Callable[..., Any]]] = {
        "gradients accumulated over calls": {"gradient": accumulated},
        "activations of the call before": {"saved": stale},
        "weights replaced before all gradients are known": {"after_layer": update_first},
        "first layer updated twice": {"updated": update_next},
        "activations overwritten by slopes": {"local": overwritten},
        "one buffer for gradients of one shape": {"gradient": shared_buffer},
        "momentum of 7/8 left on": {"step": momentum},
        "weights of the call before updated": {"updated": old_weights},
        "∂E/∂b of the call before": {"gradient": old_bias},
        "averaged weights handed out": {"updated": averaged},
        "loss of the first call": {"loss": cached_loss},
        "loss scale of 1024 not undone": {"residual": scaled},
        "gradient handed out after its scaling by η": {"gradient": lambda self, name, g: self.rate * g},
        "last row of the batch before": {"weight_gradient": last_batch},
    }
    return [
        *(Fault(name, "state", changes) for name, changes in table.items()),
        Fault("weights changed in place", "state", {}, in_place=True),
    ]


def _precision() -> list[Fault]:
    """Right formulas in a worse arithmetic than the dtype's."""

    def narrow(self: Any, x: Any, how: str = "nearest") -> Any:
        return self.numbers.rounded(x, NARROWER[self.numbers.dtype], how, self.random)

    def accumulator(self: Any, layer: int, x: Any, y: Any) -> Any:
        total = None
        for i in range(x.shape[1]):
            term = x[:, i : i + 1] * y[i : i + 1]
            total = narrow(self, term if total is None else total + term)
        return total

    def fast_exp(self: Any, x: Any) -> Any:
        return self.numbers.times(np.exp(x), 1 + 2.0**-10)

    def fast_sigmoid(self: Any, z: Any) -> Any:
        return self.numbers.times(Pass.sigmoid(self, z), 1 - 2.0**-10)

    def flushed(self: Any, name: str, g: Any) -> Any:
        return _where(abs(g) < 2.0**-10, 0 * g, g)

    def saturated(self: Any, z: Any, a: Any) -> Any:
        return _where(abs(z) > 4, 0 * a, Pass.sigmoid_slope(self, z, a))

    def floor(self: Any, z: Any, a: Any) -> Any:
        slope = Pass.sigmoid_slope(self, z, a)
        return _where(slope < 2.0**-8, self.numbers.constant(2.0**-8) + 0 * a, slope)

    def hard(self: Any, z: Any) -> Any:
        straight = self.numbers.times(z, 0.25) + self.numbers.constant(0.5)
        one = 1 + 0 * z
        return _where(straight > 1, one, _where(straight < 0, 0 * z, straight))

    def pade(self: Any, z: Any) -> Any:
        z2 = z * z
        return z * (27 + z2) / (27 + 9 * z2)

    def quantised(self: Any, name: str, g: Any) -> Any:
        values = self.numbers.values(g)
        most = float(np.max(np.abs(values), initial=0.0))
        return self.numbers.array(np.rint(values / most * 127) / 127 * most) if 0 < most < np.inf else g

    def reciprocal(self: Any, z: Any) -> Any:
        return self.numbers.rounded(Pass.sigmoid(self, z), min(12, NARROWER[self.numbers.dtype]))

    def one_more(self: Any, layer: int, z: Any) -> Any:
        bits = FORMATS[self.numbers.dtype].precision
        return self.numbers.rounded(Pass.activation(self, layer, z), bits - 1, "down")

    def product_of(round_operand: Callable[[Any, Any], Any]) -> Callable[..., Any]:
        return lambda self, n, x, y: Pass.matmul(self, n, round_operand(self, x), round_operand(self, y))

    table: dict[str, dict[str, Callable[..., Any]]] = {
        "activations kept in a narrower format": {"stored": lambda self, layer, a: narrow(self, a)},
        "products of operands in a narrower format": {"matmul": product_of(narrow)},
        "products in bfloat16": {"matmul": product_of(lambda self, x: self.numbers.rounded(x, 8))},
        "products of truncated operands, like TF32": {
            "matmul": product_of(lambda self, x: self.numbers.rounded(x, 11, "down"))
        },
        "products of operands truncated to a narrower format": {
            "matmul": product_of(lambda s, x: narrow(s, x, "down"))
        },
        "sums in a narrower format": {"matmul": accumulator},
        "gradients rounded stochastically to a narrower format": {
            "gradient": lambda self, name, g: narrow(self, g, "stochastic")
        },
        "gradients rounded stochastically to the format": {
            "gradient": lambda self, name, g: self.numbers.rounded(
                g * self.numbers.constant(1.0), FORMATS[self.numbers.dtype].precision - 1, "stochastic", self.random
            )
        },
        "activations truncated by a bit": {"activation": one_more},
        "loss in a narrower format": {"loss": lambda self, a, t: narrow(self, Pass.loss(self, a, t))},
        "weights updated in a narrower format": {
            "updated": lambda self, name, w, g: narrow(self, Pass.updated(self, name, w, g))
        },
        "exp with an error of 2^-10": {"exp": fast_exp},
        "σ with an error of 2^-10": {"sigmoid": fast_sigmoid},
        "σ to 12 bits or fewer": {"sigmoid": reciprocal},
        "σ by straight lines": {"sigmoid": hard},
        "tanh by a Padé approximation": {"tanh": pade},
        "gradients below 2^-10 flushed": {"gradient": flushed},
        "σ' 0 beyond |z| = 4": _slope_by("sigmoid", saturated),
        "σ' at least 2^-8": _slope_by("sigmoid", floor),
        "gradients in 8 bits of the largest": {"gradient": quantised},
    }
    return [Fault(name, "precision", changes) for name, changes in table.items()]


def _sometimes() -> list[Fault]:
    """Wrong for some components, sizes, values or calls only."""

    def last_component(factor: Callable[[Any], float]) -> Callable[..., Any]:
        def gradient(self: Any, name: str, g: Any) -> Any:
            if name != "W1":
                return g
            g = g.copy()
            g[-1, -1] = self.numbers.times(g[-1:, -1:], factor(self))[0, 0]
            return g

        return gradient

    def negative(self: Any, layer: int, da: Any, z: Any, a: Any) -> Any:
        dz = Pass.local(self, layer, da, z, a)
        return _where(z < 0, dz + self.numbers.constant(2.0**-4) * dz, dz)

    def near_one(self: Any, z: Any, a: Any) -> Any:
        return _where(a > 0.9375, 0 * a, Pass.sigmoid_slope(self, z, a))

    def without_last_row(self: Any, layer: int, dz: Any, before: Any) -> Any:
        return (
            Pass.weight_gradient(self, layer, dz[:-1], before[:-1])
            if len(dz) > 1
            else Pass.weight_gradient(self, layer, dz, before)
        )

    def every_other_row(self: Any, layer: int, dz: Any, before: Any) -> Any:
        return Pass.weight_gradient(self, layer, dz[::2], before[::2])

    def every_other_slope(self: Any, a: Any, t: Any) -> Any:
        slope = Pass.loss_slope(self, a, t)
        slope[1::2] = 0 * slope[1::2]
        return slope

    def last_row_twice(self: Any, layer: int, dz: Any) -> Any:
        return Pass.bias_gradient(self, layer, np.concatenate([dz, dz[-1:]]) if len(dz) % 2 else dz)

    def no_tail(self: Any, layer: int, x: Any, y: Any) -> Any:
        whole = x.shape[1] // 8 * 8
        return Pass.matmul(self, layer, x[:, : whole or None], y[: whole or None])

    def no_tail_columns(self: Any, layer: int, dz: Any, w: Any) -> Any:
        da = Pass.input_gradient(self, layer, dz, w)
        whole = da.shape[1] // 4 * 4
        return np.concatenate([da[:, :whole], 0 * da[:, whole:]], axis=1) if whole else da

    def fiftieth(self: Any, a: Any, t: Any) -> Any:
        return t - a if self.calls % 50 == 0 else a - t

    def after_first(self: Any, a: Any, t: Any) -> Any:
        return t - a if "kept" in self.memory else a - t

    def zeros(self: Any, layer: int, dz: Any, before: Any) -> Any:
        return Pass.weight_gradient(self, layer, dz, _where(before == 0, 1 + 0 * before, before))

    def largest(self: Any, name: str, g: Any) -> Any:
        values = np.abs(self.numbers.values(g))
        g, at = g.copy(), np.unravel_index(int(np.argmax(values)), g.shape)
        g[at] = (self.numbers.constant(0.5) * g)[at]
        return g

    def noisy(self: Any, name: str, g: Any) -> Any:
        return self.numbers.times(g, 1 + 64 * self.numbers.u * self.random.uniform(-1, 1))

    def middle_layer(self: Any, layer: int, da: Any, z: Any, a: Any) -> Any:
        dz = Pass.local(self, layer, da, z, a)
        return dz + self.numbers.constant(2.0**-6) * dz if 1 < layer < self.last else dz

    def swapped(self: Any, name: str, g: Any) -> Any:
        if name != "W1" or g.shape[1] < 2:
            return g
        g = g.copy()
        g[0, :2] = g[0, 1::-1]
        return g

    table: dict[str, dict[str, Callable[..., Any]]] = {
        "last component of ∂E/∂W1 doubled": {"gradient": last_component(lambda self: 2.0)},
        "last component of ∂E/∂W1 off by 1/64": {"gradient": last_component(lambda self: 1 + 2.0**-6)},
        "last component of ∂E/∂W1 off by 64 u": {"gradient": last_component(lambda self: 1 + 64 * self.numbers.u)},
        "two components of ∂E/∂W1 swapped": {"gradient": swapped},
        "largest component of each gradient halved": {"gradient": largest},
        "∂E/∂z off by 1/16 where z < 0": {"local": negative},
        "∂E/∂z off by 1/64 in a middle layer": {"local": middle_layer},
        "σ' 0 where a > 15/16": _slope_by("sigmoid", near_one),
        "last row of a batch left out of ∂E/∂W": {"weight_gradient": without_last_row},
        "every other row left out of ∂E/∂W": {"weight_gradient": every_other_row},
        "∂E/∂a of every other row 0": {"loss_slope": every_other_slope},
        "last row of an odd batch twice in ∂E/∂b": {"bias_gradient": last_row_twice},
        "sums cut to a multiple of 8": {"matmul": no_tail},
        "∂E/∂a cut to a multiple of 4": {"input_gradient": no_tail_columns},
        "inputs of 0 taken for 1 in ∂E/∂W": {"weight_gradient": zeros},
        "sign of ∂E/∂a in one call of fifty": {"residual": fiftieth},
        "sign of ∂E/∂a in every call but the first": {"residual": after_first},
        "gradients with noise of 64 u": {"gradient": noisy},
    }
    return [Fault(name, "sometimes", changes) for name, changes in table.items()]


def _relative() -> list[Fault]:
    """Every slope off by the relative error 2^k·u."""

    def off(k: int) -> Callable[..., Any]:
        def local(self: Any, layer: int, da: Any, z: Any, a: Any) -> Any:
            return da * self.numbers.times(self.slope(layer, z, a), 1 + 2.0**k * self.numbers.u)

        return local

    return [Fault(f"slopes off by 2^{k} u", "relative", {"local": off(k)}) for k in range(21)]


def _labels() -> list[Fault]:
    """Wrong targets, in the loss and in its gradient alike."""

    def eight_bits(self: Any, t: Any) -> Any:
        """The index of the class modulo 256."""
        index = np.argmax(self.numbers.values(t), axis=1) % 256
        return self.numbers.array(np.eye(t.shape[1])[index])

    def smoothed(self: Any, t: Any) -> Any:
        return self.numbers.times(t, 1 - 1e-3) + self.numbers.constant(1e-3 / t.shape[1])

    return [
        Fault("class index in eight bits", "mathematics", {"labels": eight_bits}, classes=True),
        Fault("label smoothing of 1e-3", "mathematics", {"labels": smoothed}),
        Fault("label smoothing of 1e-3, of classes", "mathematics", {"labels": smoothed}, classes=True),
    ]


def _plain() -> list[Fault]:
    """A trace that is right beside an answer that is not."""
    doubled = next(dict(f.changes) for f in _sometimes() if f.name == "last component of ∂E/∂W1 doubled")
    table: dict[str, dict[str, Callable[..., Any]]] = {
        "gradient 0 beside a right trace": {"gradient": lambda self, name, g: 0 * g},
        "update uphill beside a right trace": {"updated": lambda self, name, w, g: w + self.step(name, g, w)},
        "no update beside a right trace": {"updated": lambda self, name, w, g: w},
        "sign of the gradient beside a right trace": {"gradient": lambda self, name, g: -g},
        "last component of ∂E/∂W1 doubled beside a right trace": doubled,
    }
    return [Fault(name, "state", changes, plain=True) for name, changes in table.items()]


FAULTS: tuple[Fault, ...] = (
    *_mathematics(), *_labels(), *_state(), *_plain(), *_precision(), *_sometimes(), *_relative(),
)  # fmt: skip


# What they are planted in ---------------------------------------------------------------------------------------------

#: The document's network as an instance of the matrix form, and one with biases, a batch, and every activation of
#: `Pass`; a square layer, so that a transposed matrix fits; widths that are no multiple of 8.
DOCUMENT = Architecture((2, 2, 2), ("sigmoid", "sigmoid"), (False, False), "half_squared_error", "sum", 1)
LAYERED = Architecture(
    (9, 7, 7, 7, 3), ("relu", "tanh", "sigmoid", "sigmoid"), (True, True, True, True), "half_squared_error", "mean", 7
)  # fmt: skip


#: One of more classes than eight bits can number.
CLASSES = Architecture((3, 260), ("identity",), (False,), "softmax_cross_entropy", "mean", 4)


def planted_in(fault: Fault) -> tuple[Architecture, ...]:
    """The networks that a fault is planted in."""
    if fault is CORRECT:
        return (DOCUMENT, LAYERED, CLASSES)
    return (CLASSES,) if fault.classes else (DOCUMENT, LAYERED)


def drawn(architecture: Architecture, scale: float, index: int, seed: int = 0) -> Case:
    """Weights normal with deviation `scale`·√(2/in), inputs in ±1 and one in eight of them 0, targets in [0, 1]
    or class indices."""
    draw = Random(f"gradconform faults {architecture} scale {scale} draw {index} seed {seed}")

    def numbers(shape: tuple[int, ...], one: Callable[[], float]) -> Any:
        return np.array([round(one(), 4) for _ in product(*map(range, shape))]).reshape(shape)

    layers = []
    for i, o, name, biased in zip(
        architecture.sizes, architecture.sizes[1:], architecture.activations, architecture.biased, strict=False
    ):
        spread = scale * (2 / i) ** 0.5
        weight = numbers((o, i), lambda s=spread: draw.gauss(0, s))
        layers.append((weight, numbers((o,), lambda: draw.gauss(0, scale / 4)) if biased else None, name))
    inputs = numbers(architecture.shapes["X"], lambda: draw.uniform(-1, 1) if draw.random() < 0.875 else 0.0)
    classes = architecture.loss == "softmax_cross_entropy"
    # The first row's class is one that eight bits do not hold.
    targets = (
        [draw.randrange(256 if row == 0 else 0, architecture.sizes[-1]) for row in range(architecture.batch)]
        if classes
        else numbers(architecture.shapes["T"], lambda: draw.uniform(0, 1))
    )
    return network_case(
        f"faults/{len(layers)}-layers/scale-{scale:g}/{index:03}",
        layers=layers,
        loss=architecture.loss,
        reduction=architecture.reduction,
        inputs=inputs,
        targets=targets,
        rate=round(draw.uniform(0.01, 1), 4),
    )
