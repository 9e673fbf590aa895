"""How much cancels in a number that is 0: the size of the terms of the sums that a program makes it of.

A bias before a batch norm has the gradient 0, whatever the loss: a sum of numbers that cancel. Such a number has no
leading bits, and an error of it is measured by its terms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from gradconform.reference.programs.record import Ids, Numbers, Record, Step

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
        self._made: dict[int, tuple[Step, int]] = {}
        self._known: dict[tuple[int, int], float] = {}
        self._index(record.steps)

    def _index(self, steps: Iterable[Step]) -> None:
        """Which step made each number, and at which place of its result; of a kernel, that of its definition."""
        for step in steps:
            made = step.out.ravel().tolist()
            if step.definition is None:
                self._made.update((i, (step, n)) for n, i in enumerate(made))
                continue
            self._index(step.definition.steps)
            inner = step.definition.results.ravel().tolist()
            self._made.update((i, self._made[j]) for i, j in zip(made, inner, strict=True) if j in self._made)

    def size(self, i: int, deep: int) -> float:
        """At most so many sums deep, Σ|terms|; what the framework held where there is no sum."""
        if (i, deep) not in self._known:
            self._known[i, deep] = self._size(i, deep)
        return self._known[i, deep]

    def _size(self, i: int, deep: int) -> float:
        held = float(self.held[i])
        if i not in self._made or not deep:
            return held
        step, place = self._made[i]
        at = np.unravel_index(place, step.out.shape)
        operands = [o[at] for o in step.operands]
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
