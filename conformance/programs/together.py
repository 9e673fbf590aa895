"""Whether the slopes at ties go together: a test that sees what each component by itself cannot.

At a tie every component's derivative is a set, and these sets are a box: of the largest of two equal numbers each slope
may be anything from 0 to 1. But they add up to 1. Along a direction in which equal arguments move alike the tie stays
one, and the derivative is known: the truth's tangent, a set that is as narrow as what ties leave open there, must hold
Σ v·gradient of the program. Any direction gives a proof; this one moves equal arguments alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from flint import arb

from gradconform.conformance.programs.other_branch import Derivative
from gradconform.reference.arithmetic.midpoints import Double, DoubleArray
from gradconform.reference.programs import words
from gradconform.reference.programs.array_exact import LEVELS, ArrayExact
from gradconform.reference.programs.array_tangents import push as push_arrays
from gradconform.reference.programs.exact import Exact
from gradconform.reference.programs.record import Numbers
from gradconform.reference.programs.run import Run
from gradconform.reference.programs.tangents import push
from gradconform.reference.programs.words import Words

#: What is said where they do not.
APART = "at ties its slopes do not go together: those of equal numbers add up to 1"


def direction(run: Run) -> list[Numbers]:
    """Of every argument's numbers how fast they move: equal ones alike, in eight bits between 1 and 2."""
    of = run.defined
    held = [of.record.held[ids] for ids in of.arguments]
    distinct, places = np.unique(np.concatenate([x.ravel() for x in held]), return_inverse=True)
    drawn = np.random.default_rng(distinct.size).integers(128, 256, distinct.size) / 128.0
    ends = np.cumsum([x.size for x in held])[:-1]
    return [v.reshape(x.shape) for v, x in zip(np.split(drawn[places.ravel()], ends), held, strict=True)]


def in_balls(run: Run, exact: Exact, truth: Derivative, program: Derivative) -> bool:
    """Whether the program's slopes may go together, by exact balls; of gradients in reverse mode.

    `exact` is the function's record, evaluated, and `truth` the sets of slopes: in the place of a component that is
    wrong by itself stands its set, so that nothing is said of the others for it.
    """
    of, along = run.defined, direction(run)
    seeds = {
        i: arb(v)
        for ids, numbers in zip(of.arguments, along, strict=True)
        for i, v in zip(ids.ravel().tolist(), numbers.ravel().tolist(), strict=True)
    }
    tangents = push(exact, seeds)
    moved = arb(0)
    for ids, cotangent in zip(of.outputs, run.cotangents, strict=True):
        for i, c in zip(ids.ravel().tolist(), run.backward.held[cotangent].ravel().tolist(), strict=True):
            moved += c * tangents.get(i, arb(0))
    found = arb(0)
    for slopes, gradient, numbers in zip(truth, program, along, strict=True):
        for own, slope, v in zip(slopes, gradient, numbers.ravel().tolist(), strict=True):
            found += (slope if own.overlaps(slope) else own) * v
    return not (moved.is_finite() and found.is_finite()) or bool(moved.overlaps(found))


def in_arrays(run: Run, exact: ArrayExact, truth: Sequence[Words], program: Sequence[Words]) -> bool:
    """The same by whole arrays."""
    program = [words.where(words.disjoint(t, p), t, p) for t, p in zip(truth, program, strict=True)]
    of, along = run.defined, direction(run)
    tangents = push_arrays(exact, list(zip(of.arguments, along, strict=True)), of.outputs, of.record.steps)
    moved = _summed(tangents, [run.backward.held[c] for c in run.cotangents])
    return not words.disjoint(moved, _summed(program, along)).any()


def _summed(of: Sequence[Words], by: Sequence[Numbers]) -> Words:
    """Σ of all products."""
    totals = []
    for x, factor in zip(of, by, strict=True):
        row = Words(DoubleArray(x.mid.hi.ravel(), x.mid.lo.ravel()), x.radius.reshape(LEVELS, -1))
        exactly = Words(Double.lift(np.asarray(factor, dtype=np.float64).ravel()), np.zeros((LEVELS, factor.size)))
        totals.append(words.total(words.multiply(row, exactly)))
    return reduce(words.add, totals)
