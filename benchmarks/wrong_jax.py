"""Wrong gradients in JAX: the rules of `wrong_rules` as custom_vjp, and what is wrong in JAX's own ways."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import jax
import jax.numpy as jnp
from jax import lax, test_util
from wrong_algebra import ALGEBRA_RULES, algebra_of
from wrong_complex import COMPLEX_RULES
from wrong_rules import DTYPES, RULES, Rule, Shape, expression, names_of
from wrong_subjects import Subject, drawn

from gradconform.adapters.on_jax import pinned

FRAMEWORK = "jax"


def arrays(
    shapes: tuple[Shape, ...], numbers: str, dtype: str, seed: int = 0, complex: Sequence[bool] = ()
) -> list[Any]:
    of = {"float64": "complex128", "float32": "complex64"}
    with pinned("cpu"):
        found = (jnp.asarray(x) for x in drawn(shapes, numbers, seed, complex))
        return [x.astype(of[dtype] if jnp.iscomplexobj(x) else dtype) for x in found]


def custom_vjp(name: str, forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
    """A function with a rule of its own: `backward(g, *operands)` gives a gradient for each operand."""

    def call(*operands: Any) -> Any:
        return forward(*operands)

    def back(operands: Any, g: Any) -> Any:
        found = backward(g, *operands)
        return found if isinstance(found, tuple) else (found,)

    call.__name__ = call.__qualname__ = name
    own = jax.custom_vjp(call)
    own.defvjp(lambda *operands: (forward(*operands), operands), back)
    return own


def custom_jvp(name: str, forward: Callable[..., Any], slope: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Any) -> Any:
        return forward(x)

    call.__name__ = call.__qualname__ = name
    own = jax.custom_jvp(call)
    own.defjvp(lambda primals, tangents: (forward(*primals), slope(*primals) * tangents[0]))
    return own


NAMES = names_of(jnp, {
    "row": lambda values, x: jnp.array(values, x.dtype),
    "table": lambda values, x: jnp.array(values, x.dtype),
    "take": lambda x, index: x[jnp.array(index)],
    "added": lambda x, index, g: jnp.zeros_like(x).at[jnp.array(index)].add(g),
    "put": lambda x, index, g: jnp.zeros_like(x).at[jnp.array(index)].set(g),
    **algebra_of(jnp),
})  # fmt: skip


def ruled(rule: Rule, backward: str) -> Callable[..., Any]:
    """A rule as a custom_vjp, with this backward.

    Those of complex numbers are written by PyTorch's convention; JAX's adjoints are the conjugates of PyTorch's.
    """
    back = expression(backward, ("g", *rule.operands), NAMES, rule.name)
    if rule.complex:
        by_torch = back

        def back(g: Any, *operands: Any) -> Any:
            return jax.tree.map(jnp.conj, by_torch(jnp.conj(g), *operands))

    return custom_vjp(rule.name, expression(rule.forward, rule.operands, NAMES, rule.name), back)


def of_rule(rule: Rule) -> Subject:
    return Subject(rule.name, FRAMEWORK, rule.fault, ruled(rule, rule.wrong), ruled(rule, rule.right),
                   lambda dtype, seed: arrays(rule.shapes, rule.numbers, dtype, seed,
                                              [n in rule.complex for n in rule.operands]), rule.dtypes,
                   rule.name, f"{rule.right} → {rule.wrong}")  # fmt: skip


# What is no rule of that kind -----------------------------------------------------------------------------------------


def second(custom: Callable[..., Any]) -> Callable[..., Any]:
    return jax.grad(lambda x: jnp.sum(custom(x)))


def in_scan(custom: Callable[..., Any]) -> Callable[..., Any]:
    """A recurrence in which every step calls a custom function."""

    def step(h: Any, x: Any) -> tuple[Any, None]:
        return custom(0.5 * h + x), None

    return lambda x: lax.scan(step, x[0], x)[0]


def narrow(inside: Any) -> Callable[..., Any]:
    def backward(g: Any, x: Any) -> Any:
        return 2 * (g.astype(inside) * x.astype(inside)).astype(g.dtype) if inside else 2 * (g * x)

    return custom_vjp("Narrow", lambda x: x * x, backward)


def _sine(factor: float) -> Callable[..., Any]:
    return custom_jvp("SineJvp", jnp.sin, lambda x: factor * jnp.cos(x))


def _tanh(factor: float) -> Callable[..., Any]:
    return custom_vjp("TanhStep", jnp.tanh, lambda g, x: factor * g * (1 - jnp.tanh(x) ** 2))


def _own(name: str, fault: str, wrong: Callable[..., Any], right: Callable[..., Any], *shapes: Shape,
         culprit: str = "", dtypes: tuple[str, ...] = tuple(DTYPES)) -> Subject:  # fmt: skip
    return Subject(name, FRAMEWORK, fault, wrong, right, lambda dtype, seed: arrays(shapes, "normal", dtype, seed),
                   dtypes, culprit)  # fmt: skip


OWN: tuple[Subject, ...] = (
    _own("SineJvp", "factor in a jvp", _sine(1.25), _sine(1.0), (4,), culprit="SineJvp"),
    _own("CubeJvp", "missing factor in a jvp", custom_jvp("CubeJvp", lambda x: x**3, lambda x: x**2),
         custom_jvp("CubeJvp", lambda x: x**3, lambda x: 3 * x**2), (4,), culprit="CubeJvp"),
    _own("Stopped", "stop_gradient", lambda x: x * lax.stop_gradient(jnp.tanh(x)), lambda x: x * jnp.tanh(x), (4,)),
    _own("StoppedNorm", "stop_gradient of a norm", lambda x: x / lax.stop_gradient(jnp.linalg.norm(x)),
         lambda x: x / jnp.linalg.norm(x), (4,)),
    _own("SecondStopped", "second derivative, stopped",
         second(custom_vjp("CubeStopped", lambda x: x**3, lambda g, x: 3 * g * lax.stop_gradient(x) ** 2)),
         second(custom_vjp("CubeStopped", lambda x: x**3, lambda g, x: 3 * g * x**2)), (4,)),
    _own("SecondFactor", "second derivative",
         second(custom_jvp("CubeTwice", lambda x: x**3, custom_jvp("Slope", lambda x: 3 * x**2, lambda x: 3 * x))),
         second(custom_jvp("CubeTwice", lambda x: x**3, custom_jvp("Slope", lambda x: 3 * x**2, lambda x: 6 * x))),
         (4,), culprit="Slope"),
    _own("TanhStep", "factor in a loop", in_scan(_tanh(0.75)), in_scan(_tanh(1.0)), (3,), culprit="TanhStep"),
    _own("TanhMapped", "factor under vmap", jax.vmap(_tanh(0.75)), jax.vmap(_tanh(1.0)), (3, 2), culprit="TanhStep"),
    _own("TanhJit", "factor under jit", jax.jit(_tanh(0.75)), jax.jit(_tanh(1.0)), (4,), culprit="TanhStep"),
    _own("TanhCheckpoint", "factor under checkpoint", jax.checkpoint(_tanh(0.75)), jax.checkpoint(_tanh(1.0)), (4,),
         culprit="TanhStep"),
    _own("NarrowHalf", "half precision inside", narrow(jnp.float16), narrow(None), (4,), dtypes=("float64", "float32")),
    _own("NarrowSingle", "single precision inside", narrow(jnp.float32), narrow(None), (4,), dtypes=("float64",)),
)  # fmt: skip

SUBJECTS: tuple[Subject, ...] = (*map(of_rule, (*RULES, *COMPLEX_RULES, *ALGEBRA_RULES)), *OWN)


# Another checker ------------------------------------------------------------------------------------------------------


def check_grads(f: Callable[..., Any], given: list[Any]) -> bool:
    """Whether `jax.test_util.check_grads` accepts f in reverse mode with its defaults, in the arrays' own dtype."""
    with pinned("cpu"):
        try:
            test_util.check_grads(f, tuple(given), order=1, modes=["rev"])
        except AssertionError:
            return False
    return True


CHECKERS: dict[str, Callable[..., bool]] = {"check_grads": check_grads}
