"""Complex numbers and Fourier transforms: right programs are not accused, wrong rules named, conventions kept."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flint import arb
from programs_complex import COMPLEX_JAX, COMPLEX_TORCH
from tests_support import BENCHMARKS, benchmark

import gradconform as gc
from gradconform.adapters.record_torch import NotRecorded, record
from gradconform.adapters.recording.complexes import Complexes, complex_of, parts_of
from gradconform.adapters.recording.fourier import Circle, Fourier, bound
from gradconform.conformance.programs.check_program import gradients
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import FLOAT32, FLOAT64
from gradconform.reference.arithmetic.profiles import profile
from gradconform.reference.arithmetic.rounded import Rounded
from gradconform.reference.cases import BadInput
from gradconform.reference.programs.allowance import Allowed
from gradconform.reference.programs.exact import Exact
from gradconform.reference.programs.record import Form, Record, Step
from gradconform.reference.programs.run import Run

sys.path.insert(0, str(BENCHMARKS))
wrong = benchmark("wrong_programs")
OPENCL = profile("opencl")
SUBJECTS = {f: {s.name: s for s in benchmark(f"wrong_{f}").SUBJECTS} for f in ("torch", "jax")}
RIGHT_JAX = {p.name.removeprefix("complex "): p for p in COMPLEX_JAX}
Z = torch.tensor([0.5 - 1.25j, -2.0 + 0.75j])


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# Right programs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", COMPLEX_TORCH, ids=lambda p: p.name)
def test_a_right_program_of_pytorch_conforms(program: Any) -> None:
    report = gc.verify(program.f, *program.arguments("float32"))
    assert report.complete, report
    assert report, report


@pytest.mark.parametrize("name", ["product", "quotient", "modulus", "custom rule", "irfft"])
def test_a_right_program_of_jax_conforms(name: str) -> None:
    program = RIGHT_JAX[name]
    assert gc.verify(program.f, *map(jnp.asarray, program.inputs("float32")))


def test_a_double_program_is_certified_to_most_of_its_digits() -> None:
    (gradient,) = gc.verify(lambda z: (z * z).sum(), Z.to(torch.complex128)).gradients
    assert gradient.judgement.verdict == "conforms"
    assert (gradient.judgement.certified_bits or 0) > 48


# Wrong rules ----------------------------------------------------------------------------------------------------------

NAMED = ["ComplexProduct", "ComplexModulus", "ModulusSquared", "ImaginaryPart", "ComplexMatrices", "Fourier",
         "FourierForward", "FourierReal", "FourierToReal"]  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_a_wrong_rule_of_pytorch_is_caught_and_named_and_the_right_one_is_not_accused(name: str) -> None:
    row = wrong.asked(SUBJECTS["torch"][name], "float32", others=False)
    assert (row.verify, row.culprit, row.right) == ("caught", "named", "conforms")


@pytest.mark.parametrize("name", ["ComplexProductOne", "FourierInverse"])
def test_a_wrong_rule_of_jax_is_caught_and_named_and_the_right_one_is_not_accused(name: str) -> None:
    row = wrong.asked(SUBJECTS["jax"][name], "float32", others=False)
    assert (row.verify, row.culprit, row.right) == ("caught", "named", "conforms")


# Conventions ----------------------------------------------------------------------------------------------------------


def test_each_framework_is_held_to_its_own_convention_which_the_report_says() -> None:
    """Of Re z² = x² − y², at 0.5 − 1.25i: by x it is 1, by y it is 2.5."""
    z = 0.5 - 1.25j
    of_torch = gc.verify(lambda z: (z * z).real, torch.tensor(z), cotangent=[1.0])
    of_jax = gc.verify(lambda z: (z * z).real, jnp.asarray(z, dtype="complex64"), cotangent=[1.0])
    assert [r[0].tolist() for r in (of_torch.runs[0].returned["eager"], of_jax.runs[0].returned["eager"])] == [
        [1.0, 2.5], [1.0, -2.5]]  # fmt: skip
    assert of_torch
    assert of_jax
    assert "PyTorch's gradient of a real L is ∂L/∂x + i·∂L/∂y" in str(of_torch)
    assert "JAX's gradient of a real L is ∂L/∂x − i·∂L/∂y" in str(of_jax)


def test_a_report_says_which_part_is_meant() -> None:
    (gradient,) = gc.verify(lambda z: z.imag * 1.5, Z[:1]).gradients
    assert gradient.index in ("0,real part", "0,imaginary part")


def test_every_row_of_a_complex_jacobian_is_one_of_a_part() -> None:
    report = gc.verify(lambda z: z * z, Z, rows="all")
    assert report
    assert len(report.gradients) == 4


@pytest.mark.parametrize("f", [lambda z: abs(z).sum(), lambda z: (z * z * z).sum()])
def test_a_second_derivative_is_verified_in_either_convention(f: Callable[..., Any]) -> None:
    assert gc.verify(f, Z, order=2)
    assert gc.verify(f, jnp.asarray(Z.numpy()), order=2)


# Edges ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [torch.abs, torch.angle, torch.log, torch.sqrt, torch.reciprocal, torch.sgn])
def test_where_there_is_no_derivative_nobody_is_accused(f: Callable[..., Any]) -> None:
    assert gc.verify(f, torch.tensor([1 + 1j, 0j])).verdict in ("singular", "undecided", "conforms")


def test_the_modulus_at_0_is_singular_and_its_square_is_not() -> None:
    at_zero = torch.tensor([0j, 1 - 2j])
    assert gc.verify(torch.abs, at_zero).formula == "singular"
    assert gc.verify(lambda z: (z * z.conj()).real, at_zero)


def test_half_precision_complex_numbers_are_refused_with_what_is_expected() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch calls its own half precision experimental
        half = Z.to(torch.complex32)
    with pytest.raises(NotRecorded, match=r"torch\.complex32; expected .* complex128 or complex64"):
        record(lambda z: z * 2, [half])
    with pytest.raises(BadInput, match="complex numbers in bfloat16: expected float64 or float32"):
        gc.verify(lambda z: z * 2, Z, dtype="bfloat16")
    with pytest.raises(BadInput, match="complex numbers in float16: expected float64 or float32"):
        gc.verify(lambda z: z * 2, jnp.asarray([1j]), dtype="float16")


def test_a_module_of_complex_and_real_parameters_is_cast_part_by_part() -> None:
    class Filter(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.Parameter(Z.clone())
            self.b = torch.nn.Parameter(torch.tensor([0.5, -0.25]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fft.irfft(torch.fft.rfft(x, n=3) * self.w, n=2) + self.b

    report = gc.verify(Filter(), torch.tensor([0.5, 1.5, -0.75]), dtype="float64")
    assert report
    assert [(a.name, a.complex, a.format.name) for a in report.runs[0].arguments] == [
        ("parameters.w", True, "float64"),
        ("parameters.b", False, "float64"),
    ]


def test_an_operation_without_a_rule_is_named() -> None:
    with pytest.raises(BadInput, match="expm1"):
        gc.verify(torch.expm1, Z)


def test_writing_to_a_conjugated_view_writes_to_what_it_is_a_view_of() -> None:
    def f(z: torch.Tensor) -> torch.Tensor:
        y = z.clone()
        y.conj()[0] = z[1] * 1j
        y.imag.mul_(2)
        return y * z

    assert gc.verify(f, Z)


# The arithmetic -------------------------------------------------------------------------------------------------------


def kernels(run: Run) -> list[Step]:
    return [s for s in run.backward.steps if s.kind == "fused" and "Fourier" not in s.function]


def differing(run: Run) -> list[str]:
    """Forms of kernels that are not their definitions without rounding."""
    found = []
    with precision(160):
        exact = Exact(run.backward).evaluate()
        for step in kernels(run):
            for form in step.forms:
                exact.evaluate(form.steps)
                pairs = zip(form.results.ravel().tolist(), step.out.ravel().tolist(), strict=True)
                if any(not exact[i].overlaps(exact[j]) for i, j in pairs):
                    found.append(f"{step.function}: {form.name}")
    return found


@pytest.mark.parametrize(
    "name", ["quotient", "inverse square", "root", "exponential", "logarithm", "tanh", "sigmoid", "hyperbolic cosine"]
)
def test_every_way_in_which_a_kernel_may_be_rounded_is_the_kernel_without_rounding(name: str) -> None:
    (program,) = (p for p in COMPLEX_TORCH if p.name == f"complex {name}")
    run = record(program.f, program.arguments("float64"), replays=False)
    assert kernels(run)
    # log ½ is a rounded literal of JAX's program, and its form is only that.
    assert [d for d in differing(run) if "by exponentials" not in d] == []


def test_a_form_that_is_another_function_is_noticed() -> None:
    run = record(lambda z, w: z / w, [Z, Z.conj() * 2], replays=False)
    step = kernels(run)[0]
    turned = Form("turned", step.forms[0].steps, step.forms[0].results[..., ::-1])
    run.backward.steps[run.backward.steps.index(step)] = replace(step, forms=(*step.forms, turned))
    assert differing(run) == ["complex division: turned"]


def test_the_parts_of_complex_numbers_are_put_together_again_also_where_they_are_infinite() -> None:
    z = np.array([[1 - 2j, complex(np.inf, -0.5)], [complex(0.0, -np.inf), -0j]])
    assert (complex_of(parts_of(z)) == z).all()
    assert complex_of(parts_of(z[0, 0])).shape == ()


def test_a_product_is_within_its_allowance_and_one_of_other_signs_is_not() -> None:
    record_, draw = Record(), np.random.default_rng(0)
    z, w = (np.asarray(draw.normal(size=4) + 1j * draw.normal(size=4), np.complex64) for _ in range(2))
    ids = Complexes(record_, FLOAT32).multiply(*(record_.new((4, 2), parts_of(x)) for x in (z, w)))
    with precision(120):
        allowed = Allowed(record_, OPENCL).evaluate()
        balls = [allowed.value(i, allowed.arithmetics["float32"]) for i in ids.ravel().tolist()]

    def within(got: Any) -> bool:
        given = zip(balls, parts_of(got).ravel().tolist(), strict=True)
        return all(isinstance(b, Rounded) and abs(b.exact - x) <= b.radius for b, x in given)

    assert within(z * w)
    assert not within(z * w.conj())


# Fourier transforms ---------------------------------------------------------------------------------------------------

LENGTHS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 17, 23, 30, 31, 64, 74)


def test_the_circle_is_that_of_the_cosine_and_sine_with_exact_quarters() -> None:
    for n in LENGTHS:
        with precision(120):
            turns = [arb(2 * k) / n for k in range(n)]
            exact = [*(x.cos_pi() for x in turns), *(x.sin_pi() for x in turns)]
            off = [abs(arb(x) - y) for x, y in zip(Circle.shown(n).ravel().tolist(), exact, strict=True)]
            assert all(x < 2.0**-53 * 1.1 for x in off)
    assert Circle.shown(4).tolist() == [[1, 0, -1, 0], [0, 1, 0, -1]]


def transformed(n: int) -> tuple[Any, Any]:
    """The exact transforms of drawn numbers, forward and to real ones, beside NumPy's."""
    draw, held = np.random.default_rng(n), Record()
    z = draw.normal(size=n) + 1j * draw.normal(size=n)
    half = z[: n // 2 + 1]
    of = Fourier(held, FLOAT64)
    ids = [
        of.complex(held.new((n, 2), parts_of(z)), [0], True, 0.0, np.full((n, 2), np.nan)),
        of.complex(held.new((n, 2), parts_of(z)), [0], False, -1.0, np.full((n, 2), np.nan)),
        of.of_real(held.new((n,), z.real), [0], True, -0.5, np.full((len(half), 2), np.nan)),
        of.to_real(held.new((len(half), 2), parts_of(half)), [0], n, -1.0, np.full(n, np.nan)),
    ]
    with precision(120):
        exact = Exact(held).evaluate()
        got = [np.array([float(exact[i].mid()) for i in x.ravel().tolist()]) for x in ids]
    expected = [np.fft.fft(z), np.fft.ifft(z), np.fft.rfft(z.real, norm="ortho")]
    return got, [*(parts_of(x).ravel() for x in expected), np.fft.irfft(half, n)]


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_the_definition_of_a_transform_is_the_sum(n: int) -> None:
    got, expected = transformed(n)
    for a, b in zip(got, expected, strict=True):
        assert np.allclose(a, b, rtol=0, atol=1e-14 * n)


def off(n: int) -> float:
    """The largest error of PyTorch's float32 transform, over Σ|x|."""
    z = torch.complex(*torch.randn(2, 40, n, generator=torch.Generator().manual_seed(n)))
    error = (torch.fft.fft(z) - torch.fft.fft(z.to(torch.complex128))).abs().amax(-1)
    return float((error / z.abs().sum(-1)).max())


def test_what_a_fast_transform_errs_by_is_within_the_bound_and_not_far_below_it() -> None:
    ratios = [off(n) / bound(n, 2.0**-24) for n in LENGTHS[1:]]
    assert max(ratios) < 1
    assert max(ratios) > 1 / 50  # a hundredth of it is no bound
    assert bound(1, 2.0**-24) == 0


def test_the_bound_grows_with_the_length_and_for_lengths_that_need_a_convolution() -> None:
    assert [bound(2**k, 1.0e-9) < bound(2 ** (k + 1), 1.0e-9) for k in range(6)] == [True] * 6
    assert bound(17, 1e-9) > bound(16, 1e-9) * 10


def test_a_transform_that_is_off_by_more_than_the_bound_is_outside() -> None:
    run = record(torch.fft.fft, [torch.randn(8, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))])
    (right,) = gradients(run, OPENCL)
    returned = {"eager": [x * (1 + 2.0**-14) for x in run.returned["eager"]]}
    (found,) = gradients(replace(run, returned=returned), OPENCL)
    assert (right.judgement.verdict, found.judgement.execution) == ("conforms", "outside")


def test_what_a_complex_function_gives_at_infinity_is_not_what_its_formula_gives() -> None:
    z = torch.tensor([complex(1.0, math.inf), complex(0.5, -0.25)], dtype=torch.complex128)
    report = gc.verify(torch.tan, z)  # i by C11's annex G, where sin/cos is NaN
    assert (report.verdict, report.formula) == ("singular", "singular")
    assert gc.verify(torch.tan, z[1:])
