"""The adapters: nothing they are given is changed, nothing global is left changed, their traces are closed."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from gradconform.adapters import registry
from gradconform.conformance.cases.catalogue import random_case, worked_example
from gradconform.conformance.check import check_route
from gradconform.reference.cases import point
from gradconform.reference.document import NETWORK

ROUTES = ["torch/eager", "torch/func", "torch/forward", "jax/eager", "jax/jit", "jax/forward", "numpy/central",
          "numpy/complex-step", "numpy/extrapolated"]  # fmt: skip


def chosen(spec: str) -> registry.Chosen:
    pytest.importorskip(spec.split("/")[0])
    (found,) = registry.choose(spec)
    return found


@pytest.mark.parametrize("spec", ROUTES)
def test_a_point_is_not_changed_by_the_adapter(spec: str) -> None:
    c, at = chosen(spec), point(worked_example(), "float32")
    before = deepcopy(dict(at.values))
    c.adapter.answer(at, c.route.name)
    assert dict(at.values) == before


@pytest.mark.parametrize("spec", ROUTES)
def test_a_route_conforms_on_a_random_case_in_every_dtype_it_supports(spec: str) -> None:
    c = chosen(spec)
    for dtype in c.route.dtypes:
        measurements = check_route(c.adapter, c.route, point(random_case(1, 3), dtype), "opencl")
        wrong = {
            m.quantity for m in measurements if m.verdict not in ("conforms", "lost", "vacuous", "ill-conditioned")
        }
        # torch's forward mode answers in float64 (known_deviations.toml).
        allowed = set(NETWORK.gradient.values()) if spec == "torch/forward" and dtype != "float64" else set()
        assert wrong <= allowed, measurements


@pytest.mark.parametrize("spec", ["torch/eager", "jax/eager", "jax/jit"])
def test_a_trace_reports_every_forward_quantity_and_every_adjoint(spec: str) -> None:
    c, at = chosen(spec), point(worked_example(), "float64")
    trace = c.adapter.answer(at, c.route.name).trace
    assert trace is not None
    assert set(trace.values) == {e.name for e in NETWORK.group("forward")}
    assert set(trace.adjoints) == {"h1", "h2", "a_h1", "a_h2", "o1", "o2", "a_o1", "a_o2"}


def test_jax_s_64_bit_flag_and_precision_are_as_they_were() -> None:
    jax = pytest.importorskip("jax")

    def state() -> tuple[Any, ...]:
        return jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision, jax.numpy.ones(()).dtype

    before = state()
    for spec in ("jax/eager", "jax/jit", "jax/forward"):
        chosen(spec).adapter.answer(point(worked_example(), "float64"), spec.split("/")[1])
    assert state() == before


def test_torch_s_precision_flags_are_as_they_were_even_after_a_crash() -> None:
    torch = pytest.importorskip("torch")
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        adapter = chosen("torch/eager").adapter
        adapter.answer(point(worked_example(), "float64"), "eager")
        assert torch.backends.cuda.matmul.allow_tf32 is True
        with pytest.raises(AttributeError):
            adapter.answer(None, "eager")  # type: ignore[arg-type]
        assert torch.backends.cuda.matmul.allow_tf32 is True
        assert torch.get_default_dtype() is torch.float32
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False


def test_torch_compile_answers_on_request() -> None:
    """A small instance: one point, so that the route that is not run by default cannot rot."""
    c = chosen("torch/compile")
    measurements = check_route(c.adapter, c.route, point(worked_example(), "float32"), "opencl")
    assert {m.verdict for m in measurements} == {"conforms"}, measurements


def test_the_coefficients_of_the_extrapolated_formula_differentiate_polynomials() -> None:
    """Σ c·x^k over the offsets is h for k = 1 and 0 for k = 0, 2, …, 8: the formula is of order 8."""
    from gradconform.adapters.on_numpy import EXTRAPOLATED_STEP, coefficients

    offsets = [s * EXTRAPOLATED_STEP for s in (-0.125, -0.25, -0.5, -1, 0, 1, 0.5, 0.25, 0.125)]
    for k in range(9):
        total = sum(c * x**k for c, x in zip(coefficients("float64"), offsets, strict=True))
        assert total == pytest.approx(EXTRAPOLATED_STEP if k == 1 else 0, abs=1e-13)
