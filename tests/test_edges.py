"""Correct programs at the edges of the claim are not accused, and wrong ones there are.

Each of these was got wrong once: by a radius that was dropped, a bound that was none, or a whole tensor given up.
"""

from __future__ import annotations

import warnings
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from flint import arb

import gradconform as gc
from gradconform.adapters.contract import Answer, Point, Route, Trace
from gradconform.adapters.registry import load
from gradconform.conformance.check import step_level
from gradconform.conformance.levels.shared import step_reports
from gradconform.conformance.levels.whole_level import WholeLevel
from gradconform.reference.arithmetic.arrays import RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.ball_arrays import BallArrays
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from gradconform.reference.arithmetic.profiles import OPENCL, STRICT
from gradconform.reference.arithmetic.rounded import ANYTHING, DOUBT, Rounded, RoundedBalls
from gradconform.reference.array_judge import ADJUDICATED, CROWD, Screen, judge_array, norm
from gradconform.reference.cases import Case, derivation, point
from gradconform.reference.derivations.activations import ACTIVATIONS
from gradconform.reference.judge import Judgement

FRAMEWORKS = ("torch/module", "jax/eager")


def adapter(answer: Any, dtype: str) -> Any:
    return SimpleNamespace(name="written", routes=(Route("out", dtypes=(dtype,)),), answer=answer)


def judged(framework: Any, case: Case, dtype: str, **options: Any) -> Any:
    """Measurements by (level, quantity)."""
    if isinstance(framework, str):
        pytest.importorskip(framework.split("/")[0])
    rows = gc.check(framework, case, dtype=dtype, **options)
    return rows.set_index(["level", "quantity"])


def step(framework: str, case: Case, dtype: str, quantity: str) -> Judgement:
    """One quantity's judgement at the step level."""
    pytest.importorskip(framework.split("/")[0])
    name, route = framework.split("/")
    at = point(case, dtype)
    reported = step_reports(derivation(at.derivation), load(name).answer(at, route))
    (report,) = (r for r in reported if r.quantity == quantity)
    return step_level(at, OPENCL).judge(report)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_softmax_over_more_classes_than_the_scalar_arithmetic_is_asked_about(framework: str) -> None:
    random = np.random.default_rng(0)
    case = gc.network_case(
        "mine/vocabulary", layers=[(random.normal(size=(10_001, 4)) * 75, None, "identity")],
        loss="softmax_cross_entropy", inputs=random.normal(size=(1, 4)), targets=np.array([3]), rate=0.1,
    )  # fmt: skip
    assert step(framework, case, "float32", "dE/da1").verdict == "conforms"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_numbers_that_double_words_do_not_hold_are_judged_in_balls(framework: str) -> None:
    case = gc.network_case(
        "mine/tiny", layers=[([[0.5]], None, "identity")], inputs=[[1e-300]], targets=[[0.0]], rate=0.1
    )
    assert set(judged(framework, case, "float64").verdict) <= {"conforms", "vacuous"}


def test_a_loss_of_many_classes_with_tiny_probabilities_is_judged() -> None:
    """More numbers than balls are asked about at first, and some that double words do not hold."""
    random = np.random.default_rng(0)
    case = gc.network_case(
        "mine/classes", layers=[(random.normal(size=(100, 4)) * 60, None, "identity")], loss="softmax_cross_entropy",
        inputs=random.normal(size=(128, 4)), targets=random.integers(0, 100, 128), rate=0.1,
    )  # fmt: skip
    assert step("torch/eager", case, "float64", "E").verdict == "conforms"


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("activation", ["elu", "selu"])
@pytest.mark.parametrize("tiny", [0.0, 1e-150])
def test_a_target_that_is_met_where_the_slope_is_a_set(framework: str, activation: str, tiny: float) -> None:
    """l1's kink in a layer whose products are so small that the whole network is judged in balls."""
    case = gc.network_case(
        "mine/kinks", layers=[([[1.0, 1.0, -1.0, 0.0], [0.0, 0.0, 0.0, tiny]], None, activation)], loss="l1",
        inputs=[[0.1, 0.2, 0.3, 1e-150]], targets=[[0.0, 5.0]], rate=0.1,
    )  # fmt: skip
    assert not (judged(framework, case, "float64").verdict == "deviates").any()


def test_a_set_keeps_its_width_through_every_operation() -> None:
    ops = BallArrays(FLOAT64, STRICT)
    with precision(192):
        slopes = ops.step(ops.given([0.0]), 1, 0)  # [0, 1]
        one, zero = ops.given([1.0]), ops.given([0.0])
        for found, inside in {
            "select": (ops.select(zero, slopes, slopes), (0.0, 1.0)),
            "step": (ops.step(zero, slopes, 2), (0.0, 2.0)),
            "quotient": (slopes / one, (0.0, 1.0)),
            "square": (slopes**2, (0.0, 1.0)),
            "e^x": (ops.exp(slopes), (1.0, np.exp(1.0))),
            "recentred": (ops.recentred(slopes, one), (0.0, 1.0)),
        }.values():
            ball = found.values[0]
            assert all(ball.distance(x) <= ball.radius for x in inside)


@pytest.mark.parametrize("count", [0, 1, 300, 511])
@pytest.mark.parametrize("wrong", [False, True])
def test_a_tensor_that_is_wrong_is_not_excused_by_many_exceptional_components(count: int, wrong: bool) -> None:
    """σ(−12) in float16, where e^12 overflows, in one component, in many, in all but one."""
    half, rows = np.float16, 512
    z = np.where(np.arange(rows) < count, -12.0, 1.0)[:, None]
    case = gc.network_case(
        "mine/saturated", layers=[([[1.0]], None, "sigmoid")], loss="l1", inputs=z, targets=np.full((rows, 1), -1.0),
        rate=0.5,
    )  # fmt: skip

    def answer(point: Point, route: str) -> Answer:
        a = (1 / (1 + np.exp(-z))).astype(half)
        d, w = np.ones_like(z).astype(half), np.array([[1.0]], half)
        trace = Trace(
            {"z1": z.astype(half), "a1": a + half(0.25) if wrong else a, "E": 1.0},
            {"z1": d, "a1": d},
            {"W1": w},
            {"W1": w},
        )
        return Answer(1.0, {"W1": w}, {"W1": w}, trace)

    verdict = judged(adapter(answer, "float16"), case, "float16").loc[("step", "a1")].verdict
    assert (verdict == "deviates") == wrong
    assert wrong or verdict in ("conforms", "vacuous"), "6e-6 is subnormal there, and may be flushed"


def test_an_inner_product_summed_from_left_to_right_conforms_at_the_very_edge_of_its_bound() -> None:
    u = 2.0**-53
    x = u * (1 - 2.0**-52)
    inputs = np.array([[1 + 1541314250 * 2.0**-52, 2.0**24, x * 2.0**-24, 1, 1, 1]])
    weights = np.array([[1 - 3082627444 * 2.0**-53, x * 2.0**-24, 2.0**24, x, x, x]])

    def answer(point: Point, route: str) -> Answer:
        z = 0.0
        for a, b in zip(point.values["X"][0].tolist(), point.values["W1"][0].tolist(), strict=True):
            z = z + a * b
        return Answer(z, {"W1": inputs.copy()}, {"W1": weights - point.rate * inputs})

    case = gc.network_case(
        "mine/dot", layers=[(weights, None, "identity")], loss="l1", inputs=inputs, targets=[[0.0]], rate=0.5
    )
    loss = judged(adapter(answer, "float64"), case, "float64").loc[("whole", "E")]
    pairs = zip(inputs[0].tolist(), weights[0].tolist(), strict=True)
    exact = sum((Fraction(a) * Fraction(b) for a, b in pairs), Fraction(0))
    share = abs(Fraction(loss.value) - exact) / (6 * Fraction(u) * exact)
    assert 1 - 1e-9 < share <= 1
    assert loss.verdict == "conforms"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_dead_relu_is_decided(framework: str) -> None:
    """Frameworks take the end of the set of slopes, which double words alone do not tell from just beyond it."""
    case = gc.network_case(
        "mine/dead", layers=[([[0.0, 0.0]], [0.0], "relu"), ([[1.0]], None, "identity")], loss="l1",
        inputs=[[0.3, 0.7]], targets=[[1.0]], rate=0.1,
    )  # fmt: skip
    assert set(judged(framework, case, "float64").verdict) <= {"conforms", "vacuous"}


def test_what_a_threshold_leaves_out_is_measured_to_the_last_bit() -> None:
    """softplus(32.2) = 32.2 + 10^−14, and PyTorch says 32.2."""
    case = gc.network_case(
        "mine/threshold", layers=[([[8.208912440770286, 8.683029280195504]], None, "softplus")], loss="l1",
        inputs=[[1.9616499782162093, 1.8545385937306662]], targets=[[0.0]], rate=0.5,
    )  # fmt: skip
    assert judged("torch/module", case, "float64", profile="strict").loc[("whole", "E")].verdict == "conforms"


@pytest.mark.parametrize("scale", [1.0, 1e-170])
def test_lost_digits_are_vacuous_whatever_the_size(scale: float) -> None:
    case = gc.network_case(
        "mine/lost", layers=[([[1.0, 1.0, -1.0]], None, "identity"), ([[scale]], None, "identity")],
        loss="squared_error", inputs=[[0.1, 0.2, 0.3]], targets=[[0.0]], rate=0.5,
    )  # fmt: skip
    assert judged("torch/module", case, "float64").loc[("whole", "dE/dW2")].verdict == "vacuous"


@pytest.mark.parametrize("scale", [1.0, 1e160, 1e172])
def test_certified_bits_do_not_depend_on_the_size(scale: float) -> None:
    case = gc.network_case(
        "mine/large", layers=[([[scale]], None, "identity")], loss="l1", inputs=[[1.5]], targets=[[0.0]], rate=0.5
    )
    loss = judged("torch/module", case, "float64").loc[("whole", "E")]
    assert loss.verdict == "conforms"
    assert 50 < loss.certified_bits < 54


@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e-200, 1e200, 1e300])
def test_a_norm_neither_overflows_nor_underflows(scale: float) -> None:
    assert norm(np.array([[3.0, 0.0], [0.0, -4.0]]) * scale) == pytest.approx(5 * scale, rel=1e-15)
    assert norm(np.zeros(3)) == 0


@pytest.mark.parametrize("company", [False, True])
def test_a_slope_beyond_a_kinks_set_deviates_alone_and_in_company(company: bool) -> None:
    single = np.float32
    ulp = single(2.0**-23)
    adjoint = np.array([[single(2) - ulp, single(2)]], single)
    case = gc.network_case(
        "mine/beyond", layers=[([[0.0], [1.0]], None, "relu")], inputs=[[1.0]],
        targets=[[-float(adjoint[0, 0]), -1.0]], rate=0.5,
    )  # fmt: skip
    dz = np.array([[single(2), single(2) - ulp if company else single(2)]], single)

    def answer(point: Point, route: str) -> Answer:
        z, slope = np.array([[0, 1]], single), dz.T.copy()
        new = point.values["W1"].astype(single) - single(point.rate) * slope
        loss = float((single(0.5) * adjoint * adjoint).sum())
        trace = Trace({"z1": z, "a1": z, "E": loss}, {"z1": dz, "a1": adjoint}, {"W1": slope}, {"W1": new})
        return Answer(loss, {"W1": slope}, {"W1": new}, trace)

    found = judged(adapter(answer, "float32"), case, "float32").loc[("step", "dE/dz1")]
    assert (found.verdict, found.worst_index) == ("deviates", "0,0")


@pytest.mark.parametrize("target", [FLOAT32, BFLOAT16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("k", [64, 4096])
def test_what_the_screens_own_rounding_may_hide_is_adjudicated(k: int, target: Format) -> None:
    """Radii are computed in float32 and enlarged for it: a share below the limit is below 1 of the exact allowance."""
    random = np.random.default_rng(k)
    ops, balls = RoundedArrays(target, OPENCL), RoundedBalls(target, OPENCL)
    a, b = (target.round(random.normal(size=s)).astype(np.float32) for s in ((3, k), (k, 2)))
    found = ops.given(a) @ ops.given(b)
    screen = Screen("a·b", target, (3, 2))
    screen.add(target.round(a.astype(float) @ b.astype(float)).astype(np.float32), found, 0, found)
    with precision(192):
        for i, j in np.ndindex(3, 2):
            exact = balls.dot_of_numbers(a[i].astype(float), b[:, j].astype(float)).radius
            assert float(found.radii()[i, j]) * screen.limit <= exact.upper()


class _Everywhere:
    """An adjudicator by which every component is the same."""

    def __init__(self, value: Rounded) -> None:
        self.value = value

    def outcomes(self, form: str, index: Any) -> tuple[Rounded, ...]:
        return (self.value,)

    def truth(self, index: Any) -> Rounded:
        return self.value

    def broken(self, index: Any) -> bool:
        return False


@pytest.mark.parametrize(("count", "reason"), [(ADJUDICATED, None), (ADJUDICATED + 1, CROWD)])
def test_more_components_at_the_edge_than_are_tried_leave_a_tensor_undecided(count: int, reason: str | None) -> None:
    """The error is 1 − 2^−20 of the allowance in each: too near for the screen to tell, and inside."""
    ops, balls = RoundedArrays(FLOAT32, OPENCL), RoundedBalls(FLOAT32, OPENCL)
    got = np.full(count, 4 + (1 - 2.0**-20), np.float32)
    screen = Screen("x", FLOAT32, got.shape)
    value = RoundedArray(ops, np.full(count, 4.0), np.ones(count))
    screen.add(got, value, 0, value)
    found = judge_array(got, [screen], FLOAT32, _Everywhere(Rounded(balls, arb(4), arb(1))))
    assert (found.verdict, found.reason) == ("undecided" if reason else "conforms", reason)


def test_the_bound_of_a_product_holds_for_subnormal_factors() -> None:
    arrays, balls = RoundedArrays(FLOAT32, OPENCL), RoundedBalls(FLOAT32, OPENCL)
    x, y = 2.99609375 * 2.0**-126, 2.0**60
    with precision(192):
        found = arrays.reported(np.array([[x]])) @ arrays.given(np.array([[y]]))
        expected = balls.dot([balls.reported(x)], [balls.given(y)])
        assert found.radii()[0, 0] >= float(expected.radius.lower())


def test_a_row_with_an_unknown_component_leaves_the_others_known() -> None:
    ops = RoundedArrays(FLOAT32, OPENCL)
    found = ops.row_maximum(ops.given(np.array([[1.0, np.inf], [1.0, 2.0]])))
    assert found.specials is not None
    assert found.specials.ravel().tolist() == [ANYTHING, 0]


@pytest.mark.parametrize(
    ("dtype", "big"), [("float32", 1e18), ("float32", 1e20), ("float64", 1e200), ("bfloat16", 1e20)]
)
def test_a_row_that_overflows_does_not_excuse_another(dtype: str, big: float) -> None:
    """x·w overflows in the first row of the batch; the sign of the second is wrong."""
    torch = pytest.importorskip("gradconform.adapters.on_torch").adapter
    case = gc.network_case(
        "mine/hidden", layers=[([[big]], None, "identity")], loss="l1", inputs=[[big], [1.0], [2.0]],
        targets=np.zeros((3, 1)), rate=0.5,
    )  # fmt: skip

    class Answering:
        name = "answering"
        routes = (Route("eager"),)

        def __init__(self, sign: float) -> None:
            self.sign = sign

        def answer(self, point: Point, route: str) -> Answer:
            answer = torch.answer(point, "eager")
            answer.trace.values["z1"][1] *= self.sign
            return answer  # type: ignore[no-any-return]

    for sign in (1.0, -1.0):
        found = judged(Answering(sign), case, dtype).loc[("step", "z1")]
        assert (found.verdict == "deviates") == (sign < 0)
        assert sign > 0 or found.worst_index == "1,0"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_logits_of_which_float64_does_not_hold_the_square_are_judged(framework: str) -> None:
    case = gc.network_case(
        "mine/logits", layers=[([[1e200]], None, "identity")], loss="binary_cross_entropy_with_logits",
        inputs=[[1.0]], targets=[[1.0]], rate=0.1,
    )  # fmt: skip
    assert set(judged(framework, case, "float64").verdict) <= {"conforms", "vacuous", "ill-conditioned", "out of range"}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_tie_in_every_row_of_a_batch_is_decided(framework: str) -> None:
    """1 + 2⁻²⁴ is half way between two numbers: its rounding takes all of the allowance."""
    case = gc.network_case(
        "mine/ties", layers=[([[1.0]], None, "identity")], inputs=np.ones((200, 1)),
        targets=np.full((200, 1), -(2.0**-24)), rate=0.5,
    )  # fmt: skip
    assert judged(framework, case, "float32").loc[("step", "dE/da1")].verdict == "conforms"


@pytest.mark.parametrize(("weight", "inputs", "steps"), [(0.5, 1e-300, 3), (0.1, 10.0, 300)])
def test_training_beyond_double_words_says_nothing_of_the_drift(weight: float, inputs: float, steps: int) -> None:
    pytest.importorskip("torch")
    case = gc.network_case(
        "mine/diverging", layers=[([[weight]], None, "identity")], loss="squared_error", inputs=[[inputs]],
        targets=[[1.0]], rate=0.1,
    )  # fmt: skip
    rows = gc.train("torch/module", case, steps=steps)
    assert rows.step.max() == steps - 1
    assert np.isnan(rows[rows.step == steps - 1].drift.astype(float)).all()


def test_a_negative_rate_is_unsupported_where_a_framework_refuses_it() -> None:
    pytest.importorskip("torch")
    case = gc.document_case("mine/up", weights=[0.5] * 8, inputs=(1, 1), targets=(0.1, 0.9), rate=-0.1)
    rows = gc.check("torch/eager", case)
    assert list(rows.verdict) == ["unsupported"]
    assert rows.reason[0].startswith("rate: torch.optim.SGD refuses")


def test_jaxs_quotient_of_a_softmax_is_differentiated_as_written() -> None:
    """By e(g/s − Σgs⁻²e), which rounds more than the rule for softmax that JAX has switched off."""
    case = gc.network_case(
        "mine/softmax", layers=[([[-1.02], [-1.78]], None, "softmax")], inputs=[[1.0], [0.5], [0.25], [2.0]],
        targets=np.ones((4, 2)), rate=0.1,
    )  # fmt: skip
    found = judged("jax/eager", case, "float16").loc[("step", "dE/dz1")]
    assert found.verdict == "conforms"
    assert found.accepted_form == "e(g/s-Σgs⁻²e)"


def as_jax_writes_it(z: Any, g: Any) -> tuple[Any, Any]:
    """A softmax and its derivative, e(g/s − Σgs⁻²e), every operation rounded to the arrays' own type."""
    kind = z.dtype.type
    with np.errstate(all="ignore"):
        e = np.exp((z - z.max(axis=1, keepdims=True)).astype(np.float64)).astype(kind)
        s = e.sum(axis=1, keepdims=True, dtype=kind)
        rest = -(g * (kind(1) / (s * s)) * e).sum(axis=1, keepdims=True, dtype=kind)
        return e / s, e * (g / s + rest)


def shares_of_jaxs_form(target: Format, z: Any, g: Any) -> Any:
    """What that program's results take of the form's allowance, under the strict profile."""
    form = next(f for f in ACTIVATIONS["softmax"].backward if f.name == "e(g/s-Σgs⁻²e)")
    a, got = as_jax_writes_it(z, g)
    ops = RoundedArrays(target, STRICT, exact=True)
    value = form.formula(ops, ops.given(g.astype(np.float64)), ops.given(a.astype(np.float64)))
    assert value.specials is None or not (value.specials & ~np.uint8(DOUBT)).any()
    error, radius = ops.mids.distance(got.astype(np.float64), value.mid), value.radii()
    return np.where(error > 0, error / np.where(radius > 0, radius, np.nan), 0.0)


@pytest.mark.parametrize(
    ("kind", "target"), [(np.float16, FLOAT16), (np.float32, FLOAT32), (np.float64, FLOAT64)], ids=lambda x: str(x)
)
def test_a_softmax_differentiated_as_written_conforms_whatever_the_row(kind: Any, target: Format) -> None:
    random = np.random.default_rng(5)
    for classes in (2, 3, 11):
        for spread in (0.1, 3.0, min(-target.emin * 0.6, 60.0)):
            z = (random.normal(size=(40, classes)) * spread).astype(kind)
            g = random.normal(size=(40, classes)).astype(kind)
            assert shares_of_jaxs_form(target, z, g).max() <= 1


@pytest.mark.parametrize(
    ("classes", "bottom", "sharp"), [(300, 0.0, 0.0), (200, 0.0, 0.02), (20, -9.5, 0.2)],
    ids=["s² overflows", "s⁻² is subnormal", "a is subnormal, and e is not"],
)  # fmt: skip
def test_a_softmax_differentiated_as_written_conforms_where_its_operands_lose_digits(
    classes: int, bottom: float, sharp: float
) -> None:
    """And not by an allowance out of all proportion: the program takes a part of it, as long as s² is a number."""
    random = np.random.default_rng(5)
    # Where s² overflows every element is the scalar arithmetic's: fewer of them.
    z = random.uniform(-0.01, 0.0, size=(400 if sharp else 30, classes)).astype(np.float16)
    z[:, -1] += np.float16(bottom)
    g = random.normal(size=z.shape).astype(np.float16)
    if bottom:  # nothing but the last component's own term, large: roundings of a sum or of the result hide nothing
        g *= 1000
        g[:, :-1] = 0.0
    share = shares_of_jaxs_form(FLOAT16, z, g)
    assert sharp <= share.max() <= 1


@pytest.mark.parametrize(
    ("z", "dtype"),
    [([0, 0, -16.6], "float16"), ([0, -1.6, -87.2], "float32"), ([0, -1.6, -87.25], "float32"),
     ([0, -1.6, -708.3], "float64")],
)  # fmt: skip
def test_a_probability_that_underflows_is_still_the_quotient_of_a_number(z: list[float], dtype: str) -> None:
    """a = e/s is 0 where e is not, and JAX goes on from e."""
    case = gc.network_case(
        "mine/under", layers=[(np.array(z)[:, None], None, "softmax")], inputs=[[1.0]], targets=[[0.0, 0.0, 1.0]],
        rate=0.5,
    )  # fmt: skip
    rows = judged("jax/eager", case, dtype)
    assert not rows.verdict.isin(["deviates", "undecided"]).any()


@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16, FLOAT32], ids=lambda f: f.name)
@pytest.mark.parametrize("classes", [10, 30])
def test_no_form_of_a_softmax_lets_a_wrong_derivative_through(dtype: Format, classes: int) -> None:
    """Thirty classes make g·s⁻² subnormal in float16: were it flushed, the sum's terms would be lost."""
    random = np.random.default_rng(3)
    a = dtype.round(random.dirichlet(np.full(classes, 3.0), size=4))
    g = dtype.round((1 + 0.1 * random.normal(size=a.shape)) / classes)
    total = (g * a).sum(axis=1, keepdims=True)
    ops = RoundedArrays(dtype, OPENCL, exact=True)
    for form in ACTIVATIONS["softmax"].backward:
        value = form.formula(ops, ops.given(g), ops.given(a))
        for wrong in (g * a, (g + total) * a, (g - total[::-1] * 1.5) * a):
            assert (ops.mids.distance(dtype.round(wrong), value.mid) > value.radii()).any(), form.name


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_probability_of_hundreds_of_bfloat16_classes_is_at_least_from_0_to_1(framework: str) -> None:
    """A sum of 300 terms in bfloat16 may have lost all its digits; its parts have not lost that they are parts.

    Accumulated in float32, as the frameworks do it, it has lost none, and that is what is certified.
    """
    case = gc.network_case(
        "mine/classes", layers=[(np.linspace(-1, 1, 300)[:, None], None, "softmax")], inputs=[[1.0]],
        targets=np.eye(300)[:1], rate=0.1,
    )  # fmt: skip
    assert judged(framework, case, "bfloat16").loc[("step", "a1")].verdict == "conforms"
    for arithmetic in (RoundedArrays(BFLOAT16, OPENCL), BallArrays(BFLOAT16, OPENCL)):
        value = ACTIVATIONS["softmax"].forward[0].formula(arithmetic, arithmetic.given(np.linspace(-1, 1, 300)[None]))
        if isinstance(value, RoundedArray):
            assert value.specials is None
            reach = value.high + value.radii()
        else:
            assert not any(x.specials for x in value.values.ravel())
            reach = np.array([float((x.exact + x.radius).upper()) for x in value.values.ravel()])
        e = np.exp(np.linspace(-1, 1, 300))
        # A sum is no less than its largest term, in whatever order.
        assert (reach >= e / e.sum()).all()
        assert (reach < 1.03 * e / e.max()).all()


def test_many_classes_with_one_beyond_double_words_are_judged_in_balls() -> None:
    pytest.importorskip("torch")
    weights = np.zeros((100, 1))
    weights[-1] = -690.0
    case = gc.network_case(
        "mine/tail", layers=[(weights, None, "softmax")], reduction="mean", inputs=np.ones((50, 1)),
        targets=np.eye(100)[np.zeros(50, int)], rate=0.1,
    )  # fmt: skip
    # A tensor is measured as a whole, by balls too: what components of 4·10⁻³⁰⁶ have lost is nothing of that.
    assert judged("torch/module", case, "float64").loc[("step", "dE/dz1")].verdict == "conforms"


@pytest.mark.parametrize(("few", "form"), [(0, "sharpest"), (64, "program 1")], ids=["arrays", "balls"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_slope_nearer_to_1_than_any_digits_of_first_precision_is_decided(
    dtype: str, few: int, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """softplus'(262) = 1 − 10^−114; above 20 PyTorch takes 1, and its allowance is just that difference: balls never
    decide that, and ask the next program."""
    monkeypatch.setattr("gradconform.conformance.levels.whole_level.FEW", few)
    case = gc.network_case(
        "mine/near-one", layers=[([[262.0]], [0.0], "softplus")], loss="l1", reduction="sum", inputs=[[1.0]],
        targets=[[0.0]], rate=0.5,
    )  # fmt: skip
    whole = WholeLevel(point(case, dtype), STRICT)
    judgement = whole.judge("dE/db1", np.array([1.0], dtype))
    assert (judgement.verdict, judgement.accepted_form) == ("conforms", form)
    sharpest = judgement.allowance == pytest.approx(np.exp(-262.0), rel=1e-5, abs=0)
    assert sharpest == (form == "sharpest")
    assert whole.judge("dE/db1", np.array([-1.0], dtype)).verdict == "deviates"


def test_pytorchs_slope_of_softplus_is_the_adjoint_itself_above_20() -> None:
    ops = BallArrays(FLOAT64, STRICT)
    form = next(f for f in ACTIVATIONS["softplus"].backward if "above 20" in f.name)
    with precision(192):
        ball = form.formula(ops, ops.given([0.75]), ops.given([24.0])).values[0]
        assert ball.distance(0.75) <= ball.radius
        assert ball.distance(0.75 * (1 - 2.0**-30)) > ball.radius


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_callers_floating_point_errors_do_not_stop_a_judgement(dtype: str) -> None:
    pytest.importorskip("torch")
    case = gc.network_case(
        "mine/far", layers=[([[1e30], [1e-30]], None, "softplus"), ([[1.0, 1.0]], None, "softmax")], inputs=[[1e7]],
        targets=[[1.0]], rate=0.1,
    )  # fmt: skip
    with np.errstate(all="raise"), warnings.catch_warnings(action="error"):
        found = gc.check("torch/module", case, dtype=dtype)
    assert found.equals(gc.check("torch/module", case, dtype=dtype))
    assert not found.verdict.isin(["deviates", "crashed", "undecided"]).any()
