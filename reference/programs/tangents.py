"""A record's derivatives by forward mode, over exact balls: the tangents of its numbers along one direction.

Ties are as in `exact`: with `ties` a tangent is the set of all that the sides' slopes give, the hull of the sides' own
tangents; without, the middle of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

from flint import arb

from gradconform.reference.programs.exact import Exact, pairs, rows
from gradconform.reference.programs.functions import BALL_OPERATIONS, FUNCTIONS
from gradconform.reference.programs.record import ONE, STOPPED, Step


def push(exact: Exact, seeds: Mapping[int, arb], ties: bool = True) -> dict[int, arb]:
    """Tangents of every number that depends on the seeded ones: Σ seed·∂number/∂seeded, by id."""
    forward = _Forward(exact, dict(seeds), ties)
    forward.through(exact.record.steps)
    return forward.tangents


class _Forward:
    def __init__(self, exact: Exact, seeds: dict[int, arb], ties: bool) -> None:
        self.exact, self.tangents, self.ties = exact, seeds, ties

    def through(self, steps: Sequence[Step]) -> None:
        for step in steps:
            _STEPS[step.kind](self, step)

    def store(self, i: int, terms: Sequence[arb]) -> None:
        """The sum of these, if there are any: what has none does not depend on what is seeded."""
        if terms:
            self.tangents[i] = sum(terms[1:], terms[0])

    def among(self, ids: Sequence[int]) -> list[arb]:
        """The tangent of one of several equal numbers: any combination of theirs that adds up to 1."""
        if not any(i in self.tangents for i in ids):
            return []
        found = [self.tangents.get(i, arb(0)) for i in ids]
        if self.ties:
            return [reduce(lambda a, b: a.union(b), found)]
        return [sum(found[1:], found[0]) / len(found)]

    def _map(self, step: Step) -> None:
        if step.function == STOPPED:
            return
        operands = [o.ravel().tolist() for o in step.operands]
        for n, out in enumerate(step.out.ravel().tolist()):
            ids = [o[n] for o in operands]
            itself = step.function == "subtract" and ids[0] == ids[1]
            if any(i in self.tangents for i in ids) and not itself:
                self.store(out, [slope * self.tangents[i] for i, slope in self._slopes(step, ids, out)])

    def _slopes(self, step: Step, ids: Sequence[int], out: int) -> list[tuple[int, arb]]:
        """The partial derivatives by the operands that have a tangent."""
        x = [self.exact[i] for i in ids]
        if step.function == "absolute":
            partials: tuple[Any, ...] = (self.exact.sign(ids[0], self.ties),)
        else:
            partials = FUNCTIONS[step.function].partials(BALL_OPERATIONS, *x, self.exact[out])
        live = [(i, slope) for i, slope in zip(ids, partials, strict=True) if i in self.tangents]
        return [(i, self.exact.noted(step.function, slope, x)) for i, slope in live]

    def _sop(self, step: Step) -> None:
        for out, terms in zip(step.out.ravel().tolist(), pairs(step), strict=True):
            found = []
            for i, j in terms:
                for of, other in ((i, j), (j, i)):
                    if of in self.tangents:
                        t = self.tangents[of]
                        found.append(t if other == ONE else t * self.exact[other])
            self.store(out, found)

    def _product(self, step: Step) -> None:
        for out, row in zip(step.out.ravel().tolist(), rows(step.operands[0]), strict=True):
            found = []
            for k, i in enumerate(row):
                if i in self.tangents:
                    others = [self.exact[j] for n, j in enumerate(row) if n != k]
                    found.append(reduce(lambda a, b: a * b, others, self.tangents[i]))
            self.store(out, found)

    def _extreme(self, step: Step) -> None:
        for out, row in zip(step.out.ravel().tolist(), rows(step.operands[0]), strict=True):
            self.store(out, self.among(self.exact.largest(step, row)))

    def _choose(self, step: Step) -> None:
        assert step.first is not None
        assert step.decided is not None
        first, decided = step.first.ravel(), step.decided.ravel()
        a, b = (o.ravel().tolist() for o in step.operands)
        for n, out in enumerate(step.out.ravel().tolist()):
            taken, other = (a[n], b[n]) if first[n] else (b[n], a[n])
            tied = taken != other and decided[n] and self.exact.undecided(int(decided[n]))
            self.store(out, self.among([taken, other] if tied else [taken]))

    def _fused(self, step: Step) -> None:
        assert step.definition is not None
        self.through(step.definition.steps)
        for solution in step.definition.solutions:
            if not any(i in self.tangents for i in solution.operands):
                continue
            pushed = solution.push(self.exact.__getitem__, [self.tangents.get(i, arb(0)) for i in solution.operands])
            if pushed is None:
                pushed = [arb.nan()] * len(solution.unknowns)
                self.exact.vague |= self.exact.degenerate(solution)
            self.tangents.update(zip(solution.unknowns, pushed, strict=True))
        for out, result in zip(step.out.ravel().tolist(), step.definition.results.ravel().tolist(), strict=True):
            self.store(out, self.among([result]))


_STEPS: dict[str, Callable[[_Forward, Step], None]] = {
    "map": _Forward._map,
    "sop": _Forward._sop,
    "product": _Forward._product,
    "maximum": _Forward._extreme,
    "minimum": _Forward._extreme,
    "choose": _Forward._choose,
    "fused": _Forward._fused,
}
