"""The document's network is the instance (2, 2, 2) of the derivation in matrix form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy

from gradconform.reference.arithmetic.ball_arrays import BallArray, BallArrays
from gradconform.reference.arithmetic.exact import HandWritten
from gradconform.reference.arithmetic.formats import FLOAT64
from gradconform.reference.arithmetic.profiles import STRICT
from gradconform.reference.arithmetic.symbols import SYMBOLS, SymbolArrays, equal
from gradconform.reference.derivations.network import DECAY, Architecture, Decay, network
from gradconform.reference.document import NETWORK
from gradconform.reference.equations import Evaluation


class Numbers(HandWritten):
    """NumPy's own float64 operations, as far as they are wanted here."""

    exp, tanh = staticmethod(np.exp), staticmethod(np.tanh)

    def real(self, constant: Any) -> float:
        return 0.1

    def step(self, x: Any, above: float, below: float) -> Any:
        return np.where(x > 0, above, below)


NUMBERS = Numbers()
INSTANCE = Architecture((2, 2, 2), ("sigmoid",) * 2, (False,) * 2, "half_squared_error", "sum", 1)
#: Each tensor of the instance, and the document's names of its components.
NAMES = {
    "z1": [["h1", "h2"]],
    "a1": [["a_h1", "a_h2"]],
    "z2": [["o1", "o2"]],
    "a2": [["a_o1", "a_o2"]],
    "E": "E_total",
    "dE/da2": [["dE_total/da_o1", "dE_total/da_o2"]],
    "dE/dz2": [["dE_total/do1", "dE_total/do2"]],
    "dE/dW2": [["dE_total/dw5", "dE_total/dw6"], ["dE_total/dw7", "dE_total/dw8"]],
    "dE/da1": [["dE_total/da_h1", "dE_total/da_h2"]],
    "dE/dz1": [["dE_total/dh1", "dE_total/dh2"]],
    "dE/dW1": [["dE_total/dw1", "dE_total/dw2"], ["dE_total/dw3", "dE_total/dw4"]],
    "W1_new": [["w1_new", "w2_new"], ["w3_new", "w4_new"]],
    "W2_new": [["w5_new", "w6_new"], ["w7_new", "w8_new"]],
}


def symbols() -> dict[str, Any]:
    return {n: sympy.Symbol(n, real=True) for n in NETWORK.given}


def layered() -> Evaluation:
    given = symbols()

    def array(rows: list[list[str]]) -> Any:
        return np.array([[given[n] for n in row] for row in rows], dtype=object)

    values = {
        "X": array([["i1", "i2"]]),
        "T": array([["t1", "t2"]]),
        "W1": array([["w1", "w2"], ["w3", "w4"]]),
        "W2": array([["w5", "w6"], ["w7", "w8"]]),
        "eta": given["eta"],
    }
    return Evaluation(network(INSTANCE), SymbolArrays(), values)


def exactly(expression: Any) -> Any:
    return sympy.nsimplify(expression, rational=True)


def test_every_tensor_is_compared() -> None:
    assert set(NAMES) == {e.name for e in network(INSTANCE).equations}


@pytest.mark.parametrize("tensor", NAMES)
def test_every_component_is_the_documents(tensor: str) -> None:
    instance, document = layered(), Evaluation(NETWORK, SYMBOLS, symbols())
    found, names = np.array(instance[tensor], dtype=object), np.array(NAMES[tensor], dtype=object)
    assert found.shape == names.shape
    for component, name in zip(found.ravel(), names.ravel(), strict=True):
        assert equal(exactly(component), exactly(document[name])), name


def test_swapped_weights_are_noticed() -> None:
    instance, document = layered(), Evaluation(NETWORK, SYMBOLS, symbols())
    assert not equal(exactly(instance["dE/dW1"][0, 1]), exactly(document["dE_total/dw3"]))


MIXED = Architecture((3, 4, 2), ("tanh", "identity"), (True, False), "l1", "mean", 5)


def test_what_is_given_has_the_shapes_of_its_layers() -> None:
    assert dict(MIXED.shapes) == {"X": (5, 3), "T": (5, 2), "eta": (), "W1": (4, 3), "b1": (4,), "W2": (2, 4)}
    assert MIXED.parameters == 4 * 3 + 4 + 2 * 4


@pytest.mark.parametrize(
    ("loss", "reduction", "count"),
    [("l1", "sum", 1), ("l1", "mean", 10), ("softmax_cross_entropy", "sum", 1), ("softmax_cross_entropy", "mean", 5)],
)
def test_a_mean_is_over_every_component_or_over_the_rows(loss: str, reduction: str, count: int) -> None:
    assert replace(MIXED, loss=loss, reduction=reduction).count == count


def test_the_estimate_of_memory_is_for_each_weight_and_each_number_of_a_row() -> None:
    """Nine arrays in the dtype and twenty-two in float64 of each weight; forty in float64 of each row's numbers."""
    wide, long = replace(MIXED, batch=1), replace(MIXED, batch=1001)
    row = 8 * 40 * (3 + 4 + 2)
    assert wide.working_bytes(8) == 24 * (9 * 8 + 22 * 8) + row
    assert wide.working_bytes(4) == 24 * (9 * 4 + 22 * 8) + row
    assert long.working_bytes(8) - wide.working_bytes(8) == 1000 * row


def test_a_component_is_computed_from_what_it_depends_on_and_nothing_else() -> None:
    """The numbers that each equation's first component reads, and its last, by hand."""
    derivation = network(MIXED)
    shapes = {**MIXED.shapes, **{e.name: e.shape for e in derivation.equations}}
    read = {
        "z1": 3 + 3 + 1, "a1": 1, "z2": 4 + 4, "a2": 1, "E": 10 + 10, "dE/da2": 2, "dE/dz2": 1, "dE/dW2": 5 + 5,
        "dE/da1": 2 + 2, "dE/dz1": 2, "dE/dW1": 5 + 5, "dE/db1": 5, "W1_new": 3, "b1_new": 3, "W2_new": 3,
    }  # fmt: skip
    for first in (True, False):
        found = {}
        for equation in derivation.equations:
            assert equation.part is not None
            operands = [np.zeros(shapes[o]) for o in equation.operands]
            parts, local = equation.part(tuple(0 if first else n - 1 for n in equation.shape), operands)
            found[equation.name] = sum(np.size(p) for p in parts)
            assert len(local) == len(equation.shape)
        assert found == read


@pytest.mark.parametrize("options", [{}, {"l2": True, "decay": "coupled"}], ids=["plain", "penalised"])
def test_a_block_of_rows_is_computed_from_the_rows_that_it_depends_on(options: dict[str, Any]) -> None:
    architecture = replace(MIXED, **options)
    derivation = network(architecture)
    random = np.random.default_rng(0)
    shapes = {**architecture.shapes, **{e.name: e.shape for e in derivation.equations}}
    values = {n: random.normal(size=shape) if shape else 0.5 for n, shape in shapes.items()}
    for name in ("a1", "dE/da2", "dE/dz1", "dE/dW1", "W1_new", "b1_new"):
        equation = derivation.by_name[name]
        assert equation.rows is not None
        operands = [values[o] for o in equation.operands]
        whole = equation.forms[0].formula(NUMBERS, *operands)
        block = slice(1, 3)
        assert np.array_equal(equation.forms[0].formula(NUMBERS, *equation.rows(block, operands)), whole[block])


@pytest.mark.parametrize(
    ("decay", "written", "step"),
    [
        (None, ["w-ηg"], 0.5 * 3),
        ("coupled", ["w-η(g+λw)", "w(1-ηλ)-ηg", "(w-wλη)-ηg"], 0.5 * (3 + 0.25 * 2)),
        ("decoupled", ["w(1-ηλ)-ηg", "(w-wλη)-ηg", "w-η(g+λw)"], 0.5 * (3 + 0.25 * 2)),
    ],
)
def test_an_update_is_written_as_asked_for_and_measured_by_its_step(
    decay: Decay | None, written: list[str], step: float
) -> None:
    """η·g, with λw added to g where weights decay: in numbers that float64 has."""
    equation = network(replace(MIXED, decay=decay)).by_name["W1_new"]
    against = equation.against
    assert [f.name for f in equation.forms] == written
    assert against is not None
    values = {"W1": 2.0, "eta": 0.5, "dE/dW1": np.array([3.0]), DECAY: 0.25}
    assert against.formula(NUMBERS, *[values[o] for o in against.operands]) == step


#: Networks whose loss has a penalty, whose update has a weight decay, and whose mean is over the rows.
PENALISED = Architecture((3, 4, 2), ("tanh", "sigmoid"), (True, False), "squared_error", "mean", 3, l2=True)
WITH_OPTIONS = {
    "penalty": PENALISED,
    "coupled": replace(PENALISED, decay="coupled"),
    "decoupled": replace(PENALISED, l2=False, decay="decoupled", mean_over="rows"),
}


@pytest.mark.parametrize("options", WITH_OPTIONS)
def test_every_form_of_a_network_s_equation_is_of_one_truth(options: str) -> None:
    """A form that is another function would accept what is wrong, and no right program would show it."""
    architecture = WITH_OPTIONS[options]
    drawn, derivation = np.random.default_rng(0), network(architecture)
    shapes = {"X": (3, 3), "T": (3, 2), "W1": (4, 3), "b1": (4,), "W2": (2, 4)}
    given: dict[str, Any] = {n: drawn.normal(size=shape) for n, shape in shapes.items()}
    given |= dict.fromkeys((derivation.rate, *architecture.options), 0.3)
    ops = BallArrays(FLOAT64, STRICT)
    evaluation = Evaluation(derivation, ops, {n: ops.given(x) for n, x in given.items()})
    several = 0
    for equation in derivation.equations:
        truth, *others = map(exact, evaluation.forms(equation.name))
        several += bool(others)
        for form, value in zip(equation.forms[1:], others, strict=True):
            np.testing.assert_allclose(value, truth, 1e-12, 1e-14, err_msg=f"{equation.name} by {form.name}")
    assert several > 5


def exact(of: BallArray) -> Any:
    return np.vectorize(lambda x: float(x.exact), otypes=[float])(of.values)
