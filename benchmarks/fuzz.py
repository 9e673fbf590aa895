"""Fuzz: mutated run files, of which each is refused with a clear error or read; anything else ends with its traceback.

    python benchmarks/fuzz.py [--files 100000] [--seed 0]

A sound run file of four measurements is changed in one to four ways, drawn with the seed: bytes overwritten, cut out or
inserted, lines dropped, doubled or exchanged, values replaced by hostile ones, keys doubled, other encodings. What
`load` raises must be BadInput, in one printable line of bounded length. The last line says how many were refused and
how many read, and the process's largest resident memory.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

from gradconform.conformance.run.run_file import RunWriter, load
from gradconform.reference.cases import BadInput
from gradconform.reference.measurement import Measurement

#: What stands in place of a value, as JSON or what looks like it.
HOSTILE = (
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" * 400, "1" * 5000, "-1", "0.5", "true", "null", "{}", "[]",
    "[" * 2000 + "]" * 2000, "[" * 200000, '{"a":' * 2000, '"\\ud800"', '"\\u0000"', '"\\u001b]0;title\\u0007"',
    '"=cmd|\' /C calc\'!A0"', '"<script>alert(1)</script>"', '"../../etc/passwd"', '"' + "x" * 100000 + '"', '""',
    '"nan"',
)  # fmt: skip
#: The longest message: a path, a place, and the columns that were expected.
MESSAGE_LIMIT = 1000


def sound(folder: Path) -> bytes:
    """A run file as it is written, of numbers of every kind."""
    path = folder / "sound.jsonl"
    with RunWriter(path, {"suite": "gradconform", "profile": "opencl", "seed": 0}) as writer:
        for value in (0.5, math.inf, math.nan, -5e-324):
            of = ("document/worked-example", "torch", "eager", "float32", "whole", "dE_total/dw1", 1)
            writer.write([Measurement(*of, value=value, truth="0.5", verdict="conforms", reason="é | <b>")])
        writer.finish(seconds={"torch/eager": 0.1})
    return path.read_bytes()


def mutated(content: bytes, draw: Random) -> bytes:
    """The file changed in one to four ways."""
    for _ in range(draw.randint(1, 4)):
        content = draw.choice((_bytes, _bytes, _lines, _value, _value, _value, _key, _encoding))(content, draw)
    return content


def _bytes(content: bytes, draw: Random) -> bytes:
    start = draw.randint(0, len(content))
    return content[:start] + draw.randbytes(draw.randint(0, 8)) + content[start + draw.choice((0, 1, 8, 10**9)) :]


def _lines(content: bytes, draw: Random) -> bytes:
    lines = content.splitlines(keepends=True) or [b""]
    one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[one] = draw.choice((b"", lines[one] * 2, lines[other], b"\n", b"{}\n", lines[one].rstrip(b"\n")))
    return b"".join(lines)


def _value(content: bytes, draw: Random) -> bytes:
    """One value after a colon replaced, on a line drawn first, so that headers and footers are hit as well."""
    lines = content.split(b"\n")
    number = draw.randrange(len(lines))
    pieces = lines[number].split(b":")
    if len(pieces) > 1:
        place = draw.randrange(1, len(pieces))
        _, comma, rest = pieces[place].partition(b",")
        pieces[place] = draw.choice(HOSTILE).encode() + (comma or b"}") + rest
        lines[number] = b":".join(pieces)
    return b"\n".join(lines)


def _key(content: bytes, draw: Random) -> bytes:
    lines = content.split(b"\n")
    number = draw.randrange(len(lines))
    name = draw.choice(("kind", "case", "verdict", "profile", "elements", "measurements"))
    lines[number] = lines[number].replace(b"{", f"{{{json.dumps(name)}:1,".encode(), 1)
    return b"\n".join(lines)


def _encoding(content: bytes, draw: Random) -> bytes:
    text = content.decode("utf-8", "replace")
    kind = draw.choice(("utf-16", "utf-32", "latin-1", "utf-8-sig", "crlf", "nul", "cr"))
    if kind in ("crlf", "cr"):
        return text.replace("\n", "\r\n" if kind == "crlf" else "\r").encode()
    return text.replace(" ", "\0").encode() if kind == "nul" else text.encode(kind, "replace")


def outcome(path: Path) -> str:
    """What became of a file: "read", or the kind of refusal. Raises what the reader should not have raised."""
    try:
        load([path])
    except BadInput as error:
        text = str(error)
        if len(text) > MESSAGE_LIMIT or not text.isprintable():
            raise AssertionError(f"no clear error: {text[:200]!r}") from error
        return "refused"
    return "read"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.files < 1:
        parser.error(f"--files is {options.files}; expected at least 1")
    counts: Counter[str] = Counter()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        content, path = sound(Path(folder)), Path(folder, "mutated.jsonl")
        for number in range(options.files):
            path.write_bytes(mutated(content, Random(f"gradconform fuzz {options.seed} {number}")))
            try:
                counts[outcome(path)] += 1
            except Exception:
                print(f"file {number} of seed {options.seed}: {path.read_bytes()[:2000]!r}", file=sys.stderr)
                raise
            if number % 1000 == 999:
                print(f"\r{number + 1:,} of {options.files:,}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    said = ", ".join(f"{n:,} {what}" for what, n in sorted(counts.items()))
    seconds = time.perf_counter() - started
    print(f"{options.files:,} mutated run files: {said}, no traceback; {seconds:.0f} s, at most {memory:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
