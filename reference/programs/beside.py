"""A program beside a number that it asks to be equal to another, and is.

What is chosen by ``x == c`` holds at that number alone; beside it the program takes the other branch. Automatic
differentiation gives the derivative of the branch that was taken (0 of ``where(x == 0, 0, expm1(x))`` at 0). If the
function goes on continuously, its derivative is that of the other branch (1), where that is a number, or else the limit
of it; and where that grows beyond every bound there is none (``where(x == 0, 0, x * log(x))``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.programs.record import Decision, Ids, Record, Step
from gradconform.reference.programs.views import without_repeats


def beside(record: Record, arguments: Sequence[Ids], perhaps: bool = False) -> Record | None:
    """The record with the other branch of all that was chosen since a number that depends on the arguments was equal to
    another; None where nothing was.

    Of several decisions together how they decided is not known: all of them must be so, or `perhaps` one is enough.
    """
    numbers = _met(record, perhaps)
    if not numbers or (perhaps and not any(n in record.decisions.parts for n in numbers)):
        return None
    depends = depending(record, arguments)
    met = np.zeros(len(record.decisions), dtype=bool)
    for n in numbers:
        met[n] = any(depends[d.left] or depends[d.right] for d in _single(record, n))
    return turned(record, met)


def turned(record: Record, met: NDArray[np.bool_]) -> Record | None:
    """The record with the other branch of what was chosen by some of its decisions; None where nothing was."""
    steps = [_turned(step, met) for step in record.steps]
    if all(new is old for new, old in zip(steps, record.steps, strict=True)):
        return None
    other = record.until()
    other.steps = steps
    return other


def depending(record: Record, arguments: Sequence[Ids]) -> NDArray[np.bool_]:
    """Which numbers depend on the arguments, by id."""
    depends = np.zeros(record.size, dtype=bool)
    for ids in arguments:
        depends[ids] = True
    _spread(record.steps, depends)
    return depends


def _met(record: Record, perhaps: bool) -> list[int]:
    """The decisions by which numbers were asked to be equal, and were."""
    found, first, held = [], 0, record.held
    for relation, left, right in record.decisions.blocks():
        if relation in ("eq", "ne"):
            found += (first + np.flatnonzero(held[left] == held[right])).tolist()
        first += left.size
    return found + [n for n in record.decisions.parts if _equal(record, record.decisions[n], perhaps)]


def _single(record: Record, number: int) -> list[Decision]:
    decision = record.decisions[number]
    return [d for part in decision.parts for d in _single(record, part)] if decision.parts else [decision]


def _equal(record: Record, decision: Decision, perhaps: bool) -> bool:
    """Whether two numbers were asked to be equal, and were, by all that decided, or by one."""
    if decision.parts:
        return (any if perhaps else all)(_equal(record, record.decisions[n], perhaps) for n in decision.parts)
    held = record.held
    return decision.relation in ("eq", "ne") and bool(held[decision.left] == held[decision.right])


def _spread(steps: Sequence[Step], depends: NDArray[np.bool_]) -> None:
    """Mark what depends on what is marked: of a sum all of its results, if one does."""
    for step in steps:
        if step.definition is not None:
            _spread(step.definition.steps, depends)
            for solution in step.definition.solutions:
                depends[list(solution.unknowns)] = depends[list(solution.operands)].any()
            depends[step.out] = depends[step.definition.results]
        elif step.kind in ("map", "choose"):
            depends[step.out] = np.logical_or.reduce([depends[o] for o in step.operands])
        else:
            depends[step.out] = any(depends[without_repeats(o)].any() for o in step.operands)


def _turned(step: Step, met: NDArray[np.bool_]) -> Step:
    """A step with the other branch for these decisions; itself where it has none of them."""
    if step.definition is not None:
        steps = tuple(_turned(s, met) for s in step.definition.steps)
        same = all(new is old for new, old in zip(steps, step.definition.steps, strict=True))
        return step if same else replace(step, definition=replace(step.definition, steps=steps))
    if step.decided is None or not met[step.decided].any():
        return step
    assert step.first is not None
    return replace(step, first=step.first ^ met[step.decided])
