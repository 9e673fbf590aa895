"""README: what it shows is what happens."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests_support import Cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_the_first_example_prints_what_is_shown_beside_it() -> None:
    """To three digits: the last ones of a float32 logistic function are the platform's."""
    pytest.importorskip("torch")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(blocks("python")[0], {})
    shown, got = (text.split() for text in (blocks("text")[0], printed.getvalue()))
    assert len(shown) == len(got)
    truths = [i for i, word in enumerate(shown) if len(word) > 20]
    assert [got[i] for i in truths] == [shown[i] for i in truths]
    assert got.count("conforms") == shown.count("conforms") == 8


def test_the_network_shown_conforms() -> None:
    pytest.importorskip("torch")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(blocks("python")[3], {})
    assert "dE/dW1" in printed.getvalue()
    assert "deviates" not in printed.getvalue()


def test_the_wrong_rule_shown_is_named(tmp_path: Path) -> None:
    """As a file of its own: the report names the file and the line."""
    pytest.importorskip("torch")
    (tmp_path / "example.py").write_text(blocks("python")[1], encoding="utf-8")
    command = [sys.executable, "example.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=120)
    assert done.stdout == blocks("text")[1], done.stderr


def test_every_gradconform_command_runs(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("jax")
    commands = re.findall(
        r"^(?:\$ )?gradconform (.*?)(?:\s+#.*)?$", "\n".join(blocks("sh") + blocks("console")), re.MULTILINE
    )
    assert len(commands) == 4
    for command in commands:
        # A part of the cases, and of the runs to compare the one that was made.
        part = command.replace("document/scale-4/*", "document/scale-4/00*")
        arguments = shlex.split(part.replace("old.jsonl.zst new.jsonl.zst", "mine.jsonl.zst mine.jsonl.zst"))
        done = cli(*arguments)
        assert done.returncode == 0, (command, done.stdout, done.stderr)


def test_the_derivation_shown_is_what_explain_prints(cli: Cli) -> None:
    pytest.importorskip("torch")
    (shown,) = blocks("console")
    command, *lines = shown.splitlines()
    printed = cli(*shlex.split(command.removeprefix("$ gradconform "))).stdout.splitlines()
    expected = [line for line in lines if line != "…"]
    assert len(expected) == 10
    # The framework's own digits may differ from platform to platform; equations and truths may not.
    for line in expected:
        if "got" not in line and "own operands" not in line:
            assert line in printed
    assert sum("truth from its own operands" in line for line in expected) == 2


def test_the_two_commands_are_sessions_of_the_noxfile() -> None:
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    for session in re.findall(r"nox -s (\w+)", README):
        assert f"def {session}(" in noxfile


def test_the_adapter_shown_is_the_one_that_is_tested() -> None:
    duals = (ROOT / "docs/template/duals.py").read_text(encoding="utf-8")
    assert blocks("python")[4].strip() in duals
    pyproject = (ROOT / "docs/template/pyproject.toml").read_text(encoding="utf-8")
    assert blocks("toml")[0].strip() in pyproject


def test_every_link_leads_to_a_file() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_name_of_every_option_in_the_readme_exists(cli: Cli) -> None:
    known = "".join(cli(command, "-h").stdout for command in ("run", "report", "diff", "explain", "verify"))
    known += (ROOT / "conformance/plugin.py").read_text(encoding="utf-8")
    for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)):
        assert option in known or option in ("--pyargs",), option
