"""The custom rules and the operations that are at fault, with their lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gradconform.conformance.programs.check_program import Gradient
from gradconform.conformance.programs.completeness import otherwise
from gradconform.conformance.programs.iterated import alone
from gradconform.conformance.programs.program_steps import StepFinding, check_steps, worst_first
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.programs.run import NotRecorded, Rule, Run


def rules_at_fault(run: Run, found: Sequence[Gradient], profile: Profile) -> Iterable[str]:
    if any(g.judgement.formula in ("wrong", "undefined") or g.route in run.varied for g in found):
        yield from wrong_rules(run.rules, profile, formulas=not run.meant)


def wrong_alone(rule: Rule, profile: Profile) -> bool:
    """Whether a rule by itself is certainly no derivative, on the operands that it had."""
    try:
        return any(g.judgement.formula == "wrong" for g in alone(rule.alone(), profile))
    except Exception:  # whatever a rule raises outside of its program
        return False


def differs_alone(rule: Rule, profile: Profile) -> bool:
    """Whether a rule by itself gives something else for odd cotangents, or cannot be run alone: a suspect then."""
    try:
        return any(True for _ in otherwise(rule.alone(), profile))
    except Exception:  # whatever a rule raises outside of its program
        return True


def operations_at_fault(run: Run, found: Sequence[Gradient], profile: Profile) -> Iterable[str]:
    if any(g.judgement.execution == "outside" for g in found):
        for step in worst_first(list(check_steps(run.backward, profile)))[:3]:
            if step.execution == "outside":
                yield said_of_step(step)


def wrong_rules(rules: Iterable[Rule], profile: Profile, formulas: bool = True) -> Iterable[str]:
    """The custom rules that are wrong by themselves, on the operands that they had; each once.

    Without `formulas` those that give something else in another way: of what a rule should be nothing is known.
    """
    seen: set[tuple[str, str]] = set()
    for rule in rules:
        if (rule.name, rule.line) in seen:
            continue
        seen.add((rule.name, rule.line))
        try:
            judged = alone(rule.alone(), profile)
        except Exception as error:  # what a framework raises for a rule outside of its program: it stays a suspect
            why = str(error) if isinstance(error, NotRecorded) else type(error).__name__
            yield f"{rule.name} ({rule.line}): its rule could not be run alone: {why}"
            continue
        wrong = [g for g in judged if g.judgement.formula in ("wrong", "undefined")] if formulas else []
        for g in (g for g in judged if not wrong and g.route != "eager"):
            if g.judgement.execution == "outside":
                yield f"{rule.name} ({rule.line}): its rule gives something else: {g.route}"
        for g in wrong[:1]:
            which = (
                f"rule is {g.judgement.formula} by" if g.mode == "reverse" else f"jvp is {g.judgement.formula} for its"
            )
            yield f"{rule.name} ({rule.line}): its {which} {g.argument}"


def said_of_step(s: StepFinding) -> str:
    share = "" if s.share is None else f", {s.share:.3g} times the allowance"
    at = f"{s.operation} ({s.line or 'no line'}), {s.dtype}, element [{s.worst_index}]"
    return f"{at}: {s.execution}{share}\n      got {s.value!r} for {s.truth}"
