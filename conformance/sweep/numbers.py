"""Every number of a dtype, in order: from NaN with a sign over −∞ … −0, 0 … ∞ to NaN."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.cases import BadInput, unknown

#: Bits of the dtypes whose numbers can be counted.
BITS = {"float16": 16, "bfloat16": 16, "float32": 32}
#: Of so many numbers a file may keep each, in some 3 MB: those of a 16-bit dtype.
KEPT = 1 << 16
#: Numbers of a chunk at least, and at most: what a kill costs, seconds. Files that name no size have the least.
LEAST, MOST = 1 << 12, 1 << 20
#: Numbers that stay in a core's cache.
BLOCK = 1 << 13
#: Chunks that a sweep has at least, where it has so many numbers.
CHUNKS = 64


@dataclass(frozen=True)
class Piece:
    """`count` numbers of a dtype from the place `first` on, `stride` places apart."""

    first: int
    count: int
    stride: int = 1

    @property
    def chunk(self) -> int:
        """Numbers of each of its chunks."""
        return min(MOST, max(LEAST, 1 << (self.count // CHUNKS).bit_length() >> 1))

    def pieces(self, size: int | None = None) -> list[Piece]:
        """The same in chunks, of its own size or of another."""
        size = size or self.chunk
        return [
            Piece(self.first + at * self.stride, min(size, self.count - at), self.stride)
            for at in range(0, self.count, size)
        ]


def checked(dtype: str) -> str:
    """The dtype, if its numbers can be counted. Raises BadInput for others."""
    if dtype not in FORMATS:
        raise unknown("dtype", dtype, FORMATS)
    if dtype not in BITS:
        raise BadInput(f"dtype {dtype!r} has 2^64 numbers; expected one of {', '.join(BITS)}")
    return dtype


def whole(dtype: str) -> Piece:
    return Piece(0, 1 << BITS[dtype])


def sampled(piece: Piece, most: int) -> Piece:
    """At most so many of the numbers, equally far apart in places, with 0 among them where it was."""
    stride = max(1, -(-piece.count // most))
    return Piece(piece.first, -(-piece.count // stride), piece.stride * stride)


def between(dtype: str, low: float, high: float) -> Piece:
    """The numbers from `low` to `high`. Raises BadInput where there are none."""
    if not low <= high:
        raise BadInput(f"--range {low:g} {high:g}: expected two numbers, the smaller first")
    first, last = place(dtype, low, up=True), place(dtype, high, up=False)
    if last < first:
        raise BadInput(f"--range {low:g} {high:g}: {dtype} has no number there")
    return Piece(first, last - first + 1)


def place(dtype: str, x: float, up: bool) -> int:
    """The place of the first number that is not below x, or of the last that is not above."""
    low, high = 0, (1 << BITS[dtype]) - 1
    while low < high:
        middle = (low + high + (not up)) // 2
        value = float(at(dtype, np.array([middle], dtype=np.int64))[0])
        below = value < x if up else value <= x
        nan = bool(np.isnan(value))
        below = middle < 1 << (BITS[dtype] - 1) if nan else below
        if up:
            low, high = (middle + 1, high) if below else (low, middle)
        else:
            low, high = (middle, high) if below else (low, middle - 1)
    return low


def numbers(dtype: str, piece: Piece) -> NDArray[np.float64]:
    """The numbers of a piece, in float64, which holds them."""
    found = np.empty(piece.count)
    for start in range(0, piece.count, BLOCK):
        places = np.arange(start, min(start + BLOCK, piece.count), dtype=np.int64)
        found[start : start + BLOCK] = at(dtype, piece.first + piece.stride * places)
    return found


def at(dtype: str, places: NDArray[np.int64]) -> NDArray[np.float64]:
    """The numbers at these places."""
    half = 1 << (BITS[dtype] - 1)
    bits = np.where(places < half, 2 * half - 1 - places, places - half)
    with np.errstate(invalid="ignore"):
        if dtype == "float16":
            return bits.astype(np.uint16).view(np.float16).astype(np.float64)
        shift = 32 - BITS[dtype]
        return (bits.astype(np.uint32) << np.uint32(shift)).view(np.float32).astype(np.float64)
