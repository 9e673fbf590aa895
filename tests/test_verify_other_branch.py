"""`verify` where a function asks whether a number equals another, and it does: the branch that was not taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import gradconform as gc
from gradconform.conformance.programs.report import Report

#: As many copies of the arguments: judged by balls, and by arrays.
COPIES = (1, 120)


def of(f: Callable[..., Any], *arguments: Sequence[float], copies: int) -> Report:
    return gc.verify(f, *(torch.tensor([*x] * copies, dtype=torch.float64) for x in arguments))


def ruled(value: Callable[..., Tensor], rule: Callable[..., Tensor | tuple[Tensor, ...]]) -> Callable[..., Tensor]:
    """A function with a rule of its own: from the adjoint and the arguments."""

    class Ruled(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *x: Tensor) -> Tensor:
            ctx.save_for_backward(*x)
            return value(*x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
            return rule(g, *ctx.saved_tensors)

    return lambda *x: Ruled.apply(*x)  # type: ignore[no-any-return]


def expm1(x: Tensor) -> Tensor:
    return torch.where(x == 0, 0.0, torch.expm1(x))


def sinc(x: Tensor) -> Tensor:
    return torch.where(x == 0, 1.0, torch.sin(x) / x)


def sinc_rule(g: Tensor, x: Tensor, at_0: float) -> Tensor:
    return g * torch.where(x == 0, at_0, torch.cos(x) / x - torch.sin(x) / x / x)


def log_mean(x: Tensor, y: Tensor) -> Tensor:
    return torch.where(x == y, x, (x - y) / (torch.log(x) - torch.log(y)))


def log_mean_rule(g: Tensor, x: Tensor, y: Tensor, half: float) -> tuple[Tensor, Tensor]:
    off = torch.log(x) - torch.log(y)
    by_x, by_y = 1 / off - (x - y) / off / off / x, (x - y) / off / off / y - 1 / off
    return g * torch.where(x == y, half, by_x), g * torch.where(x == y, 1 - half, by_y)


@pytest.mark.parametrize("copies", COPIES)
def test_the_derivative_of_either_branch_is_right_where_the_function_goes_on(copies: int) -> None:
    taken, other = of(expm1, (0.0, 1.0), copies=copies), of(
        ruled(expm1, lambda g, x: g * torch.exp(x)), (0.0, 1.0), copies=copies
    )  # fmt: skip
    assert (taken.verdict, taken.formula) == ("conforms", "right")
    assert (other.verdict, other.formula) == ("conforms", "kink")


@pytest.mark.parametrize("copies", COPIES)
def test_what_is_of_neither_branch_is_wrong(copies: int) -> None:
    report = of(ruled(expm1, lambda g, x: g * torch.where(x == 0, 0.5, torch.exp(x))), (0.0, 1.0), copies=copies)
    assert (report.verdict, report.formula) == ("deviates", "wrong")


@pytest.mark.parametrize("copies", COPIES)
def test_where_the_function_jumps_the_branch_that_was_taken_is_asked_for(copies: int) -> None:
    def masked(x: Tensor) -> Tensor:
        return torch.where(x == 0, 0.0, torch.exp(x))

    assert of(masked, (0.0, 1.0), copies=copies).formula == "right"
    report = of(ruled(masked, lambda g, x: g * torch.exp(x)), (0.0, 1.0), copies=copies)
    assert (report.verdict, report.formula) == ("deviates", "wrong")


@pytest.mark.parametrize("size", [1.0, 1e-30])
@pytest.mark.parametrize("hole", [False, True])
def test_a_jump_is_one_however_small(size: float, hole: bool) -> None:
    def masked(x: Tensor) -> Tensor:
        return torch.where(x == 0, 0.0, size * (torch.sin(x) / x if hole else torch.exp(x)))

    rule = ruled(masked, lambda g, x: size * g * torch.where(x == 0, 1.0 - hole, torch.exp(x)))
    assert of(rule, (0.0,), copies=1).formula == ("right" if hole else "wrong")
    other = ruled(masked, lambda g, x: size * g * torch.ones_like(x))
    assert of(other, (0.0,), copies=1).formula == "wrong"


@pytest.mark.parametrize("copies", COPIES)
@pytest.mark.parametrize(("at_0", "formula"), [(0.0, "right"), (0.3, "wrong")])
def test_the_rule_at_a_hole_of_a_quotient_is_judged(copies: int, at_0: float, formula: str) -> None:
    assert of(ruled(sinc, lambda g, x: sinc_rule(g, x, at_0)), (0.0, 1.0), copies=copies).formula == formula


@pytest.mark.parametrize("copies", COPIES)
def test_a_nan_of_the_branch_that_was_not_taken_is_undefined_still(copies: int) -> None:
    report = of(sinc, (0.0, 1.0), copies=copies)
    assert (report.verdict, report.formula) == ("deviates", "undefined")


@pytest.mark.parametrize(("half", "formula"), [(0.5, "kink"), (1.0, "right"), (0.75, "wrong")])
def test_a_limit_of_two_equal_numbers_is_right_beside_the_branch(half: float, formula: str) -> None:
    rule = ruled(log_mean, lambda g, x, y: log_mean_rule(g, x, y, half))
    assert of(rule, (1.0, 2.0, 0.5), (1.0, 3.0, 0.5), copies=1).formula == formula


@pytest.mark.parametrize("copies", COPIES)
def test_an_infinite_slope_of_the_other_branch_is_singular_and_accuses_nobody(copies: int) -> None:
    def entropy(x: Tensor) -> Tensor:
        return torch.xlogy(x, x)

    for rule, formula in (
        (lambda g, x: g * (torch.log(x) + 1), "singular"),
        (lambda g, x: torch.where(x > 0, g * (torch.log(x) + 1), 0.0), "right"),
        (lambda g, x: torch.where(x > 0, g * (torch.log(x) + 1), 7.0), "wrong"),
    ):
        assert of(ruled(entropy, rule), (0.0, 1.0, 2.0), copies=copies).formula == formula
    assert of(entropy, (0.0, 1.0, 2.0), copies=copies).formula == "singular"
    assert of(torch.xlogy, (0.0, 1.0), (0.0, 2.0), copies=copies).formula == "singular"  # x/y: another by every way


@pytest.mark.parametrize("copies", COPIES)
@pytest.mark.parametrize(("slope", "formula"), [(0.0, "kink"), (1.0, "kink"), (1.5, "wrong"), (-1.5, "wrong")])
def test_beside_a_corner_the_derivative_of_the_other_branch_is_right_too(
    slope: float, formula: str, copies: int
) -> None:
    relu = ruled(torch.relu, lambda g, x: g * torch.where(x == 0, slope, (x > 0).to(x.dtype)))
    other = ruled(expm1, lambda g, x: g * torch.exp(x))
    assert of(lambda x: relu(x) + other(x), (0.0, 1.0), copies=copies).formula == formula


@pytest.mark.parametrize("copies", COPIES)
@pytest.mark.parametrize(("slope", "formula"), [(1.0, "kink"), (-0.5, "kink"), (1.5, "wrong")])
def test_the_other_branch_may_have_a_corner(slope: float, formula: str, copies: int) -> None:
    def magnitude(x: Tensor) -> Tensor:
        return torch.where(x == 0, 0.0, x.abs())

    rule = ruled(magnitude, lambda g, x: g * torch.where(x == 0, slope, x.sign()))
    report = of(rule, (0.0, 1.0), copies=copies)
    assert (report.formula, bool(report)) == (formula, formula == "kink")


@pytest.mark.parametrize("copies", COPIES)
def test_how_an_equality_decides_beside_other_conditions_is_not_known(copies: int) -> None:
    def either(x: Tensor) -> Tensor:
        return torch.where((x == 0) | (x == 3), 0.0 * x, torch.sin(x))

    for slope, formula in ((1.0, "unknown"), (0.0, "right"), (0.5, "wrong")):
        rule = ruled(either, lambda g, x, s=slope: g * torch.where(x == 0, s, x.cos()))
        assert of(rule, (0.0, 1.0), copies=copies).formula == formula


@pytest.mark.parametrize("copies", COPIES)
def test_the_edge_of_a_mask_beside_equal_numbers_is_not_called_wrong(copies: int) -> None:
    def masked(x: Tensor) -> Tensor:
        return torch.where(x == 0, 0.0 * x, x * (x > 0).to(x.dtype))

    for slope, formula in ((1.0, "unknown"), (0.0, "right"), (1.5, "wrong")):
        rule = ruled(masked, lambda g, x, s=slope: g * torch.where(x == 0, s, (x > 0).to(x.dtype)))
        assert of(rule, (0.0, 1.0), copies=copies).formula == formula


def test_beside_the_arguments_a_corner_of_theirs_is_none() -> None:
    assert of(lambda x: torch.special.entr(x.abs()), (0.0, 1.0), copies=1).formula in ("singular", "right")
    report = of(ruled(lambda x: torch.xlogy(x.abs(), x.abs()), lambda g, x: g / x), (0.0,), copies=1)
    assert report.formula == "singular"


@pytest.mark.parametrize("copies", COPIES)
def test_a_distance_of_equal_numbers_has_the_slopes_of_either_side(copies: int) -> None:
    def distance(x: Tensor, y: Tensor) -> Tensor:
        return torch.where(x == y, 0.0, torch.sqrt((x - y) ** 2))

    def rule(g: Tensor, x: Tensor, y: Tensor, at_0: float) -> tuple[Tensor, Tensor]:
        sign = torch.where(x == y, at_0, torch.sign(x - y))
        return g * sign, -g * sign

    for at_0, formula in ((1.0, "kink"), (-1.0, "kink"), (0.0, "right"), (0.5, "kink"), (1.5, "wrong")):
        found = of(ruled(distance, lambda g, x, y, s=at_0: rule(g, x, y, s)), (1.0, 2.0, -2.0), (1.0, 0.5, -2.0),
                   copies=copies)  # fmt: skip
        assert found.formula == formula
    assert of(distance, (1.0, 2.0), (1.0, 0.5), copies=copies).formula == "undefined"  # 0·∞, of a slope that is bounded


def test_by_jax_too_the_limit_of_x_log_x_has_no_slope_at_0() -> None:
    jax = pytest.importorskip("jax")
    report = gc.verify(lambda x: jax.scipy.special.entr(x), jax.numpy.asarray([0.0, 1.0, 2.0], dtype="float32"))
    assert report.formula == "singular"


def test_a_mask_that_does_not_depend_on_the_arguments_has_no_other_branch() -> None:
    mask = torch.tensor([0.0, 1.0], dtype=torch.float64)

    def masked(x: Tensor) -> Tensor:
        return torch.where(mask == 0, 0.0, torch.expm1(x))

    report = of(ruled(masked, lambda g, x: g * torch.exp(x)), (0.0, 1.0), copies=1)
    assert (report.verdict, report.formula) == ("deviates", "wrong")


def test_tangents_have_the_other_branch_too() -> None:
    jax = pytest.importorskip("jax")

    @jax.custom_jvp  # type: ignore[untyped-decorator]
    def f(x: Any) -> Any:
        return jax.numpy.where(x == 0, 0.0, jax.numpy.expm1(x))

    f.defjvp(lambda x, t: (f(*x), t[0] * jax.numpy.exp(x[0])))
    report = gc.verify(f, jax.numpy.asarray([0.0, 1.0], dtype="float32"), mode="forward")
    assert (report.verdict, report.formula) == ("conforms", "kink")


@pytest.mark.parametrize("copies", COPIES)
@pytest.mark.parametrize(("other", "formula"), [(2.0, "unknown"), (4.0, "wrong")])
def test_a_branch_that_was_taken_by_rounding_excuses_what_the_other_branch_is_and_nothing_else(
    copies: int, other: float, formula: str
) -> None:
    """x + 2^-60 > x is false in float64 and true without rounding: beside a definition the slope there may be meant."""

    def slope(g: Tensor, x: Tensor) -> Tensor:
        return g * torch.where(x + 2.0**-60 > x, other * x, 4 * x)

    f = ruled(lambda x: (x * x).sum(), slope)
    x = torch.tensor([1.0, 2.0, 3.0] * copies, dtype=torch.float64)
    assert gc.verify(f, x, definition=lambda o, x: (x * x).sum()).formula == formula
    assert gc.verify(f, x).formula == "wrong"


@pytest.mark.parametrize("copies", COPIES)
def test_a_slope_that_goes_on_over_the_branch_that_rounding_took_is_not_wrong(copies: int) -> None:
    """Both products round to the same number, and their difference less 1 to 1, which is a little more: there huber's
    slope is that difference and its bound, and the kernel takes it for the one and the other."""
    numbers = (0.6348933577537537, 2.5783255100250244), (0.5204867720603943, 3.145059108734131)
    a, b = (torch.tensor([x] * copies + [y] * copies) for x, y in zip(*numbers, strict=True))
    assert (a * b)[0] == (a * b)[-1]

    def loss(a: Tensor, b: Tensor) -> Tensor:
        x, t = (a * b).split(copies)
        return torch.nn.functional.huber_loss(x, t - 1, reduction="sum")

    # Piece by piece it is right, at the numbers that the run had; balls leave the edge itself open.
    report = gc.verify(loss, a, b)
    assert (report.verdict, report.formula) == ("conforms", "unknown" if copies == 1 else "right")

    def slope(g: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        x, t = (a * b).split(copies)
        off = (x - t + 1).clamp(-1, 1) * 1.001
        by = g * torch.cat([off, -off])
        return by * b, by * a

    assert gc.verify(ruled(loss, slope), a, b).formula == "wrong"


class StableSilu(torch.autograd.Function):
    """z·σ(z), its slope by e^-|z| and the sign of z, so that nothing overflows; or with a factor that is wrong."""

    factor = 1.0

    @staticmethod
    def forward(ctx: Any, z: Any) -> Any:
        ctx.save_for_backward(z)
        return z * torch.sigmoid(z)

    @classmethod
    def slope(cls, z: Any) -> Any:
        e, positive = torch.exp(-z.abs()), (z >= 0).to(z.dtype)
        s = (positive + (1 - positive) * e) / (1 + e)
        return cls.factor * s * (1 + z * (1 - s))

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * StableSilu.slope(*ctx.saved_tensors)


class OffSilu(StableSilu):
    factor = 1.001

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * OffSilu.slope(*ctx.saved_tensors)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_sign_that_rounding_took_is_no_wrong_formula_where_the_number_is_right(dtype: Any) -> None:
    """0.1·3 − fl(0.1·3) is 0 in the dtype, and below 0 without rounding: by that sign the rule is the derivative."""
    x = torch.tensor([0.1, 0.3, 0.7, 1.1], dtype=dtype)
    report = gc.verify(lambda x, y: StableSilu.apply(x * 3 - y), x, x * 3)
    assert report.formula in ("right", "unknown"), report
    assert gc.verify(lambda x, y: OffSilu.apply(x * 3 - y), x, x * 3).formula == "wrong"
