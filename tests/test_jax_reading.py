"""Functions of JAX that read numbers in Python, which JAX differentiates where it does not compile them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import gradconform as gc

X = jnp.array([0.75, -1.25, 2.125])
MASK = jnp.array([True, False, True])


def factored(x: Any, factor: float) -> Any:
    """sin, with a rule that is so many times its derivative."""

    @jax.custom_jvp
    def of(x: Any) -> Any:
        return jnp.sin(x)

    of.defjvp(lambda x, t: (jnp.sin(x[0]), factor * jnp.cos(x[0]) * t[0]))
    return of(x)


def branch(x: Any, factor: float = 1.0) -> Any:
    return factored(x, factor) if x[0] > 0 else x**2


def loop(x: Any, factor: float = 1.0) -> Any:
    while jnp.sum(x) < 10:
        x = x * 1.5
    return factored(x, factor)


def masked(x: Any, factor: float = 1.0) -> Any:
    return factored(x[x > 0], factor)


def counted(x: Any, factor: float = 1.0) -> Any:
    return factored(x, factor) * int(jnp.sum(x > 0))


def extracted(x: Any, factor: float = 1.0) -> Any:
    return factored(jnp.extract(MASK, x), factor)


def chosen(x: Any, factor: float = 1.0) -> Any:
    return factored(jnp.choose(jnp.array([0, 1, 0]), [x, 2 * x]), factor)


@pytest.mark.parametrize("f", [branch, loop, masked, counted, extracted, chosen])
def test_a_function_that_reads_what_it_computes_is_recorded_as_it_goes(f: Callable[..., Any]) -> None:
    for options in ({}, {"mode": "forward"}, {"dtype": "bfloat16"}, {"order": 2}):
        report = gc.verify(f, X, **options)  # type: ignore[arg-type]
        assert report, report
    wrong = gc.verify(lambda x: f(x, 1 + 2.0**-15), X)
    assert (wrong.verdict, wrong.formula) == ("deviates", "wrong"), wrong


def test_a_real_number_that_is_read_is_not_in_the_record() -> None:
    report = gc.verify(lambda x: x * int(x[2]), X)
    assert (report.verdict, report.formula, report.complete) == ("undecided", "unknown", False)
    assert "a real number is read in Python" in str(report)


def test_what_reads_numbers_cannot_be_compiled_and_that_is_said() -> None:
    with pytest.raises(gc.BadInput, match="the function reads a number in Python"):
        gc.verify(branch, X, routes=("eager", "jit"))


def test_numbers_can_be_read_no_longer_when_the_trace_is_over() -> None:
    gc.verify(branch, X)
    with pytest.raises(jax.errors.ConcretizationTypeError):
        jax.jit(branch)(X)
