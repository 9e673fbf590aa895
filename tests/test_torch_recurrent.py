"""Recurrent layers of PyTorch: of oneDNN where it has them, else step by step."""

from __future__ import annotations

import pytest
import torch
from programs_torch import with_gradients_of

import gradconform as gc


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_an_lstm_conforms_and_so_does_each_of_its_kernels(dtype: str) -> None:
    """In bfloat16 oneDNN keeps gates, states and their slopes in it, on processors with instructions for that."""
    torch.manual_seed(3)
    module = torch.nn.LSTM(3, 2, bidirectional=True)
    report = gc.verify(module, torch.randn(3, 2, 3), dtype=dtype, accept="vacuous")
    assert report, str(report)
    assert {s.execution for s in report.findings} == {"within"}, report.explain()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_gradient_through_an_lstm_that_is_off_by_a_sixteenth_is_wrong(dtype: str) -> None:
    torch.manual_seed(3)
    module = torch.nn.LSTM(3, 4)
    wrong = with_gradients_of(torch.tanh, lambda x: 1.0625 * torch.tanh(x))
    report = gc.verify(lambda x: wrong(module.to(x.dtype)(x)[0]), torch.randn(4, 2, 3), dtype=dtype)
    assert (report.verdict, report.formula) == ("deviates", "wrong")


@pytest.mark.parametrize("kind", ["GRU", "RNN", "GRUCell", "LSTMCell", "RNNCell"])
def test_other_recurrent_layers_conform(kind: str) -> None:
    torch.manual_seed(3)
    module = getattr(torch.nn, kind)(3, 4)
    shape = (2, 3) if kind.endswith("Cell") else (4, 2, 3)
    assert gc.verify(module, torch.randn(shape))
