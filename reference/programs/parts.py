"""The part of a record that some of its numbers depend on."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from gradconform.reference.programs.record import Form, Ids, Record, Step


def part(record: Record, wanted: Ids) -> Record:
    """The record with the elements of its steps alone that the wanted numbers depend on, by value or by decision.

    The ids are those of the whole.
    """
    found = copy(record)
    needed = np.zeros(record.size, dtype=bool)
    needed[wanted] = True
    found.steps = _kept(record, record.steps, needed)
    return found


def _kept(record: Record, steps: Sequence[Step], needed: Any) -> list[Step]:
    found: list[Step] = []
    for step in reversed(steps):
        kept = needed[step.out]
        if kept.any():
            found.append(_piece(record, step, kept, needed))
    return found[::-1]


def _piece(record: Record, step: Step, kept: Any, needed: Any) -> Step:
    operands = tuple(o[kept] for o in step.operands)
    for ids in operands:
        needed[ids] = True
    decided = None if step.decided is None else step.decided[kept]
    if decided is not None:
        _decisions(record, np.unique(decided).tolist(), needed)
    definition = None if step.definition is None else _form(record, step.definition, kept, needed)
    return replace(
        step, out=step.out[kept], operands=operands, decided=decided, definition=definition,
        first=None if step.first is None else step.first[kept],
        forms=tuple(_form(record, form, kept, needed) for form in step.forms),
    )  # fmt: skip


def _form(record: Record, form: Form, kept: Any, needed: Any) -> Form:
    """What is left of a kernel's form; what solves equations is left whole."""
    results = form.results[kept.reshape(form.results.shape)]
    needed[results] = True
    if form.solutions:
        for ids in form.reads():
            needed[ids] = True
        return replace(form, results=results)
    return replace(form, results=results, steps=tuple(_kept(record, form.steps, needed)))


def _decisions(record: Record, numbers: Sequence[int], needed: Any) -> None:
    for number in numbers:
        decision = record.decisions[number]
        needed[[decision.left, decision.right]] = True
        _decisions(record, decision.parts, needed)
