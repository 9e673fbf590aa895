"""The branches that a run took: whether its program takes them, too, and whether a number stands between two."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.programs import words
from gradconform.reference.programs.array_exact import ArrayExact
from gradconform.reference.programs.beside import depending, turned
from gradconform.reference.programs.exact import Exact
from gradconform.reference.programs.record import RELATIONS, Record
from gradconform.reference.programs.run import Run

#: What is said where a number stands at the edge of a mask.
EDGE = "a number stands at the edge of a mask, and the derivative on its other side may be meant: move it off the edge"


def chosen_by_subnormals(run: Run) -> bool:
    """Whether a run chose by a number that hardware may flush to 0, and would choose otherwise by 0 (hypothesis 5)."""
    held, least = run.backward.held, max(2.0**argument.format.emin for argument in run.judged)
    for relation, left, right in run.backward.decisions.blocks():
        if relation is not None:
            seen = held[left], held[right]
            flushed = [np.where(np.abs(side) < least, 0.0, side) for side in seen]
            if not np.array_equal(RELATIONS[relation](*seen), RELATIONS[relation](*flushed)):
                return True
    return False


def by_rounding(record: Record, program: Exact) -> bool:
    """Whether a run chose by an infinity or NaN where its program has a number, or by numbers that are equal, or not,
    by their rounding alone: another branch is the program's then."""
    shown = {i for s in record.steps for i in s.out.ravel().tolist()}
    for d in record.decisions:
        pair = (d.left, d.right)
        if not d.relation or not any(i in shown for i in pair):
            continue
        if any(i in shown and not math.isfinite(record.held[i]) and program[i].is_finite() for i in pair):
            return True
        if d.relation in ("eq", "ne") and all(math.isfinite(record.held[i]) for i in pair):
            x, y = program[d.left], program[d.right]
            if not x.overlaps(y) if record.held[d.left] == record.held[d.right] else x == y:
                return True
    return False


def by_rounding_in_arrays(record: Record, program: ArrayExact) -> bool:
    """The same of numbers that are equal, or not, by whole arrays: what is not finite tells nothing there."""
    none = np.zeros(0, np.int64)
    pairs = [(left, right) for by, left, right in record.decisions.blocks() if by in ("eq", "ne")]
    sides = [np.concatenate([none, *(pair[side] for pair in pairs)]) for side in (0, 1)]
    left, right = (program.values.copied(ids) for ids in sides)
    held = [record.held[ids] for ids in sides]
    gap, reach = words.separation(left, right, 0)
    shown = np.isfinite(held[0]) & np.isfinite(held[1])
    return bool((shown & np.where(held[0] == held[1], gap > reach, (gap == 0) & (reach == 0))).any())


def without_rounding(record: Record, otherwise: NDArray[np.bool_]) -> Record | None:
    """The record by the branches that exact arithmetic takes, which are others where its decisions come out `otherwise`
    than the run's; None where none are. Of several decisions together one is enough."""
    met = np.array(otherwise)
    for number, parts in record.decisions.parts.items():
        met[number] = met[list(parts)].any()
    return turned(record, met) if met.any() else None


def at_edge(run: Run) -> bool:
    """Whether a number of the function's was equal to another where that moved data or took a branch."""
    of = run.defined
    if not of.record.edges:
        return False
    depends = depending(of.record, of.arguments)
    return bool(depends[np.concatenate(of.record.edges)].any())
