"""A rule's quantities in other dtypes than its weight: master weights, and state that is stored narrower.

Micikevicius and others, Mixed Precision Training, ICLR 2018, section 3.1, are master weights: the rule is that of a
wide copy of the weight, which keeps what the narrow one loses; the narrow weight is the wide one, rounded.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

from gradconform.reference.derivations.updates.rule import NEW_WEIGHT, Rule, Way, equation
from gradconform.reference.equations import Equation, Form

MASTER = "Micikevicius and others 2018, section 3.1"
#: What a weight that has a master becomes.
ROUNDED_WEIGHT = "rounded_w_new"


def with_master(of: Rule) -> Rule:
    """The rule of a master weight, which is its w, and of the weight that is rounded from it."""
    rounded = equation(ROUNDED_WEIGHT, MASTER, (NEW_WEIGHT,), [Way("w_new, rounded", lambda ops, w: w, MASTER)])
    return replace(of, derivation=replace(of.derivation, equations=(*of.derivation.equations, rounded)))


def unstored(of: Rule, reader: Equation, states: tuple[str, ...]) -> Equation:
    """An equation that goes by new state as it was before it was rounded to be stored, by that state's own equation."""
    found = reader
    for name in states:
        by = of.derivation.by_name[name]
        forms = tuple(_composed(f, g, name) for f, g in product(found.forms, by.forms) if name in f.operands)
        truth = _composed(found.truth, by.truth, name) if name in found.truth.operands else found.truth
        found = replace(found, forms=forms, definition=truth, part=found.part and by.part)
    return found


def _composed(reader: Form, by: Form, name: str) -> Form:
    """A form that makes the operand of this name itself."""
    at = reader.operands.index(name)
    rest = (*reader.operands[:at], *reader.operands[at + 1 :])

    def formula(ops: Any, *x: Any) -> Any:
        read, given = x[: len(rest)], x[len(rest) :]
        return reader.formula(ops, *read[:at], by.formula(ops, *given), *read[at:])

    said = f"{reader.name}, {name} = {by.name} before it is stored"
    return replace(
        reader, name=said, operands=(*rest, *by.operands), formula=formula, source=f"{reader.source}; {by.source}"
    )
