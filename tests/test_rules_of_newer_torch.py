"""Custom rules where `Function.apply` is C alone, as from PyTorch 2.14 on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import gradconform as gc


class Square(torch.autograd.Function):
    factor = 2.0

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x.detach())
        return x * x.detach()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return g * x * Square.factor


class Exponential(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.exp(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        (y,) = ctx.saved_tensors
        return g * y


@pytest.fixture(params=["as installed", "C alone"], autouse=True)
def apply(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "C alone":
        monkeypatch.setattr(torch.autograd.Function, "apply", torch._C._FunctionBase.__dict__["apply"])


def functions() -> dict[str, Callable[[Tensor], Tensor]]:
    kept, other = Square.apply, Exponential.apply
    return {
        "called by its name": lambda x: Exponential.apply(Square.apply(x)),
        "kept": lambda x: other(kept(x)),
        "itself": Square.apply,
    }


@pytest.mark.parametrize("how", functions())
def test_a_right_rule_is_right_whatever_its_forward_detaches(how: str) -> None:
    assert gc.verify(functions()[how], torch.tensor([0.5, -1.25]), stop_gradient="intended")


@pytest.mark.parametrize("how", functions())
def test_a_wrong_rule_is_named(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Square, "factor", 1.999)
    report = gc.verify(functions()[how], torch.tensor([0.5, -1.25]))
    assert report.formula == "wrong"
    assert [c.split(" ")[0] for c in report.culprits] == ["Square"]
    assert gc.verify(functions()["itself"], torch.tensor([0.5])).formula == "wrong"


def test_rules_are_as_they_were_afterwards() -> None:
    before = (Square.__dict__["forward"], torch.autograd.Function.__dict__["apply"])
    gc.verify(Square.apply, torch.tensor([0.5]))
    assert (Square.__dict__["forward"], torch.autograd.Function.__dict__["apply"]) == before


class HalfSquare(Square):
    """With the forward program of another rule, and a backward one that is half of what it should be."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return g * x


def test_of_a_rule_that_has_its_forward_from_another_the_rule_itself_is_named() -> None:
    kept = HalfSquare.apply
    for f in (kept, lambda x: HalfSquare.apply(x), lambda x: kept(Square.apply(x))):
        report = gc.verify(f, torch.tensor([0.5, -1.25]), stop_gradient="intended")
        assert [c.split(" ")[0] for c in report.culprits] == ["HalfSquare"], report
    assert "forward" not in vars(HalfSquare)
