"""A record without rounding: its numbers over exact balls, and its derivatives by reverse mode over its steps.

Every tie (two equal numbers that are compared to choose, a corner of |x|, equal numbers in a maximum) has a slope of
its own: anything from 0 to 1 of each side. With `ties` the derivative is the set of all of them, by interval
evaluation; without, the middle of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from flint import arb, ctx

from gradconform.reference.programs.functions import BALL_OPERATIONS, FUNCTIONS
from gradconform.reference.programs.implicit import Implicit
from gradconform.reference.programs.record import ONE, RELATIONS, STOPPED, ZERO, Decision, Ids, Record, Relation, Step

#: Functions without a pole: where one is not finite it is beyond what a ball holds.
ENTIRE = frozenset({"exp", "exp2", "exp10", "expm1", "sinh", "cosh", "erfcx", "i0", "i1", "bessel_i"})
#: Those that have one where the operand of this number is 0, and nowhere else.
POLE_AT_ZERO = {"power": 0, "power_derivative": 2, "expi": 0}

#: Bits from which on equations that could not be solved will not be with more.
ENOUGH = 640


class Exact:
    """The values of a record's numbers, by id, on the arguments that it had, or on `given` ones.

    A kernel is what its definition says. A literal that looks rounded is a ball of one unit in its last place where
    `literals` is true. Conversions to another format are not rounded. With `jumps` a choice that is a tie is anything
    between its two numbers, as a mask x > 0 is at 0; without, the number that the run took.
    """

    def __init__(
        self,
        record: Record,
        given: Mapping[int, float | arb] | None = None,
        literals: bool = True,
        jumps: bool = False,
    ) -> None:
        self.record, self.literals, self.jumps = record, literals, jumps
        #: Whether the numbers that the run had say how near it came to a tie.
        self.there = not given
        #: Whether a choice that is a tie was between numbers that differ; known with `jumps` alone.
        self.jumped = False
        self.values: list[arb | None] = [None] * record.size
        #: Decisions that are ties, or are taken otherwise without rounding; and the rows of equal largest numbers.
        self.ties: set[Any] = set()
        #: Whether something is not finite since a ball is too wide, which more precision may mend; and whether
        #: something is beyond what balls hold. Elsewhere what is not finite is a pole, met exactly, or comes of one.
        self.vague = self.beyond = False
        #: Numbers that are infinite since a function has a pole there, such as log 0: no derivative goes through them.
        self.poles: set[int] = set()
        #: Numbers that are the same as another, as what `relu` makes of a negative number is 0.
        self.same: dict[int, int] = {}
        self._undecided: dict[int, bool] = {}
        for i, x in (given or {}).items():
            self.values[i] = arb(x)

    def __getitem__(self, i: int) -> arb:
        found = self.values[i]
        if found is None:
            x = float(self.record.held[i])
            found = arb(x)
            if self.literals and i in self.record.literals:
                found = arb(x, abs(x) * self.record.literals[i])
            self.values[i] = found
        return found

    def evaluate(self, steps: Iterable[Step] | None = None) -> Exact:
        """All numbers of the steps, in their order."""
        for step in self.record.steps if steps is None else steps:
            _FORWARD[step.kind](self, step)
        return self

    # Forward ----------------------------------------------------------------------------------------------------------

    def _store(self, step: Step, values: Iterable[arb]) -> None:
        for n, (i, value) in enumerate(zip(step.out.ravel().tolist(), values, strict=True)):
            self.values[i] = value
            if not value.is_finite() and step.kind in ("map", "sop"):
                at = np.unravel_index(n, step.out.shape)
                operands = {int(j) for o in step.operands for j in np.ravel(o[at])}
                if operands & self.poles or (step.kind == "map" and all(self[j].is_finite() for j in operands)):
                    self.poles.add(i)

    def _map(self, step: Step) -> None:
        operands = [o.ravel().tolist() for o in step.operands]
        if step.function == "absolute":
            self._store(step, (abs(self[i]) for i in operands[0]))
            return
        if step.function == STOPPED:
            self._store(step, (self[i] for i in operands[0]))
            return
        value = FUNCTIONS[step.function].ball

        def of(ids: tuple[int, ...]) -> arb:
            x = [self[i] for i in ids]
            if step.function == "subtract" and ids[0] == ids[1] and x[0].is_finite():
                return arb(0)  # a number less itself, however well that is known
            return self.noted(step.function, value(*x), x)

        self._store(step, map(of, zip(*operands, strict=True)))

    def noted(self, function: str, found: arb, operands: Sequence[arb]) -> arb:
        """A value or slope of a function, after noting why it is not finite where its operands are."""
        if not found.is_finite() and all(x.is_finite() for x in operands):
            at = POLE_AT_ZERO.get(function)
            self.beyond |= function in ENTIRE or (at is not None and operands[at] != 0)
            self.vague |= not all(x.is_exact() for x in operands)
        return found

    def _sop(self, step: Step) -> None:
        self._store(step, (self._sum(terms) for terms in pairs(step)))

    def _sum(self, terms: Sequence[tuple[int, int]]) -> arb:
        total = arb(0)
        for i, j in terms:
            total += self[i] if j == ONE else self[i] * self[j]
        return total

    def _product(self, step: Step) -> None:
        def product(row: Sequence[int]) -> arb:
            found = arb(1)
            for i in row:
                found *= self[i]
            return found

        self._store(step, map(product, rows(step.operands[0])))

    def _extreme(self, step: Step) -> None:
        found = [self.largest(step, row) for row in rows(step.operands[0])]
        for out, (best, *tied) in zip(step.out.ravel().tolist(), found, strict=True):
            if not tied:
                self.same[out] = self.same.get(best, best)
        self._store(step, (self[best] for best, *_ in found))

    def largest(self, step: Step, row: Sequence[int]) -> list[int]:
        """The number that is taken, and all those that may be as large (as small), itself among them."""
        ids = list(dict.fromkeys(row))
        sign = 1 if step.kind == "maximum" else -1
        best = ids[0]
        for i in ids[1:]:
            if sign * (self[i] - self[best]) > 0 or self[i].is_nan():
                best = i
        tied = [i for i in ids if i != best and self._tied(i, best, sign)]
        if tied:
            self.ties.add((step.kind, best, *tied))
        return [best, *tied]

    def _tied(self, i: int, best: int, sign: int) -> bool:
        """Whether a number may be as large as the largest, or small where `sign` is −1.

        What is infinite is so beside the same infinity alone; what the run rounded to equal numbers, or beyond, is.
        """
        if not self[i].is_finite():
            return bool(self[i] == self[best])
        return self[i].overlaps(self[best]) or (
            self.there and bool(sign * self.record.held[i] >= sign * self.record.held[best])
        )

    def _choose(self, step: Step) -> None:
        assert step.first is not None
        assert step.decided is not None
        first, decided = step.first.ravel().tolist(), step.decided.ravel().tolist()
        a, b = (o.ravel().tolist() for o in step.operands)
        pairs = ((i, j) if f else (j, i) for f, i, j in zip(first, a, b, strict=True))
        self._store(step, (self._chosen(*pair, d) for pair, d in zip(pairs, decided, strict=True)))

    def _chosen(self, taken: int, other: int, decided: int) -> arb:
        x, y = self[taken], self[other]
        if not self.jumps or taken == other or not decided or not self.undecided(decided):
            return x
        self.jumped |= not x.overlaps(y)
        return x.union(y)

    def _fused(self, step: Step) -> None:
        assert step.definition is not None
        self.evaluate(step.definition.steps)
        for solution in step.definition.solutions:
            near = self.record.held[list(solution.unknowns)].tolist()
            found = solution.values(self.__getitem__, near)
            if found is None:
                degenerate = self.degenerate(solution)
                found = solution.repeated(near) if degenerate else [arb.nan()] * len(near)
            for i, x in zip(solution.unknowns, found, strict=True):
                self.values[i] = x
        self._store(step, (self[i] for i in step.definition.results.ravel().tolist()))

    def degenerate(self, solution: Implicit) -> bool:
        """Whether equations that could not be solved certainly have no derivative, and not for want of precision."""
        found = solution.degenerate(self.__getitem__)
        if not found and all(self[i].is_finite() for i in solution.operands):
            if ctx.prec < ENOUGH:
                self.vague = True
            else:
                self.beyond = True
        return found

    # Decisions --------------------------------------------------------------------------------------------------------

    def undecided(self, number: int) -> bool:
        """Whether a decision is a tie, or another one without rounding than the run took."""
        if number not in self._undecided:
            decision = self.record.decisions[number]
            found = any(map(self.undecided, decision.parts)) if decision.parts else self._tie(decision)
            self._undecided[number] = found
            if found:
                self.ties.add(number)
        return self._undecided[number]

    def _tie(self, decision: Decision) -> bool:
        if decision.relation in (None, "eq", "ne") or decision.left == decision.right:
            return False  # what is asked to be equal is no corner
        left, right = self[decision.left], self[decision.right]
        if not (left.is_finite() and right.is_finite()):
            return False
        held = self.record.held
        if self.same.get(decision.left, decision.left) == self.same.get(decision.right, decision.right):
            return bool(held[decision.left] != held[decision.right])  # one number, also beside these arguments
        taken = holds(decision.relation, float(held[decision.left]) - float(held[decision.right]))
        for sign in (-1.0, 0.0, 1.0):
            possible = (left < right, left == right or not (left < right or left > right), left > right)[int(sign) + 1]
            if possible and (sign == 0.0 or holds(decision.relation, sign) != taken):
                return True
        return False

    def otherwise(self) -> list[bool]:
        """Which comparisons certainly come out otherwise without rounding than the run's."""
        return [self._otherwise(decision) for decision in self.record.decisions]

    def _otherwise(self, decision: Decision) -> bool:
        if decision.relation in (None, "eq", "ne"):
            return False
        left, right = self[decision.left], self[decision.right]
        held = float(self.record.held[decision.left]) - float(self.record.held[decision.right])
        signs = [sign for sign, sure in ((-1.0, left < right), (0.0, left == right), (1.0, left > right)) if sure]
        return any(holds(decision.relation, sign) != holds(decision.relation, held) for sign in signs)

    # Slopes -----------------------------------------------------------------------------------------------------------

    def sign(self, i: int, ties: bool) -> arb:
        """The slope of |x|; at the corner all of them, or 0."""
        x, held = self[i], self.record.held[i]
        if (x > 0 and not (held <= 0 and self.there)) or (
            x < 0 and not (held >= 0 and self.there)
        ):  # the run may have rounded it to 0, or beyond
            return arb(1) if x > 0 else arb(-1)
        self.ties.add(("absolute", i))
        return arb(0, 1) if ties else arb(0)

    # Reverse mode -----------------------------------------------------------------------------------------------------

    def pull(self, seeds: Mapping[int, arb], ties: bool = True) -> dict[int, arb]:
        """Adjoints of every number that the seeded ones depend on: ∂(Σ seed·number)/∂number, by id."""
        reverse = _Reverse(self, dict(seeds), ties)
        reverse.through(self.record.steps)
        return reverse.adjoints


class _Reverse:
    def __init__(self, exact: Exact, seeds: dict[int, arb], ties: bool) -> None:
        self.exact, self.adjoints, self.ties = exact, seeds, ties

    def give(self, i: int, x: arb) -> None:
        self.adjoints[i] = self.adjoints[i] + x if i in self.adjoints else x

    def share(self, of: int) -> arb:
        """What one of several equal numbers may have of a slope."""
        return arb(0.5, 0.5) if self.ties else arb(1) / of

    def through(self, steps: Sequence[Step]) -> None:
        for step in reversed(steps):
            outs = step.out.ravel().tolist()
            live = [(n, self.adjoints[i]) for n, i in enumerate(outs) if i in self.adjoints]
            if live:
                _BACKWARD[step.kind](self, step, live)

    def _map(self, step: Step, live: list[tuple[int, arb]]) -> None:
        if step.function == STOPPED:
            return
        operands = [o.ravel() for o in step.operands]
        outs = step.out.ravel()
        for n, w in live:
            ids = [int(o[n]) for o in operands]
            if step.function == "subtract" and ids[0] == ids[1]:
                continue
            x = [self.exact[i] for i in ids]
            if step.function == "absolute":
                partials: tuple[Any, ...] = (self.exact.sign(ids[0], self.ties),)
            else:
                partials = FUNCTIONS[step.function].partials(BALL_OPERATIONS, *x, self.exact[int(outs[n])])
            for i, slope in zip(ids, partials, strict=True):
                self.exact.noted(step.function, slope, x)
                if not slope.is_zero():
                    self.give(i, slope * w)
                elif not w.is_finite() or i in self.exact.poles:
                    self.give(i, arb.nan())  # 0·∞: there is no derivative, unless nothing depends on it

    def _sop(self, step: Step, live: list[tuple[int, arb]]) -> None:
        terms = list(pairs(step))
        for n, w in live:
            for i, j in terms[n]:
                if i > ONE:
                    self.give(i, w if j == ONE else w * self.exact[j])
                if j > ONE:
                    self.give(j, w if i == ONE else w * self.exact[i])

    def _product(self, step: Step, live: list[tuple[int, arb]]) -> None:
        every = list(rows(step.operands[0]))
        for n, w in live:
            before = [arb(1)]
            for i in every[n]:
                before.append(before[-1] * self.exact[i])
            after = arb(1)
            for k in reversed(range(len(every[n]))):
                if every[n][k] > ONE:
                    self.give(every[n][k], w * before[k] * after)
                after = after * self.exact[every[n][k]]

    def _extreme(self, step: Step, live: list[tuple[int, arb]]) -> None:
        every = list(rows(step.operands[0]))
        for n, w in live:
            tied = self.exact.largest(step, every[n])
            for i in tied:
                self.give(i, w if len(tied) == 1 else w * self.share(len(tied)))

    def _choose(self, step: Step, live: list[tuple[int, arb]]) -> None:
        assert step.first is not None
        assert step.decided is not None
        first, decided = step.first.ravel(), step.decided.ravel()
        a, b = (o.ravel() for o in step.operands)
        for n, w in live:
            taken, other = (int(a[n]), int(b[n])) if first[n] else (int(b[n]), int(a[n]))
            if taken != other and decided[n] and self.exact.undecided(int(decided[n])):
                self.give(taken, w * self.share(2))
                self.give(other, w * self.share(2))
            else:
                self.give(taken, w)

    def _fused(self, step: Step, live: list[tuple[int, arb]]) -> None:
        assert step.definition is not None
        results = step.definition.results.ravel()
        for n, w in live:
            self.give(int(results[n]), w)
        for solution in step.definition.solutions:
            if any(i in self.adjoints for i in solution.unknowns):
                adjoints = [self.adjoints.get(i, arb(0)) for i in solution.unknowns]
                of = self.exact.__getitem__
                pulled = solution.pull(of, adjoints)
                if pulled is None:
                    pulled = [arb.nan()] * len(solution.operands)
                    self.exact.vague |= self.exact.degenerate(solution) and not solution.splits(of, adjoints)
                for i, x in zip(solution.operands, pulled, strict=True):
                    if i > ONE:
                        self.give(i, x)
        self.through(step.definition.steps)


_FORWARD: dict[str, Callable[[Exact, Step], None]] = {
    "map": Exact._map,
    "sop": Exact._sop,
    "product": Exact._product,
    "maximum": Exact._extreme,
    "minimum": Exact._extreme,
    "choose": Exact._choose,
    "fused": Exact._fused,
}
_BACKWARD: dict[str, Callable[[_Reverse, Step, list[tuple[int, arb]]], None]] = {
    "map": _Reverse._map,
    "sop": _Reverse._sop,
    "product": _Reverse._product,
    "maximum": _Reverse._extreme,
    "minimum": _Reverse._extreme,
    "choose": _Reverse._choose,
    "fused": _Reverse._fused,
}


def rows(operand: Ids) -> Iterable[list[int]]:
    """The ids along the last axis, row by row."""
    count = operand.shape[-1]
    return (row.tolist() for row in operand.reshape(-1, count))


def pairs(step: Step) -> Iterable[list[tuple[int, int]]]:
    """The factors of each term of a sum of products, without those that are 0; of a plain sum, each times 1."""
    first = step.operands[0]
    second = step.operands[1] if len(step.operands) > 1 else None
    for index in np.ndindex(first.shape[:-1]):
        left = first[index].tolist()
        right = [ONE] * len(left) if second is None else second[index].tolist()
        yield [(i, j) for i, j in zip(left, right, strict=True) if i != ZERO and j != ZERO]


def holds(relation: Relation | None, difference: float) -> bool:
    """Whether a relation holds between two numbers, given their difference."""
    return relation is not None and bool(RELATIONS[relation](difference, 0.0))
