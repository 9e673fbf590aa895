"""What a program's digits go to: lost beside a program that keeps them, ill-conditioned, or neither shown."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from flint import arb
from torch import Tensor
from torch.nn import functional as F

import gradconform as gc
from gradconform.conformance.programs.report import Report
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import FLOAT16, FLOAT32, FLOAT64
from gradconform.reference.arithmetic.profiles import profile
from gradconform.reference.arithmetic.rounded import Rounded
from gradconform.reference.programs.exact import Exact
from gradconform.reference.programs.keeping import by_table, condition, loser
from gradconform.reference.programs.record import Record


def of(f: Callable[[Tensor], Tensor], *numbers: float, dtype: str = "float32") -> Report:
    x = torch.tensor(numbers, dtype=getattr(torch, dtype))
    return gc.verify(f, x, cotangent=torch.ones_like(f(x)))


@pytest.mark.parametrize(("f", "at"), [(torch.expm1, -40.0), (torch.tanh, 20.0), (torch.sigmoid, 40.0)])
def test_digits_that_reverse_mode_by_the_table_keeps_are_lost(f: Callable[[Tensor], Tensor], at: float) -> None:
    report = of(f, at, dtype="float64")
    (gradient,) = report.gradients
    assert (report.verdict, report.formula, report.execution) == ("lost", "right", "within")
    assert "reverse mode by the table of functions keeps" in (gradient.judgement.reason or "")
    assert f"digits go at {f.__name__}" in (gradient.judgement.reason or "")


def test_a_sum_that_cancels_is_ill_conditioned() -> None:
    report = of(lambda x: x.sum() ** 2, 1.0, -1.0000001, 2.3e-9)
    assert report.verdict == "ill-conditioned"
    assert of(lambda x: x.sum() ** 2, 1.0, 1.0000001, 2.3e-9)


def test_digits_that_go_at_one_step_are_not_laid_on_the_arguments() -> None:
    # log(exp x)' is 1 whatever x: the reciprocal of e^88 is subnormal, and may be flushed to 0.
    report = of(lambda x: torch.log(torch.exp(x)), 88.0)
    assert (report.verdict, report.formula) == ("vacuous", "right")
    report = of(lambda x: torch.sin(x + 1e8), 0.3)
    assert (report.verdict, report.formula) == ("vacuous", "right")
    assert "digits go at add" in (report.gradients[0].judgement.reason or "")


def test_the_condition_is_that_of_the_results_by_the_arguments() -> None:
    record = Record()
    x, y = (record.new((1,), v) for v in (3.0, -2.0))
    total = record.map("add", [x, y], FLOAT64, 1.0)
    result = record.map("multiply", [total, total], FLOAT64, 1.0)
    with precision(100):
        exact = Exact(record).evaluate()
        assert condition(exact, [x, y], {int(result[0]): 1.0}) == pytest.approx(10.0)  # 2|x + y|(|x| + |y|)
        step, moved = loser(exact, int(result[0])) or (None, 0.0)
    assert step is None, moved


def test_a_stopped_number_hides_the_condition() -> None:
    record = Record()
    x = record.new((1,), 3.0)
    result = record.map("multiply", [x, record.map("stopped", [x], FLOAT64, 3.0)], FLOAT64, 9.0)
    with precision(100):
        assert condition(Exact(record).evaluate(), [x], {int(result[0]): 1.0}) is None


def test_what_the_table_keeps_holds_the_derivative() -> None:
    record = Record()
    x = record.new((2,), [0.5, -3.0])
    found = record.map("tanh", [record.map("exp", [x], FLOAT64)], FLOAT64)
    with precision(200):
        exact = Exact(record).evaluate()
        ids = found.ravel().tolist()
        truth = exact.pull({ids[0]: arb(1), ids[1]: arb(-2)})
        (kept,) = by_table(record, profile("opencl", "torch"), [(found, [1.0, -2.0])], [x])
        for i, ball in zip(x.ravel().tolist(), kept, strict=True):
            off = abs(truth[i] - ball.exact)
            assert off <= ball.radius
            assert ball.radius < abs(truth[i]) * 2.0**-45


def test_what_the_table_keeps_leaves_the_record_as_it_is() -> None:
    record = Record()
    x = record.new((1,), 0.5)
    found = record.map("tanh", [x], FLOAT64)
    numbers, steps = record.size, list(record.steps)
    by_table(record, profile("opencl", "torch"), [(found, [1.0])], [x])
    assert record.steps == steps
    assert record.number(7.25) == numbers  # the next id
    record.map("exp", [x], FLOAT64)
    assert len(record.steps) == 2


def test_what_the_table_keeps_is_a_number_of_the_results_format() -> None:
    record = Record()
    x = record.new((1,), 0.75)
    rounded = record.map("round", [record.map("exp", [x], FLOAT32)], FLOAT16)  # as a kernel computes in float32
    ((found,),) = by_table(record, profile("opencl", "torch"), [(rounded, [1.0])], [x])
    assert isinstance(found, Rounded)
    assert found.arithmetic.format is FLOAT16
    assert found.radius >= abs(found.exact) * 2.0**-11 * 0.99  # by one rounding to float16 at least


def test_slopes_that_are_exact_are_lost_beside_nothing() -> None:
    """They are 1, 0 and 1: a sixth in float32 leaves a hair of the first."""
    report = of(F.hardswish, 40.0, -40.0, 20.0, dtype="float16")
    assert report, report
    assert (report.gradients[0].judgement.certified_bits or math.inf) > 11


def clipped(z: Tensor) -> Tensor:
    return torch.where(z > 0, z, 0.0 * z)


@pytest.mark.parametrize("corner", [torch.relu, clipped, lambda z: torch.maximum(z, torch.zeros(1).bfloat16())])
def test_a_side_that_rounding_leaves_open_is_open_to_every_program(corner: Callable[[Tensor], Tensor]) -> None:
    x, b = torch.tensor([1.0234375]).bfloat16(), torch.zeros(1).bfloat16()
    # x⁴ − 1.0859375 is 0.011, and its three products round by up to 0.004 each: by the other side the derivative is 0.
    report = gc.verify(lambda x, b: corner(x * x * x * x - 1.0859375 + b), x, b)
    assert (report.formula, report.execution) == ("right", "within")
    assert [g.judgement.accuracy for g in report.gradients] == ["vacuous", "vacuous"], str(report)
    assert gc.verify(lambda x, b: corner(x * x * x * x - 1.0625 + b), x, b)  # 0.034: no rounding takes it to the other


def test_digits_are_lost_behind_a_side_that_is_certain() -> None:
    report = gc.verify(lambda x: torch.relu(torch.expm1(x) + 1.5), torch.tensor([-40.0]))
    assert report.accuracy == "lost", str(report)


def test_a_program_in_arrays_is_ill_conditioned_by_its_arguments() -> None:
    half = torch.linspace(0.5, 1.5, 300 * 3).reshape(300, 3)
    weights, x = torch.cat([half, -half], dim=1), torch.linspace(0.5, 1.5, 3)

    def energy(x: Tensor) -> Tensor:
        return ((weights @ x) ** 2).sum()

    assert gc.verify(energy, torch.cat([x, -x]))
    report = gc.verify(energy, torch.cat([x, x * (1 + 2.0**-22)]))
    assert (report.verdict, report.formula) == ("ill-conditioned", "right"), str(report)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_tail_of_gelu_is_lost_since_its_definition_keeps_the_digits(dtype: torch.dtype) -> None:
    """PyTorch's kernel adds 1 to erf there."""
    report = gc.verify(lambda x: F.gelu(x), torch.tensor([-8.5 if dtype is torch.float64 else -7.0], dtype=dtype))
    assert (report.formula, report.execution, report.accuracy) == ("right", "within", "lost")


def test_gelu_by_tanh_conforms() -> None:
    assert gc.verify(lambda x: F.gelu(x, approximate="tanh"), torch.tensor([0.5, -1.25, 2.0]))
