"""Optimizers that are wrong in one place, and right ones: a small instance of `benchmarks/updates.py`."""

from __future__ import annotations

import pytest
from tests_support import benchmark

benchmark("wrong_updates")  # which it imports
updates = benchmark("updates")
BY_NAME = {f.fault: f for f in updates.FAULTS}


@pytest.mark.parametrize("name", ["SGD: the last update's gradient", "SGD: the buffer an alias of the gradient",
                                  "Adam: ε before the correction", "Adam: β1 and β2 exchanged",
                                  "Adam: decay of the new weight"])  # fmt: skip
def test_a_wrong_optimizer_is_caught_by_the_equation_that_is_wrong(name: str) -> None:
    found = updates.caught(BY_NAME[name], "float32", updates=2)
    assert found["caught"], found
    assert found["named"], found


def test_the_same_optimizers_without_a_fault_are_not_accused() -> None:
    assert len(BY_NAME) == len(updates.FAULTS) >= 40
    assert not [r.fault for r in updates.right() if updates.caught(r, "float32", updates=2)["caught"]]


def test_no_right_optimizer_is_accused_in_float32() -> None:
    wanted = ("Adamax", "RMSprop, centred, momentum", "Lion", "Rprop")
    table = updates.correct((1, 2), ["float32"], lambda r: r.optimizer in wanted and r.way in ("single", "eager"))
    assert len(table) > 2 * len(wanted)
    late = (table["framework"] == "optax") & (table["optimizer"] == "Rprop")
    assert set(table["verdict"][~late]) == {"conforms"}
    assert set(table["verdict"][late]) == {"conforms", "known"}  # it moves by the step of the update before


def test_a_right_optimizers_weights_stay_near_the_exact_trajectory() -> None:
    run = next(r for r in updates.runs() if (r.optimizer, r.way) == ("SGD, momentum and decay", "single"))
    assert 0 < updates.drift(run, 3) < 1e-6
    assert updates.drift(run, 3, "float64") < 1e-15
