"""How much cancels in a number that is 0: the size of the terms of the sums that a program makes it of.

A bias before a batch norm has the gradient 0, whatever the loss: a sum of numbers that cancel. Such a number has no
leading bits, and an error of it is measured by its terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradconform.reference.programs.record import Ids, Numbers, Record, Step, every

#: Sums that are looked into, one inside of the other.
_DEEP = 2


def cancelled(record: Record, ids: Ids, asked: Sequence[int]) -> Numbers:
    """Σ|terms| of those of these numbers that are asked for, by place; 0 for the others, and where it is unknown."""
    found = np.zeros(ids.size)
    if len(asked):
        terms = _Terms(record)
        found[asked] = [terms.size(int(i), _DEEP) for i in ids.ravel()[asked]]
    return np.nan_to_num(found.reshape(ids.shape), posinf=0.0)


class _Terms:
    """The sizes of numbers, by what they were made of."""

    def __init__(self, record: Record) -> None:
        self.held = np.abs(record.held)
        self._known: dict[tuple[int, int], float] = {}
        # A step's results have ids that follow one another.
        self._steps = sorted((s for s in every(record.steps) if s.out.size), key=lambda s: int(s.out.flat[0]))
        self._first = np.array([int(s.out.flat[0]) for s in self._steps], dtype=np.int64)

    def _made(self, i: int) -> tuple[Step, tuple[Any, ...]] | None:
        """Which step made a number, and at which place of its result; of a kernel, that of its definition."""
        number = int(np.searchsorted(self._first, i, side="right")) - 1
        if number < 0:
            return None
        step = self._steps[number]
        place = i - int(self._first[number])
        if place >= step.out.size:
            return None
        at = np.unravel_index(place, step.out.shape)
        if step.definition is None:
            return step, at
        return self._made(int(step.definition.results[at]))

    def size(self, i: int, deep: int) -> float:
        """At most so many sums deep, Σ|terms|; what the framework held where there is no sum."""
        if (i, deep) not in self._known:
            self._known[i, deep] = self._size(i, deep)
        return self._known[i, deep]

    def _size(self, i: int, deep: int) -> float:
        held = float(self.held[i])
        made = self._made(i) if deep else None
        if made is None:
            return held
        step, at = made
        operands = [o[at] for o in step.operands]
        if step.kind == "sop" and deep == 1:
            a = self.held[operands[0]]
            return float(a @ self.held[operands[1]] if len(operands) > 1 else a.sum())
        if step.kind == "sop":
            factors = self.held[operands[1]] if len(operands) > 1 else np.ones(operands[0].shape)
            return sum(self.size(int(a), deep - 1) * float(b) for a, b in zip(operands[0], factors, strict=True))
        if step.function in ("add", "subtract"):
            return sum(self.size(int(j), deep) for j in operands)
        if step.function in ("negative", "round"):
            return self.size(int(operands[0]), deep)
        if step.function in ("multiply", "divide"):
            x, y = (int(j) for j in operands)
            if step.function == "divide":
                return self.size(x, deep) / float(self.held[y]) if self.held[y] else held
            return max(self.size(x, deep) * float(self.held[y]), float(self.held[x]) * self.size(y, deep))
        return held
