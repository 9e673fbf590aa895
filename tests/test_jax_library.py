"""JAX's own functions at which a record of what is run says too much or too little."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.sparse.linalg
import numpy as np
import pytest
from jax import lax
from jax.experimental import sparse
from jax.experimental.ode import odeint
from jax.extend.core import Primitive
from jax.interpreters import ad
from jax.scipy import special

import gradconform as gc

X = jnp.array([0.7, 1.3, 2.1, 3.0])
SYMMETRIC = jnp.array([[3.0, 0.5], [0.5, 2.0]])


def scaled(f: Callable[..., Any], factor: float) -> Callable[..., Any]:
    """f, with a rule that is so many times its derivative."""

    @jax.custom_jvp
    def of(x: Any) -> Any:
        return f(x)

    of.defjvp(lambda x, t: (f(x[0]), factor * jax.jvp(f, x, t)[1]))
    return of


# Approximations with a rule of their own ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dawsn", "exp1", "expi", "expn"])
def test_functions_that_jax_approximates_are_what_they_stand_for(name: str) -> None:
    """Of the rational function and of the continued fraction, which are run, the rule is not the derivative."""

    def f(x: Any) -> Any:
        return special.expn(2, x) if name == "expn" else getattr(special, name)(x)

    report = gc.verify(f, X)
    assert (report.formula, report.execution) == ("right", "within"), report
    wrong = gc.verify(scaled(f, 1 + 2.0**-12), X)
    assert (wrong.verdict, wrong.formula) == ("deviates", "wrong"), wrong


@pytest.mark.parametrize(
    ("f", "args", "said"),
    [
        (special.sici, (X,), "sici: its rule is the derivative of what it approximates"),
        (special.fresnel, (X,), "fresnel: its rule is the derivative of what it approximates"),
        (lambda a, b: jax.scipy.sparse.linalg.cg(a, b)[0], (SYMMETRIC, X[:2]), "custom_linear_solve: its derivative"),
    ],
)
def test_of_an_approximation_that_nobody_has_defined_nothing_is_known(
    f: Callable[..., Any], args: tuple[Any, ...], said: str
) -> None:
    report = gc.verify(f, *args)
    assert (report.verdict, report.formula, bool(report)) == ("undecided", "unknown", False), report
    assert said in str(report)


def test_a_linear_system_that_is_solved_at_once_is_no_approximation() -> None:
    """Its transposed solution is that of the matrix as it is: wrong, and said to be."""

    def f(a: Any, b: Any) -> Any:
        return lax.custom_linear_solve(lambda x: a @ x, b, lambda _, y: jnp.linalg.solve(a, y),
                                       lambda _, y: jnp.linalg.solve(a, y))  # fmt: skip

    wrong = gc.verify(f, jnp.array([[3.0, 0.5], [0.75, 2.0]]), X[:2])
    assert (wrong.verdict, wrong.formula) == ("deviates", "wrong"), wrong
    assert gc.verify(f, SYMMETRIC, X[:2])


def test_where_an_ulp_of_a_literal_decides_everything_a_wrong_formula_is_not_right() -> None:
    """Over what the literals may have been both sides are everything, which says nothing."""
    first = np.float32(0.1)
    second = np.nextafter(first, np.float32(1))

    def f(x: Any) -> Any:
        return x / (second - lax.optimization_barrier(jnp.asarray(first)))

    right, wrong = gc.verify(f, X), gc.verify(scaled(f, 1.5), X)
    assert right.formula == "right", right
    assert wrong.formula == "unknown", wrong


def test_an_equation_that_is_solved_by_steps_is_not_right_by_a_ball_without_bounds() -> None:
    report = gc.verify(lambda a, y: odeint(lambda y, t: -y * a, y, jnp.array([0.0, 0.5])), jnp.float32(0.9), X[:2])
    assert (report.verdict, report.formula) == ("undecided", "unknown"), report


# Indices out of bounds, and rules beside JAX's own functions ---------------------------------------------------------


def test_what_jax_reads_out_of_bounds_has_a_gradient_that_it_leaves_out_and_the_index_is_named() -> None:
    beyond = jnp.array([0, 7, -1])
    report = gc.verify(lambda x: jnp.sin(x)[beyond], X)
    assert (report.formula, report.execution) == ("wrong", "within"), report
    assert any("index is out of bounds" in note and "test_jax_library.py" in note for note in report.notes)
    for taken in (partial(jnp.take, mode="clip"), partial(jnp.take, mode="fill", fill_value=0.0)):
        report = gc.verify(lambda x, taken=taken: taken(jnp.sin(x), beyond), X, wrt=[0])
        assert report, report
        assert not any("out of bounds" in note for note in report.notes)


def test_what_jax_stops_inside_of_a_custom_rule_is_no_stop_of_the_program() -> None:
    def rule(factor: float) -> Callable[..., Any]:
        own = jax.custom_vjp(lambda x: jax.nn.logsumexp(x))
        own.defvjp(lambda x: (jax.nn.logsumexp(x), x), lambda x, g: (factor * g * jax.nn.softmax(x),))
        return own

    wrong = gc.verify(rule(2.0), X)
    assert wrong.formula == "wrong", wrong
    assert not any("stop_gradient" in note for note in wrong.notes), wrong
    assert gc.verify(rule(1.0), X)


def test_of_a_wrong_rule_that_reads_arrays_of_the_function_around_it_it_is_said_how_to_run_it_alone() -> None:
    def f(x: Any, factor: float) -> Any:
        kept = jnp.array([True, False, True])
        own = jax.custom_vjp(lambda x: jnp.where(kept, x, 0))
        own.defvjp(lambda x: (jnp.where(kept, x, 0), None), lambda _, g: (factor * jnp.where(kept, g, 0)[:],))
        return own(x)

    assert gc.verify(lambda x: f(x, 1.0), X[:3])
    wrong = gc.verify(lambda x: f(x, 2.0), X[:3])
    assert wrong.formula == "wrong", wrong
    assert "give it those as arguments" in wrong.culprits[0]


# Arrays without numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        jnp.cumsum,
        jnp.cumprod,
        jnp.prod,
        lax.cumlogsumexp,
        lambda x: lax.reduce_window(x, 0.0, lax.add, (1,), (1,), "VALID"),
        lambda x: lax.reduce_max(x, (0,)),
        lambda x: lax.sort(x),
    ],
)
def test_what_has_no_numbers_is_no_step(f: Callable[..., Any]) -> None:
    assert gc.verify(lambda x: jnp.append(jnp.sin(x), f(x[:0])), X)
    wrong = gc.verify(lambda x: jnp.append(scaled(jnp.sin, 1.5)(x), f(x[:0])), X)
    assert (wrong.verdict, wrong.formula) == ("deviates", "wrong"), wrong


# Primitives that are written in others -------------------------------------------------------------------------------

PLACES = jnp.array([[0, 1], [1, 2], [2, 0], [0, 0]])


def sparse_product(x: Any) -> Any:
    return sparse.BCOO((x, PLACES), shape=(3, 3)) @ jnp.array([[0.5, 1.5], [2.0, -1.0], [1.0, 3.0]])


def sparse_matrix(x: Any) -> Any:
    return sparse.BCOO((x, PLACES), shape=(3, 3)).todense()


def grouped_product(x: Any) -> Any:
    return lax.ragged_dot(x[None], jnp.stack([jnp.eye(4), 2 * jnp.eye(4)]), jnp.array([0, 1], jnp.int32))


def of_ones_own(x: Any) -> Any:
    """A primitive of the user's, with an implementation in JAX's operations and a rule."""
    cubed = Primitive("cubed")
    cubed.def_impl(lambda x: x * x * x)
    cubed.def_abstract_eval(lambda x: x)
    ad.defjvp(cubed, lambda t, x: 3 * t * x * x)
    return cubed.bind(x)


@pytest.mark.parametrize(
    "f",
    [
        sparse_product,
        sparse_matrix,
        grouped_product,
        of_ones_own,
        lambda x: jnp.frexp(x)[0],
        lambda x: jnp.ldexp(x, 3),
        lambda x: lax.approx_max_k(x, 2)[0],
        lambda x: lax.approx_min_k(x, 2)[0],
        lambda x: jax.random.truncated_normal(jax.random.key(1), -x, x),
        lambda x: jax.scipy.signal.welch(jnp.concatenate([x, jnp.cos(x)]), nperseg=4)[1],
        lambda x: (x * (1 + 2j)).at[1].multiply(2 - 1j).real,
    ],
)
def test_what_is_written_in_recorded_operations_is_recorded(f: Callable[..., Any]) -> None:
    assert gc.verify(f, X)
    wrong = gc.verify(lambda x: f(scaled(jnp.sin, 1 + 2.0**-12)(x)), X)
    assert (wrong.verdict, wrong.formula) == ("deviates", "wrong"), wrong


def test_a_sample_s_derivative_is_not_that_of_how_it_is_drawn() -> None:
    """JAX's is that of the distribution, implicitly; by rejection a sample is another function."""
    with pytest.raises(gc.BadInput, match="not recorded: random_gamma"):
        gc.verify(lambda x: jax.random.gamma(jax.random.key(0), x), X)


def test_numbers_that_multiply_one_place_are_not_recorded_as_one_product() -> None:
    with pytest.raises(gc.BadInput, match="several for one place"):
        gc.verify(lambda x: (x * (1 + 2j)).at[jnp.array([1, 1])].multiply(2 - 1j).real, X)


def test_a_pole_among_the_data_is_none_of_the_function_s() -> None:
    """1/Γ(0) is 0: of 0 the logarithm of Γ is infinite, whatever the argument is."""

    def f(x: Any, factor: float = 1.0) -> Any:
        return scaled(jnp.sin, factor)(x) * jnp.exp(-special.gammaln(jnp.array([0.0, 2.0, 3.0, 4.5])))

    assert gc.verify(f, X)
    wrong = gc.verify(lambda x: f(x, 1.5), X)
    assert (wrong.verdict, wrong.formula) == ("deviates", "wrong"), wrong
    pole = gc.verify(lambda x: x * jnp.exp(-special.gammaln(x - x[0])), X)
    assert pole.formula != "right", pole


# Complex matrices -----------------------------------------------------------------------------------------------------

COMPLEX = jnp.array([[0.5 + 1j, -0.75, 0.25j], [1.5, 0.125 - 0.5j, 1.0], [-0.25j, 0.75 + 0.5j, 2.0]])


@pytest.mark.parametrize(
    "f",
    [
        jnp.linalg.inv,
        jnp.linalg.det,
        lambda z: jnp.linalg.slogdet(z)[1],
        lambda z: jnp.linalg.solve(z, jnp.array([1.0, 2j, -1.0])),
        lambda z: jax.scipy.linalg.solve_triangular(z, z[0], lower=True, trans=2),
        lambda z: lax.linalg.triangular_solve(z, z[:1], left_side=False, conjugate_a=True, unit_diagonal=True),
        jnp.cumprod,
    ],
)
def test_linear_systems_of_complex_numbers_are_recorded(f: Callable[..., Any]) -> None:
    assert gc.verify(f, COMPLEX)
    wrong = gc.verify(lambda z: f(scaled(jnp.sin, 1 + 2.0**-12)(z)), COMPLEX)
    assert (wrong.verdict, wrong.formula) == ("deviates", "wrong"), wrong


@pytest.mark.parametrize("number", [2.0, 2.0 + 1j])
def test_a_matrix_of_one_number_is_a_function_of_it(number: complex) -> None:
    """Its factors are 1 and that number, which no step makes."""
    matrix = jnp.array([[number]])
    assert gc.verify(jnp.linalg.inv, matrix)
    wrong = gc.verify(lambda z: jnp.linalg.inv(scaled(jnp.sin, 1.5)(z)), matrix)
    assert (wrong.verdict, wrong.formula) == ("deviates", "wrong"), wrong
