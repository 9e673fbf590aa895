"""The document's network is the instance (2, 2, 2) of the derivation in matrix form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy

from gradconform.reference.document import NETWORK
from gradconform.reference.equations import Evaluation
from gradconform.reference.network import Architecture, network
from gradconform.reference.symbols import SYMBOLS, SymbolArrays, equal

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
