"""Packed run files: written, read, cut anywhere and gone on with; what unpacks to too much is refused."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from tests_support import Cli

from gradconform.conformance.run import frames
from gradconform.conformance.run.run_file import RunWriter, begun, load, read
from gradconform.reference.cases import BadInput
from gradconform.reference.measurement import Measurement

HEADER = {"suite": "gradconform", "profile": "opencl"}
CASES = ("document/one", "document/two", "document/three")
PACKED = ("run.jsonl.zst", "run.jsonl.gz")
#: How a plain file is packed as a whole, as zstd and gzip do it, and in pieces that heed no line, as pzstd does it.
BY_OTHERS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": zstandard.ZstdCompressor().compress,
    "gzip": gzip.compress,
    "pzstd": lambda c: b"".join(zstandard.ZstdCompressor().compress(c[i : i + 1000]) for i in range(0, len(c), 1000)),
}


def rows(case: str) -> list[Measurement]:
    of = (case, "numpy", "central", "float64", "whole")
    return [Measurement(*of, f"q{i}", 1, value=0.1 * i, verdict="conforms") for i in range(20)]


def written(path: Path, cases: tuple[str, ...] = CASES, finish: bool = True) -> Path:
    with RunWriter(path, HEADER) as writer:
        for case in cases:
            writer.write(rows(case))
        if finish:
            writer.finish(seconds={})
    return path


@pytest.mark.parametrize("name", PACKED)
def test_what_is_written_packed_is_read_as_what_is_written_plain(tmp_path: Path, name: str) -> None:
    plain, path = written(tmp_path / "run.jsonl"), written(tmp_path / name)
    assert path.read_bytes()[:2] == (b"\x28\xb5" if name.endswith(".zst") else b"\x1f\x8b")
    assert path.stat().st_size < plain.stat().st_size / 5
    assert read(path) == read(plain)


def test_the_tools_that_others_have_unpack_what_is_written(tmp_path: Path) -> None:
    plain = written(tmp_path / "run.jsonl").read_bytes()
    assert gzip.decompress(written(tmp_path / PACKED[1]).read_bytes()) == plain
    with (
        written(tmp_path / PACKED[0]).open("rb") as file,
        zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as reader,
    ):
        assert reader.read() == plain


@pytest.mark.parametrize("tool", BY_OTHERS)
def test_what_others_packed_is_read_whatever_it_is_called(tmp_path: Path, tool: str) -> None:
    plain = written(tmp_path / "run.jsonl")
    path = tmp_path / "packed.jsonl"
    path.write_bytes(BY_OTHERS[tool](plain.read_bytes()))
    assert read(path) == read(plain)


def test_a_run_is_called_by_its_name_without_endings(tmp_path: Path) -> None:
    _, table = load([written(tmp_path / "jax-0.7.2.jsonl.zst"), written(tmp_path / "new.jsonl")])
    assert list(dict.fromkeys(table["run"])) == ["jax-0.7.2", "new"]


@pytest.mark.parametrize("name", PACKED)
def test_each_task_is_a_frame_of_its_own(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name)
    lines = [(at.start, json.loads(at.text)) for at in frames.Lines(path)]
    by_frame: dict[int, set[str]] = {}
    for start, values in lines:
        by_frame.setdefault(start, set()).add(values.get("case", values.get("kind")))
    assert list(by_frame.values()) == [{"header"}, *({case} for case in CASES), {"footer"}]


@pytest.mark.parametrize("name", PACKED)
def test_a_packed_file_cut_anywhere_is_gone_on_with_to_what_an_uncut_one_is(tmp_path: Path, name: str) -> None:
    whole = written(tmp_path / "whole" / name).read_bytes()
    path = tmp_path / name
    after_header = next(at.end for at in frames.Lines(written(tmp_path / "unfinished" / name, finish=False)))
    for cut in (*range(after_header, len(whole), 41), len(whole) - 1):
        path.write_bytes(whole[:cut])
        before = begun(path)
        assert before is not None
        assert whole[: before.end] == path.read_bytes()[: before.end]
        with RunWriter(path, {}, before) as writer:
            for case in CASES[len(before.tasks) :]:
                writer.write(rows(case))
            writer.finish(seconds={})
        assert path.read_bytes() == whole


@pytest.mark.parametrize("name", PACKED)
def test_a_file_cut_inside_a_frame_says_what_the_whole_ones_hold(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, finish=False)
    path.write_bytes(path.read_bytes()[:-5])
    before = begun(path)
    assert before is not None
    # The last whole frame's task may go on in the frame that was cut.
    assert (before.tasks, before.cut) == ([("document/one", "float64")], True)
    message = "cut off inside a frame; the whole ones hold 40 measurements; go on with it: gradconform run --resume"
    with pytest.raises(BadInput, match=message):
        read(path)


@pytest.mark.parametrize("name", PACKED)
def test_a_file_cut_inside_its_first_frame_is_left_alone(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name)
    path.write_bytes(path.read_bytes()[:20])
    for reader in (begun, read):
        with pytest.raises(BadInput, match=r"was cut off inside its first frame|cut off inside a frame"):
            reader(path)
    assert path.stat().st_size == 20


def test_a_file_that_was_packed_as_a_whole_is_not_gone_on_with(tmp_path: Path) -> None:
    plain = written(tmp_path / "run.jsonl", finish=False)
    path = tmp_path / PACKED[0]
    path.write_bytes(BY_OTHERS["zstd"](plain.read_bytes()))
    with pytest.raises(BadInput, match="packed as a whole, so that nothing can be added to it; unpack it and go on"):
        begun(path)


@pytest.mark.parametrize("pack", [zstandard.ZstdCompressor().compress, gzip.compress], ids=["zstd", "gzip"])
def test_a_frame_that_unpacks_to_more_than_its_bound_is_refused_unread(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    header = b'{"kind":"header","schema":2,"suite":"gradconform","profile":"opencl","of":"'
    path = tmp_path / PACKED[0]
    path.write_bytes(pack(header + bytes(200 * 2**20)))
    assert path.stat().st_size < 2**20
    with pytest.raises(BadInput, match=r"the frame at byte 0 unpacks to more than \d+ bytes; is this a run file\?"):
        read(path)


def test_what_would_unpack_to_more_is_written_into_more_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "FRAME_LIMIT", 3000)
    path = written(tmp_path / PACKED[0])
    starts = {at.start for at in frames.Lines(path)}
    assert len(starts) > 10
    assert len(read(path)[1]) == 60
    path.write_bytes(path.read_bytes()[:-200])
    before = begun(path)
    assert before is not None
    assert len(before.tasks) == 2


@pytest.mark.parametrize("name", PACKED)
def test_a_damaged_frame_is_refused_with_its_place(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(BadInput, match=r"what begins at byte \d+ is damaged|incomplete: it was cut off inside a frame"):
        read(path)
    path.write_bytes(written(tmp_path / "sound" / name).read_bytes() + b"more")
    with pytest.raises(BadInput, match=r"what begins at byte \d+ is damaged|cut off inside a frame"):
        read(path)


ASKED = ("run", "-a", "numpy", "-c", "document/worked-example", "-d", "float64", "--jobs", "1")


def test_a_packed_run_is_resumed_and_says_that_it_was_cut(cli: Cli, tmp_path: Path) -> None:
    asked = (*ASKED, "-d", "float32", "-d", "float16")
    assert cli(*asked, "-o", "whole.jsonl.zst").returncode == 0
    path = tmp_path / "one.jsonl.zst"
    content = (tmp_path / "whole.jsonl.zst").read_bytes()
    *_, last, footer = dict.fromkeys(at.start for at in frames.Lines(tmp_path / "whole.jsonl.zst"))
    path.write_bytes(content[: (last + footer) // 2])
    done = cli("run", "--resume", path.name)
    assert done.returncode == 0, done.stderr
    assert "was cut off inside a frame; it keeps 1 whole task" in " ".join(done.stdout.split())
    assert read(path)[1] == read(tmp_path / "whole.jsonl.zst")[1]


def test_a_dash_writes_the_run_to_standard_output_and_what_is_said_to_the_other(
    cli: Cli, command: Cli, tmp_path: Path
) -> None:
    assert cli(*ASKED, "-o", "one.jsonl").returncode == 0
    done = command(*ASKED, "-o", "-")
    assert done.returncode == 0
    assert "1 case × 1 dtype × 3 routes on cpu" in done.stderr
    assert "judged" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.jsonl"]
    header, *found, _ = done.stdout.splitlines()
    assert json.loads(header)["kind"] == "header"
    assert found == (tmp_path / "one.jsonl").read_text(encoding="utf-8").splitlines()[1:-1]
    (tmp_path / "piped.jsonl").write_text(done.stdout, encoding="utf-8")
    assert cli("diff", "one.jsonl", "piped.jsonl").returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="/dev/full is Linux's")
def test_a_run_whose_standard_output_cannot_be_written_ends_with_3(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gradconform", *ASKED, "-o", "-"],
            cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 3
    assert "cannot write -: No space left on device" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
