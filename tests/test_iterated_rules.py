"""Rules for what a loop comes near to, and not for the rounds that it took."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import gradconform as gc

W, B = jnp.array([[0.25, -0.125], [0.125, 0.5]]), jnp.array([0.5, -1.25])


def layer(near: float, factor: float = 1.0) -> Callable[..., Any]:
    """The fixed point of tanh(w·x + b), found as nearly as that; its rule is that of the fixed point, so many times."""

    @partial(jax.custom_vjp, nondiff_argnums=(0,))
    def fixed(f: Any, a: Any, x: Any) -> Any:
        further = lambda s: (s[1], f(a, s[1]))  # noqa: E731
        return lax.while_loop(lambda s: jnp.any(jnp.abs(s[0] - s[1]) > near), further, (x, f(a, x)))[1]

    def forward(f: Any, a: Any, x: Any) -> Any:
        found = fixed(f, a, x)
        return found, (a, found)

    def backward(f: Any, kept: Any, g: Any) -> Any:
        a, x = kept
        by_x, by_a = jax.vjp(partial(f, a), x)[1], jax.vjp(lambda a: f(a, x), a)[1]
        (by,) = by_a(fixed(lambda g, u: g + by_x(u)[0], g, g))
        return jax.tree.map(lambda slope: factor * slope, by), jnp.zeros_like(x)

    fixed.defvjp(forward, backward)
    return lambda w, b: fixed(lambda a, x: jnp.tanh(a[0] @ x + a[1]), (w, b), jnp.zeros_like(b))


def root(factor: float) -> Callable[..., Any]:
    """The x of x³ + x = a by halving a bracket, with its derivative so many times."""

    @jax.custom_vjp
    def found(a: Any) -> Any:
        def half(ends: Any) -> Any:
            middle = (ends[0] + ends[1]) / 2
            above = middle**3 + middle > a
            return jnp.where(above, ends[0], middle), jnp.where(above, middle, ends[1])

        return lax.while_loop(lambda s: jnp.any(s[1] - s[0] > 0.05), half, (jnp.zeros(2), jnp.full(2, 4.0)))[0]

    found.defvjp(lambda a: (found(a),) * 2, lambda x, g: (factor * g / (3 * x * x + 1),))
    return found


@pytest.mark.parametrize("near", [1e-1, 1e-6])
def test_the_rule_of_a_fixed_point_is_right_where_the_loop_comes_near_to_its_derivative(near: float) -> None:
    report = gc.verify(layer(near), W, B)
    assert (bool(report), report.formula) == (True, "right"), report
    assert "fixed: its derivative may be that of what its loop comes near to" in str(report)


@pytest.mark.parametrize(("near", "factor"), [(1e-1, 2.0), (1e-6, -1.0), (1e-6, 1 + 2.0**-10)])
def test_a_rule_that_the_loop_comes_no_nearer_to_is_wrong(near: float, factor: float) -> None:
    report = gc.verify(layer(near, factor), W, B)
    assert (report.verdict, report.formula) == ("deviates", "wrong"), report
    assert "fixed (" in report.culprits[0], report


def test_beside_a_right_rule_of_a_fixed_point_a_wrong_rule_is_wrong_and_named_alone() -> None:
    doubled = jax.custom_vjp(jnp.sin)
    doubled.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (2 * g * jnp.cos(x),))
    report = gc.verify(lambda w, b: doubled(layer(1e-6)(w, b)), W, B)
    assert report.formula == "wrong", report
    assert [c.split(" (")[0] for c in report.culprits] == ["sin"]


@pytest.mark.parametrize(("factor", "formula"), [(1.0, "right"), (1.5, "wrong")])
def test_the_rule_of_a_root_by_newton_s_steps_is_asked_where_they_go_on(factor: float, formula: str) -> None:
    @jax.custom_jvp
    def cube_root(a: Any) -> Any:
        near = lambda x: jnp.max(jnp.abs(x**3 - a)) < 1e-2  # noqa: E731
        return lax.while_loop(lambda x: ~near(x), lambda x: x - (x - a / x**2) / 3, a)

    cube_root.defjvp(lambda a, t: (lambda x: (x, factor * t[0] / (3 * x**2)))(cube_root(*a)))
    for mode in ("reverse", "forward"):
        assert gc.verify(cube_root, jnp.array([2.0, 5.0]), mode=mode).formula == formula


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_of_a_rule_for_what_decisions_come_near_to_nothing_is_known(factor: float) -> None:
    report = gc.verify(root(factor), jnp.array([2.0, 5.0]))
    assert (report.verdict, report.formula, bool(report)) == ("undecided", "unknown", False), report
    assert "found: its derivative may be that of what its loop comes near to" in str(report)


def test_a_rule_for_what_does_not_change_with_its_operand_is_wrong_alone_too() -> None:
    straight = jax.custom_vjp(jnp.floor)
    straight.defvjp(lambda x: (jnp.floor(x), None), lambda _, g: (g,))
    report = gc.verify(straight, B)
    assert (report.verdict, report.formula) == ("deviates", "wrong"), report
    none = jax.custom_vjp(jnp.floor)
    none.defvjp(lambda x: (jnp.floor(x), None), lambda _, g: (jnp.zeros_like(g),))
    assert gc.verify(none, B)
