"""The exact trajectory of an optimizer: weights and state as its rule makes them of exact numbers, never rounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from flint import arb

from gradconform.conformance.updates.check_recorded_update import chained
from gradconform.conformance.updates.check_update import Update
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.derivations.updates.rule import GRADIENT, NEW_WEIGHT, WEIGHT
from gradconform.reference.programs.exact import Exact

#: Bits that a trajectory is carried to.
BITS = 256
Numbers = list[arb]


def evaluated(update: Update, exact: Mapping[str, Sequence[arb]]) -> dict[str, Numbers]:
    """What the rule's definitions make of an update, some of whose numbers are `exact` ones: all quantities, by name.

    What a rule decides by, such as a sign, are these numbers, too. It is at the precision of the context.
    """
    near = {n: np.array([float(x) for x in xs]).reshape(np.shape(update.values[n])) for n, xs in exact.items()}
    record, found = chained(replace(update, values={**update.values, **near}))
    of_record = Exact(record, literals=False)
    for name, numbers in exact.items():
        for i, x in zip(found[name].ravel().tolist(), numbers, strict=True):
            of_record.values[i] = x
    of_record.evaluate()
    return {name: [of_record[i].mid() for i in ids.ravel().tolist()] for name, ids in found.items()}


class Exactly:
    """The weight and state of one tensor, from where an update begins."""

    def __init__(self, update: Update) -> None:
        self.values = {n: _numbers(update, n) for n in (WEIGHT, *update.rule.states) if n in update.values}

    @property
    def weight(self) -> Numbers:
        return self.values[WEIGHT]

    def step(self, update: Update, gradients: Mapping[str, Sequence[arb]]) -> float:
        """Go on by an update's rule, with these gradients in place of its own; how far its new weight is from here.

        A part of the state that there was not before is what the framework says that it was.
        """
        with precision(BITS):
            there = {n: x for n, x in self.values.items() if n in update.values}
            found = evaluated(update, {**there, **gradients})
            new = {part: name for part, name in update.rule.states.items() if name in found}
            self.values = {part: found[name] for part, name in {**new, WEIGHT: NEW_WEIGHT}.items()}
            return _distance(_numbers(update, NEW_WEIGHT), self.weight)


def injected(update: Update) -> dict[str, Numbers]:
    """The gradient of an update as it was injected, as exact numbers."""
    return {GRADIENT: _numbers(update, GRADIENT)}


def _numbers(update: Update, name: str) -> Numbers:
    return [arb(x) for x in np.asarray(update.values[name], dtype=np.float64).ravel().tolist()]


def _distance(got: Sequence[arb], exact: Sequence[arb]) -> float:
    off = [float(abs(x - y).mid()) if x.is_finite() and y.is_finite() else float("inf")
           for x, y in zip(got, exact, strict=True)]  # fmt: skip
    return max(off)
