"""What is printed survives: any encoding, a closed pipe, a full disk, no terminal; commands stay on one line."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests_support import Cli

from gradconform.conformance.command_line.commands import main
from gradconform.conformance.command_line.terminal import PLAIN, UNWRITTEN, Output, Terminal, plain

PROGRAM = [sys.executable, "-m", "gradconform"]
EXPLAIN = ["explain", "document/worked-example"]
FULL = Path("/dev/full")


@pytest.mark.parametrize(
    ("encoding", "equation"),
    [
        ("ascii", "dE_total/dw5 = (a_o1 - t1)*a_o1*(1 - a_o1)*a_h1"),
        ("cp1252", "dE_total/dw5 = (a_o1 - t1)·a_o1·(1 - a_o1)·a_h1"),
        ("utf-8", "∂E_total/∂w5 = (a_o1 − t1)·a_o1·(1 − a_o1)·a_h1"),
    ],
)
@pytest.mark.parametrize("command", [EXPLAIN, ["list", "equations"], ["list", "routes"], ["run", "-h"]])
def test_every_encoding_can_be_printed_in(command: list[str], encoding: str, equation: str) -> None:
    done = CliRunner(charset=encoding).invoke(main, command)
    assert done.exit_code == 0, done.exception
    printed = done.stdout_bytes.decode(encoding)
    if command[0] == "explain":
        assert equation in printed


def test_a_message_in_an_encoding_without_its_characters_is_the_message(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    done = subprocess.run([*PROGRAM, "run", "-a", "ℵ∂"], capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"unknown adapter '\\u2135d'" in done.stderr


def test_what_stands_for_a_character_is_ascii() -> None:
    assert all(text.isascii() for text in PLAIN.values())
    assert plain("½·σ(x)² ≤ ∞ ℵ \ud800", "ascii") == "1/2*sigma(x)^2 <= inf \\u2135 \\ud800"
    assert plain("½·σ", None) == "½·σ"


@pytest.mark.parametrize("command", [EXPLAIN, ["list", "cases"], ["run", "-h"], ["--version"]])
def test_a_full_standard_output_has_an_exit_status_of_its_own(command: list[str]) -> None:
    if not FULL.exists():
        pytest.skip("there is no /dev/full here")
    with FULL.open("w") as full:
        done = subprocess.run([*PROGRAM, *command], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == UNWRITTEN
    assert done.stderr.startswith("gradconform: standard output could not be written: No space left on device; ")
    assert done.stderr.count("\n") == 1


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program = " ".join(PROGRAM)
    return subprocess.run(
        ["bash", "-c", line.replace("gradconform", program)], cwd=folder, capture_output=True, text=True, check=False
    )


def test_a_closed_standard_output_has_it_too_and_a_reader_that_left_hears_nothing(tmp_path: Path) -> None:
    closed = shell("gradconform explain document/worked-example >&-", tmp_path)
    assert closed.returncode == UNWRITTEN
    assert closed.stderr.startswith("gradconform: standard output could not be written: it is closed; ")
    left = shell("gradconform list cases | head -1; exit ${PIPESTATUS[0]}", tmp_path)
    assert (left.returncode, left.stdout, left.stderr) == (UNWRITTEN, "document/worked-example\n", "")


def test_a_run_that_nobody_hears_writes_its_file_all_the_same(tmp_path: Path) -> None:
    run = "gradconform run -a numpy/complex-step -c document/worked-example -d float32 --jobs 1 -o one.jsonl >&-"
    assert shell(run, tmp_path).returncode == UNWRITTEN
    assert (tmp_path / "one.jsonl").read_text(encoding="utf-8").splitlines()[-1].startswith('{"kind":"footer"')


def test_bad_input_stays_bad_input_where_nothing_was_to_be_printed(tmp_path: Path) -> None:
    closed = shell("gradconform explain nothing >&-", tmp_path)
    assert closed.returncode == 2
    assert closed.stderr.startswith("gradconform: unknown case 'nothing'")


def test_a_stream_that_fails_is_left_alone_from_then_on() -> None:
    class Failing(io.StringIO):
        writes = 0

        def write(self, text: str) -> int:
            self.writes += 1
            raise OSError(28, "No space left on device")

    stream = Failing()
    output = Output(stream)
    assert output.write("one") == 3
    output.write("two")
    output.flush()
    assert (output.problem, stream.writes) == ("No space left on device", 1)
    with pytest.raises(TypeError):
        output.write(b"bytes")  # type: ignore[arg-type]


def test_what_is_said_is_wrapped_with_an_indent_and_a_command_is_not() -> None:
    file = io.StringIO()
    terminal = Terminal(file=file, force_terminal=True, width=40, color_system=None)
    command = "gradconform run -a package.module:object -c document/worked-example"
    terminal.say(f"crashed: {'word ' * 9}; reproduce with: {command}")
    lines = file.getvalue().splitlines()
    assert lines[0].startswith("crashed: word")
    assert all(line.startswith("    ") and len(line) <= 40 for line in lines[1:-1])
    assert lines[-1] == f"    {command}"


def test_a_table_that_is_piped_is_not_cut() -> None:
    from rich.table import Table

    file = io.StringIO()
    table = Table("case", box=None)
    table.add_row("document/" + "x" * 300)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLUMNS", raising=False)
        Terminal(file=file).print(table)
    assert "document/" + "x" * 300 in file.getvalue()


def test_both_streams_in_one_pipe_keep_their_order(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "mine.py").write_text(
        "import torch\ndef a(x):\n    return x * x\ndef b(x):\n    raise ValueError('no')\n"
        "def c(x):\n    return x.exp()\ndef cases():\n    return [(torch.tensor([0.5]),)]\n",
        encoding="utf-8",
    )
    done = shell("gradconform verify mine 2>&1 | cat", tmp_path)
    places = [done.stdout.index(word) for word in ("mine:a", "gradconform: mine:b", "mine:c", "3 runs")]
    assert places == sorted(places)


# A shell has what it starts in the background ignore Ctrl-C, which whatever that starts inherits. Set between fork and
# exec it would make this process fork by Python, which an imported JAX warns of.
INTERRUPTIBLE = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_an_interrupt_while_workers_start_is_one_message(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        INTERRUPTIBLE,
        *PROGRAM,
        "run",
        "-a",
        "numpy",
        "-c",
        "document/*",
        "--jobs",
        "2",
        "-o",
        "one.jsonl",
    ]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()  # the run has begun, and its workers import what they need
        time.sleep(0.3)
        os.killpg(running.pid, signal.SIGINT)
        _, told = running.communicate(timeout=60)
    assert running.returncode == 3
    assert "Traceback" not in told
    assert "gradconform run --resume one.jsonl\n" in told


@pytest.mark.parametrize(
    "what", ["adapters", "routes", "cases", "operations", "operators", "sweeps", "equations", "dtypes"]
)
def test_every_list_fits_a_terminal_of_80_columns(cli: Cli, what: str) -> None:
    lines = cli("list", what).stdout.splitlines()
    assert lines
    assert [line for line in lines if len(line) > 80] == []
