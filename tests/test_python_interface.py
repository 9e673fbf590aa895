"""gc.check, gc.train, gc.document_case, gc.cases, gc.adapters."""

from __future__ import annotations

import doctest
import math
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from tests_support import Scripted

import gradconform as gc
from gradconform.adapters.contract import Answer, Stencil
from gradconform.conformance.command_line.commands import main
from gradconform.reference.cases import Point
from gradconform.reference.measurement import COLUMNS

WEIGHTS = (0.15, 0.20, 0.25, 0.30, 0.40, 0.45, 0.50, 0.55)


def one(**changes: object) -> gc.Case:
    values: dict[str, object] = {"weights": WEIGHTS, "inputs": (0.05, 0.1), "targets": (0.01, 0.99), "rate": 0.5}
    return gc.document_case("mine/one", **{**values, **changes})  # type: ignore[arg-type]


def test_check_returns_the_columns_of_a_run_file() -> None:
    rows = gc.check("numpy/central", one())
    assert tuple(rows.columns) == COLUMNS
    assert set(rows.verdict) == {"conforms"}
    assert set(rows.case) == {"mine/one"}


def test_a_case_may_be_an_id_or_made_by_hand() -> None:
    by_id, by_hand = gc.check("numpy/central", "document/worked-example"), gc.check("numpy/central", one())
    assert list(by_id.value) == list(by_hand.value)


def test_check_accepts_an_adapter_object() -> None:
    assert set(gc.check(Scripted(), one()).verdict) == {"conforms"}


def test_an_answer_is_judged_by_its_own_values() -> None:
    def doubled(point: Point, answer: Answer) -> Answer:
        return replace(answer, gradient={**answer.gradient, "w3": 2 * answer.gradient["w3"]})

    rows = gc.check(Scripted(doubled), one())
    assert set(rows[rows.verdict == "deviates"].quantity) == {"dE_total/dw3", "w3_new"}
    assert float(rows[(rows.quantity == "dE_total/dw3")].share.iloc[0]) > 1e6


def test_an_update_is_judged_on_the_gradient_that_was_reported() -> None:
    """At the step level a wrong gradient is not blamed on the update that used it."""

    def spoiled(point: Point, answer: Answer) -> Answer:
        gradient = {n: 3 * g for n, g in answer.gradient.items()}
        updated = {n: point.values[n] - point.rate * g for n, g in gradient.items()}
        return Answer(answer.loss, gradient, updated)

    rows = gc.check(Scripted(spoiled), one())
    assert set(rows[(rows.level == "whole") & rows.quantity.str.startswith("dE")].verdict) == {"deviates"}
    assert set(rows[(rows.level == "step")].verdict) == {"conforms"}


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda p, a: Answer(), "output: the answer is empty"),
        (lambda p, a: replace(a, updated={**a.updated, "w9": 0.0}), "output: updated has 'w9'"),
        (lambda p, a: replace(a, loss="1"), "output: loss is a str, expected a real number"),
        (lambda p, a: None, "output: expected an Answer, got NoneType"),
        (lambda p, a: 1 / 0, "exception: ZeroDivisionError: division by zero"),
    ],
)
def test_a_malformed_answer_is_a_crash_with_its_reason(spoil: object, reason: str) -> None:
    (row,) = gc.check(Scripted(spoil), one()).to_dict("records")  # type: ignore[arg-type]
    assert (row["verdict"], row["quantity"]) == ("crashed", "*")
    assert row["reason"].startswith(reason)


@pytest.mark.parametrize(
    ("stencil", "reason"),
    [
        (Stencil("real", 0.5, {}, (1.0,)), "output: stencil.points['w1'] needs one point for each of the coefficients"),
        (Stencil("real", 0.0, {}, ()), "output: stencil.h is 0.0, expected a positive step"),
        (Stencil("complex", math.nan, {}, ()), "output: stencil has nan, expected finite numbers of float64"),
        (Stencil("odd", 0.5, {}, ()), "output: stencil.kind is 'odd'"),  # type: ignore[arg-type]
    ],
)
def test_a_malformed_stencil_is_a_crash_with_its_reason(stencil: Stencil, reason: str) -> None:
    (row,) = gc.check(Scripted(lambda p, a: replace(a, stencil=stencil)), one()).to_dict("records")
    assert row["verdict"] == "crashed"
    assert row["reason"].startswith(reason)


def test_not_a_number_in_a_gradient_deviates() -> None:
    rows = gc.check(Scripted(lambda p, a: replace(a, gradient={**a.gradient, "w1": math.nan})), one())
    assert rows[rows.quantity == "dE_total/dw1"].verdict.iloc[0] == "deviates"


def test_a_value_that_the_dtype_does_not_hold_deviates() -> None:
    rows = gc.check(Scripted(lambda p, a: replace(a, loss=a.loss * (1 + 2.0**-40))), one(), dtype="float32")
    (loss,) = rows[rows.quantity == "E_total"].to_dict("records")
    assert loss["verdict"] == "deviates"
    assert loss["reason"].startswith("dtype: float32 does not hold")


def test_a_number_of_numpy_s_is_told_as_a_number() -> None:
    spoil = lambda p, a: replace(a, loss=np.float64(a.loss * (1 + 2.0**-40)))  # noqa: E731
    rows = gc.check(Scripted(spoil), one(), dtype="float32")
    (loss,) = rows[rows.quantity == "E_total"].to_dict("records")
    assert loss["reason"].startswith("dtype: float32 does not hold 0.")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": (*WEIGHTS[:7], math.nan)}, "w8 is nan; every value must be finite"),
        ({"inputs": (math.inf, 0)}, "i1 is inf; every value must be finite"),
        ({"weights": WEIGHTS[:7]}, r"weights must be 8 numbers \(w1 .* w8\), got 7"),
        ({"targets": 0.5}, "targets must be numbers t1 t2, got 0.5"),
        ({"targets": [[0.1, 0.9]]}, "targets must be numbers t1 t2"),
        ({"rate": "fast"}, "rate must be a number"),
        ({"rate": "0.1"}, r"rate must be a number that float64 holds, got '0.1' \(str\)"),
        ({"rate": True}, r"rate must be a number that float64 holds, got True \(bool\)"),
        ({"rate": 10**400}, "rate must be a number that float64 holds, got 1000"),
        ({"targets": {1.0, 0.0}}, "targets must be numbers t1 t2 in this order, got a set; give a list or a tuple"),
        ({"inputs": (0.1, "0.2")}, "inputs must be numbers i1 i2"),
    ],
)
def test_a_case_that_cannot_be_judged_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(gc.BadInput, match=message):
        one(**changes)


@pytest.mark.parametrize("dtype", [np.float32, np.dtype("float32"), "float32"])
def test_a_dtype_may_be_numpy_s_object(dtype: Any) -> None:
    assert set(gc.check("numpy/central", one(), dtype=dtype).dtype) == {"float32"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gc.check("numpy", one(), dtype=None), r"dtype is None \(NoneType\); expected a name, one of bfloat16"),
        (lambda: gc.check("numpy", one(), dtype=3), r"dtype is 3 \(int\); expected a name, one of float64"),
        (lambda: gc.check("numpy", one(), dtype=np.int64), "unknown dtype 'int64'"),
        (lambda: gc.check("numpy", one(), profile=None), r"profile is None \(NoneType\); expected a name"),
        (lambda: gc.check("numpy", one(), device=None), "device is a NoneType; expected a name, such as 'cpu'"),
        (lambda: gc.check("numpy", gc.Case("x", "nonsense", ())), "its derivation is 'nonsense'"),
        (lambda: gc.check("numpy", gc.Case("x", 3, ())), "its derivation is 3"),
        (lambda: gc.check("numpy", gc.Case("x", "document", ())), "its values are none, expected i1 i2"),
        (lambda: gc.train("numpy", one(), steps="3"), "steps is '3'; expected 1 or more, a whole number"),
        (lambda: gc.train("numpy", one(), steps=None), "steps is None"),
        (lambda: gc.train("numpy", one(), steps=3.5), "steps is 3.5"),
        (lambda: gc.train("numpy", one(), steps=True), "steps is True"),
        (lambda: gc.cases(3), "glob is a int; expected text"),
    ],
)  # fmt: skip
def test_an_argument_of_another_type_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(gc.BadInput, match=message):
        call()


def test_values_may_be_tensors_that_require_a_gradient() -> None:
    torch = pytest.importorskip("torch")
    weights = torch.tensor(WEIGHTS, dtype=torch.float64, requires_grad=True)
    assert one(weights=weights) == one() == one(weights=list(weights))


def network(**changes: Any) -> gc.Case:
    values: dict[str, Any] = {
        "layers": [([[0.5, -0.25]], None, "identity")], "inputs": [[1.0, 2.0]], "targets": [[0.5]], "rate": 0.5,
    }  # fmt: skip
    return gc.network_case("mine/network", **{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reduction": None}, r"reduction is None \(NoneType\); expected a name, one of mean, sum"),
        ({"loss": ["l1"]}, r"loss is \['l1'\] \(list\); expected a name"),
        ({"layers": None}, r"layers are NoneType; expected a list of \(W, b, activation\)"),
        ({"layers": [([[0.5, 1.0]], None, ["tanh"])]}, r"activation of layer 1 is \['tanh'\] \(list\)"),
        ({"rate": True}, "rate must be a number that float64 holds"),
        ({"targets": [[0.5], [0.5, 1.0]]}, "targets is no rectangular array of numbers"),
        ({"inputs": [[1.0, math.nan]]}, r"inputs\[0, 1\] is nan; every value must be finite"),
    ],
)
def test_a_network_that_cannot_be_judged_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(gc.BadInput, match=message):
        network(**changes)


def test_a_class_index_out_of_range_is_told_with_its_place() -> None:
    with pytest.raises(gc.BadInput, match=r"targets\[1\] is the class index 3; expected 0 to 2, for 3 outputs"):
        network(
            layers=[(np.ones((3, 2)), None, "identity")], loss="softmax_cross_entropy", inputs=np.ones((2, 2)),
            targets=[0, 3],
        )  # fmt: skip


def test_class_indices_become_rows_of_one_1_without_a_square_matrix_of_the_classes() -> None:
    layers = [(np.full((20_000, 1), 0.5), None, "identity")]
    tracemalloc.start()
    case = network(layers=layers, loss="softmax_cross_entropy", inputs=np.ones((2, 1)), targets=[3, 19_999])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    rows = dict(case.values)["T"]
    assert [list(np.flatnonzero(row)) for row in rows] == [[3], [19_999]]
    assert np.sum(rows) == 2
    assert peak < 2**26, "20,000² numbers are 3 GB"


def test_weights_of_a_network_may_be_tensors_that_require_a_gradient() -> None:
    torch = pytest.importorskip("torch")
    weight = torch.tensor([[0.5, -0.25]], requires_grad=True)
    assert network(layers=[(weight, None, "identity")]) == network()


def test_a_network_beyond_all_memory_is_refused_before_anything_is_copied() -> None:
    # 10^14 weights that share one number: a copy would be 727 TiB, more than a process can map.
    weight = np.broadcast_to(0.5, (10**7, 10**7))
    with pytest.raises(gc.BadInput, match=r"judging 100,000,000,000,000 parameters takes about .* GiB, and .* GiB"):
        network(layers=[(weight, None, "identity")], inputs=np.ones((1, 10**7)), targets=np.ones((1, 10**7)))


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_AS is POSIX")
def test_a_limit_on_the_address_space_is_a_limit_on_the_memory_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (1, resource.RLIM_INFINITY))
    with pytest.raises(gc.BadInput, match=r"and 0\.0 GiB of memory are available"):
        network()


def test_a_case_id_cannot_leave_its_folder() -> None:
    with pytest.raises(gc.BadInput, match="expected letters, digits"):
        gc.document_case("../mine", weights=WEIGHTS, inputs=(0, 0), targets=(0, 0), rate=1)


def test_a_value_that_rounds_to_infinity_in_the_dtype_is_refused() -> None:
    case = one(inputs=(70000, 0))
    assert set(gc.check("numpy/central", case, dtype="float32").verdict) <= {"conforms", "vacuous"}
    with pytest.raises(gc.BadInput, match=r"i1 = 70000.0 rounds to infinity in float16, whose largest number is 65504"):
        gc.check("numpy/central", case, dtype="float16")


def test_training_judges_every_update_from_the_framework_s_own_weights() -> None:
    rows = gc.train("numpy/complex-step", one(), steps=5)
    assert list(rows.columns) == ["step", *COLUMNS, "drift"]
    assert sorted(set(rows.step)) == [0, 1, 2, 3, 4]
    assert set(rows.verdict) == {"conforms"}
    first, second = (rows[(rows.step == s) & (rows.quantity == "E_total")].value.iloc[0] for s in (0, 1))
    assert second < first


def test_training_goes_on_from_what_the_framework_reported() -> None:
    """A wrong first update is judged wrong, and the next step starts from it without being blamed for it."""
    calls = []

    def late(point: Point, answer: Answer) -> Answer:
        calls.append(point.values["w1"])
        return replace(answer, updated={**answer.updated, "w1": 0.75}) if len(calls) == 1 else answer

    rows = gc.train(Scripted(late), one(), steps=2)
    assert calls == [0.15, 0.75]
    assert set(rows[rows.verdict == "deviates"].step) == {0}


def test_training_wants_a_step() -> None:
    with pytest.raises(gc.BadInput, match="steps is 0; expected 1 or more"):
        gc.train("numpy", one(), steps=0)


def test_cases_and_adapters_are_listed() -> None:
    assert gc.cases("document/worked*") == ["document/worked-example"]
    assert len(gc.cases("document/*")) >= 200
    assert {"torch", "jax", "numpy"} <= set(gc.adapters())


def test_the_ids_of_the_catalogue_are_known_without_building_it() -> None:
    from gradconform.conformance.cases.catalogue import catalogue, ids

    assert ids() == list(catalogue())
    asked = (
        "import sys, gradconform as gc; gc.check('numpy', 'document/all-zeros'); assert 'sklearn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", asked], check=True)


def test_a_case_of_real_data_without_scikit_learn_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    message = r"case 'network/iris' needs scikit-learn, which is not installed: python -m pip install scikit-learn"
    with pytest.raises(gc.BadInput, match=message):
        gc.check("numpy", "network/iris")
    result = CliRunner().invoke(main, ["explain", "network/iris"])
    assert result.exit_code == 2
    assert "needs scikit-learn" in " ".join(result.stderr.split())
    with pytest.raises(gc.BadInput, match="unknown case 'network/irsi'"):
        gc.check("numpy", "network/irsi")


def test_a_seed_changes_the_random_cases_and_only_them() -> None:
    from gradconform.conformance.cases.catalogue import catalogue
    from gradconform.reference.derivations.losses import LOSSES

    zero, one = catalogue(0), catalogue(1)
    assert zero == catalogue(0)
    changed = {id for id in zero if zero[id] != one[id]}
    drawn = {f"network/{loss.replace('_', '-')}" for loss in LOSSES}
    assert changed == set(gc.cases("document/scale-*")) | drawn


@pytest.mark.parametrize(
    "module",
    [
        "gradconform",
        "gradconform.adapters",
        "gradconform.adapters.contract",
        "gradconform.conformance.api",
        "gradconform.conformance.table",
        "gradconform.conformance.command_line.derivation_latex",
        "gradconform.conformance.command_line.terminal",
        "gradconform.reference.arithmetic.formats",
        "gradconform.reference.cases",
        "gradconform.reference.equations",
    ],
)
def test_the_examples_in_docstrings_are_true(module: str) -> None:
    results = doctest.testmod(import_module(module))
    assert results.attempted > 0
    assert results.failed == 0
