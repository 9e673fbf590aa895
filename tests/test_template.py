"""The template of an adapter package: built, installed and run as it stands; its workflow linted and its steps run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

TEMPLATE = Path(__file__).parents[1] / "docs" / "template"
AUTOGRAD = TEMPLATE.with_name("template-autograd")
WORKFLOW = TEMPLATE / ".github" / "workflows" / "gradients.yml"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment that the built wheel is installed in."""
    return built(TEMPLATE, "duals", tmp_path_factory.mktemp("template"))


def built(package: Path, name: str, folder: Path) -> dict[str, str]:
    """An environment that the wheel of an adapter's package is installed in, with nothing in it but the one file."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(package)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert {n.split("/")[0] for n in archive.namelist()} == {f"{name}.py", f"gradconform_{name}-1.0.dist-info"}
    place = folder / "site"
    install = [*pip, "install", "--quiet", "--no-deps", "--no-index", "--target", str(place), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    scripts = str(Path(sys.executable).parent)
    found = os.pathsep.join([str(place), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": found, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}


def done(command: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-e", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_its_own_tests_pass(installed: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TEMPLATE / "tests")]
    ended = subprocess.run(command, cwd=tmp_path, env=installed, capture_output=True, text=True, check=False)
    assert " passed" in ended.stdout, ended.stdout + ended.stderr
    assert ended.returncode == 0


def test_the_suite_judges_it_by_its_name(installed: dict[str, str], tmp_path: Path) -> None:
    suite = "-m pytest -q -p no:cacheprovider --pyargs gradconform.conformance --gradconform-adapter duals"
    ended = done(f"{sys.executable} {suite} --gradconform-case document/worked-example", tmp_path, installed)
    assert "2 passed, 2 skipped" in ended.stdout, ended.stdout + ended.stderr


def test_renaming_it_as_its_readme_says_leaves_nothing_of_the_old_name(tmp_path: Path) -> None:
    if shutil.which("perl") is None:
        pytest.skip("there is no perl here")
    mine = tmp_path / "mine"
    shutil.copytree(TEMPLATE, mine, ignore=shutil.ignore_patterns("__pycache__"))
    readme = (TEMPLATE / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^   (mv .*|grep .*)$", readme, re.M)
    assert len(commands) == 2
    assert done("\n".join(commands), mine, dict(os.environ)).returncode == 0
    assert [p for p in mine.rglob("*") if p.is_file() and "duals" in f"{p}{p.read_text(encoding='utf-8')}"] == []
    environment = built(mine, "yours", tmp_path)
    run = "gradconform run -a yours -c document/worked-example -d float64 -o run.jsonl"
    for command in (f"{sys.executable} -m {run}", f"{sys.executable} -m pytest -q -p no:cacheprovider {mine}/tests"):
        ended = done(command, tmp_path, environment)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "-a yours --timeout 60 -o run.jsonl" in (mine / ".github" / "workflows" / "gradients.yml").read_text(
        encoding="utf-8"
    )


def test_the_adapter_of_a_framework_that_others_wrote_passes_its_own_tests(tmp_path: Path) -> None:
    pytest.importorskip("autograd")
    environment = built(AUTOGRAD, "hips", tmp_path)
    ended = done(f"{sys.executable} -m pytest -q -p no:cacheprovider {AUTOGRAD}/tests", tmp_path, environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "18 passed" in ended.stdout
    run = "gradconform run -a hips -c network/huber -c document/saturated/37 -d float32 -o run.jsonl"
    ended = done(f"{sys.executable} -m {run}", tmp_path, environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = " ".join(ended.stdout.split())  # whatever COLUMNS says
    assert "unsupported: hips/reverse in float32: 1 of 2 cases (operation: the adapter has no huber)" in told


def workflow() -> Any:
    yaml = pytest.importorskip("ruamel.yaml")
    return yaml.YAML(typ="safe").load(WORKFLOW.read_text(encoding="utf-8"))


def test_the_workflow_is_one_by_githubs_schema(tmp_path: Path) -> None:
    pytest.importorskip("check_jsonschema")
    lint = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    assert subprocess.run([*lint, str(WORKFLOW)], capture_output=True, check=False).returncode == 0
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(WORKFLOW.read_text(encoding="utf-8").replace("runs-on:", "runs-in:"), encoding="utf-8")
    assert subprocess.run([*lint, str(wrong)], capture_output=True, check=False).returncode == 1


def test_the_workflow_shows_a_path_and_an_address_to_install_from_and_the_readme_says_to_set_one() -> None:
    requirements = pytest.importorskip("packaging.requirements")
    text = WORKFLOW.read_text(encoding="utf-8")
    path, address, name = re.findall(r"^  (?:# )?GRADCONFORM: (.*)$", text, re.MULTILINE)
    assert path.startswith("./")
    assert requirements.Requirement(address).url.startswith("git+https://")
    assert workflow()["env"] == {"GRADCONFORM": name}
    assert "Set `GRADCONFORM`" in (TEMPLATE / "README.md").read_text(encoding="utf-8")


def test_the_readme_says_to_install_what_its_commands_run() -> None:
    (commands,) = re.findall(r"^```sh\n(.*?)^```", (TEMPLATE / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert commands.splitlines()[0] == "python -m pip install . pytest"
    assert commands.splitlines()[-1] == "pytest"


def test_the_workflows_steps_run(installed: dict[str, str], tmp_path: Path) -> None:
    """As GitHub runs them but for the installation, on a part of the cases; a run is its own baseline."""
    summary = tmp_path / "summary.md"
    environment = {**installed, "GITHUB_STEP_SUMMARY": str(summary)}
    commands = {s["name"]: s["run"] for s in workflow()["jobs"]["conformance"]["steps"] if "run" in s}
    assert list(commands) == ["Install", "Judge", "Report", "Compare"]
    part = re.sub(r"-o run", "-c document/worked-example -c 'document/scale-4/00*' -o run", commands["Judge"])
    ended = done(part, tmp_path, environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "duals/forward" in ended.stdout
    (tmp_path / "baseline.jsonl").write_bytes((tmp_path / "run.jsonl").read_bytes())
    for name in ("Report", "Compare"):
        ended = done(commands[name], tmp_path, environment)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    text = summary.read_text(encoding="utf-8")
    assert "**gradconform**: judged" in text
    assert (tmp_path / "report" / "junit.xml").exists()
    assert (tmp_path / "report" / "badges" / "duals.json").exists()
    assert "no difference" in text


def test_what_hangs_leaves_the_workflow_time_to_report() -> None:
    job = workflow()["jobs"]["conformance"]
    (judge,) = [s["run"] for s in job["steps"] if s.get("name") == "Judge"]
    (seconds,) = re.findall(r"--timeout (\d+)", judge)
    assert 10 * int(seconds) < 60 * job["timeout-minutes"]


def test_the_framework_is_forty_lines() -> None:
    assert len((TEMPLATE / "duals.py").read_text(encoding="utf-8").splitlines()) <= 40
