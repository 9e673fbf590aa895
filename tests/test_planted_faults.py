"""Planted faults: each is caught, by the equation at fault; the correct program is not accused."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from gradconform.conformance.catalogue import random_case
from gradconform.conformance.check import check_answer
from gradconform.conformance.measurement import Measurement
from gradconform.reference.cases import Point, point
from gradconform.reference.formats import FORMATS
from gradconform.reference.profiles import OPENCL

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

OF = {"case": "c", "adapter": "by-hand", "route": "numpy", "dtype": "d"}
#: What each fault is expected to be blamed on at the step level.
BLAME = {
    "sign of ∂E/∂a flipped": {"dE_total/da_o1", "dE_total/da_o2"},
    "½ dropped": {"E1", "E2", "dE_total/da_o1", "dE_total/da_o2"},
    "w5 and w7 swapped": {"dE_total/da_h1"},
    "E2 path dropped": {"dE_total/da_h1", "dE_total/da_h2"},
    "η applied twice": {f"w{i}_new" for i in range(1, 9)},
}


def judged(fault: object, at: Point) -> list[Measurement]:
    return list(check_answer(planted.answer(fault, at), at, OPENCL, OF))


def blamed(measurements: list[Measurement]) -> set[str]:
    return {m.quantity for m in measurements if m.verdict == "deviates" and m.level == "step"}


def named(name: str, dtype: str) -> object:
    return next(f for f in planted.faults(dtype) if f.name == name)


@pytest.mark.parametrize("scale", [1, 4, 20])
@pytest.mark.parametrize("dtype", FORMATS)
def test_the_correct_program_is_never_accused(dtype: str, scale: int) -> None:
    for index in range(8):
        measurements = judged(planted.CORRECT, point(random_case(scale, index, 7), dtype))
        assert {m.verdict for m in measurements} <= {"conforms", "vacuous"}, (index, measurements)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", BLAME)
def test_a_fault_is_blamed_on_its_equation_and_no_other(name: str, dtype: str) -> None:
    assert blamed(judged(named(name, dtype), point(random_case(1, 0, 7), dtype))) == BLAME[name]


@pytest.mark.parametrize("dtype", FORMATS)
def test_256_units_of_roundoff_in_the_slope_of_the_sigmoid_are_caught_in_every_draw(dtype: str) -> None:
    for index in range(10):
        found = blamed(judged(named("σ' off by 2^8 u", dtype), point(random_case(1, index, 7), dtype)))
        assert found & {"dE_total/do1", "dE_total/do2", "dE_total/dh1", "dE_total/dh2"}, index
        assert found <= {"dE_total/do1", "dE_total/do2", "dE_total/dh1", "dE_total/dh2"}, (index, found)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_weights_updated_one_at_a_time_are_caught(dtype: str) -> None:
    found = blamed(judged(named("weights updated one at a time", dtype), point(random_case(1, 0, 7), dtype)))
    assert found
    assert found <= {f"w{i}_new" for i in range(2, 9)}, "the first weight is right"


def test_the_benchmark_finds_no_obliged_draw_missed_and_nobody_accused() -> None:
    """A small instance of the measurement, the other checkers included, so that it cannot rot."""
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    rows = detection.block("float64", 1, draws=2, checker_draws=1)
    by_name = {r["fault"]: r for r in rows}
    assert by_name["none"]["caught"] == by_name["none"]["gradcheck"] == by_name["none"]["check_grads"] == 0
    assert sum(r["obliged, missed"] for r in rows) == 0
    assert all(r["obliged"] == 2 for r in rows if r["fault"].startswith("σ'"))
    assert by_name["sign of ∂E/∂a flipped"]["gradcheck"] == by_name["sign of ∂E/∂a flipped"]["check_grads"] == 1
