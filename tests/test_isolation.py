"""Hostile adapters: each is contained in its worker, said what it did, and everything else goes on."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_adapters import EXPECTED, in_place
from tests_support import WRONG_ADAPTERS, Cli, Scripted

from gradconform.adapters import registry
from gradconform.conformance.cases.catalogue import select
from gradconform.conformance.run.guard import watched
from gradconform.conformance.run.runner import perform, plan
from gradconform.conformance.run.supervisor import outcomes
from gradconform.reference.cases import BadInput, point

CASE = "document/worked-example"


def rows_of(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The measurements of a run file by adapter."""
    found = defaultdict(list)
    for text in path.read_text(encoding="utf-8").splitlines():
        values = json.loads(text)
        if "quantity" in values:
            found[values["adapter"]].append(values)
    return found


def test_every_hostile_adapter_is_contained_and_the_run_is_complete(cli: Cli, tmp_path: Path) -> None:
    hostile = [part for name in EXPECTED for part in ("-a", f"hostile_adapters:{name}")]
    asked = ("-c", CASE, "-d", "float32", "--timeout", "3", "--jobs", "2")
    done = cli("run", *hostile, "-a", "numpy", *asked, "-o", "one.jsonl", env=WRONG_ADAPTERS)
    assert done.returncode == 1, done.stderr  # the NaN deviates
    assert "Traceback" not in done.stderr
    assert "judged 1000000" not in done.stdout
    found = rows_of(tmp_path / "one.jsonl")
    assert set(found) == {*EXPECTED, "numpy"}
    wrong = {}
    for name, (_, verdict, reason) in EXPECTED.items():
        rows = found[name]
        crash = rows if verdict == "crashed" else [m for m in rows if m["verdict"] == "crashed"]
        right = any(m["verdict"] == verdict and (m["reason"] or "").startswith(reason) for m in rows)
        if not right or len(crash) != (verdict == "crashed"):
            wrong[name] = [(m["verdict"], m["reason"]) for m in rows][:2]
        command = f"reproduce with: gradconform run -a hostile_adapters:{name}/only -c {CASE} -d float32 --timeout 3"
        assert not crash or crash[0]["reason"].endswith(command), crash[0]["reason"]
    assert not wrong
    assert {m["verdict"] for m in found["numpy"]} == {"conforms"}
    assert len({json.dumps(m) for rows in found.values() for m in rows}) == sum(map(len, found.values()))


def test_a_process_that_dies_of_an_earlier_adapter_is_not_put_down_to_a_later_one(cli: Cli, tmp_path: Path) -> None:
    asked = ("-c", "document/scale-1/00*", "-d", "float64", "--jobs", "1")
    done = cli("run", "-a", "hostile_adapters:later", "-a", "numpy", *asked, "-o", "one.jsonl", env=WRONG_ADAPTERS)
    assert done.returncode in (0, 3), done.stderr
    found = rows_of(tmp_path / "one.jsonl")["numpy"]
    assert {m["verdict"] for m in found} == {"conforms"}
    assert len(found) == 10 * 3 * 17


def test_inputs_changed_in_place_are_named_and_put_back() -> None:
    at = point(select(["network/published/*"])[0], "float64")
    kept = {n: np.array(v) for n, v in at.values.items()}
    (row,) = watched(registry.choose(in_place)[0], at, "opencl", "command")
    assert row.verdict == "crashed"
    assert row.reason == f"inputs: {' '.join(at.parameters)} changed in place; reproduce with: command"
    assert all(np.array_equal(v, kept[n]) for n, v in at.values.items())


def test_a_correct_adapter_that_is_watched_gives_what_it_gives_unwatched() -> None:
    at = point(select([CASE])[0], "float64")
    (chosen,) = registry.choose(Scripted())
    rows = watched(chosen, at, "opencl", "command")
    assert len(rows) == 17 + 8
    assert {m.verdict for m in rows} == {"conforms"}
    assert all(m.reason is None for m in rows)


def test_measurements_depend_neither_on_the_number_of_workers_nor_on_the_order_of_cases() -> None:
    chosen = [c for name in registry.installed()[0] if name != "jax" for c in registry.choose(name)]
    tasks = plan(chosen, select([CASE, "document/scale-4/00[0-3]", "network/iris"]), ["float64", "bfloat16"],
                 "cpu", "opencl")  # fmt: skip
    here = [perform(task).measurements for task in tasks]
    backwards = list(outcomes(tasks[::-1], jobs=2))[::-1]
    # Compared as text: NaN is not equal to itself.
    assert [repr(outcome.measurements) for outcome in backwards] == [repr(m) for m in here]


def test_two_cases_or_routes_of_one_name_are_refused() -> None:
    (case,) = select([CASE])
    chosen = registry.choose("numpy/central")
    with pytest.raises(BadInput, match="two of the cases are called 'document/worked-example'"):
        plan(chosen, [case, case], ["float64"], "cpu", "opencl")
    with pytest.raises(BadInput, match="two of the routes are called 'numpy/central'"):
        plan([*chosen, *chosen], [case], ["float64"], "cpu", "opencl")


def test_a_framework_that_is_too_old_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    registry.load.cache_clear()
    monkeypatch.setattr(registry.metadata, "version", lambda name: "1.13.1")
    try:
        message = r"adapter 'torch' needs torch>=2\.4, 1\.13\.1 is installed; python -m pip install --upgrade"
        with pytest.raises(registry.NotInstalled, match=message):
            registry.load("torch")
    finally:
        registry.load.cache_clear()
