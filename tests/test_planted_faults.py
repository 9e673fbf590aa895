"""Planted faults: each is caught, by the equation at fault; the correct pass is not accused."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("ml_dtypes")

from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.cases import Point, point
from gradconform.reference.measurement import Measurement

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def loaded(name: str) -> ModuleType:
    """A module of benchmarks/, which is no package."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


planted = loaded("planted")
detection = loaded("detection")
FAULTS = {fault.name: fault for fault in planted.FAULTS}

#: What some faults are expected to be blamed on at the step level, in the document's network.
BLAME = {
    "sign of ∂E/∂a": {"dE/da2"},
    "½ missing in E and ∂E/∂a": {"E", "dE/da2"},
    "½ doubled in E": {"E"},
    "σ' without its 1−a": {"dE/dz1", "dE/dz2"},
    "sign of the first layer's ∂E/∂z": {"dE/dz1"},
    "slope left out of the output layer": {"dE/dz2"},
    "W transposed in ∂E/∂a": {"dE/da1"},
    "only the first output's path to ∂E/∂a": {"dE/da1"},
    "∂E/∂W transposed": {"dE/dW1", "dE/dW2"},
    "η taken twice": {"W1_new", "W2_new"},
    "weights replaced before all gradients are known": {"dE/da1", "W1_new", "W2_new"},
    "largest component of each gradient halved": {"dE/dW1", "dE/dW2"},
    "two components of ∂E/∂W1 swapped": {"dE/dW1"},
}


@cache
def points(architecture: Any, dtype: str, scale: float = 1, index: int = 0) -> tuple[Point, Point]:
    """The point that is judged, and another at which the adapter was called before.

    The same ones for every fault: what may be held there is computed once.
    """
    return tuple(point(planted.drawn(architecture, scale, index + i), dtype) for i in (0, 50))  # type: ignore[return-value]


def judged(fault: Any, dtype: str, architecture: Any = planted.DOCUMENT, scale: float = 1) -> list[Measurement]:
    at, before = points(architecture, dtype, scale)
    found: list[Measurement] = detection.judged(fault, at, before, 0)[1]
    return found


def blamed(measurements: list[Measurement]) -> set[str]:
    return {m.quantity for m in measurements if m.verdict == "deviates" and m.level == "step"}


def test_there_are_more_than_sixty_faults_and_no_two_are_called_the_same() -> None:
    kinds = {f.kind for f in planted.FAULTS}
    assert len(FAULTS) == len(planted.FAULTS) > 60
    assert kinds == {"mathematics", "state", "precision", "sometimes", "relative"}


@pytest.mark.parametrize("scale", [1, 4, 20])
@pytest.mark.parametrize("dtype", FORMATS)
def test_the_correct_pass_is_never_accused(dtype: str, scale: float) -> None:
    for architecture in detection.ARCHITECTURES:
        verdicts = {m.verdict for m in judged(planted.CORRECT, dtype, architecture, scale)}
        assert verdicts <= {"conforms", "lost", "vacuous", "ill-conditioned"}, verdicts


@pytest.mark.parametrize("name", BLAME)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_fault_is_blamed_on_its_equation_and_no_other(name: str, dtype: str) -> None:
    found = judged(FAULTS[name], dtype)
    assert blamed(found) == BLAME[name], found[0].reason


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_moves_something_by_more_than_twice_its_allowance_is_caught(name: str) -> None:
    """In float32, in the document's network and in the layered one: the measurement of `benchmarks/detection.py`."""
    fault = FAULTS[name]
    for architecture in planted.planted_in(fault):
        at, before = points(architecture, "float32")
        answer, measurements = detection.judged(fault, at, before, 0)
        if detection.obliged(fault, at, before, 0, answer).must:
            assert detection.accused(measurements)


@pytest.mark.parametrize("dtype", FORMATS)
def test_faults_in_every_dtype_are_obliging_and_caught(dtype: str) -> None:
    """The allowances that the obligation is taken from are of every dtype; 256 u in the slopes exceed them twice."""
    fault = FAULTS["slopes off by 2^8 u"]
    at, before = points(planted.LAYERED, dtype)
    answer, measurements = detection.judged(fault, at, before, 0)
    assert detection.obliged(fault, at, before, 0, answer).must
    assert blamed(measurements)
    assert blamed(measurements) <= {f"dE/dz{layer}" for layer in (1, 2, 3, 4)}
    answer, _ = detection.judged(planted.CORRECT, at, before, 0)
    assert not detection.obliged(planted.CORRECT, at, before, 0, answer).must


def test_what_breaks_the_contract_is_named() -> None:
    changed = judged(FAULTS["weights changed in place"], "float64")
    assert [m.reason for m in changed if (m.reason or "").startswith("inputs: W1 changed in place")]
    noisy = judged(FAULTS["gradients with noise of 64 u"], "float64")
    assert [m.reason for m in noisy if (m.reason or "").startswith("nondeterminism")]


def test_the_benchmark_finds_no_obliged_draw_missed_and_nobody_accused() -> None:
    """A small instance of the measurement, the other checkers included, so that it cannot rot."""
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    rows = {r["fault"]: r for r in detection.block("float64", 1, draws=1, checker_draws=1, only="sign of")}
    correct = rows["none"]
    assert all(correct[c] == 0 for c in ("caught", *detection.CHECKERS))
    assert correct["checked"] == correct["active"] == len(detection.ARCHITECTURES)
    assert sum(r["missed"] for r in rows.values()) == 0
    flipped = rows["sign of ∂E/∂a"]
    assert flipped["caught"] == flipped["obliged"] == flipped["gradcheck"] == flipped["check_grads"] == 2
    assert rows["sign of the update"]["caught"] == 2
    assert rows["sign of the update"]["gradcheck"] == 0, "gradcheck sees no update"
