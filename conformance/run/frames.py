"""The bytes of a run file: plain, or packed in frames, each of whole lines (Zstandard's frames, gzip's members).

A frame is unpacked as a whole or not at all: of a file that was cut inside one, everything before it is read. How a
file is packed is told by its first bytes, what is written by the ending of its name.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import zstandard

from gradconform.reference.cases import BadInput

#: The longest line that is read, in bytes. The longest that is written is a header, which holds the run's arguments: on
#: Linux 2 MiB at most (a quarter of the 8 MiB stack, execve(2)), sixfold where JSON spells every byte as \\u00XX.
LINE_LIMIT = 16 * 2**20
#: A frame unpacks to so many bytes at most: to those of the longest line, which is all that is ever written into one,
#: or to RATIO times its own, for a file that somebody packed as a whole (a run packs to a fortieth). What unpacks to
#: more is no run file, and would fill the memory.
FRAME_LIMIT = LINE_LIMIT
RATIO = 256
#: Bytes that are unpacked at a time: of Zstandard 4 can stand for 128 KiB, so that these stand for 32 MiB at most.
PIECE = 1024
#: Zstandard's level: of the default run 9 makes a 21st in 0.7 s, 3 a 17th in 0.1 s, 19 a 23rd in 30 s.
LEVEL = 9
#: How a file is packed, by the ending of its name.
ENDINGS = {".zst": "zstd", ".gz": "gzip"}
_MAGIC = {b"\x28\xb5\x2f\xfd": "zstd", b"\x1f\x8b": "gzip"}


class _Unpacking(Protocol):
    """A frame that is being unpacked, as `zlib` and `zstandard` have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


@dataclass(frozen=True)
class Line:
    """A line with its end, its number, and where it, or the frame that it is in, starts and ends in the file."""

    number: int
    text: bytes
    start: int
    end: int


class Lines:
    """The lines of a run file. Raises BadInput for a file that cannot be read, and for frames that are none.

    When all were read, `size` is how many bytes the file has, and `cut` whether it ends within a frame.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.packing: str | None = None
        self.size = 0
        self.cut = False

    def __iter__(self) -> Iterator[Line]:
        try:
            with self.path.open("rb") as file:
                self.packing = packing_of(file.read(4))
                file.seek(0)
                yield from self._packed(file, self.packing) if self.packing else self._plain(file)
        except OSError as error:
            raise BadInput(f"cannot read {self.path}: {error.strerror}") from error

    def _plain(self, file: BinaryIO) -> Iterator[Line]:
        for number, text in enumerate(iter(lambda: file.readline(LINE_LIMIT + 1), b""), 1):
            start, self.size = self.size, self.size + len(text)
            yield Line(number, text, start, self.size)

    def _packed(self, file: BinaryIO, packing: str) -> Iterator[Line]:
        number, rest, left = 0, b"", b""
        begin = 0
        while rest or (rest := file.read(PIECE)):
            start = self.size
            text, rest = self._frame(file, packing, rest)
            if self.cut:
                break
            begin = begin if left else start
            *whole, left = (left + text).split(b"\n")
            if len(left) > LINE_LIMIT:
                whole, left = [*whole, left], b""
            for line in whole:
                number += 1
                yield Line(number, line + b"\n", begin, self.size)
                begin = start
        if left:
            yield Line(number + 1, left, begin, self.size)

    def _frame(self, file: BinaryIO, packing: str, data: bytes) -> tuple[bytes, bytes]:
        """A frame's content, and what was read after its end."""
        start = self.size
        frame = _unpacking(packing)
        pieces: list[bytes] = []
        unpacked = 0
        try:
            while data:
                self.size += len(data)
                pieces.append(frame.decompress(data))
                unpacked += len(pieces[-1])
                limit = max(FRAME_LIMIT, RATIO * (self.size - start))
                if unpacked > limit:
                    raise BadInput(
                        f"{self.path}: the frame at byte {start} unpacks to more than {limit} bytes; is this a run "
                        "file?"
                    )
                if frame.eof:
                    self.size -= len(frame.unused_data)
                    return b"".join(pieces), frame.unused_data
                data = file.read(PIECE)
        except (zstandard.ZstdError, zlib.error) as error:
            raise BadInput(
                f"{self.path}: what begins at byte {start} is damaged, or is no {packing} ({error}); expected a run "
                "written by `gradconform run`"
            ) from None
        self.cut = True
        return b"", b""


def packing_of(opening: bytes) -> str | None:
    """How a file that begins with these bytes is packed; None for a plain one."""
    return next((name for magic, name in _MAGIC.items() if opening.startswith(magic)), None)


def _unpacking(packing: str) -> _Unpacking:
    return zstandard.ZstdDecompressor().decompressobj() if packing == "zstd" else zlib.decompressobj(wbits=31)


def packed(lines: Sequence[bytes], packing: str | None) -> bytes:
    """Lines as they stand in a file: in one frame, or in more where one would unpack to more than it may."""
    if packing is None:
        return b"".join(lines)
    groups: list[list[bytes]] = [[]]
    size = 0
    for line in lines:
        if groups[-1] and size + len(line) > FRAME_LIMIT:
            groups.append([])
            size = 0
        groups[-1].append(line)
        size += len(line)
    return b"".join(_frame(b"".join(group), packing) for group in groups if group)


def _frame(content: bytes, packing: str) -> bytes:
    if packing == "gzip":
        return gzip.compress(content, mtime=0)
    return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(content)


def run_name(path: Path) -> str:
    """A run file's name without its endings."""
    return Path(path.stem).stem if path.suffix in ENDINGS else path.stem
