"""README: what it shows is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests_support import Cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_the_wrong_rule_shown_is_named(tmp_path: Path) -> None:
    """As a file of its own: the report names the file and the line."""
    pytest.importorskip("torch")
    (tmp_path / "example.py").write_text(blocks("python")[0], encoding="utf-8")
    command = [sys.executable, "example.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=120)
    assert done.stdout == blocks("text")[0], done.stderr


def test_the_line_about_a_framework_passes() -> None:
    pytest.importorskip("torch")
    (line,) = re.findall(r"`(gc\.assert_conforms\(.*?\))`", README)
    exec(f"import gradconform as gc\n{line}", {})


def test_it_is_a_screen_and_a_half() -> None:
    assert len(README.splitlines()) <= 100


def test_the_two_commands_are_sessions_of_the_noxfile_and_what_continuous_integration_runs() -> None:
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    named = re.findall(r"nox -s (\w+)", README)
    assert {"report", "tests"} <= set(named)
    for session in named:
        assert f"def {session}(" in noxfile
    assert "\nnox -s tests " in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_every_link_leads_to_a_file() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", README)
    assert len(targets) > 20
    for target in targets:
        assert (ROOT / target).exists(), target


def test_the_name_of_every_option_in_the_readme_and_the_pages_exists(cli: Cli) -> None:
    known = "".join(cli(command, "-h").stdout for command in (
        "run", "report", "diff", "explain", "verify", "verify-update", "train", "sweep"))  # fmt: skip
    known += (ROOT / "conformance/plugin.py").read_text(encoding="utf-8")
    others = ("--pyargs", "--junit-xml", "--check", "--index-url", "--models", "--device", "--help", "--sweep")
    for page in (ROOT / "README.md", *(ROOT / "docs" / "site").glob("*.md")):
        for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page.read_text(encoding="utf-8"))):
            assert option in known or option in others, (page.name, option)
