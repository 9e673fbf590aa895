"""The recording arithmetic for many numbers: its steps are evaluated whole arrays at a time, where that is needed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.programs import words
from gradconform.reference.programs.array_exact import ArrayExact
from gradconform.reference.programs.record import RELATIONS, Ids, Relation
from gradconform.reference.programs.recording import Recording


class Vague(ArithmeticError):
    """A comparison that arrays leave open: balls say what it is."""


class ArrayRecording(Recording):
    """A recording whose comparisons are decided by arrays. Raises Vague where these cannot tell."""

    def _holds(self, relation: Relation, x: Ids, y: Ids) -> NDArray[np.bool_]:
        values = ArrayExact(self.record).evaluate().values
        left, right = values.copied(x), values.copied(y)
        off = words.apart(left, right)
        with np.errstate(all="ignore"):
            reach = left.radius[0] + right.radius[0]
            clear = (np.abs(off) > reach * words.ENLARGED + np.abs(off) * 2.0**-50) | ((off == 0) & (reach == 0))
        if not clear.all():
            raise Vague("two numbers are too close for arrays")
        return np.asarray(RELATIONS[relation](off, 0.0))

    def hold(self) -> None:
        values = ArrayExact(self.record).evaluate().values
        for step in self.record.steps:
            self.record.held[step.out] = values.take(step.out).high
