"""Derivatives that are 0 by cancellation: right as a part of what cancels, and wrong where they are anything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import gradconform as gc
from gradconform.reference.arithmetic.formats import FLOAT32
from gradconform.reference.programs.cancelled import cancelled
from gradconform.reference.programs.record import Record


class Shifted(torch.autograd.Function):
    """x + b, whose rule adds a thousandth to the gradient of b."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, b: Tensor) -> Tensor:
        ctx.shape = b.shape
        return x + b

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return g, g.sum_to_size(ctx.shape) + 1e-3


def normed(shift: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x, b: F.batch_norm(shift(x, b), None, None, training=True)


def arguments(rows: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    drawn = np.random.default_rng(rows)
    return torch.from_numpy(drawn.normal(size=(rows, 3))).to(dtype), torch.from_numpy(drawn.normal(size=3)).to(dtype)


def test_a_report_of_digits_that_are_not_certified_says_what_makes_it_true() -> None:
    x = torch.tensor([[0.5, -1.25], [2.0, 0.25], [1.0, -0.5]])
    layer = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    report = gc.verify(layer, x)
    assert (report.verdict, bool(report)) == ("vacuous", False)
    assert 'accept="vacuous" makes the report true' in str(report)
    accepted = gc.verify(layer, x, accept="vacuous")
    assert accepted
    assert "accept=" not in str(accepted)
    wrong = gc.verify(lambda x: layer(x) * x.detach(), x)
    assert "accept=" not in str(wrong)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [4, 12, 60], ids=["balls", "balls with a rounded literal", "arrays"])
def test_a_bias_before_a_batch_norm_has_a_right_gradient_without_digits(rows: int, dtype: torch.dtype) -> None:
    x, b = arguments(rows, dtype)
    report = gc.verify(normed(lambda x, b: x + b), x, b, wrt=["b"])
    assert (report.formula, report.execution, report.accuracy) == ("right", "within", "vacuous")
    assert gc.verify(normed(lambda x, b: x + b), x, b, wrt=["b"], accept="vacuous")


@pytest.mark.parametrize("rows", [4, 12, 60])
def test_a_thousandth_where_all_cancels_is_wrong_and_the_rule_is_named(rows: int) -> None:
    x, b = arguments(rows, torch.float32)
    report = gc.verify(normed(Shifted.apply), x, b)  # type: ignore[arg-type]
    assert (report.verdict, report.formula) == ("deviates", "wrong")
    assert "Shifted" in report.culprits[0]


def test_a_shift_before_a_softmax_is_right_and_one_that_cancels_in_part_keeps_its_digits() -> None:
    x, b = torch.tensor([0.5, -1.25, 2.0, 0.25]), torch.tensor(0.75)
    assert gc.verify(lambda x, b: torch.softmax(x + b, -1), x, b).formula == "right"
    assert gc.verify(lambda x, b: torch.softmax(x + b, -1) * b, x, b)


class Times(torch.autograd.Function):
    """x, whose rule multiplies the gradient by `factor`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return g * ctx.factor, None


@pytest.mark.parametrize(
    ("dtype", "steps", "scale"),
    [(torch.float64, 64, 0.05), (torch.float32, 120, 0.2), (torch.bfloat16, 120, 0.2)],
    ids=["float64", "float32", "bfloat16"],
)
def test_what_vanishes_through_many_steps_is_asked_for_digits_of_its_own(
    dtype: torch.dtype, steps: int, scale: float
) -> None:
    """The gradient of the first inputs is less than double words tell beside the last's."""
    drawn = np.random.default_rng(8)
    xs = torch.from_numpy(drawn.normal(size=(steps, 1, 8)) * 0.5).to(dtype)
    w = torch.from_numpy(drawn.normal(size=(8, 8)) * scale).to(dtype)

    def through(factor: float) -> Callable[[Tensor], Tensor]:
        def f(xs: Tensor) -> Tensor:
            h = xs[0]
            for n, x in enumerate(xs[1:]):
                h = torch.tanh(h @ w + x)
                h = Times.apply(h, factor) if n == 2 else h  # type: ignore[no-untyped-call]
            return h

        return f

    assert gc.verify(through(1.0), xs, replays=False).formula == "right"
    for factor in (-1.0, 1 + 2.0 ** (-20 if dtype == torch.float64 else -7)):
        report = gc.verify(through(factor), xs, replays=False)
        assert (report.formula, bool(report)) == ("wrong", False)


class Tails(torch.autograd.Function):
    """exp(−x²), whose rule has a wrong sign beyond `end`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, end: float) -> Tensor:
        y = torch.exp(-x * x)
        ctx.save_for_backward(x, y)
        ctx.end = end
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        x, y = ctx.saved_tensors
        slope = -2 * x * y
        return g * torch.where(x.abs() > ctx.end, -slope, slope), None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("count", [4, 400], ids=["balls", "arrays"])
def test_what_approximates_a_definition_does_so_in_its_small_components(count: int, dtype: torch.dtype) -> None:
    """exp(−4.5²) is 2^-29 of the largest: no component is right because others are larger."""
    x = torch.linspace(-1, 1, count, dtype=dtype)
    x[0] = 4.5

    def asked(end: float) -> str:
        def f(x: Tensor) -> Tensor:
            return Tails.apply(x, end)  # type: ignore[no-untyped-call,no-any-return]

        return gc.verify(f, x, definition=lambda o, x: o.exp(-(x * x))).formula

    assert (asked(9.0), asked(3.5)) == ("right", "wrong")


def test_what_cancels_are_the_terms_of_the_last_sums() -> None:
    r = Record()
    x = r.new((3,), [3.0, -2.0, -1.0])
    total = r.sop(x, None, FLOAT32, 0.0)
    halved = r.map("multiply", [total, np.array(r.number(0.5))], FLOAT32, 0.0)
    both = r.map("subtract", [halved, r.new((), 4.0)], FLOAT32, -4.0)
    assert cancelled(r, np.stack([total, halved, both]), [0, 1, 2]).tolist() == [6.0, 3.0, 7.0]
    assert cancelled(r, np.stack([total, halved]), [1]).tolist() == [0.0, 3.0]


def test_terms_of_a_recurrence_do_not_pile_up() -> None:
    """x(1 − x) over and over: a sum of two in a product, in another sum; of these three are looked into."""
    r = Record()
    x = r.new((), 1.0)
    for _ in range(6):
        x = r.map("multiply", [np.array(r.number(4.0)), r.map("subtract", [x, x], FLOAT32, 0.25)], FLOAT32, 1.0)
    assert cancelled(r, x[None], [0]).tolist() == [8.0**3]


def test_a_derivative_of_hundreds_of_terms_one_after_another_is_still_0_by_what_cancels() -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        total = 0.0 * x.sum()
        for i in range(400):
            total = total + (1.5 * x[i % 5] - 1.5 * x[i % 5].exp().log())
        return total

    assert gc.verify(f, torch.linspace(0.1, 0.5, 5), replays=False).formula == "right"


def test_of_a_derivative_that_is_0_by_cancellation_no_digits_are_told() -> None:
    """cos² + sin² of a computed number: the truth is known to be next to 0, and no ulp of that tells anything."""
    x = torch.tensor([0.75], dtype=torch.float64)
    text = str(gc.verify(lambda x: (x.exp().cos() ** 2 + x.exp().sin() ** 2).sum(), x))
    assert "the derivative is 0" in text
    assert "ulp off" not in text
    shifted = str(gc.verify(lambda x: (x.exp().cos() ** 2 + x.exp().detach().sin() ** 2).sum(), x))
    assert "formula wrong" in shifted
