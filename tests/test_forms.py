"""The forms of activations and losses: all of one truth, and the derivative of the value by a witness of its own."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
from flint import arb

from gradconform.reference.activations import ACTIVATIONS, Activation
from gradconform.reference.ball_arrays import BallArray, BallArrays
from gradconform.reference.equations import Form
from gradconform.reference.exact import precision
from gradconform.reference.formats import FLOAT64
from gradconform.reference.losses import LOSSES, Loss, LossFormula
from gradconform.reference.profiles import STRICT
from gradconform.reference.rounded import Rounded

BITS = 1200
STEP = 2.0**-200
CLOSE = 1e-90
#: Rows of pre-activations away from kinks, on both sides of every branch.
ROWS = [[-11.3, -0.37, 0.21], [2.6, -1.7, 13.9], [-4.4, 0.83, -0.09], [19.3, -27.5, 24.1]]


def exactly(ops: BallArrays, values: Any) -> BallArray:
    """An array of exact numbers, of any precision."""
    out = np.empty(np.shape(values), dtype=object)
    for index in np.ndindex(out.shape):
        out[index] = Rounded(ops.balls, arb(values[index]))
    return BallArray(ops, out)


def truths(array: BallArray) -> Any:
    return np.vectorize(lambda x: x.exact, otypes=[object])(array.values)


def apart(a: Any, b: Any) -> float:
    """The largest relative distance of two arrays of balls, of 1 where they are smaller."""
    pairs = zip(np.ravel(a), np.ravel(b), strict=True)
    return max(float(abs(x - y).upper()) / max(1.0, float(abs(y).upper())) for x, y in pairs)


def evaluated(ops: BallArrays, form: Form, activation: Activation, z: BallArray, g: BallArray) -> BallArray:
    """A backward form, with the activation's exact value where it reads that."""
    a = exactly(ops, truths(activation.forward[0].formula(ops, z)))
    found: BallArray = form.formula(ops, *[{"g": g, "z": z, "a": a}[o] for o in form.operands])
    return found


def adjoints(ops: BallArrays) -> BallArray:
    random = Random("adjoints")
    return exactly(ops, np.array([[random.uniform(-2, 2) for _ in row] for row in ROWS], dtype=object))


def pre_activations(ops: BallArrays) -> BallArray:
    return exactly(ops, np.array(ROWS, dtype=object))


def witness(value: Callable[[Any], Any], at: Any, g: Any) -> Any:
    """Σ g·∂value/∂x for each x, by central differences of step 2^−200 in 1,200 bits: right to 2^−390 or so."""
    found = np.empty(at.shape, dtype=object)
    for index in np.ndindex(at.shape):
        up, down = at.copy(), at.copy()
        up[index], down[index] = at[index] + arb(STEP), at[index] - arb(STEP)
        difference = value(up) - value(down)
        found[index] = sum((np.ravel(difference) * np.ravel(g)).tolist(), arb(0)) / (2 * arb(STEP))
    return found


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_form_of_an_activation_is_of_one_truth(name: str) -> None:
    activation, ops = ACTIVATIONS[name], BallArrays(FLOAT64, STRICT)
    with precision(BITS):
        z, g = pre_activations(ops), adjoints(ops)
        first = truths(activation.forward[0].formula(ops, z))
        for form in activation.forward[1:]:
            assert apart(truths(form.formula(ops, z)), first) < CLOSE, form.name
        slope = truths(evaluated(ops, activation.backward[0], activation, z, g))
        for form in activation.backward[1:]:
            assert apart(truths(evaluated(ops, form, activation, z, g)), slope) < CLOSE, form.name


def off_by(activation: Activation, form: Form) -> float:
    """How far a backward form is from the derivative of the value, by the witness."""
    ops = BallArrays(FLOAT64, STRICT)
    with precision(BITS):
        z, g = pre_activations(ops), adjoints(ops)

        def value(x: Any) -> Any:
            return truths(activation.forward[0].formula(ops, exactly(ops, x)))

        return apart(truths(evaluated(ops, form, activation, z, g)), witness(value, truths(z), truths(g)))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_backward_form_is_the_derivative_of_the_value(name: str) -> None:
    assert off_by(ACTIVATIONS[name], ACTIVATIONS[name].backward[0]) < CLOSE


def test_a_wrong_derivative_is_noticed() -> None:
    wrong = Form("1-a", ("g", "a"), lambda ops, g, a: g * (1 - a), "planted")
    assert off_by(ACTIVATIONS["tanh"], wrong) > 1e-3
    term = Form("Φ", ("g", "z"), lambda ops, g, z: g * (0.5 * (1 + ops.erf(z))), "planted")
    assert off_by(ACTIVATIONS["gelu"], term) > 1e-3


def targets(loss: Loss) -> Any:
    if loss.rowwise:
        return np.array([[0.25, 0.25, 0.5], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.125, 0.75, 0.125]], dtype=object)
    if loss.name.startswith("binary"):
        return np.array([[0.25, 0.0, 1.0], [0.5, 0.75, 0.0], [1.0, 0.0, 0.125], [0.5, 0.5, 1.0]], dtype=object)
    return np.array([[-10.9, 0.5, 3.0], [2.5, -1.0, 20.0], [-4.0, 9.0, 0.25], [19.0, -27.0, 24.0]], dtype=object)


@pytest.mark.parametrize("count", [1, 12], ids=["sum", "mean"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_their_slopes(name: str, count: int) -> None:
    loss, ops = LOSSES[name], BallArrays(FLOAT64, STRICT)
    with precision(BITS):
        a, t = pre_activations(ops), exactly(ops, targets(loss))

        def value(formula: LossFormula, x: Any) -> Any:
            return truths(formula(ops, exactly(ops, x), t, count))

        first = value(loss.value[0].formula, truths(a))
        for form in loss.value[1:]:
            assert apart(value(form.formula, truths(a)), first) < CLOSE, form.name
        slope = witness(lambda x: value(loss.value[0].formula, x), truths(a), np.array([arb(1)], dtype=object))
        for form in loss.slope:
            assert apart(truths(form.formula(ops, a, t, count)), slope) < CLOSE, form.name


@pytest.mark.parametrize(
    ("activation", "z", "slopes", "outside"),
    [
        ("relu", 0.0, (0.0, 0.5, 1.0), (-0.01, 1.01)),
        ("leaky_relu", 0.0, (0.01, 0.5, 1.0), (0.009, 1.01)),
        ("selu", 0.0, (1.0507009873554805, 1.4, 1.7580993408473766), (1.04, 1.77)),
        ("hard_tanh", 1.0, (0.0, 0.5, 1.0), (-0.01, 1.01)),
        ("hard_tanh", -1.0, (0.0, 0.5, 1.0), (-0.01, 1.01)),
    ],
)
def test_at_a_kink_every_slope_between_the_sides_is_right(
    activation: str, z: float, slopes: tuple[float, ...], outside: tuple[float, ...]
) -> None:
    ops = BallArrays(FLOAT64, STRICT)
    with precision(192):
        ball = ACTIVATIONS[activation].backward[0].formula(ops, ops.given([1.0]), ops.given([z])).values[0]
        assert all(ball.distance(s) <= ball.radius for s in slopes)
        assert all(ball.distance(s) > ball.radius for s in outside)
