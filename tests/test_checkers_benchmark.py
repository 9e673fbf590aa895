"""The measurement of what a check costs, on its smallest network, so that it cannot rot."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("jax")
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


checkers = loaded("checkers")
SMALLEST = checkers.SMALL[0]
#: What each checker verifies of the network 2-2-2: 12 parameters in 4 tensors, 17 equations.
VERIFIED = {
    checkers.STEP: "all 41 components of 17 quantities",
    checkers.WHOLE: "all 25 components of 9 quantities",
    checkers.COMPLETE: "all 66 components of 26 quantities",
    checkers.FAST: "one random direction in each of 4 tensors",
    checkers.SLOW: "∂E/∂w of 12 parameters",
    checkers.JAX: "one random direction",
}


def ran(network: Any, checker: str, seconds: float, backward: float = 1.0, forward: float = 1.0) -> Any:
    return checkers.Row(network, checker, "all", seconds, forward, backward, 1.0)


def sentence(rows: list[Any], beginning: str) -> str:
    (found,) = (s for s in checkers.findings(rows) if s.startswith(beginning))
    return str(found)


@pytest.mark.parametrize("name", checkers.CHECKERS)
def test_every_checker_accepts_a_correct_network_and_says_what_it_verified(name: str) -> None:
    assert checkers.CHECKERS[name].prepare(SMALLEST.case())() == VERIFIED[name]


def test_what_is_measured_in_turn_is_told_in_ratios() -> None:
    found = checkers.in_turn(SMALLEST, rounds=1)
    assert min(found.backward, found.step, found.fast, found.complete) > 0
    told = checkers.InTurn(checkers.TURNS[0], 0.004, 0.032, 0.16, 0.8)
    assert str(told) == (
        "512×6, batch 32: backward pass 4 ms; step level 32 ms, 8.0 backward passes; gradcheck fast 160 ms, "
        "5.0 times the step level; complete check 800 ms, 5.0 times gradcheck fast"
    )


@pytest.mark.parametrize("name", checkers.CHECKERS)
def test_every_checker_says_that_a_doubled_derivative_is_wrong(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import jax
    import torch

    from gradconform.adapters import on_jax, on_torch

    def doubled_in_torch(z: torch.Tensor) -> torch.Tensor:
        return 2 * torch.sigmoid(z) - torch.sigmoid(z).detach()

    def doubled_in_jax(z: Any) -> Any:
        return 2 * jax.nn.sigmoid(z) - jax.lax.stop_gradient(jax.nn.sigmoid(z))

    monkeypatch.setattr(on_torch.Operations, "sigmoid", staticmethod(doubled_in_torch))
    monkeypatch.setattr(on_jax.Operations, "sigmoid", staticmethod(doubled_in_jax))
    said = checkers.CHECKERS[name].prepare(SMALLEST.case())()
    assert said.startswith(VERIFIED[name])
    assert ("deviates" if name.startswith("gradconform") else "rejected") in said.removeprefix(VERIFIED[name])


def test_a_measurement_is_taken_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    row = checkers.in_its_own_process(SMALLEST, checkers.STEP)
    assert row.verified == VERIFIED[checkers.STEP]
    assert row.seconds > row.backward > 0
    assert row.passes == row.seconds / row.backward
    assert 0 <= row.peak < 50


def test_gradcheck_is_estimated_where_it_would_take_over_a_minute() -> None:
    small, large = checkers.SMALL[-1], checkers.LARGER[1]
    rows = [ran(small, checkers.SLOW, small.parameters * 3.0), ran(large, checkers.FAST, 1.0, forward=0.01)]
    estimated = checkers.skipped(large, checkers.SLOW, rows)
    assert estimated.estimate == pytest.approx(3 * 0.01 * large.parameters)
    assert estimated.verified == "not run: about 4.4 hours"
    assert estimated.seconds is None
    assert checkers.skipped(large, checkers.FAST, rows) is None


def test_a_check_that_memory_does_not_hold_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = checkers.LARGER[1], checkers.LARGER[-1]
    rows = [checkers.Row(small, checkers.WHOLE, "all", 1.0, 1.0, 1.0, peak=1024.0)]
    assert checkers.skipped(small, checkers.WHOLE, rows) is None
    monkeypatch.setattr(checkers, "available_memory", lambda: 2**32)
    assert checkers.skipped(large, checkers.WHOLE, rows).verified.startswith("not run: about ")
    assert checkers.skipped(large, checkers.FAST, rows) is None


def test_the_findings_are_the_ratios_and_the_exponents_of_the_times() -> None:
    rows = [ran(n, checkers.STEP, 1e-9 * n.work**0.75) for n in checkers.LARGER]
    rows += [ran(checkers.LARGER[2], checkers.FAST, 1e-9 * checkers.LARGER[2].work ** 0.75 / 4)]
    rows += [ran(checkers.SMALL[-1], checkers.SLOW, 30.0), ran(checkers.SMALL[-1], checkers.WHOLE, 0.5)]
    assert "(multiply-adds of a backward pass)^0.75," in sentence(rows, "step level: ")
    assert "(5 networks above 10,000 parameters)" in sentence(rows, "step level: ")
    assert sentence(rows, "step level of 512×6, batch 32 against").endswith("4.0 times its time")
    assert sentence(rows, "gradcheck of 32-32-32").endswith("60 times its time")
    assert sentence(rows, "whole level of 512-512-512").endswith("not measured")


def test_the_table_and_the_figure_show_what_was_run_and_what_was_not(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("tabulate")
    rows = [ran(SMALLEST, name, 2.0, backward=0.5) for name in checkers.CHECKERS]
    rows += [checkers.Row(checkers.SMALL[1], checkers.SLOW, "not run: about 2 hours", estimate=7200.0)]
    found = checkers.table(rows)
    assert list(found.columns) == [
        "network", "parameters", "checker", "dtype", "verified", "seconds", "backward passes", "peak MiB",
    ]  # fmt: skip
    assert list(found["backward passes"][:-1]) == [4.0] * len(checkers.CHECKERS)
    assert math.isnan(found["seconds"].iloc[-1])
    last = [cell.strip() for cell in checkers.markdown(found).splitlines()[-1].strip("|").split("|")]
    assert last[4:] == ["not run: about 2 hours", "–", "–", "–"]
    figure = checkers.drawn(rows)
    (axes,) = figure.axes
    assert axes.get_title(loc="left").endswith("4.0 backward passes, and gradcheck 4.0")
    assert "gradcheck, not run: estimated" in [text.get_text() for text in axes.get_legend().get_texts()]
    figure.savefig(tmp_path / "checkers.svg")
    assert (tmp_path / "checkers.svg").read_text(encoding="utf-8").startswith("<?xml")
