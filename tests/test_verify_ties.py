"""`verify` where numbers are equal: the slopes of a tie by themselves, and together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import gradconform as gc
from gradconform.conformance.verify import Report

#: As many copies of the arguments: judged by balls, and by arrays.
COPIES = (1, 300)
X, Y = (1.0, 2.0, 3.0), (1.0, 3.0, 3.0)


def of(f: Callable[..., Any], copies: int) -> Report:
    return gc.verify(f, *(torch.tensor([*x] * copies, dtype=torch.float64) for x in (X, Y)))


def maximum(of_x: float, of_y: float) -> Callable[..., Tensor]:
    """The larger number, with these slopes where both are equal."""

    class Larger(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
            ctx.save_for_backward(x, y)
            return torch.maximum(x, y)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
            x, y = ctx.saved_tensors
            tie = (x == y).to(x.dtype)
            return g * ((x > y) + of_x * tie), g * ((y > x) + of_y * tie)

    return lambda x, y: Larger.apply(x, y)  # type: ignore[no-any-return]


@pytest.mark.parametrize("copies", COPIES)
@pytest.mark.parametrize("slopes", [(1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (0.25, 0.75)])
def test_slopes_of_equal_numbers_that_add_up_to_1_are_right(slopes: tuple[float, float], copies: int) -> None:
    assert of(maximum(*slopes), copies).verdict == "conforms"


@pytest.mark.parametrize("copies", COPIES)
@pytest.mark.parametrize("slopes", [(1.0, 1.0), (0.0, 0.0), (0.5, 0.25)])
def test_slopes_of_equal_numbers_that_do_not_are_wrong(slopes: tuple[float, float], copies: int) -> None:
    report = of(maximum(*slopes), copies)
    assert (report.verdict, report.formula) == ("deviates", "wrong")
    assert "slopes do not go together" in str(report)
    assert any("Larger" in culprit for culprit in report.culprits)


@pytest.mark.parametrize("copies", COPIES)
@pytest.mark.parametrize(
    "f",
    [
        torch.maximum,
        torch.fmin,
        lambda x, y: torch.where(x > y, x, y),
        lambda x, y: x.clamp(max=y),
        lambda x, y: torch.stack([x, y]).amax(0),
        lambda x, y: torch.relu(x - y) + y,
        lambda x, y: torch.cat([x, y]).max(),
        lambda x, y: (x - y).abs() + torch.minimum(x, y),
    ],
    ids="maximum fmin where clamp amax relu max abs".split(),
)
def test_the_conventions_of_frameworks_at_ties_are_right(f: Callable[..., Tensor], copies: int) -> None:
    report = of(f, copies)
    assert report.verdict == "conforms"
    assert report.formula in ("kink", "right")
