"""The file of a sweep: JSON Lines: a header, a line for each chunk in order, a footer with the whole.

A line is one write; a file without its footer is incomplete and can be gone on with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from gradconform.conformance.run.frames import LINE_LIMIT
from gradconform.conformance.run.run_file import opened, parsed, put
from gradconform.reference.cases import BadInput

SCHEMA = 1
#: What a sweep asks, as its header names it: a file goes on with the same.
QUESTION = ("operator", "dtype", "adapter", "profile", "first", "count", "stride", "every")
#: What a header means that does not name it: one of a version that had not the choice.
UNNAMED = {"every": False}


@dataclass(frozen=True)
class Begun:
    """A sweep's file: its header, its chunks, its footer if it is whole, and where the last whole line ends."""

    header: Mapping[str, Any]
    chunks: tuple[Mapping[str, Any], ...]
    footer: Mapping[str, Any] | None
    end: int


def read(path: Path) -> Begun:
    """What is in a sweep's file, which may be incomplete. Raises BadInput for what is none."""
    header: Mapping[str, Any] | None = None
    footer: Mapping[str, Any] | None = None
    chunks: list[Mapping[str, Any]] = []
    end = 0
    try:
        with path.open("rb") as file:
            for number, text in enumerate(iter(lambda: file.readline(LINE_LIMIT + 1), b""), 1):
                if not text.endswith(b"\n") and number > 1:
                    break
                values = _object(text, path, number)
                if header is None:
                    header = _checked(values, path)
                elif footer is not None:
                    raise BadInput(f"{path}, line {number}: there is more after the footer")
                elif values.get("kind") == "footer":
                    footer = values
                elif values.get("kind") == "chunk" and values.get("number") == len(chunks):
                    chunks.append(values)
                else:
                    raise BadInput(f"{path}, line {number}: expected chunk {len(chunks)} of a sweep, or its footer")
                end += len(text)
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    if header is None:
        raise BadInput(f"{path} is empty; expected a sweep written by `gradconform sweep`")
    return Begun(header, tuple(chunks), footer, end)


def is_one(path: Path) -> bool:
    """Whether a file's first line is the header of a sweep; of one that cannot be read, not."""
    try:
        with path.open("rb") as file:
            values = parsed(file.readline(LINE_LIMIT + 1).decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and "sweep" in values


def _object(text: bytes, path: Path, number: int) -> Mapping[str, Any]:
    try:
        values = parsed(text.decode("utf-8"))
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise BadInput(f"{path}, line {number}: no object of JSON; expected a sweep written by `gradconform sweep`")
    return values


def _checked(values: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    if values.get("kind") != "header" or values.get("suite") != "gradconform" or "sweep" not in values:
        raise BadInput(f"{path} is no sweep: its first line is no header of one")
    if values["sweep"] != SCHEMA:
        raise BadInput(f"{path} has schema {values['sweep']!r} of sweeps; expected {SCHEMA}: sweep again")
    return values


def check_same(before: Begun, header: Mapping[str, Any], path: Path) -> None:
    """Raise BadInput where a file is of another sweep, made with something else, or complete."""
    for name in (*QUESTION, "suite_version", "frameworks", "packages", "machine"):
        there = before.header.get(name, UNNAMED.get(name))
        if there != header[name]:
            got = f"{path} is a sweep with {name} {there!r}, here it is {header[name]!r}"
            raise BadInput(f"{got}; give another -o, or the same choices")
    if before.footer is not None:
        raise BadInput(f"{path} is complete; there is nothing to resume")


class SweepWriter:
    """Writes the file of a sweep, a new one or on after what is in it; see `run_file.RunWriter`."""

    def __init__(self, path: Path, header: Mapping[str, Any], before: Begun | None) -> None:
        self.path = path
        self._file = opened(path, "a sweep", before is None)
        try:
            if before is None:
                self.write({"kind": "header", "suite": "gradconform", "sweep": SCHEMA, **header})
            else:
                self._file.seek(before.end)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> SweepWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, values: Mapping[str, Any]) -> None:
        text = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
        put(self._file, text.encode(), self.path)
