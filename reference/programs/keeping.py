"""What a program's digits go to: its condition, the step that loses most of them, and a program that keeps them.

A gradient that has lost its digits is ill-conditioned where one rounding of the arguments would do as much. It is lost
where another program keeps them: reverse mode over the forward record by the table's own rules, in the same formats,
whose rounding is bounded like that of any other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from flint import arb

from gradconform.reference.arithmetic.exact import to_float
from gradconform.reference.arithmetic.formats import FLOAT64, Format
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.judge import LOST_BITS
from gradconform.reference.outcomes import Outcome
from gradconform.reference.programs.allowance import OPERATIONS, Allowed
from gradconform.reference.programs.emitted import Emitting
from gradconform.reference.programs.exact import Exact
from gradconform.reference.programs.record import STOPPED, ZERO, Ids, Record, Relation, Step, continued, every
from gradconform.reference.programs.recorded_gradient import gradient
from gradconform.reference.programs.recording import Array, Recording

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


def narrower(record: Record, results: Ids, format: Format) -> Step | None:
    """The last step in a narrower format than this that leads to some results; None where there is none."""
    steps = list(every(record.steps))
    if all(s.format.precision >= format.precision for s in steps):
        return None
    wanted = set(results.ravel().tolist())
    for step in reversed(steps):
        if wanted.isdisjoint(step.out.ravel().tolist()):
            continue
        if step.format.precision < format.precision:
            return step
        wanted |= {i for ids in step.reads() for i in ids.ravel().tolist()}
        if step.definition is not None:
            wanted |= {i for of in step.definition.steps for i in of.out.ravel().tolist()}
    return None


def by_table(
    record: Record, profile: Profile, outputs: Sequence[tuple[Ids, Sequence[float]]], arguments: Sequence[Ids]
) -> list[list[Outcome]]:
    """What reverse mode by the table's rules may give for each argument: one way through it, that without overflow."""
    again = continued(record)
    allowed = Allowed(again, profile, sums="wide")

    def evaluate(steps: Sequence[Step]) -> None:
        for step in steps:
            allowed.evaluate([step])
            if step.definition is not None:  # a kernel is what its definition says
                allowed.evaluate(step.definition.steps)

    evaluate(again.steps)
    o, done = _Table(again, allowed), len(again.steps)
    found = gradient(
        o,
        [Array(o, ids) for ids, _ in outputs],
        [np.reshape(seeds, ids.shape) for ids, seeds in outputs],
        [Array(o, ids, o.format) for ids in arguments],
    )
    allowed.go_on()
    evaluate(o.record.steps[done:])
    ops = allowed.arithmetics[o.format.name]

    def returned(i: int) -> Outcome:
        value = allowed.value(i, ops)
        own = allowed.values[i]
        return value if own is None or own.arithmetic is ops else OPERATIONS["round"](ops, value)

    return [[returned(i) for i in x.ids.ravel().tolist()] for x in found]


class _Table(Emitting):
    """The table's functions as steps after those of a record, in their formats.

    What rounding leaves open, which side of a choice or which number of a maximum was taken, is chosen once more by the
    same decision: a program that goes another way forward gives that way's adjoints.
    """

    def __init__(self, record: Record, allowed: Allowed) -> None:
        super().__init__(record)
        self.allowed = allowed
        self.format = record.steps[-1].format if record.steps else FLOAT64

    def pi(self) -> Array:  # type: ignore[override]
        return Recording.pi(self)

    def sech(self, x: Array) -> Array:
        return 1.0 / self.cosh(x)

    def largest_of(self, step: Step, row: Sequence[int]) -> list[int]:
        held, sign = self.record.held, 1 if step.kind == "maximum" else -1
        return [max(row, key=lambda i: sign * held[i])]

    def shares(self, step: Step, row: Sequence[int], adjoint: Array) -> list[tuple[int, Array]]:
        (taken,) = self.largest_of(step, row)
        relation: Relation = "gt" if step.kind == "maximum" else "lt"
        decisions = {
            i: int(self.record.decide(relation, np.array(taken), np.array(i)))
            for i in self.allowed.candidates(step, row)
            if i != taken
        }
        if not decisions:
            return [(taken, adjoint)]
        every = self.record.together([np.array(d) for d in decisions.values()])
        given = [(i, self._chosen(False, np.array(d), adjoint)) for i, d in decisions.items()]
        return [(taken, self._chosen(True, every, adjoint)), *given]

    def sides(self, step: Step, adjoint: Array) -> tuple[Array, Array]:
        assert step.first is not None
        assert step.decided is not None
        ops = self.allowed.arithmetics[step.format.name]
        decided = np.array([d if self.allowed.may_differ(d, ops) else 0 for d in step.decided.ravel().tolist()])
        decided = decided.reshape(step.decided.shape)
        first, second = (self._chosen(taken, decided, adjoint) for taken in (step.first, ~step.first))
        return first, second

    def _chosen(self, taken: Any, decided: Ids, adjoint: Array) -> Array:
        """The adjoint where a number was taken, else 0, by these decisions."""
        zero = np.full(adjoint.shape, ZERO, np.int64)
        return replace(adjoint, ids=self.record.choose(taken, decided, adjoint.ids, zero, adjoint.format))
