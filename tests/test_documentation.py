"""The documentation site: built with warnings as errors, its tutorial run, its reference the code's own."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from tests_support import Cli

from gradconform.reference.measurement import QUESTIONS, Measurement

SITE = Path(__file__).parents[1] / "docs" / "site"


def blocks(page: str, language: str) -> list[str]:
    text = (SITE / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def built(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(source), str(target)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_site_builds_without_a_warning_and_has_what_the_code_has(tmp_path: Path) -> None:
    pytest.importorskip("sphinx_click")
    pytest.importorskip("myst_parser")
    done = built(SITE, tmp_path)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    reference = (tmp_path / "reference.html").read_text(encoding="utf-8")
    for name in (f.name for f in fields(Measurement)):
        assert f">{name}<" in reference, name
    for answer in (a for answers in QUESTIONS.values() for a in answers):
        assert f">{answer}<" in reference, answer
    for option in ("--resume", "--timeout", "--profile", "--format", "--fail-on"):
        assert option in reference
    for page in SITE.glob("*.md"):
        assert (tmp_path / f"{page.stem}.html").exists()


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path) -> None:
    pytest.importorskip("myst_parser")
    source = tmp_path / "source"
    source.mkdir()
    (source / "conf.py").write_text("extensions = ['myst_parser']\n", encoding="utf-8")
    (source / "index.md").write_text("# A\n\n[b](nowhere.md)\n", encoding="utf-8")
    assert built(source, tmp_path / "out").returncode == 1


def test_the_tutorial_runs(cli: Cli) -> None:
    """Its Python in one process, in the order of the page; then its commands."""
    for name in ("torch", "jax"):
        pytest.importorskip(name)
    program = "\n".join(blocks("tutorial.md", "python"))
    assert program.count("gc.check(") == 2
    assert program.count("gc.assert_conforms(") == 2
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    commands = [line for block in blocks("tutorial.md", "sh") for line in block.splitlines()]
    assert len(commands) == 5
    for command in commands:
        ended = cli(*shlex.split(command.removeprefix("gradconform ")))
        assert ended.returncode == 0, (command, ended.stdout, ended.stderr)


def test_the_commands_of_the_page_on_sweeps_run(cli: Cli) -> None:
    pytest.importorskip("torch")
    commands = [line for block in blocks("sweeps.md", "sh") for line in block.splitlines()]
    assert len(commands) == 2
    for command in commands:
        ended = cli(*shlex.split(command.removeprefix("gradconform ")))
        assert ended.returncode == 0, (command, ended.stdout, ended.stderr)
        assert ended.stdout.splitlines()[-1].startswith("asked ")


def test_the_commands_of_the_page_on_operators_run(cli: Cli) -> None:
    pytest.importorskip("torch")
    commands = [line for block in blocks("operators.md", "sh") for line in block.splitlines()]
    assert len(commands) == 2
    for command in commands:
        ended = cli(*shlex.split(command.removeprefix("gradconform ")))
        assert ended.returncode == 0, (command, ended.stdout, ended.stderr)


@pytest.mark.parametrize(
    "page", ["docs/site/claim.md", "docs/site/generated.py", "README.md", "reports/web/page.html.jinja"]
)
def test_wherever_vacuous_is_defined_so_is_what_the_allowance_is_measured_against(page: str) -> None:
    """Of an updated weight the step and not the weight, of a tensor 2-norms."""
    text = (SITE.parents[1] / page).read_text(encoding="utf-8")
    assert [word for word in ("vacuous", "updated weight", " step", "2-norm") if word not in text] == []


@pytest.mark.parametrize(("texts", "name"), [("VERDICT", "lost"), ("QUESTION", "accuracy")])
def test_a_verdict_or_a_question_without_a_description_is_an_error(
    monkeypatch: pytest.MonkeyPatch, texts: str, name: str
) -> None:
    monkeypatch.syspath_prepend(str(SITE))
    import generated  # type: ignore[import-not-found, unused-ignore]

    monkeypatch.delitem(getattr(generated, texts), name)
    with pytest.raises(ValueError, match=name):
        generated.verdicts()


def test_an_answer_without_a_description_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SITE))
    import generated  # type: ignore[import-not-found, unused-ignore]

    monkeypatch.delitem(generated.ANSWER["formula"], "kink")
    with pytest.raises(ValueError, match="kink"):
        generated.verdicts()


def test_a_column_without_a_description_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SITE))
    import generated  # type: ignore[import-not-found, unused-ignore]

    monkeypatch.delitem(generated.COLUMN, "share")
    with pytest.raises(ValueError, match="share"):
        generated.columns()
