"""Fixtures that several test files use."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from tests_support import Cli

from gradconform.adapters import registry
from gradconform.conformance.command_line.commands import main
from gradconform.conformance.run.inherited import kept_compilations

# Before any test imports JAX: what XLA compiles is kept for other processes and later sessions, as a run has it.
for _name, _value in kept_compilations().items():
    os.environ.setdefault(_name, _value)


def pytest_collection(session: pytest.Session) -> None:
    """What is imported stays: while it comes in the collector would go through all of it again and again."""
    gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _forgotten: None) -> Cli:
    """Run the command line in this process, in an empty directory, in a terminal of 80 columns.

    Its worker processes are processes. What depends on how the interpreter starts is asked of `command`.
    """

    def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        out, err = io.StringIO(), io.StringIO()
        with monkeypatch.context() as patched, redirect_stdout(out), redirect_stderr(err):
            patched.chdir(tmp_path)
            patched.setattr(sys, "argv", ["gradconform", *arguments])
            patched.setattr(sys, "path", list(sys.path))
            for name, value in {"COLUMNS": "80", **(env or {})}.items():
                patched.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main(prog_name="gradconform")
        status = 0 if ended.value.code is None else ended.value.code
        assert isinstance(status, int)
        return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def _forgotten(tmp_path: Path) -> Iterator[None]:
    """What a test imported from its directory is forgotten when it ends."""
    registry.load.cache_clear()
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    registry.load.cache_clear()


@pytest.fixture
def command(tmp_path: Path) -> Cli:
    """Run the command line in a process of its own, in an empty directory, in a terminal of 80 columns."""

    def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gradconform", *arguments]
        environment = {**os.environ, "COLUMNS": "80", **(env or {})}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    return run
