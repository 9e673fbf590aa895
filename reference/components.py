"""Where in a tensor components are, in a few words: those that deviate, and a single one by its indices."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import SupportsInt

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
#: Components that are named one by one.
NAMED = 4
#: The last axis of a complex tensor.
PARTS = ("real part", "imaginary part")


def named(index: Sequence[SupportsInt], parts: bool = False) -> str:
    """A component's indices as text, such as "3,17"; where the last axis is that of the `parts` of complex numbers it
    is told by name.

    >>> named((3, 17)), named((3, 1), parts=True)
    ('3,17', '3,imaginary part')
    """
    *rest, last = (str(int(i)) for i in index)
    return ",".join([*rest, PARTS[int(last)] if parts else last])


def deviating(numbers: Indices, shape: Sequence[int], parts: bool = False) -> str:
    """How many components of a tensor deviate, and which: `numbers` are theirs in the tensor laid flat, in order.

    >>> deviating(np.array([3, 4, 5]), (2, 3)), deviating(np.array([0, 4]), (2, 3))
    ('3 of 6 deviate: row 1', '2 of 6 deviate: [0,0], [1,1]')
    >>> deviating(np.arange(6), (2, 3)), deviating(np.array([2]), (6,))
    ('all 6 deviate', '1 of 6 deviates')
    """
    size = math.prod(shape)
    if len(numbers) == size:
        return f"all {size:,} deviate"
    if len(numbers) == 1:
        return f"1 of {size:,} deviates"
    return f"{len(numbers):,} of {size:,} deviate: {_where(numbers, tuple(shape), parts)}"


def _where(numbers: Indices, shape: tuple[int, ...], parts: bool) -> str:
    found = next(_patterns(numbers, shape, parts), None)
    if found is not None:
        return found
    others = _others(numbers, math.prod(shape))
    if len(others) <= 2 and len(numbers) > NAMED:
        return "all but " + _listed(others, shape, parts)
    more = f" and {len(numbers) - NAMED:,} more" if len(numbers) > NAMED else ""
    return _listed(numbers[:NAMED], shape, parts) + more


def _patterns(numbers: Indices, shape: tuple[int, ...], parts: bool) -> Iterator[str]:
    """The names of what these components are exactly: whole slices along an axis, the diagonal, a run of them."""
    places = np.unravel_index(numbers, shape)
    for axis, at in enumerate(places if len(shape) > 1 else ()):
        slices = np.unique(at)
        if len(slices) < shape[axis] and len(slices) * math.prod(shape) == len(numbers) * shape[axis]:
            yield _slices(axis, slices.tolist(), shape, parts)
    if len(shape) == 2 and len(set(shape)) == 1 and len(numbers) == shape[0] and (places[0] == places[1]).all():
        yield "the diagonal"
    if len(shape) == 1 and len(numbers) > NAMED and numbers[-1] - numbers[0] == len(numbers) - 1:
        yield f"[{numbers[0]}] to [{numbers[-1]}]"


def _slices(axis: int, at: list[int], shape: tuple[int, ...], parts: bool) -> str:
    """Slices along an axis: of a matrix its rows or columns, else as they are written in NumPy."""
    if parts and axis == len(shape) - 1:
        return f"the {PARTS[at[0]]}s"
    which = ", ".join(map(str, at[:NAMED])) + (f" and {len(at) - NAMED} more" if len(at) > NAMED else "")
    if len(shape) - parts == 1:
        return f"[{which}]"
    if len(shape) - parts == 2:
        return f"{('row', 'column')[axis]}{'s' if len(at) > 1 else ''} {which}"
    before, after = [":"] * axis, [":"] * (len(shape) - parts - axis - 1)
    return "[" + ", ".join([*before, which if len(at) == 1 else f"({which})", *after]) + "]"


def _others(numbers: Indices, size: int) -> Indices:
    others: Indices = np.setdiff1d(np.arange(size), numbers)
    return others


def _listed(numbers: Indices, shape: tuple[int, ...], parts: bool) -> str:
    return ", ".join(f"[{named(index, parts)}]" for index in zip(*np.unravel_index(numbers, shape), strict=True))
