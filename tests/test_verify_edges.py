"""`verify` at the edges of a format and of its records: overflow, ties, literals, and a wrong formula."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import gradconform as gc
from gradconform.conformance.programs.pieces import Pieces
from gradconform.conformance.programs.report import Report


def of(f: Callable[..., Any], *numbers: float, dtype: torch.dtype = torch.float32) -> Report:
    return gc.verify(f, torch.tensor(numbers, dtype=dtype))


def custom(backward: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """x² with this rule."""

    class Rule(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
            return backward(g, ctx.saved_tensors[0])

    return lambda x: Rule.apply(x)  # type: ignore[no-any-return]


def test_a_nan_of_several_overflows_is_of_the_program_and_no_deviation() -> None:
    report = of(lambda x: F.gelu(x, approximate="tanh"), 1e230, -3e191, 2e178, dtype=torch.float64)
    assert (report.verdict, report.formula, report.execution) == ("out of range", "right", "overflow")
    assert report.complete


@pytest.mark.parametrize("copies", [1, 300])
def test_what_may_divide_by_0_on_the_way_and_returned_finite_numbers_is_not_out_of_range(copies: int) -> None:
    x, y = torch.tensor([1.1] * copies), torch.tensor([1.3] * copies)
    z = x * y * (1 + 2.0**-23)
    report = gc.verify(lambda x, y, z: 1 / (1 / (x * y - z)), x, y, z, wrt="z")
    assert (report.verdict, report.formula, report.execution) == ("vacuous", "right", "within"), report
    assert "the derivative is -" in str(report)
    assert "divisor to 0" in str(report)
    twice = custom(lambda g, x: 4 * g * x)
    assert gc.verify(lambda x, y, z: 1 / (1 / (x * y - twice(z))), x, y, z, wrt="z").formula == "wrong"


def test_of_a_formula_that_arrays_do_not_know_it_is_said_to_how_many_bits_they_do(monkeypatch: Any) -> None:
    """A logistic map loses more than a bit in each step."""

    def steps(x: Tensor) -> Tensor:
        for _ in range(40):
            x = 3.875 * (x - x * x)
        return x

    x, twice = torch.linspace(0.1, 0.4, 5, dtype=torch.float64), custom(lambda g, x: 4 * g * x)
    assert gc.verify(steps, x, replays=False).formula == "right"
    monkeypatch.setattr("gradconform.conformance.programs.check_program.AFFORDABLE", 0)
    monkeypatch.setattr("gradconform.conformance.programs.check_program_arrays.FORMULA_AFFORDABLE", 0)
    assert gc.verify(steps, x, replays=False).formula == "right"  # piece by piece
    monkeypatch.setattr("gradconform.conformance.programs.report.by_pieces", lambda run, profile: Pieces())
    report = gc.verify(steps, x, replays=False)
    assert (report.formula, report.execution, report.complete, bool(report)) == ("unknown", "within", True, False)
    assert "bits, and 56 are asked" in str(report), report
    assert "are asked" not in str(gc.verify(lambda x: twice(x[:3]), x, replays=False))


@pytest.mark.parametrize("wrong", [False, True], ids=["right", "wrong"])
def test_the_formula_alone_is_asked_of_balls_where_all_of_them_would_take_too_long(
    wrong: bool, monkeypatch: Any
) -> None:
    """In 40 steps of a logistic map double words lose all that is asked; a rule is off by 2^-30."""
    nearly = custom(lambda g, x: 2 * g * x + g * x * 2.0**-30)

    def steps(x: Tensor) -> Tensor:
        for _ in range(40):
            x = 3.875 * (x - (nearly(x) if wrong else x * x))
        return x

    monkeypatch.setattr("gradconform.conformance.programs.check_program.AFFORDABLE", 0)
    report = gc.verify(steps, torch.linspace(0.1, 0.4, 12, dtype=torch.float64), replays=False)
    assert report.formula == ("wrong" if wrong else "right"), report
    (g,) = report.gradients
    assert wrong or g.formula_bits >= 56
    assert bool(report.culprits) == wrong


@pytest.mark.parametrize("bits", [-math.inf, math.inf, math.nan, -3.0])
def test_of_a_formula_of_which_no_bit_is_known_that_is_said(bits: float) -> None:
    report = of(torch.sin, 0.5)
    (g,) = report.gradients
    unknown = replace(g, formula_bits=bits, judgement=replace(g.judgement, formula="unknown"))
    said = str(replace(report, gradients=(unknown,)))
    assert "formula unknown: it is known to 0 bits, and 27 are asked" in said


def test_a_program_that_overflows_where_it_is_run_again_has_not_left_its_record() -> None:
    report = of(lambda x: x * x, 3e30, -2e35, dtype=torch.bfloat16)
    assert report.complete
    assert report.verdict == "conforms"


def test_a_wrong_rule_is_wrong_among_overflows_too() -> None:
    report = of(custom(lambda g, x: g * x), 3e30, -2e35)
    assert (report.verdict, report.formula) == ("deviates", "wrong")


def test_a_branch_that_a_nan_took_proves_no_formula_wrong() -> None:
    report = of(lambda x: (x[:1] * 1e10 - x[1:] * 1e10).clamp(min=0.0), 3e38, 2e38)
    assert report.formula == "unknown"
    assert report.verdict != "deviates"


def test_the_component_that_is_shown_is_the_one_whose_formula_is_wrong() -> None:
    report = of(custom(lambda g, x: 2 * g * x * torch.tensor([1.0, 1.0, 1.5])), 0.3, 0.7, 1.1)
    (gradient,) = report.gradients
    assert gradient.judgement.formula == "wrong"
    assert gradient.index == "2"
    assert gradient.judgement.value == pytest.approx(1.5 * float(gradient.judgement.truth or "nan"))


@pytest.mark.parametrize("count", [3, 2000])
def test_the_component_that_is_shown_is_the_one_that_overflows(count: int) -> None:
    x = torch.linspace(0.1, 1, count)
    x[1] = 89
    report = gc.verify(torch.exp, x)
    (row,) = report.table.to_dict("records")
    assert (row["verdict"], row["value"], row["worst_index"]) == ("out of range", math.inf, "1")
    assert "got inf" in str(report)


def test_a_literal_is_no_reason_to_know_less_where_both_programs_agree_at_it() -> None:
    # Half an ulp of π in the one and the other, apart, would be a relative 2^-3 of their difference.
    report = of(lambda x: torch.sin(3.141592653589793 * x) / x - 3.141592653589793 * x.cos(), 2.0**-24,
                dtype=torch.float64)  # fmt: skip
    assert report.formula == "right"


@pytest.mark.parametrize("x", [1e-60, 1e-100, 1e-300])
def test_what_more_precision_tells_from_0_is_no_pole(x: float) -> None:
    """e^x − 1 is x there, and 0 in float64: that overflows, and has a derivative."""
    report = of(lambda x: (1 / (x.exp() - 1)).sum(), x, dtype=torch.float64)
    assert (report.verdict, report.formula, report.execution) == ("out of range", "right", "overflow")
    assert report.gradients[0].judgement.truth is not None


def test_a_right_rule_whose_divisor_needs_more_precision_is_not_accused() -> None:
    class LogExpm1(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return torch.expm1(x).log()

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return g * x.exp() / (x.exp() - 1)

    report = of(lambda x: LogExpm1.apply(x).sum(), 1e-60, dtype=torch.float64)
    assert (report.verdict, report.formula) == ("out of range", "right"), str(report)


@pytest.mark.parametrize("f", [torch.sqrt, torch.log, torch.Tensor.norm], ids=["sqrt", "log", "norm"])
def test_a_pole_that_is_met_exactly_is_singular(f: Callable[..., Any]) -> None:
    assert of(lambda x: f(x).sum(), 0.0, 0.0).verdict == "singular"


@pytest.mark.parametrize("order", [1, 2, 3, math.inf])
def test_the_norm_of_one_number_is_its_magnitude(order: float) -> None:
    def f(x: Tensor) -> Tensor:
        return torch.linalg.vector_norm(x, order)

    assert of(f, 0.0).formula == "kink"
    assert (of(f, 1e15).verdict, of(f, 1e15).formula) == ("conforms", "right")  # its cube would overflow


def test_the_norm_of_order_0_is_a_count() -> None:
    for numbers in ((3.0, 0.0, -2.0), (3.0,), (0.0,)):
        assert of(lambda x: torch.linalg.vector_norm(x, 0) * x.sum(), *numbers).formula in ("right", "kink")


def test_what_is_beyond_balls_is_of_unknown_formula() -> None:
    report = of(lambda x: x.exp().sum(), 1e300, dtype=torch.float64)
    assert (report.verdict, report.formula) == ("out of range", "unknown")


def test_an_infinity_of_a_divisor_that_is_0_as_far_as_can_be_seen_is_undecided() -> None:
    report = of(custom(lambda g, x: 2 * g * x / (x / 3 * 3 - x)), 1.0)
    assert (report.verdict, report.formula) == ("undecided", "unknown")
    assert of(custom(lambda g, x: 2 * g * x / (x / 4 * 4 - x)), 1.0).formula == "undefined"  # where it is known


def test_a_truth_without_a_tie_is_a_number_however_small() -> None:
    report = of(lambda x: torch.sigmoid(x).sum(), -1e300, dtype=torch.float64)
    assert not str(report.gradients[0].judgement.truth).startswith("[")


def test_the_operations_of_every_run_of_a_report_are_its_steps() -> None:
    x = torch.tensor([0.5, -1.25])
    one, rows = gc.verify(torch.tanh, x), gc.verify(torch.tanh, x, rows="all")
    assert len(rows.steps) == 2 * len(one.steps)


@pytest.mark.parametrize("count", [400, 2000])
def test_a_function_that_errs_more_elsewhere_has_not_left_the_record_in_balls_nor_in_arrays(count: int) -> None:
    report = gc.verify(torch.digamma, torch.linspace(0.3, 3.0, count))
    assert report, str(report)


def test_the_derivative_of_a_result_that_is_infinite_is_singular_and_accuses_nobody() -> None:
    """det = 0; 0 beside an infinity; a NaN that a product of complex numbers makes of one."""
    a = torch.tensor([[0.0, 0.0], [2.0, 1.0]], dtype=torch.float64)
    assert gc.verify(lambda a: torch.linalg.slogdet(a)[1], a).verdict == "singular"
    x, w = torch.tensor([[-math.inf, -math.inf], [0.5, -1.0]]), torch.tensor([[1.0, -0.5], [-1.0, -0.75]])
    assert gc.verify(lambda x, w: torch.tanh(x @ w.T), x, w).verdict == "singular"
    z = torch.tensor([complex(-math.inf, 0.75), 0.5 - 1.0j])
    assert gc.verify(lambda z: (z * z.conj()).real, z).verdict == "singular"


@pytest.mark.parametrize("copies", [1, 400], ids=["balls", "arrays"])
@pytest.mark.parametrize("f", [lambda x: 1 / x, lambda x: x**-1, lambda x: x**-2, lambda x: x**-3])
@pytest.mark.parametrize("framework", [torch.tensor, jnp.asarray], ids=["torch", "jax"])
def test_a_power_falls_off_to_either_side(framework: Callable[..., Any], f: Callable[..., Any], copies: int) -> None:
    report = gc.verify(f, framework([-math.inf, math.inf, *[-2.0] * copies]))
    assert report.formula == "right", str(report)


@pytest.mark.parametrize(
    ("f", "at"),
    [
        (lambda x: torch.logaddexp2(x[0], x[1]), (0.0, 1e300)),
        (lambda x: 1 / (1 + x[0] ** x[1]), (2.0, 1e300)),
        (lambda x: 1 / (1 + torch.i0(x[0])), (1e300,)),
        (lambda x: 1 / (1 + torch.special.erfcx(x[0])), (-1e300,)),
    ],
    ids=["logaddexp2", "power", "i0", "erfcx"],
)
def test_what_is_larger_than_balls_hold_is_no_pole(f: Callable[..., Any], at: tuple[float, ...]) -> None:
    assert of(f, *at, dtype=torch.float64).verdict != "deviates"
    base_of_0 = of(lambda x: x[0] ** -1.0, 0.0, dtype=torch.float64)
    assert base_of_0.formula == "singular"


def test_a_branch_by_a_number_that_is_flushed_makes_nothing_undefined() -> None:
    """XLA takes 1e-310 for 0, where x·log y is 0."""
    with jax.enable_x64(True):
        report = gc.verify(jax.scipy.special.xlogy, jnp.asarray([1e-310]), jnp.asarray([0.0]))
    assert (report.verdict, report.formula) == ("out of range", "unknown")


@pytest.mark.parametrize("copies", [1, 400], ids=["balls", "arrays"])
def test_a_power_of_two_that_is_flushed_scales_nothing(copies: int) -> None:
    x, y = (jnp.full(copies, v, jnp.float32) for v in (3.0, 2.0**-140))
    report = gc.verify(lambda x, y: x * 1e30 * y, x, y)
    assert (report.formula, report.execution) == ("right", "within"), str(report)


def test_a_nan_where_every_result_is_finite_is_undefined_still() -> None:
    x = torch.tensor([-math.inf, 0.5])
    assert gc.verify(lambda x, w: torch.tanh(x * w), x, torch.tensor([1.5, 2.0])).formula == "undefined"


@pytest.mark.parametrize("rows", [1, 60], ids=["balls", "arrays"])
def test_numbers_that_are_equal_by_rounding_alone_prove_no_formula_wrong(rows: int) -> None:
    # The softmax of y is 1.2e-8 beside 1: 0 in float16, where the derivative of t·log t is masked.
    y = torch.tensor([[11.5234, -6.6953]], dtype=torch.float16).repeat(rows, 1)
    x = torch.tensor([[5.3203, -0.4199]], dtype=torch.float16).repeat(rows, 1)
    report = gc.verify(lambda x, y: F.kl_div(F.log_softmax(x, -1), F.softmax(y, -1), reduction="sum"), x, y)
    assert (report.verdict, report.formula) == ("out of range", "unknown")


@pytest.mark.parametrize("count", [3, 2000], ids=["balls", "arrays"])
def test_a_wrong_rule_that_chooses_by_an_exact_number_is_wrong(count: int) -> None:
    numbers = [1.0, 2.0, *[0.5 + n / count for n in range(count)]]
    report = of(custom(lambda g, x: torch.where(x == 2, g * x, 2 * g * x)), *numbers)
    assert (report.verdict, report.formula, report.gradients[0].index) == ("deviates", "wrong", "1")


@pytest.mark.parametrize("count", [3, 2000], ids=["balls", "arrays"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_kernels_of_one_program_may_be_computed_by_different_forms(count: int, dtype: torch.dtype) -> None:
    x = torch.linspace(-4, 4, count, dtype=dtype)  # float32: oneDNN's gelu, one way forward, another way backward
    assert gc.verify(F.gelu, x), str(gc.verify(F.gelu, x))
    backward = torch.ops.aten.gelu_backward
    assert gc.verify(lambda g, x: backward(g, x), torch.ones_like(x), x)
    wrong = gc.verify(custom(lambda g, x: 1.01 * backward(g, x)), x)
    assert wrong.formula == "wrong"


@pytest.mark.parametrize(
    ("factor", "formula"), [(0.5, "kink"), (1.0, "wrong"), (1.5, "wrong")], ids=["half", "each wholly", "too much"]
)
def test_of_equal_numbers_each_may_be_the_median(factor: float, formula: str) -> None:
    class Median(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return torch.median(x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
            (x,) = ctx.saved_tensors
            return factor * g * (x == 1)

    assert of(torch.median, -1.0, 1.0, 1.0).formula == "kink"
    assert of(lambda x: Median.apply(x), -1.0, 1.0, 1.0).formula == formula
    assert of(lambda x: Median.apply(x), -1.0, 1.0, 3.0).formula == ("right" if factor == 1 else "wrong")


@pytest.mark.parametrize(("returned", "execution"), [(0.0, "within"), (5.0, "undecided")])
def test_beside_a_side_of_which_nothing_is_known_the_other_is_the_program_s_too(
    returned: float, execution: str
) -> None:
    """x² is 0 by its rounding alone, and 1/x² on the other side is whatever it likes."""
    from dataclasses import replace

    from gradconform.adapters.record_torch import record
    from gradconform.conformance.programs.check_program import gradients
    from gradconform.reference.arithmetic.profiles import profile

    rule = custom(lambda g, x: torch.where(x * x == 0, 0.0, g / (x * x)))
    run = record(rule, [torch.tensor([1e-30])])
    run = replace(run, returned={"eager": [np.array([returned])]})
    (found,) = gradients(run, profile("opencl", "torch"))
    assert (found.judgement.formula, found.judgement.execution) == ("unknown", execution)


@pytest.mark.parametrize(
    ("numbers", "verdict"), [((1.0, -math.inf), "conforms"), ((1.0, math.inf), "singular"), ((1.0, 2.0), "conforms")]
)
def test_the_logarithm_of_a_sum_of_exponentials_is_known_at_infinities(
    numbers: tuple[float, ...], verdict: str
) -> None:
    assert of(lambda x: torch.logsumexp(x, 0), *numbers).verdict == verdict


def test_a_distance_of_order_3_takes_a_root_whatever_the_width() -> None:
    y = torch.tensor([[8.4818e50]], dtype=torch.float64)
    report = of(lambda x: torch.cdist(x[:, None], y, 3.0), -1.7978e47, dtype=torch.float64)
    assert report.execution == "within", str(report)  # the literal 1/3 is rounded: 29 ulp


@pytest.mark.parametrize(
    ("factor", "verdict", "culprits"), [(2, "conforms", 0), (1, "undecided", 1), (0, "undecided", 1)]
)
def test_a_rule_that_is_wrong_by_itself_does_not_pass_behind_a_corner(
    factor: float, verdict: str, culprits: int
) -> None:
    square = custom(lambda g, x: factor * g * x)
    report = of(lambda x: square(x).clamp(min=1.0), 1.0, -1.0)  # at the bound: any share of 2x is a slope
    assert (report.verdict, len(report.culprits)) == (verdict, culprits)
    assert of(lambda x: F.max_pool1d(square(x)[None], 2), 1.0, 1.5, 2.0, 3.0).verdict == (
        "conforms" if factor == 2 else "deviates"
    )


def test_a_function_that_errs_more_where_it_is_run_again_has_not_left_the_record() -> None:
    """XLA's float64 tanh errs by 6.9 ulp near 19, where OpenCL allows 5."""
    jax = pytest.importorskip("jax")
    report = gc.verify(jax.numpy.tanh, jax.numpy.asarray([20.0]), dtype="float64")
    assert report.complete
    assert (report.verdict, report.formula) == ("lost", "right")
