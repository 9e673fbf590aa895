"""The step level of any derivation: of a rule that no case has, on numbers and on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradconform.conformance.levels.shared import Report
from gradconform.conformance.levels.step_level import StepLevel
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.equations import Derivation, Equation, Form, elementwise


def momentum(shape: tuple[int, ...]) -> Derivation:
    """v' = μ·v + g and w' = w − η·v'."""
    velocity = Form("mu·v+g", ("mu", "v", "g"), lambda ops, mu, v, g: mu * v + g, "a rule")
    weight = Form("w-eta·v", ("w", "eta", "v'"), lambda ops, w, eta, v: ops.descend(w, eta, v), "a rule")
    equations = tuple(
        Equation(name, "update", "a rule", (form,), part=elementwise, shape=shape)
        for name, form in (("v'", velocity), ("w'", weight))
    )
    return Derivation("momentum", ("g", "v", "mu"), ("w",), "eta", "w'", equations, {}, {"w": "w'"})


def numbers(shape: tuple[int, ...], seed: int) -> Any:
    drawn = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return drawn if shape else float(drawn)


@pytest.mark.parametrize("shape", [(), (3, 4)])
def test_reports_are_judged_together_as_one_by_one(shape: tuple[int, ...]) -> None:
    of, single = momentum(shape), np.float32
    w, g, v = (numbers(shape, seed) for seed in range(3))
    given = {"w": w, "g": g, "v": v, "mu": float(single(0.9)), "eta": float(single(0.1))}
    moved = single(given["mu"]) * single(v) + single(g)
    reported = {"v'": moved if shape else float(moved)}
    new = (single(w) - single(given["eta"]) * moved) * single(1 + 2.0**-20)
    reports = [Report(n, of.by_name[n], x, reported) for n, x in (("v'", moved), ("w'", new))]
    together = StepLevel(of, FORMATS["float32"], OPENCL, given).judge_each(reports)
    assert [j.verdict for j in together] == ["conforms", "deviates"]
    assert together == [StepLevel(of, FORMATS["float32"], OPENCL, given).judge(r) for r in reports]


@pytest.mark.parametrize("shape", [(), (3, 4), (40_000,)])
@pytest.mark.parametrize("off", [0.0, 2.0**-20])
def test_an_update_rule_is_judged_on_the_state_that_was_reported(shape: tuple[int, ...], off: float) -> None:
    of, single = momentum(shape), np.float32
    w, g, v = (numbers(shape, seed) for seed in range(3))
    mu, eta = (float(single(x)) for x in (0.9, 0.1))
    level = StepLevel(of, FORMATS["float32"], OPENCL, {"w": w, "g": g, "v": v, "mu": mu, "eta": eta})
    moved = single(mu) * single(v) + single(g)
    new = single(w) - single(eta) * moved
    wrong = new * single(1 + off)
    reported = {"v'": moved if shape else float(moved)}
    found = {n: level.judge(Report(n, of.by_name[n], x, reported)).verdict for n, x in (("v'", moved), ("w'", wrong))}
    assert found == {"v'": "conforms", "w'": "deviates" if off else "conforms"}
