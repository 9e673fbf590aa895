"""`verify` where numbers are equal: the slopes of a tie by themselves, and together."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import Tensor

import gradconform as gc
from gradconform.conformance.programs.report import Report

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


def sorted_by(order: Callable[[Tensor], Tensor], scale: float = 1.0) -> Callable[[Tensor], Tensor]:
    """Sorted numbers, whose rule takes them in this order."""

    class Sorted(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.order = order(x)
            return x.sort(stable=True)[0]

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
            return torch.zeros_like(g).index_put((ctx.order,), scale * g)

    return lambda x: Sorted.apply(x)  # type: ignore[no-any-return]


def last_first(x: Tensor) -> Tensor:
    """The order in which of equal numbers the last comes first."""
    return len(x) - 1 - x.flip(0).argsort(stable=True)


@pytest.mark.parametrize("copies", [1, 500])
def test_equal_numbers_in_another_order_are_not_called_wrong(copies: int) -> None:
    tied, apart = (torch.tensor([*x] * n, dtype=torch.float64) for x, n in (((2.0, 1, 2, 3), copies), ((2.0, 1, 3), 1)))
    report = gc.verify(sorted_by(last_first), tied)
    assert (report.verdict, report.formula) == ("undecided", "unknown")
    assert "give numbers that differ" in str(report)
    assert gc.verify(sorted_by(last_first), apart).verdict == "conforms"
    assert gc.verify(sorted_by(last_first, 1.5), tied).formula == "wrong"  # together they have what is not theirs


def test_the_place_of_equal_numbers_that_were_computed_proves_nothing() -> None:
    f = sorted_by(last_first)
    assert gc.verify(lambda x: f(x * x), torch.tensor([2.0, 1, -2, 3], dtype=torch.float64)).formula == "unknown"
    assert gc.verify(lambda x: f(x * x), torch.tensor([2.0, 1, -3], dtype=torch.float64)).formula == "right"


def test_of_equal_largest_numbers_another_place_is_not_called_wrong() -> None:
    class Largest(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.last = len(x) - 1 - x.flip(0).argmax()
            ctx.save_for_backward(x)
            return x[x.argmax()]

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
            (x,) = ctx.saved_tensors
            return torch.zeros_like(x).index_put((ctx.last,), g)

    def formula(*numbers: float) -> str:
        return gc.verify(lambda x: Largest.apply(x), torch.tensor(numbers, dtype=torch.float64)).formula

    assert formula(1.0, 3.0, 3.0) == "unknown"
    assert formula(1.0, 3.0, 2.0) == "right"


def test_by_jax_too_equal_numbers_may_come_in_another_order() -> None:
    jax = pytest.importorskip("jax")
    jnp = jax.numpy

    @jax.custom_vjp  # type: ignore[untyped-decorator]
    def ordered(x: Any) -> Any:
        return jnp.sort(x)

    def back(x: Any, g: Any) -> tuple[Any]:
        last = len(x) - 1 - jnp.argsort(x[::-1], stable=True)
        return (jnp.zeros_like(g).at[last].set(g),)

    ordered.defvjp(lambda x: (jnp.sort(x), x), back)
    assert gc.verify(ordered, jnp.asarray([1.0, 2.0, 2.0, 3.0])).formula == "unknown"
    assert gc.verify(ordered, jnp.asarray([1.0, 2.0, 4.0, 3.0])).formula == "right"


@pytest.mark.parametrize("copies", COPIES)
def test_wrong_slopes_beside_equal_numbers_that_were_computed_are_no_pass(copies: int) -> None:
    larger = maximum(1.0, 1.0)

    def f(x: Tensor, y: Tensor) -> Tensor:
        return larger(x, y).sum() + (x * (4 - x)).sort()[0].sum()  # of 1 and 3 it is 3

    report = of(f, copies)
    assert report.formula == "unknown"
    assert (report.verdict, bool(report)) == ("undecided", False)


def test_the_end_of_a_set_is_within_it() -> None:
    x = torch.tensor([2.0, -1.0, 1.0], dtype=torch.float64)
    assert gc.verify(lambda x: (x.amax() + x).clamp(-1.0, 1.0), x)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("copies", COPIES)
def test_a_program_that_may_take_either_side_of_a_tie_keeps_its_digits(dtype: torch.dtype, copies: int) -> None:
    """x² may round to either side of the bound; both slopes are in the set."""
    assert gc.verify(lambda x: (x * x).clamp(min=1.0), torch.tensor([1.0, -1.0] * copies, dtype=dtype))


def test_beyond_the_set_of_a_tie_nothing_is_within() -> None:
    def larger(x: Tensor) -> Tensor:
        return (x * x).clamp(min=1.0)

    from dataclasses import replace

    import numpy as np

    from gradconform.adapters.record_torch import record
    from gradconform.conformance.programs.check_program import gradients
    from gradconform.reference.arithmetic.profiles import profile

    run = record(larger, [torch.tensor([1.0], dtype=torch.float64)])
    slope = 2 * float(run.backward.held[run.cotangents[0]].item())
    for factor, execution in ((1.0, "within"), (0.0, "within"), (1.5, "outside"), (-0.5, "outside")):
        other = replace(run, returned={"eager": [np.array([factor * slope])]})
        (found,) = gradients(other, profile("opencl", "torch"))
        assert found.judgement.execution == execution


def test_what_is_wrong_beside_a_tie_does_not_make_the_tie_wrong() -> None:
    """At 0 every slope of |x| is right; what another argument's rule gives has nothing to do with that."""
    for copies in (1, 200):
        w, x = torch.arange(1.0, 1.0 + copies), torch.tensor([0.0, 1.0] * copies)
        report = gc.verify(lambda w, x: (w.detach() * w).sum() + x.abs().sum(), w, x)
        assert [g.judgement.verdict for g in report.gradients] == ["deviates", "conforms"]


@pytest.mark.parametrize("copies", COPIES)
@pytest.mark.parametrize("infinity", [-math.inf, math.inf])
@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_equal_infinities_are_tied_and_one_beside_a_number_is_not(mode: str, infinity: float, copies: int) -> None:
    """As of a row that is masked as a whole."""
    largest: dict[str, Callable[..., Any]] = {"torch": lambda x: x.amax(-1), "jax": lambda x: x.max(-1)}
    rows = [[infinity, infinity, infinity], [infinity, 0.5, -1.0], [0.5, 0.5, -2.0]] * copies
    for name, array in (("torch", torch.tensor), ("jax", jnp.asarray)):
        report = gc.verify(largest[name], array(rows), mode=mode)
        assert report.formula in ("right", "kink", "singular"), str(report)
        assert report.execution == "within"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [3, 10], ids=["balls", "arrays"])
def test_what_a_literal_leaves_open_beside_a_tie_is_no_slope_of_it(count: int, dtype: torch.dtype) -> None:
    """By an ulp of 3.7 the derivative of 40 rounds may be anything, and a program without it would be within that; the
    largest number is a tie of relu."""

    def recurrence(x: Tensor, stopped: bool) -> Tensor:
        y = x
        for _ in range(40):
            y = 3.7 * y * (1 - y)
        return x + (y.detach() if stopped else y) + torch.relu(x - x.amax()) / 2

    x = torch.from_numpy(np.random.default_rng(count).uniform(0.1, 0.9, count)).to(dtype)
    assert gc.verify(lambda x: recurrence(x, False), x, replays=False).formula == "kink"
    stopped = gc.verify(lambda x: recurrence(x, True), x, replays=False)
    assert (stopped.formula, bool(stopped)) == ("unknown", False)


# Rounding decides between two sides that are one function -------------------------------------------------------------


def clipped_ratio(lp: Any, old: Any, gain: Any, smaller: Callable[..., Any] = jnp.minimum) -> Any:
    """The loss of proximal policy optimization: within its bounds a ratio that is clipped is the ratio itself."""
    ratio = jnp.exp(lp - old)
    return -smaller(ratio * gain, jnp.clip(ratio, 0.8, 1.2) * gain).mean()


@jax.custom_vjp
def both(x: Any, y: Any) -> Any:
    return jnp.minimum(x, y)


both.defvjp(lambda x, y: (both(x, y), (x, y)), lambda at, g: (g * (at[0] <= at[1]), g * (at[1] <= at[0])))


@pytest.mark.parametrize(("dtype", "bits"), [("float64", 49), ("float32", 20), ("bfloat16", 5)])
def test_a_minimum_of_two_sides_that_rounding_leaves_open_keeps_its_digits(dtype: str, bits: int) -> None:
    """JAX's share of each is a choice of 1 or 0 by one of 2 or 1, which is no less than 0 and no more than 1."""
    given = jnp.array([0.1, -0.1, 0.3]), jnp.zeros(3), jnp.array([1.5, -0.7, 0.4])
    report = gc.verify(clipped_ratio, *given, dtype=dtype, cotangent=1.0)
    assert report, report
    found = [g.judgement.certified_bits for g in report.gradients]
    assert all(b is None or b > bits for b in found), found  # None is every bit
    wrong = gc.verify(lambda *x: clipped_ratio(*x, smaller=both), *given, dtype=dtype, cotangent=1.0)
    assert wrong.formula == "wrong", wrong


def test_so_it_does_in_arrays() -> None:
    random = np.random.default_rng(0)
    lp, gain = (jnp.asarray(random.normal(size=3000) * s, jnp.float32) for s in (0.2, 1.0))
    report = gc.verify(clipped_ratio, lp, jnp.zeros(3000), gain, cotangent=1.0)
    assert report, report
    assert min(g.judgement.certified_bits or 0.0 for g in report.gradients) > 20, report
