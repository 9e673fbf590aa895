"""Programs from people's reports: what `verify` says of each, with the right values as they were collected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax import test_util
from torch import Tensor
from torch.nn import functional as F

import gradconform as gc
from gradconform.conformance.programs.report import Report

#: Verdicts by which nothing of a right program's answer is certified, or it is out of range.
NOT_CERTIFIED = ("lost", "vacuous", "out of range")


def of(f: Callable[..., Any], *numbers: Any, dtype: str = "float32") -> Report:
    """A function of one PyTorch tensor, with adjoints of 1."""
    x = torch.tensor(numbers, dtype=getattr(torch, dtype))
    return gc.verify(f, x, cotangent=torch.ones_like(f(x)))


def of_jax(
    f: Callable[..., Any], *numbers: Any, dtype: str = "float32", routes: tuple[str, ...] = ("eager",)
) -> Report:
    """A function of one JAX array, with adjoints of 1."""
    with jax.enable_x64(dtype == "float64"):
        x = jnp.array(numbers, dtype)
        return gc.verify(f, x, cotangent=jnp.ones_like(f(x)), routes=routes)


def truths(report: Report) -> list[float]:
    return [float(g.judgement.truth or "nan") for g in report.gradients]


def values(report: Report) -> list[float]:
    return [g.judgement.value for g in report.gradients]


def test_a_slope_of_which_all_digits_are_gone_is_right_and_lost() -> None:
    report = of(torch.expm1, -40.0, dtype="float64")
    assert (report.verdict, report.formula, report.execution) == ("lost", "right", "within")
    assert not report
    assert values(report) == [0.0]
    assert truths(report) == pytest.approx([4.2483542552915890e-18], rel=1e-15)


def test_a_slope_near_a_removable_pole_is_right_and_certifies_nothing() -> None:
    report = of_jax(lambda t: jnp.sinc(2 * t - 1), 0.49999999999999994, dtype="float64")
    assert (report.verdict, report.formula) == ("vacuous", "right")
    assert truths(report) == pytest.approx([7.30497470002079e-16], rel=1e-14)
    assert "digits go at sin" in (report.gradients[0].judgement.reason or "")
    assert not report


def test_the_logarithm_of_an_exponential_is_right_until_it_overflows() -> None:
    for at in (88.0, 89.0):
        report = of_jax(lambda x: jnp.log(jnp.exp(x)), at)
        assert report.formula == "right"
        assert report.verdict in NOT_CERTIFIED
        assert truths(report) == [1.0]
    assert np.isnan(values(report)[0])
    assert report.verdict == "out of range"


def test_a_root_in_a_branch_that_where_discards_makes_the_gradient_undefined() -> None:
    for report in (
        of_jax(lambda x: jnp.where(x > 0, jnp.sqrt(x), 0), -1.0),
        of(lambda x: torch.where(x > 0, x.sqrt(), 0), -1.0),
    ):
        assert (report.verdict, report.formula) == ("deviates", "undefined")
        assert truths(report) == [0.0]
        assert np.isnan(values(report)[0])


def test_a_root_at_0_is_singular() -> None:
    for report in (
        of_jax(lambda x: jnp.where(x > 0, jnp.sqrt(x), 0), 0.0),
        of(lambda x: torch.where(x > 0, x.sqrt(), 0), 0.0),
    ):
        assert (report.verdict, report.formula) == ("singular", "singular")


def test_the_same_root_with_its_operand_guarded_conforms() -> None:
    report = of_jax(lambda x: jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0), -1.0, 4.0)
    assert report, str(report)


def test_a_cross_entropy_of_probabilities_whose_backward_is_clamped_is_no_derivative() -> None:
    report = of(lambda x: F.binary_cross_entropy(torch.sigmoid(x), torch.ones_like(x)), -50.0)
    assert (report.verdict, report.formula) == ("deviates", "wrong")
    assert values(report) == pytest.approx([-1.929e-10], rel=1e-3)
    assert truths(report) == pytest.approx([-1.0], rel=1e-15)
    assert of(lambda x: F.binary_cross_entropy(torch.sigmoid(x), torch.ones_like(x)), -2.0)


@pytest.mark.parametrize(("dtype", "relative"), [("float64", 1e-12), ("float32", 1e-6)])
def test_a_rule_that_is_off_by_little_is_wrong_where_gradcheck_accepts_it(dtype: str, relative: float) -> None:
    def cube(factor: float) -> Callable[[Tensor], Tensor]:
        class Cube(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor) -> Tensor:
                ctx.save_for_backward(x)
                return x**3

            @staticmethod
            def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
                return g * 3 * ctx.saved_tensors[0] ** 2 * factor

        return lambda x: Cube.apply(x)  # type: ignore[no-any-return]

    wrong = of(cube(1 + relative), 0.7, -1.3, dtype=dtype)
    assert (wrong.verdict, wrong.formula) == ("deviates", "wrong")
    assert "Cube" in wrong.culprits[0]
    assert of(cube(1.0), 0.7, -1.3, dtype=dtype)
    if dtype == "float64":
        x = torch.tensor([0.7, -1.3], dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(cube(1 + relative), x)


def test_a_jax_rule_that_is_off_by_little_is_wrong_where_check_grads_accepts_it() -> None:
    @jax.custom_vjp
    def cube(x: Any) -> Any:
        return x**3

    cube.defvjp(lambda x: (cube(x), x), lambda x, g: (g * 3 * x**2 * (1 + 1e-6),))
    report = of_jax(cube, 0.7, -1.3)
    assert (report.verdict, report.formula) == ("deviates", "wrong")
    assert "cube" in report.culprits[0]
    test_util.check_grads(cube, (jnp.array([0.7, -1.3]),), order=1, modes=["rev"])  # type: ignore[no-untyped-call]


def test_a_bias_that_is_averaged_over_the_batch_is_wrong_and_its_rule_is_named() -> None:
    class Bias(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, b: Tensor) -> Tensor:
            return x + b

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            return g, g.mean(0)

    report = gc.verify(lambda x, b: Bias.apply(x, b), torch.randn(4, 2), torch.randn(2))
    assert [(g.argument, g.judgement.formula) for g in report.gradients] == [("x", "right"), ("b", "wrong")]
    assert "Bias" in report.culprits[0]


def test_a_saved_tensor_changed_through_data_makes_the_gradient_wrong() -> None:
    def f(x: Tensor) -> Tensor:
        y = 2 * x
        z = y**2
        y.data.mul_(1.5)
        return z

    report = of(f, 0.5, -1.25)
    assert (report.verdict, report.formula) == ("deviates", "wrong")
    assert values(report) == [pytest.approx(truths(report)[0] * 1.5)]


def test_a_cumulative_product_with_zeros_conforms() -> None:
    assert of(lambda x: torch.cumprod(x, 0), 2.0, 0.0, 3.0, 0.0)
    assert of_jax(lambda x: jnp.cumprod(x), 2.0, 0.0, 3.0, 0.0)


def test_any_slope_between_0_and_1_conforms_at_the_bounds_of_a_clamp() -> None:
    for report, slope in (
        (of(lambda x: x.clamp(-0.5, 0.5), -0.5), 1.0),
        (of_jax(lambda x: jnp.clip(x, -0.5, 0.5), -0.5, routes=("eager", "jit")), 0.5),
    ):
        assert report, str(report)
        assert report.formula == "kink"
        assert set(values(report)) == {slope}
        low, high = (float(x) for x in (report.gradients[0].judgement.truth or "").strip("[]").split(","))
        assert (low, high) == pytest.approx((0.0, 1.0), abs=1e-8)


def test_a_softmax_without_its_shift_is_right_and_overflows() -> None:
    for report in (
        of(lambda x: torch.exp(x) / torch.exp(x).sum(), 100.0, 99.0, 0.0),
        of_jax(lambda x: jnp.exp(x) / jnp.exp(x).sum(), 100.0, 99.0, 0.0),
    ):
        assert (report.verdict, report.formula, report.execution) == ("out of range", "right", "overflow")
        assert np.isnan(values(report)[0])
