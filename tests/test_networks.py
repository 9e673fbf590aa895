"""Layered networks judged: correct frameworks pass, planted faults are caught by equation and index."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests_support import Cli

import gradconform as gc
from gradconform.adapters.contract import Answer, Point, Route, Trace
from gradconform.conformance.cases.catalogue import select
from gradconform.conformance.cases.networks import architectures, batch_networks, random_network
from gradconform.conformance.command_line.derivations import derivations
from gradconform.conformance.command_line.explain import explain
from gradconform.reference.arithmetic.ball_arrays import BallArrays
from gradconform.reference.arithmetic.formats import FLOAT64, FORMATS
from gradconform.reference.arithmetic.profiles import STRICT
from gradconform.reference.cases import Case, available_memory, point
from gradconform.reference.derivations.activations import ACTIVATIONS
from gradconform.reference.derivations.choosers import Chooser
from gradconform.reference.derivations.losses import LOSSES, REDUCTIONS
from gradconform.reference.derivations.network import Architecture
from gradconform.reference.equations import Evaluation

torch_adapter = pytest.importorskip("gradconform.adapters.on_torch").adapter

Change = Callable[[dict[str, Any]], None]


def network(
    sizes: tuple[int, ...] = (24, 24, 24, 24), batch: int = 5, activation: str = "sigmoid", biased: bool = True
) -> Case:
    layers = len(sizes) - 1
    architecture = Architecture(sizes, (activation,) * layers, (biased,) * layers, "half_squared_error", "sum", batch)
    return random_network("test/network", architecture, 0)


class Planted:
    """PyTorch's eager answer, and a fault in its trace; the gradient and the update follow from the changed trace."""

    name = "planted"
    routes: Sequence[Route] = (Route("eager"),)

    def __init__(self, change: Change) -> None:
        self.change = change

    def answer(self, point: Point, route: str) -> Answer:
        answer = torch_adapter.answer(point, "eager")
        trace = answer.trace
        assert trace is not None
        values = {n: np.array(v) if np.ndim(v) else v for n, v in trace.values.items()}
        values |= {f"dE/d{n}": np.array(v) for n, v in trace.adjoints.items()}
        values |= {f"dE/d{n}": np.array(v) for n, v in trace.gradient.items()}
        values |= {f"{n}_new": np.array(v) for n, v in trace.updated.items()}
        self.change(values)
        gradient = {n: values[f"dE/d{n}"] for n in point.parameters}
        updated = {n: values[f"{n}_new"] for n in point.parameters}
        forward = {n: values[n] for n in trace.values}
        adjoints = {n: values[f"dE/d{n}"] for n in trace.adjoints}
        return replace(answer, gradient=gradient, updated=updated,
                       trace=Trace(forward, adjoints, gradient, updated))  # fmt: skip


def deviating(change: Change, case: Case, dtype: str) -> list[tuple[str, str | None]]:
    """Quantity and index of every step measurement that deviates."""
    rows = gc.check(Planted(change), case, dtype=dtype)
    wrong = rows[(rows.verdict == "deviates") & (rows.level == "step")]
    return list(zip(wrong.quantity, wrong.worst_index, strict=True))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_nothing_planted_nothing_found(dtype: str) -> None:
    assert deviating(lambda values: None, network(), dtype) == []


def test_a_relative_fault_of_1e_6_in_one_activations_derivative_names_its_layer() -> None:
    def change(values: dict[str, Any]) -> None:
        dz = values["dE/dz2"]
        values["dE/dz2"] = (dz.astype(np.float64) * (1 + 1e-6)).astype(dz.dtype)

    # What is computed from the faulty adjoint no longer follows from it either, since the fault is in the trace alone.
    found = [quantity for quantity, _ in deviating(change, network(), "float32")]
    assert "dE/dz2" in found
    assert not {"z1", "z2", "z3", "a1", "a2", "a3", "dE/dz3", "dE/dW3"} & set(found)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_a_few_ulps_in_one_component_of_a_bias_free_gradient_names_the_index(dtype: str) -> None:
    def change(values: dict[str, Any]) -> None:
        dw = values["dE/dW2"]
        x = np.abs(dw[17, 3])
        dw[17, 3] += 16 * np.spacing(x)

    found = deviating(change, network(batch=1, biased=False), dtype)
    assert ("dE/dW2", "17,3") in found
    assert {q for q, _ in found} <= {"dE/dW2", "W2_new"}


def swapped(values: dict[str, Any]) -> None:
    values["dE/dW2"] = np.ascontiguousarray(values["dE/dW2"].T)


def doubled_step(values: dict[str, Any]) -> None:
    values["W1_new"] = values["W1_new"] * 2


def nan(values: dict[str, Any]) -> None:
    values["dE/dW3"][5, 7] = np.nan


def last_row_of_the_batch(values: dict[str, Any]) -> None:
    values["dE/dz1"][-1] *= 1.001


def a_bias_too_little(values: dict[str, Any]) -> None:
    values["dE/db2"] = values["dE/db2"] * 0.999


@pytest.mark.parametrize(
    ("change", "quantity"),
    [
        (swapped, "dE/dW2"), (doubled_step, "W1_new"), (nan, "dE/dW3"), (last_row_of_the_batch, "dE/dz1"),
        (a_bias_too_little, "dE/db2"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_planted_faults_are_caught(change: Change, quantity: str, dtype: str) -> None:
    assert quantity in [q for q, _ in deviating(change, network(), dtype)]


def test_a_nan_is_the_worst_component() -> None:
    assert ("dE/dW3", "5,7") in deviating(nan, network(), "float32")


@pytest.mark.parametrize("number", range(0, 60, 6))
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_random_networks_raise_no_alarm(number: int, dtype: str) -> None:
    case = random_network("test/random", architectures()[number], 1)
    rows = gc.check("torch/eager", case, dtype=dtype)
    known = rows.reason.str.startswith("known:", na=False)
    assert not set(rows[~known].verdict) - {"conforms", "lost", "vacuous", "ill-conditioned", "out of range"}


def test_the_architectures_use_everything() -> None:
    found = architectures()
    assert len(found) == 60
    assert {a for x in found for a in x.activations} == set(ACTIVATIONS)
    assert {(x.loss, x.reduction) for x in found} == {(a, b) for a in LOSSES for b in REDUCTIONS}
    assert {x.batch for x in found} >= {1, 3}
    assert any(n % 2 for x in found for n in x.sizes)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_kink_takes_either_slope_and_those_between(dtype: str) -> None:
    case = gc.network_case(
        "test/kink", layers=[([[1.0], [1.0]], None, "relu")], inputs=[[0.0]], targets=[[1.0, 2.0]], rate=0.5
    )

    def slope(factor: float) -> Change:
        def change(values: dict[str, Any]) -> None:
            values["dE/dz1"] = (values["dE/da1"] * factor).astype(values["dE/da1"].dtype)

        return change

    for factor in (0.0, 0.5, 1.0):
        assert "dE/dz1" not in [q for q, _ in deviating(slope(factor), case, dtype)]
    assert ("dE/dz1", "0,1") in deviating(slope(1.5), case, dtype) or ("dE/dz1", "0,0") in deviating(
        slope(1.5), case, dtype
    )
    assert "dE/dz1" in [q for q, _ in deviating(slope(-0.25), case, dtype)]


def test_the_whole_level_agrees_with_the_documents_own_derivation() -> None:
    """The network (2, 2, 2) and the document's: the same truth to 25 digits, component by component."""
    W1, W2 = [[0.15, 0.20], [0.25, 0.30]], [[0.40, 0.45], [0.50, 0.55]]
    layered = gc.network_case(
        "test/document", layers=[(W1, None, "sigmoid"), (W2, None, "sigmoid")], inputs=[[0.05, 0.10]],
        targets=[[0.01, 0.99]], rate=0.5,
    )  # fmt: skip
    document = gc.check("torch/eager", "document/worked-example")
    truth = document[document.level == "whole"].set_index("quantity").truth
    rows = gc.check("torch/eager", layered)
    names = {"W1": ("w1", "w2", "w3", "w4"), "W2": ("w5", "w6", "w7", "w8")}
    for m in rows[rows.level == "whole"].itertuples():
        if m.quantity == "E":
            assert m.truth[:22] == truth["E_total"][:22]
            continue
        weight = "W1" if "W1" in m.quantity else "W2"
        i, j = map(int, m.worst_index.split(","))
        name = names[weight][2 * i + j]
        assert m.truth[:22] == truth[f"dE_total/d{name}" if m.quantity.startswith("dE") else f"{name}_new"][:22]


def test_training_reports_the_drift_and_judges_every_step() -> None:
    rows = gc.train("torch/module", "network/published/mazur-2-2-2", steps=20, dtype="float32")
    assert set(rows.verdict) == {"conforms"}
    drift = rows[(rows.quantity == "W1_new") & (rows.level == "whole")].drift
    assert len(drift) == 20
    assert 0 < drift.iloc[-1] < 1e-5


def test_forward_mode_is_unsupported_with_the_reason() -> None:
    rows = gc.check("torch/forward", network())
    assert list(rows.verdict) == ["unsupported"]
    assert rows.reason.iloc[0].startswith("derivation:")


def test_an_adapter_without_an_operation_is_unsupported() -> None:
    class Bare:
        name = "bare"
        routes = (Route("one"),)

        def answer(self, point: Point, route: str) -> Answer:
            point.forward(object(), point.values)
            raise AssertionError

    rows = gc.check(Bare(), network())
    assert rows.verdict.iloc[0] == "unsupported"
    assert rows.reason.iloc[0] == "operation: the adapter has no linear"


def test_cases_of_ones_own_from_the_command_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import numpy as np\nimport gradconform as gc\n"
        "good = gc.network_case('mine/one', layers=[(np.ones((2, 3)), None, 'tanh')], inputs=np.ones((1, 3)),\n"
        "                       targets=np.zeros((1, 2)), rate=0.1)\n"
        "def bad():\n"
        "    return gc.network_case('mine/two', layers=[(np.ones((2, 5)), None, 'tanh')], inputs=np.ones((1, 3)),\n"
        "                           targets=np.zeros((1, 2)), rate=0.1)\n",
        encoding="utf-8",
    )
    run = ("run", "-a", "torch/eager", "-d", "float64", "-o", str(tmp_path / "run.jsonl"), "-c")
    good = cli(*run, "mine:good")
    assert good.returncode == 0, (good.stdout, good.stderr)
    bad = cli(*run[:-2], str(tmp_path / "other.jsonl"), "-c", "mine:bad")
    assert bad.returncode == 2
    assert "W1 has shape (2, 5) (out, in), but the inputs have 3 components" in " ".join(bad.stderr.split())
    assert not (tmp_path / "other.jsonl").exists()


@pytest.mark.parametrize("case", ["network/primitives/tanh", "network/primitives/mish"])
@pytest.mark.parametrize("route", ["jax/jit", "jax/eager", "torch/eager"])
def test_what_conforms_has_taken_at_most_its_allowance(case: str, route: str) -> None:
    rows = gc.check(route, case, dtype="float64")
    accepted = rows[rows.verdict == "conforms"]
    assert len(accepted)
    assert (accepted.share <= 1).all()


def overflowing(scale: float) -> Case:
    """Σ(t − a)² = 8·(100·scale)², which half of is still a float16 up to a scale of 1.27."""
    layers = [([[1.0]], None, "identity")]
    return gc.network_case("mine/sum", layers=layers, inputs=[[100.0 * scale]] * 8, targets=[[0.0]] * 8, rate=0.5)


@pytest.mark.parametrize("route", ["torch/eager", "torch/module"])
def test_half_a_sum_of_squares_may_overflow_before_it_is_halved(route: str) -> None:
    rows = gc.check(route, overflowing(1.1), dtype="float16")
    assert set(rows[rows.quantity == "E"].verdict) == {"out of range"}
    assert not (rows.verdict == "deviates").any()


class Infinite(Planted):
    """PyTorch's eager answer with an infinite loss."""

    def answer(self, point: Point, route: str) -> Answer:
        return replace(torch_adapter.answer(point, "eager"), loss=math.inf)


def test_a_sum_of_squares_that_does_not_overflow_is_no_infinity() -> None:
    rows = gc.check(Infinite(lambda _: None), overflowing(0.5), dtype="float16")
    assert set(rows[(rows.quantity == "E") & (rows.level == "whole")].verdict) == {"deviates"}


def test_a_program_that_mixes_the_forms_of_several_is_not_accused() -> None:
    """PyTorch takes softplus's threshold branch, and of gelu's derivative the form that is neither extreme."""
    case = gc.network_case(
        "mine/mixture",
        layers=[
            ([[-1.0], [6.0], [-2.0], [-3.0]], None, "gelu"),
            ([[0.66, -0.03, 1.06, 3.16]], None, "mish"),
            ([[1.3]], None, "softplus"),
        ],
        inputs=[[-1.3]],
        targets=[[0.0]],
        rate=0.5,
    )
    rows = gc.check("torch/eager", case, dtype="float64")
    assert set(rows.verdict) == {"conforms"}
    wrong = gc.check(Scaled(1 + 1e-6), case, dtype="float64")
    assert set(wrong[(wrong.level == "whole") & wrong.quantity.str.startswith("dE")].verdict) == {"deviates"}


class Scaled(Planted):
    """PyTorch's eager answer with its gradient times a factor."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def answer(self, point: Point, route: str) -> Answer:
        answer = torch_adapter.answer(point, "eager")
        return replace(answer, gradient={n: g * self.factor for n, g in answer.gradient.items()}, trace=None)


def test_every_networks_derivation_is_put_in_words() -> None:
    """For `explain` and the page: of the catalogue's networks, which between them use everything."""
    cases = [
        c for c in select(("network/*",)) if not c.id.startswith(("network/iris", "network/wine", "network/digits"))
    ]
    assert {"softmax"} <= {a for c in cases if isinstance(c.derivation, Architecture) for a in c.derivation.activations}
    for case in cases:
        explanation = explain(case, "float32")
        assert [line.symbol for line in explanation.lines]
        assert all(line.formula for line in explanation.lines)
    columns = {"case": [c.id for c in cases], "dtype": "float32", "level": "whole", "quantity": "E", "truth": None}
    shown = derivations(cases, pd.DataFrame(columns))
    assert set(shown["cases"]) == {c.id for c in cases}
    for of in shown["derivations"].values():
        assert all(equation["formula"] for equation in of["equations"])


def test_every_loss_and_reduction_has_a_small_batch_of_the_documents_activation() -> None:
    found = [c.derivation for c in batch_networks() if isinstance(c.derivation, Architecture)]
    alone = [(x.loss, x.reduction) for x in found if set(x.activations) == {"sigmoid"}]
    assert sorted(alone) == sorted((loss, reduction) for loss in LOSSES for reduction in REDUCTIONS)
    by_tanh = [(x.loss, x.reduction) for x in found if set(x.activations) == {"tanh"}]
    assert sorted(by_tanh) == [(a, b) for a in ("half_squared_error", "squared_error") for b in ("mean", "sum")]
    assert {x.batch for x in found} == {5}


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_every_quantity_of_a_small_batch_is_certified(dtype: str) -> None:
    for case in batch_networks():
        rows = gc.check("torch/eager", case, dtype=dtype)
        assert set(rows.verdict) == {"conforms"}, case.id
        assert not (rows.certified_bits < 2).any(), case.id  # without bits: exact


class OfABatch(Planted):
    """A framework that has little: no trace, and a fault of its gradients over the batch."""

    FAULTS = ("none", "divided by the batch twice", "a sum for a mean", "the last row left out")

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def answer(self, point: Point, route: str) -> Answer:
        answer = torch_adapter.answer(point, "eager")
        assert answer.gradient is not None
        of = point.architecture
        assert of is not None
        factor = {"divided by the batch twice": 1 / of.batch, "a sum for a mean": float(of.count)}.get(self.fault, 1.0)
        gradient = {n: np.asarray(g, np.float64) * factor for n, g in answer.gradient.items()}
        if self.fault == "the last row left out":
            gradient = self.of_others(point)
        rate = point.rate
        updated = {n: np.asarray(point.values[n], np.float64) - rate * g for n, g in gradient.items()}
        rounded = FORMATS[point.dtype].round
        return Answer(answer.loss, {n: rounded(g) for n, g in gradient.items()},
                      {n: rounded(w) for n, w in updated.items()})  # fmt: skip

    def of_others(self, whole: Point) -> dict[str, Any]:
        """The gradient of all rows but the last, by what the mean of all is divided by."""
        of = whole.architecture
        assert of is not None
        values = {n: np.asarray(v, np.float64) for n, v in whole.values.items()}
        layers = [(values[f"W{n}"], values[f"b{n}"], of.activations[n - 1]) for n in (1, 2)]
        case = gc.network_case("test/others", layers=layers, loss=of.loss, inputs=values["X"][:-1],
                               targets=values["T"][:-1], rate=whole.rate)  # fmt: skip
        answer = torch_adapter.answer(point(case, whole.dtype), "eager")
        assert answer.gradient is not None
        return {n: np.asarray(g, np.float64) / of.count for n, g in answer.gradient.items()}


@pytest.mark.parametrize(
    ("dtype", "cases", "fault"),
    [
        *(("float32", "*-mean", fault) for fault in OfABatch.FAULTS),
        *(("bfloat16", "*squared-error-mean", fault) for fault in OfABatch.FAULTS[:3]),
    ],
)
def test_faults_over_a_batch_are_caught_by_every_small_mean(dtype: str, cases: str, fault: str) -> None:
    """By the whole level alone: no trace. With 8 bits an unstable program may be as far off: `lost`, and no pass.

    One row of five is a fifth of a gradient, and of that 2 certified bits say nothing.
    """
    for case in select((f"network/mini-batch/{cases}",)):
        rows = gc.check(OfABatch(fault), case, dtype=dtype)
        found = set(rows[(rows.level == "whole") & (rows.quantity != "E")].verdict)
        assert found == {"conforms"} if fault == "none" else "deviates" in found <= {"deviates", "lost"}, case.id


@pytest.mark.parametrize("choose", [None, lambda values, forms: values[-1]])
def test_a_network_deeper_than_calls_may_nest_is_evaluated(choose: Chooser | None) -> None:
    deep = gc.network_case(
        "mine/deep", layers=[([[1.0]], None, "leaky_relu")] * 500, inputs=[[0.5]], targets=[[0.25]], rate=1.0
    )
    ops = BallArrays(FLOAT64, STRICT)
    found = Evaluation(deep.equations, ops, {n: ops.given(v) for n, v in deep.values}, choose)
    assert float(found["dE/dW1"].values[0, 0].exact) == 0.125


def test_where_the_system_does_not_say_what_memory_it_has_none_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_file(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", no_file)
    monkeypatch.delattr("os.sysconf")
    monkeypatch.setattr("sys.platform", "win32")
    assert available_memory() == sys.maxsize
