"""Each operation of a recorded program on the operands that it had, and what a report says of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import gradconform as gc
from gradconform.conformance.programs.program_steps import check_steps


def logistic(x: torch.Tensor) -> torch.Tensor:
    for _ in range(30):
        x = 3.875 * (x - x * x)
    return x


def test_where_rounding_hides_a_gradient_it_is_said_what_each_operation_did() -> None:
    """Thirty steps of a logistic map leave no digit that is certain; each operation by itself errs by one rounding."""
    report = gc.verify(logistic, torch.tensor(0.3), replays=False)
    assert report.verdict == "vacuous"
    (note,) = [line for line in str(report).splitlines() if "step by step" in line]
    each = f"  note: step by step: each of the {len(report.steps)} operations is within its own rounding"
    assert note == f"{each} of the operands that it had (report.steps)"
    assert "step by step" not in str(gc.verify(lambda x: logistic(x).detach() * x.sin(), torch.tensor(0.3)))


def test_an_operation_that_errs_where_rounding_hides_it_is_named() -> None:
    report = gc.verify(logistic, torch.tensor(0.3), replays=False)
    (run,) = report.runs
    last = run.backward.steps[-1]
    run.backward.held[last.out] = np.float32(run.backward.held[last.out] * (1 + 2.0**-20))
    (note,) = [line for line in str(report).splitlines() if "step by step" in line]
    count = len(run.backward.steps)
    assert f"step by step: {count - 1} of {count} operations are within their own rounding" in note
    assert f"{last.name} ({last.line}) outside: report.explain() has all that are not" in note
    assert f"{last.name} ({last.line}), float32, element []: outside" in report.explain()


def masked(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    mask = torch.tensor([[[0.0, -math.inf], [0.0, 0.0]]], dtype=q.dtype)
    return torch.softmax(torch.baddbmm(mask, q, k), -1).clamp(0.3, 0.7)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_a_mask_of_minus_infinity_and_a_literal_are_no_errors_of_their_steps(dtype: str) -> None:
    """An infinity that is added to a product stays one, by whatever way; a literal that is passed on is rounded."""
    q = torch.tensor([[[0.5, -1.25], [2.0, 0.75]]])
    report = gc.verify(masked, q, q + 0.125, dtype=dtype)
    assert {s.execution for s in report.findings} == {"within", "overflow"}, report.explain()


@pytest.mark.parametrize("other", [math.inf, math.nan, -(2.0**127)])
def test_another_number_in_the_place_of_an_infinity_is_an_error(other: float) -> None:
    q = torch.tensor([[[0.5, -1.25], [2.0, 0.75]]])
    report = gc.verify(masked, q, q + 0.125)
    (run,) = report.runs
    first = next(s for s in report.findings if s.execution == "overflow")
    out = run.backward.steps[first.number].out
    run.backward.held[out] = np.where(np.isneginf(run.backward.held[out]), other, run.backward.held[out])
    found = list(check_steps(run.backward, report.profile))
    assert [s.execution for s in found if s.number == first.number] == ["outside"]


def test_what_was_not_shown_is_not_judged_and_nothing_has_no_steps() -> None:
    """A factor of `index_add` is applied inside of the kernel; an empty tensor has no worst number."""

    def f(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        added = x.index_add(0, torch.tensor([0, 2]), y, alpha=3)
        return torch.fmod(added, 1.25), torch.fmod(x[:0], 1.25)

    report = gc.verify(f, torch.tensor([0.5, 0.25, 2.0]), torch.tensor([0.125, 0.375]))
    assert report
    assert {s.execution for s in report.findings} == {"within"}, report.explain()
    assert all(s.elements for s in report.findings)


def test_where_some_operations_are_not_shown_it_is_said_how_many_there_are() -> None:
    """The product inside of `index_add` is the kernel's own, and so is the sum that reads it."""

    def f(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return logistic(x.index_add(0, torch.tensor([0]), y, alpha=0.125))

    report = gc.verify(f, torch.tensor([0.25]), torch.tensor([0.5]), replays=False)
    (note,) = [line for line in str(report).splitlines() if "step by step" in line]
    (run,) = report.runs
    assert len(report.steps) < len(run.backward.steps)
    assert f"each of the {len(report.steps)} operations that were shown, of {len(run.backward.steps)}, is" in note


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_cumulative_product_keeps_more_digits_than_it_returns(dtype: str) -> None:
    """PyTorch's kernel goes on from the product in double precision, not from the number that it returned."""
    x = torch.linspace(0.8, 1.2, 40)
    report = gc.verify(lambda x: x.cumprod(0), x, dtype=dtype)
    assert {s.execution for s in report.findings} == {"within"}, report.explain()
    (run,) = report.runs
    kernel = next(s for s in run.backward.steps if s.name == "aten::cumprod")
    run.backward.held[kernel.out[20]] *= 2
    outside = [s for s in check_steps(run.backward, report.profile) if s.execution == "outside"]
    assert kernel.name in {s.operation for s in outside}
