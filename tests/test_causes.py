"""Conventions: right mathematics under another agreement passes where it may, and is named where it deviates."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import gradconform as gc
from gradconform.adapters.contract import CONVENTIONS, Answer, Point, Route, Trace
from gradconform.conformance.conventions import ASKED
from gradconform.reference.arithmetic.arrays import RoundedArrays
from gradconform.reference.arithmetic.ball_arrays import BallArrays
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.profiles import STRICT

DTYPES = ("float64", "float32", "float16", "bfloat16")
Values = dict[str, Any]


def case(**options: Any) -> gc.Case:
    """A tanh and an identity layer with biases, eight rows."""
    drawn = np.random.default_rng(5)

    def numbers(*shape: int) -> Any:
        return np.round(drawn.normal(size=shape), 3)

    layers = [(numbers(5, 4), numbers(5), "tanh"), (numbers(3, 5), numbers(3), "identity")]
    values = {"layers": layers, "inputs": numbers(8, 4), "targets": numbers(8, 3), "rate": 0.05}
    return gc.network_case("mine/convention", **{**values, "reduction": "mean", "mean_over": "rows", **options})


def by_hand(point: Point, scale: float = 1.0, divisor: int = 8) -> Values:
    """Every quantity of the network as a framework has it, rounded at each step; adjoints are `scale` times the case's.

    The mean divides by `divisor`: 8 is the number of rows. Sums are of float64 numbers, wider than
    any hardware's accumulation.
    """
    target, v = FORMATS[point.dtype], point.values
    r: Callable[[Any], Any] = target.round
    x = {n: np.asarray(a, dtype=np.float64) for n, a in v.items()}
    z1 = r(x["X"] @ x["W1"].T + x["b1"])
    a1 = r(np.tanh(z1))
    z2 = r(a1 @ x["W2"].T + x["b2"])
    off = r(z2 - x["T"])
    found = {"z1": z1, "a1": a1, "z2": z2, "a2": z2, "E": r(r(0.5 * r(np.sum(r(off**2)))) / divisor)}
    found["dE/da2"] = found["dE/dz2"] = r(off * (scale / divisor))
    found["dE/da1"] = r(found["dE/dz2"] @ x["W2"])
    found["dE/dz1"] = r(found["dE/da1"] * r(1 - r(a1**2)))
    for layer, before in ((1, x["X"]), (2, a1)):
        dz = found[f"dE/dz{layer}"]
        found[f"dE/dW{layer}"] = r(r(dz.T @ before) / scale)
        found[f"dE/db{layer}"] = r(r(dz.sum(axis=0)) / scale)
    return found | updates(point, found)


def updates(point: Point, values: Values) -> Values:
    """w − η·g with the gradient among the values."""
    r = FORMATS[point.dtype].round
    return {f"{p}_new": r(point.values[p] - r(point.rate * values[f"dE/d{p}"])) for p in point.parameters}


def answered(point: Point, values: Values) -> Answer:
    gradient = {p: values[f"dE/d{p}"] for p in point.parameters}
    new = {p: values[f"{p}_new"] for p in point.parameters}
    inner = Trace(
        {n: values[n] for n in ("z1", "a1", "z2", "a2", "E")},
        {n: values[f"dE/d{n}"] for n in ("a2", "z2", "a1", "z1")},
        gradient,
        new,
    )
    return Answer(float(values["E"]), gradient, new, inner)


def judged(make: Callable[[Point], Answer], dtype: str, of: gc.Case | None = None, **route: Any) -> pd.DataFrame:
    """All rows of an adapter that answers by `make`."""
    adapter = SimpleNamespace(name="written", routes=(Route("out", **route),), answer=lambda point, route: make(point))
    return gc.check(adapter, of or case(), dtype=dtype)


def deviating(rows: pd.DataFrame) -> set[tuple[str, str]]:
    bad = rows[rows.verdict == "deviates"]
    return set(zip(bad.level, bad.quantity, strict=True))


def causes(rows: pd.DataFrame) -> set[str | None]:
    return set(rows[rows.verdict == "deviates"].cause)


# The scale of intermediate adjoints -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_pass_written_by_hand_conforms_as_it_is(dtype: str) -> None:
    rows = judged(lambda point: answered(point, by_hand(point)), dtype)
    assert not deviating(rows)
    assert not rows.reason.astype(str).str.contains("convention").any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_mean_applied_to_the_gradients_and_not_to_the_adjoints_conforms_and_is_said(dtype: str) -> None:
    rows = judged(lambda point: answered(point, by_hand(point, scale=8.0)), dtype)
    assert not deviating(rows)
    said = rows[rows.reason.astype(str).str.startswith("convention: the adjoints are 8 times ours")]
    assert {"dE/da2", "dE/dW1", "dE/dW2", "dE/db1", "dE/db2"} == set(said.quantity)
    assert set(said.level) == {"step"}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("wrong", ["dE/da2", "dE/dz1", "dE/da1"])
def test_with_one_adjoint_a_tenth_off_the_scale_is_no_excuse(wrong: str, dtype: str) -> None:
    def make(point: Point) -> Answer:
        values = by_hand(point, scale=8.0)
        values[wrong] = FORMATS[point.dtype].round(values[wrong] * 1.1)
        return answered(point, values)

    assert ("step", wrong) in deviating(judged(make, dtype))


def test_with_one_adjoint_a_hundredth_off_the_scale_is_no_excuse() -> None:
    def make(point: Point) -> Answer:
        values = by_hand(point, scale=8.0)
        values["dE/dz1"] = FORMATS[point.dtype].round(values["dE/dz1"] * 1.01)
        return answered(point, values)

    assert ("step", "dE/dz1") in deviating(judged(make, "float32"))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gradient_that_keeps_the_scale_of_its_adjoints_deviates(dtype: str) -> None:
    def make(point: Point) -> Answer:
        values = by_hand(point, scale=8.0)
        for p in point.parameters:
            values[f"dE/d{p}"] = values[f"dE/d{p}"] * 8
        return answered(point, values | updates(point, values))

    rows = judged(make, dtype)
    assert {("whole", "dE/dW1"), ("whole", "dE/db2"), ("step", "dE/da2")} <= deviating(rows)


def test_a_penalty_is_of_the_gradients_scale() -> None:
    def make(point: Point) -> Answer:
        values = by_hand(point, scale=8.0)
        λ = point.values["l2"]
        r = FORMATS[point.dtype].round
        for p in ("W1", "W2"):
            values[f"dE/d{p}"] = r(values[f"dE/d{p}"] + λ * point.values[p])
        squares = sum(np.sum(point.values[p] ** 2) for p in ("W1", "W2"))
        values["E"] = r(values["E"] + 0.5 * λ * squares)
        values |= updates(point, values)
        answer = answered(point, values)
        del answer.trace.values["E"]  # type: ignore[union-attr, attr-defined]
        return answer

    assert not deviating(judged(make, "float32", case(l2=0.25)))


# Causes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_mean_over_elements_is_named(dtype: str) -> None:
    def make(point: Point) -> Answer:
        return answered(point, by_hand(point, divisor=24))

    rows = judged(make, dtype)
    text = 'the loss and its gradient are 1/3 of ours: a mean over elements instead of rows (mean_over="elements")'
    assert causes(rows) == {f"convention: {text}"}
    assert {("whole", "E"), ("whole", "dE/dW1"), ("step", "dE/da2")} <= deviating(rows)


def test_a_gradient_that_is_a_third_without_its_loss_is_not_called_a_mean() -> None:
    def make(point: Point) -> Answer:
        values = by_hand(point)
        gradient = {p: values[f"dE/d{p}"] / 3 for p in point.parameters}
        return Answer(float(values["E"]), gradient)

    rows = judged(make, "float64")
    assert deviating(rows)
    assert causes(rows) == {None}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_an_l2_term_in_the_gradient_is_named_with_its_number(dtype: str) -> None:
    def make(point: Point) -> Answer:
        r, values = FORMATS[point.dtype].round, by_hand(point)
        for p in ("W1", "W2"):
            values[f"dE/d{p}"] = r(values[f"dE/d{p}"] + 0.01 * point.values[p])
        return answered(point, values | updates(point, values))

    rows = judged(make, dtype)
    assert causes(rows) == {"convention: an L2 term of about 0.01 (l2=0.01)"}
    assert deviating(rows) == {
        *((level, f"dE/d{p}") for level in ("whole", "step") for p in ("W1", "W2")),
        *(("whole", f"{p}_new") for p in ("W1", "W2")),
    }


def test_an_error_that_is_no_multiple_of_the_weights_is_not_called_a_penalty() -> None:
    def make(point: Point) -> Answer:
        values = by_hand(point)
        for number, p in enumerate(("W1", "W2"), 1):
            values[f"dE/d{p}"] = values[f"dE/d{p}"] + 0.01 * number * point.values[p]
        return answered(point, values | updates(point, values))

    assert causes(judged(make, "float64")) == {None}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("parameters", [("W1", "W2"), ("W1", "W2", "b1", "b2")])
def test_weight_decay_is_named_with_its_number(parameters: tuple[str, ...], dtype: str) -> None:
    def make(point: Point) -> Answer:
        r, values = FORMATS[point.dtype].round, by_hand(point)
        for p in parameters:
            values[f"{p}_new"] = r(values[f"{p}_new"] - point.rate * 0.01 * point.values[p])
        return answered(point, values)

    rows = judged(make, dtype)
    assert causes(rows) == {"convention: weight decay of about 0.01 (weight_decay=0.01)"}
    assert deviating(rows) == {(level, f"{p}_new") for level in ("whole", "step") for p in parameters}


def adam(point: Point, values: Values, rate: float) -> Values:
    r = FORMATS[point.dtype].round
    gradient = {p: values[f"dE/d{p}"] for p in point.parameters}
    return {f"{p}_new": r(point.values[p] - rate * g / (np.abs(g) + 1e-8)) for p, g in gradient.items()}


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_first_step_of_adam_is_named(dtype: str) -> None:
    def make(point: Point) -> Answer:
        values = by_hand(point)
        return answered(point, values | adam(point, values, point.rate))

    rows = judged(make, dtype)
    assert causes(rows) == {"convention: the update is Adam's first step, not w − η·g"}
    assert {("whole", "W1_new"), ("step", "W1_new"), ("step", "b2_new")} <= deviating(rows)


def test_a_step_of_adams_up_the_gradient_is_not_called_adams() -> None:
    def make(point: Point) -> Answer:
        values = by_hand(point)
        return answered(point, values | adam(point, values, -point.rate))

    assert causes(judged(make, "float32")) == {None}


def test_causes_of_numbers_are_named_too() -> None:
    document = gc.document_case("mine/numbers", weights=[0.1, 0.2] * 4, inputs=(0.5, 1), targets=(0, 1), rate=0.5)
    right = {}

    class Recorder:
        name, routes = "written", (Route("out"),)

        def answer(self, point: Point, route: str) -> Answer:
            from gradconform.adapters.registry import load

            answer = load("numpy").answer(point, "complex-step")
            right.update(answer.gradient or {})
            return Answer(answer.loss, answer.gradient, {w: point.values[w] - point.rate * (g + 0.01 * point.values[w])
                                                         for w, g in right.items()})  # fmt: skip

    rows = gc.check(Recorder(), document, dtype="float64")
    assert causes(rows) == {"convention: weight decay of about 0.01 (weight_decay=0.01)"}


# Only updated weights -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_answer_of_updated_weights_is_judged_by_them_and_its_gradient_is_said_to_be_absent(dtype: str) -> None:
    def make(point: Point) -> Answer:
        values = by_hand(point)
        return Answer(float(values["E"]), updated={p: values[f"{p}_new"] for p in point.parameters})

    rows = judged(make, dtype)
    assert set(zip(rows.level, rows.quantity, strict=True)) == {
        ("whole", "E"), *(("whole", f"{p}_new") for p in ("W1", "b1", "W2", "b2"))
    }  # fmt: skip
    assert not deviating(rows)
    assert rows.reason.iloc[0] == "unreported: the answer gives no dE/dW1, dE/db1, dE/dW2, dE/db2"


@pytest.mark.parametrize("dtype", DTYPES)
def test_updated_weights_alone_that_are_off_by_a_tenth_of_the_step_deviate(dtype: str) -> None:
    def make(point: Point) -> Answer:
        values = by_hand(point)
        tenth = {p: values[f"{p}_new"] + 0.1 * (point.values[p] - values[f"{p}_new"]) for p in point.parameters}
        return Answer(float(values["E"]), updated={p: FORMATS[point.dtype].round(v) for p, v in tenth.items()})

    assert ("whole", "b2_new") in deviating(judged(make, dtype, case(rate=1.0)))


def test_the_cause_of_updated_weights_alone_is_named() -> None:
    def make(point: Point) -> Answer:
        values = by_hand(point)
        return Answer(updated={p: adam(point, values, point.rate)[f"{p}_new"] for p in point.parameters})

    assert causes(judged(make, "float32")) == {"convention: the update is Adam's first step, not w − η·g"}


# Gradients that are accumulated in the dtype --------------------------------------------------------------------------

#: Rows of which the sums in the dtype are far from the sum in a wider one.
MANY = case(
    layers=[(np.full((1, 3), 0.5), np.zeros(1), "identity")],
    inputs=1 + np.random.default_rng(2).random((64, 3)),
    targets=np.zeros((64, 1)),
    reduction="sum",
    mean_over=None,
    rate=2.0**-10,
)


def by_torch(calls: int, wrong: float = 1.0) -> Callable[[Point], Answer]:
    """One linear layer in PyTorch, its batch in parts, and a call of backward() for each."""
    torch = pytest.importorskip("torch")

    def make(point: Point) -> Answer:
        of = getattr(torch, point.dtype)
        x, t, w, b = (
            torch.tensor(np.asarray(point.values[n], dtype=np.float64), dtype=of) for n in ("X", "T", "W1", "b1")
        )
        w.requires_grad_()
        b.requires_grad_()
        z, dz = [], []
        for rows in zip(x.chunk(calls), t.chunk(calls), strict=True):
            out = torch.nn.functional.linear(rows[0], w, b)
            out.retain_grad()
            (0.5 * (out - rows[1]) ** 2).sum().backward()
            z.append(out.detach())
            dz.append(out.grad)
        adjoint = torch.cat(dz).double().numpy()
        values = {n: torch.cat(z).double().numpy() for n in ("z1", "a1")}
        gradient = {"W1": (w.grad * wrong).double().numpy(), "b1": b.grad.double().numpy()}
        return Answer(None, gradient, None, Trace(values, {"a1": adjoint, "z1": adjoint}, gradient))

    return make


NARROW = pytest.mark.parametrize("dtype", ["float16", "bfloat16"])


@NARROW
def test_gradients_accumulated_over_calls_of_backward_deviate_unasked_and_the_cause_says_so(dtype: str) -> None:
    rows = judged(by_torch(32), dtype, MANY)
    assert ("step", "dE/dW1") in deviating(rows)
    assert causes(rows[rows.quantity == "dE/dW1"]) == {"convention: accumulated in the dtype"}


@NARROW
def test_gradients_accumulated_over_calls_of_backward_conform_where_the_route_asks_for_it(dtype: str) -> None:
    rows = judged(by_torch(32), dtype, MANY, conventions=("accumulated",))
    assert not deviating(rows)
    found = rows[(rows.level == "step") & (rows.quantity == "dE/dW1")].iloc[0]
    assert found.verdict == "conforms"
    assert found.accepted_form == "(dE/dz)ᵀ·a, accumulated in the dtype"
    assert found.reason.startswith("convention: accumulated in the dtype")


@NARROW
def test_one_call_of_backward_is_of_no_convention_even_where_it_is_asked_for(dtype: str) -> None:
    rows = judged(by_torch(1), dtype, MANY, conventions=("accumulated",))
    assert not deviating(rows)
    assert not rows.reason.astype(str).str.contains("convention").any()


@NARROW
def test_what_is_far_off_is_excused_by_no_accumulation(dtype: str) -> None:
    for asked in ((), ("accumulated",)):
        rows = judged(by_torch(32, wrong=2.0), dtype, MANY, conventions=asked)
        assert {("whole", "dE/dW1"), ("step", "dE/dW1")} <= deviating(rows)
        assert "convention: accumulated in the dtype" not in causes(rows)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_in_a_wide_dtype_the_convention_changes_nothing(dtype: str) -> None:
    plain, asked = (judged(by_torch(32), dtype, MANY, conventions=c) for c in ((), ("accumulated",)))
    pd.testing.assert_frame_equal(plain, asked)


@NARROW
def test_sums_in_the_dtype_are_held_by_arrays_as_by_balls(dtype: str) -> None:
    target, drawn = FORMATS[dtype], np.random.default_rng(4)
    a, b = target.round(drawn.normal(size=(2, 9))), target.round(drawn.normal(size=(9, 3)))
    arrays, balls = RoundedArrays(target, STRICT), BallArrays(target, STRICT)
    by_arrays = arrays.product_in_the_dtype(arrays.given(a), arrays.given(b))
    by_balls = balls.product_in_the_dtype(balls.given(a), balls.given(b))
    for index in np.ndindex(2, 3):
        radius = float(by_balls.values[index].radius)
        assert radius == pytest.approx(9 * 2.0**-target.precision * (np.abs(a) @ np.abs(b))[index], rel=1e-3)
        assert radius <= by_arrays.radii()[index] <= radius * 1.001


@pytest.mark.parametrize(
    ("conventions", "message"),
    [
        (("acumulated",), "acumulated"),
        ("accumulated", "conventions is 'accumulated'; expected some of accumulated, as a tuple"),
    ],
)
def test_a_convention_that_is_not_known_is_refused(conventions: Any, message: str) -> None:
    adapter = SimpleNamespace(
        name="written", routes=(Route("out", conventions=conventions),), answer=lambda point, route: Answer(0.0)
    )
    with pytest.raises(gc.BadInput, match=message):
        gc.check(adapter, case(), dtype="float16")


def test_what_a_route_may_ask_for_is_what_the_check_knows() -> None:
    assert tuple(ASKED) == CONVENTIONS


def test_an_error_of_a_single_weight_is_no_l2_term() -> None:
    class One:
        name = "one"
        routes = (Route("only", dtypes=("float64",)),)

        def answer(self, point: Point, route: str) -> Answer:
            w, x, t = (float(point.values[n][0, 0]) for n in ("W1", "X", "T"))
            a = math.tanh(w * x)
            return Answer(0.5 * (a - t) ** 2, {"W1": np.array([[1.5 * (a - t) * (1 - a * a) * x]])})

    one = gc.network_case(
        "mine/one",
        layers=[(np.array([[0.5]]), None, "tanh")],
        inputs=np.array([[0.3]]),
        targets=np.array([[0.1]]),
        rate=0.5,
    )
    rows = gc.check(One(), one)
    assert set(rows[rows.verdict == "deviates"].quantity) == {"dE/dW1"}
    assert set(rows.cause) == {None}
