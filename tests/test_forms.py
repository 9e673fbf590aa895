"""The forms of activations and losses: all of one truth, and the derivative of the value by a witness of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar

import mpmath
import numpy as np
import pytest
from flint import arb

from gradconform.reference.arithmetic.ball_arrays import BallArray, BallArrays
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import FLOAT32, FLOAT64
from gradconform.reference.arithmetic.profiles import OPENCL, STRICT
from gradconform.reference.arithmetic.rounded import Rounded
from gradconform.reference.derivations.activations import ACTIVATIONS, Activation
from gradconform.reference.derivations.losses import LOSSES, Loss, LossForm, LossFormula
from gradconform.reference.equations import Form

AnyForm = TypeVar("AnyForm", Form, LossForm)

BITS = 1200
STEP = 2.0**-200
CLOSE = 1e-90
#: Rows of pre-activations away from kinks, on both sides of every branch, and just beyond.
ROWS = [[-11.3, -0.37, 0.21], [2.6, -1.7, 13.9], [-4.4, 0.83, -0.09], [19.3, -27.5, 24.1], [1.4, -1.2, 0.6]]


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
    """Those of ∂E/∂z from the adjoint and z or a, from z alone, f' as a function of its own, and the definition."""
    activation, ops = ACTIVATIONS[name], BallArrays(FLOAT64, STRICT)
    value, slope = activation.definition
    with precision(BITS):
        z, g = pre_activations(ops), adjoints(ops)
        first = truths(activation.forward[0].formula(ops, z))
        for form in (*activation.forward[1:], *([value] if value else ())):
            distance = apart(truths(form.formula(ops, z)), first)
            assert distance < (1e-6 if form.approximates else CLOSE), form.name
        found = truths(evaluated(ops, activation.backward[0], activation, z, g))
        for form in (*activation.forms[1:], *([slope] if slope else ())):
            distance = apart(truths(evaluated(ops, form, activation, z, g)), found)
            assert distance < (1e-6 if form.approximates else CLOSE), form.name


def approximations() -> list[tuple[str, Form]]:
    return [(a.name, f) for a in ACTIVATIONS.values() for f in (*a.forward, *a.backward) if f.approximates]


@pytest.mark.parametrize(("name", "form"), approximations(), ids=[f.name for _, f in approximations()])
def test_what_approximates_is_not_the_value_beyond_its_threshold_and_is_before(name: str, form: Form) -> None:
    """Softplus and its slope: z and 1 above 20, or for TensorFlow above 34.04 in float64, and e^z below −34.04."""
    activation, ops = ACTIVATIONS[name], BallArrays(FLOAT64, STRICT)
    exact = activation.forward[0] if form in activation.forward else activation.backward[0]
    threshold = 34.0 if "threshold" in form.name else 20.0
    with precision(BITS):
        for z, close in ((threshold, True), (threshold + 0.1, False)):
            operands = {"g": ops.given([1.0]), "z": ops.given([z])}
            got, expected = (truths(f.formula(ops, *[operands[o] for o in f.operands])) for f in (form, exact))
            distance = apart(got, expected)
            assert (distance < CLOSE) == close
            assert distance < math.exp(-threshold)


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
        # Rounded probabilities do not quite add up to 1.
        rows = [[0.25, 0.25, 0.5], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.125, 0.75, 0.125], [0.25, 0.25, 0.5 + 2.0**-21]]
    elif loss.name.startswith("binary"):
        rows = [[0.25, 0.0, 1.0], [0.5, 0.75, 0.0], [1.0, 0.0, 0.125], [0.5, 0.5, 1.0], [0.0, 1.0, 0.25]]
    else:  # less and more than 1 away, on both sides
        rows = [[-10.9, 0.5, 3.0], [2.5, -1.0, 20.0], [-4.0, 9.0, 0.25], [19.0, -27.0, 24.0], [-0.1, 0.3, -3.1]]
    return np.array(rows, dtype=object)


@pytest.mark.parametrize("count", [1, 12], ids=["sum", "mean"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_their_slopes(name: str, count: int) -> None:
    loss, ops = LOSSES[name], BallArrays(FLOAT64, STRICT)
    with precision(BITS):
        a, t = pre_activations(ops), exactly(ops, targets(loss))

        def value(formula: LossFormula, x: Any) -> Any:
            return truths(formula(ops, exactly(ops, x), t, count))

        first = value(loss.value[0].formula, truths(a))
        for formula in (*(f.formula for f in loss.value[1:]), *([loss.true_value] if loss.true_value else ())):
            assert apart(value(formula, truths(a)), first) < CLOSE
        slope = witness(lambda x: value(loss.value[0].formula, x), truths(a), np.array([arb(1)], dtype=object))
        for formula in (*(f.formula for f in loss.slope), *([loss.true_slope] if loss.true_slope else ())):
            assert apart(truths(formula(ops, a, t, count)), slope) < CLOSE


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


def _selu(z: Any) -> Any:
    """The constants from their definition: mean 0 and variance 1 are a fixed point (Klambauer et al. 2017, eq. 14)."""
    m = mpmath
    c, root = m.erfc(1 / m.sqrt(2)), m.sqrt(m.e)
    alpha = -m.sqrt(2 / m.pi) / (c * root - 1)
    variance = 2 * m.erfc(m.sqrt(2)) * m.e**2 + m.pi * c**2 * m.e - 2 * (2 + m.pi) * c * root + m.pi + 2
    scale = (1 - c * root) * m.sqrt(2 * m.pi) / m.sqrt(variance)
    return scale * (z if z > 0 else alpha * m.expm1(z))


#: The activations in the words of another library, mpmath; one number, or for softmax a row.
BY_MPMATH: dict[str, Callable[[Any], Any]] = {
    "identity": lambda z: z,
    "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
    "tanh": mpmath.tanh,
    "relu": lambda z: max(z, mpmath.mpf(0)),
    "leaky_relu": lambda z: z if z > 0 else z / 100,
    "elu": lambda z: z if z > 0 else mpmath.expm1(z),
    "selu": _selu,
    "softplus": lambda z: mpmath.log(1 + mpmath.exp(z)),
    "silu": lambda z: z / (1 + mpmath.exp(-z)),
    "gelu": lambda z: z * mpmath.ncdf(z),
    "gelu_tanh": lambda z: z / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (z + mpmath.mpf("0.044715") * z**3))),
    "mish": lambda z: z * mpmath.tanh(mpmath.log(1 + mpmath.exp(z))),
    "hard_tanh": lambda z: min(max(z, mpmath.mpf(-1)), mpmath.mpf(1)),
    "softmax": lambda row: [mpmath.exp(z) / sum(map(mpmath.exp, row)) for z in row],
}


def _huber(d: Any) -> Any:
    return d**2 / 2 if abs(d) <= 1 else abs(d) - mpmath.mpf(1) / 2


def _logistic(z: Any) -> Any:
    return 1 / (1 + mpmath.exp(-z))


#: One row's loss over the output a and the targets t.
LOSSES_BY_MPMATH: dict[str, Callable[[Any, Any], Any]] = {
    "half_squared_error": lambda a, t: sum((x - y) ** 2 / 2 for x, y in zip(a, t, strict=True)),
    "squared_error": lambda a, t: sum((x - y) ** 2 for x, y in zip(a, t, strict=True)),
    "l1": lambda a, t: sum(abs(x - y) for x, y in zip(a, t, strict=True)),
    "huber": lambda a, t: sum(_huber(x - y) for x, y in zip(a, t, strict=True)),
    "binary_cross_entropy_with_logits": lambda a, t: sum(
        -y * mpmath.log(_logistic(x)) - (1 - y) * mpmath.log(_logistic(-x)) for x, y in zip(a, t, strict=True)
    ),
    "softmax_cross_entropy": lambda a, t: sum(
        -y * mpmath.log(mpmath.exp(x) / sum(map(mpmath.exp, a))) for x, y in zip(a, t, strict=True)
    ),
}


def close_to(ball: Any, x: Any) -> bool:
    """Whether an `arb` is an mpmath number to 28 digits: as many as selu's constants are printed with."""
    difference = abs(mpmath.mpf(ball.mid().str(50, radius=False)) - x)
    return bool(difference <= mpmath.mpf(10) ** -28 * max(1, abs(x)))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_are_another_librarys(name: str) -> None:
    ops = BallArrays(FLOAT64, STRICT)
    with precision(256), mpmath.workdps(60):
        found = truths(ACTIVATIONS[name].forward[0].formula(ops, pre_activations(ops)))
        for row, zs in zip(found, ROWS, strict=True):
            numbers = [mpmath.mpf(z) for z in zs]
            expected = BY_MPMATH[name](numbers) if name == "softmax" else [BY_MPMATH[name](z) for z in numbers]
            assert all(map(close_to, row, expected))


@pytest.mark.parametrize("count", [1, 12], ids=["sum", "mean"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_another_librarys(name: str, count: int) -> None:
    loss, ops = LOSSES[name], BallArrays(FLOAT64, STRICT)
    with precision(256), mpmath.workdps(60):
        t = targets(loss)
        found = truths(loss.value[0].formula(ops, pre_activations(ops), exactly(ops, t), count))
        rows = [[mpmath.mpf(x) for x in row] for row in ROWS]
        wanted = [[mpmath.mpf(float(x)) for x in row] for row in t]
        total = sum(LOSSES_BY_MPMATH[name](a, y) for a, y in zip(rows, wanted, strict=True))
        assert close_to(found.item(), total / count)


def allowances(array: BallArray) -> Any:
    """Each radius over the truth's magnitude, or over 1 if that is larger; infinite where anything is admitted."""
    return [
        np.inf if x.specials else float((x.radius + x.spread).upper()) / max(1.0, float(abs(x.exact).upper()))
        for x in array.values.ravel()
    ]


#: A few roundings of float64, times 2z² where two terms of gelu's derivative cancel.
SHARP = 2.0**-34


def steady(forms: Sequence[AnyForm]) -> list[AnyForm]:
    """The forms that are not a textbook's."""
    return [f for f in forms if not f.instead]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_form_of_an_activation_is_sharp_away_from_kinks(name: str) -> None:
    activation, ops = ACTIVATIONS[name], BallArrays(FLOAT64, STRICT)
    with precision(256):
        z, g = pre_activations(ops), adjoints(ops)
        for form in steady(activation.forward):
            assert max(allowances(form.formula(ops, z))) < SHARP, form.name
        for form in steady(activation.forms):
            assert max(allowances(evaluated(ops, form, activation, z, g))) < SHARP, form.name


@pytest.mark.parametrize("count", [1, 12], ids=["sum", "mean"])
@pytest.mark.parametrize("name", LOSSES)
def test_every_form_of_a_loss_is_sharp_away_from_kinks(name: str, count: int) -> None:
    loss, ops = LOSSES[name], BallArrays(FLOAT64, STRICT)
    with precision(256):
        a, t = pre_activations(ops), exactly(ops, targets(loss))
        for form in steady((*loss.value, *loss.slope)):
            assert max(allowances(form.formula(ops, a, t, count))) < SHARP, form.name


@pytest.mark.parametrize("name", [n for n in LOSSES if n not in ("l1", "softmax_cross_entropy")])
def test_where_the_targets_are_met_every_form_is_sharp(name: str) -> None:
    """d = 0, where a slope written as sign(d)·… has its kink and vanishes."""
    loss, ops = LOSSES[name], BallArrays(FLOAT64, STRICT)
    with precision(256):
        a = exactly(ops, np.array([[0.25, 0.5, 1.0]], dtype=object))
        for form in steady((*loss.value, *loss.slope)):
            assert max(allowances(form.formula(ops, a, a, 1))) < SHARP, form.name


def test_large_logits_overflow_in_no_form_of_a_softmax_but_those_without_the_shift() -> None:
    """e^800 is no float64: the row's largest is taken away first."""
    ops = BallArrays(FLOAT64, STRICT)
    loss, softmax = LOSSES["softmax_cross_entropy"], ACTIVATIONS["softmax"].forward
    with precision(256):
        z = exactly(ops, np.array([[800.0, 0.0, -5.0], [-900.0, -905.0, -901.0]], dtype=object))
        t = exactly(ops, np.array([[0.0, 0.5, 0.5], [0.25, 0.25, 0.5]], dtype=object))
        for form in steady(softmax):
            assert max(allowances(form.formula(ops, z))) < SHARP, form.name
        for of_loss in steady((*loss.value, *loss.slope)):
            assert max(allowances(of_loss.formula(ops, z, t, 1))) < SHARP, of_loss.name
        (textbook,) = (form for form in softmax if form.instead)
        assert np.inf in allowances(textbook.formula(ops, z))


def lost(array: BallArray, truth: Any) -> float:
    """The largest radius of an array, over the truth's magnitude; infinite where anything is admitted."""
    pairs = zip(array.values.ravel(), np.ravel(truth), strict=True)
    return max(np.inf if x.specials else float((x.radius / abs(y)).upper()) for x, y in pairs)


#: Where a textbook's program of a value or of a slope loses its digits.
LOSING = [("sigmoid", "forward", -27.5), ("sigmoid", "forms", -27.5), ("tanh", "forward", 2.0**-20),
          ("tanh", "forms", 15.0), ("softplus", "forward", -27.5)]  # fmt: skip


@pytest.mark.parametrize(("name", "which", "where"), LOSING)
def test_an_unstable_form_loses_digits_that_another_keeps(name: str, which: str, where: float) -> None:
    activation, ops = ACTIVATIONS[name], BallArrays(FLOAT64, STRICT)
    kept, textbooks = [], []
    with precision(256):
        z, g = ops.given([[where]]), ops.given([[1.0]])
        for form in getattr(activation, which):
            value = evaluated(ops, form, activation, z, g)
            (textbooks if form.instead else kept).append(lost(value, truths(value)))
    assert min(kept) < 2.0**-48
    assert all(x > 2.0**16 * min(kept) for x in textbooks)
    assert textbooks


def test_every_unstable_form_says_what_to_use_instead() -> None:
    forms = [f for a in ACTIVATIONS.values() for f in (*a.forward, *a.forms)]
    names = {f.instead for f in (*forms, *(f for loss in LOSSES.values() for f in (*loss.value, *loss.slope)))}
    assert all(name == "" or len(name) > 3 for name in names)
    assert len(names) > 5


def test_every_form_says_where_it_comes_from() -> None:
    forms = [form for a in ACTIVATIONS.values() for form in (*a.forward, *a.backward)]
    assert all(form.source != form.name and len(form.source) >= len("definition") for form in forms)


def test_a_slope_that_reads_the_output_has_the_same_source_where_that_is_computed_from_z() -> None:
    """The name of such a form ends with that of the output's; whoever wrote the slope is cited."""
    sources = {(a.name, b.name): b.source for a in ACTIVATIONS.values() for b in a.backward}
    for activation in ACTIVATIONS.values():
        for form in activation.forms:
            slope, again, _ = form.name.partition(", a from z: ")
            assert not again or form.source == sources[activation.name, slope]


@pytest.mark.parametrize(
    ("loss", "form", "targets", "least", "most"),
    [
        ("binary_cross_entropy_with_logits", "((1-t)/(1-p)-t/p)p(1-p), p=σ(z)", [0.5, 0.0], -0.25, 0.25),
        ("softmax_cross_entropy", "p(g-Σgp), g=-t/p", [0.5, 0.5], -0.25, 0.5),
        ("softmax_cross_entropy", "p(g-Σgp), p=e^z/Σe^z", [0.5, 0.5], -0.25, 0.5),
    ],
)
def test_where_a_probability_underflows_what_is_finite_of_a_slope_is_within_a_sixteenth_of_its_targets(
    loss: str, form: str, targets: list[float], least: float, most: float
) -> None:
    """−½t, nothing or what is left of ½Σt, of a mean of two, each to eight roundings: −t is no program's."""
    (slope,) = (f for f in LOSSES[loss].slope if f.name == form)
    with precision(BITS):
        ops = BallArrays(FLOAT32, OPENCL)
        found = slope.formula(ops, ops.given(np.array([[-95.0, 0.25]])), ops.given(np.array([targets])), 2).values[0]
        below, above = ([float(x.exact + side * x.radius) for x in found] for side in (-1, 1))
    sixteenth = (1 + 2.0**-4) * (1 + 2.0**-20)
    assert least * sixteenth <= below[0] < least
    assert most <= above[0] <= most * sixteenth + 2.0**-20
    right = 0.5 / (1 + math.exp(-0.25)) if loss.startswith("binary") else 0.25
    assert right - 2.0**-4 < below[1] < right < above[1] < right + 2.0**-4


def test_tensorflows_softplus_is_one_of_three_by_its_threshold() -> None:
    """log ε + 2, which is -13.94 in float32: below it e^z, and from its negative on z itself."""
    (form,) = (f for f in ACTIVATIONS["softplus"].forward if f.name == "e^z | log1p(e^z) | z by threshold")
    with precision(BITS):
        ops = BallArrays(FLOAT32, STRICT)
        z = [-14.0, -13.875, 13.875, 14.0]
        found = truths(form.formula(ops, ops.given(np.array(z))))
        of = [arb(z[0]).exp(), *[(1 + arb(x).exp()).log() for x in z[1:3]], arb(z[3])]
    assert [float(abs(a - b).upper()) < CLOSE for a, b in zip(found, of, strict=True)] == [True] * 4


def test_targets_outside_a_losss_domain_are_not_admitted() -> None:
    distribution, binary = LOSSES["softmax_cross_entropy"].admits, LOSSES["binary_cross_entropy_with_logits"].admits
    assert distribution(np.array([0.1, 0.2, 0.7]))
    assert distribution(np.array([1.0, 0.0, 9e-7]))
    for row in ([0.5, 0.5, 0.5], [0.5, 0.25, 0.2], [1.5, -0.5, 0.0], [1.0, 0.0, 2e-6]):
        assert not distribution(np.array(row))
    assert binary(np.array([0.0, 1.0, 0.5]))
    for row in ([1.001, 0.5], [0.5, -0.001]):
        assert not binary(np.array(row))
