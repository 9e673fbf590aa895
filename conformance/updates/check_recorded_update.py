"""An update by the record of its own step: an optimizer that is none of the frameworks' own.

The record is held against the rule that the optimizer is said to be, as `check_program` holds a backward record
against a derivative: the formula is the record without rounding beside the rule's equations without rounding, both from
the weight, state and gradient before the update; the execution is what was returned beside the record with rounding.
Where no rule is named nothing is known of the formula.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from flint import arb
from numpy.typing import NDArray

from gradconform.adapters.updates import Recorded
from gradconform.conformance.levels.in_balls import Reference, decide
from gradconform.conformance.programs.array_answers import Adjudicator, Answers
from gradconform.conformance.programs.size import IN_ARRAYS
from gradconform.conformance.updates.check_update import Update, held
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import FLOAT32, Format
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.arithmetic.rounded import ANYTHING, ZERO, Rounded, RoundedBalls
from gradconform.reference.array_judge import Screen, judge_array
from gradconform.reference.judge import FIRST_PRECISION, Candidate, Formula, Judgement, noted, verdict_of
from gradconform.reference.programs import words
from gradconform.reference.programs.allowance import outcomes_of
from gradconform.reference.programs.array_allowance import ArrayAllowed
from gradconform.reference.programs.array_exact import ArrayExact
from gradconform.reference.programs.emitted import Emitting
from gradconform.reference.programs.exact import Exact, holds
from gradconform.reference.programs.keeping import narrower
from gradconform.reference.programs.record import Ids, Record, every, looks_rounded
from gradconform.reference.programs.recording import Array

#: To how much of itself a number of the step's text is known: Python may have computed it, as 1 − β^t, and of that only
#: the result is seen. A difference of two numbers at 1 that is 2^-10 has lost ten of float64's digits.
LITERAL = 2.0**-42


def chained(update: Update) -> tuple[Record, dict[str, Ids]]:
    """The rule's definitions, one after the other, from what there was before the update: the exact new quantities.

    The ids of these by their names, and of what there was before.
    """
    record = Record()
    emitting, rule = Emitting(record), update.rule
    values: dict[str, Array] = {}
    found: dict[str, Ids] = {}
    for name in rule.derivation.given:
        if name in update.values:
            numbers = np.asarray(update.values[name], dtype=np.float64)
            ids = record.new(numbers.shape, numbers)
            found[name] = ids
            values[name] = emitting.setting(ids) if name in rule.settings else emitting.tensor(
                ids, update.formats[name])  # fmt: skip
    for equation in rule.derivation.equations:
        if all(o in values for o in equation.truth.operands):
            values[equation.name] = equation.truth.formula(emitting, *(values[o] for o in equation.truth.operands))
            shape = np.shape(update.values.get(equation.name, values[equation.name].ids))
            found[equation.name] = np.broadcast_to(values[equation.name].ids, shape)
    return record, found


def formula_of(update: Update, recorded: Recorded, quantity: str) -> Formula:
    """Whether the step that was recorded is the rule's, for one quantity; to within what its literals leave open.

    It is wrong only where its constants that a float32 tensor may have rounded cannot be why it is another.
    """
    if quantity not in recorded.results or recorded.notes:
        return "unknown"
    loosened = _loosened(recorded.record)
    agreed = _agreed(update, recorded, quantity, loosened)
    if agreed is not False:
        return "unknown" if agreed is None else "right"
    constants = _rounded_constants(recorded)
    loosened.literals |= dict.fromkeys(constants, 2.0**-FLOAT32.precision)
    return "wrong" if _agreed(update, recorded, quantity, loosened) is False else "unknown"


def _agreed(update: Update, recorded: Recorded, quantity: str, own: Record) -> bool | None:
    """Whether a record without rounding may be the rule; None where one of them is not known."""
    definition, of_rule = chained(update)
    if quantity not in of_rule:
        return None
    program = recorded.results[quantity]
    made = [p for p in update.rule.states if p in of_rule and p not in recorded.given]  # in this step, and rounded
    if sum(step.work() for step in own.steps) >= IN_ARRAYS:
        agreed = _agreed_in_arrays(definition, of_rule[quantity], own, program)
        return None if (made or own.decisions) and agreed is False else agreed
    with precision(FIRST_PRECISION):
        exact, found = Exact(definition, literals=False), Exact(own).evaluate()
        for part in made:
            u = 2.0 ** -update.formats[part].precision
            for i, x in zip(of_rule[part].ravel().tolist(), np.ravel(update.values[part]).tolist(), strict=True):
                exact.values[i] = arb(x, abs(x) * u)
        exact.evaluate()
        pairs = [(exact[i], found[j]) for i, j in zip(of_rule[quantity].ravel().tolist(), program.ravel().tolist(),
                                                      strict=True)]  # fmt: skip
        if not all(x.is_finite() and y.is_finite() for x, y in pairs) or _decided_otherwise(found):
            return None
        return all(x.overlaps(y) for x, y in pairs)


def _decided_otherwise(exact: Exact) -> bool:
    """Whether without rounding a decision may be another than the run took: it is then not the program's branch."""
    held = exact.record.held
    for d in exact.record.decisions:
        if d.relation is None or d.left == d.right:
            continue
        x, y = exact[d.left], exact[d.right]
        taken = holds(d.relation, float(held[d.left]) - float(held[d.right]))
        possible = {-1.0: not x >= y, 0.0: x.overlaps(y), 1.0: not x <= y}
        if any(may and holds(d.relation, sign) != taken for sign, may in possible.items()):
            return True
    return False


def _agreed_in_arrays(definition: Record, of_rule: Ids, own: Record, program: Ids) -> bool | None:
    truth = ArrayExact(definition).evaluate().values.copied(of_rule)
    found = ArrayExact(own).evaluate().values.copied(program)
    with np.errstate(all="ignore"):
        gap, reach = words.separation(truth, found)
        return bool((gap <= reach).all()) if np.isfinite(gap + reach).all() else None


def _loosened(record: Record) -> Record:
    """The record, whose literals may be anything that Python's float64 makes of what was meant."""
    found = record.until()
    found.literals = {i: max(known, LITERAL) for i, known in record.literals.items()}
    return found


def _rounded_constants(recorded: Recorded) -> set[int]:
    """What no step made and nobody gave, and may be a decimal that a float32 tensor has rounded."""
    steps = list(every(recorded.record.steps))
    read = {i for s in steps for ids in s.operands for i in ids.ravel().tolist()}
    known = {i for s in steps for i in s.out.ravel().tolist()}
    known |= {i for ids in recorded.given.values() for i in ids.ravel().tolist()}
    held = {i: float(recorded.record.held[i]) for i in read - known}
    return {i for i, x in held.items() if looks_rounded(x, FLOAT32) and float(np.float32(x)) == x}


def narrows(recorded: Recorded, quantity: str, format: Format) -> bool:
    """Whether a step that leads to a quantity is in a narrower format than that: no rule rounds so."""
    return narrower(recorded.record, recorded.results[quantity], format) is not None


def judge_recorded(
    recorded: Recorded,
    quantity: str,
    got: NDArray[np.float64],
    format: Format,
    profile: Profile,
    formula: Formula = "unknown",
    moved_from: NDArray[np.float64] | None = None,
) -> Judgement:
    """What is said of a quantity by the record of the step; `moved_from`: the weight that a step is measured from."""
    work = max(got.size, sum(s.work() for s in recorded.record.steps))
    judge = _by_arrays if work >= IN_ARRAYS else _by_balls
    found = judge(recorded, quantity, got, format, profile, moved_from)
    formula = formula if found.execution in ("within", "overflow") else "unknown" if formula == "right" else formula
    verdict = verdict_of(formula, found.execution or "undecided", found.accuracy or "certified")
    return replace(found, formula=formula, verdict=verdict, reason=noted(*_said(recorded), found.reason))


def _said(recorded: Recorded) -> tuple[str, ...]:
    return tuple(f"record: {n}" for n in recorded.notes)


def _programs(recorded: Recorded) -> Mapping[str, int]:
    forms = recorded.record.forms
    return {f"recorded{f', form {n + 1}' if forms > 1 else ''}": n for n in range(forms)}


def _by_balls(recorded: Recorded, quantity: str, got: NDArray[np.float64], format: Format, profile: Profile,
              moved_from: NDArray[np.float64] | None) -> Judgement:  # fmt: skip
    ids = recorded.results[quantity]

    def reference() -> Reference:
        exact = Exact(recorded.record, literals=False).evaluate()
        ops = RoundedBalls(format, profile)
        known = [exact[i] for i in ids.ravel().tolist()]
        truths = [Rounded(ops, x) if x.is_finite() else Rounded(ops, ZERO, ZERO, ANYTHING) for x in known]
        against = None
        if moved_from is not None:
            against = [abs(x - arb(w)) if x.is_finite() else ZERO for x, w in zip(known, moved_from.ravel().tolist(),
                                                                                 strict=True)]  # fmt: skip
        candidates = (
            Candidate(name, outcomes_of(recorded.record, profile, [(ids, format)], "any", form)[0])
            for name, form in _programs(recorded).items()
        )
        return Reference(candidates, truths, against)

    return decide(got.ravel().tolist(), reference, format)


def _by_arrays(recorded: Recorded, quantity: str, got: NDArray[np.float64], format: Format, profile: Profile,
               moved_from: NDArray[np.float64] | None) -> Judgement:  # fmt: skip
    ids = recorded.results[quantity]
    truth = ArrayExact(recorded.record).evaluate().values.copied(ids)
    answers: dict[str, Answers] = {}
    screens: list[Screen] = []
    with np.errstate(all="ignore"):
        against = None if moved_from is None else np.asarray(np.abs(truth.high - moved_from))
    for name, form in _programs(recorded).items():
        allowed = ArrayAllowed(recorded.record, profile, "any", form, wide=format.precision > FLOAT32.precision)
        screens.append(Screen(name, format, got.shape))
        held(screens[-1], allowed, ids, truth, answers, got, against=against)
    return judge_array(got, screens, format, Adjudicator(answers[""]), bits=FIRST_PRECISION)
