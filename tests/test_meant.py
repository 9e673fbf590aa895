"""A gradient that is by intention that of another function: a straight-through estimator, a gradient reversed."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest
import torch
from torch import Tensor

import gradconform as gc

X = torch.tensor([0.3, -1.25, 2.25, 0.75], dtype=torch.float64)


class Rounds(torch.autograd.Function):
    """round, with the slope of x as far as ±2; or everywhere, by mistake, with 1.001."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.round()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return g * (x.abs() <= 2)


class RoundsOff(Rounds):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g * 1.001


class Reverses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return -0.5 * g


def within_2(x: Tensor) -> Tensor:
    return x.clamp(-2, 2)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_a_straight_through_rule_is_right_by_the_function_that_is_meant_and_wrong_by_itself(dtype: str) -> None:
    alone = gc.verify(Rounds.apply, X, dtype=dtype)
    assert alone.formula == "wrong"
    assert "its gradient is 0; a rule that has another by intention is held against gradient_of=" in str(alone)
    report = gc.verify(Rounds.apply, X, dtype=dtype, gradient_of=within_2)
    assert report, report
    assert report.notes == ("the derivative is that of within_2, by gradient_of=",)
    off = gc.verify(RoundsOff.apply, X, dtype=dtype, gradient_of=lambda x: x)
    assert off.formula == "wrong"
    assert not off.culprits  # by itself each such rule is wrong


def test_which_components_are_not_that_of_the_other_function_is_told() -> None:
    report = gc.verify(Rounds.apply, X, gradient_of=lambda x: x)
    assert (report.verdict, report.gradients[0].index) == ("deviates", "2")
    assert "1 of 4 deviates" in str(report)


def test_a_reversed_gradient_is_right_inside_of_a_program() -> None:
    def meant(x: Tensor) -> Tensor:
        return (x.detach() - 0.5 * (x - x.detach())).tanh()

    def f(x: Tensor) -> Tensor:
        return Reverses.apply(x).tanh()  # type: ignore[no-untyped-call, no-any-return]

    assert gc.verify(f, X, gradient_of=meant, stop_gradient="intended")
    assert gc.verify(f, X, gradient_of=torch.tanh).formula == "wrong"
    assert gc.verify(f, X, gradient_of=meant, stop_gradient="intended", rows="all")


def test_a_kernel_is_held_against_what_it_is_in_plain_operations() -> None:
    x, w = torch.tensor([[0.5, -1.25], [2.0, 0.1]]), torch.tensor([[1.0, -0.5], [0.2, 0.7]])
    fused = torch.nn.functional.linear
    assert gc.verify(fused, x, w, gradient_of=lambda x, w: x @ w.T)
    assert list(gc.verify(fused, x, w, gradient_of=lambda x, w: x @ w.T, wrt=1).table.argument) == ["argument 1"]
    assert gc.verify(fused, x, w, gradient_of=lambda x, w: x @ w).formula == "wrong"
    assert gc.verify(torch.tanh, x, gradient_of=torch.sinh).formula == "wrong"
    assert gc.verify(torch.tanh, x, gradient_of=lambda x: x.sinh() / x.cosh(), order=2, mode="both")


def test_a_corner_of_the_function_that_is_meant_has_all_of_its_slopes() -> None:
    report = gc.verify(Rounds.apply, torch.tensor([2.0, 0.5]), gradient_of=within_2)
    assert (bool(report), report.formula) == (True, "kink")


def test_a_rule_of_jax_is_right_by_the_function_that_is_meant() -> None:
    @jax.custom_vjp
    def rounds(x: Any) -> Any:
        return jnp.round(x)

    rounds.defvjp(lambda x: (jnp.round(x), None), lambda _, g: (g,))
    x = jnp.array([0.3, -1.25, 2.25])
    assert gc.verify(rounds, x).formula == "wrong"
    assert gc.verify(rounds, x, gradient_of=lambda x: x, routes=("eager", "jit"))
    assert gc.verify(rounds, x, gradient_of=lambda x: 2 * x).formula == "wrong"


def test_what_leaves_the_record_of_the_other_function_is_no_proof() -> None:
    report = gc.verify(Rounds.apply, X, gradient_of=lambda x: x * float(x.detach()[0].item()))
    assert (bool(report), report.formula) == (False, "unknown")
    assert all(m.startswith("gradient_of: ") for m in report.missing), report


@pytest.mark.parametrize(
    ("meant", "message"),
    [
        (lambda x: x[:2], r"gradient_of gives arrays of the shapes \[\(2,\)\]; expected those of Rounds, \[\(4,\)\]"),
        (lambda x: x * torch.rand_like(x), "gradient_of: it draws random numbers"),
        (lambda x: x.nothing(), "gradient_of: .* raised AttributeError"),
        (3, "gradient_of is a int; expected a function of the arguments of f"),
    ],
)
def test_what_cannot_be_meant_says_what_was_expected(meant: Any, message: str) -> None:
    with pytest.raises(gc.BadInput, match=message):
        gc.verify(Rounds.apply, X, gradient_of=meant)
