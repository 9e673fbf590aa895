"""What is right where a program asks whether a number equals another, and it does, of the branch that it did not take.

See `reference.programs.beside`. All here only adds to what is right beside the derivative of the branch that was taken:
nothing is called wrong by a limit that was seen and not proved.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
from flint import arb

from gradconform.reference.arithmetic.exact import power_of_two, precision
from gradconform.reference.arithmetic.rounded import ZERO
from gradconform.reference.programs.beside import beside
from gradconform.reference.programs.exact import Exact
from gradconform.reference.programs.record import Record
from gradconform.reference.programs.run import Defined, Run
from gradconform.reference.programs.tangents import push

Derivative = Sequence[Sequence[arb]]
#: How near, as powers of two, a limit is looked at from, in how many bits; and to how many bits the two then agree.
NEARER, BITS, AGREED = (96, 192), 768, 40
#: Of so many powers of two that a number's distance is less than another's one is drawn.
FURTHER = 64
#: By so many ways, each to either side, and with what is near and far turned.
WAYS = 2
#: How much less than the gaps of values from afar those from nearby are, where they are come to: a fourth root's, say.
GAP = power_of_two(-20)
#: What grows by more than this from the first to the second is beyond every bound: log x grows by 2, a root by 2^48.
GROWING = 1.25


def derivative(run: Run, of: Defined, exact: Exact, ties: bool) -> list[list[arb]]:
    """Of a function, in the run's mode, all numbers that are judged; of the values themselves, these."""
    if run.mode == "value":
        return [[exact[i] for i in ids.ravel().tolist()] for ids in of.outputs]
    seeds: dict[int, arb] = {}
    seeded = of.outputs if run.mode == "reverse" else of.arguments
    for ids, numbers in zip(seeded, run.cotangents, strict=True):
        for i, c in zip(ids.ravel().tolist(), run.backward.held[numbers].ravel().tolist(), strict=True):
            seed = arb(c) if run.mode == "forward" or exact[i].is_finite() else arb.nan()  # no number, no slope
            seeds[i] = seeds[i] + seed if i in seeds else seed
    found = exact.pull(seeds, ties) if run.mode == "reverse" else push(exact, seeds, ties)
    asked = of.arguments if run.mode == "reverse" else of.outputs
    return [[found.get(i, ZERO) for i in ids.ravel().tolist()] for ids in asked]


@dataclass(frozen=True, eq=False)
class OtherBranch:
    """The function by the branches that were not taken, beside what it is by those that were."""

    run: Run
    record: Record

    @classmethod
    def of(cls, run: Run, perhaps: bool = False) -> OtherBranch | None:
        """None where no number that depends on the arguments was asked to be equal to another, and was; `perhaps` as
        one of several conditions."""
        record = None if run.mode == "value" else beside(run.defined.record, run.defined.arguments, perhaps)
        return None if record is None else cls(run, record)

    @property
    def _defined(self) -> Defined:
        of = self.run.defined
        return Defined(self.record, of.arguments, of.outputs)

    @cached_property
    def _values(self) -> list[arb]:
        of = self.run.defined
        exact = Exact(of.record, literals=False).evaluate()
        return [exact[i] for ids in of.outputs for i in ids.ravel().tolist()]

    @cached_property
    def point(self) -> Derivative | None:
        """The derivative by the other branch, if it gives the same values."""
        with precision(BITS):
            exact = Exact(self.record, literals=False).evaluate()
            outputs = (exact[i] for ids in self.run.defined.outputs for i in ids.ravel().tolist())
            if all(x.is_finite() and x.overlaps(y) for x, y in zip(outputs, self._values, strict=True)):
                return derivative(self.run, self._defined, exact, ties=True)
        return None

    @cached_property
    def _seen(self) -> dict[tuple[int, bool, int], Sequence[Derivative]]:
        return {}

    def nearby(self) -> Iterator[Sequence[Derivative]]:
        """The derivative at two distances, on each side of the arguments from which the values are come to."""
        for side in itertools.product((1, -1), (False, True), range(WAYS)):
            if side not in self._seen:
                with precision(BITS):
                    self._seen[side] = self._come_to(*side)
            if self._seen[side]:
                yield self._seen[side]

    def _come_to(self, sign: int, turned: bool, way: int) -> Sequence[Derivative]:
        """The derivative at each distance; nothing where the values are not come to: a jump stays as it is."""
        (far, gaps), (near, nearer) = (self._near(sign, turned, way, near) for near in NEARER)
        come = all(b < GAP * a or b < power_of_two(16 - BITS) for a, b in zip(gaps, nearer, strict=True))
        return [far, near] if come else []

    def _near(self, sign: int, turned: bool, way: int, near: int) -> tuple[Derivative, list[arb]]:
        """The derivative at this distance, and how far the values are from those at the arguments, for their size."""
        drawn = np.random.default_rng(way)
        given: dict[int, float | arb] = {}
        for ids in self.run.defined.arguments:
            for i in ids.ravel().tolist():
                # Another distance of each number, on the same way at either nearness: of two that are equal, too, the
                # difference is to be seen, and its sign stays. Some are much nearer than others, or these are, if it is
                # turned: a quotient of two distances, whose limit is another by every way, grows on one of them.
                ahead = int(drawn.integers(0, FURTHER))
                ahead = FURTHER - 1 - ahead if turned else ahead
                off = power_of_two(-near - ahead * near // NEARER[0])
                given[i] = arb(self.record.held[i]) + sign * float(drawn.uniform(1, 2)) * off
        exact = Exact(self.record, given, literals=False).evaluate()
        outputs = (exact[i] for ids in self.run.defined.outputs for i in ids.ravel().tolist())
        gaps = [abs(x - y) / (abs(y) if y > 0 or y < 0 else 1) for x, y in zip(outputs, self._values, strict=True)]
        return derivative(self.run, self._defined, exact, ties=False), [gap.upper() for gap in gaps]

    def known(self, number: int, component: int, program: arb) -> arb | None:
        """The derivative by the other branch, or its limit, if that is what a program gives; else None."""
        if self.point is not None and (at := self.point[number][component]).is_finite():
            return at if at.overlaps(program) else None
        # What lies between the limits on several sides is one of the subgradients.
        limits = [near for far, near in (self._pair(s, number, component) for s in self.nearby()) if _agree(far, near)]
        if any(_agree(near, program) for near in limits):
            return program  # as near to the limit as can be seen
        between = any(x < program for x in limits) and any(x > program for x in limits)
        return reduce(lambda x, y: x.union(y), limits) if between else None

    def endless(self, number: int, component: int) -> bool:
        """Whether the derivative grows beyond every bound beside the arguments."""
        return any(_grows(*self._pair(side, number, component)) for side in self.nearby())

    @staticmethod
    def _pair(side: Sequence[Derivative], number: int, component: int) -> tuple[arb, arb]:
        far, near = (d[number][component] for d in side)
        return far, near


def _agree(x: arb, near: arb) -> bool:
    """Whether a derivative from afar, or a program's, is the one nearby."""
    return bool(x.is_finite() and near.is_finite() and abs(x - near) < abs(near) * power_of_two(-AGREED))


def _grows(far: arb, near: arb) -> bool:
    sure = far.is_finite() and near.is_finite() and abs(near) > 1
    return bool(sure and abs(near) > GROWING * abs(far))
