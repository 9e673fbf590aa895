"""Modules whose backward pass runs them again, or that PyTorch does not copy, are judged by the parameters they had."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import gradconform as gc

X = torch.linspace(-1.25, 1.75, 12, dtype=torch.float64).reshape(3, 4)


class Scaled(torch.autograd.Function):
    """x, of which the gradient is a factor times what it should be."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return g * ctx.factor, None


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool, factor: float) -> None:
        super().__init__()
        self.norm, self.first, self.second = nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.reentrant, self.factor = reentrant, factor

    def again(self, x: Tensor) -> Tensor:
        return self.second(Scaled.apply(x.tanh(), self.factor)).sin()

    def forward(self, x: Tensor) -> Any:
        return checkpoint(self.again, self.first(self.norm(x)), use_reentrant=self.reentrant)


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpoint_runs_the_module_again_on_the_parameters_of_the_forward_pass(reentrant: bool) -> None:
    torch.manual_seed(0)
    module = Checkpointed(reentrant, 1.0).double()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    held = [id(p) for p in module.parameters()]
    report = gc.verify(module, X, order=1 if reentrant else 2)
    assert report, str(report)
    assert [id(p) for p in module.parameters()] == held
    assert all(p.grad is None for p in module.parameters())
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    module.factor = 1.5
    wrong = gc.verify(module, X)
    assert wrong.formula == "wrong"
    assert any("Scaled" in c for c in wrong.culprits)


def test_a_module_that_holds_what_it_computed_is_cast_as_a_copy() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it is deprecated, and still in use
        module = nn.utils.weight_norm(nn.Linear(4, 2))
    report = gc.verify(module, X, dtype="float64")
    assert report, str(report)
    assert module.weight.dtype == torch.float32
