"""Array arithmetic holds, element by element, what the scalar arithmetic says."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flint import arb

from gradconform.reference.arithmetic import midpoints
from gradconform.reference.arithmetic.arrays import RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from gradconform.reference.arithmetic.midpoints import HOST_ULPS, Double, DoubleArray, _host
from gradconform.reference.arithmetic.profiles import OPENCL, STRICT, Profile
from gradconform.reference.arithmetic.rounded import ANYTHING, Rounded

FORMATS = (FLOAT64, FLOAT32, FLOAT16, BFLOAT16)
UNARY = (
    *("exp", "expm1", "sinh", "cosh", "sqrt", "tanh", "erf", "erfc"),
    *("sigmoid", "positive_part", "absolute", "square"),
)
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
}


def numbers(target: Format, seed: int) -> Any:
    """Numbers of the format: ordinary, zero, subnormal, so large that exponentials and squares overflow."""
    random = np.random.default_rng(seed)
    ordinary = random.normal(0, 2, 40)
    if target.precision == 53:  # below 2^−990 double words are out of range, and say so
        return np.array([*ordinary, 0.0, -0.0, 1.0, -1.0, 20.0, -20.0, 2.0**-300, 300.0, -300.0, 1e160])
    odd = [0.0, -0.0, 1.0, -1.0, 20.0, -20.0, 2.0**target.emin, 2.0 ** (target.emin - 2), -(2.0 ** (target.emin - 1)),
           math.sqrt(target.largest) * 1.5, -90.0, 90.0]  # fmt: skip
    return target.round(np.array([*ordinary, *odd]))


def with_radii(ops: RoundedArrays, x: Any, seed: int) -> RoundedArray:
    known = ops.given(x)
    random = np.random.default_rng(seed)
    radius = np.abs(x) * ops.unit * random.integers(0, 4, x.shape)
    return RoundedArray(ops, known.mid, radius, None, known.specials)


def rounds(x: RoundedArray) -> bool:
    """Whether functions are float32's, rounded once."""
    return x.arithmetic.format is BFLOAT16


def agree(found: RoundedArray, index: tuple[int, ...], scalar: Rounded, loose: float = 1e-6) -> None:
    """The array's element may be wider than the scalar by a hair, and never narrower."""
    element = found.arithmetic.scalar(found, index, found.shape)
    if scalar.specials & ANYTHING:
        assert element.specials & ANYTHING
        return
    if element.specials & ANYTHING:
        assert not math.isfinite(float(scalar.exact.mid()))  # beyond what float64 holds
        return
    assert element.specials & scalar.specials == scalar.specials
    if scalar.specials:
        return  # beyond the format: what is finite of it is decided by the scalar arithmetic
    tolerance = float(scalar.radius) * found.arithmetic.mids.slack * 4 + abs(float(scalar.exact)) * 1e-28
    assert abs(float(element.exact - scalar.exact)) <= tolerance + 5e-324
    # Within 2^−40 of a power of two the ulp of the larger or of the smaller binade may be counted.
    mantissa, _ = math.frexp(abs(float(scalar.exact)))
    straddles = min(abs(mantissa - 0.5), abs(mantissa - 1)) < 2.0**-40
    narrower, wider = (0.49, 2 + loose) if straddles else (1 - 1e-12, 1 + loose)
    # Far below bfloat16's normal numbers the order of two flushings differs, by float32's smallest number times K.
    assert float(element.radius) >= float(scalar.radius) * narrower - (16 * 2.0**-149 if rounds(found) else 0)
    assert float(element.radius) <= float(scalar.radius) * wider + 5e-324


@pytest.mark.parametrize("constants", [OPENCL, STRICT], ids=["opencl", "strict"])
@pytest.mark.parametrize("target", FORMATS, ids=[f.name for f in FORMATS])
@pytest.mark.parametrize("name", UNARY)
def test_functions(name: str, target: Format, constants: Profile) -> None:
    ops = RoundedArrays(target, constants)
    x = numbers(target, 1)
    for value in (ops.given(x), with_radii(ops, x, 2)):
        found = getattr(ops, name)(value)
        with precision(192):
            for i in range(x.size):
                scalar = getattr(ops.balls, name)(ops.scalar(value, (i,), x.shape))
                agree(found, (i,), scalar)


@pytest.mark.parametrize("target", FORMATS, ids=[f.name for f in FORMATS])
@pytest.mark.parametrize("name", BINARY)
def test_arithmetic(name: str, target: Format) -> None:
    ops = RoundedArrays(target, OPENCL)
    x, y = numbers(target, 3), np.roll(numbers(target, 4), 5)
    for a, b in ((ops.given(x), ops.given(y)), (with_radii(ops, x, 5), with_radii(ops, y, 6))):
        found = BINARY[name](a, b)
        with precision(192):
            for i in range(x.size):
                scalar = BINARY[name](ops.scalar(a, (i,), x.shape), ops.scalar(b, (i,), y.shape))
                agree(found, (i,), scalar)


@pytest.mark.parametrize("exact", [False, True], ids=["plain", "double words"])
@pytest.mark.parametrize("target", FORMATS, ids=[f.name for f in FORMATS])
def test_matrix_products_and_sums(target: Format, exact: bool) -> None:
    ops = RoundedArrays(target, OPENCL, exact=exact)
    random = np.random.default_rng(7)
    a, b, c = (target.round(random.normal(0, 1, s)) for s in ((4, 9), (3, 9), (3,)))
    if target.precision == 24:
        a, b, c = (x.astype(np.float32) for x in (a, b, c))
    x, w, bias = ops.given(a), ops.given(b), ops.given(c)
    product, linear, total, columns = x @ w.T, ops.linear(x, w, bias), ops.total(x), ops.column_sum(x)
    with precision(192):
        rows = [[ops.balls.given(float(v)) for v in row] for row in a]
        columns_of = [[ops.balls.given(float(v)) for v in row] for row in b]
        for i, j in np.ndindex(4, 3):
            agree(product, (i, j), ops.balls.dot(rows[i], columns_of[j]), 1e-4)
            agree(linear, (i, j), ops.balls.dot(rows[i], columns_of[j], ops.balls.given(float(c[j]))), 1e-4)
        agree(total, (), ops.balls.total_of([v for row in rows for v in row]))
        for j in range(9):
            agree(columns, (j,), ops.balls.total_of([row[j] for row in rows]))


@pytest.mark.parametrize("by", ["slices", "fused multiply-add"])
@pytest.mark.parametrize("k", [1, 3, 40, 300])
def test_double_word_products_are_exact_enough_whatever_their_spread(
    k: int, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by != "slices":
        pytest.importorskip("numba")
    monkeypatch.setattr(midpoints, "COMPILED_FROM", 1 << 60 if by == "slices" else 0)
    random = np.random.default_rng(k)
    a = random.normal(size=(5, k)) * 10.0 ** random.integers(-30, 30, (5, k))
    b = random.normal(size=(k, 4)) * 10.0 ** random.integers(-30, 30, (k, 4))
    allowance = k * 2.0**-53 * (np.abs(a) @ np.abs(b))
    found = Double.product(Double.lift(a), Double.lift(b), allowance)
    with precision(400):
        for i, j in np.ndindex(5, 4):
            exact = sum((arb(float(x)) * arb(float(y)) for x, y in zip(a[i], b[:, j], strict=True)), arb(0))
            assert abs(Double.ball(found, (i, j)) - exact) < 2.0**-19 * allowance[i, j]


def test_products_by_fused_multiply_add_err_by_no_more_than_they_say_and_by_their_low_words_at_least() -> None:
    products = pytest.importorskip("gradconform.reference.arithmetic.products", exc_type=ImportError)
    random = np.random.default_rng(5)
    for k in (1, 7, 8, 9, 100):
        a = random.normal(size=(3, k)) * 2.0 ** random.integers(-40, 0, (3, k))
        b = random.normal(size=(k, 5)) * 2.0 ** random.integers(-40, 0, (k, 5))
        a[:, k // 2 :] = -a[:, : k - k // 2]  # so that they cancel
        high, low, bound = products.product(a, b)
        assert (bound <= 2.0**-49 * k * 2.0**-53 * (np.abs(a) @ np.abs(b))).all()
        without = 0
        with precision(400):
            for i, j in np.ndindex(3, 5):
                exact = sum((arb(float(x)) * arb(float(y)) for x, y in zip(a[i], b[:, j], strict=True)), arb(0))
                assert abs(arb(high[i, j]) + arb(low[i, j]) - exact) <= bound[i, j]
                without += bool(abs(arb(high[i, j]) - exact) > bound[i, j])
        assert without > 10


def test_double_words_are_added_and_multiplied_alike_compiled_and_by_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradconform.reference.arithmetic.products", exc_type=ImportError)
    random = np.random.default_rng(8)

    def drawn(spread: int) -> DoubleArray:
        high = random.normal(size=(30, 200)) * 2.0 ** random.integers(-spread, spread, (30, 200))
        return Double.add(Double.lift(high), Double.lift(high * random.uniform(-1, 1, high.shape) * 2.0**-54))

    for spread in (1, 20, 200):
        a, b = drawn(spread), drawn(spread)
        b.hi[:5] = -a.hi[:5]  # so that they cancel
        a.hi[-1, :4], b.hi[-1, :4] = (0.0, -0.0, np.inf, np.nan), (-0.0, -0.0, 1.0, 1.0)
        found = []
        for least in (1 << 60, 0):
            monkeypatch.setattr(midpoints, "WORDS_FROM", least)
            monkeypatch.setattr(midpoints, "WORDS_CALLED_FROM", least)
            with np.errstate(all="ignore"):
                found.append([Double.add(a, b), Double.multiply(a, b)])
        for one, other in zip(*found, strict=True):
            for x, y in ((one.hi, other.hi), (one.lo, other.lo)):
                assert np.array_equal(x, y, equal_nan=True)
                assert np.array_equal(np.signbit(x[:-1]), np.signbit(y[:-1]))


@pytest.mark.parametrize("name", ["exp", "expm1", "log", "log1p", "sinh", "cosh", "sqrt", "tanh", "erf", "erfc"])
def test_the_hosts_functions_are_as_accurate_as_they_are_trusted_to_be(name: str) -> None:
    random = np.random.default_rng(11)
    x = np.concatenate([random.normal(0, s, 400) for s in (1e-6, 0.1, 1, 5)])
    if name in ("log", "sqrt"):
        x = np.abs(x)
    if name == "log1p":
        x = np.maximum(x, -0.999)
    found = _host(name)(x)
    with precision(128):
        for v, y in zip(x.tolist(), found.tolist(), strict=True):
            exact = getattr(arb(v), name)()
            assert abs(arb(y) - exact) <= HOST_ULPS * math.ulp(float(exact)), v


@pytest.mark.parametrize("name", ["exp", "expm1", "tanh", "log", "log1p"])
def test_functions_of_kernels_err_by_a_few_units_and_have_the_ends_of_the_hosts(name: str) -> None:
    pytest.importorskip("numba")
    from gradconform.reference.arithmetic import elementary  # an extra

    random = np.random.default_rng(5)
    size = np.exp(random.uniform(-740, 7, 1500))
    x = np.concatenate([size, -size, random.uniform(-1, 1, 1500), random.uniform(-40, 40, 500)])
    x = np.concatenate([x, random.uniform(-745, 709, 500)])  # whose exponential may be subnormal
    x = x[{"log": x > 0, "log1p": x > -1}.get(name, np.abs(x) < 745)]
    x = x[x < 709]
    ends = np.array([0.0, -0.0, math.inf, -math.inf, math.nan, -1.0, -2.0, 5e-324, -5e-324, 1e308, -1e308, 710, 709.78])
    function = elementary.FUNCTIONS[name]
    with precision(128):
        for v in x.tolist():
            exact = getattr(arb(v), name)()
            assert abs(arb(function(v)) - exact) <= 4 * math.ulp(float(exact)), v
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(ends)
    np.testing.assert_allclose([function(v) for v in ends.tolist()], expected, rtol=1e-15)


def test_a_sigmoid_whose_exponential_is_infinite_even_here_may_be_0_and_what_it_is_at_the_end_of_its_ball() -> None:
    ops = RoundedArrays(FLOAT32, STRICT)
    with np.errstate(all="ignore"):
        found = ops.sigmoid(RoundedArray(ops, np.array([-720.0]), np.array([0.375])))
    assert not found.bits & ANYTHING
    assert 0 < found.high[0] <= found.radii()[0]
    assert found.high[0] + found.radii()[0] >= math.exp(-720.0 + 0.375)


def test_a_narrower_radius_is_noticed() -> None:
    ops = RoundedArrays(FLOAT32, OPENCL)
    found = ops.given(np.array([1.5])) * ops.given(np.array([1.25]))
    narrow = RoundedArray(ops, found.mid, found.radii() * 0.99)
    with precision(192), pytest.raises(AssertionError):
        agree(narrow, (0,), ops.balls.multiply(ops.balls.given(1.5), ops.balls.given(1.25)))
