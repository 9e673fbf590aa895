"""A record's derivatives by forward mode, whole arrays at a time: `tangents` in double words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradconform.reference.arithmetic.midpoints import Array, Double, DoubleArray
from gradconform.reference.programs import words
from gradconform.reference.programs.array_exact import LEVELS, ArrayExact, Columns, first_of_each
from gradconform.reference.programs.functions import FUNCTIONS
from gradconform.reference.programs.record import STOPPED, Ids, Step
from gradconform.reference.programs.words import WORD_OPERATIONS, Words


def push(
    exact: ArrayExact, seeds: Sequence[tuple[Ids, Array]], wanted: Sequence[Ids], steps: Sequence[Step]
) -> list[Words]:
    """The tangents of the `wanted` numbers through the steps, for the numbers that are seeded."""
    forward = _Forward(exact, seeds)
    forward.through(steps)
    return [forward.tangents.copied(ids) for ids in wanted]


class _Forward:
    def __init__(self, exact: ArrayExact, seeds: Sequence[tuple[Ids, Array]]) -> None:
        self.exact, self.values = exact, exact.values
        #: Tangents by id, 0 of what does not depend on the seeded numbers; and which do.
        self.tangents, self.live = Columns(exact.record.size), np.zeros(exact.record.size, dtype=bool)
        for ids, numbers in seeds:
            flat = Words(Double.lift(np.asarray(numbers, dtype=np.float64).ravel()), np.zeros((LEVELS, ids.size)))
            self.put(ids, flat, True)

    def put(self, ids: Ids, x: Words, live: Any) -> None:
        self.tangents.put(ids, x)
        self.live[ids] = live

    def through(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if step.definition is not None:
                self.through(step.definition.steps)
                results = step.definition.results
                self.put(step.out, self.tangents.flat(results), self.live[results].reshape(step.out.shape))
            elif step.out.size and any(self.live[o].any() for o in step.operands):
                _STEPS[step.kind](self, step)

    def _map(self, step: Step) -> None:
        if step.function == STOPPED:
            return
        x = [self.values.flat(o) for o in step.operands]
        if step.function == "absolute":
            partials: Sequence[Any] = (self.exact.sign(x[0], self.exact.record.held[step.operands[0]].ravel()),)
        else:
            partials = FUNCTIONS[step.function].partials(WORD_OPERATIONS, *x, self.values.flat(step.out))
        total, any_live = words.number(0.0), np.zeros(step.out.size, dtype=bool)
        for operand, slope in zip(step.operands, partials, strict=True):
            live = self.live[operand].ravel()
            if live.any():
                given = words.multiply(slope, self.tangents.flat(operand))
                total = words.add(total, words.where(live, given, words.number(0.0)))
                any_live |= live
        itself = step.of_itself
        if itself is not None:
            total, any_live = words.where(itself.ravel(), words.number(0.0), total), any_live & ~itself.ravel()
        self.put(step.out, total, any_live.reshape(step.out.shape))

    def _sop(self, step: Step) -> None:
        if len(step.operands) == 1:
            found = words.total(self.tangents.take(step.readings[0]))
        else:
            t, x = self.tangents, self.values
            sides = [self.live[o].any() for o in step.operands]
            each = [self.exact.sum_of_products(step, c) for c, s in zip(((t, x), (x, t)), sides, strict=True) if s]
            found = each[0] if len(each) == 1 else words.add(*each)
        self.put(step.out, found, True)

    def _product(self, step: Step) -> None:
        ids = step.operands[0]
        found = words.number(0.0)
        for k in range(ids.shape[-1]):
            given = self.tangents.flat(np.ascontiguousarray(ids[..., k]))
            for n in range(ids.shape[-1]):
                if n != k:
                    given = words.multiply(given, self.values.flat(np.ascontiguousarray(ids[..., n])))
            found = words.add(found, given)
        self.put(step.out, found, True)

    def _extreme(self, step: Step) -> None:
        best, tied = self.exact.largest(step)
        ids = np.ascontiguousarray(step.operands[0])
        self._among(step, best, ids, tied & first_of_each(ids))

    def _choose(self, step: Step) -> None:
        assert step.first is not None
        assert step.decided is not None
        taken = np.where(step.first, step.operands[0], step.operands[1])
        other = np.where(step.first, step.operands[1], step.operands[0])
        tie = np.asarray((taken != other) & (step.decided != 0))  # of one number NumPy makes no array
        if tie.any():
            tie[tie] = self.exact.undecided(step.decided[tie])
        self._among(step, taken, other[..., None], tie[..., None])

    def _among(self, step: Step, taken: Ids, others: Ids, tied: Any) -> None:
        """The tangents of what was taken; where others are as large, the middle of theirs, and the hull."""
        found = self.tangents.flat(np.ascontiguousarray(taken))
        self.put(step.out, found, True)
        rows = np.flatnonzero(tied.reshape(taken.size, -1).any(axis=-1) & self._depends(taken, others))
        self.exact.ties += rows.size
        if not rows.size:
            return
        members = np.concatenate([taken.reshape(-1, 1)[rows], others.reshape(taken.size, -1)[rows]], axis=-1)
        among = np.concatenate([np.ones((rows.size, 1), dtype=bool), tied.reshape(taken.size, -1)[rows]], axis=-1)
        each = words.where(among, self.tangents.take(members), words.number(0.0))
        count = among.sum(axis=-1).astype(np.float64)
        middle = words.divide(words.total(each), Words(Double.lift(count), np.zeros((LEVELS, rows.size))))
        with np.errstate(all="ignore"):
            wide = Words(DoubleArray(middle.mid.hi[:, None], middle.mid.lo[:, None]), middle.radius[..., None])
            reach = np.abs(words.apart(each, wide)) * words.ENLARGED + each.radius[1]
            middle.radius[1] = np.where(among, reach, 0.0).max(axis=-1) * words.ENLARGED
        self.put(step.out.ravel()[rows], middle, True)

    def _depends(self, taken: Ids, others: Ids) -> Any:
        return self.live[taken].ravel() | self.live[others].reshape(taken.size, -1).any(axis=-1)


_STEPS: Mapping[str, Callable[[_Forward, Step], None]] = {
    "map": _Forward._map,
    "sop": _Forward._sop,
    "product": _Forward._product,
    "maximum": _Forward._extreme,
    "minimum": _Forward._extreme,
    "choose": _Forward._choose,
}
