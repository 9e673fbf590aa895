"""Numbers fetched by arrays of ids: what the ids take of memory once, seen through the same strides.

Operands are often views that repeat memory (a factor of a product of matrices, sliding windows). Their numbers are
fetched for the memory that the view lies in, and viewed by the same strides: they take what the ids take.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gradconform.reference.programs.record import Ids

Column = NDArray[Any]


@dataclass(frozen=True)
class Reading:
    """How the numbers of some ids are fetched from columns by id; the id is the last axis of a column."""

    ids: Ids
    #: The ids that lie in the view's memory, in its order; and the strides, in numbers, from `offset` on.
    flat: Ids
    strides: tuple[int, ...]
    offset: int
    #: The first id, where they are consecutive.
    first: int | None
    #: Whether the view is that memory as it lies, of which a reshape is quicker than strides.
    plain: bool

    @property
    def place(self) -> Any:
        """Where the numbers lie in a column: a slice where the ids are consecutive, as those of new results are."""
        return self.flat if self.first is None else slice(self.first, self.first + self.flat.size)

    def of(self, column: Column) -> Column:
        """The numbers, in the shape of the ids, leading axes of the column kept; not to be written to."""
        return self.viewed(self.once(column))

    def once(self, column: Column) -> Column:
        """The numbers of the memory that the view lies in, each once."""
        if self.first is not None:
            return column[..., self.first : self.first + self.flat.size]
        return np.take(column, self.flat, axis=-1, mode="clip")

    def viewed(self, found: Column) -> Column:
        """What belongs to the numbers of that memory, in the shape of the ids; not to be written to."""
        if self.plain:
            return found.reshape((*found.shape[:-1], *self.ids.shape))
        step = found.itemsize
        strides = (*found.strides[:-1], *(s * step for s in self.strides))
        return as_strided(found[..., self.offset :], (*found.shape[:-1], *self.ids.shape), strides, writeable=False)


def reading(ids: Ids | Reading) -> Reading:
    """The way to fetch the numbers of these ids."""
    if isinstance(ids, Reading):
        return ids
    if ids.flags.c_contiguous:
        return Reading(ids, flat := ids.reshape(-1), (), 0, _first(flat), plain=True)
    backwards = tuple(slice(None, None, -1) if s < 0 else slice(None) for s in ids.strides)
    forwards = ids[backwards]
    span = 1 + sum((n - 1) * s // ids.itemsize for n, s in zip(forwards.shape, forwards.strides, strict=True))
    if span > ids.size:
        dense = np.ascontiguousarray(ids)
        return _read(ids, dense.reshape(-1), dense)
    return _read(ids, as_strided(forwards, (span,), (ids.itemsize,)), ids)


def _read(ids: Ids, flat: Ids, viewed: Ids) -> Reading:
    strides = tuple(s // viewed.itemsize for s in viewed.strides)
    offset = -sum((n - 1) * s for n, s in zip(viewed.shape, strides, strict=True) if s < 0)
    return Reading(ids, flat, strides, offset, _first(flat), plain=False)


def _first(flat: Ids) -> int | None:
    """The first of ids that are consecutive, as those of one operation's results are."""
    consecutive = flat.size and flat[-1] - flat[0] == flat.size - 1 and bool((flat[1:] - flat[:-1] == 1).all())
    return int(flat[0]) if consecutive else None


def place(ids: Ids) -> Any:
    """Where numbers that are written lie in a column; ids that repeat memory stand for each of them."""
    return reading(np.ascontiguousarray(ids)).place


def laid(x: Column, shape: tuple[int, ...]) -> Column:
    """The numbers of an array of that shape, or that repeats to it, in their order; not to be written to."""
    return x.reshape(-1) if x.shape == shape else np.broadcast_to(x, shape).reshape(-1)


def repeated(x: Column) -> tuple[int, ...]:
    """The axes along which a view repeats its memory."""
    return tuple(a for a, (n, s) in enumerate(zip(x.shape, x.strides, strict=True)) if s == 0 and n > 1)


def without_repeats(x: Ids) -> Ids:
    """A view with one element along each axis that repeats memory."""
    return x[tuple(slice(0, 1) if s == 0 and n > 1 else slice(None) for n, s in zip(x.shape, x.strides, strict=True))]
