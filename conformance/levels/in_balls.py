"""A judgement by balls alone: the candidates one after the other, the precision raised until they decide."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from flint import arb

from gradconform.reference.arithmetic.formats import Format
from gradconform.reference.arithmetic.rounded import Rounded
from gradconform.reference.array_judge import raised
from gradconform.reference.judge import Candidate, Judgement, ball_of, decision, judge, off, settled, two_norm


@dataclass(frozen=True)
class Reference:
    """What a quantity is held against at one precision: candidates, each made when it is asked for; the truths.

    There is one truth for each component. `against` are the magnitudes that certified bits are measured by, where those
    are not the truths'; `condition` gives the norm of κ; `nested` as in `judge`.
    """

    candidates: Iterable[Candidate]
    truths: Sequence[Rounded]
    against: Sequence[arb] | None = None
    condition: Callable[[], arb] | None = None
    nested: bool = False


def decide(
    got: Sequence[float], reference: Callable[[], Reference], target: Format, bits: int | None = None
) -> Judgement:
    """Judge the components `got` by the reference at the precision of the context.

    That is raised until the verdict and the digits of the truth are decided, or it is `bits` throughout.
    """

    def attempt() -> tuple[Judgement, bool]:
        of = reference()
        candidates = list(_as_far_as_needed(got, of))
        found = judge(got, candidates, target, of.truths, of.against, of.condition, of.nested)
        return found, found.verdict != "undecided" and settled(of.truths)

    result: Judgement = raised(attempt, bits)
    return result


def _as_far_as_needed(got: Sequence[float], of: Reference) -> Iterator[Candidate]:
    """The candidates in order, up to the first that accepts `got`, keeps its digits and is no textbook's."""
    scale = two_norm(of.against if of.against is not None else [abs(t.exact) + t.spread for t in of.truths])
    for candidate in of.candidates:
        yield candidate
        if not candidate.instead and _keeps_digits(got, candidate, of.truths, scale):
            return


def _keeps_digits(got: Sequence[float], candidate: Candidate, truths: Sequence[Rounded], scale: arb) -> bool:
    """Whether a form accepts every component, and is nearer to the truth than 0 is."""
    parts: list[arb] = []
    for value, outcomes, truth in zip(got, candidate.components, truths, strict=True):
        ball = ball_of(outcomes)
        if ball is None or not math.isfinite(value) or decision(value, outcomes) != "inside":
            return False
        parts.append(off(ball, truth))
    far = two_norm(parts)
    return bool(far < scale or far.is_zero())
