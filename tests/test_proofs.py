"""SymPy proves that the backward equations are the derivative of the forward ones, and refutes wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sympy

from gradconform.reference.arithmetic.symbols import SYMBOLS, derivative, equal, expression
from gradconform.reference.document import NETWORK
from gradconform.reference.equations import Derivation, Evaluation

QUOTIENTS = [e.name for e in NETWORK.equations if "/" in e.name]
OUTPUT_SIDE = QUOTIENTS[: QUOTIENTS.index("dE_total/dw8") + 1]
OTHER_FORMS = [(e.name, index) for e in NETWORK.equations for index in range(1, len(e.forms))]


def stop_at(quotient: str) -> frozenset[str]:
    """Where dY/dX is compared: X stays a symbol, so that the proof holds for every value of X."""
    bottom = quotient.split("/")[1].removeprefix("d")
    return frozenset() if bottom in NETWORK.given else frozenset({bottom})


def is_proved(derivation: Derivation, quotient: str) -> bool:
    return equal(expression(derivation, quotient, stop_at(quotient)), derivative(derivation, quotient))


def with_form(name: str, index: int, change: Callable[..., Any]) -> Derivation:
    """The network with one form's value v replaced by change(v, *operands)."""
    equation = NETWORK.by_name[name]
    form = equation.forms[index]
    wrong = replace(form, formula=lambda ops, *x: change(form.formula(ops, *x), *x))
    forms = tuple(wrong if f is form else f for f in equation.forms)
    return replace(NETWORK, equations=tuple(replace(e, forms=forms) if e is equation else e for e in NETWORK.equations))


def test_every_partial_derivative_of_the_document_is_to_be_proved() -> None:
    assert len(QUOTIENTS) == 38
    assert {*NETWORK.gradient.values()} < set(QUOTIENTS)


@pytest.mark.parametrize("name", QUOTIENTS)
def test_the_equation_is_the_derivative_that_its_name_says(name: str) -> None:
    assert is_proved(NETWORK, name)


@pytest.mark.parametrize("name", QUOTIENTS)
def test_the_equation_with_its_sign_flipped_is_refuted(name: str) -> None:
    assert not is_proved(with_form(name, 0, lambda value, *_: -value), name)


@pytest.mark.parametrize("name", [*OUTPUT_SIDE, "da_h1/dh1", "dh2/dw4", "dE_total/dw2"])
def test_the_equation_with_its_last_factor_missing_is_refuted(name: str) -> None:
    assert not is_proved(with_form(name, 0, lambda value, *x: value / x[-1]), name)


def test_the_transposed_weight_in_the_hidden_adjoint_is_refuted() -> None:
    """∂E1/∂a_h2 takes w6; w7, which stands at its place in the transposed matrix, is wrong."""
    w6, w7 = sympy.symbols("w6 w7", real=True)
    assert is_proved(NETWORK, "dE1/da_h2")
    assert not is_proved(with_form("dE1/da_h2", 0, lambda value, *_: value * w7 / w6), "dE1/da_h2")


def test_a_gradient_that_forgets_one_of_the_two_outputs_is_refuted() -> None:
    assert not is_proved(with_form("dE_total/da_h1", 0, lambda value, dE1, dE2: dE1), "dE_total/da_h1")
    forgetful = with_form("dE_total/da_h1", 0, lambda value, dE1, dE2: dE1)
    assert not is_proved(forgetful, "dE_total/dw1")
    assert is_proved(forgetful, "dE_total/dw3")


def test_a_relative_error_of_one_part_in_10_to_the_30_is_refuted() -> None:
    tiny = 1 + sympy.Rational(1, 10**30)
    assert not is_proved(with_form("da_o1/do1", 0, lambda value, *_: value * tiny), "da_o1/do1")


def test_there_are_other_forms_to_prove() -> None:
    assert {name for name, _ in OTHER_FORMS} > {"a_h1", "dE_total/do1", "dE_total/da_h1", *NETWORK.gradient.values()}


@pytest.mark.parametrize(("name", "form"), OTHER_FORMS)
def test_the_other_form_is_equal_to_the_documents(name: str, form: int) -> None:
    assert equal(expression(NETWORK, name), expression(NETWORK, name, form=form))


def defined(derivation: Derivation, name: str) -> Any:
    """What the equation called `name` is true to, in the given values."""
    symbols = {n: sympy.Symbol(n, real=True) for n in derivation.given}
    return sympy.nsimplify(Evaluation(derivation, SYMBOLS, symbols).form(derivation.by_name[name].truth), rational=True)


@pytest.mark.parametrize("name", [e.name for e in NETWORK.equations if e.definition])
def test_what_an_equation_is_true_to_is_equal_to_the_documents(name: str) -> None:
    assert equal(expression(NETWORK, name), defined(NETWORK, name))


def test_a_wrong_definition_is_refuted() -> None:
    equation = NETWORK.by_name["da_o1/do1"]
    assert equation.definition is not None
    slope = equation.definition.formula
    wrong = replace(equation.definition, formula=lambda ops, x: slope(ops, -2 * x))
    equations = tuple(replace(e, definition=wrong) if e is equation else e for e in NETWORK.equations)
    assert not equal(expression(NETWORK, equation.name), defined(replace(NETWORK, equations=equations), equation.name))


@pytest.mark.parametrize("name", ["a_h1", "a_o2", "dE_total/do2", "dE_total/dw6", "dE1/da_h2", "dE_total/da_h1"])
def test_a_wrong_other_form_is_refuted(name: str) -> None:
    wrong = with_form(name, 1, lambda value, *_: value * sympy.Rational(1001, 1000))
    assert not equal(expression(wrong, name), expression(wrong, name, form=1))


@pytest.mark.parametrize("weight", NETWORK.parameters)
def test_the_update_is_the_weight_less_the_rate_times_the_derivative_of_the_loss(weight: str) -> None:
    w, eta = sympy.Symbol(weight, real=True), sympy.Symbol("eta", real=True)
    gradient = sympy.diff(expression(NETWORK, "E_total"), w)
    new = expression(NETWORK, f"{weight}_new")
    assert equal(new, w - eta * gradient)


def test_an_update_that_climbs_or_forgets_the_rate_is_refuted() -> None:
    w, eta = sympy.symbols("w5 eta", real=True)
    gradient = sympy.diff(expression(NETWORK, "E_total"), w)
    assert not equal(expression(NETWORK, "w5_new"), w + eta * gradient)
    assert not equal(expression(NETWORK, "w5_new"), w - gradient)


@pytest.mark.parametrize("weight", NETWORK.parameters)
def test_an_update_is_measured_against_the_step_it_takes(weight: str) -> None:
    step = NETWORK.by_name[f"{weight}_new"].against
    assert step is not None
    gradient = f"dE_total/d{weight}"
    symbols = {n: sympy.Symbol(n, real=True) for n in (weight, "eta", gradient)}
    taken = step.formula(SYMBOLS, *[symbols[o] for o in step.operands])
    new = expression(NETWORK, f"{weight}_new", frozenset({gradient}))
    assert equal(taken, symbols[weight] - new)
    assert not equal(2 * taken, symbols[weight] - new)


def test_equal_knows_the_rules_of_the_exponential() -> None:
    x, y = sympy.symbols("x y", real=True)
    assert equal(sympy.exp(x + y), sympy.exp(x) * sympy.exp(y))
    assert equal(1 / (1 + sympy.exp(-x)), sympy.exp(x) / (1 + sympy.exp(x)))
    assert not equal(sympy.exp(x + y), sympy.exp(x) + sympy.exp(y))
    assert not equal(1 / (1 + sympy.exp(-x)), sympy.exp(-x) / (1 + sympy.exp(x)))
