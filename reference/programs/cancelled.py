"""How much cancels in a number that is 0: the size of the terms of the sums that a program makes it of.

A bias before a batch norm has the gradient 0, whatever the loss: a sum of numbers that cancel. Such a number has no
leading bits, and an error of it is measured by its terms.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradconform.reference.programs.record import Ids, Numbers, Record, Step, every

#: Sums of products that are looked into, one inside of the other; and sums of two, which are one where they follow one
#: another. Looked into without end a recurrence would seem to make any number of terms beside which it is 0.
_DEEP = 2, 3
#: Terms of sums that are looked at at a time.
_BLOCK = 1 << 20


def cancelled(record: Record, ids: Ids, asked: Sequence[int]) -> Numbers:
    """Σ|terms| of those of these numbers that are asked for, by place; 0 for the others, and where it is unknown."""
    found = np.zeros(ids.size)
    if len(asked):
        with np.errstate(all="ignore"):
            found[asked] = _Terms(record).sizes(ids.ravel()[asked])
    return np.nan_to_num(found.reshape(ids.shape), posinf=0.0)


def _ordered(ids: Ids) -> Ids:
    """The different ones, in order: of ids that are in order, as those of whole results are, without sorting."""
    if ids.size < 2 or (ids[1:] >= ids[:-1]).all():
        return ids[np.r_[True, ids[1:] != ids[:-1]]] if ids.size else ids
    return np.unique(ids)


class _State(NamedTuple):
    """How many sums of products, and of two, are looked into from here on; and whether this is a term of one of two."""

    products: int
    pairs: int
    inside: bool = False


#: What asks for the sizes of numbers, is sent them, and returns sizes.
_Asking = Generator[tuple[Ids, _State], Numbers, Numbers]


class _Terms:
    """The sizes of numbers, by what they were made of."""

    def __init__(self, record: Record) -> None:
        self.held = np.abs(record.held)
        #: What is known already, by how far was looked; NaN of what is not.
        self._known: dict[_State, Numbers] = {}
        # A step's results have ids that follow one another.
        self._steps = sorted((s for s in every(record.steps) if s.out.size), key=lambda s: int(s.out.flat[0]))
        self._first = np.array([int(s.out.flat[0]) for s in self._steps], dtype=np.int64)

    def sizes(self, ids: Ids) -> Numbers:
        """Σ|terms| of each; what the framework held where there is no sum."""
        waiting = [self._sizes(ids, _State(*_DEEP))]
        found: Any = None
        while True:  # not by recursion: sums may follow one another by the thousand
            try:
                asked = waiting[-1].send(found)
            except StopIteration as done:
                waiting.pop()
                found = done.value
                if not waiting:
                    return np.asarray(found)
            else:
                waiting.append(self._sizes(*asked))
                found = None

    def _sizes(self, ids: Ids, state: _State) -> _Asking:
        if not state.products:
            return self.held[ids]
        if state not in self._known:
            self._known[state] = np.full(self.held.shape, np.nan)
        known = self._known[state]
        left = _ordered(ids[np.isnan(known[ids])])
        number = np.searchsorted(self._first, left, side="right") - 1
        known[left] = self.held[left]
        for n in _ordered(number[number >= 0]).tolist():
            step, of = self._steps[n], left[number == n]
            place = of - self._first[n]
            of, place = of[place < step.out.size], place[place < step.out.size]
            if of.size:
                known[of] = yield from self._made(step, place, state)
        return known[ids]

    def _made(self, step: Step, place: Ids, state: _State) -> _Asking:
        """The sizes of some results of a step; of a kernel, those of its definition."""
        if step.definition is not None:
            return (yield step.definition.results.ravel()[place], state)
        out, given = (step.out, step.operands) if step.out.ndim else (step.out[None], [o[None] for o in step.operands])
        at = np.unravel_index(place, out.shape)
        if step.kind == "sop":
            rows = max(1, _BLOCK // max(1, given[0].shape[-1]))
            parts = [tuple(axis[i : i + rows] for axis in at) for i in range(0, place.size, rows)]
            found = []
            for part in parts:
                found.append((yield from self._summed([o[part] for o in given], state)))
            return np.concatenate(found)
        operands = [o[at] for o in given]
        held = self.held[out[at]]
        if step.function in ("add", "subtract"):
            if not (state.inside or state.pairs):
                return held
            term = state._replace(pairs=state.pairs - (not state.inside), inside=True)
            return (yield operands[0], term) + (yield operands[1], term)
        if step.function in ("negative", "round"):
            return (yield operands[0], state)
        if step.function in ("multiply", "divide"):
            x, y = operands
            factor = state._replace(inside=False)
            if step.function == "divide":
                return np.where(self.held[y] != 0, (yield x, factor) / self.held[y], held)
            return np.maximum((yield x, factor) * self.held[y], self.held[x] * (yield y, factor))
        return held

    def _summed(self, operands: Sequence[Any], state: _State) -> _Asking:
        """Σ|a·b| over the last axis."""
        found = yield operands[0], _State(state.products - 1, state.pairs)
        return np.asarray((found if len(operands) == 1 else found * self.held[operands[1]]).sum(axis=-1))
