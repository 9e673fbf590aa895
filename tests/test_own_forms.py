"""An adapter's own forms: proved before they are used, named where they are what accepts, no excuse for a fault."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import mpmath
import numpy as np
import pytest
from flint import arb
from tests_support import WRONG_ADAPTERS, Cli, Scripted, benchmark

import gradconform as gc
from gradconform.adapters import registry
from gradconform.adapters.contract import Form, decimal_constant
from gradconform.conformance.own_forms import NAMED, own_forms
from gradconform.reference.arithmetic.arrays import RoundedArrays
from gradconform.reference.arithmetic.ball_arrays import BallArrays
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, Format
from gradconform.reference.arithmetic.profiles import OPENCL, STRICT, Profile
from gradconform.reference.arithmetic.rounded import ANYTHING, NAN, POSITIVE, Rounded, RoundedBalls
from gradconform.reference.cases import BadInput, Case
from gradconform.reference.condition import Dual, Duals
from gradconform.reference.derivations.activations import ACTIVATIONS
from gradconform.reference.derivations.losses import LOSSES
from gradconform.reference.judge import decision
from gradconform.reference.outcomes import Special, outcomes

passes = benchmark("correct_pass")

HIPS = Form("g/cosh²(z)", ("g", "z"), lambda ops, g, z: g / ops.cosh(z) ** 2, "autograd/numpy/numpy_vjps.py, tanh")
EXPANDED = Form("½(a²-2at+t²)", ("a", "t"), lambda ops, a, t: 0.5 * (a**2 - 2 * (a * t) + t**2), "the binomial formula")


class Own(passes.ByProgram):  # type: ignore[misc, name-defined]
    """A pass by hand that brings forms."""

    def __init__(self, forms: Any, factor: float = 1.0, **formulas: Any) -> None:
        super().__init__(passes.Program("own", **formulas))
        self.forms = forms


def by_cosh(factor: float = 1.0) -> dict[str, Any]:
    return {"backwards": {"tanh": lambda f, g, z, a: f.number(factor) * g / f.cosh(z) ** 2}}


def neuron(activation: str, inputs: Sequence[float], loss: str = "half_squared_error", target: float = 0.25) -> Case:
    return gc.network_case(
        "mine/neuron", layers=[([[1.0]], None, activation)], inputs=[[x] for x in inputs],
        targets=[[target] for _ in inputs], loss=loss, reduction="mean", rate=0.125,
    )  # fmt: skip


def step(adapter: Any, case: Case, quantity: str, dtype: str = "float64") -> Any:
    rows = gc.check(adapter, case, dtype=dtype)
    return rows[(rows.quantity == quantity) & (rows.level == "step")].iloc[0]


# What a form does for its adapter -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_tanh_by_cosh_conforms_and_is_named(dtype: str) -> None:
    saturated = [20.0, -22.0] if dtype == "float64" else [10.0, -12.0]  # 1 − a² has no digits there
    row = step(Own({"tanh'": [HIPS]}, **by_cosh()), neuron("tanh", saturated), "dE/dz1", dtype)
    assert (row.verdict, row.accepted_form) == ("conforms", "g/cosh²(z)")


def test_without_it_the_same_numbers_are_accepted_as_a_program_of_no_name() -> None:
    row = step(Own({}, **by_cosh()), neuron("tanh", [20.0, -22.0]), "dE/dz1")
    assert row.accepted_form == "g·f'(z), f' of its own"


@pytest.mark.parametrize("factor", [-1.0, 0.5, 1 + 2.0**-20])
def test_a_fault_in_the_values_deviates_all_the_same(factor: float) -> None:
    row = step(Own({"tanh'": [HIPS]}, **by_cosh(factor)), neuron("tanh", [1.0, -1.5]), "dE/dz1")
    assert row.verdict == "deviates"
    assert step(Own({"tanh'": [HIPS]}, **by_cosh()), neuron("tanh", [1.0, -1.5]), "dE/dz1").verdict == "conforms"


def test_the_whole_level_knows_what_the_form_keeps() -> None:
    def bits(forms: Any) -> float:
        rows = gc.check(Own(forms, **by_cosh()), neuron("tanh", [20.0, -22.0]))
        return float(rows[(rows.quantity == "dE/dW1") & (rows.level == "whole")].iloc[0].certified_bits)

    assert bits({"tanh'": [HIPS]}) > bits({}) + 8


CANCELLING = [8.7, 9.1, 7.3, 8.3, 9.7]


def expanded(f: Any, a: Any, t: Any, count: int) -> Any:
    half = f.number(0.5)
    return f.mean(f.total(half * (a * a - 2 * (a * t) + t * t)), count)


def test_a_loss_that_no_program_of_the_suite_rounds_so_deviates_without_its_form_and_is_named_with_it() -> None:
    case = neuron("identity", CANCELLING, target=8.0)
    plain = Own(None, losses={"half_squared_error": expanded})
    assert step(plain, case, "E", "float32").verdict == "deviates"
    brought = Own({"half_squared_error": [EXPANDED]}, losses={"half_squared_error": expanded})
    row = step(brought, case, "E", "float32")
    assert row.verdict in ("conforms", "lost")
    assert row.accepted_form == EXPANDED.name
    rows = gc.check(brought, case, dtype="float32")
    assert not (rows.verdict == "deviates").any()  # the whole level knows it, too


def test_the_slope_of_a_loss_is_shared_out_by_the_suite() -> None:
    doubled = Form("½(a-t)+½(a-t)", ("a", "t"), lambda ops, a, t: 0.5 * (a - t) + 0.5 * (a - t), "twice the half")
    own = Own({"half_squared_error'": [doubled]})
    rows = gc.check(own, neuron("tanh", [0.5, 1.0, 2.0]), dtype="float32")
    assert set(rows.verdict) == {"conforms"}


def test_an_unstable_form_says_what_to_use_instead() -> None:
    naive = Form("½(a²-2at+t²)", ("a", "t"), EXPANDED.formula, EXPANDED.source, instead="½(t-a)²")
    own = Own({"half_squared_error": [naive]}, losses={"half_squared_error": expanded})
    row = step(own, neuron("identity", CANCELLING, target=8.0), "E", "float32")
    assert row.verdict == "lost"
    assert "unstable: ½(t-a)² keeps the digits" in row.reason


def test_the_document_knows_the_forms_of_its_sigmoids() -> None:
    class Brings(Scripted):
        forms: Mapping[str, Sequence[Form]] = {
            "sigmoid": [Form("½+½·tanh(½z)", ("z",), lambda ops, z: 0.5 + 0.5 * ops.tanh(0.5 * z), "an identity")],
            "sigmoid'": [
                Form("g/(4cosh²(z/2))", ("g", "z"), lambda ops, g, z: g / (4 * ops.cosh(0.5 * z) ** 2), "an identity")
            ],
        }

    rows = gc.check(Brings(), "document/worked-example", dtype="float64")
    assert set(rows.verdict) == {"conforms"}


def test_the_sites_example_runs() -> None:
    text = (Path(__file__).parents[1] / "docs" / "site" / "frameworks.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    exec(compile(program, "frameworks.md", "exec"), {"__name__": "example"})


# Proof ----------------------------------------------------------------------------------------------------------------


def refused(forms: Any) -> str:
    with pytest.raises(BadInput) as error:
        gc.check(Own(forms, **by_cosh()), neuron("tanh", [1.0]))
    return str(error.value)


def form(formula: Any, *operands: str) -> Form:
    return Form("mine", operands, formula, "a test")


def test_a_form_that_is_not_equal_is_refused_with_the_point_and_both_values() -> None:
    said = refused({"tanh'": [form(lambda ops, g, z: g / ops.cosh(z), "g", "z")]})
    assert said.startswith("adapter 'by-hand': the form 'mine' of \"tanh'\" is not equal to g(1-a²): at z = ")
    assert ", g = " in said
    assert " it is " in said
    assert ", expected " in said


def test_a_form_that_is_off_by_one_last_place_of_float64_is_refused() -> None:
    off = form(lambda ops, g, z: (g / ops.cosh(z) ** 2) * (1 + 2.0**-52), "g", "z")
    assert "is not equal" in refused({"tanh'": [off]})


def test_a_form_that_is_equal_on_one_side_only_is_refused() -> None:
    assert "is not equal" in refused({"softplus": [form(lambda ops, z: z + ops.log1p(ops.exp(z)), "z")]})
    assert "is not equal" in refused({"l1": [form(lambda ops, a, t: a - t, "a", "t")]})
    assert "is not equal" in refused({"relu'": [form(lambda ops, g, z: g, "g", "z")]})


@pytest.mark.parametrize(
    ("forms", "says"),
    [
        ({"tanh'": [form(lambda ops, g, z: g / ops.tan(z), "g", "z")]}, "no operation 'tan'; expected one of absol"),
        ({"tanh'": [form(lambda ops, g, z: ops.derivative(z, g), "g", "z")]}, "no operation 'derivative'"),
        ({"tanh'": [form(lambda ops, g, w: g, "g", "w")]}, "reads 'w'; expected operands among g z a"),
        ({"tanh": [form(lambda ops, a: a, "a")]}, "reads 'a'; expected operands among z"),
        ({"huber": [form(lambda ops, z: z, "z")]}, "reads 'z'; expected operands among a t"),
        ({"tanh": [form(lambda ops: 1.0)]}, "reads nothing"),
        ({"tanh": [form(lambda ops, z: 1.0, "z")]}, "gives 1.0; expected"),
        ({"tanh": [form(lambda ops, z: z**3, "z")]}, "raised TypeError in float64: only the square is defined"),
        ({"tanh": [form(lambda ops, z: 1 / 0, "z")]}, "raised ZeroDivisionError in float64"),
        ({"tanh": [form(lambda ops, z: ops.tanh(z) * 0.1 / 0.1, "z")]}, "raised TypeError in float32: 0.1 is not a"),
        ({"tanh": [form(lambda ops, z: ops.log(ops.exp(-z) * 0), "z")]}, "has no value that 2048 bits would tell"),
        ({"tan'": [HIPS]}, "'tan'; did you mean 'tanh'"),
        ([HIPS], ".forms is a list; expected a mapping"),
        ({"tanh'": [HIPS.formula]}, ".forms has <function"),
        ({"tanh'": HIPS}, "asking it for its forms raised TypeError"),
        ({"tanh'": [Form("mine", "gz", HIPS.formula, "")]}, "expected a tuple of names"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_form_is_said(forms: Any, says: str) -> None:
    assert says in refused(forms)


def test_a_constant_that_no_dtype_holds_is_given_as_a_real_number() -> None:
    tenth = decimal_constant("0.1")
    ten = form(lambda ops, z: (ops.tanh(z) * ops.real(tenth)) * 10, "z")
    assert own_forms(Own({"tanh": [ten]})) == (("tanh", ten),)


def test_a_bad_form_ends_the_command_line_in_2_before_anything_runs(cli: Cli) -> None:
    done = cli("run", "-a", "wrong_adapters:misproved", "-c", "document/worked-example", env=WRONG_ADAPTERS)
    assert done.returncode == 2
    assert "the form 'g(1-a)' of \"sigmoid'\" is not equal" in done.stderr


def suite() -> list[tuple[str, Form]]:
    """Every program of the suite that claims to be equal and is written in the named operations."""
    found = []
    for name, activation in ACTIVATIONS.items():
        for key, forms in ((name, activation.forward), (f"{name}'", activation.backward)):
            # The quotient's operands are what was rounded to a.
            found += [(key, f) for f in forms if not f.approximates and f.name != "e(g/s-Σgs⁻²e)"]
    for name, loss in LOSSES.items():
        for program in loss.slope:
            of_sum = lambda ops, a, t, p=program: p.formula(ops, a, t, 1)  # noqa: E731
            if "p(" not in program.name and "Σe" not in program.name:
                found.append((f"{name}'", Form(program.name, ("a", "t"), of_sum, program.source)))
    return found


@pytest.mark.parametrize(("key", "own"), suite(), ids=lambda x: x if isinstance(x, str) else x.name)
def test_the_suites_own_programs_would_be_proved(key: str, own: Form) -> None:
    assert own_forms(Own({key: [own]})) == ((key, own),)


@pytest.mark.parametrize("own", [f for f in ACTIVATIONS["softplus"].forward if f.approximates], ids=lambda f: f.name)
def test_an_approximation_is_not_equal(own: Form) -> None:
    with pytest.raises(BadInput, match="softplus"):
        own_forms(Own({"softplus": [own]}))


def test_an_adapter_without_forms_brings_none() -> None:
    assert own_forms(registry.load("numpy")) == ()


# sinh, cosh, √ --------------------------------------------------------------------------------------------------------


def test_every_named_operation_is_in_every_arithmetic() -> None:
    for ops in (RoundedArrays(FLOAT32, OPENCL), BallArrays(FLOAT32, OPENCL), Duals(2.0**-24)):
        missing = [n for n in NAMED if not hasattr(ops, n)]
        assert not missing, type(ops).__name__


def exactly(name: str, x: float, beside: float) -> arb:
    """The function at x + beside, which need not be a float64 number, by mpmath."""
    with mpmath.workdps(120):
        return arb(str(mpmath.nstr(getattr(mpmath, name)(mpmath.mpf(x) + beside), 110)))


def worst(name: str, ball: Rounded, x: float, beside: float, target: Format, constants: Profile) -> arb:
    """How far from the centre, in radii, a program may be that holds x + beside and errs by all of K ulp."""
    bound, counted, _ = constants.bound(name, target)
    exact = exactly(name, x, beside)
    place = 2.0 ** (max(int(mpmath.floor(mpmath.log(abs(float(exact)), 2))), counted.emin) - counted.precision + 1)
    return (abs(exact - ball.exact) + bound * place) / ball.radius


@pytest.mark.parametrize("constants", [OPENCL, STRICT], ids=["opencl", "strict"])
@pytest.mark.parametrize("target", FORMATS.values(), ids=lambda f: f.name)
@pytest.mark.parametrize("name", ["sinh", "cosh", "sqrt"])
def test_what_a_program_may_hold_lies_in_the_ball(name: str, target: Format, constants: Profile) -> None:
    draw, ops, closest = Random(7), RoundedBalls(target, constants), 0.0
    with precision(320):
        for _ in range(300):
            x = float(target.round(draw.uniform(0.01, 8) * (1 if name == "sqrt" else draw.choice([1, -1]))))
            radius = draw.choice([0.0, abs(x) * 2.0**-8, abs(x) * 0.5])
            ball = getattr(ops, name)(Rounded(ops, arb(x), arb(radius)))
            for beside in (0.0, -radius, radius):
                share = float(worst(name, ball, x, beside, target, constants))
                assert share <= 1, (x, beside)
                closest = max(closest, share)
    assert closest > 0.9  # and it is no wider than it need be


def test_a_ball_that_is_too_narrow_would_be_seen() -> None:
    ops = RoundedBalls(FLOAT32, OPENCL)
    with precision(320):
        ball = ops.cosh(Rounded(ops, arb(2.0), arb(0.25)))
        narrow = Rounded(ops, ball.exact, ball.radius * 0.9)
        assert worst("cosh", narrow, 2.0, 0.25, FLOAT32, OPENCL) > 1


@pytest.mark.parametrize(
    ("target", "x"), [(FLOAT64, 711.0), (FLOAT32, 90.0), (FLOAT16, 12.0), (BFLOAT16, 90.0)], ids=lambda v: str(v)
)  # fmt: skip
def test_cosh_overflows_and_one_over_its_square_is_then_0(target: Format, x: float) -> None:
    balls = RoundedBalls(target, OPENCL)
    with precision(192):
        assert balls.cosh(balls.given(x)).specials == POSITIVE
        assert balls.sinh(balls.given(-x)).specials == 2
        found = outcomes(lambda ops: 1 / ops.cosh(ops.given(x)) ** 2, balls)
        assert decision(0.0, found) == "inside"
        assert decision(1.0, found) == "outside"


def test_of_an_infinite_argument_the_functions_are_what_ieee_says() -> None:
    balls, inf = RoundedBalls(FLOAT32, OPENCL), float("inf")
    for name, x, expected in (("cosh", -inf, inf), ("sinh", -inf, -inf), ("sqrt", inf, inf)):
        (found,) = outcomes(lambda ops, n=name, v=x: getattr(ops, n)(ops.given(v)), balls)  # type: ignore[misc]
        assert isinstance(found, Special)
        assert found.value == expected
    (found,) = outcomes(lambda ops: ops.sqrt(ops.given(-inf)), balls)
    assert np.isnan(found.value)


def test_a_root_near_0_may_be_nan_where_its_argument_may_be_negative() -> None:
    ops = RoundedBalls(FLOAT32, OPENCL)
    with precision(192):
        assert ops.sqrt(ops.given(0.0)).is_zero()
        near = ops.sqrt(Rounded(ops, arb(0.25), arb(0.5)))
        assert near.specials == NAN
        assert abs(arb(0.75).sqrt() - near.exact) <= near.radius
        assert abs(near.exact) <= near.radius
        assert ops.sqrt(ops.given(-1.0)).specials & ANYTHING


@pytest.mark.parametrize("name", ["sinh", "cosh", "sqrt"])
def test_the_condition_numbers_know_their_derivatives(name: str) -> None:
    x, h = 1.5, 1e-6
    f = getattr(np, name)
    found = getattr(Duals(2.0**-53), name)(Dual(x, 1.0))
    assert found.value == pytest.approx(f(x))
    assert float(found.slope) == pytest.approx((f(x + h) - f(x - h)) / (2 * h), rel=1e-8)


@pytest.mark.parametrize(
    ("key", "operands", "formula"),
    [
        ("tanh", ("z",), lambda ops, z: ops.select(z - 64, 0.5, ops.tanh(z))),
        ("tanh", ("z",), lambda ops, z: ops.select(ops.absolute(z) - 2.0**-7, ops.tanh(z), 0.5 * z)),
        ("relu'", ("g", "z"), lambda ops, g, z: ops.select(ops.absolute(z) - 64, 2 * g, g * ops.step(z, 1, 0))),
        ("relu'", ("g", "z"), lambda ops, g, z: g * ops.select(z, 1, ops.select(-z, 0, 7))),
    ],
)
def test_a_form_that_is_another_far_out_near_0_or_at_a_kink_is_refused(key: str, operands: Any, formula: Any) -> None:
    with pytest.raises(BadInput, match="is not equal to"):
        own_forms(Own({key: [Form("mine", operands, formula, "mine")]}))


def test_a_form_may_have_either_slope_at_a_kink() -> None:
    either = Form("g where z > 0", ("g", "z"), lambda ops, g, z: g * ops.select(z, 1, 0), "mine")
    assert own_forms(Own({"relu'": [either]}))
