"""The gradient of a recorded formula, recorded too: reverse mode over its steps by the table's partial derivatives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.arithmetic.formats import FLOAT64, Format
from gradconform.reference.programs.functions import FUNCTIONS
from gradconform.reference.programs.record import ONE, STOPPED, ZERO, Ids, Step
from gradconform.reference.programs.recording import Array, Recording


def gradient(
    o: Recording, outputs: Sequence[Array], weights: Sequence[NDArray[np.float64]], arguments: Sequence[Array]
) -> list[Array]:
    """∂(Σ weight·output)/∂argument for every argument, as numbers of the same record.

    At a tie every side that was taken has its own slope, as the first derivative takes it in the middle of its set. Of
    numbers of a format the derivatives are of that format, too; a kernel is what its definition says.
    """
    pull = _Pull(o)
    for output, weight in zip(outputs, weights, strict=True):
        pull.give(output.ids, o.argument(weight).ids)
    pull.through(list(o.record.steps))
    return [pull.adjoint(a.ids, a.format) for a in arguments]


class _Pull:
    def __init__(self, o: Recording) -> None:
        self.o = o
        self.terms: dict[int, list[int]] = defaultdict(list)

    def through(self, steps: Sequence[Step]) -> None:
        for step in reversed(steps):
            adjoint = self.adjoint(step.out, step.format)
            if (adjoint.ids != ZERO).any():
                _RULES[step.kind](self, step, adjoint)

    def give(self, to: Ids, terms: Ids) -> None:
        to, terms = np.broadcast_arrays(to, terms)
        for i, term in zip(to.ravel().tolist(), terms.ravel().tolist(), strict=True):
            if i > ONE and term != ZERO:
                self.terms[i].append(term)

    def adjoint(self, of: Ids, format: Format = FLOAT64) -> Array:
        """The sum of what was given, number by number."""
        found = [self._sum(i, format) for i in of.ravel().tolist()]
        return Array(self.o, np.array(found, dtype=np.int64).reshape(of.shape), format)

    def _sum(self, i: int, format: Format) -> int:
        terms = self.terms.get(i)
        if not terms:
            return ZERO
        if len(terms) > 1:
            self.terms[i] = [int(self.o.summed(Array(self.o, np.array(terms, dtype=np.int64), format)).ids)]
        return self.terms[i][0]

    def times(self, adjoint: Array, factor: Array) -> Ids:
        """adjoint·factor where there is an adjoint."""
        w, x = np.broadcast_arrays(adjoint.ids, factor.ids)
        live = (w != ZERO) & (x != ZERO)
        found = np.full(w.shape, ZERO, np.int64)
        if live.any():
            found[live] = (replace(adjoint, ids=w[live]) * replace(factor, ids=x[live])).ids
        return found

    def map(self, step: Step, adjoint: Array) -> None:
        if step.function == STOPPED:
            return
        live = adjoint.ids != ZERO
        operands = [Array(self.o, np.asarray(x[live]), step.format) for x in step.operands]
        value, w = Array(self.o, np.asarray(step.out[live]), step.format), adjoint[live]
        if step.function == "absolute":
            partials: tuple[Array, ...] = (self.o.sign(operands[0]),)
        else:
            partials = FUNCTIONS[step.function].partials(self.o, *operands, value)
        for x, slope in zip(operands, partials, strict=True):
            if not (x.ids <= ONE).all():
                self.give(x.ids, self.times(w, slope))

    def sop(self, step: Step, adjoint: Array) -> None:
        w = adjoint[..., None]
        if len(step.operands) == 1:
            self.give(step.operands[0], w.ids)
            return
        a, b = (Array(self.o, x, step.format) for x in step.operands)
        self.give(a.ids, self.times(w, b))
        self.give(b.ids, self.times(w, a))

    def product(self, step: Step, adjoint: Array) -> None:
        row = step.operands[0]
        for k in range(row.shape[-1]):
            others = self.o.combined("product", Array(self.o, np.delete(row, k, -1), step.format))
            self.give(row[..., k], self.times(adjoint, others))

    def extreme(self, step: Step, adjoint: Array) -> None:
        """To the largest, or of several equal ones to each its share, which the record's derivative leaves open."""
        row = step.operands[0]
        for index in np.ndindex(step.out.shape):
            for i, share in self.o.shares(step, row[index].tolist(), adjoint[index]):
                self.give(np.array(i), share.ids)

    def choose(self, step: Step, adjoint: Array) -> None:
        assert step.first is not None
        assert step.decided is not None
        for operand, share in zip(step.operands, self.o.sides(step, adjoint), strict=True):
            self.give(operand, share.ids)

    def fused(self, step: Step, adjoint: Array) -> None:
        assert step.definition is not None
        self.give(step.definition.results, adjoint.ids)
        self.through(step.definition.steps)


_RULES: Mapping[str, Callable[[_Pull, Step, Array], None]] = {
    "map": _Pull.map, "sop": _Pull.sop, "product": _Pull.product, "maximum": _Pull.extreme, "minimum": _Pull.extreme,
    "choose": _Pull.choose, "fused": _Pull.fused,
}  # fmt: skip
