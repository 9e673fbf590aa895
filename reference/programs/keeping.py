"""What a program's digits go to: its condition, the step that loses most of them, and a program that keeps them.

A gradient that has lost its digits is ill-conditioned where one rounding of the arguments would do as much. It is lost
where another program keeps them: reverse mode over the forward record by the table's own rules, in the same formats,
whose rounding is bounded like that of any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flint import arb

from gradconform.reference.arithmetic.exact import to_float
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.arithmetic.rounded import ANYTHING, ZERO, Rounded
from gradconform.reference.judge import LOST_BITS
from gradconform.reference.outcomes import BranchingBalls, Outcome, Special
from gradconform.reference.programs.allowance import OPERATIONS, Allowed, general
from gradconform.reference.programs.exact import Exact, pairs, rows
from gradconform.reference.programs.functions import FUNCTIONS
from gradconform.reference.programs.record import ONE, STOPPED, Ids, Record, Step, every

#: The program that is exhibited.
BY_TABLE = "reverse mode by the table of functions"
#: Maps that do not round.
UNROUNDED = ("negative", "absolute", STOPPED)


def condition(exact: Exact, given: Iterable[Ids], weighted: Mapping[int, float]) -> float | None:
    """A lower bound of ‖κ‖, κ_i = Σ_j |x_j·∂g_i/∂x_j| for the results g_i and the arguments x_j of a record.

    `weighted` are results with how far off each may be: of a combination Σ s_i·g_i with ‖s‖ = 1 the sum of |x_j·∂/∂x_j|
    is at most ‖κ‖, whatever the signs. None where a step was stopped: what is beyond it, this does not see.
    """
    if any(step.function == STOPPED for step in every(exact.record.steps)):
        return None
    length = math.sqrt(math.fsum(w * w for w in weighted.values()))
    if not 0 < length < math.inf:
        return None
    largest = max(weighted, key=lambda i: weighted[i])
    arguments = {i for ids in given for i in ids.ravel().tolist()}
    found = 0.0
    for seeds in ({largest: 1.0}, {i: w / length for i, w in weighted.items()}):
        adjoints = exact.pull({i: arb(s) for i, s in seeds.items()}, ties=False)
        moved = sum((abs(adjoints[i] * exact[i]).mid() for i in arguments if i in adjoints), arb(0))
        if moved.is_finite():
            found = max(found, to_float(moved))
    return found


def loser(exact: Exact, result: int) -> tuple[Step, float] | None:
    """The step whose own rounding, one unit u of its format, moves a result most; and by how much, relative to it.

    None where that is no more than `judge.LOST_BITS` bits: the digits are then not lost at one step.
    """
    adjoints = exact.pull({result: arb(1)}, ties=False)
    most, found = 0.0, None
    for step in exact.record.steps:
        if step.function in UNROUNDED or step.kind in ("choose", "maximum", "minimum"):
            continue
        moved = [abs(adjoints[i] * exact[i]) for i in step.out.ravel().tolist() if i in adjoints]
        off = to_float(sum(moved, arb(0)).mid()) * 2.0**-step.format.precision if moved else 0.0
        if most < off < math.inf:
            most, found = off, step
    size = abs(to_float(exact[result].mid()))
    if found is None or most < size * 2.0 ** (LOST_BITS - found.format.precision):
        return None
    return found, most / size if size else math.inf


def by_table(
    record: Record, profile: Profile, outputs: Sequence[tuple[Ids, Sequence[float]]], arguments: Sequence[Ids]
) -> list[list[Outcome]]:
    """What reverse mode by the table's rules may give for each argument: one way through it, that without overflow.

    A kernel is what its definition says.
    """
    allowed = Allowed(record, profile, sums="wide")
    for step in record.steps:
        allowed.evaluate([step])
        if step.definition is not None:
            allowed.evaluate(step.definition.steps)
    reverse = _Rounded(allowed)
    last = record.steps[-1].format.name if record.steps else next(iter(allowed.arithmetics))
    ops = allowed.arithmetics[last]
    for ids, adjoints in outputs:
        for i, seed in zip(ids.ravel().tolist(), adjoints, strict=True):
            reverse.give(ops, i, ops.given(float(seed)))
    reverse.through(record.steps)
    nothing = ops.given(0.0)
    return [[reverse.adjoints.get(i, nothing) for i in ids.ravel().tolist()] for ids in arguments]


class _Table:
    """The table's functions with rounding, for formulas that are written over any arithmetic."""

    def __init__(self, ops: BranchingBalls) -> None:
        self._ops = ops

    def __getattr__(self, name: str) -> Callable[..., Outcome]:
        ops = self._ops
        if name in OPERATIONS:
            return lambda *x: OPERATIONS[name](ops, *x)
        if FUNCTIONS[name].ulps is None:  # only part of a derivative: nobody says how well it is computed
            return lambda *x: Rounded(ops, ZERO, ZERO, ANYTHING)
        return lambda *x: general(ops, name, x)

    def sech(self, x: Outcome) -> Outcome:
        return self._ops.divide(self._ops.given(1.0), self._ops.cosh(x))

    def pi(self) -> Outcome:
        return self._ops.constant(arb.pi())

    def ln2(self) -> Outcome:
        return self._ops.constant(arb.const_log2())

    def number(self, x: float) -> Outcome:
        return self._ops.given(x)


@dataclass
class _Rounded:
    """Reverse mode over what a record may hold."""

    allowed: Allowed
    adjoints: dict[int, Outcome] = field(default_factory=dict)

    def give(self, ops: BranchingBalls, i: int, x: Outcome) -> None:
        if i in self.adjoints:
            x = ops.add(_read(ops, self.adjoints[i]), x)
        self.adjoints[i] = x

    def through(self, steps: Sequence[Step]) -> None:
        for step in reversed(steps):
            ops = self.allowed.arithmetics[step.format.name]
            outs = step.out.ravel().tolist()
            live = [(n, _read(ops, self.adjoints[i])) for n, i in enumerate(outs) if i in self.adjoints]
            if live:
                _RULES[step.kind](self, ops, step, live)

    def _map(self, ops: BranchingBalls, step: Step, live: Sequence[tuple[int, Outcome]]) -> None:
        if step.function == STOPPED:
            return
        operands, outs = [o.ravel() for o in step.operands], step.out.ravel()
        for n, w in live:
            ids = [int(o[n]) for o in operands]
            x = [self.allowed.value(i, ops) for i in ids]
            if step.function == "absolute":
                slopes: tuple[Any, ...] = (ops.given(float(np.sign(self.allowed.record.held[ids[0]]))),)
            else:
                slopes = FUNCTIONS[step.function].partials(_Table(ops), *x, self.allowed.value(int(outs[n]), ops))
            for i, slope in zip(ids, slopes, strict=True):
                self.give(ops, i, ops.multiply(ops.coerce(slope), w))

    def _sop(self, ops: BranchingBalls, step: Step, live: Sequence[tuple[int, Outcome]]) -> None:
        terms = list(pairs(step))
        for n, w in live:
            for i, j in terms[n]:
                for one, other in ((i, j), (j, i)):
                    if one > ONE:
                        self.give(ops, one, w if other == ONE else ops.multiply(w, self.allowed.value(other, ops)))

    def _product(self, ops: BranchingBalls, step: Step, live: Sequence[tuple[int, Outcome]]) -> None:
        every_row = list(rows(step.operands[0]))
        for n, w in live:
            for k, i in enumerate(every_row[n]):
                found = w
                for j in (*every_row[n][:k], *every_row[n][k + 1 :]):
                    found = ops.multiply(found, self.allowed.value(j, ops))
                self.give(ops, i, found)

    def _extreme(self, ops: BranchingBalls, step: Step, live: Sequence[tuple[int, Outcome]]) -> None:
        held, sign = self.allowed.record.held, 1 if step.kind == "maximum" else -1
        every_row = list(rows(step.operands[0]))
        for n, w in live:
            self.give(ops, max(every_row[n], key=lambda i: sign * held[i]), w)

    def _choose(self, ops: BranchingBalls, step: Step, live: Sequence[tuple[int, Outcome]]) -> None:
        assert step.first is not None
        a, b = (o.ravel() for o in step.operands)
        for n, w in live:
            self.give(ops, int(a[n] if step.first.ravel()[n] else b[n]), w)

    def _fused(self, ops: BranchingBalls, step: Step, live: Sequence[tuple[int, Outcome]]) -> None:
        assert step.definition is not None
        results = step.definition.results.ravel()
        for n, w in live:
            self.give(ops, int(results[n]), w)
        self.through(step.definition.steps)


def _read(ops: BranchingBalls, x: Outcome) -> Outcome:
    """An adjoint as the arithmetic of a step reads it."""
    if isinstance(x, Special):
        return Special(ops, x.value)
    return x if x.arithmetic is ops else ops.read(x.under(ops))


_RULES: dict[str, Callable[[_Rounded, BranchingBalls, Step, Sequence[tuple[int, Outcome]]], None]] = {
    "map": _Rounded._map,
    "sop": _Rounded._sop,
    "product": _Rounded._product,
    "maximum": _Rounded._extreme,
    "minimum": _Rounded._extreme,
    "choose": _Rounded._choose,
    "fused": _Rounded._fused,
}
