"""A number less itself is 0, and depends on nothing, also where it is computed twice: as of points and themselves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from programs_torch import ruled
from torch import Tensor

import gradconform as gc

SCALE = torch.tensor([1.25, 0.3], dtype=torch.float64)


def points(count: int) -> Tensor:
    return torch.linspace(-1.25, 1.75, 2 * count, dtype=torch.float64).reshape(count, 2).sin()


def kernel(x: Tensor, scale: Tensor) -> Tensor:
    return torch.exp(-(torch.cdist(x / scale.exp(), x / scale.exp()) ** 2))


def norms(x: Tensor, scale: Tensor) -> Tensor:
    z = x / scale.exp()
    return (z[:, None] - z[None]).norm(dim=-1).exp()


@pytest.mark.parametrize("count", [3, 12], ids=["balls", "arrays"])
@pytest.mark.parametrize("f", [kernel, norms])
def test_distances_of_computed_points_to_themselves_are_0_and_constant(f: Any, count: int) -> None:
    modes = ("reverse", "forward") if f is norms else ("reverse",)  # PyTorch has no forward mode of cdist
    for mode in modes:
        report = gc.verify(f, points(count), SCALE, mode=mode)
        assert report, str(report)


#: exp, of which the derivative is a part in a thousand too large.
off = ruled("Off", torch.exp, lambda g, x: g * x.exp() * 1.001)


def test_what_is_computed_twice_by_a_wrong_rule_is_wrong() -> None:
    def twice(x: Tensor, scale: Tensor) -> Tensor:
        return torch.exp(-(torch.cdist(x / off(scale), x / scale.exp()) ** 2))

    report = gc.verify(twice, points(4), SCALE)
    assert [g.judgement.formula for g in report.gradients] == ["right", "wrong"]
    assert any("Off" in c for c in report.culprits)


def test_slopes_at_a_tie_are_apart_though_the_number_is_one() -> None:
    """`relu` at 0 may have the slope 1 here and 0 there, of numbers that are computed by the same operation twice."""

    one = ruled("One", torch.relu, lambda g, x: g * (x >= 0))
    x = torch.tensor([0.0, 0.75], dtype=torch.float64)
    report = gc.verify(lambda x: one(x * 3) - (x * 3).relu(), x)
    assert report.formula == "kink"


#: x², whose backward pass cannot be differentiated.
once = ruled("Once", torch.square, lambda g, x: g * 2 * x.detach())


@pytest.mark.parametrize("count", [3, 12], ids=["balls", "arrays"])
def test_what_relu_makes_0_is_at_no_edge_in_a_second_derivative(count: int) -> None:
    """Its gradient asks whether its result is above 0: where it is 0 it stays so, and there is no tie."""
    x, w = points(count), points(2 * count).reshape(2, -1)
    report = gc.verify(lambda x, w: (x @ w).relu().square().sum(0).sin(), x, w, order=2)
    assert report.formula == "right", str(report)
    assert all(g.ties == 0 for g in report.gradients)
    wrong = gc.verify(lambda x, w: once((x @ w).relu()).sum(0).sin(), x, w, order=2)
    assert [g.judgement.formula for g in wrong.gradients] == ["right"] * 2 + ["wrong"] * 2
    at_0 = gc.verify(lambda x: x.relu() * torch.ones(count * 30), torch.zeros(1), order=1)
    assert at_0.formula == "kink"
