"""Difference quotients: the ball around the derivative holds the quotient that was claimed, and little else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest
from flint import arb

from gradconform.adapters.contract import Answer, Route
from gradconform.adapters.on_numpy import NumpyAdapter
from gradconform.conformance.cases.catalogue import catalogue
from gradconform.conformance.check import check_route
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import FLOAT64, FORMATS
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.arithmetic.rounded import ANYTHING, POSITIVE, Rounded, RoundedBalls
from gradconform.reference.cases import Point, point
from gradconform.reference.derivations.choosers import widest
from gradconform.reference.derivations.stencils import allowed, quotients
from gradconform.reference.document import NETWORK
from gradconform.reference.equations import Evaluation
from gradconform.reference.measurement import Measurement

ADAPTER = NumpyAdapter()
CASES = catalogue()
SEVERAL = ["document/worked-example", "document/scale-1/003", "document/scale-4/007", "document/targets-met/2"]
ROUTES = [
    ("central", "float64"),
    ("central", "float32"),
    ("central", "float16"),
    ("complex-step", "float64"),
    ("complex-step", "float32"),
    ("extrapolated", "float64"),
    ("extrapolated", "float32"),
]


@pytest.fixture(autouse=True)
def _working_precision() -> Iterator[None]:
    with precision(320):
        yield


@dataclass(frozen=True)
class Differences:
    kind: Literal["real", "complex"]
    h: float
    points: Mapping[str, Sequence[float]]
    coefficients: Sequence[float]


def central(values: Mapping[str, float], h: float) -> Differences:
    points = {w: (values[w] - h, values[w] + h) for w in NETWORK.parameters}
    return Differences("real", h, points, (-0.5, 0.5))


def given(at: Point, ops: RoundedBalls) -> dict[str, Any]:
    return {**{n: ops.given(v) for n, v in at.values.items()}, "eta": ops.given(at.rate)}


def balls(at: Point, stencil: Any) -> dict[str, Rounded]:
    """The allowed ball of every difference quotient at a point."""
    ops = RoundedBalls(FORMATS[at.dtype], OPENCL)
    values = given(at, ops)
    truth = Evaluation(NETWORK, ops, values, widest)
    found = quotients(truth, stencil)
    return {w: allowed(truth[name], found[w]) for w, name in NETWORK.gradient.items()}


def within(got: float, ball: Rounded) -> bool:
    return bool(abs(arb(got) - ball.exact) <= ball.radius)


def worked_example(dtype: str = "float64") -> Point:
    return point(CASES["document/worked-example"], dtype)


@pytest.mark.parametrize("case", SEVERAL)
@pytest.mark.parametrize(("route", "dtype"), ROUTES)
def test_the_allowed_ball_holds_numpys_quotient(route: str, dtype: str, case: str) -> None:
    at = point(CASES[case], dtype)
    answer = ADAPTER.answer(at, route)
    escaped = [w for w, ball in balls(at, answer.stencil).items() if not within(answer.gradient[w], ball)]
    assert escaped == []


@pytest.mark.parametrize(("route", "dtype"), [r for r in ROUTES if r[1] == "float64"])
def test_the_allowed_ball_does_not_hold_a_quotient_off_by_one_in_a_hundred(route: str, dtype: str) -> None:
    at = worked_example(dtype)
    answer = ADAPTER.answer(at, route)
    ball = balls(at, answer.stencil)
    assert not any(within(answer.gradient[w] * 1.01, ball[w]) for w in NETWORK.parameters)
    assert not any(within(-answer.gradient[w], ball[w]) for w in NETWORK.parameters)


def test_a_complex_step_is_allowed_its_rounding_and_hardly_more() -> None:
    at = worked_example()
    stencil = ADAPTER.answer(at, "complex-step").stencil
    for w, ball in balls(at, stencil).items():
        assert ball.radius < abs(ball.exact) * 1e-12, w


def distances(h: float) -> dict[str, arb]:
    """|quotient − derivative| of a central difference, by weight."""
    at = worked_example()
    ops = RoundedBalls(FLOAT64, OPENCL)
    values, stencil = given(at, ops), central(at.values, h)
    truth = Evaluation(NETWORK, ops, values)
    found = quotients(Evaluation(NETWORK, ops, values, widest), stencil)
    return {w: abs(found[w].exact - truth[name].exact) for w, name in NETWORK.gradient.items()}


@pytest.mark.parametrize("k", [4, 8, 14, 20])
def test_a_central_quotient_nears_the_derivative_with_the_square_of_its_step(k: int) -> None:
    wide, narrow = distances(2.0**-k), distances(2.0 ** -(k + 1))
    for w in NETWORK.parameters:
        assert 3.8 < wide[w] / narrow[w] < 4.2, w


def test_a_one_sided_quotient_nears_the_derivative_with_its_step_only() -> None:
    at = worked_example()
    ops = RoundedBalls(FLOAT64, OPENCL)
    values = given(at, ops)
    truth = Evaluation(NETWORK, ops, values)["dE_total/dw5"].exact

    def distance(h: float) -> arb:
        points = {w: (at.values[w], at.values[w] + h) for w in NETWORK.parameters}
        one_sided = Differences("real", h, points, (-1.0, 1.0))
        return abs(quotients(Evaluation(NETWORK, ops, values, widest), one_sided)["w5"].exact - truth)

    assert 1.9 < distance(2.0**-10) / distance(2.0**-11) < 2.1


def test_the_quotient_is_taken_at_the_points_that_were_evaluated() -> None:
    at = worked_example()
    ops = RoundedBalls(FLOAT64, OPENCL)
    values, stencil = given(at, ops), central(at.values, 2.0**-10)
    w5 = at.values["w5"]
    moved = replace(stencil, points={**stencil.points, "w5": (w5 - 2.0**-10, w5 + 2.0**-9)})
    claimed, other = (quotients(Evaluation(NETWORK, ops, values, widest), s)["w5"] for s in (stencil, moved))
    assert abs(claimed.exact - other.exact) > claimed.radius + other.radius


def test_the_allowance_is_the_distance_and_the_quotients_own_radius() -> None:
    ops = RoundedBalls(FLOAT64, OPENCL)
    derivative, found = Rounded(ops, arb(1.0), arb(0.5)), Rounded(ops, arb(1.25), arb(0.125), POSITIVE)
    ball = allowed(derivative, found)
    assert (ball.exact, ball.radius, ball.specials) == (arb(1.0), arb(0.375), POSITIVE)


def test_a_loss_that_is_not_known_leaves_its_quotient_unknown() -> None:
    at = worked_example()
    ops = RoundedBalls(FLOAT64, OPENCL)
    values = {**given(at, ops), "t1": ops.given(float("inf"))}
    assert quotients(Evaluation(NETWORK, ops, values, widest), central(at.values, 2.0**-10))["w5"].specials & ANYTHING


# The verdict --------------------------------------------------------------------------------------------------


class Scaled:
    """NumPy's answers with one gradient multiplied by a factor."""

    name = "scaled"
    routes = NumpyAdapter.routes

    def __init__(self, weight: str, factor: float) -> None:
        self.weight, self.factor = weight, factor

    def answer(self, at: Point, route: str) -> Answer:
        answer = ADAPTER.answer(at, route)
        wrong = {**answer.gradient, self.weight: answer.gradient[self.weight] * self.factor}
        return replace(answer, gradient=wrong)


def route_called(name: str) -> Route:
    return next(r for r in NumpyAdapter.routes if r.name == name)


def verdicts(measurements: list[Measurement]) -> dict[str, str]:
    return {m.quantity: m.verdict for m in measurements if m.level == "whole" and m.quantity.startswith("dE_total/d")}


@pytest.mark.parametrize("route", ["central", "complex-step", "extrapolated"])
def test_the_worked_examples_quotients_conform(route: str) -> None:
    found = verdicts(check_route(Scaled("w5", 1.0), route_called(route), worked_example(), "opencl"))
    assert found == dict.fromkeys(NETWORK.gradient.values(), "conforms")


@pytest.mark.parametrize("route", ["central", "complex-step", "extrapolated"])
@pytest.mark.parametrize("weight", ["w1", "w5", "w8"])
def test_a_quotient_off_by_one_in_a_hundred_deviates_and_is_named(route: str, weight: str) -> None:
    found = verdicts(check_route(Scaled(weight, 1.01), route_called(route), worked_example(), "opencl"))
    assert [name for name, verdict in found.items() if verdict == "deviates"] == [NETWORK.gradient[weight]]
