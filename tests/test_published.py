"""Digits that others printed: every one of them is the truth, rounded."""

from __future__ import annotations

from decimal import Decimal

import pytest

from gradconform.conformance.cases.published import Published, published
from gradconform.reference.arithmetic.ball_arrays import BallArrays
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import FLOAT64
from gradconform.reference.arithmetic.profiles import STRICT
from gradconform.reference.equations import Evaluation

EXAMPLES = {p.case.id: p for p in published()}


def off(example: Published, quantity: str, index: tuple[int, ...], printed: str) -> Decimal:
    """How far the printed digits are from the truth, in units of their last place."""
    ops = BallArrays(FLOAT64, STRICT)
    with precision(256):
        values = Evaluation(example.case.equations, ops, {n: ops.given(v) for n, v in example.case.values})
        truth = values[quantity].values[index].exact
        text = truth.mid().str(30, radius=False)
    last = Decimal(1).scaleb(Decimal(printed).as_tuple().exponent)  # type: ignore[arg-type]
    return abs(Decimal(text) - Decimal(printed)) / last


@pytest.mark.parametrize(
    ("example", "quantity", "index"),
    [(e, q, i) for e, p in EXAMPLES.items() for q, i in p.digits],
)
def test_printed_digits_are_the_truth_rounded(example: str, quantity: str, index: tuple[int, ...]) -> None:
    found = EXAMPLES[example]
    # One unit in the last place: an author goes on from numbers already rounded.
    assert off(found, quantity, index, found.digits[quantity, index]) <= 1


def test_a_wrong_digit_is_noticed() -> None:
    mazur = EXAMPLES["network/published/mazur-2-2-2"]
    assert off(mazur, "W1_new", (0, 0), "0.149780726") > 1
