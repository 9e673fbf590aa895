"""Products and updates held against what was got in one pass: the same as by the rules, compiled or by NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradconform.conformance.levels import step_level
from gradconform.conformance.levels.shared import Report
from gradconform.conformance.levels.step_level import StepLevel, _Evidence
from gradconform.reference.arithmetic import comparisons
from gradconform.reference.arithmetic.arrays import RoundedArrays
from gradconform.reference.arithmetic.comparisons import (
    ColumnSum,
    Comparing,
    Comparison,
    Factor,
    NumPyPasses,
    Product,
    Update,
    step_of,
)
from gradconform.reference.arithmetic.formats import FLOAT32
from gradconform.reference.arithmetic.profiles import OPENCL, profile
from gradconform.reference.array_judge import SAMPLE, Screen
from gradconform.reference.derivations.activations import ACTIVATIONS
from gradconform.reference.derivations.network import Architecture, network
from gradconform.reference.equations import Form, Formula

Array = Any
#: Relatively, what the last digits of a float64 sum make of a float32 error that is a millionth of it.
EACH = 2.0**-20
MARGIN = Screen.margin(RoundedArrays(FLOAT32, OPENCL).mids)

FORMULAS: dict[str, tuple[Formula, tuple[tuple[str, ...], ...]]] = {
    "x·Wᵀ+b": (lambda ops, x, w, b: ops.linear(x, w, b), (("rows", "terms"), ("columns", "terms"), ("columns",))),
    "x·Wᵀ": (lambda ops, x, w: ops.linear(x, w, None), (("rows", "terms"), ("columns", "terms"))),
    "zᵀ·a": (lambda ops, z, a: z.T @ a, (("terms", "rows"), ("terms", "columns"))),
    "z·W": (lambda ops, z, w: z @ w, (("rows", "terms"), ("terms", "columns"))),
    "w-ηg": (lambda ops, w, eta, g: ops.descend(w, eta, g), (("rows", "columns"), (), ("rows", "columns"))),
    "Σz": (lambda ops, z: ops.column_sum(z), (("rows", "columns"),)),
}
SIZES = {"rows": 5, "columns": 7, "terms": 3}


@pytest.fixture(params=["NumPy", "compiled"])
def by(request: pytest.FixtureRequest) -> str:
    if request.param == "compiled":
        pytest.importorskip("numba")
    return str(request.param)


def comparing(by: str, profile_name: str = "opencl") -> Comparing:
    A = RoundedArrays(FLOAT32, profile(profile_name, "torch"), sums="own")
    found = Comparing(A, comparisons.COMPILED_FROM if by == "compiled" else 0, MARGIN, SAMPLE)
    assert (found.passes is NumPyPasses) == (by == "NumPy")
    return found


def operands(name: str, seed: int = 0, sizes: dict[str, int] = SIZES) -> list[Any]:
    drawn = np.random.default_rng(seed)
    shapes = [tuple(sizes[axis] for axis in shape) for shape in FORMULAS[name][1]]
    return [drawn.normal(size=s).astype(np.float32) if s else float(np.float32(0.1)) for s in shapes]


class _Single:
    """float32 as NumPy has it."""

    @staticmethod
    def linear(x: Array, w: Array, b: Array | None) -> Array:
        return x @ w.T if b is None else x @ w.T + b

    @staticmethod
    def column_sum(z: Array) -> Array:
        return z.sum(axis=0)

    @staticmethod
    def descend(w: Array, eta: float, g: Array) -> Array:
        return w - np.float32(eta) * g


def result(name: str, of: list[Any]) -> Array:
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(FORMULAS[name][0](_Single, *of), dtype=np.float32)


def compared(one: Comparing, name: str, got: Array, of: list[Any]) -> Comparison | None:
    return one.compared(got, step_of(FORMULAS[name][0], len(of)), of)


def screened(one: Comparing, name: str, got: Array, of: list[Any]) -> Screen:
    """By the rules, array by array."""
    value = FORMULAS[name][0](one.A, *[one.A.given(x) for x in of])
    against = np.float64(of[1]) * of[2].astype(np.float64) if name == "w-ηg" else None
    screen = Screen(name, FLOAT32, got.shape)
    screen.add(got, value, 0, value, against)
    return screen


def test_a_formula_is_told_by_what_it_does_once() -> None:
    assert step_of(FORMULAS["x·Wᵀ+b"][0], 3) == Product(Factor(0), Factor(1, True), Factor(2))
    assert step_of(FORMULAS["zᵀ·a"][0], 2) == Product(Factor(0, True), Factor(1))
    assert step_of(FORMULAS["w-ηg"][0], 3) == Update(Factor(0), Factor(1), Factor(2))
    assert step_of(FORMULAS["Σz"][0], 1) == ColumnSum(Factor(0))
    assert step_of(lambda ops, eta, g: eta * g, 2) == (Factor(0), Factor(1))
    assert step_of(lambda ops, z: ops.sigmoid(z), 1) is None
    assert step_of(lambda ops, a, w: a @ w + 1, 2) is None
    assert step_of(lambda ops, a, b, w: (a * b) @ w, 3) is None


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "sizes", [SIZES, {"rows": 33, "columns": 70, "terms": 41}, {"rows": 1, "columns": 1, "terms": 1}]
)
@pytest.mark.parametrize("name", FORMULAS)
def test_what_is_right_is_compared_as_the_rules_do(name: str, sizes: dict[str, int], seed: int, by: str) -> None:
    one, of = comparing(by), operands(name, seed, sizes)
    got = result(name, of)
    found, screen = compared(one, name, got, of), screened(one, name, got, of)
    if name == "Σz" and sizes["rows"] == 1:  # of a number alone nothing is rounded
        assert found is None
        return
    assert found is not None
    assert alike(found, (screen.share, screen.worst, screen.max_ulp, screen.furthest, screen.off, screen.scale,
                         np.concatenate(screen.sample)))  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_operands_may_be_given_in_float64(name: str, by: str) -> None:
    one, of = comparing(by), operands(name, 2)
    got = result(name, of)
    found = compared(one, name, got, of)
    again = compared(one, name, got, [x.astype(np.float64) if isinstance(x, np.ndarray) else x for x in of])
    assert found is not None
    assert again is not None
    assert found[:6] == again[:6]
    assert compared(one, name, got.astype(np.float64), of) is None


@pytest.mark.parametrize("off", [False, True], ids=["right", "a unit off"])
def test_what_is_taken_from_a_weight_of_0_is_rounded_once(by: str, off: bool) -> None:
    """By the rules, by the array arithmetic's own update, and in one pass."""
    one, of = comparing(by), operands("w-ηg", 3)
    of[0][::2] = 0.0
    of[0][0, 0] = -0.0
    got = result("w-ηg", of)
    if off:
        got[2, 1] = np.nextafter(got[2, 1], np.float32(np.inf))
    found, quick = compared(one, "w-ηg", got, of), screened(one, "w-ηg", got, of)
    value = FORMULAS["w-ηg"][0](one.A, *[one.A.given(np.float64(x)) for x in of])
    rules = Screen("w-ηg", FLOAT32, got.shape)
    rules.add(got, value, 0, value)
    assert rules.share > 1 if off else rules.share <= 1
    assert quick.share == pytest.approx(rules.share, rel=2 * EACH)
    assert found is None if off else found is not None and found[0] == pytest.approx(rules.share, rel=2 * EACH)


def alike(found: Comparison, other: Any) -> bool:
    """Whether two comparisons are the same but for what BLAS rounds in another order."""
    numbers, places = (0, 2, 4, 5), (1, 3)
    near = all(found[i] == pytest.approx(other[i], rel=EACH) for i in numbers)
    return near and all(found[i] == other[i] for i in places) and np.allclose(found[6], other[6], EACH, 2.0**-24)


@pytest.mark.parametrize("name", FORMULAS)
def test_blocks_of_whatever_size_give_the_same(name: str, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    of = operands(name, 3, {"rows": 37, "columns": 53, "terms": 29})
    got = result(name, of)
    at_once = compared(comparing(by), name, got, of)
    assert at_once is not None
    for widened, block, direct in ((29 * 7, 11, 10**6), (29 * 53, 53 * 5, 10**4), (1, 1, 10**6)):
        monkeypatch.setattr(comparisons, "WIDENED", widened)
        monkeypatch.setattr(comparisons, "DIRECT", direct)
        monkeypatch.setattr(comparisons, "WORTH", 0)
        one = comparing(by)
        monkeypatch.setattr(one.passes, "BLOCK", block)
        found = compared(one, name, got, of)
        assert found is not None
        assert alike(found, at_once)


STRANGE: dict[str, Callable[[Array], Any]] = {
    "an infinity": lambda x: np.float32(np.inf),
    "a negative infinity": lambda x: np.float32(-np.inf),
    "NaN": lambda x: np.float32(np.nan),
    "a subnormal number": lambda x: np.float32(2.0**-140),
    "a huge number": lambda x: np.float32(3e38),
    "a tiny number": lambda x: np.float32(2.0**-125),
}


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("name", FORMULAS)
def test_what_is_not_ordinary_is_left_to_the_rules_or_as_they_have_it(name: str, strange: str, by: str) -> None:
    for which, shape in enumerate(FORMULAS[name][1]):
        if not shape:
            continue
        one, of = comparing(by), operands(name, which)
        of[which].reshape(-1)[-1] = STRANGE[strange](of[which])
        got = result(name, of)
        found, screen = compared(one, name, got, of), screened(one, name, got, of)
        if found is None:
            continue
        assert screen.accepts
        assert (found.share, found.worst) == pytest.approx((screen.share, screen.worst), rel=2.0**-18)
        assert (found.ulps, found.furthest) == pytest.approx((screen.max_ulp, screen.furthest), rel=EACH)


@pytest.mark.parametrize("name", FORMULAS)
def test_infinities_and_nan_are_never_taken_for_numbers(name: str, by: str) -> None:
    for strange in ("an infinity", "a negative infinity", "NaN"):
        for which, shape in enumerate(FORMULAS[name][1]):
            of = operands(name)
            right = result(name, of)
            if shape:
                of[which].reshape(-1)[0] = STRANGE[strange](of[which])
                assert compared(comparing(by), name, right, of) is None
        of, got = operands(name), right.copy()
        got.reshape(-1)[-1] = STRANGE[strange](got)
        assert compared(comparing(by), name, got, of) is None


@pytest.mark.parametrize("name", FORMULAS)
def test_the_sign_of_a_zero_is_no_matter(name: str, by: str) -> None:
    of = operands(name)
    for x in of:
        if isinstance(x, np.ndarray) and name != "w-ηg":
            x.reshape(-1)[0] = 0.0
    got = result(name, of)
    found = compared(comparing(by), name, got, of)
    for x in of:
        if isinstance(x, np.ndarray) and name != "w-ηg":
            x.reshape(-1)[0] = -0.0
    again = compared(comparing(by), name, got, of)
    assert (found is None) == (again is None) == (name == "Σz")  # a sum has a rounding less for each zero
    if found is not None and again is not None:
        assert found[:6] == again[:6]


@pytest.mark.parametrize("name", FORMULAS)
def test_a_wrong_component_is_seen_wherever_it_is(name: str, by: str) -> None:
    of = operands(name)
    right, one = result(name, of), comparing(by)
    assert compared(one, name, right, of) is not None
    screen = screened(one, name, right, of)
    for number in range(right.size):
        got = right.copy()
        got.reshape(-1)[number] += np.float32(1e-5)
        assert compared(one, name, got, of) is None
        screen = screened(one, name, got, of)
        assert screen.worst == number
        assert not screen.accepts


@pytest.mark.parametrize("name", FORMULAS)
def test_compiled_and_numpy_agree_on_numbers_of_every_size(name: str) -> None:
    pytest.importorskip("numba")
    drawn = np.random.default_rng(7)
    both: list[int] = []
    for seed in range(60):
        of = operands(name, seed)
        for x in of:
            if isinstance(x, np.ndarray):
                x *= np.exp2(drawn.integers(-20 - 2 * seed, 20 + seed // 2, x.shape)).astype(np.float32)
        got = result(name, of)
        if name != "w-ηg":  # of which one rounding may be the whole allowance
            got *= np.float32(1) + drawn.integers(-1, 2, got.shape).astype(np.float32) * np.float32(2.0**-24)
        found = [compared(comparing(by), name, got, of) for by in ("NumPy", "compiled")]
        assert (found[0] is None) == (found[1] is None)
        if found[0] is not None and found[1] is not None:
            both.append(seed)
            assert found[0][:4] == found[1][:4]
            assert found[0].sample.tolist() == found[1].sample.tolist()
            assert found[0][4:6] == pytest.approx(found[1][4:6], rel=1e-13)
    assert 5 < len(both) < 60


@pytest.mark.parametrize("flush", ["opencl", "strict"])
def test_a_subnormal_operand_is_left_to_the_rules_where_it_may_be_flushed(flush: str, by: str) -> None:
    of = operands("z·W")
    of[1][0, 0] = np.float32(2.0**-140)
    got = result("z·W", of)
    assert (compared(comparing(by, flush), "z·W", got, of) is None) == (flush == "opencl")


def level(by: str, monkeypatch: pytest.MonkeyPatch) -> tuple[StepLevel, dict[str, Array], Architecture]:
    """The step level of a layer of 40 × 24 identities and its numbers."""
    if by == "compiled":
        monkeypatch.setattr(comparisons, "COMPILED_FROM", 0)
    architecture = Architecture((24, 40), ("identity",), (True,), "half_squared_error", "sum", 6)
    drawn = np.random.default_rng(5)
    values = {n: drawn.normal(size=s).astype(np.float32) for n, s in architecture.shapes.items() if s}
    given: dict[str, Any] = {**values, "eta": float(np.float32(0.1))}
    z = values["X"] @ values["W1"].T + values["b1"]
    dz = z - values["T"]
    reported = {"z1": z, "a1": z, "dE/da1": dz, "dE/dz1": dz, "dE/dW1": dz.T @ values["X"]}
    reported["dE/db1"] = dz.sum(axis=0)
    reported["W1_new"] = values["W1"] - np.float32(0.1) * reported["dE/dW1"]
    return StepLevel(network(architecture), FLOAT32, OPENCL, given), reported, architecture


@pytest.mark.parametrize("quantity", ["z1", "dE/dW1", "dE/db1", "W1_new"])
def test_a_tensor_deviates_by_the_component_that_does(quantity: str, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    step, reported, _ = level(by, monkeypatch)
    equation = step.derivation.by_name[quantity]
    right = reported[quantity]
    assert step.judge(Report(quantity, equation, right, reported)).verdict == "conforms"
    for number in (0, 1, right.size // 2, right.size - 1):
        wrong = right.copy()
        wrong.reshape(-1)[number] *= np.float32(1 + 2.0**-12)
        found = step.judge(Report(quantity, equation, wrong, reported))
        assert (found.verdict, found.worst_index) == ("deviates", number)
        assert found.deviating is not None
        assert found.deviating.tolist() == [number]


@pytest.mark.parametrize("off", [0.0, 2.0**-8], ids=["right", "wrong"])
def test_a_number_of_very_many_is_screened_by_what_adjudicates_it(off: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """½Σ(t − a)² of 30,000 numbers, in double words or in float64: the same judgement."""
    architecture = Architecture((2, 3), ("identity",), (False,), "half_squared_error", "sum", 5_000)
    drawn = np.random.default_rng(3)
    given: dict[str, Any] = {n: drawn.normal(size=s).astype(np.float32) for n, s in architecture.shapes.items() if s}
    given["eta"], a = float(np.float32(0.1)), given["X"] @ given["W1"].T
    loss = np.float32(np.float32(0.5) * np.square(given["T"] - a).sum() * (1 + off))
    found = []
    for most in (20_000, 10**6):
        monkeypatch.setattr(step_level, "BALL_OPERANDS", most)
        step = StepLevel(network(architecture), FLOAT32, OPENCL, given)
        screen = _Evidence(step, Report("E", step.derivation.by_name["E"], loss, {"a1": a}), False)
        screen.screen()
        assert (screen.screens[0].share > 1) == bool(off)
        found.append(screen.screens[0])
        judged = step.judge(Report("E", step.derivation.by_name["E"], loss, {"a1": a})) if most == 20_000 else None
        assert judged is None or judged.verdict == ("deviates" if off else "conforms")
    words, plain = found
    assert words.share == pytest.approx(plain.share, rel=2.0**-18)
    assert words.bits == pytest.approx(plain.bits, rel=2.0**-18)


# Element by element ---------------------------------------------------------------------------------------------------


def slope(name: str, seed: int = 0, size: int = 1300) -> tuple[Form, Form, Array, dict[str, Array]]:
    """A form of an activation's slope, its truth, what float32 makes of it, and the operands of both."""
    drawn, activation, A = np.random.default_rng(seed), ACTIVATIONS[name], RoundedArrays(FLOAT32, OPENCL)
    z, g = (drawn.normal(0, 3, size).astype(np.float32) for _ in range(2))
    z[0], g[3:5] = 30.0, 0.0
    known = {"z": z, "g": g, "a": activation.forward[0].formula(A, A.given(z)).mid.astype(np.float32)}
    form = activation.backward[0]
    got = form.formula(A, *[A.given(known[o]) for o in form.operands]).mid.astype(np.float32)
    return form, activation.definition[1] or form, got, known


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu"])
def test_a_formula_is_compared_element_by_element_as_the_rules_do(name: str) -> None:
    pytest.importorskip("numba")
    form, truth, got, known = slope(name)
    one = comparing("compiled")
    found, screen = one.elementwise(got, form, truth, known), Screen(form.name, FLOAT32, got.shape)
    value, exact = (f.formula(one.A, *[one.A.given(known[o]) for o in f.operands]) for f in (form, truth))
    screen.add(got, value, 0, exact)
    assert found is not None
    assert screen.accepts
    assert found[:6] == pytest.approx(
        (screen.share, screen.worst, screen.max_ulp, screen.furthest, screen.off, screen.scale), rel=2.0**-26
    )
    # An exponential is another one than NumPy's: 2^-53 of it is 2^-29 units in the last place of float32.
    np.testing.assert_allclose(found.sample, np.concatenate(screen.sample), 1e-9, 2.0**-26)
    assert comparing("NumPy").elementwise(got, form, truth, known) is None


@pytest.mark.parametrize("wrong", [1e-5, math.inf, -math.inf, math.nan])
def test_a_wrong_element_is_left_to_the_rules_wherever_it_is(wrong: float) -> None:
    pytest.importorskip("numba")
    form, truth, right, known = slope("sigmoid")
    one = comparing("compiled")
    assert one.elementwise(right, form, truth, known) is not None
    for number in (0, 1, 3, 511, 512, 1023, right.size - 1):
        got = right.copy()
        got[number] += np.float32(wrong)
        assert one.elementwise(got, form, truth, known) is None
        if not math.isfinite(wrong):
            of = {**known, "a": known["a"].copy()}
            of["a"][number] = wrong
            assert one.elementwise(right, form, truth, of) is None


def test_a_formula_that_kernels_lack_and_operands_of_other_shapes_are_left_to_the_rules() -> None:
    pytest.importorskip("numba")
    form, truth, got, known = slope("sigmoid")
    one = comparing("compiled")
    whatever = next(f for f in ACTIVATIONS["sigmoid"].forms if "of its own" in f.name)
    assert one.elementwise(got, whatever, truth, known) is None
    bounded = Form("in its bounds", ("g", "z"), lambda ops, g, z: ops.bounded(g * z, -g, g), "")
    assert one.elementwise(got, bounded, bounded, known) is None
    assert one.elementwise(got, form, truth, {**known, "g": known["g"][:1]}) is None
    assert one.elementwise(got.astype(np.float16), form, truth, known) is None
