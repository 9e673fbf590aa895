"""Correct programs that are not ours, in frameworks: other ways to the same gradient, written as users write them.

Each keeps the framework's own name, so that what its primitives are known for is known here too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any

import numpy as np

from gradconform.adapters.contract import FOUR_DTYPES, Answer, Point, Route, Trace, Unsupported
from gradconform.reference.cases import Tap

Values = Mapping[str, Any]
#: traced(point) → the loss and every quantity's value, adjoint, gradient and updated weight.
Run = Callable[[Point], Answer]


@dataclass(frozen=True)
class ByFramework:
    """One way of a framework, as an adapter."""

    name: str
    label: str
    run: Run
    routes: tuple[Route, ...]

    def versions(self) -> dict[str, str]:
        return {self.name: metadata.version(self.name)}

    def unavailable(self, device: str) -> str | None:
        return None if device == "cpu" else "these programs are run on the CPU"

    def answer(self, point: Point, route: str) -> Answer:
        return self.run(point)


@dataclass(frozen=True)
class Way:
    """A framework's program: `made()` imports the framework. `slow` ones run in the benchmark only.

    `convention`, where given, is what the program does that has to be asked for.
    """

    framework: str
    label: str
    made: Callable[[], Run]
    dtypes: tuple[str, ...] = FOUR_DTYPES
    route: str = "eager"
    half_ulp: bool = False
    slow: bool = False
    convention: str = ""

    def missing(self) -> str | None:
        """The package that is not installed, or None."""
        return None if find_spec(self.framework) else self.framework

    def adapter(self) -> ByFramework:
        route = Route(self.route, self.label, dtypes=self.dtypes, operands="half-ulp" if self.half_ulp else "exact")
        return ByFramework(self.framework, self.label, self.made(), (route,))


# PyTorch --------------------------------------------------------------------------------------------------------------


def _torch_run(
    operations: Callable[[], Any] | None = None, scale: float = 1.0, rows: bool = False, checkpointed: bool = False
) -> Run:
    """A training step by `backward()`: other operations, the loss times `scale`, row after row, or recomputed."""
    import torch

    from gradconform.adapters import on_torch

    ops = operations() if operations else on_torch.Operations

    def loss_of(values: Values, point: Point, tap: Tap | None) -> dict[str, Any]:
        return point.forward(ops, values, tap)

    def step(point: Point, tapped: bool) -> tuple[float, Any, Any, Any]:
        values = on_torch.tensors(point)
        weights = {n: values[n].requires_grad_() for n in point.parameters}
        optimizer = torch.optim.SGD(list(weights.values()), lr=point.rate)

        def retain(name: str, value: Any) -> Any:
            if name in point.intermediates:
                value.retain_grad()
            return value

        if checkpointed and not tapped:
            from torch.utils.checkpoint import checkpoint

            computed = {point.loss: checkpoint(lambda *_: loss_of(values, point, None)[point.loss],
                                               *weights.values(), use_reentrant=False)}  # fmt: skip
        else:
            computed = loss_of(values, point, retain if tapped else None)
        if rows and not tapped:
            _row_by_row(ops, point, values)
        else:
            (computed[point.loss] * scale if scale != 1 else computed[point.loss]).backward()
        for w in weights.values():
            w.grad = w.grad / scale if scale != 1 else w.grad
        gradient = on_torch.numbers({n: on_torch.present(w.grad) for n, w in weights.items()})
        optimizer.step()
        return on_torch.number(computed[point.loss]), gradient, on_torch.numbers(weights), computed

    def run(point: Point) -> Answer:
        with on_torch.pinned_precision():
            loss, gradient, updated, _ = step(point, tapped=False)
            _, traced_gradient, traced_updated, computed = step(point, tapped=True)
            adjoints = {n: on_torch.present(computed[n].grad) / scale for n in point.intermediates}
        trace = Trace(
            on_torch.numbers({n: v for n, v in computed.items() if n not in point.values}),
            on_torch.numbers(adjoints), traced_gradient, traced_updated,
        )  # fmt: skip
        return Answer(loss, gradient, updated, trace)

    return run


def _row_by_row(ops: Any, point: Point, values: Values) -> None:
    """`backward()` of each row's share of the loss, one after the other: PyTorch adds them up in `.grad`."""
    shape = point.architecture
    if shape is None:
        raise Unsupported("derivation: the document's network has one row")
    for row in range(shape.batch):
        computed = point.forward(ops, {**values, "X": values["X"][row : row + 1], "T": values["T"][row : row + 1]})
        share = shape.batch if shape.reduction == "mean" else 1
        (computed[point.loss] / share).backward()


def _torch_composed() -> Any:
    """Every operation by its formula, differentiated by autograd."""
    import torch

    from gradconform.adapters import on_torch

    def reduced(terms: Any, reduction: str) -> Any:
        return terms.sum() if reduction == "sum" else terms.mean()

    def log_softmax(z: Any) -> Any:
        shifted = z - z.max(dim=1, keepdim=True).values.detach()
        return shifted - torch.log(torch.exp(shifted).sum(dim=1, keepdim=True))

    class Composed(on_torch.Operations):
        linear = staticmethod(lambda x, w, b: x @ w.T if b is None else x @ w.T + b)
        sigmoid = staticmethod(lambda z: 1 / (1 + torch.exp(-z)))
        softplus = staticmethod(lambda z: torch.log1p(torch.exp(z)))
        relu = staticmethod(lambda z: torch.where(z > 0, z, 0 * z))
        silu = staticmethod(lambda z: z * torch.sigmoid(z))
        mish = staticmethod(lambda z: z * torch.tanh(torch.nn.functional.softplus(z)))
        half_squared_error = staticmethod(lambda a, t, r: reduced(0.5 * (t - a) ** 2, r))
        squared_error = staticmethod(lambda a, t, r: reduced((t - a) ** 2, r))
        l1 = staticmethod(lambda a, t, r: reduced((t - a).abs(), r))

        @staticmethod
        def softmax_cross_entropy(a: Any, t: Any, reduction: str) -> Any:
            total = -(t * log_softmax(a)).sum()
            return total if reduction == "sum" else total / len(a)

    return Composed


def _torch_functions() -> Any:
    """Hand-written `autograd.Function`s: slopes from z, nothing of the output kept."""
    import torch

    from gradconform.adapters import on_torch

    def function(value: Callable[[Any], Any], slope: Callable[[Any], Any]) -> Callable[[Any], Any]:
        class Written(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, z: Any) -> Any:
                ctx.save_for_backward(z)
                return value(z)

            @staticmethod
            def backward(ctx: Any, *gs: Any) -> Any:
                return gs[0] * slope(*ctx.saved_tensors)

        return Written.apply

    class Functions(on_torch.Operations):
        sigmoid = staticmethod(function(torch.sigmoid, lambda z: torch.sigmoid(z) * torch.sigmoid(-z)))
        tanh = staticmethod(function(torch.tanh, lambda z: 1 / torch.cosh(z) ** 2))
        relu = staticmethod(function(torch.relu, lambda z: (z > 0).to(z.dtype)))
        softplus = staticmethod(function(torch.nn.functional.softplus, torch.sigmoid))
        silu = staticmethod(function(torch.nn.functional.silu, _silu_slope))

    return Functions


def _silu_slope(z: Any) -> Any:
    import torch

    s = torch.sigmoid(z)
    return s + z * s * torch.sigmoid(-z)


def _torch_per_sample() -> Run:
    """`torch.func.vmap` of each row's gradient, added up; no trace."""
    import torch

    from gradconform.adapters import on_torch

    def run(point: Point) -> Answer:
        shape = point.architecture
        if shape is None:
            raise Unsupported("derivation: the document's network has one row")
        values = on_torch.tensors(point)
        weights = {n: values[n] for n in point.parameters}
        share = shape.batch if shape.reduction == "mean" else 1

        def loss(weights: Values, x: Any, t: Any) -> Any:
            given = {**weights, "X": x[None], "T": t[None]}
            return point.forward(on_torch.Operations, given)[point.loss] / share

        with on_torch.pinned_precision():
            per_row = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(weights, values["X"], values["T"])
            found = {n: g.sum(dim=0) for n, g in per_row.items()}
            value = point.forward(on_torch.Operations, values)[point.loss]
        updated = {n: w - torch.tensor(point.rate, dtype=w.dtype) * found[n] for n, w in weights.items()}
        return Answer(on_torch.number(value), on_torch.numbers(found), on_torch.numbers(updated))

    return run


def _torch_route(route: str) -> Run:
    from gradconform.adapters import on_torch

    return partial(_without_trace, on_torch.adapter, route)


def _without_trace(adapter: Any, route: str, point: Point) -> Answer:
    found: Answer = adapter.answer(point, route)
    return found


# JAX ------------------------------------------------------------------------------------------------------------------


def _jax_run(operations: Callable[[], Any] | None = None, wrapped: Callable[..., Any] | None = None) -> Run:
    """`value_and_grad` with other operations, or of a loss that is `wrapped`; adjoints by zeros that are added."""
    import jax
    import jax.numpy as jnp

    from gradconform.adapters import on_jax

    ops = operations() if operations else on_jax.Operations

    def run(point: Point) -> Answer:
        with on_jax.pinned(point.device):
            given = {n: jnp.asarray(v, dtype=point.dtype) for n, v in point.values.items()}
            weights = {n: given.pop(n) for n in point.parameters}
            zeros = {n: jnp.zeros(point.shapes[n], dtype=point.dtype) for n in point.intermediates}

            def tapped(weights: Values, zeros: Values) -> Any:
                computed = point.forward(ops, {**given, **weights}, tap=lambda n, v: v + zeros[n] if n in zeros else v)
                return computed[point.loss], computed

            loss = wrapped(tapped) if wrapped else tapped
            both = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
            (_, computed), (gradient, adjoints) = both(weights, zeros)
            return _jax_answer(point, weights, computed, adjoints, gradient)

    return run


def _jax_answer(point: Point, weights: Values, computed: Values, adjoints: Values, gradient: Values) -> Answer:
    import jax.numpy as jnp

    from gradconform.adapters import on_jax

    rate = jnp.asarray(point.rate, dtype=point.dtype)
    updated = on_jax.numbers({n: w - rate * gradient[n] for n, w in weights.items()})
    values = on_jax.numbers({n: v for n, v in computed.items() if n not in point.values})
    found = on_jax.numbers(gradient)
    return Answer(values[point.loss], found, updated, Trace(values, on_jax.numbers(adjoints), found, updated))


def _jax_composed() -> Any:
    """Operations by their formulas."""
    import jax.numpy as jnp

    from gradconform.adapters import on_jax

    class Composed(on_jax.Operations):
        linear = staticmethod(lambda x, w, b: jnp.einsum("ni,oi->no", x, w) + (0 if b is None else b))
        sigmoid = staticmethod(lambda z: 1 / (1 + jnp.exp(-z)))
        relu = staticmethod(lambda z: jnp.where(z > 0, z, 0))
        silu = staticmethod(lambda z: z / (1 + jnp.exp(-z)))
        squared_error = staticmethod(lambda a, t, r: on_jax.reduced(jnp.square(a - t), r))

    return Composed


def _jax_functions() -> Any:
    """`custom_vjp` by hand."""
    import jax
    import jax.numpy as jnp

    from gradconform.adapters import on_jax

    def function(value: Callable[[Any], Any], slope: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @jax.custom_vjp
        def written(z: Any) -> Any:
            return value(z)

        written.defvjp(lambda z: (value(z), z), lambda z, g: (g * slope(z),))
        return written

    class Functions(on_jax.Operations):
        sigmoid = staticmethod(function(jax.nn.sigmoid, lambda z: jax.nn.sigmoid(z) * jax.nn.sigmoid(-z)))
        tanh = staticmethod(function(jnp.tanh, lambda z: 1 / jnp.cosh(z) ** 2))
        softplus = staticmethod(function(jax.nn.softplus, jax.nn.sigmoid))

    return Functions


def _jax_layer_by_layer() -> Run:
    """`jax.vjp` of each layer alone, chained by hand."""
    import jax
    import jax.numpy as jnp

    from gradconform.adapters import on_jax

    def run(point: Point) -> Answer:
        shape = point.architecture
        if shape is None:
            raise Unsupported("derivation: the document's network has no layers")
        ops = on_jax.Operations
        with on_jax.pinned(point.device):
            given = {n: jnp.asarray(v, dtype=point.dtype) for n, v in point.values.items()}
            computed, backs, a = dict(given), {}, given["X"]
            for layer, activation in enumerate(shape.activations, 1):
                named = [f"W{layer}", *([f"b{layer}"] if shape.biased[layer - 1] else [])]
                linear = partial(_linear, ops)
                z, back_linear = jax.vjp(linear, a, *[given[n] for n in named])
                own = (lambda x: x) if activation == "identity" else getattr(ops, activation)
                a, back = jax.vjp(own, z)
                computed |= {f"z{layer}": z, f"a{layer}": a}
                backs[layer] = named, back_linear, back
            value, back_loss = jax.vjp(lambda x: getattr(ops, shape.loss)(x, given["T"], shape.reduction), a)
            computed[point.loss] = value
            (g,) = back_loss(jnp.ones_like(value))
            adjoints, gradient = {}, {}
            for layer, (named, back_linear, back) in reversed(backs.items()):
                adjoints[f"a{layer}"] = g
                (adjoints[f"z{layer}"],) = back(g)
                g, *found = back_linear(adjoints[f"z{layer}"])
                gradient |= dict(zip(named, found, strict=True))
            return _jax_answer(point, {n: given[n] for n in point.parameters}, computed, adjoints, gradient)

    return run


def _linear(ops: Any, x: Any, w: Any, b: Any = None) -> Any:
    return ops.linear(x, w, b)


def _jax_scan() -> Run:
    """`lax.scan` over the layers after the first, which have one width and one activation; no trace."""
    import jax
    import jax.numpy as jnp

    from gradconform.adapters import on_jax

    def run(point: Point) -> Answer:
        shape = point.architecture
        if shape is None or shape.layers < 2 or len({*shape.sizes[1:]}) > 1 or len({*shape.activations}) > 1:
            raise Unsupported("derivation: a scan needs layers of one width and one activation")
        if any(shape.biased) or shape.activations[0] == "identity":
            raise Unsupported("derivation: this scan has no biases, and an activation")
        ops = on_jax.Operations
        activation = getattr(ops, shape.activations[0])
        with on_jax.pinned(point.device):
            given = {n: jnp.asarray(v, dtype=point.dtype) for n, v in point.values.items()}
            weights = {n: given[n] for n in point.parameters}

            def loss(weights: Values) -> Any:
                first = activation(ops.linear(given["X"], weights["W1"], None))
                stacked = jnp.stack([weights[f"W{layer}"] for layer in range(2, shape.layers + 1)])
                last, _ = jax.lax.scan(lambda a, w: (activation(ops.linear(a, w, None)), None), first, stacked)
                return getattr(ops, shape.loss)(last, given["T"], shape.reduction)

            value, gradient = jax.value_and_grad(loss)(weights)
            rate = jnp.asarray(point.rate, dtype=point.dtype)
            updated = on_jax.numbers({n: w - rate * gradient[n] for n, w in weights.items()})
            return Answer(float(value), on_jax.numbers(gradient), updated)

    return run


def _jax_per_sample() -> Run:
    """`jax.vmap` of each row's gradient, added up; no trace."""
    import jax
    import jax.numpy as jnp

    from gradconform.adapters import on_jax

    def run(point: Point) -> Answer:
        shape = point.architecture
        if shape is None:
            raise Unsupported("derivation: the document's network has one row")
        share = shape.batch if shape.reduction == "mean" else 1
        with on_jax.pinned(point.device):
            given = {n: jnp.asarray(v, dtype=point.dtype) for n, v in point.values.items()}
            weights = {n: given[n] for n in point.parameters}

            def loss(weights: Values, x: Any, t: Any) -> Any:
                return point.forward(on_jax.Operations, {**weights, "X": x[None], "T": t[None]})[point.loss] / share

            per_row = jax.vmap(jax.grad(loss), in_axes=(None, 0, 0))(weights, given["X"], given["T"])
            gradient = {n: g.sum(axis=0) for n, g in per_row.items()}
            value = point.forward(on_jax.Operations, given)[point.loss]
            rate = jnp.asarray(point.rate, dtype=point.dtype)
            updated = on_jax.numbers({n: w - rate * gradient[n] for n, w in weights.items()})
            return Answer(float(value), on_jax.numbers(gradient), updated)

    return run


def _checkpointed() -> Run:
    import jax

    return _jax_run(wrapped=jax.checkpoint)


# HIPS autograd --------------------------------------------------------------------------------------------------------


def _autograd() -> Run:
    """autograd.numpy, adjoints by zeros that are added."""
    ag: Any = import_module("autograd")
    anp: Any = import_module("autograd.numpy")

    erf: Any = import_module("autograd.scipy.special").erf

    def reduced(terms: Any, reduction: str) -> Any:
        return anp.sum(terms) if reduction == "sum" else anp.mean(terms)

    def softmax(z: Any) -> Any:
        e = anp.exp(z - anp.max(z, axis=1, keepdims=True))
        return e / anp.sum(e, axis=1, keepdims=True)

    class Operations:
        leaky_relu = staticmethod(lambda z: anp.where(z > 0, z, 0.01 * z))
        elu = staticmethod(lambda z: anp.where(z > 0, z, anp.expm1(z)))
        gelu = staticmethod(lambda z: 0.5 * z * (1 + erf(z * 0.5**0.5)))
        mish = staticmethod(lambda z: z * anp.tanh(anp.logaddexp(0, z)))
        hard_tanh = staticmethod(lambda z: anp.clip(z, -1, 1))
        l1 = staticmethod(lambda a, t, r: reduced(anp.abs(a - t), r))

        @staticmethod
        def binary_cross_entropy_with_logits(a: Any, t: Any, reduction: str) -> Any:
            return reduced(anp.logaddexp(0, a) - t * a, reduction)

        @staticmethod
        def softmax_cross_entropy(a: Any, t: Any, reduction: str) -> Any:
            total = -anp.sum(t * anp.log(softmax(a)))
            return total if reduction == "sum" else total / len(a)

        linear = staticmethod(lambda x, w, b: anp.dot(x, w.T) if b is None else anp.dot(x, w.T) + b)
        sigmoid = staticmethod(lambda z: 1 / (1 + anp.exp(-z)))
        tanh = staticmethod(anp.tanh)
        relu = staticmethod(lambda z: anp.maximum(z, 0))
        softplus = staticmethod(lambda z: anp.logaddexp(0, z))
        silu = staticmethod(lambda z: z / (1 + anp.exp(-z)))
        half_squared_error = staticmethod(lambda a, t, r: 0.5 * reduced((t - a) ** 2, r))
        squared_error = staticmethod(lambda a, t, r: reduced((t - a) ** 2, r))

    Operations.softmax = staticmethod(softmax)  # type: ignore[attr-defined]

    def run(point: Point) -> Answer:
        given = {n: np.asarray(v, dtype=point.dtype) for n, v in point.values.items()}
        weights = {n: given[n] for n in point.parameters}
        zeros = {n: np.zeros(point.shapes[n], dtype=point.dtype) for n in point.intermediates}
        computed: dict[str, Any] = {}

        def loss(both: tuple[Values, Values]) -> Any:
            weights, zeros = both
            found = point.forward(Operations, {**given, **weights}, lambda n, v: v + zeros[n] if n in zeros else v)
            computed.update({n: getattr(v, "_value", v) for n, v in found.items() if n not in given})
            return found[point.loss]

        gradient, adjoints = ag.grad(loss)((weights, zeros))
        rate = np.dtype(point.dtype).type(point.rate)
        updated = {n: w - rate * gradient[n] for n, w in weights.items()}
        parts = [_numbers(part) for part in (computed, adjoints, gradient, updated)]
        return Answer(parts[0][point.loss], parts[2], parts[3], Trace(*parts))

    return run


def _numbers(values: Values) -> dict[str, Any]:
    return {n: np.asarray(v) if np.ndim(v) else float(v) for n, v in values.items()}


ACCUMULATED = "accumulated in the dtype"

WAYS: tuple[Way, ...] = (
    Way("torch", "PyTorch, composed from primitives", lambda: _torch_run(_torch_composed)),
    Way("torch", "PyTorch, autograd.Function by hand", lambda: _torch_run(_torch_functions)),
    Way("torch", "PyTorch, loss times 2^6, gradients over it", lambda: _torch_run(scale=64.0)),
    Way("torch", "PyTorch, recomputed by checkpoint", lambda: _torch_run(checkpointed=True)),
    Way("torch", "PyTorch, backward() row by row", lambda: _torch_run(rows=True), convention=ACCUMULATED),
    Way("torch", "PyTorch, vmap over rows, summed", _torch_per_sample, route="func", convention=ACCUMULATED),
    Way("torch", "torch.compile", lambda: _torch_route("compile"), route="compile", half_ulp=True, slow=True),
    Way("jax", "JAX, composed from primitives", lambda: _jax_run(_jax_composed)),
    Way("jax", "JAX, custom_vjp by hand", lambda: _jax_run(_jax_functions)),
    Way("jax", "JAX, vjp of each layer by hand", _jax_layer_by_layer),
    Way("jax", "JAX, recomputed by checkpoint", _checkpointed, half_ulp=True),
    Way("jax", "JAX, scan over layers", _jax_scan),
    Way("jax", "JAX, vmap over rows, summed", _jax_per_sample, convention=ACCUMULATED),
    Way("autograd", "HIPS autograd", _autograd, dtypes=("float64",)),
    # Its derivatives of mean, maximum and where are float64 arrays, which it goes on with and converts at the end.
    Way("autograd", "HIPS autograd, float32", _autograd, dtypes=("float32",), half_ulp=True),
)
