"""`ctc_loss` of PyTorch: its kernels recorded state by state."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from programs_torch import with_gradients_of  # noqa: E402 -- of PyTorch's programs
from torch import Tensor  # noqa: E402

import gradconform as gc  # noqa: E402
from gradconform.adapters.recording import torch_ctc  # noqa: E402
from gradconform.reference.cases import BadInput  # noqa: E402

ctc_loss = torch.nn.functional.ctc_loss
TARGETS = torch.tensor([[1, 2], [3, 3]])
LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "a mean": lambda x: ctc_loss(x.log_softmax(2), TARGETS, torch.tensor([5, 4]), torch.tensor([2, 2])),
    "targets in a row": lambda x: ctc_loss(x.log_softmax(2), torch.tensor([1, 2, 3]), (5, 5), (2, 1)),
    "no label": lambda x: ctc_loss(
        x.log_softmax(2), TARGETS, torch.tensor([5, 5]), torch.tensor([2, 0]), reduction="sum"
    ),
    "another blank": lambda x: ctc_loss(
        x.log_softmax(2), TARGETS - 1, torch.tensor([5, 5]), torch.tensor([2, 2]), blank=3, reduction="none"
    ),
    "no path": lambda x: ctc_loss(
        x.log_softmax(2), TARGETS, torch.tensor([5, 2]), torch.tensor([2, 2]), reduction="sum", zero_infinity=True
    ),
    "one sequence": lambda x: ctc_loss(
        x[:, 0].log_softmax(1), torch.tensor([1, 2, 3]), torch.tensor(5), torch.tensor(3)
    ),
}


def numbers(steps: int, dtype: Any = torch.float32) -> Tensor:
    return torch.randn(steps, 2, 4, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize(("name", "dtype"), [*((n, torch.float32) for n in LOSSES), ("a mean", torch.float64)])
def test_a_loss_of_a_softmax_is_right(name: str, dtype: Any) -> None:
    """The lengths that are numbers PyTorch writes into a new tensor by itself: they are data."""
    report = gc.verify(LOSSES[name], numbers(5, dtype))
    assert report
    assert report.formula == "right"
    assert min(g.judgement.certified_bits or 0 for g in report.gradients) > (12 if dtype == torch.float32 else 40)


def test_of_many_steps_digits_are_kept() -> None:
    assert gc.verify(lambda x: ctc_loss(x.log_softmax(2), torch.tensor([[1, 2, 3]]), (14,), (3,)), numbers(14)[:, :1])


def test_a_slope_that_is_a_thousandth_off_is_wrong() -> None:
    loss = LOSSES["a mean"]

    assert gc.verify(with_gradients_of(loss, loss, 1.001), numbers(5)).formula == "wrong"


def test_by_what_it_is_given_its_derivative_is_that_of_a_softmax() -> None:
    def loss(x: Tensor) -> Tensor:
        return ctc_loss(x, TARGETS, torch.tensor([5, 5]), torch.tensor([2, 2]), reduction="sum")

    assert gc.verify(loss, numbers(5).log_softmax(2)).formula == "wrong"


def test_a_loss_that_is_infinite_is_not_recorded() -> None:
    with pytest.raises(BadInput, match="of sequence 1, of which no path gives the labels"):
        gc.verify(lambda x: ctc_loss(x.log_softmax(2), TARGETS, (5, 2), (2, 2), reduction="sum"), numbers(5))


@pytest.mark.parametrize("labels", [[], [1], [1, 2], [1, 1], [2, 1, 2]])
def test_the_definition_is_the_sum_over_all_paths(labels: list[int]) -> None:
    x = numbers(4, torch.float64).log_softmax(2)[:, :1, :3]
    loss, _ = torch_ctc.ctc_loss(x, torch.tensor([labels], dtype=torch.int64).reshape(1, -1), [4], [len(labels)])

    def read(path: tuple[int, ...]) -> list[int]:
        return [a for n, a in enumerate(path) if a and (n == 0 or path[n - 1] != a)]

    paths = [p for p in product(range(3), repeat=4) if read(p) == labels]
    assert paths
    total = sum(math.exp(sum(float(x[t, 0, a]) for t, a in enumerate(p))) for p in paths)
    assert float(loss[0]) == pytest.approx(-math.log(total), rel=1e-12)
