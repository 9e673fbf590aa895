"""Which components of a tensor deviate; and what a pass of few bits means: both are said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gradconform as gc
from gradconform.adapters import on_torch
from gradconform.adapters.contract import Answer
from gradconform.reference.cases import Point
from gradconform.reference.components import deviating
from gradconform.reference.measurement import which_deviate


@pytest.mark.parametrize(
    ("where", "shape", "parts", "text"),
    [
        ([5], (12,), False, "1 of 12 deviates"),
        (range(12), (3, 4), False, "all 12 deviate"),
        ([4, 5, 6, 7], (3, 4), False, "4 of 12 deviate: row 1"),
        ([0, 1, 2, 3, 8, 9, 10, 11], (3, 4), False, "8 of 12 deviate: rows 0, 2"),
        ([1, 5, 9], (3, 4), False, "3 of 12 deviate: column 1"),
        ([0, 4, 8], (3, 3), False, "3 of 9 deviate: the diagonal"),
        ([0, 5], (3, 4), False, "2 of 12 deviate: [0,0], [1,1]"),
        ([0, 1, 4, 6, 9, 11], (3, 4), False, "6 of 12 deviate: [0,0], [0,1], [1,0], [1,2] and 2 more"),
        (range(2, 9), (12,), False, "7 of 12 deviate: [2] to [8]"),
        ([i for i in range(12) if i != 5], (3, 4), False, "11 of 12 deviate: all but [1,1]"),
        ([*range(4, 8), *range(16, 20)], (2, 3, 4), False, "8 of 24 deviate: [:, 1, :]"),
        ([1, 3, 5], (3, 2), True, "3 of 6 deviate: the imaginary parts"),
        ([2, 3], (3, 2), True, "2 of 6 deviate: [1]"),
        ([0, 3], (3, 2), True, "2 of 6 deviate: [0,real part], [1,imaginary part]"),
        (range(1000), (2000, 3), False, "1,000 of 6,000 deviate: [0,0], [0,1], [0,2], [1,0] and 996 more"),
    ],
)
def test_components_are_named_by_what_they_are(where: Any, shape: tuple[int, ...], parts: bool, text: str) -> None:
    assert deviating(np.array(where), shape, parts) == text


def rule(row: Any) -> Any:
    """The square, with a gradient that is wrong by a thousandth in some components."""

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
            (x,) = ctx.saved_tensors
            found = 2 * g * x
            found[row] *= 1.001
            return found

    return Square.apply


def numbers(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("rows", [4, 600], ids=["balls", "arrays"])
def test_a_wrong_formula_in_one_row_is_named_as_that_row(rows: int, tmp_path: Path) -> None:
    report = gc.verify(rule(1), numbers(rows, 5))
    what = f"components: 5 of {rows * 5:,} deviate: row 1"
    assert f"      {what}" in str(report).splitlines()
    assert list(report.table.reason) == [what]
    report.save(tmp_path / "run.jsonl")
    assert json.loads((tmp_path / "run.jsonl").read_text().splitlines()[1])["reason"] == what


@pytest.mark.parametrize("rows", [4, 600], ids=["balls", "arrays"])
def test_a_right_gradient_has_no_components_that_deviate(rows: int) -> None:
    report = gc.verify(rule(slice(0, 0)), numbers(rows, 5))
    assert report
    assert "components" not in str(report)


def test_what_is_undecided_names_no_components() -> None:
    """What left the record may be at fault: nothing is said to deviate."""

    def left(x: torch.Tensor) -> Any:
        return rule(1)(x) + x.detach().numpy().sum()

    report = gc.verify(left, numbers(4, 5))
    assert report.verdict == "undecided"
    assert "components" not in str(report)


@pytest.mark.parametrize("size", [4, 3000], ids=["balls", "arrays"])
def test_an_update_that_deviates_in_one_component_says_so(size: int, tmp_path: Path) -> None:
    class Leaky(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            super().step()
            with torch.no_grad():
                self.param_groups[0]["params"][0][2] *= 1.5

    w = numbers(size)
    report = gc.verify_update(lambda p: Leaky(p, lr=0.1), w, [w / 2], rule=lambda p: torch.optim.SGD(p, lr=0.1))
    what = f"components: 1 of {size:,} deviates"
    assert what in str(report)
    assert list(report.table.reason) == [what]
    report.save(tmp_path / "run.jsonl")
    assert what in json.loads((tmp_path / "run.jsonl").read_text().splitlines()[1])["reason"]


def test_a_number_has_no_components() -> None:
    report = gc.verify(rule(slice(None)), torch.tensor([0.75]))
    assert report.verdict == "deviates"
    assert "components" not in str(report)
    assert which_deviate(report.gradients[0].judgement, ()) is None


@pytest.mark.parametrize("width", [4, 40], ids=["balls", "arrays"])
def test_a_row_of_a_layered_network_says_which_components_deviate(width: int) -> None:
    random = np.random.default_rng(0)
    case = gc.network_case(
        "mine/rows", layers=[(random.normal(size=(width, 3)), None, "tanh")], loss="half_squared_error",
        inputs=random.normal(size=(5, 3)), targets=np.zeros((5, width)), rate=0.5,
    )  # fmt: skip

    class Wrong(on_torch.TorchAdapter):
        def answer(self, point: Point, route: str) -> Answer:
            right = super().answer(point, route)
            wrong = np.array(right.gradient["W1"])
            wrong[2] *= 1.5
            return Answer(right.loss, {**right.gradient, "W1": wrong}, right.updated)

    rows = gc.check(Wrong(), case)
    reasons = set(rows.reason[(rows.quantity == "dE/dW1") & (rows.route == "eager")])
    assert reasons == {f"components: 3 of {3 * width} deviate: row 2"}
    right = gc.check("torch/eager", case)
    assert set(right.verdict) == {"conforms"}
    assert right.reason.isna().all()


def test_a_pass_of_few_bits_says_what_it_means_and_what_to_do() -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x @ x.T).prod()

    report = gc.verify(f, numbers(4, 4), dtype="bfloat16")
    bits = report.gradients[0].judgement.certified_bits
    assert bits is not None
    assert bits < 4
    (note,) = [line for line in str(report).splitlines() if "few bits" in line]
    assert note.startswith("  note: few bits: in bfloat16 rounding alone may put ∂/∂x")
    assert note.endswith('a wrong formula is; dtype="float64" may certify more')
    assert "few bits" not in str(gc.verify(f, numbers(4, 4), dtype="float64"))


def test_where_there_is_no_derivative_that_is_said_and_no_truth_is_called_none() -> None:
    said = str(gc.verify(torch.log, torch.tensor([0.0, 1.0]))).splitlines()
    assert "      there is no derivative" in said
    assert not [line for line in said if "None" in line]


@pytest.mark.parametrize(("x", "said"), [(16.0, True), (5.0, False)])
def test_a_quarter_of_the_dtypes_bits_is_few_too(x: float, said: bool) -> None:
    """1 − tanh² keeps 5.4 of float64's 53 bits at 16, and 37 at 5."""
    report = gc.verify(torch.tanh, torch.tensor(x, dtype=torch.float64))
    assert report
    note = "in float64 rounding alone may put ∂/∂argument 0 2.4% off, and less is not seen"
    assert (note in str(report), "few bits" in str(report)) == (said, said)


def test_where_no_bit_is_certain_their_number_is_not_told() -> None:
    """σ(z)(1 − σ(z)) at 40 in float32 is 0, and so far below the truth that "-39.2 bits" would say nothing more."""
    said = str(gc.verify(torch.sigmoid, torch.tensor(40.0)))
    assert "formula right, execution within, lost (no bit is certain)" in said
