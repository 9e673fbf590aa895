"""Functions that are smooth, and have corners in the operations that they are made of: log σ and its like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import gradconform as gc

DTYPES = ["float64", "float32", "float16", "bfloat16"]
SMOOTH: dict[str, Callable[[Tensor], Tensor]] = {
    "logsigmoid": F.logsigmoid,
    "softplus": F.softplus,
    "softplus, scaled": lambda x: F.softplus(x, 2.0, 5.0),
    "binary cross-entropy": lambda x: F.binary_cross_entropy_with_logits(x, torch.full_like(x, 0.25), reduction="none"),
    "logaddexp": lambda x: torch.logaddexp(x, 2 * x),
}


def off_at_0(f: Callable[[Tensor], Tensor], factor: float) -> Callable[[Tensor], Tensor]:
    """f with a rule of its own, whose slope at 0 is so many times the derivative."""

    class Rule(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return f(x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            with torch.enable_grad():
                y = x.detach().requires_grad_()
                (slope,) = torch.autograd.grad(f(y), y, g)
            return torch.where(x == 0, slope * factor, slope)

    return Rule.apply  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("dtype", DTYPES)
def test_at_0_there_is_one_slope_and_another_is_wrong(name: str, dtype: str) -> None:
    x = torch.tensor([0.0, 1.0, -3.0])
    assert gc.verify(SMOOTH[name], x, dtype=dtype, mode="both").formula == "right"
    assert gc.verify(off_at_0(SMOOTH[name], 1.0), x, dtype=dtype).formula == "right"
    for factor in (1.5, 0.5):  # between the slopes of the parts
        assert gc.verify(off_at_0(SMOOTH[name], factor), x, dtype=dtype).formula == "wrong"


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_rounds_to_0_on_the_way_is_as_right(name: str, dtype: str) -> None:
    x = torch.tensor([0.1, 0.3, 0.7, 1.1], dtype=getattr(torch, dtype))
    report = gc.verify(lambda x, y: SMOOTH[name](x * 3 - y), x, x * 3)
    assert report.formula == "right", report
    assert report.execution == "within"


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("dtype", DTYPES)
def test_far_from_0_the_kernel_is_as_before(name: str, dtype: str) -> None:
    far = [21.0, -21.0, 95.0, -95.0, *([] if dtype == "float16" else [1e30, -1e30])]
    assert gc.verify(SMOOTH[name], torch.tensor(far), dtype=dtype), name


@pytest.mark.parametrize("size", [4, 3000])  # balls, and arrays
def test_of_many_numbers_too(size: int) -> None:
    x = torch.linspace(-2, 2, size - 1)
    x = torch.cat([x, torch.zeros(1)])
    assert gc.verify(F.logsigmoid, x).formula == "right"
    assert gc.verify(off_at_0(F.logsigmoid, 1.5), x).formula == "wrong"


# JAX ------------------------------------------------------------------------------------------------------------------

OF_JAX: dict[str, Callable[[Any], Any]] = {
    "softplus": jax.nn.softplus,
    "log_sigmoid": jax.nn.log_sigmoid,
    "logaddexp": lambda x: jnp.logaddexp(x, 2 * x),
}


def jax_off_at_0(f: Callable[[Any], Any], factor: float) -> Callable[[Any], Any]:
    @jax.custom_vjp
    def rule(x: Any) -> Any:
        return f(x)

    def back(x: Any, g: Any) -> tuple[Any]:
        return (jnp.where(x == 0, factor, 1.0).astype(x.dtype) * jax.vjp(f, x)[1](g)[0],)

    rule.defvjp(lambda x: (f(x), x), back)
    return rule


@pytest.mark.parametrize("name", OF_JAX)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_in_jax_there_is_one_slope_at_0_and_another_is_wrong(name: str, dtype: str) -> None:
    x = jnp.array([0.0, 1.0, -3.0], dtype)
    assert gc.verify(OF_JAX[name], x, mode="both", routes=("eager", "jit")).formula == "right"
    assert gc.verify(jax_off_at_0(OF_JAX[name], 1.0), x).formula == "right"
    for factor in (1.5, 0.5):
        assert gc.verify(jax_off_at_0(OF_JAX[name], factor), x).formula == "wrong"


def test_in_jax_what_a_function_adds_up_step_by_step_is_as_right() -> None:
    x = jnp.array([0.5, 0.5, -1.25, 0.5])
    assert gc.verify(lambda x: jax.lax.scan(lambda c, y: (jnp.logaddexp(c, y), c), x[0], x)[0], x).formula == "right"
    assert gc.verify(jax.vmap(jnp.logaddexp), x, x[::-1]).formula == "right"
