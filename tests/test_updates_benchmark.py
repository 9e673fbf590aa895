"""Optimizers that are wrong in one place, and right ones: a small instance of `benchmarks/updates.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tests_support import benchmark

for needed in ("wrong_updates", "updates_drift"):  # which it imports
    benchmark(needed)
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
    narrow, wide = updates.drift(run, 3), updates.drift(run, 3, "float64")
    assert 0 < narrow.distance[3] < 1e-6
    assert wide.distance[3] < 1e-15
    assert 0 < narrow.error < 3


def of(framework: str, optimizer: str, way: str) -> Any:
    return next(r for r in updates.runs() if (r.framework, r.optimizer, r.way) == (framework, optimizer, way))


@pytest.mark.skipif(
    not torch.__version__.startswith("2.13."), reason="https://github.com/pytorch/pytorch/issues/191763"
)
def test_the_sizes_at_which_a_kernel_deviates_are_told_and_of_a_right_one_none() -> None:
    assert updates.kernels(of("torch", "SGD", "fused"), (1, 15, 16, 17, 33), "bfloat16") == "w_new: 16…17, 33"
    assert updates.kernels(of("torch", "Adam", "fused"), (1, 15, 16, 17, 33), "bfloat16") == ""


def test_what_a_table_has_is_not_measured_again(tmp_path: Path) -> None:
    part = updates.Part("torch", "SGD", ("float32",), fresh=False)
    asked: list[str] = []

    def measure(run: Any, dtype: str) -> dict[str, Any]:
        asked.append(run.way)
        return {"judged": 3}

    for _ in range(2):
        found = updates.measured(tmp_path / "a.csv", part, part.runs(), ("float32", "float64"), measure)
        assert list(found["way"]) == ["single", "foreach", "fused"]
    assert asked == ["single", "foreach", "fused"]


def test_the_drift_is_a_table_and_a_figure(tmp_path: Path) -> None:
    columns = {"way": ["single", "fused", "jit"], "largest_ulp": [0.5, 0.5, 1.25], "after_1": [1e-9, 2e-9, 3e-8]}
    named = {
        "framework": ["torch", "torch", "optax"],
        "optimizer": "Adam",
        "dtype": "float32",
        "known": ["", "", "known:a"],
    }
    pd.DataFrame({**named, **columns}).to_csv(tmp_path / "drift.csv", index=False)
    updates.written(tmp_path)
    assert (tmp_path / "drift.png").stat().st_size > 1000
    assert "| torch | Adam | single 1e-09, fused 2e-09 | 0.5 |" in (tmp_path / "drift.md").read_text(encoding="utf-8")
    assert "| optax | Adam, known:a | 3e-08 | 1.2 |" in (tmp_path / "drift.md").read_text(encoding="utf-8")
