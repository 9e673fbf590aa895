"""Hostile adapters: each is contained in its worker, said what it did, and everything else goes on."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from hostile_adapters import EXPECTED
from tests_support import WRONG_ADAPTERS, Cli

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
        command = f"reproduce with: gradconform run -a hostile_adapters:{name}/only -c {CASE} -d float32"
        assert not crash or crash[0]["reason"].endswith(command), crash[0]["reason"]
    assert not wrong
    assert {m["verdict"] for m in found["numpy"]} == {"conforms"}
    assert len({json.dumps(m) for rows in found.values() for m in rows}) == sum(map(len, found.values()))
