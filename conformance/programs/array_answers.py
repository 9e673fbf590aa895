"""What whole arrays say of a gradient's components, as the judge of arrays asks for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from flint import arb
from numpy.typing import NDArray

from gradconform.conformance.programs.size import work
from gradconform.reference.arithmetic.arrays import RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.formats import Format
from gradconform.reference.arithmetic.midpoints import Double
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.arithmetic.rounded import ANYTHING, ZERO, Rounded, RoundedBalls
from gradconform.reference.array_judge import ASKED, Index, Screen, norm, standings_of
from gradconform.reference.components import Indices
from gradconform.reference.outcomes import BranchingBalls, Choices, Outcome, Special, apart
from gradconform.reference.programs.array_exact import ArrayExact
from gradconform.reference.programs.record import STOPPED, every
from gradconform.reference.programs.run import Run
from gradconform.reference.programs.words import Words

#: Operations on single numbers up to which the condition of what has lost its digits is computed.
CONDITIONED = 3_000_000


@dataclass
class Answers:
    """What the arrays say of one gradient's components, as balls: an adjudicator that knows no better."""

    format: Format
    profile: Profile
    truth: Words
    centre: RoundedArray
    forms: dict[str, RoundedArray] = field(default_factory=dict)
    exactly: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    balls: dict[str, Callable[[Index], tuple[Outcome, ...] | None]] = field(default_factory=dict)

    def outcomes(self, form: str, index: Index) -> tuple[Outcome, ...]:
        again = self.balls[form](index) if form in self.balls else None
        if again is not None:
            return again
        x, ops = self.forms[form], BranchingBalls(RoundedBalls(self.format, self.profile), Choices())
        odd = float(self.exactly[form][index])
        if not math.isfinite(odd):
            return (Special(ops, odd),)
        radius = float(x.radii()[index])
        exact = x.arithmetic.mids.ball(x.mid, index) + arb(0, radius * x.arithmetic.slack)
        specials = 0 if x.specials is None else int(x.specials[index])
        return apart(Rounded(ops, exact, arb(radius), specials))

    def truth_of(self, index: Index) -> Rounded:
        ops = RoundedBalls(self.format, self.profile)
        x = self.truth
        if self.broken(index):
            return Rounded(ops, ZERO, ZERO, ANYTHING)
        spread = 0.0 if self.centre.spread is None else float(self.centre.spread[index])
        middle = Double.ball(x.mid, index)
        if spread:
            return Rounded(ops, middle, ZERO, 0, arb(spread))
        return Rounded(ops, middle + arb(0, float(x.radius[(0, *index)])))

    def broken(self, index: Index) -> bool:
        return self.centre.specials is not None and bool(self.centre.specials[index])

    def standings(self, form: str, numbers: Indices, got: NDArray[np.float64]) -> NDArray[np.int8]:
        """As of `Together`."""
        x = self.forms[form]
        exactly = ~np.isfinite(self.exactly[form].reshape(-1)[numbers])
        if form in self.balls or exactly.any():
            return np.full(numbers.shape, ASKED, np.int8)
        return standings_of(x, numbers, got, Screen.margin(x.arithmetic.mids))

    def broken_among(self, numbers: Indices) -> bool:
        """As of `Together`."""
        return self.centre.specials is not None and bool(self.centre.specials.reshape(-1)[numbers].any())


def centred(
    truth: Words, known: NDArray[np.bool_], A: RoundedArrays, spread: NDArray[np.float64] | None = None
) -> RoundedArray:
    """A truth as the judge reads it: numbers without a radius where it is known, or the middles of sets."""
    mid = Double.where(known, truth.mid, Double.lift(np.zeros(())))
    bits = None if known.all() else np.where(known, 0, ANYTHING).astype(np.uint8)
    return RoundedArray(A, mid if A.mids is Double else mid.hi, None, spread, bits)


class Adjudicator:
    """The answers under the names that the judge of arrays asks for."""

    def __init__(self, answers: Answers) -> None:
        self.outcomes, self.truth, self.broken = answers.outcomes, answers.truth_of, answers.broken
        self.standings, self.broken_among = answers.standings, answers.broken_among


class Condition:
    """A lower bound of the norm of a gradient's condition numbers, as `keeping.condition` has it."""

    def __init__(self, run: Run) -> None:
        self.run = run

    @cached_property
    def _exact(self) -> ArrayExact | None:
        steps = self.run.backward.steps
        if work(self.run) > CONDITIONED or any(step.function == STOPPED for step in every(steps)):
            return None
        return ArrayExact(self.run.backward).evaluate()

    def of(self, number: int, radii: NDArray[np.float64]) -> float | None:
        """Of the gradient of this number, whose components may be so far off."""
        exact, flat = self._exact, radii.ravel()
        length = norm(flat)
        if exact is None or not 0 < length < math.inf:
            return None
        largest = np.zeros(flat.size)
        largest[flat.argmax()] = 1.0
        return max(self._moved(exact, number, seeds) for seeds in (largest, flat / length))

    def _moved(self, exact: ArrayExact, number: int, seeds: NDArray[np.float64]) -> float:
        given = self.run.given
        adjoints = exact.pull([(self.run.results[number], seeds)], given)
        found = 0.0
        with np.errstate(all="ignore"):
            for ids, adjoint in zip(given, adjoints, strict=True):
                least = np.maximum(np.abs(adjoint.high) - adjoint.radius[0], 0.0) * np.abs(
                    exact.values.copied(ids).high
                )
                found += float(np.where(np.isfinite(least), least, 0.0).sum())
        return found
