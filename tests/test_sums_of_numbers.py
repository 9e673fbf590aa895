"""Sums of many numbers in balls: of few with the same sum, which they have to the last bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradconform.reference.arithmetic import rounded


@given(
    st.integers(rounded.MANY, 3000),
    st.integers(0, 200),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_few_numbers_have_the_exact_sum_of_many(count: int, spread: int, cancelling: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    left, right = random.normal(size=(2, count)).astype(np.float32).astype(np.float64)
    numbers = left * right * 2.0 ** random.integers(-spread, 1, size=count)
    if cancelling:
        half = count // 2
        numbers[half : 2 * half] = -numbers[:half]
    few = rounded._of_the_same_sum(numbers)
    high, of_few = math.fsum(numbers), math.fsum(few)
    assert len(few) <= 8
    assert of_few == high
    assert math.fsum([*few, -high]) == math.fsum([*numbers.tolist(), -high])


def test_zeros_have_the_sum_of_none() -> None:
    assert rounded._of_the_same_sum(np.zeros(500)) == []
    assert rounded._sum_of_numbers(np.zeros(500)) == 0


@pytest.mark.parametrize("moved", [2.0**-100, -(2.0**-60)])
def test_one_number_that_is_another_is_seen_in_the_sum(moved: float) -> None:
    numbers = np.linspace(-1, 1, 1000).astype(np.float32).astype(np.float64)
    one, other = (rounded._sum_of_numbers(np.append(numbers, x)) for x in (0.0, moved))
    assert not one.overlaps(other)
