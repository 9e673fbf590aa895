"""What `gradcheck` asks of a backward program: a second pass, layouts, undefined gradients, batches, subsets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from programs_torch import CORRECT
from torch import Tensor

import gradconform as gc
from gradconform.adapters.recording.torch_definitions import FORMS


def cube(backward: Callable[[Any, Tensor, Tensor], Any], outputs: int = 1) -> Callable[[Tensor], Any]:
    """x³ with this backward(ctx, g, x), or x³ and 2x³ with backward(ctx, g, h, x)."""

    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Any:
            ctx.save_for_backward(x)
            ctx.set_materialize_grads(False)
            ctx.passes = 0
            return x**3 if outputs == 1 else (x**3, 2 * x**3)

        @staticmethod
        def backward(ctx: Any, *g: Any) -> Any:
            return backward(ctx, *g, *ctx.saved_tensors)

    return lambda x: Cube.apply(x)


def right(ctx: Any, g: Tensor, x: Tensor) -> Tensor:
    return 3 * g * x * x


X = torch.tensor([[0.5, -1.25, 2.0], [0.3, 0.7, -0.9]])


def test_a_right_rule_is_right_by_every_way_and_told_once() -> None:
    report = gc.verify(lambda x: cube(right)(x).sin(), X, batched=True)
    assert report, str(report)
    assert list(report.table.route) == ["eager"]


def test_a_second_backward_that_gives_something_else_deviates_and_its_rule_is_named() -> None:
    def again(ctx: Any, g: Tensor, x: Tensor) -> Tensor:
        ctx.passes += 1
        return 3 * g * x * x * ctx.passes

    report = gc.verify(lambda x: cube(again)(x).sin(), X)
    assert report.verdict == "deviates"
    assert list(report.table.verdict) == ["conforms", "deviates"]
    assert list(report.table.route) == ["eager", "second backward"]
    assert any("Cube" in c and "second backward" in c for c in report.culprits)


def test_a_second_backward_that_raises_is_no_pass() -> None:
    def once(ctx: Any, g: Tensor, x: Tensor) -> Tensor:
        ctx.passes += 1
        if ctx.passes > 1:
            raise RuntimeError("used up")
        return 3 * g * x * x

    report = gc.verify(cube(once), X)
    assert not report
    assert any("second backward: raised RuntimeError: used up" in m for m in report.missing)


def test_a_backward_that_reads_its_cotangents_memory_is_caught_by_its_layout() -> None:
    def by_memory(ctx: Any, g: Tensor, x: Tensor) -> Tensor:
        return 3 * torch.as_strided(g, x.shape, x.stride()) * x * x

    report = gc.verify(cube(by_memory), X)
    assert report.verdict == "deviates"
    assert "cotangent not contiguous" in list(report.table.route)
    assert any("Cube" in c for c in report.culprits)


class Same(torch.autograd.Function):
    """The number itself, by a rule that is right."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        return g * 1


def test_a_kernel_that_rounds_otherwise_in_another_layout_is_noted_and_accused_of_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(FORMS, "native_batch_norm_backward")  # as of a kernel that nobody has seen
    (program,) = (p for p in CORRECT if p.name == "batch norm")
    report = gc.verify(lambda x, w, b: program.f(Same.apply(x), w, b), *program.arguments("float16"))
    assert report, str(report)
    assert any("cotangent not contiguous" in n for n in report.notes)


def test_a_backward_that_asks_for_a_contiguous_cotangent_is_caught() -> None:
    def viewed(ctx: Any, g: Tensor, x: Tensor) -> Tensor:
        return (3 * g.view(-1) * x.view(-1) ** 2).view(x.shape)

    report = gc.verify(cube(viewed), X)
    assert not report
    assert any("cotangent not contiguous: raised RuntimeError" in m for m in report.missing)


def test_a_backward_that_is_wrong_for_a_cotangent_of_stride_0_is_caught() -> None:
    def broadcast(ctx: Any, g: Tensor, x: Tensor) -> Tensor:
        return 3 * g * x * x * (2 if 0 in g.stride() else 1)

    report = gc.verify(cube(broadcast), X)
    assert not report
    assert any("with cotangents of stride 0" in m for m in report.missing)


def test_a_backward_that_is_wrong_where_a_gradient_is_undefined_is_caught() -> None:
    def both(ctx: Any, g: Tensor | None, h: Tensor | None, x: Tensor) -> Tensor | None:
        if g is None or h is None:
            return x  # whatever is defined is left out
        return 3 * (g + 2 * h) * x * x

    report = gc.verify(cube(both, outputs=2), X)  # type: ignore[arg-type]
    assert not report
    assert any("with the gradient of output 0 undefined" in m for m in report.missing)

    def defined(ctx: Any, g: Tensor | None, h: Tensor | None, x: Tensor) -> Tensor | None:
        total = (0 if g is None else g) + (0 if h is None else 2 * h)
        return 3 * total * x * x

    right_one = gc.verify(cube(defined, outputs=2), X)  # type: ignore[arg-type]
    assert right_one, str(right_one)


def test_a_backward_that_raises_where_a_gradient_is_undefined_is_caught() -> None:
    report = gc.verify(cube(lambda ctx, g, h, x: 3 * (g + 2 * h) * x * x, outputs=2), X)  # type: ignore[misc,call-arg,arg-type]
    assert not report
    assert any("undefined" in m and "raised TypeError" in m for m in report.missing)


def test_a_backward_that_gives_something_else_in_a_batch_is_caught_where_batches_are_asked_for() -> None:
    def by_batch(ctx: Any, g: Tensor, x: Tensor) -> Tensor:
        return (2 if torch._C._functorch.is_legacy_batchedtensor(g) else 3) * g * x * x

    assert gc.verify(cube(by_batch), X)
    report = gc.verify(cube(by_batch), X, batched=True)
    assert report.verdict == "deviates"
    assert list(report.table.route) == ["eager", "batched backward"]


def test_a_backward_that_cannot_be_batched_is_caught_where_batches_are_asked_for() -> None:
    def branches(ctx: Any, g: Tensor, x: Tensor) -> Tensor:
        return 3 * g * x * x if g.sum() > -1e9 else g

    assert gc.verify(cube(branches), X)
    report = gc.verify(cube(branches), X, batched=True)
    assert not report
    assert any("batched backward: raised" in m for m in report.missing)


def test_batches_in_jax_are_verified_where_they_are_asked_for() -> None:
    @jax.custom_batching.custom_vmap
    def same(g: Any) -> Any:
        return g

    @same.def_vmap
    def first(size: int, batched: Any, g: Any) -> Any:
        return jnp.broadcast_to(g[:1], g.shape), True

    @jax.custom_vjp
    def f(x: Any) -> Any:
        return x**3

    f.defvjp(lambda x: (x**3, x), lambda x, g: (3 * same(g) * x * x,))
    x = jnp.asarray(X.numpy())
    assert gc.verify(lambda x: jnp.sin(x) ** 2, x, batched=True)
    assert gc.verify(lambda x: f(x), x)
    assert gc.verify(lambda x: f(x), x, batched=True).verdict == "deviates"


def test_a_subset_that_requires_a_gradient_is_all_that_is_asked_for() -> None:
    x, w = X.clone().requires_grad_(), X.clone()
    assert list(gc.verify(lambda x, w: (x * w).sin(), x, w).table.argument) == ["x"]


def test_whole_numbers_among_arguments_outputs_and_cotangents_have_no_derivative() -> None:
    def f(x: Any, index: Any) -> Any:
        return jnp.sin(x)[index], index * 2

    x, index = jnp.array([0.5, -1.25, 2.0]), jnp.array([2, 0])
    report = gc.verify(f, x, index, mode="both")
    assert report, str(report)
    assert list(report.table.argument) == ["x", "output"]
    zero = np.zeros((2,), jax.dtypes.float0)
    assert gc.verify(f, x, index, cotangent=(jnp.array([1.5, 0.7]), zero))
