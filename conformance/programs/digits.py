"""What there is to be said of the digits that a program keeps, or has lost."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from flint import arb

from gradconform.conformance.programs.truth import Truth
from gradconform.reference.arithmetic.exact import to_float
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.judge import Candidate, Judgement, ball_of, noted
from gradconform.reference.programs import keeping
from gradconform.reference.programs.run import Run


@dataclass(frozen=True)
class Digits:
    """What there is to be said of the digits of one gradient, where it is asked."""

    run: Run
    truth: Truth
    number: int
    candidate: Candidate
    profile: Profile

    @property
    def ids(self) -> list[int]:
        return [int(i) for i in self.run.results[self.number].ravel()]

    def condition(self) -> arb:
        balls = zip(self.ids, self.candidate.components, strict=True)
        off = {i: to_float(b.radius) for i, outcomes in balls if (b := ball_of(outcomes)) is not None}
        return arb(keeping.condition(self.truth.backward, self.run.given, off) or 0.0)

    def exhibited(self) -> list[Candidate]:
        """Another program that may keep the digits; of tangents none is tried."""
        run = self.run
        if run.mode != "reverse" or any(step.implicit for step in run.forward.steps):
            return []  # there is no row of the table for what solves equations
        seeds = [run.backward.held[c].ravel().tolist() for c in run.cotangents]
        arguments = [a.ids for a in run.arguments]
        found = keeping.by_table(run.forward, self.profile, list(zip(run.outputs, seeds, strict=True)), arguments)
        return [Candidate(keeping.BY_TABLE, [(x,) for x in found[self.number]])]

    def said(self, judgement: Judgement) -> Judgement:
        """The judgement, with the operation that the digits go at."""
        if judgement.accuracy in (None, "certified") or not self.ids:
            return judgement
        found = keeping.loser(self.truth.backward, self.ids[judgement.worst_index])
        if found is None:
            return judgement
        step, moved = found
        much = f"moves it by {moved:.2g} of itself" if math.isfinite(moved) else "is all of it"
        where = f"digits go at {step.name} ({step.line or 'no line'}): one rounding there {much}"
        return replace(judgement, reason=noted(judgement.reason, where))
