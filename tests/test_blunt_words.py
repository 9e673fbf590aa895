"""Balls about float64 numbers, by this computer's own functions: they hold the exact results, as double words do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flint import arb

from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.midpoints import DoubleArray
from gradconform.reference.programs import words
from gradconform.reference.programs.array_exact import ArrayExact
from gradconform.reference.programs.array_recording import ArrayRecording, Vague
from gradconform.reference.programs.expressions import expression
from gradconform.reference.programs.functions import FUNCTIONS
from gradconform.reference.programs.recorded_gradient import gradient
from gradconform.reference.programs.recording import Recording
from gradconform.reference.programs.words import BY_HOST, Words

DOMAINS = {
    "log": (1e-300, 1e300), "log2": (1e-300, 1e300), "log10": (1e-300, 1e300), "log1p": (-0.999, 1e9),
    "acosh": (1.0, 1e9), "asin": (-1.0, 1.0), "acos": (-1.0, 1.0), "atanh": (-0.999, 0.999),
}  # fmt: skip


def numbers(name: str, count: int = 150) -> Any:
    """Some of a function's domain, in every size."""
    low, high = DOMAINS.get(name, (-690.0, 690.0))
    drawn = np.random.default_rng(7)
    size = 10.0 ** drawn.uniform(-12, np.log10(max(high, 1.0)), count)
    return np.clip(size * np.where(drawn.random(count) < 0.5, -1.0, 1.0), low, high)


def holds(found: Words, n: int, exact: arb) -> bool:
    """Whether a ball holds a number that is known far better."""
    with precision(400):
        off = arb(float(found.mid.hi[n])) + arb(float(found.mid.lo[n])) - exact
        return bool(abs(off) <= float(np.broadcast_to(found.radius, (1, found.mid.hi.size))[0, n]))


@pytest.mark.parametrize("name", sorted(BY_HOST))
def test_a_function_of_blunt_numbers_holds_the_exact_value_to_forty_bits(name: str) -> None:
    x = numbers(name)
    found = words.function(name, words.blunt(x, np.zeros((1, x.size))))
    assert found.blunt
    known = np.isfinite(found.radius[0])
    assert known.mean() > 0.9
    with precision(400):
        exact = [FUNCTIONS[name].ball(arb(v)) for v in x.tolist()]
    assert all(holds(found, n, exact[n]) for n in np.flatnonzero(known).tolist())
    sharp = found.radius[0] <= np.abs(found.high) * 2.0**-40
    assert (sharp | (np.abs(found.high) < 1e-290))[known].all()


def test_a_function_that_errs_by_more_than_it_is_trusted_to_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BY_HOST, "exp", lambda x: np.exp(x) * (1 + 2.0**-40))  # type: ignore[arg-type]
    found = words.function("exp", words.blunt(np.array([1.0]), np.zeros((1, 1))))
    assert not holds(found, 0, FUNCTIONS["exp"].ball(arb(1)))


@pytest.mark.parametrize("name", ["exp", "tanh", "erf", "ndtr", "sigmoid", "sech", "sinh", "softplus"])
def test_a_function_of_a_wide_blunt_ball_holds_its_values_at_both_ends(name: str) -> None:
    x, r = np.linspace(-30, 30, 61), 0.03
    found = words.function(name, words.blunt(x, np.full((1, x.size), r)))
    for side in (-r, r):
        with precision(400):
            exact = [FUNCTIONS[name].ball(arb(v) + arb(side)) for v in x.tolist()]
        assert all(holds(found, n, exact[n]) for n in range(x.size))


@pytest.mark.parametrize("operation", [words.add, words.multiply, words.divide], ids=lambda f: f.__name__)
def test_arithmetic_with_a_blunt_number_is_blunt_and_holds_the_exact_result(operation: Any) -> None:
    drawn = np.random.default_rng(3)
    a, b = (drawn.normal(size=200) * 10.0 ** drawn.integers(-8, 8, 200) for _ in range(2))
    low = b * 2.0**-55
    found = operation(words.blunt(a, np.zeros((1, 200))), Words(DoubleArray(b, low), np.zeros((1, 200))))
    assert found.blunt
    with precision(400):
        pairs = [(arb(x), arb(y) + arb(z)) for x, y, z in zip(a.tolist(), b.tolist(), low.tolist(), strict=True)]
        by = {"add": lambda x, y: x + y, "multiply": lambda x, y: x * y, "divide": lambda x, y: x / y}
        exact = [by[operation.__name__](*pair) for pair in pairs]
    assert all(holds(found, n, exact[n]) for n in range(200))


@pytest.mark.parametrize(("name", "least"), [("sigmoid", 50.0), ("tanh", 25.0), ("erf", 7.0), ("ndtr", 10.0)])
def test_how_close_a_saturating_function_comes_to_one_keeps_its_digits(name: str, least: float) -> None:
    """1 − f², of which double words alone say nothing."""
    x = np.array([1.0, least, 1.5 * least])
    f = words.function(name, Words(DoubleArray(x, np.zeros(3)), np.zeros((1, 3))))
    rest = words.number(1.0) - words.multiply(f, f)
    with precision(2000):
        exact = [1 - FUNCTIONS[name].ball(arb(v)) ** 2 for v in x.tolist()]
    assert all(holds(rest, n, exact[n]) for n in range(3))
    assert (rest.radius[0] <= np.abs(rest.high) * 2.0**-35).all()


def clamped(o: Recording, x: Any) -> Any:
    return o.where(x > 0.5, abs(x) * o.exp(-x), o.clamp(x + 3.0, 0.0, 6.0))


def test_a_recording_by_arrays_decides_and_holds_what_one_by_balls_does() -> None:
    x = np.array([-4.0, -1.0, 0.1, 0.5, 0.6, 30.0])
    found = []
    for o in (Recording(), ArrayRecording()):
        y = clamped(o, o.argument(x))
        o.settle()
        assert [s.kind for s in o.record.steps].count("choose") == 1
        found.append((y, o.record))
    (a, by_balls), (b, by_arrays) = found
    assert np.array_equal(a.ids, b.ids)
    assert np.allclose(by_balls.held, by_arrays.held, rtol=1e-15, atol=0)
    values = ArrayExact(by_arrays, blunt=True).evaluate().values.take(b.ids).high
    assert np.allclose(values, by_balls.held[a.ids], rtol=1e-13, atol=0)


@pytest.mark.parametrize("of", [Recording, ArrayRecording])
def test_a_recording_holds_numbers_that_are_asked_for(of: type[Recording]) -> None:
    o = of()
    y = o.exp(o.argument(np.array([0.5, 2.0])))
    o.settle()  # nothing is decided, and there is no corner
    assert np.isnan(o.record.held[y.ids]).all()
    assert np.allclose(y.held, np.exp([0.5, 2.0]), rtol=1e-15)
    z = y + 1.0
    assert np.allclose(z.held, np.exp([0.5, 2.0]) + 1, rtol=1e-15)
    assert np.allclose(o.record.held[y.ids], np.exp([0.5, 2.0]), rtol=1e-15)


def test_a_comparison_that_arrays_cannot_make_is_left_to_balls() -> None:
    o = ArrayRecording()
    x = o.argument(np.array([2.0]))
    with pytest.raises(Vague):
        _ = o.square(o.sqrt(x)) > x


def test_decisions_are_found_by_their_numbers() -> None:
    o = Recording()
    x, y = (o.argument(np.arange(3.0)) for _ in range(2))
    first, second = x > y, x <= 1.0
    assert len(o.record.decisions) == 7
    assert o.record.decisions[0].relation is None
    assert first.decided is not None
    assert second.decided is not None
    assert [o.record.decisions[n].relation for n in first.decided.tolist()] == ["gt"] * 3
    last = o.record.decisions[-1]
    assert (last.relation, last.left, last.right) == ("le", int(x.ids[2]), 1)
    together = o.record.together([first.decided, second.decided])
    assert o.record.decisions[int(together[0])].parts == (int(first.decided[0]), int(second.decided[0]))
    with pytest.raises(IndexError):
        o.record.decisions[100]


def text_of(formula: Any, derivative: bool = False, x: float = 0.5) -> str | None:
    o = Recording()
    a = o.argument(np.array([x, 2 * x]))
    result, seeds = formula(o, a), []
    if derivative:
        seeds = [np.array([o.record.size, o.record.size + 1])]
        (result,) = gradient(o, [result], [np.ones(2)], [a])
    return expression(o.record, result.ids, [a.ids], seeds)


def test_the_same_formula_is_the_same_text_and_another_is_not() -> None:
    assert text_of(lambda o, x: o.exp(x)) == "exp(x0)"
    assert text_of(lambda o, x: o.exp(x), derivative=True) == text_of(lambda o, x: o.exp(x) * 1.0)
    assert text_of(lambda o, x: 2.0 + o.exp(x)) == text_of(lambda o, x: o.exp(x) + 2.0)
    assert text_of(lambda o, x: o.exp(x) * 1.5) != text_of(lambda o, x: o.exp(x) * 1.25)
    assert text_of(lambda o, x: x - 1.0) != text_of(lambda o, x: 1.0 - x)


def test_what_has_branches_or_mixes_its_numbers_has_no_text() -> None:
    assert text_of(lambda o, x: o.where(x > 0.75, x, -x)) is None
    assert text_of(lambda o, x: x + x[::-1]) is None
