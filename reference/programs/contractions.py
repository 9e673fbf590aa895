"""The geometry of Σ a·b: which axes of a sum of products are rows of the one factor, columns of the other, or of both.

Of two views that repeat memory (the factors of a product of matrices, windows and the kernel of a convolution) the sum
is a batch of products of matrices, which BLAS knows; the rest is products element by element.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.programs.record import Step

#: Multiplications of one product of matrices from which it is worth to be one.
LEAST = 512
#: Numbers of a block of products that are taken element by element.
BLOCK = 1 << 20


#: Of a factor: its part that is not repeated, the order of its axes, and its sizes.
_Order = tuple[tuple[slice, ...], tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Contraction:
    """Axes of a sum of products: `batch` of both factors, `rows` of the first, `columns` of the second, or `idle`."""

    shape: tuple[int, ...]
    batch: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    idle: tuple[int, ...]
    terms: int

    def size(self, axes: tuple[int, ...]) -> int:
        return math.prod(self.shape[a] for a in axes)

    @property
    def by_matrices(self) -> bool:
        """Whether it is a batch of products of matrices, each worth a call of BLAS."""
        count = self.size(self.rows) * self.size(self.columns)
        return count > 1 and self.size(self.idle) == 1 and count * self.terms >= LEAST

    def left(self, a: NDArray[Any]) -> NDArray[Any]:
        """The first factor as (batch, rows, terms), without what it repeats."""
        return self._ordered(a, *self._left)

    def right(self, b: NDArray[Any]) -> NDArray[Any]:
        """The second factor as (batch, columns, terms)."""
        return self._ordered(b, *self._right)

    @cached_property
    def _left(self) -> _Order:
        return self._order(self.rows, (*self.columns, *self.idle))

    @cached_property
    def _right(self) -> _Order:
        return self._order(self.columns, (*self.rows, *self.idle))

    def _order(self, own: tuple[int, ...], repeated: tuple[int, ...]) -> _Order:
        """Which part of a factor is not repeated, its axes' order, and its sizes (batch, own)."""
        once = tuple(slice(0, 1) if a in repeated else slice(None) for a in range(len(self.shape)))
        return once, (*self.batch, *own, *repeated, len(self.shape)), (self.size(self.batch), self.size(own))

    @staticmethod
    def _ordered(
        x: NDArray[Any], once: tuple[slice, ...], order: tuple[int, ...], sizes: tuple[int, ...]
    ) -> NDArray[Any]:
        """Leading axes beyond those of the sum are kept in front."""
        lead = x.ndim - len(order)
        kept = x[(slice(None),) * lead + once].transpose(*range(lead), *[lead + a for a in order])
        return kept.reshape(*x.shape[:lead], *sizes, x.shape[-1])

    def restored(self, x: NDArray[Any]) -> NDArray[Any]:
        """Results (batch, rows, columns) in the shape of the sum; leading axes are kept."""
        lead = x.ndim - 3
        sizes, back = self._back
        found = x.reshape(*x.shape[:lead], *sizes).transpose(*range(lead), *[lead + a for a in back])
        shape = (*x.shape[:lead], *self.shape)
        return found if found.shape == shape else np.broadcast_to(found, shape)

    @cached_property
    def _back(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The sizes of (batch, rows, columns) axis by axis, and where each axis of the sum is among them."""
        axes = (*self.batch, *self.rows, *self.columns)
        sizes = (*(self.shape[a] for a in axes), *(1 for _ in self.idle))
        return sizes, tuple(np.argsort([*axes, *self.idle]).tolist())

    def gathered(self, w: NDArray[Any]) -> NDArray[Any]:
        """What belongs to the sum's results as (batch, rows, columns); idle axes must be summed before."""
        lead = w.ndim - len(self.shape)
        order = [*range(lead), *(lead + a for a in (*self.batch, *self.rows, *self.columns, *self.idle))]
        sizes = self.size(self.batch), self.size(self.rows), self.size(self.columns)
        return w.transpose(order).reshape(*w.shape[:lead], *sizes)


def contraction(step: Step) -> Contraction:
    """How a sum of products of two operands runs over its axes."""
    found = _FOUND.get(step)
    if found is None:
        found = _FOUND[step] = _contraction(step)
    return found


def _contraction(step: Step) -> Contraction:
    a, b = step.operands
    kinds: list[list[int]] = [[], [], [], []]
    for axis, count in enumerate(a.shape[:-1]):
        repeats = a.strides[axis] == 0 or count == 1, b.strides[axis] == 0 or count == 1
        kinds[{(False, False): 0, (False, True): 1, (True, False): 2, (True, True): 3}[repeats]].append(axis)
    batch, rows, columns, idle = map(tuple, kinds)
    return Contraction(a.shape[:-1], batch, rows, columns, idle, a.shape[-1])


#: Of steps that are there: a record is evaluated several times.
_FOUND: MutableMapping[Step, Contraction] = WeakKeyDictionary()


def blocks(shape: tuple[int, ...], terms: int) -> Iterator[tuple[slice, ...]]:
    """Parts of an array, along its first axis, of about a block of terms each; one whole where it has no axis."""
    if not shape:
        yield ()
        return
    rest = max(1, math.prod(shape[1:]) * terms)
    step = max(1, BLOCK // rest)
    for start in range(0, shape[0], step):
        yield (slice(start, start + step),)
