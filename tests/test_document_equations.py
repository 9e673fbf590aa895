"""Every line of the document is an equation of the derivation, under its own name and in its own order."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gradconform.reference.derivations.document_forms import BESIDE, SIGMOID, line
from gradconform.reference.derivations.plain import PLAIN
from gradconform.reference.document import NETWORK
from gradconform.reference.equations import Derivation, Equation, Evaluation, Form, evaluate

# The lines of the document, read off its page with d for ∂.
FORWARD = ["h1", "h2", "a_h1", "a_h2", "o1", "o2", "a_o1", "a_o2", "E1", "E2", "E_total"]
OUTPUT_WEIGHTS = [
    "dE1/da_o1",
    "dE2/da_o2",
    "da_o1/do1",
    "da_o2/do2",
    "do1/dw5",
    "do1/dw6",
    "do2/dw7",
    "do2/dw8",
    "dE_total/dw5",
    "dE_total/dw6",
    "dE_total/dw7",
    "dE_total/dw8",
]
INPUT_WEIGHTS = [
    "dE1/da_h1",
    "dE2/da_h1",
    "dE1/da_h2",
    "dE2/da_h2",
    "dE_total/da_h1",
    "dE_total/da_h2",
    "da_h1/dh1",
    "da_h2/dh2",
    "dh1/dw1",
    "dh1/dw2",
    "dh2/dw3",
    "dh2/dw4",
    "dE_total/dw1",
    "dE_total/dw2",
    "dE_total/dw3",
    "dE_total/dw4",
]
UPDATE = ["w1_new", "w2_new", "w3_new", "w4_new", "w5_new", "w6_new", "w7_new", "w8_new"]
PAGE = FORWARD + OUTPUT_WEIGHTS + INPUT_WEIGHTS + UPDATE

#: Factors of the chain rule and adjoints that frameworks report; the document writes no line for them.
BESIDE_THE_PAGE = {
    "dE_total/da_o1", "dE_total/da_o2", "dE_total/do1", "dE_total/do2", "do1/da_h1", "do2/da_h1",
    "do1/da_h2", "do2/da_h2", "dE_total/dh1", "dE_total/dh2",
}  # fmt: skip

WORKED_EXAMPLE = {
    "i1": 0.05, "i2": 0.10, "t1": 0.01, "t2": 0.99, "eta": 0.5,
    "w1": 0.15, "w2": 0.20, "w3": 0.25, "w4": 0.30, "w5": 0.40, "w6": 0.45, "w7": 0.50, "w8": 0.55,
}  # fmt: skip

#: No two values alike and none of them round, so that a wrong operand shows.
UNEVEN = {
    "i1": -0.7, "i2": 1.3, "t1": 0.2, "t2": 0.85, "eta": 0.3,
    "w1": 0.9, "w2": -1.1, "w3": 0.35, "w4": 1.7, "w5": -0.8, "w6": 0.6, "w7": 1.45, "w8": -0.25,
}  # fmt: skip

#: The forward formulas in 50-digit decimal arithmetic, apart from this project; gradients by differences, h = 1e-15.
WORKED_EXAMPLE_DECIMALS = {
    "h1": 0.0275,
    "h2": 0.0425,
    "a_h1": 0.50687456676453424,
    "a_h2": 0.51062340100496369,
    "o1": 0.43253035715804736,
    "o2": 0.53428015393499715,
    "a_o1": 0.60647773220672796,
    "a_o2": 0.63048083545063482,
    "E_total": 0.24251985734837730,
    "dE_total/dw1": 0.00018825566694011,
    "dE_total/dw2": 0.00037651133388022,
    "dE_total/dw3": 0.00022481346257612,
    "dE_total/dw4": 0.00044962692515224,
    "dE_total/dw5": 0.07215707291213625,
    "dE_total/dw6": 0.07269074519194476,
    "dE_total/dw7": -0.04245525009260471,
    "dE_total/dw8": -0.04276924828006375,
    "w1_new": 0.14990587216652994,
    "w2_new": 0.19981174433305989,
    "w3_new": 0.24988759326871194,
    "w4_new": 0.29977518653742388,
    "w5_new": 0.36392146354393187,
    "w6_new": 0.41365462740402762,
    "w7_new": 0.52122762504630235,
    "w8_new": 0.57138462414003188,
}


def straight_line(v: dict[str, float]) -> dict[str, float]:
    """The page once more, in plain statements apart from the derivation, the gradients in their long forms."""
    i1, i2, t1, t2, eta = (v[n] for n in ("i1", "i2", "t1", "t2", "eta"))
    w1, w2, w3, w4, w5, w6, w7, w8 = (v[f"w{k}"] for k in range(1, 9))
    h1, h2 = w1 * i1 + w2 * i2, w3 * i1 + w4 * i2
    a_h1, a_h2 = 1 / (1 + np.exp(-h1)), 1 / (1 + np.exp(-h2))
    o1, o2 = w5 * a_h1 + w6 * a_h2, w7 * a_h1 + w8 * a_h2
    a_o1, a_o2 = 1 / (1 + np.exp(-o1)), 1 / (1 + np.exp(-o2))
    E1, E2 = (t1 - a_o1) ** 2 / 2, (t2 - a_o2) ** 2 / 2
    s1, s2 = (a_o1 - t1) * a_o1 * (1 - a_o1), (a_o2 - t2) * a_o2 * (1 - a_o2)
    g = {
        "w1": (s1 * w5 + s2 * w7) * a_h1 * (1 - a_h1) * i1,
        "w2": (s1 * w5 + s2 * w7) * a_h1 * (1 - a_h1) * i2,
        "w3": (s1 * w6 + s2 * w8) * a_h2 * (1 - a_h2) * i1,
        "w4": (s1 * w6 + s2 * w8) * a_h2 * (1 - a_h2) * i2,
        "w5": s1 * a_h1,
        "w6": s1 * a_h2,
        "w7": s2 * a_h1,
        "w8": s2 * a_h2,
    }
    return {
        "h1": h1, "h2": h2, "a_h1": a_h1, "a_h2": a_h2, "o1": o1, "o2": o2, "a_o1": a_o1, "a_o2": a_o2,
        "E1": E1, "E2": E2, "E_total": E1 + E2,
        "dE1/da_o1": a_o1 - t1, "dE2/da_o2": a_o2 - t2,
        "da_o1/do1": a_o1 * (1 - a_o1), "da_o2/do2": a_o2 * (1 - a_o2),
        "do1/dw5": a_h1, "do1/dw6": a_h2, "do2/dw7": a_h1, "do2/dw8": a_h2,
        "dE1/da_h1": s1 * w5, "dE2/da_h1": s2 * w7, "dE1/da_h2": s1 * w6, "dE2/da_h2": s2 * w8,
        "dE_total/da_h1": s1 * w5 + s2 * w7, "dE_total/da_h2": s1 * w6 + s2 * w8,
        "da_h1/dh1": a_h1 * (1 - a_h1), "da_h2/dh2": a_h2 * (1 - a_h2),
        "dh1/dw1": i1, "dh1/dw2": i2, "dh2/dw3": i1, "dh2/dw4": i2,
        **{f"dE_total/d{w}": gradient for w, gradient in g.items()},
        **{f"{w}_new": v[w] - eta * gradient for w, gradient in g.items()},
    }  # fmt: skip


def disagreements(derivation: Derivation, given: dict[str, float]) -> set[str]:
    """The document's quantities that a derivation evaluates to something else than the straight-line transcription."""
    values = evaluate(derivation, PLAIN, given, PAGE)
    return {n for n, v in straight_line(given).items() if not math.isclose(values[n], v, rel_tol=1e-13)}


def planted(name: str, fault: Callable[[Any], Any]) -> Derivation:
    """The network with `fault` applied to what the equation called `name` gives."""
    equation = NETWORK.by_name[name]
    document = equation.forms[0]
    wrong = replace(document, formula=lambda ops, *operands: fault(document.formula(ops, *operands)))
    equations = tuple(replace(e, forms=(wrong,)) if e is equation else e for e in NETWORK.equations)
    return replace(NETWORK, equations=equations)


def order_of(derivation: Derivation) -> list[str]:
    return [e.name for e in derivation.equations if e.name in PAGE]


def test_the_derivation_holds_the_documents_lines_in_the_documents_order() -> None:
    assert order_of(NETWORK) == PAGE


def test_two_lines_in_the_wrong_order_are_noticed() -> None:
    first, second, *rest = NETWORK.equations
    assert order_of(replace(NETWORK, equations=(second, first, *rest))) != PAGE


def test_beside_the_documents_lines_there_are_only_the_factors_that_frameworks_report() -> None:
    assert set(NETWORK.by_name) - set(PAGE) == BESIDE_THE_PAGE


@pytest.mark.parametrize(
    ("group", "lines"),
    [("forward", FORWARD), ("backward", OUTPUT_WEIGHTS + INPUT_WEIGHTS), ("update", UPDATE)],
)
def test_each_line_stands_in_the_group_of_its_section(group: Any, lines: list[str]) -> None:
    assert [e.name for e in NETWORK.group(group) if e.name in PAGE] == lines


def test_what_stands_beside_a_line_is_of_one_that_there_is() -> None:
    assert BESIDE.keys() <= {e.name for e in NETWORK.equations}


def test_every_equation_names_the_section_it_comes_from() -> None:
    assert NETWORK.by_name["h1"].source == "Back Propagation, Forward Propagation"
    assert all(e.source.startswith("Back Propagation") for e in NETWORK.equations)


@pytest.mark.parametrize("given", [WORKED_EXAMPLE, UNEVEN], ids=["worked-example", "uneven"])
def test_every_line_evaluates_to_what_the_page_gives(given: dict[str, float]) -> None:
    assert set(straight_line(given)) == set(PAGE)
    assert disagreements(NETWORK, given) == set()


@pytest.mark.parametrize("name", PAGE)
def test_a_line_that_is_off_by_one_part_in_a_thousand_million_is_named(name: str) -> None:
    assert name in disagreements(planted(name, lambda value: value * (1 + 1e-9)), UNEVEN)


def test_the_last_line_alone_disagrees_where_only_it_is_wrong() -> None:
    assert disagreements(planted("w8_new", lambda value: -value), UNEVEN) == {"w8_new"}


@pytest.mark.parametrize(("name", "decimal"), WORKED_EXAMPLE_DECIMALS.items())
def test_the_worked_example_has_its_known_decimals(name: str, decimal: float) -> None:
    value = evaluate(NETWORK, PLAIN, WORKED_EXAMPLE, [name])[name]
    assert value == pytest.approx(decimal, rel=1e-13, abs=1e-17)
    assert value * (1 + 1e-9) != pytest.approx(decimal, rel=1e-13, abs=1e-17)


@pytest.mark.parametrize("weight", NETWORK.parameters)
def test_a_central_difference_of_the_loss_comes_near_the_gradient(weight: str) -> None:
    h = 2.0**-17
    up, down = (
        evaluate(NETWORK, PLAIN, {**UNEVEN, weight: UNEVEN[weight] + step}, ["E_total"])["E_total"] for step in (h, -h)
    )
    gradient = evaluate(NETWORK, PLAIN, UNEVEN, [f"dE_total/d{weight}"])[f"dE_total/d{weight}"]
    assert (up - down) / (2 * h) == pytest.approx(gradient, rel=1e-7)
    assert (up - down) / (2 * h) != pytest.approx(gradient * 1.00001, rel=1e-7)


def test_formulas_evaluate_on_arrays_component_by_component() -> None:
    columns = {n: np.array([WORKED_EXAMPLE[n], UNEVEN[n]]) for n in WORKED_EXAMPLE}
    got = evaluate(NETWORK, PLAIN, columns, ["dE_total/dw1"])["dE_total/dw1"]
    expected = [straight_line(given)["dE_total/dw1"] for given in (WORKED_EXAMPLE, UNEVEN)]
    np.testing.assert_allclose(got, expected, rtol=1e-13)


def test_all_eight_gradients_are_taken_before_any_weight_is_updated() -> None:
    used = {o for e in NETWORK.equations for f in e.forms for o in f.operands}
    assert not used & set(NETWORK.updated.values())


def test_gradient_and_update_of_every_weight_are_equations() -> None:
    assert list(NETWORK.gradient.values()) == [f"dE_total/dw{k}" for k in range(1, 9)]
    assert list(NETWORK.updated.values()) == UPDATE
    assert {*NETWORK.gradient.values(), *NETWORK.updated.values()} <= set(NETWORK.by_name)


def test_intermediates_are_the_forward_quantities_with_a_named_adjoint() -> None:
    assert NETWORK.intermediates == ("h1", "h2", "a_h1", "a_h2", "o1", "o2", "a_o1", "a_o2")
    assert NETWORK.adjoint("a_h1") == "dE_total/da_h1"


# The record ---------------------------------------------------------------------------------------------------


def small(*equations: Equation) -> Derivation:
    return Derivation("small", ("x",), ("w",), "eta", "y", equations, {}, {})


def identity(name: str, operand: str) -> Equation:
    return line(name, operand, lambda ops, x: x)


def besides(equation: Equation, also: tuple[Form, ...]) -> Equation:
    return replace(equation, forms=(*equation.forms, *also))


def test_a_derivation_refuses_an_operand_that_nothing_gives() -> None:
    with pytest.raises(ValueError, match=r"^y: operand 'z' is neither given nor derived before it$"):
        small(identity("y", "z"))


def test_a_derivation_refuses_an_operand_that_is_derived_only_later() -> None:
    assert small(identity("z", "x"), identity("y", "z")).by_name["y"].operands == ("z",)
    with pytest.raises(ValueError, match="operand 'z' is neither given nor derived before it"):
        small(identity("y", "z"), identity("z", "x"))


def test_a_derivation_refuses_a_missing_operand_in_any_form() -> None:
    also = (Form("other", ("nowhere",), lambda ops, x: x, "a test"),)
    with pytest.raises(ValueError, match="y: operand 'nowhere'"):
        small(besides(identity("y", "x"), also))


def test_a_derivation_refuses_a_name_that_is_defined_twice() -> None:
    with pytest.raises(ValueError, match=r"^y is defined twice$"):
        small(identity("y", "x"), identity("y", "w"))


def test_a_derivation_refuses_an_equation_for_a_given_name() -> None:
    with pytest.raises(ValueError, match=r"^w is defined twice$"):
        small(identity("w", "x"))


def test_a_given_quantity_is_taken_as_it_is_given() -> None:
    doubled = small(line("z", "x", lambda ops, x: 2 * x), line("y", "z w", lambda ops, z, w: z + w))
    assert evaluate(doubled, PLAIN, {"x": 1.0, "w": 0.5, "eta": 0.0}, ["y"]) == {"y": 2.5}
    assert evaluate(doubled, PLAIN, {"x": 1.0, "w": 0.5, "eta": 0.0, "z": 10.0}, ["y"]) == {"y": 10.5}


def test_the_choice_among_forms_is_the_callers() -> None:
    also = (Form("other", ("x",), lambda ops, x: 3 * x, "a test"),)
    two = small(besides(line("y", "x", lambda ops, x: 2 * x), also))
    given = {"x": 1.0, "w": 0.0, "eta": 0.0}
    assert Evaluation(two, PLAIN, given)["y"] == 2.0
    assert Evaluation(two, PLAIN, given, lambda values, forms: max(values))["y"] == 3.0
    assert Evaluation(two, PLAIN, given).forms("y") == [2.0, 3.0]


def test_a_line_with_a_chained_form_is_true_to_that() -> None:
    """A long form reads a where σ'(z) is meant: its digits are not the definition's."""
    chained = {e.name: e.definition for e in NETWORK.equations if any(f.name == "chained" for f in e.forms)}
    assert {"dE_total/dw1", "dE_total/dw5", "dE1/da_h1", "dE_total/da_h1"} <= set(chained)
    assert {form.name for form in chained.values() if form} == {"chained"}
    assert None not in chained.values()


@pytest.mark.parametrize("name", ["a_h1", "a_h2", "a_o1", "a_o2"])
def test_every_program_for_the_sigmoid_is_accepted_for_an_activation(name: str) -> None:
    accepted = next(e for e in NETWORK.equations if e.name == name).forms
    assert [f.name for f in accepted[1:]] == [f.name for f in SIGMOID.forward[1:]] != []
