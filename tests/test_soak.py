"""The soak: it ends in no false alarm or in a minimal case, and goes on where it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from tests_support import BENCHMARKS, WRONG_ADAPTERS, benchmark

from gradconform.conformance.cases.networks import architectures, random_network
from gradconform.reference.cases import Case
from gradconform.reference.derivations.activations import ACTIVATIONS
from gradconform.reference.derivations.losses import LOSSES
from gradconform.reference.derivations.network import Architecture

shrinking = benchmark("shrinking")
soak = benchmark("soak")


def soaked(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, *WRONG_ADAPTERS.values()])}
    command = [sys.executable, str(BENCHMARKS / "soak.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_correct_routes_raise_no_alarm_and_a_soak_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    state = tmp_path / "state.jsonl"
    arguments = ("-a", "numpy/complex-step", "--quantities", "200", "--seed", "5", "-o", str(state))
    first = soaked(*arguments)
    assert first.returncode == 0, first.stderr
    assert "over 1 seeds: 0 false alarms, 0 undecided" in first.stdout
    whole = state.read_text(encoding="utf-8")
    state.write_text(whole[:-20], encoding="utf-8")
    again = soaked(*arguments)
    assert again.returncode == 0, again.stderr
    header, *lines = (json.loads(line) for line in state.read_text(encoding="utf-8").splitlines())
    assert header["routes"] == ["numpy/complex-step"]
    assert len({line["number"] for line in lines}) == len(lines)
    assert sum(line["quantities"] for line in lines) >= 200
    other = soaked("-a", "numpy/central", "-o", str(state))
    assert other.returncode == 2
    assert "is of a soak with other routes or versions" in other.stderr


def test_a_wrong_route_ends_the_soak_in_a_minimal_case_that_reproduces_it(tmp_path: Path) -> None:
    found = soaked("-a", "wrong_adapters:flipped", "--quantities", "50", "-o", str(tmp_path / "state.jsonl"))
    assert found.returncode == 1, found.stderr
    assert "alarm: Alarm(case='document/scale-1/000'" in found.stdout
    program = found.stdout[found.stdout.index("import gradconform as gc") :]
    assert "rows = gc.check('wrong_adapters:flipped/only', case" in program
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, *WRONG_ADAPTERS.values()])}
    again = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert "deviates" in again.stdout


def test_a_network_shrinks_to_what_raises_the_alarm_and_its_code_builds_it_again() -> None:
    case = random_network("network/soak/00", architectures()[4], 0)

    def alarms(candidate: Case) -> bool:
        of = candidate.derivation
        return isinstance(of, Architecture) and "selu" in of.activations and bool(dict(candidate.values)["X"].any())

    small = shrinking.shrunk(case, alarms, 60)
    assert alarms(small)
    assert isinstance(small.derivation, Architecture)
    assert small.derivation.batch == 1
    assert max(small.derivation.sizes) == 1
    assert len(small.derivation.activations) == 2  # the one that raises it, and the output's
    made: dict[str, Case] = {}
    exec("\n".join(shrinking.code(small, "numpy", "float64").splitlines()[:2]), made)
    assert made["case"] == small


def test_the_document_shrinks_to_simple_numbers() -> None:
    case = soak.random_case(4, 0)
    small = shrinking.shrunk(case, lambda c: dict(c.values)["w3"] != 0, 60)
    assert np.count_nonzero([v for _, v in small.values]) == 1


def test_the_shapes_of_a_soak_use_every_activation_loss_and_reduction() -> None:
    used = [architectures()[n] for n in soak.SHAPES]
    assert {a for of in used for a in of.activations} == set(ACTIVATIONS)
    assert {of.loss for of in used} == set(LOSSES)
    assert {of.reduction for of in used} == {"sum", "mean"}
