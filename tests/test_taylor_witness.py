"""A second witness of the gradient: Taylor arithmetic over the forward equations alone, in exact balls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from flint import arb, arb_series

from gradconform.conformance.cases.catalogue import random_case
from gradconform.reference.arithmetic.exact import EXACT, HandWritten, precision
from gradconform.reference.cases import Case
from gradconform.reference.document import NETWORK
from gradconform.reference.equations import Derivation, Evaluation, evaluate

BITS = 640
SEED = 20
POINTS = [(scale, index) for scale in (1, 4, 20) for index in range(70)]


class TaylorSeries(HandWritten):
    """Operations on truncated power series with ball coefficients."""

    def exp(self, x: Any) -> Any:
        return x.exp()


def by_taylor(values: Mapping[str, float], weight: str) -> arb:
    """∂E_total/∂weight: the first coefficient of E_total along weight + x, by the forward equations alone."""
    forward = Derivation(
        "forward", NETWORK.inputs, NETWORK.parameters, NETWORK.rate, NETWORK.loss, NETWORK.group("forward"), {}, {}
    )
    moved: dict[str, Any] = {n: arb_series([arb(v), arb(int(n == weight))], 2) for n, v in values.items()}
    return Evaluation(forward, TaylorSeries(), moved)[NETWORK.loss][1]


def by_formula(values: Mapping[str, float]) -> dict[str, arb]:
    """The eight gradients by the document's formulas, in exact balls."""
    return evaluate(NETWORK, EXACT, {n: arb(v) for n, v in values.items()}, NETWORK.gradient.values())


def known_to_100_digits(x: arb) -> bool:
    return bool(x.rad() < abs(x) * arb(10) ** -100)


def case(scale: int, index: int) -> Case:
    return random_case(scale, index, seed=SEED)


def disagreeing(at: Case, factor: arb) -> list[str]:
    """Weights whose formula, times `factor`, and whose Taylor coefficient do not overlap to 100 digits."""
    values = dict(at.values)
    formulas = by_formula(values)
    found = []
    for weight, name in NETWORK.gradient.items():
        taylor, formula = by_taylor(values, weight), formulas[name] * factor
        assert known_to_100_digits(taylor), f"{at.id} {name}: Taylor gives only {taylor}"
        assert known_to_100_digits(formula), f"{at.id} {name}: the formula gives only {formula}"
        if not taylor.overlaps(formula):
            found.append(weight)
    return found


@pytest.mark.parametrize("scale", [1, 4, 20])
def test_taylor_arithmetic_gives_the_formulas_gradient_to_100_digits(scale: int) -> None:
    with precision(BITS):
        wrong = {index: disagreeing(case(s, index), arb(1)) for s, index in POINTS if s == scale}
    assert {index: weights for index, weights in wrong.items() if weights} == {}
    assert len(wrong) == 70


@pytest.mark.parametrize("scale", [1, 4, 20])
def test_formulas_off_by_one_part_in_10_to_the_90_do_not_agree_with_taylor_arithmetic(scale: int) -> None:
    with precision(BITS):
        perturbed = 1 + arb(10) ** -90
        assert disagreeing(case(scale, 0), perturbed) == list(NETWORK.parameters)


def test_the_first_witness_of_an_unmoved_weight_is_zero() -> None:
    """Where nothing moves the first coefficient vanishes: what it holds elsewhere is due to the weight alone."""
    with precision(BITS):
        assert by_taylor(dict(case(1, 0).values), "no such weight").is_zero()
        assert not by_taylor(dict(case(1, 0).values), "w1").is_zero()


def test_a_witness_at_low_precision_is_not_taken_for_100_digits() -> None:
    with precision(64):
        assert not known_to_100_digits(by_taylor(dict(case(20, 1).values), "w1"))
    with precision(BITS):
        assert known_to_100_digits(by_taylor(dict(case(20, 1).values), "w1"))
