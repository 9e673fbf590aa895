"""The condition of a step, against derivatives by another library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import numpy as np
import pytest

from gradconform.reference import condition as module
from gradconform.reference.condition import condition as condition_of
from gradconform.reference.derivations.network import Architecture, network
from gradconform.reference.document import NETWORK
from gradconform.reference.equations import Equation

UNIT = 2.0**-53
#: One component of a step: a function of all its operands' numbers, in mpmath.
Component = Callable[..., Any]


def condition(of: Equation, operands: Sequence[Any], unit: float = UNIT) -> float | None:
    return condition_of(of, operands, unit)


def kappa(component: Component, numbers: Sequence[float]) -> Any:
    """Σ|x·∂g/∂x| over the numbers, by mpmath's own differentiation."""
    total = mpmath.mpf(0)
    with mpmath.workdps(40):
        at = [mpmath.mpf(x) for x in numbers]
        for j, x in enumerate(at):
            order = tuple(int(k == j) for k in range(len(at)))
            total += abs(x * mpmath.diff(component, at, order))
    return total


def norm(kappas: Sequence[Any]) -> float:
    return float(mpmath.sqrt(sum(k * k for k in kappas)))


def equation(name: str, activation: str = "sigmoid", loss: str = "half_squared_error", batch: int = 2) -> Equation:
    """An equation of a network of one layer, three units wide."""
    return network(Architecture((3, 3), (activation,), (True,), loss, "sum", batch)).by_name[name]


def logistic(z: Any) -> Any:
    return 1 / (1 + mpmath.exp(-z))


#: Elementwise steps: the operands are g and z, or z alone.
ELEMENTWISE: dict[str, tuple[str, str, Component]] = {
    "σ": ("a1", "sigmoid", logistic),
    "g·σ'": ("dE/dz1", "sigmoid", lambda g, z: g * logistic(z) * logistic(-z)),
    "g·tanh'": ("dE/dz1", "tanh", lambda g, z: g / mpmath.cosh(z) ** 2),
    "g·gelu'": ("dE/dz1", "gelu", lambda g, z: g * (mpmath.ncdf(z) + z * mpmath.npdf(z))),
    "g·silu'": ("dE/dz1", "silu", lambda g, z: g * logistic(z) * (1 + z * logistic(-z))),
    "softplus": ("a1", "softplus", lambda z: mpmath.log(1 + mpmath.exp(z))),
    "elu": ("a1", "elu", lambda z: z if z > 0 else mpmath.expm1(z)),
    "g·relu'": ("dE/dz1", "relu", lambda g, z: g * (z > 0)),
    "mish": ("a1", "mish", lambda z: z * mpmath.tanh(mpmath.log(1 + mpmath.exp(z)))),
    "gelu_tanh": (
        "a1",
        "gelu_tanh",
        lambda z: z / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (z + mpmath.mpf("0.044715") * z**3))),
    ),
}
G = np.array([[0.75, -1.5, 0.1], [2.0, 0.3, -0.01]])
Z = np.array([[-3.7, 0.4, 1.9], [6.25, -0.752, -11.5]])


@pytest.mark.parametrize("step", ELEMENTWISE)
def test_an_elementwise_step_moves_by_each_of_its_own_operands(step: str) -> None:
    name, activation, component = ELEMENTWISE[step]
    of = equation(name, activation)
    operands = [G, Z] if len(of.truth.operands) == 2 else [Z]
    expected = norm([kappa(component, numbers) for numbers in zip(*(x.ravel() for x in operands), strict=True)])
    assert condition(of, operands) == pytest.approx(expected, rel=1e-9)
    assert condition(of, operands) != pytest.approx(expected * 1.001, rel=1e-9)


def rows(component: Callable[[Sequence[Any], int], Any], operands: Sequence[Any]) -> float:
    """‖κ‖ of a rowwise step; component(all the row's numbers, index) is one of its components."""
    kappas = []
    for r in range(len(operands[0])):
        numbers = [float(x) for operand in operands for x in operand[r]]
        for i in range(operands[0].shape[1]):
            kappas.append(kappa(lambda *x, i=i: component(x, i), numbers))
    return norm(kappas)


def softmax(row: Sequence[Any], i: int) -> Any:
    return mpmath.exp(row[i]) / sum(map(mpmath.exp, row))


def softmax_slope(numbers: Sequence[Any], i: int) -> Any:
    g, z = numbers[:3], numbers[3:]
    s = [softmax(z, k) for k in range(3)]
    return (g[i] - sum(a * b for a, b in zip(g, s, strict=True))) * s[i]


def cross_entropy_slope(numbers: Sequence[Any], i: int) -> Any:
    a, t = numbers[:3], numbers[3:]
    return softmax(a, i) * sum(t) - t[i]


def test_a_softmax_moves_by_its_whole_row() -> None:
    assert condition(equation("a1", "softmax"), [Z]) == pytest.approx(rows(softmax, [Z]), rel=1e-9)
    of_slope = condition(equation("dE/dz1", "softmax"), [G, Z])
    assert of_slope == pytest.approx(rows(softmax_slope, [G, Z]), rel=1e-9)


def test_a_cross_entropys_slope_moves_by_logits_and_targets() -> None:
    t = np.array([[0.25, 0.5, 0.25], [0.0, 0.0, 1.0]])
    of = equation("dE/da1", "identity", "softmax_cross_entropy")
    assert of.rowwise
    # With the targets' derivatives taken at Σp = 1, where p·Σt − t and its form that keeps digits are one.
    assert condition(of, [Z, t]) == pytest.approx(rows(cross_entropy_slope, [Z, t]), rel=1e-9)


def test_a_sum_of_products_moves_by_each_of_its_factors() -> None:
    x, w, b = np.array([[1.0, -2.0, 0.5]]), np.array([[3.0, 1.0, -4.0]] * 3), np.array([0.5, -1.0, 2.0])
    products = condition(equation("z1", batch=1), [x, w, b])
    assert products is not None
    terms = np.abs(x) @ np.abs(w).T
    # A bias counts as often as a product: twice what it moves by, an upper bound that asks no more than a factor 2.
    assert np.linalg.norm(2 * terms + np.abs(b)) <= products <= np.linalg.norm(2 * (terms + np.abs(b)))
    assert condition(equation("dE/dW1"), [G, Z]) == pytest.approx(np.linalg.norm(2 * np.abs(G).T @ np.abs(Z)))
    assert condition(equation("dE/db1"), [G]) == pytest.approx(np.linalg.norm(np.abs(G).sum(axis=0)))
    deep = network(Architecture((3, 3, 3), ("sigmoid",) * 2, (True,) * 2, "half_squared_error", "sum", 2))
    assert condition(deep.by_name["dE/da1"], [G, w]) == pytest.approx(np.linalg.norm(2 * np.abs(G) @ np.abs(w)))


def test_an_update_moves_by_weight_rate_and_gradient() -> None:
    w, g = np.array([0.5, -2.0, 1.0]), np.array([0.1, 0.2, -4.0])
    expected = np.linalg.norm(np.abs(w) + 2 * np.abs(0.25 * g))
    assert condition(equation("b1_new"), [w, 0.25, g]) == pytest.approx(expected)


def test_numbers_of_the_document_have_a_condition_too() -> None:
    at = [0.4, 0.9, 0.7, -0.2]  # w5 a_h1 w6 a_h2
    expected = float(kappa(lambda a, b, c, d: a * b + c * d, at))
    assert condition(NETWORK.by_name["o1"], at) == pytest.approx(expected, rel=1e-12)
    slope = NETWORK.by_name["dE_total/do1"]
    assert slope.truth.operands == ("dE_total/da_o1", "o1")
    expected = float(kappa(lambda g, x: g * logistic(x) * logistic(-x), [0.3, -7.5]))
    assert condition(slope, [0.3, -7.5]) == pytest.approx(expected, rel=1e-9)


def test_a_loss_moves_by_every_number_of_every_row() -> None:
    t = np.array([[0.25, 0.5, 0.25], [0.0, 0.125, 0.875]])
    numbers = [*Z.ravel(), *t.ravel()]
    squared = condition(equation("E"), [Z, t])
    assert squared == pytest.approx(float(kappa(lambda *x: sum((x[i] - x[i + 6]) ** 2 / 2 for i in range(6)), numbers)))

    def cross_entropy(*x: Any) -> Any:
        z, t = (x[:3], x[3:6]), (x[6:9], x[9:])
        return -sum(t[r][i] * mpmath.log(softmax(z[r], i)) for r in range(2) for i in range(3))

    of = equation("E", "identity", "softmax_cross_entropy")
    assert condition(of, [Z, t]) == pytest.approx(float(kappa(cross_entropy, numbers)), rel=1e-9)


@pytest.mark.parametrize(("away", "crossed"), [(0.5, True), (-0.99, True), (1.01, False), (1000.0, False)])
def test_a_kink_within_one_rounding_of_an_operand_counts_as_the_jump(away: float, crossed: bool) -> None:
    unit = 2.0**-11
    a, t = np.array([[1.0, 3.0, 5.0]]), np.array([[1.0 + away * unit, 2.0, 2.0]])
    of = network(Architecture((3, 3), ("identity",), (True,), "l1", "sum", 1)).by_name["dE/da1"]
    # The sign of a − t jumps by 2 where a rounding of a, or one of t, takes it across 0.
    assert condition(of, [a, t], unit) == (2 * 2 / unit if crossed else 0.0)


def test_where_a_condition_is_not_known_none_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert condition(equation("a1", "softmax"), [np.array([[np.inf, 0.0, 1.0]])]) is None
    monkeypatch.setattr(module, "MOST_DERIVATIVES", 2 * 3 * 3 - 1)
    assert condition(equation("a1", "softmax"), [Z]) is None
    monkeypatch.setattr(module, "MOST_DERIVATIVES", 2 * 3 * 3)
    assert condition(equation("a1", "softmax"), [Z]) is not None
