"""The wheel that is published: everything is in it, and it runs alone."""

from __future__ import annotations

import configparser
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import gradconform

ROOT = Path(__file__).parents[1]
FLOORS = ("reference", "adapters", "conformance", "reports")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_every_file_of_every_floor_is_in_the_wheel_and_no_other(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {n for n in archive.namelist() if ".dist-info/" not in n}
    files = [p for floor in FLOORS for p in (ROOT / floor).rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    own = {f"gradconform/{name}" for name in ("__init__.py", "__main__.py", "py.typed")}
    assert inside == own | {f"gradconform/{p.relative_to(ROOT).as_posix()}" for p in files}


def test_the_version_is_said_in_four_places_alike(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    released = f"## [{gradconform.__version__}] - "
    assert project["version"] == gradconform.__version__
    assert f"\nversion: {gradconform.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert wheel.name.startswith(f"gradconform-{gradconform.__version__}-")
    assert released in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_command_of_the_unpacked_wheel_runs_without_the_clone(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    (told,) = (tmp_path / "site").glob("*.dist-info/entry_points.txt")
    points = configparser.ConfigParser()
    points.read_string(told.read_text(encoding="utf-8"))
    module, function = points["console_scripts"]["gradconform"].split(":")
    path = str(tmp_path / "site")
    program = f"import sys; sys.path.insert(0, {path!r}); from {module} import {function} as main; main()"
    case = ("run", "-a", "numpy/complex-step", "-c", "document/worked-example", "-d", "float64", "-o", "run.jsonl")
    done = subprocess.run(
        [sys.executable, "-c", program, *case],
        cwd=tmp_path,
        env={"PYTHONPATH": path, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "run.jsonl").exists()
