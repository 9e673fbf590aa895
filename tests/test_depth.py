"""What the whole level certifies by depth: a small instance of `benchmarks/depth.py`."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from tests_support import benchmark

pytest.importorskip("torch")
pytest.importorskip("tabulate")

depth = benchmark("depth")


def cell(layers: int, certified: int) -> object:
    return depth.Cell("relu", "float16", 2, layers, 3, certified, 1, certified, 1.0, 2.0, 0, 0.0)


def test_a_shallow_network_is_certified_and_set_beside_another_revision(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    narrow = ["--width", "8", "--activation", "relu", "-d", "bfloat16", "--draws", "1"]
    old = tmp_path / "old.json"
    old.write_text(json.dumps([asdict(replace(cell(1, 0), dtype="bfloat16", width=8))]), encoding="utf-8")
    depths = ["--depth", "1", "--depth", "16"]
    assert depth.main([*narrow, *depths, "--against", str(old), "-o", str(tmp_path)]) == 0
    assert "| relu         | bfloat16 | 1 → 16" in capsys.readouterr().out
    rows = (tmp_path / "depth.csv").read_text(encoding="utf-8").splitlines()
    assert [r.split(",")[0] for r in rows] == ["revision", "before", "now", "now"]
    assert rows[2].startswith("now,relu,bfloat16,8,1,3,2,")
    assert "0 of 33" in (tmp_path / "depth.md").read_text(encoding="utf-8")


def test_networks_deeper_than_the_first_that_says_nothing_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def judged(chosen: object, activation: str, dtype: str, width: int, layers: int, draws: int) -> object:
        asked.append(layers)
        return cell(layers, certified=3 if layers < 4 else 0)

    monkeypatch.setattr(depth, "cell", judged)
    assert depth.main(["--width", "2", "--activation", "relu", "-d", "float16"]) == 0
    assert asked == [1, 2, 4]


def test_silence_begins_after_the_deepest_network_of_which_a_gradient_is_certified() -> None:
    assert depth.silent_from([cell(1, 1), cell(2, 0), cell(4, 1), cell(8, 0)]) == "8"
    assert depth.silent_from([cell(1, 1), cell(2, 1)]) == "> 2"
    assert depth.silent_from([cell(1, 0)]) == "1"
