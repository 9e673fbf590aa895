"""Programs that were once refused, or said to have left their record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import gradconform as gc

X = torch.tensor([[0.5, -1.25, 2.0], [0.25, 1.5, -0.75]])


@pytest.mark.parametrize(
    "f",
    [
        lambda x: torch.median(x) * x.sum(),
        lambda x: x.median(1).values,
        lambda x: torch.mode(x, 1).values * x.sum(),
        lambda x: torch.kthvalue(x, 2, 1).values,
        lambda x: torch.quantile(x, 0.3),
        lambda x: torch.quantile(x, torch.tensor([0.3, 0.8]), 1),
        lambda x: torch.median(x[0, 0]) + torch.prod(x[0, 1], 0),
    ],
    ids=["median", "median of rows", "mode", "kthvalue", "quantile", "quantiles", "of a number"],
)
def test_an_order_statistic_conforms(f: Callable[[Tensor], Tensor]) -> None:
    assert gc.verify(f, X)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_a_hinge_loss_of_classes_conforms(p: int, reduction: str) -> None:
    """Its backward kernel has no decomposition of PyTorch's own."""
    target, weight = torch.tensor([0, 2]), torch.tensor([0.5, 1.25, 0.75])
    assert gc.verify(lambda x: F.multi_margin_loss(x, target, p, 0.7, weight, reduction=reduction), X)


def test_arguments_without_a_dimension_conform() -> None:
    assert gc.verify(lambda x, y: x * torch.exp(y) + torch.clamp(x, max=y), torch.tensor(0.5), torch.tensor(1.25))


def test_a_view_that_is_changed_in_place_stays_the_same_numbers() -> None:
    assert gc.verify(lambda x: (x * 2).t_().unsqueeze_(0).transpose_(0, 1) ** 2, X)


@pytest.mark.parametrize("seed", [9, 19, 45])
def test_the_second_derivative_of_a_product_is_a_complete_record(seed: int) -> None:
    torch.manual_seed(seed)
    assert gc.verify(torch.prod, torch.randn(3 + seed % 3), order=2, seed=seed)


def test_a_function_that_errs_elsewhere_by_more_than_was_assumed_has_not_left_the_record() -> None:
    drawn = np.random.default_rng(0).uniform(0, 6, 24)
    x = torch.from_numpy(np.append(drawn, [1.4616, 1.0, 2.0])).float()
    report = gc.verify(lambda x: torch.lgamma(x) + torch.digamma(x), x)
    assert report.complete, str(report)


class Power(torch.autograd.Function):
    """x^(3/2)·2/3."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**1.5 / 1.5

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        return g * torch.sqrt(ctx.saved_tensors[0])


def test_a_square_root_that_is_not_rounded_correctly_conforms() -> None:
    x = torch.from_numpy(np.random.default_rng(0).uniform(0, 1, 100_000))
    # Where oneMKL's root is furthest off: seen are 0.528 ulp.
    off = x[torch.sqrt(x) != torch.from_numpy(np.sqrt(x.numpy()))][:8]
    x = torch.cat([off, x[:4]])
    report = gc.verify(lambda x: Power.apply(x), x, cotangent=torch.ones_like(x))
    assert report, str(report)


def test_a_number_that_left_a_record_with_such_a_function_is_still_noticed() -> None:
    report = gc.verify(lambda x: torch.lgamma(x) * x.detach().numpy().sum().item(), X.abs() + 1)
    assert not report.complete


def test_the_incomplete_gamma_function_is_right_at_zero() -> None:
    jax = pytest.importorskip("jax")
    report = gc.verify(lambda x: jax.scipy.special.gammainc(2.5, x), jax.numpy.array([0.0, 1.0]))
    assert report.formula == "right"


def test_a_logarithm_of_zero_has_no_derivative_by_whatever_comes_after_it() -> None:
    x = torch.tensor([0.0, 1.0], dtype=torch.float64)
    for power in (0.5, 1.0, 2.5):
        assert gc.verify(lambda x: torch.exp(power * torch.log(x)), x).formula == "singular"  # noqa: B023
