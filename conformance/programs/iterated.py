"""Derivatives of what a program approximates. What a loop comes near to shows where the loop goes on.

A rule may be the derivative of a fixed point, and the program a loop that ends near it: on the rounds that it took the
two differ by what the loop left. Where it goes on they come together, and a rule that is none stays away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from flint import arb

from gradconform.conformance.programs.check_program import Gradient, gradients
from gradconform.conformance.programs.size import work
from gradconform.conformance.programs.truth import Truth
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.judge import FORMULA, Formula, two_norm, verdict_of
from gradconform.reference.programs.run import NotRecorded, Run

#: How many times as many rounds are asked, one after the other, where numbers decide nothing in a round and where they
#: do; and operations on single numbers up to which they are.
TIMES, STEERED, MOST = (2, 4, 8, 16, 32), (2, 4), 100_000
#: A rule is wrong where it is so many times further from the loop's derivative than both move while the loops take
#: twice as many rounds: of a remainder that shrinks like ρ^n it is at most 1 + ρ^n, of 1/n it is 2, of 1/√n 3.4. The
#: loop's derivative must have moved by less than this part of itself.
FURTHER = 4


def approximating(found: Sequence[Gradient], run: Run, profile: Profile) -> tuple[list[Gradient], tuple[str, ...]]:
    """Judgements of a run that approximates something, and what is to be noted: a formula that is not the derivative of
    the program as written may be that of what it stands for."""
    if not (run.approximated and any(_is_wrong(g) for g in found)):
        return list(found), ()
    answers = _answers(run, profile)
    judged = [_answered(g, run, answers.get(g.argument)) if _is_wrong(g) else g for g in found]
    agree = any(answer != "wrong" for answer, _ in answers.values())
    notes = tuple(f"{text}; where it goes on the two agree" for text in run.approximated[:1] if agree)
    return judged, notes


def alone(run: Run, profile: Profile) -> list[Gradient]:
    """What is said of the gradients of a rule by itself."""
    return approximating(list(gradients(run, profile)), run, profile)[0]


def _is_wrong(g: Gradient) -> bool:
    return g.judgement.formula in ("wrong", "undefined")


def _answered(g: Gradient, run: Run, answer: tuple[Formula, float] | None) -> Gradient:
    j = g.judgement
    if answer is None:  # by how much the two may differ nobody has said
        if j.execution == "outside":
            return replace(g, judgement=replace(j, formula="unknown"))
        j = replace(j, formula="unknown", verdict="undecided", accuracy=None, reason=run.approximated[0])
        return replace(g, components="", judgement=j)
    formula, bits = answer
    if formula == "wrong":
        return g
    verdict = verdict_of(formula, j.execution or "within", j.accuracy or "certified")
    components = g.components if verdict == "deviates" else ""
    return replace(g, formula_bits=bits, components=components, judgement=replace(j, formula=formula, verdict=verdict))


def _answers(run: Run, profile: Profile) -> Mapping[str, tuple[Formula, float]]:
    """By the name of what is judged: the formula, and its bits, as loops that go on show it; of others nothing."""
    found: dict[str, tuple[Formula, float]] = {}
    if run.further is None or work(run) > MOST:
        return found
    before = Truth(run, flush=profile.flush)
    for times in STEERED if run.steered else TIMES:
        try:
            other = run.further(times)
        except NotRecorded:
            break
        if work(other) > MOST:
            break
        truth = Truth(other, flush=profile.flush)
        for number, of in enumerate(run.judged):
            with precision(truth.bits):
                said = [truth.formula(number, c, of.format) for c in range(of.ids.size)]
            if all(s.formula in ("right", "kink") for s in said):
                worst = min(said, key=lambda s: FORMULA.index(s.formula))
                found[of.name] = worst.formula, min(s.bits for s in said)
            elif not run.steered and _stays_away(before, truth, number):
                found[of.name] = "wrong", 0.0
        if len(found) == len(run.judged):
            break
        before = truth
    return found


def _stays_away(first: Truth, second: Truth, number: int) -> bool:
    """Whether a rule and its loop's derivative are apart, and no nearer where the loops take twice as many rounds."""
    with precision(max(first.bits, second.bits)):
        apart = _length(first.program_point[number], first.point[number])
        moved = _length(first.point[number], second.point[number])
        both = moved + _length(first.program_point[number], second.program_point[number])
        size = two_norm([abs(x) for x in first.point[number]])
        return bool(apart > FURTHER * both and FURTHER * moved < size)


def _length(left: Sequence[arb], right: Sequence[arb]) -> arb:
    return two_norm([abs(x - y) for x, y in zip(left, right, strict=True)])
