"""The action and the reusable workflow that other repositories use: by GitHub's schemas; and their steps run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
ACTION = ROOT / "docs" / "action" / "action.yml"
WORKFLOW = ROOT / ".github" / "workflows" / "gradients.yml"


def loaded(path: Path) -> Any:
    yaml = pytest.importorskip("ruamel.yaml")
    return yaml.YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def steps(of: Any) -> dict[str, str]:
    return {s["name"]: s["run"] for s in of if "run" in s}


@pytest.mark.parametrize(
    ("path", "schema", "wrong"),
    [(ACTION, "vendor.github-actions", "using:"), (WORKFLOW, "vendor.github-workflows", "runs-on:")],
    ids=["action", "workflow"],
)
def test_they_are_ones_by_githubs_schema(path: Path, schema: str, wrong: str, tmp_path: Path) -> None:
    pytest.importorskip("check_jsonschema")
    lint = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    assert subprocess.run([*lint, str(path)], capture_output=True, check=False).returncode == 0
    other = tmp_path / "other.yml"
    other.write_text(path.read_text(encoding="utf-8").replace(wrong, "nothing:"), encoding="utf-8")
    assert subprocess.run([*lint, str(other)], capture_output=True, check=False).returncode == 1


def test_both_take_the_same_steps_and_inputs() -> None:
    action, workflow = loaded(ACTION), loaded(WORKFLOW)
    assert steps(action["runs"]["steps"]) == steps(workflow["jobs"]["conformance"]["steps"])
    called = workflow["on"]["workflow_call"]["inputs"]
    assert {*action["inputs"]} - {"output"} == {*called} - {"python-version"}


def ended(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    scripts = str(Path(sys.executable).parent)
    path = {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", command], cwd=folder, env={**os.environ, **path, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_its_steps_judge_report_and_compare(tmp_path: Path) -> None:
    """As GitHub runs them but for the installation; a run is its own baseline."""
    commands, summary = steps(loaded(ACTION)["runs"]["steps"]), tmp_path / "summary.md"
    assert list(commands) == ["Install", "Judge", "Report", "Compare"]
    given = {
        "ADAPTER": "numpy", "OPTIONS": "-c 'document/worked-example' -d float64", "OUTPUT": "gradients",
        "BASELINE": "", "GITHUB_STEP_SUMMARY": str(summary),
    }  # fmt: skip
    for name in ("Judge", "Report", "Compare"):
        done = ended(commands[name], tmp_path, **given)
        assert done.returncode == 0, done.stdout + done.stderr
        given["BASELINE"] = "gradients/run.jsonl.zst"
    assert (tmp_path / "gradients" / "report" / "index.html").exists()
    assert "no difference" in summary.read_text(encoding="utf-8")


def test_its_step_is_red_where_there_is_no_such_adapter(tmp_path: Path) -> None:
    judge = steps(loaded(ACTION)["runs"]["steps"])["Judge"]
    done = ended(judge, tmp_path, ADAPTER="nosuch:thing", OPTIONS="", OUTPUT="gradients")
    assert done.returncode == 2
    assert "nosuch" in done.stderr


@pytest.mark.parametrize(("baseline", "status"), [("", 1), ("nowhere.jsonl", 1), ("before.jsonl", 0)])
def test_what_deviated_before_is_left_to_the_comparison(baseline: str, status: int, tmp_path: Path) -> None:
    (tmp_path / "before.jsonl").touch()
    judge = "gradconform() { return 1; }\n" + steps(loaded(ACTION)["runs"]["steps"])["Judge"]
    done = ended(judge, tmp_path, ADAPTER="worse", OPTIONS="", OUTPUT="gradients", BASELINE=baseline)
    assert done.returncode == status


def test_requirements_are_a_line_each(tmp_path: Path) -> None:
    install = steps(loaded(ACTION)["runs"]["steps"])["Install"].replace("install -r", "install --dry-run --no-index -r")
    done = ended(install, tmp_path, INSTALL="pip\nno-such-requirement-of-ours @ file:///nowhere/at all")
    assert "no-such-requirement-of-ours" in done.stdout + done.stderr
