"""What a case may ask for: an L2 term, weight decay, what a mean is over. Proved, kept by the adapters, and judged."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy

import gradconform as gc
from gradconform.adapters.contract import Answer, Point, Route
from gradconform.conformance.cases.networks import architectures
from gradconform.conformance.command_line.explain import explain
from gradconform.reference.arithmetic.arrays import RoundedArrays
from gradconform.reference.arithmetic.formats import FLOAT64
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.arithmetic.symbols import SymbolArrays, equal
from gradconform.reference.cases import point
from gradconform.reference.derivations.losses import LOSSES
from gradconform.reference.derivations.network import Architecture, network
from gradconform.reference.equations import Evaluation

DTYPES = ("float64", "float32", "float16", "bfloat16")
OPTIONS: dict[str, dict[str, Any]] = {
    "l2": {"l2": 0.03},
    "weight decay": {"weight_decay": 0.2},
    "decoupled weight decay": {"decoupled_weight_decay": 0.2},
    "mean over rows": {"reduction": "mean", "mean_over": "rows"},
    "everything": {"reduction": "mean", "mean_over": "rows", "l2": 0.03, "weight_decay": 0.2, "loss": "huber"},
}


def case(**options: Any) -> gc.Case:
    """Two layers with biases; the same numbers whatever is asked for."""
    drawn = np.random.default_rng(3)

    def numbers(*shape: int) -> Any:
        return np.round(drawn.normal(size=shape), 3)

    layers = [(numbers(5, 4), numbers(5), "tanh"), (numbers(3, 5), numbers(3), "identity")]
    values = {"layers": layers, "inputs": numbers(6, 4), "targets": numbers(6, 3), "rate": 0.3}
    return gc.network_case("mine/asked", **{**values, **options})


def classes(**options: Any) -> gc.Case:
    return case(loss="softmax_cross_entropy", reduction="mean", targets=[0, 1, 2, 2, 1, 0], **options)


# The equations --------------------------------------------------------------------------------------------------------


class Symbols(SymbolArrays):
    """What biases and means ask for beside."""

    def column_sum(self, x: Any) -> Any:
        return x.sum(axis=0)

    def real(self, constant: Any) -> Any:
        numerator, denominator = constant.text.split("/")
        return sympy.Rational(int(numerator), int(denominator))


def symbolic(architecture: Architecture) -> tuple[Evaluation, dict[str, Any]]:
    def symbols(name: str, shape: tuple[int, ...]) -> Any:
        if not shape:
            return sympy.Symbol(name, real=True)
        found = np.empty(shape, dtype=object)
        for index in np.ndindex(shape):
            found[index] = sympy.Symbol(name + "_".join(map(str, index)), real=True)
        return found

    given = {n: symbols(n, shape) for n, shape in architecture.shapes.items()}
    return Evaluation(network(architecture), Symbols(), given), given


PLAIN = Architecture((2, 1, 2), ("sigmoid", "identity"), (True, False), "half_squared_error", "sum", 2)


@pytest.mark.parametrize(
    "architecture",
    [
        replace(PLAIN, l2=True),
        replace(PLAIN, reduction="mean", mean_over="rows"),
        replace(PLAIN, reduction="mean", mean_over="rows", l2=True, decay="coupled"),
    ],
    ids=str,
)
def test_every_gradient_is_the_derivative_of_the_loss_that_was_asked_for(architecture: Architecture) -> None:
    evaluation, given = symbolic(architecture)
    loss = sympy.nsimplify(evaluation["E"], rational=True)
    for parameter, gradient in evaluation.derivation.gradient.items():
        for index in np.ndindex(given[parameter].shape):
            found = sympy.nsimplify(evaluation[gradient][index], rational=True)
            assert equal(found, sympy.diff(loss, given[parameter][index])), (gradient, index)


def test_a_gradient_without_the_term_is_not_the_derivative() -> None:
    evaluation, given = symbolic(replace(PLAIN, l2=True))
    loss = sympy.nsimplify(evaluation["E"], rational=True)
    without = symbolic(PLAIN)[0]["dE/dW2"][1, 0]
    assert not equal(sympy.nsimplify(without, rational=True), sympy.diff(loss, given["W2"][1, 0]))


@pytest.mark.parametrize("name", ["penalty", "dE/dW1", "W1_new", "W2_new"])
@pytest.mark.parametrize("decay", ["coupled", "decoupled"])
def test_every_accepted_form_is_equal_to_the_first(name: str, decay: Any) -> None:
    evaluation, _ = symbolic(replace(PLAIN, l2=True, decay=decay))
    first, *others = [np.array(v, dtype=object).ravel() for v in evaluation.forms(name)]
    for other in others:
        for a, b in zip(first, other, strict=True):
            assert equal(sympy.nsimplify(a, rational=True), sympy.nsimplify(b, rational=True))


def test_weight_decay_is_of_weights_and_coupled_or_not_the_same_number() -> None:
    coupled, given = symbolic(replace(PLAIN, decay="coupled"))
    decoupled, _ = symbolic(replace(PLAIN, decay="decoupled"))
    plain, _ = symbolic(PLAIN)
    for index in np.ndindex(given["W1"].shape):
        shrunk = given["eta"] * given["weight_decay"] * given["W1"][index]
        expected = sympy.nsimplify(plain["W1_new"][index] - shrunk, rational=True)
        assert equal(sympy.nsimplify(coupled["W1_new"][index], rational=True), expected)
        assert equal(sympy.nsimplify(decoupled["W1_new"][index], rational=True), expected)
    assert list(coupled["b1_new"]) == list(plain["b1_new"])


def truths(of: gc.Case, **moved: Any) -> dict[str, Any]:
    """Every quantity in double words, rounded to float64."""
    at, ops = point(of, "float64"), RoundedArrays(FLOAT64, OPENCL, exact=True)
    given = {n: ops.given(v) for n, v in {**at.values, "eta": at.rate, **moved}.items()}
    evaluation = Evaluation(of.equations, ops, given)
    return {e.name: np.asarray(evaluation[e.name].high) for e in of.equations.equations}


@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradients_are_the_slopes_of_the_loss_by_its_values(loss: str) -> None:
    """For every loss, with a mean over what is not usual for it and a penalty: a central difference, to nine digits."""
    over = "elements" if LOSSES[loss].rowwise else "rows"
    targets = np.round(np.random.default_rng(1).dirichlet([1.0] * 3, 6), 3)
    targets[:, 2] = 1 - targets[:, 0] - targets[:, 1]
    of = case(loss=loss, targets=targets, reduction="mean", mean_over=over, l2=0.03)
    weights, h = dict(of.values)["W2"], 2.0**-17
    for index in ((0, 0), (1, 3), (2, 4)):
        step = np.zeros_like(weights)
        step[index] = h
        above, below = (truths(of, W2=weights + s * step)["E"] for s in (1, -1))
        assert truths(of)["dE/dW2"][index] == pytest.approx((above - below) / (2 * h), rel=1e-8, abs=1e-9)


@pytest.mark.parametrize(
    ("usual", "asked", "factor"),
    [
        (case(reduction="mean"), case(reduction="mean", mean_over="rows"), 3),
        (classes(), classes(mean_over="elements"), 1 / 3),
    ],
)
def test_the_other_mean_is_the_usual_one_times_the_outputs(usual: gc.Case, asked: gc.Case, factor: float) -> None:
    a, b = truths(usual), truths(asked)
    for name in ("E", "dE/da2", "dE/dW1", "dE/db2"):
        np.testing.assert_allclose(b[name], factor * a[name], rtol=1e-14)


@pytest.mark.parametrize(
    "asked", [replace(PLAIN, l2=True, decay=d, mean_over="rows") for d in ("coupled", "decoupled")]
)
def test_a_component_and_a_block_are_computed_from_what_they_depend_on(asked: Architecture) -> None:
    evaluation, _ = symbolic(asked)
    for name in ("penalty", "E", "dE/dW1", "dE/dW2", "W1_new", "b1_new"):
        equation = evaluation.derivation.by_name[name]
        operands = [evaluation[o] for o in equation.operands]
        whole = np.array(evaluation[name], dtype=object)
        for index in np.ndindex(equation.shape):
            assert equation.part is not None
            parts, local = equation.part(index, operands)
            assert np.array(equation.forms[0].formula(Symbols(), *parts), dtype=object)[local] == whole[index]
        if equation.rows is not None:
            block = slice(1, 2)
            found = equation.forms[0].formula(Symbols(), *equation.rows(block, operands))
            assert (found == whole[block]).all()


# What is asked for ----------------------------------------------------------------------------------------------------


def test_without_options_nothing_is_different() -> None:
    names = [e.name for e in case().equations.equations]
    assert not {"E_data", "penalty"} & set(names)
    assert case().equations.given == ("X", "T", "W1", "b1", "W2", "b2", "eta")
    assert case(l2=0, weight_decay=0.0, decoupled_weight_decay=0) == case()
    assert "l2" not in str(architectures()[0]), "by their text networks are drawn"


def test_a_mean_over_what_is_usual_is_the_same_case() -> None:
    assert case(reduction="mean", mean_over="elements") == case(reduction="mean")
    assert classes(mean_over="rows") == classes()


def test_the_numbers_of_a_case_are_rounded_to_the_dtype() -> None:
    at = point(case(l2=0.1, weight_decay=0.2), "bfloat16")
    assert (at.values["l2"], at.values["weight_decay"]) == (0.10009765625, 0.2001953125)
    assert at.operations == ("linear", "tanh", "half_squared_error", "l2_penalty")


def test_the_derivation_says_what_was_asked_for() -> None:
    made = case(**OPTIONS["everything"])
    assert str(made.derivation).endswith("mean over rows of huber, batch 6, l2, coupled weight decay")
    formulas = {line.symbol: line.formula for line in explain(made, "float32").lines}
    assert formulas["penalty"] == "½·l2·(Σ(W1²) + Σ(W2²))"
    assert formulas["E"] == "E_data + penalty"
    assert formulas["∂E/∂W1"] == "∂E/∂z1ᵀ·X + l2·W1"
    assert formulas["W1_new"] == "W1 − η·(∂E/∂W1 + weight_decay·W1)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"l2": -0.1}, r"case 'mine/asked': l2 is -0.1; expected a finite number, 0 or more"),
        ({"l2": float("inf")}, "l2 is inf; expected a finite number"),
        ({"weight_decay": "0.1"}, r"weight_decay must be a number, got '0.1' \(str\)"),
        ({"decoupled_weight_decay": True}, r"decoupled_weight_decay must be a number, got True"),
        ({"weight_decay": 0.1, "decoupled_weight_decay": 0.2}, "expected one of them"),
        ({"mean_over": "rows"}, "mean_over is 'rows' and reduction 'sum'; expected reduction 'mean'"),
        ({"mean_over": "row", "reduction": "mean"}, "unknown mean_over 'row'; did you mean 'rows'?"),
        ({"mean_over": 3, "reduction": "mean"}, r"mean_over is 3 \(int\); expected a name, one of elements, rows"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(gc.BadInput, match=message):
        case(**options)


# The adapters ---------------------------------------------------------------------------------------------------------


def wrong(rows: Any) -> Any:
    return rows[~rows.verdict.isin(["conforms", "vacuous", "lost", "ill-conditioned"])]


ROUTES = ("torch/eager", "torch/func", "torch/module", "jax/eager", "jax/jit", "jax/optax")
ASKED = ("decoupled weight decay", "everything")


@pytest.mark.parametrize("options", ASKED)
@pytest.mark.parametrize("route", ROUTES)
def test_the_built_in_adapters_do_what_a_case_asks_for(route: str, options: str) -> None:
    """In one dtype each, in turn: what an adapter is asked for does not depend on it. L2 is in everything."""
    pytest.importorskip(route.partition("/")[0])
    dtype = DTYPES[(ROUTES.index(route) + ASKED.index(options)) % 4]
    rows = gc.check(route, case(**OPTIONS[options]), dtype=dtype)
    found = wrong(rows)
    assert not len(found), found[["dtype", "level", "quantity", "share", "verdict", "reason"]].to_string()
    assert (rows.verdict == "conforms").sum() > len(rows) / 2


@pytest.mark.parametrize(("route", "dtype"), [("torch/eager", "float16"), ("torch/module", "float64"),
                                              ("jax/jit", "bfloat16")])  # fmt: skip
def test_cross_entropy_over_elements_is_done_too(route: str, dtype: str) -> None:
    pytest.importorskip(route.partition("/")[0])
    assert not len(wrong(gc.check(route, classes(mean_over="elements"), dtype=dtype)))


@pytest.mark.parametrize("options", ["l2", "weight decay", "decoupled weight decay"])
def test_training_goes_on_with_what_was_asked_for(options: str) -> None:
    """Two updates: a trajectory without the option would be 0.01 away."""
    pytest.importorskip("torch")
    rows = gc.train("torch/module", case(**OPTIONS[options]), steps=2)
    assert not len(wrong(rows))
    assert rows[rows.quantity == "W1_new"].drift.max() < 1e-13


def test_the_page_about_conventions_runs() -> None:
    pytest.importorskip("torch")
    text = (Path(__file__).parents[1] / "docs" / "site" / "conventions.md").read_text(encoding="utf-8")
    program = "\n".join(re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL))
    assert program.count("gc.check(") == 2
    exec(program, {})


def test_a_route_that_cannot_is_unsupported_with_the_reason() -> None:
    class Bare:
        name = "bare"
        routes = (Route("one"),)

        def answer(self, point: Point, route: str) -> Answer:
            class Operations:
                linear = tanh = half_squared_error = None

            point.forward(Operations(), point.values)
            raise AssertionError

    (row,) = gc.check(Bare(), case(l2=0.1)).to_dict("records")
    assert (row["verdict"], row["reason"]) == ("unsupported", "operation: the adapter has no l2_penalty")
    (row,) = gc.check("numpy/central", case(l2=0.1)).to_dict("records")
    assert row["verdict"] == "unsupported"
    assert row["reason"].startswith("derivation: ")


# Wrong ones -----------------------------------------------------------------------------------------------------------

Fault = Callable[[Point, dict[str, Any]], None]


class Planted:
    """PyTorch's answer to the case without its options, brought to what the case asks for by hand, with a fault."""

    name = "planted"
    routes: Sequence[Route] = (Route("eager"),)

    def __init__(self, fault: Fault) -> None:
        self.fault = fault

    def answer(self, point: Point, route: str) -> Answer:
        answer = torch_adapter().answer(point, "eager")
        trace = answer.trace
        assert trace is not None
        values = {**trace.values, **{f"dE/d{n}": v for n, v in trace.adjoints.items()}}
        values |= {f"dE/d{n}": v for n, v in trace.gradient.items()} | {f"{n}_new": v for n, v in trace.updated.items()}
        self.fault(point, values)
        gradient = {n: values[f"dE/d{n}"] for n in point.parameters}
        updated = {n: values[f"{n}_new"] for n in point.parameters}
        forward = {n: values[n] for n in trace.values}
        return Answer(
            forward["E"], gradient, updated, replace(trace, values=forward, gradient=gradient, updated=updated)
        )


def torch_adapter() -> Any:
    return pytest.importorskip("gradconform.adapters.on_torch").adapter


def narrowed(like: Any, x: Any) -> Any:
    return np.asarray(x, dtype=like.dtype)


def lambda_doubled(point: Point, values: dict[str, Any]) -> None:
    """λ·W twice in the gradient, and the update follows."""
    for n in ("W1", "W2"):
        g = values[f"dE/d{n}"]
        values[f"dE/d{n}"] = g = narrowed(g, g + point.values["l2"] * point.values[n])
        values[f"{n}_new"] = narrowed(g, point.values[n] - point.rate * g)


def half_missing(point: Point, values: dict[str, Any]) -> None:
    """λΣW² where ½λΣW² was asked for."""
    values["penalty"] = 2 * values["penalty"]
    values["E"] = float(np.dtype(point.dtype).type(values["E_data"] + values["penalty"]))


def of_biases_too(point: Point, values: dict[str, Any]) -> None:
    """A penalty of biases, in the gradient alone."""
    values["dE/db1"] = narrowed(values["dE/db1"], values["dE/db1"] + point.values["l2"] * point.values["b1"])


def decay_doubled(point: Point, values: dict[str, Any]) -> None:
    shrunk = point.rate * point.values["weight_decay"] * point.values["W1"]
    values["W1_new"] = narrowed(values["W1_new"], values["W1_new"] - shrunk)


def decay_of_biases(point: Point, values: dict[str, Any]) -> None:
    """torch.optim.SGD(model.parameters(), weight_decay=λ), without groups of parameters."""
    shrunk = point.rate * point.values["weight_decay"] * point.values["b1"]
    values["b1_new"] = narrowed(values["b1_new"], values["b1_new"] - shrunk)


def decay_without_rate(point: Point, values: dict[str, Any]) -> None:
    """w − λw − ηg: as if the learning rate were not a factor of the decay."""
    whole = (1 - point.rate) * point.values["weight_decay"] * point.values["W1"]
    values["W1_new"] = narrowed(values["W1_new"], values["W1_new"] - whole)


def decay_in_the_gradient(point: Point, values: dict[str, Any]) -> None:
    """∂E/∂W + λW reported as the gradient, as a loss with the term would have it; the update is right."""
    for n in ("W1", "W2"):
        g = values[f"dE/d{n}"] + point.values["weight_decay"] * point.values[n]
        values[f"dE/d{n}"] = narrowed(values[f"dE/d{n}"], g)


def decay_forgotten(point: Point, values: dict[str, Any]) -> None:
    g = values["dE/dW1"]
    values["W1_new"] = narrowed(g, point.values["W1"] - point.rate * g)


@pytest.mark.parametrize(
    ("options", "fault", "whole", "step"),
    [
        ("l2", lambda_doubled, {"dE/dW1", "dE/dW2", "W1_new", "W2_new"}, {"dE/dW1", "dE/dW2"}),
        ("l2", half_missing, {"E"}, {"penalty"}),
        ("l2", of_biases_too, {"dE/db1"}, {"dE/db1", "b1_new"}),
        *[
            (options, fault, whole, step)
            for options in ("weight decay", "decoupled weight decay")
            for fault, whole, step in (
                (decay_doubled, {"W1_new"}, {"W1_new"}),
                (decay_of_biases, {"b1_new"}, {"b1_new"}),
                (decay_without_rate, {"W1_new"}, {"W1_new"}),
                (decay_in_the_gradient, {"dE/dW1", "dE/dW2"}, {"dE/dW1", "dE/dW2", "W1_new", "W2_new"}),
                (decay_forgotten, {"W1_new"}, {"W1_new"}),
            )
        ],
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_planted_fault_deviates_where_it_was_made(
    options: str, fault: Fault, whole: set[str], step: set[str], dtype: str
) -> None:
    rows = gc.check(Planted(fault), case(**OPTIONS[options]), dtype=dtype)
    deviating = rows[rows.verdict == "deviates"]
    assert set(deviating[deviating.level == "whole"].quantity) == whole
    assert set(deviating[deviating.level == "step"].quantity) == step


@pytest.mark.parametrize("options", ["l2", "weight decay"])
def test_without_a_fault_nothing_deviates(options: str) -> None:
    assert not (gc.check(Planted(lambda point, values: None), case(**OPTIONS[options])).verdict == "deviates").any()


class Unasked:
    """PyTorch doing what one case asks for, while another is judged."""

    name = "unasked"
    routes: Sequence[Route] = (Route("eager"),)

    def __init__(self, done: gc.Case) -> None:
        self.done = done

    def answer(self, point_: Point, route: str) -> Answer:
        answer = torch_adapter().answer(point(self.done, point_.dtype), "eager")
        return Answer(answer.loss, answer.gradient, answer.updated)


@pytest.mark.parametrize(
    ("done", "whole"),
    [
        (case(l2=0.03), {"E", "dE/dW1", "dE/dW2", "W1_new", "W2_new"}),
        (case(weight_decay=0.2), {"W1_new", "W2_new"}),
        (case(decoupled_weight_decay=0.2), {"W1_new", "W2_new"}),
    ],
    ids=["l2", "weight decay", "decoupled weight decay"],
)
def test_what_was_not_asked_for_deviates(done: gc.Case, whole: set[str]) -> None:
    rows = gc.check(Unasked(done), case())
    assert set(rows[(rows.verdict == "deviates") & (rows.level == "whole")].quantity) == whole


def test_a_mean_over_what_was_not_asked_for_deviates() -> None:
    rows = gc.check(Unasked(case(reduction="mean", mean_over="rows")), case(reduction="mean"))
    deviating = set(rows[(rows.verdict == "deviates") & (rows.level == "whole")].quantity)
    assert {"E", "dE/dW1", "dE/db1", "W1_new", "b1_new"} <= deviating


def test_decay_that_is_coupled_where_it_was_asked_for_decoupled_is_the_same_number_and_conforms() -> None:
    """Without momentum w(1 − ηλ) − ηg is w − η(g + λw): another order of rounding, and no other mathematics."""
    for dtype in DTYPES:
        rows = gc.check(Unasked(case(weight_decay=0.2)), case(decoupled_weight_decay=0.2), dtype=dtype)
        assert not len(wrong(rows))
