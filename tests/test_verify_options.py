"""Options of `verify`: where it runs, and what is made of what a program stops on purpose."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
import torch
from torch import Tensor

import gradconform as gc
from gradconform.adapters.recording.torch_variations import _parts
from gradconform.reference.cases import BadInput


def straight_through(x: Tensor) -> Tensor:
    """What quantizes by a function of its own: sin, with the slope of x."""
    return x + (x.sin() - x).detach()


def stopped_target(x: Any) -> Any:
    return jnp.sum((jnp.sin(x) - jax.lax.stop_gradient(x)) ** 2)


def test_the_examples_of_the_page_run() -> None:
    page = (Path(__file__).parents[1] / "docs" / "site" / "programs.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    exec("\n".join(blocks), {})


# Stopped gradients ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_a_detach_is_a_wrong_formula_and_named_unless_it_is_intended(mode: str) -> None:
    x = torch.tensor([0.5, -1.25])
    report = gc.verify(straight_through, x, mode=mode)
    assert (report.verdict, report.formula) == ("deviates", "wrong")
    (note,) = report.notes
    assert "detach at" in note
    assert "test_verify_options.py" in note
    assert 'stop_gradient="intended"' in note
    intended = gc.verify(straight_through, x, mode=mode, stop_gradient="intended")
    assert intended, str(intended)
    assert "it is not" not in str(intended)


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_a_stopped_gradient_in_jax_is_a_wrong_formula_and_named_unless_it_is_intended(mode: str) -> None:
    x = jnp.array([0.5, -1.25])
    report = gc.verify(stopped_target, x, mode=mode)
    assert (report.verdict, report.formula) == ("deviates", "wrong")
    assert any("stop_gradient" in n and "test_verify_options.py" in n for n in report.notes)
    assert gc.verify(stopped_target, x, mode=mode, stop_gradient="intended")


def test_no_grad_is_constant_where_that_is_intended() -> None:
    def f(x: Tensor) -> Tensor:
        with torch.no_grad():
            scale = x.abs().amax()
        return (x / scale).sin()

    x = torch.tensor([0.5, -1.25])
    assert gc.verify(f, x).formula == "wrong"
    assert gc.verify(f, x, stop_gradient="intended")


def sine(sign: int) -> Callable[[Tensor], Tensor]:
    """A sine whose rule has its own slope, times a sign, and whose forward part detaches."""

    class Sine(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x.detach().sin()

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
            return sign * g * ctx.saved_tensors[0].cos()

    return lambda x: Sine.apply(x)  # type: ignore[no-any-return]


def test_an_intended_stop_excuses_no_other_mistake() -> None:
    wrong = sine(-1)
    report = gc.verify(lambda x: wrong(x) * x.detach(), torch.tensor([0.5]), stop_gradient="intended")
    assert report.formula == "wrong"
    assert any("Sine" in c for c in report.culprits)


def test_what_a_rule_detaches_in_its_forward_part_is_no_stop() -> None:
    for how in ("through", "intended"):
        report = gc.verify(sine(1), torch.tensor([0.5]), stop_gradient=how)
        assert report, str(report)
        assert report.notes == ()


def test_what_pytorch_detaches_in_a_function_of_its_own_is_a_stop_too() -> None:
    """In `gumbel_softmax` a one-hot vector goes on with the slope of the softmax."""

    def f(x: Tensor) -> Tensor:
        return torch.nn.functional.gumbel_softmax(x, hard=True)

    x, before = torch.tensor([[0.5, -1.25, 2.0], [1.0, 0.25, -0.5]]), torch.Tensor.detach
    report = gc.verify(f, x)
    assert report.formula == "wrong"
    assert any(re.match(r"detach at .*test_verify_options\.py", n) for n in report.notes)
    assert gc.verify(f, x, stop_gradient="intended")
    assert torch.Tensor.detach is before


def test_a_hook_that_changes_a_gradient_is_noted_with_its_line() -> None:
    def f(x: Tensor) -> Tensor:
        y = x.sin()
        y.register_hook(lambda g: 2 * g)
        return y * y

    report = gc.verify(f, torch.tensor([0.5, -1.25]))
    assert report.formula == "wrong"
    assert any(re.match(r"register_hook at .*test_verify_options\.py:\d+, f: ", n) for n in report.notes)


def with_scale(sign: int) -> Callable[[Tensor], Any]:
    """x by its largest magnitude, and that, which as the rule says has no derivative; the slope times a sign."""

    class WithScale(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
            scale = x.abs().amax()
            ctx.mark_non_differentiable(scale)
            ctx.save_for_backward(x, scale)
            at = x == x.abs().amax()
            ctx.at = at
            return x / scale, scale

        @staticmethod
        def backward(ctx: Any, g: Tensor, _: Tensor) -> Tensor:  # type: ignore[override]
            x, scale = ctx.saved_tensors
            return sign * (g / scale - ctx.at * (g * x).sum() / scale**2)

    return lambda x: WithScale.apply(x)


def test_what_a_rule_marks_as_not_differentiable_is_a_stop_and_no_fault_of_the_rule() -> None:
    x = torch.tensor([0.5, -1.25, 2.0])
    report = gc.verify(with_scale(1), x)
    assert (report.formula, report.culprits) == ("wrong", ())
    assert any(n.startswith("mark_non_differentiable of WithScale at") and "it is not" in n for n in report.notes)
    intended = gc.verify(with_scale(1), x, stop_gradient="intended")
    assert intended, str(intended)
    for how in ("through", "intended"):
        wrong = gc.verify(with_scale(-1), x, stop_gradient=how)
        assert wrong.formula == "wrong"
        assert any("WithScale" in c for c in wrong.culprits)


def test_what_a_rule_marks_is_a_stop_under_torch_func_too() -> None:
    class WithDouble(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            return x.sin(), x * 2

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.mark_non_differentiable(output[1])
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx: Any, g: Tensor, _: Tensor) -> Tensor:  # type: ignore[override]
            return g * ctx.saved_tensors[0].cos()

    x, routes = torch.tensor([0.5, -1.25]), ("eager", "func")
    report = gc.verify(lambda x: WithDouble.apply(x), x, routes=routes, stop_gradient="intended")
    assert report, str(report)
    assert len([n for n in report.notes if "mark_non_differentiable of WithDouble at" in n]) == 1


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_the_row_of_a_padding_is_a_constant_where_gradients_are_asked_for(mode: str) -> None:
    """As `torch.nn.Embedding` documents it; PyTorch's tangents are of every row."""
    index, weight = torch.tensor([[0, 1], [1, 4]]), torch.arange(15.0).reshape(5, 3) / 8
    report = gc.verify(lambda w: torch.nn.functional.embedding(index, w, padding_idx=0).tanh(), weight, mode=mode)
    assert report, str(report)
    assert any("padding_idx" in n for n in report.notes) is (mode == "reverse")
    assert gc.verify(torch.nn.Embedding(5, 3, padding_idx=-1), index)


def test_a_rule_that_gives_the_row_of_a_padding_a_gradient_is_wrong() -> None:
    class Every(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, index: Tensor, weight: Tensor) -> Tensor:
            ctx.save_for_backward(index)
            ctx.shape = weight.shape
            return torch.nn.functional.embedding(index, weight, padding_idx=0)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> tuple[None, Tensor]:  # type: ignore[override]
            (index,) = ctx.saved_tensors
            return None, g.new_zeros(ctx.shape).index_add(0, index, g)

    report = gc.verify(lambda w: Every.apply(torch.tensor([0, 1, 1]), w), torch.tensor([[0.5, 2.0], [-1.25, 3.0]]))
    assert report.formula == "wrong"
    assert "row 0" in str(report)


# Some of the arguments alone ------------------------------------------------------------------------------------------


class Asks(torch.autograd.Function):
    """x·w·b, which computes the gradients that are asked for; by `places` of what it looks at."""

    places = (0, 1, 2)

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(x, w, b)
        return x * w * b

    @classmethod
    def gradients(cls, ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, w, b = ctx.saved_tensors
        found = (g * w * b, g * x * b, g * x * w)
        return tuple(f if ctx.needs_input_grad[p] else None for f, p in zip(found, cls.places, strict=True))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        return Asks.gradients(ctx, g)


class AsksForAnother(Asks):
    places = (0, 1, 1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        return AsksForAnother.gradients(ctx, g)


def test_a_rule_that_looks_at_what_another_argument_needs_is_named_and_one_at_its_own_conforms() -> None:
    given = [torch.tensor([0.5, -1.25]), torch.tensor([2.0, 0.1]), torch.tensor([1.5, 0.7])]
    assert gc.verify(Asks.apply, *given), gc.verify(Asks.apply, *given)
    report = gc.verify(AsksForAnother.apply, *given)
    assert report.verdict == "deviates"
    assert all(c.startswith("AsksForAnother (") for c in report.culprits)
    assert [c.rpartition(": ")[2] for c in report.culprits] == [
        "only argument 0, argument 2 asked for", "only argument 2 asked for",
    ]  # fmt: skip


def test_every_argument_is_asked_for_without_each_other_one() -> None:
    for count in range(1, 9):
        parts = [set(p) for p in _parts(count)]
        assert all(any(i in p and j not in p for p in parts) for i in range(count) for j in range(count) if i != j)
        assert len(parts) <= 2 * (count - 1).bit_length()


# Devices --------------------------------------------------------------------------------------------------------------


def test_arguments_and_a_copy_of_the_module_are_moved_to_the_device() -> None:
    seen: list[torch.device] = []

    class Where(torch.nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.extend((x.device, self.weight.device))
            return super().forward(x)

    module = Where(2, 2)
    assert gc.verify(module, torch.ones(1, 2), device="cpu")
    assert {d.type for d in seen} == {"cpu"}
    assert gc.verify(stopped_target, jnp.ones(2), device="cpu:0", stop_gradient="intended")


@pytest.mark.parametrize(
    ("f", "x", "device"),
    [
        (torch.sin, torch.ones(2), "abacus"),
        (torch.sin, torch.ones(2), "cuda:99"),
        (torch.sin, torch.ones(2), "meta"),
        (jnp.sin, jnp.ones(2), "abacus"),
        (jnp.sin, jnp.ones(2), "cpu:99"),
    ],
)
def test_a_device_that_is_not_there_is_told_with_what_is(f: Callable[..., Any], x: Any, device: str) -> None:
    with pytest.raises(BadInput, match=f"device: got '{device}'.*cpu"):
        gc.verify(f, x, device=device)


def test_another_word_for_stops_is_bad_input() -> None:
    with pytest.raises(BadInput, match="stop_gradient"):
        gc.verify(torch.sin, torch.ones(2), stop_gradient="yes")
