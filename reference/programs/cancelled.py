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
#: Terms of sums that are looked at at a time.
_BLOCK = 1 << 20


def cancelled(record: Record, ids: Ids, asked: Sequence[int]) -> Numbers:
    """Σ|terms| of those of these numbers that are asked for, by place; 0 for the others, and where it is unknown."""
    found = np.zeros(ids.size)
    if len(asked):
        with np.errstate(all="ignore"):
            found[asked] = _Terms(record).sizes(ids.ravel()[asked], _DEEP)
    return np.nan_to_num(found.reshape(ids.shape), posinf=0.0)


def _ordered(ids: Ids) -> Ids:
    """The different ones, in order: of ids that are in order, as those of whole results are, without sorting."""
    if ids.size < 2 or (ids[1:] >= ids[:-1]).all():
        return ids[np.r_[True, ids[1:] != ids[:-1]]] if ids.size else ids
    return np.unique(ids)


class _Terms:
    """The sizes of numbers, by what they were made of."""

    def __init__(self, record: Record) -> None:
        self.held = np.abs(record.held)
        #: What is known already, by how deep was looked; NaN of what is not.
        self._known: dict[int, Numbers] = {}
        # A step's results have ids that follow one another.
        self._steps = sorted((s for s in every(record.steps) if s.out.size), key=lambda s: int(s.out.flat[0]))
        self._first = np.array([int(s.out.flat[0]) for s in self._steps], dtype=np.int64)

    def sizes(self, ids: Ids, deep: int) -> Numbers:
        """At most so many sums deep, Σ|terms| of each; what the framework held where there is no sum."""
        if not deep:
            return self.held[ids]
        if deep not in self._known:
            self._known[deep] = np.full(self.held.shape, np.nan)
        known = self._known[deep]
        left = _ordered(ids[np.isnan(known[ids])])
        number = np.searchsorted(self._first, left, side="right") - 1
        known[left] = self.held[left]
        for n in _ordered(number[number >= 0]).tolist():
            step, of = self._steps[n], left[number == n]
            place = of - self._first[n]
            of, place = of[place < step.out.size], place[place < step.out.size]
            if of.size:
                known[of] = self._made(step, place, deep)
        return known[ids]

    def _made(self, step: Step, place: Ids, deep: int) -> Numbers:
        """The sizes of some results of a step; of a kernel, those of its definition."""
        if step.definition is not None:
            return self.sizes(step.definition.results.ravel()[place], deep)
        out, given = (step.out, step.operands) if step.out.ndim else (step.out[None], [o[None] for o in step.operands])
        at = np.unravel_index(place, out.shape)
        if step.kind == "sop":
            rows = max(1, _BLOCK // max(1, given[0].shape[-1]))
            parts = [tuple(axis[i : i + rows] for axis in at) for i in range(0, place.size, rows)]
            return np.concatenate([self._summed([o[part] for o in given], deep) for part in parts])
        operands = [o[at] for o in given]
        if step.function in ("add", "subtract"):
            return np.add(*(self.sizes(o, deep) for o in operands))
        if step.function in ("negative", "round"):
            return self.sizes(operands[0], deep)
        held = self.held[out[at]]
        if step.function in ("multiply", "divide"):
            x, y = operands
            if step.function == "divide":
                return np.where(self.held[y] != 0, self.sizes(x, deep) / self.held[y], held)
            return np.maximum(self.sizes(x, deep) * self.held[y], self.held[x] * self.sizes(y, deep))
        return held

    def _summed(self, operands: Sequence[Any], deep: int) -> Numbers:
        """Σ|a·b| over the last axis."""
        found = self.sizes(operands[0], deep - 1)
        return np.asarray((found if len(operands) == 1 else found * self.held[operands[1]]).sum(axis=-1))
