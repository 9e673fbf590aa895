"""`verify` where a number stands at the edge of a mask, of a branch or of a place: either side may be meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from programs_torch import ruled, with_gradients_of
from torch import Tensor

import gradconform as gc
from gradconform.conformance.programs.report import Report

#: As many copies of the arguments: judged by balls, and by arrays.
COPIES = (1, 300)
KNOTS, HEIGHTS = (torch.tensor(x, dtype=torch.float64) for x in ((-1.0, 0.0, 1.0, 2.0), (0.0, 1.0, 5.0, 2.0)))


def of(f: Callable[..., Tensor], rule: Callable[[Tensor, Tensor], Tensor], *numbers: float, copies: int = 1) -> Report:
    return gc.verify(ruled("Ruled", f, rule), torch.tensor([*numbers] * copies, dtype=torch.float64))


def replaced(x: Tensor) -> Tensor:
    y = x.clone()
    y[x < 0] = 0.0
    return y


def interpolated(x: Tensor) -> Tensor:
    """Between the knots, where at one it is of the piece on its left."""
    i = torch.searchsorted(KNOTS, x).clamp(1, 3)
    return HEIGHTS[i - 1] + (x - KNOTS[i - 1]) * (HEIGHTS[i] - HEIGHTS[i - 1])


def over_whole_numbers(x: Tensor) -> Tensor:
    """The same by the whole number before, where at one it is of the piece on its right."""
    i = x.floor()
    at = i.long() + 1
    return HEIGHTS[at] + (x - i) * (HEIGHTS[at + 1] - HEIGHTS[at])


def slope(x: Tensor) -> Tensor:
    at = x.ceil().long()
    return HEIGHTS[at + 1] - HEIGHTS[at]


#: relu and |x| by masks, with the slope at 0 that the mask does not have: where the mask is a factor the function is
#: continuous whatever the factor is.
FACTORS: dict[str, tuple[Callable[..., Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "x·(x > 0)": (lambda x: x * (x > 0).to(x.dtype), lambda g, x: g * (x >= 0)),
    "x·(x ≥ 0)": (lambda x: x * (x >= 0).to(x.dtype), lambda g, x: g * (x > 0)),
    "x·sign x": (lambda x: x * x.sign(), lambda g, x: torch.where(x >= 0, g, -g)),
    "x·heaviside x": (lambda x: x * torch.heaviside(x, torch.zeros_like(x)), lambda g, x: g * (x >= 0)),
}
#: And where it moves data, or takes a branch.
AT_EDGES: dict[str, tuple[Callable[..., Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "x[x > 0]": (lambda x: x[x > 0].sum(), lambda g, x: g * (x >= 0)),
    "y[x < 0] = 0": (replaced, lambda g, x: g * (x > 0)),
    "if x > 0": (lambda x: x * 1.0 if x.max() > 0 else x * 0.0, lambda g, x: g * (x.max() >= 0)),
}


@pytest.mark.parametrize("copies", COPIES)
@pytest.mark.parametrize("name", FACTORS)
def test_the_slope_on_the_other_side_of_a_mask_that_is_a_factor_is_a_subgradient(name: str, copies: int) -> None:
    f, rule = FACTORS[name]
    report = of(f, rule, 0.0, 1.0, -2.0, copies=copies)
    assert (report.verdict, report.formula) == ("conforms", "kink")
    between = of(f, lambda g, x: torch.where(x == 0, g * 0.25, rule(g, x)), 0.0, 1.0, -2.0, copies=copies)
    assert (between.verdict, between.formula) == ("conforms", "kink")


@pytest.mark.parametrize("copies", COPIES)
def test_the_slope_on_the_other_side_of_a_jump_is_no_subgradient(copies: int) -> None:
    """The function jumps at 0, and has no slope there but that of the branch that was taken."""
    report = of(lambda x: (x + 1) * (x > 0), lambda g, x: g * (x >= 0), 0.0, 1.0, -2.0, copies=copies)
    assert (report.verdict, report.formula) == ("undecided", "unknown")


@pytest.mark.parametrize("copies", COPIES)
def test_a_literal_that_looks_rounded_beside_a_mask_is_no_jump(copies: int) -> None:
    report = of(lambda x: 0.1 + x * (x > 0), lambda g, x: g * (x >= 0), 0.0, 1.0, -2.0, copies=copies)
    assert (report.verdict, report.formula) == ("conforms", "kink")


@pytest.mark.parametrize("copies", COPIES)
def test_slopes_at_ties_that_do_not_go_together_do_not_pass_beside_an_edge(copies: int) -> None:
    """Both of two equal numbers take all of the slope of the larger; another number stands at a mask's edge."""
    torn = ruled("Torn", lambda a, b, x: torch.maximum(a, b) + x * (x > 0), lambda g, a, b, x: (g, g, g * (x > 0)))
    ones, x = torch.ones(copies + 1), torch.tensor([0.0, *[1.0] * copies])
    report = gc.verify(torn, ones, ones.clone(), x)
    assert not report
    assert "kink" not in {g.judgement.formula for g in report.gradients}


@pytest.mark.parametrize("copies", COPIES)
def test_the_masks_that_a_backward_program_makes_are_no_edges_of_the_function(copies: int) -> None:
    """PyTorch's backward of amax asks which numbers are the largest one: nothing beside it is excused for that."""
    wrong = ruled("Wrong", torch.square, lambda g, w: 3 * g * w)
    w, x = torch.arange(1.0, 3.0 * copies), torch.arange(3.0)
    report = gc.verify(lambda w, x: wrong(w) * x.amax(), w, x)
    assert [g.judgement.formula for g in report.gradients] == ["wrong", "right"]


@pytest.mark.parametrize("copies", COPIES)
@pytest.mark.parametrize("name", AT_EDGES)
def test_the_slope_on_the_other_side_of_an_edge_is_not_called_wrong(name: str, copies: int) -> None:
    numbers = (-1.0, 0.0) if "if" in name else (0.0, 1.0, -2.0)
    report = of(*AT_EDGES[name], *numbers, copies=copies)
    assert (report.verdict, report.formula) == ("undecided", "unknown")
    assert not report
    assert "edge" in str(report)


@pytest.mark.parametrize("copies", COPIES)
@pytest.mark.parametrize("name", [*FACTORS, *AT_EDGES])
def test_off_the_edges_a_wrong_slope_is_wrong(name: str, copies: int) -> None:
    f, rule = {**FACTORS, **AT_EDGES}[name]
    assert of(f, rule, 0.5, 1.0, -2.0, copies=copies).formula == "right"
    assert of(f, lambda g, x: 1.5 * rule(g, x), 0.5, 1.0, -2.0, copies=copies).formula == "wrong"


@pytest.mark.parametrize("copies", COPIES)
def test_at_the_edge_of_a_mask_what_is_of_neither_side_nor_between_is_wrong(copies: int) -> None:
    f, _ = FACTORS["x·(x > 0)"]
    assert of(f, lambda g, x: g * ((x > 0) + 1.5 * (x == 0)), 0.0, 1.0, -2.0, copies=copies).formula == "wrong"
    assert of(f, lambda g, x: g * ((x >= 0) + 0.5 * (x == 1)), 0.0, 1.0, -2.0, copies=copies).formula == "wrong"


@pytest.mark.parametrize("f", [interpolated, over_whole_numbers])
def test_the_slope_of_the_other_piece_at_a_knot_is_not_called_wrong(f: Callable[[Tensor], Tensor]) -> None:
    def right(g: Tensor, x: Tensor) -> Tensor:
        return g * slope(x if f is over_whole_numbers else x + 2.0**-40)

    assert of(f, right, 0.0, 0.5).formula == "unknown"
    assert of(f, right, -0.5, 0.5).formula == "right"
    assert of(f, lambda g, x: 1.5 * right(g, x), -0.5, 0.5).formula == "wrong"


@pytest.mark.parametrize("branch", ["cond", "interp"])
def test_by_jax_too_a_branch_at_its_edge_proves_nothing(branch: str) -> None:
    jax = pytest.importorskip("jax")
    jnp = jax.numpy

    def relu(x: Any) -> Any:
        if branch == "cond":
            return jax.lax.cond(x[0] > 0, lambda x: x, lambda x: 0 * x, x)
        return jnp.interp(x, jnp.array([-4.0, 0.0, 4.0]), jnp.array([0.0, 0.0, 4.0]))

    ruled = jax.custom_vjp(relu)
    ruled.defvjp(lambda x: (relu(x), x), lambda x, g: (g * (x >= 0 if branch == "cond" else x > 0),))
    assert gc.verify(relu, jnp.array([0.0]))
    assert gc.verify(ruled, jnp.array([0.0])).formula == "unknown"
    assert gc.verify(ruled, jnp.array([2.0])).formula == "right"


def test_by_jax_a_search_is_of_the_branches_that_it_took() -> None:
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    x = jnp.linspace(-0.9, 1.9, 300)
    knots, heights = jnp.array([-1.0, 0.0, 1.0, 2.0]), jnp.array([0.0, 1.0, 3.0, -1.0])
    assert gc.verify(lambda x: jnp.interp(x, knots, heights), x).complete


@pytest.mark.parametrize("copies", COPIES)
def test_a_guard_that_takes_1_for_1_plus_1e_40_is_right_and_one_that_takes_it_for_1_plus_1e_12_is_not(
    copies: int,
) -> None:
    def guarded(below: float) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda g, x: torch.where(x < below, g, g / (1 + x))

    assert of(torch.log1p, guarded(1e-20), 1e-40, 0.5, copies=copies)
    assert of(torch.log1p, guarded(1e-10), 1e-12, 0.5, copies=copies).formula == "wrong"


KNOTS_OF_MANY, HEIGHTS_OF_MANY = torch.linspace(0.0, 20.0, 101), torch.sin(torch.arange(101.0))


def piece(i: Tensor, x: Tensor) -> Tensor:
    rise = HEIGHTS_OF_MANY[i + 1] - HEIGHTS_OF_MANY[i]
    return HEIGHTS_OF_MANY[i] + (x - KNOTS_OF_MANY[i]) * rise / (KNOTS_OF_MANY[i + 1] - KNOTS_OF_MANY[i])


def sorted_otherwise(x: Tensor) -> Tensor:
    turned = KNOTS_OF_MANY.flip(0)
    return piece(torch.searchsorted(turned, x, sorter=turned.argsort()).clamp(1, 100) - 1, x)


LOOKUPS: dict[str, Callable[[Tensor], Tensor]] = {
    "searchsorted": lambda x: piece(torch.searchsorted(KNOTS_OF_MANY, x).clamp(1, 100) - 1, x),
    "searchsorted of the right": lambda x: piece(torch.searchsorted(KNOTS_OF_MANY, x, right=True).clamp(1, 100) - 1, x),
    "searchsorted by a sorter": sorted_otherwise,
    "bucketize": lambda x: piece(torch.bucketize(x, KNOTS_OF_MANY).clamp(1, 100) - 1, x),
    "long": lambda x: piece((x * 5).long().clamp(0, 99), x),
    "floor": lambda x: piece((x * 5).floor().long().clamp(0, 99), x),
    "a whole quotient": lambda x: piece(torch.div(x, 0.2, rounding_mode="floor").long().clamp(0, 99), x),
    "round": lambda x: x * torch.round(x, decimals=1),
    "fmod": lambda x: torch.fmod(x, x.flip(0) * 0.1),
    "remainder": lambda x: torch.remainder(x, x.flip(0) * 0.1),
    "a histogram": lambda x: x * torch.histc(x.detach(), 4).sum(),
}


@pytest.mark.parametrize("name", LOOKUPS)
def test_of_many_numbers_some_are_elsewhere_in_the_table_when_it_is_run_again(name: str) -> None:
    """Places in a table are data as long as the numbers stay between the same two of it."""
    x = torch.rand(60, generator=torch.Generator().manual_seed(3)) * 20
    assert gc.verify(LOOKUPS[name], x).verdict == "conforms"

    f = LOOKUPS[name]
    assert gc.verify(with_gradients_of(f, f, 1 + 2.0**-12), x).verdict == "deviates"


#: Two numbers of float32 whose product is below 1, and rounds to it.
BELOW_ONE = (0.8184808492660522, 1.2217756509780884)


@pytest.mark.parametrize("copies", COPIES)
@pytest.mark.parametrize("function", [torch.fmod, torch.remainder])
def test_a_remainder_whose_whole_part_is_of_a_rounded_product_is_right(
    function: Callable[..., Tensor], copies: int
) -> None:
    a, b, y = (torch.tensor([v, w] * copies) for v, w in zip((*BELOW_ONE, 1.0), (2.5, 3.0, 1.0), strict=True))

    def squared(a: Tensor, b: Tensor, y: Tensor) -> Tensor:
        return function(a * b, y) ** 2

    assert (a * b)[0] == 1
    assert float(a[0]) * float(b[0]) < 1
    assert gc.verify(squared, a, b, y)
    assert gc.verify(lambda a, b, y: function(a * b, y), a, b, y)

    def wrong(g: Tensor, a: Tensor, b: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        slope = 2 * function(a * b, y) * g
        return slope * b, slope * a, -slope * torch.div(a * b, y, rounding_mode="trunc") * 1.01

    away = (x[a * b != 1] for x in (a, b, y))
    assert gc.verify(ruled("Ruled", squared, wrong), *away).formula == "wrong"


def test_by_jax_a_remainder_whose_whole_part_is_of_a_rounded_product_is_not_wrong() -> None:
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    a, b, y = (jnp.array([v, w]) for v, w in zip((*BELOW_ONE, 1.0), (2.5, 3.0, 1.0), strict=True))
    assert gc.verify(lambda a, b, y: jnp.fmod(a * b, y), a, b, y)
    assert gc.verify(lambda a, b, y: jnp.mod(a * b, y) ** 2, a, b, y).formula == "kink"
    assert gc.verify(lambda a, b, y: jnp.mod(a * b, y) ** 2, a[1:], b[1:], y[1:])


def test_the_whole_part_of_a_derivative_that_is_not_the_function_s_is_wrong() -> None:
    """PyTorch's fmod has 14 whole parts there, and its derivative, of a quotient that is rounded up, 15."""
    x, y = torch.tensor([14.1234769821167]), torch.tensor([0.9415651559829712])
    assert gc.verify(torch.fmod, x, y).formula == "wrong"
    assert gc.verify(torch.remainder, x, y)


@pytest.mark.parametrize("copies", COPIES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("function", [torch.fmod, torch.remainder])
def test_a_whole_part_of_more_digits_than_the_format_has_is_rounded_to_them(
    function: Callable[..., Tensor], dtype: torch.dtype, copies: int
) -> None:
    digits = {torch.float64: 53, torch.float32: 24, torch.bfloat16: 8}[dtype]
    x = torch.tensor([1.37 * 2.0**e for e in (digits - 1, digits, digits + 1, digits + 7)] * copies, dtype=dtype)
    y, z = torch.full_like(x, 0.9), torch.full_like(x, 0.7)
    assert gc.verify(function, x, y)
    report = gc.verify(with_gradients_of(lambda y: function(x, y), lambda y: function(x, y), 1.25), y)
    assert report.formula == "wrong"
    assert gc.verify(lambda y, z: function(x, y * z), y, z)  # an ulp of the product is several whole parts


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("mod", "float64"), ("mod", "float32"), ("fmod", "bfloat16"), ("ceil", "float32"), ("round", "bfloat16")],
)
def test_by_jax_a_whole_part_of_more_digits_than_the_format_has_is_rounded_to_them(name: str, dtype: str) -> None:
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    digits = {"float64": 53, "float32": 24, "bfloat16": 8}[dtype]

    def function(x: Any, y: Any) -> Any:
        of = getattr(jnp, name)
        return of(x, y) if name in ("fmod", "mod") else x - of(x / y) * y

    def away(x: Any, y: Any) -> Any:
        return tuple(g * 1.25 for g in jax.grad(lambda *a: function(*a).sum(), (0, 1))(x, y))

    wrong = jax.custom_vjp(function)
    wrong.defvjp(lambda *a: (function(*a), a), lambda a, g: tuple(g * slope for slope in away(*a)))
    x = jnp.array([1.37 * 2.0**e for e in (digits, digits + 1, digits + 7)])
    y = jnp.full_like(x, 0.9)
    report = gc.verify(function, x, y, dtype=dtype)
    assert report, report
    assert gc.verify(wrong, x, y, dtype=dtype).formula == "wrong"
    assert not any(note.startswith(":") for note in report.notes), report.notes
