"""doctor says what is there and what is missing; completion completes; what is slow is named."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests_support import WRONG_ADAPTERS

from gradconform.adapters import registry
from gradconform.conformance.command_line import doctor, options, run_command
from gradconform.conformance.command_line.commands import main
from gradconform.conformance.command_line.terminal import COMPLETE
from gradconform.reference.cases import BadInput


def test_doctor_tells_versions_devices_routes_and_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "registered", lambda: ["numpy"])
    done = CliRunner(env={"COLUMNS": None}).invoke(main, ["doctor"])
    assert done.exit_code == 0
    assert "ok      adapter numpy: numpy " in done.output
    assert "devices: cpu; routes: numpy/central" in done.output
    assert "extra report (the page, the tables and the figures): " in done.output


def test_doctor_says_how_to_get_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise BadInput("adapter 'torch' needs a package; python -m pip install 'gradconform[torch]'")

    monkeypatch.setattr(registry, "registered", lambda: ["torch"])
    monkeypatch.setattr(registry, "load", absent)
    monkeypatch.setattr(doctor, "_installed", lambda name: name != "pyarrow")
    done = CliRunner(env={"COLUMNS": None}).invoke(main, ["doctor"])
    assert done.exit_code == 0
    assert "missing adapter torch: adapter 'torch' needs a package; python -m pip install" in done.output
    assert "pyarrow not installed; python -m pip install 'gradconform[report]'" in done.output


def test_doctor_says_that_a_framework_is_newer_than_what_was_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "registered", lambda: ["numpy"])
    monkeypatch.setattr(registry, "versions", lambda adapter: {"torch": "2.14.1+cu130", "jax": "0.10.2"})
    done = CliRunner(env={"COLUMNS": None}).invoke(main, ["doctor"])
    assert done.exit_code == 0
    assert "newer   torch 2.14.1+cu130 is newer than 2.13.0, with which gradconform was tested: a new" in done.output
    assert "jax 0.10.2 is" not in done.output
    assert list(doctor.untested({"torch": "2.13.0+cpu", "jax": "0.9.2", "mine": "9", "optax": "unknown"})) == []


def test_the_versions_that_were_tested_are_those_that_are_pinned() -> None:
    pinned = (Path(__file__).parents[1] / "constraints.txt").read_text(encoding="utf-8")
    assert [
        f"{name}=={version}" for name, version in doctor.TESTED.items() if f"{name}=={version}\n" not in pinned
    ] == []


def test_every_extra_that_a_user_wants_is_told() -> None:
    for extra in doctor.EXTRAS:
        assert doctor._needed(extra), f"no package is needed by {extra}"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_each_shell(shell: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0
    assert f"{COMPLETE}={shell}_complete" in done.output


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("gradconform exp", "explain"),
        ("gradconform run -a numpy/", "numpy/central"),
        ("gradconform run -c document/satur", "document/saturated/8"),
        ("gradconform explain document/worked", "document/worked-example"),
        ("gradconform run -d bf", "bfloat16"),
    ],
)
def test_a_shell_is_told_what_completes_a_word(words: str, completed: str) -> None:
    environment = {COMPLETE: "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = CliRunner(env=environment).invoke(main, [], prog_name="gradconform")
    assert f"plain,{completed}" in done.output.splitlines()


def test_an_adapter_that_is_not_there_completes_to_nothing() -> None:
    assert options.adapter_names(None, None, "nothing/") == []  # type: ignore[arg-type]


def test_what_is_slow_is_named_where_there_is_no_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slow_one.py").write_text(
        "import time\nfrom tests_support import Scripted\n"
        "adapter = Scripted(lambda point, answer: time.sleep(3) or answer)\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", WRONG_ADAPTERS["PYTHONPATH"])
    monkeypatch.setattr(run_command, "VERY_SLOW", 1)
    started = time.monotonic()
    done = CliRunner(env={"COLUMNS": None}).invoke(
        main, ["run", "-a", "slow_one:adapter", "-c", "document/worked-example", "-d", "float32", "-o", "one.jsonl"]
    )
    assert done.exit_code == 0, done.output
    assert time.monotonic() - started > 3
    told = [line for line in done.stderr.splitlines() if line.startswith("slow: slow_one:adapter/only on document/")]
    assert len(told) == 1
    assert told[0].endswith("--timeout ends it")
