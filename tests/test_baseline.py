"""The committed run of the pinned versions: a new run of the same cases is not worse."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
from tests_support import Cli

from gradconform.conformance.run.run_file import load_each
from gradconform.reports.diff import REGRESSIONS, compare

BASELINE = Path(__file__).parent / "baseline.jsonl"


def test_a_new_run_is_not_worse_than_the_committed_one(cli: Cli, tmp_path: Path) -> None:
    """By the comparison that users have: nothing newly deviates, all is judged as before and as accurate."""
    for name in ("torch", "jax"):
        pytest.importorskip(name)
    (header,), (before,) = load_each([BASELINE])
    pinned = {k: v for of in header["frameworks"].values() for k, v in of.items()}
    here = {name: version(name) for name in pinned}
    chosen = [option for route in header["routes"] for option in ("-a", route)]
    chosen += [option for glob in header["case_globs"] for option in ("-c", glob)]
    done = cli("run", *chosen, "-o", "new.jsonl")
    assert done.returncode == 0, done.stdout + done.stderr
    (_,), (after,) = load_each([tmp_path / "new.jsonl"])
    found = compare(before, after)
    worse = [c for c in found.changes if c.kind in REGRESSIONS]
    assert not found.regressions, (pinned, here, worse, found.shifts)
    assert found.compared == len(before)
    assert not found.gone
    assert not found.new, "a new quantity or case: run nox -s baseline"


def test_the_comparison_would_notice(tmp_path: Path) -> None:
    """The committed run with one verdict turned is a regression."""
    _, (before,) = load_each([BASELINE])
    wrong = before.copy()
    wrong.loc[wrong.index[wrong["verdict"] == "conforms"][0], "verdict"] = "deviates"
    assert compare(before, wrong).regressions == 1
