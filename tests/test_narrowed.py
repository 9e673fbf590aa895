"""A rule that rounds to a narrower dtype than its function: right, within its own rounding, and lost."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest
import torch
from torch import Tensor

import gradconform as gc


class Linear(torch.autograd.Function):
    """x·Wᵀ, whose gradient of W goes by another dtype."""

    by: torch.dtype | None = None

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x @ w.T

    @classmethod
    def of_weight(cls, g: Tensor, x: Tensor) -> Tensor:
        return (g.to(cls.by).T @ x.to(cls.by)).to(x.dtype)


def linear(dtype: torch.dtype) -> Any:
    class Cast(Linear):
        by = dtype

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
            x, w = ctx.saved_tensors
            return g @ w, Cast.of_weight(g, x)

    return Cast.apply


def drawn(*shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]


@pytest.mark.parametrize(
    ("dtype", "by", "rows"),
    [
        ("float64", torch.float32, 4),
        ("float64", torch.float32, 300),  # in arrays
        ("float64", torch.bfloat16, 4),
        ("float32", torch.bfloat16, 4),
        ("float32", torch.bfloat16, 300),
        ("float32", torch.float16, 4),  # of more rows float32's own sums are as far off
    ],
)
def test_a_gradient_that_goes_by_a_narrower_dtype_is_lost_and_its_line_is_named(
    dtype: str, by: torch.dtype, rows: int
) -> None:
    report = gc.verify(linear(by), *drawn((rows, 3), (4, 3)), dtype=dtype)
    assert not report
    assert list(report.table.verdict) == ["conforms", "lost"], report
    narrow = str(by).rpartition(".")[2]
    assert f"lost: it rounds to {narrow} at" in report.table.reason[1]
    assert "test_narrowed.py" in report.table.reason[1]
    assert f"; in {dtype} it keeps " in report.table.reason[1]
    assert gc.verify(linear(by), *drawn((rows, 3), (4, 3)), dtype=dtype, accept="lost")


@pytest.mark.parametrize(("dtype", "by"), [("bfloat16", torch.bfloat16), ("float32", torch.float32),
                                           ("float32", torch.float64), ("bfloat16", torch.float32)])  # fmt: skip
def test_a_gradient_that_goes_by_the_same_dtype_or_a_wider_one_is_not(dtype: str, by: torch.dtype) -> None:
    assert gc.verify(linear(by), *drawn((4, 3), (4, 3)), dtype=dtype)


def test_a_function_that_rounds_to_that_dtype_itself_is_written_so() -> None:
    def mixed(x: Tensor, w: Tensor) -> Tensor:
        return (x.bfloat16() @ w.bfloat16().T).to(x.dtype)

    assert gc.verify(mixed, *drawn((4, 3), (4, 3)), dtype="float32")


def test_what_a_narrow_step_does_not_reach_keeps_its_digits() -> None:
    class Counts(Linear):
        @staticmethod
        def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
            x, w = ctx.saved_tensors
            g.bfloat16().sum()  # goes nowhere
            return g @ w, g.T @ x

    assert gc.verify(Counts.apply, *drawn((4, 3), (4, 3)))


def test_a_wrong_rule_that_rounds_besides_is_wrong() -> None:
    class Twice(Linear):
        @staticmethod
        def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
            x, w = ctx.saved_tensors
            return g @ w, 2 * (g.float().T @ x.float()).double()

    report = gc.verify(Twice.apply, *drawn((4, 3), (4, 3)))
    assert (report.verdict, report.formula) == ("deviates", "wrong")


def test_a_rule_of_jax_that_rounds_to_a_narrower_dtype_is_lost() -> None:
    @jax.custom_vjp
    def square(x: Any) -> Any:
        return x * x

    def back(x: Any, g: Any) -> tuple[Any]:
        return ((2 * g * x).astype(jnp.bfloat16).astype(x.dtype),)

    square.defvjp(lambda x: (x * x, x), back)
    report = gc.verify(square, jnp.array([0.3, -1.2, 2.5]))
    assert report.verdict == "lost", report
    assert "it rounds to bfloat16" in str(report)
    assert gc.verify(lambda x: square(x.astype(jnp.bfloat16)), jnp.array([0.3, -1.2, 2.5]))
