"""The contract is safe to touch: what an adapter, a case or an option gets wrong is said, and nothing else suffers."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hostile_adapters import in_place
from tests_support import Scripted

import gradconform as gc
from gradconform.adapters import Answer, Point, Route, Trace, Unsupported, registry
from gradconform.conformance.answers import Malformed, Reported, ask, missing, normalised
from gradconform.conformance.cases.catalogue import select
from gradconform.conformance.command_line.commands import main
from gradconform.conformance.run.guard import digest
from gradconform.conformance.run.runner import Task, perform
from gradconform.reference.cases import named_format, point, said

ONE = gc.document_case("mine/one", weights=[0.1, 0.2] * 4, inputs=(0.5, 1), targets=(0, 1), rate=0.5)
#: W1 of shape (1, 2), b1 of shape (1,).
(NETWORK,) = select(["network/published/*"])[:1]
AT, NUMBERS = point(NETWORK, "float32"), point(ONE, "float64")


class Wild(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even a message")


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("not even a repr")


def raising(error: BaseException) -> Callable[..., Any]:
    def act(*_: object) -> Any:
        raise error

    return act


def only_row(adapter: Any, case: gc.Case = ONE) -> dict[str, Any]:
    (row,) = gc.check(adapter, case).to_dict("records")
    return {str(name): value for name, value in row.items()}


# Values ---------------------------------------------------------------------------------------------------------------


def torch_tensor(values: Any, **options: Any) -> Any:
    return pytest.importorskip("torch").tensor(values, **options)


@pytest.mark.parametrize(
    "make",
    [
        lambda: 1,
        lambda: np.float32(1),
        lambda: np.int64(1),
        lambda: np.array(1.0),
        lambda: torch_tensor(1.0, requires_grad=True),
        lambda: pytest.importorskip("jax").numpy.float32(1),
    ],
)
def test_a_number_may_be_anybodys(make: Callable[[], Any]) -> None:
    reported = normalised(Answer(make(), {"w1": make()}, {}), NUMBERS)
    assert (reported.loss, reported.gradient) == (1.0, {"w1": 1.0})
    assert {type(reported.loss), type(reported.gradient["w1"])} == {float}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (True, "loss is a bool, expected a real number"),
        (1j, "loss is a complex, expected a real number"),
        ("1", "loss is a str, expected a real number"),
        (np.array(1), "loss is a number of int64, expected a real number"),
        (np.zeros(1), r"loss is an array of shape \(1,\), expected a real number"),
        (np.ma.masked, "loss is a masked array"),
        (np.array(None), "loss is a number of object"),
        (2**53 + 1, "loss is an integer that float64 does not hold"),
        (10**400, "loss is an integer that float64 does not hold"),
    ],
)
def test_what_is_no_real_number_is_refused(value: Any, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        normalised(Answer(value), NUMBERS)


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.full((1, 2), 0.5, dtype=np.float16),
        lambda: torch_tensor([[0.5, 0.5]], requires_grad=True),
        lambda: pytest.importorskip("jax").numpy.full((1, 2), 0.5, dtype="bfloat16"),
    ],
)
def test_a_tensor_may_be_what_numpy_converts(make: Callable[[], Any]) -> None:
    found = normalised(Answer(gradient={"W1": make()}), AT).gradient["W1"]
    assert isinstance(found, np.ndarray)
    assert np.array_equal(found.astype(np.float64), [[0.5, 0.5]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: np.ma.masked_array([[1.0, 2.0]], mask=[[0, 1]]),
            "is a masked array, expected an array of real floats",
        ),
        (lambda: np.ones((1, 2), complex), "is an array of complex128, expected an array of real floats"),
        (lambda: np.ones((1, 2), object), "is an array of object"),
        (lambda: np.ones((1, 2), int), "is an array of int64"),
        (lambda: np.ones((2, 1)), r"is an array of shape \(2, 1\), expected an array of real floats of shape \(1, 2\)"),
        (lambda: [[1.0, 2.0]], "is a list, expected an array"),
        (lambda: 1.0, "is a float, expected an array"),
        (
            lambda: torch_tensor([[1.0, 2.0]]).bfloat16(),
            r"is a Tensor that NumPy does not convert \(.*BFloat16\); convert it",
        ),
    ],
)
def test_what_is_no_tensor_of_real_floats_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(Malformed, match=rf"gradient\['W1'\] {message}"):
        normalised(Answer(gradient={"W1": make()}), AT)


def test_numbers_of_numpys_are_judged_as_pythons_are() -> None:
    def of_numpy(p: Point, a: Answer) -> Answer:
        assert a.gradient is not None
        return replace(a, loss=np.array(a.loss), gradient={n: np.float64(g) for n, g in a.gradient.items()})

    plain, converted = gc.check(Scripted(), ONE), gc.check(Scripted(of_numpy), ONE)
    assert set(converted.verdict) == {"conforms"}
    assert list(converted.value) == list(plain.value)


# What is left out -----------------------------------------------------------------------------------------------------


def test_what_an_answer_lacks_is_named_by_its_equations() -> None:
    weights = {w: NUMBERS.values[w] for w in NUMBERS.parameters}
    updates = normalised(Answer(updated=weights), NUMBERS)
    assert updates.gradient == {}
    assert missing(updates, NUMBERS) == ("E_total", *(f"dE_total/dw{i}" for i in range(1, 9)))
    assert missing(normalised(Answer(0.5, weights, weights), NUMBERS), NUMBERS) == ()
    part = normalised(Answer(0.5, {**weights, "w3": None}, {n: v for n, v in weights.items() if n != "w1"}), NUMBERS)
    assert missing(part, NUMBERS) == ("dE_total/dw3", "w1_new")


@pytest.mark.parametrize("answer", [Answer(), Answer(None, {}, {"w1": None}), Answer(trace=Trace({}))])
def test_an_empty_answer_is_crashed(answer: Answer) -> None:
    row = only_row(Scripted(lambda p, a: answer))
    assert row["verdict"] == "crashed"
    assert row["reason"].startswith(
        "output: the answer is empty; expected a loss, a gradient, updated weights or a tra"
    )


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(0.5, gradient=[0.5]), "gradient is a list, expected numbers by name, such as {'w1': …}"),  # type: ignore[arg-type]
        (Answer(0.5, trace="none"), "trace is a str, expected a Trace"),  # type: ignore[arg-type]
        (Answer(0.5, stencil=3), "stencil is a int, expected a Stencil"),  # type: ignore[arg-type]
        (Answer(0.5, {1: 0.5}), "gradient has 1, expected names among w1 w2"),  # type: ignore[dict-item]
    ],
)
def test_a_part_of_another_type_is_refused(answer: Answer, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        normalised(answer, NUMBERS)


def test_a_digest_tells_which_part_a_number_is_in_and_takes_any_that_is_missing() -> None:
    one = {"w1": 0.5}
    answers = [Answer(), Answer(0.5), Answer(None, one), Answer(None, None, one), Answer(None, one, one),
               Answer(trace=Trace(one)), Answer(trace=Trace({}, one))]  # fmt: skip
    assert len({digest(a) for a in answers}) == len(answers)
    assert digest(Answer(None, one)) == digest(Answer(None, dict(one), {}))


# Inputs ---------------------------------------------------------------------------------------------------------------


def test_inputs_changed_in_place_through_check_are_safe_and_told_off() -> None:
    before = {n: np.array(v) for n, v in NETWORK.values}
    row = only_row(in_place, NETWORK)
    assert row["verdict"] == "crashed"
    assert row["reason"].startswith(
        "inputs: W1 b1 changed in place; reproduce with: gradconform run -a hostile_adapters:"
    )
    assert all(np.array_equal(v, before[n]) for n, v in NETWORK.values)
    assert set(gc.check("numpy/complex-step", ONE).verdict) == {"conforms"}


def test_a_route_that_writes_to_its_inputs_does_not_spoil_them_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    module = ModuleType("writing")
    module.in_place = in_place  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "writing", module)
    routes = ("writing:in_place", "torch/eager")
    alone = perform(Task(NETWORK, "float32", "cpu", "opencl", routes[1:])).measurements
    after = perform(Task(NETWORK, "float32", "cpu", "opencl", routes)).measurements
    assert after[0].verdict == "crashed"
    assert repr(after[1:]) == repr(alone)


def test_a_write_that_comes_after_the_answer_reaches_nobody() -> None:
    kept: list[Point] = []

    class Keeping(Scripted):
        def answer(self, point: Point, route: str) -> Answer:
            kept.append(point)
            return Answer(0.5)

    adapter, at = Keeping(), point(NETWORK, "float32")
    assert isinstance(ask(adapter, adapter.routes[0], at), Reported)
    kept[0].values["W1"].flags.writeable = True
    kept[0].values["W1"][...] = 7
    assert not (at.values["W1"] == 7).any()


# What an adapter raises -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SystemExit(3), "exception: SystemExit: 3"),
        (Wild(), "exception: Wild: no message: its text raised RuntimeError"),
        (ValueError("red \x1b[31m\u202e"), "exception: ValueError: red \\x1b[31m\\u202e"),
        (gc.BadInput("mine"), "exception: BadInput: mine"),
        (ValueError(), "exception: ValueError: no message"),
    ],
)
def test_what_an_adapter_raises_is_a_row_in_plain_characters(error: BaseException, reason: str) -> None:
    row = only_row(Scripted(raising(error)))
    assert row["verdict"] == "crashed"
    assert row["reason"].startswith(f"{reason}; reproduce with: ")


def test_what_reproduces_a_crash_is_a_command_only_where_that_finds_the_adapter_and_the_case() -> None:
    import wrong_adapters

    def told(adapter: Any, case: str | gc.Case) -> str:
        (reason,) = gc.check(adapter, case, dtype="float32").reason
        return str(reason).partition("reproduce with: ")[2]

    found = "gradconform run -a wrong_adapters:crashing/only -c document/worked-example -d float32"
    assert told("wrong_adapters:crashing", "document/worked-example") == found
    assert told(wrong_adapters.crashing, "document/worked-example") == found
    assert told(wrong_adapters.crashing, ONE) == 'gc.check("wrong_adapters:crashing/only", case, dtype="float32")'
    by_hand = Scripted(raising(ValueError("boom")))
    assert told(by_hand, "document/worked-example") == 'gc.check(adapter, "document/worked-example", dtype="float32")'


def test_the_text_of_what_is_unsupported_is_said_in_plain_characters() -> None:
    row = only_row(Scripted(raising(Unsupported("operation: no \x07bell\nand more"))))
    assert (row["verdict"], row["reason"]) == ("unsupported", "operation: no \\x07bell")


def test_an_interrupt_of_the_users_is_no_result() -> None:
    with pytest.raises(KeyboardInterrupt):
        gc.check(Scripted(raising(KeyboardInterrupt())), ONE)


def test_bad_input_spells_control_characters_out() -> None:
    assert str(gc.BadInput("red \x1b[31m\x9b\u2028 and plain\nlines")) == "red \\x1b[31m\\x9b\\u2028 and plain\nlines"
    assert str(gc.BadInput("∂E/∂w1 = 1 ± ½ulp")) == "∂E/∂w1 = 1 ± ½ulp"


def test_the_text_of_an_exception_is_its_first_line_cut() -> None:
    assert said(ValueError("one\ntwo")) == "one"
    assert said(ValueError("x" * 300)) == "x" * 200 + "…"


# Routes, versions, devices --------------------------------------------------------------------------------------------


def adapter_of(**parts: Any) -> Any:
    right = Scripted()
    return SimpleNamespace(**{"name": "mine", "routes": right.routes, "answer": right.answer, **parts})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtypes": None}, r"route only: dtypes is None; expected some of float64, float32, float16, bfloat16"),
        ({"dtypes": "float32"}, "dtypes is 'float32'; expected some of .* as a tuple"),
        ({"dtypes": ()}, r"dtypes is \(\); expected some of"),
        ({"dtypes": ("flaot32",)}, r"unknown dtype of adapter .* 'flaot32'; did you mean 'float32'"),
        ({"dtypes": (np.float32,)}, "dtype of adapter .* expected a name"),
        ({"operands": "whatever"}, "operands is 'whatever'; expected 'exact' or 'half-ulp'"),
        ({"default": "no"}, "default is 'no', .* expected True or False"),
        ({"summary": 3}, "summary 3; expected True or False, and text"),
    ],
)
def test_a_route_that_no_check_understands_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(gc.BadInput, match=message):
        gc.check(adapter_of(routes=(Route("only", **changes),)), ONE)


def test_a_route_that_a_check_understands_is_not() -> None:
    route = Route("only", "mine", default=True, dtypes=["float64"], operands="half-ulp")  # type: ignore[arg-type]
    assert set(gc.check(adapter_of(routes=[route]), ONE).verdict) == {"conforms"}


@pytest.mark.parametrize(
    ("versions", "said_of_it"),
    [
        (raising(RuntimeError("boom")), "unknown (RuntimeError: boom)"),
        (raising(Wild()), "unknown (Wild: no message: its text raised RuntimeError)"),
        (raising(SystemExit(1)), "unknown (SystemExit: 1)"),
        (lambda: 3, "unknown (AttributeError: 'int' object has no attribute 'items')"),
        (lambda: {"mine": "1.2"}, "1.2"),
    ],
)
def test_versions_that_raise_are_unknown_and_the_rest_goes_on(versions: Any, said_of_it: str) -> None:
    adapter = adapter_of(versions=versions)
    assert registry.versions(adapter) == {"mine": said_of_it}
    assert set(gc.check(adapter, ONE).verdict) == {"conforms"}


@pytest.mark.parametrize("error", [RuntimeError("boom"), SystemExit(1), Wild()])
def test_a_device_that_an_adapter_raises_at_is_bad_input(error: BaseException) -> None:
    expected = f"device 'cpu': adapter mine raised {type(error).__name__}: .* when asked whether it can use cpu"
    with pytest.raises(gc.BadInput, match=expected):
        gc.check(adapter_of(unavailable=raising(error)), ONE)
    assert set(gc.check(adapter_of(unavailable=lambda device: None), ONE).verdict) == {"conforms"}


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ({}, 0),
        ({"versions": raising(RuntimeError("boom"))}, 0),
        ({"unavailable": raising(RuntimeError("boom"))}, 2),
        ({"unavailable": raising(SystemExit(0))}, 2),
    ],
)
def test_the_command_line_takes_no_failure_of_theirs_for_a_deviation(
    parts: dict[str, Any], status: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("theirs")
    module.adapter = adapter_of(**parts)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "theirs", module)
    registry.load.cache_clear()
    monkeypatch.setattr("gradconform.conformance.run.supervisor.outcomes", lambda tasks, *_: map(perform, tasks))
    asked = ["run", "-a", "theirs:adapter", "-c", "document/worked-example", "-d", "float64"]
    result = CliRunner().invoke(main, [*asked, "-o", str(tmp_path / "run.jsonl")])
    registry.load.cache_clear()
    assert result.exit_code == status, result.output
    assert isinstance(result.exception, SystemExit | None)
    if "versions" in parts:
        assert "unknown (RuntimeError: boom)" in (tmp_path / "run.jsonl").read_text(encoding="utf-8")


# What is no adapter ---------------------------------------------------------------------------------------------------


def test_a_bare_function_is_told_what_an_adapter_is() -> None:
    message = (
        r"is a function; an adapter is an object that has name, routes and answer\(point, route\); see gradconform\."
        r"adapters\.contract"
    )
    with pytest.raises(gc.BadInput, match=message):
        gc.check(lambda x: x, ONE)  # type: ignore[arg-type]


def test_a_bare_autograd_function_is_told_what_an_adapter_is() -> None:
    torch = pytest.importorskip("torch")

    class Gelu(torch.autograd.Function):  # type: ignore[misc]
        pass

    with pytest.raises(gc.BadInput, match=r"is the class Gelu; expected an instance of a class that has name, routes"):
        gc.check(Gelu, ONE)  # type: ignore[arg-type]
    with pytest.raises(gc.BadInput, match=r"is a method; an adapter is an object that has name, routes and answer"):
        gc.check(Gelu.apply, ONE)
    with pytest.raises(gc.BadInput, match="is a Linear; an adapter is an object that has"):
        gc.check(torch.nn.Linear(2, 2), ONE)


def test_the_class_of_an_adapter_is_told_to_be_called() -> None:
    class Mine:
        name, routes = "mine", (Route("only"),)

        def answer(self, point: Point, route: str) -> Answer:
            return Answer()

    with pytest.raises(gc.BadInput, match=r"is the class Mine; expected an instance, Mine\(\)"):
        gc.check(Mine, ONE)  # type: ignore[arg-type]


def test_a_property_that_raises_is_bad_input() -> None:
    class Mine(Scripted):
        @property
        def routes(self) -> Any:
            raise RuntimeError("boom")

        @routes.setter
        def routes(self, value: Any) -> None:
            pass

    with pytest.raises(gc.BadInput, match="asking it for its parts raised RuntimeError: boom"):
        gc.check(Mine(), ONE)


def test_an_adapter_is_found_by_its_own_name_too(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("theirs")
    module.adapter = adapter_of(name="autograd")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "theirs", module)
    entries = {e.name: e for e in metadata.entry_points(group=registry.GROUP)}
    entries["hips"] = metadata.EntryPoint("hips", "theirs:adapter", registry.GROUP)
    entries["broken"] = metadata.EntryPoint("broken", "no_such_module:adapter", registry.GROUP)
    monkeypatch.setattr(registry, "_entry_points", lambda: entries)
    registry.load.cache_clear()
    try:
        assert registry.load("autograd") is registry.load("hips")
        assert registry.choose("autograd/only")[0].route.name == "only"
        with pytest.raises(gc.BadInput, match="unknown adapter 'autogard'"):
            registry.load("autogard")
        listed = CliRunner().invoke(main, ["list", "adapters"]).output
        assert "hips (autograd in its rows): no version given" in listed
        assert "numpy (" not in listed
    finally:
        registry.load.cache_clear()


# Cases and names ------------------------------------------------------------------------------------------------------


def by_hand(**changes: Any) -> gc.Case:
    return gc.Case("mine/hand", "document", tuple({**dict(ONE.values), **changes}.items()))


def network_by_hand(architecture: dict[str, Any] | None = None, **changes: Any) -> gc.Case:
    values = tuple({**dict(NETWORK.values), **changes}.items())
    return gc.Case("mine/hand", replace(NETWORK.derivation, **(architecture or {})), values)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: by_hand(i1="one"), r"i1 must be a number that float64 holds, got 'one' \(str\)"),
        (lambda: by_hand(w1=math.nan), "w1 is nan; every value must be finite"),
        (lambda: by_hand(eta=math.inf), "eta is inf; every value must be finite"),
        (lambda: by_hand(i1=Unprintable()), "got something whose repr raised RuntimeError"),
        (lambda: gc.Case("mine/hand", "document", "text"), r"its values are 'text' \(str\); expected pairs"),  # type: ignore[arg-type]
        (lambda: gc.Case("mine/hand", "document", None), "its values are None"),  # type: ignore[arg-type]
        (lambda: gc.Case("mine/hand", "document", ((3, 0.5),)), r"its values are 3 \(int\), expected i1 i2"),  # type: ignore[arg-type]
        (lambda: replace(ONE, id="\x1b[31m"), r"case id '\\x1b\[31m'"),
        (lambda: network_by_hand(W1="text"), "W1 has dtype <U4; expected real floating-point numbers"),
        (lambda: network_by_hand(W1=np.full((1, 2), math.nan)), r"W1\[0, 0\] is nan; every value must be finite"),
        (lambda: network_by_hand(W1=np.zeros((2, 2))), r"W1 has shape \(2, 2\), expected \(1, 2\)"),
        (lambda: network_by_hand({"loss": "mse"}), "unknown loss 'mse'; did you mean 'squared_error'"),
        (lambda: network_by_hand({"activations": ("swish",)}), "unknown activation of layer 1 'swish'; .* 'silu'"),
        (lambda: network_by_hand({"reduction": None}), "reduction is None"),
        (lambda: network_by_hand({"sizes": (2, 1, 1)}), "3 sizes, 1 activations, 1 biased; expected one size more"),
        (lambda: network_by_hand({"sizes": ("2", 1)}), "must be positive whole numbers"),
        (lambda: network_by_hand({"sizes": [2, 1]}), "must be tuples"),
        (
            lambda: network_by_hand({"loss": "binary_cross_entropy_with_logits"}, T=np.array([[2.0]])),
            "outside the domain of binary_cross_entropy_with_logits",
        ),
    ],
)
def test_a_case_put_together_by_hand_is_checked(make: Callable[[], gc.Case], message: str) -> None:
    with pytest.raises(gc.BadInput, match=message):
        gc.check(Scripted(), make())


def test_a_case_put_together_by_hand_is_judged_where_it_is_sound() -> None:
    assert set(gc.check(Scripted(), by_hand(i1=1)).verdict) == {"conforms"}
    assert point(network_by_hand(), "float32").shapes == AT.shapes


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (lambda: pytest.importorskip("torch").float32, "float32"),
        (lambda: pytest.importorskip("torch").half, "float16"),
        (lambda: pytest.importorskip("torch").bfloat16, "bfloat16"),
        (lambda: pytest.importorskip("jax").numpy.bfloat16, "bfloat16"),
        (lambda: pytest.importorskip("jax").numpy.dtype("bfloat16"), "bfloat16"),
        (lambda: np.float16, "float16"),
    ],
)
def test_a_dtype_may_be_a_frameworks_object(dtype: Callable[[], Any], name: str) -> None:
    assert named_format(dtype()).name == name


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        (lambda: pytest.importorskip("torch").int64, "unknown dtype 'int64'; did you mean 'float64'"),
        (lambda: "torch.float32", "unknown dtype 'torch.float32'; did you mean 'float32'"),
        (lambda: "bf16", "unknown dtype 'bf16'; did you mean 'bfloat16'"),
        (lambda: "half", "unknown dtype 'half'; did you mean 'float16'"),
        (Unprintable, "dtype is something whose repr raised RuntimeError"),
    ],
)
def test_another_dtype_is_refused_with_the_nearest(dtype: Callable[[], Any], message: str) -> None:
    with pytest.raises(gc.BadInput, match=message):
        named_format(dtype())


@pytest.mark.parametrize(
    ("loss", "meant"),
    [("mse", "squared_error"), ("MSE", "squared_error"), ("nn.MSELoss", "squared_error"), ("mae", "l1"),
     ("bce", "binary_cross_entropy_with_logits"), ("cross_entropy", "softmax_cross_entropy")],
)  # fmt: skip
def test_what_a_loss_is_also_called_is_suggested(loss: str, meant: str) -> None:
    with pytest.raises(gc.BadInput, match=f"unknown loss '{loss}'; did you mean '{meant}'"):
        gc.network_case("mine/x", layers=[([[0.5]], None, "tanh")], loss=loss, inputs=[[1]], targets=[[1]], rate=0.1)


@pytest.mark.parametrize("adapter", ["document/worked-example", ONE])
def test_a_case_in_the_adapters_place_is_said(adapter: Any) -> None:
    message = "is a case, and stands in the adapter's place; expected \\(adapter, case, …\\)"
    for asked in (gc.check, gc.train):
        with pytest.raises(gc.BadInput, match=message):
            asked(adapter, "torch")  # type: ignore[operator]
    with pytest.raises(gc.BadInput, match="unknown adapter 'nimpy'; did you mean 'numpy'"):
        gc.check("nimpy", ONE)


def test_a_glob_that_matches_no_case_is_refused_with_the_nearest_ids() -> None:
    with pytest.raises(gc.BadInput, match="unknown case 'document/worked-exmaple'; did you mean 'document/worked-exam"):
        gc.cases("document/worked-exmaple")
    with pytest.raises(gc.BadInput, match=r"unknown case 'doc/\*'; did you mean 'document/all-zeros'"):
        gc.cases("doc/*")
    with pytest.raises(gc.BadInput, match=r"unknown case 'zzz'; known: document/all-zeros, .* \(2\d\d in all\)"):
        gc.cases("zzz")
    assert gc.cases("document/all-*") == ["document/all-zeros"]


@pytest.mark.parametrize("profile", [["opencl"], None, "opncl"])
def test_a_profile_that_is_none_is_refused(profile: Any) -> None:
    with pytest.raises(gc.BadInput, match="profile"):
        gc.check("numpy", ONE, profile=profile)


def test_training_ends_where_a_route_leaves_the_interpreter() -> None:
    rows = gc.train(Scripted(raising(SystemExit(1))), ONE, steps=3)
    assert (list(rows.step), list(rows.verdict)) == ([0], ["crashed"])
