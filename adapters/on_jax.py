"""JAX: reverse mode, op by op and compiled, and forward mode; updates by `optax.sgd`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from importlib import import_module, metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gradconform.adapters.contract import Answer, Point, Route, Trace, Unsupported

Values = Mapping[str, Any]
#: Read once: a worker is asked for them with every answer.
VERSIONS = {name: metadata.version(name) for name in ("jax", "jaxlib", "optax")}


def reduced(terms: Any, reduction: str) -> Any:
    return jnp.sum(terms) if reduction == "sum" else jnp.mean(terms)


class Operations:
    """The named operations, by JAX's native ones; the plainest losses written out as users of plain JAX do."""

    sigmoid = staticmethod(jax.nn.sigmoid)
    tanh = staticmethod(jnp.tanh)
    relu = staticmethod(jax.nn.relu)
    leaky_relu = staticmethod(jax.nn.leaky_relu)
    elu = staticmethod(jax.nn.elu)
    selu = staticmethod(jax.nn.selu)
    softplus = staticmethod(jax.nn.softplus)
    silu = staticmethod(jax.nn.silu)
    mish = staticmethod(jax.nn.mish)
    hard_tanh = staticmethod(jax.nn.hard_tanh)
    softmax = staticmethod(jax.nn.softmax)

    @staticmethod
    def linear(x: Any, w: Any, b: Any) -> Any:
        return x @ w.T if b is None else x @ w.T + b

    @staticmethod
    def l2_penalty(weights: Sequence[Any], l2: Any) -> Any:
        return 0.5 * l2 * sum(jnp.sum(w**2) for w in weights)

    @staticmethod
    def gelu(z: Any) -> Any:
        return jax.nn.gelu(z, approximate=False)

    @staticmethod
    def gelu_tanh(z: Any) -> Any:
        return jax.nn.gelu(z, approximate=True)

    @staticmethod
    def half_squared_error(a: Any, t: Any, reduction: str) -> Any:
        return 0.5 * reduced((t - a) ** 2, reduction)

    @staticmethod
    def squared_error(a: Any, t: Any, reduction: str) -> Any:
        return reduced((t - a) ** 2, reduction)

    @staticmethod
    def l1(a: Any, t: Any, reduction: str) -> Any:
        return reduced(jnp.abs(t - a), reduction)

    @staticmethod
    def huber(a: Any, t: Any, reduction: str) -> Any:
        return reduced(optax.huber_loss(a, t), reduction)

    @staticmethod
    def binary_cross_entropy_with_logits(a: Any, t: Any, reduction: str) -> Any:
        return reduced(optax.sigmoid_binary_cross_entropy(a, t), reduction)

    @staticmethod
    def softmax_cross_entropy(a: Any, t: Any, reduction: str) -> Any:
        return reduced(optax.softmax_cross_entropy(a, t), reduction)


class OptaxOperations(Operations):
    """The same, every loss that optax has by optax."""

    @staticmethod
    def half_squared_error(a: Any, t: Any, reduction: str) -> Any:
        return reduced(optax.l2_loss(a, t), reduction)

    @staticmethod
    def squared_error(a: Any, t: Any, reduction: str) -> Any:
        return reduced(optax.squared_error(a, t), reduction)


class JaxAdapter:
    name = "jax"
    routes = (
        Route("eager", "jax.value_and_grad, optax.sgd"),
        # XLA's simplification may keep fused intermediates in higher precision than it reports them
        # (xla.proto, DebugOptions.xla_allow_excess_precision, true by default).
        Route("jit", "jax.jit of jax.value_and_grad and the update", operands="half-ulp"),
        Route("optax", "a jitted training step: optax loss, optax.sgd; layered networks", operands="half-ulp"),
        Route("forward", "jax.jit of jax.jacfwd (forward mode) and the update"),
    )

    def versions(self) -> dict[str, str]:
        return dict(VERSIONS)

    def unavailable(self, device: str) -> str | None:
        if device == "cpu":
            return None
        try:
            jax.devices(device)
        except RuntimeError as error:
            return f"jax has no {device} device: {str(error).splitlines()[0]}"
        return None

    def answer(self, point: Point, route: str) -> Answer:
        if route == "forward" and point.architecture is not None:
            raise Unsupported(
                "derivation: forward mode's own order of operations is derived for the cases document/* only"
            )
        if route == "optax" and point.architecture is None:
            raise Unsupported("derivation: optax has no loss for two outputs one by one, as in the cases document/*")
        with pinned(point.device):
            # Put into the dtype by NumPy: they are numbers of it already, and XLA would compile a conversion a shape.
            dtype = jnp.dtype(point.dtype)
            values = {n: jax.device_put(np.asarray(v, dtype)) for n, v in point.values.items()}
            weights = {n: values.pop(n) for n in point.parameters}
            rate = jax.device_put(np.asarray(point.rate, dtype))
            zeros = {n: jax.device_put(np.zeros(point.shapes[n], dtype)) for n in point.intermediates}
            steps = training_steps(_Recipe(point))
            loss, gradient, updated = steps[route](weights, values, rate)
            trace = None
            if route != "forward":
                traced = steps[f"{route} traced"](weights, values, rate, zeros)
                computed, adjoints, *rest = (numbers(part) for part in traced)
                trace = Trace({n: v for n, v in computed.items() if n not in point.values}, adjoints, *rest)
            return Answer(float(loss), numbers(gradient), numbers(updated), trace)


adapter = JaxAdapter()


@contextmanager
def pinned(device: str) -> Iterator[None]:
    """64-bit types, full precision in matrix products and the device, for this thread and this block only."""
    # jax.enable_x64 is the newer name, jax.experimental.enable_x64 the older.
    home: Any = jax if hasattr(jax, "enable_x64") else import_module("jax.experimental")
    with ExitStack() as stack:
        stack.enter_context(home.enable_x64(True))
        # The name of the highest precision that every version knows; "highest" came after 0.4.30.
        stack.enter_context(jax.default_matmul_precision("float32"))
        stack.enter_context(jax.default_device(jax.devices(device)[0]))
        yield


def numbers(values: Values) -> dict[str, Any]:
    """Floats for numbers, NumPy arrays for the rest (bfloat16 as ml_dtypes has it)."""
    return {n: np.asarray(v) if np.ndim(v) else float(np.asarray(v, dtype=np.float64)) for n, v in values.items()}


class _Recipe:
    """What the compiled steps depend on: the point's structure and the operations, not its values; their cache's
    key."""

    def __init__(self, point: Point) -> None:
        self.point = point
        # The operations themselves: a rule of one's own may have been put in the place of one since.
        plain, optaxs = (
            tuple(getattr(ops, n, None) for n in point.operations) for ops in (Operations, OptaxOperations)
        )
        #: Whether the two are one program: most losses are optax's in both.
        self.alike = plain == optaxs
        self.key = (point.derivation, point.loss, point.parameters, point.intermediates, point.device, plain, optaxs)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Recipe) and self.key == other.key


@cache
def training_steps(recipe: _Recipe) -> dict[str, Any]:
    """The training steps of every route, plain and traced, compiled once for a derivation."""
    point = recipe.point

    def loss(weights: Values, fixed: Values, ops: Any = Operations) -> Any:
        return point.forward(ops, {**fixed, **weights})[point.loss]

    def tapped(weights: Values, zeros: Values, fixed: Values, ops: Any = Operations) -> Any:
        """The loss with a zero added to each intermediate: the derivative by that zero is the adjoint."""
        computed = point.forward(ops, {**fixed, **weights}, tap=lambda n, v: v + zeros[n] if n in zeros else v)
        return computed[point.loss], computed

    def updated(weights: Values, gradient: Values, fixed: Values, rate: Any) -> Any:
        optimizer = optax.sgd(rate)
        if "weight_decay" in fixed:
            # Decoupled or not: optax.adamw, too, adds λw before the learning rate, and without momentum that is one.
            of_weights = {n: n.startswith("W") for n in weights}
            decay = optax.add_decayed_weights(fixed["weight_decay"], mask=of_weights)
            optimizer = optax.chain(decay, optimizer)
        updates, _ = optimizer.update(gradient, optimizer.init(weights), weights)
        return optax.apply_updates(weights, updates)

    def reverse(weights: Values, fixed: Values, rate: Any, ops: Any = Operations) -> Any:
        value, gradient = jax.value_and_grad(partial(loss, ops=ops))(weights, fixed)
        return value, gradient, updated(weights, gradient, fixed, rate)

    def forward(weights: Values, fixed: Values, rate: Any) -> Any:
        gradient = jax.jacfwd(loss)(weights, fixed)
        return loss(weights, fixed), gradient, updated(weights, gradient, fixed, rate)

    def traced(weights: Values, fixed: Values, rate: Any, zeros: Values, ops: Any = Operations) -> Any:
        both = jax.value_and_grad(partial(tapped, ops=ops), argnums=(0, 1), has_aux=True)
        (_, computed), (gradient, adjoints) = both(weights, zeros, fixed)
        return computed, adjoints, gradient, updated(weights, gradient, fixed, rate)

    steps = {
        "eager": reverse,
        "eager traced": traced,
        "jit": jax.jit(reverse),
        "jit traced": jax.jit(traced),
        "forward": jax.jit(forward),
    }
    if recipe.alike:
        return {**steps, "optax": steps["jit"], "optax traced": steps["jit traced"]}
    return {
        **steps,
        "optax": jax.jit(partial(reverse, ops=OptaxOperations)),
        "optax traced": jax.jit(partial(traced, ops=OptaxOperations)),
    }
