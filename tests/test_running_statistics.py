"""What batch norms write beside what they return: their running statistics."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from programs_torch import with_gradients_of

import gradconform as gc


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_running_statistics_that_a_function_reads_are_those_that_the_batch_left(dtype: torch.dtype) -> None:
    """They are constants of the derivative, whoever reads them; and no other numbers than the kernel wrote."""

    def twice(x: torch.Tensor, norm: Any) -> torch.Tensor:
        mean, var = torch.zeros(3, dtype=x.dtype), torch.ones(3, dtype=x.dtype)
        y = norm(x, mean, var, training=True, momentum=0.25)
        z = norm(x * x, mean, var, training=True, momentum=0.25)
        return norm(y + z, mean, var, training=False) * mean

    x = (torch.arange(12.0).reshape(4, 3) % 5 / 4 - 0.375).to(dtype)
    report = gc.verify(lambda x: twice(x, F.batch_norm), x, accept="vacuous")
    assert report, str(report)
    assert report.complete
    assert {s.execution for s in report.findings} == {"within"}, report.explain()
    wrong = with_gradients_of(F.relu, lambda x: 0.75 * x)
    assert gc.verify(lambda x: wrong(twice(x, F.batch_norm)), x).formula == "wrong"


class Renormalized(torch.nn.Module):
    """After a batch norm in training, what it has just written to its buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert self.norm.running_mean is not None
        assert self.norm.running_var is not None
        return self.norm(x) * self.norm.running_var.sqrt() + self.norm.running_mean


def test_a_module_may_read_its_running_statistics_and_leaves_them_as_they_were() -> None:
    module = Renormalized()
    before = module.norm.running_mean
    assert gc.verify(module, torch.arange(12.0).reshape(4, 3) % 5 / 4)
    assert before is not None
    assert before.tolist() == [0.0] * 3
