"""Kernels of PyTorch at shapes that are the edge of theirs: no rows to add up, no axes, a single number, no number.

All of these are right programs; most were found with the sample inputs of PyTorch's own tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import gradconform as gc


def numbers(*shape: int) -> Tensor:
    return torch.linspace(-1.25, 1.75, torch.Size(shape).numel()).reshape(shape)


PROGRAMS: dict[str, tuple[Callable[..., Any], list[Tensor]]] = {
    "layer_norm of one row": (lambda x, w, b: F.layer_norm(x, (5,), w, b), [numbers(5), numbers(5) + 2, numbers(5)]),
    "layer_norm over all axes": (
        lambda x, w, b: F.layer_norm(x, (1, 2, 3), w, b),
        [numbers(1, 2, 3), numbers(1, 2, 3) + 2, numbers(1, 2, 3)],
    ),
    "cdist that counts": (lambda x, y: torch.cdist(x, y, 0.0) + x.sum() * y.sum(), [numbers(3, 2), numbers(4, 2) + 1]),
    "pdist that counts": (lambda x: F.pdist(x, 0.0) + x.sum(), [numbers(3, 2)]),
    "multi_margin_loss of one number": (lambda x: F.multi_margin_loss(x, torch.tensor(0)) + x, [numbers()]),
    "vector_norm of one number": (lambda x: torch.linalg.vector_norm(x, dim=0), [numbers()]),
    "logcumsumexp of one number": (lambda x: torch.logcumsumexp(x, 0), [numbers()]),
    "weight_norm of single weights": (
        lambda v, g: torch._weight_norm(v, g, 0) + v,
        [numbers(3) + 2, numbers(3) + 0.5],
    ),
    "conv_transpose with more output padding than stride": (
        lambda x, w: F.conv_transpose1d(x, w, stride=2, padding=2, output_padding=3, groups=2, dilation=4),
        [numbers(1, 2, 4), numbers(2, 2, 3)],
    ),
    "attention of four heads by two pairs of keys and values": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True),
        [numbers(1, 4, 2, 4), numbers(1, 2, 3, 4), numbers(1, 2, 3, 4).sin()],
    ),
    "sequences of two lengths, packed and unpacked": (
        lambda x: pad_packed_sequence(pack_padded_sequence(x, [3, 1]), padding_value=2.0)[0].square(),
        [numbers(3, 2, 2)],
    ),
    "adaptive_avg_pool of nothing": (lambda w: F.adaptive_avg_pool1d(numbers(0, 8, 8), 5).sum() + w, [numbers()]),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_right_kernel_at_the_edge_of_its_shapes_conforms(name: str) -> None:
    f, given = PROGRAMS[name]
    report = gc.verify(f, *given)
    assert report.verdict == "conforms", str(report)


def test_a_matrix_that_is_symmetric_but_for_rounding_is_recorded_as_one() -> None:
    """Run again on other numbers it must stay so: a factorization reads one triangle."""
    a = torch.tensor(
        [[4.0, 1.0, 0.5, 0.25], [1.0, 5.0, -1.0, 0.5], [0.5, -1.0, 6.0, 2.0], [0.25, 0.5, 2.0, 3.0]],
    ).repeat(3, 1, 1)
    a[:, 0, 1] *= 1 + 2.0**-20
    report = gc.verify(torch.linalg.cholesky, a)
    assert report.verdict == "conforms", str(report)


def test_a_layer_norm_of_one_row_with_a_wrong_gradient_deviates() -> None:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return F.layer_norm(x, (5,), w)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> tuple[None, Tensor]:  # type: ignore[override]
            (x,) = ctx.saved_tensors
            return None, (g * F.layer_norm(x, (5,))).sum().expand(5)  # added up over all axes, of which none is a row's

    report = gc.verify(lambda w: Wrong.apply(numbers(5), w), numbers(5) + 2)
    assert (report.verdict, report.formula) == ("deviates", "wrong")


def test_no_error_is_its_own_cause() -> None:
    with pytest.raises(gc.BadInput) as refused:
        gc.verify(lambda x: x.nothing, numbers(3))
    error: BaseException | None = refused.value
    for _ in range(10):
        assert error is not None
        if error.__cause__ is None:
            break
        error = error.__cause__
    assert error is not None
    assert error.__cause__ is None
