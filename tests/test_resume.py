"""Nothing is lost: killed, interrupted, out of disk, a run is resumed and ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests_support import WRONG_ADAPTERS, Cli

from gradconform.conformance.run.run_file import RunWriter, begun
from gradconform.reference.cases import BadInput
from gradconform.reference.measurement import Measurement

OPTIONS = ("run", "-a", "numpy", "-c", "document/scale-1/00*", "-d", "float32", "-d", "float64", "--jobs", "2")


def without_times(path: Path) -> list[Any]:
    """A run file's lines without what times and the name of the file are in."""
    header, *lines, footer = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
    for name in ("started", "arguments"):
        header.pop(name)
    footer.pop("seconds")
    return [header, *lines, footer]


#: A shell starts its background jobs with interrupts ignored, and what they start inherits that; a run must not.
INTERRUPTIBLE = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


def started(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", INTERRUPTIBLE, "-m", "gradconform", *arguments]
    environment = {**os.environ, **WRONG_ADAPTERS}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )


def await_(what: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def children(process: int) -> list[int]:
    """The live processes that a process started, by /proc."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == process and fields[0] != "Z":
                found.append(int(entry.name))
    return found


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    process = started(folder, *OPTIONS, "-o", "whole.jsonl")
    assert process.communicate(timeout=60)[0] is None
    assert process.returncode == 0
    return folder / "whole.jsonl"


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda n: signal.Signals(n).name
)
def test_a_run_that_is_ended_is_resumed_to_what_an_uninterrupted_one_writes(
    cli: Cli, tmp_path: Path, uninterrupted: Path, number: int
) -> None:
    path = tmp_path / "one.jsonl"
    process = started(tmp_path, *OPTIONS, "-o", "one.jsonl")
    await_(lambda: lines_of(path) > 100)
    workers = children(process.pid)
    assert len(workers) >= 2
    process.send_signal(number)
    said = " ".join(process.communicate()[1].decode().split())
    assert process.returncode == (-number if number == signal.SIGKILL else 3)
    if number != signal.SIGKILL:
        assert "interrupted; what was measured is on disk; go on with: gradconform run --resume one.jsonl" in said
    await_(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 5)
    done = cli("run", "--resume", "one.jsonl")
    assert done.returncode == 0, done.stderr
    assert without_times(path) == without_times(uninterrupted)


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is POSIX")
def test_a_full_disk_ends_the_run_with_exit_status_3_and_what_was_written_is_resumed(
    cli: Cli, tmp_path: Path, uninterrupted: Path
) -> None:
    # A limit on the size of files cuts a write off where a full disk would: in the middle of a line.
    command = f"ulimit -f 64; exec {sys.executable} -m gradconform {' '.join(OPTIONS)} -o one.jsonl"
    full = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert full.returncode == 3
    said = " ".join(full.stderr.split())
    assert "cannot write one.jsonl: File too large; what was measured is on disk; go on with:" in said
    assert "Traceback" not in said
    path = tmp_path / "one.jsonl"
    assert 60_000 < path.stat().st_size <= 65_536
    assert cli("run", "--resume", "one.jsonl").returncode == 0
    assert without_times(path) == without_times(uninterrupted)


@pytest.mark.parametrize("cut", [1, 40, 700, 5000, 40_000])
def test_a_file_cut_off_anywhere_after_its_header_is_resumed(
    cli: Cli, tmp_path: Path, uninterrupted: Path, cut: int
) -> None:
    path = tmp_path / "one.jsonl"
    content = uninterrupted.read_bytes()
    path.write_bytes(content[: content.rindex(b'{"kind":"footer"') + 20 - cut])
    assert cli("run", "--resume", "one.jsonl").returncode == 0
    assert without_times(path) == without_times(uninterrupted)


def test_a_file_that_ends_within_its_header_begins_anew(cli: Cli, tmp_path: Path, uninterrupted: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_bytes(uninterrupted.read_bytes()[:50])
    assert cli(*OPTIONS, "--resume", "one.jsonl").returncode == 0
    assert without_times(path) == without_times(uninterrupted)


@pytest.mark.parametrize(("size", "message"), [(0, "is empty"), (50, "ends within its header")])
def test_a_file_that_does_not_say_what_it_was_to_judge_is_not_resumed_as_a_default_run(
    cli: Cli, tmp_path: Path, uninterrupted: Path, size: int, message: str
) -> None:
    path = tmp_path / "one.jsonl"
    path.write_bytes(uninterrupted.read_bytes()[:size])
    done = cli("run", "--resume", "one.jsonl")
    assert done.returncode == 2
    assert f"one.jsonl {message}: what it was to judge is not known" in " ".join(done.stderr.split())
    assert path.stat().st_size == size


@pytest.mark.parametrize(
    ("options", "spoil", "message"),
    [
        ((), lambda text: text, "is complete; there is nothing to resume"),
        ((), lambda text: "mine", "truncated or not JSON"),
        ((), lambda text: '{"a":1}\n', "is not a gradconform run"),
        (("-d", "float16"), lambda text: text[:-300], "was begun with dtypes ('float32', 'float64'), now ('float16',)"),
        (("-o", "two.jsonl"), lambda text: text[:-300], "-o and --resume were both given"),
        ((), lambda text: text[:-300].replace('"scipy":"', '"scipy":"0', 1), "one.jsonl was begun with"),
        ((), lambda text: text[:-300].replace("scale-1/000", "scale-1/001"), "are not the first of this run"),
    ],
)
def test_what_cannot_be_resumed_is_refused_and_left_alone(
    cli: Cli, tmp_path: Path, uninterrupted: Path, options: tuple[str, ...], spoil: Callable[[str], str], message: str
) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text(spoil(uninterrupted.read_text(encoding="utf-8")), encoding="utf-8")
    before = path.read_bytes()
    done = cli("run", "--resume", "one.jsonl", *options)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert path.read_bytes() == before


def test_two_runs_into_one_file_are_refused(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    header = {"suite": "gradconform", "profile": "opencl"}
    row = Measurement("document/worked-example", "numpy", "central", "float32", "whole", "E_total", 1)
    with RunWriter(path, header) as writer:
        writer.write([row])
        with pytest.raises(BadInput, match="is being written by another run"):
            RunWriter(path, header, begun(path))
        with pytest.raises(BadInput, match="exists; a run is never written over"):
            RunWriter(path, header)
    before = begun(path)
    with RunWriter(path, header, before) as writer:
        writer.write([row, row])
    with pytest.raises(BadInput, match="was written to meanwhile"):
        RunWriter(path, header, before)


def test_a_resumed_run_that_is_ended_before_its_first_measurement_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    row = Measurement("document/worked-example", "numpy", "central", "float32", "whole", "E_total", 1)
    with RunWriter(path, {"suite": "gradconform", "profile": "opencl"}) as writer:
        writer.write([row])
    content = path.read_bytes()
    with RunWriter(path, {}, begun(path)):
        pass
    assert path.read_bytes() == content
    with RunWriter(path, {}, begun(path)) as writer:
        writer.write([row])
    assert path.read_bytes() == content
