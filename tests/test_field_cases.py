"""Inputs from people's reports that were once judged wrongly, each with its right value (mpmath, 80 digits)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import gradconform as gc
from gradconform.adapters.contract import Answer, Point, Route, Trace
from gradconform.conformance.check import judge_answer
from gradconform.conformance.known import KnownDeviation
from gradconform.conformance.run.run_file import frame
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.cases import point

Values = dict[str, Any]


def neuron(activation: str, inputs: Any, *, weight: float = 1.0, loss: str = "half_squared_error", target: float = 0.0):
    """One neuron at one or more inputs, the target as given."""
    rows = [[float(x)] for x in np.atleast_1d(inputs)]
    return gc.network_case(
        f"field/{activation}", layers=[([[weight]], None, activation)], loss=loss, inputs=rows,
        targets=[[target]] * len(rows), rate=0.001,
    )  # fmt: skip


def reporting(trace: Mapping[str, Any], **plain: Any) -> Any:
    """An adapter that answers with these values, whatever it is asked; what is not given is not reported."""
    inner = Trace(
        {n: v for n, v in trace.items() if not n.startswith("dE/")},
        {n.removeprefix("dE/d"): v for n, v in trace.items() if n.startswith(("dE/dz", "dE/da"))},
        {n.removeprefix("dE/d"): v for n, v in trace.items() if n.startswith(("dE/dW", "dE/db"))},
        {},
    )
    answer = Answer(plain.get("loss"), plain.get("gradient"), plain.get("updated"), inner)
    dtypes = ("float64", "float32", "float16", "bfloat16")
    return SimpleNamespace(name="written", routes=(Route("out", dtypes=dtypes),), answer=lambda point, route: answer)


def step(adapter: Any, case: Any, dtype: str, quantity: str) -> Any:
    """The row of one quantity at the step level."""
    rows = gc.check(adapter, case, dtype=dtype) if isinstance(adapter, str) else _judged(adapter, case, dtype)
    found = rows[(rows.level == "step") & (rows.quantity == quantity)]
    assert len(found) == 1, rows[["level", "quantity", "verdict", "reason"]].to_string()
    return found.iloc[0]


def _judged(adapter: Any, case: Any, dtype: str) -> Any:
    at = point(case, dtype)
    answer = adapter.answer(at, "out")
    return frame([m.row() for m in judge_answer(answer, adapter, adapter.routes[0], at, "opencl")])


def array(dtype: str, *values: float) -> Any:
    return FORMATS[dtype].round(np.array(values, dtype=np.float64)).reshape(-1, 1)


def slope_row(activation: str, dtype: str, z: float, got: float, a: float | None = None) -> Any:
    """The judgement of ∂E/∂z = `got` at one z, of the adjoint 1."""
    trace = {"z1": array(dtype, z), "dE/da1": array(dtype, 1.0), "dE/dz1": array(dtype, got)}
    if a is not None:
        trace["a1"] = array(dtype, a)
    return step(reporting(trace), neuron(activation, z), dtype, "dE/dz1")


def value_row(activation: str, dtype: str, z: float, got: float) -> Any:
    return step(reporting({"z1": array(dtype, z), "a1": array(dtype, got)}), neuron(activation, z), dtype, "a1")


# Judged, and misleading -----------------------------------------------------------------------------------------------


def test_the_slope_at_a_kink_is_a_set_and_its_members_are_no_error() -> None:
    """relu at 0 with target 0.5: ∂E/∂z is any of [−0.5, 0]."""
    pytest.importorskip("torch")
    row = step("torch/eager", neuron("relu", 1.0, weight=0.0, target=0.5), "float64", "dE/dz1")
    low, high = (float(x) for x in row.truth.strip("[]").split(","))
    assert (low, high) == (-0.5, 0.0)
    assert (row.formula, row.error_ulp, row.max_ulp, row.verdict) == ("kink", 0, 0, "conforms")
    outside = step(
        reporting({"z1": array("float64", 0), "dE/da1": array("float64", -0.5), "dE/dz1": array("float64", 0.25)}),
        neuron("relu", 1.0, weight=0.0, target=0.5), "float64", "dE/dz1",
    )  # fmt: skip
    assert outside.verdict == "deviates"


@pytest.mark.parametrize(
    ("dtype", "z", "right"), [("float64", -709.0, -8.6148077144138353e-306), ("float32", -88.0, -5.267503649e-37)]
)
def test_silu_far_below_zero_has_digits_that_one_program_keeps_and_another_loses(
    dtype: str, z: float, right: float
) -> None:
    rounded = float(FORMATS[dtype].round(right))
    kept, lost = slope_row("silu", dtype, z, rounded), slope_row("silu", dtype, z, 0.0)
    assert float(kept.truth) == pytest.approx(right, rel=1e-9)
    assert (kept.verdict, lost.verdict, lost.formula) == ("conforms", "lost", "right")
    assert "keeps" in lost.reason


@pytest.mark.parametrize(
    ("activation", "z", "right"), [("sigmoid", 40.0, 4.2483542552915890e-18), ("tanh", 20.0, 1.6993417021166356e-17)]
)
def test_a_slope_taken_from_a_saturated_output_is_lost_and_a_program_that_keeps_it_is_named(
    activation: str, z: float, right: float
) -> None:
    lost = slope_row(activation, "float64", z, 0.0, a=1.0)
    assert float(lost.truth) == pytest.approx(right, rel=1e-15)
    assert (lost.verdict, lost.formula, lost.execution) == ("lost", "right", "within")
    assert "keeps" in lost.reason
    kept = slope_row(activation, "float64", z, right, a=1.0)
    assert (kept.verdict, kept.error_ulp < 1) == ("conforms", True)


def test_binary_cross_entropy_at_a_certain_right_answer_has_a_slope() -> None:
    case = neuron("identity", 40.0, loss="binary_cross_entropy_with_logits", target=1.0)
    of = {"z1": array("float64", 40), "a1": array("float64", 40)}
    row = step(reporting({**of, "dE/da1": array("float64", 0.0)}), case, "float64", "dE/da1")
    assert float(row.truth) == pytest.approx(-4.2483542552915890e-18, rel=1e-15)
    assert row.verdict == "lost"
    kept = step(reporting({**of, "dE/da1": array("float64", -4.2483542552915890e-18)}), case, "float64", "dE/da1")
    assert kept.verdict == "conforms"


def test_the_largest_error_in_ulp_and_the_one_at_the_largest_share_are_told_apart() -> None:
    """gelu at −7 from ½(1 + erf) is 100 % off and within that program; at 1 an error of some ulps takes more of it."""
    z = array("float32", -7.0, 1.0)
    a = array("float32", 0.0, 0.8413447 * (1 + 6e-7))
    row = step(reporting({"z1": z, "a1": a}), neuron("gelu", [-7.0, 1.0]), "float32", "a1")
    assert row.worst_index == "1,0"
    assert row.error_ulp < 20 < 1e6 < row.max_ulp


def test_the_same_wrong_rule_is_found_after_a_right_one_was_compiled() -> None:
    jax = pytest.importorskip("jax")
    from gradconform.adapters import on_jax

    case = neuron("silu", [0.5, -0.5])

    @jax.custom_vjp
    def wrong(x: Any) -> Any:
        return jax.nn.silu(x)

    wrong.defvjp(lambda x: (jax.nn.silu(x), x), lambda x, g: (g * 0.5,))
    assert not (gc.check("jax/jit", case).verdict == "deviates").any()
    right = on_jax.Operations.silu
    try:
        on_jax.Operations.silu = staticmethod(wrong)
        assert all((gc.check("jax/jit", case).verdict == "deviates").any() for _ in range(2))
    finally:
        on_jax.Operations.silu = right


@pytest.mark.parametrize("dtype", list(FORMATS))
@pytest.mark.parametrize("z", [0.5, -3.25, 8.0, 9.0, 12.0, 20.0, -20.0])
def test_slopes_that_keep_their_digits_conform_whatever_a_was_rounded_to(dtype: str, z: float) -> None:
    target = FORMATS[dtype]
    a = float(target.round(1 / (1 + math.exp(-z))))
    slope = 1 / (1 + math.exp(-z)) / (1 + math.exp(z))
    assert slope_row("sigmoid", dtype, z, float(target.round(slope)), a=a).verdict in ("conforms", "vacuous")
    sech = 1 / math.cosh(z) ** 2
    row = slope_row("tanh", dtype, z, float(target.round(sech)), a=float(target.round(math.tanh(z))))
    assert row.verdict in ("conforms", "vacuous")


# Right work accused ---------------------------------------------------------------------------------------------------


def test_the_textbooks_cross_entropy_is_right_and_loses_digits() -> None:
    case = neuron("identity", 10.0, loss="binary_cross_entropy_with_logits", target=0.0)
    of = {"z1": array("float32", 10), "a1": array("float32", 10)}
    row = step(reporting({**of, "E": float(np.float32(9.999586))}), case, "float32", "E")
    assert float(row.truth) == pytest.approx(10.0000453988992169, rel=1e-15)
    assert (row.formula, row.execution, row.accuracy, row.verdict) == ("right", "within", "lost", "lost")
    assert "binary cross-entropy with logits" in row.reason
    wrong = step(reporting({**of, "E": float(np.float32(9.9))}), case, "float32", "E")
    assert wrong.verdict == "deviates"


def test_sigmoid_by_tanh_is_right_and_loses_digits() -> None:
    row = value_row("sigmoid", "float64", -5.0, 0.006692850924284843)
    assert float(row.truth) == pytest.approx(0.0066928509242848556, rel=1e-15)
    assert (row.formula, row.execution, row.accuracy) == ("right", "within", "lost")
    assert row.error_ulp == pytest.approx(14.5, abs=0.6)
    assert "tanh" in row.reason


@pytest.mark.parametrize("got", [math.inf, math.nan])
def test_softmax_cross_entropy_without_the_shift_overflows_and_is_told_to_shift(got: float) -> None:
    case = gc.network_case(
        "field/logits", layers=[(np.eye(2), None, "identity")], loss="softmax_cross_entropy", inputs=[[89.0, 0.0]],
        targets=np.array([1]), rate=0.1,
    )  # fmt: skip
    logits = np.array([[89.0, 0.0]], dtype=np.float32)
    row = step(reporting({"z1": logits, "a1": logits, "E": got}), case, "float32", "E")
    assert (row.formula, row.execution, row.verdict) == ("right", "overflow", "out of range")
    assert "log-softmax" in row.reason
    wrong = step(reporting({"z1": logits, "a1": logits, "E": 3.0}), case, "float32", "E")
    assert wrong.verdict == "deviates"


# Promises that were broken --------------------------------------------------------------------------------------------

FAR = [("softplus", 720.0, -1e4), ("sigmoid", 720.0, -7.0), ("silu", -720.0, 100.0)]


@pytest.mark.parametrize("dtype", list(FORMATS))
@pytest.mark.parametrize(("activation", "z", "wrong"), FAR)
def test_a_wrong_answer_beyond_what_e_to_the_z_holds_deviates(
    dtype: str, activation: str, z: float, wrong: float
) -> None:
    right = {"softplus": 720.0, "sigmoid": 1.0, "silu": 0.0}[activation]
    assert value_row(activation, dtype, z, wrong).verdict == "deviates"
    assert value_row(activation, dtype, z, right).verdict in ("conforms", "vacuous")


@pytest.mark.parametrize(("dtype", "z"), [("float32", 95.0), ("bfloat16", 95.0), ("float16", 12.0)])
@pytest.mark.parametrize("wrong", [0.3, 1.5, 0.0])
def test_a_program_that_overflows_admits_its_own_nan_and_no_number_between(dtype: str, z: float, wrong: float) -> None:
    assert value_row("sigmoid", dtype, z, wrong).verdict == "deviates"
    assert value_row("sigmoid", dtype, z, 1.0).verdict == "conforms"
    overflowed = value_row("sigmoid", dtype, z, math.nan)
    assert (overflowed.verdict, overflowed.accepted_form) == ("out of range", "e^z/(1+e^z)")


def test_a_form_of_which_nothing_is_known_excuses_nothing_where_another_is_known() -> None:
    """Over 256 and more classes in bfloat16, whose sum may err by all of it."""
    dtype, classes = "bfloat16", 257
    random = np.random.default_rng(0)
    logits = FORMATS[dtype].round(random.normal(size=(1, classes)))
    label = np.array([3])
    case = gc.network_case(
        "field/classes", layers=[(np.diag(logits[0]), None, "identity")], loss="softmax_cross_entropy",
        inputs=np.ones((1, classes)), targets=label, rate=0.1,
    )  # fmt: skip
    e = np.exp(logits - logits.max())
    slope = FORMATS[dtype].round(e / e.sum() - (np.arange(classes) == 3))

    def verdict(got: Any) -> str:
        return str(step(reporting({"z1": logits, "a1": logits, "dE/da1": got}), case, dtype, "dE/da1").verdict)

    assert verdict(slope) == "conforms"
    for wrong in (slope * 2.0**10, -slope, slope * 0):
        assert verdict(wrong) == "deviates"


@pytest.mark.parametrize("rows", [2000, 5000])
def test_nothing_stays_unasked_because_there_are_too_many_of_it(rows: int) -> None:
    z = np.full((rows, 1), -12.0)
    a = np.full((rows, 1), float(FORMATS["float16"].round(1 / (1 + math.exp(12.0)))))
    right = step(reporting({"z1": z, "a1": a}), neuron("sigmoid", z[:, 0]), "float16", "a1")
    assert right.verdict == "vacuous", "6e-6 is subnormal there, and may be flushed"
    a[-1] = 0.5
    assert step(reporting({"z1": z, "a1": a}), neuron("sigmoid", z[:, 0]), "float16", "a1").verdict == "deviates"


def _deep() -> Any:
    random = np.random.default_rng(0)
    width = 32
    layers = [(random.normal(size=(width, width)) / np.sqrt(width), np.zeros(width), "tanh") for _ in range(9)]
    return gc.network_case(
        "field/deep", layers=layers, inputs=random.normal(size=(4, width)), targets=random.normal(size=(4, width)),
        rate=0.1,
    )  # fmt: skip


class Spoilt:
    """PyTorch's answer with its plain part spoilt; the trace stays right."""

    name = "spoilt"
    routes = (Route("eager"),)

    def __init__(self, spoil: Callable[[Point, Answer], Answer]) -> None:
        self.spoil = spoil

    def answer(self, point: Point, route: str) -> Answer:
        from gradconform.adapters.on_torch import adapter

        return self.spoil(point, adapter.answer(point, "eager"))


def _no_gradient(point: Point, answer: Answer) -> Answer:
    assert answer.gradient is not None
    zeros = {n: np.zeros_like(v) for n, v in answer.gradient.items()}
    return Answer(answer.loss, zeros, answer.updated, answer.trace)


def _ascent(point: Point, answer: Answer) -> Answer:
    assert answer.gradient is not None
    updated = {n: (point.values[n] + point.rate * g).astype(g.dtype) for n, g in answer.gradient.items()}
    return Answer(answer.loss, answer.gradient, updated, answer.trace)


@cache
def _of_right_answers(dtype: str) -> Any:
    return gc.check(Spoilt(lambda point, answer: answer), _deep(), dtype=dtype)


@pytest.mark.parametrize("spoil", [_no_gradient, _ascent])
def test_a_right_trace_does_not_excuse_a_wrong_plain_answer(spoil: Callable[[Point, Answer], Answer]) -> None:
    pytest.importorskip("torch")
    rows = gc.check(Spoilt(spoil), _deep(), dtype="float32")
    assert set(rows[rows.level == "whole"].verdict) >= {"vacuous"}, "the whole level cannot tell"
    assert (rows[rows.level == "step"].verdict == "deviates").any()
    assert not _of_right_answers("float32").verdict.isin(["deviates", "undecided"]).any()


@pytest.mark.parametrize("dtype", list(FORMATS))
def test_the_documents_own_formula_differentiated_as_written_conforms(dtype: str) -> None:
    """σ'(z) as autograd makes it of 1/(1 + e^−z): g·r²·e^−z."""
    target = FORMATS[dtype]
    for z in (-3.0, -0.5, 0.25, 2.0, 4.5):
        e = target.round(np.exp(-z))
        r = target.round(1 / target.round(1 + e))
        got = target.round(target.round(target.round(r * r)) * e)
        assert slope_row("sigmoid", dtype, z, float(got), a=float(r)).verdict == "conforms"


def test_where_the_documents_own_formula_overflows_the_nan_is_said_to_be_that() -> None:
    row = slope_row("sigmoid", "float16", -12.0, math.nan, a=0.0)
    assert (row.formula, row.execution, row.verdict) == ("right", "overflow", "out of range")


def test_a_threshold_is_an_approximation_and_many_rows_at_it_are_decided() -> None:
    z = np.tile(np.linspace(21.0, 36.0, 1100), (8, 1)).reshape(-1, 1)
    case = neuron("softplus", z[:, 0])
    row = step(reporting({"z1": z, "a1": z}), case, "float64", "a1")
    assert (row.verdict, row.formula) == ("conforms", "right")
    assert "identity above 20" in row.reason
    assert row.max_ulp > 0, "its error is shown"


def test_a_weight_of_1e_minus_300_leaves_nothing_undecided() -> None:
    pytest.importorskip("torch")
    random = np.random.default_rng(0)
    first = random.normal(size=(128, 128)) / 11
    first[3, 5] = 1e-300
    case = gc.network_case(
        "field/tiny", layers=[(first, None, "tanh"), (random.normal(size=(3, 128)) / 11, None, "identity")],
        inputs=random.normal(size=(32, 128)), targets=random.normal(size=(32, 3)), rate=0.1,
    )  # fmt: skip
    assert set(gc.check("torch/eager", case, dtype="float64").verdict) == {"conforms"}


def test_a_trace_with_forward_values_only_is_judged_as_far_as_it_goes() -> None:
    pytest.importorskip("torch")

    def forward_only(point: Point, answer: Answer) -> Answer:
        assert answer.trace is not None
        return Answer(answer.loss, answer.gradient, answer.updated, Trace(answer.trace.values, {}, {}, {}))

    rows = gc.check(Spoilt(forward_only), neuron("tanh", [0.5, 1.0]), dtype="float32")
    assert set(rows.verdict) == {"conforms"}
    assert {"z1", "a1", "E", "W1_new"} == set(rows[rows.level == "step"].quantity)


def test_the_truth_of_a_slope_beside_a_kink_is_that_sides() -> None:
    """relu at z = 2^−7 in float16, where the ball of z reaches over 0 and z itself does not."""
    pytest.importorskip("torch")
    case = gc.network_case(
        "field/beside", layers=[([[1.0, 1.0]], None, "relu"), ([[1.5]], [0.0], "identity")],
        inputs=[[1.0, -0.9921875]], targets=[[-2.0]], rate=0.1,
    )  # fmt: skip
    rows = gc.check("torch/eager", case, dtype="float16")
    assert not rows[rows.level == "whole"].truth.str.startswith("[").any()
    whole: pd.Series[Any] = rows[(rows.level == "whole") & (rows.quantity == "dE/dW1")].iloc[0]
    assert float(whole.error_ulp) < 1


def test_the_word_and_the_number_agree() -> None:
    pytest.importorskip("torch")
    for dtype in ("float32", "bfloat16"):
        rows = _of_right_answers(dtype)
        assert {"conforms", "vacuous"} <= set(rows.verdict)
        certified = rows.certified_bits.fillna(math.inf)
        assert (certified[rows.verdict == "conforms"] > 0).all()
        assert (certified[rows.verdict.isin(["vacuous", "ill-conditioned"])] <= 0).all()


@pytest.mark.parametrize(
    ("gradient", "verdict"),
    [([0.0, 0.0], "conforms"), ([-0.3, -0.7], "conforms"), ([-0.15, -0.1], "conforms"), ([-0.31, 0.0], "deviates")],
)
def test_a_whole_gradient_through_a_kink_is_a_set(gradient: list[float], verdict: str) -> None:
    """relu at 0 under a loss with the slope −1: ∂E/∂W1 is anything from −x to 0, and the set is printed."""
    layers = [([[0.0, 0.0]], [0.0], "relu"), ([[1.0]], None, "identity")]
    case = gc.network_case("field/dead", layers=layers, loss="l1", inputs=[[0.3, 0.7]], targets=[[1.0]], rate=0.5)
    found = {"W1": np.array([gradient]), "b1": np.array([0.0]), "W2": np.array([[0.0]])}
    rows = _judged(reporting({}, loss=1.0, gradient=found), case, "float64")
    row = rows[(rows.level == "whole") & (rows.quantity == "dE/dW1")].iloc[0]
    assert row.verdict == verdict
    if verdict == "conforms":
        assert (row.formula, row.max_ulp) == ("kink", 0.0)
        assert row.truth.startswith("[-0.")
        assert row.truth.endswith(", 0]")


@pytest.mark.parametrize(("do1", "verdict"), [(None, "lost"), (0.0, "conforms")])
def test_a_gradient_through_a_saturated_output_is_true_to_the_slope_or_to_the_adjoint_that_was_reported(
    do1: float | None, verdict: str
) -> None:
    """∂E/∂w5 = (a − t)·a(1 − a)·a_h1 at a = σ(75.1) = 1: 0 loses all digits of 3.33e-33, and is right of ∂E/∂o1 = 0."""
    case = gc.document_case(
        "field/saturated", weights=[0.1, 0.2, 0.3, 0.4, 60, 60, 0.5, 0.6], inputs=(1, 1), targets=(0.2, 0.9), rate=0.5
    )
    a_h1 = 0.574442516811659
    trace = Trace({"o1": 75.1, "a_o1": 1.0, "a_h1": a_h1}, {} if do1 is None else {"o1": do1}, {"w5": 0.0}, {})
    adapter = SimpleNamespace(name="written", routes=(Route("out"),), answer=lambda *_: Answer(None, None, None, trace))
    row = step(adapter, case, "float64", "dE_total/dw5")
    assert row.verdict == verdict
    assert float(row.truth) == pytest.approx(0.8 * a_h1 * math.exp(-75.1) if do1 is None else 0.0, rel=1e-9)


@pytest.mark.parametrize("z", [690.0, 700.0])
def test_a_0_that_an_overflow_leads_to_keeps_none_of_the_digits_that_its_form_keeps_elsewhere(z: float) -> None:
    """e^z/(1 + e^z)² is 0 where (1 + e^z)² is infinite: that program's own, and all of σ'(700) = 9.86e-305 is lost."""
    row = slope_row("sigmoid", "float64", z, 0.0)
    assert (row.verdict, row.certified_bits) == ("lost", 0.0)
    assert "keeps" in row.reason
    assert slope_row("sigmoid", "float64", z, float(row.truth)).verdict == "conforms"


@pytest.mark.parametrize(
    ("dtype", "z"), [("float32", 1e13), ("float32", 1000.0), ("float16", 200.0), ("bfloat16", 300.0)]
)
def test_a_slope_in_a_tail_is_certified_by_what_its_allowance_says(dtype: str, z: float) -> None:
    """gelu_tanh' is 1 there; f'' is a difference of huge numbers that double words do not tell from 0."""
    right = slope_row("gelu_tanh", dtype, z, 1.0)
    assert right.verdict == "conforms"
    assert right.certified_bits == pytest.approx(-math.log2(right.allowance), abs=0.1)
    assert slope_row("gelu_tanh", dtype, z, 3.0 if dtype == "float32" and z < 1e6 else 1e-3).verdict != "conforms"


def test_half_of_a_slope_is_lost_where_another_form_keeps_it() -> None:
    row = slope_row("mish", "float32", 1e6, 0.5)
    assert row.verdict == "lost"
    assert "keeps 19 bits" in row.reason


def test_a_program_whose_exponential_is_beyond_every_format_gives_1_or_minus_1() -> None:
    assert value_row("tanh", "float64", -1e300, 1.0).verdict == "deviates"
    assert value_row("tanh", "float64", -1e300, -1.0).verdict == "conforms"
    assert value_row("sigmoid", "float64", -1e300, 0.5).verdict == "deviates"


def test_a_known_deviation_explains_nothing_that_has_no_step_of_its_own() -> None:
    """a1 is a little off, and known to be; loss, gradient and update are anything, and no step says where from."""
    z = array("float32", 0.5, -1.0)
    a = np.tanh(z).astype(np.float32)
    a[0] *= np.float32(1 + 2e-5)
    plain = {"loss": 12345.0, "gradient": {"W1": np.array([[777.0]])}, "updated": {"W1": np.array([[0.2231]])}}
    adapter = reporting({"z1": z, "a1": a}, **plain)
    adapter.known_deviations = [
        KnownDeviation(
            id="my-tanh", adapter="written", route="*", versions="", dtype="float32", device="*", level="step",
            operator="tanh", quantity="a1", reason="a little off", upstream="-", most_share=100.0,
        )
    ]  # fmt: skip
    case = neuron("tanh", [0.5, -1.0])
    rows = gc.check(adapter, case, dtype="float32")
    known = rows.reason.fillna("").str.startswith("known:")
    assert list(rows.quantity[known]) == ["a1"]
    assert set(rows.quantity[(rows.verdict == "deviates") & ~known]) >= {"E", "dE/dW1", "W1_new"}
