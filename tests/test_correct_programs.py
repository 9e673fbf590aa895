"""Correct code is never called wrong: a small instance of `benchmarks/correct.py`, and that it would notice."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from tests_support import benchmark

pytest.importorskip("ml_dtypes")

from gradconform.conformance.cases.networks import architectures, random_network
from gradconform.conformance.check import check_route
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.profiles import OPENCL, Profile
from gradconform.reference.cases import derivation, point
from gradconform.reference.equations import evaluate

passes = benchmark("correct_pass")
programs = benchmark("correct_programs")
frameworks = benchmark("correct_frameworks")
device = benchmark("permitted_device")
correct = benchmark("correct")

PROGRAMS = {p.name: p for p in programs.PROGRAMS}
WAYS = {w.label: w for w in frameworks.WAYS if not w.slow and not w.convention}
#: Of JAX the ways that do not compile every operation anew for every shape.
QUICK = [n for n, w in WAYS.items() if w.framework != "jax" or "layer by layer" in n or "each layer" in n]


def few(of: Any, dtype: str) -> Any:
    """An ordinary case and an extreme one, of the first shape that a program's own formulas are in."""
    shape = correct.shapes(of.activations, of.own_losses)[0] if hasattr(of, "activations") else correct.shapes()[-1]
    number = sum(map(ord, getattr(of, "name", "") or of.label)) % len(correct.EXTREMES)
    yield random_network("network/ordinary", shape, number)
    yield correct.extreme(shape, correct.EXTREMES[number], FORMATS[dtype], 0)


def found(of: Any, adapter: Any, dtype: str) -> Any:
    empty = correct.Found("tested", dtype, Counter(), [])
    return correct.judged(empty, adapter, few(of, dtype), FORMATS[dtype])


def test_there_are_more_than_forty_correct_programs_and_no_two_are_called_the_same() -> None:
    names = [p.name for p in programs.PROGRAMS] + [w.label for w in frameworks.WAYS]
    assert len(set(names)) == len(names) > 60


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_by_hand_is_not_accused(name: str) -> None:
    dtype = list(FORMATS)[list(PROGRAMS).index(name) % 4]
    judged = found(PROGRAMS[name], passes.ByProgram(PROGRAMS[name]), dtype)
    assert judged.counts.total()
    assert not judged.wrong, correct.told(judged.wrong[0], name)


def test_a_slope_whose_square_overflows_is_followed_through_the_overflow() -> None:
    """In float16 (n + 2)² is infinite from e^z = 15 on, and mish's slope is left with its first term."""
    program, (shape, *_) = PROGRAMS["mish = z·n/(n+2)"], correct.shapes(["mish"])
    judged = correct.judged(
        correct.Found("tested", "float16", Counter(), []),
        passes.ByProgram(program),
        iter([correct.extreme(shape, "kinks", FORMATS["float16"], 0)]),
        FORMATS["float16"],
    )
    assert judged.counts["conforms"] > 10
    assert not judged.wrong


@pytest.mark.parametrize("name", QUICK)
def test_another_way_of_a_framework_is_not_accused(name: str) -> None:
    way = WAYS[name]
    if package := way.missing():
        pytest.skip(f"{package} is not installed")
    judged = found(way, way.adapter(), way.dtypes[0])
    assert judged.counts.total()
    assert not judged.wrong, correct.told(judged.wrong[0], name)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_by_hand_has_the_gradient_of_the_mathematics(name: str) -> None:
    """No judge in it: float64 against exact balls, to a millionth of the largest component."""
    program = PROGRAMS[name]
    for shape in correct.shapes(program.activations, program.own_losses):
        at = point(random_network("network/ordinary", shape, 1), "float64")
        assert error(program, at) < 1e-6


def error(program: Any, at: Any) -> float:
    """The largest error of a gradient, over the largest component of that gradient."""
    of = derivation(at.derivation)
    answer = passes.ByProgram(program).answer(at, "numpy")
    exact = truth(of, at)
    return max(
        float(np.max(np.abs(answer.gradient[p] - exact[of.gradient[p]])) / np.max(np.abs(exact[of.gradient[p]])))
        for p in at.parameters
    )


def truth(of: Any, at: Any) -> dict[str, Any]:
    from gradconform.reference.arithmetic.ball_arrays import BallArrays

    with precision(200):
        ops = BallArrays(FORMATS["float64"], OPENCL)
        given = {n: ops.given(v) for n, v in {**at.values, of.rate: at.rate}.items()}
        values = evaluate(of, ops, given, of.gradient.values())
        return {n: np.vectorize(lambda b: float(b.exact.mid()))(v.values) for n, v in values.items()}


def wrong_program() -> Any:
    return passes.Program("wrong", backwards={"tanh": lambda f, g, z, a: g * (1 - a)})


def test_a_wrong_program_would_be_seen_by_both() -> None:
    program = wrong_program()
    at = point(random_network("network/ordinary", correct.shapes(("tanh",))[0], 1), "float64")
    assert error(program, at) > 1e-2
    judged = found(program, passes.ByProgram(program), "float32")
    assert {m.verdict for m in judged.wrong} == {"deviates"}
    assert "dE/dz1" in {m.quantity for m in judged.wrong}


def options(**changes: Any) -> Namespace:
    return Namespace(**{"device": 0, "output": None, "shown": 1, **changes})


def test_the_benchmark_ends_in_1_where_correct_code_is_accused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("tabulate")
    judged = found(wrong_program(), passes.ByProgram(wrong_program()), "float32")
    assert correct.said([judged], options(output=tmp_path), 1.0) == 1
    assert "deviates: tested: float32 network/ordinary" in capsys.readouterr().out
    assert (tmp_path / "correct.csv").read_text(encoding="utf-8").startswith("program,dtype,judged,")
    assert correct.said([replace(judged, required=False)], options(), 1.0) == 0
    nothing = correct.Found("tested", "", Counter(), [], missing="autograd is not installed")
    assert correct.said([nothing], options(), 1.0) == 3
    assert "autograd is not installed" in capsys.readouterr().out


@pytest.mark.parametrize("number", range(12))
def test_what_the_hypotheses_permit_conforms(number: int) -> None:
    """Twelve random programs: a random form, order, flushing and error of K ulp at every equation."""
    (judged,) = correct.of_device(number, number + 1, [list(FORMATS)[number % 4]])
    assert judged.counts.total()
    assert not judged.wrong, correct.told(judged.wrong[0], "permitted device")


@pytest.mark.parametrize("dtype", FORMATS)
def test_a_device_that_is_not_permitted_is_accused(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of bfloat16 the bound counts float32's ulps.
    times = 2.0**14 if dtype == "bfloat16" else 8.0
    wide = Profile("wide", {f: {n: times * k for n, k in ks.items()} for f, ks in OPENCL.ulps.items()}, flush=True)
    monkeypatch.setattr(device.Device.__init__, "__defaults__", (wide,))

    def verdicts(number: int) -> set[str]:
        case = random_network("test/device", architectures()[number], number)
        adapter = device.PermittedDevice(number)
        return {m.verdict for m in check_route(adapter, adapter.routes[0], point(case, dtype), "opencl")}

    assert any("deviates" in verdicts(number) for number in range(6))


def test_the_device_errs_by_its_whole_bound_and_no_more() -> None:
    ops = device.Device(FORMATS["float32"], Random(1))
    x = ops.given(np.full(400, 0.3))
    off = np.abs(ops.exp(x).numbers - np.exp(0.3)) / 2.0**-23
    assert 2.4 < off.max() <= 3


@pytest.mark.parametrize("order", [o for _, o in programs._ORDERS], ids=[n for n, _ in programs._ORDERS])
def test_every_order_adds_every_term_once(order: Any) -> None:
    terms = 2.0 ** np.arange(13.0)
    assert order(terms[:, None])[0] == terms.sum()
