"""What frameworks lose: a small instance of `benchmarks/losing.py`, and that it finds what it is for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests_support import benchmark

from gradconform.adapters.contract import Answer, Point, Route, Trace
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.cases import BadInput
from gradconform.reference.derivations.activations import ACTIVATIONS
from gradconform.reference.derivations.losses import LOSSES

losing = benchmark("losing")
SLOPE = losing.Subject("sigmoid", "slope")


class Neuron:
    """A sigmoid neuron in NumPy: its slope from the rounded output, or from z with its digits kept."""

    routes = (Route("only"),)

    def __init__(self, keeps: bool) -> None:
        self.name, self.keeps = "keeping" if keeps else "losing", keeps

    def answer(self, point: Point, route: str) -> Answer:
        fl, z = FORMATS[point.dtype].round, np.asarray(point.values["X"])
        g = np.full_like(z, losing.ADJOINT)
        a, below = (fl(1 / fl(1 + fl(np.exp(x)))) for x in (-z, z))
        slope = fl(g * fl(a * (below if self.keeps else fl(1 - a))))
        return Answer(trace=Trace({"z1": z, "a1": a}, {"a1": g, "z1": slope}))


class Silent(Neuron):
    def answer(self, point: Point, route: str) -> Answer:
        return Answer(loss=0.0)


def few(target: object, side: float, quick: bool) -> list[float]:
    return [side * x for x in (2.0, 12.0, 16.0, 20.0, 40.0)]


def test_a_slope_from_the_rounded_output_is_listed_from_where_that_is_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losing, "arguments", few)
    monkeypatch.setattr(losing, "BETWEEN", 4)
    ranges, counts, wrong = losing.scanned(((Neuron(keeps=False), Neuron(keeps=True)), SLOPE, "float32", True))
    assert not wrong
    assert counts.keys() == {"conforms", "lost"}
    (found,) = ranges
    assert found.route == "losing/only"
    assert 16 < found.start < 17.5  # 1 + e^−z rounds to 1 from 24·log 2 = 16.64 on
    assert found.end == 40
    assert found.half == 12
    assert 20 < found.bits <= 24
    assert (found.form, found.keeps) == ("g(a(1-a))", "g·(1+e^-z)⁻²·e^-z")
    (row,) = losing.shown(ranges).splitlines()[2:]
    assert row.startswith("| sigmoid | slope | float32 | 12 | 16")
    assert row.endswith("| losing/only |")


def test_in_16_bits_what_certifies_nothing_is_listed_where_another_program_keeps_half_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(losing, "arguments", lambda target, side, quick: [side * 2.0, side * 8.0])
    monkeypatch.setattr(losing, "BETWEEN", 0)
    ((found,), counts, _) = losing.scanned(((Neuron(keeps=False),), SLOPE, "bfloat16", True))
    assert counts["lost"] == 0
    assert (found.start, found.verdict) == (8, "vacuous")
    assert found.bits >= 4


def test_a_route_without_a_trace_has_nothing_to_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losing, "arguments", few)
    with pytest.raises(BadInput, match="reports no intermediate values"):
        losing.scanned(((Silent(keeps=True),), SLOPE, "float32", True))


def test_every_activation_and_loss_is_asked_for() -> None:
    rowwise = {n for n, a in ACTIVATIONS.items() if a.rowwise}
    assert {s.operator for s in losing.subjects()} == {*ACTIVATIONS, *LOSSES} - rowwise - {"identity"}


@pytest.mark.parametrize("dtype", FORMATS)
def test_the_arguments_reach_from_the_smallest_number_to_the_largest(dtype: str) -> None:
    target = FORMATS[dtype]
    xs = losing.arguments(target, -1.0, False)
    assert xs == sorted(xs, reverse=True)
    assert all(x < 0 and target.holds(x) for x in xs)
    assert abs(xs[0]) < 2.0 ** (target.emin + 32)
    assert abs(xs[-1]) > target.largest / 2.0**33


def test_the_list_is_written(tmp_path: Path) -> None:
    found = losing.Range("torch/eager", "sigmoid", "slope", None, "float64", 36.8, 685.0, "vacuous", 20.0, 50.0, 40.0,
                         "lost", "g(a(1-a))", "g·e^z | g")  # fmt: skip
    losing.written(tmp_path, [found, losing.replace(found, route="jax/jit")], ["torch 2"])
    text = (tmp_path / "lost.md").read_text(encoding="utf-8")
    assert "with torch 2 on the CPU" in text
    assert "| g·e^z \\| g | torch/eager, jax/jit |" in text
    assert len((tmp_path / "lost.csv").read_text(encoding="utf-8").splitlines()) == 3
